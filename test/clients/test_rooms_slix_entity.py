"""XEP-0045 §6 by slixmpp: what anybody may find out about services, rooms and who is there."""
import pytest

from harness import muc
from harness.slix import denied

ROOMS_NODE = "http://jabber.org/protocol/muc#rooms"


async def info(client, jid, node=None):
    return (await client["xep_0030"].get_info(jid=jid, node=node))["disco_info"]


async def items(client, jid, node=None):
    """{(jid, name)}"""
    found = await client["xep_0030"].get_items(jid=jid, node=node)
    return {(str(jid), name) for jid, _, name in found["disco_items"]["items"]}


async def test_the_service_is_found(crone, coven):
    """§6.1: it is an item of the server."""
    assert muc.service() in {jid for jid, _ in await items(crone, "localhost")}


async def test_features_of_the_service(crone, coven):
    """§6.2"""
    found = await info(crone, muc.service())
    assert ("conference", "text") in {identity[:2] for identity in found["identities"]}
    assert {muc.NS, muc.NS + "#stable_id"} <= found["features"]
    assert await crone["xep_0030"].supports(muc.service(), feature=muc.NS)
    assert not await crone["xep_0030"].supports(muc.service(), feature="urn:example:none")


async def test_rooms_are_found(coven, crone, hag):
    """§6.3: public ones with their names, hidden ones not."""
    await coven.create(crone, roomname="A Dark Cave", publicroom=True)
    hidden = coven.beside("hidden")
    await hidden.create(crone, publicroom=False)
    found = await items(hag, muc.service())
    assert (str(coven.jid), "A Dark Cave") in found
    assert str(hidden.jid) not in {jid for jid, _ in found}


async def test_rooms_in_pages(coven, crone, hag):
    """§6.3, XEP-0059: a part of the list at a time."""
    rooms = {str(coven.beside(str(i)).jid) for i in range(3)}
    for i in range(3):
        await coven.beside(str(i)).create(crone, publicroom=True)
    query = hag.make_iq_get(ito=muc.service())
    query.enable("disco_items")
    pages = [{str(jid) for jid, _, _ in page["disco_items"]["items"]} async for page in
             hag["xep_0059"].iterate(query, "disco_items", amount=2)]
    assert all(1 <= len(page) <= 2 for page in pages) and len(pages) >= 2
    assert rooms <= set().union(*pages)


@muc.owners_may("anonymous")
@pytest.mark.parametrize("fields, features", [
    ({}, {"muc_open", "muc_unmoderated", "muc_nonanonymous", "muc_unsecured", "muc_temporary"}),
    ({"membersonly": True, "moderatedroom": True, "whois": "moderators", "persistentroom": True,
      "passwordprotectedroom": True, "roomsecret": "cauldronburn", "publicroom": False},
     {"muc_membersonly", "muc_moderated", "muc_semianonymous", "muc_passwordprotected",
      "muc_persistent", "muc_hidden"})])
async def test_what_kind_of_room_it_is(coven, crone, hag, fields, features):
    """§6.4"""
    await coven.create(crone, roomname="A Dark Cave", **fields)
    found = await info(hag, coven.jid)
    assert ("conference", "text", None, "A Dark Cave") in found["identities"]
    kinds = {f for f in found["features"] if f.startswith("muc_")}
    assert features <= kinds and muc.NS in found["features"]
    opposite = {"muc_open": "muc_membersonly", "muc_unmoderated": "muc_moderated",
                "muc_nonanonymous": "muc_semianonymous", "muc_temporary": "muc_persistent",
                "muc_unsecured": "muc_passwordprotected", "muc_public": "muc_hidden"}
    assert all((one in kinds) != (other in kinds) for one, other in opposite.items())


async def test_extended_information(coven, crone, hag):
    """§6.4: muc#roominfo (XEP-0128)."""
    await coven.create(crone, roomdesc="The place for all good witches!", lang="en")
    crone.rooms.set_subject(coven.jid, "Spells")
    await coven.subject(crone, "Spells")
    found = (await info(hag, coven.jid))["form"]["values"]
    assert found["FORM_TYPE"] in (muc.INFO, [muc.INFO])
    assert found["muc#roominfo_description"] == "The place for all good witches!"
    assert found["muc#roominfo_subject"] == "Spells"
    assert found["muc#roominfo_occupants"] == "1" and found["muc#roominfo_lang"] == "en"
    assert "crone@localhost" in found["muc#roominfo_contactjid"]


async def test_information_on_what_is_not_there(coven, hag):
    """§6.4"""
    assert await denied(info(hag, coven.jid)) == ("item-not-found", "cancel")
    assert await denied(info(hag, coven.jid, "no such node")) == ("item-not-found", "cancel")


async def test_items_of_a_room(coven, crone, wicca, hag):
    """§6.5: who is there, unless that is private; then an empty list."""
    await coven.gather(crone, wicca, publicroom=True)
    here = {(str(coven.at(nick)), None) for nick in ("firstwitch", "secondwitch")}
    assert await items(wicca, coven.jid) == here
    assert await items(hag, coven.jid) == here
    await coven.configure(crone, publicroom=False)
    assert await items(hag, coven.jid) == set()


async def test_outsiders_do_not_query_occupants(coven, crone, hag):
    """§6.6"""
    await coven.create(crone)
    assert await denied(info(hag, coven.at("firstwitch"))) == ("bad-request", "modify")
    assert await denied(items(hag, coven.at("firstwitch"))) == ("bad-request", "modify")


@muc.owners_may("anonymous")
async def test_occupants_query_each_other(coven, crone, wicca):
    """§6.6: the room hands it on to the client, which answers for itself."""
    await coven.gather(crone, wicca, whois="moderators")
    found = await wicca["xep_0030"].get_info(jid=coven.at("firstwitch"))
    assert found["from"] == coven.at("firstwitch")
    assert muc.NS in found["disco_info"]["features"] and "crone@" not in str(found)


async def test_support_of_a_contact(coven, crone, hag):
    """§6.7"""
    assert muc.NS in (await info(crone, hag.boundjid))["features"]


async def test_rooms_of_a_contact(coven, crone, hag):
    """§6.7: which it tells or not."""
    disco = hag["xep_0030"]
    await disco.set_items(node=ROOMS_NODE, items=set())
    assert await items(crone, hag.boundjid, ROOMS_NODE) == set()
    await coven.create(hag, "thirdwitch")
    await disco.add_item(jid=str(coven.jid), name="thirdwitch", node=ROOMS_NODE)
    assert (str(coven.jid), "thirdwitch") in {
        (jid, name) for jid, name in await items(crone, hag.boundjid, ROOMS_NODE)}
