"""One of several connections of a pair breaks, and the other server keeps its session (XEP-0198):
what is not confirmed has perhaps arrived, so it goes out over no other connection."""
import select

import pytest

from harness import federation, xml
from harness.client import until
from federation.test_s2s_connections import ONE, OTHER, REFUSAL, Line, lines, stored
from federation.test_s2s_lost import authority, listener, until_confirmed

__all__ = ["authority", "listener"]
KEPT = "id='kept' resume='true' max='{}'"


@pytest.fixture
def start(make_server, authority, listener):
    """A function that starts a server of ours with two connections to the listener."""
    def one(**more):
        tls = {**authority.issue(ONE, ONE), "trust": str(authority.file)}
        node = make_server("alice", domains=[ONE], s2s=True, tls=tls, workers=4,
                           settings=federation.settings(connections=2, bidi="off", **more))
        federation.route(node, OTHER, listener.port)
        return node
    return one


def refuse(listener, times):
    """The next connections are ended before they are of any use."""
    for _ in range(times):
        with listener.sock.accept()[0] as peer:
            listener.header(peer, "refused", "")
            peer.sendall(REFUSAL)


def waiting(node):
    return [row for row in node.rows("s2s", "list") if row["state"] in ("waiting", "connecting")]


def say(client, to, *bodies):
    for n in bodies:
        client.send(f"<message to='{to}' type='chat' id='m{n}'><body>{n}</body></message>")


def broken(start, listener, max_s, **more):
    """The second connection has broken with three messages that have arrived, and cannot be made
    for a while; another message is for it. The node, alice, both lines, bob."""
    node = start(**more)
    alice = node.client("alice")
    (other, _), (line, bob) = lines(node, alice, listener, KEPT.format(max_s))
    say(alice, bob, 0, 1, 2)
    assert [line.read() for _ in range(3)] == ["0", "1", "2"]
    line.peer.close()
    refuse(listener, 5)
    say(alice, bob, 3)
    return node, alice, other, line, bob


def resume(line, listener):
    line.open(listener)
    line.until("<resume [^>]*previd='kept'[^>]*>")
    line.say(f"<resumed xmlns='{xml.SM}' previd='kept' h='{line.count}'/>")


def test_what_has_arrived_is_confirmed_when_the_connection_is_made_again(start, listener):
    node, alice, other, line, bob = broken(start, listener, 60)
    refuse(listener, 3)  # eight in all: more than are made for another connection to take over
    [row] = waiting(node)
    assert "keeps its session" in row["why"]
    assert not other.has_more()
    resume(line, listener)
    assert line.read() == "3"
    say(alice, bob, 4)
    assert line.read() == "4"
    line.confirm()
    until_confirmed(node)
    assert not other.has_more() and "s2s.diverted" not in node.log()
    alice.expect_nothing("<message type='error'/>")


def test_a_session_that_the_other_server_has_lost_begins_anew(start, listener):
    """It was restarted, perhaps: what it has not said to have comes at once, in order."""
    node, _, other, line, _ = broken(start, listener, 60)
    line.open(listener)
    line.until("<resume ")
    line.say(f"<failed xmlns='{xml.SM}'/>")
    line.until("<enable ")
    line.count = 0
    line.say(f"<enabled xmlns='{xml.SM}'/>")
    assert [line.read() for _ in range(4)] == ["0", "1", "2", "3"]
    line.confirm()
    until_confirmed(node)
    assert not other.has_more()


def test_another_connection_takes_over_when_the_session_is_over(start, listener):
    """By the word of the other server, also if no attempt has failed for so long by then."""
    node, alice, other, _, bob = broken(start, listener, 6, retry_for="2s")
    alice.expect_nothing("<message type='error'/>")
    assert not other.has_more()
    listener.leave()
    assert [other.read() for _ in range(4)] == ["0", "1", "2", "3"]
    say(alice, bob, 4)
    assert other.read() == "4"
    other.confirm()
    until_confirmed(node)
    node.wait_log("event=s2s.diverted")


def test_an_attempt_that_hangs_ends_with_the_session(start, listener):
    _, alice, other, _, _ = broken(start, listener, 8, retry_for="2s")
    with listener.sock.accept()[0]:  # nobody answers
        assert [other.read() for _ in range(4)] == ["0", "1", "2", "3"]
        alice.expect_nothing("<message type='error'/>")


def test_a_block_ends_what_waits_for_a_session(start, listener):
    node, alice, other, _, _ = broken(start, listener, 60)
    node.ctl("federation", "block", OTHER)
    back = {alice.expect("<message type='error'/>").get("id") for _ in range(4)}
    assert back == {"m0", "m1", "m2", "m3"}
    assert not other.has_more()
    until("nothing waits", lambda: not waiting(node))


def test_a_retry_tries_to_resume_at_once(start, listener):
    node, _, other, line, _ = broken(start, listener, 60)
    refuse(listener, 3)
    until("it pauses", lambda: [row["state"] for row in waiting(node)] == ["waiting"])
    node.ctl("s2s", "retry", OTHER)
    resume(line, listener)
    assert line.read() == "3" and not other.has_more()


def test_what_waits_for_a_session_is_sent_after_a_restart(start, listener):
    """A stop does not wait for the session."""
    node, _, other, _, _ = broken(start, listener, 60)
    until("all are stored", lambda: stored(node) == 4)
    node.stop()
    other.peer.close()
    while select.select([listener.sock], [], [], 0)[0]:
        listener.sock.accept()[0].close()
    node.start()
    line = Line(listener)
    assert [line.read() for _ in range(4)] == ["0", "1", "2", "3"]
    line.confirm()
    until_confirmed(node)


def test_what_finds_no_room_behind_a_session_is_stored(start, listener):
    node, alice, other, line, bob = broken(start, listener, 60, queue_stanzas=2)
    say(alice, bob, *range(4, 9))
    until("all are stored", lambda: stored(node) == 9)
    for _ in range(3):
        alice.send(f"<message to='{bob}' type='headline'><body>not stored</body></message>")
    error = alice.expect("<message type='error'/>").find(f"{{{xml.CLIENT}}}error")
    assert xml.condition(error) == "resource-constraint"
    resume(line, listener)
    bodies = []
    while "8" not in bodies:
        bodies.append(line.read())
    assert [n for n in bodies if n != "not stored"] == [str(n) for n in range(3, 9)]
    line.confirm()
    until_confirmed(node)
    assert not other.has_more()
