"""Rooms while something is under way: a change that is being stored, a restart, another request;
and what large values become in what all are told."""
import json
import threading
import time

import pytest

from harness import muc, xml
from harness.client import until
from harness.muc import Room

RETRACT = "urn:xmpp:message-retract:1"
SID = "urn:xmpp:sid:0"


@pytest.fixture
def server(make_server):
    return make_server("alice", "bob", "carol", settings={
        "muc.unload-after": "1s", "muc.new-self-add": True})


def resume(server, old):
    new = server.connect(old.name)
    answer = new.take_over(old)
    assert answer.tag == f"{{{xml.SM}}}resumed", xml.canonical(answer)
    return new


def metric(server, name):
    return next(row["value"] for row in server.rows("metrics") if row["name"] == name)


def unloaded(server):
    until("unloaded rooms", lambda: metric(server, "muster_rooms_loaded") == 0)


# --- large values ---


def test_a_retraction_with_a_long_id(server, alice, bob, carol):
    """Who enters afterwards gets a history that is well-formed."""
    room = Room("long").create(alice, "one", persistentroom=True)
    room.enter(bob, "two")
    room.say(bob, "oops")
    said = room.expect_body(alice, "two", "oops")
    ident = said.find(f"{{{SID}}}stanza-id").get("id")
    bob.send(f"<message to='{room}' type='groupchat' id='{'&apos;' * 4000}'>"
             f"<retract xmlns='{RETRACT}' id='{ident}'/><body>retracted</body></message>")
    room.flush(bob)
    room.say(alice, "after")
    room.expect_body(alice, "one", "after")
    assert "after" in room.enter(carol, "three").bodies


def test_a_long_reason_of_a_destruction(server, alice, bob):
    room = Room("end").create(alice, "one")
    room.enter(bob, "two")
    alice.send(f"<iq type='set' id='d' to='{room}'><query xmlns='{muc.OWNER}'><destroy><reason>"
               f"{chr(39) * 100000}</reason></destroy></query></iq>")
    answer = alice.expect("<iq id='d'/>")
    if answer.get("type") == "result":
        room.gone(bob, "two")
    bob.ping()
    alice.ping()


# --- two requests at once ---


def ask_often(client, room, query, first):
    for i in range(first, first + 200):
        client.send(f"<iq type='set' id='r{i}' to='{room}'>{query(i)}</iq>")


def while_many_wait(alice, bob, room, query, *items):
    """bob asks for much; before that is done alice changes what bob may, and bob asks for more."""
    ask_often(bob, room, query, 0)
    room.flush(bob)
    alice.send(f"<iq type='set' id='b' to='{room}'><query xmlns='{muc.ADMIN}'>{''.join(items)}"
               "</query></iq>")
    room.flush(alice)
    ask_often(bob, room, query, 200)
    alice.expect("<iq type='result' id='b'/>")
    bob.expect("<iq id='r399'/>")


def test_who_is_banned_does_not_register_himself_back(server, alice, bob):
    room = Room("ban").create(alice, "one", persistentroom=True)
    room.register(bob, "two")
    form = muc.submit(muc.REGISTER, {"roomnick": "two"}, "muc#register_")
    while_many_wait(alice, bob, room,
                    lambda i: f"<query xmlns='jabber:iq:register'>{form}</query>",
                    muc.item(jid=bob.bare, affiliation="outcast"))
    assert room.jids(alice, "outcast") == {bob.bare}


def test_who_is_banned_does_not_leave_the_list(server, alice, bob):
    room = Room("ban").create(alice, "one", persistentroom=True)
    room.register(bob, "two")
    form = muc.submit(muc.REGISTER, {"roomnick": "two"}, "muc#register_")
    while_many_wait(alice, bob, room,
                    lambda i: "<query xmlns='jabber:iq:register'>"
                              f"{form if i < 200 else '<remove/>'}</query>",
                    muc.item(jid=bob.bare, affiliation="outcast"))
    assert room.jids(alice, "outcast") == {bob.bare}


def test_a_former_administrator_has_no_say(server, alice, bob, carol):
    room = Room("former").create(alice, "one", persistentroom=True)
    room.set_affiliation(alice, bob.bare, "admin")
    while_many_wait(alice, bob, room, lambda i: f"<query xmlns='{muc.ADMIN}'>" + muc.item(
        jid=f"user{i}@localhost", affiliation="outcast") + "</query>",
        muc.item(jid=bob.bare, affiliation="none"))
    assert len(room.jids(alice, "outcast")) == 200


def test_an_invitation_lifts_no_ban(server, alice, bob, carol):
    room = Room("invite").create(alice, "one", persistentroom=True, membersonly=True,
                                 allowinvites=True)
    room.set_affiliation(alice, bob.bare, "admin")
    room.enter(bob, "two")
    ask_often(bob, room, lambda i: f"<query xmlns='{muc.ADMIN}'>" + muc.item(
        jid=f"user{i}@localhost", affiliation="outcast") + "</query>", 0)
    room.flush(bob)
    alice.send(f"<iq type='set' id='b' to='{room}'><query xmlns='{muc.ADMIN}'>"
               f"{muc.item(jid=carol.bare, affiliation='outcast')}</query></iq>")
    room.flush(alice)
    bob.send(f"<message to='{room}'><x xmlns='{muc.USER}'><invite to='{carol.bare}'/></x>"
             "</message>")
    alice.expect("<iq type='result' id='b'/>")
    bob.expect("<iq id='r199'/>")
    room.flush(bob)
    room.set_affiliation(alice, "last@localhost", "member")
    assert carol.bare in room.jids(alice, "outcast")


def test_a_deleted_account_is_given_nothing(server, alice, bob):
    """Nor is who has its name later, by what was asked for before."""
    room = Room("name").create(alice, "one", persistentroom=True)
    ask_often(alice, room, lambda i: f"<query xmlns='{muc.ADMIN}'>" + muc.item(
        jid=f"user{i}@localhost", affiliation="outcast") + "</query>", 0)
    alice.send(f"<iq type='set' id='b' to='{room}'><query xmlns='{muc.ADMIN}'>"
               f"{muc.item(jid=bob.bare, affiliation='owner')}</query></iq>")
    alice.ping()
    server.ctl("user", "del", bob.bare)
    alice.expect("<iq type='result' id='b'/>")
    room.set_affiliation(alice, "last@localhost", "member")
    assert room.jids(alice, "owner") == {alice.bare}


# --- a room becomes persistent ---


def test_what_is_set_while_a_room_becomes_persistent(server, alice):
    room = Room("becoming")
    room.enter(alice, "one")
    form = muc.submit(muc.CONFIG, {"persistentroom": True}, "muc#roomconfig_")
    card = "<vCard xmlns='vcard-temp'><FN>Room</FN></vCard>"
    alice.raw(f"<iq type='set' id='c' to='{room}'><query xmlns='{muc.OWNER}'>{form}</query></iq>"
              f"<message to='{room}' type='groupchat'><subject>early</subject></message>"
              f"<iq type='set' id='v' to='{room}'>{card}</iq>")
    alice.expect("<iq type='result' id='c'/>")
    alice.expect("<iq type='result' id='v'/>")
    room.leave(alice, "one")
    unloaded(server)
    entered = room.enter(alice, "one")
    assert entered.subject.findtext(f"{{{xml.CLIENT}}}subject") == "early"
    found = alice.result("get", "<vCard xmlns='vcard-temp'/>", to=room.jid)
    assert found.find(".//{vcard-temp}FN") is not None


def test_who_leaves_while_a_room_becomes_persistent(server, alice):
    room = Room("leaving")
    room.enter(alice, "one")
    form = muc.submit(muc.CONFIG, {"persistentroom": True}, "muc#roomconfig_")
    alice.raw(f"<iq type='set' id='c' to='{room}'><query xmlns='{muc.OWNER}'>{form}</query></iq>"
              f"<presence to='{room.at('one')}' type='unavailable'/>")
    alice.expect("<iq type='result' id='c'/>")
    assert room.gone(alice, "one").destroy is None


# --- planned restart ---


def test_a_nickname_of_two_sessions_outlives_a_restart(server, alice, bob):
    room = Room("shared").create(alice, "one", persistentroom=True)
    phone = server.client("bob", "phone")
    for client in (bob, phone):
        client.enable_sm()
        room.enter(client, "two")
    bob.send(f"<presence to='{room.at('new')}'/>")
    room.presence(phone, "new")
    server.restart()
    bob, phone = resume(server, bob), resume(server, phone)
    entered = room.enter(server.client("alice", "b"), "one")
    assert set(entered.others) == {"new"}


def test_who_is_in_by_a_nickname_that_another_registered_stays(server, alice, bob, carol):
    room = Room("by").create(alice, "one", persistentroom=True)
    bob.enable_sm()
    room.enter(bob, "two")
    room.set_affiliation(alice, carol.bare, "member", nick="two")
    server.restart()
    bob = resume(server, bob)
    room.flush(bob)
    assert not [e for e in bob.inbox if e.get("type") == "unavailable"
                and e.get("from") == room.at("two")]
    assert [r["nick"] for r in server.rows("room", "occupants", room.jid)] == ["two"]


# --- followers ---


def unread(client):
    rooms = client.result("get", f"<rooms xmlns='{muc.ROOMS}'/>", to=muc.service())
    return {r.get("jid"): int(r.get("unread")) for r in rooms.iter(f"{{{muc.ROOMS}}}room")}


def test_who_comes_and_goes_is_nothing_to_read(server, alice, bob):
    server.ctl("set", "muc.archive-joins", "true")
    room = Room("joins").create(alice, "one", persistentroom=True)
    room.set_affiliation(alice, bob.bare, "member")
    room.register(bob, "two", follow=True)
    room.say(alice, "hello")
    bob.expect("<message type='groupchat'/>")
    assert unread(bob) == {room.jid: 1}
    room.leave(alice, "one")
    unloaded(server)
    for _ in range(3):
        room.enter(alice, "one")
        room.leave(alice, "one")
    unloaded(server)
    room.flush(bob)
    assert unread(bob) == {room.jid: 1}


def test_who_has_begun_to_follow_before_a_crash(server, alice, bob):
    room = Room("crash").create(alice, "one", persistentroom=True)
    room.set_affiliation(alice, bob.bare, "member")
    room.register(bob, "two", follow=True)
    alice.enable_sm()
    for i in range(3):
        room.say(alice, f"m{i}")
    alice.wait_acked(3)
    server.kill()
    server.start()
    bob = server.client("bob", "b")
    room.flush(bob)
    assert unread(bob) == {room.jid: 3}


def test_what_was_not_read_in_the_room_before_a_restart(server, alice, bob):
    """Who says what he has read (XEP-0333) has the rest unread, also after it."""
    room = Room("marks").create(alice, "one", persistentroom=True)
    room.set_affiliation(alice, bob.bare, "member")
    room.register(bob, "two", follow=True)
    bob.enable_sm()
    room.enter(bob, "two")
    room.say(alice, "first")
    said = room.expect_body(bob, "one", "first").find(f"{{{SID}}}stanza-id").get("id")
    room.send(bob, f"<displayed xmlns='urn:xmpp:chat-markers:0' id='{said}'/>")
    room.say(alice, "second")
    room.expect_body(bob, "one", "second")
    assert unread(bob) == {room.jid: 1}
    server.restart()
    bob = resume(server, bob)
    room.flush(bob)
    assert unread(bob) == {room.jid: 1}


def test_a_room_whose_comings_and_goings_are_kept_is_moved(server, alice, tmp_path):
    server.ctl("set", "muc.archive-joins", "true")
    room = Room("moved").create(alice, "one", persistentroom=True)
    room.say(alice, "hello")
    room.flush(alice)
    room.leave(alice, "one")
    room.enter(alice, "one")
    server.ctl("room", "export", room.jid, tmp_path / "room")
    server.ctl("room", "destroy", room.jid)
    server.ctl("room", "import", tmp_path / "room")
    assert room.enter(alice, "one").bodies == ["hello"]


def test_a_long_address_is_refused_in_good_form(server, alice, bob):
    room = Room("r" * 1000).create(alice, "one", membersonly=True)
    assert room.refused(bob, "two") == ("registration-required", "auth")
    bob.ping()


# --- the end of a room, and of group chat ---


def test_what_is_said_while_a_room_is_destroyed_is_not_left(server, alice, bob):
    server.ctl("set", "muc.message-rate", "none")
    room = Room("left").create(alice, "one", persistentroom=True)
    room.say(alice, "before")
    room.flush(alice)
    after = f"<message to='{room}' type='groupchat'><body>after</body></message>"
    alice.raw(f"<iq type='set' id='d' to='{room}'><query xmlns='{muc.OWNER}'><destroy/></query>"
              f"</iq>{after * 50}")
    alice.expect("<iq type='result' id='d'/>")
    alice.ping()

    def left():
        with server.database(read_only=True) as db:
            return db.execute("SELECT (SELECT count(*) FROM message WHERE rcpt >= ?) + "
                              "(SELECT count(*) FROM muc_doomed)", (muc.ROOM_ID_MIN,)).fetchone()[0]
    until("the end of its archive", lambda: left() == 0)


@pytest.mark.parametrize("late", [0, 5, 10])
def test_who_enters_when_group_chat_ends_is_not_left_in_a_room(server, late):
    """Rooms that are being read then, and presence that is on its way to one, are no exception."""
    server.ctl("set", "c2s.stanza-rate", "none")
    rooms = [Room(f"r{i}") for i in range(200)]
    for room in rooms:
        server.ctl("room", "create", room.jid, "alice@localhost")
    server.restart()
    alice = server.client("alice", "a")
    ends = threading.Thread(target=server.ctl, args=("set", "muc.enabled", "off"))
    ends.start()
    time.sleep(late / 1000)  # where the two meet is not the same on all machines
    alice.raw("".join(f"<presence to='{room.at('one')}'>{muc.X}</presence>" for room in rooms))
    ends.join()
    alice.ping()
    until("empty rooms", lambda: metric(server, "muster_room_occupants") == 0)


def test_who_was_in_a_room_learns_that_group_chat_is_off(server, alice, bob):
    """After a planned restart (332)."""
    room = Room("off").create(alice, "one", persistentroom=True)
    bob.enable_sm()
    room.enter(bob, "two")
    server.stop()
    server.conf["settings"]["muc.enabled"] = False
    server.start()
    bob = resume(server, bob)
    assert {110, 332} <= room.gone(bob, "two").codes


# --- more large values ---


def test_the_last_presence_is_no_larger_than_others(server, alice, bob):
    """muc.presence-bytes; who goes is not held back, but what he says then is not passed on."""
    room = Room("words").create(alice, "one")
    room.enter(bob, "two")
    assert room.leave(bob, "two", status="x" * 10000).status == "x" * 10000
    assert room.gone(alice, "two").status == "x" * 10000
    room.enter(bob, "two")
    assert room.leave(bob, "two", status="x" * 20000).status is None
    assert room.gone(alice, "two").status is None


def test_a_file_with_a_message_of_too_many_elements(server, alice, tmp_path):
    room = Room("file").create(alice, "one", persistentroom=True)
    room.say(alice, "hello")
    room.flush(alice)
    server.ctl("room", "export", room.jid, tmp_path / "right")
    server.ctl("room", "destroy", room.jid)
    lines = [json.loads(line) for line in (tmp_path / "right").read_text().splitlines()]
    for line in lines:
        if line["type"] == "message":
            line["stanza"] = line["stanza"].replace("<body>", "<a xmlns='b'/>" * 61 + "<body>")
    (tmp_path / "wrong").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = server.ctl_run("room", "import", tmp_path / "wrong")
    assert done.returncode != 0 and "stanza" in done.stderr
    server.ctl("room", "import", tmp_path / "right")
