#!/usr/bin/python3
# test/chaos/crash.py: kill -9 in the middle of the load; nothing acknowledged is lost, and no position is given twice.
#
# The writers and followers of torture.py live through all crashes. Before each round writes again, all that was promised is
# compared with what is there (I1, I3), and all that a follower has passed with what it saw (I2).
#   plain     the postmaster is killed, synchronous_commit on
#   async     the same with synchronous_commit off, and nobody who writes WAL ahead: acknowledged events are lost, passed
#             positions may not be given again
#   failed    the last thing before the crash is a commit that fails after it took its positions (a serialization failure),
#             and followers have passed them
#   backend   a writer's backend is killed: the server resets its shared memory
#   worker    one of the extension's workers is killed
import os
import random
import signal
import threading
import time

import follow
import lib
import load
from lib import Failure, ensure, ensure_empty, note

WRITERS = 32
SHORT = ("plain", "async", "failed")
FULL = ("plain", "async", "failed", "plain", "failed async", "backend", "async", "worker")
POSITION_CHUNKS = {"plain": 65536, "backend": 20000}        # else the smallest
FAILED_EVENTS = 3000          # more than is reserved ahead


class Crash:
    def __init__(self):
        self.cluster = lib.Cluster(lib.work_directory(), conf={
            "usher.partition_size": "20000", "wal_writer_delay": "10s", "wal_writer_flush_after": "1GB", "wal_buffers": "64MB",
            "usher.position_chunk": "1024"}).initdb().start().create()
        self.cluster.rows("SELECT usher.create_tenant('other')")
        self.cluster.rows("CREATE TABLE skew_a AS SELECT 1 AS n; CREATE TABLE skew_b AS SELECT 1 AS n")
        self.writing, self.following = load.Gate(), load.Gate()
        self.writing.stop = self.following.stop = threading.Event()
        self.sessions = [load.Writer(self.cluster, n, self.writing, "other" if n == 7 else "default") for n in range(WRITERS)]
        self.sessions.append(load.BulkWriter(self.cluster, WRITERS, self.writing))
        self.own = load.Session(self.cluster, 98, self.writing)
        self.opened = load.OpenSession(self.cluster, 99, self.writing)
        self.followers = [follow.Follower(self.cluster, "read", 40), follow.Follower(self.cluster, "wait"),
                          follow.Follower(self.cluster, "page", 500)]
        self.confirmed = set()      # events that survived a crash
        self.lost = 0

    def ledgers(self):
        return [session.ledger for session in self.sessions + [self.own, self.opened]]

    # one round

    def round(self, kind, number):
        for session in self.sessions:
            session.settings["synchronous_commit"] = "off" if "async" in kind else "on"
            session.disconnect()
        self.cluster.reload(**{"usher.position_chunk": str(POSITION_CHUNKS.get(kind, 1024))})
        self.opened.begin()
        acked = sum(len(ledger.acked) for ledger in self.ledgers())
        began = time.monotonic()
        self.following.resume()
        self.writing.resume()
        checkpoint = random.random() < 0.4
        target = acked + random.randrange(500, 2000)
        lib.wait_until(lambda: sum(len(ledger.acked) for ledger in self.ledgers()) > target, 30, "the load to get on")
        if checkpoint:
            self.cluster.rows("CHECKPOINT")
            time.sleep(random.uniform(0, 0.2))
        stopped = [self.stop_walwriter()] if "async" in kind or "failed" in kind else []
        failed = self.fail_last("async" in kind) if "failed" in kind else 0
        self.crash(kind, stopped)
        self.opened.settle("aborted")
        self.opened.disconnect()
        acked = sum(len(ledger.acked) for ledger in self.ledgers()) - acked
        lost = self.verify("async" in kind)
        note("%d %s: %d acknowledged in %.1f s%s%s%s" % (
            number, kind, acked, time.monotonic() - began, ", %d of them lost" % lost if lost else "",
            ", %d positions passed that were given in vain" % failed if failed else "", ", checkpoint" if checkpoint else ""))

    def stop_walwriter(self):
        """From here on only commits that must be durable write WAL; let some others happen."""
        pid = self.cluster.stop_walwriter()
        acked = sum(len(ledger.acked) for ledger in self.ledgers())
        lib.wait_until(lambda: sum(len(ledger.acked) for ledger in self.ledgers()) > acked + 200, 30, "the load to get on")
        return pid

    def crash(self, kind, stopped):
        if kind in ("backend", "worker"):
            pattern = "writer" if kind == "backend" else "%usher%"
            pids = self.cluster.rows("SELECT pid FROM pg_stat_activity WHERE CASE WHEN %s = 'backend' THEN application_name = %s"
                                     " ELSE backend_type LIKE %s END", (kind, pattern, pattern))
            ensure(pids, "no %s to kill" % kind)
            self.cluster.kill9_backend(random.choice(pids)[0])
        else:
            self.cluster.kill9(stopped)
        self.following.pause()
        self.writing.pause()
        if not self.cluster.running():
            self.cluster.start()
        for name, in self.cluster.rows("SELECT gid FROM pg_prepared_xacts"):
            self.cluster.rows("ROLLBACK PREPARED '%s'" % name)

    def fail_last(self, asynchronous):
        """The load ends, then a commit takes positions and fails, and all followers pass them. Returns how many."""
        self.writing.pause()
        before = self.cluster.value("SELECT usher.stable_position()")
        self.fail_commit(asynchronous)
        after = self.cluster.value("SELECT usher.stable_position()")
        ensure(after >= before + FAILED_EVENTS, "the failed commit took no positions (%d, then %d)" % (before, after))
        lib.wait_until(lambda: all(follower.passed >= after or follower.how == "page" for follower in self.followers), 10,
                       "the followers to pass a failed commit")
        return after - before

    def fail_commit(self, asynchronous):
        """A transaction that the serialization check at the end of its commit refuses: it wrote what a prepared pivot read."""
        settings = {"synchronous_commit": "off" if asynchronous else "on"}
        third, pivot, victim = [self.cluster.connect(name="skew", settings=settings) for _ in range(3)]
        run = [connection.cursor().execute for connection in (third, pivot, victim)]
        for execute in run:
            execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        run[0]("SELECT * FROM skew_a")
        run[1]("SELECT * FROM skew_b")
        run[1]("UPDATE skew_a SET n = n + 1")
        run[1]("PREPARE TRANSACTION 'pivot'")
        run[2]("SELECT usher.append_many(array_agg('vain-' || n %% 7), array_agg('vain'::text), array_agg('{}'::text))"
               " FROM generate_series(1, %s) AS n", (FAILED_EVENTS,))
        run[2]("UPDATE skew_b SET n = n + 1")
        try:
            run[2]("COMMIT")
        except load.psycopg2.errors.SerializationFailure:
            return
        finally:
            for connection in (third, pivot, victim):
                connection.close()
        raise Failure("the commit that had to fail did not")

    # after the crash

    def verify(self, lossy):
        log = follow.log_contents(self.cluster)
        there = {row[3] for row in log.values()}
        lost = self.settle_doubts(there) if lossy else 0
        ledger = load.Ledger.sum(self.ledgers())
        ensure_empty(follow.findings_of_log(log, ledger), "I1 after the crash")
        ensure_empty(self.confirmed - there, "I1: event that had survived a crash before is gone")
        ensure_empty(follow.findings_of_versions(log), "I3 after the crash")
        for follower in self.followers:
            if lossy:
                stolen = ["%d: saw event %s, is %s" % (position, tag, log[position][3])
                          for position, tag in follower.seen.items() if position in log and log[position][3] != tag]
                ensure_empty(stolen, "position given twice")
                follower.forget(log)
            ensure_empty(follow.findings_of_follower(follower, log, at_end=False), "I2 after the crash")
        self.settle_doubts(there)
        self.confirmed = there
        self.append_above()
        self.cluster.check()
        ensure_empty(self.cluster.log_crashes(), "server log")
        return lost

    def settle_doubts(self, there):
        """What was in doubt is known now; acknowledged events that are gone count as abandoned: they must never appear."""
        lost = 0
        for ledger in self.ledgers():
            for tag, what in ledger.doubt.items():
                if tag in there:
                    ledger.acked[tag] = what
                else:
                    ledger.aborted.add(tag)
            ledger.doubt.clear()
            for tag in [tag for tag in ledger.acked if tag not in there]:
                del ledger.acked[tag]
                ledger.positions.pop(tag, None)
                ledger.aborted.add(tag)
                lost += 1
        return lost

    def append_above(self):
        """The next event's position is above all that anybody has passed."""
        top = max(max(follower.passed, follower.cursor) for follower in self.followers)
        self.own.connect()
        self.own.committing = True
        self.own.append("after-crash")
        position = self.own.value("SELECT usher.last_position()")
        self.own.settle("acked")
        self.own.disconnect()
        ensure(position > top, "position %d was given although a reader had passed %d" % (position, top))

    def run(self, kinds):
        self.writing.pause()
        self.following.pause()
        threads = [load.thread(session.run) for session in self.sessions]
        threads += [load.thread(follower.follow, self.following) for follower in self.followers]
        try:
            for number, kind in enumerate(kinds, 1):
                self.round(kind, number)
            self.settle()
        finally:
            self.writing.stop.set()
            load.join(threads)
            self.cluster.destroy()

    def settle(self):
        """A last stretch without a crash: everybody comes to the end."""
        for session in self.sessions:
            session.settings["synchronous_commit"] = "on"
            session.disconnect()
        self.following.resume()
        self.writing.resume()
        time.sleep(0.5)
        self.writing.pause()
        end = self.cluster.value("SELECT usher.stable_position()")
        lib.wait_until(lambda: all(max(follower.passed, follower.cursor) >= end for follower in self.followers), 30,
                       "the followers to come to the end")
        self.following.pause()
        log = follow.log_contents(self.cluster)
        ledger = load.Ledger.sum(self.ledgers())
        ensure_empty(follow.findings_of_log(log, ledger), "I1 in the end")
        ensure_empty(follow.findings_of_versions(log), "I3 in the end")
        for follower in self.followers:
            ensure_empty(follow.findings_of_follower(follower, log), "I2 in the end")
        load.summary(ledger, 1)


def main():
    options = lib.arguments("kill -9 in the middle of the load.", kills=(int, None, "of the postmaster (20, --short: 3)"))
    kills = options.kills or (3 if options.short else 20)
    cycle, kinds = SHORT if options.short else FULL, []
    while sum(kind not in ("backend", "worker") for kind in kinds) < kills:
        kinds.append(cycle[len(kinds) % len(cycle)])
    lib.main([("crash", lambda: Crash().run(kinds))], 120 if options.short else 600)


if __name__ == "__main__":
    main()
