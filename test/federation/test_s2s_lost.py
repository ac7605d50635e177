"""What a server of ours has acknowledged reaches the other server: over streams that break, servers
that are killed, and domains that are away for long."""
import contextlib
import itertools
import re
import select
import signal
import socket
import threading
import time

import pytest

from harness import federation, xml
from harness.client import until
from harness.wire import Wire

ONE, OTHER = "one.test", "other.test"
SM = "<sm xmlns='urn:xmpp:sm:3'/>"
NOT_STORED = "<no-store xmlns='urn:xmpp:hints'/>"


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


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def start(make_server, authority):
    """A function that starts a server of ours."""
    def one(user, domain, **more):
        tls = {**authority.issue(domain, domain), "trust": str(authority.file)}
        return make_server(user, domains=[domain], s2s=True, tls=tls,
                           settings=federation.settings(**more))
    return one


@pytest.fixture
def pair(start):
    """alice@one.test to bob@other.test over a wire."""
    one, other = start("alice", ONE, ack_timeout="2s"), start("bob", OTHER)
    wire = Wire(other.s2s_port)
    federation.route(one, OTHER, wire.port)
    federation.route(other, ONE, one.s2s_port)
    yield one, other, wire
    wire.close()


@pytest.fixture
def listener(authority):
    victim = federation.Listener(OTHER, authority.issue("victim", OTHER))
    yield victim
    victim.close()


@pytest.fixture
def node(start, listener):
    """With a route to a server that the test plays."""
    server = start("alice", ONE)
    federation.route(server, OTHER, listener.port)
    return server


def say(client, n, more="", to=f"bob@{OTHER}"):
    client.send(f"<message to='{to}' type='chat' id='m{n}'><body>text {n}</body>"
                f"<origin-id xmlns='urn:xmpp:sid:0' id='o{n}'/>{more}</message>")


def flood(client, begin, end):
    for n in range(begin, end):
        say(client, n)


def hear(client, begin, end):
    """Each once, in this order."""
    for n in range(begin, end):
        client.expect(f"<message id='m{n}'><body>text {n}</body></message>")
    assert not [e for e in client.inbox if e.tag.endswith("}message")]


def pending(server):
    with server.database(read_only=True) as db:
        return db.execute("SELECT count(*) FROM message WHERE pending_out <> 0").fetchone()[0]


def until_confirmed(server):
    until("all are confirmed", lambda: pending(server) == 0)


def sm_join(listener, answer, features=SM):
    """The next stream, up to the answer to <enable/> or <resume/>: its socket, and the request."""
    peer = listener.secure()
    listener.read_until(peer, "<auth.*</auth>")
    peer.sendall(f"<success xmlns='{xml.SASL}'/>".encode())
    listener.header(peer, "third", features)
    asked = listener.read_until(peer, "<(?:enable|resume) [^>]*/>")
    peer.sendall(answer.encode())
    return peer, asked


ENABLED = "<enabled xmlns='urn:xmpp:sm:3' id='session' resume='true'/>"


def texts(listener, peer, last, text=""):
    """What comes up to that message: the numbers of all."""
    found = listener.read_until(peer, rf"(?s).*<body>text {last}</body>.*?</message>") if \
        f"text {last}<" not in text else None
    return [int(n) for n in re.findall(r"<body>text (\d+)</body>", text + (found.string if found
                                                                           else ""))]


POISON = "<x xmlns='poison'/>"


STANZA = re.compile(r"</(?:message|iq|presence)>|<(?:message|iq|presence)\b[^>]*/>")  # its end


class Reader:
    """Reads what comes on a stream to a server that the test plays; confirms it if it is told to,
    by XEP-0198, up to POISON. breaks: resets the connection when that comes."""

    def __init__(self, peer, text="", confirms=False, breaks=False):
        self.peer, self.text, self.confirms, self.ended = peer, text, confirms, False
        self.breaks = breaks
        self.answered, self.lock = 0, threading.Lock()  # a TLS socket is for one at a time
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            self._answer()
            while not (self.breaks and POISON in self.text) and (data := self._read()):
                self.text += data.decode(errors="replace")
                self._answer()
            if self.breaks:
                Wire._reset(self.peer)
        except OSError:
            pass
        self.ended = True

    def _read(self):
        if not self.peer.pending():
            select.select([self.peer], [], [])
        with self.lock:
            return self.peer.recv(65536)

    def say(self, text):
        with self.lock:
            self.peer.sendall(text.encode())

    def cut(self):
        with self.lock:
            self.peer.shutdown(socket.SHUT_RDWR)

    def _answer(self):
        asked = self.text.count(f"<r xmlns='{xml.SM}'/>")
        if self.confirms and asked > self.answered:
            self.answered = asked
            self.confirm()

    def confirm(self):
        count = len(STANZA.findall(self.text.partition(POISON)[0]))
        self.say(f"<a xmlns='{xml.SM}' h='{count}'/>")

    def numbers(self):
        return [int(n) for n in re.findall(r"<body>text (\d+)</body>.*?</message>", self.text)]


def read_join(listener, confirms=True, breaks=False):
    """The next stream, with XEP-0198, and a session that cannot be resumed."""
    peer, asked = sm_join(listener, "<enabled xmlns='urn:xmpp:sm:3'/>")
    return Reader(peer, asked.string[asked.end():], confirms, breaks)


def listen_again(node, listener):
    listener.come_back()
    node.ctl("s2s", "retry", OTHER)


# --- between two servers of ours ---


def test_connections_that_are_cut_in_a_flood_lose_nothing(pair):
    one, other, wire = pair
    alice, bob = one.client("alice"), other.client("bob")
    say(alice, 0)
    hear(bob, 0, 1)
    for n in range(5):
        seen = wire.seen
        flood(alice, 1 + 100 * n, 51 + 100 * n)
        until("some of them are under way", lambda seen=seen: wire.seen > seen + 500)
        wire.say("c")
        flood(alice, 51 + 100 * n, 101 + 100 * n)
    hear(bob, 1, 501)
    until_confirmed(one)


def test_a_connection_that_is_dead_without_a_word_is_found_out(pair):
    one, other, wire = pair
    alice, bob = one.client("alice"), other.client("bob")
    say(alice, 0)
    hear(bob, 0, 1)
    until_confirmed(one)
    wire.say("f")
    flood(alice, 1, 20)
    one.wait_log("event=s2s.lost.*s2s.ack-timeout")
    wire.say("c")
    hear(bob, 1, 20)
    until_confirmed(one)


def acknowledged(client):
    """How many stanzas of it are acknowledged."""
    client.raw(f"<r xmlns='{xml.SM}'/>")
    client.pump(0.05)
    return client.acked


def stored(server):
    """The numbers of the messages in its archive, in order."""
    with server.database(read_only=True) as db:
        rows = db.execute("SELECT stanza FROM message ORDER BY id").fetchall()
    return [int(found[1]) for row in rows if (found := re.search(r" id='m(\d+)'", row[0]))]


@pytest.mark.parametrize("who", ["receiver", "sender"])
def test_a_server_that_is_killed_in_a_flood_loses_nothing_acknowledged(pair, who):
    one, other, wire = pair
    alice, bob = one.client("alice"), other.client("bob")
    alice.enable_sm()
    say(alice, 0)
    hear(bob, 0, 1)
    flood(alice, 1, 300)
    victim = one if who == "sender" else other
    until("some are acknowledged", lambda: acknowledged(alice) > 50)
    sure = acknowledged(alice)
    victim.kill()
    if who == "receiver":
        until("the rest is acknowledged", lambda: acknowledged(alice) >= 300)
        sure = 300
    victim.start()
    until("all that was acknowledged", lambda: set(range(1, sure)) <= set(stored(other)))
    until_confirmed(one)
    first = list(dict.fromkeys(stored(other)))
    assert first == sorted(first)
    if who == "receiver":
        assert stored(other) == first  # it knows repeats by their origin-ids


def test_a_planned_restart_loses_nothing_and_repeats_nothing(pair):
    one, other, _ = pair
    alice, bob = one.client("alice"), other.client("bob")
    flood(alice, 0, 50)
    hear(bob, 0, 50)
    flood(alice, 50, 100)
    alice.ping()  # the server has read them: nobody promises what is still in a socket
    one.restart()
    hear(bob, 50, 100)
    until_confirmed(one)
    bob.expect_nothing()


def test_a_planned_restart_in_a_flood_loses_and_repeats_nothing_that_was_read(pair):
    """What the server has not read is the end of the flood, and nothing else is missing."""
    one, other, wire = pair
    alice, bob = one.client("alice"), other.client("bob")
    say(alice, 0)
    hear(bob, 0, 1)
    seen = wire.seen
    flood(alice, 1, 100)
    until("some are under way", lambda: wire.seen > seen)
    one.restart()
    read = stored(one)
    assert len(read) > 1 and read == list(range(len(read)))
    hear(bob, 1, len(read))
    until_confirmed(one)
    bob.expect_nothing()
    assert stored(other) == read


def test_servers_that_stop_at_the_same_time_agree_on_what_has_arrived(start):
    """In a flood: what the other one has is not sent again."""
    one, other = start("alice", ONE), start("bob", OTHER)
    federation.route(one, OTHER, other.s2s_port)
    federation.route(other, ONE, one.s2s_port)
    alice, bob = one.client("alice"), other.client("bob")
    say(alice, 0)
    hear(bob, 0, 1)
    flood(alice, 1, 1500)
    until("some are there", lambda: len(stored(other)) > 100)
    for server in other, one:
        server.signal(signal.SIGTERM)
    for server in other, one:
        server.wait_exit()
    assert pending(one) == len(stored(one)) - len(stored(other))
    for server in other, one:
        server.start()
    until_confirmed(one)
    assert stored(other) == stored(one)


# --- a server that is away ---


def test_stored_messages_wait_longer_than_others(node, listener):
    alice = node.client("alice")
    listener.leave()
    node.ctl("set", "s2s.retry-for", "0s")
    say(alice, 0)
    say(alice, 1, NOT_STORED)
    error = alice.expect("<message type='error'/>")
    assert error.get("id") == "m1"
    assert xml.condition(error.find(f"{{{xml.CLIENT}}}error")) == "remote-server-timeout"
    say(alice, 2)
    until("both are stored", lambda: pending(node) == 2)
    node.kill()
    node.start()
    alice = node.client("alice")
    say(alice, 3)
    alice.expect_nothing("<message type='error'/>")
    until("all are stored", lambda: pending(node) == 3)
    listener.come_back()
    node.ctl("s2s", "retry", OTHER)
    peer, asked = sm_join(listener, ENABLED)
    assert texts(listener, peer, 3, asked.string) == [0, 2, 3]
    peer.sendall(b"<a xmlns='urn:xmpp:sm:3' h='3'/>")
    until_confirmed(node)
    peer.close()


def test_messages_that_have_waited_for_long_say_since_when(node, listener):
    alice = node.client("alice")
    listener.leave()
    say(alice, 0)
    alice.ping()
    node.stop()
    with node.database() as db:
        db.execute("UPDATE message SET at_us = at_us - 60000000 WHERE pending_out <> 0")
        if not node.url:
            db.commit()
    listener.come_back()
    node.start()
    peer, asked = sm_join(listener, ENABLED)
    text = asked.string
    if "</message>" not in text:
        text += listener.read_until(peer, "(?s).*</message>")[0]
    assert f"<delay xmlns='urn:xmpp:delay' from='{ONE}' stamp='" in text
    peer.close()


def test_a_server_that_does_not_know_the_domain_is_believed(node, listener):
    """What is not stored is answered at once, and a message waits: it may be set up soon."""
    node_says = (f"<stream:stream xmlns='jabber:server' xmlns:stream='{xml.STREAM}' version='1.0' "
                 "id='x'><stream:error><host-unknown "
                 "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")

    def unknown():
        while True:
            try:
                peer, _ = listener.sock.accept()
            except OSError:  # the test is over
                return
            with peer:
                listener.read_until(peer, "<stream:stream [^>]*>")
                peer.sendall(node_says.encode())
    threading.Thread(target=unknown, daemon=True).start()
    alice = node.client("alice")
    say(alice, 0)
    begin = time.monotonic()
    assert alice.error("get", "<ping xmlns='urn:xmpp:ping'/>",
                       to=OTHER)[0] == "remote-server-not-found"
    assert time.monotonic() - begin < 10
    until("the message is kept", lambda: pending(node) == 1)
    alice.expect_nothing("<message type='error'/>")


def has_all(server):
    """Whether the database knows that the only user has all that came."""
    with server.database(read_only=True) as db:
        found = db.execute("SELECT b.cursor >= (SELECT max(rcpt_entry) FROM message)"
                           " FROM mailbox b").fetchone()
    return found is not None and found[0]


def test_the_sender_is_told_once_when_a_message_has_waited_too_long(node, listener):
    alice = node.client("alice")
    listener.leave()
    node.ctl("set", "s2s.retry-for", "0s")
    node.ctl("set", "s2s.keep-for", "2s")
    say(alice, 0)
    error = alice.expect("<message type='error'/>")
    assert error.get("id") == "m0"
    assert xml.condition(error.find(f"{{{xml.CLIENT}}}error")) == "remote-server-timeout"
    assert pending(node) == 0
    until("it is written that she has the error", lambda: has_all(node))
    node.kill()
    node.start()
    alice = node.client("alice")
    alice.expect_nothing("<message type='error'/>")
    until("nothing to do", lambda: node.rows("s2s", "list") == [])


def test_what_cannot_be_kept_in_memory_is_kept_in_the_database(node, listener):
    alice = node.client("alice")
    listener.leave()
    node.ctl("set", "s2s.queue-stanzas", "5")
    flood(alice, 0, 200)
    alice.expect_nothing("<message type='error'/>")
    listener.come_back()
    node.ctl("s2s", "retry", OTHER)
    peer, asked = sm_join(listener, ENABLED)
    assert texts(listener, peer, 199, asked.string) == list(range(200))
    peer.sendall(b"<a xmlns='urn:xmpp:sm:3' h='200'/>")
    until_confirmed(node)
    peer.close()


def test_messages_that_are_not_archived_are_kept_until_they_are_confirmed(node, listener):
    alice = node.client("alice")
    alice.result("set", "<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>")
    listener.leave()
    say(alice, 0)
    say(alice, 1)
    until("both are stored", lambda: pending(node) == 2)
    node.kill()
    listener.come_back()
    node.start()
    peer, asked = sm_join(listener, ENABLED)
    assert texts(listener, peer, 1, asked.string) == [0, 1]
    peer.sendall(b"<a xmlns='urn:xmpp:sm:3' h='2'/>")
    until_confirmed(node)
    with node.database(read_only=True) as db:
        assert db.execute("SELECT count(*) FROM message WHERE stanza <> ''").fetchone()[0] == 0
    peer.close()


def rows(server):
    with server.database(read_only=True) as db:
        return db.execute("SELECT count(*) FROM message").fetchone()[0]


def test_rows_of_messages_that_nobody_keeps_do_not_stay(node, listener):
    """Each is the newest row of the log when it is confirmed."""
    alice = node.client("alice")
    alice.result("set", "<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>")
    say(alice, 0)
    reader = read_join(listener)
    for n in range(1, 5):
        until_confirmed(node)
        say(alice, n)
        until("it has come", lambda n=n: reader.numbers() == list(range(n + 1)))
    until_confirmed(node)
    assert rows(node) == 1


def condition(error):
    return xml.condition(error.find(f"{{{xml.CLIENT}}}error"))


def test_one_user_does_not_fill_the_database_for_a_domain_that_is_away(node, listener):
    node.add_user("carol")
    node.ctl("set", "s2s.kept-max", "5")
    alice, carol = node.client("alice"), node.client("carol")
    listener.leave()
    flood(alice, 0, 8)
    refused = [alice.expect("<message type='error'/>") for _ in range(3)]
    assert {e.get("id") for e in refused} == {"m5", "m6", "m7"}
    assert {condition(e) for e in refused} == {"resource-constraint"}
    say(carol, 100)
    until("that of another user", lambda: pending(node) == 6)
    node.kill()
    node.start()
    alice = node.client("alice")
    flood(alice, 8, 10)  # what waits from before is counted when it is needed
    alice.ping()
    more = itertools.count(11)
    until("the limit", lambda: (say(alice, next(more)), alice.ping(), [
        e for e in alice.inbox if e.get("type") == "error"])[-1])
    assert condition(alice.expect("<message type='error'/>")) == "resource-constraint"
    listen_again(node, listener)
    reader = read_join(listener)
    until_confirmed(node)
    assert {0, 1, 2, 3, 4, 8, 100} <= set(reader.numbers())
    last = next(more)
    until("room for another one", lambda: (say(alice, next(more)), alice.ping(),
                                           max(reader.numbers()) > last)[-1])


def test_one_user_does_not_fill_the_database_for_many_domains(node, listener):
    """Ten times as many."""
    node.ctl("set", "s2s.kept-max", "1")
    alice = node.client("alice")
    listener.leave()
    for n in range(12):
        federation.route(node, f"other{n}.test", listener.port)
        say(alice, n, to=f"bob@other{n}.test")
    refused = [alice.expect("<message type='error'/>") for _ in range(2)]
    assert {e.get("id") for e in refused} == {"m10", "m11"}
    assert {condition(e) for e in refused} == {"resource-constraint"}


def test_a_deleted_user_sends_nothing_more(node, listener):
    """Neither from the database nor from memory."""
    node.add_user("carol")
    alice, carol = node.client("alice"), node.client("carol")
    listener.leave()
    flood(alice, 0, 3)
    say(alice, 3, NOT_STORED)
    alice.ping()
    say(carol, 100)
    until("all are stored", lambda: pending(node) == 4)
    node.ctl("user", "del", f"alice@{ONE}")
    until("one is left", lambda: pending(node) == 1)
    until("one waits", lambda: [r["queue"] for r in node.rows("s2s", "list")] == [1])
    listen_again(node, listener)
    reader = read_join(listener)
    until_confirmed(node)
    assert reader.numbers() == [100]


def test_a_deleted_user_is_not_sent_again(node, listener):
    """What was not confirmed on a stream that has broken."""
    node.add_user("carol")
    alice, carol = node.client("alice"), node.client("carol")
    flood(alice, 0, 3)
    peer, asked = sm_join(listener, ENABLED)
    assert texts(listener, peer, 2, asked.string) == [0, 1, 2]
    say(carol, 100)
    texts(listener, peer, 100)
    Wire._reset(peer)
    node.ctl("user", "del", f"alice@{ONE}")
    until("one is left", lambda: pending(node) == 1)
    peer, _ = sm_join(listener, f"<failed xmlns='{xml.SM}'/>")
    asked = listener.read_until(peer, "<enable [^>]*/>")
    peer.sendall(b"<enabled xmlns='urn:xmpp:sm:3'/>")
    reader = Reader(peer, asked.string[asked.end():], confirms=True)
    until_confirmed(node)
    assert reader.numbers() == [100]


def take_back(client, n, to=f"bob@{OTHER}"):
    client.send(f"<message to='{to}' type='chat' id='r{n}'>"
                f"<retract xmlns='urn:xmpp:message-retract:1' id='o{n}'/>"
                "<store xmlns='urn:xmpp:hints'/></message>")


def test_what_its_author_takes_back_while_it_waits_is_not_sent(node, listener):
    """XEP-0424: in memory, as an attempt to reach the server is under way. What other users and
    other addressees have by the same id stays, and what follows the retraction too."""
    node.add_user("carol")
    alice, carol = node.client("alice"), node.client("carol")
    listener.leave()
    flood(alice, 0, 3)
    say(carol, 1)
    say(alice, 1, to=f"dave@{OTHER}")
    take_back(alice, 1)
    say(alice, 1)
    for client in alice, carol:
        client.ping()
    until("all but one wait", lambda: [r["queue"] for r in node.rows("s2s", "list")] == [6])
    listen_again(node, listener)
    reader = read_join(listener)
    until_confirmed(node)
    assert sorted(reader.numbers()) == [0, 1, 1, 1, 2]
    mine = re.findall(rf"<message from='alice@{ONE}/[^']*' to='bob@{OTHER}'[^>]* id='(\w+)'",
                      reader.text.replace('"', "'"))
    assert mine == ["m0", "m2", "r1", "m1"]


def test_what_its_author_takes_back_is_not_sent_again(node, listener):
    """What was not confirmed on a stream that has broken."""
    alice = node.client("alice")
    flood(alice, 0, 3)
    peer, asked = sm_join(listener, ENABLED)
    assert texts(listener, peer, 2, asked.string) == [0, 1, 2]
    Wire._reset(peer)
    take_back(alice, 1)
    alice.ping()
    peer, _ = sm_join(listener, f"<failed xmlns='{xml.SM}'/>")
    asked = listener.read_until(peer, "<enable [^>]*/>")
    peer.sendall(b"<enabled xmlns='urn:xmpp:sm:3'/>")
    reader = Reader(peer, asked.string[asked.end():], confirms=True)
    until_confirmed(node)
    assert reader.numbers() == [0, 2]


def test_what_its_author_takes_back_is_not_returned(node, listener):
    """Its server stays away: the sender is told of the others alone."""
    node.ctl("set", "s2s.retry-for", "1s")
    node.ctl("set", "s2s.keep-for", "1s")
    alice = node.client("alice")
    listener.leave()
    flood(alice, 0, 3)
    take_back(alice, 1)
    for ident in "m0", "m2", "r1":
        alice.expect(f"<message id='{ident}' type='error'/>")
    until_confirmed(node)
    alice.ping()
    assert not [e for e in alice.inbox if e.get("type") == "error"]


def test_an_answer_that_is_no_stream_ends_no_stored_message(node, listener):
    alice = node.client("alice")
    say(alice, 0)
    say(alice, 1, NOT_STORED)
    peer, _ = listener.sock.accept()
    peer.recv(1000)
    peer.sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    assert alice.expect("<message type='error'/>").get("id") == "m1"
    peer.close()
    reader = read_join(listener)
    until("it has come", lambda: reader.numbers() == [0])
    until_confirmed(node)
    assert not [e for e in alice.inbox if e.get("type") == "error"]


def test_a_backlog_ends_with_its_sender(node, listener):
    alice = node.client("alice")
    listener.leave()
    node.ctl("set", "s2s.retry-for", "0s")
    node.ctl("set", "s2s.keep-for", "10s")
    say(alice, 0)
    node.wait_log("event=s2s.failed")
    until("it is stored", lambda: pending(node) == 1)
    node.ctl("user", "del", f"alice@{ONE}")
    until("nothing to do", lambda: node.rows("s2s", "list") == [])


# --- XEP-0198, with a server that the test plays ---


def test_a_session_is_resumed_with_what_has_not_arrived(node, listener):
    alice = node.client("alice")
    flood(alice, 0, 3)
    peer, asked = sm_join(listener, ENABLED)
    assert "<enable " in asked[0] and "resume='true'" in asked[0]
    assert texts(listener, peer, 2, asked.string) == [0, 1, 2]
    peer.sendall(b"<a xmlns='urn:xmpp:sm:3' h='1'/>")
    until("one is confirmed", lambda: pending(node) == 2)
    Wire._reset(peer)
    say(alice, 3)
    resumed = "<resumed xmlns='urn:xmpp:sm:3' previd='session' h='2'/>"
    peer, asked = sm_join(listener, resumed)
    assert "<resume " in asked[0] and "previd='session'" in asked[0]
    assert "text" not in asked.string[asked.string.index("<resume"):]
    assert texts(listener, peer, 3) == [2, 3]
    peer.sendall(b"<a xmlns='urn:xmpp:sm:3' h='4'/>")
    until_confirmed(node)
    peer.close()


def test_what_is_not_resumed_is_sent_again(node, listener):
    alice = node.client("alice")
    flood(alice, 0, 3)
    peer, asked = sm_join(listener, ENABLED)
    assert texts(listener, peer, 2, asked.string) == [0, 1, 2]
    peer.sendall(b"<a xmlns='urn:xmpp:sm:3' h='1'/>")
    until("one is confirmed", lambda: pending(node) == 2)
    Wire._reset(peer)
    say(alice, 3)
    peer, _ = sm_join(listener, "<failed xmlns='urn:xmpp:sm:3'/>")
    enable = listener.read_until(peer, "<enable [^>]*/>")
    peer.sendall(ENABLED.encode())
    assert texts(listener, peer, 3, enable.string) == [1, 2, 3]
    peer.sendall(b"<r xmlns='urn:xmpp:sm:3'/><a xmlns='urn:xmpp:sm:3' h='3'/>")
    listener.read_until(peer, "<a xmlns='urn:xmpp:sm:3' h='0'/>")
    until_confirmed(node)
    peer.close()


@pytest.mark.parametrize("counts", [(2,), (1, 0)])
def test_counts_that_cannot_be_end_the_stream(node, listener, counts):
    alice = node.client("alice")
    say(alice, 0)
    peer, asked = sm_join(listener, ENABLED)
    assert texts(listener, peer, 0, asked.string) == [0]
    for h in counts:
        peer.sendall(f"<a xmlns='urn:xmpp:sm:3' h='{h}'/>".encode())
    error = listener.read_until(peer, "(?s)<stream:error>.*</stream:error>")[0]
    assert "<undefined-condition" in error and "handled-count-too-high" in error
    peer.close()


def test_what_is_not_confirmed_is_bounded(node, listener):
    alice = node.client("alice")
    node.ctl("set", "s2s.unacked-max", "5")
    flood(alice, 0, 10)
    peer, asked = sm_join(listener, ENABLED)
    assert texts(listener, peer, 4, asked.string) == [0, 1, 2, 3, 4]
    until("the others", lambda: [row["queue"] for row in node.rows("s2s", "list", OTHER)] == [5])
    peer.sendall(b"<a xmlns='urn:xmpp:sm:3' h='5'/>")
    assert texts(listener, peer, 9) == [5, 6, 7, 8, 9]
    peer.close()


def test_what_is_not_confirmed_counts_for_all_that_waits(node, listener):
    alice = node.client("alice")
    node.ctl("set", "s2s.queue-total", "1MiB")
    node.ctl("set", "s2s.queue-bytes", "4MiB")
    for n in range(40):
        say(alice, n, f"<x xmlns='y'>{'z' * 50000}</x>")
        if n % 10 == 0:
            alice.ping()
            if n == 0:
                reader = read_join(listener, confirms=False)
    until("all are stored", lambda: pending(node) == 40)
    until("some", lambda: len(reader.numbers()) >= 20)
    node.ctl("s2s", "list")
    assert len(reader.text) < 1 << 20 | 100000
    reader.confirms = True
    reader.confirm()
    until("all", lambda: reader.numbers() == list(range(40)))
    until_confirmed(node)


def test_a_server_without_it_confirms_by_its_end(node, listener):
    alice = node.client("alice")
    say(alice, 0)
    peer = listener.join()
    listener.read_until(peer, "text 0")
    assert pending(node) == 1
    peer.sendall(b"</stream:stream>")
    listener.read_until(peer, "</stream:stream>")
    assert pending(node) == 1  # who ends first closes the connection when it has read the answer
    peer.close()
    until_confirmed(node)


def test_an_operator_ends_an_attempt(node, listener):
    alice = node.client("alice")
    say(alice, 0)
    peer, _ = listener.sock.accept()
    assert node.ctl("s2s", "close", OTHER)["text"] == "closed streams: 1"
    node.wait_log("an operator has ended the attempt")
    peer.close()
    peer = listener.join()
    listener.read_until(peer, "text 0")
    peer.close()


@pytest.mark.parametrize("then", ["close", "stop"])
def test_a_stream_that_is_being_ended_is_not_ended_twice(node, listener, then):
    alice = node.client("alice")
    say(alice, 0)
    reader = read_join(listener, confirms=False)
    until("it has come", lambda: reader.numbers() == [0])
    assert node.ctl("s2s", "close", OTHER)["text"] == "closed streams: 1"
    if then == "close":
        node.ctl("s2s", "close", OTHER)
        until("the end", lambda: reader.ended)
    node.stop()  # it asks how that has ended


def test_a_stream_that_is_being_ended_ends_without_counting(node, listener):
    alice = node.client("alice")
    say(alice, 0)
    peer, asked = sm_join(listener, "")
    reader = Reader(peer, asked.string[asked.end():])
    until("it has come", lambda: reader.numbers() == [0])
    node.ctl("s2s", "close", OTHER)
    until("our end", lambda: "</stream:stream>" in reader.text)
    reader.say("<failed xmlns='urn:xmpp:sm:3'/>")
    until("the end", lambda: reader.ended)


def test_what_comes_behind_a_question_is_asked_for_at_the_end(node, listener):
    """A server that confirms only what it is asked for would else be sent it again."""
    alice, question = node.client("alice"), f"<r xmlns='{xml.SM}'/>"
    say(alice, 0)
    reader = read_join(listener, confirms=False)
    until("the first question", lambda: question in reader.text)
    say(alice, 1)
    until("one that comes behind", lambda: reader.numbers() == [0, 1])
    assert reader.text.count(question) == 1
    node.ctl("s2s", "close", OTHER)
    until("our end", lambda: "</stream:stream>" in reader.text)
    assert question in reader.text.rpartition("text 1")[2]
    reader.confirm()
    reader.confirm()
    until_confirmed(node)


def test_an_idle_stream_ends_with_the_server(node, listener):
    alice = node.client("alice")
    say(alice, 0)
    reader = read_join(listener)
    until_confirmed(node)
    assert reader.numbers() == [0]
    node.stop()


def test_the_database_goes_on_when_memory_is_empty(node, listener):
    alice = node.client("alice")
    node.ctl("set", "s2s.unacked-max", "5")
    node.ctl("set", "s2s.queue-stanzas", "5")
    say(alice, 0)
    reader = read_join(listener, confirms=False)
    until("the first", lambda: reader.numbers() == [0])
    flood(alice, 1, 40)
    until("all are stored", lambda: pending(node) == 40)
    for count in 5, 10:
        until("as many as may be", lambda count=count: len(reader.numbers()) == count)
        reader.confirms = reader.confirms or count == 10
        reader.confirm()
    until("all", lambda: len(reader.numbers()) == 40)
    assert reader.numbers() == list(range(40))
    until_confirmed(node)


def test_much_that_is_not_confirmed_goes_back_to_the_database(node, listener):
    """More than are asked for at a time."""
    alice = node.client("alice")
    for name, value in ("unacked-max", "5000"), ("queue-bytes", "4MiB"), ("retry-for", "0s"):
        node.ctl("set", f"s2s.{name}", value)
    say(alice, 0)
    reader = read_join(listener, confirms=False)
    for n in range(1, 3000, 100):
        flood(alice, n, min(n + 100, 3000))
        alice.ping()
    until("all have come", lambda: reader.numbers() == list(range(3000)))
    listener.leave()
    reader.cut()
    node.wait_log("event=s2s.failed")
    until("nothing is in memory", lambda: [
        row["queue"] for row in node.rows("s2s", "list", OTHER)] in ([], [0]))
    assert not [e for e in alice.inbox if e.get("type") == "error"]
    until("all are stored", lambda: pending(node) == 3000)
    listen_again(node, listener)
    reader = read_join(listener)
    until("all", lambda: len(reader.numbers()) >= 3000)
    assert reader.numbers() == list(range(3000))
    until_confirmed(node)
    assert not [e for e in alice.inbox if e.get("type") == "error"]


@pytest.mark.parametrize("queue", [5, 50])
def test_the_order_is_kept_while_a_backlog_ends(node, listener, queue):
    """Messages that come meanwhile are more than memory keeps."""
    alice = node.client("alice")
    node.ctl("set", "s2s.queue-stanzas", str(queue))
    listener.leave()
    flood(alice, 0, 100)
    alice.ping()
    until("all are stored", lambda: pending(node) == 100)
    last = 3000

    def more():
        for n in range(100, last, 20):
            alice.raw("".join(
                f"<message to='bob@{OTHER}' type='chat' id='m{k}'><body>text {k}</body></message>"
                for k in range(n, n + 20)))
            pace.wait(0.01)

    pace = threading.Event()
    listen_again(node, listener)
    sender = threading.Thread(target=more)
    sender.start()
    reader = read_join(listener)
    sender.join()
    until("all", lambda: len(reader.numbers()) >= last)
    assert reader.numbers() == list(range(last))
    until_confirmed(node)


POLICY = ("<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
          "</stream:error></stream:stream>")


@pytest.mark.parametrize("more", ["", NOT_STORED], ids=["stored", "not stored"])
def test_a_stanza_that_ends_streams_goes_back_and_its_neighbours_do_not_repeat(node, listener,
                                                                              more):
    alice = node.client("alice")
    node.ctl("set", "s2s.queue-stanzas", "1000")
    say(alice, 0)
    reader = read_join(listener)
    until("the first", lambda: reader.numbers() == [0])
    until_confirmed(node)
    reader.confirms = False
    alice.raw("".join(f"<message to='bob@{OTHER}' type='chat' id='m{n}'><body>text {n}</body>"
                      f"{POISON if n == 3 else ''}{more}</message>" for n in range(1, 6)))
    until("all", lambda: reader.numbers() == [0, 1, 2, 3, 4, 5])
    got = []
    for _ in range(4):
        assert POISON in reader.text
        reader.say(POLICY)
        until("its end", lambda r=reader: r.ended)
        reader = read_join(listener)
        if len(got) < 3:
            until("the poison", lambda r=reader: POISON in r.text)
            got.append(reader.numbers())
    until("the others", lambda: reader.numbers() == [4, 5])
    assert got == [[1, 2, 3], [3], [3]]
    error = alice.expect("<message type='error'/>")
    assert error.get("id") == "m3"
    assert xml.condition(error.find(f"{{{xml.CLIENT}}}error")) == "not-acceptable"
    until_confirmed(node)


@pytest.mark.parametrize("more", ["", NOT_STORED], ids=["stored", "not stored"])
def test_a_stanza_that_breaks_connections_goes_back_and_its_neighbours_arrive(node, listener, more):
    """The server falls, or a box in between resets: there is no stream error."""
    alice = node.client("alice")
    alice.raw("".join(f"<message to='bob@{OTHER}' type='chat' id='m{n}'><body>text {n}</body>"
                      f"{POISON if n == 3 else ''}{more}</message>" for n in range(1, 6)))
    errors, readers = [], []
    while not errors or POISON in readers[-1].text or readers[-1].numbers()[-1:] != [5]:
        if not readers or readers[-1].ended:
            assert len(readers) < 8
            readers.append(read_join(listener, breaks=True))
        alice.pump(0.1)
        errors = [e for e in alice.inbox if e.get("type") == "error"]
    assert [e.get("id") for e in errors] == ["m3"]
    assert condition(errors[0]) == "not-acceptable"
    broken = [r.numbers() for r in readers if POISON in r.text]
    assert {1, 2, 4, 5} <= {n for r in readers for n in r.numbers()}
    assert broken[-2:] == [[3], [3]]  # alone, and before that behind what was confirmed
    assert len(broken) > 3
    until_confirmed(node)


def test_a_stanza_that_breaks_connections_is_found_behind_senders_who_always_wait(node, listener):
    """What is not confirmed goes back to the database after each failure, and is read by sender."""
    node.ctl("set", "s2s.retry-for", "0s")
    for name in ("carol", "dora", "eve"):
        node.add_user(name)
    clients = [node.client(name) for name in ("alice", "carol", "dora", "eve")]
    say(clients[-1], 0, more=POISON)
    listener.sock.settimeout(1)
    numbers, errors, readers = itertools.count(1), [], []
    end = time.monotonic() + 30
    while not errors:
        assert time.monotonic() < end, [r.numbers() for r in readers]
        for client in clients:
            say(client, next(numbers))
            client.pump(0.02)
        errors = [e for c in clients for e in c.inbox if e.get("type") == "error"]
        if not readers or readers[-1].ended:
            with contextlib.suppress(TimeoutError):  # the next attempt comes later
                readers.append(read_join(listener, breaks=True))
    assert [e.get("id") for e in errors] == ["m0"]
    assert condition(errors[0]) == "not-acceptable"
    if POISON in readers[-1].text:
        listener.sock.settimeout(30)
        readers.append(read_join(listener))
    until_confirmed(node)
    came = [n for r in readers for n in r.numbers()]
    assert set(range(1, next(numbers))) <= set(came)
