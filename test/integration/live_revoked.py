#!/usr/bin/python3
"""test/integration/live_revoked.py: revocations while much is followed: 1,000 events a second to 500 WebSockets.

# alone: it measures how soon the revoked are gone

Whose token is revoked is told so, and gone, within 100 ms of the commit: a WebSocket, a stream, and one by ticket each time,
while bench/src/realtime.c appends, and follows with sockets that want every event.
"""
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
from lib import ensure      # noqa: E402

from live_lib import Live, Sse      # noqa: E402

MS_MAX = 100
SOCKETS, EVENTS_A_SECOND, SECONDS = 500, 1000, 15
REVOCATIONS = 10


class Revoked(gateway_lib.Api):
    def __init__(self):
        super().__init__()
        self.program = os.path.join(self.daemon.dir, "realtime")
        subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", self.program,
                        os.path.join(lib.ROOT, "bench", "src", "realtime.c")] + lib.libpq_flags(), check=True)

    def metric(self, name):
        text = self.daemon.admin().get("/metrics").body.decode()
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(name + " ")))

    async def one(self, number):
        """Milliseconds from the commit of a revocation to each end."""
        session = "session-%d" % number
        token = self.daemon.token(user="ann", sid=session)
        ticket = self.daemon.client(user="ann", sid=session).post("/v1/tickets", {"for": "sse"}).json()["ticket"]
        async with Live(self.daemon, token) as live, Sse(self.daemon, token, "?types=none") as sse, \
                Sse(self.daemon, None, "?types=none&ticket=" + ticket) as shown:
            await live.subscribe(types=["none"])
            await asyncio.gather(sse.block(), shown.block())

            async def ended(stream):
                await (stream.closed() if stream is live else stream.named("end"))
                return time.time()
            waiting = [asyncio.create_task(ended(stream)) for stream in (live, sse, shown)]
            with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT usher.revoke('session', %s, now() + interval '1 s')", (session,))
                connection.commit()
                committed = time.time()
            times = [(at - committed) * 1000 for at in await asyncio.gather(*waiting)]
            ensure(live.socket.close_code == 4401, "closed with %s" % live.socket.close_code)
        return times

    async def under_load(self):
        with open(os.path.join(self.daemon.dir, "load"), "w+") as said:
            environment = dict(os.environ, PGHOST="127.0.0.1", PGPORT=str(self.cluster.port), PGUSER="postgres")
            load = subprocess.Popen([self.program, "flow", "postgres", str(self.daemon.port), self.daemon.token(), "ws", str(SOCKETS),
                                     str(EVENTS_A_SECOND), str(SECONDS)], env=environment, stdout=said, stderr=subprocess.STDOUT)
            try:
                await asyncio.to_thread(lib.wait_until, lambda: load.poll() is not None or self.metric("usherd_live_clients") >= SOCKETS, 60, "all to follow")
                said.seek(0)
                ensure(load.poll() is None, "the load has ended: %s" % said.read())
                began, before = time.monotonic(), self.metric("usherd_live_events_total")
                times = []
                for number in range(REVOCATIONS):
                    await asyncio.sleep(0.5)
                    times.append(await self.one(number))
                sent = (self.metric("usherd_live_events_total") - before) / (time.monotonic() - began)
                ensure(load.poll() is None, "the load was over before")
                ensure(await asyncio.to_thread(load.wait, 60 * lib.PATIENCE) == 0, "the load has failed")
            finally:
                load.kill()
            said.seek(0)
            lib.note("beside: %s" % said.read().strip())
        lib.note("%.0f deliveries a second; revoked sockets and streams gone %.1f ms behind the commit (median of %d), at most %.1f"
                 % (sent, statistics.median(sum(times, [])), 3 * len(times), max(sum(times, []))))
        # a machine that does other things beside delivers less
        ensure(sent > 0.1 * SOCKETS * EVENTS_A_SECOND, "only %.0f deliveries a second: it shows nothing" % sent)
        # a machine on which not even the load comes through is not at usherd's disposal
        limit = MS_MAX if sent > 0.9 * SOCKETS * EVENTS_A_SECOND else MS_MAX * lib.PATIENCE
        for kind in zip(*times):
            ensure(statistics.median(kind) < limit, "limit %d ms: %s" % (limit, times))

    def settle(self):
        self.daemon.ensure_alive()
        self.daemon.stop()


def main():
    lib.arguments("Revocations under load.")
    revoked = Revoked()
    lib.main([("revoked under load", lambda: asyncio.run(revoked.under_load())), ("settle", revoked.settle)], 150)


if __name__ == "__main__":
    main()
