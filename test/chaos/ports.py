# test/chaos/ports.py: ports for the servers of tests.
import random
import socket

LOWEST, HIGHEST = 15000, 32000


def ephemeral_from():
    """Where the ports begin that the kernel gives to outgoing connections."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        return int(file.read().split()[0])


def free_port():
    """A port that stays free while its server is down: an outgoing connection, or one to itself, cannot be given it."""
    for port in random.sample(range(LOWEST, min(HIGHEST, ephemeral_from())), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise OSError("no port is free")
