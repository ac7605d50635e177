"""The web console at /admin: its files, what it is told, and used in a browser (Chromium, headless)
as each role. MUSTER_PICTURES=FOLDER saves the pages that docs/console.md shows."""
import contextlib
import gzip
import http.client
import shutil

import pytest

from muster import rows
from muster.client import TIMEOUT, until
from muster.server import ROOT
from test_api import Api, api_server
from test_roles import ROLES, granted
from test_webchat import Browser, directives, webdriver

AXE = ROOT / "test/js/node_modules/axe-core/axe.min.js"
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
    for path in "/admin/", "/admin/app.js", "/admin/style.css", "/admin/icon.svg", "/admin/no":
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
            if granted(patterns, row["x-permission"]) and (row["x-access"] == "local") == local}
    assert bool(told["settings"]) == granted(patterns, "settings.read")
    assert told["who"]["role"] == role
    gone = next((row for row in told["commands"] if row["name"] == "user del"), None)
    assert gone is None or "deleted" in gone["asks"]


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
        self.driver.get("about:blank")
        self.driver.get(self.url)
        self.type("#token", secret)
        self.click("[type=submit]")
        self.find("nav a")

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

    def menu(self):
        return self.js("[...document.querySelectorAll('nav a')].map(a => a.hash.slice(2))")

    def dark(self, on):
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if on else "light"}]})

    def faults(self):
        """What axe-core finds that is serious."""
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run({resultTypes: ['violations']}).then(r => done(r.violations))")
        return [(one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"])
                for one in found if one["impact"] in ("serious", "critical")]


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
        yield made
