"""Federation with ejabberd, in both directions."""
import pytest

from muster import ejabberd, partner

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
