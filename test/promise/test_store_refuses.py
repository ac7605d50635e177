"""A database that refuses what it is given, because somebody has changed its tables or rights: the
senders are told, and so is the operator, in the words of the database."""
import contextlib
import sqlite3

import pytest

from harness.client import until
from harness.database import private, psql
from harness.server import refusal
from archive.test_mam import Page


@pytest.fixture(scope="module")
def cluster():
    with private() as server:
        yield server


class Postgresql:
    """A database whose owner is no superuser: rights count for it."""

    def __init__(self, cluster, name):
        self.inside = cluster.url(name)
        psql(cluster.url("postgres"), f"CREATE ROLE {name} LOGIN")
        psql(cluster.url("postgres"), f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0")
        self.conf = {"database": self.inside.replace("muster@", f"{name}@")}
        self.role = name

    def run(self, sql):
        psql(self.inside, sql)


class Sqlite:
    conf = {}
    server = None

    def run(self, sql):
        with contextlib.closing(sqlite3.connect(self.server.data / "muster.db", timeout=10)) as db:
            db.execute(sql)


@pytest.fixture
def postgresql(cluster, request):
    return Postgresql(cluster, f"db{abs(hash(request.node.name))}")


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.sqlite), "postgresql"])
def database(request):
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql")
    return Sqlite()


@pytest.fixture
def start(make_server):
    def start(database):
        database.server = make_server("alice", "bob", conf=database.conf)
        return database.server
    yield start
    for server in make_server.servers:  # before the module's PostgreSQL goes
        if server.process is not None:
            server.stop()


def details(server):
    return {a["name"]: a["detail"] for a in server.rows("alarm", "list")}


def message(client, ident):
    client.send(f"<message to='bob@localhost' type='chat' id='{ident}'><body>{ident}</body>"
                "</message>")


def is_refused(alice, ident):
    message(alice, ident)
    alice.ping()
    alice.expect(f"<message id='{ident}' type='error'/>")


def is_stored(alice, bob, ident):
    message(alice, ident)
    bob.expect(f"<message id='{ident}' type='chat'/>")
    assert ident in Page(bob).bodies  # which waits until it is stored


@pytest.mark.parametrize("table", ["message", "entry"])
def test_a_table_that_was_renamed(start, database, table):
    """Nothing of other tables ends the alarm, a message that is stored does."""
    server = start(database)
    alice, bob = server.client("alice"), server.client("bob")
    is_stored(alice, bob, "before")
    database.run(f"ALTER TABLE {table} RENAME TO lost")
    words = f'relation "{table}" does not exist' if database.conf else f"no such table: {table}"
    if table == "message" or database.conf:
        is_refused(alice, "meanwhile")
    else:  # SQLite inserts these rows later, here when somebody wants to read them
        message(alice, "meanwhile")
        alice.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
        alice.expect("<iq type='error' id='q'/>")
    until("the alarm", lambda: words in details(server).get("store.refused", ""))
    alice.result("set", "<vCard xmlns='vcard-temp'><FN>Alice</FN></vCard>")
    assert words in details(server)["store.refused"]
    assert "store.down" not in details(server)
    database.run(f"ALTER TABLE lost RENAME TO {table}")
    until("no alarm", lambda: "store.refused" not in details(server))
    is_stored(alice, bob, "after")
    assert "store.refused" not in details(server)


@pytest.mark.parametrize("right", ["INSERT", "ALL"])
def test_rights_that_were_revoked(start, postgresql, right):
    server = start(postgresql)
    alice, bob = server.client("alice"), server.client("bob")
    is_stored(alice, bob, "before")
    postgresql.run(f"REVOKE {right} ON message FROM {postgresql.role}")
    is_refused(alice, "meanwhile")
    assert "permission denied for table message" in details(server)["store.refused"]
    postgresql.run(f"GRANT {right} ON message TO {postgresql.role}")
    until("no alarm", lambda: "store.refused" not in details(server))
    is_stored(alice, bob, "after")


def test_all_rights_that_were_revoked(start, postgresql):
    """Every write fails; whichever was the last, the alarm says why."""
    server = start(postgresql)
    alice, bob = server.client("alice"), server.client("bob")
    is_stored(alice, bob, "before")
    rights = f"INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public {{}} {postgresql.role}"
    postgresql.run("REVOKE " + rights.format("FROM"))
    for i in range(3):
        is_refused(alice, f"meanwhile{i}")
        assert "permission denied" in details(server)["store.refused"]
    postgresql.run("GRANT " + rights.format("TO"))
    until("no alarm", lambda: "store.refused" not in details(server))
    is_stored(alice, bob, "after")
    assert not {"store.refused", "store.down"} & details(server).keys()


def test_what_one_change_asks_for(start, database):
    """The next account may have the name already: that is no fault of the database."""
    server = start(database)
    assert "exists" in refusal(server, "user", "add", "bob@localhost", "--password", "x" * 12)
    assert "store.refused" not in details(server)


def test_roles_that_cannot_be_read_are_not_said_to_be_none(start, database):
    """A list that lacks something is an error, also where the settings say a part of it. The roles
    are read again when somebody asks for them."""
    server = start(database)
    commands = [line.split() for line in (
        "role list", "token list", "admin list", "role show viewer", "token show one",
        "admin show alice@localhost", "user role alice@localhost")]
    server.ctl("set", "admin.accounts", "alice@localhost")
    server.ctl("token", "add", "one", "viewer")
    database.run("ALTER TABLE admin_factor RENAME TO away")
    server.ctl("token", "add", "two", "viewer")  # they are read behind it
    for command in commands:
        assert "database" in refusal(server, *command), command
    database.run("ALTER TABLE away RENAME TO admin_factor")
    until("they are read", lambda: server.ctl_run("role", "list").returncode == 0)
    for command in commands:
        assert server.ctl_run(*command).returncode == 0, command
