"""Streams to other servers: how they are made, what happens if that fails, and what becomes of what
waits for them (RFC 6120, XEP-0178, XEP-0220, XEP-0478)."""
import re
import socket
import time

import pytest

from archive.test_mam import Page
from harness import federation, xml
from harness.client import TIMEOUT, until
from harness.federation import Listener
from harness.links import (BOB, EVIL, NOT_STORED, ONE, OTHER, PING, VERSION, authority, bounced,
                           errors, evil, hear, join, links, listener, metric, node, pair,
                           pending, say, start)

__all__ = ["authority", "evil", "join", "listener", "node", "pair", "start"]
ALICE = f"alice@{ONE}"


@pytest.fixture
def alice(node):
    return node.client("alice")


def give_up(node, after="1s"):
    """What is stored and waits is given up."""
    node.ctl("set", "s2s.retry-for", "0s")
    node.ctl("set", "s2s.keep-for", after)
    until("all are given up", lambda: pending(node) == 0)


# --- how a stream is made ---


@pytest.mark.parametrize("by", ["certificate", "certificate alone", "dialback"])
def test_messages_go_both_ways(start, tmp_path, by):
    servers = []
    for user, domain in ("alice", ONE), ("bob", OTHER):
        cert = federation.Authority(tmp_path, domain).issue(domain, domain)  # of no use
        servers.append(start(user, domains=[domain], verify_certificates="off", cert=cert)
                       if by == "dialback" else
                       start(user, domains=[domain], dialback="off" if "alone" in by else "on"))
    one, other = servers
    federation.route(one, OTHER, other.s2s_port)
    federation.route(other, ONE, one.s2s_port)
    alice, bob = one.client("alice"), other.client("bob")
    for sender, receiver in (alice, bob), (bob, alice):
        say(sender, 0, 1, 2, to=receiver)
        hear(receiver, 0, 1, 2)
    assert set(re.findall("auth=([a-z]+)", one.log() + other.log())) == {by.partition(" ")[0]}


def refuse(listener, condition, stream, before=lambda: None):
    listener.read_until(stream, "<auth ")
    before()
    stream.sendall(f"<failure xmlns='{xml.SASL}'><{condition}/></failure>".encode())


@pytest.mark.parametrize("new", [None, "during", "between"])
def test_a_server_that_refuses_our_certificate_gets_dialback(node, alice, listener, authority, new):
    """It may end the stream, too. A new certificate is shown all the same, also if it is imported
    while the stream is open on which the last one is refused."""
    cert = authority.issue("new", ONE)

    def take():
        node.ctl("cert", "import", ONE, "--file", cert["certificate"], "--key", cert["key"])
    say(alice, 0)
    with listener.secure() as stream:
        refuse(listener, "not-authorized", stream, *([take] if new == "during" else []))
        stream.sendall(b"</stream:stream>")
        node.wait_log("refuses our certificate")
    if new != "during":
        with listener.secure() as stream:
            assert "<auth" not in listener.read_until(stream, "<db:result").string
            if new:
                take()
    if new:
        with listener.secure() as stream:
            assert "<auth" in listener.read_until(stream, "<auth |<db:result").string


@pytest.mark.parametrize("dialback", ["on", "off"])
def test_a_failure_of_external_that_passes_is_no_refusal(node, alice, listener, dialback):
    """RFC 6120 §6.5.10: the stanza waits, and the certificate is shown again. What the other
    server says is cut between characters."""
    node.ctl("set", "s2s.dialback", dialback)
    say(alice, 0)
    with listener.secure() as stream:
        refuse(listener, "temporary-auth-failure", stream)
        if dialback == "on":
            listener.read_until(stream, "<db:result")
            stream.sendall(f"<db:result from='{EVIL}' to='{ONE}' type='{'a' * 63}ä'/>".encode())
        else:
            listener.read_until(stream, "</stream:stream>")
    until("the reason", lambda: links(node)[0]["why"])
    assert dialback == "off" or links(node)[0]["why"].endswith(": " + "a" * 63)
    with listener.join() as stream:
        listener.read_until(stream, "<message ")
    assert not alice.inbox and "refuses our certificate" not in node.log()


# --- failures ---


def ask(alice, *domains):
    """Asks all of them; how long each takes to fail, in seconds."""
    begun, took = time.monotonic(), {}
    for domain in domains:
        alice.send(f"<iq type='get' to='{domain}' id='{domain}'>{PING}</iq>")
    alice.timeout = 90
    while len(took) < len(domains):
        error = alice.expect_error("remote-server-timeout")
        took[error.get("id")] = time.monotonic() - begun
    return took


def stall(listener, moment):
    """The socket of a server that goes on up to that moment."""
    if moment == "authentication":
        return listener.secure()
    peer = listener.sock.accept()[0]
    peer.settimeout(TIMEOUT)
    if moment == "tls":
        listener.header(peer, "first", f"<starttls xmlns='{xml.TLS}'/>")
        listener.read_until(peer, "<starttls")
        peer.sendall(f"<proceed xmlns='{xml.TLS}'/>".encode())
    elif moment == "header":
        peer.sendall(f"<stream:stream xmlns='{federation.SERVER}' xmlns:stream='{xml.STREAM}' "
                     f"id='x' version='1.0' from='{listener.domain}'>".encode())
    return peer


def test_servers_that_never_go_on(node, alice, authority):
    """Whatever they stop at: senders hear of it after s2s.retry-for, but after 15 s at least, and
    others are served meanwhile; another attempt follows."""
    node.ctl("set", "s2s.retry-for", "0")
    node.add_user("carol")
    cert, carol = authority.issue("silent", "*.silent.test"), node.client("carol")
    moments = {f"{moment}.silent.test": Listener(f"{moment}.silent.test", cert)
               for moment in ("accepted", "header", "tls", "authentication")}
    for domain, made in moments.items():
        federation.route(node, domain, made.port)
        say(alice, "first", to=f"bob@{domain}")
    held = [stall(made, domain.partition(".")[0]) for domain, made in moments.items()]
    with federation.deaf_port() as deaf:
        federation.route(node, "deaf.silent.test", deaf)
        say(alice, "meanwhile", to=carol)
        hear(carol, "meanwhile")
        took = ask(alice, "deaf.silent.test", *moments)
        assert all(14 < s < 18 for s in took.values()), took
    for sock in held:
        sock.close()
    say(alice, 0, to="bob@tls.silent.test")
    with moments["tls.silent.test"].join() as peer:
        moments["tls.silent.test"].read_until(peer, "<body>0</body>")
    for made in moments.values():
        made.close()


def test_a_server_that_cannot_be_reached_is_answered_for(node, alice, listener):
    """And what is given up and is answered by no error is counted."""
    node.ctl("set", "s2s.queue-stanzas", "5")
    listener.leave()
    for n in range(8):
        alice.send(f"<iq to='{BOB}/x' type='result' id='r{n}'/>")
    until("those without room", lambda: metric(node, "s2s_dropped", "queue") == 3)
    node.wait_log(f"event=s2s.dropped domain={EVIL} local={ONE} stanza=result reason=queue")
    node.ctl("set", "s2s.retry-for", "0s")
    node.ctl_run("s2s", "retry", EVIL)
    until("those that waited", lambda: metric(node, "s2s_dropped", "unreachable") == 5)
    for _ in range(2):  # the second time from memory
        assert alice.error("get", VERSION, to=EVIL)[0] == "remote-server-timeout"
    node.ctl("set", "s2s.policy", "allow")
    alice.send(f"<message to='{BOB}' type='error' id='e'><error type='cancel'>"
               f"<gone xmlns='{xml.STANZA_ERROR}'/></error></message>")
    alice.ping()
    assert metric(node, "s2s_dropped", "policy") == 1 and errors(alice) == []


# --- what waits ---


@pytest.mark.parametrize("limit, value, size, fit", [
    ("s2s.queue-stanzas", 5, 1, 5), ("s2s.queue-bytes", 64 << 10, 30000, 2),
    ("s2s.queue-total", 1 << 20, 200000, 5)])
def test_what_waits_is_bounded(node, alice, limit, value, size, fit):
    """Operators see it wherever they look."""
    node.ctl("set", "s2s.queue-bytes", str(4 << 20))
    node.ctl("set", limit, str(value))
    for n in range(fit + 2):
        say(alice, n, more=f"<x xmlns='y'>{'x' * size}</x>{NOT_STORED}")
    for n in range(fit, fit + 2):
        error = bounced(alice, "resource-constraint", f"m{n}")
        assert error.find(f"{{{xml.CLIENT}}}error").get("type") == "wait"
    alice.expect_nothing()
    node.wait_log(f"event=s2s.overflow domain={EVIL} local={ONE} .*setting={limit} refused=1 ")
    assert node.log().count("event=s2s.overflow") == 1
    row, = links(node)
    assert limit in row["why"] or "refused" in row["why"], row
    assert "; 2 found no room" in str(node.rows("s2s", "show", EVIL))
    assert metric(node, "s2s_overflows") == 2


@pytest.mark.parametrize("then", ["policy", "stop"])
def test_a_server_that_does_not_read(node, alice, listener, then):
    """A change of the policy refuses what waits for it; a stop does not wait."""
    listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    say(alice, 0)
    stream, sent = listener.join(), 0
    while sum(row["queue"] for row in links(node)) == 0:
        for _ in range(20):
            alice.send(f"<message to='{BOB}' type='chat'><body>{'x' * 20000}</body></message>")
        sent += 20
        assert sent < 2000
    if then == "stop":
        node.stop()
    else:
        node.ctl("set", "s2s.policy", "allow")
        error = alice.expect("<message type='error'/>")
        assert xml.condition(error.find(f"{{{xml.CLIENT}}}error")) == "not-allowed"
        until("no queue", lambda: not sum(row["queue"] for row in links(node)))
    stream.close()


# --- large stanzas ---


@pytest.mark.parametrize("first", ["alice", "bob"])
@pytest.mark.parametrize("more", ["", NOT_STORED], ids=["stored", "not stored"])
def test_a_stanza_beyond_the_limit_of_the_other_server_goes_back_at_once(pair, first, more):
    """Also on the stream that the other server has made (XEP-0478)."""
    one, other, _ = pair()
    alice, bob = one.client("alice"), other.client("bob")
    other.ctl("set", "s2s.stanza-bytes", "20kB")
    for client, to in ((alice, bob), (bob, alice))[::1 if first == "alice" else -1]:
        say(client, "mark", to=to)
        hear(to, "mark")
    say(alice, *range(12), to=bob, more=f"<x xmlns='y'>{60000 * 'x'}</x>{more}")
    for n in range(12):
        bounced(alice, "policy-violation", f"m{n}")
    say(alice, "behind", to=bob)
    hear(bob, "behind")
    assert "event=s2s.lost" not in one.log() + other.log()


# --- messages that are given up ---


def leave(client, count=1):
    """Messages of a client that ends when they are stored."""
    client.enable_sm()
    say(client, *range(count))
    client.wait_acked(count)
    client.close()


def told(client, count, origin=BOB):
    """It has so many errors, in order, and no more."""
    found = [client.expect(f"<message type='error' from='{origin}'/>").get("id")
             for _ in range(count)]
    client.expect_nothing("<message type='error'/>")
    assert found == [f"m{n}" for n in range(count)]


def test_a_sender_who_has_logged_out_is_told_at_the_next_login(node):
    """Once, with the time, and it is in the archive beside the message. Other clients of the sender
    get it if that one is gone."""
    leave(node.client("alice", "phone"))
    give_up(node)
    alice = node.client("alice", "laptop")
    error = bounced(alice, "remote-server-timeout", "m0")
    assert error.find(f"{{{xml.DELAY}}}delay") is not None
    assert [(m.get("type"), m.get("id")) for m in Page(alice).messages] == [("chat", "m0"),
                                                                            ("error", "m0")]
    leave(node.client("alice", "phone"))
    give_up(node)
    told(alice, 1)
    alice.close()
    told(node.client("alice", "tablet"), 0)


@pytest.mark.parametrize("moment", ["before", "while", "behind"])
def test_a_server_that_is_killed_while_it_gives_up_tells_of_all(node, moment):
    alice = node.client("alice", "phone")
    leave(alice, 100)
    if moment == "behind":
        give_up(node)
    elif moment == "while":
        node.ctl("set", "s2s.retry-for", "0s")
        node.ctl("set", "s2s.keep-for", "1s")
        until("some are given up", lambda: pending(node) < 100)
    node.kill()
    node.start()
    give_up(node)
    told(node.client("alice"), 100)


BLOCKS = {
    "blocked": f"<block xmlns='urn:xmpp:blocking'><item jid='{BOB}'/></block>",
    "domain": f"<block xmlns='urn:xmpp:blocking'><item jid='{EVIL}'/></block>",
    "strangers": "<policy xmlns='urn:muster:policy:0' others='block'/>",
}


@pytest.mark.parametrize("state", ["online", "offline", "disabled"])
@pytest.mark.parametrize("how", BLOCKS)
def test_whatever_rules_the_sender_has_it_is_told(node, how, state):
    """By the server itself where nothing of the addressee comes through."""
    alice = node.client("alice", "phone")
    alice.enable_sm()
    say(alice, 0)
    alice.wait_acked(1)
    alice.result("set", BLOCKS[how])
    if state != "online":
        alice.close()
    if state == "disabled":
        node.ctl("user", "disable", ALICE)
    give_up(node)
    if state == "disabled":
        node.ctl("user", "enable", ALICE)
    alice = alice if state == "online" else node.client("alice", "laptop")
    told(alice, 1, ONE if state == "disabled" or how in ("blocked", "domain") else BOB)
