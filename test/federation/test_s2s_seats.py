"""The seats that users of another server have in rooms of ours: a failure of the link that is short
leaves them, a planned restart keeps them, and a crash tells them that they are gone."""
import time

import pytest

from harness import across, partner, prosody
from harness.across import ONE, OTHER
from harness.client import until
from harness.muc import Room, codes
from harness.partner import OURS
from federation.test_s2s_across_lost import join

SHORT = {"s2s.retry-for": "1s", "s2s.lost-after": "1h"}
SHORT_WHY = "a failure is longer than stanzas wait, and shorter than a domain is lost"


def enter(one, other, persistent=True):
    """alice and bob, who is of the other server, in a room of alice."""
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    room = Room("cave", ONE).create(alice, "owner", persistentroom=persistent)
    room.enter(bob, "guest")
    room.presence(alice, "guest")
    room.forget(alice, bob)
    return alice, bob, room


def hears(room, speaker, listener, body):
    room.say(speaker, body)
    room.expect_body(listener, "owner", body)


def part(one, other):
    """Neither reaches the other one."""
    across.route(one, OTHER, 1)
    across.route(other, ONE, 1)
    other.ctl("s2s", "close", f"conference.{ONE}")
    until("no stream", lambda: not [row for server in (one, other)
                                    for row in server.rows("s2s", "list")
                                    if row["state"] == "up"])


# --- a failure of the link ---


def test_a_failure_of_the_link_puts_nobody_out(make_server, tmp_path):
    """What the room says meanwhile is lost for the occupant of the other server, but for private
    messages; when the link works again, so does the seat."""
    one, other = across.start(make_server, tmp_path, settings=SHORT, why=SHORT_WHY)
    alice, bob, room = enter(one, other)
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


@pytest.fixture
def servers(make_server, tmp_path):
    return across.start(make_server, tmp_path)


def resume(server, old):
    new = server.connect(old.name)
    assert new.take_over(old).tag.endswith("resumed")
    return new


def rows(server):
    with server.database() as db:
        return db.execute("SELECT room, jid, nick FROM room_abroad").fetchall()


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


def test_a_planned_restart_during_a_failure_of_the_link_keeps_the_seat(servers):
    one, other = servers
    alice, bob, room = enter_resumable(one, other)
    part(one, other)
    room.say(alice, "lost")
    room.expect_body(alice, "owner", "lost")
    one.restart()
    alice = resume(one, alice)
    join(one, other)
    hears(room, alice, bob, "heard")
    for client in alice, bob:
        room.expect_nothing(client, "<presence type='unavailable'/>")


def test_a_seat_of_long_ago_is_not_kept(servers):
    """Its user has long believed that the room cannot be reached (s2s.lost-after)."""
    one, other = servers
    alice, bob, room = enter_resumable(one, other)
    one.stop()
    with one.database() as db:
        db.execute("UPDATE room_abroad SET saved_us = saved_us - 181000000")
    one.start()
    assert room.gone(bob, "guest").codes == {110, 332}
    alice = resume(one, alice)
    assert room.listed(alice, role="participant") == []


def test_a_domain_that_was_blocked_meanwhile_has_no_seat(servers):
    one, other = servers
    alice, bob, room = enter_resumable(one, other)
    one.ctl("federation", "block", OTHER)
    room.gone(alice, "guest")
    one.restart()
    alice = resume(one, alice)
    assert room.listed(alice, role="participant") == []


@pytest.mark.parametrize("persistent", [True, False])
def test_after_a_crash_the_seat_is_gone_and_its_user_is_told(servers, persistent):
    """Once; by the nickname that it had last."""
    one, other = servers
    alice, bob, room = enter_resumable(one, other, persistent)
    dave = other.client("dave", "d")
    room.enter(dave, "short")
    room.leave(dave, "short")
    room.forget(bob, dave)
    until("all is in the database",
          lambda: rows(one) == [(str(room), str(bob), "guest")])
    one.kill()
    one.start()
    assert room.gone(bob, "guest").codes == {110, 332}
    until("the row is gone", lambda: not rows(one))
    one.kill()
    until("the other one has noticed", lambda: not [
        row for row in other.rows("s2s", "list") if row["state"] == "up"])
    one.start()
    assert 110 in room.enter(bob, "again").own.codes
    assert not [e for client in (bob, dave) for e in client.inbox
                if e.get("type") == "unavailable"]
    room.say(bob, "back")
    room.expect_body(bob, "again", "back")


def test_what_asked_to_enter_is_not_stored(servers):
    """It may have the password of the room."""
    one, other = servers
    room = Room("cave", ONE).create(one.client("alice"), "owner", persistentroom=True,
                                    passwordprotectedroom=True, roomsecret="open sesame")
    bob = other.client("bob", "b")
    room.enter(bob, "guest", password="open sesame")
    one.stop()
    with one.database() as db:
        (presence,), = db.execute("SELECT presence FROM room_abroad").fetchall()
    assert str(bob) in presence and "open sesame" not in presence
    one.start()
    room.say(bob, "still here")
    room.expect_body(bob, "guest", "still here")


def test_who_has_left_has_no_row(servers):
    one, other = servers
    alice, bob, room = enter_resumable(one, other)
    dave, carol = other.client("dave", "d"), one.client("carol", "c")
    until("one row", lambda: rows(one) == [(str(room), str(bob), "guest")])
    room.enter(carol, "ours")
    room.enter(dave, "second")
    until("two rows", lambda: len(rows(one)) == 2)
    room.set_role(alice, "second", "none")
    until("one row", lambda: rows(one) == [(str(room), str(bob), "guest")])
    room.destroy(alice)
    until("no row", lambda: not rows(one))


# --- with Prosody ---


@pytest.mark.skipif(not prosody.is_here(), reason="no Prosody, or no dnsmasq")
def test_users_of_prosody(make_server, tmp_path):
    """A planned restart, then a crash."""
    started = []
    try:
        ours, theirs = partner.start(make_server, tmp_path, prosody.Prosody, started)
        alice, bob = ours.client("alice"), theirs.client("bob")
        room = Room("cave", OURS).create(alice, "owner", persistentroom=True)
        enters(room, bob)
        ours.restart()
        alice = ours.client("alice", "second")
        assert "guest" in room.enter(alice, "owner").others
        room.say(alice, "after a restart")
        heard(room, bob, "after a restart")
        assert not [e for e in bob.inbox if 110 in codes(e) and e.get("type") == "unavailable"]
        ours.kill()
        ours.start()
        gone = bob.expect(f"<presence from='{room.at('guest')}' type='unavailable'/>")
        assert codes(gone) == {110, 332}
        enters(room, bob)
        alice = ours.client("alice", "third")
        room.enter(alice, "owner")
        room.say(alice, "after a crash")
        heard(room, bob, "after a crash")
    finally:
        for process in started:
            process.finish()


def enters(room, client):
    client.send(f"<presence to='{room.at('guest')}'><x xmlns='http://jabber.org/protocol/muc'/>"
                "</presence>")
    client.expect(lambda e: e.get("from") == room.at("guest") and 110 in codes(e)
                  and e.get("type") is None)


def heard(room, client, body):
    client.expect(f"<message from='{room.at('owner')}' type='groupchat'><body>{body}</body>"
                  "</message>")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_domain_that_is_not_served_for_a_while_forgets_no_seat(servers, how):
    """It is out of the node file for one run, which can tell nobody anything in its name."""
    one, other = servers
    alice, bob, room = enter_resumable(one, other)
    until("its row", lambda: rows(one) == [(str(room), str(bob), "guest")])
    for domains in ["spare.test"], one.conf["domains"]:
        one.stop() if how == "stop" else one.kill()
        one.conf["domains"] = domains
        one.write()
        one.start()
        later = time.monotonic() + 3
        until("seats that are gone are told", lambda: time.monotonic() > later)
        assert len(rows(one)) == (how == "stop" or domains == ["spare.test"])
    if how == "kill":
        assert room.gone(bob, "guest").codes == {110, 332}
        return
    alice = one.client("alice", "a")
    room.enter(alice, "owner")
    hears(room, alice, bob, "heard")
    room.say(bob, "by bob")
    room.expect_body(alice, "guest", "by bob")
