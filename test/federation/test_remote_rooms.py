"""Rooms of one server as users of another one have them; their seats when a server
dies or is restarted; and messages to and from rooms, which are stored until the other server has
confirmed them."""
import contextlib
import signal

import pytest

from harness import across, muc, xml
from harness.across import ONE, OTHER
from harness.client import until
from harness.component import Component
from harness.links import (acknowledged, authority, condition, evil, node, pending, silent,
                           start)
from harness.muc import Room
from archive.test_mam import Page
from services.test_push import SECRET

__all__ = ["authority", "evil", "node", "silent", "start"]
EVIL = "evil.test"
SOON = {"s2s.ping-after": "1s", "s2s.ping-timeout": "2s", "s2s.lost-after": "2s",
        "s2s.retry-for": "1s"}
SHORT = {"s2s.retry-for": "1s", "s2s.lost-after": "1h"}
WHY = "a failure is longer than stanzas wait, and shorter than a domain is lost"


@pytest.fixture
def servers(make_server, tmp_path):
    return across.start(make_server, tmp_path)


@pytest.fixture
def users(servers):
    one, other = servers
    return one.client("alice", "a"), other.client("bob", "b")


@pytest.fixture
def cave(users):
    """A room of alice with bob in it."""
    return furnish(Room("cave", ONE), *users, "owner", "guest")


def furnish(room, owner, guest, *nicks):
    """Both are in the room then."""
    room.create(owner, nicks[0], persistentroom=True)
    room.enter(guest, nicks[1])
    room.forget(owner, guest)
    return room


# --- rooms ---


def test_what_occupants_say_and_are(users, cave):
    alice, bob = users
    for speaker, nick in (alice, "owner"), (bob, "guest"):
        cave.say(speaker, f"by {nick}")
        for listener in users:
            cave.expect_body(listener, nick, f"by {nick}")
    cave.whisper(alice, "guest", "to bob")
    assert bob.expect(f"<message from='{cave.at('owner')}' type='chat'>"
                      f"<body>to bob</body></message>").find(f"{{{muc.USER}}}x") is not None
    cave.whisper(bob, "owner", "to alice")
    alice.expect(f"<message from='{cave.at('guest')}' type='chat'><body>to alice</body></message>")
    cave.set_subject(alice, "weather")
    cave.expect_subject(bob, "owner", "weather")
    bob.send(f"<presence to='{cave.at('guest')}'><show>away</show></presence>")
    assert cave.presence(alice, "guest").show == "away"
    bob.send(f"<presence to='{cave.at('second')}'/>")
    assert 303 in cave.gone(alice, "guest").codes
    assert cave.presence(alice, "second").nick == "second"
    cave.leave(bob, "second")
    cave.gone(alice, "second")


@pytest.mark.parametrize("by", ["blocking", "list"])
def test_who_blocks_an_occupant_stays_in_the_room(users, cave, by):
    """... and nobody learns of it: no error comes back to the room."""
    alice, bob = users
    if by == "blocking":
        block = f"<block xmlns='urn:xmpp:blocking'><item jid='{cave.at('owner')}'/></block>"
        bob.result("set", block)
    else:
        bob.result("set", "<query xmlns='jabber:iq:privacy'><list name='l'><item type='jid' "
                   f"value='{cave.at('owner')}' action='deny' order='1'/></list></query>")
        bob.result("set", "<query xmlns='jabber:iq:privacy'><active name='l'/></query>")
    for n in range(3):
        cave.say(alice, f"unheard {n}")
        cave.expect_body(alice, "owner", f"unheard {n}")
    cave.say(bob, "still here")
    for listener in users:
        cave.expect_body(listener, "guest", "still here")
    for client in users:
        assert not [e for e in client.inbox if e.get("type") in ("error", "unavailable")]
        assert not [e for e in client.inbox if "unheard" in xml.canonical(e)]


def test_who_blocks_the_sender_of_a_private_message_stays_in_the_room(users, cave):
    """The error that comes back says nothing of the session."""
    alice, bob = users
    block = f"<block xmlns='urn:xmpp:blocking'><item jid='{cave.at('owner')}'/></block>"
    bob.result("set", block)
    for kind in "chat", "normal":
        alice.send(f"<message to='{cave.at('guest')}' type='{kind}' id='p'><body>hi</body>"
                   "</message>")
        error = alice.expect(f"<message type='error' id='p' from='{cave.at('guest')}'/>")
        assert xml.condition(error) == "service-unavailable"
    cave.say(bob, "still here")
    for listener in users:
        cave.expect_body(listener, "guest", "still here")


def test_kicks_and_bans(servers, users, cave):
    alice, bob = users
    cave.set_role(alice, "guest", "none", "out")
    gone = cave.gone(bob, "guest")
    assert 307 in gone.codes and gone.reason == "out"
    cave.enter(bob, "guest")
    cave.set_affiliation(alice, bob.bare, "outcast")
    assert 301 in cave.gone(bob, "guest").codes
    assert cave.refused(bob, "guest") == ("forbidden", "auth")


def test_a_domain_is_banned(servers, users, cave):
    alice, bob = users
    cave.set_affiliation(alice, OTHER, "outcast")
    assert 301 in cave.gone(bob, "guest").codes
    assert cave.refused(servers[1].client("dave"), "third") == ("forbidden", "auth")
    cave.enter(servers[0].client("carol"), "third")

CHAT, ECHO = f"chat.{ONE}", f"echo.{ONE}"

CHAT, ECHO = f"chat.{ONE}", f"echo.{ONE}"

OFF, ON = ("set", "muc.enabled", "off"), ("set", "muc.enabled", "on")

OFF, ON = ("set", "muc.enabled", "off"), ("set", "muc.enabled", "on")

DELETE, ADD = ("room-alias", "del", CHAT, "--force"), ("room-alias", "add", CHAT)

DELETE, ADD = ("room-alias", "del", CHAT, "--force"), ("room-alias", "add", CHAT)


@pytest.mark.parametrize("link", ["up", "closed"])
@pytest.mark.parametrize("domain, end, again", [(f"conference.{ONE}", OFF, ON), (CHAT, OFF, ON),
                                                (CHAT, DELETE, ADD)],
                         ids=["off", "alias-off", "alias-deleted"])
def test_occupants_hear_that_the_service_is_gone(make_server, tmp_path, domain, end, again, link):
    """Those of this server, of another one and of a component; also if there is no stream to that
    server, as it was idle."""
    one, other = across.start(make_server, tmp_path, component=True)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    one.ctl(*ADD)
    one.ctl("component", "add", ECHO, "--secret", SECRET)
    component = Component(one, ECHO, SECRET)
    room = Room("cave", ONE)
    room.jid = f"cave@{domain}"
    room.create(alice, "owner", persistentroom=True)
    room.enter(bob, "guest")
    component.send(f"<presence from='x@{ECHO}/r' to='{room.at('echo')}'>{muc.X}</presence>")
    component.expect(f"<presence from='{room.at('echo')}'/>")
    room.forget(alice, bob)
    if link == "closed":
        one.ctl("s2s", "close", OTHER)
        until("no stream", lambda: not one.rows("s2s", "list"))
    one.ctl(*end)
    for client, nick in (alice, "owner"), (bob, "guest"):
        assert {110, 332} <= set(room.gone(client, nick).codes)
    component.expect(f"<presence from='{room.at('echo')}' type='unavailable'/>")
    one.ctl(*again)
    room.enter(bob, "guest")
    room.say(bob, "again")
    room.expect_body(bob, "guest", "again")


def test_who_may_not_federate_any_more_hears_that_the_room_is_left(servers, users, cave):
    servers[1].ctl("federation", "set", users[1].bare, "off")
    assert 110 in cave.gone(users[1], "guest").codes
    cave.gone(users[0], "guest")


def test_who_is_in_a_room_whose_address_is_listed_hears_that_it_is_left(servers, users, cave,
                                                                        tmp_path):
    """The list of the server of the user; another room of that domain is not left."""
    other = Room("other", ONE)
    other.create(users[0], "owner")
    other.enter(users[1], "guest")
    listed = tmp_path / "blocklist"
    listed.write_text(f"{cave.jid}\n")
    servers[1].ctl("set", "federation.blocklist", str(listed))
    assert 110 in cave.gone(users[1], "guest").codes
    cave.gone(users[0], "guest")
    other.say(users[0], "hello")
    other.expect_body(users[1], "owner", "hello")


def test_foreign_occupants_neither_speak_nor_enter_without_instant_messages(servers, users, cave):
    """im.enabled, as for users of this server (im/test_messaging.py)."""
    alice, bob = users
    servers[0].ctl("set", "im.enabled", "off")
    for to, kind in (cave.jid, "groupchat"), (cave.at("owner"), "chat"):
        bob.send(f"<message to='{to}' type='{kind}' id='m'><body>hi</body></message>")
        error = bob.expect_error("not-allowed", "cancel", "<message type='error' id='m'/>")
        assert "instant messaging" in "".join(error.itertext())
        bob.send(f"<message to='{to}' type='{kind}'>"
                 "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
    bob.send(f"<presence to='{cave.at('guest')}'><show>away</show></presence>")
    assert cave.presence(alice, "guest").show == "away"
    cave.leave(bob, "guest")
    for to in cave.at("guest"), f"new@{str(cave.jid).partition('@')[2]}/guest":
        bob.send(f"<presence to='{to}' id='j'>{muc.X}</presence>")
        error = bob.expect_error("not-allowed", "cancel", "<presence type='error' id='j'/>")
        assert "instant messaging is turned off" in "".join(error.itertext())
    alice.expect_nothing("<message/>")
    servers[0].ctl("set", "im.enabled", "on")
    cave.enter(bob, "guest")


# --- a server that dies, or is back ---


def test_occupants_of_a_dead_server_leave_the_room(make_server, tmp_path):
    one, other = across.start(make_server, tmp_path, settings=SOON)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    room = Room("cave", ONE)
    room.create(alice, "owner")
    room.enter(bob, "guest")
    dave = other.client("dave")
    room.enter(dave, "second")
    room.forget(alice)
    other.kill()
    for nick in "guest", "second":
        assert 333 in room.gone(alice, nick).codes


def test_ghosts_of_a_server_that_was_started_again_leave_the_room(make_server, tmp_path):
    one, other = across.start(make_server, tmp_path, settings=SHORT, why=WHY)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    room = Room("cave", ONE)
    room.create(alice, "owner")
    room.enter(bob, "guest")
    room.forget(alice)
    other.kill()
    other.start()
    dave = other.client("dave")
    shown = room.enter(dave, "second").others
    assert 333 in room.gone(alice, "guest").codes
    if "guest" in shown:  # else the ghost was gone before
        dave.expect(f"<presence from='{room.at('guest')}' type='unavailable'/>")
    room.expect_nothing(alice, f"<presence from='{room.at('second')}' type='unavailable'/>")


def join(one, other):
    across.route(one, OTHER, other.s2s_port)
    across.route(other, ONE, one.s2s_port)


def part(one, other):
    """Neither reaches the other one."""
    across.route(one, OTHER, 1)
    across.route(other, ONE, 1)
    other.ctl("s2s", "close", f"conference.{ONE}")
    until("no stream", lambda: not [row for server in (one, other)
                                    for row in server.rows("s2s", "list")
                                    if row["state"] == "up"])


def hears(room, speaker, listener, body):
    room.say(speaker, body)
    room.expect_body(listener, "owner", body)


def test_a_failure_of_the_link_puts_nobody_out(make_server, tmp_path):
    """What the room says meanwhile is lost for the occupant of the other server, but for private
    messages; when the link works again, so does the seat."""
    one, other = across.start(make_server, tmp_path, settings=SHORT, why=WHY)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    room = furnish(Room("cave", ONE), alice, bob, "owner", "guest")
    part(one, other)
    room.say(alice, "lost")
    room.expect_body(alice, "owner", "lost")
    alice.send(f"<presence to='{room.at('owner')}'><show>away</show></presence>")
    room.presence(alice, "owner")
    alice.send(f"<message to='{room.at('guest')}' type='chat' id='p'><body>late</body></message>")
    behind = alice.error("get", "<query xmlns='jabber:iq:version'/>", to=room.at("guest"))
    assert behind[0] == "remote-server-timeout"
    room.expect_nothing(alice, "<message type='error'/>")
    assert [e.get("nick") for e in room.listed(alice, role="participant")] == ["guest"]
    join(one, other)
    hears(room, alice, bob, "heard")
    bob.expect(f"<message type='chat' id='p' from='{room.at('owner')}'/>")
    room.say(bob, "by bob")
    room.expect_body(alice, "guest", "by bob")
    for client in alice, bob:
        room.expect_nothing(client, "<presence type='unavailable'/>")


# --- a restart of our server ---


def resume(server, old):
    new = server.connect(old.name)
    assert new.take_over(old).tag.endswith("resumed")
    return new


def enter_resumable(one, other, persistent=True):
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    alice.enable_sm()
    room = Room("cave", ONE).create(alice, "owner", persistentroom=persistent)
    room.enter(bob, "first")
    bob.send(f"<presence to='{room.at('guest')}'><show>dnd</show></presence>")
    room.presence(bob, "guest")
    room.presence(alice, "guest")
    room.forget(alice, bob)
    return alice, bob, room


def test_who_is_listed_before_the_restart_has_no_seat_behind_it(servers, tmp_path):
    """The list is read at the start, before seats are taken again."""
    one, other = servers
    alice, bob, room = enter_resumable(one, other)
    listed = tmp_path / "blocklist"
    listed.write_text("")
    one.ctl("set", "federation.blocklist", str(listed))
    one.stop()
    listed.write_text(f"bob@{OTHER}\n")
    one.start()
    alice = resume(one, alice)
    room.gone(bob, "guest")
    assert room.listed(alice, role="participant") == []


@pytest.mark.parametrize("times", [1, 2])
def test_a_planned_restart_keeps_the_seat(servers, times):
    one, other = servers
    alice, bob, room = enter_resumable(one, other)
    room.set_role(alice, "guest", "moderator")
    room.forget(alice, bob)
    for _ in range(times):
        one.restart()
        alice = resume(one, alice)
    hears(room, alice, bob, "heard")
    room.say(bob, "by bob")
    room.expect_body(alice, "guest", "by bob")
    for client in alice, bob:
        room.expect_nothing(client, "<presence/>")
    shown = room.enter(one.client("carol", "c"), "third").others["guest"]
    assert shown.show == "dnd" and shown.role == "moderator"
    room.presence(bob, "third")
    room.leave(bob, "guest")
    room.gone(alice, "guest")


def test_a_planned_restart_ends_an_ad_hoc_room(servers):
    one, other = servers
    alice, bob, room = enter_resumable(one, other, persistent=False)
    one.restart()
    assert room.gone(bob, "guest").codes == {110, 332}
    alice = resume(one, alice)
    room.gone(alice, "owner")
    assert 201 in room.enter(bob, "guest").own.codes


def test_who_ends_its_session_during_a_planned_restart_leaves(servers):
    one, other = servers
    alice, bob, room = enter_resumable(one, other)
    one.stop()
    bob.close()
    one.start()
    alice = resume(one, alice)
    room.gone(alice, "guest")


def test_a_seat_of_long_ago_is_not_kept(servers):
    """Its user has long believed that the room cannot be reached (s2s.lost-after)."""
    one, other = servers
    alice, bob, room = enter_resumable(one, other)
    one.stop()
    with one.database() as db:
        db.execute("UPDATE room_remote SET saved_us = saved_us - 181000000")
    one.start()
    assert room.gone(bob, "guest").codes == {110, 332}
    alice = resume(one, alice)
    assert room.listed(alice, role="participant") == []


def test_what_asked_to_enter_is_not_stored(servers):
    """It may have the password of the room."""
    one, other = servers
    room = Room("cave", ONE).create(one.client("alice"), "owner", persistentroom=True,
                                    passwordprotectedroom=True, roomsecret="open sesame")
    bob = other.client("bob", "b")
    room.enter(bob, "guest", password="open sesame")
    one.stop()
    with one.database() as db:
        (presence,), = db.execute("SELECT presence FROM room_remote").fetchall()
    assert str(bob) in presence and "open sesame" not in presence
    one.start()
    room.say(bob, "still here")
    room.expect_body(bob, "guest", "still here")


# --- messages to a room of another server are stored ---


@contextlib.contextmanager
def frozen(server):
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


def say(alice, to, body, kind="groupchat", inner=""):
    """Says something that is acknowledged."""
    before = acknowledged(alice)
    alice.send(f"<message to='{to}' type='{kind}' id='{body}'><body>{body}</body>{inner}"
               f"<origin-id xmlns='urn:xmpp:sid:0' id='{body}'/></message>")
    alice.wait_acked(before + 1)


def errors(client):
    client.ping()
    return [(e.get("id"), condition(e)) for e in client.inbox if e.get("type") == "error"]


@pytest.fixture
def den(servers):
    """A room of bob with alice in it, whose stream can be resumed: the room, alice, bob."""
    one, other = servers
    other.ctl("set", "muc.message-burst", "1000")
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    alice.enable_sm()
    room = furnish(Room("cave", OTHER), bob, alice, "owner", "guest")
    say(alice, room.jid, "first")
    for client in alice, bob:
        room.expect_body(client, "guest", "first")
    until("the first is confirmed", lambda: pending(one) == 0)
    return room, alice, bob


def test_a_kill_loses_nothing_that_was_said_in_a_room(servers, den):
    """The room's server hears of it when ours is back, once and in order."""
    one, other = servers
    room, alice, bob = den
    with frozen(other):
        for n in range(20):
            say(alice, room.jid, f"m{n}")
        assert pending(one) == 20
        one.kill()
        one.start()
    for n in range(20):
        room.expect_body(bob, "guest", f"m{n}")
    until("all are confirmed", lambda: pending(one) == 0)
    bob.expect_nothing("<message type='groupchat'/>")


def test_who_is_not_in_the_room_any_more_is_told_at_the_next_login(servers, den):
    """Both servers end: the room has no occupants when the message comes."""
    one, other = servers
    room, alice, bob = den
    other.kill()
    say(alice, room.jid, "lost")
    one.kill()
    other.start()
    one.start()
    until("it is refused", lambda: pending(one) == 0)
    alice = one.client("alice", "other")
    until("she is told", lambda: errors(alice) == [("lost", "not-acceptable")])
    assert alice.inbox[-1].find(f"{{{xml.DELAY}}}delay") is not None
    alice.close()
    assert errors(one.client("alice", "third")) == []
    room.enter(other.client("bob", "c"), "owner")


@pytest.fixture
def lair(servers):
    """A room of alice with bob in it: the room, alice, bob."""
    one, other = servers
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    alice.enable_sm()
    return furnish(Room("lair", ONE), alice, bob, "owner", "guest"), alice, bob


@pytest.mark.parametrize("end", ["kill", "restart"])
def test_a_private_message_outlasts_the_end_of_the_room(servers, lair, end):
    one, other = servers
    room, alice, bob = lair
    with frozen(other):
        for n in range(5):
            say(alice, room.at("guest"), f"p{n}", "chat")
        assert pending(one) == 5
        if end == "kill":
            one.kill()
            one.start()
    if end == "restart":
        one.ctl("server", "restart")
    for n in range(5):
        bob.expect(f"<message from='{room.at('owner')}' type='chat' id='p{n}'/>")
    until("all are confirmed", lambda: pending(one) == 0)
    with one.database(read_only=True) as db:
        assert not [r for r in db.execute("SELECT stanza FROM message") if "from='lair@" in r[0]]


def gone(one, other, restart=False):
    """Alice writes to a user whom there is not, and logs out before that comes back."""
    alice = one.client("alice", "phone")
    alice.enable_sm()
    with frozen(other):
        say(alice, f"nobody@{OTHER}", "to-nobody", "chat")
        alice.close()
        if restart:
            one.kill()
            one.start()
    until("it is confirmed", lambda: pending(one) == 0)


@pytest.mark.parametrize("restart", [False, True])
def test_who_has_logged_out_is_told_at_the_next_login(servers, restart):
    one, other = servers
    gone(one, other, restart)
    alice = one.client("alice", "laptop")
    until("she is told", lambda: errors(alice) == [("to-nobody", "service-unavailable")])
    alice.close()
    alice = one.client("alice", "laptop")
    assert errors(alice) == []
    assert [m.get("id") for m in Page(alice).messages] == ["to-nobody"]


def error(name):
    return (f"<message from='bob@{EVIL}' to='alice@{ONE}/phone' type='error' id='{name}'>"
            f"<error type='cancel'><service-unavailable xmlns='{xml.STANZA_ERROR}'/></error>"
            "</message>")


def test_a_server_says_one_error_for_each_message(node, evil, silent):
    """Whatever else it says: no server fills a mailbox with errors, and those for what is not
    stored take no place."""
    alice = node.client("alice", "phone")
    alice.enable_sm()
    for n in range(3):
        alice.send(f"<message to='bob@{EVIL}' type='chat' id='typing{n}'>"
                   "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
        say(alice, f"bob@{EVIL}", f"m{n}", "chat")
    alice.close()
    names = ["typing0", "typing1", "typing2", *(f"e{n}" for n in range(20)), "m2", "m0", "m2", "m1"]
    evil.join().raw("".join(map(error, names)))
    evil.raw(f"<message from='bob@{EVIL}' to='alice@{ONE}' type='chat' id='last'><body>last</body>"
             "</message>")
    alice = node.client("alice", "laptop")
    alice.expect("<message id='last'/>")
    assert [name for name, _ in errors(alice)] == ["m2", "m0", "m1"]


def test_errors_that_answer_nothing_are_ignored(node, evil):
    """Alice has written nothing there: a stranger leaves no errors in her mailbox."""
    node.client("alice", "phone").close()
    evil.join().raw("".join(error(f"e{n}") for n in range(3)))
    evil.raw(f"<message from='bob@{EVIL}' to='alice@{ONE}' type='chat' id='last'><body>last</body>"
             "</message>")
    alice = node.client("alice", "laptop")
    assert alice.expect("<message/>").get("id") == "last"
    assert errors(alice) == []
