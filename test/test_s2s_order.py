"""What one address says to another at another server arrives in the order in which it was said
(RFC 6120 §10.1): also where some of it waits in the database and some, which is not stored, in
memory."""
import random

import pytest

from muster import federation
from muster.client import until
from test_offline_order import KINDS, say
from test_s2s_back import authority, node, said, start, taken
from test_s2s_bidi import EVIL, ONE, OTHER, failing, pair, pending, send
from test_s2s_refused import not_stored

__all__ = ["authority", "failing", "node", "pair", "start"]


@pytest.fixture
def connecting(node, failing, authority):
    """alice, and a server whose connection is being made; it was down, and the database has "0"
    and "1"."""
    send(failing, "1")
    until("the database has both", lambda: pending(node) == 2)
    node.ctl("set", "s2s.retry-for", "--default")
    there = federation.Listener(EVIL, authority.issue(EVIL, EVIL))
    federation.route(node, EVIL, there.port)
    node.ctl_run("s2s", "retry", EVIL)
    until("it connects", lambda: node.rows("s2s", "list")[0]["state"] != "failed")
    yield failing, there
    there.close()


@pytest.mark.sqlite
def test_what_is_not_stored_waits_behind_what_the_database_has(connecting):
    alice, there = connecting
    for number in range(2, 20):
        (not_stored if number % 3 == 0 else send)(alice, str(number))
    alice.ping()
    reader = taken(there)
    until("all", lambda: len(said(reader)) == 20)
    assert said(reader) == ["stored", *map(str, range(1, 20))]


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
def test_any_sequence_keeps_its_order(pair, seed, bidi):
    for server in pair[:2]:
        server.ctl("set", "s2s.bidi", bidi)
        server.ctl("set", "c2s.stanza-rate", "none")
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
