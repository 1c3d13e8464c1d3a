#!/usr/bin/python3
# slow: 15 s
"""test/chaos/gateway_soak.py: usherd for a long time, against clients that say little, and under valgrind.

soak: requests of all kinds by wrk (a million; --short: 20,000) and connections that are opened and closed in every way
(100,000; --short: 3,000): its memory and its descriptors are flat. slowloris: 1,000 sockets that send a byte now and then;
the others are served, and the slow ones ended. valgrind: the framing table and the clients of the API run on a usherd under
valgrind (the table by --valgrind: some minutes); it finds no error and nothing lost.
"""
import os
import random
import re
import socket
import struct
import subprocess
import threading
import time

import lib
import usherd
from lib import ensure

RESET = struct.pack("ii", 1, 0)         # SO_LINGER: close with RST
GROWTH_KB_MAX, GROWTH_SHARE_MAX = 4096, 0.1
SLOW_SOCKETS = 1000
VALGRIND = "valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite"


def request(method, path, token, body=None, headers=""):
    text = "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n%s" % (method, path, token, headers)
    if body is not None:
        text += "Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    return text + "\r\n" + (body or "")


class Soak:
    def __init__(self, options):
        self.requests = options.requests or (20000 if options.short else 1000000)
        self.connections = options.connections or (3000 if options.short else 100000)
        self.base = lib.work_directory()
        self.cluster = lib.Cluster(self.base).initdb().start().create()
        self.daemon = usherd.Usherd(self.cluster, header_timeout_seconds=3).start()
        self.address = addresses()

    # requests

    def kinds(self):
        """Good ones and bad ones; @@@@@@ stands for a number."""
        token, event = self.daemon.token(), '{"type":"soak.done","data":{"text":"%s"}}' % ("x" * 100)
        return [
            request("POST", "/v1/streams/soak-@@@@@@/events", token, event),
            request("GET", "/v1/streams/soak-@@@@@@/events?max=10", token),
            request("GET", "/v1/log?after=0&max=20", token, headers="Accept-Encoding: gzip\r\n"),
            request("POST", "/v1/streams/soak-@@@@@@/events", token, event, "Idempotency-Key: @@@@@@\r\n"),
            request("POST", "/v1/streams/soak-@@@@@@/events", token, event, "Expected-Version: 900000\r\n"),
            request("POST", "/v1/streams/soak-@@@@@@/events", token, '{"type":"soak.done","data":'),
            request("GET", "/v1/nothing/@@@@@@", token),
            request("GET", "/v1/streams/soak-@@@@@@/events", "no.token.@@@@@@"),
            request("GET", "/v1/whoami", token),
        ]

    def wrk(self, seconds):
        """Requests for so long; how many."""
        path = os.path.join(self.base, "requests")
        with open(path, "w", newline="") as file:
            file.writelines(text.replace("\r\n", "\n") + "\n---\n" for text in self.kinds())
        done = subprocess.run(["wrk", "-t", "1", "-c", "64", "-d", "%ds" % seconds, "-s",
                               os.path.join(lib.ROOT, "bench", "src", "gateway.lua"), "http://127.0.0.1:%d/" % self.daemon.port, "--",
                               "5000", "0", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        count = re.search(r"(\d+) requests in", done.stdout)
        ensure(done.returncode == 0 and count and int(count.group(1)) > 0, "wrk: " + done.stdout[-300:])
        self.daemon.ensure_alive()
        return int(count.group(1))

    # connections

    def open_and_close(self, count):
        """Connections that end in every way, from many addresses."""
        for n in range(count):
            with socket.socket() as connection:
                connection.settimeout(10)
                connection.bind((next(self.address), 0))
                connection.connect(("127.0.0.1", self.daemon.port))
                way = n % 6
                if way in (0, 1):               # asked, answered, closed by either side
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n%s\r\n" % (b"Connection: close\r\n" if way else b""))
                    ensure(connection.recv(4096).startswith(b"HTTP/1.1 200"), "no answer to /healthz")
                elif way == 2:                  # a request that nobody waits for
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                elif way == 3:                  # half a request
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nHo")
                elif way == 4:                  # half a body
                    connection.sendall(request("POST", "/v1/streams/a-1/events", "x", "{}", "").encode()[:-1])
                if n % 2:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def soak(self):
        sent = self.wrk(3)                      # caches fill, buffers grow to what they need
        self.open_and_close(600)
        seen = [self.daemon.rss_kb()]
        descriptors = self.daemon.descriptors()
        opened, began = 0, time.monotonic()
        while sent < self.requests or opened < self.connections:
            if sent < self.requests:
                sent += self.wrk(5)
            if opened < self.connections:
                self.open_and_close(min(5000, self.connections - opened))
                opened += 5000
            seen.append(self.daemon.rss_kb())
        lib.note("%d requests and %d connections in %.0f s; kB of memory: %s" % (
            sent, self.connections, time.monotonic() - began, " ".join(map(str, seen[::max(1, len(seen) // 20)]))))
        # flat: the second half does not lie above the first one
        half = len(seen) // 2 or 1
        grown = max(seen[half:]) - max(seen[:half])
        ensure(grown < max(GROWTH_KB_MAX, GROWTH_SHARE_MAX * seen[0]), "the memory grew by %d kB: %s" % (grown, seen))
        lib.wait_until(lambda: self.daemon.descriptors() <= descriptors + 5, 20,
                       "descriptors to be closed (%d, now %d)" % (descriptors, self.daemon.descriptors()))

    # slow ones

    def slowloris(self):
        stop, ended = threading.Event(), []
        sockets = []
        for _ in range(SLOW_SOCKETS):
            connection = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=10)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
            sockets.append(connection)

        def drip():
            while not stop.wait(0.5):
                for connection in list(sockets):
                    try:
                        connection.sendall(b"y")
                    except OSError:
                        sockets.remove(connection)
                        ended.append(time.monotonic())
        dripping = threading.Thread(target=drip, daemon=True)
        dripping.start()
        took = []
        with self.daemon.client() as client:
            for _ in range(300):
                began = time.monotonic()
                ensure(client.append("slow-1").status == 201, "an append beside slow sockets")
                took.append(time.monotonic() - began)
                time.sleep(0.002)
        lib.note("appends beside %d slow sockets: p50 %.1f ms, p99 %.1f ms" % (
            SLOW_SOCKETS, lib.percentile(took, 0.5) * 1000, lib.percentile(took, 0.99) * 1000))
        ensure(lib.percentile(took, 0.9) < 0.5, "p90 %.0f ms beside slow sockets" % (lib.percentile(took, 0.9) * 1000))
        lib.wait_until(lambda: len(ended) == SLOW_SOCKETS, 20, "the slow sockets to be ended")
        stop.set()
        dripping.join(5)

    # valgrind

    def valgrind(self):
        """The API's ways, good and bad, and a clean end."""
        daemon = usherd.Usherd(self.cluster, name="valgrind", wrap=VALGRIND.split()).start()
        with daemon.client(timeout=60) as client:
            for n in range(30):
                ensure(client.append("grind-1", data={"n": n}).status == 201, "append")
                ensure(client.append("grind-2", Idempotency_Key="k%d" % (n % 7)).status == 201, "append with a key")
                client.append("grind-1", Expected_Version="3")
                client.get("/v1/streams/grind-1/events?max=%d" % n)
                client.get("/v1/log?after=0&types=load.**&max=5", Accept_Encoding="gzip")
                client.get("/v1/categories/grind/events")
                client.get("/v1/nothing")
                client.request("POST", "/v1/events", b"{", {"Content-Type": "application/cloudevents+json"})
                client.post("/v1/transactions", {"streams": [{"stream": "grind-3", "events": [{"type": "a.b", "data": {}}]}]})
                client.get("/openapi.json")
                client.get("/v1/whoami", Authorization="Bearer x.y.%d" % n)
        port, self.daemon.port = self.daemon.port, daemon.port
        self.open_and_close(60)
        self.daemon.port = port
        self.end_of_valgrind(daemon)

    def end_of_valgrind(self, daemon):
        daemon.process.terminate()
        status = daemon.process.wait(120)
        with open(os.path.join(daemon.dir, "stderr"), errors="replace") as file:
            for line in file.read().splitlines()[:60]:
                if line.startswith("=="):
                    lib.note(line[:180])
        ensure(status == 0, "usherd under valgrind ended with %d" % status)

    def framing(self):
        """The whole table of malformed framing under valgrind."""
        done = subprocess.run(["/usr/bin/python3", os.path.join(lib.ROOT, "test", "integration", "gateway_framing.py")],
                              env=dict(os.environ, USHERD_WRAP=VALGRIND), stdout=subprocess.PIPE, universal_newlines=True)
        for line in [line for line in done.stdout.splitlines() if not line.startswith("ok")][:40]:
            lib.note(line[:200])
        ensure(done.returncode == 0, "the framing table under valgrind failed")

    def settle(self):
        self.daemon.ensure_alive()
        self.daemon.stop()
        self.cluster.check()
        lib.ensure_empty(self.cluster.log_crashes(), "server log")


def addresses():
    """Addresses of loopback in turn: no pair of ports is used up, and each address has few connections."""
    while True:
        for n in random.sample(range(2, 250), 248):
            yield "127.0.1.%d" % n


def main():
    options = lib.arguments("usherd for a long time.", requests=(int, None, "in the soak (a million, --short: 20,000)"),
                            connections=(int, None, "opened and closed (100,000; --short: 3,000)"),
                            valgrind=(int, 0, "1: the framing table under valgrind, too"))
    lib.foreign("debian", "clients", "wrk")
    lib.foreign("debian", "valgrind", "valgrind")
    soak = Soak(options)
    tests = ["soak", "slowloris", "valgrind"] + ["framing"] * bool(options.valgrind) + ["settle"]
    lib.main([(name, getattr(soak, name)) for name in tests], 150 if options.short else 3600)


if __name__ == "__main__":
    main()
