# test/chaos/ports.py: ports for the servers of tests and benchmarks.
import contextlib
import random
import socket

LOWEST, HIGHEST = 15000, 32000


def ephemeral_from():
    """Where the ports begin that the kernel gives to outgoing connections."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        return int(file.read().split()[0])


def free_ports(count):
    """Ports in a row; the first of them. They stay free while their server is down: no outgoing connection, or one to itself, can
    be given them."""
    for first in random.SystemRandom().sample(range(LOWEST, min(HIGHEST, ephemeral_from()) - count), 100):
        with contextlib.ExitStack() as probes:
            try:
                for port in range(first, first + count):
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
                return first
            except OSError:
                continue
    raise OSError("no port is free")


def free_port():
    return free_ports(1)
