"""A server without XEP-0198 ends its stream first: what of ours has it read? One that answers pings
says it so; one that does not has read what its system took, if it closes behind our end."""
import re
import signal
import socket
import threading
import time

import pytest

from harness import federation
from harness.client import until
from federation.test_s2s_lost import (ONE, OTHER, Reader, authority, listener, node, pending, say,
                                      start, until_confirmed)
from federation.test_s2s_lost_pings import answer, pong

__all__ = ["authority", "listener", "node", "start"]
END = "</stream:stream>"


@pytest.fixture
def back(node, authority):
    """The stream on which the other server answers."""
    return federation.Peer(node, OTHER, ONE, cert=authority.issue("third", OTHER)).join()


def proved(node, reader, back):
    """It has answered a ping."""
    until("a ping", lambda: "urn:xmpp:ping" in reader.text)
    pong(back, reader)
    until_confirmed(node)


def behind_an_answer(node, listener, back):
    """Alice, and a stream: the other server has answered a ping there, and has read a second
    message since."""
    alice = node.client("alice")
    say(alice, 0)
    reader = Reader(listener.join())
    proved(node, reader, back)
    say(alice, 1)
    until("it", lambda: reader.numbers() == [0, 1])
    return alice, reader


def pings(reader):
    return reader.text.count("urn:xmpp:ping")


def test_a_server_that_ends_first_says_what_it_has_read(node, listener, back):
    """Our half ends behind the answer, and nothing is sent again: as with Prosody."""
    alice, reader = behind_an_answer(node, listener, back)
    until("it is stored", lambda: pending(node) == 1)
    reader.say(END)
    until("a ping at once", lambda: pings(reader) == 2)
    assert END not in reader.text and pending(node) == 1
    say(alice, 2)
    pong(back, reader)
    until("our end", lambda: reader.ended or END in reader.text)
    reader.cut()
    again = Reader(listener.join())
    until("the next", lambda: again.numbers() == [2])
    assert reader.numbers() == [0, 1]


def test_what_it_does_not_answer_for_is_sent_again(node, listener, back):
    """It closes behind our end, which comes after 2 s: the answer counts, and not that."""
    _, reader = behind_an_answer(node, listener, back)
    reader.say(END)
    until("our end", lambda: END in reader.text)
    reader.cut()
    again = Reader(listener.join())
    until("the same", lambda: again.numbers() == [1])


@pytest.mark.parametrize("late", ["while it is asked", "on the stream before"])
def test_who_was_late_once_has_still_answered_before(node, listener, back, late):
    """Its close says no more than before it was late."""
    node.ctl("set", "s2s.ack-timeout", "3s")
    _, reader = behind_an_answer(node, listener, back)
    until("the ping behind it", lambda: pings(reader) == 2)
    if late == "on the stream before":
        node.wait_log("does not answer a ping")
        reader.cut()
        reader = Reader(listener.join())
        until("it again", lambda: reader.numbers() == [1])
    reader.say(END)
    until("our end", lambda: END in reader.text)
    reader.cut()
    again = Reader(listener.join())
    until("the same", lambda: again.numbers() == [1])


@pytest.mark.parametrize("answers", [True, False])
def test_ends_that_cross(node, listener, back, answers):
    """An operator closes the stream, too: the server that has answered pings is asked before, and
    one that has not read that does not confirm what it has not read, either."""
    alice, reader = behind_an_answer(node, listener, back)
    until("it is stored", lambda: pending(node) == 1)
    node.ctl("s2s", "close", OTHER)
    until("a ping at once", lambda: pings(reader) == 2)
    assert END not in reader.text
    reader.say(END)
    if answers:
        federation.Peer(node, OTHER, ONE, cert=back.cert).join().raw(answer(reader))
    until("our end", lambda: END in reader.text)
    reader.cut()
    say(alice, 2)
    again = Reader(listener.join())
    until("the rest", lambda: again.numbers() == ([2] if answers else [1, 2]))


def test_the_server_stops_while_the_other_one_is_asked(node, listener, back):
    """It does not wait for the answer any longer than for others."""
    _, reader = behind_an_answer(node, listener, back)
    reader.say(END)
    until("a ping at once", lambda: pings(reader) == 2)
    begun = time.monotonic()
    node.stop()
    assert time.monotonic() - begun < 4


class Slow:
    """A way of half a second to the other server, and of nothing back: what is on its way is lost
    when that has closed the connection, and the end of its half is told at once."""

    def __init__(self, target):
        self.late, self.target = 0, target
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                here = self.sock.accept()[0]
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self.target))
            for one, two, slow in (here, there, True), (there, here, False):
                threading.Thread(target=self._carry, args=(one, two, slow), daemon=True).start()

    def _carry(self, one, two, slow):
        try:
            while data := one.recv(65536):
                time.sleep(self.late if slow else 0)
                two.sendall(data)
            two.shutdown(socket.SHUT_WR)
        except OSError:
            one.close()


def test_a_message_is_on_its_way_when_the_server_ends_and_closes(node, listener, back):
    """It has not read that, as ejabberd whose stream is idle."""
    way = Slow(listener.port)
    federation.route(node, OTHER, way.port)
    alice = node.client("alice")
    say(alice, 0)
    peer = listener.join()
    reader = Reader(peer)
    proved(node, reader, back)
    way.late = 0.5
    say(alice, 1)
    alice.ping()
    reader.say(END)
    with reader.lock:
        peer.close()
    way.late = 0
    again = Reader(listener.join())
    until("the message", lambda: again.numbers() == [1])
    until("it is stored", lambda: pending(node) == 1)
    way.sock.close()


@pytest.mark.parametrize("answers", [True, False])
def test_a_message_is_written_when_the_server_has_closed_already(node, listener, back, answers):
    """All of that comes to our server in one moment, in which it was not at work."""
    alice = node.client("alice")
    say(alice, 0)
    peer = listener.join()
    reader = Reader(peer)
    until("a ping", lambda: "urn:xmpp:ping" in reader.text)
    if answers:
        proved(node, reader, back)
    until("it", lambda: reader.numbers() == [0])
    node.signal(signal.SIGSTOP)
    say(alice, 1)
    reader.say(END)
    with reader.lock:
        peer.close()
    node.signal(signal.SIGCONT)
    again = Reader(listener.join())
    until("the message", lambda: 1 in again.numbers())
    assert re.findall("id='m([0-9]+)'", again.text)[-1] == "1"
