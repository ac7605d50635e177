"""What users see of contacts on another server when that dies, forgets everything, or is back."""
import contextlib
import itertools
import signal
import time

import pytest

from harness import across, ejabberd, federation, partner, prosody, xml
from harness.across import ONE, OTHER
from harness.client import until
from harness.wire import Wire

SOON = {"s2s.ping-after": "1s", "s2s.ping-timeout": "2s", "s2s.lost-after": "2s",
        "s2s.retry-for": "1s"}
LATE = {"s2s.lost-after": "1h"}
SMALL = {"s2s.queue-stanzas": "5", "s2s.unacked-max": "10", "s2s.resume-for": "none",
         "s2s.bidi": "off"}
WHY = "what is seen does not come from a lost domain"


@pytest.fixture
def servers(make_server, tmp_path):
    return across.start(make_server, tmp_path, settings=SOON)


@pytest.fixture
def friends(servers):
    one, other = servers
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    for client in alice, bob:
        client.drain()
    return alice, bob


def metric(server, name):
    return sum(row["value"] for row in server.rows("metrics") if row["name"] == name)


def test_contacts_of_a_server_that_dies_go_after_a_while(servers, friends):
    one, other = servers
    alice, bob = friends
    other.kill()
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    assert "domain.lost" in one.log() and metric(one, "muster_s2s_lost") == 1
    carol = one.client("carol")
    carol.expect_nothing()


def test_contacts_of_a_server_that_falls_silent_go(servers, friends):
    """It takes connections and says nothing."""
    one, other = servers
    alice, bob = friends
    other.signal(signal.SIGSTOP)
    alice.timeout = 60
    try:
        alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    finally:
        other.signal(signal.SIGCONT)
    alice.expect(f"<presence from='{bob}' type='-'/>")


def test_a_server_that_is_back_is_told_and_asked_again(servers, friends):
    one, other = servers
    alice, bob = friends
    other.kill()
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    other.start()
    again = other.client("bob", "again")
    again.expect(f"<presence from='{alice}' type='-'/>")
    alice.expect(f"<presence from='{again}' type='-'/>")
    until("no lost domain", lambda: metric(one, "muster_s2s_lost") == 0)


def test_a_server_that_was_killed_and_is_back_at_once(make_server, tmp_path):
    """Its users are not there any more, and nobody says so."""
    one, other = across.start(make_server, tmp_path, settings=LATE, why=WHY)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    other.kill()
    other.start()
    for gone in bob.bare, bob:  # the answer to the probe
        alice.expect(f"<presence from='{gone}' type='unavailable'/>")
    assert "domain.lost" not in one.log()


def test_a_short_failure_is_not_shown(make_server, tmp_path):
    one, other = across.start(make_server, tmp_path, settings=LATE, why=WHY)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    for client in alice, bob:
        client.drain()
    one.ctl("s2s", "close", OTHER)
    across.mark(alice, bob)
    across.mark(bob, alice)
    for client in alice, bob:
        client.expect_nothing("<presence type='unavailable'/>")


def test_who_logs_out_while_the_link_is_down(servers, friends):
    one, other = servers
    alice, bob = friends
    port = one.s2s_port
    across.route(one, OTHER, 1)
    across.route(other, ONE, 1)
    one.ctl("s2s", "close", OTHER)
    alice.close()
    bob.timeout = 60
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    across.route(one, OTHER, other.s2s_port)
    across.route(other, ONE, port)
    second = one.client("alice", "second")
    bob.expect(f"<presence from='{second}' type='-'/>")
    second.expect(f"<presence from='{bob}' type='-'/>")


def test_sessions_that_a_planned_restart_has_kept_ask_again(servers, friends):
    one, other = servers
    alice, bob = friends
    alice.enable_sm()
    alice.ping()
    one.stop()
    bob.send("<presence><show>dnd</show></presence>")
    bob.ping()
    one.start()
    again = one.connect("alice")
    assert again.take_over(alice).tag.endswith("resumed")
    again.expect(f"<presence from='{bob}'><show>dnd</show></presence>")


class Far:
    """A server that the test plays: ours has a contact of it online."""

    def __init__(self, node, authority, domain="far.test"):
        self.node, self.domain = node, domain
        self.user = f"u@{domain}"
        self.cert = authority.issue(domain, domain)
        self.alice = node.client("alice")
        across.roster_of(self.alice)

    def join(self):
        return federation.Peer(self.node, self.domain, ONE, self.cert).join()

    def befriend(self, peer):
        """In one direction: the contact is seen here."""
        self.alice.send(f"<presence to='{self.user}' type='subscribe'/>")
        until("the request is kept", lambda: self.user in across.roster_of(self.alice))
        peer.raw(f"<presence from='{self.user}' to='alice@{ONE}' type='subscribed'/>"
                 f"<presence from='{self.user}/r' to='alice@{ONE}'/>")
        self.alice.expect(f"<presence from='{self.user}/r' type='-'/>")

    def say(self, peer, ident):
        peer.raw(f"<message from='{self.user}/r' to='{self.alice.bare}' type='chat' id='{ident}'>"
                 "<body>hi</body></message>")
        self.alice.expect(f"<message id='{ident}'/>")


@pytest.fixture
def far(make_server, tmp_path):
    """A function that starts our server with settings."""
    authority = federation.Authority(tmp_path)

    def run(settings):
        tls = {**authority.issue(ONE, ONE), "trust": str(authority.file)}
        node = make_server("alice", domains=[ONE], s2s=True, tls=tls,
                           settings={**federation.settings(), **settings})
        return Far(node, authority)
    return run


def test_a_server_that_cannot_be_reached_and_talks_is_not_lost(far):
    """What it sends is a sign of life. When it falls silent, it is lost."""
    there = far(SOON)
    federation.route(there.node, there.domain, federation.free_port())
    peer = there.join()
    there.befriend(peer)
    until("it cannot be reached", lambda: "event=s2s.failed" in there.node.log())
    end = time.monotonic() + 6
    for n in itertools.count():
        there.say(peer, f"m{n}")
        if time.monotonic() > end:
            break
    assert "domain.lost" not in there.node.log()
    there.alice.expect(f"<presence from='{there.user}/r' type='unavailable'/>")
    assert "domain.lost" in there.node.log()


# --- what finds no room ---


def crowd_of(one, other, alice, count):
    """Clients of the other server, who see alice and are seen by her."""
    friends = []
    for n in range(count):
        other.add_user(f"u{n}", domain=OTHER)
        friends.append(other.client(f"u{n}"))
        across.befriend(alice, friends[-1])
    return friends


@pytest.fixture
def full(make_server, tmp_path):
    """alice, a contact of hers who sees her, and dave, who is none; a link that takes nothing after
    fill()."""
    one, other = across.start(make_server, tmp_path, settings={**LATE, **SMALL}, why=WHY)
    wire = Wire(other.s2s_port)
    across.route(one, OTHER, wire.port)
    alice = one.client("alice", "a")
    friend, = crowd_of(one, other, alice, 1)

    def fill():
        one.ctl("s2s", "close", OTHER)
        wire.say("f")
        for n in range(12):
            alice.send(f"<message type='headline' to='{friend}' id='h{n}'><body>x</body></message>")
        alice.expect("<message type='error' id='h11'/>")
    yield one, other, alice, friend, fill
    wire.close()


def test_no_client_hears_that_the_server_could_not_send_its_presence(full):
    """Probes, broadcasts and their ends: it would take the error for a contact that has gone. The
    sender of directed presence hears of it."""
    one, other, alice, friend, fill = full
    fill()
    second = one.client("alice", "second")
    alice.expect(f"<presence from='{second}'/>")
    second.send("<presence><show>dnd</show></presence><presence type='unavailable'/>")
    alice.send(f"<presence to='dave@{OTHER}' id='own'/>")
    alice.expect(f"<presence from='dave@{OTHER}' type='error' id='own'/>")
    for client in alice, second:
        client.ping()
        assert not [e for e in client.log if e.tag == f"{{{xml.CLIENT}}}presence"
                    and e.get("type") == "error" and e.get("id") != "own"]


def sees_and_is_seen(there, listener):
    """alice and the user of the other server. Returns the streams from there and to there."""
    peer = there.join()
    there.befriend(peer)
    peer.raw(f"<presence from='{there.user}' to='{there.alice.bare}' type='subscribe'/>")
    stream = listener.join()  # she is not asked: she sees the user already
    listener.read_until(stream, f"<presence from='{there.alice}'[^>]*/>|"
                        f"<presence from='{there.alice}' to='{there.user}'[^>]*></presence>")
    return peer, stream


def blocks(client, jid):
    client.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{jid}'/></block>")

HIDES = {
    "invisible": lambda client, user: client.result(
        "set", "<invisible xmlns='urn:xmpp:invisible:0'/>"),
    "blocked": blocks,
}


@pytest.mark.parametrize("how", HIDES)
def test_a_made_up_error_says_nothing_of_who_is_hidden(far, how):
    """No probe either: it would tell that the session is there."""
    there = far({"s2s.bidi": "off"})
    listener = federation.Listener(there.domain, there.cert)
    federation.route(there.node, there.domain, listener.port)
    peer, stream = sees_and_is_seen(there, listener)
    second = there.node.client("alice", "second")
    HIDES[how](second, there.user)
    listener.read_until(stream, f"<presence from='{second}'[^>]* type='unavailable'")
    peer.raw(f"<presence type='error' from='{there.user}' to='{second}'><error type='wait'>"
             f"<resource-constraint xmlns='{xml.STANZA_ERROR}'/></error></presence>")
    time.sleep(1)
    second.send(f"<presence to='last@{there.domain}'/>")
    said = listener.read_until(stream, f"to='last@{there.domain}'").string
    assert f"from='{second}' to='{there.user}'" not in said
    listener.close()


def test_who_got_directed_presence_sees_the_session_end(servers):
    """RFC 6121 §4.6.3: also who is no contact; and a rule that separates them ends it, too."""
    one, other = servers
    dave = other.client("dave", "d")
    for end in ("close", "rule"):
        alice = one.client("alice", end)
        alice.send(f"<presence to='{dave}'/>")
        dave.expect(f"<presence from='{alice}' type='-'/>")
        if end == "close":
            alice.close()
        else:
            one.ctl("federation", "set", alice.bare, "off")
        dave.expect(f"<presence from='{alice}' type='unavailable'/>")


# --- servers of another make ---

MAKES = {"prosody": (prosody, prosody.Prosody, {"more": '"blocklist"; "vcard_legacy";'}),
         "ejabberd": (ejabberd, ejabberd.Ejabberd, {"more": "mod_s2s_dialback: {}\n  "
                                                    "mod_blocking: {}\n  mod_privacy: {}\n  "
                                                    "mod_vcard: {}"})}


@pytest.fixture(params=MAKES)
def federated(request, make_server, tmp_path):
    """A function that starts ours and theirs."""
    module, kind, options = MAKES[request.param]
    if not module.is_here():
        pytest.skip(f"no {request.param}, or no dnsmasq")
    started = []
    yield lambda **settings: partner.start(make_server, tmp_path, kind, started,
                                           settings=settings, **options)
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.finish()


def friends_of(ours, theirs):
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    across.befriend(alice, bob)
    return alice, bob


def test_contacts_of_a_server_that_dies_and_is_back(federated):
    ours, theirs = federated(ping_after="2s", lost_after="3s", retry_for="1s")
    alice, bob = friends_of(ours, theirs)
    theirs.kill()
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    theirs.begin()
    again = until("a client", lambda: login(theirs))
    ours.wait_log("domain.back")
    if isinstance(theirs, prosody.Prosody):  # after kill -9 ejabberd may have lost the contacts
        again.expect(f"<presence from='{alice}' type='-'/>")
        alice.expect(f"<presence from='{again}' type='-'/>")


def login(theirs):
    with contextlib.suppress(AssertionError, OSError):
        return theirs.client("bob", "again")
    return None


def test_our_server_is_killed(federated):
    """Their server does not notice it; what it shows is true again when our user is back."""
    ours, theirs = federated()
    alice, bob = friends_of(ours, theirs)
    ours.kill()
    ours.start()
    again = ours.client("alice", "again")
    again.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect(f"<presence from='{again}' type='-'/>")
    again.close()
    second = theirs.client("bob", "second")
    second.expect(f"<presence from='{alice.bare}' type='unavailable'/>")


def test_blocking(federated):
    ours, theirs = federated()
    pair = friends_of(ours, theirs)
    for one, other in (pair, pair[::-1]):
        one.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{other.bare}'/></block>")
        if one is pair[0] or isinstance(theirs, prosody.Prosody):
            other.expect(f"<presence from='{one}' type='unavailable'/>")
        other.send(f"<message to='{one.bare}' type='chat' id='m'><body>x</body></message>")
        error = other.expect(f"<message from='{one.bare}' type='error' id='m'/>")
        assert xml.condition(error) in ("service-unavailable", "not-acceptable")
        one.result("set",
                   f"<unblock xmlns='urn:xmpp:blocking'><item jid='{other.bare}'/></unblock>")
        if one is pair[0] or isinstance(theirs, prosody.Prosody):
            other.expect(f"<presence from='{one}' type='-'/>")
