"""Long texts of one character that has to be escaped, or looked at, somewhere: whoever reads them,
and whatever they are written into, they cost no more than letters."""
import time
import unicodedata
from xml.sax.saxutils import escape

import pytest

from harness.muc import Room
from surface.test_api import api_server
from archive.test_mam import Page, chat

CAVE = "cave@conference.localhost"
LETTERS = "a"
OTHERS = ["\\", '"', "&", "<", "]]>", "\n", " ", "\u2028", "\u202e", "\u00e9", "a\u0301",
          "\U0001f600", "%", "*", "\x7f"]
BYTES = 200_000
MESSAGES = 3
SLACK_S = 1.5


def text_of(what):
    """As long as it may be in XML."""
    return what * (BYTES // len(escape(what, {"'": "&apos;", '"': "&quot;"}).encode()))


def steps(server, text, folder):
    """What is done with it, by names."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    room = Room("cave").create(alice, "first", persistentroom=True, enablearchiving=True)

    def says():
        for _ in range(MESSAGES):
            chat(alice, "bob@localhost", escape(text))
            bob.expect("<message><body/></message>")
            room.say(alice, text)
            room.expect_body(alice, "first", text)

    def is_away():
        chat(alice, "carol@localhost", escape(text))
        server.client("carol").expect("<message><body/></message>")

    def card():
        note = escape(text[:len(text) // 4])
        alice.result("set", f"<vCard xmlns='vcard-temp'><FN>x</FN><NOTE>{note}</NOTE></vCard>")
        alice.result("get", "<vCard xmlns='vcard-temp'/>")
        server.ctl("user", "vcard", "alice@localhost")

    def imports():
        server.ctl("room", "destroy", CAVE, "--yes")
        server.ctl("room", "import", folder / "cave.jsonl")
        for name in "alice", "bob", "carol":
            server.ctl("user", "del", f"{name}@localhost", "--yes")
        server.ctl("import", "xep0227", folder / "accounts.xml")

    return {
        "says": says,
        "is away": is_away,
        "reads": lambda: Page(bob),
        "card": card,
        "archive": lambda: server.ctl("archive", "read", "bob@localhost"),
        "archive over HTTP": lambda: server.api("GET", "/users/bob%40localhost/archive?reason=x"),
        "download": lambda: server.ctl("room", "download", CAVE),
        "export": lambda: server.ctl("room", "export", CAVE, folder / "cave.jsonl"),
        "accounts": lambda: server.ctl("export", "xep0227", folder / "accounts.xml"),
        "imports": imports,
    }


def seconds(server, what, folder):
    took = {}
    for name, step in steps(server, text_of(what), folder).items():
        begun = time.monotonic()
        step()
        took[name] = time.monotonic() - begun
    return took


def named(what):
    return unicodedata.name(what[0], f"{ord(what[0]):x}").lower().replace(" ", "-")


@pytest.mark.release
@pytest.mark.sqlite
@pytest.mark.parametrize("what", OTHERS, ids=named)
def test_a_long_text_takes_no_longer_than_letters(make_server, tmp_path, what):
    took = []
    for text in LETTERS, what:
        server = api_server(make_server)
        for name in "alice", "bob", "carol":
            server.add_user(name)
        (tmp_path / str(len(took))).mkdir()
        took.append(seconds(server, text, tmp_path / str(len(took))))
        server.stop()
    letters, others = took
    assert {step: (letters[step], took) for step, took in others.items()
            if took > 5 * letters[step] + SLACK_S} == {}
