"""What one stanza costs does not grow with the square of what the account, its rooms or its server
have. As in cost/test_cost.py, but with users, groups and components that were there before."""
import pytest

from harness import across
from harness.muc import Room
from cost.test_cost import PRIVACY, assert_bounded, quiet, used_ms

MUC = "http://jabber.org/protocol/muc"

pytestmark = pytest.mark.release


@pytest.fixture
def server(make_server):
    return make_server("alice", "bob", why="more than a client may send in the time",
                       settings={"c2s.byte-rate": "none", "c2s.stanza-rate": "none"})


def settled_ms(server):
    quiet(server)
    return used_ms(server)


def all_cost_ms(server, client, text):
    """Also of workers that answer nothing. The least of some times."""
    costs = []
    for _ in range(3):
        before = settled_ms(server)
        client.raw(text)
        client.ping()
        costs.append(settled_ms(server) - before)
        client.inbox.clear()
    return min(costs)


def test_a_nickname_in_a_text(server):
    """Of members in the background (XEP-0352), each session of them."""
    alice = server.client("alice", "a")
    cave = Room("cave").create(alice, "owner")
    for i in range(10):
        bob = server.client("bob", f"r{i}")
        bob.raw(f"<presence to='{cave.at('a' * 250 + 'b')}'><x xmlns='{MUC}'/></presence>"
                "<inactive xmlns='urn:xmpp:csi:0'/>")
        bob.ping()
    plain, hostile = (all_cost_ms(server, alice, f"<message to='{cave.jid}' type='groupchat'>"
                                             f"<body>{c * 60_000}</body></message>") for c in "xa")
    assert_bounded(plain, hostile)


def with_groups_of_the_server(server, groups, members):
    server.stop()
    with server.database() as db:
        db.execute("INSERT INTO account(jid, created_us, disabled) WITH RECURSIVE n(i) AS "
                   "(VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
                   "SELECT 'm' || i || '@localhost', 0, 0 FROM n", (members,))
        for name in (f"group-{i:03}" for i in range(groups)):
            db.execute("INSERT INTO shared_group(name, shown) VALUES (?1, ?1)", (name,))
            db.execute("INSERT INTO shared_group_member(name, jid) SELECT ?, jid FROM account",
                       (name,))
            db.execute("INSERT INTO shared_group_viewer(name, kind, value) "
                       "VALUES (?, 'members', '')", (name,))
    server.start()


def test_many_groups_of_the_same_members(server):
    """A rule for one of them is looked at for each contact."""
    with_groups_of_the_server(server, groups=200, members=500)
    alice = server.client("alice", "a")
    first = all_cost_ms(server, alice, "<presence/>")
    alice.result("set", f"<query xmlns='{PRIVACY}'><list name='l'><item type='group' action='deny' "
                        "value='group-199' order='1'><iq/></item></list></query>")
    alice.result("set", f"<query xmlns='{PRIVACY}'><active name='l'/></query>")
    assert_bounded(first, all_cost_ms(server, alice, "<presence/>"))


@pytest.mark.parametrize("domains", [["localhost"], ["localhost", "second.test"]])
def test_presence_beside_many_privileged_components(make_server, domains):
    """They see presence of contacts (XEP-0356), and none is connected."""
    server = make_server("alice", domains=domains, why="more than a client may send in the time",
                         settings={"c2s.byte-rate": "none", "c2s.stanza-rate": "none"})
    server.add_user("eve", domain=domains[-1])
    alice, eve = server.client("alice", "a"), server.client("eve", "e", domain=domains[-1])
    across.befriend(alice, eve)
    said = "<presence><status>x</status></presence>" * 100
    first = all_cost_ms(server, eve, said)
    for domain in domains:
        server.ctl("set", f"component.privileges@{domain}", " ".join(
            f"number-{i}.of.{domain} roster=both presence=roster" for i in range(180)))
    assert_bounded(first, all_cost_ms(server, eve, said))
