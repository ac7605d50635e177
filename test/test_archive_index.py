"""The index of words in archives (XEP-0431) when its tables are damaged."""
import pytest

from muster.client import until
from test_mam import WORDS, Page, chat, library, query_text

__all__ = ["library"]
DAMAGE = {"structure": "UPDATE message_fts_data SET block = x'00000000ffffffffffffff7f' "
                       "WHERE id = 10",
          "pages": "DELETE FROM message_fts_data WHERE id > 10",
          "bytes": "UPDATE message_fts_data SET block = x'ffffffffffffffffffffffffffffffffffff' "
                   "WHERE id > 10",
          "all": "DELETE FROM message_fts_data"}


def position(db):
    """How far the index follows the log."""
    return db.execute("SELECT position FROM reader WHERE name = 'fulltext'").fetchone()[0]


@pytest.mark.sqlite
@pytest.mark.parametrize(("damage", "first"), [
    ("structure", "message"), ("all", "removal"), ("pages", "search"), ("bytes", "search"),
    ("pages", "removal"), ("pages", "merge")])
def test_a_damaged_index_is_made_anew(server, library, damage, first):
    """Whatever meets it first: messages are stored, and searches find all again."""
    alice, bob, _ = library
    assert len(Page(alice, (WORDS, "quick")).bodies) == 3
    for client in library:
        client.close()
    server.stop()
    with server.database() as db:
        db.execute(DAMAGE[damage])
    server.start()
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
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
    for text in "quick as before", "the end":
        chat(bob, alice.bare, text)
        alice.expect(f"<message><body>{text}</body></message>")
    found = ["the quick brown fox", "quick, quick!", "QUICK & dirty", "quick as before"]
    until("all is found", lambda: Page(alice, (WORDS, "quick")).bodies == found)
    until("it is complete", lambda: "archive.index" not in {
        r["name"] for r in server.rows("alarm", "list")})
    assert Page(alice, (WORDS, "end")).bodies == ["the end"]
    told = {r["name"] for r in server.rows("alarm", "history")}
    assert "archive.index" in told and "store.down" not in told
    assert server.log().count("event=store.index-damaged") == 1
