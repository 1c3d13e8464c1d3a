#!/usr/bin/python3
"""test/chaos/live_fuzz.py: messages by chance for WebSocket, made from good ones, at a whole usherd.

Each is a good message whose bytes, members, values or framing were changed a little or a lot. usherd must live, must say
or close with what is documented, and must serve who behaves all the while. It shows most with a usherd that has the sanitizers:
USHERD=/path/to/it test/chaos/live_fuzz.py --seconds 300.
"""
import json
import os
import random
import select
import socket
import struct
import threading
import time

import lib
import usherd
from lib import ensure

THREADS = 4
CODES = {1000, 1001, 1002, 1003, 1007, 1009, 1011, 3000, 4400, 4401, 4403, 4429, 4503}
OPS = ("auth", "subscribe", "unsubscribe", "join", "leave", "signal", "ping", "", "dance")
WORDS = ("", "a", "order.*", "**", "*", "*.*", "{user}", "note.{user}.{user}", "order.placed", "usher.presence", "show.7.availability", "\0", "é" * 40, "x" * 300,
         "a." * 120, "\\", '"', "data.n", "metadata", "..", "\ud83d\ude00", "s1", "s2", "s3")
NUMBERS = (0, 1, -1, 7, 1.5, 1e300, -0.0, 9223372036854775807, 9223372036854775808, 10 ** 70, 4294967296)
UPGRADE = ("GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%s%s\r\n")


class Maker:
    """Messages and frames by chance."""

    def __init__(self, seed, token):
        self.chance, self.token = random.Random(seed), token

    def value(self, depth=0):
        kind = self.chance.randrange(9 if depth < 4 else 6)
        if kind < 2:
            return self.chance.choice(WORDS)
        if kind < 4:
            return self.chance.choice(NUMBERS)
        if kind < 6:
            return self.chance.choice((None, True, False))
        count = self.chance.choice((0, 1, 2, 3, 20, 40)) if depth < 2 else self.chance.randrange(3)
        if kind < 8:
            return [self.value(depth + 1) for _ in range(count)]
        return {self.chance.choice(WORDS) + str(n % 5): self.value(depth + 1) for n in range(count)}

    def message(self):
        chance = self.chance
        message = {"op": chance.choice(OPS[:7] if chance.randrange(8) else OPS)}
        good = {"ref": chance.randrange(100), "sub": chance.choice(("s1", "s2", "s3")), "types": chance.sample(WORDS[1:9], 2), "streams": ["fuzz-*"],
                "after": chance.choice((0, 1, 50, 1 << 40)), "filter": {"data.n": chance.choice((1, [1, 2], "x", None))}, "token": self.token,
                "topic": chance.choice(("room", "other")), "state": {"n": 1}, "data": {"x": 1}, "listen": True, "snapshot": "none"}
        members = {"auth": ("token",), "subscribe": ("sub", "types", "filter", "after"), "unsubscribe": ("sub",), "join": ("topic", "state"),
                   "leave": ("topic",), "signal": ("topic", "data")}.get(message["op"], ())
        for name in members + tuple(chance.sample(sorted(good), chance.randrange(3))):
            message[name] = good[name] if chance.randrange(6) else self.value()
        text = json.dumps(message, ensure_ascii=bool(chance.randrange(2))).encode("utf-8", "surrogatepass")
        return self.spoilt(text) if chance.randrange(4) == 0 else text

    def spoilt(self, text):
        """Bytes changed, left out, said twice."""
        data = bytearray(text)
        for _ in range(self.chance.randrange(1, 4)):
            at, end = sorted(self.chance.randrange(len(data) + 1) for _ in range(2))
            way = self.chance.randrange(4)
            if way == 0 and at < len(data):
                data[at] = self.chance.randrange(256)
            elif way == 1:
                del data[at:end]
            elif way == 2:
                data[at:at] = data[at:end] * self.chance.choice((1, 2, 40))
            else:
                data[at:at] = self.chance.choice((b"\\u0000", b"\\ud800", b"[[[[[[[[[[[[[[[[[[[[", b'"', b"1e999", b"\xff", b'{"op":'))
            data = data or bytearray(b"x")
        return bytes(data[:70000])

    def frame(self, text, opcode=1, final=True):
        chance = self.chance
        first = (0x80 if final else 0) | opcode
        if chance.randrange(60) == 0:
            first = chance.randrange(256)
        length = len(text)
        head = bytes([first])
        if length < 126:
            head += bytes([0x80 | length])
        elif length < 65536:
            head += bytes([0x80 | 126]) + struct.pack("!H", length)
        else:
            head += bytes([0x80 | 127]) + struct.pack("!Q", length)
        if chance.randrange(80) == 0:
            head = head[:1] + bytes([chance.randrange(256)]) + head[2:]
        mask = bytes(chance.randrange(256) for _ in range(4)) if chance.randrange(2) else bytes(4)
        whole = int.from_bytes(text, "big") ^ int.from_bytes((mask * (length // 4 + 1))[:length], "big")
        return head + mask + whole.to_bytes(length, "big")

    def frames(self):
        """A message, maybe in fragments, with control frames between."""
        text = self.message()
        if self.chance.randrange(6):
            return self.frame(text)
        cuts = sorted(self.chance.randrange(len(text) + 1) for _ in range(self.chance.randrange(1, 4)))
        parts = [text[a:b] for a, b in zip([0] + cuts, cuts + [len(text)])]
        out = b""
        for n, part in enumerate(parts):
            if self.chance.randrange(3) == 0:
                out += self.frame(bytes(self.chance.randrange(256) for _ in range(self.chance.choice((0, 2, 125)))), self.chance.choice((8, 9, 9, 10)))
            out += self.frame(part, 1 if n == 0 else 0, n == len(parts) - 1)
        return out


class Fuzz:
    def __init__(self, options):
        self.seconds = options.seconds or (5 if options.short else 300)
        self.seed = options.seed
        self.cluster = lib.Cluster(lib.work_directory()).initdb().start().create()
        self.daemon = usherd.Usherd(self.cluster, websocket_deflate_level=3).start()
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.sockets = self.messages = 0
        self.codes, self.faults = {}, []

    def heard(self, data):
        """The close code that stands at the end, if one came; what is said before must be JSON of the server's."""
        at, code = 0, None
        while at + 2 <= len(data):
            length, head = data[at + 1], 2
            if length == 126:
                length, head = struct.unpack("!H", data[at + 2:at + 4].rjust(2, b"\0"))[0], 4
            elif length == 127:
                length, head = struct.unpack("!Q", data[at + 2:at + 10].rjust(8, b"\0"))[0], 10
            payload = data[at + head:at + head + length]
            if len(payload) < length:
                break
            if data[at] == 0x81:
                ensure("op" in json.loads(payload), "%r" % payload[:200])
            if data[at] == 0x88 and length >= 2:
                code = struct.unpack("!H", payload[:2])[0]
            at += head + length
        return code

    def one(self, maker):
        chance = maker.chance
        header = chance.randrange(4) > 0
        deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if chance.randrange(8) == 0 else ""
        with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=20) as connection:
            connection.sendall((UPGRADE % ("Authorization: Bearer %s\r\n" % maker.token if header else "", deflate)).encode())
            data = b""
            while b"\r\n\r\n" not in data:
                part = connection.recv(65536)
                ensure(part, "no answer to the handshake")
                data += part
            ensure(data.startswith(b"HTTP/1.1 101 "), "%r" % data[:100])
            data = data.partition(b"\r\n\r\n")[2]
            sent = 0
            try:
                if not header:
                    connection.sendall(maker.frame(json.dumps({"op": "auth", "token": maker.token}).encode()))
                for _ in range(chance.randrange(1, 40)):
                    connection.sendall(maker.frames())
                    sent += 1
                    while select.select([connection], [], [], 0)[0]:
                        part = connection.recv(65536)
                        if not part:
                            raise ConnectionError("it has ended")
                        data += part
                if chance.randrange(4):
                    connection.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
                else:
                    connection.shutdown(socket.SHUT_WR)
                while (part := connection.recv(65536)):
                    data += part
            except (ConnectionError, socket.timeout) as error:
                if isinstance(error, socket.timeout):
                    raise lib.Failure("nothing came for 20 s behind %d messages, nor an end" % sent) from error
        code = None if deflate else self.heard(data)
        with self.lock:
            self.sockets, self.messages = self.sockets + 1, self.messages + sent
            self.codes[code] = self.codes.get(code, 0) + 1

    def run(self, number):
        maker = Maker(self.seed * 1000 + number, self.daemon.token(user="fuzz%d" % number, scopes="*"))
        while not self.over.is_set():
            try:
                self.one(maker)
            except Exception as error:
                self.faults.append(repr(error))
                return

    def fuzz(self):
        threads = [threading.Thread(target=self.run, args=(n,), daemon=True) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + self.seconds
        with self.daemon.client() as client:
            while time.monotonic() < until and not self.faults:
                ensure(client.append("fuzz-1", random.choice(("order.placed", "note.x", "a")), {"n": random.randrange(3)}).status == 201, "an append")
                time.sleep(0.05)
        self.over.set()
        for thread in threads:
            thread.join(30)
        lib.note("%d messages on %d sockets; closed with %s" % (self.messages, self.sockets, sorted(self.codes.items(), key=lambda item: -item[1])))
        lib.ensure_empty(self.faults, "sockets that were not served")
        strange = {code for code in self.codes if code is not None and code not in CODES and not 3000 <= code < 5000 and not 1007 <= code <= 1014}
        ensure(not strange, "closed with %s" % strange)
        ensure(self.messages > 50 * self.seconds, "only %d messages" % self.messages)
        self.daemon.ensure_alive()

    def settle(self):
        self.daemon.stop()
        lib.ensure_empty(self.cluster.log_crashes(), "server log")
        with open(os.path.join(self.daemon.dir, "stderr"), errors="replace") as said:
            found = [line.strip() for line in said if "Sanitizer" in line or "runtime error" in line]
        lib.ensure_empty(found, "what the sanitizers say")


def main():
    options = lib.arguments("Messages by chance for WebSocket.", seconds=(int, None, "of them (300, --short: 5)"))
    fuzz = Fuzz(options)
    lib.main([("messages by chance", fuzz.fuzz), ("settle", fuzz.settle)], 60 + fuzz.seconds)


if __name__ == "__main__":
    main()
