"""A device of the model on a real connection: what it sends, and what it has seen."""
import contextlib
import select

from harness import xml
from harness.bosh import Bosh
from harness.muc import codes, is_subject, split, user
from harness.registration import CANCEL, form
from harness.websocket import WebSocket
from together.world import ON, SERVICE

CARBONS = "{urn:xmpp:carbons:2}"
FORWARD = "{urn:xmpp:forward:0}forwarded"
DELAY = "{urn:xmpp:delay}delay"
ROSTER = "jabber:iq:roster"
UPDATE = "{vcard-temp:x:update}"
BODY, SHOW, STATUS = (f"{{{xml.CLIENT}}}{name}" for name in ("body", "show", "status"))


class Wrong(AssertionError):
    """Something that no client may ever see."""


def dial(server, device):
    """A connection of the transport of this device, its stream open."""
    name = device.account.name
    password = device.account.password
    if device.transport == "tcp":
        return server.connect(name, password=password)
    kind = WebSocket if device.transport == "websocket" else Bosh
    client = kind(("127.0.0.1", server.https_port), "localhost", name, password, tls=True)
    server.clients.append(client)
    client.open()
    return client


class Live:
    """`presence` {full JID: (show, status, photo)}, `rooms` {JID: [occupants, subject]}, `roster`,
    `messages` {text: [form, ...]} in the order of arrival, `errors`, `requests`."""

    def __init__(self, server, device):
        self.server, self.device, self.client = server, device, None
        self.asked = 0
        self.reset()

    def reset(self):
        self.presence, self.rooms, self.roster = {}, {}, {}
        self.messages, self.errors, self.requests = {}, set(), []
        self.order = []  # numbers, in the order of arrival; without what came late
        self.refusals = []  # presence errors
        self.news = set()  # announcements
        self.ids = {}  # text of a message in a room: its id in the room's archive
        self.sent = []  # stanzas that the server has not acknowledged yet
        self.done = 0  # how many it has
        self.told = 0  # stanzas of the server that this has acknowledged

    # --- connection ---

    def connect(self):
        device = self.device
        self.reset()
        client = self.client = dial(self.server, device)
        client.login(resource=device.name)
        assert client.jid == device.jid, client.jid
        if device.sm:
            client.enable_sm()
        if device.carbons:
            self.iq("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
        answer = self.iq("get", f"<query xmlns='{ROSTER}'/>")
        for item in answer.iter(f"{{{ROSTER}}}item"):
            self._roster_item(item)

    def resume(self):
        """A new connection for the old session; what the server did not handle is sent again."""
        old, device = self.client, self.device
        if device.state == ON:
            old.cut()
        client = dial(self.server, device)
        answer = client.take_over(old)
        assert answer.tag.endswith("resumed"), f"{device}: {xml.canonical(answer)}"
        client.sm_on, client.inbox = True, old.inbox + client.inbox
        self.client = client
        self._acknowledged(int(answer.get("h")))
        self.told = client.h
        for text in self.sent:
            client.send(text)

    def _acknowledged(self, h):
        del self.sent[:h - self.done]
        self.done = h

    def cut(self):
        """The network is gone for the client; the server learns of it before anybody goes on."""
        self.client.cut()

    def send(self, text):
        """A stanza, remembered until it is acknowledged."""
        if self.device.sm:
            self.sent.append(text)
        self.polite()
        self.client.send(text)

    def polite(self):
        """With BOSH no more requests are under way than the server has agreed to."""
        client = self.client
        while isinstance(client, Bosh) and len(client.pending) > 1 and not client.eof:
            client.pump(client.timeout)

    def ask(self, kind, inner, to=None):
        """A request; what is returned names its answer."""
        self.asked += 1
        ident = f"q{self.asked}"
        at = f" to='{to}'" if to else ""
        self.send(f"<iq type='{kind}' id='{ident}'{at}>{inner}</iq>")
        return ident

    def answer(self, ident):
        client = self.client
        return client.wait(f"answer to {ident}", lambda: client._take(
            lambda e: e.tag == f"{{{xml.CLIENT}}}iq" and e.get("id") == ident
            and e.get("type") in ("result", "error")))

    def ask_behind(self, addresses):
        """Asks for something at each address, so that the answer comes behind what it was sent."""
        inner = {True: f"<query xmlns='{xml.DISCO_INFO}'/>", False: "<ping xmlns='urn:xmpp:ping'/>"}
        return [(self, self.ask("get", inner[to.endswith(SERVICE)], to)) for to in addresses]

    def iq(self, kind, inner, to=None):
        """A request and its answer."""
        return self.answer(self.ask(kind, inner, to))

    def result(self, kind, inner, to=None):
        reply = self.iq(kind, inner, to)
        assert reply.get("type") == "result", f"{self.device}: {xml.canonical(reply)}"
        return reply

    def remove_account(self):
        """Asks for the end of its account (XEP-0077 §3.2): it is told so, or its stream ends."""
        password = self.device.account.password
        self.send("<iq type='set' id='remove'>"
                  + form(CANCEL, username=self.device.account.name, password=password) + "</iq>")
        self.client.wait("end of the account", lambda: self.client.eof or any(
            e.get("id") == "remove" and e.get("type") == "result" for e in self.client.inbox))

    # --- what it has seen ---

    def read(self):
        """Takes in all that has arrived."""
        client = self.client
        if self.device.state != ON or client is None:
            return
        with contextlib.suppress(ConnectionError):
            while client.pump(0):
                if client.eof:
                    raise Wrong(f"{self.device}: the server closed the connection: "
                                + " ".join(xml.canonical(e)[:300] for e in client.log[-2:]))
        self.look()

    def look(self):
        client = self.client
        if client.acked > self.done:
            self._acknowledged(client.acked)
        taken, client.inbox = client.inbox, []
        for element in taken:
            ns, _, name = element.tag[1:].partition("}")
            if ns == xml.CLIENT:
                getattr(self, f"_{name}")(element)
            elif name not in ("a", "r"):
                raise Wrong(f"{self.device}: unexpected {xml.canonical(element)}")

    def _iq(self, element):
        if element.get("type") in ("result", "error"):
            raise Wrong(f"{self.device}: an answer to nothing: {xml.canonical(element)}")
        for item in element.iter(f"{{{ROSTER}}}item"):
            self._roster_item(item)
        self.send(f"<iq type='result' id='{element.get('id')}'"
                  + (f" to='{element.get('from')}'" if element.get("from") else "") + "/>")

    def _roster_item(self, item):
        if item.get("subscription") == "remove":
            self.roster.pop(item.get("jid"), None)
        else:
            self.roster[item.get("jid")] = item.get("subscription")

    def _presence(self, element):
        sender, kind = element.get("from"), element.get("type")
        if kind == "error":
            self.refusals.append(element)
        elif kind in ("subscribe", "subscribed", "unsubscribe", "unsubscribed"):
            self.requests.append((kind, sender))
        elif split(sender)[0].endswith(f"@{SERVICE}"):
            self._occupant(element, *split(sender))
        elif kind == "unavailable":
            self.presence.pop(sender, None)
        else:
            photo = element.find(f"{UPDATE}x/{UPDATE}photo")
            self.presence[sender] = (element.findtext(SHOW), element.findtext(STATUS),
                                     (photo.text or None) if photo is not None else None)

    def _occupant(self, element, room, nick):
        x = user(element)
        if x is None:
            raise Wrong(f"{self.device}: presence of {room} without muc#user: "
                        + xml.canonical(element))
        item = x.find(f"{{{x.tag[1:].partition('}')[0]}}}item")
        own = 110 in codes(element)
        if element.get("type") == "unavailable":
            if own and 303 not in codes(element):
                self.rooms.pop(room, None)
            elif room in self.rooms:
                self.rooms[room][0].pop(nick, None)
            return
        occupants = self.rooms.setdefault(room, [{}, None])[0]
        occupants[nick] = item.get("affiliation"), item.get("role")

    def _message(self, element, form="direct"):
        if element.get("type") == "error" and form == "direct" and element.get("id"):
            self.errors.add(element.get("id"))
        for way in ("sent", "received"):
            copy = element.find(f"{CARBONS}{way}/{FORWARD}/{{{xml.CLIENT}}}message")
            if copy is not None:
                if split(element.get("from"))[0] != self.device.account.bare:
                    raise Wrong(f"{self.device}: a forged copy: {xml.canonical(element)}")
                self._message(copy, way)
                return
        if element.get("type") == "error":
            return
        room, nick = split(element.get("from"))
        if element.get("type") == "groupchat":
            # history comes before the subject (XEP-0045 §7.2.15); what comes late has a delay, too
            form = "room" if self.rooms.get(room, [{}, None])[1] is not None else "history"
            if is_subject(element):
                self.rooms.setdefault(room, [{}, None])[1] = element.findtext(
                    f"{{{xml.CLIENT}}}subject") or ""
        text = element.findtext(BODY)
        if text is not None and text.startswith("news "):
            self.news.add(text)
        if text is None or not text.startswith("m") or not text[1:].isdigit():
            return
        self.messages.setdefault(text, []).append(form)
        stanza_id = element.find("{urn:xmpp:sid:0}stanza-id")
        if form == "room" and stanza_id is not None:
            self.ids[text] = stanza_id.get("id")
        if form in ("direct", "room") and element.find(DELAY) is None:
            self.order.append(int(text[1:]))

    def forget(self, account):
        """Nothing was heard of that account while it was blocked."""
        for device in account.devices:
            self.presence.pop(device.jid, None)

    # --- does it agree with the model ---

    def differences(self, world):
        """What is not as it must be, in words; empty if all is."""
        device = self.device
        found = []
        if device.available:
            found += self._compare("presence", self._compared(world),
                                   world.expected_presence(device))
        rooms = {jid: (occupants, subject) for jid, (occupants, subject) in self.rooms.items()}
        found += self._compare("rooms", rooms, world.expected_rooms(device))
        found += self._compare("roster", self.roster, world.expected_roster(device))
        return [f"{device}: {text}" for text in found + self._messages_differ()]

    def _compared(self, world):
        hazy = {d.jid for d in world.devices if world.hazy(self.device, d)}
        return {jid: p for jid, p in self.presence.items() if jid not in hazy}

    @staticmethod
    def _compare(what, seen, wanted):
        return [f"{what} of {key}: sees {seen.get(key)}, should see {wanted.get(key)}"
                for key in sorted(seen.keys() | wanted.keys()) if seen.get(key) != wanted.get(key)]

    def _messages_differ(self):
        device, found = self.device, []
        wanted = {m.text: n for m, n in device.must.items()}
        allowed = {m.text: n for m, n in device.may.items()}
        # one that did not get what was addressed to it hands that over to those with a copy, too
        handed = {m.text for m in device.must if m.device not in (None, device)}
        for text in sorted(self.messages.keys() | wanted.keys(), key=lambda t: int(t[1:])):
            # history may repeat it; and what was held until the room was left looks like history
            all_forms = self.messages.get(text, [])
            forms = [f for f in all_forms if f != "history"]
            extra = len(forms) - wanted.get(text, 0)
            if extra < 0 <= len(all_forms) - wanted.get(text, 0):
                extra = 0
            if sorted(forms) == ["direct", "received"] and text in handed:
                extra = 0
            if extra < 0 or extra > allowed.get(text, 0):
                found.append(f"message {text}: came as {forms or 'nothing'}, "
                             f"should come {wanted.get(text, 0)} times")
        errors = {m.text for m in device.errors}
        for text in sorted(self.errors ^ errors):
            found.append(f"error for {text}: {'came' if text in self.errors else 'did not come'}")
        # from one to one: what goes by a room may overtake, or be overtaken (RFC 6120 §10.1)
        senders = {m.number: (m.sender, m.to) for m in device.must}
        for sender in set(senders.values()):
            numbers = [n for n in self.order if senders.get(n) == sender]
            if numbers != sorted(numbers):
                found.append(f"messages of {sender[0]} to {sender[1]} out of order: {numbers}")
        return found

    def confirm(self):
        """With BOSH an answer is confirmed by a request that was sent after it came."""
        if isinstance(self.client, Bosh) and len(self.client.pending) == 1:
            self.client.request()

    def ack(self):
        if self.device.sm and self.device.state == ON and self.told != self.client.h:
            self.told = self.client.h
            self.client.ack()


def wait_input(lives, timeout):
    """Until one of them can be read, or the time is over."""
    poll = select.poll()
    for live in lives:
        if live.device.state == ON:
            socks = [live.client.sock] if not isinstance(live.client, Bosh) else [
                r.sock for r in live.client.pending]
            for sock in socks:
                poll.register(sock, select.POLLIN)
    poll.poll(timeout * 1000)
