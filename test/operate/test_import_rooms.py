"""Rooms that come from Prosody with its users."""
import json

import pytest

from harness import ejabberd, federation, muc, prosody
from harness.client import until
from harness.imports import BEGIN_US, MANY, prosody_file, prosody_item, times
from harness.server import Failed, free_ports
from rooms.test_archive import Page

HOST, SERVICE = "partner.example", "conference.partner.example"


def fields(server, room):
    return {r["field"]: r["value"] for r in server.rows("room", "fields", room)}


def people(server, room):
    return {(r["jid"], r["affiliation"], r["nick"])
            for r in server.rows("room", "affiliations", room)}


@pytest.mark.skipif(not prosody.is_here(), reason="no Prosody")
@pytest.mark.parametrize("sql", prosody.STORAGES, ids=["files", "sql"])
def test_rooms_of_prosody(make_server, tmp_path, sql):
    cert = federation.Authority(tmp_path).issue("partner", HOST)
    theirs = prosody.Prosody(
        tmp_path, HOST, dict(zip(("c2s", "s2s", "dns"), free_ports(3))), ["bob", "carol"],
        authority=tmp_path / "ca.pem", more='"mam";', sql=sql, **cert,
        conference='modules_enabled = { "muc_mam" }')
    try:
        bob, carol = theirs.client("bob", "b"), theirs.client("carol", "c")
        cave = muc.Room("cave", HOST)
        cave.knock(bob, "witch")
        bob.expect("<message type='groupchat'><subject/></message>")
        cave.configure(bob, roomname="Witches & \\ others", roomdesc="of the\nheath",
                       persistentroom=True, publicroom=False, membersonly=True, whois="anyone",
                       changesubject=True, roomsecret="boil", historylength=7,
                       enablearchiving=True)
        cave.set_affiliation(bob, f"carol@{HOST}", "admin", nick="cook")
        cave.set_affiliation(bob, "spam@elsewhere.example", "outcast")
        cave.knock(carol, "cook", password="boil")
        carol.expect("<message type='groupchat'><subject/></message>")
        cave.set_subject(bob, "Fire & burn")
        carol.expect("<message type='groupchat'><subject>Fire &amp; burn</subject></message>")
        for i in range(6):
            cave.say((bob, carol)[i % 2], f"round {i} <&>")
            bob.expect(f"<message type='groupchat'><body>round {i} &lt;&amp;&gt;</body></message>")
        gone = muc.Room("gone", HOST)
        gone.knock(bob, "witch")
        bob.expect(f"<presence from='{gone}/witch'/>")
    finally:
        theirs.finish()
    ours = make_server(domains=[HOST])
    where = f"cave@{SERVICE}"
    for more, text in (["--dry-run"], "users that would be imported: 2,"), (
            [], "users imported: 2, there already: 0, refused: 0;"), (
            ["--replace"], "users imported: 2, there already: 0, refused: 0;"):
        answer = ours.bring("prosody", str(tmp_path / "data"), *more)
        assert answer["text"].startswith(text)
        there = more == ["--replace"]
        assert f": {0 if there else 1}, there already: {int(there)}, refused: 0" in answer[
            "text"].rpartition("; rooms ")[2]
        said = {r["what"] for r in answer["rows"] if r["user"] == where}
        assert said == ({"is there already; a room is never replaced"} if there else set())
        assert len(ours.rows("room", "list")) == (0 if more == ["--dry-run"] else 1)
    is_ = fields(ours, where)
    assert {k: is_[k] for k in ("roomname", "roomdesc", "membersonly", "publicroom", "whois",
                                "passwordprotectedroom", "changesubject", "enablearchiving",
                                "maxhistoryfetch")} == {
        "roomname": "Witches & \\ others", "roomdesc": "of the\nheath", "membersonly": "on",
        "publicroom": "off", "whois": "anyone", "passwordprotectedroom": "on",
        "changesubject": "on", "enablearchiving": "on",
        "maxhistoryfetch": "7"}
    assert people(ours, where) == {(f"bob@{HOST}", "owner", ""), (f"carol@{HOST}", "admin", "cook"),
                                   ("spam@elsewhere.example", "outcast", "")}
    bob = ours.client("bob", "secret")
    got = cave.enter(bob, "witch", password="boil")
    assert got.own.standing == ("owner", "moderator")
    assert got.subject.findtext("{jabber:client}subject") == "Fire & burn"
    found = [b for b in Page(bob, cave).bodies if b is not None]
    assert found == [f"round {i} <&>" for i in range(6)]


@pytest.mark.skipif(not ejabberd.is_here(), reason="no ejabberd")
def test_rooms_of_ejabberd(make_server, tmp_path):
    cert = federation.Authority(tmp_path).issue("partner", HOST)
    theirs = ejabberd.Ejabberd(
        tmp_path, HOST, dict(zip(("c2s", "s2s", "dns"), free_ports(3))), ["bob", "carol"],
        authority=tmp_path / "ca.pem", **cert, more="mod_mam: {}")
    dump = tmp_path / "dump.txt"
    try:
        bob, carol = theirs.client("bob", "b"), theirs.client("carol", "c")
        cave = muc.Room("cave", HOST)
        cave.knock(bob, "witch")
        bob.expect("<message type='groupchat'><subject/></message>")
        cave.configure(bob, roomname="Witches & \\ Übrige", roomdesc="of the\nheath",
                       persistentroom=True, publicroom=False, membersonly=True, whois="anyone",
                       changesubject=True, passwordprotectedroom=True, roomsecret="boil",
                       maxusers="100", mam=True)
        cave.set_affiliation(bob, f"carol@{HOST}", "admin")
        cave.set_affiliation(bob, "spam@elsewhere.example", "outcast")
        cave.knock(carol, "cook", password="boil")
        carol.expect("<message type='groupchat'><subject/></message>")
        cave.set_subject(bob, "Fire & burn")
        carol.expect("<message type='groupchat'><subject>Fire &amp; burn</subject></message>")
        for i in range(6):
            cave.say((bob, carol)[i % 2], f"round {i} <&> É")
            bob.expect(f"<message type='groupchat'><body>round {i} &lt;&amp;&gt; É</body>"
                       "</message>")
        gone = muc.Room("gone", HOST)
        gone.knock(bob, "witch")
        bob.expect(f"<presence from='{gone}/witch'/>")
        theirs.dump(dump)
    finally:
        theirs.finish()
    ours = make_server(domains=[HOST])
    where = f"cave@{SERVICE}"
    for more, rooms in (["--dry-run"], "1, there already: 0"), ([], "1, there already: 0"), (
            ["--replace"], "0, there already: 1"):
        answer = ours.bring("ejabberd", str(dump), *more)
        assert answer["text"].rpartition("; rooms ")[2].partition(": ")[2] == f"{rooms}, refused: 0"
        assert {r["what"] for r in answer["rows"] if not (
            r["user"] == "" and r["what"].startswith("settings "))} == (
            {"is there already; a room is never replaced"} if "--replace" in more else set())
    is_ = fields(ours, where)
    assert {k: is_[k] for k in ("roomname", "roomdesc", "membersonly", "publicroom", "whois",
                                "passwordprotectedroom", "changesubject", "enablearchiving",
                                "maxusers", "moderatedroom")} == {
        "roomname": "Witches & \\ Übrige", "roomdesc": "of the\nheath", "membersonly": "on",
        "publicroom": "off", "whois": "anyone", "passwordprotectedroom": "on",
        "changesubject": "on", "enablearchiving": "on", "maxusers": "100", "moderatedroom": "off"}
    assert people(ours, where) == {(f"bob@{HOST}", "owner", ""), (f"carol@{HOST}", "admin", ""),
                                   ("spam@elsewhere.example", "outcast", "")}
    bob = ours.client("bob", "secret")
    got = cave.enter(bob, "witch", password="boil")
    assert got.own.standing == ("owner", "moderator")
    assert got.subject.findtext("{jabber:client}subject") == "Fire & burn"
    page = Page(bob, cave)
    assert [b for b in page.bodies if b is not None] == [f"round {i} <&> É" for i in range(6)]
    assert [m.get("from") for m in page.messages][-2:] == [f"{where}/witch", f"{where}/cook"]


def config(name="tea", more="", affiliations='["juliet@localhost"] = "owner";', persistent="true"):
    return (f'return {{ ["_jid"] = "{name}@conference.localhost"; {affiliations}\n'
            f'["_data"] = {{ ["persistent"] = {persistent}; {more} }};\n'
            '["_affiliation_data"] = { ["romeo@localhost"] = { ["reserved_nickname"] = "R"; }; };\n'
            '};')


@pytest.fixture
def data(tmp_path):
    prosody_file(tmp_path / "data", "localhost", "accounts", "juliet.dat",
                 'return { ["password"] = "x"; };')
    return tmp_path / "data"


def room(data, text, name="tea", log=""):
    prosody_file(data, "conference.localhost", "config", f"{name}.dat", text)
    if log:
        prosody_file(data, "conference.localhost", "muc_log", f"{name}.list", log)


TEA = "tea@conference.localhost"


def said_of(answer, jid=TEA):
    return sorted(r["what"] for r in answer["rows"] if r["user"] == jid)


def test_a_long_archive_of_a_room(server, data, make_server, tmp_path):
    """It comes whole, and goes and comes again as a file of `room export`."""
    room(data, config(), log="".join(
        prosody_item(BEGIN_US + i * 250_000, f"line {i}", f"{TEA}/a", TEA, "groupchat")
        for i in range(MANY)))
    assert said_of(server.bring("prosody", str(data))) == []
    juliet = server.client("juliet", password="x")
    tea = muc.Room("tea")
    tea.enter(juliet, "j")
    found, after = [], ""
    while True:
        page = Page(juliet, tea, page=f"<max>200</max>{after}")
        found += zip(page.stamps, page.bodies)
        if page.complete:
            break
        after = f"<after>{page.last}</after>"
    assert [(times(at), body) for at, body in found] == [
        ((BEGIN_US + i * 250_000) / 10**6, f"line {i}") for i in range(MANY)]
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    server.ctl("room", "export", TEA, str(one))
    other = make_server()
    assert f"messages {MANY}" in other.ctl("room", "import", str(one), "--dry-run")["text"]
    assert other.rows("room", "list") == []
    other.ctl("room", "import", str(one))
    with pytest.raises(Failed, match="there is such a room"):
        other.ctl("room", "import", str(one), "--dry-run")
    other.ctl("room", "export", TEA, str(two))
    first, second = ([json.loads(line) for line in path.read_text().splitlines()]
                     for path in (one, two))
    assert first == second


def test_what_of_a_room_does_not_come_along(server, data):
    """The report says it; the room comes all the same, and not twice."""
    presence = prosody_item(BEGIN_US, "", f"{TEA}/a", TEA).replace('"message"', '"presence"')
    room(data, config(more='["language"] = "no tag!"; ["name"] = "a\\nb"; ["urn:x"] = { 1 };'
                           ' ["moderated"] = true; ["history_length"] = "many";',
                      affiliations='["@"] = "member"; ["romeo@localhost"] = "member";'
                                   ' ["elsewhere.example"] = "member"; ["b.example"] = "outcast";'
                                   ' ["x@localhost"] = "king";'),
         log=presence + prosody_item(BEGIN_US, "of another", "a@b.example/x", TEA)
         + prosody_item(BEGIN_US, "back", f"{TEA}/a", TEA)
         + prosody_item(BEGIN_US - 9 * 10**6, "in time", f"{TEA}/a", TEA))
    assert said_of(server.bring("prosody", str(data))) == [
        "an affiliation of @", "an affiliation of elsewhere.example",
        "an affiliation of x@localhost",
        "entries of the archive that are no messages of occupants, or are longer than 4 MiB: "
        "as many as 2",
        "of the configuration: history_length", "of the configuration: language",
        "of the configuration: urn:x"]
    assert people(server, TEA) == {("romeo@localhost", "member", "R"), ("b.example", "outcast", "")}
    assert fields(server, TEA)["moderatedroom"] == "on"
    answer = server.bring("prosody", str(data))
    assert said_of(answer) == ["is there already; a room is never replaced"]
    assert answer["text"].endswith("rooms imported: 0, there already: 1, refused: 0")


REFUSED = {
    "ad hoc": (config(persistent="false"), "it is not persistent"),
    "code": ("return os.exit()", "config/tea.dat: line 1: found what is no constant"),
    "destroyed": (config(more='["destroyed"] = true;'), "it was destroyed"),
    "empty": ("return {};", "its file does not say how it is configured"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_room_that_is_refused(server, data, what):
    text, why = REFUSED[what]
    room(data, text)
    room(data, config("hall"), "hall")
    answer = server.bring("prosody", str(data))
    assert [s.startswith(f"refused: {why}") for s in said_of(answer)] == [True], answer["rows"]
    assert [r["jid"] for r in server.rows("room", "list")] == ["hall@conference.localhost"]
    assert not [f for f in server.data.iterdir() if f.name.startswith("import-room")]


def test_an_archive_that_is_damaged(server, data):
    """Then nothing of that room comes, and no service of another domain gets one."""
    log = prosody_item(BEGIN_US, "fine", f"{TEA}/a", TEA)
    room(data, config(), log=log + "item({ os.exit() });\n")
    prosody_file(data, "rooms.elsewhere.example", "config", "den.dat", config("den"))
    answer = server.bring("prosody", str(data))
    assert said_of(answer)[0].startswith("refused: muc_log/tea.list: line 9: found what is no")
    assert said_of(answer, "den@rooms.elsewhere.example")[0].startswith("refused: ")
    assert server.rows("room", "list") == []
    room(data, config(), log=log)
    assert said_of(server.bring("prosody", str(data))) == []
    until("it is there", lambda: server.rows("room", "show", TEA)[0]["messages"] == 1)
