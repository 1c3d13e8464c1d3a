#!/usr/bin/python3
"""test/integration/live.py: the log over WebSocket and server-sent events, with clients that others wrote and with ours.

python3-websockets speaks usher.v1 as it is documented; clients/js runs in Node. Prints a TAP line for each rule.
"""
import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
import usherd       # noqa: E402
from lib import ensure      # noqa: E402

import websockets       # noqa: E402
from live_lib import Live, Sse      # noqa: E402

REVOKED_MS_MAX = 100 * lib.PATIENCE     # beside other tests; live_revoked, alone, has 100
NODE_SECONDS = 60 * lib.PATIENCE
CHROMIUM = "/usr/bin/chromium"


def types(events):
    return [event["type"] for event in events]


class Realtime(gateway_lib.Api):
    def __init__(self):
        super().__init__()
        self.token = self.daemon.token()
        self.number = 0

    def append(self, kind, stream="live-1", data=None, tenant="default"):
        """By SQL, as whoever uses the log without a gateway."""
        with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET usher.tenant = %s", (tenant,))
            cursor.execute("SELECT usher.append(%s, %s, %s::jsonb)", (stream, kind, json.dumps(data or {})))
            connection.commit()

    def publish(self, topic, kind, data=None):
        self.cluster.rows("SELECT usher.publish(%s, 'k', %s, %s::jsonb)", (topic, kind, json.dumps(data or {})))

    def live(self, token=None, **options):
        return Live(self.daemon, token or self.token, **options)

    def sse(self, query="", token=None, **headers):
        return Sse(self.daemon, token or self.token, query, **headers)

    def position(self):
        return self.cluster.value("SELECT usher.stable_position()")

    # WebSocket

    async def subscriptions(self):
        """An event comes once, in order, however many want it; none comes behind the last unsubscribe."""
        async with self.live() as live:
            ensure(live.welcome["tenant"] == "default" and live.welcome["token_expires"] > time.time(), "%s" % live.welcome)
            await live.subscribe("a", types=["sub.*"])
            await live.subscribe("b", types=["sub.one", "sub.three"])
            await live.subscribe("c")
            for kind in ("sub.one", "sub.two", "sub.three", "other"):
                self.append(kind)
            events = await live.events(4)
            ensure(types(events) == ["sub.one", "sub.two", "sub.three", "other"], "%s" % types(events))
            ensure(events == sorted(events, key=lambda event: event["position"]), "out of order")
            await live.say("unsubscribe", sub="c")
            await live.say("unsubscribe", sub="a")
            for sub in ("c", "a"):
                frame = await live.frame("unsubscribed")
                ensure((frame["sub"], frame["reason"]) == (sub, "asked"), "%s" % frame)
            for kind in ("other", "sub.two", "sub.three"):
                self.append(kind)
            ensure(types(await live.events(1)) == ["sub.three"], "of what nobody wants any more")
            await live.say("unsubscribe", sub="nobody")
            ensure((await live.frame("error"))["problem"]["status"] == 404, "a subscription that does not exist")
            await live.nothing_more()

    async def wanted(self):
        """Types, streams, topics and members, live and of the past."""
        cases = (({"types": ["w.a"]}, "a"), ({"types": ["w.*"]}, "abt"), ({"types": ["w.**"]}, "abxt"), ({"streams": ["want-1"]}, "ax"),
                 ({"types": ["w.a", "w.b"], "streams": ["want-*"]}, "ab"), ({"types": ["topic.of.*"]}, "t"),
                 ({"types": ["w.**"], "filter": {"data.show": 7}}, "ab"), ({"types": ["w.**"], "filter": {"data.show": [8, 9]}}, "x"),
                 ({"types": ["w.**"], "filter": {"data.show": 7, "data.deep.name": "é"}}, "b"),
                 ({"types": ["w.**"], "filter": {"type": "w.a.x"}}, "x"), ({"types": ["w.**"], "filter": {"data.none": None}}, ""))
        before = self.position()
        names = {"w.a": "a", "w.b": "b", "w.a.x": "x", "w.t": "t", "end": "."}
        async with contextlib.AsyncExitStack() as stack:
            lives = [await stack.enter_async_context(self.live()) for _ in cases]
            for live, (members, _) in zip(lives, cases):
                await live.subscribe(**members)
                await live.subscribe("end", types=["end"])
            self.append("w.a", "want-1", {"show": 7})
            self.append("w.b", "want-2", {"show": 7.0, "deep": {"name": "é"}})
            self.append("w.a.x", "want-1", {"show": 8})
            self.publish("topic.of.mine", "w.t")
            self.append("end", "want-1")
            for live, (members, expected) in zip(lives, cases):
                got = "".join(names[kind] for kind in types(await live.events(len(expected) + 1)))
                ensure(got == expected + ".", "%s gets %s" % (members, got))
            for live, (members, expected) in zip(lives, cases):
                frame = await live.subscribe("past", after=before, **members)
                ensure(frame["position"] == before and frame["live"] is False, "%s" % frame)
                got = ""
                while True:
                    frame = await live.frame("events", "caught_up")
                    ensure(frame["sub"] == "past", "%s" % frame)
                    if frame["op"] == "caught_up":
                        break
                    got += "".join(names[kind] for kind in types(frame["events"]))
                ensure(got.rstrip(".") == expected, "%s has %s behind it" % (members, got))

    async def catching_up(self):
        """From the past to the live without a gap or a repeat, while others append."""
        count = 3000
        begin = self.position()
        self.cluster.rows("SELECT usher.append_many(array_agg('past-' || n %% 9), array_agg('past'::text), array_agg('{\"n\":' || n || '}')) "
                          "FROM generate_series(1, %s) n", (count,))
        while await self.welcome_position() < begin + count:
            await asyncio.sleep(0.02)
        done = threading.Event()

        def go_on():
            n = count
            with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
                while not done.is_set():
                    n += 1
                    cursor.execute("SELECT usher.append('past-x', 'past', jsonb_build_object('n', %s))", (n,))
                    connection.commit()
            self.last = n
        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        try:
            async with self.live() as live:
                await live.subscribe("now", types=["nothing.like.it", "live"])   # so that live frames come between
                await live.subscribe("past", types=["past"], after=begin)
                got, caught_up = [], None
                while caught_up is None or len(got) < caught_up + 200:
                    frame = await live.frame("events", "caught_up")
                    if frame["op"] == "caught_up":
                        caught_up = len(got)
                    else:
                        ensure(frame.get("sub") == (None if caught_up is not None else "past"), "a frame of %s: %s" % (frame.get("sub"), str(frame)[:300]))
                        got += [event["data"]["n"] for event in frame["events"]]
                done.set()
                thread.join()
                while got[-1] < self.last:
                    got += [event["data"]["n"] for event in (await live.frame("events"))["events"]]
        finally:
            done.set()
            thread.join()
        ensure(got == list(range(1, self.last + 1)), "%d events, %d of them different, to %d" % (len(got), len(set(got)), self.last))

    async def welcome_position(self):
        async with self.live() as live:
            return live.welcome["position"]

    async def gone(self):
        """What was removed is told, with the position from where all is there."""
        before = self.position()
        self.cluster.rows("SELECT usher.append_many(array_agg('gone-1'::text), array_agg('gone'::text), array_agg('{\"n\":' || n || '}')) "
                          "FROM generate_series(1, 2500) n")
        top = self.position()
        self.cluster.rows("SELECT usher.drop_partitions_before(%s)", (top,))
        lib.wait_until(lambda: self.cluster.value("SELECT usher.oldest_position()") > top - 1000, 20, "the partitions to be dropped", pause=0.1)
        oldest = self.cluster.value("SELECT usher.oldest_position()")
        await self.daemon_restarted()
        expected = self.cluster.value("SELECT count(*) FROM usher.events WHERE position >= %s AND type = 'gone'", (oldest,))
        async with self.live() as live:
            await live.subscribe("old", types=["gone"], after=before)
            frame = await live.frame("gone")
            ensure((frame["sub"], frame["oldest"]) == ("old", oldest), "%s, not %d" % (frame, oldest))
            await live.subscribe("old", types=["gone"], after=frame["oldest"] - 1)
            await live.events(expected, "old")
            await live.frame("caught_up")
        async with self.sse("?types=gone&after=%d" % before) as sse:
            frame = await sse.named("gone")
            ensure(frame["oldest"] == oldest and frame["id"] == str(oldest - 1), "%s" % frame)
            ensure(len(await sse.events(expected)) == expected, "behind what is gone")
            await sse.named("caught_up")

    async def daemon_restarted(self):
        self.daemon.stop()
        self.daemon.start()

    # who may

    async def tokens(self):
        async with Live(self.daemon) as live:
            await live.say("auth", token="nonsense")
            ensure((await live.closed())[0] == 4401, "a token that is none")
        async with Live(self.daemon) as live:
            await live.say("subscribe", sub="s")
            ensure((await live.closed())[0] == 4401, "no token at all")
        async with Live(self.daemon) as live:
            await live.say("auth", token=self.daemon.token(exp=int(time.time()) - 600))
            ensure((await live.closed())[0] == 4401, "a token of the past")
        async with self.live(in_header=True) as live:
            await live.subscribe()

    async def renewal(self):
        """A newer token keeps the socket and what it still allows; somebody else's ends it; an old one ends by itself."""
        exp = int(time.time()) + 6
        async with self.live(self.daemon.token(exp=exp)) as kept, self.live(self.daemon.token(exp=exp)) as ends, \
                self.live(self.daemon.token(exp=exp)) as narrow, self.sse(token=self.daemon.token(exp=exp)) as sse:
            for live in (kept, ends, narrow):
                await live.subscribe("a", types=["renew.a"])
                await live.subscribe("b", types=["renew.b"])
                frame = live.expiring or await live.frame("token_expiring")
                ensure(frame["token_expires"] == exp, "%s" % frame)
            await kept.say("auth", token=self.token)
            ensure((await kept.frame("welcome"))["token_expires"] > exp, "not renewed")
            await narrow.say("auth", token=self.daemon.token(scopes="subscribe:renew.b"))
            await narrow.frame("welcome")
            frame = await narrow.frame("unsubscribed")
            ensure((frame["sub"], frame["reason"]) == ("a", "forbidden"), "%s" % frame)
            self.append("renew.a")
            self.append("renew.b")
            ensure(types(await narrow.events(1)) == ["renew.b"], "of what the new token does not allow")
            code, reason, _ = await ends.closed()
            ensure(code == 4401 and time.time() >= exp, "%s %s" % (code, reason))
            ensure((await sse.named("end"))["code"] == 4401, "a stream outlives its token")
            await kept.events(2)
            await kept.nothing_more()
        for identity in ({"tenant": "acme"}, {"user": "somebody"}):
            async with self.live() as live:
                await live.say("auth", token=self.daemon.token(**identity))
                ensure((await live.closed())[0] == 4403, "%s took over a socket" % identity)

    async def revocation(self):
        """Sockets of a user end within the limit behind the commit; others stay."""
        took = []
        for attempt in range(5):
            user = "revoked-%d" % attempt
            token = self.daemon.token(user=user, iat=int(time.time()) - 5)
            async with self.live(token) as live, self.live() as other, self.sse(token=token) as sse:
                await live.subscribe()
                await other.subscribe(types=["x"])
                ended = asyncio.ensure_future(sse.named("end"))
                closed = asyncio.ensure_future(live.closed())
                await asyncio.get_event_loop().run_in_executor(
                    None, lambda: self.cluster.rows("SELECT usher.revoke('user', %s)", (user,)))
                committed = time.time()
                code, _, at = await closed
                ensure(code == 4401 and (await ended)["code"] == 4401, "closed with %d" % code)
                took.append(max(at, time.time()) - committed)
                await other.nothing_more()
        # two of the five may meet a busy machine
        middle = lib.percentile(took, 0.5) * 1000
        lib.note("closed within %.1f ms of the commit, at most %.1f ms" % (middle, max(took) * 1000))
        ensure(middle < REVOKED_MS_MAX, "%.1f ms from the commit to the close" % middle)

    async def scopes(self):
        """(token's scopes, patterns, allowed): what may be subscribed to, by WebSocket and by server-sent events."""
        cases = (("subscribe", [], True), ("subscribe", ["a.b"], True), ("subscribe:order.*", ["order.placed"], True),
                 ("subscribe:order.*", ["order.*"], True), ("subscribe:order.*", ["order.**"], False), ("subscribe:order.*", [], False),
                 ("subscribe:order.*", ["*"], False), ("subscribe:order.*", ["order.placed", "money.paid"], False),
                 ("subscribe:order.* subscribe:money.**", ["order.placed", "money.a.b"], True), ("log:read", ["order.placed"], False),
                 ("subscribe:*", ["**"], True), ("subscribe:user.{user}.*", ["user.mallory.a"], False))
        for scopes, patterns, allowed in cases:
            token = self.daemon.token(scopes=scopes)
            async with self.live(token) as live:
                if allowed:
                    await live.subscribe(types=patterns)
                else:
                    await live.refused(403, types=patterns)
            async with self.sse("?types=" + ",".join(patterns) if patterns else "", token=token) as sse:
                ensure(sse.status == (200 if allowed else 403), "%s with %s: %s" % (patterns, scopes, sse.head.split("\r\n")[0]))

    async def user(self):
        """{user} is the token's subject, whatever is in it."""
        async with self.live(self.daemon.token(user="ann")) as live, self.live(self.daemon.token(user="an*")) as star:
            await live.subscribe(types=["user.{user}.said"])
            await star.refused(422, types=["user.{user}.said"])
            self.append("user.bob.said")
            self.append("user.ann.said")
            ensure(types(await live.events(1)) == ["user.ann.said"], "what was said to another")

    async def tenants(self):
        async with self.live() as live, self.live(self.daemon.token(tenant="acme")) as acme, \
                self.sse(token=self.daemon.token(tenant="acme")) as sse:
            await live.subscribe()
            await acme.subscribe()
            self.append("tenant.default")
            self.append("tenant.acme", tenant="acme")
            self.append("tenant.default")
            ensure(types(await live.events(2)) == ["tenant.default"] * 2, "of another tenant")
            ensure(types(await acme.events(1)) == ["tenant.acme"], "of another tenant")
            ensure(types(await sse.events(1)) == ["tenant.acme"], "of another tenant")
            await acme.subscribe("all", after=self.cluster.value("SELECT usher.oldest_position()") - 1)
            frame = await acme.frame("events")
            ensure(set(types(frame["events"])) == {"tenant.acme"}, "%s" % frame)

    async def origins(self):
        """Pages of other origins are not served; ours, and programs, are."""
        for origin, allowed in (("http://127.0.0.1:%d" % self.daemon.port, True), ("https://evil.example", False), ("null", False)):
            try:
                async with self.live(origin=origin):
                    ensure(allowed, "a socket for %s" % origin)
            except websockets.InvalidStatusCode as error:
                ensure(not allowed and error.status_code == 403, "%d for %s" % (error.status_code, origin))
        async with self.sse(Origin="https://evil.example") as sse:
            ensure(sse.status == 403, "a stream for another origin")

    # limits, ends

    async def limits(self):
        async with self.live() as live:
            for n in range(32):
                await live.subscribe("s%d" % n, types=["limit"])
            await live.refused(422)
            await live.refused(422, sub="s1")
            await live.refused(422, sub="x" * 65)
            await live.refused(422, sub="")
        async with self.live() as live:
            for members in ({"types": ["x"] * 33}, {"types": ["x" * 256]}, {"types": [""]}, {"types": "x"}, {"types": [7]}, {"after": -1},
                            {"after": "x"}, {"filter": 7}, {"filter": {"a": {"b": 1}}}, {"filter": {"a": list(range(101))}},
                            {"filter": {str(n): n for n in range(17)}}):
                await live.refused(422, **members)
            await live.nothing_more()
        for message, code in (("{", 4400), ("[]", 4400), ('{"op":"dance"}', 4400), ('{"op":"ping","stranger":1}', 4400), (b"x", 1003),
                              ('{"op":"ping","token":"%s"}' % ("x" * 70000), 1009)):
            async with self.live() as live:
                if message == '{"op":"dance"}':
                    message = '{"op":"dance","sub":"s"}'
                await live.socket.send(message)
                got = (await live.closed())[0]
                ensure(got == code, "%d instead of %d for %r" % (got, code, message[:40]))
        async with self.live() as live:
            for _ in range(400):
                await live.say("ping")
            ensure((await live.closed())[0] == 4429, "as many messages as it likes")

    async def control(self):
        """Pings of the protocol are answered; a close is, too."""
        async with self.live() as live:
            await asyncio.wait_for(await live.socket.ping(b"are you there"), 5 * lib.PATIENCE)
            await live.socket.close(1000, "enough")
            ensure(live.socket.close_code == 1000, "closed with %s" % live.socket.close_code)
        with contextlib.suppress(websockets.InvalidHandshake):
            async with self.live(subprotocols=["mqtt"]):
                raise lib.Failure("a subprotocol that nobody speaks")

    async def compression(self):
        """permessage-deflate is off; with a level it is taken, both ways, and a socket without it is served beside."""
        async with self.live() as live:
            ensure(not live.socket.extensions, "taken though it is off")
        deflating = usherd.Usherd(self.cluster, name="deflating", websocket_deflate_level=6).start()
        try:
            token, text = deflating.token(), "x" * 5000
            async with Live(deflating, token) as one, Live(deflating, token) as other, Live(deflating, token, compression=None) as plain:
                agreed = one.socket.extensions[0]
                ensure((agreed.name, agreed.remote_no_context_takeover, agreed.local_no_context_takeover) == ("permessage-deflate", True, True), "%r" % agreed)
                ensure(not plain.socket.extensions, "nobody has asked for it")
                for live in (one, other, plain):
                    await live.subscribe(types=["squeezed.*"], filter={"data.text": text})
                for n in range(10):
                    self.append("squeezed.%d" % n, data={"text": text, "n": n})
                for live in (one, other, plain):
                    ensure([event["data"] for event in await live.events(10)] == [{"text": text, "n": n} for n in range(10)], "other events")
                await one.subscribe("past", types=["squeezed.*"], after=one.welcome["position"])
                ensure(len(await one.events(10, "past")) == 10, "the past")
            async with Live(deflating, token) as live:
                await live.socket.send('{"op":"ping","token":"%s"}' % ("x" * 30000000))
                got = (await live.closed())[0]
                ensure(got == 1009, "%d for 30 MB in 30 kB" % got)
            deflating.ensure_alive()
        finally:
            deflating.destroy()

    async def drain(self):
        """Whoever is there is told that usherd stops, and when to come back."""
        async with self.live() as live, self.sse() as sse:
            await live.subscribe()
            threading.Thread(target=self.daemon.stop, daemon=True).start()
            code, reason, _ = await live.closed()
            ensure(code == 4503 and reason.split()[0].isdigit(), "closed with %d %s" % (code, reason))
            ensure((await sse.named("end"))["code"] == 4503, "a stream's end")
        lib.wait_until(lambda: self.daemon.process is None, 10, "usherd to stop")
        self.daemon.start()

    def metrics(self):
        text = self.daemon.admin().get("/metrics").body.decode()
        return {name: float(value) for name, value in re.findall(r"^usherd_live_(\w+) (\S+)$", text, re.M)}

    async def counted(self):
        """/metrics tells of who is there, and of what was sent."""
        before = self.metrics()
        async with self.live() as live, self.sse("?types=count") as sse:
            await sse.block()
            await live.subscribe(types=["count"])
            await live.subscribe("past", types=["count"], after=self.cluster.value("SELECT usher.oldest_position()") - 1)
            await live.frame("caught_up")
            self.append("count")
            await live.events(1)
            await sse.events(1)
            now = self.metrics()
            more = {name: now[name] - before[name] for name in now}
            ensure((more["clients"], more["subscriptions"]) == (2, 3), "%s" % more)
            ensure(more["events_total"] == 2 and more["frames_total"] == 2 and more["resumed_total"] == 1, "%s" % more)
            ensure(more["pages_total"] > 0 and more["fanout_seconds_sum"] > 0 and now["memory_bytes"] > 0, "%s" % now)

    # server-sent events

    async def sent_events(self):
        before = self.position()
        for n in range(5):
            self.append("sse.%s" % "ab"[n % 2], data={"n": n})
        while await self.welcome_position() < self.position():      # else all of it would be live
            await asyncio.sleep(0.02)
        async with self.sse("?types=sse.*&after=%d" % before) as sse:
            ensure("text/event-stream" in sse.head and "no-store" in sse.head, sse.head)
            first = await sse.block()
            ensure(first.get("id") == str(before) and int(first["retry"]) > 0, "%s" % first)
            events = await sse.events(5)
            await sse.named("caught_up")
            self.append("sse.a", data={"n": 5})
            ensure((await sse.events(1))[0]["data"] == {"n": 5}, "live")
        async with self.sse("?types=sse.*&after=%d" % before, Last_Event_ID=str(events[2]["position"])) as sse:
            ensure([event["data"]["n"] for event in await sse.events(3)] == [3, 4, 5], "Last-Event-ID does not count")
        async with self.sse("?types=sse.b&after=%d&filter=%%7B%%22data.n%%22%%3A3%%7D" % before) as sse:
            ensure([event["data"]["n"] for event in await sse.events(1)] == [3], "the filter")
        for query in ("?after=x", "?filter=7", "?filter=%7B", "?types=" + "x" * 256):
            async with self.sse(query) as sse:
                ensure(sse.status == 400, "%s is taken: %d" % (query, sse.status))
        async with Sse(self.daemon, None) as sse:
            ensure(sse.status == 401, "without a token: %d" % sse.status)

    # ours

    def vectors(self):
        """Patterns and filters mean the same to clients/js as to usherd (test/unit/event_filter.c)."""
        done = subprocess.run(["node", os.path.join(HERE, "src", "match_vectors.mjs")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True, timeout=NODE_SECONDS)
        said = done.stdout.strip().split("\n")
        ensure(done.returncode == 0 and said[-1].endswith(" tried") and int(said[-1].split()[0]) > 100, "node says %s" % said[-3:])
        lib.ensure_empty(said[:-1], "vectors")

    def page(self):
        """The page at / in a browser: its WebSocket, within its own policy; a pattern keeps other events away."""
        before = self.position()
        for n in range(20):
            self.append("page.%s" % "ab"[n % 2], "page-1", {"n": n})
        picture = os.environ.get("LIVE_SCREENSHOT")
        if picture:
            self.browse("--screenshot=" + picture, before)
        # The browser's own time runs ahead of the WebSocket's: on a busy machine it may look too early.
        for _ in range(5):
            done = self.browse("--dump-dom", before)
            lib.ensure_empty([line for line in done.stderr.splitlines() if "CONSOLE" in line], "the browser's console")
            shown = [int(n) for n in re.findall(r'{"n":(\d+)}', done.stdout)]
            if shown:
                break
        ensure(shown == list(range(18, -1, -2)), "the page shows %s: %s" % (shown, done.stdout[-1500:]))
        ensure(re.search(r'id="state" class="open"', done.stdout), "the page is not open")

    def browse(self, what, after):
        return subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,700", "--virtual-time-budget=20000",
                               "--user-data-dir=" + os.path.join(self.cluster.base, "chromium"), "--enable-logging=stderr", what,
                               "http://127.0.0.1:%d/#token=%s&types=page.a&after=%d" % (self.daemon.port, self.token, after)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=NODE_SECONDS)

    def node(self, transport):
        """clients/js: everything once and in order, over a restart, with handlers, filters and a second subscription."""
        options = ["--experimental-websocket"]
        if subprocess.run(["node", *options, "-e", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
            options = []        # this Node is older than 20.10
            if transport == "websocket":
                lib.note("this Node has no WebSocket; python3-websockets and Chromium are left")
                return
        before = self.position()
        for n in range(50):
            self.append("js.%s" % "ab"[n % 2], data={"n": n})
        process = subprocess.Popen(
            ["node", *options, os.path.join(HERE, "src", "live_client.mjs"), "http://127.0.0.1:%d" % self.daemon.port,
             transport, str(before)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
            env=dict(os.environ, USHER_TOKEN=self.token))
        heard = process.stdout.readline().strip()
        ensure(heard == "ready", "node says %s" % heard)
        for n in range(50, 100):
            self.append("js.%s" % "ab"[n % 2], data={"n": n})
        self.daemon.kill9()
        for n in range(100, 150):
            self.append("js.%s" % "ab"[n % 2], data={"n": n})
        self.daemon.start()
        for n in range(150, 200):
            self.append("js.%s" % "ab"[n % 2], data={"n": n})
        self.append("js.end")
        output, errors = process.communicate(timeout=NODE_SECONDS)
        ensure(process.returncode == 0, "node ended with %d: %s" % (process.returncode, errors[-500:]))
        ensure(output.strip(), "node said nothing but %s: %s" % (heard, errors[-500:]))
        found = json.loads(output.strip().split("\n")[-1])
        ensure(found["all"] == list(range(200)), "all: %s" % found["all"])
        ensure(found["a"] == list(range(0, 200, 2)), "js.a: %s" % found["a"])
        ensure(found["filtered"] == [3, 77, 111, 151], "filtered: %s" % found["filtered"])
        # of several subscriptions' pasts the order is theirs
        ensure(sorted(found["handlers"]) == list(range(200)), "handlers of on(): %s" % found["handlers"])
        ensure(found["states"][:2] == ["connecting", "open"] and found["states"].count("open") >= 2, "states: %s" % found["states"])


def main():
    lib.arguments("The live log, with clients of others and ours.")
    lib.foreign("debian", "node", "node")
    lib.foreign("debian", "clients", CHROMIUM)
    realtime = Realtime()

    def rule(name):
        return name, lambda: asyncio.run(getattr(realtime, name)())
    rules = [rule(name) for name in ("subscriptions", "wanted", "catching_up", "gone", "tokens", "renewal", "revocation", "scopes", "user",
                                     "tenants", "origins", "limits", "control", "compression", "counted", "sent_events")]
    rules += [("vectors", realtime.vectors)]
    rules += [("node over " + transport, lambda transport=transport: realtime.node(transport)) for transport in ("websocket", "sse")]
    lib.main(rules + [("page", realtime.page), rule("drain"), ("usherd lives", realtime.daemon.ensure_alive)], 120)


if __name__ == "__main__":
    main()
