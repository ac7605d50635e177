"""The publish-subscribe service of a domain (XEP-0060): each use case and its errors."""
import pytest

from harness import xml
from harness.pubsub import (
    DATA, EVENT, NS, OWNER, affiliations, attributes, configure, create, entry, error_of,
    expect_event, form, get_items, item_ids, publish, pubsub, retract, subscribe, subscriptions,
    unsubscribe)

HOST = "pubsub.localhost"


@pytest.fixture
def node(alice):
    """A node of alice with the defaults of the service."""
    alice.result("set", create("news"), to=HOST)
    return "news"


def fields(answer):
    return {f.get("var"): [v.text or "" for v in f.findall(f"{{{DATA}}}value")]
            for f in answer.iter(f"{{{DATA}}}field")}


def access_options(answer):
    """What the form to fill in offers as access models."""
    field = next(f for f in answer.iter(f"{{{DATA}}}field")
                 if f.get("var") == "pubsub#access_model")
    return [v.text for o in field.findall(f"{{{DATA}}}option") for v in o]


# --- discovery (§5) ---


def test_the_service_is_found(alice):
    items = alice.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to="localhost")
    assert HOST in {i.get("jid") for i in items}
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=HOST)
    assert ("pubsub", "service") in {(i.get("category"), i.get("type")) for i in info}
    found = {f.get("var") for f in info}
    assert {NS, NS + "#publish", NS + "#retrieve-items", NS + "#subscribe"} <= found


def test_nodes_and_their_items_are_found(alice, bob, node):
    alice.result("set", create("titled", title="A <title>"), to=HOST)
    alice.result("set", publish(node, item="1"), to=HOST)
    items = bob.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to=HOST)
    assert {(i.get("node"), i.get("name")) for i in items} == \
        {("news", None), ("titled", "A <title>")}
    items = bob.result("get", f"<query xmlns='{xml.DISCO_ITEMS}' node='news'/>", to=HOST)
    assert [(i.get("jid"), i.get("name")) for i in items] == [(HOST, "1")]
    assert bob.error("get", f"<query xmlns='{xml.DISCO_ITEMS}' node='no'/>", to=HOST)[0] == \
        "item-not-found"


def test_a_node_has_meta_data(alice, bob, node):
    info = bob.result("get", f"<query xmlns='{xml.DISCO_INFO}' node='news'/>", to=HOST)
    assert ("pubsub", "leaf") in {(i.get("category"), i.get("type")) for i in info}
    meta = fields(info)
    assert meta["FORM_TYPE"] == [NS + "#meta-data"]
    assert meta["pubsub#owner"] == [alice.bare]
    assert meta["pubsub#creator"] == [alice.bare]
    assert meta["pubsub#num_subscribers"] == ["0"]
    assert meta["pubsub#creation_date"][0].endswith("Z")
    assert bob.error("get", f"<query xmlns='{xml.DISCO_INFO}' node='no'/>", to=HOST)[0] == \
        "item-not-found"


# --- nodes (§8.1 to §8.5) ---


def test_create_and_delete(alice, bob, node):
    assert error_of(alice, "set", create(node), HOST) == ("conflict", "cancel", None)
    delete = pubsub(f"<delete node='{node}'/>", OWNER)
    assert error_of(bob, "set", delete, HOST)[0] == "forbidden"
    bob.result("set", subscribe(node, bob.bare), to=HOST)
    alice.result("set", pubsub(f"<delete node='{node}'><redirect uri='xmpp:{HOST}?;node=b'/>"
                               "</delete>", OWNER), to=HOST)
    bob.expect(f"<message from='{HOST}'><event xmlns='{EVENT}'><delete node='{node}'>"
               f"<redirect uri='xmpp:{HOST}?;node=b'/></delete></event></message>")
    assert error_of(alice, "set", delete, HOST) == ("item-not-found", "cancel", None)
    assert error_of(alice, "set", pubsub("<delete/>", OWNER), HOST) == \
        ("bad-request", "modify", "nodeid-required")


def test_an_instant_node_gets_a_name(alice):
    answer = alice.result("set", create(), to=HOST)
    name = answer.find(f"{{{NS}}}create").get("node")
    assert len(name) == 32
    alice.result("set", publish(name), to=HOST)


def test_a_node_is_made_as_configured(alice, bob):
    alice.result("set", create("closed", access_model="whitelist", title="T"), to=HOST)
    found = fields(alice.result("get", configure("closed"), to=HOST))
    assert (found["pubsub#access_model"], found["pubsub#title"]) == (["whitelist"], ["T"])
    assert error_of(bob, "get", get_items("closed"), HOST) == \
        ("not-allowed", "cancel", "closed-node")
    assert error_of(bob, "set", subscribe("closed", bob.bare), HOST) == \
        ("not-allowed", "cancel", "closed-node")


@pytest.mark.parametrize("config, error", [
    ({"access_model": "nonsense"}, "not-acceptable"),
    ({"max_items": "0"}, "not-acceptable"),
    ({"max_items": "100000000"}, "not-acceptable"),
    ({"persist_items": "maybe"}, "not-acceptable"),
    ({"node_type": "collection"}, "feature-not-implemented"),
])
def test_what_a_node_cannot_be(alice, config, error):
    assert error_of(alice, "set", create("odd", **config), HOST)[0] == error
    assert error_of(alice, "get", configure("odd"), HOST)[0] == "item-not-found"


@pytest.mark.parametrize("x", [
    f"<x xmlns='{DATA}' type='form'/>",
    f"<x xmlns='{DATA}' type='result'/>",
    f"<x xmlns='{DATA}' type='nonsense'/>",
    f"<x xmlns='{DATA}' type='submit'><field><value>1</value></field></x>",
    f"<x xmlns='{DATA}' type='submit'><field var='FORM_TYPE'><value>other</value></field></x>",
    "<x xmlns='urn:other'/>",
    "",
])
def test_forms_that_are_none(alice, node, x):
    before = fields(alice.result("get", configure(node), to=HOST))
    assert error_of(alice, "set", pubsub(f"<configure node='{node}'>{x}</configure>", OWNER),
                    HOST)[0] == "bad-request"
    assert fields(alice.result("get", configure(node), to=HOST)) == before


def test_configuration(alice, bob, node):
    assert error_of(bob, "get", configure(node), HOST)[0] == "forbidden"
    assert error_of(bob, "set", configure(node, title="x"), HOST)[0] == "forbidden"
    default = fields(alice.result("get", pubsub("<default/>", OWNER), to=HOST))
    assert default == fields(alice.result("get", configure(node), to=HOST))
    assert default["pubsub#access_model"] == ["open"]
    assert access_options(alice.result("get", configure(node), to=HOST)) == \
        ["open", "presence", "roster", "authorize", "whitelist"]
    alice.result("set", configure(node, title="News", max_items=2, roster_groups_allowed=["a", "b"],
                                  notify_config=1, unknown_field="x"), to=HOST)
    found = fields(alice.result("get", configure(node), to=HOST))
    assert found["pubsub#title"] == ["News"] and found["pubsub#max_items"] == ["2"]
    assert found["pubsub#roster_groups_allowed"] == ["a", "b"]
    bob.result("set", subscribe(node, bob.bare), to=HOST)
    alice.result("set", configure(node, title="Olds"), to=HOST)
    event = bob.expect(f"<message from='{HOST}'><event xmlns='{EVENT}'>"
                       f"<configuration node='{node}'/></event></message>")
    assert fields(event)["pubsub#title"] == ["Olds"]
    cancel = pubsub(f"<configure node='{node}'><x xmlns='{DATA}' type='cancel'/></configure>",
                    OWNER)
    alice.result("set", cancel, to=HOST)
    assert error_of(alice, "set", configure(node), HOST)[0] == "bad-request"
    assert error_of(alice, "get", pubsub("<configure/>", OWNER), HOST)[2] == "nodeid-required"


def test_purge(alice, bob, node):
    alice.result("set", configure(node, notify_retract=1), to=HOST)
    for i in range(3):
        alice.result("set", publish(node, item=str(i)), to=HOST)
    purge = pubsub(f"<purge node='{node}'/>", OWNER)
    assert error_of(bob, "set", purge, HOST)[0] == "forbidden"
    bob.result("set", subscribe(node, bob.bare), to=HOST)
    alice.result("set", purge, to=HOST)
    bob.expect(f"<message from='{HOST}'><event xmlns='{EVENT}'><purge node='{node}'/></event>"
               "</message>")
    assert item_ids(alice.result("get", get_items(node), to=HOST)) == []
    alice.result("set", configure(node, persist_items=0), to=HOST)
    assert error_of(alice, "set", purge, HOST) == \
        ("feature-not-implemented", "cancel", "unsupported")


def test_limits_of_nodes(make_server):
    server = make_server("alice", "bob", settings={"pubsub.user-nodes-max": 2})
    alice, bob = server.client("alice"), server.client("bob")
    alice.result("set", create("a"), to=HOST)
    alice.result("set", create("b"), to=HOST)
    assert error_of(alice, "set", create("c"), HOST) == \
        ("conflict", "cancel", "max-nodes-exceeded")
    bob.result("set", create("c"), to=HOST)
    server.ctl("set", "pubsub.create", "nobody")
    assert error_of(bob, "set", create("d"), HOST)[0] == "forbidden"
    server.ctl("set", "pubsub.enabled", "off")
    assert bob.error("set", create("d"), to=HOST)[0] == "remote-server-not-found"


# --- publishing (§7) ---


def test_publish_and_notify(alice, bob, node):
    bob.result("set", subscribe(node, bob.bare), to=HOST)
    answer = alice.result("set", publish(node, entry("one"), item="1"), to=HOST)
    assert item_ids(answer) == ["1"]
    items = expect_event(bob, node, HOST, f"<item id='1' publisher='{alice.bare}'>{entry('one')}"
                         "</item>")
    assert len(items) == 1
    answer = alice.result("set", publish(node, entry("two")), to=HOST)
    made = item_ids(answer)[0]
    assert made
    expect_event(bob, node, HOST, f"<item id='{made}'>{entry('two')}</item>")
    found = alice.result("get", get_items(node), to=HOST)
    assert item_ids(found) == [made, "1"]


def test_publishing_the_same_id_replaces(alice, node):
    for text in ("one", "two"):
        alice.result("set", publish(node, entry(text), item="1"), to=HOST)
    found = alice.result("get", get_items(node), to=HOST)
    assert [e.text for e in found.iter("{urn:example:entry}entry")] == ["two"]


@pytest.mark.parametrize("request_text, error", [
    (pubsub("<publish><item/></publish>"), ("bad-request", "modify", "nodeid-required")),
    (pubsub("<publish node='news'/>"), ("bad-request", "modify", "item-required")),
    (pubsub("<publish node='news'><item/></publish>"),
     ("bad-request", "modify", "payload-required")),
    (pubsub(f"<publish node='news'><item>{entry()}{entry()}</item></publish>"),
     ("bad-request", "modify", "invalid-payload")),
    (pubsub(f"<publish node='news'><item>{entry()}</item><item>{entry()}</item></publish>"),
     ("bad-request", "modify", "invalid-payload")),
    (publish("none"), ("item-not-found", "cancel", None)),
    (publish("news", item="x" * 2000), ("not-acceptable", "modify", None)),
    (pubsub(f"<create node='{'n' * 2000}'/>"), ("not-acceptable", "modify", None)),
    (pubsub("<nonsense node='news'/>"), ("bad-request", "modify", None)),
    (pubsub(""), ("bad-request", "modify", None)),
    (pubsub("<retract node='news'/>"), ("bad-request", "modify", "item-required")),
    (pubsub("<retract node='news'><item/></retract>"), ("bad-request", "modify", "item-required")),
    (pubsub("<retract><item id='1'/></retract>"), ("bad-request", "modify", "nodeid-required")),
    (retract("news", "none"), ("item-not-found", "cancel", None)),
    (pubsub("<subscribe node='news'/>"), ("bad-request", "modify", "jid-required")),
    (pubsub("<subscribe node='news' jid='a@'/>"), ("bad-request", "modify", "invalid-jid")),
    (pubsub("<subscribe jid='alice@localhost'/>"), ("bad-request", "modify", "nodeid-required")),
    (pubsub("<publish node='news'><item><e xmlns='urn:e'/></item></publish><publish-options>"
            f"<x xmlns='{DATA}' type='submit'><field var='FORM_TYPE'><value>other</value></field>"
            "</x></publish-options>"), ("bad-request", "modify", "invalid-options")),
])
def test_requests_that_are_wrong(alice, node, request_text, error):
    assert error_of(alice, "set", request_text, HOST) == error


def test_payload_too_big(alice, node):
    alice.result("set", configure(node, max_payload_size=100), to=HOST)
    assert error_of(alice, "set", publish(node, entry("x" * 100)), HOST) == \
        ("not-acceptable", "modify", "payload-too-big")
    alice.result("set", publish(node, entry("x")), to=HOST)


def test_limit_of_stored_bytes(make_server):
    server = make_server("alice", settings={"pubsub.bytes-max": "1MiB", "c2s.stanza-bytes": "1MiB"},
                         why="items of more than 256 KiB")
    alice = server.client("alice")
    alice.result("set", create("big"), to=HOST)
    big = entry("x" * 250000)
    for i in range(4):
        alice.result("set", publish("big", big, item=str(i)), to=HOST)
    assert error_of(alice, "set", publish("big", big, item="4"), HOST)[0] == "policy-violation"
    alice.result("set", publish("big", big, item="0"), to=HOST)
    alice.result("set", retract("big", "1"), to=HOST)
    alice.result("set", publish("big", big, item="4"), to=HOST)


def test_only_so_many_items_are_kept(alice, node):
    alice.result("set", configure(node, max_items=2), to=HOST)
    for i in range(5):
        alice.result("set", publish(node, item=str(i)), to=HOST)
    assert item_ids(alice.result("get", get_items(node), to=HOST)) == ["4", "3"]
    alice.result("set", configure(node, max_items=1), to=HOST)
    assert item_ids(alice.result("get", get_items(node), to=HOST)) == ["4"]


def test_items_expire(alice, node):
    alice.result("set", publish(node, item="old"), to=HOST)
    alice.result("set", configure(node, item_expire=0), to=HOST)
    assert item_ids(alice.result("get", get_items(node), to=HOST)) == []
    assert error_of(alice, "get", get_items(node, "old"), HOST)[0] == "item-not-found"
    listed = alice.result("get", f"<query xmlns='{xml.DISCO_ITEMS}' node='{node}'/>", to=HOST)
    assert len(listed) == 0
    alice.result("set", configure(node, item_expire="max"), to=HOST)
    assert item_ids(alice.result("get", get_items(node), to=HOST)) == ["old"]


def test_publish_options(alice, node):
    alice.result("set", publish(node, item="1", access_model="open", persist_items=1), to=HOST)
    for wrong in ({"access_model": "whitelist"}, {"max_items": 7}, {"no_such_option": 1}):
        assert error_of(alice, "set", publish(node, item="2", **wrong), HOST) == \
            ("conflict", "cancel", "precondition-not-met")
    assert item_ids(alice.result("get", get_items(node), to=HOST)) == ["1"]


def test_a_node_without_payloads(alice, bob):
    alice.result("set", create("bell", persist_items=0, deliver_payloads=0), to=HOST)
    bob.result("set", subscribe("bell", bob.bare), to=HOST)
    assert error_of(alice, "set", publish("bell"), HOST) == \
        ("bad-request", "modify", "item-forbidden")
    alice.result("set", pubsub("<publish node='bell'/>"), to=HOST)
    assert len(expect_event(bob, "bell", HOST)) == 0


def test_a_node_that_keeps_nothing(alice, bob):
    alice.result("set", create("passing", persist_items=0), to=HOST)
    bob.result("set", subscribe("passing", bob.bare), to=HOST)
    alice.result("set", publish("passing", item="1"), to=HOST)
    expect_event(bob, "passing", HOST, "<item id='1'/>")
    assert item_ids(bob.result("get", get_items("passing"), to=HOST)) == ["1"]
    assert error_of(alice, "set", retract("passing", "1"), HOST)[2] == "unsupported"


def test_retract(alice, bob, carol, node):
    alice.result("set", configure(node, publish_model="open"), to=HOST)
    for i in "12":
        bob.result("set", publish(node, item=i), to=HOST)
    carol.result("set", subscribe(node, carol.bare), to=HOST)
    assert error_of(carol, "set", retract(node, "1"), HOST)[0] == "forbidden"
    assert error_of(carol, "set", publish(node, item="1"), HOST)[0] == "forbidden"
    carol.drain()
    bob.result("set", retract(node, "1"), to=HOST)
    bob.ping()
    carol.expect_nothing("<message/>")
    alice.result("set", retract(node, "2", notify="true"), to=HOST)
    expect_event(carol, node, HOST, "<retract id='2'/>")


def test_who_may_publish(alice, bob, carol, node):
    assert error_of(bob, "set", publish(node), HOST)[0] == "forbidden"
    alice.result("set", affiliations(node, to={bob.bare: "publisher"}), to=HOST)
    bob.result("set", publish(node), to=HOST)
    alice.result("set", affiliations(node, to={bob.bare: "publish-only"}), to=HOST)
    bob.result("set", publish(node), to=HOST)
    assert error_of(bob, "get", get_items(node), HOST)[0] == "forbidden"
    alice.result("set", configure(node, publish_model="subscribers"), to=HOST)
    assert error_of(carol, "set", publish(node), HOST)[0] == "forbidden"
    carol.result("set", subscribe(node, carol.bare), to=HOST)
    carol.result("set", publish(node), to=HOST)


def test_replies_go_where_the_node_says(alice, bob, node):
    bob.result("set", subscribe(node, bob.bare), to=HOST)
    alice.result("set", configure(node, itemreply="publisher"), to=HOST)
    alice.result("set", publish(node), to=HOST)
    bob.expect("<message><addresses xmlns='http://jabber.org/protocol/address'>"
               f"<address type='replyto' jid='{alice.bare}'/></addresses></message>")


def test_notifications_are_not_kept(server, alice, node):
    """Headlines are for those who are there; the archive does not have them."""
    bob = server.client("bob", "b")
    bob.result("set", subscribe(node, bob.bare), to=HOST)
    bob.close()
    alice.result("set", publish(node), to=HOST)
    bob = server.client("bob", "b")
    bob.expect_nothing("<message/>")
    answer = bob.iq("set", "<query xmlns='urn:xmpp:mam:2'/>")
    assert answer.get("type") == "result"
    assert not [e for e in bob.inbox if e.tag == f"{{{xml.CLIENT}}}message"]


@pytest.mark.parametrize("kind, attribute", [("normal", "-"), ("chat", "chat"),
                                             ("headline", "headline")])
def test_type_of_notifications(alice, bob, node, kind, attribute):
    alice.result("set", configure(node, notification_type=kind), to=HOST)
    bob.result("set", subscribe(node, bob.bare), to=HOST)
    alice.result("set", publish(node), to=HOST)
    bob.expect(f"<message from='{HOST}' type='{attribute}'><event xmlns='{EVENT}'/></message>")


# --- retrieving (§6.5) ---


def test_items_by_id_and_by_number(alice, bob, node):
    for i in range(5):
        alice.result("set", publish(node, item=str(i)), to=HOST)
    assert item_ids(bob.result("get", get_items(node, "1", "3", "no"), to=HOST)) == ["1", "3"]
    assert item_ids(bob.result("get", get_items(node, max_items=2), to=HOST)) == ["4", "3"]
    assert error_of(bob, "get", get_items(node, "no"), HOST)[0] == "item-not-found"
    assert error_of(bob, "get", get_items("no"), HOST)[0] == "item-not-found"
    assert error_of(bob, "get", pubsub("<items/>"), HOST)[2] == "nodeid-required"
    for wrong in ("0", "-1", "x"):
        assert error_of(bob, "get", get_items(node, max_items=wrong), HOST)[0] == "bad-request"


def test_items_by_page(alice, node):
    rsm = "http://jabber.org/protocol/rsm"
    for i in range(7):
        alice.result("set", publish(node, item=str(i)), to=HOST)
    seen, after = [], ""
    while True:
        answer = alice.result("get", get_items(
            node, page=f"<set xmlns='{rsm}'><max>3</max>{after}</set>"), to=HOST)
        page = answer.find(f"{{{rsm}}}set")
        assert page.findtext(f"{{{rsm}}}count") == "7"
        if not item_ids(answer):
            break
        seen += item_ids(answer)
        after = f"<after>{page.findtext(f'{{{rsm}}}last')}</after>"
    assert seen == list("6543210")
    assert error_of(alice, "get", get_items(
        node, page=f"<set xmlns='{rsm}'><after>no</after></set>"), HOST)[0] == "item-not-found"
    assert error_of(alice, "get", get_items(
        node, page=f"<set xmlns='{rsm}'><max>-3</max></set>"), HOST)[0] == "bad-request"


# --- subscriptions (§5.6, §6, §8.8) ---


def test_subscribe_and_unsubscribe(alice, bob, node):
    answer = bob.result("set", subscribe(node, bob.bare), to=HOST)
    found = answer.find(f"{{{NS}}}subscription")
    subid = found.get("subid")
    assert found.get("subscription") == "subscribed" and subid
    again = bob.result("set", subscribe(node, bob.bare), to=HOST).find(f"{{{NS}}}subscription")
    assert again.get("subid") == subid
    listed = bob.result("get", pubsub("<subscriptions/>"), to=HOST)
    assert [(s.get("node"), s.get("jid")) for s in listed.iter(f"{{{NS}}}subscription")] == \
        [(node, bob.bare)]
    assert error_of(bob, "set", unsubscribe(node, bob.bare, "wrong"), HOST) == \
        ("not-acceptable", "modify", "invalid-subid")
    assert error_of(alice, "set", unsubscribe("no", alice.bare), HOST)[0] == "item-not-found"
    bob.result("set", unsubscribe(node, bob.bare, subid), to=HOST)
    assert error_of(bob, "set", unsubscribe(node, bob.bare), HOST)[::2] == \
        ("unexpected-request", "not-subscribed")
    alice.result("set", publish(node), to=HOST)
    bob.expect_nothing("<message/>", after=alice)


def test_nobody_subscribes_somebody_else(alice, bob, node):
    for jid in (bob.bare, bob.jid, f"{alice.bare}/elsewhere"):
        assert error_of(alice, "set", subscribe(node, jid), HOST) == \
            ("bad-request", "modify", "invalid-jid")
    bob.result("set", subscribe(node, bob.bare), to=HOST)
    carol_like = unsubscribe(node, bob.bare)
    assert error_of(bob, "set", subscribe("no", bob.bare), HOST)[0] == "item-not-found"
    alice.result("set", carol_like, to=HOST)  # an owner may


def test_a_full_address_gets_its_own(server, alice, bob, node):
    other = server.client("bob", "other")
    bob.result("set", subscribe(node, bob.jid), to=HOST)
    alice.result("set", publish(node, item="1"), to=HOST)
    expect_event(bob, node, HOST, "<item id='1'/>")
    other.expect_nothing("<message/>", after=alice)


def test_options(alice, bob, node):
    bob.result("set", subscribe(node, bob.bare, deliver=0), to=HOST)
    options = pubsub(f"<options{attributes(node=node, jid=bob.bare)}/>")
    assert fields(bob.result("get", options, to=HOST))["pubsub#deliver"] == ["0"]
    alice.result("set", publish(node), to=HOST)
    bob.expect_nothing("<message/>", after=alice)
    change = pubsub(f"<options{attributes(node=node, jid=bob.bare)}>"
                    f"{form('subscribe_options', deliver=1)}</options>")
    bob.result("set", change, to=HOST)
    alice.result("set", publish(node, item="2"), to=HOST)
    expect_event(bob, node, HOST, "<item id='2'/>")
    default = pubsub(f"<default node='{node}'/>")
    assert fields(bob.result("get", default, to=HOST))["pubsub#deliver"] == ["1"]
    assert error_of(alice, "get", pubsub(f"<options{attributes(node=node, jid=alice.bare)}/>"),
                    HOST)[::2] == ("unexpected-request", "not-subscribed")
    wrong = pubsub(f"<options{attributes(node=node, jid=bob.bare)}>"
                   f"{form('subscribe_options', deliver='often')}</options>")
    assert error_of(bob, "set", wrong, HOST) == ("bad-request", "modify", "invalid-options")
    assert error_of(bob, "set", subscribe(node, bob.jid, deliver="often"), HOST)[2] == \
        "invalid-options"


def test_the_last_item_comes_with_a_subscription(alice, bob, node):
    for i in "12":
        alice.result("set", publish(node, item=i), to=HOST)
    bob.result("set", subscribe(node, bob.bare), to=HOST)
    message = bob.expect(f"<message from='{HOST}'><event xmlns='{EVENT}'><items node='{node}'>"
                         f"<item id='2'/></items></event><delay xmlns='{xml.DELAY}'/></message>")
    assert message.get("type") == "headline"
    bob.result("set", subscribe(node, bob.bare), to=HOST)
    bob.expect_nothing("<message/>")


def test_authorization(alice, bob, carol):
    alice.result("set", create("club", access_model="authorize"), to=HOST)
    assert error_of(bob, "get", get_items("club"), HOST) == \
        ("not-authorized", "auth", "not-subscribed")
    answer = bob.result("set", subscribe("club", bob.bare), to=HOST)
    assert answer.find(f"{{{NS}}}subscription").get("subscription") == "pending"
    assert error_of(bob, "set", subscribe("club", bob.bare), HOST) == \
        ("not-authorized", "auth", "pending-subscription")
    asked = alice.expect(f"<message from='{HOST}'><x xmlns='{DATA}'/></message>")
    assert fields(asked)["pubsub#subscriber_jid"] == [bob.bare]
    reply = (f"<message to='{HOST}'>" + form("subscribe_authorization", node="club",
                                             subscriber_jid=bob.bare, allow=1) + "</message>")
    carol.send(reply)  # is no owner
    carol.ping()
    alice.send(reply)
    bob.expect(f"<message from='{HOST}'><event xmlns='{EVENT}'><subscription node='club' "
               f"jid='{bob.bare}' subscription='subscribed'/></event></message>")
    alice.result("set", publish("club", item="1"), to=HOST)
    expect_event(bob, "club", HOST, "<item id='1'/>")
    assert item_ids(bob.result("get", get_items("club"), to=HOST)) == ["1"]
    bob.expect_nothing("<message/>")


def test_owners_manage_subscriptions(alice, bob, carol, node):
    assert error_of(bob, "get", subscriptions(node), HOST)[0] == "forbidden"
    assert error_of(bob, "set", subscriptions(node, {bob.bare: "subscribed"}), HOST)[0] == \
        "forbidden"
    bob.result("set", subscribe(node, bob.bare), to=HOST)
    alice.result("set", subscriptions(node, {bob.bare: "subscribed", carol.bare: "pending"}),
                 to=HOST)
    bob.expect(f"<message><event xmlns='{EVENT}'><subscription subscription='subscribed'/></event>"
               "</message>")
    listed = alice.result("get", subscriptions(node), to=HOST)
    assert {(s.get("jid"), s.get("subscription")) for s in
            listed.iter(f"{{{OWNER}}}subscription")} == \
        {(bob.bare, "subscribed"), (carol.bare, "pending")}
    alice.result("set", subscriptions(node, {bob.bare: "none"}), to=HOST)
    bob.expect(f"<message><event xmlns='{EVENT}'><subscription subscription='none'/></event>"
               "</message>")
    for wrong in ({"a@": "subscribed"}, {bob.bare: "perhaps"}, {}):
        assert error_of(alice, "set", subscriptions(node, wrong), HOST)[0] == "bad-request"


def test_owners_hear_of_subscriptions(alice, bob, node):
    alice.result("set", configure(node, notify_sub=1), to=HOST)
    bob.result("set", subscribe(node, bob.bare), to=HOST)
    alice.expect(f"<message from='{HOST}'><event xmlns='{EVENT}'><subscription node='{node}' "
                 f"jid='{bob.bare}' subscription='subscribed'/></event></message>")
    bob.result("set", unsubscribe(node, bob.bare), to=HOST)
    alice.expect(f"<message from='{HOST}'><event xmlns='{EVENT}'><subscription node='{node}' "
                 f"jid='{bob.bare}' subscription='none'/></event></message>")


def test_subscriptions_may_be_switched_off_and_are_limited(make_server):
    server = make_server("alice", "bob", "carol", settings={"pubsub.subscriptions-max": 1})
    alice, bob, carol = (server.client(n) for n in ("alice", "bob", "carol"))
    alice.result("set", create("one"), to=HOST)
    bob.result("set", subscribe("one", bob.bare), to=HOST)
    assert error_of(carol, "set", subscribe("one", carol.bare), HOST)[::2] == \
        ("policy-violation", "too-many-subscriptions")
    alice.result("set", create("silent", subscribe=0), to=HOST)
    assert error_of(bob, "set", subscribe("silent", bob.bare), HOST) == \
        ("feature-not-implemented", "cancel", "unsupported")


def test_owners_manage_a_full_node(make_server):
    """Who fills a node with requests does not take it from its owners."""
    server = make_server("alice", "bob", "carol", settings={"pubsub.subscriptions-max": 1})
    alice, bob, carol = (server.client(n) for n in ("alice", "bob", "carol"))
    alice.result("set", create("club", access_model="authorize"), to=HOST)
    bob.result("set", subscribe("club", bob.bare), to=HOST)
    alice.result("set", subscriptions("club", {bob.bare: "subscribed"}), to=HOST)
    assert error_of(alice, "set", subscriptions("club", {carol.bare: "subscribed"}), HOST)[::2] == \
        ("policy-violation", "too-many-subscriptions")
    alice.result("set", affiliations("club", to={alice.bare: "owner"}), to=HOST)
    assert error_of(alice, "set", affiliations("club", to={bob.bare: "member"}), HOST)[0] == \
        "policy-violation"
    alice.result("set", subscriptions("club", {bob.bare: "none"}), to=HOST)
    alice.result("set", subscriptions("club", {carol.bare: "subscribed"}), to=HOST)
    found = alice.result("get", subscriptions("club"), to=HOST)
    assert [s.get("jid") for s in found.iter(f"{{{OWNER}}}subscription")] == [carol.bare]


# --- affiliations (§5.7, §8.9) ---


def test_affiliations(alice, bob, carol, node):
    assert error_of(bob, "get", affiliations(node), HOST)[0] == "forbidden"
    alice.result("set", affiliations(node, to={bob.bare: "member", carol.bare: "outcast"}),
                 to=HOST)
    listed = alice.result("get", affiliations(node), to=HOST)
    assert {(a.get("jid"), a.get("affiliation")) for a in listed.iter(f"{{{OWNER}}}affiliation")} \
        == {(alice.bare, "owner"), (bob.bare, "member"), (carol.bare, "outcast")}
    own = bob.result("get", pubsub("<affiliations/>"), to=HOST)
    assert [(a.get("node"), a.get("affiliation")) for a in own.iter(f"{{{NS}}}affiliation")] == \
        [(node, "member")]
    for request in (subscribe(node, carol.bare), publish(node)):
        assert error_of(carol, "set", request, HOST)[0] == "forbidden"
    assert error_of(carol, "get", get_items(node), HOST)[0] == "forbidden"
    alice.result("set", affiliations(node, to={carol.bare: "none"}), to=HOST)
    carol.result("get", get_items(node), to=HOST)


def test_an_outcast_is_subscribed_no_more(alice, bob, node):
    bob.result("set", subscribe(node, bob.bare), to=HOST)
    alice.result("set", affiliations(node, to={bob.bare: "outcast"}), to=HOST)
    alice.result("set", publish(node), to=HOST)
    bob.expect_nothing("<message/>", after=alice)


def test_a_node_keeps_an_owner(alice, bob, node):
    assert error_of(alice, "set", affiliations(node, to={alice.bare: "none"}), HOST)[0] == \
        "not-acceptable"
    alice.result("set", affiliations(node, to={alice.bare: "none", bob.bare: "owner"}), to=HOST)
    assert error_of(alice, "get", affiliations(node), HOST)[0] == "forbidden"
    bob.result("get", affiliations(node), to=HOST)
    assert error_of(bob, "set", affiliations(node, to={bob.bare: "king"}), HOST)[0] == \
        "bad-request"


def test_members_of_a_closed_node(alice, bob):
    alice.result("set", create("closed", access_model="whitelist"), to=HOST)
    alice.result("set", affiliations("closed", to={bob.bare: "member"}), to=HOST)
    bob.result("set", subscribe("closed", bob.bare), to=HOST)
    alice.result("set", publish("closed", item="1"), to=HOST)
    expect_event(bob, "closed", HOST, "<item id='1'/>")
    alice.result("set", affiliations("closed", to={bob.bare: "none"}), to=HOST)
    alice.result("set", publish("closed", item="2"), to=HOST)
    bob.expect_nothing("<message/>", after=alice)


# --- durability ---


def test_what_is_answered_survives_a_kill(make_server):
    server = make_server("alice", "bob", workers=3)
    alice, bob = server.client("alice"), server.client("bob")
    alice.result("set", create("news", title="N", access_model="whitelist"), to=HOST)
    alice.result("set", affiliations("news", to={bob.bare: "member"}), to=HOST)
    subid = bob.result("set", subscribe("news", bob.bare), to=HOST)[0].get("subid")
    alice.result("set", publish("news", entry("kept"), item="1"), to=HOST)
    alice.result("set", publish("news", item="2"), to=HOST)
    alice.result("set", retract("news", "2"), to=HOST)
    server.kill()
    server.start()
    alice, bob = server.client("alice"), server.client("bob")
    found = bob.result("get", get_items("news"), to=HOST)
    assert [e.text for e in found.iter("{urn:example:entry}entry")] == ["kept"]
    listed = bob.result("get", pubsub("<subscriptions/>"), to=HOST)
    assert [s.get("subid") for s in listed.iter(f"{{{NS}}}subscription")] == [subid]
    alice.result("set", publish("news", item="3"), to=HOST)
    expect_event(bob, "news", HOST, "<item id='3'/>")
    assert item_ids(bob.result("get", get_items("news"), to=HOST)) == ["3", "1"]
