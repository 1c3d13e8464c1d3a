#!/usr/bin/python3
"""test/integration/gateway_organiser.py: what organisers and the box office do over HTTP.

Events, shows, zones, prices, seats and categories, made and changed; a cancelled event; refunds; keys of writes. On a
cluster and a usherd of its own. Prints a TAP line for each rule.
"""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import lib      # noqa: E402
import usherd   # noqa: E402
from boxoffice_lib import BOX, Office    # noqa: E402
from lib import ensure      # noqa: E402


class Organiser(Office):
    def organising(self):
        category = self.shaped("Category", self.make("categories", {"slug": "opera", "name": "Opera"}))
        self.problem(self.organiser.post(BOX + "categories", {"slug": "opera", "name": "Again"}), 409, "constraint-violated")
        ensure(category in self.fine(self.alice.get(BOX + "categories"))["items"], "the category is not listed")
        reply = self.organiser.post(BOX + "events", {"title": "Aida", "currency": "JPY", "category": category["category"], "venue": "Hall",
                                                     "organiser": "Verdi", "user_limit": 4, "sale_from": "2020-01-01T00:00:00+02:00"})
        event = self.shaped("EventOfBox", self.fine(reply, 201))
        path = BOX + "events/%d" % event["event"]
        ensure(reply.headers["location"] == path and event["exponent"] == 0 and event["status"] == "draft", "%s %s" % (reply.pairs, event))
        ensure(event["sale_from"].startswith("2019-12-31T22:00:00"), "%s" % event)
        self.problem(self.alice.get(path), 404, "unknown-show")
        ensure(self.fine(self.organiser.get(path)) == event, "the organiser does not see the draft")
        changed = self.fine(self.organiser.request("PUT", path, {"title": "Aida!", "status": "published"}))
        ensure(changed["title"] == "Aida!" and changed["venue"] == "Hall" and changed["status"] == "published", "%s" % changed)
        first = self.alice.get(path)
        ensure(self.fine(first) == changed, "%s" % first)
        lib.wait_until(lambda: self.alice.get(path, If_None_Match=self.alice.get(path).headers["etag"]).status == 304, 5, "the change to be known")
        first = self.alice.get(path)
        renamed = self.organiser.request("PUT", path, {"title": "Aida?"})
        newer = self.alice.get(path, If_None_Match=first.headers["etag"], Usher_After=renamed.headers["usher-position"])
        ensure(newer.status == 200 and newer.json()["title"] == "Aida?", "%s" % newer)
        lib.wait_until(lambda: self.alice.get(path, If_None_Match=first.headers["etag"]).status == 200, 5, "the change to be known")
        tag = self.alice.get(path).headers["etag"]
        ensure(self.alice.get(path, If_None_Match=tag).status == 304 and self.organiser.get(path, If_None_Match=tag).status == 200, "tags")
        ensure(self.other.get(path, If_None_Match=tag).status == 404, "another tenant has the same tag")
        self.fine(self.organiser.request("PUT", path, {"title": "Aida!"}))
        for query, there in (("status=published", True), ("status=draft", False), ("category=%d" % category["category"], True), ("venue=Hall", True),
                             ("venue=x", False), ("title=aIdA", True), ("title=x", False), ("organiser=Verdi", True)):
            found = [e["event"] for e in self.shaped("EventOfBoxPage", self.fine(self.alice.get(BOX + "events?max=1000&" + query)))["items"]]
            ensure((event["event"] in found) == there, "%s: %s" % (query, found))
        self.problem(self.organiser.request("PUT", path, {"status": "draft"}), 409, "wrong-state")
        show = self.shaped("Show", self.make("events/%d/shows" % event["event"], {"time_zone": "Asia/Tokyo", "starts_local": "2035-01-01T19:00:00"}))
        ensure(show["starts_at"] == "2035-01-01T10:00:00+00:00", "%s" % show)
        moved = self.fine(self.organiser.request("PUT", BOX + "shows/%d" % show["show"], {"starts_local": "2035-01-02T19:00:00"}))
        ensure(moved["starts_local"] == "2035-01-02T19:00:00" and moved["time_zone"] == "Asia/Tokyo", "%s" % moved)
        ensure(self.fine(self.alice.get(path + "/shows"))["items"] == [moved], "its shows")
        zone = self.shaped("Zone", self.make("shows/%d/zones" % show["show"], {"name": "stalls", "numbered": True, "rows": [
            {"row": "A", "rank": 1, "first": 1, "last": 10, "accessible": [1]}], "prices": [{"name": "adult", "unit_price": 9000}]}))
        ensure(zone["capacity"] == 10 and zone["prices"][0]["unit_price"] == 9000, "%s" % zone)
        zone = self.make("zones/%d/prices" % zone["zone"], {"name": "child", "unit_price": 1, "ordinal": 5})
        zone = self.make("zones/%d/rows" % zone["zone"], {"row": "B", "rank": 2, "first": 1, "last": 5})
        ensure(zone["capacity"] == 15 and len(zone["prices"]) == 2, "%s" % zone)
        ensure(self.fine(self.alice.get(BOX + "shows/%d/zones" % show["show"]))["items"] == [zone], "its zones")
        ensure(self.fine(self.alice.get(BOX + "zones/%d" % zone["zone"])) == zone, "the zone")
        self.shaped("Availability", self.fine(self.alice.get(BOX + "shows/%d/availability" % show["show"])))
        ensure(self.fine(self.organiser.request("DELETE", BOX + "shows/%d?reason=rain" % show["show"]))["cancelled"], "the show goes on")
        self.problem(self.reserve(self.alice, show["show"], zone["zone"]), 409, "sale-closed")
        ensure(self.fine(self.organiser.request("DELETE", path))["status"] == "cancelled", "the event goes on")

    def capacity(self):
        show, zone = self.sale(capacity=5)
        self.held(self.alice, show, zone, 3)
        self.problem(self.organiser.request("PUT", BOX + "zones/%d" % zone, {"capacity": 2}), 409, "sold-out")
        ensure(self.fine(self.organiser.request("PUT", BOX + "zones/%d" % zone, {"capacity": 3}))["capacity"] == 3, "not lowered")
        ensure(self.free(show) == [0], "%s" % self.free(show))

    def patches(self):
        """A change is a merge patch: what is absent stays, null clears."""
        show, zone = self.sale(capacity=5, user_limit=2, sale_until="2034-01-01T00:00:00Z", venue="Hall", description="Long")
        event = self.fine(self.alice.get(BOX + "shows/%d" % show))["event"]
        path = BOX + "events/%d" % event
        self.held(self.alice, show, zone, 2)
        self.problem(self.reserve(self.alice, show, zone), 409, "user-limit")

        def patch(body, path=path, method="PATCH", client=None, kind="application/merge-patch+json"):
            return (client or self.organiser).request(method, path, json.dumps(body).encode(), {"Content-Type": kind})
        same = self.fine(patch({}))
        ensure(same["user_limit"] == 2 and same["max_expired_holds"] == 3, "%s" % same)
        free = self.shaped("EventOfBox", self.fine(patch({"user_limit": None, "max_expired_holds": None, "description": None})))
        ensure("user_limit" not in free and "max_expired_holds" not in free and free["description"] == "" and free["venue"] == "Hall" and
               free["sale_until"].startswith("2034"), "%s" % free)
        self.held(self.alice, show, zone, 1)        # his limit is gone
        limited = self.fine(patch({"user_limit": 4, "sale_until": None}, method="PUT", kind="application/json"))
        ensure(limited["user_limit"] == 4 and "sale_until" not in limited, "%s" % limited)
        self.problem(self.reserve(self.alice, show, zone, 2), 409, "user-limit")
        told = [e["data"] for e in self.fine(self.c.get("/v1/streams/event-%d/events" % event))["items"] if e["type"] == "event.updated"]
        ensure({"event": event, "user_limit": None, "max_expired_holds": None, "description": ""} in told, "%s" % told)
        for body in ({"title": None}, {"status": None}, {"currency": "USD"}, {"user_limit": "4"}, []):
            self.problem(patch(body), 422, "invalid-body")
        self.problem(patch({"title": "x"}, kind="text/plain"), 415, "unsupported-media-type")
        self.problem(patch({"category": 99999}), 400, "invalid-argument")
        self.problem(patch({"title": "x"}, client=self.alice), 403, "forbidden")
        moved = self.fine(patch({"time_zone": "Asia/Tokyo"}, BOX + "shows/%d" % show))
        ensure(moved["time_zone"] == "Asia/Tokyo" and moved["starts_local"] == "2035-05-01T20:00:00", "%s" % moved)
        self.problem(patch({"time_zone": None}, BOX + "shows/%d" % show), 422, "invalid-body")
        ensure(self.fine(patch({}, BOX + "shows/%d" % show)) == moved, "nothing was to change")
        both = self.fine(patch({"name": "stalls", "capacity": 9}, BOX + "zones/%d" % zone))
        ensure((both["name"], both["capacity"]) == ("stalls", 9), "%s" % both)
        self.problem(patch({"name": "pit", "capacity": 1}, BOX + "zones/%d" % zone), 409, "sold-out")
        ensure(self.fine(self.organiser.get(BOX + "zones/%d" % zone)) == both, "half of a change")

    def prices(self):
        show, zone = self.sale(capacity=5)
        price = self.fine(self.alice.get(BOX + "zones/%d" % zone))["prices"][0]
        path = BOX + "prices/%d" % price["price_type"]
        dear = self.shaped("Zone", self.fine(self.organiser.request("PATCH", path, {"unit_price": 9000, "tax_bp": 0})))["prices"]
        ensure(dear == [dict(price, unit_price=9000, tax_bp=0)], "%s" % dear)
        ensure(self.held(self.alice, show, zone)["total"] == 9000, "the old price")
        second = self.make("zones/%d/prices" % zone, {"name": "child", "unit_price": 100, "ordinal": 3})["prices"][1]
        ensure(second["ordinal"] == 3 and second["active"] is True, "%s" % second)
        seen = self.fine(self.organiser.request("DELETE", path))["prices"]
        ensure([p["active"] for p in seen] == [False, True], "%s" % seen)
        zone_path = BOX + "zones/%d" % zone
        ensure([p["name"] for p in self.fine(self.alice.get(zone_path, Usher_After="1"))["prices"]] == ["child"], "customers see what is withdrawn")
        ensure(len(self.fine(self.organiser.get(zone_path, Usher_After="1"))["prices"]) == 2, "organisers do not")
        self.problem(self.reserve(self.alice, show, zone, price_type=price["price_type"]), 404, "unknown-show")
        ensure(self.held(self.alice, show, zone)["total"] == 100, "what is withdrawn is sold")
        self.fine(self.organiser.request("PATCH", path, {"active": True}))
        ensure(self.held(self.alice, show, zone)["total"] == 9000, "it is not sold again")
        for client in (self.alice, self.clerk):
            self.problem(client.request("PATCH", path, {"unit_price": 1}), 403, "forbidden")
            self.problem(client.request("DELETE", path), 403, "forbidden")
        with self.person("zoe", "organiser", tenant="acme") as zoe:
            self.problem(zoe.request("PATCH", path, {"unit_price": 1}), 404, "unknown-show")
            self.problem(zoe.request("DELETE", path), 404, "unknown-show")
        for body in ({"unit_price": None}, {"active": "no"}, {"zone": 1}):
            self.problem(self.organiser.request("PATCH", path, body), 422, "invalid-body")
        self.problem(self.organiser.request("PATCH", path, {"unit_price": -1}), 400, "invalid-argument")

    def seat_map(self):
        show, zone = self.sale(numbered=[{"row": "A", "rank": 1, "first": 1, "last": 4, "accessible": [1, 2]}])
        path = BOX + "zones/%d/seats" % zone
        self.held(self.alice, show, zone, 1, seats=["A2"])

        def labels(query=""):
            return [s["seat"] for s in self.shaped("SeatPage", self.fine(self.bob.get(path + query)))["items"]]
        ensure(self.fine(self.bob.get(path))["items"][1] == {"seat": "A2", "rank": 1, "number": 2, "accessible": True, "free": False}, "A2")
        ensure(labels() == ["A1", "A2", "A3", "A4"] and labels("?free=true") == ["A1", "A3", "A4"] and labels("?free=false") == ["A2"], labels())
        ensure(labels("?accessible=true") == ["A1", "A2"] and labels("?accessible=false&free=true") == ["A3", "A4"], "accessible ones")
        page = self.fine(self.bob.get(path + "?max=3"))
        ensure(page["next"] == "A3" and page["has_more"] and labels("?after=A3") == ["A4"], "%s" % page)
        self.problem(self.bob.get(path + "?free=yes"), 400, "invalid-parameter")
        self.problem(self.other.get(path), 404, "unknown-show")
        self.problem(self.stranger.get(path), 403, "forbidden")
        draft = self.sale(numbered=[{"row": "A", "rank": 1, "first": 1, "last": 1}], publish=False)[1]
        self.problem(self.bob.get(BOX + "zones/%d/seats" % draft), 404, "unknown-show")
        ensure(len(self.fine(self.organiser.get(BOX + "zones/%d/seats" % draft))["items"]) == 1, "of a draft")

    def refunds(self):
        """Money goes back: by the box office, once, and again when it has failed."""
        show, zone = self.sale(capacity=5)

        def due(query=""):
            return {b["booking"]: b["refund_due"] for b in self.shaped("BookingPage", self.fine(self.clerk.get(
                BOX + "bookings/refunds?show=%d%s" % (show, query))))["items"]}
        paid, lost = self.held(self.alice, show, zone, 2), self.held(self.bob, show, zone, 3, ttl=1)
        ensure(due() == {}, "%s" % due())
        self.problem(self.change(self.clerk, paid, "begin-refund", {}, 409), 409, "wrong-state")
        self.change(self.clerk, paid, "confirm", {"payment_ref": "p"})
        self.change(self.alice, paid, "cancel", {})
        lib.wait_until(lambda: self.free(show) == [5], 20, "the places to come back", pause=0.1)
        self.held(self.alice, show, zone, 4)
        orphan = self.change(self.clerk, lost, "confirm", {"payment_ref": "late"})
        ensure(orphan["status"] == "payment_orphaned", "%s" % orphan)
        ensure(due() == {paid["booking"]: paid["total"], lost["booking"]: lost["total"]}, "%s" % due())
        ensure(due("&user=bob") == {lost["booking"]: lost["total"]} and due("&event=%d" % (paid["event"] + 999)) == {}, "filters")
        for client in (self.alice, self.organiser):
            self.problem(client.get(BOX + "bookings/refunds"), 403, "forbidden")
            for action, body in (("begin-refund", {}), ("finish-refund", {"succeeded": True})):
                self.problem(client.post(BOX + "bookings/%s/%s" % (paid["booking"], action), body), 403, "forbidden")
        self.problem(self.change(self.clerk, paid, "finish-refund", {"succeeded": True}, 409), 409, "wrong-state")
        ensure(self.change(self.clerk, paid, "begin-refund", {})["status"] == "refund_pending", "begun")
        self.problem(self.change(self.clerk, paid, "finish-refund", {}, 422), 422, "invalid-body")
        failed = self.change(self.clerk, paid, "finish-refund", {"succeeded": False})
        ensure(failed["status"] == "refund_failed" and failed["refund_due"] == paid["total"], "%s" % failed)
        self.change(self.clerk, paid, "begin-refund", {})
        done = self.change(self.clerk, paid, "finish-refund", {"succeeded": True})
        ensure(done["status"] == "refunded" and "refund_due" not in done, "%s" % done)
        self.problem(self.change(self.clerk, paid, "begin-refund", {}, 409), 409, "wrong-state")
        ensure(due() == {lost["booking"]: lost["total"]}, "%s" % due())
        with self.person("eve", "box-office", tenant="acme") as eve:
            self.problem(eve.post(BOX + "bookings/%s/begin-refund" % lost["booking"], {}), 404, "unknown-booking")
            ensure(self.fine(eve.get(BOX + "bookings/refunds"))["items"] == [], "of another tenant")

    def written_once(self):
        """What an organiser, a customer or the box office writes with a key is done once, and answered twice."""
        def twice(client, method, path, body, status, key):
            replies = [client.request(method, BOX + path, body, {"Idempotency-Key": key}) for _ in range(2)]
            first, again = [self.fine(reply, status) for reply in replies]
            ensure(first == again, "%s, then %s" % (first, again))
            ensure("idempotency-replayed" not in replies[0].headers and replies[1].headers.get("idempotency-replayed") == "true", "%s" % replies[1].pairs)
            ensure("usher-position" in replies[0].headers and "usher-position" not in replies[1].headers, "%s" % replies[1].pairs)
            ensure(replies[0].headers.get("location") == replies[1].headers.get("location"), "%s" % replies[1].pairs)
            return first
        event = twice(self.organiser, "POST", "events", {"title": "Unheard", "currency": "EUR"}, 201, "o1")
        ensure(len([e for e in self.fine(self.organiser.get(BOX + "events?title=Unheard&max=1000"))["items"]]) == 1, "two events")
        self.problem(self.organiser.post(BOX + "events", {"title": "Other", "currency": "EUR"}, Idempotency_Key="o1"), 422, "idempotency-conflict")
        self.problem(self.organiser.post(BOX + "events", {"title": "", "currency": "EUR"}, Idempotency_Key="o2"), 400, "invalid-argument")
        self.fine(self.organiser.post(BOX + "events", {"title": "Good", "currency": "EUR"}, Idempotency_Key="o2"), 201)     # what failed is forgotten
        show = twice(self.organiser, "POST", "events/%d/shows" % event["event"], {"time_zone": "UTC", "starts_local": "2035-01-01"}, 201, "o3")
        zone = twice(self.organiser, "POST", "shows/%d/zones" % show["show"], {"name": "z", "numbered": True, "prices": [{"name": "p", "unit_price": 5}]}, 201, "o4")
        zone = twice(self.organiser, "POST", "zones/%d/rows" % zone["zone"], {"row": "A", "rank": 1, "first": 1, "last": 9}, 201, "o5")
        ensure(zone["capacity"] == 9, "%s" % zone)
        zone = twice(self.organiser, "POST", "zones/%d/prices" % zone["zone"], {"name": "q", "unit_price": 6}, 201, "o6")
        ensure(len(zone["prices"]) == 2, "%s" % zone)
        twice(self.organiser, "PATCH", "events/%d" % event["event"], {"status": "published"}, 200, "o7")
        booking = self.held(self.alice, show["show"], zone["zone"])
        longer = twice(self.alice, "POST", "bookings/%s/extend" % booking["booking"], {"seconds": 60}, 200, "o8")
        ensure(self.fine(self.alice.get(BOX + "bookings/" + booking["booking"]))["expires_at"] == longer["expires_at"], "extended twice")
        twice(self.clerk, "POST", "bookings/%s/confirm" % booking["booking"], {"payment_ref": "p"}, 200, "o9")
        twice(self.alice, "POST", "bookings/%s/cancel" % booking["booking"], {}, 200, "o10")
        twice(self.clerk, "POST", "bookings/%s/begin-refund" % booking["booking"], {}, 200, "o11")
        twice(self.organiser, "DELETE", "shows/%d" % show["show"], None, 200, "o12")
        self.problem(self.organiser.request("DELETE", BOX + "events/%d" % event["event"], None, {"Idempotency-Key": "x" * 256}), 400, "invalid-header")

        def at_once(n):
            with self.person("anna", "organiser") as client:
                return self.fine(client.post(BOX + "events", {"title": "Race", "currency": "EUR"}, Idempotency_Key="race"), 201)["event"]
        made = []
        usherd.parallel([lambda n=n: made.append(at_once(n)) for n in range(8)], 30)
        ensure(len(set(made)) == 1, "%s" % made)

    def cancelled_event(self):
        show, zone = self.sale(capacity=5)
        booking = self.held(self.alice, show, zone)
        self.fine(self.organiser.request("DELETE", BOX + "events/%d?reason=fire" % booking["event"]))
        self.problem(self.reserve(self.bob, show, zone), 409, "sale-closed")
        lib.wait_until(lambda: self.fine(self.alice.get(BOX + "bookings/" + booking["booking"]))["status"] == "cancelled", 20, "its bookings to be cancelled")

    def organisers_rubbish(self):
        event = {"title": "x", "currency": "EUR"}
        for body in ([], {}, {"title": "x"}, dict(event, title=1), dict(event, more=1), dict(event, user_limit="4"), dict(event, sale_from=5)):
            self.problem(self.organiser.request("POST", BOX + "events", json.dumps(body).encode(), {"Content-Type": "application/json"}), 422, "invalid-body")
        self.problem(self.organiser.post(BOX + "events", dict(event, currency="XXZ")), 400, "invalid-argument")
        self.problem(self.organiser.post(BOX + "events", dict(event, sale_from="soon")), 400, "invalid-value")
        self.problem(self.organiser.post(BOX + "events", dict(event, category=99999)), 400, "invalid-argument")
        # a value that may not be is the client's fault, who is told the rule
        for more, rule in (({"title": ""}, "length(title)"), ({"title": "x" * 256}, "length(title)"), ({"user_limit": 0}, "user_limit > 0"), ({"max_expired_holds": -1}, "max_expired_holds > 0"),
                           ({"sale_from": "2035-01-02", "sale_until": "2035-01-01"}, "sale_until > sale_from")):
            problem = self.problem(self.organiser.post(BOX + "events", dict(event, **more)), 400, "invalid-argument")
            ensure(rule in problem["detail"], "%s" % problem)
        self.problem(self.organiser.post(BOX + "categories", {"slug": "No Slug", "name": "x"}), 400, "invalid-argument")
        self.problem(self.organiser.request("PATCH", BOX + "zones/%d" % self.zone, {"name": ""}), 400, "invalid-argument")
        self.problem(self.organiser.post(BOX + "events/99999999/shows", {"time_zone": "Europe/Berlin", "starts_local": "2035-01-01"}), 404, "unknown-show")
        self.problem(self.organiser.post(BOX + "events/x/shows", {"time_zone": "UTC", "starts_local": "2035-01-01"}), 404, "unknown-show")
        show = {"name": "z", "capacity": 1}
        for body in (dict(show, prices=1), dict(show, prices=[1]), dict(show, prices=[{"name": "a"}]), dict(show, rows=[{}]), dict(show, capacity="1"),
                     dict(show, numbered="yes"), dict(show, prices=[{"name": "a", "unit_price": 1.5}])):
            self.problem(self.organiser.post(BOX + "shows/%d/zones" % self.show, body), 422, "invalid-body")
        for body in (dict(show, capacity=-1), dict(show, prices=[{"name": "a", "unit_price": -1}])):
            self.problem(self.organiser.post(BOX + "shows/%d/zones" % self.show, body), 400, "invalid-argument")


def main():
    lib.arguments("What organisers and the box office do over HTTP.")
    box = Organiser()
    lib.main([(name, getattr(box, name)) for name in (
        "organising", "capacity", "patches", "prices", "seat_map", "refunds", "written_once", "cancelled_event", "organisers_rubbish", "end")], 120)


if __name__ == "__main__":
    main()
