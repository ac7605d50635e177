"""What a room promises and a crash, a planned restart or a database that is away may not break
(architecture §6): what h covers is in its archive once, and a change that was answered is there.

MUSTER_KILL_ROUNDS (20) chooses how often the server is killed."""
import contextlib
import os
import random
import signal
import threading

import pytest

from harness import muc, xml
from harness.client import TIMEOUT, bodies, until
from harness.database import held_by_another
from harness.muc import Room, disco_info, item
from rooms.test_archive import Page, waiting

KILL_ROUNDS = int(os.environ.get("MUSTER_KILL_ROUNDS", "20"))
REGISTER = "jabber:iq:register"
SPEAKERS = ("bob", "carol", "dave")
OPEN = {"muc.message-rate": "none"}
WHY = "they talk faster than people"
UNFINISHED = 200  # stanzas that a client has not heard of yet, before it waits


def register(nick):
    form = muc.submit(muc.REGISTER, {"muc#register_roomnick": nick})
    return f"<query xmlns='{REGISTER}'>{form}</query>"


class Speaker:
    """A client with stream management that talks to the room, and knows what h covers."""

    def __init__(self, server, room, name):
        self.client = server.client(name, "s")
        self.room, self.name = room, name
        self.client.enable_sm()
        self.sent = []  # what h counts, in order
        self.changes = []  # (kind, number, id of the request)
        self.heard = []

    def send(self, text, said=None):
        self.client.send(text)
        self.sent.append(said)

    def enter(self):
        self.send(f"<presence to='{self.room.at(self.name)}'>{muc.X}</presence>")
        self.room.entered(self.client)

    def say(self, body):
        self.send(f"<message to='{self.room}' type='groupchat' id='{body}'><body>{body}</body>"
                  f"<origin-id xmlns='{xml.SID}' id='{body}'/></message>", body)

    def change(self, kind, number, inner):
        ident = f"{kind}-{number}"
        self.changes.append((kind, number, ident))
        self.send(f"<iq type='set' id='{ident}' to='{self.room}'>{inner}</iq>")

    def read(self, timeout=0.001):
        self.client.pump(timeout)
        self.heard += bodies(self.client.inbox)
        refused = [e for e in self.client.inbox if e.get("type") == "error"]
        assert not refused, f"{self.name}: {xml.canonical(refused[0])}"
        self.client.inbox.clear()

    def read_all(self):
        while not self.client.eof:
            self.read(TIMEOUT)

    @property
    def unfinished(self):
        return len(self.sent) - self.client.acked

    def promised(self):
        return [said for said in self.sent[:self.client.acked] if said is not None]

    def not_promised(self):
        return [said for said in self.sent[self.client.acked:] if said is not None]

    def answered(self, kind):
        """The number of the last change of a kind that brought a result; -1: none."""
        results = {e.get("id") for e in self.client.log if e.get("type") == "result"}
        return max((n for k, n, ident in self.changes if k == kind and ident in results),
                   default=-1)


def run_until_ended(server, speakers, step, seconds, end):
    """Calls step(speaker) for each in turn until the server ends, at a moment that neither side
    knows; then all has been read that it ever sent."""
    process = server.process
    timer = threading.Timer(seconds, lambda: end(process))
    timer.start()
    while not any(s.client.eof for s in speakers):
        for speaker in speakers:
            with contextlib.suppress(OSError):
                if speaker.unfinished < UNFINISHED:
                    step(speaker)
                speaker.client.request_ack()
            speaker.read()
    process.wait(TIMEOUT)
    timer.join()
    server.process = None
    for speaker in speakers:
        speaker.read_all()


def archive_from(client, room, last=""):
    """(bodies, id of the last) of what the archive has behind an id."""
    found = []
    while True:
        page = Page(client, room, page=f"<max>1000</max>{f'<after>{last}</after>' if last else ''}")
        found += page.bodies
        last = page.last or last
        if page.complete:
            return found, last


class Changes:
    """The owner repeatedly changes everything that a room stores; each answered change must be
    kept."""

    def __init__(self, room, owner):
        self.room, self.owner = room, owner
        self.next = {kind: 0 for kind in ("config", "people", "vcard", "nick")}

    def step(self, speaker):
        for kind, number in self.next.items():
            speaker.change(kind, number, {
                "config": lambda n: f"<query xmlns='{muc.OWNER}'>" + muc.submit(
                    muc.CONFIG, {"muc#roomconfig_roomdesc": str(n)}) + "</query>",
                "people": lambda n: f"<query xmlns='{muc.ADMIN}'>" + item(
                    jid=f"m{n}@localhost", affiliation="member") + "</query>",
                "vcard": lambda n: f"<vCard xmlns='vcard-temp'><FN>{n}</FN></vCard>",
                "nick": lambda n: register(f"name{n}"),
            }[kind](number))
            self.next[kind] = number + 1

    def stored(self, client):
        """The present values of the room, by kind."""
        room = self.room
        _, _, forms = disco_info(client, room.jid)
        card = client.iq("get", "<vCard xmlns='vcard-temp'/>", to=room.jid)
        name = card.findtext(".//{vcard-temp}FN")
        nick = client.result("get", f"<query xmlns='{REGISTER}'/>",
                             to=room.jid).findtext(f"{{{REGISTER}}}username")
        people = {int(jid[1:].partition("@")[0]) for jid in room.jids(client, "member")
                  if jid[0] == "m"}
        assert people == set(range(len(people)))  # one after the other
        desc = forms[muc.INFO].get("muc#roominfo_description")
        return {"config": int(desc) if desc else -1, "people": len(people) - 1,
                "vcard": int(name) if name else -1, "nick": int(nick[4:]) if nick else -1}


def check_changes(changes, owner, client):
    """Each is at least as new as the last that was answered, and no newer than the last sent."""
    for kind, is_ in changes.stored(client).items():
        assert owner.answered(kind) <= is_ < changes.next[kind], kind
        changes.next[kind] = is_ + 1  # where it goes on


def check_archive(found, speakers, round_):
    """What h covered is there, and everything once, also what was said again; the messages of each
    are in order."""
    for speaker in speakers:
        own = [int(b[len(speaker.name):]) for b in found if b.startswith(speaker.name)]
        lost = {int(b[len(speaker.name):]) for b in speaker.promised() if b} - set(own)
        assert not lost, f"round {round_}: {lost} of {speaker.name}, which h covers, are not there"
        assert own == sorted(set(own)), f"round {round_}: out of order or twice"


@pytest.mark.release
def test_kill_while_rooms_change(make_server):
    """No message that h covers is missing from the archive or twice in it, no answered change is
    lost, nobody is left in the room who is not there."""
    server = make_server("alice", *SPEAKERS, settings=OPEN, why=WHY, workers=3)
    room, changes = Room("storm"), None
    owner = server.client("alice", "o")
    room.create(owner, "alice", persistentroom=True)
    owner.close()
    rng, number, last, subject, everything = random.Random(), 0, "", None, []
    again = {name: [] for name in ("alice", *SPEAKERS)}
    changes = Changes(room, owner)
    for round_ in range(KILL_ROUNDS):
        speakers = [Speaker(server, room, name) for name in ("alice", *SPEAKERS)]
        for speaker in speakers:
            speaker.enter()
            for body in again[speaker.name]:
                speaker.say(body)

        def step(speaker):
            nonlocal number, subject
            for _ in range(5):
                speaker.say(f"{speaker.name}{number}")
                number += 1
            if speaker.name == "alice":
                changes.step(speaker)
                subject = f"{round_} {number}"
                speaker.send(f"<message to='{room}' type='groupchat'><subject>{subject}</subject>"
                             "</message>", ("subject", subject))

        run_until_ended(server, speakers, step, rng.uniform(0.05, 0.5), lambda p: p.kill())
        subjects = [s[1] for s in speakers[0].promised() if isinstance(s, tuple)]
        sent_subjects = [s[1] for s in speakers[0].sent if isinstance(s, tuple)]
        for speaker in speakers:
            speaker.sent = [None if isinstance(s, tuple) else s for s in speaker.sent]
            again[speaker.name] = speaker.not_promised()
        server.start()
        alice = server.client("alice", "after")
        entered = room.enter(alice, "looks")
        assert not entered.others, f"ghosts: {entered.others}"
        has = entered.subject.findtext(f"{{{xml.CLIENT}}}subject")
        if subjects:
            assert has in sent_subjects[sent_subjects.index(subjects[-1]):]
        found, last = archive_from(alice, room, last)
        everything += [b for b in found if b is not None]
        check_archive(everything, speakers, round_)
        check_changes(changes, speakers[0], alice)
        alice.close()


def test_an_ad_hoc_room_ends_with_the_process(server, alice, bob):
    room = Room("moment").create(alice, "alice")
    room.enter(bob, "bob")
    server.kill()
    server.start()
    alice = server.client("alice", "a")
    assert alice.error("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=room.jid)[0] == \
        "item-not-found"
    assert 201 in room.enter(alice, "alice").own.codes


# --- a planned restart under traffic ---


def resume(server, old):
    """The same session on a new connection; it repeats what was not handled."""
    speaker = old
    client = server.connect(old.name)
    answer = client.take_over(old.client)
    assert answer.tag == f"{{{xml.SM}}}resumed", xml.canonical(answer)
    handled = int(answer.get("h"))
    again, kept = old.sent[handled:], old.sent[:handled]
    client.acked = handled
    client.log = old.client.log + client.log
    speaker.client, speaker.sent = client, kept
    for body in again:
        speaker.say(body)
    return set(again)


def test_planned_restart_under_room_traffic(make_server):
    """A client that resumes is still in the room and has missed nothing; nobody is told that it
    left."""
    server = make_server("alice", *SPEAKERS, workers=3, why=WHY,
                         settings={**OPEN, "sm.hibernate-buffer": 150})
    room = Room("storm")
    owner = server.client("alice", "o")
    room.create(owner, "alice", persistentroom=True)
    owner.close()
    speakers = [Speaker(server, room, name) for name in SPEAKERS]
    for speaker in speakers:
        speaker.enter()
    room.flush(*(s.client for s in speakers))
    for speaker in speakers:
        speaker.sent.append(None)  # the request of flush()
        speaker.client.inbox.clear()
        speaker.client.log.clear()
    number = 0

    def step(speaker):  # few are on their way: more than sm.hibernate-buffer end a session
        nonlocal number
        speaker.client.ack()
        if speaker.unfinished < 5:
            speaker.say(f"{speaker.name}{number}")
            number += 1

    run_until_ended(server, speakers, step, 0.4, lambda p: p.send_signal(signal.SIGTERM))
    server.start()
    again = {}
    for i, speaker in enumerate(speakers):  # the others' come while the last are not back yet
        again[speaker.name] = resume(server, speaker)
        speaker.say(f"{speaker.name}{number + i}")
    for speaker in speakers:
        speaker.say(f"{speaker.name}{number + 10}")
    for speaker in speakers:
        def all_there(s=speaker):
            s.read(0.05)
            return all(f"{name}{number + 10}" in s.heard for name in SPEAKERS)
        until("the last of all", all_there)
    for speaker in speakers:
        left = [e for e in speaker.client.log if e.tag.endswith("}presence")]
        assert not left, f"{speaker.name} heard {xml.canonical(left[0])}"
        for other in speakers:
            heard = [b for b in speaker.heard if b.startswith(other.name)]
            for body in (s for s in other.sent if s is not None):
                n = heard.count(body)  # what it repeats is reflected to its sender again
                assert n == 1 or (n == 2 and other is speaker and body in again[other.name]), \
                    f"{body}: {n} times"
    alice = server.client("alice", "a")
    found, _ = archive_from(alice, room)
    until("all acknowledged", lambda: all(
        s.client.request_ack() is None and s.client.pump(0.05) is not None and s.unfinished == 0
        for s in speakers))
    found, _ = archive_from(alice, room)
    for speaker in speakers:
        for body in (s for s in speaker.sent if s is not None):
            assert found.count(body) == 1, f"{body}: {found.count(body)} times"


# --- the database is away ---


def say(client, room, text):
    client.send(f"<message to='{room}' type='groupchat'><body>{text}</body></message>")


@pytest.mark.parametrize("end", ["back", "killed"])
def test_what_waits_for_the_database_is_not_acknowledged(make_server, end):
    """It is relayed, and h stays where it is until the archive has it."""
    server = make_server("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    room = Room("patient").create(alice, "alice", persistentroom=True)
    room.enter(bob, "bob")
    alice.enable_sm()
    say(alice, room, "before")
    alice.wait_acked(1)
    with held_by_another(server):
        for i in range(3):  # with the store when it gives up
            say(alice, room, f"m{i}")
        until("what was said to wait", lambda: waiting(server) == 3)
        for i in range(3, 6):  # behind these
            say(alice, room, f"m{i}")
            room.expect_body(bob, "alice", f"m{i}")
        alice.request_ack()
        alice.ping()
        assert alice.acked == 1 and waiting(server) == 6
        if end == "killed":
            server.kill()
    if end == "killed":
        server.start()
        alice = server.client("alice", "after")
        texts = ["before"]
    else:
        alice.wait_acked(7)
        texts = ["before", *(f"m{i}" for i in range(6))]
    page = Page(alice, room)
    assert page.bodies == texts and page.count == str(len(texts))


def test_a_room_that_is_destroyed_keeps_nobody_waiting(make_server):
    """What waits for its archive will never be stored: it is handled."""
    server = make_server("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    room = Room("brief").create(alice, "alice", persistentroom=True)
    room.enter(bob, "bob")
    bob.enable_sm()
    with held_by_another(server):
        say(bob, room, "m0")
        until("what was said to wait", lambda: waiting(server) == 1)
        say(bob, room, "m1")
        room.expect_body(bob, "bob", "m1")
        alice.send(f"<iq type='set' id='end' to='{room}'><query xmlns='{muc.OWNER}'><destroy/>"
                   "</query></iq>")
    room.gone(bob, "bob")
    bob.wait_acked(2)


@pytest.mark.parametrize("again", [False, True])
def test_nothing_of_a_room_that_ends_is_left(make_server, again):
    """What is said while its end is on the way to the disk goes with it, also what could not be
    stored at once; a room that only stops being persistent keeps what it records afterwards."""
    server = make_server("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    room = Room("brief").create(alice, "alice", persistentroom=True)
    room.enter(bob, "bob")
    with held_by_another(server):
        say(bob, room, "m0")
        until("what was said to wait", lambda: waiting(server) == 1)
        inner = "<destroy/>" if not again else muc.submit(
            muc.CONFIG, {"persistentroom": False}, "muc#roomconfig_")
        alice.send(f"<iq type='set' id='end' to='{room}'><query xmlns='{muc.OWNER}'>{inner}"
                   "</query></iq>")
        for i in range(1, 9):
            say(bob, room, f"m{i}")
            room.expect_body(bob, "bob", f"m{i}")
    alice.expect("<iq type='result' id='end'/>")

    def left():
        with server.database(read_only=True) as db:
            return db.execute(f"SELECT count(*) FROM message WHERE rcpt >= {muc.ROOM_ID_MIN}"
                              ).fetchall()[0][0]

    until("nothing of it", lambda: left() == 0 and waiting(server) == 0)
    if again:
        room.configure(alice, persistentroom=True)
        with held_by_another(server):
            say(bob, room, "later")
            until("what was said to wait", lambda: waiting(server) == 1)
        until("stored", lambda: Page(bob, room).bodies == ["later"])


def test_the_node_ends_while_the_database_is_away(make_server):
    """Changes and messages that wait are given up: nobody was told that they were done."""
    server = make_server("alice")
    alice = server.client("alice", "a")
    room = Room("waits").create(alice, "alice", persistentroom=True)
    alice.enable_sm()
    changes = Changes(room, alice)
    speaker = Speaker.__new__(Speaker)
    speaker.client, speaker.room, speaker.sent, speaker.changes = alice, room, [], []
    with held_by_another(server):
        say(alice, room, "m0")
        until("what was said to wait", lambda: waiting(server) == 1)
        for _ in range(3):
            changes.step(speaker)
        say(alice, room, "m1")
        room.expect_body(alice, "alice", "m1")
        alice.request_ack()
        alice.ping()
        assert alice.acked == 0
        server.signal(signal.SIGTERM)
        assert server.process.wait(TIMEOUT) == 0
        server.process = None
    assert "event=messages.lost count=2" in server.log()
    server.start()
    alice = server.client("alice", "after")
    assert Page(alice, room).bodies == []
    assert set(changes.stored(alice).values()) == {-1}
