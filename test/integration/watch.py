#!/usr/bin/python3
# test/integration/watch.py: whoever applies the events of a watched table has its content, whatever 32 clients do to it.
#
# Clients insert, change, move, delete rows of a plain and of a partitioned table, in transactions of several statements with
# savepoints and rollbacks. Meanwhile the plain table's watch begins with a snapshot at once, that of the partitioned one
# with a snapshot in batches, some times over. In the end the log is replayed: each event's old row must be what the events
# before it have made, and the result must be the table. Prints TAP lines.

import random
import sys
import threading
import time

import psycopg2
import psycopg2.errors

DATABASE = "usher_watch"
CLIENTS = 32
PAUSE_S = 0.4   # of writing between the snapshots
KEYS = 400      # few enough that clients meet
failures = 0

TABLES = """
CREATE EXTENSION pg_usher;
CREATE TABLE plain (id int PRIMARY KEY, v text, n int, twice int GENERATED ALWAYS AS (n * 2) STORED, large text);
CREATE TABLE parted (id int, area int, v text, n int, PRIMARY KEY (id, area)) PARTITION BY LIST (area);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES IN (0);
CREATE TABLE parted_1 (n int, dropped int, v text, area int NOT NULL, id int NOT NULL);
ALTER TABLE parted_1 DROP dropped;
ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2) PARTITION BY RANGE (id);
CREATE TABLE parted_2_0 PARTITION OF parted_2 FOR VALUES FROM (MINVALUE) TO (200);
CREATE TABLE parted_2_1 PARTITION OF parted_2 FOR VALUES FROM (200) TO (MAXVALUE);
INSERT INTO plain SELECT n, 'first', 0 FROM generate_series(1, 400, 2) n;
INSERT INTO parted SELECT n, n % 3, 'first', 0 FROM generate_series(1, 400, 2) n;
ALTER TABLE plain ALTER large SET STORAGE EXTERNAL;
"""

STATEMENTS = [
    "INSERT INTO plain VALUES (%(k)s, 'made', %(n)s) ON CONFLICT (id) DO UPDATE SET v = 'upserted', n = EXCLUDED.n",
    "INSERT INTO plain VALUES (%(k)s, 'made', %(n)s) ON CONFLICT DO NOTHING",
    "UPDATE plain SET n = n + 1 WHERE id = %(k)s",
    "UPDATE plain SET v = 'changed', large = repeat('x', 3000 + %(n)s) WHERE id BETWEEN %(k)s AND %(k)s + 3",
    "UPDATE plain SET id = %(l)s WHERE id = %(k)s AND NOT EXISTS (SELECT FROM plain WHERE id = %(l)s)",
    "DELETE FROM plain WHERE id = %(k)s",
    "INSERT INTO parted VALUES (%(k)s, %(a)s, 'made', %(n)s) ON CONFLICT DO NOTHING",
    "UPDATE parted SET n = n + 1 WHERE id BETWEEN %(k)s AND %(k)s + 2",
    "UPDATE parted SET area = %(a)s WHERE id = %(k)s AND NOT EXISTS (SELECT FROM parted WHERE id = %(k)s AND area = %(a)s)",
    "DELETE FROM parted WHERE id = %(k)s AND area = %(a)s",
]
# what clients that meet must expect
EXPECTED = (psycopg2.errors.UniqueViolation, psycopg2.errors.DeadlockDetected, psycopg2.errors.SerializationFailure)


def connect(database=DATABASE):
    connection = psycopg2.connect(dbname=database)
    connection.autocommit = True
    return connection.cursor()


def expect(name, ok, detail=""):
    global failures
    print(f"{'ok' if ok else 'not ok'} {name}", flush=True)
    if not ok:
        failures += 1
        print(f"# {detail}", flush=True)


class Client(threading.Thread):
    def __init__(self, seed, enough):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.enough = enough
        self.cursor = connect()
        self.commits = 0
        self.error = None

    def statement(self):
        draw = self.random.randrange
        self.cursor.execute(self.random.choice(STATEMENTS),
                            {"k": draw(KEYS), "l": draw(KEYS), "n": draw(1000), "a": draw(3)})

    def transaction(self):
        self.cursor.execute("BEGIN")
        for _ in range(self.random.randrange(1, 5)):
            if self.random.random() < 0.2:
                self.cursor.execute("SAVEPOINT s")
                self.statement()
                self.cursor.execute("ROLLBACK TO s")
            self.statement()
        if self.random.random() < 0.1:
            self.cursor.execute("ROLLBACK")
        else:
            self.cursor.execute("COMMIT")
            self.commits += 1

    def run(self):
        try:
            while not self.enough.is_set():
                try:
                    self.transaction()
                except EXPECTED:
                    self.cursor.execute("ROLLBACK")
        except Exception as error:      # pylint: disable=broad-except
            self.error = error


def replay(cursor, table, columns, whole):
    """Apply the table's events; returns what is wrong, and how many of each kind there were. `whole`: they begin with a
    snapshot at once, so every row is known; else nothing is known of a row before its first event."""
    rows, wrong, counts = {}, [], {}
    cursor.execute("SELECT position, split_part(type, '.', 3), key, data -> 'old', data -> 'new' FROM usher.log"
                   " WHERE topic = %s ORDER BY position", ("public." + table,))
    for position, what, key, old, new in cursor:
        counts[what] = counts.get(what, 0) + 1
        if what == "create" and key in rows:
            wrong.append(f"{position}: {key} was created twice")
        if what in ("update", "delete") and (whole or key in rows) and rows.get(key) != old:
            wrong.append(f"{position}: {what} of {key}: old {old}, but events say {rows.get(key)}")
        if what == "snapshot" and key in rows and rows[key] != new:
            wrong.append(f"{position}: snapshot of {key}: {new}, but events say {rows[key]}")
        if what == "delete":
            rows.pop(key, None)
        else:
            rows[key] = new
    cursor.execute(f"SELECT to_jsonb(t) FROM {table} t")
    content = [row for row, in cursor]
    made = sorted(rows.values(), key=lambda row: [row[c] for c in columns])
    if made != sorted(content, key=lambda row: [row[c] for c in columns]):
        wrong.append(f"{len(made)} rows by events, {len(content)} in the table")
    return wrong, counts


def main():
    admin = connect("postgres")
    admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    admin.execute(f"CREATE DATABASE {DATABASE}")
    cursor = connect()
    cursor.execute(TABLES)
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(1 << 30)
    print(f"# seed {seed}", flush=True)
    enough = threading.Event()
    clients = [Client(seed + n, enough) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(PAUSE_S)
    cursor.execute("SELECT usher.watch('plain', snapshot => true)")
    cursor.execute("SELECT usher.watch('parted')")
    for batch in (3, 50, 1000):
        time.sleep(PAUSE_S)
        cursor.execute("CALL usher.watch_snapshot('parted', %s)", (batch,))
    cursor.execute("CALL usher.watch_snapshot('plain', 20)")
    time.sleep(PAUSE_S)
    enough.set()
    for client in clients:
        client.join(60)
    expect("32 clients change two tables, and nothing fails", all(not c.is_alive() and c.error is None for c in clients),
           next((str(c.error) for c in clients if c.error), "a client hangs"))
    for table, columns in (("plain", ("id",)), ("parted", ("id", "area"))):
        wrong, counts = replay(cursor, table, columns, table == "plain")
        print(f"# {table}: {counts}, {sum(c.commits for c in clients)} commits", flush=True)
        expect(f"{table}: the events make the table, each from where the one before left it", not wrong, "; ".join(wrong[:5]))
        expect(f"{table}: there are events of each kind", all(counts.get(k, 0) > 10 for k in ("create", "update", "delete", "snapshot")), counts)
    cursor.execute("SELECT count(*) FROM usher.check() WHERE NOT ok")
    expect("the log is whole", cursor.fetchone()[0] == 0)
    cursor.connection.close()
    for client in clients:
        client.cursor.connection.close()
    admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    sys.exit(1 if failures else 0)


main()
