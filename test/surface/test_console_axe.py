"""The web console for axe-core: the login, each tab of each page with content, and each form, in
light and dark, in English and German."""
import urllib.parse

import pytest

from harness.client import TIMEOUT
from harness.muc import Room
from surface.test_console import AXE, XSS, opened, server
from surface.test_console_language import before_each_page, choose, speaks
from surface.test_console_login import PASSWORD
from surface.test_console_pages import png, set_photo, upload

__all__ = ["server"]
pytestmark = pytest.mark.release


# Looks at each tab, at the page with all open that it has closed, and, if asked, at each form that
# a button of the page opens and at the first line of each list: {faults, views}.
WALK = r"""
window.walkWithAxe = async (only, forms, contrast) => {
  const pause = () => new Promise((go) => setTimeout(go, 10));
  const faults = new Set();
  let views = 0;
  const look = async (where, scope) => {
    const found = await axe.run(scope ?? document, { resultTypes: ['violations'],
      ...(only.length && { runOnly: only }),
      ...(scope && !contrast && { rules: { 'color-contrast': { enabled: false } } }) });
    views++;
    for (const { id, impact, nodes } of found.violations)
      if (['serious', 'critical'].includes(impact))
        faults.add(`${where}: ${id}: ${nodes[0].html.slice(0, 200)}`);
  };
  const settled = async () => {
    do await pause(); while (/Loading|Wird geladen/.test(document.body.innerText));
  };
  const open = async (button) => {
    const name = button.getAttribute('aria-label') ?? button.innerText;
    button.click();
    await settled();
    const dialog = document.querySelector('dialog');
    if (!dialog) return;
    await look(`form ${name}`, dialog);
    dialog.querySelector('header button').click();
    await pause();
  };
  const tabs = document.querySelectorAll('[role=tab]');
  for (let i = 0; i < Math.max(1, tabs.length); i++) {
    tabs[i]?.click();
    await settled();
    await look(`tab ${tabs[i]?.innerText ?? ''}`);
    const line = document.querySelector('tbody tr .quiet');
    if (forms && line) await open(line);
  }
  const closed = document.querySelectorAll('details:not([open])');
  for (const details of closed) details.open = true;
  if (closed.length) await look('all open');
  if (forms)
    for (const button of document.querySelectorAll(
        '.head button, .groups button, .commands button')) await open(button);
  return { faults: [...faults], views };
};"""


def fill(server):
    """Something in each list."""
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    for name in "alice", "bob":
        server.add_user(name)
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.result("get", "<query xmlns='jabber:iq:roster'/>")
    alice.send(f"<presence to='{bob.bare}' type='subscribe'/>")
    for one in alice, bob:
        one.send("<presence/>")
    Room("cave").create(alice, "al", roomname="Cave", persistentroom=True)
    set_photo(alice, png())
    upload(server, alice, XSS)
    bob.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='x@localhost'><report "
               "xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'><text>bad</text>"
               "</report></item></block>")
    for words in (("group", "add", "sales"), ("group-member", "add", "sales", alice.bare),
                  ("template", "add", "staff", "--department", "Sales"),
                  ("role", "set", "desk", "rooms.*"), ("token", "add", "t1", "viewer"),
                  ("webhook", "add", "https://h.example/x", "--events", "user.*"),
                  ("component", "add", "echo.localhost"),
                  ("s2s-route", "add", "x.test", "127.0.0.1:1"),
                  ("s2s-demand", "set", "y.test", "--auth", "any"),
                  ("federation", "block", "spam.test"),
                  ("config", "edit", "announce.subject", "News"),
                  ("config", "apply", "--confirm", "1h")):
        server.ctl(*words)
    return alice, bob


@pytest.mark.parametrize("language", ["en", "de"])
def test_each_view_is_fit_for_everybody(server, tmp_path, language):
    """The colours of a form are looked at in one language: they are the same in each."""
    if not AXE.exists():
        pytest.skip("needs npm ci --prefix test/js")
    sessions = fill(server)
    found, views = [], 0
    with opened(server, tmp_path / "browser") as pages:
        pages.driver.set_script_timeout(10 * TIMEOUT)
        pages.resize(1280, 800)
        before_each_page(pages, WALK)

        def walk(address, *only, forms=False):
            nonlocal views
            done = pages.driver.execute_async_script(
                "const [only, forms, contrast, done] = arguments;"
                "window.walkWithAxe(only, forms, contrast).then(done, "
                "(e) => done({ faults: [`${e}`], views: 0 }))",
                list(only), forms, language == "en")
            found.extend(f"{'/'.join(address)} {fault}" for fault in done["faults"])
            views += done["views"]

        def both(address):
            pages.dark(True)
            walk(address, "color-contrast")
            pages.dark(False)
            walk(address, forms=True)
        pages.driver.get(pages.url)
        pages.find("#name")
        choose(pages, language)
        speaks(pages, language)
        pages.driver.execute_script(AXE.read_text())
        both(["login"])
        choose(pages, "en")
        pages.log_in(server.api.token)
        choose(pages, language)
        speaks(pages, language)
        pages.driver.execute_script(AXE.read_text())
        for address in [[page] for page in pages.menu()] + [
                ["user", "alice@localhost"], ["room", "cave@conference.localhost"],
                ["group", "sales"], ["component", "echo.localhost"], ["domain", "localhost"],
                ["partner", "x.test"]]:
            pages.go(*(urllib.parse.quote(part, safe="") for part in address))
            both(address)
    assert found == [] and views > 200
    assert all(session.sock for session in sessions)
