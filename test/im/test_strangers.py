"""An account that has blocked a user is to that user like an address without an account (XEP-0191
§3.3), and so is any account to a stranger as far as the protocols allow it (RFC 6121 §8.5). One
table of stanzas; what comes back for each kind of address is compared."""
import pytest

from harness import muc, xml
from harness.muc import Room
from harness.pubsub import publish

PUBSUB = "http://jabber.org/protocol/pubsub"
AVATAR = "urn:xmpp:avatar:data"
SECRET = "urn:example:open"

MESSAGES = {
    "chat": "type='chat'><body>hi</body>", "normal": "><body>hi</body>",
    "subject": "><subject>hi</subject>", "headline": "type='headline'><body>hi</body>",
    "groupchat": "type='groupchat'><body>hi</body>", "error": "type='error'><body>hi</body>",
    "state": "type='chat'><active xmlns='http://jabber.org/protocol/chatstates'/>",
    "receipt": "type='chat'><body>hi</body><request xmlns='urn:xmpp:receipts'/>",
    "marker": "type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
    "no store": "type='chat'><body>hi</body><no-store xmlns='urn:xmpp:hints'/>",
    "retraction": "type='chat'><retract xmlns='urn:xmpp:message-retract:1' id='1'/>"
                  "<body>gone</body><store xmlns='urn:xmpp:hints'/>",
    "correction": "type='chat'><body>ho</body><replace xmlns='urn:xmpp:message-correct:0' id='1'/>",
    "invitation": f"><x xmlns='jabber:x:conference' jid='cave@{muc.service()}'/>",
    "call": "type='chat'><propose xmlns='urn:xmpp:jingle-message:0' id='1'><description "
            "xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose>",
}
PRESENCE = ["", "type='unavailable'", "type='probe'", "type='subscribe'", "type='subscribed'",
            "type='unsubscribe'", "type='unsubscribed'", "type='error'"]
# a namespace, its element, and what is in that
REQUESTS = [
    ("get", "query", "jabber:iq:version", ""), ("get", "ping", "urn:xmpp:ping", ""),
    ("get", "time", "urn:xmpp:time", ""), ("get", "query", "jabber:iq:last", ""),
    ("get", "vCard", "vcard-temp", ""), ("set", "vCard", "vcard-temp", "<FN>me</FN>"),
    ("get", "query", xml.DISCO_INFO, ""), ("get", "query", xml.DISCO_ITEMS, ""),
    ("get", "query node='http://jabber.org/protocol/commands'", xml.DISCO_ITEMS, ""),
    ("get", f"query node='{SECRET}'", xml.DISCO_INFO, ""),
    ("get", f"query node='{SECRET}'", xml.DISCO_ITEMS, ""),
    ("get", "query", xml.ROSTER, ""), ("set", "query", xml.ROSTER, "<item jid='x@localhost'/>"),
    ("get", "query", "jabber:iq:private", "<storage xmlns='storage:bookmarks'/>"),
    ("get", "query", "urn:xmpp:mam:2", ""), ("set", "query", "urn:xmpp:mam:2", ""),
    ("get", "metadata", "urn:xmpp:mam:2", ""), ("get", "prefs", "urn:xmpp:mam:2", ""),
    ("get", "blocklist", "urn:xmpp:blocking", ""), ("set", "enable", "urn:xmpp:carbons:2", ""),
    ("get", "pubsub", PUBSUB, f"<items node='{SECRET}'/>"),
    ("get", "pubsub", PUBSUB, f"<items node='{AVATAR}'/>"),
    ("get", "pubsub", PUBSUB, "<items node='urn:example:none'/>"),
    ("set", "pubsub", PUBSUB, f"<subscribe node='{SECRET}' jid='alice@localhost'/>"),
    ("set", "pubsub", PUBSUB, f"<publish node='{SECRET}'><item/></publish>"),
    ("set", "pubsub", PUBSUB, "<create/>"), ("get", "pubsub", PUBSUB, "<subscriptions/>"),
    ("get", "pubsub", PUBSUB + "#owner", f"<configure node='{SECRET}'/>"),
    ("get", "query", "jabber:iq:register", ""),
    ("set", "command node='x'", "http://jabber.org/protocol/commands", ""),
    ("set", "jingle action='session-initiate' sid='1'", "urn:xmpp:jingle:1", ""),
    ("get", "query", "urn:example:unknown", ""),
]
STANZAS = (
    [("message", f"<message to='{{to}}' id='x' {rest}</message>") for rest in MESSAGES.values()] +
    [("presence", f"<presence to='{{to}}' {kind}/>") for kind in PRESENCE] +
    [("iq", f"<iq to='{{to}}' id='x' type='{kind}'><{name} xmlns='{ns}'>{inner}"
      f"</{name.split()[0]}></iq>") for kind, name, ns, inner in REQUESTS] +
    [("iq", "<iq to='{to}' id='x' type='result'/>")] +
    [("room", f"<message to='cave@{muc.service()}'><x xmlns='{muc.USER}'><invite to='{{bare}}'/>"
              "</x></message>"),
     ("room", f"<message to='cave@{muc.service()}'><x xmlns='{muc.USER}'><decline to='{{bare}}'/>"
              "</x></message>"),
     ("multicast", "<message to='localhost'><addresses xmlns='http://jabber.org/protocol/address'>"
                   "<address type='to' jid='{to}'/></addresses><body>hi</body></message>")])


def answers(client, to, stanza):
    """All that comes back, up to the answers to requests that went the same ways. What is asked for
    is awaited: it may take longer."""
    bare = to.partition("/")[0]
    client.drain()
    client.send(stanza.format(to=to, bare=bare))
    awaited = []
    if stanza.startswith("<iq") and "type='result'" not in stanza:
        awaited.append(client.expect("<iq id='x'/>"))
    for fence in (bare, f"cave@{muc.service()}", "localhost"):
        client.iq("get", "<query xmlns='urn:example:fence'/>", to=fence)
    return sorted(xml.canonical(e).replace(to, "TO").replace(bare, "BARE")
                  for e in awaited + client.drain())


@pytest.fixture(params=["away", "here", "hibernating"])
def host(make_server, request):
    """bob and carol are away, or connected with resource r; bob has blocked alice, carol does not
    know her, and there is no zoe."""
    server = make_server("alice", "bob", "carol")
    clients = [server.client(name, "r") for name in ("bob", "carol")]
    for client in clients:
        client.result("set", publish(SECRET, item="1", access_model="open",
                                     send_last_published_item="never"))
        client.result("set", "<vCard xmlns='vcard-temp'><FN>name</FN></vCard>")
    clients[0].result("set", "<block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/>"
                             "</block>")
    for client in clients:
        if request.param == "hibernating":
            client.enable_sm()
            client.cut()
        elif request.param == "away":
            client.close()
    server.state = request.param
    return server


@pytest.mark.parametrize("tells", ["on", "off"])
def test_who_has_blocked_a_user_does_not_exist_for_that_user(host, tells):
    host.ctl("set", "mailbox.tell-strangers", tells)
    alice = host.client("alice", "a")
    Room("cave").create(alice, "first")
    differ = []
    for kind, stanza in STANZAS:
        for resource in ("", "/r", "/none"):
            blocker, nobody = (answers(alice, name + "@localhost" + resource, stanza)
                               for name in ("bob", "zoe"))
            if blocker != nobody:
                differ.append((kind, stanza, resource, blocker, nobody))
    assert not differ, "\n".join(map(str, differ))


def test_a_stranger_learns_no_more_of_an_account_that_is_away(host):
    """What is open to all is told (an open node with its service, a vCard), and nothing else."""
    if host.state != "away":
        pytest.skip("a message to a client that is there comes back in no form")
    host.ctl("set", "presence.approval", "ask")  # else a subscription is granted
    host.ctl("set", "mailbox.tell-strangers", "off")
    alice = host.client("alice", "a")
    Room("cave").create(alice, "first")
    differ = []
    for _, stanza in STANZAS:
        for resource in ("", "/r"):
            stranger, nobody = (answers(alice, name + "@localhost" + resource, stanza)
                                for name in ("carol", "zoe"))
            if stranger != nobody:
                differ.append((stanza, stranger, nobody))
    for stanza, stranger, nobody in differ:
        opened = PUBSUB in stanza or SECRET in stanza or "vcard-temp" in stanza or \
            f"<query xmlns='{xml.DISCO_ITEMS}'>" in stanza
        assert opened, (stanza, stranger, nobody)
