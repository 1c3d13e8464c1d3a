# test/chaos/ports.py: ports for the servers of tests and benchmarks.
import contextlib
import random
import socket

LOWEST, HIGHEST = 15000, 32000
CLAIMS = []


def ephemeral_from():
    """Where the ports begin that the kernel gives to outgoing connections."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        return int(file.read().split()[0])


def claim(port):
    """A socket whose name only one process has at a time: the port is its, as long as it lives, whether something listens there
    or not."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind("\0pg_usher port %d" % port)
    except OSError:
        name.close()
        raise
    return name


def free_ports(count):
    """Ports in a row; the first of them. They stay free while their server is down: no outgoing connection, or one to itself, can
    be given them, and no other program that asks here."""
    for first in random.SystemRandom().sample(range(LOWEST, min(HIGHEST, ephemeral_from()) - count), 100):
        with contextlib.ExitStack() as claims, contextlib.ExitStack() as probes:
            try:
                for port in range(first, first + count):
                    claims.enter_context(claim(port))
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            CLAIMS.append(claims.pop_all())
            return first
    raise OSError("no port is free")


def free_port():
    return free_ports(1)
