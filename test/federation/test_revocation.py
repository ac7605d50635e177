"""Certificates of other servers and of clients whose authority is asked whether they are revoked.
`openssl ocsp` is the responder, and a web server of Python has the lists."""
import datetime
import http.server
import pathlib
import subprocess
import threading
import types

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from harness import federation
from harness.client import insecure_context, until
from harness.federation import NOW
from harness.server import free_ports
from stream.test_cert_login import connect, external
from federation.test_s2s_trust import (EVIL, ONE, Issuer, dns, fingerprint, offers, put, stapled,
                                       xmpp)

LOOPBACK = "127.0.0.1"
DAY = datetime.timedelta(days=1)
DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
GOOD, REVOKED, UNKNOWN = (ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED,
                          ocsp.OCSPCertStatus.UNKNOWN)


class Web:
    """It answers each request with `body`; with None never. A function is called with what was
    sent."""

    def __init__(self):
        web = self
        self.body, self.status, self.asked = b"", 200, []
        self.by_path = {}  # of single paths, before `body`
        self.silent = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                web.asked.append(self.path)
                body = web.by_path.get(self.path, web.body)
                body = body(data) if callable(body) else body
                if body is None:
                    web.silent.wait()
                    return
                self.send_response(web.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    pass  # it was too much
            do_POST = do_GET

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.server.daemon_threads = True
        host = f"[{LOOPBACK}]" if ":" in LOOPBACK else LOOPBACK
        self.url = f"http://{host}:{self.server.server_port}/of-tests"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.silent.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web():
    made = Web()
    yield made
    made.close()


@pytest.fixture
def issuer(tmp_path):
    return Issuer(tmp_path)


@pytest.fixture
def node(make_server, issuer):
    return start(make_server, issuer)


def start(make_server, issuer):
    server = make_server(
        "alice", domains=[ONE], s2s=True, tls={**issuer.issue(ONE, ONE), "trust": str(issuer.file)},
        settings=federation.settings())
    for setting, value in (("s2s.retry-for", "0s"), ("ocsp.allow-local", "on"),
                           ("tls.servers-revocation", "asked")):
        server.ctl("set", setting, value)
    return server


def responder(url):
    return x509.AuthorityInformationAccess([x509.AccessDescription(
        AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url))])


def point(url):
    return x509.CRLDistributionPoints([x509.DistributionPoint(
        [x509.UniformResourceIdentifier(url)], None, None, None)])


def crl(authority, *revoked):
    """A list of an authority, as the web server has it."""
    return Issuer.crl(authority, *revoked).public_bytes(DER)


def says(issuer, cert, status, begins=-1, ends=7, signer=None):
    """The answer of a responder."""
    signer = signer or issuer
    by = x509.load_pem_x509_certificate(signer.file.read_bytes())
    authority = x509.load_pem_x509_certificate(issuer.file.read_bytes())
    return (ocsp.OCSPResponseBuilder()
            .add_response(cert=cert, issuer=authority, algorithm=hashes.SHA1(), cert_status=status,
                          this_update=NOW + begins * DAY, next_update=NOW + ends * DAY,
                          revocation_time=NOW - DAY if status == REVOKED else None,
                          revocation_reason=None)
            .responder_id(ocsp.OCSPResponderEncoding.HASH, by)
            .sign(signer.key, hashes.SHA256()).public_bytes(DER))


def accepted(node, cert, web, body, required=False):
    """Whether a server with this certificate is offered EXTERNAL after that answer."""
    web.body = body
    node.ctl("set", "tls.servers-revocation", "required" if required else "asked")
    return offers(node, cert)


def unanswered(node):
    return [line for line in node.log().splitlines() if "cert.unanswered" in line]


@pytest.mark.parametrize("status, soft, hard", [
    (GOOD, True, True), (REVOKED, False, False), (UNKNOWN, True, False)],
    ids=["good", "revoked", "unknown"])
@pytest.mark.parametrize("required", [False, True], ids=["asked", "required"])
def test_the_responder_is_asked(node, issuer, web, status, soft, hard, required):
    cert = issuer.make("evil", dns(EVIL), [responder(web.url)])
    assert accepted(node, cert, web, says(issuer, cert[1], status), required) == (
        hard if required else soft)
    assert web.asked == ["/of-tests"]


BAD = {
    "old": lambda i, c: says(i, c, REVOKED, -9, -2),
    "not-yet": lambda i, c: says(i, c, REVOKED, 2, 9),
    "of-somebody-else": lambda i, c: says(i, c, REVOKED, signer=Issuer(i.folder, "forger")),
    "about-another": lambda i, c: says(i, i.make("another", dns("another.test"))[1], REVOKED),
    "nonsense": lambda i, c: b"no answer",
    "too-large": lambda i, c: b"0" * 200000,
}


@pytest.mark.parametrize("name", BAD)
def test_answers_that_do_not_count(node, issuer, web, name):
    cert = issuer.make("evil", dns(EVIL), [responder(web.url)])
    assert accepted(node, cert, web, BAD[name](issuer, cert[1]))
    assert accepted(node, cert, web, None, required=True) is False
    assert len(web.asked) == 1  # that nobody answers is remembered for a minute


def test_no_answer_at_all(node, issuer, web):
    """Nobody waits for longer than 8 s, and others are not held up meanwhile."""
    cert = issuer.make("evil", dns(EVIL), [responder(web.url)])
    web.body = None
    peer = federation.Peer(node, EVIL, ONE, cert[0])
    waits = threading.Thread(target=peer.secure)
    waits.start()
    until("it was asked", lambda: web.asked)
    node.client("alice").ping()
    assert waits.is_alive()
    waits.join()
    assert peer.features.find("{urn:ietf:params:xml:ns:xmpp-sasl}mechanisms") is not None


def test_a_responder_that_is_down(node, issuer):
    port, = free_ports(1)
    cert = issuer.make("evil", dns(EVIL), [responder(f"http://127.0.0.1:{port}/")])
    assert offers(node, cert)
    node.ctl("set", "tls.servers-revocation", "required")
    assert not offers(node, cert)


def test_advice_where_nobody_says_it(make_server, issuer, node):
    """A new certificate of the same authority would not help, nor would it to trust that."""
    tls = {**issuer.issue(EVIL, EVIL), "trust": str(issuer.file)}
    other = make_server(domains=[EVIL], s2s=True, tls=tls, settings=federation.settings())
    federation.route(node, EVIL, other.s2s_port)
    node.ctl("set", "tls.servers-revocation", "required")
    done = node.ctl_run("s2s", "trace", EVIL)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "nobody says whether it is revoked" in said
    assert "set tls.servers-revocation to asked here" in said and "cert-trust add" not in said


def test_addresses_of_this_machine_are_not_asked(node, issuer, web):
    node.ctl("set", "ocsp.allow-local", "off")
    cert = issuer.make("evil", dns(EVIL), [responder(web.url), point(web.url)])
    assert accepted(node, cert, web, says(issuer, cert[1], REVOKED)) and not web.asked


@pytest.mark.parametrize("what", ["off", "stapled"])
def test_nobody_is_asked_unless_wanted(node, issuer, web, what):
    node.ctl("set", "tls.servers-revocation", what)
    cert = issuer.make("evil", dns(EVIL), [responder(web.url)])
    web.body = says(issuer, cert[1], REVOKED)
    assert offers(node, cert) and not web.asked


def test_an_answer_is_remembered(node, issuer, web):
    cert = issuer.make("evil", dns(EVIL), [responder(web.url)])
    assert accepted(node, cert, web, says(issuer, cert[1], GOOD))
    assert accepted(node, cert, web, says(issuer, cert[1], REVOKED)) and len(web.asked) == 1
    node.ctl("set", "ocsp.check-every", "1s")
    other_cert = issuer.make("other", dns("other.test"), [responder(web.url)])
    web.body = says(issuer, other_cert[1], GOOD)
    assert offers(node, other_cert, "other.test")
    web.body = says(issuer, other_cert[1], REVOKED)
    until("it is asked again", lambda: not offers(node, other_cert, "other.test"))


@pytest.mark.parametrize("form", [DER, PEM], ids=["der", "pem"])
def test_the_list_is_fetched(node, issuer, web, form):
    bad = issuer.make("evil", dns(EVIL), [point(web.url)])
    fine = issuer.make("fine", dns("fine.test"), [point(web.url)])
    web.body = issuer.crl(bad[1]).public_bytes(form)
    node.ctl("set", "tls.servers-revocation", "required")
    assert not offers(node, bad) and offers(node, fine, "fine.test")
    assert len(web.asked) == 1  # one list for both


def test_the_list_is_asked_where_the_responder_does_not_know(node, issuer, web):
    cert = issuer.make("evil", dns(EVIL), [responder(web.url + "/ocsp"), point(web.url + "/list")])
    told = issuer.crl(cert[1]).public_bytes(DER)
    unknown = says(issuer, cert[1], UNKNOWN)
    assert not accepted(node, cert, web, lambda sent: unknown if sent else told)
    assert web.asked == ["/of-tests/ocsp", "/of-tests/list"]


LISTS = {
    "old": lambda i, c: i.crl(c, ends=-1).public_bytes(DER),
    "of-somebody-else": lambda i, c: Issuer(i.folder, "forger").crl(c).public_bytes(DER),
    "forged": lambda i, c: forged(i, c).public_bytes(DER),
    "damaged": lambda i, c: i.crl(c).public_bytes(DER)[:-10],
    "nonsense": lambda i, c: b"no list",
    "empty": lambda i, c: b"",
    "too-large": lambda i, c: b"0" * (5 << 20),
}


def forged(issuer, cert):
    """With the name of the issuer, and another key."""
    forger = Issuer(issuer.folder, "forger")
    forger.name = issuer.name
    return forger.crl(cert)


@pytest.mark.parametrize("name", LISTS)
def test_lists_that_do_not_count(node, issuer, web, name):
    cert = issuer.make("evil", dns(EVIL), [point(web.url)])
    body = LISTS[name](issuer, cert[1])
    assert accepted(node, cert, web, body)
    node.ctl("set", "tls.servers-revocation", "required")
    assert not offers(node, cert)


def test_a_certificate_that_names_nobody(node, issuer):
    cert = issuer.make("evil", dns(EVIL))
    assert offers(node, cert)
    node.ctl("set", "tls.servers-revocation", "required")
    assert not offers(node, cert)
    (node.data / "trust" / "federation").mkdir(parents=True, exist_ok=True)
    (node.data / "trust" / "federation" / "list.crl").write_bytes(
        issuer.crl().public_bytes(PEM))
    node.ctl("server", "reload")
    assert offers(node, cert)  # a list of its authority says that it is not revoked


def test_a_trusted_certificate_needs_no_authority(node, tmp_path):
    alone = Issuer(tmp_path, "alone").issue("alone", EVIL)
    node.ctl("cert-trust", "add", alone["certificate"])
    node.ctl("set", "tls.servers-revocation", "required")
    assert offers(node, (alone,))


def test_openssl_as_responder(node, issuer, tmp_path):
    port, = free_ports(1)
    cert = issuer.make("evil", dns(EVIL), [responder(f"http://127.0.0.1:{port}/")])
    fine = issuer.make("fine", dns("fine.test"), [responder(f"http://127.0.0.1:{port}/")])
    (tmp_path / "ca.key").write_bytes(issuer.key.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    (tmp_path / "index.txt").write_text("".join(
        f"{flag}\t{c.not_valid_after:%y%m%d%H%M%S}Z\t{when}\t{c.serial_number:X}\tunknown\t/CN=x\n"
        for flag, when, c in (("R", f"{NOW - DAY:%y%m%d%H%M%S}Z", cert[1]), ("V", "", fine[1]))))
    process = subprocess.Popen(
        ["openssl", "ocsp", "-index", tmp_path / "index.txt", "-port", str(port), "-rsigner",
         issuer.file, "-rkey", tmp_path / "ca.key", "-CA", issuer.file, "-nmin", "60"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        while b"waiting for" not in (line := process.stdout.readline()):
            assert line, "the responder does not start"
        node.ctl("set", "tls.servers-revocation", "required")
        assert not offers(node, cert) and offers(node, fine, "fine.test")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# --- the authorities between a certificate and the one that is trusted ---

def chain(issuer, name, of_middle=(), of_leaf=()):
    """A certificate that comes with its authority, and that authority."""
    paths, cert, key = issuer.make(f"middle-{name}", [], of_middle, authority=True)
    middle = types.SimpleNamespace(name=cert.subject, key=key, cert=cert,
                                   file=pathlib.Path(paths["certificate"]))
    leaf = issuer.make(name, dns(EVIL), of_leaf, by=(cert.subject, key))
    with open(leaf[0]["certificate"], "ab") as all_of_it:
        all_of_it.write(middle.file.read_bytes())
    return leaf, middle


@pytest.mark.parametrize("revoked", [False, True], ids=["good", "revoked"])
@pytest.mark.parametrize("how", ["file", "list", "responder"])
def test_an_authority_between_is_revoked(node, issuer, web, how, revoked):
    """By a list in the trust store, by one that is fetched, and by what a responder says."""
    names = {"file": [], "list": [point(web.url)], "responder": [responder(web.url)]}[how]
    leaf, middle = chain(issuer, "evil", names)
    told = issuer.crl(*[middle.cert] * revoked)
    if how == "file":
        put(node, "list.crl", told.public_bytes(PEM))
    web.body = {"file": b"", "list": told.public_bytes(DER),
                "responder": says(issuer, middle.cert, REVOKED if revoked else GOOD)}[how]
    assert offers(node, leaf) is not revoked
    assert offers(node, leaf) is not revoked
    assert len(web.asked) == (how != "file")
    other_leaf = issuer.make("other", dns(EVIL), by=(middle.name, middle.key))
    with open(other_leaf[0]["certificate"], "ab") as all_of_it:
        all_of_it.write(middle.file.read_bytes())
    assert offers(node, other_leaf) is not revoked
    assert len(web.asked) == (how != "file")  # what is known of the authority counts for both


def test_all_of_a_chain_is_asked_about_where_that_is_required(node, issuer, web):
    """An authority that names nobody is as one about which nobody answers."""
    node.ctl("set", "tls.servers-revocation", "required")
    for name, of_middle, right in ("one", [], False), ("two", [point(web.url + "/top")], True):
        leaf, middle = chain(issuer, name, of_middle, [point(f"{web.url}/{name}")])
        web.by_path = {f"/of-tests/{name}": crl(middle), "/of-tests/top": crl(issuer)}
        assert offers(node, leaf) is right
    assert "CN=middle-one" in unanswered(node)[0] and len(unanswered(node)) == 1
    assert sorted(web.asked) == ["/of-tests/one", "/of-tests/top", "/of-tests/two"]


def test_a_long_chain_is_asked_about_with_a_limit(node, issuer, web):
    """Four certificates of a chain, and where all are required it is refused beyond that."""
    by, shown, lists = (issuer.name, issuer.key), b"", {"/of-tests/0": crl(issuer)}
    for n in range(4):
        paths, cert, key = issuer.make(f"middle-{n}", [], [point(f"{web.url}/{n}")], by=by,
                                       authority=True)
        by, shown = (cert.subject, key), pathlib.Path(paths["certificate"]).read_bytes() + shown
        lists[f"/of-tests/{n + 1}"] = crl(types.SimpleNamespace(name=cert.subject, key=key))
    leaf = issuer.make("evil", dns(EVIL), [point(f"{web.url}/4")], by=by)
    with open(leaf[0]["certificate"], "ab") as all_of_it:
        all_of_it.write(shown)
    web.by_path = lists
    assert offers(node, leaf)
    assert sorted(web.asked) == [f"/of-tests/{n}" for n in (1, 2, 3, 4)]
    node.ctl("set", "tls.servers-revocation", "required")
    assert not offers(node, leaf)


def test_a_stream_ends_when_an_authority_between_is_revoked(node, issuer, web):
    node.ctl("set", "tls.recheck-every", "1s")
    node.ctl("set", "ocsp.check-every", "1s")
    leaf, middle = chain(issuer, "evil", [responder(web.url)])
    web.body = says(issuer, middle.cert, GOOD)
    peer = federation.Peer(node, EVIL, ONE, leaf[0])
    peer.join()
    web.body = says(issuer, middle.cert, REVOKED)
    ends(peer)


# --- answers that contradict each other ---

def test_the_newer_answer_counts(node, issuer, web):
    """What a responder says later with an older date does not clear a certificate."""
    node.ctl("set", "ocsp.check-every", "1s")
    cert = issuer.make("evil", dns(EVIL), [responder(web.url)])
    for status, begins, right in ((GOOD, -5, True), (REVOKED, -3, False), (GOOD, -4, False),
                                  (GOOD, -3, False), (GOOD, -2, True), (REVOKED, -3, True)):
        asked = len(web.asked)
        web.body = says(issuer, cert[1], status, begins)
        until("it is asked again", lambda: offers(node, cert) is not None
              and len(web.asked) > asked)
        assert offers(node, cert) is right


def test_a_stapled_answer_counts_unless_a_newer_one_is_known(node, issuer, web):
    """Whether the server is connected to, or connects; so its stream does not end at each look."""
    node.ctl("set", "tls.recheck-every", "1s")
    cert = issuer.make("evil", dns("older.test", "newer.test"), [responder(web.url)])
    web.body = says(issuer, cert[1], REVOKED, -3)
    assert not offers(node, cert, "older.test")
    assert "revoked" in stapled(node, cert[0], says(issuer, cert[1], GOOD, -4), "older.test")
    assert not offers(node, cert, "older.test")
    assert stapled(node, cert[0], says(issuer, cert[1], GOOD, -2), "newer.test") is None
    peer = federation.Peer(node, "newer.test", ONE, cert[0])
    peer.join()
    listed(node, issuer)
    listed(node, issuer)
    assert len(web.asked) == 1 and "newer.test" in str(node.rows("s2s", "list"))


# --- clients, and streams that are open ---

CLIENTS = {"c2s.certificate-login@localhost": "on"}


@pytest.fixture
def people(make_server, tmp_path):
    """A server that lets clients log in with certificates of this authority."""
    server = make_server(settings=CLIENTS)
    made = Issuer(tmp_path, "people")
    server.ctl("cert-trust", "add", made.file, "--for", "clients")
    for setting, value in (("ocsp.allow-local", "on"), ("tls.recheck-every", "1s")):
        server.ctl("set", setting, value)
    server.add_user("juliet")
    return server, made


def context(cert):
    made = insecure_context()
    made.load_cert_chain(cert[0]["certificate"], cert[0]["key"])
    return made


def log_in(server, cert):
    client = connect(server, context(cert))
    assert external(client)[0] == "success"
    client.open()
    client.bind("balcony")
    return client


def ends(client, text="the certificate is revoked"):
    """The stream of the client ends with the error for certificates that are revoked."""
    error = client.expect("<stream:error/>")
    assert error.find("{urn:ietf:params:xml:ns:xmpp-streams}reset") is not None
    assert text in "".join(error.itertext())


def test_a_client_whose_authority_has_revoked_it(people, web):
    server, made = people
    cert = made.make("client", [xmpp("juliet@localhost")], [responder(web.url)])
    web.body = says(made, cert[1], REVOKED)
    assert external(connect(server, context(cert)))[0] == "success"  # nobody is asked
    server.ctl("set", "tls.clients-revocation", "required")
    client = connect(server, context(cert))
    assert "EXTERNAL" not in client.mechanisms
    assert external(client) == ("failure", "not-authorized")
    assert "its authority says that it is revoked" in "".join(client.log[-1].itertext())


def test_a_session_ends_when_its_certificate_is_in_a_list(people):
    server, made = people
    cert = made.make("client", [xmpp("juliet@localhost")])
    fine = made.make("fine", [xmpp("juliet@localhost")])
    client = log_in(server, cert)
    stays = connect(server, context(fine))
    assert external(stays)[0] == "success"
    stays.open()
    stays.bind("garden")
    (server.data / "trust" / "clients" / "list.crl").write_bytes(
        made.crl(cert[1]).public_bytes(PEM))
    server.ctl("server", "reload")
    ends(client)
    stays.ping()
    until("its session is gone", lambda: len(server.rows("session", "list")) == 1)


def test_a_session_with_a_password_stays(people):
    """It has shown a certificate, but that has not logged it in."""
    server, made = people
    cert = made.make("client", [xmpp("juliet@localhost")])
    watched, client = log_in(server, cert), connect(server, context(cert))
    assert client.authenticate("PLAIN", "juliet", "secret") is None
    client.open()
    client.bind("garden")
    (server.data / "trust" / "clients" / "list.crl").write_bytes(
        made.crl(cert[1]).public_bytes(PEM))
    server.ctl("server", "reload")
    ends(watched)
    client.ping()


def test_a_session_ends_when_its_authority_revokes(people, web):
    server, made = people
    server.ctl("set", "tls.clients-revocation", "asked")
    server.ctl("set", "ocsp.check-every", "1s")
    cert = made.make("client", [xmpp("juliet@localhost")], [responder(web.url)])
    web.body = says(made, cert[1], GOOD)
    client = log_in(server, cert)
    until("the authority is asked again", lambda: len(web.asked) > 1)
    client.ping()
    web.body = says(made, cert[1], REVOKED)
    ends(client)


def test_a_stream_of_a_server_ends(node, issuer):
    node.ctl("set", "tls.recheck-every", "1s")
    cert = issuer.make("evil", dns(EVIL))
    peer = federation.Peer(node, EVIL, ONE, cert[0])
    peer.join()
    put(node, "list.crl", issuer.crl(cert[1]).public_bytes(PEM))
    ends(peer)


def listed(node, issuer, *revoked):
    """Puts them into the list of the authority, and waits until looks at open streams know that."""
    watch = issuer.make("watch", dns("watch.test"))
    peer = federation.Peer(node, "watch.test", ONE, watch[0])
    peer.join()
    put(node, "list.crl", issuer.crl(watch[1], *revoked).public_bytes(PEM))
    ends(peer)


def test_a_pinned_stream_from_a_server_stays(node, issuer):
    """Its certificate would count again if it came back."""
    node.ctl("set", "tls.recheck-every", "1s")
    cert = issuer.make("evil", dns(EVIL))
    node.ctl("s2s-demand", "set", EVIL, "--pin", fingerprint(cert[1]))
    peer = federation.Peer(node, EVIL, ONE, cert[0])
    peer.join()
    listed(node, issuer, cert[1])
    listed(node, issuer, cert[1])  # the first look may have been half done
    assert node.rows("s2s", "list") and EVIL in str(node.rows("s2s", "list"))
    assert offers(node, cert)
    node.ctl("s2s-demand", "del", EVIL)
    ends(peer)


def test_a_list_that_clears_a_certificate_counts_at_each_look(node, issuer, web):
    """As in the handshake; else the stream would end at each look, and be made again."""
    cert = issuer.make("evil", dns(EVIL), [responder(web.url)])
    web.body = says(issuer, cert[1], REVOKED)
    node.ctl("set", "tls.recheck-every", "1s")
    put(node, "list.crl", issuer.crl().public_bytes(PEM))
    peer = federation.Peer(node, EVIL, ONE, cert[0])
    peer.join()
    listed(node, issuer)
    listed(node, issuer)
    assert not web.asked and EVIL in str(node.rows("s2s", "list"))


def test_a_stream_to_a_server_ends(node, issuer):
    node.ctl("set", "tls.recheck-every", "1s")
    cert = issuer.make("evil", dns(EVIL))
    listener = federation.Listener(EVIL, cert[0])
    try:
        federation.route(node, EVIL, listener.port)
        node.client("alice").send(f"<message to='a@{EVIL}' id='m'><body>x</body></message>")
        with listener.join() as peer:
            listener.read_until(peer, "<message")
            put(node, "list.crl", issuer.crl(cert[1]).public_bytes(PEM))
            listener.read_until(peer, "the certificate is revoked")
    finally:
        listener.close()
