"""XEP-0045 by slixmpp: what its plug-in makes of a room, one case for each thing that people do.
The rules themselves are tested in test/rooms."""
from datetime import datetime, timedelta, timezone

from slixmpp.xmlstream import ET

from harness import muc, xml
from harness.slix import codes, standing

REGISTRATION = "x-muc#roomconfig_registration"
STAYS = {"roomname": "A Dark Cave", "roomdesc": "The place for all good witches!", "lang": "en",
         "changesubject": True, "allowinvites": True, "allowpm": "participants", "maxusers": "10",
         "presencebroadcast": ["moderator", "participant"], "getmemberlist": ["moderator"],
         "publicroom": False, "persistentroom": True, "enablearchiving": True,
         "moderatedroom": True, "membersonly": True, "passwordprotectedroom": True,
         "roomsecret": "cauldronburn", "whois": "moderators"}


async def test_entering(coven, crone, wicca, hag):
    """§7.1, §7.2: one sees all others, oneself, history and subject, and all others see one."""
    await coven.gather(crone, wicca)
    crone.rooms.set_subject(coven.jid, "Spells")
    coven.say(crone, "old")
    await coven.said(wicca, "firstwitch", "old")
    joined = await coven.join(hag, "thirdwitch")
    assert joined.bodies == ["old"] and joined.subject["subject"] == "Spells"
    assert set(joined.nicks) == {"firstwitch", "secondwitch", "thirdwitch"}
    assert joined.nicks[-1] == "thirdwitch" and 110 in codes(joined.own)
    for client in (crone, wicca):
        seen = await coven.heard(client, "groupchat_presence",
                                 lambda p: p["from"].resource == "thirdwitch")
        assert seen["muc"]["nick"] == "thirdwitch" and 110 not in codes(seen)
        assert standing(seen) == ("none", "participant")
    assert set(wicca.rooms.get_roster(coven.jid)) == set(joined.nicks)
    assert wicca.rooms.get_jid_property(coven.jid, "firstwitch", "affiliation") == "owner"


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


async def test_private_messages(coven, crone, wicca, hag):
    """§7.5: to one alone, marked for what it is."""
    await coven.gather(crone, wicca, hag)
    coven.whisper(wicca, "firstwitch", "I'll give thee a wind.")
    heard = await coven.said(crone, "secondwitch", "I'll give thee a wind.", "chat")
    assert heard.get_plugin("muc", check=True) is not None and heard["to"] == crone.boundjid
    coven.whisper(wicca, "firstwitch", "Thou'rt kind.", "normal")
    await coven.said(crone, "secondwitch", "Thou'rt kind.", "normal")
    await coven.nothing(hag, "message", after=[wicca])


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


async def test_subject(coven, crone, wicca):
    """§8.1: it is changed, and taken away."""
    await coven.gather(crone, wicca)
    for text in ("Fire Burn and Cauldron Bubble!", ""):
        message = crone.make_message(coven.jid, mtype="groupchat")
        ET.SubElement(message.xml, f"{{{xml.CLIENT}}}subject").text = text
        message.send()  # where set_subject() would leave out an empty one
        for client in (crone, wicca):
            changed = await coven.subject(client, text)
            assert changed["from"] == coven.at("firstwitch") and changed["type"] == "groupchat"
            assert changed.get_plugin("delay", check=True) is None
    assert (await coven.join(wicca, "secondwitch")).subject["subject"] == ""


async def test_kick(coven, crone, wicca, hag):
    """§8.2: status 307, by whom and why."""
    await coven.gather(crone, wicca, hag)
    await crone.rooms.set_role(coven.jid, "secondwitch", "none", reason="Avaunt, you cullion!")
    for client in (crone, wicca, hag):
        gone = await coven.gone(client, "secondwitch")
        assert standing(gone) == ("none", "none")
        assert codes(gone) == ({110, 307} if client is wicca else {307})
        assert gone["muc"]["item"]["reason"] == "Avaunt, you cullion!"
        assert gone["muc"]["item"]["actor"]["nick"] == "firstwitch"
    coven.say(wicca, "why?")
    assert await coven.error(wicca) == "not-acceptable"
    assert standing((await coven.join(wicca, "secondwitch")).own) == ("none", "participant")


async def test_request_for_voice(coven, crone, hag):
    """§7.13, §8.6: decided by the form that moderators get."""
    await coven.gather(crone, hag, moderatedroom=True)
    hag.rooms.request_voice(coven.jid, "participant")
    form = (await coven.heard(crone, "message_xform"))["form"]
    values = form["values"]
    assert form["type"] == "form" and values["muc#request_allow"] is False
    assert (values["muc#role"], values["muc#roomnick"]) == ("participant", "secondwitch")
    assert values["muc#jid"] in (hag.boundjid.full, hag.boundjid.bare)
    coven.answer(crone, form, {"muc#request_allow": True})
    assert standing(await coven.presence(hag, "secondwitch")) == ("none", "participant")
    assert await crone.rooms.get_roles_list(coven.jid, "participant") == ["secondwitch"]


async def test_ban_list(coven, crone, wicca, hag):
    """§9.2: with reasons; several are banned at once, and one is forgiven."""
    await coven.rule(crone, wicca, hag)
    await coven.change(
        wicca, {"affiliation": "outcast", "jid": "lordscroop@example.org", "reason": "Treason"},
        {"affiliation": "outcast", "jid": hag.boundjid.bare})
    assert 301 in codes(await coven.gone(hag, "thirdwitch"))
    assert sorted(await coven.items(wicca, affiliation="outcast"), key=lambda i: i["jid"]) == [
        {"affiliation": "outcast", "jid": "hag@localhost"},
        {"affiliation": "outcast", "jid": "lordscroop@example.org", "reason": "Treason"}]
    await wicca.rooms.send_affiliation_list(coven.jid, [(hag.boundjid.bare, "none")])
    assert await wicca.rooms.get_affiliation_list(coven.jid, "outcast") == [
        "lordscroop@example.org"]
    assert standing((await coven.join(hag, "thirdwitch")).own) == ("none", "participant")


@muc.owners_may("anonymous", "history")
async def test_reserved_room(coven, crone, hag):
    """§10.1.3: what is submitted is so, when others come in."""
    await coven.join(crone, "firstwitch")
    form = await crone.rooms.get_room_config(coven.jid)
    assert form["type"] == "form" and form["title"]
    assert {"FORM_TYPE", "muc#maxhistoryfetch", "muc#roomconfig_roomadmins",
            "muc#roomconfig_roomowners", *(f"muc#roomconfig_{k}" for k in STAYS)} <= \
        set(form["values"])
    await coven.configure(crone, **STAYS)
    found = await coven.configuration(crone)
    found = {k: found[f"muc#roomconfig_{k}"] for k in STAYS}
    assert {**found, "presencebroadcast": sorted(found["presencebroadcast"])} == STAYS
    await coven.affiliate(crone, hag, "member")
    assert standing((await coven.join(hag, "thirdwitch", password="cauldronburn")).own) == (
        "member", "participant")


async def test_affiliation_is_granted_and_revoked(coven, crone, wicca, hag):
    """§10.6, §10.7: all see it; a full address means its user."""
    await coven.rule(crone, wicca, hag)
    for given, stands in (("admin", ("admin", "moderator")), ("member", ("member", "participant"))):
        await crone.rooms.set_affiliation(coven.jid, given, jid=hag.boundjid, reason="a reason")
        for client in (crone, wicca, hag):
            seen = await coven.presence(client, "thirdwitch")
            assert standing(seen) == stands and seen["muc"]["item"]["reason"] == "a reason"
        listed = await crone.rooms.get_affiliation_list(coven.jid, "admin")
        assert ("hag@localhost" in listed) == (given == "admin")


async def test_destruction(coven, crone, wicca, hag):
    """§10.9: each is told once, where to go instead and why; then there is no such room."""
    await coven.gather(crone, wicca, hag, persistentroom=True)
    other = f"heath@{coven.jid.domain}"
    await crone.rooms.destroy(coven.jid, reason="Macbeth doth come.", altroom=other)
    for client, nick in ((crone, "firstwitch"), (wicca, "secondwitch"), (hag, "thirdwitch")):
        gone = await coven.heard(client, "any_presence")
        assert gone["from"] == coven.at(nick) and gone["type"] == "unavailable"
        assert standing(gone) == ("none", "none")
        destroyed = gone["muc"]["destroy"]
        assert (destroyed["jid"], destroyed["reason"]) == (other, "Macbeth doth come.")
        await coven.nothing(client, "any_presence", after=[crone])
    assert 201 in codes((await coven.join(hag, "thirdwitch")).own), "there was none any more"
