#!/usr/bin/python3
# test/integration/nats_sink.py: the sink for NATS JetStream against a real nats-server, read back with libnats.
# slow: 75 s
#
# Everything there and once, through crashes, cut connections, refusals and outages that are longer than the server's
# duplicate window. Prints TAP lines. Usage: nats_sink.py [part of a test's name ...].

import json
import os
import random
import subprocess
import sys
import time

import sinks
from nats_keys import Nkey, credentials_text
from nats_peers import INFO, Liar, nonsense
from sinks import Authority, Drive, Failure, FakeServer, Proxy, Server, drive, ensure, wait_until

COUNT = 40_000
LOG = "7-7"
STREAM = "DRIVE"
NAMES = ["specversion", "id", "source", "type", "subject", "time", "position", "streamversion", "partitionkey"]


class Nats(Server):
    READER = None

    def __init__(self, name="nats", conf="", login=""):
        super().__init__("nats", name, conf)
        self.address = "127.0.0.1:%d" % self.port
        self.url = "url=nats://" + self.address
        self.login = login      # of the reader

    def reader(self, *arguments):
        run = subprocess.run([self.READER, "nats://" + self.login + self.address] + [str(a) for a in arguments],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        ensure(run.returncode == 0, run.stderr.decode(errors="replace").strip())
        return run.stdout.decode()

    def api(self, subject, **request):
        return json.loads(self.reader("request", "$JS.API." + subject, json.dumps(request) if request else ""))

    def messages(self, stream=STREAM):
        return [json.loads(line) for line in self.reader("read", stream).splitlines()]

    def length(self, stream=STREAM):
        """0 if there is no such stream; a busy server may have no time to answer."""
        answers = []

        def told():
            answers.append(self.api("STREAM.INFO." + stream))
            return "state" in answers[-1] or answers[-1]["error"]["code"] == 404
        try:
            wait_until(told, 10, "the state of " + stream)
        except Failure as failure:
            raise Failure("%s: %s" % (failure, answers[-1]))
        return answers[-1]["state"]["messages"] if "state" in answers[-1] else 0

    def clear(self, **config):
        """An empty stream."""
        self.api("STREAM.DELETE." + STREAM)
        made = self.api("STREAM.CREATE." + STREAM, **dict({"name": STREAM, "subjects": ["drive.>"], "storage": "file"},
                                                          **config))
        ensure("error" not in made, "no stream: %s" % made)


def position_of(message):
    return int(message["headers"]["ce-position"])


def ensure_complete(count, messages=None, without=()):
    """Positions 1 to count are in the stream, each once, with their id, and a key's in order."""
    messages = nats.messages() if messages is None else messages
    newest, seen = {}, []
    for message in messages:
        position, headers = position_of(message), message["headers"]
        ensure(headers["Nats-Msg-Id"] == "%s.1.%d" % (LOG, position), "position %d has id %s" % (position, headers["Nats-Msg-Id"]))
        key = (message["subject"], headers.get("ce-partitionkey", ""))
        ensure(position > newest.get(key, 0), "position %d is out of order" % position)
        newest[key] = position
        seen.append(position)
    missing = set(range(1, count + 1)) - set(without) - set(seen)
    ensure(not missing, "%d are missing, e.g. %s" % (len(missing), sorted(missing)[:5]))
    ensure(len(seen) == count - len(without), "there are %d messages, not %d" % (len(seen), count - len(without)))


def ensure_done(result, **expected):
    for name, value in dict({"ok": True}, **expected).items():
        ensure(result[name] == value, "%s is %r, not %r: %s" % (name, result[name], value, json.dumps(result)[:800]))


def options(url, *more):
    return ("nats", url, "stream=" + STREAM, "--log-id", LOG, "--topic", "drive.t") + more


def standard(*more):
    return options(nats.url, *more)


# ---- what is written ----

def test_all_there():
    result = drive(*standard("--count", COUNT, "--topics", 10, "--keys", 1000))
    ensure_done(result, done=COUNT, duplicates=0, losses=[])
    ensure_complete(COUNT)
    ensure(result["memory_kb"] < 400_000, "%d kB of memory with the sanitizers" % result["memory_kb"])
    back = drive(*standard("--verify", "1:%d" % COUNT, "--topics", 10, "--keys", 1000))
    ensure_done(back, messages=COUNT, missing=0, duplicates=0, out_of_order=0, replays=0, oldest=0)


def test_headers():
    ensure_done(drive(*standard("--count", 3, "--special", "2:tombstone")), done=3)
    first, second, _ = nats.messages()
    headers = first["headers"]
    ensure(sorted(headers) == sorted(["ce-" + name for name in NAMES] +
                                     ["Content-Type", "Nats-Msg-Id", "Nats-Expected-Stream"]), "headers: %s" % sorted(headers))
    ensure(headers["ce-specversion"] == "1.0" and headers["Content-Type"] == "application/json", "headers: %s" % headers)
    ensure(headers["Nats-Expected-Stream"] == STREAM, "headers: %s" % headers)
    ensure(json.loads(first["data"])["n"] == 1, "data is %s" % first["data"])
    ensure(second["data"] == "" and position_of(second) == 2, "a tombstone is %s" % second)


def test_structured():
    ensure_done(drive(*standard("mode=structured", "--count", 3)), done=3)
    ensure_done(drive(*standard("mode=structured", "--count", 1, "--replay", 9)), done=1)
    messages = nats.messages()
    events = [json.loads(message["data"]) for message in messages]
    ensure([event["position"] for event in events] == [1, 2, 3, 1], "positions: %s" % events)
    ensure(events[0]["data"]["n"] == 1 and events[0]["specversion"] == "1.0", "event: %s" % events[0])
    ensure(all(message["headers"]["Content-Type"] == "application/cloudevents+json; charset=UTF-8" for message in messages),
           "not marked as events: %s" % messages[0])
    ensure("ce-type" not in messages[0]["headers"], "attributes are headers, too: %s" % messages[0])
    back = drive(*standard("--verify", "1:3"))
    ensure_done(back, missing=0, duplicates=0, replays=1)


def test_odd_keys():
    """Beyond ASCII values are percent-encoded."""
    ensure_done(drive(*standard("--count", 500, "--odd-keys", 1, "--topics", 3, "--special", "7:nokey")), done=500)
    values = {message["headers"].get("ce-partitionkey", "") for message in nats.messages()}
    ensure(all(all("!" <= ch <= "~" for ch in value) for value in values), "a value is not encoded: %s" % values)
    ensure("%F0%9F%8E%AB3" in values and "%C3%B1and%C3%BA%204" in values, "values: %s" % sorted(values)[:20])
    back = drive(*standard("--verify", "1:500", "--topics", 3, "--odd-keys", 1))
    ensure_done(back, missing=0, out_of_order=0)


def test_large():
    ensure_done(drive(*standard("--count", 50, "--special", "7:large=1000000", "--special", "8:large=700000")), done=50)
    ensure_complete(50)


# ---- repetitions ----

def test_duplicates():
    ensure_done(drive(*standard("--count", 20_000, "--topics", 3)), done=20_000)
    again = drive(*standard("--count", 25_000, "--topics", 3))
    ensure_done(again, done=25_000, duplicates=20_000, losses=[])
    ensure_complete(25_000)


def test_longer_than_window():
    """The server has forgotten the ids; what it has is read back."""
    nats.clear(duplicate_window=100_000_000)
    ensure_done(drive(*standard("--count", 20_000, "--topics", 3)), done=20_000)
    time.sleep(0.5)     # the window must pass
    cursor = sinks.TMP + "/window"
    with open(cursor, "w") as file:
        file.write("2345\n")
    again = drive(*standard("--count", 25_000, "--topics", 3, "--cursor", cursor))
    ensure_done(again, duplicates=20_000 - 2345, losses=[])
    ensure_complete(25_000)


def test_window_of_the_server():
    """Answers of the server itself: what came in while we were reading back, or of another lane."""
    ensure_done(drive(*standard("--count", 300)), done=300)
    again = drive(*standard("--count", 300, "--epoch", 2, "--lane", 1))
    ensure_done(again, done=300, duplicates=300)
    replayed = drive(*standard("--count", 300, "--replay", 5))
    ensure_done(replayed, done=300, duplicates=0)
    replayed = drive(*standard("--count", 300, "--replay", 5))
    ensure_done(replayed, done=300, duplicates=300)
    other = drive(*standard("--count", 300, "--sink-id", 2))
    ensure_done(other, done=300, duplicates=0)
    ensure(nats.length() == 900, "there are %d messages" % nats.length())


def test_killed_driver():
    cursor = sinks.TMP + "/killed"
    arguments = standard("--count", 30_000, "--topics", 3, "--cursor", cursor, "--batch", 500)
    for _ in range(8):
        run = Drive(*arguments)
        time.sleep(random.uniform(0.05, 0.4))   # when it is killed does not matter
        run.kill()
    ensure_done(drive(*arguments), position=30_000, losses=[])
    ensure_complete(30_000)


# ---- failures ----

def test_killed_server():
    run = Drive(*standard("--count", 30_000, "--topics", 5, "--rate", 15_000, "--reopen", 200))
    for _ in range(4):
        time.sleep(random.uniform(0.2, 0.5))    # when it is killed does not matter
        nats.run("kill")
        nats.run("up")
    result = run.result()
    ensure_done(result, position=30_000)
    ensure(len(result["losses"]) >= 1, "the driver never lost the server")
    ensure_complete(30_000)


def test_killed_server_with_full_load():
    run = Drive(*standard("--count", 60_000, "--topics", 5, "--reopen", 200))
    for _ in range(3):
        length = nats.length()
        wait_until(lambda: run.process.poll() is not None or nats.length() > length + 3000, 30, "messages")
        nats.run("kill")
        nats.run("up")
    result = run.result()
    ensure_done(result, position=60_000)
    ensure(len(result["losses"]) >= 1, "the driver never lost the server")
    ensure_complete(60_000)


def test_cut():
    proxy = Proxy(nats.port)
    run = Drive(*options("url=nats://127.0.0.1:%d" % proxy.port, "timeout_ms=1000", "--count", 30_000, "--topics", 5,
                         "--rate", 15_000, "--reopen", 200))
    proxy.bytes_per_second = 1_000_000      # until the silence, so that it does not come when all is done
    for n in range(7):
        time.sleep(random.uniform(0.1, 0.25))   # when it is cut does not matter
        if n == 4:
            length = nats.length()
            wait_until(lambda: run.process.poll() is not None or nats.length() > length + 200, 30, "messages")
            ensure(run.process.poll() is None, "all was done before the silence")
            proxy.silence(1.8)
        proxy.cut()
    result = run.result()
    ensure_done(result, position=30_000)
    ensure(any(loss["code"] == "TIMEOUT" for loss in result["losses"]), "no timeout: %s" % result["losses"])
    ensure_complete(30_000)


def test_full():
    """A stream that is full is no reason to lose or reorder anything."""
    nats.clear(max_msgs=3000, discard="new")
    run = Drive(*standard("--count", 9000, "--topics", 3, "--reopen", 1000))
    for limit in (3500, 5000, -1):
        wait_until(lambda: run.process.poll() is not None or nats.length() == nats.api("STREAM.INFO." + STREAM)["config"]["max_msgs"],
                   30, "a full stream")
        time.sleep(0.3)     # what was on its way then is refused, too, before there is room again
        nats.api("STREAM.UPDATE." + STREAM, name=STREAM, subjects=["drive.>"], storage="file", discard="new", max_msgs=limit)
    result = run.result()
    ensure_done(result, position=9000)
    ensure(all(loss["code"] == "JS_10077" and "maximum messages" in loss["text"] for loss in result["losses"]) and result["losses"],
           "losses: %s" % result["losses"][:3])
    ensure_complete(9000)


def test_no_stream():
    nats.api("STREAM.DELETE." + STREAM)
    loss = refused(*standard("--count", 5))
    ensure(loss["code"] == "JS_10059" and STREAM in loss["text"], "no stream: %s" % loss)
    result = drive(*standard("--count", 5, "create_stream=true", "subjects=drive.>,other", "storage=memory",
                             "duplicate_window_ms=5000"))
    ensure_done(result, done=5)
    config = nats.api("STREAM.INFO." + STREAM)["config"]
    ensure(config["subjects"] == ["drive.>", "other"] and config["storage"] == "memory" and
           config["duplicate_window"] == 5_000_000_000 and config["num_replicas"] == 1, "the stream is %s" % config)
    ensure_done(drive(*standard("--count", 6, "create_stream=true", "subjects=else")), done=6, duplicates=5)
    ensure(nats.api("STREAM.INFO." + STREAM)["config"]["subjects"] == ["drive.>", "other"], "the stream was changed")


def test_stream_removed():
    """It is made again, if that is wanted, and has what comes from then on."""
    run = Drive(*standard("create_stream=true", "subjects=drive.>", "--count", 20_000, "--rate", 10_000, "--reopen", 100,
                          "--in-flight", 2000, "timeout_ms=1500"))
    wait_until(lambda: nats.length() > 3000, 30, "messages")
    nats.api("STREAM.DELETE." + STREAM)
    result = run.result()
    ensure_done(result, position=20_000)
    ensure(result["losses"] and {loss["code"] for loss in result["losses"]} <= {"NO_RESPONDERS", "TIMEOUT", "JS_10059"},
           "losses: %s" % result["losses"][:3])
    positions = [position_of(message) for message in nats.messages()]
    ensure(positions == list(range(positions[0], 20_001)), "not the last ones in their order: %s ..." % positions[:3])


# ---- rejected messages ----

def rejections(result):
    return sorted((r["position"], r["code"]) for r in result["rejections"])


def test_rejected():
    nats.clear(max_msg_size=500_000)
    invalid = {101: "", 102: "a b", 103: ".a", 104: "a..b", 105: "drive.*", 106: "drive.>", 107: "drive.\r\nPING", 108: "drive."}
    arguments = ["--special", "100:topic=elsewhere", "--special", "900:topic=elsewhere.t", "--special", "1000:large=600000",
                 "--special", "1001:large=1100000"]
    for position, topic in invalid.items():
        arguments += ["--special", "%d:topic=%s" % (position, topic)]
    result = drive(*standard("--count", 2000, "--topics", 2, *arguments))
    expected = sorted([(100, "NO_STREAM"), (900, "NO_STREAM"), (1000, "JS_10054"), (1001, "MAX_PAYLOAD")] +
                      [(position, "INVALID_SUBJECT") for position in invalid])
    ensure_done(result, done=2000 - len(expected), rejected=len(expected), losses=[])
    ensure(rejections(result) == expected, "rejections: %s" % rejections(result))
    ensure_complete(2000, without=[position for position, _ in expected])


def test_not_permitted():
    limited = Nats("limited", """authorization { users = [
        { user: admin, password: secret }
        { user: relay, password: secret, permissions: { publish: ["drive.t", "$JS.API.STREAM.INFO.DRIVE",
          "$JS.API.STREAM.MSG.GET.DRIVE", "$JS.API.CONSUMER.*.DRIVE", "$JS.API.CONSUMER.*.DRIVE.>",
          "$JS.API.CONSUMER.MSG.NEXT.DRIVE.>"], subscribe: ["_INBOX.>"] } }
        { user: blind, password: secret, permissions: { publish: ["drive.t"], subscribe: ["_INBOX.>"] } } ] }\n""", "admin:secret@")
    limited.clear(duplicate_window=100_000_000)
    url = "url=nats://relay@" + limited.address
    result = drive(*options(url, "password=secret", "--count", 3000, "--special", "10:topic=drive.forbidden",
                            "--special", "2000:topic=drive.forbidden", "--special", "2001:topic=drive.other"))
    ensure_done(result, done=2997, rejected=3)
    ensure(rejections(result) == [(10, "NOT_PERMITTED"), (2000, "NOT_PERMITTED"), (2001, "NOT_PERMITTED")],
           "rejections: %s" % rejections(result))
    ensure("drive.forbidden" in result["rejections"][0]["text"], "the text is %s" % result["rejections"][0])
    time.sleep(0.5)     # the window must pass
    ensure_done(drive(*options(url, "password=secret", "--count", 100, "--special", "10:topic=drive.forbidden")),
                duplicates=99, rejected=1)
    back = drive(*options(url, "password=secret", "--verify", "1:3000"))
    ensure_done(back, missing=3, duplicates=0)
    ensure_complete(3000, limited.messages(), without=[10, 2000, 2001])
    loss = refused(*options("url=nats://blind@" + limited.address, "password=secret", "connect_timeout_ms=500"))
    ensure(not loss["blocked"], "without a permission to ask: %s" % loss)
    limited.run("down", "--wipe")


# ---- who may connect ----

def refused(*arguments):
    result = drive(*arguments)
    ensure(result["ok"] is False and result["losses"], "it was let in: %s" % result)
    ensure("secret" not in json.dumps(result), "a secret is in %s" % result)
    return result["losses"][0]


def test_credentials():
    protected = Nats("protected", "authorization { user: relay, password: secret-one }\n", "relay:secret-one@")
    protected.clear()
    loss = refused(*options(protected.url))
    ensure(loss["code"] == "AUTH" and not loss["blocked"], "without a password: %s" % loss)
    loss = refused(*options("url=nats://relay@" + protected.address, "password=secret-two"))
    ensure(loss["code"] == "AUTH" and not loss["blocked"], "with a wrong one: %s" % loss)
    ensure_done(drive(*options("url=nats://relay@" + protected.address, "password=secret-one")), done=1000)
    ensure_done(drive(*options(protected.url, "username=relay", "password=secret-one")), done=1000, duplicates=1000)
    protected.run("down", "--wipe")
    protected = Nats("token", "authorization { token: secret-token }\n", "secret-token@")
    protected.clear()
    loss = refused(*options(protected.url, "token=secret-two"))
    ensure(loss["code"] == "AUTH", "with a wrong token: %s" % loss)
    ensure_done(drive(*options(protected.url, "token=secret-token")), done=1000)
    protected.run("down", "--wipe")


def test_credentials_file():
    operator, account, user, stranger = Nkey("O"), Nkey("A"), Nkey("U"), Nkey("U")
    limits = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1,
              "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    operator_token = operator.token(operator.public, {"type": "operator", "version": 2})
    account_token = operator.token(account.public, {"type": "account", "version": 2, "limits": limits})
    user_token = account.token(user.public, {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1})
    system = Nkey("A")
    small = dict(limits, mem_storage=0, disk_storage=0, streams=0, consumer=0)
    system_token = operator.token(system.public, {"type": "account", "version": 2, "limits": small})
    server = Nats("operator", "operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: { %s: %s, %s: %s }\n"
                  % (operator_token, system.public, account.public, account_token, system.public, system_token))
    good = credentials_text(user_token, user.seed)
    stream = ("create_stream=true", "subjects=drive.>")
    ensure_done(drive(*options(server.url, "credentials=" + good, *stream)), done=1000)
    ensure_done(drive(*options(server.url, "credentials=" + good, "--verify", "1:1000")), missing=0, duplicates=0)
    for what, text in (("of somebody else", credentials_text(user_token, stranger.seed)), ("not valid", "nothing"),
                       ("without a seed", good.split("-----BEGIN USER")[0])):
        result = drive(*options(server.url, "credentials=" + text, *stream))
        ensure(result["ok"] is False and not result["losses"][0]["blocked"], "credentials %s: %s" % (what, result))
        ensure(user.seed not in json.dumps(result) and user_token not in json.dumps(result), "a secret is in %s" % result)
    server.run("down", "--wipe")


def test_tls():
    ours, other = Authority("ours"), Authority("other")
    cert, key = ours.sign("server", "DNS:localhost")
    client_cert, client_key = ours.sign("client", "DNS:client")
    tls = 'tls { cert_file: "%s", key_file: "%s", ca_file: "%s", verify: %s }\n'
    secure = Nats("secure", tls % (cert, key, ours.cert, "false"))
    url, make = "url=tls://localhost:%d" % secure.port, ("create_stream=true", "subjects=drive.>")
    ensure_done(drive(*options(url, "ca_file=" + ours.cert, *make, "--count", 20_000, "--topics", 3,
                               "--special", "77:large=900000")), done=20_000)
    ensure_done(drive(*options(url, "ca_file=" + ours.cert, "--verify", "1:20000", "--topics", 3)), missing=0, duplicates=0)
    loss = refused(*options(url, "ca_file=" + other.cert))
    ensure(loss["code"] == "TLS" and "certificate" in loss["text"], "another authority: %s" % loss)
    loss = refused(*options("url=tls://127.0.0.1:%d" % secure.port, "ca_file=" + ours.cert))
    ensure(loss["code"] == "TLS" and "IP address mismatch" in loss["text"], "another host: %s" % loss)
    loss = refused(*options("url=tls://localhost:%d" % nats.port, "ca_file=" + ours.cert))
    ensure(loss["code"] == "TLS", "a port without TLS: %s" % loss)
    loss = refused(*options("url=nats://localhost:%d" % secure.port))
    ensure(loss["code"] == "TLS" and "certificate" in loss["text"], "TLS, and nobody to trust: %s" % loss)
    loss = refused(*options(url, "ca_file=/nowhere"))
    ensure("/nowhere" in loss["text"], "no such file: %s" % loss)
    secure.run("down")
    with open(secure.environment["NATS_CONF"], "w") as file:
        file.write(tls % (cert, key, ours.cert, "true"))
    secure.run("up")
    loss = refused(*options(url, "ca_file=" + ours.cert))
    ensure(not loss["blocked"], "without a certificate: %s" % loss)
    ensure_done(drive(*options(url, "ca_file=" + ours.cert, "cert_file=" + client_cert, "key_file=" + client_key,
                               "--count", 20_100, "--topics", 3)), duplicates=20_000)
    # Killed and cut under TLS, too.
    run = Drive(*options(url, "ca_file=" + ours.cert, "cert_file=" + client_cert, "key_file=" + client_key, "--count", 20_000,
                         "--sink-id", 2, "--rate", 15_000, "--reopen", 100))
    time.sleep(0.6)     # when it is killed does not matter
    secure.run("kill")
    secure.run("up")
    ensure_done(run.result(), position=20_000)
    back = drive(*options(url, "ca_file=" + ours.cert, "cert_file=" + client_cert, "key_file=" + client_key, "--sink-id", 2,
                          "--verify", "1:20000"))
    ensure_done(back, messages=20_000, missing=0, duplicates=0, out_of_order=0)
    secure.run("down", "--wipe")


def test_configuration():
    for url in ("http://127.0.0.1", "nats://", "nats://host:port", "nats://127.0.0.1:70000", "nats://[::1", "nats://h:1/x", "",
                "nats://h:1,redis://h:2"):
        loss = refused(*options("url=" + url))
        ensure(loss["blocked"] and loss["code"] == "CONFIG", "%s: %s" % (url, loss))
    for more in ("stream=a.b", "create_stream=true", "cert_file=/x"):
        loss = refused("nats", nats.url, more)
        ensure(loss["blocked"] and loss["code"] == "CONFIG", "%s: %s" % (more, loss))
    loss = refused(*options("url=nats://127.0.0.1:%d" % sinks.free_port()))
    ensure(not loss["blocked"] and loss["code"] == "CONNECTION", "nobody there: %s" % loss)
    loss = refused(*options("url=nats://nowhere.invalid", "connect_timeout_ms=3000"))
    ensure(not loss["blocked"], "no such host: %s" % loss)
    several = "url=nats://127.0.0.1:%d,nats://%s" % (sinks.free_port(), nats.address)
    ensure_done(drive(*options(several, "--reopen", 1)), done=1000)


# ---- peers that are no NATS ----

def test_nonsense():
    fake = FakeServer(nonsense)
    result = drive(*options("url=nats://127.0.0.1:%d" % fake.port, "connect_timeout_ms=150", "timeout_ms=300", "--count", 10,
                           "--reopen", 12))
    ensure(result["ok"] is False, "nonsense was taken for NATS: %s" % result)
    ensure(len(result["losses"]) > 12, "it gave up early: %s" % result["losses"][-1])
    liar = FakeServer(Liar(b"", b"{", b"{}", b'{"error":1}', b'{"error":{"err_code":"x"}}', b'{"error":{"code":500}}',
                           b'{"error":{"err_code":10077,"description":"\\ud800\\"' + b"x" * 3000 + b'"}}', b"[1]", b"\x00\xff"))
    result = drive(*options("url=nats://127.0.0.1:%d" % liar.port, "timeout_ms=300", "--count", 200, "--reopen", 6))
    ensure(result["ok"] is False and result["done"] == 0, "lies were believed: %s" % result)
    sealed = FakeServer(Liar(b'{"error":{"code":400,"err_code":10109,"description":"invalid operation on sealed stream"}}'))
    loss = refused(*options("url=nats://127.0.0.1:%d" % sealed.port, "--count", 5))
    ensure(loss["blocked"] and loss["code"] == "JS_10109", "a sealed stream: %s" % loss)


def test_silence():
    """Whatever a server does not say, the sink gives up in time, and closes in time."""
    def silent(client, _):
        client.recv(1)
        time.sleep(60)

    def silent_in_handshake(client, _):
        client.sendall(INFO.replace(b'"headers"', b'"tls_required":true,"headers"'))
        time.sleep(60)

    for function, code in ((silent, "TIMEOUT"), (silent_in_handshake, "TIMEOUT")):
        fake, started = FakeServer(function), time.monotonic()
        loss = refused(*options("url=nats://127.0.0.1:%d" % fake.port, "connect_timeout_ms=400"))
        ensure(loss["code"] == code, "%s: %s" % (function.__name__, loss))
        ensure(time.monotonic() - started < 20, "%s took %.1f s" % (function.__name__, time.monotonic() - started))


# ---- verification ----

def test_verify_finds():
    ensure_done(drive(*standard("--count", 3000, "--topics", 2)), done=3000)
    for seq in (17, 1500):
        ensure(nats.api("STREAM.MSG.DELETE." + STREAM, seq=seq)["success"], "nothing was removed")
    nats.reader("publish", "drive.t-0", "foreign")
    back = drive(*standard("--verify", "1:3000", "--topics", 2))
    ensure_done(back, missing=2, messages=2998, duplicates=0, oldest=0)
    back = drive(*standard("--verify", "100:200", "--topics", 2))
    ensure_done(back, missing=0, messages=101)
    back = drive(*standard("--verify", "1:10", "--topic", "drive.nothing"))
    ensure_done(back, missing=10, oldest=0)
    nats.clear(sources=[])
    ensure_done(drive(*standard("expect_stream=false", "--count", 100)), done=100)
    nats.api("STREAM.CREATE.COPY", name="COPY", sources=[{"name": STREAM}], storage="file")
    wait_until(lambda: nats.length("COPY") == 100, 20, "a stream that has ours as its source")
    back = drive("nats", nats.url, "stream=NONE", "--verify", "1:10")
    ensure(not back["ok"] and "NONE" in back["error"], "no stream at all: %s" % back)


def test_verify_finds_doubled():
    nats.clear(duplicate_window=100_000_000)
    ensure_done(drive(*standard("--count", 500, "--topics", 2)), done=500)
    time.sleep(0.5)     # the window must pass
    for message in nats.messages()[10:17]:
        nats.reader("publish", message["subject"], message["data"],
                    *["%s=%s" % header for header in message["headers"].items()])
    back = drive(*standard("--verify", "1:500", "--topics", 2))
    ensure_done(back, messages=507, missing=0, duplicates=7)


def test_verify_trimmed():
    nats.clear(max_msgs=1000)
    ensure_done(drive(*standard("--count", 5000, "--topics", 2)), done=5000)
    back = drive(*standard("--verify", "1:5000", "--topics", 2))
    ensure_done(back, messages=1000, oldest=4001)
    nats.clear(max_msgs_per_subject=100)
    ensure_done(drive(*standard("--count", 3000)), done=3000)
    back = drive(*standard("--verify", "1:3000"))
    ensure_done(back, messages=100, oldest=2901)
    # Under a name of its own: nats-server 2.9 may remove messages of a stream that has just got the name of a deleted one.
    nats.api("STREAM.DELETE." + STREAM)
    queue = ("nats", nats.url, "stream=QUEUE", "--log-id", LOG, "--topic", "drive.t")
    nats.api("STREAM.CREATE.QUEUE", name="QUEUE", subjects=["drive.>"], storage="file", retention="workqueue")
    try:
        ensure_done(drive(*queue, "--count", 100), done=100)
        back = drive(*queue, "--verify", "1:100")
        ensure(not back["ok"] and "read back" in back["error"], "a work queue: %s" % back)
        ensure(nats.length("QUEUE") == 100, "the work queue: %s" % nats.api("STREAM.INFO.QUEUE"))
    finally:
        nats.api("STREAM.DELETE.QUEUE")


TESTS = [
    ("%d messages, all there, read back with libnats" % COUNT, test_all_there),
    ("headers are the attributes", test_headers),
    ("structured: the body is the whole event", test_structured),
    ("odd keys, and none", test_odd_keys),
    ("large messages", test_large),
    ("what was sent before is a duplicate", test_duplicates),
    ("also when the server has forgotten it", test_longer_than_window),
    ("ids of replays, lanes and sinks", test_window_of_the_server),
    ("the relay is killed again and again", test_killed_driver),
    ("the server is killed with -9 again and again", test_killed_server),
    ("the server is killed with -9 under full load", test_killed_server_with_full_load),
    ("the network is cut, and silent", test_cut),
    ("a stream that is full", test_full),
    ("a stream that is not there, and is made", test_no_stream),
    ("a stream that is removed", test_stream_removed),
    ("rejected messages leave the others alone", test_rejected),
    ("subjects that are not permitted", test_not_permitted),
    ("passwords and tokens", test_credentials),
    ("a credentials file", test_credentials_file),
    ("TLS", test_tls),
    ("wrong configurations and hosts", test_configuration),
    ("nonsense for answers", test_nonsense),
    ("servers that say nothing", test_silence),
    ("verify finds what is missing", test_verify_finds),
    ("verify finds what is there twice", test_verify_finds_doubled),
    ("verify knows what was trimmed", test_verify_trimmed),
]

Drive.PROGRAM = sinks.build(["nats"], ["nats", "ssl", "crypto"])
Drive.LEAKS = ("natsBuf_Create",)
Nats.READER = os.path.join(sinks.TMP, "nats_reader")
subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", Nats.READER,
                os.path.join(sinks.ROOT, "test/integration/src/nats_reader.c"), "-lnats"], check=True)
nats = Nats()
for name, function in TESTS:
    if len(sys.argv) == 1 or any(part in name for part in sys.argv[1:]):
        try:
            nats.clear()
        except (Failure, subprocess.SubprocessError) as error:
            print("# the stream cannot be made anew: %s" % error)
        sinks.test(name, function)
sinks.end()
