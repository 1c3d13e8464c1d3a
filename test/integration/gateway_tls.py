#!/usr/bin/python3 -Wignore::DeprecationWarning
"""test/integration/gateway_tls.py: TLS of usherd: versions, ALPN, and a new certificate without a dropped connection.

HTTP/2 must never be negotiated: only HTTP/1.1 is spoken. What clients of others make of it is gateway_clients.py.
"""
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chaos"))

import lib      # noqa: E402
import usherd   # noqa: E402
from lib import ensure      # noqa: E402

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Tls:
    def __init__(self):
        base = lib.work_directory()
        self.cluster = lib.Cluster(base).initdb().start().create()
        self.certificate, self.key = os.path.join(base, "tls.crt"), os.path.join(base, "tls.key")
        self.make_certificate("first")
        self.daemon = usherd.Usherd(self.cluster, tls_certificate=self.certificate, tls_key=self.key).start()

    def make_certificate(self, name, key_type="ec"):
        new = self.certificate + ".new"
        options = ["-pkeyopt", "ec_paramgen_curve:P-256"] if key_type == "ec" else []
        subprocess.run(["openssl", "req", "-x509", "-newkey", key_type if key_type == "ec" else "rsa:2048", *options,
                        "-nodes", "-keyout", self.key + ".new", "-out", new, "-days", "2", "-subj", "/CN=" + name,
                        "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        os.rename(self.key + ".new", self.key)
        os.rename(new, self.certificate)

    def connect(self, alpn=(), versions=(None, None), verify=True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        if verify:
            context.load_verify_locations(self.certificate)
        if versions[0]:
            context.minimum_version, context.maximum_version = versions
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.daemon.port), timeout=10),
                                   server_hostname="localhost")

    @staticmethod
    def ask(connection):
        connection.sendall(GET)
        reply = b""
        while b"}" not in reply:
            part = connection.recv(4096)
            ensure(part, "the connection ended behind %r" % reply)
            reply += part
        ensure(reply.startswith(b"HTTP/1.1 200 "), "%r" % reply[:100])

    def protocols(self):
        """TLS 1.2 and 1.3; not the older ones."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.connect(versions=(version, version)) as connection:
                self.ask(connection)
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            try:
                with self.connect(versions=(version, version)):
                    raise lib.Failure("%s was accepted" % version.name)
            except (ssl.SSLError, ConnectionError):
                pass

    def alpn(self):
        """h2 is never agreed upon."""
        for offered, agreed in ((["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), (["h2"], None), ([], None),
                                (["h2", "h2c", "spdy/3"], None)):
            try:
                with self.connect(alpn=offered) as connection:
                    chosen = connection.selected_alpn_protocol()
                    ensure(chosen == agreed, "offered %s, agreed upon %s" % (offered, chosen))
                    self.ask(connection)
            except ssl.SSLError as error:
                # RFC 7301, 3.2: a server may refuse with no_application_protocol
                ensure(agreed is None and "no application protocol" in str(error).lower().replace("_", " "), str(error))

    def plain(self):
        """Plain HTTP at the TLS port gets no reply, and costs nothing."""
        with socket.create_connection(("127.0.0.1", self.daemon.port), timeout=20) as connection:
            connection.sendall(GET)
            try:
                ensure(not connection.recv(100).startswith(b"HTTP/1.1 200"), "a plain request was answered")
            except ConnectionError:
                pass
        self.daemon.ensure_alive()

    def large(self):
        """A body and a reply of many records."""
        with self.connect() as connection:
            body = b'{"type":"t.e","data":{"text":"' + b"x" * 500000 + b'"}}'
            connection.sendall(b"POST /v1/streams/tls-1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
                               + self.daemon.token().encode() + b"\r\nContent-Type: application/json\r\nContent-Length: %d"
                               b"\r\n\r\n" % len(body) + body)
            ensure(connection.recv(4096).startswith(b"HTTP/1.1 201 "), "a large body")
            connection.sendall(b"GET /v1/streams/tls-1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
                               + self.daemon.token().encode() + b"\r\n\r\n")
            reply = b""
            while len(reply) < 500000:
                part = connection.recv(65536)
                ensure(part, "the reply ended behind %d bytes" % len(reply))
                reply += part
            ensure(reply.startswith(b"HTTP/1.1 200 "), "a large reply")

    def subject(self):
        with self.connect() as connection:
            return dict(part[0] for part in connection.getpeercert()["subject"])["commonName"]

    def reload(self):
        """SIGHUP: new connections get the new certificate, open ones go on; a broken one changes nothing."""
        ensure(self.subject() == "first", "the first certificate")
        with self.connect() as old:
            self.ask(old)
            self.make_certificate("second", "rsa")
            self.daemon.process.send_signal(1)
            lib.wait_until(lambda: self.new_subject("second"), 10, "the new certificate")
            self.ask(old)
            with open(self.certificate, "w") as file:
                file.write("no certificate\n")
            self.daemon.process.send_signal(1)
            lib.wait_until(lambda: "cannot be used" in self.daemon.said(), 10, "a word about the broken certificate")
            self.ask(old)
            with self.connect(verify=False) as connection:
                self.ask(connection)

    def new_subject(self, name):
        try:
            return self.subject() == name
        except ssl.SSLError:
            return False    # the old certificate, which is not trusted any more


    def stalled(self):
        """Who never comes to the end of a handshake is ended by time, as others are."""
        self.daemon.configure(idle_timeout_seconds=2, header_timeout_seconds=2)
        self.daemon.process.send_signal(signal.SIGHUP)
        sockets = []
        for sent in (b"", b"\x16\x03\x01\x02\x00", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
            connection = socket.create_connection(("127.0.0.1", self.daemon.port), timeout=10)
            connection.sendall(sent)
            sockets.append(connection)
        for connection in sockets:
            with connection, contextlib.suppress(ConnectionError):
                ensure(connection.recv(1) == b"", "something was said")
        with self.connect(verify=False) as connection:
            self.ask(connection)


def main():
    lib.arguments("TLS of usherd.")
    tls = Tls()
    lib.main([("TLS 1.2 and 1.3 only", tls.protocols), ("HTTP/2 is never negotiated", tls.alpn), ("plain HTTP", tls.plain),
              ("many records", tls.large), ("a new certificate", tls.reload),
              ("handshakes that never end", tls.stalled), ("usherd ends well", tls.daemon.stop)], 90)


if __name__ == "__main__":
    main()
