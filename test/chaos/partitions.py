#!/usr/bin/python3
# test/chaos/partitions.py: partitions come and go under load, and nobody waits for it.
# alone: it measures how long single statements wait
#
# Small partitions roll while writers append, followers and stream readers read, a session that has appended stays open,
# pg_dump runs, and a session holds what pg_dump holds. Old partitions are removed by request until 20 are gone. No append and
# no read may take more than 200 ms (beyond what plain commits took at the same time). A cursor below what was removed is told
# so, with the oldest position.
import collections
import os
import threading
import time

import follow
import lib
import load
from lib import ensure, ensure_empty, note

PARTITION_SIZE = 1000
WAIT_SECONDS_MAX = 0.2
KEPT = 3                            # newest partitions that stay
WRITERS = 8


class StreamReader(load.Writer):
    """Reads streams and categories of all ages, for the time it takes."""

    WEIGHTS = (("stream", 3), ("backwards", 2), ("category", 2), ("newest", 2), ("straggler", 20))

    def stream(self):
        self.execute("SELECT count(*) FROM usher.read_stream(%s, 1, 20)", (self.random_stream(),))

    def backwards(self):
        self.execute("SELECT count(*) FROM usher.read_stream(%s, %s, 20, true)", (self.hot_stream(), 10 ** 9))

    def category(self):
        stable = self.value("SELECT usher.stable_position()")
        self.execute("SELECT count(*) FROM usher.read_category('order', %s, 50)", (max(0, stable - 500),))

    def newest(self):
        self.value("SELECT (usher.last_event(%s)).version", (self.random_stream(),))


    def straggler(self):
        """A cursor at the very beginning is refused or served from there, never moved on."""
        oldest = self.value("SELECT usher.oldest_position()")
        try:
            rows = self.execute("SELECT position FROM usher.read(%s, 3)", (oldest - 1,)).fetchall()
        except load.psycopg2.Error as error:
            if error.pgcode != "US004":
                raise
            self.ledger.counts["straggler told"] += 1
            return
        if not rows or rows[0][0] >= oldest + PARTITION_SIZE:
            raise lib.Failure("read(%d) jumped silently to %s" % (oldest - 1, rows))


class SleepyWriter(load.Writer):
    """Appends to many streams of its own, each so seldom that its head stands in a partition that goes."""

    WEIGHTS = (("wake", 1),)
    STREAMS = 1500

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.heads = {}

    def wake(self):
        number = self.random.randrange(self.STREAMS)
        stream, head = "sleepy-%d-%d" % (self.number, number), self.heads.get(number, 0)
        version = self.value("SELECT usher.stream_version(%s)", (stream,))
        if version != head:
            raise lib.Failure("stream_version(%s) is %s, was %d" % (stream, version, head))
        self.committing = True
        self.heads[number] = self.append(stream)
        self.settle("acked")
        if self.heads[number] != head + 1:
            raise lib.Failure("%s got version %d after %d" % (stream, self.heads[number], head))


class Sampler(threading.Thread):
    """Notes what sessions that take long are waiting for, and for whom."""

    SQL = ("SELECT a.pid, a.query_start::text, coalesce(a.wait_event_type || ' ' || a.wait_event, 'CPU'), left(a.query, 50),"
           " (SELECT string_agg(coalesce(b.backend_type, '?') || ': ' || left(b.query, 60), ', ')"
           " FROM unnest(pg_blocking_pids(a.pid)) AS p (pid) LEFT JOIN pg_stat_activity AS b USING (pid))"
           " FROM pg_stat_activity AS a WHERE a.application_name IN ('writer', 'reader') AND a.state = 'active'"
           " AND clock_timestamp() - a.query_start > interval '80 ms' AND a.query NOT LIKE 'CALL%'")

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.connection = cluster.connect(name="sampler")
        self.quit = threading.Event()
        self.waits = collections.Counter()

    def run(self):
        cursor = self.connection.cursor()
        while not self.quit.wait(0.03):
            cursor.execute(self.SQL)
            self.waits.update("%s in %s%s" % (event, query, " for " + blockers if blockers else "")
                              for _, _, event, query, blockers in cursor.fetchall())
        self.connection.close()

    def finish(self):
        self.quit.set()
        self.join(10)


class Rolling:
    def __init__(self, count):
        self.count = count
        self.cluster = lib.Cluster(lib.work_directory(), conf={
            "usher.partition_size": str(PARTITION_SIZE)}).initdb().start().create()
        self.cluster.rows("SELECT usher.create_tenant('other')")
        self.stop = load.SharedFlag()
        self.until = load.SharedNumber()
        self.gate = load.Gate(self.stop)
        self.dumps = []
        self.requested = 0

    def partitions(self):
        """First positions of the partitions, oldest first."""
        return [row[0] for row in self.cluster.rows("SELECT from_position FROM usher.log_partitions ORDER BY 1")]

    def removed(self):
        """How many partitions have gone, by the start of the oldest one."""
        return (self.partitions()[0] - self.first) // PARTITION_SIZE

    def roll(self, partitions, seconds):
        """Wait until events fill so many partitions beyond the oldest one."""
        lib.wait_until(lambda: self.cluster.value("SELECT usher.stable_position()") - self.partitions()[0]
                       > partitions * PARTITION_SIZE, seconds, "%d partitions to be filled" % partitions, 0.1)

    def request(self, force=False):
        """Ask for the removal of all but the newest partitions that are in use."""
        before = self.cluster.value("SELECT usher.stable_position()") - KEPT * PARTITION_SIZE
        self.requested = max(self.requested, before)
        self.cluster.rows("SELECT usher.drop_partitions_before(%s, %s)", (before, force))
        return (before - self.first) // PARTITION_SIZE

    def start(self):
        self.cluster.rows("SELECT usher.append('first-1', 'load.small', '{\"tag\": -4}')")
        self.first = self.partitions()[0]
        self.opened = load.OpenSession(self.cluster, 99, self.gate).begin()
        # each with streams of its own: whoever waits, waits for what happens to partitions
        writers = [load.Writer(self.cluster, n, self.gate, pause=0.005, private="w%d-" % n) for n in range(WRITERS)]
        bulk = load.BulkWriter(self.cluster, WRITERS, self.gate, pause=0.25, private="bulk-")
        sleepy = [SleepyWriter(self.cluster, 30 + n, self.gate, pause=0.005) for n in range(4)]
        readers = [StreamReader(self.cluster, 20 + n, self.gate, pause=0.01, private="w%d-" % n) for n in range(3)]
        self.forks = [load.Fork(load.run_writers, group)
                      for group in (writers[0::2] + sleepy, writers[1::2] + [bulk], readers)]
        self.followers = [load.Fork(lambda f=f: f.follow(self.gate, self.until).result()) for f in (
            follow.Follower(self.cluster, "wait"), follow.Follower(self.cluster, "page", 500))]
        self.heart = lib.Heartbeat(self.cluster)
        self.heart.start()
        self.sampler = Sampler(self.cluster)
        self.sampler.start()

    # what runs beside

    def hold_like_dump(self):
        """A snapshot, and ACCESS SHARE on every table, as pg_dump has them."""
        connection = self.cluster.connect(name="like pg_dump")
        cursor = connection.cursor()
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class AS c"
                       " WHERE c.relnamespace = 'usher'::regnamespace AND c.relkind IN ('r', 'p')")
        cursor.execute("LOCK TABLE %s IN ACCESS SHARE MODE" % cursor.fetchone()[0])
        cursor.execute("SELECT count(*) FROM usher.log")
        return connection

    def dump(self):
        """A real pg_dump. It may lose a race against a removal (any dropped table does that to it), but that is all."""
        done = self.cluster.tool("pg_dump", "-Fc", "-f", os.path.join(self.cluster.base, "dump"),
                                 *self.cluster.connection_arguments(), check=False)
        self.dumps.append(done.returncode == 0 or done.stderr.strip().split("\n")[0])

    # the run

    def run(self):
        try:
            self.start()
            self.roll(8, 60)
            self.beside_dump()
            while self.removed() < self.count:
                self.roll(KEPT + 3, 60)
                dump = load.thread(self.dump)
                wanted = self.request()
                lib.wait_until(lambda: self.removed() >= wanted, 30, "partitions to go, with an appender open", 0.05)
                dump.join(30)
            self.finish()
            self.gone()
            self.holds()
            self.kept()
        finally:
            self.stop.set()
            self.cluster.destroy()

    def beside_dump(self):
        """A removal that is asked for while a dump runs disturbs nobody, and happens after it."""
        holder = self.hold_like_dump()
        dump = load.thread(self.dump)
        wanted = self.request()
        before = self.cluster.value("SELECT usher.stable_position()")
        began = time.monotonic()
        self.roll(11, 60)
        lib.wait_until(lambda: time.monotonic() > began + 2, 5, "two seconds")
        note("beside a dump that holds everything: %d events in %.1f s, %d partitions removed" % (
            self.cluster.value("SELECT usher.stable_position()") - before, time.monotonic() - began, self.removed()))
        dump.join(30)
        cursor = holder.cursor()
        cursor.execute("SELECT count(*), max(position) FROM usher.log")
        holder.close()
        released = time.monotonic()
        lib.wait_until(lambda: self.removed() >= wanted, 30, "partitions to go after the dump, with an appender open", 0.05)
        note("%d partitions were gone %.1f s after the dump had ended" % (wanted, time.monotonic() - released))

    def finish(self):
        self.stop.set()
        ledgers = [fork.join() for fork in self.forks]
        self.opened.more()
        self.opened.commit()
        self.until.value = self.cluster.value("SELECT usher.stable_position()")
        followers = [fork.join() for fork in self.followers]
        self.heart.stop()
        self.sampler.finish()
        ledger = load.Ledger.sum(ledgers + [self.opened.ledger])
        load.summary(ledger, 1)
        good = sum(done is True for done in self.dumps)
        note("%d partitions removed; %d of %d runs of pg_dump completed%s" % (
            self.removed(), good, len(self.dumps), "".join("; " + d for d in self.dumps if d is not True)[:300]))
        ensure(good > 0, "no pg_dump completed: %s" % self.dumps[:1])
        self.ensure_nobody_waited(ledger, followers)
        ledger.acked[-4] = ("default", "first-1", 1)
        self.ensure_all_seen(ledger, followers)

    def ensure_nobody_waited(self, ledger, followers):
        slow = ledger.slow + [wait for follower in followers for wait in follower.slow]
        note("slowest statement %.0f ms (slowest plain commit %.0f ms); above %.0f ms: %d" % (
            max([end - start for start, end, _ in slow] or [0]) * 1000, self.heart.longest * 1000, load.SLOW_SECONDS * 1000,
            len(slow)))
        for wait, times in self.sampler.waits.most_common(6):
            note("seen waiting %d times: %s" % (times, wait))
        ensure_empty(self.heart.to_blame(slow, WAIT_SECONDS_MAX), "statement above 200 ms")
        waits = [line for line in self.cluster.log_text().splitlines() if "still waiting for" in line
                 and (" client backend writer " in line or " client backend reader " in line)]
        ensure_empty(waits, "lock wait above 200 ms")

    def ensure_all_seen(self, ledger, followers):
        """The log has lost its beginning: the follower is the witness of what was there."""
        witness = followers[0]
        findings = ledger.unexpected + [f for follower in followers for f in follower.findings]
        findings += ["event %d was never seen" % tag for tag, what in ledger.acked.items()
                     if tag not in witness.tags]
        findings += ["event %d was seen and not acknowledged" % tag for tag in witness.tags if tag not in ledger.acked]
        findings += ["event %d was not seen by pages" % tag for tag in witness.tags
                     if load.matches_pattern(tag) and tag not in followers[1].tags]
        log = follow.log_contents(self.cluster)
        findings += ["position %d is there and was not seen" % position for position in log if position not in witness.seen]
        oldest = self.partitions()[0]
        findings += ["position %d is gone" % position for position in witness.seen if position >= oldest and position not in log]
        heads = dict(self.cluster.rows("SELECT stream, usher.stream_version(stream) FROM usher.stream_registry"
                                       " WHERE tenant_id = 1"))
        findings += ["stream %s is at %s, was at %d" % (stream, heads.get(stream), version)
                     for stream, version in witness.heads.items() if heads.get(stream) != version]
        ensure_empty(findings, "after the removals")
        self.cluster.check()
        ensure_empty(self.cluster.log_crashes(), "server log")

    def gone(self):
        """Old cursors are told; streams whose events have all gone go on with their versions."""
        oldest = self.cluster.value("SELECT usher.oldest_position()")
        there = self.cluster.value("SELECT min(position) FROM usher.log")
        ensure(self.partitions()[0] <= oldest <= there, "oldest_position() is %s, the oldest event %s" % (oldest, there))
        for sql in ("SELECT * FROM usher.read(0, 10)", "SELECT * FROM usher.read(%d, 10)" % (self.first + 5),
                    "SELECT * FROM usher.read_page(%d, 10, '*')" % (self.first + 5),
                    "SELECT * FROM usher.read(%d, 10)" % (self.partitions()[0] - 2)):
            try:
                self.cluster.rows(sql)
            except load.psycopg2.Error as error:
                text = "%s %s %s" % (error, error.diag.message_detail, error.diag.message_hint)
                ensure(error.pgcode == "US004" and str(oldest) in text, "%s said %s %s" % (sql, error.pgcode, text))
            else:
                raise lib.Failure("%s jumped silently" % sql)
        ensure(self.cluster.value("SELECT min(position) FROM usher.read(%s, 10)", (oldest - 1,)) == there,
               "a read from the oldest position does not begin there")
        ensure(self.cluster.value("SELECT usher.stream_version('first-1')") == 1, "a stream without events lost its version")
        ensure(self.cluster.value("SELECT usher.append('first-1', 'load.small', '{\"tag\": -8}', 1)") == 2,
               "a stream without events does not go on")

    def holds(self):
        """A hold stops a removal; force does not care."""
        position = self.partitions()[0] + PARTITION_SIZE // 2
        self.cluster.rows("SELECT usher.hold('reader', %s)", (position,))
        before = self.partitions()
        top = self.cluster.value("SELECT usher.stable_position()")
        self.cluster.rows("SELECT usher.drop_partitions_before(%s)", (top,))
        time.sleep(0.5)             # nothing may happen
        ensure(self.partitions()[0] == before[0], "a partition that a hold needs was removed")
        self.cluster.rows("SELECT usher.drop_partitions_before(%s, true)", (top,))
        lib.wait_until(lambda: self.partitions()[0] > position, 10, "a forced removal")
        self.cluster.rows("SELECT usher.release('reader')")
        self.cluster.check()


    def kept(self):
        """A category with longer retention stays, alone; whoever stands in what went is told, in a gap between as well."""
        self.fill(1, "keep-1")
        kept_in = [first for first in self.partitions() if first <= self.cluster.value("SELECT usher.stable_position()")][-1]
        self.fill(3 * PARTITION_SIZE, "other-1")
        self.cluster.rows("SELECT usher.set_category_retention('keep', NULL)")
        self.cluster.rows("SELECT usher.drop_partitions_before(%s)", (kept_in + 2 * PARTITION_SIZE,))
        lib.wait_until(lambda: self.partitions()[:2] == [kept_in, kept_in + 2 * PARTITION_SIZE], 10,
                       "all but the kept events to go")
        for after in (0, kept_in - 1, kept_in + PARTITION_SIZE // 2, kept_in + PARTITION_SIZE + PARTITION_SIZE // 2):
            try:
                rows = self.cluster.rows("SELECT position FROM usher.read(%s, 3)", (after,))
            except load.psycopg2.Error as error:
                ensure(error.pgcode == "US004", "read(%d) said %s" % (after, error))
            else:
                raise lib.Failure("read(%d) jumped silently to %s" % (after, rows))
        kept = self.cluster.rows("SELECT stream, version FROM usher.read_category('keep', %s, 10)", (kept_in - 1,))
        ensure(kept == [("keep-1", 1)], "the kept category is not read")
        ensure(self.cluster.value("SELECT count(*) FROM usher.read_stream('keep-1')") == 1, "the kept stream is not read")
        ensure(self.cluster.value("SELECT usher.stream_version('other-1')") == 3 * PARTITION_SIZE, "a version was lost")
        self.cluster.check()

    def fill(self, count, stream):
        for done in range(0, count, 500):
            self.cluster.rows("SELECT usher.append_many(array_agg(%s::text), array_agg('load.small'::text),"
                              " array_agg('{\"tag\": -12}'::text)) FROM generate_series(1, %s)",
                              (stream, min(500, count - done)))


def main():
    options = lib.arguments("Partitions come and go under load.", partitions=(int, None, "to be removed (20, --short: 20)"))
    lib.main([("partitions", lambda: Rolling(options.partitions or 20).run())], 120 if options.short else 300)


if __name__ == "__main__":
    main()
