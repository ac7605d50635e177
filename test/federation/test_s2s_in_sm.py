"""Stream management (XEP-0198) on the streams of other servers: h covers what is handled, and a
stream that breaks is resumed by nobody but its server."""
import socket
import threading
import time

import pytest

from harness import federation, nodes, slow_disk, xml
from harness.client import until
from harness.federation import DIALBACK, Peer
from harness.muc import Room

ONE, EVIL, OTHER = "one.test", "evil.test", "other.test"
CONDITIONS = "urn:ietf:params:xml:ns:xmpp-stanzas"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def start(make_server, authority):
    """A function that starts one server at ONE that federates with all."""
    def run(*users, settings=None, **options):
        tls = {**authority.issue(ONE, ONE), "trust": str(authority.file)}
        server = make_server(*users, domains=[ONE], s2s=True, tls=tls, **options)
        for name, value in {"s2s.policy": "open", **(settings or {})}.items():
            server.ctl("set", name, value)
        return server
    return run


@pytest.fixture
def node(start):
    return start("alice", "bob")


@pytest.fixture
def join(authority):
    """A function that makes a stream of EVIL, authenticated, with stream management."""
    def run(server, domain=EVIL, enable=True):
        peer = Peer(server, domain, ONE, authority.issue(domain, domain)).join()
        if enable:
            peer.enable_sm()
        return peer
    return run


def message(body, to=f"alice@{ONE}", origin=f"bob@{EVIL}", more=""):
    return f"<message from='{origin}' to='{to}' type='chat' {more}><body>{body}</body></message>"


def sm(peer, request):
    """What the answer to a request of stream management is: its element."""
    peer.raw(request)
    return peer.wait("an answer", lambda: peer._take(lambda e: e.tag.startswith(f"{{{xml.SM}}}")))


def failure(peer, request):
    answer = sm(peer, request)
    assert answer.tag == f"{{{xml.SM}}}failed", xml.canonical(answer)
    return xml.condition(answer), answer.get("h")


def resume(peer, old_id):
    return sm(peer, f"<resume xmlns='{xml.SM}' previd='{old_id}' h='0'/>")


def counted(peer, h):
    peer.request_ack()
    peer.wait(f"<a h='{h}'/>", lambda: peer.acked >= h)
    assert peer.acked == h


# --- enabling ---


def test_it_is_offered_to_servers_that_have_authenticated(node, authority):
    peer = Peer(node, EVIL, ONE, authority.issue(EVIL, EVIL)).secure()
    assert not peer.offers("sm", xml.SM)
    assert peer.external() is None
    peer.header().features_come()
    assert peer.offers("sm", xml.SM)
    enabled = peer.enable_sm()
    assert enabled.get("resume") == "true" and enabled.get("max") == "60" and len(peer.sm_id) == 32
    counted(peer, 0)


def test_requests_in_the_wrong_order(node, authority, join):
    peer = Peer(node, EVIL, ONE, authority.issue(EVIL, EVIL)).secure()
    for name in "enable", "resume":
        assert failure(peer, f"<{name} xmlns='{xml.SM}'/>")[0] == "unexpected-request"
    assert peer.external() is None
    peer.header().features_come()
    for request in "<r xmlns='urn:xmpp:sm:3'/>", "<a xmlns='urn:xmpp:sm:3' h='0'/>":
        assert failure(peer, request)[0] == "unexpected-request"
    peer.enable_sm()
    for name in "enable", "resume", "unknown":
        assert failure(peer, f"<{name} xmlns='{xml.SM}'/>")[0] == "unexpected-request"
    early = Peer(node, OTHER, ONE, authority.issue(OTHER, OTHER)).secure()
    early.raw(f"<r xmlns='{xml.SM}'/>")
    early.expect_stream_error("not-authorized")


def test_a_peer_cannot_acknowledge_what_was_not_sent(node, join):
    peer = join(node)
    peer.ack(0)
    counted(peer, 0)
    peer.ack(1)
    error = peer.expect_stream_error("undefined-condition")
    claim = error.find(f"{{{xml.SM}}}handled-count-too-high")
    assert (claim.get("h"), claim.get("send-count")) == ("1", "0")
    peer = join(node)
    peer.ack("x")
    peer.expect_stream_error("invalid-xml")


def test_it_is_enabled_once_dialback_has_proved_a_pair(node, authority):
    """The features came before that and could not offer it."""
    listener = federation.Listener(EVIL, authority.issue("listener", EVIL))
    federation.route(node, EVIL, listener.port)
    peer = Peer(node, EVIL, ONE).secure()
    peer.result("k" * 64)
    with listener.secure("second", "") as asked:
        stream_id = listener.read_until(asked, "<db:verify [^>]*id='([^']+)'")[1]
        asked.sendall(f"<db:verify from='{EVIL}' to='{ONE}' id='{stream_id}' "
                      "type='valid'/>".encode())
        peer.expect(f"<db:result xmlns:db='{DIALBACK}' type='valid'/>")
    peer.enable_sm()
    peer.raw(message("hi"))
    counted(peer, 1)
    listener.close()


# --- counting ---


def test_stanzas_are_counted_whatever_becomes_of_them(node, join):
    alice = node.client("alice")
    peer = join(node, enable=False)
    peer.raw(message("before"))
    alice.expect("<message><body>before</body></message>")
    peer.enable_sm()
    stanzas = [
        message("kept"), message("passing", more="id='x'").replace("chat", "headline"),
        message("to nobody", to=f"nobody@{ONE}"), message("no address", to=f"\u2603@{ONE}"),
        f"<presence from='x@{EVIL}/r' to='alice@{ONE}'/>",
        f"<presence from='x@{EVIL}' to='alice@{ONE}' type='subscribe'/>",
        f"<iq from='x@{EVIL}' to='{ONE}' type='get' id='v'><query xmlns='jabber:iq:version'/></iq>",
        f"<iq from='x@{EVIL}' to='alice@{ONE}' type='set' id='w'><query xmlns='urn:x'/></iq>",
        f"<message from='x@{EVIL}' to='room@conference.{ONE}' type='groupchat'><body/></message>",
        message("last")]
    peer.raw(" ".join(stanzas[:5]) + f"<r xmlns='{xml.SM}'/>" + "".join(stanzas[5:]))
    counted_to = len(stanzas)
    # a room is another domain than the one that was proved: what came before it is told
    peer.expect_stream_error("invalid-from")
    request = f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='0'/>"
    assert failure(join(node, enable=False), request)[1] == f"{counted_to - 2}"
    peer = join(node)
    del stanzas[8]
    peer.raw("".join(stanzas))
    counted(peer, len(stanzas))


@pytest.mark.sqlite
def test_h_covers_no_message_that_is_not_committed(start, disk, join):
    node = start("alice", "bob", disk=disk)
    peer = join(node)
    peer.raw(message("one"))
    counted(peer, 1)
    disk.turn(sync_ms=slow_disk.STILL)
    peer.raw(message("two", more="id='2'") + f"<presence from='x@{EVIL}/r' to='alice@{ONE}'/>"
             + message("three"))
    counted(peer, 1)
    disk.turn(sync_ms=0)
    peer.wait("the rest, unasked", lambda: peer.acked == 4)
    alice = node.client("alice")
    for body in "one", "two", "three":
        alice.expect_next(f"<message><body>{body}</body></message>")


@pytest.mark.sqlite
def test_a_server_with_too_much_under_way_is_not_read(start, disk, join):
    """FLOW_HIGH: its other stanzas wait in the connection, and streams of others go on."""
    node = start("alice", "bob", disk=disk, workers=1)
    peer, other = join(node), join(node, OTHER)
    disk.turn(sync_ms=slow_disk.STILL)
    version = (f"<iq from='x@{EVIL}' to='{ONE}' type='get' id='v'>"
               "<query xmlns='jabber:iq:version'/></iq>")
    peer.raw(message("first") + version.replace("'v'", "'w'") + message("x") * 300 + version)
    counted(other, 0)
    other.raw(f"<presence from='x@{OTHER}/r' to='alice@{ONE}'/>")
    counted(other, 1)
    held = until("the hold", lambda: received(node) == 256 + 1)
    assert held
    disk.turn(sync_ms=0)
    counted(peer, 303)


def received(node):
    return next(row["value"] for row in node.rows("metrics") if row["name"] == "muster_s2s_stanzas"
                and row["label"] == "direction=received")


@pytest.mark.sqlite
def test_nothing_acknowledged_is_lost_by_a_kill(start, disk, join, authority):
    node = start("alice", "bob", disk=disk)
    room = Room("cave", domain=ONE)
    room.create(node.client("alice"), "alice", persistentroom=True)
    peer = join(node)
    speaker = Peer(node, EVIL, f"conference.{ONE}", authority.issue("speaker", EVIL)).join()
    speaker.enable_sm()
    disk.turn(write_ms=20)
    peer.raw("".join(message(n, more=f"id='{n}'") for n in range(50))
             + f"<presence from='x@{EVIL}' to='bob@{ONE}' type='subscribe'/>")
    speaker.raw(f"<presence from='x@{EVIL}/r' to='{room.jid}/x'>"
                "<x xmlns='http://jabber.org/protocol/muc'/></presence>"
                f"<message from='x@{EVIL}/r' to='{room.jid}' type='groupchat' id='spoken'>"
                "<body>spoken</body></message>")
    counted(speaker, 2)
    counted(peer, 51)
    node.kill()
    disk.turn(write_ms=0)
    node.start()
    alice = node.client("alice")
    for n in range(50):
        alice.expect(f"<message from='bob@{EVIL}' id='{n}'><body>{n}</body></message>")
    alice.raw(f"<iq type='set' id='q' to='{room.jid}'><query xmlns='urn:xmpp:mam:2'/></iq>")
    alice.expect("<message><result xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'>"
                 f"<message xmlns='{xml.CLIENT}' from='{room.jid}/x' id='spoken'/></forwarded>"
                 "</result></message>")
    bob = node.client("bob")
    bob.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    bob.expect(f"<presence from='x@{EVIL}' type='subscribe'/>")


# --- the end ---


@pytest.mark.sqlite
@pytest.mark.parametrize("ends", ["peer", "operator", "restart"])
def test_what_is_under_way_at_the_end_is_acknowledged(start, disk, join, ends):
    node = start("alice", "bob", disk=disk)
    peer = join(node)
    disk.turn(sync_ms=slow_disk.STILL)
    peer.raw(message("late") + f"<presence from='x@{EVIL}/r' to='alice@{ONE}'/>")
    until("both", lambda: received(node) == 2)
    later = threading.Timer(0.3, disk.turn, kwargs={"sync_ms": 0})
    later.start()
    if ends == "peer":
        peer.raw("</stream:stream>")
    elif ends == "operator":
        node.ctl("s2s", "close", EVIL)
    else:
        node.stop()
        peer.expect_stream_error("system-shutdown")
    later.join()
    peer.expect_closed()
    assert peer.acked == 2


def test_the_last_acknowledgement_comes_unasked(node, join):
    alice = node.client("alice")
    for end in "</stream:stream>", "<a xmlns='urn:unknown'/>":
        peer = join(node)
        peer.raw(message("hi"))
        alice.expect("<message><body>hi</body></message>")
        until("the commit", lambda: peer.request_ack() or peer.pump(0.1) and peer.acked) \
            if end.startswith("<a") else None
        peer.raw(end)
        peer.expect_closed()
        assert peer.acked == 1, end


# --- resumption ---


def broken(node, peer):
    """Its connection is gone, and the server knows."""
    before = len(node.rows("s2s", "list"))
    peer.sock.close()
    until("the end", lambda: len(node.rows("s2s", "list")) < before)


def test_a_stream_is_resumed_again_and_again(node, join):
    alice = node.client("alice")
    peer = join(node)
    peer.raw(message("one") + message("two"))
    for body in "one", "two":
        alice.expect(f"<message><body>{body}</body></message>")
    previd = peer.sm_id
    for n in range(3):
        if n != 1:
            broken(node, peer)
        old, peer = peer, join(node, enable=False)
        answer = resume(peer, previd)
        assert answer.tag == f"{{{xml.SM}}}resumed", xml.canonical(answer)
        assert (answer.get("previd"), answer.get("h")) == (previd, f"{2 + n}")
        if n == 1:  # nobody had told that its connection was gone
            old.expect_stream_error("conflict")
        peer.raw(message(f"more {n}"))
        alice.expect(f"<message><body>more {n}</body></message>")
        counted(peer, 3 + n)


SLOW, MANY = 20, 60  # stanzas a second that are read, and how many come at once


@pytest.mark.parametrize("resume", [None, "false"], ids=["plain", "counted"])
@pytest.mark.parametrize("last", ["</stream:stream>", ""], ids=["end", "break"])
@pytest.mark.parametrize("rate", ["federation.stanza-rate", "s2s.stanza-rate"])
def test_what_a_server_has_sent_before_it_ends_is_read_before_it_comes_back(node, join, rate, last,
                                                                           resume):
    """It has ended its connection, which cannot be written to any more, and sends nothing again.
    That is read at once; by the rate of its domain, what comes on its next stream is later."""
    node.ctl("set", rate, str(SLOW))
    alice, peer = node.client("alice"), join(node, enable=False)
    if resume is not None:
        sm(peer, f"<enable xmlns='{xml.SM}' resume='{resume}'/>")
    peer.raw("".join(message(n) for n in range(MANY)) + last)
    alice.expect_next("<message><body>0</body></message>")
    peer.sock.close()
    again = join(node, enable=False)
    began = time.monotonic()
    again.raw(message(MANY) + message(MANY + 1))
    for n in range(1, MANY + 2):
        alice.expect_next(f"<message><body>{n}</body></message>")
    assert rate.startswith("s2s.") or time.monotonic() - began > MANY / SLOW - 2
    until("the end", lambda: len(node.rows("s2s", "list")) == 1)


def test_a_stream_that_is_read_slowly_is_resumed_before_it_is_read_to_its_end(node, join):
    """Its connection has broken: what was not read is not counted, and comes again."""
    node.ctl("set", "federation.stanza-rate", str(SLOW))
    alice, peer = node.client("alice"), join(node)
    peer.raw("".join(message(n) for n in range(MANY)))
    peer.sock.close()
    again = join(node, enable=False)
    handled = int(resume(again, peer.sm_id).get("h"))
    assert handled < MANY
    again.raw("".join(message(n) for n in range(handled, MANY)))
    for n in range(MANY):
        alice.expect_next(f"<message><body>{n}</body></message>")
    counted(again, MANY)
    alice.expect_nothing("<message/>")


@pytest.mark.sqlite
def test_what_is_under_way_is_counted_before_a_stream_is_resumed(start, disk, join):
    node = start("alice", "bob", disk=disk)
    peer = join(node)
    disk.turn(sync_ms=slow_disk.STILL)
    peer.raw(message("under way"))
    until("it", lambda: received(node) == 1)
    broken(node, peer)
    again = join(node, enable=False)
    again.raw(f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='0'/>")
    disk.turn(sync_ms=0)
    assert again.expect(f"<resumed xmlns='{xml.SM}'/>").get("h") == "1"


@pytest.mark.parametrize("end", ["</stream:stream>", "<a xmlns='urn:unknown'/>", "closed"])
def test_a_stream_that_ended_is_not_resumed(node, join, end):
    """But what it has brought is told as often as that is asked."""
    peer = join(node)
    peer.raw(message("one"))
    counted(peer, 1)
    if end == "closed":
        node.ctl("s2s", "close", EVIL)
    else:
        peer.raw(end)
    peer.expect_closed()
    for _ in range(2):
        again = join(node, enable=False)
        assert failure(again, f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='0'/>") == (
            "item-not-found", "1")


@pytest.mark.sqlite
@pytest.mark.parametrize("end", ["error", "time", "drains"])
def test_h_of_a_stream_that_ended_is_told_when_it_is_known(start, disk, join, end):
    """Not while something is under way."""
    node = start("alice", "bob", disk=disk, settings={"s2s.resume-for": "1s"})
    peer = join(node)
    disk.turn(sync_ms=slow_disk.STILL)
    peer.raw(message("one") + message("two", more="id='2'"))
    until("both", lambda: received(node) == 2)
    if end == "error":
        peer.raw("<a xmlns='urn:unknown'/>")
        peer.expect_stream_error("unsupported-stanza-type")
    elif end == "drains":
        peer.raw("</stream:stream>")
    else:
        broken(node, peer)
        at = time.monotonic()
        until("its time", lambda: time.monotonic() - at > 1.5)
    again = join(node, enable=False)
    again.raw(f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='0'/>")
    again.pump(0.5)
    assert not again.inbox
    disk.turn(sync_ms=0)
    assert again.expect(f"<failed xmlns='{xml.SM}'/>").get("h") == "2"


@pytest.mark.sqlite
@pytest.mark.skipif(nodes.COUNT > 1, reason="the limit is of a worker")
def test_a_stream_that_is_asked_for_makes_no_room(start, disk, join):
    node = start("alice", "bob", disk=disk, workers=1)
    peer = join(node)
    disk.turn(sync_ms=slow_disk.STILL)
    peer.raw(message("one"))
    until("it", lambda: received(node) == 1)
    broken(node, peer)
    again = join(node, enable=False)
    again.raw(f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='0'/>")
    for _ in range(25):
        broken(node, join(node))
    disk.turn(sync_ms=0)
    assert again.expect(f"<resumed xmlns='{xml.SM}'/>").get("h") == "1"


def test_a_resumption_that_breaks_loses_nothing(start, join):
    """The new stream may be gone before it hears that it has resumed the old one."""
    node = start("alice", workers=4)
    peer = join(node)
    peer.raw(message("one"))
    counted(peer, 1)
    broken(node, peer)
    request = f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='0'/>"
    for _ in range(10):
        again = join(node, enable=False)
        again.raw(request)
        again.sock.close()
    assert resume(join(node, enable=False), peer.sm_id).get("h") == "1"


def test_nobody_resumes_the_stream_of_another(node, join):
    peer = join(node)
    peer.raw(message("one"))
    counted(peer, 1)
    thief = join(node, OTHER, enable=False)
    request = f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='0'/>"
    assert failure(thief, request) == ("item-not-found", None)  # nor is its connection cut
    counted(peer, 1)
    broken(node, peer)
    assert failure(thief, request) == ("item-not-found", None)
    assert failure(thief, request.replace("h='0'", "h='1'")) == ("bad-request", None)
    assert failure(thief, f"<resume xmlns='{xml.SM}' previd='{'0' * 32}' h='0'/>") == (
        "item-not-found", None)
    thief.raw(request)
    thief.expect_stream_error("policy-violation")
    assert resume(join(node, enable=False), peer.sm_id).get("h") == "1"


def test_a_stream_is_kept_for_its_time(start, join):
    node = start("alice", settings={"s2s.resume-for": "1s"})
    peer = join(node)
    peer.raw(message("one"))
    counted(peer, 1)
    broken(node, peer)
    at = time.monotonic()
    until("its time", lambda: time.monotonic() - at > 1.5)
    request = f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='0'/>"
    assert failure(join(node, enable=False), request) == ("item-not-found", "1")


def test_a_stream_is_not_kept_longer_than_its_peer_wants(node, join):
    """Nor is the one that has resumed it."""
    peer = join(node, enable=False)
    peer.raw(f"<enable xmlns='{xml.SM}' resume='true' max='1'/>")
    enabled = peer.expect(f"<enabled xmlns='{xml.SM}'/>")
    assert enabled.get("max") == "1"
    request = f"<resume xmlns='{xml.SM}' previd='{enabled.get('id')}' h='0'/>"
    again = join(node, enable=False)
    assert sm(again, request).tag == f"{{{xml.SM}}}resumed"
    broken(node, again)
    at = time.monotonic()
    until("its time", lambda: time.monotonic() - at > 1.5)
    assert failure(join(node, enable=False), request) == ("item-not-found", "0")


def test_without_resumption(start, join):
    node = start("alice", settings={"s2s.resume-for": "none"})
    peer = join(node)
    assert peer.sm_id is None
    peer.raw(message("one"))
    counted(peer, 1)
    node.ctl("set", "s2s.resume-for", "60s")
    peer = join(node, enable=False)
    peer.enable_sm(resume="false")
    assert peer.sm_id is None


@pytest.mark.skipif(nodes.COUNT > 1, reason="the limit is of a worker")
def test_streams_that_are_kept_are_bounded(start, join):
    """FLOWS_OF_PAIR: those that can be resumed no more make room first, then the oldest."""
    node = start("alice", workers=1)
    peers = []
    for _ in range(25):
        peers.append(join(node))
        broken(node, peers[-1])
    ended = join(node)
    ended.raw("</stream:stream>")  # the oldest makes room for its h, and that for the next
    ended.expect_closed()
    peers.append(join(node))
    broken(node, peers[-1])
    other = join(node, OTHER)
    broken(node, other)
    for peer in peers[:2] + [ended]:
        answer = resume(join(node, enable=False), peer.sm_id)
        assert (answer.tag, answer.get("h")) == (f"{{{xml.SM}}}failed", None)
    for peer in peers[2:]:
        assert resume(join(node, enable=False), peer.sm_id).tag == f"{{{xml.SM}}}resumed"
    assert resume(join(node, OTHER, enable=False), other.sm_id).tag == f"{{{xml.SM}}}resumed"


@pytest.mark.skipif(nodes.COUNT > 1, reason="the limit is of a worker")
def test_streams_to_many_domains_of_ours_are_kept(make_server, authority):
    """All of one foreign domain, which has a stream for each pair."""
    ours = [f"d{n}.test" for n in range(12)]
    tls = {**authority.issue(ONE, *ours), "trust": str(authority.file)}
    node = make_server(domains=ours, s2s=True, tls=tls, workers=1)
    node.ctl("set", "s2s.policy", "open")

    def join_to(local):
        return Peer(node, EVIL, local, authority.issue(EVIL, EVIL)).join()
    peers = [join_to(local) for local in ours]
    for peer in peers:
        peer.enable_sm()
        broken(node, peer)
    for peer in peers:
        assert resume(join_to(peer.local), peer.sm_id).tag == f"{{{xml.SM}}}resumed"


@pytest.mark.skipif(nodes.COUNT > 1, reason="the limit is of a worker")
def test_one_address_does_not_push_out_the_streams_of_others(start, authority, join):
    """FLOWS_OF_ADDRESS, though its certificate holds for as many domains as it likes."""
    node = start("alice", workers=1)
    cert = authority.issue("many", *(f"d{n}.test" for n in range(40)))
    node.ctl("set", "s2s.resume-for", "4min")
    kept = []
    for n in range(260):
        peer = Peer(node, f"d{n % 40}.test", ONE, cert).join()
        peer.enable_sm()
        peer.sock.shutdown(socket.SHUT_RDWR)
        peer.sock.close()
        node.clients.remove(peer)
        kept.append(peer)
    until("the end of all", lambda: node.rows("s2s", "list") == [])
    answers = [resume(Peer(node, peer.jid, ONE, cert).join(), peer.sm_id).tag
               for peer in (kept[0], kept[3], kept[4], kept[259])]
    assert [a.split("}")[1] for a in answers] == ["failed", "failed", "resumed", "resumed"]


def test_all_pairs_of_a_stream_are_needed_to_resume_it(node, authority, join):
    """Another domain was proved on it by dialback."""
    listener = federation.Listener(OTHER, authority.issue("listener", OTHER))
    federation.route(node, OTHER, listener.port)

    def prove(peer, stream):
        peer.result("k" * 64, origin=OTHER)
        stream_id = listener.read_until(stream, "<db:verify [^>]*id='([^']+)'")[1]
        stream.sendall(f"<db:verify from='{OTHER}' to='{ONE}' id='{stream_id}' "
                       "type='valid'/>".encode())
        peer.expect(f"<db:result xmlns:db='{DIALBACK}' from='{ONE}' to='{OTHER}' type='valid'/>")

    peer = join(node)
    peer.result("k" * 64, origin=OTHER)
    with listener.secure("second", "") as stream:
        stream_id = listener.read_until(stream, "<db:verify [^>]*id='([^']+)'")[1]
        stream.sendall(f"<db:verify from='{OTHER}' to='{ONE}' id='{stream_id}' "
                       "type='valid'/>".encode())
        peer.expect(f"<db:result xmlns:db='{DIALBACK}' from='{ONE}' to='{OTHER}' type='valid'/>")
        peer.sock.shutdown(socket.SHUT_RDWR)
        until("the end", lambda: not [r for r in node.rows("s2s", "list")
                                      if r["direction"] == "in"])
        again = join(node, enable=False)
        request = f"<resume xmlns='{xml.SM}' previd='{peer.sm_id}' h='0'/>"
        assert failure(again, request) == ("item-not-found", None)
        prove(again, stream)
        assert resume(again, peer.sm_id).tag == f"{{{xml.SM}}}resumed"
    listener.close()


def test_streams_are_resumed_on_any_worker(start, join):
    node = start("alice", workers=4)
    peer = join(node)
    previd = peer.sm_id
    for n in range(8):
        peer.raw(message("x", more=f"id='{n}'"))
        counted(peer, n + 1)
        broken(node, peer)
        peer = join(node, enable=False)
        assert resume(peer, previd).get("h") == f"{n + 1}"


def test_a_stream_with_an_enabled_policy_change_ends(node, join):
    peer = join(node)
    peer.raw(message("one"))
    node.client("alice").expect("<message><body>one</body></message>")
    node.ctl("set", "s2s.policy", "off")
    peer.expect_stream_error("reset")
    assert peer.acked == 1
