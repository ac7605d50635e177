"""Administrators of group chat: owners of every room, at once and without a restart."""
import pytest

from harness import muc
from harness.client import until
from harness.server import refusal


@pytest.fixture
def server(make_server):
    server = make_server("alice", "bob", "carol")
    server.ctl("set", "muc.administrators-enabled", "on")
    return server


def test_nobody_of_another_server_is_an_administrator(make_server):
    """Nor somebody whose domain was ours, and may be of another server now."""
    server = make_server(domains=["localhost", "two.example"])
    server.add_user("root", domain="two.example")
    assert "is of another server" in refusal(server, "room-admin", "add", "bob@else.example")
    server.ctl("room-admin", "add", "root@two.example")
    server.conf["domains"] = ["localhost"]
    server.restart()
    assert "is of another server" in refusal(server, "room-admin", "add", "root@two.example")


def test_one_who_is_added_owns_every_room_at_once(server, alice, bob):
    cave = muc.Room("cave").create(alice, "firstwitch")
    assert cave.enter(bob, "secondwitch").own.standing == ("none", "participant")
    cave.presence(alice, "secondwitch")
    server.ctl("room-admin", "add", "bob@localhost", "--nick", "Bobby",
               "--description", "night shift")
    for client in alice, bob:
        assert cave.presence(client, "secondwitch").standing == ("owner", "moderator")
    assert cave.configuration(bob)["FORM_TYPE"] == muc.CONFIG
    assert server.rows("room-admin", "list") == [
        {"jid": "bob@localhost", "nick": "Bobby", "description": "night shift"}]
    server.ctl("room-admin", "del", "bob@localhost")
    for client in alice, bob:
        assert cave.presence(client, "secondwitch").affiliation == "none"
    assert cave.owner(bob, "get", "").get("type") == "error"


def test_the_setting_turns_all_of_them_on_and_off(server, alice, bob):
    server.ctl("room-admin", "add", "bob@localhost")
    cave = muc.Room("cave").create(alice, "firstwitch", membersonly=True)
    assert cave.enter(bob, "secondwitch").own.affiliation == "owner"
    server.ctl("set", "muc.administrators-enabled", "off")
    gone = cave.presence(bob, "secondwitch")
    assert gone.gone and 321 in gone.codes
    assert cave.refused(bob, "secondwitch")[0] == "registration-required"
    assert "is off: they are ordinary users" in server.ctl("room-admin", "list")["text"]
    assert "muc.administrators-enabled is off" in server.ctl(
        "room-admin", "add", "carol@localhost")["text"]
    server.ctl("set", "muc.administrators-enabled", "on")
    assert cave.enter(bob, "secondwitch").own.affiliation == "owner"


def test_the_list_outlives_a_restart(server):
    server.ctl("room-admin", "add", "Bob@localhost", "--nick", "one")
    server.ctl("room-admin", "add", "bob@localhost", "--description", "two")
    server.restart()
    assert server.rows("room-admin", "list") == [
        {"jid": "bob@localhost", "nick": "one", "description": "two"}]
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = muc.Room("cave").create(alice, "firstwitch")
    assert cave.enter(bob, "secondwitch").own.affiliation == "owner"


@pytest.mark.sqlite
def test_one_who_is_deleted_is_none_though_the_list_cannot_be_read(server):
    """Nor is the next user with that address."""
    server.ctl("room-admin", "add", "bob@localhost")
    with server.database() as db:  # more than is read at once
        db.execute("INSERT INTO room_administrator (jid, nick, description) VALUES "
                   "('long@localhost', '', ?)", ("x" * (33 << 20),))
    server.ctl("user", "del", "bob@localhost")
    server.add_user("bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = muc.Room("cave").create(alice, "firstwitch")
    assert cave.enter(bob, "secondwitch").own.affiliation == "none"


@pytest.mark.parametrize("jid", ["bob", "localhost", "bob@localhost/phone", "bob@", "@localhost",
                                 "b ob@localhost"])
def test_an_address_that_is_none(server, jid):
    assert "allowed: an address name@domain" in refusal(server, "room-admin", "add", jid)
    assert server.rows("room-admin", "list") == []


def test_texts_that_are_too_long_and_one_who_is_none(server):
    assert "there is no account bbo@localhost" in refusal(
        server, "room-admin", "add", "bbo@localhost")
    assert "nick: found 1001 bytes" in refusal(server, "room-admin", "add", "bob@localhost",
                                               "--nick", "x" * 1001)
    assert "bob@localhost is no administrator of group chat" in refusal(
        server, "room-admin", "del", "bob@localhost")


def test_a_client_adds_one(make_server):
    server = make_server("alice", "bob", settings={"admin.accounts": "alice@localhost",
                                                   "muc.administrators-enabled": True})
    alice = server.client("alice", "a")
    ask = "<command xmlns='http://jabber.org/protocol/commands' node='room-admin-add' {}</command>"
    form = alice.result("set", ask.format("action='execute'>"), to="localhost")
    alice.result("set", ask.format(f"action='complete' sessionid='{form.get('sessionid')}'>"
                                   + muc.submit("x", {"jid": "bob@localhost"})), to="localhost")
    assert [r["jid"] for r in server.rows("room-admin", "list")] == ["bob@localhost"]


def test_an_account_that_is_deleted_meanwhile_is_none(server):
    """Else whoever registers that name next would own every room."""
    for n in range(30):
        jid = f"gone{n}@localhost"
        server.add_user(f"gone{n}")
        both = [server.ctl_start("room-admin", "add", jid), server.ctl_start("user", "del", jid)]
        for process in both:
            process.communicate(timeout=60)
        assert [process.returncode for process in both] in ([0, 0], [1, 0])
        until("the list is without it", lambda jid=jid: jid not in [
            row["jid"] for row in server.rows("room-admin", "list")])
    server.restart()
    assert server.rows("room-admin", "list") == []
