"""Each record of another server comes, or is counted by its name in the report."""
import json
import sqlite3
import subprocess

import pytest

from harness import prosody
from harness.imports import prosody_file, server_data
from harness.server import MUSTERCTL
from operate.test_import_dump import HEAD, JULIET, PASSWORD, ROOM, room

CONVERT = MUSTERCTL.with_name("muster-convert")
XML = '{xmlelement,"note",[{"xmlns","urn:n"}],[{xmlcdata,"kept"}]}'


def told(answer):
    """What the report says of the source as a whole, without whose the first was, and of whom
    else it speaks."""
    whole = {r["what"].partition(", first of")[0] for r in answer["rows"] if r["user"] == ""}
    return whole, {(r["user"], r["what"]) for r in answer["rows"] if r["user"] != ""}


def brought(server, kind, path, *more):
    """The report, which a dry run gives as well."""
    dry = told(server.bring(kind, str(path), *more, "--dry-run"))
    answer = server.bring(kind, str(path), *more)
    assert told(answer) == dry
    left = int(answer["text"].partition("not come along: ")[2].partition(";")[0])
    whole, single = dry
    lost = [what for _, what in single if not what.startswith(("refused", "is disabled"))]
    counted = sum(int(what.rpartition(": ")[2]) for what in whole) + len(lost)
    assert left == counted or len(single) == 1000
    return dry


def test_of_a_dump_of_ejabberd(server, tmp_path):
    rows = [
        HEAD, PASSWORD, '{passwd,{<<"eve">>,<<"localhost">>},{argon,<<"x">>}}.',
        "{motd,<<\"localhost\">>,hello}.", "{motd,<<\"example.com\">>,hello}.", "[odd].",
        "{roster,none,none}.", f"{{vcard,{{<<\"gone\">>,<<\"localhost\">>}},{XML}}}.",
        f"{{vcard,{JULIET},{{html,\"x\"}}}}.",
        f"{{private_storage,{{<<\"juliet\">>,<<\"localhost\">>,<<\"urn:n\">>}},{XML}}}.",
        f"{{pubsub_item,{{<<\"i\">>,77}},77,a,b,[{XML}]}}.",
        '{pubsub_node,{{<<"juliet">>,<<"localhost">>,<<>>},<<"n">>},1,[],<<"pep">>,[],'
        '[{strange,[a]},{title,<<"t">>}]}.',
        "{sr_group,{<<\"g\">>,<<\"localhost\">>},[{color,<<\"red\">>},{label,<<\"G\">>}]}.",
        "{sr_user,{<<\"juliet\">>,<<\"localhost\">>},{<<\"lost\">>,<<\"localhost\">>}}.",
        room("{flying,true},{roles,[]},{allow_query_users,true}"),
        f"{{archive_msg,{ROOM},<<\"1\">>,{{1,2,3}},{{<<>>,<<>>,<<>>}},x,none,<<>>,groupchat}}.",
    ]
    (tmp_path / "dump.txt").write_text("\n".join(rows) + "\n")
    whole, single = brought(server, "ejabberd", tmp_path / "dump.txt")
    nobody = "that are of no account with a password, no room and no group: 1"
    assert whole == {
        "rows of the table motd: 2", "rows of no table: 1",
        "rows of the table roster with a key of an unknown form: 1",
        f"rows of the table vcard {nobody}", f"rows of the table pubsub_item {nobody}",
        f"rows of the table sr_user {nobody}",
        "passwords of an unknown form in the table passwd: 1",
        "elements of an unknown form in the table vcard: 1",
        "options strange of nodes in the table pubsub_node: 1",
        "settings roles of rooms: 1", "settings allow_query_users of rooms: 1"}
    assert single == {
        ("eve@localhost", "a password: nobody can log in before `user password` sets one"),
        ("group g@localhost", "its option color"),
        ("tea@conference.localhost", "of the configuration: flying"),
        ("tea@conference.localhost", "entries of the archive that are no messages of occupants, "
         "or are longer than 4 MiB: as many as 1")}
    juliet = server.client("juliet", password="x")
    kept = juliet.result("get", "<query xmlns='jabber:iq:private'><note xmlns='urn:n'/></query>")
    assert kept.findtext("{urn:n}note") == "kept"  # as versions before 3 wrote it


def test_a_table_with_many_rows_hides_nothing(server, tmp_path):
    """The report has 1,000 lines of users and rooms; names of what is lost are always in it."""
    users = "".join(f'{{passwd,{{<<"u{i}">>,<<"localhost">>}},odd}}.\n' for i in range(1010))
    (tmp_path / "dump.txt").write_text(
        HEAD + "\n" + "{many,x}.\n" * 2000 + "{few,x}.\n" + users)
    whole, single = brought(server, "ejabberd", tmp_path / "dump.txt")
    assert len(single) == 1000 and whole == {
        "rows of the table many: 2000", "rows of the table few: 1",
        "passwords of an unknown form in the table passwd: 1010"}


FILES = {
    ("accounts", "ann.dat"): 'return { password = "x"; role = "king"; created = 5; }',
    ("roster", "ann.dat"): """return {
        [false] = { version = 1; colour = "red"; pending = { ["p@a.example"] = { name = "presence";
          attr = { type = "subscribe"; from = "p@a.example"; to = "ann@localhost"; };
          { name = "status"; attr = {}; "let me"; }; }; }; };
        ["later@a.example"] = { subscription = "none"; approved = "true"; groups = {}; };
        ["b@a.example"] = { subscription = "both"; groups = {}; mood = "sad"; }; ["c@x"] = 1; }""",
    ("privacy", "ann.dat"): """return { default = "mine"; size = 3; lists = { mine = {
        name = "mine"; items = { { type = "jid"; value = "spam@a.example"; action = "deny";
          order = 1; message = true; ["presence-in"] = false; when = "noon"; }; }; }; }; }""",
    ("pep", "ann.dat"): 'return { n = { config = { title = {1}; }; shape = "round"; }; }',
    ("vcard", "ann.dat"): 'return { name = "a b"; attr = {}; }',
    ("blocklist", "ann.dat"): 'return { [false] = { version = 2 }; ["spam@a.example"] = true; 7; }',
    ("private", "ann.dat"): 'return { k = { name = "n"; attr = { ["x y"] = "1"; xmlns = "urn:n" };'
                            ' true; owner = "me"; }; }',
    ("lastlog2", "ann.dat"): "return {}", ("lastlog2", "zoe.dat"): "return {}",
    ("roster", "zoe.dat"): "return {}", ("pep_gone", "ann.list"): "",
}
FIELDS = {
    "fields of accounts: role in the store accounts: 1",
    "fields of accounts: created in the store accounts: 1",
    "fields of the roster: colour in the store roster: 1",
    "fields of contacts: mood in the store roster: 1",
    "contacts of an unknown form in the store roster: 1",
    "fields of privacy lists: size in the store privacy: 1",
    "fields of rules: when in the store privacy: 1",
    "options of nodes: title in the store pep: 1", "fields of nodes: shape in the store pep: 1",
    "elements of an unknown form in the store vcard: 1",
    "blocks of an unknown form in the store blocklist: 1",
    "fields of elements: owner in the store private: 1",
    "attributes of an unknown form in the store private: 1",
    "children of an unknown form in the store private: 1",
    "entries of the store lastlog2: 2", "entries of the store roster: 1",
    "entries of the store pep_*: 1", "settings locked of rooms: 1",
    "fields of affiliations: badge in the store config: 1"}
TEA = """return { _data = { persistent = true; smell = "mint"; locked = false; }; _more = 1;
    _affiliations = { ["ann@localhost"] = "owner"; };
    _affiliation_data = { ["ann@localhost"] = { badge = 7; }; }; }"""


def test_of_data_of_prosody(server, tmp_path):
    for (store, name), text in FILES.items():
        prosody_file(tmp_path / "data", "localhost", store, name, text)
    prosody_file(tmp_path / "data", "conference.localhost", "config", "tea.dat", TEA)
    (tmp_path / "data" / "prosody.pid").write_text("1")
    whole, single = brought(server, "prosody", tmp_path / "data")
    assert whole == FIELDS | {"files that are no folders of a host: 1"}
    assert single == {("tea@conference.localhost", "of the configuration: smell"),
                      ("tea@conference.localhost", "of its store `config`: _more")}
    ann = server.client("ann", password="x", priority=0)
    asked = ann.expect("<presence from='p@a.example' type='subscribe'/>")
    assert asked.findtext("{jabber:client}status") == "let me"
    approved = {i.get("jid"): i.get("approved")
                for i in ann.result("get", "<query xmlns='jabber:iq:roster'/>")}
    assert approved["later@a.example"] == "true"
    rules, = ann.result("get", "<query xmlns='jabber:iq:privacy'><list name='mine'/></query>")
    assert ("spam@a.example", "deny", ["message"]) in [
        (r.get("value"), r.get("action"), [c.tag.partition("}")[2] for c in r]) for r in rules]


def test_of_prosody_with_storage_in_sql(server, tmp_path):
    path = tmp_path / "prosody.sqlite"
    prosody.sql_file(path, [
        prosody.account_in_sql("localhost", "ann", "x"),
        ("localhost", "ann", "accounts", "role", "string", "king"),
        ("localhost", "ann", "lastlog2", "a", "string", "b"),
        ("localhost", "zoe", "roster", "a@b", "json", "{}")],
        [("localhost", "ann", "shoutbox", "k", 5, "string", "x")])
    with sqlite3.connect(path) as db:
        db.execute('CREATE TABLE "odd ""name" (x)')
        db.execute('INSERT INTO "odd ""name" VALUES (1), (2)')
    db.close()
    assert brought(server, "prosody", path) == ({
        "fields of accounts: role in the store accounts: 1", "entries of the store lastlog2: 1",
        "entries of the store roster: 1", "entries of the store shoutbox: 1",
        'rows of the table odd "name: 2'}, set())


def test_of_openfire(server, tmp_path):
    (tmp_path / "users.xml").write_text(
        "<Openfire><Rooms><Room/></Rooms><User><Username>ann</Username><Password>y</Password>"
        "<Property/><Roster><Item jid='b@localhost' substatus='3'><Colour/></Item><Note/></Roster>"
        "</User><User><Username>ben</Username><Password>y</Password><Property/></User></Openfire>")
    assert brought(server, "openfire", tmp_path / "users.xml") == ({
        "elements <Rooms/> outside of users: 1", "elements <Property/> of a <User/>: 2",
        "elements <Colour/> of a <Item/>: 1", "elements <Note/> of a <Roster/>: 1"}, set())


def test_of_a_file_of_xep0227(server, tmp_path):
    (tmp_path / "a.xml").write_text(server_data(
        "<user name='ann' password='y'><note xmlns='urn:n'/></user>", "<other/>"))
    rows = server.bring("xep0227", str(tmp_path / "a.xml"))["rows"]
    assert {(r["user"], r["what"]) for r in rows} == {
        ("ann@localhost", "an element <note/> of urn:n"),
        ("", "an element <other/> outside of users")}


def test_a_folder_that_is_kept(server, tmp_path):
    """muster-convert by itself tells the same, and its folder is imported as it is. A line of an
    unknown type is lost, too."""
    for (store, name), text in FILES.items():
        prosody_file(tmp_path / "data", "localhost", store, name, text)
    prosody_file(tmp_path / "data", "conference.localhost", "config", "tea.dat", TEA)
    out = tmp_path / "out"
    done = subprocess.run([CONVERT, "prosody", tmp_path / "data", out], check=True, text=True,
                          capture_output=True)
    said = {line.removeprefix("not converted: ").partition(", first of")[0]
            for line in done.stdout.splitlines() if line.startswith("not ")}
    assert said == FIELDS
    with (out / "more.jsonl").open("a") as more:
        more.write(json.dumps({"type": "stone"}) + "\n")
    whole, _ = told(server.bring("xep0227", str(out)))
    assert whole == FIELDS | {'a line of the unknown type "stone"'}
    assert (out / "accounts.xml").exists() and (out / "rooms" / "1.jsonl").exists()
    done = subprocess.run([CONVERT, "prosody", tmp_path / "data", out], text=True,
                          capture_output=True)
    assert done.returncode == 1 and "File exists" in done.stderr
    done = subprocess.run([CONVERT, "prosody", tmp_path / "data"], capture_output=True)
    assert done.returncode == 2


@pytest.mark.parametrize("what", ["done", "refused"])
def test_nothing_is_left_behind(server, tmp_path, what):
    """Not even the folder in which passwords were."""
    prosody_file(tmp_path, "localhost", "accounts", "ann.dat", 'return { password = "x" }')
    before = {p.name for p in server.control.parent.iterdir()}
    if what == "done":
        server.bring("prosody", str(tmp_path))
    else:
        assert server.ctl_run("import", "prosody", str(tmp_path / "absent")).returncode == 1
    assert {p.name for p in server.control.parent.iterdir()} == before
