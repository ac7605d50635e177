"""Archives and offline messages that come from other servers."""
import time
import xml.etree.ElementTree as ET

from harness.client import until
from harness.imports import (BEGIN_US, LINES, MANY, OWNER, PUBSUB, canonical, entry, messages_of,
                            server_data, stamp_of, times, with_archive)
from archive.test_mam import MAM, WORDS, Page, form


def pages(client, size=200, **options):
    """All of an archive, page by page: (id, time, text)."""
    found, after = [], ""
    while True:
        page = Page(client, page=f"<max>{size}</max>{after}", **options)
        found += zip(page.ids, page.stamps, page.bodies)
        if page.complete:
            return found
        after = f"<after>{page.last}</after>"


def test_equal_messages_are_not_one(server, load):
    """The same text twice, without ids, is two messages, archived or not; and what came long ago is
    not what waits now."""
    def message(stamp, archived):
        delay = f"<delay xmlns='urn:xmpp:delay' from='localhost' stamp='{stamp}'/>"
        text = ("<message xmlns='jabber:client' from='romeo@localhost/x' to='juliet@localhost'"
                " type='chat'><body>ok</body>{}</message>")
        return (f"<result xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'>{delay}"
                + text.format("") + "</forwarded></result>") if archived else text.format(delay)
    stamps = ["2020-05-02T10:00:01Z", "2020-05-02T10:00:02Z"]
    archive = "".join(message(s, True) for s in ["2019-01-01T00:00:00Z", *stamps])
    offline = "".join(message(s, False) for s in [*stamps, "2020-05-03T10:00:00Z"])
    load(server_data("<user name='juliet' password='x'><archive xmlns='urn:xmpp:pie:0#mam'>"
                     f"{archive}</archive><offline-messages>{offline}</offline-messages></user>"))
    juliet = server.client("juliet", password="x")
    got = [juliet.expect("<message from='romeo@localhost/x'><body>ok</body></message>")
           .find("{urn:xmpp:delay}delay").get("stamp")[:19] + "Z" for _ in range(3)]
    assert got == [*stamps, "2020-05-03T10:00:00Z"]
    stats = server.ctl("user", "stats", "juliet@localhost")["rows"]
    assert {"name": "stored messages", "value": "4"} in stats


def test_a_long_archive_comes_whole(server, load, make_server, tmp_path):
    """With its times, and ids that can be kept; what goes from here comes again as it was."""
    text = server_data(with_archive(entry(us, body, key, i % 2)
                                    for i, (us, key, body) in enumerate(LINES)))
    for more in ["--dry-run"], []:
        message, lost = load(text, *more)
        assert lost == set() and message.endswith("what does not come along: 0")
    juliet = server.client("juliet", password="x", priority=-1)
    found = pages(juliet)
    assert [body for _, _, body in found] == [body for _, _, body in LINES]
    assert len({key for key, _, _ in found}) == MANY
    assert [times(at) for _, at, _ in found] == [us / 10**6 for us, _, _ in LINES]
    middle = LINES[MANY // 2]
    page = Page(juliet, ("start", stamp_of(middle[0])), page="<max>1</max>")
    assert page.bodies == [middle[2]]
    assert messages_of(server) == MANY
    server.ctl("export", "xep0227", str(tmp_path / "out.xml"))
    exported = {r.get("id") for r in ET.parse(tmp_path / "out.xml").iter(f"{{{MAM}}}result")}
    assert exported == {key for _, key, _ in LINES}

    # again: nothing twice; anew: as LINES, and those of the file
    load(text)
    assert messages_of(server) == MANY
    load(server_data(with_archive([entry(*LINES[0][:1], "other", "x", 0)])), "--replace")
    assert messages_of(server) == 1
    load(text, "--replace")
    juliet = server.client("juliet", password="x", priority=-1)
    assert pages(juliet) == found  # by the ids that clients know

    other = make_server()
    assert other.bring("xep0227", str(tmp_path / "out.xml"))["rows"] == []
    other.ctl("export", "xep0227", str(tmp_path / "again.xml"))
    assert canonical((tmp_path / "out.xml").read_text()) == canonical(
        (tmp_path / "again.xml").read_text())
    assert [row[1:] for row in pages(other.client("juliet", password="x", priority=-1))] == [
        row[1:] for row in found]


def test_ids_that_cannot_be_kept(server, load, tmp_path):
    """Those of other servers, those that are far from their times, and those that are there twice:
    the order is right, and no time is lost."""
    keys = ["aZ-9", str(BEGIN_US + 3600 * 10**6), "-5", "9" * 30, str(BEGIN_US + 4 * 10**6),
            str(BEGIN_US + 4 * 10**6), str(4 * 10**15)]
    load(server_data(with_archive(entry(BEGIN_US + i * 10**6, f"t{i}", key, 0)
                                  for i, key in enumerate(keys))))
    found = pages(server.client("juliet", password="x", priority=-1))
    assert [body for _, _, body in found] == [f"t{i}" for i in range(len(keys))]
    assert [times(at) for _, at, _ in found] == [BEGIN_US / 10**6 + i for i in range(len(keys))]
    server.ctl("export", "xep0227", str(tmp_path / "out.xml"))
    ids = [int(r.get("id")) for r in ET.parse(tmp_path / "out.xml").iter(f"{{{MAM}}}result")]
    assert len(ids) == len(keys) and ids == sorted(set(ids)) and all(
        abs(n - BEGIN_US - i * 10**6) < 60 * 10**6 for i, n in enumerate(ids))


def test_an_account_that_is_not_taken_leaves_no_archive(server, load):
    """Messages are stored before their account. If the database does not take that, they go."""
    server.ctl("set", "pep.bytes-max", "64MiB")
    config = form(("pubsub#max_items", "300"), form_type=f"{PUBSUB}#node_config")
    large = "".join(f"<item id='{i}'><a xmlns='urn:a'>{'n' * 60000}</a></item>" for i in range(300))
    entries = [entry(us, body, key, 0) for us, key, body in LINES]
    message, lost = load(server_data(with_archive(
        entries, more=f"<pubsub xmlns='{OWNER}'><configure node='a'>{config}</configure></pubsub>"
                      f"<pubsub xmlns='{PUBSUB}'><items node='a'>{large}</items></pubsub>")))
    (_, said), = lost
    assert "refused: 1" in message and "it has more than 16 MiB" in said
    with server.database(read_only=True) as db:
        assert db.execute("SELECT count(*) FROM message").fetchone() == (MANY,)
    # interrupted: the process ended between messages and account
    server.ctl("set", "archive.retention", "36500", "--accept")
    server.ctl("archive", "expire")
    server.stop()
    with server.database() as db:
        assert db.execute("SELECT count(*) FROM entry").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM import_part").fetchone() == (0,)
        db.execute("INSERT INTO message(id, at_us, sender, rcpt, sender_entry, rcpt_entry, flags,"
                   " origin, pending_out, stanza)"
                   " VALUES(100000, 5, 0, 999, 0, 5, 64, 0, 0, '<message/>')")
        db.execute("INSERT INTO entry(owner, id, peer, msg, flags) VALUES(999, 5, 0, 100000, 0)")
        db.execute("INSERT INTO import_part VALUES(999, 'juliet@localhost')")
    server.start()
    server.ctl("archive", "expire")
    with server.database(read_only=True) as db:
        for table in "entry", "import_part":
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    load(server_data(with_archive(entries)))
    assert messages_of(server) == MANY


def test_retention_and_search_know_what_was_imported(server, load):
    """An old archive is found by words, and goes by its times, not by when it came."""
    now = int(time.time()) * 10**6
    fresh = [(now - i * 10**6, str(now - i * 10**6), f"fresh {i}") for i in range(1200, 0, -1)]
    load(server_data(with_archive(entry(us, body, key, 1) for us, key, body in LINES + fresh)))
    juliet = server.client("juliet", password="x", priority=-1)
    found = Page(juliet, (WORDS, "2222"))
    assert found.bodies == ["line 2222"]
    server.ctl("set", "archive.retention", "30", "--accept")
    server.ctl("archive", "expire")
    assert [body for _, _, body in pages(juliet)] == [body for _, _, body in fresh]


def test_the_longest_message_that_is_stored_is_delivered(server, load, tmp_path):
    """One that is longer costs itself only. Each of these has a transaction of its own."""
    longest = (16 << 20) - (64 << 10) - len("<body xmlns='jabber:client'></body>") - 6

    def message(name, length):
        return (f"<message xmlns='jabber:client' from='romeo@localhost/x' type='chat' id='{name}'>"
                f"<body>{'x' * length}</body></message>")
    lengths = [1 << 20, longest, longest, longest + 1]
    text, lost = load(server_data(
        "<user name='juliet' password='x'><offline-messages>"
        + "".join(message(i, length) for i, length in enumerate(lengths))
        + "</offline-messages></user>"))
    assert "users imported: 1," in text and text.endswith("come along: 1")
    assert lost == {("juliet@localhost", "a message longer than 15.9 MiB, or with an id longer "
                                         "than 1 MiB, from romeo@localhost/x")}
    juliet = server.client("juliet", password="x")
    for i, length in enumerate(lengths[:3]):
        body = juliet.expect(f"<message id='{i}'/>").findtext("{jabber:client}body")
        assert len(body) == length
    assert [len(b) for b in Page(juliet).bodies] == lengths[:3]
    juliet.close()
    # more than one read of the database may give; nothing waits, once that is stored
    path = tmp_path / "out.xml"

    def exported():
        path.unlink(missing_ok=True)
        assert server.ctl("export", "xep0227", str(path))["rows"] == []
        return [len(e.text) for e in ET.parse(path).iter("{jabber:client}body")]
    until("all is delivered", lambda: exported() == lengths[:3])


def test_a_message_that_is_longer_than_an_answer_is_read_past(server, load):
    """Its place and its length are shown, and those behind it."""
    load(server_data(with_archive(
        entry(BEGIN_US + i * 10**6, "x" * size, f"k{i}", 0)
        for i, size in enumerate([10, 9 << 20, 10, (2 << 20) - 10_000]))))
    rows = server.rows("archive", "read", "juliet@localhost")
    assert [len(r["body"]) if "body" in r else None for r in rows] == \
        [10, None, 10, (2 << 20) - 10_000]
    assert rows[1]["bytes"] > 9 << 20 and "stanza" not in rows[1]
    [last] = server.rows("archive", "read", "juliet@localhost", "--after", rows[2]["id"])
    assert "bytes" not in last
