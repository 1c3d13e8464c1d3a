#!/usr/bin/python3
"""test/integration/gateway_commit.py: commits that fail behind the rows of a call.

Events are written, and much else can go wrong, when a transaction commits: then the rows of the call are with usherd already, and the
error comes behind them. src/commit_fault.c makes it happen when the test wants it. Whoever asked for something that was then not
written is answered 5xx; nothing of it is there; and the same request works as soon as commits do, also with its Idempotency-Key.
"""
import contextlib
import json
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
from lib import ensure      # noqa: E402

BOX = "/v1/boxoffice/"
# A server without room, for all alike; a statement that was cancelled, which may be one request's fault; an error without a name.
STATES = {"53100": (503, "out-of-resources"), "57014": (503, "timeout"), "F0001": (500, "internal")}
TOGETHER = 8
CURSORS = "(SELECT subscription, partition, position, lease, delivered_up_to, parked_keys, held_keys FROM usher.subscription_status)"
# What a write of usherd may change; without what housekeeping changes by itself.
TABLES = ("usher.log", "usher.streams", "usher.idempotency_keys", "usher.parked_keys", "usher.dead_letters", "usher.replays", "usher.tickets",
          CURSORS, "boxoffice.bookings", "boxoffice.booking_items", "boxoffice.events", "boxoffice.shows", "boxoffice.zones",
          "boxoffice.price_types", "boxoffice.seats", "boxoffice.categories")


def build(directory):
    program = os.path.join(directory, "commit_fault.so")
    include = subprocess.run(["pg_config", "--includedir-server"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    subprocess.run(["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-fPIC", "-shared", "-I" + include, "-o", program,
                    os.path.join(lib.ROOT, "test/integration/src/commit_fault.c")], check=True)
    return program


class Commits(gateway_lib.Api):
    def __init__(self):
        library = build(lib.work_directory())
        # one connection of a kind: what comes while it is busy shares a commit
        super().__init__({"shared_preload_libraries": library + ",pg_usher"}, write_connections=1, reserve_connections=1,
                         queue_age_seconds=30)
        self.session = self.cluster.connect(settings={"jit": "off"})
        self.clerk = self.daemon.client(user="clerk", scopes="", roles=["box-office"])
        self.organiser = self.daemon.client(user="anna", scopes="", roles=["organiser"])
        self.alice = self.daemon.client(user="alice", scopes="", roles=["customer"])

    # faults

    @contextlib.contextmanager
    def file(self, name, text=""):
        path = os.path.join(self.cluster.data, name)
        with open(path + ".new", "w") as file:
            file.write(text)
        os.chmod(path + ".new", 0o644)
        os.rename(path + ".new", path)
        try:
            yield
        finally:
            os.unlink(path)

    def failing(self, state):
        return self.file("commit_fault", state)

    def failures(self):
        return self.cluster.log_count("a commit that fails")

    def everything(self):
        cursor, found = self.session.cursor(), {}
        for table in TABLES:
            cursor.execute("SELECT t::text FROM %s t ORDER BY 1" % table)
            found[table] = cursor.fetchall()
        return found

    def refused(self, reply, state):
        self.problem(reply, *STATES[state])

    # one request, alone

    def refused_then_done(self, request, status, states=STATES):
        """request(): the same each time."""
        before, failures = self.everything(), self.failures()
        for number, state in enumerate(states, 1):
            with self.failing(state):
                self.refused(request(), state)
            ensure(self.failures() == failures + number, "%d commits failed instead of %d" % (self.failures() - failures, number))
            after = self.everything()
            lib.ensure_empty([(table, before[table], after[table]) for table in TABLES if after[table] != before[table]], "left of what was refused")
        reply = request()
        self.fine(reply, status)
        ensure("idempotency-replayed" not in reply.headers, "it was done before: %s" % reply.pairs)
        ensure(self.everything() != before, "nothing was done")
        return reply

    def appends(self):
        one = {"type": "order.placed", "data": {"n": 1}}
        self.refused_then_done(lambda: self.c.append("order-1"), 201)
        self.refused_then_done(lambda: self.c.append("order-1", Idempotency_Key="a-1", Expected_Version="1"), 201)
        self.refused_then_done(lambda: self.c.post("/v1/streams/order-2/events", {"events": [one, one]}), 201)
        self.refused_then_done(lambda: self.c.post("/v1/transactions", {"streams": [{"stream": "order-%d" % n, "events": [one]} for n in (3, 4)]}), 201)
        self.refused_then_done(lambda: self.c.post("/v1/events", dict(one, topic="orders", key="k")), 201)
        cloud = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.placed", "data": {}}
        self.refused_then_done(lambda: self.c.request("POST", "/v1/events", json.dumps(cloud).encode(),
                                                      {"Content-Type": "application/cloudevents+json"}), 201)

    def leases(self):
        self.cluster.rows("SELECT usher.subscribe('work', 'work.*', options => '{\"max_attempts\": 1}')")
        for n in range(6):
            self.fine(self.c.append("work-%d" % n, kind="work.todo"), 201)

        def got(number):
            page = self.poll(self.c, "work", wait=5, max=number)
            ensure(len(page["items"]) == number, "%d events were leased, not %d" % (len(page["items"]), number))
            return {"lease": page["lease"]}, page["items"][0]["event"]["position"]
        path = "/v1/subscriptions/work/"
        lease, position = got(1)
        self.refused_then_done(lambda: self.c.post(path + "ack", lease), 204)
        self.problem(self.c.post(path + "ack", lease), 409, "lease-lost")
        lease, second = got(1)
        ensure(second > position, "what was acknowledged came again")
        self.refused_then_done(lambda: self.c.post(path + "ack", lease, Idempotency_Key="ack"), 204)
        lease, position = got(2)
        self.refused_then_done(lambda: self.c.post(path + "nack", dict(lease, position=position, error="no"), Idempotency_Key="nack"), 204)
        # a poll that fails acknowledges nothing and takes nothing: the lease is what it was, and the same poll works, with and without a key
        for key in ("poll", None):
            lease, position = got(1)
            poll = dict(member="m", ack=lease["lease"], max=1)
            page = self.refused_then_done(lambda: self.c.post(path + "poll", poll, **({"Idempotency_Key": key} if key else {})), 200).json()
            ensure([(item["event"]["position"] > position, item["attempt"]) for item in page["items"]] == [(True, 1)], "%s behind %d" % (page, position))
            self.fine(self.c.append("work-%s" % key, kind="work.todo"), 201)
            lease, position = {"lease": page["lease"]}, page["items"][0]["event"]["position"]
        with self.failing("53100"):
            self.refused(self.c.post(path + "poll", dict(member="m", ack=lease["lease"])), "53100")
        self.refused_then_done(lambda: self.c.post(path + "ack", lease), 204)
        ensure(got(1)[1] > position, "what was acknowledged came again")
        # without an acknowledgement a poll gives up what its member has; then it comes again, no more often tried
        self.cluster.rows("SELECT usher.subscribe('again', 'again.*', options => '{\"max_attempts\": 3, \"backoff\": \"10 ms\"}')")
        self.fine(self.c.append("again-1", kind="again.todo"), 201)
        path = "/v1/subscriptions/again/"

        def item(**body):
            page = self.poll(self.c, "again", wait=5, **body)
            ensure(len(page["items"]) == 1, "%s" % page)
            return page["lease"], page["items"][0]["event"]["position"], page["items"][0]["attempt"]
        lease, position, attempt = item()
        self.fine(self.c.post(path + "nack", {"lease": lease, "position": position, "error": "no"}), 204)
        failures = self.failures()
        with self.failing("F0001"):
            lib.wait_until(lambda: self.c.post(path + "poll", {"member": "m"}).status == 500, 10, "the retry to be due")
            for _ in range(3):
                self.refused(self.c.post(path + "poll", {"member": "m"}), "F0001")
        ensure(self.failures() >= failures + 4, "polls of a retry commit nothing")
        ensure(item()[1:] == (position, attempt + 1), "an attempt was counted that nobody has seen")
        self.refused_then_done(lambda: self.c.post("/v1/dead-letters/replay", {"subscription": "work"}), 202)

    def bookings(self):
        show, zone = self.sale()
        self.refused_then_done(lambda: self.reserve(show, zone), 201)
        booking = self.refused_then_done(lambda: self.reserve(show, zone, Idempotency_Key="r-1"), 201).json()["booking"]
        path = BOX + "bookings/%s/" % booking
        self.refused_then_done(lambda: self.alice.post(path + "extend", {"seconds": 60}), 200)
        self.refused_then_done(lambda: self.alice.post(path + "begin-payment", {"provider_ref": "p"}), 200)
        self.refused_then_done(lambda: self.clerk.post(path + "confirm", {"payment_ref": "p"}), 200)
        self.refused_then_done(lambda: self.alice.post(path + "cancel", {}), 200)
        ensure(self.free(show) == [99], "%s places are free" % self.free(show))

    def sales(self):
        """What an organiser does, each once."""
        once = list(STATES)[:1]

        def done(method, path, body=None, status=200):
            return self.refused_then_done(lambda: self.organiser.request(method, BOX + path, body), status, once).json()
        done("POST", "categories", {"slug": "opera", "name": "Opera"}, 201)
        event = done("POST", "events", {"title": "Aida", "currency": "EUR"}, 201)["event"]
        show = done("POST", "events/%d/shows" % event, {"time_zone": "UTC", "starts_local": "2035-01-01T19:00:00"}, 201)["show"]
        zone = done("POST", "shows/%d/zones" % show, {"name": "floor", "capacity": 5, "prices": [{"name": "one", "unit_price": 100}]}, 201)["zone"]
        done("PUT", "zones/%d" % zone, {"capacity": 6})
        done("POST", "zones/%d/prices" % zone, {"name": "two", "unit_price": 200}, 201)
        seats = done("POST", "shows/%d/zones" % show, {"name": "stalls", "numbered": True, "rows": [{"row": "A", "rank": 1, "first": 1, "last": 3}]}, 201)["zone"]
        done("POST", "zones/%d/rows" % seats, {"row": "B", "rank": 2, "first": 1, "last": 3}, 201)
        done("PUT", "events/%d" % event, {"status": "published"})
        done("PUT", "shows/%d" % show, {"starts_local": "2035-01-02T19:00:00"})
        done("DELETE", "shows/%d" % show)
        done("DELETE", "events/%d" % event)

    # several that share a commit

    def together(self, request, meanwhile, run):
        """The replies to request(client, 0, run), and to those for 1 … TOGETHER, which wait while its commit does; then meanwhile() is called."""
        replies = [None] * (TOGETHER + 1)

        def ask(n):
            # a user whose reservation has raised an error lately would travel alone
            with self.daemon.client(user="user-%d-%d" % (run, n), roles=["customer"]) as client:
                replies[n] = request(client, n, run)

        def in_flight():
            metrics = self.daemon.admin().get("/metrics").body.decode()
            # that for the metrics is one of them
            return int(next(line for line in metrics.splitlines() if line.startswith("usherd_requests_in_flight ")).split()[1])
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(TOGETHER + 1)]
        with self.file("commit_hold"):
            threads[0].start()
            lib.wait_until(lambda: self.cluster.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'usherd%%'"
                                                      " AND state = 'active' AND backend_xid IS NOT NULL") == 1, 10, "the first to be at its commit")
            for thread in threads[1:]:
                thread.start()
            lib.wait_until(lambda: in_flight() == TOGETHER + 2, 10, "all to be with usherd")
            ensure(replies == [None] * (TOGETHER + 1), "answered before the commit: %s" % replies)
        meanwhile()
        for thread in threads:
            thread.join(30)
        return replies

    def shared(self, request):
        """One commit for all but the first. request(client, n, run): another one for each run."""
        # all are answered by the one error of the server, or each by its own: the group is halved until it is known whose fault it is
        for run, (state, errors) in enumerate((("53100", 2), ("57014", 2 * TOGETHER), ("F0001", 2 * TOGETHER))):
            before, failures = self.everything(), self.failures()
            with self.failing(state):
                for reply in self.together(request, lambda: None, run):
                    self.refused(reply, state)
            ensure(self.failures() - failures == errors, "%d commits failed with %s" % (self.failures() - failures, state))
            ensure(self.everything() == before, "something is left of what was refused with %s" % state)
            failures = self.failures()
            for reply in self.together(request, lambda: None, run):
                self.fine(reply, 201)
                ensure("idempotency-replayed" not in reply.headers, "%s after %s: %s" % (reply, state, reply.headers))
            ensure(self.failures() == failures, "commits fail without a reason")
        # what is nobody's fault and soon over is tried again, and nobody is told
        failures = self.failures()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.failing("40001"))

            def meanwhile():
                lib.wait_until(lambda: self.failures() > failures + 2, 10, "it to be tried again", pause=0.001)
                stack.close()
            replies = self.together(request, meanwhile, 9)
        for reply in replies:
            self.fine(reply, 201)
        return replies

    def shared_appends(self):
        def request(client, n, run):
            # a type that has raised errors lately would travel alone
            return client.append("shared-%d" % n, "shared.r%d.n%d" % (run, n), data={"n": n, "run": run}, **({"Idempotency_Key": "s-%d-%d" % (run, n)} if n % 2 else {}))
        replies = self.shared(request)
        for n, reply in enumerate(replies):
            found = self.cluster.rows("SELECT position, version FROM usher.events WHERE stream = %s AND (data ->> 'run')::int = 9", ("shared-%d" % n,))
            ensure(found == [(reply.json()["position"], 4)], "%s, and in the log is %s" % (reply, found))

    def shared_bookings(self):
        show, zone = self.sale()
        replies = self.shared(lambda client, n, run: self.reserve(show, zone, client, **({"Idempotency_Key": "b-%d-%d" % (run, n)} if n % 2 else {})))
        ensure(self.free(show) == [100 - 4 * (TOGETHER + 1)], "%s places are free" % self.free(show))
        for reply in replies:
            found = self.cluster.rows("SELECT position FROM usher.events WHERE stream = 'booking-' || %s", (reply.json()["booking"],))
            # told is the last position of the commit
            ensure(len(found) == 1 and found[0][0] <= int(reply.headers["usher-position"]) < found[0][0] + TOGETHER,
                   "%s, and in the log is %s" % (reply.pairs, found))

    def accused(self):
        """An error that names the one whose it is: that one goes again alone, all others together."""
        show, zone = self.sale()
        for statement in ("CREATE SEQUENCE public.raised", """CREATE FUNCTION public.accuse(tenant text, user_id text, show bigint, token text)
                RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
                BEGIN
                    IF user_id = 'user-20-3' THEN
                        PERFORM nextval('public.raised');
                        RAISE 'not this one';
                    END IF;
                    RETURN NULL;
                END $$""", "ALTER DATABASE postgres SET usher.before_reserve = 'public.accuse'"):
            self.cluster.rows(statement)
        self.daemon.stop()
        self.daemon.start()
        replies = self.together(lambda client, n, run: self.reserve(show, zone, client), lambda: None, 20)
        self.cluster.rows("ALTER DATABASE postgres RESET usher.before_reserve")
        self.daemon.stop()
        self.daemon.start()
        ensure([reply.status for reply in replies] == [422 if n == 3 else 201 for n in range(TOGETHER + 1)], "%s" % replies)
        raised = self.cluster.value("SELECT last_value FROM public.raised")
        ensure(raised == 2, "it raised its error %d times" % raised)

    # box office

    def sale(self):
        event = self.cluster.value("SELECT boxoffice.create_event('Concert', 'EUR')")
        show = self.cluster.value("SELECT boxoffice.create_show(%s, 'UTC', '2099-01-01')", (event,))
        zone = self.cluster.value("SELECT boxoffice.create_zone(%s, 'floor', 100)", (show,))
        self.cluster.rows("SELECT boxoffice.create_price_type(%s, 'adult', 1000)", (zone,))
        self.cluster.rows("SELECT boxoffice.publish_event(%s)", (event,))
        return show, zone

    def reserve(self, show, zone, client=None, **headers):
        return (client or self.alice).post(BOX + "bookings/reserve", {"show": show, "zone": zone, "quantity": 1, "ttl": 1700}, **headers)

    def free(self, show):
        return [zone["free"] for zone in self.fine(self.alice.get(BOX + "shows/%d/availability" % show))["zones"]]

    def ends(self):
        lib.ensure_empty(self.cluster.rows("SELECT invariant, detail FROM boxoffice.check('10 s') WHERE NOT ok"), "boxoffice.check()")
        bad = self.cluster.rows("SELECT invariant, detail FROM usher.check() WHERE NOT ok AND invariant !~ 'stands first in shared_preload_libraries'")
        lib.ensure_empty(bad, "usher.check()")
        self.daemon.stop()
        lib.ensure_empty(self.cluster.log_crashes(), "server log")


def main():
    lib.arguments("Commits that fail behind the rows of a call.")
    test = Commits()
    lib.main([("appends", test.appends), ("leases", test.leases), ("bookings", test.bookings), ("what is on sale", test.sales),
              ("appends that share a commit", test.shared_appends), ("reservations that share a commit", test.shared_bookings),
              ("one of them that raises an error", test.accused),
              ("the end", test.ends)], 60)


if __name__ == "__main__":
    main()
