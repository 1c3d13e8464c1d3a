#!/usr/bin/python3
"""test/integration/gateway_intake.py: what usherd decides by the head of a request, and what it holds for whom.

Heads are sent without their bodies: a refusal must come before a byte of the body was sent, and the connection must stay in
step behind it. Clients that end their side get the replies to what they sent. All that clients make usherd hold is bounded.
"""
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))

import lib      # noqa: E402
import tokens   # noqa: E402
import usherd   # noqa: E402
from gateway_framing import Replies   # noqa: E402
from lib import ensure      # noqa: E402

EVENT = b'{"type":"t.e","data":{}}'
MEGABYTE = 1 << 20
SECONDS = 10


def head(token, length, method="POST", path="/v1/streams/a-1/events", kind="application/json", more=""):
    framing = "Transfer-Encoding: chunked" if length is None else "Content-Length: %d" % length
    return ("%s %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Type: %s\r\n%s\r\n%s\r\n"
            % (method, path, "Authorization: Bearer %s\r\n" % token if token else "", kind, framing, more)).encode()


class Intake:
    def __init__(self):
        self.cluster = lib.Cluster(lib.work_directory()).initdb().start().create()
        self.daemon = usherd.Usherd(self.cluster, rate_limits=usherd.NO_LIMITS + " credentials=600/100", body_timeout_seconds=5,
                                    header_timeout_seconds=5).start()
        self.token = self.daemon.token()

    def connect(self, daemon=None):
        connection = socket.create_connection(("127.0.0.1", (daemon or self.daemon).port), timeout=SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, Replies(connection)

    def metric(self, name, daemon=None):
        for line in (daemon or self.daemon).admin().get("/metrics").body.decode().splitlines():
            if line.split(" ")[0] == name:
                return float(line.split(" ")[1])
        raise lib.Failure("there is no " + name)

    # by the head

    def refused_heads(self):
        """(what, token, other parts of the head, status) of requests that are refused by their heads."""
        reader = self.daemon.token(scopes="log:read")
        return (("no token", None, {}, 401), ("a wrong token", self.token[:-2] + "AA", {}, 401), ("a missing scope", reader, {}, 403),
                ("a missing scope of a transaction", reader, {"path": "/v1/transactions"}, 403),
                ("a missing scope of a subscription", reader, {"path": "/v1/subscriptions/s/ack"}, 403),
                ("a missing scope of a replay", reader, {"path": "/v1/dead-letters/replay"}, 403),
                ("another type", self.token, {"kind": "text/plain"}, 415), ("no such route", self.token, {"path": "/v1/nowhere"}, 404),
                ("no such method", self.token, {"method": "DELETE"}, 405),
                ("an unknown key", "usk_%043d" % 7, {}, 401))

    def by_head(self):
        """The refusal comes before the body, which is dropped; the next request is answered."""
        for what, token, parts, status in self.refused_heads():
            for length in (len(EVENT), 900000, None):
                connection, replies = self.connect()
                with connection:
                    connection.sendall(head(token, length, **parts))
                    reply = replies.next()
                    ensure(reply and reply[0] == status, "%s: %s instead of %d" % (what, reply, status))
                    ensure("connection" not in reply[1], "%s: the connection is closed: %s" % (what, reply[1]))
                    body = EVENT if length == len(EVENT) else EVENT + b" " * (900000 - len(EVENT))
                    connection.sendall(body if length else b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
                    connection.sendall(head(self.token, len(EVENT)) + EVENT)
                    reply = replies.next()
                    ensure(reply and reply[0] == 201, "%s: the request behind it: %s" % (what, reply))
        ensure(self.metric("usherd_buffered_bytes") < 65536, "bytes are held for nobody")

    def expectation(self):
        """100 Continue is for who was let in; who was not is not asked for his body, and the connection ends."""
        for what, token, parts, status in self.refused_heads():
            connection, replies = self.connect()
            with connection:
                connection.sendall(head(token, len(EVENT), more="Expect: 100-continue\r\n", **parts))
                reply = replies.next()
                ensure(reply and reply[0] == status, "%s: %s instead of %d" % (what, reply, status))
                ensure(reply[1].get("connection") == "close" and replies.next() is None, "%s: it stays open: %s" % (what, reply))
        connection, replies = self.connect()
        with connection:
            connection.sendall(head(self.token, len(EVENT), more="Expect: 100-continue\r\n"))
            ensure(replies.next()[0] == 100, "no 100 Continue")
            connection.sendall(EVENT)
            ensure(replies.next()[0] == 201, "no append behind 100 Continue")

    def dropped(self):
        """The body of a refused request is bounded in its framing and its time, as others are."""
        for body in (b"zz\r\n", b"100001\r\n" + b" " * 1000):
            connection, replies = self.connect()
            with connection:
                connection.sendall(head(None, None))
                ensure(replies.next()[0] == 401, "no refusal")
                connection.sendall(body)
                ensure(replies.next() is None, "the connection stays open behind %r" % body[:8])
        connection, replies = self.connect()
        with connection:
            connection.sendall(head(None, 1000))
            ensure(replies.next()[0] == 401, "no refusal")
            begun = time.monotonic()
            ensure(replies.next() is None and time.monotonic() - begun < 9, "a body that never comes")

    def rates(self):
        """Who asks too often is told so before he sends his body; and wrong credentials before they are looked into."""
        limited = usherd.Usherd(self.cluster, name="limited", rate_limits="general=60/3 credentials=60/4").start()
        try:
            token = limited.token()
            statuses = []
            for _ in range(5):
                connection, replies = self.connect(limited)
                with connection:
                    connection.sendall(head(token, len(EVENT)))
                    if len(statuses) < 3:
                        connection.sendall(EVENT)
                    reply = replies.next()
                    statuses.append(reply[0])
            ensure(statuses == [201] * 3 + [429] * 2 and int(reply[1]["retry-after"]) >= 1, "%s %s" % (statuses, reply))
            limited.configure(rate_limits=usherd.NO_LIMITS + " credentials=60/4")
            limited.stop()
            limited.start()
            with limited.client(token=False) as client:
                def ask(token):
                    return client.get("/v1/whoami", Authorization="Bearer " + token)
                wrong = [tokens.token(b"x" * 32, user="u%d" % i) for i in range(6)]
                ensure(ask(token).status == 200, "a good token")
                ensure([ask(wrong[0]).status for _ in range(9)] == [401] * 9, "one wrong token counts once")
                replies = [ask(text) for text in wrong[1:]]
                ensure([reply.status for reply in replies] == [401] * 3 + [429] * 2, "wrong tokens: %s" % replies)
                ensure(int(replies[-1].headers["retry-after"]) >= 1 and replies[-1].headers["x-ratelimit-limit"] == "60",
                       str(replies[-1].headers))
                ensure(ask(token).status == 200, "a token that is known")
                ensure(ask(limited.token(user="new")).status == 429, "a token that is not known")
                time.sleep(int(replies[-1].headers["retry-after"]))
                ensure(ask(limited.token(user="new")).status == 200, "it said when to come again")
        finally:
            limited.destroy()

    # ends

    def half_closed(self):
        """Who has sent all he has to say gets the replies to it."""
        append = head(self.token, len(EVENT), path="/v1/streams/half-1/events") + EVENT
        get = ("GET /v1/streams/half-1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n" % self.token).encode()
        for what, sent, expected in (("one", append, [201]), ("several", append * 3 + get, [201, 201, 201, 200]),
                                     ("many", (append + get) * 50, [201, 200] * 50)):
            connection, replies = self.connect()
            with connection:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                got = []
                while True:
                    reply = replies.next()
                    if reply is None:
                        break
                    got.append(reply[0])
                ensure(got == expected, "%s: %s" % (what, got))
        connection, replies = self.connect()
        with connection:
            connection.sendall(b"GET /v1/log?after=1000000&types=never&wait=50 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
                               + self.token.encode() + b"\r\n\r\n")
            lib.wait_until(lambda: self.metric("usherd_requests_in_flight") > 1, SECONDS, "the request to wait")
            connection.shutdown(socket.SHUT_WR)
            lib.wait_until(lambda: self.metric("usherd_requests_in_flight") <= 1, SECONDS, "a request that waits to end with its client")

    # what is held

    def budget(self):
        """Bodies that do not come to their end are held up to the limit; then others are told to come later, and it ends."""
        small = usherd.Usherd(self.cluster, name="small", rate_limits=usherd.NO_LIMITS, buffer_bytes_max="2MB",
                              body_timeout_seconds=60, body_rate_min=0).start()
        token = small.token()
        held = []
        try:
            part = b" " * 500000
            for _ in range(8):
                connection, replies = self.connect(small)
                held.append(connection)
                connection.sendall(head(token, 600000))
                connection.sendall(part)
            lib.wait_until(lambda: self.metric("usherd_buffered_bytes", small) > MEGABYTE, SECONDS, "bytes to be held")
            with small.client() as client:
                reply = client.post("/v1/streams/a-1/events", b'{"type":"t.e","data":{"a":"%s"}}' % (b"x" * 900000),
                                    Content_Type="application/json")
                ensure(reply.status == 503 and reply.json()["type"].endswith("/overloaded"), repr(reply))
                ensure(int(reply.headers["retry-after"]) >= 1, "a 503 without Retry-After")
            most = self.metric("usherd_buffered_bytes", small)
            ensure(most < 4 * MEGABYTE, "%d bytes are held" % most)
            ensure(self.metric("usherd_buffer_refusals_total", small) >= 1, "refusals are not counted")
            ensure(small.ready(), "the administration is not served")
            for connection in held:
                connection.close()
            lib.wait_until(lambda: self.metric("usherd_buffered_bytes", small) < 65536, SECONDS, "bytes to be given back")
            with small.client() as client:
                ensure(client.append("a-1").status == 201, "no append behind it")
            small.stop()
        finally:
            for connection in held:
                connection.close()
            small.destroy()

    def requests(self):
        """A tenant whose requests wait has not all that there may be."""
        few = usherd.Usherd(self.cluster, name="few", rate_limits=usherd.NO_LIMITS, requests_in_flight_max="10").start()
        self.cluster.rows("SELECT usher.create_tenant('other')")
        waiting = []
        try:
            for n in range(12):
                connection, replies = self.connect(few)
                waiting.append((connection, replies))
                connection.sendall(b"GET /v1/log?after=1000000&types=never&wait=50 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
                                   + few.token().encode() + b"\r\n\r\n")
            lib.wait_until(lambda: self.metric("usherd_requests_in_flight", few) >= 9, SECONDS, "requests to wait")
            with few.client(tenant="other") as client:
                ensure(client.get("/v1/whoami").status == 200, "another tenant is not served")
            with few.client() as client:
                reply = client.get("/v1/whoami")
                ensure(reply.status == 503 and reply.json()["type"].endswith("/too-many-requests-in-flight"), repr(reply))
            for connection, _ in waiting:
                connection.close()
            lib.wait_until(lambda: self.metric("usherd_requests_in_flight", few) <= 1, SECONDS, "requests to end with their clients")
            with few.client() as client:
                ensure(client.get("/v1/whoami").status == 200, "not served behind it")
        finally:
            for connection, _ in waiting:
                connection.close()
            few.destroy()

    def unread(self):
        """Replies that nobody reads are counted, too."""
        with self.daemon.client() as client:
            for _ in range(9):
                client.post("/v1/streams/big-1/events", {"type": "t.e", "data": {"text": "y" * 100000}})
        connection = socket.socket()
        with connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", self.daemon.port))
            connection.sendall(("GET /v1/streams/big-1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n"
                                % self.token).encode() * 20)
            lib.wait_until(lambda: self.metric("usherd_buffered_bytes") > 100000, SECONDS, "a reply to be held")
            time.sleep(0.3)
            ensure(self.metric("usherd_buffered_bytes") < 2 * MEGABYTE, "more than one reply is held")
        lib.wait_until(lambda: self.metric("usherd_buffered_bytes") < 65536, SECONDS, "bytes to be given back")
        self.daemon.ensure_alive()
        self.daemon.stop()
        self.cluster.check()


def main():
    lib.arguments("What usherd decides by the head of a request, and what it holds for whom.")
    test = Intake()
    lib.main([("refused by the head", test.by_head), ("100 Continue", test.expectation), ("bodies that are dropped", test.dropped),
              ("rates", test.rates), ("clients that have ended their side", test.half_closed), ("the budget", test.budget), ("requests in flight", test.requests),
              ("replies that nobody reads", test.unread)], 120)


if __name__ == "__main__":
    main()
