"""What it costs the server to find a message that its author retracts (XEP-0424) or corrects
(XEP-0308), and that it is found."""
import pytest

from harness import xml
from harness.client import until
from harness.slow_disk import STILL
from im.test_account_life import leaving
from archive.test_events import correct, events, log_rows, say
from archive.test_mam import RETRACT, Page, retract, tombstone
from stream.test_sm import resume

RATE, WHY = {"c2s.stanza-rate": 100000}, "hundreds of messages at once"
WAITING = 512  # RETRACTIONS_MAX
RETRACTED = "<message id='r-m1'/>"


def stored(server, count):
    until(f"{count} messages", lambda: log_rows(server) >= count)


@pytest.mark.parametrize("count, text", [(20, "see m1"), (300, "see m1"), (600, "see")],
                         ids=["newer", "more newer than a page", "pages without it"])
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_an_id_that_stands_in_newer_messages(make_server, who, count, text):
    """Whoever sent them, and however many: the message that has it is found."""
    server = make_server("alice", "bob", settings=RATE, why=WHY)
    client = {name: server.client(name, name[0]) for name in ("alice", "bob")}
    alice, bob = client["alice"], client["bob"]
    say(alice, bob.bare, "m1", "words")
    bob.expect("<message id='m1'/>")
    other = bob if who == "alice" else alice
    for i in range(count):
        say(client[who], other.bare, f"n{i}", text)
    other.expect(f"<message id='n{count - 1}'/>")
    correct(alice, bob.bare, "m2", "m1", "better")
    stored(server, count + 2)
    assert events(server) == [("corrected", alice.bare, "words", "better")]
    retract(alice, bob.bare, "m1")
    bob.expect(RETRACTED)
    until("the tombstone", lambda: len(events(server)) == 2)
    for one in (alice, bob):
        assert tombstone(Page(one).messages[0]).get("id") == "r-m1"


@pytest.mark.release
def test_newer_messages_that_are_more_than_one_read(make_server):
    """16 candidates of these have more bytes than a batch returns."""
    server = make_server("alice", "bob", settings={
        "c2s.stanza-bytes": "4MiB", "c2s.byte-rate": "none"}, why="long messages")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    say(alice, bob.bare, "m1", "words")
    for i in range(12):
        say(bob, alice.bare, f"n{i}", "m1 " + 3_500_000 * "x")
        alice.expect(f"<message id='n{i}'/>")
    stored(server, 13)
    retract(alice, bob.bare, "m1")
    bob.expect(RETRACTED)
    until("the tombstone", lambda: len(events(server)) == 1)


@pytest.mark.sqlite
def test_retractions_of_one_user_wait_in_a_line(make_server, disk):
    """On a disk that stands still they wait; what is too many is refused at once, with one error
    each, and what another user retracts is not."""
    server = make_server("alice", "bob", "carol", disk=disk, settings=RATE, why=WHY)
    alice, bob, carol = (server.client(name, name[0]) for name in ("alice", "bob", "carol"))
    say(alice, bob.bare, "m1", "words")
    say(carol, bob.bare, "m2", "words")
    stored(server, 2)
    disk.turn(sync_ms=STILL)
    for i in range(WAITING + 3):
        retract(alice, bob.bare, f"none{i}")
    for i in range(WAITING, WAITING + 3):
        bad = xml.canonical(alice.expect(f"<message type='error' id='r-none{i}'/>"))
        assert "resource-constraint" in bad and "too many retractions wait" in bad
    say(alice, bob.bare, "last", "words")
    bob.expect("<message id='last'/>")
    alice.ping()
    assert not [e for e in alice.inbox if e.get("type") == "error"]
    retract(carol, bob.bare, "m2")
    carol.ping()
    assert not [e for e in carol.inbox if e.get("type") == "error"]
    disk.turn(sync_ms=0)

    def gone(client, ident):
        retract(client, bob.bare, ident)  # again, as a client does that was refused
        return tombstone(Page(client).messages[0]) is not None
    until("Carol's is retracted", lambda: gone(carol, "m2"))
    until("Alice's is retracted", lambda: gone(alice, "m1"))


@pytest.mark.sqlite
def test_retractions_to_one_who_has_blocked_their_author_get_one_error(make_server, disk):
    """That of the blocking, however many wait."""
    server = make_server("alice", "bob", disk=disk, settings=RATE, why=WHY)
    alice, bob = (server.client(name, name[0]) for name in ("alice", "bob"))
    bob.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{alice.bare}'/></block>")
    disk.turn(sync_ms=STILL)
    for i in range(WAITING + 3):
        retract(alice, bob.bare, f"none{i}")
    for i in range(WAITING + 3):
        bad = xml.canonical(alice.expect(f"<message type='error' id='r-none{i}'/>"))
        assert "service-unavailable" in bad
    alice.ping()
    assert not [e for e in alice.inbox if e.get("type") == "error"]
    disk.turn(sync_ms=0)


def test_a_repeat_replaces_what_waits_for_a_session(make_server):
    """The write of the tombstone was given up, and committed later."""
    server = make_server("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    bob.enable_sm()
    bob.ping()
    bob.cut()
    alice.enable_sm()
    say(alice, bob.bare, "m1", "words")
    stored(server, 1)
    with server.database() as db:
        db.execute("UPDATE message SET stanza = replace(stanza, '<body>words</body>',"
                   f" '<retracted xmlns=''{RETRACT}'' stamp=''2026-11-22T00:00:00Z''/>')")
    retract(alice, bob.bare, "m1")
    alice.wait_acked(2)  # it is looked for in the database
    bob = resume(server, bob)
    assert tombstone(bob.expect("<message id='m1'/>")) is not None


def words_of(server):
    with server.database(read_only=True) as db:
        return db.execute("SELECT count(*) FROM message WHERE stanza LIKE '%<body>secret%' "
                          "AND (flags & 16) = 0").fetchone()[0]


@pytest.mark.sqlite
@pytest.mark.parametrize("when", ["before", "while"])
def test_what_is_retracted_while_the_addressee_is_deleted(make_server, disk, when):
    """It leaves the archive of its author, too, whatever comes first at the home of the
    addressee."""
    server = make_server("alice", "bob", disk=disk, settings=RATE, why=WHY)
    alice = server.client("alice", "a")
    server.client("bob", "b")
    for i in range(40):
        say(alice, "bob@localhost", f"m{i}", "secret")
    stored(server, 40)
    assert words_of(server) == 40
    disk.turn(sync_ms=STILL)
    if when == "while":
        command = leaving(server, alice, "del")
    for i in range(40):
        retract(alice, "bob@localhost", f"m{i}")
    alice.ping()
    if when == "before":
        command = leaving(server, alice, "del")
    disk.turn(sync_ms=0)
    assert "deleted" in command.communicate()[0]
    until("no words are left", lambda: words_of(server) == 0)


@pytest.mark.sqlite
def test_what_is_retracted_while_the_addressee_is_disabled(make_server, disk):
    """Nobody changes the archive of a disabled account: the retraction is refused."""
    server = make_server("alice", "bob", disk=disk, settings=RATE, why=WHY)
    alice = server.client("alice", "a")
    server.client("bob", "b")
    say(alice, "bob@localhost", "m1", "secret")
    stored(server, 1)
    disk.turn(sync_ms=STILL)
    command = leaving(server, alice, "disable")
    retract(alice, "bob@localhost", "m1")
    alice.expect("<message type='error' id='r-m1'/>")
    disk.turn(sync_ms=0)
    assert "disabled" in command.communicate()[0]
    retract(alice, "bob@localhost", "m1")
    alice.expect("<message type='error' id='r-m1'/>")
    assert words_of(server) == 1
