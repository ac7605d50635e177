"""What rooms are not to be used for: passwords tried one by one, invitations past a block list,
messages that seem to be another's, all rooms for one account."""
import pytest

from harness import muc, xml
from harness.client import until
from harness.muc import Room

ADDRESS = "http://jabber.org/protocol/address"
BLOCKING = "urn:xmpp:blocking"


def metric(server, name):
    return next(row["value"] for row in server.rows("metrics") if row["name"] == name)


@pytest.fixture
def vault(alice):
    return Room("vault").create(alice, "owner", passwordprotectedroom=True, roomsecret="7777")


def tries(room, client, count):
    """The conditions that so many wrong passwords are refused with."""
    return [room.refused(client, "guess", password=f"{i:04}")[0] for i in range(count)]


def test_passwords_are_not_tried_one_by_one(make_server):
    server = make_server("alice", "bob", "carol", settings={"muc.password-failures": 5})
    alice, bob, carol = (server.client(n, "r") for n in ("alice", "bob", "carol"))
    vault = Room("vault").create(alice, "owner", passwordprotectedroom=True, roomsecret="7777")
    assert tries(vault, bob, 8) == 5 * ["not-authorized"] + 3 * ["policy-violation"]
    assert vault.refused(bob, "guess", password="7777") == ("policy-violation", "wait"), \
        "the right one would tell"
    again = server.client("bob", "another")
    assert vault.refused(again, "guess", password="7777")[0] == "policy-violation", \
        "by the person, not the client"
    assert vault.enter(carol, "c", password="7777").own, "nobody else has to wait"
    assert "event=room.password_tried" in server.log()
    assert "room=vault@conference.localhost jid=bob@localhost" in server.log()


def test_the_time_goes_by(make_server):
    server = make_server("alice", "bob", settings={"muc.password-failures": 2,
                                                   "muc.password-time": "2s"})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    vault = Room("vault").create(alice, "owner", passwordprotectedroom=True, roomsecret="7777")
    assert tries(vault, bob, 3)[-1] == "policy-violation"

    def enters():
        vault.knock(bob, "b", password="7777")
        answer = bob.expect(lambda e: e.tag.endswith("}presence") and (
            e.get("type") == "error" or 110 in muc.codes(e)))
        return answer.get("type") != "error"
    until("he may try again", enters)


def test_many_who_try_together(make_server):
    """The limit of the whole room; members can still enter."""
    names = [f"u{i}" for i in range(6)]
    server = make_server("alice", "bob", "carol", *names, settings={
        "muc.password-failures": 3, "muc.password-failures-per-room": 12})
    alice, bob, carol = (server.client(n, "r") for n in ("alice", "bob", "carol"))
    vault = Room("vault").create(alice, "owner", passwordprotectedroom=True, roomsecret="7777")
    vault.set_affiliation(alice, bob.bare, "member")
    got = [c for name in names for c in tries(vault, server.client(name, "r"), 3)]
    assert got.count("not-authorized") == 12
    assert vault.refused(carol, "c", password="7777")[0] == "policy-violation"
    assert vault.enter(bob, "b", password="7777").own


def test_a_probe_without_a_password_does_not_count(make_server, vault, bob):
    """Clients ask without one first, to learn that one is needed."""
    for _ in range(20):
        assert vault.refused(bob, "b")[0] == "not-authorized"
    assert vault.enter(bob, "b", password="7777").own


def test_who_tried_is_not_forgotten_with_the_room(make_server):
    """Wrong passwords still count after an empty room could have been unloaded."""
    server = make_server("alice", "bob", settings={"muc.password-failures": 2,
                                                   "muc.unload-after": "1s"})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    vault = Room("vault").create(alice, "owner", persistentroom=True, passwordprotectedroom=True,
                                 roomsecret="7777")
    other = Room("other").create(alice, "owner", persistentroom=True)
    vault.leave(alice, "owner")
    other.leave(alice, "owner")
    assert tries(vault, bob, 3)[-1] == "policy-violation"
    until("the other room is unloaded", lambda: metric(server, "muster_rooms_loaded") == 1)
    assert tries(vault, bob, 1) == ["policy-violation"]


# --- who is blocked ---


def block(client, jid):
    client.result("set", f"<block xmlns='{BLOCKING}'><item jid='{jid}'/></block>")


def keeps_out_strangers(client):
    client.result("set", "<policy xmlns='urn:muster:policy:0' others='block'/>")


@pytest.mark.parametrize("keep_out", ["block", "policy"])
@pytest.mark.parametrize("anonymous", [False, True])
@pytest.mark.parametrize("way", ["invitation", "member", "decline"])
def test_who_is_blocked_does_not_come_in_through_a_room(make_server, keep_out, anonymous, way):
    server = make_server("alice", "bob", "carol", settings={"muc.new-anonymous": anonymous},
                         workers=2)
    victim, eve, carol = (server.client(n, "r") for n in ("alice", "bob", "carol"))
    if keep_out == "block":
        block(victim, eve.bare)
    else:
        keeps_out_strangers(victim)
    if way == "decline":
        room = Room("den").create(victim, "victim")
        room.send(eve, f"<x xmlns='{muc.USER}'><decline to='{victim.bare}'><reason>ha</reason>"
                       "</decline></x>", kind="normal")
    else:
        room = Room("den").create(eve, "eve", membersonly=way == "member")
        if way == "member":
            room.set_affiliation(eve, victim.bare, "member")
        else:
            room.send(eve, f"<x xmlns='{muc.USER}'><invite to='{victim.bare}'><reason>ha</reason>"
                           "</invite></x>", kind="normal")
    room.expect_nothing(victim, "<message/>", after=[eve])
    victim.ping()
    assert not [e for e in victim.inbox if e.tag.endswith("}message")]
    server.client("alice", "late").ping()


@pytest.mark.parametrize("anonymous", [False, True])
def test_who_invites_is_told_as_the_room_allows(make_server, anonymous):
    """What the account gets to know for its block list is shown to no client."""
    server = make_server("alice", "bob", settings={"muc.new-anonymous": anonymous})
    alice, bob = server.client("alice", "r"), server.client("bob", "r")
    room = Room("den").create(bob, "witch")
    room.send(bob, f"<x xmlns='{muc.USER}'><invite to='{alice.bare}'/></x>", kind="normal")
    got = room.message(alice, "", "normal")
    by = got.find(f".//{{{muc.USER}}}invite").get("from")
    assert by == (room.at("witch") if anonymous else bob.bare)
    assert "inviter" not in xml.canonical(got)
    archived = alice.iq("set", "<query xmlns='urn:xmpp:mam:2'/>")
    assert archived.get("type") == "result"
    assert not any("inviter" in xml.canonical(e) for e in alice.log)


# --- who said it ---


@pytest.mark.parametrize("inner", [
    f"<addresses xmlns='{ADDRESS}'><address type='ofrom' jid='carol@localhost'/></addresses>",
    "<delay xmlns='urn:xmpp:delay' from='carol@localhost' stamp='2001-01-01T00:00:00Z'/>",
    "<x xmlns='jabber:x:delay' from='carol@localhost' stamp='20010101T00:00:00'/>",
    "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='alice'/>",
    f"<x xmlns='{muc.USER}'><item jid='carol@localhost'/></x>",
    "<stanza-id xmlns='urn:xmpp:sid:0' by='cave@conference.localhost' id='1'/>",
    "<hats xmlns='urn:xmpp:hats:0'><hat uri='urn:owner' title='owner'/></hats>",
    "<inviter xmlns='urn:muster:rooms:0' jid='carol@localhost'/>",
])
@pytest.mark.parametrize("private", [False, True])
def test_nobody_seems_to_be_another(alice, bob, inner, private):
    cave = Room("cave").create(alice, "owner", persistentroom=True)
    cave.enter(bob, "b")
    cave.forget(alice, bob)
    cave.send(bob, f"<body>hi</body>{inner}", "owner" if private else None,
              "chat" if private else "groupchat")
    got = cave.expect_body(alice, "b", "hi", "chat" if private else "groupchat")
    text = xml.canonical(got)
    for forged in ("carol@localhost", "urn:owner", "2001-01-01", "20010101", "id='alice'", "ofrom"):
        assert forged not in text, text


def test_other_addresses_stay(alice, bob):
    cave = Room("cave").create(alice, "owner")
    cave.enter(bob, "b")
    cave.send(bob, f"<body>hi</body><addresses xmlns='{ADDRESS}'><address type='replyto' "
                   "jid='carol@localhost'/></addresses>")
    assert "replyto" in xml.canonical(cave.expect_body(alice, "b", "hi"))


# --- how many rooms ---


@pytest.mark.parametrize("persistent", [False, True])
def test_one_account_does_not_take_all_rooms(make_server, persistent):
    server = make_server("alice", "bob", settings={"muc.rooms-per-user": 3, "muc.rooms-max": 6},
                         workers=2)
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    rooms = [Room(f"r{i}") for i in range(5)]
    for room in rooms[:3]:
        room.create(alice, "a", persistentroom=persistent)
    rooms[3].knock(alice, "a")
    error = alice.expect("<presence type='error'/>")
    assert xml.condition(error) == "resource-constraint"
    assert "you have made 3 rooms that are still there" in xml.canonical(error)
    rooms[3].create(bob, "b")
    server.ctl("room", "create", "more@conference.localhost", "alice@localhost")
    server.ctl("room", "destroy", "more@conference.localhost")
    if persistent:
        server.restart()
        alice = server.client("alice", "a")
        assert rooms[4].refused(alice, "a")[0] == "resource-constraint"
        rooms[0].destroy(alice)
    else:
        rooms[0].leave(alice, "a")
    rooms[4].create(alice, "a")
