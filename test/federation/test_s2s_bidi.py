"""Stanzas go both ways on one connection between servers (XEP-0288)."""
import contextlib
import re
import signal
import socket
import threading
import time

import pytest
from cryptography import x509

from harness import federation, partner, prosody, slow_disk, xml
from harness.client import until
from harness.wire import Wire

ONE, OTHER = "one.test", "other.test"
BIDI = "<bidi xmlns='urn:xmpp:bidi'/>"
VERSION = "jabber:iq:version"
FEATURE = "{urn:xmpp:features:bidi}bidi"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def start(make_server, authority):
    """A function that starts a server of ours."""
    def one(user, domain, disk=None, why=None, **more):
        tls = {**authority.issue(domain, domain, f"conference.{domain}"),
               "trust": str(authority.file)}
        return make_server(user, domains=[domain], s2s=True, tls=tls, disk=disk,
                           why=why, settings=federation.settings(**more))
    return one


@pytest.fixture
def pair(start):
    """alice@one.test reaches bob@other.test over a wire; that server has no way to hers."""
    one, other = start("alice", ONE, ack_timeout="2s"), start("bob", OTHER, ack_timeout="2s")
    wire = Wire(other.s2s_port)
    federation.route(one, OTHER, wire.port)
    federation.route(other, ONE, federation.free_port())
    yield one, other, wire
    wire.close()


def say(one, other, *bodies):
    for body in bodies:
        one.send(f"<message to='{other.bare}' type='chat'><body>{body}</body></message>")


def hear(other, one, *bodies):
    for body in bodies:
        other.expect(f"<message from='{one}'><body>{body}</body></message>")


@pytest.mark.parametrize("back", [False, True])
def test_a_server_that_reads_slowly_confirms_in_time(pair, back):
    """It needs 4 s for all, twice s2s.ack-timeout: it is asked in between."""
    one, other, _ = pair
    alice, bob = one.client("alice"), other.client("bob")
    say(alice, bob, "there")
    hear(bob, alice, "there")
    say(bob, alice, "here")
    hear(alice, bob, "here")
    sender, reader, slow, quick = (bob, alice, one, other) if back else (alice, bob, other, one)
    quick.ctl("set", "c2s.stanza-rate", "none")
    slow.ctl("set", "federation.stanza-rate", "100")
    bodies = [str(n) for n in range(500)]
    say(sender, reader, *bodies)
    hear(reader, sender, *bodies)
    for server in one, other:
        assert not re.findall("s2s.lost|s2s.unanswered", server.log())


def test_the_other_server_answers_on_the_connection_that_we_have_made(pair):
    one, other, wire = pair
    alice, bob = one.client("alice"), other.client("bob")
    say(alice, bob, "there")
    hear(bob, alice, "there")
    say(bob, alice, *range(20))
    hear(alice, bob, *range(20))
    assert bob.result("get", "<query xmlns='jabber:iq:version'/>", to=ONE) is not None
    assert len(wire.pairs) == 1
    assert sorted((r["direction"], r["state"]) for r in other.rows("s2s", "list")) == \
        [("in", "up"), ("out", "up")]


def test_it_can_be_switched_off(start):
    one, other = start("alice", ONE, bidi="off"), start("bob", OTHER)
    federation.route(one, OTHER, other.s2s_port)
    federation.route(other, ONE, one.s2s_port)
    alice, bob = one.client("alice"), other.client("bob")
    say(alice, bob, "there")
    hear(bob, alice, "there")
    say(bob, alice, "back")
    hear(alice, bob, "back")
    assert sorted(r["direction"] for r in one.rows("s2s", "list")) == ["in", "out"]


def nothing_more(*clients):
    for client in clients:
        left = [xml.canonical(e) for e in client.inbox if e.tag.endswith("}message")]
        assert not left, (client.jid, left)


def pending(server):
    with server.database(read_only=True) as db:
        return db.execute("SELECT count(*) FROM message WHERE pending_out <> 0").fetchone()[0]


def begin(one, other, alice, bob):
    """A stream that can be resumed: she has heard that, since it is confirmed what she has said."""
    say(alice, bob, "begin")
    hear(bob, alice, "begin")
    say(bob, alice, "begun")
    hear(alice, bob, "begun")
    for server in one, other:
        until("all are confirmed", lambda server=server: pending(server) == 0)


@pytest.mark.sqlite
def test_a_stream_that_is_cut_in_a_flood_is_resumed_in_both_directions(pair):
    """Nothing is missing, nothing comes twice, and the order is kept."""
    one, other, wire = pair
    alice, bob = one.client("alice"), other.client("bob")
    begin(one, other, alice, bob)
    for n in range(5):
        bodies = [f"{n}-{m}" for m in range(100)]
        say(alice, bob, *bodies)
        say(bob, alice, *bodies[:50])
        wire.say("c")
        say(bob, alice, *bodies[50:])
        hear(bob, alice, *bodies)
        hear(alice, bob, *bodies)
    for server in one, other:
        until("all are confirmed", lambda server=server: pending(server) == 0)
    nothing_more(alice, bob)
    assert "s2s.resumed" in other.log()


@pytest.mark.sqlite
def test_a_stream_is_resumed_wherever_the_stream_that_resumes_it_is_cut(pair):
    """In its handshake, while it is resumed, or in what it repeats."""
    one, other, wire = pair
    alice, bob = one.client("alice"), other.client("bob")
    begin(one, other, alice, bob)
    for cut_after in 3500, 4500, 5000, 5500, 6000, 8000:
        bodies = [f"{cut_after}-{m}" for m in range(40)]
        say(alice, bob, *bodies[:20])
        say(bob, alice, *bodies[:20])
        wire.cut_after = cut_after
        wire.say("c")
        say(alice, bob, *bodies[20:])
        say(bob, alice, *bodies[20:])
        hear(bob, alice, *bodies)
        hear(alice, bob, *bodies)
        for server in one, other:
            until("all are confirmed", lambda server=server: pending(server) == 0)
    nothing_more(alice, bob)


@pytest.mark.sqlite
@pytest.mark.parametrize("who", [0, 1])
def test_a_server_that_is_killed_in_a_flood_loses_nothing(pair, who):
    one, other, _ = pair
    alice, bob = one.client("alice"), other.client("bob")
    say(alice, bob, "begin")
    hear(bob, alice, "begin")
    bodies = [f"text {n}" for n in range(200)]
    sender, receiver = (bob, alice) if who == 0 else (alice, bob)
    sender.enable_sm()
    say(sender, receiver, *bodies)
    sender.wait_acked(200)
    killed = (one, other)[who]
    killed.kill()
    killed.start()
    receiver = killed.client(("alice", "bob")[who])
    if who == 0:  # the way is hers alone
        say(receiver, bob, "again")
    heard = set()
    until("all", lambda: receiver.pump(0.05) or heard.update(
        e.findtext(f"{{{xml.CLIENT}}}body") for e in receiver.inbox) or heard >= set(bodies))


# --- servers that the test plays: they open the stream ---

EVIL = "evil.test"


@pytest.fixture
def node(start):
    server = start("alice", ONE)
    federation.route(server, EVIL, federation.free_port())
    return server


@pytest.fixture
def join(authority):
    """A function that makes a stream of EVIL in both directions, with stream management."""
    def run(server, enable=True, domain=EVIL, bidi=BIDI):
        peer = federation.Peer(server, domain, ONE, authority.issue(domain, domain)).secure()
        assert peer.features.find(FEATURE) is not None
        peer.raw(bidi)
        assert peer.external() is None
        peer.header().features_come()
        assert peer.features.find(FEATURE) is None
        if enable:
            peer.enable_sm()
        return peer
    return run


def send(client, *bodies, to=f"bob@{EVIL}"):
    for body in bodies:
        client.send(f"<message to='{to}' type='chat'><body>{body}</body></message>")


def come(peer, *bodies):
    for body in bodies:
        peer.expect(f"<message><body>{body}</body></message>")


def sm(peer, request):
    """What the answer to a request of stream management is: its element."""
    peer.raw(request)
    return peer.wait("an answer", lambda: peer._take(lambda e: e.tag.startswith(f"{{{xml.SM}}}")))


@pytest.fixture
def failing(node):
    """A user of a server that has tried to reach EVIL in vain, and pauses for some seconds."""
    node.ctl("set", "s2s.retry-for", "0s")
    alice = node.client("alice")
    send(alice, "stored")  # a reason to try again
    until("failures", lambda: node.log().count(f"s2s.failed domain={EVIL}") == 3)
    assert "cannot be reached" in ask(alice)
    return alice


def ask(alice):
    """The text of the error."""
    return federation.for_users(alice.iq("get", f"<query xmlns='{VERSION}'/>", to=EVIL))


def test_each_line_of_the_list_is_told_from_the_others(node, join):
    """A domain whose keys are asked about on a stream of their own, while stanzas wait for it."""
    alice, peer = node.client("alice"), join(node)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        federation.route(node, "third.test", silent.getsockname()[1])
        send(alice, "waits", to="bob@third.test")
        peer.result("0" * 64, origin="third.test")
        until("both", lambda: sorted((row["direction"], row["state"])
                                     for row in node.rows("s2s", "list", "third.test")) ==
              [("in", "checking"), ("keys", "connecting"), ("out", "connecting")])
        names = [row["name"] for row in node.rows("s2s", "show", "third.test")]
    assert "stream to it" in names and "stream for keys" in names


@pytest.mark.parametrize("enable", [True, False])
def test_a_server_that_comes_is_sent_what_was_refused_before(node, join, failing, enable):
    """Its stream ends the pause at once, in which stanzas were refused."""
    peer = join(node, enable=enable)
    peer.raw(f"<message from='bob@{EVIL}' to='{failing.bare}'><body>there</body></message>")
    failing.expect("<message><body>there</body></message>")
    failing.send(f"<iq type='get' to='{EVIL}' id='q'><query xmlns='{VERSION}'/></iq>")
    come(peer, "stored")
    peer.expect("<iq id='q'/>")
    assert not [e for e in failing.inbox if e.get("type") == "error"]


def test_a_server_that_comes_is_tried_again(node, join, authority, failing):
    """The same without a way back: what is sent from then on waits for the attempt."""
    [row] = node.rows("s2s-route", "list")
    listener = federation.Listener(EVIL, authority.issue("listener", EVIL),
                                   int(row["target"].rpartition(":")[2]))
    peer = join(node, bidi="", enable=False)
    peer.raw(f"<message from='bob@{EVIL}' to='{failing.bare}'><body>there</body></message>")
    failing.expect("<message><body>there</body></message>")
    failing.send(f"<iq type='get' to='{EVIL}' id='q'><query xmlns='{VERSION}'/></iq>")
    with listener.join() as there:
        listener.read_until(there, "(?s)(id='q'.*stored|stored.*id='q')")
    listener.close()
    assert not [e for e in failing.inbox if e.get("type") == "error"]


def test_it_is_not_offered_without_tls(node, authority):
    peer = federation.Peer(node, EVIL, ONE, authority.issue(EVIL, EVIL)).header().features_come()
    assert peer.features.find(FEATURE) is None
    peer.raw(BIDI)
    peer.expect_stream_error("policy-violation", "not-authorized")


def nothing(peer):
    """No stanza has come, up to an answer on the stream itself."""
    peer.acked = None
    peer.request_ack()
    peer.wait("<a/>", lambda: peer.acked is not None)
    assert not peer.inbox, xml.canonical(peer.inbox[0])


def test_a_server_that_does_not_ask_gets_nothing_back(node, join):
    peer = join(node, bidi="")
    alice = node.client("alice")
    peer.raw(f"<message from='bob@{EVIL}' to='{alice.bare}'><body>there</body></message>")
    alice.expect("<message><body>there</body></message>")
    send(alice, "back")
    until("an attempt", lambda: "s2s.failed" in node.log())
    nothing(peer)


def test_what_is_asked_for_too_late_counts_for_nothing(node, join):
    peer = join(node, bidi="")
    peer.raw(BIDI)
    peer.expect_stream_error("unsupported-stanza-type")


@pytest.mark.parametrize("extension", [
    x509.TLSFeature([x509.TLSFeatureType.status_request]),
    x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])])
def test_what_is_demanded_of_a_server_does_not_depend_on_who_connects(node, authority, extension):
    """If a connection that we make were refused, its own one is not used instead."""
    node.ctl("set", "s2s.retry-for", "0s")
    cert = authority.issue(EVIL, EVIL, extensions=[extension])
    peer = federation.Peer(node, EVIL, ONE, cert).secure()
    peer.raw(BIDI)
    assert peer.external() is None
    peer.header().features_come()
    assert "cannot be reached" in ask(node.client("alice"))
    assert not peer._take(lambda e: e.tag.endswith("iq"))


@pytest.mark.parametrize("why", ["policy", "blocked"])
def test_a_domain_that_is_shut_out_gets_nothing_back(node, join, why):
    alice = node.client("alice")
    peer = join(node)
    send(alice, "before")
    come(peer, "before")
    if why == "policy":
        node.ctl("federation", "block", EVIL)
    else:
        row = node.rows("s2s-route", "list")[0]
        node.ctl("s2s-route", "set", EVIL, row["target"], "--blocked", "on")
    peer.expect_closed()


def test_what_has_arrived_does_not_go_back_when_the_domain_is_shut_out(node, join):
    """What has not arrived does; nothing comes in meanwhile."""
    alice, peer = node.client("alice"), join(node)
    peer.auto_ack = False
    send(alice, *range(10))
    come(peer, *range(10))
    node.ctl("federation", "block", EVIL)
    peer.raw(incoming("late").decode())
    peer.ack(8)
    for _ in range(2):
        error = alice.expect("<message type='error'/>")
        assert xml.condition(error.find(f"{{{xml.CLIENT}}}error")) == "not-allowed"
    peer.expect_closed()
    until("all are confirmed", lambda: pending(node) == 0)
    alice.expect_nothing("<message/>")


def test_a_domain_that_is_shut_out_ends_when_it_has_confirmed_all(node, join):
    alice, peer = node.client("alice"), join(node)
    peer.auto_ack = False
    send(alice, *range(10))
    come(peer, *range(10))
    node.ctl("federation", "block", EVIL)
    peer.ack(10)
    peer.expect_stream_error("reset")
    alice.expect_nothing("<message/>")


def test_routes_that_are_out_of_service_are_so_for_the_way_back(node, join):
    alice = node.client("alice")
    row = node.rows("s2s-route", "list")[0]
    node.ctl("s2s-route", "set", EVIL, row["target"], "--in-service", "off")
    peer = join(node)
    send(alice, "back")
    until("an attempt", lambda: "out of service" in node.log())
    nothing(peer)


@pytest.mark.parametrize("origin, to", [("other.test", ONE), (EVIL, "other.test"),
                                        (EVIL, "conference.one.test")])
def test_the_way_back_gives_no_right_to_speak_for_others(node, join, origin, to):
    peer = join(node)
    peer.raw(f"<message from='bob@{origin}' to='alice@{to}'><body>forged</body></message>")
    peer.expect_stream_error("invalid-from", "host-unknown")


def test_only_stanzas_of_the_pair_that_was_proved_go_back(node, join, authority):
    """A stream of one domain carries nothing for another one, whoever has both."""
    federation.route(node, "other.test", federation.free_port())
    peer = join(node)
    alice = node.client("alice")
    send(alice, "to another", to="bob@other.test")
    until("an attempt", lambda: "s2s.failed domain=other.test" in node.log())
    nothing(peer)
    send(alice, "to it")
    come(peer, "to it")


@pytest.mark.sqlite
def test_what_goes_back_is_counted(node, join):
    peer = join(node)
    peer.auto_ack = False
    alice = node.client("alice")
    send(alice, "one", "two")
    come(peer, "one", "two")
    peer.wait("<r/>", lambda: any(e.tag == f"{{{xml.SM}}}r" for e in peer.log))
    until("both are kept", lambda: pending(node) == 2, 5)
    peer.ack(1)
    until("one is confirmed", lambda: pending(node) == 1)
    peer.ack(2)
    until("both are confirmed", lambda: pending(node) == 0)
    peer.ack(3)
    peer.expect_stream_error("undefined-condition")


@pytest.mark.parametrize("how", ["close", "block", "stop"])
def test_what_comes_behind_a_question_is_asked_for_at_the_end(node, join, how):
    """A server that confirms only what it is asked for would else be sent it again."""
    def questions():
        return sum(e.tag == f"{{{xml.SM}}}r" for e in peer.log)

    peer = join(node)
    peer.auto_ack = False
    alice = node.client("alice")
    send(alice, "one")
    come(peer, "one")
    peer.wait("<r/>", lambda: questions() == 1)
    send(alice, "two")
    come(peer, "two")
    assert questions() == 1
    if how == "stop":
        node.signal(signal.SIGTERM)
    else:
        node.ctl(*(("s2s", "close") if how == "close" else ("federation", "block")), EVIL)
    peer.wait("<r/>", lambda: questions() == 2)
    peer.ack(2)
    peer.expect_closed()
    if how == "stop":
        assert node.wait_exit() == 0


def broken(node, peer):
    """Its connection is gone, and the server knows it."""
    peer.cut()
    ended(node)


def ended(node):
    until("its end", lambda: not [r for r in node.rows("s2s", "list")
                                  if r["direction"] == "in"])


@pytest.mark.sqlite
def test_a_stream_is_resumed_with_what_has_not_arrived(node, join):
    peer = join(node)
    peer.auto_ack = False
    alice = node.client("alice")
    peer.raw(f"<message from='bob@{EVIL}' to='{alice.bare}'><body>there</body></message>")
    alice.expect("<message><body>there</body></message>")
    send(alice, *range(5))
    come(peer, *range(5))
    broken(node, peer)
    send(alice, 5)
    again = join(node, enable=False)
    again.auto_ack = False
    answer = sm(again, f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='3'/>")
    assert (answer.tag, answer.get("h")) == (f"{{{xml.SM}}}resumed", "1")
    assert [again.expect("<message/>").findtext(f"{{{xml.CLIENT}}}body") for _ in range(3)] == \
        ["3", "4", "5"]
    again.ack(6)
    until("all are confirmed", lambda: pending(node) == 0)
    nothing(again)


@pytest.mark.sqlite
def test_a_stream_that_ends_while_it_resumes_is_resumed_with_what_has_not_arrived(node, join):
    """The server learns of that before it has the answer, or behind it."""
    peer = join(node)
    peer.auto_ack = False
    alice = node.client("alice")
    send(alice, *range(5))
    come(peer, *range(5))
    broken(node, peer)
    resume = f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='3'/>"
    for _ in range(2):
        cut = join(node, enable=False)
        cut.raw(resume)
        cut.sock.shutdown(socket.SHUT_WR)
        ended(node)
    again = join(node, enable=False)
    again.h = 3
    assert sm(again, resume).tag == f"{{{xml.SM}}}resumed"
    assert again.expect("<message/>").findtext(f"{{{xml.CLIENT}}}body") == "3"
    come(again, 4)
    until("all are confirmed", lambda: again.pump(0.05) or pending(node) == 0)
    nothing(again)


def test_a_stream_of_both_directions_is_not_resumed_by_one_of_one(node, join):
    peer = join(node)
    broken(node, peer)
    again = join(node, enable=False, bidi="")
    answer = sm(again, f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='0'/>")
    assert answer.tag == f"{{{xml.SM}}}failed"


def test_a_new_stream_takes_over_what_an_old_one_has_not_delivered(node, join):
    """It does not resume the old one: all comes again that was not acknowledged."""
    peer = join(node)
    peer.auto_ack = False
    alice = node.client("alice")
    send(alice, "one", "two")
    come(peer, "one", "two")
    broken(node, peer)
    again = join(node)
    come(again, "one", "two")


POISON = "<x xmlns='poison'/>"
FAULT = ("<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
         "</stream:error></stream:stream>")


def read_until_poison(peer, alice, before=0):
    """The numbers that came, up to the poison: what was before that is confirmed, and added to what
    was handled `before`. `alice` hears meanwhile what is refused."""
    peer.auto_ack, got, asked = False, [], 0
    end = time.monotonic() + 20
    while POISON_TAG not in [x.tag for e in got for x in e]:
        assert time.monotonic() < end, [number(e) for e in got]
        if refused(alice) and [number(e) for e in got][-1:] == [5]:
            break
        peer.pump(0.05)
        alice.pump(0.01)
        new = [e for e in peer.inbox if e.tag.endswith("}message")]
        peer.inbox = [e for e in peer.inbox if e not in new]
        got += new
        requests = sum(e.tag == f"{{{xml.SM}}}r" for e in peer.log)
        if requests > asked:
            asked = requests
            peer.ack(before + len(whole([number(e) for e in got])))
    peer.ack(before + len(whole([number(e) for e in got])))
    return [number(e) for e in got]


def whole(numbers):
    """What a server has handled that falls over the third."""
    return numbers[:numbers.index(3)] if 3 in numbers else numbers


POISON_TAG = "{poison}x"


def number(message):
    return int(message.findtext(f"{{{xml.CLIENT}}}body").split()[1])


def refused(alice):
    return [e for e in alice.inbox if e.get("type") == "error"]


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ["reset", "error"])
@pytest.mark.parametrize("more", ["", "<no-store xmlns='urn:xmpp:hints'/>"],
                         ids=["stored", "not stored"])
def test_a_stanza_that_ends_streams_of_the_other_server_goes_back(node, join, how, more):
    """It falls over it each time, and opens the next stream."""
    alice = node.client("alice")
    peer = join(node)
    alice.raw("".join(f"<message to='bob@{EVIL}' type='chat' id='m{n}'><body>text {n}</body>"
                      f"{POISON if n == 3 else ''}{more}</message>" for n in range(1, 6)))
    streams = []
    while True:
        streams.append(read_until_poison(peer, alice))
        if refused(alice) and streams[-1][-1:] == [5]:
            break
        assert len(streams) < 8, streams
        if how == "reset":
            peer.cut()
        else:
            peer.raw(FAULT)
            peer.expect_closed()
        peer = join(node)
    assert [e.get("id") for e in refused(alice)] == ["m3"]
    assert xml.condition(refused(alice)[0].find(f"{{{xml.CLIENT}}}error")) == "not-acceptable"
    poisoned = [numbers for numbers in streams if 3 in numbers]
    assert poisoned[-2:] == [[3], [3]]
    assert streams[-1] == [4, 5]
    until("all are confirmed", lambda: pending(node) == 0)


@pytest.mark.sqlite
def test_a_stanza_that_breaks_streams_that_are_resumed_goes_back(node, join):
    """Counts go on without it."""
    alice = node.client("alice")
    peer = join(node)
    alice.raw("".join(f"<message to='bob@{EVIL}' type='chat' id='m{n}'><body>text {n}</body>"
                      f"{POISON if n == 3 else ''}</message>" for n in range(1, 6)))
    streams, handled = [], 0
    session = peer.sm_id
    while True:
        streams.append(read_until_poison(peer, alice, handled))
        if refused(alice) and streams[-1][-1:] == [5]:
            break
        assert len(streams) < 8, streams
        handled += len(whole(streams[-1]))
        peer.cut()
        peer = join(node, enable=False)
        answer = sm(peer, f"<resume xmlns='{xml.SM}' previd='{session}' h='{handled}'/>")
        if not answer.tag.endswith("}resumed"):
            session = peer.enable_sm().get("id")
            handled = 0
    assert [e.get("id") for e in refused(alice)] == ["m3"]
    assert streams[-1] == [4, 5]
    until("all are confirmed", lambda: pending(node) == 0)


# --- servers that the test plays: we open the stream ---

SM = f"<sm xmlns='{xml.SM}'/>"
ENABLED = f"<enabled xmlns='{xml.SM}' id='session' resume='true'/>"


@pytest.fixture
def listener(node, authority):
    victim = federation.Listener(EVIL, authority.issue("victim", EVIL))
    federation.route(node, EVIL, victim.port)
    yield victim
    victim.close()


def opened(listener, answer=ENABLED, offer=True):
    """The next stream, up to the answer to <enable/> or <resume/>: its socket, and the request."""
    peer = listener.secure(features=federation.EXTERNAL + (
        "<bidi xmlns='urn:xmpp:features:bidi'/>" if offer else ""))
    found = listener.read_until(peer, "(?s).*<auth.*</auth>")
    assert (re.search("<bidi xmlns='urn:xmpp:bidi'>.*</bidi><auth", found[0]) is not None) == offer
    peer.sendall(f"<success xmlns='{xml.SASL}'/>".encode())
    listener.header(peer, "third", SM)
    asked = listener.read_until(peer, "<(?:enable|resume) [^>]*/>")
    peer.sendall(answer.encode())
    return peer, asked[0]


def incoming(body, origin=f"bob@{EVIL}", to=f"alice@{ONE}"):
    return (f"<message from='{origin}' to='{to}' type='chat'><body>{body}</body></message>"
            ).encode()


def test_the_server_sends_on_the_stream_that_we_have_opened(node, listener):
    alice = node.client("alice")
    send(alice, "there")
    peer, _ = opened(listener)
    peer.sendall(incoming("one") + incoming("two"))
    for body in "one", "two":
        alice.expect(f"<message><body>{body}</body></message>")
    peer.sendall(f"<r xmlns='{xml.SM}'/>".encode())
    listener.read_until(peer, "<a xmlns='urn:xmpp:sm:3' h='2'/>")
    rows = node.rows("s2s", "list", EVIL)
    assert sorted(row["direction"] for row in rows) == ["in", "out"]


def test_without_the_offer_nothing_may_come(node, listener):
    send(node.client("alice"), "there")
    peer, _ = opened(listener, offer=False)
    peer.sendall(incoming("one"))
    listener.read_until(peer, "unsupported-stanza-type")


@pytest.mark.parametrize("origin, to", [("bob@other.test", f"alice@{ONE}"),
                                        (f"bob@{EVIL}", "alice@other.test"),
                                        (f"bob@{EVIL}", "room@conference.one.test"),
                                        (f"eve@{ONE}", f"alice@{ONE}")])
def test_nothing_else_may_come_on_it(node, listener, origin, to):
    alice = node.client("alice")
    send(alice, "there")
    peer, _ = opened(listener)
    peer.sendall(incoming("forged", origin, to))
    listener.read_until(peer, "invalid-from")
    alice.expect_nothing("<message><body>forged</body></message>")


def test_what_has_arrived_on_our_stream_does_not_go_back_when_the_domain_is_shut_out(node,
                                                                                      listener):
    alice = node.client("alice")
    send(alice, "first")
    peer, _ = opened(listener)
    send(alice, *range(10))
    listener.read_until(peer, ">9</body>")
    node.ctl("federation", "block", EVIL)
    peer.sendall(f"<a xmlns='{xml.SM}' h='9'/></stream:stream>".encode())
    for _ in range(2):
        alice.expect("<message type='error'/>")
    alice.expect_nothing("<message/>")


@pytest.mark.sqlite
def test_our_stream_is_resumed_with_what_has_come_on_it(node, listener):
    """At once, though we have nothing to say: who sends on it cannot make it again."""
    alice = node.client("alice")
    send(alice, "there")
    peer, _ = opened(listener)
    peer.sendall(f"<a xmlns='{xml.SM}' h='1'/>".encode() + incoming("one") + incoming("two"))
    for body in "one", "two":
        alice.expect(f"<message><body>{body}</body></message>")
    until("all are confirmed", lambda: pending(node) == 0)
    peer.close()
    again, asked = opened(listener, f"<resumed xmlns='{xml.SM}' previd='session' h='1'/>")
    assert "<resume" in asked and "h='2'" in asked
    again.sendall(incoming("three") + f"<r xmlns='{xml.SM}'/>".encode())
    alice.expect("<message><body>three</body></message>")
    listener.read_until(again, "<a xmlns='urn:xmpp:sm:3' h='3'/>")


def received(node):
    return next(row["value"] for row in node.rows("metrics") if row["name"] == "muster_s2s_stanzas"
                and row["label"] == "direction=received")


@pytest.fixture
def under_way(start, authority, disk, request):
    """A stream that we have opened, and two messages that have come on it and are just being
    committed, for as long as the disk stands still: our server, the one of the test, a socket. The
    parameter answers <enable/>."""
    node = start("alice", ONE, disk=disk)
    listener = federation.Listener(EVIL, authority.issue("victim", EVIL))
    federation.route(node, EVIL, listener.port)
    send(node.client("alice"), "there")
    peer, _ = opened(listener, getattr(request, "param", ENABLED))
    peer.sendall(f"<a xmlns='{xml.SM}' h='1'/>".encode())
    until("it is confirmed", lambda: pending(node) == 0)
    disk.turn(sync_ms=slow_disk.STILL)
    peer.sendall(incoming("one") + incoming("two"))
    until("both", lambda: received(node) == 2)
    yield node, listener, peer
    disk.turn(sync_ms=0)
    listener.close()


@pytest.mark.sqlite
@pytest.mark.parametrize("ends", ["peer", "operator", "rule", "restart"])
def test_what_has_come_on_our_stream_is_acknowledged_before_its_end(under_way, disk, ends):
    """Else the server sends it again, and it is kept twice."""
    node, listener, peer = under_way
    later = threading.Timer(0.3, disk.turn, kwargs={"sync_ms": 0})
    later.start()
    if ends == "peer":
        peer.sendall(b"</stream:stream>")
    elif ends == "operator":
        node.ctl("s2s", "close", EVIL)
        node.ctl_run("s2s", "close", EVIL)  # it changes nothing, or is late
    elif ends == "rule":
        node.ctl("federation", "block", EVIL)
    else:
        node.stop()
    text = listener.read_until(peer, "(?s).*</stream:stream>")[0]
    later.join()
    assert "<a xmlns='urn:xmpp:sm:3' h='2'/>" in text


@pytest.mark.sqlite
@pytest.mark.parametrize("under_way", [f"<enabled xmlns='{xml.SM}'/>"], indirect=True)
def test_the_end_of_our_stream_does_not_wait_long_for_a_store_that_stands_still(under_way):
    node, listener, peer = under_way
    node.ctl("s2s", "close", EVIL)
    text = listener.read_until(peer, "(?s).*</stream:stream>")[0]
    assert "<a " not in text


@pytest.mark.sqlite
def test_our_stream_that_can_be_resumed_breaks_if_the_store_stands_still(under_way, disk):
    """An end would end its session, too, and what has come would come again."""
    node, listener, peer = under_way
    node.ctl("s2s", "close", EVIL)
    text = b""
    with contextlib.suppress(ConnectionResetError):
        while data := peer.recv(65536):
            text += data
    assert b"</stream:stream>" not in text and b"<a " not in text
    disk.turn(sync_ms=0)
    _, asked = opened(listener, f"<resumed xmlns='{xml.SM}' previd='session' h='1'/>")
    assert "<resume" in asked and "h='2'" in asked


# --- Prosody ---


@pytest.fixture
def prosody_too(make_server, tmp_path):
    """A function that starts ours and Prosody with mod_s2s_bidi."""
    started = []
    yield lambda more="", **options: partner.start(
        make_server, tmp_path, prosody.Prosody, started, more=f'"s2s_bidi"; {more}', **options)
    for process in started:
        process.finish()


@pytest.mark.skipif(not prosody.is_here(), reason="no Prosody, or no dnsmasq")
@pytest.mark.parametrize("more", ["", '"smacks";'])
@pytest.mark.parametrize("first", ["alice", "bob"])
def test_prosody_on_one_connection(prosody_too, first, more):
    ours, theirs = prosody_too(more)
    partner.talk_both_ways(ours, theirs, first)
    values = {row["label"]: row["value"] for row in ours.rows("metrics")
              if row["name"] == "muster_s2s_streams"}
    assert values == {"direction=sent": int(first == "alice"),
                      "direction=received": int(first == "bob")}


@pytest.mark.skipif(not prosody.is_here(), reason="no Prosody, or no dnsmasq")
@pytest.mark.parametrize("first", ["alice", "bob"])
def test_prosody_with_dialback_on_one_connection(prosody_too, first):
    ours, theirs = prosody_too(settings={"verify_certificates": "off"}, trusted=False)
    partner.talk_both_ways(ours, theirs, first)
    if first == "alice":  # Prosody asks about our key on a stream that it keeps, too
        assert "both=yes" in ours.log()
    else:
        assert len([r for r in ours.rows("s2s", "list") if r["state"] == "up"]) == 2
        assert ours.log().count("auth=dialback") == 1


@pytest.mark.skipif(not prosody.is_here(), reason="no Prosody, or no dnsmasq")
def test_a_server_without_a_right_certificate_gets_nothing_back(prosody_too):
    """Dialback proves who sends, and we send nothing to a server whose certificate is wrong."""
    ours, theirs = prosody_too(settings={"keep_for": "0s", "retry_for": "0s"}, trusted=False)
    alice, bob = ours.client("alice"), theirs.client("bob")
    bob.send(f"<message to='{alice}' type='chat'><body>there</body></message>")
    until("a refusal", lambda: "its certificate is refused" in ours.log())
    assert not [r for r in ours.rows("s2s", "list")
                if (r["direction"], r["state"]) == ("out", "up")]


def test_a_second_pair_of_the_stream_goes_back_once_it_is_proved(node, listener):
    """Its key is asked about elsewhere, not on the stream that it is of."""
    node.ctl("set", "s2s.verify-certificates", "off")
    peer, room = federation.Peer(node, EVIL, ONE).secure(), f"room@conference.{ONE}"
    peer.raw(BIDI)
    for local in ONE, f"conference.{ONE}":
        peer.result("key", to=local)
        with listener.secure("second", "") as asked:
            found = listener.read_until(asked, "<db:verify [^>]*id='([^']*)'[^>]*>key</db:verify>")
            asked.sendall(f"<db:verify from='{EVIL}' to='{local}' id='{found[1]}' "
                          "type='valid'/>".encode())
            peer.wait("the answer", lambda local=local: peer._take(
                lambda e: e.tag.endswith("}result") and e.get("from") == local
                and e.get("type") == "valid"))
    peer.raw(f"<presence from='bob@{EVIL}/x' to='{room}/bob'>"
             "<x xmlns='http://jabber.org/protocol/muc'/></presence>")
    peer.expect(f"<presence from='{room}/bob'/>")
    send(node.client("alice"), "of the first")
    come(peer, "of the first")


def test_a_second_pair_that_the_certificate_proves(node, join):
    """Nobody needs to be asked about the key (XEP-0344)."""
    peer = join(node)
    peer.result("key", to=f"conference.{ONE}")
    peer.wait("the answer", lambda: peer._take(
        lambda e: e.tag.endswith("}result") and e.get("type") == "valid"))
    peer.result("key", origin="two.test", to=ONE)  # which it does not name
    peer.wait("the answer", lambda: peer._take(
        lambda e: e.tag.endswith("}result") and e.get("type") == "error"))
