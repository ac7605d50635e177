"""What users see when another server dies, forgets everything, or is back."""
import itertools
import time

import pytest

from harness import across, federation, xml
from harness.across import ONE, OTHER
from harness.client import until
from harness.muc import Room
from harness.wire import Wire

SOON = {"s2s.ping-after": "1s", "s2s.ping-timeout": "2s", "s2s.lost-after": "2s",
        "s2s.retry-for": "1s"}

LATE = {"s2s.lost-after": "1h"}
NO_STORE = "<no-store xmlns='urn:xmpp:hints'/>"
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
    import signal
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


def test_a_server_that_was_killed_and_is_back_at_once(make_server, tmp_path, disk):
    """Its users are not there any more, and nobody says so."""
    one, other = across.start(make_server, tmp_path, settings=LATE, why=WHY, disk=disk)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    other.kill()
    other.start()
    alice.expect(f"<presence from='{bob.bare}' type='unavailable'/>")
    disk.turn(mono_us=30 * 10**6)  # for the answers to probes
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
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


@pytest.fixture(params=["on", "off"])
def wired(request, make_server, tmp_path):
    """Friends, and a wire each way; with streams in both directions there may be one stream."""
    one, other = across.start(make_server, tmp_path, why=WHY, settings={
        **LATE, "s2s.resume-for": "60s", "s2s.ack-timeout": "2s", "s2s.bidi": request.param})
    wires = Wire(other.s2s_port), Wire(one.s2s_port)
    across.route(one, OTHER, wires[0].port)
    across.route(other, ONE, wires[1].port)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    across.mark(alice, bob)
    across.mark(bob, alice)
    for client in alice, bob:
        client.drain()
    until("each has the count of the other", lambda: all(
        row["queue"] == 0 for server in (one, other) for row in server.rows("s2s", "list")))
    yield one, other, alice, bob, wires
    for wire in wires:
        wire.close()


def expect_quiet(alice, bob):
    across.mark(alice, bob, "behind")
    across.mark(bob, alice, "behind")
    for client in alice, bob:
        client.expect_nothing("<presence/>")


def test_contacts_hear_nothing_of_a_break_that_is_resumed(wired):
    """Neither unavailable presence nor what answers a probe; nothing waits for the other side."""
    one, other, alice, bob, wires = wired
    for wire in wires:
        wire.say("c")
    for server in one, other:
        server.wait_log("event=domain.resumed")
    expect_quiet(alice, bob)
    for server in one, other:
        assert "event=domain.back" not in server.log()


def test_contacts_hear_nothing_of_a_stream_that_is_taken_from_a_dead_connection(wired):
    """One side has given it up, and makes another; the other side has not noticed yet. Then that
    breaks: as many are resumed as have broken."""
    one, other, alice, bob, wires = wired
    wires[0].say("f")
    third = Wire(other.s2s_port)
    across.route(one, OTHER, third.port)
    across.mark(alice, bob, "late")
    one.wait_log("event=s2s.lost.*s2s.ack-timeout")
    other.wait_log("event=s2s.resumed")
    wires[0].say("c")
    expect_quiet(alice, bob)
    third.say("c")
    for server in one, other:
        server.wait_log("event=domain.resumed")
    expect_quiet(alice, bob)
    for server in one, other:
        assert "event=domain.back" not in server.log()
    third.close()


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


def test_occupants_of_a_dead_server_leave_the_room(servers, friends):
    one, other = servers
    alice, bob = friends
    room = Room("cave", ONE)
    room.create(alice, "owner")
    room.enter(bob, "guest")
    dave = other.client("dave")
    room.enter(dave, "second")
    room.forget(alice)
    other.kill()
    for nick in "guest", "second":
        assert 333 in room.gone(alice, nick).codes


def test_ghosts_of_a_server_that_was_started_again_leave_the_room(make_server, tmp_path):
    one, other = across.start(make_server, tmp_path, settings=LATE, why=WHY)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    room = Room("cave", ONE)
    room.create(alice, "owner")
    room.enter(bob, "guest")
    room.forget(alice)
    other.kill()
    other.start()
    dave = other.client("dave")
    shown = room.enter(dave, "second").others
    assert 333 in room.gone(alice, "guest").codes
    if "guest" in shown:  # else the ghost was gone before
        dave.expect(f"<presence from='{room.at('guest')}' type='unavailable'/>")
    room.expect_nothing(alice, f"<presence from='{room.at('second')}' type='unavailable'/>")


def test_occupants_of_a_server_that_is_back_are_asked_in_portions(make_server, tmp_path):
    """In between, the server does other work: it answers a request behind the first portion before
    the last one."""
    count = 1500
    one, other = across.start(make_server, tmp_path, why=WHY, workers=1, settings={
        **LATE, "s2s.resume-for": "none", "muc.rooms-per-user": str(count),
        "s2s.queue-stanzas": "2048"})
    wires = Wire(other.s2s_port), Wire(one.s2s_port)
    across.route(one, OTHER, wires[0].port)
    across.route(other, ONE, wires[1].port)
    bob = other.client("bob", "b")
    rooms = [Room(f"room{n}", ONE) for n in range(count)]
    for room in rooms:
        room.knock(bob, "guest")
    for room in rooms:
        bob.expect(f"<presence from='{room.at('guest')}'/>")
        bob.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
    bob.drain()
    for wire in wires:
        wire.say("c")
    nothing = f"<message to='{bob}' type='groupchat'>{NO_STORE}</message>"
    bob.timeout = 60
    asked = [bob.expect(nothing).get("from")]
    bob.send(f"<iq type='get' id='between' to='conference.{ONE}'>"
             "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
    bob.expect("<iq id='between' type='result'/>")
    asked += [e.get("from") for e in bob.inbox if e.get("type") == "groupchat"]
    assert len(asked) < count
    bob.inbox = [e for e in bob.inbox if e.get("type") != "groupchat"]
    left = {str(room) for room in rooms} - set(asked)
    while left:  # one comes twice if a stream has ended meanwhile, as on a busy machine
        left.discard(bob.expect(nothing).get("from"))
    for wire in wires:
        wire.close()


def test_occupants_of_a_foreign_room_learn_that_it_is_gone(servers, friends):
    one, other = servers
    alice, bob = friends
    room = Room("cave", OTHER)
    room.create(bob, "owner")
    room.enter(alice, "guest")
    ping = "<ping xmlns='urn:xmpp:ping'/>"
    assert alice.iq("get", ping, to=room.at("guest")).get("type") == "result"
    other.kill()
    assert alice.error("get", ping, to=room.at("guest"))[0] == "remote-server-timeout"
    other.start()
    until("an answer of the room", lambda: alice.error("get", ping, to=room.at("guest"))[0] in (
        "not-acceptable", "item-not-found"))


@pytest.mark.parametrize("victim", [0, 1])
def test_a_request_that_was_lost_is_said_again(servers, victim):
    """The server that asks, or the one that is asked, is killed before the answer is there."""
    one, other = servers
    alice = one.client("alice")
    across.roster_of(alice)
    across.route(one, OTHER, 1)
    alice.send(f"<presence to='bob@{OTHER}' type='subscribe'/>")
    alice.expect(f"<iq type='set'><query xmlns='{xml.ROSTER}'><item jid='bob@{OTHER}' "
                 "subscription='none' ask='subscribe'/></query></iq>")
    servers[victim].kill()
    servers[victim].start()
    across.route(one, OTHER, other.s2s_port)
    if victim == 1:
        alice.close()
    alice = one.client("alice")
    across.roster_of(alice)
    bob = other.client("bob")
    across.roster_of(bob)
    bob.expect(f"<presence from='{alice.bare}' type='subscribe'/>")
    bob.send(f"<presence to='{alice.bare}' type='subscribed'/>")
    alice.expect(f"<presence from='{bob.bare}' type='subscribed'/>")
    until("agreement", lambda: (across.roster_of(alice)[bob.bare],
                                across.roster_of(bob)[alice.bare]) == (("to", None),
                                                                       ("from", None)))


def part(one, other):
    """Neither reaches the other one: also what goes back on its stream is lost."""
    across.route(one, OTHER, 1)
    across.route(other, ONE, 1)
    other.ctl("s2s", "close", ONE)
    until("no stream", lambda: not [row for server in (one, other)
                                    for row in server.rows("s2s", "list")
                                    if row["state"] == "up"])


def join(one, other):
    across.route(one, OTHER, other.s2s_port)
    across.route(other, ONE, one.s2s_port)


def test_a_denial_that_was_lost_is_said_again(servers, friends):
    one, other = servers
    alice, bob = friends
    part(one, other)
    bob.send(f"<presence to='{alice.bare}' type='unsubscribed'/>")
    bob.expect(f"<iq type='set'><query xmlns='{xml.ROSTER}'><item jid='{alice.bare}' "
               "subscription='to'/></query></iq>")
    other.kill()
    other.start()
    join(one, other)
    alice.close()
    alice = one.client("alice")  # perhaps after it was said again
    until("agreement", lambda: across.roster_of(alice)[bob.bare] == ("from", None))


def test_an_unsubscribe_that_was_lost_is_said_again(servers, friends):
    """With the server that has said it; its contact list knows the contact."""
    one, other = servers
    alice, bob = friends
    part(one, other)
    alice.send(f"<presence to='{bob.bare}' type='unsubscribe'/>")
    alice.expect(f"<iq type='set'><query xmlns='{xml.ROSTER}'><item jid='{bob.bare}' "
                 "subscription='from'/></query></iq>")
    one.kill()
    one.start()
    join(one, other)
    alice = one.client("alice")
    bob.send("<presence><show>away</show></presence>")
    bob.expect(f"<presence from='{alice.bare}' type='unsubscribe'/>")
    assert across.roster_of(bob)[alice.bare] == ("to", None)
    assert across.roster_of(alice)[bob.bare] == ("from", None)


def test_a_contact_that_was_removed_unheard_loses_both_subscriptions(servers, friends):
    """Its presence is answered, and so is the probe of its server."""
    one, other = servers
    alice, bob = friends
    part(one, other)
    alice.result("set", f"<query xmlns='{xml.ROSTER}'><item jid='{bob.bare}' "
                 "subscription='remove'/></query>")
    alice.send(f"<message to='{bob}' type='headline' id='behind'><body>behind</body></message>")
    alice.expect("<message type='error' id='behind'/>")
    join(one, other)
    bob.send("<presence><show>away</show></presence>")
    bob.expect(f"<presence from='{alice.bare}' type='unsubscribe'/>")
    second = other.client("bob", "second")
    until("agreement", lambda: across.roster_of(second)[alice.bare] == ("none", None))
    assert bob.bare not in across.roster_of(alice)


def test_presence_to_one_foreign_address_is_lost_and_ends(servers):
    one, other = servers
    alice, bob = one.client("alice"), other.client("bob")
    for a, b in (alice, bob), (bob, alice):
        a.send(f"<presence to='{b}'/>")
        b.expect(f"<presence from='{a}'/>")
    other.kill()
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    alice.close()


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


def test_a_denial_while_we_were_away(servers, friends):
    """The answer to our probe says it."""
    one, other = servers
    alice, bob = friends
    part(one, other)
    bob.send(f"<presence to='{alice.bare}' type='unsubscribed'/>")
    bob.expect(f"<iq type='set'><query xmlns='{xml.ROSTER}'><item jid='{alice.bare}' "
               "subscription='to'/></query></iq>")
    until("an answer", lambda: "s2s.failed" in other.log())
    join(one, other)
    second = one.client("alice", "second")
    across.roster_of(second)
    until("agreement", lambda: across.roster_of(second)[bob.bare] == ("from", None))


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


class Ear:
    """What our server says to the one that the test plays."""

    def __init__(self, there, peer):
        self.there, self.peer, self.marks = there, peer, itertools.count()
        self.listener = federation.Listener(there.domain, there.cert)
        federation.route(there.node, there.domain, self.listener.port)
        self.stream = None

    def hears(self):
        """All that it has said since, in answer to what it was told before."""
        mark = f"mark{next(self.marks)}"
        self.peer.raw(f"<message from='{self.there.user}/r' to='nobody@{ONE}' id='{mark}'>"
                      "<body>mark</body></message>")
        self.stream = self.stream or self.listener.join()
        return self.listener.read_until(self.stream, f"<message [^>]*{mark}.*</message>").string

    def presence(self, user, text="", to=f"alice@{ONE}", **attributes):
        named = "".join(f" {name}='{value}'" for name, value in attributes.items())
        self.peer.raw(f"<presence from='{user}@{self.there.domain}/r' to='{to}'{named}>{text}"
                      "</presence>")


@pytest.fixture
def ear(far):
    there = far({"s2s.bidi": "off"})
    found = Ear(there, there.join())
    yield found
    found.listener.close()
    if found.stream:
        found.stream.close()


def list_contact(client, jid):
    client.result("set", f"<query xmlns='{xml.ROSTER}'><item jid='{jid}'/></query>")


def test_presence_that_nobody_has_asked_for_is_answered_once(ear):
    alice = ear.there.alice
    list_contact(alice, "c@far.test")
    ear.presence("c")
    alice.expect("<presence from='c@far.test/r'/>")
    said = ear.hears()
    assert said.count("type='unsubscribe'") == 1
    assert f"from='{alice.bare}'" in said and "to='c@far.test'" in said
    ear.presence("c", "<show>away</show>")
    ear.presence("c", to=alice)
    assert "unsubscribe" not in ear.hears()


def test_presence_of_strangers_is_not_answered(ear):
    """It would tell who has an account."""
    ear.presence("stranger")
    ear.presence("stranger", to=f"nobody@{ONE}")
    ear.peer.raw(f"<presence from='asks@far.test' to='alice@{ONE}' type='subscribe'/>")
    ear.there.alice.expect("<presence from='asks@far.test' type='subscribe'/>")
    ear.presence("asks")
    assert "unsubscribe" not in ear.hears()


def test_presence_that_means_something_else_is_not_answered(ear):
    alice = ear.there.alice
    for name in "room", "blocked", "sent", "gone", "error", "full":
        list_contact(alice, f"{name}@far.test")
    alice.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='blocked@far.test'/></block>")
    alice.send("<presence to='sent@far.test'/>")
    alice.send(f"<presence to='{ear.there.user}' type='subscribe'/>")
    until("the request is kept", lambda: ear.there.user in across.roster_of(alice))
    ear.presence("room", "<x xmlns='http://jabber.org/protocol/muc#user'>"
                 "<item affiliation='none' role='participant'/></x>")
    ear.presence("error", "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
                 "</error>", type="error")
    ear.presence("gone", type="unavailable")
    ear.presence("full", to=alice)
    for name in "blocked", "sent", "u":
        ear.presence(name)
    assert "unsubscribe" not in ear.hears()


def test_probes_of_many_contacts_find_room_for_all(make_server, tmp_path):
    """They go in portions, and what finds no room is asked again."""
    small = {"s2s.queue-stanzas": "5", "s2s.unacked-max": "10", "s2s.resume-for": "none",
             "s2s.bidi": "off"}
    one, other = across.start(make_server, tmp_path, settings={**LATE, **small}, why=WHY)
    wire = Wire(other.s2s_port)
    across.route(one, OTHER, wire.port)
    alice = one.client("alice")
    across.roster_of(alice)
    friends = []
    for n in range(40):
        other.add_user(f"u{n}", domain=OTHER)
        friend = other.client(f"u{n}")
        friend.send(f"<presence to='{alice.bare}' type='subscribe'/>")
        alice.expect(f"<presence from='{friend.bare}' type='subscribe'/>")
        alice.send(f"<presence to='{friend.bare}' type='subscribed'/>")
        friend.expect(f"<presence from='{alice}' type='-'/>")
        alice.send(f"<presence to='{friend.bare}' type='subscribe'/>")
        alice.expect(f"<presence from='{friend}' type='-'/>")
        friends.append(friend)
    alice.drain()
    wire.say("c")
    until("it is back", lambda: "event=domain.back" in one.log())
    for friend in friends:
        alice.expect(f"<presence from='{friend}' type='-'/>")
    alice.expect_nothing("<presence type='unavailable'/>")
    alice.expect_nothing("<presence type='error'/>")
    wire.close()


SMALL = {"s2s.queue-stanzas": "5", "s2s.unacked-max": "10", "s2s.resume-for": "none",
         "s2s.bidi": "off"}


def crowd_of(one, other, alice, count):
    """Clients of the other server, who see alice and are seen by her."""
    friends = []
    for n in range(count):
        other.add_user(f"u{n}", domain=OTHER)
        friends.append(other.client(f"u{n}"))
        across.befriend(alice, friends[-1])
    return friends


def test_presence_of_the_server_that_finds_no_room_is_sent_again(make_server, tmp_path):
    """Probes and broadcast presence: no client hears of an error, and all contacts are seen. Who
    sends presence to an address hears that it was not sent."""
    one, other = across.start(make_server, tmp_path, settings={**LATE, **SMALL}, why=WHY)
    wire = Wire(other.s2s_port)
    across.route(one, OTHER, wire.port)
    alice = one.client("alice")
    friends = crowd_of(one, other, alice, 10)
    one.ctl("s2s", "close", OTHER)
    wire.say("f")
    second = one.client("alice", "second")
    alice.expect(f"<presence from='{second}'/>")
    for bare in f"dave@{OTHER}", friends[0].bare:
        alice.send(f"<presence to='{bare}' id='own'/>")
        alice.expect(f"<presence from='{bare}' type='error' id='own'><error type='wait'>"
                     f"<resource-constraint xmlns='{xml.STANZA_ERROR}'/></error></presence>")
    wire.say("-")
    for friend in friends:
        second.expect(f"<presence from='{friend}' type='-'/>")
        friend.expect(f"<presence from='{second}' type='-'/>")
    for client in alice, second:
        client.expect_nothing("<presence type='error'/>")
    wire.close()


def test_who_wants_to_be_unavailable_to_a_contact_is_not_shown_to_it(make_server, tmp_path):
    """Where that finds no room, its sender hears of it."""
    one, other = across.start(make_server, tmp_path, settings={**LATE, **SMALL}, why=WHY)
    wire = Wire(other.s2s_port)
    across.route(one, OTHER, wire.port)
    alice = one.client("alice")
    hidden, friend = crowd_of(one, other, alice, 2)
    one.ctl("s2s", "close", OTHER)
    wire.say("f")
    for n in range(12):
        alice.send(f"<message type='headline' to='{friend}' id='h{n}'><body>x</body></message>")
    for n in range(12):
        alice.send(f"<presence to='{hidden.bare}' type='unavailable' id='own{n}'/>")
    alice.expect("<presence type='error' id='own11'/>")
    wire.say("-")
    friend.expect("<message id='h0'/>")
    hidden.expect(f"<presence from='{alice}' type='unavailable' id='own0'/>")
    hidden.expect_nothing(f"<presence from='{alice}' type='-'/>")
    wire.close()
