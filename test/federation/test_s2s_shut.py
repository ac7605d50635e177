"""Domains that may not speak to each other any more, while streams between them exist: what has
arrived does not go back to its senders, and nothing more is taken."""
import threading

import pytest

from harness import federation, partner, prosody, slow_disk, xml
from harness.client import until

ONE, TWO, EVIL = "one.test", "two.test", "evil.test"
BIDI = "<bidi xmlns='urn:xmpp:bidi'/>"
ERRORS = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
SM = f"<sm xmlns='{xml.SM}'/>"
ENABLED = f"<enabled xmlns='{xml.SM}'/>"
COUNT, ARRIVED = 6, 4  # so many are sent, and so many of them confirmed where they are counted


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def listener(authority):
    victim = federation.Listener(EVIL, authority.issue(EVIL, EVIL))
    yield victim
    victim.close()


def host(make_server, authority, listener, **options):
    """A host of two domains, each with an Alice, with a route to the server that the test plays."""
    tls = {**authority.issue("ours", ONE, TWO), "trust": str(authority.file)}
    server = make_server(domains=[ONE, TWO], s2s=True, tls=tls, **options)
    server.ctl("set", "s2s.policy", "open")  # which a test may change
    server.ctl("set", "s2s.multiplex", "on")
    for domain in ONE, TWO:
        server.add_user("alice", domain=domain)
    federation.route(server, EVIL, listener.port)
    return server


@pytest.fixture
def node(make_server, authority, listener):
    return host(make_server, authority, listener)


@pytest.fixture
def node_on_disk(make_server, authority, listener, disk):
    return host(make_server, authority, listener, disk=disk)


def say(client, *bodies):
    for body in bodies:
        client.send(f"<message to='bob@{EVIL}' type='chat'><body>{body}</body></message>")


def pending(server):
    with server.database(read_only=True) as db:
        return db.execute("SELECT count(*) FROM message WHERE pending_out <> 0").fetchone()[0]


class Sent:
    """A stream that we have opened. shared: for alice@two.test it is that of alice@one.test."""

    def __init__(self, node, listener, counts, shared):
        first = node.client("alice", domain=ONE)
        self.alice = node.client("alice", domain=TWO if shared else ONE)
        self.listener, self.counts, self.handled = listener, counts, 0
        say(first, "begin")
        self.peer = listener.join(ERRORS + (SM if counts else ""))
        listener.read_until(self.peer, ">begin</body>")
        if counts:
            self.peer.sendall(f"{ENABLED}<a xmlns='{xml.SM}' h='1'/>".encode())
            until("it is confirmed", lambda: pending(node) == 0)
            self.handled = 1
        if shared:
            say(self.alice, 0)
            listener.read_until(self.peer, f"<db:result [^>]*from='{TWO}'")
            self.peer.sendall(f"<db:result from='{EVIL}' to='{TWO}' type='valid'/>".encode())
            say(self.alice, *range(1, COUNT))
        else:
            say(self.alice, *range(COUNT))
        listener.read_until(self.peer, f">{COUNT - 1}</body>")

    def say(self, text):
        self.peer.sendall(text.encode())

    def until_end(self):
        self.listener.read_until(self.peer, "</stream:stream>")

    def confirm(self):
        """Some of it, where that can be said; else all, by the end."""
        if self.counts:
            self.say(f"<a xmlns='{xml.SM}' h='{self.handled + ARRIVED}'/>")
        self.say("</stream:stream>")


class Received:
    """A stream of the other server, on which stanzas go back (XEP-0288). late: it counts them from
    after its first stanza on, with which ours begin to go back. more: so many are counted."""

    def __init__(self, node, authority, counts, late=False, more=COUNT):
        self.alice, self.counts = node.client("alice", domain=ONE), counts
        peer = federation.Peer(node, EVIL, ONE, authority.issue("back", EVIL)).secure()
        peer.raw(BIDI)
        assert peer.external() is None
        peer.header().features_come()
        self.peer = peer
        peer.auto_ack = False
        if counts and not late:
            peer.enable_sm()
        peer.raw(f"<message from='bob@{EVIL}' to='{self.alice.bare}'><body>begin</body></message>")
        self.alice.expect("<message><body>begin</body></message>")
        if late:
            say(self.alice, "first")
            peer.expect("<message><body>first</body></message>")
            peer.enable_sm()
        say(self.alice, *range(more))
        for n in range(more):
            peer.expect(f"<message><body>{n}</body></message>")

    def say(self, text):
        self.peer.raw(text)

    def until_end(self):
        if not self.counts:  # else it ends when all is confirmed, or after a while
            self.peer.wait("our end", lambda: self.peer.reader.ended)

    def confirm(self):
        if self.counts:
            self.peer.ack(ARRIVED)
        else:
            self.say("</stream:stream>")


@pytest.fixture
def link(node, listener, authority):
    def make(kind, counts):
        if kind in ("back", "late"):
            return Received(node, authority, counts, kind == "late")
        return Sent(node, listener, counts, kind == "shared")
    return make


def shut_by_policy(node):
    node.ctl("set", "s2s.policy", "off")


def shut_by_rule(node):
    node.ctl("federation", "block", EVIL)


def errors(client):
    return [e for e in client.inbox if e.tag.endswith("}message") and e.get("type") == "error"]


@pytest.mark.sqlite
@pytest.mark.parametrize("kind, counts", [
    *((kind, counts) for kind in ("own", "shared", "back") for counts in (True, False)),
    ("late", True)])
@pytest.mark.parametrize("shut", [shut_by_policy, shut_by_rule])
def test_what_has_arrived_does_not_go_back(node, link, shut, kind, counts):
    there = link(kind, counts)
    shut(node)
    there.until_end()
    there.say(f"<message from='bob@{EVIL}' to='{there.alice.bare}'><body>late</body></message>"
              if kind in ("back", "late") else "")
    there.confirm()
    gone = COUNT - ARRIVED if counts else 0
    until("what has not arrived", lambda: there.alice.pump(0.01) or
          len(errors(there.alice)) == gone)
    until("nothing waits", lambda: pending(node) == 0)
    there.alice.ping()
    assert len(errors(there.alice)) == gone
    assert not [e for e in there.alice.inbox if e.findtext(f"{{{xml.CLIENT}}}body") == "late"]


@pytest.mark.sqlite
@pytest.mark.parametrize("kind", ["own", "shared", "back"])
def test_a_server_that_never_confirms_is_not_waited_for_long(node, link, kind):
    there = link(kind, False)
    shut_by_policy(node)
    there.until_end()
    until("all go back", lambda: there.alice.pump(0.01) or len(errors(there.alice)) >= COUNT)
    until("nothing waits", lambda: pending(node) == 0)


@pytest.mark.sqlite
@pytest.mark.parametrize("counts", [True, False], ids=["0198", "without"])
def test_the_other_domain_goes_on_with_a_stream_of_its_own(node, listener, link, counts):
    """Only the one that shares the stream of the other is shut out."""
    there = link("shared", counts)
    other = node.client("alice", domain=ONE)
    node.ctl("set", f"s2s.policy@{TWO}", "off")
    there.until_end()
    say(other, "again")
    there.confirm()
    gone = COUNT - ARRIVED if counts else 0
    with listener.join() as own:
        listener.read_until(own, ">again</body>")
        own.sendall(b"</stream:stream>")
        listener.read_until(own, "</stream:stream>")
    until("what has not arrived", lambda: there.alice.pump(0.01) or
          len(errors(there.alice)) == gone)
    until("nothing waits", lambda: pending(node) == 0)
    assert not errors(other)


@pytest.mark.sqlite
@pytest.mark.parametrize("kind, counts", [
    *((kind, counts) for kind in ("own", "shared", "back") for counts in (True, False)),
    ("late", True)])
def test_a_stream_that_an_operator_closes_repeats_nothing_that_has_arrived(node, listener, link,
                                                                           kind, counts):
    """Of a domain that shares it, too, and on the stream of the other server."""
    there = link(kind, counts)
    node.ctl("s2s", "close", EVIL)
    there.until_end()
    there.confirm()
    say(there.alice, "again")
    with listener.join() as next_one:
        text = listener.read_until(next_one, "(?s).*>again</body>")[0]
    late = [n for n in range(COUNT) if f"<body>{n}</body>" in text]
    assert late == (list(range(ARRIVED, COUNT)) if counts else [])


@pytest.mark.sqlite
@pytest.mark.parametrize("kind", ["back", "late"])
def test_a_received_stream_is_in_use_until_it_has_confirmed_all(node, link, kind):
    """What comes meanwhile is taken and acknowledged; then it ends, without an error."""
    there = link(kind, True)
    for _ in range(2):  # the second changes nothing
        node.ctl("s2s", "close", EVIL)
    there.say(f"<message from='bob@{EVIL}' to='{there.alice.bare}'><body>late</body></message>")
    there.alice.expect("<message><body>late</body></message>")
    there.peer.ack(COUNT)
    there.peer.expect_closed()
    assert there.peer.acked == (1 if kind == "late" else 2)
    until("nothing waits", lambda: pending(node) == 0)
    there.alice.ping()
    assert not errors(there.alice)


@pytest.mark.sqlite
def test_a_first_stanza_that_nobody_counts_is_confirmed_by_the_end(node, listener, authority):
    """What comes behind our end is not taken: no acknowledgement can follow."""
    there = Received(node, authority, True, late=True, more=0)
    node.ctl("s2s", "close", EVIL)
    there.peer.wait("our end", lambda: there.peer.reader.ended)
    there.say(f"<message from='bob@{EVIL}' to='{there.alice.bare}'><body>late</body></message>"
              "</stream:stream>")
    there.peer.expect_closed()
    say(there.alice, "again")
    with listener.join() as next_one:
        text = listener.read_until(next_one, "(?s).*>again</body>")[0]
    assert "<body>first</body>" not in text
    there.alice.ping()
    assert not [e for e in there.alice.inbox if e.findtext(f"{{{xml.CLIENT}}}body") == "late"]


@pytest.mark.sqlite
def test_nobody_writes_on_a_stream_that_is_being_ended(node, listener, link):
    """A second pair of domains is shut out, and the first goes on with a stream of its own."""
    there = link("back", True)
    there.peer.result("key", to=TWO)
    there.peer.wait("the answer", lambda: there.peer._take(
        lambda e: e.tag.endswith("}result") and e.get("type") == "valid"))
    node.ctl("set", f"s2s.policy@{TWO}", "off")
    say(there.alice, "on")
    until("it has come here", lambda: pending(node) == COUNT + 1)
    there.peer.ack(COUNT)
    there.peer.expect_stream_error("reset")
    assert there.peer.h == COUNT
    with listener.join() as own:
        listener.read_until(own, ">on</body>")


@pytest.mark.sqlite
@pytest.mark.skipif(not prosody.is_here(), reason="no Prosody, or no dnsmasq")
@pytest.mark.parametrize("first", ["alice", "bob"])
@pytest.mark.parametrize("more", ["", '"smacks";'], ids=["without", "0198"])
def test_what_prosody_has_got_does_not_go_back(make_server, tmp_path, more, first):
    """On a stream that we have opened, or on its own."""
    started = []
    try:
        ours, theirs = partner.start(make_server, tmp_path, prosody.Prosody, started,
                                     more=f'"s2s_bidi"; {more}')
        alice, bob = ours.client("alice"), theirs.client("bob")
        pair = (alice, bob) if first == "alice" else (bob, alice)
        partner.talk(*pair, "to")
        partner.talk(*reversed(pair), "back")
        for n in range(10):
            alice.send(f"<message to='{bob.bare}' type='chat'><body>late {n}</body></message>")
        for n in range(10):
            bob.expect(f"<message><body>late {n}</body></message>")
        ours.ctl("federation", "block", partner.THEIRS)
        until("nothing waits", lambda: pending(ours) == 0)
        until("the streams have ended", lambda: "up" not in [
            row["state"] for row in ours.rows("s2s", "list", partner.THEIRS)])
        alice.ping()
        assert not errors(alice)
    finally:
        for process in started:
            process.finish()


def test_what_was_not_written_on_a_way_back_is_not_confirmed_by_what_is(node, listener, authority):
    """Allowed for a moment while the other server hears farewells: a message of that moment is not
    written there, and a later farewell does not take its place."""
    listener.leave()
    alice = node.client("alice", domain=ONE)
    way = federation.Peer(node, EVIL, ONE, cert=authority.issue("third", EVIL))
    way.secure()
    way.raw(BIDI)
    assert way.external() is None
    way.header().features_come()
    way.enable_sm()
    way.raw(f"<message from='bob@{EVIL}' to='alice@{ONE}' type='headline'><body>x</body></message>")
    alice.send(f"<presence to='bob@{EVIL}'/>")
    until("it is counted", lambda: (way.pump(0.1), f"{{{xml.SM}}}r" in [e.tag for e in way.log])[1])
    node.ctl("federation", "block", EVIL)
    node.ctl("federation", "allow", EVIL)
    say(alice, "between")
    alice.send(f"<presence to='bob@{EVIL}'/>")
    alice.ping()
    node.ctl("federation", "block", EVIL)
    until("its end", lambda: (way.pump(0.1), way.eof)[1])
    bodies = [e.findtext("{jabber:client}body") for e in way.log if e.tag.endswith("}message")]
    assert bodies == []
    alice.expect("<message type='error'/>")


ENDS = {
    "blocked": lambda node: node.ctl("federation", "block", EVIL),
    "closed": lambda node: node.ctl("s2s", "close", EVIL),
    "silent": lambda node: None,  # nothing that asks for an answer gets one
}


@pytest.mark.parametrize("how", ENDS)
def test_what_was_handled_is_acknowledged_before_the_end(node, authority, how):
    """Nothing asks for it, and what is not counted was written back, so our half ends first."""
    node.ctl("set", "s2s.ack-timeout", "4s" if how == "silent" else "30s")
    there = Received(node, authority, True, late=True, more=0)
    for n in range(3):
        there.peer.raw(f"<message from='bob@{EVIL}' to='{there.alice.bare}'><body>x{n}</body>"
                       "</message>")
        there.alice.expect(f"<message><body>x{n}</body></message>")
    ENDS[how](node)
    there.peer.expect_closed()
    assert [e.get("h") for e in there.peer.log if e.tag == f"{{{xml.SM}}}a"][-1:] == ["3"]


@pytest.mark.sqlite
def test_what_is_under_way_at_the_end_of_a_way_back_comes_once(node_on_disk, disk, listener,
                                                               authority):
    """Each direction waits for the other: what comes is handled and acknowledged, and what was
    written back before anything was counted is confirmed by the end of the other side."""
    node = node_on_disk
    there = Received(node, authority, True, late=True, more=0)
    disk.turn(sync_ms=slow_disk.STILL)
    there.peer.raw("".join(f"<message from='bob@{EVIL}' to='{there.alice.bare}'><body>x{n}</body>"
                           "</message>" for n in range(3)))
    later = threading.Timer(2, disk.turn, kwargs={"sync_ms": 0})
    later.start()
    node.ctl("s2s", "close", EVIL)
    there.peer.wait("our end", lambda: there.peer.reader.ended)
    there.peer.raw("</stream:stream>")
    there.peer.expect_closed()
    later.join()
    assert there.peer.acked == 3
    for n in range(3):
        there.alice.expect(f"<message><body>x{n}</body></message>")
    say(there.alice, "again")
    with listener.join() as next_one:
        text = listener.read_until(next_one, "(?s).*>again</body>")[0]
    assert "<body>first</body>" not in text


def test_what_is_behind_an_enable_that_crosses_our_end_is_not_taken(node, authority):
    """It is not acknowledged, so it comes again on the next stream."""
    alice = node.client("alice", domain=ONE)
    cert = authority.issue("back", EVIL)
    peer = federation.Peer(node, EVIL, ONE, cert).join()
    node.ctl("s2s", "close", EVIL)
    peer.wait("our end", lambda: peer.reader.ended)
    text, more = (f"<message from='bob@{EVIL}' to='{alice.bare}' id='{n}'><body>text</body>"
                  "</message>" for n in ("m", "n"))
    peer.raw(f"<enable xmlns='{xml.SM}' resume='true'/>{text}</stream:stream>")
    peer.expect_closed()
    again = federation.Peer(node, EVIL, ONE, cert).join()
    again.raw(text + more)
    alice.expect_next("<message id='m'/>")
    alice.expect_next("<message id='n'/>")
