#!/usr/bin/python3
# test/chaos/races.py: pollers, acknowledgements, seeks, drops, pauses, savepoints and prepared transactions race for the same subscriptions.
# slow: 25 s
#
# Each client takes a batch in one of many ways (a named member, a session, a cursor that is held, the poll that acknowledges the one
# before), sets some of it aside, acknowledges it in the transaction that writes what it has done, and lets that end as chance wills:
# committed, rolled back, prepared and decided by another, cancelled, terminated, killed. Others seek, drop and make anew, pause and
# resume meanwhile. Every seek begins a generation: in each of them an event is done at most once, those of a key in their order, and
# in the last one nothing is left out. Nothing is ever delivered from before where a subscription began.
import contextlib
import os
import random
import signal
import time

import psycopg2

import lib
from lib import ensure, ensure_empty, note

KEYS = 300
OLD = 2000          # events before all subscriptions
NAMES = {"r1": 1, "r8": 8, "r32": 32}
OPTIONS = '{"lease": "300 ms", "backoff": "20 ms", "backoff_max": "100 ms", "max_attempts": 2, "max_parked_keys": 4}'
# lost leases; dropped meanwhile; cancelled, terminated, deadlock, no more leases, made twice
EXPECTED = ("US026", "US003", "57014", "57P01", "57P02", "57P03", "40P01", "55P03", "53400", "42710", "58000")
APPEND = ("SELECT usher.append_many(array_agg('key-' || (random() * %d)::integer), array_agg('work.todo'::text),"
          " array_agg('{}'::text)) FROM generate_series(1, %%s)" % (KEYS - 1))


class Wrong(Exception):
    """What must not happen, seen by a client."""


class Client:
    """A process that does `what` again and again, in one session after the other."""

    def __init__(self, cluster, number, seed, what):
        self.cluster, self.number, self.what = cluster, number, what
        self.choice = random.Random(seed * 1000 + number)
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
                with contextlib.closing(self.cluster.connect(name="racer", settings={"lock_timeout": "20s", "statement_timeout": "30s"})) as c:
                    cursor = c.cursor()
                    while True:
                        self.once(cursor)
            except psycopg2.Error as error:
                if error.pgcode is not None and error.pgcode not in EXPECTED:
                    print("# client %d: %s %s" % (self.number, error.pgcode, str(error).strip()), flush=True)
                    os._exit(2)
                time.sleep(0.02)
            except Wrong as wrong:
                print("# client %d: %s" % (self.number, wrong), flush=True)
                os._exit(2)

    def once(self, cursor):
        try:
            getattr(self, self.what)(cursor, self.choice.choice(list(NAMES)))
        except psycopg2.Error as error:
            if error.pgcode not in EXPECTED or cursor.connection.closed:
                raise
            cursor.execute("ROLLBACK")

    # consumers

    def poll(self, cursor, name, member=None, ack=None):
        cursor.execute("SELECT lease, position, stream FROM usher.poll(%s, %s, %s, %s, %s)",
                       (name, self.choice.randint(1, 40), self.choice.choice(["0", "0", "50 ms"]), member, ack))
        return self.seen(cursor.fetchall())

    def seen(self, events):
        for _, position, _ in events:
            if position <= OLD:
                raise Wrong("an event of before its beginning is delivered: %s" % events[:3])
        return events

    def consume(self, cursor, name):
        choice, member = self.choice, None
        way = choice.randrange(6)
        if way == 0:
            member = "member %d" % choice.randrange(6)
            events = self.poll(cursor, name, member)
            if choice.random() < 0.1:
                time.sleep(choice.uniform(0.2, 0.4))        # its time may be over
            if events and choice.random() < 0.2:
                cursor.execute("SELECT usher.extend(%s, %s, '200 ms')", (name, events[0][0]))
            cursor.execute("BEGIN")
        elif way == 1:
            cursor.execute("BEGIN")
            cursor.execute("DECLARE c CURSOR WITH HOLD FOR SELECT lease, position, stream FROM usher.poll(%s, 20)", (name,))
            cursor.execute("FETCH 3 FROM c")
            events = cursor.fetchall()
            cursor.execute("COMMIT")
            cursor.execute("BEGIN")
            cursor.execute("FETCH ALL FROM c")
            events = self.seen(events + cursor.fetchall())
            cursor.execute("CLOSE c")
        elif way == 2:
            cursor.execute("CALL usher.wait_for_delivery(%s, '50 ms', NULL)", (name,))
            events = self.poll(cursor, name)
            cursor.execute("BEGIN")
        else:
            cursor.execute("BEGIN")
            if way == 3:        # a lease that is given back with its savepoint
                cursor.execute("SAVEPOINT s")
                self.poll(cursor, name)
                cursor.execute("ROLLBACK TO s")
            events = self.poll(cursor, name)
        if events:
            self.work(cursor, name, events, member)
        self.end(cursor, events)

    def work(self, cursor, name, events, member):
        choice, lease = self.choice, events[0][0]
        failed = {event[2] for event in events if choice.random() < 0.02}
        for stream in failed:
            position = min(event[1] for event in events if event[2] == stream)
            savepoint = choice.random() < 0.3
            if savepoint:       # what is rolled back has not failed, and then it does
                cursor.execute("SAVEPOINT n")
                cursor.execute("SELECT usher.nack(%s, %s, %s, 'not so')", (name, lease, position))
                cursor.execute("ROLLBACK TO n")
            cursor.execute("SELECT usher.nack(%s, %s, %s, 'so')", (name, lease, position))
        if choice.random() < 0.2:
            cursor.execute("SAVEPOINT a")
            cursor.execute("SELECT usher.ack(%s, %s)", (name, lease))
            cursor.execute("ROLLBACK TO a")
        how = choice.randrange(3)
        if how == 0 and len(events) > 1:
            half = events[:len(events) // 2]
            cursor.execute("SELECT usher.ack(%s, %s, %s)", (name, lease, half[-1][1]))
            self.done(cursor, name, [e for e in half if e[2] not in failed])
            if choice.random() < 0.5:
                return
            events = events[len(half):]
        if how == 1:
            self.poll(cursor, name, member, lease)      # and what comes is left: it comes again
        else:
            cursor.execute("SELECT usher.ack(%s, %s)", (name, lease))
        self.done(cursor, name, [e for e in events if e[2] not in failed])

    def done(self, cursor, name, events):
        """Behind the acknowledgement: until we end nobody can begin another generation."""
        cursor.execute("INSERT INTO done (name, n, position, key) SELECT g.name, g.n, e.* FROM generations g,"
                       " unnest(%s::bigint[], %s::text[]) e WHERE g.name = %s", ([e[1] for e in events], [e[2] for e in events], name))

    def end(self, cursor, events):
        chance = self.choice.random()
        if chance < 0.8:
            cursor.execute("COMMIT")
        elif chance < 0.9 or not events:
            cursor.execute("ROLLBACK")
        else:
            cursor.execute("PREPARE TRANSACTION %s", ("%d %d %d" % (self.number, os.getpid(), self.choice.getrandbits(60)),))

    # the others

    def append(self, cursor, _):
        cursor.execute(APPEND, (self.choice.randint(1, 60),))
        time.sleep(self.choice.uniform(0, 0.03))

    def decide(self, cursor, _):
        cursor.execute("SELECT gid FROM pg_prepared_xacts")
        for row in cursor.fetchall():
            with contextlib.suppress(psycopg2.errors.UndefinedObject):
                cursor.execute(("COMMIT" if self.choice.random() < 0.6 else "ROLLBACK") + " PREPARED %s", row)
        time.sleep(self.choice.uniform(0, 0.1))

    def move(self, cursor, name):
        """A new generation: by a seek, or as a subscription that is made anew."""
        time.sleep(self.choice.uniform(0, 0.4))
        cursor.execute("BEGIN")
        cursor.execute("SELECT greatest(%s, usher.stable_position() - %s)", (OLD, self.choice.choice([0, 50, 500, 5000])))
        start = cursor.fetchone()[0]
        if self.choice.random() < 0.5:
            cursor.execute("SELECT usher.seek_subscription(%s, %s)", (name, start))
        else:
            cursor.execute("SELECT usher.unsubscribe(%s)", (name,))
            cursor.execute("SELECT usher.subscribe(%s, 'work.*', %s, %s, %s)", (name, start, NAMES[name], OPTIONS))
        cursor.execute("UPDATE generations SET n = n + 1, start = %s WHERE name = %s", (start, name))
        cursor.execute("COMMIT" if self.choice.random() < 0.8 else "ROLLBACK")

    def pause(self, cursor, name):
        time.sleep(self.choice.uniform(0, 0.2))
        cursor.execute("SELECT usher.pause_subscription(%s)", (name,))
        time.sleep(self.choice.uniform(0, 0.05))
        cursor.execute("SELECT usher.resume_subscription(%s)", (name,))

    def disturb(self, cursor, _):
        """Cancel and terminate the others."""
        time.sleep(self.choice.uniform(0, 0.1))
        function = "pg_cancel_backend" if self.choice.random() < 0.8 else "pg_terminate_backend"
        cursor.execute("SELECT %s(pid) FROM pg_stat_activity WHERE application_name = 'racer' AND pid <> pg_backend_pid()"
                       " ORDER BY random() LIMIT 1" % function)


def drain(cluster):
    """Decide what is prepared, resume, and consume the rest, alone."""
    for (gid,) in cluster.rows("SELECT gid FROM pg_prepared_xacts"):
        cluster.rows("COMMIT PREPARED %s", (gid,))
    for name in NAMES:
        cluster.rows("SELECT usher.resume_subscription(%s)", (name,))
        with contextlib.closing(cluster.connect()) as connection:
            cursor = connection.cursor()

            def empty():
                cursor.execute("BEGIN")
                cursor.execute("SELECT lease, position, stream FROM usher.poll(%s, 5000, '100 ms')", (name,))
                events = cursor.fetchall()
                if events:
                    cursor.execute("SELECT usher.ack(%s, %s)", (name, events[0][0]))
                    cursor.execute("INSERT INTO done (name, n, position, key) SELECT g.name, g.n, e.* FROM generations g,"
                                   " unnest(%s::bigint[], %s::text[]) e WHERE g.name = %s", ([e[1] for e in events], [e[2] for e in events], name))
                cursor.execute("COMMIT")
                return not events and cluster.rows(
                    "SELECT sum(lag_events), sum(parked_keys) FROM usher.subscription_status WHERE subscription = %s", (name,)) == [(0, 0)]
            lib.wait_until(empty, 30, "%s to be empty" % name)


def verify(cluster):
    ensure_empty(cluster.rows("SELECT * FROM (SELECT name, n, key, position, lag(position) OVER (PARTITION BY name, n, key ORDER BY id) AS before"
                              " FROM done) d WHERE before >= position"), "out of the order of their key")
    ensure_empty(cluster.rows("SELECT g.name, g.n, g.start, l.position, l.stream FROM generations g CROSS JOIN usher.log l"
                              " LEFT JOIN done d ON d.name = g.name AND d.n = g.n AND d.position = l.position"
                              " LEFT JOIN usher.subscriptions s ON s.name = g.name"
                              " LEFT JOIN usher.dead_letters e ON e.subscription_id = s.subscription_id AND e.position = l.position"
                              " WHERE l.position > g.start AND d.position IS NULL AND e.position IS NULL"), "neither done nor dead")
    note("%s events done in %s generations, %s dead letters" % cluster.rows(
        "SELECT count(*), count(DISTINCT (name, n)), (SELECT count(*) FROM usher.dead_letters) FROM done")[0])
    ensure_empty(cluster.rows("SELECT * FROM pg_locks WHERE locktype = 'advisory'"), "locks that nobody gives back")
    lib.wait_until(lambda: cluster.value("SELECT count(lease) FROM usher.subscription_status") == 0, 10, "all leases to end")
    cluster.check()
    ensure_empty(cluster.log_crashes(), "server log")


def watch(clients, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.1)
        for client in clients:
            pid, status = os.waitpid(client.pid, os.WNOHANG)
            if pid != 0:
                clients.remove(client)
                raise lib.Failure("client %d (%s) has found something (%s)" % (client.number, client.what, status))


def run(options, seconds, consumers, crashes):
    cluster = lib.Cluster(lib.work_directory(), conf={"max_prepared_transactions": "100"}).initdb().start().create()
    clients = []
    try:
        cluster.rows("CREATE TABLE generations (name text PRIMARY KEY, n integer, start bigint) WITH (fillfactor = 20)")
        cluster.rows("CREATE TABLE done (id bigserial, name text, n integer, position bigint, key text, UNIQUE (name, n, position))")
        cluster.rows(APPEND, (OLD,))
        for name, partitions in NAMES.items():
            cluster.rows("SELECT usher.subscribe(%s, 'work.*', %s, %s, %s)", (name, OLD, partitions, OPTIONS))
            cluster.rows("INSERT INTO generations VALUES (%s, 0, %s)", (name, OLD))
        kinds = ["consume"] * consumers + ["append", "decide", "move", "move", "pause", "disturb"]
        clients += [Client(cluster, number, options.seed, kind) for number, kind in enumerate(kinds)]
        choice = random.Random(options.seed)
        for number in range(crashes):
            watch(clients, seconds / (crashes + 1))
            if number % 2:
                cluster.kill9()
                cluster.start()
            else:
                with contextlib.suppress(IndexError):
                    cluster.kill9_backend(choice.choice(cluster.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'racer'"))[0])
        watch(clients, seconds / (crashes + 1))
        while clients:
            clients.pop().kill()
        lib.wait_until(lambda: cluster.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'racer'") == 0, 20, "the clients' sessions to end")
        drain(cluster)
        verify(cluster)
    finally:
        for client in clients:
            client.kill()
        cluster.destroy()


def main():
    options = lib.arguments("Pollers race with everything.", seconds=(int, 0, "how long"), consumers=(int, 0, "how many"))
    seconds = options.seconds or (8 if options.short else 120)
    lib.main([("races", lambda: run(options, seconds, options.consumers or (12 if options.short else 32), 2 if options.short else 12))],
             seconds + 80)


if __name__ == "__main__":
    main()
