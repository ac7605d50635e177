"""Avatars as nodes (XEP-0084) and as photos of vCards (XEP-0153, XEP-0398); vCard4 (XEP-0292)."""
import base64
import hashlib

import pytest

from harness import xml
from harness.pubsub import (
    OWNER, create, entry, error_of, expect_event, get_items, interested, item_ids, publish, pubsub,
    retract)

DATA = "urn:xmpp:avatar:data"
METADATA = "urn:xmpp:avatar:metadata"
UPDATE = "vcard-temp:x:update"
IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
HASH = hashlib.sha1(IMAGE).hexdigest()
TEXT = base64.b64encode(IMAGE).decode()
CARD4 = "urn:ietf:params:xml:ns:vcard-4.0"
PHOTO = "{vcard-temp}PHOTO"


def metadata(ident=HASH, more=""):
    return (f"<metadata xmlns='{METADATA}'>{more}<info id='{ident}' bytes='{len(IMAGE)}' "
            "type='image/png'/></metadata>")


def publish_avatar(client):
    lines = "\n".join(TEXT[i:i + 76] for i in range(0, len(TEXT), 76))
    client.result("set", publish(DATA, f"<data xmlns='{DATA}'>\n{lines}\n</data>", item=HASH))
    client.result("set", publish(METADATA, metadata(), item=HASH))


def card(*, photo=TEXT, name="Alice"):
    image = f"<PHOTO><TYPE>image/jpeg</TYPE><BINVAL>{photo}</BINVAL></PHOTO>" if photo else ""
    return f"<vCard xmlns='vcard-temp'><FN>{name}</FN>{image}<NICKNAME>al</NICKNAME></vCard>"


def get_card(client, to=None):
    return client.result("get", "<vCard xmlns='vcard-temp'/>", to=to)


def photo_in(presence):
    found = presence.find(f"{{{UPDATE}}}x")
    return None if found is None else found.findtext(f"{{{UPDATE}}}photo")


@pytest.fixture
def friends(server):
    server.befriend("alice", "bob")
    return server.login("alice", "a"), server.login("bob", "b")


def test_contacts_are_told_and_read_the_image(friends):
    alice, bob = friends
    interested(bob, METADATA)
    publish_avatar(alice)
    expect_event(bob, METADATA, alice.bare, f"<item id='{HASH}'>{metadata()}</item>")
    found = bob.result("get", get_items(DATA, HASH), to=alice.bare)
    text = found.findtext(f".//{{{DATA}}}data")
    assert base64.b64decode(text) == IMAGE


def test_an_avatar_is_the_photo_of_the_card(friends):
    alice, bob = friends
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>")
    assert "urn:xmpp:pep-vcard-conversion:0" in {f.get("var") for f in info}
    assert bob.error("get", "<vCard xmlns='vcard-temp'/>", to=alice.bare)[0] == \
        "service-unavailable"
    publish_avatar(alice)
    found = get_card(bob, alice.bare)
    assert found.findtext(f"{PHOTO}/{{vcard-temp}}BINVAL") == TEXT
    assert found.findtext(f"{PHOTO}/{{vcard-temp}}TYPE") == "image/png"
    alice.result("set", card(photo=TEXT))
    found = get_card(bob, alice.bare)
    assert found.findtext("{vcard-temp}FN") == "Alice"
    assert found.findtext("{vcard-temp}NICKNAME") == "al"
    assert [p.findtext("{vcard-temp}BINVAL") for p in found.iter(PHOTO)] == [TEXT]


def test_a_photo_of_a_card_is_an_avatar(friends):
    alice, bob = friends
    interested(bob, METADATA)
    alice.result("set", card())
    expect_event(bob, METADATA, alice.bare,
                 f"<item id='{HASH}'><metadata xmlns='{METADATA}'><info id='{HASH}' "
                 f"bytes='{len(IMAGE)}' type='image/jpeg'/></metadata></item>")
    assert item_ids(bob.result("get", get_items(DATA, HASH), to=alice.bare)) == [HASH]
    assert get_card(alice).findtext(f"{PHOTO}/{{vcard-temp}}TYPE") == "image/jpeg"
    alice.result("set", card(name="Other"))  # read and set again: nothing new
    bob.expect_nothing("<message/>", after=alice)
    alice.result("set", card(photo=None))
    items = expect_event(bob, METADATA, alice.bare)
    assert len(items[0].find(f"{{{METADATA}}}metadata")) == 0
    assert get_card(alice).find(PHOTO) is None


@pytest.mark.parametrize("photo", [
    "<PHOTO><TYPE>image/png</TYPE><BINVAL> </BINVAL></PHOTO>", "<PHOTO><BINVAL/></PHOTO>",
    "<PHOTO><EXTVAL>https://example.org/a.png</EXTVAL></PHOTO>"])
def test_an_empty_photo_removes_the_avatar(friends, photo):
    """XEP-0153 §4.3; a link stays in the card."""
    alice, bob = friends
    interested(bob, METADATA)
    publish_avatar(alice)
    expect_event(bob, METADATA, alice.bare, f"<item id='{HASH}'/>")
    alice.result("set", f"<vCard xmlns='vcard-temp'><FN>A</FN>{photo}</vCard>")
    items = expect_event(bob, METADATA, alice.bare)
    assert len(items[0].find(f"{{{METADATA}}}metadata")) == 0
    found = get_card(bob, alice.bare)
    assert found.findtext(f"{PHOTO}/{{vcard-temp}}BINVAL", "").strip() == ""
    assert ("EXTVAL" in photo) == (found.find(f"{PHOTO}/{{vcard-temp}}EXTVAL") is not None)


@pytest.mark.parametrize("photo", ["no base64!", "====", "A"])
def test_photos_that_are_none(alice, photo):
    reply = alice.error("set", "<vCard xmlns='vcard-temp'><FN>x</FN>"
                        f"<PHOTO><BINVAL>{photo}</BINVAL></PHOTO></vCard>")
    assert reply[0] == "bad-request"
    assert alice.error("get", "<vCard xmlns='vcard-temp'/>")[0] == "item-not-found"


def test_presence_tells_the_hash(friends):
    """XEP-0398 §4."""
    alice, bob = friends
    bob.available()
    publish_avatar(alice)
    alice.send("<presence/>")
    assert photo_in(bob.expect(f"<presence from='{alice}'/>")) == HASH
    alice.send(f"<presence><x xmlns='{UPDATE}'/></presence>")
    assert photo_in(bob.expect(f"<presence from='{alice}'/>")) == HASH
    alice.send(f"<presence><show>away</show><x xmlns='{UPDATE}'><photo>{'0' * 40}</photo></x>"
               "</presence>")
    found = bob.expect(f"<presence from='{alice}'><show>away</show></presence>")
    assert photo_in(found) == HASH and len(found.findall(f"{{{UPDATE}}}x")) == 1
    alice.send(f"<presence><x xmlns='{UPDATE}'><photo/></x></presence>")
    assert not photo_in(bob.expect(f"<presence from='{alice}'/>"))
    alice.send(f"<presence to='{bob}'/>")
    assert photo_in(bob.expect(f"<presence from='{alice}'/>")) == HASH


def test_contacts_see_another_image_at_once(friends):
    alice, bob = friends
    bob.available()
    alice.available(inner="<status>here</status>")
    shown = f"<presence from='{alice}'><status>here</status><x xmlns='{UPDATE}'/></presence>"
    assert photo_in(bob.expect(f"<presence from='{alice}'/>")) is None
    publish_avatar(alice)
    assert photo_in(bob.expect(shown)) == HASH
    alice.result("set", publish(METADATA, f"<metadata xmlns='{METADATA}'/>"))
    assert photo_in(bob.expect(shown)) == ""
    publish_avatar(alice)
    assert photo_in(bob.expect(shown)) == HASH  # one without is the answer to bob's probe
    alice.send(f"<presence><x xmlns='{UPDATE}'><photo/></x></presence>")
    bob.expect(lambda e: e.get("from") == str(alice) and photo_in(e) == "")
    bob.inbox.clear()
    alice.result("set", publish(METADATA, f"<metadata xmlns='{METADATA}'/>"))
    publish_avatar(alice)  # its client wants nothing said
    bob.expect_nothing("<presence/>", after=alice)


def test_the_hash_survives_a_kill(make_server):
    server = make_server("alice", "bob")
    server.befriend("alice", "bob")
    publish_avatar(server.client("alice"))
    server.kill()
    server.start()
    bob, alice = server.client("bob"), server.login("alice", "a")
    alice.send("<presence/>")
    assert photo_in(bob.expect(f"<presence from='{alice}'/>")) == HASH


def test_an_older_item_that_goes_leaves_the_image(friends):
    alice, bob = friends
    bob.available()
    alice.result("set", create(METADATA, max_items=3))
    alice.result("set", publish(METADATA, f"<metadata xmlns='{METADATA}'/>", item="old"))
    publish_avatar(alice)
    alice.result("set", retract(METADATA, "old"))
    alice.send("<presence/>")
    assert photo_in(bob.expect(f"<presence from='{alice}'/>")) == HASH
    alice.result("set", publish(METADATA, f"<metadata xmlns='{METADATA}'/>", item="none"))
    assert photo_in(bob.expect(f"<presence from='{alice}'/>")) == ""
    alice.result("set", retract(METADATA, "none"))
    assert photo_in(bob.expect(f"<presence from='{alice}'/>")) == HASH
    alice.result("set", pubsub(f"<purge node='{METADATA}'/>", OWNER))
    assert photo_in(bob.expect(f"<presence from='{alice}'/>")) == ""


def test_images_elsewhere_are_no_photos(friends):
    alice, bob = friends
    bob.available()
    elsewhere = f"<info id='{'1' * 40}' url='https://example.org/a.png' type='image/png'/>"
    alice.result("set", publish(DATA, f"<data xmlns='{DATA}'>{TEXT}</data>", item=HASH))
    alice.result("set", publish(METADATA, metadata(more=elsewhere)))
    alice.send("<presence/>")
    assert photo_in(bob.expect(f"<presence from='{alice}'/>")) == HASH
    for odd in (metadata("no-hash"), f"<metadata xmlns='{METADATA}'>{elsewhere}</metadata>",
                entry()):
        alice.result("set", publish(METADATA, odd))
        bob.drain()
        alice.send("<presence/>")
        assert not photo_in(bob.expect(f"<presence from='{alice}'/>"))


# --- XEP-0292 ---


def test_vcard4(friends, server):
    alice, bob = friends
    carol = server.client("carol")
    for who in (alice, bob):
        assert len(who.result("get", f"<vcard xmlns='{CARD4}'/>", to=alice.bare)) == 0
    interested(bob, "urn:xmpp:vcard4")
    alice.result("set", f"<vcard xmlns='{CARD4}'><fn><text>Alice</text></fn></vcard>")
    expect_event(bob, "urn:xmpp:vcard4", alice.bare, "<item id='current'/>")
    for who in (alice, bob, carol):
        found = who.result("get", f"<vcard xmlns='{CARD4}'/>", to=alice.bare)
        assert found.findtext(f"{{{CARD4}}}fn/{{{CARD4}}}text") == "Alice"
    assert bob.error("set", f"<vcard xmlns='{CARD4}'/>", to=alice.bare)[0] == "forbidden"
    assert len(bob.result("get", f"<vcard xmlns='{CARD4}'/>", to="nobody@localhost")) == 0


def test_vcard4_of_a_closed_node(friends):
    alice, bob = friends
    alice.result("set", publish("urn:xmpp:vcard4", f"<vcard xmlns='{CARD4}'><fn/></vcard>",
                                access_model="whitelist"))
    assert len(bob.result("get", f"<vcard xmlns='{CARD4}'/>", to=alice.bare)) == 0
    assert len(alice.result("get", f"<vcard xmlns='{CARD4}'/>")) == 1
    assert error_of(bob, "get", get_items("urn:xmpp:vcard4"), alice.bare)[2] == "closed-node"
