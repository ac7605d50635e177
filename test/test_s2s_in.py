"""What another server may do on its stream to us, and what costs it the stream (RFC 6120,
XEP-0220)."""
import pytest

from muster import federation
from muster.federation import Peer

ONE, EVIL = "one.test", "evil.test"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def node(make_server, authority):
    """One server at ONE that federates with all."""
    tls = {**authority.issue(ONE, ONE), "trust": str(authority.file)}
    server = make_server("alice", domains=[ONE], s2s=True, tls=tls)
    server.ctl("set", "s2s.policy", "open")
    return server


@pytest.fixture
def evil(node, authority):
    return Peer(node, EVIL, ONE, authority.issue("evil", EVIL))


def message(origin, to, body):
    return f"<message from='{origin}' to='{to}' type='chat'><body>{body}</body></message>"


# --- addresses ---


@pytest.mark.parametrize("origin, to", [
    (f"bob@{EVIL}", f"\u2603@{ONE}"), (f"bob@{EVIL}", f"alice@{ONE}/\u2028"),
    (f"bob@{EVIL}", "alice@not a domain"), (f"bob@{EVIL}", f"@{ONE}"),
    (f"\u2603@{EVIL}", f"alice@{ONE}"), (f"bob@{EVIL}/\u2028", f"alice@{ONE}"),
    (f"@{EVIL}", f"alice@{ONE}"), (f"\u2603@{EVIL}", f"\u2603@{ONE}")])
def test_an_address_that_is_none_costs_its_stanza_alone(node, evil, origin, to):
    alice = node.client("alice")
    evil.join().raw(message(origin, to, "bad") + message(f"bob@{EVIL}", f"alice@{ONE}", "good"))
    alice.expect_next(f"<message from='bob@{EVIL}'><body>good</body></message>")


@pytest.mark.parametrize("origin, to, condition", [
    ("\u2603@other.test", f"alice@{ONE}", "invalid-from"),
    ("\u2603@not a domain", f"alice@{ONE}", "invalid-from"),
    (f"bob@{EVIL}", "\u2603@other.test", "host-unknown")])
def test_an_address_that_is_none_of_a_domain_that_is_not_proved(evil, origin, to, condition):
    evil.join().raw(message(origin, to, "bad"))
    evil.expect_stream_error(condition)


def test_the_sender_hears_that_an_address_is_none(node, make_server, authority):
    tls = {**authority.issue("other", "other.test"), "trust": str(authority.file)}
    other = make_server("bob", domains=["other.test"], s2s=True, tls=tls,
                        settings=federation.settings())
    node.ctl("set", "s2s.routes", f"other.test=127.0.0.1:{other.s2s_port}")
    bob = other.client("bob")
    peer = Peer(node, "other.test", ONE, authority.issue("peer", "other.test")).join()
    peer.raw(message(bob, f"\u2603@{ONE}", "bad"))
    bob.expect(f"<message type='error' from='{ONE}'><error type='modify'><jid-malformed "
               "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
