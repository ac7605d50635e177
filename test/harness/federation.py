"""Other servers, made for tests: what they say is raw. And certificates of an authority."""
import base64
import contextlib
import datetime
import ipaddress
import re
import socket
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness import xml
from harness.client import TIMEOUT, Client, insecure_context
from harness.server import free_ports

SERVER = "jabber:server"
DIALBACK = "jabber:server:dialback"
NOW = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


def name_of(domain):
    """Of a certificate: of an address it is one, and no name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(domain.strip("[]")))
    except ValueError:
        return x509.DNSName(domain)


def key_usage_of(*allowed):
    usages = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
              "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{usage: usage in allowed for usage in usages})


class Authority:
    """It issues certificates into a folder: NAME.pem and NAME.key."""

    def __init__(self, folder, name="ca"):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{name} of tests")])
        cert = (self._builder(self.name, self.key, -9, 365)
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .sign(self.key, hashes.SHA256()))
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject, key, begins, ends):
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
                .public_key(key.public_key()).serial_number(x509.random_serial_number())
                .not_valid_before(NOW + datetime.timedelta(days=begins))
                .not_valid_after(NOW + datetime.timedelta(days=ends)))

    def issue(self, name, *domains, begins=-1, ends=90, extensions=()):
        """The paths of a certificate for these domains, as `tls` of a node file has them."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([name_of(d) for d in domains])
        cert = (self._builder(subject, key, begins, ends)
                .add_extension(names, critical=False)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True))
        for extension in extensions:
            cert = cert.add_extension(extension, critical=False)
        cert = cert.sign(self.key, hashes.SHA256())
        pem, secret = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        pem.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(key.private_bytes(serialization.Encoding.PEM,
                                             serialization.PrivateFormat.PKCS8,
                                             serialization.NoEncryption()))
        secret.chmod(0o600)
        return {"certificate": str(pem), "key": str(secret)}


    def sign(self, request):
        """The PEM of a certificate with all that the request asks for, and of its authority."""
        asked = x509.load_pem_x509_csr(request.encode())
        builder = (self._builder(asked.subject, asked, -1, 90)
                   .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True))
        for extension in asked.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        cert = builder.sign(self.key, hashes.SHA256())
        return cert.public_bytes(serialization.Encoding.PEM) + self.file.read_bytes()


def self_signed(folder, name, *domains):
    """As Authority.issue(), of a certificate that is its own authority."""
    own = Authority(folder, f"{name}-authority")
    cert = (own._builder(own.name, own.key, -1, 90)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(d) for d in domains]),
                           critical=False)
            .sign(own.key, hashes.SHA256()))
    pem, secret = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(own.key.private_bytes(serialization.Encoding.PEM,
                                             serialization.PrivateFormat.PKCS8,
                                             serialization.NoEncryption()))
    secret.chmod(0o600)
    return {"certificate": str(pem), "key": str(secret)}


def settings(**more):
    """Settings of a server that federates with all, with more of s2s: _ stands for a hyphen. It
    does not wait for long before it says that another server is back: tests are short."""
    return {"s2s.policy": "open", "s2s.back-pause": "1s",
            **{f"s2s.{name.replace('_', '-')}": value for name, value in more.items()}}


def route(server, pattern, port, **options):
    """In place of all its routes of a pattern: to this port, and the DNS is not asked, not in
    between either."""
    target = f"127.0.0.1:{port}"
    old = [row["target"] for row in server.run("s2s-route list")["rows"]
           if row["pattern"] == pattern]
    if target in old:
        server.run("s2s-route del", pattern=pattern, target=target)
    server.run("s2s-route add", pattern=pattern, target=target, less_specific="off", **options)
    for other in old:
        if other != target:
            server.run("s2s-route del", pattern=pattern, target=other)


class Peer(Client):
    """One stream of another server to a server of ours, made for tests: what it says is raw. Under
    TLS it shows `cert`, paths as Authority.issue() returns them."""

    def __init__(self, server, domain, local, cert=None):
        super().__init__(("127.0.0.1", server.port("s2s", domain)), local)
        self.jid, self.local, self.cert = domain, local, cert
        self.stream_id = None
        server.clients.append(self)

    def _arrived(self, element):
        """As a client would see it: one content namespace."""
        for e in element.iter():
            e.tag = e.tag.replace(f"{{{SERVER}}}", f"{{{xml.CLIENT}}}")
        super()._arrived(element)

    def header(self, to=None, origin=None, version="1.0"):
        """Sends a stream header; origin "-": without `from`."""
        origin = origin or self.jid
        self.reader = xml.Reader()
        self.raw(f"<stream:stream xmlns='{SERVER}' xmlns:stream='{xml.STREAM}' "
                 f"xmlns:db='{DIALBACK}' version='{version}' to='{to or self.local}'"
                 + (f" from='{origin}'>" if origin != "-" else ">"))
        return self

    def features_come(self):
        self.features = self.expect("<stream:features/>")
        self.stream_id = self.reader.header.get("id")
        return self

    def secure(self, **header):
        """From the connection to the features under TLS."""
        self.header(**header).features_come()
        self.raw(f"<starttls xmlns='{xml.TLS}'/>")
        self.expect(f"<proceed xmlns='{xml.TLS}'/>")
        context = insecure_context()
        if self.cert:
            context.load_cert_chain(self.cert["certificate"], self.cert["key"])
        self.wrap(context)
        return self.header(**header).features_come()

    def external(self, authzid="="):
        """Asks for EXTERNAL; None: it has succeeded, else the condition of the failure."""
        text = base64.b64encode(authzid.encode()).decode() if authzid != "=" else "="
        self.raw(f"<auth xmlns='{xml.SASL}' mechanism='EXTERNAL'>{text}</auth>")
        kind, value = self.sasl_answer()
        return None if kind == "success" else value

    def join(self):
        """Authenticated by its certificate, with a new stream."""
        assert self.secure().external() is None
        return self.header().features_come()

    def result(self, key, origin=None, to=None):
        self.raw(f"<db:result from='{origin or self.jid}' to='{to or self.local}'>{key}"
                 "</db:result>")


EXTERNAL = f"<mechanisms xmlns='{xml.SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"


class Listener:
    """A server of another domain: it takes one stream after the other, and looks at what it is
    sent."""

    def __init__(self, domain, cert, port=0, address="127.0.0.1"):
        self.domain, self.cert = domain, cert
        self.names = []  # by which TLS has asked for it (SNI), or None
        self.sock = socket.create_server((address, port))
        self.sock.settimeout(TIMEOUT)
        self.port = self.sock.getsockname()[1]

    def close(self):
        self.sock.close()

    def leave(self):
        """Nobody listens any more; the port stays its own."""
        self.sock.close()
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", self.port))
        self.sock.settimeout(TIMEOUT)

    def come_back(self):
        self.sock.listen()

    @staticmethod
    def read_until(peer, pattern):
        """The match; its string is all that has come."""
        text = ""
        while not (found := re.search(pattern, text)):
            data = peer.recv(65536)
            assert data, text
            text += data.decode()
        return found

    def header(self, peer, stream_id, features):
        self.read_until(peer, "<stream:stream [^>]*>")
        peer.sendall((f"<stream:stream xmlns='{SERVER}' xmlns:stream='{xml.STREAM}' "
                      f"xmlns:db='{DIALBACK}' version='1.0' from='{self.domain}' "
                      f"id='{stream_id}'><stream:features>{features}</stream:features>").encode())

    def secure(self, stream_id="second", features=EXTERNAL):
        """The next stream, from the connection to the features under TLS: its socket."""
        peer, _ = self.sock.accept()
        peer.settimeout(TIMEOUT)
        self.header(peer, "first", f"<starttls xmlns='{xml.TLS}'/>")
        self.read_until(peer, "<starttls")
        peer.sendall(f"<proceed xmlns='{xml.TLS}'/>".encode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert["certificate"], self.cert["key"])
        context.sni_callback = lambda sock, name, of: self.names.append(name)
        peer = context.wrap_socket(peer, server_side=True)
        self.header(peer, stream_id, features)
        return peer

    def join(self, features=""):
        """The same, authenticated by a certificate, so that stanzas come; with features then."""
        peer = self.secure()
        self.read_until(peer, "<auth.*</auth>")
        peer.sendall(f"<success xmlns='{xml.SASL}'/>".encode())
        self.header(peer, "third", features)
        return peer

    def key(self, stream_id):
        """The key for a stream that gets this id."""
        with self.secure(stream_id, "") as peer:
            return self.read_until(peer, "<db:result[^>]*>([0-9a-f]+)</db:result>")[1]

    def questions(self):
        """The keys that it is asked about together, in the order of the questions."""
        with self.secure("second", "") as peer:
            found = self.read_until(peer, "(?s).*</db:verify>")
            return re.findall("<db:verify[^>]*>([0-9a-f]+)</db:verify>", found[0])


def for_users(error):
    """The text of an error from our server. It has nothing that only operators should know: no
    address, port, setting, command or answer of the DNS."""
    text = error.findtext(f"{{{xml.CLIENT}}}error/{{{xml.STANZA_ERROR}}}text") or ""
    assert re.fullmatch("[a-z ,:]*", text), text
    return text


def why(server, domain):
    """What the operator of our server reads of the last failure there."""
    return [row["why"] for row in server.rows("s2s", "list", domain) if row.get("why")][-1]


def free_port():
    """Where nobody listens."""
    return free_ports(1)[0]


@contextlib.contextmanager
def deaf_port():
    """Where a connection is neither made nor refused: as behind a firewall that drops."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        yield full.getsockname()[1]
