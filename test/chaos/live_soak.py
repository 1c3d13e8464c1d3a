#!/usr/bin/python3
"""test/chaos/live_soak.py: clients of the live log that come and go: 10,000 a minute for five minutes (--short: some seconds).

Over WebSocket and server-sent events, with patterns and filters by chance, from the present and from the past, ended in every way,
also in the middle of a frame. usherd's memory and descriptors must be flat, and nothing may be left of those who have gone.
"""
import json
import os
import random
import socket
import struct
import threading
import time

import lib
import usherd
from lib import ensure

RESET = struct.pack("ii", 1, 0)         # SO_LINGER: close with RST
GROWTH_KB_MAX = 4096
THREADS = 4
A_MINUTE = 10000


def frame(text, opcode=1):
    """A client's, masked with zeros."""
    data = text.encode()
    length = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0x80 | 126]) + struct.pack("!H", len(data))
    return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + data


class Soak:
    def __init__(self, options):
        self.seconds = options.seconds or (8 if options.short else 300)
        self.cluster = lib.Cluster(lib.work_directory()).initdb().start().create()
        self.daemon = usherd.Usherd(self.cluster).start()
        self.token = self.daemon.token()
        self.over, self.done, self.faults = threading.Event(), 0, []
        self.lock = threading.Lock()

    def wanted(self, chance):
        types = chance.sample(["soak.*", "soak.a", "**", "soak.%d" % chance.randrange(1000), "other.%d.*" % chance.randrange(1000)], 2)
        return {"types": types, "streams": chance.choice([[], ["soak-*"], ["soak-%d" % chance.randrange(100)]]),
                "filter": chance.choice([None, {"data.n": chance.randrange(100)}, {"data.n": [1, 2, chance.randrange(10)], "data.s": "x"}]),
                "after": chance.choice([None, None, 0, chance.randrange(500)])}

    def read_until(self, connection, mark):
        text = b""
        while mark not in text:
            part = connection.recv(65536)
            ensure(part, "ended before %r: %r" % (mark, text[-200:]))
            text += part

    def websocket(self, connection, chance):
        head = "GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        if chance.randrange(20) == 0:
            connection.sendall(head.encode())   # and gone in the middle of it
            return
        connection.sendall((head + "Authorization: Bearer %s\r\n\r\n" % self.token).encode())
        subscriptions = chance.randrange(4)
        for n in range(subscriptions):
            connection.sendall(frame(json.dumps(dict(self.wanted(chance), op="subscribe", sub="s%d" % n))))
        if subscriptions and chance.randrange(4):
            self.read_until(connection, b'"sub":"s%d"' % (subscriptions - 1))
        way = chance.randrange(5)
        if way == 0:
            connection.sendall(b"\x88\x82\0\0\0\0\x03")     # half a close
        elif way == 1:
            connection.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
            self.read_until(connection, b"\x88")
        elif way == 2:
            connection.sendall(frame('{"op":"subscribe","sub":"half')[:20])
        elif way == 3:
            connection.sendall(frame('{"op":"unsubscribe","sub":"s0"}'))

    def sse(self, connection, chance):
        wanted = self.wanted(chance)
        query = "types=" + ",".join(wanted["types"]) + ("&after=%d" % wanted["after"] if wanted["after"] is not None else "")
        connection.sendall(("GET /v1/sse?%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % (query, self.token)).encode())
        if chance.randrange(3):
            self.read_until(connection, b"retry:")

    def come_and_go(self, number):
        chance, began, done = random.Random(number), time.monotonic(), 0
        while not self.over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=10) as connection:
                    (self.websocket if chance.randrange(3) else self.sse)(connection, chance)
                    if chance.randrange(2):
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            except (OSError, lib.Failure) as error:
                self.faults.append(repr(error))
            done += 1
            with self.lock:
                self.done += 1
            pause = began + done * THREADS * 60 / A_MINUTE - time.monotonic()
            if pause > 0:
                time.sleep(pause)

    def append(self):
        with self.cluster.connect() as connection, connection.cursor() as cursor:
            n = 0
            while not self.over.wait(0.02):
                cursor.execute("SELECT usher.append('soak-%d', 'soak.%s', '{\"n\":%d,\"s\":\"x\"}')" % (n % 100, "ab"[n % 2], n % 100))
                connection.commit()
                n += 1

    def counter(self, name):
        return next(float(line.split()[-1]) for line in self.daemon.admin().get("/metrics").body.decode().splitlines() if line.startswith(name + " "))

    def soak(self):
        self.cluster.value("SELECT usher.append_many(array_agg('soak-1'::text), array_agg('soak.a'::text), array_agg('{\"n\":1}'::text)) FROM generate_series(1, 2000)")
        threads = [threading.Thread(target=self.append, daemon=True)]
        threads += [threading.Thread(target=self.come_and_go, args=(n,), daemon=True) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        began, seen = time.monotonic(), []
        descriptors = self.daemon.descriptors()
        while time.monotonic() < began + self.seconds:
            time.sleep(min(1, self.seconds / 10))
            seen.append(self.daemon.rss_kb())
        self.over.set()
        for thread in threads:
            thread.join(15)
        lib.note("%d connections in %.0f s, %d that did not go as meant; kB of memory: %s" % (
            self.done, time.monotonic() - began, len(self.faults), " ".join(map(str, seen[::max(1, len(seen) // 20)]))))
        lib.ensure_empty(self.faults, "clients that were not served")
        ensure(self.done > 0.8 * self.seconds * A_MINUTE / 60, "only %d connections: the machine is too busy to say anything" % self.done)
        third = len(seen) // 3
        grown = max(seen[2 * third:]) - max(seen[third:2 * third])      # the first third is for what it needs once
        ensure(grown < GROWTH_KB_MAX, "the memory grew by %d kB: %s" % (grown, seen))
        for name in ("clients", "subscriptions", "classes", "clients_slow", "clients_behind"):
            lib.wait_until(lambda: self.counter("usherd_live_" + name) == 0, 20, "nothing to be left of usherd_live_" + name)
        lib.wait_until(lambda: self.daemon.descriptors() <= descriptors + 5, 20, "descriptors to be closed")

    def settle(self):
        self.daemon.ensure_alive()
        self.daemon.stop()
        lib.ensure_empty(self.cluster.log_crashes(), "server log")


def main():
    options = lib.arguments("Clients of the live log that come and go.", seconds=(int, None, "of coming and going (300, --short: 8)"))
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    soak = Soak(options)
    lib.main([("soak", soak.soak), ("settle", soak.settle)], 90 if options.short else 500)


if __name__ == "__main__":
    main()
