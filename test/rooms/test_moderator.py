"""What moderators do (XEP-0045 §8): subject, kicks, voice."""
import pytest

from harness import muc, xml
from harness.client import bodies
from harness.muc import Room, item


@pytest.fixture
def stage(alice, bob, carol):
    """A moderated room of an owner, a moderator without affiliation, and a visitor."""
    stage = Room("stage").create(alice, "owner", moderatedroom=True)
    stage.enter(bob, "moderator")
    stage.set_role(alice, "moderator", "moderator")
    stage.enter(carol, "visitor")
    stage.forget(alice, bob, carol)
    return stage


# --- §8.1: the subject ---


def test_a_moderator_changes_the_subject(alice, bob, carol, cave):
    ident = cave.set_subject(alice, "Fire Burn and Cauldron Bubble!")
    for client in (alice, bob, carol):
        message = cave.expect_subject(client, "firstwitch", "Fire Burn and Cauldron Bubble!")
        assert message.get("id") == ident
        assert message.find(f"{{{xml.DELAY}}}delay") is None


def test_the_subject_stays(alice, bob, cave):
    cave.set_subject(alice, "one")
    cave.set_subject(alice, "two")
    cave.expect_subject(bob, "firstwitch", "two")
    got = cave.enter(bob, "secondwitch").subject
    assert got.findtext(f"{{{xml.CLIENT}}}subject") == "two"
    assert got.get("from") in (cave.at("firstwitch"), cave.jid)


def test_the_subject_is_taken_away(alice, bob, cave):
    cave.set_subject(alice, "one")
    cave.set_subject(alice, "")
    cave.expect_subject(bob, "firstwitch", "")
    assert not cave.enter(bob, "secondwitch").subject.findtext(f"{{{xml.CLIENT}}}subject")


def test_a_participant_may_change_the_subject_or_not(alice, bob, carol, cave):
    cave.configure(alice, changesubject=False)
    ident = cave.set_subject(bob, "mine")
    assert cave.message_error(bob, ident) == ("forbidden", "auth")
    cave.expect_nothing(carol, "<message><subject>mine</subject></message>", after=[bob])
    cave.configure(alice, changesubject=True)
    cave.set_subject(bob, "ours")
    assert cave.expect_subject(carol, "secondwitch", "ours")


def test_a_visitor_never_changes_the_subject(alice, bob, carol, stage):
    stage.configure(alice, changesubject=True)
    assert stage.message_error(carol, stage.set_subject(carol, "mine")) == ("forbidden", "auth")
    stage.expect_nothing(bob, "<message><subject/></message>", after=[carol])


def test_a_subject_from_outside(alice, bob, cave):
    cave.leave(bob, "secondwitch")
    assert cave.message_error(bob, cave.set_subject(bob, "x"))[0] in ("not-acceptable",
                                                                      "forbidden")


@pytest.mark.parametrize("more", ["<body>and more</body>", "<thread>t</thread>"])
def test_a_subject_with_a_body_is_a_message(alice, bob, cave, more):
    """§8.1: a body or a thread beside it makes it a message, not a change."""
    cave.set_subject(alice, "the subject")
    cave.send(alice, f"<subject>of the message</subject>{more}")
    cave.message(bob, "firstwitch", found=lambda e: xml.matches(
        e, f"<message><subject>of the message</subject>{more}</message>"))
    subject = cave.enter(bob, "secondwitch").subject
    assert subject.findtext(f"{{{xml.CLIENT}}}subject") == "the subject"


def test_a_long_subject(alice, bob, cave):
    """Is refused, or heard by all; never cut."""
    text = "x" * 20000
    ident = cave.set_subject(alice, text)
    message = alice.expect(f"<message id='{ident}'/>")
    if message.get("type") == "error":
        assert xml.condition(message) in ("not-acceptable", "policy-violation")
        cave.expect_nothing(bob, "<message><subject/></message>", after=[alice])
    else:
        assert cave.expect_subject(bob, "firstwitch", text) is not None


# --- §8.2: kicks ---


def test_kick(alice, bob, carol, cave):
    cave.set_role(alice, "secondwitch", "none", reason="Avaunt, you cullion!")
    for client in (alice, bob, carol):
        gone = cave.gone(client, "secondwitch")
        assert gone.standing == ("none", "none") and 307 in gone.codes
        assert gone.reason == "Avaunt, you cullion!"
        assert gone.actor is None or gone.actor.get("nick") == "firstwitch"
        assert (110 in gone.codes) == (client is bob)
    assert cave.message_error(bob, cave.say(bob, "why?"))[0] == "not-acceptable"


def test_the_kicked_is_told_by_whom(alice, bob, cave):
    cave.set_role(alice, "secondwitch", "none")
    gone = cave.gone(bob, "secondwitch")
    assert gone.actor.get("nick") == "firstwitch" and gone.reason is None


def test_the_kicked_may_come_back(alice, bob, cave):
    cave.set_role(alice, "secondwitch", "none")
    cave.gone(bob, "secondwitch")
    assert cave.enter(bob, "secondwitch").own.standing == ("none", "participant")


def test_kick_of_nobody(alice, cave):
    assert cave.denied(alice, "set", item(nick="oldhag", role="none"))[0] == "item-not-found"
    assert cave.denied(alice, "set", item(role="none"))[0] == "bad-request", "§17.4: by nick"


def test_participants_do_not_kick(alice, bob, carol, cave):
    assert cave.denied(bob, "set", item(nick="thirdwitch", role="none")) == ("forbidden", "auth")
    cave.say(carol, "still here")
    assert cave.expect_body(alice, "thirdwitch", "still here")


def test_who_is_not_in_the_room_does_not_kick(alice, bob, carol, cave):
    cave.leave(bob, "secondwitch")
    assert cave.denied(bob, "set", item(nick="thirdwitch", role="none"))[0] == "forbidden"


@pytest.mark.parametrize("affiliation", ["member", "admin", "owner"])
def test_nobody_kicks_who_stands_higher(alice, bob, carol, stage, affiliation):
    """§8.2: bob is a moderator without affiliation."""
    stage.set_affiliation(alice, carol.bare, affiliation)
    stage.forget(alice, bob, carol)
    assert stage.denied(bob, "set", item(nick="visitor", role="none")) == ("not-allowed",
                                                                          "cancel")
    stage.say(carol, "still here")
    assert stage.expect_body(alice, "visitor", "still here")


def test_a_moderator_kicks_a_visitor(alice, bob, carol, stage):
    stage.set_role(bob, "visitor", "none")
    gone = stage.gone(carol, "visitor")
    assert 307 in gone.codes and gone.actor.get("nick") == "moderator"


def test_an_admin_does_not_kick_an_owner(alice, bob, cave):
    cave.set_affiliation(alice, bob.bare, "admin")
    assert cave.denied(bob, "set", item(nick="firstwitch", role="none"))[0] == "not-allowed"


# --- §8.3, §8.4: voice ---


def test_voice_is_granted(alice, bob, carol, stage):
    stage.set_role(bob, "visitor", "participant", reason="A worthy witch indeed!")
    for client in (alice, bob, carol):
        seen = stage.presence(client, "visitor")
        assert seen.type is None and seen.standing == ("none", "participant")
        assert seen.reason == "A worthy witch indeed!"
        assert (110 in seen.codes) == (client is carol)
    stage.say(carol, "thank you")
    assert stage.expect_body(alice, "visitor", "thank you")


def test_voice_is_revoked(alice, bob, carol, stage):
    stage.set_role(bob, "visitor", "participant")
    assert stage.denied(bob, "set", item(nick="visitor", role="visitor"))[0] == "not-allowed", \
        "a moderator's affiliation is above that of whose voice it takes"
    stage.set_role(alice, "visitor", "visitor")
    for client in (alice, bob, carol):
        assert stage.presence(client, "visitor").role == "participant"
        assert stage.presence(client, "visitor").role == "visitor"
    assert stage.message_error(carol, stage.say(carol, "but")) == ("forbidden", "auth")


def test_voice_outlives_a_visit(alice, bob, carol, stage):
    """§5.1: given or taken, until a moderator changes it or the affiliation is another."""
    stage.set_role(bob, "visitor", "participant")
    stage.leave(carol, "visitor")
    assert stage.enter(carol, "hag").own.standing == ("none", "participant")
    stage.set_role(alice, "hag", "visitor")
    stage.leave(carol, "hag")
    assert stage.enter(carol, "hag").own.standing == ("none", "visitor")
    stage.set_affiliation(alice, carol.bare, "member")
    stage.set_role(alice, "hag", "visitor")
    stage.leave(carol, "hag")
    assert stage.enter(carol, "hag").own.standing == ("member", "visitor")
    stage.leave(carol, "hag")
    stage.set_affiliation(alice, carol.bare, "none")
    stage.set_affiliation(alice, carol.bare, "admin")
    assert stage.enter(carol, "hag").own.standing == ("admin", "moderator")


def test_voice_ends_with_a_kick(alice, bob, carol, stage):
    stage.set_role(bob, "visitor", "participant")
    stage.set_role(bob, "visitor", "none")
    stage.gone(carol, "visitor")
    assert stage.enter(carol, "visitor").own.role == "visitor"


def test_presence_of_the_occupant_is_kept_by_a_change_of_role(alice, bob, carol, stage):
    carol.send(f"<presence to='{stage.at('visitor')}'><show>dnd</show></presence>")
    assert stage.presence(bob, "visitor").show == "dnd"
    stage.set_role(bob, "visitor", "participant")
    seen = stage.presence(bob, "visitor")
    assert (seen.show, seen.role) == ("dnd", "participant")


@pytest.mark.parametrize("affiliation", ["admin", "owner"])
def test_nobody_takes_the_voice_of_admins_and_owners(alice, bob, carol, stage, affiliation):
    stage.set_affiliation(alice, carol.bare, affiliation)
    for client in (alice, bob):
        assert stage.denied(client, "set", item(nick="visitor", role="visitor")) == (
            "not-allowed", "cancel")
    assert stage.enter(carol, "visitor").own.standing == (affiliation, "moderator")


def test_a_visitor_grants_no_voice(carol, stage):
    assert stage.denied(carol, "set", item(nick="visitor", role="participant")) == ("forbidden",
                                                                                   "auth")


def test_a_moderator_makes_no_moderators(bob, carol, stage):
    """§9.6: that is for admins."""
    condition, _ = stage.denied(bob, "set", item(nick="visitor", role="moderator"))
    assert condition in ("forbidden", "not-allowed")


def test_there_is_no_such_role(alice, cave):
    for bad in ("king", "", "Participant"):
        assert cave.denied(alice, "set", item(nick="secondwitch", role=bad)) == ("bad-request",
                                                                                "modify")


# --- §8.5: the voice list ---


def test_voice_list(alice, bob, carol, cave):
    found = cave.listed(alice, role="participant")
    assert {(i["nick"], i["role"], i["affiliation"]) for i in found} == {
        ("secondwitch", "participant", "none"), ("thirdwitch", "participant", "none")}
    assert {i["jid"] for i in found} == {bob.jid, carol.jid}
    assert cave.listed(alice, role="visitor") == []


def test_the_voice_list_is_for_moderators(bob, cave):
    for role in ("participant", "visitor", "moderator"):
        assert cave.denied(bob, "get", item(role=role)) == ("forbidden", "auth")


def test_changes_of_the_voice_list(alice, bob, carol, cave):
    cave.configure(alice, moderatedroom=True)
    cave.forget(alice)
    cave.change(alice, item(nick="secondwitch", role="visitor"),
                item(nick="thirdwitch", role="visitor", reason="quiet"))
    assert cave.presence(alice, "secondwitch").role == "visitor"
    assert cave.presence(alice, "thirdwitch").role == "visitor"
    assert {i["nick"] for i in cave.listed(alice, role="visitor")} == {"secondwitch",
                                                                      "thirdwitch"}


def test_changes_of_the_voice_list_are_one(alice, bob, carol, stage):
    """One of them may not be: none is made."""
    condition, _ = stage.denied(bob, "set", item(nick="visitor", role="participant"),
                                item(nick="owner", role="visitor"))
    assert condition == "not-allowed"
    stage.expect_nothing(alice, f"<presence from='{stage.at('visitor')}'/>", after=[bob])
    assert {i["nick"] for i in stage.listed(alice, role="visitor")} == {"visitor"}


# --- §7.13, §8.6: requests for voice ---


def request(**fields):
    return muc.submit(muc.REQUEST, fields, "muc#")


def asked(room, client):
    """The form that the room sends a moderator."""
    message = room.message(client, "", "normal", lambda e: e.find(f"{{{muc.DATA}}}x") is not None)
    form = message.find(f"{{{muc.DATA}}}x")
    assert form.get("type") == "form"
    return muc.form_values(form)


def test_a_visitor_asks_for_voice(alice, bob, carol, stage):
    carol.send(f"<message to='{stage}'>{request(role='participant')}</message>")
    for client in (alice, bob):
        form = asked(stage, client)
        assert form["FORM_TYPE"] == muc.REQUEST and form["muc#role"] == "participant"
        assert form["muc#roomnick"] == "visitor"
        assert form["muc#jid"] in (carol.jid, carol.bare)
        assert form["muc#request_allow"] in ("0", "false")
    form["muc#request_allow"] = "true"
    del form["FORM_TYPE"]
    bob.send(f"<message to='{stage}'>{muc.submit(muc.REQUEST, form)}</message>")
    assert stage.presence(carol, "visitor").standing == ("none", "participant")
    stage.say(carol, "thank you")
    assert stage.expect_body(alice, "visitor", "thank you")


def test_a_request_for_voice_is_denied(alice, bob, carol, stage):
    carol.send(f"<message to='{stage}'>{request(role='participant')}</message>")
    form = asked(stage, bob)
    form["muc#request_allow"] = "0"
    del form["FORM_TYPE"]
    bob.send(f"<message to='{stage}'>{muc.submit(muc.REQUEST, form)}</message>")
    stage.expect_nothing(carol, "<presence/>", after=[bob])
    assert stage.message_error(carol, stage.say(carol, "but"))[0] == "forbidden"


def test_nobody_approves_his_own_request(alice, carol, stage):
    fields = {"role": "participant", "jid": carol.jid, "roomnick": "visitor",
              "request_allow": "true"}
    carol.send(f"<message to='{stage}' id='v1'>{request(**fields)}</message>")
    stage.expect_nothing(carol, f"<presence from='{stage.at('visitor')}'/>", after=[carol])
    assert stage.message_error(carol, stage.say(carol, "ha"))[0] == "forbidden"


def test_a_request_for_more_than_voice(alice, carol, stage):
    """Nobody asks to be a moderator."""
    carol.send(f"<message to='{stage}' id='v2'>{request(role='moderator')}</message>")
    stage.flush(carol)
    answer = stage.listed(alice, role="moderator")
    assert "visitor" not in {i["nick"] for i in answer}
    stage.expect_nothing(alice, f"<message><x xmlns='{muc.DATA}'><field var='muc#role'>"
                         "<value>moderator</value></field></x></message>", after=[carol])


def test_a_request_from_outside(alice, bob, stage):
    stage.leave(bob, "moderator")
    bob.send(f"<message to='{stage}' id='v3'>{request(role='participant')}</message>")
    assert stage.message_error(bob, "v3")[0] in ("not-acceptable", "forbidden")
    assert not bodies(alice.inbox)
