#!/usr/bin/python3
# test/integration/model.py: random calls against a model of the event log.
# alone: it changes a setting of the cluster that others use
#
# One session appends, publishes, deletes, limits, sets savepoints, rolls back
# and commits at random; a model of a hundred lines says what each call must
# answer and what every reading function must show, before and after commit.
# Events spill and partitions are small, so that both are crossed often.
# Usage: model.py [SEED [SECONDS]].  Prints TAP lines.

import os
import random
import sys
import time
import uuid

import psycopg2
import psycopg2.extras

DATABASE = "usher_model"
SECONDS = 6
WANTED = {"US001", "US002", "US005"}
STREAMS = [f"{category}-{n}" for category in ("red", "blue") for n in range(8)]
TYPES = ["a.made", "a.changed", "b.made"]
TOMBSTONE = "usher.stream_deleted"


class Refused(Exception):
    """The SQLSTATE that a call must raise."""


class Event:
    def __init__(self, stream, type, n, id, version, topic=None, final=False):
        self.stream, self.type, self.n, self.id = stream, type, n, id
        self.version, self.topic, self.final = version, topic, final

    def same(self, stream, topic, type, n):
        return (self.stream, self.topic, self.type, self.n) == (stream, topic, type, n)

    def row(self):
        return (self.stream, self.version, self.type, self.n)


class Model:
    """What one transaction sees.  Values are immutable, so that a savepoint is a shallow copy."""

    def __init__(self):
        self.streams = {}
        self.limits = {}
        self.ids = {}
        self.log = ()
        self.pending = ()

    def copy(self):
        other = Model()
        other.streams, other.limits, other.ids = dict(self.streams), dict(self.limits), dict(self.ids)
        other.log, other.pending = self.log, self.pending
        return other

    def commit(self):
        self.log += self.pending
        self.pending = ()

    def head(self, stream):
        return len(self.streams.get(stream, ()))

    def exists(self, stream):
        return self.head(stream) > 0 and self.streams[stream][-1].type != TOMBSTONE

    def expect(self, stream, expected):
        if self.head(stream) and self.streams[stream][-1].final:
            raise Refused("US002")
        met = {None: True, 0: not self.exists(stream), -1: self.exists(stream)}
        if not met.get(expected, expected == self.head(stream)):
            raise Refused("US001")

    def repeat(self, id, stream, topic, type, n):
        if id is None or id not in self.ids:
            return None
        if not self.ids[id].same(stream, topic, type, n):
            raise Refused("US005")
        return self.ids[id]

    def add(self, event):
        self.pending += (event,)
        if event.stream:
            self.streams[event.stream] = self.streams.get(event.stream, ()) + (event,)
        if event.id:
            self.ids[event.id] = event
        return event.version

    def append(self, stream, events, expected):
        """events: (type, n, id)."""
        repeats = [self.repeat(id, stream, None, type, n) for type, n, id in events]
        found = [event for event in repeats if event]
        if len(found) == len(events):
            return found[-1].version
        if found:
            raise Refused("US005")
        self.expect(stream, expected)
        for type, n, id in events:
            if id is not None and id in self.ids:
                raise Refused("US005")
            self.add(Event(stream, type, n, id, self.head(stream) + 1))
        return self.head(stream)

    def append_many(self, events):
        """events: (stream, type, n, id)."""
        repeats = [self.repeat(id, stream, None, type, n) for stream, type, n, id in events]
        found = [event for event in repeats if event]
        if len(found) == len(events):
            return 0
        if found:
            raise Refused("US005")
        for stream, type, n, id in events:
            self.append(stream, [(type, n, id)], None)
            if id is not None and [e[3] for e in events].count(id) > 1:
                raise Refused("US005")
        return len(events)

    def publish(self, topic, type, n, id):
        if not self.repeat(id, None, topic, type, n):
            self.add(Event(None, type, n, id, None, topic))

    def delete(self, stream, expected, reusable):
        self.expect(stream, -1 if expected is None else expected)
        if not self.exists(stream):
            raise Refused("US001")
        return self.add(Event(stream, TOMBSTONE, None, None, self.head(stream) + 1, final=not reusable))

    def first_visible(self, stream):
        tombstones = [e.version for e in self.streams.get(stream, ()) if e.type == TOMBSTONE]
        max_count, truncate_before = self.limits.get(stream, (None, None))
        return max(tombstones[-1:] + [truncate_before or 1, self.head(stream) - max_count + 1 if max_count else 1])

    def visible(self, stream):
        return [e for e in self.streams.get(stream, ()) if e.version >= self.first_visible(stream)]


class Session:
    def __init__(self, rng):
        self.rng = rng
        self.connection = psycopg2.connect(dbname=DATABASE)
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        self.committed = Model()
        self.model = self.committed.copy()
        self.savepoints = []
        self.in_transaction = False
        self.n = 0
        self.counts = {}
        self.history = []

    def sql(self, statement, arguments=()):
        text = self.cursor.mogrify(statement, arguments).decode()
        self.history.append(text if len(text) < 300 else text[:300] + " ...")
        self.cursor.execute(text)
        return self.cursor.fetchall() if self.cursor.description is not None else None

    def check(self, what, actual, expected):
        if actual != expected:
            raise AssertionError(f"{what}: {actual!r} instead of {expected!r}")

    def call(self, statement, arguments, predicted):
        """Run a call that writes; its answer, or its error, must be the model's."""
        before = self.model.copy()
        try:
            expected = predicted()
        except Refused as refusal:
            expected = refusal
            self.model = before
        if self.in_transaction:
            self.sql("SAVEPOINT call")
        try:
            actual = self.sql(statement, arguments)[0][0]
        except psycopg2.Error as error:
            if self.in_transaction:
                self.sql("ROLLBACK TO call")
            self.check(statement, error.pgcode, str(expected))
            self.count(error.pgcode)
        else:
            self.check(statement, actual, expected)
            if not self.in_transaction:
                self.model.commit()
                self.committed = self.model.copy()
        if self.in_transaction:
            self.sql("RELEASE call")

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    # ---- what to call with

    def data(self):
        self.n += 1
        return self.n

    def id(self):
        """None, a new one, or one that was given before."""
        choice = self.rng.random()
        if choice < 0.6:
            return None
        if choice < 0.8 or not self.model.ids:
            return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        return self.rng.choice(list(self.model.ids))

    def new_event(self):
        """(type, n, id): sometimes exactly an earlier one."""
        id = self.id()
        if id in self.model.ids and self.rng.random() < 0.7:
            return self.model.ids[id].type, self.model.ids[id].n, id
        return self.rng.choice(TYPES), self.data(), id

    def stream(self, id=None):
        if id in self.model.ids and self.model.ids[id].stream and self.rng.random() < 0.9:
            return self.model.ids[id].stream
        return self.rng.choice(STREAMS)

    def expected(self, stream):
        return self.rng.choice([None, None, None, 0, -1, self.model.head(stream), self.rng.randrange(1, 30)])

    def document(self, n):
        return psycopg2.extras.Json({"n": n, "pad": "x" * (n % 97)})

    # ---- calls

    def do_append(self):
        type, n, id = self.new_event()
        stream = self.stream(id)
        expected = self.expected(stream)
        self.call("SELECT usher.append(%s, %s, %s, %s, event_id => %s)", (stream, type, self.document(n), expected, id),
                  lambda: self.model.append(stream, [(type, n, id)], expected))

    def do_append_batch(self):
        events = [self.new_event() for _ in range(self.rng.randrange(1, 5))]
        stream = self.stream(events[0][2])
        expected = self.expected(stream)
        rows = [(type, self.document(n), id) for type, n, id in events]
        self.call("SELECT usher.append_batch(%s, ARRAY[" + ", ".join(["ROW(%s, %s, NULL, %s)"] * len(rows)) + "]::usher.new_event[], %s)",
                  [stream] + [value for row in rows for value in row] + [expected],
                  lambda: self.model.append(stream, events, expected))

    def do_append_many(self):
        events = [(self.stream(), self.rng.choice(TYPES), self.data(), None) for _ in range(self.rng.randrange(1, 200))]
        if self.rng.random() < 0.3:
            events = [(self.stream(id), type, n, id) for type, n, id in (self.new_event() for _ in range(self.rng.randrange(1, 4)))]
        streams, types, ns, ids = (list(column) for column in zip(*events))
        documents = ['{"n": %d, "pad": "%s"}' % (n, "x" * (n % 97)) if n else "{}" for n in ns]
        self.call("SELECT usher.append_many(%s, %s, %s, NULL, %s::uuid[])", (streams, types, documents, ids),
                  lambda: self.model.append_many(events))

    def do_publish(self):
        type, n, id = self.new_event()
        topic = self.rng.choice(["t1", "t2"])
        if id in self.model.ids and self.model.ids[id].topic and self.rng.random() < 0.9:
            topic = self.model.ids[id].topic
        self.call("SELECT usher.publish(%s, 'key', %s, %s, event_id => %s) IS NOT NULL", (topic, type, self.document(n), id),
                  lambda: self.model.publish(topic, type, n, id) is None)

    def do_delete(self):
        stream, reusable = self.stream(), self.rng.random() < 0.8
        expected = self.expected(stream)
        self.call("SELECT usher.delete_stream(%s, %s, %s)", (stream, expected, reusable),
                  lambda: self.model.delete(stream, expected, reusable))

    def do_limit(self):
        stream = self.stream()
        limits = (self.rng.choice([None, None, 3, 50]), self.rng.choice([None, None, 2, self.model.head(stream) + 1]))

        def predicted():
            self.model.limits[stream] = limits

        self.call("SELECT usher.set_stream_limits(%s, NULL, %s, %s)", (stream,) + limits, predicted)

    # ---- transactions

    def do_begin(self):
        if not self.in_transaction:
            self.sql("BEGIN ISOLATION LEVEL " + self.rng.choice(["READ COMMITTED", "REPEATABLE READ"]))
            self.in_transaction = True

    def do_savepoint(self):
        if self.in_transaction:
            self.sql(f"SAVEPOINT s{len(self.savepoints)}")
            self.savepoints.append(self.model.copy())

    def do_rollback_to(self):
        if self.savepoints:
            n = self.rng.randrange(len(self.savepoints))
            self.sql(f"ROLLBACK TO s{n}")
            self.model = self.savepoints[n].copy()
            del self.savepoints[n + 1:]

    def do_release(self):
        if self.savepoints:
            n = self.rng.randrange(len(self.savepoints))
            self.sql(f"RELEASE s{n}")
            del self.savepoints[n:]

    def do_commit(self):
        if self.in_transaction:
            self.sql("COMMIT")
            self.model.commit()
            self.committed = self.model.copy()
            self.savepoints, self.in_transaction = [], False
            self.check_log()

    def do_rollback(self):
        if self.in_transaction:
            self.sql("ROLLBACK")
            self.model = self.committed.copy()
            self.savepoints, self.in_transaction = [], False
            self.check_log()

    # ---- what reading shows

    def do_read_stream(self):
        stream = self.stream()
        visible = self.model.visible(stream)
        start, limit = self.rng.choice([0, 1, self.rng.randrange(1, 60)]), self.rng.choice([1000000, self.rng.randrange(0, 20)])
        before = self.rng.choice([None, self.rng.randrange(1, 80)])
        backwards = self.rng.random() < 0.5
        wanted = [e.row() for e in visible if e.version >= start and (before is None or e.version < before)]
        wanted = (wanted[::-1] if backwards else wanted)[:limit]
        rows = self.sql("SELECT stream, version, type, (data->>'n')::bigint FROM usher.read_stream(%s, %s, %s, %s, %s)",
                        (stream, start, limit, backwards, before))
        self.check("read_stream", rows, wanted)

    def do_read_single(self):
        stream, type = self.stream(), self.rng.choice(TYPES + [TOMBSTONE, None])
        self.check("stream_version", self.sql("SELECT usher.stream_version(%s)", (stream,)), [(self.model.head(stream),)])
        last = [e for e in self.model.visible(stream) if type in (None, e.type)][-1:]
        rows = self.sql("SELECT stream, version, type, (data->>'n')::bigint FROM usher.last_event(%s, %s) WHERE type IS NOT NULL", (stream, type))
        self.check("last_event", rows, [e.row() for e in last])
        if self.model.ids:
            id = self.rng.choice(list(self.model.ids))
            rows = self.sql("SELECT stream, version, type, (data->>'n')::bigint FROM usher.event_by_id(%s)", (id,))
            self.check("event_by_id", rows, [self.model.ids[id].row()])

    def do_fold(self):
        stream = self.stream()
        until = self.rng.choice([None, self.rng.randrange(0, 60)])
        folded = [e.version for e in self.model.visible(stream) if until is None or e.version <= until]
        rows = self.sql("SELECT usher.aggregate(%s, 'fold(jsonb, usher.event)', '[0, 0]', %s)", (stream, until))
        self.check("aggregate", rows, [([len(folded), sum(folded)],)])

    def check_log(self):
        """The log and its categories, after a commit or rollback: only what is new since the last time, and all of it at times."""
        start = self.rng.choice([0, max(0, len(self.committed.log) - 300)])
        log = self.committed.log[start:]
        rows = self.sql("SELECT stream, version, type, (data->>'n')::bigint FROM usher.read(%s, 1000000)", (start,))
        self.check("read", rows, [e.row() for e in log])
        category = self.rng.choice(["red", "blue"])
        first = {stream: self.committed.first_visible(stream) for stream in STREAMS}
        rows = self.sql("SELECT stream, version, type, (data->>'n')::bigint FROM usher.read_category(%s, %s, 1000000)", (category, start))
        self.check("read_category", rows, [e.row() for e in log
                                           if e.stream and e.stream.startswith(category) and e.version >= first[e.stream]])
        page, position, found = None, start, []
        while page is None or position < len(self.committed.log):
            page = self.sql("SELECT p.next, e.stream, e.version, e.type, (e.data->>'n')::bigint FROM usher.read_page(%s, 7, 'b.*', 400) p"
                            " LEFT JOIN LATERAL unnest(p.events) e ON true", (position,))
            position = page[0][0]
            found += [row[1:] for row in page if row[3]]
        self.check("read_page", found, [e.row() for e in log if e.type == "b.made"])

    def run(self, until):
        calls = [(8, self.do_append), (4, self.do_append_batch), (3, self.do_append_many), (3, self.do_publish),
                 (0.6, self.do_delete), (0.6, self.do_limit), (2, self.do_begin), (3, self.do_savepoint),
                 (1.5, self.do_rollback_to), (1.5, self.do_release), (1, self.do_commit), (0.3, self.do_rollback),
                 (4, self.do_read_stream), (3, self.do_read_single), (1.5, self.do_fold)]
        weights, functions = zip(*calls)
        while time.monotonic() < until or (WANTED - set(self.counts) and time.monotonic() < until + 3 * SECONDS):
            function = self.rng.choices(functions, weights)[0]
            self.count(function.__name__)
            function()
        self.do_commit()
        self.check_log()
        self.check("usher.check()", self.sql("SELECT invariant, detail FROM usher.check() WHERE NOT ok"), [])


def administer(*statements):
    connection = psycopg2.connect(dbname="postgres")
    connection.autocommit = True
    for statement in statements:
        connection.cursor().execute(statement)
    connection.close()


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else int.from_bytes(os.urandom(4), "big")
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    administer("ALTER SYSTEM SET usher.partition_size = 1000", "SELECT pg_reload_conf()",
               f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
    session = Session(random.Random(seed))
    try:
        session.sql("CREATE EXTENSION pg_usher")
        session.sql("SET usher.append_buffer = '64kB'")
        session.sql("SET usher.snapshot_every = 10")
        session.sql("CREATE FUNCTION fold(state jsonb, event usher.event) RETURNS jsonb LANGUAGE sql IMMUTABLE AS"
                    " $$ SELECT jsonb_build_array((state->>0)::int + 1, (state->>1)::int + event.version) $$")
        session.run(time.monotonic() + seconds)
        print(f"ok the log does what the model does (seed {seed}, {len(session.committed.log)} events)")
        print("#", ", ".join(f"{what} {n}" for what, n in sorted(session.counts.items())))
        missed = WANTED - set(session.counts)
        print("not ok" if missed else "ok", "every refusal was met", *missed)
        return bool(missed)
    except (AssertionError, psycopg2.Error) as error:
        print(f"not ok the log does what the model does (seed {seed})")
        for line in str(error).splitlines() + session.history[-25:]:
            print("#", line)
        return 1
    finally:
        session.connection.close()
        administer("ALTER SYSTEM RESET usher.partition_size", "SELECT pg_reload_conf()", f"DROP DATABASE {DATABASE}")


if __name__ == "__main__":
    sys.exit(main())
