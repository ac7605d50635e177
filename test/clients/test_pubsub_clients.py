"""Publish-subscribe as slixmpp speaks it: the service, personal eventing, avatars, bookmarks."""
import hashlib

import pytest
import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET

from harness.slix import Slix

HOST = "pubsub.localhost"
PLUGINS = ("xep_0030", "xep_0059", "xep_0060", "xep_0084", "xep_0107", "xep_0108", "xep_0115",
           "xep_0118", "xep_0163", "xep_0172", "xep_0048",
           "xep_0199")


def payload(text):
    element = ET.Element("{urn:example:entry}entry")
    element.text = text
    return element


async def pair(server, plugins=PLUGINS):
    """alice and bob, logged in; they see each other's presence."""
    server.befriend("alice", "bob")
    alice, bob = Slix(server, "alice", plugins), Slix(server, "bob", plugins)
    return await alice.login(), await bob.login()


async def test_the_service(server):
    alice, bob = await pair(server)
    pubsub, other = alice["xep_0060"], bob["xep_0060"]
    await pubsub.create_node(HOST, "news")
    config = await pubsub.get_node_config(HOST, "news")
    form = config["pubsub_owner"]["configure"]["form"]
    form["type"] = "submit"
    form.set_values({"pubsub#title": "The news"})
    await pubsub.set_node_config(HOST, "news", form)
    nodes = await bob["xep_0030"].get_items(HOST)
    assert {(n, name) for _, n, name in nodes["disco_items"]["items"]} == {("news", "The news")}
    bob.watch("pubsub_publish")
    answer = await other.subscribe(HOST, "news")
    assert answer["pubsub"]["subscription"]["subscription"] == "subscribed"
    subscriptions = await other.get_subscriptions(HOST)
    assert [s["node"] for s in subscriptions["pubsub"]["subscriptions"]] == ["news"]
    await pubsub.publish(HOST, "news", id="1", payload=payload("one"))
    event = await bob.expect("pubsub_publish")
    assert event["pubsub_event"]["items"]["item"]["id"] == "1"
    items = await other.get_items(HOST, "news")
    assert [i["id"] for i in items["pubsub"]["items"]] == ["1"]
    with pytest.raises(IqError) as error:
        await other.publish(HOST, "news", payload=payload("no"))
    assert error.value.condition == "forbidden"
    await pubsub.modify_affiliations(HOST, "news", [(bob.boundjid.bare, "publisher")])
    await other.publish(HOST, "news", id="2", payload=payload("two"))
    bob.watch("pubsub_retract")
    await pubsub.retract(HOST, "news", "1", notify=True)
    await bob.expect("pubsub_retract")
    await pubsub.purge(HOST, "news")
    await other.unsubscribe(HOST, "news")
    bob.watch("pubsub_delete")
    await other.subscribe(HOST, "news")
    await pubsub.delete_node(HOST, "news")
    await bob.expect("pubsub_delete")


async def test_personal_eventing(server):
    """Capabilities are announced by the plugins themselves and asked for by the server."""
    server.befriend("alice", "bob")
    alice, bob = Slix(server, "alice", PLUGINS), Slix(server, "bob", PLUGINS)
    bob.watch("user_tune_publish", "user_mood_publish", "user_nick_publish")
    await alice.login()
    await bob.login()
    await alice["xep_0118"].publish_tune(artist="Yes", title="Heart of the Sunrise")
    event = await bob.expect("user_tune_publish")
    tune = event["pubsub_event"]["items"]["item"]["tune"]
    assert tune["title"] == "Heart of the Sunrise"
    await alice["xep_0107"].publish_mood("happy", "for a reason")
    event = await bob.expect("user_mood_publish")
    assert event["pubsub_event"]["items"]["item"]["mood"]["value"] == "happy"
    await alice["xep_0172"].publish_nick(nick="Al")
    event = await bob.expect("user_nick_publish")
    assert event["pubsub_event"]["items"]["item"]["nick"]["nick"] == "Al"
    await bob.disconnect()
    again = Slix(server, "bob", PLUGINS)
    again.watch("user_tune_publish")
    await again.login()
    event = await again.expect("user_tune_publish")
    assert event["pubsub_event"]["items"]["item"]["tune"]["artist"] == "Yes"


async def test_avatars(server):
    image = bytes(range(200))
    ident = hashlib.sha1(image).hexdigest()
    server.befriend("alice", "bob")
    alice, bob = Slix(server, "alice", PLUGINS), Slix(server, "bob", PLUGINS)
    bob.watch("avatar_metadata_publish")
    await alice.login()
    await bob.login()
    avatar = alice["xep_0084"]
    await avatar.publish_avatar(image)
    await avatar.publish_avatar_metadata(items=[{"id": ident, "type": "image/png",
                                                 "bytes": len(image)}])
    event = await bob.expect("avatar_metadata_publish")
    info = event["pubsub_event"]["items"]["item"]["avatar_metadata"]["items"][0]
    assert info["id"] == ident
    found = await bob["xep_0084"].retrieve_avatar(alice.boundjid.bare, ident)
    assert found["pubsub"]["items"]["item"]["avatar_data"]["value"] == image


async def test_bookmarks(server):
    """It stores them as private XML and as the old node (XEP-0048); both are the same ones."""
    alice = await Slix(server, "alice", PLUGINS).login()
    bookmarks = slixmpp.plugins.xep_0048.stanza.Bookmarks()
    bookmarks.add_conference("room@conf.example", "al", name="Room", autojoin=True)
    await alice["xep_0048"].set_bookmarks(bookmarks, method="xep_0049")
    items = await alice["xep_0060"].get_items(None, "urn:xmpp:bookmarks:1")
    assert [i["id"] for i in items["pubsub"]["items"]] == ["room@conf.example"]
    answer = await alice["xep_0048"].get_bookmarks(method="xep_0049")
    found = answer["private"]["bookmarks"]["conferences"]
    assert [(c["jid"], c["name"], c["nick"]) for c in found] == \
        [("room@conf.example", "Room", "al")]
    bookmarks.add_conference("second@conf.example", "al")
    await alice["xep_0048"].set_bookmarks(bookmarks, method="xep_0223")
    await alice["xep_0199"].send_ping("localhost")
    answer = await alice["xep_0048"].get_bookmarks(method="xep_0049")
    found = {str(c["jid"]) for c in answer["private"]["bookmarks"]["conferences"]}
    assert found == {"room@conf.example", "second@conf.example"}
