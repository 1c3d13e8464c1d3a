# test/integration/live_lib.py: a WebSocket of python3-websockets that speaks usher.v1, and a reader of server-sent events.
import asyncio
import json
import os
import time

import gateway_lib
import websockets
import lib
from lib import ensure

FRAME_SECONDS = 30 * lib.PATIENCE
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
with open(os.path.join(ROOT, "docs", "realtime.schema.json")) as schema_file:
    SCHEMA = json.load(schema_file)


def fits(side, frame):
    """Every frame is as docs/realtime.schema.json has it; side: "client" or "server", who says it."""
    schema = SCHEMA[side].get(frame.get("op"))
    wrong = gateway_lib.fault(SCHEMA, schema, frame) if schema else "op is none that the schema has"
    ensure(wrong is None, "%s, said by the %s: %s" % (str(frame)[:300], side, wrong))
    return frame


class Live:
    """async with Live(daemon, token) as live: the frames come in order; positions are kept on the way."""

    def __init__(self, daemon, token=None, in_header=False, **options):
        self.url = "ws://127.0.0.1:%d/v1/ws" % daemon.port
        self.token, self.in_header = token, in_header
        self.options = dict({"subprotocols": ["usher.v1"], "open_timeout": 20, "close_timeout": 1, "max_size": None}, **options)
        self.ref, self.expiring = 0, None     # expiring: the frame that says so, whenever it came

    async def __aenter__(self):
        if self.in_header:
            self.options["extra_headers"] = {"Authorization": "Bearer " + self.token}
        self.socket = await websockets.connect(self.url, **self.options)
        if self.token and not self.in_header:
            await self.say("auth", token=self.token)
        if self.token:
            self.welcome = await self.frame("welcome")
        return self

    async def __aexit__(self, *_):
        await self.socket.close()

    async def say(self, op, **members):
        self.ref += 1
        await self.socket.send(json.dumps(dict(members, op=op, ref=self.ref)))
        return self.ref

    async def receive(self, seconds=FRAME_SECONDS):
        return fits("server", json.loads(await asyncio.wait_for(self.socket.recv(), seconds)))

    async def frame(self, *ops):
        """The next one, which must be one of these."""
        frame = await self.receive()
        while frame["op"] == "token_expiring" and frame["op"] not in ops:
            self.expiring = frame
            frame = await self.receive()
        ensure(not ops or frame["op"] in ops, "%s instead of %s" % (frame, " or ".join(ops)))
        return frame

    async def subscribe(self, sub="s", **members):
        ref = await self.say("subscribe", sub=sub, **members)
        fits("client", dict(members, op="subscribe", ref=ref, sub=sub))
        frame = await self.frame("subscribed")
        ensure((frame["ref"], frame["sub"]) == (ref, sub), "%s is no answer to %d" % (frame, ref))
        return frame

    async def refused(self, status, **members):
        ref = await self.say("subscribe", **dict({"sub": "refused"}, **members))
        frame = await self.frame("error")
        ensure(frame["ref"] == ref and frame["problem"]["status"] == status, "%s instead of %d" % (frame, status))

    async def events(self, count, sub=None):
        """So many, of one subscription's past, or live."""
        events = []
        while len(events) < count:
            frame = await self.frame("events")
            ensure(frame.get("sub") == sub, "%s is not of %s" % (frame, sub))
            events += frame["events"]
            ensure(frame["position"] >= events[-1]["position"], "a frame's position is in front of its events")
        ensure(len(events) == count, "%d events instead of %d: %s" % (len(events), count, [e["type"] for e in events]))
        return events

    async def nothing_more(self):
        """What was sent in front of the answer to a ping has come; so nothing else was."""
        await self.say("ping")
        await self.frame("pong")

    async def closed(self):
        """(code, reason, the time), whatever came in front of it."""
        try:
            while True:
                await asyncio.wait_for(self.socket.recv(), FRAME_SECONDS)
        except websockets.ConnectionClosed:
            return self.socket.close_code, self.socket.close_reason, time.time()


class Sse:
    """Blocks of a stream: dictionaries of their fields."""

    def __init__(self, daemon, token, query="", **headers):
        self.port = daemon.port
        self.request = "GET /v1/sse%s HTTP/1.1\r\nHost: localhost:%d\r\n%s" % (query, daemon.port, "".join(
            "%s: %s\r\n" % (name.replace("_", "-"), value) for name, value in headers.items()))
        if token:
            self.request += "Authorization: Bearer %s\r\n" % token

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        self.writer.write((self.request + "\r\n").encode())
        self.head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), FRAME_SECONDS)).decode()
        self.status = int(self.head.split()[1])
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    async def block(self):
        text = (await asyncio.wait_for(self.reader.readuntil(b"\n\n"), FRAME_SECONDS)).decode()
        return dict(line.split(": ", 1) for line in text.strip().split("\n"))

    async def events(self, count):
        events = []
        while len(events) < count:
            block = await self.block()
            if "data" in block and "event" not in block:
                events.append(json.loads(block["data"]))
                ensure(int(block["id"]) == events[-1]["position"], "%s has another id" % block)
        return events

    async def named(self, name):
        """The data of the next event of this name."""
        while True:
            block = await self.block()
            if block.get("event") == name:
                return dict(json.loads(block["data"]), id=block.get("id"))
