"""archive.retention at the end of the archive: the newest message of the server."""
import pytest

from archive.test_mam import WORDS, Page, age, chat, count_rows


@pytest.mark.parametrize("fulltext", (True, False))
def test_the_newest_message_expires_as_others_do(make_server, fulltext):
    """Its row stays empty until there is another, so that its id is not used again."""
    server = make_server("alice", "bob", settings={
        "archive.retention": 30, "archive.fulltext": fulltext})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    for text in "one", "the newest":
        chat(alice, "bob@localhost", text)
        bob.expect(f"<message><body>{text}</body></message>")
    bob.ping()
    server.stop()
    assert age(server, 2, 40) == 2
    server.start()
    for deleted in 2, 0:
        assert f"messages deleted: {deleted}" in str(server.ctl("archive", "expire"))
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    assert Page(alice).bodies == Page(bob).bodies == []
    assert count_rows(server, "entry") == 0
    chat(alice, "bob@localhost", "new")
    bob.expect("<message><body>new</body></message>")
    bob.ping()
    assert Page(alice).bodies == Page(bob).bodies == ["new"]  # it is stored
    assert "messages deleted: 0" in str(server.ctl("archive", "expire"))
    assert Page(alice).bodies == Page(bob).bodies == ["new"]
    with server.database(read_only=True) as db:
        rows = db.execute("SELECT * FROM message").fetchall()
        assert [row[0] for row in rows] == [3], rows
    assert not fulltext or Page(alice, (WORDS, "new")).bodies == ["new"]
