"""Federation with Prosody, in both directions."""
import pathlib
import re

import pytest
from cryptography import x509

from harness import federation, partner, prosody
from harness.client import until
from harness.partner import OURS, THEIRS
from federation.test_revocation import Web, crl, point

pytestmark = pytest.mark.skipif(not prosody.is_here(), reason="no Prosody, or no dnsmasq")


@pytest.fixture
def federated(make_server, tmp_path):
    """A function that starts both servers, with options of Prosody."""
    started = []
    yield lambda **options: partner.start(make_server, tmp_path, prosody.Prosody, started,
                                          **options)
    for process in started:
        process.finish()


@pytest.mark.parametrize("first", ["alice", "bob"])
@pytest.mark.parametrize("protocol", ["tlsv1_2", "tlsv1_3"])
def test_messages_with_certificates(federated, first, protocol):
    ours, theirs = federated(settings={"dialback": "off"}, secure_auth="true", less='"dialback";',
                             ssl=f'protocol = "{protocol}";')
    partner.talk_both_ways(ours, theirs, first)
    assert f"auth=certificate tls={protocol.replace('tlsv1_', 'TLSv1.')}" in ours.log()
    assert "auth=dialback" not in ours.log()


@pytest.mark.parametrize("first", ["alice", "bob"])
def test_messages_with_dialback(federated, first):
    ours, theirs = federated(settings={"verify_certificates": "off"}, trusted=False)
    partner.talk_both_ways(ours, theirs, first)
    assert ours.log().count("auth=dialback") == 2
    assert "auth=certificate" not in ours.log()


@pytest.mark.parametrize("revoked", [False, True], ids=["good", "revoked"])
def test_the_authority_of_its_certificate_is_asked(federated, revoked):
    """Both streams, since the list that its certificate names is fetched."""
    web, made = Web(), []

    def cert(authority):
        made.append(authority.issue("partner", THEIRS, extensions=[point(web.url)]))
        leaf = x509.load_pem_x509_certificate(pathlib.Path(made[0]["certificate"]).read_bytes())
        web.body = crl(authority, *([leaf] if revoked else []))
        return made[0]
    try:
        ours, theirs = federated(settings={"dialback": "off", "retry_for": "0s"}, certificate=cert)
        ours.ctl("set", "ocsp.allow-local", "on")
        ours.ctl("set", "tls.servers-revocation", "required")
        if not revoked:
            partner.talk_both_ways(ours, theirs, "alice")
        else:
            alice, bob = ours.client("alice"), theirs.client("bob")
            alice.send(f"<message to='{bob}' type='chat' id='m'><body>x</body></message>")
            error = alice.expect(f"<message from='{bob}' type='error' id='m'/>")
            assert "its certificate is refused" in federation.for_users(error)
            assert "its authority says that it is revoked" in federation.why(ours, THEIRS)
            bob.send(f"<message to='{alice}' type='chat' id='n'><body>x</body></message>")
            bob.expect(f"<message from='{alice}' type='error' id='n'/>")
        assert len(web.asked) == 1
    finally:
        web.close()


def test_questions_both_ways(federated):
    partner.ask(*federated(), "Prosody")


def test_presence_subscriptions_both_ways(federated):
    partner.subscribe(*federated())


def test_rooms_both_ways(federated):
    partner.meet(*federated())


def test_messages_are_archived_copied_and_delivered_late(federated):
    ours, theirs = federated()
    alice, bob = ours.client("alice", "a"), theirs.client("bob")
    second = ours.client("alice", "b")
    second.result("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    alice.send(f"<message to='{bob}' type='chat' id='m1'><body>one</body></message>")
    bob.expect("<message id='m1'><body>one</body></message>")
    bob.send(f"<message to='{alice}' type='chat' id='m2'><body>two</body></message>")
    alice.expect(f"<message from='{bob}' id='m2'><body>two</body></message>")
    until("both copies", lambda: (second.pump(0.1), sum(
        e.find("{urn:xmpp:carbons:2}sent") is not None
        or e.find("{urn:xmpp:carbons:2}received") is not None for e in second.inbox) == 2)[1])
    bob.send(f"<message to='carol@{OURS}' type='chat' id='m3'><body>late</body></message>")
    carol = ours.client("carol")
    carol.expect("<message id='m3'><body>late</body></message>")
    alice.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
    found = [alice.expect("<message><result xmlns='urn:xmpp:mam:2'/></message>") for _ in range(2)]
    texts = ["".join(e.itertext()) for e in found]
    assert "one" in texts[0] and "two" in texts[1]


@pytest.mark.parametrize("more", ['"smacks";', ""], ids=["counted", "plain"])
def test_what_prosody_has_written_before_it_ends_is_read_at_its_rate(federated, more):
    """It does not wait until that is acknowledged, and does not send it again."""
    count = 200
    ours, theirs = federated(more=more)
    alice, bob = ours.client("alice"), theirs.client("bob")
    partner.talk(bob, alice, "to")
    partner.talk(alice, bob, "back")
    ours.ctl("set", "federation.stanza-rate", "50")
    for n in range(count):
        bob.send(f"<message to='{alice}' type='chat' id='l{n}'><body>{n}</body></message>")
    bob.ping()
    theirs.finish()
    for n in range(count):
        alice.expect(f"<message id='l{n}'><body>{n}</body></message>")


def test_prosody_counts_our_acknowledgements(federated):
    """With SASL EXTERNAL alone: Prosody asks for them only if the features offer it."""
    ours, theirs = federated(more='"smacks";')
    alice, bob = ours.client("alice"), theirs.client("bob")
    partner.talk(bob, alice, "to")
    partner.talk(alice, bob, "back")
    carol = f"carol@{OURS}"
    for n in range(20):
        bob.send(f"<message to='{carol}' type='chat' id='l{n}'><body>{n}</body></message>")
    until("the last acknowledgement", lambda: re.search(r"queue = 0 \(acked: \d", theirs.log()))
    late = ours.client("carol")
    for n in range(20):
        late.expect(f"<message id='l{n}'><body>{n}</body></message>")
