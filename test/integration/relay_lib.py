# test/integration/relay_lib.py: a log with sinks, as the tests of the relay use it.
#
# Clusters are those of test/chaos/lib.py: each test program has its own, since it kills and restarts it.
import collections
import contextlib
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))

import lib      # noqa: E402
from lib import ensure      # noqa: E402

SOON_S = 2.0        # within which a changed configuration has taken effect, as a rule
STALL_S = 8.0       # and always, on a machine that does other things beside
WAIT_S = 30

Message = collections.namedtuple("Message", "number position topic key headers body added_at")


class Log:
    """A database with the extension, and one session in it."""

    def __init__(self, cluster, database="postgres", create=True):
        self.cluster = cluster
        self.database = database
        self.connection = None
        if database != "postgres" and create:
            cluster.rows("CREATE DATABASE " + database)
        if create:
            self.run("CREATE EXTENSION pg_usher")

    def drop(self):
        self.close()
        self.cluster.rows("DROP DATABASE " + self.database)

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def rows(self, sql, *arguments):
        if self.connection is None:
            self.connection = self.cluster.connect(self.database)
        with contextlib.closing(self.connection.cursor()) as cursor:
            cursor.execute(sql, arguments or None)
            return lib.fetched(cursor)

    run = rows

    def value(self, sql, *arguments):
        return self.rows(sql, *arguments)[0][0]

    def fails(self, sqlstate, sql, *arguments):
        """The statement must raise this error; return its text."""
        try:
            self.rows(sql, *arguments)
        except lib.psycopg2.Error as error:
            ensure(error.pgcode == sqlstate, "%s: %s instead of %s" % (sql, error, sqlstate))
            return str(error)
        raise lib.Failure(sql + " raised no error")

    # events

    def append(self, n=1, streams=1, prefix="order", kind="order.placed", size=0):
        """n events in turn to streams <prefix>-1 ..; their data has a number, n."""
        self.run("SELECT usher.append_many(array_agg(%s || '-' || 1 + n %% %s), array_agg(%s::text),"
                 " array_agg(jsonb_build_object('n', n, 'filler', repeat('x', %s))::text)) FROM generate_series(1, %s) n",
                 prefix, streams, kind, size, n)
        return self.stable()

    def stable(self):
        return self.value("SELECT usher.stable_position()")

    # sinks

    def add_sink(self, name, kind="memory", config=None, position=None):
        return self.value("SELECT usher.add_sink(%s, %s, %s, %s)", name, kind, json.dumps(config or {}), position)

    def alter_sink(self, name, **config):
        self.run("SELECT usher.alter_sink(%s, %s)", name, json.dumps(config))

    def status(self, sink, replay=False):
        """One row for each lane, with the columns' names."""
        if self.connection is None:
            self.connection = self.cluster.connect(self.database)
        with contextlib.closing(self.connection.cursor()) as cursor:
            cursor.execute("SELECT * FROM usher.sink_status WHERE sink = %s AND (replay_id IS NOT NULL) = %s ORDER BY lane",
                           (sink, replay))
            row = collections.namedtuple("Status", [column.name for column in cursor.description])
            return [row(*values) for values in cursor.fetchall()]

    def states(self, sink):
        return [status.state for status in self.status(sink)]

    def wait_state(self, sink, state, seconds=WAIT_S):
        try:
            lib.wait_until(lambda: set(self.states(sink)) == {state}, seconds, "sink %s to be %s" % (sink, state))
        except lib.Failure as failure:
            raise lib.Failure("%s; it is %s" % (failure, self.status(sink)))

    def caught_up(self, sink, seconds=WAIT_S):
        """Wait until everything of now is acknowledged."""
        end = self.stable()
        try:
            lib.wait_until(lambda: all(s.position >= end for s in self.status(sink)), seconds, "%s to come to %d" % (sink, end))
        except lib.Failure as failure:
            raise lib.Failure("%s; it is %s" % (failure, self.status(sink)))
        return end

    def messages(self, sink, after=0, topic=None, most=20000):
        return [Message(*row) for row in self.rows("SELECT * FROM usher.memory_messages(%s, %s, %s, %s)",
                                                   sink, topic, after, most)]

    def wait_messages(self, sink, n, seconds=WAIT_S, after=0):
        """Until there are n messages: exactly those."""
        lib.wait_until(lambda: len(self.messages(sink, after)) >= n, seconds, "%d messages in %s" % (n, sink))
        found = self.messages(sink, after)
        ensure(len(found) == n, "%s has %d messages instead of %d" % (sink, len(found), n))
        return found

    def replays(self):
        return {row[0]: row[1:] for row in
                self.rows("SELECT replay_id, state, replayed, failed, skipped, error FROM usher.replay_status")}

    def wait_replay(self, replay, seconds=WAIT_S):
        lib.wait_until(lambda: self.replays()[replay][0] != "running", seconds, "replay %d to end" % replay)
        return self.replays()[replay]

    def pids(self, kind="pg_usher relay"):
        return [row[0] for row in self.rows("SELECT pid FROM pg_stat_activity WHERE backend_type = %s"
                                            " AND datname = current_database()", kind)]


def promptly(condition, what, seconds=STALL_S):
    """The effect of a change that was committed just now; returns how long it took. An idle worker that nobody wakes sleeps on."""
    began = time.monotonic()
    lib.wait_until(condition, seconds, what, pause=0.01)
    return time.monotonic() - began


def out_of_order(messages, key=lambda m: (m.topic, m.key)):
    """Messages with a position at or below an earlier one of their key; replays left out."""
    last, found = {}, []
    for message in messages:
        if "replay" in message.headers:
            continue
        if message.position <= last.get(key(message), 0):
            found.append("%s behind %d" % (message[:4], last[key(message)]))
        last[key(message)] = max(message.position, last.get(key(message), 0))
    return found


def rss_anon(pid):
    """Kilobytes of a process's own memory."""
    with open("/proc/%d/status" % pid) as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    raise lib.Failure("process %d has no RssAnon" % pid)
