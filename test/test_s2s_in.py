"""What another server may do on its stream to us, and what costs it the stream (RFC 6120,
XEP-0220)."""
import socket

import pytest

from muster import federation
from muster.client import until
from muster.component import Component
from muster.federation import DIALBACK, Peer

ONE, EVIL = "one.test", "evil.test"
SECRET = "a secret of the component"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def node(make_server, authority):
    """One server at ONE that federates with all; components may join it."""
    tls = {**authority.issue(ONE, ONE), "trust": str(authority.file)}
    server = make_server("alice", domains=[ONE], s2s=True, component=True, tls=tls)
    server.ctl("set", "s2s.policy", "open")
    return server


@pytest.fixture
def evil(node, authority):
    return Peer(node, EVIL, ONE, authority.issue("evil", EVIL))


@pytest.fixture
def silent(node):
    """All other servers are this socket, which says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        node.ctl("set", "s2s.routes", f"*=127.0.0.1:{sock.getsockname()[1]}")
        yield sock


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


def test_nothing_is_relayed_for_a_component_that_has_left(node, authority, silent):
    domain = f"gate.{ONE}"
    node.ctl("component", "add", domain, "--secret", SECRET)
    component = Component(node, domain, SECRET)
    peer = Peer(node, EVIL, domain, authority.issue("evil", EVIL)).join()
    peer.raw(message(f"x@{EVIL}", f"u@{domain}", "one"))
    component.expect("<message><body>one</body></message>")
    component.close()
    until("the end of the component", lambda: node.rows("component", "list")[0]["connections"] == 0)
    peer.raw(message(f"x@{EVIL}", f"u@{domain}", "two") + "<a xmlns='urn:unknown'/>")
    peer.expect_stream_error("unsupported-stanza-type")
    assert not [row for row in node.rows("s2s", "list") if row["domain"] == domain]
    del silent


# --- ends ---


def test_what_is_under_way_at_the_end_of_a_stream_is_delivered(node, evil):
    alice = node.client("alice")
    evil.join()
    assert node.ctl("s2s", "close", EVIL)["text"] == "closed streams: 1"
    evil.raw(message(f"bob@{EVIL}", alice, "late"))
    alice.expect("<message><body>late</body></message>")
    evil.raw("</stream:stream>")
    evil.expect_closed()


def test_nothing_is_said_behind_the_end(node, evil):
    evil.join()
    node.ctl("s2s", "close", EVIL)
    evil.result("0" * 64)
    evil.raw("<a xmlns='urn:unknown'/>")
    evil.expect_closed()
    assert evil.inbox == []


def test_a_peer_that_does_not_end_its_stream(node, evil):
    evil.join()
    node.ctl("s2s", "close", EVIL)
    evil.expect_closed()
    until("its end", lambda: node.rows("s2s", "list") == [])


# --- dialback ---


def answer(evil, kind, origin=EVIL):
    return evil.expect(f"<db:result xmlns:db='{DIALBACK}' from='{ONE}' to='{origin}' "
                       f"type='{kind}'/>")


def test_who_has_proved_nothing_may_claim_eight_domains(evil, silent):
    evil.secure()
    for n in range(9):
        evil.result("0" * 64, origin=f"d{n}.test")
    answer(evil, "error", origin="d8.test")
    del silent


def test_a_certificate_proves_what_is_being_checked(evil, silent):
    evil.secure().result("0" * 64)
    assert evil.external() is None
    answer(evil, "valid")
    evil.header().features_come()
    del silent


def test_a_key_is_not_checked_twice_at_a_time(node, authority, evil):
    evil.join()
    victim = federation.Listener("victim.test", authority.issue("victim", "victim.test"))
    node.ctl("set", "s2s.routes", f"victim.test=127.0.0.1:{victim.port}")
    for n in range(3):
        evil.result(f"{n}" * 64, origin="victim.test")
    assert victim.questions() == ["0" * 64]
    victim.close()


# --- policy ---


def test_without_federation_a_header_without_a_domain_is_refused(node, evil):
    node.ctl("set", "s2s.policy", "off")
    evil.header(origin="-")
    evil.expect_stream_error("policy-violation")


def test_the_end_of_federation_ends_streams_that_have_proved_nothing(node, evil):
    evil.secure(origin="-")
    node.ctl("set", "s2s.policy", "off")
    evil.expect_stream_error("policy-violation")
