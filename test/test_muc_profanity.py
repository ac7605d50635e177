"""Two people with profanity in one room: what each sees of what the other does."""
import shutil

import pytest

from muster import muc
from muster.client import until
from muster.muc import Room
from test_clients import Terminal

pytestmark = pytest.mark.skipif(not (shutil.which("profanity") and shutil.which("tmux")),
                                reason="needs profanity and tmux")


@pytest.fixture
def screens(server, tmp_path):
    """Of alice and bob, logged in."""
    made = []
    for name in ("alice", "bob"):
        folder = tmp_path / name
        folder.mkdir()
        screen = Terminal(folder, "profanity")
        made.append(screen)
        screen.expect("Profanity")
        screen.enter(f"/connect {name}@localhost server 127.0.0.1 port {server.c2s_port} tls trust")
        screen.expect("Enter password")
        screen.enter("secret")
        screen.expect("logged in successfully")
        screen.enter("/presence room all")
    yield made
    for screen in made:
        screen.close()


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
