#!/usr/bin/env python3
"""examples/sale/sale.py: a sale over HTTP: an event is made, and people ask for its places at the same time.

Tokens come from standard input, one a line: the first is of an organiser, the second of the box
office, which says what was paid, the others are of customers. Prints the show's id
first, so that one can watch (--page), then who got what.
"""
import argparse
import collections
import http.client
import json
import random
import sys
import threading
import time
import urllib.parse
import uuid

BOX = "/v1/boxoffice/"


class Person:
    def __init__(self, address, token):
        self.connection = http.client.HTTPConnection(address, timeout=15)
        self.token = token

    def ask(self, method, path, body=None, **headers):
        """(status, the reply's JSON)"""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers["Authorization"] = "Bearer " + self.token
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.connection.request(method, BOX + path, json.dumps(body) if body is not None else None, headers)
        reply = self.connection.getresponse()
        return reply.status, json.loads(reply.read())

    def make(self, method, path, body):
        status, reply = self.ask(method, path, body)
        if status not in (200, 201):
            sys.exit("%s %s: %s" % (method, path, reply.get("detail")))
        return reply


def open_sale(organiser):
    event = organiser.make("POST", "events", {"title": "Evening concert", "currency": "EUR", "venue": "Town hall", "user_limit": 40})
    show = organiser.make("POST", "events/%d/shows" % event["event"], {"time_zone": "Europe/Berlin", "starts_local": "2035-05-01T20:00:00"})
    zones = [organiser.make("POST", "shows/%d/zones" % show["show"], {
        "name": name, "capacity": capacity, "prices": [{"name": "adult", "unit_price": price, "tax_bp": 700}]})
        for name, capacity, price in (("stalls", 300, 4500), ("balcony", 120, 3000))]
    organiser.make("PUT", "events/%d" % event["event"], {"status": "published"})
    return show["show"], [zone["zone"] for zone in zones]


def customer(person, box_office, show, zones, until, seen, lock):
    """Asks for places, pays for most of them, and thinks again about some."""
    while time.monotonic() < until:
        body = {"show": show, "zone": random.choice(zones), "quantity": random.randint(1, 4)}
        began = time.monotonic()
        status, reply = person.ask("POST", "bookings/reserve", body, Idempotency_Key=str(uuid.uuid4()))
        taken = time.monotonic() - began
        what = "held" if status == 201 else reply["type"].rpartition("/")[2]
        if status == 201 and random.random() < 0.8:
            box_office.ask("POST", "bookings/%s/confirm" % reply["booking"], {"payment_ref": str(uuid.uuid4())})
        elif status == 201 and random.random() < 0.5:
            person.ask("POST", "bookings/%s/cancel" % reply["booking"], {"reason": "thought again"})
        with lock:
            seen[what].append(taken)
        if what == "user-limit":
            return
        time.sleep(random.expovariate(4))


def main():
    parser = argparse.ArgumentParser(description="A sale over HTTP.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--page", default="", help="address of the page of the live log, with its token")
    options = parser.parse_args()
    address = urllib.parse.urlsplit(options.url).netloc
    organiser, box_office, *people = [line.strip() for line in sys.stdin if line.strip()]
    show, zones = open_sale(Person(address, organiser))
    print("the sale, live, in a browser: %s&show=%d" % (options.page, show) if options.page else "show %d" % show, flush=True)
    seen, lock, until = collections.defaultdict(list), threading.Lock(), time.monotonic() + options.seconds
    threads = [threading.Thread(target=customer, args=(Person(address, person), Person(address, box_office), show, zones, until, seen, lock))
               for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for what, times in sorted(seen.items()):
        times.sort()
        print("%6d %-12s median %.1f ms" % (len(times), what, times[len(times) // 2] * 1000))
    left = Person(address, organiser).ask("GET", "shows/%d/availability" % show)[1]["zones"]
    print("places left: " + ", ".join("%d of %d in the %s" % (zone["free"], zone["capacity"], zone["name"]) for zone in left))


if __name__ == "__main__":
    main()
