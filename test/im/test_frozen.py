"""The memory of accounts as bytes, which a planned restart writes and reads (architecture §6)."""
import re
import struct
import uuid

import pytest

from harness.client import until
from harness.component import Component
from harness.muc import Room
from harness.server import ROOT
from im.test_carbons import CARBONS
from im.test_privacy import item, put, use
from im.test_sift import sift
from stream.test_sm import chat, receive, refuse, resume


HEAD, END, ACCOUNT, SESSION, QUEUED, STATE = range(1, 7)


def frozen(host):
    """{address: [parts]}"""
    with host.database(read_only=True) as db:
        rows = db.execute("SELECT jid, bytes FROM frozen ORDER BY jid, part").fetchall()
    parts = {}
    for jid, part in rows:
        parts.setdefault(jid, []).append(bytes(part))
    return parts


def records(part):
    """[(id, fields)]; the time of the freezing, which is another each time, is left out, and so is
    the time that a session has left."""
    found = []
    while part:
        kind, length = struct.unpack_from("<BI", part)
        fields, part = part[5:5 + length], part[5 + length:]
        if kind == SESSION:  # behind its address and its token
            at = 1 + 4 + int.from_bytes(fields[1:5], "little")
            at += 4 + int.from_bytes(fields[at:at + 4], "little")
            fields = fields[:at] + fields[at + 4:]
        found.append((kind, fields[:9] if kind == ACCOUNT else fields))
    return found


def change(host, sql):
    """Of the rows of alice."""
    with host.database() as db:
        db.execute(f"{sql} WHERE jid = 'alice@localhost'")
        if not host.url:
            db.commit()


def test_what_every_feature_keeps(make_server):
    """It is frozen, thawed and frozen again, and is the same."""
    host = make_server("alice", "bob", "carol", component=True)
    secret = host.rows("component", "add", "irc.example.test")[0]["secret"]
    gateway = Component(host, "irc.example.test", secret)
    bob = host.client("bob", "b")
    alice = host.connect("alice")
    alice.sasl2(agent=str(uuid.uuid4()))
    alice.bind("a")
    alice.enable_sm()
    alice.available()
    alice.result("set", f"<enable xmlns='{CARBONS}'/>")
    put(alice, "most", item(1, "allow"))
    use(alice, "active", "most")
    Room("cave").create(alice, "first", persistentroom=True)
    sift(alice, "<presence sender='remote'/>")
    alice.send("<presence to='carol@localhost/x'/>")
    alice.send("<presence to='#tea@irc.example.test/nick'/>")
    gateway.expect(f"<presence from='{alice}' type='-'/>")
    alice.ping()
    alice.ack()
    alice.auto_ack = False
    bob.send(f"<iq type='get' id='q' to='{alice}'><query xmlns='jabber:iq:version'/></iq>")
    alice.expect("<iq type='get' id='q'/>")
    alice.send(f"<iq type='result' id='q' to='{bob}'/>")
    bob.expect("<iq type='result' id='q'/>")
    for i in range(3):
        bob.send(chat(alice, i))
    bob.ping()
    alice.cut()
    bob.send(chat(alice, 3))
    bob.ping()
    bob.close()
    host.stop()
    once = frozen(host)
    assert set(once) == {"alice@localhost"}
    kinds = [kind for kind, _ in records(once["alice@localhost"][0])]
    assert kinds[:3] == [HEAD, ACCOUNT, SESSION] and kinds[-1] == END and kinds.count(QUEUED) >= 4
    answered = [fields[-1] for kind, fields in records(once["alice@localhost"][0])
                if kind == QUEUED]
    assert answered.count(1) == 1  # the request
    states = {fields[5:5 + fields[1]].decode() for kind, fields in
              records(once["alice@localhost"][0]) if kind == STATE}
    sources = [path.read_text() for path in (ROOT / "src").glob("**/*.c")
               if not path.name.endswith("_test.c")]
    kept = {re.search(r'struct feature \w+ = \{\s*\.name = "([^"]+)"', text)[1]
            for text in sources if re.search(r"\.session\.save = ", text)}
    assert states == kept - {"presence"}  # a change that waits: im/test_presence_pace.py
    host.restart()
    host.stop()
    again = frozen(host)
    assert {jid: [records(p) for p in parts] for jid, parts in again.items()} == {
        jid: [records(p) for p in parts] for jid, parts in once.items()}
    host.start()
    new = resume(host, alice)
    receive(new, range(4))
    until("they are gone", lambda: not frozen(host))


def test_a_large_queue_is_in_several_parts(make_server):
    host = make_server("alice", "bob", settings={"sm.hibernate-bytes": "4MiB"},
                       why="by default it is smaller than several parts")
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    alice.enable_sm()
    alice.cut()
    texts = [f"{i} " + "x" * 200_000 for i in range(8)]
    for text in texts:
        bob.send(chat(alice, text))
        bob.ping()
    host.stop()
    parts = frozen(host)["alice@localhost"]
    assert len(parts) > 4
    assert sum(kind == QUEUED for part in parts for kind, _ in records(part)) >= 8
    host.start()
    receive(resume(host, alice), texts)


@pytest.fixture
def waits(make_server):
    """A session that can be resumed, with a message, when the server has stopped."""
    host = make_server("alice", "bob")
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    alice.enable_sm()
    alice.cut()
    bob.send(chat("alice@localhost", "late"))
    bob.ping()
    host.stop()
    return host, alice


@pytest.mark.parametrize("where, value, why", [
    (6, b"\x63", "found version 99, known is version 1"),
    (0, b"\x02", "they do not begin with a version"),
    (-4, b"\x63", "some are missing or too many"),
    (-1, b"", "the last 9 bytes are no whole record")])
def test_bytes_that_cannot_be_used(waits, where, value, why):
    """The client logs in anew and has its message."""
    host, alice = waits
    part = frozen(host)["alice@localhost"][0]
    where %= len(part)
    wrong = (part[:where] + value + part[where + 1:]).hex()
    literal = f"decode('{wrong}', 'hex')" if host.url else f"X'{wrong}'"
    change(host, f"UPDATE frozen SET bytes = {literal}")
    host.start()
    host.wait_log(f"event=account.not-thawed .*{why}")
    assert refuse(host, alice) == "item-not-found"
    new = host.client("alice", "new")
    new.expect("<message><body>late</body></message>")
    until("they are gone", lambda: not frozen(host))


def test_parts_that_are_missing(waits):
    host, alice = waits
    change(host, "UPDATE frozen SET part = 1")
    host.start()
    assert resume(host, alice)
    host.stop()
    change(host, "DELETE FROM frozen")
    host.start()
    assert refuse(host, alice) == "item-not-found"


@pytest.mark.sqlite
def test_sessions_that_cannot_be_read(waits):
    """The log says so, and they stay for the next start."""
    host, alice = waits
    path = host.data / "muster.db"
    with host.database() as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size, = db.execute("PRAGMA page_size").fetchone()
        root, = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'frozen'").fetchone()
    whole = path.read_bytes()
    with open(path, "r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    host.start()
    host.wait_log(r'event=sessions.not-restored jid=\S+ what="it cannot be read, nor those')
    host.kill()
    path.write_bytes(whole)
    host.start()
    receive(resume(host, alice), ["late"])


def test_an_account_that_cannot_be_loaded(waits):
    """Its sessions stay for the next start; those of others are gone when they are back."""
    host, alice = waits
    much = "repeat('x', 34000000)" if host.url else "printf('%.*c', 34000000, 'x')"
    change(host, f"INSERT INTO push SELECT id, 's', 'n', 'r', {much}, 1, '' FROM account")
    host.start()
    host.wait_log("event=sessions.not-restored jid=alice@localhost .*cannot be loaded")
    until("they are gone", lambda: set(frozen(host)) == {"alice@localhost"})
    host.stop()
    assert set(frozen(host)) == {"alice@localhost"}
    with host.database() as db:
        db.execute("DELETE FROM push")
        if not host.url:
            db.commit()
    host.start()
    receive(resume(host, alice), ["late"])
    until("they are gone", lambda: not frozen(host))
