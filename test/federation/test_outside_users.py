"""Test users (`test user-add`) are in no list and no count of users and sessions. One table: every
command that lists or counts accounts or sessions stands in it, or in the list of those that do
not."""
import pytest

from harness import rows
from harness.client import until

TESTER, USER = "alice@localhost", "carol@localhost"


def counted(name, **where):
    """A function that takes the number of a row."""
    return lambda found: next(r[name] for r in found if all(r[k] == v for k, v in where.items()))


def listed(name):
    return lambda found: sum(r[name].split("/")[0] in (TESTER, USER) for r in found)


# what a command says of one user and one test user, who are both there
SURFACES = {
    "user list": ((), listed("jid")),
    "user count": (("--state", "registered"), counted("users")),
    "user count ": (("--state", "online"), counted("users")),
    "user count  ": (("--state", "active"), counted("users")),
    "user online": ((), listed("jid")),
    "session list": ((), listed("jid")),
    "session report": ((), listed("user")),
    "session report ": (("--totals",), counted("users")),
    "session report  ": (("--totals",), counted("sessions")),
    "status": ((), counted("sessions")),
    "node list": ((), counted("sessions")),
    "node show": (("test1",), counted("sessions")),
    "metrics": ((), lambda found: next(row["value"] for row in found
                                       if row["name"] == "muster_sessions")),
}
# They show addresses, but of one user or room that is named, or of what is no list of users.
OTHERS = {
    "contact add": "of one user", "contact list": "of one user", "user last": "of one user",
    "user show": "of one user", "user blocked": "of one user", "user role": "of one user",
    "test users": "test users themselves",
    "contact full": "what somebody must do something about",
    "federation reports": "numbers of reports", "report list": "what somebody has reported",
    "room affiliations": "of one room", "room cleanup": "rooms", "room joins": "of one room",
    "room list": "rooms", "room occupants": "of one room", "room report": "rooms",
    "room show": "of one room", "room-admin list": "who has rights",
    "admin list": "who has rights", "group-member list": "of one group",
    "trace list": "whom an operator follows", "archive choices": "who has chosen something",
    **dict.fromkeys(("import ejabberd", "import openfire", "import prosody", "import xep0227"),
                    "what was imported"),
    "export xep0227": "what was left out",
}


@pytest.fixture
def server(make_server):
    server = make_server("alice", "carol")
    server.ctl("test", "user-add", TESTER, "--password", "secret")
    return server


@pytest.mark.parametrize("command", SURFACES)
def test_who_is_there(server, command):
    words, number = SURFACES[command]
    clients = server.client("alice", "a"), server.client("carol", "c")
    run = (*command.split(), *words)
    assert number(server.rows(*run)) == 1
    server.ctl("test", "user-del", TESTER)
    until("an ordinary user again", lambda: number(server.rows(*run)) == 2)
    server.ctl("test", "user-add", TESTER, "--password", "secret")
    until("a test user again", lambda: number(server.rows(*run)) == 1)
    server.restart()
    assert len(clients) == 2


def test_marks_outlive_a_restart(server):
    server.restart()
    clients = server.client("alice", "a"), server.client("carol", "c")
    assert [r["jid"] for r in server.rows("user", "online")] == [USER]
    assert [r["jid"] for r in server.rows("session", "list", "--jid", TESTER)] == [str(clients[0])]


def test_announcements(server):
    alice, carol = server.client("alice"), server.client("carol")
    server.ctl("announce", "to those online")
    carol.expect("<message type='headline'><body>to those online</body></message>")
    server.ctl("announce", "--all", "to all")
    carol.expect("<message><body>to all</body></message>")
    server.ctl("motd", "set", "of the day")
    carol.expect("<message><body>of the day</body></message>")
    alice.expect_nothing("<message/>")


def test_there_can_be_a_hundred(server):
    """OUTSIDE_USERS_MAX"""
    for n in range(100):
        server.add_user(f"t{n}")
    for n in range(99):
        server.ctl("test", "user-add", f"t{n}@localhost", "--password", "secret")
    done = server.ctl_run("test", "user-add", "t99@localhost", "--password", "secret")
    assert done.returncode != 0 and "there are 100 test users" in done.stderr
    server.ctl("user", "del", "t0@localhost")
    until("there is room", lambda: server.ctl_run(
        "test", "user-add", "t99@localhost", "--password", "secret").returncode == 0)


def test_every_command_that_lists_users_stands_here():
    known = {name.strip() for name in SURFACES} | set(OTHERS)
    for name, command in rows.part("commands").items():
        found = command["properties"]["rows"].get("items", {}).get("properties", {})
        if {"jid", "user", "users", "sessions"} & set(found):
            assert name in known, f"{name}: does it show test users?"


def test_a_wrong_password_is_refused_at_once(server):
    """Also for who is a test user already: the right one stays."""
    for jid, said in ((USER, f"this is not the password of {USER}"),
                      (TESTER, f"this is not the password of {TESTER}"),
                      ("nobody@localhost", "there is no account nobody@localhost")):
        done = server.ctl_run("test", "user-add", jid, "--password", "another")
        assert done.returncode == 1 and said in done.stderr, done
    assert [r["jid"] for r in server.rows("test", "users")] == [TESTER]
    server.ctl("user", "password", TESTER, "--password", "another")
    server.ctl("test", "user-add", TESTER, "--password", "another")
