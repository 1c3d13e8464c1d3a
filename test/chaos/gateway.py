#!/usr/bin/python3
# slow: 20 s
"""test/chaos/gateway.py: usherd, its database and single backends killed under load; two gateways in each other's way.

Every request has a tag in its event's data. What a client was told is compared with the log: a 2xx is there exactly once and
with the position that was told, a refusal is not there, and only where the client was told that nobody knows (or heard
nothing) may it be either. Requests with an Idempotency-Key are repeated until they are answered, and are there once.
"""
import collections
import contextlib
import http.client
import itertools
import os
import random
import signal
import threading
import time

import lib
import usherd
from lib import ensure

RECOVERY_SECONDS_MAX = 2.0
SETTLE_SECONDS = 30
NOBODY_KNOWS = ("outcome-unknown",)


class Writer:
    """A client that appends to its own stream and to one that all share; with keys it repeats until it is answered."""

    def __init__(self, load, number, keyed):
        self.load, self.number, self.keyed = load, number, keyed
        self.acked, self.refused, self.doubt = {}, set(), set()
        self.times = []                     # of each 2xx
        self.told = collections.Counter()   # statuses
        self.replayed = 0

    def run(self):
        with self.load.client(self.number) as client:
            for n in itertools.count():
                if self.load.stop.is_set():
                    return
                self.load.gate.wait()
                tag = "%d.%d.%d" % (self.load.round, self.number, n)
                stream = "load-%d" % self.number if n % 4 else "load-hot"
                if self.keyed:
                    self.settle(client, stream, tag)
                else:
                    self.once(client, stream, tag, {})

    def once(self, client, stream, tag, headers):
        """One try: True when it was acknowledged, False when it was refused, None when nobody knows."""
        try:
            reply = client.request("POST", "/v1/streams/%s/events" % stream, {"type": "load.done", "data": {"tag": tag}}, headers)
        except (OSError, http.client.HTTPException):
            self.told["nothing"] += 1
            self.doubt.add(tag)
            time.sleep(0.02)
            return None
        self.told[reply.status] += 1
        if reply.status == 201:
            event = reply.json()["events"][0]
            self.acked[tag] = (event["position"], event["version"], stream)
            self.times.append(time.monotonic())
            self.doubt.discard(tag)
            self.replayed += "idempotency-replayed" in reply.headers
            return True
        ensure(reply.status == 503 or (reply.status == 409 and headers), "an append was answered with %r" % reply)
        ensure("retry-after" in reply.headers, "a 503 without Retry-After: %r" % reply)
        if any(reply.json()["type"].endswith(kind) for kind in NOBODY_KNOWS):
            self.doubt.add(tag)
        elif tag not in self.doubt:
            self.refused.add(tag)
        time.sleep(0.02)
        return None if tag in self.doubt else False

    def settle(self, client, stream, tag):
        """With a key, until it is acknowledged: then it was carried out once, whatever came before."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not self.once(client, stream, tag, {"Idempotency-Key": "key-" + tag}):
            ensure(time.monotonic() < deadline, "%s was not acknowledged in %d s: %s" % (tag, SETTLE_SECONDS, dict(self.told)))
        self.refused.discard(tag)


class Load:
    """Many writers on one gateway, or on several in turn."""

    rounds = itertools.count(1)

    def __init__(self, daemons, clients):
        self.daemons, self.round = daemons, next(self.rounds)
        self.stop, self.gate = threading.Event(), threading.Event()
        self.errors = []
        self.writers = [Writer(self, n, keyed=n % 2 == 1) for n in range(clients)]
        self.threads = [threading.Thread(target=self.guard, args=(writer,), daemon=True) for writer in self.writers]

    def client(self, number):
        return self.daemons[number % len(self.daemons)].client(timeout=40)

    def guard(self, writer):
        try:
            writer.run()
        except BaseException as error:
            self.errors.append(error)

    def __enter__(self):
        self.gate.set()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(SETTLE_SECONDS + 20)

    def count(self):
        return sum(len(writer.acked) for writer in self.writers)

    def goes_on(self, more=200, seconds=SETTLE_SECONDS):
        """So many more acknowledgements."""
        before = self.count()

        def there():
            if self.errors:
                raise self.errors[0]
            return self.count() >= before + more
        lib.wait_until(there, seconds, "%d more appends (%d so far)" % (more, before))

    def recovered(self, since):
        """Seconds from then to the next acknowledgement."""
        return lib.wait_until(lambda: min((moment for writer in self.writers for moment in writer.times[-50:] if moment > since),
                                          default=None), SETTLE_SECONDS, "an append after it was back", pause=0.005) - since

    def judge(self, cluster, drained=False):
        """The log against what was told. Drained: nothing may be there that its client was not told of."""
        if self.errors:
            raise self.errors[0]
        ensure(not any(thread.is_alive() for thread in self.threads), "a writer did not end")
        there = collections.defaultdict(list)
        for row in cluster.rows("SELECT data->>'tag', position, version, stream FROM usher.events"
                                " WHERE type = 'load.done' AND data->>'tag' LIKE %s", ("%d.%%" % self.round,)):
            there[row[0]].append(row[1:])
        known, findings = set(), []
        for writer in self.writers:
            for tag, told in writer.acked.items():
                if there[tag] != [told]:
                    findings.append("%s was acknowledged with %s and is there as %s" % (tag, told, there[tag]))
            findings += ["%s was refused and is there" % tag for tag in writer.refused - writer.doubt if there.get(tag)]
            findings += ["%s is there %d times" % (tag, len(there[tag])) for tag in writer.doubt if len(there[tag]) > (not drained)]
            known |= set(writer.acked) | writer.refused | writer.doubt
        findings += ["%s is there and was never sent" % tag for tag in there if there[tag] and tag not in known]
        lib.ensure_empty(findings, "the log")
        told = sum((writer.told for writer in self.writers), collections.Counter())
        lib.note("%d acknowledged, %d replayed, %d in doubt; replies %s" % (
            self.count(), sum(writer.replayed for writer in self.writers),
            sum(len(writer.doubt - set(writer.acked)) for writer in self.writers),
            ", ".join("%s: %d" % item for item in sorted(told.items(), key=str))))
        cluster.check()


class Chaos:
    def __init__(self, options):
        self.clients = options.clients or (32 if options.short else 64)
        self.kills = options.kills or (2 if options.short else 10)
        base = lib.work_directory()
        self.cluster = lib.Cluster(base).initdb().start().create()
        self.first = usherd.Usherd(self.cluster, name="first").start()
        self.second = usherd.Usherd(self.cluster, name="second").start()

    def revive(self):
        """What an earlier test has left dead must not be this one's failure."""
        for daemon in (self.first, self.second):
            if not daemon.running():
                daemon.start()

    def kill_usherd(self):
        with Load([self.first], self.clients) as load:
            load.goes_on()
            for _ in range(self.kills):
                time.sleep(random.uniform(0.05, 0.5))
                self.first.kill9()
                self.first.start()
                load.goes_on()
        load.judge(self.cluster)

    def stop_usherd(self):
        """SIGTERM instead: it finishes what it has, so nobody is left in doubt by a request that it had begun."""
        with Load([self.first], self.clients) as load:
            load.goes_on()
            for _ in range(self.kills):
                time.sleep(random.uniform(0.05, 0.3))
                self.first.stop()
                self.first.start()
                load.goes_on()
        load.judge(self.cluster, drained=True)

    def kill_database(self):
        recoveries = []
        with Load([self.first, self.second], self.clients) as load:
            load.goes_on()
            for _ in range(self.kills):
                time.sleep(random.uniform(0.05, 0.5))
                self.cluster.kill9()
                time.sleep(random.choice((0, 0.5, 2)))
                self.cluster.start()
                recoveries.append(load.recovered(time.monotonic()))
                load.goes_on()
        load.judge(self.cluster)
        lib.note("after the database's return: " + ", ".join("%.2f s" % recovery for recovery in recoveries))
        # one in two may meet a busy machine
        ensure(sorted(recoveries)[(len(recoveries) - 1) // 2] < RECOVERY_SECONDS_MAX and max(recoveries) < 5 * RECOVERY_SECONDS_MAX,
               "the first append came %s s after the database's return" % recoveries)

    def backends(self):
        return [row[0] for row in self.cluster.rows("SELECT pid FROM pg_stat_activity WHERE usename = %s", (usherd.LOGIN,))]

    def terminate_backends(self):
        """Single connections end, the server stays: whatever was on them is told or repeated."""
        with Load([self.first, self.second], self.clients) as load:
            load.goes_on()
            for _ in range(10 * self.kills):
                time.sleep(random.uniform(0.02, 0.1))
                pids = self.backends()
                if pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(random.choice(pids), signal.SIGTERM)
            load.goes_on()
        load.judge(self.cluster)

    def kill_backends(self):
        """kill -9 of one makes the server reset itself."""
        with Load([self.first, self.second], self.clients) as load:
            load.goes_on()
            for _ in range(self.kills):
                time.sleep(random.uniform(0.05, 0.3))
                self.cluster.kill9_backend(random.choice(lib.wait_until(self.backends, 10, "backends of usherd")))
                load.goes_on()
        load.judge(self.cluster)

    def reversed_batches(self):
        """Two gateways, the same streams and keys in opposite order: nobody waits for the other in a circle."""
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        before, streams, told = self.cluster.value(deadlocks), 12, collections.Counter()
        requests = 60 if self.kills < 5 else 1500

        def writer(daemon, number, backwards):
            names = ["turn-%d" % k for k in range(streams)]
            if number % 2:
                names.reverse()

            def run():
                with daemon.client() as client:
                    for n in reversed(range(requests)) if backwards else range(requests):
                        body = {"streams": [{"stream": name, "events": [{"type": "turn.done", "data": {"n": n}}]} for name in names]}
                        reply = client.post("/v1/transactions", body, Idempotency_Key="turn-%d-%d" % (number, n))
                        told[reply.status] += 1
                        ensure(reply.status in (201, 409), "a transaction was answered with %r" % reply)
            return run
        # each number has a writer on either gateway: the same keys, from the first to the last and back
        usherd.parallel([writer(daemon, number, backwards) for number in range(8)
                         for daemon, backwards in ((self.first, False), (self.second, True))], 120)
        time.sleep(1.2)             # statistics are reported every half second
        ensure(self.cluster.value(deadlocks) == before, "there were %d deadlocks" % (self.cluster.value(deadlocks) - before))
        there = self.cluster.rows("SELECT stream, count(*) FROM usher.events WHERE type = 'turn.done' GROUP BY 1")
        lib.note("replies " + ", ".join("%s: %d" % item for item in sorted(told.items())))
        ensure(len(there) == streams and all(count == 8 * requests for _, count in there), "the log has %s" % sorted(there))
        self.cluster.check()

    def settle(self):
        for daemon in (self.first, self.second):
            daemon.ensure_alive()
            daemon.stop()
        lib.ensure_empty(self.cluster.log_crashes(), "server log")
        ensure(self.cluster.log_count("deadlock detected") == 0, "a deadlock in the server's log")


def main():
    options = lib.arguments("usherd and its database killed under load.", kills=(int, None, "of each kind (10, --short: 2)"),
                            clients=(int, None, "at once (64, --short: 32)"),
                            only=(str, "", "only this one"))
    chaos = Chaos(options)
    names = ("kill_usherd", "stop_usherd", "kill_database", "terminate_backends", "kill_backends", "reversed_batches", "settle")

    def test(name):
        def run():
            chaos.revive()
            getattr(chaos, name)()
        return run
    lib.main([(name, test(name)) for name in names if name == (options.only or name)], 120 if options.short else 600)


if __name__ == "__main__":
    main()
