"""Configuration of rooms (XEP-0045 §10): forms, what owners may change, codes, the end of a room;
and the settings that new rooms take."""
import pytest

from harness import muc, xml
from harness.muc import Room, form_values


def refused(reply):
    """(condition, text) of an error."""
    assert reply.get("type") == "error", xml.canonical(reply)
    error = reply.find(f"{{{xml.CLIENT}}}error")
    return xml.condition(reply), error.findtext("{urn:ietf:params:xml:ns:xmpp-stanzas}text") or ""


@pytest.fixture
def cave(alice):
    return Room("cave").create(alice, "first")


@pytest.fixture
def open_to_owners(server):
    """Owners may change everything."""
    for name in muc.owners("self-add", "groupchat1", "anonymous", "strip-xhtml", "history"):
        server.ctl("set", name, "on")


# --- new rooms ---


def test_a_new_room_waits_for_its_configuration(alice, bob):
    cave = Room("cave")
    got = cave.enter(alice, "first")
    assert {110, 201} <= got.own.codes
    assert cave.refused(bob, "second") == ("item-not-found", "cancel")
    cave.configure(alice)
    assert cave.enter(bob, "second").others.keys() == {"first"}


def test_a_reserved_room_is_what_its_form_said(alice, bob):
    cave = Room("cave").create(alice, "first", roomname="A dark cave", roomdesc="For witches",
                               lang="en-GB", passwordprotectedroom=True, roomsecret="cauldron",
                               publicroom=False, moderatedroom=True)
    assert cave.refused(bob, "second") == ("not-authorized", "auth")
    got = cave.enter(bob, "second", password="cauldron")
    assert got.own.standing == ("none", "visitor")
    identities, features, forms = muc.disco_info(bob, cave.jid)
    assert ("conference", "text", "A dark cave") in identities
    assert features >= {"muc_hidden", "muc_moderated", "muc_passwordprotected", "muc_open",
                        "muc_nonanonymous", "muc_temporary"}
    info = forms[muc.INFO]
    assert info["muc#roominfo_description"] == "For witches"
    assert info["muc#roominfo_lang"] == "en-GB"
    assert info["muc#roominfo_occupants"] == "2"
    assert "cauldron" not in str(info)
    assert cave.jid not in {jid for jid, _ in muc.disco_items(bob, muc.service())}


def test_who_cancels_does_not_want_the_room(alice, bob):
    cave = Room("cave")
    cave.enter(alice, "first")
    assert cave.cancel(alice).get("type") == "result"
    seen = cave.gone(alice, "first")
    assert seen.destroy is not None and 110 in seen.codes
    assert 201 in cave.enter(bob, "second").own.codes  # the name is free


def test_a_later_cancel_changes_nothing(alice, cave):
    cave.configure(alice, roomname="kept")
    assert cave.cancel(alice).get("type") == "result"
    assert cave.configuration(alice)["muc#roomconfig_roomname"] == "kept"


def test_the_defaults_of_a_room(alice, bob, cave):
    """Requirement 5."""
    _, features, forms = muc.disco_info(bob, cave.jid)
    assert features >= {"muc_open", "muc_nonanonymous", "muc_unmoderated", "muc_unsecured",
                        "muc_public", "muc_temporary"}
    values = cave.configuration(alice)
    assert values["muc#roomconfig_maxusers"] == "50"
    assert values["muc#roomconfig_allowpm"] == "anyone"
    assert values["muc#roomconfig_changesubject"] == "1"
    cave.enter(bob, "second")
    for i in range(20):
        cave.say(bob, f"word {i}")
    cave.expect_body(alice, "second", "word 19")
    cave.leave(bob, "second")
    cave.forget(bob)
    assert cave.enter(bob, "second").bodies == [f"word {i}" for i in range(5, 20)]


def test_settings_shape_new_rooms_only(server, alice, bob, cave):
    """Requirement 6; and the reset of the chat settings."""
    for name, value in (("muc.new-members-only", "on"), ("muc.new-moderated", "on"),
                        ("muc.new-occupants", "7"), ("muc.new-anonymous", "on"),
                        ("muc.new-private-messages", "moderator"),
                        ("muc.new-subject", "moderator"), ("muc.new-history", "3")):
        server.ctl("set", name, value)
    hall = Room("hall").create(alice, "first")
    _, features, _ = muc.disco_info(alice, hall.jid)
    assert features >= {"muc_membersonly", "muc_moderated", "muc_semianonymous"}
    values = hall.configuration(alice)
    assert values["muc#roomconfig_maxusers"] == "7"
    assert values["muc#roomconfig_allowpm"] == "moderators"
    assert values["muc#roomconfig_changesubject"] == "0"
    _, features, _ = muc.disco_info(alice, cave.jid)
    assert features >= {"muc_open", "muc_unmoderated", "muc_nonanonymous"}
    assert cave.configuration(alice)["muc#roomconfig_maxusers"] == "50"
    server.ctl("config", "reset", "muc")
    _, features, _ = muc.disco_info(bob, Room("den").create(bob, "x").jid)
    assert features >= {"muc_open", "muc_unmoderated", "muc_nonanonymous"}
    _, features, _ = muc.disco_info(alice, hall.jid)
    assert features >= {"muc_membersonly"}


# --- the form ---


def test_the_form_may_be_sent_back_as_it_is(server, alice, cave, open_to_owners):
    reply = cave.owner(alice, "get", "")
    form = reply.find(f".//{{{muc.DATA}}}x")
    values = form_values(form)
    assert values.pop("FORM_TYPE") == muc.CONFIG
    assert values["muc#roomconfig_roomowners"] == ["alice@localhost"]
    assert values["muc#roomconfig_roomadmins"] == []
    assert len(values) > 25
    cave.configure(alice, **values)
    assert form_values(cave.owner(alice, "get", "").find(f".//{{{muc.DATA}}}x")) == {
        "FORM_TYPE": muc.CONFIG, **values}
    cave.forget(alice)
    cave.configure(alice, unknown_field="whatever", roomname="new")  # XEP-0004: ignored
    assert cave.notice(alice) == {104}


@pytest.mark.parametrize("fields", [
    {"membersonly": "maybe"},
    {"membersonly": ["1", "0"]},
    {"maxusers": "0"},
    {"maxusers": "1001"},
    {"maxusers": "lots"},
    {"allowpm": "members"},
    {"presencebroadcast": ["moderator", "outsider"]},
    {"roomname": "x" * 1024},
    {"lang": "not a language"},
    {"pubsub": "https://localhost/"},
    {"passwordprotectedroom": True},
    {"roomadmins": ["bob@localhost", "@@"]},
    {"roomadmins": ["localhost"]},
    {"muster#roomconfig_contactjid": ["b@@c"]},
    {"muster#roomconfig_maxhidden": "3"},
])
def test_what_is_wrong_changes_nothing(alice, cave, fields):
    condition, text = refused(cave.try_configure(alice, {"moderatedroom": True, **fields}))
    assert condition == "not-acceptable"
    assert next(iter(fields)).removeprefix("muc#") in text or "roomsecret" in text
    assert cave.configuration(alice)["muc#roomconfig_moderatedroom"] == "0"


@pytest.mark.parametrize("inner", [
    "",
    "<x xmlns='jabber:x:data'/>",
    "<x xmlns='jabber:x:data' type='result'/>",
    "<x xmlns='jabber:x:data' type='submit'><field var='muc#roomconfig_roomname'/></x>",
    muc.submit(muc.REGISTER, {"muc#roomconfig_roomname": "x"}),
    "<item affiliation='owner' jid='bob@localhost'/>",
])
def test_what_is_no_such_form(alice, cave, inner):
    assert refused(cave.owner(alice, "set", inner))[0] == "bad-request"


def test_only_owners_configure(alice, bob, cave):
    cave.enter(bob, "second")
    for affiliation in ("none", "member", "admin"):
        cave.set_affiliation(alice, "bob@localhost", affiliation)
        assert refused(cave.owner(bob, "get", ""))[0] == "forbidden"
        assert refused(cave.try_configure(bob, {"roomname": "mine"}))[0] == "forbidden"
        assert refused(cave.cancel(bob))[0] == "forbidden"
        assert refused(cave.destroy(bob))[0] == "forbidden"
    cave.set_affiliation(alice, "bob@localhost", "owner")
    cave.configure(bob, roomname="mine")


def test_no_room_no_form(alice):
    for kind, inner in (("get", ""), ("set", "<destroy/>")):
        assert refused(Room("nowhere").owner(alice, kind, inner))[0] == "item-not-found"


SWITCHES = [
    ("members-only", "membersonly", "1"),
    ("moderators-invite", "allowinvites", "1"),
    ("self-add", "x-muc#roomconfig_registration", "1"),
    ("absent-visible", "muster#roomconfig_showabsent", "0"),
    ("groupchat1", "muster#roomconfig_groupchat1", "1"),
    ("anonymous", "whois", "moderators"),
    ("moderated", "moderatedroom", "1"),
    ("occupants", "maxusers", "9"),
    ("private-messages", "allowpm", "moderators"),
    ("subject", "changesubject", "0"),
    ("strip-xhtml", "muster#roomconfig_stripxhtml", "1"),
    ("history", "defaulthistorymessages", "5"),
    ("archive", "enablearchiving", "0"),
]


def test_owners_change_what_is_left_to_them(server, alice, cave):
    """Requirement 13."""
    for switch, var, value in SWITCHES:
        full = var if "#" in var else f"muc#roomconfig_{var}"
        server.ctl("set", f"muc.owner-{switch}", "off")
        assert full not in cave.configuration(alice)
        condition, text = refused(cave.try_configure(alice, {var: value}))
        assert condition == "not-acceptable" and full in text
        server.ctl("set", f"muc.owner-{switch}", "on")
        assert cave.configuration(alice)[full] != value
        cave.configure(alice, **{var: value})
        assert cave.configuration(alice)[full] == value


def test_persistence_is_for_the_operator_to_allow(server, alice, cave):
    server.ctl("set", "muc.persistent", "off")
    condition, text = refused(cave.try_configure(alice, {"persistentroom": True}))
    assert condition == "not-acceptable" and "persistentroom" in text
    server.ctl("set", "muc.persistent", "on")
    cave.configure(alice, persistentroom=True)


def test_an_administrator_of_group_chat_changes_everything(server, alice, bob, cave):
    server.ctl("set", "muc.administrators-enabled", "on")
    server.ctl("room-admin", "add", "bob@localhost")
    cave.configure(bob, **{"whois": "moderators", "muster#roomconfig_maxhidden": "3"})
    assert cave.configuration(bob)["muster#roomconfig_maxhidden"] == "3"
    assert "muc#roomconfig_whois" not in cave.configuration(alice)


# --- what a change means ---


@pytest.mark.parametrize("fields, codes", [
    ({"roomname": "other"}, {104}),
    ({"enablearchiving": False}, {171}),
    ({"persistentroom": False}, {104, 171}),
    ({"whois": "moderators"}, {173}),
    ({"muster#roomconfig_showabsent": False}, {103}),
    ({"enablearchiving": False, "roomname": "x", "whois": "moderators"}, {104, 171, 173}),
])
def test_who_is_there_hears_of_a_change(alice, bob, cave, open_to_owners, fields, codes):
    cave.configure(alice, persistentroom=True)
    assert 170 in cave.enter(bob, "second").own.codes
    cave.forget(alice)
    cave.configure(alice, **fields)
    assert cave.notice(alice) == codes
    assert cave.notice(bob) == codes


def test_codes_the_other_way(alice, bob, cave, open_to_owners):
    fields = {"enablearchiving": False, "whois": "moderators", "persistentroom": True,
              "muster#roomconfig_showabsent": False}
    cave.configure(alice, **fields)
    got = cave.enter(bob, "second")
    assert not got.own.codes & {100, 170}
    cave.forget(alice, bob)
    cave.configure(alice, **{"enablearchiving": True, "whois": "anyone",
                             "muster#roomconfig_showabsent": True})
    assert cave.notice(bob) == {102, 170, 172}


def test_nothing_changed_nothing_said(alice, cave):
    cave.forget(alice)
    cave.configure(alice, roomname="", membersonly=False)
    cave.expect_nothing(alice, "<message/>")


def test_a_room_becomes_for_members_only(alice, bob, carol, cave):
    cave.set_affiliation(alice, "carol@localhost", "member")
    cave.enter(bob, "second")
    cave.enter(carol, "third")
    cave.configure(alice, membersonly=True)
    seen = cave.gone(bob, "second")
    assert {110, 322} <= seen.codes
    assert 322 in cave.gone(carol, "second").codes
    assert cave.refused(bob, "second") == ("registration-required", "auth")


def test_lists_of_owners_and_administrators(alice, bob, carol, cave):
    cave.enter(bob, "second")
    cave.enter(carol, "third")
    cave.forget(alice, bob, carol)
    cave.configure(alice, roomowners=["alice@localhost", "bob@localhost/phone"],
                   roomadmins=["carol@localhost"])
    assert cave.presence(alice, "second").standing == ("owner", "moderator")
    assert cave.presence(alice, "third").standing == ("admin", "moderator")
    assert cave.jids(alice, "owner") == {"alice@localhost", "bob@localhost"}
    # both lists are complete: a user who is not in them is lowered by one step
    cave.configure(bob, roomowners=["bob@localhost"], roomadmins=["alice@localhost"])
    assert cave.jids(bob, "owner") == {"bob@localhost"}
    assert cave.jids(bob, "admin") == {"alice@localhost"}
    assert cave.jids(bob, "member") == {"carol@localhost"}
    assert cave.presence(alice, "third").standing == ("member", "participant")
    assert refused(cave.try_configure(alice, {"roomname": "x"}))[0] == "forbidden"


def test_the_last_owner_stays(alice, cave):
    assert refused(cave.try_configure(alice, {"roomowners": []}))[0] == "conflict"
    assert cave.jids(alice, "owner") == {"alice@localhost"}


def test_roles_whose_presence_is_shown(alice, bob, carol, cave):
    cave.enter(bob, "second")
    cave.enter(carol, "third")
    cave.set_role(alice, "third", "moderator")
    cave.forget(alice, bob, carol)
    cave.configure(alice, presencebroadcast=["moderator"])
    seen = cave.gone(alice, "second")  # it stays, and hears others
    assert seen.standing == ("none", "none")
    cave.expect_nothing(bob, f"<presence from='{cave.at('second')}' type='unavailable'/>")
    cave.say(bob, "still here")
    cave.expect_body(alice, "second", "still here")
    bob.send(f"<presence to='{cave.at('second')}'><show>away</show></presence>")
    cave.expect_nothing(alice, f"<presence from='{cave.at('second')}'/>", after=[bob])
    cave.set_role(alice, "third", "participant")
    assert cave.gone(alice, "third")
    cave.set_role(alice, "third", "moderator")
    assert cave.presence(alice, "third").role == "moderator"
    cave.forget(alice)
    cave.configure(alice, presencebroadcast=["moderator", "participant", "visitor"])
    seen = cave.presence(alice, "second")
    assert (seen.show, seen.role) == ("away", "participant")


def test_absent_members_are_visible(alice, bob, carol, cave, open_to_owners):
    """Members and administrators who are not in the room, outcasts and others never."""
    cave.set_affiliation(alice, "carol@localhost", "admin")
    cave.set_affiliation(alice, "dora@localhost", "member", nick="Dora the Witch")
    cave.set_affiliation(alice, "emil@localhost", "outcast")
    got = cave.enter(bob, "second")
    assert set(got.others) == {"first"}
    assert set(got.absent) == {"carol", "Dora the Witch"}
    seen = got.absent["carol"]
    assert (seen.standing, seen.jid) == (("admin", "none"), "carol@localhost")
    # who is here is not absent, nor after somebody took the name
    cave.enter(carol, "third")
    cave.leave(bob, "second")
    cave.forget(bob)
    assert set(cave.enter(bob, "carol").absent) == {"Dora the Witch"}
    cave.leave(carol, "third")
    cave.leave(bob, "carol")
    # where addresses are not shown, only registered names
    cave.configure(alice, whois="moderators")
    cave.forget(bob)
    absent = cave.enter(bob, "second").absent
    assert set(absent) == {"Dora the Witch"} and absent["Dora the Witch"].jid is None
    cave.configure(alice, **{"muster#roomconfig_showabsent": False})
    cave.leave(bob, "second")
    cave.forget(alice, bob)
    assert cave.enter(bob, "second").absent == {}
    cave.configure(alice, **{"muster#roomconfig_showabsent": True})
    assert cave.presence(bob, "Dora the Witch").standing == ("member", "none")
    assert cave.presence(alice, "Dora the Witch").jid == "dora@localhost"


# --- the values of the fields ---


def test_members_only_and_who_invites(server, alice, bob, carol, cave):
    """Requirement 8."""
    cave.set_affiliation(alice, "bob@localhost", "member")
    cave.configure(alice, membersonly=True)
    cave.enter(bob, "second")
    invite = (f"<x xmlns='{muc.USER}'><invite to='carol@localhost'/></x>")
    cave.send(bob, invite, kind="normal")
    assert cave.message_error(bob) == ("forbidden", "auth")
    cave.configure(alice, allowinvites=True)
    cave.forget(bob)
    cave.send(bob, invite, kind="normal")
    cave.flush(bob)
    assert "carol@localhost" in cave.jids(alice, "member")


def test_a_moderated_room(alice, bob, cave):
    """Requirement 9."""
    cave.configure(alice, moderatedroom=True)
    assert cave.enter(bob, "second").own.role == "visitor"
    cave.say(bob, "no voice")
    assert cave.message_error(bob) == ("forbidden", "auth")
    cave.set_role(alice, "second", "participant")
    cave.say(bob, "voice")
    cave.expect_body(alice, "second", "voice")
    cave.set_role(alice, "second", "visitor")
    cave.say(bob, "none again")
    assert cave.message_error(bob) == ("forbidden", "auth")
    cave.expect_nothing(alice, "<message><body>none again</body></message>")


ROLES = ("visitor", "participant", "moderator")


@pytest.mark.parametrize("lowest", [*ROLES, None])
def test_the_lowest_role_for_private_messages(alice, bob, cave, lowest):
    """Requirement 10."""
    rule = dict(zip((*ROLES, None), ("anyone", "participants", "moderators", "none")))[lowest]
    cave.configure(alice, allowpm=rule)
    cave.enter(bob, "second")
    for role in ROLES:
        cave.set_role(alice, "second", role)
        cave.forget(bob)
        cave.whisper(bob, "first", f"psst {role}")
        if lowest is not None and ROLES.index(role) >= ROLES.index(lowest):
            cave.expect_body(alice, "second", f"psst {role}", kind="chat")
        else:
            assert cave.message_error(bob)[0] in ("forbidden", "not-acceptable")


@pytest.mark.parametrize("lowest", ["participant", "moderator"])
def test_the_lowest_role_for_the_subject(alice, bob, cave, lowest):
    """Requirement 10; a visitor never."""
    cave.configure(alice, changesubject=lowest == "participant")
    cave.enter(bob, "second")
    for role in ROLES:
        cave.set_role(alice, "second", role)
        cave.forget(bob)
        cave.set_subject(bob, f"as {role}")
        if ROLES.index(role) >= ROLES.index(lowest):
            cave.expect_subject(alice, "second", f"as {role}")
        else:
            assert cave.message_error(bob) == ("forbidden", "auth")


def test_a_full_room(server, alice, bob, carol, cave):
    """Requirement 11."""
    cave.configure(alice, maxusers=2)
    cave.enter(bob, "second")
    assert cave.refused(carol, "third") == ("service-unavailable", "wait")
    cave.leave(bob, "second")
    cave.enter(carol, "third")
    done = server.ctl_run("set", "muc.new-occupants", "1001")
    assert done.returncode == 1
    assert "muc.new-occupants: found 1001, allowed at most muc.occupants-max" in done.stderr
    server.ctl("set", "muc.occupants-max", "2001")
    server.ctl("set", "muc.new-occupants", "2000")
    done = server.ctl_run("set", "muc.occupants-max", "--default")
    assert done.returncode == 1 and "at least muc.new-occupants" in done.stderr


def test_history_and_its_maximum(server, alice, bob, cave, open_to_owners):
    """Requirement 7."""
    for fields in ({"muc#maxhistoryfetch": 101}, {"defaulthistorymessages": 101},
                   {"muc#maxhistoryfetch": 10, "defaulthistorymessages": 11}):
        assert refused(cave.try_configure(alice, fields))[0] == "not-acceptable"
    cave.configure(alice, **{"muc#maxhistoryfetch": 6, "defaulthistorymessages": 4})
    for i in range(10):
        cave.say(alice, f"word {i}")
    cave.expect_body(alice, "first", "word 9")
    assert cave.enter(bob, "second").bodies == [f"word {i}" for i in range(6, 10)]
    for asked, come in ((2, 2), (6, 6), (50, 6), (0, 0)):
        cave.leave(bob, "second")
        assert len(cave.enter(bob, "second", history={"maxstanzas": asked}).bodies) == come
    done = server.ctl_run("set", "muc.new-history", "101")
    assert done.returncode == 1 and "at most muc.history-max, which is 100" in done.stderr
    done = server.ctl_run("set", "muc.history-max", "14")
    assert done.returncode == 1 and "at least muc.new-history, which is 15" in done.stderr


def test_the_number_of_rooms(server, alice, cave):
    """Requirement 14."""
    server.ctl("set", "muc.rooms-max", "2")
    hall = Room("hall").create(alice, "first")
    assert Room("den").refused(alice, "first") == ("resource-constraint", "wait")
    hall.destroy(alice)
    den = Room("den").create(alice, "first", persistentroom=True)
    assert Room("hall").refused(alice, "first") == ("resource-constraint", "wait")
    den.destroy(alice)
    Room("hall").create(alice, "first")


def test_the_number_of_persistent_rooms(server, alice, cave):
    server.ctl("set", "muc.persistent-max", "1")
    cave.configure(alice, persistentroom=True)
    hall = Room("hall").create(alice, "first")
    condition, text = refused(hall.try_configure(alice, {"persistentroom": True}))
    assert condition == "not-acceptable" and "persistent rooms" in text
    assert hall.configuration(alice)["muc#roomconfig_persistentroom"] == "0"
    cave.configure(alice, persistentroom=False)
    hall.configure(alice, persistentroom=True)


def test_too_many_people_is_not_too_many_rooms(make_server):
    server = make_server("alice", settings={"muc.affiliations-max": 2})
    alice = server.client("alice", "a")
    hall = Room("hall").create(alice, "first")
    condition, text = refused(hall.try_configure(
        alice, {"roomadmins": ["bob@localhost", "carol@localhost"]}))
    assert condition == "not-acceptable" and "affiliation" in text and "persistent" not in text
    assert hall.jids(alice, "admin") == set()


def test_administrators_make_no_persistent_room_where_there_are_none(server, alice):
    for setting, value in (("muc.administrators-enabled", "on"), ("muc.persistent", "off")):
        server.ctl("set", setting, value)
    server.ctl("room-admin", "add", "alice@localhost")
    hall = Room("hall").create(alice, "first")
    assert refused(hall.try_configure(alice, {"persistentroom": True}))[0] == "not-acceptable"
    server.ctl("set", "muc.persistent", "on")
    hall.configure(alice, persistentroom=True)
    server.ctl("set", "muc.persistent", "off")
    hall.configure(alice, roomname="Hall")
    assert hall.configuration(alice)["muc#roomconfig_persistentroom"] == "1"


def test_a_hidden_occupant(server, alice, bob, carol, cave):
    """Requirement 12, for administrators of a room."""
    cave.set_affiliation(alice, "carol@localhost", "admin")
    cave.enter(bob, "second")
    cave.forget(alice, bob)
    carol.send(f"<presence to='{cave.at('third')}'><x xmlns='{muc.NS}'>"
               "<hidden xmlns='urn:muster:rooms:0'/></x></presence>")
    assert set(cave.entered(carol).others) == {"first", "second"}
    cave.say(bob, "nobody else here")
    cave.expect_body(carol, "second", "nobody else here")
    cave.say(carol, "boo")
    cave.flush(carol)
    carol.send(f"<presence to='{cave.at('third')}'><show>away</show></presence>")
    cave.expect_nothing(bob, "<message><body>boo</body></message>", after=[carol])
    cave.expect_nothing(bob, f"<presence from='{cave.at('third')}'/>", after=[carol])
    cave.leave(bob, "second")
    cave.forget(bob)
    assert cave.enter(bob, "second").others.keys() == {"first"}
    assert [row["nick"] for row in server.rows("room", "occupants", cave.jid)
            if row["hidden"]] == ["third"]


def hide(room, client, nick):
    client.send(f"<presence to='{room.at(nick)}'><x xmlns='{muc.NS}'>"
                "<hidden xmlns='urn:muster:rooms:0'/></x></presence>")


def test_who_may_not_be_hidden_is_not_shown_instead(alice, bob, carol, cave):
    cave.set_affiliation(alice, "carol@localhost", "admin")
    cave.forget(alice)
    hide(cave, bob, "second")
    assert cave.presence_error(bob) == ("forbidden", "auth")
    cave.enter(carol, "third")
    hide(cave, carol, "third")
    assert cave.presence_error(carol) == ("conflict", "cancel")
    cave.expect_nothing(alice, f"<presence from='{cave.at('second')}'/>", after=[bob])


def test_a_hidden_occupant_leaves_with_its_right(alice, bob, carol, cave):
    cave.set_affiliation(alice, "carol@localhost", "admin")
    cave.enter(bob, "second")
    hide(cave, carol, "third")
    cave.entered(carol)
    cave.forget(alice, bob)
    cave.set_affiliation(alice, "carol@localhost", "member")
    gone = cave.gone(carol, "third")
    assert 321 in gone.codes and gone.affiliation == "member"
    cave.expect_nothing(bob, f"<presence from='{cave.at('third')}'/>", after=[alice])


def test_nobody_learns_of_a_hidden_occupant_by_what_it_does(alice, bob, carol, cave):
    cave.set_affiliation(alice, "carol@localhost", "admin")
    cave.enter(bob, "second")
    hide(cave, carol, "third")
    cave.entered(carol)
    cave.say(bob, "pox")
    said = cave.expect_body(alice, "second", "pox").find(f"{{{xml.SID}}}stanza-id").get("id")
    assert carol.error("set", f"<moderate xmlns='urn:xmpp:message-moderate:1' id='{said}'>"
                       "<retract xmlns='urn:xmpp:message-retract:1'/></moderate>",
                       to=cave.jid) == ("forbidden", "auth")
    cave.set_role(carol, "second", "none", "enough")
    gone = cave.gone(alice, "second")
    assert gone.actor is None and gone.reason == "enough"


# --- the service ---


def test_all_leave_when_group_chat_is_turned_off(server, alice, bob, cave):
    hall = Room("hall").create(alice, "first", persistentroom=True)
    hall.enter(bob, "second")
    server.ctl("set", "muc.enabled", "off")
    for client, room, nick in ((alice, cave, "first"), (alice, hall, "first"),
                               (bob, hall, "second")):
        gone = room.expect(client, "presence", nick, lambda e: 332 in muc.codes(e))
        assert muc.Seen(gone).gone
    assert not [e for e in bob.inbox if e.get("type") == "unavailable"], "each of itself alone"
    server.ctl("set", "muc.enabled", "on")
    assert [(row["jid"], row["occupants"]) for row in server.rows("room", "list")] == [
        (hall.jid, 0)]
    assert set(hall.enter(bob, "second").others) == set()


# --- stored ---


def test_configuration_survives(server, alice, cave, open_to_owners):
    """Requirement 6."""
    cave.configure(alice, persistentroom=True, roomname="A\\cave", roomdesc="one\ntwo",
                   membersonly=True, whois="moderators", maxusers="none", allowpm="none",
                   presencebroadcast=["moderator"], passwordprotectedroom=True,
                   roomsecret="caul=dron", **{"muster#roomconfig_contactjid": ["help@localhost"]})
    before = cave.configuration(alice)
    server.kill()
    server.start()
    server.ctl("set", "muc.new-moderated", "on")
    server.ctl("set", "muc.new-strip-xhtml", "on")
    again = server.login("alice")
    cave.enter(again, "first", password="caul=dron")
    assert cave.configuration(again) == before
    assert before["muc#roomconfig_roomdesc"] == "one\ntwo"


def test_two_owners_at_once(alice, bob, cave):
    """Both changes are there: each starts from the result of the other."""
    cave.configure(alice, persistentroom=True, roomowners=["alice@localhost", "bob@localhost"])
    for who, field in ((alice, ("roomname", "hers")), (bob, ("roomdesc", "his"))):
        form = muc.submit(muc.CONFIG, dict([field]), "muc#roomconfig_")
        who.send(f"<iq type='set' id='both' to='{cave}'><query xmlns='{muc.OWNER}'>{form}"
                 "</query></iq>")
    for who in (alice, bob):
        who.expect("<iq type='result' id='both'/>")
    values = cave.configuration(alice)
    assert values["muc#roomconfig_roomname"] == "hers"
    assert values["muc#roomconfig_roomdesc"] == "his"


# --- the end ---


@pytest.mark.parametrize("persistent", [False, True])
def test_the_end_of_a_room(server, alice, bob, cave, persistent):
    cave.configure(alice, persistentroom=persistent)
    cave.enter(bob, "second")
    cave.say(bob, "secret")
    cave.forget(alice, bob)
    reply = cave.destroy(alice, "<reason>it rains &amp; pours</reason><password>pw</password>",
                         jid="hall@conference.localhost")
    assert reply.get("type") == "result"
    for who, nick in ((alice, "first"), (bob, "second")):
        seen = cave.gone(who, nick)
        assert seen.standing == ("none", "none")
        assert seen.destroy.get("jid") == "hall@conference.localhost"
        assert seen.destroy.findtext(f"{{{muc.USER}}}reason") == "it rains & pours"
        assert seen.destroy.findtext(f"{{{muc.USER}}}password") == "pw"
    server.kill()
    server.start()
    again = server.login("bob")
    got = cave.enter(again, "second")  # a new room of the same name, without the old data
    assert 201 in got.own.codes and got.own.affiliation == "owner" and got.bodies == []


def test_a_wrong_venue(alice, cave):
    assert refused(cave.destroy(alice, jid="hall@@x"))[0] == "jid-malformed"
    assert cave.configuration(alice)
