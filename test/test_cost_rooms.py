"""What requests to a room cost grows with their size and with the people whom they concern, not
with the product of both: see test_cost.py."""
import threading

import pytest

from muster.component import Component
from muster.muc import ADMIN, CONFIG, OWNER, X, Room, item, submit
from test_cost import assert_bounded, cost_ms

DOMAIN, SECRET = "component.example.test", "a secret of some length here"

pytestmark = pytest.mark.release


@pytest.fixture
def alice(make_server):
    server = make_server("alice", component=True, why="more than a client may send in the time",
                         settings={"c2s.byte-rate": "none", "c2s.stanza-rate": "none"})
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
