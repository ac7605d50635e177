"""Client State Indication (XEP-0352) and the quiet mode of multiple device messaging."""
import pytest

from harness import xml
from harness.client import bodies, follow, until
from harness.muc import Room


CSI = "urn:xmpp:csi:0"
CARBONS = "urn:xmpp:carbons:2"
COMPOSING = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
EVENT = ("<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:example:mood'/>"
         "</event>")


def chat(to, body, more="", kind="chat"):
    text = f"<body>{body}</body>" if body else ""
    return f"<message to='{to}' type='{kind}'>{text}{more}</message>"


def inactive(client):
    """In the background; with a round trip that does not empty the buffer: there is none yet."""
    client.send(f"<inactive xmlns='{CSI}'/>")
    client.ping()


def active(client):
    client.send(f"<active xmlns='{CSI}'/>")


def friends(one, other):
    """Each sees the other's presence."""
    for client in (one, other):
        client.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    for a, b in ((one, other), (other, one)):
        follow(a, b)
        a.expect(f"<presence from='{b}'/>")
    for client in (one, other):
        client.drain()


def nothing_sent(client, after):
    """Nothing has come, though `after` was here; asking would empty the buffer, so nobody asks."""
    after.ping()
    assert not client.pump(0.1) and not client.inbox, [xml.canonical(e) for e in client.inbox]


def metric(server, name):
    return next(r["value"] for r in server.rows("metrics") if r["name"] == f"muster_mdm_{name}")


def get_metric(server):
    return {name: metric(server, name) for name in (
        "quiet_mode_sessions", "silent_mode_sessions", "buffer_flushes",
        "buffer_flushes_limit_reached", "buffer_flush_packets")}


@pytest.fixture
def phone(server):
    return server.client("alice", "phone")


@pytest.fixture
def laptop(server, phone):
    """Of the same user; it was the last to send presence, so it is the active client."""
    client = server.client("alice", "laptop")
    phone.expect(f"<presence from='{client}'/>")
    return client


def test_offered(server):
    assert server.login("alice").offers("csi", CSI)


def test_again_and_unasked(phone):
    for element in ("active", "active", "inactive", "inactive", "active"):
        phone.send(f"<{element} xmlns='{CSI}'/>")
    phone.ping()


def test_not_before_binding(server):
    client = server.connect("alice")
    assert client.authenticate() is None
    client.open()
    client.send(f"<inactive xmlns='{CSI}'/>")
    client.expect_stream_error("not-authorized", "unsupported-stanza-type", "policy-violation")


def test_an_unknown_element_of_the_namespace(phone):
    phone.send(f"<asleep xmlns='{CSI}'/>")
    phone.expect_stream_error("unsupported-stanza-type")


def test_inline(server, laptop, bob):
    """With Bind 2 (XEP-0386)."""
    client = server.connect("alice")
    client.sasl2(inner=f"<bind xmlns='{xml.BIND2}'><inactive xmlns='{CSI}'/></bind>")
    client.send("<presence/>")
    client.drain()
    bob.send(f"<presence to='{client}'/>")
    nothing_sent(client, after=bob)
    active(client)
    client.expect(f"<presence from='{bob}'/>")


# --- what waits ---


def test_presence_waits_and_the_last_counts(phone, bob):
    friends(phone, bob)
    inactive(phone)
    for show in ("away", "xa", "dnd"):
        bob.send(f"<presence><show>{show}</show></presence>")
    bob.send("<presence><show>chat</show><status>final</status></presence>")
    nothing_sent(phone, after=bob)
    active(phone)
    phone.ping()
    got = [e for e in phone.inbox if e.get("from") == str(bob)]
    assert len(got) == 1
    assert xml.matches(got[0], "<presence><show>chat</show><status>final</status></presence>")


def test_unavailable_is_a_last_state(server, phone, bob):
    friends(phone, bob)
    inactive(phone)
    bob.send("<presence><show>away</show></presence>")
    bob.close()
    until("bob is gone", lambda: len(server.rows("session", "list")) == 1)
    active(phone)
    phone.expect_next(f"<presence from='{bob}' type='unavailable'/>")
    phone.expect_nothing()


def test_an_iq_is_answered_behind_what_waited(phone, bob):
    """§5.1: in order."""
    friends(phone, bob)
    inactive(phone)
    bob.send("<presence><show>away</show></presence>")
    nothing_sent(phone, after=bob)
    phone.send("<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
    phone.expect_next(f"<presence from='{bob}'><show>away</show></presence>")
    phone.expect_next("<iq type='result' id='p'/>")


def test_chat_states_are_dropped(phone, bob):
    inactive(phone)
    bob.send(chat(phone, "", COMPOSING))
    bob.send(chat(phone, "", COMPOSING + "<no-store xmlns='urn:xmpp:hints'/><thread>t</thread>"))
    nothing_sent(phone, after=bob)
    active(phone)
    phone.expect_nothing("<message/>", after=bob)


def test_events_wait(phone, bob):
    inactive(phone)
    bob.send(chat(phone, "", EVENT, "headline"))
    nothing_sent(phone, after=bob)
    active(phone)
    phone.expect_next(f"<message type='headline'>{EVENT}</message>")


def test_a_message_comes_at_once_without_an_active_client(phone, bob):
    inactive(phone)
    bob.send(chat(phone, "", EVENT, "headline"))
    bob.send(chat(phone, "hi", COMPOSING))
    phone.expect_next("<message type='headline'/>")
    phone.expect_next("<message><body>hi</body></message>")


# --- quiet mode: an active client on another device ---


def test_messages_wait_for_an_active_client(server, phone, laptop, bob):
    before = get_metric(server)
    inactive(phone)
    assert metric(server, "quiet_mode_sessions") == 1
    for i in range(3):
        bob.send(chat("alice@localhost", f"n{i}"))
        laptop.expect(f"<message><body>n{i}</body></message>")
    nothing_sent(phone, after=laptop)
    assert metric(server, "silent_mode_sessions") == 1
    active(phone)
    for i in range(3):
        phone.expect_next(f"<message from='{bob}'><body>n{i}</body></message>")
    after = get_metric(server)
    assert after["quiet_mode_sessions"] == after["silent_mode_sessions"] == 0
    assert after["buffer_flushes"] == before["buffer_flushes"] + 1
    assert after["buffer_flush_packets"] == before["buffer_flush_packets"] + 3


def test_flushed_by_an_iq(phone, laptop, bob):
    inactive(phone)
    bob.send(chat("alice@localhost", "n0"))
    laptop.expect("<message/>")
    nothing_sent(phone, after=laptop)
    bob.send(f"<iq type='get' id='v' to='{phone}'><query xmlns='jabber:iq:version'/></iq>")
    phone.expect_next("<message><body>n0</body></message>")
    phone.expect_next(f"<iq type='get' id='v' from='{bob}'/>")


def test_flushed_by_a_message_when_no_other_client_is_active(make_server):
    server = make_server("alice", "bob", settings={"session.active-time": "1s"})
    phone, laptop = server.client("alice", "phone"), server.client("alice", "laptop")
    bob = server.client("bob", "b")
    phone.drain()
    laptop.send("<presence/>")
    laptop.ping()
    phone.expect(f"<presence from='{laptop}'/>")
    inactive(phone)
    bob.send(chat("alice@localhost", "n0"))
    laptop.expect("<message/>")
    laptop.close()
    until("the laptop is gone", lambda: len(server.rows("session", "list")) == 2)
    bob.send(chat("alice@localhost", "n1"))
    phone.expect("<message><body>n1</body></message>")
    assert bodies(phone.log)[-2:] == ["n0", "n1"]


def test_an_active_client_is_forgotten(make_server):
    """After session.active-time."""
    server = make_server("alice", "bob", settings={"session.active-time": "1s"})
    phone, laptop = server.client("alice", "phone"), server.client("alice", "laptop")
    bob = server.client("bob", "b")
    inactive(phone)

    def reached():
        bob.send(chat("alice@localhost", "x"))
        laptop.expect("<message/>")
        phone.pump(0.05)
        return bodies(phone.inbox)
    until("a message", reached)


def test_flushed_at_the_limit(make_server):
    server = make_server("alice", "bob", settings={"session.pause-buffer": 5})
    phone, laptop = server.client("alice", "phone"), server.client("alice", "laptop")
    bob = server.client("bob", "b")
    phone.expect(f"<presence from='{laptop}'/>")
    inactive(phone)
    for i in range(7):
        bob.send(chat("alice@localhost", f"n{i}"))
    for i in range(5):
        phone.expect_next(f"<message><body>n{i}</body></message>")
    laptop.expect("<message><body>n6</body></message>")
    nothing_sent(phone, after=laptop)
    assert metric(server, "buffer_flushes_limit_reached") == 1
    assert metric(server, "silent_mode_sessions") == 1
    for i in range(3):
        bob.send(chat("alice@localhost", f"more{i}"))
    phone.expect("<message><body>more2</body></message>")
    assert metric(server, "buffer_flushes_limit_reached") == 2
    assert metric(server, "silent_mode_sessions") == 0
    active(phone)
    for i in range(5, 7):
        phone.expect_next(f"<message><body>n{i}</body></message>")


def test_a_call_rings_at_once(phone, laptop, bob):
    inactive(phone)
    bob.send(chat("alice@localhost", "n0"))
    laptop.expect("<message/>")
    bob.send(chat("alice@localhost", "", "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>"))
    phone.expect_next("<message><body>n0</body></message>")
    phone.expect_next("<message><propose xmlns='urn:xmpp:jingle-message:0'/></message>")


def test_the_quiet_client_itself_is_not_active(phone, laptop, bob):
    """Both are in the background: nobody is active."""
    inactive(phone)
    inactive(laptop)
    bob.send(chat("alice@localhost", "n0"))
    for client in (phone, laptop):
        client.expect("<message><body>n0</body></message>")


def test_copies_wait_too(phone, laptop, bob):
    phone.result("set", f"<enable xmlns='{CARBONS}'/>")
    inactive(phone)
    laptop.send(chat(bob, "mine"))
    bob.expect("<message/>")
    bob.send(chat(laptop, "", COMPOSING))
    bob.send(chat(laptop, "theirs"))
    laptop.expect("<message><body>theirs</body></message>")
    nothing_sent(phone, after=laptop)
    active(phone)
    phone.expect_next(f"<message><sent xmlns='{CARBONS}'/></message>")
    phone.expect_next(f"<message><received xmlns='{CARBONS}'/></message>")
    phone.expect_nothing("<message/>", after=bob)


# --- settings ---


@pytest.mark.parametrize("setting, value, stanza", [
    ("csi.messages", "at-once", chat("alice@localhost", "hi")),
    ("csi.chat-states", "at-once", chat("alice@localhost", "", COMPOSING)),
    ("csi.presence", "at-once", "<presence to='alice@localhost'><status>x</status></presence>"),
])
def test_at_once(make_server, setting, value, stanza):
    server = make_server("alice", "bob", settings={setting: value})
    phone, laptop = server.client("alice", "phone"), server.client("alice", "laptop")
    bob = server.client("bob", "b")
    phone.expect(f"<presence from='{laptop}'/>")
    inactive(phone)
    bob.send(stanza)
    phone.expect(lambda e: e.get("from") == str(bob))


def test_hold(make_server):
    """Without any other client."""
    server = make_server("alice", "bob",
                         settings={"csi.messages": "hold", "csi.chat-states": "hold"})
    phone, bob = server.client("alice", "phone"), server.client("bob", "b")
    inactive(phone)
    bob.send(chat("alice@localhost", "hi"))
    bob.send(chat("alice@localhost", "", COMPOSING))
    nothing_sent(phone, after=bob)
    active(phone)
    phone.expect_next("<message><body>hi</body></message>")
    phone.expect_next(f"<message>{COMPOSING}</message>")


# --- with stream management ---


def test_counts_stay_contiguous(phone, laptop, bob):
    friends(phone, bob)
    laptop.drain()
    phone.enable_sm()
    inactive(phone)
    for i in range(4):
        bob.send(f"<presence><priority>{i}</priority></presence>")
        bob.send(chat("alice@localhost", f"n{i}"))
        laptop.expect(f"<message><body>n{i}</body></message>")
    nothing_sent(phone, after=laptop)
    active(phone)
    for i in range(4):
        phone.expect(f"<message><body>n{i}</body></message>")
    phone.expect("<presence><priority>3</priority></presence>")
    phone.ack()
    phone.ping()
    phone.ack()
    phone.ping()


def test_what_waits_cannot_be_acknowledged(phone, laptop, bob):
    phone.enable_sm()
    inactive(phone)
    bob.send(chat("alice@localhost", "n0"))
    laptop.expect("<message/>")
    phone.ack(phone.h + 1)
    phone.expect_stream_error("undefined-condition")


def test_what_waits_comes_with_resumption(server, phone, laptop, bob):
    phone.enable_sm()
    inactive(phone)
    bob.send(chat("alice@localhost", "n0"))
    laptop.expect("<message/>")
    nothing_sent(phone, after=laptop)
    phone.cut()
    bob.send(chat("alice@localhost", "n1"))
    laptop.expect("<message><body>n1</body></message>")
    new = server.connect("alice")
    assert new.take_over(phone).tag == f"{{{xml.SM}}}resumed"
    for i in range(2):
        new.expect_next(f"<message><body>n{i}</body></message>")
    bob.send(chat("alice@localhost", "n2"))  # a stream begins active (§4.2)
    new.expect("<message><body>n2</body></message>")
    assert metric(server, "quiet_mode_sessions") == 0


def test_what_waits_is_not_lost_with_its_session(server, phone, bob, make_server):
    server.ctl("set", "csi.messages", "hold")
    inactive(phone)
    bob.send(chat("alice@localhost", "n0"))
    nothing_sent(phone, after=bob)
    phone.close()
    server.client("alice", "next").expect("<message><body>n0</body></message>")


@pytest.mark.parametrize("sm", [False, True])
def test_an_archive_is_read_in_the_background(phone, bob, sm):
    """Stanzas that are held back stay there while the client gets the answers to its requests."""
    for i in range(3):
        bob.send(chat(phone.bare, f"m{i}"))
        phone.expect(f"<message><body>m{i}</body></message>")
    if sm:
        phone.enable_sm()
    inactive(phone)
    for _ in range(30):
        bob.send(chat(phone, "", EVENT, "headline"))
    bob.ping()
    phone.result("set", "<query xmlns='urn:xmpp:mam:2'/>")
    results = [e for e in phone.inbox if e.find("{urn:xmpp:mam:2}result") is not None]
    assert len(results) == 3


# --- a client that reads too slowly ---


def test_a_slow_client_gets_the_last_presence(server, phone, bob):
    """Its socket is full: presence of a contact is kept once, and nothing is lost."""
    friends(phone, bob)
    big = "x" * 60000
    sent = 0

    def full():
        nonlocal sent
        bob.send(chat(phone, big))
        bob.ping()
        sent += 1
        bob.send(f"<presence><status>{sent}</status></presence>")
        bob.ping()
        return sent > 150
    while not full():
        pass
    phone.expect(f"<presence from='{bob}'><status>{sent}</status></presence>")
    phone.ping()
    assert len(bodies(phone.log)) == sent
    states = [e for e in phone.log if e.tag.endswith("}presence") and e.get("from") == str(bob)]
    assert len(states) < sent


def test_what_a_client_waits_for_is_sent_at_once(make_server):
    """§5: the answer to its own presence is not noise. A client that enters its rooms in the
    background gets all of it up to the subject (XEP-0045 §7.2), and the error if it may not."""
    server = make_server("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = Room("cave").create(bob, "bob")
    cave.say(bob, "history")
    closed = Room("closed").create(bob, "bob", membersonly=True)
    inactive(alice)
    cave.knock(alice, "alice")
    got = cave.entered(alice)
    assert got.bodies == ["history"] and set(got.others) == {"bob"}
    closed.knock(alice, "alice")
    assert closed.presence_error(alice)[0] == "registration-required"
    cave.enter(server.client("bob", "other"), "other")
    bob.send(f"<presence to='{cave.at('bob')}'><show>away</show></presence>")
    nothing_sent(alice, after=bob)
