"""What single pages of the web console show: the policy of federation, the settings of an alarm,
the photo of a user, names of files, who changed a setting, and the plot of tests."""
import base64
import struct
import urllib.parse
import zlib
from xml.sax.saxutils import quoteattr

import pytest

from harness import federation
from harness.client import until
from harness.imports import server_data
from harness.server import free_ports, refusal
from surface.test_api import Api, api_server
from surface.test_console import XSS, opened, pages, server
from surface.test_console_language import choose
from services.test_upload import http_do

__all__ = ["pages", "server"]
pytestmark = pytest.mark.release


def links(pages, css):
    """The settings that links lead to."""
    return pages.js("[...document.querySelectorAll(arguments[0])].map(a => decodeURIComponent("
                    "a.hash)).filter(at => at.startsWith('#/settings/')).map(at => at.slice(11))",
                    f"{css} a")


def fact(pages, name):
    """What stands below this name."""
    return pages.js("[...document.querySelectorAll('main .facts > div')].find(one => "
                    "one.querySelector('dt').innerText === arguments[0])"
                    "?.querySelector('dd').innerText", name)


def test_the_page_of_federation_has_its_policy(server, pages):
    assert "federation is off" in server.ctl("s2s", "list")["text"]
    pages.log_in(server.api.token)
    pages.go("federation")
    pages.find("main [role=status]", "federation is off; s2s.policy switches it on")
    until("the settings", lambda: fact(pages, "s2s.policy") == "off")
    assert {"s2s.policy", "s2s.domains"} <= set(links(pages, "main .facts"))
    assert links(pages, "main [role=status]") == ["s2s.policy"]
    choose(pages, "de")
    pages.find("main [role=status]", "Die Föderation ist aus; s2s.policy schaltet sie ein")
    pages.find("main h2", "Einstellungen dieser Seite")
    choose(pages, "en")
    pages.click("main [role=status] a", "s2s.policy")
    pages.find("main .settings button", "s2s.policy")
    for name, value in (("s2s.policy", "allow"), ("s2s.domains", "partner.test *.example.net"),
                        ("s2s.policy@localhost", "open")):
        server.ctl("set", name, value)
    pages.go("federation")
    until("the policy", lambda: fact(pages, "s2s.policy") == "allow")
    assert fact(pages, "s2s.domains") == "partner.test *.example.net"
    assert fact(pages, "s2s.policy@localhost") == "open"
    assert "federation is off" not in pages.find("main").text
    assert "federation is off" not in server.ctl("s2s", "list")["text"]
    assert pages.complaints() == []


@pytest.mark.parametrize("language, title", [("en", "Settings"), ("de", "Einstellungen")])
def test_an_alarm_leads_to_the_settings_that_it_depends_on(server, pages, language, title):
    row = {row["name"]: row for row in server.rows("alarm", "list", "--all")}["capacity.sessions"]
    assert row["settings"] == "capacity.alarm-percent = 80, capacity.alarm-after = 10min"
    pages.log_in(server.api.token)
    pages.go("alarms")
    choose(pages, language)
    pages.click("main .tools label:has([type=checkbox])")
    pages.click("main td button[aria-label$='capacity.sessions'].quiet")
    pages.find("dialog dt", title)
    assert links(pages, "dialog") == ["capacity.alarm-percent", "capacity.alarm-after"]
    pages.click("dialog a", "capacity.alarm-percent")
    pages.find("main .settings button", "capacity.alarm-percent")
    assert pages.js("document.querySelector('dialog')") is None
    assert pages.complaints() == []


# --- the photo of a user ---


def png(width=4, height=4):
    """One that is red all over."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    lines = (b"\0" + b"\xff\0\0" * width) * height
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0,
                                                              0))
            + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


def set_photo(client, image):
    client.result("set", "<vCard xmlns='vcard-temp'><FN>Alice</FN><PHOTO><TYPE>text/html</TYPE>"
                  f"<BINVAL>{base64.b64encode(image).decode()}</BINVAL></PHOTO></vCard>")


def test_a_photo_is_read(server):
    server.add_user("alice")
    alice = server.client("alice", "a")

    def photo():
        return server.ctl("user", "photo", "alice@localhost")
    none = {"bytes": 0, "width": 0, "height": 0}
    assert (photo()["rows"], photo()["text"]) == (
        [{"type": "none", **none}], "the user has no photo")
    set_photo(alice, png())
    assert photo()["rows"] == [{"type": "image/png", "bytes": len(png()), "width": 4, "height": 4,
                                "image": base64.b64encode(png()).decode()}]
    assert server.api("GET", "/users/alice@localhost/photo").json == photo()["rows"][0]
    set_photo(alice, png(2049, 1))
    assert photo()["rows"] == [{"type": "image/png", "bytes": len(png(2049, 1)), "width": 2049,
                                "height": 1}]
    assert photo()["text"] == "the photo is too large to be shown"
    set_photo(alice, b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert (photo()["rows"], photo()["text"]) == (
        [{"type": "unknown", **none, "bytes": 41}],
        "the photo is not shown, since it is no PNG, JPEG or GIF")
    alice.result("set", "<vCard xmlns='vcard-temp'><PHOTO><EXTVAL>https://localhost/a.png</EXTVAL>"
                 "</PHOTO></vCard>")
    assert (photo()["rows"], photo()["text"]) == (
        [{"type": "none", **none}],
        "the user has no photo here, but a link to one; it is not followed")
    set_photo(alice, png())
    server.ctl("user", "disable", "alice@localhost")
    assert (photo()["rows"], photo()["text"]) == (
        [{"type": "unknown", **none}], "the account is disabled, so its photo cannot be read; "
        "`user enable` lets it in again")
    assert server.api("GET", "/users/alice@localhost/photo").json == photo()["rows"][0]
    server.ctl("user", "enable", "alice@localhost")
    assert photo()["rows"][0]["type"] == "image/png"
    assert "there is no account" in refusal(server, "user", "photo", "nobody@localhost")


def test_a_photo_of_an_import_is_no_image(server, tmp_path):
    """Clients cannot store it."""
    (tmp_path / "users.xml").write_text(server_data(
        "<user name='juliet' password='x'><vCard xmlns='vcard-temp'><PHOTO><BINVAL>%%%</BINVAL>"
        "</PHOTO></vCard></user>"))
    server.bring("xep0227", tmp_path / "users.xml")
    answer = server.ctl("user", "photo", "juliet@localhost")
    assert (answer["rows"][0]["type"], answer["text"]) == (
        "unknown", "the photo is not shown, since it is not in base64")


NAMES = {"en": "Created", "de": "Erstellt"}


@pytest.mark.parametrize("language, title", [("en", "Photo of alice@localhost"),
                                             ("de", "Foto von alice@localhost")])
def test_the_page_of_a_user_has_the_photo(server, pages, language, title):
    """It is drawn without a permission of the page to load images from texts."""
    for name in "alice", "bob":
        server.add_user(name)
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    set_photo(alice, png())
    set_photo(bob, png()[:40])  # broken
    pages.log_in(server.api.token)
    choose(pages, language)
    pages.go("user", "bob@localhost")
    pages.find("main .facts dt", NAMES[language])
    pages.go("user", "alice@localhost")
    pages.find(f"main canvas.photo[aria-label='{title}']")
    assert pages.js("[...document.querySelector('canvas.photo').getContext('2d')"
                    ".getImageData(48, 48, 1, 1).data]") == [255, 0, 0, 255]
    pages.go("user", "bob@localhost")
    pages.find("main .facts dt", NAMES[language])
    assert pages.js("document.querySelectorAll('canvas.photo:not([hidden])').length") == 0
    assert pages.complaints() == []


# --- names of files ---


def upload(server, client, name):
    asked = f"<request xmlns='urn:xmpp:http:upload:0' filename={quoteattr(name)} size='5'/>"
    put = client.result("get", asked, to="upload.localhost").find("{*}put").get("url")
    assert http_do(server, "PUT", put, b"hello").status == 201


def test_names_of_files_are_text(server, pages):
    server.add_user("alice")
    alice = server.client("alice", "a")
    upload(server, alice, XSS)
    stored = [row for row in server.rows("upload", "list", "alice@localhost")]
    assert any(XSS in map(str, row.values()) for row in stored)
    pages.log_in(server.api.token)
    pages.go("user", urllib.parse.quote("alice@localhost", safe=""))
    assert any(XSS in text for text in pages.tabs())
    for address in ["user", "alice@localhost"], ["uploads"], ["audit"], ["logs"]:
        pages.go(*(urllib.parse.quote(part, safe="") for part in address))
        pages.tabs()
        assert pages.js("document.images.length") == 0, address
        assert "owned" not in pages.driver.title
    assert pages.complaints() == []


# --- settings, and the plot of tests ---


def open_setting(pages, name):
    pages.js("document.querySelector('main input[type=search]').select()")
    pages.type("main input[type=search]", name)
    pages.click("main button.link", name)
    return pages.find("dialog").text


@pytest.mark.parametrize("language, notes", [
    ("en", ("changed by", "fixed in the node file")),
    ("de", ("geändert von", "in der Knotendatei festgelegt"))])
def test_a_setting_says_who_changed_it_and_who_may(make_server, tmp_path, language, notes):
    by, locked = notes
    server = api_server(make_server, **{"announce.subject": "Fixed"})
    server.api("PUT", "/settings/groups.members-max", {"value": "44"})
    with opened(server, tmp_path / "browser") as pages:
        pages.resize(1280, 800)
        pages.log_in(server.api.token)
        pages.go("settings")
        choose(pages, language)
        found = {}
        for name in "groups.members-max", "announce.subject":
            found[name] = open_setting(pages, name)
            editable = pages.js("document.querySelector('dialog form .main') !== null")
            assert editable == (name != "announce.subject")
            pages.click("dialog header button")
        assert f"{by} tests" in found["groups.members-max"]
        changed = server.rows("get", "groups.members-max")[0]["changed_at"]
        assert pages.js("new Date(arguments[0]).toLocaleString('sv')", changed) in \
            found["groups.members-max"]
        assert locked in found["announce.subject"]
        assert locked not in found["groups.members-max"]
        assert pages.complaints() == []


def test_past_runs_of_a_test_are_drawn(make_server, tmp_path):
    authority = federation.Authority(tmp_path)
    tls = {**authority.issue("own", "localhost"), "trust": str(authority.file)}
    server = make_server("alice", start=False, s2s=True, tls=tls, settings=federation.settings())
    port, = free_ports(1)
    server.conf["listen"]["http_admin"] = [f"127.0.0.1:{port}"]
    server.start()
    for _ in range(3):
        server.ctl("pushtest", "--edge", f"localhost:{server.s2s_port}")
    assert [run["result"] for run in server.rows("test", "history")] == ["Success"] * 3
    server.api = Api(port, server.rows("token", "add", "tests", "administrator")[0]["token"])
    with opened(server, tmp_path / "browser") as pages:
        pages.resize(1280, 800)
        pages.log_in(server.api.token)
        pages.go("tests")
        drawn = until("the plot", lambda: pages.js(
            "(c => c && c.width > 100 && [...c.getContext('2d').getImageData(0, 0, c.width, "
            "c.height).data].some(b => b))(document.querySelector('main canvas'))"))
        assert drawn and pages.complaints() == []
