"""What a room says to members who are not in it: messages and unread counts for those who follow,
announcements of mentions, and that members are shown while they are absent (docs/rooms.md)."""

import pytest

from harness import muc, xml
from harness.client import until
from harness.component import Component
from harness.muc import Room
from harness.pubsub import get_items
from services.test_push import DOMAIN, SECRET, announcement, enable, fields

MARKER = "urn:xmpp:chat-markers:0"
SID = "urn:xmpp:sid:0"


@pytest.fixture
def server(make_server):
    return make_server("alice", "bob", "carol", component=True, workers=2,
                       settings={"muc.archive": True})


@pytest.fixture
def cave(alice):
    """A persistent room of alice, with bob as a member."""
    room = Room("cave").create(alice, "first", persistentroom=True)
    room.set_affiliation(alice, "bob@localhost", "member")
    return room


def heard(client, room, text):
    """A message that the room sends to the account; its count of unread ones."""
    message = client.expect(lambda e: e.tag == f"{{{xml.CLIENT}}}message"
                            and e.findtext(f"{{{xml.CLIENT}}}body") == text)
    assert message.get("type") == "groupchat" and muc.split(message.get("from"))[0] == room.jid
    assert message.get("to") == client.bare
    assert len(message.findall(f"{{{muc.ROOMS}}}unread")) == 1
    return int(message.find(f"{{{muc.ROOMS}}}unread").get("count"))


def unread(client):
    """{room: count} as the service tells it."""
    rooms = client.result("get", f"<rooms xmlns='{muc.ROOMS}'/>", to=muc.service())
    return {r.get("jid"): int(r.get("unread")) for r in rooms.iter(f"{{{muc.ROOMS}}}room")}


def stanza_id(message):
    return message.find(f"{{{SID}}}stanza-id").get("id")


def test_the_feature_and_the_field(cave, alice, bob):
    assert "http://tigase.org/protocol/muc#offline" in muc.disco_info(alice, cave.jid)[1]
    for value in ("0", "1"):
        reply = bob.result("get", "<query xmlns='jabber:iq:register'/>", to=cave.jid)
        form = muc.form_values(reply.find(f".//{{{muc.DATA}}}x"))
        assert form[muc.FOLLOW] == value
        cave.register(bob, "second", follow=True)


def test_messages_on_all_devices_while_not_in_the_room(server, cave, alice, bob):
    phone = server.client("bob", "phone")
    cave.register(bob, "second", follow=True)
    for n in (1, 2):
        cave.say(alice, f"m{n}")
        assert heard(bob, cave, f"m{n}") == heard(phone, cave, f"m{n}") == n
    cave.expect_body(alice, "first", "m2")
    assert unread(bob) == unread(phone) == {cave.jid: 2}
    got = cave.enter(bob, "second")
    assert got.bodies == ["m1", "m2"]
    assert unread(phone) == {}
    cave.say(alice, "seen")
    cave.expect_body(bob, "first", "seen")
    cave.expect_nothing(phone, "<message><body>seen</body></message>", after=(alice,))
    assert unread(bob) == {}
    cave.leave(bob, "second")
    cave.say(alice, "again")
    assert heard(bob, cave, "again") == 1


def test_followers_who_watch_and_are_watched(server, cave, push, alice, bob):
    """The bookmark, the message of the room and the announcement of a mention come as without the
    watch, and presence is seen."""
    server.ctl("set", "muc.bookmark", "on")
    server.befriend("alice", "bob")
    for client, other in ((bob, alice), (alice, bob)):
        client.result("set", "<watch xmlns='urn:muster:watch:0' seconds='60'/>", to=other.bare)
    cave.register(bob, "second", follow=True)
    until("a bookmark", lambda: cave.jid in {i.get("id") for i in bob.iq(
        "get", get_items("urn:xmpp:bookmarks:1")).iter() if i.tag.endswith("}item")})
    cave.say(alice, "come")
    assert heard(bob, cave, "come") == 1
    bob.inbox.clear()
    alice.send("<presence><show>dnd</show></presence>")
    bob.expect(f"<presence from='{alice}'><show>dnd</show></presence>")
    cave.register(bob, "second", follow=False)
    enable(bob)
    bob.close()
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    cave.say(alice, "second: where are you?")
    assert announcement(push).get("from") == bob.bare


def test_nothing_without_having_asked_for_it(cave, alice, bob):
    cave.register(bob, "second")
    cave.say(alice, "to those who are here")
    cave.expect_body(alice, "first", "to those who are here")
    cave.expect_nothing(bob, "<message/>", after=(alice,))
    assert unread(bob) == {}


def test_no_longer(server, cave, alice, bob):
    alice.enable_sm()
    cave.register(bob, "second", follow=True)
    cave.say(alice, "zero")
    assert heard(bob, cave, "zero") == 1
    cave.register(bob, "second", follow=False)
    cave.say(alice, "one")
    cave.expect_body(alice, "first", "one")
    cave.register(bob, "second", follow=True)
    cave.say(alice, "two")
    assert heard(bob, cave, "two") == 1
    alice.request_ack()
    until("it is stored", lambda: stored(server) == 3)
    server.kill()
    server.start()
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave.enter(alice, "first")
    assert unread(bob) == {cave.jid: 1}
    bob.result("set", "<query xmlns='jabber:iq:register'><remove/></query>", to=cave.jid)
    cave.say(alice, "three")
    cave.expect_nothing(bob, "<message/>", after=(alice,))
    assert unread(bob) == {}


def test_who_is_banned_hears_no_more(cave, alice, bob):
    cave.register(bob, "second", follow=True)
    cave.set_affiliation(alice, bob.bare, "admin")
    cave.say(alice, "to an administrator")
    assert heard(bob, cave, "to an administrator") == 1
    cave.set_affiliation(alice, bob.bare, "outcast")
    cave.say(alice, "behind his back")
    cave.expect_nothing(bob, "<message/>", after=(alice,))


def test_only_text_is_counted_and_chat_states_are_not_sent(cave, alice, bob):
    cave.register(bob, "second", follow=True)
    cave.send(alice, "<composing xmlns='http://jabber.org/protocol/chatstates'/>")
    cave.send(alice, f"<displayed xmlns='{MARKER}' id='x'/>")
    cave.set_subject(alice, "witches")
    cave.say(alice, "text")
    first = bob.expect("<message type='groupchat'/>")
    assert muc.is_subject(first) and first.find(f"{{{muc.ROOMS}}}unread").get("count") == "0"
    assert heard(bob, cave, "text") == 1


def test_corrections_and_retractions_are_sent_and_not_counted(cave, alice, bob):
    cave.register(bob, "second", follow=True)
    ident = cave.say(alice, "teh cauldron")
    assert heard(bob, cave, "teh cauldron") == 1
    said = stanza_id(cave.expect_body(alice, "first", "teh cauldron"))
    cave.send(alice, "<body>the cauldron</body>"
              f"<replace xmlns='urn:xmpp:message-correct:0' id='{ident}'/>")
    assert heard(bob, cave, "the cauldron") == 1
    cave.send(alice, "<body>retracted</body>"
              f"<retract xmlns='urn:xmpp:message-retract:1' id='{said}'/>")
    assert heard(bob, cave, "retracted") == 1
    cave.say(alice, "spam")
    spam = stanza_id(cave.expect_body(alice, "first", "spam"))
    assert heard(bob, cave, "spam") == 2
    alice.result("set", f"<moderate xmlns='urn:xmpp:message-moderate:1' id='{spam}'>"
                 "<retract xmlns='urn:xmpp:message-retract:1'/></moderate>", to=cave.jid)
    notice = bob.expect("<message type='groupchat'/>")
    assert notice.get("from") == cave.jid
    assert notice.find("{urn:xmpp:message-retract:1}retract").get("id") == spam


def test_what_is_displayed_on_another_device(server, cave, alice, bob):
    """XEP-0333: markers count from within the room, and from outside it."""
    cave.register(bob, "second", follow=True)
    ids = []
    for n in range(4):
        cave.say(alice, f"m{n}")
        ids.append(stanza_id(cave.expect_body(alice, "first", f"m{n}")))
    cave.send(bob, f"<displayed xmlns='{MARKER}' id='{ids[1]}'/>")
    until("two are left", lambda: unread(bob) == {cave.jid: 2})
    cave.send(bob, f"<displayed xmlns='{MARKER}' id='of a client that knows no stanza ids'/>")
    until("none is left", lambda: unread(bob) == {})
    cave.forget(bob)
    cave.enter(bob, "second")
    cave.send(bob, f"<displayed xmlns='{MARKER}' id='{ids[3]}'/>")
    cave.say(alice, "not displayed")
    cave.expect_body(bob, "first", "not displayed")
    cave.leave(bob, "second")
    assert unread(bob) == {cave.jid: 1}
    cave.expect_nothing(alice, "<message type='error'/>", after=(bob,))


def test_a_marker_of_a_stranger_is_refused(cave, alice, carol):
    ident = cave.send(carol, f"<displayed xmlns='{MARKER}' id='x'/>")
    assert cave.message_error(carol, ident) == ("not-acceptable", "modify")


def test_counts_outlive_restart_and_crash(server, cave, alice, bob):
    cave.register(bob, "second", follow=True)
    cave.say(alice, "one")
    assert heard(bob, cave, "one") == 1
    server.restart()
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    assert unread(bob) == {cave.jid: 1}
    cave.enter(alice, "first")
    alice.enable_sm()
    cave.say(alice, "two")
    assert heard(bob, cave, "two") == 2
    alice.request_ack()
    until("it is stored", lambda: stored(server) == 2)
    server.kill()
    server.start()
    bob = server.client("bob", "b")
    cave.enter(server.client("alice", "a"), "first")  # what the archive has beyond is counted
    assert unread(bob) == {cave.jid: 2}


def stored(server):
    with server.database() as db:
        return db.execute("SELECT count(*) FROM message").fetchone()[0]


def test_a_password_is_shown_first(cave, alice, bob):
    cave.configure(alice, passwordprotectedroom=True, roomsecret="mandrake")
    reply = cave.try_register(bob, "second", follow=True)
    assert xml.condition(reply) == "not-allowed"
    cave.register(bob, "second")
    cave.enter(bob, "second", password="mandrake")
    cave.register(bob, "second", follow=True)
    cave.leave(bob, "second")
    cave.say(alice, "behind the door")
    assert heard(bob, cave, "behind the door") == 1


def test_the_unread_counts_of_nobody(bob):
    assert unread(bob) == {}
    assert xml.condition(bob.iq("get", f"<rooms xmlns='{muc.ROOMS}'/>", to="pubsub.localhost")) \
        == "service-unavailable"


def test_others_cannot_speak_like_a_room(cave, alice, bob):
    """A groupchat message to a bare address is still refused (RFC 6121 §8.5.2)."""
    cave.register(bob, "second", follow=True)
    alice.send(f"<message to='{bob.bare}' type='groupchat' id='g'><body>hi</body></message>")
    assert xml.condition(alice.expect("<message type='error' id='g'/>")) == "service-unavailable"
    cave.expect_nothing(bob, "<message/>", after=(alice,))


@pytest.fixture
def push(server):
    server.ctl("component", "add", DOMAIN, "--secret", SECRET)
    return Component(server, DOMAIN, SECRET)


def test_devices_that_are_away_are_told(server, push, cave, alice, bob):
    cave.register(bob, "second", follow=True)
    enable(bob)
    bob.close()
    cave.say(alice, "to the absent")
    iq = announcement(push)
    assert iq.get("from") == bob.bare
    assert fields(iq)["last-message-sender"] == cave.at("first")
    again = server.client("bob", "b")
    again.expect_nothing("<message/>")
    assert unread(again) == {cave.jid: 1}


# --- mentions ---


@pytest.fixture
def absent(cave, alice, bob, push):
    """bob, a member with two words as his nickname, who is away and has a device."""
    cave.register(bob, "Second Witch")
    enable(bob)
    bob.close()
    return bob


def sender(iq):
    return fields(iq)["last-message-sender"]


def not_told(push, client, to):
    """Nothing but this chat message has been announced."""
    client.send(f"<message to='{to}' type='chat'><body>really</body></message>")
    assert sender(announcement(push)) == str(client)


@pytest.mark.parametrize("inner", [
    "<body>where is (@bob)?</body>",
    "<body>SECOND WITCH: hail</body>",
    "<body>she</body><reference xmlns='urn:xmpp:reference:0' type='mention' begin='0' end='3' "
    "uri='xmpp:bob@localhost'/>",
    "<body>she</body><reference xmlns='urn:xmpp:reference:0' type='mention' "
    "uri='xmpp:cave@conference.localhost/second%20witch?x'/>",
])
def test_who_is_mentioned_is_told(server, cave, push, absent, alice, inner):
    cave.send(alice, inner)
    iq = announcement(push)
    assert iq.get("from") == absent.bare and sender(iq) == cave.at("first")
    cave.send(alice, inner)  # not again at once
    not_told(push, alice, absent.bare)
    back = server.client("bob", "b")
    assert back.expect("<message type='chat'/>").get("from") == str(alice)
    back.expect_nothing("<message type='groupchat'/>")


@pytest.mark.parametrize("inner", [
    "<body>bobs, bob's, a second or a witch</body>",
    "<body>she</body><reference xmlns='urn:xmpp:reference:0' type='data' "
    "uri='xmpp:bob@localhost'/>",
    "<body>she</body><reference xmlns='urn:xmpp:reference:0' type='mention' uri='bob@localhost'/>",
    "<body>she</body><reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:@%4'/>",
    "<body>" + "x " * 200 + "bob</body>",
])
def test_what_is_no_mention(cave, push, absent, alice, inner):
    cave.send(alice, inner)
    not_told(push, alice, absent.bare)


def test_mentions_are_switched_off(server, cave, push, absent, alice):
    server.ctl("set", "muc.mention-push", "false")
    cave.say(alice, "bob?")
    not_told(push, alice, absent.bare)


def test_who_is_here_or_no_member_is_not_told(server, cave, push, alice, bob, carol):
    for client in (bob, carol):
        enable(client, node=client.bare)
    phone = server.client("bob", "b2")
    cave.enter(phone, "other")
    for client in (bob, carol):
        client.close()
    cave.say(alice, "bob, carol")
    cave.expect_body(alice, "first", "bob, carol")
    alice.send(f"<message to='{carol.bare}' type='chat'><body>really</body></message>")
    assert sender(announcement(push, node=carol.bare)) == str(alice)
    cave.leave(phone, "other")
    phone.close()
    cave.say(alice, "and now, bob?")
    assert sender(announcement(push, node=bob.bare)) == cave.at("first")


@pytest.mark.parametrize("follows", [False, True])
def test_who_is_here_is_told_on_a_device_whose_connection_broke(server, cave, push, alice, bob,
                                                               follows):
    """XEP-0198: the room writes into a queue that nobody reads."""
    cave.register(bob, "second", follow=follows)
    bob.enable_sm()
    enable(bob)
    cave.enter(bob, "second")
    cave.say(alice, "bob, are you there?")  # as yet he is
    cave.expect_body(bob, "first", "bob, are you there?")
    bob.cut()
    until("hibernation", lambda: server.rows("session", "list", "--jid", bob.bare)[0]["state"]
          == "hibernating")
    cave.say(alice, "of no interest")
    if follows:
        assert sender(announcement(push)) == cave.at("first")
    for n in range(2):
        cave.say(alice, f"bob, look at this {n}")
        assert sender(announcement(push)) == cave.at("first")
    not_told(push, alice, bob.bare)
    again = server.connect("bob")
    assert again.take_over(bob).tag.endswith("resumed")
    cave.expect_body(again, "first", "bob, look at this 1")
    cave.say(alice, "bob, welcome back")
    cave.expect_body(again, "first", "bob, welcome back")
    again.send("<presence type='unavailable'/>")
    again.close()
    not_told(push, alice, bob.bare)


# --- connections that broke (XEP-0198) ---


@pytest.fixture
def phone(server, cave, bob):
    """Bob's session in a room that he follows."""
    client = server.client("bob", "phone")
    client.enable_sm()
    client.auto_ack = False
    cave.register(client, "second", follow=True)
    cave.enter(client, "second")
    client.ack()
    return client


def cut(server, client):
    client.cut()
    until("hibernation", lambda: [s["state"] for s in server.rows("session", "list")
                                  if s["jid"] == client.jid] == ["hibernating"])


def resume(server, old):
    again = server.connect("bob")
    again.auto_ack = False
    assert again.take_over(old).tag.endswith("resumed")
    return again


def test_each_device_has_each_message_once(server, cave, alice, bob, phone):
    """It counts as unread until the phone has acknowledged it."""
    cut(server, phone)
    texts = [f"m{n}" for n in range(5)]
    for text in texts:
        cave.say(alice, text)
    assert [heard(bob, cave, text) for text in texts] == [1, 2, 3, 4, 5]
    assert unread(bob) == {cave.jid: 5}
    again = resume(server, phone)
    for text in texts:
        cave.expect_body(again, "first", text)
    assert unread(bob) == {cave.jid: 5}
    cut(server, again)
    cave.say(alice, "m5")
    assert heard(bob, cave, "m5") == 6
    last = resume(server, again)
    cave.expect_body(last, "first", "m5")
    last.ack()
    until("all is seen", lambda: unread(bob) == {})
    cave.say(alice, "seen")
    cave.expect_body(last, "first", "seen")
    last.expect_nothing("<message type='groupchat'/>")
    cave.expect_nothing(bob, "<message/>", after=(alice, last))
    assert unread(bob) == {}


def test_another_device_reads_in_the_room(server, cave, alice, bob, phone):
    desk, tablet = server.client("bob", "desk"), bob
    cave.enter(desk, "second")
    cut(server, phone)
    cave.say(alice, "seen")
    cave.expect_body(desk, "first", "seen")
    cave.expect_nothing(tablet, "<message/>", after=(alice, desk))
    assert unread(tablet) == {}
    cave.leave(desk, "second")
    cave.say(alice, "not seen")
    assert heard(tablet, cave, "not seen") == heard(desk, cave, "not seen") == 1
    cave.enter(desk, "second")
    assert unread(tablet) == {}


def test_a_marker_of_another_device(server, cave, alice, bob, phone):
    cut(server, phone)
    ids = []
    for n in range(3):
        cave.say(alice, f"m{n}")
        ids.append(stanza_id(cave.expect_body(alice, "first", f"m{n}")))
        assert heard(bob, cave, f"m{n}") == n + 1
    cave.send(bob, f"<displayed xmlns='{MARKER}' id='{ids[1]}'/>")
    until("one is left", lambda: unread(bob) == {cave.jid: 1})
    cave.say(alice, "m3")
    assert heard(bob, cave, "m3") == 2
    again = resume(server, phone)
    cave.expect_body(again, "first", "m3")
    again.ack()
    cave.flush(again)
    assert unread(bob) == {cave.jid: 2}  # from then on only markers count
    cave.send(again, f"<displayed xmlns='{MARKER}' id='of a client that knows no stanza ids'/>")
    until("none is left", lambda: unread(bob) == {})


def test_the_session_ends(server, cave, alice, bob, phone):
    cut(server, phone)
    cave.say(alice, "one")
    assert heard(bob, cave, "one") == 1
    server.ctl("session", "kick", phone.jid)
    until("the end", lambda: len(server.rows("session", "list", "--jid", bob.bare)) == 1)
    assert unread(bob) == {cave.jid: 1}
    cave.say(alice, "two")
    assert heard(bob, cave, "two") == 2


def test_a_planned_restart(server, cave, alice, bob, phone):
    alice.enable_sm()
    cut(server, phone)
    cave.say(alice, "one")
    assert heard(bob, cave, "one") == 1
    server.restart()
    writer = server.connect("alice")
    assert writer.take_over(alice).tag.endswith("resumed")
    bob = server.client("bob", "desk")
    assert unread(bob) == {cave.jid: 1}
    cave.say(writer, "two")
    assert heard(bob, cave, "two") == 2
    again = resume(server, phone)
    cave.expect_body(again, "first", "one")
    cave.expect_body(again, "first", "two")
    again.ack()
    until("all is seen", lambda: unread(bob) == {})


@pytest.mark.parametrize("marks", [False, True])
def test_what_a_planned_restart_finds_unread(server, cave, alice, bob, phone, marks):
    """Nothing is said behind the restart: the phone that reads has seen all, unless it marks."""
    alice.enable_sm()
    if marks:
        cave.send(phone, f"<displayed xmlns='{MARKER}' id='x'/>")
        cave.flush(phone)
        phone.ack()
    cut(server, phone)
    cave.say(alice, "one")
    assert heard(bob, cave, "one") == 1
    server.restart()
    bob = server.client("bob", "desk")
    assert unread(bob) == {cave.jid: 1}
    again = resume(server, phone)
    cave.expect_body(again, "first", "one")
    again.ack()
    cave.flush(again)
    if marks:
        assert unread(bob) == {cave.jid: 1}
        cave.send(again, f"<displayed xmlns='{MARKER}' id='x'/>")
    until("all is seen", lambda: unread(bob) == {})


def test_each_device_that_is_away_is_told_once(server, cave, push, alice, bob, phone):
    """The phone, whose session hibernates, and a tablet without a session."""
    for client, node in ((phone, "phone"), (bob, "tablet")):
        enable(client, node=node)
    cave.flush(phone)
    phone.ack()
    cut(server, phone)
    bob.close()
    cave.say(alice, "anybody?")
    for node in ("phone", "tablet"):
        assert sender(announcement(push, node=node)) == cave.at("first")
    alice.send(f"<message to='{bob.bare}' type='chat'><body>really</body></message>")
    for node in ("phone", "tablet"):
        assert sender(announcement(push, node=node)) == str(alice)


def test_who_does_not_follow_is_told_of_mentions(server, cave, push, alice, bob):
    """Also on a device without a session, if nobody reads in the room."""
    phone = server.client("bob", "phone")
    phone.enable_sm()
    cave.register(phone, "second")
    enable(bob)
    bob.close()
    cave.enter(phone, "second")
    cave.say(alice, "bob, are you there?")
    cave.expect_body(phone, "first", "bob, are you there?")
    cave.flush(phone)
    cut(server, phone)
    cave.say(alice, "of no interest")
    cave.say(alice, "and now, bob?")
    assert sender(announcement(push)) == cave.at("first")
    not_told(push, alice, bob.bare)
