# test/integration/sinks.py: what the tests of the sinks for Redis and NATS share.
#
# The sinks run in sink_drive (src/), built here with the sanitizers, against real servers of scripts/servers on ports
# of their own. Servers and processes are ended at exit, whatever happens. Nothing is waited for but conditions.
import atexit
import glob
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "test", "chaos"))
from ports import free_port     # noqa: E402

TMP = tempfile.mkdtemp(prefix="usher-sinks-", dir=os.environ.get("TEST_TMP", "/var/tmp"))
os.chmod(TMP, 0o755)    # the servers may run as another user
atexit.register(shutil.rmtree, TMP, True)
PATIENCE = 3        # so many times longer may a machine take that does other things beside
failures = 0


class Failure(Exception):
    """What a test found wrong, in one line."""


def ensure(condition, text):
    if not condition:
        raise Failure(text)


def test(name, function, *arguments):
    """Run a test; print its TAP line."""
    global failures
    started = time.monotonic()
    try:
        function(*arguments)
        print("ok %s # %.1f s" % (name, time.monotonic() - started), flush=True)
    except (Failure, subprocess.SubprocessError, OSError, AssertionError) as error:
        failures += 1
        print("not ok %s\n# %s: %s" % (name, type(error).__name__, str(error)[:3500].replace("\n", "\n# ")), flush=True)


def wait_until(condition, seconds, what):
    """The seconds are those of a quiet machine."""
    deadline = time.monotonic() + PATIENCE * seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure("waited %.0f s in vain for %s" % (PATIENCE * seconds, what))
        time.sleep(0.02)


def build(kinds, libraries):
    """sink_drive with the sinks of these kinds and the sanitizers; its path."""
    sources = [os.path.join(ROOT, "bgworkers/sinks", name) for name in ("sink.c", "transport.c")]
    for kind in kinds:
        sources += sorted(glob.glob(os.path.join(ROOT, "bgworkers/sinks", kind + "*.c")))
    sources += [os.path.join(ROOT, "extension/lib", name) for name in ("json_scan.c", "cloudevents.c")]
    program = os.path.join(TMP, "sink_drive")
    subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter",
                    "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer",
                    "-I", os.path.join(ROOT, "extension"), "-I", os.path.join(ROOT, "bgworkers"), "-o", program,
                    *(os.path.join(ROOT, "test/integration/src", name) for name in ("sink_drive.c", "drive_verify.c"))] + sources +
                   ["-l" + library for library in libraries], check=True)
    return program


class Drive:
    """A running sink_drive. Its result is the JSON object that it prints."""

    PROGRAM = None
    LEAKS = ()      # functions of libraries that lose memory when their peer talks nonsense

    def __init__(self, *arguments):
        self.error = tempfile.TemporaryFile()
        # Reading back, sink_drive itself does not free what ends with it.
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=%d" % ("--verify" not in arguments))
        if self.LEAKS:
            environment["LSAN_OPTIONS"] = "print_suppressions=0:suppressions=" + self.suppressions()
        self.process = subprocess.Popen([self.PROGRAM] + [str(argument) for argument in arguments], stdout=subprocess.PIPE,
                                        stderr=self.error, env=environment)
        atexit.register(self.kill)

    @classmethod
    def suppressions(cls):
        path = os.path.join(TMP, "leaks")
        with open(path, "w") as file:
            file.write("".join("leak:%s\n" % function for function in cls.LEAKS))
        return path

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def result(self, seconds=120):
        try:
            output = self.process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure("sink_drive does not end: " + " ".join(self.process.args)) from None
        self.error.seek(0)
        ensure(output, "sink_drive printed nothing, status %s: %s"
               % (self.process.returncode, self.error.read().decode(errors="replace")[-1000:]))
        try:
            return json.loads(output)
        except ValueError:
            raise Failure("sink_drive ended with status %s: %s"
                          % (self.process.returncode, self.error.read().decode(errors="replace")[:3000])) from None


def drive(*arguments):
    return Drive(*arguments).result()


class Server:
    """A server of scripts/servers, on a port and a directory of its own."""

    def __init__(self, kind, name, conf=""):
        self.script = os.path.join(ROOT, "scripts/servers", kind)
        self.port = free_port()
        self.directory = os.path.join(TMP, name)
        self.environment = dict(os.environ)
        self.environment[kind.upper() + "_PORT"] = str(self.port)
        self.environment[kind.upper() + "_DIR"] = self.directory
        if conf:
            path = os.path.join(TMP, name + ".conf")
            with open(path, "w") as file:
                file.write(conf)
            self.environment[kind.upper() + "_CONF"] = path
        atexit.register(self.run, "down", "--wipe")
        self.run("up")

    def run(self, *arguments):
        return subprocess.run([self.script] + list(arguments), env=self.environment, stdout=subprocess.PIPE, check=True,
                              universal_newlines=True, timeout=120).stdout.strip()

    def pid(self):
        return int(self.run("pid"))


class Proxy(threading.Thread):
    """Forwards TCP connections; they can be cut, held up and slowed down."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sockets = set()
        self.flows = threading.Event()
        self.flows.set()
        self.bytes_per_second = 0       # 0: as many as there are
        self.start()

    def run(self):
        while True:
            client = self.listener.accept()[0]
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            self.sockets |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    def pump(self, source, sink):
        try:
            while True:
                data = source.recv(1 << 16)
                if not data:
                    break
                self.flows.wait()
                if self.bytes_per_second:
                    time.sleep(len(data) / self.bytes_per_second)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            self.sockets.discard(end)
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def silence(self, seconds):
        """Nothing comes through, and nobody says so; then all is cut, and as fast as it can be."""
        self.flows.clear()
        time.sleep(seconds)
        self.cut()
        self.bytes_per_second = 0
        self.flows.set()

    def cut(self):
        """End all connections, with whatever is on its way."""
        for end in list(self.sockets):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class FakeServer(threading.Thread):
    """Accepts connections and lets a function treat each: function(socket, number of the connection)."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self.function = function
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        number = 0
        while True:
            client = self.listener.accept()[0]
            threading.Thread(target=self.treat, args=(client, number), daemon=True).start()
            number += 1

    def treat(self, client, number):
        try:
            with client:
                self.function(client, number)
        except OSError:
            pass


class Authority:
    """A certificate authority of our own, and what it has signed."""

    def __init__(self, name):
        self.name = name
        self.cert, self.key = (os.path.join(TMP, name + end) for end in (".crt", ".key"))
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                     "-subj", "/CN=" + name, "-keyout", self.key, "-out", self.cert)

    @staticmethod
    def openssl(*arguments):
        subprocess.run(["openssl"] + list(arguments), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sign(self, name, alternative):
        """A certificate for a subjectAltName; the paths of certificate and key."""
        cert, key, request, extension = (os.path.join(TMP, name + end) for end in (".crt", ".key", ".csr", ".ext"))
        with open(extension, "w") as file:
            file.write("subjectAltName=%s\n" % alternative)
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=" + name,
                     "-keyout", key, "-out", request)
        self.openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days", "2",
                     "-extfile", extension, "-out", cert)
        os.chmod(key, 0o644)    # the server may run as another user
        return cert, key


def end():
    sys.exit(failures != 0)
