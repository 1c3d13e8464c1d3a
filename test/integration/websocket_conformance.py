#!/usr/bin/python3
"""test/integration/websocket_conformance.py: the framing of WebSocket, by the cases of Autobahn's suite.

Families 1 to 7, 9 and 10 (frames, pings, reserved bits and opcodes, fragments, UTF-8, closing, large messages), said by
python3-websockets' protocol, which does no input and output, so bytes can be cut and frames forged; against echo_websocket, a
server on gateway/lib/websocket.c with the sanitizers. The long form has
messages of up to 16 MB.
"""
import contextlib
import itertools
import os
import socket
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import lib      # noqa: E402
from lib import ensure      # noqa: E402

from websockets.client import ClientConnection      # noqa: E402
from websockets.frames import Close, Frame, Opcode      # noqa: E402
from websockets.uri import parse_uri        # noqa: E402

ROOT = os.path.join(HERE, "..", "..")
SECONDS = 20 * lib.PATIENCE
TEXT, BINARY, CONT, CLOSE, PING, PONG = Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.CLOSE, Opcode.PING, Opcode.PONG

GOOD_UTF8 = ["", "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\x00", "\x80", "ࠀ", "\U00010000", "\x7f", "߿", "\uffff", "\U0010ffff", "\ud7ff", "\ue000", "\ufffd",
             "\ufffe", "\U0001fffe", "\U0001ffff", "\U000afffe", "\U0010fffe"]
BAD_UTF8 = [b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xf7\xbf\xbf\xbf",
            b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf", b"\xf4\x90\x80\x80", b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80", b"\x80\xbf\x80\xbf\x80",
            bytes(range(0x80, 0xc0)), b" ".join(bytes([b]) for b in range(0xc0, 0xe0)), b" ".join(bytes([b]) for b in range(0xe0, 0xf0)),
            b" ".join(bytes([b]) for b in range(0xf0, 0xf8)), b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfe", b"\xff",
            b"\xfe\xfe\xff\xff", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xc0\x80",
            b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbe\x80", b"\xed\xbf\xbf",
            b"\xed\xa0\x80\xed\xb0\x80", b"\xed\xaf\xbf\xed\xbf\xbf"]


class Peer:
    """A connection: what is said is masked by the library; what is heard is parsed by it."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.protocol = ClientConnection(parse_uri("ws://127.0.0.1:%d/" % port), max_size=None)
        self.protocol.send_request(self.protocol.connect())
        self.write()
        self.heard = []
        self.ended = False
        while self.protocol.state.name == "CONNECTING":
            self.read()
        self.heard.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def write(self):
        for data in self.protocol.data_to_send():
            self.socket.sendall(data)

    def read(self):
        data = self.socket.recv(1 << 20)
        if data:
            self.protocol.receive_data(data)
        else:
            self.ended = True
            self.protocol.receive_eof()
        self.heard += [event for event in self.protocol.events_received() if isinstance(event, Frame)]

    def frame(self, opcode, data=b"", fin=True, rsv=0, chop=None):
        """Any frame, also one that may not be; chop: bytes of a write."""
        mask = b"\x37\xfa\x21\x3d"
        head = bytes([fin << 7 | rsv << 4 | int(opcode)])
        if len(data) < 126:
            head += bytes([0x80 | len(data)])
        elif len(data) < 65536:
            head += struct.pack("!BH", 0x80 | 126, len(data))
        else:
            head += struct.pack("!BQ", 0x80 | 127, len(data))
        whole = int.from_bytes(data, "big") ^ int.from_bytes((mask * (len(data) // 4 + 1))[:len(data)], "big")
        bytes_out = head + mask + whole.to_bytes(len(data), "big")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):    # it may have said enough
            for at in range(0, len(bytes_out), chop or len(bytes_out)):
                self.socket.sendall(bytes_out[at:at + (chop or len(bytes_out))])

    def expect(self, *frames):
        """These frames (opcode, data), with what is fragmented put together, and nothing else."""
        for opcode, data in frames:
            while not self.heard:
                ensure(not self.ended, "the end instead of a frame")
                self.read()
            got = self.heard.pop(0)
            ensure(got.fin and (got.opcode, got.data) == (opcode, data),
                   "%s of %d bytes %r instead of %s %r" % (got.opcode, len(got.data), got.data[:20], opcode, data[:20]))

    def finish(self, code=1000):
        """Our close is answered by the same code, and the connection ends."""
        self.frame(CLOSE, b"" if code is None else struct.pack("!H", code))
        self.closed(code)

    def closed(self, *codes):
        """It is closed with one of these codes (None: without one) and nothing else is said."""
        try:
            while not self.ended:
                self.read()
        except ConnectionResetError:
            self.ended = True
        ensure(len(self.heard) == 1 and self.heard[0].opcode == CLOSE, "heard %s" % self.heard[:3])
        data = self.heard[0].data
        got = Close.parse(data).code if data else None
        ensure(got in codes, "closed with %s instead of %s" % (got, codes))


class Suite:
    def __init__(self):
        base = lib.work_directory()
        program = os.path.join(base, "echo_websocket")
        done = subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined",
                               "-fno-sanitize-recover=all", "-I" + os.path.join(ROOT, "gateway"), "-I" + os.path.join(ROOT, "extension"),
                               os.path.join(HERE, "src", "echo_websocket.c"), *(os.path.join(ROOT, "gateway", "lib", name) for name in ("websocket.c", "websocket_deflate.c", "text.c")), "-lcrypto", "-lz", "-o", program],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=120 * lib.PATIENCE)
        ensure(done.returncode == 0, "cc: %s" % done.stdout[-600:])
        self.errors = open(os.path.join(base, "errors"), "w+")
        self.server = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, universal_newlines=True)
        self.port = int(self.server.stdout.readline())
        self.count = 0

    def peer(self):
        self.count += 1
        return Peer(self.port)

    def echo(self, opcode, data, chop=None):
        with self.peer() as peer:
            peer.frame(opcode, data, chop=chop)
            peer.expect((opcode, data))
            peer.finish()

    def fails(self, *frames, codes=(1002,), before=()):
        with self.peer() as peer:
            for frame in frames:
                peer.frame(*frame[:2], **(frame[2] if len(frame) > 2 else {}))
            peer.expect(*before)
            peer.closed(*codes)

    def messages(self):
        """1: text and binary of all lengths of a head; cut into pieces."""
        for opcode, fill in ((TEXT, b"*"), (BINARY, b"\xfe")):
            for size in (0, 1, 125, 126, 127, 128, 65535, 65536):
                self.echo(opcode, fill * size)
            self.echo(opcode, fill * 65536, chop=997)
            self.echo(opcode, fill * 200, chop=1)

    def pings(self):
        """2: pongs with the same payload, in order; pongs that nobody asked for are passed over."""
        for data in (b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125):
            for chop in (None, 1):
                with self.peer() as peer:
                    peer.frame(PING, data, chop=chop)
                    peer.expect((PONG, data))
                    peer.finish()
        self.fails((PING, b"\xfe" * 126))
        for data in (b"", b"unsolicited pong payload"):
            with self.peer() as peer:
                peer.frame(PONG, data)
                peer.frame(PING, b"ping payload")
                peer.expect((PONG, b"ping payload"))
                peer.finish()
        for chop in (None, 1):
            with self.peer() as peer:
                for n in range(10):
                    peer.frame(PING, b"payload-%d" % n, chop=chop)
                peer.expect(*((PONG, b"payload-%d" % n) for n in range(10)))
                peer.finish()

    def reserved(self):
        """3, 4: reserved bits and opcodes fail the connection, also behind good messages, however they are cut."""
        hello = (TEXT, b"Hello, world!")
        for rsv in range(1, 8):
            for opcode in (TEXT, BINARY, PING, PONG, CLOSE):
                self.fails((opcode, b"small frame"[:0 if opcode == CLOSE else None], {"rsv": rsv}))
            for chop in (None, 1):
                self.fails(hello, (TEXT, b"Hello, world!", {"rsv": rsv, "chop": chop}), before=[hello])
        for opcode in list(range(3, 8)) + list(range(11, 16)):
            self.fails((opcode, b""))
            self.fails((opcode, b"reserved opcode payload"))
            for chop in (None, 1):
                self.fails(hello, (opcode, b"payload", {"chop": chop}), (PING, b""), before=[hello])

    def fragments(self):
        """5, 10: fragments are put together; control frames may stand between them, and may not be fragmented."""
        for chop in (None, 1):
            for opcode in (PING, PONG):
                self.fails((opcode, b"fragment1", {"fin": False, "chop": chop}), (CONT, b"fragment2", {"chop": chop}))
            for opcode in (TEXT, BINARY):
                with self.peer() as peer:
                    peer.frame(opcode, b"fragment1", fin=False, chop=chop)
                    peer.frame(PING, b"ping", chop=chop)
                    peer.frame(CONT, b"", fin=False, chop=chop)
                    peer.frame(PONG, b"pong", chop=chop)
                    peer.frame(CONT, b"fragment2", chop=chop)
                    peer.expect((PONG, b"ping"), (opcode, b"fragment1fragment2"))
                    peer.frame(opcode, b"", fin=False)
                    peer.frame(CONT, b"")
                    peer.expect((opcode, b""))
                    peer.finish()
            for fin in (True, False):
                self.fails((CONT, b"non-continuation payload", {"fin": fin, "chop": chop}), (TEXT, b"Hello"))
            self.fails((TEXT, b"fragment1", {"fin": False, "chop": chop}), (TEXT, b"fragment2", {"chop": chop}))
            self.fails((TEXT, b"a", {"fin": False}), (CONT, b"b"), (CONT, b"c", {"fin": False, "chop": chop}), before=[(TEXT, b"ab")])
        with self.peer() as peer:
            for n in range(5):
                peer.frame(CONT if n else TEXT, b"fragment%d" % n, fin=n == 4)
                if n in (1, 3):
                    peer.frame(PING, b"pongme %d" % n)
            peer.expect((PONG, b"pongme 1"), (PONG, b"pongme 3"), (TEXT, b"fragment0fragment1fragment2fragment3fragment4"))
            peer.finish()
        with self.peer() as peer:       # 10.1.1
            data = b"*" * 65536
            for at in range(0, len(data), 1300):
                peer.frame(CONT if at else TEXT, data[at:at + 1300], fin=at + 1300 >= len(data))
            peer.expect((TEXT, data))
            peer.finish()

    def utf8(self):
        """6: good text, whole, in fragments of one byte and in bytes; bad text fails with 1007, as soon as it is bad."""
        for text in GOOD_UTF8:
            data = text.encode()
            self.echo(TEXT, data)
            self.echo(TEXT, data, chop=1)
            with self.peer() as peer:
                for n in range(len(data)):
                    peer.frame(CONT if n else TEXT, data[n:n + 1], fin=n == len(data) - 1)
                if data:
                    peer.expect((TEXT, data))
                peer.finish()
        for data in BAD_UTF8:
            self.fails((TEXT, data), codes=(1007,))
            self.fails((TEXT, b"good " + data, {"chop": 1}), codes=(1007,))
            self.fails((TEXT, data[:1], {"fin": False}), (CONT, data[1:]), codes=(1007,))
            self.echo(BINARY, data)
        begin, bad, end = "κόσμε".encode(), b"\xf4\x90\x80\x80", b"edited"
        self.fails((TEXT, begin, {"fin": False}), (CONT, bad, {"fin": False}), codes=(1007,))      # 6.4: nothing more is waited for
        with self.peer() as peer:
            whole = bytearray(begin + bad + end)
            mask = b"\x01\x02\x03\x04"
            masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(whole))
            peer.socket.sendall(bytes([0x81, 0x80 | len(whole)]) + mask + masked[:len(begin) + 2])      # not the whole frame
            peer.closed(1007)

    def closing(self):
        """7: a close is answered once, with its code; what follows is passed over; codes and reasons that may not be are refused."""
        with self.peer() as peer:
            peer.frame(TEXT, b"Hello World!")
            peer.expect((TEXT, b"Hello World!"))
            peer.finish()
        for frame in ((CLOSE, b""), (PING, b"behind"), (TEXT, b"behind")):
            with self.peer() as peer:
                peer.frame(CLOSE, b"")
                peer.frame(*frame)
                peer.closed(None)
        with self.peer() as peer:
            peer.frame(TEXT, b"fragment1", fin=False)
            peer.frame(CLOSE, b"")
            peer.frame(CONT, b"fragment2")
            peer.closed(None)
        with self.peer() as peer:
            peer.frame(TEXT, b"BAsd7&jh23" * 26214)
            peer.frame(CLOSE, struct.pack("!H", 1000))
            peer.expect((TEXT, b"BAsd7&jh23" * 26214))
            peer.closed(1000)
        self.fails((CLOSE, b"a"))
        for reason in (b"", b"Hello World!", b"*" * 123, "κόσμε".encode()):
            self.fails((CLOSE, struct.pack("!H", 1000) + reason), codes=(1000,))
        self.fails((CLOSE, struct.pack("!H", 1000) + b"*" * 124))
        self.fails((CLOSE, struct.pack("!H", 1000) + BAD_UTF8[0]), codes=(1007, 1002))
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
            self.fails((CLOSE, struct.pack("!H", code)), codes=(code,))
        for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535):
            self.fails((CLOSE, struct.pack("!H", code)))

    def large(self, sizes):
        """9: large messages, whole, in fragments and in pieces."""
        for opcode, size in itertools.product((TEXT, BINARY), sizes):
            data = (b"BAsd7&jh23" * (size // 10 + 1))[:size]
            self.echo(opcode, data)
            for piece in (64, 256, 4096, 65536):
                if size // piece > 100000:
                    continue
                with self.peer() as peer:
                    for at in range(0, size, piece):
                        peer.frame(CONT if at else opcode, data[at:at + piece], fin=at + piece >= size)
                    peer.expect((opcode, data))
                    peer.finish()
            for chop in (64, 1024):
                if size <= 1 << 20:
                    self.echo(opcode, data, chop=chop)

    def sound(self):
        """The server still serves, and the sanitizers have nothing to say."""
        self.echo(TEXT, b"still there")
        self.server.stdin.close()
        ensure(self.server.wait(10) == 0, "it ended with %s" % self.server.returncode)
        self.errors.seek(0)
        lib.ensure_empty(self.errors.read().splitlines()[:10], "errors")
        lib.note("%d connections" % self.count)


def main():
    options = lib.arguments("The framing of WebSocket, by the cases of Autobahn's suite.")
    suite = Suite()
    sizes = (65536, 262144) + ((1 << 20, 4 << 20, 8 << 20, 16 << 20) if not options.short else ())
    lib.main([(name, getattr(suite, name)) for name in ("messages", "pings", "reserved", "fragments", "utf8", "closing")] +
             [("large", lambda: suite.large(sizes)), ("sound", suite.sound)], 120 if options.short else 900)


if __name__ == "__main__":
    main()
