#!/usr/bin/python3
# test/integration/metrics.py: the table of counters is bounded, loses nothing that fits, and is counted in by many at a time.
#
# On a cluster of its own with 64 series, of which 8 are for what finds no place. Prints a TAP line for each rule.
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))

import lib
from lib import ensure

SERIES = 64
CLIENTS = 6
EACH = 150


def published(cluster, database="postgres"):
    """{(source, type): events}"""
    return {(row[0], row[1]): int(row[2]) for row in cluster.rows(
        "SELECT labels ->> 'source', labels ->> 'type', value FROM usher.metrics() WHERE name = 'eventbroker_events_published_total'",
        database=database)}


def append(cluster, kind, n, database="postgres", tenant="default"):
    """n types, one event each, in one transaction."""
    connection = cluster.connect(database, settings={"usher.tenant": tenant})
    connection.cursor().execute("SELECT usher.append('s-1', %s || i, '{}', NULL, '{\"source\": \"a\"}') FROM generate_series(1, %s) i",
                                (kind, n))
    connection.close()


def bounded(cluster):
    append(cluster, "kind.", 200)
    seen = published(cluster)
    ensure(sum(seen.values()) == 200, "%d of 200 events are counted" % sum(seen.values()))
    ensure(len(seen) == SERIES * 7 // 8 + 1, "%d series of %d" % (len(seen), SERIES))
    ensure(seen[("a", "kind.1")] == 1, "the first kind has no series")
    ensure(seen[("other", "other")] == 200 - SERIES * 7 // 8, "other has %s" % seen.get(("other", "other")))
    append(cluster, "kind.", 200)
    again = published(cluster)
    ensure(sum(again.values()) == 400 and again[("a", "kind.1")] == 2, "the same kinds are counted otherwise: %s" % again)


def tenants(cluster):
    """Each tenant has an `other` of its own, as long as there is room; beyond that, it is said how many were not counted."""
    for n in range(10):
        cluster.rows("SELECT usher.create_tenant('tenant%d')" % n)
        append(cluster, "more.", 3, tenant="tenant%d" % n)
    stats = [cluster.rows("SET usher.tenant = 'tenant%d'; SELECT published FROM usher.event_stats()" % n)[0][0] for n in range(10)]
    ensure(stats == [3] * 7 + [0] * 3, "the tenants' events are counted as %s" % stats)
    lost = cluster.value("SELECT value FROM usher.metrics() WHERE name = 'usher_metrics_uncounted_total'")
    ensure(lost == 9, "%s events are said to be uncounted, 9 are" % lost)


def recycled(cluster):
    """What a dropped database counted makes room for another."""
    cluster.restart()
    cluster.rows("CREATE DATABASE first")
    cluster.create("first")
    append(cluster, "kind.", 200, "first")
    ensure(len(published(cluster, "first")) == SERIES * 7 // 8 + 1, "the first database has not filled the table")
    append(cluster, "kind.", 1)
    ensure(list(published(cluster)) == [("other", "other")], "there was room left: %s" % published(cluster))
    cluster.rows("DROP DATABASE first")
    cluster.rows("CREATE DATABASE second")
    cluster.create("second")
    lib.wait_until(lambda: appended_by_name(cluster), 20, "the places of a dropped database")


def appended_by_name(cluster):
    """Whether a kind that nobody has seen gets a series of its own."""
    appended_by_name.n += 1
    append(cluster, "new%d." % appended_by_name.n, 1, "second")
    return ("a", "new%d.1" % appended_by_name.n) in published(cluster, "second")


appended_by_name.n = 0


def concurrent(cluster):
    """Commits, rollbacks and kills; what is counted is what is in the log."""
    cluster.restart()
    ensure(published(cluster) == {}, "counters are left after a restart")
    before = cluster.value("SELECT usher.stable_position()")

    def work(n):
        connection = cluster.connect()
        connection.autocommit = False
        cursor = connection.cursor()
        for i in range(EACH):
            cursor.execute("SELECT usher.append(%s, %s), usher.append(%s, %s)", ("s-%d" % n, "t.%d" % (i % 7), "r-%d" % n, "t.%d" % (i % 3)))
            if i % 5 == 4:
                connection.rollback()
            else:
                connection.commit()
        connection.close()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there = dict(cluster.rows("SELECT type, count(*) FROM usher.log WHERE position > %s GROUP BY 1", (before,)))
    counted = {kind: n for (source, kind), n in published(cluster).items()}
    ensure(there == counted and sum(there.values()) == CLIENTS * EACH * 2 * 4 // 5, "%s are there, %s counted" % (there, counted))
    cluster.kill9_backend(cluster.child("pg_usher housekeeping"))
    cluster.rows("SELECT usher.append('s-1', 't.1')")
    ensure(published(cluster) == {("", "t.1"): 1}, "after a crash %s is counted" % published(cluster))


def main():
    lib.arguments("The table of counters.")
    cluster = lib.Cluster(lib.work_directory(), conf={"usher.metric_series": str(SERIES)}).initdb().start().create()
    tests = [(test.__name__, lambda test=test: test(cluster)) for test in (bounded, tenants, recycled, concurrent)]
    lib.main(tests, 120)


if __name__ == "__main__":
    main()
