"""What another server never confirms is given up once, and not sent again later."""
import socket
import threading

import pytest

from harness import federation
from harness.client import until
from harness.muc import Room
from federation.test_s2s_lost import ONE, OTHER, Reader, authority, condition, pending, say, sm_join

assert authority  # a fixture
SENDERS = ["alice", "carol"]


class Mute(threading.Thread):
    """A server that takes each stream with XEP-0198, reads, and confirms nothing."""

    def __init__(self, listener):
        super().__init__(daemon=True)
        self.listener, self.readers = listener, []
        self.start()

    def run(self):
        try:
            while True:
                peer, asked = sm_join(self.listener, "<enabled xmlns='urn:xmpp:sm:3'/>")
                self.readers.append(Reader(peer, asked.string[asked.end():]))
        except (OSError, AssertionError):  # the test is over, or our server is
            pass

    def numbers(self):
        return [reader.numbers() for reader in self.readers]


@pytest.fixture
def listener(authority):
    victim = federation.Listener(OTHER, authority.issue("victim", OTHER))
    victim.sock.settimeout(None)
    yield victim
    victim.sock.shutdown(socket.SHUT_RDWR)
    victim.close()


@pytest.fixture
def node(make_server, authority, listener):
    tls = {**authority.issue(ONE, ONE, f"conference.{ONE}"), "trust": str(authority.file)}
    server = make_server(*SENDERS, domains=[ONE], s2s=True, tls=tls, settings=federation.settings(
        ack_timeout="1s", keep_for="6s", retry_for="1s"))
    federation.route(server, OTHER, listener.port)
    return server


def told(client):
    """The ids of what has come back so far."""
    client.pump(0.02)
    return [e.get("id") for e in client.inbox if e.get("type") == "error"]


@pytest.mark.sqlite
@pytest.mark.parametrize("kind", ["mute", "dead"])
@pytest.mark.parametrize("restart", [None, "restart", "kill"])
def test_messages_come_back_once_to_each_sender(node, listener, kind, restart):
    """After s2s.keep-for, also if our server is started again meanwhile."""
    senders = [node.client(name) for name in SENDERS]
    mute = Mute(listener)
    if kind == "dead":
        federation.route(node, OTHER, federation.free_port())
    for n in range(4):
        say(senders[n % 2], n)
    until("all are stored", lambda: pending(node) == 4)
    if kind == "mute":
        until("they have come", lambda: sorted(sum(mute.numbers(), [])) >= [0, 1, 2, 3])
    else:
        node.wait_log(f"event=s2s.failed domain={OTHER}")
    if restart:
        (node.kill if restart == "kill" else node.stop)()
        node.start()
        assert pending(node) == 4
        senders = [node.client(name) for name in SENDERS]
    assert not [told(client) for client in senders if told(client)]
    for client, ids in zip(senders, (["m0", "m2"], ["m1", "m3"])):
        until("errors", lambda client=client, ids=ids: told(client) == ids)
        assert {condition(e) for e in client.inbox if e.get("type") == "error"} == \
            {"remote-server-timeout"}
        client.inbox.clear()
    until("nothing waits", lambda: pending(node) == 0)
    federation.route(node, OTHER, listener.port)
    not_sent_again(node, mute, senders)


def not_sent_again(node, mute, senders):
    """The next stream has what is said next, and no more; nobody is told once more."""
    before = len(mute.readers)
    say(senders[0], 9)
    node.ctl_run("s2s", "retry", OTHER)  # refused if it does not pause
    until("a new stream with it", lambda: [9] in mute.numbers()[before:])
    assert not [numbers for numbers in mute.numbers()[before:] if set(numbers) - {9}]
    mute.readers[-1].confirm()
    until("it is confirmed", lambda: pending(node) == 0)
    for client in senders:
        client.expect_nothing("<message type='error'/>")


@pytest.mark.sqlite
@pytest.mark.parametrize("kind", ["mute", "dead"])
def test_what_a_room_says_to_a_foreign_occupant_comes_back_to_nobody(node, listener, authority,
                                                                     kind):
    """It is not stored: the archive of the room has it."""
    alice, carol = (node.client(name) for name in SENDERS)
    room = Room("cave", ONE)
    room.create(alice, "alice")
    room.enter(carol, "carol")
    there = federation.Peer(node, OTHER, f"conference.{ONE}", authority.issue("o", OTHER)).join()
    mute = Mute(listener)
    there.raw(f"<presence from='bob@{OTHER}/x' to='{room.at('bob')}'>"
              "<x xmlns='http://jabber.org/protocol/muc'/></presence>")
    for client in alice, carol:
        room.presence(client, "bob")
    until("he is in", lambda: any("status code='110'" in r.text for r in mute.readers))
    if kind == "dead":
        mute.readers[-1].confirm()
        federation.route(node, OTHER, federation.free_port())
        mute.readers[-1].cut()
    before = len(mute.readers)
    room.say(alice, "text 1")
    for client in alice, carol:
        room.expect_body(client, "alice", "text 1")
    node.wait_log(f"event=s2s.failed domain={OTHER} local=conference")
    until("nothing is kept for it", lambda: not [
        row for row in node.rows("s2s", "list", OTHER) if row["queue"] > 0
        and (row["direction"], row["local"]) == ("out", f"conference.{ONE}")])
    for client in alice, carol:
        client.ping()
        assert not [e for e in client.inbox if e.get("type") in ("error", "unavailable")]
    assert pending(node) == 0
    if kind == "mute":
        node.ctl_run("s2s", "retry", OTHER)  # refused if it does not pause
        say(alice, 9)
        until("a new stream with it",
              lambda: any(9 in numbers for numbers in mute.numbers()[before:]))
        assert not [n for n in mute.numbers()[before:] if 9 in n and 1 in n]
