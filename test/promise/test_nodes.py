"""Another node of the cluster dies (docs/architecture.md §12): with MUSTER_TEST_NODES=2 only. The
second node of the process is cut off from the first, where all clients but one connect."""
import http.client
import itertools
import json
import signal

import pytest

from harness import nodes, xml
from harness.client import TIMEOUT, until
from harness.component import Component
from harness.muc import Room
from harness.server import free_ports

pytestmark = pytest.mark.always


def of_node(node, text):
    """The first address of that form that has its home there."""
    all_of_them = (text.format(n) for n in itertools.count())
    return next(jid for jid in all_of_them if nodes.home(jid) == node)


@pytest.fixture
def server(make_server):
    return make_server()


def client(server, node, home):
    """A user with that home, connected to that node."""
    bare = of_node(home, f"u{client.number}" + "x{}@localhost")
    client.number += 1
    server.add_user(bare.partition("@")[0])
    server.port = lambda kind, bare=None: server.port_at(node, kind)
    return server.client(bare.partition("@")[0])


client.number = 0


def test_its_streams_end_and_rooms_drop_its_users(server):
    cave = Room(of_node(0, "cave{}@conference.localhost").partition("@")[0])
    carol, alice, bob = client(server, 0, 0), client(server, 1, 0), client(server, 0, 1)
    cave.create(carol, "carol")
    cave.enter(alice, "alice")
    cave.enter(bob, "bob")
    server.signal(signal.SIGUSR2)
    bob.expect_stream_error("system-shutdown")  # his session was there
    assert 333 in cave.gone(carol, "bob").codes
    cave.gone(carol, "alice")  # whose stream was there, and is lost
    cave.say(carol, "alone")
    cave.expect_body(carol, "carol", "alone")


def test_commands_for_what_was_there_say_so(server):
    """They end, although nobody tells of that node any more."""
    name = of_node(1, "gone{}@localhost").partition("@")[0]
    server.add_user(name)
    bob = client(server, 0, 1)
    server.signal(signal.SIGUSR2)
    bob.expect_stream_error("system-shutdown")
    for command in (("user", "stats", f"{name}@localhost"),
                    ("user", "disable", f"{name}@localhost"),
                    ("contact", "list", f"{name}@localhost")):
        done = server.ctl_run(*command)
        assert done.returncode != 0 and "the node where it runs" in done.stderr, done


def test_the_api_names_the_argument_and_the_next_page_of_the_other_node(server):
    """What a command says where it runs arrives where it was given."""
    port = free_ports(1)[0]
    server.stop()
    server.conf["listen"]["http_admin"] = [f"127.0.0.1:{port}"]
    server.start()
    token = server.rows("token", "add", "tests", "administrator")[0]["token"]

    def get(path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        connection.request("GET", f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    server.ctl("set", "muc.archive-joins", "on")
    for node in 0, 1:
        name = of_node(node, "tea{}@conference.localhost").partition("@")[0]
        cave = Room(name)
        cave.create(client(server, 0, 0), "carol", persistentroom=True)
        cave.enter(client(server, 1, 1), "bob")
        path = f"/rooms/{cave.jid}/joins?limit=1"
        page = get(path)
        assert page["items"][0]["nick"] == "carol"
        assert get(f"{path}&cursor={page['next']}")["items"][0]["nick"] == "bob"
        nowhere = of_node(node, "tea{}@nowhere.localhost")
        assert get(f"/rooms/{nowhere}/joins")["argument"] == "room"


def test_lists_of_all_nodes(server):
    """Sessions are sorted across them, and each node has one row."""
    clients = [client(server, node, home) for node, home in ((0, 1), (1, 0), (0, 0), (1, 1))]
    jids, found = sorted(str(c) for c in clients), []
    while len(found) < len(jids):
        after = ["--after", found[-1]] if found else []
        page = server.rows("session", "list", "--limit", "1", *after)
        found += [row["jid"] for row in page]
        assert len(page) == 1
    assert found == jids
    assert [r["jid"] for r in server.rows("user", "online")] == [c.partition("/")[0] for c in jids]
    rows = server.rows("node", "list")
    names = {row["node"] for row in rows}
    assert len(names) == len(rows) == 2
    assert {row["node"] for row in server.rows("session", "list")} == names
    one = server.rows("session", "list", "--jid", clients[0].bare)[0]
    for lines in (["session", "list"], ["session", "list", "--jid", clients[0].bare]):
        shown = server.ctl_run(*lines).stdout
        assert "NODE" in shown.upper().splitlines()[0] and one["node"] in shown
    assert {"name": "node", "value": one["node"]} in server.rows("user", "stats", clients[0].bare)
    assert sum(row["sessions"] for row in rows) == 4
    server.signal(signal.SIGUSR2)
    clients[0].expect_stream_error("system-shutdown")
    assert [row["node"] for row in server.rows("node", "list")] == [rows[0]["node"]]


def test_who_comes_back_after_a_restart_learns_that_a_contact_did_not(server):
    """The contact's node is ready first, and says goodbye for it."""
    alice, bob = client(server, 0, 0), client(server, 0, 1)
    bob.enable_sm()
    server.befriend(alice.name, bob.name)
    bob.expect(f"<presence from='{alice}' type='-'/>")
    bob.ping()
    bob.ack()
    server.restart()
    again = server.connect(bob.name)
    assert again.take_over(bob).tag == f"{{{xml.SM}}}resumed"
    again.expect(f"<presence from='{alice}' type='unavailable'/>")


def items(client):
    query = client.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to="localhost")
    return {item.get("jid") for item in query}


def test_a_component_serves_all_nodes_until_its_node_is_gone(make_server):
    """Users speak with it from both nodes, wherever it is connected."""
    server = make_server(component=True)
    for domain in "near.test", "far.test":
        server.ctl("component", "add", domain, "--secret", "a rather long secret")
    near = Component(server, "near.test", "a rather long secret", 0)
    far = Component(server, "far.test", "a rather long secret", 1)
    carol, bob = client(server, 0, 0), client(server, 1, 1)
    for user, link in itertools.product((carol, bob), (near, far)):
        user.send(f"<message to='x@{link.domain}' id='to'><body>to</body></message>")
        link.expect(f"<message from='{user}' to='x@{link.domain}'><body>to</body></message>")
        link.send(f"<message from='x@{link.domain}' to='{user.bare}'><body>back</body></message>")
        user.expect(f"<message from='x@{link.domain}'><body>back</body></message>")
    assert {"near.test", "far.test"} <= items(carol) & items(bob)
    server.signal(signal.SIGUSR2)
    until("its end", lambda: "far.test" not in items(carol))
    assert "near.test" in items(carol)
    assert carol.error("get", "<query xmlns='urn:x'/>", to="far.test")[0] == \
        "remote-server-timeout"  # it is a component of ours, and not there
    carol.send("<message to='x@near.test' id='on'><body>on</body></message>")
    near.expect(f"<message from='{carol}' to='x@near.test' id='on'><body>on</body></message>")
