"""Access models presence and roster at a service that is no account (XEP-0060 §4.5): the contacts
are those of the owners, as they are at the moment."""
from xml.sax.saxutils import escape

import pytest

from harness import xml
from harness.client import until
from harness.pubsub import (
    EVENT, OWNER, affiliations, configure, create, entry, error_of, expect_event, get_items,
    item_ids, publish, retract, subscribe, subscriptions)

HOST = "pubsub.localhost"
ROSTER = "jabber:iq:roster"
MODELS = {"presence": {"access_model": "presence"},
          "roster": {"access_model": "roster", "roster_groups_allowed": ["team", "a <b>"]}}
REFUSED = {"presence": ("not-authorized", "auth", "presence-subscription-required"),
           "roster": ("not-authorized", "auth", "not-in-roster-group")}


@pytest.fixture(params=[1, 2, 4])
def server(make_server, request):
    return make_server("alice", "bob", "carol", "dave", workers=request.param)


@pytest.fixture(params=sorted(MODELS))
def model(request):
    return request.param


def group(owner, jid, *names):
    inner = "".join(f"<group>{escape(n)}</group>" for n in names)
    owner.result("set", f"<query xmlns='{ROSTER}'><item jid='{jid}'>{inner}</item></query>")


def let_in(owner, contact, model):
    """Makes one a contact, as the model means it."""
    if model == "presence":
        contact.send(f"<presence to='{owner.bare}' type='subscribe'/>")
        contact.expect(f"<presence from='{owner}' type='-'/>")
    else:
        group(owner, contact.bare, "others", "a <b>")


def put_out(owner, contact, model):
    if model == "presence":
        owner.send(f"<presence to='{contact.bare}' type='unsubscribed'/>")
        contact.expect(f"<presence from='{owner}' type='unavailable'/>")
    else:
        group(owner, contact.bare, "others")


def refused(client, node, model):
    assert error_of(client, "get", get_items(node), HOST) == REFUSED[model]
    assert error_of(client, "set", subscribe(node, client.bare), HOST) == REFUSED[model]


def nodes_seen(client):
    items = client.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to=HOST)
    return {i.get("node") for i in items}


def sees(client, node):
    """Whether the three ways to discover a node show it; they must agree."""
    info = client.iq("get", f"<query xmlns='{xml.DISCO_INFO}' node='{node}'/>", HOST)
    items = client.iq("get", f"<query xmlns='{xml.DISCO_ITEMS}' node='{node}'/>", HOST)
    found = {node in nodes_seen(client), *(r.get("type") == "result" for r in (info, items))}
    assert len(found) == 1, (xml.canonical(info), xml.canonical(items))
    return found.pop()


def no_event(client, node, owner):
    """Nothing came of what was published until now: a node that is open to all tells the end."""
    mark = f"end {client.name} {len(client.log)}"
    owner.result("set", create(mark), to=HOST)
    client.result("set", subscribe(mark, client.bare), to=HOST)
    owner.result("set", publish(mark, item="end"), to=HOST)
    expect_event(client, mark, HOST, "<item id='end'/>")
    assert not [e for e in client.inbox
                if e.find(f"{{{EVENT}}}event/{{{EVENT}}}items[@node='{node}']") is not None]


def test_contacts_of_the_owner_have_access(server, model):
    alice, bob, carol = (server.client(n) for n in ("alice", "bob", "carol"))
    alice.result("set", create("diary", **MODELS[model]), to=HOST)
    alice.result("set", publish("diary", item="1"), to=HOST)
    refused(bob, "diary", model)
    assert not sees(bob, "diary") and sees(alice, "diary")
    let_in(alice, bob, model)
    assert sees(bob, "diary")
    assert item_ids(bob.result("get", get_items("diary"), to=HOST)) == ["1"]
    bob.result("set", subscribe("diary", bob.bare), to=HOST)
    expect_event(bob, "diary", HOST, "<item id='1'/>")
    alice.result("set", publish("diary", item="2"), to=HOST)
    expect_event(bob, "diary", HOST, "<item id='2'/>")
    alice.result("set", retract("diary", "2", notify="true"), to=HOST)
    expect_event(bob, "diary", HOST, "<retract id='2'/>")
    refused(carol, "diary", model)
    # who sees me is no contact of that kind, nor is one whom I see
    if model == "presence":
        carol.send(f"<presence to='{alice.bare}' type='subscribed'/>")
        group(carol, alice.bare, "team")
        refused(carol, "diary", model)


def test_who_is_a_contact_no_longer_has_no_access(server, model):
    """At once to what is retrieved, and from the next item on to what is sent."""
    alice, bob = server.client("alice"), server.client("bob")
    alice.result("set", create("diary", **MODELS[model]), to=HOST)
    let_in(alice, bob, model)
    bob.result("set", subscribe("diary", bob.bare), to=HOST)
    put_out(alice, bob, model)
    alice.result("set", publish("diary", item="1"), to=HOST)
    refused(bob, "diary", model)
    assert not sees(bob, "diary")
    no_event(bob, "diary", alice)
    let_in(alice, bob, model)  # the subscription is still there
    alice.result("set", publish("diary", item="2"), to=HOST)
    expect_event(bob, "diary", HOST, "<item id='2'/>")


def test_who_is_removed_or_blocked_has_no_access(server, model):
    alice, bob, carol = (server.client(n) for n in ("alice", "bob", "carol"))
    alice.result("set", create("diary", **MODELS[model]), to=HOST)
    for client in (bob, carol):
        let_in(alice, client, model)
        client.result("set", subscribe("diary", client.bare), to=HOST)
    alice.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{bob.bare}'/></block>")
    alice.result("set", f"<query xmlns='{ROSTER}'><item jid='{carol.bare}' "
                        "subscription='remove'/></query>")
    alice.result("set", publish("diary", item="1"), to=HOST)
    for client in (bob, carol):
        refused(client, "diary", model)
        no_event(client, "diary", alice)


def test_the_model_is_there_after_a_restart(server, model):
    alice, bob, carol = (server.client(n) for n in ("alice", "bob", "carol"))
    alice.result("set", create("diary"), to=HOST)
    alice.result("set", configure("diary", **MODELS[model]), to=HOST)
    alice.result("set", publish("diary", item="1"), to=HOST)
    let_in(alice, bob, model)
    bob.result("set", subscribe("diary", bob.bare), to=HOST)
    server.kill()
    server.start()
    bob, carol = server.client("bob"), server.client("carol")  # alice is not in memory
    assert item_ids(bob.result("get", get_items("diary"), to=HOST)) == ["1"]
    refused(carol, "diary", model)
    alice = server.client("alice")
    alice.result("set", publish("diary", item="2"), to=HOST)
    expect_event(bob, "diary", HOST, "<item id='2'/>")


def test_each_owner_lets_in_contacts_by_own_choice(server, model):
    """Who is made an owner has not agreed to anything: whoever did it could otherwise find out
    about the contact list of another."""
    alice, bob, carol, dave = (server.client(n) for n in ("alice", "bob", "carol", "dave"))
    alice.result("set", create("diary", **MODELS[model]), to=HOST)
    alice.result("set", affiliations("diary", to={bob.bare: "owner"}), to=HOST)
    let_in(alice, carol, model)
    let_in(bob, dave, model)
    refused(dave, "diary", model)
    bob.result("set", configure("diary", title="ours"), to=HOST)
    for client in (carol, dave):
        client.result("set", subscribe("diary", client.bare), to=HOST)
    alice.result("set", affiliations("diary", to={bob.bare: "owner"}), to=HOST)  # as it was
    server.restart()
    alice, bob, carol, dave = (server.client(n) for n in ("alice", "bob", "carol", "dave"))
    alice.result("set", publish("diary", item="1"), to=HOST)
    for client in (carol, dave):
        expect_event(client, "diary", HOST, "<item id='1'/>")
    other = {"access_model": "roster", "roster_groups_allowed": ["others"]}
    bob.result("set", configure("diary", **other), to=HOST)  # that is the wish of bob alone
    group(alice, carol.bare, "others")
    group(bob, dave.bare, "others")
    refused(carol, "diary", "roster")
    assert item_ids(dave.result("get", get_items("diary"), to=HOST)) == ["1"]
    alice.result("set", affiliations("diary", to={bob.bare: "none"}), to=HOST)
    refused(dave, "diary", "roster")
    alice.result("set", affiliations("diary", to={bob.bare: "owner"}), to=HOST)
    refused(dave, "diary", "roster")
    alice.result("set", configure("diary", title="mine"), to=HOST)
    assert item_ids(carol.result("get", get_items("diary"), to=HOST)) == ["1"]


def test_the_account_of_an_owner_is_deleted(server, model):
    alice, bob, carol, dave = (server.client(n) for n in ("alice", "bob", "carol", "dave"))
    for node in ("shared", "alone"):
        alice.result("set", create(node, **MODELS[model]), to=HOST)
    alice.result("set", affiliations("shared", to={bob.bare: "owner"}), to=HOST)
    bob.result("set", configure("shared", title="ours"), to=HOST)
    let_in(alice, carol, model)
    let_in(bob, dave, model)
    for node, client in (("shared", carol), ("shared", dave), ("alone", carol)):
        client.result("set", subscribe(node, client.bare), to=HOST)
    server.ctl("user", "del", alice.bare, "--yes")
    carol.expect(f"<message from='{HOST}'><event xmlns='{EVENT}'><delete node='alone'/></event>"
                 "</message>")
    until("the contacts of the deleted owner to be strangers",
          lambda: carol.iq("get", get_items("shared"), HOST).get("type") == "error")
    refused(carol, "shared", model)
    bob.result("set", publish("shared", item="1"), to=HOST)
    expect_event(dave, "shared", HOST, "<item id='1'/>")
    server.add_user("alice")  # somebody else with her address
    alice = server.client("alice")
    bob.result("set", affiliations("shared", to={alice.bare: "owner"}), to=HOST)
    let_in(alice, carol, model)
    refused(carol, "shared", model)


def test_affiliations_come_before_the_model(server, model):
    alice, bob, carol = (server.client(n) for n in ("alice", "bob", "carol"))
    alice.result("set", create("diary", publish_model="subscribers", **MODELS[model]), to=HOST)
    alice.result("set", affiliations("diary", to={bob.bare: "member", carol.bare: "outcast"}),
                 to=HOST)
    let_in(alice, carol, model)
    bob.result("set", subscribe("diary", bob.bare), to=HOST)
    alice.result("set", publish("diary", item="1"), to=HOST)
    expect_event(bob, "diary", HOST, "<item id='1'/>")
    assert error_of(carol, "get", get_items("diary"), HOST)[0] == "forbidden"
    alice.result("set", affiliations("diary", to={carol.bare: "none"}), to=HOST)
    carol.result("set", subscribe("diary", carol.bare), to=HOST)
    carol.result("set", publish("diary", entry("hers"), item="2"), to=HOST)
    put_out(alice, carol, model)  # still subscribed, but a stranger
    assert error_of(carol, "set", publish("diary", item="3"), HOST)[0] == "forbidden"


def test_the_model_is_changed(server, model):
    """A change is told to those who have access after it."""
    alice, bob, carol = (server.client(n) for n in ("alice", "bob", "carol"))
    alice.result("set", create("diary", notify_config=1), to=HOST)
    let_in(alice, bob, model)
    for client in (bob, carol):
        client.result("set", subscribe("diary", client.bare), to=HOST)
    alice.result("set", configure("diary", **MODELS[model]), to=HOST)
    bob.expect(f"<message from='{HOST}'><event xmlns='{EVENT}'><configuration node='diary'/>"
               "</event></message>")
    alice.result("set", publish("diary", item="1"), to=HOST)
    no_event(carol, "diary", alice)
    alice.result("set", configure("diary", access_model="open"), to=HOST)
    carol.expect(f"<message from='{HOST}'><event xmlns='{EVENT}'><configuration node='diary'/>"
                 "</event></message>")
    assert item_ids(carol.result("get", get_items("diary"), to=HOST)) == ["1"]


def test_an_owner_does_not_subscribe_a_stranger(server, model):
    """An offer gives no access: only contacts can take it."""
    alice, bob = server.client("alice"), server.client("bob")
    alice.result("set", create("diary", **MODELS[model]), to=HOST)
    alice.result("set", subscriptions("diary", {bob.bare: "subscribed"}), to=HOST)
    refused(bob, "diary", model)
    let_in(alice, bob, model)
    bob.result("set", subscribe("diary", bob.bare), to=HOST)
    listed = alice.result("get", subscriptions("diary"), to=HOST)
    assert {(s.get("jid"), s.get("subscription"))
            for s in listed.iter(f"{{{OWNER}}}subscription")} == {(bob.bare, "subscribed")}


def test_many_nodes_of_many_owners_are_listed(make_server):
    names = [f"u{i}" for i in range(6)]
    server = make_server("bob", *names, workers=4)
    bob, owners = server.client("bob"), [server.client(n) for n in names]
    for i, owner in enumerate(owners):
        for k in range(4):
            owner.result("set", create(f"n{i}.{k}", access_model="roster",
                                       roster_groups_allowed=[f"g{k}"]), to=HOST)
        group(owner, bob.bare, f"g{i % 4}")
    assert nodes_seen(bob) == {f"n{i}.{i % 4}" for i in range(6)}
