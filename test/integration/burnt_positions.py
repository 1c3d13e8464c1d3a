#!/usr/bin/python3
# test/integration/burnt_positions.py: a commit whose positions lie beyond the partitions that it has locked takes others.
# alone: it changes a setting of the cluster that others use
#
# A large transaction waits for a partition in its commit while others take the
# positions that it would have had.  Those that it then gets reach further than
# what it has locked: it leaves them unused and takes more.  Prints TAP lines.

import sys
import threading
import time

import psycopg2

DATABASE = "usher_burnt_positions"
LARGE, SMALL, PARTITION = 9500, 5000, 10000
failures = 0


def connect(database=DATABASE):
    connection = psycopg2.connect(dbname=database)
    connection.autocommit = True
    return connection.cursor()


def expect(name, ok, detail):
    global failures
    print(f"{'ok' if ok else 'not ok'} {name}")
    if not ok:
        failures += 1
        print(f"# {detail}")


def wait_until(monitor, pid, condition):
    """Until the session is there; a test that hangs is ended by who runs it."""
    while True:
        monitor.execute(f"SELECT {condition} FROM pg_stat_activity WHERE pid = %s", (pid,))
        if monitor.fetchone()[0]:
            return
        time.sleep(0.01)


def append(cursor, stream, type_, count):
    cursor.execute("""SELECT usher.append_many(array_agg(%s::text), array_agg(%s::text), array_agg('{}'::text))
        FROM generate_series(1, %s)""", (stream, type_, count))


def value(cursor, query):
    cursor.execute(query)
    return cursor.fetchone()[0]


def in_background(cursor, statement):
    pid = value(cursor, "SELECT pg_backend_pid()")
    thread = threading.Thread(target=cursor.execute, args=(statement,), daemon=True)
    thread.start()
    return pid, thread


def burn(server):
    large, small, locker, waiter = (connect() for _ in range(4))
    large.execute("CREATE EXTENSION pg_usher")
    small.execute("SELECT usher.append('first', 'first')")
    while not value(small, f"SELECT to_regclass('usher.log_p{PARTITION + 1:013d}') IS NOT NULL"):
        time.sleep(0.01)
    pid, waiting = in_background(waiter, "CALL usher.wait_for(0, '60 s', 'large', NULL)")
    wait_until(server, pid, "wait_event_type = 'Extension'")

    locker.execute(f"BEGIN; LOCK TABLE usher.log_p{PARTITION + 1:013d} IN ACCESS EXCLUSIVE MODE")
    large.execute("BEGIN")
    append(large, "large", "large", LARGE)
    pid, committing = in_background(large, "COMMIT")
    wait_until(server, pid, "wait_event_type = 'Lock'")
    append(small, "small", "small", SMALL)
    locker.execute("ROLLBACK")
    committing.join(30)
    waiting.join(30)
    expect("the commit ended, and woke who waited for it", not committing.is_alive() and not waiting.is_alive(),
           f"committing: {committing.is_alive()}, waiting: {waiting.is_alive()}")

    first = 1 + SMALL + LARGE + 1
    small.execute("SELECT min(position), max(position), count(*), count(DISTINCT position) FROM usher.read_stream('large', 1, 100000)")
    found = small.fetchone()
    expect("it left the positions unused that it could not write to, and took the next ones",
           found == (first, first + LARGE - 1, LARGE, LARGE), found)
    small.execute("SELECT count(*), usher.stable_position() FROM usher.read(0, 100000)")
    found = small.fetchone()
    expect("a cursor sees everything, and nothing is held back", found == (1 + SMALL + LARGE, first + LARGE - 1), found)
    small.execute("SELECT string_agg(invariant || ': ' || detail, '; ') FROM usher.check() WHERE NOT ok")
    broken = small.fetchone()[0]
    expect("usher.check() holds", broken is None, broken)


def main():
    server = connect("postgres")
    server.execute(f"DROP DATABASE IF EXISTS {DATABASE} (FORCE)")
    server.execute(f"CREATE DATABASE {DATABASE}")
    server.execute(f"ALTER SYSTEM SET usher.partition_size = {PARTITION}")
    server.execute("SELECT pg_reload_conf()")
    try:
        burn(server)
    finally:
        server.execute("ALTER SYSTEM RESET usher.partition_size")
        server.execute("SELECT pg_reload_conf()")
        server.execute(f"DROP DATABASE {DATABASE} (FORCE)")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
