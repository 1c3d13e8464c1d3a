#!/usr/bin/python3
# slow: 35 s
"""test/integration/gateway_streams.py: clients of usherd that go in the middle, do not read, or say what nobody expects.

Bytes are made by hand, so that they come when and as a well-behaved client would not send them. Backends are stopped with
SIGSTOP to have a page on its way while something else happens. Worth running with $USHERD built with sanitizers.
"""
import contextlib
import json
import os
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import gateway_lib      # noqa: E402
import lib              # noqa: E402
from lib import ensure, note    # noqa: E402

TEXT, CLOSE, PING = 1, 8, 9


def frame(payload, opcode=TEXT):
    """A client's frame; the mask is zero."""
    payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    short = len(payload) < 126
    return bytes([0x80 | opcode, 0x80 | (len(payload) if short else 126)]) + (b"" if short else struct.pack(">H", len(payload))) + bytes(4) + payload


class Raw:
    """A connection whose bytes are ours. token None: none."""

    def __init__(self, daemon, token=None, buffer=None):
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", daemon.port))
        self.token, self.data = token, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def get(self, path, *headers):
        lines = ["GET %s HTTP/1.1" % path, "Host: localhost"] + ["Authorization: Bearer %s" % self.token] * bool(self.token)
        return ("\r\n".join(lines + list(headers)) + "\r\n\r\n").encode()

    def send(self, *parts):
        self.socket.sendall(b"".join(parts))
        return self

    def more(self):
        received = self.socket.recv(65536)
        ensure(received, "the connection has ended behind %r" % self.data[-200:])
        self.data += received

    def take(self, n):
        while len(self.data) < n:
            self.more()
        taken, self.data = self.data[:n], self.data[n:]
        return taken

    def head(self):
        while b"\r\n\r\n" not in self.data:
            self.more()
        return self.take(self.data.index(b"\r\n\r\n") + 4)

    def block(self):
        """The fields of the next server-sent event."""
        while b"\n\n" not in self.data:
            self.more()
        block = self.take(self.data.index(b"\n\n") + 2).decode()
        return dict(line.split(": ", 1) for line in block.strip().split("\n"))

    def frame(self):
        """(opcode, payload), JSON read."""
        first, length = self.take(2)
        if length == 126:
            length = struct.unpack(">H", self.take(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.take(8))[0]
        payload = self.take(length)
        return first & 15, json.loads(payload) if first & 15 == TEXT else payload

    def message(self):
        while True:
            opcode, payload = self.frame()
            ensure(opcode != CLOSE, "closed with %r" % payload)
            if opcode == TEXT:
                return payload

    def until(self, op):
        """The next message of that kind; others are passed over."""
        while True:
            message = self.message()
            if message["op"] == op:
                return message

    def handshake(self, *behind):
        return self.send(self.get("/v1/ws", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                                  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), *behind)

    def websocket(self):
        self.handshake().head()
        self.until("welcome")
        return self


class Streams:
    def __init__(self):
        self.api = gateway_lib.Api()
        self.cluster, self.daemon = self.api.cluster, self.api.daemon
        self.token = self.daemon.token()

    def raw(self, **options):
        return Raw(self.daemon, **dict({"token": self.token}, **options))

    def append(self, n, size=100):
        self.cluster.rows("SELECT count(usher.append('s-' || i %% 50, 'order.placed', jsonb_build_object('p', repeat('x', %s)))) FROM generate_series(1, %s) i",
                          (size, n))

    def alive(self):
        self.daemon.ensure_alive()
        with self.daemon.client() as client:
            ensure(client.get("/v1/log?max=1").status == 200, "it does not answer any more")

    @contextlib.contextmanager
    def stopped(self):
        """All backends of usherd are stopped."""
        pids = [row[0] for row in self.cluster.rows("SELECT pid FROM pg_stat_activity WHERE usename = 'usherd'")]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def settle(self):
        """What was sent before has been read by usherd: it answers a later connection behind it."""
        time.sleep(0.2)
        with self.daemon.client(token=False) as client:
            ensure(client.get("/healthz").status == 200, "no answer")

    def behind_handshake(self):
        """What comes in one piece with the handshake is read behind the welcome."""
        for token in (self.token, None):
            with self.raw(token=token) as client:
                client.handshake(frame({"op": "nonsense"})).head()
                while client.frame()[0] != CLOSE:
                    pass
            self.alive()
        with self.raw() as client:
            client.handshake(frame({"op": "subscribe", "ref": 1, "sub": "s"}), frame({"op": "ping"})).head()
            got = [client.frame()[1]["op"] for _ in range(3)]
            ensure(got == ["welcome", "subscribed", "pong"], "%s" % got)
        with self.raw(token=None) as client:
            client.handshake(frame({"op": "auth", "token": self.token}), frame({"op": "subscribe", "sub": "s"})).head()
            got = [client.frame()[1]["op"] for _ in range(2)]
            ensure(got == ["welcome", "subscribed"], "%s" % got)

    def ends_while_page_comes(self):
        """A subscription ends, and its client goes, while the page that was asked for it is on its way."""
        self.append(300)
        self.daemon.stop()
        self.daemon.start()     # what is in the log by now is read in pages
        past = frame({"op": "subscribe", "sub": "s", "after": 0})
        end, close = frame({"op": "unsubscribe", "sub": "s"}), frame(struct.pack(">H", 1000), CLOSE)
        for parts in ((past, end), (past, end, close), (past, close), (past, end, past, end, past), (past,)):
            with self.stopped():
                with self.raw() as client:
                    client.websocket().send(*parts)
                    self.settle()
                self.settle()
            self.settle()
            self.alive()
        with self.raw() as client:
            with self.stopped():
                client.websocket().send(past, end, past)
                self.settle()
            events = client.until("events")
            ensure(events["events"][0]["position"] == 1, "the second subscription begins with %d" % events["events"][0]["position"])

    def newer_token(self):
        """A newer token that allows less ends what it does not allow; the page that was on its way is of the tenant."""
        narrow = self.daemon.token(scopes="subscribe:order.*")
        time.sleep(1)       # pages that others have read are forgotten
        with self.raw() as client:
            client.websocket()
            with self.stopped():
                for sub, types in (("all", []), ("orders", ["order.placed"]), ("mails", ["mail.*"])):
                    client.send(frame({"op": "subscribe", "sub": sub, "types": types, "after": 0}))
                self.settle()
                client.send(frame({"op": "auth", "token": narrow}))
                self.settle()
            ended, caught_up = set(), False
            while ended != {"all", "mails"} or not caught_up:
                message = client.message()
                ensure(message.get("sub") not in ended, "%s of a subscription that has ended" % message["op"])
                if message["op"] == "unsubscribed":
                    ended.add(message["sub"])
                caught_up |= message["op"] == "caught_up" and message["sub"] == "orders"
            self.api.fine(self.api.c.append("mail-1", "mail.sent"), 201)
            self.api.fine(self.api.c.append("order-1", "order.placed", {"n": "last"}), 201)
            while True:
                message = client.until("events")
                wrong = [event["type"] for event in message["events"] if not event["type"].startswith("order.")]
                ensure(not wrong, "events that the token does not allow: %s" % wrong)
                if message["events"][-1]["data"].get("n") == "last":
                    break

    def fill(self):
        self.append(5000, 2000)

    def replies(self, client, n):
        """Whole ones, of a megabyte each."""
        for number in range(n):
            head = client.head()
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])
            ensure(head.startswith(b"HTTP/1.1 200 ") and length > 900000, "reply %d: %r" % (number, head))
            json.loads(client.take(length))

    def unread_replies(self):
        """Who asks again and again and reads nothing is not asked what else he wants; in the end everything comes."""
        self.fill()
        self.alive()
        with self.raw(buffer=4096) as client:
            for _ in range(10):
                self.replies(client.send(client.get("/v1/log?max=1000")), 1)
            before = self.daemon.rss_kb()
            client.send(*[client.get("/v1/log?max=1000")] * 100)
            for _ in range(20):
                time.sleep(0.1)
                self.alive()
            grown = self.daemon.rss_kb() - before
            note("%d kB more than before" % grown)
            ensure(grown < 30000, "%d kB are held for 100 replies that nobody reads" % grown)
            self.replies(client, 100)

    def slow_last_reply(self):
        """The end of a connection waits until the last reply was read."""
        with self.raw(buffer=4096) as client:
            client.send(*[client.get("/v1/log?max=1000")] * 12 + [client.get("/v1/log?max=1000", "Connection: close")])
            for _ in range(11):
                self.replies(client, 1)
            time.sleep(4)
            self.replies(client, 2)
            ensure(client.socket.recv(1) == b"", "it goes on")

    def unread_stream(self):
        """Who reads nothing of a stream is not heard, and costs no time; when he reads, nothing is lost."""
        messages = 50
        with self.raw(buffer=4096) as client:
            client.websocket().send(frame({"op": "subscribe", "sub": "s", "after": 0}))
            time.sleep(1)
            self.idle(lambda: client.send(frame({"op": "ping"}) * messages))
            for _ in range(messages):
                client.until("pong")
        with self.raw(buffer=4096) as client:
            client.send(*[client.get("/v1/log?max=1000")] * 12)
            time.sleep(2)
            self.idle(lambda: client.send(client.get("/v1/log?max=1000", "Connection: close")))
            self.replies(client, 13)
        self.alive()

    def idle(self, act):
        """usherd does next to nothing behind it, once it has done what it could."""
        act()
        spent = []
        while not spent or (spent[-1] >= 0.3 and len(spent) < 5):
            time.sleep(0.5)
            before = self.seconds()
            time.sleep(2)
            spent.append(self.seconds() - before)
        ensure(spent[-1] < 0.3, "%s s of 2 were spent for a client that does not read" % spent)

    def seconds(self):
        """Of the processor, used by usherd."""
        with open("/proc/%d/stat" % self.daemon.process.pid) as stat:
            return sum(map(int, stat.read().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")

    def drain_whole(self):
        """A drain cuts no reply that is still being read."""
        with self.raw(buffer=4096) as client:
            client.send(*[client.get("/v1/log?max=1000")] * 20)
            client.more()
            time.sleep(3)       # they are answered, as far as they will be
            stop = threading.Thread(target=self.daemon.stop)
            stop.start()
            time.sleep(1)
            whole = 0
            with contextlib.suppress(lib.Failure):
                while True:
                    self.replies(client, 1)
                    whole += 1
            stop.join()
            ensure(whole >= 1 and client.data == b"", "%d whole replies, and %d bytes of another" % (whole, len(client.data)))


def main():
    streams = Streams()
    lib.main([("bytes behind the handshake", streams.behind_handshake),
              ("a subscription ends while its page comes", streams.ends_while_page_comes),
              ("a newer token that allows less", streams.newer_token),
              ("replies that nobody reads", streams.unread_replies), ("a slow reader of the last reply", streams.slow_last_reply),
              ("a stream that nobody reads", streams.unread_stream), ("a drain cuts no reply", streams.drain_whole)], 120)


if __name__ == "__main__":
    main()
