#!/usr/bin/python3
"""test/integration/live_tickets.py: tickets in the place of tokens, at two gateways of one database.

python3-websockets, a reader of server-sent events, and a browser's own WebSocket and EventSource show them.
"""
import asyncio
import contextlib
import glob
import http.server
import json
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
import usherd   # noqa: E402
from lib import ensure      # noqa: E402

import websockets       # noqa: E402
from live_lib import Live, Sse      # noqa: E402

CHROMIUM = "/usr/bin/chromium"
BROWSER_SECONDS = 60 * lib.PATIENCE
RACES, RUNNERS = 20, 8
FILES = {"/": "src/ticket_page.html", "/event-websocket.js": "../../clients/js/event-websocket.js",
         "/match.js": "../../clients/js/match.js", "/sse.js": "../../clients/js/sse.js"}


class Pages(http.server.BaseHTTPRequestHandler):
    """The browser's page, the job for it, and what it has found."""

    def answer(self, body=b"", kind="text/plain"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/job":
            self.answer(json.dumps(self.server.job).encode(), "application/json")
        elif self.path in FILES:
            with open(os.path.join(HERE, FILES[self.path]), "rb") as file:
                self.answer(file.read(), "text/javascript" if self.path.endswith(".js") else "text/html; charset=utf-8")
        else:
            self.answer()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer()
        if self.path == "/ready":
            self.server.ready.set()
        else:
            self.server.found = json.loads(body)
            self.server.done.set()

    def log_message(self, *_):
        pass


class Tickets(gateway_lib.Api):
    def __init__(self):
        super().__init__()
        self.pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        self.pages.ready, self.pages.done = threading.Event(), threading.Event()
        threading.Thread(target=self.pages.serve_forever, daemon=True).start()
        self.daemon.stop()
        logs = {"cors_origins": "http://127.0.0.1:%d" % self.pages.server_address[1], "log_level": "debug"}
        self.daemon.settings.update(logs, access_log=os.path.join(self.daemon.dir, "access"))
        self.daemon.configure()
        self.daemon.start()
        self.other = usherd.Usherd(self.cluster, name="other", **logs)
        self.other.settings["access_log"] = os.path.join(self.other.dir, "access")
        self.other.settings["jwt_keys"] = self.daemon.settings.get("jwt_keys", self.daemon.jwks)
        self.other.configure()
        self.other.start()
        self.shown = []

    def ticket(self, kind, status=201, **identity):
        client = self.daemon.client(**identity)
        reply = client.post("/v1/tickets", {"for": kind})
        ensure(reply.status == status, "%s instead of %d" % (reply, status))
        if status != 201:
            return None
        self.shown.append(reply.json()["ticket"])
        return reply.json()["ticket"]

    def url(self, ticket, daemon=None):
        return "ws://127.0.0.1:%d/v1/ws?ticket=%s" % ((daemon or self.daemon).port, ticket)

    async def taken(self, ticket, daemon=None, **headers):
        """The welcome, or the status of a refusal."""
        try:
            async with websockets.connect(self.url(ticket, daemon), subprotocols=["usher.v1"], extra_headers=headers) as socket:
                return json.loads(await asyncio.wait_for(socket.recv(), 10 * lib.PATIENCE))
        except websockets.InvalidStatusCode as error:
            return error.status_code

    def append(self, kind, tenant="default"):
        with contextlib.closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET usher.tenant = %s", (tenant,))
            cursor.execute("SELECT usher.append('ticket-1', %s, '{}')", (kind,))
            connection.commit()

    async def once(self):
        ticket = self.ticket("websocket", tenant="acme", user="ann", scopes="subscribe:mine.*")
        welcome = await self.taken(ticket, self.other)
        ensure(isinstance(welcome, dict) and (welcome["tenant"], welcome["user"]) == ("acme", "ann"), "%s" % welcome)
        for daemon in (self.daemon, self.other):
            ensure(await self.taken(ticket, daemon) == 401, "a ticket that was used")
        self.ticket("websocket", 401, token=False)
        for body in ({}, {"for": "ftp"}, {"for": "sse", "user": "eve"}, [], "sse"):
            self.problem(self.c.post("/v1/tickets", body), 422, "invalid-body")

    async def refused(self):
        """What was never issued, is of the other kind, is over, or comes beside an Authorization."""
        good, stream = self.ticket("websocket"), self.ticket("sse")
        for wrong in (good[:-1], good + "0", good[:-1] + ("0" if good[-1] != "0" else "1"), "", "ust_" + "0" * 48, "x" * 300, good.upper(), stream):
            ensure(await self.taken(wrong) == 401, "%s is taken" % wrong)
        async with Sse(self.daemon, None, "?ticket=" + good) as sse:
            ensure(sse.status == 401, "a ticket for WebSocket opens a stream: %d" % sse.status)
        ensure(await self.taken(good, Authorization="Bearer " + self.daemon.token()) == 401, "two credentials at once")
        client = self.daemon.client(token=False)
        ensure(client.get("/v1/log?ticket=" + stream).status == 401, "a ticket where none is taken")
        ensure(isinstance(await self.taken(good), dict), "a ticket that was shown wrongly, but never used")
        late = self.ticket("websocket")
        self.cluster.rows("UPDATE usher.tickets SET expires_at = now() WHERE kind = 'websocket' RETURNING 1")
        ensure(await self.taken(late) == 401, "a ticket that is over")
        seconds = self.c.post("/v1/tickets", {"for": "websocket"}).json()["expires_at"] - time.time()
        ensure(25 < seconds <= 31, "a ticket lives %.1f s" % seconds)

    async def race(self):
        """Of many who show one ticket at the same time, at both gateways, one has it."""
        for _ in range(RACES):
            ticket = self.ticket("websocket")
            outcomes = await asyncio.gather(*(self.taken(ticket, (self.daemon, self.other)[n % 2]) for n in range(RUNNERS)))
            won = [outcome for outcome in outcomes if isinstance(outcome, dict)]
            ensure(len(won) == 1 and outcomes.count(401) == RUNNERS - 1, "a ticket was taken %d times: %s" % (len(won), outcomes))

    async def stream(self):
        """A ticket for server-sent events is good at both, again and again, for what its token may; it ends with the token."""
        ticket = self.ticket("sse", scopes="subscribe:mine.*", exp=int(time.time()) + 10)
        for daemon in (self.daemon, self.other, self.daemon):
            async with Sse(daemon, None, "?types=mine.*&ticket=" + ticket) as sse:
                ensure(sse.status == 200, "a stream by a ticket: %d" % sse.status)
                await sse.block()
                self.append("mine.one")
                ensure((await sse.events(1))[0]["type"] == "mine.one", "another event")
            async with Sse(daemon, None, "?types=yours.*&ticket=" + ticket) as sse:
                ensure(sse.status == 403, "a ticket may more than its token: %d" % sse.status)
        async with Sse(self.other, None, "?types=mine.*&ticket=" + ticket) as sse:
            ensure((await asyncio.wait_for(sse.named("end"), 30))["code"] == 4401, "a stream outlives its token")
        async with Sse(self.daemon, None, "?types=mine.*&ticket=" + ticket) as sse:
            ensure(sse.status == 401, "a ticket outlives its token: %d" % sse.status)

    async def revoked(self):
        """The session's end is its tickets' end."""
        identity = {"user": "bob", "sid": "session-7"}
        stream, socket = self.ticket("sse", **identity), self.ticket("websocket", **identity)
        async with Sse(self.other, None, "?ticket=" + stream) as sse:
            await sse.block()
            self.cluster.rows("SELECT usher.revoke('session', 'session-7')")
            ensure((await sse.named("end"))["code"] == 4401, "a stream outlives its session")
        lib.wait_until(lambda: self.daemon.client(**identity).get("/v1/whoami").status == 401, 10, "usherd to know the revocation")
        async with Sse(self.daemon, None, "?ticket=" + stream) as sse:
            ensure(sse.status == 401, "a stream of a revoked session: %d" % sse.status)
        ensure(await self.taken(socket) == 401, "a socket of a revoked session")

    def browser(self):
        """EventSource and WebSocket of a browser, and clients/js by both."""
        self.pages.job = {"base": "http://127.0.0.1:%d" % self.daemon.port, "token": self.daemon.token()}
        argv = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--user-data-dir=" + os.path.join(self.cluster.base, "chromium"), "--remote-debugging-port=0",
                "http://127.0.0.1:%d/" % self.pages.server_address[1]]
        with open(os.path.join(self.cluster.base, "chromium.log"), "w") as log:
            browser = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                       env=dict(os.environ, HOME=self.cluster.base))
        try:
            ensure(self.pages.ready.wait(BROWSER_SECONDS), "the browser does not come as far as its socket")
            end = time.time() + BROWSER_SECONDS
            while not self.pages.done.wait(0.2) and time.time() < end:
                self.append("browser.event")        # until the last of its streams stands
            ensure(self.pages.done.is_set(), "the browser has found nothing")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(browser.pid, 9)
        expected = {"socket": "welcome", "source": "browser.event", "tickets": "browser.event", "eventsource": "browser.event"}
        ensure(self.pages.found == expected, "the browser finds %s" % self.pages.found)

    def swept(self):
        """What is over goes with later ones."""
        self.cluster.rows("UPDATE usher.tickets SET expires_at = now() - interval '1 hour' RETURNING 1")
        self.ticket("websocket")
        ensure(self.cluster.value("SELECT count(*) FROM usher.tickets WHERE expires_at < now()") == 0, "old tickets stay")
        ensure(self.cluster.value("SELECT count(*) FROM usher.tickets WHERE kind = 'websocket'") == 1, "the new one does not")

    def unseen(self):
        """No ticket is in a log of the gateways or of the database, nor in the table."""
        for daemon in (self.daemon, self.other):
            daemon.stop()
        texts = []
        for path in glob.glob(os.path.join(self.cluster.base, "**"), recursive=True):
            if os.path.isfile(path) and "chromium" not in path and ("log" in os.path.basename(path) or "access" in path or "usherd" in path):
                with open(path, errors="replace") as file:
                    texts.append((path, file.read()))
        ensure(any("/v1/ws" in text for path, text in texts if path.endswith("access")), "no access log has the sockets")
        found = [path for path, text in texts if any(ticket in text for ticket in self.shown)]
        lib.ensure_empty(found, "files with tickets")
        dump = "".join(str(row) for row in self.cluster.rows("SELECT t::text FROM usher.tickets t"))
        ensure(not any(ticket in dump for ticket in self.shown), "the table has a ticket")


def main():
    lib.arguments("Tickets in the place of tokens.")
    lib.foreign("debian", "clients", CHROMIUM)
    tickets = Tickets()

    def rule(name):
        return name, lambda: asyncio.run(getattr(tickets, name)())
    lib.main([rule(name) for name in ("once", "refused", "race", "stream", "revoked")] +
             [("browser", tickets.browser), ("swept", tickets.swept), ("unseen", tickets.unseen)], 120)


if __name__ == "__main__":
    main()
