#!/usr/bin/python3
"""test/integration/gateway_framing.py: bytes that no honest client sends, each with what usherd has to make of it.

Every case is sent over a socket of its own. Told are the replies that may come, whether the connection is closed behind
them, and how many events the case may append: what stands in a body, or behind a request that was refused, must never be
taken for another request. A connection that is said to stay open must answer one more request, in step.
"""
import collections
import os
import re
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))

import lib      # noqa: E402
import usherd   # noqa: E402
from lib import ensure      # noqa: E402

REPLY_SECONDS = 30
MEGABYTE = 1 << 20
OPEN, CLOSED, EITHER = "open", "closed", "either"
BAD = {400}

# parts: bytes to send, one after the other; a part that is a function is called with the socket and what fills in names.
# replies: for each reply a set of statuses. state: of the connection behind them. appended: how many events there must be
# in the case's stream; None: one at most.
Case = collections.namedtuple("Case", "name parts replies state appended")
CASES = []


def case(name, parts, replies, state=CLOSED, appended=0):
    CASES.append(Case(name, parts if isinstance(parts, list) else [parts], replies, state, appended))


# --- what cases are made of. {S} is the case's stream, {T} a token.

EVENT = b'{"type":"t.e","data":{}}'
LENGTH = b"Content-Length: %d\r\n" % len(EVENT)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVENT), EVENT)
SMUGGLED = (b"POST /v1/streams/{S}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {T}\r\n"
            b"Content-Type: application/json\r\n" + LENGTH + b"\r\n" + EVENT)


def post(headers=LENGTH, body=EVENT, host=b"Host: localhost\r\n", line=b"POST /v1/streams/{S}/events HTTP/1.1\r\n"):
    return (line + host + b"Authorization: Bearer {T}\r\nContent-Type: application/json\r\n" + headers + b"\r\n" + body)


def get(headers=b"", target=b"/healthz", version=b"HTTP/1.1", host=b"Host: localhost\r\n", method=b"GET"):
    return method + b" " + target + b" " + version + b"\r\n" + host + headers + b"\r\n"


def half_close(connection, fill):
    connection.shutdown(socket.SHUT_WR)


def pause(connection, fill):
    time.sleep(0.1)


def get_with_body(connection, fill):
    body = fill(SMUGGLED)
    connection.sendall(get(b"Content-Length: %d\r\n" % len(body)) + body)


def one_by_one(data):
    def run(connection, fill):
        for byte in fill(data):
            connection.sendall(bytes((byte,)))
    return run


def sound():
    case("an append", post(), [{201}], OPEN, 1)
    case("an append in chunks", post(CHUNKED, CHUNKS), [{201}], OPEN, 1)
    case("an append in chunks, the header's value in capitals", post(b"Transfer-Encoding: CHUNKED\r\n", CHUNKS), [{201}], OPEN, 1)
    case("a tab in front of the header's value", post(b"Transfer-Encoding:\tchunked\r\n", CHUNKS), [{201}], OPEN, 1)
    case("many small chunks", post(CHUNKED, b"".join(b"1\r\n%c\r\n" % c for c in EVENT) + b"0\r\n\r\n"), [{201}], OPEN, 1)
    case("a chunk's size with leading zeros", post(CHUNKED, b"0000" + CHUNKS), [{201} | BAD], EITHER, None)
    case("a chunk's extension is ignored",
         post(CHUNKED, CHUNKS.replace(b"\r\n", b";name=value;other=\"quoted\"\r\n", 1)), [{201}], OPEN, 1)
    case("trailers are ignored", post(CHUNKED, CHUNKS[:-2] + b"X-Sum: 1\r\nY: 2\r\n\r\n"), [{201}], OPEN, 1)
    case("byte by byte", one_by_one(post()), [{201}], OPEN, 1)
    case("chunks byte by byte", one_by_one(post(CHUNKED, CHUNKS)), [{201}], OPEN, 1)
    case("blanks behind a length", post(LENGTH.replace(b"\r", b"  \t\r")), [{201}], OPEN, 1)
    case("three requests at once", post() * 3, [{201}] * 3, OPEN, 3)
    case("twenty requests at once", (post() + get()) * 10, [{201}, {200}] * 10, OPEN, 10)
    case("requests in chunks at once", post(CHUNKED, CHUNKS) * 3, [{201}] * 3, OPEN, 3)
    case("an empty line in front", b"\r\n" + post(), [{201} | BAD], EITHER, None)
    case("Connection: close", post(LENGTH + b"Connection: close\r\n"), [{201}], CLOSED, 1)
    case("HTTP/1.0", get(version=b"HTTP/1.0"), [{200}], CLOSED)
    case("HTTP/1.0 without a host", get(version=b"HTTP/1.0", host=b""), [{200}], CLOSED)
    case("100-continue", [post(LENGTH + b"Expect: 100-continue\r\n", b""), pause, EVENT], [{100}, {201}], OPEN, 1)
    case("100-continue with the body at once", post(LENGTH + b"Expect: 100-continue\r\n"), [{201}], OPEN, 1)
    case("100-continue in chunks", [post(CHUNKED + b"Expect: 100-continue\r\n", b""), pause, CHUNKS], [{100}, {201}], OPEN, 1)
    case("an upgrade to h2c is not taken", get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
         [{200, 400, 426, 501}], EITHER)
    case("header and body apart", [post(body=b""), pause, EVENT], [{201}], OPEN, 1)


def lengths():
    for value in (b"+%d", b"-%d", b"0x%x", b"%d.0", b"%d,%d", b"%d %d", b"\"%d\"", b"%de0", b"", b"abc", b"-0"):
        number = value.count(b"%")
        shown = value % ((len(EVENT),) * number) if number else value
        case("Content-Length: " + shown.decode(), post(b"Content-Length: " + shown + b"\r\n") + SMUGGLED, [BAD])
    case("a length beyond 64 bits", post(b"Content-Length: 18446744073709551640\r\n") + SMUGGLED, [{400, 413}])
    case("a length of 40 digits", post(b"Content-Length: " + b"9" * 40 + b"\r\n") + SMUGGLED, [{400, 413}])
    case("a length above the limit", post(b"Content-Length: 104857600\r\n", b""), [{413}])
    case("a length above 4 GB, small in 32 bits", post(b"Content-Length: %d\r\n" % ((1 << 32) + len(EVENT))) + SMUGGLED, [{413}])
    case("a length too large, with 100-continue", post(b"Content-Length: 104857600\r\nExpect: 100-continue\r\n", b""), [{413}])
    case("two equal lengths", post(LENGTH + LENGTH) + SMUGGLED, [BAD])
    case("two lengths", post(LENGTH + b"Content-Length: 5\r\n") + SMUGGLED, [BAD])
    case("two lengths in lower and upper case", post(LENGTH + b"CONTENT-LENGTH: 5\r\n") + SMUGGLED, [BAD])
    case("no length", post(b"", b""), [{400, 411, 415, 422}], EITHER)
    case("a length of 0", post(b"Content-Length: 0\r\n", b""), [{400, 411, 415, 422}], EITHER)
    case("a body shorter than its length", [post(body=EVENT[:-4]), half_close], [], CLOSED)
    case("no body at all", [post(body=b""), half_close], [], CLOSED)
    case("more than its length", post(body=EVENT + b"garbage\r\n\r\n"), [{201}, BAD], CLOSED, 1)
    case("GET with a body that is a request", [get_with_body], [{200} | BAD], EITHER)


def encodings():
    both = LENGTH + CHUNKED
    case("a length and chunks", post(both, CHUNKS) + SMUGGLED, [BAD])
    case("chunks and a length", post(CHUNKED + LENGTH, CHUNKS) + SMUGGLED, [BAD])
    case("CL.TE", post(b"Content-Length: 6\r\n" + CHUNKED, b"0\r\n\r\n") + SMUGGLED, [BAD])
    case("TE.CL", post(CHUNKED + b"Content-Length: 4\r\n", b"5c\r\n") + SMUGGLED, [BAD])
    case("TE.CL with the request in a chunk", post(CHUNKED + b"Content-Length: 4\r\n", b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"),
         [BAD])
    for value in (b"identity", b"xchunked", b"chunked, identity", b"identity, chunked", b"gzip, chunked", b"chunked, chunked",
                  b"chunked,", b",chunked", b"\"chunked\"", b"chunked; q=1", b"chunke", b"chunkedd", b"", b"\x0bchunked",
                  b"chunked\x0b", b"\x0cchunked"):
        case("Transfer-Encoding: " + repr(value)[2:-1], post(b"Transfer-Encoding: " + value + b"\r\n", CHUNKS) + SMUGGLED, [{400, 501}])
        case("a length and Transfer-Encoding: " + repr(value)[2:-1],
             post(LENGTH + b"Transfer-Encoding: " + value + b"\r\n", EVENT) + SMUGGLED, [{400, 501}])
    case("two encodings", post(CHUNKED + CHUNKED, CHUNKS) + SMUGGLED, [{400, 501}])
    case("two encodings, the second unknown", post(CHUNKED + b"Transfer-Encoding: cow\r\n", CHUNKS) + SMUGGLED, [{400, 501}])
    case("chunks in HTTP/1.0", post(CHUNKED, CHUNKS, line=b"POST /v1/streams/{S}/events HTTP/1.0\r\n") + SMUGGLED, [BAD])
    case("an underscore does not make it the header", post(LENGTH + b"Transfer_Encoding: chunked\r\n"), [{201} | BAD], EITHER, None)


def chunks():
    size = b"%x" % len(EVENT)
    for shown in (b"0x" + size, b"+" + size, b"-" + size, b" " + size, size + b" ", b"", b"g", b"1_8", size + b"\x00",
                  b"ffffffffffffffff", b"10000000000000018", b"8000000000000000", b"f" * 40, b"\"18\"", size + b",1"):
        case("a chunk's size of " + repr(shown)[2:-1], post(CHUNKED, shown + b"\r\n" + EVENT + b"\r\n0\r\n\r\n") + SMUGGLED, [{400, 413}])
    case("a chunk's size ended by LF", post(CHUNKED, CHUNKS.replace(b"\r\n", b"\n", 1)) + SMUGGLED, [BAD])
    case("a chunk's size ended by CR", post(CHUNKED, CHUNKS.replace(b"\r\n", b"\r", 1)) + SMUGGLED, [BAD])
    case("a LF in a chunk's extension", post(CHUNKED, CHUNKS.replace(b"\r\n", b";a\nb\r\n", 1)) + SMUGGLED, [BAD])
    case("a NUL in a chunk's extension", post(CHUNKED, CHUNKS.replace(b"\r\n", b";a\x00b\r\n", 1)) + SMUGGLED, [BAD])
    case("an extension of a megabyte", post(CHUNKED, size + b";" + b"a" * MEGABYTE + b"\r\n" + EVENT + b"\r\n0\r\n\r\n"), [{400, 413, 431}])
    case("data longer than its chunk", post(CHUNKED, CHUNKS.replace(b"}}\r", b"}}xx\r")) + SMUGGLED, [BAD])
    case("data without its line's end", post(CHUNKED, CHUNKS.replace(b"}}\r\n", b"}}")) + SMUGGLED, [BAD])
    case("data ended by LF", post(CHUNKED, CHUNKS.replace(b"}}\r\n", b"}}\n")) + SMUGGLED, [BAD])
    case("the last chunk ended by LF", post(CHUNKED, CHUNKS[:-4] + b"\n\n"), [BAD])
    case("no end of the chunks", [post(CHUNKED, CHUNKS[:-5]), half_close], [], CLOSED)
    case("no line behind the last chunk", [post(CHUNKED, CHUNKS[:-2]), half_close], [], CLOSED)
    case("a header of framing among the trailers", post(CHUNKED, CHUNKS[:-2] + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
         [{201} | BAD], EITHER, None)
    case("a megabyte of trailers", post(CHUNKED, CHUNKS[:-2] + b"X: %s\r\n" % (b"y" * 1000) * 1000 + b"\r\n"), [{400, 413, 431}])
    case("a trailer that is no header", post(CHUNKED, CHUNKS[:-2] + b"nothing\r\n\r\n"), [{201} | BAD], EITHER, None)
    case("two megabytes in small chunks", post(CHUNKED, b"400\r\n%s\r\n" % (b" " * 1024) * 2048 + b"0\r\n\r\n"), [{413}])
    case("a chunk of 100 MB", post(CHUNKED, b"6400000\r\n" + b" " * 4096), [{413}])


def lines():
    smuggling = b"X: 1\nTransfer-Encoding: chunked\r\n"
    case("a space in front of a colon", post(b"Content-Length : %d\r\n" % len(EVENT)) + SMUGGLED, [BAD])
    case("a tab in front of a colon", post(b"Content-Length\t: %d\r\n" % len(EVENT)) + SMUGGLED, [BAD])
    case("a space in front of the colon of the encoding", post(LENGTH + b"Transfer-Encoding : chunked\r\n", CHUNKS) + SMUGGLED, [BAD])
    case("a folded header", post(LENGTH + b"X-Folded: one\r\n two\r\n"), [BAD])
    case("a folded header with a tab", post(LENGTH + b"X-Folded: one\r\n\ttwo\r\n"), [BAD])
    case("a folded length", post(b"Content-Length:\r\n %d\r\n" % len(EVENT)) + SMUGGLED, [BAD])
    case("a folded encoding", post(LENGTH + b"Transfer-Encoding:\r\n chunked\r\n", CHUNKS) + SMUGGLED, [BAD])
    case("a space in front of the first header", post(host=b" Host: localhost\r\n") + SMUGGLED, [BAD])
    case("all lines ended by LF", post().replace(b"\r\n", b"\n"), [{201} | BAD], EITHER, None)
    case("a LF that hides an encoding", post(LENGTH + smuggling, CHUNKS) + SMUGGLED, [BAD])
    case("a CR within a value", post(LENGTH + b"X: a\rb\r\n") + SMUGGLED, [BAD])
    case("a CR within a name", post(LENGTH + b"X\rY: a\r\n") + SMUGGLED, [BAD])
    case("a CR that hides an encoding", post(LENGTH + b"X: a\rTransfer-Encoding: chunked\r\n", CHUNKS) + SMUGGLED, [BAD])
    case("a NUL within a value", post(LENGTH + b"X: a\x00b\r\n") + SMUGGLED, [BAD])
    case("a NUL within a name", post(LENGTH + b"X\x00Y: a\r\n") + SMUGGLED, [BAD])
    case("a NUL within a length", post(LENGTH.replace(b"\r", b"\x00\r")) + SMUGGLED, [BAD])
    case("a NUL in the target", get(target=b"/health\x00z") + SMUGGLED, [BAD])
    case("a header without a colon", post(LENGTH + b"Nothing\r\n") + SMUGGLED, [BAD])
    case("a header without a name", post(LENGTH + b": nothing\r\n") + SMUGGLED, [BAD])
    for name in (b"X Y", b"X(", b"X\x80", b"X\x7f", b"X\x01", b"\xc3\xa9"):
        case("a header's name of " + repr(name)[2:-1], post(LENGTH + name + b": 1\r\n") + SMUGGLED, [BAD])
    case("bytes above 127 in a value", post(LENGTH + b"X-Name: \xc3\xa9\x80\r\n"), [{201} | BAD], EITHER, None)
    case("a control character in a value", post(LENGTH + b"X-Name: \x01\r\n") + SMUGGLED, [BAD])


def targets():
    case("no host", get(host=b"") + SMUGGLED, [BAD])
    case("two hosts", get(b"Host: other\r\n") + SMUGGLED, [BAD])
    case("two equal hosts", get(b"Host: localhost\r\n") + SMUGGLED, [BAD])
    case("a host with a blank", get(host=b"Host: local host\r\n") + SMUGGLED, [BAD])
    case("a host with a path", get(host=b"Host: localhost/x\r\n") + SMUGGLED, [BAD])
    case("a host with a user", get(host=b"Host: me@localhost\r\n") + SMUGGLED, [BAD])
    case("an absolute target", get(target=b"http://localhost/healthz"), [{200} | BAD], EITHER)
    case("an absolute target of another scheme", get(target=b"gopher://localhost/healthz"), [{400, 404}], EITHER)
    case("OPTIONS *", get(target=b"*", method=b"OPTIONS"), [{200, 204, 400, 404, 405}], EITHER)
    case("CONNECT", get(target=b"localhost:80", method=b"CONNECT") + SMUGGLED, [{400, 404, 405, 501}])
    case("TRACE", get(method=b"TRACE"), [{400, 405, 501}], EITHER)
    case("a target without its slash", get(target=b"healthz"), [{400, 404}], EITHER)
    case("no target", b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED, [BAD])
    case("an empty target", b"GET  HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED, [{400, 404}])
    case("two blanks in front of the target", b"GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED, [{400, 404}])
    case("a tab in the request's line", b"GET\t/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED, [{400, 405, 501}])
    case("a blank in the target", get(target=b"/healthz x") + SMUGGLED, [BAD])
    case("a blank behind the version", get(version=b"HTTP/1.1 ") + SMUGGLED, [BAD])
    case("an unknown method", get(method=b"BREW"), [{400, 405, 501}], EITHER)
    case("a method in lower case", get(method=b"get"), [{400, 405, 501}], EITHER)
    case("a method of 10,000 letters", get(method=b"A" * 10000), [{400, 405, 414, 431, 501}])
    case("a fragment", get(target=b"/healthz#x"), [{200, 400, 404}], EITHER)
    case("a target of 20,000 bytes", get(target=b"/" + b"a" * 20000), [{400, 404, 414, 431}], EITHER)
    case("bytes above 127 in the target", get(target=b"/\xff\xfe"), [{400, 404}], EITHER)
    for target in (b"/%00", b"/%", b"/%2", b"/%zz", b"/healthz%00", b"/v1/streams/a%00b/events", b"/..%2f..%2fetc/passwd",
                   b"/../../../etc/passwd", b"/v1/../../x", b"//healthz/..//", b"/v1/log?types=%ff", b"/v1/streams/%c0%af/events"):
        case("the target " + target.decode(), get(b"Authorization: Bearer {T}\r\n", target=target), [{400, 404, 422}], EITHER)
    case("HTTP/0.9", b"GET /healthz\r\n" + b"\r\n", [BAD])
    case("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [{400, 405, 505}])
    case("HTTP/9.9", get(version=b"HTTP/9.9") + SMUGGLED, [{400, 505}])
    case("no version of HTTP", get(version=b"XTTP/1.1") + SMUGGLED, [BAD])
    case("a version of three parts", get(version=b"HTTP/1.1.1") + SMUGGLED, [{400, 505}])
    case("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64, [BAD])
    case("only NULs", b"\x00" * 100 + b"\r\n\r\n", [BAD])


def twice():
    case("two authorizations", post(LENGTH + b"Authorization: Bearer x\r\n"), [{400, 401}], EITHER)
    case("two keys of idempotency", post(LENGTH + b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n"), [{400, 422}], EITHER)
    case("two expected versions", post(LENGTH + b"Expected-Version: 0\r\nExpected-Version: 7\r\n"), [{400, 422}], EITHER)
    case("two content types", post(LENGTH + b"Content-Type: text/plain\r\n"), [{400, 415}], EITHER)
    case("an unknown expectation", post(LENGTH + b"Expect: a miracle\r\n"), [{417}], EITHER)


def large():
    case("a header of 17 KB", post(LENGTH + b"X: " + b"y" * 17000 + b"\r\n"), [{400, 431}])
    case("17 KB of headers", post(LENGTH + b"X: yyyyyyyyyyyyyyy\r\n" * 1000), [{400, 431}])
    case("many headers within the limit", post(LENGTH + b"X-%d: y\r\n" % 1 * 200), [{201, 400, 431}], EITHER, None)
    case("a key of idempotency of 10 KB", post(LENGTH + b"Idempotency-Key: " + b"k" * 10000 + b"\r\n"), [{400, 422, 431}], EITHER)


def pour(head, block, total=100 * MEGABYTE):
    """Sends head and then blocks until the server stops us; a server that takes all of it is a bad one."""
    def run(connection, fill):
        sent = 0
        try:
            connection.sendall(fill(head))
            while sent < total:
                connection.sendall(block)
                sent += len(block)
        except OSError:
            pass
        ensure(sent < 16 * MEGABYTE, "it took %d bytes before it refused" % sent)
    return run


def floods():
    line = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    case("100 MB of headers", [pour(line, b"X-Filler: " + b"y" * 1000 + b"\r\n")], [{400, 431}])
    case("100 MB of one header", [pour(line + b"X: ", b"y" * 65536)], [{400, 431}])
    case("100 MB of a target", [pour(b"GET /", b"y" * 65536)], [{400, 414, 431}])
    case("100 MB of a body with its length", [pour(post(b"Content-Length: 104857600\r\n", b""), b" " * 65536)], [{413}])
    case("100 MB of a body in chunks", [pour(post(CHUNKED, b""), b"10000\r\n" + b" " * 65536 + b"\r\n")], [{413}])
    case("100 MB without a line", [pour(b"", b"y" * 65536)], [{400, 405, 414, 431}])


# --- sending them

class Replies:
    """What comes back on a connection, reply by reply."""

    def __init__(self, connection):
        self.connection = connection
        self.data = b""
        self.ended = False

    def more(self):
        try:
            got = self.connection.recv(65536)
        except ConnectionError:
            got = b""
        self.ended = not got
        self.data += got
        return not self.ended

    def take(self, length):
        while len(self.data) < length:
            ensure(self.more(), "the connection ended within a reply: %r" % self.data[:100])
        taken, self.data = self.data[:length], self.data[length:]
        return taken

    def line(self):
        while b"\r\n" not in self.data:
            ensure(self.more(), "the connection ended within a reply: %r" % self.data[:100])
        return self.take(self.data.index(b"\r\n") + 2)[:-2]

    def next(self):
        """(status, headers, body), or None at the end."""
        while not self.data:
            if not self.more():
                return None
        line = self.line()
        ensure(re.fullmatch(rb"HTTP/1\.[01] [1-5][0-9][0-9]( .*)?", line), "no reply's first line: %r" % line[:200])
        status, headers = int(line[9:12]), {}
        while True:
            line = self.line()
            if not line:
                break
            name, _, value = line.partition(b":")
            ensure(re.fullmatch(rb"[A-Za-z0-9-]+", name), "no header: %r" % line)
            headers[name.lower().decode()] = value.strip().decode("latin-1")
        return status, headers, self.body(status, headers)

    def body(self, status, headers):
        if status in (100, 204, 304):
            return b""
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = int(self.line(), 16)
                body += self.take(size + 2)[:-2]
                if size == 0:
                    return body
        if "content-length" in headers:
            return self.take(int(headers["content-length"]))
        while self.more():
            pass
        body, self.data = self.data, b""
        return body


def send(connection, parts, fill):
    for part in parts:
        try:
            if callable(part):
                part(connection, fill)
            else:
                connection.sendall(fill(part))
        except OSError:
            return                  # refused already, as it should be: the replies tell


# Behind all replies; it is answered when the connection is still open, and in step.
PROBE = get(b"Request-Id: the-probe\r\nConnection: close\r\n")


def fits(replies, wanted):
    return len(replies) == len(wanted) and all(reply[0] in statuses for reply, statuses in zip(replies, wanted))


def judge(case, replies):
    """What is wrong with these replies, or nothing."""
    shown = ", ".join("%d" % reply[0] for reply in replies) or "nothing"
    probed = bool(replies) and replies[-1][1].get("request-id") == "the-probe"
    if probed and replies[-1][0] != 200:
        return "the request behind it was answered with " + shown
    if probed and case.state == CLOSED:
        return "the connection stays open behind " + shown
    if not probed and case.state == OPEN:
        return "the connection is closed behind " + shown
    replies = replies[:-1] if probed else replies
    if {100} not in case.replies and b"Expect: 100-continue" in b"".join(part for part in case.parts if not callable(part)):
        replies = [reply for reply in replies if reply[0] != 100]       # it may, and need not
    if not fits(replies, case.replies) and not (not case.replies and fits(replies, [{400, 408}])):
        return "answered with " + shown
    for status, headers, body in replies:
        if status >= 400 and headers.get("content-type") != "application/problem+json" and case.name not in LIBRARY_MADE:
            return "%d is no problem+json but %s: %r" % (status, headers.get("content-type"), body[:100])
        if re.search(rb"HTTP/1\.[01] [1-5]", body):
            return "a reply within a reply: %r" % body[:200]
    return None


def run(case, port, fill):
    """What is wrong, or nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=REPLY_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        replies, got = Replies(connection), []
        try:
            send(connection, case.parts, fill)
            if case.state != CLOSED:
                send(connection, [PROBE], fill)
            while True:
                reply = replies.next()
                if reply is None:
                    return judge(case, got)
                got.append(reply)
        except socket.timeout:
            return "the connection stays open behind " + (", ".join(str(reply[0]) for reply in got) or "nothing")
        except lib.Failure as failure:
            return str(failure)


class Table:
    """One usherd for all cases; each case has a stream."""

    def __init__(self):
        base = lib.work_directory()
        self.cluster = lib.Cluster(base).initdb().start().create()
        self.daemon = usherd.Usherd(self.cluster, body_timeout_seconds=5, header_timeout_seconds=5).start()
        self.token = self.daemon.token().encode()
        self.number = 0

    def fill(self, stream):
        return lambda data: data.replace(b"{S}", stream.encode()).replace(b"{T}", self.token)

    def group(self, make):
        """All cases of a group must hold, each with its number of events."""
        def test():
            CASES.clear()
            make()
            found = []
            for case in list(CASES):
                self.number += 1
                stream = "frame-%d" % self.number
                wrong = run(case, self.daemon.port, self.fill(stream))
                if not self.daemon.running():
                    raise lib.Failure("%s: usherd has ended: %s" % (case.name, self.daemon.said()))
                there = self.cluster.value("SELECT count(*) FROM usher.events WHERE stream = %s", (stream,))
                if not wrong and there != case.appended and not (case.appended is None and there <= 1):
                    wrong = "%d events were appended" % there
                if wrong:
                    found.append("%s: %s" % (case.name, wrong))
            lib.note("%d cases" % len(CASES))
            lib.ensure_empty(found, make.__name__)
        return test

    def split(self):
        """A request that arrives in two parts is the same request, wherever the border."""
        found = []
        for body in (post(), post(CHUNKED, CHUNKS)):
            data = self.fill("split-1")(body)
            for border in list(range(1, 60)) + list(range(len(data) - 60, len(data))):
                wrong = run(Case("split", [data[:border], lambda *_: time.sleep(0.002), data[border:]], [{201}], OPEN, 1),
                            self.daemon.port, lambda data: data)
                if wrong:
                    found.append("at %r|%r: %s" % (data[max(0, border - 20):border], data[border:border + 20], wrong))
        lib.ensure_empty(found, "a request in two parts")
        self.daemon.ensure_alive()

    def cut(self):
        """A request whose rest never comes is none, wherever it ends."""
        data = self.fill("cut-1")(post())
        for end in range(0, len(data), 3):
            with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=REPLY_SECONDS) as connection:
                connection.sendall(data[:end])
        with self.daemon.client() as client:
            ensure(client.append("cut-2").status == 201, "no append behind the cut ones")
        ensure(self.cluster.value("SELECT count(*) FROM usher.events WHERE stream = 'cut-1'") == 0, "a part was appended")
        self.daemon.ensure_alive()

    def memory(self):
        """What was poured in is not kept."""
        before = self.daemon.rss_kb()
        self.group(floods)()
        grown = self.daemon.rss_kb() - before
        ensure(grown < 32 * 1024, "the memory grew by %d kB" % grown)

    def waits(self):
        """A request that never becomes whole is ended by time."""
        for name, data in (("header", b"GET /healthz HTTP/1.1\r\nHost: loc"), ("body", post(body=EVENT[:3]))):
            with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=60) as connection:
                connection.sendall(self.fill("wait-1")(data))
                began = time.monotonic()
                replies = Replies(connection)
                reply = replies.next()
                ensure(reply is None or reply[0] in (400, 408), "a %s without end: %s" % (name, reply))
                ensure(reply is None or replies.next() is None, "the connection stays open")
                ensure(time.monotonic() - began < 40, "a %s without end was ended after %.0f s" % (name, time.monotonic() - began))


# The replies that the library makes before we see the request; all others are problem+json.
LIBRARY_MADE = set()


def main():
    lib.arguments("Malformed framing and request smuggling.")
    table = Table()
    groups = (sound, lengths, encodings, chunks, lines, targets, twice, large)
    lib.main([(make.__name__, table.group(make)) for make in groups] + [
        ("requests in two parts", table.split), ("cut requests", table.cut), ("floods", table.memory),
        ("requests without end", table.waits)], 120)


if __name__ == "__main__":
    main()
