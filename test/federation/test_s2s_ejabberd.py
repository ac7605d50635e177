"""Federation with ejabberd, in both directions."""
import re

import pytest

from harness import ejabberd, partner

pytestmark = pytest.mark.skipif(not ejabberd.is_here(), reason="no ejabberd, or no dnsmasq")


@pytest.fixture
def federated(make_server, tmp_path):
    """A function that starts both servers, with options of ejabberd."""
    started = []
    yield lambda **options: partner.start(make_server, tmp_path, ejabberd.Ejabberd, started,
                                          **options)
    for process in started:
        process.finish()


@pytest.mark.parametrize("first", ["alice", "bob"])
@pytest.mark.parametrize("protocol, refused", [
    ("TLSv1.2", "no_tlsv1_3"), ("TLSv1.3", "no_tlsv1, no_tlsv1_1, no_tlsv1_2")])
def test_messages_with_certificates(federated, first, protocol, refused):
    ours, theirs = federated(settings={"dialback": "off"}, more="", protocols=refused)
    partner.talk_both_ways(ours, theirs, first)
    assert ours.log().count(f"auth=certificate tls={protocol}") == 2
    assert "auth=dialback" not in ours.log()


def with_our_request(federated, folder, *options, **both):
    """Both servers; ours shows what an authority that both trust has made of `cert csr`."""
    authorities = []

    def ours_comes_later(authority):
        authorities.append(authority)
        return {}

    ours, theirs = federated(our_certificate=ours_comes_later, **both)
    path = folder / "ours-signed.pem"
    path.write_bytes(authorities[0].sign(ours.ctl("cert", "csr", partner.OURS, *options)["text"]))
    ours.ctl("cert", "import", partner.OURS, "--file", path)
    return ours, theirs


@pytest.mark.parametrize("first", ["alice", "bob"])
@pytest.mark.parametrize("options", [(), ("--wildcard",), ("--names", "domain")])
def test_messages_with_a_certificate_of_our_request(federated, tmp_path, first, options):
    """By SASL EXTERNAL, whatever names it asks for."""
    ours, theirs = with_our_request(federated, tmp_path, *options,
                                    settings={"dialback": "off"}, more="")
    assert "id-on-xmppAddr" not in ours.ctl("cert", "check", partner.OURS)["text"]
    partner.talk_both_ways(ours, theirs, first)
    assert ours.log().count("auth=certificate") == 2
    assert "auth=dialback" not in ours.log()


@pytest.mark.parametrize("first", ["alice", "bob"])
def test_what_check_says_about_xmpp_addresses_helps(federated, tmp_path, first):
    """ejabberd 23.01 fails at them, but not by dialback."""
    ours, theirs = with_our_request(federated, tmp_path, "--xmpp-addr")
    said = ours.ctl("cert", "check", partner.OURS)["text"]
    assert f"has the XMPP address {partner.OURS} (id-on-xmppAddr)" in said
    advice = re.search("`(s2s-demand set .*?)`", said)[1]
    ours.ctl(*advice.replace("DOMAIN", partner.THEIRS).split())
    partner.talk_both_ways(ours, theirs, first)
    assert ours.log().count("auth=dialback tls=") == 2


@pytest.mark.parametrize("first", ["alice", "bob"])
def test_messages_with_dialback(federated, first):
    ours, theirs = federated(settings={"verify_certificates": "off"}, trusted=False)
    partner.talk_both_ways(ours, theirs, first)
    assert ours.log().count("auth=dialback") == 2
    assert "auth=certificate" not in ours.log()


def test_questions_both_ways(federated):
    partner.ask(*federated(), "ejabberd")


def test_presence_subscriptions_both_ways(federated):
    partner.subscribe(*federated())


def test_rooms_both_ways(federated):
    partner.meet(*federated())
