#!/usr/bin/python3
# slow: 80 s
"""test/integration/gateway_openapi.py: property-based requests from /openapi.json, by schemathesis.

It makes valid and invalid requests for every route that the document has, and holds each reply against the document: no
status, no media type, no shape of a body that is not there, and no 5xx. What usherd's own access log says is judged as well:
it has every request. The one 5xx that may be is the documented 503 of a read or poll that waits for a position which nobody has
written. One worker: CPython 3.11's parser, which hypothesis asks for the text of lambdas, breaks under several. --requests N repeats it with other seeds until so many were
sent (the long form: 20,000).
"""
import collections
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))

import lib      # noqa: E402
import usherd   # noqa: E402
from lib import ensure      # noqa: E402

SCHEMATHESIS = "schemathesis==4.32.5"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance," \
    "response_headers_conformance,allow_header_conformance"
SHORT_SECONDS, RUN_SECONDS = 70, 300
CONFIGURATION = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "503"]
"""


def waited(line):
    """A 503 "not-yet": it waited the whole five seconds for the position of Usher-After."""
    return line["status"] == 503 and 4.9 < line["seconds"] < 7


class Fuzz:
    def __init__(self, options):
        self.options = options
        self.wanted = options.requests or 300
        base = lib.work_directory()
        self.cluster = lib.Cluster(base).initdb().start().create()
        self.access = os.path.join(base, "usherd", "access")
        self.daemon = usherd.Usherd(self.cluster, access_log=self.access, wait_seconds_max="0.1").start()
        self.directory = os.path.join(base, "schemathesis")
        os.mkdir(self.directory)
        with open(os.path.join(self.directory, "schemathesis.toml"), "w") as file:
            file.write(CONFIGURATION)
        self.program = os.path.join(lib.foreign("venv", SCHEMATHESIS), "schemathesis")
        self.sent = 0

    def populate(self):
        """Something to be found behind each route that reads."""
        with self.daemon.client() as client:
            for n in range(20):
                ensure(client.append("order-1", data={"n": n}).status == 201, "no append")
        self.cluster.rows("SELECT usher.subscribe('fuzz', 'order.**')")

    def run(self, seed, examples):
        seconds = SHORT_SECONDS if self.wanted < 1000 else RUN_SECONDS
        url = "http://127.0.0.1:%d" % self.daemon.port
        argv = [self.program, "--config-file", "schemathesis.toml", "run", url + "/openapi.json", "--url", url, "--header",
                "Authorization: Bearer " + self.daemon.token(), "--checks", CHECKS, "--max-examples", str(examples), "--seed", str(seed),
                "--workers", "1", "--request-timeout", "20", "--generation-database", "none", "--no-color",
                "--suppress-health-check", "all", "--continue-on-failure", "--max-time", str(seconds), "--warnings", "off",
                "--max-failures", "40", "--exclude-path", "/v1/sse"]      # a stream that never ends
        began = time.monotonic()
        # one worker: threads that parse Python at the same time fail in Python 3.11
        with open(os.path.join(self.directory, "output"), "w") as output:
            status = subprocess.run(argv, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                    timeout=seconds + 120).returncode
        with open(os.path.join(self.directory, "output"), errors="replace") as output:
            lines = output.read().splitlines()
        self.daemon.ensure_alive()
        lib.note("seed %d: %.0f s" % (seed, time.monotonic() - began))
        if status != 0:
            at = next((n for n, line in enumerate(lines) if "FAILURES" in line or "ERRORS" in line), 0)
            # the first one whole, of the others what they are about
            shown = [line for line in lines[at:] if line.strip()]
            for line in shown[:25] + [line for line in shown[25:] if line.startswith(("____", "- ")) or "curl " in line][:80]:
                lib.note(line[:200])
            raise lib.Failure("schemathesis ended with %d (seed %d)" % (status, seed))

    def lines(self):
        """What the access log has, once it is all there."""
        with open(self.access) as file:
            return [json.loads(line) for line in file]

    def fuzz(self):
        seed = self.options.seed
        while self.sent < self.wanted:
            self.run(seed, 12 if self.wanted < 1000 else 400)
            found = len(self.lines())
            ensure(found > self.sent, "a run sent nothing")
            self.sent = found
            seed += 1

    def judge(self):
        self.daemon.stop()
        lines = self.lines()
        statuses = collections.Counter(line["status"] for line in lines)
        routes = collections.Counter(line["route"] for line in lines if 200 <= line["status"] < 300)
        lib.note("%d requests: %s" % (len(lines), ", ".join("%d of %d" % (n, status) for status, n in sorted(statuses.items()))))
        lib.note("successful: " + ", ".join("%s %d" % item for item in sorted(routes.items())))
        ensure(len(lines) >= self.wanted, "only %d requests" % len(lines))
        lib.ensure_empty([line for line in lines if line["status"] >= 500 and line["route"] != "/readyz" and not waited(line)],
                         "errors of the server")     # /readyz is asked by the test itself until it says yes
        ensure(sum(routes.values()) > len(lines) / 50, "hardly a request was a good one")
        lib.ensure_empty(self.cluster.log_crashes(), "server log")
        self.cluster.check()


def main():
    options = lib.arguments("Property-based requests from our OpenAPI document.",
                            requests=(int, None, "at least so many (300; the long form: 20000)"))
    fuzz = Fuzz(options)
    lib.main([("populate", fuzz.populate), ("fuzz", fuzz.fuzz), ("judge", fuzz.judge)], 250 if not options.requests else 3600)


if __name__ == "__main__":
    main()
