"""Message Carbons (XEP-0280) with what travels in messages: hints (0334), receipts (0184), markers
(0333), chat states (0085), corrections (0308), out-of-band data (0066)."""
import pytest

from harness import xml
from harness.client import until


CARBONS = "urn:xmpp:carbons:2"
FORWARD = "urn:xmpp:forward:0"
HINTS = "urn:xmpp:hints"
MUC_USER = "http://jabber.org/protocol/muc#user"
RECEIPT = "<received xmlns='urn:xmpp:receipts' id='1'/>"
MARKER = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>"
COMPOSING = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"


def chat(to, body, more="", kind="chat", ident="m"):
    text = f"<body>{body}</body>" if body else ""
    return f"<message to='{to}' type='{kind}' id='{ident}'>{text}{more}</message>"


def enable(client):
    client.result("set", f"<enable xmlns='{CARBONS}'/>")
    return client


def disable(client):
    client.result("set", f"<disable xmlns='{CARBONS}'/>")
    return client


def copy(client, way, inner=""):
    """The next copy of that kind; returns the message inside."""
    wrapper = client.expect(
        f"<message from='{client.bare}' to='{client}'><{way} xmlns='{CARBONS}'><forwarded "
        f"xmlns='{FORWARD}'><message xmlns='jabber:client'>{inner}</message></forwarded></{way}>"
        "</message>")
    return wrapper.find(f".//{{{FORWARD}}}forwarded/{{{xml.CLIENT}}}message")


def no_copy(client, after=None):
    client.expect_nothing(f"<message from='{client.bare}'><received xmlns='{CARBONS}'/></message>",
                          after=after)
    client.expect_nothing(f"<message from='{client.bare}'><sent xmlns='{CARBONS}'/></message>")


@pytest.fixture
def laptop(server):
    return enable(server.client("alice", "laptop"))


@pytest.fixture
def phone(server):
    return enable(server.client("alice", "phone"))


# --- discovery, enabling, disabling (§3-§5) ---


def test_disco(server, alice):
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="localhost")
    found = {f.get("var") for f in info.iter(f"{{{xml.DISCO_INFO}}}feature")}
    assert {CARBONS, "urn:xmpp:carbons:rules:0"} <= found


def test_again_is_no_error(alice):
    for turn in (enable, enable, disable, disable, enable):
        turn(alice)


def test_only_for_oneself(alice, bob):
    alice.send(f"<iq type='set' id='1' to='bob@localhost'><enable xmlns='{CARBONS}'/></iq>")
    alice.expect_error("not-allowed", "cancel", "<iq type='error' id='1'/>")


def test_get_is_not_known(alice):
    assert alice.iq("get", f"<enable xmlns='{CARBONS}'/>").get("type") == "error"


def test_off_until_asked_for_and_after_disable(server, laptop, bob):
    plain = server.client("alice", "plain")
    former = disable(enable(server.client("alice", "former")))
    bob.send(chat(laptop, "hi"))
    laptop.expect("<message><body>hi</body></message>")
    for client in (plain, former):
        client.expect_nothing("<message/>", after=bob)


def test_inline(server, bob):
    """With Bind 2 (XEP-0386)."""
    client = server.connect("alice")
    client.sasl2(inner=f"<bind xmlns='{xml.BIND2}'><enable xmlns='{CARBONS}'/></bind>")
    laptop = server.client("alice", "laptop")
    bob.send(chat(laptop, "hi"))
    copy(client, "received", "<body>hi</body>")


# --- received (§7) ---


def test_received_at_a_full_jid(laptop, phone, bob):
    bob.send(chat(laptop, "hi", "<thread>t</thread>"))
    original = laptop.expect(f"<message from='{bob}' to='{laptop}'><body>hi</body></message>")
    inner = copy(phone, "received", "<body>hi</body><thread>t</thread>")
    assert inner.get("from") == str(bob) and inner.get("to") == str(laptop)
    assert inner.get("type") == "chat" and inner.get("id") == "m"
    ident = [e.find(f"{{{xml.SID}}}stanza-id").get("id") for e in (original, inner)]
    assert ident[0] == ident[1]
    assert inner.find(f"{{{xml.SID}}}stanza-id").get("by") == "alice@localhost"
    no_copy(laptop, after=bob)


def test_the_bare_jid_reaches_all_by_itself(laptop, phone, bob):
    bob.send(chat("alice@localhost", "hi"))
    for client in (laptop, phone):
        client.expect(f"<message from='{bob}'><body>hi</body></message>")
        no_copy(client, after=bob)


def test_those_whom_the_bare_jid_does_not_reach(server, laptop, bob):
    """A negative priority, or no presence yet."""
    negative = enable(server.client("alice", "negative", -1))
    silent = enable(server.login("alice", "silent"))
    bob.send(chat("alice@localhost", "hi"))
    laptop.expect("<message><body>hi</body></message>")
    for client in (negative, silent):
        assert copy(client, "received", "<body>hi</body>").get("to") == "alice@localhost"


def test_the_only_client_where_the_bare_jid_does_not_reach_it(server, bob):
    only = enable(server.client("alice", "phone", priority=-1))
    bob.send(chat(only.bare, "hello"))
    assert copy(only, "received").findtext(f"{{{xml.CLIENT}}}body") == "hello"


def test_a_resource_that_is_gone(server, laptop, phone, bob):
    bob.send(chat("alice@localhost/gone", "hi"))
    for client in (laptop, phone):
        client.expect("<message><body>hi</body></message>")
        no_copy(client, after=bob)


def test_between_clients_of_one_user(laptop, phone):
    laptop.send(chat(phone, "note"))
    phone.expect(f"<message from='{laptop}'><body>note</body></message>")
    no_copy(phone)
    assert copy(laptop, "received", "<body>note</body>").get("to") == str(phone)


def test_note_to_oneself(laptop, phone):
    laptop.send(chat("alice@localhost", "note"))
    for client in (laptop, phone):
        client.expect("<message><body>note</body></message>")
        no_copy(client)


# --- sent (§8) ---


def test_sent(laptop, phone, bob):
    laptop.send(chat(bob, "hi", "<origin-id xmlns='urn:xmpp:sid:0' id='o'/>"))
    inner = copy(phone, "sent", "<body>hi</body><origin-id xmlns='urn:xmpp:sid:0' id='o'/>")
    assert inner.get("from") == str(laptop) and inner.get("to") == str(bob)
    assert inner.find(f"{{{xml.SID}}}stanza-id").get("by") == "alice@localhost"
    no_copy(laptop)
    bob.expect("<message><body>hi</body></message>")


def test_sent_by_a_client_without_carbons(server, phone, bob):
    server.client("alice", "plain").send(chat("bob@localhost", "hi"))
    copy(phone, "sent", "<body>hi</body>")


def test_three_devices(server, laptop, phone, bob):
    tablet = enable(server.client("alice", "tablet"))
    for i in range(20):
        laptop.send(chat(bob, f"n{i}"))
    for client in (phone, tablet):
        for i in range(20):
            copy(client, "sent", f"<body>n{i}</body>")


def test_names_are_escaped(server, bob):
    one = enable(server.login("alice", "a&apos;&amp;&lt;b&gt;"))
    two = enable(server.client("alice", 'c"d'))
    assert str(one) == "alice@localhost/a'&<b>"
    bob.send("<message to='alice@localhost/a&apos;&amp;&lt;b&gt;' type='chat' id='&lt;&quot;'>"
             "<body>&lt;&amp;</body></message>")
    one.expect("<message><body>&lt;&amp;</body></message>")
    inner = copy(two, "received", "<body>&lt;&amp;</body>")
    assert inner.get("to") == str(one) and inner.get("id") == '<"'


def test_foreign_namespaces_survive(laptop, phone, bob):
    bob.send(f"<message to='{laptop}' type='chat' xmlns:p='urn:example:p' p:mark='1'><body>x</body>"
             "<p:child><p:inner xmlns='urn:example:q'><deep/></p:inner></p:child></message>")
    inner = copy(phone, "received", "<child xmlns='urn:example:p'><inner>"
                                    "<deep xmlns='urn:example:q'/></inner></child>")
    assert inner.get("{urn:example:p}mark") == "1"


# --- which messages (§6) ---


@pytest.mark.parametrize("kind, body, more", [
    ("chat", "", COMPOSING),
    ("chat", "hi", COMPOSING),
    ("normal", "hi", ""),
    ("normal", "", RECEIPT),
    ("normal", "", MARKER),
    ("normal", "", COMPOSING),
    ("chat", "hi", "<request xmlns='urn:xmpp:receipts'/><markable "
                   "xmlns='urn:xmpp:chat-markers:0'/>"),
    ("chat", "", RECEIPT),
    ("chat", "", MARKER),
    ("chat", "new", "<replace xmlns='urn:xmpp:message-correct:0' id='1'/>"),
    ("chat", "", "<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>x</reaction>"
                 "</reactions>"),
    ("chat", "hi", f"<no-store xmlns='{HINTS}'/>"),
    ("normal", "", "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>"),
    ("normal", "", "<x xmlns='jabber:x:conference' jid='room@conference.localhost'/>"),
    ("chat", "hi", "<x xmlns='jabber:x:oob'><url>https://example.test/a</url></x>"),
])
def test_copied(laptop, phone, bob, kind, body, more):
    bob.send(chat(laptop, body, more, kind))
    copy(phone, "received", (f"<body>{body}</body>" if body else "") + more)
    laptop.send(chat(bob, body, more, kind))
    copy(phone, "sent", (f"<body>{body}</body>" if body else "") + more)


@pytest.mark.parametrize("kind, body, more", [
    ("headline", "hi", ""),
    ("groupchat", "hi", ""),
    ("normal", "", "<x xmlns='urn:example:x'/>"),
    ("chat", "hi", f"<private xmlns='{CARBONS}'/><no-copy xmlns='{HINTS}'/>"),
    ("chat", "hi", f"<private xmlns='{CARBONS}'/>"),
    ("chat", "hi", f"<no-copy xmlns='{HINTS}'/>"),
])
def test_not_copied(laptop, phone, bob, kind, body, more):
    bob.send(chat(laptop, body, more, kind))
    laptop.expect(f"<message from='{bob}' id='m'/>")
    laptop.send(chat(bob, body, more, kind))
    bob.expect(f"<message from='{laptop}'/>")
    no_copy(phone, after=bob)


def test_the_mark_of_private_messages_is_for_servers(laptop, bob):
    """§9: it is removed, the hint stays."""
    bob.send(chat(laptop, "hi", f"<private xmlns='{CARBONS}'/><no-copy xmlns='{HINTS}'/>"))
    found = laptop.expect(f"<message><body>hi</body><no-copy xmlns='{HINTS}'/></message>")
    assert found.find(f"{{{CARBONS}}}private") is None


def test_private_messages_sent_into_a_room(laptop, phone, bob):
    """A client's own are copied; those from a room are the room's to tell (here nobody is one)."""
    laptop.send(chat(bob, "hi", f"<x xmlns='{MUC_USER}'/>"))
    copy(phone, "sent", f"<body>hi</body><x xmlns='{MUC_USER}'/>")


def test_errors_follow_what_was_copied(server, laptop, phone, bob):
    laptop.send(chat("nobody@localhost", "hi", ident="e1"))
    copy(phone, "sent", "<body>hi</body>")
    laptop.expect("<message type='error' id='e1'/>")
    inner = copy(phone, "received", "<error/>")
    assert inner.get("type") == "error" and inner.get("id") == "e1"


def test_errors_of_what_was_not_copied(server, laptop, phone, bob):
    laptop.send(chat("nobody@localhost", "hi", f"<private xmlns='{CARBONS}'/>", ident="e2"))
    laptop.expect("<message type='error' id='e2'/>")
    bob.send(f"<message to='{laptop}' type='error' id='e3'><error type='cancel'><gone "
             f"xmlns='{xml.STANZA_ERROR}'/></error></message>")
    laptop.expect("<message type='error' id='e3'/>")
    no_copy(phone, after=bob)


# --- forgery (§11) ---


FORGED = (f"<received xmlns='{CARBONS}'><forwarded xmlns='{FORWARD}'><message xmlns='jabber:client'"
          " from='carol@localhost/c' to='alice@localhost'><body>lie</body></message></forwarded>"
          "</received>")


def test_forged_copies_are_dropped(laptop, phone, bob):
    for to in (laptop, "alice@localhost"):
        bob.send(f"<message to='{to}' type='chat'>{FORGED}</message>")
        bob.send(f"<message to='{to}' type='chat'>{FORGED.replace('received', 'sent')}</message>")
    laptop.expect_nothing("<message/>", after=bob)
    phone.expect_nothing("<message/>", after=bob)


def test_what_is_beside_a_forged_copy_stays(laptop, phone, bob):
    bob.send(chat(laptop, "hi", FORGED))
    found = laptop.expect("<message><body>hi</body></message>")
    assert found.find(f"{{{CARBONS}}}received") is None


def test_forged_by_oneself(laptop, phone):
    phone.send(f"<message to='{laptop}' type='chat'>{FORGED}</message>")
    laptop.expect_nothing("<message/>")
    no_copy(laptop)


# --- what outlives a connection ---


def resumed(server, old):
    new = server.connect(old.name)
    answer = new.take_over(old)
    assert answer.tag == f"{{{xml.SM}}}resumed", xml.canonical(answer)
    return new


def test_copies_of_a_hibernating_session(server, laptop, phone, bob):
    phone.enable_sm()
    phone.ping()
    phone.cut()
    until("hibernation", lambda: "hibernating" in str(server.ctl("session", "list")))
    laptop.send(chat(bob, "one"))
    bob.expect("<message><body>one</body></message>")
    bob.send(chat(laptop, "two"))
    laptop.expect("<message><body>two</body></message>")
    phone = resumed(server, phone)
    copy(phone, "sent", "<body>one</body>")
    copy(phone, "received", "<body>two</body>")
    laptop.send(chat(bob, "three"))  # and it goes on
    copy(phone, "sent", "<body>three</body>")


@pytest.mark.parametrize("acked", (True, False))
def test_a_copy_at_a_client_that_is_not_available(server, laptop, phone, bob, acked):
    """It does not take the message in place of the client that comes next."""
    if not acked:
        laptop.enable_sm()
    laptop.send("<presence type='unavailable'/>")
    phone.enable_sm()
    phone.ping()
    phone.cut()
    until("hibernation", lambda: "hibernating" in str(server.ctl("session", "list")))
    bob.send(chat("alice@localhost", "waits"))
    copy(laptop, "received", "<body>waits</body>")
    again = server.client("alice", "phone")  # it has lost its session
    again.expect("<message><body>waits</body></message>")


def test_a_planned_restart(server, laptop, phone, bob):
    phone.enable_sm()
    phone.ping()
    laptop.send(chat(bob, "one"))
    phone.auto_ack = False
    copy(phone, "sent", "<body>one</body>")
    phone.h = 0
    server.restart()
    phone = resumed(server, phone)
    copy(phone, "sent", "<body>one</body>")
    laptop = server.client("alice", "laptop")
    laptop.send(chat("bob@localhost", "two"))
    copy(phone, "sent", "<body>two</body>")


@pytest.mark.parametrize("resumable", [True, False])
@pytest.mark.parametrize("has_plain", [True, False])
def test_a_planned_restart_behind_a_copy(server, laptop, phone, bob, resumable, has_plain):
    """A client that took a copy is not given the message when the one that it was for is gone;
    another client is."""
    phone.enable_sm()
    laptop.auto_ack = False
    laptop.enable_sm("true" if resumable else "false")
    if has_plain:
        plain = server.client("alice", "plain")
        plain.enable_sm()
    bob.send(chat(laptop, "said"))
    laptop.expect("<message><body>said</body></message>")
    copy(phone, "received", "<body>said</body>")
    phone.ack()
    phone.ping()
    server.restart()
    phone = resumed(server, phone)
    if resumable:
        server.ctl("session", "kick", str(laptop))
    phone.ping()
    if has_plain:
        plain = resumed(server, plain)
        plain.expect("<message><body>said</body></message>")
        plain.expect_nothing("<message/>")
    phone.expect_nothing("<message/>")
    assert "said" not in str([xml.canonical(e) for e in server.client("alice", "new").drain()])


@pytest.mark.parametrize("policy", ["deliver", "bounce"])
def test_copies_nobody_took_are_gone(make_server, policy):
    """They are neither given to others nor stored nor answered: the message itself is kept."""
    server = make_server("alice", "bob", settings={"sm.on-expiry": policy})
    laptop, phone = (enable(server.client("alice", r)) for r in ("laptop", "phone"))
    bob = server.client("bob", "b")
    phone.enable_sm()
    phone.ping()
    phone.cut()
    until("hibernation", lambda: "hibernating" in str(server.ctl("session", "list")))
    laptop.send(chat(bob, "one"))
    bob.expect("<message><body>one</body></message>")
    server.ctl("session", "kick", str(phone))
    no_copy(laptop, after=bob)
    laptop.expect_nothing("<message/>")
    bob.expect_nothing("<message type='error'/>")
    assert "one" not in str([xml.canonical(e) for e in server.client("alice", "new").drain()])


# --- the setting for clients without carbons ---


def test_a_restart_with_a_copy_of_what_waits(server, laptop, bob):
    """The copy of a client that does not receive messages takes nothing from the one that will."""
    laptop.send("<presence><priority>-1</priority></presence>")
    laptop.enable_sm()
    laptop.ping()
    laptop.cut()
    until("hibernation", lambda: "hibernating" in str(server.ctl("session", "list")))
    bob.send(chat("alice@localhost", "waits"))
    bob.ping()
    server.restart()
    phone = server.client("alice", "phone")
    phone.expect("<message><body>waits</body></message>")
    laptop = resumed(server, laptop)
    copy(laptop, "received", "<body>waits</body>")


def test_plain_clients(make_server):
    server = make_server("alice", "bob", settings={"mdm.plain-clients": "on"})
    laptop, plain = server.client("alice", "laptop"), server.client("alice", "plain")
    negative = server.client("alice", "negative", -1)
    bob = server.client("bob", "b")
    bob.send(chat(laptop, "hi"))
    laptop.expect(f"<message to='{laptop}'><body>hi</body></message>")
    plain.expect(f"<message from='{bob}' to='alice@localhost'><body>hi</body></message>")
    negative.expect_nothing("<message><body>hi</body></message>", after=bob)


def sessions(server):
    return next(r["value"] for r in server.rows("metrics") if r["name"] == "muster_mdm_sessions")


def test_metrics(server, laptop, phone, bob):
    assert sessions(server) == 2
    disable(phone)
    assert sessions(server) == 1
    laptop.close()
    until("end of the session", lambda: sessions(server) == 0)


# --- the archive id of a sent message ---


@pytest.mark.parametrize("to", ["bob@localhost", "nobody@localhost", "bob@nowhere.example"])
def test_a_refused_message_is_in_the_archive_of_who_sent_it(server, to):
    """His other clients have been told of it by its id there, with which they go on reading."""
    alice, phone = server.client("alice", "a"), enable(server.client("alice", "phone"))
    blocked = "<block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></block>"
    server.client("bob", "b").result("set", blocked)
    alice.enable_sm()
    alice.send(chat(to, "hi"))
    alice.expect("<message type='error'/>")
    alice.wait_acked(1)
    ident = copy(phone, "sent").find(f"{{{xml.SID}}}stanza-id").get("id")
    after = f"<set xmlns='http://jabber.org/protocol/rsm'><after>{ident}</after></set>"
    phone.result("set", f"<query xmlns='urn:xmpp:mam:2'>{after}</query>")


# --- repeats (XEP-0359 §3.2) ---


def with_origin(to, body, ident):
    return chat(to, body, f"<origin-id xmlns='{xml.SID}' id='o-{ident}'/>", ident=ident)


def archived(client):
    """The ids of the archive, with the bodies."""
    client.result("set", "<query xmlns='urn:xmpp:mam:2' queryid='a'/>")
    found = [e.find("{urn:xmpp:mam:2}result") for e in client.inbox]
    return [(e.get("id"), e.findtext(f".//{{{xml.CLIENT}}}body")) for e in found if e is not None]


@pytest.mark.parametrize("crash", [False, True])
def test_a_repeat_is_told_once(server, crash):
    """Sent again because it was not acknowledged; the copy names an archive id that exists."""
    laptop, phone = (enable(server.client("alice", name)) for name in ("laptop", "phone"))
    laptop.enable_sm()
    laptop.send(with_origin("bob@localhost", "one", "m1"))
    laptop.wait_acked(1)
    ident = copy(phone, "sent", "<body>one</body>").find(f"{{{xml.SID}}}stanza-id").get("id")
    if crash:
        server.kill()
        server.start()
        laptop, phone = (enable(server.client("alice", name)) for name in ("laptop", "phone"))
        laptop.enable_sm()
    laptop.send(with_origin("bob@localhost", "one", "m1"))
    laptop.send(with_origin("carol@localhost", "one", "m1"))  # another message
    laptop.send(with_origin("bob@localhost", "two", "m2"))
    carol = copy(phone, "sent", "<body>one</body>")
    assert carol.get("to") == "carol@localhost"
    copy(phone, "sent", "<body>two</body>")
    laptop.wait_acked(3)
    ids = archived(phone)
    assert [body for _, body in ids] == ["one", "one", "two"] and ids[0][0] == ident


def test_what_came_back_is_told_again(server, laptop, phone):
    bob = server.client("bob", "b")
    blocking = "<{} xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></{}>"
    bob.result("set", blocking.format("block", "block"))
    message = with_origin("bob@localhost", "hi", "m1")
    laptop.send(message)
    laptop.expect("<message type='error' id='m1'/>")
    copy(phone, "sent", "<body>hi</body>")
    bob.result("set", blocking.format("unblock", "unblock"))
    laptop.send(message)
    bob.expect("<message><body>hi</body></message>")
    ident = copy(phone, "sent", "<body>hi</body>").find(f"{{{xml.SID}}}stanza-id").get("id")
    laptop.ping()
    assert ident in dict(archived(phone))
