"""What admins do (XEP-0045 §9): bans, members, moderators."""
import pytest

from harness import muc, xml
from harness.muc import Room, item


@pytest.fixture
def cave(alice, bob, carol):
    """A room of an owner, an admin and a participant."""
    return Room("cave").rule(alice, bob, carol)


# --- §9.1: bans ---


def test_ban(alice, bob, carol, cave):
    cave.set_affiliation(bob, carol.bare, "outcast", reason="Treason")
    for client in (alice, bob, carol):
        gone = cave.gone(client, "witch")
        assert gone.standing == ("outcast", "none") and 301 in gone.codes
        assert gone.reason == "Treason"
        assert (110 in gone.codes) == (client is carol)
    assert cave.refused(carol, "witch") == ("forbidden", "auth")


def test_the_banned_is_told_by_whom(alice, bob, carol, cave):
    cave.set_affiliation(bob, carol.bare, "outcast")
    assert cave.gone(carol, "witch").actor.get("nick") == "admin"


def test_ban_of_who_is_not_there(alice, bob, dave, cave):
    cave.set_affiliation(bob, dave.bare, "outcast")
    assert cave.refused(dave, "d") == ("forbidden", "auth")
    cave.expect_nothing(dave, "<presence type='unavailable'/>", after=[bob])


def test_ban_of_all_sessions(server, alice, bob, carol, cave):
    other = server.client("carol", "c2")
    cave.enter(other, "witch")
    cave.set_affiliation(bob, carol.bare, "outcast")
    for client in (carol, other):
        assert {110, 301} <= cave.gone(client, "witch").codes


def test_an_admin_does_not_ban_an_owner(alice, bob, cave):
    assert cave.denied(bob, "set", item(jid=alice.bare, affiliation="outcast")) == (
        "not-allowed", "cancel")


def test_an_admin_does_not_ban_an_admin(alice, bob, carol, cave):
    cave.set_affiliation(alice, carol.bare, "admin")
    assert cave.denied(bob, "set", item(jid=carol.bare, affiliation="outcast"))[0] in (
        "not-allowed", "forbidden")
    assert cave.jids(alice, "outcast") == set()


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_nobody_bans_himself(alice, bob, cave, who):
    client = alice if who == "alice" else bob
    assert cave.denied(client, "set", item(jid=client.bare, affiliation="outcast"))[0] == \
        "conflict"
    cave.say(client, "still here")
    assert cave.expect_body(client, "owner" if who == "alice" else "admin", "still here")


def test_participants_do_not_ban(alice, carol, dave, cave):
    assert cave.denied(carol, "set", item(jid=dave.bare, affiliation="outcast")) == ("forbidden",
                                                                                    "auth")
    assert cave.enter(dave, "d").own


# --- §9.2: the ban list ---


def test_ban_list(alice, bob, cave):
    assert cave.listed(bob, affiliation="outcast") == []
    cave.set_affiliation(bob, "earlofcambridge@example.org", "outcast", reason="Treason")
    reply = cave.admin(bob, "get", item(affiliation="outcast"))
    assert xml.matches(reply, f"<iq type='result'><query xmlns='{muc.ADMIN}'>"
                       "<item affiliation='outcast' jid='earlofcambridge@example.org'>"
                       "<reason>Treason</reason></item></query></iq>")


def test_changes_of_the_ban_list(alice, bob, carol, dave, cave):
    cave.change(bob, item(jid=carol.bare, affiliation="outcast", reason="Treason"),
                item(jid=dave.bare, affiliation="outcast"))
    assert 301 in cave.gone(carol, "witch").codes
    assert cave.jids(bob, "outcast") == {carol.bare, dave.bare}
    cave.change(bob, item(jid=carol.bare, affiliation="none"))
    assert cave.jids(bob, "outcast") == {dave.bare}
    assert cave.enter(carol, "witch").own.standing == ("none", "participant")


def test_a_ban_by_full_jid_is_of_the_person(alice, bob, carol, cave):
    """§9.1: bans are by bare JID."""
    reply = cave.admin(bob, "set", item(jid=carol.jid, affiliation="outcast"))
    if reply.get("type") == "result":
        assert cave.jids(bob, "outcast") == {carol.bare}
    else:
        assert xml.condition(reply) in ("bad-request", "jid-malformed")


def test_ban_of_a_domain(alice, bob, dave, cave):
    """§9.2: any address of the domain; but not users with their own affiliation."""
    cave.set_affiliation(alice, dave.bare, "member")
    reply = cave.admin(alice, "set", item(jid="localhost", affiliation="outcast"))
    if reply.get("type") == "result":
        assert cave.enter(dave, "d").own.affiliation == "member"
        assert cave.jids(alice, "outcast") == {"localhost"}
    else:
        assert xml.condition(reply) in ("bad-request", "jid-malformed", "not-acceptable",
                                        "not-allowed", "conflict")


def test_the_nick_of_a_banned_member_is_free(alice, bob, carol, dave, cave):
    """§9.1"""
    cave.set_affiliation(alice, dave.bare, "member", nick="oldhag")
    assert cave.refused(carol, "oldhag")[0] == "conflict"
    cave.set_affiliation(alice, dave.bare, "outcast")
    carol.send(f"<presence to='{cave.at('oldhag')}'/>")
    assert cave.presence(carol, "oldhag").type is None


# --- §9.3, §9.4, §9.5: members ---


def test_membership_is_granted(alice, bob, carol, cave):
    cave.set_affiliation(bob, carol.bare, "member", reason="A worthy witch indeed!")
    for client in (alice, bob, carol):
        seen = cave.presence(client, "witch")
        assert seen.type is None and seen.standing == ("member", "participant")
    assert cave.jids(bob, "member") == {carol.bare}


def test_membership_is_granted_by_nick(alice, bob, carol, cave):
    """§9.3: of who is in the room."""
    cave.change(bob, item(nick="witch", affiliation="member"))
    assert cave.presence(carol, "witch").affiliation == "member"
    assert cave.jids(bob, "member") == {carol.bare}


def test_membership_of_no_nick(bob, cave):
    assert cave.denied(bob, "set", item(nick="nobody", affiliation="member"))[0] in (
        "item-not-found", "not-acceptable", "bad-request")


def test_membership_gives_voice_in_a_moderated_room(alice, bob, carol, cave):
    cave.configure(alice, moderatedroom=True)
    cave.set_role(alice, "witch", "visitor")
    cave.forget(carol)
    cave.set_affiliation(bob, carol.bare, "member")
    assert cave.presence(carol, "witch").standing == ("member", "participant")


def test_membership_is_revoked(alice, bob, carol, cave):
    cave.set_affiliation(bob, carol.bare, "member")
    cave.set_affiliation(bob, carol.bare, "none")
    for client in (alice, bob, carol):
        assert cave.presence(client, "witch").affiliation == "member"
        seen = cave.presence(client, "witch")
        assert seen.type is None and seen.standing == ("none", "participant")
    assert cave.jids(bob, "member") == set()


def test_without_membership_nobody_stays_in_a_members_only_room(alice, bob, carol, cave):
    """§9.4: status 321."""
    cave.set_affiliation(bob, carol.bare, "member")
    cave.configure(alice, membersonly=True)
    cave.set_affiliation(bob, carol.bare, "none")
    for client in (alice, bob, carol):
        gone = cave.gone(client, "witch")
        assert gone.standing == ("none", "none") and 321 in gone.codes
    assert cave.refused(carol, "witch")[0] == "registration-required"


def test_member_list(alice, bob, carol, dave, cave):
    cave.change(bob, item(jid=dave.bare, affiliation="member", nick="oldhag"),
                item(jid=carol.bare, affiliation="member"))
    found = {i["jid"]: i for i in cave.listed(bob, affiliation="member")}
    assert set(found) == {carol.bare, dave.bare}
    assert {i["affiliation"] for i in found.values()} == {"member"}
    assert found[dave.bare].get("nick") == "oldhag"


def test_who_is_made_a_member_of_a_members_only_room_is_invited(alice, bob, dave, cave):
    """§9.5"""
    cave.configure(alice, membersonly=True, passwordprotectedroom=True, roomsecret="cauldronburn")
    cave.set_affiliation(bob, dave.bare, "member")
    dave.expect(f"<message from='{cave}'><x xmlns='{muc.USER}'><invite/>"
                "<password>cauldronburn</password></x></message>")


def test_who_is_made_a_member_of_an_open_room_is_not_invited(alice, bob, dave, cave):
    cave.set_affiliation(bob, dave.bare, "member")
    cave.expect_nothing(dave, f"<message><x xmlns='{muc.USER}'><invite/></x></message>",
                        after=[bob])


# --- §7.11: the member list for members ---


def test_members_of_a_members_only_room_see_its_members(alice, bob, carol, cave):
    cave.set_affiliation(bob, carol.bare, "member")
    cave.configure(alice, membersonly=True, whois="anyone")
    assert cave.jids(carol, "member") == {carol.bare}
    assert cave.denied(carol, "get", item(affiliation="outcast")) == ("forbidden", "auth")


@muc.owners_may("anonymous")
def test_participants_of_a_semi_anonymous_room_see_no_lists(alice, bob, carol, cave):
    cave.configure(alice, whois="moderators")
    for affiliation in ("member", "admin", "owner", "outcast"):
        assert cave.denied(carol, "get", item(affiliation=affiliation)) == ("forbidden", "auth")


@muc.owners_may("anonymous")
def test_owners_and_admins_of_a_semi_anonymous_room_are_for_owners(alice, bob, carol, cave):
    """§10.5, §10.8"""
    for whois, denied in (("moderators", True), ("anyone", False)):
        cave.configure(alice, whois=whois)
        for affiliation, jid in (("admin", bob.bare), ("owner", alice.bare)):
            assert cave.jids(alice, affiliation) == {jid}
            if denied:
                assert cave.denied(bob, "get", item(affiliation=affiliation)) == \
                    ("forbidden", "auth")
            else:
                assert cave.jids(bob, affiliation) == cave.jids(carol, affiliation) == {jid}


def test_lists_are_not_for_strangers(alice, bob, dave, cave):
    cave.configure(alice, membersonly=True, whois="anyone")
    for affiliation in ("member", "admin", "owner", "outcast"):
        assert cave.denied(dave, "get", item(affiliation=affiliation)) == ("forbidden", "auth")


def test_who_may_ask_for_lists(alice, bob, carol, cave):
    """muc#roomconfig_getmemberlist"""
    cave.configure(alice, whois="anyone", getmemberlist=["participant", "moderator"])
    assert cave.jids(carol, "member") == set()
    cave.configure(alice, getmemberlist=["moderator"])
    assert cave.denied(carol, "get", item(affiliation="member"))[0] == "forbidden"


def test_a_reserved_nickname_is_unset(alice, bob, carol, dave, cave):
    """§9.5: by an empty nickname; without any it stays."""
    cave.set_affiliation(bob, carol.bare, "member", nick="hag")
    cave.change(bob, item(jid=carol.bare, affiliation="member"))
    assert cave.listed(bob, affiliation="member")[0].get("nick") == "hag"
    cave.change(bob, item(jid=carol.bare, affiliation="member", nick=""))
    assert cave.listed(bob, affiliation="member")[0].get("nick") is None
    assert cave.enter(dave, "hag").own.nick == "hag"


def test_who_asked_is_told_first(alice, bob, carol, cave):
    """§8.2 to §8.4, §9.1, §9.3, §9.4, §9.6, §9.7, §10.3, §10.4, §10.6, §10.7: success, then what
    it means to all."""
    for client, changes in (
            (bob, ({"role": "moderator"}, {"role": "participant"}, {"role": "visitor"},
                   {"role": "participant"}, {"affiliation": "member"}, {"affiliation": "none"})),
            (alice, ({"affiliation": "owner"}, {"affiliation": "admin"}, {"affiliation": "none"},
                     {"role": "none"}))):
        for change in changes:
            whom = {"nick": "witch"} if "role" in change else {"jid": carol.bare}
            cave.forget(client)
            client.send(f"<iq type='set' id='c1' to='{cave.jid}'><query xmlns='{muc.ADMIN}'>"
                        f"{item(**whom, **change)}</query></iq>")
            client.expect_next("<iq type='result' id='c1'/>")
            client.expect_next(f"<presence from='{cave.at('witch')}'/>")
    cave.enter(carol, "witch")
    cave.forget(bob)
    bob.send(f"<iq type='set' id='c2' to='{cave.jid}'><query xmlns='{muc.ADMIN}'>"
             f"{item(jid=carol.bare, affiliation='outcast')}</query></iq>")
    bob.expect_next("<iq type='result' id='c2'/>")
    bob.expect_next(f"<presence from='{cave.at('witch')}' type='unavailable'/>")


# --- §9.6, §9.7, §9.8: moderators ---


def test_moderator_is_granted(alice, bob, carol, cave):
    cave.set_role(bob, "witch", "moderator", reason="A worthy witch indeed!")
    for client in (alice, bob, carol):
        seen = cave.presence(client, "witch")
        assert seen.standing == ("none", "moderator")
        assert seen.reason == "A worthy witch indeed!"
    assert {i["nick"] for i in cave.listed(bob, role="moderator")} == {"owner", "admin", "witch"}


def test_moderator_is_revoked(alice, bob, carol, cave):
    cave.set_role(bob, "witch", "moderator")
    cave.set_role(bob, "witch", "participant")
    for client in (alice, bob, carol):
        assert cave.presence(client, "witch").role == "moderator"
        assert cave.presence(client, "witch").role == "participant"


@pytest.mark.parametrize("nick", ["owner", "admin"])
def test_moderator_is_not_revoked_from_admins_and_owners(alice, bob, cave, nick):
    assert cave.denied(bob, "set", item(nick=nick, role="participant")) == ("not-allowed",
                                                                            "cancel")


def test_moderator_list(alice, bob, carol, cave):
    found = cave.listed(bob, role="moderator")
    assert {(i["jid"], i["nick"], i["role"], i["affiliation"]) for i in found} == {
        (alice.jid, "owner", "moderator", "owner"), (bob.jid, "admin", "moderator", "admin")}
    assert cave.denied(carol, "get", item(role="moderator")) == ("forbidden", "auth")


def test_changes_of_the_moderator_list(server, alice, bob, carol, dave, cave):
    cave.enter(dave, "d")
    cave.set_role(bob, "witch", "moderator")
    cave.change(bob, item(nick="witch", role="participant"), item(nick="d", role="moderator"))
    assert {i["nick"] for i in cave.listed(bob, role="moderator")} == {"owner", "admin", "d"}


# --- all items, or none ---


def test_items_that_may_not_all_be_changed(alice, bob, carol, dave, cave):
    condition, _ = cave.denied(bob, "set", item(jid=dave.bare, affiliation="member"),
                               item(jid=alice.bare, affiliation="outcast"),
                               item(jid=carol.bare, affiliation="outcast"))
    assert condition == "not-allowed"
    assert cave.jids(bob, "member") == set() and cave.jids(bob, "outcast") == set()
    cave.say(carol, "still here")
    assert cave.expect_body(alice, "witch", "still here")


def test_an_item_that_makes_no_sense_among_others(alice, bob, carol, dave, cave):
    for bad in (item(jid=carol.bare, affiliation="king"), item(affiliation="member"),
                item(jid=carol.bare), item(jid="@", affiliation="member")):
        condition, _ = cave.denied(bob, "set", item(jid=dave.bare, affiliation="member"), bad)
        assert condition in ("bad-request", "jid-malformed", "not-acceptable")
    assert cave.jids(bob, "member") == set()


def test_affiliation_and_role_at_once(alice, bob, carol, cave):
    """§9: one of them in an item."""
    assert cave.denied(bob, "set", item(nick="witch", jid=carol.bare, affiliation="member",
                                        role="moderator")) == ("bad-request", "modify")
    assert cave.jids(bob, "member") == set()


@pytest.mark.parametrize("kind", ["get", "set"])
def test_requests_that_ask_for_nothing(alice, cave, kind):
    for inner in ("", "<item/>", "<item affiliation='king'/>", "<item role='king'/>", "<other/>"):
        assert cave.denied(alice, kind, inner) == ("bad-request", "modify"), inner


def test_a_request_to_a_room_that_does_not_exist(alice):
    assert Room("nowhere").denied(alice, "get", item(affiliation="member"))[0] == "item-not-found"


def test_many_items(alice, bob, cave):
    """Five hundred members at once, and all of them in the list."""
    jids = {f"m{i}@example.org" for i in range(500)}
    cave.change(bob, *(item(jid=jid, affiliation="member") for jid in sorted(jids)))
    assert cave.jids(bob, "member") == jids
