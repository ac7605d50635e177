"""The sessions that are in rooms: what a room says reaches each of them, on whatever worker, in one
order; a room hears once of each that ends; resumption and a planned restart cost it nothing."""
import pytest

from harness import xml
from harness.client import bodies
from harness.muc import Room

CSI = "urn:xmpp:csi:0"
BLOCKING = "urn:xmpp:blocking"


def resume(server, old):
    new = server.connect(old.name)
    answer = new.take_over(old)
    assert answer.tag == f"{{{xml.SM}}}resumed", xml.canonical(answer)
    return new


def hear(client, count):
    """(nick, body) of the next messages of rooms, in order."""
    found = (client.expect(lambda e: e.get("type") == "groupchat" and bodies([e]))
             for _ in range(count))
    return [(e.get("from").partition("/")[2], bodies([e])[0]) for e in found]


def test_one_order_on_all_workers(make_server):
    names = [f"user{i}" for i in range(8)]
    server = make_server(*names, workers=3)
    room, clients = Room("order"), [server.client(name, "r") for name in names]
    room.create(clients[0], names[0])
    for client, name in zip(clients[1:], names[1:]):
        room.enter(client, name)
    for i in range(10):
        for client in clients:
            room.say(client, f"{client.name} {i}")
    heard = [hear(client, 10 * len(clients)) for client in clients]
    assert all(h == heard[0] for h in heard)
    for name in names:  # all of each, in order
        assert [b for n, b in heard[0] if n == name] == [f"{name} {i}" for i in range(10)]


def test_every_receiver_is_named(server, alice, bob):
    room = Room("named").create(alice, "one")
    room.enter(bob, "two")
    room.say(alice, "hello")
    for client in (alice, bob):
        assert room.expect_body(client, "one", "hello").get("to") == str(client)


@pytest.mark.parametrize("by, stays", [
    ("bob@localhost", False), ("forged@conference.localhost", False), ("LOCALHOST", False),
    ("archive.elsewhere.test", True)])
def test_what_servers_say_is_not_forged(server, alice, bob, by, stays):
    """XEP-0359 §6: an id by an account here, or by the room, is its own."""
    room = Room("forged").create(alice, "one")
    room.enter(bob, "two")
    room.send(alice, f"<body>forged</body><stanza-id xmlns='urn:xmpp:sid:0' id='x' by='{by}'/>")
    message = room.expect_body(bob, "one", "forged")
    ids = [e.get("id") for e in message.iter("{urn:xmpp:sid:0}stanza-id")]
    assert ("x" in ids) == stays


def test_a_user_in_two_hundred_rooms(server, alice, bob):
    """One session; each room hears once that it has ended."""
    server.ctl("set", "muc.rooms-per-user", "none")
    rooms = [Room(f"r{i}") for i in range(200)]
    for room in rooms:
        room.create(alice, "one")
        room.enter(bob, "two")
        bob.send(f"<presence to='{room.at('three')}'/>")
        room.presence(alice, "two")  # entered
    for room in rooms:
        room.presence(alice, "three")
    alice.inbox.clear()
    bob.close()
    for room in rooms:
        room.gone(alice, "three")
    room.expect_nothing(alice, "<presence/>")


@pytest.mark.parametrize("how", ["closed", "lost", "kicked", "password", "disabled", "unavailable"])
def test_each_end_is_told(server, alice, how):
    room, bob = Room("end").create(alice, "one"), server.client("bob", "b")
    room.enter(bob, "two")
    room.presence(alice, "two")
    if how == "closed":
        bob.close()
    elif how == "lost":
        bob.cut()
    elif how == "kicked":
        server.ctl("session", "kick", str(bob))
    elif how == "password":
        server.ctl("user", "password", bob.bare, "--password", "another-secret")
    elif how == "disabled":
        server.ctl("user", "disable", bob.bare)
    else:
        bob.send("<presence type='unavailable'/>")
    room.gone(alice, "two")
    room.say(alice, "who is there?")
    room.expect_body(alice, "one", "who is there?")
    room.expect_nothing(alice, "<presence/>")


def test_resumption(server, alice):
    """What was said meanwhile comes with it; nobody in the room notices."""
    room, bob = Room("resumed").create(alice, "one"), server.client("bob", "b")
    bob.enable_sm()
    room.enter(bob, "two")
    room.presence(alice, "two")
    bob.cut()
    for i in range(5):
        room.say(alice, f"missed {i}")
    hear(alice, 5)
    bob = resume(server, bob)
    assert hear(bob, 5) == [("one", f"missed {i}") for i in range(5)]
    room.say(bob, "back")
    assert hear(alice, 1) == [("two", "back")]
    room.expect_nothing(alice, "<presence/>")


def test_a_session_that_is_not_resumed(make_server):
    """What it had not acknowledged is no other session's."""
    server = make_server("alice", "bob")
    alice, other = server.client("alice", "a"), server.client("bob", "other")
    room, bob = Room("expired").create(alice, "one"), server.client("bob", "b")
    bob.enable_sm(resume="false")
    bob.auto_ack = False
    room.enter(bob, "two")
    room.say(alice, "for those who are here")
    assert hear(bob, 1) == [("one", "for those who are here")]
    bob.cut()
    room.gone(alice, "two")
    other.expect_nothing("<message/>")


@pytest.mark.parametrize("workers", [1, 3])
def test_planned_restart(make_server, workers):
    """Those who resume are still in the room, and nobody has heard otherwise."""
    server = make_server("alice", "bob", "carol", workers=workers)
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    room = Room("lasting").create(alice, "one", persistentroom=True)
    for client in (alice, bob):
        client.enable_sm()
    bob.send("<presence/>")
    room.enter(bob, "two", inner="<show>dnd</show>")
    room.presence(alice, "two")
    room.forget(alice, bob)
    server.restart()
    alice, bob = resume(server, alice), resume(server, bob)
    room.say(bob, "as if nothing had happened")
    for client in (alice, bob):
        assert hear(client, 1) == [("two", "as if nothing had happened")]
        client.expect_nothing("<presence/>")
    seen = room.enter(server.client("carol", "c"), "three").others
    assert seen["two"].show == "dnd"
    assert seen["one"].standing == ("owner", "moderator")
    bob.close()
    room.gone(alice, "two")


def test_planned_restart_of_an_ad_hoc_room(server, alice):
    """It is over; who was in it is told when he resumes (332), and may make it anew."""
    room, bob = Room("passing").create(alice, "one"), server.client("bob", "b")
    bob.enable_sm()
    room.enter(bob, "two")
    server.restart()
    bob = resume(server, bob)
    gone = room.gone(bob, "two")
    assert {110, 332} <= gone.codes
    assert room.enter(bob, "two").own.codes >= {110, 201}


def test_a_room_that_is_blocked(server, alice, bob):
    """XEP-0191: neither its messages nor its presence come in; the others hear all the same."""
    room = Room("blocked").create(alice, "one")
    room.enter(bob, "two")
    bob.result("set", f"<block xmlns='{BLOCKING}'><item jid='{room}'/></block>")
    room.forget(alice)
    bob.inbox.clear()
    room.say(alice, "unheard")
    assert hear(alice, 1) == [("one", "unheard")]
    bob.expect_nothing("<message/>", after=alice)


# --- clients in the background (XEP-0352) ---


@pytest.fixture
def phone(server, alice):
    """In the room `csi`, where alice is, too; in the background."""
    client = server.client("bob", "phone")
    room = Room("csi").create(alice, "alice")
    room.enter(client, "Bob")
    client.send(f"<inactive xmlns='{CSI}'/>")
    client.ping()
    return client


def waits(room, client, speaker, inner):
    """Whether it has not come to the client when it has come back to the speaker."""
    room.send(speaker, inner)
    hear(speaker, 1)
    speaker.ping()
    return not client.pump(0.1) and not bodies(client.inbox)


@pytest.mark.parametrize("text", ["Bob: come", "are you there, bob?", "<@bob>", "bob"])
def test_who_is_named_hears_it_at_once(phone, alice, text):
    room = Room("csi")
    assert waits(room, phone, alice, "<body>just talk</body>")
    room.say(alice, text)
    assert hear(phone, 2) == [("alice", "just talk"), ("alice", text)]


@pytest.mark.parametrize("text", ["bobsled", "kabob", "nobody", "Bób"])
def test_others_wait(phone, alice, text):
    assert waits(Room("csi"), phone, alice, f"<body>{text}</body>")
    phone.send(f"<active xmlns='{CSI}'/>")
    assert hear(phone, 1) == [("alice", text)]


@pytest.mark.parametrize("uri", ["xmpp:bob@localhost", "xmpp:csi@conference.localhost/Bob"])
def test_who_is_mentioned_by_address(phone, alice, uri):
    """XEP-0372 §3.2."""
    room = Room("csi")
    for wrong in ("xmpp:alice@localhost", "bob@localhost", ""):
        assert waits(room, phone, alice, f"<body>you there</body><reference type='mention' "
                                         f"uri='{wrong}' xmlns='urn:xmpp:reference:0'/>")
    room.send(alice, f"<body>you</body><reference xmlns='urn:xmpp:reference:0' type='mention' "
                     f"uri='{uri}'/>")
    assert [b for _, b in hear(phone, 4)] == ["you there"] * 3 + ["you"]


def test_rooms_in_the_background_are_a_setting(server, phone, alice):
    room = Room("csi")
    server.ctl("set", "csi.rooms", "hold")
    assert waits(room, phone, alice, "<body>Bob</body>")
    server.ctl("set", "csi.rooms", "as-messages")
    room.say(alice, "just talk")
    assert [b for _, b in hear(phone, 2)] == ["Bob", "just talk"]
