"""From SQLite to PostgreSQL: a hint where data was left behind, and a command that copies it."""
import subprocess

import pytest

from harness.client import until
from harness.database import private, psql
from harness.muc import Room
from harness.server import MUSTERD
from operate.test_backup import archived
from promise.test_faults import alarms
from archive.test_mam import WORDS, Page
from services.test_upload import http_do, store

pytestmark = pytest.mark.sqlite


@pytest.fixture(scope="module")
def cluster():
    with private() as server:
        yield server


@pytest.fixture
def url(cluster, request):
    name = f"copy{abs(hash(request.node.name))}"
    psql(cluster.url("postgres"), f"CREATE DATABASE {name} TEMPLATE template0")
    yield cluster.url(name)
    psql(cluster.url("postgres"), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def host(make_server):
    """A server with something of everything."""
    host = make_server("alice", "bob")
    host.befriend("alice", "bob")
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    for i in range(30):
        alice.send(f"<message to='bob@localhost' type='chat'><body>m{i} \\back\ttab ü {i}</body>"
                   "</message>")
    until("all", lambda: len(archived(bob)) == 30)
    room = Room("cave").gather(first=alice, second=bob)
    assert room is not None
    host.upload = store(host, alice, b"hello")
    host.ctl("set", "mailbox.unsettled-max", "77")
    return host


def copy(server, url):
    server.write()
    return subprocess.run([MUSTERD, "--config", server.file, "--copy-to", url],
                          capture_output=True, text=True, timeout=120, check=False)


def test_all_is_copied_and_goes_on(host, url):
    before = archived(host.login("alice"))
    assert "another server uses this folder" in copy(host, url).stderr
    host.stop()
    done = copy(host, url)
    assert done.returncode == 0, done.stderr
    assert "rows" in done.stdout and "`database`" in done.stdout
    assert copy(host, url).returncode == 1  # it is not empty any more
    host.conf["database"] = host.url = url
    host.start()
    assert "store.other" not in alarms(host) and "secrets.key" not in alarms(host)
    assert host.rows("status")[0]["database"].startswith("postgresql: ")
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    assert archived(alice) == before
    roster = alice.result("get", "<query xmlns='jabber:iq:roster'/>")
    assert [item.get("subscription") for item in roster] == ["both"]
    path = host.upload.split("/", 3)[3]
    answer = http_do(host, "GET", f"http://127.0.0.1:{host.http_port}/{path}")
    assert answer.body == b"hello"
    assert host.rows("get", "mailbox.unsettled-max")[0]["value"] == "77"
    host.add_user("carol")  # ids go on behind those that are there
    host.login("carol")
    alice.send("<message to='bob@localhost' type='chat'><body>after</body></message>")
    bob.expect("<message><body>after</body></message>")
    until("index of words", lambda: len(Page(alice, (WORDS, "back")).bodies) == 30)


def test_data_that_was_left_behind(host, url):
    host.restart()
    assert "store.other" not in alarms(host)
    host.stop()
    conf = dict(host.conf)
    host.conf["database"] = url
    host.start()
    row = next(r for r in host.rows("alarm", "list") if r["name"] == "store.other")
    assert "2 accounts" in row["detail"] and "--copy-to" in row["action"]
    host.stop()
    host.conf = conf
    host.start()
    host.login("alice")


def test_refusals(host, make_server, url):
    host.stop()
    done = copy(host, "postgresql://muster@127.0.0.1:1/none")
    assert done.returncode == 1 and "127.0.0.1" in done.stderr
    assert "postgresql" in copy(host, "sqlite:/x").stderr
    empty = make_server(start=False)
    done = copy(empty, url)
    assert done.returncode == 1 and "muster.db" in done.stderr
