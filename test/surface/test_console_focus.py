"""The web console by keyboard: the focus never falls to nothing, also if an act takes away the
button that began it. And the time that a change has left."""
import pytest

from harness.client import TIMEOUT, until
from harness.muc import Room
from surface.test_console import pages, server
from surface.test_console_login import PASSWORD
from surface.test_webchat import Keys

__all__ = ["pages", "server"]
pytestmark = pytest.mark.release


def press(pages, css, text=""):
    """Enter on the button with the focus; one that is in no dialog is remembered."""
    pages.find(css, text)
    pages.driver.execute_script("""
        const found = [...document.querySelectorAll(arguments[0])].find(
            (one) => one.innerText.includes(arguments[1]));
        if (!found.closest("dialog")) window.pressed = found;
        found.focus();""", css, text)
    pages.driver.switch_to.active_element.send_keys(Keys.ENTER)


def focus(pages):
    """What has it: its tag and its text, as ["H1", "Alarms"]."""
    return pages.js("(([e]) => [e.tagName, e.innerText || e.getAttribute('aria-label') || e.id])"
                    "([document.activeElement])")


def ends_at(pages, tag, text=""):
    """When the button has gone, something else has the focus."""
    until("the button goes", lambda: pages.js("!window.pressed.isConnected"), 3 * TIMEOUT)
    until(f"the focus at {tag} {text}, not {focus(pages)}",
          lambda: focus(pages)[0] == tag and text in focus(pages)[1])


def edit(server, text="News"):
    server.api("POST", "/commands/config-edit", {"setting": "announce.subject", "value": text})


def test_candidate(server, pages):
    pages.log_in(server.api.token)
    edit(server)
    pages.go("settings")
    press(pages, ".candidate button", "Drop all")
    ends_at(pages, "H1", "Settings")
    edit(server)
    pages.go("users")
    pages.go("settings")
    press(pages, ".candidate button", "Check and apply")
    pages.find("dialog .main")
    pages.driver.switch_to.active_element.send_keys(Keys.ENTER)
    until("it applies", lambda: server.rows("get", "announce.subject")[0]["value"] == "News")
    press(pages, "dialog button", "Close")
    ends_at(pages, "H1", "Settings")
    assert pages.complaints() == []


@pytest.mark.parametrize("button", ["Confirm", "Roll back"])
def test_change_that_waits(server, pages, button):
    server.ctl("config", "edit", "announce.subject", "News")
    server.ctl("config", "apply", "--confirm", "5m")
    pages.log_in(server.api.token)
    pages.go("users")
    press(pages, ".candidate button", button)
    ends_at(pages, "H1", "Users")
    assert pages.complaints() == []


def test_alarm_that_is_acknowledged(server, pages):
    """The line stays, with its other button."""
    server.ctl("config", "edit", "announce.subject", "News")
    server.ctl("config", "apply", "--confirm", "5m")
    pages.log_in(server.api.token)
    pages.go("alarms")
    press(pages, "main td button", "Acknowledge")
    press(pages, "dialog .main", "Run")
    ends_at(pages, "BUTTON", "⋯")
    assert pages.js("document.activeElement.closest('tr').innerText").count("settings.unconfirmed")
    assert pages.complaints() == []


def test_lines_that_go(server, pages):
    """The next line has the focus, or the one before; without a line it is the heading."""
    server.ctl("token", "revoke", "tests")
    server.api.token = server.rows("token", "add", "zz", "administrator")[0]["token"]
    for name in "aa", "bb":
        server.ctl("token", "add", name, "viewer")
    pages.log_in(server.api.token)
    pages.go("access")
    press(pages, "[role=tab]", "Tokens")
    pages.find("main td", "bb")
    press(pages, "main tr:has(a, td) td.acts button[aria-label$=' bb']")
    press(pages, "dialog button[type=submit]")
    until("its line has gone",
          lambda: "bb" not in pages.js("document.querySelector('main tbody').innerText"))
    until(f"the focus in a line, not {focus(pages)}", lambda: pages.js(
        "document.activeElement.closest('tbody tr') !== null"))
    server.add_user("alice")
    client = server.client("alice", "phone")
    client.send("<presence/>")
    pages.go("sessions")
    press(pages, "main td button", "Close sessions")
    press(pages, "dialog button[type=submit]")
    pages.find("main", "Nothing here")
    ends_at(pages, "H1", "Sessions")
    assert pages.complaints() == []


def test_buttons_of_a_thing(server, pages):
    server.add_user("alice")
    pages.log_in(server.api.token)
    pages.go("user", "alice@localhost")
    for button, other in ("Disable", "Enable"), ("Enable", "Disable"):
        press(pages, "main .groups button", button)
        press(pages, "dialog .main", "Run")
        ends_at(pages, "BUTTON", other)
    Room("den").enter(server.client("alice"), "alice")
    pages.go("room", "den@conference.localhost")
    press(pages, "main .groups button", "Unlock")
    press(pages, "dialog .main", "Run")
    until("it goes", lambda: pages.js("!window.pressed.isConnected"))
    until(f"the focus in a group, not {focus(pages)}",
          lambda: pages.js("document.activeElement.closest('.groups') !== null"))
    pages.go("user", "alice@localhost")
    press(pages, "main .groups button", "Delete user")
    press(pages, "dialog .danger")
    pages.find("h1", "Users")
    ends_at(pages, "H1", "Users")
    assert pages.complaints(ours=("404",)) == []


def test_pages_of_a_list(server, pages):
    """Of the buttons that turn them those that are left; behind the last page it is the heading."""
    for index in range(201):
        edit(server, f"News {index}")
    pages.log_in(server.api.token)
    press(pages, "[role=tab]", "Counters")
    press(pages, "main button", "Show more")
    ends_at(pages, "H1", "Dashboard")
    pages.go("audit")
    pages.find("main", "Entries")
    press(pages, "main button", "Next page")
    press(pages, "main button", "First page")
    ends_at(pages, "BUTTON", "Next page")
    press(pages, "main button", "Next page")
    pages.find("main [role=status]", "Rows 101 to 200")
    press(pages, "main button", "Next page")
    ends_at(pages, "BUTTON", "First page")
    press(pages, "main button", "Previous page")
    pages.find("main [role=status]", "Rows 101 to 200")
    press(pages, "main button", "Previous page")
    ends_at(pages, "BUTTON", "Next page")
    assert pages.complaints() == []


def test_plot_and_banner(server, pages):
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    pages.send_password()
    pages.find("header", "root")
    server.ctl("set", "console.banner", "Read this")
    pages.driver.refresh()
    press(pages, "main#content section button", "Close")
    ends_at(pages, "H1", "Dashboard")
    pages.find(".cards canvas")
    pages.driver.execute_script("""
        const canvas = document.querySelector('.cards canvas');
        const box = canvas.getBoundingClientRect();
        for (const [type, at] of [['pointerdown', 0.6], ['pointerup', 0.95]])
          canvas.dispatchEvent(new PointerEvent(type, { bubbles: true,
            clientX: box.left + box.width * at, clientY: box.top + 20 }));""")
    press(pages, "main button", "Whole time")
    ends_at(pages, "BUTTON", "hours")
    assert pages.complaints() == []


def test_forms(server, pages):
    """A refusal leaves the focus at the button or at the field, also after the password."""
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    server.add_user("alice")
    pages.send_password("root", "wrong of root")
    pages.find(".problem")
    assert focus(pages) == ["BUTTON", "Log in"]
    pages.send_password()
    pages.find("header", "root")
    server.ctl("set", "console.confirm-time", "0s")
    pages.go("user", "alice@localhost")
    press(pages, "main .groups button", "Edit")
    press(pages, "dialog .main", "Run")
    pages.find("dialog .problem")
    until(f"the focus at Run, not {focus(pages)}", lambda: focus(pages) == ["BUTTON", "Run"])
    server.ctl("user", "set", "alice@localhost", "--department", "Second")
    pages.fill_in("Department", "Third")
    press(pages, "dialog .main", "Run")
    press(pages, "dialog button", "Read it again")
    until("the button goes", lambda: "Read it again" not in pages.find("dialog").text)
    until(f"the focus in a field, not {focus(pages)}", lambda: focus(pages)[0] == "INPUT")
    pages.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    until(f"the focus at Edit, not {focus(pages)}", lambda: focus(pages) == ["BUTTON", "Edit"])
    press(pages, "main .groups button", "Delete user")
    press(pages, "dialog .danger")
    pages.find("#again")
    pages.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    until(f"the focus at the form, not {focus(pages)}",
          lambda: focus(pages) == ["BUTTON", "Yes, do it"])
    assert pages.complaints(ours=("- .*4[0-9][0-9]",)) == []


def test_time_that_is_left(server, pages):
    """It is right from the first second, whenever the page was opened, and after a sleep."""
    pages.log_in(server.api.token)
    pages.go("users")
    pages.driver.execute_script("""
        const now = Date.now;
        let slept = 0;
        Date.now = () => now() + slept;
        const get = Headers.prototype.get; // the clock of the server goes on meanwhile, too
        Headers.prototype.get = function (name) {
          const value = get.call(this, name);
          return name === 'Date' ? new Date(Date.parse(value) + slept).toUTCString() : value;
        };
        window.sleep = (ms) => {
          slept += ms;
          document.dispatchEvent(new Event('visibilitychange'));
        };
        window.left = () => {
          const [m, s] = document.querySelector('[role=timer]').innerText.split(':');
          return 60 * m + +s - (window.until - Date.now()) / 1000;
        };
        window.early = [];
        new MutationObserver(() => document.querySelector('[role=timer]') &&
          window.early.push([Date.now(), document.querySelector('[role=timer]').innerText]))
          .observe(document, {childList: true, subtree: true, characterData: true});""")
    until("some seconds have passed", lambda: pages.js("performance.now() > 5000"))
    server.ctl("config", "edit", "announce.subject", "News")
    server.ctl("config", "apply", "--confirm", "5m")
    pages.find("[role=timer]")
    row = server.rows("config", "history", "--limit", 1)[0]
    pages.driver.execute_script("window.until = Date.parse(arguments[0])", row["until"])
    first = pages.js("(([[at, text]]) => { const [m, s] = text.split(':'); "
                     "return 60 * m + +s - (window.until - at) / 1000; })(window.early)")
    assert abs(first) <= 1.5
    left = pages.driver.execute_async_script("""
        const done = arguments[0];
        window.sleep(100000);
        requestAnimationFrame(() => requestAnimationFrame(() => done(window.left())));""")
    assert abs(left) <= 1.5
    server.ctl("config", "confirm")
