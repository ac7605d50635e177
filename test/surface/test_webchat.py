"""The chat client at /chat: its files over HTTP, and used in a browser (Chromium, headless)."""
import contextlib
import gzip
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import struct
import zlib

import pytest

from harness import xml
from harness.client import TIMEOUT, until
from harness.muc import Room

try:
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
except ImportError:
    webdriver = None

ROOT = pathlib.Path(__file__).parents[2]
CHAT = ROOT / "build/share/muster/chat"
PAGE = "<!DOCTYPE html>\n<title>Chat</title>\n"
SCRIPT = "/* a script */\n" * 50000


def get(server, path, headers=None, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=TIMEOUT)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


@pytest.fixture
def files(server, tmp_path):
    """A folder with a page, and one of a version with a script."""
    folder = tmp_path / "chat"
    (folder / "1.0").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "1.0/client.js").write_text(SCRIPT)
    (folder / "1.0/client.js.gz").write_bytes(gzip.compress(SCRIPT.encode()))
    (folder / "1.0/notes").write_text("not for browsers")
    (folder / "1.0/folder.js").mkdir()
    (tmp_path / "secret.json").write_text("{}")
    server.ctl("set", "web.chat-files", folder)
    return folder


def directives(answer):
    return {one.split()[0]: one.split()[1:]
            for one in answer.getheader("Content-Security-Policy").split(";")}


def test_page(server, files):
    answer = get(server, "/chat")
    assert (answer.status, answer.getheader("Location")) == (302, "/chat/")
    answer = get(server, "/")
    assert (answer.status, answer.getheader("Location")) == (302, "/chat/")
    answer = get(server, "/chat/", {"Host": "chat.example:8443"})
    assert answer.status == 200 and answer.body.decode() == PAGE
    assert answer.getheader("Content-Type") == "text/html; charset=utf-8"
    assert answer.getheader("Cache-Control") == "no-cache"
    policy = directives(answer)
    assert policy["default-src"] == ["'none'"] and policy["frame-ancestors"] == ["'none'"]
    assert policy["script-src"] == ["'self'", "'wasm-unsafe-eval'"]
    assert "ws://chat.example:8443" in policy["connect-src"]
    again = get(server, "/chat/", {"If-None-Match": answer.getheader("ETag")})
    assert (again.status, again.body) == (304, b"")
    (files / "index.html").write_text(PAGE * 2)
    assert get(server, "/chat/", {"If-None-Match": answer.getheader("ETag")}).status == 200


def test_files(server, files):
    plain = get(server, "/chat/1.0/client.js")
    assert plain.body.decode() == SCRIPT and plain.getheader("Content-Encoding") is None
    assert plain.getheader("Content-Type") == "text/javascript; charset=utf-8"
    assert "immutable" in plain.getheader("Cache-Control")
    packed = get(server, "/chat/1.0/client.js", {"Accept-Encoding": "br, gzip"})
    assert packed.getheader("Content-Encoding") == "gzip"
    assert gzip.decompress(packed.body).decode() == SCRIPT
    assert packed.getheader("ETag") != plain.getheader("ETag")
    head = get(server, "/chat/1.0/client.js", method="HEAD")
    assert (int(head.getheader("Content-Length")), head.body) == (len(SCRIPT), b"")


def test_reader_that_is_slow(server, files):
    """The rest is read from the file when it can be sent; one that leaves is forgotten."""
    (files / "1.0/large.js").write_text(SCRIPT * 40)
    request = b"GET /chat/1.0/large.js HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    socks = [socket.create_connection(("127.0.0.1", server.http_port), TIMEOUT) for _ in range(4)]
    for sock in socks:
        sock.sendall(request)
    assert all(sock.recv(100).startswith(b"HTTP/1.1 200 OK") for sock in socks)
    for sock in socks[1:]:
        sock.close()
    with socks[0] as sock:
        got = b"".join(iter(lambda: sock.recv(1 << 20), b""))
    assert got.partition(b"\r\n\r\n")[2].decode() == SCRIPT * 40


@pytest.mark.parametrize("path", [
    "/chat/none.js", "/chat/1.0/notes", "/chat/1.0/", "/chat/1.0/folder.js", "/chatter",
    "/chat/1.0/client.js/more.js", "/chat//etc/passwd", "/chat/" + "a" * 5000 + ".js",
    "/chat/" + "a" * 300 + ".js"])
def test_what_is_not_served(server, files, path):
    assert get(server, path).status == (414 if len(path) > 4000 else 404)


def test_nothing_outside_is_served(server, files):
    for path in ("/chat/../secret.json", "/chat/%2e%2e/secret.json", "/chat/1.0/..%2f../x.json"):
        assert get(server, path).status == 400


def test_hostile_host(server, files):
    """What a Host header says does not get into the policy unless it is an origin."""
    for host in ("x;script-src *", "x script-src", "x,y", "'unsafe-eval'"):
        answer = get(server, "/chat/", {"Host": host})
        if answer.status == 200:
            policy = answer.getheader("Content-Security-Policy")
            assert "script-src *" not in policy and policy.count("script-src") == 1
            assert "unsafe-eval'" not in policy.replace("wasm-unsafe-eval'", "")


def settings(server):
    return json.loads(get(server, "/chat/settings.json").body)


def test_settings(server, files):
    found = settings(server)
    assert found["domain"] == "localhost" and found["websocket"] == "/xmpp-websocket"
    assert found["users"] == "search.localhost" and found["rooms"] == "conference.localhost"
    server.ctl("set", "search.enabled", "off")
    assert "users" not in settings(server)
    server.ctl("set", "web.chat-path", "/talk/here")
    assert get(server, "/talk/here/").body.decode() == PAGE
    assert get(server, "/chat/").status == 404
    for bad in ("talk", "/", "/talk/", "/a b", "//x", "/%41"):
        assert server.ctl_run("set", "web.chat-path", bad).returncode != 0
    server.ctl("set", "web.chat", "off")
    assert get(server, "/talk/here/").status == 404


def test_settings_of_the_login_page(server, files, tmp_path):
    server.ctl("set", "c2s.tls-required", "off")
    server.ctl("set", "register.enabled", "off")
    found = settings(server)
    assert found["title"] == "localhost" and "logo" not in found
    assert found["registration"] is False and found["encryption"] == "fine"
    server.ctl("set", "register.enabled", "on")
    server.ctl("set", "web.title", 'Tea & "Hat" Ltd')
    picture_file = tmp_path / "logo.png"
    picture_file.write_bytes(picture())
    server.ctl("set", "web.logo", picture_file)
    found = settings(server)
    assert found["title"] == 'Tea & "Hat" Ltd' and found["registration"] is True
    logo = get(server, "/chat/" + found["logo"])
    assert logo.body == picture() and logo.getheader("Content-Type") == "image/png"
    assert logo.getheader("Cache-Control") == "no-cache"
    for bad in ("logo.png", "/etc/passwd", "/x.html"):
        assert server.ctl_run("set", "web.logo", bad).returncode != 0
    server.ctl("set", "web.logo", "")
    assert get(server, "/chat/logo").status == 404


def test_plain_http_where_tls_is_required(server, files):
    server.ctl("set", "c2s.tls-required", "on")
    found = settings(server)
    assert found["encryption"] == "missing" and found["registration"] is False
    assert found["https"] == f"https://localhost:{server.https_port}/chat/"
    server.ctl("set", "http.trusted-proxies", "127.0.0.1")
    behind = get(server, "/chat/settings.json", {"X-Forwarded-Proto": "https"})
    assert json.loads(behind.body)["encryption"] == "fine"


def test_domain_of_the_host(make_server):
    books = "b\u00fccher.example"
    server = make_server(domains=("one.example", "two.example", books))
    for host, domain in (("two.example", "two.example"), ("chat.two.example:5280", "two.example"),
                         ("Two.Example.:5280", "two.example"), ("xn--bcher-kva.example", books),
                         ("nottwo.example", "one.example"), ("127.0.0.1", "one.example")):
        found = json.loads(get(server, "/chat/settings.json", {"Host": host}).body)
        assert found["domain"] == domain


@pytest.mark.parametrize("each", [False, True])
def test_many_domains(make_server, files, each):
    """The page works whatever the number of domains is; its own comes first."""
    domains = tuple(f"a-domain-with-a-long-name-{i}.example" for i in range(64))
    server = make_server(domains=domains)
    server.ctl("set", "web.chat-files", files)
    for i, domain in enumerate(domains if each else ()):
        server.ctl("set", f"upload.base-url@{domain}", f"https://files-of-{i}.{domain}/" + "u" * 40)
    for domain in domains[0], domains[63]:
        policy = directives(get(server, "/chat/", {"Host": domain}))
        assert policy["script-src"] == ["'self'", "'wasm-unsafe-eval'"]
        assert f"ws://{domain}" in policy["connect-src"]
        assert any(one.startswith((f"http://{domain}", f"https://{domain}"))
                   for one in policy["img-src"])
        if each:
            assert any(one.startswith("https://files-of-") and domain in one
                       for one in policy["img-src"])


def test_not_installed(server, tmp_path):
    server.ctl("set", "web.chat-files", tmp_path / "nothing")
    answer = get(server, "/chat/")
    assert answer.status == 404 and b"make web" in answer.body
    server.ctl("set", "web.chat", "off")
    assert get(server, "/").status == 404


# --- in a browser ---


class Browser:
    """Chromium without a screen; what is looked for is named by CSS."""

    def __init__(self, folder):
        options = webdriver.ChromeOptions()
        for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage",
                         "--ignore-certificate-errors", "--window-size=1000,700", "--lang=en",
                         f"--user-data-dir={folder}", *(["--no-sandbox"] * (os.getuid() == 0))):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")),
                                       options=options)

    def find(self, css, text="", act=lambda element: None):
        """The first element that is there, shows the text, and lets `act` be done."""
        def found():
            for element in self.driver.find_elements(By.CSS_SELECTOR, css):
                with contextlib.suppress(WebDriverException):  # drawn anew, or not to be used yet
                    if text in element.text:
                        act(element)
                        return element
            return None
        try:
            return until(f"{css} {text}", found, 3 * TIMEOUT)
        except AssertionError as late:
            shown = self.driver.find_element(By.TAG_NAME, "body").text
            raise AssertionError("\n".join([str(late), *self.complaints(), shown])) from None

    def click(self, css, text=""):
        self.find(css, text, lambda element: element.click())

    def type(self, css, *keys):
        self.find(css, act=lambda element: element.send_keys(*keys))

    def fill(self, css, text):
        """Puts a text into a field at once. What is typed letter by letter starts a search for
        suggestions, on a busy machine."""
        self.find(css, act=lambda element: self.driver.execute_script(
            "arguments[0].value = arguments[1]", element, text))

    def login(self, url, jid, password):
        self.driver.get(url)
        self.type("#converse-login input[name=jid]", jid)
        self.type("#converse-login input[name=password]", password)
        self.click("#converse-login [type=submit]")

    def say(self, text):
        self.type("textarea.chat-textarea", text, Keys.ENTER)

    def say_in_room(self, text):
        """The form takes keys from when the client knows again that it is in the room."""
        until("the form of the room", lambda: self.driver.execute_script(
            "return Boolean(document.querySelector('converse-muc-message-form')?.auto_complete)"))
        self.type("converse-muc textarea.chat-textarea", text, Keys.ENTER)

    def asked(self):
        """Addresses that the browser asked since the last call."""
        events = (json.loads(entry["message"])["message"]
                  for entry in self.driver.get_log("performance"))
        return [event["params"]["request"]["url"] if "request" in event["params"]
                else event["params"]["url"] for event in events
                if event["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated")]

    def complaints(self):
        """What the browser complained of, and what it asked another server than ours."""
        said = [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] == "SEVERE"]
        return said + [url for url in self.asked()
                       if not re.match(r"(https?|wss?)://localhost:|data:|blob:|chrome", url)]

    def resize(self, width, height):
        """The page itself gets that size."""
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})

    def save(self, name):
        if "MUSTER_PICTURES" in os.environ:
            self.driver.save_screenshot(f"{os.environ['MUSTER_PICTURES']}/{name}.png")


@contextlib.contextmanager
def opened(tmp_path, count):
    """So many browsers; skips where there are none, or no page for them."""
    if webdriver is None or shutil.which("chromedriver") is None:
        pytest.skip("needs chromium, chromium-driver and python3-selenium")
    if not (CHAT / "index.html").exists():
        pytest.skip("needs make web")
    version = next(CHAT.glob("*/converse.min.js")).parent.name
    for name in os.listdir(ROOT / "web/chat"):
        if name.startswith("package"):
            continue
        source = (ROOT / "web/chat" / name).read_text()
        assert (CHAT / name).read_text() == source.replace("@VERSION@", version), "needs make web"
    with contextlib.ExitStack() as stack:
        made = []
        for i in range(count):
            made.append(Browser(tmp_path / f"browser{i}"))
            stack.callback(made[-1].driver.quit)
        yield made


@pytest.fixture
def browser(tmp_path):
    with opened(tmp_path, 1) as made:
        yield made[0]


def picture(width=240, height=120):
    """A PNG of colours."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in (x, 2 * y, 160))
                    for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0,
                                                               0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


@pytest.mark.smoke
@pytest.mark.release
@pytest.mark.parametrize("way", ["websocket", "bosh"])
def test_chat(server, browser, tmp_path, way):
    """alice in the browser, bob with a client of ours: roster, presence, chat, a picture. With
    MUSTER_PICTURES=FOLDER pages are saved as PNG."""
    server.ctl("set", "http.base-url", f"https://localhost:{server.https_port}")
    if way == "bosh":
        server.ctl("set", "websocket.path", "")
    server.befriend("alice", "bob")
    bob = server.client("bob", "b")
    browser.login(f"https://localhost:{server.https_port}/chat", "alice@localhost", "secret")
    bob.expect(lambda e: e.tag == f"{{{xml.CLIENT}}}presence" and not e.get("type")
               and e.get("from").startswith("alice@localhost/"))
    sessions = next(row["value"] for row in server.rows("metrics")
                    if row["name"] == "muster_bosh_sessions")
    assert sessions == (way == "bosh")
    browser.click(".list-item.online a.open-chat[data-jid='bob@localhost']")
    browser.say("hello from the browser")
    message = bob.expect("<message type='chat'><body>hello from the browser</body></message>")
    bob.send(f"<message to='{message.get('from')}' type='chat' id='x'><body>hello yourself</body>"
             "</message>")
    browser.find("converse-chat-message-body", "hello yourself")
    browser.say("a picture for you")
    (tmp_path / "picture.png").write_bytes(picture())
    browser.type("input.fileupload", str(tmp_path / "picture.png"))
    message = bob.expect("<message type='chat'><x xmlns='jabber:x:oob'/></message>")
    url = message.findtext("{jabber:x:oob}x/{jabber:x:oob}url")
    assert url.startswith(f"https://localhost:{server.https_port}/upload/"), xml.canonical(message)
    image = browser.find(f"img.chat-image[src='{url}']")
    until("the picture", lambda: image.get_property("naturalWidth") == 240)
    bob.send("<presence><show>dnd</show></presence>")
    browser.find(".list-item.dnd a.open-chat[data-jid='bob@localhost']")
    bob.send("<presence/>")
    browser.find(".list-item.online a.open-chat[data-jid='bob@localhost']")
    browser.save("chat")
    assert browser.complaints() == []


@pytest.mark.release
@pytest.mark.parametrize("way", ["websocket", "bosh"])
def test_reload(server, browser, way):
    """The session goes on, and so does the room that it is in."""
    if way == "bosh":
        server.ctl("set", "websocket.path", "")
    server.befriend("alice", "bob")
    room, bob = Room("cave"), server.client("bob", "b")
    room.create(bob, "firstwitch")
    browser.login(f"https://localhost:{server.https_port}/chat", "alice@localhost", "secret")
    alice = bob.expect(lambda e: e.tag == f"{{{xml.CLIENT}}}presence" and not e.get("type")
                       and e.get("from").startswith("alice@localhost/converse")).get("from")
    browser.driver.execute_script(f"location.hash = '#converse/room?jid={room.jid}'")
    bob.expect(f"<presence from='{room.jid}/alice' type='-'/>")
    browser.driver.execute_script("location.hash = ''")
    for said in "one", "two":
        browser.find("textarea.chat-textarea")
        browser.driver.refresh()
        bob.send(f"<message to='{alice}' type='chat'><body>{said}</body></message>")
        browser.click(".list-item a.open-chat[data-jid='bob@localhost']")
        browser.find("converse-chat-message-body", said)
        browser.say(f"read {said}")
        bob.expect(f"<message from='{alice}'><body>read {said}</body></message>")
        browser.click(f".list-item a.open-room[data-room-jid='{room.jid}']")
        browser.say_in_room(f"told {said}")
        bob.expect(f"<message from='{room.jid}/alice'><body>told {said}</body></message>")
    assert browser.complaints() == []
    bob.expect_nothing(f"<presence from='{room.jid}/alice'/>")


@pytest.mark.release
def test_wrong_password(server, browser):
    browser.login(f"https://localhost:{server.https_port}/chat", "alice@localhost", "wrong")
    browser.find("#converse-login .alert, #converse-login .text-danger, .alert-danger")
    assert server.rows("session", "list") == []


def assert_fits(browser):
    """Nothing of the page has to be scrolled into view."""
    hidden = browser.driver.execute_script("""
        const scrolls = (e, way) => e === document.documentElement
            || /auto|scroll/.test(getComputedStyle(e)[way]);
        return [...document.querySelectorAll("html, body, #conversejs *")].filter((e) =>
            (scrolls(e, "overflowY") && e.scrollHeight > e.clientHeight + 1)
            || (scrolls(e, "overflowX") && e.scrollWidth > e.clientWidth + 1))
            .map((e) => `${e.tagName}.${e.className} is ${e.scrollWidth} x ${e.scrollHeight} in `
                + `${e.clientWidth} x ${e.clientHeight}`)""")
    assert hidden == []


@pytest.mark.release
@pytest.mark.parametrize("registration", ["off", "on"])
def test_login_page(server, browser, tmp_path, registration):
    """It is the organisation's, and fits a phone and a small window."""
    server.ctl("set", "web.title", "Tea Party")
    server.ctl("set", "register.enabled", registration)
    (tmp_path / "logo.png").write_bytes(picture())
    server.ctl("set", "web.logo", tmp_path / "logo.png")
    browser.resize(1280, 657)
    browser.driver.get(f"https://localhost:{server.https_port}/chat/")
    browser.find("converse-brand-logo", "Tea Party")
    browser.find("#converse-login [type=submit]")
    assert browser.driver.title == "Tea Party"
    logo = browser.find("converse-brand-logo img")
    until("the logo", lambda: logo.get_property("naturalWidth") == 240)
    offered = browser.driver.find_elements(By.CSS_SELECTOR, "converse-register-link a")
    assert bool(offered) == (registration == "on")
    shown = browser.driver.find_element(By.TAG_NAME, "body").text
    assert "ponsor" not in shown and "messaging freedom" not in shown
    for name, size in (("window", (1280, 657)), ("phone", (390, 664)), ("small", (320, 568))):
        browser.resize(*size)
        browser.save(f"login-{registration}-{name}")
        assert_fits(browser)
    with_licence = browser.find("converse-footer a").get_property("href")
    assert b"Mozilla Public License" in get(server, with_licence.partition(
        str(server.https_port))[2]).body
    assert browser.complaints() == []


@pytest.mark.release
def test_registration(server, browser):
    """An account is made on the page, here and nowhere else, and is logged in."""
    server.ctl("set", "register.enabled", "on")
    browser.driver.get(f"https://localhost:{server.https_port}/chat/")
    browser.click("converse-register-link a")
    browser.type("#converse-register input[name=username]", "dormouse")
    browser.type("#converse-register input[name=password]", "treacle-well-7")
    browser.save("register")
    browser.click("#converse-register input[type=submit]")
    until("the account", lambda: any(row["jid"].startswith("dormouse@localhost")
                                     for row in server.rows("session", "list")))
    assert browser.complaints() == []


@pytest.mark.release
def test_plain_http_says_what_to_do(server, browser):
    server.ctl("set", "c2s.tls-required", "on")
    browser.resize(1280, 657)
    browser.driver.get(f"http://localhost:{server.http_port}/chat/")
    browser.find("#no-encryption", "not encrypted")
    browser.save("plain")
    link = browser.find("#no-encryption a").get_property("href")
    assert link == f"https://localhost:{server.https_port}/chat/"
    assert not any(url.startswith("ws") for url in browser.asked())
    assert browser.complaints() == []


@pytest.mark.release
@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_directory(server, browser):
    """Rooms and people are searched on this server."""
    bob, carol = server.client("bob", "b"), server.client("carol", "c")
    bob.result("set", "<vCard xmlns='vcard-temp'><N><FAMILY>Dodgson</FAMILY><GIVEN>Charles</GIVEN>"
               "</N></vCard>")
    carol.send("<presence to='croquet@conference.localhost/carol'>"
               "<x xmlns='http://jabber.org/protocol/muc'/></presence>")
    carol.result("set", "<query xmlns='http://jabber.org/protocol/muc#owner'>"
                 "<x xmlns='jabber:x:data' type='submit'/></query>",
                 to="croquet@conference.localhost")
    browser.login(f"https://localhost:{server.https_port}/chat", "alice@localhost", "secret")
    browser.click("converse-rooms-list .dropdown-toggle")
    browser.click("converse-rooms-list .show-add-muc-modal")
    browser.type("converse-add-muc-modal input[name=chatroom]", "croq")
    browser.find("converse-add-muc-modal li", "croquet@conference.localhost")
    browser.save("rooms-found")
    browser.click("converse-add-muc-modal .modal-footer button")
    browser.click("converse-roster .dropdown-toggle")
    browser.click("converse-roster .add-contact")
    browser.type("converse-add-contact-modal input[name=jid]", "dodg")
    browser.click("converse-add-contact-modal li", "Charles Dodgson <bob@localhost>")
    browser.save("people-found")
    browser.click("converse-add-contact-modal [type=submit]")
    bob.expect("<presence type='subscribe'/>")
    browser.click("converse-roster .dropdown-toggle")
    browser.click("converse-roster .add-contact")
    browser.type("converse-add-contact-modal input[name=jid]", "carol@localhost", Keys.TAB)
    browser.click("converse-add-contact-modal [type=submit]")
    carol.expect("<presence type='subscribe'/>")
    assert browser.complaints() == []
