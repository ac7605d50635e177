"""What one user can consume: each limit is reached by one user, another does not notice, and the
table of all limits (docs/architecture.md, "What a user can consume") is complete."""
import pathlib
import re

import pytest

from harness import xml
from harness.client import until
from harness.pubsub import (
    configure, create, entry, error_of, publish, subscribe, subscriptions, unsubscribe)
from archive.test_mam import Page

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = "pubsub.localhost"
ROSTER = "jabber:iq:roster"


def settings_that_limit():
    """Names of settings that say how many or how much; not those in units of time."""
    for line in (ROOT / "docs/config.md").read_text().splitlines():
        row = re.match(r"\| `([a-z0-9.-]+)` \| ([^|]*)\|", line)
        limit = r"-max$|\.max$|-per-|\.quota$|bytes$|-share$"
        if row and re.search(limit, row[1]) and \
                not re.search(r"\d(ms|s|min|h|d)\b", row[2]):
            yield row[1]


def table():
    text = (ROOT / "docs/architecture.md").read_text()
    return text[text.index(" What a user can consume"):].partition("\n## ")[0]


def test_every_limit_is_in_the_table():
    """Guessing is another matter (docs/services.md)."""
    missing = [s for s in settings_that_limit()
               if f"`{s}`" not in table() and "failures-per" not in s and
               s != "register.per-address-per-hour"]
    assert not missing, f"limits that docs/architecture.md does not name: {missing}"


def test_every_row_has_a_test_that_there_is():
    tests = "".join(p.read_text() for p in (ROOT / "test").glob("*/test_*.py"))
    rows = [r for r in table().splitlines() if r.startswith("| ") and not r.startswith("| Res")]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(test_\w+|\w+/\w+_test\.c)`", row.split("|")[-2])
        assert named, row
        for name in named:
            there = (ROOT / "src" / name).exists() if "/" in name else \
                re.search(rf"def {name}\b", tests)
            assert there, f"{name} of {row}"


def refused(client, request, to=None):
    """Asks again and again; the condition of the refusal that comes in the end."""
    for i in range(300):
        answer = client.iq("set", request(i), to)
        if answer.get("type") == "error":
            assert i > 0, f"not once: {xml.canonical(answer)}"
            return xml.condition(answer)
    raise AssertionError("it is never refused")


def private(i):
    return f"<query xmlns='jabber:iq:private'><x{i} xmlns='urn:x:{i}'>{'x' * 400}</x{i}></query>"


def item(i):
    return f"<query xmlns='{ROSTER}'><item jid='c{i}@localhost'/></query>"


CASES = {
    "elements": ({"private.elements-max": 5}, private, None),
    "bytes": ({"private.bytes-max": 4096}, private, None),
    "contacts": ({"roster.contacts-max": 5}, item, None),
    "rules": ({"privacy.rules-max": 5}, lambda i: "<block xmlns='urn:xmpp:blocking'>"
              f"<item jid='b{i}@localhost'/></block>", None),
    "lists": ({"privacy.lists-max": 3}, lambda i: "<query xmlns='jabber:iq:privacy'>"
              f"<list name='l{i}'><item action='allow' order='1'/></list></query>", None),
    "nodes": ({"pep.nodes-max": 4}, lambda i: publish(f"n{i}", item="1"), None),
    "personal bytes": ({"pep.bytes-max": 64 << 10},
                       lambda i: publish(f"n{i}", entry("x" * 9000), item="1"), None),
    "personal addresses": ({"pep.bytes-max": 64 << 10}, lambda i: publish("n", item="1")
                           if i == 0 else subscriptions("n", {
                               f"u{i}-{k}@localhost": "subscribed" for k in range(100)}), None),
    "pubsub nodes": ({"pubsub.user-nodes-max": 4}, lambda i: create(f"n{i}"), HOST),
}


@pytest.mark.parametrize("case", CASES)
def test_one_reaches_the_limit_and_another_does_not_notice(make_server, case):
    settings, request, to = CASES[case]
    server = make_server("alice", "bob", settings=settings)
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    assert refused(alice, request, to) in ("policy-violation", "resource-constraint", "conflict",
                                           "not-allowed", "not-acceptable")
    for i in range(2):
        bob.result("set", request(i + 1000 if to else i), to=to)


def test_vcard(make_server):
    server = make_server("alice", "bob", settings={"vcard.bytes-max": 2048})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    card = "<vCard xmlns='vcard-temp'><DESC>{}</DESC></vCard>"
    alice.error("set", card.format("x" * 3000))
    bob.result("set", card.format("x" * 1000))


def test_pubsub_bytes(make_server):
    """What one user's nodes hold, also after a restart; another's are not concerned, and removing
    items gives room again."""
    server = make_server("alice", "bob", settings={"pubsub.user-bytes": 64 << 10})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    for i in range(3):
        alice.result("set", create(f"n{i}", publish_model="open"), to=HOST)
    bob.result("set", create("mine"), to=HOST)
    for i in range(3):
        alice.result("set", publish(f"n{i}", entry("x" * 20000), item="1"), to=HOST)
    for who in (alice, bob):
        assert error_of(who, "set", publish("n0", entry("x" * 20000), item="2"), HOST)[0] == \
            "policy-violation"
    bob.result("set", publish("mine", entry("x" * 20000), item="1"), to=HOST)
    server.restart()
    alice = server.client("alice", "a")
    assert error_of(alice, "set", publish("n0", entry("x" * 20000), item="2"), HOST)[0] == \
        "policy-violation"
    alice.result("set", publish("n1", entry("x"), item="1"), to=HOST)
    alice.result("set", publish("n0", entry("x" * 20000), item="2"), to=HOST)
    alice.result("set", "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>"
                 "<delete node='n0'/></pubsub>", to=HOST)
    alice.result("set", publish("n1", entry("x" * 20000), item="2"), to=HOST)


def test_pubsub_configurations(make_server):
    """Texts of configurations are in the share of the user who made the nodes, also after a
    restart: a node of its own for each, or one that grows."""
    settings = {name: 64 << 10 for name in ("pubsub.user-bytes", "pep.bytes-max")}
    server = make_server("alice", "bob", settings=settings)
    long = {"contact": [f"{'c' * 200}{i:02}@x.example" for i in range(30)]}  # 6.5 kB
    for to in (HOST, None):
        alice, bob = server.client("alice"), server.client("bob")
        assert refused(alice, lambda i, to=to: create(f"n{i}", **long), to) == "policy-violation"
        bob.result("set", create("mine", **long), to=to)
        server.restart()
        alice = server.client("alice")
        alice.result("set", create("small"), to=to)
        assert error_of(alice, "set", create("more", **long), to)[0] == "policy-violation"
        assert error_of(alice, "set", configure("small", **long), to)[0] == "policy-violation"
        if to is None:
            assert error_of(alice, "set", publish("made", **long), to)[0] == "policy-violation"
        alice.result("set", configure("n0", contact=[]), to=to)
        alice.result("set", configure("small", **long), to=to)


def test_an_archive_is_limited(make_server):
    """The archive of one who writes and receives much is cut; that of another, who wrote less, has
    everything."""
    server = make_server("alice", "bob", "carol", settings={"archive.user-bytes": 64 << 10})
    alice, bob, carol = (server.client(n, "r") for n in ("alice", "bob", "carol"))
    carol.send(f"<message to='{bob.bare}' type='chat'><body>first</body></message>")
    bob.expect("<message><body>first</body></message>")
    for i in range(80):
        alice.send(f"<message to='{bob.bare}' type='chat'><body>{i} {'x' * 1500}</body></message>")
        bob.expect("<message type='chat'/>")
    for client in alice, bob:
        until("it is cut", lambda c=client: len(Page(c, page="<max>250</max>").bodies) < 64)
    assert Page(carol).bodies == ["first"] and "first" in Page(bob, page="<max>1</max>").bodies


def test_pubsub_addresses(make_server):
    """Lists of addresses are memory as well: of the owner who makes them up, and of one user who
    subscribes one resource after another."""
    server = make_server("alice", "bob", "carol", settings={"pubsub.user-bytes": 64 << 10})
    alice, carol = server.client("alice", "a"), server.client("carol", "c")
    alice.result("set", create("fair"), to=HOST)
    for i in range(32):
        bob = server.login("bob", f"r{i}")
        bob.result("set", subscribe("fair", bob.jid), to=HOST)
        bob.close()
    bob = server.login("bob", "more")
    assert error_of(bob, "set", subscribe("fair", bob.jid), HOST)[2] == "too-many-subscriptions"
    bob.result("set", subscribe("fair", bob.bare), to=HOST)
    bob.result("set", unsubscribe("fair", "bob@localhost/r3"), to=HOST)
    bob.result("set", subscribe("fair", bob.jid), to=HOST)
    carol.result("set", subscribe("fair", carol.jid), to=HOST)

    carol.result("set", create("made-up"), to=HOST)
    assert refused(carol, lambda i: subscriptions("made-up", {
        f"u{i}-{k}@localhost": "subscribed" for k in range(100)}), HOST) == "policy-violation"
    alice.result("set", subscriptions("fair", {f"u{k}@localhost": "subscribed"
                                               for k in range(100)}), to=HOST)


def test_requests_of_strangers(make_server):
    """They fill half of the list; who is in the roster still gets through."""
    users = [f"s{i}" for i in range(4)]
    server = make_server("alice", "bob", *users, settings={
        "roster.watchers-max": 6, "presence.approval": "ask"})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.result("set", f"<query xmlns='{ROSTER}'><item jid='{bob.bare}'/></query>")
    strangers = [server.client(u) for u in users]
    for s in strangers:
        s.result("get", f"<query xmlns='{ROSTER}'/>")
        s.send(f"<presence to='{alice.bare}' type='subscribe'/>")
        if s is not strangers[3]:
            alice.expect(f"<presence from='{s.bare}' type='subscribe'/>")
    strangers[3].expect_error("policy-violation", None, "<presence type='error'/>")
    bob.send(f"<presence to='{alice.bare}' type='subscribe'/>")
    alice.expect(f"<presence from='{bob.bare}' type='subscribe'/>")
