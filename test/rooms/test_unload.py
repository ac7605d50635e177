"""Persistent rooms that nobody is in leave memory, and are what they were when one comes back."""
import pytest

from harness import muc
from harness.client import until
from harness.muc import Room

VCARD = ("<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>aGFsbA==</BINVAL></PHOTO>"
         "</vCard>")


def loaded(server):
    return next(row["value"] for row in server.rows("metrics")
                if row["name"] == "muster_rooms_loaded")


@pytest.fixture
def quick(make_server):
    return make_server("alice", "bob", "carol", workers=2,
                       settings={"muc.unload-after": "1s", **muc.owners("anonymous")})


def gone(server):
    until("unloaded room", lambda: loaded(server) == 0)


def test_a_room_that_comes_back_is_what_it_was(quick):
    alice, bob = quick.client("alice", "a"), quick.client("bob", "b")
    hall = Room("hall").create(alice, "first", persistentroom=True, roomname="The hall",
                               membersonly=True, whois="moderators")
    hall.set_affiliation(alice, "bob@localhost", "member", reason="a friend")
    hall.set_affiliation(alice, "dave@localhost", "outcast", reason="noise")
    alice.result("set", VCARD, to=hall.jid)
    was = hall.enter(bob, "second")
    hall.say(bob, "first words")
    said = hall.expect_body(alice, "second", "first words")
    hall.set_subject(alice, "what is kept")
    hall.expect_subject(bob, "first", "what is kept")
    hall.leave(bob, "second")
    hall.leave(alice, "first")
    gone(quick)

    assert hall.refused(quick.client("carol", "c"), "third")[0] == "registration-required"
    got = hall.enter(bob, "second")
    assert got.bodies == ["first words"]
    assert got.subject.findtext("{jabber:client}subject") == "what is kept"
    assert got.own.standing == ("member", "participant")
    ident = f"{{{muc.OCCUPANT_ID}}}occupant-id"
    assert (got.own.element.find(ident).get("id") == was.own.element.find(ident).get("id")
            == said.find(ident).get("id"))
    identities, features, forms = muc.disco_info(bob, hall.jid)
    assert ("conference", "text", "The hall") in identities and "muc_membersonly" in features
    assert forms[muc.INFO]["muc#roominfo_avatarhash"]
    assert "aGFsbA==" in str(bob.result("get", "<vCard xmlns='vcard-temp'/>", to=hall.jid)
                             .findtext(".//{vcard-temp}BINVAL"))
    assert hall.enter(alice, "first").own.standing == ("owner", "moderator")
    assert hall.jids(alice, "outcast") == {"dave@localhost"}
    hall.say(alice, "more")
    hall.expect_body(bob, "first", "more")


def test_many_rooms_come_and_go(quick):
    alice = quick.client("alice", "a")
    rooms = [Room(f"r{i}").create(alice, "first", persistentroom=True) for i in range(20)]
    for room in rooms:
        room.leave(alice, "first")
    gone(quick)
    for room in rooms:
        assert room.enter(alice, "first").own.standing == ("owner", "moderator")
        assert room.configuration(alice)[
            "muc#roomconfig_persistentroom"] == "1"
    for room in rooms:
        room.destroy(alice)
    until("end of all", lambda: quick.rows("room", "list") == [])


def test_names_of_no_room_are_forgotten(quick):
    alice = quick.client("alice", "a")
    for i in range(5):
        alice.error("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>",
                    to=f"none{i}@conference.localhost")
    until("forgotten names", lambda: loaded(quick) == 0, timeout=30)
