"""What requests to a room cost grows with their size and with the people whom they concern, not
with the product of both: see cost/test_cost.py."""
import threading

import pytest

from harness.component import Component
from harness.muc import ADMIN, CONFIG, OWNER, Room, Seen, X, codes, item, owners, submit
from cost.test_cost import assert_bounded, cost_ms

DOMAIN, SECRET = "component.example.test", "a secret of some length here"


@pytest.fixture
def alice(make_server):
    server = make_server("alice", component=True, workers=1,
                         why="more than a client may send in the time",
                         settings={"c2s.byte-rate": "none", "c2s.stanza-rate": "none",
                                   **owners("anonymous")})
    alice = server.client("alice", "a")
    alice.server = server
    return alice


class Sink(Component):
    """A component that reads all and looks at nothing but the answers to its own pings."""

    def __init__(self, server):
        server.ctl("component", "add", DOMAIN, "--secret", SECRET)
        super().__init__(server, DOMAIN, SECRET)
        self.sock.settimeout(None)
        self.answered = threading.Semaphore(0)
        threading.Thread(target=self.read_all, daemon=True).start()

    def read_all(self):
        tail = b""
        while data := self.received():
            tail += data
            for _ in range(tail.count(b"id='ping-")):
                self.answered.release()
            tail = tail[-8:]

    def received(self):
        try:
            return self.sock.recv(1 << 18)
        except OSError:  # the test is over
            return b""

    def settle(self, cave):
        self.raw(f"<iq type='get' id='ping-' from='x@{DOMAIN}' to='{cave.jid}'>"
                 "<ping xmlns='urn:xmpp:ping'/></iq>")
        assert self.answered.acquire(timeout=60)

    def fill(self, cave, count):
        """With occupants whose nicknames are n0, n1 and so on."""
        for i in range(count):
            self.raw(f"<presence from='x{i}@{DOMAIN}/r' to='{cave.at(f'n{i}')}'>{X}</presence>")
            if i % 50 == 49:
                self.settle(cave)
        self.settle(cave)


def request(cave, namespace, inner):
    return f"<iq type='set' id='r' to='{cave.jid}'><query xmlns='{namespace}'>{inner}</query></iq>"


def configure(cave, **fields):
    return request(cave, OWNER, submit(CONFIG, fields, "muc#roomconfig_"))


def room_cost_ms(alice, cave, text):
    """The room is asked whether it is done: it may be on another thread than the client."""
    alice.ping = lambda: alice.result("get", "<ping xmlns='urn:xmpp:ping'/>", to=cave.jid)
    return cost_ms(alice, text)


@pytest.mark.release
def test_a_form_that_names_other_administrators(alice):
    """More would lose their affiliation than one change may have, so it can be sent again."""
    few, many = Room("few"), Room("many")
    for cave in few, many:
        cave.create(alice, "owner", persistentroom=True)
    for k in range(0, 16_000, 1000):
        many.change(alice, *(item(jid=f"admin-{k + i:05}@example.test", affiliation="admin")
                             for i in range(1000)))
    costs = [room_cost_ms(alice, cave, configure(cave, roomadmins=["one@example.test"]))
             for cave in (few, many)]
    assert_bounded(*costs)


@pytest.mark.release
def test_affiliations_of_people_who_are_not_here(alice):
    """Each was looked for among all who are in the room."""
    few, many = Room("few"), Room("many")
    for cave in few, many:
        cave.create(alice, "owner", maxusers="1000", presencebroadcast=["moderator"])
    Sink(alice.server).fill(many, 900)
    costs = [room_cost_ms(alice, cave, "".join(
        request(cave, ADMIN, "".join(item(jid=f"u{i}@example.test", affiliation=affiliation)
                                     for i in range(1000)))
        for affiliation in ("member", "none"))) for cave in (few, many)]
    assert_bounded(*costs, more_ms=0)


CHANGES = {
    "members only": (OWNER, {"membersonly": True}),
    "shown no longer": (OWNER, {"presencebroadcast": ["moderator"]}),
    "real addresses": (OWNER, {"whois": "anyone"}),
    "moderators": (ADMIN, [item(nick=f"n{i}", role="moderator") for i in range(300)]),
    "members": (ADMIN, [item(jid=f"x{i}@{DOMAIN}", affiliation="member") for i in range(300)]),
    "kicks": (ADMIN, [item(nick=f"n{i}", role="none", reason="late") for i in range(300)]),
    "a domain": (ADMIN, [item(jid=DOMAIN, affiliation="outcast", reason="late")]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_many_are_shown_of_many_comes_in_portions(alice, what):
    """Other clients are served between portions. The room handles what comes for it after the last
    portion, and answers a form then."""
    namespace, change = CHANGES[what]
    form = namespace == OWNER
    cave = Room("cave").create(alice, "owner", maxusers="1000", whois="moderators")
    sink = Sink(alice.server)
    sink.fill(cave, 300)
    alice.drain()
    alice.log.clear()
    alice.raw((configure(cave, **change) if form else request(cave, namespace, "".join(change)))
              + f"<message to='{cave.jid}' type='groupchat' id='said'><body>x</body></message>"
              "<iq type='get' to='localhost' id='other'><ping xmlns='urn:xmpp:ping'/></iq>")
    for answer in ("<message id='said'/>", "<iq type='result' id='r'/>"):
        alice.expect(answer)
    place = {e.get("id"): i for i, e in enumerate(alice.log) if e.get("id")}
    shown = [Seen(e) for e in alice.log if e.tag.endswith("}presence")]
    last = max(i for i, e in enumerate(alice.log) if e.tag.endswith("}presence"))
    assert sorted(s.nick for s in shown if s.nick != "owner") == sorted(f"n{i}" for i in range(300))
    assert place["other"] < last < place["said"]
    assert (last < place["r"]) == form
    reasons = {s.reason for s in shown if s.nick != "owner"}
    assert reasons == {"late" if what in ("kicks", "a domain") else None}
    sink.settle(cave)


def test_what_a_change_behind_tells_all_comes_behind(alice):
    """It is under way when the room is stored, and does not wait for what was changed before."""
    cave = Room("cave").create(alice, "owner", maxusers="1000", whois="moderators",
                               persistentroom=True)
    sink = Sink(alice.server)
    sink.fill(cave, 300)
    alice.drain()
    alice.log.clear()
    alice.raw(configure(cave, whois="anyone") + configure(cave, roomname="Cave"))
    for code in (172, 104):
        alice.expect(lambda e, code=code: e.tag.endswith("}message") and code in codes(e))
    seen = [e.tag.endswith("}presence") for e in alice.log]
    assert sum(seen) == 301 and not seen[-1]


def test_presence_that_waits_for_its_pace_keeps_the_reason_of_a_change(alice):
    """It would be shown by a timer, in the middle of the portions."""
    for setting, value in ("muc.message-burst", "10"), ("muc.message-rate", "2"):
        alice.server.ctl("set", setting, value)
    cave = Room("cave").create(alice, "owner", maxusers="1000", whois="moderators")
    sink = Sink(alice.server)
    sink.fill(cave, 400)
    sink.raw("".join(f"<presence from='x{i}@{DOMAIN}/r' to='{cave.at(f'n{i}')}'/>"
                     for _ in range(30) for i in range(340, 400)))
    sink.settle(cave)
    alice.drain()
    alice.log.clear()
    alice.raw(request(cave, ADMIN, "".join(item(nick=f"n{i}", role="visitor", reason="late")
                                           for i in range(400))))
    alice.expect("<iq type='result' id='r'/>")
    alice.result("get", "<ping xmlns='urn:xmpp:ping'/>", to=cave.jid)
    reasons = {(s.nick, s.reason) for e in alice.log if e.tag.endswith("}presence")
               for s in [Seen(e)]}
    assert {(f"n{i}", "late") for i in range(400)} <= reasons


def test_absent_members_come_behind_occupants_who_leave(alice):
    """One has the nickname of an occupant who is no member."""
    cave = Room("cave").create(alice, "owner", maxusers="1000", whois="anyone")
    Sink(alice.server).fill(cave, 300)
    cave.configure(alice, **{"muster#roomconfig_showabsent": False})
    cave.set_affiliation(alice, "n299@elsewhere.example.test", "member")
    alice.drain()
    alice.log.clear()
    cave.configure(alice, **{"muster#roomconfig_showabsent": True, "membersonly": True})
    cave.flush(alice)
    assert [Seen(e).affiliation for e in alice.log if e.tag.endswith("}presence")
            and e.get("from") == cave.at("n299")] == ["none", "member"]


class Counts(Sink):
    shown, tail = 0, b""

    def received(self):
        data = super().received()
        self.shown += (self.tail + data).count(b" jid=")
        self.tail = data[-4:]
        return data


def test_what_is_due_is_shown_before_the_server_stops(alice):
    """Occupants of components and of other servers would see those who have left for ever."""
    cave = Room("cave").create(alice, "owner", maxusers="1000", whois="moderators")
    sink = Counts(alice.server)
    sink.fill(cave, 400)
    before = sink.shown
    alice.raw(configure(cave, whois="anyone") + "<iq type='get' to='localhost' id='behind'/>")
    alice.expect("<iq type='error' id='behind'/>")
    alice.server.stop()
    assert sink.shown - before == 400 * 401
