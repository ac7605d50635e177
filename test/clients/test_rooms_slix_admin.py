"""XEP-0045 §9 by slixmpp: bans, members, moderators, and who may register."""
import pytest

from harness import muc
from harness.slix import codes, denied, standing


# --- §9.1, §9.2: bans ---


async def test_ban(coven, crone, wicca, hag):
    """§9.1: status 301, by whom and why."""
    await coven.rule(crone, wicca, hag)
    await coven.affiliate(wicca, hag, "outcast", reason="Treason")
    for client in (crone, wicca, hag):
        gone = await coven.gone(client, "thirdwitch")
        assert standing(gone) == ("outcast", "none") and 301 in codes(gone)
        assert (110 in codes(gone)) == (client is hag)
        assert gone["muc"]["item"]["reason"] == "Treason"
        assert gone["muc"]["item"]["actor"]["nick"] == "secondwitch"
    assert await coven.refused(hag, "thirdwitch") == ("forbidden", "auth")


async def test_ban_frees_a_nickname(coven, crone, wicca, hag, hecate):
    """§9.1: the registered one of the outcast."""
    await coven.rule(crone, wicca, hag)
    await coven.change(wicca, {"affiliation": "member", "jid": hag.boundjid.bare, "nick": "old"})
    assert await coven.refused(hecate, "old") == ("conflict", "cancel")
    await coven.affiliate(wicca, hag, "outcast")
    assert (await coven.join(hecate, "old")).own


async def test_bans_that_may_not_be(coven, crone, wicca, hag):
    """§9.1: of an owner by an admin, of oneself, by who is no admin."""
    await coven.rule(crone, wicca, hag)
    assert await denied(coven.affiliate(wicca, crone, "outcast")) == ("not-allowed", "cancel")
    for client in (crone, wicca):
        assert await denied(coven.affiliate(client, client, "outcast")) == ("conflict", "cancel")
    assert await denied(coven.affiliate(hag, wicca, "outcast")) == ("forbidden", "auth")
    assert await crone.rooms.get_affiliation_list(coven.jid, "outcast") == []


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


async def test_ban_list_with_one_too_many(coven, crone, wicca, hag):
    """§9.2: nothing of it is done."""
    await coven.rule(crone, wicca, hag)
    assert (await denied(wicca.rooms.send_affiliation_list(coven.jid, [
        (hag.boundjid.bare, "outcast"), (crone.boundjid.bare, "outcast")])))[0] == "not-allowed"
    assert (await denied(wicca.rooms.send_affiliation_list(coven.jid, [
        (hag.boundjid.bare, "outcast"), (wicca.boundjid.bare, "outcast")])))[0] == "conflict"
    assert await wicca.rooms.get_affiliation_list(coven.jid, "outcast") == []
    assert await denied(hag.rooms.get_affiliation_list(coven.jid, "outcast")) == (
        "forbidden", "auth")


async def test_ban_of_a_domain(coven, crone, wicca, hag, hecate):
    """§9.2: of all its users but those who have an affiliation."""
    await coven.rule(crone, wicca, hag)
    await coven.affiliate(wicca, hecate, "member")
    await wicca.rooms.set_affiliation(coven.jid, "outcast", jid="localhost")
    assert 301 in codes(await coven.gone(hag, "thirdwitch"))
    assert await coven.refused(hag, "thirdwitch") == ("forbidden", "auth")
    assert standing((await coven.join(hecate, "fourthwitch")).own) == ("member", "participant")


# --- §9.3, §9.4, §9.5: members ---


async def test_membership_is_granted(coven, crone, wicca, hag):
    """§9.3"""
    await coven.rule(crone, wicca, hag)
    await coven.affiliate(wicca, hag, "member", reason="A worthy witch indeed!")
    await coven.all_see((crone, wicca, hag), "thirdwitch", ("member", "participant"),
                        "A worthy witch indeed!")
    assert await wicca.rooms.get_affiliation_list(coven.jid, "member") == ["hag@localhost"]


async def test_membership_is_granted_by_nickname(coven, crone, wicca, hag):
    """§9.3: to who is in the room."""
    await coven.rule(crone, wicca, hag)
    await wicca.rooms.set_affiliation(coven.jid, "member", nick="thirdwitch")
    assert standing(await coven.presence(hag, "thirdwitch")) == ("member", "participant")


async def test_membership_is_revoked(coven, crone, wicca, hag):
    """§9.4: of an open room."""
    await coven.rule(crone, wicca, hag)
    await coven.affiliate(crone, hag, "member")
    await coven.forget(crone, wicca, hag)
    await coven.affiliate(wicca, hag, "none", reason="Not so worthy after all!")
    await coven.all_see((crone, wicca, hag), "thirdwitch", ("none", "participant"),
                        "Not so worthy after all!")
    assert await wicca.rooms.get_affiliation_list(coven.jid, "member") == []


async def test_membership_of_a_members_only_room_is_revoked(coven, crone, wicca, hag):
    """§9.4: status 321, and nothing before it."""
    await coven.rule(crone, wicca, hag)
    await coven.affiliate(crone, hag, "member")
    await coven.configure(crone, membersonly=True)
    await coven.forget(crone, wicca, hag)
    await coven.affiliate(wicca, hag, "none")
    for client in (crone, wicca, hag):
        gone = await coven.presence(client, "thirdwitch")
        assert gone["type"] == "unavailable" and standing(gone) == ("none", "none")
        assert codes(gone) == ({110, 321} if client is hag else {321})
    assert await coven.refused(hag, "thirdwitch") == ("registration-required", "auth")


async def test_member_list(coven, crone, wicca, hag, hecate):
    """§9.5: with registered nicknames, which an empty one takes back; and several changes."""
    await coven.rule(crone, wicca, hag)
    await coven.change(wicca, {"affiliation": "member", "jid": hag.boundjid.bare},
                       {"affiliation": "member", "jid": hecate.boundjid.bare, "nick": "Hec"})
    found = {i["jid"]: i for i in await coven.items(wicca, affiliation="member")}
    assert set(found) == {"hag@localhost", "hecate@localhost"}
    assert found["hecate@localhost"] == {"affiliation": "member", "jid": "hecate@localhost",
                                         "nick": "Hec"}
    iq = wicca.make_iq_set(ito=coven.jid)
    iq["mucadmin_query"]["item"]["affiliation"] = "member"
    iq["mucadmin_query"]["item"]["jid"] = hecate.boundjid.bare
    iq["mucadmin_query"]["item"].xml.set("nick", "")
    await iq.send()
    await wicca.rooms.send_affiliation_list(coven.jid, [(hag.boundjid.bare, "none")])
    assert await coven.items(wicca, affiliation="member") == [
        {"affiliation": "member", "jid": "hecate@localhost"}]


async def test_who_becomes_a_member_is_invited(coven, crone, wicca, hag, hecate):
    """§9.5: to a members-only room, with its password; to an open one not."""
    await coven.rule(crone, wicca, hag)
    await coven.affiliate(wicca, hecate, "member")
    await coven.nothing(hecate, "groupchat_invite", after=[wicca])
    await coven.affiliate(wicca, hecate, "none")
    await coven.configure(crone, membersonly=True, passwordprotectedroom=True, roomsecret="burn")
    await coven.affiliate(wicca, hecate, "member")
    invitation = await coven.heard(hecate, "groupchat_invite")
    password = invitation["muc"].xml.findtext(f"{{{muc.USER}}}password")
    assert standing((await coven.join(hecate, "fourthwitch", password=password)).own)[0] == \
        "member"


# --- §9.6, §9.7, §9.8: moderators ---


async def test_moderator_status_is_granted(coven, crone, wicca, hag):
    """§9.6"""
    await coven.rule(crone, wicca, hag)
    await wicca.rooms.set_role(coven.jid, "thirdwitch", "moderator",
                               reason="A worthy witch indeed!")
    await coven.all_see((crone, wicca, hag), "thirdwitch", ("none", "moderator"),
                        "A worthy witch indeed!")


async def test_moderator_status_is_revoked(coven, crone, wicca, hag):
    """§9.7: but not from owners and admins."""
    await coven.rule(crone, wicca, hag)
    await crone.rooms.set_role(coven.jid, "thirdwitch", "moderator")
    await coven.forget(crone, wicca, hag)
    await wicca.rooms.set_role(coven.jid, "thirdwitch", "participant",
                               reason="Not so worthy after all!")
    await coven.all_see((crone, wicca, hag), "thirdwitch", ("none", "participant"),
                        "Not so worthy after all!")
    for nick in ("firstwitch", "secondwitch"):
        assert await denied(wicca.rooms.set_role(coven.jid, nick, "participant")) == (
            "not-allowed", "cancel")


async def test_moderator_list(coven, crone, wicca, hag, hecate):
    """§9.8: for admins, who change it."""
    await coven.rule(crone, wicca, hag)
    await coven.join(hecate, "fourthwitch")
    await coven.change(wicca, {"nick": "thirdwitch", "role": "moderator"})
    await coven.change(wicca, {"nick": "thirdwitch", "role": "participant"},
                       {"nick": "fourthwitch", "role": "moderator"})
    found = {i["nick"]: i for i in await coven.items(wicca, role="moderator")}
    assert set(found) == {"firstwitch", "secondwitch", "fourthwitch"}
    assert found["fourthwitch"] == {"nick": "fourthwitch", "role": "moderator",
                                    "affiliation": "none", "jid": hecate.boundjid.full}
    assert await denied(coven.change(wicca, {"nick": "fourthwitch", "role": "participant"},
                                     {"nick": "firstwitch", "role": "participant"})) == (
        "not-allowed", "cancel")
    assert len(await wicca.rooms.get_roles_list(coven.jid, "moderator")) == 3
    assert await denied(hag.rooms.get_roles_list(coven.jid, "moderator")) == ("forbidden", "auth")


# --- §9.9: who may register ---


@pytest.mark.parametrize("allow", [True, False])
async def test_registration_is_decided(coven, crone, wicca, hag, allow):
    """§9.9: by the form that owners and admins get."""
    await coven.rule(crone, wicca, hag)
    await coven.register(hag, "thirdwitch")
    for client in (crone, wicca):
        form = (await coven.heard(client, "message_xform"))["form"]
        values = form["values"]
        assert values["FORM_TYPE"] in (muc.REGISTER, [muc.REGISTER])
        assert values["muc#register_roomnick"] == "thirdwitch"
        assert values["muc#register_allow"] is False
    assert await wicca.rooms.get_affiliation_list(coven.jid, "member") == []
    coven.answer(wicca, form, {"muc#register_allow": allow})
    if allow:
        assert standing(await coven.presence(hag, "thirdwitch")) == ("member", "participant")
    await coven.flush(wicca)
    assert await wicca.rooms.get_affiliation_list(coven.jid, "member") == ["hag@localhost"] * allow
