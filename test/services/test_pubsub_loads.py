"""What one user can make pubsub.<domain> do, or hold, for the others."""
import pytest

from harness import nodes, xml
from harness.pubsub import (
    DATA, NS, affiliations, create, error_of, get_items, item_ids, publish, pubsub, subscribe,
    subscriptions)

HOST = "pubsub.localhost"


def loaded(server):
    return next(row["value"] for row in server.rows("metrics")
                if row["name"] == "muster_pubsub_services_loaded")


def approval(node, jid):
    """An owner's answer to a request for authorization, without what it is about."""
    return (f"<x xmlns='{DATA}' type='submit'><field var='FORM_TYPE'>"
            f"<value>{NS}#subscribe_authorization</value></field>"
            f"<field var='pubsub#node'><value>{node}</value></field>"
            f"<field var='pubsub#subscriber_jid'><value>{jid}</value></field>"
            "<field var='pubsub#allow'><value>1</value></field></x>")


def test_messages_make_no_service(server, alice, bob):
    """Neither to addresses at the service's domain, nor those without an owner's answer."""
    before = loaded(server)
    for i in range(20):
        alice.send(f"<message to='r{i}@{HOST}' type='headline'/>")
        alice.send(f"<message to='f{i}@{HOST}'>{approval('news', bob.bare)}</message>")
    alice.send(f"<message to='{HOST}' type='headline'/>")
    alice.send(f"<message to='b@{HOST}' id='b'><body>hello</body></message>")
    alice.expect(f"<message from='b@{HOST}' id='b' type='error'/>")
    alice.ping()
    assert loaded(server) == before
    alice.result("set", create("news", access_model="authorize"), to=HOST)
    bob.result("set", subscribe("news", bob.bare), to=HOST)
    alice.send(f"<message to='{HOST}'>{approval('news', bob.bare)}</message>")
    bob.expect(f"<message from='{HOST}'/>")
    found = bob.result("get", pubsub("<subscriptions/>"), to=HOST)[0]
    assert [s.get("subscription") for s in found] == ["subscribed"]


def test_a_node_is_made_again_after_a_creation_that_was_given_up(server, alice):
    """A row that is in the database, while the service does not know of the node: the creation was
    committed after its deadline. What is published to the node made anew is there after a start."""
    alice.result("set", create("other"), to=HOST)
    with server.database() as db:
        db.execute("INSERT INTO pubsub_node(owner, node, nid, creator, config) SELECT owner, "
                   "'news', nid + 1, 'fay@localhost', config FROM pubsub_node")
    alice.result("set", create("news"), to=HOST)
    alice.result("set", publish("news", item="1"), to=HOST)
    server.restart()
    alice = server.client("alice")
    assert item_ids(alice.result("get", get_items("news"), to=HOST)) == ["1"]
    asked = f"<query xmlns='{xml.DISCO_INFO}' node='news'/>"
    creator = alice.result("get", asked, to=HOST).find(".//*[@var='pubsub#creator']/*")
    assert creator.text == alice.bare


def numbers(count):
    """SQL: i from 1 to count, in a query that follows."""
    return f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"


def fill(server, *queries):
    """Rows that would take long to get there by requests. `p` is the row of the node `news`."""
    server.stop()
    with server.database() as db:
        for table, query in queries:
            db.execute(f"INSERT INTO {table} {query}, pubsub_node p WHERE p.node = 'news'")
    server.start()


def test_lists_larger_than_one_read(server, alice):
    """420,000 subscriptions are more than one batch of reads returns (32 MiB). Each list is read in
    pages: no row is left out or read twice."""
    alice.result("set", create("news"), to=HOST)
    many, nodes, affiliates = 420_000, 300, 4_001
    fill(server,
         ("pubsub_subscription", numbers(many) + " SELECT p.owner, p.nid, 'u' || i || '@x.example',"
          " 2, 1, 'id' FROM n"),
         ("pubsub_affiliation", numbers(affiliates - 1) + " SELECT p.owner, p.nid, 'u' || i || "
          "'@x.example', 3 FROM n"),
         ("pubsub_node", numbers(nodes - 1) + " SELECT p.owner, 'node' || i, p.nid + i, p.creator,"
          " p.config FROM n"))
    alice = server.client("alice")
    asked = f"<query xmlns='{xml.DISCO_INFO}' node='news'/>"
    count = alice.result("get", asked, to=HOST).find(".//*[@var='pubsub#num_subscribers']/*")
    assert count.text == str(many)
    items = alice.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to=HOST)
    assert len({i.get("node") for i in items}) == len(items) == nodes
    answer = alice.result("get", affiliations("news"), to=HOST)[0]
    assert len({a.get("jid") for a in answer}) == len(answer) == affiliates


def test_items_more_than_one_read(make_server):
    """The ids of 40,000 items are 36 MB. They are read by id, and known by time."""
    server = make_server("alice", settings={"pubsub.items-max": 100_000}, why="a large node")
    alice = server.client("alice")
    alice.result("set", create("news"), to=HOST)
    alice.result("set", publish("news", item="1"), to=HOST)
    fill(server,
         ("pubsub_item", numbers(40_000) + f" SELECT p.owner, p.nid, 'i' || i || '{'-' * 900}', "
          "100000 - i, 1, p.creator, '' FROM n"))
    alice = server.client("alice")
    alice.result("set", publish("news", item="2"), to=HOST)
    found = item_ids(alice.result("get", get_items("news", max_items=4), to=HOST))
    assert [i.strip("-") for i in found] == ["2", "1", "i1", "i2"]


def test_subscriptions_of_others_cost_nothing(server, alice):
    """A user who asks for the own subscriptions is not looked for among those of all others."""
    alice.result("set", create("news"), to=HOST)
    alice.result("set", subscribe("news", alice.jid), to=HOST)
    fill(server,
         ("pubsub_subscription", numbers(100_000) + " SELECT p.owner, p.nid, 'u' || i || "
          "'@x.example/r', 2, 1, 'id' FROM n"))
    alice = server.client("alice")
    before = alice.result("get", pubsub("<subscriptions/>"), to=HOST)
    used = server.cpu_seconds()
    for _ in range(200):
        answer = alice.result("get", pubsub("<subscriptions/>"), to=HOST)
    assert [s.get("node") for s in answer[0]] == [s.get("node") for s in before[0]] == ["news"]
    assert server.cpu_seconds() - used < 0.5  # 100,000 addresses 200 times: seconds


def test_a_named_node_is_not_looked_for_among_all(server, alice):
    alice.result("set", create("news"), to=HOST)
    fill(server,
         ("pubsub_node", numbers(100_000) + " SELECT p.owner, 'node' || i, p.nid + i, p.creator,"
          " p.config FROM n"))
    alice = server.client("alice")
    asked = f"<query xmlns='{xml.DISCO_INFO}' node='news'/>"
    alice.result("get", asked, to=HOST)
    used = server.cpu_seconds()
    for _ in range(1_000):
        alice.result("get", asked, to=HOST)
    assert server.cpu_seconds() - used < 0.7  # 100,000 names 1,000 times: 1.5 s


def test_owners_add_so_many_addresses_of_one_user(alice, bob):
    """Addresses of one user at a node are looked through one by one."""
    alice.result("set", create("news"), to=HOST)

    def add(*numbers):
        return subscriptions("news", {f"{bob.bare}/{i}": "subscribed" for i in numbers})

    refused = ("policy-violation", "modify", "too-many-subscriptions")
    assert error_of(alice, "set", add(*range(33)), HOST) == refused
    alice.result("set", add(*range(20)), to=HOST)
    assert error_of(alice, "set", add(*range(33)), HOST) == refused
    alice.result("set", add(*range(32)), to=HOST)
    assert error_of(alice, "set", add(32), HOST) == refused
    alice.result("set", subscriptions("news", {f"{bob.bare}/0": "none"}), to=HOST)
    alice.result("set", add(32), to=HOST)
    alice.result("set", subscriptions("news", {bob.bare: "subscribed"}), to=HOST)


@pytest.mark.parametrize("asker", range(2))
def test_a_look_at_all_nodes_is_paid(make_server, asker):
    """At 20 kB a second, 2,000 nodes at 16 bytes are some 1.5 s: meanwhile she is not read. The
    service and the client may have their homes on one worker or on two."""
    name = nodes.of_each_worker(2)[asker]
    server = make_server(name, "bob", workers=2, settings={"c2s.byte-rate": 20_000})
    alice = server.client(name)
    alice.result("set", create("news"), to=HOST)
    fill(server,
         ("pubsub_node", numbers(2_000) + " SELECT p.owner, 'node' || i, p.nid + i, p.creator,"
          " p.config FROM n"))
    for ask in (pubsub("<subscriptions/>"), pubsub("<affiliations/>"),
                f"<query xmlns='{xml.DISCO_ITEMS}'/>"):
        alice, bob = server.client(name), server.client("bob")
        alice.result("get", ask, to=HOST)
        alice.send(f"<message to='{bob.jid}'><body>late</body></message>")
        for i in range(20):
            bob.send(f"<message to='{bob.jid}'><body>{i}</body></message>")
            assert bob.expect("<message/>").findtext(f"{{{xml.CLIENT}}}body") == str(i)
        bob.expect(f"<message from='{alice.jid}'><body>late</body></message>")
        alice.close()
        bob.close()


def test_sizes_larger_than_one_page(server, alice):
    """The size of all items is the same after a start: the limit of what a user may store is."""
    alice.result("set", create("news"), to=HOST)
    fill(server,
         ("pubsub_item", numbers(9_000) + " SELECT p.owner, p.nid, 'i' || i, i, 100, p.creator, ''"
          " FROM n"))
    alice = server.client("alice")
    address = len(alice.bare) + 64
    server.ctl("set", "pubsub.user-bytes", str(900_000 + address))
    assert error_of(alice, "set", publish("news", item="1"), HOST)[0] == "policy-violation"
    server.ctl("set", "pubsub.user-bytes", str(900_000 + address + 200))
    alice.result("set", publish("news", item="1"), to=HOST)
