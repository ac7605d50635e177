"""Whether another server is who it says: its certificate, what revokes it, and demands on single
domains; and which certificate ours shows."""
import datetime
import pathlib
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from harness import federation, xml
from harness.client import until
from harness.federation import NOW, Listener, Peer
from harness.links import EVIL, ONE, authority, start
from harness.server import refusal

__all__ = ["authority", "start"]
DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM


class Issuer(federation.Authority):
    """An authority that makes what is asked of it."""

    def make(self, name, san, extensions=(), by=None, authority=False, begins=-1, ends=90):
        """Paths of a certificate, and the certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer, signer = by or (self.name, self.key)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(NOW + begins * DAY).not_valid_after(NOW + ends * DAY)
                   .add_extension(x509.BasicConstraints(ca=authority, path_length=None), True))
        if san:
            builder = builder.add_extension(x509.SubjectAlternativeName(san), False)
        for extension in extensions:
            builder = builder.add_extension(extension, False)
        cert = builder.sign(signer, hashes.SHA256())
        pem, secret = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        pem.write_bytes(cert.public_bytes(PEM))
        secret.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8,
                                             serialization.NoEncryption()))
        return {"certificate": str(pem), "key": str(secret)}, cert, key

    def crl(self, *revoked, ends=30, extension=None):
        builder = (x509.CertificateRevocationListBuilder().issuer_name(self.name)
                   .last_update(NOW - 60 * DAY).next_update(NOW + ends * DAY))
        for cert in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(cert.serial_number)
                .revocation_date(NOW - DAY).build())
        if extension:
            builder = builder.add_extension(extension, True)
        return builder.sign(self.key, hashes.SHA256())


def dns(*names):
    return [x509.DNSName(name) for name in names]


def other(oid, tag, text):
    """An otherName of a string."""
    return x509.OtherName(x509.ObjectIdentifier(oid),
                          bytes([tag, len(text.encode())]) + text.encode())


def srv(name):
    return other("1.3.6.1.5.5.7.8.7", 0x16, name)


def xmpp(name):
    return other("1.3.6.1.5.5.7.8.5", 0x0c, name)


def usage(*oids):
    return x509.ExtendedKeyUsage([getattr(x509.ExtendedKeyUsageOID, oid) for oid in oids])


@pytest.fixture
def issuer(tmp_path):
    return Issuer(tmp_path)


@pytest.fixture
def node(make_server, issuer):
    server = make_server("alice", domains=[ONE], s2s=True, settings=federation.settings(),
                         tls={**issuer.issue(ONE, ONE), "trust": str(issuer.file)})
    server.ctl("set", "s2s.retry-for", "0s")
    return server


def offers(node, cert, domain=EVIL):
    """Whether a peer with this certificate is offered EXTERNAL."""
    return Peer(node, domain, ONE, cert[0]).secure().mechanisms == ["EXTERNAL"]


CASES = {
    "dns": (dns(EVIL), {}, True), "other": (dns("other.test"), {}, False),
    "wildcard": (dns("*.evil.test"), {}, False), "none": ([], {}, False),
    "srv": ([srv("_xmpp-server.evil.test")], {}, True), "xmpp": ([xmpp(EVIL)], {}, True),
    "srv-client": ([srv("_xmpp-client.evil.test")], {}, False),
    "xmpp-other": ([xmpp("x@evil.test")], {}, False),
    "server": (dns(EVIL), {"extensions": [usage("SERVER_AUTH")]}, True),
    "client": (dns(EVIL), {"extensions": [usage("CLIENT_AUTH")]}, True),
    "code": (dns(EVIL), {"extensions": [usage("CODE_SIGNING")]}, False),
    "early": (dns(EVIL), {"begins": 1, "ends": 9}, False),
    "expired": (dns(EVIL), {"begins": -9, "ends": -1}, False),
}


def test_names_usage_and_dates_of_a_certificate(node, issuer):
    for name, (san, more, right) in CASES.items():
        assert offers(node, issuer.make(f"{name}.test", san, **more)) == right, name
    cert = issuer.make("wild", dns("*.evil.test"))
    assert offers(node, cert, "a.evil.test") and not offers(node, cert, "b.a.evil.test")
    node.ctl("set", "s2s.wildcards", "off")
    assert not offers(node, cert, "a.evil.test")


# --- servers that connect to us, and cannot prove their domain ---


FAULTS = {
    "expired": (lambda i: i.issue("bad", EVIL, begins=-9, ends=-1), "certificate has expired"),
    "early": (lambda i: i.issue("bad", EVIL, begins=2, ends=30), "certificate is not yet valid"),
    "name": (lambda i: i.issue("bad", "else.test"), f"it does not name {EVIL}"),
    "unknown": (lambda i: federation.Authority(i.folder, "strange").issue("bad", EVIL),
                "unable to get local issuer certificate"),
    "self-signed": (lambda i: federation.self_signed(i.folder, "bad", EVIL),
                    "self-signed certificate"),
    "none": (lambda i: None, "no certificate was shown"),
}


def last_refused(node, domain=EVIL):
    """As `s2s show` has it. `s2s list` says the same."""
    found = [r["value"] for r in node.rows("s2s", "show", domain) if r["name"] == "last refused"]
    listed = [r for r in node.rows("s2s", "list", domain) if r["state"] == "refused"]
    assert len({r["why"] for r in listed}) == len(found), (listed, found)
    for row in listed:
        assert (row["direction"], row["local"], row["stage"]) == ("in", ONE, "certificate")
        assert row["why"].partition(" (from ")[0] in found[0] and "from 127.0.0.1" in row["why"]
    return found


@pytest.mark.parametrize("asks", ["external", "dialback", "nothing"])
@pytest.mark.parametrize("fault", FAULTS)
def test_why_a_certificate_is_refused_is_told_to_the_operator(node, issuer, fault, asks):
    """Not to the peer. Also of one that leaves when it is offered nothing, once for a stream."""
    make, why = FAULTS[fault]
    node.ctl("set", "s2s.dialback", "off")
    peer = Peer(node, EVIL, ONE, make(issuer))
    peer.secure()
    if asks == "external":
        assert peer.external() == "not-authorized"
    elif asks == "dialback":
        peer.result("00")
        peer.expect_stream_error("not-authorized")
    said = [line for line in node.log().splitlines() if "event=s2s.unproved" in line]
    if asks == "nothing" and fault == "none":  # it may be a test of ours
        assert not said and not last_refused(node)
        return
    assert len(said) == 1 and why in said[0], said
    assert f"domain={EVIL} local={ONE}" in said[0] and "peer=127.0.0.1" in said[0]
    [value] = last_refused(node)
    assert why in value and "from 127.0.0.1" in value
    assert not last_refused(node, "else.test")


def test_what_is_remembered_of_refusals(node, issuer):
    """What dialback can prove is not refused, unless it asks for EXTERNAL all the same. A refusal
    is forgotten when the domain is proved. Anybody can name any domain: the oldest make room."""
    bad = issuer.issue("bad", "else.test")
    peer = Peer(node, EVIL, ONE, bad).secure()
    assert not last_refused(node) and "s2s.unproved" not in node.log()
    assert peer.external() == "not-authorized"
    assert "does not name" in last_refused(node)[0]
    node.ctl("set", "s2s.dialback", "off")
    peer = Peer(node, EVIL, ONE, issuer.issue("good", EVIL)).join()
    assert not last_refused(node)
    peer.result("00", origin="third.test")  # on the stream of another domain
    peer.expect(f"<db:result type='error' from='{ONE}' xmlns:db='{federation.DIALBACK}'/>")
    assert "does not name third.test" in last_refused(node, "third.test")[0]
    for n in range(129):
        Peer(node, f"d{n}.test", ONE, bad).secure().sock.close()
    assert not last_refused(node, "d0.test")
    assert last_refused(node, "d1.test") and last_refused(node, "d128.test")


def put(node, name, data):
    folder = node.data / "trust" / "federation"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    node.ctl("server", "reload")


@pytest.mark.parametrize("form, ends", [("PEM", 30), ("DER", 30), ("PEM", -1)])
def test_revoked_by_a_list(node, issuer, form, ends):
    """Also by an old one. Authorities without a list are not concerned."""
    revoked, fine = issuer.make("gone", dns(EVIL)), issuer.make("fine", dns(EVIL))
    assert offers(node, revoked)
    crl = issuer.crl(revoked[1], ends=ends)
    put(node, "list.crl", crl.public_bytes(getattr(serialization.Encoding, form)))
    assert not offers(node, revoked) and offers(node, fine)
    [row] = [row for row in node.rows("cert-trust", "list") if row["kind"] == "revoked"]
    assert row["subject"] == f"revoked certificates of {row['issuer']}: 1 (list.crl)"
    assert "CN=ca of tests" in row["issuer"]
    elsewhere = Issuer(issuer.folder, "elsewhere")
    put(node, "elsewhere.pem", elsewhere.file.read_bytes())
    assert offers(node, elsewhere.make("there", dns(EVIL)))
    (node.data / "trust" / "federation" / "list.crl").unlink()
    node.ctl("server", "reload")
    assert offers(node, revoked)


def test_lists_that_are_forged_old_or_damaged(node, issuer):
    """A list that is not signed by the issuer is no reason to trust either; one that is damaged is
    passed over; an old one is told."""
    cert, forger = issuer.make("evil", dns(EVIL)), Issuer(issuer.folder, "forger")
    put(node, "list.crl", b"nothing")
    assert offers(node, cert) and "list.crl" in trust_alarms(node)[0]
    forger.name = issuer.name
    put(node, "list.crl", forger.crl(cert[1]).public_bytes(PEM))
    assert not offers(node, cert)
    put(node, "list.crl", issuer.crl(ends=-50).public_bytes(PEM))
    until("alarm", lambda: trust_alarms(node, "tls.trust-expiry"))
    put(node, "list.crl", issuer.crl().public_bytes(PEM))
    until("end of the alarm", lambda: not trust_alarms(node, "tls.trust-expiry"))
    assert offers(node, cert)


def trust_alarms(node, name="tls.trust-file"):
    return [a["detail"] for a in node.rows("alarm", "list") if a["name"] == name]


def spoil(node, name, data):
    """The reload is refused, and says which file it is about."""
    (node.data / "trust" / "federation" / name).write_bytes(data)
    assert name in refusal(node, "server", "reload")
    assert name in trust_alarms(node)[0]


def test_half_written_files_end_nothing(node, issuer):
    """Neither a list what it revokes, nor a certificate (of OpenSSL) its trust."""
    gone, elsewhere = issuer.make("gone", dns(EVIL)), Issuer(issuer.folder, "elsewhere")
    whole = issuer.crl(gone[1]).public_bytes(PEM)
    first = elsewhere.crl().public_bytes(PEM)
    put(node, "list.crl", whole)
    for damaged in (b"", whole[:100], first + whole[:len(whole) // 2]):
        spoil(node, "list.crl", damaged)
        assert not offers(node, gone)
    put(node, "list.crl", first + whole)
    assert not offers(node, gone) and not trust_alarms(node)
    trusted = subprocess.run(["openssl", "x509", "-in", elsewhere.file, "-trustout"], check=True,
                             capture_output=True).stdout
    assert b"TRUSTED CERTIFICATE" in trusted
    put(node, "elsewhere.pem", trusted)
    there = elsewhere.make("there", dns(EVIL))
    assert offers(node, there)
    spoil(node, "elsewhere.pem", trusted[:80])
    assert offers(node, there)


def test_authorities_of_the_trust_store_vouch_for_others(node, issuer):
    """At once, beside tls.trust, and until they are deleted."""
    rogue = Issuer(issuer.folder, "rogue")
    cert = rogue.make("evil", dns(EVIL))
    assert not offers(node, cert)
    node.ctl("cert-trust", "add", rogue.file)
    assert offers(node, cert)
    listed, = (r for r in node.rows("cert-trust", "list") if "rogue" in r["subject"])
    node.ctl("cert-trust", "del", listed["fingerprint"])
    assert not offers(node, cert)


# --- servers that we connect to ---


def ask(node, domain=EVIL):
    """What the operator is told of the failure."""
    federation.for_users(node.client("alice").iq("get", "<query xmlns='jabber:iq:version'/>",
                                                 to=domain))
    return federation.why(node, domain)


@pytest.fixture
def shown(node):
    """A function: what the sender is told of a server that shows this certificate."""
    listeners = []

    def start(paths):
        listener = Listener(EVIL, paths)
        listeners.append(listener)

        def run():
            try:
                while True:
                    listener.secure()
            except (OSError, AssertionError):
                pass
        threading.Thread(target=run, daemon=True).start()
        federation.route(node, EVIL, listener.port)
        return ask(node)
    yield start
    for listener in listeners:
        listener.close()


MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])


def test_servers_that_are_refused(node, issuer, shown):
    made = [issuer.make(f"evil{n}", dns(EVIL), [more]) for n, more in enumerate((
        usage("SERVER_AUTH"), usage("CLIENT_AUTH"), MUST_STAPLE))]
    put(node, "list.crl", issuer.crl(made[0][1]).public_bytes(PEM))
    for (paths, _, _), why in zip(made, ("its certificate is refused: certificate revoked",
                                         "its certificate is refused",
                                         "it demands a stapled OCSP answer")):
        assert why in shown(paths), why


def answer(issuer, cert, status, ends, signer):
    """ends None: it does not say until when it counts; then it is 8 days old."""
    by = x509.load_pem_x509_certificate(signer.file.read_bytes())
    authority = x509.load_pem_x509_certificate(issuer.file.read_bytes())
    revoked = status == ocsp.OCSPCertStatus.REVOKED
    return (ocsp.OCSPResponseBuilder()
            .add_response(cert=cert, issuer=authority, algorithm=hashes.SHA256(),
                          cert_status=status,
                          this_update=NOW - (8 if ends is None else 2) * DAY,
                          next_update=None if ends is None else NOW + ends * DAY,
                          revocation_time=NOW - DAY if revoked else None, revocation_reason=None)
            .responder_id(ocsp.OCSPResponderEncoding.HASH, by).certificates([by])
            .sign(signer.key, hashes.SHA256())
            .public_bytes(serialization.Encoding.DER))


GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED


def stapled(node, paths, staple, domain=EVIL):
    """Why a server that shows this answer is refused; None: it is accepted."""
    file = pathlib.Path(paths["certificate"]).with_suffix(".staple")
    file.write_bytes(staple)
    port = federation.free_port()
    server = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", paths["certificate"],
         "-key", paths["key"], "-status_file", str(file), "-alpn", "xmpp-server", "-naccept", "1",
         "-quiet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        until("listener", lambda: listens(port))
        federation.route(node, domain, port, tls="direct")
        alice = node.client("alice")
        alice.send(f"<message to='a@{domain}' type='chat' id='m'><body>x</body></message>")
        read_until(server.stdout, b"<stream:stream")
        server.stdin.write(
            f"<stream:stream xmlns='{federation.SERVER}' xmlns:stream='{xml.STREAM}' version='1.0' "
            f"from='{domain}' id='s'><stream:features>{federation.EXTERNAL}"
            "</stream:features>".encode())
        server.stdin.flush()
        text = b""
        while data := server.stdout.read1(65536):
            text += data
            if b"<auth" in text:
                return None
        error = alice.expect(f"<message from='a@{domain}' type='error' id='m'/>")
        assert "its certificate is refused" in federation.for_users(error)
        return federation.why(node, domain)
    finally:
        server.kill()
        server.communicate()


@pytest.mark.parametrize("must, status, ends, forged, told", [
    (False, GOOD, 7, False, None), (True, GOOD, 7, False, None),
    (False, REVOKED, 7, False, "OCSP"), (True, GOOD, -1, False, "demands a stapled"),
    (False, REVOKED, 7, True, None), (True, GOOD, 7, True, "demands a stapled"),
    (True, GOOD, None, False, "demands a stapled"),
], ids=["good", "must-good", "revoked", "must-old", "forged", "must-forged", "must-undated"])
def test_stapled_answers(node, issuer, must, status, ends, forged, told):
    paths, cert, _ = issuer.make("evil", dns(EVIL), [MUST_STAPLE] if must else [])
    signer = Issuer(issuer.folder, "forger") if forged else issuer
    found = stapled(node, paths, answer(issuer, cert, status, ends, signer))
    assert told in found if told else found is None


def test_that_a_server_has_shown_that_it_is_revoked_is_remembered(node, issuer):
    """It shows that only where we connect; then it cannot come itself."""
    cert = issuer.make("evil", dns(EVIL))
    assert offers(node, cert)
    assert "OCSP" in stapled(node, cert[0], answer(issuer, cert[1], REVOKED, 7, issuer))
    assert not offers(node, cert)


def listens(port):
    """Without a connection to it, since it takes one only."""
    return f"0100007F:{port:04X} 00000000:0000 0A" in open("/proc/net/tcp", encoding="ascii").read()


def read_until(pipe, what):
    text = b""
    while what not in text:
        data = pipe.read1(65536)
        assert data, text
        text += data


# --- demands ---


def fingerprint(cert):
    return cert.fingerprint(hashes.SHA256()).hex()


def test_a_pinned_certificate_needs_no_authority(node, issuer, tmp_path, shown):
    """In both directions, and no other certificate counts then."""
    folder = tmp_path / "unknown"
    folder.mkdir()
    pinned = Issuer(folder, "unknown").make("self", dns("whatever.test"))
    trusted = issuer.make("evil", dns(EVIL))
    assert not offers(node, pinned) and offers(node, trusted)
    node.ctl("s2s-demand", "set", EVIL, "--pin", fingerprint(pinned[1]).upper())
    assert offers(node, pinned) and not offers(node, trusted)
    assert fingerprint(trusted[1]) in shown(trusted[0])
    node.ctl("s2s-demand", "del", EVIL)
    assert not offers(node, pinned) and offers(node, trusted)


def dialback(node, cert):
    peer = Peer(node, EVIL, ONE, cert[0])
    peer.secure()
    return any("dialback" in e.tag for e in peer.features)


def test_how_a_domain_must_be_proved(node, issuer):
    cert = issuer.make("evil", dns(EVIL))
    for auth, external, back in (("any", True, True), ("certificate", True, False),
                                 ("dialback", False, True)):
        node.ctl("s2s-demand", "set", "*.test", "--auth", auth)
        assert (offers(node, cert), dialback(node, cert)) == (external, back), auth
    node.ctl("set", "s2s.dialback", "off")
    assert dialback(node, cert)
    node.ctl("s2s-demand", "set", EVIL, "--tls-min", "1.2")  # more specific: the settings again
    assert not dialback(node, cert)


def secure_with(peer, minor):
    """TLS 1.MINOR and no other."""
    peer.header().features_come()
    peer.raw(f"<starttls xmlns='{xml.TLS}'/>")
    peer.expect(f"<proceed xmlns='{xml.TLS}'/>")
    context = federation.insecure_context()
    context.maximum_version = getattr(federation.ssl.TLSVersion, f"TLSv1_{minor}")
    context.load_cert_chain(peer.cert["certificate"], peer.cert["key"])
    peer.wrap(context)


def test_tls_1_1_is_not_spoken(node):
    peer = Peer(node, EVIL, ONE)
    peer.header().features_come()
    peer.raw(f"<starttls xmlns='{xml.TLS}'/>")
    peer.expect(f"<proceed xmlns='{xml.TLS}'/>")
    context = federation.insecure_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = federation.ssl.TLSVersion.TLSv1
    context.maximum_version = federation.ssl.TLSVersion.TLSv1_1
    with pytest.raises((federation.ssl.SSLError, OSError)):
        peer.wrap(context)


def test_the_oldest_version_of_tls(node, issuer):
    cert = issuer.make("evil", dns(EVIL))[0]
    for minimum, taken in ("1.2", True), ("1.3", False):
        node.ctl("s2s-demand", "set", EVIL, "--tls-min", minimum)
        old = Peer(node, EVIL, ONE, cert)
        secure_with(old, 2)
        old.header()
        old.features_come() if taken else old.expect_stream_error("policy-violation")
    assert Peer(node, EVIL, ONE, cert).secure().external() is None


def demand(node, pattern=EVIL):
    [row] = [r for r in node.rows("s2s-demand", "list") if r["pattern"] == pattern]
    return row["auth"], row["verify"], row["tls_min"], row["pins"], row["description"]


def test_demands_that_are_wrong(node):
    pin = "a" * 64
    assert "--auth" in refusal(node, "s2s-demand", "set", EVIL)
    for args in ((ONE, "--auth", "any"), ("127.0.0.1", "--auth", "any"),
                 (EVIL, "--auth", "certificate", "--verify", "off"), ("*a", "--auth", "any"),
                 (EVIL, "--auth", "no"), (EVIL, "--tls-min", "1.1"),
                 (EVIL, "--pin", "abc"), (EVIL, "--pin", pin, "--auth", "dialback"),
                 (EVIL, "--pin", " ".join([pin] * 9))):
        refusal(node, "s2s-demand", "set", *args)
    assert not node.rows("s2s-demand", "list")
    assert "s2s-demand list" in refusal(node, "s2s-demand", "del", EVIL)
    node.ctl("s2s-demand", "set", EVIL, "--pin", pin, "--description", "by phone")
    node.restart()
    [row] = node.rows("s2s-demand", "list")
    assert (row["pattern"], row["auth"], row["pins"]) == (EVIL, "certificate", pin)
