"""slixmpp in the tests: a client that keeps what arrives until a dialogue expects it, rooms as its
plug-in for XEP-0045 has them, and clients that stay logged in from test to test.

    alice = await Slix(server, "alice", ["xep_0199"]).login()
    message = await alice.expect("message", lambda m: m["body"] == "hello")

    async def test_kick(coven, crone, hag):              # fixtures of conftest.py
        await coven.gather(crone, hag)                   # firstwitch, who owns it, and secondwitch
        await crone.rooms.set_role(coven.jid, "secondwitch", "none")
        assert 307 in codes(await coven.gone(hag, "secondwitch"))
"""
import asyncio
import contextlib
import functools
import socket
import time
import types
from typing import NamedTuple

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from harness import muc, xml
from harness.client import TIMEOUT
from harness.server import Server

NICKS = ("firstwitch", "secondwitch", "thirdwitch", "fourthwitch")


def anything(_):
    return True


class Slix(slixmpp.ClientXMPP):
    """Keeps (event, stanza) of what arrives, in order."""

    EVENTS = ("message", "presence_available")

    def __init__(self, server, name, plugins=(), mechanism="SCRAM-SHA-512"):
        super().__init__(f"{name}@localhost/slix", "secret")
        self.node = server
        self.ca_certs = server.data / "self-signed-cert.pem"
        # 1.8.3 knows the binding of TLS 1.2 alone and still says "y" to a server that offers
        # others, which RFC 5802 §6 has the server refuse: keep it from binding at all.
        if mechanism:
            mechanisms = self["feature_mechanisms"]
            mechanisms.use_mechs = {mechanism}
            mechanisms.sasl_callback = lambda required, optional: {
                **mechanisms._default_credentials(required, optional), "channel_binding": None}
        for plugin in plugins:
            self.register_plugin(plugin)
        self.inbox, self.arrival = [], asyncio.Event()
        self.watch(*self.EVENTS)
        server.clients.append(self)

    def watch(self, *events):
        """Keeps what comes with these events, too."""
        for event in events:
            self.add_event_handler(event, functools.partial(self.arrived, event))

    def arrived(self, event, stanza):
        self.inbox.append((event, stanza))
        self.arrival.set()

    async def login(self, tls="starttls"):
        started = asyncio.get_running_loop().create_future()
        self.add_event_handler("session_start", lambda _: started.set_result(None))
        port = self.node.port("c2s" if tls == "starttls" else "tls", self.boundjid.bare)
        self.connect(("127.0.0.1", port), use_ssl=tls == "direct", force_starttls=False,
                     disable_starttls=tls == "direct")
        await asyncio.wait_for(started, TIMEOUT)
        await self.get_roster()
        self.send_presence()
        return self

    @property
    def sock(self):
        """Common to all clients of a server, so that it can close them at its end."""
        return types.SimpleNamespace(close=self._hang_up)

    def _hang_up(self):
        if self.transport:
            with contextlib.suppress(OSError):  # it was closed before
                self.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    async def expect(self, event, found=anything):
        """The first stanza that matches, of those that came with the event and were not expected
        yet."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            for i, (name, stanza) in enumerate(self.inbox):
                if name == event and found(stanza):
                    del self.inbox[i]
                    return stanza
            self.arrival.clear()
            try:
                await asyncio.wait_for(self.arrival.wait(), deadline - time.monotonic())
            except asyncio.TimeoutError:
                left = "\n".join(f"  {name}: {stanza}"[:600] for name, stanza in self.inbox[-12:])
                raise AssertionError(f"{self.boundjid}: no {event} within {TIMEOUT} s\n"
                                     f"still unexpected:\n{left}") from None

    async def presence_of(self, jid):
        return await self.expect("presence_available", lambda p: p["from"] == jid)

    async def message(self):
        return await self.expect("message")


class Occupant(Slix):
    """With the plug-ins that rooms need; every presence comes with the event any_presence."""

    EVENTS = (*Slix.EVENTS, "groupchat_message", "groupchat_subject", "groupchat_presence",
              "groupchat_message_error", "groupchat_invite", "message_xform")
    PLUGINS = ("xep_0004", "xep_0030", "xep_0045", "xep_0077", "xep_0082")

    def __init__(self, server, name):
        super().__init__(server, name, self.PLUGINS, "PLAIN")
        self.rooms = self["xep_0045"]
        self.register_handler(Callback("Any presence", MatchXPath(f"{{{xml.CLIENT}}}presence"),
                                       functools.partial(self.arrived, "any_presence")))


class Joined(NamedTuple):
    """What a room sent to who entered; `occupants` has oneself, too."""

    own: slixmpp.Presence
    subject: slixmpp.Message
    occupants: list
    history: list

    @property
    def nicks(self):
        return [p["from"].resource for p in self.occupants]

    @property
    def bodies(self):
        return [m["body"] for m in self.history]


def codes(stanza):
    """The status codes of a presence or a message."""
    return stanza["muc"]["status_codes"]


def standing(presence):
    return presence["muc"]["affiliation"], presence["muc"]["role"]


class SlixRoom:
    """A room. Every method takes the client that speaks, or that should hear something."""

    def __init__(self, name):
        self.jid = slixmpp.JID(f"{name}@{muc.service()}")

    def at(self, nick):
        """The address of an occupant."""
        return slixmpp.JID(f"{self.jid}/{nick}")

    # --- to enter, to own ---

    async def join(self, client, nick, **options):
        if self.jid in client.rooms.rooms:  # whose last news must not be taken for the answer
            await self.flush(client)
        return Joined(*await client.rooms.join_muc_wait(self.jid, nick, timeout=TIMEOUT,
                                                        **options))

    async def create(self, client, nick=NICKS[0], **fields):
        """A reserved room by its form, as the plug-in has it."""
        joined = await self.join(client, nick)
        assert {110, 201} <= codes(joined.own) and standing(joined.own) == ("owner", "moderator")
        await self.configure(client, **fields)

    async def configure(self, client, **fields):
        """Sends the whole form back with these fields changed."""
        form = await client.rooms.get_room_config(self.jid)
        form.set_values({k if "#" in k else f"muc#roomconfig_{k}": v for k, v in fields.items()})
        await client.rooms.set_room_config(self.jid, form)

    async def configuration(self, client):
        return (await client.rooms.get_room_config(self.jid))["values"]

    async def gather(self, owner, *others, **fields):
        """A room of the first, whom the others join; what came on the way is forgotten."""
        await self.create(owner, NICKS[0], **fields)
        for client, nick in zip(others, NICKS[1:]):
            await self.join(client, nick)
        await self.forget(owner, *others)

    async def rule(self, owner, admin, other, **fields):
        """The same, of an owner, an admin and somebody else."""
        await self.gather(owner, admin, other, **fields)
        await self.affiliate(owner, admin, "admin")
        await self.forget(owner, admin, other)

    # --- to administer ---

    async def affiliate(self, client, other, affiliation, **more):
        await client.rooms.set_affiliation(self.jid, affiliation, jid=other.boundjid.bare, **more)

    async def items(self, client, **by):
        """The items (attributes as dict, with the reason) of this role= or affiliation=."""
        iq = client.make_iq_get(ito=self.jid)
        for name, value in by.items():
            iq["mucadmin_query"]["item"][name] = value
        found = (await iq.send(timeout=TIMEOUT))["mucadmin_query"]
        return [{**i.xml.attrib, **({"reason": i["reason"]} if i["reason"] else {})}
                for i in found]

    async def change(self, client, *items):
        """Sends changed items, each a dict of attributes and perhaps a reason."""
        iq = client.make_iq_set(ito=self.jid)
        for item in items:
            one = client.rooms.stanza.MUCAdminItem()
            for name, value in item.items():
                one[name] = value
            iq["mucadmin_query"].append(one)
        await iq.send(timeout=TIMEOUT)

    async def register(self, client, nick, **fields):
        """Fills in the form of XEP-0077 and sends it back."""
        asked = await client["xep_0077"].get_registration(self.jid)
        form = asked["register"]["form"]
        form.set_values({"muc#register_roomnick": nick, **fields})
        form["type"] = "submit"
        iq = client.make_iq_set(ito=self.jid)
        iq["register"].append(form)
        await iq.send(timeout=TIMEOUT)

    def answer(self, client, form, values):
        """Submits a form that came in a message, with these values."""
        form.set_values(values)
        form["type"] = "submit"
        message = client.make_message(self.jid)
        message.append(form)
        message.send()

    # --- to speak and to hear ---

    def say(self, client, text):
        client.send_message(self.jid, text, mtype="groupchat")

    def whisper(self, client, nick, text, kind="chat"):
        client.send_message(self.at(nick), text, mtype=kind)

    async def said(self, client, nick, text, kind="groupchat"):
        return await client.expect(
            "groupchat_message" if kind == "groupchat" else "message",
            lambda m: (m["from"], m["body"], m["type"]) == (self.at(nick), text, kind))

    async def subject(self, client, text):
        return await client.expect("groupchat_subject", lambda m: self._mine(m)
                                   and m["subject"] == text)

    async def presence(self, client, nick, found=anything):
        """The next presence of an occupant that matches, of whatever type."""
        return await client.expect("any_presence", lambda p: p["from"] == self.at(nick)
                                   and found(p))

    async def gone(self, client, nick):
        """The presence with which an occupant leaves."""
        return await self.presence(client, nick, lambda p: p["type"] == "unavailable")

    async def heard(self, client, event, found=anything):
        """What comes with an event from the room."""
        return await client.expect(event, lambda s: self._mine(s) and found(s))

    def _mine(self, stanza):
        return stanza["from"].bare == self.jid.bare

    async def error(self, client):
        """The condition of the error to a message sent to the room."""
        return (await self.heard(client, "groupchat_message_error"))["error"]["condition"]

    async def flush(self, *clients):
        """A round trip of each through the room: what the room did for those named earlier has
        arrived at those named later."""
        for client in clients:
            try:
                await client["xep_0030"].get_info(jid=self.jid, timeout=TIMEOUT)
            except IqError:
                pass  # an answer, too

    async def nothing(self, client, event, found=anything, after=()):
        """Nothing that matches has come, nor is on its way from what `after` asked of the room."""
        await self.flush(*after, client)
        left = [s for name, s in client.inbox if name == event and self._mine(s) and found(s)]
        assert not left, f"{client.boundjid}: unexpected {left[0]}"

    async def forget(self, *clients):
        """Drops everything that has come until now."""
        await self.flush(*clients)
        for client in clients:
            client.inbox.clear()


class Company:
    """A server, and clients that stay logged in while tests come and go, each with rooms that no
    other test knows."""

    def __init__(self, runner, folder, settings):
        self.runner = runner
        self.server = Server(folder, settings=settings).start()
        self.clients = {}
        self.rooms = 0

    def client(self, name):
        if name not in self.clients:
            self.server.add_user(name)

            async def login():
                return await Occupant(self.server, name).login("direct")
            self.clients[name] = self.runner.run(login())
        return self.clients[name]

    def room(self):
        self.rooms += 1
        return SlixRoom(f"coven{self.rooms}")

    def leave(self):
        """Everybody leaves all rooms."""
        for client in self.clients.values():
            for room in list(client.rooms.rooms):
                client.send_presence(pto=room, ptype="unavailable")
            client.rooms.rooms.clear()
            client.inbox.clear()
