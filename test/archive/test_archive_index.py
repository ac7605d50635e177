"""The index of words in archives (XEP-0431): whatever damages it, it is made anew."""
import pytest

from harness.client import until
from archive.test_mam import WORDS, Page, chat, library, query_text

__all__ = ["library"]
pytestmark = pytest.mark.sqlite


@pytest.fixture
def indexed(library):
    """The clients of the library, all of which the index has."""
    assert len(Page(library[0], (WORDS, "quick")).bodies) == 3
    return library


def damage_stopped(server, clients, sql):
    """Somebody writes to the database, and then the server starts."""
    for client in clients:
        client.close()
    server.stop()
    with server.database() as db:
        db.executescript(sql)
    server.start()
    return server.client("alice", "a"), server.client("bob", "b")


def names(server, what):
    """Of alarms."""
    return {r["name"] for r in server.rows("alarm", what)}


def is_answered(client):
    """Whether a search is; what it finds is left out."""
    before = list(client.inbox)
    reply = client.iq("set", query_text((WORDS, "quick")))
    client.inbox = before
    return reply.get("type") == "result"


def assert_made_anew(server, alice, bob):
    """Messages are stored, searches find all again, and the alarm tells of it."""
    for text in "quick as before", "the end":
        chat(bob, alice.bare, text)
        alice.expect(f"<message><body>{text}</body></message>")
    found = ["the quick brown fox", "quick, quick!", "QUICK & dirty", "quick as before"]
    until("it is complete", lambda: "archive.index" in names(server, "history") and
          "archive.index" not in names(server, "list"))
    until("it is answered", lambda: is_answered(alice))
    assert Page(alice, (WORDS, "quick")).bodies == found
    assert Page(alice, (WORDS, "end")).bodies == ["the end"]
    assert not names(server, "history") & {"store.down", "store.refused"}
    assert server.log().count("event=store.index-damaged") == 1


DAMAGE = {"structure": "UPDATE message_fts_data SET block = x'00000000ffffffffffffff7f' "
                       "WHERE id = 10",
          "pages": "DELETE FROM message_fts_data WHERE id > 10",
          "bytes": "UPDATE message_fts_data SET block = x'ffffffffffffffffffffffffffffffffffff' "
                   "WHERE id > 10",
          "all": "DELETE FROM message_fts_data"}


def position(db):
    """How far the index follows the log."""
    return db.execute("SELECT position FROM reader WHERE name = 'fulltext'").fetchone()[0]


@pytest.mark.parametrize(("damage", "first"), [
    ("structure", "message"), ("all", "removal"), ("pages", "search"), ("bytes", "search"),
    ("pages", "removal"), ("pages", "merge")])
def test_a_damaged_index_is_made_anew(server, indexed, damage, first):
    """Whatever meets it first."""
    alice, bob = damage_stopped(server, indexed, DAMAGE[damage])
    if first == "removal":
        server.ctl("user", "del", "carol@localhost")
    elif first == "merge":  # of so many parts of the index
        for i in range(16):
            with server.database(read_only=True) as db:
                before = position(db)
                chat(bob, alice.bare, f"part {i}")
                until("it is indexed or emptied", lambda: position(db) != before)
        server.wait_log("store.index-damaged")
    if damage in ("pages", "bytes") and first != "merge":  # and later ones are answered
        assert alice.error("set", query_text((WORDS, "quick")))[0] == "resource-constraint"
    assert_made_anew(server, alice, bob)


CLOSED = {"no version": "DELETE FROM message_fts_config",
          "later version": "UPDATE message_fts_config SET v = 99 WHERE k = 'version'",
          "text as version": "UPDATE message_fts_config SET v = 'x' WHERE k = 'version'",
          "no config": "DROP TABLE message_fts_config",
          "no data": "DROP TABLE message_fts_data",
          "no idx": "DROP TABLE message_fts_idx",
          "no shadows": "DROP TABLE message_fts_config; DROP TABLE message_fts_data;"
                        "DROP TABLE message_fts_idx",
          "other columns": "ALTER TABLE message_fts_idx RENAME COLUMN pgno TO page",
          "another table": "DROP TABLE message_fts; CREATE TABLE message_fts(words)",
          "other options": "DROP TABLE message_fts; CREATE VIRTUAL TABLE message_fts "
                           "USING fts5(text)",
          "shadows alone": "PRAGMA writable_schema = ON;"
                           "DELETE FROM sqlite_schema WHERE name = 'message_fts'",
          "none": "DROP TABLE message_fts"}


@pytest.mark.parametrize("damage", CLOSED)
def test_an_index_that_cannot_be_opened_is_made_anew(server, indexed, damage):
    assert_made_anew(server, *damage_stopped(server, indexed, CLOSED[damage]))


def test_an_index_that_cannot_be_opened_after_a_crash(server, indexed):
    server.kill()
    with server.database() as db:
        db.executescript(CLOSED["no data"])
    server.start()
    assert_made_anew(server, server.client("alice", "a"), server.client("bob", "b"))
    for client in indexed:
        client.expect_closed()


@pytest.mark.parametrize("first", ["message", "search", "removal"])
@pytest.mark.parametrize("damage", ["no data", "no idx", "none"])
def test_an_index_that_is_closed_while_the_server_works(server, indexed, damage, first):
    """By another program. A search that meets it is refused once, and all else goes on."""
    alice, bob, _ = indexed
    with server.database() as db:
        db.executescript(CLOSED[damage])
    if first == "search":
        is_answered(alice)
    elif first == "removal":
        server.ctl("user", "del", "carol@localhost")
    assert_made_anew(server, alice, bob)


def test_what_is_not_the_index_still_stops_the_server(server):
    """A table of archives that is missing is a matter for a backup."""
    server.stop()
    with server.database() as db:
        db.execute("DROP TABLE mam_prefs")
    server.start(ready=False)
    assert server.wait_exit() == 1
    assert "mam_prefs" in server.log().splitlines()[-1]
