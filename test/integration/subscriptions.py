#!/usr/bin/python3
# test/integration/subscriptions.py: subscriptions on a standby, behind a failover, of several tenants, while cursors are rotated, and while they are dropped.
import contextlib
import os
import sys
import threading
import time

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


def polls(connection, subscription, tenant, acknowledge=False):
    """How many events come; the error's code when it fails."""
    cursor = connection.cursor()
    cursor.execute("SELECT set_config('usher.tenant', %s, false)", (tenant,))
    try:
        cursor.execute("SELECT lease FROM usher.poll(%s, 10000)", (subscription,))
    except lib.psycopg2.Error as error:
        return error.pgcode
    leases = cursor.fetchall()
    if acknowledge and leases:
        cursor.execute("SELECT usher.ack(%s, %s)", (subscription, leases[0][0]))
    return len(leases)


def for_tenant(cluster, tenant, sql):
    cluster.rows("SET usher.tenant = '%s'; %s" % (tenant, sql))


APPEND = "SELECT count(usher.append('s-' || i, 't')) FROM generate_series(1, 64) i"


def tenants():
    """One tenant cannot take all leases, nor all places of members."""
    cluster = lib.Cluster(lib.work_directory(), conf={"usher.max_leases": "64"}).initdb().start().create()
    try:
        cluster.rows("SELECT usher.create_tenant('greedy'), usher.create_tenant('meek')")
        for_tenant(cluster, "greedy", "SELECT count(usher.subscribe('g' || i)) FROM generate_series(1, 8) i; " + APPEND)
        for_tenant(cluster, "meek", "SELECT usher.subscribe('m'); " + APPEND)
        greedy, meek, beside = [cluster.connect() for _ in range(3)]
        found = [polls(greedy, "g%d" % i, "greedy") for i in range(1, 9)]
        ensure(found == [64] * 7 + ["53400"], "one tenant polls 8 subscriptions of 8 partitions, with 64 leases: %s" % found)
        ensure(polls(meek, "m", "meek") == 64, "no lease is left for another tenant")
        held = "SELECT bool_or(usher.lease_held(%s, lease, 0)) FROM generate_series(%s - 100, %s + 100) lease"
        cursor = meek.cursor()
        cursor.execute("SELECT subscription_id FROM usher.subscriptions WHERE name = 'm'")
        subscription = cursor.fetchone()[0]
        cursor.execute("SELECT lease FROM usher.subscription_status WHERE partition = 0")
        lease = cursor.fetchone()[0]
        cursor.execute(held, (subscription, lease, lease))
        ensure(cursor.fetchone()[0], "a lease is not held that is")
        cursor.execute("SET usher.tenant = 'greedy'")
        cursor.execute(held, (subscription, lease, lease))
        ensure(not cursor.fetchone()[0], "a tenant is told of another one's lease")
        greedy.close()
        meek.close()
        lib.wait_until(lambda: not cluster.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chaos' AND pid NOT IN"
                                                 " (pg_backend_pid(), %s)", (beside.get_backend_pid(),)), 10, "the sessions to end")

        # more subscriptions than there are places for members: those of another tenant share their partitions all the same
        for_tenant(cluster, "greedy", "SELECT count(usher.subscribe('h' || i, partitions => 1)) FROM generate_series(1, 300) i")
        for_tenant(cluster, "meek", "SELECT usher.seek_subscription('m', 0)")
        greedy, meek = cluster.connect(), cluster.connect()
        for i in range(1, 301):
            polls(greedy, "h%d" % i, "greedy")
        shares = []
        for _ in range(2):
            shares = [polls(meek, "m", "meek"), polls(beside, "m", "meek")]
        ensure(0 < shares[0] < 64 and 0 < shares[1] < 64, "two members get %s of 64 events" % shares)
    finally:
        cluster.destroy()


def rotation():
    """Nobody waits for a table of cursors that is emptied while its rows are carried over."""
    cluster = lib.Cluster(lib.work_directory()).initdb().start().create()
    try:
        cluster.rows("SELECT usher.subscribe('s'), usher.append('a-1', 't')")
        ensure(take(cluster) == [1], "the first event")
        holder, poller, rotator = [cluster.connect() for _ in range(3)]
        # somebody has written to the table that is filled and not committed: it cannot be emptied, but can be read
        cursor = holder.cursor()
        cursor.execute("BEGIN")
        cursor.execute("SELECT usher.subscribe('other')")
        pid = rotator.get_backend_pid()
        failed = []

        def rotate():
            rotator.cursor().execute("ALTER FUNCTION usher.rotate_cursors SET lock_timeout = '20s'")
            rotator.cursor().execute("SELECT usher.rotate_cursors(0)")

        thread = threading.Thread(target=rotate)
        thread.start()
        lib.wait_until(lambda: cluster.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'", (pid,)),
                       10, "the rotation to wait")
        reader = poller.cursor()
        reader.execute("SET statement_timeout = '5s'")
        try:
            reader.execute("SELECT count(*) FROM usher.subscription_status WHERE subscription = 's'")
        except lib.psycopg2.Error as error:
            failed.append(str(error))
        cursor.execute("COMMIT")
        thread.join()
        ensure(not failed, "a reader waits for the rotation: %s" % failed)
        ensure(cluster.value("SELECT count(*) FROM usher.subscription_cursors_a") == 0, "the table is not emptied")
        ensure(cluster.value("SELECT min(position) FROM usher.subscription_status WHERE subscription = 's'") == 1, "a cursor is lost")
    finally:
        cluster.destroy()


DROP_SECONDS = 4


def dropped():
    """Who finds a subscription and polls it when it has been dropped meanwhile gets nothing: above all not the log from its beginning."""
    cluster = lib.Cluster(lib.work_directory()).initdb().start().create()
    end = time.monotonic() + DROP_SECONDS
    polls, found, wrong = [], [], []

    def poll():
        with contextlib.closing(cluster.connect()) as connection:
            cursor = connection.cursor()
            while time.monotonic() < end:
                try:
                    cursor.execute("SELECT position FROM usher.poll('s', 10)")
                    polls.append(1)
                    found.extend(cursor.fetchall())
                except lib.psycopg2.Error as error:
                    if error.pgcode != "US003":
                        wrong.append(error)

    try:
        cluster.rows("SELECT count(usher.append('s-' || i, 't')) FROM generate_series(1, 100) i")
        threads = [threading.Thread(target=poll) for _ in range(4)]
        for thread in threads:
            thread.start()
        with contextlib.closing(cluster.connect()) as connection:
            cursor = connection.cursor()
            while time.monotonic() < end:
                cursor.execute("SELECT usher.subscribe('s', partitions => 64)")
                cursor.execute("SELECT usher.unsubscribe('s')")
        for thread in threads:
            thread.join()
        lib.note("%d polls of one that was there" % len(polls))
        ensure(polls, "no poll found it")
        lib.ensure_empty(wrong, "errors")
        lib.ensure_empty(found, "events of before it began")
    finally:
        cluster.destroy()


if __name__ == "__main__":
    lib.main([("failover", failover), ("tenants", tenants), ("rotation", rotation), ("dropped", dropped)], 100)
