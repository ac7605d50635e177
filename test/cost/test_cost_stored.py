"""What a stored thing costs does not grow with how many others are stored: messages that a client
has not acknowledged, nodes for groups of contacts. As in test_cost.py. An account with few of them
is compared with one that has many."""
import pathlib

import pytest

from cost.test_cost import PUBSUB, assert_bounded, cost_ms, quiet

pytestmark = pytest.mark.release

CARBONS = "urn:xmpp:carbons:2"
FORMS = "jabber:x:data"


@pytest.fixture
def server(make_server):
    return make_server("few", "many", "bob", why="more than a client may send in the time",
                       settings={"c2s.byte-rate": "none", "c2s.stanza-rate": "none"})


def workers_ms(server):
    """Without the threads of the store, which may be late."""
    tasks = pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks
               if (task / "comm").read_text().strip() == "musterd") / 1e6


def end_ms(server, client):
    quiet(server)
    before = workers_ms(server)
    client.raw("</stream:stream>")
    quiet(server)
    return workers_ms(server) - before


def sessions(server, user, count):
    """None of them acknowledges what it receives."""
    all_of_them = [server.client(user, f"s{i}") for i in range(count)]
    for client in all_of_them:
        client.enable_sm(resume="false")
        client.auto_ack = False
    return all_of_them


def send(server, count, to, readers):
    bob = server.client("bob")
    for _ in range(0, count, 500):
        bob.raw(f"<message to='{to}' type='chat'><body>x</body></message>" * 500)
        bob.ping()
        for client in readers:
            client.ping()
            client.inbox.clear()
    bob.close()


def ends_ms(server, user, count):
    """The first end gives all its messages to the others. A later one finds that they have them."""
    first, *rest = sessions(server, user, 5)
    send(server, count, first, [first, *rest])
    first_ms = end_ms(server, first)
    return first_ms, min(end_ms(server, client) for client in rest[:-1])


def test_the_end_of_a_session_that_acknowledged_nothing(server):
    """Each message is looked for in the queues of the other sessions."""
    few, many = ends_ms(server, "few", 1500), ends_ms(server, "many", 8000)
    for costs in zip(few, many):
        assert_bounded(*costs)


def carbons_ms(server, user, count):
    first, *rest = sessions(server, user, 4)
    for client in rest:
        client.result("set", f"<enable xmlns='{CARBONS}'/>")
    send(server, count, first, [first, *rest])
    costs = []
    for client in rest:
        quiet(server)
        before = workers_ms(server)
        client.ack()
        client.ping()
        costs.append(workers_ms(server) - before)
    return min(costs), end_ms(server, first)


def test_copies_that_other_sessions_acknowledged(server):
    few, many = carbons_ms(server, "few", 1000), carbons_ms(server, "many", 8000)
    for costs in zip(few, many):
        assert_bounded(*costs)


def make_node(client, name, groups):
    fields = {"FORM_TYPE": [f"{PUBSUB}#node_config"], "pubsub#access_model": ["roster"],
              "pubsub#roster_groups_allowed": groups}
    form = "".join(f"<field var='{var}'>" + "".join(f"<value>{v}</value>" for v in values) +
                   "</field>" for var, values in fields.items())
    client.result("set", f"<pubsub xmlns='{PUBSUB}'><create node='{name}'/><configure>"
                         f"<x xmlns='{FORMS}' type='submit'>{form}</x></configure></pubsub>")


def test_nodes_for_groups_of_contacts(server):
    """The groups of a node and those of a contact: their sum, not their product."""
    bob = server.client("bob")
    bob.server = server
    groups = "".join(f"<group>of the roster {i}</group>" for i in range(50))
    costs = []
    for owner, count in ("few", 1), ("many", 1000):
        client = server.client(owner)
        server.befriend(owner, "bob")
        client.result("set", f"<query xmlns='jabber:iq:roster'><item jid='bob@localhost'>{groups}"
                             "</item></query>")
        for i in range(100):
            make_node(client, f"n{i}", [f"x{j}" for j in range(count)])
        make_node(client, "shown", [f"x{j}" for j in range(count - 1)] + ["of the roster 49"])
        query = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
        shown = bob.result("get", query, to=client.bare)
        assert [item.get("node") for item in shown.iter() if item.get("node")] == ["shown"]
        costs.append(cost_ms(bob, f"<iq type='get' id='d' to='{client.bare}'>{query}</iq>"))
    assert_bounded(*costs)
