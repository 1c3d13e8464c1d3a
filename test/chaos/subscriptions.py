#!/usr/bin/python3
# test/chaos/subscriptions.py: members of a group are killed with -9 and join at random, and so does the server, while some events fail.
#
# Each member polls, writes what it did with the events, and acknowledges in that transaction: by itself in one transaction, under a
# name in two, by the next poll, or in parts; sometimes it rolls back. Others note what they did first, and acknowledge alone, without
# waiting for the disk. One event in a hundred fails twice, one in a thousand for ever, and one key waits for an hour. In the end each
# event that can be done was done, once it was acknowledged with what was done never again, each key's in order, the dead letters are
# those that had to be, and only the key that waits is behind.
import contextlib
import os
import random
import signal
import time

import psycopg2

import lib
from lib import ensure, ensure_empty, note

TWICE, FOR_EVER, WAITS = 2, -1, -2
STUCK = "stuck-1"
ATTEMPTS = 3
LEASE = "1500 ms"
DATA = '{"n": %d, "fate": %d}'


def load(cluster, keys, events, seed):
    """Append the events; a key's events carry 1, 2, 3 ... as n."""
    choice = random.Random(seed)
    counts = [0] * keys
    batch = ([], [])

    def flush(cursor):
        cursor.execute("SELECT usher.append_many(%s, array_fill('work.todo'::text, ARRAY[cardinality(%s::text[])]), %s)",
                       (batch[0], batch[0], batch[1]))
        batch[0].clear()
        batch[1].clear()

    with contextlib.closing(cluster.connect()) as connection:
        cursor = connection.cursor()
        for number in range(events):
            key = choice.randrange(keys)
            fate = choice.random()
            counts[key] += 1
            batch[0].append("key-%d" % key)
            batch[1].append(DATA % (counts[key], TWICE if fate < 0.01 else FOR_EVER if fate < 0.011 else 0))
            if number in (events // 10, events // 2):
                batch[0].append(STUCK)
                batch[1].append(DATA % (1 if number == events // 10 else 2, WAITS if number == events // 10 else 0))
            if len(batch[0]) >= 5000:
                flush(cursor)
        if batch[0]:
            flush(cursor)
        cursor.execute("ANALYZE usher.log")


class Member:
    def __init__(self, cluster, number, seed, batch):
        self.cluster, self.number, self.batch = cluster, number, batch
        self.choice = random.Random(seed * 1000 + number)
        self.mode = ("whole", "named", "next", "parts", "outside")[number % 5]
        self.name = "member %d" % number if self.mode == "named" else None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                lib.die_with_parent()
                self.main()
            finally:
                os._exit(1)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def main(self):
        while True:
            try:
                with contextlib.closing(self.cluster.connect(name="member %d" % self.number)) as connection:
                    self.work(connection)
            except psycopg2.Error as error:
                if error.pgcode is not None and error.pgcode not in ("57P01", "57P02", "57P03", "58000"):
                    print("# member %d: %s" % (self.number, str(error).strip()), flush=True)
                    if error.pgcode != "40P01":
                        os._exit(2)
                time.sleep(0.05)

    def work(self, connection):
        cursor = connection.cursor()
        last, events = None, []
        while self.mode == "outside":
            last = self.outside(cursor, last)
        while True:
            try:
                if self.mode != "named":
                    cursor.execute("BEGIN")
                if self.mode != "next":
                    events = self.poll(cursor, None)
                if self.mode == "named":
                    cursor.execute("BEGIN")
                if events or last:
                    last, events = self.batch_done(cursor, events, last)
                elif self.mode == "next":
                    events = self.poll(cursor, None)
                cursor.execute("COMMIT" if self.choice.random() > 0.02 or self.mode == "next" else "ROLLBACK")
            except psycopg2.Error as error:
                if error.pgcode != "US026":
                    raise
                cursor.execute("ROLLBACK")
                last, events = None, []

    def outside(self, cursor, last):
        """Each statement is a transaction: what is done is noted, then acknowledged, by itself or with the next poll."""
        try:
            events = self.poll(cursor, last)
            self.do(cursor, events, set())
            if events and self.choice.random() < 0.5:
                cursor.execute("SELECT usher.ack('work', %s)", (events[0][0],))
                return None
        except psycopg2.Error as error:
            if error.pgcode != "US026":
                raise
            return None
        return events[0][0] if events else None

    def poll(self, cursor, ack):
        cursor.execute("SELECT lease, position, stream, (data ->> 'n')::integer, (data ->> 'fate')::integer, attempt"
                       " FROM usher.poll('work', %s, '100 ms', %s, %s)", (self.choice.randint(1, self.batch), self.name, ack))
        return cursor.fetchall()

    def batch_done(self, cursor, events, last):
        failed = set()
        if self.mode == "parts" and len(events) > 1:
            half = len(events) // 2
            self.do(cursor, events[:half], failed)
            cursor.execute("SELECT usher.ack('work', %s, %s)", (events[0][0], events[half - 1][1]))
            if self.choice.random() > 0.02:
                cursor.execute("COMMIT; BEGIN")
            events = events[half:]
        self.do(cursor, events, failed)
        if not events:
            return None, []
        if self.mode == "next":
            return None, self.poll(cursor, events[0][0])
        cursor.execute("SELECT usher.ack('work', %s)", (events[0][0],))
        return None, []

    def do(self, cursor, events, failed):
        rows, nacks = [], {}
        for lease, position, stream, n, fate, attempt in events:
            if stream in failed:
                continue
            if fate == FOR_EVER or (fate == TWICE and attempt <= 2) or (fate == WAITS and attempt == 1):
                failed.add(stream)
                nacks[position] = "1 hour" if fate == WAITS else None
            else:
                rows.append((position, stream, n))
        if rows:
            cursor.execute("INSERT INTO done (position, stream, n, outside) SELECT *, %s FROM unnest(%s::bigint[], %s::text[], %s::integer[])",
                           [self.mode == "outside"] + [list(column) for column in zip(*rows)])
        for position, retry in nacks.items():
            cursor.execute("SELECT usher.nack('work', %s, %s, 'cannot', %s)", (events[0][0], position, retry))


def progress(cluster):
    return cluster.rows("SELECT (SELECT count(*) FROM (SELECT FROM done GROUP BY position) AS d), (SELECT count(*) FROM usher.dead_letters)")[0]


def torment(cluster, members, members_max, wanted, options, seconds):
    """Kill and add members, and once the server, until everything is done."""
    choice = random.Random(options.seed)
    number, kills, crashed = len(members), 0, False
    deadline = time.monotonic() + seconds
    at = (0, 0)
    while at != wanted:
        ensure(time.monotonic() < deadline, "after %d s %d of %d are done, %d of %d dead letters; %s" % (
            (seconds, at[0], wanted[0], at[1], wanted[1], cluster.rows("SELECT * FROM usher.subscription_status LIMIT 3"))))
        time.sleep(choice.uniform(0.1, 0.6))
        if not crashed and at[0] > wanted[0] // 2:
            crashed = True
            cluster.kill9()
            cluster.start()
        for member in list(members):
            pid, status = os.waitpid(member.pid, os.WNOHANG)
            ensure(pid == 0, "a member ended by itself (%s)" % status)
        if members and choice.random() < 0.6:
            members.pop(choice.randrange(len(members))).kill()
            kills += 1
        while len(members) < members_max and choice.random() < 0.7:
            members.append(Member(cluster, number, options.seed, options.batch))
            number += 1
        at = progress(cluster)
    note("%d members killed, the server once; %d came in all" % (kills, number))


def verify(cluster, wanted):
    ensure_empty(cluster.rows("SELECT * FROM (SELECT position, outside, lead(id) OVER (PARTITION BY position ORDER BY id) AS again FROM done) d"
                              " WHERE again IS NOT NULL AND NOT outside"), "acknowledged with what was done, and done again")
    note("%s of %s were done by members that acknowledge alone, %s of them were done again" % cluster.rows(
        "SELECT count(*) FILTER (WHERE outside), count(DISTINCT position), count(*) - count(DISTINCT position) FROM done")[0])
    ensure_empty(cluster.rows("SELECT l.position, l.stream FROM usher.log l LEFT JOIN done d USING (position)"
                              " WHERE d.position IS NULL AND (l.data ->> 'fate')::integer NOT IN (%s, %s) AND l.stream <> %s",
                              (FOR_EVER, WAITS, STUCK)), "never done")
    ensure_empty(cluster.rows("SELECT * FROM (SELECT stream, n, lag(n) OVER (PARTITION BY stream ORDER BY id) AS before FROM (SELECT stream, n, min(id) AS id FROM done GROUP BY 1, 2) AS f) d"
                              " WHERE before >= n"), "out of the order of their key")
    ensure_empty(cluster.rows("SELECT l.position, l.data, d.attempts FROM usher.log l FULL JOIN usher.dead_letters d USING (position)"
                              " WHERE (coalesce((l.data ->> 'fate')::integer, 0) = %s) <> (d.position IS NOT NULL) OR d.attempts <> %s",
                              (FOR_EVER, ATTEMPTS)), "wrong dead letters")
    parked = cluster.rows("SELECT key, attempts FROM usher.parked_keys WHERE failed IS NOT NULL")
    ensure(parked == [("s:" + STUCK, 1)], "parked in the end: %s" % parked[:5])
    updated = cluster.value("SELECT sum(n_tup_upd + n_tup_del + n_dead_tup) FROM pg_stat_all_tables WHERE relname LIKE 'log\\_p%'")
    ensure(updated == 0, "%s rows of the log were updated" % updated)
    cluster.check()


def run(options, keys, events, members_max, seconds):
    cluster = lib.Cluster(lib.work_directory()).initdb().start().create()
    members = []
    try:
        cluster.rows("CREATE TABLE done (id bigserial, position bigint, stream text, n integer, outside boolean)")
        cluster.rows("SELECT usher.subscribe('work', 'work.*', 0, 16, jsonb_build_object('max_attempts', %s, 'lease', %s::text,"
                     " 'backoff', '50 ms', 'backoff_max', '1 s'))", (ATTEMPTS, LEASE))
        load(cluster, keys, events, options.seed)
        wanted = cluster.rows("SELECT count(*) FILTER (WHERE (data ->> 'fate')::integer <> %s AND stream <> %s),"
                              " count(*) FILTER (WHERE (data ->> 'fate')::integer = %s) FROM usher.log", (FOR_EVER, STUCK, FOR_EVER))[0]
        began = time.monotonic()
        members += [Member(cluster, number, options.seed, options.batch) for number in range(members_max)]
        torment(cluster, members, members_max, wanted, options, seconds)
        note("%d events of %d keys in %.0f s" % (events, keys, time.monotonic() - began))
        verify(cluster, wanted)
        cluster.rows("UPDATE usher.parked_keys SET next_at = now()")
        lib.wait_until(lambda: progress(cluster)[0] == wanted[0] + 2, 30, "the key that had to wait")
        while members:
            members.pop().kill()
        lib.wait_until(lambda: cluster.value("SELECT count(lease) FROM usher.subscription_status") == 0, 10, "the leases of the dead to end")
        ensure_empty(cluster.log_crashes(), "server log")
    finally:
        for member in members:
            member.kill()
        cluster.destroy()


def main():
    options = lib.arguments("Members of a group are killed.", batch=(int, 400, "most events in a poll"))
    if options.short:
        lib.main([("subscriptions", lambda: run(options, 2000, 20000, 5, 60))], 90)
    else:
        lib.main([("subscriptions", lambda: run(options, 50000, 500000, 8, 500))], 580)


if __name__ == "__main__":
    main()
