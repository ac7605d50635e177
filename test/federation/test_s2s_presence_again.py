"""Presence that the server could not send to another one is sent again, as it is then: nobody who
has gone stays shown there. The random sequences are in federation/test_s2s_presence_random.py."""
import re
import time

import pytest

from harness import across, federation, xml
from harness.across import ONE, OTHER
from harness.client import until
from harness.wire import Wire
from federation.test_s2s_across_lost import SMALL, crowd_of, far, join, metric, part

__all__ = ["far"]
TIGHT = {**SMALL, "s2s.lost-after": "1h"}
SHORT = {**TIGHT, "s2s.retry-for": "1s"}
WHY = "what is said to the other server is refused, and it is never lost"


class Full:
    """alice and a contact of hers, and dave, who is none; and a link that takes nothing more."""

    def __init__(self, servers, wire):
        self.one, self.other = servers
        self.wire = wire
        self.alice = self.one.client("alice", "a")
        self.filler, self.friend = crowd_of(*servers, self.alice, 2)
        self.dave = self.other.client("dave", "d")

    def second(self):
        """Another session of alice, whom the contact and dave see."""
        client = self.one.client("alice", "second")
        client.send(f"<presence to='{self.dave}'/>")
        for peer in self.friend, self.dave:
            peer.expect(f"<presence from='{client}' type='-'/>")
        return client

    def fill(self):
        self.one.ctl("s2s", "close", OTHER)
        self.wire.say("f")
        for n in range(12):
            self.alice.send(f"<message type='headline' to='{self.filler}'><body>x</body></message>")
            self.alice.send(f"<presence to='{self.filler}' type='unavailable' id='f{n}'/>")
        self.alice.expect("<presence type='error' id='f11'/>")

    def refuses(self, act):
        """What `act` brings finds no room."""
        before = metric(self.one, "muster_s2s_overflows")
        act()
        until("it is refused", lambda: metric(self.one, "muster_s2s_overflows") > before)

    def empty(self):
        self.wire.say("-")


@pytest.fixture
def full(make_server, tmp_path):
    servers = across.start(make_server, tmp_path, settings=TIGHT, why=WHY)
    wire = Wire(servers[1].s2s_port)
    across.route(servers[0], OTHER, wire.port)
    yield Full(servers, wire)
    wire.close()


def blocks(client, jid):
    client.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{jid}'/></block>")


# What alice or an operator does with a session of hers that both see, and who must not see it then.
ENDS = {
    "it ends": ("friend dave", lambda f, c: c.close()),
    "it is unavailable": ("friend dave", lambda f, c: c.send("<presence type='unavailable'/>")),
    "it is invisible": ("friend dave", lambda f, c: c.result(
        "set", "<invisible xmlns='urn:xmpp:invisible:0'/>")),
    "it blocks the contact": ("friend", lambda f, c: blocks(c, f.friend.bare)),
    "it blocks who is no contact": ("dave", lambda f, c: blocks(c, f.dave.bare)),
    "it refuses the contact": ("friend", lambda f, c: c.send(
        f"<presence to='{f.friend.bare}' type='unsubscribed'/>")),
    "it removes the contact": ("friend", lambda f, c: c.result(
        "set", f"<query xmlns='{xml.ROSTER}'><item jid='{f.friend.bare}' subscription='remove'/>"
        "</query>")),
    "it may not federate": ("friend dave", lambda f, c: f.one.ctl(
        "federation", "set", c.bare, "off")),
    "it is deleted": ("friend dave", lambda f, c: f.one.ctl("user", "del", c.bare)),
    "it is disabled": ("friend dave", lambda f, c: f.one.ctl("user", "disable", c.bare)),
}


@pytest.mark.parametrize("how", ENDS)
def test_who_is_not_to_be_seen_is_seen_to_go(full, how):
    """By the contact, and by who was sent presence directly. No client hears of an error: it does
    not know who sees it, or is gone."""
    watchers, act = ENDS[how]
    second = full.second()
    full.fill()
    full.refuses(lambda: act(full, second))
    full.empty()
    for name in watchers.split():
        getattr(full, name).expect(f"<presence from='{second}' type='unavailable'/>")
    for client in full.alice, second:
        for peer in full.friend, full.dave:
            assert not [e for e in client.log if e.get("type") == "error"
                        and e.get("from").startswith(peer.bare)]


def test_others_of_the_account_stay(full):
    second = full.second()
    full.fill()
    full.refuses(second.close)
    full.empty()
    full.friend.expect(f"<presence from='{second}' type='unavailable'/>")
    full.friend.expect_nothing(f"<presence from='{full.alice}' type='unavailable'/>")


def test_a_session_that_is_back_stays(full):
    """What was refused of the former one does not make it go, but for who has heard nothing of the
    new one."""
    second = full.second()
    full.fill()
    full.refuses(second.close)
    full.refuses(lambda: full.one.client("alice", "second"))
    full.empty()
    full.friend.expect(f"<presence from='{second}' type='-'/>")
    full.dave.expect(f"<presence from='{second}' type='unavailable'/>")
    across.mark(full.alice, full.friend)
    full.friend.expect_nothing(f"<presence from='{second}' type='unavailable'/>")


def test_presence_of_many_sessions_ends(full):
    """Each of them gets through a queue that has room for fewer."""
    full.fill()
    sessions = [full.one.client("alice", f"s{n}") for n in range(8)]
    full.empty()
    for session in sessions:
        full.friend.expect(f"<presence from='{session}' type='-'/>")


# --- a link that fails for longer than presence waits ---


@pytest.fixture
def short(make_server, tmp_path):
    return across.start(make_server, tmp_path, settings=SHORT, why=WHY)


def behind(client, to):
    """What was said before has come back."""
    assert client.error("get", "<query xmlns='jabber:iq:version'/>", to=to)[0] == (
        "remote-server-timeout")


def test_who_leaves_while_the_link_is_down_is_seen_to_go(short):
    """Also by a server that has noticed no failure: it sees nobody else of that domain."""
    one, other = short
    alice, dave = one.client("alice", "a"), other.client("dave", "d")
    second = one.client("alice", "second")
    second.send(f"<presence to='{dave}'/>")
    dave.expect(f"<presence from='{second}' type='-'/>")
    part(one, other)
    second.close()
    behind(alice, str(dave))
    join(one, other)
    dave.expect(f"<presence from='{second}' type='unavailable'/>")


def test_who_is_seen_and_sees_nobody_is_told_again(short):
    """Nothing of the other domain is shown here, so nobody says that it is back."""
    one, other = short
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    for client in alice, bob:
        across.roster_of(client)
    bob.send(f"<presence to='{alice.bare}' type='subscribe'/>")
    alice.expect(f"<presence from='{bob.bare}' type='subscribe'/>")
    alice.send(f"<presence to='{bob.bare}' type='subscribed'/>")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    part(one, other)
    alice.send("<presence><show>dnd</show></presence>")
    behind(alice, str(bob))
    join(one, other)
    bob.expect(f"<presence from='{alice}'><show>dnd</show></presence>")
    alice.expect_nothing("<presence type='error'/>")


def test_who_is_back_at_once_hears_of_no_error(short):
    """When what it was before comes back, it is available again."""
    one, other = short
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    part(one, other)
    alice.send("<presence type='unavailable'/><presence><show>dnd</show></presence>")
    behind(alice, str(bob))
    join(one, other)
    bob.expect(f"<presence from='{alice}'><show>dnd</show></presence>")
    alice.expect_nothing("<presence type='error'/>")


def test_who_is_deleted_goes_by_the_name_that_is_known(full):
    """The contact knows its address, strangers its mail address."""
    second = full.second()
    full.one.ctl("set", "federation.mail-address", "on")
    full.one.ctl("user", "set", full.alice.bare, "--email", f"alice.smith@{ONE}")
    until("it is known", lambda: "mail-address.read used=1" in full.one.log())
    full.fill()
    full.refuses(lambda: full.one.ctl("user", "del", full.alice.bare))
    full.empty()
    full.friend.expect(f"<presence from='{second}' type='unavailable'/>")


# --- what is said to one address, by one name, or against a rule ---


def errors_at(client, peer):
    """Of presence, from the peer or a resource of it."""
    client.ping()
    return [e for e in client.log if e.tag == f"{{{xml.CLIENT}}}presence"
            and e.get("type") == "error" and e.get("from").startswith(peer.bare)]


def test_a_resource_is_told_though_another_one_sees_the_next_session(full):
    """dave/d saw the former session, dave/e sees the new one of the same name."""
    watcher = full.other.client("dave", "e")
    second = full.second()
    full.fill()
    full.refuses(second.close)
    third = full.one.client("alice", "second")
    full.empty()
    full.dave.expect(f"<presence from='{second}' type='unavailable'/>")
    third.send(f"<presence to='{watcher}'/>")
    watcher.expect(f"<presence from='{third}' type='-'/>")


def test_a_resource_is_told_though_another_one_goes_on_to_see_the_session(full):
    watcher = full.other.client("dave", "e")
    second = full.second()
    second.send(f"<presence to='{watcher}'/>")
    watcher.expect(f"<presence from='{second}' type='-'/>")
    full.fill()
    full.refuses(lambda: second.send(f"<presence to='{full.dave}' type='unavailable'/>"))
    full.empty()
    full.dave.expect(f"<presence from='{second}' type='unavailable'/>")
    watcher.expect_nothing(f"<presence from='{second}' type='unavailable'/>")


@pytest.mark.parametrize("ident", ["", " id='own'"], ids=["no-id", "id"])
def test_who_goes_for_a_contact_alone_hears_that_it_was_not_told(full, ident):
    """The contact sees what is said to all, so this cannot be said again in its place."""
    second = full.second()
    full.fill()
    full.refuses(lambda: second.send(
        f"<presence to='{full.friend.bare}' type='unavailable'{ident}/>"))
    second.expect(f"<presence from='{full.friend.bare}' type='error'/>")
    full.empty()


RULES = {
    "it ends": lambda f, c: c.close(),
    "it blocks the contact": lambda f, c: blocks(c, f.friend.bare),
}


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize("how", RULES)
def test_a_rule_that_bars_the_domain_for_a_while_loses_no_farewell(full, how, when):
    """What waits when the rule comes, or is said while it holds, is said when it ends."""
    second = full.second()
    full.fill()
    if when == "before":
        full.refuses(lambda: RULES[how](full, second))
    full.one.ctl("federation", "block", OTHER)
    if when == "meanwhile":
        RULES[how](full, second)
    time.sleep(1)  # farewells leave for half a second more
    full.empty()
    time.sleep(3)  # longer than a farewell waits, and than the stream stays; nothing comes
    full.one.ctl("federation", "allow", OTHER)
    full.friend.expect(f"<presence from='{second}' type='unavailable'/>")
    assert errors_at(full.alice, full.friend) == []


@pytest.mark.parametrize("how", RULES)
def test_a_rule_that_comes_while_a_farewell_waits_for_the_link_does_not_lose_it(make_server,
                                                                                tmp_path, how):
    """The rule takes it out of the queue."""
    servers = across.start(make_server, tmp_path, settings={**TIGHT, "s2s.queue-stanzas": "100"},
                           why=WHY)
    full = Full(servers, None)
    second = full.second()
    part(*servers)
    RULES[how](full, second)
    full.alice.ping()
    full.one.ctl("federation", "block", OTHER)
    time.sleep(3)  # longer than a farewell waits; nothing comes
    full.one.ctl("federation", "allow", OTHER)
    join(*servers)
    full.friend.expect(f"<presence from='{second}' type='unavailable'/>")


def test_who_asks_for_the_mail_address_sees_the_own_one_go(full):
    mail = f"alice.smith@{ONE}"
    full.one.ctl("set", "federation.mail-address", "on")
    full.one.ctl("user", "set", full.alice.bare, "--email", mail)
    until("it is known", lambda: "mail-address.read used=1" in full.one.log())
    full.fill()
    full.refuses(lambda: full.friend.send(f"<presence to='{mail}' type='subscribe'/>"))
    full.empty()
    full.friend.expect(f"<presence from='{full.alice}' type='unavailable'/>")
    full.friend.expect(f"<presence from='{mail}/a' type='-'/>")


@pytest.mark.parametrize("n", [1, 3])
def test_who_shows_itself_to_one_that_has_gone_meanwhile_hears_that_it_was_not_told(
        make_server, tmp_path, n):
    """What the other one says does not need the link that has failed."""
    one, other = across.start(make_server, tmp_path, settings={**SHORT, "s2s.bidi": "off"}, why=WHY)
    alice, dave = one.client("alice", "a"), other.client("dave", "d")
    dave.send(f"<presence to='{alice}'/>")
    alice.expect(f"<presence from='{dave}' type='-'/>")
    across.route(one, OTHER, federation.free_port())
    one.ctl("s2s", "close", OTHER)
    for i in range(n):
        alice.send(f"<presence to='{dave}' id='said{i}'><show>dnd</show></presence>")
    alice.ping()
    dave.send(f"<presence to='{alice}' type='unavailable'/>")
    alice.expect(f"<presence from='{dave}' type='unavailable'/>")
    for i in range(n):
        alice.expect(f"<presence from='{dave}' type='error' id='said{i}'/>")


@pytest.mark.parametrize("kind", ["unsubscribed", "unsubscribe"])
def test_no_client_hears_of_presence_that_nobody_is_owed_any_more(short, kind):
    """It waited for the link, and the subscription has ended."""
    one, other = short
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    part(one, other)
    second = one.client("alice", "second")
    alice.send(f"<presence to='{bob.bare}' type='{kind}' id='own'/>")
    behind(alice, str(bob))
    join(one, other)
    assert [e for e in errors_at(alice, bob) + errors_at(second, bob) if e.get("id") != "own"] == []


def sees_and_is_seen(there, listener):
    """alice and the user of the other server. Returns the streams from there and to there."""
    peer = there.join()
    there.befriend(peer)
    peer.raw(f"<presence from='{there.user}' to='{there.alice.bare}' type='subscribe'/>")
    stream = listener.join()  # she is not asked: she sees the user already
    listener.read_until(stream, f"<presence from='{there.alice}'[^>]*/>|"
                        f"<presence from='{there.alice}' to='{there.user}'[^>]*></presence>")
    return peer, stream


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
    time.sleep(7)  # longer than presence waits to be sent again, and a ping for its answer
    second.send(f"<presence to='last@{there.domain}'/>")
    said = listener.read_until(stream, f"to='last@{there.domain}'").string
    assert f"from='{second}' to='{there.user}'" not in said
    listener.close()


# --- a server that refuses it ---


def test_a_server_that_refuses_presence_is_not_hurried(far):
    """It takes the ping behind each portion, and a part of that could have got through."""
    there = far({"s2s.bidi": "off"})
    listener = federation.Listener(there.domain, there.cert)
    federation.route(there.node, there.domain, listener.port)
    peer, stream = sees_and_is_seen(there, listener)
    refusal = (f"<presence type='error' from='{there.user}' to='{there.alice}'><error type='wait'>"
               f"<resource-constraint xmlns='{xml.STANZA_ERROR}'/></error></presence>")
    peer.raw(refusal)
    begun, rounds = time.monotonic(), 5
    for _ in range(rounds):
        ping = listener.read_until(stream, "<presence .*<iq [^>]*type='get'[^>]*>")[0]
        ident = re.findall("id='([^']*)'", ping)[-1]
        peer.raw(f"{refusal}<iq type='result' id='{ident}' from='{there.domain}' to='{ONE}'/>")
    assert time.monotonic() - begun > rounds - 1, "a second between them"
    listener.close()
