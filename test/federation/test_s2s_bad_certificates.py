"""Certificates that are refused, with Prosody and ejabberd, in both directions: what the other side
is told, what the log says, and what `s2s trace` says."""
import pathlib
import re

import pytest
from cryptography import x509

from harness import ejabberd, federation, partner, prosody
from harness.client import until
from harness.partner import OURS, THEIRS
from federation.test_revocation import crl

KINDS = {"prosody": (prosody, prosody.Prosody), "ejabberd": (ejabberd, ejabberd.Ejabberd)}
# the part of the text about it that is the same for all
FAULTS = {
    "expired": (lambda a, name, *domains: a.issue(name, *domains, begins=-20, ends=-2), "expired"),
    "self-signed": (lambda a, name, *domains: federation.self_signed(a.folder, name, *domains),
                    "self-signed"),
    "unknown": (lambda a, name, *domains: federation.Authority(a.folder, "rogue")
                .issue(name, *domains), "unable to get local issuer"),
    "name": (lambda a, name, *domains: a.issue(name, "else.example"), "does not name"),
}
STRICT = {"prosody": {"secure_auth": "true", "less": '"dialback";'}, "ejabberd": {"more": ""}}

# what it says of our certificate
SAYS = {"prosody": "the server says: not-authorized: Your server's certificate ",
        "ejabberd": "it refuses our certificate ("}


@pytest.fixture(params=KINDS)
def kind(request):
    if not KINDS[request.param][0].is_here():
        pytest.skip(f"no {request.param}, or no dnsmasq")
    return request.param


@pytest.fixture
def federated(make_server, tmp_path, kind):
    started = []
    yield lambda **options: partner.start(make_server, tmp_path, KINDS[kind][1], started, **options)
    for process in started:
        process.finish()


@pytest.mark.parametrize("fault", FAULTS)
def test_of_the_other_server(federated, fault):
    make, text = FAULTS[fault]
    ours, theirs = federated(settings={"dialback": "off", "retry_for": "0s"},
                             certificate=lambda a: make(a, "bad", THEIRS, f"conference.{THEIRS}"))
    alice, bob = ours.client("alice"), theirs.client("bob")
    alice.send(f"<message to='{bob}' type='chat' id='m'><body>no</body></message>")
    alice.expect(f"<message type='error' id='m' from='{bob}'/>")
    ours.wait_log(f'event=s2s.(host|failed) domain={THEIRS} .*its certificate is refused: .*{text}')
    done = ours.ctl_run("s2s", "trace", THEIRS)
    assert done.returncode == 1 and "(certificate)" in done.stderr and text in done.stdout
    assert "cert-trust add" in done.stderr
    bob.send(f"<message to='{alice}' type='chat' id='n'><body>no</body></message>")
    bob.expect("<message type='error' id='n'/>")
    ours.wait_log(f"event=s2s.error condition=[a-z-]+ text=.* domain=({THEIRS}|\"\")")
    alice.expect_nothing("<message><body>no</body></message>")


@pytest.mark.parametrize("fault", FAULTS)
def test_of_ours(federated, kind, fault):
    make, _ = FAULTS[fault]
    ours, theirs = federated(settings={"dialback": "off", "retry_for": "0s"}, **STRICT[kind],
                             our_certificate=lambda a: make(a, "bad", OURS, f"conference.{OURS}"))
    alice, bob = ours.client("alice"), theirs.client("bob")
    assert alice.error("get", "<ping xmlns='urn:xmpp:ping'/>", to=THEIRS)[0] in (
        "remote-server-timeout", "remote-server-not-found")
    done = ours.ctl_run("s2s", "trace", THEIRS)
    assert done.returncode == 1, done.stdout
    assert SAYS[kind] in done.stdout and "`musterctl cert check`" in done.stderr
    ours.wait_log(f"event=s2s.(host|failed) domain={THEIRS} .*{re.escape(SAYS[kind])}")
    bob.send(f"<message to='{alice}' type='chat' id='n'><body>no</body></message>")
    bob.expect("<message type='error' id='n'/>")
    alice.expect_nothing("<message><body>no</body></message>")


def test_one_that_a_list_of_its_authority_revokes(federated):
    """It was good until the list came; both directions."""
    made = []

    def certificate(authority):
        made.extend((authority, authority.issue("partner", THEIRS, f"conference.{THEIRS}")))
        return made[1]
    ours, theirs = federated(settings={"dialback": "off", "retry_for": "0s"},
                             certificate=certificate)
    alice, bob = ours.client("alice"), theirs.client("bob")
    partner.talk(alice, bob, "before")
    partner.talk(bob, alice, "back")
    cert = x509.load_pem_x509_certificate(pathlib.Path(made[1]["certificate"]).read_bytes())
    folder = ours.data / "trust" / "federation"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "list.crl").write_bytes(crl(made[0], cert))
    ours.ctl("server", "reload")
    ours.ctl_run("s2s", "close", THEIRS)
    until("no stream is left", lambda: not [row for row in ours.rows("s2s", "list")
                                            if row["state"] == "up"])
    for one, other, ident in (alice, bob, "m"), (bob, alice, "n"):
        one.send(f"<message to='{other}' type='chat' id='{ident}'><body>no</body></message>")
        one.expect(f"<message type='error' id='{ident}'/>")
    done = ours.ctl_run("s2s", "trace", THEIRS)
    assert done.returncode == 1 and "(certificate)" in done.stderr and "revoked" in done.stdout
    alice.expect_nothing("<message><body>no</body></message>")
    bob.expect_nothing("<message><body>no</body></message>")


def test_a_good_one(federated, kind):
    """What is above fails by the certificate alone."""
    ours, theirs = federated(settings={"dialback": "off"}, **STRICT[kind])
    partner.talk_both_ways(ours, theirs, "alice")
    until("proved", lambda: ours.log().count("auth=certificate") == 2)
