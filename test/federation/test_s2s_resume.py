"""An attempt to resume a stream between servers (XEP-0198 §5) that ends early, in any way and at
any point, takes nothing from the next attempt: nothing is lost, and nothing comes twice."""
import contextlib
import re
import signal
import time

import pytest

from harness import federation, slow_disk, xml
from harness.client import until
from harness.wire import Wire
from federation.test_s2s_in_sm import (EVIL, authority, broken, counted, join, message, received,
                                       sm, start)
from federation.test_s2s_lost import ENABLED, ONE, OTHER, pending, say, sm_join, until_confirmed

__all__ = ["authority", "join", "start"]
BIDI = "<bidi xmlns='urn:xmpp:features:bidi'/>"
ENDS = ["open", "fin", "rst", "end", "reset", "host-unknown", "operator"]


def end(sock, how, operator):
    """As one of ENDS says, of which some are stream errors; "open": nobody has noticed it."""
    if how == "fin":
        sock.close()
    elif how == "rst":
        Wire._reset(sock)
    elif how == "end":
        sock.sendall(b"</stream:stream>")
    elif how == "operator":
        operator()
    elif how != "open":
        sock.sendall(f"<stream:error><{how} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
                     "</stream:error></stream:stream>".encode())


# --- the server that is asked ---


def under_way(start, disk, join):
    """A server that has one message of a stream which has broken, and does not answer yet how many
    that are, since the message is not stored; and what asks for it."""
    node = start("alice", disk=disk, workers=4)
    peer = join(node)
    disk.turn(sync_ms=slow_disk.STILL)
    peer.raw(message("one"))
    until("it", lambda: received(node) == 1)
    broken(node, peer)
    return node, f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='0'/>"


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ENDS)
def test_an_attempt_that_ends_before_its_answer_takes_nothing(start, disk, join, how):
    node, request = under_way(start, disk, join)
    later = how == "operator"  # who closes all that there are, and waits for the disk at that
    attempts = [] if later else [join(node, enable=False) for _ in range(3)]
    for _ in range(2):
        attempt = join(node, enable=False) if later else attempts.pop(0)
        attempt.raw(request)
        end(attempt.sock, how, lambda: node.ctl("s2s", "close", EVIL))
    last = join(node, enable=False) if later else attempts[0]
    last.raw(request)
    disk.turn(sync_ms=0)
    assert last.expect(f"<resumed xmlns='{xml.SM}'/>").get("h") == "1"
    last.raw(message("two"))
    counted(last, 2)
    alice = node.client("alice")
    for body in "one", "two":
        alice.expect_next(f"<message><body>{body}</body></message>")


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ENDS)
def test_an_attempt_that_ends_before_it_has_read_its_answer_takes_nothing(start, disk, join, how):
    """What was ended in order is not resumed, but how many have arrived is said."""
    node, request = under_way(start, disk, join)
    attempt = join(node, enable=False)
    attempt.raw(request)
    disk.turn(sync_ms=0)
    node.wait_log("event=s2s.resumed")
    end(attempt.sock, how, lambda: (node.ctl("s2s", "close", EVIL), attempt.expect_closed()))
    answer = sm(join(node, enable=False), request)
    kept = how in ("open", "fin", "rst")
    assert answer.tag == f"{{{xml.SM}}}{'resumed' if kept else 'failed'}"
    assert answer.get("h") == "1"


def test_an_attempt_that_ends_while_its_answer_is_on_its_way_takes_nothing(start, join):
    """The workers say one after the other what they have."""
    node = start("alice", workers=4)
    peer = join(node)
    peer.raw(message("one"))
    counted(peer, 1)
    broken(node, peer)
    request = f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='0'/>"
    for _ in range(15):
        gone, again = join(node, enable=False), join(node, enable=False)
        gone.raw(request)
        gone.sock.close()
        assert sm(again, request).tag == f"{{{xml.SM}}}resumed"
        broken(node, again)


# --- the server that asks ---


class BothWays(federation.Listener):
    """It offers XEP-0288."""

    def secure(self, stream_id="second", features=federation.EXTERNAL + BIDI):
        return super().secure(stream_id, features)


@pytest.fixture
def listener(authority, request):
    kind = getattr(request, "param", federation.Listener)
    victim = kind(OTHER, authority.issue("victim", OTHER))
    yield victim
    victim.close()


@pytest.fixture
def opened(start, listener):
    """A server, alice, and a stream of theirs that has broken: all five messages have arrived there
    and one is confirmed."""
    node = start("alice", workers=1)
    federation.route(node, OTHER, listener.port)
    alice = node.client("alice")
    for n in range(5):
        say(alice, n)
    peer, asked = sm_join(listener, ENABLED)
    if "text 4<" not in asked.string:
        listener.read_until(peer, "text 4<")
    peer.sendall(f"<a xmlns='{xml.SM}' h='1'/>".encode())
    until("one is confirmed", lambda: pending(node) == 4)
    Wire._reset(peer)
    return node, alice


def resumed(node, listener, alice):
    """The next stream asks for the session, and brings what is new alone."""
    peer, asked = sm_join(listener, f"<resumed xmlns='{xml.SM}' previd='session' h='5'/>")
    assert re.search("<resume [^>]*previd='session'", asked.string), asked.string
    say(alice, "new")
    found = listener.read_until(peer, "text new<").string
    assert re.findall("<body>text (.*?)</body>", found) == ["new"]
    peer.sendall(f"<a xmlns='{xml.SM}' h='6'/>".encode())
    until_confirmed(node)
    peer.close()


def connected(listener):
    return listener.sock.accept()[0]


def greeted(listener):
    sock = connected(listener)
    listener.header(sock, "first", f"<starttls xmlns='{xml.TLS}'/>")
    listener.read_until(sock, "<starttls")
    return sock


def no_tls(listener):
    """Its answer to the hello of TLS is none."""
    sock = greeted(listener)
    sock.sendall(f"<proceed xmlns='{xml.TLS}'/>".encode())
    sock.sendall(b"no TLS")
    return sock


def authenticating(listener):
    sock = listener.secure()
    listener.read_until(sock, "<auth.*</auth>")
    return sock


def asked(listener):
    return sm_join(listener, "")[0]


def secured(listener):
    return listener.secure()


POINTS = [connected, greeted, no_tls, secured, authenticating, asked]


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ENDS[1:])
@pytest.mark.parametrize("point", POINTS, ids=lambda p: p.__name__)
def test_a_session_is_asked_for_again_when_an_attempt_has_ended(opened, listener, point, how):
    node, alice = opened
    sock = point(listener)
    end(sock, how, lambda: node.ctl_run("s2s", "close", OTHER))
    resumed(node, listener, alice)
    sock.close()


# --- the server that asks may not, or stops, before it has its answer ---


def bodies(text):
    return re.findall("<body>(.*?)</body>", text)


def blocked(node, *_):
    node.ctl("federation", "block", OTHER)


def policed(node, *_):
    node.ctl("set", "s2s.policy", "off")


def allowed(node):
    node.ctl_run("federation", "allow", OTHER)
    node.ctl("set", "s2s.policy", "open")


def stopped(node, alice):
    node.signal(signal.SIGTERM)
    alice.expect_stream_error("system-shutdown")  # of the one worker, so all edges stop


def blocked_and_stopped(node, alice):
    blocked(node)
    stopped(node, alice)


def rest(peer):
    """What comes up to the end of the connection."""
    text = b""
    with contextlib.suppress(OSError):
        while data := peer.recv(65536):
            text += data
    return text.decode()


def refused(client, count):
    """So many messages that have come back."""
    def found():
        return [e.get("id") for e in client.inbox
                if e.tag.endswith("}message") and e.get("type") == "error"]
    until("they come back", lambda: (client.pump(0.01), len(found()) >= count)[1])
    client.ping()
    return found()


ANSWERS = {"resumed": "<resumed xmlns='urn:xmpp:sm:3' previd='session' h='3'/>",
           "failed": "<failed xmlns='urn:xmpp:sm:3' h='3'/>",
           "none": ""}
LATE = f"<message from='bob@{OTHER}' to='alice@{ONE}'><body>late</body></message>"


@pytest.mark.sqlite
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("shut", [blocked, policed])
@pytest.mark.parametrize("listener", [federation.Listener, BothWays], indirect=True)
def test_what_has_arrived_of_a_session_does_not_go_back_if_it_may_not_be_resumed(
        opened, listener, shut, answer):
    node, alice = opened
    peer, _ = sm_join(listener, "")
    shut(node)
    begun = time.monotonic()
    early = LATE if isinstance(listener, BothWays) else ""
    peer.sendall(f"{early}{ANSWERS[answer]}{LATE if answer != 'none' else ''}".encode())
    came = rest(peer)
    assert bodies(came) == [] and "<presence" not in came
    assert time.monotonic() - begun < 5
    gone = [f"m{n}" for n in range(1 if answer == "none" else 3, 5)]
    assert refused(alice, len(gone)) == gone
    until_confirmed(node)
    assert "late" not in [e.findtext(f"{{{xml.CLIENT}}}body") for e in alice.inbox]
    allowed(node)
    say(alice, "new")
    peer, asked = sm_join(listener, ENABLED)
    text = asked.string
    if "text new<" not in text:
        text += listener.read_until(peer, "text new<").string
    assert "<enable" in asked[0] and bodies(text) == ["text new"]
    peer.close()


@pytest.mark.sqlite
def test_a_session_is_resumed_if_it_may_be_again_when_the_answer_comes(opened, listener):
    node, alice = opened
    peer, _ = sm_join(listener, "")
    blocked(node)
    node.ctl("federation", "allow", OTHER)
    peer.sendall(ANSWERS["resumed"].encode())
    assert bodies(listener.read_until(peer, "text 4</body>").string) == ["text 3", "text 4"]
    peer.sendall(f"<a xmlns='{xml.SM}' h='5'/>".encode())
    until_confirmed(node)
    assert refused(alice, 0) == []
    peer.close()


@pytest.mark.sqlite
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("shut", [stopped, blocked_and_stopped])
def test_what_has_arrived_of_a_session_is_not_sent_again_after_a_stop(
        opened, listener, shut, answer):
    node, alice = opened
    peer, _ = sm_join(listener, "")
    shut(node, alice)
    peer.sendall(ANSWERS[answer].encode())
    assert bodies(rest(peer)) == []
    node.wait_exit()
    node.start()
    late = range(1 if answer == "none" else 3, 5)
    if shut is blocked_and_stopped:
        assert refused(node.client("alice"), len(late)) == [f"m{n}" for n in late]
        return
    peer, asked = sm_join(listener, ENABLED)
    text = asked.string
    if "text 4<" not in text:
        text += listener.read_until(peer, "text 4<").string
    assert bodies(text) == [f"text {n}" for n in late]
    peer.close()
