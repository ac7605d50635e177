"""Several domains of one server share a connection to another server (XEP-0220 §2.5)."""
import re
import socket

import pytest

from harness import ejabberd, federation, partner, prosody, pubsub, xml
from harness.client import until
from harness.muc import Room
from harness.wire import Wire

ONE, TWO, ROOMS, OTHER = "one.test", "two.test", "conference.one.test", "other.test"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def start(make_server, authority):
    """A function that starts a server of ours."""
    def run(domains, names, **more):
        tls = {**authority.issue(domains[0], *names), "trust": str(authority.file)}
        settings = federation.settings(**more)
        settings.pop("s2s.policy")  # which a test may change
        server = make_server(domains=domains, s2s=True, tls=tls, settings=settings)
        server.ctl("set", "s2s.policy", "open")
        return server
    return run


@pytest.fixture
def pair(start):
    """A host of two domains, and another server, which it reaches over a wire."""
    servers = []

    def run(names=(ONE, TWO, ROOMS), multiplex="on", theirs=None, **more):
        one = start([ONE, TWO], names, multiplex=multiplex, ack_timeout="2s", **more)
        other = start([OTHER], [OTHER], **(theirs or {}))
        for domain in ONE, TWO:
            one.add_user("alice", domain=domain)
        other.add_user("bob")
        wire = Wire(other.s2s_port)
        servers.append(wire)
        federation.route(one, OTHER, wire.port)
        for domain in ONE, TWO, ROOMS:
            federation.route(other, domain, one.s2s_port)
        return one, other, wire
    yield run
    for wire in servers:
        wire.close()


def say(one, other, *bodies):
    for body in bodies:
        one.send(f"<message to='{other.bare}' type='chat'><body>{body}</body></message>")


def hear(other, one, *bodies):
    for body in bodies:
        other.expect(f"<message from='{one}'><body>{body}</body></message>")


def users(one, other):
    return [one.client("alice", domain=domain) for domain in (ONE, TWO)] + [other.client("bob")]


def streams(server, local=None):
    return sorted((r["local"], r["state"]) for r in server.rows("s2s", "list")
                  if r["direction"] == "out" and local in (None, r["local"]))


def pending(server):
    with server.database(read_only=True) as db:
        return db.execute("SELECT count(*) FROM message WHERE pending_out <> 0").fetchone()[0]


def talk(one, other, mark="text", count=20):
    """Users of both domains and a user of the other server, both ways."""
    alice, carol, bob = users(one, other)
    bodies = [f"{mark} {n}" for n in range(count)]
    for user in alice, carol:
        say(user, bob, *bodies)
    for user in alice, carol:
        hear(bob, user, *bodies)
        say(bob, user, *bodies)
        hear(user, bob, *bodies)
    return alice, carol, bob


@pytest.mark.parametrize("bidi", ["on", "off"])
def test_two_domains_and_a_room_share_a_connection(pair, bidi):
    one, other, wire = pair(bidi=bidi)
    alice, carol, bob = talk(one, other)
    room = Room("room", ONE)
    room.enter(alice, "alice")
    alice.result("set", "<query xmlns='http://jabber.org/protocol/muc#owner'>"
                 "<x xmlns='jabber:x:data' type='submit'/></query>", to=room.jid)
    room.enter(bob, "bob")
    for user in alice, bob:
        user.send(f"<message to='{room.jid}' type='groupchat'><body>by {user.bare}</body>"
                  "</message>")
        for listener in alice, bob:
            listener.expect(f"<message type='groupchat'><body>by {user.bare}</body></message>")
    assert len(wire.pairs) == 1
    assert streams(one) == [(ROOMS, "up"), (ONE, "up"), (TWO, "up")]
    assert one.log().count("s2s.up domain=other.test") == 1
    # with both directions, the room answers on the connection of the other server
    assert one.log().count("s2s.shared domain=other.test") == (1 if bidi == "on" else 2)


def test_services_of_a_domain_share_its_connection(pair):
    """Uploads and nodes of others: what they send goes where the domain itself is heard."""
    upload, news = f"upload.{ONE}", f"pubsub.{ONE}"
    one, other, wire = pair(names=(ONE, TWO, ROOMS, upload, news), bidi="off")
    for domain in upload, news:
        federation.route(other, domain, one.s2s_port)
    alice, bob = one.client("alice", domain=ONE), other.client("bob")
    say(alice, bob, "first")
    hear(bob, alice, "first")
    alice.result("set", pubsub.create("news", access_model="open"), to=news)
    bob.result("set", pubsub.subscribe("news", bob.bare), to=news)
    bob.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=upload)
    alice.result("set", pubsub.publish("news", "<entry xmlns='http://www.w3.org/2005/Atom'/>"),
                 to=news)
    bob.expect(f"<message from='{news}'/>")
    assert streams(one) == [(ONE, "up"), (news, "up"), (upload, "up")]
    assert len(wire.pairs) == 1


def links(server):
    """The lines of each connection: our domain, and the direction."""
    found = {}
    for row in server.rows("s2s", "list", OTHER):
        found.setdefault(row["link"], []).append((row["local"], row["direction"]))
    return sorted(sorted(lines) for lines in found.values())


@pytest.mark.parametrize("bidi", ["on", "off"])
def test_operators_see_which_domains_share_a_connection(pair, bidi):
    """The certificate of each connection is shown once."""
    one, other, wire = pair(bidi=bidi)
    talk(one, other)
    outward = [(ONE, "out"), (TWO, "out")]
    assert links(one) == ([[(ONE, "in"), *outward]] if bidi == "on" else
                          [[(ONE, "in")], outward, [(TWO, "in")]])
    shown = [(row["name"], row["value"]) for row in one.rows("s2s", "show", OTHER)]
    names = [row["link"] for row in one.rows("s2s", "list", OTHER)]
    assert all(sum(value.endswith(f"link {name}") for _, value in shown) == names.count(name)
               for name in names)
    assert [name for name, _ in shown].count("certificate") == len(set(names))


def test_with_several_connections_of_each_pair(pair):
    """The first ones are shared, each other one is of its pair of domains."""
    one, other, wire = pair(bidi="off", connections="2")
    alice, carol, bob = users(one, other)
    names = [f"u{n}@{OTHER}" for n in range(30)]  # each connection has some of them
    for user in alice, carol:
        for name in names:
            user.send(f"<message to='{name}' type='chat' id='{name}'><body>hi</body></message>")
        for name in names:  # nobody has these names
            user.expect(f"<message type='error' from='{name}' id='{name}'/>")
        say(user, bob, *range(10))
        hear(bob, user, *range(10))
    assert len(wire.pairs) == 3
    assert one.log().count("s2s.shared domain=other.test") == 1


def test_each_has_its_own_if_it_is_off(pair):
    one, other, wire = pair(multiplex="off")
    talk(one, other)
    assert len(wire.pairs) == 2


def test_a_domain_that_the_certificate_does_not_name_is_asked_about(pair):
    """The other server asks for the key at that domain: one more connection of its own."""
    one, other, wire = pair(names=(ONE,), verify_certificates="off",
                            theirs={"verify_certificates": "off"})
    talk(one, other)
    assert len(wire.pairs) == 1
    assert one.log().count("s2s.shared domain=other.test") == 1
    assert "s2s.proved domain=two.test local=other.test auth=dialback" in other.log()


def test_a_server_that_takes_certificates_alone_gets_two_connections(pair):
    one, other, wire = pair(theirs={"dialback": "off"})
    talk(one, other)
    assert len(wire.pairs) == 2


def test_a_domain_that_is_refused_has_a_connection_of_its_own(pair):
    """The other server cannot ask about its key."""
    one, other, wire = pair(names=(ONE,), verify_certificates="off",
                            theirs={"verify_certificates": "off"})
    alice, carol, bob = users(one, other)
    say(alice, bob, "first")
    hear(bob, alice, "first")
    federation.route(other, TWO, federation.free_port())
    say(carol, bob, "second")
    until("it is tried alone", lambda: "could not prove our domain by dialback" in one.log())
    say(alice, bob, "third")
    hear(bob, alice, "third")
    assert "s2s.shared" not in one.log()


@pytest.mark.sqlite
@pytest.mark.parametrize("bidi", ["on", "off"])
def test_a_shared_connection_that_breaks_loses_nothing(pair, bidi):
    """What was not confirmed comes again, so it may come twice; in its order."""
    one, other, wire = pair(bidi=bidi)
    alice, carol, bob = talk(one, other)
    for turn in range(3):
        bodies = [f"{turn}-{n}" for n in range(60)]
        for user in alice, carol:
            say(user, bob, *bodies)
        wire.say("c")
        for user in alice, carol:
            hear(bob, user, *bodies)
        bob.inbox.clear()
    until("all are confirmed", lambda: pending(one) == 0)


@pytest.mark.sqlite
def test_the_other_server_is_killed(pair):
    one, other, wire = pair()
    alice, carol, bob = talk(one, other)
    bodies = [f"late {n}" for n in range(100)]
    for user in alice, carol:
        user.enable_sm()
        say(user, bob, *bodies)
        user.wait_acked(100)
    other.kill()
    other.start()
    bob, heard = other.client("bob"), set()
    want = {(user.bare, body) for user in (alice, carol) for body in bodies}

    def come():
        bob.pump(0.05)
        heard.update((e.get("from").partition("/")[0], e.findtext(f"{{{xml.CLIENT}}}body"))
                     for e in bob.inbox)
        return heard >= want
    until("all have come", come)
    until("all are confirmed", lambda: pending(one) == 0)


@pytest.mark.sqlite
def test_a_planned_restart_of_each_side(pair):
    one, other, wire = pair()
    for n, server in enumerate((one, other, one)):
        alice, carol, bob = talk(one, other, f"turn {n}", 5)
        for user in alice, carol:
            say(user, bob, "last")
            hear(bob, user, "last")
        server.stop()
        server.start()
    talk(one, other, "end")
    until("all are confirmed", lambda: pending(one) + pending(other) == 0)


def test_a_domain_that_may_not_federate_any_more(pair):
    """The other server must not reach it, either: its messages wait there."""
    one, other, wire = pair()
    alice, carol, bob = talk(one, other)
    one.ctl("set", f"s2s.policy@{TWO}", "allow")
    until("it has left", lambda: streams(one, TWO) == [])
    say(alice, bob, "still")
    hear(bob, alice, "still")
    say(bob, carol, "later")
    until("it is refused", lambda: "not a domain that may connect here" in one.log())
    assert not [e for e in carol.inbox if e.tag.endswith("}message")]
    one.ctl("set", f"s2s.policy@{TWO}", "open")
    say(carol, bob, "again")
    hear(bob, carol, "again")
    hear(carol, bob, "later")
    assert len(wire.pairs) == 1


def test_the_connection_of_the_host_that_is_closed_by_an_operator(pair):
    one, other, wire = pair()
    alice, carol, bob = talk(one, other)
    before = list(wire.pairs)
    one.ctl("s2s", "close", OTHER)
    until("they have ended", lambda: not set(before) & set(wire.pairs))
    say(carol, bob, "again")
    hear(bob, carol, "again")
    say(alice, bob, "again")
    hear(bob, alice, "again")
    assert len(wire.pairs) < 2  # the other server may have been faster


EVIL = "evil.test"
ERRORS = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"


@pytest.fixture
def evil(start, authority):
    """A host of two domains, its users, and a server that the test plays."""
    one = start([ONE, TWO], [ONE, TWO], multiplex="on")
    for domain in ONE, TWO:
        one.add_user("alice", domain=domain)
    listener = federation.Listener(EVIL, authority.issue(EVIL, EVIL))
    federation.route(one, EVIL, listener.port)
    yield one, listener
    listener.close()


def hosted(one, listener, features=ERRORS):
    """The stream of the first domain, which the other one may share."""
    alice, carol = (one.client("alice", domain=domain) for domain in (ONE, TWO))
    alice.send(f"<message to='bob@{EVIL}'><body>first</body></message>")
    stream = listener.join(features)
    listener.read_until(stream, "<body>first</body>")
    return alice, carol, stream


@pytest.mark.parametrize("text", [
    f"<db:result from='{EVIL}' to='{TWO}' type='valid'/>",
    f"<db:result from='{EVIL}' to='none.test' type='valid'/>",
    f"<db:verify from='{EVIL}' to='{TWO}' id='first' type='valid'/>",
    f"<message from='bob@{EVIL}' to='alice@{TWO}'><body>forged</body></message>"])
def test_what_nobody_has_asked_ends_the_stream(evil, text):
    one, listener = evil
    _, carol, stream = hosted(one, listener)
    stream.sendall(text.encode())
    listener.read_until(stream, "<stream:error>.*unsupported-stanza-type")
    assert not [e for e in carol.inbox if e.tag.endswith("}message")]


@pytest.mark.parametrize("answer", ["error", "invalid", None])
def test_a_key_that_is_refused_or_never_answered(evil, answer):
    """The domain connects itself; the stream stays for the first one."""
    one, listener = evil
    alice, carol, stream = hosted(one, listener)
    carol.send(f"<message to='bob@{EVIL}'><body>second</body></message>")
    listener.read_until(stream, f"<db:result [^>]*from='{TWO}'")
    if answer is not None:
        stream.sendall(f"<db:result from='{EVIL}' to='{TWO}' type='{answer}'/>".encode())
    own = listener.join(ERRORS)
    listener.read_until(own, "<body>second</body>")
    alice.send(f"<message to='bob@{EVIL}'><body>third</body></message>")
    listener.read_until(stream, "<body>third</body>")


def test_a_server_that_says_nothing_of_errors_is_not_asked(evil):
    one, listener = evil
    _, carol, stream = hosted(one, listener, "")
    carol.send(f"<message to='bob@{EVIL}'><body>second</body></message>")
    own = listener.join("")
    listener.read_until(own, "<body>second</body>")


def test_a_server_that_hangs_keeps_nobody_waiting(evil):
    """A domain that waits for the connection of another one has its errors as soon as that."""
    one, _ = evil
    one.ctl("set", "s2s.retry-for", "1s")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        federation.route(one, EVIL, silent.getsockname()[1])
        both = [one.client("alice", domain=domain) for domain in (ONE, TWO)]
        for _ in range(2):
            for user in both:
                user.send(f"<iq type='get' id='ask' to='{EVIL}'>"
                          "<ping xmlns='urn:xmpp:ping'/></iq>")
            for user in both:
                user.expect("<iq type='error' id='ask'/>")


@pytest.mark.sqlite
def test_what_is_confirmed_is_known_for_each_domain(evil):
    """The server counts stanzas of both together (XEP-0198)."""
    one, listener = evil
    alice, carol, stream = hosted(one, listener, ERRORS + f"<sm xmlns='{xml.SM}'/>")
    carol.send(f"<message to='bob@{EVIL}' type='chat'><body>second</body></message>")
    listener.read_until(stream, f"<db:result [^>]*from='{TWO}'")
    stream.sendall(f"<enabled xmlns='{xml.SM}'/>"
                   f"<db:result from='{EVIL}' to='{TWO}' type='valid'/>".encode())
    listener.read_until(stream, "<body>second</body>")
    for n in range(4):
        sender = (alice, carol)[n % 2]
        sender.send(f"<message to='bob@{EVIL}' type='chat'><body>more {n}</body></message>")
        listener.read_until(stream, f"<body>more {n}</body>")
    until("all are kept", lambda: pending(one) == 6)
    for h, left in (0, 6), (2, 4), (3, 3), (6, 0):
        stream.sendall(f"<a xmlns='{xml.SM}' h='{h}'/>".encode())
        until("what was counted", lambda left=left: pending(one) == left)
    stream.sendall(f"<a xmlns='{xml.SM}' h='7'/>".encode())
    listener.read_until(stream, "handled-count-too-high[^>]*send-count='6'")


@pytest.mark.sqlite
def test_a_ping_of_a_domain_that_shares_a_stream_is_not_answered(evil, authority):
    """The stream ends in order: what was written to it has perhaps arrived."""
    one, listener = evil
    _, carol, stream = hosted(one, listener)
    asked = listener.read_until(stream, "<iq [^>]*id='([^']*)'[^>]*><ping")
    other = federation.Peer(one, EVIL, ONE, cert=authority.issue("other", EVIL)).join()
    other.raw(f"<iq type='result' id='{asked[1]}' from='{EVIL}' to='{ONE}'/>")
    until("it is confirmed", lambda: pending(one) == 0)
    one.ctl("set", "s2s.ack-timeout", "1s")
    carol.send(f"<message to='bob@{EVIL}' type='chat'><body>second</body></message>")
    listener.read_until(stream, f"<db:result [^>]*from='{TWO}'")
    stream.sendall(f"<db:result from='{EVIL}' to='{TWO}' type='valid'/>".encode())
    listener.read_until(stream, "<body>second</body>(?s:.*)</stream:stream>")
    assert pending(one) == 1
    stream.sendall(b"</stream:stream>")
    until("the end confirms it", lambda: pending(one) == 0)


@pytest.mark.parametrize("kind, more", [
    pytest.param(ejabberd.Ejabberd, {}, marks=pytest.mark.skipif(
        not ejabberd.is_here(), reason="no ejabberd")),
    pytest.param(prosody.Prosody, {}, marks=pytest.mark.skipif(
        not prosody.is_here(), reason="no Prosody"))])
def test_with_others(make_server, tmp_path, kind, more):
    started = []
    try:
        ours, theirs = partner.start(make_server, tmp_path, kind, started,
                                     settings={"multiplex": "on"}, **more)
        partner.talk_both_ways(ours, theirs, "alice")
        partner.meet(ours, theirs)
        partner.talk_both_ways(ours, theirs, "bob")
    finally:
        for process in started:
            process.finish()


# --- between sharing and what a pair has of its own ---


SESSIONS = ERRORS + f"<sm xmlns='{xml.SM}'/>"


def test_a_pair_with_a_session_resumes_it_and_does_not_share(start, authority):
    """Its count is of that stream: on another one it would confirm what nobody has."""
    one = start([ONE, TWO], [ONE, TWO])
    for domain in ONE, TWO:
        one.add_user("alice", domain=domain)
    listener = federation.Listener(EVIL, authority.issue(EVIL, EVIL))
    federation.route(one, EVIL, listener.port)
    alice, carol = (one.client("alice", domain=domain) for domain in (ONE, TWO))
    carol.send(f"<message to='bob@{EVIL}' type='chat'><body>own</body></message>")
    own = listener.join(SESSIONS)
    listener.read_until(own, "<body>own</body>")
    own.sendall(f"<enabled xmlns='{xml.SM}' resume='true' id='X'/>"
                f"<a xmlns='{xml.SM}' h='1'/>".encode())
    until("it is confirmed", lambda: pending(one) == 0)
    one.ctl("set", "s2s.multiplex", "on")
    alice.send(f"<message to='bob@{EVIL}' type='chat'><body>first</body></message>")
    lead = listener.join(SESSIONS)
    listener.read_until(lead, "<body>first</body>")
    lead.sendall(f"<enabled xmlns='{xml.SM}'/><a xmlns='{xml.SM}' h='1'/>".encode())
    until("it is confirmed", lambda: pending(one) == 0)
    own.close()
    carol.send(f"<message to='bob@{EVIL}' type='chat'><body>next</body></message>")
    again = listener.join(SESSIONS)
    listener.read_until(again, "<resume [^>]*previd='X'")
    again.sendall(f"<resumed xmlns='{xml.SM}' previd='X' h='1'/>".encode())
    listener.read_until(again, "<body>next</body>")
    listener.close()


def test_a_domain_that_is_proved_late_is_banned_on_the_shared_stream_too(evil):
    """It has a stream of its own by then, which is not all that a new rule is about."""
    one, listener = evil
    alice, carol = (one.client("alice", domain=domain) for domain in (ONE, TWO))
    alice.send(f"<message to='bob@{EVIL}'><body>first</body></message>")
    features = ERRORS + "<bidi xmlns='urn:xmpp:features:bidi'/>"
    shared = listener.secure(features=federation.EXTERNAL + features)
    listener.read_until(shared, "<auth.*</auth>")
    shared.sendall(f"<success xmlns='{xml.SASL}'/>".encode())
    listener.header(shared, "third", ERRORS)
    listener.read_until(shared, "<body>first</body>")
    carol.send(f"<message to='bob@{EVIL}'><body>second</body></message>")
    listener.read_until(shared, f"<db:result [^>]*from='{TWO}'")
    own = listener.join(ERRORS)
    listener.read_until(own, "<body>second</body>")
    shared.sendall(f"<db:result from='{EVIL}' to='{TWO}' type='valid'/>"
                   f"<message from='bob@{EVIL}' to='alice@{TWO}' type='chat'><body>may</body>"
                   "</message>".encode())
    carol.expect("<message><body>may</body></message>")
    one.ctl("set", f"s2s.policy@{TWO}", "off")
    shared.sendall(f"<message from='bob@{EVIL}' to='alice@{TWO}' type='chat'><body>banned</body>"
                   "</message>".encode())
    listener.read_until(shared, "<invalid-from")
    carol.expect_nothing("<message><body>banned</body></message>")


@pytest.mark.parametrize("words", [("s2s", "close", EVIL), ("set", f"s2s.policy@{ONE}", "off")])
def test_a_domain_that_is_proved_behind_the_end_of_the_shared_stream(evil, words):
    """It goes on a stream of its own: nothing may be written to this one any more."""
    one, listener = evil
    _, carol, stream = hosted(one, listener, ERRORS + f"<sm xmlns='{xml.SM}'/>")
    stream.sendall(f"<enabled xmlns='{xml.SM}'/>".encode())
    carol.send(f"<message to='bob@{EVIL}'><body>second</body></message>")
    listener.read_until(stream, f"<db:result [^>]*from='{TWO}'")
    one.ctl(*words)
    listener.read_until(stream, "</stream:stream>")
    stream.sendall(f"<db:result from='{EVIL}' to='{TWO}' type='valid'/>".encode())
    body = ""
    while body != "second":  # what was not confirmed of the first domain may come again
        body = listener.read_until(listener.join(ERRORS), "<body>(first|second)</body>")[1]
    assert one.process.poll() is None


def test_a_domain_that_the_other_server_does_not_admit_leaves_the_stream_to_the_others(pair):
    one, other, _ = pair(bidi="off", retry_for="1s")
    other.ctl("set", "s2s.domains", TWO)
    other.ctl("set", "s2s.policy", "deny")
    alice, carol, bob = users(one, other)
    say(alice, bob, "first")
    hear(bob, alice, "first")
    for n in range(3):
        assert carol.error("get", "<ping xmlns='urn:xmpp:ping'/>", to=OTHER)
        say(alice, bob, f"next {n}")
        hear(bob, alice, f"next {n}")
    why = "s2s.policy is deny, and s2s.domains names it"
    assert f'event=s2s.not-admitted domain={TWO} local={OTHER} stage=policy why="{why}"' in \
        other.log()
    refused, = (row for row in other.rows("s2s", "list", TWO) if row["state"] == "refused")
    assert (refused["local"], refused["stage"]) == (OTHER, "policy") and why in refused["why"]
    shown = {row["name"]: row["value"] for row in other.rows("s2s", "show", TWO)}
    assert shown["last refused"].endswith(f"from 127.0.0.1: {why}")
    assert re.search(f"event=s2s.unshared domain={OTHER} local={TWO} with={ONE} "
                     "why=.*policy-violation", one.log())
    lost = [line for line in one.log().splitlines() if "event=s2s.lost" in line]
    assert not [line for line in lost if f"local={ONE}" in line], lost


def test_a_domain_that_must_show_its_certificate_may_share(pair):
    """The one of the stream names it (XEP-0344)."""
    one, other, _ = pair(bidi="off")
    other.ctl("s2s-demand", "set", TWO, "--auth", "certificate")
    alice, carol, bob = users(one, other)
    say(alice, bob, "first")
    hear(bob, alice, "first")
    say(carol, bob, "second")
    hear(bob, carol, "second")
    assert f"event=s2s.shared domain={OTHER} local={TWO}" in one.log()
    assert f"event=s2s.proved domain={TWO} local={OTHER} auth=certificate" in other.log()
