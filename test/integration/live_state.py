#!/usr/bin/python3
"""test/integration/live_state.py: snapshots in front of subscriptions, and the limits of users and tenants.

A counter is kept by a projection of every event; whoever begins with its snapshot and adds what follows must come to the same
number as the log, however many commits are under way.
"""
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
import usherd       # noqa: E402
from lib import ensure      # noqa: E402

import websockets       # noqa: E402
from live_lib import Live, Sse, fits        # noqa: E402

WRITERS, CLIENTS = 4, 32
NODE_SECONDS = 60


class State(gateway_lib.Api):
    def __init__(self):
        super().__init__()
        self.cluster.rows("""
            CREATE ROLE shop LOGIN; GRANT usher_writer TO shop; CREATE SCHEMA shop AUTHORIZATION shop;
            SELECT usher.grant_tenant('default', 'shop'), usher.grant_tenant('acme', 'shop');
            SET ROLE shop;
            CREATE TABLE shop.counted (tenant text, stream text, n bigint, PRIMARY KEY (tenant, stream));
            CREATE FUNCTION shop.count(e usher.event) RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS
                'INSERT INTO shop.counted VALUES (current_setting(''usher.tenant''), e.stream, 1)
                 ON CONFLICT (tenant, stream) DO UPDATE SET n = counted.n + 1';
            CREATE FUNCTION shop.state(tenant text, user_id text, arguments jsonb) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER
                SET search_path = pg_catalog, pg_temp AS
                'SELECT jsonb_build_object(''sum'', coalesce(sum(c.n), 0), ''user'', $2, ''arguments'', $3, ''as'', current_user,
                                           ''tenant'', current_setting(''usher.tenant''))
                 FROM shop.counted c WHERE c.tenant = $1';
            CREATE FUNCTION shop.breaks(tenant text, user_id text, arguments jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER AS
                'BEGIN IF arguments ? ''slow'' THEN PERFORM pg_sleep(1); END IF; RAISE EXCEPTION ''not for you''; END';
            CREATE FUNCTION shop.waits(text, text, jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER AS
                'BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN to_jsonb(1); END';
            CREATE FUNCTION shop.large(text, text, jsonb) RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER AS
                'SELECT to_jsonb(repeat(''x'', 3000000))';
            CREATE FUNCTION shop.volatile(text, text, jsonb) RETURNS jsonb LANGUAGE sql SECURITY DEFINER AS 'SELECT NULL::jsonb';
            CREATE FUNCTION shop.invoker(text, text, jsonb) RETURNS jsonb LANGUAGE sql STABLE AS 'SELECT NULL::jsonb';
            RESET ROLE;
            SELECT usher.offer_snapshot('count', 'shop.state(text, text, jsonb)'), usher.offer_snapshot('breaks', 'shop.breaks(text, text, jsonb)'),
                   usher.offer_snapshot('large', 'shop.large(text, text, jsonb)'), usher.offer_snapshot('waits', 'shop.waits(text, text, jsonb)')""")
        for tenant in ("default", "acme"):
            with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT set_config('usher.tenant', %s, false)", (tenant,))
                cursor.execute("SELECT usher.project('counter', 'count.**', 'shop.count(usher.event)')")
                connection.commit()

    def token(self, **identity):
        return self.daemon.token(**dict({"scopes": "*"}, **identity))

    def append(self, n=1, tenant="default"):
        with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT set_config('usher.tenant', %s, false)", (tenant,))
            for _ in range(n):
                cursor.execute("SELECT usher.append('count-1', 'count.one')")
            connection.commit()

    async def snapshot(self, live, sub="s", name="count", **members):
        ref = await live.say("subscribe", sub=sub, snapshot=name, **members)
        fits("client", dict(members, op="subscribe", sub=sub, ref=ref, snapshot=name))
        confirmed = await live.frame("subscribed")
        frame = await live.frame("snapshot")
        ensure((frame["sub"], frame["position"]) == (sub, confirmed["position"]) and confirmed["ref"] == ref, "%s, %s" % (confirmed, frame))
        return frame

    async def one(self):
        """The token's tenant and user, the function's owner's rights, and the events behind it."""
        self.append(3)
        self.append(5, "acme")
        async with Live(self.daemon, self.token(user="ann")) as live, Live(self.daemon, self.token(tenant="acme", user="bob")) as acme:
            frame = await self.snapshot(live, types=["count.*"])
            ensure(frame["data"] == {"sum": 3, "user": "ann", "arguments": {}, "as": "shop", "tenant": "default"}, "%s" % frame)
            frame = await self.snapshot(acme, name={"name": "count", "arguments": {"é": [1, None]}}, types=["count.*"], filter={"type": "count.one"})
            ensure(frame["data"] == {"sum": 5, "user": "bob", "arguments": {"é": [1, None]}, "as": "shop", "tenant": "acme"}, "%s" % frame)
            self.append()
            self.append(1, "acme")
            for each in (live, acme):
                while (got := await each.frame("events", "caught_up"))["op"] != "events":
                    pass
                ensure(len(got["events"]) == 1, "%s" % got)

    async def exact(self):
        """State and events are of one cut: snapshot + what follows is the log, while many commit."""
        done = threading.Event()
        counts = [0] * WRITERS

        def write(writer):
            with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
                while not done.is_set():
                    cursor.execute("SELECT usher.append('count-w%s', 'count.one', '{}')", (writer,))
                    connection.commit()
                    counts[writer] += 1
        threads = [threading.Thread(target=write, args=(writer,), daemon=True) for writer in range(WRITERS)]
        for thread in threads:
            thread.start()
        sums, positions = [], []
        try:
            async with contextlib.AsyncExitStack() as stack:
                lives = [await stack.enter_async_context(Live(self.daemon, self.token())) for _ in range(CLIENTS)]
                for live in lives:      # each at another time of the writers'
                    frame = await self.snapshot(live, types=["count.**"])
                    sums.append(frame["data"]["sum"])
                    positions.append(frame["position"])
                done.set()
                for thread in threads:
                    thread.join(10)
                total = self.cluster.value("SELECT sum(n) FROM shop.counted WHERE tenant = 'default'")
                for n, live in enumerate(lives):
                    seen, last = sums[n], positions[n]
                    while seen < total:
                        frame = await live.frame("events", "caught_up")
                        for event in frame.get("events", []):
                            ensure(event["position"] > last, "an event at %d comes behind %d" % (event["position"], last))
                            last = event["position"]
                            seen += 1
                    ensure(seen == total, "client %d counts %d of %d" % (n, seen, total))
                    with contextlib.suppress(AssertionError):
                        await live.nothing_more()
                    log = self.cluster.value("SELECT count(*) FROM usher.read(%s, 1000000, '*')" % positions[n]) if n % 8 == 0 else total - sums[n]
                    ensure(log == total - sums[n], "behind %d the log has %d events, and the snapshot lacks %d" % (positions[n], log, total - sums[n]))
        finally:
            done.set()
        lib.note("%d snapshots while %d events were committed" % (CLIENTS, sum(counts)))

    async def refused(self):
        async with Live(self.daemon, self.token()) as live:
            for status, members in ((404, {"snapshot": "nothing"}), (422, {"snapshot": "count", "after": 1}), (422, {"snapshot": 7}), (422, {"snapshot": ""}),
                                    (422, {"snapshot": {}}), (422, {"snapshot": {"name": "count", "x": 1}}), (422, {"snapshot": "x" * 254}),
                                    (422, {"snapshot": {"name": "count", "arguments": [1]}}), (422, {"snapshot": "breaks"}), (413, {"snapshot": "large"})):
                await live.refused(status, **members)
            await live.say("subscribe", sub="late", snapshot={"name": "breaks", "arguments": {"slow": 1}})
            await live.refused(422, sub="late")     # there is one of this name, on its way
            await live.say("unsubscribe", sub="late")
            ensure((await live.frame("unsubscribed"))["sub"] == "late", "a subscription that waits for its snapshot")
            await self.snapshot(live, "late")
        for scopes, allowed in (("subscribe", False), ("subscribe snapshot:other", False), ("subscribe snapshot:count", True), ("snapshot", False)):
            async with Live(self.daemon, self.token(scopes=scopes)) as live:
                if allowed:
                    await self.snapshot(live)
                else:
                    await live.refused(403, snapshot="count")
        live = Live(self.daemon, self.token())
        await live.__aenter__()
        await live.say("subscribe", sub="s", snapshot={"name": "breaks", "arguments": {"slow": 1}})
        await live.socket.close()       # its answer finds nobody
        async with Live(self.daemon, self.token()) as live:
            await self.snapshot(live)
        for wrong in ("shop.volatile(text, text, jsonb)", "shop.invoker(text, text, jsonb)", "shop.count(usher.event)"):
            try:
                self.cluster.rows("SELECT usher.offer_snapshot('wrong', %s)", (wrong,))
                raise lib.Failure("%s is offered" % wrong)
            except lib.psycopg2.Error as error:
                ensure(error.pgcode == "US018", "%s: %s" % (wrong, error))
        self.cluster.rows("SELECT usher.withdraw_snapshot('breaks')")
        async with Live(self.daemon, self.token()) as live:
            await live.refused(404, snapshot="breaks")
        self.daemon.ensure_alive()

    # limits of users

    def limited(self, **settings):
        self.daemon.configure(**settings)
        self.reload(self.daemon)

    def reload(self, daemon):
        def times():
            with open(daemon.log) as log:
                return log.read().count("the configuration was read again")
        before = times()
        daemon.process.send_signal(1)
        lib.wait_until(lambda: times() > before, 10, "the configuration to be read again")

    async def connections(self):
        self.limited(live_connections_per_user_max=3)
        async with contextlib.AsyncExitStack() as stack:
            for n in range(2):
                await stack.enter_async_context(Live(self.daemon, self.token(user="ann"), in_header=bool(n)))
            third = await stack.enter_async_context(Sse(self.daemon, self.token(user="ann")))
            ensure(third.status == 200, "the third: %d" % third.status)
            async with Live(self.daemon) as live:
                await live.say("auth", token=self.token(user="ann"))
                ensure((await live.closed())[0] == 4429, "the fourth")
            socket = await websockets.connect("ws://127.0.0.1:%d/v1/ws" % self.daemon.port,
                                              extra_headers={"Authorization": "Bearer " + self.token(user="ann")})
            with contextlib.suppress(websockets.ConnectionClosed):
                await asyncio.wait_for(socket.recv(), 10 * lib.PATIENCE)
            ensure(socket.close_code == 4429, "the fourth, with its token in the header: %s" % socket.close_code)
            async with Sse(self.daemon, self.token(user="ann")) as sse:
                ensure(sse.status == 429, "the fourth, as a stream: %d" % sse.status)
            for identity in ({"user": "bob"}, {"user": "ann", "tenant": "acme"}):
                async with Live(self.daemon, self.token(**identity)):
                    pass
            third.writer.close()

            async def comes_free():
                while True:
                    async with Sse(self.daemon, self.token(user="ann")) as sse:
                        if sse.status == 200:
                            return
                    await asyncio.sleep(0.05)
            await asyncio.wait_for(comes_free(), 10 * lib.PATIENCE)
        ensure(self.metric("usherd_live_limited_total") >= 3, "nobody is counted")
        lib.wait_until(lambda: self.metric("usherd_live_users") == 0, 10, "nobody to be there")

    def metric(self, name):
        text = self.daemon.admin().get("/metrics").body.decode()
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(name + " ")))

    async def subscriptions(self):
        self.limited(live_connections_per_user_max=0, live_subscriptions_per_user_max=3)
        async with Live(self.daemon, self.token(user="ann")) as one, Live(self.daemon, self.token(user="ann")) as two:
            await one.subscribe("a")
            await one.subscribe("b")
            await two.subscribe("a")
            await two.refused(429, sub="b")
            async with Sse(self.daemon, self.token(user="ann")) as sse:
                ensure(sse.status == 429, "a fourth subscription as a stream: %d" % sse.status)
            await one.say("unsubscribe", sub="a")
            await one.frame("unsubscribed")
            await two.subscribe("b")
            await one.say("unsubscribe", sub="b")
            await one.frame("unsubscribed")
            with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(7)")
                ref = await one.say("subscribe", sub="waits", snapshot="waits")
                await one.nothing_more()        # it is under way
                for live in (one, two):
                    await live.refused(429, snapshot="waits")
                    await live.refused(429)
                cursor.execute("SELECT pg_advisory_unlock(7)")
            ensure((await one.frame("subscribed"))["ref"] == ref and (await one.frame("snapshot"))["data"] == 1, "it comes")
            await two.refused(429)
            await one.say("unsubscribe", sub="waits")
            await one.frame("unsubscribed")
            await self.snapshot(two, "waits", "waits")

    async def tenants(self):
        """A share of the sockets: something is left for another tenant, and for requests."""
        daemon = usherd.Usherd(self.cluster, name="shares", connections_max=40, live_connections_per_tenant_percent=50).start()
        async with contextlib.AsyncExitStack() as stack:
            async def come(tenant, n, sse):
                """0, or how it was refused; each a user of his own."""
                token = daemon.token(tenant=tenant, user="u%d" % n, scopes="*")
                if sse:
                    client = await stack.enter_async_context(Sse(daemon, token))
                    return client.status if client.status != 200 else 0
                client = await stack.enter_async_context(Live(daemon))
                await client.say("auth", token=token)
                try:
                    await client.frame("welcome")
                    return 0
                except websockets.ConnectionClosed:
                    return client.socket.close_code
            refusals = [await come("default", n, n % 2 == 0) for n in range(24)]
            came = refusals.count(0)
            # the sockets of those who were refused are closed, but may still count
            ensure(17 <= came <= 20 and set(refusals) == {0, 429, 4429}, "of 24 clients of one tenant %d are let in: %s" % (came, refusals))
            with daemon.client(scopes="*") as client:
                ensure(client.get("/v1/log").status == 200, "a request finds no room")
            others = [await come("acme", n, n % 2 == 0) for n in range(5)]
            ensure(others == [0] * 5, "another tenant is not let in: %s" % others)
            daemon.configure(live_connections_per_tenant_percent=100)
            self.reload(daemon)

            async def more():
                while await come("default", 99, True):
                    await asyncio.sleep(0.05)
            await asyncio.wait_for(more(), 10 * lib.PATIENCE)      # no share any more
        daemon.stop()

    async def messages(self):
        self.limited(live_subscriptions_per_user_max=0, live_messages_per_user=10)
        async with Live(self.daemon, self.token(user="ann")) as one, Live(self.daemon, self.token(user="ann")) as two, \
                Live(self.daemon, self.token(user="bob")) as other:
            for _ in range(30):
                await one.say("ping")
                await two.say("ping")
            codes = []
            for live in (one, two):
                with contextlib.suppress(asyncio.TimeoutError):
                    codes.append((await asyncio.wait_for(live.closed(), 2 * lib.PATIENCE))[0])
            ensure(4429 in codes, "60 messages of 40: %s" % codes)
            await other.nothing_more()
        self.limited(live_messages_per_user=0)

    def node(self):
        """clients/js with a snapshot, a topic, and over a restart."""
        if subprocess.run(["node", "--experimental-websocket", "-e", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
            lib.note("this Node has no WebSocket")
            return
        process = subprocess.Popen(["node", "--experimental-websocket", os.path.join(HERE, "src", "state_client.mjs"),
                                    "http://127.0.0.1:%d" % self.daemon.port], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, universal_newlines=True, env=dict(os.environ, USHER_TOKEN=self.token(user="ann")))
        try:
            self.follow_with_node(process)
        finally:
            process.kill()

    def follow_with_node(self, process):
        ensure(process.stdout.readline().strip() == "ready", "node is not ready: %s" % process.stderr.read()[-500:] if process.poll() else "")
        before = self.cluster.value("SELECT sum(n) FROM shop.counted WHERE tenant = 'default'")
        self.append(3)
        self.daemon.kill9()
        self.append(4)
        self.daemon.start()
        self.append(2)
        self.cluster.rows("SELECT usher.append('count-1', 'count.end')")
        output, errors = process.communicate(timeout=NODE_SECONDS * lib.PATIENCE)
        ensure(process.returncode == 0, "node ended with %d: %s" % (process.returncode, errors[-500:]))
        found = json.loads(output.strip().split("\n")[-1])
        ensure(found["snapshots"] == [before] and found["count"] == before + 10, "%s instead of %d and %d" % (found, before, before + 10))
        ensure(found["members"] == ["ann"] and found["signals"] == [{"hello": "room"}], "%s" % found)


def main():
    lib.arguments("Snapshots, and the limits of users and tenants.")
    lib.foreign("debian", "node", "node")
    state = State()

    def rule(name):
        return name, lambda: asyncio.run(getattr(state, name)())
    lib.main([rule(name) for name in ("one", "exact", "refused")] + [("node", state.node)] +
             [rule(name) for name in ("connections", "subscriptions", "tenants", "messages")] + [("usherd lives", state.daemon.ensure_alive)], 150)


if __name__ == "__main__":
    main()
