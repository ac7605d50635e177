"""Stanzas for other servers that are given up: an error or an answer to a request is answered by no
error, so it is counted."""
import pytest

from harness import federation, xml
from harness.client import until

ONE, OTHER = "one.test", "other.test"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def node(make_server, authority):
    """With a route to a port where nobody listens."""
    tls = {**authority.issue("ours", ONE), "trust": str(authority.file)}
    server = make_server("alice", domains=[ONE], s2s=True, tls=tls)
    server.ctl("set", "s2s.policy", "open")  # which a test changes
    federation.route(server, OTHER, federation.free_port())
    return server


def answer(client, first, behind):
    for n in range(first, behind):
        client.send(f"<iq to='bob@{OTHER}/x' type='result' id='r{n}'/>")


def dropped(server):
    return {row["label"].partition("=")[2]: row["value"] for row in server.rows("metrics")
            if row["name"] == "muster_s2s_dropped" and row["value"] > 0}


@pytest.mark.sqlite
def test_answers_that_find_no_room_are_counted(node):
    """And those that waited in vain; not a request, whose sender gets an error."""
    alice = node.client("alice")
    node.ctl("set", "s2s.queue-stanzas", "5")
    answer(alice, 0, 8)
    until("those without room", lambda: dropped(node) == {"queue": 3})
    node.wait_log(f"event=s2s.dropped domain={OTHER} local={ONE} stanza=result reason=queue")
    assert alice.error("get", "<query xmlns='jabber:iq:version'/>", to=OTHER)[0] == \
        "resource-constraint"
    node.ctl("set", "s2s.retry-for", "0s")
    node.ctl("s2s", "retry", OTHER)
    until("those that waited", lambda: dropped(node) == {"queue": 3, "unreachable": 5})


@pytest.mark.sqlite
def test_errors_that_the_policy_stops_are_counted(node):
    alice = node.client("alice")
    node.ctl("set", "s2s.policy", "allow")
    alice.send(f"<message to='bob@{OTHER}' type='error' id='e'>"
               f"<error type='cancel'><gone xmlns='{xml.STANZA_ERROR}'/></error></message>")
    answer(alice, 0, 1)
    alice.ping()
    assert dropped(node) == {"policy": 2}
    alice.ping()
    assert not [e for e in alice.inbox if e.get("type") == "error"]


@pytest.mark.sqlite
def test_an_answer_of_the_server_itself_is_counted(node, authority):
    """Room is kept for those, and they are given up with the rest."""
    node.ctl("set", "s2s.retry-for", "0s")
    peer = federation.Peer(node, OTHER, ONE, authority.issue("peer", OTHER)).join()
    peer.raw(f"<iq from='{OTHER}' to='{ONE}' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
    until("it is given up", lambda: dropped(node) == {"unreachable": 1})
