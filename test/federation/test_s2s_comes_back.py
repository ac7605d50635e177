"""Of two servers only one can connect. Its connection breaks while its users say nothing: it comes
back by itself, since the other server cannot, and keeps what it had to send."""
import pytest

from harness import federation, xml
from harness.client import until
from harness.links import ONE, OTHER, authority, pending, start
from harness.wire import Wire

NOTHING_WAITS = "nothing waits for it; the next stanza begins an attempt at once"
__all__ = ["authority", "start"]


@pytest.fixture
def pair(start):
    """alice@one.test reaches bob@other.test over a wire; that server has no way to hers."""
    one = start("alice", ack_timeout="2s")
    other = start("bob", domains=[OTHER], ack_timeout="2s")
    wire = Wire(other.s2s_port)
    federation.route(one, OTHER, wire.port)
    federation.route(other, ONE, federation.free_port())
    yield one, other, wire
    wire.close()


def say(one, other, *bodies):
    for body in bodies:
        one.send(f"<message to='{other.bare}' type='chat'><body>{body}</body></message>")


def hear(other, one, *bodies):
    for body in bodies:
        other.expect(f"<message from='{one}'><body>{body}</body></message>")


def nothing_more(*clients):
    for client in clients:
        left = [xml.canonical(e) for e in client.inbox if e.tag.endswith("}message")]
        assert not left, (client.jid, left)


def meet(pair):
    """alice@one.test, whose server can connect, and bob."""
    one, other, wire = pair
    alice, bob = one.client("alice"), other.client("bob")
    for client in alice, bob:
        client.enable_sm()
    say(alice, bob, "there")
    hear(bob, alice, "there")
    say(bob, alice, "here")
    hear(alice, bob, "here")
    for server, client in (one, alice), (other, bob):
        client.wait_acked(1)
        until("it is confirmed", lambda: pending(server) == 0)
    return alice, bob


def breaks(one, wire):
    """The network is gone, and all attempts that follow a break at once have failed: a function
    that brings it back."""
    real, wire.target = wire.target, federation.free_port()
    before = one.log().count("event=s2s.failed")
    wire.say("c")
    until("five have failed", lambda: one.log().count("event=s2s.failed") >= before + 5)

    def back():
        wire.target = real
    return back


def test_who_alone_can_connect_comes_back(pair):
    one, other, wire = pair
    alice, bob = meet(pair)
    back = breaks(one, wire)
    found, = one.rows("s2s", "list", OTHER)
    assert found["state"] == "waiting"
    say(bob, alice, *range(5))
    back()
    hear(alice, bob, *range(5))
    nothing_more(alice, bob)


def test_it_comes_back_also_if_the_break_is_noticed_late(pair):
    """What the other server had written is unconfirmed: it is resumed, and comes once."""
    one, other, wire = pair
    alice, bob = meet(pair)
    wire.say("f")
    say(bob, alice, *range(5))
    bob.ping()
    back = breaks(one, wire)
    wire.say("o")
    back()
    hear(alice, bob, *range(5))
    say(bob, alice, "next")
    hear(alice, bob, "next")
    nothing_more(alice, bob)


def test_what_is_said_meanwhile_does_not_end_that(pair):
    """A question of its own user is given up; what the other server keeps comes all the same."""
    one, other, wire = pair
    one.ctl("set", "s2s.retry-for", "1s")
    alice, bob = meet(pair)
    back = breaks(one, wire)
    say(bob, alice, "kept")
    assert alice.error("get", "<ping xmlns='urn:xmpp:ping'/>", to=f"bob@{OTHER}/x")
    back()
    hear(alice, bob, "kept")
    nothing_more(alice, bob)


@pytest.mark.parametrize("resume_for, attempts", [("2s", 5), ("none", 0)])
def test_it_comes_back_only_while_the_session_is_kept(pair, resume_for, attempts):
    """Then it waits until something is said."""
    one, other, wire = pair
    for server in one, other:
        server.ctl("set", "s2s.resume-for", resume_for)
    alice, bob = meet(pair)
    wire.target = federation.free_port()
    wire.say("c")
    one.wait_log("event=s2s.lost")
    until("nothing is tried any more", lambda: not one.rows("s2s", "list", OTHER))
    assert attempts <= one.log().count("event=s2s.failed") <= 2 * attempts


def test_an_operator_ends_the_pause(pair):
    one, other, wire = pair
    alice, bob = meet(pair)
    back = breaks(one, wire)
    say(bob, alice, "kept")
    back()
    assert one.ctl("s2s", "retry", OTHER)["text"] != NOTHING_WAITS
    hear(alice, bob, "kept")


def test_a_rule_ends_that(pair):
    one, other, wire = pair
    meet(pair)
    breaks(one, wire)
    one.ctl("federation", "block", OTHER)
    until("nothing is tried any more", lambda: not one.rows("s2s", "list", OTHER))
