"""Presence that the server could not send to another one is sent again, as it is then: nobody who
has gone stays shown there. The random sequences are in test_s2s_presence_random.py."""
import pytest

from muster import across
from muster.across import OTHER
from muster.client import until
from muster.wire import Wire
from test_s2s_across_lost import SMALL, crowd_of, join, metric, part

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


def test_a_session_that_ends_is_seen_to_go(full):
    """By the contact, and by who was sent presence directly; others of the account stay."""
    second = full.second()
    full.fill()
    full.refuses(second.close)
    full.empty()
    for peer in full.friend, full.dave:
        peer.expect(f"<presence from='{second}' type='unavailable'/>")
    full.friend.expect_nothing(f"<presence from='{full.alice}' type='unavailable'/>")


def test_an_account_that_is_deleted_is_seen_to_go(full):
    """There is nobody any more whom an error could reach."""
    second = full.second()
    full.fill()
    full.refuses(lambda: full.one.ctl("user", "del", full.alice.bare))
    full.empty()
    for peer in full.friend, full.dave:
        peer.expect(f"<presence from='{second}' type='unavailable'/>")


def test_who_stays_connected_is_seen_to_go(full):
    """Its client, which does not know who sees it, hears of no error."""
    full.fill()
    full.refuses(lambda: full.alice.send("<presence type='unavailable'/>"))
    full.alice.drain()
    full.empty()
    full.friend.expect(f"<presence from='{full.alice}' type='unavailable'/>")
    full.alice.expect_nothing(f"<presence type='error' from='{full.friend.bare}'/>")


def test_a_session_that_is_back_stays(full):
    """What was refused of the former one does not make it go."""
    second = full.second()
    full.fill()
    full.refuses(second.close)
    full.refuses(lambda: full.one.client("alice", "second"))
    full.empty()
    full.friend.expect(f"<presence from='{second}' type='-'/>")
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
