"""Rights that are given and taken at the same moment: one of the two is refused, whichever comes
first, and nobody is left with a right whose giver or whose role is gone. The disk stands still
meanwhile, so what came first is not stored yet when the other one comes."""
import functools
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import until
from harness.slow_disk import STILL
from services.test_adhoc import note, run
from surface.test_api import Api, api_server
from surface.test_console_login import PASSWORD, Browser
from operate.test_late_commands import by_socket

pytestmark = pytest.mark.sqlite
ROLES = ["r0", "r1", "r2", "r3"]
# Each gives a role that operators made: the command, and what it takes beside that.
GIVES = [("token add", {"name": "t"}), ("admin create", {"name": "otto", "password": PASSWORD}),
         ("admin role", {"name": "nora"}), ("admin add", {"jid": "bob@localhost"})]


@pytest.fixture
def host(make_server, disk):
    server = api_server(functools.partial(make_server, disk=disk))
    for name in "alice", "bob", "carol":
        server.add_user(name, PASSWORD)
    server.ctl("admin", "create", "nora", "administrator", "--password", PASSWORD)
    server.ctl("admin", "add", "alice@localhost", "administrator")
    return server


def results(host, name):
    """Of its calls, the oldest first."""
    entries = host.rows("audit", "list", "--command", name)[::-1]
    return [row["result"] for row in entries if row["result"] != "begun"]


def together(host, disk, *groups):
    """Runs each group of functions at once, while what was before it is not stored; each function
    returns when its call is under way. Waits until all calls, whose names are given, have ended."""
    names = [name for group in groups for name, _ in group]
    before = {name: len(results(host, name)) for name in names}
    disk.turn(sync_ms=STILL)
    for group in groups:
        with ThreadPoolExecutor(len(group)) as pool:
            list(pool.map(lambda one: one[1](), group))
    disk.turn(sync_ms=0)
    return {name: until(f"the end of {name}", lambda name=name:
                        len(results(host, name)) >= before[name] + names.count(name) and
                        results(host, name)[before[name]:]) for name in names}


def giving(host, roles):
    ask = by_socket(host)
    return [(name, functools.partial(ask, name, {**args, "role": role}))
            for (name, args), role in zip(GIVES, roles)]


def roles_of(host):
    return {**{row["name"]: row["role"] for row in host.rows("token", "list")},
            **{row["name"]: row["role"] for row in host.rows("admin", "list")}}


def test_a_role_is_not_given_while_it_is_deleted(host, disk):
    host.ctl("role", "set", "r", "users.read")
    before = roles_of(host)
    ends = together(host, disk,
                    [("role del", lambda: by_socket(host)("role del", {"name": "r"}))],
                    giving(host, ["r"] * len(GIVES)))
    assert ends == {"role del": ["ok"], **{name: ["notfound"] for name, _ in GIVES}}
    assert roles_of(host) == before


def test_a_role_is_not_deleted_while_it_is_given(host, disk):
    for role in ROLES:
        host.ctl("role", "set", role, "users.read")
    ends = together(host, disk, giving(host, ROLES),
                    [("role del", lambda role=role: by_socket(host)("role del", {"name": role}))
                     for role in ROLES])
    assert ends == {"role del": ["conflict"] * 4, **{name: ["ok"] for name, _ in GIVES}}
    assert set(ROLES) <= {row["name"] for row in host.rows("role", "list")}
    got = roles_of(host)
    assert [got[name] for name in ("t", "otto", "nora", "bob@localhost")] == ROLES


class ByToken:
    taken = ("token revoke", {"name": "chief"})

    def __init__(self, host):
        self.api = Api(host.api.port, host.rows("token", "add", "chief", "administrator")
                       [0]["token"])

    def __call__(self, command, **fields):
        return self.api("POST", f"/commands/{command}", fields)


class ByConsole:
    def __init__(self, host, name, taken):
        self.taken = taken
        self.browser = Browser(host.api.port)
        assert self.browser.login(name).status == 201

    def __call__(self, command, **fields):
        return self.browser("POST", f"/commands/{command}", fields)


class ByClient:
    def __init__(self, host, taken):
        self.taken = taken
        self.clients = {command: host.client("alice", command, password=PASSWORD)
                        for command in ("token-add", "role-set")}

    def __call__(self, command, **fields):
        return note(run(self.clients[command], command, **fields))


NORA, ALICE = {"name": "nora"}, {"jid": "alice@localhost"}
MAKERS = {
    "token": ByToken,
    "deleted": lambda host: ByConsole(host, "nora", ("admin delete", NORA)),
    "disabled": lambda host: ByConsole(host, "nora", ("admin disable", NORA)),
    "other role": lambda host: ByConsole(host, "nora", ("admin role", {**NORA, "role": "viewer"})),
    "account": lambda host: ByConsole(host, "alice@localhost", ("admin remove", ALICE)),
    "client": lambda host: ByClient(host, ("admin remove", ALICE)),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_nobody_gives_rights_while_their_own_are_taken(host, disk, maker):
    who = MAKERS[maker](host)
    name, args = who.taken
    before = roles_of(host)
    ends = together(host, disk,
                    [(name, lambda: by_socket(host)(name, args))],
                    [("token add", lambda: who("token-add", name="child", role="administrator")),
                     ("role set", lambda: who("role-set", name="mine", permissions="*"))])
    assert ends == {name: ["ok"], "token add": ["denied"], "role set": ["denied"]}
    after = roles_of(host)
    assert "child" not in after and set(after) <= set(before)
    assert "mine" not in {row["name"] for row in host.rows("role", "list")}


def test_two_administrators_of_one_name_are_told_of_each_other(host, disk):
    create = functools.partial(by_socket(host), "admin create")
    ends = together(host, disk, *[[("admin create", lambda role=role: create(
        {"name": "otto", "role": role, "password": PASSWORD}))] for role in ("viewer", "auditor")])
    assert ends == {"admin create": ["ok", "exists"]}
    assert roles_of(host)["otto"] == "viewer"


def test_who_has_a_role_that_is_not_there_can_be_changed(host):
    """As a release before this one could leave somebody: operators can always run every command."""
    for name in "otto", "paul":
        host.ctl("admin", "create", name, "viewer", "--password", PASSWORD)
    host.ctl("token", "add", "t", "viewer")
    host.stop()
    database = sqlite3.connect(host.folder / "data" / "muster.db")
    with database:
        for table in "administrator", "access_admin", "access_token":
            database.execute(f"UPDATE {table} SET role = 'gone' WHERE role = 'viewer'")
        database.execute("UPDATE access_admin SET role = 'gone'")
    database.close()
    host.start()
    host.ctl("admin", "disable", "otto")
    host.ctl("admin", "enable", "otto")
    host.ctl("admin", "password", "otto", "--password", PASSWORD + "2")
    host.ctl("admin", "role", "otto", "auditor")
    host.ctl("admin", "delete", "paul")
    host.ctl("admin", "remove", "alice@localhost")
    host.ctl("token", "revoke", "t")
    assert "gone" not in roles_of(host).values() and roles_of(host)["otto"] == "auditor"
