"""Presence that an occupant of another server did not get is sent again, as it is then: it sees
nobody who has left, and everybody who came."""
import time

import pytest

from harness import across, muc, xml
from harness.across import ONE, OTHER
from harness.client import until
from harness.component import Component
from harness.muc import Room, Seen
from harness.wire import Wire
from rooms.test_config import hide
from rooms.test_ping import DOMAIN, SECRET
from federation.test_remote_presence import metric
from federation.test_remote_rooms import SHORT, join, part

TIGHT = {**SHORT, "s2s.retry-for": "1h", "s2s.resume-for": "none", "s2s.bidi": "off",
         "muc.message-burst": "1000"}
WHY = "the occupant stays, and what is sent to it is refused"
STIRRED = 11  # presence stanzas of Cave.stir() to bob, with a crowd of 8


def seen_by(client, room):
    """{nickname: <show/>} of those whom the client sees in the room now, and the own nickname."""
    client.ping()
    there, own = {}, None
    for e in client.log:
        if not e.tag.endswith("}presence") or e.get("type") == "error" \
                or muc.split(e.get("from"))[0] != room.jid:
            continue
        seen = Seen(e)
        if not seen.gone:
            there[seen.nick] = seen.show
            own = seen.nick if 110 in seen.codes else own
        elif there.pop(seen.nick, None) is not None or seen.nick == own:
            assert seen.nick != own or 303 in seen.codes, f"it takes itself for removed: {seen}"
            own = seen.new_nick if seen.nick == own else own
    return there, own


class Cave:
    """A room of alice with bob, who is of the other server, and carol's sessions."""

    def __init__(self, one, other, count):
        self.one = one
        self.room = Room("cave", ONE)
        self.alice, self.bob = one.client("alice", "a"), other.client("bob", "b")
        self.room.create(self.alice, "alice", persistentroom=True)
        self.room.enter(self.bob, "bob")
        self.crowd = [one.client("carol", f"c{n}") for n in range(count)]
        for n, client in enumerate(self.crowd):
            self.room.enter(client, f"c{n}")
        until("bob sees all", lambda: len(seen_by(self.bob, self.room)[0]) == count + 2)

    def change(self, client, to, inner=""):
        client.send(f"<presence to='{self.room.at(to)}'>{inner}</presence>")

    def stir(self):
        """Nearly all leave, one comes, one has another nickname, one another availability."""
        first, second, *others = self.crowd
        for n, client in enumerate(others):
            self.room.leave(client, f"c{n + 2}")
        self.change(first, "renamed")
        self.change(second, "c1", "<show>dnd</show>")
        self.change(self.alice, "alice", "<show>away</show>")
        self.room.enter(self.one.client("carol", "late"), "late")
        return {"alice": "away", "bob": None, "renamed": None, "c1": "dnd", "late": None}

    def bob_sees(self, there):
        until(f"bob sees {there}", lambda: seen_by(self.bob, self.room)[0] == there)


# --- what is refused ---


@pytest.fixture
def narrow(make_server, tmp_path):
    """Both servers, and what carries all from ours to the other one. Nearly nothing may wait once
    it is narrow()."""
    one, other = across.start(make_server, tmp_path, settings=TIGHT, why=WHY)
    wire = Wire(other.s2s_port)
    across.route(one, OTHER, wire.port)

    def narrow():
        one.ctl("set", "s2s.queue-stanzas", "2")
        one.ctl("set", "s2s.unacked-max", "1")
        wire.say("f")

    yield one, other, wire, narrow
    wire.close()


def test_a_full_queue_leaves_no_ghosts(narrow):
    """Presence is refused when it is sent again, too, and no domain is told to be back."""
    one, other, wire, begin = narrow
    cave = Cave(one, other, 8)
    begin()
    there = cave.stir()
    until("it is refused again", lambda: metric(one, "muster_s2s_overflows") > STIRRED)
    wire.say("-")
    cave.bob_sees(there)
    assert "event=domain.back" not in one.log()


def test_who_was_renamed_hears_of_that_first(narrow):
    """Else it would take itself for removed by the unavailable presence of the old nickname."""
    one, other, wire, begin = narrow
    cave = Cave(one, other, 0)
    begin()
    for show in ("away", "dnd", "xa") * 3:
        cave.change(cave.alice, "alice", f"<show>{show}</show>")
    cave.change(cave.bob, "renamed")
    assert 303 in cave.room.gone(cave.alice, "bob").codes
    cave.room.presence(cave.alice, "renamed")
    wire.say("-")
    cave.bob_sees({"alice": "xa", "renamed": None})
    assert seen_by(cave.bob, cave.room)[1] == "renamed"


@pytest.mark.parametrize("times", [10, 40])
def test_who_is_renamed_often_takes_itself_for_removed_never(narrow, times):
    """It has heard of none of the changes, so the oldest nickname is still its own."""
    one, other, wire, begin = narrow
    cave = Cave(one, other, 0)
    begin()
    for show in ("away", "dnd", "xa") * 3:
        cave.change(cave.alice, "alice", f"<show>{show}</show>")
    for n in range(times):
        cave.change(cave.bob, f"b{n}")
        cave.room.presence(cave.alice, f"b{n}")
    wire.say("-")
    cave.bob_sees({"alice": "xa", f"b{times - 1}": None})
    assert seen_by(cave.bob, cave.room)[1] == f"b{times - 1}"


def test_who_is_not_there_keeps_the_affiliation(narrow):
    """Members who are absent and were never there, one who left, one who was banned; and a visitor
    of whom nothing is known."""
    one, other, wire, begin = narrow
    cave = Cave(one, other, 3)
    room, alice, crowd = cave.room, cave.alice, cave.crowd
    room.enter(other.client("dave", "d"), "dave")
    room.configure(alice, whois="anyone", **{"muster#roomconfig_showabsent": False})
    room.set_affiliation(alice, f"max@{ONE}", "admin")
    room.set_affiliation(alice, f"mia@{ONE}", "member", nick="Maria")
    room.forget(cave.bob)
    begin()
    for show in ("away", "dnd", "xa") * 3:
        cave.change(alice, "alice", f"<show>{show}</show>")
    room.leave(crowd[1], "c1")
    room.set_affiliation(alice, crowd[0].bare, "member")
    room.leave(crowd[2], "c2")
    room.set_affiliation(alice, f"dave@{OTHER}", "outcast")
    room.configure(alice, **{"muster#roomconfig_showabsent": True})
    room.forget(alice)
    wire.say("-")
    told, jids = {}, {"max": f"max@{ONE}", "Maria": f"mia@{ONE}"}
    while len(told) < 5:
        seen = Seen(cave.bob.expect(lambda e: e.tag.endswith("}presence")))
        if seen.gone:
            told[seen.nick] = seen.affiliation
            assert seen.nick not in jids or seen.jid == jids[seen.nick]
    assert told == {"c1": "none", "c2": "member", "dave": "outcast", "max": "admin",
                    "Maria": "member"}


def test_who_enters_without_room_for_the_answer_hears_what_the_room_is(narrow):
    """Later: that it shows addresses (100), that it is archived (170), that it is new (201)."""
    one, other, wire, begin = narrow
    cave = Cave(one, other, 0)
    begin()
    for show in ("away", "dnd", "xa") * 3:
        cave.change(cave.alice, "alice", f"<show>{show}</show>")
    new, known = Room("new", ONE), Room("known", ONE)
    known.create(cave.alice, "alice", persistentroom=True, whois="anyone")
    before = metric(one, "muster_s2s_overflows")
    for room in new, known:
        cave.bob.send(f"<presence to='{room.at('bob')}'>{muc.X}</presence>")
    until("both are refused", lambda: metric(one, "muster_s2s_overflows") >= before + 2)
    wire.say("-")
    assert {110, 201} <= set(new.presence(cave.bob, "bob").codes)
    assert {110, 100, 170} <= set(known.presence(cave.bob, "bob").codes)


def test_sessions_that_their_server_has_forgotten_leave_through_a_short_queue(narrow):
    """The questions whether they are there find no room at once."""
    one, other, wire, begin = narrow
    room, alice = Room("cave", ONE), one.client("alice", "a")
    room.create(alice, "alice", persistentroom=True)
    for n in range(8):
        room.enter(other.client("bob", f"b{n}"), f"b{n}")
    until("alice sees all", lambda: len(seen_by(alice, room)[0]) == 9)
    begin()
    wire.say("-")
    other.kill()
    alice.send(f"<presence to='{room.at('alice')}'><show>away</show></presence>")
    until("the failure is noticed", lambda: "event=s2s.failed" in one.log())
    other.start()
    across.route(one, OTHER, other.s2s_port)
    one.ctl_run("s2s", "retry", OTHER)
    until("they have left", lambda: list(seen_by(alice, room)[0]) == ["alice"])


def test_a_long_failure_of_the_link_leaves_no_ghosts(make_server, tmp_path):
    one, other = across.start(make_server, tmp_path, settings={**TIGHT, "s2s.retry-for": "1s"},
                              why=WHY)
    cave = Cave(one, other, 4)
    part(one, other)
    there = cave.stir()
    behind = cave.alice.error("get", "<query xmlns='jabber:iq:version'/>", to=cave.room.at("bob"))
    assert behind[0] == "remote-server-timeout"
    join(one, other)
    cave.bob_sees(there)
    cave.room.expect_nothing(cave.alice, f"<presence from='{cave.room.at('bob')}' "
                             "type='unavailable'/>")


# --- who is removed ---

REMOVALS = {
    "kicked": (lambda room, alice: room.set_role(alice, "bob", "none"), "none", {307}),
    "banned": (lambda room, alice: room.set_affiliation(alice, f"bob@{OTHER}", "outcast"),
               "outcast", {301}),
    "no member": (lambda room, alice: room.configure(alice, membersonly=True), "none", {322}),
    "destroyed": (lambda room, alice: room.destroy(alice), "none", set()),
}


@pytest.fixture
def short(make_server, tmp_path):
    """Both servers, and a link that fails for longer than presence waits."""
    return across.start(make_server, tmp_path, why="presence is refused soon",
                        settings={**TIGHT, "s2s.retry-for": "1s",
                                  **muc.owners("members-only")})


def refused(alice, domain=OTHER):
    """What was sent to the domain before has come back."""
    behind = alice.error("get", "<query xmlns='jabber:iq:version'/>", to=domain)
    assert behind[0] == "remote-server-timeout"


def is_told(cave, nick, affiliation, codes):
    seen = cave.room.gone(cave.bob, nick)
    assert seen.standing == (affiliation, "none")
    assert seen.codes == codes | {110}
    return seen


@pytest.mark.parametrize("how", REMOVALS)
def test_who_was_removed_hears_it_when_the_link_is_back(short, how):
    one, other = short
    cave = Cave(one, other, 1)
    remove, affiliation, codes = REMOVALS[how]
    part(one, other)
    remove(cave.room, cave.alice)
    refused(cave.alice)
    cave.room.forget(cave.alice)
    join(one, other)
    seen = is_told(cave, "bob", affiliation, codes)
    assert (seen.destroy is not None) == (how == "destroyed")


@pytest.mark.parametrize("when", ["waits for the link", "waits to be sent again"])
def test_a_rule_that_comes_while_a_removal_waits_does_not_lose_it(short, when):
    one, other = short
    cave = Cave(one, other, 1)
    part(one, other)
    cave.room.set_role(cave.alice, "bob", "none")
    if when == "waits to be sent again":
        refused(cave.alice)
    one.ctl("federation", "block", OTHER)
    time.sleep(3)  # longer than it waits; nothing comes
    one.ctl("federation", "allow", OTHER)
    cave.room.forget(cave.alice)
    join(one, other)
    is_told(cave, "bob", "none", {307})


def test_who_was_removed_hears_it_when_the_queue_has_room(narrow):
    """Also if that is refused again, and more than once."""
    one, other, wire, begin = narrow
    cave = Cave(one, other, 1)
    hall = Room("hall", ONE).create(cave.alice, "alice", persistentroom=True)
    hall.enter(other.client("dave", "d"), "dave")
    for n in range(8):
        hall.enter(one.client("carol", f"h{n}"), f"h{n}")
    begin()
    for n in range(8):
        hall.send(cave.alice, f"<body>{n}</body>")
        cave.change(cave.alice, "alice", "<show>xa</show>")
    hall.change(cave.alice, *(muc.item(nick=f"h{n}", role="none") for n in range(8)))
    cave.room.set_role(cave.alice, "bob", "none")
    before = metric(one, "muster_s2s_overflows")
    until("it is refused again", lambda: metric(one, "muster_s2s_overflows") > before + 3)
    wire.say("-")
    is_told(cave, "bob", "none", {307})


def test_who_has_entered_again_is_not_told_that_it_was_removed(short):
    """By another nickname, while it was not told; then the one before is that of somebody who left.
    """
    one, other = short
    cave = Cave(one, other, 0)
    part(one, other)
    cave.room.set_role(cave.alice, "bob", "none")
    refused(cave.alice)
    across.route(other, ONE, one.s2s_port)
    cave.room.knock(cave.bob, "again")
    cave.room.presence(cave.alice, "again")
    join(one, other)
    cave.bob_sees({"alice": None, "again": None})
    assert seen_by(cave.bob, cave.room)[1] == "again"
    assert not cave.room.gone(cave.bob, "bob").codes


def test_an_error_that_the_other_server_makes_up_brings_nothing(short):
    """Its client knows the id of the presence that has told it."""
    one, other = short
    cave = Cave(one, other, 0)
    cave.room.set_role(cave.alice, "bob", "none")
    seen = is_told(cave, "bob", "none", {307})
    assert seen.element.get("id").startswith("removed ")
    cave.bob.send(f"<presence type='error' id='{seen.element.get('id')}' "
                  f"to='{cave.room.at('bob')}'><error type='wait'><resource-constraint "
                  f"xmlns='{xml.STANZA_ERROR}'/></error></presence>")
    cave.room.flush(cave.bob)
    time.sleep(3)  # longer than the pause before it is told
    cave.room.expect_nothing(cave.bob, "<presence type='unavailable'/>")


# --- errors, as a component says them of its users ---


class Bots:
    """Users of a component in the cave, who say that they have not got presence."""

    def __init__(self, server, cave, *names, domain=DOMAIN):
        self.component, self.cave = Component(server, domain, SECRET), cave
        self.domain = domain
        self.component.ping()
        server.rows("metrics")  # all workers have heard that it has come: it is not "back" later
        for name in names:
            self.enter(name)

    def jid(self, name):
        return f"{name}@{self.domain}/r"

    def enter(self, name):
        self.component.send(f"<presence from='{self.jid(name)}' to='{self.cave.at(name)}'>"
                            f"{muc.X}</presence>")
        self.component.expect(lambda e: muc.is_subject(e) and e.get("to") == self.jid(name))
        self.component.inbox.clear()

    def leave(self, name):
        self.component.send(f"<presence from='{self.jid(name)}' to='{self.cave.at(name)}' "
                            "type='unavailable'/>")
        assert self.told(name).gone

    def refuse(self, name, *nicks, condition="resource-constraint"):
        self.component.send("".join(
            f"<presence type='error' from='{self.jid(name)}' to='{self.cave.at(nick)}'>"
            f"<error type='wait'><{condition} xmlns='{xml.STANZA_ERROR}'/></error></presence>"
            for nick in nicks))

    def told(self, name):
        """The next presence that comes to it."""
        return Seen(self.component.expect(lambda e: e.tag.endswith("}presence")
                                          and e.get("to") == self.jid(name)))

    def flush(self, name):
        """What the room has said before has come."""
        self.component.send(f"<iq type='get' id='flush' from='{self.jid(name)}' "
                            f"to='{self.cave.at(name)}'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.component.expect("<iq id='flush'/>")

    def forget(self, name):
        self.flush(name)
        self.component.inbox.clear()

    def nothing_came(self, name):
        self.flush(name)
        assert not [e for e in self.component.inbox if e.tag.endswith("}presence")
                    and e.get("to") == self.jid(name)]


@pytest.fixture
def server(make_server):
    server = make_server("alice", "carol", component=True,
                         settings=muc.owners("anonymous"), why="a room that shows no addresses")
    server.ctl("component", "add", DOMAIN, "--secret", SECRET)
    return server


@pytest.fixture
def cave(alice):
    return Room("cave").create(alice, "alice", persistentroom=True, whois="moderators")


def test_made_up_errors_bring_presence_once(server, cave, alice):
    """Unavailable presence of a nickname that nobody has."""
    bots = Bots(server, cave, "bot", "other")
    bots.refuse("bot", *["nobody", "alice", "Alice", "bot"] * 20)
    nobody, present, case, own = (bots.told("bot") for _ in range(4))
    assert 110 in own.codes
    assert (nobody.nick, nobody.gone, nobody.standing) == ("nobody", True, ("none", "none"))
    assert (present.nick, present.gone, present.jid) == ("alice", False, None)
    assert (case.nick, case.gone) == ("Alice", True)
    for client in "bot", "other":
        bots.nothing_came(client)
    assert not [e for e in alice.inbox if e.tag.endswith("}presence") and e.get("type")]


def test_a_former_nickname_has_changed(server, cave, alice):
    """Who has not heard of the change believes that it is still called so: unavailable presence
    alone would tell it that it was removed. Another may have that nickname now."""
    bots = Bots(server, cave, "bot")
    for nick in "second", "third":
        bots.component.send(f"<presence from='{bots.jid('bot')}' to='{cave.at(nick)}'/>")
        assert 303 in bots.told("bot").codes
        assert bots.told("bot").nick == nick
    bots.refuse("bot", "second", "third", "bot")
    second, own, first = (bots.told("bot") for _ in range(3))
    for seen, nick in (first, "bot"), (second, "second"):
        assert (seen.nick, seen.gone, seen.new_nick) == (nick, True, "third")
        assert {303, 110} <= set(seen.codes)
    assert (own.nick, own.gone) == ("third", False)
    bots.enter("bot2")
    cave.enter(server.client("carol", "c"), "second")
    bots.forget("bot")
    bots.refuse("bot", "second")
    taken = bots.told("bot")
    assert (taken.nick, taken.gone) == ("second", False)


@pytest.mark.parametrize("condition", ["not-acceptable", "internal-server-error", "forbidden"])
def test_other_errors_bring_nothing(server, cave, condition):
    bots = Bots(server, cave, "bot", "clock")
    bots.refuse("bot", "alice", condition=condition)
    bots.refuse("clock", "alice")
    bots.told("clock")
    bots.nothing_came("bot")


@pytest.mark.parametrize("again", [False, True])
def test_who_has_left_is_told_nothing(server, cave, alice, again):
    """Also if it has entered again."""
    bots = Bots(server, cave, "bot", "clock")
    bots.refuse("bot", "alice", "nobody")
    bots.leave("bot")
    if again:
        bots.enter("bot")
    bots.forget("clock")
    bots.refuse("clock", "alice")
    assert bots.told("clock").nick == "alice"
    bots.nothing_came("bot")


@pytest.mark.parametrize("how", ["destroyed", "stopped"])
def test_the_room_ends(server, cave, alice, how):
    bots = Bots(server, cave, "bot")
    bots.refuse("bot", "alice", "nobody")
    bots.forget("bot")
    if how == "stopped":
        server.stop()
        return
    assert cave.destroy(alice).get("type") == "result"
    assert bots.told("bot").destroy is not None
    bots.cave = Room("second").create(alice, "alice")
    bots.enter("clock")
    bots.refuse("clock", "alice")
    assert bots.told("clock").nick == "alice"
    bots.nothing_came("bot")


def test_the_seat_with_the_most_gives_way(server, cave, alice):
    """Not the one that comes when there is no more room."""
    bots = Bots(server, cave, "bot", "honest")
    bots.refuse("bot", *(f"n{n}" for n in range(1000)))
    bots.refuse("honest", "alice")
    assert 333 in cave.gone(alice, "bot").codes
    assert bots.told("honest").nick == "bot"
    assert bots.told("honest").nick == "alice"
    bots.enter("bot")


def test_many_seats_of_a_domain_put_out_none_of_another(server, cave, alice):
    many = Bots(server, cave, *(f"bot{n}" for n in range(10)))
    server.ctl("component", "add", "honest.localhost", "--secret", SECRET)
    honest = Bots(server, cave, "honest", domain="honest.localhost")
    honest.refuse("honest", *(f"h{n}" for n in range(200)))
    honest.flush("honest")
    for n in range(10):
        many.refuse(f"bot{n}", *(f"n{m}" for m in range(90)))
    left = Seen(alice.expect(lambda e: e.tag.endswith("}presence") and e.get("type")))
    assert left.gone and left.nick.startswith("bot")
    for n in range(10):
        many.flush(f"bot{n}")
    cave.expect_nothing(alice, f"<presence from='{cave.at('honest')}' type='unavailable'/>")


def test_it_is_sent_what_it_may_see(server, cave, alice):
    """Neither roles that the room does not show, nor hidden occupants, nor addresses but to
    moderators."""
    carol = server.client("carol", "c")
    bots = Bots(server, cave, "bot", "boss")
    cave.set_role(alice, "boss", "moderator")
    cave.enter(carol, "carol")
    bots.forget("boss")
    for name, jid in ("bot", None), ("boss", str(carol)):
        bots.refuse(name, "carol")
        seen = bots.told(name)
        assert (seen.gone, seen.jid) == (False, jid)
    cave.leave(carol, "carol")
    cave.set_affiliation(alice, carol.bare, "admin")
    hide(cave, carol, "carol")
    cave.entered(carol)
    bots.forget("boss")
    bots.refuse("boss", "carol")
    assert bots.told("boss").gone
    cave.configure(alice, presencebroadcast=["moderator"])
    bots.forget("boss")
    bots.refuse("boss", "bot", "alice", "boss")
    assert bots.told("boss").gone
    assert not bots.told("boss").gone
    assert 110 in bots.told("boss").codes
