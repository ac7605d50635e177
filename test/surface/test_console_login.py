"""Sessions of the console: login with a password, the cookie and its ends, and attacks on them."""
import base64
import functools
import hashlib
import hmac
import http.client
import json
import re
import socket
import struct
import threading
import time

import pytest

from harness import rows
from harness.client import TIMEOUT, until
from harness.slow_disk import STILL
from surface.test_api import ROOT_PATH, api_server
from operate.test_rename import rename

PASSWORD = "Correct-horse-9"


class Browser:
    """Keeps the cookie and sends the CSRF token, as a page does."""

    def __init__(self, port, host=None):
        self.port, self.host = port, host or f"127.0.0.1:{port}"
        self.cookie = self.csrf = None

    def __call__(self, method, path, body=None, csrf=True, cookie=True, **headers):
        headers = {"Host": self.host,
                   **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookie and cookie:
            headers["Cookie"] = f"theme=dark; {self.cookie}"
        if self.csrf and csrf and method != "GET":
            headers["X-CSRF-Token"] = self.csrf
        if body is not None:
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        connection.request(method, ROOT_PATH + path, body, headers)
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        answer.json = json.loads(answer.text) if answer.text else None
        connection.close()
        if answer.status >= 400:
            assert answer.json["status"] == answer.status
        return answer

    def login(self, name, password=PASSWORD, **more):
        answer = self("POST", "/session", {"name": name, "password": password, **more})
        if answer.status == 201:
            self.cookie = answer.getheader("Set-Cookie").split(";")[0]
            self.csrf = answer.json["csrf"]
        return answer


class Guess(threading.Thread):
    """Whose failure is one of the test."""

    def __init__(self, run):
        super().__init__()
        self.act, self.failure = run, None

    def run(self):
        try:
            self.act()
        except (AssertionError, OSError) as failure:
            self.failure = failure

    def done(self):
        self.join()
        if self.failure is not None:
            raise self.failure


def logins(server, result):
    text = server.api("GET", "/metrics", root="", token=None).text
    found = re.search(rf'muster_console_logins(?:_total)?{{result="{result}"}} (\d+)', text)
    return int(found[1])


@pytest.fixture
def server(make_server):
    return console_server(make_server)


def console_server(make_server, failures="none"):
    server = api_server(make_server, **{"auth.failures-per-address": failures})
    server.add_user("alice", PASSWORD)
    server.ctl("admin", "add", "alice@localhost", "viewer")
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    server.browser = lambda **kw: Browser(server.api.port, **kw)
    return server


@pytest.fixture
def browser(server):
    return server.browser()


@pytest.mark.parametrize("name,role", [("root", "administrator"), ("alice@localhost", "viewer"),
                                       ("ALICE@localhost", "viewer")])
def test_login_and_logout(server, browser, name, role):
    answer = browser.login(name)
    assert answer.status == 201, answer.text
    found = answer.json
    assert (found["principal"], found["role"]) == (name.lower(), role)
    assert "server.read" in found["permissions"] and "expires" in found
    assert ("users.write" in found["permissions"]) == (role == "administrator")
    assert len(found["permissions"]) == len(set(found["permissions"]))
    cookie = answer.getheader("Set-Cookie")
    assert cookie.startswith("__Host-muster=")
    assert set(cookie.split("; ")[1:]) == {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"}
    assert answer.getheader("Cache-Control") == "no-store"
    assert browser("GET", "/session").json == found
    assert browser("GET", "/status").status == 200
    listed = server.rows("admin", "sessions")
    assert [(s["name"], s["role"], s["from"]) for s in listed] == [
        (name.lower(), role, "127.0.0.1")]
    out = browser("DELETE", "/session")
    assert out.status == 204 and "Max-Age=0" in out.getheader("Set-Cookie")
    for path in "/session", "/status":
        answer = browser("GET", path)
        assert (answer.status, answer.json["code"]) == (401, "session-ended")
    assert server.rows("admin", "sessions") == []


def test_a_token_is_told_who_it_is(server):
    found = server.api("GET", "/session").json
    assert found["principal"] == "token:tests" and "users.write" in found["permissions"]
    assert "csrf" not in found
    assert server.api("DELETE", "/session").status == 409


def test_csrf(server, browser):
    browser.login("root")
    bob = {"jid": "bob@localhost", "password": PASSWORD}
    for token in None, "", "x", browser.csrf[:-1], browser.csrf[:-1] + "g", "0" * 64:
        headers = {} if token is None else {"X_CSRF_Token": token}
        answer = browser("POST", "/commands/user-add", bob, csrf=False, **headers)
        assert (answer.status, answer.json["code"]) == (403, "csrf"), token
        assert browser("DELETE", "/session", csrf=False, **headers).status == 403
    other = server.browser()
    other.login("root")
    assert browser("POST", "/commands/user-add", bob, csrf=False,
                   X_CSRF_Token=other.csrf).status == 403
    # A form of another site cannot send JSON, and a login by one is refused, too.
    for kind in "text/plain", "application/x-www-form-urlencoded", "multipart/form-data":
        assert browser("POST", "/session", {"name": "root", "password": PASSWORD},
                       Content_Type=kind).status == 415
    assert "bob@localhost" not in str(server.rows("user", "list"))
    assert browser("POST", "/commands/user-add", bob).status == 200


def test_session_fixation(server, browser):
    """A login takes no id from the client, and ends the session that the browser had."""
    browser.cookie = "__Host-muster=" + "a" * 64
    browser.login("root")
    first = browser.cookie
    assert first != "__Host-muster=" + "a" * 64
    browser.login("root")
    assert browser.cookie != first and len(server.rows("admin", "sessions")) == 1
    old = server.browser()
    old.cookie = first
    assert old("GET", "/session").status == 401


def test_sessions_of_a_name_are_bounded(server):
    browsers = [server.browser() for _ in range(21)]
    for browser in browsers:
        assert browser.login("alice@localhost").status == 201
    assert len(server.rows("admin", "sessions")) == 20
    assert [b("GET", "/session").status for b in browsers] == [401] + [200] * 20


def test_a_session_is_of_its_host(server, browser):
    browser.login("root")
    elsewhere = server.browser(host="other.test")
    elsewhere.cookie = browser.cookie
    assert elsewhere("GET", "/session").status == 401
    assert browser("GET", "/session").status == 200


def test_all_that_is_wrong_looks_the_same(server, browser):
    server.add_user("bob", PASSWORD)  # has no role
    server.ctl("admin", "create", "off", "viewer", "--password", PASSWORD)
    server.ctl("admin", "disable", "off")
    server.ctl("admin", "create", "gone", "viewer", "--password", PASSWORD)
    server.ctl("admin", "delete", "gone", "--yes")
    server.add_user("carol", PASSWORD)
    server.ctl("admin", "add", "carol@localhost", "viewer")
    server.ctl("user", "disable", "carol@localhost")
    found = {}
    for name, password in (("root", "wrong"), ("alice@localhost", "wrong"), ("nobody", PASSWORD),
                           ("nobody@localhost", PASSWORD), ("bob@localhost", PASSWORD),
                           ("off", PASSWORD), ("gone", PASSWORD), ("carol@localhost", PASSWORD),
                           ("alice@elsewhere.test", PASSWORD), ("alice@localhost/x", PASSWORD),
                           ("Root", PASSWORD), ("@", PASSWORD), ("root", "")):
        answer = browser.login(name, password)
        found.setdefault((answer.status, answer.text), []).append((name, password))
    assert len(found) == 1 and next(iter(found))[0] == 401, found


def test_unknown_names_take_as_long(server, browser):
    """The same work, whether there is such a name: compared by the processor time of the server,
    and with much room, since a scheduler takes part."""
    server.ctl("set", "admin.lock-failures", "none")

    def cost(name):
        before = server.cpu_seconds()
        for _ in range(4):
            assert browser.login(name, "wrong").status == 401
        return server.cpu_seconds() - before
    known, unknown = cost("root"), cost("nobody")
    assert known / 3 < unknown < known * 3, (known, unknown)


def test_lock_out(server, browser):
    server.ctl("set", "admin.lock-failures", "3")
    for name in "root", "nobody":
        answers = [browser.login(name, "wrong") for _ in range(4)]
        answers.append(browser.login(name))
        assert {a.status for a in answers} == {401}
        assert len({a.text for a in answers}) == 1, name
    listed = {row["name"]: row["locked"] for row in server.rows("admin", "list")}
    assert listed == {"root": True, "alice@localhost": False}
    assert browser.login("alice@localhost").status == 201
    server.ctl("admin", "unlock", "root")
    assert browser.login("root").status == 201
    assert server.ctl_run("admin", "unlock", "root").returncode != 0
    counted = [r for r in server.rows("audit", "list") if r["command"] == "session login"]
    refused = [r["result"] for r in counted if r["actor"] == "console:root"]
    # The third is the lock-out; a guess that was not made fills nothing.
    assert sorted(refused) == ["auth", "auth", "denied"]


def test_parallel_guesses_are_as_few(server):
    server.ctl("set", "admin.lock-failures", "3")
    browsers = [server.browser() for _ in range(12)]
    threads = [threading.Thread(target=b.login, args=("root", "wrong")) for b in browsers]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (logins(server, "wrong"), logins(server, "locked")) == (2, 1)
    assert server.browser().login("root").status == 401


def test_addresses_are_refused_too(make_server):
    server = console_server(make_server, failures="3")
    browser = server.browser()
    for n in range(4):
        assert browser.login(f"guess{n}", "wrong").status == 401
    assert browser.login("root").status == 401
    assert logins(server, "refused") > 0


WRONG_FORMS = ("Vic", "v ic", "nobody<b>", "a" * 200, "a" * 3000, "root/4711", "@", "a@b/c",
               "\u202eroot", "root\r\nname=root", "a@b@c d")


def test_failures_of_any_form_are_told(server, browser):
    """Whatever the name or the password looks like: an entry, a count, and the same work."""
    tried = [(name, "wrong") for name in WRONG_FORMS] + [("root", ""), ("root", "a\u0000b"),
                                                         ("alice@localhost", " "),
                                                         ("root", "\u00ad")]
    before, counted = server.cpu_seconds(), 0
    for name, password in tried:
        answer = browser.login(name, password)
        assert answer.status in (401, 400 if "\0" in password else 401), (name, password)
        counted += answer.status == 401
    spent = server.cpu_seconds() - before
    assert logins(server, "wrong") == counted == len(tried) - 1 and logins(server, "refused") == 0
    entries = [r for r in server.rows("audit", "list") if r["command"] == "session login"]
    assert len(entries) == counted and {r["result"] for r in entries} == {"auth"}
    assert all(r["from"] == "127.0.0.1" for r in entries)
    # A name that can be nobody's stands in no place of an administrator, and is short.
    assert {r["actor"] for r in entries} == {"console:?", "console:root", "console:alice@localhost"}
    args = [r["args"] for r in entries if r["actor"] == "console:?"]
    assert {"name=Vic", 'name="v ic"', "name=nobody<b>", 'name="root  name=root"'} <= set(args)
    assert max(len(a) for a in args) < 300 and "\n" not in "".join(args)
    before = server.cpu_seconds()
    for _ in range(4):
        browser.login("nobody", "wrong")
    assert spent / counted > (server.cpu_seconds() - before) / 4 / 3


def test_addresses_are_refused_for_names_of_any_form(make_server):
    server = console_server(make_server, failures="3")
    browser = server.browser()
    for name in WRONG_FORMS[:4]:
        assert browser.login(name, "wrong").status == 401
    assert browser.login("root").status == 401
    assert logins(server, "refused") > 0


def test_malformed_logins(browser):
    """Control characters in a name, and bodies that are none."""
    for name in "root\r\nSet-Cookie: a=b", "root\0", "root\x1b[2J", "a\nb", "root\udc80":
        answer = browser.login(name)
        assert answer.status in (400, 401, 422) and answer.getheader("Set-Cookie") is None
        assert "\x1b" not in answer.text and "\r" not in answer.text
    for body in ({}, {"name": "root"}, {"password": "x"}, [], "x", {"name": 7},
                 {"name": "root", "password": ["a"]}, {"name": "a" * 5000},
                 {"name": "root", "password": "x", "role": "administrator"}):
        answer = browser("POST", "/session", body)
        assert answer.status in (400, 401, 422) and answer.getheader("Set-Cookie") is None, body


def test_what_ends_a_session_at_once(server):
    changes = (("admin", "password", "p0", "--password", "Another-horse-9"),
               ("admin", "role", "p1", "operator"), ("admin", "disable", "p2"),
               ("admin", "delete", "p3", "--yes"))
    for n, change in enumerate(changes):
        server.ctl("admin", "create", f"p{n}", "viewer", "--password", PASSWORD)
        browser = server.browser()
        assert browser.login(f"p{n}").status == 201
        assert browser("GET", "/status").status == 200
        server.ctl(*change)
        assert browser("GET", "/status").status == 401, change
    for change in (("admin", "add", "alice@localhost", "operator"),
                   ("user", "password", "alice@localhost", "--password", PASSWORD),
                   ("admin", "remove", "alice@localhost")):
        browser = server.browser()
        assert browser.login("alice@localhost").status == 201, change
        server.ctl(*change)
        until("end of the session", lambda b=browser: b("GET", "/status").status == 401)
    server.ctl("admin", "add", "alice@localhost", "viewer")
    browser = server.browser()
    browser.login("alice@localhost")
    server.ctl("user", "disable", "alice@localhost")
    assert browser("GET", "/status").status == 401
    browser = server.browser()
    browser.login("root")
    server.ctl("admin", "end-session", server.rows("admin", "sessions")[0]["id"])
    assert browser("GET", "/status").status == 401


@pytest.mark.parametrize("name,change", [("root", "admin"), ("alice@localhost", "user")])
def test_a_login_under_way_ends_with_the_password(server, name, change):
    """Logins of one address to the name of an administrator are compared one after the other, so
    some of these are compared with the password from before and end after the change: none may
    leave a session."""
    server.ctl("set", "admin.lock-failures", "none")
    browsers = []

    def logs_in():
        for _ in range(20):
            browser = server.browser()
            status = browser.login(name).status
            assert status in (201, 401)
            if status == 401:
                return
            browsers.append(browser)
        raise AssertionError("the old password still works")
    threads = [Guess(logs_in) for _ in range(4)]
    for thread in threads:
        thread.start()
    until("a first login", lambda: browsers)
    server.ctl(change, "password", name, "--password", "Another-horse-9")
    for thread in threads:
        thread.done()
    assert {b("GET", "/session").status for b in browsers} == {401}
    assert server.browser().login(name, "Another-horse-9").status == 201


def test_idle_and_absolute_end(server, browser):
    server.ctl("set", "console.idle", "1s")
    browser.login("root")
    until("end of the session", lambda: server.rows("admin", "sessions") == [])
    assert browser("GET", "/status").status == 401
    # Although a page that nobody touches asks all the time:
    browser.login("root")
    for path in "/status", "/session":
        assert browser("GET", path, X_Console_Idle="yes").status == 200
    until("end of the session", lambda: browser(
        "POST", "/commands/status", {}, X_Console_Idle="yes").status == 401)
    server.ctl("set", "console.idle", "1h")
    server.ctl("set", "console.session-time", "2s")
    browser.login("root")
    # Although it is used:
    until("end of the session", lambda: browser("GET", "/status").status == 401)


def test_dangerous_rows_need_the_password_again(server, browser):
    server.add_user("bob", PASSWORD)
    server.ctl("set", "console.confirm-time", "0s")
    browser.login("root")
    for row, body in (("user-del", {"jid": "bob@localhost"}),
                      ("admin-create", {"name": "evil", "role": "administrator"})):
        answer = browser("POST", f"/commands/{row}", body)
        assert (answer.status, answer.json["code"]) == (403, "confirm-password")
    assert browser("DELETE", "/users/bob@localhost").json["code"] == "confirm-password"
    asked = {name for name, row in rows.part("commands").items() if row["x-access"] != "local" and
             row["x-permission"] in ("admins.write", "settings.write")} | {"user password"}
    assert asked > {"set", "config edit", "config apply", "config rollback", "role set"}
    for name in asked:
        answer = browser("POST", f"/commands/{name.replace(' ', '-')}", {})
        assert (answer.status, answer.json["code"]) == (403, "confirm-password"), name
    assert browser("PUT", "/settings/admin.accounts",
                   {"value": "bob@localhost"}).json["code"] == "confirm-password"
    assert browser("POST", "/commands/user-add",
                   {"jid": "x@localhost", "password": PASSWORD}).status == 200
    assert browser("POST", "/session/confirm", {"password": "wrong"}).status == 401
    assert browser("DELETE", "/users/bob@localhost").json["code"] == "confirm-password"
    server.ctl("set", "console.confirm-time", "1h")
    assert browser("POST", "/session/confirm", {"password": PASSWORD}).status == 204
    for jid in ("bob@localhost", "x@localhost"):
        assert browser("DELETE", f"/users/{jid}").status == 200


@pytest.mark.parametrize("span", ["0s", "1ms"])
def test_a_confirmation_is_good_for_one_command_however_short_its_time(server, browser, span):
    for name in ("bob", "carol", "dave"):
        server.add_user(name, PASSWORD)
    server.ctl("set", "console.confirm-time", span)
    browser.login("root")

    def asks(method, path, body=None):
        answer = browser(method, path, body)
        return (answer.status, answer.json.get("code")) == (403, "confirm-password")

    def confirm():
        assert browser("POST", "/session/confirm", {"password": PASSWORD}).status == 204

    assert asks("DELETE", "/users/bob@localhost")
    confirm()
    # What destroys nothing, and what cannot run, does not use it up.
    assert browser("GET", "/users/bob@localhost").status == 200
    assert browser("POST", "/commands/user-del", {"nobody": "knows"}).status == 422
    assert browser("DELETE", "/users/bob@localhost").status == 200
    assert asks("DELETE", "/users/carol@localhost")
    confirm()
    confirm()  # twice is not two
    assert browser("DELETE", "/users/carol@localhost").status == 200
    assert asks("DELETE", "/users/dave@localhost")
    # The same for the second factor, and it is of this session only.
    assert asks("POST", "/session/totp", {})
    confirm()
    other = server.browser()
    other.login("root")
    assert other("DELETE", "/users/dave@localhost").json["code"] == "confirm-password"
    assert "secret" in browser("POST", "/session/totp", {}).json
    assert asks("POST", "/session/totp", {})
    # A change that compares an ETag first reads, and uses it once.
    confirm()
    etag = browser("GET", "/users/dave@localhost").getheader("ETag")
    answer = browser("DELETE", "/users/dave@localhost", If_Match=etag)
    assert answer.status == 200, answer.text
    assert asks("DELETE", "/users/alice@localhost")


def test_banner(server, browser):
    assert browser("GET", "/login").json == {"banner": None, "acknowledge": False}
    server.ctl("set", "console.banner", "Only for <staff> & \"guests\"")
    assert browser("GET", "/login").json == {"banner": "Only for <staff> & \"guests\"",
                                             "acknowledge": True}
    answer = browser.login("root")
    assert (answer.status, answer.json["code"]) == (403, "acknowledge")
    assert browser.login("root", acknowledged=False).status == 403
    assert browser.login("root", acknowledged=True).status == 201
    server.ctl("set", "console.acknowledge", "off")
    assert server.browser().login("root").status == 201


def test_the_audit_log_names_sessions(server, browser):
    browser.login("root", "wrong")
    browser.login("root")
    session = server.rows("admin", "sessions")[0]["id"]
    browser("POST", "/commands/user-add", {"jid": "bob@localhost", "password": PASSWORD})
    browser("DELETE", "/session")
    rows = [(r["actor"], r["command"], r["result"]) for r in server.rows("audit", "list")
            if r["actor"].startswith("console:")]
    mine = f"console:root/{session}"
    assert sorted(rows) == sorted([("console:root", "session login", "auth"),
                                   (mine, "session login", "ok"), (mine, "user add", "ok"),
                                   (mine, "session logout", "ok")])
    assert PASSWORD not in str(server.rows("audit", "list"))


def test_roles_hold_for_sessions(server):
    """Each role may do over a session what it may do elsewhere: one command of each area."""
    for role in server.rows("role", "list"):
        name = f"is-{role['name']}"
        server.ctl("admin", "create", name, role["name"], "--password", PASSWORD)
        browser = server.browser()
        found = browser.login(name).json
        for path, permission in (("/users", "users.read"), ("/commands/role-list", "admins.read"),
                                 ("/commands/audit-list", "audit.read")):
            method = "GET" if path == "/users" else "POST"
            status = browser(method, path, None if method == "GET" else {}).status
            assert (status == 200) == (permission in found["permissions"]), (name, path, status)


def test_nobody_gives_more_than_they_have(server):
    server.ctl("role", "set", "chief", "admins.* users.*")
    server.ctl("admin", "create", "boss", "chief", "--password", PASSWORD)
    browser = server.browser()
    browser.login("boss")
    for row, body in (("admin-create", {"name": "x", "role": "administrator"}),
                      ("admin-password", {"name": "root", "password": "Another-horse-9"}),
                      ("admin-role", {"name": "root", "role": "chief"}),
                      ("admin-disable", {"name": "root"}), ("admin-delete", {"name": "root"}),
                      ("admin-disable", {"name": "boss"}),
                      ("admin-totp", {"name": "root"})):
        assert browser("POST", f"/commands/{row}", body).status == 403, (row, body)
    assert browser("POST", "/commands/admin-create", {"name": "x", "role": "chief"}).status == 200
    own = server.rows("admin", "sessions")[0]["id"]
    for name, status, after in ("root", 403, 200), ("boss", 200, 401):
        other = server.browser()
        other.login(name)
        session, = [s["id"] for s in server.rows("admin", "sessions")
                    if s["name"] == name and s["id"] != own]
        answer = browser("POST", "/commands/admin-end-session", {"id": session})
        assert answer.status == status and other("GET", "/session").status == after, name


def test_archives_need_a_stated_reason(server):
    found = {}
    for role in "auditor", "operator", "viewer", "help-desk":
        server.ctl("admin", "create", role, role, "--password", PASSWORD)
        browser = server.browser()
        browser.login(role)
        for body in {}, {"reason": ""}, {"reason": "x"}, {"reason": "case 4711"}:
            answer = browser("POST", "/commands/archive-events", body)
            found.setdefault(role, []).append(answer.status)
            if answer.status == 422:
                assert answer.json["argument"] == "reason"
    assert found.pop("auditor") == [422, 422, 422, 200]
    assert set(sum(found.values(), [])) == {403}
    server.ctl("archive", "events")
    rows = [(r["actor"].split("/")[0], r["args"]) for r in server.rows("audit", "list")
            if r["command"] == "archive events" and r["result"] == "ok"]
    assert sorted(rows) == [("console:auditor", 'reason="case 4711"'), ("control:root", "")]


def test_a_browser_left_alone_changes_no_password_of_its_own_account(server, browser):
    change = {"jid": "alice@localhost", "password": "Another-horse-9"}
    server.ctl("role", "set", "chief", "users.* admins.*")
    server.ctl("admin", "add", "alice@localhost", "chief")
    browser.login("alice@localhost")
    answer = browser("POST", "/commands/user-password", change)
    assert answer.status == 403 and "own account" in answer.json["detail"]


def test_password_policy(server):
    def refused(*command):
        done = server.ctl_run(*command)
        assert done.returncode != 0, done.stdout
        return done.stderr

    server.ctl("set", "admin.password-classes", "3")
    make = "admin", "create", "eve", "viewer", "--password"
    assert "at least 12" in refused(*make, "Short-9")
    assert "classes" in refused(*make, "allofonecase and more")
    server.ctl(*make, PASSWORD)
    change = "admin", "password", "eve", "--password"
    assert "used before" in refused(*change, PASSWORD)
    server.ctl("set", "admin.password-history", "2")
    server.ctl(*change, "Second-horse-9")
    assert "used before" in refused(*change, PASSWORD)
    server.ctl(*change, "Third-horse-9x")
    assert "used before" in refused(*change, "Second-horse-9")
    server.ctl(*change, PASSWORD)
    made = server.rows("admin", "create", "fred", "viewer")[0]["password"]
    assert server.browser().login("fred", made).status == 201
    with server.database(read_only=True) as db:
        stored = str(db.execute("SELECT * FROM administrator_password").fetchall())
    assert made not in stored and PASSWORD not in stored


def test_a_deleted_or_renamed_account(server, browser):
    """The next owner of an address has no second factor; one that is renamed keeps it."""
    secret = server.rows("admin", "totp", "alice@localhost")[0]["secret"]
    codes = server.rows("admin", "totp-confirm", "alice@localhost", totp(secret, now_step()))
    server.stop()
    assert rename(server, "alice@localhost", "alicia@localhost").returncode == 0
    server.start()
    assert browser.login("alicia@localhost").json["code"] == "code-required"
    assert browser.login("alicia@localhost", code=totp(secret, now_step() + 1)).status == 201
    assert browser.login("alicia@localhost", code=codes[0]["code"]).status == 201
    server.ctl("user", "del", "alicia@localhost", "--yes")
    assert browser("GET", "/session").status == 401
    server.add_user("alicia", PASSWORD)
    server.ctl("admin", "add", "alicia@localhost", "viewer")
    assert browser.login("alicia@localhost").status == 201


def totp(secret, step):
    mac = hmac.digest(base64.b32decode(secret), struct.pack(">q", step), hashlib.sha1)
    at = mac[-1] & 15
    return f"{(struct.unpack('>I', mac[at:at + 4])[0] & 0x7fffffff) % 1000000:06}"


def now_step():
    """A code of this step or the next one is taken for half a minute at least; that of the one
    before is not, if the step ends now."""
    return int(time.time()) // 30


@pytest.mark.parametrize("name", ["root", "alice@localhost"])
def test_second_factor(server, browser, name):
    made = server.rows("admin", "totp", name)[0]
    assert made["uri"].startswith("otpauth://totp/") and made["secret"] in made["uri"]
    assert browser.login(name).status == 201  # not confirmed
    assert server.ctl_run("admin", "totp-confirm", name,
                          totp(made["secret"], now_step() + 50)).returncode != 0
    first = now_step()
    codes = [row["code"] for row in server.rows("admin", "totp-confirm", name,
                                                totp(made["secret"], first))]
    assert len(set(codes)) == 10
    audited = server.rows("audit", "list", "--command", "admin totp-confirm")
    assert {r["args"] for r in audited} == {f"name={name}"}  # codes are secrets
    assert {r["name"]: r["totp"] for r in server.rows("admin", "list")}[name]
    answer = browser.login(name)
    assert (answer.status, answer.json["code"]) == (401, "code-required")
    assert browser.login(name, "wrong").json["code"] == "wrong"
    for code in totp(made["secret"], first), totp(made["secret"], now_step() + 50), "12345", "x":
        assert browser.login(name, code=code).json["code"] == "wrong"  # the first: used
    server.ctl_run("admin", "unlock", name)
    code = totp(made["secret"], now_step() + 1)
    assert browser.login(name, code=code).status == 201
    assert browser.login(name, code=code).json["code"] == "wrong"
    assert browser.login(name, code=codes[0].upper()).status == 201
    assert browser.login(name, code=codes[0]).json["code"] == "wrong"
    assert browser.login(name, code=codes[1].replace("-", "")).status == 201
    assert server.ctl_run("admin", "totp", name).returncode != 0
    with server.database(read_only=True) as db:
        stored = str(db.execute("SELECT * FROM admin_factor").fetchall() +
                     db.execute("SELECT * FROM admin_recovery").fetchall())
    assert made["secret"] not in stored and codes[2] not in stored
    server.restart()
    assert browser.login(name).json["code"] == "code-required"
    again = [row["code"] for row in server.rows("admin", "recovery-codes", name)]
    assert browser.login(name, code=codes[2]).json["code"] == "wrong"
    assert browser.login(name, code=again[0]).status == 201
    server.ctl("admin", "totp-remove", name, "--yes")
    assert browser.login(name).status == 201


@pytest.mark.parametrize("name", ["root", "alice@localhost"])
@pytest.mark.parametrize("end", ["restore", "reset", "remove"])
def test_a_second_factor_whose_key_is_lost(server, browser, name, end):
    """The answer says what to do, which helps; trying again would not."""
    secret = server.rows("admin", "totp", name)[0]["secret"]
    server.ctl("admin", "totp-confirm", name, totp(secret, now_step() - 1))
    other = "alice@localhost" if name == "root" else "root"
    server.ctl("admin", "totp", other)  # not confirmed: it is not asked for
    server.stop()
    key, away = server.data / "secrets.key", server.data / "away"
    key.rename(away)
    server.start()
    assert browser.login(other).status == 201
    assert browser.login(name, "wrong").json["code"] == "wrong"
    for more in {}, {"code": totp(secret, now_step())}, {"code": "000000"}:
        answer = browser.login(name, **more)
        assert (answer.status, answer.json["code"]) == (503, "factor-unreadable")
        assert answer.getheader("Retry-After") is None
        assert "secrets.key" in answer.json["detail"] and "totp-remove" in answer.json["detail"]
    assert logins(server, "factor-unreadable") == 3
    if end == "restore":
        server.stop()
        away.rename(key)
        server.start()
        assert browser.login(name).json["code"] == "code-required"
        assert browser.login(name, code=totp(secret, now_step() + 1)).status == 201
        return
    if end == "reset":
        server.ctl("secrets", "reset", "--yes")
        server.restart()
    else:
        assert "secrets.key" in server.ctl_run("admin", "totp", name).stderr
        server.ctl("admin", "totp-remove", name, "--yes")
    assert browser.login(name).status == 201


@pytest.mark.sqlite
@pytest.mark.release
@pytest.mark.parametrize("ahead_s, taken", [(30, True), (-30, True), (60, False), (-60, False)])
def test_second_factor_while_the_clock_is_wrong(make_server, disk, ahead_s, taken):
    """By one step it may be, in both directions, but not by more."""
    server = console_server(functools.partial(make_server, disk=disk))
    secret = server.rows("admin", "totp", "root")[0]["secret"]
    disk.turn(wall_us=-3600 * 10**6)  # the code that confirms it is an old one then
    server.ctl("admin", "totp-confirm", "root", totp(secret, now_step() - 120))
    disk.turn(wall_us=ahead_s * 10**6)
    if time.time() % 30 > 25:  # the step must not end meanwhile
        time.sleep(30 - time.time() % 30)
    code = totp(secret, now_step())
    answer = server.browser().login("root", code=code)
    assert (answer.status == 201) == taken, answer.text
    assert taken or answer.json["code"] == "wrong"
    assert server.browser().login("root", code=code).json["code"] == "wrong"


def test_a_code_is_used_once_by_two_at_the_same_moment(server):
    secret = server.rows("admin", "totp", "root")[0]["secret"]
    server.ctl("admin", "totp-confirm", "root", totp(secret, now_step()))
    code, found = totp(secret, now_step() + 1), []
    threads = [threading.Thread(target=lambda: found.append(
        server.browser().login("root", code=code).status)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(found) == [201, 401, 401, 401]


def test_a_role_that_demands_a_second_factor(server, browser):
    """Who has none makes it at the login, and can do nothing else before."""
    server.ctl("set", "admin.totp-roles", "administrator")
    answer = browser.login("root")
    assert answer.status == 201 and answer.json["must"] == ["totp"], answer.text
    assert answer.json["permissions"] == []
    assert server.rows("admin", "sessions")[0]["limited"]
    for method, path, body in (("GET", "/users", None), ("POST", "/commands/user-add", {
            "jid": "eve@localhost", "password": PASSWORD}), ("GET", "/events?topics=log", None),
            ("POST", "/session/confirm", {"password": PASSWORD}), ("GET", "/description", None)):
        refused = browser(method, path, body)
        assert (refused.status, refused.json["code"]) == (403, "factor-required"), path
        assert "/session/totp" in refused.json["detail"]
    assert browser("POST", "/session/totp/confirm", {"code": "123456"}).status == 404
    assert browser("POST", "/session/totp", {}, csrf=False).json["code"] == "csrf"
    made = browser("POST", "/session/totp", {}).json
    assert made["uri"].startswith("otpauth://totp/") and made["secret"] in made["uri"]
    assert browser("POST", "/session/totp/confirm", {
        "code": totp(made["secret"], now_step() + 50)}).status == 403
    before = browser.cookie
    confirmed = browser("POST", "/session/totp/confirm", {
        "code": totp(made["secret"], now_step())})
    assert confirmed.status == 200 and len(confirmed.json["recovery_codes"]) == 10, confirmed.text
    assert confirmed.json["must"] == [] and "users.write" in confirmed.json["permissions"]
    browser.cookie, browser.csrf = (confirmed.getheader("Set-Cookie").split(";")[0],
                                    confirmed.json["csrf"])
    assert browser.cookie != before and browser("GET", "/users").status == 200
    old = server.browser()
    old.cookie = before
    assert old("GET", "/session").status == 401
    assert [s["limited"] for s in server.rows("admin", "sessions")] == [False]
    assert browser.login("root").json["code"] == "code-required"
    assert browser.login("root", code=confirmed.json["recovery_codes"][0]).json["must"] == []
    assert browser("POST", "/session/totp", {}).status == 404  # it has one
    assert server.browser().login("root", "wrong").json["code"] == "wrong"
    assert server.browser().login("alice@localhost").json["must"] == []
    rows = [(r["command"], r["result"]) for r in server.rows("audit", "list")
            if r["actor"].startswith("console:root/")]
    assert {("admin totp", "ok"), ("admin totp-confirm", "auth"),
            ("admin totp-confirm", "ok")} <= set(rows)
    assert made["secret"] not in str(server.rows("audit", "list"))


def test_nobody_makes_a_second_factor_at_the_login_if_it_is_not_wanted(server, browser):
    server.ctl("set", "admin.totp-roles", "administrator")
    server.ctl("set", "admin.totp-enrol", "off")
    answer = browser.login("root")
    assert (answer.status, answer.json["code"]) == (403, "factor-required")
    assert "another administrator" in answer.json["detail"] and browser.cookie is None


def make_old(server, name):
    server.stop()
    with server.database() as db:
        db.execute(f"UPDATE administrator SET changed_us = 1 WHERE name = '{name}'")
    server.start()


def take(browser, answer):
    browser.cookie = answer.getheader("Set-Cookie").split(";")[0]
    browser.csrf = answer.json["csrf"]


def test_an_old_password_is_changed_by_its_owner(server, browser):
    server.ctl("set", "admin.password-age", "30d")
    server.ctl("set", "admin.lock-failures", "5")
    server.ctl("admin", "create", "nora", "viewer", "--password", PASSWORD)
    make_old(server, "nora")
    answer = browser.login("nora")
    assert answer.status == 201 and answer.json["must"] == ["password"], answer.text
    refused = browser("GET", "/users")
    assert (refused.status, refused.json["code"]) == (403, "password-expired")
    assert "/session/password" in refused.json["detail"]
    change = lambda **fields: browser("POST", "/session/password", fields)  # noqa: E731
    assert browser("POST", "/session/password", {"password": PASSWORD, "new": "x"},
                   csrf=False).json["code"] == "csrf"
    for new, words in (("short", "at least 12"), (PASSWORD, "used before"),
                       ("", "new: is missing")):
        answer = change(password=PASSWORD, new=new)
        assert 400 <= answer.status < 500 and words in answer.json["detail"], answer.text
    assert change(password="wrong", new="Another-horse-9").json["code"] == "wrong"
    before, other = browser.cookie, server.browser()
    assert other.login("nora").status == 201
    answer = change(password=PASSWORD, new="Another-horse-9")
    assert answer.status == 200 and answer.json["must"] == [], answer.text
    take(browser, answer)
    assert browser.cookie != before and browser("GET", "/users").status == 200
    assert other("GET", "/session").status == 401  # the sessions from before have ended
    assert server.browser().login("nora").json["code"] == "wrong"
    # And at any time; the password of now is needed each time, and its failures lock the name.
    answer = change(password="Another-horse-9", new="Third-horse-9x")
    assert answer.status == 200
    take(browser, answer)
    for _ in range(5):
        assert change(password="wrong", new="Fourth-horse-9").status == 401
    assert change(password="Third-horse-9x", new="Fourth-horse-9").json["code"] == "wrong"
    assert {r["name"]: r["locked"] for r in server.rows("admin", "list")}["nora"]
    assert "horse" not in str(server.rows("audit", "list")) and "horse" not in server.log()


def test_an_old_password_with_a_second_factor(server, browser):
    """The code comes first: who has only the password changes nothing."""
    server.ctl("set", "admin.password-age", "30d")
    secret = server.rows("admin", "totp", "root")[0]["secret"]
    codes = [r["code"] for r in server.rows("admin", "totp-confirm", "root",
                                            totp(secret, now_step()))]
    make_old(server, "root")
    assert browser.login("root").json["code"] == "code-required"
    assert browser.login("root", code="000000").json["code"] == "wrong"
    answer = browser.login("root", code=codes[0])
    assert answer.json["must"] == ["password"]
    assert browser("POST", "/session/password", {
        "password": PASSWORD, "new": "Another-horse-9"}).json["must"] == []


def test_both_are_made_one_after_the_other(server, browser):
    server.ctl("set", "admin.password-age", "30d")
    server.ctl("set", "admin.totp-roles", "administrator")
    make_old(server, "root")
    assert browser.login("root").json["must"] == ["totp", "password"]
    answer = browser("POST", "/session/password", {"password": PASSWORD, "new": "Another-horse-9"})
    assert answer.json["must"] == ["totp"]
    take(browser, answer)
    secret = browser("POST", "/session/totp", {}).json["secret"]
    answer = browser("POST", "/session/totp/confirm", {"code": totp(secret, now_step())})
    assert answer.json["must"] == [] and len(answer.json["recovery_codes"]) == 10


def test_what_is_for_sessions_only(server, browser):
    """Tokens and accounts learn what to do instead."""
    for path, body in (("password", {"password": "x", "new": "y"}), ("totp", {}),
                       ("totp/confirm", {"code": "1"})):
        answer = server.api("POST", f"/session/{path}", body)
        assert answer.status == 409 and "log in" in answer.json["detail"], answer.text
        assert browser("POST", f"/session/{path}", body).status == 401
    browser.login("alice@localhost")
    answer = browser("POST", "/session/password", {"password": PASSWORD, "new": "Another-horse-9"})
    assert answer.status == 409 and "XMPP client" in answer.json["detail"]
    server.ctl("set", "console.confirm-time", "0s")
    assert browser("POST", "/session/totp", {}).json["code"] == "confirm-password"


@pytest.mark.sqlite
@pytest.mark.parametrize("half", [False, True])
def test_no_session_is_left_of_a_browser_that_is_closed(make_server, disk, half):
    """It ends its side of the connection while the login is stored."""
    server = console_server(functools.partial(make_server, disk=disk))
    disk.turn(sync_ms=STILL)
    body = json.dumps({"name": "root", "password": PASSWORD})
    with socket.create_connection(("127.0.0.1", server.api.port), timeout=TIMEOUT) as browser:
        browser.sendall(f"POST {ROOT_PATH}/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                        f"application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        until("the session is made", lambda: len(server.rows("admin", "sessions")) == 1)
        browser.shutdown(socket.SHUT_WR)
        if half:
            disk.turn(sync_ms=0)
            answer = browser.makefile("rb").read().decode()
            assert answer.startswith("HTTP/1.1 400") and "Set-Cookie" not in answer
            assert "keep the connection open" in answer
    disk.turn(sync_ms=0)
    until("it has ended", lambda: server.rows("admin", "sessions") == [])


def test_what_is_answered_is_in_the_log_after_a_kill(make_server, disk):
    """Logins, also failed ones, and what is like them: every write takes a time, and the kill comes
    with the answer."""
    server = console_server(functools.partial(make_server, disk=disk))
    for command, result, status, act in (
            ("session login", "ok", 201, lambda b: b.login("root")),
            ("session login", "auth", 401, lambda b: b.login("root", "wrong")),
            ("session confirm", "ok", 204, lambda b: b(
                "POST", "/session/confirm", {"password": PASSWORD})),
            ("session confirm", "auth", 401, lambda b: b(
                "POST", "/session/confirm", {"password": "wrong"})),
            ("session password", "auth", 401, lambda b: b(
                "POST", "/session/password", {"password": "wrong", "new": "Another-horse-9"})),
            ("admin password", "ok", 200, lambda b: b(
                "POST", "/session/password", {"password": PASSWORD, "new": PASSWORD + "x"})),
            ("session logout", "ok", 204, lambda b: b("DELETE", "/session"))):
        browser = server.browser()
        if command != "session login":
            assert browser.login("root", PASSWORD if command != "session logout" else
                                 PASSWORD + "x").status == 201
        last = server.rows("audit", "list", "--limit", "1")[0]["id"]
        disk.turn(write_ms=30)  # an answer waits for its entry for 2 s
        assert act(browser).status == status, command
        server.kill()
        disk.turn(write_ms=0)
        server.start()
        found = [r["result"] for r in server.rows("audit", "list", "--command", command)
                 if r["id"] > last]
        assert found == [result], command
