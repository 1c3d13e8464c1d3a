#!/usr/bin/python3
"""test/integration/gateway_leases.py: many who wait for one subscription, and writes that are repeated with their key.

Acknowledging, refusing, prolonging and replaying are done once for each Idempotency-Key, as appending is.
"""
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
from lib import ensure      # noqa: E402


class Leases(gateway_lib.Api):
    def crowd_of_polls(self):
        """Who waits for leases that are given back elsewhere: one looks for all, and all get what there is."""
        self.cluster.rows("SELECT usher.subscribe('crowd', 'crowd.*')")
        for n in range(40):
            self.fine(self.c.append("crowd-%d" % n, kind="crowd.made"), 201)
        elsewhere = self.cluster.connect()
        elsewhere.autocommit = True
        with elsewhere.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM usher.poll('crowd', 1000, '5 s')")
            ensure(cursor.fetchone()[0] == 40, "not all are leased elsewhere")
        got = []

        def wait(number):
            with self.daemon.client() as client:
                got.append((self.poll(client, "crowd", member="m%d" % number, wait=20, max=5)["items"], time.monotonic()))
        calls = "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = 'gateway_poll'"
        threads = [threading.Thread(target=wait, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        before = self.cluster.value(calls)
        time.sleep(4)
        looked = self.cluster.value(calls) - before
        ensure(2 <= looked <= 8, "4 polls that wait looked %d times in 4 seconds" % looked)
        elsewhere.close()
        closed = time.monotonic()
        for thread in threads:
            thread.join(30)
        ensure(len(got) == 4 and all(items for items, _ in got), "%s" % [len(items) for items, _ in got])
        ensure(max(at for _, at in got) - closed < 4, "the last was woken after %.1f s" % (max(at for _, at in got) - closed))

    def twice(self, path, body, status, key):
        """The same request again has the same outcome, and says so; another request with its key is refused."""
        first = self.c.post(path, body, Idempotency_Key=key)
        ensure(first.status == status and "idempotency-replayed" not in first.headers, "%s: %s" % (path, first))
        again = self.c.post(path, body, Idempotency_Key=key)
        ensure(again.status == status and again.body == first.body and again.headers.get("idempotency-replayed") == "true",
               "%s again: %s %s" % (path, again, again.headers))
        other = json.dumps(body).encode() + b" "
        self.problem(self.c.post(path, other, Idempotency_Key=key, Content_Type="application/json"), 422, "idempotency-conflict")
        self.problem(self.c.append("keys-0", Idempotency_Key=key), 422, "idempotency-conflict")
        return first

    def keys_of_leases(self):
        """Acknowledging, refusing, prolonging and replaying, each once for its key."""
        self.cluster.rows("SELECT usher.subscribe('keyed', 'keyed.*', options => '{\"max_attempts\": 1}')")
        for n in range(4):
            self.fine(self.c.append("keyed-%d" % n, kind="keyed.made"), 201)
        got = self.poll(self.c, "keyed", wait=5, max=3)
        lease = {"lease": got["lease"]}
        self.twice("/v1/subscriptions/keyed/extend", dict(lease, seconds=60), 204, "extend-1")
        position = got["items"][0]["event"]["position"]
        self.twice("/v1/subscriptions/keyed/nack", dict(lease, position=position, error="no"), 204, "nack-1")
        self.twice("/v1/subscriptions/keyed/ack", lease, 204, "ack-1")
        self.problem(self.c.post("/v1/subscriptions/keyed/ack", lease), 409, "lease-lost")
        self.problem(self.c.post("/v1/subscriptions/keyed/ack", lease, Idempotency_Key="ack-2"), 409, "lease-lost")
        got = self.poll(self.c, "keyed", wait=5)
        body = {"member": "m", "ack": got["lease"]}
        for _ in range(2):
            reply = self.c.post("/v1/subscriptions/keyed/poll", body, Idempotency_Key="poll-1")
            ensure(self.fine(reply) == {"lease": None, "items": []}, "a poll that acknowledges: %s" % reply)
        self.problem(self.c.post("/v1/subscriptions/keyed/poll", body), 409, "lease-lost")
        # what was refused is not kept: the key is free for the request that is right
        self.fine(self.c.append("keyed-9", kind="keyed.made"), 201)
        got = self.poll(self.c, "keyed", wait=5)
        self.fine(self.c.post("/v1/subscriptions/keyed/ack", {"lease": got["lease"]}, Idempotency_Key="ack-2"), 204)
        first = self.twice("/v1/dead-letters/replay", {"subscription": "keyed"}, 202, "replay-1")
        ensure(first.json()["replay"] > 0, "%s" % first)
        with self.daemon.client(user="another") as other:
            ensure(other.post("/v1/dead-letters/replay", {"subscription": "keyed"}, Idempotency_Key="replay-1").json() != first.json(),
                   "another user's key")
        self.problem(self.c.post("/v1/subscriptions/keyed/ack", lease, Idempotency_Key="k" * 256), 400, "invalid-header")

    def busy_key(self):
        """While another request with the key is at work the second waits, for 5 seconds."""
        path, body = "/v1/dead-letters/replay", {"subscription": "keyed"}
        with self.cluster.connect() as connection, connection.cursor() as cursor:
            connection.autocommit = False
            cursor.execute("SELECT fresh FROM usher.gateway_claim('default', 'tester', 'busy-1', '\\x00')")
            began = time.monotonic()
            self.problem(self.c.post(path, body, Idempotency_Key="busy-1"), 409, "request-in-progress")
            ensure(4 < time.monotonic() - began < 8, "after %.1f s" % (time.monotonic() - began))
            timer = threading.Timer(1, connection.rollback)
            timer.start()
            began = time.monotonic()
            self.fine(self.c.post(path, body, Idempotency_Key="busy-1"), 202)
            ensure(0.5 < time.monotonic() - began < 4, "after %.1f s" % (time.monotonic() - began))
            timer.join()

    def ends(self):
        self.daemon.stop()
        lib.ensure_empty(self.cluster.log_crashes(), "server log")
        self.cluster.check()


def main():
    lib.arguments("Many who wait for one subscription, and writes that are repeated with their key.")
    test = Leases()
    lib.main([("many polls that wait", test.crowd_of_polls), ("keys of leases and replays", test.keys_of_leases),
              ("a key that is busy", test.busy_key), ("the end", test.ends)], 60)


if __name__ == "__main__":
    main()
