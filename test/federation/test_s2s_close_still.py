"""An operator closes a stream that goes both ways (XEP-0288), while the disk of the server that has
opened it stands still: what has come and is not stored yet does not come again."""
import threading

import pytest

from harness import slow_disk
from harness.client import until
from federation.test_s2s_bidi import (ONE, OTHER, authority, begin, federation, hear, nothing_more,
                                      pending, say, start)

__all__ = ["authority", "start"]


@pytest.fixture
def pair(start, disk):
    """alice@one.test has opened a stream to bob@other.test; the disk is her server's."""
    one, other = start("alice", ONE, disk), start("bob", OTHER)
    federation.route(one, OTHER, other.s2s_port)
    federation.route(other, ONE, one.s2s_port)
    alice, bob = one.client("alice"), other.client("bob")
    begin(one, other, alice, bob)
    for server in one, other:
        until("both are stored", lambda server=server: stored(server) == (2, 0))
    return one, other, alice, bob


def stored(server):
    """How many messages, and how many of them are not confirmed."""
    with server.database(read_only=True) as db:
        return db.execute("SELECT count(*), count(nullif(pending_out, 0)) FROM message").fetchone()


def links(server):
    return {row.get("link") for row in server.rows("s2s", "list")}


@pytest.mark.sqlite
@pytest.mark.parametrize("who", ["opener", "other"])
def test_what_is_not_stored_when_a_stream_is_closed_comes_once(pair, disk, who):
    one, other, alice, bob = pair
    closes, there = (one, OTHER) if who == "opener" else (other, ONE)
    [link] = links(other)
    disk.turn(sync_ms=slow_disk.STILL)
    say(bob, alice, "0", "1", "2")
    until("they are on their way", lambda: pending(other) == 3)
    closing = threading.Thread(target=closes.ctl, args=("s2s", "close", there))
    closing.start()
    until("the stream has ended", lambda: link not in links(other))
    disk.turn(sync_ms=0)
    closing.join()
    hear(alice, bob, "0", "1", "2")
    until("all are confirmed", lambda: pending(other) == 0)
    say(bob, alice, "last")
    hear(alice, bob, "last")
    say(alice, bob, "answer")
    hear(bob, alice, "answer")
    nothing_more(alice, bob)


@pytest.mark.sqlite
@pytest.mark.parametrize("who", ["opener", "other"])
def test_a_stream_with_nothing_under_way_ends_when_it_is_closed(pair, who):
    """And its session with it: nobody resumes that."""
    one, other, alice, bob = pair
    closes, there = (one, OTHER) if who == "opener" else (other, ONE)
    [link] = links(other)
    closes.ctl("s2s", "close", there)
    until("the stream has ended", lambda: link not in links(other))
    say(bob, alice, "next")
    hear(alice, bob, "next")
    nothing_more(alice, bob)
    assert "s2s.resumed" not in one.log() + other.log()
