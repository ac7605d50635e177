"""The disk of a database says no for a while: what the operator sees, and what is left."""
import errno
import random

import pytest

from harness.client import until
from harness.shim import Shim
from promise.test_faults import alarms
from archive.test_mam import Page
from stream.test_sm import refuse, resume
from services.test_upload import NS, http_do, slot_iq

pytestmark = pytest.mark.sqlite


def message(number, size):
    return (f"<message to='bob@localhost' type='chat' id='{number}'><body>{number}</body>"
            f"<p xmlns='urn:pad'>{'x' * size}</p></message>")


@pytest.fixture
def shim(tmp_path):
    return Shim(tmp_path / "shim", tmp_path / "server0")


def refused(client):
    return {e.get("id") for e in client.inbox if e.get("type") == "error"}


@pytest.mark.parametrize("writes_after", [False, True], ids=["idle", "busy"])
def test_alarm_of_a_full_disk_ends_when_there_is_room(make_server, shim, writes_after):
    """Also where nobody writes any more."""
    host = make_server("alice", "bob", wrapper=shim.wrapper, settings={"c2s.byte-rate": "none"},
                       why="many megabytes of one client")
    alice = host.client("alice")
    alice.enable_sm()
    for i in range(300):  # much in the WAL
        alice.send(message(i, 50000))
    alice.wait_acked(300)
    shim.fail(errno.ENOSPC, writes_fail=1)
    for i in range(300, 400):
        alice.send(message(i, 50000))
    alice.wait_acked(400)
    # of those before, a machine that is busy may have refused some for the time that they took
    assert refused(alice) >= {str(i) for i in range(300, 400)}
    assert "store.full" in alarms(host)
    shim.heal()
    if writes_after:
        alice.send(message(400, 10))
        alice.wait_acked(401)
        assert "400" not in refused(alice)
    until("end of the alarm", lambda: "store.full" not in alarms(host))


def test_alarm_of_a_checkpoint_ends_when_there_is_room(make_server, shim):
    """Commits go on in the log meanwhile, and it is tried again though nobody writes."""
    host = make_server("alice", "bob", wrapper=shim.wrapper, settings={"c2s.byte-rate": "none"},
                       why="many megabytes of one client")
    alice = host.client("alice")
    alice.enable_sm()
    shim.fail(errno.ENOSPC, writes_fail=1, database_only=1)
    sent = 0
    while "store.full" not in alarms(host):
        assert sent < 2000
        for _ in range(50):
            alice.send(message(sent, 50000))
            sent += 1
        alice.wait_acked(sent)
    assert refused(alice) == set()
    shim.heal()
    until("end of the alarm", lambda: "store.full" not in alarms(host))


def archived(client):
    found, after = [], None
    while True:
        page = Page(client, page="<max>100</max>" + (f"<after>{after}</after>" if after else ""))
        found += page.bodies
        if page.complete:
            return found
        after = page.last


class Work:
    """Messages and files while the disk fails at random; what was promised."""

    def __init__(self, rnd):
        self.rnd = rnd
        self.messages, self.files = [], []

    def run(self, host, epoch):
        alice = host.client("alice", "a")
        alice.enable_sm()
        sent = []
        for n in range(20):
            names = [f"{epoch}.{n}.{i}" for i in range(self.rnd.randint(1, 15))]
            for name in names:
                alice.send(message(name, self.rnd.choice((0, 3000, 60000))))
            sent += names
            self.put(host, alice, self.rnd.randbytes(self.rnd.choice((5, 70000))))
        alice.wait_acked(len(sent) + 20)
        no = refused(alice)
        self.messages += [name for name in sent if name not in no]

    def put(self, host, alice, data):
        reply = slot_iq(alice, "f", len(data))
        if reply.get("type") == "result":
            write, read = (reply.find(f".//{{{NS}}}{way}").get("url") for way in ("put", "get"))
            if http_do(host, "PUT", write, data).status == 201:
                self.files.append((read.split("/", 3)[3], data))

    def check(self, host):
        alice = host.login("alice")
        bodies = archived(alice)
        assert set(self.messages) <= set(bodies), set(self.messages) - set(bodies)
        assert len(bodies) == len(set(bodies))
        for path, data in self.files:
            answer = http_do(host, "GET", f"http://127.0.0.1:{host.http_port}/{path}")
            assert (answer.status, answer.body) == (200, data), path
        alice.cut()


@pytest.mark.parametrize("kind, error", [("writes_fail", errno.EIO), ("syncs_fail", errno.EIO),
                                         ("writes_fail", errno.ENOSPC)])
def test_errors_of_the_disk_lose_nothing_that_was_promised(make_server, shim, kind, error):
    """Writes or syncs fail at random, then kill -9; three times."""
    rnd = random.Random(f"{kind} {error}")
    host = make_server("alice", "bob", wrapper=shim.wrapper,
                       settings={"upload.quota": "none", "upload.daily": "none"},
                       why="hundreds of files of one user")
    work = Work(rnd)
    for epoch in range(3):
        shim.fail(error, **{kind: rnd.choice((3, 10, 30))})
        work.run(host, epoch)
        host.kill()
        shim.heal()
        host.start()
        work.check(host)
    assert work.messages and work.files
    assert alarms(host) == set()


def test_sessions_that_cannot_be_saved(make_server, shim):
    """The log says of a planned restart that the database did not take them."""
    host = make_server("alice", "bob", wrapper=shim.wrapper)
    alice = host.client("alice", "a")
    alice.enable_sm()
    alice.cut()
    until("hibernation", lambda: host.rows("session", "list")[0]["state"] == "hibernating")
    shim.fail(errno.ENOSPC, writes_fail=1)
    host.signal(15)
    host.wait_exit()
    assert "event=sessions.not-saved accounts=1 why=full" in host.log()
    assert "sessions.saved" not in host.log()
    shim.heal()
    host.start()
    assert refuse(host, alice) == "item-not-found"


def test_saved_sessions_that_cannot_be_deleted(make_server):
    """After they are back: it is tried again, and the end of the server does not wait for it."""
    host = make_server("alice", "bob")
    alice = host.client("alice", "a")
    alice.enable_sm()
    alice.cut()
    until("hibernation", lambda: host.rows("session", "list")[0]["state"] == "hibernating")

    def saved():
        with host.database(read_only=True) as db:
            return db.execute("SELECT count(*) FROM frozen").fetchone()[0]
    host.stop()
    with host.database() as db:
        db.execute("CREATE TRIGGER kept BEFORE DELETE ON frozen BEGIN SELECT RAISE(ABORT, ''); END")
        db.commit()
    host.start()
    host.wait_log("event=sessions.restored count=1")
    assert saved() == 1
    host.restart()
    host.wait_log("event=sessions.restored count=1")
    with host.database() as db:
        db.execute("DROP TRIGGER kept")
        db.commit()
    until("they are deleted", lambda: saved() == 0)


def test_saved_sessions_that_cannot_be_deleted_before_the_next_end(make_server):
    """That end deletes them, or the start after it would restore what has ended."""
    host = make_server("alice", "bob")
    alice = host.client("alice", "a")
    alice.enable_sm()
    alice.cut()
    until("hibernation", lambda: host.rows("session", "list")[0]["state"] == "hibernating")
    host.stop()
    with host.database() as db:
        db.execute("CREATE TRIGGER kept BEFORE DELETE ON frozen BEGIN SELECT RAISE(ABORT, ''); END")
        db.commit()
    host.start()
    resume(host, alice).close()
    until("its end", lambda: not host.rows("session", "list"))
    with host.database() as db:
        db.execute("DROP TRIGGER kept")
        db.commit()
    host.restart()
    assert host.log().count("event=sessions.restored") == 1
    with host.database(read_only=True) as db:
        assert db.execute("SELECT count(*) FROM frozen").fetchone()[0] == 0


def test_a_start_that_the_database_refuses(make_server):
    """It ends with a sentence, before the workers run and with all edges."""
    host = make_server("alice")
    host.stop()
    with host.database() as db:
        db.execute("DELETE FROM reserved")
        db.execute("CREATE TRIGGER no BEFORE INSERT ON reserved BEGIN SELECT RAISE(ABORT, ''); END")
        db.commit()
    host.start(ready=False)
    assert host.wait_exit() == 1
    assert host.log().splitlines()[-1].startswith("musterd: the database does not answer")
