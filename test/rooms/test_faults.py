"""Rooms and faults: what an acknowledgement of a message to a room promises.

MUSTER_KILL_ROUNDS (20) chooses the size."""
import contextlib
import os
import random
import re
import threading

import pytest

from harness import xml
from harness.client import TIMEOUT
from harness.muc import ROOM_ID_MIN, Room
from rooms.test_archive import Page

KILL_ROUNDS = int(os.environ.get("MUSTER_KILL_ROUNDS", "20"))
IN_FLIGHT = 1000


class Talker:
    """alice floods a room and watches h, which counts what she has sent since she enabled it."""

    def __init__(self, server, room, first):
        self.server, self.room, self.next, self.sent = server, room, first, []
        self.client = server.client("alice", "a")
        room.enter(self.client, "first")
        self.client.enable_sm()

    def run_until_killed(self, seconds):
        """Floods until kill -9 strikes. Returns the numbers that h covers, which is what the
        server has promised."""
        process, self.server.process = self.server.process, None
        killer = threading.Timer(seconds, process.kill)
        killer.start()
        while not self.client.eof:
            with contextlib.suppress(OSError):
                self.flood()
            self.client.pump(0.001)
            refused = [e for e in self.client.inbox if e.get("type") == "error"]
            assert not refused, xml.canonical(refused[0])
            self.client.inbox.clear()
        process.wait(TIMEOUT)
        killer.join()
        return self.sent[:self.client.acked]

    def flood(self):
        for _ in range(20):
            if len(self.sent) - self.client.acked >= IN_FLIGHT:
                break
            self.room.say(self.client, str(self.next))
            self.sent.append(self.next)
            self.next += 1
        self.client.request_ack()


def recorded(server):
    """The numbers in the room's archive, in the order of their ids, also of those whose entries are
    not in the index yet."""
    with server.database(read_only=True) as db:
        rows = db.execute("SELECT stanza FROM message WHERE rcpt >= ? ORDER BY rcpt_entry",
                          (ROOM_ID_MIN,))
        return [int(re.search("<body>([0-9]+)</body>", text)[1]) for (text,) in rows]


def kill_in_traffic(server, cave, rounds):
    """Ends the server while somebody talks, again and again; what the archive has at the end. No
    acknowledged message is missing, none is there twice or out of order."""
    promised, number = [], 0
    for _ in range(rounds):
        talker = Talker(server, cave, number)
        promised += talker.run_until_killed(random.uniform(0.05, 0.5))
        number = talker.next
        server.start()
        there = recorded(server)
        assert there == sorted(set(there)), "out of order or twice"
        assert not set(promised) - set(there), "acknowledged, and lost"
    assert promised, "nothing was acknowledged at all"
    return there


@pytest.mark.release
def test_kill_under_room_traffic(make_server):
    """No acknowledged message is missing in the archive of the room, none is there twice, and all
    are in the order in which they were said."""
    server = make_server("alice", settings={"muc.message-rate": "none"},
                         why="they talk faster than people")
    cave = Room("cave").create(server.client("alice", "maker"), "maker", persistentroom=True)
    there = kill_in_traffic(server, cave, KILL_ROUNDS)
    reader = server.client("alice", "reader")
    assert Page(reader, cave, page="<max>10</max><before/>").bodies == [
        str(n) for n in there[-10:]]
    last = cave.enter(reader, "first", history={"maxstanzas": 5})
    assert last.bodies == [str(n) for n in there[-5:]]
