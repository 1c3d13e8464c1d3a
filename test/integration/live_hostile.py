#!/usr/bin/python3
"""test/integration/live_hostile.py: clients of the live log who try to break it, or to take what is others'.

What each does is its rule's first line. Frames that break the protocol's own rules are websocket_conformance's.
"""
import asyncio
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
import tokens   # noqa: E402
import usherd   # noqa: E402
from lib import ensure      # noqa: E402

import websockets       # noqa: E402
from live_lib import Live, Sse      # noqa: E402


class Hostile(gateway_lib.Api):
    def token(self, **identity):
        return self.daemon.token(**identity)

    async def code(self, daemon, token):
        """How a socket ends that says this in its first message; 0: it is welcome."""
        async with Live(daemon) as live:
            await live.say("auth", token=token)
            try:
                await live.frame("welcome")
                return 0
            except websockets.ConnectionClosed:
                return live.socket.close_code

    async def wrong_tokens(self):
        """Wrong tokens in messages, and wrong tickets, count for their address, as those in headers do."""
        limited = usherd.Usherd(self.cluster, name="limited", rate_limits=usherd.NO_LIMITS + " credentials=60/4").start()
        try:
            good = limited.token()
            wrong = [tokens.token(b"x" * 32, user="u%d" % n) for n in range(8)]
            ensure(await self.code(limited, good) == 0, "a good token")
            ensure([await self.code(limited, wrong[0]) for _ in range(6)] == [4401] * 6, "one wrong token counts once")
            codes = [await self.code(limited, text) for text in wrong[1:]]
            ensure(codes == [4401] * 3 + [4429] * 4, "wrong tokens: %s" % codes)
            ensure(await self.code(limited, good) == 0, "a token that is known")
            ensure(limited.client(user="new").get("/v1/whoami").status == 429, "a token that is not known, over HTTP")
            await asyncio.sleep(5)
            statuses = []
            for n in range(8):
                async with Sse(limited, None, "?ticket=ust_%048x" % n) as sse:
                    statuses.append(sse.status)
            ensure(statuses[0] == 401 and statuses[-1] == 429, "wrong tickets: %s" % statuses)
        finally:
            limited.destroy()

    async def namesakes(self):
        """An API key and a user of one name are two: neither goes on with the other's socket."""
        key = self.cluster.value("SELECT usher.create_api_key('ann', '{subscribe}')")
        token = self.token(user="ann")
        for first, second in ((token, key), (key, token)) * 5:
            async with Live(self.daemon, first) as live, Live(self.daemon, second):
                await live.say("auth", token=second)
                ensure((await live.closed())[0] == 4403, "goes on as somebody else")
        lib.wait_until(lambda: self.metric("usherd_live_users") == 0, 10, "nobody to be there")

    def metric(self, name):
        text = self.daemon.admin().get("/metrics").body.decode()
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(name + " ")))

    def settle(self):
        self.daemon.ensure_alive()
        self.daemon.stop()


def main():
    lib.arguments("Clients of the live log who try to break it.")
    hostile = Hostile()

    def rule(name):
        return name, lambda: asyncio.run(getattr(hostile, name)())
    lib.main([rule(name) for name in ("wrong_tokens", "namesakes")] + [("settle", hostile.settle)], 120)


if __name__ == "__main__":
    main()
