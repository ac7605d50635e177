"""What the server carries for clients: it arrives as it was sent, on all devices, and is kept in
the archive and the mailbox by the rules of its specification."""
import pytest

from harness import xml
from archive.test_mam import Page

CARBONS = "urn:xmpp:carbons:2"
STATE = "http://jabber.org/protocol/chatstates"
HINTS = "urn:xmpp:hints"
REPLY = ("<reply xmlns='urn:xmpp:reply:0' to='bob@localhost/b' id='m1'/>"
         "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='6'/>"
         "</fallback>")
XHTML = ("<html xmlns='http://jabber.org/protocol/xhtml-im'><body "
         "xmlns='http://www.w3.org/1999/xhtml' xml:lang='en'><p style='font-weight:bold'>a &lt; "
         "<em>b</em><br/><img src='cid:sha1+8f35@bob.xmpp.org' alt='&amp;'/></p></body></html>")

KEPT = {
    "xhtml": ("chat", f"<body>a &lt; b</body>{XHTML}"),  # XEP-0071
    "url": ("chat", "<body>https://example.net/1.png</body><x xmlns='jabber:x:oob'>"
            "<url>https://example.net/1.png?a=1&amp;b=2</url><desc>One</desc></x>"),  # XEP-0066 §3
    "url-alone": ("normal", "<x xmlns='jabber:x:oob'><url>https://example.net/2</url></x>"),
    "request": ("chat", "<body>1</body><request xmlns='urn:xmpp:receipts'/>"),  # XEP-0184
    "receipt": ("chat", "<received xmlns='urn:xmpp:receipts' id='m1'/>"),
    "receipt-normal": ("normal", "<received xmlns='urn:xmpp:receipts' id='m1'/>"),
    "markable": ("chat", "<body>2</body><thread>t</thread><markable "
                 "xmlns='urn:xmpp:chat-markers:0'/>"),  # XEP-0333
    "displayed": ("chat", "<thread>t</thread><displayed xmlns='urn:xmpp:chat-markers:0' "
                  "id='m1'/>"),
    "acknowledged": ("normal", "<acknowledged xmlns='urn:xmpp:chat-markers:0' id='m1'/>"),
    "correction": ("chat", "<body>3</body><replace xmlns='urn:xmpp:message-correct:0' "
                   "id='m1'/>"),  # XEP-0308
    "reactions": ("chat", "<reactions xmlns='urn:xmpp:reactions:0' id='m1'>"
                  "<reaction>\U0001F44B</reaction><reaction>\U0001F422</reaction></reactions>"
                  f"<store xmlns='{HINTS}'/>"),
    "no-reactions": ("chat", "<reactions xmlns='urn:xmpp:reactions:0' id='m1'/>"),  # XEP-0444
    "reply": ("chat", f"<body>&gt; hi\n\nyes</body>{REPLY}"),  # XEP-0461
    "state-and-text": ("chat", f"<body>4</body><active xmlns='{STATE}'/>"),  # XEP-0085
    "call": ("chat", "<propose xmlns='urn:xmpp:jingle-message:0' id='s1'><description "
             "xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose>"
             f"<store xmlns='{HINTS}'/>"),  # XEP-0353 §3
    "omemo": ("chat", "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'><key "
              "rid='2'>AAAA</key><iv>AAAA</iv></header><payload>AAAA</payload></encrypted>"
              f"<store xmlns='{HINTS}'/>"),
}
PASSING = {
    **{state: ("chat", f"<{state} xmlns='{STATE}'/>")
       for state in ("active", "composing", "paused", "inactive", "gone")},
    "state-of-thread": ("chat", f"<composing xmlns='{STATE}'/><thread>t</thread>"),  # §5.5
    "no-store": ("chat", f"<body>5</body><request xmlns='urn:xmpp:receipts'/><no-store "
                 f"xmlns='{HINTS}'/>"),
}
# What breaks a specification's own rules is for its clients to judge: it passes, and does no harm.
BROKEN = {
    "receipt-without-id": ("chat", "<received xmlns='urn:xmpp:receipts'/>"),
    "unknown-marker": ("chat", "<seen xmlns='urn:xmpp:chat-markers:0'/>"),
    "url-missing": ("chat", "<x xmlns='jabber:x:oob'/>"),
    "corrects-nothing": ("chat", "<body>6</body><replace xmlns='urn:xmpp:message-correct:0'/>"),
    "reacts-to-nothing": ("chat", "<reactions xmlns='urn:xmpp:reactions:0'><reaction/>"
                          "</reactions>"),
    "replies-to-nothing": ("chat", "<body>7</body><reply xmlns='urn:xmpp:reply:0' to='@' id=''/>"),
    "two-states": ("chat", f"<body>8</body><active xmlns='{STATE}'/><gone xmlns='{STATE}'/>"),
    "script": ("chat", "<body>9</body><html xmlns='http://jabber.org/protocol/xhtml-im'><script "
               "xmlns='http://www.w3.org/1999/xhtml'>alert(1)</script></html>"),
}


def say(sender, to, ident, kind, content):
    sender.send(f"<message to='{to}' type='{kind}' id='{ident}'>{content}</message>")


def content_of(message):
    """Its children but what servers add."""
    added = (f"{{{xml.SID}}}stanza-id", f"{{{xml.DELAY}}}delay")
    return [xml.canonical(child) for child in message if child.tag not in added]


def as_sent(content):
    return [xml.canonical(child) for child in xml.parse(f"<message>{content}</message>")]


@pytest.mark.parametrize("to", ("bare", "jid"))
def test_it_arrives_as_it_was_sent(server, to):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    phone = server.client("bob", "phone")
    phone.result("set", f"<enable xmlns='{CARBONS}'/>")
    for ident, (kind, content) in {**KEPT, **PASSING, **BROKEN}.items():
        say(alice, getattr(bob, to), ident, kind, content)
        got = bob.expect(f"<message from='{alice}' id='{ident}'/>")
        assert got.get("type", "normal") == kind
        assert content_of(got) == as_sent(content), ident
        if ident == "url-alone" and to == "jid":
            continue  # of type normal and without text: XEP-0280 §6.1 leaves it out
        copy = phone.expect(lambda e, i=ident: e.get("id") == i or any(
            m.get("id") == i for m in e.iter(f"{{{xml.CLIENT}}}message")))
        inner = copy if copy.get("id") == ident else next(
            m for m in copy.iter(f"{{{xml.CLIENT}}}message") if m.get("id") == ident)
        assert content_of(inner) == as_sent(content), ident


def test_it_is_archived_by_its_rules(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    for ident, (kind, content) in {**KEPT, **PASSING, **BROKEN}.items():
        say(alice, bob.bare, ident, kind, content)
        bob.expect(f"<message id='{ident}'/>")
    kept = {**KEPT, **BROKEN}
    for client in (alice, bob):
        found = Page(client).messages
        assert [m.get("id") for m in found] == list(kept)
        for message, (kind, content) in zip(found, kept.values()):
            assert message.get("type", "normal") == kind
            assert content_of(message) == as_sent(content)


def test_it_waits_for_who_is_away_by_its_rules(server, alice):
    """XEP-0160 §3: no chat states."""
    for ident, (kind, content) in {**KEPT, **PASSING}.items():
        say(alice, "bob@localhost", ident, kind, content)
    alice.ping()
    bob = server.client("bob", "b")
    bob.ping()
    found = [e for e in bob.inbox if e.tag == f"{{{xml.CLIENT}}}message"]
    assert [m.get("id") for m in found] == list(KEPT)
    for message, (kind, content) in zip(found, KEPT.values()):
        assert content_of(message) == as_sent(content)
        assert message.find(f"{{{xml.DELAY}}}delay") is not None


def test_requests_to_fetch_a_file(server, alice, bob):
    """XEP-0066 §2: from client to client, the answer back; an account itself fetches nothing."""
    query = ("<query xmlns='jabber:iq:oob' sid='a0'><url>https://example.net/1.png</url><desc>One"
             "</desc></query>")
    for answer in ("<iq to='{0}' id='{1}' type='result'/>",
                   "<iq to='{0}' id='{1}' type='error'>" + query + "<error type='modify'>"
                   "<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"):
        alice.send(f"<iq to='{bob}' type='set' id='o1'>{query}</iq>")
        got = bob.expect(f"<iq from='{alice}' type='set'/>")
        assert content_of(got) == as_sent(query)
        bob.send(answer.format(alice, got.get("id")))
        alice.expect(f"<iq from='{bob}' id='o1'/>")
    assert alice.error("set", query, to=bob.bare) == ("service-unavailable", "cancel")


def test_markup_that_is_no_xml_ends_the_stream(alice, bob):
    """RFC 6120 §4.9.3.13; nothing of it is delivered."""
    alice.send(f"<message to='{bob.bare}' type='chat'><body>x</body>"
               "<html xmlns='http://jabber.org/protocol/xhtml-im'><body "
               "xmlns='http://www.w3.org/1999/xhtml'><p>a<br></p></body></html></message>")
    alice.expect_stream_error("not-well-formed")
    bob.expect_nothing("<message/>")
