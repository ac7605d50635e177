"""How much an archive may hold (archive.user-bytes, archive.room-bytes): the longest conversation
loses its oldest messages, nothing that is not delivered; what is counted is what is there."""
import pytest

from harness import muc
from harness.client import until
from harness.imports import BEGIN_US, entry, server_data, with_archive
from harness.muc import Room
from harness.slow_disk import STILL
from archive.test_mam import Page, chat
from rooms.test_archive import FULLTEXT, Page as RoomPage

LIMIT = 64 << 10
ROW = 128  # what a message counts besides its stanza
TEXT = "x" * 1500


def sizes(server):
    """(counted, there): bytes by owner and conversation; None while messages are not counted."""
    length = "octet_length(stanza)" if server.url else "length(CAST(stanza AS BLOB))"
    length += " + coalesce((SELECT more FROM archive_event WHERE about = message.id), 0)"
    with server.database() as db:
        counted = db.execute("SELECT owner, peer, bytes FROM archive_size WHERE bytes > 0 "
                             "ORDER BY owner, peer").fetchall()
        there = db.execute(
            f"SELECT owner, peer, CAST(sum(n + {ROW}) AS BIGINT) FROM (SELECT rcpt AS owner,"
            f" sender AS peer, {length} AS n FROM message WHERE rcpt_entry <> 0"
            f" AND ((flags & 2) = 0 OR rcpt >= {muc.ROOM_ID_MIN})"
            f" UNION ALL SELECT sender, rcpt, {length} FROM message WHERE sender_entry <> 0) c"
            " GROUP BY owner, peer ORDER BY owner, peer").fetchall()
        position, last = db.execute(
            "SELECT (SELECT position FROM reader WHERE name = 'archive-sizes'),"
            " (SELECT max(id) FROM message)").fetchone()
    return (list(map(tuple, counted)), list(map(tuple, there))) if position == last else None


def by_owner(rows):
    """Without the conversations: that with a deleted account has another number in messages."""
    total = {}
    for owner, _, n in rows:
        total[owner] = total.get(owner, 0) + n
    return total


def size_of(server, name):
    """The counted bytes of one user's archive; -1 until it is counted."""
    found = sizes(server)
    with server.database() as db:
        owner, = db.execute("SELECT id FROM account WHERE jid = ?",
                            (f"{name}@localhost",)).fetchone()
    return -1 if found is None else sum(n for o, _, n in found[1] if o == owner)


def trimmed(server, name):
    until(f"{name}'s archive is within its limit", lambda: 0 <= size_of(server, name) <= LIMIT)


def everything(client, *fields):
    """Texts of the whole archive."""
    page = Page(client, *fields, page="<max>250</max>")
    assert page.complete
    return page.bodies


@pytest.fixture
def host(make_server):
    return make_server("alice", "bob", "carol", "eve",
                       settings={"archive.user-bytes": LIMIT, "archive.room-bytes": LIMIT})


def flood(client, to, count, mark):
    for i in range(count):
        chat(client, to, f"{mark}{i} {TEXT}")
    client.result("get", "<ping xmlns='urn:xmpp:ping'/>")


def test_the_oldest_of_the_longest_conversation_goes(host):
    alice, bob, eve = (host.client(n, "r") for n in ("alice", "bob", "eve"))
    flood(bob, alice.bare, 10, "bob")
    flood(eve, alice.bare, 60, "eve")
    trimmed(host, "alice")
    texts = [t.split()[0] for t in everything(alice)]
    assert [t for t in texts if t.startswith("bob")] == [f"bob{i}" for i in range(10)]
    rest = [t for t in texts if t.startswith("eve")]
    assert rest == [f"eve{i}" for i in range(60 - len(rest), 60)] and len(rest) > 20
    assert [t.split()[0] for t in everything(bob)] == [f"bob{i}" for i in range(10)]
    assert len(everything(alice, (FULLTEXT, "bob3"))) == 1
    assert not everything(alice, (FULLTEXT, "eve3"))
    host.restart()
    alice = host.client("alice", "r")
    assert [t.split()[0] for t in everything(alice)] == texts


def test_what_is_not_delivered_stays(host):
    eve = host.client("eve", "r")
    flood(eve, "alice@localhost", 60, "eve")
    trimmed(host, "eve")
    assert size_of(host, "alice") > LIMIT
    alice = host.client("alice", "r")
    for i in range(60):
        alice.expect(f"<message><body>eve{i} {TEXT}</body></message>")
    alice.result("get", "<ping xmlns='urn:xmpp:ping'/>")

    def after_another():
        size = size_of(host, "alice")
        if size > LIMIT:
            flood(eve, alice.bare, 1, "more")
        return 0 <= size <= LIMIT
    until("the archive is within its limit when they are delivered", after_another)


def test_a_room(host):
    alice = host.client("alice", "r")
    room = Room("cave").create(alice, "first", persistentroom=True, enablearchiving=True)
    for i in range(60):
        alice.send(f"<message to='{room.jid}' type='groupchat'><body>m{i} {TEXT}</body></message>")
        alice.expect(f"<message type='groupchat'><body>m{i} {TEXT}</body></message>")
    until("it is counted", lambda: sizes(host))
    until("it is within its limit", lambda: sum(
        n for o, _, n in (sizes(host) or ((), ((muc.ROOM_ID_MIN, 0, LIMIT + 1),)))[1]
        if o >= muc.ROOM_ID_MIN) <= LIMIT)
    texts = [t.split()[0] for t in RoomPage(alice, room, page="<max>250</max>").bodies
             if t is not None]
    assert texts == [f"m{i}" for i in range(60 - len(texts), 60)] and len(texts) > 20
    room.destroy(alice)
    until("nothing of it is left", lambda: not any(
        o >= muc.ROOM_ID_MIN for o, *_ in (sizes(host) or ([(muc.ROOM_ID_MIN,)],))[0]))


def test_who_enters_and_leaves_a_room_counts(host):
    alice, bob = host.client("alice", "r"), host.client("bob", "r" * 900)
    host.ctl("set", "muc.archive-joins", "on")
    room = Room("cave").create(alice, "first", persistentroom=True)
    for _ in range(35):
        room.enter(bob, "second")
        room.leave(bob, "second")

    def stored():
        with host.database() as db:
            return db.execute("SELECT count(*), CAST(coalesce(sum(length(stanza)), 0) AS BIGINT)"
                              f" FROM message WHERE rcpt >= {muc.ROOM_ID_MIN}").fetchone()
    until("the oldest of these are removed",
          lambda: 20 < stored()[0] and stored()[0] * ROW + stored()[1] <= LIMIT)
    room.enter(bob, "second")

    def same():
        found = sizes(host)
        return found and found[0] == found[1]
    until("what is counted is there", same)


def test_a_lower_limit_applies_to_all(make_server):
    host = make_server("alice", "bob", "carol")
    host.ctl("set", "archive.user-bytes", "none")
    alice, bob, carol = (host.client(n, "r") for n in ("alice", "bob", "carol"))
    flood(bob, alice.bare, 60, "bob")
    host.ctl("set", "archive.user-bytes", LIMIT, "--accept")
    flood(carol, "carol@localhost", 1, "one")
    trimmed(host, "alice")
    trimmed(host, "bob")


OVER = {"user": "users whose oldest messages will be deleted: ",
        "room": "rooms whose oldest messages will be deleted: "}


def refused(server, count, what="user", limit=LIMIT):
    """Neither way of setting a lower limit deletes anything that was not accepted."""
    name = f"archive.{what}-bytes"
    done = server.ctl_run("set", name, str(limit))
    assert done.returncode != 0 and OVER[what] + count in done.stderr, (done.stdout, done.stderr)
    server.ctl("config", "edit", name, limit)
    row, = server.rows("config", "diff")
    assert row["impact"] == OVER[what] + count
    done = server.ctl_run("config", "apply")
    assert done.returncode != 0 and OVER[what] + count in done.stderr, (done.stdout, done.stderr)
    server.ctl("--yes", "config", "drop")


def archived(count, name, text=TEXT):
    return with_archive((entry(BEGIN_US + i * 1000000, f"line {i} {text}", BEGIN_US + i, i % 2)
                         for i in range(count)), name)


def test_imported_messages_count_at_once(server, load):
    """A lower limit needs --accept before the next message comes, and the reader counts them by
    then."""
    load(server_data(archived(60, "juliet"), archived(9, "nurse")))
    refused(server, "1")
    server.ctl("set", "archive.user-bytes", 1 << 20)

    def same():
        found = sizes(server)
        return found and found[0] == found[1]
    until("what is counted is there", same)
    refused(server, "1")
    server.ctl("set", "archive.user-bytes", LIMIT, "--accept")


def test_an_imported_room_counts_at_once(make_server, tmp_path):
    host = make_server("alice")
    alice = host.client("alice", "r")
    room = Room("cave").create(alice, "first", persistentroom=True, enablearchiving=True)
    for i in range(60):
        room.say(alice, f"m{i} {TEXT}")
        room.expect_body(alice, "first", f"m{i} {TEXT}")
    path = str(tmp_path / "cave.room")
    host.ctl("room", "export", room.jid, path)
    room.destroy(alice)
    until("nothing of it is left", lambda: sizes(host) == ([], []))
    host.ctl("room", "import", path)
    refused(host, "1", "room")
    until("it is counted", lambda: (sizes(host) or ((),))[0])
    assert sizes(host)[0] == sizes(host)[1]


def test_a_lower_limit_applies_on_an_idle_server(make_server):
    host = make_server("eve")
    eve = host.client("eve", "r")
    flood(eve, eve.bare, 250, "eve")
    until("they are counted", lambda: size_of(host, "eve") > 4 * LIMIT)
    eve.close()
    for limit in 4 * LIMIT, 3 * LIMIT, 2 * LIMIT, LIMIT:
        host.ctl("set", "archive.user-bytes", limit, "--accept")
        until("the oldest are gone", lambda: 0 <= size_of(host, "eve") <= limit)


@pytest.mark.parametrize("many", [False, True])
def test_a_limit_after_none(server, load, many):
    """Without limits nothing is counted. Then a limit counts what it can read in a short time, and
    needs --accept if there is more."""
    for limit in "archive.user-bytes", "archive.room-bytes":
        server.ctl("set", limit, "none")
    server.restart()  # a round of counting may have begun before
    load(server_data(archived(60, "juliet"),
                     *[archived(10000, "nurse", "short")] * many))
    server.restart()
    if many:
        refused(server, "could not be counted in time")
        refused(server, "could not be counted in time", limit=1 << 30)
    else:
        refused(server, "1")
        server.ctl("set", "archive.user-bytes", 1 << 30)
    server.ctl("set", "archive.user-bytes", LIMIT, "--accept")


def test_it_is_found_in_whichever_round(host):
    """An owner that is known to be below the limit is not summed up again at once."""
    bob = host.client("bob", "r")
    for i in range(6):
        flood(bob, "bob@localhost", 9, f"part{i}-")
        everything(bob)  # which waits until they are stored
        until("they are counted", lambda: sizes(host))
    trimmed(host, "bob")
    texts = [t.split()[0] for t in everything(bob)]
    assert 20 < len(texts) < 40 and texts[-1] == "part5-8"


@pytest.mark.sqlite
def test_messages_that_expire_while_they_are_counted(make_server, disk):
    """Their removal is committed between the read of a round and its write."""
    host = make_server("alice", disk=disk,
                       settings={"archive.fulltext": False, "archive.retention": 30})
    for limit in "archive.user-bytes", "archive.room-bytes":  # nothing is counted yet
        host.ctl("set", limit, "none")
    alice = host.client("alice", "a")

    def queue():
        return next(r["value"] for r in host.rows("metrics") if r["name"] == "muster_store_queue")
    room = Room("cave").create(alice, "a", persistentroom=True, enablearchiving=True)
    for i in range(3):
        room.say(alice, f"m{i}")
        room.expect_body(alice, "a", f"m{i}")
    host.ctl("set", "archive.room-bytes", LIMIT)
    until("they are stored", lambda: queue() == 0)
    disk.turn(wall_us=60 * 86400 * 1000000, sync_ms=STILL)
    expire = host.ctl_start("archive", "expire")
    until("the removal is under way", lambda: queue() > 0)
    room.say(alice, "new")  # begins a round
    muc.disco_info(alice, room.jid)
    before = queue()
    until("the write of the round waits behind both", lambda: queue() > before)
    disk.turn(sync_ms=0)
    assert "messages deleted: 3" in expire.communicate()[0]

    def same():
        found = sizes(host)
        return found and found[0] == found[1]
    until("what is counted is there", same)


def test_what_is_counted_is_what_is_there(host):
    """After messages to others and to oneself, of absent users, retracted ones, deleted accounts
    and a restart."""
    alice, bob, eve = (host.client(n, "r") for n in ("alice", "bob", "eve"))
    for i, (one, to) in enumerate(((alice, bob.bare), (bob, alice.bare), (alice, alice.bare),
                                   (eve, "carol@localhost"), (bob, "carol@localhost"))):
        one.send(f"<message to='{to}' type='chat' id='m{i}'><body>{TEXT}</body></message>")
        one.result("get", "<ping xmlns='urn:xmpp:ping'/>")
    until("they are counted", lambda: sizes(host))
    alice.send(f"<message to='{bob.bare}' type='chat' id='r'>"
               "<retract xmlns='urn:xmpp:message-retract:1' id='m0'/></message>")
    bob.expect("<message id='r'/>")

    def same():
        found = sizes(host)
        return found and by_owner(found[0]) == by_owner(found[1]) and found
    assert len(until("what is counted is there", same)[0]) == 7
    for name, left in ("eve", 6), ("carol", 4):
        host.ctl("user", "del", f"{name}@localhost")
        until(f"{name}'s are gone", lambda: len((sizes(host) or ((),))[0]) == left)
    host.restart()
    bob = host.client("bob", "r")
    flood(bob, "alice@localhost", 3, "again")
    until("what is counted is there", same)
