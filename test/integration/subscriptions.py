#!/usr/bin/python3
# test/integration/subscriptions.py: subscriptions on a standby, and behind a failover.
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))

import lib      # noqa: E402
from lib import ensure      # noqa: E402


def take(cluster):
    """Poll and acknowledge; returns the positions."""
    with cluster.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT position, lease FROM usher.poll('s', 100)")
        rows = cursor.fetchall()
        if rows:
            cursor.execute("SELECT usher.ack('s', %s)", (rows[0][1],))
    connection.close()
    return [row[0] for row in rows]


def failover():
    """A standby that is older than its primary's start, and was asked: its numbers of cursors count all the same."""
    primary = lib.Cluster(lib.work_directory()).initdb().start().create()
    primary.rows("SELECT usher.subscribe('s'), usher.append('a-1', 't')")
    ensure(take(primary) == [1], "the first event")
    standby = primary.standby()
    try:
        ensure(standby.value("SELECT count(*) FROM usher.subscription_status") == 8, "the standby's view")
        primary.stop()
        primary.start()      # its numbers begin with a later time now
        primary.rows("SELECT usher.append('a-1', 't')")
        ensure(len(take(primary)) == 1, "the second event")
        lsn = primary.value("SELECT pg_current_wal_flush_lsn()::text")
        lib.wait_until(lambda: standby.value("SELECT pg_last_wal_replay_lsn() >= %s", (lsn,)), 20, "the standby to follow")
        primary.kill9()
        standby.promote()
        ensure(take(standby) == [], "delivered again behind the failover")
        standby.rows("SELECT usher.append('a-1', 't')")
        taken = take(standby)
        ensure(len(taken) == 1, "delivered behind the failover: %s" % taken)
        ensure(take(standby) == [], "an acknowledged event is delivered again")
    finally:
        standby.destroy()
        primary.destroy()


if __name__ == "__main__":
    lib.main([("failover", failover)], 60)
