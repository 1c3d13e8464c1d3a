#!/usr/bin/python3
"""test/chaos/slow_clients.py: clients of the live log that stop reading, and come back together.

500 (--short: 30), over WebSocket and server-sent events, read nothing for a minute while 100,000 events pass (8 seconds,
26,000), and then all at once. usherd's memory must not grow with them, what it holds being bounded; who is live beside them
must not notice, and each must have everything in the end, in order. In the long form the first thousands of events come as fast as
they can, as behind a commit that had to wait. The client is in C (src/slow_clients.c): it reads some 20 GB.
"""
import os
import subprocess
import threading
import time

import lib
import usherd
from lib import ensure

GROWTH_KB_MAX = 65536       # the newest events (32 MB), blocks of the past, frames that are being written
LIVE_CLIENTS = 20
LIVE_A_SECOND = 100
STAMP = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


class Slow:
    def __init__(self, options):
        short = options.short
        self.clients = options.clients or (30 if short else 500)
        self.events = options.events or (26000 if short else 100000)
        self.seconds = 8 if short else 60
        self.live_ms_max = 300 * lib.PATIENCE if short else 100    # beside other tests, and alone
        self.at_once = 50 if short else 4000
        self.pad = 300 if short else 0      # so that the kernel's buffers are full, too
        self.base = lib.work_directory()
        self.cluster = lib.Cluster(self.base).initdb().start().create()
        self.daemon = usherd.Usherd(self.cluster).start()
        self.program = os.path.join(self.base, "slow_clients")
        subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-pthread", "-o", self.program,
                        os.path.join(lib.ROOT, "test/chaos/src/slow_clients.c")], check=True)
        self.over = threading.Event()
        self.memory, self.pages = [], 0

    def append(self, kind, events, seconds, batch=50):
        """So many, evenly, in small transactions; or until it is over."""
        connection = self.cluster.connect()
        began, done = time.monotonic(), 0
        with connection.cursor() as cursor:
            while not self.over.is_set() and (not events or done < events):
                n = min(batch, events - done) if events else 1
                cursor.execute("SELECT usher.append_many(array_agg('%s-' || n %% 20), array_agg('%s.x'::text), array_agg('{\"t\":' || %s || "
                               "',\"p\":\"' || repeat('x', %d) || '\"}')) FROM generate_series(1, %d) n" % (kind, kind, STAMP, self.pad if events else 0, n))
                connection.commit()
                done += n
                pause = began + (done * seconds / events if events else done / LIVE_A_SECOND) - time.monotonic()
                if pause > 0:
                    time.sleep(pause)
        connection.close()

    def counter(self, name):
        return next(float(line.split()[-1]) for line in self.daemon.admin().get("/metrics").body.decode().splitlines() if line.startswith(name + " "))

    def watch(self):
        while not self.over.is_set():
            self.memory.append(self.daemon.rss_kb())
            time.sleep(0.2)

    def slow(self):
        self.append("warm", 20000, 1)       # the newest events have all the memory that they may
        lib.wait_until(lambda: self.counter("usherd_live_lag_events") == 0, 20, "usherd to have read the log")
        heart = lib.Heartbeat(self.cluster)
        heart.start()
        client = subprocess.Popen([self.program, str(self.daemon.port), self.daemon.token(), str(self.clients), str(LIVE_CLIENTS), str(self.events)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)
        try:
            ensure(client.stdout.readline() == "ready\n", "the clients are not ready")
            before = self.daemon.rss_kb()
            threads = [threading.Thread(target=self.append, args=("live", 0, 0), daemon=True), threading.Thread(target=self.watch, daemon=True)]
            for thread in threads:
                thread.start()
            self.append("slow", self.at_once, 0, 500)
            self.append("slow", self.events - self.at_once, self.seconds)
            slow = self.counter("usherd_live_clients_slow")
            stopped = len(self.memory)
            pages = self.counter("usherd_live_pages_total")
            client.stdin.write("resume\n")
            client.stdin.flush()
            line, *late = client.stdout.read().splitlines() or [""]
            pages = self.counter("usherd_live_pages_total") - pages
            lib.note("the longest round of the loop: %.1f ms" % (self.counter("usherd_loop_longest_seconds") * 1000))
        finally:
            self.over.set()
            client.kill()
            heart.stop()
        ensure(line, "the clients have ended")
        figures = {key: float(value) for key, value in (pair.split("=") for pair in line.split())}
        self.judge(figures, before, stopped, slow, pages)
        self.judge_live(figures, heart, [tuple(map(int, window.split())) for window in late])

    def judge_live(self, figures, heart, late):
        """Of a hundred events for the live ones one may be late, those apart for which plain commits did not come through, either."""
        since = time.time() - time.monotonic()
        lib.note("plain commits took at most %.0f ms; live ones came late %s" % (
            heart.longest * 1000, ["%d in %.0f ms" % (n, (came - made) / 1000) for _, n, made, came in sorted(late, key=lambda w: w[2] - w[3])[:5]]))
        for phase in range(2):
            total = figures["n%d" % phase]
            ensure(total > 0, "nothing was live beside them")
            blamed = sum(n for at, n, made, came in late if at == phase
                         and heart.to_blame([(made / 1e6 - since, came / 1e6 - since, "late")], self.live_ms_max / 1000))
            ensure(blamed <= total / 100, "%d of %d live ones came later than %d ms" % (blamed, total, self.live_ms_max))

    def judge(self, figures, before, stopped, slow, pages):
        lib.note("%d clients had stopped; %d were slow, and caught up %d events each in %.1f s with %d pages of the log"
                 % (self.clients, slow, self.events, figures["seconds"], pages))
        lib.note("live beside them: p50 %.1f, p99 %.1f ms of %d while they did not read; p50 %.1f, p99 %.1f ms of %d while they caught up"
                 % tuple(figures[key] for key in ("p50_0", "p99_0", "n0", "p50_1", "p99_1", "n1")))
        lib.note("memory of usherd in kB: %d before, at most %d while they did not read, at most %d while they caught up"
                 % (before, max(self.memory[:stopped]), max(self.memory[stopped:] or [0])))
        ensure(slow >= self.clients, "only %d clients were slow: the test shows nothing" % slow)
        ensure(not figures["behind"] and figures["same"] and not figures["disorder"], "they have not got everything in order: %s" % figures)
        log = self.cluster.rows("SELECT count(*), max(position), sum(position) FROM usher.events WHERE type = 'slow.x'")[0]
        ensure((figures["events"], figures["last"], figures["sum"]) == tuple(map(float, log)), "they have %s, the log has %s" % (figures, log))
        ensure(max(self.memory) - before < GROWTH_KB_MAX, "the memory grew by %d kB" % (max(self.memory) - before))
        # what they missed is more than memory has; a page is for all who are near, far from one for each client
        ensure(0 < pages < self.clients * self.events / 500 / 4, "%d pages were read" % pages)

    def settle(self):
        self.daemon.ensure_alive()
        self.daemon.stop()
        lib.ensure_empty(self.cluster.log_crashes(), "server log")


def main():
    options = lib.arguments("Clients of the live log that stop reading, and come back together.",
                            clients=(int, None, "that stop (500, --short: 30)"), events=(int, None, "that pass (100000, --short: 26000)"))
    slow = Slow(options)
    lib.main([("slow clients", slow.slow), ("settle", slow.settle)], 120 if options.short else 500)


if __name__ == "__main__":
    main()
