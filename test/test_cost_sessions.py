"""What one stanza costs does not grow with the square of what the account, its rooms or its server
have. As in test_cost.py, but with users, groups and components that were there before."""
import time

import pytest

from muster.muc import Room
from test_cost import assert_bounded, used_ms

MUC = "http://jabber.org/protocol/muc"

pytestmark = pytest.mark.release


@pytest.fixture
def server(make_server):
    return make_server("alice", "bob", why="more than a client may send in the time",
                       settings={"c2s.byte-rate": "none", "c2s.stanza-rate": "none"})


def settled_ms(server):
    """What it has used when it does nothing more."""
    last, now = 0, used_ms(server)
    while now - last > 1:
        time.sleep(0.05)
        last, now = now, used_ms(server)
    return now


def cost_ms(server, client, text):
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
    plain, hostile = (cost_ms(server, alice, f"<message to='{cave.jid}' type='groupchat'>"
                                             f"<body>{c * 60_000}</body></message>") for c in "xa")
    assert_bounded(plain, hostile)
