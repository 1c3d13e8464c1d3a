#!/usr/bin/python3
# test/chaos/gateway_db.py: the gateway's way to PostgreSQL without HTTP: batches, errors in them, fairness, and a database that goes away.
# slow: 85 s
#
# test/integration/src/gateway_db.c drives gateway/db*.c, batch*.c and appends.c with clients in one process, built with the address
# and undefined-behaviour sanitizers where time does not matter. What clients were told is compared with the log.
import collections
import contextlib
import glob
import json
import os
import signal
import socket
import subprocess
import time

import lib
from lib import ensure, ensure_empty, note, wait_until

RECOVERY_SECONDS_MAX = 2.0
ATTEMPTS = 5        # to show it on a machine that does other things beside
CLIENTS = 64
LOGIN = "gateway_db"
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-g", "-O2", "-Wall", "-Wextra", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]


def build(base):
    gateway = os.path.join(lib.ROOT, "gateway")
    sources = [os.path.join(lib.ROOT, "test/integration/src/gateway_db.c"), os.path.join(lib.ROOT, "extension/lib/backoff.c")]
    sources += glob.glob(gateway + "/db*.c") + glob.glob(gateway + "/batch*.c") + [gateway + "/appends.c"]
    sources += [os.path.join(gateway, "lib", name + ".c") for name in ("text", "turns", "hash_table", "pgbinary", "siphash")]
    include = subprocess.run(["pg_config", "--includedir"], stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout.strip()
    for name, extra in (("drive", []), ("drive_sanitized", SANITIZERS)):
        subprocess.run(["cc"] + FLAGS + extra + ["-I" + gateway, "-I" + os.path.join(lib.ROOT, "extension"), "-I" + include, "-o",
                        os.path.join(base, name)] + sources + ["-lpq", "-lev", "-lssl", "-lcrypto", "-lpthread"], check=True)


class Drive:
    """A run of the driver; each group of clients is a dictionary."""

    def __init__(self, test, seconds, groups, settings=(), sanitized=False, database="postgres", host=None):
        self.test = test
        self.run = next(test.runs)
        self.groups = [dict(group, acknowledged=os.path.join(test.base, "ack-%d-%d" % (self.run, number)))
                       if group.get("kind", "append") == "append" else group for number, group in enumerate(groups)]
        conninfo = host or "host=127.0.0.1 port=%d" % test.cluster.port
        argv = [os.path.join(test.base, "drive_sanitized" if sanitized else "drive"),
                "%s user=%s dbname=%s" % (conninfo, LOGIN, database), str(seconds), "run=%d" % self.run]
        argv += list(settings) + ["--"] + [",".join("%s=%s" % item for item in group.items()) for group in self.groups]
        self.journal = os.path.join(test.base, "journal-%d" % self.run)
        with open(self.journal, "w") as journal:
            self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=journal, universal_newlines=True,
                                            preexec_fn=lib.die_with_parent)

    def said(self, text):
        with open(self.journal) as journal:
            return text in journal.read()

    def results(self, seconds=60):
        try:
            output = self.process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise lib.Failure("the driver did not end")
        with open(self.journal) as journal:
            said = journal.read()
        ensure(self.process.returncode == 0, "the driver ended with %d: %s" % (self.process.returncode, said[-1500:]))
        results = [json.loads(line) for line in output.splitlines()]
        ensure(len(results) == len(self.groups), "the driver printed %r" % output)
        return results

    def acknowledged(self, number):
        """{(client, n, i): (position, version)}; one that was acknowledged twice is found by the number of lines."""
        with open(self.groups[number]["acknowledged"]) as file:
            lines = [[int(word) for word in line.split()] for line in file]
        told = {tuple(line[:3]): tuple(line[3:]) for line in lines}
        ensure(len(told) == len(lines), "an event was acknowledged twice")
        return told

    def logged(self, number):
        """{(client, n, i): [(position, version), ...]} as the log has it."""
        found = collections.defaultdict(list)
        for client, n, i, position, version in self.test.cluster.rows(
                "SELECT (data->>'client')::int, (data->>'n')::int, (data->>'i')::int, position, coalesce(version, 0) FROM usher.log"
                " WHERE data->>'run' = %s AND data->>'group' = %s", (str(self.run), str(number))):
            found[client, n, i].append((position, version))
        return found

    def ensure_told(self, number, repeatable):
        """What was acknowledged is there as it was told; nothing is there twice."""
        told, logged = self.acknowledged(number), self.logged(number)
        ensure_empty([(event, where, logged.get(event)) for event, where in told.items() if logged.get(event) != [where]],
                     "acknowledged and otherwise in the log")
        if repeatable:
            ensure_empty([(event, where) for event, where in logged.items() if len(where) > 1], "in the log twice")
        ensure(told, "nothing was acknowledged")
        return len(told)


class GatewayDb:
    def __init__(self):
        self.base = lib.work_directory()
        self.runs = iter(range(int(time.time()) % 100000 * 100, 1 << 40))
        build(self.base)
        self.cluster = lib.Cluster(self.base, conf={"usher.dedupe_window": "1h"}).initdb().start().create()
        self.cluster.rows("CREATE ROLE %s LOGIN IN ROLE usher_gateway" % LOGIN)
        for tenant in ("acme", "small"):
            self.cluster.rows("SELECT usher.create_tenant(%s)", (tenant,))
        self.cluster.rows("CREATE FUNCTION public.broke(event usher.event) RETURNS void LANGUAGE plpgsql AS"
                          " $$ BEGIN RAISE EXCEPTION 'the handler is broken'; END $$")
        self.cluster.rows("CREATE FUNCTION public.broke_some(event usher.event) RETURNS void LANGUAGE plpgsql AS"
                          " $$ BEGIN IF (event.data->>'client')::int = 7 THEN RAISE EXCEPTION 'broken for 7'; END IF; END $$")
        self.cluster.rows("SELECT usher.project('broke', 'broken.**', 'public.broke(usher.event)')")
        self.cluster.rows("SELECT usher.project('broke_some', 'some.**', 'public.broke_some(usher.event)')")

    def drive(self, seconds, *groups, **options):
        return Drive(self, seconds, groups, **options)

    # what a batch does

    def batches(self):
        """Requests of all kinds at once: each has its own result, and the log says the same."""
        run = self.drive(3, dict(clients=20), dict(clients=10, key=1, tenant="acme"), dict(clients=10, ids=1, events=3, streams=5),
                         dict(clients=5, version=0, streams=1, tenant="acme"), dict(clients=3, bad=1, delay=0.01),
                         dict(clients=2, tenant="nobody", delay=0.01), dict(kind="read", clients=5),
                         dict(kind="error", clients=2, delay=0.01), sanitized=True)
        plain, keyed, ids, version, bad, nobody, read, error = run.results()
        for number in range(3):
            run.ensure_told(number, True)
        ensure(version["done"] == 1 and set(version["states"]) == {"US001"}, "expected versions: %s" % version)
        ensure(set(bad["states"]) == {"22021"} and bad["done"] == 0, "bad text: %s" % bad)
        ensure(set(nobody["states"]) == {"US010"}, "an unknown tenant: %s" % nobody)
        ensure(read["done"] > 0 and read["refused"] == 0, "reads: %s" % read)
        ensure(set(error["states"]) == {"22012", "42883"}, "errors: %s" % error)
        for result in (plain, keyed, ids):
            ensure(result["refused"] + result["unknown"] + result["unavailable"] + result["busy"] == 0, "refused: %s" % result)

    def one_key(self):
        """Many requests with one key, through two gateways: one is written, the others are repeats of it."""
        runs = [self.drive(2, dict(clients=20, same=1, tenant="acme"), sanitized=True, settings=("run=77",)) for _ in range(2)]
        results = [run.results()[0] for run in runs]
        ensure(sum(r["done"] for r in results) > 20 and sum(r["done"] - r["replayed"] for r in results) == 1,
               "one key: %s" % [(r["done"], r["replayed"], r["busy"], r["states"]) for r in results])
        ensure(self.cluster.value("SELECT count(*) FROM usher.log WHERE data->>'run' = '77'") == 1, "one key was written twice")

    def raising(self):
        """A projection that raises refuses whom it is about, and nobody else, also when others are of the same type."""
        run = self.drive(2, dict(clients=40, broken=2), dict(clients=8, type="broken.made"), dict(clients=30, type="some.made"),
                         sanitized=True)
        mixed, broken, some = run.results()
        for number in (0, 2):
            run.ensure_told(number, True)
        ensure(broken["done"] == 0 and broken["refused"] > 10, "the broken: %s" % broken)
        for result in (mixed, broken, some):
            ensure(set(result["states"]) <= {"P0001"} and result["unknown"] + result["unavailable"] + result["busy"] == 0,
                   "beside the broken: %s" % result)
        ensure(some["refused"] > 0 and not [event for event in run.logged(2) if event[0] == 7], "client 7 was not refused")
        ensure(mixed["refused"] < mixed["done"] / 10, "others were refused: %s" % mixed)

    def raising_rate(self):
        """With 1 % that raise, the others keep half the rate or better."""
        ratios = []
        while len(ratios) < ATTEMPTS and max(ratios, default=0) < 0.5:
            whole = self.drive(2, dict(clients=CLIENTS)).results()[0]
            part = self.drive(2, dict(clients=CLIENTS, broken=1)).results()[0]
            ratios.append(part["rate"] / whole["rate"])
            note("%d a second, with 1 %% that raise %d" % (whole["rate"], part["rate"]))
        ensure(max(ratios) >= 0.5, "with 1 %% that raise the others have %.2f of the rate" % max(ratios))

    def tenants(self):
        """One tenant at 20 times another's share: the other's p99 rises to twice at most."""
        ratios = []
        while len(ratios) < ATTEMPTS and min(ratios, default=3) > 2:
            alone = self.drive(2, dict(clients=10, tenant="small"), dict(clients=10, tenant="acme")).results()[0]
            beside = self.drive(2, dict(clients=10, tenant="small"), dict(clients=200, tenant="acme")).results()[0]
            ratios.append(beside["p99_ms"] / alone["p99_ms"])
            note("p99 %.1f ms, beside the other's 200 clients %.1f ms" % (alone["p99_ms"], beside["p99_ms"]))
        ensure(min(ratios) <= 2, "p99 rises to %.1f times" % min(ratios))

    def locked(self):
        """Streams that somebody else holds keep those who want them waiting, and nobody else for long."""
        with contextlib.closing(self.cluster.connect()) as holder:
            holder.autocommit = False
            for stream in ("drive0-5", "drive0-6", "drive0-7"):
                holder.cursor().execute("SELECT usher.append(%s, 'held')", (stream,))
            run = self.drive(4, dict(clients=20, key=1), sanitized=True)
            result = run.results()[0]
            holder.rollback()
        run.ensure_told(0, True)
        served = {client for client, _, _ in run.logged(0)}
        ensure(served == set(range(20)) - {5, 6, 7}, "served were clients %s" % sorted(served))
        ensure(result["gap"] < 1.5 and result["p50_ms"] < 200, "others waited: %s" % result)
        ensure(result["refused"] + result["unknown"] == 0, "refused: %s" % result)

    # a database that goes away

    def load(self, seconds, **options):
        return self.drive(seconds, dict(clients=20, key=1), dict(clients=20, ids=1, events=2), dict(clients=20),
                          dict(kind="read", clients=10), sanitized=True, **options)

    def ensure_survived(self, run, results):
        for number in range(3):
            run.ensure_told(number, number < 2)
        keyed, ids, plain, read = results
        for result in (keyed, ids):
            ensure(result["refused"] == 0 and not result["states"], "refused: %s" % result)
        ensure(plain["refused"] == 0 and read["refused"] == 0, "refused: %s %s" % (plain, read))
        ensure(sum(len(where) - 1 for where in run.logged(2).values()) == 0, "an append without a key was sent twice")

    def backends(self):
        """Sessions are ended under load: nothing is lost or written twice."""
        run = self.load(5)
        ended = 0
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            time.sleep(0.15)
            ended += len(self.cluster.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^usherd/'"
                                           " ORDER BY random() LIMIT 2"))
        results = run.results()
        self.ensure_survived(run, results)
        ensure(ended > 10 and results[2]["unknown"] > 0, "%d sessions ended, and %d unknown" % (ended, results[2]["unknown"]))

    def server(self):
        """kill -9 of the server: within two seconds of its return there is service again."""
        back = []
        while not back or (max(back[-1]) > RECOVERY_SECONDS_MAX and len(back) < ATTEMPTS):
            back.append(self.kill_server())
        note("back after %s s" % back)
        ensure(max(back[-1]) <= RECOVERY_SECONDS_MAX, "it came back %s s behind the server" % back)

    def kill_server(self):
        """Seconds from the server's return to the first success of each client."""
        run = self.load(100)
        wait_until(lambda: run.said("the database is here"), 10, "the driver")
        time.sleep(1)
        self.cluster.kill9()
        time.sleep(1.5)
        self.cluster.start()
        back = time.time()
        time.sleep(RECOVERY_SECONDS_MAX + 4)
        run.process.send_signal(signal.SIGTERM)
        results = run.results()
        self.ensure_survived(run, results)
        for result in results:
            # often something is refused meanwhile; but what waits less than its second may all be served behind it
            ensure(result["gap"] > 1, "no interruption was seen: %s" % result)
        return [round(result["gap_end"] - back, 2) for result in results]

    def frozen(self):
        """Backends that answer no more: their connections are ended, the others go on."""
        run = self.load(8, settings=("write_timeout=1",))
        wait_until(lambda: run.said("the database is here"), 10, "the driver")
        time.sleep(0.5)
        pids = [row[0] for row in self.cluster.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'usherd/write'")]
        ensure(len(pids) == 2, "%d connections write" % len(pids))
        for pid in pids:
            self.cluster.ensure_child(pid)
            os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: run.said("it does not answer"), 6, "the end of a connection")
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        results = run.results()
        self.ensure_survived(run, results)
        ensure(results[3]["gap"] < 1, "reads waited: %s" % results[3])

    # who answers

    def hosts(self):
        """A host that refuses and one that never answers stand in front of the one that is there."""
        with socket.socket() as mute, socket.socket() as closed:
            mute.bind(("127.0.0.1", 0))
            mute.listen(64)
            closed.bind(("127.0.0.1", 0))
            host = "host=localhost,127.0.0.1,127.0.0.1 port=%d,%d,%d target_session_attrs=read-write" % (
                closed.getsockname()[1], mute.getsockname()[1], self.cluster.port)
            result = self.drive(1, dict(clients=5), host=host).results()[0]
        ensure(result["done"] > 0 and result["refused"] == 0, "the third host: %s" % result)

    def protocol(self):
        """A database that speaks otherwise is refused, and the journal says why."""
        self.cluster.rows("CREATE DATABASE other")
        for sql, words in ((None, "has no usher.gateway_protocol()"),
                           ("CREATE SCHEMA usher GRANT USAGE ON SCHEMA usher TO PUBLIC; CREATE FUNCTION usher.gateway_protocol()"
                            " RETURNS int LANGUAGE sql AS 'SELECT 99'", "speaks gateway protocol 99, and this usherd 2")):
            if sql:
                self.cluster.psql(sql.replace("usher GRANT", "usher; GRANT"), "other")
            run = self.drive(1, dict(clients=1), database="other")
            try:
                wait_until(lambda: run.said(words), 10, "the journal to say that it %s" % words)
                ensure(run.process.poll() is None and not run.said("the database is here"), "it went on")
            finally:
                run.process.kill()
                run.process.wait()


def main():
    options = lib.arguments("the gateway's way to PostgreSQL", only=(str, None, "one of the tests, by its name"))
    test = GatewayDb()
    names = [options.only] if options.only else ("batches", "one_key", "raising", "raising_rate", "tenants", "locked", "backends", "server", "frozen", "hosts", "protocol")
    lib.main([(getattr(test, name).__doc__.strip().rstrip("."), getattr(test, name)) for name in names]
             + [("the log holds", test.cluster.check)], 120)


if __name__ == "__main__":
    main()
