#!/usr/bin/python3
# examples/changelog/brokers.py: what the brokers have of the log, read back with clients that are not ours.
#
# Waits until the sinks "kafka", "redis" and "nats" have sent everything, then reads their topics from the beginning:
# with kcat, with redis-cli, and from NATS in its own protocol, by a consumer of JetStream that gets headers only.
# Exits 1 if a position of the log is missing, or is there twice.

import argparse
import json
import os
import socket
import subprocess
import sys
import time

import psycopg2

SECONDS_MAX = 300
PAGE = 1000


def options():
    parser = argparse.ArgumentParser(description="read the brokers back and compare with the log")
    parser.add_argument("--dsn", default="", help="libpq connection string (default: PG* environment)")
    for kind in READERS:
        parser.add_argument("--" + kind, metavar="HOST:PORT")
    return parser.parse_args()


def read_kafka(address, topics):
    for topic in topics:
        lines = subprocess.run(["kcat", "-b", address, "-C", "-t", topic, "-e", "-q", "-f", "%h\n"], check=True,
                               stdout=subprocess.PIPE, universal_newlines=True).stdout.splitlines()
        for line in lines:
            headers = dict(pair.split("=", 1) for pair in line.split(",") if "=" in pair)
            yield int(headers["ce_position"])


def read_redis(address, topics):
    host, port = address.rsplit(":", 1)
    for topic in topics:
        start = "-"
        while True:
            answer = subprocess.run(["redis-cli", "-h", host, "-p", port, "--json", "XRANGE", topic, start, "+", "COUNT", str(PAGE)],
                                    check=True, stdout=subprocess.PIPE).stdout
            entries = json.loads(answer.decode(errors="replace"))
            for _, fields in entries:
                yield int(dict(zip(fields[::2], fields[1::2]))["position"])
            if len(entries) < PAGE:
                break
            start = "(" + entries[-1][0]


class Nats:
    """A client of NATS' protocol, as small as can be."""

    def __init__(self, address, inbox):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.file = self.socket.makefile("rb")
        self.inbox = inbox
        self.file.readline()    # INFO
        self.socket.sendall(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB %s.* 1\r\n' % inbox.encode())

    def publish(self, subject, reply, data):
        text = json.dumps(data).encode()
        self.socket.sendall(b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), reply.encode(), len(text), text))

    def receive(self):
        """Reply subject, headers and body of the next message."""
        while True:
            words = self.file.readline().split()
            if not words:
                raise EOFError("NATS closed the connection")
            if words[0] == b"PING":
                self.socket.sendall(b"PONG\r\n")
            elif words[0] == b"-ERR":
                raise EOFError(b" ".join(words).decode())
            elif words[0] in (b"MSG", b"HMSG"):
                with_headers = words[0] == b"HMSG"
                size, header_size = int(words[-1]), int(words[-2]) if with_headers else 0
                payload = self.file.read(size + 2)
                lines = payload[:header_size].decode(errors="replace").split("\r\n")[1:]
                headers = dict(line.split(": ", 1) for line in lines if ": " in line)
                return words[3].decode() if len(words) == (6 if with_headers else 5) else "", headers, payload[header_size:-2]

    def ask(self, question, data):
        self.publish("$JS.API." + question, self.inbox + ".answer", data)
        answer = json.loads(self.receive()[2])
        if "error" in answer:
            raise EOFError("%s: %s" % (question, answer["error"]["description"]))
        return answer


def read_nats(address, topics, stream="USHER"):
    nats = Nats(address, "_INBOX.changelog-%d" % os.getpid())
    consumer = nats.ask("CONSUMER.CREATE." + stream, {"stream_name": stream, "config": {
        "ack_policy": "none", "deliver_policy": "all", "headers_only": True}})
    pending = consumer["num_pending"]
    while pending > 0:
        wanted = min(PAGE, pending)
        nats.publish("$JS.API.CONSUMER.MSG.NEXT.%s.%s" % (stream, consumer["name"]), nats.inbox + ".next",
                     {"batch": wanted, "expires": 20_000_000_000})
        for _ in range(wanted):
            reply, headers, _ = nats.receive()
            pending = int(reply.rsplit(".", 1)[1])      # $JS.ACK. ... .<pending>
            yield int(headers["ce-position"])


READERS = {"kafka": (read_kafka, "kcat"), "redis": (read_redis, "redis-cli"), "nats": (read_nats, "NATS' protocol")}


def wait_for(cursor, sink):
    """Until everything that the log has now is acknowledged."""
    deadline = time.monotonic() + SECONDS_MAX
    cursor.execute("SELECT usher.stable_position()")
    last = cursor.fetchone()[0]
    while True:
        cursor.execute("SELECT min(position), min(state), min(last_error) FROM usher.sink_status WHERE sink = %s AND replay_id IS NULL",
                       (sink,))
        position, state, error = cursor.fetchone()
        if position is not None and position >= last:
            return
        if state == "blocked" or time.monotonic() > deadline:
            sys.exit(f"brokers.py: the sink {sink} is {state} at {position} of {last}: {error}")
        time.sleep(0.05)


def main():
    arguments = options()
    connection = psycopg2.connect(arguments.dsn)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SELECT position, coalesce(topic, category) FROM usher.events")
    log = dict(cursor.fetchall())
    wrong = False
    for kind, (read, client) in READERS.items():
        address = getattr(arguments, kind)
        if address is None:
            continue
        wait_for(cursor, kind)
        positions = list(read(address, sorted(set(log.values()))))
        missing, twice = len(set(log) - set(positions)), len(positions) - len(set(positions))
        cursor.execute("SELECT count(*) FROM usher.dead_letters d JOIN usher.sinks s USING (sink_id) WHERE s.name = %s", (kind,))
        dead = cursor.fetchone()[0]
        print(f"  in {kind:<17} {len(positions):>10,}   messages, read back with {client}: {missing:,} missing, {twice:,} twice"
              + (f", {dead:,} dead letters" if dead else ""))
        wrong = wrong or missing > dead or (twice > 0 and kind != "kafka")
    sys.exit(wrong)


if __name__ == "__main__":
    try:
        main()
    except (psycopg2.Error, OSError, EOFError, subprocess.SubprocessError) as error:
        sys.exit(f"brokers.py: {str(error).strip()}")
