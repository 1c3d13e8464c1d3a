#!/usr/bin/python3
# test/integration/redis_sink.py: the sink for Redis Streams against a real Redis, read back with redis-cli.
# slow: 65 s
#
# Everything there and once, through crashes, cut connections and refusals; what belongs to others is not touched, and
# nothing is lost when it is in the way. Prints TAP lines. Usage: redis_sink.py [part of a test's name ...].

import json
import random
import subprocess
import sys
import time

import sinks
from sinks import Authority, Drive, Failure, FakeServer, Proxy, Server, drive, ensure, wait_until

COUNT = 100_000
LOG = "7-7"
MARK = "usher:relay:" + LOG


class Redis(Server):
    def __init__(self, name="redis", conf=""):
        super().__init__("redis", name, conf)
        self.url = "url=redis://127.0.0.1:%d" % self.port

    def cli(self, *words, stdin=None):
        """A command's answer, as JSON; errors as {"error": text}."""
        output = subprocess.run(["redis-cli", "-p", str(self.port), "--json"] + [str(word) for word in words],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, input=stdin, timeout=60).stdout
        try:
            return json.loads(output.decode(errors="replace"))
        except ValueError:
            return {"error": output.decode(errors="replace").strip()}

    def entries(self, topic):
        found = []
        start = "-"
        while True:
            page = self.cli("XRANGE", topic, start, "+", "COUNT", 5000)
            ensure(isinstance(page, list), "XRANGE: %s" % page)
            found += [(id, dict(zip(fields[::2], fields[1::2]))) for id, fields in page]
            if len(page) < 5000:
                return found
            start = "(" + page[-1][0]

    def clear(self):
        self.cli("FLUSHALL")


def positions(entries):
    return [int(fields["position"]) for _, fields in entries]


def ensure_complete(topics, count, prefix="drive"):
    """Positions 1 to count are in the streams, each once, with their own id, and a key's in order."""
    seen = set()
    for n in range(topics):
        entries = redis.entries("%s-%d" % (prefix, n) if topics > 1 else prefix)
        newest = {}
        for id, fields in entries:
            position = int(fields["position"])
            ensure(id == "%d-0" % position, "entry %s has position %d" % (id, position))
            ensure(position > newest.get(fields["partitionkey"], 0), "position %d is out of order" % position)
            newest[fields["partitionkey"]] = position
            seen.add(position)
        ensure(len(entries) == len(set(id for id, _ in entries)), "an entry is there twice")
    missing = set(range(1, count + 1)) - seen
    ensure(not missing, "%d are missing, e.g. %s" % (len(missing), sorted(missing)[:5]))
    ensure(len(seen) == count, "there are %d positions, not %d" % (len(seen), count))


def ensure_done(result, **expected):
    for name, value in dict({"ok": True}, **expected).items():
        ensure(result[name] == value, "%s is %r, not %r: %s" % (name, result[name], value, json.dumps(result)[:800]))


def standard(*more):
    return ("redis", redis.url, "--log-id", LOG) + more


# ---- what is written ----

def test_all_there():
    result = drive(*standard("--count", COUNT, "--topics", 10, "--keys", 1000))
    ensure_done(result, done=COUNT, duplicates=0, losses=[])
    ensure_complete(10, COUNT)
    ensure(result["memory_kb"] < 400_000, "%d kB of memory with the sanitizers" % result["memory_kb"])
    back = drive(*standard("--verify", "1:%d" % COUNT, "--topics", 10, "--keys", 1000))
    ensure_done(back, messages=COUNT, missing=0, duplicates=0, out_of_order=0, replays=0, oldest=0)


def test_fields():
    ensure_done(drive(*standard("--count", 3, "--special", "2:tombstone")), done=3)
    entries = redis.entries("drive")
    names = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "position", "streamversion",
             "partitionkey"]
    ensure(list(entries[0][1]) == names + ["data"], "fields are %s" % list(entries[0][1]))
    ensure(json.loads(entries[0][1]["data"])["n"] == 1, "data is %s" % entries[0][1]["data"])
    ensure(list(entries[1][1]) == names, "a tombstone has %s" % list(entries[1][1]))


def test_structured():
    ensure_done(drive(*standard("mode=structured", "--count", 3)), done=3)
    ensure_done(drive(*standard("mode=structured", "--count", 1, "--replay", 9)), done=1)
    entries = redis.entries("drive")
    ensure([list(fields) for _, fields in entries] == [["event"]] * 3 + [["event", "replay"]], "fields: %s" % entries)
    events = [json.loads(fields["event"]) for _, fields in entries]
    ensure([event["position"] for event in events] == [1, 2, 3, 1], "positions: %s" % events)
    ensure(events[0]["data"]["n"] == 1 and events[0]["specversion"] == "1.0", "event: %s" % events[0])
    ensure(entries[3][1]["replay"] == "9" and entries[3][0] == "3-1", "the replay is %s" % (entries[3],))
    again = drive(*standard("mode=structured", "--count", 3))
    ensure_done(again, done=3, duplicates=3)


def test_odd_keys():
    ensure_done(drive(*standard("--count", 500, "--odd-keys", 1, "--topics", 3, "--special", "7:nokey")), done=500)
    back = drive(*standard("--verify", "1:500", "--topics", 3, "--odd-keys", 1))
    ensure(back["ok"] and back["missing"] == 0 and back["out_of_order"] == 0, "verify: %s" % back)


def test_large():
    ensure_done(drive(*standard("--count", 50, "--special", "7:large=9000000", "--special", "8:large=700000")), done=50)
    ensure(len(redis.entries("drive")) == 50, "not all are there")


def test_trimming():
    ensure_done(drive(*standard("maxlen=1000", "--count", 20_000)), done=20_000)
    length = redis.cli("XLEN", "drive")
    ensure(1000 <= length < 1500, "%d entries are kept" % length)
    back = drive(*standard("--verify", "1:20000"))
    ensure(back["messages"] == length and back["oldest"] == 20_000 - length + 1, "verify: %s" % back)
    redis.clear()
    ensure_done(drive(*standard("minid_positions=500", "--count", 20_000, "--topics", 2)), done=20_000)
    oldest = positions(redis.entries("drive-0"))[0]
    ensure(19_000 < oldest <= 19_600, "the oldest entry is %d" % oldest)


# ---- repetitions ----

def test_duplicates():
    ensure_done(drive(*standard("--count", 20_000, "--topics", 3)), done=20_000)
    again = drive(*standard("--count", 25_000, "--topics", 3))
    ensure_done(again, done=25_000, duplicates=20_000, losses=[])
    ensure_complete(3, 25_000)


def test_duplicates_trimmed():
    """What was trimmed, or deleted by consumers, came through all the same."""
    ensure_done(drive(*standard("maxlen=100", "--count", 5000)), done=5000)
    ensure_done(drive(*standard("maxlen=100", "--count", 6000)), done=6000, duplicates=5000)
    for id, _ in redis.entries("drive"):
        redis.cli("XDEL", "drive", id)
    ensure(redis.cli("XLEN", "drive") == 0, "entries are left")
    ensure_done(drive(*standard("--count", 6100)), done=6100, duplicates=6000)


def test_killed_driver():
    """The relay is killed under load, again and again, while consumers delete and Redis trims."""
    cursor = sinks.TMP + "/cursor"
    arguments = standard("maxlen=300", "--count", 60_000, "--topics", 3, "--cursor", cursor, "--batch", 500)
    for _ in range(12):
        run = Drive(*arguments)
        time.sleep(random.uniform(0.05, 0.4))   # when it is killed does not matter
        run.kill()
        for n in range(3):
            page = redis.cli("XRANGE", "drive-%d" % n, "-", "+", "COUNT", 50)
            if isinstance(page, list) and page:
                redis.cli("XDEL", "drive-%d" % n, *[id for id, _ in page])
    ensure_done(drive(*arguments), position=60_000, losses=[])
    for n in range(3):
        info = redis.cli("XINFO", "STREAM", "drive-%d" % n)
        ensure(abs(info["entries-added"] - 20_000) < 2000, "stream %d got %d entries" % (n, info["entries-added"]))
    ensure(sum(redis.cli("XINFO", "STREAM", "drive-%d" % n)["entries-added"] for n in range(3)) == 60_000,
           "something was lost or added twice")


# ---- failures ----

def test_killed_server():
    run = Drive(*standard("--count", 40_000, "--topics", 5, "--rate", 20_000, "--reopen", 200))
    for _ in range(4):
        before = redis.cli("DBSIZE")
        time.sleep(random.uniform(0.2, 0.5))    # when it is killed does not matter
        redis.run("kill")
        redis.run("up")
        ensure(not isinstance(before, dict), "Redis answers %s" % before)
    result = run.result()
    ensure_done(result, position=40_000)
    ensure(len(result["losses"]) >= 1, "the driver never lost Redis")
    ensure_complete(5, 40_000)


def test_cut():
    proxy = Proxy(redis.port)
    run = Drive("redis", "url=redis://127.0.0.1:%d" % proxy.port, "timeout_ms=1500", "--log-id", LOG, "--count", 40_000,
                "--topics", 5, "--rate", 20_000, "--reopen", 200)
    proxy.bytes_per_second = 1_000_000      # until the silence, so that it does not come when all is done
    for n in range(8):
        time.sleep(random.uniform(0.1, 0.25))   # when it is cut does not matter
        if n == 4:
            length = redis.cli("XLEN", "drive-0")
            wait_until(lambda: run.process.poll() is not None or redis.cli("XLEN", "drive-0") > length + 40, 30, "messages")
            ensure(run.process.poll() is None, "all was done before the silence")
            proxy.silence(2)
        proxy.cut()
    result = run.result()
    ensure_done(result, position=40_000)
    ensure(any(loss["code"] == "TIMEOUT" for loss in result["losses"]), "no timeout: %s" % result["losses"])
    ensure_complete(5, 40_000)


def test_out_of_memory():
    """Memory that is short and then is not: no message may take the place of one before it."""
    redis.cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
    run = Drive(*standard("--count", 12_000, "--topics", 4, "--rate", 6000, "--reopen", 1000, "--size", 900))
    stop = time.monotonic() + 60
    while run.process.poll() is None and time.monotonic() < stop:
        used = int(redis.cli("MEMORY", "STATS")["dataset.bytes"])
        redis.cli("CONFIG", "SET", "maxmemory", used + 1_100_000)
        redis.cli("CONFIG", "SET", "maxmemory", used + random.randrange(1_100_000, 2_500_000))
        time.sleep(0.02)
        redis.cli("CONFIG", "SET", "maxmemory", 0)
        time.sleep(0.1)
    result = run.result()
    ensure_done(result, position=12_000)
    ensure(any(loss["code"] == "OOM" for loss in result["losses"]), "memory was never short: %s" % result["losses"][:3])
    ensure_complete(4, 12_000)


def test_readonly():
    redis.cli("REPLICAOF", "127.0.0.1", 1)
    result = drive(*standard("--count", 10))
    ensure(result["ok"] is False and result["losses"][0]["code"] in ("READONLY", "MASTERDOWN"), "result: %s" % result)
    redis.cli("REPLICAOF", "NO", "ONE")
    ensure_done(drive(*standard("--count", 10)), done=10, duplicates=0)


# ---- rejected messages ----

def test_rejected():
    redis.cli("SET", "text", "not a stream")
    result = drive(*standard("--count", 2000, "--topics", 2, "--special", "100:topic=text", "--special", "900:topic=text",
                             "--special", "101:topic=", "--special", "102:topic=" + MARK))
    ensure_done(result, done=1996, rejected=4)
    codes = sorted((r["position"], r["code"]) for r in result["rejections"])
    ensure(codes == [(100, "WRONGTYPE"), (101, "INVALID_TOPIC"), (102, "INVALID_TOPIC"), (900, "WRONGTYPE")],
           "rejections: %s" % codes)
    there = positions(redis.entries("drive-0")) + positions(redis.entries("drive-1"))
    ensure(sorted(there) == sorted(set(range(1, 2001)) - {100, 101, 102, 900}), "not the others are there")


def test_not_permitted():
    """A key that may be read and not be written is found out inside a transaction."""
    redis.cli("ACL", "SETUSER", "relay", "on", ">secret", "~drive*", "~" + MARK, "%R~forbidden", "+@all")
    result = drive("redis", "url=redis://relay:secret@127.0.0.1:%d" % redis.port, "--log-id", LOG, "--count", 3000,
                   "--topics", 2, "--special", "10:topic=forbidden", "--special", "2000:topic=forbidden",
                   "--special", "2001:topic=invisible")
    ensure_done(result, done=2997, rejected=3)
    ensure({r["code"] for r in result["rejections"]} == {"NOPERM"}, "rejections: %s" % result["rejections"])
    there = positions(redis.entries("drive-0")) + positions(redis.entries("drive-1"))
    ensure(sorted(there) == sorted(set(range(1, 3001)) - {10, 2000, 2001}), "not the others are there")


# ---- foreign entries ----

def test_foreign_before():
    redis.cli("XADD", "drive", "*", "mine", "1")
    result = drive(*standard("--count", 10))
    ensure(result["ok"] is False and result["losses"][0]["blocked"], "not blocked: %s" % result)
    text = result["losses"][0]["text"]
    ensure("drive" in text and redis.entries("drive")[0][0] in text, "the text is: " + text)
    ensure(len(redis.entries("drive")) == 1, "something was written")


def test_foreign_between():
    cursor = sinks.TMP + "/foreign"
    arguments = standard("--count", 20_000, "--topics", 2, "--cursor", cursor, "--batch", 200, "--rate", 20_000)
    run = Drive(*arguments)
    wait_until(lambda: redis.cli("XLEN", "drive-1") > 3000, 30, "messages")
    foreign = redis.cli("XADD", "drive-1", "*", "mine", "1")
    result = run.result()
    ensure(result["ok"] is False and result["losses"][0]["blocked"], "not blocked: %s" % result)
    text = result["losses"][0]["text"]
    ensure("drive-1" in text and foreign in text, "the text is: " + text)
    again = drive(*arguments)
    ensure(again["ok"] is False and again["losses"][0]["blocked"], "goes on: %s" % again)
    # Its removal alone does not lower the top.
    redis.cli("XDEL", "drive-1", foreign)
    again = drive(*arguments)
    ensure(again["ok"] is False and again["losses"][0]["blocked"] and foreign in again["losses"][0]["text"],
           "goes on: %s" % again)
    redis.cli("XSETID", "drive-1", redis.cli("XREVRANGE", "drive-1", "+", "-", "COUNT", 1)[0][0], "ENTRIESADDED", 20000,
              "MAXDELETEDID", "0-0")
    ensure_done(drive(*arguments), position=20_000)
    ensure_complete(2, 20_000)


def test_other_log():
    """A log that was made anew, or another one, meets the streams of the old one."""
    ensure_done(drive(*standard("--count", 1000)), done=1000)
    redis.cli("XTRIM", "drive", "MAXLEN", 100)
    result = drive("redis", redis.url, "--log-id", "8-8", "--count", 10)
    ensure(result["ok"] is False and result["losses"][0]["blocked"], "not blocked: %s" % result)
    for id, fields in redis.entries("drive"):
        ensure(int(fields["position"]) > 900, "something was written")


# ---- replays ----

def test_replays():
    """Beside a live flow that moves the top: all of them, in order, marked."""
    ensure_done(drive(*standard("--count", 8000, "--topics", 2)), done=8000)
    cursor = sinks.TMP + "/live"
    with open(cursor, "w") as file:
        file.write("8000\n")
    live = Drive(*standard("--count", 28_000, "--topics", 2, "--cursor", cursor, "--rate", 10_000, "--batch", 20))
    wait_until(lambda: redis.cli("XINFO", "STREAM", "drive-0")["entries-added"] > 4500, 30, "live messages")
    replay = drive(*standard("--count", 8000, "--topics", 2, "--replay", 5))
    ensure_done(replay, done=8000, losses=[])
    ensure_done(live.result(), position=28_000)
    if replay["retried"] == 0:
        print("# the live flow never moved the top beside this replay")
    replayed = []
    for n in range(2):
        entries = redis.entries("drive-%d" % n)
        ours = positions([e for e in entries if "replay" in e[1]])
        ensure(ours == sorted(ours), "replays are out of order in stream %d" % n)
        ensure(all(e[1]["replay"] == "5" for e in entries if "replay" in e[1]), "not marked with their number")
        replayed += ours
        others = [e for e in entries if "replay" not in e[1]]
        ensure(all(id == "%s-0" % fields["position"] for id, fields in others), "the live flow has other ids")
    ensure(sorted(replayed) == list(range(1, 8001)), "%d were replayed" % len(replayed))
    ensure(redis.cli("TTL", MARK + ":replay/1/5") > 600_000, "the mark of the replay does not expire")
    ensure_done(drive(*standard("--count", 8000, "--topics", 2, "--replay", 5)), done=8000, duplicates=8000)
    ensure_done(drive(*standard("--count", 10, "--topics", 2, "--replay", 6)), done=10, duplicates=0)


# ---- who may connect ----

def refused(*arguments):
    result = drive(*arguments)
    ensure(result["ok"] is False and result["losses"], "it was let in: %s" % result)
    ensure("secret" not in json.dumps(result), "a secret is in %s" % result)
    return result["losses"][0]


def test_credentials():
    protected = Redis("protected", "requirepass secret-one\n")
    url = "127.0.0.1:%d" % protected.port
    loss = refused("redis", "url=redis://" + url)
    ensure(loss["code"] == "NOAUTH" and not loss["blocked"], "without a password: %s" % loss)
    loss = refused("redis", "url=redis://:secret-two@" + url)
    ensure(loss["code"] == "WRONGPASS" and not loss["blocked"], "with a wrong one: %s" % loss)
    ensure_done(drive("redis", "url=redis://:secret-one@" + url), done=1000)
    ensure_done(drive("redis", "url=redis://default@%s/3" % url, "password=secret-one"), done=1000, duplicates=0)
    protected.run("down", "--wipe")


def test_commands_not_permitted():
    for command in ("xadd", "multi", "xinfo", "hset", "hgetall"):
        redis.cli("ACL", "SETUSER", "limited", "reset", "on", ">secret", "~*", "+@all", "-" + command)
        loss = refused("redis", "url=redis://limited:secret@127.0.0.1:%d" % redis.port, "--count", 5)
        ensure(loss["blocked"] and loss["code"] == "NOPERM" and command in loss["text"], "without %s: %s" % (command, loss))
        redis.clear()
    redis.cli("ACL", "SETUSER", "limited", "reset", "on", ">secret", "~drive*", "~usher:relay:*", "-@all", "+xadd", "+xrange",
              "+xinfo", "+multi", "+exec", "+hset", "+hgetall", "+get", "+set")
    url = "url=redis://limited:secret@127.0.0.1:%d" % redis.port
    ensure_done(drive("redis", url, "--count", 500), done=500)
    ensure_done(drive("redis", url, "--count", 600), done=600, duplicates=500)
    ensure_done(drive("redis", url, "--count", 50, "--replay", 3), done=50)


def test_tls():
    ours, other = Authority("ours"), Authority("other")
    cert, key = ours.sign("server", "DNS:localhost")
    client_cert, client_key = ours.sign("client", "DNS:client")
    plain_port = sinks.free_port()
    secure = Redis("secure")
    secure.run("down")
    conf = sinks.TMP + "/secure.conf"
    with open(conf, "w") as file:
        file.write("port %d\ntls-port %d\ntls-cert-file %s\ntls-key-file %s\ntls-ca-cert-file %s\ntls-auth-clients optional\n"
                   % (plain_port, secure.port, cert, key, ours.cert))
    secure.environment["REDIS_CONF"] = conf
    secure.run("up")
    url = "url=rediss://localhost:%d" % secure.port
    ensure_done(drive("redis", url, "ca_file=" + ours.cert, "--count", 20_000, "--topics", 3), done=20_000)
    back = drive("redis", url, "ca_file=" + ours.cert, "--verify", "1:20000", "--topics", 3)
    ensure(back["ok"] and back["missing"] == 0, "verify: %s" % back)
    loss = refused("redis", url, "ca_file=" + other.cert)
    ensure("certificate" in loss["text"], "another authority: %s" % loss)
    loss = refused("redis", "url=rediss://127.0.0.1:%d" % secure.port, "ca_file=" + ours.cert)
    ensure("IP address mismatch" in loss["text"], "another host: %s" % loss)
    loss = refused("redis", "url=rediss://localhost:%d" % plain_port, "ca_file=" + ours.cert, "connect_timeout_ms=500")
    ensure("TLS" in loss["text"], "a port without TLS: %s" % loss)
    loss = refused("redis", "url=redis://localhost:%d" % secure.port, "timeout_ms=500")
    ensure(loss["code"] in ("PROTOCOL", "CONNECTION", "TIMEOUT"), "TLS is missing: %s" % loss)
    loss = refused("redis", url, "ca_file=/nowhere")
    ensure("cannot be read" in loss["text"], "no such file: %s" % loss)
    secure.run("down")
    with open(conf, "a") as file:
        file.write("tls-auth-clients yes\n")
    secure.run("up")
    loss = refused("redis", url, "ca_file=" + ours.cert, "timeout_ms=2000")
    ensure(not loss["blocked"], "without a certificate: %s" % loss)
    ensure_done(drive("redis", url, "ca_file=" + ours.cert, "cert_file=" + client_cert, "key_file=" + client_key,
                      "--count", 100, "--topic", "client"), done=100)
    secure.run("down", "--wipe")


def test_configuration():
    for url in ("http://127.0.0.1", "redis://", "redis://host:port", "redis://127.0.0.1/x", "redis://[::1", "redis://h:1?x=1"):
        loss = refused("redis", "url=" + url)
        ensure(loss["blocked"] and loss["code"] == "CONFIG", "%s: %s" % (url, loss))
    loss = refused("redis", "url=redis://127.0.0.1:%d" % sinks.free_port())
    ensure(not loss["blocked"] and "refused" in loss["text"], "nobody there: %s" % loss)
    loss = refused("redis", "url=redis://nowhere.invalid", "connect_timeout_ms=3000")
    ensure(not loss["blocked"] and loss["code"] == "CONNECT", "no such host: %s" % loss)


# ---- peers that are no Redis ----

ANSWERS = [b"+OK\r\n", b"+QUEUED\r\n", b"-ERR no such key\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b":1\r\n", b"$3\r\nabc\r\n",
           b"*2\r\n$3\r\n1-0\r\n*0\r\n", b"*2147483647\r\n", b"*4294967297\r\n", b"$9999999999\r\n", b"$2147483647\r\nabc",
           b"*1\r\n" * 12, b"*1000000\r\n", b"-LOADING x\r\n", b"-\r\n", b"$x\r\n", b"\x00\xff\x80", b"HTTP/1.1 400 Bad\r\n\r\n",
           b"-ERR " + b"e" * 5000 + b"\r\n", b"*1\r\n*2\r\n$3\r\n9-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
           b"*4\r\n$17\r\nlast-generated-id\r\n$3\r\n5-0\r\n$10\r\nlast-entry\r\n*2\r\n$3\r\n5-0\r\n*1\r\n$1\r\na\r\n"]
GREETING = b"+OK\r\n" * 2 + b"*0\r\n*0\r\n"     # CLIENT SETNAME, MULTI, EXEC, HGETALL


def nonsense(client, number):
    """As far as it goes an answer to what was asked, then anything."""
    chance = random.Random(number)
    client.recv(1 << 16)
    if chance.random() < 0.8:
        client.sendall(GREETING)
    for _ in range(chance.randrange(1, 12)):
        answer = chance.choice(ANSWERS)
        if chance.random() < 0.2:
            answer = answer[:chance.randrange(len(answer) + 1)]
        if chance.random() < 0.1:
            answer = bytes(chance.randrange(256) for _ in range(chance.randrange(200)))
        client.sendall(answer)
        if chance.random() < 0.3:
            client.settimeout(0.02)
            try:
                client.recv(1 << 16)
            except socket_timeout:
                pass


def endless(client, _):
    """An answer that never ends."""
    client.recv(1 << 16)
    client.sendall(GREETING + b"$500000000\r\n")
    while True:
        client.sendall(b"x" * (1 << 20))


socket_timeout = sinks.socket.timeout


def test_nonsense():
    fake = FakeServer(nonsense)
    result = drive("redis", "url=redis://127.0.0.1:%d" % fake.port, "timeout_ms=100", "--count", 100, "--reopen", 40)
    ensure(result["ok"] is False, "nonsense was taken for Redis: %s" % result)
    ensure(len(result["losses"]) > 40 or result["losses"][-1]["blocked"], "it gave up early: %s" % result["losses"][-1])


def test_endless():
    fake = FakeServer(endless)
    result = drive("redis", "url=redis://127.0.0.1:%d" % fake.port, "--count", 10)
    ensure(result["ok"] is False and "too large" in result["losses"][0]["text"], "result: %s" % result)
    ensure(result["memory_kb"] < 600_000, "%d kB of memory with the sanitizers" % result["memory_kb"])


def test_verify_finds():
    ensure_done(drive(*standard("--count", 3000, "--topics", 2)), done=3000)
    for position in (17, 1500):
        for n in range(2):
            redis.cli("XDEL", "drive-%d" % n, "%d-0" % position)
    redis.cli("XADD", "drive-0", "*", "foreign", "1")
    back = drive(*standard("--verify", "1:3000", "--topics", 2))
    ensure(back["ok"] and back["missing"] == 2 and back["messages"] == 2998, "verify: %s" % back)
    back = drive(*standard("--verify", "100:200", "--topics", 2))
    ensure(back["ok"] and back["missing"] == 0 and back["messages"] == 101, "a part: %s" % back)
    back = drive(*standard("--verify", "1:10", "--topic", "nothing"))
    ensure(back["ok"] and back["missing"] == 10 and back["oldest"] == 0, "no stream: %s" % back)
    redis.cli("SET", "text", "not a stream")
    back = drive(*standard("--verify", "1:10", "--topic", "text"))
    ensure(not back["ok"] and "WRONGTYPE" in back["error"], "no stream at all: %s" % back)


TESTS = [
    ("100,000 messages, all there, read back with redis-cli", test_all_there),
    ("fields are the attributes, then data", test_fields),
    ("structured: one field with the whole event", test_structured),
    ("odd keys, and none", test_odd_keys),
    ("large messages", test_large),
    ("streams are trimmed by length and by position", test_trimming),
    ("what was sent before is a duplicate", test_duplicates),
    ("also when it was trimmed or deleted meanwhile", test_duplicates_trimmed),
    ("the relay is killed again and again", test_killed_driver),
    ("Redis is killed with -9 again and again", test_killed_server),
    ("the network is cut, and silent", test_cut),
    ("memory is short now and then", test_out_of_memory),
    ("a replica is no place to write", test_readonly),
    ("rejected messages leave the others alone", test_rejected),
    ("keys that may not be written", test_not_permitted),
    ("a stream of somebody else is not touched", test_foreign_before),
    ("a foreign XADD stops the sink and loses nothing", test_foreign_between),
    ("the streams of another log are not touched", test_other_log),
    ("replays beside the live flow", test_replays),
    ("passwords", test_credentials),
    ("commands that may not be used", test_commands_not_permitted),
    ("TLS", test_tls),
    ("wrong configurations and hosts", test_configuration),
    ("nonsense for answers", test_nonsense),
    ("an answer without end", test_endless),
    ("verify finds what is missing", test_verify_finds),
]

Drive.PROGRAM = sinks.build(["redis"], ["hiredis", "ssl", "crypto"])
redis = Redis()
for name, function in TESTS:
    if len(sys.argv) == 1 or any(part in name for part in sys.argv[1:]):
        redis.clear()
        redis.cli("CONFIG", "SET", "maxmemory", 0)
        sinks.test(name, function)
sinks.end()
