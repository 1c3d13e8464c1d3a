#!/usr/bin/python3
# test/chaos/torture.py: every committed event exactly once and in order, with an open session that makes nobody wait.
# alone: it measures how long single statements wait
#
# 32 writers (savepoints, aborts, conflicts, batches, canceled and killed sessions, bulk appends beside) and followers with a
# bigint cursor; a session that has appended stays open for the whole run. The same run with a careless follower
# (--reader max, --reader same-statement) must find a loss: without arguments all three are run.
import threading
import time

import follow
import lib
import load
from lib import Failure, ensure, ensure_empty, note

WAIT_SECONDS_MAX = 0.3      # whoever waits for the open session waits for good
PROCESSES = 4
WRITERS = 32
PROBE = 60                          # beside the numbers of the writers
CARELESS = ("max", "same-statement")


class Monitor(threading.Thread):
    """Looks for sessions that wait for a lock of one that stays open, and for how long the stable position stood still."""

    def __init__(self, cluster, blocker):
        super().__init__(daemon=True)
        self.connection = cluster.connect(name="monitor")
        self.blocker = blocker
        self.blocked = {}           # pid → (longest seconds, query)
        self.stood_still = []       # (start, end, what): the stable position did not move
        self.samples = 0
        self.quit = threading.Event()

    def run(self):
        cursor = self.connection.cursor()
        stable, moved = -1, time.monotonic()
        while not self.quit.wait(0.02):
            cursor.execute("SELECT l.pid, extract(epoch FROM clock_timestamp() - l.waitstart)::float8, left(a.query, 60)"
                           " FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
                           " WHERE NOT l.granted AND %s = ANY (pg_blocking_pids(l.pid))", (self.blocker,))
            for pid, seconds, query in cursor.fetchall():
                self.blocked[pid] = max(self.blocked.get(pid, (0, "")), (seconds or 0, query))
            cursor.execute("SELECT usher.stable_position()")
            now, before = time.monotonic(), stable
            stable = cursor.fetchone()[0]
            self.samples += 1
            if stable != before:
                self.stood_still.append((moved, now, "stable position at %d" % before))
                moved = now
        self.connection.close()

    def finish(self):
        self.quit.set()
        self.join(10)
        return self


class Assassin(threading.Thread):
    """Cancels writers' statements and ends their sessions, wherever they are."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.connection = cluster.connect(name="assassin")
        self.quit = threading.Event()
        self.hits = 0

    def run(self):
        cursor = self.connection.cursor()
        while not self.quit.wait(0.04):
            self.hits += 1
            cursor.execute("SELECT pg_%s_backend(pid) FROM pg_stat_activity WHERE application_name = 'writer'"
                           " AND state = 'active' ORDER BY random() LIMIT 1" % ("terminate" if self.hits % 5 == 0 else "cancel"))
        self.connection.close()

    def finish(self):
        self.quit.set()
        self.join(10)


def probe(cluster, seconds, ledger):
    """Nothing runs but the open session: how long do others' appends and reads take?"""
    waits = []
    with lib.contextlib.closing(cluster.connect(name="probe")) as connection:
        cursor = connection.cursor()
        deadline = time.monotonic() + seconds
        number = 0
        while time.monotonic() < deadline:
            number += 1
            tag, stream = PROBE * load.TAGS_PER_WRITER + number, "probe-%d" % (number % 10)
            start = time.monotonic()
            cursor.execute("SELECT usher.append(%s, %s, %s)", (stream, load.type_of(tag), load.data_of(tag)))
            ledger.acked[tag] = ("default", stream, cursor.fetchone()[0])
            cursor.execute("SELECT usher.last_position()")
            position = cursor.fetchone()[0]
            appended = time.monotonic()
            cursor.execute("SELECT count(*) FROM usher.read(%s, 10)", (position - 1,))
            while cursor.fetchone()[0] == 0 and time.monotonic() < appended + 5:
                cursor.execute("SELECT count(*) FROM usher.read(%s, 10)", (position - 1,))
            waits.append((start, appended, "append"))
            waits.append((appended, time.monotonic(), "read"))
            cursor.execute("CALL usher.wait_for(%s, '5 s', '*', NULL)", (position - 1,))
            waits.append((waits[-1][1], time.monotonic(), "wait_for"))
    return waits


def ensure_monitor_sees(cluster, open_session, monitor):
    """The measurement itself: a writer of the open session's own stream does wait, and the monitor notices."""
    pids = []

    def blocked():
        with lib.contextlib.closing(cluster.connect(name="blocked", settings={"statement_timeout": "3s"})) as connection:
            pids.append(connection.get_backend_pid())
            try:
                connection.cursor().execute("SELECT usher.append(%s, 'probe', '{}')", ("open-%d" % open_session.number,))
            except load.psycopg2.errors.QueryCanceled:
                return
            pids.clear()
    waiter = load.thread(blocked)
    lib.wait_until(lambda: pids and pids[0] in monitor.blocked, 5, "the monitor to see a writer of the open session's stream")
    cluster.rows("SELECT pg_cancel_backend(%s)", (pids[0],))
    waiter.join(10)
    monitor.blocked.pop(pids[0], None)
    ensure(pids, "a second writer of the open session's stream did not wait")


def run(cluster, how, seconds):
    """One run; returns what is wrong with the follower under test, and with everything else."""
    careless = how in CARELESS
    stop, found = load.SharedFlag(), load.SharedFlag()
    until = load.SharedNumber()
    gate = load.Gate(stop)
    opened = load.OpenSession(cluster, 99, gate).begin()

    writers = [load.Writer(cluster, n, gate, "other" if n % 16 == 15 and not careless else "default") for n in range(WRITERS)]
    groups = [writers[n::PROCESSES] for n in range(PROCESSES)] + [[load.BulkWriter(cluster, WRITERS, gate)]]
    if careless:
        followers = [follow.Follower(cluster, how)]
    else:
        followers = [follow.Follower(cluster, "read", 17), follow.Follower(cluster, "wait"), follow.Follower(cluster, "page", 300),
                     follow.Follower(cluster, "read", 1000, "other")]
    readers = [load.Fork(lambda f=f: f.follow(gate, until, found if careless else None).result()) for f in followers]
    began = time.monotonic()
    forks = [load.Fork(load.run_writers, group) for group in groups]
    monitor = Monitor(cluster, opened.pid)
    monitor.start()
    heart = lib.Heartbeat(cluster)
    heart.start()
    assassin = Assassin(cluster)
    if not careless:
        assassin.start()

    while time.monotonic() < began + seconds and not found.is_set():
        time.sleep(0.05)
        if int((time.monotonic() - began) * 20) % 20 == 0:
            opened.more()
    if not careless:
        assassin.finish()
    stop.set()
    ledger = load.Ledger.sum(fork.join() for fork in forks)
    load.summary(ledger, time.monotonic() - began)
    if not careless:
        quiet(cluster, opened, monitor, heart, min(3.0, seconds / 4), ledger)
    heart.stop()
    monitor.finish()
    opened.commit()
    ledger.add(opened.ledger)

    until.value = cluster.value("SELECT usher.stable_position()")
    followers = [reader.join() for reader in readers]
    log = follow.log_contents(cluster)
    if not careless:
        report(followers, ledger, monitor, heart)
        ensure_empty(heart.to_blame(monitor.stood_still[1:-1], 1.0), "stable position stood still under load (ms)")
    others = follow.findings_of_log(log, ledger) + follow.findings_of_versions(log)
    return [finding for follower in followers for finding in follow.findings_of_follower(follower, log)], others


def quiet(cluster, opened, monitor, heart, seconds, ledger):
    """Only the open session is left: whatever takes long now waits for it."""
    ensure_empty(["process %d: %.0f ms in %s" % (pid, wait * 1000, query) for pid, (wait, query) in monitor.blocked.items()],
                 "waited for the open session under load")
    waits = probe(cluster, seconds, ledger)
    note("beside the open session alone: %d appends and reads, slowest %.1f ms (plain commits: %.1f ms)" % (
        len(waits), max(end - start for start, end, _ in waits) * 1000, heart.longest * 1000))
    ensure_empty(heart.to_blame(waits, WAIT_SECONDS_MAX), "slow beside the open session (ms)")
    ensure_empty(monitor.blocked.items(), "waited for the open session")
    ensure_monitor_sees(cluster, opened, monitor)


def report(followers, ledger, monitor, heart):
    still = [end - start for start, end, _ in monitor.stood_still[1:-1]] or [0]
    note("nobody waited for the open session in %d samples; the stable position stood still for at most %.0f ms"
         " (p99 %.0f ms, plain commits at most %.0f ms)" % (monitor.samples, max(still) * 1000,
                                                           lib.percentile(still, 0.99) * 1000, heart.longest * 1000))
    for follower in followers:
        lags = [at - ledger.acked_at[tag] for tag, at in follower.seen_at.items() if tag in ledger.acked_at]
        note("reader %s: %d events in %d reads, lag p50 %.0f ms, p99 %.0f ms" % (
            follower.how, len(follower.seen), follower.reads, lib.percentile(lags, 0.5) * 1000,
            lib.percentile(lags, 0.99) * 1000))


def with_cluster(how, seconds):
    cluster = lib.Cluster(lib.work_directory()).initdb().start().create()
    cluster.rows("SELECT usher.create_tenant('other')")
    try:
        about_reader, others = run(cluster, how, seconds)
        ensure_empty(others, "log")
        cluster.check()
        ensure_empty(cluster.log_crashes(), "server log")
        return about_reader
    finally:
        cluster.destroy()


def careful(seconds):
    ensure_empty(with_cluster("read", seconds), "readers")


def control(how, seconds):
    """The same run must find the loss of a careless reader."""
    findings = with_cluster(how, seconds)
    lost = [finding for finding in findings if "never saw" in finding]
    if not lost:
        raise Failure("a reader with %s lost nothing within %.0f s: this test sees no loss" % (how, seconds))
    note("reader %s: %d losses found, as it must be; %s" % (how, len(lost), lost[0]))


def main():
    options = lib.arguments("Writers, followers and an open session.", seconds=(float, None, "of load"),
                            reader=(str, None, "only this reader: read, max, same-statement"))
    seconds = options.seconds or (12 if options.short else 90)
    tests = [("torture", "read", lambda: careful(seconds))]
    tests += [("torture control " + how, how, lambda how=how: control(how, options.seconds or (20 if options.short else 60)))
              for how in CARELESS]
    lib.main([(name, test) for name, how, test in tests if options.reader in (None, how)], 180 if options.short else 400)


if __name__ == "__main__":
    main()
