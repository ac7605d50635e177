"""Words about subscriptions that cross: two users say at the same moment what they like, and when
all is quiet both rosters agree, both devices know, and it is something that the state machines of
RFC 6121 (harness.subscriptions) can come to."""
import random
import re

import pytest

from harness import subscriptions as model
from harness import xml
from harness.client import until
from together.console import Console

STATES = [  # as roster.state counts them: sees, seen, asking, asked
    (0, 0, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 1, 1), (1, 0, 0, 0), (1, 0, 0, 1),
    (0, 1, 0, 0), (0, 1, 1, 0), (1, 1, 0, 0)]
ROSTER = "<query xmlns='jabber:iq:roster'>{}</query>"
STEPS = 14


def forget_numbers(side):
    return side._replace(wish=0, open=0, heard=0)


def test_in_every_order_the_two_agree():
    """Of the model alone: whatever is said by both at once."""
    seen, open_ = set(), [(model.NOBODY, model.NOBODY)]
    while open_:
        sides = open_.pop()
        if sides in seen:
            continue
        seen.add(sides)
        for one in (None, *model.VERBS):
            for other in (None, *model.VERBS):
                for end in model.ends(sides, [[v] if v else [] for v in (one, other)]):
                    assert model.agree(end), (sides, one, other, end)
                    open_.append(tuple(map(forget_numbers, end)))
    assert len(seen) > 12
    assert any(not model.agree(end) for end in model.ends(
        (model.NOBODY._replace(asking=True), model.NOBODY), ([], [])))  # it can tell


class Pair:
    """Two users; `sides` is what the model says of them."""

    def __init__(self, server, names):
        self.server, self.names = server, names
        self.sides = (model.NOBODY, model.NOBODY)
        self.marks = 0
        self.come()

    def come(self):
        self.clients = [self.server.login(name, "r") for name in self.names]
        for client in self.clients:
            client.result("get", ROSTER.format(""))
            client.available()

    def peer(self, me):
        return f"{self.names[1 - me]}@localhost"

    def text(self, me, verb):
        if verb == model.REMOVE:
            item = f"<item jid='{self.peer(me)}' subscription='remove'/>"
            return f"<iq type='set' id='rm'>{ROSTER.format(item)}</iq>"
        return f"<presence to='{self.peer(me)}' type='{verb}'/>"

    def say(self, words):
        """Both at the same moment."""
        for client, texts in zip(self.clients, (
                "".join(self.text(me, verb) for verb in words[me]) for me in (0, 1))):
            client.send(texts)

    def rest(self):
        """A change of the own roster comes behind all that the account does; a message to the
        other comes behind all that it told it; an answer needs a few of these."""
        for _ in range(4):
            self.marks += 1
            for me, client in enumerate(self.clients):
                client.result("set", ROSTER.format(
                    f"<item jid='nobody@localhost' name='{self.marks}'/>"))
                client.send(f"<message to='{self.clients[1 - me]}' type='headline' "
                            f"id='m{self.marks}'/>")
            for client in self.clients:
                client.expect(f"<message id='m{self.marks}'/>")

    def stored(self, me):
        """Of the model without numbers, as the database has it."""
        with self.server.database(read_only=True) as db:
            found = db.execute(
                "SELECT state FROM roster JOIN account ON account.id = roster.owner "
                "WHERE account.jid = ? AND roster.jid = ?",
                (f"{self.names[me]}@localhost", self.peer(me))).fetchone()
        item = self.item(me)
        approved = item is not None and item.get("approved") == "true"
        facts = STATES[found[0]] if found else STATES[0]
        assert item is None or (item.get("ask") is not None) == bool(facts[2])
        shown = item.get("subscription") if item is not None else "none"
        assert shown == {(0, 0): "none", (1, 0): "to", (0, 1): "from", (1, 1): "both"}[facts[:2]]
        return model.Side(*map(bool, facts), approved, 0, 0, 0)

    def item(self, me):
        found = self.clients[me].result("get", ROSTER.format(""))
        return next((i for i in found if i.get("jid") == self.peer(me)), None)

    def check_devices(self, sides):
        """The last push is what the roster says, and presence is seen where it says so."""
        for me, client in enumerate(self.clients):
            pushes = [i for e in client.log for i in e.iter("{jabber:iq:roster}item")
                      if e.get("type") == "set" and i.get("jid") == self.peer(me)]
            item = self.item(me)
            if pushes:
                last = pushes[-1]
                known = (last.get("subscription"), last.get("ask"), last.get("approved"))
                is_ = ("remove", None, None) if item is None else (
                    item.get("subscription"), item.get("ask"), item.get("approved"))
                assert known == is_, (self.names[me], known, is_)
        self.marks += 1
        for me, client in enumerate(self.clients):
            client.send("<presence type='unavailable'/>"  # initial presence is never held back
                        f"<presence><status>s{self.marks}</status></presence>"
                        f"<message to='{self.clients[1 - me]}' type='headline' "
                        f"id='m{self.marks}'/>")
        for me, client in enumerate(self.clients):
            client.expect(f"<message id='m{self.marks}'/>")
            came = any(e.get("from") == str(self.clients[1 - me]) and
                       e.findtext(f"{{{xml.CLIENT}}}status") == f"s{self.marks}"
                       for e in client.log)
            assert came == sides[me].sees, self.names[me]

    def check(self, words, possible=None):
        sides = tuple(map(self.stored, (0, 1)))
        assert model.agree(sides), (self.sides, words, sides)
        if possible is not None:
            assert sides in possible, (self.sides, words, sides)
        self.check_devices(sides)
        for client in self.clients:
            seen = [e for e in map(xml.canonical, client.log) if "urn:muster:roster" in e]
            assert not seen, seen
            client.log.clear()
            client.inbox.clear()
        self.sides = sides

    def play(self, rng, together=True):
        words = [[rng.choice(model.VERBS) for _ in range(rng.randrange(3))] for _ in (0, 1)]
        self.say(words)
        self.rest()
        ends = model.ends(self.sides, words)
        self.check(words, {tuple(map(forget_numbers, end)) for end in ends})


def pairs(make_server, count, **options):
    names = [(f"a{i}", f"b{i}") for i in range(count)]
    server = make_server(*(name for pair in names for name in pair), **options)
    for pair in names:
        server.ask_about_each_other(*pair)
    return server, [Pair(server, pair) for pair in names]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_random_words_that_cross(make_server, workers):
    _, them = pairs(make_server, 3, workers=workers)
    for number, pair in enumerate(them):
        rng = random.Random(100 * workers + number)
        for _ in range(STEPS):
            pair.play(rng)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("end", ["kill", "restart"])
def test_words_that_cross_while_the_server_ends(make_server, workers, end):
    """What was not acknowledged may be lost; the two agree all the same."""
    server, them = pairs(make_server, 4, workers=workers)
    rng = random.Random(workers)
    for _ in range(4):
        said = [[[rng.choice(model.VERBS) for _ in range(rng.randrange(1, 4))] for _ in (0, 1)]
                for _ in them]
        for pair, words in zip(them, said):
            pair.say(words)
        if rng.random() < 0.5:
            them[0].clients[0].ping()
        if end == "kill":
            server.kill()
        else:
            server.stop()
        server.start()
        for pair, words in zip(them, said):
            pair.come()
            pair.rest()
            until("agreement", lambda: model.agree(tuple(map(pair.stored, (0, 1)))))
            pair.rest()
            pair.check(words)


def test_asked_again_while_the_denial_is_on_its_way(make_server):
    """The request that was made last is open, at both."""
    _, (pair,) = pairs(make_server, 1, workers=2)
    for _ in range(20):
        pair.say([[model.SUBSCRIBE], []])
        pair.rest()
        pair.check([])
        pair.say([[model.UNSUBSCRIBE, model.SUBSCRIBE], [model.UNSUBSCRIBED]])
        pair.rest()
        pair.check([], {s for s in (tuple(map(forget_numbers, e)) for e in model.ends(
            pair.sides, [[model.UNSUBSCRIBE, model.SUBSCRIBE], [model.UNSUBSCRIBED]]))})
        pair.say([[model.REMOVE], [model.REMOVE]])
        pair.rest()
        pair.check([])


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("enabled", ["zed", "bob"])
def test_a_request_that_is_sent_again_is_no_new_one(make_server, disk, enabled, workers):
    """Changes of bob wait for the disk: a request of alice, which is granted at once (RFC 6121
    §3.1.3), and behind it bob takes that back (§3.2.1). What waits for somebody who was enabled is
    sent again then, which comes behind both."""
    server = make_server("alice", "bob", "zed", workers=workers, disk=disk,
                         settings={"presence.approval": "automatic"})
    console = Console(server)
    server.ctl("log", "trace", "subscription", "on")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.enable_sm()
    disk.turn(write_ms=30)

    def edit(number):
        item = f"<item jid='nobody@localhost' name='{number}'/>"
        bob.send(f"<iq type='set' id='r{number}'>{ROSTER.format(item)}</iq>")

    for number in range(12):
        edit(number)
    alice.send("<presence to='bob@localhost' type='subscribe'/>")
    alice.wait_acked(1)
    bob.send("<presence to='alice@localhost' type='unsubscribed'/>")
    bob.ping()
    console.ask("user enable", jid=f"{enabled}@localhost")
    bob.expect("<iq id='r11'/>")
    disk.turn(write_ms=0)
    edit(12)
    bob.expect("<iq id='r12'/>")  # what he took back is stored

    def rests():
        with server.database(read_only=True) as db:
            return db.execute("SELECT COUNT(*) FROM roster_out").fetchone()[0] == 0

    until("no word is under way", rests)
    states = [next((item["subscription"] for item in server.rows("contact", "list", owner)
                    if item["jid"] == contact), "none")
              for owner, contact in (("alice@localhost", "bob@localhost"),
                                     ("bob@localhost", "alice@localhost"))]
    # both, where the request came behind what he took back
    assert states in (["none", "none"], ["to", "from"])
    if enabled == "zed":  # nothing of it concerns the two
        heard = re.findall(r"event=subscription\.in account=bob@localhost "
                           r"contact=alice@localhost type=subscribe ", server.log())
        assert len(heard) == 1
    console.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_probe_while_the_grant_is_being_stored(make_server, disk, workers):
    """Bob takes back that alice sees him, she asks again, and he grants it. While that is being
    stored another client of hers comes, and he is asked for his presence (RFC 6121 §4.3.2): the
    answer is that of the roster with the grant."""
    server = make_server("alice", "bob", workers=workers, disk=disk)
    server.ask_about_each_other("alice", "bob")
    server.befriend("alice", "bob")
    for round_ in range(3):
        alice, second = server.client("alice", f"a{round_}"), server.login("alice", f"c{round_}")
        bob = server.client("bob", f"b{round_}")
        disk.turn(write_ms=30)

        def edits(client, count):
            for number in range(count):
                item = f"<item jid='nobody@localhost' name='{number}'/>"
                client.send(f"<iq type='set' id='r{number}'>{ROSTER.format(item)}</iq>")

        bob.send("<presence to='alice@localhost' type='unsubscribed'/>")
        alice.send("<presence to='bob@localhost' type='subscribe'/>")
        edits(alice, 25)  # so that what bob took back waits
        bob.expect("<presence from='alice@localhost' type='subscribe'/>")
        edits(bob, 8)
        bob.send("<presence to='alice@localhost' type='subscribed'/>")
        bob.ping()
        second.available()
        second.ping()
        alice.expect("<iq id='r24'/>")
        disk.turn(write_ms=0)
        bob.result("set", ROSTER.format("<item jid='nobody@localhost' name='last'/>"))

        def states():
            return [next(item["subscription"] for item in server.rows("contact", "list", owner)
                         if item["jid"] == contact)
                    for owner, contact in (("alice@localhost", "bob@localhost"),
                                           ("bob@localhost", "alice@localhost"))]

        until("they see each other", lambda: states() == ["both", "both"])
        for client in alice, second, bob:
            client.close()
