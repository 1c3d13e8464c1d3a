#!/usr/bin/python3
# test/integration/gateway_batches.py: gateways that send the same requests at the same time, in other orders.
#
# Six sessions send random batches of usher.append_requests: each batch is sent by two of them at once, by one in
# reverse. Requests have idempotency keys or event ids, go to hot streams, to streams that do not exist yet, to topics,
# and often expect a version that is wrong. Whatever meets: nobody deadlocks, each request is in the log once or not at
# all, everyone is told the same, and nothing is left of refused requests. Prints TAP lines.

import collections
import json
import random
import sys
import threading
import uuid

import psycopg2
import psycopg2.extras

DATABASE = "usher_gateway_batches"
ROUNDS = 60
PAIRS = 3
TENANTS = ["default", "other"]
failures = 0


def connect(database=DATABASE):
    connection = psycopg2.connect(dbname=database)
    connection.autocommit = True
    return connection.cursor()


def expect(name, wrong):
    global failures
    print(f"{'not ok' if wrong else 'ok'} {name}")
    if wrong:
        failures += 1
        for line in list(wrong)[:10]:
            print(f"# {line}")


class Request:
    """One client's request, as every gateway sends it."""

    def __init__(self, chance, number):
        self.tenant = chance.choice(TENANTS)
        self.tag = f"request-{number}"
        self.key = self.tag if chance.random() < 0.6 else None
        self.events = []
        for n in range(chance.randint(1, 3)):
            id = None if self.key and chance.random() < 0.5 else str(uuid.UUID(int=chance.getrandbits(128), version=4))
            stream = chance.choice([f"hot-{chance.randint(1, 4)}", f"new-{number // 3}", f"new-{number // 3}-b", None])
            expected = None if stream is None else chance.choice([None, None, None, 0, -1, chance.randint(1, 5)])
            self.events.append((stream, "t", json.dumps({"tag": self.tag, "n": n}), None, expected, id,
                                None if stream else "topic", None if stream else "key"))

    def row(self):
        return (self.tenant, "user", "user", self.key, b"\x01" if self.key else None, None, None, None, self.events)


EVENT = "ROW(%s, %s, %s, %s, %s, %s, %s, %s)::usher.request_event"
REQUEST = "ROW(%s, %s, %s, %s, %s, %s, %s, %s, ARRAY[{}])::usher.append_request"


def call(cursor, requests):
    """The results of one call, and the first position of its commit."""
    parts, arguments = [], []
    for request in requests:
        *head, events = request.row()
        parts.append(REQUEST.format(", ".join([EVENT] * len(events))))
        arguments += head + [value for event in events for value in event]
    cursor.execute(f"SELECT element, sqlstate, replayed, ids, versions, positions, ordinals FROM usher.append_requests(ARRAY[{', '.join(parts)}])",
                   arguments)
    results = cursor.fetchall()
    cursor.execute("SELECT first FROM usher.committed_range()")
    return results, cursor.fetchone()[0]


class Gateway(threading.Thread):
    def __init__(self, batches, backwards, told, errors, meet):
        super().__init__()
        self.batches, self.backwards, self.told, self.errors, self.meet = batches, backwards, told, errors, meet
        self.cursor = connect()
        psycopg2.extras.register_uuid()
        self.cursor.execute("SET deadlock_timeout = '10ms'; SET synchronous_commit = off")

    def send(self, batch):
        results, first = call(self.cursor, batch)
        busy = []
        for element, sqlstate, replayed, ids, versions, positions, ordinals in results:
            if sqlstate == "US027":
                busy.append(batch[element])
            elif sqlstate is None:
                known = [p or (first + o - 1 if o else 0) for p, o in zip(positions or [0] * len(ids), ordinals or [0] * len(ids))]
                self.told.append((batch[element].tag, tuple(map(str, ids)), tuple(versions), tuple(known)))
        return busy

    def run(self):
        for batch in self.batches:
            self.meet.wait()
            left = list(reversed(batch)) if self.backwards else list(batch)
            try:
                while left:
                    left = self.send(left)
            except psycopg2.Error as error:
                self.errors.append(f"{error.pgcode} {error}")


def check(told, cursor):
    cursor.execute("SELECT l.data ->> 'tag', l.id, coalesce(l.version, 0), l.position FROM usher.log l ORDER BY (l.data ->> 'n')::int")
    log = collections.defaultdict(list)
    for tag, id, version, position in cursor.fetchall():
        log[tag].append((str(id), version, position))
    wrong = []
    for tag, ids, versions, positions in told:
        if list(zip(ids, versions, positions)) != log[tag]:
            wrong.append(f"{tag}: told {list(zip(ids, versions, positions))}, the log has {log[tag]}")
    expect("what the gateways were told is what the log has, once", wrong)
    known = {tag for tag, *_ in told}
    expect("the log has nothing of which nobody was told", [tag for tag in log if tag not in known])
    expect("some requests were written, some refused", [] if 50 < len(known) < PAIRS * ROUNDS * 8 else [len(known)])


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 32)
    print(f"# seed {seed}")
    chance = random.Random(seed)
    admin = connect("postgres")
    admin.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    admin.execute(f"CREATE DATABASE {DATABASE}")
    cursor = connect()
    cursor.execute("CREATE EXTENSION pg_usher; SELECT usher.create_tenant('other')")
    told, errors, gateways = [], [], []
    meet = threading.Barrier(2 * PAIRS)
    number = 0
    for _ in range(PAIRS):
        batches = []
        for _ in range(ROUNDS):
            size = chance.randint(1, 12)
            batches.append([Request(chance, number + i) for i in range(size)])
            number += size
        gateways += [Gateway(batches, backwards, told, errors, meet) for backwards in (False, True)]
    for gateway in gateways:
        gateway.start()
    for gateway in gateways:
        gateway.join()
    expect("no call raised an error, and none a deadlock", errors)
    check(told, cursor)
    cursor.execute("SELECT tenant, stream FROM usher.streams WHERE version = 0")
    expect("no stream is left of requests that were refused", cursor.fetchall())
    cursor.execute("SELECT invariant, detail FROM usher.check() WHERE NOT ok")
    expect("usher.check() holds", cursor.fetchall())
    for gateway in gateways:
        gateway.cursor.connection.close()
    cursor.connection.close()
    admin.execute(f"DROP DATABASE {DATABASE}")
    sys.exit(1 if failures else 0)


main()
