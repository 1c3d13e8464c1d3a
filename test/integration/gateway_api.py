#!/usr/bin/python3
"""test/integration/gateway_api.py: what the routes of the HTTP API promise.

Streams, transactions, publishing in all forms (also CloudEvents), the log and its long poll, reading what one wrote,
subscriptions, lists, dead letters, the description and its page. On a cluster and a usherd of its own; two tenants.
Prints a TAP line for each rule.
"""
import base64
import json
import os
import re
import sys
import threading
import time
import urllib.parse
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
import usherd   # noqa: E402
from lib import ensure      # noqa: E402

GATEWAY = os.path.join(lib.ROOT, "gateway")


class Api(gateway_lib.Api):
    # streams

    def streams(self):
        reply = self.c.append("order-1", data={"n": 1})
        first = self.fine(reply, 201)
        ensure(first["events"][0]["version"] == 1 and first["events"][0]["stream"] == "order-1", "%s" % first)
        ensure(reply.headers["usher-position"] == str(first["position"]) == str(first["events"][0]["position"]), "%s" % reply.pairs)
        more = self.fine(self.c.post("/v1/streams/order-1/events", {"events": [{"type": "a.b"}, {"type": "a.c", "metadata": {"x": 1}}]}), 201)
        ensure([e["version"] for e in more["events"]] == [2, 3], "%s" % more)
        page = self.fine(self.c.get("/v1/streams/order-1/events", Usher_After=str(more["position"])))
        ensure([e["version"] for e in page["items"]] == [1, 2, 3] and page["next"] == 4 and not page["has_more"], "%s" % page)
        ensure(page["items"][0]["data"] == {"n": 1} and page["items"][2]["metadata"]["x"] == 1, "%s" % page)
        ensure(page["items"][0]["metadata"]["actor"]["id"] == "tester", "actor: %s" % page["items"][0]["metadata"])
        page = self.fine(self.c.get("/v1/streams/order-1/events?from=2&max=1"))
        ensure([e["version"] for e in page["items"]] == [2] and page["next"] == 3 and page["has_more"], "%s" % page)
        page = self.fine(self.c.get("/v1/streams/order-1/events?direction=backward&max=2"))
        ensure([e["version"] for e in page["items"]] == [3, 2] and page["next"] == 1 and page["has_more"], "%s" % page)
        page = self.fine(self.c.get("/v1/streams/order-1/events?direction=backward&from=1"))
        ensure([e["version"] for e in page["items"]] == [1] and page["next"] == 0 and not page["has_more"], "%s" % page)
        ensure(self.fine(self.c.get("/v1/streams/nothing-1/events")) == {"items": [], "next": 1, "has_more": False}, "an unknown stream")
        ensure(self.fine(self.acme.get("/v1/streams/order-1/events"))["items"] == [], "another tenant's stream is seen")
        for query in ("max=0", "max=1001", "max=x", "from=-1", "direction=up", "from=99999999999999999999"):
            self.problem(self.c.get("/v1/streams/order-1/events?" + query), 400, "invalid-parameter")

    def versions(self):
        self.fine(self.c.append("v-1", Expected_Version="0"), 201)
        problem = self.problem(self.c.append("v-1", Expected_Version="0"), 412, "wrong-expected-version")
        ensure(problem["actual_version"] == 1 and problem["code"] == "US001", "%s" % problem)
        self.fine(self.c.append("v-1", Expected_Version="-1"), 201)
        self.problem(self.c.append("v-2", Expected_Version="-1"), 412, "wrong-expected-version")
        self.problem(self.c.append("v-1", Expected_Version="x"), 400, "invalid-header")

    def atomic(self):
        """One bad event refuses all."""
        problem = self.problem(self.c.post("/v1/streams/atom-1/events", {"events": [{"type": "a"}, {"type": ""}, {"type": "c"}]}), 400,
                               "invalid-name")
        ensure(problem["errors"][0]["index"] == 1, "%s" % problem)
        problem = self.problem(self.c.post("/v1/streams/atom-1/events", [{"type": "a"}, {"kind": "b"}]), 422, "invalid-body")
        ensure(problem["errors"][0]["index"] == 1, "%s" % problem)
        ensure(self.fine(self.c.get("/v1/streams/atom-1/events"))["items"] == [], "a part was appended")
        body = {"streams": [{"stream": "t-1", "expected_version": 0, "events": [{"type": "a"}]},
                            {"stream": "t-2", "expected_version": 5, "events": [{"type": "b"}]}]}
        self.problem(self.c.post("/v1/transactions", body), 412, "wrong-expected-version")
        body["streams"][1]["expected_version"] = 0
        done = self.fine(self.c.post("/v1/transactions", body), 201)
        ensure([e["stream"] for e in done["events"]] == ["t-1", "t-2"], "%s" % done)
        ensure(done["events"][0]["position"] + 1 == done["events"][1]["position"], "%s" % done)

    def names(self):
        """A name that is not plain: percent-encoded in the path, or in the query."""
        for name in ("a b/c-1", "ü-1", "x?y&z=%-1", "..", "-", "+ +-2", "1" * 255):
            quoted = urllib.parse.quote(name, safe="")
            if name != "..":
                self.fine(self.c.append(quoted, data={"n": 1}), 201)
            self.fine(self.c.post("/v1/streams/events?stream=" + quoted, {"type": "t", "data": {"n": 2}}), 201)
            page = self.fine(self.c.get("/v1/streams/events?" + urllib.parse.urlencode({"stream": name})))
            ensure(len(page["items"]) == (1 if name == ".." else 2) and page["items"][-1]["stream"] == name, "%s: %s" % (name, page))
        self.problem(self.c.get("/v1/streams/events"), 400, "invalid-parameter")
        self.problem(self.c.append("1" * 256), 400, "invalid-name")
        self.problem(self.c.append("a%00b"), 400, "invalid-path")
        self.problem(self.c.append("a%ffb"), 400, "invalid-path")
        for text in ("'; DROP TABLE usher.tenants; --", "\\'\"$$"):
            quoted = urllib.parse.quote(text, safe="")
            self.fine(self.c.append(quoted, kind=text, data={"t": text}), 201)
            page = self.fine(self.c.get("/v1/streams/%s/events" % quoted))
            ensure(page["items"][0]["type"] == text and page["items"][0]["data"] == {"t": text}, "%s" % page)

    def bodies(self):
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", ""):
            reply = self.c.request("POST", "/v1/streams/b-1/events", b'{"type":"a"}', {"Content-Type": kind} if kind else {})
            self.problem(reply, 415, "unsupported-media-type")
        reply = self.c.request("POST", "/v1/streams/b-1/events", b'{"type":"a"}', {"Content-Type": "Application/JSON ; Charset=\"UTF-8\""})
        self.fine(reply, 201)
        reply = self.c.request("POST", "/v1/streams/b-1/events", b"x", {"Content-Type": "application/json", "Content-Encoding": "gzip"})
        self.problem(reply, 415, "unsupported-media-type")
        for body in (b"", b"{", b'{"type":"a"}x', b"\xff", b'{"type":"\\ud800"}', b"[" * 100 + b"]" * 100):
            reply = self.c.request("POST", "/v1/streams/b-1/events", body, {"Content-Type": "application/json"})
            self.problem(reply, 400, "malformed-json")
        for body in ([], {}, 1, "x", b"null", {"events": []}, {"type": 1}, {"type": "a", "data": []}, {"type": "a", "id": "x"},
                     {"type": "a", "more": 1}, [{"type": "a"}] * 1001):
            self.problem(self.c.post("/v1/streams/b-1/events", body, Content_Type="application/json"), 422, "invalid-body")
        number = b'{"type":"a","data":{"n":12345678901234567890.12345678901234567890}}'
        self.fine(self.c.request("POST", "/v1/streams/b-2/events", number, {"Content-Type": "application/json"}), 201)
        ensure(b"12345678901234567890.12345678901234567890" in self.c.get("/v1/streams/b-2/events").body, "a number lost digits")

    def replays(self):
        """Idempotency-Key: the same reply, and one event."""
        first = self.c.append("idem-1", Idempotency_Key="k1")
        second = self.c.append("idem-1", Idempotency_Key="k1")
        ensure(self.fine(first, 201) == self.fine(second, 201), "%s, then %s" % (first, second))
        ensure(second.headers.get("idempotency-replayed") == "true" and "idempotency-replayed" not in first.headers, "%s" % second.pairs)
        self.problem(self.c.append("idem-1", data={"other": 1}, Idempotency_Key="k1"), 422, "idempotency-conflict")
        self.fine(self.acme.append("idem-1", Idempotency_Key="k1"), 201)
        with self.daemon.client(user="other") as other:
            self.fine(other.append("idem-1", Idempotency_Key="k1"), 201)
        ensure(len(self.fine(self.c.get("/v1/streams/idem-1/events"))["items"]) == 2, "events of keys")
        self.problem(self.c.append("idem-1", Idempotency_Key="x" * 256), 400, "invalid-header")

    # publishing

    def last(self, reply):
        position = self.fine(reply, 201)["position"]
        page = self.fine(self.c.get("/v1/log?after=%d&max=1" % (position - 1), Usher_After=str(position)))
        ensure(page["items"][0]["position"] == position, "%s" % page)
        return page["items"][0]

    def publish(self):
        event = self.last(self.c.post("/v1/events", {"topic": "mail", "key": "alice", "type": "mail.requested", "data": {"n": 1}}))
        ensure((event["topic"], event["key"], event["type"], event["data"]) == ("mail", "alice", "mail.requested", {"n": 1}), "%s" % event)
        ensure("stream" not in event and "version" not in event, "%s" % event)
        both = self.fine(self.c.post("/v1/events", {"events": [{"topic": "a", "type": "x"}, {"topic": "b", "type": "y"}]}), 201)
        ensure([e["topic"] for e in both["events"]] == ["a", "b"], "%s" % both)
        given = str(uuid.uuid4())
        body = {"topic": "once", "type": "x", "id": given}
        ensure(self.fine(self.c.post("/v1/events", body), 201)["events"][0]["id"] == given, "the id is another")
        ensure(self.fine(self.c.post("/v1/events", body), 201)["events"][0]["id"] == given, "the repeat")
        self.problem(self.c.post("/v1/events", dict(body, type="z")), 409, "event-id-conflict")
        self.problem(self.c.post("/v1/events", {"type": "x"}), 422, "invalid-body")
        self.problem(self.c.request("POST", "/v1/events", b"x", {"Content-Type": "text/plain"}), 415, "unsupported-media-type")

    CLOUD = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.placed", "subject": "order-7",
             "time": "2026-01-31T12:34:56.5Z", "partitionkey": "k", "correlationid": "c1", "causationid": "c2", "color": "red", "size": 3,
             "position": 5, "streamversion": 6, "tenant": "acme", "data": {"total": 12}}

    def cloud(self, event, path="/v1/events"):
        return self.c.request("POST", path, json.dumps(event).encode(), {"Content-Type": "application/cloudevents+json"})

    def cloudevents(self):
        event = self.last(self.cloud(self.CLOUD))
        ensure(event["id"] == str(uuid.uuid5(uuid.NAMESPACE_URL, "/shop 7")), "the derived id is %s" % event["id"])
        ensure((event["type"], event["topic"], event["key"], event["data"]) == ("order.placed", "order.placed", "k", {"total": 12}), "%s" % event)
        kept = {k: event["metadata"].get(k) for k in ("source", "subject", "time", "correlation_id", "causation_id", "cloudevent_id",
                                                      "extensions")}
        ensure(kept == {"source": "/shop", "subject": "order-7", "time": "2026-01-31T12:34:56.5Z", "correlation_id": "c1",
                        "causation_id": "c2", "cloudevent_id": "7", "extensions": {"color": "red", "size": 3}}, "%s" % event["metadata"])
        again = self.fine(self.cloud(self.CLOUD), 201)
        ensure(again["position"] == event["position"], "a repeated CloudEvent is another event: %s" % again)
        other = self.last(self.cloud(dict(self.CLOUD, source="/other"), "/v1/events?topic=orders"))
        ensure(other["id"] != event["id"] and other["topic"] == "orders", "%s" % other)
        given = str(uuid.uuid4())
        event = self.last(self.cloud(dict(self.CLOUD, id=given)))
        ensure(event["id"] == given and "cloudevent_id" not in event["metadata"], "%s" % event)
        batch = [dict(self.CLOUD, id="b%d" % n) for n in range(3)]
        done = self.c.request("POST", "/v1/events", json.dumps(batch).encode(), {"Content-Type": "application/cloudevents-batch+json"})
        ensure(len(self.fine(done, 201)["events"]) == 3, "%s" % done)
        for wrong in ({"specversion": "0.3"}, {"id": ""}, {"source": 1}, {"time": "yesterday"}, {"Upper": "x"}, {"data_base64": "eA=="},
                      {"nested": {}}, {"subject": ""}):
            self.problem(self.cloud(dict(self.CLOUD, **wrong)), 422, "invalid-body")

    def data_of(self, attributes, **expected):
        event = self.last(self.cloud(dict({"specversion": "1.0", "source": "/d", "type": "d", "id": str(uuid.uuid4())}, **attributes)))
        ensure(event["data"] == expected["data"], "%s became %s" % (attributes, event["data"]))
        ensure(event["metadata"].get("datacontenttype") == expected.get("kind"), "%s" % event["metadata"])

    def cloudevent_data(self):
        """Data that is no object."""
        self.data_of({}, data={})
        self.data_of({"data": [1, "a"]}, data={"value": [1, "a"]})
        self.data_of({"data": "text", "datacontenttype": "text/plain"}, data={"value": "text"}, kind="text/plain")
        self.data_of({"data_base64": "AAEC", "datacontenttype": "image/png"}, data={"base64": "AAEC"}, kind="image/png")

    def binary(self, headers, body=b"", **more):
        base = {"ce-specversion": "1.0", "ce-id": str(uuid.uuid4()), "ce-source": "/bin", "ce-type": "bin.made"}
        return self.c.request("POST", "/v1/events", body, dict(base, **headers, **more))

    def cloudevents_binary(self):
        event = self.last(self.binary({"ce-subject": "Euro%20%E2%82%AC%20%F0%9F%98%80", "ce-color": '"a \\"b\\""', "ce-partitionkey": "p",
                                       "Content-Type": "application/json"}, b'{"n": 1}'))
        ensure(event["metadata"]["subject"] == "Euro \u20ac \U0001f600" and event["key"] == "p" and event["data"] == {"n": 1}, "%s" % event)
        ensure(event["metadata"]["extensions"] == {"color": 'a "b"'}, "%s" % event["metadata"])
        event = self.last(self.binary({"Content-Type": "text/plain"}, "gr\u00fcn".encode()))
        ensure(event["data"] == {"text": "gr\u00fcn"} and event["metadata"]["datacontenttype"] == "text/plain", "%s" % event)
        for length in range(1, 5):
            event = self.last(self.binary({"Content-Type": "application/octet-stream"}, bytes(range(250, 250 + length))))
            ensure(event["data"] == {"base64": base64.b64encode(bytes(range(250, 250 + length))).decode()}, "%s" % event)
        ensure(self.last(self.binary({}))["data"] == {}, "data without a body")
        for wrong in ({"ce-subject": "%zz"}, {"ce-subject": "%ff"}, {"ce-id": ""}, {"ce-specversion": "2"}, {"ce-a_b": "x"}):
            self.problem(self.binary(wrong), 422, "invalid-body")

    # the log

    def log(self):
        start = self.fine(self.c.append("log-1", kind="log.begin"), 201)["position"]
        for n in range(5):
            last = self.fine(self.c.append("log-%d" % n, kind=("log.even", "log.odd")[n % 2], data={"n": n}), 201)["position"]
        self.fine(self.acme.append("log-9", kind="log.odd"), 201)
        page = self.fine(self.c.get("/v1/log?after=%d" % start, Usher_After=str(last)))
        ensure([e["data"].get("n") for e in page["items"]] == [0, 1, 2, 3, 4], "%s" % page)
        ensure(page["next"] >= last and not page["has_more"], "%s" % page)
        page = self.fine(self.c.get("/v1/log?after=%d&types=log.odd&max=1" % start))
        ensure([e["data"]["n"] for e in page["items"]] == [1] and page["has_more"], "%s" % page)
        page = self.fine(self.c.get("/v1/log?after=%d&types=log.odd" % page["next"]))
        ensure([e["data"]["n"] for e in page["items"]] == [3] and page["next"] >= last, "%s" % page)
        page = self.fine(self.c.get("/v1/log?after=%d&types=log.o*,x.**&types=log.even" % start))
        ensure(len(page["items"]) == 5, "%s" % page)
        page = self.fine(self.c.get("/v1/log?after=%d&types=nothing.here" % start))
        ensure(page["items"] == [] and page["next"] >= last and not page["has_more"], "next is what was examined: %s" % page)
        page = self.fine(self.c.get("/v1/categories/log/events?after=%d&max=2" % start))
        ensure([e["data"]["n"] for e in page["items"]] == [0, 1] and page["has_more"] and page["next"] == page["items"][1]["position"],
               "%s" % page)
        for query in ("after=-1", "types=", "types=a,,b", "wait=56", "wait=-1", "max=0", "types=" + "x" * 256,
                      "types=" + ",".join(["a"] * 101)):
            self.problem(self.c.get("/v1/log?" + query), 400, "invalid-parameter")

    def long_poll(self):
        """Wakes for the events that it is about, and for no others."""
        start = self.fine(self.c.append("w-1", kind="wait.begin"), 201)["position"]
        replies = {}

        def wait(name, client, query):
            began = time.monotonic()
            replies[name] = (self.fine(client.get("/v1/log?after=%d&%s" % (start, query), Usher_After=str(start))), time.monotonic() - began)
            client.close()
        threads = [threading.Thread(target=wait, args=arguments) for arguments in (
            ("this", self.daemon.client(), "wait=20&types=wait.this"), ("any", self.daemon.client(), "wait=20"),
            ("never", self.daemon.client(), "wait=2&types=wait.never"), ("acme", self.daemon.client(tenant="acme"), "wait=2"))]
        for thread in threads:
            thread.start()
        time.sleep(0.7)
        ensure(not {"this", "any"} & set(replies), "somebody did not wait: %s" % replies)
        self.fine(self.c.append("w-2", kind="wait.other"), 201)
        lib.wait_until(lambda: "any" in replies, 5, "the first to be woken")
        ensure("this" not in replies, "woken by another type")
        self.fine(self.c.append("w-2", kind="wait.this", data={"n": 2}), 201)
        for thread in threads:
            thread.join(30)
        ensure([e["type"] for e in replies["any"][0]["items"]] == ["wait.other"], "%s" % replies)
        ensure([e["data"] for e in replies["this"][0]["items"]] == [{"n": 2}] and replies["this"][1] < 18, "%s" % replies["this"][1])
        for name in ("never", "acme"):
            page, took = replies[name]
            ensure(page["items"] == [] and page["next"] >= start and 1.9 < took < 15, "%s: %s after %.1f s" % (name, page, took))

    def long_poll_race(self):
        """Followers by long polls see every event once, in order, while others append."""
        start = self.fine(self.c.append("r-0", kind="race.begin"), 201)["position"]
        total, seen = 200, [[], [], []]

        def follow(events, query):
            after = start
            with self.daemon.client() as client:
                while len(events) < total:
                    page = self.fine(client.get("/v1/log?after=%d&wait=10&max=7&types=%s" % (after, query)))
                    ensure(page["items"] or page["has_more"], "a follower waited for nothing, with %d events" % len(events))
                    events += [e["data"]["n"] for e in page["items"]]
                    after = page["next"]

        def append():
            with self.daemon.client() as client:
                for n in range(total):
                    self.fine(client.append("r-%d" % (n % 3), kind="race.run", data={"n": n}), 201)
                    self.fine(client.append("noise-%d" % (n % 5), kind="noise.made"), 201)
        usherd.parallel([lambda events=events: follow(events, "race.run") for events in seen] + [append], 60)
        for events in seen:
            ensure(events == list(range(total)), "a follower saw %s" % events)

    def gone_clients(self):
        """A client that goes while it waits leaves nothing behind."""
        for _ in range(20):
            client = self.daemon.client(timeout=0.05)
            try:
                client.get("/v1/log?after=%d&wait=50&types=never.comes" % self.position())
                raise lib.Failure("there was a reply")
            except TimeoutError:
                client.close()
        self.fine(self.c.append("g-1", kind="never.comes"), 201)
        self.fine(self.c.get("/healthz"))

    def position(self):
        return self.cluster.value("SELECT usher.stable_position()")

    def read_your_writes(self):
        ahead = self.position() + 1
        began = time.monotonic()
        reply = self.c.get("/v1/streams/x-1/events", Usher_After=str(ahead + 1000000))
        self.problem(reply, 503, "not-yet")
        ensure(4.5 < time.monotonic() - began < 20 and reply.headers["retry-after"], "after %.1f s" % (time.monotonic() - began))
        self.problem(self.c.get("/v1/streams/x-1/events", Usher_After="x"), 400, "invalid-header")
        for n in range(50):
            position = self.fine(self.c.append("ryw-1", data={"n": n}), 201)["position"]
            page = self.fine(self.c.get("/v1/streams/ryw-1/events?direction=backward&max=1", Usher_After=str(position)))
            ensure(page["items"][0]["position"] == position, "the write is not read: %s" % page)
        ahead = self.position() + 1
        replies = []
        with self.daemon.client() as other:
            thread = threading.Thread(target=lambda: replies.append(other.get("/v1/streams/late-1/events", Usher_After=str(ahead))))
            thread.start()
            time.sleep(0.5)
            ensure(not replies, "it did not wait: %s" % replies)
            self.fine(self.c.append("late-1"), 201)
            thread.join(30)
        ensure(len(self.fine(replies[0])["items"]) == 1, "%s" % replies)

    def position_gone(self):
        """410 with where one can go on."""
        self.cluster.rows("CREATE DATABASE gone")
        self.cluster.create("gone")
        with_gone = usherd.Usherd(self.cluster, database="gone", name="gone").start()
        try:
            for _ in range(3):
                self.cluster.rows("SELECT usher.append('g-' || i, 'g.made') FROM generate_series(1, 1000) i", database="gone")
            client = with_gone.client()
            self.fine(client.get("/v1/log?after=0"))
            self.cluster.rows("SELECT usher.set_retention('1 microsecond')", database="gone")
            lib.wait_until(lambda: self.cluster.rows("SELECT usher.apply_retention(), usher.oldest_position()", database="gone")[0][1] > 1,
                           20, "retention to remove a partition", pause=0.2)
            problem = self.problem(client.get("/v1/log?after=0"), 410, "position-gone")
            oldest = self.cluster.value("SELECT usher.oldest_position()", database="gone")
            ensure(problem["oldest_position"] == oldest, "%s, and the oldest is %d" % (problem, oldest))
            page = self.fine(client.get("/v1/log?after=%d" % (oldest - 1)))
            ensure(page["items"][0]["position"] == self.cluster.value("SELECT min(position) FROM usher.events", database="gone"), "%s" % page["items"][:1])
            problem = self.problem(client.get("/v1/categories/g/events"), 410, "position-gone")
            ensure(problem["oldest_position"] == oldest, "%s" % problem)
            client.close()
        finally:
            with_gone.stop()

    # subscriptions

    def subscriptions(self):
        self.cluster.rows("SELECT usher.subscribe('work', 'work.*')")
        self.cluster.rows("SET usher.tenant = 'acme'; SELECT usher.subscribe('theirs')")
        for n in range(4):
            self.fine(self.c.append("work-%d" % n, kind="work.todo", data={"n": n}), 201)
        got = self.poll(self.c, "work", wait=5)
        ensure(sorted(i["event"]["data"]["n"] for i in got["items"]) == [0, 1, 2, 3] and got["lease"] > 0, "%s" % got)
        ensure(all(i["attempt"] == 1 for i in got["items"]), "%s" % got)
        failed = got["items"][-1]["event"]
        ok = self.c.post("/v1/subscriptions/work/nack", {"lease": got["lease"], "position": failed["position"], "error": "no", "retry_after": 0})
        self.fine(ok, 204)
        self.fine(self.c.post("/v1/subscriptions/work/extend", {"lease": got["lease"], "seconds": 60}), 204)
        self.fine(self.c.post("/v1/subscriptions/work/ack", {"lease": got["lease"]}), 204)
        self.problem(self.c.post("/v1/subscriptions/work/ack", {"lease": got["lease"]}), 409, "lease-lost")
        again = self.poll(self.c, "work", wait=10)
        ensure([i["event"]["position"] for i in again["items"]] == [failed["position"]] and again["items"][0]["attempt"] == 2, "%s" % again)
        none = self.poll(self.c, "work", ack=again["lease"])
        ensure(none == {"lease": None, "items": []}, "%s" % none)
        self.problem(self.c.post("/v1/subscriptions/theirs/poll", {"member": "m"}), 404, "unknown-subscription")
        for body in ({}, {"member": 1}, {"member": "m", "max": 0}, {"member": "m", "wait": 60}, {"member": "m", "x": 1}, []):
            self.problem(self.c.post("/v1/subscriptions/work/poll", body), 422, "invalid-body")

    def waiting_poll(self):
        self.cluster.rows("SELECT usher.subscribe('wp', 'wp.*')")
        lease, late = None, []
        while not late or (min(late) >= 0.5 and len(late) < 5):     # a busy machine may have other things to do, once or twice
            lease, seconds = self.woken_poll(lease)
            late.append(seconds)
        ensure(min(late) < 0.5, "woken after %s s: by the clock, not by the event" % late)
        began = time.monotonic()
        ensure(self.poll(self.c, "wp", wait=1, ack=lease)["items"] == [], "there is more")
        ensure(0.9 < time.monotonic() - began < 15, "a wait of 1 s took %.1f s" % (time.monotonic() - began))

    def woken_poll(self, lease):
        """The lease of what a waiting poll got, and how long after the append. The clock would wake it a second after it began."""
        got = []
        with self.daemon.client() as other:
            thread = threading.Thread(target=lambda: got.append((self.poll(other, "wp", wait=20, **({"ack": lease} if lease else {})),
                                                                 time.monotonic())))
            thread.start()
            time.sleep(0.2)
            self.fine(self.c.append("x-1", kind="x.other"), 201)
            ensure(not got, "%s" % got)
            self.fine(self.c.append("wp-1", kind="wp.made"), 201)
            appended = time.monotonic()
            thread.join(30)
        ensure(got and [i["event"]["type"] for i in got[0][0]["items"]] == ["wp.made"], "%s" % got)
        return got[0][0]["lease"], got[0][1] - appended

    def lists(self):
        page = self.fine(self.c.get("/v1/subscriptions?max=1"))
        ensure(len(page["items"]) == 1 and page["has_more"] and page["next"] == page["items"][0]["name"], "%s" % page)
        names, after = [], ""
        while True:
            page = self.fine(self.c.get("/v1/subscriptions?max=1" + after))
            names += [item["name"] for item in page["items"]]
            if not page["has_more"]:
                break
            after = "&after=" + page["next"]
        ensure(names == sorted(names) and "work" in names and "theirs" not in names, "%s" % names)
        with self.daemon.client(scopes="subscriptions:wp") as client:
            ensure([i["name"] for i in self.fine(client.get("/v1/subscriptions"))["items"]] == ["wp"], "a scope shows others")
            self.problem(client.post("/v1/subscriptions/work/poll", {"member": "m"}), 403, "forbidden")
        self.cluster.rows("SELECT usher.add_sink('ring', 'memory')")
        page = self.fine(self.c.get("/v1/sinks"))
        ensure([(i["name"], i["kind"]) for i in page["items"]] == [("ring", "memory")] and not page["has_more"], "%s" % page)

    def dead_letters(self):
        self.cluster.rows("SELECT usher.subscribe('dying', 'die.*', options => '{\"max_attempts\": 1}')")
        for n in range(3):
            self.fine(self.c.append("die-%d" % n, kind="die.now", data={"n": n}), 201)
        got = self.poll(self.c, "dying", wait=5)
        for item in got["items"]:
            self.fine(self.c.post("/v1/subscriptions/dying/nack", {"lease": got["lease"], "position": item["event"]["position"], "error": "dead"}), 204)
        self.fine(self.c.post("/v1/subscriptions/dying/ack", {"lease": got["lease"]}), 204)
        page = self.fine(self.c.get("/v1/dead-letters?subscription=dying&max=2"))
        ensure(len(page["items"]) == 2 and page["has_more"] and page["next"] == page["items"][1]["id"], "%s" % page)
        rest = self.fine(self.c.get("/v1/dead-letters?subscription=dying&after=%d" % page["next"]))
        ensure(len(rest["items"]) == 1 and not rest["has_more"] and rest["items"][0]["error"] == "dead", "%s" % rest)
        ensure(self.fine(self.acme.get("/v1/dead-letters"))["items"] == [], "another tenant's dead letters")
        ensure(self.fine(self.c.get("/v1/dead-letters?sink=ring"))["items"] == [], "a sink's dead letters")
        body = {"subscription": "dying", "filter": {"type": "die.now"}}
        with self.daemon.client(scopes="dead-letters:read") as client:
            self.problem(client.post("/v1/dead-letters/replay", body), 403, "forbidden")
        ensure(self.fine(self.c.post("/v1/dead-letters/replay", body), 202)["replay"] > 0, "no replay")
        again = self.poll(self.c, "dying", wait=5)
        ensure(len(again["items"]) == 3, "%s" % again)
        self.problem(self.c.post("/v1/dead-letters/replay", {"subscription": "nobody"}), 404, "unknown-subscription")
        self.problem(self.c.post("/v1/dead-letters/replay", {"sink": "nothing"}), 404, "unknown-sink")
        for wrong in ({}, {"subscription": "a", "sink": "b"}, {"subscription": 1}, {"subscription": "a", "filter": 1}):
            self.problem(self.c.post("/v1/dead-letters/replay", wrong), 422, "invalid-body")

    # what all have

    def scopes(self):
        with self.daemon.client(scopes="log:append:order log:read:order subscribe:order.*") as client:
            self.fine(client.append("order-5"), 201)
            self.problem(client.append("money-5"), 403, "forbidden")
            self.problem(client.post("/v1/transactions", {"streams": [{"stream": "order-5", "events": [{"type": "a"}]},
                                                                      {"stream": "money-5", "events": [{"type": "a"}]}]}), 403, "forbidden")
            self.problem(client.post("/v1/events", {"topic": "money", "type": "a"}), 403, "forbidden")
            self.fine(client.get("/v1/streams/order-5/events"))
            self.problem(client.get("/v1/streams/money-5/events"), 403, "forbidden")
            self.problem(client.get("/v1/categories/money/events"), 403, "forbidden")
            self.fine(client.get("/v1/log?types=order.placed"))
            self.fine(client.get("/v1/log?types=order.*"))
            for types in ("", "?types=*", "?types=order.**", "?types=order.*,money.*", "?types=**.order.a"):
                self.problem(client.get("/v1/log" + types), 403, "forbidden")
            for path in ("/v1/sinks", "/v1/subscriptions", "/v1/dead-letters"):
                self.problem(client.get(path), 403, "forbidden")
        with self.daemon.client(token=False) as client:
            reply = client.get("/v1/log")
            self.problem(reply, 401, "unauthorized")
            ensure(reply.headers["www-authenticate"].startswith("Bearer"), "%s" % reply.pairs)

    def tags(self):
        """ETag and 304, HEAD, OPTIONS, 405, 404."""
        self.fine(self.c.append("tag-1"), 201)
        for path in ("/v1/streams/tag-1/events", "/openapi.json", "/docs", "/", "/v1/log"):
            reply = self.c.get(path)
            self.fine_status(reply, 200)
            head = self.c.request("HEAD", path)
            ensure(head.status == 200 and head.body == b"" and head.headers["content-length"] == reply.headers["content-length"],
                   "HEAD %s: %s" % (path, head.pairs))
            same = self.c.get(path, If_None_Match=reply.headers["etag"])
            ensure(same.status == 304 and same.body == b"" and same.headers["etag"] == reply.headers["etag"], "%s: %s" % (path, same))
        self.fine(self.c.append("tag-1"), 201)
        changed = self.c.request("GET", "/v1/streams/tag-1/events", headers={"If-None-Match": '"0000000000000000"'})
        ensure(changed.status == 200, "%s" % changed)
        reply = self.c.request("OPTIONS", "/v1/streams/tag-1/events")
        ensure(reply.status == 204 and set(reply.headers["allow"].split(", ")) == {"GET", "POST", "HEAD", "OPTIONS"}, "%s" % reply.pairs)
        reply = self.c.request("DELETE", "/v1/log")
        self.problem(reply, 405, "method-not-allowed")
        ensure(set(reply.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}, "%s" % reply.pairs)
        for path in ("/nothing", "/v1", "/v1/nothing", "/v1/log/", "/v1/streams//events", "/docs/../docs", "/docs/x"):
            self.problem(self.c.get(path), 404, "not-found")
        self.problem(self.c.request("BREW", "/v1/log"), 405, "method-not-allowed")
        ensure("private" in self.c.get("/v1/log").headers["cache-control"], "Cache-Control")
        ensure(any(name == "Vary" and "Authorization" in value for name, value in self.c.get("/v1/log").pairs), "Vary")

    def fine_status(self, reply, status):
        ensure(reply.status == status, "%s" % reply)

    def megabyte(self):
        """A page ends at 1 MB, and has at least one event."""
        for n in range(8):
            self.fine(self.c.append("big-1", data={"n": n, "filler": "x" * 300000}), 201)
        seen, start = [], 1
        while len(seen) < 8:
            reply = self.c.get("/v1/streams/big-1/events?from=%d" % start)
            page = self.fine(reply)
            ensure(page["items"] and len(reply.body) < 1300000, "%d bytes" % len(reply.body))
            seen += [e["data"]["n"] for e in page["items"]]
            ensure(page["has_more"] == (len(seen) < 8), "%s" % page["has_more"])
            start = page["next"]
        ensure(seen == list(range(8)), "%s" % seen)

    def description(self):
        """Routes and document agree: each operation exists, and each route is described."""
        document = self.fine(self.c.get("/openapi.json"))
        ensure(document["openapi"].startswith("3.1"), "%s" % document["openapi"])
        ids = []
        for path, operations in document["paths"].items():
            concrete = re.sub(r"\{file\}", "docs.js", re.sub(r"\{(?!file)\w+\}", "x-1", path))
            allowed = {m.lower() for m in self.c.request("OPTIONS", concrete).headers["allow"].split(", ")} - {"head", "options"}
            ensure(allowed == set(operations), "%s: %s is allowed, %s is described" % (path, allowed, set(operations)))
            for method, operation in operations.items():
                ids.append(operation["operationId"])
                names = set(re.findall(r"\{(\w+)\}", path))
                ensure({p["name"] for p in operation["parameters"] if p["in"] == "path"} == names, "parameters of %s" % path)
                ensure(("requestBody" in operation) == (method in ("post", "put", "patch")), "the body of %s" % path)
                ensure(set(operation["responses"]) > {"400", "401", "403", "503"}, "replies of %s" % path)
        ensure(len(ids) == len(set(ids)), "an operationId stands twice")
        with open(os.path.join(GATEWAY, "routes.c")) as file:
            source = file.read()
        routes = [r for r in re.findall(r"\{\s*\.method.*?\.handle", source, re.S) if ".admin" not in r]
        written = {p for r in routes for p in re.findall(r'\.(?:query_)?path = "([^"]+)"', r)}
        with open(os.path.join(GATEWAY, "routes_boxoffice.h")) as file:
            source = file.read()
        written |= {"/v1/boxoffice/" + p for p in re.findall(r'^\t?BOX_(?:ROUTE|RATED|WRITE)\(METHOD_\w+, "([^"]+)"', source, re.M)}
        written |= {"/v1/boxoffice/bookings/{booking}/" + p for p in re.findall(r'^BOX_STEP\("([^"]+)"', source, re.M)}
        ensure(written == set(document["paths"]), "only in one: %s" % (written ^ set(document["paths"])))
        self.references(document, document)

    def references(self, document, node):
        if isinstance(node, dict):
            if "$ref" in node:
                at = document
                for part in node["$ref"].split("/")[1:]:
                    ensure(part in at, "%s is not there" % node["$ref"])
                    at = at[part]
            for value in node.values():
                self.references(document, value)
        elif isinstance(node, list):
            for value in node:
                self.references(document, value)

    def examples(self):
        """The examples fit their schemas, and so do replies."""
        document = self.fine(self.c.get("/openapi.json"))

        def check(value, name):
            wrong = gateway_lib.fault(document, {"$ref": "#/components/schemas/" + name}, value)
            ensure(not wrong, "%s: %s" % (name, wrong))
        shown = 0
        for name, schema in document["components"]["schemas"].items():
            for example in schema.get("examples", []):
                check(example, name)
                shown += 1
        ensure(shown >= 8, "%d examples" % shown)
        for path, name in (("/v1/log", "EventPage"), ("/v1/subscriptions", "SubscriptionPage"), ("/v1/sinks", "SinkPage"),
                           ("/v1/dead-letters", "DeadLetterPage"), ("/v1/whoami", "Identity"), ("/healthz", "Health")):
            check(self.fine(self.c.get(path)), name)
        check(self.c.get("/v1/nothing").json(), "Problem")

    def page(self):
        """Its policy lets nothing in from elsewhere, and it needs nothing."""
        reply = self.c.get("/docs")
        policy = reply.headers["content-security-policy"]
        ensure("default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy, policy)
        text = reply.body.decode()
        ensure("<script>" not in text and " style=" not in text and "://" not in text, "the page has inline parts or names a host")
        for name in re.findall(r'(?:src|href)="([^"]+)"', text):
            self.fine_status(self.c.get(name), 200)

    def drain(self):
        """Who waits is answered when usherd ends."""
        replies = []
        with self.daemon.client() as other:
            thread = threading.Thread(target=lambda: replies.append(other.get("/v1/log?after=%d&wait=50" % self.position())))
            thread.start()
            time.sleep(0.7)
            began = time.monotonic()
            self.daemon.stop()
            thread.join(30)
        ensure(time.monotonic() - began < 20, "the drain took %.1f s" % (time.monotonic() - began))
        ensure(self.fine(replies[0])["items"] == [], "%s" % replies)
        lib.ensure_empty(self.cluster.log_crashes(), "server log")
        self.cluster.check()


def main():
    lib.arguments("What the routes of the HTTP API promise.")
    api = Api()
    lib.main([(name, getattr(api, name)) for name in (
        "streams", "versions", "atomic", "names", "bodies", "replays", "publish", "cloudevents", "cloudevent_data", "cloudevents_binary",
        "log", "long_poll", "long_poll_race", "gone_clients", "read_your_writes", "position_gone", "subscriptions", "waiting_poll", "lists",
        "dead_letters", "scopes", "tags", "megabyte", "description", "examples", "page", "drain")], 90)


if __name__ == "__main__":
    main()
