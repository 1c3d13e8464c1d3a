#!/usr/bin/python3
# test/chaos/boxoffice.py: a sale under load and kill -9; never oversold, and what was answered is durable.
#
# Clients reserve, confirm and cancel in small zones that are nearly sold out, in transactions with savepoints and rollbacks, one
# by one and in batches; a few slots serve more zones than there are. Meanwhile the server is killed, or a backend is. Each client
# remembers what it was told: a booking that was answered must be there afterwards, in the state that was answered (or, where the
# connection broke in a commit, in the state before or behind it); one whose transaction rolled back must not be there.
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
KINDS = ("postmaster", "backend", "terminate")


class Client(threading.Thread):
    """Sells until it is told to stop; comes back when its connection breaks."""

    def __init__(self, sale, number):
        super().__init__(daemon=True)
        self.sale, self.number = sale, number
        self.random = random.Random(sale.seed * 1000 + number)
        self.connection = None
        self.known = {}             # booking: set of states that it can be in; None: not there
        self.mine = []              # bookings that are there
        self.granted = self.refused = self.stuck = 0
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
                    undone = {b for b in changes if b not in before}
                    changes = before
                    for booking in undone:
                        self.known.setdefault(booking, {None})
        except psycopg2.Error as error:
            if error.pgcode not in ("40P01", "US040"):      # a deadlock of two transactions; all slots are pinned
                raise
            self.connection.rollback()
            for booking in changes:
                self.known.setdefault(booking, {None})
            self.stuck += 1
            return
        if self.random.random() < 0.15:
            self.connection.rollback()
            for booking in changes:
                self.known.setdefault(booking, {None})
            return
        in_doubt = {booking: self.known.get(booking, {None}) | {state} for booking, state in changes.items()}
        self.known.update(in_doubt)         # until the commit has answered
        self.connection.commit()
        for booking, state in changes.items():
            self.known[booking] = {state}
        self.mine = [b for b in self.known if self.known[b] in ({"reserved"}, {"confirmed"})][-20:]

    def reserve(self, cursor, changes):
        zones = self.random.sample(self.sale.zones if self.random.random() < 0.1 else self.sale.zones[:4], 2)
        if self.random.random() < 0.5:
            return self.reserve_many(cursor, changes, zones)
        cursor.execute("SAVEPOINT r")
        try:
            cursor.execute("SELECT booking_id FROM boxoffice.reserve(%s, %s, %s, %s)",
                           (self.sale.show, zones[0], self.user(), self.random.randint(1, 4)))
            changes[cursor.fetchone()[0]] = "reserved"
            self.granted += 1
        except psycopg2.Error as error:
            if error.pgcode not in ("US030", "US031"):
                raise
            self.refused += 1
            cursor.execute("ROLLBACK TO r")
        cursor.execute("RELEASE r")

    def reserve_many(self, cursor, changes, zones):
        requests = ["('default', '%s', %d, ARRAY[(%d, NULL, %d, NULL)]::boxoffice.reserve_item[], NULL, NULL, NULL)"
                    % (self.user(), self.sale.show, self.random.choice(zones), self.random.randint(1, 4)) for _ in range(6)]
        cursor.execute("SELECT sqlstate, booking_id FROM boxoffice.reserve_many(ARRAY[%s]::boxoffice.reserve_request[])" % ", ".join(requests))
        for sqlstate, booking in cursor.fetchall():
            if sqlstate is None:
                changes[booking] = "reserved"
                self.granted += 1
            else:
                ensure(sqlstate in ("US030", "US031"), "a request was refused with " + sqlstate)
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
    def __init__(self, cluster, seed):
        self.cluster, self.seed = cluster, seed
        self.over = threading.Event()
        self.event = cluster.value("SELECT boxoffice.create_event('Rush', 'EUR', user_limit => %d, max_expired_holds => NULL)" % LIMIT)
        self.show = cluster.value("SELECT boxoffice.create_show(%s, 'UTC', '2099-01-01')", (self.event,))
        self.zones = [self.zone() for _ in range(ZONES)]
        cluster.rows("SELECT boxoffice.publish_event(%s)", (self.event,))

    def zone(self):
        zone = self.cluster.value("SELECT boxoffice.create_zone(%s, 'zone', %s)", (self.show, CAPACITY))
        self.cluster.rows("SELECT boxoffice.create_price_type(%s, 'adult', 1000, 1900, 250)", (zone,))
        return zone

    def check(self):
        """The invariants, in memory and by the rows; after a restart the memory is new."""
        bad = self.cluster.rows("SELECT invariant, detail FROM boxoffice.check('20 s') WHERE NOT ok OR detail LIKE '%% 1 too busy%%'")
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
        sale.check()                # beside the load
    sale.over.set()
    for client in clients:
        client.join(60)
        ensure(not client.is_alive(), "a client hangs")
        if client.error is not None:
            raise client.error
    sale.check()
    return clients


def disturb(cluster, kind):
    if kind == "postmaster":
        cluster.kill9()
        cluster.start()
    elif kind == "backend":
        cluster.kill9_backend(cluster.value("SELECT pid FROM pg_stat_activity WHERE application_name = 'client' LIMIT 1"))
    else:
        for _ in range(20):
            cluster.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'client' ORDER BY random() LIMIT 2")
            time.sleep(0.02)


def test(options):
    cluster = lib.Cluster(lib.work_directory(), conf={"boxoffice.zone_slots": str(SLOTS)}).initdb().start()
    cluster.create()
    for n in range(options.rounds if not options.short else 3):
        sale = Sale(cluster, options.seed + n)
        kind = KINDS[n % len(KINDS)]
        clients = round_of(sale, kind, 2 if options.short else 5)
        there = compare(cluster, sale, clients)
        note("%s: %d granted, %d refused, %d rolled back by a deadlock or without a slot; %d bookings" % (
            kind, sum(c.granted for c in clients), sum(c.refused for c in clients), sum(c.stuck for c in clients), there))
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
    options = lib.arguments("The box office under kill -9.", rounds=(int, 9, "how often the server is disturbed"))
    lib.main([("a sale survives kill -9: nothing oversold, nothing answered lost", lambda: test(options))], 900)
