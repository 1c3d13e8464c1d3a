#!/usr/bin/python3
"""test/chaos/realtime.py: clients that follow the log over WebSocket and server-sent events while everything is cut and killed.

Each client resumes behind the last position that it has, whatever has ended its connection: a proxy that cuts connections at
random, usherd killed with -9, the database restarted. In the end each must have what the log has of its patterns: in
order, nothing missing, nothing twice. Half of the clients are python3-websockets, which we did not write. They run in
processes of their own, beside the proxy: cut each second, they must get further within a second than where they were.
"""
import array
import asyncio
import collections
import json
import multiprocessing
import os
import random
import threading
import time

import websockets

import lib
import proxy
import usherd
from lib import ensure


PATTERNS = (["live.**"], ["live.a", "live.b"], ["live.c.*"], ["*"])
WANTS = (lambda t: t.startswith("live."), lambda t: t in ("live.a", "live.b"), lambda t: t.startswith("live.c."), lambda t: True)
PROCESSES = 4


class Follower:
    """Positions and numbers of its events, and how it got them."""

    def __init__(self, fire, number):
        self.fire, self.number = fire, number
        self.types, self.wants = PATTERNS[number % len(PATTERNS)], WANTS[number % len(PATTERNS)]
        self.websocket = number % 2 == 0
        self.events, self.numbers, self.position = array.array("q"), array.array("q"), 0
        self.connects, self.twice, self.strange = 0, [], []
        self.ended = collections.Counter()      # what has ended its connections
        self.random = random.Random(number)

    def take(self, event):
        position = event["position"]
        if self.events and position <= self.events[-1]:
            self.twice.append((self.events[-1], position))
        if not self.wants(event["type"]):
            self.strange.append((position, event["type"]))
        self.events.append(position)
        self.numbers.append(event["data"]["n"])

    def reached(self, position):
        if position > self.position:
            self.position = self.fire.positions[self.number] = position

    async def run(self):
        while not self.fire.done.is_set():
            try:
                self.connects += 1
                await (self.follow_websocket() if self.websocket else self.follow_sse())
            except (OSError, EOFError, asyncio.TimeoutError, asyncio.IncompleteReadError, websockets.WebSocketException, lib.Failure) as error:
                self.ended[repr(error)[:120]] += 1
            await asyncio.sleep(0.02 + 0.1 * self.random.random())

    async def follow_websocket(self):
        url = "ws://127.0.0.1:%d/v1/ws" % self.fire.proxy.port
        async with websockets.connect(url, subprotocols=["usher.v1"], open_timeout=20, close_timeout=1, max_size=None) as socket:
            await socket.send(json.dumps({"op": "auth", "ref": 1, "token": self.fire.token}))
            frame = json.loads(await asyncio.wait_for(socket.recv(), 20))
            ensure(frame["op"] == "welcome", "no welcome: %s" % frame)
            await socket.send(json.dumps({"op": "subscribe", "ref": 2, "sub": "s", "types": self.types, "after": self.position}))
            while not self.fire.done.is_set():
                frame = json.loads(await asyncio.wait_for(socket.recv(), 20))
                ensure(frame["op"] != "error", "an error: %s" % frame)
                for event in frame.get("events", ()):
                    self.take(event)
                if frame["op"] in ("events", "position", "caught_up"):
                    self.reached(frame["position"])

    async def follow_sse(self):
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.fire.proxy.port, limit=1 << 22), 20)
        try:
            writer.write(("GET /v1/sse?types=%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nLast-Event-ID: %d\r\n\r\n"
                          % (",".join(self.types), self.fire.token, self.position)).encode())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            ensure(b" 200 " in head.split(b"\r\n")[0], "%r" % head)
            rest = ""
            while not self.fire.done.is_set():
                data = await asyncio.wait_for(reader.read(1 << 17), 20)
                ensure(data, "the stream has ended")
                *blocks, rest = (rest + data.decode()).split("\n\n")
                for block in blocks:
                    self.block(block)
        finally:
            writer.close()

    def block(self, block):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        if "data" in fields and "event" not in fields:
            self.take(json.loads(fields["data"]))
        if "id" in fields:
            self.reached(int(fields["id"]))


class Fire:
    def __init__(self, options):
        self.short = options.short
        self.clients = options.clients or (16 if self.short else 200)
        self.wanted = options.events or (4000 if self.short else 100000)
        self.kills, self.restarts = (1, 1) if self.short else (5, 2)
        self.cluster = lib.Cluster(lib.work_directory()).initdb().start().create()
        self.daemon = usherd.Usherd(self.cluster).start()
        self.proxy = proxy.Proxy(self.daemon.port)
        self.token = self.daemon.token()
        self.processes = multiprocessing.get_context("fork")
        self.done, self.burnt = self.processes.Event(), threading.Event()
        self.positions = self.processes.Array("q", self.clients, lock=False)
        self.followers = []
        self.appended = 0

    def append(self):
        """Events of some types, in small transactions, at a pace that lets the fire burn for a while."""
        pause = 0.004 if self.short else 0.002
        types = ("live.a", "live.b", "live.c.x", "live.c.y", "other")
        connection = None
        while self.appended < self.wanted:
            try:
                connection = connection or self.cluster.connect()
                with connection.cursor() as cursor:
                    cursor.execute("SELECT usher.append_many(array_agg('live-' || n %% 50), array_agg((%s::text[])[1 + n %% 5]), "
                                   "array_agg('{\"n\":' || n || '}')) FROM generate_series(%s, %s) n",
                                   (list(types), self.appended, self.appended + 9))
                connection.commit()
                self.appended += 10
            except lib.psycopg2.Error:
                connection = None   # a commit whose answer was lost is repeated: the log decides what there is
                time.sleep(0.05)
            time.sleep(pause)

    def burn(self):
        """Cuts a connection now and then, kills usherd, restarts the database."""
        chance = random.Random()
        acts = ["kill"] * self.kills + ["restart"] * self.restarts
        chance.shuffle(acts)
        for number, act in enumerate(acts):
            at = self.wanted * (number + 1) // (len(acts) + 1)
            while self.appended < at:
                self.proxy.cut()
                time.sleep(0.3 if self.short else 1)
            if act == "kill":
                self.daemon.kill9()
                self.daemon.start(ready=False)
            else:
                self.cluster.restart()
            self.daemon.wait_ready()
        self.burnt.set()
        threading.Event().wait()        # servers die with the thread that has started them

    def child(self, numbers, results):
        """Follows as these, until it is done; what they have goes to the parent."""
        followers = [Follower(self, n) for n in numbers]

        async def all_of_them():
            tasks = [asyncio.create_task(follower.run()) for follower in followers]
            while not self.done.is_set():
                await asyncio.sleep(0.1)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        asyncio.run(all_of_them())
        for follower in followers:
            follower.fire = follower.wants = follower.random = None
        results.send(followers)

    def follow(self):
        pipes = []
        for n in range(PROCESSES):
            ours, theirs = self.processes.Pipe(False)
            self.processes.Process(target=self.child, args=(range(n, self.clients, PROCESSES), theirs), daemon=True).start()
            pipes.append(ours)
        threads = [threading.Thread(target=function, daemon=True) for function in (self.append, self.burn)]
        for thread in threads:
            thread.start()
        while threads[0].is_alive() or not self.burnt.is_set():
            time.sleep(0.1)
        began, last = time.monotonic(), self.cluster.value("SELECT max(position) FROM usher.events")
        while min(self.positions) < last and time.monotonic() < began + 150:
            time.sleep(0.1)
        self.done.set()
        for pipe in pipes:
            self.followers += pipe.recv()
        lib.note("%d events, %d clients, %d connections; all had everything %.1f s behind the last event"
                 % (self.appended, self.clients, sum(f.connects for f in self.followers), time.monotonic() - began))
        ended = sum((f.ended for f in self.followers), collections.Counter())
        lib.note("ended by " + ", ".join("%s: %d" % item for item in ended.most_common(6)))
        lib.ensure_empty(["client %d (%s) is at %d of %d" % (f.number, "websocket" if f.websocket else "sse", f.position, last)
                          for f in self.followers if f.position < last], "clients that have not caught up")
        self.daemon.ensure_alive()

    def compare(self):
        log = [(e.position, e.type, e.data["n"]) for e in usherd.events(self.cluster)]
        ensure(len(log) >= self.wanted, "only %d events in the log" % len(log))
        ensure(len(self.followers) == self.clients, "only %d clients" % len(self.followers))
        expected = [[event for event in log if wants(event[1])] for wants in WANTS]
        wrong = []
        for follower in self.followers:
            should = expected[follower.number % len(PATTERNS)]
            if follower.twice or follower.strange:
                wrong.append("client %d got events twice or out of order: %s, or others': %s" % (follower.number, follower.twice[:3], follower.strange[:3]))
            elif list(zip(follower.events, follower.numbers)) != [(position, n) for position, _, n in should]:
                missing = sorted(set(event[0] for event in should) - set(follower.events))
                wrong.append("client %d has %d events, not %d; missing %s" % (follower.number, len(follower.events), len(should), missing[:3]))
        lib.ensure_empty(wrong, "clients without exactly the log")

    def settle(self):
        self.daemon.stop()
        lib.ensure_empty(self.cluster.log_crashes(), "server log")


def main():
    options = lib.arguments("The log followed over WebSocket and server-sent events under fire.",
                            clients=(int, None, "at once (200, --short: 16)"), events=(int, None, "appended (100000, --short: 4000)"))
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    fire = Fire(options)
    lib.main([("follow", fire.follow), ("compare", fire.compare), ("settle", fire.settle)], 150 if options.short else 900)


if __name__ == "__main__":
    main()
