#!/usr/bin/python3
"""test/integration/gateway_auth.py: who may do what at the gateway, and that no tenant sees a byte of another.

Every route that /openapi.json has, with every kind of credential: the table below says what each has to come to. Three tenants
have streams, topics, subscriptions and keys of the same names with a mark of their own in whatever they write; no reply to one
holds a mark of another, also when their appends travel in one batch. Strings that would be SQL come back as they were.
"""
import collections
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import lib      # noqa: E402
import tokens   # noqa: E402
import usherd   # noqa: E402
from lib import ensure      # noqa: E402

TENANTS = ("acme", "beta", "gamma")
EVENT = {"type": "order.placed", "data": {"n": 1}}
INJECTIONS = (
    "'; DROP TABLE usher.tenants; --", "' OR '1'='1", "\\'; SELECT pg_sleep(9); --", "$$; DROP SCHEMA usher CASCADE; $$",
    "a', NULL, NULL); DELETE FROM usher.api_keys; --", "{\"a\",NULL}", "(,,)", "\\x27 OR 1=1", "%27%20OR%201=1", "{1,2}",
    "E'\\\\047", "\"; COPY usher.api_keys TO '/tmp/x'; --", "tenant=beta", "\u02bc OR 1=1", "1; SET ROLE postgres", "*", "**",
)

Route = collections.namedtuple("Route", "method path body scope good anonymous")


def mark(tenant):
    return "MARK-%s-KRAM" % tenant


def routes(stream="order-1"):
    """One good request for each route, the scope that it needs, and its status."""
    other = urllib.parse.quote("stream with blanks")
    return {
        "appendEvents": Route("POST", "/v1/streams/%s/events" % stream, EVENT, "log:append", 201, False),
        "readStream": Route("GET", "/v1/streams/%s/events" % stream, None, "log:read", 200, False),
        "appendEventsByQuery": Route("POST", "/v1/streams/events?stream=" + other, EVENT, "log:append", 201, False),
        "readStreamByQuery": Route("GET", "/v1/streams/events?stream=" + other, None, "log:read", 200, False),
        "appendTransaction": Route("POST", "/v1/transactions", {"streams": [{"stream": stream, "events": [EVENT]}]},
                                   "log:append", 201, False),
        "publishEvents": Route("POST", "/v1/events", {"topic": "mail", "type": "mail.sent", "data": {}}, "log:append", 201, False),
        "readLog": Route("GET", "/v1/log", None, "log:read", 200, False),
        "readCategory": Route("GET", "/v1/categories/order/events", None, "log:read", 200, False),
        "listSubscriptions": Route("GET", "/v1/subscriptions", None, "subscriptions", 200, False),
        "pollSubscription": Route("POST", "/v1/subscriptions/idle/poll", {"member": "m"}, "subscriptions", 200, False),
        "acknowledge": Route("POST", "/v1/subscriptions/idle/ack", {"lease": 4711}, "subscriptions", 409, False),
        "refuseEvent": Route("POST", "/v1/subscriptions/idle/nack", {"lease": 4711, "position": 1}, "subscriptions", 409, False),
        "extendLease": Route("POST", "/v1/subscriptions/idle/extend", {"lease": 4711}, "subscriptions", 409, False),
        "readCategoryByQuery": Route("GET", "/v1/categories/events?category=order", None, "log:read", 200, False),
        "pollSubscriptionByQuery": Route("POST", "/v1/subscriptions/poll?name=idle", {"member": "m"}, "subscriptions", 200, False),
        "acknowledgeByQuery": Route("POST", "/v1/subscriptions/ack?name=idle", {"lease": 4711}, "subscriptions", 409, False),
        "refuseEventByQuery": Route("POST", "/v1/subscriptions/nack?name=idle", {"lease": 4711, "position": 1}, "subscriptions", 409,
                                    False),
        "extendLeaseByQuery": Route("POST", "/v1/subscriptions/extend?name=idle", {"lease": 4711}, "subscriptions", 409, False),
        "listSinks": Route("GET", "/v1/sinks", None, "sinks", 200, False),
        "listDeadLetters": Route("GET", "/v1/dead-letters", None, "dead-letters", 200, False),
        "replayDeadLetters": Route("POST", "/v1/dead-letters/replay", {"subscription": "idle"}, "dead-letters", 202, False),
        "issueTicket": Route("POST", "/v1/tickets", {"for": "websocket"}, None, 201, False),
        # of what there is not: 404 is what a good credential comes to
        "reserve": Route("POST", "/v1/boxoffice/bookings/reserve", {"show": 4711, "zone": 4711, "quantity": 1}, "boxoffice", 404, False),
        "listBookings": Route("GET", "/v1/boxoffice/bookings", None, "boxoffice", 200, False),
        "listPendingBookings": Route("GET", "/v1/boxoffice/bookings/pending", None, "boxoffice", 200, False),
        "listRefunds": Route("GET", "/v1/boxoffice/bookings/refunds", None, "boxoffice", 200, False),
        "beginRefund": Route("POST", "/v1/boxoffice/bookings/0190a5d0-ac96-774b-bcce-b302099a8057/begin-refund", {}, "boxoffice", 404, False),
        "finishRefund": Route("POST", "/v1/boxoffice/bookings/0190a5d0-ac96-774b-bcce-b302099a8057/finish-refund", {"succeeded": True}, "boxoffice", 404, False),
        "readBooking": Route("GET", "/v1/boxoffice/bookings/0190a5d0-ac96-774b-bcce-b302099a8057", None, "boxoffice", 404, False),
        "beginPayment": Route("POST", "/v1/boxoffice/bookings/0190a5d0-ac96-774b-bcce-b302099a8057/begin-payment", {"provider_ref": "x"}, "boxoffice", 404, False),
        "confirmBooking": Route("POST", "/v1/boxoffice/bookings/0190a5d0-ac96-774b-bcce-b302099a8057/confirm", {"payment_ref": "x"}, "boxoffice", 404, False),
        "extendBooking": Route("POST", "/v1/boxoffice/bookings/0190a5d0-ac96-774b-bcce-b302099a8057/extend", {"seconds": 5}, "boxoffice", 404, False),
        "cancelBooking": Route("POST", "/v1/boxoffice/bookings/0190a5d0-ac96-774b-bcce-b302099a8057/cancel", {}, "boxoffice", 404, False),
        "listCategories": Route("GET", "/v1/boxoffice/categories", None, "boxoffice", 200, False),
        "createCategory": Route("POST", "/v1/boxoffice/categories", {"slug": "there", "name": "x"}, "boxoffice", 409, False),
        "listEvents": Route("GET", "/v1/boxoffice/events", None, "boxoffice", 200, False),
        "createEvent": Route("POST", "/v1/boxoffice/events", {"title": "x", "currency": "EUR"}, "boxoffice", 201, False),
        "readEvent": Route("GET", "/v1/boxoffice/events/4711", None, "boxoffice", 404, False),
        "updateEvent": Route("PUT", "/v1/boxoffice/events/4711", {"title": "x"}, "boxoffice", 404, False),
        "patchEvent": Route("PATCH", "/v1/boxoffice/events/4711", {"title": "x"}, "boxoffice", 404, False),
        "cancelEvent": Route("DELETE", "/v1/boxoffice/events/4711", None, "boxoffice", 404, False),
        "listShows": Route("GET", "/v1/boxoffice/events/4711/shows", None, "boxoffice", 404, False),
        "createShow": Route("POST", "/v1/boxoffice/events/4711/shows", {"time_zone": "UTC", "starts_local": "2035-01-01"}, "boxoffice", 404, False),
        "readShow": Route("GET", "/v1/boxoffice/shows/4711", None, "boxoffice", 404, False),
        "moveShow": Route("PUT", "/v1/boxoffice/shows/4711", {"starts_local": "2035-01-01"}, "boxoffice", 404, False),
        "patchShow": Route("PATCH", "/v1/boxoffice/shows/4711", {"starts_local": "2035-01-01"}, "boxoffice", 404, False),
        "cancelShow": Route("DELETE", "/v1/boxoffice/shows/4711", None, "boxoffice", 404, False),
        "readAvailability": Route("GET", "/v1/boxoffice/shows/4711/availability", None, "boxoffice", 404, False),
        "listZones": Route("GET", "/v1/boxoffice/shows/4711/zones", None, "boxoffice", 404, False),
        "createZone": Route("POST", "/v1/boxoffice/shows/4711/zones", {"name": "x", "capacity": 1}, "boxoffice", 404, False),
        "readZone": Route("GET", "/v1/boxoffice/zones/4711", None, "boxoffice", 404, False),
        "setCapacity": Route("PUT", "/v1/boxoffice/zones/4711", {"capacity": 1}, "boxoffice", 404, False),
        "patchZone": Route("PATCH", "/v1/boxoffice/zones/4711", {"name": "x"}, "boxoffice", 404, False),
        "listSeats": Route("GET", "/v1/boxoffice/zones/4711/seats", None, "boxoffice", 404, False),
        "patchPrice": Route("PATCH", "/v1/boxoffice/prices/4711", {"name": "x"}, "boxoffice", 404, False),
        "withdrawPrice": Route("DELETE", "/v1/boxoffice/prices/4711", None, "boxoffice", 404, False),
        "createPrice": Route("POST", "/v1/boxoffice/zones/4711/prices", {"name": "x", "unit_price": 1}, "boxoffice", 404, False),
        "createRow": Route("POST", "/v1/boxoffice/zones/4711/rows", {"row": "A", "rank": 1, "first": 1, "last": 2}, "boxoffice", 404, False),
        "serverSentEvents": Route("HEAD", "/v1/sse", None, "subscribe", 200, False),
        "webSocket": Route("GET", "/v1/ws", None, None, 426, True),
        "whoami": Route("GET", "/v1/whoami", None, None, 200, True),
        "health": Route("GET", "/healthz", None, None, 200, True),
        "openapi": Route("GET", "/openapi.json", None, None, 200, True),
        "livePage": Route("GET", "/", None, None, 200, True),
        "livePageFile": Route("GET", "/live/live.css", None, None, 200, True),
        "docs": Route("GET", "/docs", None, None, 200, True),
        "docsFile": Route("GET", "/docs/docs.css", None, None, 200, True),
    }


class Auth:
    def __init__(self):
        base = lib.work_directory()
        self.cluster = lib.Cluster(base).initdb().start().create()
        self.daemon = usherd.Usherd(self.cluster, access_log=os.path.join(base, "usherd", "access"),
                                    api_key_cache_seconds="1", operator_tenant="acme")
        self.make_keys()
        self.daemon.start()
        for tenant in TENANTS:
            self.cluster.rows("SELECT usher.create_tenant(%s)", (tenant,))
            self.sql(tenant, "SELECT usher.subscribe('idle', 'nothing.**')")
            self.sql(tenant, "SELECT usher.subscribe('orders', 'order.**')")
            self.sql(tenant, "SELECT boxoffice.create_category('there', 'x')")

    def sql(self, tenant, sql, arguments=()):
        with self.cluster.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT set_config('usher.tenant', %s, false)", (tenant,))
            cursor.execute(sql, arguments)
            return cursor.fetchall()

    def program(self, *arguments):
        done = subprocess.run([usherd.program(), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                              timeout=30)
        ensure(done.returncode == 0, "usherd %s: %s" % (" ".join(arguments), done.stderr.strip()))
        return done.stdout.strip()

    def make_keys(self):
        """A directory of keys: the harness' secret, and one of each other algorithm, made and used by usherd itself."""
        directory = os.path.join(self.daemon.dir, "keys.d")
        os.mkdir(directory)
        os.rename(self.daemon.jwks, os.path.join(directory, "test.json"))
        for kid, algorithm in (("rs", "RS256"), ("es", "ES256"), ("ps", "PS256")):
            self.program("keygen", "--alg", algorithm, "--kid", kid, os.path.join(directory, kid + ".json"))
        for name in os.listdir(directory):
            os.chmod(os.path.join(directory, name), 0o600)
        self.public = {key["kid"]: key for key in json.loads(self.program("keygen", "--public", directory))["keys"]}
        ensure(sorted(self.public) == ["es", "ps", "rs"], "keygen --public shows %s" % sorted(self.public))
        self.daemon.settings["jwt_keys"] = directory
        self.daemon.configure()

    def issued(self, kid, tenant="acme", scopes=("*",), **more):
        """A token by `usherd token`."""
        arguments = [item for scope in scopes for item in ("--scope", scope)]
        arguments += [item for name, value in more.items() for item in ("--" + name, value)]
        return self.program("token", "-c", self.daemon.configuration, "--kid", kid, "--tenant", tenant, *arguments)

    # the table

    def credentials(self):
        """(what, header or None, status; None: what the route says). The status of routes for anybody is 401, too, when
        a credential is given and wrong."""
        now, key = int(time.time()), self.daemon.key
        claims = {"iss": tokens.ISSUER, "aud": tokens.AUDIENCE, "sub": "u", "tenant": "acme", "scope": "*", "iat": now, "exp": now + 900}

        def bearer(text):
            return "Bearer " + text

        def forged(header, secret=key, **changed):
            return bearer(tokens.signed(header, dict(claims, **changed), secret))
        header = {"alg": "HS256", "kid": tokens.KEY_ID}
        good = self.daemon.token(tenant="acme", scopes="*")
        head, payload, signature = good.split(".")
        table = [("a good token", bearer(good), None)]
        table += [("a good token of " + kid, bearer(self.issued(kid)), None) for kid in sorted(self.public)]
        table += [
            ("a good API key", bearer(self.keys["acme"]), None),
            ("a good API key by its own scheme", "ApiKey " + self.keys["acme"], None),
            ("expired", forged(header, exp=now - 60), 401),
            ("without an end", forged(header, exp=None), 401),
            ("not valid yet", forged(header, nbf=now + 600), 401),
            ("issued in the future", forged(header, iat=now + 600), 401),
            ("wrong audience", forged(header, aud="another"), 401),
            ("no audience", bearer(self.daemon.token(tenant="acme", scopes="*", aud=None)), 401),
            ("wrong issuer", forged(header, iss="another"), 401),
            ("no tenant", bearer(self.daemon.token(tenant=None, scopes="*")), 401),
            ("a tenant that cannot be", forged(header, tenant="acme'--"), 401),
            ("no user", bearer(self.daemon.token(tenant="acme", scopes="*", sub=None)), 401),
            ("alg none", bearer(tokens.signed({"alg": "none", "kid": tokens.KEY_ID}, claims, key).rpartition(".")[0] + "."), 401),
            ("alg none, signed", forged({"alg": "none", "kid": tokens.KEY_ID}), 401),
            ("another's secret", forged(header, b"x" * 32), 401),
            ("unknown kid", forged({"alg": "HS256", "kid": "nobody"}), 401),
            ("no kid", forged({"alg": "HS256"}), 401),
            ("crit", forged(dict(header, crit=["exp"])), 401),
            ("jku", forged(dict(header, jku="http://127.0.0.1/keys")), 401),
            ("truncated", bearer(good[:-1]), 401),
            ("without its signature", bearer(head + "." + payload + "."), 401),
            ("another's claims", bearer(head + "." + tokens.base64url(json.dumps(claims).encode()) + "." + signature), 401),
            ("too long", bearer("A" * 9000), 401),
            ("revoked session", bearer(self.revoked["session"]), 401),
            ("revoked user", bearer(self.revoked["user"]), 401),
            ("revoked tenant", bearer(self.revoked["tenant"]), 401),
            ("dropped API key", bearer(self.revoked["key"]), 401),
            ("an API key that there is not", "ApiKey usk_" + "A" * 43, 401),
            ("Basic", "Basic dTpw", 401),
            ("an empty header", "", 401),
        ]
        for kid, public in sorted(self.public.items()):
            for what, secret in (("its JWK", json.dumps(public)), ("its number", public.get("n") or public.get("x"))):
                table.append(("HS256 by the public key %s (%s)" % (kid, what), forged({"alg": "HS256", "kid": kid}, secret.encode()), 401))
            table.append(("%s said to be RS256 and signed by HMAC" % kid, forged({"alg": "RS256", "kid": kid}), 401))
        return table

    def ask(self, client, route, header):
        headers = {} if header is None else {"Authorization": header}
        return client.request(route.method, route.path, route.body, headers)

    def prepare(self):
        self.keys = {tenant: self.sql(tenant, "SELECT usher.create_api_key('importer', '{*}')")[0][0] for tenant in TENANTS}
        dropped = self.sql("acme", "SELECT usher.create_api_key('dropped', '{*}')")[0][0]
        self.cluster.rows("SELECT usher.create_tenant('closed')")
        self.revoked = {"key": dropped,
                        "session": self.daemon.token(tenant="acme", user="s", scopes="*", sid="over"),
                        "user": self.daemon.token(tenant="acme", user="fired", scopes="*"),
                        "tenant": self.daemon.token(tenant="closed", scopes="*")}
        client = self.daemon.client(token=False)
        for what, token in self.revoked.items():        # all of them are good, and known, before
            reply = client.get("/v1/whoami", Authorization="Bearer " + token)
            ensure(reply.status == 200, "the %s that is to be revoked: %r" % (what, reply))
        self.sql("acme", "SELECT usher.drop_api_key('dropped')")
        self.sql("acme", "SELECT usher.revoke('session', 'over')")
        self.sql("acme", "SELECT usher.revoke('user', 'fired')")
        self.sql("closed", "SELECT usher.revoke('tenant', 'closed')")
        for what, token in self.revoked.items():
            lib.wait_until(lambda token=token: client.get("/v1/whoami", Authorization="Bearer " + token).status == 401, 10,
                           "usherd to know that the %s is revoked" % what)

    def covers(self):
        document = self.daemon.client().get("/openapi.json").json()
        there = {operation["operationId"] for methods in document["paths"].values() for method, operation in methods.items()
                 if method in ("get", "post", "put", "patch", "delete")}
        ensure(there == set(routes()), "routes without a line here, or lines without a route: %s" % sorted(there ^ set(routes())))

    def table(self):
        wrong, count = [], 0
        credentials = self.credentials()
        with self.daemon.client(token=False) as client:
            for name, route in routes().items():
                cases = credentials + [("nobody", None, route.good if route.anonymous else 401)]
                for what, header, status in cases:
                    reply = self.ask(client, route, header)
                    count += 1
                    if reply.status != (status or route.good):
                        wrong.append("%s, %s: %d and not %d: %s" % (name, what, reply.status, status or route.good, reply.body[:160]))
                    if reply.status == 401 and ("www-authenticate" not in reply.headers or
                                                reply.headers.get("content-type") != "application/problem+json"):
                        wrong.append("%s, %s: a 401 without its headers: %s" % (name, what, reply.headers))
        lib.note("%d requests: %d routes, %d credentials" % (count, len(routes()), len(credentials) + 1))
        lib.ensure_empty(wrong, "the table")

    def scopes(self):
        """Each route with every scope but its own, with its own alone, and with one for another object."""
        every = {"log:read", "log:append", "subscribe", "sinks", "subscriptions", "dead-letters", "admin", "boxoffice"}
        partial = {"log:append": ("order", "stream with blanks", "mail"), "log:read": ("order", "stream with blanks"),
                   "subscriptions": ("idle",), "boxoffice": ("customer", "organiser", "box-office", "read")}
        wrong = []
        with self.daemon.client(token=False) as client:
            def status(route, *scopes):
                return self.ask(client, route, "Bearer " + self.daemon.token(tenant="acme", scopes=" ".join(scopes)))
            for name, route in routes().items():
                if route.scope is None:
                    continue
                for what, expected, scopes in (
                        ("no scope", 403, ()), ("all others", 403, sorted(every - {route.scope})), ("its own", route.good, (route.scope,)),
                        ("every", route.good, ("*",)), ("one that begins alike", 403, (route.scope + "s", route.scope[:-1])),
                        ("its own for nothing that there is", 403, (route.scope + ":nothing",)),
                        ("its own for every object", route.good, (route.scope + ":*",))):
                    if name == "listSubscriptions" and what == "its own for nothing that there is":
                        expected = 200      # what the scopes allow: nothing
                    reply = status(route, *scopes)
                    if reply.status != expected:
                        wrong.append("%s, %s: %d and not %d: %s" % (name, what, reply.status, expected, reply.body[:160]))
                if route.scope in partial and name not in ("readLog", "listSubscriptions"):
                    objects = [item.replace(" ", "*") for item in partial[route.scope]]
                    reply = status(route, *["%s:%s" % (route.scope, item) for item in objects])
                    if reply.status != route.good:
                        wrong.append("%s, its own for its object: %d and not %d: %s" % (name, reply.status, route.good, reply.body[:160]))
        lib.ensure_empty(wrong, "scopes")

    def later(self):
        """A token that is issued after a revocation is good: the revocation ends what was, not who is."""
        lib.wait_until(lambda: time.time() % 1 < 0.5, 2, "a second to begin")
        time.sleep(2)
        for user, claims in (("s", {"sid": "over"}), ("fired", {})):
            reply = self.daemon.client(tenant="acme", user=user, scopes="*", **claims).get("/v1/whoami")
            ensure(reply.status == 200, "a newer token of %s: %r" % (user, reply))
        reply = self.daemon.client(tenant="beta", user="fired", scopes="*", iat=int(time.time()) - 60).get("/v1/whoami")
        ensure(reply.status == 200, "another tenant's user of the same name: %r" % reply)

    def again(self):
        """Revocations are read anew by a gateway that starts."""
        self.daemon.stop()
        self.daemon.start()
        with self.daemon.client(token=False) as client:
            for what, token in self.revoked.items():
                reply = client.get("/v1/whoami", Authorization="Bearer " + token)
                ensure(reply.status == 401, "the revoked %s after a restart: %r" % (what, reply))

    def keys_again(self):
        """SIGHUP: a key that is gone ends what it had proved; a broken file changes nothing."""
        token = self.issued("es")
        with self.daemon.client(token=False) as client:
            def status():
                return client.get("/v1/whoami", Authorization="Bearer " + token).status
            ensure(status() == 200, "a token of es")
            path = os.path.join(self.daemon.settings["jwt_keys"], "es.json")
            with open(path) as file:
                text = file.read()
            for broken, expected in (("{", 200), (json.dumps({"keys": [dict(self.public["rs"], kid="es")]}), 401), (text, 200)):
                with open(path, "w") as file:
                    file.write(broken)
                said = self.cluster_said()
                self.daemon.process.send_signal(1)
                lib.wait_until(lambda said=said: self.cluster_said() > said, 10, "usherd to read its configuration again")
                ensure(status() == expected, "with %.20s the token is answered with %d" % (broken, status()))

    def cluster_said(self):
        """How many lines on reloads usherd's log has."""
        with open(self.daemon.log) as file:
            return sum("reload" in line or "read again" in line for line in file)

    # isolation

    def write_marks(self):
        for tenant in TENANTS:
            with self.daemon.client(tenant=tenant, scopes="*", user="u-" + mark(tenant)) as client:
                for n in range(5):
                    for stream in ("order-1", "order-" + mark(tenant), mark(tenant) + "-1"):
                        reply = client.append(stream, data={"secret": mark(tenant), "n": n}, Correlation_Id=mark(tenant))
                        ensure(reply.status == 201, "append: %r" % reply)
                ensure(client.post("/v1/events", {"topic": "mail", "key": mark(tenant), "type": "mail.sent",
                                                  "data": {"secret": mark(tenant)}}).status == 201, "publish")
                ensure(client.post("/v1/boxoffice/events", {"title": mark(tenant), "currency": "EUR"}).status == 201, "event")
            self.sql(tenant, "SELECT usher.subscribe(%s, 'order.**')", ("sub-" + mark(tenant),))

    def foreign_bytes(self, tenant, reply):
        text = reply.body + b"".join(str(pair).encode() for pair in reply.pairs)
        return [other for other in TENANTS if other != tenant and mark(other).encode() in text]

    def isolation(self):
        wrong, own = [], 0
        for tenant in TENANTS:
            others = [other for other in TENANTS if other != tenant]
            paths = [route for name, route in routes().items()]
            for other in others:
                for name in ("order-1", "order-" + mark(other), mark(other) + "-1"):
                    paths += [Route("GET", "/v1/streams/%s/events" % name, None, None, 200, False),
                              Route("GET", "/v1/streams/%s/events?direction=backward" % name, None, None, 200, False)]
                paths += [Route("GET", "/v1/categories/%s/events" % urllib.parse.quote(mark(other).partition("-")[0]), None, None, 200, False),
                          Route("POST", "/v1/subscriptions/sub-%s/poll" % mark(other), {"member": "m"}, None, 404, False),
                          Route("POST", "/v1/subscriptions/sub-%s/ack" % mark(other), {"lease": 1}, None, 404, False),
                          Route("POST", "/v1/dead-letters/replay", {"subscription": "sub-" + mark(other)}, None, 404, False)]
            paths += [Route("GET", "/v1/log?max=1000", None, None, 200, False), Route("GET", "/v1/log?types=order.**", None, None, 200, False),
                      Route("POST", "/v1/subscriptions/orders/poll", {"member": "m"}, None, 200, False)]
            with self.daemon.client(tenant=tenant, scopes="*", user="reader") as client:
                for route in paths:
                    reply = client.request(route.method, route.path, route.body)
                    own += mark(tenant).encode() in reply.body
                    # what was asked for may be named in the answer
                    if self.foreign_bytes(tenant, reply) and not any(mark(other) in route.path + str(route.body) for other in others):
                        wrong.append("%s sees %s at %s %s" % (tenant, self.foreign_bytes(tenant, reply), route.method, route.path))
                    if any(mark(other) in route.path for other in others) and b"secret" in reply.body:
                        wrong.append("%s reads %s" % (tenant, route.path))
                    if reply.status >= 500:
                        wrong.append("%s: %r" % (route.path, reply))
        ensure(own >= 3 * 5, "hardly a reply has its own tenant's mark: %d" % own)
        lib.ensure_empty(wrong, "isolation")

    def batch(self):
        """Three tenants append to a stream of the same name, with the same idempotency keys, at the same time."""
        requests, wrong = 60, []

        def writer(tenant, number):
            def run():
                with self.daemon.client(tenant=tenant, scopes="*", user="%s-%d" % (tenant, number)) as client:
                    for n in range(requests):
                        reply = client.append("shared-%d" % number, data={"tenant": tenant, "n": n}, Idempotency_Key="same-%d-%d" % (number, n))
                        if reply.status != 201 or "idempotency-replayed" in reply.headers or self.foreign_bytes(tenant, reply):
                            wrong.append("%s: %r %s" % (tenant, reply, reply.headers))
            return run
        usherd.parallel([writer(tenant, number) for tenant in TENANTS for number in range(6)], 120)
        lib.ensure_empty(wrong[:5], "replies in the batch")
        rows = self.cluster.rows("SELECT t.slug, l.stream, l.version, l.data ->> 'tenant', l.data ->> 'n', l.metadata -> 'actor' ->> 'id',"
                                 " l.metadata ->> 'user_id', l.xmin::text FROM usher.log l JOIN usher.tenants t USING (tenant_id)"
                                 " WHERE l.stream LIKE 'shared-%' ORDER BY l.position")
        ensure(len(rows) == len(TENANTS) * 6 * requests, "%d events" % len(rows))
        versions, commits = collections.Counter(), collections.defaultdict(set)
        for slug, stream, version, tenant, n, actor, user, commit in rows:
            versions[slug, stream] += 1
            commits[commit].add(slug)
            ensure(tenant == slug and version == versions[slug, stream] and int(n) == version - 1,
                   "%s has version %d of %s as %s" % (slug, version, stream, tenant))
            expected = "%s-%s" % (slug, stream.partition("-")[2])
            ensure(expected in (actor, user), "%s's event was written by %s, %s" % (expected, actor, user))
        mixed = sum(len(tenants) == len(TENANTS) for tenants in commits.values())
        lib.note("%d commits, %d with all three tenants" % (len(commits), mixed))
        ensure(mixed > 0, "no commit had events of three tenants")

    # SQL as data

    def injected(self, client, text):
        """Each parameter once; what comes back is what was given."""
        quoted = urllib.parse.quote(text, safe="")
        name = "inject " + text
        wrong = []

        def expect(what, reply, *statuses):
            if reply.status not in statuses:
                wrong.append("%s with %s: %r" % (what, text, reply))
            return reply
        expect("append", client.post("/v1/streams/events?stream=" + urllib.parse.quote(name, safe=""),
                                     {"type": text, "data": {text: text}, "metadata": {text: text}}), 201)
        reply = expect("read", client.get("/v1/streams/events?stream=" + urllib.parse.quote(name, safe="")), 200)
        item = reply.json()["items"][-1] if reply.status == 200 and reply.json()["items"] else {}
        if (item.get("stream"), item.get("type"), (item.get("data") or {}).get(text)) != (name, text, text):
            wrong.append("%s came back as %s" % (text, str(item)[:200]))
        expect("path", client.get("/v1/streams/%s/events" % quoted), 200, 400, 404)
        expect("publish", client.post("/v1/events", {"topic": text, "key": text, "type": text, "data": {}}), 201)
        for path in ("/v1/streams/x-1/events?from=%s", "/v1/streams/x-1/events?max=%s", "/v1/streams/x-1/events?direction=%s",
                     "/v1/log?after=%s", "/v1/log?wait=%s", "/v1/categories/order/events?after=%s", "/v1/dead-letters?after=%s"):
            expect(path, client.get(path % quoted), 400)
        for path in ("/v1/log?types=%s", "/v1/categories/events?category=%s", "/v1/subscriptions?after=%s", "/v1/sinks?after=%s",
                     "/v1/dead-letters?subscription=%s", "/v1/dead-letters?sink=%s"):
            expect(path, client.get(path % quoted), 200, 400, 404)
        for action, body in (("poll", {"member": text}), ("ack", {"lease": 1}), ("nack", {"lease": 1, "position": 1, "error": text}),
                             ("extend", {"lease": 1})):
            expect(action, client.post("/v1/subscriptions/%s?name=%s" % (action, quoted), body), 404, 400)
        expect("member", client.post("/v1/subscriptions/idle/poll", {"member": text}), 200, 400)
        expect("replay", client.post("/v1/dead-letters/replay", {"subscription": text}), 404, 400)
        self.injected_box(client, text, expect)
        expect("filter", client.post("/v1/dead-letters/replay", {"subscription": "idle", "filter": {"type": text, text: text}}), 202, 400)
        plain = text.encode("ascii", "replace").decode()
        for header in ("Idempotency-Key", "Correlation-Id", "Causation-Id", "traceparent", "Expected-Version", "Usher-After", "X-Forwarded-For"):
            expect(header, client.request("POST", "/v1/streams/headers-1/events", EVENT, {header: plain}), 201, 400)
        self.injected_identity(text, expect)
        return wrong

    def injected_box(self, client, text, expect):
        quoted = urllib.parse.quote(text, safe="")
        reply = expect("event", client.post("/v1/boxoffice/events", {"title": text, "currency": "EUR", "venue": text, "organiser": text}), 201)
        if reply.status == 201 and (reply.json()["title"], reply.json()["venue"]) != (text, text):
            expect("event that came back as %s" % reply.json(), reply)
        expect("currency", client.post("/v1/boxoffice/events", {"title": "x", "currency": text}), 400, 409)
        expect("time", client.post("/v1/boxoffice/events", {"title": "x", "currency": "EUR", "sale_from": text}), 400)
        expect("seats", client.post("/v1/boxoffice/bookings/reserve", {"show": 1, "zone": 1, "quantity": 1, "seats": [text]}), 404)
        expect("for whom", client.post("/v1/boxoffice/bookings/reserve", {"show": 1, "zone": 1, "quantity": 1, "on_behalf_of": text}), 404)
        for name in ("status", "title", "organiser", "venue"):
            expect(name, client.get("/v1/boxoffice/events?%s=%s" % (name, quoted)), 200)
        for path in ("events?category=%s", "events?after=%s", "bookings?event=%s", "bookings?after=%s"):
            expect(path, client.get("/v1/boxoffice/" + path % quoted), 400)
        for path in ("events/%s", "shows/%s", "bookings/%s", "bookings?user=%s", "bookings?status=%s"):
            expect(path, client.get("/v1/boxoffice/" + path % quoted), 200, 400, 404)

    def injected_identity(self, text, expect):
        with self.daemon.client(tenant="acme", scopes="*", user=text, sid=text, roles=[text.replace(" ", "")]) as client:
            reply = expect("user", client.append("who-1"), 201)
            if reply.status == 201:
                actor = self.sql("acme", "SELECT metadata FROM usher.read_stream('who-1') ORDER BY version DESC LIMIT 1")[0][0]
                if text not in ((actor.get("actor") or {}).get("id"), actor.get("user_id")):
                    expect("actor %s" % actor, reply)
        with self.daemon.client(tenant=text, scopes="*") as client:
            expect("tenant", client.append("x-1"), 401)
        with self.daemon.client(token=False) as client:
            plain = text.encode("ascii", "replace").decode()
            expect("key", client.get("/v1/whoami", Authorization="ApiKey usk_" + plain), 401)
            expect("kid", client.get("/v1/whoami", Authorization="Bearer " + tokens.signed({"alg": "HS256", "kid": text}, {}, b"x")), 401)

    def injections(self):
        before = self.cluster.value("SELECT (SELECT count(*) FROM usher.tenants) + (SELECT count(*) FROM usher.api_keys)"
                                    " + (SELECT count(*) FROM pg_catalog.pg_class)")
        errors = self.cluster.log_count("syntax error")
        wrong = []
        with self.daemon.client(tenant="acme", scopes="*") as client:
            for text in INJECTIONS:
                wrong += self.injected(client, text)
        lib.ensure_empty(wrong, "SQL as data")
        after = self.cluster.value("SELECT (SELECT count(*) FROM usher.tenants) + (SELECT count(*) FROM usher.api_keys)"
                                   " + (SELECT count(*) FROM pg_catalog.pg_class)")
        ensure(before == after, "tenants, keys and relations were %d and are %d" % (before, after))
        ensure(self.cluster.log_count("syntax error") == errors, "the server has seen a syntax error")

    def operators(self):
        """What belongs to no tenant is for the operators' tenant; a tenant's own keys can have any scope and show nothing of it."""
        key = self.sql("beta", "SELECT usher.create_api_key('curious', '{sinks}')")[0][0]
        for what, headers, expected in (("the operators' user", self.daemon.token(tenant="acme", scopes="sinks"), 200),
                                        ("another tenant's", self.daemon.token(tenant="beta", scopes="sinks"), 403),
                                        ("another tenant's, of all scopes", self.daemon.token(tenant="beta", scopes="*"), 403),
                                        ("another tenant's key", key, 403)):
            with self.daemon.client(token=False) as client:
                reply = client.get("/v1/sinks", Authorization="Bearer " + headers)
                ensure(reply.status == expected, "%s: %r" % (what, reply))

    def rates(self):
        """Wrong credentials count for the address that brings them, whatever the route; a key has the class that it was made with."""
        slow = self.sql("beta", "SELECT usher.create_api_key('slow', '{log:read}', NULL, 'slow')")[0][0]
        daemon = usherd.Usherd(self.cluster, name="limited", rate_limits="general=60/6 key=60000/1000 slow=60/3").start()
        try:
            with daemon.client(token=False) as client:
                for number, (path, expected) in enumerate([("/healthz", 401)] * 3 + [("/v1/whoami", 401)] * 3 + [("/healthz", 429)] * 3):
                    reply = client.get(path, Authorization="Bearer usk_%043d" % number)
                    ensure(reply.status == expected, "wrong key %d: %r" % (number, reply))
                ensure(int(reply.headers.get("retry-after", 0)) >= 1, "a 429 without Retry-After: %s" % reply.headers)
                ensure(client.get("/healthz").status == 200, "who brings no credential is not hindered")
                statuses = [client.get("/v1/log", Authorization="ApiKey " + slow).status for _ in range(5)]
                ensure(statuses == [200] * 3 + [429] * 2, "a key of the class slow: %s" % statuses)
                statuses = [client.get("/v1/log", Authorization="ApiKey " + self.keys["beta"]).status for _ in range(20)]
                ensure(statuses == [200] * 20, "a key of the general class: %s" % statuses)
            daemon.stop()
        finally:
            daemon.destroy()

    def secrets(self):
        """No credential is in a log, of usherd or of the server."""
        wrong = []
        for path in (self.daemon.log, self.daemon.settings["access_log"], os.path.join(self.daemon.dir, "stderr")):
            with open(path, errors="replace") as file:
                text = file.read()
            wrong += ["%s in %s" % (what, path) for what in ("eyJ", "usk_") if what in text]
        for tenant in TENANTS:
            if self.keys[tenant] in self.cluster.log_text():
                wrong.append("the key of %s is in the server's log" % tenant)
        lib.ensure_empty(wrong, "secrets")
        self.daemon.stop()
        self.cluster.check()


def main():
    auth = Auth()
    lib.main([("prepare keys and revocations", auth.prepare), ("every route has its line", auth.covers),
              ("every route with every credential", auth.table), ("every route with every scope", auth.scopes),
              ("newer tokens are good", auth.later), ("marks of three tenants", auth.write_marks),
              ("no byte of another tenant", auth.isolation), ("three tenants in one batch", auth.batch),
              ("SQL as data", auth.injections), ("what belongs to no tenant", auth.operators), ("keys are read again", auth.keys_again),
              ("revocations are read again", auth.again), ("rates of credentials", auth.rates), ("no secret in a log", auth.secrets)], 200)


if __name__ == "__main__":
    main()
