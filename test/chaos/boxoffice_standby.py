#!/usr/bin/python3
# test/chaos/boxoffice_standby.py: the box office on a standby, and after its promotion.
#
# A standby says what is free, by the rows, and refuses to sell with an error that says why. The primary is killed in the middle
# of a sale and the standby promoted: the worker of the box office starts by itself and lets expire what has become due
# meanwhile, zones are counted anew, and exactly their capacity is sold.
import collections
import threading
import time

import psycopg2

import lib
from lib import ensure, ensure_empty, note

CAPACITY = 200
SEATS = 20
DUE_SECONDS = 4
WORKER = "pg_usher box office"
REFUSED = (
    "SELECT boxoffice.reserve({show}, {zone}, 'x', 1)",
    "SELECT boxoffice.reserve_items({show}, 'x', ARRAY[({zone}, NULL, 1, NULL, NULL, NULL)]::boxoffice.reserve_item[])",
    "SELECT * FROM boxoffice.reserve_many(ARRAY[('default', 'x', {show}, ARRAY[({zone}, NULL, 1, NULL, NULL, NULL)]::boxoffice.reserve_item[],"
    " NULL, NULL, NULL)]::boxoffice.reserve_request[])",
    "SELECT boxoffice.best_available({show}, {seats}, 'x', 2)",
    "SELECT boxoffice.begin_payment('{booking}', 'p')",
    "SELECT boxoffice.extend('{booking}', '1 s')",
    "SELECT boxoffice.confirm('{booking}', 'p')",
    "SELECT boxoffice.cancel('{booking}')",
    "SELECT boxoffice.set_capacity({zone}, 1000)",
    "SELECT boxoffice.create_event('x', 'EUR')",
    "SELECT boxoffice.cancel_event({event})",
    "SELECT boxoffice.check()",
)


class Sale:
    def __init__(self, primary):
        self.event = primary.value("SELECT boxoffice.create_event('Failover', 'EUR', max_expired_holds => NULL)")
        self.show = primary.value("SELECT boxoffice.create_show(%s, 'UTC', '2099-01-01')", (self.event,))
        self.zone = primary.value("SELECT boxoffice.create_zone(%s, 'floor', %s)", (self.show, CAPACITY))
        self.seats = primary.value("SELECT boxoffice.create_zone(%s, 'stalls', 0, true)", (self.show,))
        primary.rows("SELECT boxoffice.add_seats(%s, 'A', 1, 1, %s)", (self.seats, SEATS))
        for zone in (self.zone, self.seats):
            primary.rows("SELECT boxoffice.create_price_type(%s, 'adult', 1000)", (zone,))
        primary.rows("SELECT boxoffice.publish_event(%s)", (self.event,))
        self.paid = self.reserve(primary, self.zone, "paid", 30)
        primary.rows("SELECT boxoffice.confirm(%s, 'pay')", (self.paid,))
        self.held = self.reserve(primary, self.zone, "held", 20)
        self.chosen = self.reserve(primary, self.seats, "chosen", 6)

    def reserve(self, cluster, zone, user, n, ttl="10 min"):
        return cluster.value("SELECT booking_id FROM boxoffice.reserve(%s, %s, %s, %s, ttl => %s)", (self.show, zone, user, n, ttl))

    def free(self, cluster):
        return dict(cluster.rows("SELECT zone_id, free FROM boxoffice.availability(%s)", (self.show,)))

    def status(self, cluster, booking):
        return cluster.value("SELECT status FROM boxoffice.booking(%s)", (booking,))


class Buyer(threading.Thread):
    """Buys one place after the other until the server is gone."""

    def __init__(self, cluster, sale):
        super().__init__(daemon=True)
        self.cluster, self.sale, self.sold = cluster, sale, 0

    def run(self):
        try:
            cursor = self.cluster.connect(name="buyer").cursor()
            while self.sold < CAPACITY // 4:
                cursor.execute("SELECT boxoffice.reserve(%s, %s, 'buyer', 1)", (self.sale.show, self.sale.zone))
                self.sold += 1
                time.sleep(0.01)
        except psycopg2.Error:
            pass


def refusal(cluster, sql):
    """SQLSTATE and text of the error."""
    with lib.contextlib.closing(cluster.connect()) as connection:
        try:
            connection.cursor().execute(sql)
        except psycopg2.Error as error:
            return error.pgcode, str(error)
    return None, "done"


def on_standby(sale, primary, standby):
    expected = {sale.zone: CAPACITY - 50, sale.seats: SEATS - 6}
    lib.wait_until(lambda: sale.free(standby) == expected, 20, "the standby to say what is free")
    ensure(sale.free(primary) == expected, "the primary says something else")
    ensure(sale.status(standby, sale.paid) == "confirmed" and sale.status(standby, sale.held) == "reserved", "bookings on the standby")
    ensure(standby.value("SELECT count(*) FROM boxoffice.bookings('held')") == 1, "a user's bookings on the standby")
    names = dict(show=sale.show, zone=sale.zone, seats=sale.seats, booking=sale.held, event=sale.event)
    answers = {sql.format(**names): refusal(standby, sql.format(**names)) for sql in REFUSED}
    ensure_empty([(sql, answer) for sql, answer in answers.items() if answer[0] != "25006" or "standby" not in answer[1]],
                 "not refused, or not said why")
    ensure(not standby.rows("SELECT 1 FROM pg_stat_activity WHERE backend_type = %s", (WORKER,)), "a worker of the box office on a standby")
    primary.rows("SELECT boxoffice.cancel(%s)", (sale.chosen,))
    lib.wait_until(lambda: sale.free(standby)[sale.seats] == SEATS, 20, "a cancellation to be seen on the standby")
    sale.chosen = sale.reserve(primary, sale.seats, "chosen", 5)


def fail_over(sale, primary, standby):
    """Returns a booking that has become due when there was no primary."""
    due = sale.reserve(primary, sale.zone, "due", 10, "%d s" % DUE_SECONDS)
    due_at = time.monotonic() + DUE_SECONDS
    lib.wait_until(lambda: standby.rows("SELECT 1 FROM boxoffice.bookings WHERE booking_id = %s", (due,)), 20, "the standby to have the booking")
    buyer = Buyer(primary, sale)
    buyer.start()
    lib.wait_until(lambda: buyer.sold > 5, 10, "the sale")
    primary.kill9()
    buyer.join(20)
    time.sleep(max(0, due_at - time.monotonic()) + 0.5)
    ensure(sale.status(standby, due) == "reserved", "a standby let a booking expire")
    standby.promote()
    began = time.monotonic()
    lib.wait_until(lambda: sale.status(standby, due) == "expired", 20, "what was due to expire after the promotion")
    note("expired %.2f s after the promotion; %d places were sold when the primary died" % (time.monotonic() - began, buyer.sold))
    lib.wait_until(lambda: standby.rows("SELECT 1 FROM pg_stat_activity WHERE backend_type = %s", (WORKER,)), 20, "the worker of the box office")


def sell_out(sale, cluster):
    """Many sessions buy what is left: exactly the capacity, and every seat once."""
    results = collections.Counter()

    def buyer(number):
        cursor = cluster.connect(name="buyer").cursor()
        for zone in (sale.zone, sale.seats):
            for _ in range(CAPACITY):
                try:
                    cursor.execute("SELECT boxoffice.reserve(%s, %s, %s, 1)", (sale.show, zone, "late-%d" % number))
                    results["granted"] += 1
                except psycopg2.Error as error:
                    results[error.pgcode] += 1
                    if not error.diag.message_hint or "try again" not in error.diag.message_hint:
                        break
    threads = [threading.Thread(target=buyer, args=(n,), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    note("sold out: " + ", ".join("%s %d" % item for item in sorted(results.items())))
    ensure(set(results) <= {"granted", "US030", "US033"}, "buyers were told %s" % dict(results))
    ensure(set(sale.free(cluster).values()) == {0}, "places are left: %s" % sale.free(cluster))
    held = cluster.rows("SELECT i.zone_id, sum(i.quantity) FROM boxoffice.bookings b JOIN boxoffice.booking_items i USING (tenant_id, booking_id)"
                        " WHERE b.status IN ('reserved', 'payment_pending', 'confirmed') AND NOT i.cancelled GROUP BY 1")
    ensure(dict(held) == {sale.zone: CAPACITY, sale.seats: SEATS}, "held and sold: %s" % held)


def test():
    primary = lib.Cluster(lib.work_directory()).initdb().start().create()
    sale = Sale(primary)
    standby = primary.standby()
    on_standby(sale, primary, standby)
    fail_over(sale, primary, standby)
    ensure_empty(standby.rows("SELECT invariant, detail FROM boxoffice.check('10 s') WHERE NOT ok"), "boxoffice.check() after the promotion")
    sell_out(sale, standby)
    standby.rows("SELECT boxoffice.cancel(%s)", (sale.paid,))
    ensure(sale.free(standby)[sale.zone] == 30, "a cancellation after the promotion")
    ensure_empty(standby.rows("SELECT invariant, detail FROM boxoffice.check('10 s') WHERE NOT ok"), "boxoffice.check() at the end")
    ensure_empty(standby.log_crashes() + primary.log_crashes(), "server log")
    standby.check()


if __name__ == "__main__":
    lib.arguments("The box office on a standby.")
    lib.main([("the box office on a standby, and after its promotion", test)], 180)
