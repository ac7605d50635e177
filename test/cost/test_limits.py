"""Each setting of the table of limits (docs/architecture.md, "What a user can consume") holds at
another value than its default. Those of other test files are found here by their names."""
import re

from harness import muc, xml
from harness.muc import Room
from harness.pubsub import (
    affiliations, configure, create, entry, error_of, expect_event, get_items, item_ids, publish,
    subscribe, subscriptions)
from im.test_multicast import address, to_many
from cost.test_shares import ROOT, table

HOST = "pubsub.localhost"
HIDDEN = f"<x xmlns='{muc.NS}'><hidden xmlns='urn:muster:rooms:0'/></x>"


def test_every_limit_has_a_test_that_names_it():
    """A test sets it, or reads it; a unit test by the name of its row."""
    tests = "".join(p.read_text() for p in (ROOT / "test").glob("*/test_*.py"))
    units = "".join(p.read_text() for p in (ROOT / "src").rglob("*_test.c"))
    rows = "".join(p.read_text() for p in (ROOT / "src").rglob("*.c"))
    missing = []
    for name in sorted(set(re.findall(r"`([a-z0-9]+\.[a-z0-9-]+)`", table()))):
        row = re.search(rf'struct setting (\w+) =\s*(?:\{{\s*\.name = |[A-Z_]+\()'
                        rf'"{re.escape(name)}"', rows)
        assert row, f"{name} is no setting"
        unit = f"&{row[1]}," in units and f"struct setting {row[1]}" not in units
        if not re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", tests) and not unit:
            missing.append(name)
    assert not missing, f"limits that no test names: {missing}"


def test_bytes_before_login(make_server):
    server = make_server("alice", settings={"c2s.stanza-bytes-before-auth": "10kB"})
    for size, condition in (9_000, None), (12_000, "policy-violation"):
        client = server.connect("alice")
        client.raw(f"<auth xmlns='{xml.SASL}' mechanism='PLAIN'>{'A' * size}</auth>")
        if condition is None:
            assert client.sasl_answer()[0] != "challenge"
        else:
            client.expect_stream_error(condition)


def test_nodes_of_all_users(make_server):
    server = make_server("alice", "bob", settings={"pubsub.nodes-max": 3})
    alice, bob = server.client("alice"), server.client("bob")
    for i, client in enumerate((alice, bob, alice)):
        client.result("set", create(f"n{i}"), to=HOST)
    assert error_of(bob, "set", create("n3"), HOST)[2] == "max-nodes-exceeded"


def test_items_of_a_node_of_the_service(make_server):
    server = make_server("alice", settings={"pubsub.items-max": 3, "pubsub.item-bytes": "1KiB"})
    alice = server.client("alice")
    alice.result("set", create("news", max_items="max"), to=HOST)
    for i in range(5):
        alice.result("set", publish("news", entry("x" * 500), item=f"i{i}"), to=HOST)
    assert set(item_ids(alice.result("get", get_items("news"), to=HOST))) == {"i2", "i3", "i4"}
    assert error_of(alice, "set", configure("news", max_items=4), HOST)[0] == "not-acceptable"
    assert error_of(alice, "set", publish("news", entry("x" * 1100)), HOST)[2] == "payload-too-big"


def test_addresses_of_a_personal_node(make_server):
    server = make_server("alice", settings={"pep.subscriptions-max": 3})
    alice = server.client("alice")
    alice.result("set", publish("n", item="1"))
    for i in range(3):
        alice.result("set", subscriptions("n", {f"u{i}@localhost": "subscribed"}))
    assert error_of(alice, "set", subscriptions("n", {"u3@localhost": "subscribed"}))[0] in (
        "not-allowed", "policy-violation")
    for i in range(3):
        alice.result("set", affiliations("n", to={f"u{i}@localhost": "publisher"}))
    assert error_of(alice, "set", affiliations("n", to={"u3@localhost": "publisher"}))[0] in (
        "not-allowed", "policy-violation")


def test_a_notification_that_is_stored(make_server):
    server = make_server("alice", "bob", settings={"pubsub.offline-bytes": "1KiB"})
    alice, bob = server.client("alice"), server.client("bob")
    alice.result("set", create("news", notification_type="normal"), to=HOST)
    bob.result("set", subscribe("news", bob.bare), to=HOST)
    bob.close()
    alice.result("set", publish("news", entry("x" * 1100), item="large"), to=HOST)
    alice.result("set", publish("news", entry("x" * 200), item="small"), to=HOST)
    bob = server.client("bob")
    expect_event(bob, "news", HOST, "<item id='small'/>")
    bob.expect_nothing("<message/>")


def test_addresses_of_a_message(make_server):
    server = make_server("alice", "bob", settings={"multicast.addresses-max": 2})
    alice, bob = server.client("alice"), server.client("bob")
    addresses = [address("to", bob.bare), address("to", alice.bare), address("to", "x@localhost")]
    alice.send(to_many(*addresses[:2], body="two"))
    bob.expect("<message><body>two</body></message>")
    alice.expect("<message><body>two</body></message>")
    alice.send(to_many(*addresses, body="three"))
    alice.expect_error("not-acceptable", template="<message type='error' id='m'/>")
    bob.expect_nothing("<message/>", after=alice)


def test_hidden_occupants(make_server):
    server = make_server("alice", "bob", "carol", settings={"muc.hidden-max": 1})
    alice, bob, carol = (server.client(n, "r") for n in ("alice", "bob", "carol"))
    cave = Room("cave").create(alice, "first")
    for client in bob, carol:
        cave.set_affiliation(alice, client.bare, "admin")
    bob.send(f"<presence to='{cave.at('ghost')}'>{HIDDEN}</presence>")
    cave.flush(bob)
    carol.send(f"<presence to='{cave.at('spirit')}'>{HIDDEN}</presence>")
    assert cave.presence_error(carol)[0] == "service-unavailable"
    cave.leave(bob, "ghost")
    carol.send(f"<presence to='{cave.at('spirit')}'>{HIDDEN}</presence>")
    cave.flush(carol)
    carol.expect_nothing("<presence type='error'/>")
