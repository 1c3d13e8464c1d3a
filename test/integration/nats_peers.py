# test/integration/nats_peers.py: servers that speak NATS badly, for sinks.FakeServer.
import json
import random

INFO = (b'INFO {"server_id":"x","version":"2.9.10","proto":1,"host":"127.0.0.1","port":1,"headers":true,"max_payload":1048576,'
        b'"jetstream":true,"client_id":5}\r\n')
ANSWERS = [b"PONG\r\n", b"+OK\r\n", b"-ERR 'Authorization Violation'\r\n", b"-ERR 'Stale Connection'\r\n", b"PING\r\n", INFO,
           b"MSG x 1 5\r\nabcde\r\n", b"MSG x 1\r\n", b"MSG x 1 -1\r\n", b"HMSG x 1 12 12\r\nNATS/1.0\r\n\r\n\r\n",
           b"HMSG x 1 5 3\r\nabc\r\n", b"INFO {}\r\n", b"INFO {\r\n", b"\x00\xff\x80", b"HTTP/1.1 400 Bad\r\n\r\n",
           b"-ERR '" + b"e" * 5000 + b"'\r\n", b"-ERR 'Permissions Violation for Publish to \"drive.t\"'\r\n",
           b"-ERR 'Permissions Violation for Publish to \"'\r\n", b"-ERR 'Permissions Violation for Subscription to \"x\"'\r\n"]


def nonsense(client, number):
    """As far as it goes an answer to what was asked, then anything."""
    chance = random.Random(number)
    if chance.random() < 0.8:
        client.sendall(INFO)
        client.settimeout(0.2)
        client.recv(1 << 16)
        client.sendall(b"PONG\r\n")
    for _ in range(chance.randrange(1, 12)):
        answer = chance.choice(ANSWERS)
        if chance.random() < 0.2:
            answer = answer[:chance.randrange(len(answer) + 1)]
        client.sendall(answer)


class Liar:
    """A server as far as the stream's description, then its answers to messages are `answers`."""

    STREAM = {"config": {"name": "DRIVE", "subjects": ["drive.>"], "retention": "limits", "storage": "file"},
              "state": {"messages": 0, "first_seq": 1, "last_seq": 0}}

    def __init__(self, *answers):
        self.answers = answers

    def __call__(self, client, number):
        client.sendall(INFO)
        lines, chance, inbox = client.makefile("rb"), random.Random(number), {}
        while True:
            words = lines.readline().split()
            if not words:
                return
            if words[0] == b"PING":
                client.sendall(b"PONG\r\n")
            elif words[0] == b"SUB":
                inbox[words[1]] = words[-1]
            elif words[0] in (b"PUB", b"HPUB"):
                lines.read(int(words[-1]) + 2)
                reply = words[2]
                sid = next((sid for subject, sid in inbox.items() if reply.startswith(subject[:-1])), b"1")
                text = (json.dumps(self.STREAM).encode() if words[1].startswith(b"$JS.API.STREAM.INFO")
                        else chance.choice(self.answers))
                client.sendall(b"MSG %s %s %d\r\n%s\r\n" % (reply, sid, len(text), text))
