# bench/lib.py
# What the benchmarks share: a private cluster, pgbench, alternating pairs, and the verdict.
#
# Every benchmark measures a peer beside us in the same run, on the same cluster, and judges the ratio: absolute
# figures say more about the machine and its neighbours than about the code. Sides alternate (A B, B A, ...), as
# a rule each begins right after a CHECKPOINT, every pair is printed, and the median pair counts.
import argparse
import atexit
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg2

BENCH = pathlib.Path(__file__).resolve().parent
ROOT = BENCH.parent
sys.path.append(str(ROOT / 'test' / 'chaos'))

from ports import free_port      # noqa: E402

# The event of all benchmarks: 148 bytes as a stored jsonb value (create_databases() checks it).
DATA = ('{"id": 48151623, "sku": "A-1042-XL", "qty": 3, "price": 1999, "customer": "customer-2044-170", '
        '"currency": "EUR"}')
DATA_BYTES = 148
STREAMS = 100000

SETTINGS = {
    'shared_preload_libraries': 'pg_usher',
    'listen_addresses': '127.0.0.1',
    'max_connections': '300',
    'max_worker_processes': '32',
    'shared_buffers': '1GB',
    'fsync': 'on',
    'synchronous_commit': 'on',
    'full_page_writes': 'on',
    'checkpoint_timeout': '30min',
    'min_wal_size': '4GB',
    'max_wal_size': '16GB',
    'autovacuum': 'off',
    'log_min_messages': 'warning',
}

# The peer of `append` and `append_many`: the columns of usher.log with the same types and collations, an identity key
# and one unique index, and nothing else. It has no partitions, no further index, no lock, no check of the version.
PLAIN_TABLE = """
CREATE TABLE plain (
    position    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    id          uuid NOT NULL DEFAULT gen_random_uuid(),
    tenant_id   integer NOT NULL,
    slot        integer NOT NULL DEFAULT 0,
    flags       integer NOT NULL DEFAULT 0,
    category_hash integer NOT NULL DEFAULT 0,
    version     bigint,
    stream      text COLLATE "C",
    category    text COLLATE "C",
    type        text COLLATE "C" NOT NULL,
    topic       text COLLATE "C",
    key         text COLLATE "C",
    data        jsonb NOT NULL,
    metadata    jsonb NOT NULL DEFAULT '{}',
    UNIQUE (tenant_id, stream, version)
)"""
PLAIN_COLUMNS = 'tenant_id, version, stream, category, type, data'


def die(message):
    sys.exit(f'{os.path.basename(sys.argv[0])}: {message}')


def options(description, **extra):
    """The command line of a benchmark; extra holds its own options: name=help, each taking a value."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--quick', action='store_true', help='a short run: fewer, shorter pairs and smaller logs')
    parser.add_argument('--pairs', type=int, help='number of alternating pairs')
    parser.add_argument('--seconds', type=float, help='length of one side of a pair')
    for name, text in extra.items():
        parser.add_argument('--' + name.replace('_', '-'), dest=name, help=text)
    return parser.parse_args()


# --- the cluster ------------------------------------------------------------------------------------------------

def bin_directory():
    """Where the servers with pg_usher installed are: $USHER_BIN, else what ./dev says."""
    if os.environ.get('USHER_BIN'):
        return pathlib.Path(os.environ['USHER_BIN'])
    found = subprocess.run([ROOT / 'dev', 'tree'], capture_output=True, text=True)
    if found.returncode != 0:
        die('set USHER_BIN to the bin directory of an installation with pg_usher, or run ./dev install first')
    return pathlib.Path(found.stdout.strip())


def client_program(name):
    """A client program of PostgreSQL: from beside the server, or from the system's installation."""
    for directory in (bin_directory(), pathlib.Path('/usr/lib/postgresql/15/bin')):
        if (directory / name).exists():
            return str(directory / name)
    return shutil.which(name) or die(f'{name} is not installed')


class Cluster:
    """A private cluster in a temporary directory, gone when the benchmark ends, however it ends."""

    def __init__(self, **settings):
        self.bin = bin_directory()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix='usher-bench-', dir=os.environ.get('USHER_BENCH_TMP', '/var/tmp')))
        self.data = self.dir / 'data'
        self.port = free_port()
        self.settings = {**SETTINGS, **settings}
        self.as_user = []
        if os.geteuid() == 0:
            self.as_user = ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups']
            shutil.chown(self.dir, 'postgres', 'postgres')
        os.chmod(self.dir, 0o755)
        atexit.register(self.remove)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, end)
        self._run('initdb', '-D', self.data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8')
        lines = [f"{name} = '{value}'" for name, value in self.settings.items()]
        lines += [f'port = {self.port}', f"unix_socket_directories = '{self.dir}'"]
        with open(self.data / 'postgresql.conf', 'a') as conf:
            conf.write('\n'.join(lines) + '\n')
        os.environ.update(PGHOST=str(self.dir), PGPORT=str(self.port), PGUSER='postgres')
        self.start()
        self._describe()
        self._warm()

    def _run(self, program, *args):
        done = subprocess.run([*self.as_user, str(self.bin / program), *map(str, args)], cwd='/',
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            log = self.dir / 'log'
            die(f'{program} failed:\n{done.stdout}{log.read_text()[-2000:] if log.exists() else ""}')

    def _describe(self):
        version = self.value('postgres', 'SHOW server_version')
        model = re.search(r'model name\s*: (.*)', pathlib.Path('/proc/cpuinfo').read_text())
        print(f'PostgreSQL {version}, {os.cpu_count()} CPUs ({model.group(1) if model else "?"}), '
              f'load average {os.getloadavg()[0]:.1f}')
        print('settings: ' + ', '.join(f'{name}={value}' for name, value in self.settings.items()), flush=True)

    def _warm(self):
        """Touch every page of shared_buffers and let the server make WAL files to reuse: a server that has run for a
        while has both behind it, and they cost a new one more than the work that is measured."""
        self.run('postgres', 'CREATE TABLE filler (page text)', 'ALTER TABLE filler ALTER page SET STORAGE PLAIN',
                 """INSERT INTO filler SELECT repeat('x', 8000) FROM pg_settings, generate_series(1, setting::integer)
                    WHERE name = 'shared_buffers'""",
                 'CHECKPOINT', 'DROP TABLE filler', 'CHECKPOINT')

    def start(self):
        self._run('pg_ctl', '-D', self.data, '-l', self.dir / 'log', '-w', '-t', '60', 'start')

    def stop(self):
        self._run('pg_ctl', '-D', self.data, '-m', 'fast', '-w', '-t', '120', 'stop')

    def remove(self):
        """The temporary directory goes even when the server does not answer."""
        if (self.data / 'postmaster.pid').exists():
            subprocess.run([*self.as_user, str(self.bin / 'pg_ctl'), '-D', str(self.data), '-m', 'immediate', '-w', 'stop'],
                           cwd='/', stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def set(self, **settings):
        """Change settings of the running cluster."""
        for name, value in settings.items():
            self.run('postgres', f"ALTER SYSTEM SET {name.replace('__', '.')} = '{value}'")
        self.run('postgres', 'SELECT pg_reload_conf()')
        time.sleep(0.2)

    def connect(self, database):
        connection = psycopg2.connect(dbname=database)
        connection.autocommit = True
        return connection

    def run(self, database, *statements):
        connection = self.connect(database)
        try:
            for statement in statements:
                connection.cursor().execute(statement)
        finally:
            connection.close()

    def value(self, database, query, *args):
        connection = self.connect(database)
        try:
            cursor = connection.cursor()
            cursor.execute(query, args or None)
            return cursor.fetchone()[0]
        finally:
            connection.close()

    def create_database(self, name, *statements):
        self.run('postgres', f'CREATE DATABASE {name}')
        size = self.value(name, 'SELECT pg_column_size(%s::jsonb)', DATA)
        if size != DATA_BYTES:
            die(f'the event is {size} bytes instead of {DATA_BYTES}')
        self.run(name, *statements)

    def checkpoint(self):
        self.run('postgres', 'CHECKPOINT')

    def cpu_seconds(self):
        """CPU time of the cluster until now: of its living processes to the nanosecond where the kernel counts so, and
        of those that have ended in ticks, as the postmaster has inherited them."""
        tick = os.sysconf('SC_CLK_TCK')
        postmaster = int((self.data / 'postmaster.pid').read_text().split()[0])
        total = 0.0
        for stat in pathlib.Path('/proc').glob('[0-9]*/stat'):
            try:
                fields = stat.read_text().rpartition(')')[2].split()
                if postmaster not in (int(stat.parent.name), int(fields[1])):
                    continue
                precise = stat.parent / 'schedstat'
                total += (int(precise.read_text().split()[0]) / 1e9 if precise.exists()
                          else (int(fields[11]) + int(fields[12])) / tick)
                if postmaster == int(stat.parent.name):
                    total += (int(fields[13]) + int(fields[14])) / tick
            except (OSError, ValueError):
                pass                                # ended meanwhile
        return total


def end(*_):
    """Clean up at once, however often we are told."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(1)


def create_logs(cluster):
    """Databases `ours` (the extension) and `theirs` (the plain table); every stream has its first event in both."""
    cluster.create_database('ours', 'CREATE EXTENSION pg_usher', 'SET synchronous_commit = off', f"""
        SELECT usher.append_many(array_agg('order-' || n), array_agg('order.placed'::text), array_agg('{DATA}'::text))
        FROM generate_series(1, {STREAMS}) AS n GROUP BY n / 10000""", 'VACUUM ANALYZE')
    cluster.create_database('theirs', PLAIN_TABLE, f"""
        INSERT INTO plain ({PLAIN_COLUMNS})
        SELECT 1, 1, 'order-' || n, 'order', 'order.placed', '{DATA}' FROM generate_series(1, {STREAMS}) AS n""", 'VACUUM ANALYZE')


# --- load generators --------------------------------------------------------------------------------------------

def pgbench_command(database, script, clients, seconds, *more):
    jobs = min(clients, os.cpu_count())
    return [client_program('pgbench'), '-n', '-M', 'prepared', '-c', str(clients), '-j', str(jobs), '-T', str(int(seconds)),
            '-D', f'data={DATA}', '-f', str(script), *more, database]


class Rate(float):
    """Events (or transactions) a second, and how many there were."""

    def __new__(cls, rate, events):
        self = super().__new__(cls, rate)
        self.events = events
        return self


def pgbench(cluster, database, script, clients, seconds):
    """The rate of one pgbench run; script is its text."""
    path = cluster.dir / 'pgbench.sql'
    path.write_text(script)
    done = subprocess.run(pgbench_command(database, path, clients, seconds), capture_output=True, text=True)
    rate = re.search(r'^tps = ([0-9.]+)', done.stdout, re.M)
    count = re.search(r'actually processed: ([0-9]+)', done.stdout)
    failed = re.search(r'aborted|ERROR', done.stderr)
    if done.returncode != 0 or not rate or failed:
        die('pgbench failed:\n' + done.stdout + done.stderr[:4000])
    return Rate(float(rate.group(1)), int(count.group(1)))


def compile_c(cluster, name, *libraries):
    """Build bench/src/<name>.c beside the cluster; the path of the program."""
    include = subprocess.run(['pg_config', '--includedir'], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    program = cluster.dir / name
    subprocess.run(['cc', '-std=c11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', '-pthread', '-o', program,
                    BENCH / 'src' / f'{name}.c', '-I' + include, '-lpq', *libraries], check=True)
    return str(program)


def run_c(program, *args):
    """Run a program of ours; its last line of key=value pairs as numbers, and the rate if it counts events."""
    done = subprocess.run([program, *map(str, args)], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        die(f'{os.path.basename(program)} failed')
    figures = {key: float(value) for key, value in (pair.split('=') for pair in done.stdout.split('\n')[-2].split())}
    if 'events' in figures:
        figures['rate'] = Rate(figures['events'] / figures['seconds'], figures['events'])
    return figures


# --- pairs and verdicts -----------------------------------------------------------------------------------------

def pairs(cluster, ours, theirs, count, names=('usher', 'peer'), checkpoints=True):
    """Run both sides count times in alternating order; the rates of each. Each side is a function of the pair's number
    that returns a Rate. Unless told otherwise each side begins after a CHECKPOINT. The server's CPU time an event is printed too: it tells more than the rate when other
    programs use the machine."""
    rates = ([], [])
    for number in range(count):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        result, cpu = [0.0, 0.0], [0.0, 0.0]
        for side in order:
            if checkpoints:
                cluster.checkpoint()
            before = cluster.cpu_seconds()
            result[side] = (ours, theirs)[side](number)
            time.sleep(0.2)                         # the postmaster inherits its ended children's time
            cpu[side] = (cluster.cpu_seconds() - before) / result[side].events * 1e6
        for side in (0, 1):
            rates[side].append(result[side])
        print(f'  pair {number + 1}: {names[0]} {result[0]:,.0f}/s  {names[1]} {result[1]:,.0f}/s  '
              f'ratio {result[0] / result[1]:.3f}  (server CPU {cpu[0]:.1f} and {cpu[1]:.1f} us an event)', flush=True)
    return rates


def ratio(rates):
    """The median of the pairs' ratios."""
    return statistics.median(ours / theirs for ours, theirs in zip(*rates))


def shown(figure):
    return f'{figure:,.0f}' if figure >= 1000 else f'{figure:.3g}'


class Verdict:
    """Collects the figures with their targets; finish() prints them again and exits 1 if one is missed."""

    def __init__(self):
        self.lines = []
        self.missed = False

    def _add(self, word, text):
        self.missed |= word == 'MISS'
        self.lines.append(f'{word:5} {text}')
        print(self.lines[-1], flush=True)

    def pair(self, name, rates, target):
        figure = ratio(rates)
        medians = [statistics.median(side) for side in rates]
        spread = [ours / theirs for ours, theirs in zip(*rates)]
        self._add('PASS' if figure >= target else 'MISS',
                  f'{name}: ratio {figure:.3f}, target >= {target} '
                  f'(pairs {min(spread):.2f}-{max(spread):.2f}; medians {medians[0]:,.0f}/s beside {medians[1]:,.0f}/s)')

    def at_least(self, name, figure, target, unit=''):
        self._add('PASS' if figure >= target else 'MISS', f'{name}: {shown(figure)}{unit}, target >= {target:,}{unit}')

    def below(self, name, figure, target, unit=''):
        self._add('PASS' if figure < target else 'MISS', f'{name}: {shown(figure)}{unit}, target < {target:,}{unit}')

    def true(self, name, holds):
        self._add('PASS' if holds else 'MISS', name)

    def note(self, text):
        self._add('note', text)

    def skip(self, name, why):
        self._add('skip', f'{name}: {why}')

    def finish(self):
        print('\n' + '\n'.join(self.lines))
        sys.exit(1 if self.missed else 0)
