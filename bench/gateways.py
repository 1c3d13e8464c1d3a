# bench/gateways.py
# The servers of bench/gateway: usherd, PostgREST, and a fastify server of ours; and wrk, which asks them.
import atexit
import base64
import json
import os
import re
import resource
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import lib

sys.path.append(str(lib.ROOT / 'test' / 'chaos'))
import tokens       # noqa: E402

DATA = json.loads(lib.DATA)
STREAM = 'order-@@@@@@'                 # gateway.lua puts a number of six digits there
LIMITS = 'general=60000000/1000000 key=60000000/1000000 reserve=60000000/1000000'        # evaluated, and never reached


def script(*argv, **environment):
    """The answer of one of scripts/."""
    done = subprocess.run([str(lib.ROOT / 'scripts' / argv[0]), *argv[1:]], stdout=subprocess.PIPE, text=True,
                          env={**os.environ, **environment})
    if done.returncode != 0:
        lib.die(' '.join(argv) + ' failed')
    return done.stdout.strip()


def request(method, path, body=None, **headers):
    """The text of a request, as gateway.lua wants it."""
    text = '' if body is None else json.dumps(body, separators=(',', ':'))
    lines = [f'{method} {path} HTTP/1.1', 'Host: 127.0.0.1'] + [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ['Content-Type: application/json', f'Content-Length: {len(text)}']
    return '\n'.join(lines + ['', text])


class Server:
    """A process on a port of its own; gone when the benchmark ends."""

    pid = None

    def url(self):
        return f'http://127.0.0.1:{self.port}/'

    def wait(self, path, seconds=30, port=None):
        deadline = time.monotonic() + seconds
        while True:
            try:
                with urllib.request.urlopen(f'http://127.0.0.1:{port or self.port}{path}', timeout=2) as reply:
                    if reply.status == 200:
                        return
            except OSError:
                pass
            if time.monotonic() > deadline or self.process.poll() is not None:
                lib.die(f'{self.name} does not serve: ' + self.log.read_text()[-500:])
            time.sleep(0.05)

    def spawn(self, cluster, argv, **environment):
        self.log = cluster.dir / (self.name + '.log')
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen([str(part) for part in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **environment}, start_new_session=True)
        atexit.register(self.stop)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()


class Usherd(Server):
    """The gateway; every request brings a token, and is counted by its rate limits."""

    name = 'usherd'

    def __init__(self, cluster, database, **settings):
        program = os.environ.get('USHERD') or lib.bin_directory() / 'usherd'
        self.port, self.admin_port, self.key = lib.free_port(), lib.free_port(), secrets.token_bytes(32)
        (cluster.dir / 'keys.json').touch(mode=0o600)
        (cluster.dir / 'keys.json').write_text(tokens.keys(self.key))
        cluster.run('postgres', 'CREATE ROLE usherd LOGIN IN ROLE usher_gateway')
        self.settings = {
            'listen': f'127.0.0.1:{self.port}', 'listen_admin': f'127.0.0.1:{self.admin_port}',
            'database': f'host={cluster.dir} port={cluster.port} user=usherd dbname={database}',
            'jwt_keys': cluster.dir / 'keys.json', 'jwt_issuer': tokens.ISSUER, 'jwt_audience': tokens.AUDIENCE,
            'rate_limits': LIMITS, 'connections_max': 15000, 'connections_per_address_max': 15000,
            'live_connections_per_user_max': 0, 'live_subscriptions_per_user_max': 0, 'live_messages_per_user': 0,
            'idle_timeout_seconds': 3600, 'access_log': '', 'error_log': '-', **settings}
        self.command = [program, '-c', cluster.dir / 'usherd.conf']
        self.restart(cluster)

    def restart(self, cluster):
        """Also the first start."""
        if hasattr(self, 'process'):
            self.stop()
        (cluster.dir / 'usherd.conf').write_text(''.join(f'{name} = {value}\n' for name, value in self.settings.items()))
        self.spawn(cluster, self.command)
        self.wait('/readyz', port=self.admin_port)

    def authorization(self, tenant='default'):
        return 'Bearer ' + tokens.token(self.key, tenant=tenant)

    def append(self, kind='order.placed', tenant='default'):
        return request('POST', f'/v1/streams/{STREAM}/events', {'type': kind, 'data': DATA},
                       Authorization=self.authorization(tenant))

    def read(self):
        return request('GET', f'/v1/streams/{STREAM}/events?max=10', Authorization=self.authorization())

    def health(self):
        return request('GET', '/healthz')


class PostgREST(Server):
    """One function a request by /rpc, in a role that may write to the log; no token: its requests are anonymous."""

    name = 'PostgREST'

    def __init__(self, cluster, database, pool):
        self.port = lib.free_port()
        self.environment = {'POSTGREST_PORT': str(self.port), 'POSTGREST_DIR': str(cluster.dir / 'postgrest'),
                            'POSTGREST_URI': f'postgresql://web@127.0.0.1:{cluster.port}/{database}', 'POSTGREST_ROLE': 'web',
                            'POSTGREST_SCHEMAS': 'usher,peer', 'POSTGREST_POOL': str(pool)}
        script('servers/postgrest', 'up', **self.environment)
        atexit.register(self.stop)

    def stop(self):
        script('servers/postgrest', 'down', **self.environment)

    def append(self):
        return request('POST', '/rpc/append', {'stream': STREAM, 'type': 'order.placed', 'data': DATA})

    def read(self):
        return request('GET', f'/rpc/read_stream?stream={STREAM}&max=10', Accept_Profile='peer')


class Fastify(Server):
    """bench/src/fastify_server."""

    name = 'fastify'

    def __init__(self, cluster, database, pool, workers):
        self.port = lib.free_port()
        directory = script('foreign', 'npm', str(lib.BENCH / 'src' / 'fastify_server'))
        self.spawn(cluster, ['node', directory + '/server.js'], NODE_ENV='production', PORT=str(self.port), POOL=str(pool),
                   WORKERS=str(workers), PGHOST=str(cluster.dir), PGPORT=str(cluster.port), PGUSER='web', PGDATABASE=database)
        self.wait('/healthz')

    def append(self):
        return request('POST', f'/v1/streams/{STREAM}/events', {'type': 'order.placed', 'data': DATA})

    def read(self):
        return request('GET', f'/v1/streams/{STREAM}/events?max=10')


class Fanout(Server):
    """A peer of bench/realtime: sends events to WebSockets; they come to it by a port of its own. environment: what starts it."""

    def __init__(self, cluster, name, argv, key):
        self.name = name
        self.port, self.feed = lib.free_port(), lib.free_port()
        self.argv, self.environment = argv, {'NODE_ENV': 'production', 'PORT': str(self.port), 'FEED_PORT': str(self.feed),
                                             'KEY': base64.urlsafe_b64encode(key).decode().rstrip('=')}
        self.spawn(cluster, argv, **self.environment)
        self.wait('/')

    def restart(self, cluster):
        self.stop()
        self.spawn(cluster, self.argv, **self.environment)
        self.wait('/')


def go_fanout(cluster, key):
    return Fanout(cluster, 'gorilla_websocket', [script('foreign', 'go', str(lib.BENCH / 'src' / 'go_fanout'))], key)


def ws_fanout(cluster, key):
    directory = script('foreign', 'npm', str(lib.BENCH / 'src' / 'ws_fanout'))
    return Fanout(cluster, 'node_ws', ['node', directory + '/server.js'], key)


class Answer(lib.Rate):
    """The rate of good replies, how many there were, those that were refused, and latencies in ms."""

    def __new__(cls, rate, events, refused, p50, p99):
        self = super().__new__(cls, rate, events)
        self.refused, self.p50, self.p99 = refused, p50, p99
        return self


MILLISECONDS = {'us': 0.001, 'ms': 1, 's': 1000, 'm': 60000}


class Wrk:
    """One run of wrk, begun at once."""

    def __init__(self, cluster, url, requests, connections, seconds, streams=lib.STREAMS, poison=0):
        path = cluster.dir / f'requests-{secrets.token_hex(4)}'
        path.write_text(''.join(text + '\n---\n' for text in requests))
        self.process = subprocess.Popen(
            ['wrk', '-t', '1', '-c', str(connections), '-d', f'{seconds:g}s', '--timeout', '10s', '--latency', '-s',
             str(lib.BENCH / 'src' / 'gateway.lua'), url, '--', str(streams), str(poison), str(path)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def answer(self):
        output = self.process.communicate()[0]
        total = re.search(r'(\d+) requests in ([\d.]+)(us|ms|s|m)\b', output)
        rate = re.search(r'Requests/sec:\s+([\d.]+)', output)
        times = {share: float(figure) * MILLISECONDS[unit]
                 for share, figure, unit in re.findall(r'^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)\s*$', output, re.M)}
        errors = re.search(r'Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)', output)
        if self.process.returncode != 0 or not total or not rate or len(times) != 2 or (errors and any(map(int, errors.groups()))):
            lib.die('wrk failed:\n' + output)
        refused = re.search(r'Non-2xx or 3xx responses: (\d+)', output)
        refused = int(refused.group(1)) if refused else 0
        count = int(total.group(1))
        return Answer(float(rate.group(1)) * (count - refused) / count, count - refused, refused, times['50'], times['99'])


def wrk(*arguments, **options):
    return Wrk(*arguments, **options).answer()


class Idle:
    """Connections that have asked once and then say nothing."""

    def __init__(self, server, count):
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        self.sockets = []
        for _ in range(count):
            connection = socket.create_connection(('127.0.0.1', server.port), timeout=10)
            connection.sendall(b'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')
            self.sockets.append(connection)
        for connection in self.sockets:
            if not connection.recv(4096).startswith(b'HTTP/1.1 200'):
                lib.die('an idle connection got no reply')

    def close(self):
        """How many of them were still open."""
        alive = 0
        for connection in self.sockets:
            connection.setblocking(False)
            try:
                connection.recv(1)
            except BlockingIOError:
                alive += 1
            connection.close()
        return alive
