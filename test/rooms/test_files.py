"""Rooms in files: `room export`, `room import`."""
import datetime
import json
import stat

import pytest

from harness import muc
from harness.client import until
from harness.server import refusal
from rooms.test_archive import Page


def show(server, room):
    return server.rows("room", "show", room)[0]


CAVE = "cave@conference.localhost"
DAY_US = 86400 * 1000000
MESSAGES = [f"Round about the cauldron go {i} <&>" for i in range(20)]


@pytest.fixture
def cave(server):
    """A room with all that one can have."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    room = muc.Room("cave").create(alice, "firstwitch", persistentroom=True, enablearchiving=True,
                                   roomname="Witches & others", roomdesc="of the\nheath")
    room.set_affiliation(alice, "bob@localhost", "member", nick="secondwitch")
    room.set_affiliation(alice, "elsewhere.test", "outcast", reason="Far\toff")
    alice.result("set", CARD, to=CAVE)
    don(alice, "bob@localhost", "urn:x:hat#cook", "Cook & <taster>")
    room.enter(bob, "secondwitch")
    room.set_subject(alice, "Fire burn")
    for i, text in enumerate(MESSAGES):
        room.say((alice, bob)[i % 2], text)
        room.expect_body(bob, ("firstwitch", "secondwitch")[i % 2], text)
    until("all is recorded", lambda: show(server, CAVE)["messages"] >= len(MESSAGES))
    return room


CARD = ("<vCard xmlns='vcard-temp'><FN>Witches</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>iVBORw=="
        "</BINVAL></PHOTO></vCard>")
HATS = "urn:xmpp:hats:commands"


def don(client, jid, uri, title):
    """Gives somebody a hat (XEP-0317)."""
    client.result("set", "<command xmlns='http://jabber.org/protocol/commands' "
                  f"node='{HATS}:assign' action='execute'>"
                  + muc.submit(HATS, {"hats#jid": jid, "hats#uri": uri, "hats#title": title})
                  + "</command>", to=CAVE)


def export(server, name="cave.jsonl", room=CAVE):
    path = server.folder / name
    said = server.ctl("room", "export", room, path)["text"]
    return path, said


def occupant_id(entered):
    return entered.own.element.find(f"{{{muc.OCCUPANT_ID}}}occupant-id").get("id")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def history(server, room):
    """Ids, senders and texts of what a room recorded, from the database."""
    server.stop()
    with server.database() as db:
        rows = db.execute("SELECT e.id, m.at_us, m.remote, m.stanza FROM room r JOIN entry e ON "
                          "e.owner = r.id JOIN message m ON m.id = e.msg WHERE r.jid = ? "
                          "ORDER BY e.id", (room,)).fetchall()
    server.start()
    return rows


def test_a_room_goes_into_a_file(server, cave):
    path, said = export(server)
    found = lines(path)
    kinds = [line["type"] for line in found]
    messages = kinds.count("message")
    assert kinds == (["room"] + ["affiliation"] * 3 + ["hat", "card"] + ["message"] * messages
                     + ["end"])
    assert found[4] == {"type": "hat", "jid": "bob@localhost", "uri": "urn:x:hat#cook",
                        "title": "Cook & <taster>"}
    assert "iVBORw==" in found[5]["vcard"]
    assert said == f"written: affiliations 3, messages {messages}"
    assert found[0]["jid"] == CAVE and found[0]["creator"] == "alice@localhost"
    assert found[0]["config"]["name"] == "Witches & others"
    assert "Fire burn" in found[0]["subject"]
    assert {(a["jid"], a["affiliation"], a["nick"], a["reason"]) for a in found[1:4]} == {
        ("alice@localhost", "owner", "", ""), ("bob@localhost", "member", "secondwitch", ""),
        ("elsewhere.test", "outcast", "", "Far\toff")}
    said = [m["stanza"] for m in found if m["type"] == "message" and "<body>" in m["stanza"]]
    assert len(said) == len(MESSAGES)
    ids = [m["id"] for m in found if m["type"] == "message"]
    assert ids == sorted(set(ids))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_and_comes_back_as_it_was(server, cave):
    path, _ = export(server)
    before, row = history(server, CAVE), show(server, CAVE)
    affiliations = server.rows("room", "affiliations", CAVE)
    alice = server.client("alice", "c")
    own_id = occupant_id(cave.enter(alice, "firstwitch"))
    assert "there is such a room; nothing was changed" in refusal(server, "room", "import", path)
    server.ctl("room", "destroy", CAVE)
    assert server.ctl("room", "import", path)["text"] == (
        f"room {CAVE} imported: affiliations 3, messages {len(before)}")
    # it is there at once, with the same history and the same ids of its occupants
    again = server.client("bob", "b")
    entered = cave.enter(again, "secondwitch", history={"maxstanzas": 5})
    assert entered.bodies == MESSAGES[-5:]
    assert entered.subject.findtext("{jabber:client}subject") == "Fire burn"
    assert occupant_id(cave.enter(server.client("alice", "b"), "firstwitch")) == own_id
    hat = entered.own.element.find(".//{urn:xmpp:hats:0}hat")
    assert (hat.get("uri"), hat.get("title")) == ("urn:x:hat#cook", "Cook & <taster>")
    card = again.result("get", "<vCard xmlns='vcard-temp'/>", to=CAVE)
    assert card.findtext(".//{vcard-temp}BINVAL") == "iVBORw=="
    now = show(server, CAVE)
    for same in "name", "description", "created", "creator", "messages", "last_message", "subject":
        assert now[same] == row[same], same
    assert server.rows("room", "affiliations", CAVE) == affiliations
    assert history(server, CAVE) == before


def test_it_goes_to_another_server(server, cave, make_server):
    path, _ = export(server)
    other = make_server("alice")
    other.ctl("room", "import", path)
    again, _ = export(other, "again.jsonl")
    assert sorted(again.read_text().split("\n")) == sorted(path.read_text().split("\n"))
    carol = other.client("alice", "a")
    room = muc.Room("cave")
    assert room.enter(carol, "firstwitch").own.standing == ("owner", "moderator")
    room.say(carol, "Cool it")  # later messages get higher ids
    room.expect_body(carol, "firstwitch", "Cool it")
    until("it is recorded", lambda: show(other, CAVE)["messages"] > lines(path)[-1]["messages"])


@pytest.mark.sqlite
def test_a_room_whose_archive_cannot_be_read_is_refused(server, cave):
    """It would be exported without its messages, and give out ids that it has already."""
    before = cave.enter(server.client("alice", "b"), "firstwitch").bodies
    server.kill()  # nobody is in the room any more, so it is not loaded
    server.start()
    alice = server.client("alice", "x")
    with server.database() as db:
        db.execute("ALTER TABLE entry RENAME TO away")
    path = server.folder / "none.jsonl"
    refusal(server, "room", "export", CAVE, path)
    assert not path.exists()
    cave.knock(alice, "firstwitch")
    alice.expect(f"<presence from='{cave.at('firstwitch')}' type='error'><error type='wait'/>"
                 "</presence>")
    with server.database() as db:
        db.execute("ALTER TABLE away RENAME TO entry")
    until("it is there again", lambda: server.ctl_run("room", "export", CAVE, path).returncode == 0)
    assert lines(path)[-1]["messages"] > len(MESSAGES)
    assert cave.enter(alice, "firstwitch").bodies == before
    assert len(server.rows("room", "affiliations", CAVE)) == 3


def at_times(path, ids, hours_off=0):
    """Changes the ids and times of the messages of a file; hours_off: from ids to times."""
    all_of_it = lines(path)
    for line in all_of_it:
        if line["type"] == "message":
            line["id"] = ids(line["id"])
            at = datetime.datetime.fromtimestamp(line["id"] / 1e6 + hours_off * 3600,
                                                 datetime.timezone.utc)
            line["at"] = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    path.write_text("".join(json.dumps(line) + "\n" for line in all_of_it))


def multiply(path, times):
    """Writes each message so many times, all of them a microsecond apart."""
    *all_of_it, end = lines(path)
    messages = [line for line in all_of_it if line["type"] == "message"]
    rest = [line for line in all_of_it if line["type"] != "message"]
    more = [{**line, "id": messages[0]["id"] + i} for i, line in enumerate(messages * times)]
    path.write_text("".join(json.dumps(line) + "\n" for line in [
        *rest, *more, {**end, "messages": len(more)}]))


@pytest.mark.parametrize("young, times", [(1, 1), (300, 15)], ids=["few", "more than a page"])
def test_old_messages_expire_behind_young_ones(server, cave, make_server, young, times):
    """A pass reads 256 rows at a time, and ends its way along the log where all are young."""
    path, _ = export(server)
    multiply(path, times)
    at_times(path, lambda i: i - 40 * DAY_US)
    count = lines(path)[-1]["messages"]
    other = make_server("alice", "bob")
    alice = other.client("alice", "a")

    def chat(times):
        for _ in range(times):
            alice.send("<message to='bob@localhost' type='chat'><body>young</body></message>")
        alice.ping()
    chat(young)
    other.ctl("room", "import", path)
    chat(1)  # the newest stays
    other.ctl("set", "archive.retention", "50", "--accept")
    assert "messages deleted: 0" in str(other.ctl("archive", "expire"))
    other.ctl("set", "archive.retention", "30", "--accept")
    assert f"messages deleted: {count}" in str(other.ctl("archive", "expire"))


def test_messages_whose_times_are_off_their_ids_are_found_by_time(server, cave, make_server):
    """The clock of the server that they come from had stepped back."""
    path, _ = export(server)
    at_times(path, lambda i: i - DAY_US, -2)
    stamps = [line["at"] for line in lines(path) if line["type"] == "message"]
    other = make_server("alice")
    other.ctl("room", "import", path)
    for start in lambda: None, other.restart:
        start()
        alice, room = other.client("alice", "a"), muc.Room("cave")
        room.enter(alice, "firstwitch")
        between = ("start", stamps[0]), ("end", stamps[-1])
        assert [b for b in Page(alice, room, *between, page="<max>50</max>").bodies
                if b is not None] == MESSAGES


def test_more_messages_than_a_step(server):
    alice = server.client("alice", "a")
    room = muc.Room("cave").create(alice, "firstwitch", persistentroom=True, enablearchiving=True)
    room.say(alice, "one")
    room.expect_body(alice, "firstwitch", "one")
    until("it is recorded", lambda: show(server, CAVE)["messages"] >= 1)
    path, _ = export(server)
    found = lines(path)
    one = next(line for line in found if line["type"] == "message" and "one" in line["stanza"])
    many = [{**one, "id": one["id"] + i, "stanza": one["stanza"].replace("one", f"n{i}")}
            for i in range(1000)]
    head = [line for line in found if line["type"] in ("room", "affiliation")]
    everything = [*head, *many, {"type": "end", "affiliations": len(head) - 1, "messages": 1000}]
    path.write_text("".join(json.dumps(line) + "\n" for line in everything))
    server.ctl("room", "destroy", CAVE)
    server.ctl("room", "import", path)
    entered = room.enter(server.client("alice", "b"), "firstwitch", history={"maxstanzas": 3})
    assert entered.bodies == ["n997", "n998", "n999"]
    assert len(history(server, CAVE)) == 1000
    back, _ = export(server, "back.jsonl")
    assert [line["id"] for line in lines(back) if line["type"] == "message"] == \
        [line["id"] for line in many]


def line_with(path, kind):
    return next(i for i, line in enumerate(lines(path)) if line["type"] == kind)


def change(path, kind, **values):
    """Changes the first line of a kind; None: leaves it out. Returns its number."""
    all_of_it = lines(path)
    at = line_with(path, kind)
    for key, value in values.items():
        if value is None:
            del all_of_it[at][key]
        else:
            all_of_it[at][key] = value
    path.write_text("".join(json.dumps(line) + "\n" for line in all_of_it))
    return at + 1


@pytest.mark.parametrize("kind, values, text", [
    ("room", {"format": 2}, '"format": found another kind of value, allowed: 1'),
    ("room", {"jid": "cave"}, '"jid": found cave, allowed: the address of a room'),
    ("room", {"jid": None}, '"jid" is missing'),
    ("room", {"created": "yesterday"}, '"created": found yesterday, allowed: a time such as'),
    ("room", {"secret": "AAAA"}, '"secret": found AAAA, allowed: 32 bytes in base64'),
    ("room", {"config": {"name": 5}}, '"config": found another kind of value, allowed: an object'),
    ("room", {"config": {"colour": "red"}}, '"config": found colour=red, allowed: the values'),
    ("room", {"config": {"members_only": "maybe"}}, '"config": found members_only=maybe'),
    ("room", {"subject": "<message"}, '"subject": found <message, allowed: a message from'),
    ("room", {"subject": "<message from='x@y' type='groupchat'/>"}, "a message from the room"),
    ("room", {"type": "hall"}, '"type": found hall, allowed: room, affiliation, hat, card,'),
    ("affiliation", {"affiliation": "king"}, '"affiliation": found king, allowed: owner, admin'),
    ("affiliation", {"jid": "Alice@localhost"}, '"jid": found Alice@localhost, allowed: a bare'),
    ("affiliation", {"jid": "bob@localhost/x"}, '"jid": found bob@localhost/x, allowed: a bare'),
    ("affiliation", {"nick": " two "}, '"nick": found  two , allowed: a nickname'),
    ("affiliation", {"reason": "\u0007"}, "allowed: a text without control characters"),
    ("affiliation", {"follows": 1}, '"follows": found another kind of value, allowed: true or'),
    ("hat", {"uri": "a hat"}, "allowed: at most 1000 hats, which are URIs with titles"),
    ("hat", {"title": "\u0001"}, '"title": found \u0001, allowed: a text without control'),
    ("hat", {"jid": "Bob@localhost"}, '"jid": found Bob@localhost, allowed: a bare address'),
    ("card", {"vcard": "<vCard xmlns='vcard-temp'><FN>"}, "allowed: an XML element"),
    ("card", {"vcard": "<query xmlns='vcard-temp'/>"}, '"vcard": allowed: a vCard'),
    ("message", {"id": 0}, '"id": found another kind of value, allowed: an archive id'),
    ("message", {"id": -1}, '"id": found another kind of value, allowed: a number from 0'),
    ("message", {"id": 4 * 10**18}, "which is in the future"),
    ("message", {"at": "2026-02-30T00:00:00Z"}, '"at": found 2026-02-30T00:00:00Z, allowed: a'),
    ("message", {"at": "2099-01-01T00:00:00Z"}, '"at": found a time more than a day from "id"'),
    ("message", {"stanza": "<iq xmlns='jabber:client'/>"}, "allowed: a message"),
    ("message", {"stanza": "<message from='den@conference.localhost/x' type='groupchat'/>"},
     "found a message from den@conference.localhost, allowed: from the room"),
    ("end", {"messages": 5}, "found the end of 3 affiliations and 5 messages behind 3 and"),
])
def test_a_line_that_is_wrong_changes_nothing(server, cave, kind, values, text):
    path, _ = export(server)
    server.ctl("room", "destroy", CAVE)
    number = change(path, kind, **values)
    said = refusal(server, "room", "import", path)
    assert f"line {number}: " in said and text in said and "nothing was changed" in said
    assert server.rows("room", "list") == []


def test_lines_in_another_order(server, cave):
    path, _ = export(server)
    server.ctl("room", "destroy", CAVE)
    right = lines(path)
    messages = [line for line in right if line["type"] == "message"]

    def said(*all_of_it):
        path.write_text("".join(json.dumps(line) + "\n" for line in all_of_it))
        text = refusal(server, "room", "import", path)
        assert server.rows("room", "list") == []
        return text

    order = "allowed: one room, its affiliations, hats, card, messages, the end"
    assert f"line 1: {order}" in said(*right[1:])
    assert f"line 2: {order}" in said(right[0], right[0])
    assert f"line 3: {order}" in said(right[0], messages[0], right[1])
    alice = next(line for line in right if line.get("jid") == "alice@localhost")
    assert "found alice@localhost twice" in said(right[0], alice, alice)
    assert "allowed: rising ones" in said(right[0], messages[1], messages[0])
    assert "the end is missing" in said(*right[:-1])
    assert order in said(*right, messages[0])
    path.write_text("not JSON\n")
    assert "line 1: found a line that is no JSON object" in refusal(server, "room", "import", path)
    path.write_text("")
    assert "the end is missing" in refusal(server, "room", "import", path)
    for before in 0, 2:
        path.write_text("".join(json.dumps(line) + "\n" for line in right[:before]) +
                        "x" * (9 << 20))
        assert f"line {before + 1}: found a line of more than 8388608 bytes" in refusal(
            server, "room", "import", path)


def test_files_that_cannot_be(server, cave):
    path, _ = export(server)
    assert "File exists" in refusal(server, "room", "export", CAVE, path)
    assert "No such file or directory" in refusal(server, "room", "export", CAVE,
                                                  server.folder / "none" / "x")
    assert "No such file or directory" in refusal(server, "room", "import", server.folder / "none")
    assert "it cannot be read: Is a directory" in refusal(server, "room", "import", server.folder)
    muc.Room("den").create(server.client("alice", "a2"), "me")
    assert "den@conference.localhost is an ad hoc room" in refusal(
        server, "room", "export", "den@conference.localhost", server.folder / "den")
    assert not (server.folder / "den").exists()


def test_what_the_settings_do_not_allow(server, cave):
    path, _ = export(server)
    server.ctl("room", "destroy", CAVE)
    server.ctl("set", "muc.affiliations-max", "2")
    assert "more affiliations than muc.affiliations-max" in refusal(server, "room", "import", path)
    server.ctl("set", "muc.affiliations-max", "--default")
    server.ctl("set", "muc.persistent", "off")
    assert "muc.persistent is off" in refusal(server, "room", "import", path)
    server.ctl("set", "muc.persistent", "on")
    server.ctl("room", "create", "den@conference.localhost", "bob@localhost")
    server.ctl("set", "muc.persistent-max", "1")
    assert "muc.persistent-max allows no more rooms" in refusal(server, "room", "import", path)
    assert [row["jid"] for row in server.rows("room", "list")] == ["den@conference.localhost"]
    server.stop()
    with server.database() as db:
        assert db.execute("SELECT count(*) FROM room_import").fetchone() == (0,)
    server.start()

    def orphans(table, column):
        with server.database(read_only=True) as db:
            return db.execute(f"SELECT count(*) FROM {table} WHERE {column} >= ? AND {column} NOT "
                              "IN (SELECT id FROM room)", (muc.ROOM_ID_MIN,)).fetchone()[0]

    assert orphans("room_affiliation", "room") == 0
    until("what was stored of it is gone", lambda: orphans("entry", "owner") == 0)
    server.ctl("set", "muc.persistent-max", "--default")
    change(path, "room", jid="cave@elsewhere.test")
    assert "a message from the room" in refusal(server, "room", "import", path)
    path.write_text(path.read_text().replace("cave@conference.localhost", "cave@elsewhere.test"))
    assert "there are no rooms at elsewhere.test" in refusal(server, "room", "import", path)


def test_a_room_that_is_destroyed_while_it_is_written(server):
    alice = server.client("alice", "a")
    room = muc.Room("cave").create(alice, "firstwitch", persistentroom=True)
    server.ctl("set", "muc.message-rate", "none")
    server.ctl("set", "muc.message-burst", "100000")
    for _ in range(3000):
        room.say(alice, "Double, double" * 20)
    room.flush(alice)
    until("all is recorded", lambda: show(server, CAVE)["messages"] == 3000)
    path = server.folder / "cave.jsonl"
    with server.ctl_start("room", "export", CAVE, path) as export_run:
        until("it is being written", path.exists)
        server.ctl("room", "destroy", CAVE)
        out, err = export_run.communicate()
    if export_run.returncode == 0:  # it was the faster one
        assert "messages 3000" in out and lines(path)[-1]["messages"] == 3000
    else:
        assert "was destroyed meanwhile; no file was written" in err and not path.exists()


def test_a_long_list_of_members(server):
    room = muc.Room("cave").create(server.client("alice", "a"), "firstwitch", persistentroom=True)
    path, _ = export(server)
    head = [line for line in lines(path) if line["type"] in ("room", "affiliation")]
    many = [{**head[1], "jid": f"m{i}@elsewhere.test", "affiliation": "member",
             "reason": f"because {i}"} for i in range(10_000)]
    people = [*head[1:], *many]
    path.write_text("".join(json.dumps(line) + "\n" for line in (
        head[0], *people, {"type": "end", "affiliations": len(people), "messages": 0})))
    server.ctl("room", "destroy", CAVE)
    assert "imported: affiliations 10001" in server.ctl("room", "import", path)["text"]
    server.restart()
    rows = server.rows("room", "affiliations", CAVE)
    assert {(r["jid"], r["reason"]) for r in rows if r["affiliation"] == "member"} == \
        {(m["jid"], m["reason"]) for m in many}
    again, _ = export(server, "again.jsonl")  # more than one piece on its way from another node
    assert {line["jid"]: line for line in lines(again) if line["type"] == "affiliation"} == \
        {line["jid"]: line for line in people}
    shown = show(server, CAVE)["members"].split(" and ")
    assert shown[1] == f"{10_000 - len(shown[0].split(' '))} more"
    assert room.enter(server.client("alice", "b"), "firstwitch").own.affiliation == "owner"


def test_what_an_import_left_that_did_not_end_goes(server, cave):
    server.stop()
    with server.database() as db:
        owner = muc.ROOM_ID_MIN + 5
        db.execute("INSERT INTO message(at_us, sender, rcpt, sender_entry, rcpt_entry, flags,"
                   " origin, pending_out, stanza) SELECT at_us, 0, ?, 0, rcpt_entry, 0, 0, 0,"
                   " stanza FROM message ORDER BY id LIMIT 10", (owner,))
        db.execute("INSERT INTO entry(owner, id, peer, msg, flags) SELECT rcpt, rcpt_entry, 0, id,"
                   " 0 FROM message WHERE rcpt = ?", (owner,))
        db.execute("INSERT INTO room_affiliation(room, jid, affiliation, nick, reason, follows)"
                   " VALUES(?, 'bob@localhost', 2, '', '', 0)", (owner,))
        db.execute("INSERT INTO room_import VALUES(?, 4000000000000000)", (owner,))
    server.start()

    def left():
        with server.database(read_only=True) as db:
            return [db.execute(sql, (owner,)).fetchone()[0] for sql in (
                "SELECT count(*) FROM entry WHERE owner = ?",
                "SELECT count(*) FROM message WHERE rcpt = ?",
                "SELECT count(*) FROM room_affiliation WHERE room = ?",
                "SELECT count(*) FROM room_import WHERE owner = ?",
                "SELECT count(*) FROM muc_doomed WHERE owner = ?")]

    until("it is gone", lambda: left()[0] == 0 and left()[2:] == [0, 0, 0])
    assert left()[1] <= 1  # the newest row of the log stays
    assert show(server, CAVE)["messages"] >= len(MESSAGES)


def test_hats_to_choose_from_are_in_the_file(server, cave, make_server):
    inner = muc.submit(HATS, {"hats#uri": "urn:x:hat#tester", "hats#title": "tester"})
    server.client("alice", "b").result(
        "set", f"<command xmlns='http://jabber.org/protocol/commands' node='{HATS}:create'>"
        f"{inner}</command>", to=CAVE)
    path, _ = export(server)
    assert {"type": "hat", "jid": "", "uri": "urn:x:hat#tester", "title": "tester"} in lines(path)
    other = make_server("alice")
    other.ctl("room", "import", path)
    again, _ = export(other, "again.jsonl")
    assert sorted(lines(again), key=str) == sorted(lines(path), key=str)
