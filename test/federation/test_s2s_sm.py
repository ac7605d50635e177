"""What a server of ours has acknowledged reaches the other server, and the other way round: it is
confirmed by XEP-0198, by answered pings or by the end of a stream, else it comes again; and in the
order in which it was said (RFC 6120 §10.1)."""
import contextlib
import itertools
import random
import signal
import socket
import threading
import time

import pytest

from harness import federation, nodes, slow_disk, xml
from harness.client import bodies, until
from harness.component import Component
from harness.federation import Peer
from harness.links import (BOB, END, EVIL, FAULT, NOT_STORED, NO_SESSION, ONE, OTHER, PING, POISON,
                           acknowledged, authority, bounced, broken, errors, evil, hear, join,
                           links, listener, message, metric, node, pair, pending, plain, resume_of,
                           resumed, say, sm, start, stored, taken, until_confirmed)
from im.test_offline_order import KINDS
from im.test_offline_order import say as say_kinds

__all__ = ["authority", "evil", "join", "listener", "node", "pair", "start"]
ALICE, SECRET = f"alice@{ONE}", "a secret of the component"


# --- streams of other servers ---


def refusal_of(peer, request):
    answer = sm(peer, request)
    assert answer.tag == f"{{{xml.SM}}}failed", xml.canonical(answer)
    return xml.condition(answer), answer.get("h")


def counted(peer, h):
    peer.request_ack()
    peer.wait(f"<a h='{h}'/>", lambda: peer.acked >= h)
    assert peer.acked == h


def resumes(peer, old, h):
    """It resumes the old stream, of which that many have arrived."""
    answer = sm(peer, resume_of(old))
    assert (answer.tag, answer.get("h")) == (f"{{{xml.SM}}}resumed", f"{h}")


def text(body, to=ALICE, more=""):
    return message(BOB, to, body, more)


def received(node):
    return metric(node, "s2s_stanzas", "received")


def test_what_is_offered_and_which_requests_are_in_the_wrong_order(node, evil, authority):
    evil.secure()
    assert not evil.offers("sm", xml.SM)
    for name in "enable", "resume":
        assert refusal_of(evil, f"<{name} xmlns='{xml.SM}'/>")[0] == "unexpected-request"
    assert evil.external() is None and evil.header().features_come().offers("sm", xml.SM)
    for request in f"<r xmlns='{xml.SM}'/>", f"<a xmlns='{xml.SM}' h='0'/>":
        assert refusal_of(evil, request)[0] == "unexpected-request"
    enabled = evil.enable_sm()
    assert enabled.get("resume") == "true" and enabled.get("max") == "60" and len(evil.sm_id) == 32
    for name in "enable", "resume", "unknown":
        assert refusal_of(evil, f"<{name} xmlns='{xml.SM}'/>")[0] == "unexpected-request"
    counted(evil, 0)
    early = Peer(node, OTHER, ONE, authority.issue(OTHER, OTHER)).secure()
    early.raw(f"<r xmlns='{xml.SM}'/>")
    early.expect_stream_error("not-authorized")


def test_a_peer_cannot_acknowledge_what_was_not_sent(node, join):
    peer = join(node)
    peer.ack(0)
    counted(peer, 0)
    peer.ack(1)
    claim = peer.expect_stream_error("undefined-condition").find(
        f"{{{xml.SM}}}handled-count-too-high")
    assert (claim.get("h"), claim.get("send-count")) == ("1", "0")
    peer = join(node)
    peer.ack("x")
    peer.expect_stream_error("invalid-xml")


@pytest.mark.sqlite
def test_h_covers_no_message_that_is_not_committed(start, disk, join):
    """A server that has too much under way is not read (FLOW_HIGH), and streams of others are."""
    node = start("alice", disk=disk, workers=1)
    peer, other = join(node), join(node, OTHER)
    peer.raw(text("one"))
    counted(peer, 1)
    disk.turn(sync_ms=slow_disk.STILL)
    peer.raw(text("two", more="<a/>") + f"<presence from='{BOB}/r' to='{ALICE}'/>")
    counted(peer, 1)
    peer.raw("".join(text(n) for n in range(300)))
    other.raw(f"<presence from='x@{OTHER}/r' to='{ALICE}'/>")
    counted(other, 1)
    until("the hold", lambda: received(node) == 1 + 256 + 1)
    disk.turn(sync_ms=0)
    peer.wait("the first, unasked", lambda: peer.acked >= 3)
    counted(peer, 303)
    hear(node.client("alice"), "one", "two", *range(300))


@pytest.mark.sqlite
def test_nothing_acknowledged_is_lost_by_a_kill(start, disk, join):
    node = start("alice", disk=disk)
    peer = join(node)
    disk.turn(write_ms=20)
    peer.raw("".join(text(n) for n in range(50))
             + f"<presence from='{BOB}' to='{ALICE}' type='subscribe'/>")
    counted(peer, 51)
    node.kill()
    disk.turn(write_ms=0)
    node.start()
    alice = node.client("alice")
    hear(alice, *range(50))
    alice.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    alice.expect(f"<presence from='{BOB}' type='subscribe'/>")


@pytest.mark.sqlite
@pytest.mark.parametrize("ends", ["peer", "error", "operator", "policy", "restart"])
def test_what_is_under_way_at_the_end_is_acknowledged(start, disk, join, ends):
    """Unasked, and when it is stored; but an error does not wait."""
    node = start("alice", disk=disk)
    peer = join(node)
    disk.turn(sync_ms=slow_disk.STILL)
    peer.raw(text("late") + f"<presence from='{BOB}/r' to='{ALICE}'/>")
    until("both", lambda: received(node) == 2)
    later = threading.Timer(0.3, disk.turn, kwargs={"sync_ms": 0})
    later.start()
    if ends == "peer":
        peer.raw(END)
    elif ends == "error":
        peer.raw("<a xmlns='urn:unknown'/>")
        peer.expect_stream_error("unsupported-stanza-type")
    elif ends == "operator":
        node.ctl("s2s", "close", EVIL)
    elif ends == "policy":
        node.ctl("set", "s2s.policy", "off")
        peer.expect_stream_error("reset")
    else:
        node.stop()
        peer.expect_stream_error("system-shutdown")
    later.join()
    peer.expect_closed()
    assert peer.acked == 2 or ends == "error"


@pytest.mark.parametrize("workers", [1, 4])
def test_a_stream_is_resumed_again_and_again(start, join, workers):
    node = start("alice", workers=workers)
    alice, peer = node.client("alice"), join(node)
    first = peer
    peer.raw(text("one") + text("two"))
    hear(alice, "one", "two")
    for n in range(6):
        if n != 1:
            broken(node, peer)
        old, peer = peer, join(node, enable=False)
        resumes(peer, first, 2 + n)
        if n == 1:  # nobody had told that its connection was gone
            old.expect_stream_error("conflict")
        peer.raw(text(n))
        hear(alice, n)
        counted(peer, 3 + n)


@pytest.mark.parametrize("end", [END, "<a xmlns='urn:unknown'/>", "closed", "time", "its time"])
def test_a_stream_that_is_not_resumed_any_more(node, join, end):
    if end == "time":
        node.ctl("set", "s2s.resume-for", "1s")
    peer = join(node, enable=False)
    peer.enable_sm(more="max='1'" if end == "its time" else "")
    peer.raw(text("one"))
    counted(peer, 1)
    if end == "closed":
        node.ctl("s2s", "close", EVIL)
    elif end.endswith("time"):
        broken(node, peer)
        time.sleep(1.5)
    else:
        peer.raw(end)
    if not end.endswith("time"):
        peer.expect_closed()
    assert refusal_of(join(node, enable=False), resume_of(peer)) == ("item-not-found", None)


def test_nobody_resumes_the_stream_of_another(node, join):
    peer, thief = join(node), join(node, OTHER, enable=False)
    peer.raw(text("one"))
    counted(peer, 1)
    assert refusal_of(thief, resume_of(peer)) == ("item-not-found", None)
    counted(peer, 1)  # nor is its connection cut
    broken(node, peer)
    assert refusal_of(thief, resume_of(peer)) == ("item-not-found", None)
    assert refusal_of(thief, resume_of(peer, 1)) == ("bad-request", None)
    thief.raw(resume_of(peer))
    thief.raw(resume_of(peer))
    thief.expect_stream_error("policy-violation")
    resumes(join(node, enable=False), peer, 1)


@pytest.mark.skipif(nodes.COUNT > 1, reason="the limit is of a worker")
def test_streams_that_are_kept_are_bounded(start, authority):
    """256 of an address, though its certificate holds for many domains: the oldest goes."""
    node = start("alice", workers=1)
    node.ctl("set", "s2s.resume-for", "4min")
    cert, kept = authority.issue("many", *(f"d{n}.test" for n in range(40))), []
    for n in range(260):
        peer = Peer(node, f"d{n % 40}.test", ONE, cert).join()
        peer.enable_sm()
        peer.sock.shutdown(socket.SHUT_RDWR)
        peer.sock.close()
        node.clients.remove(peer)
        kept.append(peer)
    until("the end of all", lambda: node.rows("s2s", "list") == [])
    answers = [sm(Peer(node, peer.jid, ONE, cert).join(), resume_of(peer)).tag
               for peer in (kept[0], kept[3], kept[4], kept[259])]
    assert [a.split("}")[1] for a in answers] == ["failed", "failed", "resumed", "resumed"]


# --- what is sent to another server of ours ---


def test_connections_that_are_cut_in_a_flood_lose_nothing(pair):
    one, other, wire = pair(ack_timeout="2s")
    alice, bob = one.client("alice"), other.client("bob")
    say(alice, 0, to=bob)
    hear(bob, 0)
    for n in range(5):
        seen = wire.seen
        say(alice, *range(1 + 100 * n, 51 + 100 * n), to=bob)
        until("some of them are under way", lambda seen=seen: wire.seen > seen + 500)
        wire.say("c")
        say(alice, *range(51 + 100 * n, 101 + 100 * n), to=bob)
    hear(bob, *range(1, 501))
    until_confirmed(one)
    wire.say("f")  # dead without a word
    say(alice, *range(501, 520), to=bob)
    one.wait_log("event=s2s.lost.*s2s.ack-timeout")
    wire.say("c")
    hear(bob, *range(501, 520))
    until_confirmed(one)


@pytest.mark.parametrize("who", ["receiver", "sender"])
def test_a_server_that_is_killed_in_a_flood_loses_nothing_acknowledged(pair, who):
    one, other, _ = pair()
    alice, bob = one.client("alice"), other.client("bob")
    alice.enable_sm()
    say(alice, 0, to=bob)
    hear(bob, 0)
    say(alice, *range(1, 300), to=bob)
    victim = one if who == "sender" else other
    until("some are acknowledged", lambda: acknowledged(alice) > 50)
    sure = acknowledged(alice)
    victim.kill()
    if who == "receiver":
        until("the rest is acknowledged", lambda: acknowledged(alice) >= 300)
        sure = 300
    victim.start()
    until("all that was acknowledged", lambda: set(map(str, range(1, sure))) <= set(stored(other)))
    until_confirmed(one)
    first = list(dict.fromkeys(map(int, stored(other))))
    assert first == sorted(first)
    assert len(first) == len(stored(other)) or who == "sender"  # repeats are known by origin-ids


@pytest.mark.parametrize("bidi", ["on", "off"])
def test_a_planned_restart_in_a_flood_loses_nothing_that_was_read(pair, bidi):
    """What the server has not read is the end of the flood, and nothing else is missing."""
    one, other, wire = pair(bidi=bidi)
    alice, bob = one.client("alice"), other.client("bob")
    say(alice, 0, to=bob)
    hear(bob, 0)
    seen = wire.seen
    say(alice, *range(1, 100), to=bob)
    until("some are under way", lambda: wire.seen > seen)
    one.restart()
    read = stored(one)
    assert len(read) > 1 and read == list(map(str, range(len(read))))
    until_confirmed(one)
    assert list(dict.fromkeys(stored(other))) == read


# --- a server that is away ---


def listen_again(node, listener):
    listener.come_back()
    node.ctl_run("s2s", "retry", EVIL)


def test_stored_messages_wait_longer_than_others(node, listener):
    """Over a crash, and they say since when."""
    alice = node.client("alice")
    listener.leave()
    node.ctl("set", "s2s.retry-for", "0s")
    say(alice, 0)
    say(alice, 1, more=NOT_STORED)
    bounced(alice, "remote-server-timeout", "m1")
    say(alice, 2)
    until("both are stored", lambda: pending(node) == 2)
    node.kill()
    with node.database() as db:
        db.execute("UPDATE message SET at_us = at_us - 60000000 WHERE pending_out <> 0")
        if not node.url:
            db.commit()
    node.start()
    alice = node.client("alice")
    say(alice, 3)
    alice.expect_nothing("<message type='error'/>")
    until("all are stored", lambda: pending(node) == 3)
    listen_again(node, listener)
    reader = taken(listener)
    reader.until(0, 2, 3)
    assert reader.text.count(f"<delay xmlns='urn:xmpp:delay' from='{ONE}' stamp='") == 2
    reader.confirm()
    until_confirmed(node)


@pytest.mark.parametrize("queue, count", [(5, 200), (50, 3000)])
def test_what_cannot_be_kept_in_memory_is_kept_in_the_database(node, listener, queue, count):
    """In order, also while more comes than memory keeps; so far ahead as is allowed."""
    alice = node.client("alice")
    node.ctl("set", "s2s.queue-stanzas", str(queue))
    node.ctl("set", "s2s.unacked-max", "5")
    listener.leave()
    say(alice, *range(100))
    alice.expect_nothing("<message type='error'/>")
    until("all are stored", lambda: pending(node) == 100)
    listen_again(node, listener)
    reader = taken(listener)
    reader.until(*range(5))
    more = threading.Thread(target=lambda: say(alice, *range(100, count)))
    more.start()
    reader.confirm(on=True)
    more.join()
    reader.until(*range(count))
    until_confirmed(node)


def test_one_user_does_not_fill_the_database(node, listener):
    """For a domain that is away."""
    node.add_user("carol")
    node.ctl("set", "s2s.kept-max", "5")
    alice, carol = node.client("alice"), node.client("carol")
    listener.leave()
    say(alice, *range(8))
    for n in 5, 6, 7:
        bounced(alice, "resource-constraint", f"m{n}")
    say(carol, 100)
    until("that of another user", lambda: pending(node) == 6)
    node.kill()
    node.start()
    alice, more = node.client("alice"), itertools.count(11)
    until("the limit, counted anew", lambda: (say(alice, next(more)), errors(alice))[1])
    listen_again(node, listener)
    reader = taken(listener, confirms=True)
    until_confirmed(node)
    assert {"0", "1", "2", "3", "4", "100"} <= set(reader.bodies())
    until("room for another one", lambda: (say(alice, next(more)), not errors(alice))[1])


@pytest.mark.parametrize("sent", [True, False])
def test_a_deleted_user_sends_nothing_more(node, listener, sent):
    """Neither what waits, nor what was not confirmed on a stream that has broken."""
    node.add_user("carol")
    alice, carol = node.client("alice"), node.client("carol")
    if not sent:
        listener.leave()
    say(alice, 0, 1)
    say(carol, 2, 3)
    for client in alice, carol:
        client.ping()
    if sent:
        reader = taken(listener)
        until("all", lambda: len(reader.bodies()) == 4)
        listener.leave()
        reader.cut()
    node.ctl("user", "del", f"carol@{ONE}")
    until("hers alone wait", lambda: pending(node) == 2)
    listen_again(node, listener)
    reader = taken(listener, NO_SESSION, confirms=True)
    until_confirmed(node)
    assert reader.bodies() == ["0", "1"]


# --- XEP-0198 with a server that the test plays ---


@pytest.mark.parametrize("h", [2, None])
def test_a_session_is_resumed_or_what_is_not_confirmed_is_sent_again(node, listener, h):
    alice = node.client("alice")
    say(alice, 0, 1, 2)
    reader = taken(listener)
    assert "<enable " in reader.asked and "resume='true'" in reader.asked
    reader.until(0, 1, 2)
    reader.say(f"<a xmlns='{xml.SM}' h='1'/>")
    until("one is confirmed", lambda: pending(node) == 2)
    reader.cut()
    say(alice, 3)
    again = taken(listener, resumed(h) if h else NO_SESSION, handled=h or 0)
    assert "<resume " in again.asked and "previd='session'" in again.asked
    again.until(*range(h or 1, 4))
    again.say(f"<r xmlns='{xml.SM}'/>")
    again.wait(f"<a xmlns='{xml.SM}' h='0'/>")
    again.confirm()
    until_confirmed(node)


@pytest.mark.parametrize("counts", [(2,), (1, 0)])
def test_counts_that_cannot_be_end_the_stream(node, listener, counts):
    say(node.client("alice"), 0)
    reader = taken(listener)
    reader.until(0)
    for h in counts:
        reader.say(f"<a xmlns='{xml.SM}' h='{h}'/>")
    reader.wait("<stream:error>.*<undefined-condition.*handled-count-too-high.*</stream:error>")


def test_what_is_not_confirmed_is_bounded(node, listener):
    alice = node.client("alice")
    node.ctl("set", "s2s.unacked-max", "5")
    say(alice, *range(10))
    reader = taken(listener)
    reader.until(*range(5))
    until("the others", lambda: [row["queue"] for row in links(node)] == [5])
    reader.confirm(on=True)
    reader.until(*range(10))
    until_confirmed(node)


@pytest.mark.parametrize("how", ["error", "reset"])
@pytest.mark.parametrize("more", ["", NOT_STORED], ids=["stored", "not stored"])
def test_a_stanza_that_ends_streams_goes_back_and_its_neighbours_arrive(node, listener, how, more):
    """The other server ends the stream for it, falls, or a box in between resets."""
    alice = node.client("alice")
    alice.raw("".join(message(ALICE, BOB, n, (POISON if n == 3 else "") + more)
                      for n in range(1, 6)))
    found, readers = [], []
    while not found or POISON in readers[-1].text or readers[-1].bodies()[-1:] != ["5"]:
        if not readers or readers[-1].ended:
            assert len(readers) < 8
            readers.append(taken(listener, NO_SESSION, confirms=True, breaks=how == "reset"))
        if how == "error" and POISON in readers[-1].text and not readers[-1].ended:
            readers[-1].say(FAULT)
            until("its end", lambda: readers[-1].ended)
        found += errors(alice)
    assert found == [("m3", "not-acceptable")]
    bad = [r.bodies() for r in readers if POISON in r.text]
    assert set("1245") <= {n for r in readers for n in r.bodies()}
    assert bad[-1] == ["3"] and len(bad) >= 3  # alone, at last
    until_confirmed(node)


def test_what_is_never_confirmed_is_given_up(node, listener):
    """After s2s.keep-for, once, and it is not sent again. A room keeps nothing for its occupant."""
    for name, value in ("ack-timeout", "1s"), ("keep-for", "4s"), ("retry-for", "1s"):
        node.ctl("set", f"s2s.{name}", value)
    alice, mute = node.client("alice"), []

    def run():
        with contextlib.suppress(OSError, AssertionError):
            while True:
                mute.append(taken(listener, NO_SESSION))
    threading.Thread(target=run, daemon=True).start()
    say(alice, *range(4))
    alice.timeout = 30
    for n in range(4):
        bounced(alice, "remote-server-timeout", f"m{n}")
    until_confirmed(node)
    say(alice, 9)
    until("a stream with it", lambda: mute[-1].bodies() == ["9"])
    mute[-1].confirm()
    until_confirmed(node)
    assert errors(alice) == []


# --- without XEP-0198: answers to pings, and ends ---


@pytest.fixture
def back(node, join):
    """The stream on which the other server answers."""
    return join(node, enable=False)


@pytest.mark.parametrize("on", ["another", "the same"])
@pytest.mark.parametrize("kind", ["result", "error"])
def test_an_answered_ping_confirms_what_was_before_it(node, listener, back, on, kind):
    """And itself: the stream ends when it is idle. It may be answered on the stream that it was
    sent on, although that has one direction: some servers do that."""
    alice = node.client("alice")
    node.ctl("set", "s2s.idle", "2s")
    say(alice, 0)
    reader = plain(listener)
    reader.pong(back if on == "another" else None, kind)
    until_confirmed(node)
    say(alice, 1)
    until("the next on the same stream", lambda: reader.bodies() == ["0", "1"])
    reader.wait(f"{PING}.*{PING}")
    reader.pong(back if on == "another" else None, kind)
    reader.wait(END)
    assert reader.text.count(PING) == 2 and pending(node) == 0


@pytest.mark.parametrize("wrong", [{"name": "x"}, {"sender": "third.test"}, {"to": "third.test"},
                                   {"kind": "get"}])
def test_nothing_else_is_taken_on_a_stream_of_one_direction(node, listener, wrong):
    say(node.client("alice"), 0)
    reader = plain(listener)
    reader.pong(**wrong)
    reader.wait("unsupported-stanza-type")
    assert pending(node) == 1


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("way", ["ours", "theirs"])
def test_a_server_that_answers_no_ping_confirms_by_its_end(node, listener, join, ends, way):
    """We end the stream then; nothing is sent again. Without its end, all is."""
    alice = node.client("alice")
    node.ctl("set", "s2s.ack-timeout", "1s")
    if way == "theirs":
        peer = join(node, enable=False, both=True)
        peer.raw(message(BOB, ALICE, "there"))
        hear(alice, "there")
    say(alice, 0)
    if way == "ours":
        reader = plain(listener)
        reader.wait(END)
    else:
        peer.expect("<message id='m0'/>")
        peer.wait("the end of our half", lambda: peer.reader.ended)
    assert pending(node) == 1
    if ends:
        reader.say(END) if way == "ours" else peer.raw(END)
        until_confirmed(node)
        say(alice, 1)
    plain(listener).until(1 if ends else 0)


def test_streams_that_end_in_order_are_made_again_without_a_pause(node, listener):
    """The next stanza makes the next stream; none is lost, none comes twice."""
    alice = node.client("alice")
    for n in range(5):
        say(alice, n)
        reader = plain(listener)
        reader.until(n)
        reader.say(END)
        reader.wait(END)
        reader.cut()
        until_confirmed(node)
    assert "event=s2s.failed" not in node.log() and errors(alice) == []


def test_what_a_component_has_said_outlasts_a_server_that_hangs_and_is_killed(make_server):
    """By dialback, without XEP-0198: the answers to pings in its name come back to us, too."""
    options = {"settings": {**federation.settings(), "s2s.verify-certificates": False}}
    one = make_server("alice", domains=[ONE], s2s=True, component=True, **options)
    other = make_server("bob", domains=[OTHER], s2s=True, **options)
    domain = f"irc.{ONE}"
    for name in ONE, domain:
        federation.route(other, name, one.s2s_port)
    federation.route(one, OTHER, other.s2s_port)
    one.ctl("component", "add", domain, "--secret", SECRET)
    gate, bob = Component(one, domain, SECRET), other.client("bob")

    def tell(name):
        gate.send(message(f"u@{domain}", bob.bare, name))

    def unconfirmed():
        return sum(int(row["value"].split()[0]) for row in one.rows("s2s", "show", OTHER)
                   if row["name"].strip() == "unacknowledged")
    tell("first")
    bob.expect("<message id='mfirst'/>")
    until("it is confirmed", lambda: unconfirmed() == 0)
    other.signal(signal.SIGSTOP)
    for n in range(5):
        tell(n)
    until("they are written", lambda: unconfirmed() >= 5)
    other.kill()
    other.start()
    one.ctl_run("s2s", "retry", OTHER)
    bob = other.client("bob")
    for n in range(5):
        bob.expect(f"<message id='m{n}'/>")


# --- order ---

AHEAD, QUEUE = 5, 20  # so many are sent ahead of what is confirmed, and wait in memory


def mixed(alice, first, last):
    """The bodies that she says: each third one is not stored."""
    for n in range(first, last):
        if n % 3:
            say(alice, n)
        else:
            alice.send(f"<message to='{BOB}' type='headline' id='{n}'><body>{n}</body></message>")
    alice.ping()
    return [str(n) for n in range(first, last)]


@pytest.fixture
def connecting(node, listener):
    """alice, and what the database has for a server that was down and is being connected to."""
    alice = node.client("alice")
    listener.leave()
    node.ctl("set", "s2s.retry-for", "0s")
    say(alice, *range(1, 9))
    until("failures", lambda: node.log().count(f"s2s.failed domain={EVIL}") >= 2
          and pending(node) == 8 and links(node)[0]["queue"] == 0)
    node.ctl("set", "s2s.retry-for", "--default")
    node.ctl("set", "s2s.unacked-max", str(AHEAD))
    listen_again(node, listener)
    until("it connects", lambda: links(node)[0]["state"] == "connecting")
    return alice, list(map(str, range(1, 9)))


@pytest.mark.sqlite
@pytest.mark.parametrize("end", ["none", "resumed", "new", "close", "block", "theirs", "broken"])
def test_what_is_not_stored_waits_behind_what_the_database_has(node, listener, connecting, join,
                                                               end):
    """Whatever becomes of the stream. What waits when the domain is blocked goes back."""
    alice, waits = connecting
    waits += mixed(alice, 20, 30)
    if end in ("theirs", "broken"):  # the server connects to ours, and all goes back there
        peer = join(node, both=True)
        peer.auto_ack = end == "theirs"
        peer.wait("the first ones", lambda: len(bodies(peer.log)) >= AHEAD)
        waits += mixed(alice, 30, 40)
        if end == "broken":
            peer.cut()
            peer = join(node, both=True)
        peer.wait("all", lambda: len(bodies(peer.log)) >= len(waits))
        assert bodies(peer.log) == waits
        peer.ack()
        until_confirmed(node)
        return
    reader = taken(listener)
    reader.until(*waits[:AHEAD])
    waits += mixed(alice, 30, 40)
    handled = 0
    if end in ("resumed", "new"):
        reader.cut()
        waits += mixed(alice, 40, 50)
        handled = 2 if end == "resumed" else 0
        reader = taken(listener, resumed(2) if handled else NO_SESSION, handled=handled)
        waits += mixed(alice, 50, 60)
    elif end != "none":
        node.ctl("s2s" if end == "close" else "federation", end, EVIL)
        node.ctl_run("federation", "allow", EVIL)
    reader.confirm(on=True)
    if end in ("close", "block"):
        until("the end", lambda: reader.ended or reader.bodies() == waits)
        heard = reader.bodies()
        waits += mixed(alice, 100, 103)
        if reader.ended:
            reader = taken(listener, NO_SESSION, confirms=True)
            until("the last one", lambda: "102" in reader.bodies())
            heard += reader.bodies()
        back = [body for body in waits if body not in heard]
        assert heard == [body for body in waits if body in heard]
        assert len(back) == len(errors(alice)) and (not back or end == "block")
    else:
        reader.until(*waits[handled:])
    until_confirmed(node)


@pytest.mark.sqlite
def test_only_a_full_queue_refuses(node, listener, connecting):
    """Stored messages wait in the database; others go back if they would overtake these. All that
    comes is in order, and when the queue is empty, nothing goes back any more."""
    alice, waits = connecting
    node.ctl("set", "s2s.queue-stanzas", str(QUEUE))
    waits += mixed(alice, 20, 100)
    reader, back = taken(listener, confirms=True), []
    reader.confirm()
    until("each has come or gone back",
          lambda: back.extend(errors(alice)) or len(reader.bodies()) + len(back) == len(waits))
    assert {condition for _, condition in back} == {"resource-constraint"}
    refused = {ident for ident, _ in back}
    assert refused < {body for body in waits if int(body) % 3 == 0}
    assert reader.bodies() == [body for body in waits if body not in refused]
    until_confirmed(node)
    heard = reader.bodies()
    reader.until(*heard, *mixed(alice, 100, 110))
    assert errors(alice) == []


class Talk:
    """bob says things to alice, who is at another server, in random order, whatever happens."""

    def __init__(self, servers, seed):
        self.one, self.other, self.wire = servers
        self.alice, self.bob = self.one.client("alice", "a"), self.other.client("bob", "b")
        self.rand, self.count, self.log = random.Random(seed), 0, []

    def say(self):
        kinds = self.rand.choices(KINDS, k=self.rand.randrange(30))
        say_kinds(self.bob, self.alice, kinds, self.count)
        self.count += len(kinds)

    def block(self):
        """For a moment. Some of what is said meanwhile goes back to bob."""
        server, domain = self.rand.choice([(self.one, OTHER), (self.other, ONE)])
        server.ctl("federation", "block", domain)
        self.say()
        server.ctl("federation", "allow", domain)

    def cut(self):
        self.wire.say("c")

    def end(self):
        server, domain = self.rand.choice([(self.one, OTHER), (self.other, ONE)])
        server.ctl_run("s2s", "close", domain)

    def leave(self):
        """alice is away for a moment."""
        self.alice.close()
        self.log += available(self.alice)
        self.say()
        self.alice = self.one.client("alice", "a")

    def heard(self):
        """The ids of messages in the order in which they first came. Presence and requests are let
        in where messages are refused, since some of them wait in the database."""
        self.alice.ping()
        came = [e.get("id") for e in self.log + available(self.alice)
                if e.get("from") == self.bob.jid and e.tag.endswith("}message")
                and (e.get("id") or "").isdigit()]
        return list(dict.fromkeys(map(int, came)))


def available(client):
    """What has come since it was: before, it gets what is for its full address, and nothing of
    what waits (RFC 6121 §8.5.3.1)."""
    seen = [e.get("from") == client.jid and e.tag.endswith("}presence") for e in client.log]
    return client.log[seen.index(True):]


@pytest.mark.parametrize("bidi", ["on", "off"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("small", [False, True], ids=["", "small"])
def test_any_sequence_keeps_its_order(pair, seed, bidi, small):
    """In a small queue, some of what is not stored finds no room."""
    servers = pair(bidi=bidi, ack_timeout="2s")
    for server in servers[:2]:
        server.ctl("set", "c2s.stanza-rate", "none")
        if small:
            server.ctl("set", "s2s.queue-stanzas", str(QUEUE))
            server.ctl("set", "s2s.unacked-max", str(AHEAD))
    talk = Talk(servers, seed)
    for _ in range(12):
        talk.say()
        talk.rand.choice([talk.say, talk.block, talk.cut, talk.end, talk.leave])()
    say_kinds(talk.bob, talk.alice, ["chat"], talk.count)
    until("the last one", lambda: talk.count in talk.heard())
    until_confirmed(talk.other)
    heard = talk.heard()
    assert heard == sorted(heard)
