"""What a client sends after a resumption: XEP-0198 §5 has it repeat what the server's h does not
cover. Some of that is being handled already, and what the client repeats is its own affair: all of
it, a part, nothing, something else. Each stanza that it sent is handled once."""
import random

import pytest

from harness import xml
from harness.client import bodies
from harness.slow_disk import STILL

pytestmark = pytest.mark.sqlite  # the disk of the tests is that of a file


def chat(body, ident=None):
    id_ = f" id='{ident}'" if ident else ""
    return f"<message to='alice@localhost' type='chat'{id_}><body>{body}</body></message>"


def take_over(server, old):
    """Returns the new connection and the h of <resumed/>."""
    new = server.connect(old.name)
    old.cut()
    answer = new.take_over(old)
    assert answer.tag == f"{{{xml.SM}}}resumed", xml.canonical(answer)
    new.acked = int(answer.get("h"))
    return new, new.acked


@pytest.fixture
def stalled(make_server, disk):
    """bob, with stream management, on a disk that stands still; alice."""
    server = make_server("alice", "bob", disk=disk)
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    bob.enable_sm()
    disk.turn(sync_ms=STILL)
    yield server, disk, alice, bob
    disk.turn(sync_ms=0)


def arrived(alice, count):
    """The bodies that have come when there are so many, and when nothing more is on its way."""
    alice.wait(f"{count} messages", lambda: len(bodies(alice.inbox)) >= count)
    alice.ping()
    return bodies(alice.inbox)


CASES = {  # what bob sent before the cut, and sends after it
    "all": ("abc", "abc"),
    "none": ("abc", ""),
    "others": ("abc", "xyz"),
    "fewer": ("abcd", "ac"),
    "only the last": ("abc", "c"),
    "others before": ("abc", "xabc"),
    "others between": ("abc", "axbyc"),
    "others behind": ("abc", "abcxyz"),
    "more others than repeats": ("a", "uvwxyz"),
}


@pytest.mark.parametrize("named", [True, False], ids=["id", "no id"])
@pytest.mark.parametrize("case", CASES)
def test_each_is_handled_once(stalled, case, named):
    server, disk, alice, bob = stalled
    before, after = CASES[case]
    if not named and set(after[:after.rfind("c") + 1]) & set("xy"):
        after = "".join(sorted(after))  # without an id, repeats are known while they come first
    for body in before:
        bob.send(chat(body, named and body))
    assert arrived(alice, len(before)) == list(before)
    again, h = take_over(server, bob)
    assert h == 0
    for body in after:
        again.send(chat(body, named and body))
    wanted = list(before) + [body for body in after if body not in before]
    assert arrived(alice, len(wanted)) == wanted
    if after:
        again.request_ack()
        again.ping()
        assert again.acked == 0  # nothing of it is on disk yet
    disk.turn(sync_ms=0)
    again.wait_acked(len(after))
    assert arrived(alice, len(wanted)) == wanted


def test_a_delay_stamp_makes_no_other_message(stalled):
    """XEP-0198 §8.3 lets a client say when it sent first what it repeats."""
    server, disk, alice, bob = stalled
    bob.send(chat("a"))
    arrived(alice, 1)
    again, _ = take_over(server, bob)
    again.send(chat("a").replace("</message>", f"<delay xmlns='{xml.DELAY}' "
                                 "stamp='2026-01-01T00:00:00Z'/></message>"))
    disk.turn(sync_ms=0)
    again.wait_acked(1)
    assert arrived(alice, 1) == ["a"]


def test_the_same_words_later_are_new(stalled):
    """A message without an id that a person writes twice."""
    server, disk, alice, bob = stalled
    bob.send(chat("yes"))
    arrived(alice, 1)
    again, _ = take_over(server, bob)
    for body in ("why", "yes"):
        again.send(chat(body))
    disk.turn(sync_ms=0)
    again.wait_acked(2)
    assert arrived(alice, 3) == ["yes", "why", "yes"]


@pytest.mark.parametrize("seed", range(4))
def test_many_resumptions(stalled, seed):
    """Cut again and again; bob repeats what he thinks fit, and writes more."""
    rng = random.Random(seed)
    server, disk, alice, bob = stalled
    sent, unacked, number = [], [], 0
    for round_ in range(8):
        for _ in range(rng.randrange(6)):
            number += 1
            sent.append(str(number))
            unacked.append(str(number))
            bob.send(chat(number, f"m{number}"))
        if rng.random() < 0.5:
            disk.turn(sync_ms=0)
            bob.wait_acked(bob.acked + len(unacked))
            unacked.clear()
            disk.turn(sync_ms=STILL)
        bob.ping()
        unacked.append(None)  # the ping is a stanza, too
        before = bob.acked
        bob, h = take_over(server, bob)
        del unacked[:h - before]
        unacked = [body for body in unacked if body and rng.random() < 0.7]
        for body in unacked:
            bob.send(chat(body, f"m{body}"))
    disk.turn(sync_ms=0)
    bob.wait_acked(bob.acked + len(unacked))
    assert arrived(alice, len(sent)) == sent
    errors = [e for e in bob.log if e.get("type") == "error"]
    assert not errors, xml.canonical(errors[0])


def test_requests_are_answered_once(stalled):
    """What is handled behind a message that is not: its answer is in the queue of the session."""
    server, disk, _, bob = stalled
    bob.send(chat("a", "m1"))
    ping = "<iq type='get' id='p1' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>"
    bob.send(ping)
    bob.expect("<iq type='result' id='p1'/>")
    bob.h -= 1  # the answer was lost
    again, h = take_over(server, bob)
    assert h == 0
    for stanza in (chat("a", "m1"), ping):
        again.send(stanza)
    again.expect("<iq type='result' id='p1'/>")
    disk.turn(sync_ms=0)
    again.wait_acked(2)
    again.expect_nothing("<iq id='p1'/>")


@pytest.mark.release  # what is under way at the end of the process is not freed
def test_handled_before_a_planned_restart(stalled):
    """The first of two was still on its way when the server ended, and is known by its origin-id.
    The second was handled, though h could not cover it, and is not handled again."""
    server, disk, alice, bob = stalled
    alice.enable_sm()
    first = chat("a", "m1").replace("<body>", f"<origin-id xmlns='{xml.SID}' id='m1'/><body>")
    bob.send(first)
    presence = "<presence id='d1' to='alice@localhost/a'><status>here</status></presence>"
    bob.send(presence)
    alice.expect("<presence id='d1'/>")
    server.signal(15)
    server.wait_log(r"(?s)sessions\.not-saved.*sessions\.not-saved")  # not before the end
    disk.turn(sync_ms=0)
    server.wait_exit(60)
    server.start()
    again, h = take_over(server, bob)
    for stanza in (first, presence)[h:]:
        again.send(stanza)
    again.wait_acked(2)
    alice2, _ = take_over(server, alice)
    alice2.ping()
    assert len(bodies(alice.log) + bodies(alice2.log)) == 1
    assert not [e for e in alice2.log if e.get("id") == "d1"]


def test_after_a_crash_nothing_is_taken_for_a_repeat(server):
    """There is no session to resume; the client logs in anew, and says what it likes."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.auto_ack = False
    bob.enable_sm()
    for i in range(3):
        bob.send(chat(i, f"m{i}"))
    bob.wait_acked(3)
    server.kill()
    server.start()
    new = server.connect("bob")
    answer = new.take_over(bob)
    assert answer.tag == f"{{{xml.SM}}}failed" and xml.condition(answer) == "item-not-found"
    new.bind("b")
    new.available()
    new.enable_sm()
    for i in (1, 7):
        new.send(chat(i, f"m{i}"))
    new.wait_acked(2)
    alice = server.client("alice", "a")
    assert arrived(alice, 2)[-2:] == ["1", "7"]
