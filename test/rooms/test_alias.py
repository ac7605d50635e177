"""Domains of group chat: the one the server makes, those that operators add, and their rooms."""
import pytest

from harness import muc, xml
from harness.client import until
from harness.component import Component
from harness.server import refusal

MADE = "conference-1-standalone.localhost"


def room_at(domain, name="cave"):
    room = muc.Room(name)
    room.jid = f"{name}@{domain}"
    return room


def items(client, to="localhost"):
    return {jid for jid, name in muc.disco_items(client, to)}


def aliases(server):
    return {row["alias"]: row for row in server.rows("room-alias", "list")}


def report(server):
    return {row["alias"]: row for row in server.rows("room-alias", "report")}


def test_the_server_makes_one_of_node_cluster_and_domain(server, alice, bob):
    until("the alias is there", lambda: MADE in aliases(server))
    assert aliases(server)[MADE] == {"alias": MADE, "domain": "localhost", "made": "by the server",
                                     "listed": False}
    services = [to for to in items(alice)
                if ("conference", "text") in {i[:2] for i in muc.disco_info(alice, to)[0]}]
    assert services == ["conference.localhost"], "a client sees one service for group chat"
    identities, features, _ = muc.disco_info(alice, MADE)
    assert identities[0][:2] == ("conference", "text") and muc.NS in features
    cave = room_at(MADE).create(alice, "firstwitch")
    cave.enter(bob, "secondwitch")
    cave.say(bob, "Eye of newt")
    cave.expect_body(alice, "secondwitch", "Eye of newt")


def test_a_room_belongs_to_the_domain_it_was_made_under(server, alice, bob):
    until("the alias is there", lambda: MADE in aliases(server))
    room_at(MADE).create(alice, "firstwitch")
    other = muc.Room("cave").enter(bob, "secondwitch")
    assert 201 in other.own.codes and not other.others
    assert report(server)[MADE]["adhoc"] == 1
    assert report(server)["conference.localhost"]["adhoc"] == 1


def test_it_follows_the_cluster_and_the_old_one_stays(server, alice):
    until("the alias is there", lambda: MADE in aliases(server))
    cave = room_at(MADE).create(alice, "firstwitch", persistentroom=True)
    server.stop()
    server.conf["cluster_id"] = "North"
    server.start()
    now = "conference-1-north.localhost"
    until("the new alias is there", lambda: now in aliases(server))
    assert aliases(server)[now]["made"] == "by the server"
    assert aliases(server)[MADE]["made"] == "by hand"
    back = server.client("alice", "a")
    assert not {now, MADE} & items(back), "one service for group chat"
    assert 201 not in cave.enter(back, "firstwitch").own.codes


def test_switched_off_it_stays_as_an_ordinary_one(server, alice):
    until("the alias is there", lambda: MADE in aliases(server))
    assert "is made by the server" in refusal(server, "room-alias", "del", MADE)
    server.ctl("set", "muc.alias-automatic", "off")
    until("it is an ordinary one", lambda: aliases(server)[MADE]["made"] == "by hand")
    room_at(MADE).create(alice, "firstwitch")
    server.ctl("set", "muc.alias-automatic", "on")
    until("it is the server's", lambda: aliases(server)[MADE]["made"] == "by the server")
    server.ctl("set", "muc.alias-automatic", "off")
    until("it is an ordinary one", lambda: aliases(server)[MADE]["made"] == "by hand")
    server.ctl("room-alias", "del", MADE, "--force")
    assert MADE not in items(alice)
    alice.error("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=MADE)


def test_operators_add_more(server, alice, bob):
    said = server.ctl("room-alias", "add", "Chat.localhost")["text"]
    assert said == "rooms can be made at chat.localhost"
    said = server.ctl("room-alias", "add", "rooms.elsewhere.test", "--unlisted")["text"]
    assert "a name below a domain of users is recommended, such as chat.localhost" in said
    assert "chat.localhost" in items(alice) and "rooms.elsewhere.test" not in items(alice)
    for domain in "chat.localhost", "rooms.elsewhere.test":
        cave = room_at(domain).create(alice, "firstwitch")
        cave.enter(bob, "secondwitch")
        cave.say(alice, "Toe of frog")
        cave.expect_body(bob, "firstwitch", "Toe of frog")
    server.restart()
    again = server.client("alice", "a")
    room_at("rooms.elsewhere.test").create(again, "firstwitch")


@pytest.mark.parametrize("name, text", [
    ("localhost", "localhost is a domain of users here; an alias is another one"),
    ("conference.localhost", "conference.localhost is a service of this server"),
    ("upload.localhost", "upload.localhost is a service of this server"),
    (MADE, f"{MADE} is an alias already; one is unique in the cluster"),
    ("chat.localhost", "chat.localhost is an alias already; one is unique in the cluster"),
    ("a b", "found a b, allowed: a domain such as chat.localhost"),
    ("push.example.test", "push.example.test is a component's"),
])
def test_what_cannot_be_one(make_server, name, text):
    server = make_server("alice", component=True)
    until("the alias is there", lambda: MADE in aliases(server))
    server.ctl("room-alias", "add", "chat.localhost")
    server.ctl("component", "add", "push.example.test", "--secret", "a rather long secret")
    component = Component(server, "push.example.test", "a rather long secret")
    before = aliases(server)
    assert text in refusal(server, "room-alias", "add", name)
    assert aliases(server) == before
    component.close()


def test_a_component_cannot_take_one(make_server):
    server = make_server("alice", component=True)
    server.ctl("room-alias", "add", "chat.localhost")
    assert "is served by this server itself" in refusal(
        server, "component", "add", "chat.localhost", "--secret", "a rather long secret")


def test_deletion_warns_of_rooms_under_it(server, alice, bob):
    server.ctl("room-alias", "add", "chat.localhost")
    cave = room_at("chat.localhost").create(alice, "firstwitch", persistentroom=True)
    room_at("chat.localhost", "den").create(alice, "firstwitch")
    cave.enter(bob, "secondwitch")
    assert report(server)["chat.localhost"] == {"alias": "chat.localhost", "served": True,
                                                "persistent": 1, "adhoc": 1}
    text = refusal(server, "room-alias", "del", "chat.localhost")
    assert "rooms of chat.localhost that could no longer be reached: 2; --force" in text
    assert server.ctl("room-alias", "del", "chat.localhost", "--force")["text"] == \
        "deleted; rooms under it that are not reached any more: 2"
    gone = cave.presence(bob, "secondwitch")
    assert gone.gone and 332 in gone.codes
    assert report(server)["chat.localhost"] == {"alias": "chat.localhost", "served": False,
                                                "persistent": 1, "adhoc": 0}
    assert bob.error("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=cave.jid) is not None
    server.ctl("room-alias", "add", "chat.localhost")  # and it is there again
    assert 201 not in cave.enter(bob, "secondwitch").own.codes


def test_deletion_of_one_without_rooms(server):
    server.ctl("room-alias", "add", "chat.localhost")
    assert server.ctl("room-alias", "del", "chat.localhost")["text"] == "deleted"
    assert "there is no alias chat.localhost; `room-alias list` shows all" in refusal(
        server, "room-alias", "del", "chat.localhost")
    assert "allowed: a domain" in refusal(server, "room-alias", "del", "@")
