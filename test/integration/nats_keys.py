# test/integration/nats_keys.py: keys, JWTs and credentials files of NATS, made with openssl.
import base64
import json
import os
import random
import subprocess
import time

import sinks
from sinks import Authority


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xffff
    return crc


class Nkey:
    """An Ed25519 key of NATS: O operator, A account, U user."""

    PREFIX = {"O": 14 << 3, "A": 0, "U": 20 << 3}

    def __init__(self, kind):
        self.pem = os.path.join(sinks.TMP, "nkey-%s-%d.pem" % (kind, random.randrange(1 << 40)))
        Authority.openssl("genpkey", "-algorithm", "ed25519", "-out", self.pem)
        private = subprocess.run(["openssl", "pkey", "-in", self.pem, "-outform", "DER"], check=True, stdout=subprocess.PIPE).stdout
        public = subprocess.run(["openssl", "pkey", "-in", self.pem, "-pubout", "-outform", "DER"], check=True,
                                stdout=subprocess.PIPE).stdout
        prefix = self.PREFIX[kind]
        self.public = self.encode(bytes([prefix]) + public[-32:])
        self.seed = self.encode(bytes([18 << 3 | prefix >> 5, (prefix & 31) << 3]) + private[-32:])

    @staticmethod
    def encode(data):
        return base64.b32encode(data + crc16(data).to_bytes(2, "little")).decode().rstrip("=")

    def sign(self, data):
        path = self.pem + ".data"
        with open(path, "wb") as file:
            file.write(data)
        return subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.pem, "-in", path], check=True,
                              stdout=subprocess.PIPE).stdout

    def token(self, subject, nats_claims):
        """A JWT about `subject`, signed by this key."""
        def part(data):
            return base64.urlsafe_b64encode(data).decode().rstrip("=")
        claims = {"jti": "test", "iat": int(time.time()), "iss": self.public, "sub": subject, "name": "test", "nats": nats_claims}
        signed = part(b'{"typ":"JWT","alg":"ed25519-nkey"}') + "." + part(json.dumps(claims).encode())
        return signed + "." + part(self.sign(signed.encode()))


def credentials_text(token, seed):
    return ("-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n"
            "-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n" % (token, seed))
