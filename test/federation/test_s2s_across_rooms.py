"""Rooms, publish-subscribe services, push services, the proxy and uploads of one server, as users
of another one have them."""
import re

import pytest

from harness import across, muc, pubsub, xml
from harness.across import ONE, OTHER
from harness.client import until
from harness.component import Component
from harness.muc import Room

from services.test_proxy65 import BYTESTREAMS, Side, activate, address
from services.test_push import PUSH, SECRET, announcement, enable
from services.test_upload import NS as UPLOAD, http_do

MAM = "urn:xmpp:mam:2"


@pytest.fixture
def servers(make_server, tmp_path):
    return across.start(make_server, tmp_path)


@pytest.fixture
def users(servers):
    one, other = servers
    return one.client("alice", "a"), other.client("bob", "b")


@pytest.fixture
def cave(users):
    """A room of alice with bob in it."""
    alice, bob = users
    room = Room("cave", ONE)
    room.create(alice, "owner", persistentroom=True)
    room.enter(bob, "guest")
    room.forget(alice, bob)
    return room


# --- rooms ---


def test_what_occupants_say_and_are(users, cave):
    alice, bob = users
    for speaker, nick in (alice, "owner"), (bob, "guest"):
        cave.say(speaker, f"by {nick}")
        for listener in users:
            cave.expect_body(listener, nick, f"by {nick}")
    cave.whisper(alice, "guest", "to bob")
    assert bob.expect(f"<message from='{cave.at('owner')}' type='chat'>"
                      f"<body>to bob</body></message>").find(f"{{{muc.USER}}}x") is not None
    cave.whisper(bob, "owner", "to alice")
    alice.expect(f"<message from='{cave.at('guest')}' type='chat'><body>to alice</body></message>")
    cave.set_subject(alice, "weather")
    cave.expect_subject(bob, "owner", "weather")
    bob.send(f"<presence to='{cave.at('guest')}'><show>away</show></presence>")
    assert cave.presence(alice, "guest").show == "away"
    bob.send(f"<presence to='{cave.at('second')}'/>")
    assert 303 in cave.gone(alice, "guest").codes
    assert cave.presence(alice, "second").nick == "second"
    cave.leave(bob, "second")
    cave.gone(alice, "second")


@pytest.mark.parametrize("by", ["blocking", "list"])
def test_who_blocks_an_occupant_stays_in_the_room(users, cave, by):
    """... and nobody learns of it: no error comes back to the room."""
    alice, bob = users
    if by == "blocking":
        block = f"<block xmlns='urn:xmpp:blocking'><item jid='{cave.at('owner')}'/></block>"
        bob.result("set", block)
    else:
        bob.result("set", "<query xmlns='jabber:iq:privacy'><list name='l'><item type='jid' "
                   f"value='{cave.at('owner')}' action='deny' order='1'/></list></query>")
        bob.result("set", "<query xmlns='jabber:iq:privacy'><active name='l'/></query>")
    for n in range(3):
        cave.say(alice, f"unheard {n}")
        cave.expect_body(alice, "owner", f"unheard {n}")
    cave.say(bob, "still here")
    for listener in users:
        cave.expect_body(listener, "guest", "still here")
    for client in users:
        assert not [e for e in client.inbox if e.get("type") in ("error", "unavailable")]
        assert not [e for e in client.inbox if "unheard" in xml.canonical(e)]


def test_who_blocks_the_sender_of_a_private_message_stays_in_the_room(users, cave):
    """The error that comes back says nothing of the session."""
    alice, bob = users
    block = f"<block xmlns='urn:xmpp:blocking'><item jid='{cave.at('owner')}'/></block>"
    bob.result("set", block)
    for kind in "chat", "normal":
        alice.send(f"<message to='{cave.at('guest')}' type='{kind}' id='p'><body>hi</body>"
                   "</message>")
        error = alice.expect(f"<message type='error' id='p' from='{cave.at('guest')}'/>")
        assert xml.condition(error) == "service-unavailable"
    cave.say(bob, "still here")
    for listener in users:
        cave.expect_body(listener, "guest", "still here")


def test_names_that_are_taken(servers, users, cave):
    assert cave.refused(servers[1].client("dave"), "owner") == ("conflict", "cancel")


def test_requests_between_occupants(users, cave):
    alice, bob = users
    for one, other, nick in (alice, bob, "guest"), (bob, alice, "owner"):
        one.send(f"<iq type='get' id='v' to='{cave.at(nick)}'>"
                 "<query xmlns='jabber:iq:version'/></iq>")
        got = other.expect("<iq type='get'><query xmlns='jabber:iq:version'/></iq>")
        other.send(f"<iq type='result' id='{got.get('id')}' to='{got.get('from')}'/>")
        one.expect(f"<iq type='result' id='v' from='{cave.at(nick)}'/>")


def test_history_and_archive_from_outside(servers, users, cave):
    alice, bob = users
    for n in range(3):
        cave.say(alice, f"m{n}")
        cave.expect_body(bob, "owner", f"m{n}")
    dave = servers[1].client("dave")
    assert cave.enter(dave, "third").bodies == ["m0", "m1", "m2"]
    bob.send(f"<iq type='set' id='q' to='{cave}'><query xmlns='{MAM}'/></iq>")
    bob.expect("<iq id='q' type='result'/>")
    found = [e for e in bob.inbox if e.find(f"{{{MAM}}}result") is not None]
    assert [b.text for e in found for b in e.iter(f"{{{xml.CLIENT}}}body")] == ["m0", "m1", "m2"]


def test_affiliations_of_other_users(users, cave):
    alice, bob = users
    cave.set_affiliation(alice, bob.bare, "member")
    assert cave.presence(bob, "guest").affiliation == "member"
    cave.set_affiliation(alice, bob.bare, "admin")
    assert cave.presence(bob, "guest").affiliation == "admin"
    assert cave.jids(bob, "owner") == {alice.bare}
    cave.set_affiliation(alice, bob.bare, "owner")
    assert cave.presence(bob, "guest").affiliation == "owner"
    cave.configure(bob, roomname="of both")
    assert cave.configuration(alice)["muc#roomconfig_roomname"] == "of both"


def test_kicks_and_bans(servers, users, cave):
    alice, bob = users
    cave.set_role(alice, "guest", "none", "out")
    gone = cave.gone(bob, "guest")
    assert 307 in gone.codes and gone.reason == "out"
    cave.enter(bob, "guest")
    cave.set_affiliation(alice, bob.bare, "outcast")
    assert 301 in cave.gone(bob, "guest").codes
    assert cave.refused(bob, "guest") == ("forbidden", "auth")


def test_a_domain_is_banned(servers, users, cave):
    alice, bob = users
    cave.set_affiliation(alice, OTHER, "outcast")
    assert 301 in cave.gone(bob, "guest").codes
    assert cave.refused(servers[1].client("dave"), "third") == ("forbidden", "auth")
    cave.enter(servers[0].client("carol"), "third")


def test_a_room_for_members_and_invitations(servers, users, cave):
    alice, bob = users
    dave, carol = servers[1].client("dave"), servers[0].client("carol")
    cave.set_affiliation(alice, bob.bare, "member")
    cave.configure(alice, membersonly=True, allowinvites=True)
    assert cave.refused(dave, "third") == ("registration-required", "auth")
    for inviter, invited in (alice, dave), (bob, carol):
        inviter.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><invite to='{invited.bare}'>"
                     "<reason>come</reason></invite></x></message>")
        invited.expect(f"<message from='{cave}'><x xmlns='{muc.USER}'><invite>"
                       "<reason>come</reason></invite></x></message>")
        cave.enter(invited, invited.name)
    carol.send(f"<message to='{bob.bare}'><x xmlns='jabber:x:conference' jid='{cave}'/></message>")
    bob.expect(f"<message from='{carol}'><x xmlns='jabber:x:conference' jid='{cave}'/></message>")


def test_an_invitation_is_declined(servers, users, cave):
    alice, _ = users
    dave = servers[1].client("dave")
    alice.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><invite to='{dave.bare}'/></x>"
               "</message>")
    dave.expect(f"<message from='{cave}'><x xmlns='{muc.USER}'><invite/></x></message>")
    dave.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><decline to='{alice.bare}'>"
              "<reason>no</reason></decline></x></message>")
    alice.expect(f"<message from='{cave}'><x xmlns='{muc.USER}'><decline from='{dave.bare}'>"
                 "<reason>no</reason></decline></x></message>")


def test_registration(servers, users, cave):
    cave.set_affiliation(users[0], users[1].bare, "member")
    cave.register(users[1], "reserved")
    for server, name in zip(servers, ("carol", "dave")):
        assert cave.refused(server.client(name), "reserved") == ("conflict", "cancel")


def test_a_room_is_found_and_destroyed(users, cave):
    alice, bob = users
    assert str(cave) in {jid for jid, _ in muc.disco_items(bob, f"conference.{ONE}")}
    _, features, _ = muc.disco_info(bob, str(cave))
    assert "http://jabber.org/protocol/muc" in features
    cave.destroy(alice, "<reason>dark</reason>")
    gone = cave.gone(bob, "guest")
    assert gone.destroy is not None


CHAT, ECHO = f"chat.{ONE}", f"echo.{ONE}"
OFF, ON = ("set", "muc.enabled", "off"), ("set", "muc.enabled", "on")
DELETE, ADD = ("room-alias", "del", CHAT, "--force"), ("room-alias", "add", CHAT)


@pytest.mark.parametrize("link", ["up", "closed"])
@pytest.mark.parametrize("domain, end, again", [(f"conference.{ONE}", OFF, ON), (CHAT, OFF, ON),
                                                (CHAT, DELETE, ADD)],
                         ids=["off", "alias-off", "alias-deleted"])
def test_occupants_hear_that_the_service_is_gone(make_server, tmp_path, domain, end, again, link):
    """Those of this server, of another one and of a component; also if there is no stream to that
    server, as it was idle."""
    one, other = across.start(make_server, tmp_path, component=True)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    one.ctl(*ADD)
    one.ctl("component", "add", ECHO, "--secret", SECRET)
    component = Component(one, ECHO, SECRET)
    room = Room("cave", ONE)
    room.jid = f"cave@{domain}"
    room.create(alice, "owner", persistentroom=True)
    room.enter(bob, "guest")
    component.send(f"<presence from='x@{ECHO}/r' to='{room.at('echo')}'>{muc.X}</presence>")
    component.expect(f"<presence from='{room.at('echo')}'/>")
    room.forget(alice, bob)
    if link == "closed":
        one.ctl("s2s", "close", OTHER)
        until("no stream", lambda: not one.rows("s2s", "list"))
    one.ctl(*end)
    for client, nick in (alice, "owner"), (bob, "guest"):
        assert {110, 332} <= set(room.gone(client, nick).codes)
    component.expect(f"<presence from='{room.at('echo')}' type='unavailable'/>")
    one.ctl(*again)
    room.enter(bob, "guest")
    room.say(bob, "again")
    room.expect_body(bob, "guest", "again")


def test_who_may_not_federate_any_more_hears_that_the_room_is_left(servers, users, cave):
    servers[1].ctl("federation", "set", users[1].bare, "off")
    assert 110 in cave.gone(users[1], "guest").codes
    cave.gone(users[0], "guest")


def test_who_is_in_a_room_whose_address_is_listed_hears_that_it_is_left(servers, users, cave,
                                                                        tmp_path):
    """The list of the server of the user; another room of that domain is not left."""
    other = Room("other", ONE)
    other.create(users[0], "owner")
    other.enter(users[1], "guest")
    listed = tmp_path / "blocklist"
    listed.write_text(f"{cave.jid}\n")
    servers[1].ctl("set", "federation.blocklist", str(listed))
    assert 110 in cave.gone(users[1], "guest").codes
    cave.gone(users[0], "guest")
    other.say(users[0], "hello")
    other.expect_body(users[1], "owner", "hello")


def test_foreign_occupants_neither_speak_nor_enter_without_instant_messages(servers, users, cave):
    """im.enabled, as for users of this server (im/test_messaging.py)."""
    alice, bob = users
    servers[0].ctl("set", "im.enabled", "off")
    for to, kind in (cave.jid, "groupchat"), (cave.at("owner"), "chat"):
        bob.send(f"<message to='{to}' type='{kind}' id='m'><body>hi</body></message>")
        error = bob.expect_error("not-allowed", "cancel", "<message type='error' id='m'/>")
        assert "instant messaging" in "".join(error.itertext())
        bob.send(f"<message to='{to}' type='{kind}'>"
                 "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
    bob.send(f"<presence to='{cave.at('guest')}'><show>away</show></presence>")
    assert cave.presence(alice, "guest").show == "away"
    cave.leave(bob, "guest")
    for to in cave.at("guest"), f"new@{str(cave.jid).partition('@')[2]}/guest":
        bob.send(f"<presence to='{to}' id='j'>{muc.X}</presence>")
        error = bob.expect_error("not-allowed", "cancel", "<presence type='error' id='j'/>")
        assert "instant messaging is turned off" in "".join(error.itertext())
    alice.expect_nothing("<message/>")
    servers[0].ctl("set", "im.enabled", "on")
    cave.enter(bob, "guest")


def test_self_ping(users, cave):
    alice, bob = users
    ping = "<ping xmlns='urn:xmpp:ping'/>"
    assert bob.iq("get", ping, to=cave.at("guest")).get("type") == "result"
    cave.set_role(alice, "guest", "none")
    cave.gone(bob, "guest")
    assert bob.error("get", ping, to=cave.at("guest"))[0] == "not-acceptable"


def test_who_ends_its_session_leaves(users, cave):
    alice, bob = users
    bob.close()
    cave.gone(alice, "guest")


# --- services ---


def test_a_node_of_a_service(servers, users):
    alice, bob = users
    service = f"pubsub.{ONE}"
    alice.result("set", pubsub.create("news", access_model="open"), to=service)
    bob.result("set", pubsub.subscribe("news", bob.bare), to=service)
    alice.result("set", pubsub.publish("news", None, "first"), to=service)
    pubsub.expect_event(bob, "news", service, "<item id='first'/>")
    assert pubsub.item_ids(bob.result("get", pubsub.get_items("news"), to=service)) == ["first"]
    assert bob.error("set", pubsub.publish("news", None, "x"), to=service)[0] == "forbidden"
    bob.result("set", pubsub.unsubscribe("news", bob.bare), to=service)
    alice.result("set", pubsub.publish("news", None, "second"), to=service)
    across.mark(alice, bob)
    bob.expect_nothing(f"<message from='{service}'/>")


def test_a_node_of_an_account(users):
    alice, bob = users
    alice.result("set", pubsub.create("urn:x:news", access_model="open"))
    bob.result("set", pubsub.subscribe("urn:x:news", bob.bare), to=alice.bare)
    alice.result("set", pubsub.publish("urn:x:news", None, "first"))
    pubsub.expect_event(bob, "urn:x:news", alice.bare, "<item id='first'/>")


@pytest.fixture
def pushed(make_server, tmp_path):
    """Alice is away and has a push service, a component of the other server: her server, the
    service, alice, and carol, who writes to her."""
    one, other = across.start(make_server, tmp_path, component=True)
    domain = f"proxy.{OTHER}"
    other.ctl("component", "add", domain, "--secret", SECRET)
    push = Component(other, domain, SECRET)
    alice, carol = one.client("alice", "phone"), one.client("carol")
    enable(alice, jid=domain)
    alice.close()
    return one, push, alice, carol


def test_push_by_a_service_of_another_server(pushed):
    """XEP-0357."""
    _, push, alice, carol = pushed
    carol.send(f"<message to='{alice.bare}' type='chat'><body>x</body></message>")
    iq = announcement(push)
    assert iq.get("from") == alice.bare and iq.find(f".//{{{PUSH}}}notification") is not None


RULES = {"domain": (("federation", "block", f"proxy.{OTHER}"),
                    ("federation", "allow", f"proxy.{OTHER}")),
         "user": (("federation", "set", f"alice@{ONE}", "off"),
                  ("federation", "set", f"alice@{ONE}", "default"))}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_keeps_a_push_service_away_ends_no_registration(pushed, rule):
    """This server's own refusals say nothing of the service, which is there again afterwards."""
    one, push, alice, carol = pushed
    begins, ends = RULES[rule]
    one.ctl(*begins)
    for n in range(6):
        carol.send(f"<message to='{alice.bare}' type='chat'><body>{n}</body></message>")
        until("it was refused", lambda n=n: len(re.findall("push.error", one.log())) > n)
    one.ctl(*ends)
    carol.send(f"<message to='{alice.bare}' type='chat'><body>x</body></message>")
    assert announcement(push).get("from") == alice.bare


def test_the_proxy_carries_bytes_for_other_users(make_server, tmp_path):
    one, other = across.start(make_server, tmp_path, proxy65=True)
    alice, bob = one.client("alice"), other.client("bob")
    at = f"proxy.{ONE}"
    host = alice.result("get", f"<query xmlns='{BYTESTREAMS}'/>", to=at)
    assert host[0].get("jid") == at
    offer = (f"<query xmlns='{BYTESTREAMS}' sid='s'><streamhost jid='{at}' host='x' port='1'/>"
             "</query>")
    alice.send(f"<iq type='set' id='o' to='{bob}'>{offer}</iq>")
    bob.expect(f"<iq type='set' id='o' from='{alice}'/>")
    sides = [Side(one, at=at).join(address("s", alice, bob)) for _ in range(2)]
    bob.send(f"<iq type='result' id='o' to='{alice}'><query xmlns='{BYTESTREAMS}' sid='s'>"
             f"<streamhost-used jid='{at}'/></query></iq>")
    alice.expect("<iq type='result' id='o'/>")
    alice.result("set", activate("s", bob), to=at)
    sides[0].sock.sendall(b"hello")
    assert sides[1].read(5) == b"hello"


def test_a_link_to_a_file(servers, users):
    one, _ = servers
    alice, bob = users
    reply = alice.iq("get", f"<request xmlns='{UPLOAD}' filename='a' size='5'/>",
                     to=f"upload.{ONE}")
    put, get = (reply.find(f".//{{{UPLOAD}}}{way}").get("url") for way in ("put", "get"))
    assert http_do(one, "PUT", put, b"hello").status == 201
    alice.send(f"<message to='{bob}' type='chat'><body>{get}</body></message>")
    link = bob.expect(f"<message from='{alice}'><body/></message>").findtext(
        f"{{{xml.CLIENT}}}body")
    assert http_do(one, "GET", link).body == b"hello"
    assert bob.error("get", f"<request xmlns='{UPLOAD}' filename='a' size='5'/>",
                     to=f"upload.{ONE}")[0] in ("forbidden", "not-allowed", "service-unavailable")
