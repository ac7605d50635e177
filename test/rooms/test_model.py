"""Six people do anything that rooms allow, one after the other, and also lose connections, resume,
and see the server killed and restarted. A small model says after each step what must have come of
it: who is in with which role, who has which affiliation, what the subject is, what the archive has,
and whether what was asked was allowed.

MUSTER_MODEL_SEED and MUSTER_MODEL_STEPS run another sequence, or a longer one."""
import os
import random

import pytest

from harness import muc, xml
from harness.client import until
from harness.muc import Room, item
from rooms.test_archive import Page

SEEDS = [int(s) for s in os.environ.get("MUSTER_MODEL_SEED", "1 2 3").split()]
STEPS = int(os.environ.get("MUSTER_MODEL_STEPS", "70"))
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank")
RANK = ("outcast", "none", "member", "admin", "owner")
ROLES = ("none", "visitor", "participant", "moderator")
OPEN = {"muc.message-rate": "none", **muc.owners("anonymous", "self-add")}


class Model:
    """What the room is to be like (XEP-0045 §5)."""

    def __init__(self):
        self.aff = {name: "none" for name in NAMES} | {"alice": "owner"}
        self.here, self.voice = {}, {}  # name: [nick, role]; name: (role, affiliation)
        self.moderated = self.members_only = self.exists = False
        self.subject, self.said = "", []

    def due(self, name):
        aff = self.aff[name]
        if aff == "outcast" or (self.members_only and aff == "none"):
            return "none"
        if aff in ("owner", "admin"):
            return "moderator"
        return "visitor" if self.moderated and aff == "none" else "participant"

    def enter(self, name, nick):
        if self.aff[name] == "outcast":
            return "forbidden"
        if self.due(name) == "none":
            return "registration-required"
        if any(n == nick for other, (n, _) in self.here.items() if other != name):
            return "conflict"
        role = self.due(name)
        kept = self.voice.pop(name, None)
        if kept and self.moderated and kept[1] == self.aff[name]:
            role = kept[0]
        self.here[name] = [nick, role]
        return None

    def leave(self, name):
        _, role = self.here.pop(name)
        self.voice.pop(name, None)
        if self.moderated and role != self.due(name) and role in ("visitor", "participant"):
            self.voice[name] = (role, self.aff[name])

    def affiliate(self, name, to):
        was, before = self.aff[name], self.due(name)
        self.aff[name] = to
        if name not in self.here or was == to:
            return
        role, due = self.here[name][1], self.due(name)
        if RANK.index(to) > RANK.index(was):
            role = max(role, due, key=ROLES.index)
        elif role == before or due == "none":
            role = due
        self.here[name][1] = role
        if role == "none":
            del self.here[name]

    def configure(self, moderated, members_only):
        closes = members_only and not self.members_only
        self.moderated, self.members_only = moderated, members_only
        for name in [n for n in self.here if closes and self.aff[n] == "none"]:
            del self.here[name]


class World:
    """The server, the clients, and one room that all is done to."""

    def __init__(self, make_server, seed):
        self.rng, self.model, self.trace = random.Random(seed), Model(), []
        self.server = make_server(*NAMES, settings=OPEN, workers=3,
                                  why="they talk faster than people")
        self.room = Room("stage")
        self.clients = {}
        for name in NAMES:
            self.log_in(name)
        self.create()

    def log_in(self, name):
        client = self.clients[name] = self.server.client(name, "r")
        client.enable_sm()
        self.count(client, 0)

    @staticmethod
    def count(client, sent):
        """Counts the stanzas that it sends: each is one call."""
        client.sent, send = sent, client.send

        def counted(text):
            client.sent += not text.startswith(("<r ", "<a "))
            send(text)
        client.send = counted

    def create(self):
        self.room.create(self.clients["alice"], "alice", persistentroom=True)
        self.model = Model()
        self.model.exists = True
        self.model.here["alice"] = ["alice", "moderator"]

    def entered_or_not(self, name, nick):
        """None, or the condition of the error."""
        client = self.clients[name]
        self.room.flush(client)
        client.inbox.clear()
        self.room.knock(client, nick)
        answer = client.expect(lambda e: e.tag.endswith("}presence") and (
            e.get("type") == "error" or 110 in muc.codes(e)))
        self.room.flush(client)
        return xml.condition(answer) if answer.get("type") == "error" else None

    # --- what they do ---

    def step(self):
        """One thing that chance chooses."""
        kinds = {"enter": 8, "leave": 4, "rename": 2, "say": 6, "subject": 2, "whisper": 3,
                 "affiliate": 5, "role": 4, "configure": 3, "show": 2, "resume": 2, "vanish": 2,
                 "destroy": 0.4, "kill": 0.7, "restart": 0.7}
        kind = self.rng.choices(list(kinds), list(kinds.values()))[0]
        name = self.rng.choice(NAMES)
        self.trace.append((kind, name))
        getattr(self, kind)(name)

    def enter(self, name):
        if name in self.model.here:
            return
        nick = self.rng.choice((name, name, self.rng.choice(NAMES)))
        expected = self.model.enter(name, nick)
        assert self.entered_or_not(name, nick) == expected

    def leave(self, name):
        if name not in self.model.here:
            return
        nick = self.model.here[name][0]
        assert self.room.leave(self.clients[name], nick).gone
        self.model.leave(name)

    def rename(self, name):
        if name not in self.model.here:
            return
        was, role = self.model.here[name]
        nick = self.rng.choice((*NAMES, "someone"))
        if nick == was:
            return
        taken = any(n == nick for n, _ in self.model.here.values())
        silent = role == "visitor" and self.model.moderated
        client = self.clients[name]
        self.room.flush(client)
        client.inbox.clear()
        client.send(f"<presence to='{self.room.at(nick)}'/>")
        self.room.flush(client)
        errors = [xml.condition(e) for e in client.inbox if e.get("type") == "error"]
        assert errors == (["conflict"] if taken else ["not-acceptable"] if silent else [])
        if not errors:
            self.model.here[name][0] = nick

    def may_speak(self, name):
        if name not in self.model.here:
            return "not-acceptable"
        role = self.model.here[name][1]
        return "forbidden" if self.model.moderated and role == "visitor" else None

    def say(self, name):
        text, refused = f"m{len(self.trace)}", self.may_speak(name)
        ident = self.room.say(self.clients[name], text)
        if refused:
            assert self.room.message_error(self.clients[name], ident)[0] == refused
            return
        for other in self.model.here:
            self.room.expect_body(self.clients[other], self.model.here[name][0], text)
        self.model.said.append(text)

    def subject(self, name):
        text, refused = f"s{len(self.trace)}", self.may_speak(name)
        if not refused and self.model.here[name][1] == "visitor":
            refused = "forbidden"
        ident = self.room.set_subject(self.clients[name], text)
        if refused:
            assert self.room.message_error(self.clients[name], ident)[0] == refused
            return
        for other in self.model.here:
            self.room.expect_subject(self.clients[other], self.model.here[name][0], text)
        self.model.subject = text

    def whisper(self, name):
        to = self.rng.choice(NAMES)
        nick = self.model.here[to][0] if to in self.model.here else "nobody"
        text = f"w{len(self.trace)}"
        ident = self.room.whisper(self.clients[name], nick, text)
        if name not in self.model.here or to not in self.model.here:
            assert self.room.message_error(self.clients[name], ident)[0] == (
                "not-acceptable" if name not in self.model.here else "item-not-found")
        else:
            self.room.expect_body(self.clients[to], self.model.here[name][0], text, "chat")

    def affiliate(self, name):
        """By the owner, of anybody else; by others it is forbidden."""
        by = self.rng.choice(("alice", "alice", "alice", *NAMES))
        to = self.rng.choice(("none", "member", "admin", "outcast", "member", "none"))
        if name in ("alice", by) or self.model.aff[by] == "admin":
            return
        edit = item(jid=f"{name}@localhost", affiliation=to)
        if by != "alice":
            assert self.room.denied(self.clients[by], "set", edit)[0] == "forbidden"
            return
        self.room.change(self.clients[by], edit)
        self.model.affiliate(name, to)

    def role(self, name):
        """A kick, or voice given or taken; moderators are left alone."""
        by = self.rng.choice(list(self.model.here) or [None])
        if by is None or name not in self.model.here or by == name:
            return
        nick, was = self.model.here[name]
        to = self.rng.choice(("none", "visitor", "participant"))
        if was == "moderator":
            return
        edit = item(nick=nick, role=to)
        if self.model.here[by][1] != "moderator":
            assert self.room.denied(self.clients[by], "set", edit)[0] == "forbidden"
            return
        self.room.change(self.clients[by], edit)
        if to == "none":
            del self.model.here[name]
        else:
            self.model.here[name][1] = to

    def configure(self, name):
        fields = {"moderatedroom": self.rng.random() < 0.5, "membersonly": self.rng.random() < 0.3}
        reply = self.room.try_configure(self.clients[name], fields)
        if self.model.aff[name] != "owner":
            assert xml.condition(reply) == "forbidden"
            return
        assert reply.get("type") == "result", xml.canonical(reply)
        self.model.configure(fields["moderatedroom"], fields["membersonly"])

    def show(self, name):
        if name not in self.model.here:
            return
        text = f"p{len(self.trace)}"
        self.clients[name].send(f"<presence to='{self.room.at(self.model.here[name][0])}'>"
                                f"<show>away</show><status>{text}</status></presence>")
        for other in self.model.here:
            self.room.expect(self.clients[other], "presence", self.model.here[name][0],
                             lambda e: e.findtext(f"{{{xml.CLIENT}}}status") == text)

    def resume(self, name):
        """The network fails for a moment; the occupant stays."""
        old = self.clients[name]
        self.settle(name)
        old.cut()
        self.take_over(name, old)

    def take_over(self, name, old):
        client = self.server.connect(name)
        answer = client.take_over(old)
        assert answer.tag == f"{{{xml.SM}}}resumed", xml.canonical(answer)
        assert int(answer.get("h")) == old.sent
        self.clients[name] = client
        client.acked = old.sent
        self.count(client, old.sent)

    def vanish(self, name):
        """A session ends, and another one of the same user comes, which is not in the room."""
        self.clients[name].close()
        if name in self.model.here:
            self.model.leave(name)
        self.log_in(name)

    def settle(self, name):
        """All that it sent is acknowledged: a crash must not undo it."""
        client = self.clients[name]

        def acknowledged():
            client.request_ack()
            client.pump(0.05)
            return client.acked == client.sent
        until("the acknowledgement of all", acknowledged)
        client.ack()

    def kill(self, _):
        for name in NAMES:
            self.settle(name)
        self.server.kill()
        self.server.start()
        self.model.here, self.model.voice = {}, {}
        for name in NAMES:
            self.log_in(name)

    def restart(self, _):
        for name in NAMES:
            self.settle(name)
        old = dict(self.clients)
        self.server.stop()
        self.server.start()
        self.model.voice = {}
        for name in NAMES:
            self.take_over(name, old[name])

    def destroy(self, name):
        reply = self.room.destroy(self.clients[name])
        if self.model.aff[name] != "owner":
            assert xml.condition(reply) == "forbidden"
            return
        assert reply.get("type") == "result"
        for client in self.clients.values():
            self.room_is_gone(client)
        self.create()

    @staticmethod
    def room_is_gone(client):
        client.ping()
        client.inbox.clear()

    # --- what must have come of it ---

    def check(self):
        model, room = self.model, self.room
        here = {row["jid"].split("@")[0]: [row["nick"], row["role"]]
                for row in self.server.rows("room", "occupants", room.jid)}
        assert here == model.here
        rows = self.server.rows("room", "affiliations", room.jid)
        affiliations = {row["jid"].split("@")[0]: row["affiliation"] for row in rows}
        assert affiliations == {n: a for n, a in model.aff.items() if a != "none"}

    def check_all(self):
        """The archive, and the history that an entering user gets."""
        self.check()
        watcher = self.clients["alice"]
        found, last = [], ""
        while True:
            page = Page(watcher, self.room,
                        page=f"<max>100</max>{f'<after>{last}</after>' if last else ''}")
            found += [body for body in page.bodies if body is not None]
            last = page.last or last
            if page.complete:
                break
        assert found == self.model.said
        if "alice" not in self.model.here:
            self.enter_as("alice")
        got = self.room.enter(watcher, self.model.here["alice"][0])
        assert (got.subject.findtext(f"{{{xml.CLIENT}}}subject") or "") == self.model.subject
        others = {n: role for who, (n, role) in self.model.here.items() if who != "alice"}
        assert {nick: seen.role for nick, seen in got.others.items()} == others

    def enter_as(self, name):
        nick = next(n for n in (*NAMES, "last") if all(n != m[0] for m in self.model.here.values()))
        assert self.model.enter(name, nick) is None
        assert self.entered_or_not(name, nick) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_room_is_what_the_model_says(make_server, seed):
    world = World(make_server, seed)
    for step in range(STEPS):
        try:
            world.step()
            world.check()
        except Exception as wrong:
            raise AssertionError(f"seed {seed}, step {step}: {world.trace[-12:]}") from wrong
    world.check_all()
