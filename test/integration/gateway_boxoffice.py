#!/usr/bin/python3
"""test/integration/gateway_boxoffice.py: what the box office promises over HTTP.

Reserving and all its refusals, keys that are replayed, roles, whose booking it is, two tenants, what becomes of a booking,
availability, rubbish, a crash of the database in the middle; gateway_organiser.py has what organisers do. On a cluster and a
usherd of its own. Prints a TAP line for each rule.
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
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import lib      # noqa: E402
import live_lib # noqa: E402
import usherd   # noqa: E402
import websockets       # noqa: E402
from boxoffice_lib import BOX, RESERVE, Office    # noqa: E402
from ports import free_port     # noqa: E402
from lib import ensure      # noqa: E402

CHROMIUM = "/usr/bin/chromium"

class BoxOffice(Office):
    def reserving(self):
        before = self.free()
        reply = self.reserve(self.alice, quantity=2, key="r1")
        booking = self.shaped("Booking", self.fine(reply, 201))
        ensure((booking["user"], booking["quantity"], booking["total"], booking["tax"], booking["status"]) ==
               ("alice", 2, 6069, 969, "reserved"), "%s" % booking)
        ensure(re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{12}", booking["code"]), booking["code"])
        ensure(reply.headers["location"] == "/v1/boxoffice/bookings/" + booking["booking"], "%s" % reply.pairs)
        position = int(reply.headers["usher-position"])
        stream = self.fine(self.c.get("/v1/streams/booking-%s/events" % booking["booking"], Usher_After=str(position)))
        ensure([(e["type"], e["position"]) for e in stream["items"]] == [("booking.reserved", position)], "%s" % stream)
        ensure("code" not in stream["items"][0]["data"], "the code stands in the log")
        ensure(self.free() == [before[0] - 2], "%s, then %s" % (before, self.free()))
        same = self.fine(self.alice.get(reply.headers["location"], Usher_After=str(position)))
        ensure(same == booking, "%s is not %s" % (same, booking))
        ensure(self.held(self.alice, ttl=60)["expires_at"] < booking["expires_at"], "a ttl")

    def keys(self):
        first = self.reserve(self.alice, quantity=3, key="k1")
        again = self.reserve(self.alice, quantity=3, key="k1")
        ensure(self.fine(first, 201) == self.fine(again, 201), "%s, then %s" % (first, again))
        ensure(again.headers.get("idempotency-replayed") == "true" and "idempotency-replayed" not in first.headers, "%s" % again.pairs)
        self.problem(self.reserve(self.alice, quantity=2, key="k1"), 422, "idempotency-conflict")
        ensure(self.fine(self.reserve(self.bob, quantity=3, key="k1"), 201)["booking"] != first.json()["booking"], "another user's key")
        self.change(self.alice, first.json(), "cancel", {})
        later = self.fine(self.reserve(self.alice, quantity=3, key="k1"), 201)
        ensure(later["status"] == "cancelled" and later["booking"] == first.json()["booking"], "%s" % later)
        show, zone = self.sale(capacity=0)
        self.problem(self.reserve(self.alice, show, zone, key="k2"), 409, "sold-out")
        self.fine(self.organiser.request("PUT", BOX + "zones/%d" % zone, {"capacity": 5}))
        self.held(self.alice, show, zone, key="k2")       # what was refused is forgotten
        for key in ("", "x" * 256, "\xff"):
            self.problem(self.alice.request("POST", RESERVE, {"show": 1}, {"Idempotency-Key": key.encode("latin1")}), 400, "invalid-header")

    def at_once(self):
        """Many repeats of one key and many others at the same time: one booking a key."""
        show, zone = self.sale(capacity=200)
        found, lock = {}, threading.Lock()

        def run(n):
            with self.person("u%d" % (n % 4), "customer") as client:
                for k in range(25):
                    booking = self.held(client, show, zone, key="c%d" % k)
                    with lock:
                        found.setdefault((n % 4, k), set()).add(booking["booking"])
        usherd.parallel([lambda n=n: run(n) for n in range(16)], 60)
        ensure(len(found) == 100 and all(len(ids) == 1 for ids in found.values()), "%d keys, %s" % (len(found), found))
        ensure(self.free(show) == [100], "%s" % self.free(show))

    def refusals(self):
        show, zone = self.sale(capacity=5, user_limit=3)
        self.held(self.alice, show, zone, 2)
        problem = self.problem(self.reserve(self.alice, show, zone, 2), 409, "user-limit")
        ensure(problem["remaining"] == 1 and problem["code"] == "US031", "%s" % problem)
        self.problem(self.reserve(self.bob, show, zone, 4), 409, "user-limit")
        self.held(self.bob, show, zone, 3)
        with self.person("carol", "customer") as carol:
            problem = self.problem(self.reserve(carol, show, zone), 409, "sold-out")
        ensure(problem["remaining"] == 0 and problem["retryable"] is False and problem["code"] == "US030", "%s" % problem)
        draft = self.sale(publish=False)
        self.problem(self.reserve(self.alice, *draft), 409, "sale-closed")
        for window in ({"sale_from": "2035-01-01T00:00:00Z"}, {"sale_until": "2020-01-01T00:00:00Z"}):
            self.problem(self.reserve(self.alice, *self.sale(**window)), 409, "sale-closed")
        self.problem(self.reserve(self.alice, *self.sale(starts="2020-01-01T00:00:00")), 409, "sale-closed")
        self.problem(self.reserve(self.alice, show=999999999), 404, "unknown-show")
        self.problem(self.reserve(self.alice, zone=999999999), 404, "unknown-show")
        self.problem(self.reserve(self.alice, price_type=999999999), 404, "unknown-show")
        for quantity in (0, -1, 1001):
            self.problem(self.reserve(self.alice, quantity=quantity), 400, "quantity")
        self.problem(self.reserve(self.alice, ttl=86400), 400, "invalid-argument")

    def seats(self):
        show, zone = self.sale(numbered=[{"row": "A", "rank": 1, "first": 1, "last": 6}, {"row": "B", "rank": 2, "first": 1, "last": 2}])
        taken = self.held(self.alice, show, zone, 2, seats=["A1", "A2"])
        ensure(taken["items"][0]["seats"] == ["A1", "A2"], "%s" % taken)
        problem = self.problem(self.reserve(self.bob, show, zone, 2, seats=["A2", "A3"]), 409, "seat-taken")
        ensure(problem["seats"] == ["A2"] and problem["retryable"] is False, "%s" % problem)
        best = self.held(self.bob, show, zone, 2)
        ensure(all(seat.startswith("A") for seat in best["items"][0]["seats"]), "%s" % best)
        self.problem(self.reserve(self.bob, show, zone, 2, seats=["A3"]), 400, "quantity")
        self.problem(self.reserve(self.bob, seats=["A3"]), 400, "invalid-argument")

    def best(self):
        """The best seats, accessible ones alone, and apart when there is no run: as boxoffice.best_available."""
        rows = [{"row": "A", "rank": 1, "first": 1, "last": 5}, {"row": "B", "rank": 2, "first": 1, "last": 6, "accessible": [2, 3, 6]}]
        show, zone = self.sale(numbered=rows)

        def seats(booking, item=0):
            return booking["items"][item]["seats"]
        ensure(seats(self.held(self.alice, show, zone, 2, accessible=True)) == ["B2", "B3"], "not the accessible ones")
        problem = self.problem(self.reserve(self.alice, show, zone, 2, accessible=True), 409, "seat-taken")
        ensure(problem["retryable"] is False and problem["code"] == "US033", "%s" % problem)
        booking = self.held(self.alice, show, zone, 1, accessible=True, split=True, key="best")
        ensure(seats(booking) == ["B6"], "%s" % booking)
        ensure(self.held(self.alice, show, zone, 1, accessible=True, split=True, key="best") == booking, "a repeat")
        self.problem(self.reserve(self.alice, show, zone, 1, accessible=True, key="best"), 422, "idempotency-conflict")
        self.held(self.alice, show, zone, 1, seats=["A3"], split=True)       # A1 A2, A4 A5, B1, B4 B5 are left
        self.problem(self.reserve(self.alice, show, zone, 3), 409, "seat-taken")
        self.problem(self.reserve(self.alice, show, zone, 3, split=False, accessible=None), 409, "seat-taken")
        before = self.free(show)
        items = [{"zone": zone, "quantity": 3, "split": True}, {"zone": zone, "quantity": 1, "accessible": True}]
        self.problem(self.alice.post(RESERVE, {"show": show, "items": items}), 409, "seat-taken")
        ensure(self.free(show) == before, "a part of it was taken: %s" % self.free(show))
        items[1] = {"zone": zone, "quantity": 2}
        both = self.fine(self.alice.post(RESERVE, {"show": show, "items": items}), 201)
        ensure(seats(both) == ["A1", "A2", "A4"] and seats(both, 1) == ["B4", "B5"], "%s" % both)
        self.problem(self.reserve(self.alice, show, zone, 1, seats=["A5"], accessible=True), 400, "invalid-argument")
        self.problem(self.reserve(self.alice, accessible=True), 400, "invalid-argument")
        self.held(self.alice, split=True)
        one = {"show": show, "zone": zone, "quantity": 1}
        for body in (dict(one, accessible=1), dict(one, split="true"), dict(one, split=[]), {"show": show, "items": [dict(one, split=True)]},
                     {"show": show, "split": True, "items": [{"zone": zone, "quantity": 1}]},
                     {"show": show, "items": [{"zone": zone, "quantity": 1, "accessible": "yes"}]}):
            self.problem(self.alice.post(RESERVE, body), 422, "invalid-body")

    def several(self):
        show, zone = self.sale(capacity=10)
        more = self.make("shows/%d/zones" % show, {"name": "balcony", "capacity": 1, "prices": [{"name": "one", "unit_price": 100}]})["zone"]
        items = [{"zone": zone, "quantity": 2}, {"zone": more, "quantity": 1}]
        booking = self.fine(self.alice.post(RESERVE, {"show": show, "items": items}), 201)
        ensure(len(booking["items"]) == 2 and booking["quantity"] == 3, "%s" % booking)
        self.problem(self.alice.post(RESERVE, {"show": show, "items": items}), 409, "sold-out")
        ensure(self.free(show) == [8, 0], "a part of it was taken: %s" % self.free(show))
        self.change(self.alice, booking, "cancel", {"items": [2]})
        ensure(self.free(show) == [8, 1], "%s" % self.free(show))

    def rubbish(self):
        before = self.free()
        one = {"show": self.show, "zone": self.zone, "quantity": 1}
        for body in ([], 1, "x", {}, {"show": self.show}, {"show": "1", "zone": 1, "quantity": 1}, dict(one, quantity="1"), dict(one, quantity=1.5),
                     dict(one, more=1), dict(one, items=[one]), {"show": 1, "items": []}, {"show": 1, "items": [{}] * 21}, {"show": 1, "items": [1]},
                     {"show": 1, "items": {"zone": 1}}, dict(one, seats="A1"), dict(one, seats=[1]), dict(one, ttl=0), dict(one, ttl=-1),
                     dict(one, ttl="1"), dict(one, user="bob"), dict(one, on_behalf_of=1), dict(one, quantity=1 << 40), dict(one, show=1 << 70),
                     dict(one, price_type="adult"), dict(one, seats=["A"] * 1001), {"show": 1, "items": [dict(zone=1, quantity=1, show=1)]}):
            self.problem(self.alice.request("POST", RESERVE, json.dumps(body).encode(), {"Content-Type": "application/json"}), 422, "invalid-body")
        for body in (b"", b"{", b"\xff", b'{"show":1,"zone":"\\ud800"}'):
            self.problem(self.alice.request("POST", RESERVE, body, {"Content-Type": "application/json"}), 400, "malformed-json")
        self.problem(self.alice.request("POST", RESERVE, b"{}", {"Content-Type": "text/plain"}), 415, "unsupported-media-type")
        twice = b'{"show":%d,"zone":%d,"quantity":1,"quantity":2}' % (self.show, self.zone)
        self.problem(self.alice.request("POST", RESERVE, twice, {"Content-Type": "application/json"}), 422, "invalid-body")
        for text in ("'; DROP TABLE boxoffice.bookings; --", "\\", "a" * 200):
            self.problem(self.reserve(self.alice, seats=[text]), 400, "invalid-argument")
        for who in ("a\x01", "\t", "x\x7f"):
            self.problem(self.reserve(self.clerk, on_behalf_of=who), 400, "invalid-name")
        self.problem(self.reserve(self.alice, key="a\tb"), 400, "invalid-name")
        for name, action in (("payment_ref", "confirm"), ("provider_ref", "begin-payment")):
            self.problem(self.change(self.clerk, {"booking": str(uuid.uuid4())}, action, {name: "a\x02"}, 400), 400, "invalid-argument")
        ensure(self.free() == before, "rubbish took places")

    def roles(self):
        self.problem(self.reserve(self.stranger), 403, "forbidden")
        self.problem(self.reserve(self.organiser), 403, "forbidden")
        self.problem(self.daemon.client(token=False).post(RESERVE, {"show": 1}), 401, "unauthorized")
        with self.daemon.client(user="scoped", scopes="boxoffice:customer") as scoped:
            ensure(self.held(scoped)["user"] == "scoped", "a scope is not enough")
        self.problem(self.reserve(self.alice, on_behalf_of="bob"), 403, "forbidden")
        booking = self.held(self.clerk, on_behalf_of="bob", key="for-bob")
        ensure(booking["user"] == "bob", "%s" % booking)
        event = self.fine(self.c.get("/v1/streams/booking-%s/events" % booking["booking"]))["items"][0]
        ensure(event["metadata"]["actor"]["id"] == "clerk", "%s" % event["metadata"])
        self.fine(self.bob.get(BOX + "bookings/" + booking["booking"]))
        for path, body in (("events", {"title": "x", "currency": "EUR"}), ("categories", {"slug": "x", "name": "x"}),
                           ("shows/%d/zones" % self.show, {"name": "x", "capacity": 1})):
            for client in (self.alice, self.clerk, self.stranger):
                self.problem(client.post(BOX + path, body), 403, "forbidden")
        self.problem(self.alice.request("PUT", BOX + "zones/%d" % self.zone, {"capacity": 5}), 403, "forbidden")
        self.problem(self.alice.request("DELETE", BOX + "shows/%d" % self.show), 403, "forbidden")
        self.problem(self.stranger.get(BOX + "events"), 403, "forbidden")
        self.problem(self.stranger.get(BOX + "bookings"), 403, "forbidden")

    def whose(self):
        """Another one's booking is not found, whatever is asked of it."""
        booking = self.held(self.alice)
        path = BOX + "bookings/" + booking["booking"]
        self.problem(self.bob.get(path), 404, "unknown-booking")
        for action, body in (("confirm", {"payment_ref": "p"}), ("begin-payment", {"provider_ref": "p"}), ("extend", {"seconds": 1}), ("cancel", {})):
            self.problem(self.bob.post(path + "/" + action, body), 404, "unknown-booking")
            self.problem(self.other.post(path + "/" + action, body), 404, "unknown-booking")
        self.problem(self.alice.get(BOX + "bookings/" + str(uuid.uuid4())), 404, "unknown-booking")
        self.problem(self.alice.get(BOX + "bookings/nonsense"), 404, "unknown-booking")
        ensure(self.fine(self.clerk.get(path)) == booking, "the box office does not see it")
        ensure(booking["booking"] not in [b["booking"] for b in self.fine(self.bob.get(BOX + "bookings?max=1000"))["items"]], "bob sees alice's")
        self.problem(self.bob.get(BOX + "bookings?user=alice"), 403, "forbidden")
        all_of = self.fine(self.clerk.get(BOX + "bookings?user=*&max=1000"))["items"]
        ensure({"alice", "bob"} <= {b["user"] for b in all_of}, "the box office does not see all")

    def tenants(self):
        """Another tenant's show, zone and booking are not there; the same user and key are another's."""
        self.problem(self.reserve(self.other), 404, "unknown-show")
        booking = self.held(self.alice, key="tenants")
        self.problem(self.other.get(BOX + "bookings/" + booking["booking"]), 404, "unknown-booking")
        for path in ("shows/%d" % self.show, "zones/%d" % self.zone, "shows/%d/availability" % self.show, "shows/%d/zones" % self.show):
            self.problem(self.other.get(BOX + path), 404, "unknown-show")
        with self.person("zoe", "organiser", tenant="acme") as zoe:
            self.problem(zoe.request("PUT", BOX + "zones/%d" % self.zone, {"capacity": 1}), 404, "unknown-show")
            self.problem(zoe.request("DELETE", BOX + "shows/%d" % self.show), 404, "unknown-show")
            self.problem(zoe.post(BOX + "zones/%d/prices" % self.zone, {"name": "x", "unit_price": 1}), 404, "unknown-show")
            show, zone = self.sale(client=zoe)
        mine = self.held(self.other, show, zone, key="tenants")
        ensure(mine["booking"] != booking["booking"], "two tenants share a key")
        ensure([b["booking"] for b in self.fine(self.other.get(BOX + "bookings"))["items"]] == [mine["booking"]], "bookings of another tenant")

    # what becomes of a booking

    def states(self):
        booking = self.held(self.alice)
        self.problem(self.change(self.alice, booking, "confirm", {"payment_ref": "p-1"}, 403), 403, "forbidden")
        paid = self.change(self.clerk, booking, "confirm", {"payment_ref": "p-1"})
        ensure(paid["status"] == "confirmed" and paid["payment_ref"] == "p-1" and self.shaped("Booking", paid), "%s" % paid)
        ensure(self.change(self.clerk, booking, "confirm", {"payment_ref": "p-1"}) == paid, "a repeat changes it")
        self.problem(self.change(self.clerk, booking, "confirm", {"payment_ref": "p-2"}, 409), 409, "wrong-state")
        self.problem(self.change(self.alice, booking, "extend", {"seconds": 5}, 409), 409, "wrong-state")
        gone = self.change(self.alice, booking, "cancel", {"reason": "ill"})
        ensure(gone["status"] == "cancelled" and gone["refund_due"] == gone["total"] and gone["reason"] == "ill", "%s" % gone)
        free = self.held(self.alice, *self.sale(price=0))
        ensure(self.change(self.alice, free, "confirm", {"payment_ref": "nothing"})["status"] == "confirmed", "what costs nothing")
        booking = self.held(self.alice)
        longer = self.change(self.alice, booking, "extend", {"seconds": 300})
        ensure(longer["expires_at"] > booking["expires_at"], "%s" % longer)
        self.problem(self.change(self.alice, booking, "extend", {"seconds": 86400}, 400), 400, "invalid-argument")
        begun = self.change(self.alice, booking, "begin-payment", {"provider_ref": "x"})
        ensure(begun["status"] == "payment_pending" and begun["provider_ref"] == "x", "%s" % begun)
        pending = self.fine(self.alice.get(BOX + "bookings/pending?max=1000"))["items"]
        ensure(booking["booking"] in [b["booking"] for b in pending] and {b["status"] for b in pending} <= {"reserved", "payment_pending"}, "%s" % pending)
        for action, body in (("confirm", {}), ("confirm", {"payment_ref": 1}), ("extend", {}), ("extend", {"seconds": "1"}), ("cancel", {"items": "1"}),
                             ("cancel", {"items": ["1"]}), ("cancel", {"more": 1}), ("begin-payment", []), ("confirm", {"payment_ref": None})):
            self.problem(self.change(self.alice, booking, action, body, 422), 422, "invalid-body")
        self.problem(self.change(self.clerk, booking, "confirm", {"payment_ref": ""}, 400), 400, "invalid-argument")
        self.problem(self.change(self.alice, booking, "cancel", {"items": [9]}, 400), 400, "invalid-argument")

    def expiry(self):
        show, zone = self.sale(capacity=5)
        booking = self.held(self.alice, show, zone, ttl=1)
        lib.wait_until(lambda: self.free(show) == [5], 20, "the places to come back", pause=0.1)
        self.problem(self.change(self.alice, booking, "cancel", {}, 410), 410, "booking-expired")
        self.problem(self.change(self.alice, booking, "extend", {"seconds": 9}, 410), 410, "booking-expired")
        ensure(self.change(self.clerk, booking, "confirm", {"payment_ref": "late"})["status"] == "confirmed", "a payment was dropped")

    def abuse(self):
        """Three reservations that were let expire within half an hour are enough."""
        show, zone = self.sale(capacity=10)
        with self.person("dan", "customer") as dan:
            for _ in range(3):
                self.held(dan, show, zone, ttl=1)
            lib.wait_until(lambda: self.free(show) == [10], 20, "the places to come back", pause=0.1)
            reply = self.reserve(dan, show, zone)
            self.problem(reply, 429, "hold-abuse")
            ensure(int(reply.headers["retry-after"]) > 0, "%s" % reply.pairs)
            self.held(dan)      # another event's places he may have
        self.held(self.bob, show, zone)

    def pages(self):
        with self.person("pia", "customer") as pia:
            made = [self.held(pia)["booking"] for _ in range(7)]
            seen, after = [], ""
            while True:
                page = self.shaped("BookingPage", self.fine(pia.get(BOX + "bookings?max=3" + after)))
                seen += [b["booking"] for b in page["items"]]
                if not page["has_more"]:
                    break
                after = "&after=" + page["next"]
            ensure(seen == made, "%s instead of %s" % (seen, made))
            ensure(self.fine(pia.get(BOX + "bookings?status=confirmed"))["items"] == [], "confirmed ones")
            ensure(len(self.fine(pia.get(BOX + "bookings?show=%d&status=reserved" % self.show))["items"]) == 7, "of the show")
            ensure(self.fine(pia.get(BOX + "bookings?show=%d" % (self.show + 999)))["items"] == [], "of another show")
            for query in ("after=x", "max=0", "max=1001", "event=x", "show=1.5"):
                self.problem(pia.get(BOX + "bookings?" + query), 400, "invalid-parameter")

    async def followed(self, stream, next_free, show, zone):
        """What comes is the newest: first as it is, then as it changes, also when another gateway or a session in SQL changes it."""
        seen = [await next_free(stream)]
        loop = asyncio.get_event_loop()
        await loop.run_in_executor(None, lambda: self.held(self.alice, show, zone, 2))
        while seen[-1] != 48:
            seen.append(await next_free(stream))
        await loop.run_in_executor(None, lambda: self.cluster.rows("SELECT boxoffice.reserve(%d, %d, 'sql', 3)" % (show, zone)))
        while seen[-1] != 45:
            seen.append(await next_free(stream))
        began = time.monotonic()

        def rush():
            for _ in range(40):
                self.held(self.bob, show, zone, 1, ttl=60)
        await loop.run_in_executor(None, rush)
        count = len(seen)
        while seen[-1] != 5:
            seen.append(await next_free(stream))
        seconds = time.monotonic() - began
        ensure(seen == sorted(seen, reverse=True), "%s" % seen)
        ensure(len(seen) - count <= 10 * seconds + 2, "%d in %.2f s" % (len(seen) - count, seconds))

    def live_websocket(self):
        show, zone = self.sale(capacity=50)
        topic = "show.%d.availability" % show

        async def next_free(live):
            frame = await live.frame("signal")
            ensure(frame["topic"] == topic and self.shaped("Availability", frame["data"]), "%s" % frame)
            return frame["data"]["zones"][0]["free"]

        async def run():
            async with live_lib.Live(self.daemon, self.alice.token) as live:
                await live.subscribe(types=[topic])
                await self.followed(live, next_free, show, zone)
                await live.refused(403, types=["booking.*"])
                await live.refused(403, types=["show.*.availability"])
                await live.say("unsubscribe", sub="s")
                await live.frame("unsubscribed")
            async with live_lib.Live(self.daemon, self.stranger.token) as live:
                await live.refused(403, types=[topic])
            async with live_lib.Live(self.daemon, self.other.token) as live:
                await live.subscribe(types=[topic])     # another tenant's show: nothing comes
                await asyncio.sleep(0.5)
                await live.nothing_more()
        asyncio.run(run())

    def live_sse(self):
        show, zone = self.sale(capacity=50)

        async def next_free(stream):
            signal = await stream.named("signal")
            ensure(signal["topic"] == "show.%d.availability" % show, "%s" % signal)
            return signal["data"]["zones"][0]["free"]

        async def run():
            async with live_lib.Sse(self.daemon, self.alice.token, "?types=show.%d.availability" % show) as stream:
                ensure(stream.status == 200, stream.head)
                await self.followed(stream, next_free, show, zone)
        asyncio.run(run())

    def two_gateways(self):
        """What is sold through one gateway goes down at the other as well, and both end with the same numbers."""
        show, zone = self.sale(capacity=300)
        topic = "show.%d.availability" % show
        second = usherd.Usherd(self.cluster, name="second").start()
        here = [self.person("here%d" % n, "customer") for n in range(3)]
        there = [second.client(user="there%d" % n, scopes="", roles=["customer"]) for n in range(3)]

        def buy(client):
            """20 reservations of 2, each third cancelled, all through one gateway: 26 places go."""
            for n in range(20):
                booking = self.held(client, show, zone, 2)
                if n % 3 == 0:
                    self.change(client, booking, "cancel", {})

        async def read(live, seen, last):
            """Until the last number is this one, and nothing comes behind it."""
            while True:
                try:
                    seen.append((await asyncio.wait_for(live.frame("signal"), 0.5))["data"]["zones"][0]["free"])
                except asyncio.TimeoutError:
                    if seen[-1:] == [last]:
                        return

        async def run():
            loop = asyncio.get_event_loop()
            async with live_lib.Live(self.daemon, self.alice.token) as one, live_lib.Live(second, there[0].token) as other:
                for live in (one, other):
                    await live.subscribe(types=[topic])
                seen = [], []
                await loop.run_in_executor(None, lambda: usherd.parallel([lambda c=c: buy(c) for c in here + there], 60))
                last = self.free(show)[0]
                ensure(last == 300 - 6 * 26, "%d places are free" % last)
                await asyncio.wait_for(asyncio.gather(read(one, seen[0], last), read(other, seen[1], last)), 20)
                ensure(min(len(numbers) for numbers in seen) > 2, "%s" % (seen,))
        asyncio.run(run())
        for client in here + there:
            client.close()
        second.stop()

    def page(self):
        """The page at / in a browser shows how the places go, while they go."""
        show, zone = self.sale(capacity=50, venue="Hall")
        token = self.daemon.token(user="page", scopes="subscribe boxoffice:read")
        url = "http://127.0.0.1:%d/#token=%s&show=%d" % (self.daemon.port, token, show)
        said = os.path.join(self.cluster.base, "chromium.log")
        port = free_port()
        with open(said, "w") as output:
            browser = subprocess.Popen([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=%d" % port,
                                        "--user-data-dir=" + os.path.join(self.cluster.base, "chromium"), "--enable-logging=stderr", url],
                                       stdout=output, stderr=output)
        try:
            text = asyncio.run(self.watched(port, show, zone))
        finally:
            browser.kill()
            browser.wait()
        ensure("Concert · Hall · 2035-05-01 20:00" in text and "of 50 free" in text, text[-1500:])
        with open(said, errors="replace") as output:
            lib.ensure_empty([line for line in output if "CONSOLE" in line], "the browser's console")

    async def watched(self, port, show, zone):
        """Asks the browser, over its debugging protocol, what the page shows; places go until it has shown it five times."""
        loop = asyncio.get_event_loop()

        def target():
            with contextlib.suppress(OSError):
                pages = json.loads(usherd.Client(port).get("/json").body)
                return next((page["webSocketDebuggerUrl"] for page in pages if "127.0.0.1" in page["url"]), None)
        await loop.run_in_executor(None, lambda: lib.wait_until(target, 30, "the browser"))
        async with websockets.connect(target(), max_size=None) as socket:
            async def evaluate(expression):
                await socket.send(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": {"expression": expression}}))
                return json.loads(await asyncio.wait_for(socket.recv(), 20))["result"]["result"].get("value")
            shown, until = [], time.monotonic() + 40
            while len(shown) < 5:
                ensure(time.monotonic() < until, "the page shows %s" % shown)
                free = await evaluate("document.getElementById('zones').dataset.free || ''")
                shown = [int(n) for n in (free or '').split()]      # nothing: it is loading
                if shown and shown[-1] == self.free(show)[0]:
                    await loop.run_in_executor(None, lambda: self.held(self.bob, show, zone, 2))
                await asyncio.sleep(0.05)
            ensure(shown == sorted(shown, reverse=True) and shown[0] == 50, "the page shows %s" % shown)
            return await evaluate("document.body.innerText")

    # the operator's say

    def admission(self):
        self.cluster.rows("""CREATE FUNCTION public.admit(tenant text, user_id text, show bigint, token text) RETURNS text LANGUAGE plpgsql AS $$
            BEGIN
                IF token = 'raise' THEN
                    RAISE division_by_zero;
                END IF;
                RETURN CASE WHEN token = format('good %s %s %s', tenant, user_id, show) THEN NULL ELSE coalesce('bad token ' || token, 'no token') END;
            END $$""")
        self.cluster.rows("ALTER DATABASE postgres SET usher.before_reserve = 'public.admit'")
        self.restart()
        problem = self.problem(self.reserve(self.alice), 403, "not-admitted")
        ensure(problem["detail"] == "no token" and problem["code"] == "US043", "%s" % problem)

        def ask(token, client=None, **more):
            return (client or self.alice).post(RESERVE, {"show": self.show, "zone": self.zone, "quantity": 1}, Admission_Token=token, **more)
        ensure(self.problem(ask("x"), 403, "not-admitted")["detail"] == "bad token x", "another reason")
        self.fine(ask("good default alice %d" % self.show, Idempotency_Key="admitted"), 201)
        self.fine(ask("used", Idempotency_Key="admitted"), 201)     # a repeat is not asked again
        self.problem(ask("good default alice %d" % self.show, self.bob), 403, "not-admitted")
        self.problem(ask("x" * 1025), 400, "invalid-header")

        def at_once(n):
            """One that raises takes nobody of its batch along."""
            with self.person("p%d" % n, "customer") as client:
                reply = ask("good default p%d %d" % (n, self.show) if n % 3 else "raise", client)
            if n % 3:
                self.fine(reply, 201)
            else:
                self.problem(reply, 400, "invalid-value")
        usherd.parallel([lambda n=n: at_once(n) for n in range(12)], 30)
        self.cluster.rows("REVOKE EXECUTE ON FUNCTION public.admit FROM PUBLIC")
        self.problem(ask("x"), 403, "forbidden")
        self.cluster.rows("ALTER DATABASE postgres RESET usher.before_reserve")
        self.restart()
        self.held(self.alice)

    def restart(self):
        """Sessions learn a setting of the database when they begin."""
        self.daemon.stop()
        self.daemon.start()
        for client in (self.c, self.acme, self.organiser, self.clerk, self.alice, self.bob, self.stranger, self.other):
            client.close()

    # the database goes away

    def crash(self):
        """Reservations with a key survive a crash in their middle: each user ends with one booking."""
        show, zone = self.sale(capacity=500)
        outcomes = {}

        def run(n):
            with self.person("crash%d" % n, "customer") as client:
                for _ in range(200):
                    try:
                        reply = self.reserve(client, show, zone, key="once")
                    except OSError:
                        continue
                    if reply.status == 201:
                        outcomes[n] = reply.json()["booking"]
                        return
                    ensure(reply.status == 503, "%s" % reply)
                    time.sleep(0.05)
        threads = [threading.Thread(target=run, args=(n,)) for n in range(40)]
        for thread in threads:
            thread.start()
        self.cluster.kill9()
        self.cluster.start()
        for thread in threads:
            thread.join(60)
        self.daemon.wait_ready()
        ensure(len(set(outcomes.values())) == 40, "%d of 40 users have a booking" % len(set(outcomes.values())))
        lib.wait_until(lambda: self.alice.get(BOX + "shows/%d/availability" % show).status == 200, 10, "the gateway to answer")
        lib.wait_until(lambda: self.free(show) == [460], 10, "460 free places, not %s" % self.free(show))


def main():
    lib.arguments("What the box office promises over HTTP.")
    lib.foreign("debian", "clients", CHROMIUM)
    box = BoxOffice()
    lib.main([(name, getattr(box, name)) for name in (
        "reserving", "keys", "at_once", "refusals", "seats", "best", "several", "rubbish", "roles", "whose", "tenants", "states", "expiry", "abuse",
        "pages", "live_websocket", "live_sse", "two_gateways", "page", "admission", "crash", "end")], 150)


if __name__ == "__main__":
    main()
