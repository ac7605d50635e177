"""Use cases of occupants (XEP-0045 §7.3 to §7.9, §7.14): messages, private messages, changes,
invitations, leaving."""
import pytest

from harness import muc, xml
from harness.client import bodies
from harness.muc import Room, Seen

CONFERENCE = "jabber:x:conference"
CONTINUE = f"{{{muc.USER}}}continue"


# --- §7.4: messages to all ---


def test_all_hear_what_one_says(alice, bob, carol, cave):
    ident = cave.say(bob, "Harpier cries: 'tis time, 'tis time. <&>")
    for client in (alice, bob, carol):
        message = cave.expect_body(client, "secondwitch",
                                   "Harpier cries: 'tis time, 'tis time. <&>")
        assert message.get("type") == "groupchat" and message.get("to") == client.jid
        assert message.get("id") == ident, "muc#stable_id"


def test_all_hear_all_in_one_order(alice, bob, carol, cave):
    for i in range(20):
        cave.say(alice, f"a{i}")
        cave.say(bob, f"b{i}")
    heard = []
    for client in (alice, bob, carol):
        client.wait("40 messages", lambda c=client: len(bodies(c.inbox)) == 40)
        heard.append(bodies(client.inbox))
    assert heard[0] == heard[1] == heard[2]
    assert [b for b in heard[0] if b[0] == "a"] == [f"a{i}" for i in range(20)]


def test_a_chat_to_the_room(alice, bob, cave):
    """§7.4: a message to all is of type groupchat."""
    ident = cave.send(bob, "<body>chat?</body>", kind="chat")
    assert cave.message_error(bob, ident)[0] in ("bad-request", "not-acceptable")
    cave.expect_nothing(alice, "<message><body>chat?</body></message>", after=[bob])


def test_what_else_a_message_has_is_passed_on(alice, bob, cave):
    inner = ("<body>text</body><body xml:lang='de'>Text</body><thread parent='p'>t</thread>"
             "<active xmlns='http://jabber.org/protocol/chatstates'/>"
             "<a xmlns='urn:example:any'><b c='d'/>e</a>")
    cave.send(bob, inner)
    cave.expect(alice, "message", "secondwitch", lambda e: xml.matches(
        e, f"<message type='groupchat'>{inner}</message>"))


def test_a_message_without_body_is_passed_on(alice, bob, cave):
    cave.send(bob, "<composing xmlns='http://jabber.org/protocol/chatstates'/>")
    alice.expect(f"<message from='{cave.at('secondwitch')}' type='groupchat'>"
                 "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>")


def test_who_is_not_in_the_room_is_not_heard(server, alice, bob, cave):
    cave.leave(bob, "secondwitch")
    ident = cave.say(bob, "hello?")
    assert cave.message_error(bob, ident)[0] == "not-acceptable"
    cave.expect_nothing(alice, "<message><body>hello?</body></message>", after=[bob])


def test_another_session_of_an_occupant_is_not_in_the_room(server, alice, bob, cave):
    other = server.client("bob", "b2")
    ident = cave.say(other, "hello?")
    assert cave.message_error(other, ident)[0] == "not-acceptable"
    cave.say(alice, "for one")
    cave.expect_body(bob, "firstwitch", "for one")
    cave.expect_nothing(other, "<message><body>for one</body></message>", after=[bob])


def test_a_visitor_is_not_heard_in_a_moderated_room(alice, bob, carol, cave):
    cave.configure(alice, moderatedroom=True)
    cave.set_role(alice, "secondwitch", "visitor")
    ident = cave.say(bob, "psst")
    assert cave.message_error(bob, ident) == ("forbidden", "auth")
    cave.expect_nothing(carol, "<message><body>psst</body></message>", after=[bob])


def test_a_message_to_a_room_that_does_not_exist(alice):
    ident = Room("nowhere").say(alice, "hello?")
    assert Room("nowhere").message_error(alice, ident)[0] in ("item-not-found", "not-acceptable")


def test_the_error_brings_the_message_back(alice, bob, cave):
    """RFC 6120 §8.3.1, and by= the room (XEP-0045 §7.4 since 1.25)."""
    cave.leave(bob, "secondwitch")
    ident = cave.say(bob, "hello?")
    error = bob.expect(f"<message type='error' id='{ident}' from='{cave}' to='{bob.jid}'/>")
    assert error.find(f"{{{xml.CLIENT}}}error").get("by") in (cave.jid, muc.service(), None)


def test_nobody_speaks_as_another(alice, bob, carol, cave):
    """The room states the sender of a message; claims of the client are removed."""
    cave.send(bob, "<body>forged</body><x xmlns='" + muc.USER + "'><status code='104'/>"
              "<item affiliation='owner'/></x>")
    message = cave.expect_body(carol, "secondwitch", "forged")
    assert not muc.codes(message)


# --- §7.5: private messages ---


def test_private_message(alice, bob, carol, cave):
    ident = cave.whisper(bob, "firstwitch", "I'll give thee a wind.")
    message = cave.expect_body(alice, "secondwitch", "I'll give thee a wind.", "chat")
    assert message.get("id") == ident and message.get("to") == alice.jid
    assert muc.user(message) is not None, "§7.5: how clients know it from a chat"
    for client in (bob, carol):
        cave.expect_nothing(client, "<message/>", after=[bob])


def test_private_message_of_type_normal(alice, bob, cave):
    cave.send(bob, "<body>n</body>", "firstwitch", "normal")
    assert alice.expect(f"<message from='{cave.at('secondwitch')}'><body>n</body></message>")


def test_private_message_of_type_groupchat(alice, bob, cave):
    ident = cave.send(bob, "<body>no</body>", "firstwitch", "groupchat")
    assert cave.message_error(bob, ident) == ("bad-request", "modify")
    cave.expect_nothing(alice, "<message><body>no</body></message>", after=[bob])


def test_private_message_to_nobody(bob, cave):
    ident = cave.whisper(bob, "oldhag", "are you there?")
    assert cave.message_error(bob, ident) == ("item-not-found", "cancel")


def test_private_message_from_outside(alice, bob, cave):
    cave.leave(bob, "secondwitch")
    ident = cave.whisper(bob, "firstwitch", "psst")
    assert cave.message_error(bob, ident)[0] == "not-acceptable"
    cave.expect_nothing(alice, "<message><body>psst</body></message>", after=[bob])


def test_a_visitor_may_whisper(alice, bob, cave):
    cave.configure(alice, moderatedroom=True)
    cave.set_role(alice, "secondwitch", "visitor")
    cave.whisper(bob, "firstwitch", "please")
    assert cave.expect_body(alice, "secondwitch", "please", "chat")


@pytest.mark.parametrize("allowed, may", [
    ("anyone", "visitor participant moderator"), ("participants", "participant moderator"),
    ("moderators", "moderator"), ("none", "")])
def test_who_may_send_private_messages(alice, bob, carol, cave, allowed, may):
    """muc#roomconfig_allowpm"""
    cave.configure(alice, allowpm=allowed)
    for role in ("visitor", "participant", "moderator"):
        cave.set_role(alice, "secondwitch", role)
        ident = cave.whisper(bob, "thirdwitch", role)
        if role in may.split():
            assert cave.expect_body(carol, "secondwitch", role, "chat")
        else:
            assert cave.message_error(bob, ident)[0] in ("forbidden", "not-allowed")
            cave.expect_nothing(carol, f"<message><body>{role}</body></message>", after=[bob])


def test_who_blocks_an_occupant_stays_in_the_room(alice, bob, carol, cave):
    """XEP-0191: that a private message comes back does not say that nobody is there."""
    bob.result("set", "<block xmlns='urn:xmpp:blocking'>"
               f"<item jid='{cave.at('thirdwitch')}'/></block>")
    cave.whisper(carol, "secondwitch", "psst")
    cave.flush(carol)
    cave.say(bob, "still here")
    assert cave.expect_body(alice, "secondwitch", "still here")
    assert "psst" not in bodies(bob.log)


def test_private_message_to_a_nick_with_two_sessions(server, alice, bob, cave):
    """Reaches both of them, and the archive of their account once."""
    other = server.client("bob", "b2")
    cave.enter(other, "secondwitch")
    cave.whisper(alice, "secondwitch", "to both of you")
    for client in (bob, other):
        message = cave.expect_body(client, "firstwitch", "to both of you", "chat")
        assert message.get("to") == client.jid and muc.user(message) is not None
    cave.forget(alice, bob)
    bob.result("set", "<query xmlns='urn:xmpp:mam:2'/>")
    kept = [b for e in bob.inbox for b in bodies(e.iter(f"{{{xml.CLIENT}}}message"))]
    assert kept == ["to both of you"]


# --- §7.6: nicks ---


def test_change_of_nick(alice, bob, carol, cave):
    bob.send(f"<presence to='{cave.at('oldhag')}'/>")
    for client in (alice, bob, carol):
        gone = cave.presence(client, "secondwitch")
        assert gone.gone and 303 in gone.codes and gone.new_nick == "oldhag"
        assert (110 in gone.codes) == (client is bob)
        new = cave.presence(client, "oldhag")
        assert new.type is None and new.standing == ("none", "participant")
        assert (110 in new.codes) == (client is bob)
    cave.say(bob, "it is me")
    cave.expect_body(alice, "oldhag", "it is me")
    assert cave.enter(bob, "oldhag").others.keys() == {"firstwitch", "thirdwitch"}


def test_who_enters_by_another_nick_changes_it(alice, bob, cave):
    """Clients may ask by the <x/> of entering: the session is in the room already."""
    cave.knock(bob, "oldhag")
    for client in (alice, bob):
        gone = cave.presence(client, "secondwitch")
        assert gone.gone and gone.new_nick == "oldhag" and 303 in gone.codes
        assert cave.presence(client, "oldhag").type is None


def test_nick_with_a_slash(alice, bob, cave):
    """RFC 7622 §3.4: all behind the first slash is the resource."""
    bob.send(f"<presence to='{cave.at('a/b@c')}'/>")
    assert cave.presence(alice, "a/b@c").type is None
    cave.whisper(alice, "a/b@c", "psst")
    assert cave.expect_body(bob, "firstwitch", "psst", "chat")


def test_change_to_a_nick_that_is_taken(alice, bob, cave):
    bob.send(f"<presence to='{cave.at('thirdwitch')}'/>")
    assert cave.presence_error(bob) == ("conflict", "cancel")
    cave.expect_nothing(alice, "<presence/>", after=[bob])
    cave.say(bob, "still here")
    assert cave.expect_body(alice, "secondwitch", "still here")


def test_change_to_a_nick_that_is_reserved(server, alice, bob, cave):
    server.add_user("dave")
    cave.set_affiliation(alice, "dave@localhost", "member", nick="oldhag")
    bob.send(f"<presence to='{cave.at('oldhag')}'/>")
    assert cave.presence_error(bob) == ("conflict", "cancel")


def test_change_to_a_nick_that_is_written_otherwise(alice, bob, cave):
    """Status 210, to who changed it."""
    bob.send(f"<presence to='{cave.at('old  hag')}'/>")
    assert cave.presence(alice, "secondwitch").new_nick == "old hag"
    assert 210 not in cave.presence(alice, "old hag").codes
    assert {110, 210} <= cave.presence(bob, "old hag").codes


def test_a_visitor_keeps_its_nick(alice, bob, cave):
    cave.configure(alice, moderatedroom=True)
    cave.set_role(alice, "secondwitch", "visitor")
    bob.send(f"<presence to='{cave.at('oldhag')}'/>")
    error = bob.expect(f"<presence from='{cave.at('oldhag')}' type='error'/>")
    assert xml.condition(error) == "not-acceptable"
    cave.say(alice, "hush")
    assert cave.enter(bob, "secondwitch").own.standing == ("none", "visitor")


def test_change_of_nick_and_back(alice, bob, cave):
    for nick in ("oldhag", "secondwitch"):
        bob.send(f"<presence to='{cave.at(nick)}'/>")
        cave.presence(alice, nick)
    cave.say(bob, "back")
    assert cave.expect_body(alice, "secondwitch", "back")


def test_change_of_case_is_a_change(alice, bob, cave):
    """To a nick that is compared as equal, but is one's own."""
    bob.send(f"<presence to='{cave.at('SecondWitch')}'/>")
    gone = cave.gone(alice, "secondwitch")
    assert 303 in gone.codes and gone.new_nick == "SecondWitch"
    assert cave.presence(alice, "SecondWitch").type is None


def test_the_old_nick_is_free_again(alice, bob, carol, cave):
    bob.send(f"<presence to='{cave.at('oldhag')}'/>")
    cave.presence(carol, "oldhag")
    carol.send(f"<presence to='{cave.at('secondwitch')}'/>")
    gone = cave.gone(alice, "thirdwitch")
    assert gone.new_nick == "secondwitch"


# --- §7.7: availability ---


def test_change_of_availability(alice, bob, carol, cave):
    bob.send(f"<presence to='{cave.at('secondwitch')}'><show>xa</show>"
             "<status>gone where the goblins go</status></presence>")
    for client in (alice, bob, carol):
        seen = cave.presence(client, "secondwitch")
        assert (seen.show, seen.status) == ("xa", "gone where the goblins go")
        assert seen.standing == ("none", "participant")
        assert (110 in seen.codes) == (client is bob)


def test_who_enters_later_sees_the_last_availability(alice, bob, carol, cave):
    bob.send(f"<presence to='{cave.at('secondwitch')}'><show>dnd</show></presence>")
    cave.presence(alice, "secondwitch")
    cave.leave(carol, "thirdwitch")
    assert cave.enter(carol, "thirdwitch").others["secondwitch"].show == "dnd"


def test_general_presence_is_not_for_the_room(alice, bob, cave):
    """RFC 6121 §4.6: it got directed presence; only going offline concerns it."""
    bob.send("<presence><show>away</show></presence>")
    bob.expect(f"<presence from='{bob.jid}'/>")
    cave.expect_nothing(alice, f"<presence from='{cave.at('secondwitch')}'/>", after=[bob])


# --- §7.8: invitations ---


def test_mediated_invitation(alice, bob, dave, cave):
    bob.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><invite to='dave@localhost'>"
             "<reason>Hey, this is the place</reason></invite></x></message>")
    message = dave.expect(f"<message from='{cave}'><x xmlns='{muc.USER}'><invite from='*'>"
                          "<reason>Hey, this is the place</reason></invite></x></message>")
    by = muc.user(message).find(f"{{{muc.USER}}}invite").get("from")
    assert by in (bob.jid, bob.bare, cave.at("secondwitch"))


def test_invitation_to_a_room_with_a_password(alice, bob, dave, cave):
    cave.configure(alice, passwordprotectedroom=True, roomsecret="cauldronburn")
    bob.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><invite to='{dave.bare}'/></x></message>")
    dave.expect(f"<message from='{cave}'><x xmlns='{muc.USER}'><invite/>"
                "<password>cauldronburn</password></x></message>")


def test_invitations_of_several(server, alice, cave):
    others = []
    for name in ("dave", "eve"):
        server.add_user(name)
        others.append(server.client(name, "x"))
    invites = "".join(f"<invite to='{o.bare}'><continue thread='t1'/></invite>" for o in others)
    alice.send(f"<message to='{cave}'><x xmlns='{muc.USER}'>{invites}</x></message>")
    for other in others:
        message = other.expect(f"<message from='{cave}'><x xmlns='{muc.USER}'><invite/></x>"
                               "</message>")
        assert len(muc.user(message).findall(f"{{{muc.USER}}}invite")) == 1
        assert message.find(f".//{CONTINUE}").get("thread") == "t1", "§7.9"


def test_who_is_not_in_the_room_does_not_invite(alice, bob, carol, dave, cave):
    cave.leave(bob, "secondwitch")
    bob.send(f"<message to='{cave}' id='i1'><x xmlns='{muc.USER}'><invite to='{dave.bare}'/></x>"
             "</message>")
    assert cave.message_error(bob, "i1")[0] in ("not-acceptable", "forbidden")
    cave.expect_nothing(dave, "<message/>", after=[bob])


def test_invitation_of_nobody(alice, bob, cave):
    """§7.8.2 would have it told; here nobody learns who has an account. It comes back to no one."""
    bob.send(f"<message to='{cave}' id='i2'><x xmlns='{muc.USER}'><invite to='nobody@localhost'/>"
             "</x></message>")
    cave.expect_nothing(alice, "<message/>", after=[bob])
    cave.say(bob, "still here")
    assert cave.expect_body(alice, "secondwitch", "still here")


@pytest.mark.parametrize("to", ["", "@", "a@b@c"])
def test_invitation_of_no_address(bob, cave, to):
    bob.send(f"<message to='{cave}' id='i3'><x xmlns='{muc.USER}'><invite to='{to}'/></x>"
             "</message>")
    assert cave.message_error(bob, "i3")[0] in ("jid-malformed", "bad-request")


def test_members_do_not_invite_unless_they_may(alice, bob, dave, cave):
    """§9.5: into a members-only room; by default moderators alone invite."""
    for client in ("bob", "carol"):
        cave.set_affiliation(alice, f"{client}@localhost", "member")
    cave.configure(alice, membersonly=True, allowinvites=False)
    invite = f"<x xmlns='{muc.USER}'><invite to='{dave.bare}'/></x>"
    bob.send(f"<message to='{cave}' id='i4'>{invite}</message>")
    assert cave.message_error(bob, "i4") == ("forbidden", "auth")
    cave.expect_nothing(dave, "<message/>", after=[bob])
    assert dave.bare not in cave.jids(alice, "member")
    cave.configure(alice, allowinvites=True)
    bob.send(f"<message to='{cave}' id='i5'>{invite}</message>")
    dave.expect(f"<message from='{cave}'><x xmlns='{muc.USER}'><invite/></x></message>")
    assert cave.enter(dave, "d").own.affiliation == "member", "an invitation makes a member"


def test_an_invitation_to_an_open_room_makes_no_member(alice, bob, dave, cave):
    bob.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><invite to='{dave.bare}'/></x></message>")
    dave.expect(f"<message from='{cave}'/>")
    assert cave.jids(alice, "member") == set()


def test_invitation_is_declined(alice, bob, dave, cave):
    bob.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><invite to='{dave.bare}'/></x></message>")
    message = dave.expect(f"<message from='{cave}'><x xmlns='{muc.USER}'><invite/></x></message>")
    by = muc.user(message).find(f"{{{muc.USER}}}invite").get("from")
    dave.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><decline to='{by}'>"
              "<reason>Sorry, I'm too busy right now.</reason></decline></x></message>")
    bob.expect(f"<message from='{cave}'><x xmlns='{muc.USER}'><decline from='{dave.bare}'>"
               "<reason>Sorry, I'm too busy right now.</reason></decline></x></message>")


def test_a_declination_of_what_was_never_offered(server, alice, bob, cave):
    """Strangers cannot use the room to send to any address."""
    server.add_user("dave")
    server.add_user("eve")
    dave, eve = server.client("dave", "d"), server.client("eve", "e")
    dave.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><decline to='{eve.bare}'>"
              "<reason>buy!</reason></decline></x></message>")
    cave.expect_nothing(eve, "<message/>", after=[dave])


def test_direct_invitation(alice, bob):
    """XEP-0249: from one to the other, whatever the room."""
    inner = (f"<x xmlns='{CONFERENCE}' jid='cave@{muc.service()}' password='cauldronburn' "
             "reason='Hey Hecate' continue='true' thread='e0ffe42b28561960c6b12b944a092794b9683a38'"
             "/>")
    alice.send(f"<message to='{bob.bare}'>{inner}</message>")
    bob.expect(f"<message from='{alice.jid}'>{inner}</message>")


def test_a_chat_becomes_a_conference(server, alice, bob):
    """§7.9: the owner brings the history of the chat; the room does not stamp it anew."""
    cave = Room("continued").create(alice, "firstwitch")
    for i in (1, 2):
        cave.send(alice, f"<body>old {i}</body><delay xmlns='{xml.DELAY}' from='{bob.bare}' "
                  f"stamp='2004-09-29T01:5{i}:37Z'/>")
    cave.expect_body(alice, "firstwitch", "old 2")
    alice.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><invite to='{bob.jid}'>"
               "<reason>continue</reason><continue/></invite></x></message>")
    asked = bob.expect(f"<message from='{cave}' to='{bob.jid}'><x xmlns='{muc.USER}'><invite>"
                       "<continue/></invite></x></message>")
    assert next(asked.iter(CONTINUE)).attrib == {}
    got = cave.enter(bob, "secondwitch")
    assert got.bodies == ["old 1", "old 2"]
    stamps = [[(d.get("from"), d.get("stamp")) for d in m.findall(f"{{{xml.DELAY}}}delay")]
              for m in got.history]
    assert stamps == [[(bob.bare, f"2004-09-29T01:5{i}:37Z")] for i in (1, 2)]


# --- §7.14: to leave ---


def test_leaving_with_a_word(alice, bob, carol, cave):
    own = cave.leave(bob, "secondwitch", "gone where the goblins go")
    assert 110 in own.codes and own.role == "none"
    for client in (alice, carol):
        gone = cave.presence(client, "secondwitch")
        assert gone.gone and gone.standing == ("none", "none") and 110 not in gone.codes
        assert gone.status == "gone where the goblins go"
    cave.say(alice, "after")
    cave.expect_body(alice, "firstwitch", "after")
    cave.expect_nothing(bob, "<message/>", after=[alice])


def test_leaving_keeps_the_affiliation(alice, bob, cave):
    cave.set_affiliation(alice, bob.bare, "member")
    assert cave.leave(bob, "secondwitch").standing == ("member", "none")


def test_going_offline_leaves(alice, bob, carol, cave):
    bob.send("<presence type='unavailable'><status>bye</status></presence>")
    for client in (alice, carol):
        gone = cave.gone(client, "secondwitch")
        assert gone.standing == ("none", "none") and gone.status == "bye"
    bob.send("<presence/>")
    bob.expect(f"<presence from='{bob.jid}' type='-'/>")
    assert cave.message_error(bob, cave.say(bob, "hm"))[0] == "not-acceptable"


@pytest.mark.parametrize("how", ["close", "cut"])
def test_a_session_that_ends_leaves(alice, bob, carol, cave, how):
    getattr(bob, how)()
    for client in (alice, carol):
        assert cave.gone(client, "secondwitch").role == "none"


def test_one_of_two_sessions_ends(server, alice, bob, cave):
    other = server.client("bob", "b2")
    cave.enter(other, "secondwitch")
    cave.forget(alice)
    bob.close()
    cave.say(other, "still here")
    cave.expect_body(alice, "secondwitch", "still here")
    cave.expect_nothing(alice, "<presence type='unavailable'/>", after=[other])


def test_who_blocks_the_room_leaves_it(alice, bob, cave):
    """XEP-0191 §3.2: it has got presence, and gets unavailable presence now."""
    bob.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{cave}'/></block>")
    assert cave.gone(alice, "secondwitch").role == "none"
    bob.result("set", f"<unblock xmlns='urn:xmpp:blocking'><item jid='{cave}'/></unblock>")
    assert cave.enter(bob, "secondwitch").own


@pytest.mark.parametrize("condition", ["recipient-unavailable", "gone", "item-not-found",
                                       "remote-server-not-found"])
def test_a_ghost_is_removed(alice, bob, cave, condition):
    """§7.14: an error to what the room sent says that nobody is there."""
    cave.say(alice, "anybody?")
    heard = cave.expect_body(bob, "firstwitch", "anybody?")
    bob.send(f"<message to='{cave.at('firstwitch')}' type='error' id='{heard.get('id')}'>"
             f"<error type='cancel'><{condition} xmlns='{xml.STANZA_ERROR}'/></error></message>")
    for client in (alice, bob):
        gone = cave.gone(client, "secondwitch")
        assert gone.role == "none" and 333 in gone.codes and (110 in gone.codes) == (client is bob)
    cave.expect_nothing(alice, "<message type='error'/>", after=[bob])


def test_an_error_that_says_less_removes_nobody(alice, bob, cave):
    cave.say(alice, "anybody?")
    heard = cave.expect_body(bob, "firstwitch", "anybody?")
    bob.send(f"<message to='{cave.at('firstwitch')}' type='error' id='{heard.get('id')}'>"
             f"<error type='wait'><policy-violation xmlns='{xml.STANZA_ERROR}'/></error></message>")
    cave.say(bob, "yes")
    assert cave.expect_body(alice, "secondwitch", "yes")


def test_leaving_where_one_is_not(alice, bob):
    cave = Room("cave").create(alice, "firstwitch")
    bob.send(f"<presence to='{cave.at('secondwitch')}' type='unavailable'/>")
    cave.expect_nothing(alice, "<presence/>", after=[bob])
    bob.expect_nothing("<presence type='unavailable'/>")


def test_leaving_by_the_address_of_the_room(alice, bob, cave):
    """§10.1.3 has it for owners: it is who sends it that leaves."""
    bob.send(f"<presence to='{cave}' type='unavailable'/>")
    assert cave.gone(alice, "secondwitch").role == "none"


def test_nobody_takes_another_out_by_its_nick(alice, bob, carol, cave):
    """Leaving is by who sends it, not by the nick it is sent to."""
    bob.send(f"<presence to='{cave.at('thirdwitch')}' type='unavailable'/>")
    cave.flush(bob)
    cave.say(carol, "still here")
    assert cave.expect_body(alice, "thirdwitch", "still here")


def test_an_ad_hoc_room_ends_with_its_last_occupant(alice, bob):
    cave = Room("cave").create(alice, "firstwitch", persistentroom=False)
    cave.say(alice, "secret")
    cave.leave(alice, "firstwitch")
    got = cave.enter(bob, "secondwitch")
    assert {110, 201} <= got.own.codes and got.bodies == []
    assert got.own.standing == ("owner", "moderator")


def test_a_persistent_room_waits(alice, bob):
    cave = Room("cave").create(alice, "firstwitch", persistentroom=True)
    cave.leave(alice, "firstwitch")
    got = cave.enter(bob, "secondwitch")
    assert 201 not in got.own.codes and got.own.standing == ("none", "participant")


# --- sessions that are resumed (XEP-0198) ---


def test_a_resumed_session_is_still_in_the_room(server, alice, bob):
    cave = Room("cave").create(alice, "firstwitch")
    old = server.login("bob", "sm")
    old.enable_sm()
    old.available()
    cave.enter(old, "secondwitch")
    old.cut()
    cave.say(alice, "while you were away")
    cave.expect_body(alice, "firstwitch", "while you were away")
    new = server.connect("bob")
    assert new.take_over(old).tag.endswith("}resumed")
    cave.expect_body(new, "firstwitch", "while you were away")
    cave.say(new, "back")
    assert cave.expect_body(alice, "secondwitch", "back")
    cave.expect_nothing(alice, "<presence type='unavailable'/>", after=[new])


# --- presence that is not broadcast ---


def test_presence_of_some_roles_is_not_shown(alice, bob, carol, cave):
    """muc#roomconfig_presencebroadcast: visitors come and go unseen, but see themselves."""
    cave.leave(bob, "secondwitch")
    cave.configure(alice, moderatedroom=True, presencebroadcast=["moderator", "participant"])
    cave.forget(carol)
    own = cave.enter(bob, "secondwitch").own
    assert own.standing == ("none", "visitor")
    cave.expect_nothing(carol, f"<presence from='{cave.at('secondwitch')}'/>", after=[bob])
    cave.leave(bob, "secondwitch")
    cave.expect_nothing(carol, f"<presence from='{cave.at('secondwitch')}'/>", after=[bob])


def test_who_loses_a_role_that_is_shown_goes_out_of_sight(alice, bob, carol, cave):
    """Others see bob leave, and enter when he is visible again; bob sees his own role."""
    cave.configure(alice, presencebroadcast=["moderator", "participant"])
    cave.forget(alice, bob, carol)
    cave.set_role(alice, "secondwitch", "visitor")
    for client in (alice, carol):
        assert cave.presence(client, "secondwitch").gone
    own = cave.presence(bob, "secondwitch")
    assert own.type is None and own.role == "visitor"
    cave.leave(carol, "thirdwitch")
    assert set(cave.enter(carol, "thirdwitch").others) == {"firstwitch"}
    cave.set_role(alice, "secondwitch", "participant")
    for client in (alice, carol):
        seen = cave.presence(client, "secondwitch")
        assert seen.type is None and seen.role == "participant"
    cave.leave(bob, "secondwitch")
    assert cave.presence(carol, "secondwitch").gone


def test_roles_that_are_shown_change(alice, bob, carol, cave):
    cave.set_role(alice, "secondwitch", "visitor")
    cave.forget(alice, bob, carol)
    cave.configure(alice, presencebroadcast=["moderator"])
    for nick in ("secondwitch", "thirdwitch"):
        assert cave.presence(alice, nick).gone
    cave.leave(bob, "secondwitch")
    cave.expect_nothing(alice, f"<presence from='{cave.at('secondwitch')}'/>", after=[bob])
    cave.configure(alice, presencebroadcast=["moderator", "participant", "visitor"])
    seen = cave.presence(alice, "thirdwitch")
    assert seen.type is None and seen.role == "participant"
    cave.expect_nothing(alice, f"<presence from='{cave.at('secondwitch')}'/>")


def test_seen_is_what_was_sent(alice, bob, cave):
    """An occupant's own presence is told to it with its real standing, whoever asks."""
    bob.send(f"<presence to='{cave.at('secondwitch')}'><status>x</status></presence>")
    seen = Seen(cave.expect(bob, "presence", "secondwitch"))
    assert 110 in seen.codes and seen.status == "x"
