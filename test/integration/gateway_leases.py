#!/usr/bin/python3
"""test/integration/gateway_leases.py: many who wait for one subscription."""
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

    def ends(self):
        self.daemon.stop()
        lib.ensure_empty(self.cluster.log_crashes(), "server log")
        self.cluster.check()


def main():
    lib.arguments("Many who wait for one subscription.")
    test = Leases()
    lib.main([("many polls that wait", test.crowd_of_polls), ("the end", test.ends)], 60)


if __name__ == "__main__":
    main()
