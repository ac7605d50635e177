"""Stanza interception and filtering (XEP-0273)."""
import pytest

from harness import xml
from harness.client import bodies

SIFT = "urn:xmpp:sift:1"


def sift(client, inner=""):
    client.result("set", f"<sift xmlns='{SIFT}'>{inner}</sift>", to=client.bare)


def say(client, to, body, more=""):
    client.send(f"<message to='{to}' type='chat'><body>{body}</body>{more}</message>")


def test_features(alice):
    """§3.2"""
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="localhost")
    found = {f.get("var") for f in info}
    assert {SIFT, "urn:xmpp:sift:stanzas:iq", "urn:xmpp:sift:stanzas:message",
            "urn:xmpp:sift:stanzas:presence", "urn:xmpp:sift:senders:others",
            "urn:xmpp:sift:recipients:full", "urn:xmpp:sift:payloads:qname"} <= found


def test_messages_wait(pair):
    """§4.2: as if the session were not there; then what was queued."""
    alice, bob = pair
    sift(alice, "<message/>")
    for i in range(3):
        say(bob, (alice.bare, alice)[i % 2], i)
    alice.expect_nothing("<message/>")
    bob.send("<presence><show>dnd</show></presence>")
    alice.expect(f"<presence from='{bob}'><show>dnd</show></presence>")
    alice.expect_nothing("<message/>")
    sift(alice)
    for i in range(3):
        assert alice.expect("<message from='*'/>").find(f"{{{xml.CLIENT}}}body").text == str(i)
    say(bob, alice, "live")
    alice.expect("<message><body>live</body></message>")


def test_messages_go_to_the_others(pair, server):
    alice, bob = pair
    other = server.client("alice", "other")
    sift(alice, "<message/>")
    for to in (alice.bare, alice):
        say(bob, to, to)
        other.expect(f"<message><body>{to}</body></message>")
    alice.expect_nothing("<message/>")


def test_messages_at_login(server):
    bob = server.client("bob", "b")
    say(bob, "alice@localhost", "stored")
    bob.ping()
    alice = server.login("alice", "a")
    sift(alice, "<message/>")
    alice.available()
    alice.expect_nothing("<message/>")
    sift(alice, "<presence/>")
    alice.expect("<message><body>stored</body></message>")


def test_negative_priority(pair):
    """§5.1: the bare JID only."""
    alice, bob = pair
    sift(alice, "<message recipient='bare'/>")
    say(bob, alice.bare, "bare")
    say(bob, alice, "full")
    assert bodies([alice.expect("<message/>")]) == ["full"]
    sift(alice, "<message recipient='full'/>")
    assert bodies([alice.expect("<message/>")]) == ["bare"]
    say(bob, alice, "full again")
    say(bob, alice.bare, "and bare")
    assert bodies([alice.expect("<message/>")]) == ["and bare"]
    alice.expect_nothing("<message/>")


def test_presence_hush(pair):
    """§4.1, §5.2: nothing while it is off, the last of each contact afterwards."""
    alice, bob = pair
    sift(alice, "<presence/>")
    bob.send("<presence><show>away</show></presence>")
    bob.send("<presence><show>dnd</show></presence>")
    bob.send(f"<presence to='{alice}'><show>chat</show></presence>")
    say(bob, alice, "still")
    alice.expect("<message><body>still</body></message>")
    alice.expect_nothing("<presence/>")
    sift(alice)
    alice.expect(f"<presence from='{bob}'><show>dnd</show></presence>")
    alice.expect_nothing("<presence><show>away</show></presence>")


def test_presence_at_login(server):
    server.befriend("alice", "bob")
    server.client("bob", "b")
    alice = server.login("alice", "a")
    sift(alice, "<presence sender='others'/>")
    alice.available()
    alice.expect_nothing("<presence/>")


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_subscription_requests_pass(alice, bob):
    sift(alice, "<presence/>")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    alice.expect("<presence type='subscribe'/>")


def test_iqs(pair):
    """§4.3: answered as if no such resource were there; its own requests work."""
    alice, bob = pair
    sift(alice, "<iq><allow name='query' ns='jabber:iq:version'/>"
                "<allow name='jingle' ns='urn:xmpp:jingle:1'/></iq>")
    assert bob.error("get", "<query xmlns='jabber:iq:other'/>", to=alice) == (
        "service-unavailable", "cancel")
    assert bob.error("get", "<other xmlns='jabber:iq:version'/>", to=alice)[0] == (
        "service-unavailable")
    bob.send(f"<iq type='get' id='v' to='{alice}'><query xmlns='jabber:iq:version'/></iq>")
    alice.expect("<iq type='get' id='v'/>")
    alice.ping()
    alice.send(f"<iq type='get' id='out' to='{bob}'><x xmlns='x'/></iq>")
    bob.expect("<iq id='out'/>")
    bob.send(f"<iq type='result' id='out' to='{alice}'/>")
    alice.expect("<iq type='result' id='out'/>")


def test_payloads_of_messages(pair):
    """§3.3: one allowed payload is enough, beside others."""
    alice, bob = pair
    sift(alice, "<message><allow name='Envelope' ns='urn:soap'/></message>")
    say(bob, alice, "plain")
    say(bob, alice, "soap", "<x xmlns='x'/><Envelope xmlns='urn:soap'/>")
    say(bob, alice, "wrong", "<Envelope xmlns='urn:other'/>")
    assert bodies([alice.expect("<message/>")]) == ["soap"]
    alice.expect_nothing("<message/>")


@pytest.mark.parametrize("sender,heard", [
    ("all", set()), ("self", {"bob", "example"}), ("others", {"alice"}),
    ("local", {"example"}), ("remote", {"alice", "bob"}),
])
def test_senders(make_server, sender, heard):
    server = make_server("alice", "bob", domains=("localhost", "example.com"))
    server.add_user("example", domain="example.com")
    alice = server.client("alice", "a")
    others = {"bob": server.client("bob", "b"), "alice": server.client("alice", "other"),
              "example": server.client("example", "e", domain="example.com")}
    alice.drain()
    sift(alice, f"<presence sender='{sender}'/>")
    for client in others.values():
        client.send(f"<presence to='{alice}'/>")
        client.ping()
        client.error("get", "<q xmlns='x'/>", to=str(alice) + "x")
    found = {e.get("from").partition("@")[0] for e in alice.drain()
             if e.tag.endswith("presence")}
    assert found == heard


def test_not_cumulative(pair):
    """§3.3: the last request holds."""
    alice, bob = pair
    sift(alice, "<message/>")
    sift(alice, "<presence/>")
    say(bob, alice, "hi")
    alice.expect("<message><body>hi</body></message>")


@pytest.mark.parametrize("inner,condition", [
    ("<other/>", "bad-request"),
    ("<message xmlns='jabber:client'/>", "bad-request"),
    ("<message/><message/>", "bad-request"),
    ("<message sender='me'/>", "bad-request"),
    ("<message recipient=''/>", "bad-request"),
    ("<iq><allow name='query'/></iq>", "bad-request"),
    ("<iq><allow ns='x'/></iq>", "bad-request"),
    ("<iq><xpath xmlns='urn:xpath'>//body</xpath></iq>", "feature-not-implemented"),
    ("<iq>" + "<allow name='a' ns='b'/>" * 65 + "</iq>", "not-acceptable"),
    (f"<iq><allow name='a' ns='{'n' * 9000}'/></iq>", "not-acceptable"),
])
def test_bad_requests_change_nothing(pair, inner, condition):
    alice, bob = pair
    sift(alice, "<presence/>")
    assert alice.error("set", f"<sift xmlns='{SIFT}'>{inner}</sift>")[0] == condition
    bob.send("<presence><show>xa</show></presence>")
    say(bob, alice, "hi")
    alice.expect("<message><body>hi</body></message>")
    alice.expect_nothing("<presence/>")


def test_kept_across_resumption_and_restart(server):
    alice = server.login("alice", "a")
    alice.enable_sm()
    alice.available()
    sift(alice, "<message recipient='full'/>")
    alice.request_ack()
    alice.ping()
    alice.cut()
    server.restart()
    again = server.connect("alice")
    assert again.take_over(alice).tag.endswith("resumed")
    bob = server.client("bob", "b")
    say(bob, again, "full")
    say(bob, again.bare, "bare")
    assert bodies([again.expect("<message/>")]) == ["bare"]


def test_only_for_oneself(alice):
    assert alice.error("set", f"<sift xmlns='{SIFT}'/>", to="bob@localhost") == (
        "service-unavailable", "cancel")
