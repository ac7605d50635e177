"""What a server without XEP-0198 has got is known by its answers to pings."""
import re
import signal
import time

import pytest

from harness import federation
from harness.client import until
from harness.component import Component
from federation.test_s2s_lost import (ONE, OTHER, Reader, authority, flood, listener, node,
                                      pending, say, start, until_confirmed)

assert authority and listener and node and start  # fixtures

SECRET = "a secret of the component"
PING = f"<iq type='get' id='theirs' from='{OTHER}' to='{ONE}'><ping xmlns='urn:xmpp:ping'/></iq>"


def answer(reader, kind="result", name=None, sender=OTHER, to=ONE):
    """To the last ping."""
    last = re.findall("<iq [^>]*><ping", reader.text)[-1]
    name = name or re.search(" id='([^']*)'", last)[1]
    return f"<iq type='{kind}' id='{name}' from='{sender}' to='{to}'/>"


def pong(other, reader):
    """Answers the last ping."""
    other.raw(answer(reader))


@pytest.mark.parametrize("up", [True, False], ids=["up", "before"])
def test_the_answer_to_a_ping_does_not_wait_for_what_is_not_confirmed(node, listener, authority,
                                                                     up):
    alice = node.client("alice")
    node.ctl("set", "s2s.unacked-max", "5")
    node.ctl("set", "s2s.ack-timeout", "60s")
    other = federation.Peer(node, OTHER, ONE, cert=authority.issue("third", OTHER)).join()
    flood(alice, 0, 20)
    alice.ping()
    if not up:  # it waits for the stream with the others
        other.raw(PING)
    reader = Reader(listener.join())
    until("as many as may be", lambda: len(reader.numbers()) == 5)
    if up:
        other.raw(PING)
    until("the answer", lambda: "id='theirs'" in reader.text and "type='result'" in reader.text)
    assert reader.numbers() == list(range(5))


def test_an_answered_ping_is_confirmed_itself(node, listener, authority):
    alice = node.client("alice")
    node.ctl("set", "s2s.idle", "1s")
    say(alice, 0)
    reader = Reader(listener.join())
    other = federation.Peer(node, OTHER, ONE, cert=authority.issue("third", OTHER)).join()
    until("a ping", lambda: "urn:xmpp:ping" in reader.text)
    pong(other, reader)
    until_confirmed(node)
    until("the end of an idle stream", lambda: "</stream:stream>" in reader.text)
    assert reader.text.count("urn:xmpp:ping") == 1

@pytest.mark.parametrize("kind", ["result", "error"])
def test_a_ping_may_be_answered_on_the_stream_that_it_was_sent_on(node, listener, kind):
    """Although the stream has one direction: some servers do that."""
    alice = node.client("alice")
    say(alice, 0)
    reader = Reader(listener.join())
    until("a ping", lambda: "urn:xmpp:ping" in reader.text)
    reader.say(answer(reader, kind))
    until_confirmed(node)
    say(alice, 1)
    until("the next on the same stream", lambda: reader.numbers() == [0, 1])
    assert "event=s2s.lost" not in node.log()


@pytest.mark.parametrize("wrong", [{"name": "x"}, {"sender": "third.test"}, {"to": "third.test"},
                                   {"kind": "get"}])
def test_nothing_else_is_taken_on_a_stream_of_one_direction(node, listener, wrong):
    alice = node.client("alice")
    say(alice, 0)
    reader = Reader(listener.join())
    until("a ping", lambda: "urn:xmpp:ping" in reader.text)
    reader.say(answer(reader, **wrong))
    until("the error", lambda: "unsupported-stanza-type" in reader.text)
    assert pending(node) == 1


def test_attempts_slow_down_where_we_end_each_stream(node, listener):
    """What was written goes back to the database each time: it was not confirmed all the same."""
    say(node.client("alice"), 0)
    came = []
    for _ in range(4):
        reader = Reader(listener.join())
        came.append(time.monotonic())
        until("the message", lambda reader=reader: reader.numbers() == [0])
        reader.say(f"<iq type='result' id='unasked' from='{OTHER}' to='{ONE}'/>")
        until("the end", lambda reader=reader: "</stream:stream>" in reader.text)
        reader.say("</stream:stream>")
    assert came[3] - came[2] > 1.4  # the third pause is of 2 s, a quarter more or less
    assert pending(node) == 1


def test_only_two_silent_streams_make_a_server_one_that_confirms_nothing(node, listener):
    alice = node.client("alice")
    node.ctl("set", "s2s.ack-timeout", "1s")
    say(alice, 0)
    first = Reader(listener.join())
    node.wait_log("event=s2s.lost.*does not answer a ping")
    assert first.numbers() == [0]
    assert pending(node) == 1
    second = Reader(listener.join())
    node.wait_log("event=s2s.unconfirmed")
    assert second.numbers() == [0]
    until_confirmed(node)
    say(alice, 1)
    until("the next", lambda: second.numbers() == [0, 1])
    until_confirmed(node)


@pytest.mark.parametrize("ends", [True, False])
def test_a_server_that_cannot_answer_pings_any_more_confirms_by_its_end(node, listener, authority,
                                                                        ends):
    """It reaches us no more, and reads: nothing is sent again. Without its end, all is."""
    alice = node.client("alice")
    say(alice, 0)
    peer = listener.join()
    reader = Reader(peer)
    other = federation.Peer(node, OTHER, ONE, cert=authority.issue("third", OTHER)).join()
    until("a ping", lambda: "urn:xmpp:ping" in reader.text)
    pong(other, reader)
    until_confirmed(node)
    other.cut()
    node.ctl("set", "s2s.ack-timeout", "1s")
    say(alice, 1)
    until("the end of our half", lambda: "</stream:stream>" in reader.text)
    assert pending(node) == 1
    if ends:
        peer.sendall(b"</stream:stream>")
        until_confirmed(node)
        say(alice, 2)
    again = Reader(listener.join())
    until("the next", lambda: again.numbers() == [2 if ends else 1])
    assert reader.numbers() == [0, 1]


def test_a_domain_becomes_a_component_while_a_ping_is_due(node, listener):
    """The ping is refused here, from inside: it says nothing of the other server."""
    alice = node.client("alice")
    alice.send(f"<message to='bob@{OTHER}' type='chat' id='m0'><body>0</body></message>")
    with listener.join() as peer:
        listener.read_until(peer, "m0")
        node.ctl("component", "add", OTHER)
        due = time.monotonic() + 2  # it is sent a second after the message
        until("the time of the ping", lambda: (alice.ping(), time.monotonic() > due)[1])


@pytest.mark.parametrize("ends", [True, False])
def test_a_server_that_answers_no_ping_on_the_way_back_confirms_by_its_end(node, listener,
                                                                           authority, ends):
    """As one that we have connected to; the stream is its own (XEP-0288)."""
    alice = node.client("alice")
    node.ctl("set", "s2s.ack-timeout", "1s")
    peer = federation.Peer(node, OTHER, ONE, cert=authority.issue("back", OTHER)).secure()
    peer.raw("<bidi xmlns='urn:xmpp:bidi'/>")
    assert peer.external() is None
    peer.header().features_come()
    peer.raw(f"<message from='bob@{OTHER}' to='{alice.bare}'><body>there</body></message>")
    alice.expect("<message><body>there</body></message>")
    say(alice, 0)
    peer.expect("<message><body>text 0</body></message>")
    peer.wait("the end of our half", lambda: peer.reader.ended)
    assert pending(node) == 1
    if ends:
        peer.raw("</stream:stream>")
        until_confirmed(node)
        say(alice, 2)
    again = Reader(listener.join())
    until("the next", lambda: again.numbers() == [2 if ends else 0])
    assert "does not answer a ping" in node.log()


def test_an_answer_to_a_ping_is_not_asked_about(node, listener, authority):
    """Else two servers of ours would ask each other for ever; and the stream ends when it is
    idle."""
    node.ctl("set", "s2s.idle", "3s")
    node.client("alice")
    other = federation.Peer(node, OTHER, ONE, cert=authority.issue("third", OTHER)).join()
    other.raw(PING)
    reader = Reader(listener.join())
    until("the answer", lambda: "id='theirs'" in reader.text)
    until("the end", lambda: "</stream:stream>" in reader.text)
    assert "urn:xmpp:ping" not in reader.text


@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("domain", ["irc.gate.example", f"irc.{ONE}"])
def test_what_a_component_has_said_outlasts_a_server_that_hangs_and_is_killed(make_server, domain,
                                                                              connections):
    """By dialback, without XEP-0198: the answers to pings in its name come back to us, too."""
    options = {"settings": {**federation.settings(), "s2s.verify-certificates": False,
                            "s2s.connections": connections}}
    one = make_server("alice", domains=[ONE], s2s=True, component=True, **options)
    other = make_server("bob", domains=[OTHER], s2s=True, **options)
    for name in ONE, domain:
        federation.route(other, name, one.s2s_port)
    federation.route(one, OTHER, other.s2s_port)
    one.ctl("component", "add", domain, "--secret", SECRET)
    gate, bob = Component(one, domain, SECRET), other.client("bob")

    def tell(name):
        gate.send(f"<message from='u@{domain}' to='{bob.bare}' type='chat' id='{name}'><body>x"
                  "</body></message>")

    def unconfirmed():
        return sum(int(row["value"].split()[0]) for row in one.rows("s2s", "show", OTHER)
                   if row["name"].strip() == "unacknowledged")
    tell("first")
    bob.expect("<message id='first'/>")
    until("it is confirmed", lambda: unconfirmed() == 0)
    other.signal(signal.SIGSTOP)
    for n in range(5):
        tell(f"m{n}")
    until("they are written", lambda: unconfirmed() >= 5)
    other.kill()
    other.start()
    one.ctl_run("s2s", "retry", OTHER)
    bob = other.client("bob")
    for n in range(5):
        bob.expect(f"<message id='m{n}'/>")
    assert "s2s.unconfirmed" not in one.log()
