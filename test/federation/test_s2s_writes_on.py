"""A stream that our server ends while the other one is still writing on it: not every server sends
again what our end has crossed. With XEP-0198 it is told what was taken before the end; so the end
waits until the other server is silent."""
import re
import signal
import time

import pytest

from harness import across, federation, partner, prosody, xml
from harness.client import until
from harness.wire import Wire
from federation.test_s2s_in_sm import EVIL, authority, join, message, node, start

__all__ = ["authority", "join", "node", "start"]
FEATURES = federation.EXTERNAL + "<bidi xmlns='urn:xmpp:features:bidi'/>"
MUC = "http://jabber.org/protocol/muc"


class Theirs:
    """A stream that the other server has opened. It asks behind each message whether that was
    taken."""

    def __init__(self, node, join, alice):
        self.peer, self.count = join(node), 0
        self.writes()

    def writes(self):
        self.count += 1
        self.peer.raw(message(f"m{self.count}"))
        self.peer.request_ack()
        self.peer.wait("it is taken", lambda: self.taken() == self.count or self.peer.eof)

    def taken(self):
        return self.peer.acked

    def is_ended(self):
        self.peer.pump(0)
        return self.peer.eof or self.peer.reader.ended

    def ends(self):
        self.peer.expect_closed()


class Ours:
    """One that we have opened: the other server writes on it, too (XEP-0288)."""

    def __init__(self, node, join, alice):
        listener = federation.Listener(EVIL, join.authority.issue("ours", EVIL))
        federation.route(node, EVIL, listener.port)
        alice.send(f"<message to='bob@{EVIL}' type='chat'><body>first</body></message>")
        self.peer = listener.secure(features=FEATURES)
        listener.close()
        listener.read_until(self.peer, "<auth.*</auth>")
        self.peer.sendall(f"<success xmlns='{xml.SASL}'/>".encode())
        listener.header(self.peer, "third", f"<sm xmlns='{xml.SM}'/>")
        listener.read_until(self.peer, "(?s)<enable .*<body>first</body>")
        self.peer.sendall(f"<enabled xmlns='{xml.SM}' id='s' resume='true'/>"
                          f"<a xmlns='{xml.SM}' h='1'/>".encode())
        self.text, self.count = "", 0
        self.writes()

    def writes(self):
        self.count += 1
        self.peer.sendall((message(f"m{self.count}") + f"<r xmlns='{xml.SM}'/>").encode())
        while self.taken() < self.count and not self.is_ended():
            self.read()

    def read(self):
        data = self.peer.recv(65536)
        self.text += data.decode() if data else "</stream:stream>"

    def taken(self):
        return max(map(int, re.findall("<a [^>]*h=['\"]([0-9]+)", self.text)), default=0)

    def is_ended(self):
        return "</stream:stream>" in self.text

    def ends(self):
        while not self.is_ended():
            self.read()
        self.peer.sendall(b"</stream:stream>")
        self.peer.close()


@pytest.fixture(params=[Theirs, Ours])
def other(request, node, join, authority):
    join.authority = authority
    other = request.param(node, join, node.client("alice"))
    yield other
    other.peer.close() if isinstance(other, Ours) else other.peer.sock.close()


def closing(node):
    """`s2s close` is under way: a function that says so."""
    command = node.ctl_start("s2s", "close", EVIL)
    return lambda: command.poll() is None


def stopping(node):
    """The same of a stop, until it has begun."""
    node.signal(signal.SIGTERM)
    return lambda: "event=server.stopping" not in node.log()


@pytest.mark.parametrize("end", [closing, stopping])
def test_what_comes_while_a_stream_is_being_ended_is_taken(node, other, end):
    begins = end(node)
    while begins():
        other.writes()
    for _ in range(3):
        other.writes()
    other.ends()
    assert other.taken() == other.count
    if end is stopping:
        node.wait_exit()


@pytest.mark.sqlite
@pytest.mark.parametrize("end", [closing, stopping])
def test_a_server_that_never_falls_silent_is_told_what_was_taken(node, other, end):
    """What is behind that, it knows as not taken."""
    end(node)
    while not other.is_ended():
        other.writes()
    assert other.count - 1 <= other.taken() <= other.count
    if end is stopping:
        node.wait_exit()
    with node.database(read_only=True) as db:
        arrived, = db.execute("SELECT count(*) FROM message WHERE stanza LIKE '%<body>m%'"
                              ).fetchone()
    assert arrived == other.taken()


@pytest.mark.skipif(not prosody.is_here(), reason="no Prosody, or no dnsmasq")
@pytest.mark.parametrize("more", ["", '"smacks";', '"smacks"; "s2s_bidi";'],
                         ids=["plain", "counted", "both"])
@pytest.mark.parametrize("domain", [partner.THEIRS, f"conference.{partner.THEIRS}"])
def test_prosody_gives_nothing_back_when_its_stream_is_closed(make_server, tmp_path, more, domain):
    """It would return what is not acknowledged to its users, and take occupants of its rooms for
    gone."""
    started, room = [], f"far@conference.{partner.THEIRS}"
    try:
        ours, theirs = partner.start(make_server, tmp_path, prosody.Prosody, started, more=more,
                                     conference=f"modules_enabled = {{ {more} }}")
        alice, bob = ours.client("alice"), theirs.client("bob")
        for client in bob, alice:
            client.send(f"<presence to='{room}/{client.name}'><x xmlns='{MUC}'/></presence>")
            client.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
            if client is bob:
                bob.result("set", "<query xmlns='http://jabber.org/protocol/muc#owner'>"
                           "<x xmlns='jabber:x:data' type='submit'/></query>", to=room)
        partner.talk(alice, bob, "to")
        partner.talk(bob, alice, "back")

        def bob_writes(n):
            bob.send(f"<message to='{alice}' type='chat' id='c{n}'><body>{n}</body></message>")
            bob.send(f"<message to='{room}' type='groupchat' id='g{n}'><body>{n}</body></message>")
            bob.ping()

        before = theirs.log().count("</stream:stream>")
        close, n = ours.ctl_start("s2s", "close", domain), 0
        while close.poll() is None or n < 20:
            bob_writes(n)
            n += 1
        for kind in "c", "g":
            for i in range(n):
                alice.expect(f"<message id='{kind}{i}'/>")
        until("our end has come", lambda: theirs.log().count("</stream:stream>") > before)
        bob.ping()
        assert not [xml.canonical(e) for e in bob.log if e.get("type") == "error"]
        alice.send(f"<message to='{room}' type='groupchat' id='still'><body>in</body></message>")
        bob.expect("<message id='still'/>")
    finally:
        for process in started:
            process.finish()


@pytest.mark.parametrize("closes", ["who has connected", "who was connected to"])
@pytest.mark.parametrize("held", ["d", "m"])
def test_what_comes_behind_our_end_is_sent_again(make_server, tmp_path, closes, held):
    """One direction stands still, so not all is confirmed when a stream is closed: the session is
    kept. What the other server writes behind the end was not taken, and the next stream says so."""
    one, other = across.start(make_server, tmp_path)
    wire = Wire(one.s2s_port)
    across.route(other, across.ONE, wire.port)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.mark(bob, alice)
    across.mark(alice, bob)
    wire.say(held)
    closed, speaks, hears = ((other, alice, bob) if closes == "who has connected" else
                             (one, bob, alice))
    said = [(hears, speaks, "first")]
    say(*said[0])
    hears.ping()
    closed.ctl("s2s", "close", across.ONE if closed is other else across.OTHER)
    begun = time.monotonic()
    until("its end has gone, after 0.2 s of silence", lambda: time.monotonic() > begun + 0.6)
    while time.monotonic() < begun + 1.2:
        said.append((speaks, hears, f"m{len(said)}"))
        say(*said[-1])
        speaks.ping()
    wire.say("c")
    for client in alice, bob:
        expected = [text for _, to, text in said if to is client]
        until("all of them", lambda c=client, e=expected: heard(c) == e)


def say(sender, to, text):
    sender.send(f"<message to='{to.jid}' type='chat' id='{text}'><body>{text}</body></message>")


def heard(client):
    client.ping()
    return list(dict.fromkeys(e.get("id") for e in client.log if e.get("type") == "chat"))
