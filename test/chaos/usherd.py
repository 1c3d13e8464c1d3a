# test/chaos/usherd.py: a usherd beside a cluster, and a small HTTP client, for the tests of the gateway.
#
# A Usherd has its own directory, ports (loopback only), key for tokens and process, all removed at exit. It connects as a
# login role that is a member of usher_gateway and nothing else, as in production.
import atexit
import collections
import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import threading
import time

import lib
import tokens
from lib import ensure
from ports import free_port

READY_SECONDS_MAX = 30
LOGIN = "usherd"
# A million a minute: rate limits are evaluated and never reached.
NO_LIMITS = "general=60000000/1000000 key=60000000/1000000"


def program():
    """The usherd to be tested: $USHERD, or the one that was installed beside the server."""
    for path in (os.environ.get("USHERD"), os.path.join(lib.bindir(), "usherd")):
        if path and os.access(path, os.X_OK):
            return path
    raise lib.Failure("there is no usherd beside the server's programs; set USHERD")


class Reply:
    """Status, headers (lower case, the last of a name) and body."""

    def __init__(self, status, headers, body):
        self.status = status
        self.pairs = headers
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "%d %s" % (self.status, self.body[:300])


class Client:
    """One kept connection; after an error it is opened anew for the next request. Not for two threads."""

    def __init__(self, port, token=None, timeout=30):
        self.port = port
        self.token = token
        self.timeout = timeout
        self.connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def request(self, method, path, body=None, headers=None):
        """body: bytes as they are, or anything else as JSON. Raises OSError or HTTPException when no reply came."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        if self.token and not any(name.lower() == "authorization" for name in headers):
            headers["Authorization"] = "Bearer " + self.token
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        try:
            self.connection.request(method, path, body, headers)
            reply = self.connection.getresponse()
            answer = Reply(reply.status, reply.getheaders(), reply.read())
            if reply.will_close:
                self.close()
            return answer
        except BaseException:
            self.close()
            raise

    def get(self, path, **headers):
        """Headers by keyword, as of post()."""
        return self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path, body, **headers):
        """Headers by keyword: Idempotency_Key is Idempotency-Key."""
        return self.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def append(self, stream, kind="order.placed", data=None, **headers):
        return self.post("/v1/streams/%s/events" % stream, {"type": kind, "data": data or {}}, **headers)


class Usherd:
    """One gateway of a database of a cluster."""

    def __init__(self, cluster, database="postgres", name="usherd", wrap=(), hosts=None, **settings):
        self.cluster = cluster
        self.dir = os.path.join(cluster.base, name)
        self.port, self.admin_port = free_port(), free_port()
        self.log = os.path.join(self.dir, "log")
        # a program that runs it, such as valgrind: of the test, or of whoever runs the test
        self.wrap = list(wrap) or os.environ.get("USHERD_WRAP", "").split()
        self.key = secrets.token_bytes(32)
        self.process = None
        host, port = hosts or ("127.0.0.1", cluster.port)
        os.makedirs(self.dir)
        self.jwks = os.path.join(self.dir, "keys.json")
        with open(os.open(self.jwks, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(tokens.keys(self.key))
        os.chmod(self.jwks, 0o600)
        self.settings = dict({
            "listen": "127.0.0.1:%d" % self.port,
            "listen_admin": "127.0.0.1:%d" % self.admin_port,
            "database": "host=%s port=%d user=%s dbname=%s" % (host, port, LOGIN, database),
            "jwt_keys": self.jwks,
            "jwt_issuer": tokens.ISSUER,
            "jwt_audience": tokens.AUDIENCE,
            "rate_limits": NO_LIMITS,
            "connections_per_address_max": "20000",
            "live_connections_per_user_max": "0",
            "live_subscriptions_per_user_max": "0",
            "live_messages_per_user": "0",
            "connections_max": "20000",
            "error_log": self.log,
            "access_log": "",
        }, **{key: str(value) for key, value in settings.items()})
        self.configuration = os.path.join(self.dir, "usherd.conf")
        owner = os.getpid()
        atexit.register(lambda: os.getpid() == owner and self.destroy())
        with contextlib.suppress(lib.psycopg2.errors.DuplicateObject):
            cluster.rows("CREATE ROLE %s LOGIN IN ROLE usher_gateway" % LOGIN)

    # life

    def configure(self, **settings):
        self.settings.update({key: str(value) for key, value in settings.items()})
        with open(self.configuration, "w") as file:
            file.writelines("%s = %s\n" % item for item in sorted(self.settings.items()) if item[1] is not None)

    def start(self, ready=True):
        self.configure()
        self.begun = time.monotonic()
        with open(os.path.join(self.dir, "stderr"), "a") as output:
            self.process = subprocess.Popen(self.wrap + [program(), "-c", self.configuration], stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=output, start_new_session=True)
        if ready:
            self.wait_ready()
        return self

    def ready(self):
        """Does /readyz say so?"""
        ensure(self.process.poll() is None, "usherd ended with %s: %s" % (self.process.poll(), self.said()))
        try:
            return self.admin().get("/readyz").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_ready(self, seconds=READY_SECONDS_MAX):
        try:
            lib.wait_until(self.ready, seconds, "usherd to be ready", pause=0.02)
        except lib.Failure as failure:
            raise lib.Failure("%s: %s" % (failure, self.said()))

    def said(self):
        """The end of what it wrote to its log and to standard error."""
        text = ""
        for path in (self.log, os.path.join(self.dir, "stderr")):
            with contextlib.suppress(OSError), open(path, errors="replace") as file:
                text += file.read()[-600:]
        return text.strip().replace("\n", " | ")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, seconds=30):
        """SIGTERM: it drains and ends with status 0."""
        if self.running():
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill9()
                raise lib.Failure("usherd did not stop in %d s: %s" % (seconds, self.said()))
            ensure(status == 0, "usherd ended with %d: %s" % (status, self.said()))
        self.process = None

    def kill9(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def destroy(self):
        if self.running():
            self.process.kill()
            self.process.wait()

    def ensure_alive(self):
        ensure(self.running(), "usherd has ended with %s: %s" % (self.process and self.process.poll(), self.said()))

    def rss_kb(self):
        """Memory of its own, in kilobytes."""
        with open("/proc/%d/status" % self.process.pid) as status:
            return int(re.search(r"^RssAnon:\s*(\d+)", status.read(), re.M).group(1))

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    # use

    def token(self, **identity):
        return tokens.token(self.key, **identity)

    def client(self, token=True, timeout=30, **identity):
        return Client(self.port, self.token(**identity) if token else None, timeout)

    def admin(self):
        return Client(self.admin_port, timeout=5)


def parallel(functions, seconds):
    """Run all at once; raise what the first of them raised."""
    errors = []

    def run(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)
    threads = [threading.Thread(target=run, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.1, deadline - time.monotonic()))
        ensure(not thread.is_alive() or errors, "a client did not end within %d s" % seconds)
    if errors:
        raise errors[0]


Event = collections.namedtuple("Event", "position stream version id type data")


def events(cluster, database="postgres", where="true"):
    """All of the log, in order."""
    return [Event(*row) for row in cluster.rows(
        "SELECT position, stream, version, id::text, type, data FROM usher.events WHERE %s ORDER BY position" % where,
        database=database)]
