#!/usr/bin/python3
# test/integration/kafka_sink.py: the Kafka sink against a real broker, read back with kcat and compared with Kafka's own producer.
# slow: 90 s
#
# No PostgreSQL: src/sink_drive.c feeds the sink by sink.h. It is built twice, the second time with the address and
# undefined-behaviour sanitizers. The broker is this test's own. Prints TAP lines.
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))

from ports import free_ports     # noqa: E402

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", ".."))
SERVER = os.path.join(ROOT, "scripts", "servers", "kafka")
WORK = tempfile.mkdtemp(prefix="kafka_sink.", dir=os.environ.get("TEST_TMP"))
PARTITIONS = 4
EXTRA = """
num.partitions=%d
listeners=PLAINTEXT://127.0.0.1:{0},SASL_PLAINTEXT://127.0.0.1:{2},CONTROLLER://127.0.0.1:{1}
advertised.listeners=PLAINTEXT://127.0.0.1:{0},SASL_PLAINTEXT://127.0.0.1:{2}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_relay="open-sesame";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
""" % PARTITIONS


class Failure(Exception):
    pass


def ensure(condition, text):
    if not condition:
        raise Failure(text)


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + 3 * seconds       # of a quiet machine
    while not condition():
        ensure(time.monotonic() < deadline, "waited %d s in vain for %s" % (3 * seconds, what))
        time.sleep(0.01)


PORT = free_ports(3)        # of clients, of the controller, of clients with a password
BROKER = "127.0.0.1:%d" % PORT
ENV = dict(os.environ, KAFKA_PORT=str(PORT), KAFKA_DIR=os.path.join(WORK, "broker"), KAFKA_CONF=os.path.join(WORK, "extra.conf"))
SINK_IDS = iter(range(1, 1000))


def server(*arguments, **options):
    done = subprocess.run([SERVER] + list(arguments), env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, timeout=180, **options)
    ensure(done.returncode == 0, "kafka %s: %s" % (" ".join(arguments), done.stdout[-2000:]))
    return done.stdout


def tool(name, *arguments, **options):
    return server("tool", name, "--bootstrap-server", BROKER, *arguments, **options)


def topic(name, *config):
    tool("TopicCommand", "--create", "--topic", name, "--partitions", str(PARTITIONS),
         *[word for entry in config for word in ("--config", entry)])


def build():
    sources = [os.path.join(ROOT, name) for name in ("test/integration/src/sink_drive.c", "test/integration/src/drive_verify.c",
                                                     "bgworkers/sinks/sink.c", "extension/lib/cloudevents.c")]
    sinks = os.path.join(ROOT, "bgworkers/sinks")
    sources += [os.path.join(sinks, name) for name in sorted(os.listdir(sinks)) if name.startswith("kafka") and name.endswith(".c")]
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror",
             "-I" + os.path.join(ROOT, "extension"), "-I" + os.path.join(ROOT, "bgworkers")]
    for name, extra in (("drive", []), ("drive_sanitized", ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined",
                                                           "-fno-omit-frame-pointer"])):
        subprocess.run(["cc"] + flags + extra + ["-o", os.path.join(WORK, name)] + sources + ["-lrdkafka"], check=True)


def command(options, brokers=BROKER, sanitized=True, **named):
    """The driver's command: options of the sink as a dictionary, those of the driver by name."""
    argv = [os.path.join(WORK, "drive_sanitized" if sanitized else "drive"), "kafka", "brokers=" + brokers]
    argv += ["%s=%s" % entry for entry in options.items()]
    for name, value in named.items():
        for each in value if isinstance(value, list) else [value]:
            argv += ["--" + name.replace("_", "-"), str(each)]
    return argv


def drive(options=None, ok=True, seconds=120, **named):
    done = subprocess.run(command(options or {}, **named), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=seconds)
    try:
        result = json.loads(done.stdout)
    except ValueError:
        raise Failure("the driver said: %s %s" % (done.stdout[-500:], done.stderr[-3000:]))
    ensure("Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr[-3000:])
    ensure(result["ok"] == ok, "the driver said: %s" % done.stdout[:1500])
    return result


class Record:
    """A message as kcat saw it."""

    def __init__(self, line):
        partition, offset, key_len, key, headers, size, body = line.rstrip("\n").split("\t", 6)
        self.partition, self.offset = int(partition), int(offset)
        self.key = None if key_len == "-1" else key
        self.headers = dict(entry.split("=", 1) for entry in headers.split(",") if entry)
        self.body = None if size == "-1" else body
        self.position = int(self.headers["ce_position"]) if "ce_position" in self.headers else None


def read(name):
    """All committed messages of a topic, partition by partition, in the order of offsets."""
    done = subprocess.run(["kcat", "-b", BROKER, "-C", "-t", name, "-e", "-q", "-X", "isolation.level=read_committed",
                           "-f", "%p\\t%o\\t%K\\t%k\\t%h\\t%S\\t%s\\n"],
                          stdout=subprocess.PIPE, universal_newlines=True, timeout=120, check=True, encoding="utf-8")
    return [Record(line) for line in done.stdout.split("\n") if line]


def check_positions(records, expected, repeats=False):
    """The positions are the expected ones, those of a key in order when they come for the first time."""
    seen, newest, out_of_order = {}, {}, []
    for record in sorted(records, key=lambda record: (record.partition, record.offset)):
        if record.position in seen:
            ensure(seen[record.position] == record.headers.get("ce_id"), "position %d came with two ids" % record.position)
            ensure(repeats, "position %d came twice" % record.position)
            continue
        seen[record.position] = record.headers.get("ce_id")
        if record.position < newest.get(record.key, 0):
            out_of_order.append(record.position)
        newest[record.key] = record.position
    missing = set(expected) - set(seen)
    ensure(not missing, "missing: %d, e.g. %s" % (len(missing), sorted(missing)[:5]))
    ensure(not set(seen) - set(expected), "not expected: %s" % sorted(set(seen) - set(expected))[:5])
    ensure(not out_of_order, "out of order: %s" % out_of_order[:5])


def rejected(result):
    return {entry["position"]: entry["code"] for entry in result["rejections"]}


# ---- tests ----

def everything_arrives():
    result = drive(topic="plain", count=100000, keys=10000, odd_keys=1, special=["77:tombstone"])
    ensure(result["done"] == 100000 and result["retried"] == 0, "driver: %s" % result)
    records = read("plain")
    ensure(len(records) == 100000, "%d messages" % len(records))
    check_positions(records, range(1, 100001))
    for record in records:
        headers = record.headers
        ensure(record.key is not None and (record.key == "" or headers["ce_partitionkey"] == record.key), "key: %r" % record.key)
        ensure(headers["ce_specversion"] == "1.0" and headers["content-type"] == "application/json", "headers: %s" % headers)
        ensure(headers["ce_type"] == "order.placed" and headers["ce_time"].endswith("Z"), "headers: %s" % headers)
        if record.position == 77:
            ensure(record.body is None, "the tombstone has a body")
        else:
            body = json.loads(record.body)
            ensure(body["n"] == record.position and body["key"] == record.key, "body: %s" % record.body)


def partitions_as_java_chooses():
    """Kafka's console producer sends the same keys; its partitioner is the default one."""
    ours = {record.key: record.partition for record in read("plain")}
    path = os.path.join(WORK, "keys")
    with open(path, "w", encoding="utf-8") as keys:
        for key in ours:
            keys.write("%s\tx\n" % key)
    with open(path, encoding="utf-8") as keys:
        tool("ConsoleProducer", "--topic", "java", "--property", "parse.key=true", "--property", "key.separator=\t", stdin=keys)
    theirs = {record.key: record.partition for record in read("java")}
    ensure(len(ours) == 10000 and "" in ours and any(ord(c) > 127 for key in ours for c in key), "%d keys" % len(ours))
    ensure(set(ours) == set(theirs), "other keys: %d, %d" % (len(ours), len(theirs)))
    different = [key for key in ours if ours[key] != theirs[key]]
    ensure(not different, "%d of %d keys in another partition, e.g. %r" % (len(different), len(ours), different[:3]))
    ensure(len(set(ours.values())) == PARTITIONS, "partitions used: %s" % set(ours.values()))


def structured():
    drive({"mode": "structured", "compression": "zstd"}, topic="structured", count=1000, replay=7)
    records = read("structured")
    check_positions(records, range(1, 1001))
    for record in records:
        ensure(sorted(record.headers) == ["ce_position", "ce_replay", "content-type"], "headers: %s" % record.headers)
        ensure(record.headers["content-type"] == "application/cloudevents+json; charset=UTF-8", "headers: %s" % record.headers)
        event = json.loads(record.body)
        ensure(event["specversion"] == "1.0" and event["data"]["n"] == record.position, "event: %s" % record.body)
        ensure(int(event["position"]) == record.position and int(event["replay"]) == 7, "event: %s" % record.body)


def send_beside(sink, name, bad):
    """10,000 messages to a topic, some of which are bad: position -> (what it is, the codes it may be rejected with)."""
    ends = {record.partition: record.offset for record in read(name)}
    result = drive(sink, topic=name, count=10000, sink_id=next(SINK_IDS),
                   special=["%d:%s" % (position, what) for position, (what, codes) in bad.items()])
    found = rejected(result)
    ensure(set(found) == set(bad) and all(found[position] in bad[position][1].split() for position in bad), "rejected: %s" % result)
    check_positions([record for record in read(name) if record.offset > ends.get(record.partition, -1)],
                    set(range(1, 10001)) - set(bad))


def rejections(sink):
    """Each kind in the middle of good messages. librdkafka says of an invalid topic that it is unknown once it knows that."""
    send_beside(sink, "small", {5000: ("large=1100000", "MSG_SIZE_TOO_LARGE"), 5001: ("topic=bad topic!", "TOPIC_EXCEPTION _UNKNOWN_TOPIC"),
                                5002: ("large=200000", "MSG_SIZE_TOO_LARGE"), 5003: ("large=60000", "MSG_SIZE_TOO_LARGE")})
    send_beside(sink, "compacted", {position: ("nokey", "INVALID_RECORD") for position in (5000, 5500, 5501)})
    send_beside(sink, "small", {4000: ("topic=hidden", "TOPIC_AUTHORIZATION_FAILED"),
                                5000: ("topic=closed", "TOPIC_AUTHORIZATION_FAILED"),
                                5001: ("topic=closed", "TOPIC_AUTHORIZATION_FAILED")})


def rejected_for_good():
    topic("small", "max.message.bytes=50000")
    topic("compacted", "cleanup.policy=compact")
    drive(topic="hidden", count=1)
    drive(topic="closed", count=1)
    tool("AclCommand", "--add", "--deny-principal", "User:ANONYMOUS", "--operation", "Write", "--topic", "hidden", "--topic", "closed")
    tool("AclCommand", "--add", "--allow-principal", "User:ANONYMOUS", "--operation", "Describe", "--topic", "closed")
    rejections({})


def rejected_in_a_transaction():
    # nothing is left of the first transaction, so the broker never begins it, nor aborts it
    for _ in range(3):
        result = drive({"exactly_once": "true"}, topic="closed", count=20, sink_id=next(SINK_IDS))
        ensure((result["done"], result["rejected"]) == (0, 20), "a topic that is closed: %s" % result)
    rejections({"exactly_once": "true"})


def configuration():
    def loss(options, **named):
        return drive(options, ok=False, count=10, topic="configuration", **named)["losses"][0]

    for options, word in (({"rdkafka/no.such.property": "hunter2"}, "no.such.property"),
                          ({"rdkafka/acks": "hunter2"}, "acks"),
                          ({"compression": "hunter2"}, "compression"),
                          ({"rdkafka/plugin.library.paths": "hunter2"}, "not allowed"),
                          ({"rdkafka/sasl.kerberos.kinit.cmd": "hunter2"}, "not allowed"),
                          ({"rdkafka/transactional.id": "hunter2"}, "exactly_once")):
        found = loss(options)
        ensure(found["blocked"] and word in found["text"] and "hunter2" not in json.dumps(found), "%s: %s" % (options, found))
    drive({"rdkafka/linger.ms": "0", "rdkafka/client.id": "mine"}, count=10, topic="configuration")

    sasl = {"rdkafka/security.protocol": "sasl_plaintext", "rdkafka/sasl.mechanism": "PLAIN", "rdkafka/sasl.username": "relay"}
    secured = "127.0.0.1:%d" % (PORT + 2)
    drive(dict(sasl, **{"rdkafka/sasl.password": "open-sesame"}), brokers=secured, count=10, topic="configuration")
    found = loss(dict(sasl, **{"rdkafka/sasl.password": "hunter2"}), brokers=secured)
    ensure(not found["blocked"] and "uthentication" in found["code"] + found["text"] and "hunter2" not in found["text"],
           "wrong password: %s" % found)
    found = loss({"connect_timeout_ms": "1500"}, brokers="127.0.0.1:1")
    ensure(not found["blocked"] and "refused" in found["text"], "nobody listens: %s" % found)


def reading_back():
    count, name = 20000, "back"
    begin = int(time.time() * 1000)
    drive(topic=name, topics=2, count=count, keys=500)
    result = drive(topic=name, topics=2, keys=500, verify="1:%d" % count, since_ms=begin)
    ensure((result["messages"], result["missing"], result["duplicates"], result["out_of_order"], result["oldest"]) ==
           (count, 0, 0, 0, 0), "after sending: %s" % result)
    drive(topic=name, topics=2, count=300, keys=500, replay=3)
    drive(topic=name, topics=2, count=100, keys=500)
    result = drive(topic=name, topics=2, keys=500, verify="1:%d" % count, since_ms=begin)
    ensure((result["missing"], result["replays"], result["duplicates"]) == (0, 300, 100), "repeated: %s" % result)
    result = drive(topic=name, topics=2, keys=500, verify="1:%d" % (count + 5), since_ms=begin)
    ensure(result["missing"] == 5, "more than there are: %s" % result)
    result = drive(topic=name, topics=2, keys=500, verify="1:10", since_ms=int(time.time() * 1000) + 3600000)
    ensure(result["messages"] == 0, "nothing is that new: %s" % result)
    def trimmed_to(record):
        """Trim a topic so that it begins with this record, and read it back."""
        path = os.path.join(WORK, "delete.json")
        with open(path, "w") as file:
            json.dump({"version": 1, "partitions": [{"topic": name + "-0", "partition": record.partition,
                                                     "offset": record.offset}]}, file)
        tool("DeleteRecordsCommand", "--offset-json-file", path)
        return drive(topic=name, topics=2, keys=500, verify="1:%d" % count, since_ms=begin)

    # sent once and in order; 300 that say that they are repeated; 100 that do not say so
    partition = [record for record in read(name + "-0") if record.partition == 0]
    result = trimmed_to(partition[100])
    gone = ({record.position for record in partition[:100]} -
            {record.position for record in partition[100:] if "ce_replay" not in record.headers})
    ensure((result["oldest"], result["missing"]) == (partition[100].position, len(gone)) and gone,
           "trimmed up to %d: %s" % (partition[100].position, result))
    repeats = [index for index, record in enumerate(partition) if "ce_replay" in record.headers]
    newer = partition[repeats[-1] + 1]
    result = trimmed_to(partition[repeats[0]])
    ensure(result["oldest"] == newer.position, "trimmed up to repeats, behind them %d: %s" % (newer.position, result))
    result = drive(topic="nowhere", verify="1:10")
    ensure(result["ok"] and result["missing"] == 10, "no such topic: %s" % result)


def broker_killed():
    """Killed with -9 in the middle, and started again; one driver in transactions, one without."""
    names, count = {"crash": {}, "crash-once": {"exactly_once": "true"}}, 40000
    drivers = {name: subprocess.Popen(command(sink, topic=name, count=count, rate=6000, keys=1000, reopen=50,
                                              sink_id=next(SINK_IDS)), stdout=subprocess.PIPE, universal_newlines=True)
               for name, sink in names.items()}
    time.sleep(3)
    server("kill")
    server("up")
    for name, driver in drivers.items():
        output = driver.communicate(timeout=120)[0]
        result = json.loads(output)
        ensure(result["ok"] and result["done"] == count, "driver: %s" % output[:1500])
        records = read(name)
        check_positions(records, range(1, count + 1), repeats=not names[name])
        print("# %s: %d repeats, %d losses" % (name, len(records) - count, len(result["losses"])))


def dead_broker():
    """Nobody comes back: the sink says so in time, and does not hang. The last test, since the broker stays away."""
    driver = subprocess.Popen(command({"ack_timeout_ms": "3000"}, topic="dead", count=100000, rate=5000),
                              stdout=subprocess.PIPE, universal_newlines=True)
    time.sleep(2)
    server("kill")
    began = time.monotonic()
    output = driver.communicate(timeout=120)[0]
    took = time.monotonic() - began
    ensure(json.loads(output)["losses"][0]["code"] == "_TIMED_OUT" and took < 30, "after %.1f s: %s" % (took, output[:800]))


def position(cursor):
    try:
        with open(cursor) as file:
            return int(file.read() or 0)
    except FileNotFoundError:
        return 0


def exactly_once_after_kill():
    """The driver dies with -9, again and again, and once it comes back with a cursor of long ago."""
    cursor, sink_id, kills = os.path.join(WORK, "cursor"), next(SINK_IDS), 0
    arguments = dict(topic="once", count=60000, keys=1000, rate=12000, batch=500, cursor=cursor, sink_id=sink_id, sanitized=False)
    while kills < 4:
        driver = subprocess.Popen(command({"exactly_once": "true"}, **arguments), stdout=subprocess.PIPE)
        before = position(cursor)
        wait_until(lambda: driver.poll() is not None or position(cursor) >= before + 3000, 30, "the driver to get on")
        ensure(driver.poll() is None, "the driver has ended")
        time.sleep(0.037 * kills)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        kills += 1
        if kills == 2:
            os.remove(cursor)
    result = drive({"exactly_once": "true"}, **arguments)
    ensure(result["position"] == 60000, "driver: %s" % result)
    records = read("once")
    ensure(len(records) == 60000, "%d messages" % len(records))
    check_positions(records, range(1, 60001))

    os.remove(cursor)
    result = drive({"exactly_once": "true"}, **arguments)
    ensure(result["raised_to"] == 60000 and result["done"] == 0, "the position was not found: %s" % result)
    os.remove(cursor)
    result = drive({"exactly_once": "true"}, **dict(arguments, epoch=2, count=1000))
    ensure(result["raised_to"] == 0 and result["done"] == 1000, "a seek must send again: %s" % result)
    ensure(len(read("once")) == 61000, "the seek did not repeat what it was asked to")


def fenced():
    """Of two with the same lane, the older one is told to go."""
    arguments = dict(topic="fenced", count=100000, rate=2000, batch=100, sink_id=next(SINK_IDS))
    cursor = os.path.join(WORK, "older")
    older = subprocess.Popen(command({"exactly_once": "true"}, cursor=cursor, **arguments), stdout=subprocess.PIPE,
                             universal_newlines=True)
    wait_until(lambda: position(cursor) > 1000, 30, "the older one to get on")
    newer = drive({"exactly_once": "true"}, **dict(arguments, rate=0, count=20000))
    output = json.loads(older.communicate(timeout=120)[0])
    ensure(newer["raised_to"] > 0, "the newer one did not see how far the older one was: %s" % newer)
    ensure(output["losses"] and output["losses"][0]["code"] in ("_FENCED", "PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH"),
           "the older one: %s" % output)
    positions = [record.position for record in read("fenced")]
    ensure(len(positions) == len(set(positions)), "%d positions came twice" % (len(positions) - len(set(positions))))


# Stage after stage; in a stage the rows run side by side, since they wait more than they work.
STAGES = [[[("100,000 messages of 10,000 keys arrive once, in order, with headers", everything_arrives),
            ("partitions are those of the Java client", partitions_as_java_chooses),
            ("structured mode", structured),
            ("configuration and authentication", configuration),
            ("reading back", reading_back)],
           [("too large, invalid, unauthorised: rejected, and nothing else", rejected_for_good),
            ("the same in transactions", rejected_in_a_transaction)],
           [("the sender killed: each position once", exactly_once_after_kill),
            ("an older instance is fenced off", fenced)]],
          [[("broker killed: nothing missing, transactions come once", broker_killed)]],
          [[("a dead broker is noticed", dead_broker)]]]


def run_row(row, failed):
    for name, test in row:
        began = time.monotonic()
        try:
            test()
            print("ok %s (%.1f s)" % (name, time.monotonic() - began), flush=True)
        except Exception as error:  # a test that breaks is a test that fails
            failed.append(name)
            if not isinstance(error, Failure):
                traceback.print_exc(file=sys.stdout)
            print("not ok %s - %s" % (name, str(error).replace("\n", " | ")), flush=True)


def main():
    failed, chosen = [], sys.argv[1:]
    with open(ENV["KAFKA_CONF"], "w") as file:
        file.write(EXTRA.format(PORT, PORT + 1, PORT + 2))
    starting = threading.Thread(target=server, args=("up",), daemon=True)
    try:
        starting.start()
        build()
        starting.join()
        server("up")
        for stage in STAGES:
            rows = [threading.Thread(target=run_row, args=([test for test in row if not chosen or test[1].__name__ in chosen], failed),
                                     daemon=True) for row in stage]
            for row in rows:
                row.start()
            for row in rows:
                row.join()
    finally:
        subprocess.run([SERVER, "kill"], env=ENV)
        shutil.rmtree(WORK, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
