"""Streams to other servers: how they are made, what happens if that fails, and what becomes of what
waits for them (RFC 6120, XEP-0178, XEP-0220, XEP-0478)."""
import contextlib
import re
import socket
import threading
import time

import pytest

from archive.test_mam import Page
from harness import across, federation, xml
from harness.client import TIMEOUT, until
from harness.federation import Listener, Peer
from harness.links import (BOB, EVIL, NOT_STORED, NO_SESSION, ONE, OTHER, PING, VERSION,
                           authenticated, authority, bounced, errors, evil, hear, join, links,
                           listener, message, metric, node, pair, pending, plain, say, start, taken)
from harness.muc import Room
from stream.test_sm import resume

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


def test_a_server_with_a_certificate_that_is_not_trusted_gets_nothing(node, alice, make_server,
                                                                      tmp_path):
    rogue = federation.Authority(tmp_path, "rogue")
    thief = make_server("bob", domains=[EVIL], s2s=True, settings=federation.settings(),
                        tls=rogue.issue("thief", EVIL))
    federation.route(node, EVIL, thief.s2s_port)
    say(alice, "secret", more=NOT_STORED)
    error = bounced(alice, "remote-server-timeout", "msecret")
    assert "certificate is refused" in federation.for_users(error)
    assert "secret" not in thief.log()


def refuse(listener, condition, stream):
    listener.read_until(stream, "<auth ")
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
        if new == "during":
            listener.read_until(stream, "<auth ")
            take()
            stream.sendall(f"<failure xmlns='{xml.SASL}'><not-authorized/></failure>".encode())
        else:
            refuse(listener, "not-authorized", stream)
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
    """RFC 6120 §6.5.10: the stanza waits, and the certificate is shown again. What the other server
    says is cut between characters."""
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


@pytest.mark.parametrize("answers", [True, False])
def test_stanzas_go_before_new_questions_about_keys(node, alice, listener, join, answers):
    """And do not wait long for an answer to such a question."""
    node.ctl("set", "s2s.retry-for", "0s")
    peer = join(node, OTHER)
    peer.result("0" * 64, origin=EVIL)
    stream = listener.secure()
    stream_id = listener.read_until(stream, "<db:verify [^>]*id='([^']+)'")[1]
    say(alice, "late")
    until("the stanza", lambda: sum(row["queue"] for row in links(node)) == 1)
    peer.result("1" * 64, origin=EVIL)
    peer.raw(message(f"x@{OTHER}", alice, "mark"))
    hear(alice, "mark")
    if answers:
        stream.sendall(f"<db:verify from='{EVIL}' to='{ONE}' id='{stream_id}' "
                       "type='invalid'/>".encode())
        assert "verify" not in listener.read_until(stream, "<auth ").string
    else:
        with listener.join() as second:
            listener.read_until(second, "<body>late</body>")
    stream.close()


# --- failures ---


def test_what_waited_is_delivered_when_the_server_is_back(pair):
    """An operator sees why it does not go, and tries again."""
    one, other, _ = pair()
    alice = one.client("alice")
    federation.route(one, OTHER, other.s2s_port)
    other.stop()
    assert "not known to fail" in one.ctl("s2s", "retry", OTHER)["text"]
    say(alice, 0, 1, 2, to=f"bob@{OTHER}")
    row = until("the third attempt", lambda: one.log().count("s2s.failed") >= 3
                and one.rows("s2s", "list")[0])
    assert row["state"] in ("waiting", "connecting") and row["queue"] == 3
    assert "Connection refused" in row["why"]
    other.start()
    bob = other.client("bob")
    one.ctl("s2s", "retry", OTHER)
    hear(bob, 0, 1, 2)
    assert one.rows("s2s", "list")[0]["state"] == "up"


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
    elif moment == "slowly":
        threading.Thread(target=speak_slowly, args=(peer,), daemon=True).start()
    return peer


def speak_slowly(peer):
    with contextlib.suppress(OSError):
        for byte in b"<stream:stream" + 400 * b" ":
            peer.sendall(bytes([byte]))
            time.sleep(0.3)


def test_servers_that_never_go_on(node, alice, authority):
    """Whatever they stop at: senders hear of it after s2s.retry-for, but after 15 s at least, and
    others are served meanwhile; another attempt follows."""
    node.ctl("set", "s2s.retry-for", "0")
    node.add_user("carol")
    cert, carol = authority.issue("silent", "*.silent.test"), node.client("carol")
    moments = {f"{moment}.silent.test": Listener(f"{moment}.silent.test", cert)
               for moment in ("accepted", "header", "slowly", "tls", "authentication")}
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


@pytest.mark.parametrize("hangs", [True, False])
def test_an_attempt_that_senders_do_not_wait_for_any_more_comes_to_its_end(node, alice, listener,
                                                                          hangs):
    """A message that is stored waits for it, and gets no error; stanzas go over the stream that it
    makes. If nobody listens, senders are told in time, also in the pause between two attempts."""
    node.ctl("set", "s2s.retry-for", "15s" if hangs else "5s")
    say(alice, 0)
    if not hangs:
        listener.leave()
    took = ask(alice, EVIL)[EVIL]
    assert 14 < took < 17 if hangs else 4 < took < 7, took
    if not hangs:
        assert ask(alice, EVIL)[EVIL] < 3
        listener.come_back()
        node.ctl_run("s2s", "retry", EVIL)
    reader = plain(listener)
    reader.until(0)
    alice.send(f"<iq type='get' to='{EVIL}' id='q'>{PING}</iq>")
    reader.wait("id='q'")
    assert errors(alice) == []


@pytest.mark.parametrize("made", ["answer", "key", "stored"])
@pytest.mark.sqlite
def test_an_attempt_that_nobody_waited_for_makes_no_pause_for_users(node, listener, evil, made):
    """It was made for a ping of the other server, for its key, or for messages from before: what a
    user sends waits for an attempt of its own."""
    listener.leave()
    if made == "answer":
        evil.join().raw(f"<iq type='get' id='p' from='{EVIL}' to='{ONE}'>{PING}</iq>")
    elif made == "key":
        Peer(node, EVIL, ONE).secure().result("0" * 64)
    else:
        say(node.client("alice", "before"), 0)
        until("it is stored", lambda: pending(node) == 1)
        node.restart()
    node.wait_log(f"event=s2s.failed domain={EVIL}")
    alice = node.client("alice")
    alice.send(f"<message to='{BOB}' type='headline'><body>brief</body></message>"
               f"<iq type='get' to='{EVIL}' id='version'>{VERSION}</iq>")
    alice.ping()
    listener.come_back()
    reader = plain(listener)
    reader.wait("brief.*id='version'")
    assert errors(alice) == []


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


def numbered(text, count):
    return " ".join(text.format(n) for n in range(count))


def declared(count):
    """An element inside others, which declare so many prefixes together."""
    text, end = "", ""
    for first in range(0, count, 60):
        prefixes = "".join(f" xmlns:p{n}='urn:{n}'" for n in range(first, min(first + 60, count)))
        text, end = f"{text}<e{prefixes}>", f"</e>{end}"
    return text + "<e p0:a='1'/>" + end


MOST = {  # attributes of the message, what is in it: as much as c2s allows
    "attributes": (numbered("a{0}='1'", 60), ""),
    "prefixed attributes": (numbered("xmlns:a{0}='urn:{0}' a{0}:b='1'", 30), ""),
    "attributes of a child": ("", f"<x xmlns='urn:x' {numbered('''a{0}='1' ''', 63)}/>"),
    "declarations": ("", declared(128)), "children": ("", 55 * "<a xmlns='urn:a'/>"),
    "depth": ("", "<a xmlns='urn:a'>" + 62 * "<a>" + 62 * "</a>" + "</a>"),
    "bytes": ("", f"<x xmlns='urn:x'>{(262144 - 300) * '.'}</x>"),
}


def test_as_much_as_a_client_may_send_arrives(make_server, tmp_path):
    """Also from a room."""
    one, other = across.start(make_server, tmp_path)
    alice, bob, room = one.client("alice"), other.client("bob"), Room("cave", ONE)
    room.create(alice, "owner")
    room.enter(bob, "guest")
    for what, (attributes, inner) in MOST.items():
        for to, kind in (bob, "chat"), (room.jid, "groupchat"):
            if (what, kind) != ("children", "groupchat"):
                alice.raw(f"<message to='{to}' type='{kind}' id='{kind}' {attributes}>"
                          f"<body>{what}</body>{inner}</message>")
                bob.expect(f"<message id='{kind}'><body>{what}</body></message>")
    assert "event=s2s.lost" not in one.log() + other.log()


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


def test_what_waited_is_measured_when_the_server_says_its_limit(alice, listener):
    for n, text in enumerate(("0", 30000 * "x", "2")):
        alice.raw(f"<message to='{BOB}' type='chat' id='m{n}'><body>{text}</body></message>")
    limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>20000</max-bytes></limits>"
    with authenticated(listener, features=limits) as peer:
        assert "xxx" not in listener.read_until(peer, "<body>2</body>").string
    bounced(alice, "policy-violation", "m1")


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
    "no archive": "<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>",
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


@pytest.mark.parametrize("command", [("federation", "set", ALICE, "off"),
                                     ("set", "federation.stranger-rate", "1"),
                                     ("set", "mailbox.unsettled-max", "1"),
                                     ("user", "del", ALICE), "off"])
def test_whatever_rules_the_server_has_the_sender_is_told(node, command):
    """Also if they apply at the next start. But not in place of somebody who is deleted."""
    leave(node.client("alice"), 3)
    if command == "off":
        node.ctl("set", "s2s.policy", "off")
    else:
        node.ctl(*command)
    node.restart()
    give_up(node)
    if "del" in command:
        node.add_user("alice", domain=ONE)
    told(node.client("alice"), 0 if "del" in command else 3)


def test_a_session_that_can_be_resumed_gets_it(node):
    alice = node.client("alice", "phone")
    alice.enable_sm()
    say(alice, 0, 1, 2)
    alice.wait_acked(3)
    laptop = node.client("alice", "laptop")
    alice.cut()
    give_up(node)
    told(laptop, 0)
    told(resume(node, alice), 3)


@pytest.mark.parametrize("back", [True, False])
def test_messages_of_a_domain_that_is_served_no_more(start, authority, back):
    """Operators see them meanwhile, and the domain that they are for is not said to fail. If the
    domain of the sender comes back, they go, or its user is told."""
    node = start("carol", domains=[ONE, OTHER])
    node.add_user("alice", domain=OTHER)
    there = Listener(EVIL, authority.issue("there", EVIL))
    there.leave()
    federation.route(node, EVIL, there.port)
    leave(node.client("alice", domain=OTHER))
    node.conf["domains"] = [ONE]
    node.restart()
    node.wait_log(f"event=s2s.unserved domain={EVIL} local={OTHER}")
    line = until("it is tried", lambda: links(node))[0]
    assert (line["local"], line["stage"]) == (OTHER, "policy") and "does not serve" in line["why"]
    shown = {row["name"]: row["value"] for row in node.rows("s2s", "show", EVIL)}
    assert shown["stored"] == "1 messages are not confirmed" and "failing since" not in shown
    if back:
        there.come_back()
    else:
        give_up(node)
        assert metric(node, "s2s_given_up", "unserved") == 1
    node.conf["domains"] = [ONE, OTHER]
    node.restart()
    if back:
        taken(there, NO_SESSION).until(0)
    else:
        bounced(node.client("alice", domain=OTHER), "service-unavailable", "m0")
    there.close()
