"""A room as a file that a client saves: `room download`, by the API and in the console."""
import json
import re
import urllib.parse

import pytest

from harness.client import TIMEOUT, until
from harness.muc import Room
from harness.server import Failed, refusal
from services.test_adhoc import note, run, table
from surface.test_api import Api, api_server
from surface.test_console import opened

CAVE = "cave@conference.localhost"
PATH = f"/rooms/{urllib.parse.quote(CAVE)}/export"
WHY = "moved to another server"
REASON = "reason=" + urllib.parse.quote(WHY)


SAID = 30


def recorded(server):
    return server.rows("room", "show", CAVE)[0]["messages"]


@pytest.fixture
def server(make_server):
    server = api_server(make_server)
    for name in "alice", "bob":
        server.add_user(name)
    alice = server.login("alice")
    room = Room("cave").create(alice, "first", persistentroom=True, enablearchiving=True,
                               roomname="Witches & <others>", roomsecret="abracadabra",
                               passwordprotectedroom=True)
    room.set_affiliation(alice, "bob@localhost", "member", nick="second")
    for i in range(SAID):
        text = f'Round "about" the cauldron {i} \u20ac <&>'
        room.say(alice, text)
        room.expect_body(alice, "first", text)
    until("all is recorded", lambda: recorded(server) >= SAID)
    return server


def exported(server, room=CAVE):
    """What `room export` writes."""
    path = server.folder / f"{room}.{len(list(server.folder.iterdir()))}"
    server.ctl("room", "export", room, path)
    return path.read_text()


def say_much(server):
    """More than fits on a page."""
    alice = server.login("alice", resource="long")
    room = Room("cave")
    room.enter(alice, "long", password="abracadabra")
    for i in range(100):
        text = f"{i} " + "x" * 50_000
        room.say(alice, text)
        room.expect_body(alice, "long", text)
    until("all is recorded", lambda: recorded(server) >= SAID + 100)


def downloaded(api, limit, path=PATH):
    lines, cursor = [], ""
    while True:
        answer = api("GET", f"{path}?limit={limit}&{REASON}{cursor}")
        assert answer.status == 200, answer.text
        page = answer.json["items"]
        assert 1 <= len(page) <= limit
        lines += [row["line"] for row in page]
        if "next" not in answer.json:
            return "".join(f"{line}\n" for line in lines)
        cursor = f"&cursor={answer.json['next']}"


@pytest.mark.parametrize("limit", [1, 7, 5000])
def test_it_is_the_file_that_is_exported(server, limit):
    """Whatever the pages are: each line is there once, and the last one has the right numbers."""
    whole = exported(server)
    assert downloaded(server.api, limit) == whole
    end = json.loads(whole.splitlines()[-1])
    assert end["type"] == "end" and end["messages"] >= SAID and "abracadabra" in whole


def test_it_can_be_imported_again(server, tmp_path):
    text = downloaded(server.api, 100)
    (tmp_path / "cave.jsonl").write_text(text)
    server.ctl("room", "destroy", CAVE, "--yes")
    server.ctl("room", "import", tmp_path / "cave.jsonl")
    again = exported(server).splitlines()
    assert [line for line in again if '"message"' in line] == \
        [line for line in text.splitlines() if '"message"' in line]


def test_messages_that_come_meanwhile_are_not_in_it(server):
    first = server.api("GET", f"{PATH}?limit=10&{REASON}").json
    alice = server.login("alice", resource="later")
    Room("cave").enter(alice, "third", password="abracadabra")
    Room("cave").say(alice, "too late")
    until("it is recorded", lambda: "too late" in exported(server))
    rest = server.api("GET", f"{PATH}?limit=5000&{REASON}&cursor={first['next']}").json
    assert "too late" not in rest["items"][-2]["line"]
    assert json.loads(rest["items"][-1]["line"])["messages"] == SAID


def test_who_may_have_it(server):
    """It has what was said, and the password of the room. Each use is in the audit log."""
    answers = {}
    server.ctl("role", "set", "reader", "compliance.read rooms.read")
    server.ctl("role", "set", "mover", "rooms.*")
    server.ctl("role", "set", "both", "compliance.read rooms.write")
    for role in "viewer", "operator", "auditor", "reader", "mover", "both", "administrator":
        api = Api(server.api.port, server.rows("token", "add", f"t-{role}", role)[0]["token"])
        answers[role] = api("GET", f"{PATH}?{REASON}")
        assert ("items" in answers[role].json) == (answers[role].status == 200)
    assert {role for role, answer in answers.items() if answer.status == 200} == \
        {"both", "administrator"}
    assert {answer.status for answer in answers.values()} == {200, 403}
    assert "rooms.write" in answers["auditor"].json["detail"]
    missing = server.api("GET", PATH)
    assert (missing.status, missing.json["argument"]) == (422, "reason")
    entries = until("all are stored", lambda: len(found := server.api(
        "GET", "/audit?command=room%20download").json["items"]) == 8 and found)
    assert all("abracadabra" not in json.dumps(entry) for entry in entries)
    done = [entry for entry in entries if entry["result"] == "ok"]
    assert len(done) == 2 and all(WHY in entry["args"] and CAVE in entry["args"]
                                  for entry in done)
    assert server.rows("room", "download", CAVE, "--limit", "1")  # no reason at the socket


def test_what_there_is_not(server):
    assert server.api("GET", f"/rooms/none@conference.localhost/export?{REASON}").status == 404
    bob = server.login("bob")
    Room("brief").create(bob, "bob")
    answer = server.api("GET", f"/rooms/brief@conference.localhost/export?{REASON}")
    assert answer.status == 409 and "ad hoc" in answer.json["detail"]
    huge = "9" * 30
    for after in "x", "1", "0.0.0.0.0.0", "-1.0.0.0.0.0.0", "....", "1.1.1.1.1.1.1.1", \
            f"{huge}.1.{huge}.{huge}.1.1.1", "0.0.18446744073709551615.0.0.0.0":
        answer = server.api("POST", "/commands/room-download",
                            {"room": CAVE, "after": after, "reason": WHY})
        assert answer.status in (409, 422), (after, answer.text)
    first = server.api("POST", "/commands/room-download",
                       {"room": CAVE, "limit": 20, "reason": WHY}).json
    server.ctl("room", "destroy", CAVE, "--yes")
    gone = {"room": CAVE, "after": first["next"], "reason": WHY}
    assert server.api("POST", "/commands/room-download", gone).status == 404
    server.ctl("room", "create", CAVE, "alice@localhost")
    answer = server.api("POST", "/commands/room-download", gone)
    assert answer.status == 409 and "meanwhile" in answer.json["detail"]


def test_pages_are_bounded(server):
    """By bytes, too: what does not fit is on the next one."""
    say_much(server)
    answer = server.api("GET", f"{PATH}?limit=5000&{REASON}")
    assert len(answer.text) < 5 << 20 and answer.json["next"]
    assert downloaded(server.api, 5000) == exported(server)


@pytest.mark.release
def test_export_in_the_console(server, tmp_path):
    """Who presses the button gets the file."""
    secret = server.rows("token", "add", "root", "administrator")[0]["token"]
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    with opened(server, tmp_path / "browser") as pages:
        pages.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {
            "behavior": "allow", "downloadPath": str(downloads)})
        pages.log_in(secret)
        pages.go("room", CAVE)
        pages.click("main button", "Export")
        pages.find("dialog h2", "Export")
        pages.click("dialog .main")
        assert pages.js("document.activeElement.matches('dialog input:required:invalid')")
        pages.fill_in("Reason", WHY)
        pages.click("dialog .main")
        file = downloads / f"{CAVE}.jsonl"
        # The browser makes it empty, and then puts what it has saved in its place.
        until("the file is there", lambda: file.exists() and file.stat().st_size > 0, 3 * TIMEOUT)
        assert file.read_text() == exported(server)
        assert pages.complaints() == []
        pages.log_out()
        # An auditor may read what was said, but has no password of a room.
        pages.log_in(server.rows("token", "add", "eyes", "auditor")[0]["token"])
        pages.go("room", CAVE)
        pages.find("main h1, main h2", CAVE)
        assert not pages.js("[...document.querySelectorAll('main button')]"
                            ".filter(e => e.innerText === 'Export')")
        assert [path.name for path in downloads.iterdir()] == [file.name]


def test_the_command_line_writes_lines(server):
    """All pages, and nothing else on standard output."""
    whole = exported(server)
    done = server.ctl_run("room", "download", CAVE)
    assert done.returncode == 0 and done.stdout == whole, done.stderr
    assert f"messages {SAID}" in done.stderr
    say_much(server)
    assert server.ctl_run("room", "download", CAVE).stdout == exported(server)
    few = server.ctl_run("room", "download", CAVE, "--limit", "2")
    assert "go on with --after" in few.stdout + few.stderr
    with pytest.raises(Failed):
        server.ctl("room", "download", "none@conference.localhost")


@pytest.mark.parametrize("change", [("room", "affiliation", CAVE, "aaron@localhost", "member"),
                                    ("room", "affiliation", CAVE, "bob@localhost", "none"),
                                    ("room", "change", CAVE, "--name", "Another")])
def test_a_room_that_changes_between_pages_is_begun_again(server, change):
    """Its affiliations would be of two times: one could be missing, or be there twice."""
    server.add_user("aaron")
    first = server.api("GET", f"{PATH}?limit=2&{REASON}").json
    server.ctl(*change)
    answer = server.api("GET", f"{PATH}?limit=2&{REASON}&cursor={first['next']}")
    assert answer.status == 409 and "meanwhile; begin again" in answer.json["detail"], answer.text
    assert downloaded(server.api, 2) == exported(server)


def test_a_room_may_change_when_its_affiliations_were_given(server):
    before = exported(server)
    page = server.api("GET", f"{PATH}?limit=10&{REASON}").json
    server.ctl("room", "affiliation", CAVE, "bob@localhost", "none")
    rest = server.api("GET", f"{PATH}?limit=5000&{REASON}&cursor={page['next']}").json
    assert "".join(f"{row['line']}\n" for row in page["items"] + rest["items"]) == before


def test_a_client_reads_it_in_parts(server):
    """A stanza has room for a few lines. It says how many, and where to go on behind them."""
    say_much(server)
    server.ctl("set", "admin.accounts", "alice@localhost")
    alice, lines, more = server.login("alice", resource="reader"), [], {}
    for _ in range(200):
        answer = run(alice, "room-download", room=CAVE, reason=WHY, limit="50", **more)
        kind, text = note(answer)
        if kind == "warn":
            shown = int(re.search("limit ([0-9]+)", text)[1])
            assert shown == len(table(answer)) > 0 and "--after" not in text
            answer = run(alice, "room-download", room=CAVE, reason=WHY, limit=str(shown), **more)
            kind, text = note(answer)
        lines += [row["line"] for row in table(answer)]
        place = re.search('with this in the field ".*": ([0-9.]+)$', text)
        if place is None:
            break
        more = {"after": place[1]}
    assert len(lines) > 100 and "".join(f"{line}\n" for line in lines) == exported(server)


# --- archive room ---

MESSAGES = f"/rooms/{urllib.parse.quote(CAVE)}/messages"


def test_the_archive_of_a_room_is_read_page_by_page(server):
    rows = server.rows("archive", "room", CAVE)
    assert [r["body"] for r in rows] == [f'Round "about" the cauldron {i} \u20ac <&>'
                                         for i in range(SAID)]
    assert {r["from"] for r in rows} == {f"{CAVE}/first"}
    assert all(r["author"].startswith("alice@localhost/") for r in rows)
    page = server.ctl("archive", "room", CAVE, "--limit", "2")
    assert page["rows"] == rows[:2]
    assert server.rows("archive", "room", CAVE, "--after", page["next"]) == rows[2:]
    assert server.rows("archive", "room", CAVE, "--with", f"{CAVE}/first") == rows
    assert server.rows("archive", "room", CAVE, "--with", f"{CAVE}/second") == []
    assert server.rows("archive", "room", CAVE, "--start", rows[3]["time"])[0] in rows[:4]
    assert server.rows("archive", "room", CAVE, "--start", "2100-01-01T00:00:00Z") == []
    for wrong in (["nowhere@conference.localhost"], [CAVE, "--after", "zz"],
                  [CAVE, "--start", "yesterday"], ["alice@localhost"]):
        assert server.ctl_run("archive", "room", *wrong).returncode != 0, wrong


def test_an_ad_hoc_room_is_there_but_has_no_archive(server):
    """`room list` shows it. The sentence says what to do, here and over the API."""
    alice = server.login("alice")
    Room("hoc").gather(first=alice)
    assert "hoc@conference.localhost" in {r["jid"] for r in server.rows("room", "list")}
    said = "hoc@conference.localhost is an ad hoc room, which has no archive"
    assert said in refusal(server, "archive", "room", "hoc@conference.localhost")
    answer = server.api("GET", "/rooms/hoc%40conference.localhost/messages?reason=case%2047")
    assert answer.status == 409 and said in answer.json["detail"], answer.text
    assert "there is no room none@conference.localhost" in refusal(
        server, "archive", "room", "none@conference.localhost")


def test_an_auditor_reads_accounts_and_rooms_with_a_reason(server):
    """By the same permission, which a token has if its scope has it."""
    server.client("alice", "a").send("<message to='bob@localhost' type='chat'><body>x</body>"
                                     "</message>")
    account = "/users/bob%40localhost/messages"
    until("it is stored", lambda: server.rows("archive", "read", "bob@localhost"))
    tokens = {}
    for role, scope in (("auditor", ()), ("operator", ()), ("viewer", ()),
                        ("auditor", ("--scope", "rooms.*"))):
        name = role + "-narrow" * bool(scope)
        tokens[name] = server.rows("token", "add", name, role, *scope)[0]["token"]
    for path in MESSAGES, account:
        answer = server.api("GET", f"{path}?{REASON}", token=tokens["auditor"])
        assert answer.status == 200 and answer.json["items"], path
        without = server.api("GET", path, token=tokens["auditor"])
        assert without.status == 422 and "reason" in str(without.json), path
        for blank in "%09%20%0a%20", "%20a%20b%20", "%c3%a4%c3%a4", "%c2%a0%e3%80%80%e2%80%8b":
            refused = server.api("GET", f"{path}?reason={blank}", token=tokens["auditor"])
            assert refused.status == 422 and "at least 3 characters" in str(refused.json), blank
        entry = server.rows("audit", "list", "--limit", "20")
        assert any(WHY in e["args"] and e["actor"] == "token:auditor" for e in entry)
        assert "cauldron" not in str(entry)
        for name in "operator", "viewer", "auditor-narrow":
            refused = server.api("GET", f"{path}?{REASON}", token=tokens[name])
            assert refused.status == 403 and "compliance.read" in str(refused.json), (path, name)
    missing = MESSAGES.replace("cave", "nowhere")
    assert server.api("GET", f"{missing}?{REASON}", token=tokens["auditor"]).status == 404
