"""Strangers do not learn which addresses have an account (RFC 6121 section 8.5.1): what comes back
is the same for an account that is off line and for none. Messages are the exception, which the RFC
leaves open: a sender is told that nobody is there."""
import pytest

from muster import xml

NAMESPACES = ["jabber:iq:version", "urn:xmpp:ping", "jabber:iq:last", "vcard-temp",
              "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco#items",
              "jabber:iq:roster", "jabber:iq:private", "urn:xmpp:mam:2", "urn:xmpp:blocking",
              "http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/pubsub#owner",
              "jabber:iq:register", "http://jabber.org/protocol/commands", "urn:example:unknown"]
NAMES = {"urn:xmpp:ping": "ping", "vcard-temp": "vCard", "urn:xmpp:blocking": "blocklist",
         "http://jabber.org/protocol/pubsub": "pubsub",
         "http://jabber.org/protocol/pubsub#owner": "pubsub",
         "http://jabber.org/protocol/commands": "command"}


def answers(client, to, stanza):
    """All that comes back, up to the answer to a request that went the same way."""
    client.drain()
    client.send(stanza)
    fence = client.iq("get", "<query xmlns='urn:example:fence'/>", to=to)
    assert fence.get("type") == "error"
    return sorted(xml.canonical(e).replace(to, "NAME") for e in client.drain())


def both(client, template):
    """What is said of bob, who is off line, and of zoe, who does not exist."""
    return [answers(client, to, template.format(to)) for to in ("bob@localhost", "zoe@localhost")]


@pytest.mark.parametrize("kind", ["get", "set"])
@pytest.mark.parametrize("ns", NAMESPACES)
def test_requests(alice, kind, ns):
    name = NAMES.get(ns, "query")
    said = []
    for to in ("bob@localhost", "zoe@localhost"):
        answer = alice.iq(kind, f"<{name} xmlns='{ns}'/>", to=to)
        answer.set("id", "")
        said.append(xml.canonical(answer).replace(to, "NAME"))
    assert said[0] == said[1]


@pytest.mark.parametrize("kind", ["", "type='unavailable'", "type='probe'", "type='subscribe'",
                                  "type='subscribed'", "type='unsubscribe'",
                                  "type='unsubscribed'"])
def test_presence(alice, kind):
    here, nowhere = both(alice, f"<presence {kind} to='{{}}'/>")
    assert here == nowhere


@pytest.mark.parametrize("to", ["bob@localhost/x", "zoe@localhost/x"])
def test_requests_to_a_resource_that_is_not_there(alice, to):
    assert alice.error("get", "<query xmlns='jabber:iq:version'/>", to=to) == (
        "service-unavailable", "cancel")
