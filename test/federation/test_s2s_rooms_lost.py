"""Messages to rooms of another server are stored until that has confirmed them: a crash of ours
loses none that was acknowledged. And who has logged out is told what that server says of them."""
import contextlib
import re
import signal

import pytest

from harness import across, partner, prosody, xml
from harness.across import ONE, OTHER
from harness.client import bodies, until
from harness.links import (acknowledged, authority, condition, evil, node, pending, silent,
                           start)
from harness.muc import USER, Room
from harness.wire import Wire
from federation.test_mail_address import MAIL, used
from archive.test_mam import Page

__all__ = ["authority", "evil", "node", "silent", "start"]
EVIL = "evil.test"


@pytest.fixture
def servers(make_server, tmp_path):
    return across.start(make_server, tmp_path)


def talkers(one, other):
    """Alice, whose stream can be resumed, and bob."""
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    alice.enable_sm()
    return alice, bob


def furnish(room, owner, guest):
    """Both are in the room then."""
    room.create(owner, "owner", persistentroom=True)
    room.enter(guest, "guest")
    room.forget(owner, guest)
    return room


@pytest.fixture
def cave(servers):
    """A room of bob with alice in it: the room, alice, bob."""
    one, other = servers
    other.ctl("set", "muc.message-burst", "1000")
    alice, bob = talkers(one, other)
    room = furnish(Room("cave", OTHER), bob, alice)
    say(alice, room.jid, "first")
    for client in alice, bob:
        room.expect_body(client, "guest", "first")
    until("the first is confirmed", lambda: pending(one) == 0)
    return room, alice, bob


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


# --- what is stored ---


def test_a_kill_loses_nothing_that_was_said_in_a_room(servers, cave):
    """The room's server hears of it when ours is back, once and in order."""
    one, other = servers
    room, alice, bob = cave
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


@pytest.mark.parametrize("who", ["sender", "room"])
def test_a_flood_loses_nothing_that_was_acknowledged(servers, cave, who):
    one, other = servers
    room, alice, _ = cave
    before = acknowledged(alice)
    for n in range(400):
        alice.send(f"<message to='{room.jid}' type='groupchat' id='f{n}'><body>f{n}</body>"
                   f"<origin-id xmlns='urn:xmpp:sid:0' id='f{n}'/></message>")
    until("some are acknowledged", lambda: acknowledged(alice) - before > 100)
    sure = acknowledged(alice) - before
    victim = one if who == "sender" else other
    victim.kill()
    victim.start()
    until("all are confirmed", lambda: pending(one) == 0)
    alice = alice if who == "room" else one.client("alice", "a")
    with other.database(read_only=True) as db:
        rows = db.execute("SELECT stanza FROM message ORDER BY id").fetchall()
    found = [int(body[1]) for row in rows if (body := re.search(r"<body>f(\d+)</body>", row[0]))]
    assert found == sorted(set(found))  # none is there twice
    until("the others were refused", lambda: set(range(sure)) <= {
        *found, *(int(name[1:]) for name, _ in errors(alice))})


def test_who_is_not_in_the_room_any_more_is_told_at_the_next_login(servers, cave):
    """Both servers end: the room has no occupants when the message comes."""
    one, other = servers
    room, alice, bob = cave
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


def test_who_cannot_reach_the_room_is_told_in_the_end(servers, cave):
    one, other = servers
    room, alice, bob = cave
    other.kill()
    say(alice, room.jid, "lost")
    one.ctl("set", "s2s.retry-for", "0s")
    one.ctl("set", "s2s.keep-for", "1s")
    until("it is given up", lambda: pending(one) == 0)
    until("she is told", lambda: errors(alice) == [("lost", "remote-server-timeout")])


def test_it_is_in_no_archive_of_its_sender(servers, cave):
    """And no other client of the sender gets a copy: it comes from the room, if at all."""
    one, other = servers
    room, alice, bob = cave
    second = one.client("alice", "second")
    second.result("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    with frozen(other):
        say(alice, room.jid, "waits")
        assert Page(second).messages == []
    room.expect_body(bob, "guest", "waits")
    until("it is confirmed", lambda: pending(one) == 0)
    assert Page(second).messages == []
    second.expect_nothing("<message/>")
    with one.database(read_only=True) as db:
        assert not [row for row in db.execute("SELECT stanza FROM message") if "waits" in row[0]]


@pytest.mark.parametrize("inner", [
    "<body>x</body><no-store xmlns='urn:xmpp:hints'/>",
    "<body>x</body><no-permanent-store xmlns='urn:xmpp:hints'/>",
    "<composing xmlns='http://jabber.org/protocol/chatstates'/>"])
def test_what_is_not_to_be_stored_is_not(servers, cave, inner):
    one, other = servers
    room, alice, _ = cave
    with frozen(other):
        before = acknowledged(alice)
        alice.send(f"<message to='{room.jid}' type='groupchat' id='p'>{inner}</message>")
        alice.wait_acked(before + 1)
        assert pending(one) == 0


def test_subjects_reactions_and_retractions_are_stored(servers, cave):
    one, other = servers
    room, alice, _ = cave
    with frozen(other):
        for n, inner in enumerate((
                "<subject>s</subject>",
                "<reactions id='first' xmlns='urn:xmpp:reactions:0'><reaction>y</reaction>"
                "</reactions>",
                "<retract id='first' xmlns='urn:xmpp:message-retract:1'/>")):
            before = acknowledged(alice)
            alice.send(f"<message to='{room.jid}' type='groupchat' id='p{n}'>{inner}</message>")
            alice.wait_acked(before + 1)
            assert pending(one) == n + 1


def test_what_is_said_in_a_room_keeps_its_place_among_all_that_is_said_there(servers, cave):
    """Stored or not, across a kill of the room's server."""
    one, other = servers
    room, alice, bob = cave
    spoken = []
    with frozen(other):
        for n in range(12):
            kind, hint = ("groupchat", "<no-store xmlns='urn:xmpp:hints'/>") if n % 3 == 0 else \
                ("groupchat", "")
            spoken.append(f"m{n}")
            say(alice, room.jid, f"m{n}", kind, hint)
    for body in spoken:
        assert bob.expect("<message type='groupchat'/>").findtext(
            f"{{{xml.CLIENT}}}body") == body


def test_a_room_of_another_make(make_server, tmp_path):
    """Prosody stands still, and ours is killed: what was acknowledged is in the room in the end."""
    if not prosody.is_here():
        pytest.skip("Prosody is not installed")
    finish = []
    try:
        ours, theirs = partner.start(make_server, tmp_path, prosody.Prosody, finish)
        alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
        alice.enable_sm()
        room = Room("cave", partner.THEIRS)
        room.create(bob, "owner")
        room.enter(alice, "guest")
        room.say(alice, "first")
        for client in alice, bob:
            room.expect_body(client, "guest", "first")
        theirs.process.send_signal(signal.SIGSTOP)
        say(alice, room.jid, "second")
        ours.kill()
        ours.start()
        theirs.process.send_signal(signal.SIGCONT)
        until("it is confirmed", lambda: pending(ours) == 0)
        alice = ours.client("alice", "other")  # whom Prosody has perhaps put out, and told so
        until("it is there, or she is told", lambda: "second" in bodies(bob.inbox) or [
            name for name, _ in errors(alice)] == ["second"] or bob.pump(0.1))
    finally:
        for one in reversed(finish):
            one.finish()


# --- what a room of ours says to one user of another server ---


@pytest.fixture
def lair(servers):
    """A room of alice with bob in it: the room, alice, bob."""
    alice, bob = talkers(*servers)
    return furnish(Room("lair", ONE), alice, bob), alice, bob


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


def test_an_invitation_outlasts_a_kill(servers, lair):
    one, other = servers
    room, alice, _ = lair
    other.kill()
    before = acknowledged(alice)
    alice.send(f"<message to='{room.jid}'><x xmlns='{USER}'><invite to='dave@{OTHER}'/></x>"
               "</message>")
    alice.wait_acked(before + 1)
    one.kill()
    other.start()
    one.start()
    dave = other.client("dave", "d")
    dave.expect(f"<message from='{room.jid}'><x xmlns='{USER}'><invite/></x></message>")
    until("it is confirmed", lambda: pending(one) == 0)


@pytest.mark.parametrize("there", [True, False])
def test_a_private_message_that_is_given_up_is_returned_by_the_room(servers, lair, there):
    """Also one that is in the database alone: what waits goes back there when the domain fails."""
    one, other = servers
    room, alice, bob = lair
    one.ctl("set", "s2s.lost-after", "1h")
    other.kill()
    say(alice, room.at("guest"), "p", "chat")
    one.ctl("set", "s2s.retry-for", "0s")
    if not there:
        alice.close()
    one.ctl("set", "s2s.keep-for", "1s")
    until("it is given up", lambda: pending(one) == 0)
    if there:
        until("she is told", lambda: ("p", "remote-server-timeout") in errors(alice))


def test_a_private_message_that_is_given_up_late_is_returned(servers, lair):
    """Who it was for has left the room before: its server was away for longer than that takes."""
    one, other = servers
    room, alice, bob = lair
    one.ctl("set", "s2s.retry-for", "0s")
    other.kill()
    say(alice, room.at("guest"), "p", "chat")
    one.ctl("set", "s2s.lost-after", "1s")
    room.gone(alice, "guest")
    one.ctl("set", "s2s.keep-for", "1s")
    until("it is given up", lambda: pending(one) == 0)
    error = alice.expect("<message type='error' id='p'/>")
    assert (error.get("from"), condition(error)) == (room.jid, "remote-server-timeout")


def test_messages_of_a_room_that_is_destroyed_meanwhile_arrive(servers, lair):
    one, other = servers
    room, alice, bob = lair
    with frozen(other):
        say(alice, room.at("guest"), "p", "chat")
        room.destroy(alice)
        one.kill()
        one.start()
    bob.expect(f"<message from='{room.at('owner')}' type='chat' id='p'/>")
    until("it is confirmed", lambda: pending(one) == 0)


def test_passing_messages_of_a_room_are_not_stored(servers, lair):
    one, other = servers
    room, alice, _ = lair
    with frozen(other):
        say(alice, room.at("guest"), "p", "chat", "<no-store xmlns='urn:xmpp:hints'/>")
        assert pending(one) == 0


def test_rooms_of_two_services_keep_their_own(servers, lair):
    """Rows of rooms of one domain are not sent in the name of another."""
    one, other = servers
    room, alice, bob = lair
    with frozen(other):
        say(alice, room.at("guest"), "of-the-room", "chat")
        say(alice, str(bob), "of-the-user", "chat")
        one.kill()
        one.start()
    for sender, body in (room.at("owner"), "of-the-room"), (str(alice), "of-the-user"):
        bob.expect(f"<message from='{sender}' id='{body}'/>")
    until("all are confirmed", lambda: pending(one) == 0)


# --- what the other server says of it ---


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


def test_other_clients_are_told(servers):
    one, other = servers
    laptop = one.client("alice", "laptop")
    gone(one, other)
    until("she is told", lambda: errors(laptop) == [("to-nobody", "service-unavailable")])
    laptop.close()
    assert errors(one.client("alice", "third")) == []


@pytest.mark.parametrize("expiry", ["bounce", "deliver"])
def test_a_session_that_is_not_resumed_leaves_it_to_the_next(servers, expiry):
    one, other = servers
    one.ctl("set", "sm.on-expiry", expiry)
    alice = one.client("alice", "phone")
    alice.enable_sm()
    with frozen(other):
        say(alice, f"nobody@{OTHER}", "to-nobody", "chat")
        alice.cut()
    until("it is confirmed", lambda: pending(one) == 0)
    until("the session waits", lambda: [row["state"] for row in one.rows("session", "list")]
          == ["hibernating"])
    one.ctl("session", "kick", str(alice))
    until("it has ended", lambda: one.rows("session", "list") == [])
    alice = one.client("alice", "laptop")
    until("she is told", lambda: errors(alice) == [("to-nobody", "service-unavailable")])


@pytest.mark.parametrize("end", ["kill", "restart"])
@pytest.mark.parametrize("kind", ["groupchat", "chat"])
def test_an_error_that_comes_after_our_end_is_kept(make_server, tmp_path, end, kind):
    """The message was confirmed before, so nothing waits any more."""
    one, other = across.start(make_server, tmp_path, settings={"s2s.bidi": "off"})
    back = Wire(one.s2s_port)
    try:
        across.route(other, ONE, back.port)
        alice = one.client("alice", "phone")
        alice.enable_sm()
        back.say("f")
        to = f"nobody@{OTHER}" if kind == "chat" else f"nowhere@conference.{OTHER}"
        say(alice, to, "lost", kind)
        alice.close()
        until("it is confirmed", lambda: pending(one) == 0)
        if end == "kill":
            one.kill()
            one.start()
        else:
            one.restart()
        back.say("o")
        for server in one, other:
            server.ctl_run("s2s", "retry", "--all")
        alice = one.client("alice", "laptop")
        until("she is told", lambda: [name for name, _ in errors(alice)] == ["lost"])
    finally:
        back.close()


def test_who_has_a_mail_address_is_told_at_the_next_login(servers):
    one, other = servers
    one.ctl("set", "federation.mail-address", "on")
    one.ctl("user", "set", f"alice@{ONE}", "--email", MAIL["alice"])
    used(one, 1)
    gone(one, other)
    alice = one.client("alice", "laptop")
    until("she is told", lambda: errors(alice) == [("to-nobody", "service-unavailable")])


def test_what_was_refused_is_not_shown_after_a_kill(servers, cave):
    """The room has forgotten alice, and says so; she enters again, and says more."""
    one, other = servers
    room, alice, bob = cave
    other.kill()
    other.start()
    say(alice, room.jid, "refused")
    until("she is told", lambda: ("refused", "not-acceptable") in errors(alice))
    bob = other.client("bob", "c")
    room.enter(bob, "owner")
    room.enter(alice, "guest")
    say(alice, room.jid, "second")
    room.expect_body(bob, "guest", "second")
    one.kill()
    one.start()
    until("all are confirmed", lambda: pending(one) == 0)
    assert "refused" not in bodies(bob.inbox)


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


def test_an_error_for_a_message_without_an_id_is_kept(servers):
    one, other = servers
    alice = one.client("alice", "phone")
    alice.enable_sm()
    with frozen(other):
        alice.send(f"<message to='nobody@{OTHER}' type='chat'><body>x</body></message>")
        alice.wait_acked(1)
        alice.close()
    until("it is confirmed", lambda: pending(one) == 0)
    alice = one.client("alice", "laptop")
    until("she is told", lambda: errors(alice) == [(None, "service-unavailable")])


def test_errors_that_answer_nothing_are_ignored(node, evil):
    """Alice has written nothing there: a stranger leaves no errors in her mailbox."""
    node.client("alice", "phone").close()
    evil.join().raw("".join(error(f"e{n}") for n in range(3)))
    evil.raw(f"<message from='bob@{EVIL}' to='alice@{ONE}' type='chat' id='last'><body>last</body>"
             "</message>")
    alice = node.client("alice", "laptop")
    assert alice.expect("<message/>").get("id") == "last"
    assert errors(alice) == []
