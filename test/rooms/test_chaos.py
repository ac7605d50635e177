"""Clients that ask rooms for anything, in any order and without waiting: the server stays up, says
the same to all, and leaves nothing behind. Under a sanitizer it is a search for what is used after
it is gone.

MUSTER_CHAOS (3000) is the number of stanzas, MUSTER_CHAOS_SEED their order."""
import os
import random
import time

from harness import muc, xml
from harness.component import Component
from harness.muc import NICK_NODE, Room, item

STANZAS = int(os.environ.get("MUSTER_CHAOS", "3000"))
SEED = int(os.environ.get("MUSTER_CHAOS_SEED", str(time.time_ns() % 1000000)))
OPEN = {"muc.message-rate": "none", "muc.new-self-add": True, **muc.owners("anonymous")}
USERS = ("alice", "bob", "carol", "dave")
DOMAIN = "bots.example.test"
NICKS = ("n1", "n2", "n3", "N1", "ni")
BODY = "<body>hello</body>"


class Chaos:
    """Makes one stanza after the other."""

    def __init__(self, rng, rooms):
        self.rng, self.rooms, self.count = rng, rooms, 0

    def one(self, sender=None):
        rng = self.rng
        self.count += 1
        room = rng.choice(self.rooms)
        kind = rng.choices((self.presence, self.message, self.iq), (4, 3, 6))[0]
        return kind(f" from='{sender}'" if sender else "", room)

    def to(self, room):
        return room.at(self.rng.choice(NICKS)) if self.rng.random() < 0.8 else room.jid

    def jid(self):
        return self.rng.choice([f"{u}@localhost" for u in USERS]
                               + [f"bot0@{DOMAIN}", "x@example.org", "example.org", "localhost"])

    def presence(self, sender, room):
        kind = self.rng.choices(("", " type='unavailable'", " type='error'"), (6, 3, 1))[0]
        inner = self.rng.choice((muc.X, muc.X, "", "<show>away</show>",
                                 f"<x xmlns='{muc.NS}'><history maxstanzas='2'/></x>",
                                 f"<x xmlns='{muc.NS}'><password>p</password></x>"))
        return f"<presence{sender} to='{self.to(room)}'{kind}>{inner}</presence>"

    def message(self, sender, room):
        rng, user = self.rng, muc.USER
        kind = rng.choice(("groupchat", "groupchat", "chat", "normal", "error"))
        inner = rng.choice((
            BODY, BODY, "<subject>s</subject>", "<subject/>",
            f"<x xmlns='{user}'><invite to='{self.jid()}'/><invite to='y@localhost'/></x>",
            f"<x xmlns='{user}'><decline to='{self.jid()}'><reason>no</reason></decline></x>",
            muc.submit(muc.REQUEST, {"muc#role": "participant"}),
            muc.submit(muc.REQUEST, {"muc#role": "participant", "muc#request_allow": True,
                                     "muc#roomnick": rng.choice(NICKS)}),
            muc.submit(muc.REGISTER, {"muc#register_allow": True, "muc#register_jid": self.jid(),
                                      "muc#register_roomnick": rng.choice(NICKS)}),
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
            "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            "</error>"))
        return f"<message{sender} to='{self.to(room)}' type='{kind}' id='m'>{inner}</message>"

    def config(self):
        fields = {"roomdesc": str(self.count), "persistentroom": self.rng.random() < 0.5,
                  "membersonly": self.rng.random() < 0.2, "moderatedroom": self.rng.random() < 0.3,
                  "whois": self.rng.choice(("anyone", "moderators"))}
        return muc.submit(muc.CONFIG, dict(self.rng.sample(sorted(fields.items()), 3)),
                          "muc#roomconfig_")

    def iq(self, sender, room):
        rng = self.rng
        owner = f"<query xmlns='{muc.OWNER}'>{{}}</query>"
        admin = f"<query xmlns='{muc.ADMIN}'>{{}}</query>"
        edit = item(jid=self.jid(), nick=rng.choice((None, *NICKS)), affiliation=rng.choice(
            ("owner", "owner", "admin", "member", "none", "outcast")))
        role = item(nick=rng.choice(NICKS), role=rng.choice(
            ("moderator", "participant", "visitor", "none")))
        register = "<query xmlns='jabber:iq:register'>{}</query>"
        kind, inner = rng.choice((
            ("set", owner.format(self.config())), ("set", owner.format(self.config())),
            ("set", owner.format(muc.submit(muc.CONFIG, {}))),
            ("set", owner.format("<destroy/>" if rng.random() < 0.4 else "")),
            ("set", owner.format(f"<x xmlns='{muc.DATA}' type='cancel'/>")),
            ("get", owner.format("")),
            ("set", admin.format(edit)), ("set", admin.format(edit)), ("set", admin.format(role)),
            ("set", admin.format(role + edit.replace("nick", "nock"))),
            ("get", admin.format(item(affiliation="member"))),
            ("get", admin.format(item(role="participant"))),
            ("set", register.format(muc.submit(
                muc.REGISTER, {"muc#register_roomnick": rng.choice(NICKS)}))),
            ("set", register.format("<remove/>")), ("get", register.format("")),
            ("set", "<vCard xmlns='vcard-temp'><FN>f</FN></vCard>"),
            ("get", "<vCard xmlns='vcard-temp'/>"), ("get", "<ping xmlns='urn:xmpp:ping'/>"),
            ("set", "<query xmlns='urn:xmpp:mam:2'/>"),
            ("get", f"<query xmlns='{xml.DISCO_INFO}' node='{NICK_NODE}'/>"),
            ("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>"), ("result", "")))
        to = room.jid if rng.random() < 0.8 else self.to(room)
        return f"<iq{sender} to='{to}' type='{kind}' id='q{self.count}'>{inner}</iq>"


def test_anything_at_any_time(make_server):
    print(f"MUSTER_CHAOS_SEED={SEED}")
    rng = random.Random(SEED)
    server = make_server(*USERS, settings=OPEN, workers=3, component=True,
                         why="they talk faster than people")
    server.ctl("component", "add", DOMAIN, "--secret", "a-secret-of-bots")
    bots = Component(server, DOMAIN, "a-secret-of-bots")
    rooms = [Room(f"r{i}") for i in range(3)]
    chaos, hibernating = Chaos(rng, rooms), 0
    clients = [server.client(name, f"c{i}") for name in USERS for i in range(2)]
    for step in range(STANZAS // 20):
        client = rng.choice(clients)
        client.send("".join(chaos.one() for _ in range(20)))
        bots.send("".join(chaos.one(f"bot{rng.randrange(4)}@{DOMAIN}/{rng.randrange(2)}")
                          for _ in range(5)))
        for one in (bots, *clients):
            one.pump(0)
            one.inbox.clear()
        if step % 20 == 19:  # a client disappears, another comes
            gone = rng.choice(clients)
            clients.remove(gone)
            cut = rng.random() < 0.5
            hibernating += gone.sm_on and cut
            (gone.cut if cut else gone.close)()
            clients.append(server.client(gone.name, f"d{step}"))
            if rng.random() < 0.5:
                clients[-1].enable_sm()
    for client in clients:
        client.ping()
        client.close()
    bots.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=muc.service(),
                **{"from": f"bot0@{DOMAIN}"})
    bots.close()
    quiet = server.client("alice", "last")
    room = Room("after").create(quiet, "alice")
    room.say(quiet, "still there")
    room.expect_body(quiet, "alice", "still there")
    for number, room in enumerate(rooms):  # nobody is left who is not there
        room.knock(quiet, f"last{number}", password="p")
        answer = room.expect(quiet, "presence", f"last{number}")
        if answer.get("type") != "error":
            others = {jid for jid, _ in muc.disco_items(quiet, room.jid)}
            assert len(others - {room.at(f"last{number}")}) <= hibernating, others
