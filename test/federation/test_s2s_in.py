"""What another server may do on its stream to us, and what costs it the stream (RFC 6120,
XEP-0220): nobody forges."""
import contextlib
import time

import pytest

from harness import federation, xml
from harness.client import until
from harness.component import Component
from harness.federation import DIALBACK, Listener, Peer
from harness.links import (BOB, END, EVIL, ONE, OTHER, answered, authority, evil, hear, join, links,
                           listener, message, metric, node, pair, say, silent, start)

__all__ = ["authority", "evil", "join", "listener", "node", "pair", "silent", "start"]
ALICE, GATE, ROOMS = f"alice@{ONE}", f"gate.{ONE}", f"conference.{ONE}"
ZEROS, SECRET = "0" * 64, "a secret of the component"


@pytest.fixture
def alice(node):
    return node.client("alice")


@pytest.fixture
def gate(node):
    """A component that is connected."""
    node.ctl("component", "add", GATE, "--secret", SECRET)
    return Component(node, GATE, SECRET)


# --- nobody forges ---


@pytest.mark.parametrize("origin, to, condition", [
    (f"bob@{OTHER}", ALICE, "invalid-from"), (f"bob@{ONE}", ALICE, "invalid-from"),
    (f"bob@sub.{EVIL}", ALICE, "invalid-from"), (BOB, f"alice@{OTHER}", "host-unknown"),
    (BOB, f"room@{ROOMS}", "invalid-from"), ("", ALICE, "improper-addressing"),
    (BOB, "", "improper-addressing"), (f"\u2603@{OTHER}", ALICE, "invalid-from"),
    (BOB, f"\u2603@{OTHER}", "host-unknown")])
def test_stanzas_that_the_authenticated_domain_may_not_send(node, alice, evil, origin, to,
                                                            condition):
    """What it may send comes; and the log says which domains were asked for."""
    stanza = message(origin, to, "forged").replace(" from=''", "").replace(" to=''", "")
    evil.join().raw(message(BOB, ALICE, "true") + stanza)
    evil.expect_stream_error(condition)
    hear(alice, "true")
    alice.expect_nothing("<message/>")
    node.wait_log(f"event=s2s.error condition={condition} ")


@pytest.mark.parametrize("secured", [False, True])
def test_stanzas_before_authentication(alice, evil, secured):
    evil.secure() if secured else evil.header().features_come()
    evil.raw(message(BOB, ALICE, "forged"))
    evil.expect_stream_error("not-authorized")
    alice.expect_nothing()


@pytest.mark.parametrize("to, origin, condition, domain, local", [
    ("nobody.test", EVIL, "host-unknown", EVIL, "nobody.test"),
    ("no domain", EVIL, "host-unknown", EVIL, '"no domain"'),
    ("nobody.test", "-", "host-unknown", '""', "nobody.test"),
    (ONE, ONE, "invalid-from", ONE, ONE), (ONE, ROOMS, "invalid-from", ROOMS, ONE),
    (ONE, "127.0.0.1", "policy-violation", "127.0.0.1", ONE),
    (ONE, "no domain", "invalid-from", '"no domain"', ONE)])
def test_headers_of_domains_that_cannot_be(node, evil, to, origin, condition, domain, local):
    evil.header(to=to, origin=origin)
    evil.expect_stream_error(condition)
    node.wait_log(f"event=s2s.error condition={condition} .*domain={domain} local={local} peer=127")


@pytest.mark.parametrize("header", [{"origin": OTHER}, {"to": ROOMS}, {"origin": "-"}, None])
def test_the_header_after_authentication_names_the_same_domains(evil, header):
    assert evil.secure().external() is None
    if header is None:
        evil.reader = xml.Reader()
        evil.raw(f"<stream:stream xmlns='{federation.SERVER}' xmlns:stream='{xml.STREAM}' "
                 f"version='1.0' from='' to='{ONE}'>")
    else:
        evil.header(**header)
    evil.expect_stream_error("invalid-from")


def test_external_for_another_name(node, evil, authority):
    """Also with our own certificate."""
    evil.secure()
    assert evil.mechanisms == ["EXTERNAL"] and evil.external(OTHER) == "invalid-authzid"
    own = authority.issue("own", ONE, ROOMS)
    for domain, cert in (OTHER, evil.cert), (EVIL, own):
        peer = Peer(node, domain, ONE, cert).secure()
        assert peer.mechanisms == []
        for claim in "=", domain, ONE:
            assert peer.external(claim) == "not-authorized"
            peer = Peer(node, domain, ONE, cert).secure()


def test_nothing_is_proved_without_tls(evil):
    evil.header().features_come()
    assert not evil.offers("dialback", "urn:xmpp:features:dialback") and evil.mechanisms == []
    evil.result(ZEROS)
    evil.expect_stream_error("policy-violation")


def test_keys_that_prove_nothing(pair, authority):
    """A guessed one; one for a domain of ours; one that the server has made for another stream, or
    for another server: evil.test lets OTHER make a key for the id that ONE gave to its stream."""
    one, other, _ = pair()
    alice, bob = one.client("alice"), other.client("bob")
    cert = authority.issue("evil", EVIL)
    Peer(one, EVIL, ONE, cert).secure().result(ZEROS, origin=ONE)
    peer = Peer(one, OTHER, ONE, cert).secure()
    peer.result(ZEROS)
    peer.raw(message(f"bob@{OTHER}", alice, "forged"))
    peer.expect_stream_error("not-authorized")
    peer = Peer(one, OTHER, ONE, cert).secure()
    peer.result(ZEROS)
    answered(peer, "invalid", OTHER)
    peer.expect_closed()
    assert "s2s.forged" in one.log()
    victim = Peer(one, OTHER, ONE, cert).secure()
    there = Listener(EVIL, authority.issue("there", EVIL))
    federation.route(other, EVIL, there.port)
    say(bob, 0)
    victim.result(there.key(victim.stream_id))
    answered(victim, "invalid", OTHER)
    victim.expect_closed()
    impostor = Listener(ONE, authority.issue("impostor", ONE))
    federation.route(other, ONE, impostor.port)
    first, second = (Peer(one, OTHER, ONE).secure() for _ in range(2))
    say(bob, 0, to=alice.bare)
    key = impostor.key(first.stream_id)
    first.result(key)
    answered(first, "valid", OTHER)
    second.result(key)
    answered(second, "invalid", OTHER)
    second.expect_closed()
    alice.expect_nothing("<message/>")
    there.close()
    impostor.close()


def test_several_pairs_on_one_stream(pair, authority):
    """By its certificate (XEP-0344), by a key, and by one that is denied: a proof for one domain is
    none for another. Guesses are bounded (DENIED_MAX)."""
    one, other, _ = pair()
    alice = one.client("alice")
    peer = Peer(one, EVIL, ONE, authority.issue("evil", EVIL, f"x.{EVIL}")).join()
    for origin, to in (f"x.{EVIL}", ONE), (EVIL, ROOMS):
        peer.result(ZEROS, origin=origin, to=to)
        peer.expect(f"<db:result xmlns:db='{DIALBACK}' from='{to}' to='{origin}' type='valid'/>")
        peer.raw(f"<message from='u@{origin}' to='{ALICE if to == ONE else to}' type='chat' "
                 f"id='m{origin}'><body>x</body></message>")
    alice.expect(f"<message from='u@x.{EVIL}'/>")
    for n in range(7):
        peer.result(f"{n}" * 64, origin=OTHER)
        answered(peer, "invalid", OTHER)
    peer.raw(message(BOB, alice, "true"))
    alice.expect("<message id='mtrue'/>")
    peer.result("7" * 64, origin=OTHER)
    peer.expect_stream_error("not-authorized")
    peer = Peer(one, EVIL, ONE, authority.issue("again", EVIL)).join()
    peer.raw(message(f"bob@{OTHER}", alice, "forged"))
    peer.expect_stream_error("invalid-from")
    alice.expect_nothing("<message/>")
    del other


def test_questions_about_keys_are_bounded(node, evil, authority):
    """UNJUDGED_MAX: domains that cannot be reached, of which each costs a connection. A key is not
    checked twice at a time."""
    evil.secure().raw(f"<db:verify from='{EVIL}' to='{ONE}' id='some'>{ZEROS}</db:verify>" * 2)
    for _ in range(2):
        evil.expect(f"<db:verify xmlns:db='{DIALBACK}' id='some' type='invalid'/>")
    there = Listener("victim.test", authority.issue("victim", "victim.test"))
    federation.route(node, "victim.test", there.port)
    for n in range(3):
        evil.result(f"{n}" * 64, origin="victim.test")
    assert there.questions() == [ZEROS]
    there.close()
    federation.route(node, "*", federation.free_port())
    peer = Peer(node, EVIL, ONE, authority.issue("again", EVIL)).join()
    for n in range(64):
        peer.result(ZEROS, origin=f"d{n}.test")
        answered(peer, "error", f"d{n}.test")
    peer.expect_stream_error("policy-violation")


@pytest.mark.parametrize("command", [("set", "admin.accounts", BOB),
                                     ("admin", "add", BOB, "administrator")])
def test_who_logged_in_elsewhere_is_no_administrator(start, authority, command):
    """Whatever this server has stored of the address: its domain was ours and has moved."""
    server = start("alice", domains=[ONE, EVIL])
    server.add_user("bob", domain=EVIL)
    server.ctl(*command)
    server.conf["domains"] = server.domains = [ONE]
    server.restart()
    there = Listener(EVIL, authority.issue("there", EVIL))
    federation.route(server, EVIL, there.port)
    peer = Peer(server, EVIL, ONE, authority.issue("evil", EVIL)).join()
    peer.raw(f"<iq from='{BOB}/r' to='{ONE}' type='set' id='q'><command node='user-list' "
             "xmlns='http://jabber.org/protocol/commands' action='execute'/></iq>")
    with there.join() as stream:
        answer = there.read_until(stream, "<iq .*</iq>")[0]
    assert "type='error'" in answer and "<forbidden" in answer
    there.close()


# --- content ---

FORWARDED = ("<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:{}'><body>x</body>"
             "</message></forwarded>")


@pytest.mark.parametrize("content, seen", [
    ("<s:body xmlns:s='jabber:server'>x</s:body>", "<body>x</body>"),
    ("<body xmlns='jabber:server'>x</body>", "<body>x</body>"),
    ("<q:body>x</q:body>", "<body>x</body>"),
    (FORWARDED.format("server"), FORWARDED.format("client")),
    (FORWARDED.format("client"), FORWARDED.format("client")),
    ("<s:x xmlns:s='jabber:server' xmlns='urn:y'><z/></s:x>", "<x><z xmlns='urn:y'/></x>")])
def test_content_of_the_stream_is_content_for_clients(alice, evil, content, seen):
    evil.secure().external()
    evil.reader = xml.Reader()
    evil.raw(f"<stream:stream xmlns='{federation.SERVER}' xmlns:stream='{xml.STREAM}' xmlns:q="
             f"'{federation.SERVER}' version='1.0' from='{EVIL}' to='{ONE}' xml:lang='de'>")
    evil.features_come()
    evil.raw(f"<message from='{BOB}' to='{alice}' type='chat'>{content}</message>")
    assert alice.expect(f"<message>{seen}</message>").get(xml.LANG) == "de"


# --- limits ---


def test_large_stanzas_end_their_stream_alone(node, alice, evil, authority):
    """And a stream in which each byte comes alone is as good as another."""
    evil.join()
    for byte in message(BOB, alice, "slow").encode():
        evil.raw(bytes([byte]))
    hear(alice, "slow")
    with contextlib.suppress(OSError):  # it may be closed before all is sent
        evil.raw(message(BOB, alice, "x" * (1 << 20)))
    evil.expect_stream_error("policy-violation")
    node.ctl("set", "s2s.stanza-bytes", "10000")
    peer = Peer(node, EVIL, ONE, authority.issue("again", EVIL)).join()
    limits = peer.features.find("{urn:xmpp:stream-limits:0}limits")
    assert limits.findtext("{urn:xmpp:stream-limits:0}max-bytes") == "10000"
    peer.raw(message(BOB, alice, "next") + message(BOB, alice, "x" * 10000))
    peer.expect_stream_error("policy-violation")
    hear(alice, "next")


@pytest.mark.parametrize("limit, value", [("s2s.stanza-rate", 10), ("s2s.byte-rate", 10000)])
def test_a_server_is_read_more_slowly(node, alice, evil, limit, value):
    """Above its rate, evenly: not a lot at once and then nothing. One that floods can be closed: it
    does not end its stream, and there is always more to read."""
    node.ctl("set", limit, str(value))
    evil.join().raw("".join(f"<message to='{alice}' from='{BOB}' id='m{n}'><body>{'x' * 900}</body>"
                            "</message>" for n in range(30)))
    came = []
    for n in range(30):
        alice.expect_next(f"<message id='m{n}'/>")
        came.append(time.monotonic())
    assert came[-1] - came[0] > 1.2
    assert sum(later - since > 0.05 for since, later in zip(came[9:], came[10:])) >= 6
    evil.raw(f"<presence from='{BOB}' to='{ALICE}'/>" * 2000)
    assert node.ctl("s2s", "close", EVIL)["text"] == "closed streams: 1"
    since = time.monotonic()
    evil.expect_closed()
    assert time.monotonic() - since < 10


def test_many_streams(node, alice, authority):
    """Each works, and all end. An address has a limit."""
    cert = authority.issue("many", EVIL)
    peers = [Peer(node, EVIL, ONE, cert).join() for _ in range(100)]
    for n, peer in enumerate(peers):
        peer.raw(message(BOB, alice, n) + END)
    found = [alice.expect("<message/>").findtext(f"{{{xml.CLIENT}}}body") for _ in peers]
    assert sorted(map(int, found)) == list(range(100))
    node.ctl("set", "s2s.connections-per-address", "3")
    until("the end of all", lambda: metric(node, "s2s_streams", "received") == 0)
    peers = [Peer(node, EVIL, ONE, cert).secure() for _ in range(3)]
    Peer(node, EVIL, ONE, cert).expect_closed()
    node.wait_log("event=s2s.crowd peer=127.0.0.1 ")
    peers[0].close()
    until("the end of one", lambda: metric(node, "s2s_streams", "received") == 2)
    Peer(node, EVIL, ONE, cert).secure()


# --- ends ---


@pytest.mark.parametrize("ends", ["late", "silent", "says more"])
def test_a_stream_that_an_operator_closes(node, alice, evil, ends):
    """What is under way is taken, nothing is said behind the end, and who does not end is ended."""
    evil.join()
    node.ctl("s2s", "close", EVIL)
    if ends == "late":
        evil.raw(message(BOB, alice, "late") + END)
        hear(alice, "late")
    elif ends == "says more":
        evil.wait("the end of its stream", lambda: evil.reader.ended)
        evil.result(ZEROS)
        evil.raw("<a xmlns='urn:unknown'/>")
    evil.expect_closed()
    assert evil.inbox == []
    until("its end", lambda: node.rows("s2s", "list") == [])


def counts(peer):
    return {e.get("h") for e in peer.log if e.tag == f"{{{xml.SM}}}a"}


@pytest.mark.parametrize("what", ["component", "service"])
def test_what_comes_for_a_domain_that_has_left(node, gate, alice, join, what):
    """It is not acknowledged: the other server sends it again, and hears then that the domain is
    unknown. Where nothing is counted, what is behind it is taken, though the stream ends."""
    domain = GATE if what == "component" else ROOMS
    peer, uncounted = join(node, local=domain), join(node, enable=False)
    uncounted.result("abcdef01", to=domain)  # its certificate proves it
    peer.raw(message(BOB, f"u@{domain}", "one") + f"<r xmlns='{xml.SM}'/>")
    until("its answer", lambda: peer.pump(0.1) or "1" in counts(peer))
    if what == "component":
        node.ctl("component", "del", domain)
    else:
        node.ctl("set", "muc.enabled", "off")
    peer.raw(message(BOB, f"u@{domain}", "two") + f"<r xmlns='{xml.SM}'/>")
    peer.expect_closed()
    assert counts(peer) <= {"0", "1"}
    for n, to in enumerate((ALICE, f"u@{domain}", ALICE)):
        uncounted.raw(message(BOB, to, n))
    hear(alice, 0, 2)
    uncounted.expect_closed()
    join_again = Peer(node, EVIL, domain).header()
    join_again.expect_stream_error("host-unknown")
    assert what == "service" or not links(node, "out")  # nothing is relayed for it
