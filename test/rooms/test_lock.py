"""New rooms that their owner does not configure: when they open to others, what operators do."""
import pytest

from harness import muc, xml
from harness.client import until
from harness.muc import Room
from harness.server import refusal


def show(server, room):
    return server.rows("room", "show", room)[0]


def fields(server, room):
    return {row["field"]: row["value"] for row in server.rows("room", "fields", room)}


def opens(room, client, nick):
    """Enters as soon as it may."""
    def entered():
        room.knock(client, nick)
        answer = client.expect(lambda e: e.tag.endswith("}presence") and (
            e.get("type") == "error" or 110 in muc.codes(e)))
        return answer.get("type") != "error"
    until("an open room", entered)


@pytest.mark.parametrize("timeout", ["1s", "0"])
def test_a_room_that_nobody_configures_opens(make_server, timeout):
    server = make_server("alice", "bob", settings={"muc.lock-timeout": timeout})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = Room("cave")
    assert {110, 201} <= cave.enter(alice, "owner").own.codes
    if timeout == "0":
        cave.enter(bob, "guest")
    else:
        assert cave.refused(bob, "guest")[0] == "item-not-found"
        opens(cave, bob, "guest")
    assert show(server, cave.jid)["locked"] is False


def test_it_opens_when_its_owner_speaks(alice, bob):
    cave = Room("cave")
    cave.enter(alice, "owner")
    assert cave.refused(bob, "guest")[0] == "item-not-found"
    cave.say(alice, "anybody there?")
    cave.expect_body(alice, "owner", "anybody there?")
    assert cave.enter(bob, "guest").bodies == ["anybody there?"]


@pytest.mark.parametrize("persistent", ["off", "on"])
def test_it_opens_when_its_owner_invites(make_server, persistent):
    """Who follows the invitation gets in."""
    server = make_server("alice", "bob", settings={"muc.new-persistent": persistent})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = Room("cave")
    cave.enter(alice, "owner")
    alice.send(f"<message to='{cave.jid}'><x xmlns='{muc.USER}'><invite to='bob@localhost'/></x>"
               "</message>")
    bob.expect(f"<message from='{cave.jid}'><x xmlns='{muc.USER}'><invite/></x></message>")
    cave.enter(bob, "guest")


def test_one_that_no_owner_is_in_any_more_ends(make_server):
    """Only owners can enter a locked room; a former owner does not keep it locked."""
    server = make_server("alice", "bob", settings={"muc.lock-timeout": "2s"})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = Room("cave")
    cave.enter(alice, "owner")
    cave.set_affiliation(alice, bob.bare, "owner")
    cave.enter(bob, "other")
    cave.set_affiliation(alice, bob.bare, "none")
    cave.leave(alice, "owner")
    assert cave.gone(bob, "other").destroy is not None
    assert 201 in cave.enter(alice, "owner").own.codes


def test_it_does_not_open_twice(make_server):
    """The time limit of a room does not apply to a later room of the same name."""
    server = make_server("alice", "bob", settings={"muc.lock-timeout": "1s"})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    for i in range(3):
        cave = Room("cave").create(alice, "owner", membersonly=True)
        opens_never = cave.refused(bob, "guest")
        assert opens_never[0] == "registration-required"
        cave.destroy(alice)
        alice.expect("<presence type='unavailable'/>")


@pytest.mark.parametrize("timeout", ["5min", "0"])
def test_new_rooms_may_be_persistent(make_server, timeout):
    server = make_server("alice", "bob", settings={"muc.lock-timeout": timeout,
                                                   "muc.new-persistent": True})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = Room("cave")
    entered = cave.enter(alice, "owner")
    assert 170 in entered.own.codes, "it is recorded"
    cave.say(alice, "first words")
    cave.expect_body(alice, "owner", "first words")
    until("it is stored", lambda: show(server, cave.jid)["locked"] is False)
    cave.enter(bob, "guest")
    cave.leave(alice, "owner")
    cave.leave(bob, "guest")
    server.kill()
    server.start()
    back = server.client("bob", "b")
    entered = cave.enter(back, "guest")
    assert 201 not in entered.own.codes and entered.own.affiliation == "none"
    assert entered.bodies in (["first words"], []), "what was said before it was stored may go"


def test_a_persistent_default_is_the_owners_to_refuse(make_server):
    server = make_server("alice", settings={"muc.new-persistent": True})
    alice = server.client("alice", "a")
    cave = Room("cave")
    cave.enter(alice, "owner")
    assert cave.configuration(alice)["muc#roomconfig_persistentroom"] == "1"
    cave.configure(alice, persistentroom=False)
    cave.leave(alice, "owner")
    assert 201 in cave.enter(alice, "owner").own.codes
    cave.configure(alice)  # an instant room is as the settings say
    cave.leave(alice, "owner")
    assert 201 not in cave.enter(alice, "owner").own.codes
    server.restart()
    alice = server.client("alice", "a")
    assert 201 not in cave.enter(alice, "owner").own.codes


def test_one_persistent_room_too_many_opens_all_the_same(make_server):
    server = make_server("alice", "bob", settings={
        "muc.new-persistent": True, "muc.persistent-max": 1, "muc.lock-timeout": "0"})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    for name in "first", "second":
        cave = Room(name)
        cave.enter(alice, "owner")
        opens(cave, bob, "guest")
    assert show(server, "first@conference.localhost")["kind"] == "persistent"
    assert show(server, "second@conference.localhost")["kind"] == "adhoc"


def test_leaving_a_locked_room_is_leaving_it(alice):
    """§7.14 first, then §10.9: there is no such room any more."""
    cave = Room("cave")
    cave.enter(alice, "owner")
    left = cave.leave(alice, "owner", status="never mind")
    assert left.destroy is None and 110 in left.codes and left.role == "none"
    assert left.status == "never mind"
    assert cave.gone(alice, "owner").destroy is not None


def test_operators_unlock(server, alice, bob):
    cave = Room("cave")
    cave.enter(alice, "owner")
    assert show(server, cave.jid)["locked"] is True
    assert server.ctl("room", "unlock", cave.jid)["text"] == f"{cave.jid} is open"
    cave.enter(bob, "guest")
    assert server.ctl("room", "unlock", cave.jid)["text"] == f"{cave.jid} was open already"
    assert "there is no room" in refusal(server, "room", "unlock", "den@conference.localhost")


VALUES = [("roomname", "A Dark Cave"), ("roomdesc", "The place\nfor all"), ("lang", "en"),
          ("persistentroom", "on"), ("publicroom", "off"), ("membersonly", "on"),
          ("allowinvites", "on"), ("registration", "on"), ("moderatedroom", "on"),
          ("whois", "anyone"), ("maxusers", "20"), ("maxusers", "none"), ("allowpm", "moderators"),
          ("changesubject", "off"), ("presencebroadcast", "moderator participant"),
          ("getmemberlist", ""), ("showabsent", "off"), ("defaulthistorymessages", "3"),
          ("maxhistoryfetch", "30"), ("enablearchiving", "off"), ("enablelogging", "on"),
          ("archivejoins", "on"), ("stripxhtml", "on"), ("groupchat1", "on"), ("maxhidden", "1"),
          ("contactjid", "bob@localhost carol@localhost"), ("pubsub", "xmpp:pubsub.localhost")]


def test_operators_set_every_field(server, alice):
    cave = Room("cave").create(alice, "owner")
    names = set(fields(server, cave.jid))
    assert fields(server, cave.jid)["enablelogging"] == "off"  # it is not persistent yet
    assert names == {name for name, _ in VALUES} | {"passwordprotectedroom", "roomsecret"}
    for name, value in VALUES:
        assert server.ctl("room", "set", cave.jid, name, value)["text"] == \
            f"{cave.jid} is configured"
        now = fields(server, cave.jid)[name]
        assert sorted(now.split()) == sorted(value.split()), name
    config = cave.configuration(alice)
    assert config["muc#roomconfig_roomdesc"] == "The place\nfor all"


def test_what_operators_set_is_announced_and_checked(server, alice, bob):
    cave = Room("cave").create(alice, "owner")
    cave.enter(bob, "guest")
    cave.forget(alice, bob)
    server.ctl("room", "set", cave.jid, "whois", "moderators")
    assert cave.notice(bob) == {173}
    server.ctl("room", "set", cave.jid, "muc#roomconfig_roomname", "Cave")
    assert cave.notice(bob) == {104}
    server.ctl("room", "set", cave.jid, "membersonly", "on")
    assert 322 in cave.gone(bob, "guest").codes
    before = fields(server, cave.jid)
    for field, value, why in [
            ("maxusers", "0", "muc#roomconfig_maxusers"), ("maxusers", "many", "maxusers"),
            ("whois", "nobody", "muc#roomconfig_whois"),
            ("membersonly", "maybe",
             "membersonly: found 'maybe', allowed on or off"),
            ("lang", "e n", "is not a language tag"), ("roomname", "a\nb", "roomname"),
            ("passwordprotectedroom", "on", "roomsecret' cannot be empty"),
            ("contactjid", "@@", "contactjid"), ("roomnames", "x", "no field 'roomnames'")]:
        assert why in refusal(server, "room", "set", cave.jid, field, value)
    assert fields(server, cave.jid) == before


def test_a_password_is_in_no_log(server, alice, bob):
    cave = Room("cave").create(alice, "owner")
    server.ctl("room", "set", cave.jid, "roomsecret", "cauldronburn")
    server.ctl("room", "set", cave.jid, "passwordprotectedroom", "on")
    refusal(server, "room", "set", cave.jid, "roomsecrets", "cauldronburn")
    assert fields(server, cave.jid)["roomsecret"] == "(not shown)"
    assert cave.refused(bob, "guest")[0] == "not-authorized"
    cave.enter(bob, "guest", password="cauldronburn")
    assert "cauldronburn" not in server.log()


def test_setting_a_field_opens_a_locked_room(server, alice, bob):
    cave = Room("cave")
    cave.enter(alice, "owner")
    server.ctl("room", "set", cave.jid, "persistentroom", "on")
    cave.enter(bob, "guest")
    server.restart()
    assert show(server, cave.jid)["kind"] == "persistent"


def test_logging_is_archiving(alice):
    """muc#roomconfig_enablelogging and _enablearchiving are one value; a client returns both."""
    cave = Room("cave").create(alice, "owner", persistentroom=True, enablearchiving=False)
    assert cave.configuration(alice)["muc#roomconfig_enablelogging"] == "0"
    for given, value in [({"enablelogging": True, "enablearchiving": False}, "1"),
                         ({"enablelogging": True, "enablearchiving": False}, "0"),
                         ({"enablelogging": True, "enablearchiving": True}, "1"),
                         ({"enablelogging": False}, "0")]:
        cave.configure(alice, **given)
        now = cave.configuration(alice)
        assert now["muc#roomconfig_enablelogging"] == now["muc#roomconfig_enablearchiving"] == value


NEEDS = "can be 1 in a persistent room only"


@pytest.mark.parametrize("persistent, given, after, codes, why", [
    (False, {"enablelogging": True}, None, None, NEEDS),
    (False, {"enablelogging": True, "persistentroom": False}, None, None, NEEDS),
    (False, {"enablelogging": True, "enablearchiving": True}, None, None, NEEDS),
    (False, {"enablelogging": True, "persistentroom": True}, "1", {170, 104}, None),
    (False, {"enablelogging": False, "persistentroom": True}, "0", {104}, None),
    (False, {"persistentroom": True}, "1", {170, 104}, None),
    (True, {"enablelogging": True, "persistentroom": False}, None, {171, 104}, None),
    (True, {"enablelogging": False}, "0", {171}, None)])
def test_logging_is_offered_and_taken_where_it_does_something(server, alice, persistent, given,
                                                              after, codes, why):
    """Else a form would say 1 in a room that sends no 170 (§10.2.1). One that comes back whole when
    the room ends to be persistent is taken."""
    cave = Room("cave").create(alice, "owner", persistentroom=persistent)
    field = "muc#roomconfig_enablelogging"
    assert cave.configuration(alice).get(field) == ("1" if persistent else None)
    cave.forget(alice)
    if why is None:
        cave.configure(alice, **given)
        assert cave.notice(alice) == codes
    else:
        condition, text = refused(cave, alice, given)
        assert condition == "not-acceptable" and why in text
        assert why in refusal(server, "room", "set", cave.jid, "enablelogging", "on")
    assert cave.configuration(alice).get(field) == after
    assert fields(server, cave.jid)["enablelogging"] == ("on" if after == "1" else "off")


def refused(room, client, given):
    reply = room.try_configure(client, given)
    error = reply.find(f"{{{xml.CLIENT}}}error")
    return xml.condition(reply), error.findtext(f"{{{xml.STANZA_ERROR}}}text")


def archives(room, client):
    """{field: (value, description)} of what the form says of archives."""
    fields = {f.get("var").rpartition("_")[2]: f
              for f in room.owner(client, "get", "").iter(f"{{{muc.DATA}}}field")}
    return {name: (fields[name].findtext(f"{{{muc.DATA}}}value"),
                   fields[name].findtext(f"{{{muc.DATA}}}desc"))
            for name in ("enablearchiving", "enablelogging", "archivejoins") if name in fields}


def test_the_form_says_that_a_temporary_room_archives_nothing(server, alice):
    """And what it will do once it is persistent; a client that returns the form changes nothing."""
    server.ctl("set", "muc.archive-joins", "on")
    cave = Room("cave").create(alice, "owner")
    idle = "Nothing is archived now: the room is not persistent."
    assert not show(server, cave.jid)["recorded"]
    assert archives(cave, alice) == {"enablearchiving": ("1", idle), "archivejoins": ("1", idle)}
    cave.configure(alice, persistentroom=True)
    assert show(server, cave.jid)["recorded"]
    assert archives(cave, alice) == {name: ("1", None) for name in (
        "enablearchiving", "enablelogging", "archivejoins")}
    server.ctl("set", "muc.archive", "off")
    idle = "No message is archived now: this server archives no room."
    assert not show(server, cave.jid)["recorded"]
    assert archives(cave, alice) == {"enablearchiving": ("1", idle), "archivejoins": ("1", None)}
    assert "this server archives no room" in refusal(
        server, "room", "set", cave.jid, "enablelogging", "on")


def test_the_first_configuration_tells_who_sees_addresses(make_server):
    server = make_server("alice", settings={"muc.new-anonymous": True,
                                            **muc.owners("anonymous")})
    alice = server.client("alice", "a")
    cave = Room("cave")
    assert 100 not in cave.enter(alice, "owner").own.codes
    cave.configure(alice, whois="anyone", roomname="Cave")
    assert cave.notice(alice) == {172}
