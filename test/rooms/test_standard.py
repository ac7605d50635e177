"""What XEP-0045 says of smaller things, and what operators see of a room's past."""
import json

import pytest

from harness import muc, xml
from harness.client import until
from harness.muc import Room
from rooms.test_archive import Page

ASK = "<query xmlns='urn:test:ask'/>"


@pytest.fixture
def cave(alice, bob, carol):
    return Room("cave").gather(owner=alice, b=bob, c=carol)


def hide(room, client, nick):
    client.send(f"<presence to='{room.at(nick)}'><x xmlns='{muc.NS}'>"
                f"<hidden xmlns='{muc.ROOMS}'/></x></presence>")


# --- errors about the address ---


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("nick", ["", " "])
def test_no_nickname_no_occupant_jid(alice, bob, there, nick):
    """jid-malformed comes from the room: there is no such occupant."""
    room = Room("cave")
    if there:
        room.create(alice, "owner")
    room.knock(bob, nick)
    error = bob.expect("<presence type='error'/>")
    assert (error.get("from"), xml.condition(error)) == (room.jid, "jid-malformed") or \
        error.get("from") == "conference.localhost"


# --- requests between occupants ---


def asked(room, client, by):
    return client.expect(lambda e: e.tag.endswith("}iq") and e.get("type") == "get"
                         and e.get("from") == room.at(by))


def ask(room, client, nick, ident):
    client.send(f"<iq type='get' id='{ident}' to='{room.at(nick)}'>{ASK}</iq>")


@pytest.mark.parametrize("how", ["leave", "kick", "cut"])
def test_who_leaves_without_an_answer_is_answered_for(alice, bob, cave, how):
    ask(cave, alice, "b", "q1")
    asked(cave, bob, "owner")
    if how == "leave":
        cave.leave(bob, "b")
    elif how == "kick":
        cave.set_role(alice, "b", "none")
    else:
        bob.cut()
    error = alice.expect("<iq type='error' id='q1'/>")
    assert error.get("from") == cave.at("b")
    assert xml.condition(error) == "recipient-unavailable"


def test_an_answer_finds_who_asked_by_another_nickname(alice, bob, cave):
    ask(cave, alice, "b", "q1")
    request = asked(cave, bob, "owner")
    alice.send(f"<presence to='{cave.at('queen')}'/>")
    cave.presence(bob, "queen")
    bob.send(f"<iq type='result' id='{request.get('id')}' to='{request.get('from')}'/>")
    assert alice.expect("<iq type='result' id='q1'/>").get("from") == cave.at("b")


def test_an_answer_comes_from_the_nickname_that_was_asked(alice, bob, cave):
    ask(cave, alice, "b", "q1")
    request = asked(cave, bob, "owner")
    bob.send(f"<presence to='{cave.at('bee')}'/>")
    cave.presence(alice, "bee")
    bob.send(f"<iq type='result' id='{request.get('id')}' to='{request.get('from')}'/>")
    assert alice.expect("<iq type='result' id='q1'/>").get("from") == cave.at("b")


def test_an_answer_comes_once(alice, bob, carol, cave):
    """Neither a second answer, nor one after the error, nor one of somebody else, gets through."""
    ask(cave, alice, "b", "q1")
    request = asked(cave, bob, "owner")
    result = f"<iq type='result' id='{request.get('id')}' to='{request.get('from')}'/>"
    carol.send(result)
    cave.leave(bob, "b")
    alice.expect("<iq type='error' id='q1'/>")
    bob.send(result)
    cave.expect_nothing(alice, "<iq id='q1'/>", after=[bob, carol])


# --- hidden occupants ---


@pytest.mark.parametrize("looks", ["ghost", "GHOST", "gh\u043est"])
@pytest.mark.parametrize("way", ["enter", "rename"])
def test_a_hidden_nickname_is_not_known_by_conflict(server, alice, bob, carol, cave, looks, way):
    """Who wants its nickname gets it; whoever is hidden is called otherwise from then on."""
    cave.leave(alice, "owner")
    hide(cave, alice, "ghost")
    cave.entered(alice)
    cave.forget(alice, bob, carol)
    if way == "enter":
        cave.leave(bob, "b")
        assert cave.enter(bob, looks).own.nick
    else:
        bob.send(f"<presence to='{cave.at(looks)}'/>")
        while 110 not in cave.presence(bob, looks).codes:
            pass
    assert not [e for e in bob.inbox if e.get("type") == "error"]
    hidden = [row for row in server.rows("room", "occupants", cave.jid) if row["hidden"]]
    assert [row["jid"] for row in hidden] == [alice.jid]
    if looks != "gh\u043est":
        assert hidden[0]["nick"].startswith("hidden-")
        gone = cave.gone(alice, "ghost")
        assert gone.new_nick == hidden[0]["nick"] and {303, 110} <= gone.codes
    cave.say(carol, "who is there?")
    cave.expect_body(alice, "c", "who is there?")
    cave.expect_nothing(carol, f"<presence from='{cave.at(hidden[0]['nick'])}'/>", after=[alice])


# --- the form of a large room ---


@pytest.mark.parametrize("each", [200, 300, 500])
def test_the_form_of_a_room_with_many_owners(server, alice, each):
    room = Room("board").create(alice, "owner", persistentroom=True)
    for kind in ("owner", "admin"):
        people = [muc.item(jid=f"{kind}{i}@localhost", affiliation=kind) for i in range(each)]
        for at in range(0, each, 100):
            room.change(alice, *people[at:at + 100])
    reply = room.owner(alice, "get", "")
    form = reply.find(f".//{{{muc.DATA}}}x[@type='form']")
    values = {f.get("var"): [v.text or "" for v in f.findall(f"{{{muc.DATA}}}value")]
              for f in form.iter(f"{{{muc.DATA}}}field") if f.get("var")}
    inner = "".join(muc.field(var, value) for var, value in values.items())
    answer = room.owner(alice, "set", f"<x xmlns='{muc.DATA}' type='submit'>{inner}</x>")
    assert answer.get("type") == "result", xml.canonical(answer)
    rows = server.rows("room", "affiliations", room.jid)
    assert sum(row["affiliation"] == "admin" for row in rows) == each
    assert sum(row["affiliation"] == "owner" for row in rows) == each + 1


# --- moderation ---


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("way", ["moderate", "retract"])
def test_a_subject_that_was_taken_back_is_not_sent(server, alice, bob, way, persistent):
    room = Room("cave").create(alice, "owner", persistentroom=persistent)
    room.enter(bob, "b")
    room.set_subject(bob, "rude words")
    said = room.expect_subject(bob, "b", "rude words")
    ident = said.find(f"{{{xml.SID}}}stanza-id").get("id")
    if way == "moderate":
        alice.result("set", f"<moderate xmlns='urn:xmpp:message-moderate:1' id='{ident}'>"
                            "<retract xmlns='urn:xmpp:message-retract:1'/></moderate>", to=room.jid)
    else:
        room.send(alice, f"<retract xmlns='urn:xmpp:message-retract:1' id='{ident}'/>"
                         "<body>not mine</body>")
        room.flush(alice)
        assert "rude words" in xml.canonical(room.enter(bob, "b").subject), "it is not the author"
        room.send(bob, f"<retract xmlns='urn:xmpp:message-retract:1' id='{ident}'/>"
                       "<body>taken back</body>")
        room.expect_body(alice, "b", "taken back")
    carol = server.client("carol", "c")
    assert not room.enter(carol, "c").subject.findtext(f"{{{xml.CLIENT}}}subject")
    if persistent:
        server.restart()
        carol = server.client("carol", "c")
        assert not room.enter(carol, "c").subject.findtext(f"{{{xml.CLIENT}}}subject")


# --- who came and went; who owns what ---


def test_operators_read_who_came_and_went(make_server, tmp_path):
    server = make_server("alice", "bob", settings={"muc.archive-joins": True})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = Room("cave").create(alice, "first", persistentroom=True)
    cave.enter(bob, "second")
    cave.say(bob, "hail")
    cave.expect_body(bob, "second", "hail")
    cave.leave(bob, "second")

    def joins(*args):
        return server.ctl("room", "joins", cave.jid, *args)

    until("all is recorded", lambda: len(joins()["rows"]) >= 3)
    rows = joins()["rows"]
    assert [(r["event"], r["nick"], r["jid"]) for r in rows] == [
        ("enter", "first", alice.jid), ("enter", "second", bob.jid), ("leave", "second", bob.jid)]
    assert rows[0]["time"] > "2020"
    first = joins("--limit", "1")
    assert len(first["rows"]) == 1 and "go on with --after" in first["text"]
    assert joins("--after", first["text"].split()[-1])["rows"] == rows[1:]
    assert Page(alice, cave).bodies == ["hail"], "clients are not told"
    path = tmp_path / "cave.jsonl"
    server.ctl("room", "export", cave.jid, path)
    stanzas = [json.loads(line).get("stanza", "") for line in path.read_text().splitlines()]
    assert [s[:9] for s in stanzas if s] == ["<presence", "<presence", "<message ", "<presence"]
    server.ctl("room", "destroy", cave.jid)
    server.ctl("room", "import", path)
    until("it is imported", lambda: joins()["rows"] == rows)
    assert Page(alice, cave).bodies == ["hail"]


@pytest.mark.parametrize("how", ["at first", "persistent later", "recorded later", "by operator"])
def test_the_record_of_who_came_begins_with_who_is_there(server, alice, bob, how):
    """Nobody leaves who has not entered; who was there when recording began entered then."""
    if how != "recorded later":
        server.ctl("set", "muc.archive-joins", "on")
    else:
        server.ctl("set", "muc.owner-archive", "on")
    cave = Room("cave").create(alice, "first", persistentroom=how in ("at first", "recorded later"))
    cave.enter(bob, "second")
    if how == "persistent later":
        cave.configure(alice, persistentroom=True)
    elif how == "recorded later":
        config = muc.submit(muc.CONFIG, {"muster#roomconfig_archivejoins": True})
        alice.result("set", f"<query xmlns='{muc.OWNER}'>{config}</query>", to=cave.jid)
    elif how == "by operator":
        server.ctl("room", "set", cave.jid, "persistentroom", "on")
    cave.configure(alice, roomname="again")  # nothing begins that was begun
    for client, nick in ((bob, "second"), (alice, "first")):
        cave.leave(client, nick)

    def joins():
        return [(r["event"], r["nick"]) for r in server.rows("room", "joins", cave.jid)]

    until("all is recorded", lambda: len(joins()) >= 4)
    assert joins() == [("enter", "first"), ("enter", "second"), ("leave", "second"),
                       ("leave", "first")]


def test_the_report_names_members_and_all_owners(server, alice):
    for persistent in (False, True):
        room = Room(f"board{int(persistent)}").create(alice, "owner", persistentroom=persistent)
        room.change(alice, *(muc.item(jid=f"o{i:02}@localhost", affiliation="owner")
                             for i in range(30)))
        room.change(alice, *(muc.item(jid=f"m{i:02}@localhost", affiliation="member")
                             for i in range(30)))
        row = next(r for r in server.rows("room", "report") if r["jid"] == room.jid)
        assert sorted(row["members"].split()) == [f"m{i:02}@localhost" for i in range(30)]
        assert sorted(row["owners"].split()) == ["alice@localhost",
                                                 *(f"o{i:02}@localhost" for i in range(30))]
