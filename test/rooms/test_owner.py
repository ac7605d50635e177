"""What owners do (XEP-0045 §10): create, configure, share ownership, destroy."""
import pytest

from harness import muc, xml
from harness.component import Component
from harness.muc import Room, item

DATA_SUBMIT = f"<x xmlns='{muc.DATA}' type='submit'>"


@pytest.fixture
def cave(alice, bob, carol):
    """A room of an owner, an admin and a participant."""
    return Room("cave").rule(alice, bob, carol)


# --- §10.1: to create ---


def test_creation_is_acknowledged(alice):
    own = Room("cave").enter(alice, "owner").own
    assert {110, 201} <= own.codes and own.standing == ("owner", "moderator")


def test_two_who_create_the_same_room(make_server):
    """One does; the other finds it locked."""
    server = make_server("alice", "bob", workers=4, settings={"c2s.migration": "off"})
    clients = [server.client("alice", "a"), server.client("bob", "b")]
    for i in range(10):
        cave, got = Room(f"cave{i}"), []
        for client in clients:
            cave.knock(client, client.name)
        for client in clients:
            answer = client.expect(lambda e, r=cave: muc.split(e.get("from"))[0] == r.jid
                                   and e.tag.endswith("}presence"))
            got.append(201 in muc.codes(answer) or xml.condition(answer))
        assert sorted(got, key=str) == [True, "item-not-found"]


def test_an_instant_room(alice, bob):
    cave = Room("cave")
    cave.enter(alice, "owner")
    reply = cave.owner(alice, "set", f"<x xmlns='{muc.DATA}' type='submit'/>")
    assert reply.get("type") == "result"
    assert 201 not in cave.enter(bob, "b").own.codes


def test_a_reserved_room(alice, bob):
    cave = Room("cave")
    cave.enter(alice, "owner")
    offered = cave.configuration(alice)
    assert offered["FORM_TYPE"] == muc.CONFIG
    cave.configure(alice, roomname="A Dark Cave", moderatedroom=True)
    assert cave.enter(bob, "b").own.role == "visitor"
    assert muc.disco_info(bob, cave.jid)[0][0][2] == "A Dark Cave"


def test_a_reserved_room_that_is_given_up(alice, bob):
    """§10.1.3: a cancelled room is destroyed."""
    cave = Room("cave")
    cave.enter(alice, "owner")
    assert cave.cancel(alice).get("type") == "result"
    gone = cave.gone(alice, "owner")
    assert gone.role == "none" and 110 in gone.codes
    assert 201 in cave.enter(bob, "b").own.codes


@pytest.mark.parametrize("how", ["leave", "unavailable", "cut"])
def test_an_owner_who_leaves_before_configuring(alice, bob, how):
    cave = Room("cave")
    cave.enter(alice, "owner")
    if how == "leave":
        assert cave.leave(alice, "owner").destroy is None
        assert cave.gone(alice, "owner").destroy is not None
    elif how == "unavailable":
        alice.send("<presence type='unavailable'/>")
        assert cave.gone(alice, "owner").destroy is None
        assert cave.gone(alice, "owner").destroy is not None
    else:
        alice.cut()
    bob.wait("a new room", lambda: 201 in _enter_or_not(cave, bob))


def _enter_or_not(cave, client):
    cave.knock(client, "b")
    answer = client.expect(lambda e: e.tag.endswith("}presence") and (
        e.get("type") == "error" or 110 in muc.codes(e)))
    return muc.codes(answer)


def test_nobody_else_configures_a_locked_room(alice, bob):
    cave = Room("cave")
    cave.enter(alice, "owner")
    assert cave.message_error(bob, cave.say(bob, "hello"))[0] == "item-not-found", "§17.2"
    reply = cave.try_configure(bob, {})
    assert reply.get("type") == "error"
    assert xml.condition(reply) in ("forbidden", "item-not-found")
    assert cave.refused(bob, "b")[0] == "item-not-found"


def test_a_password_protected_room_needs_a_password(alice, bob):
    cave = Room("cave")
    cave.enter(alice, "owner")
    reply = cave.try_configure(alice, {"passwordprotectedroom": True, "roomsecret": ""})
    assert xml.condition(reply) == "not-acceptable"
    assert cave.refused(bob, "b")[0] == "item-not-found", "still locked"
    cave.configure(alice)
    assert cave.enter(bob, "b").own


@pytest.mark.parametrize("who, may", [("alice", True), ("bob", False)])
def test_who_may_create_rooms(make_server, who, may):
    """§10.1.1: not-allowed where creation is restricted; here to administrators."""
    server = make_server("alice", "bob", settings={"muc.create": "administrators",
                                                   "muc.administrators-enabled": True})
    server.ctl("room-admin", "add", "alice@localhost")
    client = server.client(who, "r")
    if may:
        assert 201 in Room("cave").enter(client, "o").own.codes
    else:
        assert Room("cave").refused(client, "o") == ("not-allowed", "cancel")


@pytest.mark.parametrize("settings, may", [
    ({}, True), ({"muc.create": "accounts"}, False), ({"muc.create-home": True}, False)])
def test_who_is_not_of_this_server_may_create_rooms(make_server, settings, may):
    """Entering rooms that are there is another thing."""
    server = make_server("alice", component=True, settings=settings)
    server.ctl("component", "add", "bots.example.test", "--secret", "a rather long secret")
    bots = Component(server, "bots.example.test", "a rather long secret")
    bot = "bot@bots.example.test/r"
    there = Room("there").create(server.client("alice", "a"), "owner")

    def enter(room):
        bots.send(f"<presence from='{bot}' to='{room.at('bot')}'>{muc.X}</presence>")
        return bots.expect(lambda e: e.get("from") == room.at("bot"))

    assert 110 in muc.codes(enter(there))
    answer = enter(Room("cave"))
    assert 201 in muc.codes(answer) if may else xml.condition(answer) == "not-allowed"


def test_names_of_rooms(alice, bob):
    for name in ("ünïcode", "with.dots-and_more", "1"):
        cave = Room(name).create(alice, "owner")
        cave.enter(bob, "b")
        cave.say(bob, "hello")
        assert cave.expect_body(alice, "b", "hello")


def test_a_name_in_capitals_is_the_same_room(alice, bob):
    Room("cave").create(alice, "owner")
    bob.send(f"<presence to='CAVE@{muc.service()}/b'><x xmlns='{muc.NS}'/></presence>")
    assert "owner" in Room("cave").entered(bob).others


# --- groupchat 1.0 ---


def test_old_clients_create_rooms_at_once(make_server):
    """Without <x/> no configuration is awaited (§10.1.1 note), where rooms allow old clients."""
    server = make_server("alice", "bob", settings={"muc.new-groupchat1": True})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = Room("cave")
    alice.send(f"<presence to='{cave.at('owner')}'/>")
    assert cave.entered(alice).own.standing == ("owner", "moderator")
    bob.send(f"<presence to='{cave.at('b')}'/>")
    assert set(cave.entered(bob).others) == {"owner"}
    cave.say(bob, "old but here")
    assert cave.expect_body(alice, "b", "old but here")


# --- §10.2: to configure ---


@muc.owners_may("anonymous", "history")
def test_the_form_has_what_the_registrar_lists(alice, cave):
    """§15.5.3"""
    fields = {f.removeprefix("muc#roomconfig_") for f in cave.configuration(alice) if f}
    assert {"roomname", "roomdesc", "lang", "enablearchiving", "changesubject", "allowinvites",
            "allowpm", "maxusers", "presencebroadcast", "publicroom", "persistentroom",
            "moderatedroom", "membersonly", "passwordprotectedroom", "roomsecret", "whois",
            "roomadmins", "roomowners", "getmemberlist", "muc#maxhistoryfetch",
            "FORM_TYPE"} <= fields


CONFIGURED = {
    "roomname": "A Dark Cave", "roomdesc": "For all good witches", "lang": "en",
    "changesubject": "1", "allowinvites": "1", "allowpm": "participants", "maxusers": "10",
    "publicroom": "0", "persistentroom": "1", "moderatedroom": "1", "membersonly": "0",
    "passwordprotectedroom": "1", "roomsecret": "cauldronburn", "whois": "moderators",
    "presencebroadcast": ["moderator", "participant"], "getmemberlist": ["moderator"],
    "muc#maxhistoryfetch": "7"}


def normal(value):
    if isinstance(value, list):
        return sorted(value)
    return {"true": "1", "false": "0"}.get(value, value)


@muc.owners_may("anonymous", "history")
def test_what_is_configured_is_shown(alice, cave):
    """Each field by itself, then all of them."""
    needed = {"passwordprotectedroom": {"roomsecret": "cauldronburn"},
              "muc#maxhistoryfetch": {"muc#roomconfig_defaulthistorymessages": "5"}}
    for name, value in CONFIGURED.items():
        cave.configure(alice, **{name: value}, **needed.get(name, {}))
        shown = cave.configuration(alice)
        assert normal(shown[name if "#" in name else "muc#roomconfig_" + name]) == normal(value)
    for name, value in CONFIGURED.items():
        assert normal(shown[name if "#" in name else "muc#roomconfig_" + name]) == normal(value)


def test_a_room_without_a_limit(alice, bob, cave):
    """§10.1.3: none is one of the options."""
    cave.configure(alice, maxusers="none")
    assert cave.configuration(alice)["muc#roomconfig_maxusers"] in ("none", "1000", "")


def test_a_room_where_nobody_is_seen(alice, bob, carol, cave):
    """§15.5.3: no role's presence is broadcast, as for announcements to many."""
    cave.configure(alice, presencebroadcast=[])
    got = cave.enter(carol, "witch")
    assert got.others == {} and got.own.standing == ("none", "participant")
    cave.say(alice, "hear ye")
    assert cave.expect_body(carol, "owner", "hear ye")
    cave.expect_nothing(bob, f"<presence from='{cave.at('witch')}' type='-'/>", after=[carol])


@muc.owners_may("anonymous")
def test_whom_to_ask_about_a_room(alice, bob, cave):
    """muc#roominfo_contactjid (§6.4): the owners, unless nobody shall know who they are."""
    assert muc.disco_info(bob, cave.jid)[2][muc.INFO]["muc#roominfo_contactjid"] == [
        alice.bare]
    cave.configure(alice, whois="moderators")
    assert "muc#roominfo_contactjid" not in muc.disco_info(bob, cave.jid)[2][muc.INFO]


def test_what_a_form_does_not_name_stays(alice, cave):
    cave.configure(alice, roomname="A Dark Cave", moderatedroom=True)
    cave.configure(alice, roomdesc="For all good witches")
    found = cave.configuration(alice)
    assert found["muc#roomconfig_roomname"] == "A Dark Cave"
    assert normal(found["muc#roomconfig_moderatedroom"]) == "1"


def test_the_form_back_as_it_came(alice, cave):
    """As clients submit it: every field."""
    cave.configure(alice, roomname="A Dark Cave", maxusers=10)
    before = cave.configuration(alice)
    cave.configure(alice, **{k: v if v is not None else [] for k, v in before.items()
                             if k and k != "FORM_TYPE"})
    assert cave.configuration(alice) == before


def test_others_do_not_configure(alice, bob, carol, dave, cave):
    """Neither an admin, nor a participant, nor a stranger."""
    form = muc.submit(muc.CONFIG, {"roomname": "mine"}, "muc#roomconfig_")
    for client in (bob, carol, dave):
        for kind, inner in (("get", ""), ("set", form)):
            assert xml.condition(cave.owner(client, kind, inner)) == "forbidden"
    assert cave.configuration(alice)["muc#roomconfig_roomname"] != "mine"


def test_configuration_is_cancelled(alice, bob, cave):
    cave.configure(alice, roomname="A Dark Cave")
    assert cave.cancel(alice).get("type") == "result"
    assert cave.configuration(alice)["muc#roomconfig_roomname"] == "A Dark Cave"
    cave.say(bob, "still here")
    assert cave.expect_body(alice, "admin", "still here")


WRONG = [{"moderatedroom": "perhaps"}, {"maxusers": "many"}, {"maxusers": "-1"},
         {"whois": "everybody"}, {"allowpm": "some"}, {"presencebroadcast": ["king"]},
         {"passwordprotectedroom": "1", "roomsecret": ""}, {"roomowners": ["@"]},
         {"roomname": "x" * 100000}, {"muc#maxhistoryfetch": "x"},
         {"moderatedroom": ["1", "0"]}]


def test_a_wrong_value_changes_nothing(alice, cave):
    """§10.1.3: not-acceptable (or bad-request for what is no value at all)."""
    before = cave.configuration(alice)
    for fields in WRONG:
        reply = cave.try_configure(alice, {"roomdesc": "changed", **fields})
        assert reply.get("type") == "error", fields
        assert xml.condition(reply) in ("not-acceptable", "bad-request", "jid-malformed")
        assert cave.configuration(alice) == before


def test_what_is_no_form(alice, cave):
    for inner in ("", "<x/>", f"<x xmlns='{muc.DATA}' type='result'/>", f"<x xmlns='{muc.DATA}'/>",
                  f"{DATA_SUBMIT}<field var='FORM_TYPE'><value>other</value></field></x>",
                  "<destroyed/>"):
        reply = cave.owner(alice, "set", inner)
        assert xml.condition(reply) in ("bad-request", "not-acceptable"), inner


# --- §10.2.1: notices ---


def test_notice_of_a_change(alice, bob, carol, cave):
    cave.configure(alice, roomname="A Dark Cave")
    for client in (alice, bob, carol):
        assert cave.notice(client) == {104}


@muc.owners_may("anonymous")
@pytest.mark.parametrize("before, after, code", [
    ("moderators", "anyone", 172), ("anyone", "moderators", 173)])
def test_notice_of_anonymity(alice, bob, carol, cave, before, after, code):
    cave.configure(alice, whois=before)
    cave.forget(alice, bob, carol)
    cave.configure(alice, whois=after)
    for client in (alice, bob, carol):
        assert code in cave.notice(client)


@pytest.mark.parametrize("before, after, code", [(False, True, 170), (True, False, 171)])
def test_notice_of_logging(alice, bob, carol, cave, before, after, code):
    cave.configure(alice, enablearchiving=before, persistentroom=True)
    cave.forget(alice, bob, carol)
    cave.configure(alice, enablearchiving=after)
    for client in (alice, bob, carol):
        assert code in cave.notice(client)


def test_no_notice_of_nothing(alice, bob, cave):
    cave.configure(alice, roomname="A Dark Cave")
    cave.forget(alice, bob)
    cave.configure(alice, roomname="A Dark Cave")
    cave.expect_nothing(bob, "<message/>", after=[alice])


def test_a_room_that_becomes_members_only(alice, bob, carol, cave):
    """§10.2: status 322."""
    cave.configure(alice, membersonly=True)
    for client in (alice, bob, carol):
        gone = cave.gone(client, "witch")
        assert gone.standing == ("none", "none") and 322 in gone.codes
        assert (110 in gone.codes) == (client is carol)
    cave.say(bob, "still here")
    assert cave.expect_body(alice, "admin", "still here")
    assert cave.refused(carol, "witch")[0] == "registration-required"


def test_a_room_that_becomes_moderated(alice, bob, carol, cave):
    """Users who enter afterwards have no voice."""
    cave.leave(carol, "witch")
    cave.configure(alice, moderatedroom=True)
    assert cave.enter(carol, "witch").own.role == "visitor"


# --- §10.3 to §10.8: owners and admins ---


@pytest.mark.parametrize("affiliation", ["owner", "admin"])
def test_a_privilege_is_granted(alice, bob, carol, cave, affiliation):
    """A full address means its user."""
    cave.set_affiliation(alice, carol.jid, affiliation, reason="A worthy witch indeed!")
    for client in (alice, bob, carol):
        seen = cave.presence(client, "witch")
        assert seen.standing == (affiliation, "moderator")
        assert seen.reason == "A worthy witch indeed!"
    assert carol.bare in cave.jids(alice, affiliation)


@pytest.mark.parametrize("affiliation", ["owner", "admin"])
def test_a_privilege_is_revoked(alice, bob, carol, cave, affiliation):
    cave.set_affiliation(alice, carol.bare, affiliation)
    cave.forget(alice, bob, carol)
    cave.set_affiliation(alice, carol.bare, "member")
    for client in (alice, bob, carol):
        assert cave.presence(client, "witch").standing == ("member", "participant")
    assert carol.bare not in cave.jids(alice, affiliation)


def test_a_new_owner_owns(alice, carol, cave):
    cave.set_affiliation(alice, carol.bare, "owner")
    cave.configure(carol, roomname="Carol's")
    cave.set_affiliation(carol, alice.bare, "none")
    assert cave.jids(carol, "owner") == {carol.bare}
    assert xml.condition(cave.try_configure(alice, {"roomname": "x"})) == "forbidden"


def test_the_last_owner_stays_owner(alice, cave):
    for to in ("admin", "member", "none"):
        condition, _ = cave.denied(alice, "set", item(jid=alice.bare, affiliation=to))
        assert condition == "conflict"
    assert cave.jids(alice, "owner") == {alice.bare}


def test_the_last_owner_goes_when_another_comes_at_once(alice, carol, cave):
    """The request is valid if its result is."""
    reply = cave.admin(alice, "set", item(jid=carol.bare, affiliation="owner"),
                       item(jid=alice.bare, affiliation="member"))
    assert reply.get("type") == "result", xml.canonical(reply)
    assert cave.jids(carol, "owner") == {carol.bare}


def test_an_owner_resigns(alice, carol, cave):
    cave.set_affiliation(alice, carol.bare, "owner")
    cave.set_affiliation(alice, alice.bare, "admin")
    assert cave.jids(carol, "owner") == {carol.bare}


def test_admins_do_not_make_owners_or_admins(bob, carol, dave, cave):
    for affiliation in ("owner", "admin"):
        condition, _ = cave.denied(bob, "set", item(jid=carol.bare, affiliation=affiliation))
        assert condition in ("forbidden", "not-allowed")
    assert cave.denied(carol, "set", item(jid=dave.bare, affiliation="owner"))[0] == "forbidden"


def test_admins_do_not_unmake_owners_or_admins(alice, bob, carol, cave):
    cave.set_affiliation(alice, carol.bare, "admin")
    for jid in (alice.bare, carol.bare):
        condition, _ = cave.denied(bob, "set", item(jid=jid, affiliation="none"))
        assert condition in ("forbidden", "not-allowed")
    assert cave.jids(alice, "owner") == {alice.bare}
    assert cave.jids(alice, "admin") == {bob.bare, carol.bare}


def test_owners_and_admins_by_the_form(alice, bob, carol, dave, cave):
    """§10.2: there, they are whole lists."""
    found = cave.configuration(alice)
    assert found["muc#roomconfig_roomowners"] == [alice.bare]
    assert found["muc#roomconfig_roomadmins"] == [bob.bare]
    cave.configure(alice, roomadmins=[carol.bare], roomowners=[alice.bare, dave.bare])
    assert cave.jids(alice, "admin") == {carol.bare}
    assert cave.jids(alice, "owner") == {alice.bare, dave.bare}
    assert cave.presence(carol, "witch").standing == ("admin", "moderator")


def test_the_last_owner_does_not_go_by_the_form(alice, cave):
    reply = cave.try_configure(alice, {"roomowners": []})
    assert xml.condition(reply) in ("conflict", "not-acceptable")
    assert cave.jids(alice, "owner") == {alice.bare}


# --- §10.9: to destroy ---


def test_destruction(alice, bob, carol, cave):
    reply = cave.destroy(alice, "<reason>Macbeth doth come.</reason>"
                         "<password>pw</password>", jid=f"darkcave@{muc.service()}")
    assert reply.get("type") == "result"
    for client, nick in ((alice, "owner"), (bob, "admin"), (carol, "witch")):
        gone = cave.gone(client, nick)
        assert gone.role == "none"
        assert gone.destroy.get("jid") == f"darkcave@{muc.service()}"
        assert gone.destroy.findtext(f"{{{muc.USER}}}reason") == "Macbeth doth come."
        assert gone.destroy.findtext(f"{{{muc.USER}}}password") == "pw"
        assert gone.standing == ("none", "none") and 110 in gone.codes
        client.expect_nothing("<presence type='unavailable'/>")
    condition, _ = alice.error("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=cave.jid)
    assert condition == "item-not-found"


def test_a_destroyed_room_may_be_made_anew(alice, bob, cave):
    cave.say(alice, "secret")
    cave.set_affiliation(alice, "dave@localhost", "outcast")
    assert cave.destroy(alice).get("type") == "result"
    got = cave.enter(bob, "b")
    assert 201 in got.own.codes and got.own.affiliation == "owner" and got.bodies == []
    cave.configure(bob)
    assert cave.jids(bob, "outcast") == set() and cave.jids(bob, "owner") == {bob.bare}


def test_others_do_not_destroy(alice, bob, carol, dave, cave):
    for client in (bob, carol, dave):
        assert xml.condition(cave.destroy(client)) == "forbidden"
    cave.say(alice, "still here")
    assert cave.expect_body(alice, "owner", "still here")


def test_destruction_of_a_persistent_room(server, alice):
    cave = Room("heath").create(alice, "owner", persistentroom=True)
    cave.say(alice, "kept?")
    cave.leave(alice, "owner")
    assert cave.destroy(alice).get("type") == "result", "an owner need not be there"
    server.restart()
    alice = server.client("alice", "a")
    got = cave.enter(alice, "owner")
    assert 201 in got.own.codes and got.bodies == []


def test_destruction_of_what_is_not_there(alice):
    assert xml.condition(Room("nowhere").destroy(alice)) in ("item-not-found", "forbidden")


# --- persistent rooms ---


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_persistent_room_survives(server, alice, bob, how):
    cave = Room("heath").create(alice, "owner", persistentroom=True, moderatedroom=True,
                                roomname="The Heath", passwordprotectedroom=True,
                                roomsecret="cauldron")
    cave.set_affiliation(alice, bob.bare, "member", reason="worthy", nick="oldhag")
    cave.set_subject(alice, "Fire burn")
    cave.expect_subject(alice, "owner", "Fire burn")
    cave.set_affiliation(alice, "carol@localhost", "outcast", reason="Treason")  # stored behind it
    before = cave.configuration(alice)
    if how == "restart":
        server.restart()
    else:
        server.kill()
        server.start()
    alice, bob, carol = (server.client(name, "r") for name in ("alice", "bob", "carol"))
    got = cave.enter(alice, "owner", password="cauldron")
    assert got.own.standing == ("owner", "moderator") and 201 not in got.own.codes
    assert got.others == {}, "no ghosts"
    assert got.subject.findtext(f"{{{xml.CLIENT}}}subject") == "Fire burn"
    assert cave.configuration(alice) == before
    assert [(i["jid"], i.get("nick")) for i in cave.listed(alice, affiliation="member")] == [
        (bob.bare, "oldhag")]
    assert cave.refused(carol, "c", password="cauldron")[0] == "forbidden"
    assert cave.enter(bob, "oldhag", password="cauldron").own.standing == ("member",
                                                                          "participant")


def test_an_ad_hoc_room_does_not_survive(server, alice):
    cave = Room("cave").create(alice, "owner", persistentroom=False)
    server.restart()
    assert 201 in cave.enter(server.client("alice", "a"), "owner").own.codes


def test_a_room_that_becomes_persistent_survives(server, alice):
    cave = Room("cave").create(alice, "owner", persistentroom=False)
    cave.set_affiliation(alice, "bob@localhost", "member")
    cave.set_subject(alice, "Spells")
    cave.expect_subject(alice, "owner", "Spells")
    cave.configure(alice, persistentroom=True)
    server.restart()
    alice = server.client("alice", "a")
    got = cave.enter(alice, "owner")
    assert 201 not in got.own.codes
    assert got.subject.findtext(f"{{{xml.CLIENT}}}subject") == "Spells"
    assert cave.jids(alice, "member") == {"bob@localhost"}


def test_a_room_that_ceases_to_be_persistent_ends(alice, bob):
    cave = Room("heath").create(alice, "owner", persistentroom=True)
    cave.configure(alice, persistentroom=False)
    cave.leave(alice, "owner")
    assert 201 in cave.enter(bob, "b").own.codes


# --- what settings leave to administrators ---


def test_an_owner_does_not_see_what_it_may_not_change(make_server):
    server = make_server("alice", settings={"muc.owner-anonymous": False})
    alice = server.client("alice", "a")
    cave = Room("cave").create(alice, "owner")
    assert "muc#roomconfig_whois" not in cave.configuration(alice)
    before = "muc_nonanonymous" in muc.disco_info(alice, cave.jid)[1]
    assert before, "rooms are not anonymous by default"
    reply = cave.try_configure(alice, {"whois": "moderators"})
    assert xml.condition(reply) in ("not-acceptable", "forbidden", "not-allowed")
    assert "muc_nonanonymous" in muc.disco_info(alice, cave.jid)[1]


@pytest.mark.parametrize("setting, value, feature", [
    ("muc.new-members-only", True, "muc_membersonly"), ("muc.new-moderated", True,
                                                        "muc_moderated"),
    ("muc.new-anonymous", True, "muc_semianonymous"), ("muc.new-anonymous", False,
                                                       "muc_nonanonymous")])
def test_settings_shape_new_rooms(make_server, setting, value, feature):
    server = make_server("alice", settings={setting: value})
    alice = server.client("alice", "a")
    cave = Room("cave").create(alice, "owner")
    assert feature in muc.disco_info(alice, cave.jid)[1]


def test_defaults_of_a_new_room(make_server):
    """Open, not anonymous, not moderated, 50 occupants, 15 messages, visitors may whisper,
    participants set the subject."""
    server = make_server("alice", settings=muc.owners("history"))
    alice = server.client("alice", "a")
    cave = Room("cave").create(alice, "owner")
    assert {"muc_open", "muc_nonanonymous", "muc_unmoderated", "muc_unsecured"} <= \
        muc.disco_info(alice, cave.jid)[1]
    found = cave.configuration(alice)
    assert found["muc#roomconfig_maxusers"] == "50"
    assert found["muc#roomconfig_defaulthistorymessages"] == "15"
    assert found["muc#maxhistoryfetch"] == "100"
    assert found["muc#roomconfig_allowpm"] == "anyone"
    assert normal(found["muc#roomconfig_changesubject"]) == "1"


def test_who_changed_a_room_is_in_the_log(server, alice, bob, cave):
    cave.configure(alice, roomname="Heath")
    server.wait_log(r"event=room.configured room=cave@conference.localhost by=alice@localhost")
    cave.set_affiliation(alice, "dave@localhost", "outcast")
    server.wait_log(r"event=room.affiliation room=cave@conference.localhost jid=dave@localhost "
                    r"affiliation=outcast by=alice@localhost")
    cave.change(alice, *[muc.item(jid=f"m{i}@elsewhere.test", affiliation="member")
                         for i in range(17)])
    server.wait_log(r"event=room.affiliations room=cave@conference.localhost count=17 "
                    r"by=alice@localhost")
    assert cave.destroy(alice).get("type") == "result"
    server.wait_log(r"event=room.destroyed room=cave@conference.localhost by=alice@localhost")
    server.ctl("room", "create", "hall@conference.localhost", "alice@localhost")
    server.ctl("room", "destroy", "hall@conference.localhost")
    server.wait_log(r"event=room.destroyed room=hall@conference.localhost by=control:")
