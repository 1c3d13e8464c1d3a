#!/usr/bin/python3
# test/chaos/standby.py: a hot standby reads gap-safe while the primary writes, and goes on after the primary's death.
# alone: it measures how far a standby is behind
#
# Followers read on the primary and on the standby; then the primary is killed, the standby promoted, and all of them go on
# there with the cursors that they have. What the standby never received is lost, but no position that any follower has
# passed is given to another event.
import time

import follow
import lib
import load
from lib import ensure, ensure_empty, note

LAG_SECONDS_P99_MAX = 0.3       # beyond what plain commits take that are made beside
WRITERS = 8


class Failover:
    def __init__(self, seconds, restart_standby):
        self.seconds = seconds
        self.restart_standby = restart_standby
        self.primary = lib.Cluster(lib.work_directory(), conf={
            "usher.partition_size": "100000", "usher.position_chunk": "1024"}).initdb().start().create()
        self.primary.rows("SELECT usher.create_tenant('other')")
        self.standby = self.primary.standby()
        self.gate = load.Gate()
        self.on_primary = follow.Follower(self.primary, "wait")
        self.on_standby = [follow.Follower(self.standby, "read", 50), follow.Follower(self.standby, "page", 500),
                           follow.Follower(self.standby, "wait")]

    def writers(self, cluster, first):
        """Processes that write from the first returned event to the second."""
        begin, stop = load.SharedFlag(), load.SharedFlag()
        gate = load.Gate(stop)
        groups = [[load.Writer(cluster, first + n, gate, pause=0.02) for n in range(m, WRITERS, 2)] for m in (0, 1)]
        groups[0].append(load.BulkWriter(cluster, first + WRITERS, gate, pause=0.3))
        return begin, stop, [load.Fork(load.run_writers, group, begin) for group in groups]

    def run(self):
        self.before, self.after = self.writers(self.primary, 0), self.writers(self.standby, 50)
        opened = load.OpenSession(self.primary, 97, self.gate).begin()
        threads = [load.thread(follower.follow, self.gate) for follower in [self.on_primary] + self.on_standby]
        try:
            before = self.before_failover()
            opened.disconnect()
            lost = self.after_failover(before)
            self.verify(before, lost)
        finally:
            self.gate.stop.set()
            load.join(threads)
            self.standby.destroy()
            self.primary.destroy()

    def before_failover(self):
        begin, stop, forks = self.before
        heart = lib.Heartbeat(self.primary)
        heart.start()
        begin.set()
        time.sleep(self.seconds)
        ensure_empty(self.on_primary.findings + [f for follower in self.on_standby for f in follower.findings], "reader")
        self.refuses_appends()
        if self.restart_standby:
            self.standby.kill9()
            self.standby.start()
            time.sleep(self.seconds / 2)
        ensure(all(follower.seen for follower in self.on_standby), "the standby's readers saw nothing")
        heart.stop()
        self.cut_off()
        self.killed_at = time.monotonic()
        self.primary.kill9()
        stop.set()
        ledger = load.Ledger.sum(fork.join() for fork in forks)
        load.summary(ledger, self.seconds)
        self.report_lag(ledger, heart)
        return ledger

    def cut_off(self):
        """The standby receives no more; readers of the primary pass positions that it will never know."""
        with lib.contextlib.closing(self.standby.connect()) as connection:
            connection.cursor().execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.cursor().execute("SELECT pg_reload_conf()")
        lib.wait_until(lambda: not self.primary.rows("SELECT FROM pg_stat_replication"), 10, "the replication to end")
        passed = self.on_primary.passed
        lib.wait_until(lambda: self.on_primary.passed > passed + 1500 or self.on_primary.findings, 20,
                       "a reader to pass what was not replicated")

    def refuses_appends(self):
        with lib.contextlib.closing(self.standby.connect()) as connection:
            try:
                connection.cursor().execute("SELECT usher.append('order-1', 'load.small', '{}')")
            except load.psycopg2.Error as error:
                ensure(error.pgcode == "25006", "an append on a standby said %s %s" % (error.pgcode, error))
                return
        raise lib.Failure("an append on a standby was accepted")

    def report_lag(self, ledger, heart):
        for follower in self.on_standby:
            lags = [at - ledger.acked_at[tag] for tag, at in follower.seen_at.items() if tag in ledger.acked_at]
            p99 = lib.percentile(lags, 0.99)
            note("standby reader %s: %d events, commit to read p50 %.0f ms, p99 %.0f ms, max %.0f ms (plain commits at most %.0f ms)" % (
                follower.how, len(lags), lib.percentile(lags, 0.5) * 1000, p99 * 1000, max(lags or [0]) * 1000, heart.longest * 1000))
            ensure(self.restart_standby or p99 < LAG_SECONDS_P99_MAX + 2 * heart.longest, "commit to read on the standby: p99 %.0f ms" % (p99 * 1000))

    def after_failover(self, before):
        """Promote; everybody goes on there. Returns the events that the standby had not received."""
        self.gate.pause()
        self.standby.promote()
        log = follow.log_contents(self.standby)
        there = {row[3] for row in log.values()}
        lost = {tag for tag in before.acked if tag not in there}
        note("promoted: %d of %d events had not been received" % (len(lost), len(before.acked)))
        ensure_empty(["event %d, %.1f s before the crash" % (tag, self.killed_at - before.acked_at[tag]) for tag in lost
                      if before.acked_at[tag] < self.killed_at - 5], "lost although it was old")
        ensure_empty(follow.findings_of_versions(log), "I3 after the promotion")
        for follower in self.on_standby:
            ensure_empty(follow.findings_of_follower(follower, log, at_end=False), "standby reader at the promotion")
        stolen = [position for position, tag in self.on_primary.seen.items() if position in log and log[position][3] != tag]
        ensure_empty(stolen, "position of another event")
        self.on_primary.forget(log)
        self.on_primary.cluster = self.standby
        top = max(max(follower.cursor, follower.passed) for follower in [self.on_primary] + self.on_standby)
        with lib.contextlib.closing(self.standby.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT usher.append('promoted-1', 'load.small', '{\"tag\": -4}')")
            cursor.execute("SELECT usher.last_position()")
            position = cursor.fetchone()[0]
        note("readers had passed %d, the first new position is %d" % (top, position))
        ensure(position > top, "position %d was given although a reader had passed %d" % (position, top))
        return lost

    def verify(self, before, lost):
        """Some more load on the promoted server, then everything is compared."""
        self.gate.resume()
        begin, stop, forks = self.after
        begin.set()
        time.sleep(self.seconds / 2)
        stop.set()
        ledger = load.Ledger.sum(fork.join() for fork in forks)
        load.summary(ledger, self.seconds / 2)
        ensure(ledger.acked, "nothing could be appended after the promotion")
        end = self.standby.value("SELECT usher.stable_position()")
        followers = [self.on_primary] + self.on_standby
        try:
            lib.wait_until(lambda: all(max(f.cursor, f.passed) >= end or f.findings for f in followers), 20,
                           "the readers to come to the end")
        finally:
            for follower in followers:
                ensure_empty(follower.findings, "reader after the promotion")
        self.gate.pause()
        ledger.add(before)
        for tag in lost:
            del ledger.acked[tag]
            ledger.positions.pop(tag, None)
            ledger.aborted.add(tag)
        ledger.acked[-4] = ("default", "promoted-1", 1)
        log = follow.log_contents(self.standby)
        ensure_empty(follow.findings_of_log(log, ledger), "I1 after the failover")
        ensure_empty(follow.findings_of_versions(log), "I3 after the failover")
        for follower in followers:
            ensure_empty(follow.findings_of_follower(follower, log), "I2 after the failover")
        self.standby.check()
        ensure_empty(self.standby.log_crashes() + self.primary.log_crashes(), "server log")


def main():
    options = lib.arguments("Readers on a standby, and a failover.", seconds=(float, None, "of load before the failover"))
    seconds = options.seconds or (6 if options.short else 40)
    tests = [("standby", lambda: Failover(seconds, False).run())]
    if not options.short:
        tests.append(("standby restarted", lambda: Failover(seconds / 4, True).run()))
    lib.main(tests, 120 if options.short else 300)


if __name__ == "__main__":
    main()
