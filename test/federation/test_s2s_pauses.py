"""What a user sends soon after an attempt that was made for nobody's stanza has failed: it waits
for an attempt of its own, as what was sent before it would have done."""
import pytest

from harness import federation
from harness.client import until
from federation.test_s2s_lost import (ONE, OTHER, authority, flood, listener, node, pending, start)
from federation.test_s2s_lost_pings import PING

__all__ = ["authority", "listener", "node", "start"]
VERSION = "<query xmlns='jabber:iq:version'/>"


def for_an_answer(node, authority):
    """The other server has pinged ours, and cannot be told."""
    peer = federation.Peer(node, OTHER, ONE, authority.issue("third", OTHER)).join()
    peer.raw(PING)
    return peer


def for_a_key(node, authority):
    """It proves its domain by dialback."""
    peer = federation.Peer(node, OTHER, ONE).secure()
    peer.result("0" * 64)
    return peer


def for_stored_messages(node, authority):
    flood(node.client("alice", "before"), 0, 3)
    until("they are stored", lambda: pending(node) == 3)
    node.restart()


@pytest.mark.parametrize("made", [for_an_answer, for_a_key, for_stored_messages])
@pytest.mark.sqlite
def test_an_attempt_that_nobody_waited_for_makes_no_pause_for_users(node, listener, authority,
                                                                    made):
    listener.leave()
    peer = made(node, authority)
    node.wait_log(f"event=s2s.failed domain={OTHER}")
    alice = node.client("alice", "a")
    alice.send(f"<message to='bob@{OTHER}' type='headline'><body>brief</body></message>"
               f"<iq type='get' to='{OTHER}' id='version'>{VERSION}</iq>"
               f"<message to='room@{OTHER}' type='groupchat'><body>to all</body></message>")
    alice.ping()
    listener.come_back()
    with listener.join() as there:
        text = listener.read_until(there, "(?s).*to all").string
    assert "brief" in text and "id='version'" in text
    alice.expect_nothing("<message type='error'/>")
    alice.expect_nothing("<iq type='error'/>")
    if peer is not None:
        peer.sock.close()
