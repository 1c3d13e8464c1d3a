#!/usr/bin/python3
# test/chaos/boxoffice_model.py: what a sale tells its clients can be explained by a serial order, and is what a simple model does.
#
# 16 sessions reserve, confirm, extend, pay for, cancel and partly cancel at random, let bookings expire, change capacities, roll
# back and look. Then
#  1. a model of fifty lines is led over the log, in its order: every step of every booking must be allowed, no zone may ever hold
#     more than its capacity, no user more than the limit; so the log's order is a serial order of all that changed anything. Each
#     change that a client was told of is there once, and what was answered before another call began stands before it.
#  2. each zone and each user is a counter with a capacity, and history.py searches for a serial order of everything that clients
#     were told of it: grants, refusals with what is left, looks, rollbacks, and what came free by expiry.
#  3. a refusal of a change of a booking must have been right at some time during its call.
# And numbered seats: clients ask for groups at random until all are refused; and callers with batches in opposite orders.
import bisect
import collections
import random
import threading
import time

import psycopg2

import history
import lib
from lib import ensure, ensure_empty, note

SESSIONS = 16
ZONES = 8
USERS = 40
LIMIT = 9
CAPACITY = 30
RECENT = 200            # bookings that sessions change; older ones stay as they are, or expire
STEPS = {
    ("reserved", "booking.payment_pending"): "payment_pending",
    ("reserved", "booking.extended"): "reserved",
    ("reserved", "booking.items_cancelled"): "reserved",
    ("payment_pending", "booking.items_cancelled"): "payment_pending",
    ("confirmed", "booking.items_cancelled"): "confirmed",
    ("expired", "booking.confirmed"): "confirmed",
    ("expired", "booking.payment_orphaned"): "payment_orphaned",
    ("cancelled", "booking.payment_orphaned"): "payment_orphaned",
    ("confirmed", "booking.cancelled"): "cancelled",
    **{(held, "booking." + then): then for held in ("reserved", "payment_pending") for then in ("confirmed", "cancelled", "expired")},
}
HOLDING = ("reserved", "payment_pending", "confirmed")


class Session(threading.Thread):
    """Makes its share of the calls, and writes down what it was told."""

    def __init__(self, sale, number, calls):
        super().__init__(daemon=True)
        self.sale, self.number, self.calls = sale, number, calls
        self.random = random.Random(sale.seed * 1000 + number)
        self.capacity = CAPACITY        # of the one zone whose capacity this session changes
        self.zones, self.users = collections.defaultdict(list), collections.defaultdict(list)
        self.changes = []               # (booking, type of the event, begin, end)
        self.refused = []               # (booking, SQLSTATE, begin, end)
        self.counts = collections.Counter()
        self.error = None

    def run(self):
        try:
            self.cursor = self.sale.cluster.connect(name="session").cursor()
            kinds = (self.reserve, self.items, self.many, self.look, self.cancel, self.confirm, self.pay, self.extend, self.roll_back)
            weights = [24, 8, 10, 10, 26, 5, 2, 2, 6]
            if self.number < ZONES:
                kinds, weights = kinds + (self.change_capacity,), weights + [8]
            while self.calls > 0:
                kind = self.random.choices(kinds, weights)[0]
                kind()
                self.counts[kind.__name__] += 1
                self.calls -= 1
        except Exception as error:          # told by the test
            self.error = error

    def ask(self, sql, arguments):
        """Rows, or the error; and when it began and ended."""
        begin = time.time()
        try:
            self.cursor.execute(sql, arguments)
            return lib.fetched(self.cursor), None, begin, time.time()
        except psycopg2.Error as error:
            ensure(error.pgcode and error.pgcode.startswith("US0"), "%s: %s" % (error.pgcode, error))
            return [], error, begin, time.time()

    def place(self):
        return self.random.choice(self.sale.zones), "user-%d" % self.random.randrange(USERS), self.random.randint(1, 4)

    def told(self, zone, user, quantities, error, begin, end, give_back=False):
        """What a request for items of one zone has done to zone and user. error: (SQLSTATE, left, quantity that was refused)"""
        n = sum(quantities)
        code, left, refused = error
        held = [] if code is None or refused == quantities[0] else quantities[:-1]      # when the last one was refused
        steps = {None: [("take", q) for q in quantities], "US031": [],
                 "US030": [("take", q) for q in held] + [("refuse", refused, left)] + [("give", q) for q in held]}[code]
        limit = {None: [("take", n)], "US030": [("enough", n)], "US031": [("refuse", n, left)]}[code]
        if give_back:
            steps, limit = steps + [("give", q) for q in quantities], limit + [("give", n)]
        if steps:
            self.zones[zone].append((begin, end, steps))
        self.users[user].append((begin, end, limit))

    def parts(self, error):
        """SQLSTATE, how many are left, how many were asked for: "zone 7 has no 3 places left", "2 are left."."""
        if error is None or error.pgcode != "US030":
            return error and error.pgcode, None, None
        return error.pgcode, int(error.diag.message_detail.split()[0]), int(error.diag.message_primary.split()[4])

    def reserve(self):
        zone, user, n = self.place()
        ttl = self.random.choice(("1 s", "1 s", "2 s", "10 min"))
        rows, error, begin, end = self.ask("SELECT booking_id FROM boxoffice.reserve(%s, %s, %s, %s, ttl => %s)", (self.sale.show, zone, user, n, ttl))
        self.told(zone, user, [n], self.parts(error), begin, end)
        if error is None:
            self.made(rows[0][0], begin, end)

    def made(self, booking, begin, end):
        self.changes.append((booking, "booking.reserved", begin, end))
        self.sale.some.append(booking)
        if len(self.sale.some) > RECENT:
            self.sale.some.pop(0)

    def items(self):
        """Two items of a zone: one place, and two or more."""
        zone, user, n = self.place()
        n = max(n, 2)
        rows, error, begin, end = self.ask(
            "SELECT booking_id FROM boxoffice.reserve_items(%s, %s, ARRAY[(%s, NULL, 1, NULL, NULL, NULL), (%s, NULL, %s, NULL, NULL, NULL)]::boxoffice.reserve_item[])",
            (self.sale.show, user, zone, zone, n))
        self.told(zone, user, [1, n], self.parts(error), begin, end)
        if error is None:
            self.made(rows[0][0], begin, end)

    def many(self):
        wanted = [self.place() for _ in range(self.random.randint(2, 6))]
        rows, error, begin, end = self.ask(
            "SELECT sqlstate, remaining, booking_id FROM boxoffice.reserve_many(ARRAY[%s]::boxoffice.reserve_request[]) ORDER BY element" % ", ".join(
                "('default', '%s', %d, ARRAY[(%d, NULL, %d, NULL, NULL, NULL)]::boxoffice.reserve_item[], NULL, '1 s', NULL)" % (user, self.sale.show, zone, n)
                for zone, user, n in wanted), None)
        ensure(error is None, str(error))
        for (zone, user, n), (code, left, booking) in zip(wanted, rows):
            self.told(zone, user, [n], (code, left, n), begin, end)
            if code is None:
                self.made(booking, begin, end)

    def look(self):
        rows, error, begin, end = self.ask("SELECT zone_id, free FROM boxoffice.availability(%s)", (self.sale.show,))
        ensure(error is None, str(error))
        for zone, free in rows:
            self.zones[zone].append((begin, end, [("is", free)]))

    def change(self, sql, booking, mark, arguments=()):
        """A change of a booking: its row if this call has made it, which its mark says."""
        rows, error, begin, end = self.ask(sql, (booking, mark) + tuple(arguments))
        if error is not None:
            self.refused.append((booking, error.pgcode, begin, end))
        return rows[0] if rows else None, begin, end

    def some(self):
        return self.random.choice(self.sale.some) if self.sale.some else None

    def mark(self):
        return "%d-%d" % (self.number, self.calls)

    def cancel(self):
        booking, mark = self.some(), self.mark()
        if booking is None:
            return
        part = [1] if self.random.random() < 0.2 else None
        row, begin, end = self.change("SELECT status, reason FROM boxoffice.cancel(%s, %s, %s)", booking, mark, (part,))
        if row and row[1] == mark:
            self.changes.append((booking, "booking.cancelled" if row[0] == "cancelled" else "booking.items_cancelled", begin, end))

    def confirm(self):
        booking, mark = self.some(), self.mark()
        if booking is None:
            return
        row, begin, end = self.change("SELECT status, payment_ref FROM boxoffice.confirm(%s, %s)", booking, mark)
        if row:
            self.changes.append((booking, "booking." + row[0], begin, end))

    def pay(self):
        booking, mark = self.some(), self.mark()
        row, begin, end = self.change("SELECT status FROM boxoffice.begin_payment(%s, %s)", booking, mark) if booking else (None, 0, 0)
        if row:
            self.changes.append((booking, "booking.payment_pending", begin, end))

    def extend(self):
        booking = self.some()
        row, begin, end = self.change("SELECT status FROM boxoffice.extend(%s, %s)", booking, "1 s") if booking else (None, 0, 0)
        if row:
            self.changes.append((booking, "booking.extended", begin, end))

    def change_capacity(self):
        zone, wanted = self.sale.zones[self.number], CAPACITY + self.random.randint(-15, 15)
        _, error, begin, end = self.ask("SELECT boxoffice.set_capacity(%s, %s)", (zone, wanted))
        less = self.capacity - wanted
        if error is not None:
            ensure(error.pgcode == "US030", str(error))
            self.zones[zone].append((begin, end, [("refuse", less, None)]))
            return
        self.zones[zone].append((begin, end, [("take", less) if less > 0 else ("give", -less)]))
        self.capacity = wanted

    def roll_back(self):
        """Reserve, and think better of it; or cancel, and do not."""
        zone, user, n = self.place()
        booking = self.some()
        self.cursor.execute("BEGIN")
        if booking and self.random.random() < 0.3:
            self.ask("SELECT boxoffice.cancel(%s)", (booking,))
            self.cursor.execute("ROLLBACK")
            return
        _, error, begin, _ = self.ask("SELECT boxoffice.reserve(%s, %s, %s, %s)", (self.sale.show, zone, user, n))
        self.cursor.execute("ROLLBACK")
        self.told(zone, user, [n], self.parts(error), begin, time.time(), give_back=error is None)


class Sale:
    def __init__(self, cluster, seed):
        self.cluster, self.seed, self.some = cluster, seed, []
        self.event = cluster.value("SELECT boxoffice.create_event('Model', 'EUR', user_limit => %d, max_expired_holds => NULL)" % LIMIT)
        self.show = cluster.value("SELECT boxoffice.create_show(%s, 'UTC', '2099-01-01')", (self.event,))
        self.zones = [cluster.value("SELECT boxoffice.create_zone(%s, 'zone', %s)", (self.show, CAPACITY)) for _ in range(ZONES)]
        for zone in self.zones:
            cluster.rows("SELECT boxoffice.create_price_type(%s, 'adult', 1000, 1900, 250)", (zone,))
        cluster.rows("SELECT boxoffice.publish_event(%s)", (self.event,))

    def log(self):
        """Events of bookings and capacities, in the log's order."""
        return self.cluster.rows("SELECT position, extract(epoch FROM recorded_at)::float8, type, data FROM usher.log"
                                 " WHERE type LIKE 'booking.%%' OR type = 'zone.capacity_changed' ORDER BY position")


class Model:
    """Bookings, zones and users as the log says that they became. An impossible step is a finding."""

    def __init__(self, sale):
        self.capacity = {zone: CAPACITY for zone in sale.zones}
        self.held, self.has = collections.Counter(), collections.Counter()
        self.status, self.quantity, self.where = {}, {}, {}
        self.states = collections.defaultdict(list)     # of a booking: (position, state)
        self.findings = []
        self.expiries = []                              # (recorded_at, position, zone, user, n)
        self.retaken = {}                               # position: (n, whether granted), of payments that came late
        self.had = collections.defaultdict(list)        # of a user: (recorded_at, position, places before the change)

    def follow(self, position, at, kind, data):
        if kind == "zone.capacity_changed":
            self.capacity[data["zone"]] = data["capacity"]
        else:
            self.step(position, at, kind, data)
        for zone, capacity in self.capacity.items():
            if self.held[zone] > capacity:
                self.findings.append("zone %d has %d places and %d are held, at position %d" % (zone, capacity, self.held[zone], position))

    def step(self, position, at, kind, data):
        booking = data["booking"]
        before, n = self.status.get(booking), self.quantity.get(booking, 0)
        then = "reserved" if before is None and kind == "booking.reserved" else STEPS.get((before, kind))
        if then is None or then != data["status"]:
            self.findings.append("booking %s was %s, then came %s, to %s" % (booking, before, kind, data["status"]))
            return
        if before is None:
            self.where[booking] = (data["items"][0]["zone"], data["user"])
        zone, user = self.where[booking]
        delta = (data["quantity"] if then in HOLDING else 0) - (n if before in HOLDING else 0)
        if kind == "booking.expired":
            self.expiries.append((at, position, zone, user, n))
        if before == "expired":
            self.retaken[position] = (n, then == "confirmed")
        self.had[user].append((at, position, self.has[user]))
        self.held[zone] += delta
        self.has[user] += delta
        if self.has[user] > LIMIT:
            self.findings.append("%s has %d places, at position %d" % (user, self.has[user], position))
        self.status[booking], self.quantity[booking] = then, data["quantity"]
        self.states[booking].append((position, then))


def changes_of(sessions, log):
    """Position of each change that a client was told of, with begin and end: each once, none missing."""
    told = collections.defaultdict(list)
    for session in sessions:
        for booking, kind, begin, end in session.changes:
            told[booking, kind].append((begin, end))
    found, missing = {}, []
    for position, at, kind, data in log:
        if kind in ("booking.expired", "zone.capacity_changed"):
            continue
        calls = [call for call in told[data["booking"], kind] if call[0] <= at <= call[1]]
        if not calls:
            missing.append("nobody was told of %s of %s" % (kind, data["booking"]))
            continue
        calls.sort(key=lambda call: call[1])
        told[data["booking"], kind].remove(calls[0])
        found[position] = calls[0]
    ensure_empty(missing + ["%s of %s is not in the log" % key[::-1] for key, calls in told.items() if calls], "changes and the log")
    return found


def late(found):
    """Changes that stand behind one whose call began after they had been answered."""
    latest, wrong = 0.0, []
    for position, (begin, end) in sorted(found.items()):
        if end < latest:
            wrong.append("position %d" % position)
        latest = max(latest, begin)
    return wrong


def gives_by_expiry(model, zones, users):
    """What expires comes free behind recorded_at, and before the worker, which does one batch after the other, takes the next time."""
    batches = collections.defaultdict(collections.Counter)
    for at, position, zone, user, n in model.expiries:
        batches[at]["zone", zone] += n
        batches[at]["user", user] += n
    times = sorted(batches) + [float("inf")]
    for at, until in zip(times, times[1:]):
        for (what, key), n in batches[at].items():
            (zones if what == "zone" else users)[key].append((at - 0.00001, until, [("give", n)]))


def history_of_changes(model, found, zones, users):
    """Cancellations and payments that came late, as the counters see them."""
    quantity, status = {}, {}
    batches = sorted({at for at, *_ in model.expiries}) + [float("inf")]

    def seen_by(position, at):
        """When a change was visible at the latest: it is recorded before its commit is."""
        return found[position][1] if position in found else batches[bisect.bisect_right(batches, at)]
    for position, at, kind, data in model.log:
        if not kind.startswith("booking."):
            continue
        booking = data["booking"]
        before, n = status.get(booking), quantity.get(booking)
        status[booking], quantity[booking] = data["status"], data["quantity"]
        if position not in found:
            continue
        begin, end = found[position]
        zone, user = model.where[booking]
        given = n if kind == "booking.cancelled" else n - data["quantity"] if kind == "booking.items_cancelled" else 0
        if given:
            zones[zone].append((begin, end, [("give", given)]))
            users[user].append((begin, end, [("give", given)]))
        if before == "expired":
            n, granted = model.retaken[position]
            if granted:
                zones[zone].append((begin, end, [("take", n)]))
                users[user].append((begin, end, [("take", n)]))
            elif max(has for then, where, has in model.had[user] if begin <= seen_by(where, then) and then <= at) + n <= LIMIT:
                # the limit was not the reason
                zones[zone].append((begin, end, [("refuse", n, None)]))
                users[user].append((begin, end, [("enough", n)]))


def impossible_refusals(model, found, sessions):
    """A booking that was told to be in the wrong state must have been in one during the call."""
    wrong = []
    for session in sessions:
        for booking, code, begin, end in session.refused:
            states = model.states[booking]
            times = [found.get(position, (model.at[position], float("inf"))) for position, _ in states] + [(float("inf"), float("inf"))]
            during = {state for (_, state), since, until in zip(states, times, times[1:]) if since[0] <= end and until[1] >= begin}
            fits = "expired" in during if code == "US036" else during - {"reserved"} if code == "US037" else code == "US018"
            if not fits:
                wrong.append("booking %s was refused with %s, and was %s" % (booking, code, during))
    return wrong


def run_model(cluster, options):
    ensure(history.self_test(), "the history checker does not see what cannot be")
    sale = Sale(cluster, options.seed)
    calls = 3000 if options.short else options.calls
    sessions = [Session(sale, n, calls // SESSIONS) for n in range(SESSIONS)]
    began = time.monotonic()
    for session in sessions:
        session.start()
    for session in sessions:
        session.join(1200)
        ensure(not session.is_alive(), "a session hangs")
        if session.error is not None:
            raise session.error
    took = time.monotonic() - began
    counts = sum((session.counts for session in sessions), collections.Counter())
    check(cluster, sale, sessions)
    note("%d calls in %.0f s: %s" % (sum(counts.values()), took, ", ".join("%s %d" % item for item in sorted(counts.items()))))


def check(cluster, sale, sessions):
    model = Model(sale)
    model.log = sale.log()
    model.at = {position: at for position, at, _, _ in model.log}
    for event in model.log:
        model.follow(*event)
    ensure_empty(model.findings, "the model")
    found = changes_of(sessions, model.log)
    ensure_empty(late(found), "changes in another order than they were answered")
    ensure_empty(impossible_refusals(model, found, sessions), "refusals")
    zones, users = collections.defaultdict(list), collections.defaultdict(list)
    for session in sessions:
        for key, calls in session.zones.items():
            zones[key] += calls
        for key, calls in session.users.items():
            users[key] += calls
    gives_by_expiry(model, zones, users)
    history_of_changes(model, found, zones, users)
    for what, counters, initial in (("zone", zones, CAPACITY), ("user", users, LIMIT)):
        ensure_empty(["%s %s: %s" % (what, key, call) for key, calls in counters.items()
                      for call in [history.unexplained(initial, calls)] if call is not None], "answers that no serial order explains")
    note("%d steps of %d zones and %d users explained; %d bookings, %d expired" % (
        sum(len(calls) for counters in (zones, users) for calls in counters.values()), len(zones), len(users), len(model.status), len(model.expiries)))
    compare(cluster, sale, model)


def compare(cluster, sale, model):
    """The rows are what the model has."""
    rows = {b: (s, q) for b, s, q in cluster.rows("SELECT booking_id::text, status, quantity FROM boxoffice.bookings WHERE show_id = %s", (sale.show,))}
    wrong = [b for b, (s, q) in rows.items() if (model.status.get(b), model.quantity.get(b)) != (s, q) and s != "expired"]
    ensure_empty(wrong, "bookings that are not as the log says")
    ensure_empty(cluster.rows("SELECT invariant, detail FROM boxoffice.check('20 s') WHERE NOT ok"), "boxoffice.check()")


# ---- numbered seats ----

ROWS, SEATS = 12, 25
BUYERS = 32


class Buyer(threading.Thread):
    """Asks for groups of seats at random until every size is refused."""

    def __init__(self, cluster, show, zone, number, seed):
        super().__init__(daemon=True)
        self.cluster, self.show, self.zone, self.number = cluster, show, zone, number
        self.random = random.Random(seed * 1000 + number)
        self.seats, self.busy, self.refused, self.error = [], 0, set(), None

    def run(self):
        try:
            cursor = self.cluster.connect(name="buyer").cursor()
            sizes = [1, 2, 3, 4, 5, 6]
            while sizes:
                self.ask(cursor, sizes, self.random.choice(sizes))
        except Exception as error:          # told by the test
            self.error = error

    def ask(self, cursor, sizes, n):
        try:
            cursor.execute("SELECT items -> 0 -> 'seats' FROM boxoffice.best_available(%s, %s, %s, %s)",
                           (self.show, self.zone, "buyer-%d" % self.number, n))
            self.seats += cursor.fetchone()[0]
        except psycopg2.Error as error:
            ensure(error.pgcode in ("US030", "US033"), "%s %s" % (error.pgcode, error))
            if error.diag.message_hint and "try again" in error.diag.message_hint:
                self.busy += 1
                return
            sizes.remove(n)
            self.refused.add(n)


def run_seats(cluster, options):
    event = cluster.value("SELECT boxoffice.create_event('Seats', 'EUR', max_expired_holds => NULL)")
    show = cluster.value("SELECT boxoffice.create_show(%s, 'UTC', '2099-01-01')", (event,))
    zone = cluster.value("SELECT boxoffice.create_zone(%s, 'stalls', 0, true)", (show,))
    cluster.rows("SELECT boxoffice.create_price_type(%s, 'adult', 1000)", (zone,))
    for row in range(ROWS if not options.short else 4):
        cluster.rows("SELECT boxoffice.add_seats(%s, %s, %s, 1, %s)", (zone, "R%d-" % row, row, SEATS))
    cluster.rows("SELECT boxoffice.publish_event(%s)", (event,))
    buyers = [Buyer(cluster, show, zone, n, options.seed) for n in range(BUYERS)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join(300)
        ensure(not buyer.is_alive(), "a buyer hangs")
        if buyer.error is not None:
            raise buyer.error
    sold = collections.Counter(seat for buyer in buyers for seat in buyer.seats)
    ensure_empty([seat for seat, n in sold.items() if n > 1], "seats that were sold twice")
    free = cluster.rows("SELECT row_rank, number FROM boxoffice.seats WHERE zone_id = %s AND booking_id IS NULL ORDER BY 1, 2", (zone,))
    ensure_empty([run for run in runs(free) if any(run >= n for buyer in buyers for n in buyer.refused)], "groups that would fit and were refused")
    total = cluster.value("SELECT capacity FROM boxoffice.zones WHERE zone_id = %s", (zone,))
    ensure(len(sold) + len(free) == total, "%d seats sold, %d free, of %d" % (len(sold), len(free), total))
    ensure_empty(cluster.rows("SELECT invariant, detail FROM boxoffice.check('20 s') WHERE NOT ok"), "boxoffice.check()")
    note("%d seats sold, %d free; %d times told to try again" % (len(sold), len(free), sum(buyer.busy for buyer in buyers)))


def runs(seats):
    """Lengths of the runs of seats beside each other; seats: (row, number), in order."""
    lengths, last = [], None
    for row, number in seats:
        if last == (row, number - 1):
            lengths[-1] += 1
        else:
            lengths.append(1)
        last = (row, number)
    return lengths


# ---- batches in opposite orders ----

def run_reversed(cluster, options):
    """Two callers, the same users, zones and keys, one in the opposite order: nobody is chosen as the victim of a deadlock."""
    sale = Sale(cluster, options.seed)
    before = cluster.value("SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'")
    errors, done = [], collections.Counter()

    def caller(number):
        cursor = cluster.connect(name="caller").cursor()
        try:
            for n in range(50 if options.short else 400):
                places = [(user, zone) for user in range(60) for zone in sale.zones[:3]]
                requests = ["('default', 'pair-%d', %d, ARRAY[(%d, NULL, 1, NULL, NULL, NULL)]::boxoffice.reserve_item[], '%d-%d-%d', NULL, NULL)" % (
                    user, sale.show, zone, n, user, zone) for user, zone in (places if number else reversed(places))]
                cursor.execute("SELECT coalesce(sqlstate, 'granted') FROM boxoffice.reserve_many(ARRAY[%s]::boxoffice.reserve_request[])" % ", ".join(requests))
                done.update(row[0] for row in cursor.fetchall())
        except psycopg2.Error as error:
            errors.append(str(error))

    threads = [threading.Thread(target=caller, args=(n,), daemon=True) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        ensure(not thread.is_alive(), "a caller hangs")
    ensure_empty(errors, "callers of reserve_many")
    ensure(cluster.value("SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'") == before, "there was a deadlock")
    ensure_empty(cluster.rows("SELECT invariant, detail FROM boxoffice.check('20 s') WHERE NOT ok"), "boxoffice.check()")
    note(", ".join("%s %d" % item for item in sorted(done.items())))


# ---- a booking that cannot expire ----

def run_stuck(cluster, options):
    """Somebody has the stream of a booking locked: others expire all the same, and it does when he lets go."""
    sale = Sale(cluster, options.seed)
    reserve = "SELECT booking_id FROM boxoffice.reserve(%s, %s, %s, 1, ttl => %s)"
    stuck = cluster.value(reserve, (sale.show, sale.zones[0], "stuck", "1 s"))
    with lib.contextlib.closing(cluster.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute("BEGIN")
        cursor.execute("SELECT usher.append('booking-' || %s, 'note.made', '{}')", (stuck,))
        others = [cluster.value(reserve, (sale.show, sale.zones[1], "other-%d" % n, "1 s")) for n in range(5)]
        status = "SELECT status, count(*) FROM boxoffice.bookings WHERE booking_id = ANY (%s::uuid[]) GROUP BY 1"
        lib.wait_until(lambda: cluster.rows(status, (others,)) == [("expired", 5)], 30, "others to expire", 0.1)
        late = cluster.value(reserve, (sale.show, sale.zones[1], "late", "1 s"))
        lib.wait_until(lambda: cluster.rows(status, ([late],)) == [("expired", 1)], 30, "a later one to expire", 0.1)
        ensure(cluster.rows(status, ([stuck],)) == [("reserved", 1)], "a booking whose stream is locked has expired")
        cursor.execute("ROLLBACK")
    lib.wait_until(lambda: cluster.rows(status, ([stuck],)) == [("expired", 1)], 30, "the stuck one to expire", 0.1)
    ensure_empty(cluster.rows("SELECT invariant, detail FROM boxoffice.check('20 s') WHERE NOT ok"), "boxoffice.check()")


def run_unsettled(cluster, options):
    """Cancelled shows whose bookings cannot be cancelled yet hold up neither others' nor what is due."""
    reserve = "SELECT booking_id FROM boxoffice.reserve(%s, %s, %s, 1, ttl => %s)"
    open_sale, locked_sale, third = (Sale(cluster, options.seed) for _ in range(3))
    with lib.contextlib.closing(cluster.connect()) as one, lib.contextlib.closing(cluster.connect()) as other:
        seller, writer = one.cursor(), other.cursor()
        seller.execute("BEGIN")         # who is still at work when the event is cancelled
        seller.execute(reserve, (open_sale.show, open_sale.zones[0], "seller", "10 min"))
        held = [[cluster.value(reserve, (sale.show, sale.zones[0], "held-%d" % n, "10 min")) for n in range(3)] for sale in (locked_sale, third)]
        writer.execute("BEGIN")
        writer.execute("SELECT usher.append('booking-' || %s, 'note.made', '{}')", (held[0][0],))
        for sale in (open_sale, locked_sale, third):
            cluster.rows("SELECT boxoffice.cancel_event(%s)", (sale.event,))
        status = "SELECT count(*) FROM boxoffice.bookings WHERE booking_id = ANY (%s::uuid[]) AND status = %s"
        settled = "SELECT settled FROM boxoffice.shows WHERE show_id = %s"
        lib.wait_until(lambda: cluster.value(status, (held[0] + held[1], "cancelled")) == 5, 30, "all but the locked one to be cancelled", 0.1)
        lib.wait_until(lambda: cluster.value(settled, (third.show,)), 30, "the third show to be settled", 0.1)
        ensure(not cluster.value(settled, (open_sale.show,)) and not cluster.value(settled, (locked_sale.show,)), "a show was settled too early")
        other_sale = Sale(cluster, options.seed)
        due = cluster.value(reserve, (other_sale.show, other_sale.zones[0], "due", "1 s"))
        lib.wait_until(lambda: cluster.value(status, ([due], "expired")) == 1, 30, "what is due to expire", 0.1)
        seller.execute("COMMIT")
        writer.execute("ROLLBACK")
    lib.wait_until(lambda: cluster.value("SELECT bool_and(settled) FROM boxoffice.shows"), 30, "all cancelled shows to be settled", 0.1)
    ensure(cluster.value("SELECT count(*) FROM boxoffice.bookings WHERE show_id = ANY (%s) AND status <> 'cancelled'",
                         ([open_sale.show, locked_sale.show, third.show],)) == 0, "a booking of a cancelled show is left")
    ensure_empty(cluster.rows("SELECT invariant, detail FROM boxoffice.check('20 s') WHERE NOT ok"), "boxoffice.check()")


def test(options, *parts):
    cluster = lib.Cluster(lib.work_directory()).initdb().start().create()
    for part in parts:
        part(cluster, options)
    ensure_empty(cluster.log_crashes(), "server log")
    cluster.check()


if __name__ == "__main__":
    options = lib.arguments("The box office beside a model.", calls=(int, 100000, "how many calls the sessions make"))
    lib.main([("what a sale tells its clients has a serial order", lambda: test(options, run_model)),
              ("no seat is sold twice, no group that fits is refused; no deadlock", lambda: test(options, run_seats, run_reversed, run_stuck, run_unsettled))], 1500)
