#!/usr/bin/python3
# test/chaos/boxoffice_dump.py: a sale that is dumped while it sells goes on where it is restored.
#
# While clients reserve, confirm, cancel and let expire, the database is dumped, in parallel and as a script, and restored beside itself. There
# bookings, items, seats and events fit each other; what was held and is due expires though nobody asks for anything; what is
# free is sold, and no more; new events and zones have new numbers. The sale that was dumped does not notice.
import random
import threading

import psycopg2

import lib
from lib import ensure, ensure_empty

CAPACITY, SEATS, CLIENTS = 400, 40, 6


class Client(threading.Thread):
    def __init__(self, cluster, show, zones, number, seed):
        super().__init__(daemon=True)
        self.cluster, self.show, self.zones, self.number = cluster, show, zones, number
        self.random = random.Random(seed * 100 + number)
        self.over, self.done, self.error = threading.Event(), 0, None

    def run(self):
        try:
            cursor = self.cluster.connect(name="client").cursor()
            while not self.over.is_set():
                self.step(cursor)
                self.done += 1
        except Exception as error:          # told by the test
            self.error = error

    def step(self, cursor):
        try:
            cursor.execute("SELECT booking_id FROM boxoffice.reserve(%s, %s, %s, %s, ttl => %s)", (
                self.show, self.random.choice(self.zones), "user-%d" % self.number, self.random.randint(1, 3), self.random.choice(("1 s", "4 s", "10 min"))))
            booking, = cursor.fetchone()
            if self.random.random() < 0.3:
                cursor.execute("SELECT boxoffice.confirm(%s, %s)", (booking, "paid"))
            if self.random.random() < 0.7:
                cursor.execute("SELECT boxoffice.cancel(%s)", (booking,))
        except psycopg2.Error as error:
            ensure(error.pgcode in ("US030", "US033", "US036"), "%s %s" % (error.pgcode, error))


def sale(cluster):
    event = cluster.value("SELECT boxoffice.create_event('Dump', 'EUR', max_expired_holds => NULL)")
    show = cluster.value("SELECT boxoffice.create_show(%s, 'UTC', '2099-01-01')", (event,))
    floor = cluster.value("SELECT boxoffice.create_zone(%s, 'floor', %s)", (show, CAPACITY))
    stalls = cluster.value("SELECT boxoffice.create_zone(%s, 'stalls', 0, true)", (show,))
    cluster.rows("SELECT boxoffice.add_seats(%s, 'A', 1, 1, %s)", (stalls, SEATS))
    for zone in (floor, stalls):
        cluster.rows("SELECT boxoffice.create_price_type(%s, 'adult', 1000)", (zone,))
    cluster.rows("SELECT boxoffice.publish_event(%s)", (event,))
    return show, floor, stalls


def ensure_goes_on(cluster, database, show, floor):
    """A restored sale, which nobody has asked for anything yet."""
    def value(sql, arguments=None):
        return cluster.rows(sql, arguments, database=database)[0][0]

    def sound(when):
        ensure_empty(cluster.rows("SELECT invariant, detail FROM boxoffice.check('20 s') WHERE NOT ok", database=database), "boxoffice.check() of %s %s" % (database, when))
        cluster.check(database)
    sound("restored")
    ensure(value("SELECT count(*) FROM boxoffice.bookings WHERE status = 'expired'") > 0, "nothing had expired")
    lib.wait_until(lambda: value("SELECT count(*) FROM boxoffice.bookings WHERE status IN ('reserved', 'payment_pending') AND expires_at < clock_timestamp() + interval '1 minute'") == 0,
                   30, "what was held to expire in " + database, 0.2)
    sound("when what was due has expired")
    free = value("SELECT free FROM boxoffice.availability(%s) WHERE zone_id = %s", (show, floor))
    for _ in range(free):
        cluster.rows("SELECT boxoffice.reserve(%s, %s, 'late', 1)", (show, floor), database=database)
    try:
        cluster.rows("SELECT boxoffice.reserve(%s, %s, 'late', 1)", (show, floor), database=database)
        raise lib.Failure("more than the capacity was sold in " + database)
    except psycopg2.Error as error:
        ensure(error.pgcode == "US030", "%s %s" % (error.pgcode, error))
    ensure(value("SELECT boxoffice.create_zone(%s, 'new', 1)", (show,)) > floor, "the number of a new zone in " + database)
    sound("sold out")


def run(options):
    cluster = lib.Cluster(lib.work_directory()).initdb().start().create()
    show, floor, stalls = sale(cluster)
    clients = [Client(cluster, show, (floor, floor, stalls), n, options.seed) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    lib.wait_until(lambda: cluster.value("SELECT count(*) FROM boxoffice.bookings WHERE status = 'expired'") > 5, 30, "the first to expire", 0.1)
    directory, script = cluster.base + "/sale", cluster.base + "/sale.sql"
    before = sum(client.done for client in clients)
    cluster.tool("pg_dump", "-Fd", "-j2", "-f", directory, *cluster.connection_arguments())
    cluster.tool("pg_dump", "-f", script, *cluster.connection_arguments())
    ensure(sum(client.done for client in clients) > before, "nobody could buy beside the dump")
    for client in clients:
        client.over.set()
    for client in clients:
        client.join(60)
        if client.error is not None:
            raise client.error
    for database in ("parallel", "script"):
        cluster.rows("CREATE DATABASE " + database)
    cluster.tool("pg_restore", "-j2", "--exit-on-error", directory, *cluster.connection_arguments("parallel"))
    cluster.tool("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", script, *cluster.connection_arguments("script"))
    for database in ("parallel", "script"):
        ensure_goes_on(cluster, database, show, floor)
    ensure_empty(cluster.rows("SELECT invariant, detail FROM boxoffice.check('20 s') WHERE NOT ok"), "boxoffice.check() of what was dumped")
    ensure_empty(cluster.log_crashes(), "server log")


if __name__ == "__main__":
    OPTIONS = lib.arguments("A sale that is dumped and restored.")
    lib.main([("a sale that is dumped while it sells goes on where it is restored", lambda: run(OPTIONS))], 200)
