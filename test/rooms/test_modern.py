"""What rooms have learned since XEP-0045: occupant ids, self-ping, stable ids, moderation, avatars;
and what passes through them untouched."""
import base64
import hashlib

import pytest

from harness import muc, xml
from harness.client import bodies
from harness.muc import Room, disco_info

PING = "<ping xmlns='urn:xmpp:ping'/>"
VCARD = "vcard-temp"
UPDATE = "vcard-temp:x:update"
MODERATE = "urn:xmpp:message-moderate:1"
RETRACT = "urn:xmpp:message-retract:1"
CORRECT = "urn:xmpp:message-correct:0"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n not a picture, but some bytes").decode()


def occupant_id(element):
    """The occupant id of a stanza, which has exactly one."""
    found = element.findall(f"{{{muc.OCCUPANT_ID}}}occupant-id")
    assert len(found) == 1, xml.canonical(element)
    assert 1 <= len(found[0].get("id")) <= 128
    return found[0].get("id")


def stanza_id(element, room):
    """The id that the room gave a message, which has exactly one."""
    found = [s.get("id") for s in element.findall(f"{{{xml.SID}}}stanza-id")
             if s.get("by") == room.jid]
    assert len(found) == 1, xml.canonical(element)
    return found[0]


def heard(room, client, nick, text):
    return room.expect_body(client, nick, text)


# --- XEP-0421: occupant ids ---


def test_every_presence_and_message_has_an_occupant_id(alice, bob, carol, cave):
    got = cave.enter(carol, "thirdwitch")
    ids = {nick: occupant_id(seen.element) for nick, seen in got.others.items()}
    ids["thirdwitch"] = occupant_id(got.own.element)
    assert len(set(ids.values())) == 3, "one for each person"
    cave.say(bob, "hello")
    assert occupant_id(heard(cave, alice, "secondwitch", "hello")) == ids["secondwitch"]
    cave.set_subject(bob, "Spells")
    assert occupant_id(cave.expect_subject(alice, "secondwitch", "Spells")) == ids["secondwitch"]
    cave.whisper(bob, "firstwitch", "psst")
    assert occupant_id(cave.expect_body(alice, "secondwitch", "psst", "chat")) == \
        ids["secondwitch"]
    bob.send(f"<presence to='{cave.at('secondwitch')}'><show>away</show></presence>")
    assert occupant_id(cave.presence(alice, "secondwitch").element) == ids["secondwitch"]
    assert occupant_id(cave.leave(bob, "secondwitch").element) == ids["secondwitch"]
    assert occupant_id(cave.gone(alice, "secondwitch").element) == ids["secondwitch"]


def test_the_occupant_id_stays(server, alice, bob, cave):
    """Across nicks, visits and sessions."""
    first = occupant_id(cave.enter(bob, "secondwitch").own.element)
    bob.send(f"<presence to='{cave.at('oldhag')}'/>")
    assert occupant_id(cave.presence(bob, "oldhag").element) == first
    cave.leave(bob, "oldhag")
    other = server.client("bob", "b2")
    assert occupant_id(cave.enter(other, "somebody").own.element) == first


def test_who_is_shown_as_absent_has_an_occupant_id(alice, bob, carol):
    heath = Room("heath").create(alice, "firstwitch")
    heath.set_affiliation(alice, carol.bare, "member", nick="thirdwitch")
    absent = heath.enter(bob, "secondwitch").absent["thirdwitch"]
    assert absent.standing == ("member", "none")
    assert occupant_id(absent.element) == occupant_id(heath.enter(carol, "thirdwitch").own.element)


def test_the_occupant_id_survives_a_restart(server, alice, bob):
    cave = Room("heath").create(alice, "firstwitch", persistentroom=True)
    first = occupant_id(cave.enter(bob, "secondwitch").own.element)
    server.restart()
    bob = server.client("bob", "b")
    assert occupant_id(cave.enter(bob, "secondwitch").own.element) == first


def test_the_occupant_id_is_of_one_room(alice, bob, cave):
    heath = Room("heath").create(alice, "firstwitch")
    assert occupant_id(heath.enter(bob, "b").own.element) != \
        occupant_id(cave.enter(bob, "secondwitch").own.element)


def test_the_occupant_id_is_no_hash_of_the_address(bob, cave):
    ident = occupant_id(cave.enter(bob, "secondwitch").own.element)
    for text in (bob.bare, bob.jid, f"{cave.jid}{bob.bare}", f"{bob.bare}{cave.jid}"):
        for name in ("md5", "sha1", "sha256", "sha512"):
            digest = hashlib.new(name, text.encode()).digest()
            forms = {digest.hex(), base64.b64encode(digest).decode(),
                     base64.urlsafe_b64encode(digest).decode().rstrip("=")}
            assert ident not in forms and ident.rstrip("=") not in forms


def test_a_forged_occupant_id_is_replaced(alice, bob, cave):
    forged = f"<occupant-id xmlns='{muc.OCCUPANT_ID}' id='forged'/>"
    cave.send(bob, f"<body>b</body>{forged}{forged}")
    assert occupant_id(heard(cave, alice, "secondwitch", "b")) != "forged"
    cave.send(bob, f"<body>p</body>{forged}", "firstwitch", "chat")
    assert occupant_id(cave.expect_body(alice, "secondwitch", "p", "chat")) != "forged"
    bob.send(f"<presence to='{cave.at('secondwitch')}'>{forged}</presence>")
    assert occupant_id(cave.presence(alice, "secondwitch").element) != "forged"


# --- XEP-0317: hats ---


def test_nobody_puts_a_hat_on_himself(alice, bob, cave):
    bob.send(f"<presence to='{cave.at('secondwitch')}'><hats xmlns='{muc.HATS}'>"
             "<hat uri='urn:example:king' title='King'/></hats><status>x</status>"
             "<idle xmlns='urn:xmpp:idle:1' since='2020-01-01T00:00:00Z'/></presence>")
    seen = cave.presence(alice, "secondwitch")
    assert seen.element.find(f"{{{muc.HATS}}}hats") is None
    assert seen.status == "x" and seen.element.find("{urn:xmpp:idle:1}idle") is not None


# --- XEP-0410: self-ping ---

NOT_IN = ("not-acceptable", "cancel")  # §3.2


def test_self_ping_in_the_room(bob, cave):
    assert bob.result("get", PING, to=cave.at("secondwitch")) is None


def test_self_ping_out_of_the_room(bob, cave):
    cave.leave(bob, "secondwitch")
    assert bob.error("get", PING, to=cave.at("secondwitch")) == NOT_IN


def test_self_ping_from_another_session(server, alice, bob, cave):
    """The session that asks is not in the room, though the person is."""
    other = server.client("bob", "b2")
    assert other.error("get", PING, to=cave.at("secondwitch")) == NOT_IN
    cave.enter(other, "secondwitch")
    assert other.result("get", PING, to=cave.at("secondwitch")) is None


def test_self_ping_to_a_nick_that_is_another_now(server, alice, bob, cave):
    """A second session renames the occupant; the old nick is nobody's."""
    bob.send(f"<presence to='{cave.at('oldhag')}'/>")
    cave.presence(bob, "oldhag")
    assert bob.error("get", PING, to=cave.at("secondwitch"))[0] == "item-not-found"
    assert bob.result("get", PING, to=cave.at("oldhag")) is None


def test_self_ping_to_a_room_that_is_gone(bob):
    """item-not-found would say that it is in the room, and another nick is its own (§3.2)."""
    answer = bob.iq("get", PING, to=Room("nowhere").at("b"))
    error = answer.find(f"{{{xml.CLIENT}}}error")
    assert (xml.condition(answer), error.get("type")) == NOT_IN
    assert error.get("by") == Room("nowhere").jid


def test_self_ping_after_a_kick(alice, bob, cave):
    cave.set_role(alice, "secondwitch", "none")
    assert bob.error("get", PING, to=cave.at("secondwitch")) == NOT_IN


def test_the_client_is_not_asked(server, alice, bob, cave):
    """The room answers itself, however dead the other sessions are."""
    other = server.client("bob", "b2")
    cave.enter(other, "secondwitch")
    other.auto_ack = False
    assert bob.result("get", PING, to=cave.at("secondwitch")) is None
    cave.expect_nothing(other, "<iq type='get'/>", after=[bob])


def test_ping_of_another_occupant(alice, bob, cave):
    """That is a question to its client."""
    bob.send(f"<iq type='get' id='p1' to='{cave.at('firstwitch')}'>{PING}</iq>")
    asked = alice.expect(f"<iq type='get' from='{cave.at('secondwitch')}'>{PING}</iq>")
    alice.send(f"<iq type='result' id='{asked.get('id')}' to='{asked.get('from')}'/>")
    bob.expect(f"<iq type='result' id='p1' from='{cave.at('firstwitch')}'/>")


# --- XEP-0359: ids ---


def test_messages_have_an_id_of_the_room(alice, bob, carol, cave):
    cave.say(bob, "one")
    cave.say(bob, "two")
    ids = [stanza_id(heard(cave, alice, "secondwitch", text), cave) for text in ("one", "two")]
    assert ids[0] != ids[1]
    for client in (bob, carol):
        assert [stanza_id(heard(cave, client, "secondwitch", text), cave)
                for text in ("one", "two")] == ids


def test_a_forged_stanza_id_is_stripped(alice, bob, cave):
    """XEP-0359 §3.1: those that claim to be by the room; others are nobody's business."""
    cave.send(bob, f"<body>f</body><stanza-id xmlns='{xml.SID}' id='forged' by='{cave}'/>"
              f"<stanza-id xmlns='{xml.SID}' id='forged2' by='{cave}'/>"
              f"<origin-id xmlns='{xml.SID}' id='mine'/>")
    message = heard(cave, alice, "secondwitch", "f")
    assert not stanza_id(message, cave).startswith("forged")
    assert message.find(f"{{{xml.SID}}}origin-id").get("id") == "mine"


def test_a_forged_delay_is_stripped(alice, bob, cave):
    """Nobody says that the room has kept a message (XEP-0203 §3)."""
    cave.send(bob, f"<body>d</body><delay xmlns='{xml.DELAY}' from='{cave}' "
              "stamp='2000-01-01T00:00:00Z'/>")
    message = heard(cave, alice, "secondwitch", "d")
    assert not [d for d in message.findall(f"{{{xml.DELAY}}}delay") if d.get("from") == cave.jid]


# --- XEP-0425, XEP-0424: moderation and retraction ---


def moderate(room, client, ident, reason="Be gone!"):
    return client.iq("set", f"<moderate xmlns='{MODERATE}' id='{ident}'>"
                     f"<retract xmlns='{RETRACT}'/><reason>{reason}</reason></moderate>",
                     to=room.jid)


@pytest.fixture
def spam(alice, carol, cave):
    """The stanza id of a message that a moderator does not like."""
    cave.say(carol, "DM me for free magic potions!")
    return stanza_id(heard(cave, alice, "thirdwitch", "DM me for free magic potions!"), cave)


def test_a_moderator_retracts_a_message(alice, bob, carol, cave, spam):
    assert moderate(cave, alice, spam).get("type") == "result"
    for client in (alice, bob, carol):
        message = client.expect(
            f"<message from='{cave}' type='groupchat'><retract xmlns='{RETRACT}' id='{spam}'>"
            f"<moderated xmlns='{MODERATE}' by='{cave.at('firstwitch')}'/>"
            "<reason>Be gone!</reason></retract></message>")
        moderated = message.find(f".//{{{MODERATE}}}moderated")
        assert moderated.find(f"{{{muc.OCCUPANT_ID}}}occupant-id") is not None


def test_a_moderator_retracts_a_message_in_the_older_form(alice, bob, carol, cave, spam):
    """XEP-0425 0.2: as libraries have it that do not know today's."""
    inner = (f"<apply-to xmlns='urn:xmpp:fasten:0' id='{spam}'><moderate xmlns="
             "'urn:xmpp:message-moderate:0'><retract xmlns='urn:xmpp:message-retract:0'/>"
             "<reason>Be gone!</reason></moderate></apply-to>")
    assert bob.error("set", inner, to=cave.jid) == ("forbidden", "auth")
    assert alice.result("set", inner, to=cave.jid) is None
    for client in (alice, bob, carol):
        client.expect(f"<message from='{cave}' type='groupchat'><apply-to xmlns="
                      f"'urn:xmpp:fasten:0' id='{spam}'><moderated xmlns="
                      f"'urn:xmpp:message-moderate:0' by='{cave.at('firstwitch')}'>"
                      "<reason>Be gone!</reason></moderated></apply-to></message>")
    assert "DM me for free magic potions!" not in cave.enter(bob, "secondwitch").bodies


def test_a_retracted_message_is_not_told_again(alice, bob, carol, cave, spam):
    """XEP-0424 §5: neither in the history of the room nor elsewhere."""
    assert moderate(cave, alice, spam).get("type") == "result"
    got = cave.enter(bob, "secondwitch")
    assert "DM me for free magic potions!" not in got.bodies
    assert "free magic" not in "".join(xml.canonical(m) for m in got.history)


def test_others_do_not_moderate(bob, alice, cave, spam):
    reply = moderate(cave, bob, spam)
    assert xml.condition(reply) == "forbidden"
    cave.expect_nothing(alice, f"<message><retract xmlns='{RETRACT}'/></message>", after=[bob])


def test_strangers_do_not_moderate(alice, bob, cave, spam):
    cave.leave(bob, "secondwitch")
    assert xml.condition(moderate(cave, bob, spam)) in ("forbidden", "not-acceptable")


def test_moderation_of_what_was_never_said(alice, bob, cave):
    for ident in ("nothing", "1", "99999999999999999999999"):
        assert xml.condition(moderate(cave, alice, ident)) == "item-not-found"
    cave.expect_nothing(bob, f"<message><retract xmlns='{RETRACT}'/></message>", after=[alice])


def test_moderation_of_a_message_of_another_room(alice, carol, cave, spam):
    heath = Room("heath").create(alice, "firstwitch")
    assert xml.condition(moderate(heath, alice, spam)) == "item-not-found"


@pytest.mark.parametrize("inner", [f"<moderate xmlns='{MODERATE}'/>",
                                   f"<moderate xmlns='{MODERATE}' id='x'/>"])
def test_moderation_without_sense(alice, cave, inner):
    condition, _ = alice.error("set", inner, to=cave.jid)
    assert condition in ("bad-request", "feature-not-implemented", "item-not-found")


def test_nobody_speaks_as_the_moderation(alice, bob, carol, cave, spam):
    """XEP-0425 §5: <moderated/> comes from the room alone."""
    cave.send(bob, f"<retract xmlns='{RETRACT}' id='{spam}'><moderated xmlns='{MODERATE}' "
              f"by='{cave.at('firstwitch')}'/></retract>", ident="m1")
    cave.flush(bob, carol)
    assert not [e for e in carol.inbox if e.get("from") == cave.jid
                and e.find(f".//{{{MODERATE}}}moderated") is not None]


def test_the_author_retracts(alice, carol, cave, spam):
    """XEP-0424: the room passes it on; it need not understand it."""
    retraction = (f"<retract xmlns='{RETRACT}' id='{spam}'/>"
                  "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/>"
                  "<body>retracted</body><store xmlns='urn:xmpp:hints'/>")
    cave.send(carol, retraction)
    alice.expect(f"<message from='{cave.at('thirdwitch')}' type='groupchat'>"
                 f"<retract xmlns='{RETRACT}' id='{spam}'/></message>")


# --- what passes ---


PASSING = [
    f"<body>better</body><replace xmlns='{CORRECT}' id='x'/>",
    "<reactions xmlns='urn:xmpp:reactions:0' id='x'><reaction>\N{THUMBS UP SIGN}</reaction>"
    "</reactions>",
    "<body>&gt; a\nb</body><reply xmlns='urn:xmpp:reply:0' to='r@s/n' id='x'/>"
    "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='4'/>"
    "</fallback>",
    "<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>",
    "<body>@firstwitch</body><reference xmlns='urn:xmpp:reference:0' type='mention' "
    "uri='xmpp:r@s/n'/>",
    "<body>x</body><x xmlns='jabber:x:oob'><url>https://example.org/x</url></x>",
    "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>"
    "<body>omemo</body><store xmlns='urn:xmpp:hints'/>"]


def test_messages_of_other_extensions_pass(alice, bob, cave):
    """XEP-0308, 0444, 0461, 0333, 0372, 0066, 0384."""
    for inner in PASSING:
        ident = cave.send(bob, inner)
        message = alice.expect(f"<message id='{ident}' from='{cave.at('secondwitch')}' "
                               f"type='groupchat'>{inner}</message>")
        assert occupant_id(message) and stanza_id(message, cave)


def test_a_receipt_for_a_message_to_all(alice, bob, cave):
    """XEP-0184 §5.3 says not to request one; the room passes it on anyway."""
    cave.send(bob, "<body>r</body><request xmlns='urn:xmpp:receipts'/>")
    assert heard(cave, alice, "secondwitch", "r") is not None


def test_a_correction_is_in_the_history(alice, bob, carol, cave):
    ident = cave.say(bob, "wrnog")
    cave.send(bob, f"<body>wrong</body><replace xmlns='{CORRECT}' id='{ident}'/>")
    heard(cave, carol, "secondwitch", "wrong")
    assert cave.enter(carol, "thirdwitch").bodies == ["wrnog", "wrong"]


# --- carbons (XEP-0280) and rooms ---


def test_messages_of_rooms_are_not_copied(server, alice, bob, cave):
    """XEP-0280 §6.1: neither those to all nor private ones, to or from sessions not in the room."""
    other = server.client("bob", "b2")
    other.result("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    cave.say(bob, "to all")
    heard(cave, bob, "secondwitch", "to all")
    cave.whisper(alice, "secondwitch", "to bob")
    cave.expect_body(bob, "firstwitch", "to bob", "chat")
    cave.whisper(bob, "firstwitch", "to alice")
    cave.expect_body(alice, "secondwitch", "to alice", "chat")
    other.expect_nothing("<message><received xmlns='urn:xmpp:carbons:2'/></message>", after=bob)
    assert not [b for e in other.inbox for b in bodies(e.iter(f"{{{xml.CLIENT}}}message"))
                if b == "to all"]


# --- vCard and avatar of a room (XEP-0054, XEP-0486, XEP-0153) ---


def card(photo=PNG):
    return (f"<vCard xmlns='{VCARD}'><FN>Cave</FN><PHOTO><TYPE>image/png</TYPE>"
            f"<BINVAL>{photo}</BINVAL></PHOTO></vCard>")


def avatar_hash(client, room):
    found = disco_info(client, room.jid)[2][muc.INFO].get("muc#roominfo_avatarhash")
    return found[0] if isinstance(found, list) and found else found


def test_the_avatar_of_a_room(server, alice, bob, cave):
    assert avatar_hash(bob, cave) is None
    assert alice.result("set", card(), to=cave.jid) is None
    sha1 = hashlib.sha1(base64.b64decode(PNG)).hexdigest()
    assert cave.notice(bob) == {104}
    assert avatar_hash(bob, cave) == sha1
    server.add_user("dave")
    dave = server.client("dave", "d")
    found = dave.result("get", f"<vCard xmlns='{VCARD}'/>", to=cave.jid)
    assert found.findtext(f".//{{{VCARD}}}BINVAL") == PNG, "seen before entering"
    alice.result("set", f"<vCard xmlns='{VCARD}'/>", to=cave.jid)
    assert avatar_hash(bob, cave) is None


def test_others_do_not_set_the_avatar(alice, bob, cave):
    assert bob.error("set", card(), to=cave.jid) == ("forbidden", "auth")
    assert avatar_hash(bob, cave) is None


def test_the_avatar_survives_a_restart(server, alice):
    cave = Room("heath").create(alice, "firstwitch", persistentroom=True)
    alice.result("set", card(), to=cave.jid)
    before = avatar_hash(alice, cave)
    server.restart()
    alice = server.client("alice", "a")
    assert before and avatar_hash(alice, cave) == before
    assert alice.result("get", f"<vCard xmlns='{VCARD}'/>", to=cave.jid).findtext(
        f"{{{VCARD}}}FN") == "Cave"


def test_a_card_for_a_room_that_ends_leaves_nothing(server, alice):
    """A request at the same time is refused, and leaves no row."""
    heath = Room("heath").create(alice, "firstwitch", persistentroom=True)
    alice.send(f"<iq type='set' id='end' to='{heath}'><query xmlns='{muc.OWNER}'><destroy/></query>"
               f"</iq><iq type='set' id='card' to='{heath}'>{card()}</iq>")
    alice.expect("<iq type='result' id='end'/>")
    alice.expect("<iq type='error' id='card'/>")
    with server.database(read_only=True) as db:
        assert not list(db.execute(
            "SELECT 1 FROM room_vcard WHERE room NOT IN (SELECT id FROM room)"))


def test_the_vcard_of_a_room_that_has_none(alice, bob, cave):
    answer = bob.iq("get", f"<vCard xmlns='{VCARD}'/>", to=cave.jid)
    if answer.get("type") == "error":
        assert xml.condition(answer) == "item-not-found"
    else:
        assert len(answer[0]) == 0


def test_the_vcard_of_an_occupant(server, alice, bob, cave):
    """XEP-0054 by way of the room: of the person, which the occupant's client need not answer."""
    bob.result("set", f"<vCard xmlns='{VCARD}'><FN>Second Witch</FN></vCard>")
    found = alice.result("get", f"<vCard xmlns='{VCARD}'/>", to=cave.at("secondwitch"))
    assert found.findtext(f"{{{VCARD}}}FN") == "Second Witch"
    server.add_user("dave")
    condition, _ = server.client("dave", "d").error("get", f"<vCard xmlns='{VCARD}'/>",
                                                    to=cave.at("secondwitch"))
    assert condition in ("not-acceptable", "bad-request", "forbidden")
