"""What another server may do on its stream to us, and what costs it the stream (RFC 6120,
XEP-0220)."""
import contextlib
import socket

import pytest

from harness import federation, xml
from harness.client import until
from harness.component import Component
from harness.federation import DIALBACK, Peer
from federation.test_s2s_lost import pending

ONE, EVIL, OTHER = "one.test", "evil.test", "other.test"
SECRET = "a secret of the component"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def node(make_server, authority):
    """One server at ONE that federates with all; components may join it."""
    tls = {**authority.issue(ONE, ONE), "trust": str(authority.file)}
    server = make_server("alice", domains=[ONE], s2s=True, component=True, tls=tls)
    server.ctl("set", "s2s.policy", "open")
    return server


@pytest.fixture
def evil(node, authority):
    return Peer(node, EVIL, ONE, authority.issue("evil", EVIL))


@pytest.fixture
def silent(node):
    """All other servers are this socket, which says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        federation.route(node, "*", sock.getsockname()[1])
        yield sock


def message(origin, to, body):
    return f"<message from='{origin}' to='{to}' type='chat'><body>{body}</body></message>"


# --- addresses ---


@pytest.mark.parametrize("origin, to", [
    (f"bob@{EVIL}", f"\u2603@{ONE}"), (f"bob@{EVIL}", f"alice@{ONE}/\u2028"),
    (f"bob@{EVIL}", "alice@not a domain"), (f"bob@{EVIL}", f"@{ONE}"),
    (f"\u2603@{EVIL}", f"alice@{ONE}"), (f"bob@{EVIL}/\u2028", f"alice@{ONE}"),
    (f"@{EVIL}", f"alice@{ONE}"), (f"\u2603@{EVIL}", f"\u2603@{ONE}"),
    ("\u2603@not a domain", f"alice@{ONE}"), ("", f"alice@{ONE}")])
def test_an_address_that_is_none_costs_its_stanza_alone(node, evil, origin, to):
    alice = node.client("alice")
    evil.join().raw(message(origin, to, "bad") + message(f"bob@{EVIL}", f"alice@{ONE}", "good"))
    alice.expect_next(f"<message from='bob@{EVIL}'><body>good</body></message>")


@pytest.mark.parametrize("origin, to, condition", [
    ("\u2603@other.test", f"alice@{ONE}", "invalid-from"),
    (f"bob@{EVIL}", "\u2603@other.test", "host-unknown")])
def test_an_address_that_is_none_of_a_domain_that_is_not_proved(evil, origin, to, condition):
    evil.join().raw(message(origin, to, "bad"))
    evil.expect_stream_error(condition)


def test_the_sender_hears_that_an_address_is_none(node, make_server, authority):
    tls = {**authority.issue("other", "other.test"), "trust": str(authority.file)}
    other = make_server("bob", domains=["other.test"], s2s=True, tls=tls,
                        settings=federation.settings())
    federation.route(node, "other.test", other.s2s_port)
    bob = other.client("bob")
    peer = Peer(node, "other.test", ONE, authority.issue("peer", "other.test")).join()
    peer.raw(message(bob, f"\u2603@{ONE}", "bad"))
    bob.expect(f"<message type='error' from='{ONE}'><error type='modify'><jid-malformed "
               "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")


@pytest.mark.parametrize("by", ["setting", "role"])
def test_who_logged_in_elsewhere_is_no_administrator(make_server, authority, by):
    """Whatever this server has stored of the address: its domain was ours and has moved."""
    tls = {**authority.issue(ONE, ONE), "trust": str(authority.file)}
    server = make_server("alice", domains=[ONE, OTHER], s2s=True, tls=tls)
    server.ctl("set", "s2s.policy", "open")
    server.add_user("root", domain=OTHER)
    if by == "setting":
        server.ctl("set", "admin.accounts", f"root@{OTHER}")
    else:
        server.ctl("admin", "add", f"root@{OTHER}", "administrator")
    server.conf["domains"] = server.domains = [ONE]
    server.restart()
    listener = federation.Listener(OTHER, authority.issue("listener", OTHER))
    federation.route(server, OTHER, listener.port)
    peer = Peer(server, OTHER, ONE, authority.issue("other", OTHER)).join()
    peer.raw(f"<iq from='root@{OTHER}/r' to='{ONE}' type='set' id='q'><command node='user-list' "
             "xmlns='http://jabber.org/protocol/commands' action='execute'/></iq>")
    with listener.join() as stream:
        answer = listener.read_until(stream, "<iq .*</iq>")[0]
    assert "type='error'" in answer and "<forbidden" in answer


@pytest.fixture
def gate(node):
    """A component that has been connected, and its domain."""
    domain = f"gate.{ONE}"
    node.ctl("component", "add", domain, "--secret", SECRET)
    component = Component(node, domain, SECRET)
    component.gate = domain
    return component


def disconnected(node, component):
    component.close()
    until("its end", lambda: node.rows("component", "list")[0]["connections"] == 0)


def test_nothing_is_relayed_for_a_component_that_is_deleted(node, authority, silent, gate):
    peer = Peer(node, EVIL, gate.gate, authority.issue("evil", EVIL)).join()
    peer.raw(message(f"x@{EVIL}", f"u@{gate.gate}", "one"))
    gate.expect("<message><body>one</body></message>")
    node.ctl("component", "del", gate.gate)
    peer.raw(message(f"x@{EVIL}", f"u@{gate.gate}", "two"))
    peer.expect_closed()
    assert not [row for row in node.rows("s2s", "list") if row["direction"] == "out"]
    del silent


def test_a_component_that_is_not_connected_is_ours(node, authority, gate):
    """Its requests are answered to other servers, and nobody looks for it elsewhere; also after a
    restart."""
    listener = federation.Listener(EVIL, authority.issue("listener", EVIL))
    federation.route(node, EVIL, listener.port)
    peer = Peer(node, EVIL, gate.gate, authority.issue("evil", EVIL)).join()
    disconnected(node, gate)
    request = (f"<iq from='x@{EVIL}' to='u@{gate.gate}' type='get' id='q'>"
               "<query xmlns='urn:x'/></iq>")
    peer.raw(request)
    with listener.join() as stream:
        answer = listener.read_until(stream, "<iq.*</iq>")[0]
        assert "remote-server-timeout" in answer and f"from='u@{gate.gate}'" in answer
    node.restart()
    alice = node.client("alice")
    assert alice.error("get", "<query xmlns='urn:x'/>", to=f"u@{gate.gate}")[0] == \
        "remote-server-timeout"
    assert "s2s.failed" not in node.log().split("server.ready")[-1]
    node.ctl("component", "del", gate.gate)
    assert alice.error("get", "<query xmlns='urn:x'/>", to=f"u@{gate.gate}")[0] == \
        "remote-server-not-found"
    listener.close()


# --- content ---


@pytest.mark.parametrize("content, seen", [
    ("<s:body xmlns:s='jabber:server'>x</s:body>", "<body>x</body>"),
    ("<body xmlns='jabber:server'>x</body>", "<body>x</body>"),
    ("<q:body>x</q:body>", "<body>x</body>"),
    ("<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:server'><body>x</body>"
     "</message></forwarded>", "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns="
     "'jabber:client'><body>x</body></message></forwarded>"),
    ("<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>x</body>"
     "</message></forwarded>", "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns="
     "'jabber:client'><body>x</body></message></forwarded>"),
    ("<s:error xmlns:s='jabber:server' type='cancel'><gone xmlns='urn:ietf:params:xml:ns:"
     "xmpp-stanzas'/></s:error>", "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:"
     "xmpp-stanzas'/></error>"),
    ("<s:x xmlns:s='jabber:server' xmlns='urn:y'><z/></s:x>", "<x><z xmlns='urn:y'/></x>")])
def test_content_of_the_stream_is_content_for_clients(node, evil, content, seen):
    alice = node.client("alice")
    evil.secure().external()
    evil.reader = xml.Reader()
    evil.raw(f"<stream:stream xmlns='{federation.SERVER}' xmlns:stream='{xml.STREAM}' xmlns:q="
             f"'{federation.SERVER}' version='1.0' from='{EVIL}' to='{ONE}' xml:lang='de'>")
    evil.features_come()
    kind = "error" if "error" in content else "chat"
    evil.raw(f"<message from='x@{EVIL}' to='{alice}' type='{kind}'>{content}</message>")
    got = alice.expect(f"<message type='{kind}'>{seen}</message>")
    assert got.get("{http://www.w3.org/XML/1998/namespace}lang") == "de"


@pytest.mark.parametrize("content", [
    "<a xmlns:p='jabber:server' xmlns:q='jabber:client' p:x='1' q:x='2'/>",
    "<a xmlns='urn:y' xmlns:p='jabber:client' p:x='1' s:x='2'/>"])
def test_attributes_that_would_be_one_to_clients_end_their_stream_alone(node, evil, content):
    """They are two in a stream of servers only: the client's reader would end its own stream."""
    alice = node.client("alice")
    evil.join()
    evil.raw(f"<message xmlns:s='jabber:server' from='x@{EVIL}' to='{alice}'>{content}"
             "<body>x</body></message>")
    evil.expect_stream_error("not-well-formed")
    alice.ping()


@pytest.mark.parametrize("content, sent", [
    ("<c:body xmlns:c='jabber:client'>x</c:body>", "<body xmlns:c='jabber:client'>x</body>"),
    ("<body xmlns='jabber:client'>x</body>", "<body>x</body>"),
    ("<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>x</body>"
     "</message></forwarded>", "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns="
     "'jabber:client'><body>x</body></message></forwarded>")])
def test_content_of_clients_is_content_of_the_stream(node, authority, content, sent):
    listener = federation.Listener(EVIL, authority.issue("listener", EVIL))
    federation.route(node, EVIL, listener.port)
    alice = node.client("alice")
    alice.send(f"<message to='x@{EVIL}' type='chat'>{content}</message>")
    with listener.join() as stream:
        assert sent in listener.read_until(stream, "<message.*</message>")[0]
    listener.close()


# --- nobody forges ---


@pytest.mark.parametrize("origin", [ONE, f"conference.{ONE}"])
def test_our_own_certificate_proves_nothing_to_us(node, authority, origin):
    own = authority.issue("own", ONE, f"conference.{ONE}")
    peer = Peer(node, origin, ONE, own).header()
    peer.expect_stream_error("invalid-from")
    peer = Peer(node, EVIL, ONE, own).secure()
    assert peer.mechanisms == []
    assert peer.external(origin) == "not-authorized"


@pytest.mark.parametrize("secured", [False, True])
def test_an_empty_domain_in_the_header(node, evil, secured):
    if secured:
        evil.secure().external()
    evil.raw(f"<stream:stream xmlns='{federation.SERVER}' xmlns:stream='{xml.STREAM}' "
             f"version='1.0' from='' to='{ONE}'>")
    evil.reader = xml.Reader()
    evil.expect_stream_error("invalid-from")


def test_the_log_says_which_domains_were_asked_for(node, authority):
    """Of both sides: not only which server it is, and also if they are none."""
    cert = authority.issue("evil", EVIL)

    def error(condition, domain, local, header=None, stanza=None):
        peer = Peer(node, EVIL, ONE, cert)
        if stanza:
            peer.join().raw(stanza)
        else:
            peer.header(**header)
        peer.expect_stream_error(condition)
        return node.wait_log(f'event=s2s.error condition={condition} .*domain={domain} '
                             f'local={local} peer=127')

    error("host-unknown", EVIL, "nowhere.test", {"to": "nowhere.test"})
    error("host-unknown", EVIL, '"no such domain"', {"to": "no such domain"})
    error("host-unknown", '""', "nowhere.test", {"to": "nowhere.test", "origin": "-"})
    error("invalid-from", ONE, ONE, {"origin": ONE})
    error("invalid-from", '"no such domain"', ONE, {"origin": "no such domain"})
    error("host-unknown", EVIL, "nowhere.test",
          stanza=message(f"bob@{EVIL}", "x@nowhere.test", "x"))
    error("invalid-from", "third.test", ONE, stanza=message("x@third.test", f"alice@{ONE}", "x"))


@pytest.mark.parametrize("sm", [False, True])
def test_who_answers_by_an_error_has_refused_it(node, evil, sm):
    """With and without stream management (for our services: operate/test_trace_message.py)."""
    alice = node.client("alice")
    evil.join()
    if sm:
        evil.enable_sm()
    evil.raw(f"<message from='bob@{EVIL}' to='{alice}' type='error' id='e'><error type='cancel'>"
             f"<gone xmlns='{xml.STANZA_ERROR}'/></error></message>")
    alice.expect("<message type='error' id='e'/>")
    steps = node.rows("trace", "message", "e")
    assert [row["why"] for row in steps if row["event"] == "refused"] == ["gone"], steps


def test_a_second_header_changes_nothing(node, evil):
    evil.join()
    evil.raw(f"<stream:stream xmlns='{federation.SERVER}' xmlns:stream='{xml.STREAM}' "
             f"version='1.0' from='victim.test' to='{ONE}'></stream:stream>")
    evil.expect_stream_error("unsupported-stanza-type")


def test_a_service_that_is_switched_off_is_not_ours(node, authority):
    rooms = f"conference.{ONE}"
    peer = Peer(node, EVIL, rooms, authority.issue("evil", EVIL)).join()
    node.ctl("set", "muc.enabled", "off")
    late = Peer(node, EVIL, rooms, authority.issue("late", EVIL)).header()
    late.expect_stream_error("host-unknown")
    alice = node.client("alice")
    peer.raw(f"<presence from='x@{EVIL}/r' to='room@{rooms}/nick'><x xmlns="
             "'http://jabber.org/protocol/muc'/></presence>")
    peer.expect_closed()
    assert alice.error("get", "<query xmlns='urn:x'/>", to=rooms)[0] != "feature-not-implemented"


def test_a_key_is_of_one_stream(node, make_server, authority):
    """The key that has proved a stream proves no other one."""
    tls = {**authority.issue(OTHER, OTHER), "trust": str(authority.file)}
    other = make_server("bob", domains=[OTHER], s2s=True, tls=tls, settings=federation.settings())
    federation.route(node, OTHER, other.s2s_port)
    impostor = federation.Listener(ONE, authority.issue("impostor", ONE))
    federation.route(other, ONE, impostor.port)
    first, second = (Peer(node, OTHER, ONE).secure() for _ in range(2))
    bob = other.client("bob")
    bob.send(f"<message to='alice@{ONE}' type='chat'><body>hi</body></message>")
    key = impostor.key(first.stream_id)
    first.result(key)
    answer(first, "valid", origin=OTHER)
    second.result(key)
    answer(second, "invalid", origin=OTHER)
    second.expect_closed()
    impostor.close()


def test_guesses_of_keys_are_bounded(node, make_server, authority, evil):
    """DENIED_MAX: a stream that has proved a domain goes on for a while."""
    tls = {**authority.issue(OTHER, OTHER), "trust": str(authority.file)}
    other = make_server("bob", domains=[OTHER], s2s=True, tls=tls, settings=federation.settings())
    federation.route(node, OTHER, other.s2s_port)
    evil.join()
    for n in range(8):
        evil.result(f"{n}" * 64, origin=OTHER)
        answer(evil, "invalid", origin=OTHER)
    evil.expect_stream_error("not-authorized")


def test_keys_that_nobody_can_judge_are_bounded(node, evil):
    """UNJUDGED_MAX: domains that cannot be reached, of which each costs a connection."""
    federation.route(node, "*", federation.free_port())
    evil.join()
    for n in range(64):
        evil.result("0" * 64, origin=f"d{n}.test")
        answer(evil, "error", origin=f"d{n}.test")
    evil.expect_stream_error("policy-violation")


def test_a_question_about_a_key_that_is_not_ours(evil):
    evil.secure().raw(f"<db:verify from='{EVIL}' to='{ONE}' id='some'>{'0' * 64}</db:verify>" * 2)
    for _ in range(2):
        evil.expect(f"<db:verify xmlns:db='{DIALBACK}' id='some' type='invalid'/>")


# --- peers that behave badly ---


def test_byte_by_byte(node, evil):
    alice = node.client("alice")
    evil.join()
    for byte in message(f"bob@{EVIL}", alice, "slow").encode():
        evil.raw(bytes([byte]))
    alice.expect("<message><body>slow</body></message>")


def test_a_stanza_of_a_mebibyte_ends_its_stream_alone(node, evil, authority):
    alice = node.client("alice")
    evil.join()
    with contextlib.suppress(OSError):  # it may be closed before all is sent
        evil.raw(message(f"bob@{EVIL}", alice, "x" * (1 << 20)))
    evil.expect_stream_error("policy-violation")
    peer = Peer(node, EVIL, ONE, authority.issue("again", EVIL)).join()
    peer.raw(message(f"bob@{EVIL}", alice, "next"))
    alice.expect_next("<message><body>next</body></message>")


def test_a_stream_for_each_stanza(node, authority):
    alice = node.client("alice")
    cert = authority.issue("evil", EVIL)
    for n in range(20):
        peer = Peer(node, EVIL, ONE, cert).join()
        peer.raw(message(f"bob@{EVIL}", alice, n) + "</stream:stream>")
        peer.expect_closed()
        alice.expect_next(f"<message><body>{n}</body></message>")
    until("the end of all", lambda: node.rows("s2s", "list") == [])


@pytest.mark.parametrize("many", [False, True])
def test_many_streams(node, authority, many):
    """Of one peer, or of many: each works, and all end."""
    alice = node.client("alice")
    peers = [Peer(node, f"evil{n if many else 0}.test", ONE,
                  authority.issue(f"evil{n}", f"evil{n if many else 0}.test")).join()
             for n in range(100)]
    assert len(node.rows("s2s", "list")) == 100
    for n, peer in enumerate(peers):
        peer.raw(message(f"x@{peer.jid}", alice, n))
    found = [alice.expect("<message/>").findtext(f"{{{xml.CLIENT}}}body") for _ in peers]
    assert sorted(map(int, found)) == list(range(100))
    for peer in peers:
        peer.close()
    until("the end of all", lambda: node.rows("s2s", "list") == [])


# --- ends ---


def test_what_is_under_way_at_the_end_of_a_stream_is_delivered(node, evil):
    alice = node.client("alice")
    evil.join()
    assert node.ctl("s2s", "close", EVIL)["text"] == "closed streams: 1"
    evil.raw(message(f"bob@{EVIL}", alice, "late"))
    alice.expect("<message><body>late</body></message>")
    evil.raw("</stream:stream>")
    evil.expect_closed()


def test_nothing_is_said_behind_the_end(node, evil):
    evil.join()
    node.ctl("s2s", "close", EVIL)
    evil.wait("the end of its stream", lambda: evil.reader.ended)
    evil.result("0" * 64)
    evil.raw("<a xmlns='urn:unknown'/>")
    evil.expect_closed()
    assert evil.inbox == []


def test_a_peer_that_does_not_end_its_stream(node, evil):
    evil.join()
    node.ctl("s2s", "close", EVIL)
    evil.expect_closed()
    until("its end", lambda: node.rows("s2s", "list") == [])


# --- dialback ---


def answer(evil, kind, origin=EVIL):
    return evil.expect(f"<db:result xmlns:db='{DIALBACK}' from='{ONE}' to='{origin}' "
                       f"type='{kind}'/>")


def test_who_has_proved_nothing_may_claim_eight_domains(evil, silent):
    evil.secure()
    for n in range(9):
        evil.result("0" * 64, origin=f"d{n}.test")
    answer(evil, "error", origin="d8.test")
    del silent


def test_a_certificate_proves_what_is_being_checked(evil, silent):
    evil.secure().result("0" * 64)
    assert evil.external() is None
    answer(evil, "valid")
    evil.header().features_come()
    del silent


def test_a_key_is_not_checked_twice_at_a_time(node, authority, evil):
    evil.join()
    victim = federation.Listener("victim.test", authority.issue("victim", "victim.test"))
    federation.route(node, "victim.test", victim.port)
    for n in range(3):
        evil.result(f"{n}" * 64, origin="victim.test")
    assert victim.questions() == ["0" * 64]
    victim.close()


# --- policy ---


def test_without_federation_a_header_without_a_domain_is_refused(node, evil):
    node.ctl("set", "s2s.policy", "off")
    evil.header(origin="-")
    evil.expect_stream_error("policy-violation")


def test_the_end_of_federation_ends_streams_that_have_proved_nothing(node, evil):
    evil.secure(origin="-")
    node.ctl("set", "s2s.policy", "off")
    evil.expect_stream_error("policy-violation")


def test_streams_that_have_proved_nothing_end_with_the_right_to_connect(node, evil):
    evil.secure()
    node.ctl("federation", "block", EVIL)
    evil.expect_stream_error("policy-violation")


def counts(peer):
    return {e.get("h") for e in peer.log if e.tag == f"{{{xml.SM}}}a"}


@pytest.mark.parametrize("what", ["component", "service"])
def test_what_comes_for_a_domain_that_has_left_is_not_acknowledged(node, authority, gate, what):
    """The other server sends it again, and hears then that the domain is unknown."""
    domain = gate.gate if what == "component" else f"conference.{ONE}"
    peer = Peer(node, EVIL, domain, authority.issue("evil", EVIL)).join()
    peer.enable_sm()
    peer.raw(message(f"x@{EVIL}", f"u@{domain}", "one") + f"<r xmlns='{xml.SM}'/>")
    until("its answer", lambda: peer.pump(0.1) or "1" in counts(peer))
    if what == "component":
        node.ctl("component", "del", domain)
    else:
        node.ctl("set", "muc.enabled", "off")
    peer.raw(message(f"x@{EVIL}", f"u@{domain}", "two") + f"<r xmlns='{xml.SM}'/>")
    peer.expect_closed()
    assert counts(peer) <= {"0", "1"}
    again = Peer(node, EVIL, domain, authority.issue("again", EVIL)).header()
    again.expect_stream_error("host-unknown")


def test_what_is_behind_a_stanza_for_a_domain_that_has_left_is_taken(node, authority, gate):
    """Where nothing is counted, only that one is lost, though the stream ends."""
    alice = node.client("alice")
    peer = Peer(node, EVIL, ONE, authority.issue("evil", EVIL)).join()
    peer.result("abcdef01", to=gate.gate)  # its certificate proves it
    peer.raw(message(f"x@{EVIL}", f"u@{gate.gate}", "one"))
    gate.expect("<message><body>one</body></message>")
    node.ctl("component", "del", gate.gate)
    to = (alice.bare, f"u@{gate.gate}", alice.bare, alice.bare)
    peer.raw("".join(message(f"x@{EVIL}", one, f"text {n}") for n, one in enumerate(to)))
    for n in 0, 2, 3:
        alice.expect(f"<message><body>text {n}</body></message>")
    peer.expect_closed()


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.sqlite
def test_what_was_written_back_is_confirmed_though_a_domain_has_left(node, authority, silent, gate,
                                                                     closed):
    """Nothing behind the stanza for that domain is taken or counted, but the stream is read until
    the other server has confirmed what it was sent (XEP-0288), also one that was ending before."""
    alice = node.client("alice")
    peer = Peer(node, EVIL, ONE, authority.issue("evil", EVIL)).secure()
    peer.raw("<bidi xmlns='urn:xmpp:bidi'/>")
    assert peer.external() is None
    peer.header().features_come()
    peer.auto_ack = False
    peer.enable_sm()
    peer.result("abcdef01", to=gate.gate)  # its certificate proves it
    peer.raw(message(f"x@{EVIL}", alice.bare, "zero") + message(f"x@{EVIL}", f"u@{gate.gate}", "1"))
    alice.expect("<message><body>zero</body></message>")
    gate.expect("<message><body>1</body></message>")
    for n in range(3):
        alice.send(message(alice, f"bob@{EVIL}", f"text {n}"))
        peer.expect(f"<message><body>text {n}</body></message>")
    node.ctl("component", "del", gate.gate)
    if closed:
        node.ctl("s2s", "close", EVIL)
    peer.raw(message(f"x@{EVIL}", f"u@{gate.gate}", "two") +
             message(f"x@{EVIL}", alice.bare, "three") + f"<r xmlns='{xml.SM}'/>")
    until("its answer", lambda: peer.pump(0.1) or "2" in counts(peer))
    peer.ack(3)
    peer.expect_closed()
    assert "3" not in counts(peer)
    until("all are confirmed", lambda: pending(node) == 0)
    alice.expect_nothing("<message/>")
    del silent
