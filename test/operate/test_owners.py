"""What somebody began ends with their access: traces, candidates of settings, sessions of the
console and event streams of an account, an administrator or a token that is deleted, disabled or
gets a role that gives no longer what is needed."""
import pytest

from harness.client import until
from harness.server import refusal
from services.test_adhoc import note, run
from surface.test_api import Api, api_server
from surface.test_api_events import Stream
from surface.test_console_login import PASSWORD, Browser

CHIEF = "log.* settings.* compliance.* server.read"


@pytest.fixture
def host(make_server):
    server = api_server(make_server)
    for name in "alice", "bob", "carol":
        server.add_user(name, PASSWORD)
    server.ctl("role", "set", "chief", CHIEF)
    return server


class ByToken:
    def __init__(self, host):
        self.owner = "token:chief"
        self.api = Api(host.api.port, host.rows("token", "add", "chief", "chief")[0]["token"])

    def __call__(self, command, **fields):
        answer = self.api("POST", f"/commands/{command}", fields)
        assert answer.status == 200, answer.text


class ByConsole:
    def __init__(self, host, name):
        self.owner = f"console:{name}"
        self.browser = Browser(host.api.port)
        assert self.browser.login(name).status == 201

    def __call__(self, command, **fields):
        answer = self.browser("POST", f"/commands/{command}", fields)
        assert answer.status == 200, answer.text


class ByClient:
    def __init__(self, host):
        self.owner = "xmpp:alice@localhost"
        self.client = host.client("alice", "a", password=PASSWORD)

    def __call__(self, command, **fields):
        answer = run(self.client, command, **fields)
        assert note(answer)[0] == "info", note(answer)


def begin(host, how):
    if how == "token":
        return ByToken(host)
    if how == "person":
        host.ctl("admin", "create", "nora", "chief", "--password", PASSWORD)
        return ByConsole(host, "nora")
    if how == "setting":
        host.ctl("set", "admin.accounts", "alice@localhost")
        return ByClient(host)
    host.ctl("admin", "add", "alice@localhost", "chief")
    return ByConsole(host, "alice@localhost") if how == "account" else ByClient(host)


ENDS = [("token", "token revoke chief"), ("token", "role set chief server.read"),
        ("person", "admin delete nora --yes"), ("person", "admin disable nora"),
        ("person", "admin role nora viewer"), ("person", "role set chief server.read"),
        ("account", "user del alice@localhost --yes"), ("account", "user disable alice@localhost"),
        ("account", "admin remove alice@localhost"),
        ("account", "admin add alice@localhost viewer"),
        ("client", "user del alice@localhost --yes"), ("client", "user disable alice@localhost"),
        ("client", "admin remove alice@localhost"),
        ("setting", "user del alice@localhost --yes"),
        ("setting", "user disable alice@localhost"), ("setting", "set admin.accounts --default")]


def begun(host):
    return ({(r["by"], r["jid"]) for r in host.rows("trace", "list")},
            {r["owner"] for r in host.rows("config", "candidate")})


@pytest.mark.parametrize("how,end", ENDS)
def test_what_was_begun_ends(host, how, end):
    who = begin(host, how)
    who("trace-jid", jid="bob@localhost", **{"for": "1h"})
    who("trace-bodies", jid="carol@localhost", reason="case 4711")
    who("config-edit", setting="muc.rooms-max", value="77")
    host.ctl("trace", "jid", "dave@localhost")  # of the operator: these stay
    host.ctl("config", "edit", "muc.rooms-max", "78")
    operator = {"control:root"}
    assert begun(host) == ({(who.owner, "bob@localhost"), (who.owner, "carol@localhost"),
                            ("control:root", "dave@localhost")}, {who.owner} | operator)
    host.ctl(*end.split())
    until("the end", lambda: begun(host) == ({("control:root", "dave@localhost")}, operator))
    assert host.rows("admin", "sessions") == [] or "role set" in end
    with host.database(read_only=True) as db:
        assert until("the rows", lambda: [r[0] for r in db.execute(
            "SELECT DISTINCT owner FROM setting_candidate")] == ["control:root"])
    assert host.rows("config", "diff")[0]["candidate"] == "78"


def test_a_namesake_gets_nothing(host):
    who = begin(host, "person")
    who("config-edit", setting="muc.rooms-max", value="77")
    host.ctl("admin", "delete", "nora", "--yes")
    host.ctl("admin", "create", "nora", "chief", "--password", PASSWORD)
    again = ByConsole(host, "nora")
    answer = again.browser("POST", "/commands/config-diff", {})
    assert "77" not in answer.text and "empty" in answer.text, answer.text
    host.ctl("trace", "jid", "bob@localhost", "--for", "1h")
    host.ctl("user", "del", "bob@localhost", "--yes")
    until("the end", lambda: host.rows("trace", "list") == [])


def test_a_trace_ends_with_its_token(host):
    token = host.rows("token", "add", "short", "chief", "--expires", "1m")[0]["token"]
    api = Api(host.api.port, token)
    assert api("POST", "/commands/trace-jid", {"jid": "bob@localhost", "for": "1h"}).status == 200
    ends = host.rows("token", "list")
    until_us = host.rows("trace", "list")[0]["until"]
    assert until_us == next(r["expires"] for r in ends if r["name"] == "short")


@pytest.mark.parametrize("how,end", [e for e in ENDS if e[0] in ("token", "person", "account")])
def test_streams_of_events_end(host, how, end):
    who = begin(host, how)
    stream = (Stream(host, "log", token=who.api.token) if how == "token" else
              Stream(host, "log", token=False, host=who.browser.host,
                     extra=f"Cookie: {who.browser.cookie}\r\n"))
    assert stream.status() == 200
    host.ctl(*end.split())
    until("end of the stream", lambda: stream.read(0.05) or stream.closed)


def test_a_disabled_account_is_shown_so(host):
    host.ctl("set", "admin.accounts", "bob@localhost")
    host.ctl("admin", "add", "alice@localhost", "viewer")
    names = "alice@localhost", "bob@localhost"

    def shown():
        return {r["name"]: r["disabled"] for r in host.rows("admin", "list")}
    assert shown() == dict.fromkeys(names, False)
    for name in names:
        host.ctl("user", "disable", name)
        assert shown()[name]
    host.restart()
    assert shown() == dict.fromkeys(names, True)
    for name in names:
        host.ctl("user", "enable", name)
        assert not shown()[name]


def test_tokens_stay_and_name_who_made_them(host):
    """They are of programs: a backup does not stop because its administrator has left. So who takes
    the access away sees which tokens are left."""
    host.ctl("set", "admin.accounts", "alice@localhost")
    who = ByConsole(host, "alice@localhost")
    who("token-add", name="nightly", role="viewer")
    host.ctl("user", "del", "alice@localhost", "--yes")
    made = {r["name"]: r["made_by"] for r in host.rows("token", "list")}
    assert made == {"tests": "control:root", "nightly": "console:alice@localhost"}


def test_nobody_disables_the_own_account(host):
    """As nobody deletes it, or takes the own role away: who has it could not log in again."""
    host.ctl("set", "admin.accounts", "alice@localhost")
    browser = ByConsole(host, "alice@localhost").browser
    answer = browser("PUT", "/users/alice@localhost/disabled", {})
    assert answer.status == 403 and "own account" in answer.json["detail"], answer.text
    alice = host.client("alice", "phone", password=PASSWORD)
    assert "own account" in str(note(run(alice, "user-disable", jid="alice@localhost")))
    assert browser("PUT", "/users/bob@localhost/disabled", {}).status == 200


def test_a_token_ends_with_the_one_that_made_it(host):
    """And what that has made; another one of its name later gets nothing back."""
    def of(token):
        return Api(host.api.port, token)

    def child(maker, name):
        made = of(maker)("POST", "/tokens", {"name": name, "role": "administrator"})
        return made.json["rows"][0]["token"]
    tokens = {"parent": host.rows("token", "add", "parent", "administrator")[0]["token"]}
    tokens["child"] = child(tokens["parent"], "child")
    tokens["grandchild"] = child(tokens["child"], "grandchild")
    tokens["other"] = child(host.api.token, "other")

    def work():
        return {name for name, token in tokens.items() if of(token)("GET", "/nodes").status == 200}
    assert work() == set(tokens)
    host.ctl("token", "revoke", "parent")
    assert work() == {"other"}
    host.ctl("token", "add", "parent", "viewer")
    assert work() == {"other"}
    assert {r["name"] for r in host.rows("token", "list")} == {"tests", "other", "parent"}


@pytest.mark.parametrize("name", [".", ".."])
def test_names_that_no_path_can_have(host, name):
    for command in (("role", "set", name, "users.read"), ("token", "add", name, "viewer"),
                    ("group", "add", name), ("admin", "create", name, "viewer")):
        assert "lower-case letters" in refusal(host, *command), command
