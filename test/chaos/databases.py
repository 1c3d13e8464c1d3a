#!/usr/bin/python3
# test/chaos/databases.py: databases with a log come and go, more than there are entries for, and nobody waits for it.
#
# Each is created, gets the extension and an event, and is dropped while its worker runs, with and without FORCE; one is copied
# as a template. The log goes on in a copy, and begins anew where the extension was dropped and created again.
import time

import lib
from lib import ensure, ensure_empty, note

MAX_DATABASES = 4
SECONDS_MAX = 5.0


def timed(what, function, *arguments, **options):
    began = time.monotonic()
    value = function(*arguments, **options)
    took = time.monotonic() - began
    ensure(took < SECONDS_MAX, "%s took %.1f s" % (what, took))
    return value, took


def run(count):
    cluster = lib.Cluster(lib.work_directory(), conf={"usher.max_databases": str(MAX_DATABASES)}).initdb().start()
    slowest = 0.0
    try:
        for number in range(count):
            name = "log%d" % number
            cluster.rows("CREATE DATABASE " + name)
            cluster.create(name)
            if number == 0:
                cluster.rows("SELECT usher.add_sink('first', 'memory')", database=name)
                timed("a sink of an unused log", relay_runs, cluster, name)
            version, took = timed("the first append", cluster.value, "SELECT usher.append('a-1', 'a.b', '{}')", database=name)
            ensure(version == 1, "a new log begins with version %s" % version)
            slowest = max(slowest, took)
            if number == 1:
                copied(cluster, name)
            slowest = max(slowest, timed("DROP DATABASE", cluster.rows, "DROP DATABASE %s%s" % (
                name, " WITH (FORCE)" if number % 2 else ""))[1])
        for _ in range(2):
            cluster.create()
            version, took = timed("an append", cluster.value, "SELECT usher.append('a-1', 'a.b', '{}')")
            ensure(version == 1, "a log that was created again begins with version %s" % version)
            slowest = max(slowest, took)
            cluster.check()
            cluster.rows("DROP EXTENSION pg_usher CASCADE")
        note("%d databases came and went, slowest append or drop %.0f ms" % (count, slowest * 1000))
        ensure(cluster.log_count("FATAL:  database") == 0, "a worker was started in a dropped database")
        ensure_empty(cluster.log_crashes(), "server log")
    finally:
        cluster.destroy()


def relay_runs(cluster, name):
    """The relay of a sink runs before the log has its first event."""
    deadline = time.monotonic() + 2 * SECONDS_MAX
    while cluster.value("SELECT state FROM usher.sink_status", database=name) != "running" and time.monotonic() < deadline:
        time.sleep(0.02)


def copied(cluster, name):
    """A copy of a database goes on where it was copied, apart from its original."""
    timed("CREATE DATABASE from a template", cluster.rows, "CREATE DATABASE copy TEMPLATE " + name)
    top = cluster.value("SELECT max(position) FROM usher.log", database="copy")
    version, _ = timed("an append to a copy", cluster.value, "SELECT usher.append('a-1', 'a.b', '{}', 1)", database="copy")
    position = cluster.value("SELECT max(position) FROM usher.log", database="copy")
    ensure(version == 2 and position > top, "a copy went on with version %s at %s after %s" % (version, position, top))
    cluster.check("copy")
    cluster.rows("DROP DATABASE copy")


def main():
    options = lib.arguments("Databases come and go.")
    lib.main([("databases", lambda: run(6 if options.short else 20))], 120)


if __name__ == "__main__":
    main()
