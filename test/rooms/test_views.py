"""Whatever happens in a room, all who are in it see the same: each makes a roster of the presence
that it gets, and at the end all rosters are what the room says."""
import random

import pytest

from harness import muc
from harness.muc import Room, Seen, item

NICKS = ["one", "two", "three", "four", "five"]
ROLES = ["visitor", "participant", "moderator"]


class View:
    """What a client knows of the room."""

    def __init__(self, client, room):
        self.client, self.room = client, room
        self.roster, self.nick = {}, None

    def read(self):
        """Takes over the presence that has arrived."""
        left = []
        for e in self.client.inbox:
            if muc.split(e.get("from"))[0] != self.room.jid:
                left.append(e)
            elif e.tag.endswith("}presence") and e.get("type") != "error":
                self.seen(Seen(e))
        self.client.inbox = left

    def seen(self, seen):
        own = 110 in seen.codes
        if own and not seen.gone:
            self.nick = seen.nick
        if seen.gone and own and 303 not in seen.codes:
            self.roster, self.nick = {}, None
        elif seen.gone:
            self.roster.pop(seen.nick, None)
        else:
            self.roster[seen.nick] = (*seen.standing, seen.show, seen.jid)


class Play:
    """A room, its owner, and others who do what chance tells them."""

    def __init__(self, server, seed):
        self.random, self.most = random.Random(seed), 0
        self.room = Room("stage")
        self.owner = View(server.client("owner", "o"), self.room)
        self.room.create(self.owner.client, "owner")
        self.owner.nick, self.shown = "owner", set(ROLES)
        self.owner.roster["owner"] = ("owner", "moderator", None, None)  # create() has read it
        self.views = [View(server.client(f"user{i // 2}", f"r{i}"), self.room) for i in range(8)]

    def presence(self, view, nick, inner="", kind=""):
        view.client.send(f"<presence to='{self.room.at(nick)}'{kind}>{inner}</presence>")

    def step(self):
        pick = self.random.choice
        view, nick = pick(self.views), pick(NICKS)
        jid, owner = view.client.bare, self.owner.client
        act = self.random.randrange(10)
        if act < 3:
            self.presence(view, nick, muc.X)
        elif act == 3:
            self.presence(view, view.nick or nick, kind=" type='unavailable'")
        elif act < 6:
            self.presence(view, nick if act == 4 else view.nick or nick,
                          f"<show>{pick(['away', 'dnd'])}</show>")
        elif act == 6:
            self.room.admin(owner, "set", item(nick=nick, role=pick(["none", *ROLES])))
        elif act == 7:
            self.room.admin(owner, "set", item(
                jid=jid, affiliation=pick(["none", "member", "admin", "outcast", "none"])))
        elif act == 8:
            self.room.try_configure(owner, {
                pick(["moderatedroom", "membersonly"]): pick(["0", "0", "1"])})
        else:
            self.shown = {"moderator", *(r for r in ROLES if self.random.random() < 0.7)}
            self.room.try_configure(owner, {
                "presencebroadcast": sorted(self.shown), "whois": pick(["anyone", "moderators"])})

    def settle(self):
        """Until all that was sent has been heard."""
        clients = [v.client for v in self.views]
        self.room.flush(*clients, self.owner.client, *clients)
        for view in (self.owner, *self.views):
            view.read()

    def truth(self):
        """{nick: (affiliation, role)} of those whose presence is broadcast."""
        return {i["nick"]: (i["affiliation"], role) for role in sorted(self.shown)
                for i in self.room.listed(self.owner.client, role=role)}

    def check(self):
        truth = self.truth()
        for view in (self.owner, *self.views):
            if view.nick is None:
                continue
            found = {nick: known[:2] for nick, known in view.roster.items() if nick != view.nick}
            wanted = {nick: known for nick, known in truth.items() if nick != view.nick}
            assert found == wanted, f"{view.client} as {view.nick}"
            assert view.roster[view.nick]
        rosters = [v.roster for v in self.views if v.nick] + [self.owner.roster]
        self.most = max(self.most, len(rosters))
        for nick in truth:
            shows = {r[nick][2] for r in rosters if nick in r}
            assert len(shows) == 1, f"{nick} is {shows}"

    def nobody_ghost(self):
        """Who thinks that it is in the room is, and who does not is not."""
        for view in self.views:
            here = view.client.iq("get", "<ping xmlns='urn:xmpp:ping'/>",
                                  to=self.room.at(view.nick or "one")).get("type") == "result"
            assert here == (view.nick is not None), view.client


@pytest.mark.parametrize("seed", range(4))
def test_all_see_the_same(make_server, seed):
    server = make_server("owner", *(f"user{i}" for i in range(4)), workers=3, settings={
        **muc.owners("anonymous"), "muc.message-rate": "none", "muc.new-absent-visible": False,
        "c2s.migration": "on" if seed % 2 else "off"}, why="they talk faster than people")
    play = Play(server, seed)
    for _ in range(15):
        for _ in range(12):
            play.step()
        play.settle()
        play.check()
    play.nobody_ghost()
    assert play.most >= 4, "somebody was there"


def test_a_planned_restart_changes_nothing_of_it(make_server):
    server = make_server("owner", *(f"user{i}" for i in range(4)), workers=3, settings={
        **muc.owners("anonymous"), "muc.message-rate": "none", "muc.new-absent-visible": False},
        why="they talk faster than people")
    play = Play(server, 7)
    play.room.configure(play.owner.client, persistentroom=True)
    everybody = (play.owner, *play.views)
    for view in everybody:
        view.client.enable_sm()
    for _ in range(3):
        for _ in range(60):
            play.step()
        play.settle()
        known = [(view.nick, dict(view.roster)) for view in everybody]
        server.restart()
        for view in everybody:
            old, view.client = view.client, server.connect(view.client.name)
            assert view.client.take_over(old).tag.endswith("}resumed")
        play.settle()
        play.check()
        play.nobody_ghost()
        assert [(view.nick, view.roster) for view in everybody] == known
