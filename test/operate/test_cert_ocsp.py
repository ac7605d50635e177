"""OCSP: the answers of responders about the server's certificates, as handshakes show them.
`openssl ocsp` is the responder, `openssl s_client` the client."""
import datetime
import json
import re
import socket
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from harness.client import TIMEOUT, until
from harness.server import free_ports

SINGLE = {"good": ocsp.OCSPCertStatus.GOOD, "revoked": ocsp.OCSPCertStatus.REVOKED}
NOW = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
PEM = serialization.Encoding.PEM


class Authority:
    """A root that issues certificates with an OCSP responder, and says which are revoked."""

    def __init__(self, folder, port):
        self.folder, self.url = folder, f"http://127.0.0.1:{port}/ocsp"
        self.port, self.lines, self.process = port, [], None
        self.cert, self.key = self.make("root", ca=True)
        self.other = self.make("other", ca=True)

    def make(self, name, ca=False, issuer=None, url=None, staple=False, purpose=None):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        signer = issuer or (None, key)
        builder = (x509.CertificateBuilder().subject_name(subject)
                   .issuer_name(signer[0].subject if issuer else subject)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(NOW - datetime.timedelta(days=1))
                   .not_valid_after(NOW + datetime.timedelta(days=90))
                   .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True))
        if purpose:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        elif not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]),
                                            critical=False)
        if url:
            builder = builder.add_extension(x509.AuthorityInformationAccess([
                x509.AccessDescription(AuthorityInformationAccessOID.OCSP,
                                       x509.UniformResourceIdentifier(url))]), critical=False)
        if staple:
            builder = builder.add_extension(
                x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False)
        cert = builder.sign(signer[1], hashes.SHA256())
        (self.folder / f"{name}.pem").write_bytes(cert.public_bytes(PEM))
        (self.folder / f"{name}.key").write_bytes(key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return cert, key

    def issue(self, name="localhost", url="", **options):
        """`tls` of a node file: the certificate with its root behind it."""
        cert, _ = self.make(name, issuer=(self.cert, self.key), url=self.url if url == "" else url,
                            **options)
        path = self.folder / f"{name}.pem"
        path.write_bytes(path.read_bytes() + self.cert.public_bytes(PEM))
        self.lines.append(f"V\t{cert.not_valid_after:%y%m%d%H%M%S}Z\t\t{cert.serial_number:X}\t"
                          f"unknown\t/CN={name}")
        self.say()
        return {"certificate": str(path), "key": str(self.folder / f"{name}.key")}

    def say(self):
        (self.folder / "index.txt").write_text("".join(line + "\n" for line in self.lines))

    def revoke(self):
        when = f"{NOW:%y%m%d%H%M%S}Z"
        self.lines = [re.sub("^V\t([^\t]*)\t\t", rf"R\t\1\t{when}\t", line) for line in self.lines]
        self.say()

    def answer(self, begins, ends, status="good"):
        """What a responder says over HTTP, from and until so many hours from now."""
        leaf = x509.load_pem_x509_certificate((self.folder / "localhost.pem").read_bytes())
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        hours = [h if h is None else now + datetime.timedelta(hours=h) for h in (begins, ends)]
        made = ocsp.OCSPResponseBuilder().add_response(
            cert=leaf, issuer=self.cert, algorithm=hashes.SHA1(), cert_status=SINGLE[status],
            this_update=hours[0], next_update=hours[1],
            revocation_time=now if status == "revoked" else None, revocation_reason=None,
        ).responder_id(ocsp.OCSPResponderEncoding.HASH, self.cert).sign(self.key, hashes.SHA256())
        body = made.public_bytes(serialization.Encoding.DER)
        return b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def serve(self, signer="root", minutes=60):
        self.stop()
        self.process = subprocess.Popen(
            ["openssl", "ocsp", "-index", self.folder / "index.txt", "-port", str(self.port),
             "-rsigner", self.folder / f"{signer}.pem", "-rkey", self.folder / f"{signer}.key",
             "-CA", self.folder / "root.pem", "-nmin", str(minutes)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while b"waiting for" not in (line := self.process.stdout.readline()):
            assert line, "the responder does not start"

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = None


@pytest.fixture
def authority(tmp_path):
    made = Authority(tmp_path, free_ports(1)[0])
    yield made
    made.stop()


@pytest.fixture(name="make_asking")
def make_server_that_asks_loopback(make_server):
    """The responders of these tests are at loopback, where certificates name them."""
    def made(settings=None, **options):
        return make_server(settings={"ocsp.allow-local": True, **(settings or {})}, **options)
    return made


def shown(port, *more, name="localhost"):
    """What a client sees of OCSP: "good", "revoked", or None."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-status",
                           "-servername", name, *more], input="", capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)
    found = re.search(r"Cert Status: (\w+)", done.stdout)
    assert found or "OCSP response: no response sent" in done.stdout, done.stdout + done.stderr
    return found and found[1]


def row(server):
    found, = server.rows("cert", "ocsp")
    return found


def answered(server, status="good"):
    until(f"the responder says {status}", lambda: row(server)["status"] == status)
    return row(server)


def alarms(server):
    return {r["name"]: r for r in server.rows("alarm", "list")}


def diagnosed(server):
    """What `doctor` says of certificates."""
    done = server.ctl_run("--config", server.file, "--json", "doctor")
    return [r for r in json.loads(done.stdout)["rows"] if r["check"] == "certificates"]


def test_a_good_answer_is_shown_on_all_ways(make_asking, authority):
    tls = authority.issue()
    authority.serve()
    server = make_asking(tls=tls)
    found = answered(server)
    assert found["shown"] is True and found["responder"] == authority.url and found["note"] == ""
    assert shown(server.tls_port) == "good"
    assert shown(server.tls_port, "-tls1_2") == "good"
    assert shown(server.c2s_port, "-starttls", "xmpp", "-xmpphost", "localhost") == "good"
    assert shown(server.https_port) == "good"
    assert "tls.ocsp" not in alarms(server)


def test_the_answer_is_kept_over_a_restart(make_asking, authority):
    tls = authority.issue()
    authority.serve()
    server = make_asking(tls=tls)
    first = answered(server)
    until("the answer is kept", lambda: list((server.data / "ocsp").iterdir()))
    (server.data / "ocsp" / "of-another").write_text("old")
    authority.stop()
    server.restart()
    assert shown(server.tls_port) == "good"
    assert row(server)["from"] == first["from"] and row(server)["tried"] == ""
    assert [p.name for p in (server.data / "ocsp").iterdir()] == [
        server.rows("cert", "show")[0]["fingerprint"]]


def test_a_damaged_answer_is_not_shown(make_asking, authority):
    tls = authority.issue()
    authority.serve()
    server = make_asking(tls=tls)
    answered(server)
    until("the answer is kept", lambda: list((server.data / "ocsp").iterdir()))
    kept, = (server.data / "ocsp").iterdir()
    data = bytearray(kept.read_bytes())
    data[120] ^= 1  # of what is signed
    kept.write_bytes(data)
    authority.stop()
    server.restart()
    assert shown(server.tls_port) is None


def test_an_answer_is_asked_for_again(make_asking, authority):
    tls = authority.issue()
    authority.serve()
    server = make_asking(tls=tls, settings={"ocsp.check-every": "1s"})
    first = answered(server)["from"]
    until("a newer answer", lambda: row(server)["from"] > first)
    authority.stop()
    until("a question fails", lambda: "refused" in row(server)["note"])
    assert shown(server.tls_port) == "good" and row(server)["shown"] is True


def test_a_revoked_certificate_is_an_alarm(make_asking, authority):
    tls = authority.issue()
    authority.revoke()
    authority.serve()
    server = make_asking(tls=tls)
    assert answered(server, "revoked")["shown"] is False
    assert shown(server.tls_port) is None
    assert alarms(server)["tls.ocsp"]["severity"] == "critical"
    told = "localhost: the certificate is revoked, as its OCSP responder says."
    assert told in server.ctl_run("cert", "check").stderr
    assert server.rows("cert", "list")[0]["state"] == "is revoked, as its OCSP responder says"
    found = [r["found"] for r in diagnosed(server)]
    assert told[:-1] in found and "they can be used for the domains" not in found
    server.ctl("set", "ocsp.enabled", "off")  # nobody says so any more
    assert "revoked" not in server.ctl_run("cert", "check").stderr
    assert server.rows("cert", "list")[0]["state"] == "ok"
    assert "they can be used for the domains" in [r["found"] for r in diagnosed(server)]


def test_an_answer_of_another_authority_is_refused(make_asking, authority):
    tls = authority.issue(staple=True)
    authority.serve(signer="other")
    server = make_asking(tls=tls)
    until("it is refused", lambda: "not signed by the issuer" in row(server)["note"])
    assert row(server)["status"] == "none" and shown(server.tls_port) is None
    assert alarms(server)["tls.ocsp"]["severity"] == "critical" # the certificate demands an answer


def test_a_responder_that_the_issuer_has_named(make_asking, authority):
    tls = authority.issue()
    authority.make("helper", issuer=(authority.cert, authority.key),
                   purpose=ExtendedKeyUsageOID.OCSP_SIGNING)
    authority.serve(signer="helper")
    server = make_asking(tls=tls)
    assert answered(server)["shown"] is True and shown(server.tls_port) == "good"


def test_a_certificate_of_the_issuer_for_something_else_may_not_sign(make_asking, authority):
    tls = authority.issue()
    authority.make("helper", issuer=(authority.cert, authority.key),
                   purpose=ExtendedKeyUsageOID.SERVER_AUTH)
    authority.serve(signer="helper")
    server = make_asking(tls=tls)
    until("it is refused", lambda: "not signed by the issuer" in row(server)["note"])


def test_settings(make_asking, authority):
    tls = authority.issue(url=None)
    server = make_asking(tls=tls)
    assert row(server)["responder"] == "" and row(server)["tried"] == ""
    authority.serve()
    server.ctl("set", "ocsp.uri", authority.url)
    assert answered(server)["responder"] == authority.url
    assert shown(server.tls_port) == "good"
    server.ctl("set", "ocsp.enabled", "off")
    until("nothing is shown", lambda: shown(server.tls_port) is None)
    server.ctl("set", "ocsp.enabled", "on")
    until("it is shown again", lambda: shown(server.tls_port) == "good")
    done = server.ctl_run("set", "ocsp.uri", "https://ocsp.test/")
    assert done.returncode != 0 and "as http://ocsp.example.org/" in done.stderr


def test_an_imported_certificate_is_asked_about(make_asking, authority):
    server = make_asking()
    assert row(server)["responder"] == ""
    files = authority.issue()
    authority.serve()
    server.ctl("cert", "import", "localhost", "--file", files["certificate"],
               "--key", files["key"])
    assert answered(server)["shown"] is True and shown(server.tls_port) == "good"
    server.ctl("cert", "self-signed", "localhost", "--replace")
    assert row(server)["responder"] == "" and shown(server.tls_port) is None


class Responder:
    """It answers each connection with these bytes; with None never."""

    def __init__(self, port, answer):
        self.socket = socket.create_server(("127.0.0.1", port))
        self.answer, self.open = answer, []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            peer.recv(65536)
            self.open.append(peer)
            if self.answer is not None:
                peer.sendall(self.answer)
                peer.close()

    def close(self):
        self.socket.close()


@pytest.mark.parametrize("answer, told", [
    (b"HTTP/1.1 404 Not Found\r\n\r\n", "HTTP status 404"),
    (b"nonsense", "not answer as a web server"),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhallo", "no answer of OCSP"),
    (b"HTTP/1.0 200 OK\r\n\r\n\x30\x03\x0a\x01\x06", "unauthorized"),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n", "not answer as a web server"),
    (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 200000, "not answer as a web server"),
    (b"", "not answer as a web server")],
    ids=["missing", "nonsense", "no-ocsp", "refused", "too-long", "endless", "empty"])
def test_answers_that_are_none(make_asking, authority, answer, told):
    responder = Responder(authority.port, answer)
    try:
        server = make_asking(tls=authority.issue())
        until("it fails", lambda: told in row(server)["note"])
        assert shown(server.tls_port) is None
    finally:
        responder.close()


def test_a_silent_responder_delays_nobody(make_asking, authority):
    responder = Responder(authority.port, None)
    try:
        server = make_asking(tls=authority.issue())
        until("it was asked", lambda: responder.open)
        assert shown(server.tls_port) is None
        server.stop()
    finally:
        responder.close()


@pytest.fixture(name="responder")
def responder_of(authority):
    made = Responder(authority.port, None)
    yield made
    made.close()


@pytest.mark.parametrize("begins, ends", [(-40 * 24, None), (-1, -0.01)],
                         ids=["old", "just-ended"])
def test_an_answer_past_its_time_is_a_failure(make_asking, authority, responder, begins, ends):
    tls = authority.issue()
    responder.answer = authority.answer(begins, ends)
    server = make_asking(tls=tls)
    until("it fails", lambda: "not hold any longer" in row(server)["note"])
    assert row(server)["status"] == "none" and shown(server.tls_port) is None
    for _ in range(5):
        server.ctl("server", "reload")
    assert len(responder.open) == 1  # the next question comes after a minute


def test_without_an_end_it_holds_for_a_week(make_asking, authority, responder):
    tls = authority.issue()
    responder.answer = authority.answer(-6 * 24, None)
    server = make_asking(tls=tls)
    assert answered(server)["shown"] is True and shown(server.tls_port) == "good"


def test_an_older_answer_does_not_undo_revoked(make_asking, authority, responder):
    tls = authority.issue()
    good, revoked = authority.answer(-5, 100), authority.answer(-1, 100, "revoked")
    responder.answer = good
    server = make_asking(tls=tls, settings={"ocsp.check-every": "1s"})
    answered(server)
    until("the answer is kept", lambda: list((server.data / "ocsp").iterdir()))
    kept, = (server.data / "ocsp").iterdir()
    first = kept.read_bytes()
    responder.answer = revoked
    answered(server, "revoked")
    until("that is kept", lambda: kept.read_bytes() != first)
    responder.answer = good
    until("it is refused", lambda: "older" in row(server)["note"])
    kept.write_bytes(first)
    server.ctl("server", "reload")
    assert row(server)["status"] == "revoked" and shown(server.tls_port) is None


def test_the_same_answer_is_not_written_again(make_asking, authority, responder):
    tls = authority.issue()
    responder.answer = authority.answer(-1, 100)
    server = make_asking(tls=tls, settings={"ocsp.check-every": "1s"})
    answered(server)
    # not one that is being written: it gets its name when it is whole
    kept, = until("the answer is kept", lambda: [
        path for path in (server.data / "ocsp").iterdir() if path.suffix != ".new"])
    before, asked = kept.stat().st_ino, len(responder.open)
    until("it was asked twice more", lambda: len(responder.open) > asked + 1)
    assert kept.stat().st_ino == before


def test_reloads_and_settings_ask_no_more_often(make_asking, authority, responder):
    server = make_asking(tls=authority.issue())
    until("it was asked", lambda: responder.open)
    for n in range(5):
        server.ctl("server", "reload")
        server.ctl("set", "ocsp.check-every", f"{n + 10}s")
    assert len(responder.open) == 1
    responder.open[0].sendall(authority.answer(-1, 100))
    responder.open[0].close()
    assert answered(server)["shown"] is True  # the question went on


def test_a_certificate_may_not_name_an_address_of_this_machine(make_asking, authority, responder):
    responder.answer = b""
    server = make_asking(tls=authority.issue(), settings={"ocsp.allow-local": False})
    until("it is refused", lambda: "not allowed" in row(server)["note"])
    assert not responder.open
    server.ctl("set", "ocsp.uri", authority.url.replace("127.0.0.1", "localhost"))
    until("it is asked there", lambda: responder.open)
    server.ctl("set", "ocsp.uri", "")
    until("and not here", lambda: "not allowed" in row(server)["note"])


def test_a_name_may_not_lead_to_this_machine(make_asking, authority, responder):
    url = authority.url.replace("127.0.0.1", "localhost")
    server = make_asking(tls=authority.issue(url=url), settings={"ocsp.allow-local": False})
    until("it is refused", lambda: "not allowed" in row(server)["note"])
    assert not responder.open


def test_a_certificate_that_demands_answers_without_any(make_asking, authority):
    files = authority.issue(url=None, staple=True)
    server = make_asking()
    taken = server.ctl_run("cert", "import", "localhost", "--file", files["certificate"],
                           "--key", files["key"])
    assert taken.returncode == 0 and "must-staple" in taken.stdout
    assert refuses(server)
    server.ctl("set", "ocsp.uri", authority.url)
    assert not refuses(server)
    server.ctl("set", "ocsp.enabled", "off")
    assert refuses(server)


def refuses(server):
    """Whether `cert check` says that clients refuse the certificate, since it has no answer."""
    done = server.ctl_run("cert", "check")
    if "must-staple" not in done.stdout + done.stderr:
        return False
    assert done.returncode == 1 and "nothing that clients" not in done.stdout + done.stderr
    return True
