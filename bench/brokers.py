# bench/brokers.py
# What the relay's benchmarks share: real brokers on loopback, a log full of messages, sinks, and native producers.
#
# A broker is started by scripts/servers in the cluster's temporary directory and ends with the benchmark. The events of
# the log are made so that the relay's messages are those of test/integration/src/messages.h, which the native
# producers send: equal topics, keys, headers and bodies, 150 bytes each, with 10,000 keys.
import atexit
import base64
import json
import os
import re
import subprocess
import threading
import time

import psycopg2

import lib
from ports import free_ports         # lib.py says where it is

KEYS = 10000
SIZE = 150
TOPIC = 'bench'
PARTITIONS = 4
SOURCE = '/shop/default'
CHUNK = 10000

# One event of the backlog: number n, the key of message_key_number(), the body of message_body().
BACKLOG = f"""
SELECT usher.append_many(array_agg('stream-' || k ORDER BY n), array_agg('order.placed'::text ORDER BY n),
                         array_agg(head || substr(repeat('abcdefghijklmnopqrstuvwxyz', 8), length(head) %% 26 + 1,
                                                  {SIZE} - 2 - length(head)) || '"}}' ORDER BY n))
FROM (SELECT n, k, format('{{"n": %%s, "key": "stream-%%s", "pad": "', n, k) AS head
      FROM (SELECT n, (n * 2654435761 >> 7) %% {KEYS} AS k FROM generate_series(%s::bigint, %s::bigint) AS n) AS keys) AS events"""


class Broker:
    """A server of scripts/servers, on a port and in a directory of its own."""

    kind = None
    conf = ''
    ports = 1
    options = {}            # of the sink

    def __init__(self, cluster):
        self.cluster = cluster
        self.port = free_ports(self.ports)
        self.script = lib.ROOT / 'scripts' / 'servers' / self.kind
        self.env = dict(os.environ)
        name = self.kind.upper()
        self.env.update({name + '_PORT': str(self.port), name + '_DIR': str(cluster.dir / self.kind)})
        if self.conf:
            path = cluster.dir / (self.kind + '.conf')
            path.write_text(self.conf)
            self.env[name + '_CONF'] = str(path)
        atexit.register(self.server, 'down', '--wipe')
        self.server('up')
        self.program = None

    def server(self, *words):
        done = subprocess.run([self.script, *map(str, words)], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        if done.returncode != 0:
            lib.die(f'{self.kind} {" ".join(map(str, words))}: {done.stdout[-2000:]}')
        return done.stdout

    def pid(self):
        return int(self.server('pid'))

    def address(self):
        return f'127.0.0.1:{self.port}'

    def prepare(self, topic):
        """Before either side sends to a topic."""

    def discard(self, topic):
        """After it."""

    def warm(self):
        """Before times are taken."""

    def producer_settings(self):
        """name=value of the native producer, as the sink's own are."""
        return []

    def produce(self, topic, count):
        """The native producer's figures."""
        if self.program is None:
            self.program = compile_messages(self.cluster, self.kind + '_producer', self.libraries)
        command = [self.program, self.address(), topic, str(count), f'keys={KEYS}', f'size={SIZE}', 'tenant=default',
                   *self.producer_settings()]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            lib.die(f'{os.path.basename(self.program)} failed')
        return json.loads(done.stdout)


class Redis(Broker):
    kind = 'redis'
    # Rewriting the append-only file would strike one side of a pair at random.
    conf = 'auto-aof-rewrite-percentage 0\n'
    libraries = ['-lhiredis']

    def config(self):
        return {'url': f'redis://{self.address()}', 'source': SOURCE, **self.options}

    def cli(self, *words):
        return self.server('cli', *words).strip()

    def discard(self, topic):
        self.cli('FLUSHALL')
        self.cli('BGREWRITEAOF')
        time.sleep(0.2)
        while 'aof_rewrite_in_progress:1' in self.cli('INFO', 'persistence'):
            time.sleep(0.1)

    def count(self, topic):
        return int(self.cli('XLEN', topic))

    def example(self, topic, position):
        """One message: the names and values of its fields."""
        lines = self.cli('XRANGE', topic, position, position).split('\n')[1:]
        return dict(zip(lines[::2], lines[1::2]))


class Kafka(Broker):
    kind = 'kafka'
    ports = 2       # that of its controller is behind its own
    conf = f'num.partitions={PARTITIONS}\nauto.create.topics.enable=false\n'
    libraries = ['-lrdkafka']
    transaction = 0

    def config(self):
        return {'brokers': self.address(), 'source': SOURCE, **self.options}

    def producer_settings(self):
        # those of bgworkers/sinks/kafka_config.c that the producer does not set itself
        return ['queue.buffering.max.messages=20000', 'queue.buffering.max.kbytes=32768', 'message.max.bytes=1000000',
                'batch.size=1000000', 'retry.backoff.ms=100', 'socket.keepalive.enable=true', 'socket.nagle.disable=true',
                *([f'transaction={self.transaction}'] if self.transaction else ['message.timeout.ms=0'])]

    def tool(self, name, *words):
        return self.server('tool', name, '--bootstrap-server', self.address(), *words)

    def prepare(self, topic):
        for name, partitions in ((topic, PARTITIONS), (topic + '.cursors', 1))[:2 if self.transaction else 1]:
            self.tool('TopicCommand', '--create', '--topic', name, '--partitions', partitions)

    def warm(self):
        """Java compiles what it executes often, and takes a core for it."""
        self.prepare('warm')
        for _ in range(3):
            self.produce('warm', 100000)
            self.count('warm')
        self.discard('warm')

    def discard(self, topic):
        self.tool('TopicCommand', '--delete', '--topic', topic)

    def count(self, topic):
        """Messages that a read_committed consumer gets; kcat ends at the end of each partition."""
        return self._kcat(topic, '-f', '.\\n').count('.')

    def example(self, topic, position):
        found = self._kcat(topic, '-p', '0', '-o', '20', '-c', '1', '-f', '%h\\n%S')
        headers, _, size = found.rpartition('\n')
        return {**dict(pair.split('=', 1) for pair in headers.split(',')), 'body': 'x' * int(size)}

    def _kcat(self, topic, *words):
        return subprocess.run(['kcat', '-b', self.address(), '-C', '-t', topic, '-e', '-q', '-X', 'isolation.level=read_committed',
                               *words], stdout=subprocess.PIPE, text=True, check=True).stdout


class KafkaExactlyOnce(Kafka):
    options = {'exactly_once': True}
    transaction = 1000      # messages: a batch of the relay


class Nats(Broker):
    """All topics are subjects of one stream."""

    kind = 'nats'
    libraries = ['-lnats']
    stream = 'BENCH'
    reader = None
    runs = 0        # of the producer

    def config(self):
        return {'url': f'nats://{self.address()}', 'stream': self.stream, 'source': SOURCE, **self.options}

    def producer_settings(self):
        # as long as a log's id, a sink's and the dots between; another one each time, else they are duplicates
        self.runs += 1
        return [f'stream={self.stream}', f'id={"n" * 28}{self.runs:03}.1.']

    def ask(self, question, **request):
        """An answer of JetStream's API."""
        if self.reader is None:
            self.reader = self.cluster.dir / 'nats_reader'
            subprocess.run(['cc', '-O2', '-o', self.reader, lib.ROOT / 'test/integration/src/nats_reader.c', '-lnats'], check=True)
        done = subprocess.run([self.reader, f'nats://{self.address()}', 'request', '$JS.API.' + question,
                               json.dumps(request) if request else ''], stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    def prepare(self, topic):
        self.ask(f'STREAM.CREATE.{self.stream}', name=self.stream, subjects=['*'], storage='file')

    def discard(self, topic):
        self.ask(f'STREAM.PURGE.{self.stream}', filter=topic)

    def count(self, topic):
        subjects = self.ask(f'STREAM.INFO.{self.stream}', subjects_filter=topic)['state'].get('subjects') or {}
        return subjects.get(topic, 0)

    def example(self, topic, position):
        """The newest message: its headers and its body."""
        message = self.ask(f'STREAM.MSG.GET.{self.stream}', last_by_subj=topic)['message']
        headers = base64.b64decode(message['hdrs']).decode().split('\r\n')[1:]
        return {**dict(line.split(': ', 1) for line in headers if line), 'body': base64.b64decode(message['data']).decode()}


KINDS = {'redis': Redis, 'nats': Nats, 'kafka': Kafka, 'kafka-eo': KafkaExactlyOnce}


def compile_messages(cluster, name, libraries):
    """Build bench/src/<name>.c with the messages of the tests beside the cluster; the path of the program."""
    program = cluster.dir / name
    includes = ['-I' + str(lib.ROOT / path) for path in ('extension', 'bgworkers', 'test/integration/src', 'bench/src')]
    subprocess.run(['cc', '-O2', '-std=gnu11', '-Wall', '-Wextra', '-Werror', *includes, '-o', program,
                    lib.BENCH / 'src' / f'{name}.c', lib.ROOT / 'extension/lib/cloudevents.c', *libraries], check=True)
    return str(program)


# --- the log and its sinks --------------------------------------------------------------------------------------

def create_log(cluster, events):
    """Database `ours` with a backlog; returns the position of its last event."""
    cluster.create_database('ours', 'CREATE EXTENSION pg_usher')
    connection = cluster.connect('ours')
    cursor = connection.cursor()
    cursor.execute('SET synchronous_commit = off')
    for first in range(1, events + 1, CHUNK):
        cursor.execute(BACKLOG, (first, min(first + CHUNK - 1, events)))
    cursor.execute('VACUUM ANALYZE')
    cursor.execute('SELECT usher.stable_position()')
    last = cursor.fetchone()[0]
    connection.close()
    return last


class Sink:
    """A sink of database `ours` that sends everything to one topic."""

    def __init__(self, cluster, broker, topic, from_position=None, **options):
        self.connection = cluster.connect('ours')
        self.cursor = self.connection.cursor()
        self.name = topic
        self.cursor.execute('BEGIN; SELECT usher.add_sink(%s, %s, %s::jsonb, %s); SELECT usher.add_route(%s, %s, %s); COMMIT',
                            (topic, broker.kind, json.dumps({**broker.config(), **options}), from_position, topic, '**', topic))

    def status(self, *columns):
        self.cursor.execute(f'SELECT {", ".join(columns)} FROM usher.sink_status WHERE sink = %s', (self.name,))
        return self.cursor.fetchone()

    def wait(self, position, seconds=300):
        """Until everything up to the position is acknowledged."""
        deadline = time.monotonic() + seconds
        while True:
            at, state, error = self.status('position', 'state', 'last_error')
            if at >= position:
                return
            if state in ('waiting', 'blocked') or time.monotonic() > deadline:
                lib.die(f'the sink is {state} at {at} of {position}: {error}')
            time.sleep(0.02)

    def pid(self):
        """The relay's process id, once it runs."""
        for _ in range(500):
            pid = self.status('pid')[0]
            if pid:
                return pid
            time.sleep(0.01)
        lib.die('the relay does not start')

    def pause(self):
        """Until its worker is gone."""
        self.cursor.execute('SELECT usher.pause_sink(%s)', (self.name,))
        while self.status('pid')[0]:
            time.sleep(0.01)

    def resume(self):
        self.cursor.execute('SELECT usher.resume_sink(%s)', (self.name,))
        while self.status('state')[0] != 'running':
            time.sleep(0.01)

    def drop(self):
        self.cursor.execute('SELECT usher.drop_sink(%s)', (self.name,))
        self.connection.close()


class Process:
    """CPU seconds, and memory that is neither shared nor of a file, of a process while it runs."""

    def __init__(self, pid):
        self.pid = pid
        self.rss_max = self.rss_kb()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)
        self.thread.start()

    def rss_kb(self):
        try:
            with open(f'/proc/{self.pid}/status') as status:
                return int(re.search(r'^RssAnon:\s*(\d+)', status.read(), re.M).group(1))
        except (OSError, AttributeError):
            return 0

    def cpu(self):
        """Of all its threads."""
        try:
            fields = open(f'/proc/{self.pid}/stat').read().rpartition(')')[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
        except OSError:
            return 0.0

    def _sample(self):
        while not self.stopping.wait(0.05):
            self.rss_max = max(self.rss_max, self.rss_kb())

    def stop(self):
        self.stopping.set()
        self.thread.join()
        return self.rss_max
