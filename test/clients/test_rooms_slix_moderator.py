"""XEP-0045 §8 by slixmpp: subjects, kicks and voice."""
import pytest
from slixmpp.xmlstream import ET

from harness import xml
from harness.slix import codes, denied, standing


# --- §8.1: the subject ---


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


async def test_subject_without_the_right(coven, crone, wicca):
    """§8.1: forbidden to who is no moderator, where it is configured so."""
    await coven.gather(crone, wicca, changesubject=False)
    wicca.rooms.set_subject(coven.jid, "mine")
    error = await coven.heard(wicca, "groupchat_message_error")
    assert (error["error"]["condition"], error["error"]["type"]) == ("forbidden", "auth")
    assert error["error"].xml.get("by") == coven.jid
    crone.rooms.set_subject(coven.jid, "the moderator's")
    await coven.subject(wicca, "the moderator's")


async def test_subject_of_a_message(coven, crone, wicca):
    """§8.1: beside a body it is no change."""
    await coven.gather(crone, wicca)
    crone.send_message(coven.jid, "and more", msubject="of this message", mtype="groupchat")
    assert (await coven.said(wicca, "firstwitch", "and more"))["subject"] == "of this message"
    await coven.nothing(wicca, "groupchat_subject", after=[crone])
    assert (await coven.join(wicca, "secondwitch")).subject["subject"] == ""


# --- §8.2: kicks ---


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
    assert (await coven.error(wicca))[0] == "not-acceptable"
    assert standing((await coven.join(wicca, "secondwitch")).own) == ("none", "participant")


async def test_kick_of_somebody_higher(coven, crone, wicca, hag):
    """§8.2: a moderator without affiliation kicks no member, an admin no owner."""
    await coven.gather(crone, wicca, hag)
    await crone.rooms.set_role(coven.jid, "secondwitch", "moderator")
    await coven.affiliate(crone, hag, "member")
    for nick in ("thirdwitch", "firstwitch"):
        assert await denied(wicca.rooms.set_role(coven.jid, nick, "none")) == (
            "not-allowed", "cancel")
    await coven.affiliate(crone, wicca, "admin")
    assert await denied(wicca.rooms.set_role(coven.jid, "firstwitch", "none")) == (
        "not-allowed", "cancel")
    await wicca.rooms.set_role(coven.jid, "thirdwitch", "none")
    assert 307 in codes(await coven.gone(hag, "thirdwitch"))


async def test_kick_of_oneself(coven, crone, wicca):
    """§8.2: is a conflict, and nothing happens."""
    await coven.gather(crone, wicca)
    assert await denied(crone.rooms.set_role(coven.jid, "firstwitch", "none")) == (
        "conflict", "cancel")
    coven.say(crone, "still here")
    await coven.said(wicca, "firstwitch", "still here")


async def test_kick_without_the_right(coven, crone, wicca, hag):
    """§8"""
    await coven.gather(crone, wicca, hag)
    assert await denied(wicca.rooms.set_role(coven.jid, "thirdwitch", "none")) == (
        "forbidden", "auth")
    coven.say(hag, "still here")
    await coven.said(crone, "thirdwitch", "still here")


# --- §8.3, §8.4: voice ---


async def test_voice_is_granted(coven, crone, wicca, hag):
    """§8.3: with a reason."""
    await coven.gather(crone, wicca, hag, moderatedroom=True)
    await crone.rooms.set_role(coven.jid, "thirdwitch", "participant",
                               reason="A worthy witch indeed!")
    await coven.all_see((crone, wicca, hag), "thirdwitch", ("none", "participant"),
                        "A worthy witch indeed!")
    coven.say(hag, "thank you")
    await coven.said(crone, "thirdwitch", "thank you")


async def test_voice_is_revoked(coven, crone, wicca):
    """§8.4"""
    await coven.gather(crone, wicca)
    await coven.configure(crone, moderatedroom=True)
    await crone.rooms.set_role(coven.jid, "secondwitch", "visitor",
                               reason="Not so worthy after all!")
    await coven.all_see((crone, wicca), "secondwitch", ("none", "visitor"),
                        "Not so worthy after all!")
    coven.say(wicca, "but")
    assert await coven.error(wicca) == ("forbidden", "auth")


@pytest.mark.parametrize("affiliation", ["admin", "owner"])
async def test_voice_of_admins_and_owners(coven, crone, wicca, affiliation):
    """§8.4: nobody takes it, not even an owner."""
    await coven.gather(crone, wicca, moderatedroom=True)
    await coven.affiliate(crone, wicca, affiliation)
    assert await denied(crone.rooms.set_role(coven.jid, "secondwitch", "visitor")) == (
        "not-allowed", "cancel")
    coven.say(wicca, "still heard")
    await coven.said(crone, "secondwitch", "still heard")


async def test_voice_of_somebody_higher(coven, crone, wicca, hag):
    """§8.4: a moderator without affiliation does not take a member's."""
    await coven.gather(crone, wicca, hag, moderatedroom=True)
    await crone.rooms.set_role(coven.jid, "secondwitch", "moderator")
    await coven.affiliate(crone, hag, "member")
    assert await denied(wicca.rooms.set_role(coven.jid, "thirdwitch", "visitor")) == (
        "not-allowed", "cancel")


# --- §8.5: the voice list ---


async def test_voice_list(coven, crone, wicca, hag):
    """§8.5: with nicknames, roles, affiliations and addresses; and several changes at once."""
    await coven.gather(crone, wicca, hag, moderatedroom=True)
    assert await crone.rooms.get_roles_list(coven.jid, "participant") == []
    await coven.change(crone, {"nick": "secondwitch", "role": "participant"},
                       {"nick": "thirdwitch", "role": "participant", "reason": "Worthy."})
    assert (await coven.presence(wicca, "secondwitch"))["muc"]["role"] == "participant"
    assert (await coven.presence(wicca, "thirdwitch"))["muc"]["item"]["reason"] == "Worthy."
    found = await coven.items(crone, role="participant")
    assert {tuple(sorted(one.items())) for one in found} == {
        (("affiliation", "none"), ("jid", client.boundjid.full), ("nick", nick),
         ("role", "participant")) for client, nick in ((wicca, "secondwitch"),
                                                       (hag, "thirdwitch"))}
    await coven.change(crone, {"nick": "secondwitch", "role": "visitor"})
    assert await crone.rooms.get_roles_list(coven.jid, "participant") == ["thirdwitch"]
    assert await crone.rooms.get_roles_list(coven.jid, "visitor") == ["secondwitch"]


async def test_voice_list_without_the_right(coven, crone, wicca):
    """§8.5"""
    await coven.gather(crone, wicca, moderatedroom=True)
    assert await denied(wicca.rooms.get_roles_list(coven.jid, "participant")) == (
        "forbidden", "auth")
    assert await denied(coven.change(wicca, {"nick": "secondwitch", "role": "participant"})) == (
        "forbidden", "auth")


async def test_voice_list_with_one_too_many(coven, crone, wicca, hag):
    """§8.5: what may not all be done is not done at all."""
    await coven.gather(crone, wicca, hag, moderatedroom=True)
    await crone.rooms.set_role(coven.jid, "secondwitch", "moderator")
    assert await denied(coven.change(
        wicca, {"nick": "thirdwitch", "role": "participant"},
        {"nick": "firstwitch", "role": "visitor"})) == ("not-allowed", "cancel")
    assert await crone.rooms.get_roles_list(coven.jid, "visitor") == ["thirdwitch"]


# --- §8.6: requests for voice ---


@pytest.mark.parametrize("allow", [True, False])
async def test_request_for_voice_is_decided(coven, crone, hag, allow):
    """§8.6: by the form that moderators get."""
    await coven.gather(crone, hag, moderatedroom=True)
    hag.rooms.request_voice(coven.jid, "participant")
    form = (await coven.heard(crone, "message_xform"))["form"]
    values = form["values"]
    assert form["type"] == "form" and values["muc#request_allow"] is False
    assert (values["muc#role"], values["muc#roomnick"]) == ("participant", "secondwitch")
    assert values["muc#jid"] in (hag.boundjid.full, hag.boundjid.bare)
    coven.answer(crone, form, {"muc#request_allow": allow})
    if allow:
        assert standing(await coven.presence(hag, "secondwitch")) == ("none", "participant")
    else:
        await coven.nothing(hag, "any_presence", after=[crone])
    assert await crone.rooms.get_roles_list(coven.jid, "participant") == ["secondwitch"] * allow


async def test_nobody_decides_for_oneself(coven, crone, hag):
    """§8.6"""
    await coven.gather(crone, hag, moderatedroom=True)
    hag.rooms.request_voice(coven.jid, "participant")
    form = (await coven.heard(crone, "message_xform"))["form"]
    coven.answer(hag, form, {"muc#request_allow": True})
    await coven.nothing(hag, "any_presence", after=[hag])
    assert await crone.rooms.get_roles_list(coven.jid, "visitor") == ["secondwitch"]
