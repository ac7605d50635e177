"""Data of Prosody, in files and in SQL, written by hand."""
import sqlite3

import pytest

from harness import prosody
from harness.imports import LINES, MANY, messages_of, prosody_file, prosody_item, times
from harness.server import Failed
from operate.test_import_archive import pages

PROSODY_ITEM = ("<message xmlns='jabber:client' from='romeo@localhost/x' to='zora@localhost' "
                "type='chat' xml:lang='de'><body>a &lt; <b/>\u00e9</body></message>")


def test_a_prosody_with_storage_in_sql(server, tmp_path):
    """The file alone, or beside folders with other stores. Damaged data cost their user only."""
    path = tmp_path / "prosody.sqlite"
    prosody.sql_file(path, [
        *(prosody.account_in_sql("localhost", name, "x") for name in ("zora", "y.x", "bad")),
        ("localhost", "zora", "roster", "romeo@localhost", "json",
         '{"subscription":"both","name":"R\\n\\u0026","groups":{"Friends":true}}'),
        ("localhost", "zora", "roster", "", "json",
         '{"__hash":[false,{"version":3,"pending":{"pending@localhost":true}}]}'),
        ("localhost", "bad", "roster", "romeo@localhost", "json", '{"subscription":'),
        ("localhost", "", "persistent", "x", "boolean", "true")],
        [("localhost", "zora", "archive", f"k{i}", 1588327200 + i / 4, "xml", PROSODY_ITEM)
         for i in range(3)])
    prosody_file(tmp_path, "localhost", "private", "y%2ex.dat",
                 'return { ["n:urn:n"] = { ["name"] = "n"; ["attr"] = { ["xmlns"] = "urn:n"; }; '
                 '"kept"; }; };')
    (tmp_path / "upload").mkdir()
    answer = server.bring("prosody", str(path), "--dry-run")
    assert "users that would be imported: 2," in answer["text"]
    answer = server.bring("prosody", str(tmp_path))
    assert "users imported: 2, there already: 0, refused: 1" in answer["text"]
    assert [r["what"] for r in answer["rows"] if r["user"] == "bad@localhost"][0].startswith(
        "refused: roster/bad in SQL: found no JSON")
    zora = server.client("zora", password="x", priority=-1)
    zora.expect("<presence from='pending@localhost' type='subscribe'/>")
    (item,) = zora.result("get", "<query xmlns='jabber:iq:roster'/>")
    assert (item.get("jid"), item.get("subscription"), item.get("name"), item[0].text) == (
        "romeo@localhost", "both", "R\n&", "Friends")
    found = pages(zora)
    assert [times(at) for _, at, _ in found] == [1588327200 + i / 4 for i in range(3)]
    other = server.client("y.x", password="x")
    kept = other.result("get", "<query xmlns='jabber:iq:private'><n xmlns='urn:n'/></query>")
    assert kept.findtext("{urn:n}n") == "kept"


@pytest.mark.parametrize("what", ["damaged", "foreign", "twice"])
def test_a_prosody_whose_storage_in_sql_is_not_read(server, tmp_path, what):
    path = tmp_path / "prosody.sqlite"
    if what == "twice":  # which of them Prosody uses, only its settings say
        prosody.sql_file(path, [prosody.account_in_sql("localhost", "zora", "x")])
        prosody_file(tmp_path, "localhost", "accounts", "zora.dat",
                     'return { ["password"] = "old" };')
    elif what == "foreign":
        sqlite3.connect(path).execute("CREATE TABLE t(x)").connection.close()
    else:
        path.write_bytes(b"SQLite format 3\0" * 100)
    found = {"damaged": "found file is not a database, expected a database of Prosody",
             "foreign": "found no such table: prosody, expected a database of Prosody",
             "twice": "found the store accounts of localhost in files and in .*prosody.sqlite, "
                      "expected it in one of them"}
    for more in [], ["--dry-run"]:
        with pytest.raises(Failed, match=found[what]):
            server.bring("prosody", str(tmp_path), *more)


def test_a_long_archive_of_prosody(server, tmp_path):
    data = tmp_path / "data"
    prosody_file(data, "localhost", "accounts", "juliet.dat", 'return { ["password"] = "x"; };')
    prosody_file(data, "localhost", "archive", "juliet.list", "".join(
        prosody_item(us, text, "romeo@localhost/x", "juliet@localhost") for us, _, text in LINES))
    assert server.bring("prosody", str(data))["rows"] == []
    found = pages(server.client("juliet", password="x", priority=-1))
    assert [(times(at), body) for _, at, body in found] == [
        (us / 10**6, body) for us, _, body in LINES]
    with open(data / "localhost" / "archive" / "juliet.list", "a") as file:
        file.write("item({ os.exit() });\n")
    (said,) = server.bring("prosody", str(data), "--replace")["rows"]
    assert said["what"].startswith(
        f"refused: archive/juliet.list: line {MANY * 8 + 1}: found what is no constant")
    assert messages_of(server) == MANY


LUA = {
    "code": ("return os.execute('x')", "accounts/bob.dat: line 1: found what is no constant"),
    "string": ('return { ["password"] = "x\n', "accounts/bob.dat: line 1: a string does not end"),
    "cut": ('return {\n["password"] = "x";', "accounts/bob.dat: line 2: found what is no constant"),
    "more": ("return {}; return {};", "accounts/bob.dat: line 1: there is something behind"),
    "deep": ("return " + "{" * 200, "accounts/bob.dat: line 1: found too many tables"),
}


@pytest.mark.parametrize("what", LUA)
def test_data_of_prosody_that_is_wrong(server, tmp_path, what):
    """The user is refused; the others come. Names of files are what they stand for."""
    text, why = LUA[what]
    folder = tmp_path / "data" / "localhost" / "accounts"
    folder.mkdir(parents=True)
    (folder / "bob.dat").write_text(text)
    (folder / "d%2eo.dat").write_text(
        'return { ["password"] = "a\\195\\169" };')
    (folder / "x%2fy.dat").write_text('return { ["password"] = "a" };')
    rooms = tmp_path / "data" / "rooms%2elocalhost" / "config"
    rooms.mkdir(parents=True)
    (rooms / "tea.dat").write_text("return {};")
    answer = server.bring("prosody", str(tmp_path / "data"))
    assert answer["text"].startswith("users imported: 1, there already: 0, refused: 2;")
    said = {r["user"]: r["what"] for r in answer["rows"]}
    assert said["bob@localhost"].startswith(f"refused: {why}")
    assert said["x/y@localhost"].startswith("refused: its name is none")
    assert said["tea@rooms.localhost"] == "refused: its file does not say how it is configured"
    server.login("d.o", password="a\u00e9").close()
    with pytest.raises(Failed, match="No such file"):
        server.bring("prosody", str(tmp_path / "absent"))


def test_empty_files_of_prosody(server, tmp_path):
    """As a full disk leaves them: of each kind."""
    data = tmp_path / "data"
    for kind, name in (("accounts", "paul.dat"), ("accounts", "eve.dat"), ("roster", "paul.dat"),
                       ("vcard", "paul.dat"), ("private", "paul.dat"), ("offline", "paul.list"),
                       ("archive", "paul.list"), ("blocklist", "paul.dat")):
        prosody_file(data, "localhost", kind, name, "")
    prosody_file(data, "localhost", "accounts", "eve.dat", 'return { ["password"] = "x" };')
    prosody_file(data, "conference.localhost", "persistent", "tea.dat", "")
    prosody_file(data, "conference.localhost", "config", "tea.dat", "")
    said = {r["user"]: r["what"] for r in server.bring("prosody", str(data))["rows"]}
    assert said["paul@localhost"] == "a password: nobody can log in before `user password` sets one"
    server.login("eve", password="x").close()
