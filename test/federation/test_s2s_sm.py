"""What a server of ours has acknowledged reaches the other server, and the other way round: it is
confirmed by XEP-0198, by answered pings or by the end of a stream, else it comes again; and in the
order in which it was said (RFC 6120 §10.1)."""
import contextlib
import itertools
import random
import re
import signal
import socket
import threading
import time

import pytest

from harness import federation, nodes, slow_disk, xml
from harness.client import bodies, until
from harness.component import Component
from harness.federation import Peer
from harness.links import (BOB, ENABLED, END, EVIL, FAILED, FAULT, NOT_STORED, NO_SESSION, ONE,
                           OTHER, PING, POISON, SM, VERSION, Reader, acknowledged, answered,
                           authenticated, authority, bounced, broken, errors, evil, hear, join,
                           links, listener, message, metric, node, pair, pending, plain, resume_of,
                           resumed, say, sm, start, stored, taken, until_confirmed)
from harness.muc import Room
from harness.wire import Wire
from im.test_offline_order import KINDS
from im.test_offline_order import say as say_kinds

__all__ = ["authority", "evil", "join", "listener", "node", "pair", "start"]
ALICE, SECRET = f"alice@{ONE}", "a secret of the component"


def test_a_wire_passes_on_what_is_left():
    """Each side ends its own half."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        wire = Wire(sock.getsockname()[1])
        with socket.create_connection(("127.0.0.1", wire.port)) as one:
            one.sendall(b"last words")
            one.shutdown(socket.SHUT_WR)
            other, _ = sock.accept()
            with other, other.makefile("rb") as heard:
                assert heard.read() == b"last words"
                other.sendall(b"and an answer")
            with one.makefile("rb") as heard:
                assert heard.read() == b"and an answer"
        until("the wire forgets it", lambda: not wire.pairs and not wire.shut)
        wire.close()


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


def test_it_is_enabled_once_dialback_has_proved_a_pair(node, listener):
    """The features came before that and could not offer it."""
    peer = Peer(node, EVIL, ONE).secure()
    peer.result("k" * 64)
    with listener.secure("second", "") as asked:
        stream_id = listener.read_until(asked, "<db:verify [^>]*id='([^']+)'")[1]
        asked.sendall(f"<db:verify from='{EVIL}' to='{ONE}' id='{stream_id}' "
                      "type='valid'/>".encode())
        answered(peer, "valid")
    peer.enable_sm()
    peer.raw(text("hi"))
    counted(peer, 1)


def test_stanzas_are_counted_whatever_becomes_of_them(node, join):
    peer = join(node, enable=False)
    peer.raw(text("before"))
    node.client("alice").expect("<message id='mbefore'/>")
    peer.enable_sm()
    stanzas = [
        text("kept"), text("passing").replace("chat", "headline"), text("none", f"no@{ONE}"),
        text("bad", f"\u2603@{ONE}"), f"<presence from='{BOB}/r' to='{ALICE}'/>",
        f"<presence from='{BOB}' to='{ALICE}' type='subscribe'/>",
        f"<iq from='{BOB}' to='{ONE}' type='get' id='v'>{VERSION}</iq>",
        f"<iq from='{BOB}' to='{ALICE}' type='set' id='w'><query xmlns='urn:x'/></iq>"]
    peer.raw(" ".join(stanzas[:5]) + f"<r xmlns='{xml.SM}'/>" + "".join(stanzas[5:]))
    counted(peer, len(stanzas))
    peer.raw(text("of another domain", f"room@conference.{ONE}"))
    peer.expect_stream_error("invalid-from")  # what came before it is told
    assert refusal_of(join(node, enable=False), resume_of(peer))[1] == f"{len(stanzas)}"


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
    node = start("alice", "bob", disk=disk)
    room = Room("cave", domain=ONE)
    room.create(node.client("alice"), "alice", persistentroom=True)
    peer, speaker = join(node), join(node, local=f"conference.{ONE}")
    disk.turn(write_ms=20)
    peer.raw("".join(text(n) for n in range(50))
             + f"<presence from='x@{EVIL}' to='bob@{ONE}' type='subscribe'/>")
    speaker.raw(f"<presence from='x@{EVIL}/r' to='{room.jid}/x'>"
                "<x xmlns='http://jabber.org/protocol/muc'/></presence>"
                f"<message from='x@{EVIL}/r' to='{room.jid}' type='groupchat' id='spoken'>"
                "<body>spoken</body></message>")
    counted(speaker, 2)
    counted(peer, 51)
    node.kill()
    disk.turn(write_ms=0)
    node.start()
    alice, bob = node.client("alice"), node.client("bob")
    hear(alice, *range(50))
    alice.raw(f"<iq type='set' id='q' to='{room.jid}'><query xmlns='urn:xmpp:mam:2'/></iq>")
    alice.expect("<message><result xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'>"
                 f"<message xmlns='{xml.CLIENT}' from='{room.jid}/x' id='spoken'/></forwarded>"
                 "</result></message>")
    bob.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    bob.expect(f"<presence from='x@{EVIL}' type='subscribe'/>")


@pytest.mark.sqlite
@pytest.mark.parametrize("ends", ["peer", "error", "operator", "policy", "restart"])
def test_what_is_under_way_at_the_end_is_acknowledged(start, disk, join, ends):
    """Unasked, and when it is stored. An error does not wait: the next stream is told."""
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
        assert refusal_of(join(node, enable=False), resume_of(peer))[1] == "2"
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
        if n > 3:  # the one that resumes it may be gone before it hears of that
            gone = join(node, enable=False)
            gone.raw(resume_of(first))
            gone.sock.close()
        old, peer = peer, join(node, enable=False)
        resumes(peer, first, 2 + n)
        if n == 1:  # nobody had told that its connection was gone
            old.expect_stream_error("conflict")
        peer.raw(text(n))
        hear(alice, n)
        counted(peer, 3 + n)


SLOW, MANY = 20, 60  # stanzas a second that are read, and how many come at once


@pytest.mark.parametrize("rate", ["federation.stanza-rate", "s2s.stanza-rate"])
@pytest.mark.parametrize("last", [END, ""], ids=["end", "break"])
def test_what_a_server_has_sent_before_it_ends_is_read_before_it_comes_back(node, join, rate, last):
    """It has ended its connection, which cannot be written to any more, and sends nothing again.
    That is read at once; by the rate of its domain, what comes on its next stream is later."""
    node.ctl("set", rate, str(SLOW))
    alice, peer = node.client("alice"), join(node, enable=False)
    peer.raw("".join(text(n) for n in range(MANY)) + last)
    alice.expect_next("<message id='m0'/>")
    peer.sock.close()
    again = join(node, enable=False)
    began = time.monotonic()
    again.raw(text(MANY) + text(MANY + 1))
    for n in range(1, MANY + 2):
        alice.expect_next(f"<message id='m{n}'/>")
    assert rate.startswith("s2s.") or time.monotonic() - began > MANY / SLOW - 2
    until("the end", lambda: len(links(node)) == 1)


def test_a_stream_that_is_read_slowly_is_resumed_before_it_is_read_to_its_end(node, join):
    """Its connection has broken: what was not read is not counted, and comes again."""
    node.ctl("set", "federation.stanza-rate", str(SLOW))
    alice, peer = node.client("alice"), join(node)
    peer.raw("".join(text(n) for n in range(MANY)))
    peer.sock.close()
    again = join(node, enable=False)
    handled = int(sm(again, resume_of(peer)).get("h"))
    assert handled < MANY
    again.raw("".join(text(n) for n in range(handled, MANY)))
    hear(alice, *range(MANY))
    counted(again, MANY)


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ["fin", "rst", "end", "reset", "host-unknown", "operator"])
def test_an_attempt_to_resume_that_ends_before_its_answer_takes_nothing(start, disk, join, how):
    """What is under way is counted before a stream is resumed, whoever asks first."""
    node = start("alice", disk=disk, workers=4)
    peer = join(node)
    disk.turn(sync_ms=slow_disk.STILL)
    peer.raw(text("one"))
    until("it", lambda: received(node) == 1)
    broken(node, peer)
    attempt = join(node, enable=False)
    attempt.raw(resume_of(peer))
    finish(attempt.sock, how, lambda: node.ctl("s2s", "close", EVIL))
    last = join(node, enable=False)
    last.raw(resume_of(peer))
    disk.turn(sync_ms=0)
    assert last.expect(f"<resumed xmlns='{xml.SM}'/>").get("h") == "1"
    last.raw(text("two"))
    counted(last, 2)
    hear(node.client("alice"), "one", "two")


def finish(sock, how, operator):
    """An end of any kind; others are stream errors."""
    if how == "fin":
        sock.close()
    elif how == "rst":
        Wire._reset(sock)
    elif how == "end":
        sock.sendall(END.encode())
    elif how == "operator":
        operator()
    else:
        sock.sendall(f"<stream:error><{how} xmlns='{xml.STREAM_ERROR}'/></stream:error>{END}"
                     .encode())


@pytest.mark.parametrize("end", [END, "<a xmlns='urn:unknown'/>", "closed", "time", "its time"])
def test_a_stream_that_is_not_resumed_any_more(node, join, end):
    """What it has brought is told as often as that is asked."""
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
    for _ in range(2):
        again = join(node, enable=False)
        assert refusal_of(again, resume_of(peer)) == ("item-not-found", "1")


def test_without_resumption(node, join):
    node.ctl("set", "s2s.resume-for", "none")
    assert join(node).sm_id is None
    node.ctl("set", "s2s.resume-for", "60s")
    peer = join(node, enable=False)
    peer.enable_sm(resume="false")
    assert peer.sm_id is None


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
def test_streams_that_are_kept_are_bounded(start, join):
    """FLOWS_OF_PAIR: those that can be resumed no more make room first, then the oldest."""
    node = start("alice", workers=1)
    peers = []
    for _ in range(25):
        peers.append(join(node))
        broken(node, peers[-1])
    ended = join(node)
    ended.raw(END)  # the oldest makes room for its h, and that for the next
    ended.expect_closed()
    peers.append(join(node))
    broken(node, peers[-1])
    other = join(node, OTHER)
    broken(node, other)
    for peer in peers[:2] + [ended]:
        assert refusal_of(join(node, enable=False), resume_of(peer))[1] is None
    for peer in peers[2:]:
        resumes(join(node, enable=False), peer, 0)
    resumes(join(node, OTHER, enable=False), other, 0)


@pytest.mark.skipif(nodes.COUNT > 1, reason="the limit is of a worker")
def test_one_address_does_not_push_out_the_streams_of_others(start, authority):
    """FLOWS_OF_ADDRESS, though its certificate holds for as many domains as it likes."""
    node = start("alice", workers=1, resume_for="4min")
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


def test_all_pairs_of_a_stream_are_needed_to_resume_it(node, authority, join):
    """Another domain was proved on it by dialback."""
    there = federation.Listener(OTHER, authority.issue("there", OTHER))
    federation.route(node, OTHER, there.port)
    peer = join(node)
    peer.result("k" * 64, origin=OTHER)
    with there.secure("second", "") as stream:
        def prove(peer):
            stream_id = there.read_until(stream, "<db:verify [^>]*id='([^']+)'")[1]
            stream.sendall(f"<db:verify from='{OTHER}' to='{ONE}' id='{stream_id}' "
                           "type='valid'/>".encode())
            answered(peer, "valid", OTHER)
        prove(peer)
        broken(node, peer)
        again = join(node, enable=False)
        assert refusal_of(again, resume_of(peer)) == ("item-not-found", None)
        again.result("k" * 64, origin=OTHER)
        prove(again)
        resumes(again, peer, 0)
    there.close()


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
    """What the server has not read is the end of the flood, and nothing else is missing; also when
    both stop at the same time."""
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
    until("all of these", lambda: set(read) <= set(stored(other)))
    alice = one.client("alice")
    say(alice, *range(100, 1000), to=bob)
    until("some are there", lambda: len(stored(other)) > len(read) + 100)
    for server in other, one:
        server.signal(signal.SIGTERM)
    for server in other, one:
        server.wait_exit()
    for server in other, one:
        server.start()
    until_confirmed(one)
    came = list(dict.fromkeys(stored(other)))
    assert came == stored(one)


# --- a server that is away ---


def listen_again(node, listener):
    listener.come_back()
    node.ctl_run("s2s", "retry", EVIL)


def test_stored_messages_wait_longer_than_others(node, listener):
    """Over a crash, and they say since when; those that are not archived, too."""
    alice = node.client("alice")
    alice.result("set", "<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>")
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
    with node.database(read_only=True) as db:
        assert db.execute("SELECT count(*) FROM message WHERE stanza <> ''").fetchone()[0] == 0


def test_a_server_that_does_not_know_the_domain_is_believed(node, listener):
    """What is not stored is answered at once, and a message waits: it may be set up soon. An answer
    that is no stream ends no message either."""
    alice = node.client("alice")
    say(alice, 0)
    alice.send(f"<iq type='get' id='q' to='{EVIL}'>{PING}</iq>")
    with listener.sock.accept()[0] as peer:
        listener.read_until(peer, "<stream:stream [^>]*>")
        peer.sendall(f"<stream:stream xmlns='jabber:server' xmlns:stream='{xml.STREAM}' id='x' "
                     f"version='1.0'><stream:error><host-unknown xmlns='{xml.STREAM_ERROR}'/>"
                     f"</stream:error>{END}".encode())
        bounced(alice, "remote-server-not-found", "q", "iq")
    with listener.sock.accept()[0] as peer:
        peer.recv(1000)
        peer.sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    reader = taken(listener, confirms=True)
    reader.until(0)
    until_confirmed(node)
    assert errors(alice) == []


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


def test_much_that_is_not_confirmed_goes_back_to_the_database(node, listener):
    alice = node.client("alice")
    for name, value in ("unacked-max", "5000"), ("queue-bytes", "4MiB"), ("retry-for", "0s"):
        node.ctl("set", f"s2s.{name}", value)
    say(alice, 0)
    reader = taken(listener, NO_SESSION)
    for n in range(1, 3000, 100):
        say(alice, *range(n, min(n + 100, 3000)))
        alice.ping()
    reader.until(*range(3000))
    listener.leave()
    reader.cut()
    node.wait_log("event=s2s.failed")
    until("nothing is in memory", lambda: [row["queue"] for row in links(node)] in ([], [0]))
    assert errors(alice) == [] and pending(node) == 3000
    listen_again(node, listener)
    taken(listener, NO_SESSION, confirms=True).until(*range(3000))
    until_confirmed(node)


def test_the_sender_is_told_once_when_a_message_has_waited_too_long(node, listener):
    """What its author has taken back (XEP-0424) is not returned; a deleted one has nothing."""
    node.add_user("carol")
    alice, carol = node.client("alice"), node.client("carol")
    listener.leave()
    node.ctl("set", "s2s.retry-for", "0s")
    node.ctl("set", "s2s.keep-for", "2s")
    say(carol, 9)
    say(alice, 0, 1, 2)
    take_back(alice, 1)
    node.ctl("user", "del", f"carol@{ONE}")
    for ident in "m0", "m2", "r1":
        bounced(alice, "remote-server-timeout", ident)
    until_confirmed(node)
    time.sleep(0.5)  # until it is written that she has them
    node.kill()
    node.start()
    node.client("alice").expect_nothing("<message type='error'/>")
    until("nothing to do", lambda: node.rows("s2s", "list") == [])


def take_back(client, n, to=BOB):
    client.send(f"<message to='{to}' type='chat' id='r{n}'>"
                f"<retract xmlns='urn:xmpp:message-retract:1' id='o{n}'/>"
                "<store xmlns='urn:xmpp:hints'/></message>")


def test_one_user_does_not_fill_the_database(node, listener):
    """For a domain that is away; ten times as much for all."""
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
    node.ctl("set", "s2s.kept-max", "1")
    for n in range(12):
        federation.route(node, f"d{n}.test", federation.free_port())
        say(alice, f"d{n}", to=f"bob@d{n}.test")
    for n in 10, 11:
        bounced(alice, "resource-constraint", f"md{n}")


@pytest.mark.parametrize("sent", [True, False])
def test_what_its_author_takes_back_or_leaves_is_not_sent(node, listener, sent):
    """XEP-0424, or the account is deleted: from memory, the database, and what was not confirmed on
    a stream that has broken. What other users and other addressees have by the same id stays, and
    what follows the retraction too."""
    node.add_user("carol")
    node.add_user("dora")
    alice, carol, dora = (node.client(name) for name in ("alice", "carol", "dora"))
    if not sent:
        listener.leave()
    say(alice, 0, 1, 2)
    say(carol, 1)
    say(dora, 3)
    say(alice, 1, to=f"dave@{EVIL}")
    for client in alice, carol, dora:
        client.ping()
    if sent:
        reader = taken(listener)
        until("all", lambda: len(reader.bodies()) == 6)
        listener.leave()
        reader.cut()
    take_back(alice, 1)
    say(alice, 1)
    alice.ping()
    node.ctl("user", "del", f"dora@{ONE}")
    until("all others wait", lambda: pending(node) == 6)
    listen_again(node, listener)
    reader = taken(listener, NO_SESSION, confirms=True)
    until_confirmed(node)
    assert sorted(reader.bodies()) == ["0", "1", "1", "1", "2"]
    mine = re.findall(rf"<message from='{ALICE}/[^']*' to='{BOB}'[^>]* id='(\w+)'", reader.text)
    assert mine == ["m0", "m2", "r1", "m1"]


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


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ["fin", "rst", "end", "reset", "host-unknown", "operator"])
@pytest.mark.parametrize("point", ["connected", "greeted", "secured", "authenticating", "asked"])
def test_a_session_is_asked_for_again_when_an_attempt_has_ended(node, listener, point, how):
    """All five have arrived and one is confirmed: the next stream has what is new alone."""
    alice = node.client("alice")
    say(alice, *range(5))
    reader = taken(listener)
    reader.until(*range(5))
    reader.say(f"<a xmlns='{xml.SM}' h='1'/>")
    until("one is confirmed", lambda: pending(node) == 4)
    reader.cut()
    if point in ("connected", "greeted"):
        sock = listener.sock.accept()[0]
        if point == "greeted":
            listener.header(sock, "first", f"<starttls xmlns='{xml.TLS}'/>")
            listener.read_until(sock, "<starttls")
    elif point == "asked":
        sock = authenticated(listener)
        listener.read_until(sock, "<resume ")
    else:
        sock = listener.secure()
        if point == "authenticating":
            listener.read_until(sock, "<auth.*</auth>")
    finish(sock, how, lambda: node.ctl_run("s2s", "close", EVIL))
    again = taken(listener, resumed(5), handled=5)
    assert "previd='session'" in again.asked
    say(alice, "new")
    again.until("new")
    again.confirm()
    until_confirmed(node)
    sock.close()


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
    for name, value in ("unacked-max", "1000"), ("queue-total", "1MiB"), ("queue-bytes", "4MiB"):
        node.ctl("set", f"s2s.{name}", value)
    reader.confirms, before = False, len(reader.text)
    for n in range(10, 50):
        say(alice, n, more=f"<x xmlns='y'>{'z' * 50000}</x>")
        alice.ping()
    until("all are stored", lambda: pending(node) == 40)
    until("some", lambda: len(reader.bodies()) >= 30)
    assert len(reader.text) - before < 1 << 20 | 100000
    reader.confirm(on=True)
    reader.until(*range(50))
    until_confirmed(node)


@pytest.mark.parametrize("then", ["confirms", "close", "stop", "counts nothing"])
def test_a_stream_that_is_being_ended(node, listener, then):
    """What is behind the question before is asked for at the end: a server that confirms only what
    it is asked for would else be sent it again. It is not ended twice, and waits for no counts that
    do not come."""
    alice, question = node.client("alice"), f"<r xmlns='{xml.SM}'/>"
    say(alice, 0)
    reader = taken(listener, "" if then == "counts nothing" else NO_SESSION)
    if then != "counts nothing":
        reader.wait(question)
    say(alice, 1)
    reader.until(0, 1)
    node.ctl("s2s", "close", EVIL)
    reader.wait(END)
    if then == "confirms":
        assert question in reader.text.rpartition("</message>")[2]
        reader.confirm()
        until_confirmed(node)
    elif then == "close":
        node.ctl_run("s2s", "close", EVIL)
    elif then == "counts nothing":
        reader.say(FAILED)
    if then == "stop":
        node.stop()  # it asks how that has ended
    else:
        until("the end", lambda: reader.ended)


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


def test_a_server_that_ends_all_streams_is_not_flooded_with_them(node, listener):
    alice = node.client("alice")
    say(alice, *range(10), more=POISON)
    begin, streams = time.monotonic(), 0
    listener.sock.settimeout(2)
    with contextlib.suppress(TimeoutError):
        while streams < 30 and time.monotonic() - begin < 15:
            reader, streams = taken(listener, NO_SESSION), streams + 1
            reader.wait(POISON)
            reader.say(FAULT)
            until("its end", lambda r=reader: r.ended)
    assert 3 <= streams < 20, streams


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


@pytest.mark.parametrize("up", [True, False], ids=["up", "before"])
def test_the_answer_to_a_ping_does_not_wait_for_what_is_not_confirmed(node, listener, back, up):
    """Nor is it asked about: else two servers of ours would ask each other for ever."""
    alice = node.client("alice")
    node.ctl("set", "s2s.unacked-max", "5")
    ping = f"<iq type='get' id='theirs' from='{EVIL}' to='{ONE}'>{PING}</iq>"
    say(alice, *range(20))
    alice.ping()
    if not up:  # it waits for the stream with the others
        back.raw(ping)
    reader = plain(listener)
    reader.until(*range(5))
    if up:
        back.raw(ping)
        reader.wait("type='result'[^>]*id='theirs'|id='theirs'[^>]*type='result'")
    while len(reader.bodies()) < 20:
        reader.pong(back)
    reader.wait("id='theirs'")


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


def test_ends_that_confirm_nothing(node, listener):
    """The server has not answered <enable/>, or closes with that unread; and its own end confirms
    nothing before it has heard ours."""
    alice = node.client("alice")
    say(alice, 0)
    for _ in range(2):
        with authenticated(listener) as peer:  # <enable/> is not answered
            listener.read_until(peer, "<body>0</body>.*</message>")
            peer.sendall(END.encode())
            listener.read_until(peer, END)
    assert pending(node) == 1
    with authenticated(listener, features="") as peer:
        listener.read_until(peer, "<body>0</body>")
        for n in range(40):
            say(alice, f"big{n}", more=f"<x xmlns='y'>{'x' * 200000}</x>")
        alice.ping()
        peer.sendall(END.encode())
    reader = taken(listener, NO_SESSION, confirms=True)
    until_confirmed(node)
    assert reader.bodies()[-40:] == [f"big{n}" for n in range(40)]


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
