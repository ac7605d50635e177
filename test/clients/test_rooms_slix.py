"""Rooms by slixmpp beyond XEP-0045: archives, self-pings, retraction, moderation, hats, members who
are away."""
from xml.etree import ElementTree

from harness import muc
from harness.client import TIMEOUT
from harness.slix import denied

HATS_COMMANDS = "urn:xmpp:hats:commands"


async def test_the_archive(coven, crone, hag):
    """XEP-0313: both ways through it, in pages, by somebody who is not in the room."""
    await coven.gather(crone, persistentroom=True)
    for i in range(10):
        coven.say(crone, str(i))
    await coven.said(crone, "firstwitch", "9")
    for reverse in (False, True):
        found = [m["mam_result"]["forwarded"]["stanza"] async for m in
                 hag["xep_0313"].iterate(coven.jid, reverse=reverse, rsm={"max": 3})]
        assert [m["body"] for m in found] == sorted(map(str, range(10)), reverse=reverse)
        assert {m["from"] for m in found} == {coven.at("firstwitch")}
    for client, count in ((crone, 10), (hag, 0)):
        found = [m async for m in hag["xep_0313"].iterate(
            coven.jid, with_jid=client.boundjid.bare)]
        assert len(found) == count


async def test_occupant_ids(coven, crone, hag):
    """XEP-0421: the same in what one says, in presence, and by another name."""
    await coven.gather(crone, hag)
    coven.say(hag, "me")
    first = (await coven.said(crone, "secondwitch", "me"))["occupant-id"]["id"]
    hag.send_presence(pto=coven.at("oldhag"))
    seen = await coven.presence(hag, "oldhag")
    assert first and seen.xml.find(f"{{{muc.OCCUPANT_ID}}}occupant-id").get("id") == first
    assert (await coven.join(hag, "oldhag")).occupants[0]["occupant-id"]["id"] != first


async def test_self_ping(coven, crone, hag):
    """XEP-0410: who is in the room is told so, who is not is told that."""
    await coven.gather(crone, hag)
    assert await hag["xep_0199"].send_ping(coven.at("secondwitch"), timeout=TIMEOUT)
    hag.rooms.leave_muc(coven.jid, "secondwitch")
    await coven.gone(hag, "secondwitch")
    assert (await denied(hag["xep_0199"].send_ping(coven.at("secondwitch"), timeout=TIMEOUT)))[
        0] == "not-acceptable"


async def test_moderation(coven, crone, wicca, hag):
    """XEP-0425, as the plug-in has it: an older form of it."""
    await coven.gather(crone, wicca, persistentroom=True)
    coven.say(wicca, "Out, damned spot!")
    said = await coven.said(crone, "secondwitch", "Out, damned spot!")
    ident = said["stanza_id"]["id"]
    assert await denied(wicca["xep_0425"].moderate(coven.jid, ident)) == ("forbidden", "auth")
    await crone["xep_0425"].moderate(coven.jid, ident, "language")
    for client in (crone, wicca):
        moderated = await coven.heard(client, "moderated_message")
        assert moderated["apply_to"]["id"] == ident
        assert moderated["apply_to"]["moderated"]["reason"] == "language"
    assert "Out, damned spot!" not in (await coven.join(hag, "thirdwitch")).bodies


async def test_retraction(coven, crone, wicca):
    """XEP-0424: by who said it; in the form of today, which the plug-in does not know yet."""
    await coven.gather(crone, wicca)
    coven.say(wicca, "Out, damned spot!")
    said = await coven.said(wicca, "secondwitch", "Out, damned spot!")
    message = wicca.make_message(coven.jid, "retracted", mtype="groupchat")
    message.append(ElementTree.Element("{urn:xmpp:message-retract:1}retract",
                                       id=said["stanza_id"]["id"]))
    message.send()
    heard = await coven.said(crone, "secondwitch", "retracted")
    assert heard.xml.find("{urn:xmpp:message-retract:1}retract").get("id") == \
        said["stanza_id"]["id"]
    assert "Out, damned spot!" not in (await coven.join(wicca, "secondwitch")).bodies


async def test_hats(coven, crone, wicca, hag):
    """XEP-0317 by commands (XEP-0050): given by who may, and seen by all."""
    await coven.gather(crone, wicca, hag)
    commands = crone["xep_0050"]
    found = await commands.get_commands(coven.jid)
    assert f"{HATS_COMMANDS}:assign" in {node for _, node, _ in found["disco_items"]["items"]}
    asked = await commands.send_command(coven.jid, f"{HATS_COMMANDS}:assign")
    form = asked["command"]["form"]
    form.set_values({"hats#jid": hag.boundjid.bare, "hats#uri": "urn:example:cook",
                     "hats#title": "Cook"})
    form["type"] = "submit"
    done = await commands.send_command(coven.jid, f"{HATS_COMMANDS}:assign", action="complete",
                                       sessionid=asked["command"]["sessionid"], payload=form)
    assert done["command"]["status"] == "completed"
    for client in (crone, wicca, hag):
        seen = await coven.presence(client, "thirdwitch")
        hat = seen.xml.find(f"{{{muc.HATS}}}hats/{{{muc.HATS}}}hat")
        assert (hat.get("uri"), hat.get("title")) == ("urn:example:cook", "Cook")
    assert await denied(wicca["xep_0050"].send_command(
        coven.jid, f"{HATS_COMMANDS}:assign")) == ("forbidden", "auth")


async def test_messages_while_not_in_the_room(coven, crone, hag):
    """To the bare address of who follows it: clients take them as messages of the room."""
    await coven.gather(crone, persistentroom=True)
    await coven.affiliate(crone, hag, "member")
    await coven.register(hag, "thirdwitch", **{muc.FOLLOW: True})
    coven.say(crone, "from afar")
    message = await coven.said(hag, "firstwitch", "from afar")
    assert message["to"] == hag.boundjid.bare and message["mucroom"] == coven.jid
    assert message.xml.find(f"{{{muc.ROOMS}}}unread").get("count") == "1"
    await coven.join(hag, "thirdwitch")
    coven.say(crone, "from near")
    assert (await coven.said(hag, "firstwitch", "from near"))["to"] == hag.boundjid
