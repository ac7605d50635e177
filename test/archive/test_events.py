"""What the log tells its readers of corrections (XEP-0308), retractions (XEP-0424) and moderation
(XEP-0425): `archive events`. No user sees the words that were taken back."""
import pytest

from harness import xml
from harness.client import until
from harness.muc import Room
from harness.server import refusal
from archive.test_archive_quota import LIMIT, TEXT, by_owner, flood, sizes, trimmed
from archive.test_mam import Page, chat, retract, tombstone
from rooms.test_archive import FULLTEXT, Page as RoomPage
from rooms.test_modern import CORRECT, heard, moderate, stanza_id
from operate.test_roles import refused

CHAT = "<message to='{}' type='chat' id='{}'><body>{}</body>{}</message>"


def events(host, *args):
    """(kind, by, before, after) of each, in the order of the log."""
    rows = host.rows("archive", "events", *args)
    assert [r["id"] for r in rows] == sorted({r["id"] for r in rows})
    assert all(r.get("about", 0) < r["id"] for r in rows)
    return [(r["kind"], r["by"], r.get("before"), r.get("after")) for r in rows]


def expect_events(host, count):
    return until("events", lambda: len(events(host)) == count and events(host))


def say(client, to, ident, text):
    client.send(CHAT.format(to, ident, text, ""))


def correct(client, to, ident, target, text):
    client.send(CHAT.format(to, ident, text, f"<replace xmlns='{CORRECT}' id='{target}'/>"))


def log_rows(host, where="1 = 1"):
    with host.database() as db:
        return db.execute(f"SELECT count(*) FROM message WHERE stanza <> '' AND {where}"
                          ).fetchone()[0]


def event_rows(host):
    with host.database() as db:
        return db.execute("SELECT count(*) FROM archive_event").fetchone()[0] + \
            log_rows(host, "(flags & 16) <> 0")


@pytest.fixture(params=["there", "away"])
def pair(request, server):
    """Alice, and whether Bob is there."""
    bob = server.client("bob", "b") if request.param == "there" else None
    return server, server.client("alice", "a"), bob


def test_corrected_twice_and_retracted(pair):
    server, alice, _ = pair
    to = "bob@localhost"
    say(alice, to, "m1", "first")
    correct(alice, to, "m2", "m1", "second")
    correct(alice, to, "m3", "m1", "third")
    want = [("corrected", alice.bare, "first", "second"),
            ("corrected", alice.bare, "second", "third")]
    assert expect_events(server, 2) == want
    retract(alice, to, "m1")
    want.append(("retracted", alice.bare, "first", None))
    assert expect_events(server, 3) == want, "the correction still finds the words"
    rows = server.rows("archive", "events")
    assert rows[0]["about"] == rows[2]["about"] < rows[0]["id"] == rows[1]["about"]
    assert {r["author"] for r in rows} == {alice.bare} and {r["with"] for r in rows} == {to}
    assert "<body>first</body>" in rows[2]["stanza"]
    assert events(server, "--after", str(rows[0]["id"]), "--limit", "1") == want[1:2]
    first, last = (server.ctl("archive", "events", "--limit", limit)["text"] for limit in "23")
    assert first == f"there are more: go on with --after {rows[1]['id']}" and last == ""
    server.restart()
    assert events(server) == want


def test_no_user_sees_what_was_retracted(pair):
    server, alice, bob = pair
    say(alice, "bob@localhost", "m1", "saints and lips")
    retract(alice, "bob@localhost", "m1")
    assert expect_events(server, 1) == [("retracted", alice.bare, "saints and lips", None)]
    if bob is None:
        bob = server.client("bob", "b")
        assert tombstone(bob.expect("<message id='m1'/>")) is not None
    for client in alice, bob:
        page = Page(client)
        assert page.bodies == [None, "took it back"]
        assert "saints" not in "".join(xml.canonical(m) for m in page.messages)
        assert Page(client, (FULLTEXT, "saints")).bodies == []
        assert Page(client, (FULLTEXT, "took")).bodies == ["took it back"]
    server.ctl("admin", "add", alice.bare, "viewer")
    assert "compliance.read" in refused(alice, "archive-events", reason="case 4711")
    server.ctl("admin", "add", alice.bare, "auditor")
    assert "reason is missing" in refused(alice, "archive-events")
    assert refused(alice, "archive-events", reason="case 4711") is None


def test_nothing_of_what_did_not_happen(server):
    """Another's message, one that was never sent, no id."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    say(alice, bob.bare, "m1", "mine")
    bob.expect("<message id='m1'/>")
    correct(bob, alice.bare, "m2", "m1", "no, mine")
    retract(bob, alice.bare, "m1")
    for bad in "", "nothing", "m":
        retract(alice, bob.bare, bad)
    alice.send(CHAT.format(bob.bare, "m3", "x", f"<replace xmlns='{CORRECT}'/>"))
    alice.send(CHAT.format(bob.bare, "m4", "x", "<replace xmlns='urn:example:x' id='m1'/>"))
    chat(alice, bob.bare, "end")
    bob.expect("<message><body>end</body></message>")
    until("all stored", lambda: Page(bob).bodies[-1] == "end")
    assert events(server) == [("corrected", bob.bare, None, "no, mine")]
    assert "about" not in server.rows("archive", "events")[0]
    for bad in ("--limit", "0"), ("--limit", "1001"), ("--after", "-1"), ("--after", "x"):
        assert refusal(server, "archive", "events", *bad)


def test_to_nobody_of_ours(server):
    alice = server.client("alice", "a")
    say(alice, "nobody@localhost", "m1", "first")
    correct(alice, "nobody@localhost", "m2", "m1", "second")
    until("both are stored", lambda: log_rows(server) == 2)
    retract(alice, "nobody@localhost", "m1")
    assert expect_events(server, 2) == [("corrected", alice.bare, "first", "second"),
                                        ("retracted", alice.bare, "first", None)]


def test_correction_is_retracted_itself(pair):
    server, alice, _ = pair
    to = "bob@localhost"
    say(alice, to, "m1", "first")
    say(alice, to, "z1", "something else")
    correct(alice, to, "m2", "m1", "second")
    retract(alice, to, "m2")
    expect_events(server, 2)
    correct(alice, to, "m3", "m1", "third")
    retract(alice, to, "m1")
    assert expect_events(server, 4) == [
        ("corrected", alice.bare, "first", "second"), ("retracted", alice.bare, "second", None),
        ("corrected", alice.bare, "second", "third"), ("retracted", alice.bare, "first", None)]


def test_moderated_correction(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = Room("cave").create(alice, "first", persistentroom=True)
    cave.enter(bob, "second")
    for ident, text, more in (("m1", "one", ""), ("z1", "unrelated", ""),
                              ("m2", "two", f"<replace xmlns='{CORRECT}' id='m1'/>")):
        cave.send(bob, f"<body>{text}</body>{more}", ident=ident)
        said = stanza_id(heard(cave, alice, "second", text), cave)
    assert moderate(cave, alice, said).get("type") == "result"
    assert expect_events(server, 2) == [("corrected", bob.bare, "one", "two"),
                                        ("moderated", alice.bare, "two", None)]


def test_conversations_are_apart(server):
    """Messages of one author with the same id: to accounts, deleted ones, addresses that are none,
    and occupants of a room. Each correction and retraction is about the one in its conversation."""
    alice, bob, carol = (server.client(name, name[0]) for name in ("alice", "bob", "carol"))
    server.add_user("dora")
    cave = Room("cave").create(alice, "first", persistentroom=True)
    cave.enter(bob, "second")
    cave.enter(carol, "third")
    talks = ["bob@localhost", "carol@localhost", "dora@localhost", "alice@localhost",
             "nobody1@localhost", "nobody2@localhost", f"{cave.jid}/second", f"{cave.jid}/third"]

    def said(text):
        return log_rows(server, f"stanza LIKE '%{text}%'")
    for to in talks:
        say(alice, to, "m1", f"of {to}")
    until("all stored", lambda: all(said(f"of {to}") for to in talks))
    server.ctl("user", "del", "dora@localhost")
    for to in talks:
        correct(alice, to, "m2", "m1", f"better {to}")
    until("all corrected", lambda: all(said(f"better {to}") for to in talks))
    want = [("corrected", f"of {to}", f"better {to}") for to in talks]
    assert sorted({e[:1] + e[2:] for e in events(server)}) == sorted(want)
    for i, to in enumerate(talks):
        retract(alice, to, "m1")
        want.append(("retracted", f"of {to}", None))
        until("it is retracted", lambda t=to: log_rows(
            server, f"stanza LIKE '%of {t}<%' AND (flags & 16) = 0") == 0)
        assert all(log_rows(server, f"stanza LIKE '%of {t}<%' AND (flags & 16) = 0")
                   for t in talks[i + 1:]), "the others stay"
    assert {e[:1] + e[2:] for e in events(server)} == set(want)


def test_others_in_a_room_retract_nothing_of_an_occupant(server):
    """Neither by their own nickname nor by one that somebody else had."""
    alice, bob, carol = (server.client(name, name[0]) for name in ("alice", "bob", "carol"))
    cave = Room("cave").create(alice, "first", persistentroom=True)
    cave.enter(bob, "second")
    cave.enter(carol, "third")
    to = f"{cave.jid}/first"
    say(bob, to, "m1", "said by bob")
    alice.expect("<message id='m1'/>")
    retract(carol, to, "m1")
    alice.expect("<message id='r-m1'/>")
    cave.leave(bob, "second")
    carol.send(f"<presence to='{cave.jid}/second'/>")
    cave.presence(carol, "second")
    retract(carol, to, "m1")
    alice.expect("<message id='r-m1'/>")
    correct(carol, to, "m2", "m1", "said by carol")
    alice.expect("<message id='m2'/>")
    assert "said by bob" in Page(alice).bodies
    got = expect_events(server, 2)
    assert {e[0] for e in got} == {"corrected"} and {e[2] for e in got} == {None}


def test_last_row_of_two_deleted_users(server):
    """It stays in the log, empty, and tells of nothing."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    say(alice, bob.bare, "m1", "first")
    correct(alice, bob.bare, "m2", "m1", "second")
    expect_events(server, 1)
    for user in alice.bare, bob.bare:
        server.ctl("user", "del", user)
    assert events(server) == [] and log_rows(server) == 0


def test_rooms(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = Room("cave").create(alice, "first", persistentroom=True)
    cave.enter(bob, "second")
    ids = []
    for i in range(3):
        cave.send(bob, f"<body>said {i}</body>", ident=f"m{i}")
        ids.append(stanza_id(heard(cave, alice, "second", f"said {i}"), cave))
    cave.send(bob, f"<body>meant</body><replace xmlns='{CORRECT}' id='m0'/>", ident="c0")
    heard(cave, alice, "second", "meant")
    cave.send(bob, f"<retract xmlns='urn:xmpp:message-retract:1' id='{ids[1]}'/>", ident="r1")
    assert moderate(cave, alice, ids[2]).get("type") == "result"
    assert sorted(expect_events(server, 3)) == sorted([
        ("corrected", bob.bare, "said 0", "meant"), ("retracted", bob.bare, "said 1", None),
        ("moderated", alice.bare, "said 2", None)])
    rows = server.rows("archive", "events")
    assert {(r["author"], r["with"]) for r in rows} == {(bob.bare, cave.jid)}
    texts = RoomPage(alice, cave).bodies
    assert "said 0" in texts and not {"said 1", "said 2"} & set(texts)
    assert RoomPage(alice, cave, (FULLTEXT, "said")).bodies == ["said 0"]
    moderate(cave, alice, ids[1])
    assert len(events(server)) == 3, "it was retracted before"
    server.ctl("room", "destroy", cave.jid)
    until("they go with the room", lambda: event_rows(server) == 0)


@pytest.mark.parametrize("first", ["alice", "bob"])
def test_events_go_with_the_messages_of_deleted_users(server, first):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    say(alice, bob.bare, "m1", "saints")
    retract(alice, bob.bare, "m1")
    expect_events(server, 1)
    for name in sorted(("alice", "bob"), key=lambda n: n != first):
        assert events(server) == [("retracted", alice.bare, "saints", None)]
        server.ctl("user", "del", f"{name}@localhost")
    assert events(server) == [] and event_rows(server) == 0
    assert log_rows(server, "stanza LIKE '%saints%'") == 0


def test_events_go_with_old_messages(make_server):
    host = make_server("alice", "bob", settings={"archive.retention": 1})
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    alice.enable_sm()
    say(alice, bob.bare, "m1", "saints")
    retract(alice, bob.bare, "m1")
    expect_events(host, 1)
    with host.database() as db:
        db.execute("UPDATE message SET at_us = at_us - 200000000000 WHERE (flags & 32) <> 0")
    bob.result("get", "<ping xmlns='urn:xmpp:ping'/>")
    until("it is gone", lambda: host.ctl("archive", "expire") and not event_rows(host))
    assert events(host) == [] and log_rows(host, "stanza LIKE '%saints%'") == 0


def test_what_nobody_archives_leaves_nothing(make_server):
    host = make_server("alice", "bob", settings={"archive.enabled": "off"})
    alice = host.client("alice", "a")
    say(alice, "bob@localhost", "m1", "saints")
    retract(alice, "bob@localhost", "m1")
    until("a tombstone", lambda: log_rows(host, "stanza LIKE '%retracted%'") == 1)
    assert events(host) == [] and log_rows(host, "stanza LIKE '%saints%'") == 0


def test_words_that_were_taken_back_count(make_server):
    """They cannot fill the disk, and go when the archive has too much."""
    host = make_server("alice", "bob", settings={"archive.user-bytes": LIMIT})
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    for i in range(60):
        say(alice, bob.bare, f"m{i}", f"{i} {TEXT}")
        retract(alice, bob.bare, f"m{i}")
        bob.expect(f"<message id='r-m{i}'/>")
    trimmed(host, "alice")
    trimmed(host, "bob")
    assert log_rows(host, f"stanza LIKE '%{TEXT}%'") < 50

    def same():
        found = sizes(host)
        return found and by_owner(found[0]) == by_owner(found[1])
    until("what is counted is there", same)
    assert 0 < len(events(host)) < 50
    flood(bob, alice.bare, 60, "bob")
    until("all are gone", lambda: not events(host) and not event_rows(host))
    until("what is counted is there", same)


def test_kill_leaves_both_or_none(server):
    """As many events as tombstones, whenever the process ends."""
    alice = server.client("alice", "a")
    for i in range(40):
        say(alice, "bob@localhost", f"m{i}", f"saints {i}")
    until("all stored", lambda: log_rows(server, "stanza LIKE '%saints%'") == 40)
    for i in range(40):
        retract(alice, "bob@localhost", f"m{i}")
    until("the first", lambda: event_rows(server))
    server.kill()
    server.start()
    done = log_rows(server, "(flags & 32) <> 0")
    assert 0 < done <= 40 and event_rows(server) == 2 * done
    assert log_rows(server, "stanza LIKE '%saints%'") == 40, "the words are there, once"
    assert len({e[2] for e in events(server)}) == done


# --- archive read ---


def read(host, *args):
    return [r.get("body") for r in host.rows("archive", "read", "bob@localhost", *args)]


def test_an_archive_is_read_page_by_page(server):
    """Without a sign to its owner, who has not seen the messages."""
    alice, carol = server.client("alice", "a"), server.client("carol", "c")
    for i in range(5):
        say(alice, "bob@localhost", f"m{i}", f"text {i}")
    until("all of them", lambda: len(read(server)) == 5)
    say(carol, "bob@localhost", "c0", "of another &lt;b&gt; &amp; more")
    until("all are stored", lambda: len(read(server)) == 6)
    assert read(server, "--with", "alice@localhost") == [f"text {i}" for i in range(5)]
    assert read(server, "--with", "carol@localhost") == ["of another <b> & more"]
    rows = server.rows("archive", "read", "bob@localhost", "--limit", "2")
    assert [r["body"] for r in rows] == ["text 0", "text 1"]
    assert rows[0]["from"] == str(alice) and rows[0]["to"] == "bob@localhost"
    assert "<body>text 0</body>" in rows[0]["stanza"]
    answer = server.ctl("archive", "read", "bob@localhost", "--limit", "4", "--after",
                        rows[-1]["id"])
    assert [r["body"] for r in answer["rows"]] == ["text 2", "text 3", "text 4",
                                                   "of another <b> & more"]
    assert read(server, "--start", "2100-01-01T00:00:00Z") == []
    assert len(read(server, "--start", rows[0]["time"], "--end", "2100-01-01T00:00:00Z")) == 6
    assert read(server, "--end", "2001-01-01T00:00:00Z") == []
    bob = server.client("bob", "b")
    for i in range(5):
        bob.expect(f"<message id='m{i}'/>")
    retract(alice, "bob@localhost", "m0")
    until("its words are gone", lambda: read(server)[0] != "text 0")


def test_who_reads_an_archive(server):
    alice = server.client("alice", "a")
    say(alice, "bob@localhost", "m0", "private")
    until("it is stored", lambda: read(server) == ["private"])
    for wrong in (["bob@localhost", "--after", "zz"], ["nobody@localhost"],
                  ["bob@localhost", "--start", "yesterday"],
                  ["bob@localhost", "--after", "0000000000000001"]):
        assert server.ctl_run("archive", "read", *wrong).returncode != 0, wrong
    for role, words in (("viewer", "compliance.read"), ("operator", "compliance.read"),
                        ("auditor", "reason is missing")):
        server.ctl("admin", "add", "alice@localhost", role)
        assert words in refused(alice, "archive-read", jid="bob@localhost"), role
    assert refused(alice, "archive-read", jid="bob@localhost", reason="case 4711") is None
    entry = next(e for e in server.rows("audit", "list") if "case 4711" in e["args"])
    assert entry["command"] == "archive read" and "bob@localhost" in entry["args"]
    assert "private" not in str(entry)
