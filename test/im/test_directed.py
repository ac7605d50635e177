"""Directed presence (RFC 6121 §4.6) beside every feature that has a hand in presence: it keeps its
address, reaches its addressee alone, and rooms (XEP-0045 §7.2) can be entered by it."""
import base64
import hashlib

import pytest

from harness import xml
from harness.muc import Room
from harness.pubsub import publish

IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
HASH = hashlib.sha1(IMAGE).hexdigest()
TEXT = base64.b64encode(IMAGE).decode()
UPDATE = "vcard-temp:x:update"
CAPS = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/>"
SAID = ("", CAPS + "<idle xmlns='urn:xmpp:idle:1' since='2026-01-01T00:00:00Z'/>",
        f"<x xmlns='{UPDATE}'/>", f"<x xmlns='{UPDATE}'><photo/></x>",
        f"<x xmlns='{UPDATE}'><photo>{'0' * 40}</photo></x>")


def card_photo(client):
    client.result("set", "<vCard xmlns='vcard-temp'><FN>A</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>"
                  f"{TEXT}</BINVAL></PHOTO></vCard>")


def pep_avatar(client):
    client.result("set", publish("urn:xmpp:avatar:data",
                                 f"<data xmlns='urn:xmpp:avatar:data'>{TEXT}</data>", item=HASH))
    client.result("set", publish(
        "urn:xmpp:avatar:metadata", "<metadata xmlns='urn:xmpp:avatar:metadata'>"
        f"<info id='{HASH}' bytes='{len(IMAGE)}' type='image/png'/></metadata>", item=HASH))


def avatar_taken_back(client):
    pep_avatar(client)
    client.result("set", publish("urn:xmpp:avatar:metadata",
                                 "<metadata xmlns='urn:xmpp:avatar:metadata'/>", item="none"))


def inactive(client):
    client.send("<inactive xmlns='urn:xmpp:csi:0'/>")


def invisible(client):
    client.result("set", "<invisible xmlns='urn:xmpp:invisible:0'/>")


def privacy_list(client):
    client.result("set", "<query xmlns='jabber:iq:privacy'><list name='l'><item type='jid' "
                  "value='x@localhost' action='deny' order='1'/></list></query>")
    client.result("set", "<query xmlns='jabber:iq:privacy'><active name='l'/></query>")


def invisible_list(client):
    client.result("set", "<query xmlns='jabber:iq:privacy'><list name='l'><item type='jid' "
                  "value='bob@localhost' action='deny' order='1'><presence-out/></item></list>"
                  "</query>")
    client.result("set", "<query xmlns='jabber:iq:privacy'><active name='l'/></query>")


def blocking(client):
    client.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='x@localhost'/></block>")


def carbons(client):
    client.result("set", "<enable xmlns='urn:xmpp:carbons:2'/>")


def stream_management(client):
    client.enable_sm()


def low_priority(client):
    client.send("<presence><priority>-1</priority></presence>")


def never_available(client):
    client.send("<presence type='unavailable'/>")


FEATURES = (card_photo, pep_avatar, avatar_taken_back, inactive, invisible, privacy_list,
            invisible_list, blocking, carbons, stream_management, low_priority, never_available)


@pytest.fixture
def friends(server):
    """alice, whose contact bob sees her; carol knows nobody."""
    server.befriend("alice", "bob")
    return (server.client("alice", "a"), server.client("bob", "b"), server.client("carol", "c"),
            server.client("alice", "other"))


def settle(alice, *others):
    """Waits until the others have received all presence that alice's change caused."""
    for other in others:
        other.expect_nothing("<nothing/>", after=alice)
    for client in (alice, *others):
        client.drain()


def check_directed(alice, bob, carol, other, inner):
    """To a full JID, a bare JID, and a change of it."""
    for to in (str(carol), carol.bare):
        for show in ("away", "dnd"):
            alice.send(f"<presence to='{to}'><show>{show}</show>{inner}</presence>")
            got = carol.expect(f"<presence from='{alice}' to='{to}' type='-'><show>{show}</show>"
                               "</presence>")
            alice.ping()
            for child in xml.parse(f"<presence>{inner}</presence>"):
                if child.tag != f"{{{UPDATE}}}x":
                    assert got.find(child.tag) is not None, xml.canonical(got)
    for outsider in (bob, other):
        outsider.expect_nothing("<presence/>", after=alice)
    alice.send(f"<presence to='{carol}' type='unavailable'/>")
    carol.expect(f"<presence from='{alice}' to='{carol}' type='unavailable'/>")
    alice.send(f"<presence to='{carol.bare}' type='unavailable'/>")
    carol.expect(f"<presence from='{alice}' to='{carol.bare}' type='unavailable'/>")
    for outsider in (bob, other):
        outsider.expect_nothing("<presence/>", after=alice)


@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.__name__)
def test_it_reaches_its_addressee_alone(friends, feature):
    """§4.6.3: the server routes it, does not broadcast it; contacts and own resources hear
    nothing."""
    alice, bob, carol, other = friends
    feature(alice)
    settle(*friends)
    for inner in SAID:
        check_directed(alice, bob, carol, other, inner)


@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.__name__)
def test_rooms_are_entered_and_left(friends, feature):
    """XEP-0045 §7.2, §7.7 (presence in the room), §7.6 (nickname), §7.14."""
    alice, bob, carol, other = friends
    room = Room("cave").create(carol, "carol")
    feature(alice)
    settle(*friends)
    room.knock(alice, "alice", inner=CAPS)
    alice.expect(f"<presence from='{room.at('alice')}' to='{alice}' type='-'/>")
    carol.expect(f"<presence from='{room.at('alice')}' type='-'/>")
    alice.send(f"<presence to='{room.at('alice')}'><show>xa</show></presence>")
    carol.expect(f"<presence from='{room.at('alice')}'><show>xa</show></presence>")
    alice.send(f"<presence to='{room.at('witch')}'/>")
    carol.expect(f"<presence from='{room.at('alice')}' type='unavailable'/>")
    carol.expect(f"<presence from='{room.at('witch')}' type='-'/>")
    alice.send(f"<message to='{room}' type='groupchat'><body>hi</body></message>")
    carol.expect(f"<message from='{room.at('witch')}'><body>hi</body></message>")
    alice.send(f"<presence to='{room.at('witch')}' type='unavailable'/>")
    carol.expect(f"<presence from='{room.at('witch')}' type='unavailable'/>")
    for outsider in (bob, other):
        outsider.expect_nothing("<presence/>", after=alice)


def test_it_says_the_hash_of_the_image(friends):
    """XEP-0398 §4: in rooms, too, and the empty <photo/> of the client stays as it is."""
    alice, _, carol, _ = friends
    pep_avatar(alice)
    settle(*friends)
    alice.send(f"<presence to='{carol}'/>")
    got = carol.expect(f"<presence from='{alice}' to='{carol}'/>")
    assert got.findtext(f"{{{UPDATE}}}x/{{{UPDATE}}}photo") == HASH
    alice.send(f"<presence to='{carol}'><x xmlns='{UPDATE}'><photo/></x></presence>")
    got = carol.expect(f"<presence from='{alice}' to='{carol}'/>")
    assert got.findtext(f"{{{UPDATE}}}x/{{{UPDATE}}}photo") == ""


@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f.__name__)
def test_a_bad_address_is_no_broadcast(friends, feature):
    """RFC 6120 §8.3.3.8: answered by jid-malformed, whatever features stand in the way."""
    alice, bob, _, other = friends
    feature(alice)
    settle(*friends)
    alice.send("<presence to='@@'><show>dnd</show></presence>")
    alice.expect_error("jid-malformed", template="<presence type='error'/>")
    for outsider in (bob, other):
        outsider.expect_nothing("<presence/>", after=alice)


# --- what is remembered of it (RFC 6121 §4.6.3) ---

MAX = 16  # the smallest that may be set


@pytest.fixture
def few(make_server):
    """A server that remembers so few addresses that one more is too many."""
    server = make_server("alice", "bob")
    server.ctl("set", "presence.directed-max", MAX)
    return server


def kick(room, owner, alice):
    room.set_role(owner, "alice", "none")
    return room.gone(alice, "alice")


def ban(room, owner, alice):
    room.set_affiliation(owner, alice.bare, "outcast")
    return room.gone(alice, "alice")


def destroy(room, owner, alice):
    room.destroy(owner)
    return room.gone(alice, "alice")


def members_only(room, owner, alice):
    room.configure(owner, membersonly=True)
    return room.gone(alice, "alice")


def leave(room, owner, alice):
    return room.leave(alice, "alice")


def leave_by_another_nickname(room, owner, alice):
    alice.send(f"<presence to='{room.at('witch')}'/>")
    room.presence(alice, "witch")
    return room.leave(alice, "witch")


def kicked_by_another_nickname(room, owner, alice):
    alice.send(f"<presence to='{room.at('bob')}'/>")  # is taken
    room.presence_error(alice)
    return kick(room, owner, alice)


def refused(room, owner, alice):
    room.leave(alice, "alice")
    room.configure(owner, passwordprotectedroom=True, roomsecret="x")
    room.refused(alice, "alice")


WAYS = (kick, ban, destroy, members_only, leave, leave_by_another_nickname,
        kicked_by_another_nickname, refused)


@pytest.mark.parametrize("way", WAYS, ids=lambda w: w.__name__)
def test_a_room_that_was_left_is_forgotten(few, way):
    """Whoever ended it: twice as many rooms as may be remembered are entered one after another."""
    alice, bob = few.client("alice", "a"), few.client("bob", "b")
    for i in range(2 * MAX):
        room = Room(f"r{i}").create(bob, "bob")
        room.enter(alice, "alice")
        way(room, bob, alice)
        if way is not destroy:
            room.destroy(bob)
    alice.send(f"<presence to='{bob}'/>")
    bob.expect(f"<presence from='{alice}' to='{bob}' type='-'/>")


def test_rooms_that_refuse_are_forgotten(few):
    """§7.2.5 and the like: none was entered, none is remembered."""
    alice, bob = few.client("alice", "a"), few.client("bob", "b")
    room = Room("closed").create(bob, "bob", membersonly=True)
    for i in range(2 * MAX):
        assert room.refused(alice, f"alice{i}")[0] == "registration-required"
    for i in range(2 * MAX):
        alice.send(f"<presence to='x{i}@elsewhere.test/x'/>")
        assert xml.condition(alice.expect("<presence type='error'/>")) == \
            "remote-server-not-found"


def test_users_that_have_gone_are_forgotten(few):
    alice = few.client("alice", "a")
    for i in range(2 * MAX):
        bob = few.client("bob", f"b{i}")
        bob.send(f"<presence to='{alice}'/>")
        alice.send(f"<presence to='{bob}'/>")
        bob.expect(f"<presence from='{alice}' to='{bob}' type='-'/>")
        bob.close()
        alice.expect(f"<presence from='{bob}' type='unavailable'/>")


def test_one_more_than_may_be_remembered(few):
    """The error says what to do, and it helps."""
    alice, bob = few.client("alice", "a"), few.client("bob", "b")
    rooms = [Room(f"r{i}").create(bob, "bob") for i in range(MAX)]
    rooms.append(Room("more").create(few.client("bob", "other"), "other"))
    for room in rooms[:MAX]:
        room.enter(alice, "alice")
    rooms[MAX].knock(alice, "alice")
    error = alice.expect("<presence type='error'/>")
    assert xml.condition(error) == "policy-violation"
    text = error.findtext(f".//{{{xml.STANZA_ERROR}}}text")
    assert "presence.directed-max" in text and "leave a room" in text
    alice.send(f"<presence to='{rooms[0].at('alice')}'><show>away</show></presence>")
    rooms[0].presence(bob, "alice")
    rooms[0].leave(alice, "alice")
    rooms[MAX].enter(alice, "alice")
    few.ctl("set", "presence.directed-max", 20)
    rooms[0].enter(alice, "alice")


def test_a_refused_nickname_does_not_leave_the_room(few):
    """XEP-0045 §7.6: the room that is still entered hears of the end, by the nickname it knows."""
    alice, bob = few.client("alice", "a"), few.client("bob", "b")
    room = Room("cave").create(bob, "bob")
    room.enter(alice, "alice")
    alice.send(f"<presence to='{room.at('bob')}'/>")
    assert room.presence_error(alice)[0] == "conflict"
    alice.close()
    room.gone(bob, "alice")


def test_a_planned_restart_forgets_no_room(few):
    """A refused change of the nickname does not count as leaving the room."""
    alice, bob = few.client("alice", "a"), few.client("bob", "b")
    for client in (alice, bob):
        client.enable_sm()
    room = Room("cave").create(bob, "bob", persistentroom=True)
    room.enter(alice, "alice")
    few.restart()
    one, other = few.connect("alice"), few.connect("bob")
    one.take_over(alice)
    other.take_over(bob)
    one.send(f"<presence to='{room.at('bob')}'/>")
    assert room.presence_error(one)[0] == "conflict"
    one.close()
    room.gone(other, "alice")


def back(server, client):
    """Resumes the session of a client after a restart of the server."""
    new = server.connect(client.name)
    answer = new.take_over(client)
    assert answer.tag == f"{{{xml.SM}}}resumed", xml.canonical(answer)
    return new


def sees_it_go(server, bob, alice, room):
    """bob, a contact, and carol, who got directed presence, and the room hear of the end, once."""
    new = back(server, bob)
    new.expect(f"<presence from='{alice}' type='unavailable'/>")
    room.gone(new, "alice")
    new.expect_nothing(f"<presence from='{alice}'/>")
    assert str(alice) not in str(server.rows("session", "list"))
    return new


@pytest.mark.parametrize("sm", ("none", "not resumable"))
def test_sessions_that_end_with_a_planned_restart(server, sm):
    """RFC 6121 §4.5.2, §4.6.3: a session without resumption does not come back. Those who are back
    are told, and see it come again when it does."""
    server.befriend("alice", "bob")
    alice, bob, carol = (server.client(n, n[0]) for n in ("alice", "bob", "carol"))
    for client in (bob, carol):
        client.enable_sm()
    if sm != "none":
        alice.enable_sm(resume="false")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    room = Room("cave").create(bob, "bob", persistentroom=True)
    room.enter(alice, "alice")
    alice.send(f"<presence to='{carol}'/>")
    carol.expect(f"<presence from='{alice}' to='{carol}'/>")
    bob.drain()
    server.restart()
    new = sees_it_go(server, bob, alice, room)
    back(server, carol).expect(f"<presence from='{alice}' to='{carol}' type='unavailable'/>")
    again = server.client("alice", "a")
    new.expect(f"<presence from='{again}' type='-'/>")
    room.enter(again, "alice")


def test_many_sessions_end_with_a_planned_restart(make_server):
    """On all workers, and twice: nothing is left of the first time."""
    names = [f"u{i}" for i in range(12)]
    server = make_server("bob", *names, workers=3)
    bob = server.client("bob", "b")
    bob.enable_sm()
    for _ in range(2):
        for name in names:
            client = server.client(name, "x")
            client.send(f"<presence to='{bob}'/>")
            bob.expect(f"<presence from='{client}' to='{bob}' type='-'/>")
        server.restart()
        bob = back(server, bob)
        for name in names:
            bob.expect(f"<presence from='{name}@localhost/x' type='unavailable'/>")
        bob.expect_nothing("<presence/>")


def test_three_hundred_rooms(server):
    server.ctl("set", "muc.rooms-per-user", "none")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    for i in range(300):
        room = Room(f"r{i}").create(bob, "bob")
        room.enter(alice, "alice")
    alice.close()
    for i in range(300):
        Room(f"r{i}").gone(bob, "alice")
