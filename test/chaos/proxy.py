# test/chaos/proxy.py: a network that cuts, stalls, slows and deafens, between a client and a server on loopback.
#
# One thread a direction of a connection. What is done to the network holds for all connections, also for those to come,
# until mend(). A connection that is cut loses what was on its way, in the middle of whatever it was.
import contextlib
import random
import socket
import struct
import threading
import time

CHUNK = 1 << 16
RESET = struct.pack("ii", 1, 0)         # SO_LINGER: close with RST


class Connection:
    """Two sockets; they are closed when neither direction uses them any more."""

    def __init__(self, client, server):
        self.ends = (client, server)
        self.lock = threading.Lock()
        self.pumps = 2
        for end in self.ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def shut(self, by_pump=False):
        """True when that was the end of it."""
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self.lock:
            self.pumps -= by_pump
            over = self.pumps == 0
        if over:
            for end in self.ends:
                end.close()
        return over


class Proxy(threading.Thread):
    def __init__(self, target):
        super().__init__(daemon=True)
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.connections = set()
        self.flows = threading.Event()
        self.flows.set()
        self.refuses = False            # new connections
        self.deaf = False               # what the server answers is dropped
        self.bytes_per_second = 0       # 0: as many as there are
        self.delay = 0.0
        self.left = None                # bytes until the next cut
        self.accepted = self.cuts = 0
        self.start()

    # what can be done to the network

    def cut(self):
        """End all connections with a reset. Returns how many."""
        with self.lock:
            ended = list(self.connections)
        for connection in ended:
            connection.shut()
        self.cuts += len(ended)
        return len(ended)

    def cut_within(self, count):
        """Cut all connections in the middle of the next `count` bytes."""
        self.left = count

    def break_down(self):
        """Cut everything, and refuse whoever connects."""
        self.refuses = True
        self.cut()

    def stall(self):
        """Nothing flows, nothing is lost."""
        self.flows.clear()

    def deafen(self):
        """The server hears, but its answers are lost: only a cut can follow."""
        self.deaf = True

    def slow(self, bytes_per_second, delay):
        self.bytes_per_second, self.delay = bytes_per_second, delay

    def mend(self):
        """As it should be again; whoever missed answers is cut."""
        self.refuses = False
        self.left = None
        self.bytes_per_second, self.delay = 0, 0.0
        if self.deaf:
            self.cut()
            self.deaf = False
        self.flows.set()

    # how

    def run(self):
        while True:
            client = self.listener.accept()[0]
            self.accepted += 1
            if self.refuses:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            connection = Connection(client, server)
            with self.lock:
                self.connections.add(connection)
            if self.refuses:        # since we looked
                connection.shut()
            for answers in (False, True):
                threading.Thread(target=self.pump, args=(connection, answers), daemon=True).start()

    def pump(self, connection, answers):
        source, sink = connection.ends[::-1] if answers else connection.ends
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(CHUNK)
                if not data:
                    break
                self.flows.wait()
                if answers and self.deaf:
                    continue
                self.hold_back(len(data))
                if self.left is not None and self.cut_in(data, sink):
                    break
                sink.sendall(data)
        if connection.shut(by_pump=True):
            with self.lock:
                self.connections.discard(connection)

    def hold_back(self, count):
        if self.delay:
            time.sleep(self.delay)
        if self.bytes_per_second:
            time.sleep(count / self.bytes_per_second)

    def cut_in(self, data, sink):
        """Count down to the cut; then the first part of the data is all that arrives."""
        with self.lock:
            if self.left is None:
                return False
            self.left -= len(data)
            if self.left > 0:
                return False
            self.left = None
        sink.sendall(data[:random.randrange(len(data) + 1)])
        self.cut()
        return True
