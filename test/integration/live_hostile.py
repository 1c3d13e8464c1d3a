#!/usr/bin/python3
"""test/integration/live_hostile.py: clients of the live log who try to break it, or to take what is others'.

What each does is its rule's first line. Frames that break the protocol's own rules are websocket_conformance's.
"""
import asyncio
import contextlib
import os
import random
import signal
import struct
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
import tokens   # noqa: E402
import usherd   # noqa: E402
from lib import ensure      # noqa: E402

import websockets       # noqa: E402
from live_lib import Live, Sse      # noqa: E402


TOPICS = "presence signal subscribe"


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
        limited = usherd.Usherd(self.cluster, name="limited", rate_limits=usherd.NO_LIMITS + " credentials=8/4").start()
        try:
            good = limited.token()
            wrong = [tokens.token(b"x" * 32, user="u%d" % n) for n in range(8)]
            ensure(await self.code(limited, good) == 0, "a good token")
            ensure([await self.code(limited, wrong[0]) for _ in range(6)] == [4401] * 6, "one wrong token counts once")
            codes = [await self.code(limited, text) for text in wrong[1:]]
            ensure(codes == [4401] * 3 + [4429] * 4, "wrong tokens: %s" % codes)
            ensure(await self.code(limited, good) == 0, "a token that is known")
            ensure(limited.client(user="new").get("/v1/whoami").status == 429, "a token that is not known, over HTTP")
            await asyncio.sleep(8)      # for one more
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

    async def flood(self):
        """What a tenant's flood of signals takes is its own: neither the gateway's queue nor the database's memory is for one."""
        acme = self.token(tenant="acme", user="bea", scopes=TOPICS)
        async with Live(self.daemon, acme) as hears, Live(self.daemon, acme) as says, contextlib.AsyncExitStack() as stack:
            await hears.say("join", topic="room", listen=True)
            await hears.frame("joined")
            self.daemon.process.send_signal(signal.SIGSTOP)     # it reads nothing, while more comes than the ring has
            try:
                self.signals("acme", "room", "to_jsonb(n)", 50)
                self.signals("default", "room", "to_jsonb(repeat('x', 900))", 3000)
            finally:
                self.daemon.process.send_signal(signal.SIGCONT)
            got = [(await hears.frame("signal"))["data"] for _ in range(50)]
            ensure(got == list(range(1, 51)), "signals of a tenant that has sent few: %s" % got)
            flooding = [await stack.enter_async_context(Live(self.daemon, self.token(user="u%d" % n, scopes=TOPICS))) for n in range(4)]
            backends = [row[0] for row in self.cluster.rows("SELECT pid FROM pg_stat_activity WHERE usename = %s", (usherd.LOGIN,))]
            ensure(backends, "usherd has no connection")
            for pid in backends:
                os.kill(pid, signal.SIGSTOP)    # it sends nothing, while more comes than its queue has
            try:
                for live in flooding:
                    for _ in range(180):
                        await live.say("signal", topic="room", data="x" * 7900)
                ensure((await flooding[-1].frame("error"))["problem"]["status"] == 503, "no end of the queue")
                await says.say("signal", topic="room", data="o" * 7900)
                await says.nothing_more()
            finally:
                for pid in backends:
                    os.kill(pid, signal.SIGCONT)
            ensure((await hears.frame("signal"))["data"] == "o" * 7900, "another signal")

    async def shares(self):
        """What a tenant makes usherd hold leaves room for the others: bodies, messages without an end, filters."""
        small = usherd.Usherd(self.cluster, name="small", rate_limits=usherd.NO_LIMITS, buffer_bytes_max="2MB", body_timeout_seconds=60, body_rate_min=0,
                              live_subscriptions_per_user_max=0).start()
        try:
            for kind in (self.bodies, self.messages, self.wants):
                async with contextlib.AsyncExitStack() as stack:
                    refused = await kind(small, stack)
                    ensure(refused > 0, "%s: everything is taken" % kind.__name__)
                    held = self.metric("usherd_buffered_bytes", small)
                    ensure(900000 < held < 1800000, "%s: %d bytes are held" % (kind.__name__, held))
                    with small.client(tenant="acme") as client:
                        ensure(client.append("a-1", data={"text": "x" * 100000}).status == 201, "%s: another tenant finds no room" % kind.__name__)
                    async with Live(small, small.token(tenant="acme")) as live:
                        await live.subscribe(filter={"data.text": "x" * 10000})
                await asyncio.to_thread(lib.wait_until, lambda: self.metric("usherd_buffered_bytes", small) < 65536, 10, "bytes of %s to be given back" % kind.__name__)
            small.ensure_alive()
        finally:
            small.destroy()

    async def bodies(self, daemon, stack):
        """So many that have not come to their end; how many were refused."""
        answers = []
        for _ in range(80):
            reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
            stack.callback(writer.close)
            writer.write(("POST /v1/streams/a-1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n"
                          "Authorization: Bearer %s\r\n\r\n" % daemon.token()).encode() + b" " * 50000)
            answers.append(asyncio.ensure_future(reader.readline()))
        return sum(b" 503 " in answer for answer in await self.some(answers))

    async def some(self, futures):
        """What those have brought that are done, when some are and nothing more comes for a moment."""
        done = set()
        for _ in range(40):
            count = len(done)
            done, _ = await asyncio.wait(futures, timeout=0.5, return_when=asyncio.ALL_COMPLETED)
            if done and len(done) == count:
                break
        for future in futures:
            future.cancel()
        return [future.result() for future in done]

    async def messages(self, daemon, stack):
        lives = []
        for _ in range(60):
            live = await stack.enter_async_context(Live(daemon, daemon.token()))
            live.socket.transport.write(b"\x81\xff" + struct.pack("!Q", 65536) + bytes(4) + b" " * 65000)
            lives.append(live)

        async def closed(live):
            await live.socket.wait_closed()
            return live.socket.close_code
        codes = await self.some([asyncio.ensure_future(closed(live)) for live in lives])
        ensure(set(codes) <= {4503}, "closed with %s" % set(codes))
        return len(codes)

    async def wants(self, daemon, stack):
        refused = 0
        for n in range(300):
            if n % 30 == 0:
                try:
                    live = await stack.enter_async_context(Live(daemon, daemon.token()))
                except websockets.InvalidStatusCode as error:
                    ensure(error.status_code == 503, "%s" % error)
                    return refused + 1
            ref = await live.say("subscribe", sub="s%d" % n, filter={"data.text": "%d" % n + "x" * 3000})
            frame = await live.frame("subscribed", "error")
            ensure(frame["ref"] == ref and (frame["op"] == "subscribed" or frame["problem"]["status"] == 503), "%s" % frame)
            refused += frame["op"] == "error"
        return refused

    # what is asked for

    async def filters(self):
        """Filters that say a thing twice, or cost much for each event, are refused; others with strange names are not."""
        async with Live(self.daemon, self.token()) as live:
            for text in ('{"data.a":1,"data.a":2}', '{"data.a":1,"data.\\u0061":2}', '{"data.a":%s}' % ("1" * 129), '{"data.a":[1,%s]}' % ("1" * 129),
                         '{"%s":1}' % ("a." * 200), '{"a":{"b":{}}}', '{"a":[[1]]}'):
                await live.socket.send('{"op":"subscribe","ref":1,"sub":"s","filter":%s}' % text)
                frame = await live.frame("error")
                ensure(frame["problem"]["status"] == 422, "%s for %s" % (frame, text[:60]))
            for n, members in enumerate(({"": 1}, {".": None}, {"data..a": "x"}, {"data.a": []}, {"*": "*"}, {"data.%s" % ("é" * 40): "ü" * 5000})):
                frame = await live.subscribe("s%d" % n, filter=members, types=["**"], after=0)
                while not frame["live"] and (await live.frame("events", "caught_up"))["op"] != "caught_up":
                    pass

    async def users(self):
        """A user whose name is a pattern is nobody in one; and a name that looks like the place for one is a name."""
        for user in ("*", "**", "a.*", "ann*", "a.b"):
            async with Live(self.daemon, self.token(user=user)) as live:
                await live.refused(422, types=["note.{user}.new"])
                await live.refused(422, streams=["inbox-{user}"])
        async with Live(self.daemon, self.token(user="{user}")) as live:
            await live.subscribe(types=["note.{user}.{user}"])
            with self.daemon.client() as client:
                for kind in ("note.ann.ann", "note.{user}.ann", "note.{user}.{user}"):
                    client.append("note-1", kind)
            frame = await live.frame("events")
            ensure([event["type"] for event in frame["events"]] == ["note.{user}.{user}"], "%s" % frame)

    async def pipelined(self):
        """Who does not wait for his welcome is served as well, also while his key is looked for in the database; a wrong one ends all."""
        keys = [self.cluster.value("SELECT usher.create_api_key('eager%d', '{subscribe}')" % n) for n in range(5)]
        for credential in keys + [self.token()]:
            async with Live(self.daemon) as live:
                live.socket.transport.pause_reading()
                await live.say("auth", token=credential)
                await live.say("subscribe", sub="a", types=["x"])
                await live.say("subscribe", sub="b", types=["y" * 200], filter={"data.text": "z" * 20000})
                await live.say("ping")
                live.socket.transport.resume_reading()
                ops = [(await live.frame())["op"] for _ in range(4)]
                ensure(ops == ["welcome", "subscribed", "subscribed", "pong"], "%s" % ops)
        async with Live(self.daemon) as live:
            await live.say("auth", token="usk_" + "0" * 64)
            await live.say("subscribe", sub="a")
            ensure((await live.closed())[0] == 4401, "a wrong key")

    async def ahead(self):
        """Subscriptions that begin where the log will never be cost nothing, and those that begin soon begin there."""
        async with contextlib.AsyncExitStack() as stack, Live(self.daemon, self.token()) as soon:
            lives = [await stack.enter_async_context(Live(self.daemon, self.token())) for _ in range(40)]
            for live in lives:
                await live.subscribe("now", types=["ahead.*"])
                frame = await live.subscribe("never", after=(1 << 63) - 1)
                ensure(frame["live"] and frame["position"] == (1 << 63) - 1, "%s" % frame)
            end = soon.welcome["position"]
            await soon.subscribe("soon", types=["ahead.*"], after=end + 3)
            made = self.metric("usherd_live_frames_made_total")
            with self.daemon.client() as client:
                for n in range(10):
                    client.append("ahead-1", "ahead.x", {"n": n})
                    for live in lives:
                        await live.events(1)
            made = self.metric("usherd_live_frames_made_total") - made
            positions = [event["position"] for event in await soon.events(7)]
            ensure(positions == list(range(end + 4, end + 11)), "%s behind %d" % (positions, end + 3))
            ensure(made < 40, "%d frames were made for 10 events" % made)

    async def fragments(self):
        """Fragments without an end, or without content, are messages, too."""
        async with Live(self.daemon, self.token()) as live:
            live.socket.transport.write(b"\x01\x80" + bytes(4) + (b"\x00\x80" + bytes(4)) * 1000)
            code, reason, _ = await live.closed()
            ensure(code == 4429, "closed with %d %s" % (code, reason))

    async def changing(self):
        """What changes about a subscription takes nothing of another's: in order, none left out, none twice, while much is committed."""
        over = threading.Event()

        def write():
            with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
                while not over.is_set():
                    cursor.execute("SELECT usher.append_many(array['change-1', 'change-2'], array['change.a', 'change.b'], array['{}', '{}'])")
                    connection.commit()
        writer = threading.Thread(target=write, daemon=True)
        async with Live(self.daemon, self.token()) as live:
            begin = (await live.subscribe("kept", types=["change.a"]))["position"]
            writer.start()
            got, chance, subs = [], random.Random(7), []
            try:
                for n in range(150):
                    if subs and chance.randrange(2):
                        await live.say("unsubscribe", sub=subs.pop(chance.randrange(len(subs))))
                    elif len(subs) < 20:
                        subs.append("s%d" % n)
                        await live.say("subscribe", sub=subs[-1], types=[chance.choice(["change.*", "change.a", "change.b", "none.%d" % n])],
                                       **chance.choice([{}, {"after": begin}, {"after": 0}, {"filter": {"type": "change.b"}}]))
                    until = time.monotonic() + 0.025
                    while time.monotonic() < until:
                        with contextlib.suppress(asyncio.TimeoutError):
                            self.kept(await live.receive(0.005), got)
            finally:
                over.set()
                writer.join()
            last = self.cluster.value("SELECT max(position) FROM usher.events WHERE type = 'change.a'")
            while got[-1] < last:
                self.kept(await live.receive(), got)
        log = [row[0] for row in self.cluster.rows("SELECT position FROM usher.events WHERE type = 'change.a' AND position > %s ORDER BY 1", (begin,))]
        lib.note("%d events beside 150 changes" % len(log))
        ensure(got == log, "it got %d events of %d; missing %s, more than once or out of order %s" % (
            len(got), len(log), sorted(set(log) - set(got))[:3], [pair for pair in zip(got, got[1:]) if pair[0] >= pair[1]][:3]))

    def kept(self, frame, got):
        """What is live is for all; what has another's name is of its past."""
        ensure(frame["op"] != "error", "%s" % frame)
        if frame["op"] == "events" and frame.get("sub", "kept") == "kept":
            got += [event["position"] for event in frame["events"] if event["type"] == "change.a"]

    async def slow_heads(self):
        """Upgrades that never come to their end are ended, and nobody else waits for them."""
        patient = usherd.Usherd(self.cluster, name="patient", rate_limits=usherd.NO_LIMITS, header_timeout_seconds=2).start()
        try:
            half = b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-Web"
            pairs = [await asyncio.open_connection("127.0.0.1", patient.port) for _ in range(200)]
            for _, writer in pairs:
                writer.write(half)
            async with Live(patient, patient.token()) as live:
                await live.subscribe(types=["none"])
                for at in range(6):     # a byte now and then makes it no younger
                    await asyncio.sleep(0.5)
                    for _, writer in pairs:
                        with contextlib.suppress(ConnectionError):
                            writer.write(b"S")
                await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in pairs), return_exceptions=True), 20 * lib.PATIENCE)
                await live.nothing_more()
            for _, writer in pairs:
                writer.close()
            silent = [await asyncio.open_connection("127.0.0.1", patient.port) for _ in range(20)]
            for reader, writer in silent:
                writer.write(half[:-7] + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
                ensure(b" 101 " in await reader.readuntil(b"\r\n\r\n"), "no handshake")
                writer.write(b"\x81\xff")      # half a head of a frame, and no token
            ends = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in silent)), 20 * lib.PATIENCE)
            ensure(all(end[:4] == b"\x88\x0f\x11\x31" for end in ends), "%s" % ends[0])
            for _, writer in silent:
                writer.close()
        finally:
            patient.destroy()

    def signals(self, tenant, topic, data, n):
        with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET usher.tenant = %s", (tenant,))
            cursor.execute("SELECT usher.signal('%s', %s) FROM generate_series(1, %d) n" % (topic, data, n))

    def metric(self, name, daemon=None):
        text = (daemon or self.daemon).admin().get("/metrics").body.decode()
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(name + " ")))

    def settle(self):
        self.daemon.ensure_alive()
        self.daemon.stop()


def main():
    lib.arguments("Clients of the live log who try to break it.")
    hostile = Hostile()

    def rule(name):
        return name, lambda: asyncio.run(getattr(hostile, name)())
    lib.main([rule(name) for name in ("wrong_tokens", "namesakes", "flood", "shares", "filters", "users", "pipelined", "ahead",
                                           "fragments", "changing", "slow_heads")] + [("settle", hostile.settle)], 120)


if __name__ == "__main__":
    main()
