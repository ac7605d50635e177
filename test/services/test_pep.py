"""Personal eventing (XEP-0163) and the capabilities that filter it (XEP-0115, XEP-0390)."""
import base64
import hashlib

import pytest

from harness import xml
from harness.client import until
from harness.component import Component
from harness.pubsub import (
    CAPS, EVENT, NS, OWNER, affiliations, answer_caps, caps, configure, create, disco_answer, entry,
    error_of, expect_event, get_items, interested, item_ids, publish, pubsub, retract, subscribe)

TUNE = "http://jabber.org/protocol/tune"
MOOD = "http://jabber.org/protocol/mood"
ACTIVITY = "http://jabber.org/protocol/activity"


@pytest.fixture
def friends(server):
    """alice and bob, who see each other's presence, and carol, who sees nobody's."""
    server.befriend("alice", "bob")
    return server.login("alice", "a"), server.login("bob", "b"), server.login("carol", "c")


def tune(text):
    return f"<tune xmlns='{TUNE}'><title>{text}</title></tune>"


# --- publishing and who hears of it ---


def test_a_client_may_want_many_nodes(make_server):
    """Contacts are asked in one message, which another node takes, too."""
    friends = [f"c{i}" for i in range(6)]
    nodes = [f"urn:example:node:number:{i}" for i in range(250)]
    server = make_server("alice", *friends)
    for name in friends:
        server.befriend("alice", name)
        server.client(name).result("set", publish(nodes[0], tune("hello"), item="1"))
    alice = server.login("alice", "a")
    interested(alice, *nodes)
    for name in friends:
        alice.expect(f"<message from='{name}@localhost'><event xmlns='{EVENT}'/></message>")


@pytest.mark.parametrize("workers", [1, 3])
def test_contacts_hear_what_their_clients_want(make_server, workers):
    server = make_server("alice", "bob", "carol", workers=workers)
    server.befriend("alice", "bob")
    server.befriend("alice", "carol")
    alice, bob, carol = (server.login(n, "x") for n in ("alice", "bob", "carol"))
    interested(bob, TUNE)
    interested(carol, MOOD)
    interested(alice, TUNE)
    answer = alice.result("set", publish(TUNE, tune("one"), item="1"))
    assert item_ids(answer) == ["1"]
    message = bob.expect(f"<message from='{alice.bare}' to='{bob.jid}' type='headline'>"
                         f"<event xmlns='{EVENT}'><items node='{TUNE}'><item id='1'>"
                         f"{tune('one')}</item></items></event></message>")
    assert message.find(f"{{{xml.DELAY}}}delay") is None
    expect_event(alice, TUNE, alice.bare, "<item id='1'/>")
    carol.expect_nothing("<message/>", after=alice)
    bob.expect_nothing("<message/>", after=alice)


@pytest.mark.parametrize("node, payload", [
    ("http://jabber.org/protocol/geoloc", "<geoloc xmlns='http://jabber.org/protocol/geoloc' "
     "xml:lang='en'><country>Italy</country><lat>45.44</lat><lon>12.33</lon></geoloc>"),
    (MOOD, f"<mood xmlns='{MOOD}'><happy><ecstatic xmlns='urn:example:moods'/></happy>"
     "<text>Yay &lt;3</text></mood>"),
    (ACTIVITY, f"<activity xmlns='{ACTIVITY}'><relaxing><partying/></relaxing>"
     "<text xml:lang='en'>My nurse's birthday!</text></activity>"),
    (TUNE, f"<tune xmlns='{TUNE}'><artist>Yes</artist><length>686</length></tune>"),
    (TUNE, f"<tune xmlns='{TUNE}'/>"),
    ("http://jabber.org/protocol/nick", "<nick xmlns='http://jabber.org/protocol/nick'>Ish</nick>"),
])
def test_what_users_tell_about_themselves(friends, node, payload):
    """XEP-0080, 0107, 0108, 0118, 0172: as it was said, and the last of it to who comes later."""
    alice, bob, _ = friends
    interested(bob, node)
    alice.result("set", publish(node, payload))
    live = expect_event(bob, node, alice.bare)
    bob.send("<presence type='unavailable'/>")
    interested(bob, node)
    for items in (live, expect_event(bob, node, alice.bare), alice.result("get", get_items(node))):
        found = next(items.iter(xml.parse(payload).tag))
        assert xml.canonical(found) == xml.canonical(xml.parse(payload))
    assert alice.error("set", publish(node, payload + payload)) == ("bad-request", "modify")
    items = alice.result("get", get_items(node))
    assert len(item_ids(items)) == 1


def test_each_resource_by_its_own_capabilities(server, friends):
    alice, bob, _ = friends
    other, negative = server.login("bob", "other"), server.login("bob", "negative")
    interested(bob, TUNE)
    interested(other, MOOD)
    negative.available(-1, caps([xml.DISCO_INFO, TUNE + "+notify"]))
    alice.available()
    alice.result("set", publish(TUNE, tune("one")))
    expect_event(bob, TUNE, alice.bare)
    other.expect_nothing("<message/>", after=alice)
    negative.expect_nothing("<message/>")


def test_last_items_when_the_priority_is_no_longer_negative(friends):
    alice, bob, _ = friends
    features = [xml.DISCO_INFO, TUNE + "+notify"]
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    bob.available(-1, caps(features))
    answer_caps(bob, features)
    bob.expect_nothing("<message/>", after=alice)
    bob.available(0, caps(features))
    expect_event(bob, TUNE, alice.bare, "<item id='1'/>")
    bob.available(-5, caps(features))
    alice.result("set", publish(TUNE, tune("two"), item="2"))
    bob.expect_nothing("<message/>", after=alice)
    bob.available(5, caps(features))
    expect_event(bob, TUNE, alice.bare, "<item id='2'/>")
    bob.available(7, caps(features))
    bob.expect_nothing("<message/>", after=alice)


def test_without_an_id_one_is_made_and_the_node_keeps_one_item(friends):
    alice, _, _ = friends
    first = item_ids(alice.result("set", publish(TUNE, tune("one"))))[0]
    second = item_ids(alice.result("set", publish(TUNE, tune("two"))))[0]
    assert first != second
    assert item_ids(alice.result("get", get_items(TUNE))) == [second]


def test_retractions_are_told(friends):
    alice, bob, _ = friends
    interested(bob, TUNE)
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    expect_event(bob, TUNE, alice.bare, "<item id='1'/>")
    alice.result("set", retract(TUNE, "1"))
    expect_event(bob, TUNE, alice.bare, "<retract id='1'/>")
    assert error_of(alice, "set", retract(TUNE, "1"))[0] == "item-not-found"


# --- last items ---


def test_the_last_item_comes_with_presence(server, friends):
    alice, bob, _ = friends
    alice.available()
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    interested(bob, TUNE, MOOD)
    bob.expect(f"<message from='{alice.bare}' to='{bob.jid}' type='headline'>"
               f"<event xmlns='{EVENT}'><items node='{TUNE}'><item id='1'>{tune('one')}</item>"
               f"</items></event><delay xmlns='{xml.DELAY}'/></message>")
    bob.expect_nothing("<message/>")
    interested(alice, TUNE)
    expect_event(alice, TUNE, alice.bare, "<item id='1'/>")
    other = server.login("bob", "other")
    interested(other, TUNE, MOOD)
    expect_event(other, TUNE, alice.bare, "<item id='1'/>")
    bob.expect_nothing("<message/>", after=alice)


def test_the_last_item_of_one_who_is_away(make_server):
    """Also after a restart, when nothing of the owner is in memory."""
    server = make_server("alice", "bob", workers=2)
    server.befriend("alice", "bob")
    alice = server.login("alice", "a")
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    alice.close()
    server.restart()
    bob = server.login("bob", "b")
    interested(bob, TUNE)
    expect_event(bob, TUNE, "alice@localhost", "<item id='1'/>")
    bob.expect_nothing("<message/>")


def test_the_last_item_where_it_is_read_each_time(friends):
    """Large ones do not stay in memory: each change shows in what is read."""
    alice, bob, _ = friends

    def last():
        bob.send("<presence type='unavailable'/>")
        interested(bob, TUNE)
        alice.ping()
        bob.ping()
        found = [e for e in bob.inbox if e.find(f"{{{EVENT}}}event") is not None]
        bob.inbox = [e for e in bob.inbox if e not in found]
        return [item.get("id") for e in found for item in e.iter(f"{{{EVENT}}}item")]

    for ident in ("1", "2", "3"):
        alice.result("set", publish(TUNE, tune(ident * 5000), item=ident, max_items="3"))
    interested(bob, TUNE)
    until("the newest", lambda: last() == ["3"])
    alice.result("set", retract(TUNE, "3"))
    until("the one before", lambda: last() == ["2"])
    alice.result("set", retract(TUNE, "1"))
    until("the same", lambda: last() == ["2"])
    alice.result("set", publish(TUNE, tune("4"), item="4"))
    until("a small one", lambda: last() == ["4"])
    alice.result("set", pubsub(f"<purge node='{TUNE}'/>", OWNER))
    until("none", lambda: last() == [])


def test_what_is_new_is_told_when_capabilities_change(friends):
    alice, bob, _ = friends
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    alice.result("set", publish(MOOD, f"<mood xmlns='{MOOD}'/>", item="2"))
    interested(bob, TUNE)
    expect_event(bob, TUNE, alice.bare, "<item id='1'/>")
    interested(bob, TUNE, MOOD)
    expect_event(bob, MOOD, alice.bare, "<item id='2'/>")
    bob.expect_nothing("<message/>")
    bob.send("<presence/>")  # no capabilities any more
    bob.expect(f"<presence from='{bob.jid}'/>")
    alice.result("set", publish(TUNE, tune("two")))
    bob.expect_nothing("<message/>", after=alice)


def test_the_last_item_comes_with_a_subscription(server, alice, bob):
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    interested(bob, TUNE)
    bob.expect_nothing("<message/>")
    server.befriend("alice", "bob")
    expect_event(bob, TUNE, alice.bare, "<item id='1'/>")


def test_no_last_item_where_the_node_says_so(friends):
    alice, bob, _ = friends
    alice.result("set", publish(TUNE, tune("one"), item="1", send_last_published_item="never"))
    alice.result("set", publish(MOOD, f"<mood xmlns='{MOOD}'/>", item="2",
                                access_model="whitelist"))
    interested(bob, TUNE, MOOD)
    bob.expect_nothing("<message/>", after=alice)


# --- access models ---


def test_strangers_and_presence(friends):
    alice, bob, carol = friends
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    assert item_ids(bob.result("get", get_items(TUNE), to=alice.bare)) == ["1"]
    assert error_of(carol, "get", get_items(TUNE), alice.bare) == \
        ("not-authorized", "auth", "presence-subscription-required")
    assert error_of(carol, "set", subscribe(TUNE, carol.bare), alice.bare) == \
        ("not-authorized", "auth", "presence-subscription-required")
    for who in (bob, carol):
        assert error_of(who, "set", publish(TUNE, tune("x")), alice.bare)[0] == "forbidden"
        assert error_of(who, "get", configure(TUNE), alice.bare)[0] == "forbidden"


def test_nobody_learns_who_is_there(alice, bob):
    answers = {error_of(alice, kind, request, to)
               for kind, request in (("get", get_items(TUNE)), ("set", publish(TUNE)),
                                     ("set", create(TUNE)), ("set", pubsub("<nonsense/>")))
               for to in (bob.bare, "nobody@localhost")}
    assert answers == {("item-not-found", "cancel", None)}


def test_disco_does_not_tell_strangers_who_is_there(friends):
    """XEP-0030 §8: an account whose nodes they may not see is like none."""
    alice, bob, carol = friends
    query = f"<query xmlns='{xml.DISCO_ITEMS}'/>"
    alice.result("set", publish(TUNE, tune("one")))
    for node in ("", f" node='{TUNE}'", " node='another'"):
        for ns in (xml.DISCO_ITEMS, xml.DISCO_INFO):
            answers = [carol.iq("get", f"<query xmlns='{ns}'{node}/>", to)
                       for to in (alice.bare, "nobody@localhost")]
            assert len({(a.get("type"), *map(xml.canonical, a)) for a in answers}) == 1
    assert TUNE in {i.get("node") for i in bob.result("get", query, to=alice.bare)}
    alice.result("set", publish(MOOD, f"<mood xmlns='{MOOD}'/>", access_model="open"))
    assert [i.get("node") for i in carol.result("get", query, to=alice.bare)] == [MOOD]


def test_open_nodes_and_explicit_subscriptions(friends):
    alice, bob, carol = friends
    alice.result("set", publish(TUNE, tune("one"), item="1", access_model="open"))
    carol.available()
    carol.result("set", subscribe(TUNE, carol.bare), to=alice.bare)
    expect_event(carol, TUNE, alice.bare, "<item id='1'/>")
    interested(bob, TUNE)
    expect_event(bob, TUNE, alice.bare)
    bob.result("set", subscribe(TUNE, bob.bare), to=alice.bare)
    expect_event(bob, TUNE, alice.bare)
    alice.result("set", publish(TUNE, tune("two"), item="2"))
    for who in (bob, carol):  # once, although bob's client wants it too
        expect_event(who, TUNE, alice.bare, "<item id='2'/>")
        who.expect_nothing("<message/>", after=alice)


def test_roster_groups(server, friends):
    alice, bob, carol = friends
    server.befriend("alice", "carol")
    alice.result("set", "<query xmlns='jabber:iq:roster'><item jid='bob@localhost'>"
                 "<group>Close</group></item></query>")
    interested(bob, TUNE)
    interested(carol, TUNE)
    alice.result("set", create(TUNE, access_model="roster", roster_groups_allowed=["Close"]))
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    expect_event(bob, TUNE, alice.bare, "<item id='1'/>")
    carol.expect_nothing("<message/>", after=alice)
    assert error_of(carol, "get", get_items(TUNE), alice.bare) == \
        ("not-authorized", "auth", "not-in-roster-group")


def test_whitelist(friends):
    alice, bob, carol = friends
    interested(bob, TUNE)
    interested(carol, TUNE)
    alice.result("set", create(TUNE, access_model="whitelist"))
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    bob.expect_nothing("<message/>", after=alice)
    assert error_of(bob, "get", get_items(TUNE), alice.bare) == \
        ("not-allowed", "cancel", "closed-node")
    alice.result("set", affiliations(TUNE, to={bob.bare: "member", carol.bare: "member"}))
    alice.result("set", publish(TUNE, tune("two"), item="2"))
    expect_event(bob, TUNE, alice.bare, "<item id='2'/>")
    assert item_ids(carol.result("get", get_items(TUNE), to=alice.bare)) == ["2"]
    assert error_of(alice, "set", affiliations(TUNE, to={alice.bare: "none"}))[0] == \
        "not-acceptable"


def test_outcasts_hear_nothing(friends):
    alice, bob, _ = friends
    interested(bob, TUNE)
    alice.result("set", create(TUNE))
    alice.result("set", affiliations(TUNE, to={bob.bare: "outcast"}))
    alice.result("set", publish(TUNE, tune("one")))
    bob.expect_nothing("<message/>", after=alice)


def test_who_is_blocked_hears_nothing(friends):
    """XEP-0163 §4.3.3, XEP-0191."""
    alice, bob, _ = friends
    interested(bob, TUNE, MOOD)
    alice.result("set", publish(TUNE, tune("one"), access_model="open"))
    expect_event(bob, TUNE, alice.bare)
    bob.result("set", subscribe(TUNE, bob.bare), to=alice.bare)
    bob.drain()
    alice.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{bob.bare}'/></block>")
    bob.drain()
    alice.result("set", publish(TUNE, tune("two")))
    alice.result("set", publish(MOOD, f"<mood xmlns='{MOOD}'/>"))
    alice.ping()
    bob.expect_nothing("<message/>")
    alice.result("set", f"<unblock xmlns='urn:xmpp:blocking'><item jid='{bob.bare}'/></unblock>")
    alice.result("set", publish(TUNE, tune("three"), item="3"))
    expect_event(bob, TUNE, alice.bare, "<item id='3'/>")


# --- publish-options, limits ---


def test_publish_options_make_the_node_and_are_held_against_it(friends):
    """As clients do for OMEMO (XEP-0384 §5.3.2) and bookmarks (XEP-0402 §4)."""
    alice, bob, carol = friends
    node = "eu.siacs.conversations.axolotl.devicelist"
    options = {"access_model": "open", "persist_items": "true", "max_items": "max"}
    alice.result("set", publish(node, item="current", **options))
    alice.result("set", publish(node, item="other", **options))
    assert item_ids(carol.result("get", get_items(node), to=alice.bare)) == ["other", "current"]
    assert error_of(alice, "set", publish(node, **{**options, "access_model": "presence"})) == \
        ("conflict", "cancel", "precondition-not-met")
    alice.result("set", configure(node, access_model="presence"))
    alice.result("set", publish(node, **{**options, "access_model": "presence"}))
    assert error_of(alice, "set", publish("new", no_such_option=1))[2] == "precondition-not-met"
    assert error_of(alice, "set", publish("new", max_items=10 ** 8))[0] == "not-acceptable"
    assert error_of(alice, "get", get_items("new"))[0] == "item-not-found"


def test_limits_of_an_account(make_server):
    server = make_server("alice", settings={"pep.nodes-max": 2, "pep.item-bytes": "1KiB",
                                            "pep.items-max": 3})
    alice = server.client("alice")
    assert error_of(alice, "set", publish("a", entry("x" * 1024)))[2] == "payload-too-big"
    for node in "ab":
        alice.result("set", publish(node, max_items="max"))
    assert error_of(alice, "set", publish("c")) == ("conflict", "cancel", "max-nodes-exceeded")
    for i in range(5):
        alice.result("set", publish("a", item=str(i)))
    assert len(item_ids(alice.result("get", get_items("a")))) == 3


def test_the_account_is_a_service(friends):
    alice, bob, carol = friends
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>")
    assert ("pubsub", "pep") in {(i.get("category"), i.get("type")) for i in info}
    found = {f.get("var") for f in info}
    assert {NS + "#" + f for f in (
        "auto-create", "auto-subscribe", "filtered-notifications", "publish-options",
        "access-presence", "persistent-items", "config-node-max")} <= found
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    alice.result("set", publish(MOOD, f"<mood xmlns='{MOOD}'/>", access_model="whitelist"))
    items = f"<query xmlns='{xml.DISCO_ITEMS}'/>"
    own = {i.get("node") for i in alice.result("get", items)}
    assert {TUNE, MOOD} <= own
    assert {i.get("node") for i in bob.result("get", items, to=alice.bare)} == {TUNE}
    assert len(carol.result("get", items, to=alice.bare)) == 0
    node = f"<query xmlns='{xml.DISCO_INFO}' node='{TUNE}'/>"
    assert bob.result("get", node, to=alice.bare).find(f"{{{xml.DISCO_INFO}}}identity") is not None
    assert carol.error("get", node, to=alice.bare)[0] == "service-unavailable"


def test_delete_a_node(friends):
    alice, bob, _ = friends
    interested(bob, TUNE)
    alice.result("set", publish(TUNE, tune("one")))
    expect_event(bob, TUNE, alice.bare)
    alice.result("set", pubsub(f"<delete node='{TUNE}'/>", OWNER))
    bob.expect(f"<message from='{alice.bare}'><event xmlns='{EVENT}'><delete node='{TUNE}'/>"
               "</event></message>")
    assert error_of(alice, "get", get_items(TUNE))[0] == "item-not-found"
    alice.result("set", publish(TUNE, tune("two"), item="2"))
    assert item_ids(alice.result("get", get_items(TUNE))) == ["2"]


def test_many_publications_at_once_keep_their_order(friends):
    alice, bob, _ = friends
    interested(bob, TUNE)
    for i in range(50):
        alice.send(f"<iq type='set' id='p{i}'>{publish(TUNE, tune(i), item=str(i))}</iq>")
    told = []
    for i in range(50):
        alice.expect(f"<iq type='result' id='p{i}'/>")
    while len(told) < 50:  # bob may be told of the first as of the last one that there is, too
        ident = expect_event(bob, TUNE, alice.bare)[0].get("id")
        told += [ident] if told[-1:] != [ident] else []
    assert told == [str(i) for i in range(50)]


def test_kill_after_an_answer_keeps_the_item(make_server):
    server = make_server("alice", workers=2)
    alice = server.client("alice")
    alice.result("set", publish(TUNE, tune("kept"), item="1", access_model="open"))
    server.kill()
    server.start()
    alice = server.client("alice")
    found = alice.result("get", get_items(TUNE))
    assert found.findtext(f".//{{{TUNE}}}title") == "kept"
    assert error_of(alice, "set", publish(TUNE, access_model="presence"))[2] == \
        "precondition-not-met"


def test_a_removed_account_leaves_nothing(make_server):
    server = make_server("alice")
    alice = server.client("alice")
    alice.result("set", publish(TUNE, tune("old"), access_model="open"))
    server.ctl("user", "del", "alice@localhost")
    server.add_user("alice")
    alice = server.client("alice")
    assert error_of(alice, "get", get_items(TUNE))[0] == "item-not-found"


def test_removal_while_requests_are_under_way(make_server):
    """Nothing is answered twice, nothing is left for the next account of that name."""
    server = make_server("alice", "bob", workers=2)
    server.befriend("alice", "bob")
    alice, bob = server.client("alice"), server.client("bob")
    alice.result("set", publish(TUNE, tune("old"), access_model="open", max_items="max"))
    for i in range(150):
        node = TUNE if i % 3 else f"urn:example:{i}"
        alice.send(f"<iq type='set' id='p{i}'>{publish(node, tune(i))}</iq>")
        bob.send(f"<iq type='get' id='g{i}' to='{alice.bare}'>{get_items(TUNE)}</iq>")
    server.ctl("user", "del", "alice@localhost")
    alice.expect_closed()
    for i in range(150):
        bob.expect(lambda e, i=i: e.get("id") == f"g{i}" and e.get("type") in ("result", "error"))
    server.add_user("alice")
    alice = server.client("alice")
    assert error_of(alice, "get", get_items(TUNE))[0] == "item-not-found"
    assert len(alice.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>")) == 1, "the session alone"


def test_an_end_while_requests_are_under_way(make_server):
    server = make_server("alice", workers=2)
    alice = server.client("alice")
    for i in range(300):
        alice.send(f"<iq type='set' id='p{i}'>{publish(f'urn:example:{i % 7}', tune(i))}</iq>")
    server.stop()
    done = {int(e.get("id")[1:]) % 7 for e in alice.log
            if e.get("type") == "result" and (e.get("id") or "").startswith("p")}
    server.start()
    alice = server.client("alice")
    for i in done:
        assert len(item_ids(alice.result("get", get_items(f"urn:example:{i}")))) == 1


def test_events_are_kept_for_a_resumption_and_for_nobody_else(server, friends):
    alice, bob, _ = friends
    bob.enable_sm()
    interested(bob, TUNE)
    bob.ack()
    bob.ping()
    bob.cut()
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    back = server.connect("bob")
    back.take_over(bob)
    message = back.expect(f"<message from='{alice.bare}' to='{bob.jid}'/>")
    assert message.find(f"{{{EVENT}}}event") is not None


# --- capabilities ---


def test_a_hash_is_asked_for_once(server, friends):
    alice, bob, carol = friends
    features = interested(bob, TUNE)
    other = server.login("bob", "other")
    other.send(f"<presence>{caps(features)}</presence>")
    other.expect(f"<presence from='{other.jid}'/>")
    other.expect_nothing("<iq type='get'/>")
    alice.result("set", publish(TUNE, tune("one")))
    expect_event(other, TUNE, alice.bare)


def test_the_next_one_is_asked_when_the_first_leaves(server, friends):
    alice, bob, _ = friends
    features = [xml.DISCO_INFO, TUNE + "+notify"]
    other = server.login("bob", "other")
    for client in (bob, other):
        client.send(f"<presence>{caps(features)}</presence>")
        client.expect(f"<presence from='{client.jid}'/>")
    bob.expect(f"<iq type='get'><query xmlns='{xml.DISCO_INFO}'/></iq>")
    other.expect_nothing("<iq type='get'/>")
    bob.close()
    answer_caps(other, features)
    alice.result("set", publish(TUNE, tune("one")))
    expect_event(other, TUNE, alice.bare)


def test_the_next_one_is_asked_when_the_first_says_nothing(server, friends):
    alice, bob, _ = friends
    features = [xml.DISCO_INFO, TUNE + "+notify"]
    other, third = server.login("bob", "other"), server.login("bob", "third")
    for client in (bob, other, third):
        client.send(f"<presence>{caps(features)}</presence>")
        client.expect(f"<presence from='{client.jid}'/>")
    bob.expect(f"<iq type='get'><query xmlns='{xml.DISCO_INFO}'/></iq>")
    answer_caps(other, features)
    alice.result("set", publish(TUNE, tune("one")))
    for client in (bob, other, third):
        expect_event(client, TUNE, alice.bare)
    third.expect_nothing("<iq type='get'/>")


def test_a_wrong_answer_counts_for_its_client_only(server, friends):
    alice, bob, _ = friends
    features = [xml.DISCO_INFO, TUNE + "+notify"]
    bob.send(f"<presence>{caps(features)}</presence>")
    answer_caps(bob, [xml.DISCO_INFO, MOOD + "+notify"])
    other = server.login("bob", "other")
    interested(other, TUNE)  # is asked again
    alice.result("set", publish(TUNE, tune("one")))
    alice.result("set", publish(MOOD, f"<mood xmlns='{MOOD}'/>"))
    expect_event(other, TUNE, alice.bare)
    expect_event(bob, MOOD, alice.bare)
    bob.expect_nothing("<message/>", after=alice)
    other.expect_nothing("<message/>", after=alice)


@pytest.mark.parametrize("reply", [
    "<iq type='error' to='{}' id='{}'><error type='cancel'><service-unavailable "
    "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
    "<iq type='result' to='{}' id='{}'/>",
    "<iq type='result' to='{}' id='{}'><query xmlns='urn:other'/></iq>",
])
def test_clients_that_do_not_explain_themselves(friends, reply):
    alice, bob, _ = friends
    bob.send(f"<presence>{caps([TUNE + '+notify'])}</presence>")
    ask = bob.expect("<iq type='get'/>")
    bob.send(reply.format(ask.get("from"), ask.get("id")))
    alice.result("set", publish(TUNE, tune("one")))
    bob.expect_nothing("<message/>", after=alice)


def test_capabilities_2(friends):
    """XEP-0390 §4: another input of the hash, another node to ask."""
    alice, bob, _ = friends
    features = [xml.DISCO_INFO, TUNE + "+notify"]
    text = "".join(f"{f}\x1f" for f in sorted(features)) + "\x1c"
    text += "client\x1fpc\x1f\x1ftest\x1f\x1e\x1c\x1c"
    value = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    bob.send("<presence><c xmlns='urn:xmpp:caps'><hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>"
             f"{value}</hash></c></presence>")
    assert answer_caps(bob, features) == f"urn:xmpp:caps#sha-256.{value}"
    alice.result("set", publish(TUNE, tune("one")))
    expect_event(bob, TUNE, alice.bare)


def test_capabilities_without_a_hash(friends):
    alice, bob, _ = friends
    bob.send(f"<presence><c xmlns='{CAPS}' node='urn:old' ver='1.0'/></presence>")
    assert answer_caps(bob, [TUNE + "+notify"]) == "urn:old#1.0"
    alice.result("set", publish(TUNE, tune("one")))
    expect_event(bob, TUNE, alice.bare)


def test_a_client_that_did_not_answer_is_asked_again(friends):
    """It was away when it was asked: the next presence is another chance."""
    alice, bob, _ = friends
    features = [xml.DISCO_INFO, TUNE + "+notify"]
    bob.send(f"<presence>{caps(features)}</presence>")
    ask = bob.expect("<iq type='get'/>")
    bob.send(f"<iq type='error' to='{ask.get('from')}' id='{ask.get('id')}'><error type='wait'>"
             "<resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
    bob.ping()
    bob.send(f"<presence><show>away</show>{caps(features)}</presence>")
    answer_caps(bob, features)
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    expect_event(bob, TUNE, alice.bare, "<item id='1'/>")


def test_capabilities_outlive_a_planned_restart(server, friends):
    alice, bob, _ = friends
    bob.enable_sm()
    features = interested(bob, TUNE)
    bob.ack()
    bob.ping()
    bob.cut()
    server.restart()
    back = server.connect("bob")
    back.take_over(bob)
    alice = server.client("alice", "a")
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    ask = back.expect("<iq type='get'/>")  # nobody on this worker has explained it since
    back.send(f"<iq type='result' to='{ask.get('from')}' id='{ask.get('id')}'>"
              f"{disco_answer(features, ask[0].get('node'))}</iq>")
    expect_event(back, TUNE, alice.bare, "<item id='1'/>")


# --- contacts elsewhere ---

ELSEWHERE = "elsewhere.example"


def test_contacts_elsewhere(make_server):
    """By the capabilities in their presence, which their own client explains."""
    server = make_server("alice", workers=2, component=True)
    server.ctl("component", "add", ELSEWHERE, "--secret", "a rather long secret")
    gate = Component(server, ELSEWHERE, "a rather long secret")
    alice = server.client("alice", "a")
    friend, features = f"friend@{ELSEWHERE}", [xml.DISCO_INFO, TUNE + "+notify"]
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    gate.send(f"<presence from='{friend}/r' to='{alice.bare}'>{caps(features)}</presence>")
    gate.send(f"<presence from='{friend}' to='{alice.bare}' type='subscribe'/>")
    alice.send(f"<presence to='{friend}' type='subscribed'/>")
    gate.expect(f"<presence from='{alice.bare}' to='{friend}' type='subscribed'/>")
    gate.send(f"<presence from='{friend}/r' to='{alice.bare}'>{caps(features)}</presence>")
    ask = gate.expect(f"<iq type='get' from='{alice.bare}' to='{friend}/r'>"
                      f"<query xmlns='{xml.DISCO_INFO}'/></iq>")
    gate.send(f"<iq type='result' from='{friend}/r' to='{alice.bare}' id='{ask.get('id')}'>"
              f"{disco_answer(features, ask[0].get('node'))}</iq>")
    gate.expect(f"<message from='{alice.bare}' to='{friend}/r' type='headline'>"
                f"<event xmlns='{EVENT}'><items node='{TUNE}'><item id='1'/></items></event>"
                f"<delay xmlns='{xml.DELAY}'/></message>")
    alice.result("set", publish(TUNE, tune("two"), item="2"))
    gate.expect(f"<message from='{alice.bare}' to='{friend}/r'><event xmlns='{EVENT}'>"
                f"<items node='{TUNE}'><item id='2'/></items></event></message>")
    alice.result("set", publish(MOOD, f"<mood xmlns='{MOOD}'/>"))
    gate.send(f"<presence from='{friend}/s' to='{alice.bare}'>{caps(features)}</presence>")
    gate.expect(f"<message to='{friend}/s'><event xmlns='{EVENT}'><items node='{TUNE}'/></event>"
                "</message>")
    for resource in "rs":
        gate.send(f"<presence from='{friend}/{resource}' to='{alice.bare}' type='unavailable'/>")
    gate.send(f"<presence from='{friend}/t' to='{alice.bare}'/>")
    alice.expect(f"<presence from='{friend}/t'/>")
    alice.result("set", publish(TUNE, tune("three"), item="3"))
    alice.send(f"<message to='{friend}' type='headline' id='mark'/>")
    gate.expect("<message id='mark'/>")
    assert not [e for e in gate.inbox if e.find(f"{{{EVENT}}}event") is not None]


def test_contacts_elsewhere_that_were_seen_before_they_see(make_server):
    """Their presence, with the capabilities, came when they were allowed nothing yet, and does not
    come again when they are."""
    server = make_server("alice", workers=2, component=True)
    server.ctl("component", "add", ELSEWHERE, "--secret", "a rather long secret")
    gate = Component(server, ELSEWHERE, "a rather long secret")
    alice = server.client("alice", "a")
    friend, features = f"friend@{ELSEWHERE}", [xml.DISCO_INFO, TUNE + "+notify"]

    def publish_one(item):
        alice.result("set", publish(TUNE, tune(item), item=item))

    def hears(item):
        gate.expect(f"<message from='{alice.bare}' to='{friend}/r'><event xmlns='{EVENT}'>"
                    f"<items node='{TUNE}'><item id='{item}'/></items></event></message>")

    publish_one("early")
    alice.send(f"<presence to='{friend}' type='subscribe'/>")
    gate.expect(f"<presence from='{alice.bare}' to='{friend}' type='subscribe'/>")
    gate.send(f"<presence from='{friend}' to='{alice.bare}' type='subscribed'/>")
    gate.expect(f"<presence from='{alice.bare}/a' to='{friend}' type='probe'/>")
    gate.send(f"<presence from='{friend}/r' to='{alice.bare}'>{caps(features)}</presence>")
    ask = gate.expect(f"<iq type='get' from='{alice.bare}' to='{friend}/r'>"
                      f"<query xmlns='{xml.DISCO_INFO}'/></iq>")
    gate.send(f"<iq type='result' from='{friend}/r' to='{alice.bare}' id='{ask.get('id')}'>"
              f"{disco_answer(features, ask[0].get('node'))}</iq>")
    alice.expect(f"<presence from='{friend}/r'/>")
    publish_one("hidden")
    for again in ("first", "second"):
        gate.send(f"<presence from='{friend}' to='{alice.bare}' type='subscribe'/>")
        alice.send(f"<presence to='{friend}' type='subscribed'/>")
        gate.expect(f"<presence from='{alice.bare}' to='{friend}' type='subscribed'/>")
        hears("hidden")
        publish_one(again)
        hears(again)
        alice.send(f"<presence to='{friend}' type='unsubscribed'/>")
        gate.expect(f"<presence from='{alice.bare}' to='{friend}' type='unsubscribed'/>")
        publish_one("hidden")
    alice.send(f"<message to='{friend}' type='headline' id='mark'/>")
    gate.expect("<message id='mark'/>")
    assert not [e for e in gate.inbox if e.find(f"{{{EVENT}}}event") is not None]


def test_an_account_is_disabled_while_it_publishes(make_server, disk):
    """What was answered as published is there when it is enabled again and its nodes are loaded."""
    server = make_server("alice", disk=disk)
    said = set()
    disk.turn(sync_ms=20)  # most of them wait when it is disabled
    for turn in range(3):
        alice = server.client("alice", "a")
        alice.result("set", publish("log", entry("begin"), item=f"{turn}-begin", max_items="max",
                                    persist_items="true"))
        for i in range(20):
            item = f"{turn}-{i}"
            alice.send(f"<iq type='set' id='{item}'>{publish('log', entry('x'), item)}</iq>")
            alice.send(f"<iq type='get' id='get{turn}-{i}'>{get_items('log', max_items=1)}</iq>")
        server.ctl("user", "disable", "alice@localhost")
        server.ctl("user", "enable", "alice@localhost")
        alice.expect_closed()
        said |= {f"{turn}-begin"} | {
            e.get("id") for e in alice.log
            if e.get("type") == "result" and str(e.get("id")).startswith(f"{turn}-")}
    assert said <= set(item_ids(server.client("alice", "b").result("get", get_items("log"))))
