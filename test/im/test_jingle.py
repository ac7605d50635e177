"""Jingle passes through unharmed: sessions (XEP-0166) with files (XEP-0234), and the messages that
come before them (XEP-0353), stored and copied by their hints and the rules of carbons."""
import pytest

from harness import xml
from harness.client import bodies

JINGLE = "urn:xmpp:jingle:1"
CALL = "urn:xmpp:jingle-message:0"
CARBONS = "urn:xmpp:carbons:2"
MAM = "urn:xmpp:mam:2"
SID = "ca3cf894-5325-482f-a412-a6e9f832298d"
STORE = "<store xmlns='urn:xmpp:hints'/>"
BUSY = f"<reason xmlns='{JINGLE}'><busy/><text>Busy</text></reason>"

OFFER = (f"<jingle xmlns='{JINGLE}' action='session-initiate' initiator='alice@localhost/a' "
         "sid='851ba2'><content creator='initiator' name='a-file-offer' senders='initiator'>"
         "<description xmlns='urn:xmpp:jingle:apps:file-transfer:5'><file>"
         "<date>1969-07-21T02:56:15Z</date><desc>caf\u00e9 &lt;&amp;&gt; \U0001f40d</desc>"
         "<media-type>text/plain</media-type><name>test.txt</name><range offset='270336'/>"
         "<size>6144</size><hash xmlns='urn:xmpp:hashes:2' algo='sha-1'>w0mcJylzCn+AfvuGdqkty2+K"
         "P48=</hash></file></description>"
         "<s5b:transport xmlns:s5b='urn:xmpp:jingle:transports:s5b:1' mode='tcp' sid='vj3hs98y'>"
         "<s5b:candidate cid='hft54dqy' host='192.168.4.1' jid='alice@localhost/a' port='5086' "
         "priority='8257636' type='direct'/></s5b:transport></content></jingle>")


def message(to, inner, store=STORE):
    return f"<message to='{to}' type='chat'>{inner}{store}</message>"


def call(action, more=""):
    return f"<{action} xmlns='{CALL}' id='{SID}'>{more}</{action}>"


def archive(client):
    """What the archive of a user holds, oldest first: actions of calls."""
    client.result("set", f"<query xmlns='{MAM}' queryid='q'/>")
    found = [e for e in client.drain() if e.find(f"{{{MAM}}}result") is not None]
    return [child.tag.partition("}")[2] for e in found for child in e.iter()
            if child.tag.startswith(f"{{{CALL}}}")]


def no_errors(client):
    assert not [e for e in client.drain() if e.get("type") == "error"]


def test_a_session_of_a_file(alice, bob):
    """Every request and answer arrives as it was sent, namespaces and characters included."""
    alice.send(f"<iq type='set' id='o' to='{bob}'>{OFFER}</iq>")
    offer = bob.expect(f"<iq type='set' id='o' from='{alice}'/>")
    assert xml.canonical(offer[0]) == xml.canonical(xml.parse(OFFER))
    bob.send(f"<iq type='result' id='o' to='{alice}'/>")
    alice.expect(f"<iq type='result' id='o' from='{bob}'/>")
    for sender, receiver, action in ((bob, alice, "session-accept"), (alice, bob, "transport-info"),
                                     (bob, alice, "session-info"),
                                     (alice, bob, "session-terminate")):
        body = (f"<jingle xmlns='{JINGLE}' action='{action}' sid='851ba2'><reason><success/>"
                "</reason><received xmlns='urn:xmpp:jingle:apps:file-transfer:5' name='a-file'/>"
                "</jingle>")
        sender.send(f"<iq type='set' id='{action}' to='{receiver}'>{body}</iq>")
        got = receiver.expect(f"<iq type='set' id='{action}' from='{sender}'/>")
        assert xml.canonical(got[0]) == xml.canonical(xml.parse(body))
        receiver.send(f"<iq type='result' id='{action}' to='{sender}'/>")
        sender.expect(f"<iq type='result' id='{action}' from='{receiver}'/>")


def test_errors_of_jingle_arrive(alice, bob):
    alice.send(f"<iq type='set' id='o' to='{bob}'>{OFFER}</iq>")
    bob.expect("<iq type='set' id='o'/>")
    bob.send(f"<iq type='error' id='o' to='{alice}'><error type='cancel'><item-not-found "
             "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><unknown-session "
             "xmlns='urn:xmpp:jingle:errors:1'/></error></iq>")
    alice.expect("<iq type='error' id='o'><error><unknown-session "
                 "xmlns='urn:xmpp:jingle:errors:1'/></error></iq>")


def test_nobody_answers_for_a_client_that_is_gone(alice):
    assert alice.error("set", OFFER, to="bob@localhost/gone")[0] == "service-unavailable"


@pytest.fixture
def devices(server):
    """Bob's phone, his tablet, which has a negative priority, and Alice's second client."""
    phone = server.client("bob", "phone")
    tablet = server.client("bob", "tablet", priority=-1)
    other = server.client("alice", "other")
    for client in (phone, tablet, other):
        client.result("set", f"<enable xmlns='{CARBONS}'/>")
    return phone, tablet, other


def copied(client, way, action):
    client.expect(f"<message from='{client.bare}'><{way} xmlns='{CARBONS}'><forwarded "
                  f"xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><{action} "
                  f"xmlns='{CALL}' id='{SID}'/></message></forwarded></{way}></message>")


def test_a_call_rings_everywhere(alice, devices):
    phone, tablet, other = devices
    propose = call("propose", "<description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/>")
    alice.send(message("bob@localhost", propose))
    got = phone.expect(f"<message from='{alice}' type='chat'>{propose}{STORE}</message>")
    assert xml.canonical(got.find(f"{{{CALL}}}propose")) == xml.canonical(xml.parse(propose))
    copied(tablet, "received", "propose")
    copied(other, "sent", "propose")
    phone.send(message("alice@localhost", call("ringing")))
    alice.expect(f"<message from='{phone}'>{call('ringing')}</message>")
    other.expect(f"<message from='{phone}'>{call('ringing')}</message>")
    phone.send(message("alice@localhost", call("proceed")))
    for client in (alice, other):
        client.expect(f"<message from='{phone}'>{call('proceed')}</message>")
    copied(tablet, "sent", "proceed")
    finish = call("finish", f"<reason xmlns='{JINGLE}'><success/></reason>")
    alice.send(message("bob@localhost", finish))
    phone.expect(f"<message from='{alice}'>{finish}</message>")
    expected = ["propose", "ringing", "proceed", "finish"]
    assert archive(alice) == expected and archive(phone) == expected
    no_errors(other)


def test_a_call_that_is_missed_waits(server, alice):
    alice.send(message("bob@localhost", call("propose")))
    alice.send(message("bob@localhost", call("retract", f"<reason xmlns='{JINGLE}'><cancel/>"
                                             "</reason>")))
    no_errors(alice)
    bob = server.client("bob", "late")
    for action in ("propose", "retract"):
        bob.expect(f"<message from='{alice}'><{action} xmlns='{CALL}' id='{SID}'/></message>")
    assert archive(bob) == ["propose", "retract"]


def test_rejected_on_one_device(alice, devices):
    phone, tablet, other = devices
    alice.send(message("bob@localhost", call("propose")))
    phone.expect(f"<message from='{alice}'><propose xmlns='{CALL}'/></message>")
    phone.send(message("alice@localhost", call("reject", BUSY)))
    for client in (alice, other):
        got = client.expect(f"<message from='{phone}'><reject xmlns='{CALL}'/></message>")
        assert xml.canonical(got.find(f"{{{CALL}}}reject")) == xml.canonical(
            xml.parse(call("reject", BUSY)))
    copied(tablet, "sent", "reject")


def test_without_the_hint_it_does_not_wait(server, alice):
    alice.send(message("bob@localhost", call("propose"), "<no-store xmlns='urn:xmpp:hints'/>"))
    alice.send("<message to='bob@localhost' type='chat'><body>behind it</body></message>")
    alice.drain()
    bob = server.client("bob")
    bob.expect("<message><body>behind it</body></message>")
    assert archive(bob) == [] and bodies(bob.log) == ["behind it"]
