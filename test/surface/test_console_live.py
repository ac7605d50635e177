"""The web console in a browser while what it shows changes: a server or a database that goes away,
settings that wait, alarms, a message on its way, and things that are gone."""
import json
import os
import re
import signal

import pytest

from harness import database
from harness.client import TIMEOUT, until
from harness.muc import Room
from surface.test_api import api_server
from surface.test_console import opened, pages, server
from surface.test_console_login import PASSWORD
from surface.test_webchat import Keys

__all__ = ["pages", "server"]
pytestmark = pytest.mark.release
FILTER = ".tools label:nth-of-type(2) input"  # of the list of users


def gone(pages, css):
    until(f"no {css}", lambda: pages.js("document.querySelector(arguments[0])", css) is None,
          3 * TIMEOUT)


def shown(pages):
    """The texts in the fields of a dialog."""
    return pages.js("[...document.querySelectorAll('dialog input')].map(input => input.value)")


def log_in_over(pages):
    """Over the page, which stays as it was."""
    pages.type("#name", "root")
    pages.type("#password", PASSWORD)
    pages.click("dialog.over [type=submit]")
    gone(pages, "dialog.over, .away")


def test_a_server_that_was_killed_is_waited_for(server, pages):
    """The page says that it is away, keeps what was typed, and goes on when it is back."""
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    pages.send_password()
    pages.find("header", "root")
    pages.go("users")
    pages.click("main button", "New user")
    pages.fill_in("Address", "carol@localhost")
    server.kill()
    pages.fill_in("Password", "secret of carol")
    pages.click("dialog .main")
    pages.find("dialog .problem", "does not answer")
    pages.find("main .away", "does not answer")
    server.start()
    pages.find("dialog.over [role=status]", "session has ended")
    log_in_over(pages)
    pages.click("dialog .main")
    pages.find("main a", "carol@localhost")  # the list is read again
    assert pages.complaints(ours=("ERR_", "40[14]")) == []


def test_what_was_typed_outlasts_the_page_and_the_session(server, pages):
    """A filter is there again after Back and a reload, a form when its session was ended."""
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    for name in "dave", "erin":
        server.ctl("user", "add", f"{name}@localhost", "--password", "secret of some length")
    pages.send_password()
    pages.find("header", "root")
    pages.go("users")
    pages.find("main a", "erin@localhost")
    pages.type(FILTER, "dave")
    until("the filter holds", lambda: "erin@localhost" not in pages.find("main").text)
    pages.click("main a", "dave@localhost")
    pages.find("h1", "User dave@localhost")
    for again in pages.driver.back, pages.driver.refresh:
        again()
        pages.find("h1", "Users")
        pages.find("main a", "dave@localhost")
        assert pages.js("document.querySelector(arguments[0]).value", FILTER) == "dave"
        assert "erin@localhost" not in pages.find("main").text
    pages.click("main button", "New user")
    pages.fill_in("Address", "carol@localhost")
    session, = (row["id"] for row in server.rows("admin", "sessions"))
    server.ctl("admin", "end-session", session)
    pages.fill_in("Password", "secret of carol")
    pages.click("dialog .main")
    pages.find("dialog.over h1", "Log in")
    log_in_over(pages)
    pages.click("dialog .main")
    until("carol is there", lambda: any(
        row["jid"] == "carol@localhost" for row in server.rows("user", "list")))
    assert pages.complaints(ours=("40[14]",)) == []


def test_a_session_ends_at_a_page_that_nobody_touches(server, pages):
    """Although the page goes on asking: here each second, and 20 s after the last touch at once."""
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    server.ctl("set", "console.idle", "3s")
    pages.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": """
        const every = setInterval;
        window.setInterval = (act, ms) => every(act, ms / 10);"""})
    pages.send_password()
    pages.find("header", "root")
    pages.driver.execute_script("const now = Date.now; Date.now = () => now() + 20000")
    pages.find("dialog.over [role=status]", "session has ended")
    assert server.rows("admin", "sessions") == []
    assert "Bearer" not in pages.js("document.body.innerText")
    assert pages.complaints(ours=("40[14]",)) == []


def test_a_server_that_is_silent_is_waited_for(server, pages):
    """It takes connections, and answers none."""
    pages.log_in(server.api.token)
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        pages.driver.execute_script("location.hash = '/rooms'")
        pages.find("main .away", "does not answer")
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    gone(pages, ".away")
    pages.find("main", "Nothing here")
    assert pages.complaints(ours=("ERR_", "40[14]")) == []


@pytest.mark.sqlite
def test_a_database_that_is_away_is_waited_for(make_server, tmp_path):
    with database.private() as cluster:
        server = api_server(make_server, conf={"database": cluster.url("postgres")})
        with opened(server, tmp_path / "browser") as pages:
            pages.log_in(server.api.token)
            pages.go("users")
            pages.find("main", "Nothing here")
            pages.click("main button", "New user")
            pages.fill_in("Address", "carol@localhost")
            pages.fill_in("Password", "secret of carol")
            cluster.stop()
            pages.click("dialog .main")
            pages.find("main .away", "database")
            assert "carol@localhost" in pages.js(
                "[...document.querySelectorAll('dialog input')].map(i => i.value)")
            pages.find("dialog .problem")
            cluster.start()
            gone(pages, ".away")
            gone(pages, "dialog .problem")
            pages.click("dialog .main")
            pages.find("main a", "carol@localhost")
        server.stop()


@pytest.mark.sqlite
def test_a_database_that_is_silent_is_waited_for(make_server, tmp_path):
    with database.private() as cluster:
        server = api_server(make_server, conf={"database": cluster.url("postgres")})
        server.add_user("alice")
        with opened(server, tmp_path / "browser") as pages:
            pages.log_in(server.api.token)
            cluster.freeze()
            pages.go("users")
            pages.find("main .away", "database")
            cluster.go_on()
            gone(pages, ".away")
            pages.find("main a", "alice@localhost")
            gone(pages, ".problem")
        server.stop()


def test_what_could_not_be_read_for_a_moment_is_read_again(server, pages):
    """Also where the server is well when it is asked."""
    server.add_user("alice")
    pages.log_in(server.api.token)
    pages.driver.execute_script("""
        const asked = window.fetch;
        window.fetch = async (url, options) => {
          if (!url.endsWith('/commands/user-list')) return asked(url, options);
          window.fetch = asked;
          return new Response('{"detail": "it is late"}', {status: 503});
        };""")
    pages.go("users")
    pages.find("main .problem", "it is late")
    pages.find("main a", "alice@localhost")
    gone(pages, ".problem")


def test_a_change_that_waits_is_confirmed_or_goes_back(server, pages):
    """On every page, with the time that is left."""
    for index, button in enumerate(("Confirm", "Roll back")):
        server.ctl("config", "edit", "announce.subject", f"News {index}")
        server.ctl("config", "apply", "--confirm", "5m")
        if index == 0:
            pages.log_in(server.api.token)
        pages.go("settings" if index else "users")
        left = pages.find(".candidate [role=timer]").text
        assert re.fullmatch(r"[0-5]:\d\d", left)
        until("it counts down", lambda: pages.find(".candidate [role=timer]").text < left)
        pages.find(".candidate [role=alert]", "goes back by itself at 20")
        pages.click(".candidate button", button)
        gone(pages, ".candidate")
    states = [row["state"] for row in server.rows("config", "history", "--limit", 3)]
    assert "confirmed" in states and "rolled back" in states
    assert server.rows("get", "announce.subject")[0]["value"] == "News 0"
    assert pages.complaints() == []


def test_the_bar_acts_on_no_other_change_than_it_shows(server, pages):
    """It is some seconds behind what another operator does."""
    def waits(subject):
        server.ctl("config", "edit", "announce.subject", subject)
        server.ctl("config", "apply", "--confirm", "1h")

    def shows_old(button):
        pages.log_in(server.api.token)
        pages.find(".candidate button", button)
        pages.js("""
            const asked = window.fetch;  // no look at the history, as in the time between two
            window.fetch = async (url, options) => url.endsWith('/commands/config-history')
              ? new Promise(() => {}) : asked(url, options);""")

    waits("one")
    shows_old("Roll back")
    server.ctl("config", "confirm")
    server.ctl("set", "roster.groups-max", "99")
    pages.click(".candidate button", "Roll back")
    pages.find("[role=status]", "does not wait to be confirmed; no change waits")
    assert server.rows("get", "roster.groups-max")[0]["value"] == "99"
    waits("two")
    shows_old("Confirm")
    server.ctl("config", "rollback")
    waits("three")
    pages.click(".candidate button", "Confirm")
    pages.find("[role=status]", "does not wait to be confirmed; version")
    assert server.rows("config", "history")[0]["state"] == "waits"
    server.ctl("config", "confirm")


def test_a_change_that_went_back_is_not_shown_any_more(server, pages):
    """Neither its value in the list of settings, nor the buttons that would keep it."""
    pages.log_in(server.api.token)
    server.api("POST", "/commands/config-edit", {"setting": "announce.subject", "value": "News"})
    pages.go("settings")
    pages.type("main input[type=search]", "announce.subject")
    pages.click(".candidate .main")
    pages.fill_in("Confirm", "3s")
    pages.click("dialog .main")
    pages.click("dialog button", "Close")
    until("it goes back", lambda: server.rows("config", "history")[0]["state"] != "waits" and
          server.rows("get", "announce.subject")[0]["value"] == "Announcement")
    gone(pages, ".candidate")
    until("the list is read again",
          lambda: pages.find(".settings li code").text == "Announcement")
    assert pages.complaints() == []


def test_a_change_made_elsewhere_is_shown(server, pages):
    """The page of settings reads again by itself, although nobody is asked to confirm."""
    pages.log_in(server.api.token)
    pages.go("settings")
    pages.type("main input[type=search]", "announce.subject")
    until("the first value",
          lambda: pages.find(".settings li code").text == "Announcement")
    for text in "News", "Other news":
        server.ctl("set", "announce.subject", text)
        until("the new value", lambda: pages.find(".settings li code").text == text)
    assert pages.complaints() == []


def test_how_an_account_is_renamed_is_said_on_its_page(server, pages):
    server.add_user("alice")
    pages.log_in(server.api.token)
    pages.go("user", "alice@localhost")
    pages.click("main summary", "Rename")
    pages.find("main details code", "musterd --rename alice@localhost --to NEW@localhost")
    pages.go("room", "cave@conference.localhost")
    assert "musterd --rename" not in pages.js("document.querySelector('main').textContent")


# Long texts of tables that have a column of a few letters, and actions that are moved out of sight.
CRAMPED = """[[...document.querySelectorAll('main td')].filter(
    td => td.innerText.length > 40 && td.clientWidth < 160).map(td => td.innerText),
    [...document.querySelectorAll('main tbody td.acts button')].filter(
    button => { const at = button.getBoundingClientRect(), box = button.closest('.scroll')
        .getBoundingClientRect(); return at.right > box.right || at.left < box.left; }).map(
    button => button.innerText)]"""


def test_an_alarm_is_acknowledged_with_a_note(server, pages):
    """The page opens on the active ones; on a phone nothing of it has to be moved sideways."""
    server.ctl("config", "edit", "announce.subject", "News")
    server.ctl("config", "apply", "--confirm", "5m")
    pages.log_in(server.api.token)
    pages.resize(390, 800)
    pages.find("main table", "settings.unconfirmed")
    assert pages.wider() == []
    pages.go("alarms")
    assert pages.find("[aria-selected=true]").text == "Active"
    pages.resize(1280, 800)
    pages.save("console-alarms")
    narrow, hidden = pages.js(CRAMPED)
    assert narrow == [] and hidden == []
    pages.resize(390, 800)
    pages.click("main td button", "Acknowledge")
    pages.fill_in("Note", "I look at it")
    assert pages.wider() == []
    pages.click("dialog .main")
    until("it is acknowledged", lambda: "acknowledged" in server.rows("alarm", "list")[0])
    until("no button for it", lambda: pages.js(
        "[...document.querySelectorAll('td button')].some(b => b.innerText === 'Acknowledge')")
        is False)
    pages.click("[role=tab]", "History")
    pages.click("main label", "All columns")
    pages.find("main td", "I look at it")
    assert pages.complaints() == []


def test_the_way_of_a_message_is_found_by_search(server, pages):
    for name in "alice", "bob":
        server.add_user(name)
    server.befriend("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.send("<message to='bob@localhost' type='chat' id='m1'><body>hello</body></message>")
    bob.expect("<message id='m1'/>")
    pages.log_in(server.api.token)
    pages.click("header button", "Search")
    pages.type("#find", "message trace")
    pages.click("dialog li a", "Message trace")
    pages.find("h1", "Message trace")
    assert pages.find("[aria-selected=true]").text == "Way of a message"
    looks = len(server.rows("audit", "list", "--command", "trace message"))
    pages.type("main form input", "m1", Keys.ENTER)
    pages.find("main td", "bob@localhost")
    pages.save("console-traces")
    assert len(server.rows("audit", "list", "--command", "trace message")) == looks + 1
    pages.click("header button", "Search")
    pages.type("#find", "alic")
    pages.click("dialog li a", "alice@localhost")
    pages.find("h1", "User alice@localhost")
    pages.click("header button", "Search")
    pages.type("#find", "announce.subject")
    pages.click("dialog li a", "announce.subject")
    pages.find("main [role=status]", "1 of ")
    assert pages.complaints() == []


def test_messages_are_not_asked_for_without_a_reason(server, pages):
    """Neither to be shown nor as a file: the field is marked, and nothing is sent."""
    server.add_user("alice")
    server.ctl("room", "create", "cave@conference.localhost", "alice@localhost")

    def reads():
        return len(server.rows("audit", "list", "--command", "archive room"))

    pages.log_in(server.api.token)
    pages.go("room", "cave@conference.localhost")
    pages.click("[role=tab]", "Messages")
    reason = pages.find("main input:required")
    assert pages.js("arguments[0].labels[0].innerText", reason).strip() == "Reason"
    for button in "Show", "CSV":
        pages.click("main form.tools button", button)
        assert pages.js("document.activeElement.matches('input:required:invalid')")
    assert reads() == 0
    pages.type("main input:required", "case 4711")
    pages.click("main form.tools button", "Show")
    until("it is read", lambda: reads() == 1)
    assert pages.complaints() == []


def test_a_page_of_what_is_gone_leads_back(server, pages):
    """Whoever deleted it. Before it is deleted, the page says what goes with it."""
    for name in "alice", "bob":
        server.add_user(name)
    pages.log_in(server.api.token)
    pages.go("user", "bob@localhost")
    pages.find("main button", "Disable")
    assert pages.js("[...document.querySelectorAll('main button')].some("
                    "b => b.innerText === 'Enable')") is False
    for name, delete in (("alice", lambda: pages.click("dialog .danger")),
                         ("bob", lambda: server.ctl("user", "del", "bob@localhost"))):
        pages.go("user", f"{name}@localhost")
        pages.click("main button", "Delete user")
        pages.find("dialog td", "stored messages")
        delete()
        if name == "bob":
            pages.type("dialog", Keys.ESCAPE)
            pages.click("main button", "Reload")
            pages.driver.execute_script("scrollTo(0, 0)")  # else the header covers the button
            pages.click("main button", "Disable")
            pages.click("dialog .main")
            pages.find("dialog .problem")
            pages.type("dialog", Keys.ESCAPE)
            continue
        pages.find("h1", "Users")
        pages.find("[role=status]", "alice@localhost is no longer there")
        gone(pages, f"a[href*='{name}']")
    assert pages.complaints(ours=("404", "422")) == []


def test_a_link_to_what_is_not_there_offers_nothing(server, pages):
    """And who is deleted by somebody else while the page is open goes without a click."""
    server.add_user("bob")
    pages.log_in(server.api.token)
    pages.go("user", "nobody@localhost")
    pages.find("main .problem", "nobody@localhost")
    assert pages.js("document.querySelectorAll('main button').length") == 0
    pages.go("user", "bob@localhost")
    pages.find("main button", "Disable")
    server.ctl("user", "del", "bob@localhost")
    pages.find("h1", "Users")
    pages.find("[role=status]", "bob@localhost is no longer there")
    assert pages.complaints(ours=("404",)) == []


def test_no_dialog_outlasts_its_page(server, pages):
    """Whichever it is, also if it has been filled in."""
    server.add_user("bob")
    pages.log_in(server.api.token)
    for address, button in ((["user", "bob@localhost"], "Delete user"),
                            (["federation"], "Trace a domain"), (["users"], "New user")):
        pages.go("alarms")
        pages.find("h1", "Alarms")
        pages.go(*address)
        pages.click("main button", button)
        pages.find("dialog form")
        pages.driver.back()
        pages.find("h1", "Alarms")
        gone(pages, "dialog")
    assert [row["jid"] for row in server.rows("user", "list")] == ["bob@localhost"]
    assert pages.complaints() == []


def test_what_would_change_nothing_is_not_offered(server, pages):
    """A role of an account without one, the lock of a room that is open."""
    for name in "alice", "bob", "carol":
        server.add_user(name)
    server.ctl("admin", "add", "bob@localhost", "help-desk")
    server.ctl("set", "admin.accounts", "carol@localhost")
    server.ctl("room", "create", "cave@conference.localhost", "alice@localhost")
    Room("den").enter(server.client("alice"), "alice")
    pages.log_in(server.api.token)

    def offers(kind, jid, button):
        pages.go(kind, jid)
        pages.find("h1", jid)
        pages.find("main .facts")
        return lambda: button in pages.js("[...document.querySelectorAll('main .groups button')]"
                                          ".map(button => button.innerText)")
    for name, has in ("bob", True), ("alice", False), ("carol", False):
        offered = offers("user", f"{name}@localhost", "Take the role")
        until(f"the buttons of {name}", lambda: offered() == has)
    for name, has in ("den", True), ("cave", False):
        offered = offers("room", f"{name}@conference.localhost", "Unlock")
        until(f"the buttons of {name}", lambda: offered() == has)
    assert pages.complaints() == []


def test_two_who_edit_a_room_do_not_overwrite_each_other(server, pages):
    """Who enters meanwhile is none who edits it."""
    server.add_user("alice")
    server.ctl("room", "create", "den@conference.localhost", "alice@localhost", "--name", "First")
    pages.log_in(server.api.token)
    pages.go("room", "den@conference.localhost")

    def edits(meanwhile, name):
        pages.find("main .groups button", "Change")
        pages.js("[...document.querySelectorAll('main .groups button')]"
                 ".find(button => button.innerText === 'Change').click()")
        until("the form has read it", lambda: "First" in shown(pages))
        meanwhile()
        pages.fill_in("Name", name)
        pages.click("dialog .main")
    edits(lambda: Room("den").enter(server.client("alice"), "alice"), "First again")
    gone(pages, "dialog")
    server.ctl("room", "change", "den@conference.localhost", "--name", "First")
    pages.go("rooms")
    pages.go("room", "den@conference.localhost")
    edits(lambda: server.ctl("room", "change", "den@conference.localhost", "--name", "Second"),
          "Third")
    pages.find("dialog [role=alert]", "Somebody else has changed this")
    assert server.rows("room", "show", "den@conference.localhost")[0]["name"] == "Second"
    assert pages.complaints(ours=("412",)) == []


def test_an_administrator_is_offered_nothing_that_is_refused_for_the_own_account(server, pages):
    for name in "alice", "bob":
        server.ctl("user", "add", f"{name}@localhost", "--password", PASSWORD)
    server.ctl("admin", "add", "alice@localhost", "administrator")
    pages.send_password("alice@localhost")
    pages.find("header", "alice@localhost")
    refused = {"New password", "Disable", "Delete user"}
    for name, has in ("alice", set()), ("bob", refused):
        pages.go("user", f"{name}@localhost")
        pages.find("h1", f"{name}@localhost")
        pages.find("main .facts")
        buttons = set(pages.js("[...document.querySelectorAll('main .groups button')]"
                               ".map(button => button.innerText)"))
        assert refused & buttons == has and "Edit" in buttons, name
    assert pages.complaints() == []


def test_the_help_desk_is_offered_no_change_of_an_account_with_a_role(server, pages):
    for name in "alice", "bob":
        server.add_user(name)
    server.ctl("admin", "add", "bob@localhost", "viewer")
    refused = {"Edit", "New password", "Disable", "Delete user"}
    pages.log_in(server.rows("token", "add", "desk", "help-desk")[0]["token"])
    for name, has in ("alice", refused), ("bob", set()):
        pages.go("user", f"{name}@localhost")
        pages.find("h1", f"{name}@localhost")
        pages.find("main .facts")
        buttons = set(pages.js("[...document.querySelectorAll('main .groups button')]"
                               ".map(button => button.innerText)"))
        assert refused & buttons == has and buttons - refused, name
    assert pages.complaints() == []


def test_two_who_edit_a_user_do_not_overwrite_each_other(server, pages):
    server.add_user("alice")
    server.ctl("user", "set", "alice@localhost", "--department", "First", "--surname", "Vane")
    pages.log_in(server.api.token)
    pages.go("user", "alice@localhost")
    pages.click("main button", "Edit")

    def shows(text):
        until(text, lambda: text in shown(pages))
    shows("First")
    server.ctl("user", "set", "alice@localhost", "--department", "Second")
    pages.fill_in("Department", "Third")
    pages.click("dialog .main")
    pages.find("dialog [role=alert]", "Somebody else has changed this")
    assert server.rows("user", "show", "alice@localhost")[0]["department"] == "Second"
    pages.click("dialog button", "Read it again")
    shows("Second")
    pages.fill_in("Department", "Third")
    pages.click("dialog .main")
    gone(pages, "dialog")
    row = server.rows("user", "show", "alice@localhost")[0]
    assert (row["department"], row["surname"]) == ("Third", "Vane")
    assert pages.complaints(ours=("412",)) == []


def edits_alice(server, pages, department="First"):
    """The page of alice, whose form is about to be opened."""
    server.add_user("alice")
    if department:
        server.ctl("user", "set", "alice@localhost", "--department", department)
    pages.log_in(server.api.token)
    pages.go("user", "alice@localhost")
    pages.find("main button", "Edit")


def department(server):
    return server.rows("user", "show", "alice@localhost")[0]["department"]


def types_and_runs(pages, text):
    pages.fill_in("Department", text)
    pages.click("dialog .main")


def answers(pages, method, how):
    """The next request of this method for the account is answered by this JavaScript."""
    pages.driver.execute_script("""
        const asked = window.fetch;
        window.fetch = async (url, options) => {
          const ask = () => asked(url, options);
          if (options?.method !== arguments[0] || !url.includes('/users/')) return ask();
          window.fetch = asked;
          HOW
        };""".replace("arguments[0]", repr(method)).replace("HOW", how))


REFUSES = "return new Response('{\"detail\": \"it is busy\"}', {status: 429});"
WAITS = "await new Promise((go) => { window.goOn = go; }); return ask();"
LOSES = "await ask(); throw new TypeError('lost');"
BREAKS = "await ask(); return new Response('{\"detail\": \"it broke\"}', {status: 500});"


@pytest.mark.parametrize("before", ["First", ""])
def test_a_change_waits_until_the_form_has_read_what_is_there(server, pages, before):
    """What somebody else changed before that, and the form did not show, is not overwritten."""
    edits_alice(server, pages, before)
    server.ctl("user", "set", "alice@localhost", "--department", "Second")
    answers(pages, "GET", WAITS)
    pages.click("main button", "Edit")
    types_and_runs(pages, "Third")
    until("it waits", lambda: pages.js("document.querySelector('dialog .main').disabled"))
    pages.driver.execute_script("window.goOn()")
    pages.find("dialog [role=alert]", "Somebody else has changed this")
    pages.click("dialog .main")
    pages.find("dialog [role=alert]", "Somebody else has changed this")
    assert department(server) == "Second"
    pages.click("dialog button", "Read it again")
    until("it is shown", lambda: "Second" in shown(pages))
    types_and_runs(pages, "Third")
    gone(pages, "dialog")
    assert department(server) == "Third"
    assert pages.complaints() == []


def test_a_form_that_cannot_read_what_is_there_says_so_and_reads_it_again(server, pages):
    edits_alice(server, pages)
    answers(pages, "GET", REFUSES)
    pages.click("main button", "Edit")
    pages.find("dialog .problem", "it is busy")
    server.ctl("user", "set", "alice@localhost", "--department", "Second")
    types_and_runs(pages, "Third")
    pages.find("dialog [role=alert]", "Somebody else has changed this")
    assert department(server) == "Second"
    answers(pages, "GET", REFUSES)
    pages.click("dialog button", "Read it again")
    pages.find("dialog .problem", "it is busy")
    assert "Third" in shown(pages)
    server.ctl("user", "set", "alice@localhost", "--department", "First")
    pages.click("dialog .main")  # it is as the form showed it
    gone(pages, "dialog")
    assert department(server) == "Third"
    assert pages.complaints() == []


@pytest.mark.parametrize("how", [LOSES, BREAKS], ids=["lost", "broken"])
@pytest.mark.parametrize("then", ["Run", "another text", "the old text", "somebody else"])
def test_a_change_whose_answer_was_lost_is_not_said_to_be_of_somebody_else(server, pages, how,
                                                                           then):
    edits_alice(server, pages)
    pages.click("main button", "Edit")
    answers(pages, "PATCH", how)
    types_and_runs(pages, "Third")
    pages.find("dialog .problem", "it broke" if how == BREAKS else "")
    until("Third is there", lambda: department(server) == "Third")
    until("it can go on", lambda: not pages.js("document.querySelector('main .away')"))
    if then == "Run":
        pages.click("dialog .main")
    elif then == "somebody else":
        server.ctl("user", "set", "alice@localhost", "--department", "Second")
        types_and_runs(pages, "Fourth")
        pages.find("dialog [role=alert]", "did not answer an earlier try")
        assert department(server) == "Second"
        pages.click("dialog button", "Read it again")
        until("it is shown", lambda: "Second" in shown(pages))
        types_and_runs(pages, "Fourth")
    else:
        types_and_runs(pages, {"another text": "Fourth", "the old text": "First"}[then])
    gone(pages, "dialog")
    assert department(server) == {"Run": "Third", "the old text": "First"}.get(then, "Fourth")
    # The form may have read Third when the server was back, and is refused then.
    assert pages.complaints(ours=("412",) if then == "somebody else" else ()) == []


def test_a_refusal_names_the_fields_of_the_form(server, pages):
    server.add_user("bob")
    pages.log_in(server.api.token)
    pages.go("user", "bob@localhost")
    pages.click("main button", "Edit")
    pages.click("dialog .main")
    pages.find("dialog .problem", "“Email”")


def test_texts_do_not_turn_what_stands_beside_them(server, pages):
    """Controls of the direction are shown as musterctl shows them; letters stay as they are."""
    turned, hebrew = "a\u202etxt.exe\u2066\u061c", "\u05d0\u05d1 \u0627\u0628"
    wanted = r"a\u202etxt.exe\u2066\u061c"
    server.add_user("bob")
    server.ctl("user", "set", "bob@localhost", "--given-name", turned, "--surname", hebrew)
    server.ctl("room", "create", "cave@conference.localhost", "bob@localhost", "--name", turned)
    pages.log_in(server.api.token)
    pages.go("user", "bob@localhost")
    pages.find("main dd", wanted)
    pages.find("main dd", hebrew)
    pages.go("rooms")
    pages.find("main td", wanted)
    assert turned not in pages.find("main").text
    pages.go("room", "cave@conference.localhost")
    pages.find("main dd", wanted)
    assert pages.complaints() == []


def times(pages):
    """Which time each plot shows, as it says."""
    return pages.js(r"[...document.querySelectorAll('.cards canvas')].map(c => c.getAttribute("
                    r"'aria-label').match(/, (\d{4}-.*) to (\d{4}-[^:]*:..:..)/)?.slice(1))")


def test_plots_show_the_same_time(server, pages):
    """All of them, with their units; one that is zoomed zooms the others."""
    pages.log_in(server.api.token)
    pages.find(".cards canvas")

    def aligned():
        found = [time for time in times(pages) if time]
        return len(found) >= 5 and len(set(map(tuple, found))) == 1 and found[0]

    def drawn():
        return pages.js("[...document.querySelectorAll('.cards canvas')].every(c => "
                        "/, (a second|ms|MiB|%|sessions|rooms|streams|messages|writes waiting), |"
                        "no values/"
                        ".test(c.getAttribute('aria-label')))")
    until("five plots", aligned, 3 * TIMEOUT)
    assert drawn()
    assert len(set(pages.js("[...document.querySelectorAll('.cards canvas')].map(c => "
                            "c.clientWidth)"))) == 1
    before = aligned()
    pages.driver.execute_script("""
        const canvas = document.querySelector('.cards canvas');
        const box = canvas.getBoundingClientRect();
        for (const [type, at] of [['pointerdown', 0.6], ['pointerup', 0.95]])
          canvas.dispatchEvent(new PointerEvent(type, { bubbles: true,
            clientX: box.left + box.width * at, clientY: box.top + 20 }));""")
    pages.find("main button", "Whole time")
    zoomed = until("the others are zoomed", aligned, 3 * TIMEOUT)
    assert zoomed[0] > before[0]
    pages.click("main button", "Whole time")
    until("the whole time", lambda: aligned() and aligned()[0] < zoomed[0], 3 * TIMEOUT)
    assert pages.complaints() == []


@pytest.mark.parametrize("way", ["left", "in tabs"])
def test_many_pages_do_not_use_up_the_connections_of_the_browser(server, pages, way):
    """It has six to one server, and each page has a stream of events."""
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    pages.send_password()
    pages.find("main .figure")
    for _ in range(8):
        if way == "left":
            pages.driver.get("about:blank")
        else:
            pages.driver.switch_to.new_window("tab")
        pages.driver.get(pages.url)
        pages.find("main .figure")
    until("a stream of the page that is seen, and no other", lambda: [
        r["value"] for r in server.rows("metrics") if r["name"] == "muster_api_event_streams"
    ] == [1], 3 * TIMEOUT)
    assert pages.complaints(ours=("ERR_",)) == []


def test_a_restart_that_is_needed_is_said_until_it_is_done(server, pages):
    """Above every page, with the button that does it."""
    pages.log_in(server.api.token)
    server.conf["workers"] = 3
    server.write()
    server.ctl("server", "reload")
    notice = ".candidate[aria-label='Restart']"
    pages.go("rooms")
    pages.find(notice, "A restart is needed: workers")
    pages.go("users")
    pages.click(f"{notice} button", "Restart")
    pages.click("dialog .main")

    def workers():
        done = server.ctl_run("status", "--json")
        return done.returncode == 0 and json.loads(done.stdout)["rows"][0]["workers"]

    until("three workers", lambda: workers() == 3, 3 * TIMEOUT)
    gone(pages, notice)
    assert pages.complaints(ours=("ERR_", "40[14]")) == []


def test_backups_are_made_verified_and_listed(server, pages, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    server.ctl("set", "backup.folder", folder)
    pages.log_in(server.api.token)
    pages.go("backup")
    pages.click("main .head button", "Make a backup")
    pages.click("dialog .main")
    pages.find("dialog dd", str(folder))
    pages.click("dialog button", "Close")
    pages.find("main td", str(folder))
    pages.click("main td button", "Verify")
    pages.click("dialog .main")
    pages.find("dialog dd", str(folder))
    pages.click("dialog button", "Close")
    until("it is verified", lambda: server.rows("backup", "list")[0]["verified"] == "yes")
    pages.find("main td", "yes")
    assert pages.complaints() == []


def test_the_log_has_lines_of_the_log_only(server, pages):
    """The end of a stream is none; the next one goes on."""
    pages.log_in(server.api.token)
    pages.go("logs")

    def line():
        return pages.js("document.querySelector('.log').innerText")

    def logins():
        server.client("alice").close()
        return line().count("auth.ok")
    server.add_user("alice")
    until("a line", logins, 3 * TIMEOUT)
    server.restart()
    before = line().count("auth.ok")
    until("another line", lambda: logins() > before, 3 * TIMEOUT)
    assert "event=auth.ok jid=alice@localhost" in line() and "text=" not in line()
    marks = [one for one in line().splitlines() if "level=" not in one]
    assert len(marks) == 1 and "the server stops or restarts" in marks[0]
    assert pages.complaints(ours=("ERR_",)) == []


def test_each_line_of_a_list_says_of_whom_it_is(server, pages):
    """Also if the page has an argument with the name of a column; no dialog outlasts its page."""
    for name in "alice", "bob":
        server.add_user(name)
    devices = [server.client("alice", "phone"), server.client("alice", "desk")]
    for client in devices:
        client.send("<presence/>")
    server.ctl("contact", "add", "alice@localhost", "bob@localhost")
    devices[0].result("set", "<block xmlns='urn:xmpp:blocking'><item jid='mallory@localhost'/>"
                             "</block>")
    pages.log_in(server.api.token)
    pages.go("user", "alice@localhost")
    wanted = {"Sessions": ["phone", "desk"], "Contacts": ["bob@localhost"],
              "Blocked": ["mallory@localhost"]}
    for tab, words in wanted.items():
        pages.click("[role=tab]", tab)
        for word in words:
            pages.find("main table td", word)
    pages.click("[role=tab]", "Contacts")
    pages.click("main table button", "⋯")
    pages.find("dialog h2", "bob@localhost")
    pages.driver.back()
    gone(pages, "dialog")
