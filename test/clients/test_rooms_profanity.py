"""Rooms with profanity in a terminal: one person who owns one, and two in one room, with what each
sees of what the other does."""
import shutil

import pytest

from harness import muc
from harness.client import until
from harness.muc import Room
from harness.terminal import Terminal

pytestmark = pytest.mark.skipif(not (shutil.which("profanity") and shutil.which("tmux")),
                                reason="needs profanity and tmux")


@pytest.fixture
def log_in(server, tmp_path):
    made = []

    def start(name):
        folder = tmp_path / name
        folder.mkdir()
        screen = Terminal(folder, "profanity")
        made.append(screen)
        screen.connect(name, server.c2s_port)
        return screen

    yield start
    for screen in made:
        screen.close()


def test_an_owner(log_in, bob):
    """Creates a room, talks, kicks."""
    cave, screen = Room("cave"), log_in("alice")
    screen.enter(f"/join {cave} nick owner")
    screen.expect("Room locked")
    screen.enter("/room accept")
    screen.expect("Room unlocked")  # which it says before the answer is there
    until("an open room", lambda: muc.disco_items(bob, muc.service()))
    cave.enter(bob, "b")
    screen.enter("hello from profanity")
    cave.expect_body(bob, "owner", "hello from profanity")
    cave.say(bob, "hello yourself")
    screen.expect("hello yourself")
    screen.enter("/subject set Spells")
    cave.expect_subject(bob, "owner", "Spells")
    screen.enter("/kick b enough")
    gone = cave.gone(bob, "b")
    assert 307 in gone.codes and gone.reason == "enough"
    screen.enter("/quit")


def test_who_never_accepts_the_configuration(server, log_in, bob):
    """A user who does not type /room accept, which no client suggests, is not alone for ever."""
    cave, screen = Room("cave"), log_in("alice")
    screen.enter(f"/join {cave} nick owner")
    screen.expect("Room locked")
    assert cave.refused(bob, "b")[0] == "item-not-found"
    screen.enter("anybody there?")
    screen.expect("owner: anybody there?")  # which it may print before the server has it
    until("an open room", lambda: muc.disco_items(bob, muc.service()))
    cave.enter(bob, "b")
    screen.enter("/quit")


@pytest.fixture
def screens(log_in):
    """Of alice and bob, logged in."""
    made = [log_in(name) for name in ("alice", "bob")]
    for screen in made:
        screen.enter("/presence room all")
    return made


def test_two_in_a_room_that_an_operator_made(server, screens):
    """What ./demo prints."""
    server.ctl("room", "create", "meeting@conference.localhost", "alice@localhost")
    alice, bob = screens
    alice.enter("/join meeting@conference.localhost")
    alice.expect("You have joined the room as alice")
    bob.enter("/join meeting@conference.localhost")
    alice.expect("bob has joined the room")
    bob.enter("good evening")
    alice.expect("bob: good evening")
    for screen in screens:
        screen.enter("/quit")


def test_two_in_one_room(server, carol, screens):
    cave, (alice, bob) = Room("cave"), screens
    alice.enter(f"/join {cave} nick owner")
    alice.expect("Room locked")
    alice.enter("/room accept")
    until("an open room", lambda: muc.disco_items(carol, muc.service()))
    bob.enter(f"/join {cave} nick guest")
    alice.expect("-> guest has joined the room")
    bob.expect("owner")
    bob.enter("good evening")
    alice.expect("guest: good evening")
    alice.enter("welcome, guest")
    bob.expect("owner: welcome, guest")
    bob.enter("/nick visitor")
    alice.expect("guest is now known as visitor")
    bob.expect("visitor")
    alice.enter("/subject set Spells")
    bob.expect("*owner has set the room subject: Spells")
    alice.enter("/msg visitor between us")
    until("a window of their own",
          lambda: bob.enter("/win 3") is None and "between us" in bob.screen())
    bob.enter("/win 2")
    alice.enter("/win 2")
    cave.enter(carol, "watcher")
    alice.enter("/affiliation set member bob@localhost well known")
    alice.expect("changed to: member, by: owner, reason: well known")
    until("a member", lambda: cave.presence(carol, "visitor").affiliation == "member")
    alice.enter("/kick visitor enough")
    gone = cave.gone(carol, "visitor")
    assert 307 in gone.codes and gone.reason == "enough"
    alice.expect("visitor has been kicked")
    bob.expect(f"Kicked from {cave} by owner, reason: enough")
    for screen in screens:
        screen.enter("/quit")
    cave.gone(carol, "owner")
