#!/usr/bin/python3
# test/chaos/once.py: requests with idempotency keys are repeated through rollbacks and kill -9; each is carried out once.
#
# Clients take requests from one list, several of them the same one at a time, and repeat each until they have its response. The
# work is a row of a table without a unique key, an event, and a response that no other attempt would give. A request is carried
# out twice if it has two rows or two responses, and lost if it has none.
import random
import time

import psycopg2

import lib
import load
from lib import ensure, ensure_empty, note

CLIENTS = 12
REQUESTS = 150          # in a round; each is made by two clients
KINDS = ("postmaster", "backend")


class Client:
    def __init__(self, cluster, number, requests):
        self.cluster, self.number, self.requests = cluster, number, requests
        self.connection = None
        self.responses = []         # (request, response, fresh)
        self.attempts = 0

    def run(self):
        for request in self.requests:
            while not self.made(request):
                time.sleep(random.uniform(0, 0.01))

    def made(self, request):
        """One attempt; whether it ended with a response."""
        try:
            if self.connection is None or self.connection.closed:
                self.connection = self.cluster.connect(name="client")
                self.connection.autocommit = False
            return self.attempt(self.connection.cursor(), request)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            if self.connection is not None:
                self.connection.close()
                self.connection = None
        except psycopg2.Error as error:
            if error.pgcode != "US027":
                raise
            self.leave()
        return False

    def leave(self):
        """Roll back; the server may be gone by now."""
        try:
            self.connection.rollback()
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            self.connection.close()
            self.connection = None

    def attempt(self, cursor, request):
        self.attempts += 1
        mine = "%d.%d" % (self.number, self.attempts)
        cursor.execute("SELECT fresh, response #>> '{}' FROM usher.once(%s, %s, wait => %s)",
                       (request, request.encode(), random.random() < 0.7))
        fresh, response = cursor.fetchone()
        if fresh:
            self.work(cursor, request, mine)
            if random.random() < 0.2:
                self.connection.rollback()
                return False
        self.connection.commit()
        self.responses.append((request, mine if fresh else response, fresh))
        return True

    @staticmethod
    def work(cursor, request, mine):
        if random.random() < 0.3:
            cursor.execute("SAVEPOINT s; INSERT INTO work VALUES ('none', 'none')")
            cursor.execute("SELECT usher.once_done(%s, '0')", (request,))
            cursor.execute("ROLLBACK TO s")
        cursor.execute("INSERT INTO work VALUES (%s, %s)", (request, mine))
        cursor.execute("SELECT usher.append('order-' || %s, 'order.placed')", (request,))
        cursor.execute("SELECT usher.once_done(%s, to_jsonb(%s::text))", (request, mine))


def shuffled(names):
    names = list(names)
    random.shuffle(names)
    return names


def one_round(cluster, number, kind):
    names = ["%d-%d" % (number, n) for n in range(REQUESTS)]
    hands = [[] for _ in range(CLIENTS)]
    for twice in (shuffled(names), shuffled(names)):
        for at, name in enumerate(twice):
            hands[at % CLIENTS].append(name)
    clients = [Client(cluster, n, hand) for n, hand in enumerate(hands)]
    threads = [load.thread(client.run) for client in clients]
    crashes = 0
    while crashes < 2:
        answered = sum(len(client.responses) for client in clients)
        lib.wait_until(lambda: sum(len(client.responses) for client in clients) > answered + REQUESTS // 3, 30, "responses")
        if kind == "backend":
            cluster.kill9_backend(random.choice(cluster.rows(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'client'"))[0])
        else:
            cluster.kill9()
            cluster.start()
        crashes += 1
    ensure(load.join(threads, 60), "a client did not come to its end")
    ensure(sum(len(client.responses) for client in clients) == 2 * REQUESTS, "a client was refused")
    return clients


def findings(cluster, clients):
    """What does not fit: responses that clients were given, rows of work, events."""
    work = {}
    for request, mine in cluster.rows("SELECT request, attempt FROM work"):
        if request in work:
            yield "%s was carried out twice" % request
        work[request] = mine
    stored = dict(cluster.rows("SELECT key, response #>> '{}' FROM usher.idempotency_keys WHERE done"))
    events = dict(cluster.rows("SELECT stream, version FROM usher.streams"))
    for client in clients:
        for request, response, fresh in client.responses:
            if not response == work.get(request) == stored.get(request):
                yield "%s (fresh: %s) was answered %s, done by %s, stored is %s" % (
                    request, fresh, response, work.get(request), stored.get(request))
            if events.get("order-" + request) != 1:
                yield "%s has %s events" % (request, events.get("order-" + request))


def run(rounds):
    cluster = lib.Cluster(lib.work_directory()).initdb().start().create()
    try:
        cluster.rows("CREATE TABLE work (request text NOT NULL, attempt text NOT NULL)")
        clients = []
        for number in range(rounds):
            clients += one_round(cluster, number, KINDS[number % len(KINDS)])
            ensure_empty(findings(cluster, clients), "requests")
        ensure(cluster.value("SELECT count(*) FROM work") == rounds * REQUESTS, "not every request was carried out")
        cluster.check()
        ensure_empty(cluster.log_crashes(), "server log")
        note("%d requests, %d attempts, %d crashes" % (rounds * REQUESTS, sum(client.attempts for client in clients), rounds * 2))
    finally:
        cluster.destroy()


def main():
    options = lib.arguments("Idempotency keys through crashes.")
    lib.main([("once", lambda: run(2 if options.short else 10))], 120 if options.short else 600)


if __name__ == "__main__":
    main()
