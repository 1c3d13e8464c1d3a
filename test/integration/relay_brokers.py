#!/usr/bin/python3
# test/integration/relay_brokers.py: events through the whole relay into real brokers, read back with clients that are not ours.
# slow: 30 s
#
#   relay_brokers.py [--long] [kafka] [redis] [nats]
#
# 50,000 events of 2,000 streams; --long: 1,000,000 of 10,000. Half of them lie there when the sinks are made, half come in
# while they run and their workers are terminated. Everything is there, in order by key, each a valid CloudEvent, in
# Kafka's partition that its Java client chooses. Read back with kcat, redis-cli and libnats.
import array
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

import relay_lib
from relay_lib import Log, lib
from lib import ensure, ensure_empty, note
from sinks import ROOT, TMP, Server

LONG = "--long" in sys.argv or bool(os.environ.get("USHER_RELAY_LONG"))
EVENTS, STREAMS = (1000000, 10000) if LONG else (50000, 2000)
STEP = 10000
PARTITIONS = 6
IN_FLIGHT = 20000           # the default
BATCH = 1000                # the same
MEMORY_KB_MAX = 100 * 1024
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
NAME = re.compile(r"[a-z0-9]+$")
PAGE = 10000


class Broker:
    """A server, the configuration of its sink, and how it is read: (attributes, key, data, partition) in the order of arrival."""

    CONF = ""

    def __init__(self):
        self.server = Server(self.KIND, self.KIND, self.CONF)
        self.address = "127.0.0.1:%d" % self.server.port

    @staticmethod
    def lines(*command):
        """What a client prints, line by line; it must end well."""
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as client:
            for line in client.stdout:
                yield line[:-1]
            error = client.stderr.read()
        ensure(client.returncode == 0, "%s: %s" % (command[0], error.strip()[-300:]))

    def extra(self, log, findings):
        """What only this kind has."""


class Kafka(Broker):
    KIND = "kafka"
    CONF = "num.partitions=%d\n" % PARTITIONS

    def config(self):
        return {"brokers": self.address}

    def records(self, topic):
        for line in self.lines("kcat", "-b", self.address, "-C", "-t", topic, "-e", "-q", "-X", "isolation.level=read_committed",
                               "-f", "%p\\t%k\\t%h\\t%s\\n"):
            partition, key, headers, data = line.split("\t", 3)
            yield int(partition), key, dict(header.split("=", 1) for header in headers.split(",")), data

    def read(self):
        for partition, key, headers, data in self.records("order"):
            attributes = {name[3:]: value for name, value in headers.items() if name.startswith("ce_")}
            attributes["datacontenttype"] = headers["content-type"]
            yield attributes, key, data, partition

    def extra(self, log, findings):
        self.as_java_chooses(findings.partitions)
        self.structured(log, findings)
        self.repeated_before(log.cluster)

    def repeated_before(self, cluster):
        """A repetition on purpose that comes before the live message makes no duplicate of it."""
        log = Log(cluster, "repeated")
        log.append(2, prefix="early")
        subprocess.run(["kcat", "-b", self.address, "-P", "-t", "early", "-H", "ce_position=1", "-H", "ce_replay=7"], input="{}",
                       encoding="utf-8", timeout=30, check=True)
        log.add_sink("kafka", "kafka", self.config(), 0)
        log.caught_up("kafka")
        rows = log.rows("SELECT problem, detail FROM usher.verify_sink('kafka')")
        ensure(rows == [("summary", "expected 2, found 2, missing 0, duplicate 0, out of order 0, unexpected 0, trimmed 0")],
               "verify_sink: %s" % rows)
        log.drop()

    @staticmethod
    def as_java_chooses(partitions):
        cache = os.environ.get("PG_USHER_CACHE") or ("/var/cache/pg_usher" if os.geteuid() == 0 else
                                                     os.path.expanduser("~/.cache/pg_usher"))
        jars = os.path.join(cache, "kafka", os.environ.get("KAFKA_VERSION", "4.3.1"), "*")
        keys = list(partitions)
        java = subprocess.run(["java", "-cp", jars, os.path.join(ROOT, "test/integration/src/JavaPartitions.java"),
                               str(PARTITIONS)], input="".join(key + "\n" for key in keys), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, encoding="utf-8", timeout=120)
        ensure(java.returncode == 0, "java: " + java.stderr[-500:])
        theirs = [int(line) for line in java.stdout.split()]
        ensure(len(theirs) == len(keys) == STREAMS, "%d keys, %d answers" % (len(keys), len(theirs)))
        ensure_empty([(key, partitions[key], their) for key, their in zip(keys, theirs) if partitions[key] != {their}],
                     "partitions other than the Java client's")
        ensure(set(theirs) == set(range(PARTITIONS)), "partitions in use: %s" % set(theirs))

    def structured(self, log, findings):
        """The last thousand once more, as whole events."""
        log.run("SELECT usher.add_sink('structured', 'kafka', %s, %s), usher.add_route('structured', '**', '{category}.whole')",
                json.dumps(dict(self.config(), mode="structured")), EVENTS - 1000)
        log.caught_up("structured", 60)
        again = Findings(log, findings.ids, EVENTS - 1000)
        for partition, key, headers, body in self.records("order.whole"):
            event = json.loads(body)
            ensure(headers["content-type"].startswith("application/cloudevents+json"), "headers: %s" % headers)
            data = event.pop("data")
            again.see(event, key, json.dumps(data), partition)
        again.judge("structured mode", repeats=False)
        log.run("SELECT usher.drop_sink('structured')")


class Redis(Broker):
    KIND = "redis"

    def config(self):
        return {"url": "redis://" + self.address}

    def read(self):
        start, number = "-", PAGE
        while number == PAGE:
            page = json.loads("".join(self.lines("redis-cli", "-p", str(self.server.port), "--json", "XRANGE", "order", start, "+",
                                                 "COUNT", str(PAGE))))
            number = len(page)
            for entry, fields in page:
                attributes = dict(zip(fields[::2], fields[1::2]))
                ensure(entry == attributes["position"] + "-0", "entry %s has position %s" % (entry, attributes["position"]))
                data = attributes.pop("data")
                yield attributes, attributes["partitionkey"], data, 0
                start = "(" + entry


class Nats(Broker):
    KIND = "nats"

    def config(self):
        return {"url": "nats://" + self.address, "stream": "USHER", "create_stream": True, "subjects": "order"}

    def read(self):
        reader = os.path.join(TMP, "nats_reader")
        subprocess.run(["cc", "-O2", "-o", reader, os.path.join(ROOT, "test/integration/src/nats_reader.c"), "-lnats"], check=True)
        for line in self.lines(reader, "nats://" + self.address, "read", "USHER"):
            message = json.loads(line)
            ensure(message["subject"] == "order", "subject %s" % message["subject"])
            attributes = {name[3:].lower(): urllib.parse.unquote(value) for name, value in message["headers"].items()
                          if name.lower().startswith("ce-")}
            attributes["datacontenttype"] = message["headers"]["Content-Type"]
            yield attributes, attributes["partitionkey"], message["data"], 0


class Findings:
    """Compares messages, as they arrive, with the log."""

    def __init__(self, log, ids, above=0):
        self.log, self.ids, self.above = log, ids, above
        self.seen = array.array("B", bytes(EVENTS + 1))
        self.newest, self.partitions, self.out_of_order = {}, {}, []
        self.messages = self.repeats = 0

    def see(self, attributes, key, data, partition):
        position = int(attributes["position"])
        self.messages += 1
        ensure(self.above < position <= EVENTS, "position %d" % position)
        if self.messages % 10 == 1:
            self.check_event(attributes, key, data)
        ensure(attributes["id"] == self.ids[position], "position %d has id %s" % (position, attributes["id"]))
        ensure(key == attributes["subject"] == "order-%d" % (1 + position * 7 % STREAMS), "position %d has key %s" % (position, key))
        ensure('"n": %d,' % position in data, "position %d has %s" % (position, data))
        if self.seen[position]:
            self.repeats += 1
        elif position < self.newest.get(key, 0):
            self.out_of_order.append((key, position, self.newest[key]))
        self.seen[position] = 1
        self.newest[key] = max(position, self.newest.get(key, 0))
        self.partitions.setdefault(key, set()).add(partition)

    @staticmethod
    def check_event(event, key, data):
        """What CloudEvents 1.0 asks of attributes, and what we promise."""
        for name in ("id", "source", "specversion", "type", "subject"):
            ensure(event.get(name), "an event without %s: %s" % (name, event))
        ensure(event["specversion"] == "1.0" and event["type"] == "order.placed", "event: %s" % event)
        ensure(TIME.match(event["time"]) and urllib.parse.urlsplit(event["source"]).path, "time or source: %s" % event)
        ensure_empty([name for name in event if not NAME.match(name)], "names of attributes")
        ensure(event["datacontenttype"] == "application/json" and set(json.loads(data)) == {"n", "filler"}, "data: %s" % data)
        ensure(event["partitionkey"] == key and event["tenant"] == "default" and "replay" not in event, "event: %s" % event)

    def judge(self, what, repeats):
        missing = [position for position in range(self.above + 1, EVENTS + 1) if not self.seen[position]]
        ensure_empty(missing, what + ": missing")
        ensure_empty(self.out_of_order, what + ": out of order (key, position, behind)")
        ensure(repeats or self.repeats == 0, "%s: %d messages came twice" % (what, self.repeats))


class Watch(threading.Thread):
    """The most memory of relay workers, and messages in flight, while it runs."""

    def __init__(self, log):
        super().__init__(daemon=True)
        self.log = Log(log.cluster, log.database, create=False)
        self.quit = threading.Event()
        self.memory, self.in_flight, self.activities = 0, 0, set()

    def run(self):
        while not self.quit.wait(0.1):
            for pid, query in self.log.rows("SELECT pid, query FROM pg_stat_activity WHERE backend_type = 'pg_usher relay'"):
                self.activities.add(query)
                try:
                    self.memory = max(self.memory, relay_lib.rss_anon(pid))
                except OSError:
                    pass        # it has ended meanwhile
            self.in_flight = max([self.in_flight] + [row[0] for row in self.log.rows("SELECT in_flight FROM usher.sink_status")])

    def stop(self):
        self.quit.set()
        self.join(30)
        self.log.close()


class Test:
    def __init__(self, kinds):
        self.cluster = lib.Cluster(lib.work_directory(), conf={"max_wal_size": "4GB", "autovacuum": "off"}).initdb().start()
        self.log = Log(self.cluster)
        self.kinds, self.brokers, self.done = kinds, {}, 0
        self.ids = None
        self.kept_up = []

    def append(self, upto):
        """Positions are the numbers in the data: this is the only session that appends."""
        while self.done < upto:
            first, self.done = self.done + 1, min(self.done + STEP, upto)
            self.log.run("SELECT usher.append_many(array_agg('order-' || 1 + n * 7 %% %s ORDER BY n),"
                         " array_agg('order.placed'::text ORDER BY n),"
                         " array_agg(jsonb_build_object('n', n, 'filler', repeat('x', 100))::text ORDER BY n))"
                         " FROM generate_series(%s, %s) n", STREAMS, first, self.done)

    def servers(self):
        for kind in self.kinds:
            self.brokers[kind] = {"kafka": Kafka, "redis": Redis, "nats": Nats}[kind]()

    def backlog(self):
        """The first half, one sink after the other, so that each has the machine to itself."""
        self.append(EVENTS // 2)
        ensure(self.log.stable() == EVENTS // 2, "the log begins at another position")
        for kind, broker in self.brokers.items():
            watch = Watch(self.log)
            watch.start()
            began = time.monotonic()
            self.log.add_sink(kind, kind, broker.config(), 0)
            self.stopped(broker)
            self.log.caught_up(kind, 300)
            took = time.monotonic() - began
            watch.stop()
            note("%s: a backlog of %d in %.1f s, %.0f a second; at most %d kB of memory, %d in flight"
                 % (kind, EVENTS // 2, took, EVENTS / 2 / took, watch.memory, watch.in_flight))
            ensure(0 < watch.memory < MEMORY_KB_MAX, "a worker took %d kB" % watch.memory)
            ensure(watch.in_flight <= IN_FLIGHT + BATCH, "%d messages were in flight" % watch.in_flight)
            ensure({"sink %s: waiting for acknowledgements" % kind} & watch.activities, "pg_stat_activity: %s" % watch.activities)

    def stopped(self, broker):
        """The broker stands still for a moment in the middle of the backlog: what is in flight is bounded."""
        lib.wait_until(lambda: self.log.status(broker.KIND)[0].delivered > 0, 60, "%s to begin" % broker.KIND, pause=0.005)
        pid = broker.server.pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(1.5)
        finally:
            os.kill(pid, signal.SIGCONT)

    def live(self):
        """The other half comes in while workers are told to end: they send and await what they have begun."""
        writer = threading.Thread(target=self.append, args=(EVENTS,))
        writer.start()
        session = Log(self.cluster, create=False)
        for _ in range(3):
            for kind in self.kinds:
                pid = lib.wait_until(lambda: session.status(kind)[0].pid, 30, "a worker of " + kind)
                ensure(session.value("SELECT pg_terminate_backend(%s, 20000)", pid), "the worker of %s does not end" % kind)
            time.sleep(0.2)
        writer.join()
        for kind in self.kinds:
            session.caught_up(kind, 300)
            ensure(session.status(kind)[0].lag_events == 0, "lag: %s" % session.status(kind))
        session.close()
        ensure_empty(self.log.rows("SELECT sink, dead, last_error FROM usher.sink_status WHERE dead > 0 OR last_error IS NOT NULL"),
                     "sinks that had trouble")

    def read_back(self, kind):
        if self.ids is None:
            self.ids = [None] + [str(row[0]) for row in self.log.rows("SELECT id FROM usher.log ORDER BY position")]
            ensure(len(self.ids) == EVENTS + 1, "%d events" % (len(self.ids) - 1))
        broker, began = self.brokers[kind], time.monotonic()
        findings = Findings(self.log, self.ids)
        for message in broker.read():
            findings.see(*message)
        # none of the workers was killed, so nothing came twice
        findings.judge(kind, repeats=False)
        note("%s: %d messages of %d keys read back in %.1f s" % (kind, findings.messages, len(findings.newest),
                                                                 time.monotonic() - began))
        broker.extra(self.log, findings)

    def verify(self, kind):
        """usher.verify_sink comes to the same."""
        began = time.monotonic()
        rows = self.log.rows("SELECT problem, detail FROM usher.verify_sink(%s)", kind)
        ensure(rows == [("summary", "expected %d, found %d, missing 0, duplicate 0, out of order 0, unexpected 0, trimmed 0"
                         % (EVENTS, EVENTS))], "verify_sink: %s" % rows[:5])
        note("%s: verify_sink took %.1f s" % (kind, time.monotonic() - began))

    def gathered(self):
        """Events that come one by one share transactions; each of these takes an offset behind them for its marker."""
        self.log.add_sink("gathered", "kafka", dict(self.brokers["kafka"].config(), exactly_once=True, commit_interval_ms=1000))
        self.log.run("SELECT usher.add_route('gathered', '**', 'gathered', 'one')")
        began = time.monotonic()
        for _ in range(100):
            self.log.append(1)
            time.sleep(0.01)
        self.log.caught_up("gathered", 30)
        took = time.monotonic() - began
        offsets = [int(line) for line in self.brokers["kafka"].lines("kcat", "-b", self.brokers["kafka"].address, "-C", "-t", "gathered",
                                                                     "-e", "-q", "-X", "isolation.level=read_committed", "-f", "%o\n")]
        self.log.run("SELECT usher.drop_sink('gathered')")
        ensure(len(offsets) == 100, "%d messages" % len(offsets))
        markers = max(offsets) - 99
        ensure(markers <= took + 1, "%d transactions before the last one in %.1f s" % (markers, took))


def main():
    kinds = [word for word in sys.argv[1:] if not word.startswith("--")] or ["kafka", "redis", "nats"]
    test = Test(kinds)
    tests = [("servers", test.servers), ("backlog", test.backlog), ("live, workers terminated", test.live)]
    for kind in kinds:
        tests += [(kind + ": all there, in order, valid", lambda kind=kind: test.read_back(kind)),
                  (kind + ": verify_sink", lambda kind=kind: test.verify(kind))]
    if "kafka" in kinds:
        tests.append(("kafka: events share transactions", test.gathered))
    lib.main(tests, 600 if LONG else 120)


if __name__ == "__main__":
    main()
