# test/chaos/brokers.py: real brokers behind a proxy, and what lies in them, read with clients that are not ours.
#
# A Broker is a server of scripts/servers with a port and a directory of its own. The relay reaches it through the proxy,
# readers directly. Ended at exit, whatever happens.
import atexit
import collections
import json
import os
import re
import subprocess
import urllib.parse

import proxy
from lib import ROOT, Failure, ensure
from ports import free_port, free_ports

TAG = re.compile(r'"tag": ?(\d+)')
PAGE = 5000
SERVER_SECONDS_MAX = 180

# order: of arrival in the topic's partition; replay: its number, 0 for a message of the live flow
Message = collections.namedtuple("Message", "topic partition order key id position replay tag")


def message(topic, partition, order, key, attributes, data):
    found = TAG.search(data or "")
    return Message(topic, partition, order, key, attributes["id"], int(attributes["position"]),
                   int(attributes.get("replay", 0)), int(found.group(1)) if found else None)


class Broker:
    KIND = None
    CONF = ""

    def __init__(self, base):
        self.port = self.choose_port()
        self.proxy = proxy.Proxy(self.port)
        self.environment = dict(os.environ)
        name = self.KIND.upper()
        self.environment[name + "_PORT"] = str(self.port)
        self.environment[name + "_DIR"] = os.path.join(base, self.KIND)
        self.environment[name + "_CONF"] = os.path.join(base, self.KIND + ".conf")
        with open(self.environment[name + "_CONF"], "w") as file:
            file.write(self.conf())
        os.chmod(base, 0o755)           # it may run as another user
        owner = os.getpid()
        atexit.register(lambda: os.getpid() == owner and self.script("down", "--wipe"))
        self.script("up")

    def choose_port(self):
        return free_port()

    def conf(self):
        return self.CONF

    def script(self, *arguments):
        done = subprocess.run([os.path.join(ROOT, "scripts/servers", self.KIND)] + list(arguments), env=self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SERVER_SECONDS_MAX, text=True)
        ensure(done.returncode == 0, "%s %s: %s" % (self.KIND, " ".join(arguments), done.stdout.strip()[-500:]))
        return done.stdout.strip()


class Redis(Broker):
    KIND = "redis"
    CONF = "appendfsync always\n"       # it keeps what it acknowledged

    def sink(self):
        return {"url": "redis://127.0.0.1:%d" % self.proxy.port, "timeout_ms": 1500, "connect_timeout_ms": 1500}

    def cli(self, *words):
        done = subprocess.run(["redis-cli", "-p", str(self.port), "--json"] + [str(word) for word in words],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        text = done.stdout.decode(errors="replace")
        try:
            return json.loads(text)
        except ValueError:
            raise Failure("redis-cli %s: %s" % (words[0], text.strip()[:200]))

    def read(self, topics, committed=True):
        for topic in topics:
            start, order = "-", 0
            while True:
                page = self.cli("XRANGE", topic, start, "+", "COUNT", PAGE)
                for entry, fields in page:
                    fields = dict(zip(fields[::2], fields[1::2]))
                    found = message(topic, 0, order, fields.get("partitionkey"), fields, fields.get("data"))
                    if not found.replay:
                        ensure(entry == "%d-0" % found.position, "entry %s has position %d" % (entry, found.position))
                    order += 1
                    yield found
                if len(page) < PAGE:
                    break
                start = "(" + page[-1][0]


class Kafka(Broker):
    KIND = "kafka"
    PARTITIONS = 3

    def choose_port(self):
        """Free, as are the two behind it: the controller's, and that of the readers."""
        return free_ports(3)

    def conf(self):
        """The listener that clients begin with tells them to go on through the proxy."""
        listeners = "PLAINTEXT://127.0.0.1:%d,DIRECT://127.0.0.1:%d" % (self.port, self.port + 2)
        return "\n".join((
            "num.partitions=%d" % self.PARTITIONS,
            "listeners=%s,CONTROLLER://127.0.0.1:%d" % (listeners, self.port + 1),
            "advertised.listeners=" + listeners.replace(":%d," % self.port, ":%d," % self.proxy.port),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name=DIRECT", ""))

    def sink(self):
        return {"brokers": "127.0.0.1:%d" % self.proxy.port, "connect_timeout_ms": 3000, "ack_timeout_ms": 4000}

    def kcat(self, *arguments):
        done = subprocess.run(["kcat", "-b", "127.0.0.1:%d" % (self.port + 2)] + list(arguments), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=120, encoding="utf-8")
        ensure(done.returncode == 0, "kcat: " + done.stderr.strip()[-300:])
        return done.stdout

    def read(self, topics, committed=True):
        there = {topic["topic"] for topic in json.loads(self.kcat("-L", "-J"))["topics"]}
        for topic in topics:
            if topic not in there:
                continue
            level = "read_committed" if committed else "read_uncommitted"
            lines = self.kcat("-C", "-t", topic, "-e", "-q", "-X", "isolation.level=" + level, "-f",
                              "%p\t%o\t%K\t%k\t%h\t%s\n").split("\n")
            for line in lines[:-1]:
                partition, offset, key_len, key, headers, data = line.split("\t", 5)
                headers = dict(header.split("=", 1) for header in headers.split(","))
                attributes = {name[3:]: value for name, value in headers.items() if name.startswith("ce_")}
                yield message(topic, int(partition), int(offset), None if key_len == "-1" else key, attributes, data)


class Nats(Broker):
    KIND = "nats"
    CONF = "max_payload: 900000\n"
    STREAM = "CHAOS"

    def __init__(self, base):
        super().__init__(base)
        self.program = os.path.join(base, "nats_read")
        subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-o", self.program,
                        os.path.join(os.path.dirname(__file__), "src/nats_read.c"), "-lnats"], check=True)

    def sink(self):
        return {"url": "nats://127.0.0.1:%d" % self.proxy.port, "timeout_ms": 1500, "connect_timeout_ms": 1500,
                "stream": self.STREAM, "create_stream": True, "subjects": "nats.>"}

    def read(self, topics, committed=True):
        done = subprocess.run([self.program, "nats://127.0.0.1:%d" % self.port, self.STREAM, "nats.>"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=120, encoding="utf-8")
        ensure(done.returncode == 0, "nats_read: " + done.stderr.strip()[-300:])
        for line in done.stdout.split("\n")[:-1]:
            sequence, subject, *headers, data = line.split("\t")
            headers = dict(header.split("=", 1) for header in headers)
            attributes = {name[3:]: urllib.parse.unquote(value) for name, value in headers.items() if name.startswith("ce-")}
            yield message(subject, 0, int(sequence), attributes.get("partitionkey"), attributes, data)
