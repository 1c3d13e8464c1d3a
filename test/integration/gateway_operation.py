#!/usr/bin/python3
# slow: 40 s
"""test/integration/gateway_operation.py: usherd as those who operate it see it.

Settings by file, environment and flag; reload and rotation; metrics and readiness; rates and addresses; compressed replies;
what systemd is told; the drain at the end.
"""
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import lib      # noqa: E402
import usherd   # noqa: E402
from lib import ensure      # noqa: E402

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_]\w*="(\\.|[^"\\\n])*",?)*\})? ([-+]?(Inf|\d[\d.e+-]*)|NaN)$')


def ask(*arguments, **environment):
    done = subprocess.run([usherd.program()] + list(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, timeout=60, env=dict(os.environ, **environment))
    return done.returncode, done.stdout


def families(text):
    """Checks the format of Prometheus; {name with labels: value}, and the types."""
    samples, types, open_family = {}, {}, None
    ensure(text.endswith("\n"), "the text does not end in a line")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            open_family = line.split()[2]
            ensure(open_family not in types, "%s stands twice" % open_family)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            ensure(name == open_family and kind in ("counter", "gauge", "histogram", "summary"), line)
            types[name] = kind
        else:
            match = SAMPLE.match(line)
            ensure(match, "no sample: %r" % line)
            name = match.group(1)
            if types.get(open_family) in ("histogram", "summary"):
                name = re.sub("_(bucket|sum|count)$", "", name)
            ensure(name == open_family, "%s stands among %s" % (name, open_family))
            key = match.group(1) + (match.group(2) or "")
            ensure(key not in samples, "%s stands twice" % key)
            samples[key] = float(match.group(5))
    return samples, types


class Operation:
    def __init__(self):
        self.base = lib.work_directory()
        self.cluster = lib.Cluster(self.base).initdb().start().create()
        self.access = os.path.join(self.base, "access")
        self.daemon = usherd.Usherd(self.cluster, access_log=self.access).start()

    # the program

    def flags(self):
        status, said = ask("-c", self.daemon.configuration, "--check-config")
        ensure(status == 0 and said.endswith("the configuration is right\n"), "%d %s" % (status, said))
        wrong = os.path.join(self.base, "wrong.conf")
        for text, expected in (("listen = 127.0.0.1:1\nqueue_max = many\n", "wrong.conf:2: "), ("nonsense = 1\n", "wrong.conf:1: "),
                               ("deny = 1.2.3.4/33\n", '"deny"'), ("rate_limits = login=5\n", '"rate_limits"'),
                               ("jwt_keys = /nowhere\n", "/nowhere")):
            with open(wrong, "w") as file:
                file.write(text)
            for flags in (("--check-config",), ()):
                status, said = ask("-c", wrong, *flags)
                ensure(status == 1 and expected in said, "%r %s: %d %s" % (text, flags, status, said))
        status, said = ask("--print-config", "--database", "host=h password=secret", "--queue-max=7", USHERD_JSON_DEPTH_MAX="9")
        ensure(status == 0 and "secret" not in said and "password=***" in said, said)
        ensure("\nqueue_max = 7\n" in said and "\njson_depth_max = 9\n" in said, said)
        status, said = ask("--list-settings")
        names = [line.split("\t")[0] for line in said.splitlines()]
        ensure(status == 0 and len(names) > 40 and names == sorted(names), said)
        with open(os.path.join(lib.ROOT, "deploy", "usherd.conf")) as file:
            sample = re.sub("^jwt_keys = .*", "jwt_keys = " + self.daemon.jwks, file.read(), flags=re.M)
        with open(wrong, "w") as file:
            file.write(sample)
        status, said = ask("-c", wrong, "--check-config")
        ensure(status == 0, "deploy/usherd.conf: %s" % said)

    def alone(self):
        """Without a listener for the administration."""
        daemon = usherd.Usherd(self.cluster, name="alone", listen_admin="").start(ready=False)

        def healthy():
            daemon.ensure_alive()
            try:
                with daemon.client() as client:
                    return client.get("/healthz").status == 200
            except OSError:
                return False
        lib.wait_until(healthy, 20, "usherd to answer")
        with socket.socket() as probe:
            ensure(probe.connect_ex(("127.0.0.1", daemon.admin_port)) != 0, "the administration listens")
        daemon.stop()

    # what it tells

    def metrics(self):
        with self.daemon.client() as client:
            ensure(client.append("metric-1").status == 201, "append")
            ensure(client.get("/v1/nothing").status == 404, "an unknown path")
        reply = self.daemon.admin().get("/metrics")
        ensure(reply.status == 200 and reply.headers["content-type"].startswith("text/plain; version=0.0.4"), repr(reply))
        samples, types = families(reply.body.decode())
        append = '{method="POST",route="/v1/streams/{stream}/events"'
        ensure(samples["usherd_requests_total%s,status=\"201\"}" % append] == 1, "the append is not counted")
        ensure(samples['usherd_requests_total{method="",route="",status="404"}'] == 1, "the unknown path is not counted")
        ensure(samples["usherd_request_duration_seconds_count%s}" % append] == 1, "its time is not counted")
        ensure(samples['usherd_request_duration_seconds_bucket%s,le="+Inf"}' % append] == 1, "its time is in no bucket")
        ensure(samples["usherd_database_up"] == 1 and samples["usherd_database_metrics"] == 1, "the database is not there")
        names = {row[0] for row in self.cluster.rows("SELECT DISTINCT name FROM usher.metrics()")}
        there = {key.partition("{")[0] for key in samples}
        lib.ensure_empty(sorted(names - there), "metrics of the database that are not shown")
        ensure(samples["usher_events_appended_total"] >= 1, "usher_events_appended_total")
        ensure(types["usherd_request_duration_seconds"] == "histogram", "types")
        rounds = "usherd_loop_seconds"
        count, longest = samples[rounds + "_count"], samples["usherd_loop_longest_seconds"]
        ensure(samples[rounds + '_bucket{le="+Inf"}'] == count > 0, "rounds of the loop: %s" % count)
        ensure(samples[rounds + "_sum"] / count <= longest <= samples[rounds + "_sum"] + 1e-5, "the longest of %d: %s" % (count, longest))
        ensure(families(self.daemon.admin().get("/metrics").body.decode())[0][rounds + "_count"] > count, "rounds are not counted")
        # none of it where the world is
        with self.daemon.client() as client:
            ensure(client.get("/metrics").status == 404 and client.get("/readyz").status == 404, "on the API's listener")
        ensure(self.daemon.admin().get("/v1/log").status == 404, "the API on the administration's listener")

    def readiness(self):
        reply = self.daemon.admin().get("/readyz")
        ensure(reply.status == 200 and reply.json()["status"] == "ready" and reply.json()["stable_position"] >= 0, repr(reply))
        self.cluster.stop()
        lib.wait_until(lambda: self.daemon.admin().get("/readyz").status == 503, 20, "usherd not to be ready")
        reply = self.daemon.admin().get("/metrics")
        samples, _ = families(reply.body.decode())
        ensure(reply.status == 200 and samples["usherd_database_metrics"] == 0, "metrics without a database")
        with self.daemon.client(token=False) as client:
            ensure(client.get("/healthz").status == 200, "it is alive")
        self.cluster.start()
        self.daemon.wait_ready()
        self.cluster.rows("REVOKE EXECUTE ON PROCEDURE usher.gateway_wait FROM usher_gateway")
        try:
            lib.wait_until(lambda: self.daemon.admin().get("/readyz").status == 503, 20, "a log that cannot be followed to count")
            reply = self.daemon.admin().get("/readyz")
            ensure(reply.json().get("detail") == "the log cannot be followed" and int(reply.headers["retry-after"]) >= 1, repr(reply))
        finally:
            self.cluster.rows("GRANT EXECUTE ON PROCEDURE usher.gateway_wait TO usher_gateway")
        self.daemon.wait_ready()

    # replies

    def compressed(self):
        with self.daemon.client() as client:
            client.append("gzip-1", data={"text": "a" * 5000})
            path = "/v1/streams/gzip-1/events"
            plain = client.get(path)
            ensure("content-encoding" not in plain.headers and b"aaaa" in plain.body, "compressed unasked")
            ensure(any("accept-encoding" in value.lower() for name, value in plain.pairs if name.lower() == "vary"), "no Vary")
            reply = client.get(path, **{"Accept-Encoding": "br;q=1, gzip;q=0.5"})
            ensure(reply.headers.get("content-encoding") == "gzip", "not compressed: %s" % reply.headers)
            ensure(gzip.decompress(reply.body) == plain.body and len(reply.body) < len(plain.body) / 4, "the contents")
            ensure(int(reply.headers["content-length"]) == len(reply.body), "Content-Length")
            ensure(reply.headers["etag"] == plain.headers["etag"], "the tag of the same contents differs")
            again = client.get(path, **{"Accept-Encoding": "gzip", "If-None-Match": reply.headers["etag"]})
            ensure(again.status == 304 and "content-encoding" not in again.headers and again.body == b"", repr(again))
            for header in ("gzip;q=0", "identity, gzip;q=0.5", "deflate", "*;q=0", "gzip;q=2"):
                reply = client.get(path, **{"Accept-Encoding": header})
                ensure("content-encoding" not in reply.headers and reply.body == plain.body, "compressed for %s" % header)
            reply = client.get("/healthz", **{"Accept-Encoding": "gzip"})
            ensure("content-encoding" not in reply.headers, "a tiny reply is compressed")
            reply = client.request("HEAD", path, headers={"Accept-Encoding": "gzip"})
            ensure(reply.status == 200 and reply.body == b"" and reply.headers["etag"] == plain.headers["etag"], repr(reply))
            ensure(client.get("/healthz").status == 200, "the connection goes on behind HEAD")

    # reload

    def hangup(self, expected):
        """SIGHUP, and wait until the log says so behind what it says now."""
        size = os.path.getsize(self.daemon.log)
        self.daemon.process.send_signal(signal.SIGHUP)

        def told():
            with open(self.daemon.log) as file:
                file.seek(size)
                return expected in file.read()
        lib.wait_until(told, 20, "the log to say %r" % expected, pause=0.02)

    def reload(self):
        with self.daemon.client() as client:
            ensure(client.get("/v1/whoami").status == 200, "before")
            kept = client.connection.sock
            self.daemon.configure(body_bytes_max="2kB", queue_max="17", listen="127.0.0.1:1")
            self.hangup("the configuration was read again")
            ensure("only a restart changes listen" in self.daemon.said(), "nothing of listen: %s" % self.daemon.said())
            ensure(client.append("reload-1", data={"text": "a" * 3000}).status == 413, "the body's limit is not the new one")
            with self.daemon.client() as other:
                ensure(other.get("/v1/whoami").status == 200, "a new connection")
            self.daemon.configure(body_bytes_max="lots")
            self.hangup("usherd.conf:")
            ensure("what was there stays" in self.daemon.said(), self.daemon.said())
            self.daemon.configure(body_bytes_max="1MB", listen="127.0.0.1:%d" % self.daemon.port)
            self.hangup("the configuration was read again")
            ensure(client.append("reload-2", data={"text": "a" * 3000}).status == 201, "the limit is not the old one again")
        with self.daemon.client() as client:
            client.get("/v1/whoami")
            kept = client.connection.sock
            self.hangup("the configuration was read again")
            ensure(client.get("/v1/whoami").status == 200 and client.connection.sock is kept, "a reload ended a connection")

    def rotation(self):
        moved = self.access + ".1"
        os.rename(self.access, moved)
        with self.daemon.client() as client:
            client.get("/v1/whoami")
            self.hangup("the configuration was read again")
            for _ in range(3):
                client.get("/v1/whoami")

        def lines(path):
            with open(path) as file:
                return [json.loads(line) for line in file]
        lib.wait_until(lambda: os.path.exists(self.access) and len(lines(self.access)) >= 3, 20, "lines in the new file")
        line = lines(self.access)[-1]
        ensure(line["method"] == "GET" and line["path"] == "/v1/whoami" and line["status"] == 200 and line["user"] and
               re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$", line["time"]) and len(line["trace_id"]) == 32, str(line))
        ensure(all("Bearer" not in json.dumps(line) for line in lines(moved)), "a token in the access log")

    # limits

    def rates(self):
        self.daemon.configure(rate_limits="general=60/5 key=60000/1000")
        self.hangup("the configuration was read again")
        try:
            with self.daemon.client(user="rated") as client:
                replies = []        # one comes back each second, so it may take some more
                while len(replies) < 100 and (not replies or replies[-1].status == 200):
                    replies.append(client.get("/v1/whoami"))
                ensure(len(replies) > 5 and replies[-1].status == 429, str(replies))
                first, last = replies[0], replies[-1]
                ensure(first.headers["x-ratelimit-limit"] == "60" and first.headers["x-ratelimit-remaining"] == "4", str(first.pairs))
                ensure(1 <= int(last.headers["retry-after"]) <= 2 and last.headers["x-ratelimit-remaining"] == "0", str(last.pairs))
                ensure(last.headers["content-type"] == "application/problem+json", repr(last))
                ensure(self.daemon.client(user="other").get("/v1/whoami").status == 200, "another user")
                time.sleep(int(last.headers["retry-after"]))
                reply = client.get("/v1/whoami")
                ensure(reply.status == 200, "it said when to come again: %r %s" % (reply, reply.pairs))
            self.cluster.rows("SELECT usher.set_rate_limit('default', 'general', 600000, 1000)")
            with self.daemon.client(user="rich") as client:
                lib.wait_until(lambda: client.get("/v1/whoami").headers["x-ratelimit-limit"] == "600000", 60,
                               "the tenant's own limit", pause=0.5)
        finally:
            self.cluster.rows("SELECT usher.set_rate_limit('default', 'general', 0, 0)")
            self.daemon.configure(rate_limits=usherd.NO_LIMITS)
            self.hangup("the configuration was read again")

    def origins(self):
        """A page of an allowed origin may send every header that a route knows, and read what is told; others may nothing."""
        self.daemon.configure(cors_origins="https://app.example https://other.example")
        self.hangup("the configuration was read again")
        try:
            with self.daemon.client(token=False) as client:
                document = client.get("/openapi.json").json()
                wanted = {p["name"].lower() for path in document["paths"].values() for operation in path.values()
                          for p in operation.get("parameters", []) if p.get("in") == "header"}
                reply = client.request("OPTIONS", "/v1/streams/a-1/events", headers={
                    "Origin": "https://app.example", "Access-Control-Request-Method": "POST"})
                ensure(reply.status == 204 and reply.headers["access-control-allow-origin"] == "https://app.example", str(reply.pairs))
                ensure("POST" in reply.headers["access-control-allow-methods"].split(", "), str(reply.pairs))
                allowed = {name.lower() for name in reply.headers["access-control-allow-headers"].split(", ")}
                lib.ensure_empty((wanted | {"authorization", "content-type", "ce-id", "traceparent"}) - allowed, "headers that are not allowed")
            with self.daemon.client() as client:
                reply = client.get("/v1/whoami", Origin="https://other.example")
                ensure(reply.headers["access-control-allow-origin"] == "https://other.example", str(reply.pairs))
                ensure("request-id" in reply.headers["access-control-expose-headers"].lower().split(", "), str(reply.pairs))
                ensure(("Vary", "Origin") in reply.pairs, str(reply.pairs))
                reply = client.get("/v1/whoami", Origin="https://evil.example")
                ensure(reply.status == 200 and "access-control-allow-origin" not in reply.headers, str(reply.pairs))
        finally:
            self.daemon.configure(cors_origins="")
            self.hangup("the configuration was read again")

    def addresses(self):
        def status(forwarded):
            with self.daemon.client() as client:
                return client.get("/v1/whoami", **({"X-Forwarded-For": forwarded} if forwarded else {})).status
        self.daemon.configure(trusted_proxies="127.0.0.1", deny="203.0.113.0/24 2001:db8::/32")
        self.hangup("the configuration was read again")
        try:
            for forwarded, expected in ((None, 200), ("198.51.100.1", 200), ("203.0.113.9", 403), ("::ffff:203.0.113.9", 403),
                                        ("203.0.113.9, 198.51.100.1", 200), ("198.51.100.1, 203.0.113.9", 403),
                                        ("203.0.113.9, 127.0.0.1", 403), ("2001:db8::1", 403), ("[2001:db8::1]:443", 403)):
                ensure(status(forwarded) == expected, "X-Forwarded-For %s: %d" % (forwarded, status(forwarded)))
            self.daemon.configure(trusted_proxies="")
            self.hangup("the configuration was read again")
            ensure(status("203.0.113.9") == 200, "a header of somebody who is not trusted")
        finally:
            self.daemon.configure(trusted_proxies="", deny="")
            self.hangup("the configuration was read again")

    def crowd(self):
        """More connections of an address than it may have."""
        self.daemon.configure(connections_per_address_max="20")
        self.hangup("the configuration was read again")
        sockets = []
        try:
            ended = 0
            for _ in range(40):
                connection = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=20)
                sockets.append(connection)
            for connection in sockets:
                try:
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
                    ended += not connection.recv(100)
                except OSError:
                    ended += 1
            ensure(ended >= 20, "%d of 40 connections were refused" % ended)
        finally:
            for connection in sockets:
                connection.close()
            self.daemon.configure(connections_per_address_max="20000")
            self.daemon.process.send_signal(signal.SIGHUP)

        def served():
            try:
                return self.daemon.client(token=False).get("/healthz").status == 200
            except OSError:
                return False
        lib.wait_until(served, 20, "the others to be served again")

    # the end

    def drain(self):
        """A request in flight is finished, a waiting one told to come again, an idle connection closed; then it ends."""
        waiting = self.daemon.client()
        replies = []

        def appended():     # a busy machine may need more than a second for it
            replies.append(self.daemon.client().append("drain-0"))
            return replies[-1].status == 201
        lib.wait_until(appended, 20, "an append")
        after = replies[-1].json()["events"][0]["position"]
        replies = []

        def wait():
            replies.append(waiting.get("/v1/log?after=%d&wait=30" % after))
        thread = threading.Thread(target=wait)
        thread.start()
        idle = self.daemon.client()
        idle.get("/healthz")
        half = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=20)
        body = b'{"type": "order.placed"}'
        half.sendall(("POST /v1/streams/drain-1/events HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
                      "Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n" % (self.daemon.token(), len(body))).encode() + body[:5])
        lib.wait_until(lambda: families(self.daemon.admin().get("/metrics").body.decode())[0]["usherd_requests_in_flight"] >= 2,
                       20, "the long poll to be in flight")
        begun = time.monotonic()
        self.daemon.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        half.sendall(body[5:])
        answer = half.recv(4000)
        ensure(b" 201 " in answer.split(b"\r\n")[0] and b"Connection: close" in answer, "the request in flight: %r" % answer[:200])
        thread.join(20)
        ensure(replies and replies[0].status in (200, 503), "the waiting request: %s" % replies)
        ensure(self.daemon.process.wait(20) == 0 and time.monotonic() - begun < 25, "it took too long")
        ensure(self.cluster.value("SELECT count(*) FROM usher.events WHERE stream = 'drain-1'") == 1, "the event is not there")
        try:
            socket.create_connection(("127.0.0.1", self.daemon.port), timeout=5)
            raise lib.Failure("somebody still listens")
        except ConnectionRefusedError:
            pass

    def systemd(self):
        """Its messages in order: ready, the watchdog's, reloading, ready, stopping."""
        path = os.path.join(self.base, "notify")
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        heard.bind(path)
        heard.settimeout(30)
        os.chmod(path, 0o777)
        os.environ.update(NOTIFY_SOCKET=path, WATCHDOG_USEC="400000")
        begun = time.monotonic()
        try:
            self.daemon.start()
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]

        def until(expected):
            while True:
                message = heard.recv(1000).decode()
                if message.startswith(expected):
                    return
                ensure(message.startswith(("WATCHDOG=1", "STATUS=")), "%r before %r" % (message, expected))
        until("READY=1")
        for _ in range(6):
            until("WATCHDOG=1")
        ensure(0.8 < time.monotonic() - begun < 30, "six times within %.1f s" % (time.monotonic() - begun))
        self.daemon.process.send_signal(signal.SIGHUP)
        until("RELOADING=1")
        until("READY=1")
        self.daemon.process.send_signal(signal.SIGTERM)
        until("STOPPING=1")
        ensure(self.daemon.process.wait(20) == 0, "it did not end well")


def main():
    lib.arguments("usherd as those who operate it see it.")
    test = Operation()
    lib.main([("flags and mistakes", test.flags), ("no administration", test.alone),
              ("metrics", test.metrics), ("compressed replies", test.compressed),
              ("reload", test.reload), ("rotated logs", test.rotation), ("rates", test.rates), ("addresses", test.addresses), ("origins", test.origins),
              ("a crowd of one address", test.crowd), ("readiness", test.readiness), ("drain", test.drain),
              ("what systemd is told", test.systemd)], 120)


if __name__ == "__main__":
    main()
