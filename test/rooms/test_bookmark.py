"""Bookmarks that a registration with a room makes (setting muc.bookmark; XEP-0402)."""
import pytest

from harness import muc, xml
from harness.client import until
from harness.muc import Room
from harness.pubsub import expect_event, get_items, interested, publish
from services.test_bookmarks import NODE, OPTIONS, conference

pytestmark = pytest.mark.settings({"muc.bookmark": True}, why="what these tests are about")


@pytest.fixture
def cave(alice):
    room = Room("cave").create(alice, "first", persistentroom=True, roomname="A Dark Cave")
    room.set_affiliation(alice, "bob@localhost", "member")
    return room


def bookmarks(client):
    """{room: (name, autojoin, nick)}"""
    reply = client.iq("get", get_items(NODE))
    return {i.get("id"): (c.get("name"), c.get("autojoin"), c.findtext(f"{{{NODE}}}nick"))
            for i in reply.iter() if i.tag.endswith("}item")
            for c in i.iter(f"{{{NODE}}}conference")}


def unregister(client, room):
    client.result("set", "<query xmlns='jabber:iq:register'><remove/></query>", to=room.jid)


def test_registration_is_a_bookmark(cave, alice, bob):
    interested(bob, NODE)
    cave.register(bob, "second & last")
    assert expect_event(bob, NODE, bob.bare)[0].get("id") == cave.jid
    assert bookmarks(bob) == {cave.jid: ("A Dark Cave", "true", "second & last")}
    unregister(bob, cave)
    expect_event(bob, NODE, bob.bare, f"<retract id='{cave.jid}'/>")
    assert bookmarks(bob) == {}
    assert bookmarks(alice) == {}  # who has no nickname registered has none


@pytest.mark.parametrize("by", ["owner", "operator"])
def test_a_room_that_is_destroyed_has_no_bookmarks(server, cave, alice, bob, by):
    """A client would enter it, and be the owner of a room that is open to all."""
    interested(bob, NODE)
    cave.register(bob, "second")
    cave.register(alice, "first")
    until("a bookmark of each", lambda: cave.jid in bookmarks(alice) and cave.jid in bookmarks(bob))
    if by == "owner":
        cave.destroy(alice)
    else:
        server.ctl("room", "destroy", cave.jid)
    expect_event(bob, NODE, bob.bare, f"<retract id='{cave.jid}'/>")
    until("none", lambda: bookmarks(alice) == bookmarks(bob) == {})


def test_coming_and_going_at_once(cave, alice, bob):
    interested(bob, NODE)
    for _ in range(3):
        cave.register(bob, "second")
        unregister(bob, cave)
        cave.set_affiliation(alice, bob.bare, "member")
    cave.register(bob, "third")
    until_noted(bob, cave)
    until("the last nickname", lambda: bookmarks(bob).get(cave.jid, "   ")[2] == "third")


def test_what_the_user_has_noted_stays(cave, alice, bob):
    bob.result("set", publish(NODE, conference(name="mine", autojoin="false"), item=cave.jid,
                              **OPTIONS))
    interested(bob, NODE)
    cave.register(bob, "second")
    other = Room("other").create(alice, "first", persistentroom=True)
    other.set_affiliation(alice, bob.bare, "member")
    other.register(bob, "second")
    until_noted(bob, other)
    assert bookmarks(bob)[cave.jid] == ("mine", "false", "me")


def until_noted(client, room):
    while room.jid not in bookmarks(client):
        expect_event(client, NODE, client.bare)


def test_who_is_thrown_out_has_no_bookmark_any_more(cave, alice, bob):
    interested(bob, NODE)
    cave.register(bob, "second")
    until_noted(bob, cave)
    bob.inbox.clear()
    cave.set_affiliation(alice, bob.bare, "outcast")
    expect_event(bob, NODE, bob.bare)
    assert bookmarks(bob) == {}


def test_ad_hoc_rooms_are_not_noted(alice, bob):
    pool = Room("pool").create(alice, "first")
    pool.set_affiliation(alice, bob.bare, "member")
    pool.register(bob, "second")
    assert bookmarks(bob) == {}


def test_it_is_off_by_default(make_server):
    server = make_server("alice")
    alice = server.client("alice", "a")
    room = Room("cave").create(alice, "first", persistentroom=True)
    room.register(alice, "first")
    alice.ping()
    assert bookmarks(alice) == {}
    assert xml.condition(alice.iq("get", get_items(NODE))) == "item-not-found"


def test_nobody_is_given_a_bookmark_that_he_did_not_ask_for(cave, alice, bob, carol):
    """Clients join what is noted, and the room would see when somebody is there: by a nickname that
    an owner gives, or an application that there never was, nothing is noted."""
    cave.set_affiliation(alice, bob.bare, "member", nick="second")
    alice.send(f"<message to='{cave}'>" + muc.submit(muc.REGISTER, {
        "muc#register_jid": carol.bare, "muc#register_roomnick": "third",
        "muc#register_allow": True}) + "</message>")
    cave.flush(alice)
    other = Room("other").create(alice, "first", persistentroom=True)
    for client in (bob, carol):
        other.set_affiliation(alice, client.bare, "member")
        interested(client, NODE)
        other.register(client, client.bare)
        until_noted(client, other)
        assert set(bookmarks(client)) == {other.jid}
    cave.register(bob, "second")
    until_noted(bob, cave)
