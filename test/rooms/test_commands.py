"""What operators do with rooms: the commands `room …`, in a terminal and in a client."""
import csv
import io

import pytest

from harness import muc
from harness.client import until
from harness.server import refusal

COMMANDS = "http://jabber.org/protocol/commands"
pytestmark = pytest.mark.settings({"admin.accounts": "carol@localhost"}, why="some are for them")


def show(server, room):
    return server.rows("room", "show", room)[0]


def affiliations(server, room):
    return {r["jid"]: r["affiliation"] for r in server.rows("room", "affiliations", room)}


def test_rooms_are_listed_in_the_order_of_their_addresses(server, alice, bob):
    server.ctl("room", "create", "den@conference.localhost", "bob@localhost", "--name", "Foxes")
    muc.Room("cave").create(alice, "firstwitch", roomname="Witches").enter(bob, "secondwitch")
    server.ctl("room", "create", "attic@conference.localhost", "bob@localhost")
    assert server.rows("room", "list") == [
        {"jid": "attic@conference.localhost", "name": "", "kind": "persistent", "occupants": 0},
        {"jid": "cave@conference.localhost", "name": "Witches", "kind": "adhoc", "occupants": 2},
        {"jid": "den@conference.localhost", "name": "Foxes", "kind": "persistent", "occupants": 0}]

    def names(*args):
        return [row["jid"].split("@")[0] for row in server.rows("room", "list", *args)]

    assert names("--kind", "adhoc") == ["cave"] and names("--kind", "persistent") == ["attic",
                                                                                      "den"]
    assert names("--filter", "WITCH") == ["cave"] and names("--filter", "att") == ["attic"]
    server.ctl("room", "create", "house@conference.localhost", "bob@localhost", "--name", "ÄRZTE")
    assert names("--filter", "ärz") == names("--filter", "ÄRZ") == ["house"]
    assert names("--filter", "arz") == []
    server.ctl("room", "destroy", "house@conference.localhost")
    assert names("--domain", "conference.localhost") == ["attic", "cave", "den"]
    assert names("--domain", "elsewhere.test") == []
    first = server.ctl("room", "list", "--limit", "2")
    assert len(first["rows"]) == 2
    assert first["text"] == "there are more: go on with --after cave@conference.localhost"
    assert names("--after", "cave@conference.localhost") == ["den"]
    assert 'limit: found "0", allowed 1 to' in refusal(server, "room", "list", "--limit", "0")
    assert "kind" in refusal(server, "room", "list", "--kind", "big")


def test_more_rooms_than_a_page_of_the_database(server):
    for i in range(300):
        server.ctl("room", "create", f"r{i:03}@conference.localhost", "bob@localhost")
    rows = [row["jid"] for row in server.rows("room", "list")]
    assert rows == [f"r{i:03}@conference.localhost" for i in range(300)]
    limited = server.ctl("room", "list", "--limit", "280")
    assert [row["jid"] for row in limited["rows"]] == rows[:280] and "--after" in limited["text"]


def test_the_report_tells_who_owns_what(server, alice, bob):
    cave = muc.Room("cave").create(alice, "firstwitch", persistentroom=True, enablearchiving=True)
    cave.set_affiliation(alice, "bob@localhost", "member")
    cave.say(alice, "Toil and trouble")
    cave.expect_body(alice, "firstwitch", "Toil and trouble")
    until("it is recorded", lambda: show(server, cave.jid)["messages"] >= 1)
    den = muc.Room("den").create(bob, "fox")
    rows = {row["jid"]: row for row in server.rows("room", "report")}
    row = rows[cave.jid]
    assert (row["kind"], row["owners"], row["members"], row["occupants"], row["creator"]) == (
        "persistent", "alice@localhost", "bob@localhost", 1, "alice@localhost")
    assert row["messages"] >= 1 and row["last_message"] >= row["created"] > "2020"
    assert rows[den.jid]["owners"] == "bob@localhost" and rows[den.jid]["kind"] == "adhoc"
    done = server.ctl_run("--csv", "room", "report", "--limit", "1")
    table = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(table) == 1 and table[0]["jid"] == cave.jid
    assert done.stderr == f"musterctl: there are more: go on with --after {cave.jid}\n"


def test_who_enters_has_not_said_anything(server, alice, bob):
    server.ctl("set", "muc.archive-joins", "on")
    cave = muc.Room("cave").create(alice, "firstwitch", persistentroom=True)
    cave.enter(bob, "secondwitch")
    report = {row["jid"]: row for row in server.rows("room", "report")}
    assert report[cave.jid]["last_message"] == ""
    den = muc.Room("den").create(alice, "firstwitch")
    for room in cave, den:
        room.say(alice, "Fillet of a fenny snake")
        room.expect_body(alice, "firstwitch", "Fillet of a fenny snake")
    assert all(row["last_message"] > row["created"] for row in server.rows("room", "report"))


def test_one_room_in_detail(server, alice, bob):
    cave = muc.Room("cave").create(alice, "firstwitch", roomname="Witches", moderatedroom=True,
                                   persistentroom=True)
    cave.set_affiliation(alice, "bob@localhost", "member")
    cave.set_affiliation(alice, "carol@localhost", "outcast", reason="Too loud")
    cave.enter(bob, "secondwitch")
    cave.set_subject(alice, "Fire & cauldron")
    until("the subject is set", lambda: show(server, cave.jid).get("subject") == "Fire & cauldron")
    row = show(server, cave.jid)
    assert {k: row[k] for k in ("name", "kind", "owners", "members", "outcasts", "occupants",
                                "moderated", "creator")} == {
        "name": "Witches", "kind": "persistent", "owners": "alice@localhost",
        "members": "bob@localhost", "outcasts": "carol@localhost", "occupants": 2,
        "moderated": True, "creator": "alice@localhost"}
    assert server.rows("room", "affiliations", cave.jid) == [
        {"jid": "alice@localhost", "affiliation": "owner", "nick": "", "reason": ""},
        {"jid": "bob@localhost", "affiliation": "member", "nick": "", "reason": ""},
        {"jid": "carol@localhost", "affiliation": "outcast", "nick": "", "reason": "Too loud"}]
    assert server.rows("room", "occupants", cave.jid) == [
        {"nick": "firstwitch", "jid": str(alice), "affiliation": "owner", "role": "moderator",
         "hidden": False},
        {"nick": "secondwitch", "jid": str(bob), "affiliation": "member", "role": "participant",
         "hidden": False}]


@pytest.mark.parametrize("args", [
    ("show",), ("affiliations",), ("occupants",), ("destroy",), ("kick", "somebody"),
    ("affiliation", "bob@localhost", "member")])
def test_a_room_that_is_none(server, args):
    command, *rest = args

    def said(room):
        return refusal(server, "room", command, room, *rest)

    assert "there is no room cave@conference.localhost; `room list` shows all" in said(
        "cave@conference.localhost")
    assert "there are no rooms at localhost, but at conference.localhost" in said("cave@localhost")
    for bad in "conference.localhost", "cave@conference.localhost/nick", "@":
        assert f"found {bad}, allowed: a room such as tea@conference.localhost" in said(bad)


def test_a_room_is_made_and_destroyed(server, alice):
    server.ctl("room", "create", "cave@conference.localhost", "alice@localhost", "--name",
               "Witches", "--description", "of the heath", "--public", "off", "--members-only",
               "--moderated")
    row = show(server, "cave@conference.localhost")
    assert (row["public"], row["members_only"], row["moderated"], row["description"]) == (
        False, True, True, "of the heath")
    cave = muc.Room("cave")
    own = cave.enter(alice, "firstwitch").own
    assert own.standing == ("owner", "moderator") and 201 not in own.codes
    assert "there is a room cave@conference.localhost already" in refusal(
        server, "room", "create", cave.jid, "bob@localhost")
    server.restart()
    again = server.client("alice", "a")
    assert 201 not in cave.enter(again, "firstwitch").own.codes
    server.ctl("room", "destroy", cave.jid, "--reason", "Macbeth", "--alternate",
               "heath@conference.localhost")
    gone = cave.presence(again, "firstwitch")
    assert gone.gone and gone.destroy.get("jid") == "heath@conference.localhost"
    assert gone.destroy.findtext(f"{{{muc.USER}}}reason") == "Macbeth"
    assert server.rows("room", "list") == []


def test_all_of_a_room_is_shown(server, alice):
    server.ctl("set", "muc.new-self-add", "on")
    cave = muc.Room("cave").create(alice, "firstwitch", **{
        "persistentroom": True, "lang": "gd", "allowinvites": True, "allowpm": "none",
        "changesubject": False, "muster#roomconfig_archivejoins": True, "maxusers": "7",
        "muster#roomconfig_contactjid": ["bob@localhost", "carol@elsewhere.test"]})
    row = show(server, cave.jid)
    assert {k: row[k] for k in list(row)[3:24]} == {
        "language": "gd", "contacts": "bob@localhost carol@elsewhere.test", "kind": "persistent",
        "public": True, "members_only": False, "moderators_invite": False, "self_add": True,
        "moderated": False, "anonymous": False, "absent_visible": True, "groupchat1": False,
        "password": False, "private_messages": "nobody", "change_subject": "moderator",
        "strip_xhtml": False, "history": 15, "history_max": 100, "recorded": True,
        "joins_recorded": True, "occupants_max": 7, "hidden_max": 1000}
    row = show(server, muc.Room("adhoc").create(alice, "firstwitch").jid)
    assert (row["kind"], row["recorded"], row["private_messages"]) == ("adhoc", False, "visitor")


def test_what_cannot_be_made(server):
    assert "found bob, allowed: an address name@domain" in refusal(
        server, "room", "create", "cave@conference.localhost", "bob")
    assert "name: found 1001 bytes, allowed text of 0 to 1000 bytes" in refusal(
        server, "room", "create", "cave@conference.localhost", "bob@localhost", "--name",
        "x" * 1001)
    for bad in ("\x1b[31m", "a\rb\x07", "\ufffe"):
        assert "description: found " in refusal(
            server, "room", "create", "cave@conference.localhost", "bob@localhost",
            "--description", bad)
    for bad in ("a\nb", "a\r"):
        assert "allowed text of 0 to 1000 bytes: one line" in refusal(
            server, "room", "create", "cave@conference.localhost", "bob@localhost", "--name", bad)
    assert "there is no account bbo@localhost" in refusal(
        server, "room", "create", "cave@conference.localhost", "bbo@localhost")
    server.ctl("set", "muc.persistent", "off")
    assert "muc.persistent is off" in refusal(server, "room", "create", "cave@conference.localhost",
                                              "bob@localhost")
    assert server.rows("room", "list") == []


def test_as_many_rooms_as_the_settings_allow(server):
    server.ctl("set", "muc.persistent-max", "1")
    server.ctl("room", "create", "cave@conference.localhost", "bob@localhost")
    assert "muc.persistent-max allows no more than 1 persistent rooms" in refusal(
        server, "room", "create", "den@conference.localhost", "bob@localhost")
    assert [row["jid"] for row in server.rows("room", "list")] == ["cave@conference.localhost"]


def test_somebody_is_put_out(server, alice, bob):
    cave = muc.Room("cave").create(alice, "firstwitch")
    cave.enter(bob, "secondwitch")
    assert "nobody in cave@conference.localhost is called thirdwitch" in refusal(
        server, "room", "kick", cave.jid, "thirdwitch")
    server.ctl("room", "kick", cave.jid, "secondwitch", "--reason", "Avaunt")
    for client in alice, bob:
        gone = cave.expect(client, "presence", "secondwitch",
                           lambda e: e.get("type") == "unavailable")
        seen = muc.Seen(gone)
        assert 307 in seen.codes and seen.reason == "Avaunt" and seen.role == "none"


def test_affiliations_change_at_once(server, alice, bob):
    cave = muc.Room("cave").create(alice, "firstwitch", persistentroom=True)
    cave.enter(bob, "secondwitch")
    cave.presence(alice, "secondwitch")
    server.ctl("room", "affiliation", cave.jid, "bob@localhost", "admin")
    assert cave.presence(bob, "secondwitch").standing == ("admin", "moderator")
    server.ctl("room", "affiliation", cave.jid, "bob@localhost", "outcast", "--reason", "Treason")
    gone = cave.presence(bob, "secondwitch")
    assert gone.gone and 301 in gone.codes and gone.reason == "Treason"
    server.ctl("room", "affiliation", cave.jid, "elsewhere.test", "outcast")
    assert affiliations(server, cave.jid) == {
        "alice@localhost": "owner", "bob@localhost": "outcast", "elsewhere.test": "outcast"}
    assert "the last owner cannot go" in refusal(server, "room", "affiliation", cave.jid,
                                                 "alice@localhost", "none")
    assert "allowed: an address name@domain" in refusal(server, "room", "affiliation", cave.jid,
                                                        "elsewhere.test", "member")
    assert "there is no account bbo@localhost" in refusal(server, "room", "affiliation", cave.jid,
                                                          "bbo@localhost", "member")
    server.ctl("room", "affiliation", cave.jid, "bbo@localhost", "none")
    assert "found \"king\", allowed one of" in refusal(server, "room", "affiliation", cave.jid,
                                                       "bob@localhost", "king")
    server.restart()
    assert affiliations(server, cave.jid)["bob@localhost"] == "outcast"


def test_owners_and_operators_change_the_same_affiliations(server, alice):
    """What one of them has set, the other one sees and changes."""
    cave = muc.Room("cave").create(alice, "firstwitch", persistentroom=True)
    outcasts = f"<query xmlns='{muc.ADMIN}'>{muc.item(affiliation='outcast')}</query>"
    server.ctl("room", "affiliation", cave.jid, "bob@localhost", "outcast")
    listed = alice.result("get", outcasts, to=cave.jid)
    assert [i.get("jid") for i in listed.iter(f"{{{muc.ADMIN}}}item")] == ["bob@localhost"]
    member = muc.item(jid="bob@localhost", affiliation="member")
    alice.result("set", f"<query xmlns='{muc.ADMIN}'>{member}</query>", to=cave.jid)
    assert affiliations(server, cave.jid)["bob@localhost"] == "member"
    server.ctl("room", "destroy", cave.jid)
    assert alice.error("get", outcasts, to=cave.jid)[0] == "item-not-found"


@pytest.fixture
def three(server):
    """Rooms of Alice; Bob is a member of the first two."""
    rooms = [f"r{i}@conference.localhost" for i in range(3)]
    for room in rooms:
        server.ctl("room", "create", room, "alice@localhost")
    for room in rooms[:2]:
        server.ctl("room", "affiliation", room, "bob@localhost", "member")
    return rooms


def test_many_rooms_get_another_owner(server, three):
    said = server.ctl("room", "owner", " ".join([*three[:2], three[0].upper()]),
                    "bob@localhost")["text"]
    assert said == "bob@localhost owns 2 rooms"
    for room in three[:2]:
        assert affiliations(server, room) == {"alice@localhost": "owner", "bob@localhost": "owner"}
    server.ctl("room", "owner", three[0], "bob@localhost", "--replace")
    assert affiliations(server, three[0]) == {"alice@localhost": "member", "bob@localhost": "owner"}
    server.restart()
    assert affiliations(server, three[0]) == {"alice@localhost": "member", "bob@localhost": "owner"}


def test_no_room_changes_owner_if_one_cannot(server, alice, three):
    muc.Room("adhoc").create(alice, "firstwitch")
    text = refusal(server, "room", "owner", " ".join(
        [*three, "adhoc@conference.localhost", "none@conference.localhost"]), "bob@localhost")
    assert text.strip().endswith(
        "nothing was changed: r2@conference.localhost does not have that user as a member; "
        "adhoc@conference.localhost is an ad hoc room; none@conference.localhost does not exist")
    assert affiliations(server, three[0])["bob@localhost"] == "member"
    assert "was created by that user" in refusal(server, "room", "owner", three[0],
                                                 "alice@localhost")
    server.ctl("room", "owner", three[0], "bob@localhost")
    assert "is owned by that user already" in refusal(server, "room", "owner", three[0],
                                                      "bob@localhost")


@pytest.mark.parametrize("owner, text", [
    ("bob", "found bob, allowed: an address name@domain"),
    ("bob@localhost/phone", "allowed: an address name@domain"),
    ("dave@localhost", "there is no account dave@localhost"),
    ("bob@elsewhere.test", "bob@elsewhere.test is not an account of this server"),
])
def test_who_cannot_become_an_owner(server, three, owner, text):
    assert text in refusal(server, "room", "owner", three[0], owner)


def test_rooms_that_are_none(server):
    assert "rooms: found none" in refusal(server, "room", "owner", " ", "bob@localhost")
    assert "found cave, allowed: a room" in refusal(server, "room", "owner", "cave",
                                                    "bob@localhost")


def test_an_administrator_does_it_in_a_client(server, alice, three):
    carol = server.client("carol", "c")

    def run(node, **fields):
        ask = f"<command xmlns='{COMMANDS}' node='{node}' action='{{}}' sessionid='{{}}'>"
        form = carol.result("set", f"<command xmlns='{COMMANDS}' node='{node}' "
                            "action='execute'/>", to="localhost")
        assert form.get("status") == "executing"
        return carol.result("set", ask.format("complete", form.get("sessionid"))
                            + muc.submit("x", fields) + "</command>", to="localhost")

    listed = run("room-list", filter="r1")
    assert [i.text for i in listed.iter(f"{{{muc.DATA}}}value") if i.text == three[1]]
    run("room-owner", **{"rooms": " ".join(three[:2]), "new_owner": "bob@localhost"})
    assert affiliations(server, three[1])["bob@localhost"] == "owner"
    run("room-destroy", room=three[2])
    assert len(server.rows("room", "list")) == 2
    assert alice.error("set", f"<command xmlns='{COMMANDS}' node='room-destroy' "
                       "action='execute'/>", to="localhost") is not None


def age(server, **days):
    """Makes rooms, and what they recorded, older; the server is stopped meanwhile."""
    server.stop()
    with server.database() as db:
        for name, by in days.items():
            jid, us = f"{name}@conference.localhost", by * 86400 * 10**6
            for sql in ("UPDATE room SET created_us = created_us - ? WHERE jid = ?",
                        "UPDATE entry SET id = id - ? WHERE owner ="
                        " (SELECT id FROM room WHERE jid = ?)"):
                db.execute(sql, (us, jid))
            db.execute("UPDATE room_spoken SET day = day - ? WHERE room ="
                       " (SELECT id FROM room WHERE jid = ?)", (by, jid))
    server.start()


@pytest.fixture
def aged(server, alice):
    """Rooms of ten days: never spoken in, then, or today, recorded or not; and one of today."""
    for name in "silent", "spoken", "recent", "today", "dumb", "dumb-recent":
        room = muc.Room(name).create(alice, "me", persistentroom=True,
                                     enablearchiving=not name.startswith("dumb"))
        if name not in ("silent", "today"):
            room.say(alice, "Hail")
            room.expect_body(alice, "me", "Hail")
    age(server, **{name: 10 for name in ("silent", "spoken", "recent", "dumb", "dumb-recent")})
    again = server.client("alice", "a")
    for name in "recent", "dumb-recent":
        muc.Room(name).enter(again, "me")
        muc.Room(name).say(again, "Hail again")
        muc.Room(name).expect_body(again, "me", "Hail again")
    server.stop()  # and nobody is in a room
    with server.database() as db:
        db.execute("DELETE FROM entry WHERE owner >= ?", (muc.ROOM_ID_MIN,))  # as retention does
    server.start()
    return server


def left(server):
    return {row["jid"].split("@")[0] for row in server.rows("room", "list")}


def test_what_a_cleanup_would_destroy(aged):
    done = aged.ctl("room", "cleanup", "--older-than", "5d", "--dry-run")
    assert [row["jid"].split("@")[0] for row in done["rows"]] == ["dumb", "silent", "spoken"]
    assert done["text"] == "3 rooms would be destroyed"
    assert left(aged) == {"silent", "spoken", "recent", "today", "dumb", "dumb-recent"}
    assert aged.ctl("room", "cleanup", "--older-than", "264h")["text"] == "0 rooms were destroyed"


def test_a_cleanup_spares_rooms_that_are_used(aged):
    bob = aged.client("bob", "b")
    muc.Room("silent").enter(bob, "me")
    done = aged.ctl("room", "cleanup", "--older-than", "5")
    assert [row["jid"].split("@")[0] for row in done["rows"]] == ["dumb", "spoken"]
    assert left(aged) == {"silent", "recent", "today", "dumb-recent"}
    muc.Room("silent").leave(bob, "me")
    assert aged.ctl("room", "cleanup", "--older-than", "5")["text"] == "1 room was destroyed"
    aged.restart()
    assert left(aged) == {"recent", "today", "dumb-recent"}


def test_a_cleanup_goes_by_itself_if_the_setting_says_so(aged):
    aged.ctl("set", "muc.cleanup-days", "20", "--accept")
    aged.ctl("set", "muc.cleanup-days", "5", "--accept")
    until("they are gone", lambda: left(aged) == {"recent", "today", "dumb-recent"})
    aged.ctl("set", "muc.cleanup-days", "none")


def test_a_cleanup_needs_an_age(server):
    assert "--older-than is needed, for example 90d" in refusal(server, "room", "cleanup")
    for bad in "0", "-1", "many", "36501", "36h", "90x":
        assert f'older-than: found "{bad}"' in refusal(
            server, "room", "cleanup", f"--older-than={bad}")


def test_more_to_clean_up_than_a_page(server):
    for i in range(70):
        server.ctl("room", "create", f"r{i}@conference.localhost", "bob@localhost")
    age(server, **{f"r{i}": 3 for i in range(70)})
    assert server.ctl("room", "cleanup", "--older-than", "2")["text"] == "70 rooms were destroyed"
    assert left(server) == set()


def test_a_deleted_account_loses_its_affiliations(server, alice, bob):
    cave = muc.Room("cave").create(alice, "firstwitch", persistentroom=True)
    cave.set_affiliation(alice, "bob@localhost", "member")
    den = muc.Room("den").create(bob, "fox")
    den.enter(alice, "guest")
    den.set_affiliation(bob, "alice@localhost", "admin")
    until("she is", lambda: affiliations(server, den.jid).get("alice@localhost") == "admin")
    server.ctl("room", "create", "attic@conference.localhost", "alice@localhost")
    server.ctl("room", "affiliation", "attic@conference.localhost", "bob@localhost", "member")
    bob.result("set", f"<command xmlns='{COMMANDS}' node='urn:xmpp:hats:commands:assign' "
               "action='execute'>" + muc.submit("urn:xmpp:hats:commands", {
                   "hats#jid": "alice@localhost", "hats#uri": "urn:x:hat", "hats#title": "a hat"})
               + "</command>", to=den.jid)
    server.ctl("user", "del", "alice@localhost")
    for room, rest in ((cave.jid, {"bob@localhost": "member"}),
                       (den.jid, {"bob@localhost": "owner"}),
                       ("attic@conference.localhost", {"bob@localhost": "member"})):
        until("she has none", lambda r=room, e=rest: affiliations(server, r) == e)
    server.ctl("user", "add", "alice@localhost", "--password", "secret")  # this is another one
    own = den.enter(server.client("alice", "n"), "guest").own
    assert own.affiliation == "none" and own.element.find("{urn:xmpp:hats:0}hats") is None
    server.ctl("room", "owner", cave.jid, "bob@localhost")  # who is left takes it over
    server.restart()
    assert affiliations(server, cave.jid) == {"bob@localhost": "owner"}
    assert affiliations(server, "attic@conference.localhost") == {"bob@localhost": "member"}


def test_a_deleted_account_is_no_administrator(server):
    server.ctl("room-admin", "add", "bob@localhost")
    server.ctl("user", "del", "bob@localhost")
    until("he is off the list", lambda: server.rows("room-admin", "list") == [])


def test_metrics_count_rooms_and_who_is_in_them(server, alice, bob):
    def metrics():
        rows = {row["name"]: row["value"] for row in server.rows("metrics")}
        return tuple(rows[f"muster_{name}"] for name in (
            "rooms", "rooms_persistent", "room_occupants", "room_joins", "room_joins_refused"))

    assert metrics() == (0, 0, 0, 0, 0)
    cave = muc.Room("cave").create(alice, "firstwitch", persistentroom=True, membersonly=True)
    assert metrics() == (1, 1, 1, 1, 0)
    cave.refused(bob, "secondwitch")
    den = muc.Room("den").create(bob, "fox")
    den.enter(alice, "guest")
    assert metrics() == (2, 1, 3, 3, 1)
    den.leave(alice, "guest")
    den.leave(bob, "fox")
    until("the ad hoc room has ended", lambda: metrics() == (1, 1, 1, 3, 1))
    server.ctl("room", "create", "hall@conference.localhost", "bob@localhost")
    assert metrics()[:2] == (2, 2)
    server.restart()
    assert metrics()[:3] == (2, 2, 0)
    path = server.folder / "hall"
    server.ctl("room", "export", "hall@conference.localhost", path)
    server.ctl("room", "destroy", "hall@conference.localhost")
    assert metrics()[:3] == (1, 1, 0)
    server.ctl("room", "import", path)
    assert metrics()[:3] == (2, 2, 0)
    server.ctl("room", "destroy", "hall@conference.localhost")
    server.ctl("room", "destroy", "cave@conference.localhost")
    assert metrics()[:3] == (0, 0, 0)
