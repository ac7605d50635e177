"""Administrators of group chat: owners of every room, at once and without a restart."""
import pytest

from muster import muc


@pytest.fixture
def host(make_server):
    server = make_server("alice", "bob", "carol")
    server.ctl("set", "muc.administrators-enabled", "on")
    return server


@pytest.fixture
def alice(host):
    return host.client("alice", "a")


@pytest.fixture
def bob(host):
    return host.client("bob", "b")


def refusal(server, *args):
    done = server.ctl_run(*args)
    assert done.returncode != 0, done.stdout
    return done.stderr


def test_one_who_is_added_owns_every_room_at_once(host, alice, bob):
    cave = muc.Room("cave").create(alice, "firstwitch")
    assert cave.enter(bob, "secondwitch").own.standing == ("none", "participant")
    cave.presence(alice, "secondwitch")
    host.ctl("room-admin", "add", "bob@localhost", "--nick", "Bobby",
             "--description", "night shift")
    for client in alice, bob:
        assert cave.presence(client, "secondwitch").standing == ("owner", "moderator")
    assert cave.configuration(bob)["FORM_TYPE"] == muc.CONFIG
    assert host.rows("room-admin", "list") == [
        {"jid": "bob@localhost", "nick": "Bobby", "description": "night shift"}]
    host.ctl("room-admin", "del", "bob@localhost")
    for client in alice, bob:
        assert cave.presence(client, "secondwitch").affiliation == "none"
    assert cave.owner(bob, "get", "").get("type") == "error"


def test_the_setting_turns_all_of_them_on_and_off(host, alice, bob):
    host.ctl("room-admin", "add", "bob@localhost")
    cave = muc.Room("cave").create(alice, "firstwitch", membersonly=True)
    assert cave.enter(bob, "secondwitch").own.affiliation == "owner"
    host.ctl("set", "muc.administrators-enabled", "off")
    gone = cave.presence(bob, "secondwitch")
    assert gone.gone and 321 in gone.codes
    assert cave.refused(bob, "secondwitch")[0] == "registration-required"
    assert "is off: they are ordinary users" in host.ctl("room-admin", "list")["text"]
    assert "once muc.administrators-enabled is on" in host.ctl(
        "room-admin", "add", "carol@localhost")["text"]
    host.ctl("set", "muc.administrators-enabled", "on")
    assert cave.enter(bob, "secondwitch").own.affiliation == "owner"


def test_the_list_outlives_a_restart(host):
    host.ctl("room-admin", "add", "Bob@localhost", "--nick", "one")
    host.ctl("room-admin", "add", "bob@localhost", "--description", "two")
    host.restart()
    assert host.rows("room-admin", "list") == [
        {"jid": "bob@localhost", "nick": "one", "description": "two"}]
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    cave = muc.Room("cave").create(alice, "firstwitch")
    assert cave.enter(bob, "secondwitch").own.affiliation == "owner"


@pytest.mark.parametrize("jid", ["bob", "localhost", "bob@localhost/phone", "bob@", "@localhost",
                                 "b ob@localhost"])
def test_an_address_that_is_none(host, jid):
    assert "allowed: an address name@domain" in refusal(host, "room-admin", "add", jid)
    assert host.rows("room-admin", "list") == []


def test_texts_that_are_too_long_and_one_who_is_none(host):
    assert "there is no account bbo@localhost" in refusal(
        host, "room-admin", "add", "bbo@localhost")
    assert "nick: found 1001 bytes" in refusal(host, "room-admin", "add", "bob@localhost",
                                               "--nick", "x" * 1001)
    assert "bob@localhost is no administrator of group chat" in refusal(
        host, "room-admin", "del", "bob@localhost")


def test_a_client_adds_one(make_server):
    server = make_server("alice", "bob", settings={"admin.accounts": "alice@localhost",
                                                   "muc.administrators-enabled": True})
    alice = server.client("alice", "a")
    ask = "<command xmlns='http://jabber.org/protocol/commands' node='room-admin-add' {}</command>"
    form = alice.result("set", ask.format("action='execute'>"), to="localhost")
    alice.result("set", ask.format(f"action='complete' sessionid='{form.get('sessionid')}'>"
                                   + muc.submit("x", {"jid": "bob@localhost"})), to="localhost")
    assert [r["jid"] for r in server.rows("room-admin", "list")] == ["bob@localhost"]
