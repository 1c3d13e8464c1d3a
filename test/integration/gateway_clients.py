#!/usr/bin/python3
# slow: 30 s
"""test/integration/gateway_clients.py: usherd with clients that others wrote.

curl, Python's requests, Node's fetch, openssl, h2load through nginx with deploy/nginx.conf, and headless Chromium from a page
of another origin, direct and over HTTP/2.
"""
import contextlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import lib      # noqa: E402
import usherd   # noqa: E402
from lib import ensure      # noqa: E402
from ports import free_port     # noqa: E402

EVENT = '{"type": "order.placed", "data": {"n": 1}}'
COMMAND_SECONDS = 60


def script(*arguments, **environment):
    done = subprocess.run([os.path.join(lib.ROOT, "scripts", arguments[0])] + list(arguments[1:]), stdout=subprocess.PIPE,
                          universal_newlines=True, env=dict(os.environ, **environment))
    ensure(done.returncode == 0, "%s failed" % " ".join(arguments))
    return done.stdout.strip()


def run(*argv, text=None, seconds=COMMAND_SECONDS):
    done = subprocess.run(argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                          timeout=seconds)
    return done.returncode, done.stdout


def curl(*arguments):
    """(status, headers, body) of one request."""
    status, output = run("curl", "-sS", "-i", "--max-time", "20", *arguments)
    ensure(status == 0, "curl ended with %d: %s" % (status, output[-300:]))
    while re.match(r"HTTP/\S+ 1\d\d", output):
        output = output.partition("\n\n")[2] if "\n\n" in output else output.partition("\r\n\r\n")[2]
    head, _, body = output.replace("\r\n", "\n").partition("\n\n")
    lines = head.split("\n")
    return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in
                                      (line.partition(":") for line in lines[1:])}, body


class Page(http.server.ThreadingHTTPServer):
    """Another origin: it serves the page, says what it shall do, and takes what it found."""

    def __init__(self, port, job):
        self.job, self.result, self.done = job, None, threading.Event()
        super().__init__(("127.0.0.1", port), PageHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class PageHandler(http.server.BaseHTTPRequestHandler):
    FILES = {"/": ("fetch_page.html", "text/html; charset=utf-8"), "/fetch_client.mjs": ("fetch_client.mjs", "text/javascript")}

    def answer(self, status, kind="text/plain", body=b""):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/job":
            self.answer(200, "application/json", json.dumps(self.server.job).encode())
        elif self.path in self.FILES:
            name, kind = self.FILES[self.path]
            with open(os.path.join(HERE, "src", name), "rb") as file:
                self.answer(200, kind, file.read())
        else:
            self.answer(404)

    def do_POST(self):
        self.server.result = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(204)
        self.server.done.set()

    def log_message(self, *_):
        pass


class Clients:
    def __init__(self):
        lib.foreign("debian", "clients")
        lib.foreign("debian", "node", "node")
        self.base = lib.work_directory()
        self.cluster = lib.Cluster(self.base).initdb().start().create()
        self.allowed, self.refused = free_port(), free_port()
        self.access = os.path.join(self.base, "usherd", "access")
        self.daemon = usherd.Usherd(self.cluster, cors_origins="http://localhost:%d" % self.allowed, access_log=self.access,
                                    trusted_proxies="127.0.0.1").start()
        self.url = "http://127.0.0.1:%d" % self.daemon.port
        self.token = self.daemon.token()
        self.authorization = "Authorization: Bearer " + self.token
        self.nginx_environment = {"NGINX_PORT": str(free_port()), "NGINX_UPSTREAM": "127.0.0.1:%d" % self.daemon.port,
                                  "NGINX_DIR": os.path.join(self.base, "nginx")}
        self.tls = "https://" + self.nginx("up").replace("127.0.0.1", "localhost")

    def nginx(self, *arguments):
        return script("servers/nginx", *arguments, **self.nginx_environment)

    def count(self, stream):
        return self.cluster.value("SELECT count(*) FROM usher.events WHERE stream = %s", (stream,))

    def access_lines(self, **wanted):
        with open(self.access) as file:
            lines = [json.loads(line) for line in file]
        return [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]

    # curl

    def curl(self):
        url = self.url + "/v1/streams/curl-1/events"
        as_json = ("-H", "Content-Type: application/json", "-H", self.authorization)
        status, headers, body = curl(url, *as_json, "-d", EVENT)
        ensure(status == 201 and json.loads(body)["events"][0]["version"] == 1, "append: %d %s" % (status, body))
        position = int(headers["usher-position"])
        status, _, body = curl(url, *as_json, "-H", "Transfer-Encoding: chunked", "-d", EVENT)
        ensure(status == 201, "append in chunks: %d %s" % (status, body))
        status, _, body = curl(url, *as_json, "-H", "Expect: 100-continue", "-d", EVENT)
        ensure(status == 201, "append with 100-continue: %d %s" % (status, body))
        status, headers, body = curl(url, "-H", self.authorization)
        ensure(status == 200 and len(json.loads(body)["items"]) == 3, "read: %d %s" % (status, body))
        ensure(json.loads(body)["items"][0]["position"] == position, "the position of the first: %s" % body)
        ensure("private" in headers.get("cache-control", ""), "Cache-Control: %s" % headers.get("cache-control"))
        etag = headers["etag"]
        status, _, body = curl(url, "-H", self.authorization, "-H", "If-None-Match: " + etag)
        ensure((status, body) == (304, ""), "304: %d %s" % (status, body))
        status, headers, body = curl(url, "-H", self.authorization, "-I")
        ensure((status, body) == (200, "") and headers["etag"] == etag, "HEAD: %d %s %s" % (status, headers, body))
        status, _, body = curl(url)
        ensure(status == 401, "without a token: %d %s" % (status, body))
        status, headers, body = curl(url, "-X", "DELETE", "-H", self.authorization)
        ensure(status == 405 and "POST" in headers["allow"], "DELETE: %d %s" % (status, headers))

    def curl_gzip(self):
        """Long replies are compressed for who can read that, and are the same."""
        url = self.url + "/v1/streams/curl-2/events"
        with self.daemon.client() as client:
            reply = client.post("/v1/streams/curl-2/events", {"events": [{"type": "t.e", "data": {"text": "x" * 200}}] * 50})
        ensure(reply.status == 201, "fifty events: %r" % reply)
        plain = curl(url, "-H", self.authorization)
        packed = curl(url, "-H", self.authorization, "--compressed")
        ensure(packed[1].get("content-encoding") == "gzip", "Content-Encoding: %s" % packed[1].get("content-encoding"))
        ensure(json.loads(packed[2]) == json.loads(plain[2]), "the packed reply differs")
        ensure(int(packed[1]["content-length"]) < len(plain[2]) / 5, "it has %s bytes" % packed[1].get("content-length"))
        ensure("accept-encoding" in plain[1].get("vary", "").lower(), "Vary: %s" % plain[1].get("vary"))

    def curl_names(self):
        """A stream whose name is not plain goes by ?stream=."""
        name = "order/1 ü%"
        status, _, body = curl("-G", self.url + "/v1/streams/events", "--data-urlencode", "stream=" + name, "-X", "POST", "-H",
                               self.authorization, "-H", "Content-Type: application/json")
        ensure(status in (400, 415, 422), "no body: %d %s" % (status, body))
        query = "?stream=order%2F1%20%C3%BC%25"
        status, _, body = curl(self.url + "/v1/streams/events" + query, "-H", self.authorization, "-H",
                               "Content-Type: application/json", "-d", EVENT)
        ensure(status == 201, "append: %d %s" % (status, body))
        status, _, body = curl(self.url + "/v1/streams/events" + query, "-H", self.authorization)
        ensure(status == 200 and json.loads(body)["items"][0]["stream"] == name, "read: %d %s" % (status, body))
        ensure(self.count(name) == 1, "the log has another name")

    # requests

    def requests(self):
        import requests

        with requests.Session() as session:
            session.headers["Authorization"] = "Bearer " + self.token
            url = self.url + "/v1/streams/requests-1/events"
            for n in range(100):
                reply = session.post(url, json={"type": "order.placed", "data": {"n": n}}, headers={"Expected-Version": str(n)})
                ensure(reply.status_code == 201, "append %d: %s" % (n, reply.text))
            reply = session.post(url, json={"type": "order.placed"}, headers={"Expected-Version": "3"})
            ensure(reply.status_code == 412, "a wrong version: %s" % reply.text)
            ensure(reply.headers["Content-Type"] == "application/problem+json", reply.headers["Content-Type"])
            reply = session.post(url, data=(chunk for chunk in (b'{"type": "order.', b'placed", "data": {}}')),
                                 headers={"Content-Type": "application/json"})
            ensure(reply.status_code == 201, "a body from a generator: %s" % reply.text)
            page = session.get(url, params={"direction": "backward", "max": 3})
            ensure([event["version"] for event in page.json()["items"]] == [101, 100, 99], "backward: %s" % page.text)
            reply = session.get(url, headers={"Usher-After": reply.headers["Usher-Position"]})
            ensure(reply.status_code == 200, "Usher-After: %s" % reply.text)
            reply = session.options(url)
            ensure(reply.status_code in (200, 204) and "POST" in reply.headers["Allow"], "OPTIONS: %s" % reply.headers)
            several = {"events": [{"type": "a.b", "data": {}}, {"type": "", "data": {}}, {"type": "a.b", "data": {}}]}
            reply = session.post(url, json=several)
            ensure(reply.status_code in (400, 422) and reply.json()["errors"][0]["index"] == 1, "a bad event: %s" % reply.text)
        ensure(self.count("requests-1") == 101, "the log has %d events" % self.count("requests-1"))

    # fetch

    def judge(self, findings, n):
        lib.ensure_empty(["%s: %s" % tuple(finding) for finding in findings if finding[1]], "fetch")
        ensure(len(findings) == n, "%d findings instead of %d: %s" % (len(findings), n, findings))

    def node(self):
        program = ("import { run } from '%s'; console.log(JSON.stringify(await run(...process.argv.slice(1))));"
                   % os.path.join(HERE, "src", "fetch_client.mjs"))
        status, output = run("node", "--input-type=module", "-e", program, "--", self.url, self.token, "node-1")
        ensure(status == 0, "node failed: " + output[-500:])
        self.judge(json.loads(output.splitlines()[-1]), 8)

    def chromium(self, page, seconds=60):
        """Its findings of a page."""
        profile = os.path.join(self.base, "chromium-%d" % page.server_address[1])
        argv = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--ignore-certificate-errors", "--user-data-dir=" + profile,
                "--remote-debugging-port=0", "http://localhost:%d/" % page.server_address[1]]
        with open(os.path.join(self.base, "chromium.log"), "w") as log:
            browser = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                       env=dict(os.environ, HOME=self.base))
        try:
            ensure(page.done.wait(seconds), "the browser has found nothing in %d s" % seconds)
            return page.result
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(browser.pid, 9)
            browser.wait()
            page.shutdown()
            page.server_close()

    def page(self, base, stream, port):
        return Page(port, {"base": base, "token": self.token, "stream": stream})

    def browser(self):
        self.judge(self.chromium(self.page(self.url, "browser-1", self.allowed)), 8)

    def browser_h2(self):
        self.judge(self.chromium(self.page(self.tls, "browser-2", self.allowed)), 8)
        with open(os.path.join(self.base, "nginx", "access.log")) as log:
            lines = [line for line in log if "browser-2" in line]
        ensure(lines and all("HTTP/2.0" in line for line in lines), "not by HTTP/2: %s" % lines[:1])

    def browser_refused(self):
        """A page of an origin that is not listed gets to see nothing."""
        findings = self.chromium(self.page(self.url, "browser-3", self.refused))
        ensure(len(findings) == 8 and all("Failed to fetch" in str(wrong) for _, wrong in findings), "findings: %s" % findings)
        ensure(self.count("browser-3") == 0, "%d events were appended" % self.count("browser-3"))

    # nginx

    def h2load(self):
        requests, event = 3000, os.path.join(self.base, "event.json")
        with open(event, "w") as file:
            file.write(EVENT)
        url = self.tls + "/v1/streams/h2-1/events"
        status, output = run("h2load", "-n", str(requests), "-c", "8", "-m", "16", "-d", event, "-H", self.authorization, "-H",
                             "Content-Type: application/json", url)
        ensure(status == 0 and "Application protocol: h2" in output, output[-500:])
        ensure("%d 2xx" % requests in output, "h2load: " + re.search("status codes: .*", output).group(0))
        ensure(self.count("h2-1") == requests, "the log has %d events" % self.count("h2-1"))
        status, output = run("h2load", "-n", str(requests), "-c", "8", "-m", "16", "-H", self.authorization, url + "?max=10")
        ensure("%d 2xx" % requests in output, "h2load: " + re.search("status codes: .*", output).group(0))

    def nginx_headers(self):
        """What must come through: the client's address, one id of the request, headers of CloudEvents, large bodies' refusal."""
        trust = ("--cacert", self.nginx("certificate"))
        status, headers, body = curl(self.tls + "/v1/whoami", *trust, "--http2", "-H", self.authorization, "-H",
                                     "X-Forwarded-For: 9.9.9.9")
        ensure(status == 200, "whoami: %d %s" % (status, body))
        request = headers["request-id"]
        lines = lib.wait_until(lambda: self.access_lines(request_id=request), 5, "the access log")
        ensure(lines[0]["address"] == "127.0.0.1", "the address is " + lines[0]["address"])
        status, _, body = curl(self.tls + "/v1/events", *trust, "--http2", "-H", self.authorization, "-H", "ce-specversion: 1.0",
                               "-H", "ce-id: 1f5a5c5e-0000-4000-8000-000000000001", "-H", "ce-source: /shop", "-H",
                               "ce-type: order.shipped", "-H", "ce-subject: order-9", "-H", "Content-Type: application/json",
                               "-d", '{"n": 9}')
        ensure(status in (200, 201, 202), "CloudEvents: %d %s" % (status, body))
        large = os.path.join(self.base, "large")
        with open(large, "wb") as file:
            file.write(b"x" * (3 << 20))
        status, _, _ = curl(self.tls + "/v1/streams/large-1/events", *trust, "--http2", "-H", self.authorization,
                            "--data-binary", "@" + large)
        ensure(status == 413, "3 MB: %d" % status)

    def forwarded(self):
        """X-Forwarded-For counts from a trusted proxy alone."""
        with self.daemon.client() as client:
            reply = client.get("/v1/whoami", **{"X-Forwarded-For": "203.0.113.7"})
            lines = lib.wait_until(lambda: self.access_lines(request_id=reply.headers["request-id"]), 5, "the access log")
        ensure(lines[0]["address"] == "203.0.113.7", "trusted: " + lines[0]["address"])

    def nginx_idle(self):
        """Requests through kept connections, with pauses in which usherd or nginx may have closed them."""
        trust = ("--cacert", self.nginx("certificate"))
        for _ in range(20):
            status, _, body = curl(self.tls + "/healthz", *trust)
            ensure(status == 200, "healthz: %d %s" % (status, body))
        with open(os.path.join(self.base, "nginx", "error.log")) as log:
            lib.ensure_empty([line for line in log if "upstream" in line and "client intended" not in line], "nginx complains")

    # TLS of usherd itself

    def alpn(self):
        """usherd speaks HTTP/1.1 alone, over TLS, too, whatever a client offers."""
        certificate = self.nginx("certificate")
        key = os.path.join(os.path.dirname(certificate), "privkey.pem")
        daemon = usherd.Usherd(self.cluster, name="tls", tls_certificate=certificate, tls_key=key).start()
        address = "127.0.0.1:%d" % daemon.port
        for offered, wanted in (("h2", None), ("h2,http/1.1", "http/1.1"), ("http/1.1", "http/1.1")):
            _, output = run("openssl", "s_client", "-connect", address, "-alpn", offered, text="")
            found = re.search(r"ALPN protocol: (\S+)", output)
            ensure((found and found.group(1)) == wanted, "%s was offered, and %s taken" % (offered, found and found.group(1)))
        for version, wanted in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
            _, output = run("openssl", "s_client", "-connect", address, version, "-cipher", "DEFAULT:@SECLEVEL=0", text="")
            ensure(("Cipher is (NONE)" not in output and "New, TLS" in output) == wanted, "%s: %s" % (version, output[-300:]))
        status, output = run("curl", "-sS", "--http2", "--cacert", certificate, "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
                             "https://localhost:%d/healthz" % daemon.port)
        ensure(output == "1.1 200", "curl --http2: %d %s" % (status, output))
        daemon.stop()

    def settle(self):
        """Nothing of it was lost, nothing broke."""
        self.daemon.ensure_alive()
        self.daemon.stop()
        self.nginx("down")
        self.cluster.check()
        lib.ensure_empty(self.cluster.log_crashes(), "server log")


def main():
    lib.arguments("usherd with clients of others.")
    clients = Clients()
    names = ("curl", "curl_gzip", "curl_names", "requests", "node", "browser", "browser_h2", "browser_refused", "h2load",
             "nginx_headers", "forwarded", "nginx_idle", "alpn", "settle")
    try:
        lib.main([(name, getattr(clients, name)) for name in names], 120)
    finally:
        clients.nginx("down")


if __name__ == "__main__":
    main()
