#!/usr/bin/python3
"""test/integration/live_rights.py: nobody receives what he may not.

A table of tokens, subscriptions and events: what each gets is compared with what a matcher of this file's own says; then again
while tokens are renewed with fewer scopes, and with sessions that are revoked.
"""
import asyncio
import collections
import contextlib
import json
import os
import re
import statistics
import sys
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
from lib import ensure      # noqa: E402

from live_lib import ROOT, SCHEMA, Live, Sse        # noqa: E402

REVOKED_MS_MAX, REVOCATIONS = 100 * lib.PATIENCE, 10     # beside other tests; live_revoked, alone, has 100

Token = collections.namedtuple("Token", "tenant user scopes")
TOKENS = [Token(tenant, user, scopes) for tenant, user in (("default", "ann"), ("acme", "bob")) for scopes in (
    "*", "subscribe", "subscribe:*", "subscribe:order.*", "subscribe:order.**", "subscribe:order.placed subscribe:mail.*", "subscribe:user.ann.*",
    "subscribe:*.placed", "subscribe:ord*.*", "log:read", "subscribe:order")]
PATTERNS = ([], ["*"], ["**"], ["order.*"], ["order.**"], ["order.placed"], ["order.pl*"], ["*.placed"], ["mail.*"], ["user.{user}.*"],
            ["user.*.seen"], ["order.placed", "mail.sent"], ["order.placed", "user.{user}.seen"], ["order"])
# (stream or None, topic or None, type)
EVENTS = [("s-1", None, kind) for kind in ("order.placed", "order.paid", "order.line.added", "mail.sent", "mail.placed", "user.ann.seen",
                                           "user.bob.seen", "user.eve.seen", "order", "secret")]
EVENTS += [(None, "order.placed", "secret"), (None, "mail.sent", "order.paid"), (None, "user.ann.seen", "x"), (None, "hidden", "hidden")]


def matches(pattern, name):
    """The glob of the log, as a regular expression."""
    if pattern == "*":
        return True
    out = ""
    for n, part in enumerate(pattern.split(".")):
        if part == "**":
            out += "(?:%s[^.]*)*" % re.escape(".") if n else "(?:[^.]*(?:%s[^.]*)*)?" % re.escape(".")
        else:
            out += (re.escape(".") if n else "") + "[^.]*".join(re.escape(piece) for piece in re.split(r"\*+", part))
    return re.fullmatch(out, name) is not None


def may(token, event):
    """May he have this event at all, whatever he asks for?"""
    for scope in token.scopes.split():
        action, _, pattern = scope.partition(":")
        if scope == "*" or (action == "subscribe" and (pattern == "" or any(matches(pattern, name) for name in event[1:] if name))):
            return True
    return False


def wanted(token, patterns, event):
    patterns = [pattern.replace("{user}", token.user) for pattern in patterns]
    return not patterns or any(matches(pattern, name) for pattern in patterns for name in event[1:] if name)


def told(event):
    return event.get("stream"), event.get("topic"), event["type"]


class Rights(gateway_lib.Api):
    def token(self, token, **more):
        return self.daemon.token(tenant=token.tenant, user=token.user, scopes=token.scopes, **more)

    def write(self, number):
        """All events, for both tenants; data.n says which time, data.tenant whose they are."""
        with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
            for tenant in ("acme", "default"):
                cursor.execute("SELECT set_config('usher.tenant', %s, false)", (tenant,))
                for stream, topic, kind in EVENTS:
                    data = json.dumps({"n": number, "tenant": tenant})
                    if stream:
                        cursor.execute("SELECT usher.append(%s, %s, %s::jsonb)", (stream, kind, data))
                    else:
                        cursor.execute("SELECT usher.publish(%s, 'k', %s, %s::jsonb)", (topic, kind, data))
                cursor.execute("SELECT usher.append('s-1', 'end.of.it', %s::jsonb)", (json.dumps({"n": number, "tenant": tenant}),))
                connection.commit()
        return self.cluster.value("SELECT usher.stable_position()")

    def judge(self, token, patterns, events):
        got = [told(event) for event in events]
        stolen = [event for event in got if not may(token, event)] + [event for event in events if event["data"]["tenant"] != token.tenant]
        ensure(not stolen, "%s with %s receives %s" % (token, patterns, stolen))
        expected = [event for event in EVENTS if wanted(token, patterns, event)]
        ensure(sorted(map(str, got)) == sorted(map(str, expected)), "%s with %s has %s instead of %s" % (token, patterns, got, expected))

    def refusal_right(self, token, patterns):
        """He is refused although a scope is one of his patterns, or matches it as a name? Then wrongly."""
        scopes = [scope.partition(":")[2] for scope in token.scopes.split() if scope.startswith("subscribe:")]
        plain = [pattern.replace("{user}", token.user) for pattern in patterns]
        covered = patterns and all(any(scope == pattern or ("*" not in pattern and matches(scope, pattern)) for scope in scopes) for pattern in plain)
        ensure(not covered and "subscribe" not in token.scopes.split() and "*" not in token.scopes.split(), "%s is refused %s" % (token, patterns))

    async def table(self):
        """(token, pattern, event), live and of the past, over WebSocket; what is refused was not covered."""
        before = self.cluster.value("SELECT usher.stable_position()")
        self.write(0)
        count = refused = 0
        for token in TOKENS:
            async with Live(self.daemon, self.token(token)) as live:
                for patterns in PATTERNS:
                    members = {"types": patterns} if patterns else {}
                    ref = await live.say("subscribe", sub="s", after=before, **members)
                    frame = await live.frame("subscribed", "error")
                    ensure(frame["ref"] == ref, "%s" % frame)
                    count += 1
                    if frame["op"] == "error":
                        ensure(frame["problem"]["status"] == 403, "%s" % frame)
                        self.refusal_right(token, patterns)
                        refused += 1
                        continue
                    events = []
                    while (frame := await live.frame("events", "caught_up"))["op"] == "events":
                        events += frame["events"]
                    self.judge(token, patterns, [event for event in events if event["type"] != "end.of.it"])
                    await live.say("unsubscribe", sub="s")
                    await live.frame("unsubscribed")
        lib.note("%d pairs of token and pattern, %d of them refused, %d events" % (count, refused, 2 * len(EVENTS)))
        ensure(count / 5 < refused < count * 4 / 5, "%d of %d were refused" % (refused, count))

    async def live_table(self):
        """The same while they are committed, each socket with all subscriptions that it may have at once."""
        async with contextlib.AsyncExitStack() as stack:
            sockets = []
            for token in TOKENS:
                live = await stack.enter_async_context(Live(self.daemon, self.token(token)))
                granted = []
                for n, patterns in enumerate(PATTERNS):
                    await live.say("subscribe", sub="s%d" % n, **({"types": patterns} if patterns else {}))
                    if (await live.frame("subscribed", "error"))["op"] == "subscribed":
                        granted.append(patterns)
                sockets.append((token, live, granted))
            self.write(1)
            for token, live, granted in sockets:
                expected = [event for event in EVENTS if any(wanted(token, patterns, event) for patterns in granted)]
                everything = [] in granted or ["*"] in granted or ["**"] in granted
                events = await live.events(len(expected) + everything) if expected or everything else []
                await live.nothing_more()
                events = [event for event in events if event["type"] != "end.of.it"]
                ensure(all(event["data"] == {"n": 1, "tenant": token.tenant} for event in events), "%s has %s" % (token, events))
                ensure([told(event) for event in events] == expected, "%s has %s instead of %s" % (token, events, expected))
                ensure(all(may(token, event) for event in expected), "%s was granted %s" % (token, granted))

    async def streams(self):
        """The same by server-sent events."""
        before = self.cluster.value("SELECT usher.stable_position()")
        self.write(2)
        for token in TOKENS:
            for patterns in PATTERNS[1:]:
                query = "?after=%d&types=%s" % (before, urllib.parse.quote(",".join(patterns)))
                async with Sse(self.daemon, self.token(token), query) as sse:
                    if sse.status != 200:
                        ensure(sse.status == 403, "%d for %s with %s" % (sse.status, token, patterns))
                        self.refusal_right(token, patterns)
                        continue
                    events = []
                    while (block := await sse.block()).get("event") != "caught_up":
                        if "data" in block and "event" not in block:
                            events.append(json.loads(block["data"]))
                    self.judge(token, patterns, [event for event in events if event["type"] != "end.of.it"])

    async def renewed(self):
        """With a newer token that may less nothing comes, behind its welcome, that it may not; also while much is committed."""
        wide, narrow = Token("default", "ann", "subscribe"), Token("default", "ann", "subscribe:order.* subscribe:user.ann.*")
        done = threading.Event()

        def write():
            n = 10
            while not done.is_set():
                self.write(n)
                n += 1
        writer = threading.Thread(target=write, daemon=True)
        begin = self.cluster.value("SELECT usher.oldest_position()") - 1
        writer.start()
        try:
            for past in (False, True) * 5:
                async with Live(self.daemon, self.token(wide)) as live:
                    for n, patterns in enumerate(PATTERNS):
                        await live.say("subscribe", sub="s%d" % n, **dict({"types": patterns} if patterns else {}, **({"after": begin} if past else {})))
                    await live.frame("subscribed")
                    await live.say("auth", token=self.token(narrow))
                    while (await live.frame())["op"] != "welcome":
                        pass
                    ended, seen = set(), 0
                    until = time.monotonic() + 1
                    while time.monotonic() < until or seen == 0:
                        frame = await live.frame()
                        if frame["op"] == "unsubscribed":
                            ensure(frame["reason"] == "forbidden", "%s" % frame)
                            ended.add(frame["sub"])
                        if frame["op"] == "events":
                            seen += len(frame["events"])
                            for event in frame["events"]:
                                ensure(may(narrow, told(event)) and frame.get("sub") not in ended, "%s comes behind the newer token" % event)
                    gone = {"s%d" % n for n, patterns in enumerate(PATTERNS) if patterns not in (
                        ["order.*"], ["order.placed"], ["order.pl*"], ["user.{user}.*"], ["order.placed", "user.{user}.seen"])}
                    ensure(ended == gone, "ended are %s and not %s" % (sorted(ended), sorted(gone)))
        finally:
            done.set()
            writer.join(30)

    async def revoked(self):
        """Within 100 ms of the commit, whatever the transport, the session's streams end; nothing is let in again."""
        took = {"websocket": [], "sse": [], "ticket": []}
        for n in range(REVOCATIONS):
            session = "session-%d" % n
            token = self.daemon.token(user="ann", sid=session)
            ticket = self.daemon.client(user="ann", sid=session).post("/v1/tickets", {"for": "sse"}).json()["ticket"]
            async with Live(self.daemon, token) as live, Sse(self.daemon, token) as sse, Sse(self.daemon, None, "?ticket=" + ticket) as shown, \
                    Live(self.daemon, self.daemon.token(user="ann", sid="another")) as another:
                await live.subscribe()
                await asyncio.gather(sse.block(), shown.block())

                async def ended(name, stream):
                    await (stream.closed() if name == "websocket" else stream.named("end"))
                    took[name].append(time.time())
                waiting = [asyncio.create_task(ended(name, stream)) for name, stream in (("websocket", live), ("sse", sse), ("ticket", shown))]
                with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
                    cursor.execute("SELECT usher.revoke('session', %s, now() + interval '1 s')", (session,))
                    connection.commit()
                    committed = time.time()
                await asyncio.gather(*waiting)
                for name in took:
                    took[name][-1] = (took[name][-1] - committed) * 1000
                ensure(live.socket.close_code == 4401, "closed with %s" % live.socket.close_code)
                await another.nothing_more()
            async with Sse(self.daemon, token) as sse:
                ensure(sse.status == 401, "a revoked session is let in: %d" % sse.status)
        for name, times in took.items():
            lib.note("%s: ended %.1f ms behind the commit (median of %d), at most %.1f" % (name, statistics.median(times), len(times), max(times)))
            ensure(statistics.median(times) < REVOKED_MS_MAX, "%s: %s" % (name, times))

    def schema(self):
        """Each frame of the code is in docs/realtime.schema.json and in docs/realtime.md, and the other way round."""
        said = set()
        for name in os.listdir(os.path.join(ROOT, "gateway", "handlers")) + ["../presence.c"]:
            with open(os.path.join(ROOT, "gateway", "handlers", name)) as file:
                said |= set(re.findall(r'\{\\"op\\":\\"(\w+)\\"', file.read()))
        ensure(said == set(SCHEMA["server"]), "not in both: %s" % sorted(said ^ set(SCHEMA["server"])))
        with open(os.path.join(ROOT, "docs", "realtime.md")) as file:
            tables = file.read().split("### What the ")
        for side, table in (("client", tables[1]), ("server", tables[2])):
            documented = set(re.findall(r"^\| `(\w+)` \|", table.split("\n###")[0].split("\n##")[0], re.M)) - {"op"}
            ensure(documented == set(SCHEMA[side]), "%s: not in both: %s" % (side, sorted(documented ^ set(SCHEMA[side]))))


def main():
    lib.arguments("Nobody receives what he may not.")
    rights = Rights()

    def rule(name):
        return name, lambda: asyncio.run(getattr(rights, name)())
    lib.main([("schema", rights.schema)] + [rule(name) for name in ("table", "live_table", "streams", "renewed", "revoked")] +
             [("usherd lives", rights.daemon.ensure_alive)], 150)


if __name__ == "__main__":
    main()
