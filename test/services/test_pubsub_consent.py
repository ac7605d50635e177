"""Publish-subscribe: nobody is sent what he has not agreed to (XEP-0060 §8.8.4 leaves that to the
service), in no form, and however many are subscribed, there is one body."""
import pytest

from harness import xml
from harness.component import Component
from harness.pubsub import (
    EVENT, OWNER, affiliations, create, entry, error_of, expect_event, get_items, item_ids,
    publish, subscribe, subscriptions, unsubscribe)

HOST = "pubsub.localhost"
KINDS = ("headline", "normal", "chat")
HEADER = f"<message from='{HOST}'><event xmlns='{EVENT}'>"


@pytest.fixture
def node(alice):
    alice.result("set", create("news"), to=HOST)
    return "news"


def states(owner, node, to=HOST):
    listed = owner.result("get", subscriptions(node), to=to)
    return {s.get("jid"): s.get("subscription") for s in listed.iter(f"{{{OWNER}}}subscription")}


@pytest.mark.parametrize("kind", KINDS)
def test_an_owner_offers_and_the_address_decides(alice, bob, kind):
    alice.result("set", create("news", notification_type=kind), to=HOST)
    alice.result("set", subscriptions("news", {bob.bare: "subscribed"}), to=HOST)
    offer = bob.expect(f"{HEADER}<subscription node='news' jid='{bob.bare}' "
                       "subscription='pending'/></event></message>")
    assert offer.get("type") == "headline"
    assert states(alice, "news") == {bob.bare: "pending"}
    alice.result("set", publish("news", item="1"), to=HOST)
    bob.expect_nothing(f"{HEADER}<items/></event></message>")
    answer = bob.result("set", subscribe("news", bob.bare), to=HOST)
    assert "subscription='subscribed'" in xml.canonical(answer).replace('"', "'")
    expect_event(bob, "news", HOST, "<item id='1'/>")
    alice.result("set", publish("news", item="2"), to=HOST)
    expect_event(bob, "news", HOST, "<item id='2'/>")


def test_no_way_around_by_two_changes(alice, bob, node):
    """`pending` that the owner wrote is no request of the other."""
    for state in ("pending", "subscribed", "none", "subscribed", "pending", "subscribed"):
        alice.result("set", subscriptions(node, {bob.bare: state}), to=HOST)
        alice.result("set", subscriptions(node, {f"{bob.bare}/tablet": state}), to=HOST)
    assert set(states(alice, node).values()) == {"pending"}
    alice.result("set", publish(node, item="1"), to=HOST)
    bob.expect_nothing(f"{HEADER}<items/></event></message>")


def test_an_offer_is_refused(alice, bob, node):
    alice.result("set", subscriptions(node, {bob.bare: "subscribed"}), to=HOST)
    bob.result("set", unsubscribe(node, bob.bare), to=HOST)
    assert states(alice, node) == {}


def test_an_offer_is_the_approval_of_the_owner(alice, bob):
    alice.result("set", create("club", access_model="authorize"), to=HOST)
    alice.result("set", subscriptions("club", {bob.bare: "subscribed"}), to=HOST)
    assert error_of(bob, "get", get_items("club"), HOST)[0] == "not-authorized"
    bob.result("set", subscribe("club", bob.bare), to=HOST)
    assert states(alice, "club") == {bob.bare: "subscribed"}
    assert item_ids(bob.result("get", get_items("club"), to=HOST)) == []


def test_an_offer_survives_a_restart(make_server):
    server = make_server("alice", "bob")
    alice, bob = server.client("alice"), server.client("bob")
    alice.result("set", create("news"), to=HOST)
    alice.result("set", subscriptions("news", {bob.bare: "subscribed"}), to=HOST)
    server.stop()
    server.start()
    alice, bob = server.client("alice"), server.client("bob")
    assert states(alice, "news") == {bob.bare: "pending"}
    alice.result("set", subscriptions("news", {bob.bare: "subscribed"}), to=HOST)
    assert states(alice, "news") == {bob.bare: "pending"}


def test_administrators_and_components_need_no_consent(make_server):
    """A component needs none of the addresses of its domain."""
    server = make_server("admin", "bob", component=True,
                         settings={"admin.accounts": "admin@localhost"})
    server.ctl("component", "add", "bots.example", "--secret", "a secret of its own")
    bot = Component(server, "bots.example", "a secret of its own")
    admin, bob = server.client("admin"), server.client("bob")
    admin.result("set", create("news"), to=HOST)
    admin.result("set", subscriptions("news", {bob.bare: "subscribed"}), to=HOST)
    assert states(admin, "news") == {bob.bare: "subscribed"}
    admin.result("set", affiliations("news", to={"x@bots.example": "owner"}), to=HOST)
    change = subscriptions("news", {"y@bots.example": "subscribed",
                                    "carol@localhost": "subscribed"})
    bot.send(f"<iq from='x@bots.example/1' to='{HOST}' id='1' type='set'>{change}</iq>")
    bot.expect("<iq id='1' type='result'/>")
    assert states(admin, "news") == {bob.bare: "subscribed", "y@bots.example": "subscribed",
                                     "carol@localhost": "pending"}
    admin.result("set", publish("news", item="1"), to=HOST)
    expect_event(bob, "news", HOST, "<item id='1'/>")


def test_contacts_have_agreed_to_what_the_account_publishes(server, alice, bob):
    """XEP-0163 §4.1: a presence subscription is one to the account's events."""
    mine = alice.bare
    alice.result("set", create("mood", access_model="open"))
    alice.result("set", subscriptions("mood", {bob.bare: "subscribed"}))
    assert states(alice, "mood", mine) == {bob.bare: "pending"}
    server.befriend("alice", "bob")
    alice.result("set", subscriptions("mood", {bob.bare: "subscribed"}))
    assert states(alice, "mood", mine) == {bob.bare: "subscribed"}


# --- who is blocked ---


def block(client, jid):
    client.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{jid}'/></block>")


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_blocked_does_not_get_through_by_the_service(server, bob, kind):
    """Neither what he publishes at his own node, nor at another's, nor his offers and requests."""
    for name in ("eve", "dave"):
        server.add_user(name)
    eve, dave = server.client("eve"), server.client("dave")
    for who, name in ((eve, "evil"), (dave, "fair")):
        who.result("set", create(name, notification_type=kind, publish_model="open"), to=HOST)
        bob.result("set", subscribe(name, bob.bare), to=HOST)
    bob.result("set", create("mine", access_model="authorize"), to=HOST)
    block(bob, eve.bare)
    eve.result("set", publish("evil", item="1"), to=HOST)
    eve.result("set", publish("fair", item="2"), to=HOST)
    dave.result("set", publish("evil", item="3"), to=HOST)
    eve.result("set", create("other"), to=HOST)
    eve.result("set", subscriptions("other", {bob.bare: "subscribed"}), to=HOST)
    eve.result("set", subscribe("mine", eve.bare), to=HOST)
    dave.result("set", publish("fair", item="4"), to=HOST)
    expect_event(bob, "fair", HOST, "<item id='4'/>")
    bob.expect_nothing("<message/>")
    bob.close()
    eve.result("set", publish("fair", item="5"), to=HOST)
    bob = server.client("bob")
    bob.expect_nothing("<message/>")


@pytest.mark.parametrize("kind", KINDS)
def test_who_lets_contacts_in_only_hears_no_strangers(server, bob, kind):
    eve = server.client("carol")
    eve.result("set", create("evil", notification_type=kind), to=HOST)
    bob.result("set", subscribe("evil", bob.bare), to=HOST)
    bob.result("set", "<policy xmlns='urn:muster:policy:0' others='block'/>")
    eve.result("set", publish("evil", item="1"), to=HOST)
    bob.expect_nothing("<message/>")


# --- one body ---


def test_a_large_event_is_not_kept(server, alice, bob):
    """It is at its node; who is away is not sent 200 kB of it."""
    alice.result("set", create("news", notification_type="normal"), to=HOST)
    bob.result("set", subscribe("news", bob.bare), to=HOST)
    alice.result("set", publish("news", entry("x" * 20000), item="large"), to=HOST)
    expect_event(bob, "news", HOST, "<item id='large'/>")
    bob.close()
    alice.result("set", publish("news", entry("x" * 20000), item="larger"), to=HOST)
    alice.result("set", publish("news", entry("x"), item="small"), to=HOST)
    bob = server.client("bob")
    expect_event(bob, "news", HOST, "<item id='small'/>")
    bob.expect_nothing("<message/>")


MANY, LARGE = 100, 250_000


def grown(server, before):
    """MiB of memory and of the database that came on top."""
    disk = sum(f.stat().st_size for f in server.data.glob("muster.db*"))
    return server.status_kib() / 1024 - before[0], disk / 2**20 - before[1]


@pytest.mark.sqlite
@pytest.mark.parametrize("agreed", [False, True])
def test_a_publication_is_not_copied_for_everybody(make_server, agreed):
    """400 who are away and four publications of 250 kB; also if all had agreed: an administrator
    may subscribe them."""
    users = [f"u{i}" for i in range(MANY)]
    server = make_server("eve", *users, settings={
        "admin.accounts": "eve@localhost" if agreed else "", "c2s.byte-rate": "none"},
        why="copies are charged to who publishes")
    eve = server.client("eve")
    eve.result("set", create("evil", notification_type="normal"), to=HOST)
    eve.result("set", subscriptions("evil", {f"{u}@localhost": "subscribed" for u in users}),
               to=HOST)
    before = grown(server, (0, 0))
    for i in range(4):
        eve.result("set", publish("evil", entry("x" * LARGE), item=str(i)), to=HOST)
    memory, disk = grown(server, before)
    assert memory < 40 and disk < 20, (memory, disk)
    away = server.client("u7")
    away.expect_nothing(f"{HEADER}<items/></event></message>")


def test_copies_are_charged_to_the_publisher(make_server):
    """He sent 40 kB; 20 copies are 800 kB, which take 8 s at 100 kB a second."""
    users = [f"u{i}" for i in range(20)]
    server = make_server("eve", "bob", *users, settings={"admin.accounts": "eve@localhost",
                                                         "c2s.byte-rate": 100_000})
    eve, bob = server.client("eve"), server.client("bob")
    eve.result("set", create("news"), to=HOST)
    eve.result("set", subscriptions("news", {f"{u}@localhost": "subscribed" for u in users}),
               to=HOST)
    eve.result("set", publish("news", entry("x" * 40_000)), to=HOST)
    eve.send(f"<message to='{bob.jid}'><body>late</body></message>")
    for i in range(20):
        bob.send(f"<message to='{bob.jid}'><body>{i}</body></message>")
        assert bob.expect("<message/>").findtext(f"{{{xml.CLIENT}}}body") == str(i)
    bob.expect_nothing(f"<message from='{eve.jid}'/>")
    assert bob.expect(f"<message from='{eve.jid}'/>") is not None


def test_copies_that_memory_has_no_room_for_are_refused(make_server):
    users = [f"u{i}" for i in range(100)]
    server = make_server("eve", *users, settings={"admin.accounts": "eve@localhost",
                                                  "node.memory": 16 << 20})
    eve = server.client("eve")
    eve.result("set", create("news"), to=HOST)
    eve.result("set", subscriptions("news", {f"{u}@localhost": "subscribed" for u in users}),
               to=HOST)
    assert error_of(eve, "set", publish("news", entry("x" * LARGE)), HOST)[:2] == \
        ("resource-constraint", "wait")
    eve.result("set", publish("news", entry("x" * 10_000)), to=HOST)


# --- asking an owner who is away ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_waits_for_an_owner_who_is_away(server, bob, kind):
    """XEP-0060 §8.6.1; the node is found by those who may ask (§5.2)."""
    alice = server.client("alice")
    alice.result("set", create("club", access_model="authorize", notification_type=kind), to=HOST)
    alice.result("set", publish("club", item="1"), to=HOST)
    alice.close()
    disco = "http://jabber.org/protocol/disco#"
    found = bob.result("get", f"<query xmlns='{disco}items'/>", to=HOST)
    assert [i.get("node") for i in found] == ["club"]
    info = bob.result("get", f"<query xmlns='{disco}info' node='club'/>", to=HOST)
    assert "authorize" in "".join(info.itertext()) and "leaf" in "".join(info.itertext())
    bob.error("get", f"<query xmlns='{disco}items' node='club'/>", to=HOST)
    bob.result("set", subscribe("club", bob.bare), to=HOST)
    alice = server.client("alice")
    asked = alice.expect(f"<message from='{HOST}'><x xmlns='jabber:x:data'/></message>")
    assert bob.bare in "".join(asked.itertext())
