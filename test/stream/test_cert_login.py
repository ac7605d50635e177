"""Logins with a certificate in place of a password: SASL EXTERNAL (XEP-0178 §2)."""
import base64
import datetime
import re
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from harness import xml
from harness.client import Client

NOW = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
PEM = serialization.Encoding.PEM
XMPP_ADDR = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.5")


class Authority:
    def __init__(self, folder, name="people"):
        self.folder, self.count = folder, 0
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.cert = (self.builder(self.name, self.key, -9, 365)
                     .add_extension(x509.BasicConstraints(ca=True, path_length=None),
                                    critical=True).sign(self.key, hashes.SHA256()))
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.cert.public_bytes(PEM))

    def builder(self, subject, key, begins, ends):
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
                .public_key(key.public_key()).serial_number(x509.random_serial_number())
                .not_valid_before(NOW + datetime.timedelta(days=begins))
                .not_valid_after(NOW + datetime.timedelta(days=ends)))

    def context(self, *jids, begins=-1, ends=90, purpose=ExtendedKeyUsageOID.CLIENT_AUTH):
        """A TLS context that shows a certificate with these addresses."""
        self.count += 1
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
        builder = self.builder(subject, key, begins, ends).add_extension(
            x509.ExtendedKeyUsage([purpose]), critical=False)
        names = [x509.OtherName(XMPP_ADDR, bytes([0x0c, len(j.encode())]) + j.encode())
                 for j in jids] or [x509.DNSName("localhost")]
        cert = builder.add_extension(x509.SubjectAlternativeName(names),
                                     critical=False).sign(self.key, hashes.SHA256())
        path = self.folder / f"client{self.count}.pem"
        path.write_bytes(cert.public_bytes(PEM) + key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
        made.load_cert_chain(path)
        return made


@pytest.fixture
def people(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def open_server(make_server, people):
    """A server that accepts certificates at localhost, not at other.test."""
    server = make_server(domains=["localhost", "other.test"],
                         settings={"c2s.certificate-login@localhost": "on"})
    server.ctl("cert-trust", "add", people.file, "--for", "clients")
    server.add_user("juliet")
    return server


def connect(server, context, way="direct", domain="localhost"):
    """A client behind TLS with its certificate, its stream open."""
    if way == "starttls":
        client = server.dial(None, tls="none", domain=domain)
        client.open()
        client.starttls(context)
        return client
    client = Client(("127.0.0.1", server.tls_port), domain)
    server.clients.append(client)
    client.wrap(context)
    client.open()
    return client


def external(client, authzid=""):
    """("success", …) or ("failure", condition)."""
    client.raw(f"<auth xmlns='{xml.SASL}' mechanism='EXTERNAL'>"
               f"{base64.b64encode(authzid.encode()).decode() or '='}</auth>")
    return client.sasl_answer()


def text_of(client):
    """The text of the last failure."""
    return "".join(client.log[-1].itertext())


@pytest.mark.parametrize("way", ["direct", "starttls"])
def test_a_certificate_logs_in(open_server, people, way):
    client = connect(open_server, people.context("juliet@localhost"), way)
    assert client.mechanisms[0] == "EXTERNAL"
    assert external(client)[0] == "success"
    client.open()
    assert client.bind("balcony") == "juliet@localhost/balcony"
    client.ping()
    metrics = open_server.ctl("metrics", "--format", "prometheus")["text"]
    assert re.search(r"^muster_auth_certificate_ok(_total)? 1$", metrics, re.M)


@pytest.mark.parametrize("jid", ["juliet@localhost", "JULIET@LocalHost"])
def test_the_address_may_be_said(open_server, people, jid):
    client = connect(open_server, people.context(jid))
    assert external(client, "juliet@localhost")[0] == "success"


def test_without_an_initial_response(open_server, people):
    client = connect(open_server, people.context("juliet@localhost"))
    client.sasl_start("EXTERNAL")
    assert client.sasl_answer() == ("challenge", b"")
    client.raw(f"<response xmlns='{xml.SASL}'/>")
    assert client.sasl_answer()[0] == "success"


def test_several_addresses(open_server, people):
    open_server.add_user("romeo")
    context = people.context("juliet@localhost", "romeo@localhost", "nurse@other.test")
    client = connect(open_server, context)
    assert external(client) == ("failure", "invalid-authzid")
    assert external(client, "nurse@localhost") == ("failure", "invalid-authzid")
    assert external(client, "nurse@other.test") == ("failure", "invalid-authzid")
    assert external(client, "romeo@localhost/x") == ("failure", "invalid-authzid")
    assert external(client, "romeo@localhost")[0] == "success"
    client.open()
    assert client.bind().startswith("romeo@localhost/")


def test_one_address_of_this_domain_among_others(open_server, people):
    client = connect(open_server, people.context("juliet@localhost", "nurse@other.test"))
    assert external(client)[0] == "success"


@pytest.mark.parametrize("options, condition, told", [
    ({"begins": -9, "ends": -1}, "credentials-expired", "certificate has expired"),
    ({"begins": 1, "ends": 9}, "not-authorized", "certificate is not yet valid"),
    ({"purpose": ExtendedKeyUsageOID.SERVER_AUTH}, "not-authorized", "purpose"),
    ({"jids": ["juliet@other.test"]}, "not-authorized", "no address of localhost"),
    ({"jids": []}, "not-authorized", "no address of localhost"),
    ({"jids": ["localhost"]}, "not-authorized", "no address of localhost"),
    ({"jids": ["juliet@localhost/r"]}, "not-authorized", "no address of localhost"),
])
def test_a_certificate_that_does_not_fit(open_server, people, options, condition, told):
    context = people.context(*options.pop("jids", ["juliet@localhost"]), **options)
    client = connect(open_server, context)
    assert "EXTERNAL" not in client.mechanisms and "PLAIN" in client.mechanisms
    assert external(client) == ("failure", condition)
    assert told in text_of(client)
    assert client.authenticate("PLAIN", "juliet", "secret") is None
    assert re.search(f"auth.retried.*{told}", open_server.log())


def test_of_an_authority_that_is_not_trusted(open_server, tmp_path):
    client = connect(open_server, Authority(tmp_path, "strangers").context("juliet@localhost"))
    assert "EXTERNAL" not in client.mechanisms
    assert external(client) == ("failure", "not-authorized") and "issuer" in text_of(client)


def test_trust_for_federation_is_another_matter(make_server, people):
    server = make_server(settings={"c2s.certificate-login": "on"})
    server.ctl("cert-trust", "add", people.file)
    assert "EXTERNAL" not in connect(server, people.context("juliet@localhost")).mechanisms


def test_trust_that_is_taken_back(open_server, people):
    context = people.context("juliet@localhost")
    assert "EXTERNAL" in connect(open_server, context).mechanisms
    row, = open_server.rows("cert-trust", "list", "--for", "clients")
    open_server.ctl("cert-trust", "del", row["fingerprint"], "--for", "clients")
    assert "EXTERNAL" not in connect(open_server, context).mechanisms


def test_trust_that_is_taken_back_after_the_handshake(open_server, people):
    context = people.context("juliet@localhost")
    before, waiting = connect(open_server, context), connect(open_server, context)
    assert "EXTERNAL" in waiting.mechanisms and external(before)[0] == "success"
    before.open()
    before.bind("balcony")
    row, = open_server.rows("cert-trust", "list", "--for", "clients")
    open_server.ctl("cert-trust", "del", row["fingerprint"], "--for", "clients")
    assert external(waiting) == ("failure", "not-authorized")
    assert "the certificate is refused" in text_of(waiting)
    before.ping()  # a session that is logged in stays


def test_no_account_and_a_disabled_one(open_server, people):
    assert external(connect(open_server, people.context("nobody@localhost"))) == (
        "failure", "not-authorized")
    open_server.ctl("user", "disable", "juliet@localhost")
    assert external(connect(open_server, people.context("juliet@localhost"))) == (
        "failure", "account-disabled")


def test_only_where_it_is_on(open_server, people):
    open_server.add_user("nurse", domain="other.test")
    context = people.context("nurse@other.test")
    for way in ("direct", "starttls"):
        client = connect(open_server, context, way, "other.test")
        assert "EXTERNAL" not in client.mechanisms
        assert external(client) == ("failure", "invalid-mechanism")
    open_server.ctl("set", "c2s.certificate-login@other.test", "on")
    assert external(connect(open_server, context, domain="other.test"))[0] == "success"


def test_without_a_certificate_nothing_changes(open_server):
    client = open_server.login("juliet")
    assert client.bare == "juliet@localhost"
    again = open_server.connect("juliet")
    assert "EXTERNAL" not in again.mechanisms
    assert external(again) == ("failure", "invalid-mechanism")


def test_sasl2(open_server, people):
    client = connect(open_server, people.context("juliet@localhost"))
    agent = "d4565fa7-4d72-4749-b3d3-740edbf87770"
    client.sasl2_start("EXTERNAL", None, "<initial-response/><bind xmlns='urn:xmpp:bind:0'/>"
                       "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>",
                       agent)
    success = client.sasl2_next()
    assert success.tag == f"{{{xml.SASL2}}}success"
    assert success.find(".//{urn:xmpp:fast:0}token") is None  # it would outlive the certificate
    client.sasl2_done(success)
    assert client.bare == "juliet@localhost"
    client.ping()
