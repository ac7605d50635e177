"""XEP-0045 §7 by slixmpp: to enter and to leave, to speak, to invite, to register; and §11."""
from datetime import datetime, timedelta, timezone
from xml.etree import ElementTree

import pytest

from harness import muc
from harness.slix import codes, denied, standing

THREAD = "e0ffe42b28561960c6b12b944a092794b9683a38"
REGISTRATION = "x-muc#roomconfig_registration"


async def reserved(client, room):
    """The nickname that the room has for the client (§7.12)."""
    found = await client["xep_0030"].get_info(jid=room.jid, node=muc.NICK_NODE)
    return [name for *_, name in found["disco_info"]["identities"]]


# --- §7.1, §7.2: to enter ---


async def test_order_of_events(coven, crone, wicca, hag):
    """§7.1, §7.2.16: others, oneself, history, subject, and only then what is new."""
    await coven.gather(crone, wicca)
    crone.rooms.set_subject(coven.jid, "Spells")
    coven.say(crone, "old")
    await coven.said(wicca, "firstwitch", "old")
    await coven.join(hag, "thirdwitch")
    coven.say(crone, "new")
    await coven.flush(crone, hag)
    shown = {"any_presence": lambda s: s["from"].resource, "groupchat_message": lambda s: s["body"],
             "groupchat_subject": lambda s: s["subject"]}
    came = [shown[event](s) for event, s in hag.inbox
            if event in shown and s["from"].bare == coven.jid.bare]
    assert set(came[:2]) == {"firstwitch", "secondwitch"}
    assert came[2:] == ["thirdwitch", "old", "Spells", "new"]


async def test_entering(coven, crone, wicca, hag):
    """§7.2.1, §7.2.2: one sees all others and oneself, and all others see one."""
    await coven.gather(crone, wicca)
    joined = await coven.join(hag, "thirdwitch")
    assert set(joined.nicks) == {"firstwitch", "secondwitch", "thirdwitch"}
    assert joined.nicks[-1] == "thirdwitch" and 110 in codes(joined.own)
    for client in (crone, wicca):
        seen = await coven.heard(client, "groupchat_presence")
        assert seen["muc"]["nick"] == "thirdwitch" and 110 not in codes(seen)
        assert standing(seen) == ("none", "participant")
    assert set(wicca.rooms.get_roster(coven.jid)) == set(joined.nicks)
    assert wicca.rooms.get_jid_property(coven.jid, "firstwitch", "affiliation") == "owner"


async def test_no_nickname(coven, crone, hag):
    """§7.2.1"""
    await coven.gather(crone)
    knock = hag.make_presence(pto=coven.jid)
    knock.enable("muc_join")
    knock.send()
    assert await coven.error(hag, "any_presence") == ("jid-malformed", "modify")


async def test_who_is_there_enters_again(coven, crone, wicca):
    """§7.2.1: a client that has lost its state is told all, as if it had just come."""
    await coven.gather(crone, wicca)
    coven.say(crone, "old")
    await coven.said(wicca, "firstwitch", "old")
    again = await coven.join(wicca, "secondwitch")
    assert again.nicks == ["firstwitch", "secondwitch"] and again.bodies == ["old"]
    assert 110 in codes(again.own)


@pytest.mark.parametrize("affiliation, moderated, role", [
    ("none", True, "visitor"), ("none", False, "participant"), ("member", True, "participant"),
    ("admin", True, "moderator"), ("owner", False, "moderator")])
async def test_standing_of_who_enters(coven, crone, hag, affiliation, moderated, role):
    """§7.2.2, §5.1.2"""
    await coven.gather(crone, moderatedroom=moderated)
    if affiliation != "none":
        await coven.affiliate(crone, hag, affiliation)
    joined = await coven.join(hag, "thirdwitch")
    assert standing(joined.own) == (affiliation, role)
    assert standing(joined.occupants[0]) == ("owner", "moderator")


async def test_presence_that_is_not_broadcast(coven, crone, wicca, hag):
    """§7.2.2: muc#roomconfig_presencebroadcast"""
    await coven.gather(crone, wicca, moderatedroom=True,
                       presencebroadcast=["moderator", "participant"])
    joined = await coven.join(hag, "thirdwitch")
    assert set(joined.nicks) == {"firstwitch", "thirdwitch"}, "the other is a visitor as well"
    await coven.nothing(wicca, "any_presence", lambda p: p["from"].resource == "thirdwitch",
                        after=[hag])


async def test_a_nickname_that_is_written_otherwise(coven, crone, hag):
    """§7.2.2: status 210, and slixmpp knows its name."""
    await coven.gather(crone)
    joined = await coven.join(hag, "third  witch")
    assert joined.own["from"] == coven.at("third witch") and {110, 210} <= codes(joined.own)
    assert hag.rooms.get_our_jid_in_room(coven.jid) == coven.at("third witch")


async def test_non_anonymous_room(coven, crone, wicca, hag):
    """§7.2.3: status 100, and everybody sees addresses."""
    await coven.gather(crone, wicca, whois="anyone")
    joined = await coven.join(hag, "thirdwitch")
    assert 100 in codes(joined.own)
    assert joined.occupants[0]["muc"]["jid"] == crone.boundjid
    seen = await coven.presence(wicca, "thirdwitch")
    assert seen["muc"]["jid"] == hag.boundjid and 100 not in codes(seen)
    assert wicca.rooms.get_jid_property(coven.jid, "thirdwitch", "jid") == hag.boundjid


@muc.owners_may("anonymous")
async def test_semi_anonymous_room(coven, crone, wicca, hag):
    """§7.2.4: moderators alone see addresses."""
    await coven.gather(crone, wicca, whois="moderators")
    joined = await coven.join(hag, "thirdwitch")
    assert 100 not in codes(joined.own)
    assert "crone@" not in str(joined.occupants) and "wicca@" not in str(joined.occupants)
    assert (await coven.presence(crone, "thirdwitch"))["muc"]["jid"] == hag.boundjid
    assert "hag@" not in str(await coven.presence(wicca, "thirdwitch"))


async def test_password_protected_room(coven, crone, hag):
    """§7.2.5"""
    await coven.gather(crone, passwordprotectedroom=True, roomsecret="cauldronburn")
    for password in (None, "wrong"):
        assert await coven.refused(hag, "thirdwitch", password=password) == (
            "not-authorized", "auth")
    assert (await coven.join(hag, "thirdwitch", password="cauldronburn")).own


async def test_members_only_room(coven, crone, hag):
    """§7.2.6"""
    await coven.gather(crone, membersonly=True)
    assert await coven.refused(hag, "thirdwitch") == ("registration-required", "auth")
    await coven.affiliate(crone, hag, "member")
    assert standing((await coven.join(hag, "thirdwitch")).own) == ("member", "participant")


async def test_banned_users(coven, crone, hag):
    """§7.2.7"""
    await coven.gather(crone)
    await coven.affiliate(crone, hag, "outcast")
    assert await coven.refused(hag, "thirdwitch") == ("forbidden", "auth")
    await coven.nothing(crone, "any_presence", after=[hag])


async def test_nickname_conflict(coven, crone, hag):
    """§7.2.8: of who is there, and of a member who is not."""
    await coven.gather(crone)
    assert await coven.refused(hag, "firstwitch") == ("conflict", "cancel")
    await coven.change(crone, {"affiliation": "member", "jid": "hecate@localhost",
                               "nick": "fourthwitch"})
    assert await coven.refused(hag, "fourthwitch") == ("conflict", "cancel")


async def test_two_clients_of_one_user(coven, crone, hag, hag_too):
    """§7.2.8: one nickname; both hear, and both may speak."""
    await coven.gather(crone, hag)
    joined = await coven.join(hag_too, "secondwitch")
    assert joined.nicks == ["firstwitch", "secondwitch"]
    coven.say(hag_too, "from one")
    for client in (crone, hag, hag_too):
        await coven.said(client, "secondwitch", "from one")
    coven.whisper(crone, "secondwitch", "to both")
    for client in (hag, hag_too):
        await coven.said(client, "firstwitch", "to both", "chat")


async def test_maximum_of_users(coven, crone, wicca, hag):
    """§7.2.9: administrators come in."""
    await coven.gather(crone, wicca, maxusers="2")
    assert await coven.refused(hag, "thirdwitch") == ("service-unavailable", "wait")
    await coven.affiliate(crone, hag, "admin")
    assert standing((await coven.join(hag, "thirdwitch")).own) == ("admin", "moderator")


async def test_locked_room(coven, crone, hag):
    """§7.2.10"""
    await coven.join(crone, "firstwitch")
    assert await coven.refused(hag, "thirdwitch") == ("item-not-found", "cancel")
    await coven.configure(crone)
    assert (await coven.join(hag, "thirdwitch")).own


async def test_nonexistent_room(coven, hag):
    """§7.2.11"""
    joined = await coven.join(hag, "thirdwitch")
    assert {110, 201} <= codes(joined.own) and joined.nicks == ["thirdwitch"]


async def test_room_that_is_logged(coven, crone, hag):
    """§7.2.12: status 170"""
    await coven.gather(crone, persistentroom=True, enablearchiving=True)
    assert 170 in codes((await coven.join(hag, "thirdwitch")).own)
    assert 170 not in codes(await coven.presence(crone, "thirdwitch"))


async def test_discussion_history(coven, crone, wicca, hag):
    """§7.2.13: by whom it was said, with the time, by the room."""
    await coven.gather(crone, wicca)
    before = datetime.now(timezone.utc) - timedelta(seconds=5)
    coven.say(crone, "Thrice the brinded cat hath mew'd.")
    coven.say(wicca, "Thrice and once the hedge-pig whined.")
    await coven.said(crone, "secondwitch", "Thrice and once the hedge-pig whined.")
    history = (await coven.join(hag, "thirdwitch")).history
    assert {(m["from"].resource, m["body"]) for m in history} == {
        ("firstwitch", "Thrice the brinded cat hath mew'd."),
        ("secondwitch", "Thrice and once the hedge-pig whined.")}
    for message in history:
        assert message["type"] == "groupchat" and message["delay"]["from"] == coven.jid
        assert before < message["delay"]["stamp"] < before + timedelta(minutes=2)


@muc.owners_may("history")
async def test_history_that_is_asked_for(coven, crone, hag):
    """§7.2.14: by number, characters, seconds, time; none; and what the room allows of it."""
    await coven.gather(crone)
    for i in range(5):
        coven.say(crone, f"m{i}")
    await coven.said(crone, "firstwitch", "m4")
    whole = await coven.join(hag, "thirdwitch")
    every = [f"m{i}" for i in range(5)]
    assert whole.bodies == every
    for limits, expected in (
            ({"maxstanzas": 2}, ["m3", "m4"]), ({"maxstanzas": 20}, every), ({"maxchars": 0}, []),
            ({"maxchars": 65000}, every), ({"seconds": 180}, every),
            ({"since": datetime(1970, 1, 1, tzinfo=timezone.utc)}, every),
            ({"since": datetime.now(timezone.utc) + timedelta(days=1)}, [])):
        assert (await coven.join(hag, "thirdwitch", **limits)).bodies == expected, limits
    some = (await coven.join(hag, "thirdwitch", maxchars=3 * len(str(whole.history[0])))).bodies
    assert 1 <= len(some) <= 4 and some == every[-len(some):], "whole messages, the last ones"
    at = whole.history[3]["delay"]["stamp"]
    assert (await coven.join(hag, "thirdwitch", since=at)).bodies == [
        m["body"] for m in whole.history if m["delay"]["stamp"] >= at]
    await coven.configure(crone, **{"muc#roomconfig_defaulthistorymessages": "1",
                                    "muc#maxhistoryfetch": "3"})
    assert (await coven.join(hag, "thirdwitch")).bodies == ["m4"]
    assert (await coven.join(hag, "thirdwitch", maxstanzas=20)).bodies == ["m2", "m3", "m4"]


async def test_subject_on_entering(coven, crone, hag):
    """§7.2.15: an empty one where there was never one; else by whom, and when."""
    await coven.gather(crone)
    subject = (await coven.join(hag, "thirdwitch")).subject
    assert subject["subject"] == "" and subject["type"] == "groupchat"
    crone.rooms.set_subject(coven.jid, "Fire Burn and Cauldron Bubble!")
    await coven.subject(hag, "Fire Burn and Cauldron Bubble!")
    subject = (await coven.join(hag, "thirdwitch")).subject
    assert subject["subject"] == "Fire Burn and Cauldron Bubble!"
    assert subject["from"] == coven.at("firstwitch") and subject["delay"]["from"] == coven.jid


async def test_presence_does_not_enter(coven, crone, hag):
    """§7.2.18: without the extension it is a client that has lost its state."""
    await coven.gather(crone)
    hag.send_presence(pto=coven.at("thirdwitch"))
    gone = await coven.gone(hag, "thirdwitch")
    assert codes(gone) == {110, 307, 333} and standing(gone) == ("none", "none")
    await coven.nothing(crone, "any_presence", after=[hag])


# --- §7.3, §7.4, §7.5: to speak ---


async def test_occupants_change_the_subject(coven, crone, wicca):
    """§7.3: if they may."""
    await coven.gather(crone, wicca, changesubject=True)
    wicca.rooms.set_subject(coven.jid, "ours")
    assert (await coven.subject(crone, "ours"))["from"] == coven.at("secondwitch")
    await coven.configure(crone, changesubject=False)
    wicca.rooms.set_subject(coven.jid, "mine")
    assert await coven.error(wicca) == ("forbidden", "auth")
    await coven.nothing(crone, "groupchat_subject", after=[wicca])


async def test_a_message_to_all(coven, crone, wicca, hag):
    """§7.4: from the occupant, with the id that it was sent with."""
    await coven.gather(crone, wicca, hag)
    message = wicca.make_message(coven.jid, "Harpier cries: 'tis time.", mtype="groupchat")
    message["id"] = "hysf1v37"
    message.send()
    for client in (crone, wicca, hag):
        heard = await coven.said(client, "secondwitch", "Harpier cries: 'tis time.")
        assert heard["id"] == "hysf1v37" and heard["to"] == client.boundjid
        assert heard["mucnick"] == "secondwitch"


async def test_visitors_and_strangers_do_not_speak(coven, crone, wicca, hag):
    """§7.4"""
    await coven.gather(crone, wicca, moderatedroom=True)
    coven.say(wicca, "psst")
    assert await coven.error(wicca) == ("forbidden", "auth")
    coven.say(hag, "hello?")
    assert (await coven.error(hag))[0] == "not-acceptable"
    await coven.nothing(crone, "groupchat_message", after=[wicca, hag])


async def test_private_messages(coven, crone, wicca, hag):
    """§7.5: to one alone, marked for what it is."""
    await coven.gather(crone, wicca, hag)
    coven.whisper(wicca, "firstwitch", "I'll give thee a wind.")
    heard = await coven.said(crone, "secondwitch", "I'll give thee a wind.", "chat")
    assert heard.get_plugin("muc", check=True) is not None and heard["to"] == crone.boundjid
    coven.whisper(wicca, "firstwitch", "Thou'rt kind.", "normal")
    await coven.said(crone, "secondwitch", "Thou'rt kind.", "normal")
    await coven.nothing(hag, "message", after=[wicca])


async def test_private_messages_that_go_nowhere(coven, crone, wicca, hag):
    """§7.5"""
    await coven.gather(crone, wicca)
    coven.whisper(wicca, "firstwitch", "to all?", "groupchat")
    assert await coven.error(wicca) == ("bad-request", "modify")
    coven.whisper(wicca, "oldhag", "are you there?")
    assert await coven.error(wicca) == ("item-not-found", "cancel")
    coven.whisper(hag, "firstwitch", "let me in")
    assert (await coven.error(hag))[0] == "not-acceptable"
    await coven.nothing(crone, "message", after=[wicca, hag])


async def test_who_may_send_private_messages(coven, crone, wicca):
    """§7.5: muc#roomconfig_allowpm"""
    await coven.gather(crone, wicca, allowpm="moderators")
    coven.whisper(wicca, "firstwitch", "psst")
    assert await coven.error(wicca) == ("forbidden", "auth")
    coven.whisper(crone, "secondwitch", "hush")
    await coven.said(wicca, "firstwitch", "hush", "chat")


# --- §7.6, §7.7: names and availability ---


async def test_change_of_nickname(coven, crone, wicca):
    """§7.6: the old one goes with status 303 and names the new one."""
    await coven.gather(crone, wicca)
    wicca.send_presence(pto=coven.at("oldhag"))
    for client in (crone, wicca):
        gone = await coven.gone(client, "secondwitch")
        assert 303 in codes(gone) and gone["muc"]["item"]["nick"] == "oldhag"
        new = await coven.presence(client, "oldhag")
        assert standing(new) == ("none", "participant")
        assert {110 in codes(one) for one in (gone, new)} == {client is wicca}
        assert set(client.rooms.get_roster(coven.jid)) == {"firstwitch", "oldhag"}


async def test_change_to_a_nickname_that_is_written_otherwise(coven, crone, wicca):
    """§7.6: status 210, to who changed it."""
    await coven.gather(crone, wicca)
    wicca.send_presence(pto=coven.at("old  hag"))
    assert (await coven.gone(crone, "secondwitch"))["muc"]["item"]["nick"] == "old hag"
    assert 210 not in codes(await coven.presence(crone, "old hag"))
    assert {110, 210} <= codes(await coven.presence(wicca, "old hag"))


async def test_change_to_a_nickname_of_another(coven, crone, wicca, hag):
    """§7.6: who is there, or is registered."""
    await coven.gather(crone, wicca)
    await coven.change(crone, {"affiliation": "member", "jid": "hecate@localhost", "nick": "Hec"})
    for nick in ("firstwitch", "Hec"):
        wicca.send_presence(pto=coven.at(nick))
        assert await coven.error(wicca, "any_presence") == ("conflict", "cancel")
    coven.say(wicca, "still here")
    await coven.said(crone, "secondwitch", "still here")


async def test_change_of_availability(coven, crone, wicca, hag):
    """§7.7: who is there sees it, and who comes later."""
    await coven.gather(crone, wicca)
    wicca.send_presence(pto=coven.at("secondwitch"), pshow="xa",
                        pstatus="gone where the goblins go")
    for client in (crone, wicca):
        seen = await coven.presence(client, "secondwitch")
        assert (seen["show"], seen["status"]) == ("xa", "gone where the goblins go")
        assert standing(seen) == ("none", "participant")
    assert crone.rooms.get_jid_property(coven.jid, "secondwitch", "show") == "xa"
    assert [p["show"] for p in (await coven.join(hag, "thirdwitch")).occupants
            if p["from"].resource == "secondwitch"] == ["xa"]


# --- §7.8, §7.9: to invite ---


async def test_direct_invitation(coven, crone, hag):
    """§7.8.1, XEP-0249: with all that it takes to come."""
    await coven.gather(crone, passwordprotectedroom=True, roomsecret="cauldronburn")
    crone["xep_0249"].send_invitation(hag.boundjid.bare, coven.jid, password="cauldronburn",
                                      reason="Hey Hecate")
    message = await hag.expect("groupchat_direct_invite")
    invitation = message["groupchat_invite"]
    assert (message["from"], invitation["reason"]) == (crone.boundjid, "Hey Hecate")
    room = invitation["jid"]
    assert room == coven.jid
    assert (await coven.join(hag, "thirdwitch", password=invitation["password"])).own


async def test_mediated_invitation(coven, crone, wicca, hag):
    """§7.8.2: from the room, with its password."""
    await coven.create(crone, passwordprotectedroom=True, roomsecret="cauldronburn")
    await coven.join(wicca, "secondwitch", password="cauldronburn")
    wicca.rooms.invite(coven.jid, hag.boundjid.bare, reason="the place for all good witches!")
    message = await coven.heard(hag, "groupchat_invite")
    invitation = message["muc"]["invite"]
    assert message["from"] == coven.jid and invitation["reason"].startswith("the place")
    assert invitation["from"] in (wicca.boundjid, wicca.boundjid.bare, coven.at("secondwitch"))
    password = message["muc"].xml.findtext(f"{{{muc.USER}}}password")
    assert (await coven.join(hag, "thirdwitch", password=password)).own


async def test_invitation_that_is_declined(coven, crone, hag):
    """§7.8.2"""
    await coven.gather(crone)
    crone.rooms.invite(coven.jid, hag.boundjid.bare)
    inviter = (await coven.heard(hag, "groupchat_invite"))["muc"]["invite"]["from"]
    hag.rooms.decline(coven.jid, inviter, reason="Sorry, I'm too busy right now.")
    declined = (await coven.heard(crone, "groupchat_decline"))["muc"]["decline"]
    assert declined["reason"] == "Sorry, I'm too busy right now."
    assert declined["from"].bare == hag.boundjid.bare


async def test_invitation_to_a_members_only_room(coven, crone, wicca, hag):
    """§7.8.2, §9.5: by members if they may, and it makes a member."""
    await coven.create(crone, membersonly=True, allowinvites=False)
    await coven.affiliate(crone, wicca, "member")
    await coven.join(wicca, "secondwitch")
    wicca.rooms.invite(coven.jid, hag.boundjid.bare)
    assert await coven.error(wicca) == ("forbidden", "auth")
    await coven.nothing(hag, "groupchat_invite", after=[wicca])
    await coven.configure(crone, allowinvites=True)
    wicca.rooms.invite(coven.jid, hag.boundjid.bare)
    await coven.heard(hag, "groupchat_invite")
    assert standing((await coven.join(hag, "thirdwitch")).own) == ("member", "participant")


async def test_strangers_do_not_invite(coven, crone, wicca, hag):
    """§7.8.2"""
    await coven.gather(crone)
    hag.rooms.invite(coven.jid, wicca.boundjid.bare)
    assert (await coven.error(hag))[0] == "not-acceptable"
    await coven.nothing(wicca, "groupchat_invite", after=[hag])


async def test_a_chat_becomes_a_conference(coven, crone, wicca, hag):
    """§7.9: what was said comes along as it was, and so does its thread."""
    stamp = datetime(2004, 9, 29, 1, 54, 37, tzinfo=timezone.utc)
    wicca.send_message(crone.boundjid, "Thrice the brinded cat hath mew'd.", mtype="chat")
    old = await crone.expect("message", lambda m: m["body"].startswith("Thrice the"))
    await coven.gather(crone, whois="anyone")
    message = crone.make_message(coven.jid, old["body"], mtype="groupchat")
    message["thread"] = THREAD
    message["delay"].set_from(old["from"])
    message["delay"].set_stamp(stamp)
    message.send()
    asked = crone.make_message(coven.jid)
    for to in (wicca.boundjid.full, hag.boundjid.bare):
        invite = ElementTree.SubElement(asked["muc"].xml, f"{{{muc.USER}}}invite", to=to)
        ElementTree.SubElement(invite, f"{{{muc.USER}}}continue", thread=THREAD)
    asked.send()
    for client in (wicca, hag):
        invite = (await coven.heard(client, "groupchat_invite"))["muc"]["invite"]
        assert invite.xml.find(f"{{{muc.USER}}}continue").get("thread") == THREAD
        await coven.join(client, f"{client.boundjid.user}witch")
        heard = await coven.said(client, "firstwitch", "Thrice the brinded cat hath mew'd.")
        assert heard["thread"] == THREAD
        assert (heard["delay"]["from"], heard["delay"]["stamp"]) == (wicca.boundjid, stamp)


# --- §7.10, §7.11, §7.12: to register ---


@muc.owners_may("self-add")
async def test_registration(coven, crone, hag):
    """§7.10: with a form, and all see the new member."""
    await coven.create(crone, **{REGISTRATION: True})
    await coven.join(hag, "thirdwitch")
    await coven.forget(crone, hag)
    asked = (await hag["xep_0077"].get_registration(coven.jid))["register"]
    assert not asked["registered"] and asked["form"]["type"] == "form"
    assert {"FORM_TYPE", "muc#register_roomnick"} <= set(asked["form"]["values"])
    await coven.register(hag, "thirdwitch")
    for client in (crone, hag):
        assert standing(await coven.presence(client, "thirdwitch")) == ("member", "participant")
    asked = (await hag["xep_0077"].get_registration(coven.jid))["register"]
    assert asked["registered"] and asked["username"] == "thirdwitch"


@muc.owners_may("self-add")
async def test_registration_is_taken_back(coven, crone, hag):
    """§7.10, XEP-0077 §3.2"""
    await coven.gather(crone, **{REGISTRATION: True})
    await coven.register(hag, "thirdwitch")
    assert await reserved(hag, coven) == ["thirdwitch"]
    await hag["xep_0077"].cancel_registration(coven.jid)
    assert await reserved(hag, coven) == []
    assert await coven.items(crone, affiliation="member") == []


@muc.owners_may("self-add")
async def test_registration_that_is_refused(coven, crone, wicca, hag):
    """§7.10: another's nickname, no form, a banned user, no room."""
    assert await denied(hag["xep_0077"].get_registration(coven.jid)) == (
        "item-not-found", "cancel")
    await coven.gather(crone, **{REGISTRATION: True})
    await coven.register(wicca, "secondwitch")
    assert await denied(coven.register(hag, "secondwitch")) == ("conflict", "cancel")
    empty = hag.make_iq_set(ito=coven.jid)
    empty.enable("register")
    assert await denied(empty.send()) == ("bad-request", "modify")
    await coven.affiliate(crone, hag, "outcast")
    assert await denied(hag["xep_0077"].get_registration(coven.jid)) == ("not-allowed", "cancel")


@muc.owners_may("anonymous")
async def test_member_list_for_members(coven, crone, wicca, hag):
    """§7.11, §9.5: where addresses are seen; in the room or not."""
    await coven.gather(crone, membersonly=True, whois="anyone")
    await coven.affiliate(crone, wicca, "member")
    assert await wicca.rooms.get_affiliation_list(coven.jid, "member") == ["wicca@localhost"]
    await coven.join(wicca, "secondwitch")
    assert await wicca.rooms.get_affiliation_list(coven.jid, "member") == ["wicca@localhost"]
    assert await denied(hag.rooms.get_affiliation_list(coven.jid, "member")) == (
        "forbidden", "auth")
    await coven.configure(crone, whois="moderators")
    assert await denied(wicca.rooms.get_affiliation_list(coven.jid, "member")) == (
        "forbidden", "auth")


async def test_reserved_nickname(coven, crone, wicca, hag):
    """§7.12: its owner finds it, before and after entering, and nobody else enters with it."""
    await coven.gather(crone)
    assert await reserved(hag, coven) == []
    await coven.change(crone, {"affiliation": "member", "jid": hag.boundjid.bare, "nick": "hag"})
    assert await reserved(hag, coven) == ["hag"]
    assert await coven.refused(wicca, "hag") == ("conflict", "cancel")
    assert (await coven.join(hag, "hag")).own["from"] == coven.at("hag")
    assert await reserved(hag, coven) == ["hag"]


# --- §7.13, §7.14: voice; to leave ---


async def test_request_for_voice(coven, crone, wicca, hag):
    """§7.13: to the moderators, and to nobody else."""
    await coven.gather(crone, wicca, hag, moderatedroom=True)
    hag.rooms.request_voice(coven.jid, "participant")
    asked = (await coven.heard(crone, "message_xform"))["form"]["values"]
    assert asked["muc#role"] == "participant" and asked["muc#roomnick"] == "thirdwitch"
    await coven.nothing(wicca, "message_xform", after=[hag])


async def test_leaving(coven, crone, wicca):
    """§7.14: with a word."""
    await coven.gather(crone, wicca)
    wicca.rooms.leave_muc(coven.jid, "secondwitch", "gone where the goblins go")
    for client in (crone, wicca):
        gone = await coven.gone(client, "secondwitch")
        assert standing(gone) == ("none", "none") and (110 in codes(gone)) == (client is wicca)
        assert gone["status"] == "gone where the goblins go"
    assert crone.rooms.get_roster(coven.jid) == ["firstwitch"]
    coven.say(crone, "alone")
    await coven.nothing(wicca, "groupchat_message", after=[crone])


async def test_going_offline_leaves(coven, crone, wicca):
    """§7.14: unavailable presence to all is for the room, too."""
    await coven.gather(crone, wicca)
    wicca.send_presence(ptype="unavailable")
    assert standing(await coven.gone(crone, "secondwitch")) == ("none", "none")
    wicca.send_presence()
    coven.say(wicca, "hello?")
    assert (await coven.error(wicca))[0] == "not-acceptable"


async def test_the_last_one_out_ends_the_room(coven, crone, hag):
    """§7.14: unless it is persistent."""
    lasting = coven.beside("lasting")
    for room, persistent in ((coven, False), (lasting, True)):
        await room.create(crone, persistentroom=persistent)
        crone.rooms.leave_muc(room.jid, "firstwitch")
        await room.gone(crone, "firstwitch")
        joined = await room.join(hag, "thirdwitch")
        assert (201 in codes(joined.own)) == (not persistent)
        assert standing(joined.own)[0] == ("none" if persistent else "owner")


async def test_who_cannot_be_reached_is_removed(coven, crone, wicca):
    """§7.14, §11.1: an error for what the room sent; all are told by status 333."""
    await coven.gather(crone, wicca)
    coven.say(crone, "anybody?")
    heard = await coven.said(wicca, "firstwitch", "anybody?")
    bounce = wicca.make_message(heard["from"], mtype="error")
    bounce["id"] = heard["id"]
    bounce["error"]["condition"] = "recipient-unavailable"
    bounce.send()
    for client in (crone, wicca):
        gone = await coven.gone(client, "secondwitch")
        assert 333 in codes(gone) and (110 in codes(gone)) == (client is wicca)


async def test_the_service_ends(coven, company, crone, wicca):
    """§11.2: status 332; a persistent room is there again with the service."""
    await coven.gather(crone, wicca, persistentroom=True)
    company.server.ctl("set", "muc.enabled", "off")
    try:
        for client, nick in ((crone, "firstwitch"), (wicca, "secondwitch")):
            assert codes(await coven.gone(client, nick)) == {110, 332}
    finally:
        company.server.ctl("set", "muc.enabled", "on")
    assert 201 not in codes((await coven.join(crone, "firstwitch")).own)
