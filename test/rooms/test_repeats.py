"""Messages to a room that their sender sends again because no acknowledgement covered them
(XEP-0359 §3.2): the room shows and archives each once, and sends its sender the reflected copy."""
import random
import threading

import pytest

from harness import across, xml
from harness.client import bodies, until
from harness.muc import Room
from harness.slow_disk import STILL
from rooms.test_archive import Page
from rooms.test_unload import loaded

ROOMS = {"archived": {"persistentroom": True, "enablearchiving": True},
         "not archived": {"persistentroom": True, "enablearchiving": False},
         "ad hoc": {}}
USERS = "alice", "bob", "carol"


def text(to, ident, inner=None, kind="groupchat"):
    inner = f"<body>{ident}</body>" if inner is None else inner
    return (f"<message to='{to}' type='{kind}' id='{ident}'>{inner}"
            f"<origin-id xmlns='{xml.SID}' id='{ident}'/></message>")


def said(client):
    """What occupants have said to a client, without history: (id, stanza-id)."""
    return [(e.get("id"), stanza_id(e)) for e in client.inbox if e.get("type") == "groupchat"
            and e.find(f"{{{xml.DELAY}}}delay") is None and "/" in e.get("from")]


def live(client, count):
    """The same, when there are so many and nothing more is on its way."""
    client.wait(f"{count} messages", lambda: len(said(client)) >= count)
    client.ping()
    return said(client)


def stanza_id(message):
    found = message.find(f"{{{xml.SID}}}stanza-id")
    return None if found is None else found.get("id")


def errors(client):
    client.ping()
    return [(e.get("id"), xml.condition(e)) for e in client.inbox if e.get("type") == "error"]


def resumed(server, client):
    """The new connection of a client, and the h that it was told."""
    again = server.connect(client.name)
    client.cut()
    answer = again.take_over(client)
    assert answer.tag == f"{{{xml.SM}}}resumed", xml.canonical(answer)
    again.acked = int(answer.get("h"))
    return again


@pytest.fixture
def here(make_server):
    """A server, alice who owns the room, and bob in it."""
    disks = []

    def start(kind="archived", disk=None, **options):
        if disk is not None:
            options["disk"] = disk
            disks.append(disk)
        server = make_server(*USERS, **options)
        alice, bob = server.client("alice", "a"), server.client("bob", "b")
        room = Room("cave").create(alice, "al", **ROOMS[kind])
        room.enter(bob, "bo")
        room.forget(alice, bob)
        return server, room, alice, bob
    yield start
    for disk in disks:
        disk.turn(sync_ms=0)


@pytest.mark.parametrize("kind", ROOMS)
def test_a_new_session_repeats(here, kind):
    """Its copies have the stanza-id of the first ones."""
    server, room, alice, bob = here(kind)
    idents = [f"m{i}" for i in range(5)]
    for ident in idents:
        bob.send(text(room, ident))
    first = live(bob, 5)
    again = server.client("bob", "again")
    room.enter(again, "bo")
    for ident in idents:
        again.send(text(room, ident))
    assert live(again, 5) == first and [ident for ident, _ in first] == idents
    room.flush(alice, bob)
    assert live(alice, 5) == live(bob, 5) == first
    assert not errors(again)
    carol = server.client("carol", "c")
    assert room.enter(carol, "ca").bodies == idents
    if kind == "archived":
        assert Page(alice, room).ids == [number for _, number in first]


@pytest.mark.sqlite
@pytest.mark.parametrize("kind", ROOMS)
def test_a_resumed_session_repeats(here, disk, kind):
    """Also while the first copies are not stored yet; no h covers a repeat before them."""
    server, room, alice, bob = here(kind, disk=disk)
    bob.enable_sm()
    disk.turn(sync_ms=STILL)
    for ident in "abc":
        bob.send(text(room, ident))
    first = live(bob, 3)
    again = resumed(server, bob)
    for ident in "abc":
        again.send(text(room, ident))
    again.ping()
    new = server.client("bob", "new")
    new.enable_sm()
    room.enter(new, "bo")
    for ident in "abc":
        new.send(text(room, ident))
    assert live(new, 3) == first == live(alice, 3)
    new.request_ack()
    new.ping()
    before = new.acked
    disk.turn(sync_ms=0)
    new.request_ack()
    new.wait("all", lambda: new.acked >= 5)
    assert kind != "archived" or before < 5
    room.flush(alice)
    assert live(alice, 3) == first and not errors(again) and not errors(new)


@pytest.mark.sqlite
@pytest.mark.parametrize("late, kinds", [(4, ("groupchat", "chat")), (7, ("chat",))],
                         ids=["4 s", "7 s"])
def test_a_planned_restart_while_the_disk_stands_still(here, disk, late, kinds):
    """If it works again before the process ends, the session that comes back is told that its
    stanzas were handled. They have no origin-id, by which a repeat could be known."""
    server, room, alice, bob = here(disk=disk)
    bob.enable_sm()
    disk.turn(sync_ms=STILL)
    for i in range(3):
        for kind in kinds:
            to = room if kind == "groupchat" else alice.bare
            bob.send(f"<message to='{to}' type='{kind}' id='{kind}{i}'><body>{i}</body></message>")
    alice.wait("all", lambda: len(bodies(alice.inbox)) == 3 * len(kinds))
    timer = threading.Timer(late, lambda: disk.turn(sync_ms=0))
    timer.start()
    server.restart()
    timer.join()
    assert resumed(server, bob).acked == 3 * len(kinds)


AMENDING = {"a message": "<body>x</body>",
            "a subject": "<subject>x</subject>",
            "a retraction": "<retract xmlns='urn:xmpp:message-retract:1' id='{first}'/>",
            "a reaction": "<reactions xmlns='urn:xmpp:reactions:0' id='{first}'>"
                          "<reaction>x</reaction></reactions>",
            "a correction": "<body>x</body><replace xmlns='urn:xmpp:message-correct:0' id='1'/>"}


@pytest.mark.sqlite
@pytest.mark.parametrize("what", AMENDING)
def test_a_repeat_is_handled_when_the_first_copy_is(here, disk, what):
    """Of everything that a room keeps; and it is done once."""
    server, room, alice, bob = here(disk=disk)
    bob.send(text(room, "1"))
    (_, first), = live(bob, 1)
    alice.wait("it", lambda: said(alice))
    inner = AMENDING[what].format(first=first)
    room.forget(alice, bob)
    disk.turn(sync_ms=STILL)
    bob.enable_sm()
    bob.send(text(room, "2", inner))
    shown = live(alice, 1)
    assert len(shown) == 1
    new = server.client("bob", "new")
    room.enter(new, "bo")
    new.enable_sm()
    for _ in range(3):
        new.send(text(room, "2", inner))
    assert live(new, 3) == shown * 3
    new.request_ack()
    new.ping()
    assert new.acked == 0
    disk.turn(sync_ms=0)
    new.wait_acked(3)
    room.flush(alice)
    assert live(alice, 1) == shown
    server.kill()
    server.start()
    carol = server.client("carol", "c")
    room.enter(carol, "ca")
    assert Page(carol, room).ids[1:] == [number for _, number in shown]


def test_a_repeated_subject_does_not_come_back(here):
    server, room, alice, bob = here()
    alice.send(text(room, "s1", "<subject>eyes</subject>"))
    alice.send(text(room, "s2", "<subject>toes</subject>"))
    alice.send(text(room, "s1", "<subject>eyes</subject>"))
    live(alice, 3)
    room.flush(bob)
    assert [ident for ident, _ in said(bob)] == ["s1", "s2"]
    carol = server.client("carol", "c")
    assert room.enter(carol, "ca").subject.findtext(f"{{{xml.CLIENT}}}subject") == "toes"


@pytest.mark.parametrize("how", ["kill", "restart", "unload"])
def test_repeats_are_known_when_the_room_is_loaded_again(here, how):
    """From its archive."""
    settings = {"muc.unload-after": "1s"} if how == "unload" else {}
    server, room, alice, bob = here(settings=settings, why="it is not waited for")
    bob.enable_sm()
    for ident in "abc":
        bob.send(text(room, ident))
    bob.wait_acked(3)
    first = live(bob, 3)
    if how == "kill":
        server.kill()
        server.start()
    elif how == "restart":
        server.restart()
    else:
        room.leave(bob, "bo")
        room.leave(alice, "al")
        until("the room to be unloaded", lambda: loaded(server) == 0)
    carol, again = server.client("carol", "c"), server.client("bob", "again")
    room.enter(carol, "ca")
    room.enter(again, "bo")
    for ident in "abc":
        again.send(text(room, ident))
    again.send(text(room, "d"))
    assert live(again, 4)[:3] == first
    assert [ident for ident, _ in live(carol, 1)] == ["d"]
    assert Page(carol, room).bodies == list("abcd")


def test_no_repeat_is_refused(here):
    """Its first copy was shown, however much was said, and whatever its sender may say now; nor
    does it use up what its sender may say."""
    server, room, alice, bob = here(settings={"muc.message-burst": 5, "muc.message-rate": 1},
                                    why="the test talks more than that")
    for i in range(5):
        bob.send(text(room, f"m{i}"))
    first = live(bob, 5)
    for i in range(5):
        bob.send(text(room, f"m{i}"))
    assert live(bob, 10) == first + first and not errors(bob)
    room.configure(alice, moderatedroom=True)
    room.set_role(alice, "bo", "visitor")
    bob.send(text(room, "m0"))
    assert live(bob, 11)[10:] == first[:1] and not errors(bob)
    room.leave(bob, "bo")
    bob.send(text(room, "m1"))
    bob.send(text(room, "new"))
    bob.expect_error("not-acceptable", template="<message type='error' id='new'/>")
    assert len(live(bob, 11)) == 11 and not errors(bob)
    assert live(alice, 5) == first


def test_what_was_refused_is_no_repeat(here):
    server, room, alice, bob = here()
    room.configure(alice, moderatedroom=True)
    room.set_role(alice, "bo", "visitor")
    bob.send(text(room, "m"))
    bob.expect_error("forbidden", template="<message type='error' id='m'/>")
    room.set_role(alice, "bo", "participant")
    bob.send(text(room, "m"))
    assert [ident for ident, _ in live(alice, 1)] == ["m"]


def test_the_same_origin_id_of_others_is_no_repeat(here):
    """Nor in another room."""
    server, room, alice, bob = here()
    other = Room("den").create(bob, "bo")
    alice.send(text(room, "m"))
    bob.send(text(room, "m"))
    bob.send(text(other, "m"))
    assert [ident for ident, _ in live(alice, 2)] == ["m", "m"]
    assert [ident for ident, _ in live(bob, 3)] == ["m", "m", "m"]


@pytest.mark.parametrize("kind", ROOMS)
def test_private_messages(here, kind):
    """To each session of an occupant once, and not refused."""
    server, room, alice, bob = here(kind, settings={"muc.message-burst": 3, "muc.message-rate": 1},
                                    why="the test talks more than that")
    second, carol = server.client("alice", "second"), server.client("carol", "c")
    room.enter(second, "al")
    room.enter(carol, "ca")
    room.forget(alice, second, bob, carol)
    for _ in range(5):
        bob.send(text(room.at("al"), "p", kind="chat"))
    bob.send(text(room.at("ca"), "p", kind="chat"))  # a client may do that, if it should not
    carol.wait("it", lambda: bodies(carol.inbox))
    room.flush(alice, second, carol)
    assert [bodies(c.inbox) for c in (alice, second, carol)] == [["p"]] * 3
    assert not errors(bob)


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ["new", "resumed"])
def test_an_occupant_of_another_server(make_server, tmp_path, how):
    one, other = across.start(make_server, tmp_path)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    room = Room("cave", across.ONE).create(alice, "al", **ROOMS["archived"])
    room.enter(bob, "bo")
    room.forget(alice, bob)
    for ident in "abc":
        bob.send(text(room, ident))
    first = live(bob, 3)
    again = bob
    if how == "new":
        again = other.client("bob", "again")
        room.enter(again, "bo")
        again.inbox.clear()
    for ident in "abcd":
        again.send(text(room, ident))
    before = first if how == "resumed" else []
    heard = live(again, len(before) + 4)
    assert heard[:-1] == before + first and heard[-1][0] == "d"
    assert live(alice, 4) == first + heard[-1:]
    assert Page(alice, room).bodies == list("abcd")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ROOMS)
def test_many_repeats(here, seed, kind):
    """Of all that was said, in any order, by sessions that come and go: a room shows each message
    once, and in the order in which it was said."""
    server, room, alice, bob = here(kind, settings={"muc.message-rate": "none"},
                                    why="they talk faster than people")
    rng = random.Random(seed)
    new, speaker = [], bob
    for round_ in range(10):
        if rng.random() < 0.5:
            speaker.cut()
            speaker = server.client("bob", f"b{round_}")
            room.enter(speaker, f"bo{round_}")
        for ident in rng.sample(new, min(len(new), rng.randrange(30))):
            speaker.send(text(room, ident))
        for _ in range(rng.randrange(1, 30)):
            new.append(f"m{len(new)}")
            speaker.send(text(room, new[-1]))
        speaker.wait("the last", lambda: new[-1] in [ident for ident, _ in said(speaker)])
        assert not errors(speaker)
    assert [ident for ident, _ in live(alice, len(new))] == new
