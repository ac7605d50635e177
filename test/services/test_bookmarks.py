"""Bookmarks in all their forms (XEP-0402, XEP-0048, XEP-0411), and what else clients keep in
nodes of their own: displayed markers (XEP-0490), notification settings (XEP-0492), keys
(XEP-0384)."""
import pytest

from harness import xml
from harness.client import until
from harness.pubsub import (
    create, error_of, expect_event, get_items, interested, item_ids, publish, pubsub, retract)

NODE = "urn:xmpp:bookmarks:1"
STORAGE = "storage:bookmarks"
MDS = "urn:xmpp:mds:displayed:0"
OPTIONS = {"persist_items": "true", "max_items": "max", "send_last_published_item": "never",
           "access_model": "whitelist"}


def conference(inner="<nick>me</nick>", name="Room", autojoin="true"):
    return f"<conference xmlns='{NODE}' name='{name}' autojoin='{autojoin}'>{inner}</conference>"


def private(*rooms, more=""):
    inner = "".join(f"<conference jid='{jid}' name='{name}' autojoin='1'><nick>me</nick>"
                    "</conference>" for jid, name in rooms)
    return f"<query xmlns='jabber:iq:private'><storage xmlns='{STORAGE}'>{inner}{more}" \
        "</storage></query>"


GET_PRIVATE = f"<query xmlns='jabber:iq:private'><storage xmlns='{STORAGE}'/></query>"


def rooms(element):
    return {(c.get("jid"), c.get("name"), c.get("autojoin"), c.findtext(f"{{{STORAGE}}}nick"))
            for c in element.iter(f"{{{STORAGE}}}conference")}


def test_support_is_told(alice):
    found = {f.get("var") for f in alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>")}
    assert {NODE + "#compat", NODE + "#compat-pep", "urn:xmpp:bookmarks-conversion:0",
            "urn:xmpp:mds:server-assist:0"} <= found


def test_published_bookmarks_are_private_xml(alice):
    assert rooms(alice.result("get", GET_PRIVATE)) == set()
    for i in "12":
        alice.result("set", publish(NODE, conference(name=i), item=f"room{i}@conf.example",
                                    **OPTIONS))
    assert rooms(alice.result("get", GET_PRIVATE)) == {
        ("room1@conf.example", "1", "true", "me"), ("room2@conf.example", "2", "true", "me")}
    alice.result("set", retract(NODE, "room1@conf.example", notify="true"))
    assert rooms(alice.result("get", GET_PRIVATE)) == {("room2@conf.example", "2", "true", "me")}


def test_private_xml_is_published_where_it_differs(server):
    alice, other = server.client("alice", "a"), server.login("alice", "other")
    interested(other, NODE)
    alice.result("set", private(("a@conf.example", "A"), ("b@conf.example", "B")))
    told = {expect_event(other, NODE, alice.bare)[0].get("id") for _ in range(2)}
    assert told == {"a@conf.example", "b@conf.example"}
    found = alice.result("get", get_items(NODE))
    assert set(item_ids(found)) == told
    assert {c.get("name") for c in found.iter(f"{{{NODE}}}conference")} == {"A", "B"}
    alice.result("set", private(("a@conf.example", "A"), ("b@conf.example", "new"),
                                ("c@conf.example", "C")))
    told = [expect_event(other, NODE, alice.bare)[0].get("id") for _ in range(2)]
    assert told == ["b@conf.example", "c@conf.example"]
    alice.result("set", private(("a@conf.example", "A")))
    for jid in ("c@conf.example", "b@conf.example"):
        expect_event(other, NODE, alice.bare, f"<retract id='{jid}'/>")
    other.expect_nothing("<message/>", after=alice)
    assert rooms(alice.result("get", GET_PRIVATE)) == {("a@conf.example", "A", "true", "me")}
    alice.result("set", private())
    assert rooms(alice.result("get", GET_PRIVATE)) == set()


@pytest.mark.parametrize("left", [True, False])
def test_a_node_with_room_for_one_gets_room_for_all(alice, left):
    """A client made it by publishing without options."""
    alice.result("set", publish(NODE, conference(), item="a@conf.example"))
    if not left:
        alice.result("set", retract(NODE, "a@conf.example"))
    more = {f"{name}@conf.example" for name in "bcd"}
    for _ in range(2):
        alice.result("set", private(*((jid, "name") for jid in sorted(more))))
        assert set(item_ids(alice.result("get", get_items(NODE)))) == more
        assert {jid for jid, *_ in rooms(alice.result("get", GET_PRIVATE))} == more


def test_what_only_the_new_form_has_stays(alice):
    """Such as notification settings (XEP-0492)."""
    more = ("<nick>me</nick><extensions><notify xmlns='urn:xmpp:notification-settings:1'>"
            "<never identity-category='client'/></notify></extensions>")
    alice.result("set", publish(NODE, conference(more), item="a@conf.example", **OPTIONS))
    alice.result("set", private(("a@conf.example", "Other name")))
    found = alice.result("get", get_items(NODE))
    assert found.find(f".//{{{NODE}}}conference").get("name") == "Other name"
    notify = found.find(f".//{{{NODE}}}extensions/{{urn:xmpp:notification-settings:1}}notify")
    assert len(notify) == 1


def test_bookmarks_of_pages_stay(alice):
    url = f"<url xmlns='{STORAGE}' name='Page' url='https://example.org/'/>"
    alice.result("set", private(("a@conf.example", "A"), more=url))
    alice.result("set", publish(NODE, conference(name="B"), item="b@conf.example"))
    found = alice.result("get", GET_PRIVATE)
    assert {jid for jid, *_ in rooms(found)} == {"a@conf.example", "b@conf.example"}
    assert [u.get("url") for u in found.iter(f"{{{STORAGE}}}url")] == ["https://example.org/"]


def test_the_old_node(server):
    """XEP-0411 and XEP-0402 §5.3."""
    alice, old, new = (server.login("alice", r) for r in "aon")
    interested(old, STORAGE)
    interested(new, NODE)
    alice.result("set", publish(NODE, conference(), item="a@conf.example", **OPTIONS))
    expect_event(new, NODE, alice.bare, "<item id='a@conf.example'/>")
    items = expect_event(old, STORAGE, alice.bare, "<item id='current'/>")
    assert rooms(items) == {("a@conf.example", "Room", "true", "me")}
    storage = private(("a@conf.example", "Room"), ("b@conf.example", "B")).partition(">")[2]
    alice.result("set", publish(STORAGE, storage.removesuffix("</query>"), item="current",
                                persist_items="true", access_model="whitelist"))
    expect_event(new, NODE, alice.bare, "<item id='b@conf.example'/>")
    assert {jid for jid, *_ in rooms(alice.result("get", GET_PRIVATE))} == \
        {"a@conf.example", "b@conf.example"}
    new.expect_nothing("<message/>")


def test_an_old_node_that_others_may_read_is_left_alone(alice):
    alice.result("set", publish(STORAGE, f"<storage xmlns='{STORAGE}'/>", item="current",
                                access_model="open"))
    alice.result("set", publish(NODE, conference(), item="a@conf.example", **OPTIONS))
    alice.ping()
    found = alice.result("get", get_items(STORAGE))
    assert rooms(found) == set()


def test_bookmarks_are_private(server, alice):
    server.befriend("alice", "bob")
    bob = server.client("bob")
    alice.result("set", private(("a@conf.example", "A")))
    for node in (NODE, STORAGE):  # the second is written behind the answer
        until(node, lambda: alice.iq("get", get_items(node)).get("type") == "result")
        assert error_of(bob, "get", get_items(node), alice.bare)[2] == "closed-node"


@pytest.mark.parametrize("rest", ["<conference jid='a@'/>", "<conference name='x'/>",
                                  "<conference jid='b@conf.example/me'/>"])
def test_rooms_without_an_address_are_left_out(alice, rest):
    alice.result("set", private(("a@conf.example", "A"), more=rest))
    assert {jid for jid, *_ in rooms(alice.result("get", GET_PRIVATE))} == {"a@conf.example"}


def test_other_private_xml_is_as_ever(alice):
    alice.result("set", "<query xmlns='jabber:iq:private'><a xmlns='urn:a'>1</a>"
                 f"<storage xmlns='{STORAGE}'/></query>")
    both = alice.result("get", "<query xmlns='jabber:iq:private'><a xmlns='urn:a'/></query>")
    assert both.findtext("{urn:a}a") == "1"
    assert alice.error("get", "<query xmlns='jabber:iq:private'/>")[0] == "not-acceptable"


def test_the_newer_of_two_bookmarks_wins(alice):
    """Whatever the form, and whatever else is in the request."""
    room = "a@conf.example"
    alice.result("set", publish(NODE, conference(name="first"), item=room, **OPTIONS))
    storage = private((room, "second"), ("b@conf.example", "B")).partition(">")[2]
    alice.result("set", f"<query xmlns='jabber:iq:private'><a xmlns='urn:a'>1</a>{storage}")
    for query in (GET_PRIVATE, GET_PRIVATE.replace("<storage", "<a xmlns='urn:a'/><storage")):
        found = alice.result("get", query)
        assert {(jid, name) for jid, name, *_ in rooms(found)} == {
            (room, "second"), ("b@conf.example", "B")}
    assert found.findtext("{urn:a}a") == "1"
    names = {c.get("name") for c in alice.result("get", get_items(NODE)).iter(
        f"{{{NODE}}}conference")}
    assert names == {"second", "B"}
    alice.result("set", publish(NODE, conference(name="third"), item=room))
    assert (room, "third", "true", "me") in rooms(alice.result("get", GET_PRIVATE))
    for gone in (room, "b@conf.example"):
        alice.result("set", retract(NODE, gone))
    assert rooms(alice.result("get", GET_PRIVATE)) == set()


def test_the_later_of_two_in_one_storage_wins(alice):
    alice.result("set", private(("a@conf.example", "early"), ("A@conf.example", "late")))
    assert rooms(alice.result("get", GET_PRIVATE)) == {("a@conf.example", "late", "true", "me")}


@pytest.mark.parametrize("item", ["not a jid@@", "room@conf.example/me", None])
@pytest.mark.parametrize("exists", [False, True])
def test_an_item_is_named_by_the_bare_jid_of_its_room(alice, item, exists):
    """XEP-0402 §3."""
    if exists:
        alice.result("set", publish(NODE, conference(), item="a@conf.example", **OPTIONS))
    name, kind, condition = error_of(alice, "set", publish(NODE, conference(), item=item))
    assert (name, kind) == ("bad-request", "modify"), condition
    text = alice.log[-1].find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}text").text
    assert "bare JID" in text
    assert len(rooms(alice.result("get", GET_PRIVATE))) == exists


@pytest.mark.parametrize("column, value", [("id", "not a jid@@"), ("xml", "<conference"),
                                           ("xml", "<a xmlns='urn:x'/>")])
def test_a_damaged_row_is_no_bookmark(server, column, value):
    alice = server.client("alice")
    for room in "ab":
        alice.result("set", publish(NODE, conference(name=room), item=f"{room}@conf.example",
                                    **OPTIONS))
    server.stop()
    with server.database() as db:
        db.execute(f"UPDATE pubsub_item SET {column} = ? WHERE id = ?", (value, "a@conf.example"))
    server.start()
    alice = server.client("alice")
    assert rooms(alice.result("get", GET_PRIVATE)) == {("b@conf.example", "b", "true", "me")}
    alice.result("set", private(("b@conf.example", "new")))
    assert rooms(alice.result("get", GET_PRIVATE)) == {("b@conf.example", "new", "true", "me")}


def test_a_node_of_that_name_at_a_service_is_no_bookmark(alice):
    """At a pubsub service it is a node as any other."""
    service = "pubsub.localhost"
    alice.result("set", create(NODE), service)
    alice.result("set", publish(NODE, conference(), item="not a jid@@"), service)


def test_the_newer_of_two_items_wins(alice):
    """Items whose ids are two spellings of one address."""
    for item, name in (("a@conf.example", "old"), ("A@conf.example", "new")):
        alice.result("set", publish(NODE, conference(name=name), item=item, **OPTIONS))
    assert rooms(alice.result("get", GET_PRIVATE)) == {("a@conf.example", "new", "true", "me")}
    alice.result("set", private(("a@conf.example", "newest")))
    assert rooms(alice.result("get", GET_PRIVATE)) == {("a@conf.example", "newest", "true", "me")}
    assert len(item_ids(alice.result("get", get_items(NODE)))) == 1
    alice.result("set", private())
    assert item_ids(alice.result("get", get_items(NODE))) == []


def test_a_request_that_is_refused_changes_no_bookmark(alice):
    """XEP-0049 §2.3: one of its elements has a reserved namespace."""
    storage = private(("a@conf.example", "A")).partition(">")[2]
    assert alice.error("set", "<query xmlns='jabber:iq:private'><a xmlns='jabber:a'/>" +
                       storage)[0] == "not-acceptable"
    assert rooms(alice.result("get", GET_PRIVATE)) == set()


# --- nodes of clients ---

def test_an_account_goes_while_its_bookmarks_are_converted(make_server):
    """A late consequence of the last change of an account makes no node for a deleted account."""
    server = make_server("bob", workers=1)
    bob = server.client("bob")
    for i in range(10):
        server.add_user("alice")
        alice = server.client("alice", "a")
        for j in range(5):
            rooms = [(f"r{j}-{k}@c.localhost", "room") for k in range(5)]
            alice.send(f"<iq type='set' id='p{j}'>{private(*rooms)}</iq>")
            bob.send(f"<iq type='get' id='i{i}-{j}' to='{alice.bare}'>{get_items(NODE)}</iq>")
        if i % 2 == 0:
            server.ctl("user", "disable", alice.bare)
            server.ctl("user", "enable", alice.bare)
        server.ctl("user", "del", alice.bare)
        alice.close()
        bob.ping()
    with server.database() as db:
        assert db.execute("SELECT count(*) FROM pubsub_item").fetchone() == (0,)


def test_displayed_synchronization(server):
    """XEP-0490 §4.4: with the server's help."""
    alice, other = server.client("alice", "a"), server.login("alice", "other")
    bob = server.client("bob", "b")
    interested(other, MDS)
    displayed = (f"<displayed xmlns='{MDS}'><stanza-id xmlns='urn:xmpp:sid:0' by='{alice.bare}' "
                 "id='17'/></displayed>")
    alice.send(f"<message to='{bob.bare}'><displayed xmlns='urn:xmpp:chat-markers:0' id='m'/>"
               f"{displayed}</message>")
    got = bob.expect(f"<message from='{alice}'/>")
    assert got.find(f"{{{MDS}}}displayed") is None
    assert got.find("{urn:xmpp:chat-markers:0}displayed") is not None
    expect_event(other, MDS, alice.bare, f"<item id='{bob.bare}'>{displayed}</item>")
    assert error_of(bob, "get", get_items(MDS), alice.bare)[0] in ("not-allowed", "item-not-found")
    alice.result("set", publish(MDS, displayed, item="room@conf.example", **OPTIONS))
    assert set(item_ids(alice.result("get", get_items(MDS)))) == {bob.bare, "room@conf.example"}


@pytest.mark.parametrize("node, item, options", [
    ("urn:xmpp:contacts", "friend@example.org", OPTIONS),  # XEP-0292 §5
    ("eu.siacs.conversations.axolotl.devicelist", "current",
     {"access_model": "open", "persist_items": "true"}),
    ("eu.siacs.conversations.axolotl.bundles:31415", "current", {"access_model": "open"}),
    ("urn:xmpp:omemo:2:bundles", "31415", {"access_model": "open", "max_items": "max"}),
    ("urn:xmpp:openpgp:0:public-keys", "current", {"access_model": "open"}),
    ("http://jabber.org/protocol/nick", None, {}),
    ("http://jabber.org/protocol/geoloc", None, {"access_model": "presence"}),
])
def test_nodes_of_clients(alice, node, item, options):
    payload = "<any xmlns='urn:example:any'/>"
    for _ in range(2):
        alice.result("set", publish(node, payload, item=item, **options))
    assert len(item_ids(alice.result("get", get_items(node)))) == 1


def test_private_data_in_nodes(alice, bob):
    """XEP-0223: nobody else sees what is published so."""
    alice.result("set", publish("urn:example:private", item="current", persist_items="true",
                                access_model="whitelist"))
    assert error_of(bob, "get", get_items("urn:example:private"), alice.bare)[2] == "closed-node"
    assert error_of(bob, "get", pubsub("<items node='urn:example:none'/>"), alice.bare)[0] == \
        "item-not-found"
