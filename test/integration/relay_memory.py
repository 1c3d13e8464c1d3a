#!/usr/bin/python3
# test/integration/relay_memory.py: what the relay does that needs no broker, shown by sinks of kind memory.
# slow: 30 s
import json
import os
import random
import sys
import threading
import time

import relay_lib
from relay_lib import Log, lib, promptly
from lib import ensure, ensure_empty, note

LONG = bool(os.environ.get("USHER_RELAY_LONG"))


class Test:
    """All tests share a cluster; each has a database."""

    def __init__(self):
        self.cluster = lib.Cluster(lib.work_directory(), conf={"autovacuum": "off"}).initdb().start()

    def log(self, name):
        return Log(self.cluster, "relay_" + name)

    # changes of the configuration

    def changes(self):
        """Every change takes effect within a second, without a restart."""
        log, took = self.log("changes"), {}
        log.add_sink("live")        # nothing else has happened in this database
        took["add"] = promptly(lambda: log.states("live") == ["running"], "a new sink to run")
        log.append()
        took["first"] = promptly(lambda: log.messages("live"), "the first message of a new sink")

        log.run("SELECT usher.pause_sink('live')")
        took["pause"] = promptly(lambda: log.states("live") == ["paused"] and not log.pids(), "the sink to pause")
        log.append()
        log.run("SELECT usher.resume_sink('live')")
        took["resume"] = promptly(lambda: len(log.messages("live")) == 2, "the sink to resume")

        log.alter_sink("live", mode="structured")
        took["alter"] = promptly(lambda: log.append() and self.is_structured(log.messages("live")[-1]), "another mode")
        log.alter_sink("live", mode=None)
        took["alter back"] = promptly(lambda: log.append() and not self.is_structured(log.messages("live")[-1]), "the old mode")

        log.alter_sink("live", parallel=3)
        took["lanes"] = promptly(lambda: log.states("live") == ["running"] * 3 and len(log.pids()) == 3, "three lanes")
        log.alter_sink("live", parallel=1)
        took["lane"] = promptly(lambda: log.states("live") == ["running"] and len(log.pids()) == 1, "one lane")

        route = log.value("SELECT usher.add_route('live', 'order.*', 'of-{tenant}')")
        took["route"] = promptly(lambda: log.append() and log.messages("live")[-1].topic == "of-default", "a route")
        log.run("SELECT usher.alter_route(%s, topic => 'other')", route)
        took["alter route"] = promptly(lambda: log.append() and log.messages("live")[-1].topic == "other", "a changed route")
        log.run("SELECT usher.drop_route(%s)", route)
        took["drop route"] = promptly(lambda: log.append() and log.messages("live")[-1].topic == "order", "no route")

        with_rollback = log.cluster.connect(log.database)
        with_rollback.autocommit = False
        with_rollback.cursor().execute("SELECT usher.pause_sink('live')")
        with_rollback.rollback()
        with_rollback.close()
        log.caught_up("live")
        ensure(log.states("live") == ["running"], "a change that was rolled back has paused the sink")

        log.run("SELECT usher.drop_sink('live')")
        took["drop"] = promptly(lambda: not log.pids() and not log.status("live"), "the worker of a dropped sink to leave")
        ensure(log.value("SELECT count(*) FROM pg_class WHERE relkind = 'S' AND relname LIKE 'sink\\_%%\\__'") == 0,
               "the cursor of a dropped sink is left")
        ensure(lib.percentile(took.values(), 0.5) < relay_lib.SOON_S, "changes take %s s" % took)
        note("milliseconds to take effect: " + ", ".join("%s %.0f" % (what, took[what] * 1000) for what in took))
        log.drop()

    @staticmethod
    def is_structured(message):
        return "specversion" in (message.body or "") and json.loads(message.body)["type"] == "order.placed"

    def seeks(self):
        log = self.log("seeks")
        log.append(10)
        log.add_sink("s", position=0)
        log.wait_messages("s", 10)
        log.run("SELECT usher.seek_sink('s', 4)")
        promptly(lambda: len(log.messages("s")) >= 16, "a seek backwards")
        found = log.wait_messages("s", 16)[10:]
        ensure([m.position for m in found] == [5, 6, 7, 8, 9, 10], "a seek to 4 repeated %s" % [m.position for m in found])
        ensure(all(m.headers["replay"].startswith("-") for m in found), "what is repeated by a seek does not say so")
        log.append()
        ensure("replay" not in log.wait_messages("s", 17)[16].headers, "what comes after a seek is marked as a replay")

        log.run("SELECT usher.pause_sink('s')")
        log.append(5)
        log.run("SELECT usher.seek_sink('s', 14), usher.resume_sink('s')")
        ensure([m.position for m in log.wait_messages("s", 19)[17:]] == [15, 16], "a seek forwards did not skip to 15")
        log.fails("US018", "SELECT usher.seek_sink('s', 999)")
        # one after the other, while events come in
        for position in (3, 0, 12):
            log.run("SELECT usher.seek_sink('s', %s)", position)
            log.append()
            log.caught_up("s")
        ensure_empty(set(range(1, log.stable() + 1)) - {m.position for m in log.messages("s")} - {12, 13, 14}, "lost by seeks")
        log.drop()

    # which events, and where to

    def routes(self):
        log = self.log("routes")
        log.run("SELECT usher.create_tenant('acme')")
        log.add_sink("r")
        for route in (("order.*", "{category}s.v1", "{data.customer}", None, 0), ("order.cancelled", "cancelled", "{stream}", None, 0),
                      ("**", "vip", "", '{"data": {"vip": true}}', 9), ("paid", "{topic}.{tenant}", "{key}", None, 0),
                      ("odd", "{data.topic}", "{stream}", None, 0)):
            log.run("SELECT usher.add_route('r', %s, %s, %s, filter => %s, priority => %s)", *route)
        for stream, kind, data in (("order-1", "order.placed", {"customer": "ann"}), ("order-1", "order.cancelled", {}),
                                   ("order-2", "order.placed", {"vip": True}), ("other-1", "other.thing", {}),
                                   ("odd-1", "odd", {"topic": "chosen"}), ("order-3", "order.placed", {"customer": 7})):
            log.run("SELECT usher.append(%s, %s, %s)", stream, kind, json.dumps(data))
        log.run("SET usher.tenant = 'acme'")
        log.run("SELECT usher.publish('bills', 'k7', 'paid')")
        log.run("RESET usher.tenant")
        found = [(m.topic, m.key, m.headers["tenant"]) for m in log.wait_messages("r", 6)]
        ensure(found == [("orders.v1", "ann", "default"), ("cancelled", "order-1", "default"), ("vip", None, "default"),
                         ("chosen", "odd-1", "default"), ("orders.v1", "7", "default"), ("bills.acme", "k7", "acme")],
               "routed to %s" % found)
        log.caught_up("r")
        lib.wait_until(lambda: log.status("r")[0].unmatched == 1, 5, "what no route matches to be counted")
        for stream, kind, data in (("order-1", "order.placed", {"customer": "ann"}), ("odd-1", "odd", {"topic": "chosen"})):
            told = log.rows("SELECT topic, key FROM usher.explain_route('r', %s, %s, %s)", kind, stream, json.dumps(data))[0]
            ensure(told in [t[:2] for t in found], "explain_route says %s" % (told,))
        log.drop()

    def tombstones(self):
        log = self.log("tombstones")
        log.add_sink("t")
        log.run("SELECT usher.add_route('t', '**', '{category}', tombstones => true)")
        log.append()
        log.run("SELECT usher.delete_stream('order-1')")
        bodies = [m.body is None for m in log.wait_messages("t", 2)]
        ensure(bodies == [False, True], "the end of a stream is no message without a body")
        log.drop()

    # replays and dead letters

    def replays(self):
        log = self.log("replays")
        log.append(3000, 10)
        log.append(100, 10, kind="order.paid")
        log.add_sink("p")
        replay = log.value("SELECT usher.replay('p', 2001, 3050, 'order.*')")
        beside = log.append(50, 10)
        ensure(log.wait_replay(replay)[:4] == ("done", 1050, 0, 0), "the replay ended as %s" % (log.replays()[replay],))
        log.caught_up("p")
        found = log.wait_messages("p", 1100)
        again = [m for m in found if "replay" in m.headers]
        ensure([m.position for m in again] == list(range(2001, 3051)), "the replay sent something else")
        ensure({m.headers["replay"] for m in again} == {str(replay)}, "the replay's messages do not carry its number")
        ensure([m.position for m in found if "replay" not in m.headers] == list(range(3101, beside + 1)),
               "the live flow beside the replay is wrong")
        replay = log.value("SELECT usher.replay('p', 0, 3100, 'order.paid')")
        ensure(log.wait_replay(replay)[1] == 100, "a replay by pattern sent %s" % (log.replays()[replay],))
        # paused with its sink; cancelled
        log.run("SELECT usher.pause_sink('p')")
        log.wait_state("p", "paused")
        replay = log.value("SELECT usher.replay('p', 1, 3100)")
        time.sleep(0.3)
        ensure(log.replays()[replay][:2] == ("running", 0), "a paused sink replays")
        log.run("SELECT usher.cancel_replay(%s)", replay)
        log.run("SELECT usher.resume_sink('p')")
        log.wait_state("p", "running")
        ensure(log.replays()[replay][:2] == ("cancelled", 0), "a cancelled replay went on")
        log.drop()

    def dead_letters(self):
        log = self.log("dead")
        log.add_sink("d")
        route = log.value("SELECT usher.add_route('d', '**', '{data.to}')")
        log.append(20)
        log.run("SELECT usher.append('order-1', 'order.placed', '{\"to\": \"somewhere\"}')")
        ensure(log.wait_messages("d", 1)[0].topic == "somewhere", "a dead letter held up the others")
        log.caught_up("d")
        rows = log.rows("SELECT position, topic, key, error_code, attempts, envelope->>'type' FROM usher.dead_letters ORDER BY 1")
        ensure(rows == [(p, None, "order-1", "no_topic", 1, "order.placed") for p in range(1, 21)], "dead letters: %s" % rows)
        lib.wait_until(lambda: (log.status("d")[0].dead, log.status("d")[0].delivered) == (20, 1), 5, "them to be counted")

        replay = log.value("SELECT usher.replay_dead_letters('d', '{\"position\": {\"from\": 1, \"to\": 5}}')")
        ensure(log.wait_replay(replay)[:4] == ("done", 0, 5, 0), "they failed again as %s" % (log.replays()[replay],))
        ensure(log.rows("SELECT attempts, count(*) FROM usher.dead_letters GROUP BY 1 ORDER BY 1") == [(1, 15), (2, 5)],
               "attempts are not counted")
        log.run("SELECT usher.alter_route(%s, topic => 'mended')", route)
        replay = log.value("SELECT usher.replay_dead_letters('d', '{\"position\": {\"from\": 4}}')")
        ensure(log.wait_replay(replay)[:4] == ("done", 17, 0, 0), "the replay ended as %s" % (log.replays()[replay],))
        found = log.wait_messages("d", 17, after=1)
        ensure([m.position for m in found] == list(range(4, 21)) and {m.headers["replay"] for m in found} == {str(replay)},
               "other dead letters were replayed")
        ensure(log.rows("SELECT position FROM usher.dead_letters ORDER BY 1") == [(1,), (2,), (3,)], "others are left")
        log.run("SELECT usher.drop_route(%s)", route)
        log.run("SELECT usher.add_route('d', 'nothing.of.ours', 'x')")
        replay = log.value("SELECT usher.replay_dead_letters('d', '{\"position\": {\"to\": 1}}')")
        ensure(log.wait_replay(replay)[:4] == ("done", 0, 0, 1), "what no route wants is not skipped: %s" % (log.replays()[replay],))
        ensure(log.value("SELECT usher.purge_dead_letters('d')") == 3, "a skipped dead letter is gone")
        log.drop()

    def block(self):
        log = self.log("block")
        log.add_sink("b", config={"on_rejected": "block"})
        log.add_sink("beside")
        route = log.value("SELECT usher.add_route('b', '**', '{data.to}')")
        log.run("SELECT usher.append('order-1', 'a', '{\"to\": \"t\"}')")
        log.wait_messages("b", 1)
        # one transaction, one batch: what stands before is sent once, what stands behind is not
        log.run("SELECT usher.append('order-1', 'a', (CASE WHEN n IN (3, 4) THEN '{}' ELSE '{\"to\": \"t\"}' END)::jsonb)"
                " FROM generate_series(2, 5) n")
        log.wait_state("b", "blocked")
        ensure(log.status("b")[0].last_error == "no_topic: position 3 was rejected: the route's topic has no value for this event, or is too long",
               "the cause is told as " + log.status("b")[0].last_error)
        ensure(log.status("b")[0].position == 2, "it is blocked at %s" % log.status("b")[0].position)
        ensure(log.caught_up("beside") == 5 and log.states("beside") == ["running"], "another sink was held up")
        ensure(not log.rows("SELECT FROM usher.dead_letters") and len(log.messages("b")) == 2, "a blocked sink went on")
        log.run("SELECT usher.resume_sink('b')")
        time.sleep(0.3)
        log.wait_state("b", "blocked")
        log.run("SELECT usher.alter_route(%s, topic => 'mended')", route)
        ensure([m.position for m in log.wait_messages("b", 5)] == [1, 2, 3, 4, 5], "what was blocked is lost")
        log.wait_state("b", "running")
        log.drop()

    # many at a time, and deaths

    def lanes(self):
        """Four lanes, events while it changes to three: nothing is lost, and the order of each key is kept."""
        log = self.log("lanes")
        log.add_sink("l", config={"parallel": 4, "batch_events": 50})
        log.append(4000, 97)
        log.caught_up("l")
        found = log.wait_messages("l", 4000)
        ensure({m.position for m in found} == set(range(1, 4001)), "lanes lost some and repeated others")
        ensure_empty(relay_lib.out_of_order(found), "out of order")
        ensure(all(s.delivered > 400 for s in log.status("l")), "a lane has next to nothing to do")
        log.alter_sink("l", parallel=3)
        log.append(4000, 97)
        log.caught_up("l")
        found = log.messages("l", 4000)
        ensure(set(range(4001, 8001)) <= {m.position for m in found}, "events were lost with a lane")
        repeated = len(found) - 4000
        ensure(repeated <= 4000, "more was repeated than can be")
        note("%d repeated by another number of lanes" % repeated)
        log.drop()

    def terminated(self):
        """The worker is terminated again and again while events come in: it ends what it has begun."""
        log = self.log("terminated")
        log.add_sink("t", config={"batch_events": 20})
        quit = threading.Event()
        writer = threading.Thread(target=self.write, args=(log.database, quit))
        writer.start()
        try:
            for _ in range(8):
                pid = lib.wait_until(lambda: log.status("t")[0].pid, 10, "a worker")
                ensure(log.value("SELECT pg_terminate_backend(%s, 5000)", pid), "the worker does not end")
                before = log.status("t")[0].position
                lib.wait_until(lambda: log.status("t")[0].position > before + 20, 10, "another worker to go on")
        finally:
            quit.set()
            writer.join()
        end = log.caught_up("t")
        found = log.messages("t")
        ensure([m.position for m in found] == list(range(1, end + 1)), "%d messages, %d events" % (len(found), end))
        log.drop()

    def write(self, database, quit, most=9000):
        log = Log(self.cluster, database, create=False)
        while not quit.is_set() and log.append(random.randrange(1, 5), 7) < most:     # the ring holds 10,000
            time.sleep(0.005)
        log.close()

    def orphaned(self):
        """A relay whose supervisor was replaced is started again all the same, when it ends."""
        log = self.log("orphaned")
        log.add_sink("o")
        log.wait_state("o", "running")
        for pid in log.pids("pg_usher housekeeping"):
            log.run("SELECT pg_terminate_backend(%s, 5000)", pid)
        lib.wait_until(lambda: log.pids("pg_usher housekeeping"), 10, "another housekeeping worker")
        time.sleep(0.3)
        ended = log.status("o")[0].pid
        log.run("SELECT pg_terminate_backend(%s, 5000)", ended)
        lib.wait_until(lambda: log.status("o")[0].pid not in (None, ended), 5, "another relay worker")
        log.drop()

    def open_transaction(self):
        """A session that has appended and stays open, with an old snapshot, holds nobody up, nor does the relay hold VACUUM."""
        log = self.log("open")
        log.add_sink("o")
        log.wait_state("o", "running")
        session = self.cluster.connect(log.database)
        session.autocommit = False
        session.cursor().execute("SET transaction_isolation = 'repeatable read'")
        session.cursor().execute("SELECT usher.append('mine-1', 'mine')")
        took = []
        for n in range(20):
            log.append()
            began = time.monotonic()
            lib.wait_until(lambda: len(log.messages("o")) == n + 1, 5, "an event beside an open transaction", pause=0.001)
            took.append(time.monotonic() - began)
        ensure(lib.percentile(took, 0.5) < 1.0, "an open transaction holds up the relay: %.0f ms" % (lib.percentile(took, 0.5) * 1000))
        ensure(not log.rows("SELECT FROM pg_stat_activity WHERE backend_type = 'pg_usher relay'"
                            " AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)"), "an idle relay holds a snapshot")
        session.commit()
        lib.wait_until(lambda: log.messages("o")[-1].topic == "mine", 5, "the open transaction's event")
        session.close()
        log.drop()

    def backlog(self):
        """The memory of a worker is bounded, whatever the backlog."""
        log, events = self.log("backlog"), 1000000 if LONG else 150000
        for _ in range(events // 50000):
            log.append(50000, 5000, size=100)
        log.add_sink("m", position=0)
        pid = lib.wait_until(lambda: log.status("m")[0].pid, 10, "a worker")
        most, began = 0, time.monotonic()
        while log.status("m")[0].position < events:
            most = max(most, relay_lib.rss_anon(pid))
            ensure(time.monotonic() - began < 120, "the backlog is not done: %s" % log.status("m"))
            time.sleep(0.05)
        note("a backlog of %d events: %.1f s, RssAnon at most %d kB" % (events, time.monotonic() - began, most))
        ensure(0 < most < 100 * 1024, "the worker took %d kB" % most)
        ensure(log.status("m")[0].pid == pid, "it was another worker")
        log.drop()


def main():
    test = Test()
    names = sys.argv[1:] or [name for name in vars(Test) if not name.startswith("_") and name not in ("log", "is_structured", "write")]
    lib.main([(name, getattr(test, name)) for name in names], 200)


if __name__ == "__main__":
    main()
