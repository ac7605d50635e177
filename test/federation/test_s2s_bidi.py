"""Stanzas go both ways on one connection between servers (XEP-0288)."""
import contextlib
import threading
import time

import pytest

from harness import federation, slow_disk, xml
from harness.client import bodies, until
from harness.federation import Peer
from harness.links import (BIDI, BOB, ENABLED, END, EVIL, FAULT, NOT_STORED, NO_SESSION, ONE, OTHER,
                           POISON, VERSION, answered, authority, bounced, broken, errors, hear,
                           join, links, listener, message, metric, node, pair, pending, plain,
                           resume_of, resumed, say, sm, start, taken, until_confirmed)

__all__ = ["authority", "join", "listener", "node", "pair", "start"]
FEATURE = "{urn:xmpp:features:bidi}bidi"
ALICE = f"alice@{ONE}"


def nothing(peer):
    """No stanza has come, up to an answer on the stream itself."""
    peer.acked = None
    peer.request_ack()
    peer.wait("<a/>", lambda: peer.acked is not None)
    assert not peer.inbox, xml.canonical(peer.inbox[0])


# --- two servers of ours ---


def both_say(alice, bob, *texts):
    for one, other in (alice, bob), (bob, alice):
        say(one, *texts, to=other)
    for client in bob, alice:
        hear(client, *texts)


@pytest.mark.parametrize("bidi", ["on", "off"])
def test_the_other_server_answers_on_the_connection_that_we_have_made(pair, bidi):
    one, other, wire = pair(back=bidi == "off", bidi=bidi)
    alice, bob = one.client("alice"), other.client("bob")
    say(alice, "there", to=bob)
    hear(bob, "there")
    both_say(alice, bob, *range(20))
    assert bob.result("get", VERSION, to=ONE) is not None
    assert len(wire.pairs) == 1
    assert sorted((r["direction"], r["state"]) for r in links(other, domain=ONE)) == [
        ("in", "up"), ("out", "up")]
    assert len({r["link"] for r in links(other, domain=ONE)}) == (1 if bidi == "on" else 2)


@pytest.mark.sqlite
def test_a_stream_that_is_cut_in_a_flood_is_resumed_in_both_directions(pair):
    """Wherever the stream that resumes it is cut, too: in its handshake, while it is resumed, or in
    what it repeats. Nothing is missing, nothing comes twice, and the order is kept."""
    one, other, wire = pair(back=False, ack_timeout="2s")
    alice, bob = one.client("alice"), other.client("bob")
    say(alice, "begin", to=bob)
    hear(bob, "begin")
    both_say(alice, bob, "begun")
    until_confirmed(one, other)
    for n, cut_after in enumerate((None, None, 1, 3500, 4500, 5000, 5500, 6000, 8000)):
        texts = [f"{n}t{m}" for m in range(60)]
        say(alice, *texts[:20], to=bob)
        say(bob, *texts[:20], to=alice)
        wire.cut_after = cut_after
        wire.say("c")
        say(alice, *texts[20:], to=bob)
        say(bob, *texts[20:], to=alice)
        hear(bob, *texts)
        hear(alice, *texts)
        until_confirmed(one, other)
    assert "s2s.resumed" in other.log()


# --- the test opens the stream ---


@pytest.fixture
def alice(node):
    return node.client("alice")


def test_when_it_is_offered_and_asked_for(node, alice, join, authority):
    """Under TLS, and before authentication; without that nothing goes back."""
    cert = authority.issue("evil", EVIL)
    peer = Peer(node, EVIL, ONE, cert).header().features_come()
    assert peer.features.find(FEATURE) is None
    peer.raw(BIDI)
    peer.expect_stream_error("policy-violation", "not-authorized")
    assert Peer(node, EVIL, ONE, cert).secure().features.find(FEATURE) is not None
    peer = join(node)
    assert peer.features.find(FEATURE) is None
    peer.raw(message(BOB, ALICE, "there"))
    hear(alice, "there")
    say(alice, "back")
    node.wait_log("s2s.failed")
    nothing(peer)
    peer.raw(BIDI)
    peer.expect_stream_error("unsupported-stanza-type")


@pytest.mark.parametrize("origin, to", [(f"bob@{OTHER}", ALICE), (BOB, f"alice@{OTHER}"),
                                        (BOB, f"room@conference.{ONE}"), (f"eve@{ONE}", ALICE)])
@pytest.mark.parametrize("whose", ["theirs", "ours"])
def test_it_gives_no_right_to_speak_for_others(node, alice, join, listener, whose, origin, to):
    if whose == "theirs":
        peer = join(node, both=True)
        peer.raw(message(origin, to, "forged"))
        peer.expect_stream_error("invalid-from", "host-unknown")
    else:
        say(alice, 0)
        reader = taken(listener, both=True)
        reader.say(message(origin, to, "forged"))
        reader.wait("invalid-from")
    alice.expect_nothing("<message id='mforged'/>")


def test_only_stanzas_of_the_pair_that_was_proved_go_back(node, alice, join):
    """A stream of one domain carries nothing for another one, whoever has both."""
    federation.route(node, OTHER, federation.free_port())
    peer = join(node, both=True)
    say(alice, "other", to=f"bob@{OTHER}")
    node.wait_log(f"s2s.failed domain={OTHER}")
    nothing(peer)
    say(alice, "it")
    peer.expect("<message id='mit'/>")


@pytest.mark.parametrize("proof", ["dialback", "certificate"])
def test_it_goes_back_for_the_pair_that_was_proved_first(node, alice, listener, join, proof):
    """A second one may speak on the stream. Keys are asked about elsewhere."""
    room = f"room@conference.{ONE}"
    if proof == "certificate":  # nobody needs to be asked (XEP-0344)
        peer = join(node, both=True)
    else:
        node.ctl("set", "s2s.verify-certificates", "off")
        peer = Peer(node, EVIL, ONE).secure()
        peer.raw(BIDI)
    for local in [ONE, f"conference.{ONE}"][proof == "certificate":]:
        peer.result("key", to=local)
        if proof == "dialback":
            with listener.secure("second", "") as asked:
                found = listener.read_until(asked, "<db:verify [^>]*id='([^']*)'[^>]*>key<")
                asked.sendall(f"<db:verify from='{EVIL}' to='{local}' id='{found[1]}' "
                              "type='valid'/>".encode())
        peer.local = local
        answered(peer, "valid")
    listener.leave()
    peer.raw(f"<presence from='{BOB}/x' to='{room}/bob'>"
             "<x xmlns='http://jabber.org/protocol/muc'/></presence>")
    node.wait_log(f"s2s.failed domain={EVIL} local=conference.{ONE}")
    say(alice, "first")
    peer.expect("<message id='mfirst'/>")
    assert not peer._take(lambda e: e.get("from") == f"{room}/bob")


@pytest.mark.parametrize("goes_on", [False, True], ids=["at-connect", "in-tls"])
def test_an_attempt_that_hangs_ends_when_the_server_comes_by_itself(alice, node, join, listener,
                                                                    goes_on):
    """It has a connection, which may never lead anywhere; the other one is there."""
    say(alice, 0, 1)
    silent, _ = listener.sock.accept()
    if goes_on:
        listener.header(silent, "first", f"<starttls xmlns='{xml.TLS}'/>")
        listener.read_until(silent, "<starttls")
    begun = time.monotonic()
    peer = join(node, both=True)
    say(alice, 2)
    for n in range(3):
        peer.expect(f"<message id='m{n}'/>")
    assert time.monotonic() - begun < 5
    silent.close()


@pytest.mark.sqlite
def test_what_goes_back_is_counted(node, alice, join):
    peer = join(node, both=True)
    peer.auto_ack = False
    say(alice, 1, 2)
    hear(peer, 1, 2)
    peer.wait("<r/>", lambda: any(e.tag == f"{{{xml.SM}}}r" for e in peer.log))
    until("both are kept", lambda: pending(node) == 2)
    for h in 1, 2:
        peer.ack(h)
        until("it is confirmed", lambda h=h: pending(node) == 2 - h)
    peer.ack(3)
    peer.expect_stream_error("undefined-condition")


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ["resumed", "anew", "one way", "does not come"])
def test_a_way_back_that_breaks(node, alice, join, listener, how):
    """What was not confirmed comes again, on the next stream of that server or on ours."""
    if how != "does not come":
        listener.leave()
    peer = join(node, both=True)
    peer.auto_ack = False
    peer.raw(message(BOB, ALICE, "there"))
    hear(alice, "there")
    say(alice, *range(5))
    hear(peer, *range(5))
    broken(node, peer)
    say(alice, 5)
    if how == "does not come":
        plain(listener).until(*range(6))
        return
    again = join(node, enable=how == "anew", both=how != "one way")
    again.auto_ack = False
    if how == "one way":
        assert sm(again, resume_of(peer, 3)).tag == f"{{{xml.SM}}}failed"
        return
    if how == "resumed":
        answer = sm(again, resume_of(peer, 3))
        assert (answer.tag, answer.get("h")) == (f"{{{xml.SM}}}resumed", "1")
    hear(again, *range(6))
    again.ack(9 if how == "resumed" else 6)
    until_confirmed(node)


@pytest.mark.parametrize("kind", ["theirs", "ours"])
@pytest.mark.parametrize("how", ["block", "policy", "route"])
def test_what_has_arrived_does_not_go_back_when_the_domain_is_shut_out(node, alice, join, listener,
                                                                       kind, how):
    """It has some time to be confirmed; what has not arrived goes back; nothing comes in meanwhile.
    """
    if kind == "theirs":
        listener.leave()
        peer = join(node, both=True)
        peer.auto_ack = False
        say(alice, *range(10))
        hear(peer, *range(10))
    else:
        say(alice, *range(10))
        reader = taken(listener, both=True)
        reader.until(*range(10))
    if how == "block":
        node.ctl("federation", "block", EVIL)
    elif how == "policy":
        node.ctl("set", "s2s.policy", "off")
    else:
        node.ctl("s2s-route", "set", EVIL, f"127.0.0.1:{listener.port}", "--blocked", "on")
    if kind == "theirs":
        peer.raw(message(BOB, ALICE, "late"))
        peer.ack(8)
        peer.expect_closed()
    else:
        reader.say(message(BOB, ALICE, "late") + f"<a xmlns='{xml.SM}' h='8'/>{END}")
    for n in 8, 9:
        bounced(alice, "not-allowed", f"m{n}")
    until_confirmed(node)
    alice.expect_nothing("<message/>")


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ["reset", "error"])
@pytest.mark.parametrize("more", ["", NOT_STORED], ids=["stored", "not stored"])
def test_a_stanza_that_ends_streams_of_the_other_server_goes_back(node, alice, join, how, more):
    """It falls over it each time, and opens the next stream. Its neighbours arrive."""
    peer, streams, found = join(node, both=True), [], []
    alice.raw("".join(message(ALICE, BOB, n, (POISON if n == 3 else "") + more)
                      for n in range(1, 6)))
    end = time.monotonic() + 40
    while not found or "5" not in streams[-1] or "3" in streams[-1]:
        peer.auto_ack, asked = False, 0
        while True:
            assert time.monotonic() < end, (streams, bodies(peer.log))
            peer.pump(0.05)
            found += errors(alice)
            came = bodies(peer.log)
            whole = came[:came.index("3")] if "3" in came else came
            requests = sum(e.tag == f"{{{xml.SM}}}r" for e in peer.log)
            if requests > asked:
                asked = requests
                peer.ack(len(whole))
            if "3" in came or peer.eof or (found and "5" in came):
                break
        streams.append(came)
        if "3" in came:
            peer.ack(len(whole))
            if how == "reset":
                peer.cut()
            else:
                peer.raw(FAULT)
                peer.expect_closed()
            peer = join(node, both=True)
    assert found == [("m3", "not-acceptable")]
    assert {"1", "2", "4", "5"} <= {n for came in streams for n in came}
    until("all are confirmed", lambda: peer.ack(len(bodies(peer.log))) or pending(node) == 0)


# --- we open the stream ---


def test_the_server_sends_on_the_stream_that_we_have_opened(node, alice, listener):
    """At once it is resumed if it breaks, though we have nothing to say: who sends on it cannot
    make it again."""
    say(alice, 0)
    reader = taken(listener, both=True)
    reader.say(f"<a xmlns='{xml.SM}' h='1'/>" + message(BOB, ALICE, 1) + message(BOB, ALICE, 2)
               + f"<r xmlns='{xml.SM}'/>")
    hear(alice, 1, 2)
    reader.wait(f"<a xmlns='{xml.SM}' h='2'/>")
    assert sorted(row["direction"] for row in links(node)) == ["in", "out"]
    until_confirmed(node)
    reader.cut()
    again = taken(listener, resumed(1), both=True)
    assert "<resume" in again.asked and "h='2'" in again.asked
    again.say(message(BOB, ALICE, 3) + f"<r xmlns='{xml.SM}'/>")
    hear(alice, 3)
    again.wait(f"<a xmlns='{xml.SM}' h='3'/>")


@pytest.mark.sqlite
@pytest.mark.parametrize("ends", ["peer", "operator", "rule", "restart", "still"])
def test_what_has_come_on_our_stream_is_acknowledged_before_its_end(start, authority, disk, ends):
    """Else the server sends it again, and it is kept twice. The end does not wait long for a store
    that stands still."""
    node = start("alice", disk=disk)
    there = federation.Listener(EVIL, authority.issue("there", EVIL))
    federation.route(node, EVIL, there.port)
    say(node.client("alice"), 0)
    reader = taken(there, NO_SESSION if ends == "still" else ENABLED, both=True)
    reader.until(0)
    reader.confirm()
    until_confirmed(node)
    disk.turn(sync_ms=slow_disk.STILL)
    reader.say(message(BOB, ALICE, 1) + message(BOB, ALICE, 2))
    until("both", lambda: metric(node, "s2s_stanzas", "received") == 2)
    if ends != "still":
        later = threading.Timer(0.3, disk.turn, kwargs={"sync_ms": 0})
        later.start()
    if ends == "peer":
        reader.say(END)
    elif ends == "rule":
        node.ctl("federation", "block", EVIL)
    elif ends == "restart":
        node.stop()
    else:
        node.ctl("s2s", "close", EVIL)
    reader.wait(END)
    assert (f"<a xmlns='{xml.SM}' h='2'/>" in reader.text) == (ends != "still")
    disk.turn(sync_ms=0)
    there.close()
    with contextlib.suppress(NameError):
        later.join()
