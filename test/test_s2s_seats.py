"""The seats that users of another server have in rooms of ours: a failure of the link that is short
leaves them, a planned restart keeps them, and a crash tells them that they are gone."""
from muster import across
from muster.across import ONE, OTHER
from muster.client import until
from muster.muc import Room
from test_s2s_across_lost import join

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
    """What the room says meanwhile is lost for the occupant of the other server; when the link
    works again, so does the seat."""
    one, other = across.start(make_server, tmp_path, settings=SHORT, why=SHORT_WHY)
    alice, bob, room = enter(one, other)
    part(one, other)
    room.say(alice, "lost")
    room.expect_body(alice, "owner", "lost")
    alice.send(f"<presence to='{room.at('owner')}'><show>away</show></presence>")
    room.presence(alice, "owner")
    behind = alice.error("get", "<query xmlns='jabber:iq:version'/>", to=room.at("guest"))
    assert behind[0] == "remote-server-timeout"
    room.expect_nothing(alice, "<message type='error'/>")
    assert [e.get("nick") for e in room.listed(alice, role="participant")] == ["guest"]
    join(one, other)
    hears(room, alice, bob, "heard")
    room.say(bob, "by bob")
    room.expect_body(alice, "guest", "by bob")
    for client in alice, bob:
        room.expect_nothing(client, "<presence type='unavailable'/>")
