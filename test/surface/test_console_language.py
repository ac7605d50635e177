"""The web console in other languages: each text of a page is in a catalogue, and German has all."""
import json
import re
import subprocess

import pytest

from harness import rows
from harness.client import TIMEOUT, until
from harness.server import ROOT
from surface.test_console import get, opened, server
from surface.test_console_login import PASSWORD
from surface.test_webchat import Keys

__all__ = ["server"]
ADMIN = ROOT / "web/admin"


def read(text, told):
    """What this JavaScript makes of the console's own modules and the rows of the server."""
    done = subprocess.run(["node", "--input-type=module", "-e",
                           f"import {{ english, labels }} from '{ADMIN}/english.js';\n"
                           f"import {{ label }} from '{ADMIN}/text.js';\n"
                           "import { readFileSync } from 'node:fs';\n"
                           f"const told = JSON.parse(readFileSync(0));\n{text}"],
                          input=json.dumps(told), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_german(what, told):
    """The value of this, which is made by functions of the console in German."""
    return read(f"""
        import {{ answered, choose, language, said }} from '{ADMIN}/language.js';
        import {{ readRows }} from '{ADMIN}/rows.js';
        import {{ rounded, shown, t }} from '{ADMIN}/text.js';
        const file = readFileSync('{ADMIN}/de.json');
        Object.assign(globalThis, {{ document: {{ documentElement: {{}} }},
          fetch: async () => new Response(file) }});
        await choose('de');
        console.log(JSON.stringify({what}));""", told)


def names(told):
    """What columns and arguments are called in English."""
    return read("""
        const all = told.commands.flatMap((c) => [...c.args, ...c.columns]);
        console.log(JSON.stringify(all.map((one) => one.title || label(one.name))));""", told)


def texts_of(row, found):
    """All texts of the description that a language may have, by its shape."""
    if isinstance(row, list):
        for one in row:
            texts_of(one, found)
    elif isinstance(row, dict):
        for key, value in row.items():
            if key in ("doc", "brief", "asks", "title", "allowed", "unit", "restart"):
                found.add(value)
            elif key == "choices":
                found.update(value)
            else:
                texts_of(value, found)
    return found


def choices_of(row):
    """Of all arguments, columns and settings."""
    if isinstance(row, list):
        return set().union(*map(choices_of, row))
    if isinstance(row, dict):
        return set(row.get("choices", [])) | choices_of(list(row.values()))
    return set()


# Whole answers, which have neither names nor times in them.
SAID = json.loads((ADMIN / "de.json").read_text())["answers"].keys()
NAMED = re.compile("would be refused: version|No such file|it cannot be reached")


# Words that are the same in each language: names of programs, formats, versions and hashes.
TECHNICAL = {
    "1.2", "1.3", "AES", "AES-256", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "SHA",
    "SHA-256", "SHA-512", "dialback", "ecdsa:p256", "ecdsa:p384", "fedtest", "imtest", "journald",
    "mail", "openmetrics", "prometheus", "pushtest", "rsa:2048", "rsa:3072", "rsa:4096", "snmp",
    "sqlite", "starttls", "syslog", "v2c", "v3"}
# What `user stats` tells, by name.
FACTS = {"resource", "address", "sessions", "node", "last login", "contacts", "stored messages",
         "undelivered messages", "created", "disabled", "uploaded files", "uploaded bytes",
         "rooms without another owner", "shared groups", "devices with tokens", "PEP nodes"}


def states(doc):
    """The words that a column has for states, as its text says: "online, offline or never"; "ok, or
    what is wrong"; "active alarms, or none"."""
    doc = re.split("[:;(]", doc)[0].strip()
    if re.fullmatch(r"\w+(, \w+)*,? or \w+", doc):
        return re.split(",? or |, ", doc)
    return re.findall(r"^\w+(?=, or )|(?<= or )(?:no|none|never)$", doc)


def wrapped(texts):
    return {text: f"⟦{text}⟧" for text in texts}


def made_up(told):
    """A language in which each text is between brackets."""
    english = read("console.log(JSON.stringify(english));", told)
    return {"texts": {name: f"⟦{text}⟧" for name, text in english.items()},
            "rows": wrapped(texts_of(told, set()) | set(names(told))), "answers": wrapped(SAID)}


# What is shown, but for data: texts and what a screen reader says, without what is in brackets.
PLAIN = r"""
window.plain = (data) => {
  const bare = (text) => {
    let before;
    do { before = text; text = text.replace(/⟦[^⟦⟧]*⟧/g, '•'); } while (text !== before);
    text = text.replace(/•: .*/, ' '); // of a line: its name
    return data.reduce((all, word) => all.replaceAll(word, ' '), text);
  };
  const data_in = 'code, pre, bdi, datalist, .log, .settings button, option[lang], noscript, ' +
    'script';
  const found = new Set();
  const see = (element, text) => {
    const whole = element.querySelector(':scope > a[href^="#/settings/"]') && text
      ? element.textContent : text;
    if (whole && /\p{L}/u.test(bare(whole)) && !element.closest(data_in)) found.add(whole.trim());
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) see(walker.currentNode.parentElement, walker.currentNode.data);
  for (const name of ['title', 'aria-label', 'placeholder', 'alt', 'data-name'])
    for (const element of document.body.querySelectorAll(`[${name}]`))
      see(element, element.getAttribute(name));
  return [...found];
};
window.rest = async (data) => {
  const pause = () => new Promise((go) => setTimeout(go, 10));
  const found = new Set();
  const look = () => window.plain(data).forEach((text) => found.add(text));
  const settled = async () => {
    do await pause(); while (document.body.innerText.includes('Loading'));
    look();
  };
  await settled();
  for (const tab of document.querySelectorAll('[role=tab]')) {
    tab.click();
    await settled();
  }
  for (const details of document.querySelectorAll('details')) details.open = true;
  for (const button of document.querySelectorAll(
      '.head button, .groups button, .commands button, tbody tr:first-child .quiet')) {
    button.click();
    await settled();
    document.querySelector('dialog header button')?.click();
    await pause();
  }
  return [...found];
};"""


# What is wider than its box or out of the screen, on each tab, in each form and in the menu.
WIDTHS = r"""
window.wideParts = async () => {
  const pause = () => new Promise((go) => setTimeout(go, 10));
  const found = new Set();
  const settled = async () => {
    do await pause();
    while (/Loading|Wird geladen/.test(document.body.innerText));
    const width = document.documentElement.clientWidth;
    for (const e of [document.documentElement, ...document.querySelectorAll(
        'main, .scroll, .card, .cards, dialog, table')])
      if (e.scrollWidth > e.clientWidth + 1) found.add(`wide: ${e.outerHTML.slice(0, 200)}`);
    for (const e of document.querySelectorAll('header.top > *, nav.open a, dialog button'))
      if (e.getBoundingClientRect().right > width) found.add(`out: ${e.innerText}`);
  };
  const open = async (button) => {
    button.click();
    await settled();
    document.querySelector('dialog header button')?.click();
    await pause();
  };
  await settled();
  for (const tab of document.querySelectorAll('[role=tab]')) {
    tab.click();
    await settled();
  }
  for (const details of document.querySelectorAll('details')) details.open = true;
  await settled();
  for (const button of document.querySelectorAll(
      '.head button, .groups button, .commands button, tbody tr:first-child .quiet'))
    await open(button);
  await open(document.querySelector('header .menu'));
  document.querySelector('header .menu').click();
  return [...found];
};"""


def speak(pages, catalogue):
    """The page has this language in the place of German."""
    pages.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": """
        localStorage.setItem('muster-language', 'de');
        const asked = window.fetch;
        window.fetch = async (url, options) => (`${url}`.endsWith('de.json')
          ? new Response(CATALOGUE) : asked(url, options));
        """.replace("CATALOGUE", json.dumps(json.dumps(catalogue))) + PLAIN})


def choose(pages, code):
    pages.driver.execute_script("""
        const select = document.querySelector('select:has([lang=de])');
        select.value = arguments[0];
        select.dispatchEvent(new Event('change', { bubbles: true }));""", code)


def addresses(pages):
    """Of all pages, and of a thing of each kind, which make_things() makes."""
    return [[page] for page in pages.menu()] + [
        ["user", "alice@localhost"], ["room", "cave@conference.localhost"], ["group", "team"],
        ["component", "echo.localhost"], ["domain", "localhost"], ["partner", "away.example"]]


def make_things(server):
    server.add_user("alice")
    server.ctl("room", "create", "cave@conference.localhost", "alice@localhost")
    server.ctl("component", "add", "echo.localhost")
    server.ctl("group", "add", "team")
    server.ctl("template", "add", "clerk")


def before_each_page(pages, script):
    pages.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})


def speaks(pages, code):
    """What the page is in, and what the list of languages says."""
    until(f"the page in {code}", lambda: pages.js(
        "[document.documentElement.lang, document.querySelector('select:has([lang=de])')?.value]"
    ) == [code, code])


@pytest.mark.release
def test_each_text_is_in_a_catalogue(server, tmp_path):
    """In a made-up language nothing of a page is in English, but data."""
    make_things(server)
    server.ctl("config", "edit", "announce.subject", "7")
    server.ctl("config", "apply", "--confirm", "1h")
    server.api("POST", "/commands/config-edit", {"setting": "announce.subject", "value": "8"})
    told = server.api("GET", "/description").json
    alarm = server.rows("alarm", "list")[0]
    catalogue = made_up(told)
    catalogue["rows"].update(wrapped([alarm["severity"], alarm["text"]]))
    data = ["alice@localhost", "cave@conference.localhost", "echo.localhost", "away.example",
            "localhost", "team", "(administrator)",
            *sorted((row["name"] for row in told["settings"]), key=len, reverse=True)]
    with opened(server, tmp_path / "browser") as pages:
        pages.driver.set_script_timeout(5 * TIMEOUT)
        speak(pages, catalogue)
        pages.driver.get(pages.url)
        pages.find("form h1", "⟦")
        assert pages.js("window.plain([])") == []
        pages.click("form button", "access token")
        assert pages.js("window.plain([])") == []
        pages.type("#token", server.api.token)
        pages.click("[type=submit]")
        pages.find("nav a")
        assert pages.js("document.documentElement.lang") == "de"
        english = {}
        for address in addresses(pages):
            pages.go(*address)
            left = pages.driver.execute_async_script(
                "window.rest(arguments[0]).then(arguments[1], (e) => arguments[1]([`${e}`]))",
                data)
            english["/".join(address)] = [text for text in left if not NAMED.search(text)]
        assert [one for one in english.items() if one[1]] == []
        pages.go("alarms")
        for text in alarm["severity"], alarm["text"]:
            pages.find("main td", f"⟦{text}⟧")


@pytest.mark.release
def test_the_language_is_chosen(server, tmp_path):
    """It holds at once and after a reload, without a new login or another page."""
    with opened(server, tmp_path / "browser") as pages:
        pages.log_in(server.api.token)
        pages.go("users")
        choose(pages, "de")
        pages.find("h1", "Benutzer")
        assert pages.js("document.documentElement.lang") == "de"
        pages.find("header", "Abmelden")
        assert pages.js("document.querySelector('main .doc').lang") == "en"  # not translated
        pages.resize(390, 800)
        for page in "", "users", "settings":
            pages.go(page)
            assert pages.wider() == [], page
        pages.resize(1280, 800)
        pages.go("access")
        choose(pages, "en")
        pages.find("h1", "Administrators and tokens")
        assert pages.js("document.querySelector('main .doc').lang") == ""
        choose(pages, "de")
        pages.find("header", "Abmelden")
        pages.driver.refresh()
        pages.find("form h1", "Bei Muster anmelden")
        until("its language", lambda: pages.js("document.documentElement.lang") == "de")
        assert pages.complaints() == []


@pytest.mark.release
def test_no_page_is_wider_than_a_small_phone_in_any_language(server, tmp_path):
    """At 320 CSS px nothing has to be moved sideways (WCAG 2.2, 1.4.10), also in dialogs and in the
    menu, and all of the top is on the screen."""
    make_things(server)
    languages = read(f"""
        import {{ languages }} from '{ADMIN}/language.js';
        console.log(JSON.stringify(Object.keys(languages)));""", None)
    assert "de" in languages
    with opened(server, tmp_path / "browser") as pages:
        pages.driver.set_script_timeout(5 * TIMEOUT)
        pages.resize(320, 800)
        before_each_page(pages, WIDTHS)
        pages.driver.get(pages.url)
        pages.find("form h1")
        for code in languages:
            choose(pages, code)
            speaks(pages, code)
            assert pages.wider() == [], code
        choose(pages, "en")
        pages.log_in(server.api.token)
        wide = {}
        for code in languages:
            choose(pages, code)
            speaks(pages, code)
            for address in addresses(pages):
                pages.go(*address)
                wide[code, "/".join(address)] = pages.driver.execute_async_script(
                    "window.wideParts().then(arguments[0], (e) => arguments[0]([`${e}`]))")
        assert {place: found for place, found in wide.items() if found} == {}


@pytest.mark.release
def test_cards_of_a_phone_are_not_moved_sideways(server, tmp_path):
    """Times are in one line of a table only where it has room for them."""
    server.ctl("admin", "create", "nora", "viewer", "--password", "planted south wind")
    with opened(server, tmp_path / "browser") as pages:
        pages.resize(320, 800)
        pages.log_in(server.api.token)
        choose(pages, "de")
        speaks(pages, "de")
        pages.go("access")
        pages.find(".scroll td", "nora")
        assert pages.js("""[...document.querySelectorAll('.scroll')].filter(
            box => box.scrollWidth > box.clientWidth).map(box => box.innerText)""") == []


@pytest.mark.release
@pytest.mark.parametrize("width", [320, 360, 600])
def test_the_focus_and_the_language_are_seen_on_a_phone(server, tmp_path, width):
    """By Tab: what has the focus has a place on the screen. The name of a language is whole."""
    with opened(server, tmp_path / "browser") as pages:
        pages.resize(width, 640)
        pages.log_in(server.api.token)
        for code in "en", "de":
            choose(pages, code)
            speaks(pages, code)
            assert pages.js("""(([select]) => {
                const is = select.getBoundingClientRect().width;
                select.style.width = 'max-content'; select.style.maxWidth = 'none';
                const wanted = select.getBoundingClientRect().width;
                select.style.width = select.style.maxWidth = '';
                return wanted - is;
            })([document.querySelector('.top select')])""") <= 1
        pages.go("dashboard")
        pages.find("main .sort")
        seen = set()
        for _ in range(80):
            pages.driver.switch_to.active_element.send_keys(Keys.TAB)
            name, width_seen, clipped = pages.js("""(() => {
                const one = document.activeElement, box = one.getBoundingClientRect();
                const hidden = (e) => e && (getComputedStyle(e).clipPath !== 'none'
                    || hidden(e.parentElement));
                return [`${one.tagName}.${one.className}`, box.width, hidden(one)];
            })()""")
            seen.add(name)
            assert width_seen > 2 and not clipped, name
        assert "BUTTON.sort" in seen


@pytest.mark.release
def test_what_is_looked_for_outlasts_a_change_of_the_language(server, tmp_path):
    """A link to one setting shows that one."""
    with opened(server, tmp_path / "browser") as pages:
        pages.log_in(server.api.token)
        for page in "settings", "traces":
            pages.go(page)
            pages.type("main input[type=search]", "muc.occ")
            for code in "de", "en":
                choose(pages, code)
                speaks(pages, code)
                pages.find("main h1")
                assert pages.find("main input[type=search]").get_attribute("value") == "muc.occ"
        pages.go("settings")
        pages.type("main input[type=search]", "muc.occ")
        pages.go("settings", "announce.subject")
        until("the setting", lambda: pages.js(
            "document.querySelector('main input[type=search]')?.value") == "announce.subject")
        assert pages.complaints() == []


@pytest.mark.release
def test_what_people_wrote_is_not_translated(server, tmp_path):
    """Though the catalogue has the same words."""
    server.add_user("alice")
    server.ctl("user", "set", "alice@localhost", "--department", "Made by use",
               "--surname", "Members only")
    server.ctl("room", "create", "cave@conference.localhost", "alice@localhost",
               "--name", "Members only")
    server.ctl("group", "add", "team", "--shown", "Second factor")
    server.ctl("template", "add", "clerk", "--description", "Built in",
               "--department", "Mail sent")
    with opened(server, tmp_path / "browser") as pages:
        pages.log_in(server.api.token)
        choose(pages, "de")
        pages.find("header", "Abmelden")
        for address, written in [(["user", "alice@localhost"], {"Made by use", "Members only"}),
                                 (["rooms"], {"Members only"}),
                                 (["room", "cave@conference.localhost"], {"Members only"}),
                                 (["groups"], {"Second factor"}),
                                 (["templates"], {"Built in", "Mail sent"})]:
            pages.go(*address)
            until(f"{written} on {address}", lambda: written <= set(pages.js(
                "[...document.querySelectorAll('main bdi')].map(e => e.innerText)")))
        pages.go("rooms")
        pages.find("main td", "dauerhaft")  # a word of the server's


@pytest.mark.release
def test_the_language_of_the_browser_without_storage(server, tmp_path):
    """One can log in and out there, too."""
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    with opened(server, tmp_path / "browser") as pages:
        before_each_page(pages, """
            Object.defineProperty(window, 'localStorage', {
              get() { throw new DOMException('denied', 'SecurityError'); } });
            Object.defineProperty(navigator, 'languages', { get: () => ['de-AT', 'en'] });""")
        pages.driver.get(pages.url)
        pages.find("form h1", "Bei Muster anmelden")
        choose(pages, "en")
        pages.find("form h1", "Log in to Muster")
        pages.type("#name", "root")
        pages.type("#password", PASSWORD)
        pages.click("[type=submit]")
        pages.find("header", "root")
        pages.click("header button", "Log out")
        pages.find("form h1", "Log in to Muster")
        assert pages.complaints(ours=("session - .* 401 ",)) == []  # it asked as it logged out


@pytest.mark.release
def test_the_last_choice_of_a_language_wins(server, tmp_path):
    """Though the file of the first comes later."""
    with opened(server, tmp_path / "browser") as pages:
        before_each_page(pages, """
            const asked = window.fetch;
            window.fetch = async (url, options) => {
              const answer = await asked(url, options);
              if (!`${url}`.endsWith('de.json')) return answer;
              await new Promise((go) => { window.deliver = go; });
              setTimeout(() => { window.delivered = true; }, 200);
              return answer;
            };""")
        pages.driver.get(pages.url)
        pages.find("form h1", "Log in to Muster")
        choose(pages, "de")
        until("the file", lambda: pages.js("!!window.deliver"))
        assert pages.js("document.querySelector('select:has([lang=de])').value") == "de"
        choose(pages, "en")
        pages.js("window.deliver()")
        until("its end", lambda: pages.js("window.delivered"))
        speaks(pages, "en")
        pages.find("form h1", "Log in to Muster")


@pytest.mark.release
def test_a_language_that_cannot_be_loaded(server, tmp_path):
    """The page is in English and says so, until the language is there."""
    with opened(server, tmp_path / "browser") as pages:
        before_each_page(pages, """
            localStorage.setItem('muster-language', 'de');
            const asked = window.fetch;
            window.fetch = async (url, options) => (`${url}`.endsWith('de.json') && !window.there
              ? new Response('{}', { status: 503 }) : asked(url, options));""")
        pages.driver.get(pages.url)
        pages.find("form [role=alert]", "Deutsch could not be loaded")
        speaks(pages, "en")
        pages.click("form button", "access token")
        pages.type("#token", server.api.token)
        pages.click("[type=submit]")
        pages.find("main [role=alert]", "Deutsch could not be loaded")
        pages.js("window.there = true")
        choose(pages, "de")
        pages.find("header", "Abmelden")
        speaks(pages, "de")
        assert "could not be loaded" not in pages.js("document.body.innerText")


def test_german_has_all_of_the_console(server):
    told = server.api("GET", "/description").json
    german = json.loads((ADMIN / "de.json").read_text())
    english = read("console.log(JSON.stringify(english));", told)
    assert german["texts"].keys() == english.keys()
    assert german == json.loads(get(server, "/admin/de.json").body)
    for name, text in english.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == \
            sorted(re.findall(r"\{\w+\}", german["texts"][name])), name
    for text, answer in german["answers"].items():
        assert answer.count("#") == text.count("#"), text
    wanted = set(names(told)) | FACTS | choices_of(told) - TECHNICAL | {
        row["asks"] for row in told["commands"] if "asks" in row} | {
        text for _, _, text in sentences()}
    assert wanted - german["rows"].keys() == set()
    docs = " ".join(column["doc"] for row in told["commands"] for column in row["columns"])
    assert [text for text in german["rows"].keys() - wanted - texts_of(told, set())
            if not re.search(rf"\b{re.escape(text)}\b", docs)] == []


def sentences():
    """Where the console shows a sentence of an alarm or a metric: the command and its column."""
    alarm = {"text": "description", "action": "x-action", "explanation": "x-explanation",
             "raised_when": "x-raised-when", "cleared_when": "x-cleared-when"}
    return [("alarm show", column, row[member]) for row in rows.part("alarms").values()
            for column, member in alarm.items()] + [
        ("metrics", "help", row["description"]) for row in rows.part("metrics").values()]


def test_each_sentence_of_alarms_and_metrics_is_in_german(server):
    """Where it is shown, with the same settings, commands and other names in it."""
    told = server.api("GET", "/description").json
    german = json.loads((ADMIN / "de.json").read_text())["rows"]
    places = sentences()
    shown = in_german("""told.places.map(([of, name, text]) =>
        shown(readRows(told).commands.get(of).columns.find((one) => one.name === name), text))""",
                      {**told, "places": places})
    assert shown == [german[text] for _, _, text in places]

    def technical(text):
        return (sorted(re.findall("`[^`]*`", text)),
                set(re.findall(r"[a-z\d-]+(?:\.[a-z-]+)+", text)))
    assert [text for _, _, text in places if technical(text) != technical(german[text])] == []


LITERAL = r'"(?:[^"\\]|\\.)*"'


def literals(code):
    """Texts of C, of which those that stand one after the other are one."""
    return ["".join(part[1:-1] for part in re.findall(LITERAL, one))
            for one in re.findall(rf"{LITERAL}(?:\s*{LITERAL})*", code)]


def test_each_whole_answer_is_in_german():
    """What commands say when they are done, and why somebody is not logged in; no other."""
    whole, every = set(), set()
    for file in (ROOT / "src").rglob("*.c"):
        code = "" if re.search("_(test|bench)$", file.stem) else file.read_text()
        every |= {re.sub("%(l|ll|z)?[du]|%$", "#", text) for text in literals(code)}
        calls = re.findall(r"command_done\((.*?)\);", code, re.S)
        for call in calls + re.findall(r"results\[LOGIN_RESULTS\] = \{(.*?)\n\};", code, re.S):
            texts = literals(call)
            if not any("%" in text and text != "%s" for text in texts):
                whole |= {text for text in texts if " " in text}
    assert len(whole) > 30 and whole - SAID == set() and SAID - every == set()


@pytest.mark.release
def test_a_login_is_refused_in_german(server, tmp_path):
    """A wrong password, and a wrong token."""
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    with opened(server, tmp_path / "browser") as pages:
        before_each_page(pages, "localStorage.setItem('muster-language', 'de');")
        pages.send_password(password="wrong")
        pages.find("form [role=alert]", "Name, Passwort oder Code sind falsch")
        pages.click("form button", "Zugriffstoken")
        pages.type("#token", "wrong")
        pages.click("[type=submit]")
        pages.find("form [role=alert]", "Dieses Token ist hier nicht bekannt")
        assert pages.complaints(ours=("- .*401",)) == []


def test_each_state_in_a_table_is_in_german(server):
    """Those that the text of a column names, those that one can choose for such a thing in a
    form, and names of facts."""
    told = server.api("GET", "/description").json
    german = json.loads((ADMIN / "de.json").read_text())["rows"]

    def of_thing(row, part):
        return row["name"].split()[0], part["name"]
    chosen = {of_thing(row, arg): arg.get("choices", [])
              for row in told["commands"] for arg in row["args"]}
    chosen["cert", "names"] = []  # the column has names of hosts
    places = [(row["name"], column["name"], word)
              for row in told["commands"] for column in row["columns"]
              if column.get("type") == "string"
              for word in {*states(column["doc"]), *chosen.get(of_thing(row, column), [])}
              - TECHNICAL]
    shown = in_german("""told.places.map(([of, name, word]) =>
        shown(readRows(told).commands.get(of).columns.find((one) => one.name === name), word))""",
                      {**told, "places": places})
    assert [(place, text) for place, text in zip(places, shown)
            if text != german.get(place[2])] == []
    for place in [("status", "alarms", "none"), ("status", "restart_needed", "no"),
                  ("template list", "others", "ask"), ("policy show", "kind", "default"),
                  ("room occupants", "role", "visitor"), ("s2s-demand list", "auth", "any")]:
        assert place in places
    server.add_user("alice")
    assert {row["name"] for row in server.rows("user", "stats", "alice@localhost")} <= FACTS


def test_an_answer_that_people_wrote_is_not_translated(server):
    """Whatever word of the catalogue it is: only whole answers of the server are."""
    german = json.loads((ADMIN / "de.json").read_text())
    written = [*german["rows"], *german["texts"].values(), "users: none", "toString"]
    shown = in_german("[language(), said('Until'), answered('users: 12, sessions: 3'), "
                      "...told.map(answered)]", written)
    assert shown == ["de", "Bis", "Benutzer: 12, Sitzungen: 3", *written]


def test_numbers_are_written_as_the_language_does(server):
    """Sizes, numbers in tables, in texts and in answers; with a point in none."""
    assert in_german("""
        [shown({ type: 'bytes' }, 1.5 * 2 ** 30), shown({ type: 'bytes' }, 1023), rounded(0.9234),
         shown({ type: 'int', unit: 'bytes' }, 1536 * 2 ** 40), shown({ type: 'int' }, 12345),
         shown({ type: 'int', unit: 'KiB' }, 12345), t('table.rows', { n: 12345 }),
         answered('users: 12345, sessions: 3')]""", None) == [
             "1,5 GiB", "1.023 B", "0,923", "1.536,0 TiB", "12.345", "12,1 MiB", "Zeilen: 12.345",
             "Benutzer: 12.345, Sitzungen: 3"]
    of_no_language = re.compile(r"toFixed|toLocale\w+\(\)|Format\(\)\.format|locale: (?!language)")
    for file in sorted(ADMIN.glob("*.js*")):
        text = file.read_text()
        assert of_no_language.findall(text) == [], file.name
        assert ("new Chart(" in text) == ("locale: language()" in text), file.name
