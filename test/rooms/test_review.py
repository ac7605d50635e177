"""What rooms must not do even for those who mean harm: tell who somebody is, let in or throw out
who should not be, and do much work for little (XEP-0045 §13, XEP-0410)."""
import pytest

from harness import muc, xml
from harness.component import Component
from harness.muc import Room, disco_info, disco_items, submit
from archive.test_mam import MAM, query_text, tag
from rooms.test_archive import Page

DOMAIN = "bots.example.test"
SECRET = "a rather long secret"
BLOCKING = "urn:xmpp:blocking"
PUBSUB = "http://jabber.org/protocol/pubsub"
HIDDEN = f"<x xmlns='{muc.NS}'><hidden xmlns='urn:muster:rooms:0'/></x>"
TYPING = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
PING = "<ping xmlns='urn:xmpp:ping'/>"


def error(condition):
    return (f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            "</error>")


@pytest.fixture
def cave(alice):
    return Room("cave").create(alice, "first")


@pytest.fixture
def bots(make_server):
    """A server, with clients of alice and bob, and a component."""
    server = make_server("alice", "bob", component=True)
    server.ctl("component", "add", DOMAIN, "--secret", SECRET)
    return server.client("alice", "a"), server.client("bob", "b"), Component(server, DOMAIN, SECRET)


# --- who is thrown out ---


def test_who_blocks_an_occupant_stays_in_the_room(alice, bob, cave):
    """The account answers private messages of whom it blocks with an error (XEP-0191 §3); its
    client is in the room all the same."""
    cave.enter(bob, "second")
    alice.result("set", f"<block xmlns='{BLOCKING}'><item jid='{cave.at('second')}'/></block>")
    cave.forget(alice, bob)
    cave.whisper(bob, "first", "psst")
    cave.flush(alice, bob)
    cave.say(alice, "still here")
    cave.expect_body(bob, "first", "still here")
    assert not [e for e in bob.inbox if e.get("type") == "unavailable"]


@pytest.mark.parametrize("kind", ["message", "presence"])
def test_errors_of_a_client_that_is_here_say_nothing(alice, bob, cave, kind):
    """Of a session of ours: whether it is there is known by itself (§18.1)."""
    cave.enter(bob, "second")
    cave.forget(alice)
    gone = error("service-unavailable")
    bob.send(f"<{kind} type='error' to='{cave.at('first')}'>{gone}</{kind}>")
    cave.flush(bob)
    cave.say(bob, "still here")
    cave.expect_body(alice, "second", "still here")


def test_errors_that_say_nothing_of_where_one_is(bots):
    """§18.1: only those that mean that nobody is there any more."""
    alice, _, bot = bots
    cave = Room("cave").create(alice, "first")
    who = f"bot@{DOMAIN}/r"
    bot.send(f"<presence from='{who}' to='{cave.at('bot')}'>{muc.X}</presence>")
    cave.presence(alice, "bot")
    for condition, stays in (("policy-violation", True), ("not-acceptable", True),
                             ("recipient-unavailable", False)):
        bot.send(f"<presence type='error' from='{who}' to='{cave.at('first')}'>"
                 f"{error(condition)}</presence>")
        bot.send(f"<iq type='get' id='1' from='{who}' to='{cave}'>"
                 f"<query xmlns='{xml.DISCO_INFO}'/></iq>")
        bot.expect("<iq id='1'/>")
        cave.flush(alice)
        gone = [e for e in alice.inbox if e.get("type") == "unavailable"]
        assert bool(gone) != stays, condition


def test_errors_about_what_is_said_to_all_are_no_news_for_the_speaker(bots):
    """Of any condition, from a session here and from elsewhere: only a private message comes back
    to who sent it."""
    alice, bob, bot = bots
    cave = Room("cave").create(alice, "first")
    cave.enter(bob, "second")
    who = f"bot@{DOMAIN}/r"
    bot.send(f"<presence from='{who}' to='{cave.at('bot')}'>{muc.X}</presence>")
    cave.presence(alice, "bot")

    def refuse(client, sender, heard, condition):
        client.send(f"<message type='error' {sender} to='{cave.at('first')}' "
                    f"id='{heard.get('id')}'>{error(condition)}</message>")

    for client, sender, nick in (bob, "", "second"), (bot, f"from='{who}'", "bot"):
        for condition in "policy-violation", "resource-constraint", "forbidden":
            cave.say(alice, condition)
            refuse(client, sender, cave.expect_body(client, "first", condition), condition)
            cave.whisper(alice, nick, f"private {condition}")
            heard = client.expect(f"<message from='{cave.at('first')}' type='chat'/>")
            refuse(client, sender, heard, condition)
            back = alice.expect("<message type='error'/>")
            assert (back.get("from"), back.get("id")) == (cave.at(nick), heard.get("id"))
    refuse(bot, f"from='{who}'", cave.expect_body(bot, "first", "forbidden"), "service-unavailable")
    cave.gone(alice, "bot")
    cave.expect_nothing(alice, "<message type='error'/>", after=[bob])


# --- who may do what ---


def test_a_domain_is_no_owner(bots):
    """A room that a component makes belongs to the component, not to all of its users; and nobody
    makes a whole domain members by a registration."""
    alice, _, bot = bots
    lair, cave = Room("lair"), Room("cave").create(alice, "first", membersonly=True)
    bot.send(f"<presence from='{DOMAIN}/r' to='{lair.at('bot')}'>{muc.X}</presence>")
    bot.expect(f"<presence from='{lair.at('bot')}'/>")
    bot.send(f"<iq type='get' id='1' from='user@{DOMAIN}/r' to='{lair}'>"
             f"<query xmlns='{muc.OWNER}'/></iq>")
    assert bot.expect("<iq id='1'/>").get("type") == "error"
    bot.send(f"<iq type='get' id='2' from='{DOMAIN}/r' to='{lair}'>"
             f"<query xmlns='{muc.OWNER}'/></iq>")
    assert bot.expect("<iq id='2'/>").get("type") == "result"
    alice.send(f"<message to='{cave}'>" + submit(muc.REGISTER, {
        "muc#register_jid": DOMAIN, "muc#register_roomnick": "all", "muc#register_allow": True,
    }) + "</message>")
    cave.flush(alice)
    bot.send(f"<presence from='user@{DOMAIN}/r' to='{cave.at('bot')}'>{muc.X}</presence>")
    refused = bot.expect(f"<presence from='{cave.at('bot')}' to='user@{DOMAIN}/r'/>")
    assert xml.condition(refused) == "registration-required"


def test_who_is_no_administrator_any_more_does_not_listen_in_hiding(alice, bob, cave):
    cave.set_affiliation(alice, bob.bare, "admin")
    bob.send(f"<presence to='{cave.at('ghost')}'>{HIDDEN}</presence>")
    cave.forget(bob)
    cave.set_affiliation(alice, bob.bare, "member")
    assert 321 in cave.gone(bob, "ghost").codes
    cave.say(alice, "among us")
    cave.expect_body(alice, "first", "among us")
    cave.expect_nothing(bob, "<message/>", after=[alice])
    cave.expect_nothing(alice, f"<presence from='{cave.at('ghost')}'/>")


def test_what_looks_retracted_is_moderated_all_the_same(alice, bob):
    """Only the room says that something was taken back, and how much somebody has not read."""
    cave = Room("cave").create(alice, "first", persistentroom=True)
    cave.enter(bob, "second")
    cave.send(bob, "<body>rude</body><retracted xmlns='urn:xmpp:message-retract:1' id='x'/>"
              "<unread xmlns='urn:muster:rooms:0' count='7'/>")
    heard = cave.expect_body(alice, "second", "rude")
    assert not heard.findall("{urn:xmpp:message-retract:1}retracted")
    assert not heard.findall("{urn:muster:rooms:0}unread")
    ident = heard.find("{urn:xmpp:sid:0}stanza-id").get("id")
    alice.result("set", f"<moderate xmlns='urn:xmpp:message-moderate:1' id='{ident}'>"
                 "<retract xmlns='urn:xmpp:message-retract:1'/></moderate>", to=cave.jid)
    assert "rude" not in Page(alice, cave).bodies


def test_a_room_that_is_not_open_yet_takes_no_members(alice, bob):
    room = Room("egg")
    room.enter(alice, "first")
    form = submit(muc.REGISTER, {"muc#register_roomnick": "second"})
    query = f"<query xmlns='jabber:iq:register'>{form}</query>"
    condition, _ = bob.error("set", query, to=room.jid)
    assert condition == "item-not-found"


@muc.owners_may("self-add")
def test_a_registration_is_no_password(alice, bob, carol):
    """Where users add themselves, those do who have shown the password; for others somebody says
    yes. Members read the archive."""
    cave = Room("cave").create(alice, "first", persistentroom=True, passwordprotectedroom=True,
                               roomsecret="x", **{"x-muc#roomconfig_registration": True})
    cave.say(alice, "the plan")
    cave.expect_body(alice, "first", "the plan")
    cave.register(bob, "second")
    assert cave.message(alice, "", "normal").find(f"{{{muc.DATA}}}x") is not None
    assert bob.iq("set", query_text(), to=cave.jid).get("type") == "error"
    cave.enter(carol, "third", password="x")
    cave.register(carol, "third")
    cave.leave(carol, "third")
    assert Page(carol, cave).bodies == ["the plan"]


def test_registrations_are_no_way_to_flood_owners(make_server):
    server = make_server("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = Room("cave").create(alice, "first")
    form = submit(muc.REGISTER, {"muc#register_roomnick": "second"})
    for _ in range(50):
        bob.iq("set", f"<query xmlns='jabber:iq:register'>{form}</query>", to=cave.jid)
    cave.flush(alice)
    asked = [e for e in alice.inbox if e.find(f"{{{muc.DATA}}}x") is not None]
    assert 1 <= len(asked) <= 5


# --- what outsiders learn ---


@pytest.mark.parametrize("closed", [{"membersonly": True},
                                    {"passwordprotectedroom": True, "roomsecret": "x"}])
def test_what_goes_on_in_a_closed_room(alice, bob, carol, closed):
    """Its subject, how many are there, and whose it is are for those who may come in."""
    room = Room("closed").create(alice, "first", whois="anyone", **closed)
    room.set_affiliation(alice, bob.bare, "member")
    room.set_subject(alice, "the plan")
    room.expect_subject(alice, "first", "the plan")
    for reader in (alice, bob):
        info = disco_info(reader, room.jid)[2][muc.INFO]
        assert info["muc#roominfo_subject"] == "the plan" and "muc#roominfo_occupants" in info
    answer = carol.iq("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=room.jid)
    text = xml.canonical(answer)
    assert "the plan" not in text and "alice@" not in text and "roominfo_occupants" not in text


def test_outcasts_learn_nothing(alice, bob, carol):
    room = Room("open").create(alice, "first", whois="anyone")
    room.set_subject(alice, "the plan")
    room.expect_subject(alice, "first", "the plan")
    room.set_affiliation(alice, carol.bare, "outcast")
    assert disco_items(bob, room.jid) and not disco_items(carol, room.jid)
    text = xml.canonical(carol.iq("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=room.jid))
    assert "the plan" not in text and "alice@" not in text


def test_whose_presence_is_not_shown_is_not_listed(alice, bob, carol, cave):
    """muc#roomconfig_presencebroadcast leaves out roles for all who look, not for those inside."""
    cave.configure(alice, presencebroadcast=["moderator"])
    cave.enter(bob, "second")
    for reader in (alice, bob, carol):
        assert [jid for jid, _ in disco_items(reader, cave.jid)] == [cave.at("first")]


def test_applications_do_not_tell_who_is_in_a_closed_room(alice, bob, cave):
    cave.configure(alice, membersonly=True)
    kinds = []
    for nick in ("first", "nobody"):
        form = submit(muc.REGISTER, {"muc#register_roomnick": nick})
        answer = bob.iq("set", f"<query xmlns='jabber:iq:register'>{form}</query>", to=cave.jid)
        kinds.append((answer.get("type"), xml.condition(answer)
                      if answer.get("type") == "error" else None))
    # only that it is the second within so much time
    assert kinds == [("result", None), ("error", "resource-constraint")]


def test_hidden_occupants_are_not_found_by_private_messages(alice, bob, carol, cave):
    cave.set_affiliation(alice, bob.bare, "admin")
    bob.send(f"<presence to='{cave.at('ghost')}'>{HIDDEN}</presence>")
    cave.flush(bob)
    cave.enter(carol, "third")
    answers = []
    for nick in ("ghost", "nobody"):
        answers.append(cave.message_error(carol, cave.whisper(carol, nick, "there?")))
    assert answers[0] == answers[1] == ("item-not-found", "cancel")


def test_what_hidden_administrators_do_does_not_tell_that_they_are_here(alice, bob, carol, cave):
    cave.set_affiliation(alice, bob.bare, "owner")
    bob.send(f"<presence to='{cave.at('ghost')}'>{HIDDEN}</presence>")
    cave.flush(bob)
    cave.enter(carol, "third")
    cave.set_affiliation(bob, carol.bare, "member")
    assert cave.presence(carol, "third").actor is None
    cave.say(carol, "a word")
    ident = cave.expect_body(alice, "third", "a word").find("{urn:xmpp:sid:0}stanza-id").get("id")
    assert bob.error("set", f"<moderate xmlns='urn:xmpp:message-moderate:1' id='{ident}'>"
                     "<retract xmlns='urn:xmpp:message-retract:1'/></moderate>",
                     to=cave.jid) == ("forbidden", "auth")
    cave.set_role(bob, "third", "none")
    assert cave.gone(carol, "third").actor is None
    assert cave.destroy(bob).get("type") == "result"
    assert "ghost" not in "".join(xml.canonical(e) for c in (alice, carol) for e in c.inbox)


def test_requests_between_occupants_name_nobody(alice, bob, cave):
    """Answers of accounts and clients, and errors, do not say who it is behind a nickname."""
    alice.result("set", "<vCard xmlns='vcard-temp'><FN>First</FN></vCard>")
    alice.result("set", f"<pubsub xmlns='{PUBSUB}'><publish node='urn:x:open'><item id='1'>"
                 "<x xmlns='urn:x'/></item></publish><publish-options>" + submit(
                     PUBSUB + "#publish-options", {"pubsub#access_model": "open"})
                 + "</publish-options></pubsub>")
    cave.enter(bob, "second")
    for inner in ("<vCard xmlns='vcard-temp'/>", f"<pubsub xmlns='{PUBSUB}'><items "
                  "node='urn:x:open'/></pubsub>", f"<pubsub xmlns='{PUBSUB}'><items "
                  "node='urn:x:none'/></pubsub>", f"<pubsub xmlns='{PUBSUB}'><subscriptions/>"
                  "</pubsub>", f"<pubsub xmlns='{PUBSUB}'><affiliations/></pubsub>",
                  f"<pubsub xmlns='{PUBSUB}'><default/></pubsub>"):
        answer = bob.iq("get", inner, to=cave.at("first"))
        assert answer.get("from") == cave.at("first")
        assert "alice" not in xml.canonical(answer), xml.canonical(answer)


def test_the_account_of_two_occupants_answers_as_the_one_that_was_asked(server, alice, bob, cave):
    other = server.client("alice", "other")
    cave.enter(other, "third")
    cave.enter(bob, "second")
    for nick in ("first", "third"):
        answer = bob.iq("get", "<vCard xmlns='vcard-temp'/>", to=cave.at(nick))
        assert answer.get("from") == cave.at(nick)


# --- clients ask whether they are still there (XEP-0410) ---


def test_ping_of_oneself_in_a_room_that_is_gone(alice):
    """item-not-found would mean that the nickname is another now, and the client would stay where
    nobody hears it (XEP-0410 §3.2)."""
    assert alice.error("get", PING, to=Room("never").at("first"))[0] == "not-acceptable"


# --- much for little ---


def test_sessions_of_one_occupant_have_an_end(bots):
    alice, _, bot = bots
    cave = Room("cave").create(alice, "first")
    bot.send("".join(f"<presence from='bot@{DOMAIN}/{i}' to='{cave.at('bot')}'>{muc.X}</presence>"
                     for i in range(200)))
    refused = bot.expect("<presence type='error'/>")
    assert xml.condition(refused) == "resource-constraint"


def test_presence_of_any_size(server, alice, bob, cave):
    """All who come in are sent the presence of all who are there."""
    fits, long = "x" * 8000, "x" * 20000
    assert cave.refused(bob, "second", inner=f"<status>{long}</status>")[0] == "not-acceptable"
    cave.enter(bob, "second", inner=f"<status>{fits}</status>")
    cave.forget(alice)
    bob.send(f"<presence to='{cave.at('second')}'><status>{long}</status></presence>")
    assert cave.presence_error(bob)[0] == "not-acceptable"
    cave.expect_nothing(alice, "<presence/>", after=[bob])


# --- accounts ---


def test_who_types_to_an_occupant_is_not_kept(server, alice, bob, cave):
    """A private message is what it says; that it comes from a room makes it no content (XEP-0085,
    XEP-0313 §6.1). Invitations are kept."""
    cave.enter(bob, "second")
    cave.send(bob, TYPING, "first", "chat")
    cave.message(alice, "second", "chat")
    cave.whisper(bob, "first", "psst")
    cave.expect_body(alice, "second", "psst", "chat")
    alice.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><invite to='{bob.bare}'/></x>"
               "</message>")
    bob.expect(f"<message from='{cave}'/>")
    for client in (alice, bob):  # who sent it, and who was sent it
        client.iq("set", query_text())
        kept = [xml.canonical(e) for e in client.inbox if e.find(tag(MAM, "result")) is not None]
        assert ["psst" in e or "}invite" in e for e in kept] == [True, True], kept


@pytest.mark.parametrize("workers", [1, 4])
def test_what_is_said_to_occupants_is_acknowledged(make_server, workers):
    """The sender's own copy and what the room does with it are two reports; there is one of the
    room for what is not kept (XEP-0198 §4)."""
    server = make_server("alice", "bob", workers=workers, settings={"c2s.migration": "off"})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    bob.enable_sm()
    for i in range(4):
        room = Room(f"room{i}").create(alice, "first")
        room.enter(bob, "second")
        room.whisper(bob, "first", f"psst {i}")
        room.expect_body(alice, "second", f"psst {i}", "chat")
        room.send(bob, TYPING, "first", "chat")
        room.whisper(bob, "nobody", "psst")
        room.message_error(bob)
        room.say(bob, "hello")
    bob.wait_acked(4 * 6)


@pytest.mark.parametrize("origin", ["", "<origin-id xmlns='urn:xmpp:sid:0' id='o'/>"])
def test_a_private_message_is_kept_once(server, alice, bob, cave, origin):
    """However many sessions share the nickname: each hears it once, their account has one entry."""
    other = server.client("alice", "other")
    cave.enter(other, "first")
    cave.enter(bob, "second")
    cave.forget(alice, other)
    cave.send(bob, f"<body>psst</body>{origin}", "first", "chat")
    for client in (alice, other):
        cave.expect_body(client, "second", "psst", "chat")
    alice.iq("set", query_text())
    kept = [e for e in alice.inbox if e.find(tag(MAM, "result")) is not None]
    assert len(kept) == 1
    for client in (alice, other):  # and each has it once
        assert not [e for e in client.inbox if e.get("type") == "chat"]


# --- invitations ---


def test_declines_do_not_tell_who_is_here(make_server):
    """Whoever it names, in the room or not, in hiding or not: the sender is answered the same."""
    server = make_server("alice", "bob", "carol", settings={
        **muc.owners("anonymous"), "muc.message-rate": 1, "muc.message-burst": 5})
    alice, bob, carol = (server.client(name, "x") for name in ("alice", "bob", "carol"))
    told = []
    for who in (alice, bob, None):
        cave = Room(f"cave{len(told)}").create(alice, "first", whois="moderators")
        cave.set_affiliation(alice, bob.bare, "admin")
        bob.send(f"<presence to='{cave.at('ghost')}'>{HIDDEN}</presence>")
        cave.flush(bob)
        to = who.bare if who else "nobody@localhost"
        carol.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><decline to='{to}'/></x></message>"
                   * 60)
        cave.flush(carol)
        told.append(sum(e.get("type") == "error" for e in carol.inbox))
        carol.inbox.clear()
    assert told[0] > 0 and max(told) - min(told) <= 3, told
    bob.expect_nothing("<message><x xmlns='http://jabber.org/protocol/muc#user'><decline/></x>"
                       "</message>", after=carol)


def test_invitations_do_not_tell_who_is_banned(alice, bob, carol, cave):
    """The list of outcasts is for administrators (§9.2)."""
    cave.enter(bob, "second")
    cave.set_affiliation(alice, carol.bare, "outcast")
    invite = f"<x xmlns='{muc.USER}'><invite to='{carol.bare}'/></x>"
    bob.send(f"<message to='{cave}'>{invite}</message>")
    cave.expect_nothing(bob, "<message type='error'/>")
    alice.send(f"<message to='{cave}' id='i'>{invite}</message>")
    assert cave.message_error(alice, "i")[0] == "forbidden"


def test_many_invitations_count_as_many_messages(make_server):
    server = make_server("alice", "bob", settings={"muc.message-rate": 1, "muc.message-burst": 20})
    alice, bob = server.client("alice", "x"), server.client("bob", "x")
    cave = Room("cave").create(alice, "first")
    invite = f"<invite to='{bob.bare}'/>"
    cave.send(alice, f"<x xmlns='{muc.USER}'>{invite * 10}</x>", kind="normal")
    cave.send(alice, f"<x xmlns='{muc.USER}'>{invite * 45}</x>", kind="normal", ident="many")
    assert cave.message_error(alice, "many")[0] == "policy-violation"
    cave.flush(alice, bob)
    assert len([e for e in bob.inbox if e.get("from") == cave.jid
                and e.tag.endswith("}message")]) == 10


@muc.owners_may("anonymous")
def test_no_address_reaches_whoever_may_not_see_it(server, alice, bob, carol):
    """All that happens in a semi-anonymous room, as somebody sees it who is no moderator."""
    cave = Room("cave").create(alice, "first", whois="moderators", persistentroom=True,
                               moderatedroom=True)
    entered = cave.enter(carol, "third")
    heard = [seen.element for seen in (*entered.others.values(), entered.own)]
    cave.set_affiliation(alice, bob.bare, "member", nick="second")
    cave.enter(bob, "second")
    bob.send(f"<presence to='{cave.at('second')}'><show>away</show></presence>")
    bob.send(f"<presence to='{cave.at('two')}'/>")
    cave.gone(bob, "second")
    cave.say(bob, "hello")
    cave.whisper(bob, "third", "psst")
    cave.set_subject(alice, "the plan")
    ident = cave.expect_body(alice, "two", "hello").find("{urn:xmpp:sid:0}stanza-id").get("id")
    alice.result("set", f"<moderate xmlns='urn:xmpp:message-moderate:1' id='{ident}'>"
                 "<retract xmlns='urn:xmpp:message-retract:1'/><reason>rude</reason></moderate>",
                 to=cave.jid)
    for role in ("visitor", "participant", "moderator", "participant", "none"):
        cave.set_role(alice, "two", role, reason="so")
    cave.enter(bob, "second")
    for affiliation in ("admin", "owner", "member", "outcast", "none", "member"):
        cave.set_affiliation(alice, bob.bare, affiliation, reason="so")
    cave.enter(bob, "second")
    cave.configure(alice, moderatedroom=False, roomname="Cave")
    carol.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><invite to='nobody@localhost'/></x>"
               "</message>")
    heard += Page(carol, cave).messages
    heard += [carol.iq("get", f"<query xmlns='{ns}'/>", to=cave.jid)
              for ns in (xml.DISCO_INFO, xml.DISCO_ITEMS, "jabber:iq:register")]
    bob.cut()
    cave.gone(alice, "second")
    cave.destroy(alice, "<reason>over</reason>")
    cave.gone(carol, "third")
    seen = [xml.canonical(e) for e in [*heard, *carol.inbox]]
    assert len(seen) > 20 and not [e for e in seen if "alice@" in e or "bob@" in e]


def test_what_stands_beside_a_subject(alice, cave):
    """All of it is kept, and sent to all who enter."""
    cave.send(alice, f"<subject>s</subject><x xmlns='urn:x'>{'y' * 20000}</x>", ident="long")
    assert cave.message_error(alice, "long")[0] == "not-acceptable"
