"""Several connections to one server (s2s.connections): each pair of addresses keeps its order."""
import contextlib
import itertools
import json
import re
import select

import pytest

from harness import across, federation, partner, prosody, slow_disk, xml
from harness.client import until
from harness.server import free_ports
from harness.wire import Wire
from federation.test_s2s_lost import until_confirmed

ONE, OTHER = "one.test", "other.test"
SENDERS = [f"a{i}" for i in range(4)]
RECEIVERS = [f"b{i}" for i in range(5)]
PAIRS = list(itertools.product(SENDERS, RECEIVERS))


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def start(make_server, authority):
    """A function that starts a server of ours."""
    def one(users, domain, workers=4, disk=None, **more):
        tls = {**authority.issue(domain, domain), "trust": str(authority.file)}
        return make_server(*users, domains=[domain], s2s=True, tls=tls, workers=workers, disk=disk,
                           settings=federation.settings(**more))
    return one


@pytest.fixture
def pair(start):
    """A function that starts two servers that know each other."""
    def two(**more):
        one, other = start(SENDERS, ONE, **more), start(RECEIVERS, OTHER, **more)
        federation.route(one, OTHER, other.s2s_port)
        federation.route(other, ONE, one.s2s_port)
        return one, other
    return two


def join(server, users):
    return {user: server.client(user) for user in users}


def streams(server, direction, state="up"):
    return [row for row in server.rows("s2s", "list")
            if row["direction"] == direction and row["state"] == state]


def flood(senders, begin, end):
    """Numbered messages of every pair, in turn."""
    for n in range(begin, end):
        for sender, receiver in PAIRS:
            senders[sender].send(f"<message to='{receiver}@{OTHER}' type='chat' id='m{n}'>"
                                 f"<body>{n}</body></message>")


def reach_all(sender, domain=OTHER):
    """To so many addresses that each connection has some: nobody is there."""
    for n in range(100):
        sender.send(f"<message to='nobody{n}@{domain}' type='headline'><body>x</body></message>")


def numbers_of(client, count, last):
    """What each sender has sent it, up to the last one of all."""
    seen = {sender: [] for sender in SENDERS}
    while any(last not in seen[sender] for sender in SENDERS):
        message = client.expect("<message type='chat'><body/></message>")
        body = next(e for e in message if e.tag.endswith("}body"))
        seen[message.get("from").partition("@")[0]].append(int(body.text))
    assert all(len(numbers) >= count for numbers in seen.values()), seen
    return seen


def hear(receivers, begin, end):
    """Each once, of each pair in its order."""
    for client in receivers.values():
        for numbers in numbers_of(client, end - begin, end - 1).values():
            assert numbers == list(range(begin, end))


# --- streams ---


@pytest.mark.parametrize("bidi", ["on", "off"])
def test_pairs_of_users_are_spread_and_keep_their_order(pair, bidi):
    one, other = pair(connections=4, bidi=bidi)
    senders, receivers = join(one, SENDERS), join(other, RECEIVERS)
    reach_all(senders["a0"])
    flood(senders, 0, 30)
    hear(receivers, 0, 30)
    assert len(streams(one, "out")) == 4
    assert len(streams(other, "in")) == 4
    until_confirmed(one)


def test_one_connection_is_the_default(pair):
    one, other = pair(bidi="off")
    senders, receivers = join(one, SENDERS), join(other, RECEIVERS)
    reach_all(senders["a0"])
    flood(senders, 0, 3)
    hear(receivers, 0, 3)
    assert len(streams(one, "out")) == len(streams(other, "in")) == 1
    assert traced_links(one) == [(None, "the stream for stanzas: up")]


# --- failures ---


def pending_pairs(server):
    """For each pair the numbers of the messages that wait in its database, in order."""
    with server.database(read_only=True) as db:
        return by_pair(db.execute("SELECT stanza FROM message WHERE pending_out <> 0 ORDER BY id"))


def stored_pairs(server):
    with server.database(read_only=True) as db:
        return by_pair(db.execute("SELECT stanza FROM message ORDER BY id"))


def by_pair(rows):
    pairs = {pair: [] for pair in PAIRS}
    for row in rows.fetchall():
        names = [re.search(rf" {name}='(\w+)@", row[0])[1] for name in ("from", "to")]
        pairs[tuple(names)].append(int(re.search(r" id='m(\d+)'", row[0])[1]))
    return pairs


def acknowledged(client):
    """How many stanzas of it are acknowledged."""
    client.raw(f"<r xmlns='{xml.SM}'/>")
    client.pump(0.05)
    return client.acked


@pytest.mark.parametrize("who", ["receiver", "sender"])
def test_a_server_that_is_killed_in_a_flood_loses_nothing_acknowledged(pair, who):
    one, other = pair(connections=4)
    senders = join(one, SENDERS)
    reach_all(senders["a0"])
    until("all are up", lambda: len(streams(one, "out")) == 4)
    for client in senders.values():
        client.enable_sm()
    flood(senders, 0, 50)
    victim = one if who == "sender" else other
    until("some are acknowledged", lambda: acknowledged(senders["a0"]) > 30)
    sure = {name: acknowledged(client) for name, client in senders.items()}
    victim.kill()
    if who == "receiver":
        whole = 50 * len(RECEIVERS)
        until("the rest is acknowledged", lambda: all(acknowledged(c) >= whole
                                                      for c in senders.values()))
        sure = {name: whole for name in SENDERS}
    victim.start()

    def all_came():
        came = stored_pairs(other)
        return all(set(range(sure[sender] // len(RECEIVERS))) <= set(came[sender, receiver])
                   for sender, receiver in PAIRS)
    until("all that was acknowledged", all_came)
    until_confirmed(one)
    for numbers in stored_pairs(other).values():
        first = list(dict.fromkeys(numbers))
        assert first == sorted(first)


@pytest.mark.parametrize("before,after", [(1, 4), (4, 1), (4, 3)])
def test_what_was_stored_is_sent_with_another_number_of_connections(pair, before, after):
    one, other = pair(connections=before)
    one.ctl("set", "s2s.retry-for", "0s")
    other.stop()
    senders = join(one, SENDERS)
    flood(senders, 0, 20)
    every = {p: list(range(20)) for p in PAIRS}
    until("all are stored", lambda: pending_pairs(one) == every)
    one.settings["s2s.connections"] = after
    one.kill()
    other.start()
    one.start()
    until("all have come", lambda: stored_pairs(other) == every)
    until_confirmed(one)


def test_what_cannot_be_sent_comes_back_once(pair):
    one, other = pair(connections=4)
    one.ctl("set", "s2s.retry-for", "0s")
    one.ctl("set", "s2s.keep-for", "2s")
    other.stop()
    senders = join(one, SENDERS)
    flood(senders, 0, 4)
    for client in senders.values():
        errors = [client.expect("<message type='error'/>") for _ in range(4 * len(RECEIVERS))]
        assert len({(e.get("from"), e.get("id")) for e in errors}) == len(errors)
    until_confirmed(one)
    until("nothing to do", lambda: one.rows("s2s", "list") == [])
    for client in senders.values():
        client.expect_nothing("<message type='error'/>")


def first_is_number_0(server, client, domain):
    """Its connection 0 is up, and no other one."""
    for n in itertools.count():
        client.send(f"<message to='nobody{n}@{domain}' type='headline'><body>x</body></message>")
        until("one is up", lambda: streams(server, "out"))
        if streams(server, "out")[0]["connection"] == 0:
            return
        server.ctl("s2s", "close", domain)
        until("it is closed", lambda: streams(server, "out") == [])


def test_what_goes_back_on_a_connection_that_breaks_comes_once(pair):
    """Either server has another way at once, and the stream is resumed all the same: when it breaks
    alone, and when all of that server do."""
    one, other = pair(connections=4)
    wire = Wire(one.s2s_port)
    federation.route(other, ONE, wire.port)
    senders, receivers = join(one, SENDERS), join(other, RECEIVERS)
    first_is_number_0(other, receivers["b0"], ONE)
    reach_all(receivers["b0"], ONE)
    reach_all(senders["a0"])
    flood(senders, 0, 5)
    hear(receivers, 0, 5)
    for n, cut in enumerate("1c", 1):
        until("all are up",
              lambda: len(streams(other, "out")) == 4 == len(streams(one, "out")))
        wire.say("d")  # what comes now is not confirmed
        flood(senders, 10 * n - 5, 10 * n)
        hear(receivers, 10 * n - 5, 10 * n)
        wire.say(cut)
        flood(senders, 10 * n, 10 * n + 5)
        hear(receivers, 10 * n, 10 * n + 5)
    until("all are resumed", lambda: one.log().count("event=s2s.resumed") == 5)
    for client in receivers.values():
        client.expect_nothing("<message type='chat'/>")
    wire.close()


def test_contacts_hear_nothing_of_breaks_that_are_resumed(make_server, tmp_path):
    one, other = across.start(make_server, tmp_path, workers=4, settings={
        "s2s.connections": "4", "s2s.resume-for": "60s", "s2s.bidi": "off"})
    wires = Wire(other.s2s_port), Wire(one.s2s_port)
    across.route(one, OTHER, wires[0].port)
    across.route(other, ONE, wires[1].port)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    reach_all(alice)
    until("all are up", lambda: len(streams(one, "out")) == 4)
    until("all is confirmed", lambda: all(
        row["queue"] == 0 for server in (one, other) for row in server.rows("s2s", "list")))
    for client in alice, bob:
        client.drain()
    for wire in wires:
        wire.say("c")
    for server in one, other:
        server.wait_log("event=domain.resumed")
    until("all are up again", lambda: len(streams(one, "out")) == 4)
    across.mark(alice, bob, "behind")
    across.mark(bob, alice, "behind")
    for client in alice, bob:
        client.expect_nothing("<presence/>")
    for server in one, other:
        assert "event=domain.back" not in server.log()
    for wire in wires:
        wire.close()


# --- commands ---


def traced_links(server):
    """What `s2s trace` says of the streams for stanzas: the connection, and the first words."""
    reply = json.loads(server.ctl_run("--json", "s2s", "trace", OTHER).stdout)
    return [(row.get("connection"), " ".join(row["text"].split()[:5]))
            for row in reply["rows"]
            if row["stage"] == "link" and row["text"].startswith("the stream")]


def test_a_change_applies_after_a_restart(pair):
    one, other = pair(bidi="off")
    answer = one.ctl("set", "s2s.connections", "3")
    assert "after a restart" in answer["text"]
    alice = one.client("a0")
    reach_all(alice)
    until("one is up", lambda: len(streams(other, "in")) == 1)
    assert len(streams(one, "out")) == 1
    one.restart()
    reach_all(one.client("a0"))
    until("all are up", lambda: len(streams(other, "in")) == 3)


def test_commands_know_all_connections(pair):
    one, other = pair(connections=4, bidi="off")
    senders, receivers = join(one, SENDERS), join(other, RECEIVERS)
    reach_all(senders["a0"])
    until("all are up", lambda: len(streams(one, "out")) == 4)
    shown = [row for row in one.rows("s2s", "show", OTHER) if row["name"] == "stream to it"]
    assert len(shown) == 4
    assert traced_links(one) == [(n, "the stream for stanzas: up") for n in range(4)]
    assert one.ctl("s2s", "close", OTHER)["text"] == "closed streams: 4"
    until("all are closed", lambda: streams(one, "out") == [])
    flood(senders, 0, 3)
    hear(receivers, 0, 3)
    reach_all(senders["a0"])
    until("all are up", lambda: len(streams(one, "out")) == 4)
    one.ctl("federation", "block", OTHER)
    until("all are closed", lambda: streams(one, "out") == [])
    one.ctl("federation", "allow", OTHER)
    flood(senders, 3, 6)
    hear(receivers, 3, 6)


def test_a_retry_is_one_of_all_connections(pair):
    one, other = pair(connections=4)
    other.stop()
    senders = join(one, SENDERS)
    reach_all(senders["a0"])
    flood(senders, 0, 3)
    until("all wait", lambda: len(streams(one, "out", "waiting")) == 4)
    assert [number for number, _ in traced_links(one)] == [0, 1, 2, 3]
    other.start()
    receivers = join(other, RECEIVERS)
    one.ctl_run("s2s", "retry", OTHER)  # refused where all were quicker
    hear(receivers, 0, 3)


def test_a_connection_that_works_ends_the_pauses_of_the_others(pair):
    """The server was down for long, does not connect to us, and is back: nothing is refused, and
    what is stored goes at once."""
    one, other = pair(connections=4, bidi="off", retry_for="1s")
    federation.route(other, ONE, free_ports(1)[0])
    alice = one.client("a0")
    other.stop()
    alice.send(f"<message to='b0@{OTHER}' type='chat'><body>stored</body></message>")
    until("failures", lambda: one.log().count(f"s2s.failed domain={OTHER}") >= 7)
    waiting = min(one.rows("s2s", "list"), key=lambda row: row["since_s"])["connection"]
    other.start()
    for n in itertools.count():  # over a connection that has not failed
        alice.send(f"<message to='nobody{n}@{OTHER}' type='headline'><body>x</body></message>")
        if streams(one, "out"):
            break
    until("it", lambda: waiting in [row["connection"] for row in streams(one, "out")], 3)
    until_confirmed(one)
    bob = other.client("b0")
    bob.expect("<message><body>stored</body></message>")
    alice.send(f"<message to='{bob.jid}' type='headline'><body>not refused</body></message>")
    bob.expect("<message><body>not refused</body></message>")


# --- connections that cannot be made ---


def spread(one, other, count, kind="out"):
    """Until so many are up, and the stanzas of the others go there, too."""
    until("the others are diverted", lambda: len(streams(one, kind)) == count
          and len(streams(one, kind, "diverted")) == 4 - count)


def test_a_server_that_accepts_fewer_connections_gets_all(pair):
    one, other = pair(connections=4, bidi="off")
    other.ctl("set", "s2s.connections-per-address", 2)
    senders, receivers = join(one, SENDERS), join(other, RECEIVERS)
    reach_all(senders["a0"])
    flood(senders, 0, 10)
    hear(receivers, 0, 10)
    spread(one, other, 2)
    flood(senders, 10, 30)
    hear(receivers, 10, 30)
    until_confirmed(one)
    for client in senders.values():
        client.expect_nothing("<message type='error'/>")
    assert "s2s.partner-failing" not in [a["name"] for a in one.rows("alarm", "list")]


def test_a_server_that_accepts_all_again_gets_all_connections(pair):
    one, other = pair(connections=4, bidi="off")
    other.ctl("set", "s2s.connections-per-address", 2)
    senders, receivers = join(one, SENDERS), join(other, RECEIVERS)
    reach_all(senders["a0"])
    spread(one, other, 2)
    other.ctl("set", "s2s.connections-per-address", 500)
    flood(senders, 0, 5)
    hear(receivers, 0, 5)
    until_confirmed(one)
    one.ctl("s2s", "close", OTHER)

    def all_are_up():
        one.ctl_run("s2s", "retry", OTHER)
        if not streams(one, "out", "diverted"):
            reach_all(senders["a0"])
        return len(streams(one, "out")) == 4
    until("all are up", all_are_up)
    flood(senders, 5, 20)
    hear(receivers, 5, 20)


def test_a_server_that_cannot_be_reached_gets_all_on_its_own_connection(pair):
    """XEP-0288: the first connection uses that, and the others go with it."""
    one, other = pair(connections=4)
    [unused] = free_ports(1)
    federation.route(one, OTHER, unused)
    one.ctl("set", "s2s.retry-for", "0s")
    senders, receivers = join(one, SENDERS), join(other, RECEIVERS)
    reach_all(senders["a0"])
    flood(senders, 0, 3)
    until("all are stored", lambda: len(streams(one, "out", "failed")) == 4)
    receivers["b0"].send(f"<message to='a0@{ONE}' type='chat'><body>x</body></message>")
    senders["a0"].expect("<message type='chat'><body>x</body></message>")
    hear(receivers, 0, 3)
    reach_all(senders["a0"])  # a connection that has none of the messages ends else
    spread(one, other, 1)
    flood(senders, 3, 6)
    hear(receivers, 3, 6)
    until_confirmed(one)


def stored(server):
    with server.database(read_only=True) as db:
        return db.execute("SELECT count(*) FROM message").fetchone()[0]


class Line:
    """A stream to the server that the test plays, which counts what it has read."""

    def __init__(self, listener, session=""):
        """session: attributes of <enabled/>."""
        self.text, self.count = "", 0
        self.open(listener)
        self.until("<enable ")
        self.say(f"<enabled xmlns='{xml.SM}' {session}/>")

    def open(self, listener):
        """Its next stream, up to <enable/> or <resume/>."""
        self.text, self.peer = "", listener.join(f"<sm xmlns='{xml.SM}'/>")

    def say(self, text):
        self.peer.sendall(text.encode())

    def until(self, pattern):
        while not (found := re.search(pattern, self.text)):
            data = self.peer.recv(65536)
            assert data, self.text
            self.text += data.decode()
        self.text = self.text[found.end():]
        return found

    def read(self):
        """The body of the next message, or the id of presence."""
        self.count += 1
        found = self.until("<body>([^<]*)</body>.*?</message>|<presence [^>]*id='([^']*)'")
        return found[1] or found[2]

    def has_more(self):
        """Whether a message has come."""
        self.peer.settimeout(0.01)
        with contextlib.suppress(TimeoutError):
            self.text += self.peer.recv(65536).decode()
        self.peer.settimeout(30)
        return "<body>" in self.text

    def confirm(self):
        self.say(f"<a xmlns='{xml.SM}' h='{self.count}'/>")

    def refuse(self):
        self.peer.sendall(REFUSAL)
        self.peer.close()


REFUSAL = (f"<stream:error><policy-violation xmlns='{xml.STREAM_ERROR}'/></stream:error>"
           "</stream:stream>").encode()


def send(client, to, body, kind="chat"):
    client.send(f"<message to='{to}' type='{kind}' id='{body}'><body>{body}</body></message>")


def fails(line, listener):
    """The server ends the stream, and refuses the next one: another connection takes over."""
    line.refuse()
    with listener.sock.accept()[0] as peer:
        listener.header(peer, "refused", "")
        peer.sendall(REFUSAL)


def lines(node, client, listener, session=""):
    """Both connections of a pair, the first one first, and for each somebody whom it reaches."""
    found = {}
    for n in itertools.count():
        client.send(f"<message to='b{n}@{OTHER}' type='headline'><body>x</body></message>")
        known = [line for line, _ in found.values()]
        until("it comes", lambda: select.select([listener.sock], [], [], 0.01)[0]
              or any(line.has_more() for line in known))
        line = next((line for line in known if line.has_more()), None)
        if line is None:
            line = Line(listener, session)
            until("it is up", lambda: len(streams(node, "out")) > len(found))
            [number] = {row["connection"] for row in streams(node, "out")} - set(found)
            found[number] = (line, f"b{n}@{OTHER}")
        assert line.read() == "x"
        line.confirm()
        if len(found) == 2:
            return found[0], found[1]


@pytest.mark.sqlite
def test_what_a_connection_has_confirmed_does_not_go_out_on_another(start, authority, disk):
    """Its confirmation is not written yet, when the other one reads from the database what the
    first could not keep in memory."""
    listener = federation.Listener(OTHER, authority.issue("victim", OTHER))
    node = start(["alice"], ONE, disk=disk, connections=2, bidi="off", unacked_max=1,
                 queue_stanzas=1)
    federation.route(node, OTHER, listener.port)
    alice = node.client("alice")
    (other, _), (line, bob) = lines(node, alice, listener)
    for n in range(5):
        send(alice, bob, n)
    assert line.read() == "0"
    until("the others are stored", lambda: stored(node) == 5)
    disk.turn(sync_ms=slow_disk.STILL)
    line.confirm()
    assert line.read() == "1"
    fails(line, listener)
    bodies = []
    while bodies[-1:] != ["4"]:
        bodies.append(other.read())
        other.confirm()
    assert bodies == ["1", "2", "3", "4"]
    disk.turn(sync_ms=0)
    until_confirmed(node)
    listener.close()


@pytest.fixture
def narrow(start, authority):
    """Two connections, on which one stanza is sent ahead and two wait; alice, and both lines."""
    listener = federation.Listener(OTHER, authority.issue("victim", OTHER))
    node = start(["alice"], ONE, connections=2, bidi="off", unacked_max=1, queue_stanzas=2)
    federation.route(node, OTHER, listener.port)
    alice = node.client("alice")
    yield node, listener, alice, *lines(node, alice, listener)
    listener.close()


@pytest.mark.sqlite
def test_what_waits_behind_the_database_does_not_overtake_it_on_another(narrow):
    """Something waits for the other one, too, and goes before what that reads from the database.
    What comes last goes behind all of it, or finds no room."""
    node, listener, alice, (other, carol), (line, bob) = narrow
    for n in range(5):
        send(alice, bob, n)
    until("the last two are left", lambda: stored(node) == 5)
    for n in range(3):
        assert line.read() == str(n)
        if n < 2:
            line.confirm()
    send(alice, bob, "behind", "headline")
    for text in "held", "waits":
        send(alice, carol, text, "headline")
    alice.ping()
    assert other.read() == "held"
    fails(line, listener)
    until("it takes over", lambda: streams(node, "out", "diverted"))
    alice.ping()
    send(alice, bob, "after", "headline")
    send(alice, bob, "last")
    other.confirm()
    for text in "waits", "2", "3", "4", "behind":
        assert other.read() == text
        other.confirm()
    text = other.read()
    if text == "after":
        other.confirm()
        text = other.read()
    else:
        alice.expect("<message type='error' id='after'/>")
    assert text == "last"
    other.confirm()
    until_confirmed(node)


@pytest.mark.sqlite
@pytest.mark.parametrize("other_waits", [False, True])
@pytest.mark.parametrize("text", [
    "<message to='{}' type='headline'><body>before</body></message>",
    "<presence to='{}' id='before'/>", "<presence to='{}' type='unavailable' id='before'/>"],
    ids=["headline", "presence", "farewell"])
def test_what_waits_before_the_database_does_not_go_behind_it_on_another(narrow, text, other_waits):
    """Though that one begins with what the database has."""
    node, listener, alice, (other, carol), (line, bob) = narrow
    send(alice, bob, 0)
    alice.send(text.format(bob))
    for n in 1, 2, 3:
        send(alice, bob, n)
    until("the last two are left", lambda: stored(node) == 4)
    assert line.read() == "0"
    if other_waits:
        for name in "held", "waits":
            send(alice, carol, name, "headline")
        alice.ping()
        assert other.read() == "held"
    fails(line, listener)
    until("it takes over", lambda: streams(node, "out", "diverted"))
    waits = ["0", "before", "1", "2", "3"]
    if other_waits:
        other.confirm()
        waits.insert(0, "waits")
    for one in waits:
        assert other.read() == one
        other.confirm()
    until_confirmed(node)
    assert "error" not in [e.get("type") for e in alice.inbox]


# --- Prosody ---


@pytest.mark.skipif(not prosody.is_here(), reason="no Prosody, or no dnsmasq")
@pytest.mark.parametrize("modules", ['"smacks";', ""], ids=["counts", "pings"])
def test_prosody_takes_all_connections(make_server, tmp_path, modules):
    """Without XEP-0198 the answer to a ping confirms what went over the same connection."""
    started = []
    try:
        ours, theirs = partner.start(make_server, tmp_path, prosody.Prosody, started, more=modules,
                                     settings={"connections": 4})
        alice, bob = ours.client("alice"), theirs.client("bob")
        for n in range(100):
            alice.send(f"<message to='nobody{n}@{partner.THEIRS}' type='chat'>"
                       "<body>x</body></message>")
        partner.talk(alice, bob, "to")
        partner.talk(bob, alice, "back")
        until("all are up", lambda: len(streams(ours, "out")) == 4)
        until_confirmed(ours)
        assert "s2s.lost" not in ours.log() and "s2s.unconfirmed" not in ours.log()
    finally:
        for process in started:
            process.finish()
