"""To enter a room, and what comes then (XEP-0045 §7.1, §7.2)."""
import pytest

from harness import muc, xml
from harness.client import bodies
from harness.muc import Room, Seen

CONFERENCE_DELAY = f"{{{xml.DELAY}}}delay"


@pytest.fixture
def cave(alice):
    return Room("cave").create(alice, "firstwitch")


def stamps(messages):
    return [m.find(CONFERENCE_DELAY).get("stamp") for m in messages]


# --- §7.2.2, §7.2.3: presence ---


def test_the_first_occupant_sees_itself(alice):
    got = Room("cave").enter(alice, "firstwitch")
    assert got.others == {} and got.history == []
    assert got.own.nick == "firstwitch"
    assert got.own.element.get("to") == alice.jid


def test_a_new_occupant_sees_all_others_then_itself(alice, bob, carol, cave):
    """entered() checks the order."""
    got = cave.enter(bob, "secondwitch")
    assert set(got.others) == {"firstwitch"}
    assert got.others["firstwitch"].standing == ("owner", "moderator")
    assert got.own.standing == ("none", "participant")
    got = cave.enter(carol, "thirdwitch")
    assert set(got.others) == {"firstwitch", "secondwitch"}
    assert got.own.nick == "thirdwitch"


def test_all_others_see_a_new_occupant(alice, bob, carol, cave):
    cave.enter(bob, "secondwitch")
    cave.presence(alice, "secondwitch")
    cave.enter(carol, "thirdwitch")
    for client in (alice, bob):
        seen = cave.presence(client, "thirdwitch")
        assert seen.type is None and seen.standing == ("none", "participant")
        assert 110 not in seen.codes and seen.element.get("to") == client.jid


def test_everything_in_its_order(alice, bob, carol, cave):
    """§7.1: others, own presence, history, subject, and only then what is new."""
    cave.enter(bob, "secondwitch")
    cave.say(alice, "one")
    cave.set_subject(alice, "Fire burn")
    cave.expect_subject(bob, "firstwitch", "Fire burn")
    cave.say(bob, "two")
    for client in (alice, bob):
        cave.expect_body(client, "secondwitch", "two")
    got = cave.enter(carol, "thirdwitch")
    assert got.bodies == ["one", "two"]
    assert got.subject.findtext(f"{{{xml.CLIENT}}}subject") == "Fire burn"
    assert got.subject.get("from") == cave.at("firstwitch")
    cave.say(alice, "three")
    cave.expect_body(carol, "firstwitch", "three")


def test_the_subject_has_its_time(alice, bob, carol, cave):
    """§7.2.15: by the room, when it was set or taken away; not where there never was one."""
    assert cave.enter(bob, "secondwitch").subject.find(CONFERENCE_DELAY) is None
    for text in ("Fire burn", ""):
        cave.set_subject(alice, text)
        live = cave.expect_subject(bob, "firstwitch", text)
        assert live.find(CONFERENCE_DELAY) is None
        got = cave.enter(carol, "thirdwitch").subject
        delays = got.findall(CONFERENCE_DELAY)
        assert [d.get("from") for d in delays] == [cave.jid] and delays[0].get("stamp")
        cave.leave(carol, "thirdwitch")


def test_without_a_subject_an_empty_one_comes(alice, bob, cave):
    got = cave.enter(bob, "secondwitch")
    assert not got.subject.findtext(f"{{{xml.CLIENT}}}subject")
    assert got.subject.get("type") == "groupchat"


def test_a_session_without_presence_enters(server, alice, cave):
    """Directed presence is enough (RFC 6121 §4.6), and ends with the session."""
    bot = server.login("bob", "bot")
    assert cave.enter(bot, "bot").own.standing == ("none", "participant")
    cave.say(bot, "beep")
    cave.expect_body(alice, "bot", "beep")
    bot.close()
    assert cave.gone(alice, "bot").role == "none"


def test_presence_is_passed_on_as_it_was_sent(alice, bob, cave):
    cave.knock(bob, "secondwitch", inner="<show>away</show><status>brewing</status>"
               "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/>")
    own = cave.entered(bob).own
    for seen in (own, cave.presence(alice, "secondwitch")):
        assert (seen.show, seen.status) == ("away", "brewing")
        assert seen.element.find("{http://jabber.org/protocol/caps}c") is not None


def test_the_request_is_not_passed_on(alice, bob, cave):
    """Others do not see the password with which somebody entered."""
    cave.configure(alice, passwordprotectedroom=True, roomsecret="cauldronburn")
    cave.enter(bob, "secondwitch", password="cauldronburn")
    seen = cave.presence(alice, "secondwitch")
    assert seen.element.find(f"{{{muc.NS}}}x") is None


def test_nobody_forges_his_standing(alice, bob, cave):
    cave.knock(bob, "secondwitch", inner=f"<x xmlns='{muc.USER}'><item affiliation='owner' "
               "role='moderator' jid='x@y/z'/><status code='110'/></x>")
    cave.entered(bob)
    seen = cave.presence(alice, "secondwitch")  # which has one <x/>
    assert len(seen.items) == 1 and seen.jid in (None, bob.jid)
    assert seen.standing == ("none", "participant") and 110 not in seen.codes


def test_without_a_nick(bob, alice, cave):
    assert cave.refused(bob, None) == ("jid-malformed", "modify")
    cave.knock(bob, None)
    assert bob.expect("<presence type='error'/>").find("{*}error").get("by") == cave.jid


@pytest.mark.parametrize("nick", ["   ", "\N{NO-BREAK SPACE}"])
def test_a_nick_of_spaces(bob, alice, cave, nick):
    """§17.1.2"""
    bob.send(f"<presence to='{cave.jid}/{nick}'><x xmlns='{muc.NS}'/></presence>")
    error = bob.expect("<presence type='error'/>")
    assert xml.condition(error) in ("jid-malformed", "not-acceptable", "bad-request")


def test_the_same_who_enters_again_is_told_everything_again(alice, bob, cave):
    """§7.2.3: a client that has lost its state, or thinks that it was thrown out."""
    cave.enter(bob, "secondwitch")
    cave.say(alice, "one")
    cave.expect_body(bob, "firstwitch", "one")
    got = cave.enter(bob, "secondwitch")
    assert set(got.others) == {"firstwitch"} and got.bodies == ["one"]


# --- §7.2.2, before it was groupchat 1.0 ---


def test_presence_without_the_extension_does_not_enter(alice, bob, cave):
    bob.send(f"<presence to='{cave.at('secondwitch')}'/>")
    gone = cave.gone(bob, "secondwitch")
    assert gone.standing == ("none", "none") and gone.codes == {110, 307, 333}
    cave.expect_nothing(alice, f"<presence from='{cave.at('secondwitch')}'/>", after=[bob])


def test_presence_without_the_extension_where_no_room_is(bob):
    room = Room("nowhere")
    bob.send(f"<presence to='{room.at('secondwitch')}'/>")
    assert room.gone(bob, "secondwitch").codes == {110, 307, 333}
    assert bob.error("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=room.jid)[0] == \
        "item-not-found"


def test_who_enters_again_by_another_nickname_is_told_everything(alice, bob, cave):
    """§17.3: a request to be told all, whatever the nickname."""
    cave.enter(bob, "secondwitch")
    cave.say(alice, "one")
    cave.expect_body(bob, "firstwitch", "one")
    cave.knock(bob, "oldhag")
    assert 303 in cave.gone(bob, "secondwitch").codes
    cave.gone(alice, "secondwitch")
    assert cave.presence(alice, "oldhag").standing == ("none", "participant")
    got = cave.entered(bob)
    assert set(got.others) == {"firstwitch"} and got.own.nick == "oldhag"
    assert got.bodies == ["one"]


def test_a_refusal_says_that_it_is_the_rooms(bob, cave):
    """The error comes from the occupant JID that entering would have made (§7.2)."""
    cave.knock(bob, "firstwitch")
    bob.expect(f"<presence type='error' from='{cave.at('firstwitch')}'>{muc.X}"
               f"<error type='cancel' by='{cave.jid}'/></presence>")


# --- default roles (§5.1.2, §7.2.4 in older versions) ---

ROLES = [("moderatedroom", None, "visitor"), ("moderatedroom", "member", "participant"),
         ("moderatedroom", "admin", "moderator"), ("moderatedroom", "owner", "moderator"),
         ("publicroom", None, "participant"), ("publicroom", "member", "participant"),
         ("publicroom", "admin", "moderator"), ("publicroom", "owner", "moderator"),
         ("membersonly", "member", "participant"), ("membersonly", "admin", "moderator"),
         ("membersonly", "owner", "moderator")]


@pytest.mark.parametrize("kind", ["moderatedroom", "publicroom", "membersonly"])
def test_role_by_affiliation(alice, bob, cave, kind):
    cave.configure(alice, **{kind: True})
    for _, affiliation, role in (row for row in ROLES if row[0] == kind):
        cave.set_affiliation(alice, bob.bare, affiliation or "none")
        assert cave.enter(bob, "secondwitch").own.standing == (affiliation or "none", role)
        cave.leave(bob, "secondwitch")


# --- §7.2.3, §7.2.4: real addresses ---


def test_non_anonymous_room(alice, bob, carol, cave):
    cave.configure(alice, whois="anyone")
    cave.enter(bob, "secondwitch")
    got = cave.enter(carol, "thirdwitch")
    assert got.others["firstwitch"].jid == alice.jid
    assert got.others["secondwitch"].jid == bob.jid
    assert 100 in got.own.codes
    for client in (alice, bob):
        seen = cave.presence(client, "thirdwitch")
        assert seen.jid == carol.jid and 100 not in seen.codes


@muc.owners_may("anonymous")
def test_semi_anonymous_room(alice, bob, carol, cave):
    """Moderators alone see who somebody is, at entry and later."""
    cave.configure(alice, whois="moderators")
    cave.enter(bob, "secondwitch")
    assert cave.presence(alice, "secondwitch").jid == bob.jid
    got = cave.enter(carol, "thirdwitch")
    assert {s.jid for s in got.others.values()} == {None}
    assert 100 not in got.own.codes
    assert cave.presence(alice, "thirdwitch").jid == carol.jid
    assert cave.presence(bob, "thirdwitch").jid is None
    carol.send(f"<presence to='{cave.at('thirdwitch')}'><show>dnd</show></presence>")
    assert cave.presence(alice, "thirdwitch").jid == carol.jid
    assert cave.presence(bob, "thirdwitch").jid is None
    cave.leave(carol, "thirdwitch")
    assert cave.gone(alice, "thirdwitch").jid == carol.jid
    assert cave.gone(bob, "thirdwitch").jid is None


@muc.owners_may("anonymous")
def test_nothing_of_a_semi_anonymous_room_tells_an_address(alice, bob, carol, cave):
    """Not in one byte of what a participant receives."""
    cave.configure(alice, whois="moderators")
    cave.set_subject(alice, "Spells")
    cave.say(alice, "before")
    cave.enter(bob, "secondwitch")
    cave.enter(carol, "thirdwitch")
    cave.say(alice, "live")
    cave.expect_body(bob, "firstwitch", "live")
    cave.whisper(carol, "secondwitch", "private")
    cave.expect_body(bob, "thirdwitch", "private", "chat")
    cave.set_affiliation(alice, carol.bare, "member")
    cave.set_role(alice, "thirdwitch", "none", reason="begone")
    cave.gone(bob, "thirdwitch")
    heard = [xml.canonical(e) for e in bob.log if (e.get("from") or "").startswith(cave.jid)]
    assert len(heard) >= 8
    assert not [text for text in heard if "alice@" in text or "carol@" in text]


@muc.owners_may("anonymous")
def test_a_new_moderator_is_told_who_is_there(alice, bob, carol, cave):
    """§5.1: moderators see real addresses in a semi-anonymous room, from now on at least."""
    cave.configure(alice, whois="moderators")
    cave.enter(bob, "secondwitch")
    cave.set_role(alice, "secondwitch", "moderator")
    cave.enter(carol, "thirdwitch")
    assert cave.presence(bob, "thirdwitch").jid == carol.jid
    cave.set_role(alice, "secondwitch", "participant")
    carol.send(f"<presence to='{cave.at('thirdwitch')}'><show>dnd</show></presence>")
    assert cave.presence(bob, "thirdwitch").jid is None


# --- §7.2.5: password ---


def test_wrong_password(alice, bob, cave):
    cave.configure(alice, passwordprotectedroom=True, roomsecret="cauldronburn")
    for password in (None, "", "wrong", "cauldronburn "):
        assert cave.refused(bob, "secondwitch", password=password) == ("not-authorized", "auth")
    cave.expect_nothing(alice, f"<presence from='{cave.at('secondwitch')}'/>", after=[bob])


def test_right_password(alice, bob, cave):
    cave.configure(alice, passwordprotectedroom=True, roomsecret="cauldron<burn>")
    assert cave.enter(bob, "secondwitch", password="cauldron<burn>").own


def test_a_password_that_was_taken_back(alice, bob, cave):
    cave.configure(alice, passwordprotectedroom=True, roomsecret="cauldronburn")
    cave.configure(alice, passwordprotectedroom=False)
    assert cave.enter(bob, "secondwitch").own


# --- §7.2.6, §7.2.7: members-only, banned ---


def test_members_only_room(alice, bob, cave):
    cave.configure(alice, membersonly=True)
    assert cave.refused(bob, "secondwitch") == ("registration-required", "auth")
    cave.set_affiliation(alice, bob.bare, "member")
    assert cave.enter(bob, "secondwitch").own.standing == ("member", "participant")


def test_banned(alice, bob, cave):
    cave.set_affiliation(alice, bob.bare, "outcast")
    assert cave.refused(bob, "secondwitch") == ("forbidden", "auth")
    cave.set_affiliation(alice, bob.bare, "none")
    assert cave.enter(bob, "secondwitch").own


def test_the_banned_learn_no_more_than_that(alice, bob, cave):
    """Not whether the room has a password or is for members."""
    cave.configure(alice, membersonly=True, passwordprotectedroom=True, roomsecret="x")
    cave.set_affiliation(alice, bob.bare, "outcast")
    assert cave.refused(bob, "secondwitch")[0] == "forbidden"


# --- §7.2.8: nicks ---


def test_nick_conflict(alice, bob, cave):
    assert cave.refused(bob, "firstwitch") == ("conflict", "cancel")
    cave.expect_nothing(alice, f"<presence from='{cave.at('firstwitch')}'/>", after=[bob])


@pytest.mark.parametrize("nick", ["FirstWitch", "ｆｉｒｓｔｗｉｔｃｈ", " firstwitch",
                                  "f\N{CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I}rstwitch"],
                         ids=["case", "width", "space", "look-alike"])
def test_nobody_looks_like_another(alice, bob, cave, nick):
    """RFC 8266 (nicknames are compared by their profile), UTS 39 (confusables)."""
    assert cave.refused(bob, nick) == ("conflict", "cancel")


def test_the_nick_of_an_absent_member_is_reserved(alice, bob, carol, cave):
    cave.set_affiliation(alice, carol.bare, "member", nick="thirdwitch")
    assert cave.refused(bob, "thirdwitch") == ("conflict", "cancel")
    assert cave.enter(carol, "thirdwitch").own.standing == ("member", "participant")


def test_a_nick_is_taken_as_it_is_or_the_new_one_is_told(alice, bob, cave):
    """§7.2.3: status 210 says that the service has changed it."""
    cave.knock(bob, "second  witch")
    own = cave.entered(bob).own
    assert (210 in own.codes) == (own.nick != "second  witch")


def test_a_nick_with_markup(alice, bob, cave):
    assert cave.enter(bob, "<b>'&\"").own.nick == "<b>'&\""
    assert cave.presence(alice, "<b>'&\"").type is None


# --- §7.2.9: occupancy ---


def test_full_room(alice, bob, carol, cave):
    cave.configure(alice, maxusers=2)
    cave.enter(bob, "secondwitch")
    assert cave.refused(carol, "thirdwitch") == ("service-unavailable", "wait")
    cave.leave(bob, "secondwitch")
    assert cave.enter(carol, "thirdwitch").own


@pytest.mark.parametrize("affiliation", ["owner", "admin"])
def test_owners_and_admins_enter_a_full_room(alice, bob, carol, cave, affiliation):
    cave.configure(alice, maxusers=2)
    cave.set_affiliation(alice, carol.bare, affiliation)
    cave.enter(bob, "secondwitch")
    assert cave.enter(carol, "thirdwitch").own.standing == (affiliation, "moderator")


# --- §7.2.10, §7.2.12 ---


def test_locked_room(alice, bob):
    cave = Room("cave")
    cave.enter(alice, "firstwitch")
    assert cave.refused(bob, "secondwitch") == ("item-not-found", "cancel")
    cave.configure(alice)
    assert cave.enter(bob, "secondwitch").own


def test_logged_room(alice, bob, cave):
    cave.configure(alice, enablearchiving=True, persistentroom=True)
    assert 170 in cave.enter(bob, "secondwitch").own.codes
    assert 170 not in cave.presence(alice, "secondwitch").codes
    cave.configure(alice, enablearchiving=False)
    assert 170 not in cave.enter(bob, "secondwitch").own.codes


# --- §7.2.13, §7.2.14: history ---


@pytest.fixture
def told(alice, cave):
    """A room with five messages."""
    for i in range(5):
        cave.say(alice, f"m{i}")
    cave.expect_body(alice, "firstwitch", "m4")
    return cave


def test_history_is_stamped_by_the_room(bob, told):
    got = told.enter(bob, "secondwitch")
    assert got.bodies == [f"m{i}" for i in range(5)]
    for message in got.history:
        assert message.get("from") == told.at("firstwitch")
        assert message.get("type") == "groupchat"
        assert message.find(CONFERENCE_DELAY).get("from") == told.jid
    assert stamps(got.history) == sorted(stamps(got.history))


def test_history_has_the_ids_of_the_room(alice, bob, told):
    """XEP-0359, XEP-0421: messages in the history have the same ids as when they were sent."""
    heard = [m for m in alice.log if bodies([m]) == ["m4"]][-1]
    got = told.enter(bob, "secondwitch").history[-1]
    for tag in (f"{{{xml.SID}}}stanza-id", f"{{{muc.OCCUPANT_ID}}}occupant-id"):
        assert got.find(tag).get("id") == heard.find(tag).get("id")
    assert got.get("id") == heard.get("id")


HISTORY = [
    ({"maxstanzas": 2}, ["m3", "m4"]), ({"maxstanzas": 0}, []), ({"maxchars": 0}, []),
    ({"maxstanzas": 100}, ["m0", "m1", "m2", "m3", "m4"]), ({"maxchars": 10}, []),
    ({"seconds": 1000}, ["m0", "m1", "m2", "m3", "m4"]),
    ({"seconds": 4000000000}, ["m0", "m1", "m2", "m3", "m4"]),
    ({"seconds": 1000, "maxstanzas": 1}, ["m4"]),
    ({"since": "1970-01-01T00:00:00Z"}, ["m0", "m1", "m2", "m3", "m4"]),
    ({"since": "1970-01-01T00:00:00Z", "maxstanzas": 2}, ["m3", "m4"]),
    ({"since": "2100-01-01T00:00:00Z"}, [])]


def test_history_as_asked_for(bob, told):
    for limits, expected in HISTORY:
        assert told.enter(bob, "secondwitch", history=limits).bodies == expected, limits


def test_history_by_characters_is_of_whole_messages(bob, told):
    one = len(xml.canonical(told.enter(bob, "secondwitch").history[0]))
    found = told.enter(bob, "secondwitch", history={"maxchars": 3 * one}).bodies
    assert found == [f"m{i}" for i in range(5)][-len(found):] and 1 <= len(found) <= 4


def test_history_since_a_message(bob, told):
    known = stamps(told.enter(bob, "secondwitch").history)
    got = told.enter(bob, "secondwitch", history={"since": known[3]})
    assert got.bodies and set(got.bodies) <= {"m3", "m4"} | {
        f"m{i}" for i in range(3) if known[i] == known[3]}


def test_history_asked_for_wrongly(bob, told):
    """Is refused or ignored; the room goes on."""
    for limits in ({"maxstanzas": "x"}, {"seconds": -1}, {"since": "yesterday"},
                   {"maxchars": "99999999999999999999"}):
        told.knock(bob, "secondwitch", history=limits)
        answer = bob.expect(lambda e: e.tag.endswith("}presence")
                            and (e.get("type") == "error" or 110 in muc.codes(e)))
        assert answer.get("type") is None or xml.condition(answer) == "bad-request", limits
    assert told.enter(bob, "secondwitch").own


@muc.owners_may("history")
def test_history_is_bounded_by_the_room(alice, bob, cave):
    """15 messages unless one asks; then as many as the room allows (muc#maxhistoryfetch)."""
    for i in range(20):
        cave.say(alice, f"m{i}")
    cave.expect_body(alice, "firstwitch", "m19")
    assert cave.enter(bob, "secondwitch").bodies == [f"m{i}" for i in range(5, 20)]
    assert cave.enter(bob, "secondwitch", history={"maxstanzas": 100}).bodies == \
        [f"m{i}" for i in range(20)]
    cave.configure(alice, **{"muc#roomconfig_defaulthistorymessages": 2, "muc#maxhistoryfetch": 4})
    assert cave.enter(bob, "secondwitch").bodies == ["m18", "m19"]
    assert cave.enter(bob, "secondwitch", history={"maxstanzas": 100}).bodies == \
        [f"m{i}" for i in range(16, 20)]


def test_history_is_not_of_those_who_were_never_heard(alice, bob, carol, cave):
    """A refused message is not in it, nor a private one, nor a chat state."""
    cave.configure(alice, moderatedroom=True)
    cave.enter(bob, "secondwitch")
    refused = cave.say(bob, "refused")
    cave.message_error(bob, refused)
    cave.whisper(alice, "secondwitch", "private")
    cave.send(alice, "<composing xmlns='http://jabber.org/protocol/chatstates'/>")
    cave.say(alice, "said")
    cave.expect_body(bob, "firstwitch", "said")
    assert cave.enter(carol, "thirdwitch").bodies == ["said"]


# --- several sessions of one person (§7.2.8) ---


@pytest.fixture
def bobs(server, bob, cave):
    """Bob with two clients and one nick."""
    other = server.client("bob", "b2")
    cave.enter(bob, "secondwitch")
    got = cave.enter(other, "secondwitch")
    assert set(got.others) == {"firstwitch"} and got.own.nick == "secondwitch"
    cave.forget(bob, other)
    return bob, other


def test_two_sessions_share_a_nick(alice, bobs, cave):
    cave.say(alice, "to both")
    for client in bobs:
        cave.expect_body(client, "firstwitch", "to both")
    cave.say(bobs[1], "from one")
    for client in (alice, *bobs):
        cave.expect_body(client, "secondwitch", "from one")


def test_one_of_two_sessions_leaves(alice, bobs, cave):
    """The nickname stays while one session uses it."""
    cave.forget(alice)
    assert 110 in cave.leave(bobs[0], "secondwitch").codes
    cave.expect_nothing(alice, f"<presence from='{cave.at('secondwitch')}' type='unavailable'/>",
                        after=[bobs[0]])
    cave.say(bobs[1], "still here")
    cave.expect_body(alice, "secondwitch", "still here")
    cave.expect_nothing(bobs[0], "<message/>", after=[bobs[1]])
    cave.leave(bobs[1], "secondwitch")
    assert cave.gone(alice, "secondwitch").role == "none"


def test_the_nick_of_two_sessions_changes(alice, bobs, cave):
    cave.forget(alice)
    bobs[0].send(f"<presence to='{cave.at('oldhag')}'/>")
    for client in bobs:
        gone = cave.gone(client, "secondwitch")
        assert gone.new_nick == "oldhag" and {110, 303} <= gone.codes
        assert 110 in cave.presence(client, "oldhag").codes
    assert cave.gone(alice, "secondwitch").new_nick == "oldhag"
    assert cave.presence(alice, "oldhag").type is None
    cave.expect_nothing(alice, "<presence/>", after=bobs)
    cave.say(bobs[1], "still me")
    cave.expect_body(alice, "oldhag", "still me")


def test_two_sessions_are_kicked_together(alice, bobs, cave):
    cave.set_role(alice, "secondwitch", "none")
    for client in bobs:
        assert {110, 307} <= cave.gone(client, "secondwitch").codes


def test_two_sessions_count_once(alice, bob, carol, server, cave):
    """An occupant is a person with a nick."""
    cave.configure(alice, maxusers=3)
    cave.enter(bob, "secondwitch")
    cave.enter(server.client("bob", "b2"), "secondwitch")
    assert cave.enter(carol, "thirdwitch").own
    info = muc.disco_info(alice, cave.jid)[2][muc.INFO]
    assert info["muc#roominfo_occupants"] == "3"


def test_a_second_session_with_another_nick(server, alice, bob, cave):
    """Is another occupant, or is refused; it is never the same one under two names."""
    cave.enter(bob, "secondwitch")
    other = server.client("bob", "b2")
    cave.knock(other, "oldhag")
    answer = other.expect(lambda e: e.tag.endswith("}presence") and (
        e.get("type") == "error" or 110 in muc.codes(e)))
    if answer.get("type") != "error":
        assert Seen(answer).nick == "oldhag"
        cave.say(other, "hello")
        cave.expect_body(alice, "oldhag", "hello")
        cave.say(bob, "hello too")
        cave.expect_body(alice, "secondwitch", "hello too")
