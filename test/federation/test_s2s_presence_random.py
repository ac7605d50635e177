"""Presence across a link that fails in every way and has room for nearly nothing. Contacts,
occupants of rooms, and whoever is sent presence directly, end with what was said last, or its
sender has an error to that."""
import random

import pytest

from harness import across, muc, xml
from harness.across import ONE, OTHER
from harness.client import until
from harness.muc import Room
from harness.wire import Wire
from rooms.test_ghosts import seen_by

GONE = "gone"
GOES = None, "unavailable"
SHOWS = [None, "away", "dnd", "xa", "chat"]
WIRE = {"cut": "c", "cut one": "1", "freeze": "f", "open": "-"}
FAULTS = [*WIRE, "open", "close", "retry", "wait", "nothing"]
WHY = "queues are short, links fail often, and clients say much"
STEPS = 20


def shown(show):
    return "" if show is None else f"<show>{show}</show>"


class World:
    """alice and carol are of one server, bob and dave of the other. alice has bob and dave as
    contacts; each server has a room with all four."""

    def __init__(self, servers, seed):
        self.one, self.other = self.servers = servers
        self.rand, self.count = random.Random(seed), 0
        self.wires = Wire(self.other.s2s_port), Wire(self.one.s2s_port)
        across.route(self.one, OTHER, self.wires[0].port)
        across.route(self.other, ONE, self.wires[1].port)
        self.users = {name: server.client(name, "r") for server, names in (
            (self.one, ("alice", "carol")), (self.other, ("bob", "dave"))) for name in names}
        self.own = dict.fromkeys(self.users)  # what each of them says to all
        self.more = {}  # sessions of alice and bob that come and go, and what they say
        self.seen = dict.fromkeys(self.users, 0)
        self.views = {name: {} for name in self.users}
        self.directed = {}  # (sender, addressee): id and availability of the last
        self.errors = set()
        alice, bob, dave = (self.users[name] for name in ("alice", "bob", "dave"))
        across.befriend(alice, bob)
        across.befriend(alice, dave)
        self.rooms = [Room("cave", ONE), Room("den", OTHER)]
        for room, owner in zip(self.rooms, ("alice", "bob")):
            room.create(self.users[owner], owner, persistentroom=True)
            for name in sorted(set(self.users) - {owner}):
                room.enter(self.users[name], name)
        self.visitors = {}  # (room, nickname): session of carol or dave

    def narrow(self):
        for server in self.servers:
            server.ctl("set", "s2s.queue-stanzas", str(self.rand.choice([1, 2, 5])))
            server.ctl("set", "s2s.unacked-max", str(self.rand.choice([1, 5])))

    # What the users do.

    def broadcast(self):
        name = self.rand.choice(["alice", "bob", "dave"])
        self.own[name] = self.rand.choice(SHOWS)
        self.users[name].send(f"<presence>{shown(self.own[name])}</presence>")

    def come_or_go(self):
        """A further session of alice or of bob."""
        server, name = self.rand.choice([(self.one, "alice"), (self.other, "bob")])
        if name in self.more and self.rand.random() < .5:
            self.more.pop(name)[0].close()
        elif name not in self.more:
            show, client = self.rand.choice(SHOWS), server.login(name, "more")
            client.send(f"<presence>{shown(show)}</presence>")
            self.more[name] = client, show

    def direct(self):
        """carol and dave are no contacts."""
        pair = self.rand.choice([("carol", "dave"), ("dave", "carol")])
        show = self.rand.choice([*SHOWS, GONE])
        self.count += 1
        ident = f"d{self.count}"
        self.directed[pair] = ident, show
        inner = "type='unavailable'/>" if show == GONE else f">{shown(show)}</presence>"
        self.users[pair[0]].send(f"<presence id='{ident}' to='{self.users[pair[1]]}' {inner}")

    def in_room(self):
        room, name = self.rand.choice(self.rooms), self.rand.choice(list(self.users))
        self.users[name].send(f"<presence to='{room.at(name)}'>"
                              f"{shown(self.rand.choice(SHOWS))}</presence>")

    def visit(self):
        room = self.rand.choice(self.rooms)
        server, name = self.rand.choice([(self.one, "carol"), (self.other, "dave")])
        self.count += 1
        client = server.client(name, f"v{self.count}")
        client.send(f"<presence to='{room.at(f'v{self.count}')}'>{muc.X}</presence>")
        self.visitors[room, f"v{self.count}"] = client

    def leave(self):
        if self.visitors:
            room, nick = key = self.rand.choice(list(self.visitors))
            client = self.visitors.pop(key)
            if self.rand.random() < .5:
                client.send(f"<presence to='{room.at(nick)}' type='unavailable'/>")
                client.ping()
            client.close()

    def say(self):
        """What fills the queues."""
        self.count += 1
        name, room = self.rand.choice(list(self.users)), self.rand.choice(self.rooms)
        to, kind = self.rand.choice([
            (room.jid, "groupchat"),
            (self.users["dave" if name in ("alice", "carol") else "carol"], "chat")])
        self.users[name].send(f"<message to='{to}' type='{kind}' id='m{self.count}'>"
                              f"<body>{self.count}</body></message>")

    def step(self):
        for _ in range(self.rand.choice([0, 3, 10, 20])):
            self.rand.choice([self.broadcast, self.direct, self.direct, self.in_room, self.say])()
        for act in self.come_or_go, self.visit, self.leave:
            if self.rand.random() < .4:
                act()
        self.fault(self.rand.choice(FAULTS))

    def fault(self, what):
        wire, server = self.rand.choice(self.wires), self.rand.choice(self.servers)
        domain = OTHER if server is self.one else ONE
        if what in WIRE:
            wire.say(WIRE[what])
        elif what in ("close", "retry"):
            server.ctl_run("s2s", what, domain)
        elif what == "wait":
            for client in self.users.values():
                for _ in range(self.rand.choice([1, 20])):
                    client.ping()

    # What they see.

    def read(self):
        for name, client in self.users.items():
            client.ping()
            for e in client.log[self.seen[name]:]:
                if e.tag == f"{{{xml.CLIENT}}}presence" and e.get("type") == "error":
                    self.errors.add(e.get("id"))
                elif e.tag == f"{{{xml.CLIENT}}}presence" and e.get("type") in GOES:
                    self.views[name][e.get("from")] = GONE if e.get("type") else e.findtext(
                        f"{{{xml.CLIENT}}}show")
            self.seen[name] = len(client.log)

    def wrong(self):
        """(who sees, whom or which room, what is seen, what is true), where these differ."""
        self.read()
        wrong = []
        sessions = {str(self.users[name]): show for name, show in self.own.items()}
        for name, address in ("alice", "more"), ("bob", "more"):
            jid = f"{self.users[name].bare}/{address}"
            sessions[jid] = self.more[name][1] if name in self.more else GONE
        for watcher, watched in ("alice", "bob"), ("alice", "dave"), ("bob", "alice"), (
                "dave", "alice"):
            for jid, show in sessions.items():
                if jid.startswith(self.users[watched].bare) and \
                        self.views[watcher].get(jid, GONE) != show:
                    wrong.append((watcher, jid, self.views[watcher].get(jid, GONE), show))
        for (sender, to), (ident, show) in self.directed.items():
            got = self.views[to].get(str(self.users[sender]), GONE)
            if got != show and ident not in self.errors:
                wrong.append((to, sender, got, show))
        for room, local in zip(self.rooms, ("alice", "bob")):
            there = seen_by(self.users[local], room)[0]
            for name in self.users:
                seen = seen_by(self.users[name], room)[0]
                if seen != there:
                    wrong.append((name, room.jid, seen, there))
        return wrong

    def end(self):
        for wire in self.wires:
            wire.say("-")
        for server, domain in (self.one, OTHER), (self.other, ONE):
            server.ctl_run("s2s", "retry", domain)


@pytest.mark.parametrize("bidi", ["on", "off"])
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("seed", range(2))
def test_presence_ends_as_it_was_said_last(make_server, tmp_path, seed, connections, bidi):
    servers = across.start(make_server, tmp_path, workers=4, why=WHY, settings={
        "s2s.connections": connections, "s2s.bidi": bidi, "s2s.ack-timeout": "2s",
        "s2s.retry-for": ["2s", "10s"][seed], "muc.message-burst": "1000"})
    for server in servers:
        for setting in "c2s.stanza-rate", "muc.message-rate":
            server.ctl_run("set", setting, "none")
    world = World(servers, f"{seed} {connections} {bidi}")
    world.narrow()
    for _ in range(STEPS):
        world.step()
    world.end()
    try:
        until("all see what was said last", lambda: not world.wrong(), 40)
    except AssertionError:
        raise AssertionError(world.wrong()) from None
    for wire in world.wires:
        wire.close()
