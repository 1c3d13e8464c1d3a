# test/chaos/load.py: writers that know what they were promised.
#
# Every event carries a tag (an integer, never used twice) in its data. A Ledger holds what became of each tag in the eyes
# of its writer: acknowledged, abandoned (rolled back, refused, or lost before COMMIT was sent) or in doubt (the
# connection broke during the commit). Writers and followers run as threads; a Fork runs some of them in a process.
import collections
import contextlib
import mmap
import multiprocessing
import random
import threading
import time
import uuid

import psycopg2

from lib import Failure, die_with_parent, note

TYPES = ("load.small", "load.big", "other.small", "other.deep.one")
PATTERN = "load.*"
HOT_STREAMS = 4
RANDOM_STREAMS = 120
TAGS_PER_WRITER = 10 ** 8
SLOW_SECONDS = 0.05
# deadlock, serialization failure, canceled: a writer's daily bread
EXPECTED_CODES = ("40P01", "40001", "57014")
LOST_CODES = ("57P01", "57P02", "57P03")


def type_of(tag):
    return TYPES[tag % len(TYPES)]


def matches_pattern(tag):
    return type_of(tag).startswith("load.")


def data_of(tag):
    filling = "x" * (2000 if tag % 50 == 7 else 60)
    return '{"tag": %d, "filling": "%s"}' % (tag, filling)


class Ledger:
    def __init__(self):
        self.acked = {}             # tag → (tenant, stream, version); version None: not told
        self.aborted = set()
        self.doubt = {}
        self.acked_at = {}          # tag → monotonic seconds
        self.positions = {}         # tag → position, where the writer asked
        self.unexpected = []        # errors that no writer should get
        self.slow = []              # (start, end, what) of statements
        self.counts = collections.Counter()

    def add(self, other):
        self.acked.update(other.acked)
        self.aborted |= other.aborted
        self.doubt.update(other.doubt)
        self.acked_at.update(other.acked_at)
        self.positions.update(other.positions)
        self.unexpected += other.unexpected
        self.slow += other.slow
        self.counts += other.counts
        return self

    @staticmethod
    def sum(ledgers):
        total = Ledger()
        for ledger in ledgers:
            total.add(ledger)
        return total


class Gate:
    """Starts, pauses and stops the threads of one process; they work between enter() and leave()."""

    def __init__(self, stop=None):
        self.stop = stop or threading.Event()
        self.changed = threading.Condition()
        self.paused = False
        self.active = 0

    def enter(self):
        """Wait while paused; false when it is over."""
        with self.changed:
            while self.paused and not self.stop.is_set():
                self.changed.wait(0.1)
            if self.stop.is_set():
                return False
            self.active += 1
            return True

    def leave(self):
        with self.changed:
            self.active -= 1
            self.changed.notify_all()

    def pause(self, seconds=30):
        """Return when nobody works any more."""
        with self.changed:
            self.paused = True
            if not self.changed.wait_for(lambda: self.active == 0, seconds):
                raise Failure("%d threads did not pause within %d s" % (self.active, seconds))

    def resume(self):
        with self.changed:
            self.paused = False
            self.changed.notify_all()


class Session:
    """One connection that keeps a ledger."""

    def __init__(self, cluster, number, gate, tenant="default", settings=None, ledger=None):
        self.cluster = cluster
        self.number = number
        self.gate = gate
        self.tenant = tenant
        self.settings = dict(settings or {})
        if tenant != "default":
            self.settings["usher.tenant"] = tenant
        self.ledger = ledger or Ledger()
        self.random = random.Random(random.random() + number)
        self.used = 0
        self.pending = []           # [tag, stream, version] of the running transaction
        self.committing = False
        self.owed = None            # (stream, tag, event id) to be repeated after a lost connection
        self.connection = None
        self.cursor = None

    # plumbing

    def connect(self):
        self.connection = self.cluster.connect(name="writer", settings=self.settings, connect_timeout=5)
        self.cursor = self.connection.cursor()

    def execute(self, sql, arguments=None):
        start = time.monotonic()
        self.cursor.execute(sql, arguments)
        end = time.monotonic()
        if end - start > SLOW_SECONDS:
            self.ledger.slow.append((start, end, sql[:60]))
        return self.cursor

    def value(self, sql, arguments=None):
        return self.execute(sql, arguments).fetchone()[0]

    def tag(self):
        self.used += 1
        return self.number * TAGS_PER_WRITER + self.used

    def settle(self, how):
        now = time.monotonic()
        for tag, stream, version in self.pending:
            if how == "acked":
                self.ledger.acked[tag] = (self.tenant, stream, version)
                self.ledger.acked_at[tag] = now
                self.ledger.doubt.pop(tag, None)
            elif how == "doubt":
                self.ledger.doubt[tag] = (self.tenant, stream, version)
            else:
                self.ledger.aborted.add(tag)
        self.pending = []
        self.committing = False

    @contextlib.contextmanager
    def transaction(self, commit=True, begin="BEGIN"):
        self.execute(begin)
        yield
        if commit:
            self.committing = True
            self.execute("COMMIT")
            if self.cursor.statusmessage != "COMMIT":
                raise Failure("COMMIT said " + self.cursor.statusmessage)
            self.settle("acked")
        else:
            self.execute("ROLLBACK")
            self.settle("aborted")

    def rolled_back(self, mark):
        """The pending events after the first `mark` went with their savepoint."""
        self.ledger.aborted.update(entry[0] for entry in self.pending[mark:])
        del self.pending[mark:]

    def attempt(self, work):
        """Run one transaction; note what became of its events. False when the connection is gone."""
        try:
            work()
            self.ledger.counts[getattr(work, "__name__", "work")] += 1
            return True
        except (psycopg2.Error, Failure) as error:
            code = getattr(error, "pgcode", None)
            if self.connection.closed or code in LOST_CODES:
                self.settle("doubt" if self.committing else "aborted")
                self.ledger.counts["lost connections"] += 1
                self.disconnect()
                return False
            self.settle("aborted")
            if code in EXPECTED_CODES:
                self.ledger.counts["refused"] += 1
            else:
                self.ledger.unexpected.append("%s %s in %s" % (code, str(error).strip().split("\n")[0],
                                                               getattr(work, "__name__", "work")))
            self.execute("ROLLBACK")
            return True

    def disconnect(self):
        if self.connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self.connection.close()
        self.connection = None

    # appends

    def append(self, stream, expected=None, event_id=None, tag=None):
        tag = tag or self.tag()
        self.pending.append([tag, stream, None])
        version = self.value("SELECT usher.append(%s, %s, %s, %s, '{}', %s)",
                             (stream, type_of(tag), data_of(tag), expected, event_id))
        self.pending[-1][2] = version
        return version

    def publish(self):
        tag = self.tag()
        self.pending.append([tag, None, None])
        return self.value("SELECT usher.publish(%s, %s, %s, %s)", ("mail", "key-%d" % (tag % 9), type_of(tag), data_of(tag)))

    def append_batch(self, stream, count):
        tags = [self.tag() for _ in range(count)]
        mark = len(self.pending)
        self.pending += [[tag, stream, None] for tag in tags]
        last = self.value("SELECT usher.append_batch(%s, ARRAY(SELECT ROW(t, d::jsonb, NULL, NULL)::usher.new_event"
                          " FROM unnest(%s, %s) WITH ORDINALITY AS u (t, d, n) ORDER BY n))",
                          (stream, [type_of(tag) for tag in tags], [data_of(tag) for tag in tags]))
        for number, entry in enumerate(self.pending[mark:]):
            entry[2] = last - count + 1 + number

    def append_many(self, streams):
        tags = [self.tag() for _ in streams]
        self.pending += [[tag, stream, None] for tag, stream in zip(tags, streams)]
        count = self.value("SELECT usher.append_many(%s, %s, %s)",
                           (streams, [type_of(tag) for tag in tags], [data_of(tag) for tag in tags]))
        if count != len(streams):
            raise Failure("append_many said %d of %d" % (count, len(streams)))


class Writer(Session):
    """All that an application might do to the log, at random, as fast as it goes (or with a pause after each)."""

    WEIGHTS = (("one", 10), ("hot", 8), ("several", 6), ("savepoint", 5), ("abort", 3), ("conflict", 3), ("outbox", 4),
               ("batch", 3), ("repeat", 2), ("block", 2), ("strict", 1), ("fresh", 3))

    def __init__(self, *arguments, pause=0.0, private="", **options):
        super().__init__(*arguments, **options)
        self.pause = pause
        self.private = private      # part of the streams' names: nobody else waits for their locks
        self.works = [getattr(self, name) for name, weight in self.WEIGHTS for _ in range(weight)]
        self.fresh_streams = 0

    def run(self):
        while self.gate.enter():
            try:
                self.work()
            except psycopg2.OperationalError:       # not up yet
                self.disconnect()
                time.sleep(0.05)
            except Exception as error:
                self.ledger.unexpected.append(repr(error))
                break
            finally:
                self.gate.leave()
            if self.pause:
                time.sleep(self.pause * self.random.uniform(0.5, 1.5))
        self.disconnect()

    def work(self):
        if self.connection is None:
            self.connect()
            if self.owed:
                self.attempt(self.pay)
        else:
            self.attempt(self.random.choice(self.works))

    def random_stream(self):
        return "%s-%s%d" % (self.random.choice(("order", "cart", "user")), self.private, self.random.randrange(RANDOM_STREAMS))

    def hot_stream(self):
        return "hot-%s%d" % (self.private, self.random.randrange(HOT_STREAMS))

    def one(self):
        self.committing = True
        self.append(self.random_stream())
        tag = self.pending[0][0]
        self.settle("acked")
        if self.random.random() < 0.2:
            self.ledger.positions[tag] = self.value("SELECT usher.last_position()")

    def hot(self):
        self.committing = True
        self.append(self.hot_stream())
        self.settle("acked")

    def several(self):
        with self.transaction():
            for stream in sorted([self.random_stream() for _ in range(self.random.randrange(1, 5))] + [self.hot_stream()]):
                self.append(stream)

    def savepoint(self):
        with self.transaction():
            self.append("aaa-%d" % self.number)
            self.execute("SAVEPOINT a")
            mark = len(self.pending)
            self.append(self.hot_stream())
            self.execute("SAVEPOINT b")
            self.append("aaa-%d" % self.number)
            self.publish()
            if self.random.random() < 0.5:
                self.execute("RELEASE b")
            self.execute("ROLLBACK TO a")
            self.rolled_back(mark)
            self.append("aaa-%d" % self.number)
            self.append(self.random_stream())

    def abort(self):
        with self.transaction(commit=False):
            for stream in sorted(self.random_stream() for _ in range(self.random.randrange(1, 4))):
                self.append(stream)
            if self.random.random() < 0.3:
                self.append_many(["many-%s%d" % (self.private, n) for n in range(10)])

    def conflict(self):
        """A wrong version is refused with the right number; the right one goes through."""
        stream = "own-%d" % self.number
        version = self.value("SELECT usher.stream_version(%s)", (stream,))
        try:
            self.committing = True
            self.append(stream, expected=version + self.random.choice((1, 5)) if version == 0 or self.random.random() < 0.7 else 0)
            raise Failure("expected_version was not checked")
        except psycopg2.Error as error:
            if error.pgcode != "US001":
                raise
            if version and str(version) not in (error.diag.message_detail or ""):
                raise Failure("US001 without the actual version: %s" % error.diag.message_detail)
            self.settle("aborted")
        self.committing = True
        if self.append(stream, expected=version) != version + 1:
            raise Failure("expected_version %d gave another version" % version)
        self.settle("acked")

    def outbox(self):
        self.committing = True
        self.publish()
        self.settle("acked")

    def batch(self):
        self.committing = True
        self.append_batch(self.random_stream(), self.random.randrange(2, 12))
        self.settle("acked")

    def repeat(self):
        """An append with an id, and its repetition, which adds nothing."""
        self.owed = (self.random_stream(), self.tag(), str(uuid.uuid4()))
        self.pay()

    def pay(self):
        stream, tag, event_id = self.owed
        versions = []
        for _ in range(2):
            self.committing = True
            versions.append(self.append(stream, event_id=event_id, tag=tag))
            self.settle("acked")
        self.owed = None
        if versions[0] != versions[1]:
            raise Failure("a repeated event got version %s, then %s" % tuple(versions))

    def block(self):
        """Subtransactions of PL/pgSQL that fail inside."""
        kept, lost = self.tag(), self.tag()
        stream = self.random_stream()
        self.committing = True
        self.pending.append([kept, stream, None])
        self.ledger.aborted.add(lost)
        self.execute("DO $$ BEGIN BEGIN PERFORM usher.append('%s', '%s', '%s'); RAISE division_by_zero;"
                     " EXCEPTION WHEN division_by_zero THEN NULL; END; PERFORM usher.append('%s', '%s', '%s'); END $$"
                     % (stream, type_of(lost), data_of(lost), stream, type_of(kept), data_of(kept)))
        self.settle("acked")

    def strict(self):
        level = self.random.choice(("REPEATABLE READ", "SERIALIZABLE"))
        with self.transaction(begin="BEGIN ISOLATION LEVEL " + level):
            self.append("strict-%s%d" % (self.private, self.random.randrange(3)))
            self.append("strict-own-%d" % self.number)

    def fresh(self):
        self.fresh_streams += 1
        self.committing = True
        if self.append("fresh-%d-%d" % (self.number, self.fresh_streams), expected=0) != 1:
            raise Failure("a new stream does not begin with version 1")
        self.settle("acked")


class BulkWriter(Writer):
    """append_many beside: old, new and hot streams in one call, more than its buffer holds."""

    WEIGHTS = (("many", 5), ("many_savepoint", 2), ("many_aborted", 1))
    calls = 0
    size = 200

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.settings["usher.append_buffer"] = "64kB"

    def streams(self):
        self.calls += 1
        streams = [self.random_stream() for _ in range(self.size - 40)]
        streams += ["bulk-%d-%d-%d" % (self.number, self.calls, n % 20) for n in range(30)]
        streams += [self.hot_stream() for _ in range(10)]
        self.random.shuffle(streams)
        return streams

    def many(self):
        self.committing = True
        self.append_many(self.streams())
        self.settle("acked")

    def many_savepoint(self):
        with self.transaction():
            self.append_many(self.streams())
            mark = len(self.pending)
            self.execute("SAVEPOINT a")
            self.append_many(self.streams())
            self.execute("ROLLBACK TO a")
            self.rolled_back(mark)
            self.append_many(self.streams())

    def many_aborted(self):
        with self.transaction(commit=False):
            self.append_many(self.streams())


class OpenSession(Session):
    """Appends to a stream of its own, and stays open."""

    def begin(self):
        self.connect()
        self.execute("BEGIN")
        self.append("open-%d" % self.number)
        self.execute("SAVEPOINT s")
        self.append("open-%d" % self.number)
        self.execute("ROLLBACK TO s")
        self.rolled_back(1)
        self.pid = self.connection.get_backend_pid()
        return self

    def more(self):
        self.append("open-%d" % self.number)
        self.publish()

    def commit(self):
        self.committing = True
        self.execute("COMMIT")
        self.settle("acked")
        self.disconnect()


def thread(function, *arguments):
    started = threading.Thread(target=function, args=arguments, daemon=True)
    started.start()
    return started


def join(threads, seconds=15):
    """Wait for the ends of threads; false when one is still at it."""
    deadline = time.monotonic() + seconds
    for running in threads:
        running.join(max(0.0, deadline - time.monotonic()))
    return not any(running.is_alive() for running in threads)


class SharedNumber:
    """A number that forked processes share; multiprocessing's own need a writable /dev/shm, which a chroot may lack."""

    def __init__(self):
        self.cell = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")

    @property
    def value(self):
        return self.cell[0]

    @value.setter
    def value(self, number):
        self.cell[0] = number


class SharedFlag(SharedNumber):
    """As threading.Event, for forked processes."""

    def set(self):
        self.value = 1

    def is_set(self):
        return self.value != 0


class Fork:
    """A function in a process of its own; its result comes back through a pipe.

    Fork before any thread is started: a child would inherit the locks that other threads hold.
    """

    context = multiprocessing.get_context("fork")

    def __init__(self, function, *arguments):
        if threading.active_count() > 1:
            raise Failure("fork beside %d threads" % (threading.active_count() - 1))
        self.receive, send = self.context.Pipe(False)
        self.process = self.context.Process(target=self.body, args=(send, function, arguments), daemon=True)
        self.process.start()
        send.close()

    @staticmethod
    def body(send, function, arguments):
        die_with_parent()
        send.send(function(*arguments))
        send.close()

    def join(self, seconds=60):
        if not self.receive.poll(seconds):
            self.process.kill()
            raise Failure("a process of the load did not end within %d s" % seconds)
        try:
            result = self.receive.recv()
        except EOFError:
            raise Failure("a process of the load broke")
        self.process.join(5)
        return result


def run_writers(writers, begin=None):
    """In a forked process: run these sessions as threads (from `begin` on) to their end; return their ledgers' sum."""
    while begin is not None and not begin.is_set():
        time.sleep(0.01)
    threads = [thread(writer.run) for writer in writers]
    for running in threads:
        running.join()
    return Ledger.sum(writer.ledger for writer in writers)


def summary(ledger, seconds):
    note("%d events acknowledged (%.0f a second), %d abandoned, %d in doubt; %s" % (
        len(ledger.acked), len(ledger.acked) / max(seconds, 0.001), len(ledger.aborted), len(ledger.doubt),
        ", ".join("%s %d" % item for item in sorted(ledger.counts.items()))))
