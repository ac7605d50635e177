"""Addresses of users between servers (federation.mail-address), in each place that names users and
however they are written: in forms (XEP-0004), with and without types, and in attributes."""
import pathlib
import re

import pytest

from harness import muc, pubsub, xml
from harness.across import MAM, ONE, OTHER
from harness.client import until
from harness.muc import Room

from federation.test_mail_address import mail, servers, users
from rooms.test_hats import COMMANDS, DOFF, DON, TEACHER, WORN

assert servers and users  # fixtures
JINGLE = "urn:xmpp:jingle:1"
SOURCES = pathlib.Path(__file__).parents[2] / "src"


def prefixed(text):
    """The same XML, all of which is in one namespace, with a prefix."""
    return re.sub(r"<(/?)(\w)", r"<\1d:\2", text).replace(" xmlns=", " xmlns:d=", 1)


def same(text):
    return text


# How an address is written, and what becomes of the XML around it.
ATTRIBUTES = {
    "as it is": (same, same),
    "capitals": (str.title, same),
    "references": (lambda jid: jid.replace("a", "&#97;").replace("@", "&#x40;"), same),
    "prefix": (same, prefixed),
}
FORMS = ATTRIBUTES | {
    "CDATA": (lambda jid: f"<![CDATA[{jid}]]>", same),
    "CDATA in parts": (lambda jid: f"{jid[:2]}<![CDATA[{jid[2:6]}]]>{jid[6:]}", same),
}


class Place:
    """A room where `owner`, of another server, names `user`, a user of its own server or of that of
    the room; `local` is an owner, too, and sees by which address the room knows the user."""

    def __init__(self, servers, users, inward):
        one, other = servers
        alice, bob = users
        carol = one.client("carol", "c")
        self.domain = ONE if inward else OTHER
        self.asked = None  # the form in which the owner was asked to let the user register
        if inward:
            self.local, self.owner, self.user = carol, bob, alice
            self.named, self.known = mail(alice), alice.bare
        else:
            self.local, self.owner, self.user = other.client("dave", "d"), alice, carol
            self.named, self.known = carol.bare, mail(carol)
        self.room = Room("cave", self.domain)
        self.room.create(self.local, "local", persistentroom=True, whois="anyone",
                         membersonly=True)
        self.room.set_affiliation(self.local, mail(self.owner), "owner")

    def form(self, form_type, written, **fields):
        """A form without types, with an address as `written` says; it is no text to be escaped."""
        address, around = written
        form = muc.submit(form_type, {k: "ADDRESS" if v is self.named else v
                                      for k, v in fields.items()})
        return around(form.replace("ADDRESS", address(self.named)))

    def ask(self, kind, inner, to=None):
        reply = self.owner.iq(kind, inner, to=to or self.room.jid)
        assert reply.get("type") == "result", xml.canonical(reply)
        return reply

    def configure(self, written, name):
        """The room's list of this name, when the user was put into it."""
        self.room.owner(self.local, "set", muc.submit(muc.CONFIG, {name: []}))
        form = self.form(muc.CONFIG, written, **{name: self.named})
        self.ask("set", f"<query xmlns='{muc.OWNER}'>{form}</query>")
        return self.room.configuration(self.local)[name]


def roomadmins(place, written):
    return place.configure(written, "muc#roomconfig_roomadmins")


def contacts(place, written):
    return place.configure(written, "muster#roomconfig_contactjid")


def members_anew(place):
    """Those of the room as soon as there are any, who are none any more."""
    found = sorted(until("members", lambda: place.room.jids(place.local, "member")))
    for jid in found:
        place.room.set_affiliation(place.local, jid, "none")
    return found


def registration(place, written):
    place.room.enter(place.owner, "owner")
    if place.asked is None:
        place.room.register(place.user, "nick")
        place.asked = muc.form_values(place.owner.expect(
            f"<message from='{place.room}'><x xmlns='{muc.DATA}'/></message>"))
        assert place.asked.pop("muc#register_jid") == place.named
    values = {**place.asked, "muc#register_jid": place.named, "muc#register_allow": "1"}
    form_type = values.pop("FORM_TYPE")
    place.owner.send(f"<message to='{place.room}'>{place.form(form_type, written, **values)}"
                     "</message>")
    place.room.leave(place.owner, "owner")
    return members_anew(place)


def hats(place, written):
    def command(client, node, form):
        reply = client.iq("set", f"<command xmlns='{COMMANDS}' node='{node}'>{form}</command>",
                          to=place.room.jid)
        assert reply.get("type") == "result", xml.canonical(reply)
        return [f.findtext(f"{{{muc.DATA}}}value") for f in reply.iter(f"{{{muc.DATA}}}field")
                if f.get("var") == "hats#jid" and len(f)]
    form_type = "urn:xmpp:hats:commands"
    fields = {"hats#jid": place.named, "hats#uri": TEACHER}
    command(place.owner, DON, place.form(form_type, written, **fields, **{"hats#title": "T"}))
    assert command(place.owner, WORN, muc.submit(form_type, {})) == [place.named]
    found = command(place.local, WORN, muc.submit(form_type, {}))
    command(place.owner, DOFF, place.form(form_type, written, **fields))
    assert command(place.local, WORN, muc.submit(form_type, {})) == []
    return found


def archive(place, written):
    """Who has said what the archive of the room finds of the user."""
    place.room.set_affiliation(place.local, place.known, "member")
    place.room.enter(place.user, "user")
    place.room.send(place.user, "<body>words</body>")
    place.room.message(place.user, "user")
    place.room.leave(place.user, "user")
    place.owner.drain()
    form = place.form(MAM, written, **{"with": place.named})
    place.ask("set", f"<query xmlns='{MAM}'>{form}</query>")
    found = {i.get("jid").partition("/")[0] for e in place.owner.drain()
             for i in e.iter(f"{{{muc.USER}}}item")}
    assert found == {place.named}
    return members_anew(place)


def items(place, written):
    address, around = written
    place.ask("set", around(f"<query xmlns='{muc.ADMIN}'><item jid='{address(place.named)}' "
                            "affiliation='member'/></query>"))
    return members_anew(place)


def invitation(place, written):
    address, around = written
    inner = f"<x xmlns='{muc.USER}'><invite to='{address(place.named)}'/></x>"
    place.room.enter(place.owner, "owner")
    place.owner.send(f"<message to='{place.room}'>{around(inner)}</message>")
    place.user.expect(f"<message from='{place.room}'><x xmlns='{muc.USER}'><invite/></x>"
                      "</message>")
    place.room.leave(place.owner, "owner")
    return members_anew(place)


def publishers(place, written):
    address, around = written
    service = f"pubsub.{place.domain}"
    place.local.iq("set", pubsub.create("news"), to=service)
    place.local.result("set", pubsub.affiliations("news", to={mail(place.owner): "owner"}),
                       to=service)
    inner = pubsub.affiliations("news", to={"ADDRESS": "publisher"})
    place.ask("set", around(inner.replace("ADDRESS", address(place.named))), to=service)
    listed = place.local.result("get", pubsub.affiliations("news"), to=service)
    found = [a.get("jid") for a in listed.iter(f"{{{pubsub.OWNER}}}affiliation")
             if a.get("affiliation") == "publisher"]
    place.local.result("set", pubsub.affiliations("news", to={jid: "none" for jid in found}),
                       to=service)
    return found


PLACES = {roomadmins: FORMS, contacts: FORMS, registration: FORMS, hats: FORMS, archive: FORMS,
          items: ATTRIBUTES, invitation: ATTRIBUTES, publishers: ATTRIBUTES}


@pytest.mark.parametrize("inward", [True, False], ids=["inward", "outward"])
@pytest.mark.parametrize("names", PLACES, ids=lambda place: place.__name__)
def test_users_are_found_however_they_are_written(servers, users, names, inward):
    """A room must not give a right to an address that nobody uses, and that looks right."""
    place = Place(servers, users, inward)
    found = {how: names(place, written) for how, written in PLACES[names].items()}
    assert found == {how: [place.known] for how in found}


def test_calls_do_not_tell_the_account(users):
    """Jingle says who began and who answered in attributes of its own (XEP-0166 §7.1)."""
    alice, bob = users
    ends = (alice, mail(alice, "a")), (bob, mail(bob, "b"))
    for (one, back), (other, there) in (ends, ends[::-1]):
        one.send(f"<iq type='set' id='j' to='{there}'><jingle xmlns='{JINGLE}' sid='s' "
                 f"action='session-initiate' initiator='{one}' responder='{there}'/></iq>")
        got = other.expect(f"<iq type='set' from='{back}'><jingle xmlns='{JINGLE}' "
                           f"initiator='{back}' responder='{other}'/></iq>")
        assert one.bare not in xml.canonical(got)

NAMED = {  # what names a user by an address, in messages and in rooms
    "mention": "<reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:{}'/>",
    "mention of a message": "<reference xmlns='urn:xmpp:reference:0' type='data' "
                            "uri='xmpp:{}?message;id=1' anchor='xmpp:{}'/>",
    "table": f"<x xmlns='{muc.DATA}' type='result'><reported><field var='j' type='jid-single'/>"
             "</reported><item><field var='j'><value>{}</value></field></item></x>",
    "options": f"<x xmlns='{muc.DATA}' type='form'><field var='pubsub#owner' type='list-multi'>"
               "<value>{}</value><option><value>{}</value></option></field></x>",
    "vcard-temp": "<vCard xmlns='vcard-temp'><JABBERID>{}</JABBERID></vCard>",
    "vcard4": "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'><impp><uri>xmpp:{}</uri></impp>"
              "</vcard>",
}
UNKNOWN = {  # nothing says that it is an address: neither a type nor a name
    "text": "<body xml:lang='de'>xmpp:{}</body>",
    "list": f"<x xmlns='{muc.DATA}' type='form'><field var='q' type='list-single'>"
            "<value>{}</value><option><value>{}</value></option></field></x>",
    "table": f"<x xmlns='{muc.DATA}' type='result'><reported><field var='j'/></reported><item>"
             "<field var='j'><value>{}</value></field></item></x>",
    # The hash that the proxy makes of it is that of both clients (XEP-0065 §5.3.1).
    "activate": "<query xmlns='http://jabber.org/protocol/bytestreams' sid='s'><activate>{}"
                "</activate></query>",
}


@pytest.mark.parametrize("where", ["chat", "room"])
def test_users_are_named_by_the_address_that_the_other_side_knows(servers, users, where):
    """In both directions. What nothing marks as an address stays as it is."""
    alice, bob = users
    room = Room("cave", OTHER).create(bob, "bob")
    room.enter(alice, "alice")
    ways = (alice, bob, alice.bare, mail(alice)), (bob, alice, mail(alice), alice.bare)
    for way, (one, other, told, known) in enumerate(ways):
        to = f"to='{room}' type='groupchat'" if where == "room" else \
            f"to='{mail(other, other.name[0])}' type='chat'"
        for same, payloads in enumerate((NAMED, UNKNOWN)):
            for n, (name, payload) in enumerate(payloads.items()):
                ident = f"{way}-{same}-{n}"
                one.send(f"<message {to} id='{ident}'>{payload.replace('{}', told)}</message>")
                got = other.expect(f"<message id='{ident}'/>")
                text = "".join(xml.canonical(child) for child in got
                               if not child.tag.endswith("}stanza-id"))
                expected = payload.count("{}")
                counts = text.count(told), text.count(known)
                assert counts == ((expected, 0) if same else (0, expected)), (name, text)


def test_a_card_names_its_user_as_others_know_it(users):
    alice, bob = users
    alice.result("set", f"<vCard xmlns='vcard-temp'><JABBERID>{alice.bare}</JABBERID></vCard>")
    card = bob.result("get", "<vCard xmlns='vcard-temp'/>", to=mail(alice))
    assert card.findtext("{vcard-temp}JABBERID") == mail(alice)
    card = alice.result("get", "<vCard xmlns='vcard-temp'/>")
    assert card.findtext("{vcard-temp}JABBERID") == alice.bare


def test_each_field_of_our_forms_that_names_users_is_known_without_type():
    """Whoever submits a form need not repeat the types of its fields (XEP-0004 §3.3)."""
    row = re.compile(r'\.var = "([^"]+)",\s*\.type = FORM_JID_|COMMAND_\w+\("([^"]+)", FORM_JID_|'
                     r'"(\w+#\w*jids?)"')
    known = (SOURCES / "ext/mail_address_text.c").read_text()
    found = {name for file in SOURCES.rglob("*.c") if not file.name.endswith("_test.c")
             for names in row.findall(file.read_text()) for name in names if name}
    assert {"hats#jid", "accountjids", "with", "muc#roomconfig_roomadmins"} <= found
    assert [name for name in sorted(found) if f'"{name}"' not in known] == []
