"""Two servers of ours that federate (RFC 6120, XEP-0178, XEP-0220)."""
import re
import socket
import time

import pytest

from harness import federation, nodes, xml
from harness.client import until
from harness.component import Component
from harness.federation import Peer
from harness.server import refusal

ONE, OTHER = "one.test", "other.test"


NOT_STORED = "<no-store xmlns='urn:xmpp:hints'/>"


def route(server, **domains):
    """Tells it where the servers of domains are: DOMAIN=PORT, with _ for a dot."""
    for domain, port in domains.items():
        federation.route(server, domain.replace("_", "."), port)


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def pair(make_server, authority):
    """A function that starts both, each with a certificate for its domain and a route to the other
    one; settings as those of federation.settings()."""
    def start(**more):
        servers = []
        for user, domain in (("alice", ONE), ("bob", OTHER)):
            tls = {**authority.issue(domain, domain), "trust": str(authority.file)}
            servers.append(make_server(user, domains=[domain], s2s=True, tls=tls,
                                       settings=federation.settings(**more)))
        one, other = servers
        route(one, other_test=other.s2s_port)
        route(other, one_test=one.s2s_port)
        return one, other
    return start


def talk(alice, bob, count=3):
    for n in range(count):
        alice.send(f"<message to='{bob}' type='chat' id='a{n}'><body>to {n} &amp; on</body>"
                   "</message>")
    for n in range(count):
        bob.expect(f"<message from='{alice}' to='{bob}' id='a{n}'><body>to {n} &amp; on</body>"
                   "</message>")


@pytest.mark.parametrize("dialback", ["on", "off"])
def test_messages_go_both_ways(pair, dialback):
    one, other = pair(dialback=dialback)
    alice, bob = one.client("alice"), other.client("bob")
    talk(alice, bob)
    talk(bob, alice)
    assert "auth=certificate" in one.log() + other.log()
    assert "auth=dialback" not in one.log() + other.log()


def test_without_certificates_that_are_trusted_dialback_proves_both(make_server, tmp_path):
    servers = []
    for user, domain in (("alice", ONE), ("bob", OTHER)):
        alone = federation.Authority(tmp_path, domain)  # each trusts its own
        tls = {**alone.issue(f"{domain}-cert", domain), "trust": str(alone.file)}
        servers.append(make_server(user, domains=[domain], s2s=True, tls=tls,
                                   settings=federation.settings(verify_certificates="off")))
    one, other = servers
    route(one, other_test=other.s2s_port)
    route(other, one_test=one.s2s_port)
    alice, bob = one.client("alice"), other.client("bob")
    talk(alice, bob)
    talk(bob, alice)
    assert "auth=dialback" in one.log() and "auth=dialback" in other.log()
    assert "auth=certificate" not in one.log() + other.log()


def test_a_server_with_a_certificate_that_is_not_trusted_gets_nothing(pair, make_server, tmp_path):
    one, other = pair(retry_for="0s")
    rogue = federation.Authority(tmp_path, "rogue")
    thief = make_server("bob", domains=[OTHER], s2s=True, settings=federation.settings(),
                        tls=rogue.issue("thief", OTHER))
    route(one, other_test=thief.s2s_port)
    alice = one.client("alice")
    alice.send(f"<message to='bob@{OTHER}' type='chat' id='m'><body>secret</body></message>")
    error = alice.expect(f"<message from='bob@{OTHER}' type='error' id='m'/>")
    assert "certificate is refused" in federation.for_users(error)
    assert thief.ctl("metrics") and "secret" not in thief.log()
    del other


# --- nobody forges ---


@pytest.fixture
def node(make_server, authority):
    """One server at ONE that federates with all, and what others say of its stanzas."""
    tls = {**authority.issue(ONE, ONE), "trust": str(authority.file)}
    server = make_server("alice", domains=[ONE], s2s=True, tls=tls)
    server.ctl("set", "s2s.policy", "open")
    return server


@pytest.fixture
def evil(node, authority):
    """A peer with a good certificate for evil.test alone, which has not said anything yet."""
    return Peer(node, "evil.test", ONE, authority.issue("evil", "evil.test"))


def message(origin, to, body="forged"):
    return f"<message from='{origin}' to='{to}' type='chat'><body>{body}</body></message>"


def test_a_peer_with_a_certificate_speaks_for_its_domain(node, evil):
    alice = node.client("alice")
    evil.join().raw(message("x@evil.test/r", f"alice@{ONE}", "true"))
    alice.expect("<message from='x@evil.test/r'><body>true</body></message>")


@pytest.mark.parametrize("origin, to, condition", [
    (f"bob@{OTHER}", f"alice@{ONE}", "invalid-from"),
    (f"bob@{ONE}", f"alice@{ONE}", "invalid-from"),
    ("bob@sub.evil.test", f"alice@{ONE}", "invalid-from"),
    ("bob@evil.test", f"alice@{OTHER}", "host-unknown"),
    ("bob@evil.test", f"room@conference.{ONE}", "invalid-from"),
    ("", f"alice@{ONE}", "improper-addressing"),
    ("bob@evil.test", "", "improper-addressing")])
def test_stanzas_that_the_authenticated_domain_may_not_send(node, evil, origin, to, condition):
    alice = node.client("alice")
    stanza = message(origin, to).replace(" from=''", "").replace(" to=''", "")
    evil.join().raw(stanza)
    evil.expect_stream_error(condition)
    alice.expect_nothing()


@pytest.mark.parametrize("secured", [False, True])
def test_stanzas_before_authentication(node, evil, secured):
    alice = node.client("alice")
    if secured:
        evil.secure()
    else:
        evil.header().features_come()
    evil.raw(message("x@evil.test", f"alice@{ONE}"))
    evil.expect_stream_error("not-authorized")
    alice.expect_nothing()


@pytest.mark.parametrize("to, origin, condition", [
    ("nobody.test", "evil.test", "host-unknown"), (ONE, ONE, "invalid-from"),
    (ONE, f"conference.{ONE}", "invalid-from"), (ONE, "127.0.0.1", "policy-violation"),
    (ONE, "not a domain", "invalid-from")])
def test_headers_of_domains_that_cannot_be(node, evil, to, origin, condition):
    evil.header(to=to, origin=origin)
    evil.expect_stream_error(condition)


def test_external_with_a_certificate_for_another_name(node, evil):
    evil.jid = OTHER
    evil.secure()
    assert evil.mechanisms == []
    assert evil.external() == "not-authorized"
    assert evil.external(OTHER) == "not-authorized"


def test_external_for_another_identity_than_that_of_the_header(node, evil):
    evil.secure()
    assert evil.mechanisms == ["EXTERNAL"]
    assert evil.external(OTHER) == "invalid-authzid"
    assert evil.external("") in (None, "incorrect-encoding")


@pytest.mark.parametrize("header", [{"origin": OTHER}, {"to": f"conference.{ONE}"},
                                    {"origin": "-"}])
def test_the_header_after_authentication_names_the_same_domains(node, evil, header):
    assert evil.secure().external() is None
    evil.header(**header)
    evil.expect_stream_error("invalid-from")


def test_a_certificate_that_is_not_trusted_proves_nothing(node, tmp_path):
    rogue = federation.Authority(tmp_path, "rogue")
    peer = Peer(node, "evil.test", ONE, rogue.issue("evil", "evil.test")).secure()
    assert peer.mechanisms == [] and peer.external() == "not-authorized"


def test_authorities_of_the_trust_store_vouch_for_others(make_server, tmp_path):
    """In both directions, at once, beside tls.trust, and until they are deleted."""
    rogue = federation.Authority(tmp_path, "rogue")
    servers = []
    for user, domain in (("alice", ONE), ("bob", OTHER)):
        alone = federation.Authority(tmp_path, domain)
        tls = {**alone.issue(f"{domain}-cert", domain), "trust": str(alone.file)}
        servers.append((make_server(user, domains=[domain], s2s=True, tls=tls,
                                    settings=federation.settings(dialback="off")), alone))
    (one, one_ca), (other, other_ca) = servers
    route(one, other_test=other.s2s_port)
    route(other, one_test=one.s2s_port)
    one.ctl("cert-trust", "add", other_ca.file)
    other.ctl("cert-trust", "add", one_ca.file)
    talk(one.client("alice"), other.client("bob"))
    cert = rogue.issue("evil", "evil.test")
    assert Peer(one, "evil.test", ONE, cert).secure().mechanisms == []
    one.ctl("cert-trust", "add", rogue.file)
    Peer(one, "evil.test", ONE, cert).join()
    listed, = (r for r in one.rows("cert-trust", "list") if "rogue" in r["subject"])
    one.ctl("cert-trust", "del", listed["fingerprint"])
    assert Peer(one, "evil.test", ONE, cert).secure().mechanisms == []


def test_an_expired_certificate_proves_nothing(node, authority):
    cert = authority.issue("old", "evil.test", begins=-5, ends=-1)
    peer = Peer(node, "evil.test", ONE, cert).secure()
    assert peer.mechanisms == [] and peer.external() == "not-authorized"


def test_nothing_is_proved_without_tls(node, evil):
    evil.header().features_come()
    assert not evil.offers("dialback", "urn:xmpp:features:dialback") and evil.mechanisms == []
    evil.result("0" * 64)
    evil.expect_stream_error("policy-violation")


def test_dialback_for_a_domain_of_ours(node, evil):
    evil.secure().result("0" * 64, origin=ONE)
    evil.expect_stream_error("invalid-from")


def test_a_guessed_key(pair, authority):
    one, other = pair()
    alice = one.client("alice")
    peer = Peer(one, OTHER, ONE, authority.issue("evil", "evil.test")).secure()
    peer.result("0" * 64)
    peer.raw(message(f"bob@{OTHER}", alice))
    peer.expect_stream_error("not-authorized")
    peer = Peer(one, OTHER, ONE, authority.issue("evil", "evil.test")).secure()
    peer.result("0" * 64)
    peer.expect(f"<db:result xmlns:db='{federation.DIALBACK}' from='{ONE}' to='{OTHER}' "
                "type='invalid'/>")
    peer.expect_closed()
    alice.expect_nothing()
    assert "s2s.forged" in one.log()
    del other


def test_a_proof_for_one_domain_is_none_for_another(pair, authority):
    """Several pairs on one stream: one by its certificate, the other by a key that is denied."""
    one, other = pair()
    alice = one.client("alice")
    peer = Peer(one, "evil.test", ONE, authority.issue("evil", "evil.test")).join()
    peer.result("0" * 64, origin=OTHER)
    peer.expect(f"<db:result xmlns:db='{federation.DIALBACK}' from='{ONE}' to='{OTHER}' "
                "type='invalid'/>")
    peer.raw(message("x@evil.test", alice, "true"))
    alice.expect("<message from='x@evil.test'><body>true</body></message>")
    peer.raw(message(f"bob@{OTHER}", alice))
    peer.expect_stream_error("invalid-from")
    alice.expect_nothing()
    del other


def test_a_key_that_was_made_for_another_server(pair, authority):
    """evil.test lets OTHER make a key for the id that ONE gave to its stream."""
    one, other = pair()
    bob = other.client("bob")
    victim = Peer(one, OTHER, ONE, authority.issue("evil", "evil.test")).secure()
    listener = federation.Listener("evil.test", authority.issue("evil-server", "evil.test"))
    route(other, evil_test=listener.port, one_test=one.s2s_port)
    bob.send(message(bob, "x@evil.test"))
    key = listener.key(victim.stream_id)
    victim.result(key)
    victim.expect(f"<db:result xmlns:db='{federation.DIALBACK}' type='invalid'/>")
    victim.expect_closed()
    listener.close()


# --- streams of ours ---


@pytest.fixture
def victim(node, authority):
    """The server of victim.test, to which the node has a route."""
    listener = federation.Listener("victim.test", authority.issue("victim", "victim.test"))
    route(node, victim_test=listener.port)
    yield listener
    listener.close()


def queue_of(node, domain="victim.test"):
    return sum(row["queue"] for row in node.rows("s2s", "list", domain))


def test_stanzas_go_before_new_questions_about_keys(node, evil, victim):
    alice = node.client("alice")
    evil.join().result("0" * 64, origin="victim.test")
    stream = victim.secure()
    stream_id = victim.read_until(stream, "<db:verify [^>]*id='([^']+)'")[1]
    alice.send(message(alice, "bob@victim.test"))
    until("the stanza", lambda: queue_of(node) == 1)
    evil.result("1" * 64, origin="victim.test")
    evil.raw(message("x@evil.test", alice, "mark"))
    alice.expect("<message from='x@evil.test'><body>mark</body></message>")
    stream.sendall(f"<db:verify from='victim.test' to='{ONE}' id='{stream_id}' "
                   "type='invalid'/>".encode())
    assert "verify" not in victim.read_until(stream, "<auth ").string
    stream.close()


def test_stanzas_do_not_wait_long_for_an_answer_about_a_key(node, evil, victim):
    alice = node.client("alice")
    node.ctl("set", "s2s.retry-for", "0s")
    evil.join().result("0" * 64, origin="victim.test")
    first = victim.secure()
    victim.read_until(first, "<db:verify ")
    alice.send(message(alice, "bob@victim.test", "late"))
    second = victim.join()
    victim.read_until(second, "late")
    first.close()
    second.close()


@pytest.mark.skipif(nodes.COUNT > 1, reason="the limit is of a node")
def test_domains_that_are_only_asked_about_keys_are_bounded(node, evil, authority):
    with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
        federation.route(node, "*", silent.getsockname()[1])
        peers = [evil.join()] + [Peer(node, f"evil{n}.test", ONE, authority.issue(
            f"evil{n}", f"evil{n}.test")).join() for n in range(5)]
        for n, peer in enumerate(peers):
            for m in range(60):
                peer.result("0" * 64, origin=f"d{n}x{m}.test")
        for _ in range(20):  # those above the limit, in any order
            until("an answer", lambda: any(peer.pump(0.1) or peer.inbox for peer in peers))
            if sum(len(peer.inbox) for peer in peers) >= 6 * 60 - 256:
                break
        rows = [row for row in node.rows("s2s", "list") if row["direction"] == "out"]
        assert len(rows) == 256
    until("room", lambda: [row for row in node.rows("s2s", "list")
                           if row["state"] == "connecting"] == [])


def full(node, alice, victim):
    """A stream of victim.test that reads nothing, for which stanzas wait."""
    victim.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    alice.send(message(alice, "bob@victim.test"))
    stream = victim.join()
    sent = 0
    while queue_of(node) == 0:
        for _ in range(20):
            alice.send(message(alice, "bob@victim.test", "x" * 20000))
        sent += 20
        assert sent < 2000
    return stream


def test_a_change_of_the_policy_refuses_what_waits(node, victim):
    alice = node.client("alice")
    stream = full(node, alice, victim)
    node.ctl("set", "s2s.policy", "allow")
    error = alice.expect("<message from='bob@victim.test' type='error'/>")
    assert xml.condition(error.find(f"{{{xml.CLIENT}}}error")) == "not-allowed"
    until("no queue", lambda: queue_of(node) == 0)
    node.ctl("set", "s2s.policy", "open")
    alice.send(message(alice, "bob@victim.test", "again"))
    again = victim.join()
    victim.read_until(again, "again")
    stream.close()
    again.close()


def test_a_stop_does_not_wait_for_a_server_that_does_not_read(node, victim):
    stream = full(node, node.client("alice"), victim)
    node.stop()
    stream.close()


def test_no_stream_in_the_name_of_a_foreign_domain(make_server, authority):
    tls = {**authority.issue(ONE, ONE), "trust": str(authority.file)}
    node = make_server("alice", domains=[ONE], s2s=True, component=True, tls=tls)
    node.ctl("set", "s2s.policy", "open")
    node.ctl("set", "s2s.retry-for", "0s")
    node.ctl("component", "add", f"gw.{ONE}", "--secret", "x" * 32)
    gateway = Component(node, f"gw.{ONE}", "x" * 32)
    peer = Peer(node, "evil.test", f"gw.{ONE}", authority.issue("evil", "evil.test")).join()
    peer.raw(message("x@evil.test", f"u@gw.{ONE}", "one"))
    gateway.expect("<message from='x@evil.test'><body>one</body></message>")
    node.ctl("component", "del", f"gw.{ONE}")
    gateway.expect_stream_error("not-authorized")
    route(node, gw_one_test=federation.free_port())
    alice = node.client("alice")
    until("all to know", lambda: [alice.error("get", "<query xmlns='urn:x'/>", to=f"gw.{ONE}")
                                  for _ in range(2)] and node.log().count("s2s.failed"))
    peer.raw(message("x@evil.test", f"u@gw.{ONE}", "two"))
    peer.raw(message("x@evil.test", f"u@gw.{ONE}", "three"))
    assert alice.error("get", "<query xmlns='jabber:iq:version'/>", to=f"gw.{ONE}")[0] == \
        "remote-server-timeout"
    assert [row["local"] for row in node.rows("s2s", "list")
            if row["direction"] == "out"] == [ONE]


def test_texts_of_other_servers_are_cut_between_characters(node, victim):
    alice = node.client("alice")
    node.ctl("set", "s2s.retry-for", "0s")
    alice.send(message(alice, "bob@victim.test"))
    stream = victim.secure(features="")
    victim.read_until(stream, "</db:result>")
    stream.sendall(f"<db:result from='victim.test' to='{ONE}' type='{'a' * 63}ä'/>".encode())
    alice.expect("<message from='bob@victim.test' type='error'/>")
    assert node.rows("s2s", "list")[0]["why"].endswith(": " + "a" * 63)
    stream.close()


def test_a_server_that_ends_the_stream_of_a_refused_certificate_gets_dialback(node, victim):
    alice = node.client("alice")
    alice.send(message(alice, "bob@victim.test"))
    stream = victim.secure()
    victim.read_until(stream, "<auth ")
    stream.sendall(f"<failure xmlns='{xml.SASL}'><not-authorized/></failure>"
                   "</stream:stream>".encode())
    until("the reason", lambda: "refuses our certificate" in node.log())
    stream.close()
    stream = victim.secure()
    assert "<auth" not in victim.read_until(stream, "<db:result").string
    stream.close()


@pytest.mark.parametrize("dialback", ["on", "off"])
def test_a_failure_of_external_that_passes_is_no_refusal(node, victim, dialback):
    """RFC 6120 §6.5.10: the stanza waits, and the certificate is shown again."""
    node.ctl("set", "s2s.dialback", dialback)
    alice = node.client("alice")
    alice.send(message(alice, "bob@victim.test"))
    with victim.secure() as stream:
        victim.read_until(stream, "<auth ")
        stream.sendall(f"<failure xmlns='{xml.SASL}'><temporary-auth-failure/></failure>".encode())
        if dialback == "on":
            victim.read_until(stream, "<db:result")
            stream.sendall(f"<db:result from='victim.test' to='{ONE}' type='invalid'/>".encode())
        else:
            victim.read_until(stream, "</stream:stream>")
    with victim.join() as stream:
        victim.read_until(stream, "<message ")
    assert not alice.inbox
    assert "refuses our certificate" not in node.log()


@pytest.mark.parametrize("when", ["between", "during"])
def test_a_new_certificate_is_shown_though_the_last_one_was_refused(node, victim, authority, when):
    """It may be imported while the stream is open on which the last one is refused."""
    new = authority.issue("new", ONE)

    def take():
        node.ctl("cert", "import", ONE, "--file", new["certificate"], "--key", new["key"])
    alice = node.client("alice")
    alice.send(message(alice, "bob@victim.test"))
    with victim.secure() as stream:
        victim.read_until(stream, "<auth ")
        if when == "during":
            take()
        stream.sendall(f"<failure xmlns='{xml.SASL}'><not-authorized/></failure>"
                       "</stream:stream>".encode())
        until("the reason", lambda: "refuses our certificate" in node.log())
    if when == "between":
        with victim.secure() as stream:
            assert "<auth" not in victim.read_until(stream, "<db:result").string
            take()
    with victim.secure() as stream:
        assert "<auth" in victim.read_until(stream, "<auth |<db:result").string


# --- policy ---


@pytest.mark.parametrize("policy, domains, may", [
    ("off", "", False), ("open", "", True), ("allow", "evil.test", True),
    ("allow", OTHER, False), ("deny", "*.test", False), ("deny", OTHER, True)])
def test_the_policy_says_who_may_come_in(node, evil, policy, domains, may):
    node.ctl("set", "s2s.domains", domains or "--default")
    node.ctl("set", "s2s.policy", policy)
    evil.header()
    if may:
        evil.features_come()
    else:
        evil.expect_stream_error("policy-violation")


@pytest.mark.parametrize("policy, condition", [("off", "remote-server-not-found"),
                                               ("allow", "not-allowed")])
def test_the_policy_says_who_is_reached(node, policy, condition):
    node.ctl("set", "s2s.policy", policy)
    alice = node.client("alice")
    assert alice.error("get", "<query xmlns='jabber:iq:version'/>", to="evil.test")[0] == condition


def test_a_change_of_the_policy_ends_streams(node, evil):
    evil.join()
    node.ctl("set", "s2s.policy", "allow")
    evil.expect_stream_error("reset")


def test_a_server_that_cannot_be_reached_is_answered_for(node):
    alice = node.client("alice")
    node.ctl("set", "s2s.retry-for", "0s")
    route(node, other_test=federation.free_port())
    for _ in range(2):  # the second time from memory
        assert alice.error("get", "<query xmlns='jabber:iq:version'/>", to=OTHER)[0] == \
            "remote-server-timeout"
    assert node.log().count("s2s.failed") == 1


def test_what_waits_is_bounded(node):
    alice = node.client("alice")
    node.ctl("set", "s2s.queue-stanzas", "5")
    route(node, other_test=federation.free_port())
    for n in range(8):
        alice.send(f"<message to='bob@{OTHER}' type='chat' id='m{n}'><body>x</body>{NOT_STORED}"
                   "</message>")
    for n in range(5, 8):
        error = alice.expect(f"<message type='error' id='m{n}'/>").find(f"{{{xml.CLIENT}}}error")
        assert (xml.condition(error), error.get("type")) == ("resource-constraint", "wait")
    alice.expect_nothing()
    assert_overflow(node, "s2s.queue-stanzas", 3)


def assert_overflow(node, limit, count):
    """Operators see it wherever they look."""
    node.wait_log(f"event=s2s.overflow domain={OTHER} local={ONE} .*setting={limit} refused=1 ")
    assert node.log().count("event=s2s.overflow") == 1
    row, = node.rows("s2s", "list")
    assert limit in row["why"] or "refused" in row["why"], row
    assert f"; {count} found no room" in str(node.rows("s2s", "show", OTHER))
    assert [row for row in node.rows("metrics")
            if row["name"] == "muster_s2s_overflows" and row["value"] == count]


@pytest.mark.parametrize("limit, value, size, fit", [
    ("s2s.queue-bytes", 64 << 10, 30000, 2), ("s2s.queue-total", 1 << 20, 200000, 5)])
def test_bytes_that_wait_are_bounded(node, limit, value, size, fit):
    alice = node.client("alice")
    node.ctl("set", "s2s.queue-bytes", str(4 << 20))
    node.ctl("set", limit, str(value))
    route(node, other_test=federation.free_port())
    for n in range(fit + 2):
        alice.send(f"<message to='bob@{OTHER}' type='chat' id='m{n}'><body>{'x' * size}</body>"
                   f"{NOT_STORED}</message>")
    for n in range(fit, fit + 2):
        error = alice.expect(f"<message type='error' id='m{n}'/>").find(f"{{{xml.CLIENT}}}error")
        assert (xml.condition(error), error.get("type")) == ("resource-constraint", "wait")
    alice.expect_nothing()
    assert_overflow(node, limit, 2)


def test_a_stanza_that_is_too_large_ends_its_stream(node, evil):
    node.ctl("set", "s2s.stanza-bytes", "10000")
    evil.join()
    evil.send(f"<message to='alice@{ONE}' from='x@evil.test'><body>{'x' * 10000}</body></message>")
    evil.expect_stream_error("policy-violation")


@pytest.mark.parametrize("limit, value", [("s2s.stanza-rate", 10), ("s2s.byte-rate", 10000)])
def test_a_server_is_read_more_slowly(node, authority, limit, value):
    """Above its rate, evenly: not a lot at once and then nothing."""
    alice = node.client("alice")
    alice.expect_nothing()
    node.ctl("set", limit, str(value))
    evil = Peer(node, "evil.test", ONE, authority.issue("evil", "evil.test")).join()
    evil.raw("".join(f"<message to='{alice}' from='x@evil.test' id='m{n}'><body>{'x' * 900}</body>"
                     "</message>" for n in range(30)))
    came = []
    for n in range(30):
        alice.expect_next(f"<message from='x@evil.test' id='m{n}'/>")
        came.append(time.monotonic())
    assert came[-1] - came[0] > 1.2
    assert sum(later - since > 0.05 for since, later in zip(came[9:], came[10:])) >= 6


@pytest.mark.parametrize("limit, value", [("s2s.stanza-rate", 10), ("s2s.byte-rate", 10000)])
def test_a_server_that_floods_is_closed(node, evil, limit, value):
    """It does not end its stream, and there is always more to read."""
    evil.join()
    node.ctl("set", limit, str(value))
    evil.raw(f"<presence from='x@evil.test' to='alice@{ONE}'/>" * 2000)
    assert node.ctl("s2s", "close", "evil.test")["text"] == "closed streams: 1"
    since = time.monotonic()
    evil.expect_closed()
    assert time.monotonic() - since < 10


def test_what_waited_is_delivered_when_the_server_is_back(pair):
    one, other = pair()
    alice = one.client("alice")
    other.stop()
    for n in range(3):
        alice.send(f"<message to='bob@{OTHER}' type='chat' id='m{n}'><body>{n}</body></message>")
    until("a failure", lambda: "s2s.failed" in one.log())
    other.start()
    bob = other.client("bob")
    for n in range(3):
        bob.expect(f"<message from='{alice}' id='m{n}'><body>{n}</body></message>")


# --- operators ---


def test_operators_see_streams_and_close_them(pair):
    one, other = pair()
    assert one.rows("s2s", "list") == []
    alice, bob = one.client("alice"), other.client("bob")
    talk(alice, bob)
    talk(bob, alice)
    rows = one.rows("s2s", "list", OTHER)
    assert sorted(row["direction"] for row in rows) == ["in", "out"]
    for row in rows:
        assert (row["domain"], row["local"], row["state"]) == (OTHER, ONE, "up")
        assert (row["queue"], row["tls"], row["auth"]) == (0, "TLSv1.3", "certificate")
    assert one.rows("s2s", "list", "nobody.test") == []
    assert "no stream" in refusal(one, "s2s", "close", "nobody.test")
    assert one.ctl("s2s", "close", OTHER)["text"] == "closed streams: 1"  # of both directions
    until("the end of both", lambda: one.rows("s2s", "list") == [])
    talk(alice, bob)
    talk(bob, alice)


def test_an_attempt_that_is_under_way_is_no_error_of_retry(pair):
    one, _ = pair()
    alice = one.client("alice")
    with socket.create_server(("127.0.0.1", 0)) as hole:
        federation.route(one, "hole.test", hole.getsockname()[1])
        alice.send("<message to='x@hole.test' type='chat'><body>hm</body></message>")
        def comes(state):
            until(state, lambda: [r["state"] for r in one.rows("s2s", "list", "hole.test")] ==
                  [state])
        for _ in range(2):  # the first one is followed at once
            comes("connecting")
            one.ctl("s2s", "close", "hole.test")
        comes("waiting")
        assert re.search("the next attempt is in [0-9]+ s; `s2s retry` begins it now",
                         refusal(one, "s2s", "close", "hole.test"))
        comes("connecting")
        assert "failing since" in [r["name"] for r in one.rows("s2s", "show", "hole.test")]
        assert "under way" in one.ctl("s2s", "retry", "hole.test")["text"]


def test_the_reason_of_a_failure_is_said_in_full(pair):
    """Also after an operator has ended a later attempt."""
    one, _ = pair()
    def why(text):
        until(text, lambda: any(re.search(text, row["why"] or "")
                                for row in one.rows("s2s", "list", "hole.test")))
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        federation.route(one, "hole.test", hole.getsockname()[1])
        one.client("alice").send("<message to='x@hole.test' type='chat'><body>m</body></message>")
        why("Connection refused")
        hole.listen()
        one.ctl("s2s", "retry", "hole.test")
        until("an attempt", lambda: one.ctl_run("s2s", "close", "hole.test").returncode == 0)
        why("Connection refused")
        assert "an operator has ended" not in one.log()
        hole.settimeout(10)
        while "not-well-formed" not in one.log():
            peer, _ = hole.accept()
            with peer:
                peer.sendall(b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' "
                             b"xmlns='jabber:server' version='1.0'>SSH-2.0")
                while peer.recv(1000):
                    pass
        assert "we ended the stream: not-well-formed: text outside" in one.log()


def test_operators_see_why_a_server_is_not_reached_and_try_again(pair):
    one, other = pair()
    alice = one.client("alice")
    other.stop()
    assert "not known to fail" in one.ctl("s2s", "retry", OTHER)["text"]
    alice.send(f"<message to='bob@{OTHER}' type='chat' id='m'><body>late</body></message>")
    row = until("the third attempt", lambda: one.log().count("s2s.failed") >= 3
                and one.rows("s2s", "list")[0])
    assert row["state"] in ("waiting", "connecting") and row["queue"] == 1
    assert "Connection refused" in row["why"]
    other.start()
    bob = other.client("bob")
    one.ctl("s2s", "retry", OTHER)
    bob.expect(f"<message from='{alice}' id='m'><body>late</body></message>")
    assert one.rows("s2s", "list")[0]["state"] == "up"


def test_an_address_has_a_limit(node, authority):
    node.ctl("set", "s2s.connections-per-address", "3")
    cert = authority.issue("evil", "evil.test")
    peers = [Peer(node, "evil.test", ONE, cert).secure() for _ in range(3)]
    Peer(node, "evil.test", ONE, cert).expect_closed()
    node.wait_log("event=s2s.crowd peer=127.0.0.1 ")
    peers[0].close()
    until("the end of one", lambda: next(
        row["value"] for row in node.rows("metrics") if row["name"] == "muster_s2s_streams"
        and row["label"] == "direction=received") == 2)
    Peer(node, "evil.test", ONE, cert).secure()
