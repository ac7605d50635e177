"""The web console at /admin: its files, what it is told, and used in a browser (Chromium, headless)
as each role. MUSTER_PICTURES=FOLDER saves the pages that docs/console.md shows."""
import contextlib
import gzip
import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import urllib.parse
from xml.sax.saxutils import escape, quoteattr

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from harness import rows
from harness.client import TIMEOUT, until
from harness.muc import Room
from harness.server import ROOT
from surface.test_api import Api, api_server
from operate.test_cert_commands import Authority, fingerprint
from surface.test_console_login import PASSWORD, make_old, now_step, totp
from operate.test_roles import ROLES, granted, has_all
from surface.test_webchat import Browser, Keys, directives, webdriver

AXE = ROOT / "test/js/node_modules/axe-core/axe.min.js"
IMPACTS = "minor", "moderate", "serious", "critical"
PICTURED = {}  # what is on them
PICTURES = "users", "user", "rooms", "federation", "certificates", "settings", "audit"
XSS = "<img src=x onerror=document.title='owned'>'\"&amp;"


@pytest.fixture
def server(make_server):
    return api_server(make_server)


def get(server, path, headers=None, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.api.port, timeout=TIMEOUT)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


# --- its files ---


def test_page_and_its_policy(server):
    moved = get(server, "/admin")
    assert (moved.status, moved.getheader("Location")) == (302, "/admin/")
    for path in ("/admin/", "/admin/app.js", "/admin/style.css", "/admin/icon.svg",
                 "/admin/de.json", "/admin/no"):
        answer = get(server, path)
        policy = directives(answer)
        assert answer.status == (404 if path == "/admin/no" else 200)
        assert policy["default-src"] == ["'none'"] and policy["frame-ancestors"] == ["'none'"]
        assert not any("unsafe" in word or ":" in word or "*" in word
                       for words in policy.values() for word in words)
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("Referrer-Policy") == "no-referrer"
        assert answer.getheader("X-Frame-Options") == "DENY"
    policy = directives(get(server, "/admin/"))
    assert policy["script-src"] == ["'self'"] and policy["style-src"] == ["'self'"]
    assert policy["trusted-types"] == ["'none'"] and policy["form-action"] == ["'none'"]


def test_files_are_packed_and_kept(server):
    plain = get(server, "/admin/app.js")
    packed = get(server, "/admin/app.js", {"Accept-Encoding": "gzip"})
    assert packed.getheader("Content-Encoding") == "gzip" and len(packed.body) <= 200 << 10
    assert gzip.decompress(packed.body) == plain.body
    assert packed.getheader("ETag") != plain.getheader("ETag")
    for answer, more in (plain, {}), (packed, {"Accept-Encoding": "gzip"}):
        again = get(server, "/admin/app.js", {"If-None-Match": answer.getheader("ETag"), **more})
        assert (again.status, again.body) == (304, b"")
    head = get(server, "/admin/app.js", method="HEAD")
    assert (int(head.getheader("Content-Length")), head.body) == (len(plain.body), b"")
    assert b"React" in plain.body and b"Chart.js" in plain.body  # whose licences it names


@pytest.mark.parametrize("path", [
    "/admin/../etc/passwd", "/admin/%2e%2e/etc/passwd", "/admin/..%2fetc%2fpasswd",
    "/admin//app.js", "/admin/app.js/", "/admin/app.js.gz", "/admin/.", "/admin/%00",
    "/admin/\\..\\x", "/admin/" + "a" * 5000, "/administrator", "/admin/app.js%00.css"])
def test_nothing_else_is_served(server, path):
    answer = get(server, path)
    assert answer.status in (400, 404) and b"root:" not in answer.body


def test_only_on_its_listener(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=TIMEOUT)
    connection.request("GET", "/admin/")
    assert connection.getresponse().status == 404
    connection.close()
    assert get(server, "/admin/", method="POST").status == 405


# --- what it is told ---


def token(server, role):
    return server.rows("token", "add", role, role)[0]["token"]


@pytest.mark.parametrize("role", ROLES)
def test_description_has_what_the_role_may(server, role):
    patterns = {r["name"]: r["permissions"] for r in server.rows("role", "list")}[role]
    told = Api(server.api.port, token(server, role))("GET", "/description").json
    table = rows.part("commands")
    for place, local in ("commands", False), ("local", True):
        assert {row["name"] for row in told[place]} == {
            name for name, row in table.items()
            if has_all(patterns, row) and (row["x-access"] == "local") == local}
    assert bool(told["settings"]) == granted(patterns, "settings.read")
    assert told["who"]["role"] == role
    gone = next((row for row in told["commands"] if row["name"] == "user del"), None)
    assert gone is None or "deleted" in gone["asks"]


def test_the_description_names_members(server):
    """As the reference of the API does: no option of the command itself."""
    found = 0
    for row in server.api("GET", "/description").json["commands"]:
        texts = [row["doc"], row["brief"], row.get("asks", ""),
                 *(part.get("doc", "") for part in row["args"] + row["columns"])]
        found += sum(f"`{arg['name']}`" in text for arg in row["args"] for text in texts)
        for arg in row["args"]:
            option = re.compile(f"--{arg['name'].replace('_', '-')}(?![a-z-])")
            assert not [text for text in texts if option.search(text)], (row["name"], option)
    assert found > 5


def test_the_description_marks_what_the_document_requires(server):
    """Also a reason, which musterctl at the server may leave out."""
    paths, reasons = server.api("GET", "/openapi.json").json["paths"], 0
    for row in server.api("GET", "/description").json["commands"]:
        body = paths[f"/commands/{row['name'].replace(' ', '-')}"]["post"]["requestBody"]
        needed = {arg["name"] for arg in row["args"] if arg.get("needed")}
        assert needed == set(body["content"]["application/json"]["schema"]["required"]), row["name"]
        reasons += "reason" in needed
    assert reasons > 3


def test_list_by_its_name_has_a_next_page(server):
    server.add_user("alice")
    server.add_user("bob")
    first = server.api("POST", "/commands/user-list", {"limit": 1}).json
    assert [row["jid"] for row in first["rows"]] == ["alice@localhost"]
    second = server.api("POST", "/commands/user-list", {"limit": 1, "after": first["next"]}).json
    assert [row["jid"] for row in second["rows"]] == ["bob@localhost"] and "next" not in second


def test_users_are_found_by_a_part_of_their_address(server):
    for name in "alice", "malice", "bob":
        server.add_user(name)

    def found(**args):
        return [row["jid"] for row in server.api("POST", "/commands/user-list", args).json["rows"]]
    assert found(filter="LICE") == ["alice@localhost", "malice@localhost"]
    assert found(filter="lice", after="alice@localhost") == ["malice@localhost"]
    assert found(filter="lice", disabled=True) == [] and found(filter="nobody") == []
    answer = server.api("POST", "/commands/user-list", {"filter": "lice", "limit": 1}).json
    assert [row["jid"] for row in answer["rows"]] == ["alice@localhost"] and answer["next"]


# --- in a browser ---


class Pages(Browser):
    """The console: pages are read and looked at, not typed to more than needed."""

    def __init__(self, folder, server):
        super().__init__(folder)
        self.url = f"http://localhost:{server.api.port}/admin/"

    def log_in(self, secret):
        """With an access token."""
        self.driver.get("about:blank")
        self.driver.get(self.url)
        self.click("form button", "access token")
        self.type("#token", secret)
        self.click("[type=submit]")
        self.find("nav a")

    def send_password(self, name="root", password=PASSWORD):
        self.driver.get(self.url)
        self.type("#name", name)
        self.type("#password", password)
        self.click("[type=submit]")

    def go(self, *parts):
        self.driver.execute_script("location.hash = arguments[0]", "/" + "/".join(parts))
        self.settle()

    def js(self, text, *args):
        return self.driver.execute_script("return " + text, *args)

    def settle(self):
        """Until nothing is being loaded."""
        until("the page", lambda: self.js(
            "document.querySelector('h1') && !document.body.innerText.includes('Loading')"),
            3 * TIMEOUT)

    def tabs(self):
        """Opens one after the other; what the page then shows."""
        return self.driver.execute_async_script("""
            const done = arguments[0], texts = [document.body.innerText];
            const pause = () => new Promise((go) => setTimeout(go, 10));
            (async () => {
              for (const tab of document.querySelectorAll('[role=tab]')) {
                tab.click();
                do await pause(); while (document.body.innerText.includes('Loading'));
                texts.push(document.body.innerText);
              }
              done(texts);
            })();""")

    def menu(self):
        return self.js("[...document.querySelectorAll('nav a')].map(a => a.hash.slice(2))")

    def dark(self, on):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if on else "light"}]})

    def faults(self, *only, least="serious"):
        """What axe-core finds that is so bad or worse; by these rules only, if any are given."""
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1], only = arguments[0];"
            "axe.run({resultTypes: ['violations'], ...(only.length && {runOnly: only})})"
            ".then(r => done(r.violations), e => done([{id: String(e), impact: 'serious', nodes: "
            "[{html: '', failureSummary: ''}]}]))", list(only))
        return [(one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"])
                for one in found if IMPACTS.index(one["impact"]) >= IMPACTS.index(least)]

    def wider(self):
        """What is wider than the page or than its own box, so that one had to scroll sideways."""
        return self.js("[document.documentElement, ...document.querySelectorAll("
                       "'main, .scroll, .card, .cards, dialog, table')].filter(e => "
                       "e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML.slice(0, 200))")

    def check(self, axe, address):
        """A page of a thing or of the menu, in light and dark, on a wide screen and a phone."""
        self.driver.execute_script(axe)
        assert self.faults() == [], address
        self.dark(True)
        assert self.faults("color-contrast") == [], address
        self.dark(False)
        self.resize(390, 800)
        for tab in range(max(1, self.js("document.querySelectorAll('[role=tab]').length"))):
            self.js("document.querySelectorAll('[role=tab]')[arguments[0]]?.click()", tab)
            self.settle()
            assert self.wider() == [], (address, tab)
        self.resize(1280, 800)
        if address[0] in PICTURES:
            self.go("")
            self.go(*address)
            self.is_as_pictured(address[0])
            self.save(f"console-{address[0]}")

    def is_as_pictured(self, page):
        """The picture of the docs has the same words in the menu, headings, tabs and buttons."""
        words = self.js("[...document.querySelectorAll('nav a, main h1, main h2, main button"
                        ", main [role=tab]')].map(e => e.innerText).filter(w => w)")
        if "MUSTER_PICTURES" in os.environ:
            PICTURED.update({page: words})
            file = pathlib.Path(os.environ["MUSTER_PICTURES"]) / "console.json"
            file.write_text(json.dumps(PICTURED, indent=0) + "\n")
        else:
            known = json.loads((ROOT / "docs/images/console.json").read_text())[page]
            assert words == known, "make the pictures anew (MUSTER_PICTURES), and console.json"

    def fill_in(self, label, text):
        """Types into the field of a dialog that has this label."""
        ident = self.find("dialog label", label).get_attribute("for")
        self.js("document.getElementById(arguments[0]).select()", ident)
        self.type(f"[id='{ident}']", text)

    def figure(self, name):
        return self.js("[...document.querySelectorAll('.card')].find(card => "
                       "card.querySelector('h2').innerText === arguments[0])"
                       "?.querySelector('.figure')?.innerText", name)

    def log_out(self):
        self.click("header button", "Log out")
        self.find("#name")

    def complaints(self, ours=()):
        """Without the answers of the API that the test has asked for."""
        known = re.compile("|".join(ours) or "$^")
        return [said for said in super().complaints() if not known.search(said)]


@pytest.fixture(scope="module")
def axe():
    if not AXE.exists():
        pytest.skip("needs npm ci --prefix test/js")
    return AXE.read_text()


@contextlib.contextmanager
def opened(server, folder):
    if webdriver is None or shutil.which("chromedriver") is None:
        pytest.skip("needs chromium, chromium-driver and python3-selenium")
    pages = Pages(folder, server)
    try:
        yield pages
    finally:
        pages.driver.quit()


@pytest.fixture
def pages(server, tmp_path):
    with opened(server, tmp_path / "browser") as made:
        made.resize(1280, 800)
        yield made


@pytest.mark.release
def test_every_page_as_each_role(server, pages, axe):
    """Each page of each role is drawn without complaint; those of an administrator also in dark, on
    a phone, and for axe-core."""
    server.add_user("alice")
    server.ctl("room", "create", "cave@conference.localhost", "alice@localhost", "--name", "Cave")
    server.ctl("component", "add", "echo.localhost")
    seen = {}
    for role in ROLES:
        pages.resize(1280, 800)
        secret = token(server, role)
        pages.log_in(secret)
        if role == "administrator":  # has a candidate
            Api(server.api.port, secret)("POST", "/commands/config-edit",
                                         {"setting": "announce.subject", "value": "News"})
        seen[role] = pages.menu()
        things = [["user", "alice@localhost"], ["room", "cave@conference.localhost"],
                  ["component", "echo.localhost"], ["domain", "localhost"],
                  ["partner", "away.example"]]
        for address in [[page] for page in seen[role]] + things:
            pages.go(*address)
            assert "problem" not in pages.js("document.querySelector('main').innerHTML"), address
            pages.tabs()
            if role == "administrator":
                pages.check(axe, address)
        # The domain is a component's, which is away.
        assert pages.complaints(ours=("/(cert|domain)-show - .*404", "/s2s-trace - ")) == []
        pages.log_out()
    assert "users" in seen["help-desk"] and "settings" not in seen["help-desk"]
    assert set(seen["viewer"]) < set(seen["administrator"])


def script(text):
    """Runs it in Node with the console's own functions, which are pure; what it returns."""
    done = subprocess.run(["node", "--input-type=module", "-e",
                           f"import * as rows from '{ROOT}/web/admin/rows.js';\n"
                           f"import * as pages from '{ROOT}/web/admin/pages.js';\n"
                           "import { readFileSync } from 'node:fs';\n"
                           "const told = rows.readRows(JSON.parse(readFileSync(0)));\n" + text],
                          input=json.dumps(script.told), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_command_is_on_one_page_and_on_the_pages_of_things(server):
    script.told = server.api("GET", "/description").json
    script.told["commands"].append({"name": "gnome list", "area": "garden", "args": [],
                                    "columns": [{"name": "name", "type": "string"}],
                                    "reads": True, "brief": "x"})
    found = script("""
        const places = rows.pagesOf(told);
        const part = (page) => {
            const { lists, others } = rows.partsOf(page); return [...lists, ...others]; };
        const of = (kind) => { const { show, lists, acts } = rows.partsOfThing(told, kind, 'x');
            return [show, ...lists, ...acts].filter(Boolean).map((one) => one.command.name); };
        const act = (list, row, bound) => Object.fromEntries(rows.actsOfLine(told,
            told.commands.get(list), row, bound).map((one) => [one.command.name, one.bound]));
        console.log(JSON.stringify({
            pages: Object.fromEntries(places.map((p) => [p.id, part(p).map((c) => c.name)])),
            user: of('user'), room: of('room'), domain: of('domain'), group: of('group'),
            component: of('component'), partner: of('partner'),
            device: act('device list', {id: '7', device: 'x'}, {jid: 'a@b'}),
            contact: act('contact list', {owner: 'a@b', jid: 'c@d'}, {jid: 'a@b'}),
            token: act('token list', {name: 'backup'}, {}),
            admin: act('admin list', {name: 'nora', role: 'viewer'}, {}),
            alarm: act('alarm list', {name: 'io.descriptors'}, {}),
            jobs: Object.fromEntries([['room cleanup', 'running'], ['room cleanup', 'done'],
                ['import prosody', 'running']].map(([command, state]) => [`${command} ${state}`,
                Object.keys(act('job list', {id: '1-2', command, state}, {}))])),
            start: rows.startOf(told.commands.get('user set'), {jid: 'a@b', given_name: 'A'}),
            route: act('s2s-route list', {pattern: 'p', target: 't'}, {}),
            history: act('config history', {version: 3}, {}) }));""")
    names = [name for page in found["pages"].values() for name in page]
    assert sorted(names) == sorted(row["name"] for row in script.told["commands"])
    assert found["pages"]["garden"] == ["gnome list"]  # a new area is a page by itself
    assert {"user show", "user del", "session list", "session kick", "contact list", "policy show",
            "presence view", "device list", "upload list", "user disable"} <= set(found["user"])
    assert "user add" not in found["user"] and "user invite" not in found["user"]
    assert {"room show", "room occupants", "room owner", "room destroy"} <= set(found["room"])
    # What is done with a domain depends on whose it is.
    assert set(found["domain"]) == {"domain show", "cert show", "cert findings"}
    assert set(found["component"]) == {"cert show", "cert findings", "component del",
                                       "component secret"}
    assert set(found["partner"]) == {"s2s show", "s2s list", "s2s trace", "s2s close", "s2s retry"}
    assert {"group show", "group-member add", "group del"} <= set(found["group"])
    assert found["device"]["device revoke"] == {"jid": "a@b", "id": "7"}
    assert found["contact"]["contact del"] == {"jid": "a@b", "contact": "c@d"}
    assert found["jobs"] == {"room cleanup running": ["job cancel", "job show"],
                             "room cleanup done": ["job show"],
                             "import prosody running": ["job show"]}  # the host's
    assert found["token"]["token revoke"] == {"name": "backup"}
    assert "admin delete" not in found["token"]  # of that name
    assert found["admin"]["admin role"] == {"name": "nora", "role": "viewer"}
    assert found["alarm"]["alarm acknowledge"] == {"alarm": "io.descriptors"}
    assert found["start"] == {"jid": "a@b", "given_name": "A"}
    assert found["route"]["s2s-route del"] == {"pattern": "p", "target": "t"}
    assert found["history"]["config rollback"] == {"version": 3}


def test_what_can_be_done_with_a_thing_is_in_groups(server):
    """What is done often is first, what destroys is last, and nothing is lost."""
    script.told = server.api("GET", "/description").json
    found = script("""
        const names = (acts) => acts.map((act) => act.command.name);
        console.log(JSON.stringify(Object.keys(pages.kinds).map((kind) => {
            const { acts } = rows.partsOfThing(told, kind, 'x');
            return { kind, all: names(acts), often: pages.frequent[kind], groups: rows.groupsOfActs(
                kind, acts).map((one) => [one.group, names(one.acts)]) }; })));""")
    for one in found:
        groups = dict(one["groups"])
        assert sorted(sum(groups.values(), [])) == sorted(one["all"])
        assert one.get("often") is None or one["groups"][0] == ["often", one["often"]]
        if "danger" in groups:
            assert one["groups"][-1][0] == "danger"
    assert {one["kind"]: dict(one["groups"])["danger"] for one in found
            if "danger" in dict(one["groups"])} == {
                "user": ["user del"], "room": ["room destroy"], "group": ["group del"]}
    assert dict(found[0]["groups"])["traces"] and "contact add" in dict(found[0]["groups"])["users"]


def test_the_catalogue_has_what_is_used(server):
    """Each text is used, each that is used is there; names of commands and pages are of rows."""
    texts = set(re.findall(r'"([a-z]+(?:\.[a-z0-9 -]+)?)": "',
                           (ROOT / "web/admin/english.js").read_text()))
    source = "".join(path.read_text() for path in (ROOT / "web/admin").glob("*.js*"))
    used = set(re.findall(r'[( ]"((?:app|login|confirm|page|thing|table|form|settings|dashboard|'
                          r'plot|logs|find|notice|unit|rename)\.[a-z-]+)"', source)) | {"yes", "no"}
    commands = set(rows.part("commands"))
    pages = re.findall(r'{ id: "(\w+)"', source)
    assert {text[3:] for text in texts if text.startswith("do.")} == {
        name for name, row in rows.part("commands").items() if row["x-access"] != "local"}
    assert {text[5:] for text in texts if text.startswith("page.")} == \
        {*pages, "lists", "all", "local"}
    assert {text for text in texts
            if not text.startswith(("do.", "page.", "kind.", "group."))} == \
        used - {text for text in used if text.startswith("page.")}
    named = re.findall(r'"([a-z0-9-]+ [a-z-]+|imtest|fedtest|pushtest)"',
                       (ROOT / "web/admin/pages.js").read_text())
    assert len(named) > 40 and set(named) <= commands


@pytest.mark.release
def test_text_of_users_is_text(server, pages):
    """What users can write is shown as it is and never becomes markup."""
    server.add_user("alice")
    server.ctl("user", "set", "alice@localhost", "--given-name", XSS, "--department", XSS)
    alice = server.client("alice", "a")
    alice.send("<presence/>")
    cave = Room("cave").create(alice, XSS, roomname=XSS, persistentroom=True)
    alice.iq("get", f"<request xmlns='urn:xmpp:http:upload:0' filename={quoteattr(XSS)} size='5'/>",
             to="upload.localhost")
    alice.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='x@localhost'>"
                 "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'>"
                 f"<text>{escape(XSS)}</text></report></item></block>")
    alice.result("set", "<vCard xmlns='vcard-temp'>"
                 f"<FN>{escape(XSS)}</FN><NICKNAME>{escape(XSS)}</NICKNAME></vCard>")
    server.ctl("set", "announce.subject", XSS, "--comment", XSS)
    pages.log_in(server.api.token)
    for address in (["user", "alice@localhost"], ["rooms"], ["room", str(cave)], ["reports"],
                    ["settings"], ["user", XSS], ["audit"]):
        pages.go(*(urllib.parse.quote(part, safe="") for part in address))
        # the log quotes an argument that has spaces
        shown = XSS.replace('"', '\\"') if address == ["audit"] else XSS
        assert any(shown in text for text in pages.tabs()), address
        assert pages.js("document.images.length") == 0
        assert "owned" not in pages.driver.title or XSS in pages.driver.title
    assert pages.complaints(ours=("422",)) == []  # of the user who is named like that


@pytest.mark.release
def test_directions_of_users_turn_nothing_else(server, pages):
    server.add_user("alice")
    server.ctl("user", "set", "alice@localhost", "--given-name", "\u202eevil")
    pages.log_in(server.api.token)
    pages.go("user", "alice@localhost")
    assert any("\\u202eevil" in text for text in pages.tabs())
    pages.go("user", "alice@localhost")
    assert "\\u202eevil" in pages.js(
        "[...document.querySelectorAll('main bdi')].map((one) => one.textContent)")


@pytest.mark.smoke
@pytest.mark.release
def test_a_user_is_made_and_deleted(server, pages):
    pages.log_in(server.api.token)
    pages.go("users")
    pages.click("main button", "New user")
    pages.fill_in("Address", "no address")
    pages.click("dialog .main")
    pages.find("dialog .problem", "no address")
    assert pages.js("document.activeElement.getAttribute('aria-invalid')") == "true"
    pages.fill_in("Address", "carol@localhost")
    pages.fill_in("Password", "secret of carol")
    pages.click("dialog .main")
    pages.click("main a", "carol@localhost")
    pages.find("main button", "Trace a user")
    server.ctl("test", "user-add", "carol@localhost", "--password", "secret of carol")
    assert {"No test user any more", "Stop the trace"}.isdisjoint(pages.js(
        "[...document.querySelectorAll('main button')].map((one) => one.innerText)"))
    pages.go("users")
    pages.go("user", "carol@localhost")
    pages.find("main button", "No test user any more")
    server.ctl("test", "user-del", "carol@localhost")  # the list of users has no test users
    pages.click("main button", "Delete user")
    pages.find("dialog .asks", "everything that is stored")
    assert [row["jid"] for row in server.rows("user", "list")] == ["carol@localhost"]
    pages.click("dialog .danger")
    until("the account is gone", lambda: server.rows("user", "list") == [])
    assert pages.complaints(ours=("422", "404")) == []


@pytest.mark.smoke
@pytest.mark.release
def test_login_with_a_password(server, pages, axe):
    """The banner is read first, and shown again in the console; a wrong password and a missing code
    are said; the session outlives a reload and ends when the server ends it."""
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    server.ctl("set", "console.banner", XSS)
    secret = server.rows("admin", "totp", "root")[0]["secret"]
    server.ctl("admin", "totp-confirm", "root", totp(secret, now_step()))
    pages.driver.get(pages.url)
    pages.find(".banner", XSS)
    pages.check(axe, ["login"])
    pages.click("form label", "I have read this")
    pages.type("#name", "root")
    pages.type("#password", "wrong")
    pages.click("[type=submit]")
    pages.find(".problem")
    pages.js("document.getElementById('password').select()")
    pages.type("#password", PASSWORD)
    pages.click("[type=submit]")
    pages.type("#code", totp(secret, now_step() + 1))
    pages.click("[type=submit]")
    pages.find("header", "root")
    pages.find("main#content .banner", XSS)
    pages.check(axe, [""])
    pages.click("main#content section button", "Close")
    assert pages.js("document.querySelector('.banner')") is None
    assert pages.js("document.cookie") == "" and PASSWORD not in pages.js(
        "JSON.stringify([localStorage, sessionStorage])")
    pages.go("users")
    pages.driver.refresh()
    pages.find("h1", "Users")
    pages.find("main#content .banner", XSS)
    server.ctl("admin", "end-session", server.rows("admin", "sessions")[0]["id"])
    pages.go("rooms")
    pages.find("form [role=status]", "session has ended")
    assert pages.complaints(ours=("- .*401",)) == []


@pytest.mark.release
def test_the_menu_follows_the_role(server, pages):
    """Who has another role logs in again, and sees what that role may."""
    def menu():
        return pages.js("[...document.querySelectorAll('nav a')].map((a) => a.textContent)")
    server.ctl("admin", "create", "root", "help-desk", "--password", PASSWORD)
    pages.send_password()
    pages.find("header", "help-desk")
    few = menu()
    server.ctl("admin", "role", "root", "administrator")
    pages.go("sessions")
    pages.find("dialog.over [role=status]", "session has ended")
    pages.type("#name", "root")
    pages.type("#password", PASSWORD)
    pages.click("[type=submit]", "Log in")
    pages.find("header", "administrator")
    assert set(few) < set(menu())


@pytest.mark.release
def test_what_is_to_be_done_at_the_login(server, pages, axe):
    """An old password is changed and a demanded second factor made, by forms of the login; before,
    the console has no other page, also after a reload."""
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    server.ctl("set", "admin.password-age", "30d")
    server.ctl("set", "admin.totp-roles", "administrator")
    make_old(server, "root")
    pages.send_password()
    pages.find("h1", "Second factor")
    pages.driver.refresh()
    pages.find("h1", "Log in")
    pages.send_password()
    pages.find("h1", "Second factor")
    secret = pages.find("form p code").text
    pages.check(axe, ["login"])
    pages.type("#first-code", "000000")
    pages.click("[type=submit]")
    pages.find(".problem", "clocks")
    pages.js("document.getElementById('first-code').select()")
    pages.type("#first-code", totp(secret, now_step()))
    pages.click("[type=submit]")
    pages.find("h1", "Recovery codes")
    assert len(pages.driver.find_elements("css selector", "form li code")) == 10
    pages.check(axe, ["login"])
    pages.click("[type=submit]")
    pages.find("h1", "New password")
    pages.check(axe, ["login"])
    pages.type("#new", "Another-horse-9")
    pages.type("#new-again", "Another-horse-8")
    pages.click("[type=submit]")
    pages.find(".problem", "not the same")
    pages.js("document.getElementById('new-again').select()")
    pages.type("#new-again", "Another-horse-9")
    pages.click("[type=submit]")
    pages.find("header", "root")
    assert {r["name"]: r["totp"] for r in server.rows("admin", "list")}["root"]
    assert pages.complaints(ours=("- .*40[13]",)) == []


@pytest.mark.release
def test_what_destroys_asks_for_the_password_again(server, pages):
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    server.add_user("alice")
    pages.send_password()
    pages.find("header", "root")
    server.ctl("set", "console.confirm-time", "0s")
    pages.go("user", "alice@localhost")
    pages.click("main button", "Delete user")
    pages.click("dialog .danger")
    pages.type("#again", "wrong")
    pages.click("dialog[open] form:has(#again) .main")
    pages.find("dialog .problem")
    pages.js("document.getElementById('again').select()")
    pages.type("#again", PASSWORD)
    pages.click("dialog[open] form:has(#again) .main")
    until("the account is gone", lambda: server.rows("user", "list") == [])
    assert pages.complaints(ours=("- .*40[134]",)) == []
    pages.log_out()
    assert server.rows("admin", "sessions") == []


@pytest.mark.release
def test_a_certificate_is_requested_and_taken_into_use(server, pages, tmp_path):
    server.ctl("admin", "create", "root", "administrator", "--password", PASSWORD)
    pages.send_password()
    pages.find("header", "root")
    server.ctl("set", "console.confirm-time", "0s")
    pages.go("certificates")
    for heading in "Chains", "What partners will dislike":
        pages.find("main [role=tab]", heading)
    pages.find("main", "CN=localhost")
    pages.click("main button", "Request a certificate")
    pages.fill_in("Domains", "localhost")
    pages.click("dialog .main")
    request = pages.find("dialog pre", "END CERTIFICATE REQUEST").text
    pages.click("dialog button", "Close")
    authority = Authority(tmp_path)
    leaf = authority.sign(request)
    pages.click("main button", "Take a certificate into use")
    pages.fill_in("Domains", "localhost")
    pages.fill_in("Certificate", leaf.public_bytes(Encoding.PEM).decode())
    pages.click("dialog .danger")
    pages.type("#again", PASSWORD)
    pages.click("dialog[open] form:has(#again) .main")
    pages.find("dialog .problem", "is neither in the text nor known")
    pages.fill_in("Certificate", authority.chain(leaf).decode())
    pages.click("dialog .danger")
    pages.type("#again", PASSWORD)
    pages.click("dialog[open] form:has(#again) .main")
    until("it is in use", lambda: fingerprint(leaf) in str(server.rows("cert", "show")))
    pages.find("main", "CN=middle")
    pages.click("main [role=tab]", "What partners will dislike")
    pages.find("main tbody td", "does not trust")
    assert pages.complaints(ours=("- .*4[02][123]",)) == []


@pytest.mark.smoke
@pytest.mark.release
def test_settings_are_edited_compared_and_applied(server, pages):
    pages.log_in(server.api.token)
    pages.go("settings")
    pages.type("main input[type=search]", "groups.members-max")
    pages.click("main button.link", "groups.members-max")
    pages.js("document.querySelector('dialog input').select()")
    pages.type("dialog input", "44" + Keys.ENTER)
    pages.find(".candidate td", "groups.members-max")
    pages.js("document.querySelector('main input[type=search]').select()")
    pages.type("main input[type=search]", "announce.subject")
    pages.click("main button.link", "announce.subject")
    pages.find("dialog .doc", "subject of announcements")
    pages.js("document.querySelector('dialog textarea').select()")
    pages.type("dialog textarea", "News")
    pages.click("dialog .main")
    pages.find(".candidate td", "News")
    assert server.rows("get", "announce.subject")[0]["value"] == "Announcement"
    pages.click(".candidate .main")
    assert pages.find("dialog h2").text == "Check and apply"
    pages.fill_in("Comment", "as asked for")
    pages.click("dialog .main")
    until("it applies", lambda: server.rows("get", "announce.subject")[0]["value"] == "News")
    pages.click("dialog button", "Close")
    pages.click("[role=tab]", "History")
    pages.find("td", "as asked for")
    assert pages.complaints() == []


@pytest.mark.release
def test_a_group_is_made_and_gets_a_member(server, pages):
    """What a line offers knows the group; who is in it is one click away."""
    server.add_user("alice")
    pages.log_in(server.api.token)
    pages.go("groups")
    pages.click("main button", "New group")
    pages.fill_in("Name", "sales")
    pages.click("dialog .main")
    pages.click("main tbody button", "Add members")
    pages.fill_in("Users", "alice@localhost")
    pages.click("dialog .main")
    until("she is in it", lambda: server.rows("group", "list")[0]["members"] == 1)
    pages.click("main tbody a", "sales")
    pages.click("main tbody a", "alice@localhost")
    pages.find("h1", "alice@localhost")
    assert pages.complaints() == []


@pytest.mark.release
@pytest.mark.sqlite
def test_a_hundred_thousand_users_and_two_thousand_rooms(server, pages):
    """The server makes the pages, also of what is looked for."""
    server.add_user("zora")
    server.ctl("room", "create", "hall@conference.localhost", "zora@localhost")
    server.stop()
    with server.database() as db:
        db.execute("INSERT INTO account(jid, created_us, disabled) WITH RECURSIVE n(i) AS "
                   "(VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < 99999) "
                   "SELECT 'user' || printf('%06d', i) || '@localhost', 0, 0 FROM n")
        db.execute("INSERT INTO room(id, jid, domain, name, listed, secret, config, subject, "
                   "creator, created_us) WITH RECURSIVE n(i) AS "
                   "(VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT id + i, "
                   "'room' || printf('%04d', i) || '@conference.localhost', domain, name, listed, "
                   "secret, config, subject, creator, created_us FROM room, n")
    server.start()
    pages.log_in(server.api.token)
    pages.go("users")
    pages.find("main a", "user000099@localhost")
    assert pages.js("document.querySelectorAll('tbody tr').length") == 100
    pages.click("main button", "Next page")
    pages.find("main a", "user000199@localhost")
    pages.find("main [role=status]", "Rows 101 to 200")
    pages.click("main button", "Next page")
    pages.find("main [role=status]", "Rows 201 to 300")
    assert "--" not in pages.js("document.querySelector('main').innerText")
    pages.click("main button", "Previous page")
    pages.find("main a", "user000199@localhost")
    pages.type("[title*='this text'] input", "r098765")
    until("it alone is shown", lambda: pages.js(
        "[...document.querySelectorAll('tbody a')].map(a => a.innerText)") == [
            "user098765@localhost"])
    pages.js("document.querySelector('[title*=\"this text\"] input').select()")
    pages.type("[title*='this text'] input", "nobody")
    pages.find("main", "Nothing here")
    pages.go("rooms")
    pages.click("[role=tab]", "List")
    pages.find("main a", "room0050@conference.localhost")
    assert pages.js("document.querySelectorAll('tbody tr').length") == 100
    pages.click("main button", "Next page")
    pages.find("main a", "room0150@conference.localhost")
    pages.click("header button", "Search")
    pages.type("#find", "099999")
    pages.find("dialog a", "user099999@localhost")
    assert pages.complaints() == []


@pytest.mark.smoke
@pytest.mark.release
def test_dashboard_is_live(make_server, tmp_path):
    """Figures come by themselves, as do lines of the log, with the rates of an installation. The
    picture of the page is of this test."""
    server = api_server(make_server, **{f"api.requests-per-{who}": "100"
                                        for who in ("token", "address")})
    for name in "alice", "bob", "carol":
        server.add_user(name)
        server.client(name, "a")
    with opened(server, tmp_path / "browser") as pages:
        pages.resize(1280, 800)
        pages.log_in(server.api.token)
        pages.click("main button", "24 hours")
        until("three sessions", lambda: pages.figure("Sessions") == "3 sessions", 3 * TIMEOUT)

        def plot():
            return pages.js("document.querySelector('.card canvas').getAttribute('aria-label')")
        early = plot()  # it may be of what was asked for; the next one is of an event
        until("an event", lambda: plot() != early and "highest 3" in plot(), 3 * TIMEOUT)
        server.ctl("session", "kick", "carol@localhost")
        until("fewer sessions", lambda: pages.figure("Sessions") == "2 sessions", 3 * TIMEOUT)
        assert "highest 3" in plot()
        pages.save("console-dashboard")
        pages.go("logs")
        until("a line of the log", lambda: server.client("carol").close() or
              "auth.ok" in pages.js("document.querySelector('.log').innerText"), 3 * TIMEOUT)
        pages.save("console-logs")
        assert pages.complaints() == []


@pytest.mark.release
def test_keys_and_the_token(server, pages):
    pages.log_in(server.api.token)
    assert pages.find("header span").text == "token tests (administrator)"
    assert "Reference of the API" not in pages.find("main").text  # it needs a cookie
    assert pages.js("JSON.stringify([localStorage, sessionStorage, document.cookie])") == \
        '[{},{},""]'
    assert pages.js("document.querySelector('a, button').className") == "skip"
    pages.js("document.querySelector('.skip').focus()")
    pages.type(".skip", Keys.ENTER)
    assert pages.js("document.activeElement.id") == "content"
    pages.go("users")
    assert pages.js("document.activeElement.tagName") == "H1"
    pages.click("main button", "New user")
    pages.find("dialog input")
    assert pages.js("document.activeElement === document.querySelector('dialog input')")
    pages.type("dialog input", Keys.ESCAPE)
    until("the dialog has gone", lambda: pages.js("document.querySelector('dialog')") is None)
    assert pages.js("document.activeElement.innerText") == "New user"
    pages.click("header button", "Search")
    pages.find("#find")
    assert pages.js("document.activeElement.id") == "find"
    pages.click("dialog header button")
    until("the dialog has gone", lambda: pages.js("document.querySelector('dialog')") is None)
    assert pages.js("document.activeElement.innerText") == "Search"
    server.ctl("token", "revoke", "tests")
    pages.go("rooms")
    pages.find("form [role=status]", "session has ended")
    pages.driver.refresh()
    pages.find("#name")


@pytest.mark.release
def test_a_framed_console_shows_nothing(server, pages, tmp_path):
    outside = tmp_path / "outside.html"
    outside.write_text(f"<iframe src='{pages.url}'></iframe>")
    pages.driver.get(outside.as_uri())
    until("the frame is refused", lambda: any(
        "frame-ancestors" in entry["message"] or "X-Frame-Options" in entry["message"]
        for entry in pages.driver.get_log("browser")))


def test_times_of_a_test_are_drawn(server):
    """One line for each test; one that made no connection has no time."""
    script.told = server.api("GET", "/description").json
    assert script("""
        const plot = pages.pages.find((page) => page.id === 'tests').plots['test history'];
        const row = (test, at, latency_ms) =>
            ({ test, time: `2026-01-01T00:00:0${at}Z`, latency_ms });
        console.log(JSON.stringify(rows.seriesOf([row('imtest', 2, 1500),
            row('fedtest', 1, 3660000), row('imtest', 1, 20), row('imtest', 3)], plot)
            .map(({ name, points }) => [name, points.map((p) => p.y)])));
        """) == [["imtest", [20, 1500]], ["fedtest", [3660000]]]


def test_options_and_commands_are_said_as_fields_and_buttons(server):
    """What the texts of rows call as one types it has another name here."""
    script.told = server.api("GET", "/description").json
    found = script("""
        import { plain } from '%s/web/admin/text.js';
        const texts = [...told.settings.values(), ...told.list.flatMap((c) => [c, ...c.args,
            ...c.columns])].map((row) => row.doc);
        console.log(JSON.stringify({ texts, log: told.commands.get('log list').doc,
            said: plain('give --given-name, or `trace list`, not `x --y` `', told.commands) }));
        """ % ROOT)
    assert found["said"] == ("give “Given name”, or “Message trace › Users under trace”, "
                             "not `x --y` `")
    assert "shown only with “Area”, to those" in found["log"]
    assert [text for text in found["texts"]
            if re.search("(^|[ (`])--[a-z]", re.sub("`[^`]* [^`]*`", "", text))] == []


def test_a_text_says_where_a_command_is(server):
    """Titles are short, since they are on a page. In a text each command has words of its own."""
    script.told = server.api("GET", "/description").json
    found = script("""
        import { plain } from '%s/web/admin/text.js';
        const say = (text) => plain(text, told.commands);
        const texts = [...told.settings.values(), ...told.list.flatMap((c) => [c, ...c.args,
            ...c.columns])].map((row) => row.doc);
        console.log(JSON.stringify({ texts, names: Object.fromEntries(
            told.list.map(({ name }) => [name, [say('`' + name + '`'),
                                                say('`musterctl ' + name + '`')]])) }));
        """ % ROOT)
    assert found["names"]["alarm list"] == ["“Alarms › Active”"] * 2
    said = [words for words, _ in found["names"].values()]
    assert sorted(words for words in set(said) if said.count(words) > 1) == []
    assert all(one == other for one, other in found["names"].values())
    mentioned = {code for text in found["texts"]
                 for code in re.findall("`musterctl ([^`]*)`", text)}
    assert not {code for code in mentioned if code in found["names"] or code.startswith("-")}


def test_people_and_memory_are_named_as_people_name_them(server):
    script.told = server.api("GET", "/description").json
    assert script("""
        import { person, shown } from '%s/web/admin/text.js';
        const { columns } = told.commands.get('status');
        const memory = columns.find((column) => column.name === 'rss_kib');
        console.log(JSON.stringify([...['console:root/12eb', 'console:alice@localhost/1',
            'token:backup'].map(person), shown(memory, 126362), shown(memory, -1)]));
        """ % ROOT) == ["root", "alice@localhost", "token backup", "123 MiB", "–"]


def test_what_has_the_name_that_is_looked_for_is_first(server):
    script.told = server.api("GET", "/description").json
    assert script("""
        const found = rows.nearest([...told.settings.values()].filter((setting) =>
            `${setting.name} ${setting.doc}`.includes('http.')), ' HTTP.header-bytes ');
        console.log(JSON.stringify([found[0].name, rows.nearest(['c', 'ab', 'xa', 'a'].map(
            (name) => ({ name })), 'a').map(({ name }) => name)]));""") == [
                "http.header-bytes", ["a", "ab", "xa", "c"]]
    long = {row["name"] for row in script.told["settings"] if row.get("long")}
    assert "console.banner" in long and not long & {"http.header-bytes", "s2s.dns-servers"}


def test_names_of_columns_and_arguments_are_words(server):
    """Whatever row is added: no name of a programmer's is shown to an operator."""
    script.told = server.api("GET", "/description").json
    shown = script("""
        import { label } from '%s/web/admin/text.js';
        const names = told.list.flatMap((c) => [
            ...c.columns.map((x) => [c.name, x.title || label(x.name)]),
            ...c.args.map((x) => [c.name, label(x.name)])]);
        console.log(JSON.stringify(names));""" % ROOT)
    assert len(shown) > 500
    assert [name for name in shown if machine_made(name[1])] == []
    assert all(map(machine_made, ("Jid", "Rss kib", "rss_kib", "Idle s", "Tls min", "Since-s")))


SHORTENED = {"jid", "id", "kib", "mib", "ms", "us", "url", "uri", "srv", "ocsp", "csr", "xmpp",
             "auth", "def", "del", "args", "doc", "min", "max", "num", "addr", "src", "dst"}


def machine_made(text):
    """Whether it has words that are joined, shortened, without vowels, or units as one letter."""
    words = re.findall(r"[^\W_]+", text)
    return "_" in text or not text[:1].isupper() or any(
        word == "s" or word != word.upper() and
        (word.lower() in SHORTENED or not re.search("[aeiouy]", word.lower()))
        for word in words if not word.isdigit() and word != "KiB")
