# test/chaos/lib.py: clusters to be tortured, and what every chaos test shares.
#
# A Cluster has its own directory, port (loopback only) and processes, all removed at exit, whatever happens. As root the
# servers run as user postgres. Start clusters from the main thread: the servers get SIGQUIT when the thread that started
# them ends. Waits poll a condition up to a deadline; the whole test has a deadline of its own (see main).
import argparse
import atexit
import contextlib
import ctypes
import glob
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import psycopg2

from ports import free_port

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 60
STATEMENT_TIMEOUT = "60s"
DETAILS_MAX = 8
PATIENCE = 3        # so many times longer may a machine take that does other things beside


class Failure(Exception):
    """What a test found wrong, in one line."""


def note(text):
    print("# " + text, flush=True)


def ensure(condition, text):
    if not condition:
        raise Failure(text)


def ensure_empty(findings, what):
    """Fail with the number of the findings, printing the first few."""
    findings = list(findings)
    for finding in findings[:DETAILS_MAX]:
        note("%s: %s" % (what, finding))
    if findings:
        raise Failure("%s: %d, e.g. %s" % (what, len(findings), findings[0]))


def foreign(*arguments):
    """What scripts/foreign answers; it says itself why it cannot bring something."""
    done = subprocess.run([os.path.join(ROOT, "scripts", "foreign")] + list(arguments), stdout=subprocess.PIPE,
                          universal_newlines=True)
    ensure(done.returncode == 0, "scripts/foreign %s failed" % " ".join(arguments))
    return done.stdout.strip()


def libpq_flags():
    """What a C program of a test is compiled with that talks to PostgreSQL."""
    include = subprocess.run(["pg_config", "--includedir"], stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout.strip()
    return ["-I" + include, "-lpq"]


def wait_until(condition, seconds, what, pause=0.02):
    """Poll until condition() is true; return its value. The seconds are those of a quiet machine."""
    deadline = time.monotonic() + PATIENCE * seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure("waited %.0f s in vain for %s" % (PATIENCE * seconds, what))
        time.sleep(pause)


def fetched(cursor):
    """The rows of the last statement, none when it has no rows. Those of SELECT FROM … have no columns, and are rows nevertheless."""
    return cursor.fetchall() if cursor.description is not None else []


def process_state(pid):
    """As the kernel calls it: R runs, S sleeps, T is stopped."""
    with open("/proc/%d/stat" % pid) as stat:
        return stat.read().rpartition(")")[2].split()[0]


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def bindir():
    """Where the server's programs are: $USHER_BIN, or the tree that ./dev keeps."""
    path = os.environ.get("USHER_BIN")
    if not path:
        path = subprocess.run([os.path.join(ROOT, "dev"), "tree"], stdout=subprocess.PIPE, universal_newlines=True).stdout.strip()
    if not os.access(os.path.join(path, "postgres"), os.X_OK):
        raise Failure("no postgres in %s (run ./dev install, or set USHER_BIN)" % path)
    return path


def server_argv(argv):
    """A command that runs as the server's user."""
    if os.geteuid() != 0:
        return argv
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"] + argv


def server_environment():
    env = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    env.update(LC_ALL="C.UTF-8", PGCONNECT_TIMEOUT="10", HOME="/")
    return env


def work_directory():
    """A directory of the server's user, removed at exit by the process that made it."""
    base = tempfile.mkdtemp(prefix="usher-chaos-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(base, account.pw_uid, account.pw_gid)
    owner = os.getpid()
    if not os.environ.get("USHER_CHAOS_KEEP"):
        atexit.register(lambda: os.getpid() == owner and shutil.rmtree(base, ignore_errors=True))
    return base


class Cluster:
    """One PostgreSQL server with pg_usher preloaded."""

    ALL = []
    CONF = {
        "listen_addresses": "127.0.0.1",
        "shared_preload_libraries": "pg_usher",
        "max_connections": "120",
        "max_worker_processes": "32",
        "max_prepared_transactions": "8",
        "log_line_prefix": "%m [%p] %b %a %e ",
        "log_lock_waits": "on",
        "deadlock_timeout": "200ms",
        "max_wal_size": "1GB",
        "min_wal_size": "512MB",
        "statement_timeout": "0",
    }

    def __init__(self, base, name="primary", conf=None):
        self.bin = bindir()
        self.base = base
        self.name = name
        self.data = os.path.join(base, name)
        self.log = os.path.join(base, name + ".log")
        self.port = free_port()
        self.conf = dict(self.CONF, **(conf or {}))
        self.process = None
        self.ALL.append(self)
        owner = os.getpid()
        atexit.register(lambda: os.getpid() == owner and self.destroy())

    # life

    def initdb(self):
        self.tool("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C.UTF-8",
                  "--no-instructions")
        self.configure()
        return self

    def configure(self, **settings):
        """Write the settings for the next start (or reload)."""
        self.conf.update(settings)
        lines = ["%s = '%s'\n" % item for item in sorted(self.conf.items())]
        lines += ["port = %d\n" % self.port, "unix_socket_directories = '%s'\n" % self.base]
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a+") as file:
            file.seek(0)
            kept = [line for line in file if line.startswith("primary_conninfo")]
            file.truncate(0)
            file.writelines(kept + lines)

    def start(self):
        argv = server_argv(["setpriv", "--pdeathsig", "QUIT", os.path.join(self.bin, "postgres"), "-D", self.data])
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.base,
                                            env=server_environment(), start_new_session=True)
        self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise Failure("%s did not start: %s" % (self.name, self.log_tail(3)))
            try:
                self.connect(connect_timeout=2).close()
                return True
            except psycopg2.OperationalError:
                return False
        wait_until(ready, START_SECONDS_MAX, self.name + " to accept connections")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, how=signal.SIGINT):
        """Fast shutdown (SIGINT); SIGQUIT for an immediate one."""
        if self.running():
            self.process.send_signal(how)
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.kill9()
                raise Failure("%s did not stop in %d s" % (self.name, STOP_SECONDS_MAX))
        self.process = None

    def restart(self):
        self.stop()
        return self.start()

    def reload(self, **settings):
        self.configure(**settings)
        self.process.send_signal(signal.SIGHUP)

    def child(self, kind):
        """The process of that backend_type."""
        pids = self.rows("SELECT pid FROM pg_stat_activity WHERE backend_type = %s", (kind,))
        ensure(pids, "%s has no %s" % (self.name, kind))
        self.ensure_child(pids[0][0])
        return pids[0][0]

    def ensure_child(self, pid):
        with open("/proc/%d/stat" % pid) as stat:
            parent = int(stat.read().rsplit(")", 1)[1].split()[1])
        ensure(parent == self.process.pid, "process %d is no child of ours" % pid)

    def kill9(self, stopped=()):
        """Kill the postmaster, and only it (and children that we stopped); its children notice and leave.

        Return when the last one has gone.
        """
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)
        self.process = None
        deadline = time.monotonic() + STOP_SECONDS_MAX
        while self.processes():
            if time.monotonic() > deadline:
                for pid in self.processes():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                raise Failure("orphans of a killed postmaster stayed for %d s" % STOP_SECONDS_MAX)
            time.sleep(0.005)

    def kill9_backend(self, pid):
        """Kill one child of this postmaster: the server resets itself. Return when it accepts connections again."""
        self.ensure_child(pid)
        resets = self.log_count("all server processes terminated; reinitializing")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.log_count("all server processes terminated; reinitializing") > resets, START_SECONDS_MAX,
                   "the reset of the server")
        self.wait_ready()

    def stop_walwriter(self):
        """From here on only commits that must be durable write WAL. Returns the stopped process, for kill9()."""
        pid = self.child("walwriter")
        while True:
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: process_state(pid) == "T", 30, "the walwriter to stop")
            # not with a lock in its hands, as that of the WAL buffers that it prepares: everybody would wait for it
            if self.value("SELECT wait_event = 'WalWriterMain' FROM pg_stat_activity WHERE backend_type = 'walwriter'"):
                return pid
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.01)

    def processes(self):
        """The processes that work in our data directory."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):
                    if os.readlink("/proc/%s/cwd" % name) == os.path.realpath(self.data):
                        found.append(int(name))
        return found

    def note_sessions(self):
        """What sessions have been doing for more than a second: asked when a test has failed."""
        with contextlib.suppress(Exception):
            for row in self.rows("SELECT pid, backend_type, extract(epoch FROM clock_timestamp() - query_start)::int,"
                                 " wait_event_type, wait_event, pg_blocking_pids(pid), left(query, 100) FROM pg_stat_activity"
                                 " WHERE pid <> pg_backend_pid() AND (state LIKE 'idle in%' OR state = 'active')"
                                 " AND clock_timestamp() - query_start > interval '1 s' OR backend_type LIKE '%usher%'"
                                 " ORDER BY cardinality(pg_blocking_pids(pid)), backend_type")[:3 * DETAILS_MAX]:
                note("%s: process %s, %s, for %s s at %s %s, blocked by %s: %s" % ((self.name,) + row))

    def destroy(self):
        if self.running() and sys.exc_info()[0] is not None:
            self.note_sessions()
        if self.running():
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()

    # use

    def tool(self, program, *arguments, check=True, **options):
        """Run one of the server's programs as its user; return the finished process with its output."""
        done = subprocess.run(server_argv([os.path.join(self.bin, program)] + [str(a) for a in arguments]), cwd=self.base,
                              env=server_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True, **options)
        if check and done.returncode != 0:
            raise Failure("%s failed: %s" % (program, (done.stderr or done.stdout).strip().replace("\n", " | ")[-600:]))
        return done

    def connection_arguments(self, database="postgres"):
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database]

    def connect(self, database="postgres", name="chaos", settings=None, **options):
        """A connection in autocommit mode."""
        settings = dict({"statement_timeout": STATEMENT_TIMEOUT}, **(settings or {}))
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=options.pop("user", "postgres"), dbname=database, application_name=name,
            options=" ".join("-c %s=%s" % item for item in settings.items()), **options)
        connection.autocommit = True
        return connection

    def rows(self, sql, arguments=None, database="postgres"):
        """Run one statement in a session of its own; return its rows."""
        with contextlib.closing(self.connect(database)) as connection:
            cursor = connection.cursor()
            cursor.execute(sql, arguments)
            return fetched(cursor)

    def value(self, sql, arguments=None, database="postgres"):
        return self.rows(sql, arguments, database)[0][0]

    def psql(self, sql, database="postgres"):
        return self.tool("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql,
                         *self.connection_arguments(database)).stdout.strip()

    def create(self, database="postgres"):
        self.rows("CREATE EXTENSION pg_usher", database=database)
        return self

    def check(self, database="postgres"):
        """usher.check() must be content."""
        bad = [row for row in self.rows("SELECT invariant, ok, detail FROM usher.check()", database=database) if not row[1]]
        ensure_empty(bad, "usher.check() on " + self.name)

    # standby

    def standby(self, name="standby", conf=None):
        """A hot standby that streams from this server (started)."""
        other = Cluster(self.base, name, dict(self.conf, **(conf or {})))
        self.tool("pg_basebackup", "-D", other.data, "-h", "127.0.0.1", "-p", self.port, "-U", "postgres", "-R", "-c",
                  "fast", "-X", "stream")
        other.configure()
        return other.start()

    def promote(self):
        self.rows("SELECT pg_promote(true, 60)")
        wait_until(lambda: not self.value("SELECT pg_is_in_recovery()"), START_SECONDS_MAX, "the promotion")

    # log

    def log_text(self):
        with open(self.log, errors="replace") as file:
            return file.read()

    def log_count(self, text):
        return self.log_text().count(text)

    def log_tail(self, lines=20):
        return " | ".join(self.log_text().splitlines()[-lines:])

    def log_crashes(self):
        """Lines of the server's log that must never be there."""
        bad = ("was terminated by signal 11", "was terminated by signal 6", "PANIC:", "TRAP:", "was terminated by signal 7",
               "XX000", "XX001", "XX002")
        return [line for line in self.log_text().splitlines() if any(text in line for text in bad)]


class Heartbeat(threading.Thread):
    """Knows when the machine itself stood still: plain commits beside the load, in a session that touches nothing of ours.

    A latency above a limit is the log's fault only if no plain commit took long at the same time.
    """

    def __init__(self, cluster, pause=0.01):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.pause = pause
        self.beats = []             # (start, end) of those that took long
        self.longest = 0.0
        self.quit = threading.Event()

    def run(self):
        connection = self.cluster.connect(name="heartbeat")
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE IF NOT EXISTS public.heartbeat (at timestamptz)")
        cursor.execute("SET lock_timeout = '5s'")
        last = time.monotonic()
        while not self.quit.wait(self.pause):
            cursor.execute("INSERT INTO public.heartbeat VALUES (now())")
            now = time.monotonic()
            took = now - last - self.pause
            if took > 0.03:
                self.beats.append((last, now))
            self.longest = max(self.longest, took)
            last = now
        connection.close()

    def stop(self):
        self.quit.set()
        self.join(10)

    def stood_still(self, start, end):
        """Seconds within start..end in which no plain commit came through (beyond its usual time)."""
        return sum(max(0.0, min(e, end) - max(s, start)) for s, e in self.beats)

    def to_blame(self, waits, limit):
        """Those of the (start, end, what) waits that stay above the limit when the machine's own stalls are taken off."""
        return [(round((end - start) * 1000), what) for start, end, what in waits
                if end - start - self.stood_still(start, end) > limit]


def die_with_parent():
    """In a forked child: leave when the test is killed, and never run its cleanup."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.alarm(0)


def arguments(description, **extra):
    """--short, --seed and the test's own options (name=(type, default, help))."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--short", action="store_true", help="the form for ./dev check: seconds instead of minutes")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the random choices (printed)")
    for name, (kind, default, text) in extra.items():
        parser.add_argument("--" + name, type=kind, default=default, help=text)
    options = parser.parse_args()
    random.seed(options.seed)
    note("seed %d" % options.seed)
    return options


def keep_logs():
    """What the servers have said, for ./dev test to keep."""
    kept = os.environ.get("TEST_TMP")
    for cluster in Cluster.ALL if kept else ():
        for path in glob.glob(cluster.base + "/*.log") + glob.glob(cluster.base + "/*/log") + glob.glob(cluster.base + "/*/stderr"):
            name = os.path.relpath(path, os.path.dirname(cluster.base)).replace("/", "-").removesuffix(".log")
            with contextlib.suppress(OSError):
                shutil.copyfile(path, os.path.join(kept, name + ".log"))


def main(tests, seconds_max):
    """Run the (name, function) pairs, print ok or not ok for each, and exit with the number that failed.

    seconds_max: of each, on a quiet machine.
    """
    def expired(signum, frame):
        note("at " + " < ".join("%s:%d" % (entry.name, entry.lineno) for entry in reversed(traceback.extract_stack(frame)[-6:])))
        if signum != signal.SIGALRM:
            sys.exit(128 + signum)
        raise Failure("not done within %d s" % (PATIENCE * seconds_max))
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, expired)
    failed = 0
    for name, test in tests:
        began = time.monotonic()
        signal.alarm(PATIENCE * seconds_max)
        try:
            test()
            print("ok %s (%.1f s)" % (name, time.monotonic() - began), flush=True)
        except Exception as error:      # a test that breaks is a test that fails
            failed += 1
            if not isinstance(error, Failure):
                traceback.print_exc(file=sys.stdout)
            for line in [line for cluster in Cluster.ALL for line in cluster.log_crashes()][:DETAILS_MAX]:
                note("server log: " + line)
            keep_logs()
            print("not ok %s - %s" % (name, str(error).strip().replace("\n", " | ")), flush=True)
        finally:
            signal.alarm(0)
    sys.stdout.flush()
    sys.exit(min(failed, 100))
