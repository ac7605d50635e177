"""XEP-0045 §10 by slixmpp: rooms are made, configured, given to others and destroyed."""
import pytest
from slixmpp.xmlstream import ET

from harness import muc
from harness.slix import codes, denied, standing

SHOWN = "muster#roomconfig_showabsent"
STAYS = {"roomname": "A Dark Cave", "roomdesc": "The place for all good witches!", "lang": "en",
         "changesubject": True, "allowinvites": True, "allowpm": "participants", "maxusers": "10",
         "presencebroadcast": ["moderator", "participant"], "getmemberlist": ["moderator"],
         "publicroom": False, "persistentroom": True, "enablearchiving": True,
         "moderatedroom": True, "membersonly": True, "passwordprotectedroom": True,
         "roomsecret": "cauldronburn", "whois": "moderators"}


# --- §10.1: to create ---


async def test_creation_that_is_restricted(coven, company, crone):
    """§10.1.1"""
    company.server.ctl("set", "muc.create", "administrators")
    try:
        assert await coven.refused(crone, "firstwitch") == ("not-allowed", "cancel")
    finally:
        company.server.ctl("set", "muc.create", "everyone")
    assert 201 in codes((await coven.join(crone, "firstwitch")).own)


async def test_instant_room(coven, crone, hag):
    """§10.1.2: an empty form is enough."""
    joined = await coven.join(crone, "firstwitch")
    assert {110, 201} <= codes(joined.own) and standing(joined.own) == ("owner", "moderator")
    form = crone["xep_0004"].make_form(ftype="submit")
    await crone.rooms.set_room_config(coven.jid, form)
    assert set((await coven.join(hag, "thirdwitch")).nicks) == {"firstwitch", "thirdwitch"}


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
    assert await coven.refused(hag, "thirdwitch", password="cauldronburn") == (
        "registration-required", "auth")


async def test_reserved_room_that_is_not_acceptable(coven, crone, hag):
    """§10.1.3: a password is needed; the room stays locked until the form is right."""
    await coven.join(crone, "firstwitch")
    assert await denied(coven.configure(crone, passwordprotectedroom=True, roomsecret="")) == (
        "not-acceptable", "modify")
    assert await coven.refused(hag, "thirdwitch") == ("item-not-found", "cancel")
    await coven.configure(crone, passwordprotectedroom=True, roomsecret="cauldronburn")
    assert (await coven.join(hag, "thirdwitch", password="cauldronburn")).own


@pytest.mark.parametrize("how", ["cancel", "leave"])
async def test_reserved_room_that_is_given_up(coven, crone, hag, how):
    """§10.1.3: then there is none."""
    await coven.join(crone, "firstwitch")
    if how == "cancel":
        await crone.rooms.cancel_config(coven.jid)
    else:
        crone.rooms.leave_muc(coven.jid, "firstwitch")
        left = await coven.gone(crone, "firstwitch")
        assert left["muc"].get_plugin("destroy", check=True) is None
    gone = await coven.gone(crone, "firstwitch")
    assert 110 in codes(gone) and gone["muc"]["role"] == "none"
    assert gone["muc"].get_plugin("destroy", check=True) is not None
    assert 201 in codes((await coven.join(hag, "thirdwitch")).own)


# --- §10.2: to configure ---


async def test_configuration(coven, crone, wicca, hag):
    """§10.2: the form has what is so; a cancelled one changes nothing; owners alone get it."""
    await coven.rule(crone, wicca, hag, roomname="A Dark Cave")
    assert (await coven.configuration(crone))["muc#roomconfig_roomname"] == "A Dark Cave"
    await crone.rooms.cancel_config(coven.jid)
    before = await coven.configuration(crone)
    assert before["muc#roomconfig_roomname"] == "A Dark Cave"
    for client in (wicca, hag):
        assert await denied(client.rooms.get_room_config(coven.jid)) == ("forbidden", "auth")
        mine = client["xep_0004"].make_form(ftype="submit")
        mine.add_field("FORM_TYPE", "hidden", value=muc.CONFIG)
        mine.add_field("muc#roomconfig_roomname", value="mine")
        assert await denied(client.rooms.set_room_config(coven.jid, mine)) == ("forbidden", "auth")
    assert await denied(coven.configure(crone, roomname="x", maxusers="many")) == (
        "not-acceptable", "modify")
    assert await coven.configuration(crone) == before


async def test_admins_and_owners_by_the_form(coven, crone, wicca, hag):
    """§10.2: they come and go, all see it, and one owner stays."""
    await coven.rule(crone, wicca, hag)
    found = await coven.configuration(crone)
    assert found["muc#roomconfig_roomadmins"] == ["wicca@localhost"]
    assert found["muc#roomconfig_roomowners"] == ["crone@localhost"]
    for fields, nick, stands in (
            ({"roomadmins": ["hag@localhost"]}, "secondwitch", ("member", "participant")),
            ({"roomadmins": ["hag@localhost", "wicca@localhost"]}, "secondwitch",
             ("admin", "moderator")),
            ({"roomowners": ["crone@localhost", "hag@localhost"]}, "thirdwitch",
             ("owner", "moderator")),
            ({"roomowners": ["crone@localhost"], "roomadmins": ["hag@localhost"]}, "thirdwitch",
             ("admin", "moderator"))):
        await coven.forget(crone, wicca, hag)
        await coven.configure(crone, **fields)
        for client in (crone, wicca, hag):
            assert standing(await coven.presence(client, nick)) == stands, fields
    assert (await denied(coven.configure(crone, roomowners=[])))[0] == "conflict"


async def test_room_that_becomes_members_only(coven, crone, wicca, hag):
    """§10.2: who is no member leaves, with status 322."""
    await coven.rule(crone, wicca, hag)
    await coven.configure(crone, membersonly=True)
    for client in (crone, wicca, hag):
        gone = await coven.gone(client, "thirdwitch")
        assert standing(gone) == ("none", "none")
        assert codes(gone) == ({110, 322} if client is hag else {322})
    coven.say(wicca, "still here")
    await coven.said(crone, "secondwitch", "still here")


@muc.owners_may("anonymous")
@pytest.mark.parametrize("before, after, code", [
    ({}, {"roomname": "A Dark Cave"}, 104),
    ({SHOWN: False}, {SHOWN: True}, 102), ({SHOWN: True}, {SHOWN: False}, 103),
    ({"persistentroom": True, "enablearchiving": False}, {"enablearchiving": True}, 170),
    ({"persistentroom": True, "enablearchiving": True}, {"enablearchiving": False}, 171),
    ({"whois": "moderators"}, {"whois": "anyone"}, 172),
    ({"whois": "anyone"}, {"whois": "moderators"}, 173)])
async def test_notice_of_a_change(coven, crone, wicca, before, after, code):
    """§10.2.1, §15.6: all are told which kind of change it was, and nothing when there was none."""
    await coven.gather(crone, wicca, **before)
    await coven.configure(crone, **before)
    await coven.nothing(wicca, "groupchat_config_status", after=[crone])
    await coven.configure(crone, **after)
    for client in (crone, wicca):
        notice = await coven.heard(client, "groupchat_config_status")
        assert codes(notice) == {code} and notice["from"] == coven.jid
        assert notice["type"] == "groupchat" and notice["body"] == ""


# --- §10.3 to §10.8: owners and admins ---


@pytest.mark.parametrize("affiliation", ["owner", "admin"])
async def test_status_is_granted_and_revoked(coven, crone, wicca, hag, affiliation):
    """§10.3, §10.4, §10.6, §10.7: all see it; a full address means its user."""
    await coven.rule(crone, wicca, hag)
    for given, stands in ((affiliation, (affiliation, "moderator")),
                          ("member", ("member", "participant"))):
        await crone.rooms.set_affiliation(coven.jid, given, jid=hag.boundjid, reason="a reason")
        for client in (crone, wicca, hag):
            seen = await coven.presence(client, "thirdwitch")
            assert standing(seen) == stands and seen["muc"]["item"]["reason"] == "a reason"
        listed = await crone.rooms.get_affiliation_list(coven.jid, affiliation)
        assert ("hag@localhost" in listed) == (given == affiliation)


@pytest.mark.parametrize("affiliation", ["owner", "admin"])
async def test_status_is_granted_by_owners_alone(coven, crone, wicca, hag, hecate, affiliation):
    """§10.3, §10.4, §10.6, §10.7"""
    await coven.rule(crone, wicca, hag)
    await coven.affiliate(crone, hecate, affiliation)
    for client in (wicca, hag):
        assert await denied(coven.affiliate(client, hag, affiliation)) == ("forbidden", "auth")
        assert await denied(coven.affiliate(client, hecate, "none")) == ("forbidden", "auth")
    assert "hecate@localhost" in await crone.rooms.get_affiliation_list(coven.jid, affiliation)


async def test_last_owner(coven, crone, hag):
    """§10.4: does not resign; one of several does."""
    await coven.gather(crone, hag)
    for affiliation in ("admin", "none"):
        assert await denied(coven.affiliate(crone, crone, affiliation)) == ("conflict", "cancel")
    await coven.affiliate(crone, hag, "owner")
    await coven.affiliate(crone, crone, "admin")
    assert standing(await coven.presence(hag, "firstwitch")) == ("admin", "moderator")
    assert await hag.rooms.get_affiliation_list(coven.jid, "owner") == ["hag@localhost"]
    await coven.configure(hag, roomname="The hag's")


@muc.owners_may("anonymous")
@pytest.mark.parametrize("affiliation", ["owner", "admin"])
async def test_list_of_owners_and_admins(coven, crone, wicca, hag, affiliation):
    """§10.5, §10.8: owners change it; where addresses are hidden, it is theirs alone."""
    await coven.rule(crone, wicca, hag)
    others = set(await crone.rooms.get_affiliation_list(coven.jid, affiliation))
    await crone.rooms.send_affiliation_list(coven.jid, [("x@example.org", affiliation),
                                                        ("hag@localhost", affiliation)])
    assert standing(await coven.presence(wicca, "thirdwitch")) == (affiliation, "moderator")
    await crone.rooms.send_affiliation_list(coven.jid, [("hag@localhost", "none")])
    assert standing(await coven.presence(wicca, "thirdwitch")) == ("none", "participant")
    found = await coven.items(crone, affiliation=affiliation)
    assert {i["jid"] for i in found} == others | {"x@example.org"}
    assert {i["affiliation"] for i in found} == {affiliation}
    assert await denied(wicca.rooms.send_affiliation_list(
        coven.jid, [("x@example.org", "none")])) == ("forbidden", "auth")
    assert await wicca.rooms.get_affiliation_list(coven.jid, affiliation)
    await coven.configure(crone, whois="moderators")
    for client in (wicca, hag):
        assert await denied(client.rooms.get_affiliation_list(coven.jid, affiliation)) == (
            "forbidden", "auth")


# --- §10.9: to destroy ---


@pytest.mark.parametrize("persistent", [False, True])
async def test_destruction(coven, crone, wicca, hag, persistent):
    """§10.9: each is told once, where to go instead and why; then there is no such room."""
    await coven.gather(crone, wicca, hag, persistentroom=persistent)
    other = coven.beside("other")
    await crone.rooms.destroy(coven.jid, reason="Macbeth doth come.", altroom=other.jid)
    for client, nick in ((crone, "firstwitch"), (wicca, "secondwitch"), (hag, "thirdwitch")):
        gone = await coven.heard(client, "any_presence")
        assert gone["from"] == coven.at(nick) and gone["type"] == "unavailable"
        assert standing(gone) == ("none", "none")
        destroyed = gone["muc"]["destroy"]
        assert (destroyed["jid"], destroyed["reason"]) == (str(other.jid), "Macbeth doth come.")
        await coven.nothing(client, "any_presence", after=[crone])
    assert await denied(crone["xep_0030"].get_info(jid=coven.jid)) == ("item-not-found", "cancel")


async def test_destruction_with_a_password_for_the_other_room(coven, crone, wicca):
    """§10.9"""
    await coven.gather(crone, wicca)
    iq = crone.make_iq_set(ito=coven.jid)
    iq["mucowner_query"]["destroy"]["jid"] = "heath@example.org"
    ET.SubElement(iq["mucowner_query"]["destroy"].xml, f"{{{muc.OWNER}}}password").text = "burn"
    await iq.send()
    destroyed = (await coven.gone(wicca, "secondwitch"))["muc"]["destroy"]
    assert destroyed.xml.findtext(f"{{{muc.USER}}}password") == "burn"


async def test_destruction_by_others(coven, crone, wicca, hag):
    """§10.9"""
    await coven.rule(crone, wicca, hag)
    for client in (wicca, hag):
        assert await denied(client.rooms.destroy(coven.jid)) == ("forbidden", "auth")
    coven.say(hag, "still here")
    await coven.said(crone, "thirdwitch", "still here")
