"""test/integration/boxoffice_lib.py: a cluster, a usherd, a sale, and people of each role, for tests of the box office over HTTP."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
from lib import ensure      # noqa: E402

RESERVE = "/v1/boxoffice/bookings/reserve"
BOX = "/v1/boxoffice/"


class Office(gateway_lib.Api):
    def __init__(self):
        super().__init__()
        self.document = self.fine(self.c.get("/openapi.json"))
        self.organiser = self.person("anna", "organiser")
        self.clerk = self.person("clerk", "box-office")
        self.alice = self.person("alice", "customer")
        self.bob = self.person("bob", "customer")
        self.stranger = self.person("stranger", None)
        self.other = self.person("alice", "customer", tenant="acme")
        self.show, self.zone = self.sale(capacity=1000)

    def person(self, user, role, tenant="default"):
        return self.daemon.client(user=user, tenant=tenant, scopes="", **({"roles": [role]} if role else {}))

    def make(self, path, body, client=None):
        reply = (client or self.organiser).post(BOX + path, body)
        return self.fine(reply, 201)

    def shaped(self, schema, value):
        wrong = gateway_lib.fault(self.document, self.document["components"]["schemas"][schema], value)
        ensure(not wrong, "%s: %s" % (schema, wrong))
        return value

    def sale(self, capacity=100, numbered=None, publish=True, client=None, starts="2035-05-01T20:00:00", price=2550, **event):
        """A show and its zone."""
        client = client or self.organiser
        made = self.make("events", dict({"title": "Concert", "currency": "EUR"}, **event), client)
        show = self.make("events/%d/shows" % made["event"], {"time_zone": "Europe/Berlin", "starts_local": starts}, client)
        zone = {"name": "floor", "prices": [{"name": "adult", "unit_price": price, "tax_bp": 1900}]}
        zone.update({"numbered": True, "rows": numbered} if numbered else {"capacity": capacity})
        zone = self.make("shows/%d/zones" % show["show"], zone, client)
        if publish:
            self.fine(client.request("PUT", BOX + "events/%d" % made["event"], {"status": "published"}))
        return show["show"], zone["zone"]

    def reserve(self, client, show=None, zone=None, quantity=1, key=None, **more):
        body = dict({"show": show or self.show, "zone": zone or self.zone, "quantity": quantity}, **more)
        return client.post(RESERVE, body, **({"Idempotency_Key": key} if key else {}))

    def held(self, *arguments, **named):
        return self.fine(self.reserve(*arguments, **named), 201)

    def free(self, show=None):
        return [zone["free"] for zone in self.fine(self.alice.get(BOX + "shows/%d/availability" % (show or self.show)))["zones"]]

    def change(self, client, booking, action, body, status=200):
        reply = client.post(BOX + "bookings/%s/%s" % (booking["booking"], action), body)
        return self.fine(reply, status) if status == 200 else reply

    def end(self):
        for tenant in ("default", "acme"):
            rows = self.cluster.rows("SELECT set_config('usher.tenant', '%s', false); SELECT * FROM boxoffice.check()" % tenant)
            lib.ensure_empty([row for row in rows if not row[1]], "boxoffice.check() of %s" % tenant)
        self.daemon.stop()
