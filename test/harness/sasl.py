"""The client's side of SASL: PLAIN (RFC 4616), SCRAM (RFC 5802, RFC 7677), hashed tokens (XEP-0484)
and the protection against downgrades (XEP-0474), each step visible."""
import base64
import hashlib
import hmac
import os

HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}


def encode(data):
    return base64.b64encode(data).decode() or "="


def decode(text):
    return b"" if text in (None, "", "=") else base64.b64decode(text, validate=True)


def plain(user, password, authzid=""):
    return f"{authzid}\0{user}\0{password}".encode()


class Scram:
    """One exchange: first() and final(challenge) are to be sent, verify(success) checks the server.

    `binding` is (type, data) for a -PLUS mechanism; `flag` overrides the gs2 flag ("n", "y")."""

    def __init__(self, mechanism, user, password, binding=None, flag=None, authzid=None):
        self.hash = HASHES[mechanism.removesuffix("-PLUS")]
        self.password = password.encode()
        self.data = binding[1] if binding else b""
        flag = flag or (f"p={binding[0]}" if binding else "n")
        self.gs2 = f"{flag},{'a=' + authzid if authzid else ''},"
        self.nonce = encode(os.urandom(18))
        name = user.replace("=", "=3D").replace(",", "=2C")
        self.bare = f"n={name},r={self.nonce}"
        self.iterations = 0
        self.offered = None
        self.salt = b""

    def first(self):
        return (self.gs2 + self.bare).encode()

    def final(self, challenge, nonce=None):
        challenge = challenge.decode()
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        assert fields["r"].startswith(self.nonce) and fields["r"] != self.nonce, challenge
        self.salt, self.iterations = decode(fields["s"]), int(fields["i"])
        self.offered = fields.get("h")
        salted = hashlib.pbkdf2_hmac(self.hash, self.password, self.salt, self.iterations)
        binding = encode(self.gs2.encode() + self.data)
        without_proof = f"c={binding},r={nonce or fields['r']}"
        message = f"{self.bare},{challenge},{without_proof}".encode()
        client_key = self._mac(salted, b"Client Key")
        signature = self._mac(hashlib.new(self.hash, client_key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.expected = self._mac(self._mac(salted, b"Server Key"), message)
        return f"{without_proof},p={encode(proof)}".encode()

    def verify(self, success):
        assert success == b"v=" + encode(self.expected).encode(), success

    def _mac(self, key, data):
        return hmac.new(key, data, self.hash).digest()


class Token:
    """HMACs of a token, as HT-SHA-256-* proves it (draft-schmaus-kitten-sasl-ht-08)."""

    def __init__(self, user, token, binding=b""):
        self.user, self.token, self.binding = user, token.encode(), binding

    def _mac(self, role):
        return hmac.new(self.token, role + self.binding, "sha256").digest()

    def first(self):
        return self.user.encode() + b"\0" + self._mac(b"Initiator")

    def verify(self, success):
        assert success == self._mac(b"Responder"), success


def offered_hash(mechanism, mechanisms, bindings):
    """What the server says in SCRAM about the lists it offered (XEP-0474 section 5.1)."""
    text = "\x1e".join(sorted(mechanisms))
    if bindings:
        text += "\x1f" + "\x1e".join(sorted(bindings))
    return encode(hashlib.new(HASHES[mechanism.removesuffix("-PLUS")], text.encode()).digest())
