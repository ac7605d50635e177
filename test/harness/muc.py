"""Rooms (XEP-0045) as the tests use them: an address, and what clients say to it and hear of it.

    cave = Room("cave")
    cave.create(alice, "firstwitch", membersonly=True)      # reserved; instant without fields
    entered = cave.enter(bob, "secondwitch")                # others, own, history, subject
    cave.say(bob, "Eye of newt")
    cave.expect_body(alice, "secondwitch", "Eye of newt")
    assert cave.presence(alice, "secondwitch").role == "participant"
"""
import uuid
from xml.sax.saxutils import escape, quoteattr

import pytest

from harness import xml

NS = "http://jabber.org/protocol/muc"
USER = NS + "#user"
ADMIN = NS + "#admin"
OWNER = NS + "#owner"
CONFIG = NS + "#roomconfig"
INFO = NS + "#roominfo"
REGISTER = NS + "#register"
REQUEST = NS + "#request"
DATA = "jabber:x:data"
OCCUPANT_ID = "urn:xmpp:occupant-id:0"
HATS = "urn:xmpp:hats:0"
NICK_NODE = "x-roomuser-item"
ROOMS = "urn:muster:rooms:0"
ROOM_ID_MIN = 1 << 40  # in the database; below are accounts
FOLLOW = "{http://tigase.org/protocol/muc}offline"
X = f"<x xmlns='{NS}'/>"


def owners(*what):
    """Settings that let owners of rooms change what only administrators may by default."""
    return {f"muc.owner-{one}": True for one in what}


def owners_may(*what):
    """The same as a mark of a test."""
    return pytest.mark.settings(owners(*what), why="by default owners may not change it")


def split(jid):
    """(bare JID, resource) of a full JID."""
    bare, _, resource = (jid or "").partition("/")
    return bare, resource


def user(element):
    """The <x/> of muc#user in a stanza; there is never more than one."""
    found = element.findall(f"{{{USER}}}x")
    assert len(found) <= 1, xml.canonical(element)
    return found[0] if found else None


def codes(element):
    """The status codes of a presence or message."""
    x = user(element)
    return set() if x is None else {int(s.get("code")) for s in x.findall(f"{{{USER}}}status")}


class Seen:
    """A presence of an occupant, taken apart."""

    def __init__(self, element):
        self.element = element
        self.room, self.nick = split(element.get("from"))
        self.type = element.get("type")
        self.codes = codes(element)
        x = user(element)
        assert x is not None, f"presence of an occupant without muc#user: {xml.canonical(element)}"
        self.items = x.findall(f"{{{USER}}}item")  # a service may name one for each session
        assert self.items, xml.canonical(element)
        self.item = self.items[0]
        self.affiliation = self.item.get("affiliation")
        self.role = self.item.get("role")
        self.jid = self.item.get("jid")
        self.new_nick = self.item.get("nick")
        self.reason = self.item.findtext(f"{{{USER}}}reason")
        self.actor = self.item.find(f"{{{USER}}}actor")
        self.destroy = x.find(f"{{{USER}}}destroy")
        self.status = element.findtext(f"{{{xml.CLIENT}}}status")
        self.show = element.findtext(f"{{{xml.CLIENT}}}show")

    def __repr__(self):
        return xml.canonical(self.element)

    @property
    def standing(self):
        return self.affiliation, self.role

    @property
    def gone(self):
        return self.type == "unavailable"


class Entered:
    """Everything that a room sent to a user who entered."""

    def __init__(self):
        self.others, self.own, self.history, self.subject = {}, None, [], None
        self.absent = {}  # members that are shown though they are not in the room

    @property
    def bodies(self):
        return [m.findtext(f"{{{xml.CLIENT}}}body") for m in self.history]


def is_subject(element):
    """A subject is a subject without a body or a thread (§8.1)."""
    return (element.tag == f"{{{xml.CLIENT}}}message"
            and element.find(f"{{{xml.CLIENT}}}subject") is not None
            and element.find(f"{{{xml.CLIENT}}}body") is None
            and element.find(f"{{{xml.CLIENT}}}thread") is None)


def attributes(**values):
    return "".join(f" {k}={quoteattr(str(v))}" for k, v in values.items() if v is not None)


def item(reason=None, **values):
    """<item/> of muc#admin."""
    inner = f"<reason>{escape(reason)}</reason>" if reason else ""
    return f"<item{attributes(**values)}>{inner}</item>"


def field(var, value):
    """One field of a submitted form; a list has several values, a bool is 1 or 0."""
    values = value if isinstance(value, (list, tuple, set)) else [value]
    texts = [("1" if v else "0") if isinstance(v, bool) else str(v) for v in values]
    inner = "".join(f"<value>{escape(v)}</value>" for v in texts)
    return f"<field var={quoteattr(var)}>{inner}</field>"


def submit(form_type, fields, prefix=""):
    """A submitted form; names without '#' and '{' get the prefix."""
    inner = "".join(field(k if "#" in k or "{" in k else prefix + k, v)
                    for k, v in fields.items())
    return f"<x xmlns='{DATA}' type='submit'>{field('FORM_TYPE', form_type)}{inner}</x>"


def form_values(form):
    """{var: value, or list of values where the field may have several} of a form element."""
    found = {}
    for one in form.iter(f"{{{DATA}}}field"):
        values = [v.text or "" for v in one.findall(f"{{{DATA}}}value")]
        multi = (one.get("type") or "").endswith("-multi")
        found[one.get("var")] = values if multi else (values[0] if values else None)
    return found


def disco_info(client, to, node=None):
    """(identities as (category, type, name), features, forms by FORM_TYPE)."""
    at = f" node={quoteattr(node)}" if node else ""
    info = client.result("get", f"<query xmlns='{xml.DISCO_INFO}'{at}/>", to=to)
    identities = [(i.get("category"), i.get("type"), i.get("name"))
                  for i in info.iter(f"{{{xml.DISCO_INFO}}}identity")]
    forms = {form_values(f)["FORM_TYPE"]: form_values(f) for f in info.iter(f"{{{DATA}}}x")}
    return identities, {f.get("var") for f in info.iter(f"{{{xml.DISCO_INFO}}}feature")}, forms


def disco_items(client, to, inner=""):
    """[(jid, name)]"""
    items = client.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'>{inner}</query>", to=to)
    return [(i.get("jid"), i.get("name")) for i in items.iter(f"{{{xml.DISCO_ITEMS}}}item")]


def service(domain="localhost"):
    return f"conference.{domain}"


class Room:
    """A room. Every method takes the client that speaks, or that should hear something."""

    def __init__(self, name="cave", domain="localhost"):
        self.name = name
        self.jid = f"{name}@{service(domain)}"

    def __str__(self):
        return self.jid

    def at(self, nick):
        """The address of an occupant."""
        return f"{self.jid}/{nick}"

    # --- to enter and to leave ---

    def knock(self, client, nick, password=None, history=None, inner=""):
        """Asks to enter, and does not wait; `history` are attributes of <history/>."""
        x = f"<password>{escape(password)}</password>" if password is not None else ""
        if history is not None:
            x += f"<history{attributes(**history)}/>"
        to = quoteattr(self.at(nick) if nick else self.jid)
        client.send(f"<presence to={to}><x xmlns='{NS}'>{x}</x>{inner}</presence>")

    def entered(self, client):
        """What comes until the subject, which must be in the order of §7.1: others, then the own
        presence, history, subject."""
        got = Entered()
        while got.subject is None:
            element = client.expect(lambda e: split(e.get("from"))[0] == self.jid
                                    and not e.tag.endswith("}iq"))
            assert element.get("type") != "error", xml.canonical(element)
            if element.tag.endswith("}presence"):
                assert got.own is None and not got.history, xml.canonical(element)
                seen = Seen(element)
                if 110 in seen.codes:
                    got.own = seen
                else:
                    others = got.absent if seen.gone else got.others
                    assert seen.nick not in others, f"twice: {seen}"
                    others[seen.nick] = seen
                continue
            assert got.own is not None, f"before the own presence: {xml.canonical(element)}"
            if is_subject(element):
                got.subject = element
            else:
                got.history.append(element)
        return got

    def enter(self, client, nick, **options):
        """Enters the room and returns what it sent; stanzas that came from the room before are
        dropped."""
        self.flush(client)
        client.inbox = [e for e in client.inbox if split(e.get("from"))[0] != self.jid]
        self.knock(client, nick, **options)
        return self.entered(client)

    def refused(self, client, nick, **options):
        """Asks to enter and is refused, by what it asked for: (condition, type)."""
        self.knock(client, nick, **options)
        return self.presence_error(client, f"<presence type='error'>{X}</presence>")

    def presence_error(self, client, template="<presence type='error'/>"):
        """(condition, type) of an error to a presence sent to the room."""
        element = client.expect(lambda e: e.tag.endswith("}presence") and e.get("type") == "error"
                                and split(e.get("from"))[0] == self.jid)
        assert xml.matches(element, template), xml.canonical(element)
        return xml.condition(element), element.find(f"{{{xml.CLIENT}}}error").get("type")

    def leave(self, client, nick, status=None):
        """Leaves, and waits for the room's confirmation."""
        inner = f"<status>{escape(status)}</status>" if status else ""
        client.send(f"<presence to={quoteattr(self.at(nick))} type='unavailable'>{inner}"
                    "</presence>")
        return self.gone(client, nick)

    # --- to own ---

    def create(self, client, nick, **fields):
        """A new room: instant, or reserved with these fields of its form."""
        got = self.enter(client, nick)
        assert {110, 201} <= got.own.codes, got.own
        assert got.own.standing == ("owner", "moderator"), got.own
        self.configure(client, **fields)
        return self

    def gather(self, **there):
        """A new room in which clients are by these nicknames; the first one owns it."""
        (first, owner), *others = there.items()
        self.create(owner, first)
        for nick, client in others:
            self.enter(client, nick)
        self.forget(*there.values())
        return self

    def rule(self, owner, admin, witch):
        """The same, of an owner, an admin and a participant."""
        self.create(owner, "owner")
        self.set_affiliation(owner, admin.bare, "admin")
        self.enter(admin, "admin")
        self.enter(witch, "witch")
        self.forget(owner, admin, witch)
        return self

    def owner(self, client, kind, inner):
        return client.iq(kind, f"<query xmlns='{OWNER}'>{inner}</query>", to=self.jid)

    def configuration(self, client):
        """The values of the form that the room offers its owner."""
        reply = self.owner(client, "get", "")
        assert reply.get("type") == "result", xml.canonical(reply)
        form = reply.find(f".//{{{DATA}}}x[@type='form']")
        return form_values(form)

    def try_configure(self, client, fields):
        """Submits a configuration and returns the answer."""
        form = (submit(CONFIG, fields, "muc#roomconfig_") if fields
                else f"<x xmlns='{DATA}' type='submit'/>")
        return self.owner(client, "set", form)

    def configure(self, client, **fields):
        reply = self.try_configure(client, fields)
        assert reply.get("type") == "result", xml.canonical(reply)

    def cancel(self, client):
        return self.owner(client, "set", f"<x xmlns='{DATA}' type='cancel'/>")

    def destroy(self, client, inner="", jid=None):
        return self.owner(client, "set", f"<destroy{attributes(jid=jid)}>{inner}</destroy>")

    # --- to register ---

    def try_register(self, client, nick, **fields):
        """The answer to a submitted registration; follow=True: messages while not in the room."""
        if "follow" in fields:
            fields[FOLLOW] = fields.pop("follow")
        form = submit(REGISTER, {"roomnick": nick, **fields}, "muc#register_")
        return client.iq("set", f"<query xmlns='jabber:iq:register'>{form}</query>", to=self.jid)

    def register(self, client, nick, **fields):
        reply = self.try_register(client, nick, **fields)
        assert reply.get("type") == "result", xml.canonical(reply)

    # --- to administer ---

    def admin(self, client, kind, *items):
        """An IQ of muc#admin with these items, and its answer."""
        return client.iq(kind, f"<query xmlns='{ADMIN}'>{''.join(items)}</query>", to=self.jid)

    def change(self, client, *items):
        reply = self.admin(client, "set", *items)
        assert reply.get("type") == "result", xml.canonical(reply)

    def denied(self, client, kind, *items):
        """(condition, type) of the error that such an IQ brings."""
        reply = self.admin(client, kind, *items)
        assert reply.get("type") == "error", xml.canonical(reply)
        return xml.condition(reply), reply.find(f"{{{xml.CLIENT}}}error").get("type")

    def set_role(self, client, nick, role, reason=None):
        self.change(client, item(nick=nick, role=role, reason=reason))

    def set_affiliation(self, client, jid, affiliation, reason=None, nick=None):
        self.change(client, item(jid=jid, affiliation=affiliation, reason=reason, nick=nick))

    def listed(self, client, **by):
        """The items (attributes as dict) with this role= or affiliation=."""
        reply = self.admin(client, "get", item(**by))
        assert reply.get("type") == "result", xml.canonical(reply)
        return [dict(i.attrib) for i in reply.iter(f"{{{ADMIN}}}item")]

    def jids(self, client, affiliation):
        """The bare JIDs of an affiliation."""
        return {i["jid"] for i in self.listed(client, affiliation=affiliation)}

    # --- to speak ---

    def send(self, client, inner, nick=None, kind="groupchat", ident=None):
        """A message with any content; returns its id."""
        ident = ident or uuid.uuid4().hex[:12]
        to = quoteattr(self.at(nick) if nick else self.jid)
        client.send(f"<message to={to} type='{kind}' id='{ident}'>{inner}</message>")
        return ident

    def say(self, client, text, ident=None):
        return self.send(client, f"<body>{escape(text)}</body>", ident=ident)

    def whisper(self, client, nick, text):
        return self.send(client, f"<body>{escape(text)}</body>", nick, "chat")

    def set_subject(self, client, text):
        return self.send(client, f"<subject>{escape(text)}</subject>")

    # --- to hear ---

    def expect(self, client, what, nick, found=lambda e: True):
        """The first stanza `what` of an occupant (of the room itself: nick "")."""
        tag = f"{{{xml.CLIENT}}}{what}"
        return client.expect(lambda e: e.tag == tag and found(e)
                             and split(e.get("from")) == (self.jid, nick))

    def presence(self, client, nick):
        """The next presence of an occupant, of whatever type."""
        return Seen(self.expect(client, "presence", nick))

    def gone(self, client, nick):
        """The presence with which an occupant leaves."""
        return Seen(self.expect(client, "presence", nick,
                                lambda e: e.get("type") == "unavailable"))

    def message(self, client, nick="", kind="groupchat", found=lambda e: True):
        return self.expect(client, "message", nick, lambda e: e.get("type", "normal") == kind
                           and found(e))

    def expect_body(self, client, nick, text, kind="groupchat"):
        return self.message(client, nick, kind,
                            lambda e: e.findtext(f"{{{xml.CLIENT}}}body") == text)

    def expect_subject(self, client, nick, text):
        return self.message(client, nick, found=lambda e: is_subject(e)
                            and (e.findtext(f"{{{xml.CLIENT}}}subject") or "") == text)

    def notice(self, client):
        """The status codes of the next message of the room that carries some."""
        return codes(self.message(client, "", found=lambda e: bool(codes(e))))

    def message_error(self, client, ident=None):
        """(condition, type) of the error to a message sent to the room."""
        element = client.expect(lambda e: e.tag.endswith("}message") and e.get("type") == "error"
                                and split(e.get("from"))[0] == self.jid
                                and ident in (None, e.get("id")))
        return xml.condition(element), element.find(f"{{{xml.CLIENT}}}error").get("type")

    def flush(self, *clients):
        """A round trip of each through the room: what the room did for those named earlier has
        arrived at those named later."""
        for client in clients:
            client.iq("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=self.jid)

    def expect_nothing(self, client, template, after=()):
        """Nothing that matches has come, nor is on its way from what `after` asked of the room."""
        self.flush(*after, client)
        found = [e for e in client.inbox if xml.matches(e, template)]
        assert not found, f"{client}: unexpected {xml.canonical(found[0])}"

    def forget(self, *clients):
        """Drops everything that has come until now."""
        self.flush(*clients)
        for client in clients:
            client.inbox.clear()
