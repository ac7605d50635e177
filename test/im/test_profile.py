"""What an account says of its user: `user add`, `user set`, `user show`; search and vCard of users
who have stored no vCard."""
from xml.etree import ElementTree

import pytest

from harness.server import refusal
from services.test_avatar import PHOTO, TEXT, publish_avatar
from services.test_search import VCARD, card, classic, names

EMPTY = {"given_name": "", "surname": "", "email": "", "department": "", "directory_uri": "",
         "template": "", "source": "local"}
ANN = {"given-name": "Ann", "surname": "Boleyn", "email": "ann@x.example",
       "department": "R & D <1>", "directory-uri": "sip:ann@x.example", "template": "staff"}


def args(values):
    return [a for k, v in values.items() for a in (f"--{k}", v)]


def profile(server, jid):
    row, = server.rows("user", "show", jid)
    assert row["jid"] == jid
    return {k: row[k] for k in EMPTY}


def expected(values):
    return {**EMPTY, **{k.replace("-", "_"): v for k, v in values.items()}}


def vcard(client, jid):
    found = client.result("get", f"<vCard xmlns='{VCARD}'/>", to=jid)
    return {e.tag.partition("}")[2]: e.text for e in found.iter() if e.text}


@pytest.fixture
def ann(server):
    server.ctl("template", "add", "staff")
    server.ctl("user", "add", "ann@localhost", "--password", "secret-1", *args(ANN))
    return "ann@localhost"


def test_columns(server, alice, ann):
    assert profile(server, "alice@localhost") == EMPTY
    assert profile(server, ann) == expected(ANN)
    server.ctl("user", "set", ann, "--surname", "", "--department", "Court")
    changed = {**ANN, "surname": "", "department": "Court"}
    assert profile(server, ann) == expected(changed)
    server.restart()
    assert profile(server, ann) == expected(changed)
    server.ctl("user", "disable", ann)
    server.ctl("user", "set", ann, "--template", "")
    assert server.rows("user", "show", ann)[0]["disabled"] is True
    server.ctl("user", "del", ann)
    server.add_user("ann")
    assert profile(server, ann) == EMPTY, "the next user of the address inherits nothing"


def test_without_a_vcard_the_profile_is_one(server, alice, ann):
    assert vcard(alice, ann) == {"FN": "Ann Boleyn", "FAMILY": "Boleyn", "GIVEN": "Ann",
                                 "USERID": "ann@x.example", "ORGUNIT": "R & D <1>"}
    server.ctl("user", "set", "bob@localhost", "--email", "bob@x.example")
    assert vcard(alice, "bob@localhost") == {"FN": "bob", "USERID": "bob@x.example"}
    own = server.client("bob")
    assert vcard(own, None) == {"FN": "bob", "USERID": "bob@x.example"}
    server.ctl("user", "set", "bob@localhost", "--email", "")
    reply = alice.iq("get", f"<vCard xmlns='{VCARD}'/>", to="bob@localhost")
    assert reply.get("type") == "error", "as if there were no such user"


def test_search_finds_it_at_once(server, alice, ann):
    found = {"first": "Ann", "last": "Boleyn", "email": "ann@x.example"}
    for name, text in found.items():
        assert names(classic(alice, **{name: text})) == ["ann"]
    assert classic(alice, first="an")[ann].items() >= found.items()
    server.ctl("user", "set", ann, "--given-name", "Änne")
    assert names(classic(alice, first="änN")) == ["ann"] and not classic(alice, first="ann")
    assert names(classic(alice, last="boleyn")) == ["ann"]
    server.ctl("user", "set", ann, *args(dict.fromkeys(ANN, "")))
    assert not classic(alice, last="boleyn") and names(classic(alice, nick="ann")) == ["ann"]
    server.ctl("user", "set", ann, "--surname", "Boleyn")
    server.ctl("user", "del", ann)
    assert not classic(alice, last="boleyn")


def test_the_own_vcard_comes_first(server, alice, ann):
    own = server.client("ann", password="secret-1")
    card(own, "Queen", "Anne")
    assert vcard(alice, ann) == {"FAMILY": "Anne", "GIVEN": "Queen"}
    server.ctl("user", "set", ann, "--surname", "Tudor")
    assert vcard(alice, ann) == {"FAMILY": "Anne", "GIVEN": "Queen"}
    assert names(classic(alice, last="anne")) == ["ann"] and not classic(alice, last="tudor")
    card(own, more="<CLASS><PRIVATE/></CLASS>")
    server.ctl("user", "set", ann, "--surname", "York")
    assert not classic(alice, last="york") and not classic(alice, nick="ann")
    assert profile(server, ann) == expected({**ANN, "surname": "York"})


def test_a_photo_stands_in_it(server, alice, ann):
    """That of the avatar; and a card that is stored again keeps both."""
    own = server.client("ann", password="secret-1")
    publish_avatar(own)
    found = alice.result("get", f"<vCard xmlns='{VCARD}'/>", to=ann)
    assert found.findtext(f"{PHOTO}/{{{VCARD}}}BINVAL") == TEXT
    assert found.findtext(f"{{{VCARD}}}FN") == "Ann Boleyn"
    own.result("set", ElementTree.tostring(found, "unicode",
                                          default_namespace=VCARD))
    server.ctl("user", "set", ann, "--surname", "Tudor")
    again = alice.result("get", f"<vCard xmlns='{VCARD}'/>", to=ann)
    assert again.findtext(f"{PHOTO}/{{{VCARD}}}BINVAL") == TEXT
    assert again.findtext(f"{{{VCARD}}}FN") == "Ann Boleyn"
    assert names(classic(alice, last="boleyn")) == ["ann"]


@pytest.mark.parametrize("bad, why", [
    ((), "say what changes"), (("--email", "x" * 257), "email"),
    (("--directory-uri", "x" * 1024), "directory-uri"), (("--surname", "a\x01b"), "surname"),
    *((("--" + name, "a\nb"), "one line without control characters") for name in (
        "given-name", "surname", "email", "department", "directory-uri", "template")),
    (("--source", "x"), "source")])
def test_bad_input_changes_nothing(server, ann, bad, why):
    assert why in refusal(server, "user", "set", ann, *bad)
    assert profile(server, ann) == expected(ANN)


def test_nobody(server):
    for command in ("show",), ("set", "--email", "x"):
        assert "there is no account" in refusal(server, "user", command[0], "no@localhost",
                                                *command[1:])
    assert refusal(server, "user", "set", "no@elsewhere.example", "--email", "x")
