#!/usr/bin/python3
"""test/chaos/rush.py: a rush on the box office over HTTP while its database, its gateways and single backends are killed.

Thousands of users ask two gateways for places of one zone that sells out on the way; one request in five repeats an earlier one. Nobody
gives up before he is answered (bench/src/rush.c with persist=1). While it runs, something is killed. Then each answer is held
against the rows and the log: what was granted is there, once, with its event; what was refused is not; nobody has more than he may; and
boxoffice.check() holds, beside the load and after it.
"""
import contextlib
import os
import random
import signal
import subprocess
import time

import psycopg2

import lib
import rushes
import usherd
from lib import ensure

USERS, REQUESTS, PLACES, LIMIT, CONNECTIONS = 8000, 16000, 12000, 6, 64
SHORT = 2              # so many times less in the short form
RUSH_SECONDS_MAX = 60
# Not answers but reasons to ask again; the generator does.
PASSING = (429, 503)


def build(directory):
    """The load generator."""
    program = os.path.join(directory, "rush_program")
    subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program,
                    os.path.join(lib.ROOT, "bench", "src", "rush.c")] + lib.libpq_flags() + ["-lcrypto"], check=True)
    return program


class Rush:
    """One zone and those who ask for it."""

    def __init__(self, chaos, daemons, generators=1):
        self.chaos, self.cluster, self.daemons = chaos, chaos.cluster, daemons
        self.places = PLACES // chaos.scale
        self.event = self.cluster.value("SELECT boxoffice.create_event('Rush', 'EUR', user_limit => %s)", (LIMIT,))
        self.show = self.cluster.value("SELECT boxoffice.create_show(%s, 'UTC', '2099-01-01')", (self.event,))
        self.zone = self.cluster.value("SELECT boxoffice.create_zone(%s, 'floor', %s)", (self.show, self.places))
        self.cluster.rows("SELECT boxoffice.create_price_type(%s, 'adult', 2550, 1900, 250)", (self.zone,))
        self.cluster.rows("SELECT boxoffice.publish_event(%s)", (self.event,))
        self.seed = random.randrange(1, 2 ** 31)
        self.running, self.outcomes = [], []

    def __enter__(self):
        if len(self.daemons) == 1 or not self.chaos.reversed:
            self.start([daemon.port for daemon in self.daemons])
        else:
            for backwards, daemon in enumerate(self.daemons):
                self.start([daemon.port], backwards=backwards)
        return self

    def start(self, ports, **options):
        """The same seed: the same requests, with the same keys."""
        outcomes = os.path.join(self.cluster.base, "outcomes-%d-%d" % (self.seed, len(self.running)))
        self.outcomes.append(outcomes)
        self.running.append(self.chaos.generator.start(
            ports, rushes.reserve(self.show, self.zone), key=self.daemons[0].key, users=USERS // self.chaos.scale, requests=REQUESTS // self.chaos.scale,
            connections=CONNECTIONS, quantity=4, again=20, persist=1, outcomes=outcomes, seed=self.seed, **options))

    def __exit__(self, kind, *_):
        if kind is not None:
            for process in self.running:
                process.kill()

    def sold(self):
        with contextlib.suppress(psycopg2.Error):
            return self.cluster.value("SELECT coalesce(sum(quantity), 0) FROM boxoffice.bookings WHERE show_id = %s", (self.show,))
        return 0

    def until_sold(self, places):
        lib.wait_until(lambda: self.sold() >= places or not self.asks(), RUSH_SECONDS_MAX, "%d places to be sold" % places, pause=0.005)

    def asks(self):
        return any(process.poll() is None for process in self.running)

    def checked(self):
        """The invariants beside the load."""
        lib.ensure_empty(self.cluster.rows("SELECT invariant, detail FROM boxoffice.check('20 s') WHERE NOT ok"), "boxoffice.check()")

    def judge(self):
        """When everybody has been answered."""
        told = {}
        broken = replayed = 0
        for process in self.running:
            ensure(process.wait(RUSH_SECONDS_MAX) == 0, "the load generator failed")
            figures = self.chaos.generator.figures(process)
            broken, replayed = broken + figures.broken, replayed + figures.replayed
            for kind, count in figures.kinds.items():
                told[kind] = told.get(kind, 0) + count
        lib.note("%s; %d without a reply, %d replayed" % (
            ", ".join("%d %s: %d" % (status, kind, count) for (status, kind), count in sorted(told.items())), broken, replayed))
        strange = [kind for kind in told if kind[0] >= 300 and kind[0] not in PASSING and kind[1] not in rushes.REFUSALS + ("request-in-progress",)]
        lib.ensure_empty(strange, "replies")
        lib.ensure_empty([text for text, holds in rushes.compare(self.cluster.connect(), self.show, self.places, LIMIT, *self.outcomes) if not holds], "bookings")
        ensure(self.sold() > 0.9 * self.places, "only %d places were sold" % self.sold())
        self.checked()
        for path in self.outcomes:
            os.unlink(path)


class Chaos:
    reversed = False

    def __init__(self, options):
        self.short, self.scale = options.short, SHORT if options.short else 1
        base = lib.work_directory()
        self.cluster = lib.Cluster(base).initdb().start().create()
        self.first = usherd.Usherd(self.cluster, name="first", access_log=os.path.join(base, "access")).start()
        self.second = usherd.Usherd(self.cluster, name="second")
        # one issuer: either gateway takes the tokens
        self.second.key = self.first.key
        self.second.settings["jwt_keys"] = self.first.jwks
        self.second.start()
        self.generator = rushes.Generator(base, build(base))

    def rounds(self, many):
        return range(1 if self.short else many)

    def disturbed(self, disturb, many):
        """A rush a round; it is disturbed somewhere between its first and its last place."""
        for _ in self.rounds(many):
            with Rush(self, [self.first, self.second]) as rush:
                rush.until_sold(random.randint(1, rush.places * 2 // 3))
                disturb(rush)
                rush.checked()
                rush.judge()

    def kill_database(self):
        def disturb(_):
            self.cluster.kill9()
            time.sleep(random.choice((0, 0.3, 1)))
            self.cluster.start()
        self.disturbed(disturb, 10)

    def kill_usherd(self):
        def disturb(_):
            daemon = random.choice((self.first, self.second))
            daemon.kill9()
            daemon.start()
        self.disturbed(disturb, 5)

    def backends(self, busy=False):
        return [row[0] for row in self.cluster.rows("SELECT pid FROM pg_stat_activity WHERE usename = %s AND (state = 'active' OR NOT %s)",
                                                    (usherd.LOGIN, busy))]

    def signal_backends(self, number, said, busy=False):
        before = self.cluster.log_count(said)

        def disturb(rush):
            for _ in range(60):
                if not rush.asks():
                    return
                with contextlib.suppress(ProcessLookupError, IndexError):
                    os.kill(random.choice(self.backends(busy)), number)
                time.sleep(random.uniform(0.005, 0.05))
        self.disturbed(disturb, 5)
        lib.note("%d times: %s" % (self.cluster.log_count(said) - before, said))
        ensure(self.cluster.log_count(said) > before, "nothing was disturbed")

    def terminate_backends(self):
        self.signal_backends(signal.SIGTERM, "terminating connection due to administrator command")

    def cancel_statements(self):
        self.signal_backends(signal.SIGINT, "canceling statement due to user request", busy=True)

    def kill_backend(self):
        def disturb(_):
            self.cluster.kill9_backend(random.choice(lib.wait_until(self.backends, 10, "backends of usherd")))
        self.disturbed(disturb, 5)

    def reversed_batches(self):
        """The same requests with the same keys at either gateway, from the first to the last and from the last to the first."""
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        before, self.reversed = self.cluster.value(deadlocks), True
        try:
            for _ in self.rounds(5):
                with Rush(self, [self.first, self.second]) as rush:
                    rush.judge()
        finally:
            self.reversed = False
        time.sleep(0.6)             # statistics are reported every half second
        ensure(self.cluster.value(deadlocks) == before, "there were %d deadlocks" % (self.cluster.value(deadlocks) - before))

    def settle(self):
        for daemon in (self.first, self.second):
            daemon.ensure_alive()
            daemon.stop()
        lib.ensure_empty(self.cluster.log_crashes(), "server log")
        ensure(self.cluster.log_count("deadlock detected") == 0, "a deadlock in the server's log")
        self.cluster.check()


def main():
    options = lib.arguments("A rush on the box office while what serves it is killed.", only=(str, "", "only this one"))
    chaos = Chaos(options)
    names = ("kill_database", "kill_usherd", "terminate_backends", "cancel_statements", "kill_backend", "reversed_batches", "settle")

    def test(name):
        def run():
            for daemon in (chaos.first, chaos.second):
                if not daemon.running():
                    daemon.start()
            getattr(chaos, name)()
        return run
    lib.main([(name, test(name)) for name in names if name == (options.only or name)], 240 if options.short else 900)


if __name__ == "__main__":
    main()
