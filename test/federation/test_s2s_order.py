"""What one address says to another at another server arrives in the order in which it was said
(RFC 6120 §10.1): also where some of it waits in the database and some, which is not stored, in
memory. Whatever ends the wait for the database, the stream goes on."""
import contextlib
import random
import re

import pytest

from harness import ejabberd, federation, partner, xml
from harness.client import bodies, until
from im.test_offline_order import KINDS, say
from federation.test_s2s_back import authenticated, authority, join, node, said, start, taken
from federation.test_s2s_bidi import EVIL, ONE, OTHER, failing, pair, pending, send
from federation.test_s2s_lost import Reader
from federation.test_s2s_refused import errors, not_stored

__all__ = ["authority", "failing", "join", "node", "pair", "start"]
AHEAD = 5  # so many are sent ahead of what is confirmed
QUEUE = 20  # so many wait in memory, in the test of that
STORED = ["stored", *map(str, range(1, 8))]


@pytest.fixture
def connecting(node, failing, authority):
    """alice, and a server whose connection is being made; it was down, and the database has
    STORED."""
    send(failing, *STORED[1:])
    until("the database has them", lambda: pending(node) == len(STORED))
    node.ctl("set", "s2s.retry-for", "--default")
    node.ctl("set", "s2s.unacked-max", str(AHEAD))
    there = federation.Listener(EVIL, authority.issue(EVIL, EVIL))
    federation.route(node, EVIL, there.port)
    node.ctl_run("s2s", "retry", EVIL)
    until("it connects", lambda: node.rows("s2s", "list")[0]["state"] != "failed")
    yield failing, there
    there.close()


def mixed(alice, first, last):
    """The bodies that she says: each third one is not stored."""
    for number in range(first, last):
        (not_stored if number % 3 == 0 else send)(alice, str(number))
    alice.ping()
    return [str(number) for number in range(first, last)]


def confirm(reader):
    """It confirms all that comes."""
    reader.confirms = True
    reader.confirm()


@pytest.fixture
def held(connecting):
    """alice, the server, and its stream, on which AHEAD of STORED have come. The others, and what
    she has said meanwhile, wait until these are confirmed: all of it is in the list."""
    alice, there = connecting
    waits = mixed(alice, 20, 30)
    reader = taken(there)
    until("the first ones", lambda: said(reader) == STORED[:AHEAD])
    waits += mixed(alice, 30, 40)
    return alice, there, reader, STORED + waits


@pytest.mark.sqlite
def test_what_is_not_stored_waits_behind_what_the_database_has(node, held):
    alice, _, reader, waits = held
    assert not errors(alice)
    confirm(reader)
    until("all", lambda: len(said(reader)) >= len(waits))
    assert said(reader) == waits
    until("the database has none", lambda: pending(node) == 0)


@pytest.mark.sqlite
@pytest.mark.parametrize("resumes", [False, True])
def test_the_order_outlasts_a_break(node, held, resumes):
    """The next stream is a new one, or resumes the one that has broken."""
    alice, there, reader, waits = held
    reader.cut()
    waits += mixed(alice, 40, 50)
    peer = authenticated(there)
    there.read_until(peer, "<resume [^>]*>")
    if resumes:
        peer.sendall(f"<resumed xmlns='{xml.SM}' previd='session' h='2'/>".encode())
        again, waits = Reader(peer, "</message>" * 2), waits[2:]
    else:
        peer.sendall(f"<failed xmlns='{xml.SM}'/>".encode())
        asked = there.read_until(peer, "<enable [^>]*>")
        peer.sendall(f"<enabled xmlns='{xml.SM}' id='new' resume='true'/>".encode())
        again = Reader(peer, asked.string[asked.end():])
    waits += mixed(alice, 50, 60)
    confirm(again)
    until("all", lambda: len(said(again)) >= len(waits))
    assert said(again) == waits
    until("the database has none", lambda: pending(node) == 0)


@pytest.mark.sqlite
def test_the_order_outlasts_another_way(node, connecting, join):
    """The server connects to ours, and all of it goes back on that stream."""
    alice, _ = connecting
    waits = STORED + mixed(alice, 20, 30)
    peer = join(node)
    waits += mixed(alice, 30, 40)
    peer.wait("all", lambda: len(bodies(peer.log)) >= len(waits))
    assert bodies(peer.log) == waits
    peer.ack()
    until("the database has none", lambda: pending(node) == 0)


@pytest.mark.sqlite
def test_the_order_outlasts_a_way_that_breaks(node, connecting, join):
    alice, _ = connecting
    waits = STORED + mixed(alice, 20, 30)
    peer = join(node)
    peer.auto_ack = False
    peer.wait("the first ones", lambda: len(bodies(peer.log)) == AHEAD)
    waits += mixed(alice, 30, 40)
    peer.cut()
    waits += mixed(alice, 40, 50)
    again = join(node)
    again.wait("all", lambda: len(bodies(again.log)) >= len(waits))
    assert bodies(again.log) == waits
    again.ack()
    until("the database has none", lambda: pending(node) == 0)


@pytest.mark.sqlite
@pytest.mark.parametrize("end", [["s2s", "close", EVIL], ["federation", "block", EVIL]])
def test_an_end_that_is_asked_for_stops_nothing(node, held, end):
    """What waits at a block goes back to alice; else all of it comes, in order."""
    alice, there, reader, waits = held
    node.ctl_run(*end)
    node.ctl_run("federation", "allow", EVIL)
    confirm(reader)
    with contextlib.suppress(OSError):
        until("the end", lambda: reader.ended or len(said(reader)) >= len(waits))
    heard = said(reader)
    if reader.ended:
        send(alice, "wakes")
        again = taken(there)
        waits += ["wakes", *mixed(alice, 40, 50)]
        confirm(again)
        until("the last one", lambda: "49" in said(again))
        heard += said(again)
    back = [body for body in waits if body not in heard]
    assert heard == [body for body in waits if body in heard]
    assert len(back) == len(errors(alice)) and (not back or "block" in end)
    until("the database has none", lambda: pending(node) == 0)


def farewell(alice, name="farewell"):
    alice.send(f"<presence to='bob@{EVIL}' type='unavailable' id='{name}'/>")


def came(reader):
    """The bodies of messages and the ids of presence; what the server sends again has none."""
    found = re.findall("<body>(.*?)</body>|<presence [^>]*id=['\"](.*?)['\"]", reader.text)
    return [body or ident for body, ident in found]


def ended(alice, reader, waits, back):
    """Each has come or gone back."""
    def all_have():
        back.extend(errors(alice))
        return len(came(reader)) + len(back) >= len(waits)
    until("all have come or gone back", all_have)


@pytest.mark.sqlite
def test_only_a_full_queue_refuses(node, connecting):
    """Stored messages take half of it at most, and all of them come. Other messages go back if they
    would overtake stored ones that found no room. All that comes is in order."""
    alice, there = connecting
    node.ctl("set", "s2s.queue-stanzas", str(QUEUE))
    waits, back = STORED + mixed(alice, 20, 100), []
    reader = taken(there)
    confirm(reader)
    ended(alice, reader, waits, back)
    assert {condition for _, condition in back} == {"resource-constraint"}
    refused = {body for body, _ in back}
    others = [body for body in waits[len(STORED):] if int(body) % 3 == 0]
    assert refused < set(others)
    assert QUEUE // 3 // 2 <= len(others) - len(refused) < QUEUE
    assert said(reader) == [body for body in waits if body not in refused]
    until("the database has none", lambda: pending(node) == 0)


@pytest.mark.sqlite
def test_what_comes_behind_a_full_queue_of_another_pair_finds_room(node, connecting):
    """Half of the queue is for what is not stored, also while messages wait in the database behind
    it; and when the queue is empty, nothing goes back any more."""
    alice, there = connecting
    node.ctl("set", "s2s.queue-stanzas", str(QUEUE))
    waits, back = STORED + mixed(alice, 20, 60), []
    node.add_user("carol", domain=ONE)
    carol = node.client("carol")
    not_stored(carol, "hers")
    assert errors(carol) == []
    reader = taken(there)
    confirm(reader)
    ended(alice, reader, waits + ["hers"], back)
    until("the database has none", lambda: pending(node) == 0)
    assert back
    heard = len(said(reader))
    later = mixed(alice, 100, 110)
    until("these have come", lambda: len(said(reader)) >= heard + len(later))
    assert said(reader)[heard:] == later
    assert errors(alice) == [] == errors(carol)


@pytest.mark.sqlite
@pytest.mark.parametrize("more", [False, True], ids=["the_last", "not_the_last"])
def test_a_farewell_behind_a_full_queue_comes_behind_its_messages(node, connecting, more):
    """It waits, and is not refused; what comes behind it comes behind it."""
    alice, there = connecting
    node.ctl("set", "s2s.queue-stanzas", str(QUEUE))
    waits, back = STORED + mixed(alice, 20, 60), []
    farewell(alice)
    waits.append("farewell")
    if more:
        send(alice, "behind")
        waits.append("behind")
    reader = taken(there)
    confirm(reader)
    ended(alice, reader, waits, back)
    refused = {body for body, _ in back}
    assert not refused & {"farewell", "behind"}
    assert came(reader) == [body for body in waits if body not in refused]
    until("the database has none", lambda: pending(node) == 0)


@pytest.mark.sqlite
def test_messages_behind_a_farewell_keep_their_order(node, connecting):
    """Also those that are sent while it waits for what the database has."""
    alice, there = connecting
    node.ctl("set", "s2s.queue-stanzas", str(QUEUE))
    mixed(alice, 20, 80)
    farewell(alice)
    send(alice, "second")
    alice.ping()
    reader, waits = taken(there), ["farewell", "second"]
    while "second" not in came(reader):
        send(alice, f"more{len(waits)}")
        waits.append(f"more{len(waits)}")
        alice.ping()
        reader.say(f"<a xmlns='{xml.SM}' h='{len(came(reader))}'/>")
    confirm(reader)
    until("the database has none", lambda: pending(node) == 0)
    assert [one for one in came(reader) if one in waits] == waits


@pytest.mark.sqlite
def test_a_farewell_goes_back_with_the_queue_that_it_waits_for(node, connecting, authority):
    """It is sent again, so alice hears of the others only; what comes next finds an empty queue."""
    alice, there = connecting
    node.ctl("set", "s2s.queue-stanzas", str(QUEUE))
    stored = mixed(alice, 20, 60)
    others, back = [body for body in stored if int(body) % 3 == 0], []
    farewell(alice)
    send(alice, "second")
    alice.ping()
    node.ctl("set", "s2s.retry-for", "1s")
    there.close()

    def heard():
        back.extend(errors(alice))
        return len(back) >= len(others)
    until("all are back", heard)
    assert sorted(body for body, _ in back) == sorted(others)
    until("none waits", lambda: node.rows("s2s", "list")[0]["queue"] == 0)
    node.ctl("set", "s2s.retry-for", "--default")
    there = federation.Listener(EVIL, authority.issue(EVIL, EVIL))
    federation.route(node, EVIL, there.port)
    node.ctl_run("s2s", "retry", EVIL)
    until("it connects", lambda: node.rows("s2s", "list")[0]["state"] != "failed")
    not_stored(alice, "headline")
    send(alice, "third")
    assert errors(alice) == []
    reader = taken(there)
    confirm(reader)
    waits = STORED + [body for body in stored if body not in others]
    waits += ["second", "headline", "third"]
    until("all", lambda: len(came(reader)) >= len(waits))
    assert came(reader) == waits
    there.close()


@pytest.mark.skipif(not ejabberd.is_here(), reason="no ejabberd, or no dnsmasq")
def test_ejabberd_is_killed_while_it_gets_what_waits(make_server, tmp_path):
    """All goes on until the last one has come. What it had taken before, it may have lost, and what
    it keeps for a login comes in an order of its own."""
    started = []
    with contextlib.ExitStack() as ends:
        ends.callback(lambda: [process.finish() for process in started])
        ours, theirs = partner.start(make_server, tmp_path, ejabberd.Ejabberd, started)
        alice, bob = ours.client("alice"), theirs.client("bob", "b")
        partner.talk(alice, bob, "begin")
        ours.ctl("set", "s2s.unacked-max", str(AHEAD))
        for first in 0, 100, 200:
            theirs.kill()
            say(alice, bob, ["chat", "chat", "headline", "chat", "presence"] * 10, first)
            theirs.begin()
            bob = theirs.client("bob", "b")
        say(alice, bob, ["chat"], 300)
        bob.timeout = 60
        bob.wait("the last one", lambda: any(e.get("id") == "300" for e in bob.log))
        until("the database has none", lambda: pending(ours) == 0)


def available(client):
    """What has come since it was: before, it gets what is for its full address, and nothing of
    what waits (RFC 6121 §8.5.3.1)."""
    seen = [e.get("from") == client.jid and e.tag.endswith("}presence") for e in client.log]
    return client.log[seen.index(True):]


class Talk:
    """bob says things to alice, who is at another server, in random order, whatever happens."""

    def __init__(self, pair, seed):
        self.one, self.other, self.wire = pair
        self.alice, self.bob = self.one.client("alice", "a"), self.other.client("bob", "b")
        self.rand, self.count, self.log = random.Random(seed), 0, []

    def say(self):
        kinds = self.rand.choices(KINDS, k=self.rand.randrange(30))
        say(self.bob, self.alice, kinds, self.count)
        self.count += len(kinds)

    def block(self):
        """For a moment. Some of what is said meanwhile goes back to bob."""
        server, domain = self.rand.choice([(self.one, OTHER), (self.other, ONE)])
        server.ctl("federation", "block", domain)
        self.say()
        server.ctl("federation", "allow", domain)

    def cut(self):
        self.wire.say("c")

    def end(self):
        server, domain = self.rand.choice([(self.one, OTHER), (self.other, ONE)])
        server.ctl_run("s2s", "close", domain)

    def leave(self):
        """alice is away for a moment."""
        self.alice.close()
        self.log += available(self.alice)
        self.say()
        self.alice = self.one.client("alice", "a")

    def heard(self):
        """The ids of messages in the order in which they first came. Presence and requests are let
        in where messages are refused, since some of them wait in the database."""
        self.alice.ping()
        came = [e.get("id") for e in self.log + available(self.alice)
                if e.get("from") == self.bob.jid and e.tag.endswith("}message")
                and (e.get("id") or "").isdigit()]
        return list(dict.fromkeys(map(int, came)))


@pytest.mark.parametrize("bidi", ["on", "off"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("small", [False, True], ids=["", "small"])
def test_any_sequence_keeps_its_order(pair, seed, bidi, small):
    """In a small queue, some of what is not stored finds no room."""
    for server in pair[:2]:
        server.ctl("set", "s2s.bidi", bidi)
        server.ctl("set", "c2s.stanza-rate", "none")
        if small:
            server.ctl("set", "s2s.queue-stanzas", str(QUEUE))
            server.ctl("set", "s2s.unacked-max", str(AHEAD))
    federation.route(pair[1], ONE, pair[0].s2s_port)
    talk = Talk(pair, seed)
    for _ in range(12):
        talk.say()
        talk.rand.choice([talk.say, talk.block, talk.cut, talk.end, talk.leave])()
    say(talk.bob, talk.alice, ["chat"], talk.count)
    until("the last one", lambda: talk.count in talk.heard())
    until("the database has none", lambda: pending(talk.other) == 0)
    heard = talk.heard()
    assert heard == sorted(heard)
