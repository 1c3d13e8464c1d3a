#!/usr/bin/python3
"""test/integration/gateway_docs.py: the examples of docs/http-api.md do what stands beside them, and /docs works in a browser.

Prints a TAP line for each rule.
"""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
from lib import ensure      # noqa: E402

DOCUMENT = os.path.join(lib.ROOT, "docs", "http-api.md")
CHROMIUM = "/usr/bin/chromium"
BROWSER_SECONDS = 60


class Docs(gateway_lib.Api):
    def examples(self):
        self.cluster.rows("SELECT usher.subscribe('mailer', 'mail.*', 0)")
        with open(DOCUMENT) as file:
            blocks = re.findall(r"^```sh\n(.*?)^```", file.read(), re.S | re.M)
        ran = 0
        for block in blocks:
            wanted = re.findall(r"# → (\d+)", block)
            script = re.sub(r"\bcurl ", "curl -sS --max-time 20 -o /dev/null -w '%{http_code}\\\\n' ", re.sub(r" *# → \d+", "", block))
            ensure(len(wanted) == len(re.findall(r"^curl ", block, re.M)), "a curl without its status: %s" % block)
            done = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                                  timeout=60, env=dict(os.environ, U="http://127.0.0.1:%d" % self.daemon.port, T=self.daemon.token()))
            ensure(done.stdout.split() == wanted, "%s instead of %s: %s" % (done.stdout.split(), wanted, block))
            ran += len(wanted)
        ensure(ran >= 20, "only %d examples" % ran)

    def browser(self):
        """The page shows every operation; its policy stops nothing that it needs."""
        url = "http://127.0.0.1:%d/docs#readLog" % self.daemon.port
        done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + os.path.join(self.cluster.base, "chromium"),
                               "--virtual-time-budget=8000", "--enable-logging=stderr", "--dump-dom", url], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True, timeout=BROWSER_SECONDS)
        operations = self.fine(self.c.get("/openapi.json"))["paths"]
        wanted = {operation["operationId"] for path in operations.values() for operation in path.values()}
        shown = set(re.findall(r'<details id="(\w+)"', done.stdout))
        ensure(shown == wanted, "the page shows %s: %s" % (sorted(shown), done.stderr[-500:]))
        ensure("nobody" in done.stdout, "the page does not say who asks")
        lib.ensure_empty([line for line in done.stderr.splitlines() if "CONSOLE" in line], "the browser's console")


def main():
    lib.arguments("The examples of the HTTP API's documentation.")
    lib.foreign("debian", "clients", CHROMIUM)
    docs = Docs()
    lib.main([("examples", docs.examples), ("browser", docs.browser)], 120)


if __name__ == "__main__":
    main()
