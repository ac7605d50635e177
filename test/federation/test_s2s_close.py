"""Streams that end in order, as when an operator closes them: the next one follows at once."""
import re

import pytest

from harness import federation, xml
from harness.client import until
from harness.muc import Room
from federation.test_s2s_lost import ONE, OTHER, authority, listener, node, read_join, start

__all__ = ["authority", "listener", "node", "start"]
SM = f"<sm xmlns='{xml.SM}'/>"
ENABLED = f"<enabled xmlns='{xml.SM}'/>"
QUICK = 12  # attempts a minute that follow at once


def say(client, to, body):
    client.send(f"<message to='{to}' type='chat' id='m{body}'><body>{body}</body>"
                f"<origin-id xmlns='urn:xmpp:sid:0' id='o{body}'/></message>")


def pending(server):
    with server.database(read_only=True) as db:
        return db.execute("SELECT count(*) FROM message WHERE pending_out <> 0").fetchone()[0]


def failures(server):
    return re.findall("event=s2s.failed.*", server.log())


def end_in_order(listener):
    """The next stream, to its first message, which is not confirmed."""
    with listener.join(SM) as peer:
        listener.read_until(peer, "(?s)<enable .*<body>one</body>")
        peer.sendall(f"{ENABLED}</stream:stream>".encode())
        listener.read_until(peer, "</stream:stream>")


def test_streams_that_end_in_order_are_made_again_without_a_pause(node, listener):
    """Also if nothing was confirmed on the second one; but not without an end."""
    alice = node.client("alice")
    say(alice, f"bob@{OTHER}", "one")
    for _ in range(QUICK):
        end_in_order(listener)
    assert not failures(node)
    end_in_order(listener)
    end_in_order(listener)
    node.wait_log("event=s2s.failed .*the stream of the server has ended")
    assert len(failures(node)) == 1


@pytest.mark.sqlite
def test_streams_of_the_other_server_that_end_in_order_are_followed_at_once(node, listener,
                                                                            authority):
    """Stanzas went back on them (XEP-0288)."""
    alice = node.client("alice")
    cert = authority.issue("back", OTHER)
    for n in range(3):
        peer = federation.Peer(node, OTHER, ONE, cert).secure()
        peer.raw("<bidi xmlns='urn:xmpp:bidi'/>")
        assert peer.external() is None
        peer.header().features_come()
        peer.auto_ack = False
        peer.enable_sm()
        if n == 0:
            say(alice, f"bob@{OTHER}", "one")
        peer.expect("<message><body>one</body></message>")
        listener.leave()  # so that the next stream is theirs again
        peer.raw("</stream:stream>")
        peer.expect_closed()
    listener.come_back()
    assert not re.findall("event=s2s.failed.*has ended", node.log())


def test_an_attempt_that_an_operator_ends_is_followed_at_once(node, listener):
    """If none has failed before. `s2s list` says so until that one has failed, too."""
    alice = node.client("alice")
    say(alice, f"bob@{OTHER}", "one")
    peer, _ = listener.sock.accept()
    assert node.ctl("s2s", "close", OTHER)["text"] == "closed streams: 1"
    found, = node.rows("s2s", "list", OTHER)
    assert (found["state"], found["why"]) == ("connecting", "an operator has ended the attempt")
    peer.close()
    peer, _ = listener.sock.accept()
    peer.close()
    node.wait_log("event=s2s.failed .*the connection (ended|failed)")


def test_both_operators_close_a_stream_again_and_again(start):
    """In a flood in both directions: nothing is lost, and nothing waits for a pause, but behind
    streams that one after the other were closed before anything on them was confirmed, or while
    they were being made."""
    one, other = start("alice", ONE), start("bob", OTHER)
    federation.route(one, OTHER, other.s2s_port)
    federation.route(other, ONE, one.s2s_port)
    alice, bob = one.client("alice"), other.client("bob")
    for n in range(1500):
        say(alice, f"bob@{OTHER}", n)
        say(bob, f"alice@{ONE}", n)
        if n % 250 == 100:
            closes = [one.ctl_start("s2s", "close", OTHER), other.ctl_start("s2s", "close", ONE)]
            for close in closes:
                close.communicate()
    for client in bob, alice:
        for n in range(1500):
            client.expect(f"<message id='m{n}'/>")
    for server in one, other:
        in_vain = ("the stream of the server has ended", "the connection ended before it was used")
        assert not [line for line in failures(server) if "operator" not in line
                    and not line.endswith(tuple(f'why="{why}"' for why in in_vain))]


def test_what_comes_on_our_stream_before_its_end_is_taken(node, listener):
    """From a server that does not count: it would be lost (XEP-0288 without XEP-0198)."""
    alice = node.client("alice")
    say(alice, f"bob@{OTHER}", "one")
    with listener.secure(features=federation.EXTERNAL
                         + "<bidi xmlns='urn:xmpp:features:bidi'/>") as peer:
        listener.read_until(peer, "<auth.*</auth>")
        peer.sendall(f"<success xmlns='{xml.SASL}'/>".encode())
        listener.header(peer, "third", "")
        ping = listener.read_until(peer, "(?s)<body>one</body>.*<iq ([^>]*)><ping")[1]
        name = re.search("id='([^']*)'", ping)[1]
        peer.sendall(f"<iq type='result' id='{name}' from='{OTHER}' to='{ONE}'/>".encode())
        until("it is confirmed", lambda: pending(node) == 0)
        assert node.ctl("s2s", "close", OTHER)["text"] == "closed streams: 1"
        listener.read_until(peer, "</stream:stream>")
        peer.sendall(f"<message from='bob@{OTHER}' to='{alice.bare}'><body>late</body></message>"
                     "</stream:stream>".encode())
        alice.expect("<message><body>late</body></message>")


def test_what_comes_for_a_service_that_is_off_is_answered_and_ends_our_stream(node, listener):
    """From a server that does not count, and writes on our stream (XEP-0288): each is answered
    until it hears our end, and its own next stream hears that the domain is unknown."""
    alice, rooms = node.client("alice"), f"conference.{ONE}"
    cave = Room("cave", ONE).create(alice, "alice")
    alice.send(f"<message to='{cave.jid}'><x xmlns='http://jabber.org/protocol/muc#user'>"
               f"<invite to='bob@{OTHER}'/></x></message>")
    with listener.secure(features=federation.EXTERNAL
                         + "<bidi xmlns='urn:xmpp:features:bidi'/>") as peer:
        listener.read_until(peer, "<auth.*</auth>")
        peer.sendall(f"<success xmlns='{xml.SASL}'/>".encode())
        listener.header(peer, "third", "")
        listener.read_until(peer, "<invite ")
        node.ctl("set", "muc.enabled", "off")
        for kind, end in ("iq", "q"), ("message", "g"):
            peer.sendall(f"<{kind} type='{'get' if kind == 'iq' else 'chat'}' id='{end}' from='"
                         f"bob@{OTHER}/b' to='{rooms}'><query xmlns='urn:x'/></{kind}>".encode())
        text = listener.read_until(peer, "(?s).*</stream:stream>")[0]
    answer = re.search("<iq [^>]*>.*?</iq>", text)[0]
    assert "id='q'" in answer and "type='error'" in answer, answer
    again = federation.Peer(node, OTHER, rooms).header(origin=OTHER)
    again.expect_stream_error("host-unknown")


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
def test_a_break_behind_our_end_does_not_forget_what_has_arrived(node, listener, closed):
    """The next stream asks for the session, which the server does not resume any more, but of which
    it knows the last number (XEP-0198 §5)."""
    alice = node.client("alice")
    say(alice, f"bob@{OTHER}", "begin")
    with listener.join(SM) as peer:
        listener.read_until(peer, "(?s)<enable .*>begin</body>")
        peer.sendall(f"<enabled xmlns='{xml.SM}' id='abc' resume='true' max='60'/>"
                     f"<a xmlns='{xml.SM}' h='1'/>".encode())
        until("it is confirmed", lambda: pending(node) == 0)
        say(alice, f"bob@{OTHER}", "late")
        listener.read_until(peer, ">late</body>")
        if closed:
            node.ctl("s2s", "close", OTHER)
            listener.read_until(peer, "</stream:stream>")
    with listener.join(SM) as peer:
        listener.read_until(peer, "<resume [^>]*previd='abc'")
        peer.sendall(f"<failed xmlns='{xml.SM}' h='2'><item-not-found "
                     "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>".encode())
        until("it is confirmed", lambda: pending(node) == 0)
        say(alice, f"bob@{OTHER}", "again")
        assert ">late<" not in listener.read_until(peer, "(?s).*>again</body>")[0]


def test_an_end_instead_of_an_answer_to_enable_confirms_nothing(node, listener):
    """The answer would have come before: what is behind <enable/> has not been taken."""
    alice = node.client("alice")
    say(alice, f"bob@{OTHER}", 0)
    for _ in range(2):
        with listener.join(SM) as peer:  # <enable/> is not answered
            listener.read_until(peer, "<body>0</body>.*</message>")
            peer.sendall(b"</stream:stream>")
            listener.read_until(peer, "</stream:stream>")
    assert pending(node) == 1
    with listener.join() as peer:
        listener.read_until(peer, "<body>0</body>.*</message>")
        peer.sendall(b"</stream:stream>")
        listener.read_until(peer, "</stream:stream>")
    until("it is confirmed", lambda: pending(node) == 0)


@pytest.mark.parametrize("count, size", [(40, 200_000), (5, 10)])
def test_an_end_confirms_nothing_that_the_server_has_not_read(node, listener, count, size):
    """It counts nothing, and closes the connection with that unread: more than its system has room
    for, or less."""
    alice = node.client("alice")
    say(alice, f"bob@{OTHER}", 0)
    peer = listener.join()
    listener.read_until(peer, "<body>0</body>.*</message>")
    for i in range(1, count + 1):
        alice.send(f"<message to='bob@{OTHER}' type='chat' id='m{i}'><body>{'x' * size}</body>"
                   "</message>")
    alice.ping()
    peer.sendall(b"</stream:stream>")
    peer.close()
    reader = read_join(listener)
    until("all are confirmed", lambda: pending(node) == 0)
    assert re.findall("id='m([0-9]+)'", reader.text)[-count:] == \
        [str(i) for i in range(1, count + 1)]
    reader.cut()
