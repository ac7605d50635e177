"""Rooms as clients of other projects use them: slixmpp with its plug-in, profanity in tmux, and
xmpp.js."""
import asyncio
import json
import os
import shutil
import subprocess
from xml.etree import ElementTree

import pytest
import slixmpp
from slixmpp.exceptions import IqError, PresenceError

from muster import muc
from muster.client import TIMEOUT, until
from muster.muc import Room
from test_clients import JS, Terminal
from test_clients import Slix as Plain

CAVE = slixmpp.JID(Room("cave").jid)


class Slix(Plain):
    """Puts what rooms say into queues."""

    EVENTS = ("groupchat_message", "groupchat_subject", "groupchat_invite", "groupchat_decline",
              "groupchat_presence", "groupchat_message_error")

    def __init__(self, server, name):
        super().__init__(server, name, ["xep_0004", "xep_0030", "xep_0045", "xep_0059", "xep_0249",
                                       "xep_0313", "xep_0421"])
        self.queues = {event: asyncio.Queue() for event in self.EVENTS}
        for event, queue in self.queues.items():
            self.add_event_handler(event, queue.put_nowait)
        self.rooms = self["xep_0045"]
        self.rooms.room = self.rooms.rooms  # 1.8.3 looks for rooms there when one is declined

    async def next(self, event):
        return await asyncio.wait_for(self.queues[event].get(), TIMEOUT)

    async def said(self, text):
        while True:
            message = await self.next("groupchat_message")
            if message["body"] == text:
                return message

    async def join(self, nick, **options):
        return await self.rooms.join_muc_wait(CAVE, nick, timeout=TIMEOUT, **options)

    async def presence_in(self, nick, **wanted):
        """The next presence of an occupant with these values of muc."""
        while True:
            presence = await self.next("groupchat_presence")
            if presence["muc"]["nick"] == nick and all(
                    presence["muc"][k] == v for k, v in wanted.items()):
                return presence


@pytest.fixture
def server(make_server):
    return make_server("alice", "bob", "carol", settings=muc.OWNERS)


def play(server, dialogue, *names):
    """Runs a dialogue between logged-in clients."""
    async def run():
        clients = [await Slix(server, name).login() for name in names]
        try:
            await asyncio.wait_for(dialogue(*clients), 4 * TIMEOUT)
        finally:
            for client in clients:
                await client.disconnect()

    asyncio.run(run())


async def create(owner, **fields):
    """A reserved room by the form, as the plug-in has it."""
    presence, *_ = await owner.join("owner")
    assert {110, 201} <= presence["muc"]["status_codes"]
    form = await owner.rooms.get_room_config(CAVE)
    form.set_values({"muc#roomconfig_" + name: value for name, value in fields.items()})
    await owner.rooms.set_room_config(CAVE, form)


def test_messages_while_not_in_the_room(server):
    """To the bare address of who follows it: clients take them as messages of the room."""
    async def dialogue(alice, bob):
        await create(alice, persistentroom=True)
        await alice.rooms.set_affiliation(CAVE, "member", jid=bob.boundjid.bare)
        query = bob.make_iq_set(ito=CAVE)
        form = muc.submit(muc.REGISTER, {"roomnick": "b", muc.FOLLOW: True}, "muc#register_")
        query.append(ElementTree.fromstring(f"<query xmlns='jabber:iq:register'>{form}</query>"))
        await query.send(timeout=TIMEOUT)
        alice.send_message(CAVE, "from afar", mtype="groupchat")
        message = await bob.said("from afar")
        assert message["mucnick"] == "owner" and message["mucroom"] == CAVE
        unread = message.xml.find(f"{{{muc.ROOMS}}}unread")
        assert unread.get("count") == "1"
        await bob.join("b")
        alice.send_message(CAVE, "from near", mtype="groupchat")
        message = await bob.said("from near")
        assert message["to"] == bob.boundjid.full

    play(server, dialogue, "alice", "bob")


def test_create_join_and_talk(server):
    async def dialogue(alice, bob):
        await create(alice, roomname="Cave")
        _, subject, occupants, _ = await bob.join("b")
        assert [o["muc"]["nick"] for o in occupants] == ["owner", "b"]
        assert subject["subject"] == ""
        bob.send_message(CAVE, "hello", mtype="groupchat")
        for client in (alice, bob):
            message = await client.said("hello")
            assert message["from"] == f"{CAVE}/b" and message["mucnick"] == "b"
            assert message["occupant-id"]["id"]
        alice.rooms.set_subject(CAVE, "Spells")
        assert (await bob.next("groupchat_subject"))["subject"] == ""
        assert (await bob.next("groupchat_subject"))["subject"] == "Spells"
        info = await bob["xep_0030"].get_info(jid=CAVE)
        assert "muc_open" in info["disco_info"]["features"]

    play(server, dialogue, "alice", "bob")


def test_history(server):
    async def dialogue(alice, bob):
        await create(alice)
        for i in range(4):
            alice.send_message(CAVE, str(i), mtype="groupchat")
        await alice.said("3")
        *_, history = await bob.join("b", maxstanzas=2)
        assert [m["body"] for m in history] == ["2", "3"]

    play(server, dialogue, "alice", "bob")


def test_the_archive(server):
    """Both ways through it, in pages, by somebody who is not in the room."""
    async def dialogue(alice, bob):
        await create(alice, persistentroom=True)
        for i in range(10):
            alice.send_message(CAVE, str(i), mtype="groupchat")
        await alice.said("9")
        for reverse in (False, True):
            found = [m["mam_result"]["forwarded"]["stanza"] async for m in
                     bob["xep_0313"].iterate(CAVE, reverse=reverse, rsm={"max": 3})]
            assert [m["body"] for m in found] == sorted((str(i) for i in range(10)),
                                                        reverse=reverse)
            assert {m["from"] for m in found} == {f"{CAVE}/owner"}
        by_alice = [m async for m in bob["xep_0313"].iterate(CAVE, with_jid=alice.boundjid.bare)]
        by_bob = [m async for m in bob["xep_0313"].iterate(CAVE, with_jid=bob.boundjid.bare)]
        assert (len(by_alice), len(by_bob)) == (10, 0)

    play(server, dialogue, "alice", "bob")


def test_password_and_members(server):
    async def dialogue(alice, bob):
        await create(alice, passwordprotectedroom="1", roomsecret="cauldron")
        with pytest.raises(PresenceError) as refused:
            await bob.join("b")
        assert refused.value.condition == "not-authorized"
        await bob.join("b", password="cauldron")
        form = await alice.rooms.get_room_config(CAVE)
        form.set_values({"muc#roomconfig_membersonly": "1"})
        await alice.rooms.set_room_config(CAVE, form)
        gone = await bob.presence_in("b", affiliation="none", role="none")
        assert 322 in gone["muc"]["status_codes"]
        with pytest.raises(PresenceError) as refused:
            await bob.join("b", password="cauldron")
        assert refused.value.condition == "registration-required"

    play(server, dialogue, "alice", "bob")


def test_roles(server):
    async def dialogue(alice, bob):
        await create(alice, moderatedroom="1")
        await bob.join("b")
        assert await alice.rooms.get_roles_list(CAVE, "visitor") == ["b"]
        bob.send_message(CAVE, "psst", mtype="groupchat")
        error = await bob.next("groupchat_message_error")
        assert error["error"]["condition"] == "forbidden"
        await alice.rooms.set_role(CAVE, "b", "participant")
        await bob.presence_in("b", role="participant")
        bob.send_message(CAVE, "thanks", mtype="groupchat")
        await alice.said("thanks")
        await alice.rooms.set_role(CAVE, "b", "none", reason="enough")
        gone = await bob.presence_in("b", role="none")
        assert 307 in gone["muc"]["status_codes"]

    play(server, dialogue, "alice", "bob")


def test_affiliations(server):
    async def dialogue(alice, bob):
        await create(alice)
        await bob.join("b")
        await alice.rooms.set_affiliation(CAVE, "admin", jid=slixmpp.JID("bob@localhost"))
        await bob.presence_in("b", affiliation="admin", role="moderator")
        assert await alice.rooms.get_affiliation_list(CAVE, "admin") == ["bob@localhost"]
        await bob.rooms.send_affiliation_list(CAVE, [("x@example.org", "outcast"),
                                                     ("y@example.org", "member")])
        assert await bob.rooms.get_affiliation_list(CAVE, "outcast") == ["x@example.org"]
        with pytest.raises(IqError) as refused:
            await bob.rooms.set_affiliation(CAVE, "none", jid=slixmpp.JID("alice@localhost"))
        assert refused.value.condition in ("not-allowed", "forbidden")
        await alice.rooms.set_affiliation(CAVE, "outcast", jid=slixmpp.JID("bob@localhost"))
        gone = await bob.presence_in("b", affiliation="outcast")
        assert 301 in gone["muc"]["status_codes"]

    play(server, dialogue, "alice", "bob")


def test_invitation_and_decline(server):
    async def dialogue(alice, bob):
        await create(alice)
        alice.rooms.invite(CAVE, slixmpp.JID("bob@localhost"), reason="come")
        invitation = await bob.next("groupchat_invite")
        assert invitation["from"] == CAVE
        invite = invitation["muc"]["invite"]
        assert invite["reason"] == "come"
        bob.rooms.decline(CAVE, invite["from"], reason="busy")
        declined = await alice.next("groupchat_decline")
        assert declined["muc"]["decline"]["reason"] == "busy"

    play(server, dialogue, "alice", "bob")


def test_nick_change_and_leaving(server):
    async def dialogue(alice, bob):
        await create(alice)
        await bob.join("b")
        bob.send_presence(pto=f"{CAVE}/bobby")
        await alice.presence_in("bobby", role="participant")
        bob.send_presence(pto=f"{CAVE}/bobby", ptype="unavailable", pstatus="bye")
        gone = await alice.presence_in("bobby", role="none")
        assert gone["status"] == "bye"

    play(server, dialogue, "alice", "bob")


def test_destruction(server):
    async def dialogue(alice, bob):
        await create(alice)
        await bob.join("b")
        await alice.rooms.destroy(CAVE, reason="over", altroom=slixmpp.JID("heath@x"))
        gone = await bob.presence_in("b", role="none")
        assert "over" in str(gone) and "heath@x" in str(gone)

    play(server, dialogue, "alice", "bob")


@pytest.fixture
def screen(tmp_path):
    made = Terminal(tmp_path, "profanity")
    yield made
    made.close()


@pytest.mark.skipif(not (shutil.which("profanity") and shutil.which("tmux")),
                    reason="needs profanity and tmux")
def test_profanity_in_a_room(server, bob, screen):
    """Creates a room, talks, kicks."""
    cave = Room("cave")
    screen.expect("Profanity")
    screen.enter(f"/connect alice@localhost server 127.0.0.1 port {server.c2s_port} tls trust")
    screen.expect("Enter password")
    screen.enter("secret")
    screen.expect("logged in successfully")
    screen.enter(f"/join {cave} nick owner")
    screen.expect("Room locked")
    screen.enter("/room accept")
    screen.expect("Room unlocked")  # which it says before the answer is there
    until("an open room", lambda: muc.disco_items(bob, muc.service()))
    cave.enter(bob, "b")
    screen.enter("hello from profanity")
    cave.expect_body(bob, "owner", "hello from profanity")
    cave.say(bob, "hello yourself")
    screen.expect("hello yourself")
    screen.enter("/subject set Spells")
    cave.expect_subject(bob, "owner", "Spells")
    screen.enter("/kick b enough")
    gone = cave.gone(bob, "b")
    assert 307 in gone.codes and gone.reason == "enough"
    screen.enter("/quit")


@pytest.mark.skipif(not (JS / "node_modules" / "@xmpp" / "client").is_dir(),
                    reason="needs npm ci in test/js")
@pytest.mark.parametrize("scheme", ["xmpps", "wss"])
def test_xmpp_js_in_a_room(server, bob, scheme):
    """Makes a room, hears, answers, makes a member, leaves."""
    cave = Room("cave")
    port, path = {"xmpps": (server.tls_port, ""), "wss": (server.https_port, "/xmpp-websocket")}[
        scheme]
    with subprocess.Popen(
            ["node", "--experimental-websocket", JS / "room.js",
             f"{scheme}://127.0.0.1:{port}{path}", "localhost", "alice", "secret", cave.jid],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "NODE_TLS_REJECT_UNAUTHORIZED": "0"}) as process:
        try:
            until("an open room", lambda: muc.disco_items(bob, muc.service()))
            cave.enter(bob, "b")
            cave.say(bob, "hello js")
            cave.expect_subject(bob, "js", "Spells")
            assert cave.presence(bob, "b").standing == ("member", "participant")
            cave.expect_body(bob, "js", "hello b")
            assert cave.gone(bob, "js").standing == ("owner", "none")
            output, errors = process.communicate(timeout=2 * TIMEOUT)
        except BaseException:
            process.kill()
            print(*process.communicate())
            raise
    events = [json.loads(line) for line in output.splitlines()]
    assert [e["event"] for e in events] == [
        "entered", "open", "peer", "heard", "peer", "members", "reflected", "left",
        "offline"], errors
    assert {"110", "201"} <= set(events[0]["codes"])
    assert events[3] == {"event": "heard", "nick": "b", "body": "hello js"}
    assert events[5]["jids"] == ["bob@localhost"] and events[6]["id"] == "m1"


@pytest.mark.skipif(not (JS / "node_modules" / "@xmpp" / "client").is_dir(),
                    reason="needs npm ci in test/js")
@pytest.mark.parametrize("scheme", ["xmpps", "wss"])
def test_xmpp_js_as_a_guest(server, bob, scheme):
    """Asks whether it is there, whispers, takes another nickname, is thrown out."""
    cave = Room("cave").create(bob, "host")
    port, path = {"xmpps": (server.tls_port, ""), "wss": (server.https_port, "/xmpp-websocket")}[
        scheme]
    with subprocess.Popen(
            ["node", "--experimental-websocket", JS / "guest.js",
             f"{scheme}://127.0.0.1:{port}{path}", "localhost", "alice", "secret", cave.jid,
             "host"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "NODE_TLS_REJECT_UNAUTHORIZED": "0"}) as process:
        try:
            cave.expect_body(bob, "guest", "between us", kind="chat")
            cave.whisper(bob, "guest", "indeed")
            renamed = cave.gone(bob, "guest")
            assert 303 in renamed.codes and renamed.new_nick == "friend"
            cave.expect_body(bob, "friend", "throw me out")
            cave.change(bob, muc.item(nick="friend", role="none", reason="as you wish"))
            output, errors = process.communicate(timeout=2 * TIMEOUT)
        except BaseException:
            process.kill()
            print(*process.communicate())
            raise
    assert [json.loads(line) for line in output.splitlines()] == [
        {"event": "entered"}, {"event": "ping", "here": True},
        {"event": "whispered", "nick": "host", "body": "indeed"}, {"event": "renamed"},
        {"event": "refused", "condition": "item-not-found"},
        {"event": "kicked", "by": "host", "reason": "as you wish"},
        {"event": "ping", "here": False, "condition": "not-acceptable"},
        {"event": "offline"}], errors
