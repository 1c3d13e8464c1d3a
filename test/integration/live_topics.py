#!/usr/bin/python3
"""test/integration/live_topics.py: signals and presence, at two gateways of one database, and at one of a standby.

python3-websockets joins, sends and leaves; SQL sends, reads and waits.
"""
import asyncio
import contextlib
import json
import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
import usherd   # noqa: E402
from lib import ensure      # noqa: E402

from live_lib import Live, fits     # noqa: E402

CROWD = 32
DROPPED_SECONDS_MAX = 45        # 30 of silence, and what a busy machine adds
SIGNAL_MS_MAX = 100


class Member(Live):
    """A socket that keeps the list of each topic as the frames tell it."""

    async def __aenter__(self):
        await super().__aenter__()
        self.lists, self.heard = {}, []
        return self

    def take(self, frame):
        if frame["op"] == "signal":
            self.heard.append(frame)
        elif frame["op"] in ("joined", "presence"):
            members = self.lists.setdefault(frame["topic"], {})
            if "members" in frame:
                members.clear()
            members.update((member["id"], member) for member in frame.get("members", []) + frame.get("joined", []))
            for gone in frame.get("left", []):
                members.pop(gone, None)
        return frame

    async def next(self):
        return self.take(await self.frame())

    async def join(self, topic="room", **members):
        ref = await self.say("join", topic=topic, **members)
        fits("client", dict(members, op="join", ref=ref, topic=topic))
        while True:
            frame = await self.next()
            if frame["op"] == "joined" and frame.get("ref") == ref:
                return frame
            ensure(frame["op"] in ("presence", "signal"), "%s instead of joined" % frame)

    async def until(self, test, what, seconds=10):
        end = time.monotonic() + seconds
        while not test():
            left = end - time.monotonic()
            ensure(left > 0, "%s does not come: %s, %s" % (what, self.lists, self.heard[-3:]))
            with contextlib.suppress(asyncio.TimeoutError):
                self.take(await self.receive(left))

    async def refused_op(self, status, op, **members):
        ref = await self.say(op, **members)
        frame = await self.frame("error")
        ensure(frame["ref"] == ref and frame["problem"]["status"] == status, "%s instead of %d" % (frame, status))


class Topics(gateway_lib.Api):
    def __init__(self):
        super().__init__()
        self.other = usherd.Usherd(self.cluster, name="other", jwt_keys=self.daemon.jwks).start()
        self.both = (self.daemon, self.other)
        for daemon in self.both:
            lib.wait_until(lambda daemon=daemon: self.offered(daemon), 10, "signals to be offered")

    def offered(self, daemon):
        async def ask():
            async with Live(daemon, self.token()) as live:
                return live.welcome["presence"]
        return asyncio.run(ask())

    def token(self, **identity):
        return self.daemon.token(**dict({"user": "ann", "scopes": "*"}, **identity))

    def member(self, n=0, **identity):
        return Member(self.both[n % 2], self.token(**identity))

    def signal(self, topic, data, tenant="default"):
        with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT set_config('usher.tenant', %s, false), usher.signal(%s, %s::jsonb)", (tenant, topic, json.dumps(data)))
            return cursor.fetchall()[0][1]

    async def presence(self):
        """Who is in a topic, with what he says of himself, at both gateways; and who has gone."""
        async with self.member(0, user="ann") as ann, self.member(1, user="bob") as bob, self.member(1, user="eve") as eve:
            joined = await ann.join(state={"name": "Ann"})
            ensure([member["user"] for member in joined["members"]] == ["ann"] and joined["id"], "%s" % joined)
            await bob.join(state=[1, "zwei", None])
            ensure("id" not in await eve.join(listen=True), "who only listens has an id")
            for member in (ann, bob, eve):
                await member.until(lambda member=member: len(member.lists["room"]) == 2, "the other member")
                states = {one["user"]: one.get("state") for one in member.lists["room"].values()}
                ensure(states == {"ann": {"name": "Ann"}, "bob": [1, "zwei", None]}, "%s" % states)
            await bob.say("leave", topic="room")
            while (await bob.next())["op"] != "left":
                pass
            await ann.until(lambda: len(ann.lists["room"]) == 1, "the end of bob")
            await bob.join()
            await ann.until(lambda: len(ann.lists["room"]) == 2, "bob again")
            await bob.socket.close()
            await ann.until(lambda: len(ann.lists["room"]) == 1, "the end of bob's socket")
            await ann.refused_op(404, "leave", topic="elsewhere")

    async def signals(self):
        """From a socket, and from SQL, to all who are in the topic, and in the order of the database."""
        async with self.member(0, user="ann") as ann, self.member(1, user="bob") as bob, self.member(1) as outside:
            await outside.join("another")
            for member in (ann, bob):
                await member.join(listen=True)
            before = self.signal("room", {"by": "sql"})
            await ann.until(lambda: len(ann.heard) == 1, "a signal by SQL")
            began = time.monotonic()
            await ann.say("signal", topic="room", data={"text": "Grüße \"\\ {}"})
            await bob.until(lambda: len(bob.heard) == 2, "a signal by a socket")
            took = (time.monotonic() - began) * 1000
            ensure(took < SIGNAL_MS_MAX * 10 * lib.PATIENCE, "a signal took %d ms" % took)
            lib.note("a signal from one gateway to the other: %.1f ms" % took)
            await bob.say("signal", topic="room", data=None)
            await ann.until(lambda: len(ann.heard) == 3, "a signal back")
            expected = [{"op": "signal", "topic": "room", "data": {"by": "sql"}},
                        {"op": "signal", "topic": "room", "from": "ann", "data": {"text": "Grüße \"\\ {}"}},
                        {"op": "signal", "topic": "room", "from": "bob", "data": None}]
            ensure(ann.heard == expected and bob.heard[:2] == expected[:2], "%s" % ann.heard)
            rows = self.cluster.rows("SELECT topic, data::text, sender FROM usher.read_signals(%s) WHERE topic = 'room'", (before,))
            ensure([(row[0], row[2]) for row in rows] == [("room", "ann"), ("room", "bob")], "SQL reads %s" % rows)
            await outside.say("ping")
            while (frame := await outside.next())["op"] != "pong":
                ensure(frame["op"] == "presence", "who is in another topic hears %s" % frame)

    async def waiting(self):
        """SQL waits for signals, of its own tenant."""
        found = []

        def wait():
            with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
                connection.autocommit = True
                cursor.execute("SET usher.tenant = 'acme'")
                cursor.execute("CALL usher.wait_for_signal(%s, '20 s')", (start,))
                found.append((cursor.fetchone()[0], time.monotonic()))
        start = self.signal("wait", 0)
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        lib.wait_until(lambda: self.cluster.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query LIKE "
                                                  "'%%wait_for_signal%%' AND backend_xmin IS NULL"), 10, "somebody to wait")
        self.signal("wait", 1)      # of another tenant
        sent, began = self.signal("wait", 2, "acme"), time.monotonic()
        thread.join(10)
        ensure(found and found[0][0] == sent, "waited for %s, found %s" % (sent, found))
        lib.note("SQL was woken within %.1f ms" % ((found[0][1] - began) * 1000))

    async def tenants(self):
        """The same topic of another tenant is another topic."""
        async with self.member(0) as ann, self.member(1, tenant="acme", user="spy") as spy, self.member(0, tenant="acme", user="spy2") as spy2:
            await ann.join()
            await spy.join()
            await spy2.join()
            await spy.until(lambda: len(spy.lists["room"]) == 2, "the other of the same tenant")
            self.signal("room", "for default")
            await ann.until(lambda: ann.heard, "its own tenant's signal")
            self.signal("room", "for acme", "acme")
            await spy.until(lambda: spy.heard, "its own tenant's signal")
            await spy2.until(lambda: spy2.heard, "its own tenant's signal")
            ensure([frame["data"] for frame in ann.heard + spy.heard + spy2.heard] == ["for default", "for acme", "for acme"],
                   "%s, %s" % (ann.heard, spy.heard))
            users = {member["user"] for one in (spy, spy2) for member in one.lists["room"].values()}
            ensure(users == {"spy", "spy2"} and len(ann.lists["room"]) == 1, "%s is seen" % users)

    async def scopes(self):
        """Joining and sending are allowed by topic; a newer token that allows less ends what it does not."""
        cases = (("presence:room.*", "room.1", 200, 403), ("signal:room.*", "room.1", 403, 200), ("presence signal", "x", 200, 200),
                 ("subscribe log:read", "room.1", 403, 403), ("presence:room.*", "room", 403, 403), ("*", "room.1", 200, 200))
        for scopes, topic, join, send in cases:
            async with self.member(scopes=scopes) as member:
                if join == 200:
                    await member.join(topic)
                else:
                    await member.refused_op(join, "join", topic=topic)
                if send == 200:
                    await member.say("signal", topic=topic, data=1)
                else:
                    await member.say("signal", topic=topic, data=1)
                    while (frame := await member.next())["op"] == "presence":
                        pass
                    ensure(frame["op"] == "error" and frame["problem"]["status"] == send, "%s sends: %s" % (scopes, frame))
        async with self.member(0, scopes="presence") as member, self.member(1, user="bob") as bob:
            await member.join("room.1")
            await member.join("room.2")
            await bob.join("room.1")
            await bob.until(lambda: len(bob.lists["room.1"]) == 2, "the other")
            await member.say("auth", token=self.token(scopes="presence:room.2"))
            while (frame := await member.next())["op"] in ("welcome", "presence"):
                pass
            ensure((frame["op"], frame["topic"], frame["reason"]) == ("left", "room.1", "forbidden"), "%s" % frame)
            await bob.until(lambda: len(bob.lists["room.1"]) == 1, "who may not any more to go")

    async def limits(self):
        async with self.member() as member:
            for n in range(16):
                await member.join("limit.%d" % n, listen=True)
            await member.refused_op(422, "join", topic="one.more", listen=True)
            await member.refused_op(422, "join", topic="limit.1")
        async with self.member() as member:
            for wrong in ({}, {"topic": ""}, {"topic": 7}, {"topic": "x" * 256}, {"topic": "usher.presence"}, {"topic": "a\nb"},
                          {"topic": "x", "state": "x" * 1023}, {"topic": "x", "listen": 1}):
                await member.refused_op(422, "join", **wrong)
            for wrong in ({"topic": "x"}, {"data": 1}, {"topic": "usher.presence", "data": {"g": "x"}}, {"topic": "x", "data": "x" * 7999}):
                await member.refused_op(422, "signal", **wrong)
            await member.join("x" * 255, state="x" * 1022)
            await member.say("signal", topic="x" * 255, data="x" * 7998)
            await member.until(lambda: member.heard, "the largest signal")

    async def rubbish(self):
        """What no gateway would say is passed over."""
        rubbish = ("", "x", "[]", "7", "{}", '{"g":1}', '{"r":7}', '{"r":[7,{},{"t":1},{"t":"room"}]}', '{"r":[{"t":"room","j":7,"l":{}}]}',
                   '{"r":[{"t":"room","j":[7,{},{"id":1},{"id":"%s"}],"l":[7,"%s"]}]}' % ("x" * 100, "y" * 200), '{"ask":7}', '{"ask":"nowhere"}',
                   '{"g":"a","r":[{"t":"room","j":[{"id":"ghost","user":"g","x":1}]}]}', "[" * 4000, "\\", '{"r":[{"t":"%s"}]}' % ("z" * 7000))
        async with self.member(0) as ann, self.member(1, user="bob") as bob:
            await ann.join()
            await bob.join()
            for text in rubbish:
                self.cluster.rows("SELECT usher.gateway_signal('default', 'usher.presence', %s, '')", (text,))
            self.signal("room", "after")
            for member in (ann, bob):
                await member.until(lambda member=member: member.heard, "a signal behind the rubbish")
                await member.until(lambda member=member: len(member.lists["room"]) == 2, "both")
        for daemon in self.both:
            daemon.ensure_alive()

    async def crowd(self):
        """32 clients of two gateways come at once, see each other, hear each other, and go."""
        async with contextlib.AsyncExitStack() as stack:
            members = [await stack.enter_async_context(self.member(n, user="u%d" % n)) for n in range(CROWD)]
            await asyncio.gather(*(member.join("crowd", state=n) for n, member in enumerate(members)))
            for member in members:
                await member.until(lambda member=member: len(member.lists["crowd"]) == CROWD, "the whole crowd")
            await asyncio.gather(*(member.say("signal", topic="crowd", data=n) for n, member in enumerate(members)))
            for member in members:
                await member.until(lambda member=member: len(member.heard) == CROWD, "everybody's signal")
            orders = {json.dumps([frame["data"] for frame in member.heard]) for member in members}
            ensure(len(orders) == 1, "signals come in %d orders" % len(orders))
            for member in members[:CROWD - 2]:
                await member.socket.close()
            for member in members[CROWD - 2:]:
                await member.until(lambda member=member: len(member.lists["crowd"]) == 2, "the last two")

    async def killed(self):
        """The members of a gateway that was killed are dropped after 30 s of silence; those of one that lives are not."""
        async with self.member(0) as ann:
            await ann.join("killed")
            async with self.member(0, user="stays") as stays:
                await stays.join("killed")
                bob = self.member(1, user="bob")
                await bob.__aenter__()
                await bob.join("killed")
                await ann.until(lambda: len(ann.lists["killed"]) == 3, "bob")
                self.other.kill9()
                began = time.monotonic()
                await ann.until(lambda: len(ann.lists["killed"]) == 2, "the end of the killed gateway's member", DROPPED_SECONDS_MAX)
                took = time.monotonic() - began
                lib.note("dropped after %.1f s" % took)
                ensure(took > 15, "a member was dropped after %.1f s" % took)
                self.other.start()
                async with self.member(1, user="bob") as bob:
                    while not bob.welcome["presence"]:
                        await asyncio.sleep(0.1)
                        await bob.__aexit__()
                        await bob.__aenter__()
                    await bob.join("killed")
                    await bob.until(lambda: {one["user"] for one in bob.lists["killed"].values()} == {"ann", "stays", "bob"},
                                    "those who are there, at a gateway that was just started")

    async def standby(self):
        """A gateway of a standby says that it offers none, and refuses."""
        standby = self.cluster.standby()
        daemon = usherd.Usherd(self.cluster, name="reader", hosts=("127.0.0.1", standby.port), jwt_keys=self.daemon.jwks).start()
        async with Member(daemon, self.token()) as member:
            ensure(member.welcome["presence"] is False, "%s" % member.welcome)
            await member.refused_op(503, "join", topic="room")
            await member.refused_op(503, "signal", topic="room", data=1)
        client = usherd.Client(daemon.port, self.token())
        ensure(client.post("/v1/tickets", {"for": "sse"}).status == 503, "a standby issues a ticket")
        row = standby.rows("SELECT next, lost, number FROM usher.read_signals()")
        ensure(row == [(0, 0, None)], "a standby reads %s" % row)
        with contextlib.suppress(lib.psycopg2.errors.ReadOnlySqlTransaction):
            standby.rows("SELECT usher.signal('room')")
            raise lib.Failure("a standby sends")
        daemon.stop()

    def counted(self):
        text = self.daemon.admin().get("/metrics").body.decode()
        numbers = dict(line.split() for line in text.splitlines() if line.startswith(("usherd_signals_", "usherd_presence_")))
        ensure(float(numbers["usherd_signals_sent_total"]) > CROWD / 2 and float(numbers["usherd_signals_received_total"]) > CROWD, "%s" % numbers)
        lib.wait_until(lambda: b"\nusherd_presence_members 0\n" in self.daemon.admin().get("/metrics").body, 10, "nobody to be anywhere")


def main():
    lib.arguments("Signals and presence.")
    topics = Topics()

    def rule(name):
        return name, lambda: asyncio.run(getattr(topics, name)())
    names = ("presence", "signals", "waiting", "tenants", "scopes", "limits", "rubbish", "crowd", "killed", "standby")
    lib.main([rule(name) for name in names] + [("counted", topics.counted)], 200)


if __name__ == "__main__":
    main()
