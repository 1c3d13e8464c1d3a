#!/usr/bin/python3
# test/chaos/boxoffice.py: a sale under load and kill -9; never oversold, and what was answered is durable.
# slow: 25 s
#
# Clients reserve, confirm and cancel in small zones that are nearly sold out, in transactions with savepoints and rollbacks, one
# by one and in batches; some of their commits fail by an error that is raised in them. Eight slots serve twelve zones, two of
# them with numbered seats, so zones are evicted and loaded while others cancel in them. Meanwhile the postmaster is killed, or a
# backend is, sessions are terminated, or statements (and commits) cancelled. Each client remembers what it was told: a booking
# that was answered must be there afterwards, in the state that was answered (or, where the connection broke in a commit, in the
# state before or behind it); one whose transaction rolled back must not be there.
import random
import threading
import time

import psycopg2

import lib
from lib import ensure, ensure_empty, note

CLIENTS = 32
ZONES = 12
CAPACITY = 60
SLOTS = 8               # fewer than zones
USERS = 40
LIMIT = 8
NUMBERED = (2, 9)       # of the zones
SHORT = ("postmaster", "cancel", "evict", "backend", "terminate")
FULL = ("postmaster", "cancel", "postmaster", "evict", "postmaster", "backend", "postmaster", "terminate", "postmaster", "cancel",
        "postmaster", "evict", "postmaster", "backend", "postmaster", "terminate", "postmaster", "cancel", "postmaster")


class Client(threading.Thread):
    """Sells until it is told to stop; comes back when its connection breaks."""

    def __init__(self, sale, number):
        super().__init__(daemon=True)
        self.sale, self.number = sale, number
        self.random = random.Random(sale.seed * 1000 + number)
        self.connection = None
        self.known = {}             # booking: set of states that it can be in; None: not there
        self.mine = []              # bookings that are there
        self.granted = self.refused = self.stuck = self.failed = 0
        self.error = None

    def run(self):
        try:
            while not self.sale.over.is_set():
                try:
                    if self.connection is None:
                        self.connection = self.sale.cluster.connect(name="client")
                        self.connection.autocommit = False
                    self.transaction(self.connection.cursor())
                except (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.errors.AdminShutdown):
                    self.connection = None
                    time.sleep(0.02)
        except Exception as error:          # told by the test
            self.error = error
            self.sale.over.set()
        if self.connection is not None:
            self.connection.close()

    def transaction(self, cursor):
        """Some operations, then a commit or a rollback. `changes`: what becomes of bookings if it commits."""
        changes = {}
        try:
            self.operations(cursor, changes)
        except psycopg2.Error as error:
            if error.pgcode not in ("40P01", "US040", "57014"):     # two transactions deadlock; all slots are pinned; cancelled
                raise
            self.undo(changes)
            self.stuck += 1
            return
        if self.random.random() < 0.15:
            self.undo(changes)
            return
        before = {booking: self.known.get(booking, {None}) for booking in changes}
        self.known.update({booking: before[booking] | {state} for booking, state in changes.items()})   # until the commit has answered
        try:
            self.connection.commit()
        except psycopg2.Error as error:
            if error.pgcode not in ("57014", "BOMB1"):
                raise
            self.known.update(before)
            self.connection.rollback()
            self.failed += 1
            return
        for booking, state in changes.items():
            self.known[booking] = {state}
        self.mine = [b for b in self.known if self.known[b] in ({"reserved"}, {"confirmed"})][-20:]

    def undo(self, changes):
        for booking in changes:
            self.known.setdefault(booking, {None})
        self.connection.rollback()

    def operations(self, cursor, changes):
        for n in range(self.random.choice((1, 1, 1, 2, 3))):
            savepoint = self.random.random() < 0.3
            before = dict(changes)
            if savepoint:
                cursor.execute("SAVEPOINT s")
            if self.random.random() < 0.6:
                self.reserve(cursor, changes)
            else:
                self.change(cursor, changes)
            if savepoint and self.random.random() < 0.4:
                cursor.execute("ROLLBACK TO s")
                for booking in set(changes) - set(before):
                    self.known.setdefault(booking, {None})
                changes.clear()
                changes.update(before)
        if self.random.random() < 0.1:
            cursor.execute("INSERT INTO bombs VALUES (1)")      # raises an error in the commit

    def reserve(self, cursor, changes):
        zones = self.random.sample(self.sale.zones if self.random.random() < self.sale.spread else self.sale.zones[:4], 2)
        if self.random.random() < 0.5:
            return self.reserve_many(cursor, changes, zones)
        cursor.execute("SAVEPOINT r")
        try:
            cursor.execute("SELECT booking_id FROM boxoffice.reserve(%s, %s, %s, %s)",
                           (self.sale.show, zones[0], self.user(), self.random.randint(1, 4)))
            changes[cursor.fetchone()[0]] = "reserved"
            self.granted += 1
        except psycopg2.Error as error:
            if error.pgcode not in ("US030", "US031", "US033"):
                raise
            self.refused += 1
            cursor.execute("ROLLBACK TO r")
        cursor.execute("RELEASE r")

    def reserve_many(self, cursor, changes, zones):
        requests = ["('default', '%s', %d, ARRAY[(%d, NULL, %d, NULL, NULL, NULL)]::boxoffice.reserve_item[], NULL, NULL, NULL)"
                    % (self.user(), self.sale.show, self.random.choice(zones), self.random.randint(1, 4)) for _ in range(6)]
        cursor.execute("SELECT sqlstate, booking_id FROM boxoffice.reserve_many(ARRAY[%s]::boxoffice.reserve_request[])" % ", ".join(requests))
        for sqlstate, booking in cursor.fetchall():
            if sqlstate is None:
                changes[booking] = "reserved"
                self.granted += 1
            else:
                ensure(sqlstate in ("US030", "US031", "US033"), "a request was refused with " + sqlstate)
                self.refused += 1

    def change(self, cursor, changes):
        if not self.mine:
            return
        booking = self.random.choice(self.mine)
        if self.random.random() < 0.3:
            cursor.execute("SELECT status FROM boxoffice.booking(%s)", (booking,))
            if cursor.fetchone()[0] == "reserved":
                cursor.execute("SELECT status FROM boxoffice.confirm(%s, %s)", (booking, "pay-" + booking))
                changes[booking] = cursor.fetchone()[0]
        else:
            cursor.execute("SELECT status FROM boxoffice.cancel(%s)", (booking,))
            changes[booking] = cursor.fetchone()[0]

    def user(self):
        return "user-%d" % self.random.randrange(USERS * 12)


class Sale:
    def __init__(self, cluster, seed, kind):
        self.cluster, self.seed = cluster, seed
        self.spread = 0.6 if kind == "evict" else 0.1       # part of the requests that may be for any zone
        self.over = threading.Event()
        self.event = cluster.value("SELECT boxoffice.create_event('Rush', 'EUR', user_limit => %d, max_expired_holds => NULL)" % LIMIT)
        self.show = cluster.value("SELECT boxoffice.create_show(%s, 'UTC', '2099-01-01')", (self.event,))
        self.zones = [self.zone(n in NUMBERED) for n in range(ZONES)]
        cluster.rows("SELECT boxoffice.publish_event(%s)", (self.event,))

    def zone(self, numbered):
        zone = self.cluster.value("SELECT boxoffice.create_zone(%s, 'zone', %s, %s)", (self.show, 0 if numbered else CAPACITY, numbered))
        if numbered:
            self.cluster.rows("SELECT boxoffice.add_seats(%s, 'A', 1, 1, %s)", (zone, CAPACITY))
        self.cluster.rows("SELECT boxoffice.create_price_type(%s, 'adult', 1000, 1900, 250)", (zone,))
        return zone

    def check(self, quiet):
        """The invariants, in memory and by the rows; after a restart the memory is new. Without load every zone can be compared."""
        bad = self.cluster.rows("SELECT invariant, detail FROM boxoffice.check('20 s') WHERE NOT ok OR %s AND detail ~ '[1-9][0-9]* too busy'", (quiet,))
        ensure_empty(bad, "boxoffice.check()")
        over = self.cluster.rows("SELECT user_id, sum(quantity) FROM boxoffice.bookings WHERE event_id = %s"
                                 " AND status IN ('reserved', 'payment_pending', 'confirmed')"
                                 " GROUP BY user_id HAVING sum(quantity) > %s", (self.event, LIMIT))
        ensure_empty(over, "users above their limit")


def round_of(sale, kind, seconds):
    clients = [Client(sale, n) for n in range(CLIENTS)]
    sale.over.clear()
    for client in clients:
        client.start()
    time.sleep(seconds)
    disturb(sale.cluster, kind)
    time.sleep(seconds / 2)
    if not sale.over.is_set():
        sale.check(False)           # beside the load
    sale.over.set()
    for client in clients:
        client.join(60)
        ensure(not client.is_alive(), "a client hangs")
        if client.error is not None:
            raise client.error
    sale.check(True)
    return clients


def disturb(cluster, kind):
    if kind == "postmaster":
        cluster.kill9()
        cluster.start()
    elif kind == "backend":
        cluster.kill9_backend(cluster.value("SELECT pid FROM pg_stat_activity WHERE application_name = 'client' LIMIT 1"))
    elif kind in ("terminate", "cancel"):
        what = "pg_terminate_backend" if kind == "terminate" else "pg_cancel_backend"
        with lib.contextlib.closing(cluster.connect()) as connection:
            cursor = connection.cursor()
            for _ in range(20 if kind == "terminate" else 200):
                cursor.execute("SELECT %s(pid) FROM pg_stat_activity WHERE application_name = 'client' ORDER BY random() LIMIT 2" % what)
                time.sleep(0.02 if kind == "terminate" else 0.005)


def test(options):
    cluster = lib.Cluster(lib.work_directory(), conf={"boxoffice.zone_slots": str(SLOTS)}).initdb().start()
    cluster.create()
    cluster.rows("CREATE TABLE bombs (n integer)")
    cluster.rows("CREATE FUNCTION explode() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'a commit that fails' USING ERRCODE = 'BOMB1'; END$$")
    cluster.rows("CREATE CONSTRAINT TRIGGER explode AFTER INSERT ON bombs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION explode()")
    kinds = SHORT if options.short else FULL
    for n in range(options.rounds or len(kinds)):
        kind = kinds[n % len(kinds)]
        sale = Sale(cluster, options.seed + n, kind)
        clients = round_of(sale, kind, 1.2 if options.short else 5)
        there = compare(cluster, sale, clients)
        note("%s: %d granted, %d refused, %d rolled back by a deadlock, a cancel or without a slot, %d commits failed; %d bookings" % (
            kind, sum(c.granted for c in clients), sum(c.refused for c in clients), sum(c.stuck for c in clients),
            sum(c.failed for c in clients), there))
    ensure_empty(cluster.log_crashes(), "server log")
    cluster.check()


def compare(cluster, sale, clients):
    there = dict(cluster.rows("SELECT booking_id::text, status FROM boxoffice.bookings WHERE show_id = %s", (sale.show,)))
    states = {}
    for client in clients:
        states.update(client.known)
    ensure_empty([(b, s, there.get(b)) for b, s in states.items() if there.get(b) not in s], "bookings that are not as answered")
    return len(there)


if __name__ == "__main__":
    options = lib.arguments("The box office under kill -9.", rounds=(int, 0, "how often the server is disturbed"))
    lib.main([("a sale survives kill -9: nothing oversold, nothing answered lost", lambda: test(options))], 900)
