#!/usr/bin/python3
# test/integration/wait_partition.py: a wait that began before a partition was made sees what is in it.
# alone: it changes a setting of the cluster that others use
#
# Waits in a fresh database for its first event, and for a rare one that comes
# many partitions later.  Prints TAP lines.

import sys
import threading
import time

import psycopg2

DATABASE = "usher_wait_partition"
LATE_S = 8.0    # a wake-up takes less than a millisecond; the machine may be busy
failures = 0


def connect(database=DATABASE):
    connection = psycopg2.connect(dbname=database)
    connection.autocommit = True
    return connection.cursor()


def expect(name, late):
    global failures
    ok = late is not None and late < LATE_S
    print(f"{'ok' if ok else 'not ok'} {name}")
    if not ok:
        failures += 1
        print(f"# woken {late} s after the commit")


class Waiter(threading.Thread):
    """A session in CALL usher.wait_for."""

    def __init__(self, pattern):
        super().__init__(daemon=True)
        self.cursor = connect()
        self.cursor.execute("SELECT pg_backend_pid()")
        self.pid = self.cursor.fetchone()[0]
        self.pattern = pattern
        self.returned = None

    def run(self):
        self.cursor.execute("CALL usher.wait_for(0, '30 s', %s, NULL)", (self.pattern,))
        self.returned = time.monotonic()

    def begin(self, monitor):
        self.start()
        while True:
            monitor.execute("SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = %s", (self.pid,))
            if monitor.fetchone()[0]:
                return self
            time.sleep(0.01)

    def late(self, committed):
        self.join(LATE_S)
        return None if self.returned is None else self.returned - committed


def main():
    server = connect("postgres")
    server.execute(f"DROP DATABASE IF EXISTS {DATABASE} (FORCE)")
    server.execute(f"CREATE DATABASE {DATABASE}")
    server.execute("ALTER SYSTEM SET usher.partition_size = 1000")
    server.execute("SELECT pg_reload_conf()")
    try:
        writer = connect()
        writer.execute("CREATE EXTENSION pg_usher")
        first, rare = (Waiter(pattern).begin(server) for pattern in ("**", "rare"))

        writer.execute("SELECT usher.append('order-1', 'order.placed')")
        expect("the first event of a database wakes", first.late(time.monotonic()))
        for _ in range(8):
            writer.execute("SELECT count(usher.append('order-1', 'order.placed')) FROM generate_series(1, 900)")
        writer.execute("SELECT usher.append('order-1', 'rare')")
        expect("an event wakes in a partition newer than the wait", rare.late(time.monotonic()))
    finally:
        server.execute("ALTER SYSTEM RESET usher.partition_size")
        server.execute("SELECT pg_reload_conf()")
        server.execute(f"DROP DATABASE {DATABASE} (FORCE)")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
