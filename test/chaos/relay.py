#!/usr/bin/python3
# test/chaos/relay.py: whatever breaks, the brokers get every committed event, in order, and nothing else (I5, I9).
# slow: 55 s
#
# Writers append, publish, roll back and bulk load, half of them with synchronous_commit off, while brokers are killed with
# -9, the network between is cut, stalled, slowed and deafened, relay workers are terminated, the postmaster is killed with
# -9, and sinks are paused, sought backwards and replayed. In the end the log is compared with what redis-cli, kcat and a
# reader on libnats find in the brokers, and with what usher.verify_sink says of them. Events that are too large for Kafka
# and NATS have to be dead letters, each once; a foreign XADD has to stop the sink of Redis, and nothing more.
#   redis    everything once
#   kafka    repeats only of the same event with the same position
#   once     Kafka with exactly_once: for a reader of what is committed everything once
#   nats     everything once, as the stream's duplicate window covers each absence
import collections
import contextlib
import os
import random
import threading
import time

import brokers
import follow
import lib
import load
from lib import Failure, ensure, ensure_empty, note

LARGE = 1030000             # bytes: more than Kafka and NATS take
EVENTS_SHORT = 5000
EVENTS_FULL = 200000
ROUNDS_SHORT = ("stall", "postmaster async", "broker", "seek", "deaf", "worker", "slow", "postmaster", "replay", "cut", "pause",
                "foreign", "block")
ROUNDS_FULL = {"broker": 5, "postmaster": 3, "postmaster async": 2, "worker": 10, "pause": 4, "seek": 2, "replay": 3, "cut": 4,
               "slow": 2, "stall": 2, "deaf": 3, "worker killed": 1, "foreign": 2, "block": 2, "replay killed": 3}
RECOVERY_SECONDS_MAX = 90
SERVERS = {"redis": brokers.Redis, "kafka": brokers.Kafka, "once": brokers.Kafka, "nats": brokers.Nats}
BACKOFF = {"backoff_ms": 20, "backoff_max_ms": 400}

# position → what must be in the brokers
Event = collections.namedtuple("Event", "tenant stream version tag id topic key type large")
LOG = ("SELECT l.position, t.slug, l.stream, l.version, (l.data->>'tag')::bigint, l.id::text,"
       " coalesce(l.topic, split_part(l.stream, '-', 1)), coalesce(l.key, l.stream), l.type,"
       " length(l.data->>'filling') > 1000000"
       " FROM usher.log AS l JOIN usher.tenants AS t USING (tenant_id)")


class Sink:
    """One sink, what it was asked to repeat, and what its broker must contain."""

    def __init__(self, name, broker, exact, route="{topic}", **config):
        self.name = name
        self.broker = broker
        self.exact = exact              # nothing comes twice
        self.rejects_large = broker.KIND != "redis"
        self.route = name + "." + route
        self.config = dict(broker.sink(), **BACKOFF, **config)
        self.asked = collections.Counter()      # (number of the replay, position)
        self.sought = None              # position, as long as it is not known what that asked for
        self.messages = []
        self.dead = set()               # positions of dead letters

    def topic(self, event):
        return self.route.replace("{topic}", event.topic).replace("{type[0]}", event.type.split(".")[0])

    def rejected(self, log):
        return {position for position, event in log.items() if event.large and self.rejects_large}

    def read(self, log):
        topics = sorted({self.topic(event) for event in log.values()})
        self.messages = list(self.broker.read(topics))
        return self

    def findings(self, log):
        """The live flow against the log; repeats on purpose against what was asked for."""
        findings, seen = [], set()
        newest = {}                     # (topic, partition) and (topic, key) → position
        repeated = collections.Counter()
        for m in self.messages:
            event = log.get(m.position)
            if event is None or (event.id, event.tag) != (m.id, m.tag):
                findings.append("%s has event %s at position %d, the log has %s" % (m.topic, m.tag, m.position, event))
                continue
            if (m.topic, m.key) != (self.topic(event), event.key):
                findings.append("event %d is in %s under %s" % (m.position, m.topic, m.key))
            if m.replay:
                repeated[m.replay, m.position] += 1
            elif m.position in seen:
                if self.exact:
                    findings.append("event %d is twice in %s" % (m.position, m.topic))
            else:
                for place in ((m.topic, m.partition), (m.topic, "key", m.key)):
                    if m.position < newest.get(place, 0):
                        findings.append("event %d of %s comes after %d" % (m.position, place, newest[place]))
                    newest[place] = m.position
                seen.add(m.position)
        findings += ["event %d of %s is missing in %s" % (position, event.stream, self.topic(event))
                     for position, event in sorted(log.items()) if position not in seen and position not in self.dead]
        findings += ["event %d is a dead letter and was delivered" % position for position in seen & self.dead]
        findings += ["event %d is %s dead letter" % (position, "a" if position in self.dead else "no")
                     for position in self.dead ^ self.rejected(log)]
        return findings + self.findings_of_replays(repeated)

    def findings_of_replays(self, repeated):
        for asked in [asked for asked in self.asked if asked[1] in self.dead]:
            del self.asked[asked]
        findings = ["event %d was not repeated in replay %d" % (position, number)
                    for number, position in self.asked if (number, position) not in repeated]
        findings += ["event %d was repeated in replay %d unasked" % (position, number)
                     for number, position in repeated if (number, position) not in self.asked]
        if self.exact:
            findings += ["event %d came %d times in replay %d" % (position, count, number)
                         for (number, position), count in repeated.items() if count > 1]
        return findings

    def counts(self, log):
        """What usher.verify_sink has to say."""
        seen, repeated, newest = set(), set(), {}
        counts = collections.Counter()
        for m in self.messages:
            if m.position not in log:
                counts["unexpected"] += 1
            elif m.replay:
                repeated.add(m.position)
            elif m.position in seen:
                counts["duplicate"] += 1
            else:
                seen.add(m.position)
                counts["out of order"] += m.position < newest.get((m.topic, m.key), 0)
                newest[m.topic, m.key] = m.position
        seen |= repeated
        counts.update({"expected": len(log), "found": len(seen), "missing": len(log) - len(self.dead) - len(seen)})
        return counts


class Chaos:
    def __init__(self, kinds, events, short):
        self.began = time.monotonic()
        self.events = events
        self.short = short
        base = lib.work_directory()
        os.chmod(base, 0o755)
        self.servers = {}
        starting = self.start_servers({SERVERS[kind] for kind in kinds}, base)
        self.cluster = lib.Cluster(base, conf={
            "wal_writer_delay": "10s", "wal_writer_flush_after": "1GB", "wal_buffers": "64MB", "max_worker_processes": "48",
            "usher.partition_size": str(max(events // 3, 1000))}).initdb().start().create()
        self.cluster.rows("SELECT usher.create_tenant('other')")
        load.join(starting, brokers.SERVER_SECONDS_MAX)
        self.sinks = [self.make_sink(kind) for kind in kinds]
        self.durable, self.asynchronous = load.Gate(), load.Gate()
        self.durable.stop = self.asynchronous.stop = threading.Event()
        pause = 0.2 if short else 0.004
        self.sessions = []
        for n in range(8):
            gate, settings = ((self.durable, {}), (self.asynchronous, {"synchronous_commit": "off"}))[n % 2]
            self.sessions.append(load.Writer(self.cluster, n, gate, "other" if n > 5 else "default", settings, pause=pause))
        self.sessions.append(load.BulkWriter(self.cluster, 8, self.asynchronous, settings={"synchronous_commit": "off"},
                                             pause=3 if short else 0.1))

        self.own = load.Session(self.cluster, 9, self.durable)

    def ledgers(self):
        return [session.ledger for session in self.sessions + [self.own]]

    def publish_large(self):
        """What a broker rejects."""
        self.own.connect()
        tag = self.own.tag()
        self.own.pending = [[tag, None, None]]
        self.own.committing = True
        self.own.value("SELECT usher.publish('mail', 'large', %s, %s)",
                       (load.type_of(tag), '{"tag": %d, "filling": "%s"}' % (tag, "x" * LARGE)))
        self.own.settle("acked")
        self.own.disconnect()

    def start_servers(self, kinds, base):
        """While the database is made; returns the threads that are at it."""
        def start(kind):
            self.servers[kind.KIND] = kind(base)
        return [load.thread(start, kind) for kind in kinds]

    def make_sink(self, kind):
        server = self.servers.get(SERVERS[kind].KIND)
        ensure(server, "the server for %s did not start" % kind)
        route = "{topic}" if kind in ("redis", "nats") else "{type[0]}"     # few topics: kcat reads one at a time
        config = {"exactly_once": True} if kind == "once" else {}
        sink = Sink(kind, server, kind != "kafka", route, **config)
        text = ", ".join('"%s": %s' % (name, str(value).lower() if isinstance(value, (bool, int)) else '"%s"' % value)
                         for name, value in sink.config.items())
        with contextlib.closing(self.cluster.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN; SELECT usher.add_sink(%s, %s, %s, 0)", (sink.name, sink.broker.KIND, "{%s}" % text))
            cursor.execute("SELECT usher.add_route(%s, '**', %s, '{key}'); COMMIT", (sink.name, sink.route))
        return sink

    # the state of things

    def appended(self):
        return sum(len(ledger.acked) for ledger in self.ledgers())

    def status(self, sink):
        rows = self.cluster.rows("SELECT state, position, last_error, last_error_at, pid FROM usher.sink_status"
                                 " WHERE sink = %s AND replay_id IS NULL", (sink.name,))
        return dict(zip(("state", "position", "error", "error_at", "pid"), rows[0]))

    def wait_delivered(self, upto=None, what="to deliver"):
        """All sinks have delivered up to the position (all that is in the log now)."""
        upto = upto or self.cluster.value("SELECT usher.stable_position()")
        for sink in self.sinks:
            try:
                lib.wait_until(lambda: self.status(sink)["position"] >= upto, RECOVERY_SECONDS_MAX, what, 0.05)
            except Failure as error:
                raise Failure("%s: %s; position %d wanted, %s" % (sink.name, error, upto, self.status(sink)))

    def each_broker(self, action):
        """At the same time with all brokers."""
        errors = []

        def run(server):
            try:
                action(server)
            except Exception as error:
                errors.append(error)
        threads = [load.thread(run, server) for server in self.servers.values()]
        load.join(threads, brokers.SERVER_SECONDS_MAX)
        if errors:
            raise errors[0]

    # what can happen

    def round_broker(self):
        def crash(server):
            server.script("kill")
            time.sleep(random.uniform(0, 1))
            server.script("up")
        self.each_broker(crash)

    def with_network(self, change, seconds):
        for server in self.servers.values():
            change(server.proxy)
        time.sleep(seconds)
        for server in self.servers.values():
            server.proxy.mend()

    def round_cut(self):
        for _ in range(3):
            self.with_network(lambda proxy: proxy.cut_within(random.randrange(200000)), random.uniform(0.2, 0.5))
        self.with_network(lambda proxy: proxy.break_down(), random.uniform(0.1, 1))

    def round_slow(self):
        self.with_network(lambda proxy: proxy.slow(300000, 0.02), 2)

    def round_stall(self):
        """Longer than the sinks wait for an answer (Redis), or shorter (Kafka)."""
        self.with_network(lambda proxy: proxy.stall(), random.uniform(1.6, 2.5))

    def round_deaf(self):
        """What is sent arrives, its acknowledgement does not."""
        for _ in range(2):
            self.with_network(lambda proxy: proxy.deafen(), random.uniform(0.1, 0.6))
            time.sleep(random.uniform(0, 0.5))

    def relay_workers(self):
        return [pid for pid, in self.cluster.rows("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_usher relay'")]

    def round_worker(self):
        lib.wait_until(self.relay_workers, RECOVERY_SECONDS_MAX, "a relay worker")
        self.cluster.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_usher relay'")

    def round_worker_killed(self):
        self.cluster.kill9_backend(random.choice(lib.wait_until(self.relay_workers, RECOVERY_SECONDS_MAX, "a relay worker")))

    def round_postmaster(self):
        self.cluster.kill9()
        self.cluster.start()

    def round_postmaster_async(self):
        """Nobody but the relay makes the log durable: what is lost may not be in a broker."""
        self.durable.pause()
        stopped = self.cluster.stop_walwriter()
        mark = self.appended() + 150
        lib.wait_until(lambda: self.appended() > mark, 30, "the load to get on")
        self.cluster.kill9([stopped])
        self.cluster.start()
        self.durable.resume()

    def round_pause(self):
        for sink in self.sinks:
            self.cluster.rows("SELECT usher.pause_sink(%s)", (sink.name,))
        for sink in self.sinks:
            self.wait_state(sink, "paused")
        time.sleep(0.5)
        for sink in self.sinks:
            self.cluster.rows("SELECT usher.resume_sink(%s)", (sink.name,))

    def position_before(self, position, count):
        """Of the event that lies so many events before; 1 when there are fewer."""
        rows = self.cluster.rows("SELECT position FROM usher.log WHERE position <= %s ORDER BY position DESC"
                                 " OFFSET %s LIMIT 1", (position, count))
        return rows[0][0] if rows else 1

    def round_seek(self):
        self.ask_sought()
        self.wait_delivered(1)
        for sink in self.sinks:
            back = random.randrange(200, 1000 if self.short else 10000)
            position = self.position_before(self.status(sink)["position"], back)
            self.cluster.rows("SELECT usher.seek_sink(%s, %s)", (sink.name, position))
            sink.sought = position

    def ask_sought(self):
        """What a seek asked for: all that had been delivered when the worker heard of it."""
        for sink in self.sinks:
            if sink.sought is None:
                continue
            rows = self.cluster.rows("SELECT -epoch, position FROM usher.sink_lanes JOIN usher.sinks USING (sink_id)"
                                     " JOIN usher.log ON position > %s AND position <= repeat_upto WHERE name = %s",
                                     (sink.sought, sink.name))
            ensure(rows, sink.name + " was sought backwards and has nothing to repeat")
            sink.asked.update(rows)
            sink.sought = None

    def start_replays(self):
        end = self.cluster.value("SELECT usher.stable_position()")
        started = []
        for sink in self.sinks:
            last = self.position_before(end, random.randrange(500))
            first = self.position_before(last, random.randrange(200, 1000 if self.short else 20000))
            pattern = random.choice(("**", load.PATTERN))
            number = self.cluster.value("SELECT usher.replay(%s, %s, %s, %s)", (sink.name, first, last, pattern))
            started.append(number)
            sink.asked.update((number, position) for position, kind in self.cluster.rows(
                "SELECT position, type FROM usher.log WHERE position BETWEEN %s AND %s", (first, last))
                if pattern == "**" or kind.startswith("load."))
        return started

    def round_replay(self):
        self.wait_replayed(self.start_replays())

    def round_replay_killed(self):
        """The server is killed in the middle of replays."""
        started = self.start_replays()
        progress = "SELECT count(*) FROM usher.replay_status WHERE replay_id = ANY (%s) AND (replayed > 0 OR state <> 'running')"
        lib.wait_until(lambda: self.cluster.value(progress, (started,)), RECOVERY_SECONDS_MAX, "replays to begin", 0.005)
        self.round_postmaster()
        self.wait_replayed(started)

    def wait_state(self, sink, state, since=None):
        """Its worker has left. Return its status; since: its last error must be younger."""
        def reached():
            status = self.status(sink)
            younger = since is None or status["error_at"] > since
            return status["state"] == state and status["pid"] is None and younger and status
        return lib.wait_until(reached, RECOVERY_SECONDS_MAX, "%s to be %s" % (sink.name, state), 0.05)

    def round_foreign(self):
        """Somebody else's XADD raises the top of a stream above our positions, for good."""
        for sink in self.sinks:
            if sink.broker.KIND != "redis":
                continue
            cli, topic = sink.broker.cli, sink.name + ".hot"
            entry = cli("XADD", topic, "*", "foreign", "1")
            status = self.wait_state(sink, "blocked")
            ensure(topic in status["error"] and entry in status["error"], "blocked because of " + status["error"])
            cli("XDEL", topic, entry)
            newest = cli("XREVRANGE", topic, "+", "-", "COUNT", 1)[0][0]
            cli("XSETID", topic, newest, "ENTRIESADDED", cli("XLEN", topic), "MAXDELETEDID", "0-0")
            self.cluster.rows("SELECT usher.resume_sink(%s)", (sink.name,))

    def round_block(self):
        """A rejected event stops the sink, as often as it is resumed, until it may pass over it."""
        sinks = [sink for sink in self.sinks if sink.rejects_large]
        for sink in sinks:
            self.cluster.rows("SELECT usher.pause_sink(%s)", (sink.name,))
            self.wait_state(sink, "paused")
        self.publish_large()
        for sink in sinks:
            self.cluster.rows("SELECT usher.alter_sink(%s, '{\"on_rejected\": \"block\"}'), usher.resume_sink(%s)",
                              (sink.name, sink.name))
        for sink in sinks:
            status = self.wait_state(sink, "blocked")
            ensure("was rejected" in status["error"], "blocked because of " + status["error"])
            self.cluster.rows("SELECT usher.resume_sink(%s)", (sink.name,))
            self.wait_state(sink, "blocked", status["error_at"])
        for sink in sinks:
            self.cluster.rows("SELECT usher.alter_sink(%s, '{\"on_rejected\": null}')", (sink.name,))

    def wait_replayed(self, numbers):
        done = "SELECT count(*) FROM usher.replay_status WHERE replay_id = ANY (%s) AND state = 'done'"
        lib.wait_until(lambda: self.cluster.value(done, (numbers,)) == len(numbers), RECOVERY_SECONDS_MAX, "replays to end", 0.05)

    # the test

    def round(self, kind, number, target):
        began, before = time.monotonic(), self.appended()
        lib.wait_until(lambda: self.appended() >= max(target, before + 100), 120, "the load to get on")
        self.publish_large()
        end = self.cluster.value("SELECT usher.stable_position()")
        getattr(self, "round_" + kind.replace(" ", "_"))()
        hurt = time.monotonic()
        self.wait_delivered(end, "to deliver after '%s'" % kind)
        note("%d %s at position %d: %d events in %.1f s, all sinks had caught up %.1f s later" % (
            number, kind, end, self.appended() - before, time.monotonic() - began, time.monotonic() - hurt))

    def run(self, rounds):
        note("all is up after %.1f s" % (time.monotonic() - self.began))
        threads = [load.thread(session.run) for session in self.sessions]
        began = time.monotonic()
        try:
            for number, kind in enumerate(rounds, 1):
                self.round(kind, number, self.events * number // (len(rounds) + 1))
            lib.wait_until(lambda: self.appended() >= self.events, 120, "the load to get on")
            self.durable.pause()
            self.asynchronous.pause()
            load.summary(load.Ledger.sum(self.ledgers()), time.monotonic() - began)
            self.wait_delivered()
            self.verify()
        finally:
            self.durable.stop.set()
            load.join(threads)
            self.cluster.destroy()

    def log(self):
        """The log, after it was compared with what the writers were promised."""
        log = {row[0]: Event(*row[1:]) for row in self.cluster.rows(LOG)}
        there = {event.tag for event in log.values()}
        for session in self.sessions + [self.own]:
            ledger = session.ledger
            ledger.acked.update((tag, what) for tag, what in ledger.doubt.items() if tag in there)
            lost = [tag for tag in ledger.acked if tag not in there]
            ensure(not lost or session.settings.get("synchronous_commit") == "off", "acknowledged events are lost: %s" % lost[:5])
            for tag in lost:
                del ledger.acked[tag]
                ledger.positions.pop(tag, None)
                ledger.aborted.add(tag)
        ensure_empty(follow.findings_of_log({position: event[:4] for position, event in log.items()},
                                            load.Ledger.sum(self.ledgers())), "I1")
        return log

    def verify(self):
        log = self.log()
        self.ask_sought()
        for sink in self.sinks:
            began = time.monotonic()
            sink.read(log)
            sink.dead = {position for position, in self.cluster.rows(
                "SELECT position FROM usher.dead_letters JOIN usher.sinks USING (sink_id) WHERE name = %s", (sink.name,))}
            live = sum(m.replay == 0 for m in sink.messages)
            note("%s: %d events in the log, %d messages (%d repeated unasked), %d dead letters, and %d of %d that were to be"
                 " repeated; read in %.1f s" % (sink.name, len(log), live, live - len(log) + len(sink.dead), len(sink.dead), len(sink.messages) - live, len(sink.asked),
                                      time.monotonic() - began))
        for sink in self.sinks:
            ensure_empty(sink.findings(log), sink.name)
            began = time.monotonic()
            self.compare_verify(sink, log)
            note("%s: verify_sink agrees, after %.1f s" % (sink.name, time.monotonic() - began))
        self.cluster.check()
        ensure_empty(self.cluster.log_crashes(), "server log")

    def compare_verify(self, sink, log):
        """usher.verify_sink finds what the foreign reader found."""
        rows = self.cluster.rows("SELECT problem, position, topic, detail FROM usher.verify_sink(%s, 1)", (sink.name,))
        ensure(rows and rows[-1][0] == "summary", "verify_sink has no summary: %s" % rows[-1:])
        counts = {name: int(count) for name, count in (part.rsplit(" ", 1) for part in rows[-1][3].split(", "))}
        expected = sink.counts(log)
        ensure(all(counts[name] == expected[name] for name in counts),
               "%s: verify_sink says %s, the foreign reader %s" % (sink.name, rows[-1][3], dict(expected)))


def main():
    options = lib.arguments("The relay, and everything around it broken.",
                            kind=(str, None, "redis, kafka, once, nats, one after the other; redis+nats: beside each other (all)"),
                            events=(int, None, "how many (200000, --short: 5000)"),
                            rounds=(str, None, "what happens, in this order: " + ", ".join(sorted(ROUNDS_FULL))))
    groups = (options.kind or ("redis+kafka+once+nats" if options.short else "redis,kafka,once,nats")).split(",")
    events = options.events or (EVENTS_SHORT if options.short else EVENTS_FULL)
    rounds = list(ROUNDS_SHORT)
    if not options.short:
        rounds = [kind for kind, count in ROUNDS_FULL.items() for _ in range(count)]
        random.shuffle(rounds)
    if options.rounds:
        rounds = options.rounds.split(",")
    lib.main([("relay to " + group.replace("+", ", "),
               lambda group=group: Chaos(group.split("+"), events, options.short).run(rounds)) for group in groups],
             240 if options.short else 1150)


if __name__ == "__main__":
    main()
