#!/usr/bin/python3
"""test/integration/gateway_revoked.py: what is revoked while usherd cannot hear of it.

The way to the database is cut, and comes back but for the connection that follows the log: a token that was revoked meanwhile must be
refused all the same, and one that is revoked then, soon. A connection that is lost alone must cost nobody anything.
"""
import contextlib
import os
import re
import socket
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
import proxy        # noqa: E402
import usherd       # noqa: E402
from lib import ensure      # noqa: E402

HEARD_SECONDS = 1.0         # of 0.05 between two looks; on a busy machine, too
LANE = re.compile(rb"application_name\0usherd/([a-z]+)\0")


class Lanes(proxy.Proxy):
    """Knows of each connection what usherd wants it for; those of lanes that are held do not come through."""

    def __init__(self, target):
        self.held = set()
        super().__init__(target)

    def pump(self, connection, answers):
        if not answers:
            with contextlib.suppress(OSError):
                match = LANE.search(connection.ends[0].recv(proxy.CHUNK, socket.MSG_PEEK))
                connection.lane = match.group(1).decode() if match else ""
                while connection.lane in self.held:
                    time.sleep(0.01)
        super().pump(connection, answers)

    def cut_lane(self, lane):
        with self.lock:
            ended = [connection for connection in self.connections if getattr(connection, "lane", None) == lane]
        for connection in ended:
            connection.shut()
        return len(ended)


class Asking(threading.Thread):
    """Asks all the time; (when it asked, status) of each time."""

    def __init__(self, daemon, token):
        super().__init__(daemon=True)
        self.daemon_, self.token, self.answers, self.over = daemon, token, [], threading.Event()
        self.start()

    def run(self):
        while not self.over.is_set():
            with usherd.Client(self.daemon_.port, self.token) as client:
                began = time.time()
                self.answers.append((began, client.get("/v1/log?limit=1").status))

    def since(self, moment):
        return [status for began, status in list(self.answers) if began > moment]

    def end(self):
        self.over.set()
        self.join(30)
        return [status for _, status in self.answers]


class Revoked(gateway_lib.Api):
    def __init__(self):
        self.cluster = lib.Cluster(lib.work_directory()).initdb().start().create()
        self.cluster.rows("SELECT usher.append('order-1', 'order.placed')")
        self.network = Lanes(self.cluster.port)
        self.daemon = usherd.Usherd(self.cluster, hosts=("127.0.0.1", self.network.port))
        self.daemon.settings["database"] += " sslmode=disable gssencmode=disable"       # the proxy reads the names of lanes
        self.daemon.start()

    def token(self, session):
        return self.daemon.token(user="ann", sid=session)

    def revoke(self, session):
        """When it was committed."""
        self.cluster.rows("SELECT usher.revoke('session', %s, now() + interval '1 s')", (session,))
        return time.time()

    def status(self, token):
        with usherd.Client(self.daemon.port, token) as client:
            return client.get("/v1/log?limit=1").status

    def refused(self, token, moment, what):
        lib.wait_until(lambda: self.status(token) == 401, 20, what, pause=0.01)
        took = time.time() - moment
        ensure(took < HEARD_SECONDS * lib.PATIENCE, "%s: only behind %.2f s" % (what, took))
        return took

    def away(self):
        """Revoked while nothing stood; what reads is back, what follows the log is not."""
        gone, stays, later = (self.token(session) for session in ("gone", "stays", "later"))
        ensure([self.status(token) for token in (gone, stays, later)] == [200] * 3, "they are good")
        self.network.refuses = True
        self.network.held = {"log"}
        self.network.cut()
        lib.wait_until(lambda: self.status(stays) == 503, 20, "usherd to miss the database")
        asking = Asking(self.daemon, gone)
        committed = self.revoke("gone")
        self.network.refuses = False
        lib.wait_until(lambda: self.status(stays) == 200, 20, "the others to be served", pause=0.01)
        lib.wait_until(lambda: 401 in asking.since(committed), 20, "the revoked one to be refused")
        time.sleep(0.3)
        asking.end()
        wrong = [status for status in asking.since(committed) if status not in (401, 503)]
        lib.ensure_empty(wrong[:5], "answers to a revoked token behind the commit")
        ensure(not self.daemon.ready(), "usherd is ready, and the log cannot be followed")
        took = self.refused(later, self.revoke("later"), "one that is revoked while the log cannot be followed")
        lib.note("revoked while the log could not be followed: refused behind %.0f ms" % (took * 1000))
        self.network.held = set()
        self.daemon.wait_ready()
        ensure([self.status(token) for token in (gone, stays, later)] == [401, 200, 401], "when all is back")

    def at_once(self):
        """All connections lost, and there again at once: who comes then waits, and whatever was revoked between is known."""
        for n in range(5):
            gone, stays = self.token("gone %d" % n), self.token("stays")
            ensure([self.status(token) for token in (gone, stays)] == [200] * 2, "they are good")
            self.network.held = {"write", "reserve", "read", "slow", "log"}
            self.network.cut()
            lib.wait_until(lambda: self.metric("usherd_database_up") == 0, 20, "usherd to miss the database", pause=0.005)
            asking = [Asking(self.daemon, gone), Asking(self.daemon, stays)]
            committed = self.revoke("gone %d" % n)
            self.network.held = set()
            lib.wait_until(lambda: 200 in asking[1].since(committed), 20, "the others to be served")
            self.daemon.wait_ready()
            for each in asking:
                each.end()
            lib.ensure_empty([status for status in asking[0].since(committed) if status not in (401, 503)][:5], "answers to a revoked token")
            statuses = asking[1].since(committed)
            ensure(set(statuses) <= {200, 503}, "answers to the others: %s" % set(statuses))

    def one_lost(self):
        """The connection that follows the log, alone: nobody is refused for it."""
        asking = [Asking(self.daemon, self.token("stays")) for _ in range(2)]
        for _ in range(5):
            before = self.cluster.value("SELECT max(backend_start) FROM pg_stat_activity WHERE application_name = 'usherd/log'")
            ensure(self.network.cut_lane("log") == 1, "there is one connection that follows the log")
            lib.wait_until(lambda: self.cluster.value("SELECT max(backend_start) > %s FROM pg_stat_activity WHERE application_name = 'usherd/log'",
                                                      (before,)), 20, "it to be there again", pause=0.005)
            self.daemon.wait_ready()
        answers = sum((each.end() for each in asking), [])
        ensure(set(answers) == {200}, "of %d answers: %s" % (len(answers), {status: answers.count(status) for status in set(answers)}))

    def metric(self, name):
        text = self.daemon.admin().get("/metrics").body.decode()
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith(name + " ")))

    def settle(self):
        self.daemon.ensure_alive()
        self.daemon.stop()


def main():
    lib.arguments("What is revoked while usherd cannot hear of it.")
    revoked = Revoked()
    lib.main([("away", revoked.away), ("at once", revoked.at_once), ("one lost", revoked.one_lost), ("settle", revoked.settle)], 150)


if __name__ == "__main__":
    main()
