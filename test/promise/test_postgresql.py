"""PostgreSQL as the database: what a start refuses, what becomes of a room while it is away, and
what an acknowledgement promises. Each run has servers of its own (harness.database)."""
import json
import signal
import threading

import pytest

from harness import muc, xml
from harness.client import TIMEOUT, until
from harness.database import private, psql
from harness.muc import Room
from harness.pubsub import create, error_of, get_items, subscribe
from operate.test_doctor import doctor, of
from rooms.test_archive import Page, alarms, said, waiting
from rooms.test_faults import Talker, kill_in_traffic, recorded


MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"
HOST = "pubsub.localhost"


@pytest.fixture(scope="module")
def cluster():
    with private() as server:
        yield server


@pytest.fixture
def make(make_server, cluster, request):
    """A function that makes servers on a database of this test."""
    name = f"db{abs(hash(request.node.name))}"
    psql(cluster.url("postgres"), f"CREATE DATABASE {name} TEMPLATE template0")

    def make(*users, conf=None, **options):
        return make_server(*users, conf={"database": cluster.url(name), **(conf or {})}, **options)

    yield make
    for server in make_server.servers:
        if server.process is not None:
            server.stop()
    psql(cluster.url("postgres"), f"DROP DATABASE {name} WITH (FORCE)")


# --- the start ---


def refusal(server):
    """What a server that does not start says last."""
    server.start(ready=False)
    assert server.wait_exit(3 * TIMEOUT) != 0
    return server.log().splitlines()[-1]


def test_what_is_not_there_is_said(make_server, cluster):
    """With a sentence, without the password."""
    for place, words in (("muster:hush@/muster?host=/nowhere", "/nowhere"),
                         ("muster:hush@127.0.0.1:1/muster", "127.0.0.1"),
                         (f"muster:hush@/none?host={cluster.folder}", "none")):
        server = make_server(start=False, conf={"database": f"postgresql://{place}"})
        line = refusal(server)
        assert words in line and "hush" not in server.log(), line


def test_a_library_that_is_not_there_is_said(make_server, tmp_path, monkeypatch):
    """libpq is loaded when such a database is named; SQLite does without it."""
    folder = tmp_path / "libraries"
    folder.mkdir()
    (folder / "libpq.so.5").touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    url = "postgresql://muster:hush@127.0.0.1/muster"
    server = make_server(start=False, conf={"database": url})
    line = refusal(server)
    assert "apt-get install libpq5" in line and "hush" not in server.log(), line
    assert make_server("alice").login("alice") is not None


def test_the_doctor_tries_it_while_no_server_runs(make, make_server, cluster):
    def found(server):
        rows = doctor(server)[1]
        assert not any("hush" in str(row) for row in rows)
        row, = of(rows, "database")
        return row
    server = make()
    assert found(server)["state"] == "ok"
    server.stop()
    assert found(server)["state"] == "ok" and "takes the server in" in found(server)["found"]
    for place, words in (("muster:hush@127.0.0.1:1/muster", "127.0.0.1"),
                         (f"muster:hush@/none?host={cluster.folder}", "none")):
        wrong = make_server(start=False, conf={"database": f"postgresql://{place}"})
        wrong.write()
        row = found(wrong)
        assert row["state"] == "error" and words in row["found"], row


def test_a_second_server_is_refused(make):
    first = make("alice")
    second = make(start=False)
    assert "used by another process" in refusal(second)
    first.login("alice")
    first.kill()
    second.start()  # as soon as the first is gone
    second.login("alice")


def test_a_foreign_database_is_refused(make, cluster):
    server = make(start=False)
    psql(server.conf["database"], "CREATE TABLE message(id integer)")
    line = refusal(server)
    assert "message" in line or "not" in line, line
    assert psql(server.conf["database"], "SELECT count(*) FROM pg_tables WHERE schemaname ="
                                         " 'public' AND tablename = 'entry'") == ["0"]


def test_texts_have_to_sort_by_bytes(make_server, cluster):
    psql(cluster.url("postgres"), "CREATE DATABASE unfit TEMPLATE template0 LOCALE_PROVIDER icu"
                                  " ICU_LOCALE 'en-US'")
    server = make_server(start=False, conf={"database": cluster.url("unfit")})
    assert "createdb" in refusal(server)


def test_a_newer_schema_is_refused(make):
    server = make("alice")
    server.stop()
    with server.database() as db:
        db.execute("UPDATE schema SET version = 9999")
    line = refusal(server)
    assert "9999" in line and "newer" in line, line


# --- it goes away under a room ---


@pytest.fixture
def room(make):
    """(server, alice, bob, a room that records)"""
    server = make("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = Room("cave").create(alice, "first", persistentroom=True)
    cave.enter(bob, "second")
    alice.enable_sm()
    said(cave, alice, "first", ["before"])
    alice.wait_acked(1)
    return server, alice, bob, cave


def stopped(cluster):
    cluster.stop(signal.SIGQUIT)  # as a crash
    return cluster.start


def frozen(cluster):
    cluster.freeze()
    return cluster.go_on


@pytest.mark.parametrize("away", [stopped, frozen])
def test_a_room_goes_on_without_it(room, cluster, away):
    """Messages are relayed at once, are not acknowledged, and are recorded once when it is back."""
    server, alice, bob, cave = room
    texts = [f"m{i}" for i in range(6)]
    back = away(cluster)
    try:
        for text in texts[:3]:
            cave.say(alice, text)
            cave.expect_body(bob, "first", text)
        until("what was said to wait", lambda: waiting(server) == 3)
        for text in texts[3:]:
            cave.say(alice, text)
            cave.expect_body(bob, "first", text)
        assert waiting(server) == 6 and "muc.recording" in alarms(server)
        alice.request_ack()
        alice.ping()
        assert alice.acked == 1  # "before": acknowledged means durable
    finally:
        back()
    until("all stored", lambda: waiting(server) == 0, 3 * TIMEOUT)
    alice.wait_acked(7)
    assert not {"muc.recording", "store.down"} & alarms(server)
    assert Page(bob, cave).bodies == ["before", *texts]
    server.restart()
    assert Page(server.client("bob", "after"), cave).bodies == ["before", *texts]


@pytest.mark.parametrize("away", [stopped, frozen])
def test_archives_cannot_be_read_without_it(room, cluster, away):
    """Those of accounts and of rooms: each question is answered, by an error that says to wait, and
    not by an empty page. When it is back, nothing is missing."""
    server, alice, bob, cave = room
    bob.send("<message to='alice@localhost' type='chat'><body>hello</body></message>")
    alice.expect("<message type='chat'><body>hello</body></message>")
    alice.result("set", f"<query xmlns='{MAM}'/>")  # which waits until it is stored
    alice.drain()
    asked = {f"{place}{i}": (kind, to, inner)
             for place, to in (("own", None), ("room", cave.jid))
             for i, (kind, inner) in enumerate([
                 ("set", f"<query xmlns='{MAM}'/>"), ("get", f"<metadata xmlns='{MAM}'/>"),
                 ("set", f"<query xmlns='{MAM}'><set xmlns='{RSM}'><max>1</max><before/></set>"
                         "</query>")])}

    def ask():
        for name, (kind, to, inner) in asked.items():
            target = f" to='{to}'" if to else ""
            alice.send(f"<iq type='{kind}' id='{name}'{target}>{inner}</iq>")
        return {name: alice.expect(f"<iq id='{name}'/>") for name in asked}

    back = away(cluster)
    try:
        for name, answer in ask().items():
            assert answer.get("type") == "error", (name, xml.canonical(answer))
            error = answer.find(f"{{{xml.CLIENT}}}error")
            assert error.get("type") == "wait" and xml.condition(answer) == "resource-constraint"
            assert "ask again later" in "".join(error.itertext()), (name, xml.canonical(answer))
        alice.ping()  # and it goes on
    finally:
        back()
    until("answers", lambda: all(a.get("type") == "result" for a in ask().values()), 3 * TIMEOUT)
    alice.drain()
    assert Page(alice, cave).bodies == ["before"]
    alice.result("set", f"<query xmlns='{MAM}'/>")
    assert "hello" in "".join("".join(e.itertext()) for e in alice.drain())


def test_what_needs_it_says_so(room, cluster):
    """A change of a room, a registration of an account; and all works when it is back."""
    server, alice, bob, cave = room
    cluster.stop(signal.SIGQUIT)
    try:
        cave.denied(alice, "set", muc.item(jid="bob@localhost", affiliation="member"))
        assert server.ctl_run("user", "add", "dora@localhost", "--password", "x").returncode != 0
        until("the alarm", lambda: "store.down" in alarms(server))
        done = server.ctl_run("user", "add", "dora@localhost", "--password", "x")
        assert "the database is not available; `alarm list` says why" in done.stderr
    finally:
        cluster.start()
    until("it is back", lambda: server.ctl_run("user", "add", "dora@localhost", "--password",
                                               "secret").returncode == 0, 3 * TIMEOUT)
    cave.set_affiliation(alice, "bob@localhost", "member")
    server.login("dora")
    until("no alarm", lambda: "store.down" not in alarms(server))


def test_contacts_of_an_owner_who_cannot_be_asked(make, cluster):
    """The contact list of the owner is not in memory. A contact is told to wait, and is not taken
    for a stranger."""
    server = make("alice", "bob")
    alice = server.client("alice")
    for name, model in (("diary", "presence"), ("open", "open")):
        alice.result("set", create(name, access_model=model), to=HOST)
    server.befriend("alice", "bob")
    server.restart()
    bob = server.client("bob")
    bob.result("get", get_items("open"), to=HOST)  # the service is in memory now
    cluster.stop(signal.SIGQUIT)
    try:
        assert error_of(bob, "set", subscribe("diary", bob.bare), HOST) == \
            ("resource-constraint", "wait", None)
    finally:
        cluster.start()
    until("the subscription", lambda: bob.iq("set", subscribe("diary", bob.bare), HOST).get(
        "type") == "result", 3 * TIMEOUT)


@pytest.mark.parametrize("much", [False, True])
def test_an_end_while_it_stands_still(make, cluster, much):
    """The server ends in time, and says which sessions it could not save. `much`: more than it
    submits at a time."""
    server = make("alice", "bob", settings={"sm.hibernate-bytes": "4MiB"}, workers=16,
                  why="much is more than fits by default")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.enable_sm()
    alice.cut()
    for _ in range(19 if much else 1):
        bob.send(f"<message to='{alice}' type='chat'><body>{'x' * 200_000}</body></message>")
        bob.ping()
    back = frozen(cluster)
    try:
        server.stop()
    finally:
        back()
    assert 'event=sessions.not-saved accounts=1 why="no answer"' in server.log()
    assert "sessions.saved" not in server.log()
    server.start()
    assert server.client("alice", "new").ping() is None


# --- what was promised ---


@pytest.mark.release
def test_kill_loses_nothing_acknowledged(make):
    server = make("alice", settings={"muc.message-rate": "none"},
                  why="they talk faster than people")
    cave = Room("cave").create(server.client("alice", "maker"), "maker", persistentroom=True)
    kill_in_traffic(server, cave, 4)


@pytest.mark.release
def test_a_crash_of_the_database_loses_nothing_acknowledged(make, cluster):
    """Under traffic, and the server goes on by itself."""
    server = make("alice", settings={"muc.message-rate": "none"},
                  why="they talk faster than people")
    cave = Room("cave").create(server.client("alice", "maker"), "maker", persistentroom=True)
    talker = Talker(server, cave, 0)
    crash = threading.Timer(0.3, cluster.stop, (signal.SIGQUIT,))
    crash.start()
    while crash.is_alive():
        talker.flood()
        talker.client.pump(0.001)
        talker.client.inbox.clear()
    cluster.start()
    talker.client.request_ack()
    talker.client.wait_acked(len(talker.sent))
    there = recorded(server)
    assert there == talker.sent


def test_a_room_is_the_same_after_a_kill(make):
    server = make("alice", "bob")
    alice = server.client("alice", "a")
    cave = Room("cave").create(alice, "first", persistentroom=True, roomname="Häuschen",
                               membersonly=True)
    cave.set_affiliation(alice, "bob@localhost", "member")
    alice.enable_sm()
    cave.set_subject(alice, "Пещера")
    cave.expect_subject(alice, "first", "Пещера")
    said(cave, alice, "first", ["eins", "zwei"])
    alice.request_ack()
    alice.wait_acked(3)
    server.kill()
    server.start()
    bob = server.client("bob", "b")
    entered = cave.enter(bob, "second")
    assert entered.subject.findtext(f"{{{xml.CLIENT}}}subject") == "Пещера"
    assert entered.bodies == ["eins", "zwei"]
    row = next(r for r in server.rows("room", "list") if r["jid"] == cave.jid)
    assert "Häuschen" in json.dumps(row, ensure_ascii=False)
