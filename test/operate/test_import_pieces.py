"""Accounts with an archive that is too long for one element: several <user/> of one name."""
import re
import time

import pytest

from harness.client import TIMEOUT, until
from harness.imports import BEGIN_US, LINES, entry, messages_of, server_data, stamp_of
from operate.test_import_archive import OWNER, PUBSUB, form, pages

MAM = "urn:xmpp:pie:0#mam"
ON = "<continues xmlns='urn:muster:pie:0'/>"
ENTRIES = [entry(us, body, key, i % 2) for i, (us, key, body) in enumerate(LINES)]


def user(entries=(), more="", goes_on=False, password="x", name="juliet"):
    """The last one has the password, and all else that an account has."""
    begin = f"<user name='{name}'" + (f">{ON}" if goes_on else f" password='{password}'>")
    archive = f"<archive xmlns='{MAM}'>{''.join(entries)}</archive>" if entries else ""
    return f"{begin}{archive}{more}</user>"


def pieces(entries=ENTRIES, size=1000, more=""):
    parts = [entries[i:i + size] for i in range(0, len(entries), size)]
    return [*(user(part, goes_on=True) for part in parts[:-1]), user(parts[-1], more)]


def left_of(server, jid="juliet@localhost"):
    """Nothing is, once the archive is cleaned: it needs no archive.retention for that."""
    assert "archive.retention is none, so no other message is too old" in server.ctl(
        "archive", "expire")["text"]
    return there_is(server, jid)


def there_is(server, jid="juliet@localhost"):
    with server.database(read_only=True) as db:
        return [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("entry", "import_part")] + [
                    db.execute("SELECT count(*) FROM account WHERE jid = ?", (jid,)).fetchone()[0]]


def test_pieces_are_one_account(server, load):
    """With all of its archive, in order, by the ids that it had; others around it are their own.
    The second time it is there, once."""
    roster = ("<query xmlns='jabber:iq:roster'><item jid='romeo@localhost' subscription='both'/>"
              "</query>")
    text = server_data(user(name="nurse"), *pieces(more=roster), user(name="paris"))
    for more in ["--dry-run"], []:
        message, lost = load(text, *more)
        assert lost == set() and re.search(r"users [a-z ]*imported: 3,", message), message
    juliet = server.client("juliet", password="x", priority=-1)
    found = pages(juliet)
    assert [body for _, _, body in found] == [body for _, _, body in LINES]
    juliet.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
    assert juliet.expect("<iq type='result' id='r'/>")[0][0].get("jid") == "romeo@localhost"
    message, lost = load(text)
    assert "there already: 3, refused: 0" in message and len(lost) == 3
    assert messages_of(server) == len(LINES)
    message, lost = load(text, "--replace", "--dry-run")
    assert "users that would be imported: 3," in message and not lost
    message, lost = load(text, "--replace")
    assert "users imported: 3," in message and not lost
    assert pages(server.client("juliet", password="x", priority=-1)) == found


def test_ids_rise_from_piece_to_piece(server, load):
    """Where they cannot be kept, and where a piece has older messages than the one before it."""
    old = [entry(us - 86400 * 10**6, body, "x", 0) for us, _, body in LINES[:20]]
    load(server_data(*pieces([*ENTRIES[:20], *old, *ENTRIES[20:40]], size=20)))
    bodies = [body for _, _, body in pages(server.client("juliet", password="x", priority=-1))]
    texts = [body for _, _, body in LINES]
    assert sorted(bodies) == sorted(texts[:40] + texts[:20]) and bodies[:20] == texts[:20]


@pytest.mark.parametrize("how", ["end", "other", "damaged", "limit"])
def test_without_its_last_piece_there_is_no_account(server, load, how):
    """Neither at the end of the file, nor if another user is between; and nothing of it stays."""
    first, second, last = pieces()
    text, refused = {
        "end": (server_data(first, second), 1),
        "other": (server_data(first, user(name="nurse"), second, last), 3),
        "damaged": (server_data(first, second.replace("<continues", "<continues&"), last), 3),
        "limit": (server_data(first, second, last.replace("password='x'", "password='x' a='&b;'")),
                  2),
    }[how]
    for more in ["--dry-run"], []:
        message, lost = load(text, *more)
        assert f"refused: {refused}" in message, (message, lost)
        assert "users imported: 1" in message or how != "other" or more
        assert any("its last part is missing" in what for _, what in lost)
    assert left_of(server) == [0, 0, 0]
    message, lost = load(server_data(first, second, last))
    assert "users imported: 1," in message and not lost
    assert messages_of(server) == len(LINES)


def test_the_answer_is_behind_what_is_abandoned(make_server, disk, tmp_path):
    """So that a command after it finds that, however slow the disk is."""
    server = make_server(disk=disk)
    path = tmp_path / "users.xml"
    path.write_text(server_data(*pieces()[:2]))
    disk.turn(sync_ms=700)
    server.bring("xep0227", str(path))
    assert left_of(server) == [0, 0, 0]


@pytest.mark.release
def test_the_server_itself_deletes_what_an_import_left(server, load):
    """With the settings that it has at first: a minute after it begins to look, then each hour."""
    first, second, _ = pieces()
    message, _ = load(server_data(first, second))
    assert "refused: 1" in message and there_is(server) != [0, 0, 0]
    until("nothing is left", lambda: there_is(server) == [0, 0, 0], 90 + TIMEOUT)


def test_what_is_more_than_a_transaction_takes_its_pieces_along(server, load):
    server.ctl("set", "pep.bytes-max", "64MiB")
    config = form(("pubsub#max_items", "300"), form_type=f"{PUBSUB}#node_config")
    items = "".join(f"<item id='{i}'><a xmlns='urn:a'>{'n' * 60000}</a></item>" for i in range(300))
    more = (f"<pubsub xmlns='{OWNER}'><configure node='a'>{config}</configure></pubsub>"
            f"<pubsub xmlns='{PUBSUB}'><items node='a'>{items}</items></pubsub>")
    message, lost = load(server_data(*pieces(more=more), user(name="nurse")))
    assert "users imported: 1," in message and "refused: 1" in message
    assert ["it has more than 16 MiB" in what for _, what in lost] == [True]
    assert left_of(server) == [0, 0, 0]


def test_a_piece_is_messages(server, load):
    """What else stands in one does not come along, and is named."""
    keys = "<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'/>"
    card = "<vCard xmlns='vcard-temp'><FN>J</FN></vCard>"
    message, lost = load(server_data(user(ENTRIES[:5], keys + card, goes_on=True),
                                     user(ENTRIES[5:9])))
    assert "users imported: 1," in message and messages_of(server) == 9
    assert {what for _, what in lost} == {
        "an element <scram-credentials/> of urn:xmpp:pie:0#scram",
        "an element <vCard/> of vcard-temp"}


def test_offline_messages_of_all_pieces_have_one_limit(server, load):
    server.ctl("set", "mailbox.unsettled-max", "16")
    waits = ["<offline-messages>" + "".join(
        f"<message xmlns='jabber:client' from='romeo@localhost/x' type='chat' id='{i}'>"
        f"<body>{i}</body></message>" for i in numbers) + "</offline-messages>"
        for numbers in (range(10), range(10, 20))]
    message, lost = load(server_data(user(more=waits[0], goes_on=True), user(more=waits[1])))
    assert "users imported: 1," in message and "come along: 4" in message, lost
    juliet = server.client("juliet", password="x")
    for i in range(16):
        assert juliet.expect("<message><body/></message>").get("id") == str(i)


def test_interrupted_between_pieces(server, tmp_path):
    """The process dies in the middle: the account is not there, and comes whole the next time."""
    path = tmp_path / "users.xml"
    path.write_text(server_data(*pieces(size=5)))
    with server.ctl_start("import", "xep0227", path):
        until = time.monotonic() + TIMEOUT
        while time.monotonic() < until:
            with server.database(read_only=True) as db:
                if db.execute("SELECT count(*) FROM message").fetchone()[0] > 50:
                    break
        server.kill()
    server.start()
    assert "juliet@localhost" not in str(server.rows("user", "list"))
    assert left_of(server) == [0, 0, 0]
    answer = server.bring("xep0227", str(path))
    assert "users imported: 1," in answer["text"] and messages_of(server) == len(LINES)


@pytest.mark.parametrize("how", ["user del", "import --replace"])
def test_interrupted_while_a_long_archive_is_deleted(server, tmp_path, how):
    """The account is gone before its archive, so nobody finds it with a part of that: an import
    left the address empty and disabled. The rest of the archive goes after the next start."""
    path = tmp_path / "users.xml"
    long = [entry(BEGIN_US + i * 10**6, f"{i} " + "y" * 5000, str(BEGIN_US + i * 10**6), i % 2)
            for i in range(3000)]
    path.write_text(server_data(*pieces(long)))
    server.bring("xep0227", str(path))
    assert messages_of(server) == len(long)

    def part_is_deleted():
        with server.database(read_only=True) as db:
            return db.execute("SELECT count(*) FROM message").fetchone()[0] < len(long) - 300

    command = ["user", "del", "juliet@localhost"] if how == "user del" else [
        "import", "xep0227", path, "--replace"]
    with server.ctl_start(*command):
        until("a part is deleted", part_is_deleted)
        server.kill()
    server.start()
    rows = [r for r in server.rows("user", "list") if r["jid"] == "juliet@localhost"]
    assert [r["disabled"] for r in rows] == ([] if how == "user del" else [True])
    assert left_of(server) == [0, 0, len(rows)]
    server.bring("xep0227", str(path), *([] if how == "user del" else ["--replace"]))
    assert messages_of(server) == len(long)
    assert [r["disabled"] for r in server.rows("user", "list")] == [False] * 4


def test_an_account_of_200_mib(server, make_server, tmp_path):
    """It comes and goes whole, with what waits for it, in memory for a piece of it."""
    text = "x" * 15_000
    path, out = tmp_path / "in.xml", tmp_path / "out.xml"
    per, count = 1000, 14
    with open(path, "w") as file:
        begin, end = server_data("|").split("|")
        file.write(begin)
        for part in range(count):
            entries = [entry(BEGIN_US + i * 10**6, f"{i} {text}", str(BEGIN_US + i * 10**6), i % 2)
                       for i in range(part * per, (part + 1) * per)]
            stamp = stamp_of(BEGIN_US + (part + 1) * per * 10**6 - 1)
            waiting = (f"<offline-messages><message xmlns='jabber:client' from='romeo@localhost/x'"
                       f" type='chat' id='w{part}'><body>waits {part}</body><delay xmlns="
                       f"'urn:xmpp:delay' from='localhost' stamp='{stamp}'/></message>"
                       "</offline-messages>")
            file.write(user(entries, waiting, goes_on=part < count - 1) + "\n")
        file.write(end)
    assert path.stat().st_size > 200 << 20
    before = server.status_kib("VmHWM")
    assert server.bring("xep0227", str(path))["rows"] == []
    assert messages_of(server) == per * count + count
    imported = server.status_kib("VmHWM") - before
    server.ctl("export", "xep0227", str(out))
    exported = server.status_kib("VmHWM") - before
    found = out.read_text()
    names = re.findall(r"<user name='(\w+)'>", found)
    assert names.count("juliet") > 10 and found.count("<continues ") == names.count("juliet") - 1
    assert found.count("<scram-credentials") >= 3
    ids = set(re.findall(r"<result [^>]*id='(\d+)'", found))
    assert ids >= {str(BEGIN_US + i * 10**6) for i in range(per * count)}
    other = make_server()
    assert other.bring("xep0227", str(out))["rows"] == []
    again = tmp_path / "again.xml"
    other.ctl("export", "xep0227", str(again), "localhost")
    first, second = (re.sub(r"<scram.*?</scram-credentials>", "", t[t.index("<user name='juliet"):])
                     for t in (found, again.read_text()))
    assert first == second
    juliet = other.client("juliet", password="x")
    for part in range(count):
        juliet.expect(f"<message id='w{part}'/>")
    assert imported < 200 << 10 and exported < 250 << 10, (imported, exported)
