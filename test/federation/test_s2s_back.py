"""A connection breaks that another server has made and stanzas of ours go back on (XEP-0288): users
wait for about a second, and nothing comes twice if the stream is resumed."""
import datetime
import re
import time
from concurrent import futures

import pytest

from harness import federation, xml
from harness.client import until
from harness.wire import Wire
from federation.test_s2s_bidi import (EVIL, ONE, OTHER, SM, authority, begin, broken, come, hear,
                                      join, listener, node, nothing, nothing_more, pending, say,
                                      send, sm, start)
from federation.test_s2s_lost import Reader

__all__ = ["authority", "join", "listener", "node", "start"]
BODIES = ["0", "1", "2"]
WITHIN_S = 4  # it was 5 s and more


def unconfirmed(node, peer, alice):
    """She has said BODIES on the way back, and nobody confirms them."""
    peer.auto_ack = False
    send(alice, "first")
    come(peer, "first")
    peer.ack(1)
    until("it is confirmed", lambda: pending(node) == 0)
    send(alice, *BODIES)
    come(peer, *BODIES)


def authenticated(listener):
    """The next stream that we open, in both directions."""
    peer = listener.secure(features=federation.EXTERNAL + (
        "<bidi xmlns='urn:xmpp:features:bidi'/>"))
    listener.read_until(peer, "(?s).*<auth.*</auth>")
    peer.sendall(f"<success xmlns='{xml.SASL}'/>".encode())
    listener.header(peer, "third", SM)
    return peer


def taken(listener, answer=f"<enabled xmlns='{xml.SM}' id='session' resume='true'/>"):
    """The same, with XEP-0198: what is read of it."""
    peer = authenticated(listener)
    asked = listener.read_until(peer, "<enable [^>]*/>")
    peer.sendall(answer.encode())
    return Reader(peer, asked.string[asked.end():])


def resumes(node, listener, alice):
    """The next stream that we open resumes ours, on which "first" and BODIES have arrived: only
    what she says now goes on it."""
    again = authenticated(listener)
    listener.read_until(again, "<resume [^>]*previd='session'[^>]*>")
    again.sendall(f"<resumed xmlns='{xml.SM}' previd='session' h='4'/>".encode())
    reader = Reader(again)
    send(alice, "new")
    until("it", lambda: said(reader) == ["new"])
    reader.say(f"<a xmlns='{xml.SM}' h='5'/>")
    until("all are confirmed", lambda: pending(node) == 0)


def said(reader):
    return re.findall("<body>(.*?)</body>", reader.text)


def confirmed(node, listener, max_s=None):
    """Alice, and a stream that we have opened, on which her first message is confirmed. The other
    server keeps its session for so long, if it says that."""
    alice = node.client("alice")
    send(alice, "first")
    kept = f" max='{max_s}'" if max_s else ""
    reader = taken(listener, f"<enabled xmlns='{xml.SM}' id='session' resume='true'{kept}/>")
    until("it", lambda: said(reader) == ["first"])
    reader.say(f"<a xmlns='{xml.SM}' h='1'/>")
    until("it is confirmed", lambda: pending(node) == 0)
    return alice, reader


@pytest.mark.sqlite
def test_a_server_that_makes_a_new_connection_gets_what_waits_soon(node, join):
    """It resumes nothing, as after a crash: all comes again, in order, and not one at a time."""
    alice, peer = node.client("alice"), join(node)
    unconfirmed(node, peer, alice)
    peer.cut()
    begun = time.monotonic()
    again = join(node)
    again.auto_ack = False
    send(alice, "new")
    come(again, *BODIES, "new")
    assert time.monotonic() - begun < WITHIN_S


@pytest.mark.sqlite
def test_a_server_that_does_not_come_back_gets_what_waits_soon(node, join, listener):
    alice, peer = node.client("alice"), join(node)
    unconfirmed(node, peer, alice)
    peer.cut()
    begun = time.monotonic()
    send(alice, "new")
    reader = taken(listener)
    until("all", lambda: said(reader) == [*BODIES, "new"])
    assert time.monotonic() - begun < WITHIN_S


@pytest.mark.sqlite
def test_what_is_resumed_while_we_connect_does_not_come_twice(node, join, listener):
    """Our connection is made, and its stream takes no stanzas yet."""
    alice, peer = node.client("alice"), join(node)
    unconfirmed(node, peer, alice)
    broken(node, peer)
    ours, _ = listener.sock.accept()
    again = join(node, enable=False)
    again.auto_ack = False
    assert sm(again, f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='3'/>"
              ).tag == f"{{{xml.SM}}}resumed"
    send(alice, "new")
    come(again, "2", "new")
    again.ack(5)
    until("all are confirmed", lambda: pending(node) == 0)
    nothing(again)
    ours.settimeout(10)
    while ours.recv(4096):  # it is given up
        pass
    ours.close()


@pytest.mark.sqlite
def test_a_server_with_several_connections_has_time_to_resume(node, join):
    """It has another one: that one is not used as long as what has arrived may be resumed."""
    alice, other, second = node.client("alice"), join(node), join(node)
    unconfirmed(node, other, alice)
    other.cut()
    send(alice, "new")
    silent = time.monotonic() + 2
    while time.monotonic() < silent:
        second.pump(0.1)
    nothing(second)
    again = join(node, enable=False)
    again.auto_ack = False
    assert sm(again, f"<resume xmlns='{xml.SM}' previd='{other.sm_id}' h='4'/>"
              ).tag == f"{{{xml.SM}}}resumed"
    come(again, "new")
    nothing(second)


def incoming(node):
    """How many streams of other servers there are."""
    return sum(r["direction"] == "in" for r in node.rows("s2s", "list"))


@pytest.mark.sqlite
@pytest.mark.parametrize("first", ["used", "others"])
def test_a_server_whose_connections_all_break_has_time_to_resume_each(node, join, first):
    """The first that comes again is another one than that which our stanzas went on."""
    alice, other, second = node.client("alice"), join(node), join(node)
    unconfirmed(node, other, alice)
    for peer in (other, second) if first == "used" else (second, other):
        left = incoming(node) - 1
        peer.cut()
        until("its end", lambda left=left: incoming(node) == left)
    again = join(node)
    silent = time.monotonic() + 2
    while time.monotonic() < silent:
        again.pump(0.1)
    nothing(again)
    third = join(node, enable=False)
    third.auto_ack = False
    assert sm(third, f"<resume xmlns='{xml.SM}' previd='{other.sm_id}' h='4'/>"
              ).tag == f"{{{xml.SM}}}resumed"
    send(alice, "new")
    come(third, "new")
    nothing(again)


def quiet(node, join, alice):
    """BODIES are not confirmed, their stream has broken, and the next one of that server is there:
    it has not said whether it resumes. Both streams; "new" waits."""
    peer = join(node)
    unconfirmed(node, peer, alice)
    broken(node, peer)
    again = join(node, enable=False)
    again.auto_ack = False
    send(alice, "new")
    return peer, again


@pytest.mark.sqlite
def test_a_server_that_has_not_said_whether_it_resumes_is_waited_for(node, join, listener):
    """Perhaps it is storing what has come: it does not know before that what it has."""
    alice = node.client("alice")
    peer, again = quiet(node, join, alice)
    silent = time.monotonic() + 3
    while time.monotonic() < silent:
        again.pump(0.1)
    assert not bodies(again)
    assert sm(again, f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='4'/>"
              ).tag == f"{{{xml.SM}}}resumed"
    come(again, "new")
    again.ack(5)
    until("all are confirmed", lambda: pending(node) == 0)
    nothing(again)
    assert not re.findall("s2s.up|s2s.failed", node.log())  # we have not tried to connect


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ["breaks", "ends", "close"])
def test_a_server_that_ends_without_resuming_gets_what_waits_soon(node, join, listener, how):
    alice = node.client("alice")
    _, again = quiet(node, join, alice)
    begun = time.monotonic()
    if how == "breaks":
        again.cut()
    elif how == "ends":
        again.raw("</stream:stream>")
    else:
        node.ctl("s2s", "close", EVIL)
    reader = taken(listener)
    until("all", lambda: said(reader) == [*BODIES, "new"])
    assert time.monotonic() - begun < WITHIN_S


@pytest.mark.sqlite
@pytest.mark.parametrize("asks", [False, True])
def test_a_server_that_has_not_resumed_gets_what_waits_soon(node, join, asks):
    """It has nothing to resume any more, as after a restart, or it asks in vain."""
    alice = node.client("alice")
    _, again = quiet(node, join, alice)
    begun = time.monotonic()
    if asks:
        assert sm(again, f"<resume xmlns='{xml.SM}' previd='{'0' * 32}' h='0'/>"
                  ).tag == f"{{{xml.SM}}}failed"
    again.enable_sm()
    come(again, *BODIES, "new")
    assert time.monotonic() - begun < WITHIN_S


@pytest.mark.sqlite
def test_a_server_that_says_nothing_is_not_waited_for_without_end(start, join, authority):
    """As long as for one that cannot be reached."""
    node = start("alice", ONE, retry_for="3s")
    listener = federation.Listener(EVIL, authority.issue("victim", EVIL))
    federation.route(node, EVIL, listener.port)
    alice = node.client("alice")
    quiet(node, join, alice)
    reader = taken(listener)
    until("all", lambda: {*BODIES, "new"} <= set(said(reader)))
    listener.close()


@pytest.mark.sqlite
def test_a_domain_that_is_shut_out_is_not_waited_for(node, join):
    """What is not confirmed goes back to its sender at once."""
    alice = node.client("alice")
    quiet(node, join, alice)
    node.ctl("federation", "block", EVIL)
    for _ in [*BODIES, "new"]:
        alice.expect("<message type='error'/>")
    until("none waits", lambda: pending(node) == 0)


@pytest.mark.parametrize("connects", [False, True], ids=["refused", "hangs"])
@pytest.mark.sqlite
def test_a_server_that_comes_by_itself_and_cannot_be_reached(node, join, listener, connects):
    """Our stream to it broke, and it makes one to us: what was to be resumed goes on that."""
    alice, reader = confirmed(node, listener)
    send(alice, *BODIES)
    until("all", lambda: said(reader) == ["first", *BODIES])
    if not connects:
        listener.leave()
    reader.cut()
    begun = time.monotonic()
    again = join(node)
    send(alice, "new")
    come(again, *BODIES, "new")
    assert time.monotonic() - begun < (10 if connects else WITHIN_S)


@pytest.mark.parametrize("goes_on", [False, True], ids=["at-connect", "in-tls"])
@pytest.mark.sqlite
def test_an_attempt_that_hangs_ends_when_the_server_comes_by_itself(node, join, listener, goes_on):
    """It has a connection, which may never lead anywhere; the other one is there."""
    alice = node.client("alice")
    send(alice, *BODIES)
    silent, _ = listener.sock.accept()
    if goes_on:
        listener.header(silent, "first", f"<starttls xmlns='{xml.TLS}'/>")
        listener.read_until(silent, "<starttls")
    begun = time.monotonic()
    peer = join(node)
    send(alice, "new")
    come(peer, *BODIES, "new")
    assert time.monotonic() - begun < WITHIN_S  # it was 30 s
    silent.close()


@pytest.mark.sqlite
@pytest.mark.parametrize("away", ["refuses", "hangs"])
def test_after_a_few_seconds_of_no_network_a_stream_is_resumed_first(node, join, listener, away):
    """The other server has come first: what has arrived on our stream does not go on that one, too.
    Our attempts are made again at once, as it is there."""
    alice, reader = confirmed(node, listener)
    send(alice, *BODIES)
    until("they have arrived", lambda: said(reader) == ["first", *BODIES])
    if away == "refuses":
        listener.leave()
    reader.cut()
    begun = time.monotonic()
    hangs = listener.sock.accept()[0] if away == "hangs" else None
    until("the second is over", lambda: time.monotonic() > begun + 3)
    peer = join(node)
    peer.auto_ack = False
    if hangs is None:
        listener.come_back()
    else:
        hangs.close()
    resumes(node, listener, alice)
    nothing(peer)


@pytest.mark.sqlite
def test_an_attempt_to_resume_alone_makes_no_pause(node, listener):
    """Nothing waited for it: what comes next waits for an attempt of its own, as stored messages
    do, and is not refused. Before that it is tried five times within a second."""
    alice, reader = confirmed(node, listener)
    listener.leave()
    reader.cut()
    failed = f"event=s2s.failed domain={EVIL}"
    until("it is given up", lambda: node.log().count(failed) == 5)
    alice.send(f"<message to='bob@{EVIL}' type='headline'><body>brief</body></message>")
    alice.ping()
    listener.come_back()
    again = authenticated(listener)
    listener.read_until(again, "<resume [^>]*previd='session'[^>]*>")
    again.sendall(f"<resumed xmlns='{xml.SM}' previd='session' h='1'/>".encode())
    reader = Reader(again)
    until("it", lambda: said(reader) == ["brief"])
    alice.expect_nothing("<message type='error'/>")


@pytest.mark.sqlite
def test_a_server_that_is_down_is_tried_with_growing_pauses(node, join):
    alice, peer = node.client("alice"), join(node)
    unconfirmed(node, peer, alice)
    peer.cut()
    failed = lambda: re.findall(f"time=(\\S+) .*event=s2s.failed domain={EVIL}", node.log())
    until("failures", lambda: len(failed()) >= 3)
    at = [datetime.datetime.fromisoformat(t.replace("Z", "+00:00")) for t in failed()]
    first, second = [(b - a).total_seconds() for a, b in zip(at, at[1:])][:2]
    assert first >= 0.75 and second >= 1.5, at


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ["ends", "breaks"])
def test_each_connection_of_a_server_is_a_way_to_it(node, join, how):
    """We cannot connect to it. The one that is in use ends, and the one that came last: stanzas go
    on the third, also if none waits when that happens."""
    alice = node.client("alice")
    used, third, last = [join(node) for _ in range(3)]
    send(alice, "one")
    come(used, "one")
    until("it is confirmed", lambda: used.pump(0.05) or pending(node) == 0)
    for peer in last, used:
        if how == "ends":
            peer.raw("</stream:stream>")
            peer.expect_closed()
        else:
            peer.cut()
    until("one is left", lambda: [row["direction"] for row in node.rows("s2s", "list")
                                  if row["state"] == "up"].count("in") == 1)
    send(alice, "two")
    come(third, "two")
    assert "event=s2s.failed" not in node.log()


@pytest.mark.sqlite
def test_sixteen_connections_are_remembered(node, join):
    """Beside the one that is in use: the last ones."""
    alice = node.client("alice")
    peers = [join(node)]
    send(alice, "one")
    come(peers[0], "one")
    until("it is confirmed", lambda: peers[0].pump(0.05) or pending(node) == 0)
    peers += [join(node) for _ in range(17)]
    for peer in peers[3:] + peers[:1]:
        peer.raw("</stream:stream>")
        peer.expect_closed()
    send(alice, "two")
    come(peers[2], "two")
    until("it is confirmed", lambda: peers[2].pump(0.05) or pending(node) == 0)
    peers[2].raw("</stream:stream>")
    peers[2].expect_closed()
    send(alice, "three")
    node.wait_log("event=s2s.failed")
    nothing(peers[1])


@pytest.mark.sqlite
def test_two_ways_are_left_when_a_stream_with_a_session_has_ended_in_order(node, join, listener):
    """That session is not to be resumed, so nothing waits for an attempt to do it."""
    alice, reader = confirmed(node, listener)
    listener.leave()
    one = join(node)
    one.raw(f"<message from='bob@{EVIL}' to='{alice.bare}' type='headline'><body>hello</body>"
            "</message>")
    alice.expect("<message><body>hello</body></message>")
    reader.say("</stream:stream>")
    until("its end", lambda: reader.ended)
    two = join(node)
    alice.send(f"<message to='bob@{EVIL}' type='headline'><body>brief</body></message>")
    def came(peer):
        peer.pump(0.1)
        return any("brief" in xml.canonical(e) for e in peer.inbox)
    until("it", lambda: came(one) or came(two))
    assert "event=s2s.failed" not in node.log()


@pytest.mark.sqlite
def test_what_is_counted_late_is_confirmed_by_its_count_alone(node, join):
    """The other server sends a stanza before <enable/>. Its end says nothing of what it counts."""
    alice, peer = node.client("alice"), join(node, enable=False)
    peer.raw(f"<message from='bob@{EVIL}' to='{alice.bare}' type='headline'><body>hello</body>"
             "</message>")
    alice.expect("<message><body>hello</body></message>")
    send(alice, "first")
    come(peer, "first")
    peer.enable_sm()
    peer.auto_ack = False
    ping = peer.expect("<iq type='get'/>")
    peer.raw(f"<iq type='result' id='{ping.get('id')}' from='{EVIL}' to='one.test'/>")
    until("it is confirmed", lambda: pending(node) == 0)
    send(alice, "counted")
    come(peer, "counted")
    node.ctl("s2s", "close", EVIL)
    peer.raw("</stream:stream>")
    peer.expect_closed()
    again = join(node)
    come(again, "counted")


@pytest.mark.sqlite
def test_a_way_back_that_is_soon_idle_takes_the_messages_of_all_connections(start, join):
    """Nobody can connect to that server. Its streams have nothing to carry but the share of the
    first connection, so they end after 2 s, before the others have tried three times."""
    node = start("alice", "one.test", connections=3, idle="1s")
    federation.route(node, EVIL, federation.free_port())
    alice, wanted = node.client("alice"), {f"m{n}" for n in range(9)}
    for n in range(9):
        send(alice, f"m{n}", to=f"bob{n}@{EVIL}")
    came = set()
    for _ in range(4):
        peer = join(node)
        peer.raw(f"<message from='bob@{EVIL}' to='{alice.bare}' type='headline'><body>here</body>"
                 "</message>")
        peer.wait("all, or its end", lambda: peer.reader.ended or wanted <= came | bodies(peer))
        came |= bodies(peer)
        if wanted <= came:
            return
        peer.cut()
    assert not wanted - came


def bodies(peer):
    return {e.findtext(f"{{{xml.CLIENT}}}body") for e in peer.inbox if e.tag.endswith("}message")}


# --- two servers of ours ---


@pytest.fixture
def pair(start):
    """alice@one.test reaches bob@other.test over a wire; that server can connect to hers, too."""
    one, other = start("alice", ONE), start("bob", OTHER)
    wire = Wire(other.s2s_port)
    federation.route(one, OTHER, wire.port)
    federation.route(other, ONE, one.s2s_port)
    yield one, other, wire
    wire.close()


@pytest.mark.sqlite
@pytest.mark.parametrize("cut_after", [1, 2000, 3500, 5500])
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
def test_a_stream_that_breaks_twice_is_resumed(pair, back, cut_after):
    """The second time while it connects: nothing comes twice of what has arrived and is not
    confirmed."""
    one, other, wire = pair
    alice, bob = one.client("alice"), other.client("bob")
    begin(one, other, alice, bob)
    sender, receiver = (bob, alice) if back else (alice, bob)
    wire.say("d" if back else "m")
    say(sender, receiver, *range(20))
    hear(receiver, sender, *range(20))
    wire.cut_after = cut_after
    wire.say("c")
    say(receiver, sender, "answer")
    say(sender, receiver, "new")
    hear(receiver, sender, "new")
    hear(sender, receiver, "answer")
    for server in one, other:
        until("all are confirmed", lambda server=server: pending(server) == 0)
    nothing_more(alice, bob)
    assert "s2s.resumed" in other.log()


# --- an attempt to resume our own stream meets a wrong certificate, while there is a way back ---


def wrong(listener, authority):
    """The next connection is to a server with a certificate of another domain."""
    right = listener.cert
    listener.cert = authority.issue("wrong", "wrong.test")
    with listener.secure():
        listener.cert = right


def broken_with_a_way_back(node, join, listener):
    """Alice, and a stream of the other server to us; ours has broken, and BODIES have arrived."""
    alice, reader = confirmed(node, listener)
    peer = join(node)
    peer.auto_ack = False
    send(alice, *BODIES)
    until("they have arrived", lambda: said(reader) == ["first", *BODIES])
    reader.cut()
    return alice, peer


@pytest.mark.sqlite
def test_a_wrong_certificate_for_a_moment_does_not_repeat_what_has_arrived(node, join, listener,
                                                                           authority):
    """Something else has answered in place of the server, perhaps."""
    alice, peer = broken_with_a_way_back(node, join, listener)
    wrong(listener, authority)
    resumes(node, listener, alice)
    nothing(peer)


@pytest.mark.sqlite
def test_a_wrong_certificate_for_longer_sends_all_on_the_way_back(node, join, listener,
                                                                  authority):
    """And nothing goes back to its sender."""
    alice, peer = broken_with_a_way_back(node, join, listener)
    begun = time.monotonic()
    listener.cert = authority.issue("wrong", "wrong.test")
    with futures.ThreadPoolExecutor(1) as there:
        there.submit(lambda: [listener.secure().close() for _ in range(6)])
        send(alice, "new")
        come(peer, *BODIES, "new")
        assert time.monotonic() - begun < WITHIN_S + 5  # it has several connections
        peer.ack(4)
        until("all are confirmed", lambda: pending(node) == 0)
        alice.ping()
        assert not [e for e in alice.inbox if e.get("type") == "error"]
        listener.close()
