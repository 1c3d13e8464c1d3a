#!/usr/bin/python3
"""test/integration/live_ws.py: the log over WebSocket with Node's `ws`, by itself and under clients/js.

What Node does stands in src/ws_client.mjs.
"""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "chaos"))

import gateway_lib      # noqa: E402
import lib      # noqa: E402
import usherd   # noqa: E402
from lib import ensure      # noqa: E402

WS = "ws@8.18.3"
NODE_SECONDS = 60


class Node(gateway_lib.Api):
    def __init__(self):
        super().__init__()
        self.modules = lib.foreign("npm", WS)
        self.deflating = usherd.Usherd(self.cluster, name="deflating", websocket_deflate_level=6).start()

    def rule(self, name, daemon=None):
        daemon = daemon or self.daemon
        done = subprocess.run(["node", os.path.join(HERE, "src", "ws_client.mjs"), self.modules, name, "http://127.0.0.1:%d" % daemon.port],
                              env=dict(os.environ, USHER_TOKEN=daemon.token()), timeout=NODE_SECONDS * lib.PATIENCE,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        ensure(done.returncode == 0, "node ended with %d: %s" % (done.returncode, done.stdout[-500:]))

    def settle(self):
        for daemon in (self.daemon, self.deflating):
            daemon.ensure_alive()
            daemon.stop()


def main():
    lib.foreign("debian", "node", "node")
    node = Node()
    rules = [("ws: " + name, lambda name=name: node.rule(name)) for name in ("plain", "fragments", "first message", "ends", "client")]
    rules += [("ws: " + name + ", deflated", lambda name=name: node.rule(name, node.deflating)) for name in ("compressed", "fragments", "ends")]
    lib.main(rules + [("settle", node.settle)], NODE_SECONDS)


if __name__ == "__main__":
    main()
