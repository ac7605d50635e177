"""Users who are known to other servers by their mail addresses (federation.mail-address)."""
import contextlib
import re

import pytest

from harness import across, federation, muc, pubsub, xml
from harness.across import (BLOCKING, CARBONS, MAM, ONE, OTHER, RECEIPTS, VERSION,
                            pushed)
from harness.client import follow, until
from harness.federation import Peer
from harness.muc import Room
from harness.server import refusal

from operate.test_rename import rename

MAIL = {"alice": f"alice.smith@{ONE}", "carol": f"carol.jones@{ONE}", "bob": f"bob.brown@{OTHER}"}


def used(server, count, shared=0):
    """The server has read so many addresses, the last time that it read them."""
    until("addresses", lambda: re.findall(r"mail-address.read used=(\d+) shared=(\d+)",
                                          server.log())[-1:] == [(str(count), str(shared))])


@contextlib.contextmanager
def read_again(server):
    """The addresses are read after what changes one."""
    before = server.log().count("event=mail-address.read")
    yield
    until("addresses", lambda: server.log().count("event=mail-address.read") > before)


@pytest.fixture
def servers(make_server, tmp_path):
    one, other = across.start(make_server, tmp_path)
    for server in one, other:
        server.ctl("set", "federation.mail-address", "on")
    for server, name in (one, "alice"), (one, "carol"), (other, "bob"):
        domain = ONE if server is one else OTHER
        server.ctl("user", "set", f"{name}@{domain}", "--email", MAIL[name].replace("b", "B", 1))
    used(one, 2), used(other, 1)
    return one, other


@pytest.fixture
def users(servers):
    one, other = servers
    return one.client("alice", "a"), other.client("bob", "b")


def mail(client, resource=""):
    return MAIL[client.name] + (f"/{resource}" if resource else "")


@pytest.fixture
def friends(users):
    for client in users:
        across.roster_of(client)
    for (one, other) in (users, users[::-1]):
        follow(one, other, mail(other), mail(one))
    for (one, other), resource in ((users, "b"), (users[::-1], "a")):
        one.expect(f"<presence from='{mail(other, resource)}' type='-'/>")
        pushed(one, mail(other), subscription="both")
        one.drain()
    return users


def test_a_chat_both_ways(users):
    alice, bob = users
    for n in range(3):
        alice.send(f"<message to='{mail(bob)}' type='chat' id='a{n}'><body>to Bob</body>"
                   f"<request xmlns='{RECEIPTS}'/></message>")
        got = bob.expect(f"<message from='{mail(alice, 'a')}' id='a{n}'><body>to Bob</body>"
                         "</message>")
        assert xml.canonical(got).count(ONE) == 1
        assert got.get("to") in (bob.bare, str(bob))
        bob.send(f"<message to='{got.get('from')}' type='chat' id='b{n}'>"
                 f"<received xmlns='{RECEIPTS}' id='a{n}'/></message>")
        got = alice.expect(f"<message from='{mail(bob, 'b')}' to='{alice}'>"
                           f"<received xmlns='{RECEIPTS}' id='a{n}'/></message>")


def test_the_address_of_the_account_is_still_reached(users):
    alice, bob = users
    bob.send(f"<message to='{alice.bare}' type='chat'><body>old</body></message>")
    alice.expect(f"<message from='{mail(bob, 'b')}'><body>old</body></message>")


@pytest.mark.parametrize("resource", ["", "/a"], ids=["bare", "full"])
def test_a_trace_finds_messages_by_both_addresses(servers, users, resource):
    """Operators elsewhere can name the mail address only."""
    one, _ = servers
    alice, bob = users
    alice.send(f"<message to='{mail(bob)}' type='chat' id='m1'><body>hello</body></message>")
    bob.expect("<message id='m1'/>")
    bob.send(f"<message to='{mail(alice, 'a')}' type='chat' id='m2'><body>hello</body></message>")
    alice.expect("<message id='m2'/>")
    for option, ident in ("--from", "m1"), ("--to", "m2"):
        def found(address, option=option):
            return [(r["event"], r["id"]) for r in
                    one.rows("trace", "message", option, address + resource)]
        by_mail = until("all steps", lambda: len(steps := found(MAIL["alice"])) > 1 and
                        steps == found(alice.bare) and steps)
        assert {i for _, i in by_mail} == {ident}
    assert one.rows("trace", "message", "--from", MAIL["carol"]) == []


def test_presence_and_rosters(servers, friends):
    alice, bob = friends
    assert across.roster_of(alice) == {mail(bob): ("both", None)}
    assert across.roster_of(bob) == {mail(alice): ("both", None)}
    alice.send("<presence><show>away</show></presence>")
    bob.expect(f"<presence from='{mail(alice, 'a')}'><show>away</show></presence>")
    bob.close()
    alice.expect(f"<presence from='{mail(bob, 'b')}' type='unavailable'/>")
    bob = servers[1].client("bob", "again")
    alice.expect(f"<presence from='{mail(bob, 'again')}' type='-'/>")
    bob.expect(f"<presence from='{mail(alice, 'a')}'><show>away</show></presence>")


ASKED = ["<vCard xmlns='vcard-temp'/>", "<query xmlns='jabber:iq:last'/>",
         "<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='jabber:iq:version'/>",
         "<query xmlns='jabber:iq:roster'/>", "<query xmlns='jabber:iq:register'/>",
         *(f"<query xmlns='http://jabber.org/protocol/disco#{what}'{node}/>"
           for what in ("info", "items")
           for node in ("", " node='http://jabber.org/protocol/commands'", " node='x'")),
         *(f"<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{node}'/></pubsub>"
           for node in ("urn:xmpp:vcard4", "urn:xmpp:avatar:metadata", "urn:xmpp:bookmarks:1",
                        "http://jabber.org/protocol/nick"))]


@pytest.mark.parametrize("asked", ASKED)
def test_no_answer_names_the_account(friends, asked):
    """What anybody may ask of an address: of an account without a name, too."""
    alice, bob = friends
    got = bob.iq("get", asked, to=mail(alice))
    assert "alice@" not in xml.canonical(got) and ">alice<" not in xml.canonical(got)
    assert got.get("from") == mail(alice)


def test_requests_and_their_errors(friends):
    alice, bob = friends
    bob.send(f"<iq type='get' id='v' to='{mail(alice, 'a')}'><query xmlns='{VERSION}'/></iq>")
    got = alice.expect(f"<iq type='get' from='{mail(bob, 'b')}' to='{alice}'/>")
    alice.send(f"<iq type='result' id='{got.get('id')}' to='{got.get('from')}'/>")
    bob.expect(f"<iq type='result' id='v' from='{mail(alice, 'a')}' to='{bob}'/>")
    bob.send(f"<iq type='get' id='w' to='{mail(alice)}'><query xmlns='urn:example:no'/></iq>")
    bob.expect(f"<iq type='error' id='w' from='{mail(alice)}'/>")
    bob.send(f"<message to='nobody@{ONE}' type='chat' id='n'><body>x</body></message>")
    bob.expect(f"<message type='error' id='n' from='nobody@{ONE}'/>")


DISCO = "http://jabber.org/protocol/disco#info"


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_answers_come_from_the_address_that_was_asked(users, number):
    """RFC 6120 §8.1.2.1. Also where ids look like those by which the server remembers it."""
    alice, bob = users
    own = {str(alice): alice.bare, mail(alice, "a"): mail(alice)}
    for to, bare in own.items():
        other = next(v for v in own.values() if v != bare)
        for iq_id in "v", f"named-{number}:v", f"named-{number}:named-{number}:v", "named-":
            bob.send(f"<iq type='get' id='{iq_id}' to='{to}'><query xmlns='{VERSION}'/></iq>")
            got = alice.expect(f"<iq type='get' from='{mail(bob, 'b')}' to='{alice}'/>")
            alice.send(f"<iq type='result' id='{got.get('id')}' to='{got.get('from')}'>"
                       f"<query xmlns='{VERSION}'><name>by {alice.bare}</name></query></iq>")
            bob.expect(f"<iq type='result' id='{iq_id}' from='{to}' to='{bob}'/>")
            for payload in f"<query xmlns='{DISCO}'/>", "<query xmlns='urn:example:no'/>":
                bob.send(f"<iq type='get' id='{iq_id}' to='{bare}'>{payload}</iq>")
                got = bob.expect(f"<iq id='{iq_id}' from='{bare}' to='{bob}'/>")
                assert other not in xml.canonical(got)
    bob.send(f"<iq type='get' id='named-{number}:w' to='nobody@{ONE}'><query "
             f"xmlns='{VERSION}'/></iq>")
    bob.expect(f"<iq type='error' id='named-{number}:w' from='nobody@{ONE}'/>")
    bob.send(f"<iq type='get' id='named-{number}:x' to='{ONE}'><query xmlns='{VERSION}'/></iq>")
    bob.expect(f"<iq type='result' id='named-{number}:x' from='{ONE}'/>")
    alice.send(f"<iq type='get' id='named-{number}:y' to='{OTHER}'><query "
               f"xmlns='{VERSION}'/></iq>")
    alice.expect(f"<iq type='result' id='named-{number}:y' from='{OTHER}'/>")


def test_errors_come_from_the_address_that_was_written_to(servers, users):
    alice, bob = users
    alice.result("set", f"<block xmlns='{BLOCKING}'><item jid='{mail(bob)}'/></block>")
    for to in alice.bare, str(alice), mail(alice), mail(alice, "a"):
        bob.send(f"<message to='{to}' type='chat' id='m'><body>x</body></message>")
        got = bob.expect(f"<message type='error' id='m' from='{to}'/>")
        assert xml.canonical(got).count(f"@{ONE}") == 1
        bob.send(f"<iq type='get' id='v' to='{to}'><query xmlns='{VERSION}'/></iq>")
        bob.expect(f"<iq type='error' id='v' from='{to}'/>")


def test_answers_to_what_no_client_sends(servers, users, tmp_path):
    """Malformed addresses and requests, as another server may send them."""
    alice, bob = users
    name = tmp_path / OTHER
    peer = Peer(servers[0], OTHER, ONE,
                {"certificate": f"{name}.pem", "key": f"{name}.key"}).join()
    for bare in alice.bare, mail(alice):
        peer.raw(f"<message from='{bob}' to='{bare}/\u2028' id='m'><body>x</body></message>")
        bob.expect(f"<message type='error' id='m' from='{bare}'><error type='modify'/></message>")
        for n in range(3):
            for kind in "type='no'", "":
                peer.raw(f"<iq {kind} from='{bob}' to='{bare}' id='named-{n}:i'><query "
                         f"xmlns='{DISCO}'/></iq>")
                bob.expect(f"<iq type='error' id='named-{n}:i' from='{bare}'/>")
        peer.raw(f"<iq type='get' from='{bob}' to='{bare}'><query xmlns='{DISCO}'/></iq>")
        bob.expect(f"<iq type='error' from='{bare}'/>")


def test_copies_archive_and_blocking(servers, friends):
    alice, bob = friends
    phone = servers[0].client("alice", "phone")
    phone.result("set", f"<enable xmlns='{CARBONS}'/>")
    alice.send(f"<message to='{mail(bob)}' type='chat'><body>copied</body></message>")
    copy = phone.expect(f"<message from='{alice.bare}'><sent xmlns='{CARBONS}'/></message>")
    inner = next(copy.iter(f"{{{xml.CLIENT}}}message"), copy)
    assert f"from={str(alice)!r}" in xml.canonical(copy) and inner is not None
    bob.expect("<message><body>copied</body></message>")
    for client, contact in (alice, mail(bob)), (bob, mail(alice)):
        client.send(f"<iq type='set' id='q'><query xmlns='{MAM}'><x xmlns='jabber:x:data' "
                    "type='submit'><field var='FORM_TYPE' type='hidden'>"
                    f"<value>{MAM}</value></field><field var='with'><value>{contact}</value>"
                    "</field></x></query></iq>")
        client.expect("<iq id='q' type='result'/>")
        assert [b.text for e in client.inbox if e.find(f"{{{MAM}}}result") is not None
                for b in e.iter(f"{{{xml.CLIENT}}}body")] == ["copied"]
        client.drain()
    bob.result("set", f"<block xmlns='{BLOCKING}'><item jid='{mail(alice)}'/></block>")
    alice.expect(f"<presence from='{mail(bob, 'b')}' type='unavailable'/>")
    alice.send(f"<message to='{mail(bob)}' type='chat' id='m'><body>no</body></message>")
    alice.expect(f"<message type='error' id='m' from='{mail(bob)}'/>")


def test_rooms_and_invitations(servers, users):
    alice, bob = users
    carol = servers[0].client("carol")
    cave = Room("cave", ONE)
    cave.create(alice, "owner", persistentroom=True, whois="anyone")
    alice.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><invite to='{mail(bob)}'/></x>"
               "</message>")
    bob.expect(f"<message from='{cave}' to='{bob.bare}'><x xmlns='{muc.USER}'>"
               f"<invite from='{mail(alice)}'/></x></message>")
    cave.enter(bob, "guest")
    assert cave.presence(alice, "guest").jid == mail(bob, "b")
    bob.send(f"<message to='{cave}'><x xmlns='{muc.USER}'><invite to='{mail(carol)}'/></x>"
             "</message>")
    carol.expect(f"<message from='{cave}' to='{carol.bare}'><x xmlns='{muc.USER}'>"
                 f"<invite from='{mail(bob)}'/></x></message>")
    bob.send(f"<presence to='{cave.at('guest')}' type='unavailable'/>")
    bob.drain()
    cave.knock(bob, "guest")
    found = bob.expect(f"<presence from='{cave.at('owner')}'/>")
    assert f"jid={mail(alice, 'a')!r}" in xml.canonical(found)
    assert alice.bare not in xml.canonical(found)


def test_who_adds_the_mail_address_does_not_see_the_account_for_ever(users):
    """Nothing more comes from it, so it is offline for that contact at once."""
    alice, bob = users
    bob.send(f"<presence to='{alice.bare}' type='subscribe'/>")
    alice.expect(f"<presence from='{mail(bob)}' type='subscribe'/>")
    alice.send(f"<presence to='{mail(bob)}' type='subscribed'/>")
    bob.expect(f"<presence from='{alice.bare}/a' type='-'/>")
    bob.send(f"<presence to='{mail(alice)}' type='subscribe'/>")
    bob.expect(f"<presence from='{alice.bare}/a' type='unavailable'/>")
    bob.expect(f"<presence from='{mail(alice, 'a')}' type='-'/>")
    alice.close()
    bob.expect(f"<presence from='{mail(alice, 'a')}' type='unavailable'/>")
    bob.expect_nothing(f"<presence from='{alice.bare}/a'/>")


def admins(room, client):
    return room.configuration(client)["muc#roomconfig_roomadmins"]


def test_forms_of_a_room(servers, users):
    """Whoever is abroad names users of ours by their mail addresses, and sees them by these."""
    alice, bob = users
    carol = servers[0].client("carol")
    cave = Room("cave", ONE)
    cave.create(carol, "carol", persistentroom=True, moderatedroom=True,
                roomowners=[carol.bare, mail(bob)], roomadmins=[alice.bare])
    assert admins(cave, bob) == [mail(alice)]
    assert admins(cave, carol) == [alice.bare]
    cave.configure(bob, roomadmins=[])
    assert admins(cave, carol) == []
    cave.configure(bob, roomadmins=[mail(alice)])
    assert admins(cave, carol) == [alice.bare]
    assert cave.enter(alice, "alice").own.standing == ("admin", "moderator")


def test_who_asks_for_voice_is_named_by_the_mail_address(servers, users):
    alice, bob = users
    cave = Room("cave", ONE)
    cave.create(servers[0].client("carol"), "carol", moderatedroom=True, roomowners=[mail(bob)])
    cave.enter(bob, "bob")
    cave.enter(alice, "alice")
    alice.send(f"<message to='{cave}'>" + muc.submit(muc.REQUEST, {"muc#role": "participant"})
               + "</message>")
    asked = bob.expect(f"<message from='{cave}'><x xmlns='{muc.DATA}'/></message>")
    assert muc.form_values(asked)["muc#jid"] == mail(alice, "a")
    assert alice.bare not in xml.canonical(asked)


def test_a_form_to_a_room_abroad(servers, users):
    """Else the room gives a right to an address that nobody uses."""
    alice, bob = users
    carol = servers[0].client("carol")
    cave = Room("cave", OTHER)
    cave.create(alice, "alice", persistentroom=True, roomadmins=[carol.bare])
    assert cave.enter(carol, "carol").own.standing == ("admin", "moderator")
    cave.configure(alice, roomowners=[alice.bare, mail(bob)])
    owners = cave.configuration(bob)["muc#roomconfig_roomowners"]
    assert set(owners) == {mail(alice), bob.bare}


def test_inside_nothing_changes(servers, users):
    alice, bob = users
    carol = servers[0].client("carol", "c")
    alice.send(f"<message to='{carol.bare}' type='chat'><body>in</body></message>")
    carol.expect(f"<message from='{alice}'><body>in</body></message>")
    alice.send(f"<message to='{mail(carol)}' type='chat' id='m'><body>in</body></message>")
    alice.expect(f"<message type='error' id='m' from='{mail(carol)}'/>")
    alice.send(f"<message to='{mail(bob)}' type='chat'><body>{alice.bare} jid='{alice.bare}'"
               "</body></message>")
    bob.expect(f"<message from='{mail(alice, 'a')}'><body>{alice.bare} jid='{alice.bare}'</body>"
               "</message>")


def test_an_address_of_two_accounts_is_not_used(servers, users):
    one, _ = servers
    alice, bob = users

    def written_by(client):
        client.send(f"<message to='{mail(bob)}' type='chat'><body>by</body></message>")
        return bob.expect("<message type='chat'><body>by</body></message>").get("from")

    assert written_by(alice) == mail(alice, "a")
    carol = one.client("carol", "c")
    one.ctl("user", "set", carol.bare, "--email", mail(alice))
    used(one, 0, 1)
    assert written_by(alice) == str(alice) and written_by(carol) == str(carol)
    bob.send(f"<message to='{mail(alice)}' type='chat' id='m'><body>x</body></message>")
    bob.expect(f"<message type='error' id='m' from='{mail(alice)}'/>")
    alarm = next(a for a in one.rows("alarm", "list") if a["name"] == "federation.mail-address")
    assert mail(alice) in alarm["detail"] and alice.bare in alarm["detail"]
    assert carol.bare in alarm["detail"]
    one.ctl("user", "set", carol.bare, "--email", alice.bare)
    until("alice has the address again", lambda: written_by(alice) == mail(alice, "a"))
    assert written_by(carol) == str(carol)
    one.ctl("user", "set", carol.bare, "--email", "")
    until("no alarm", lambda: not any(
        a["name"] == "federation.mail-address" for a in one.rows("alarm", "list")))


def test_a_mail_address_counts_at_once_after_an_account_was_deleted(servers, users):
    one, _ = servers
    alice, bob = users
    with read_again(one):
        one.ctl("user", "del", alice.bare)
    carol = one.client("carol", "c")
    with read_again(one):
        one.ctl("user", "set", carol.bare, "--email", f"new@{ONE}")
    carol.send(f"<message to='{mail(bob)}' type='chat'><body>by</body></message>")
    bob.expect(f"<message type='chat' from='new@{ONE}/c'><body>by</body></message>")


def test_a_mail_address_of_another_domain_is_not_used(servers, users):
    one, _ = servers
    alice, bob = users
    one.ctl("user", "set", alice.bare, "--email", "alice@elsewhere.test")
    used(one, 1)
    alice.send(f"<message to='{mail(bob)}' type='chat'><body>by</body></message>")
    bob.expect(f"<message from='{alice}'><body>by</body></message>")


@pytest.mark.parametrize("mail, why", [
    (f"alice@{OTHER}", "in another domain"), (f"carol@{ONE}", "several accounts"),
    ("no@such@thing", "no XMPP address"), (f"alice@{ONE}", "the same"), ("", "no mail address"),
    (MAIL["alice"], "the mail address of the account"), (None, "is off for this domain")])
def test_the_command_says_which_address_others_see_and_why(servers, mail, why):
    one, _ = servers
    alice = f"alice@{ONE}"
    if mail is None:
        one.ctl("set", "federation.mail-address", "off")
    else:
        one.ctl("user", "set", alice, "--email", mail)
    known = MAIL["alice"] if "of the account" in why else alice

    def told():
        row, = one.rows("federation", "address", alice)
        assert row["account"] == alice
        return row["address"] == known and why in row["why"]

    until("the address", told)
    assert "no account" in refusal(one, "federation", "address", f"nobody@{ONE}")


def test_a_deleted_account_takes_its_leave(servers, friends):
    one, other = servers
    alice, bob = friends
    one.ctl("user", "del", alice.bare)
    bob.expect(f"<presence from='{mail(alice, 'a')}' type='unavailable'/>")
    bob.close()
    bob = other.client("bob", "again")
    until("the contact has gone", lambda: across.roster_of(bob)[mail(alice)][0] in
          ("none", "from"))
    bob.send(f"<message to='{mail(alice)}' type='chat' id='m'><body>x</body></message>")
    bob.expect(f"<message type='error' id='m' from='{mail(alice)}'/>")


def test_after_a_restart_and_when_it_is_switched_off(servers, friends):
    one, _ = servers
    _, bob = friends
    one.restart()
    alice = one.client("alice", "a")
    bob.expect(f"<presence from='{mail(alice, 'a')}' type='-'/>")
    one.ctl("set", "federation.mail-address", "off")

    def writes_as_account():
        alice.send(f"<message to='{mail(bob)}' type='chat'><body>by</body></message>")
        return bob.expect("<message><body>by</body></message>").get("from") == str(alice)

    until("the address is not used any more", writes_as_account)


def test_what_waits_for_a_server_that_is_away(servers, users):
    one, other = servers
    alice, bob = users
    other.stop()
    alice.send(f"<message to='{mail(bob)}' type='chat'><body>waits</body></message>")
    one.restart()
    other.start()
    one.ctl("s2s", "retry", OTHER)
    bob = other.client("bob", "b")
    bob.expect(f"<message from='{mail(alice, 'a')}'><body>waits</body></message>")


def test_over_one_stream_of_both_directions(servers, users):
    """The other server cannot connect to this one."""
    one, other = servers
    alice, bob = users
    federation.route(other, ONE, federation.free_port())
    alice.send(f"<message to='{mail(bob)}' type='chat'><body>to</body></message>")
    bob.expect(f"<message from='{mail(alice, 'a')}'><body>to</body></message>")
    bob.send(f"<message to='{mail(alice)}' type='chat'><body>back</body></message>")
    alice.expect(f"<message from='{mail(bob, 'b')}' to='{alice.bare}'><body>back</body></message>")
    bob.send(f"<iq type='get' id='w' to='{mail(alice)}'><query xmlns='urn:example:no'/></iq>")
    bob.expect(f"<iq type='error' id='w' from='{mail(alice)}'/>")
    bob.send(f"<iq type='get' id='v' to='{mail(alice, 'a')}'><query xmlns='{VERSION}'/></iq>")
    got = alice.expect(f"<iq type='get' from='{mail(bob, 'b')}' to='{alice}'/>")
    alice.send(f"<iq type='result' id='{got.get('id')}' to='{got.get('from')}'/>")
    bob.expect(f"<iq type='result' id='v' from='{mail(alice, 'a')}' to='{bob}'/>")


def test_what_waits_is_judged_by_the_rules_of_the_account(servers, users):
    """The rule is made while it waits: of alice, who is known elsewhere by another address."""
    one, other = servers
    alice, bob = users
    carol = one.client("carol", "c")
    other.stop()
    for client in alice, carol:
        client.send(f"<message to='{mail(bob)}' type='chat' id='m'><body>{client.name}</body>"
                    "</message>")
        client.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    one.ctl("federation", "set", alice.bare, "off")
    one.restart()
    alice = one.client("alice", "a")
    other.start()
    one.ctl("s2s", "retry", OTHER)
    alice.expect(f"<message type='error' id='m' from='{mail(bob)}'/>")
    bob = other.client("bob", "b")
    bob.expect(f"<message from='{mail(carol, 'c')}'><body>carol</body></message>")
    assert not any(e.findtext(f"{{{xml.CLIENT}}}body") == "alice" for e in bob.inbox)


def test_rules_and_blocking_of_a_user_with_a_mail_address(servers, friends):
    """The error has the address that was written to, and is that of nobody."""
    one, _ = servers
    alice, bob = friends

    def refused(to):
        bob.send(f"<message to='{to}' type='chat' id='m'><body>x</body></message>")
        got = bob.expect(f"<message type='error' id='m' from='{to}'/>")
        return xml.canonical(got).replace(to, "")

    nobody = refused(f"nobody@{ONE}")
    alice.result("set", f"<block xmlns='{BLOCKING}'><item jid='{mail(bob)}'/></block>")
    assert refused(mail(alice)) == refused(alice.bare) == nobody
    alice.result("set", f"<unblock xmlns='{BLOCKING}'><item jid='{mail(bob)}'/></unblock>")
    one.ctl("federation", "set", alice.bare, "off")
    assert refused(mail(alice)) == refused(alice.bare) == nobody


def test_personal_events(friends):
    alice, bob = friends
    pubsub.publish(bob, "http://jabber.org/protocol/tune", "<item id='1'>"
                   "<tune xmlns='http://jabber.org/protocol/tune'/></item>")
    bob.send(f"<iq type='get' id='p' to='{mail(alice)}'><pubsub "
             "xmlns='http://jabber.org/protocol/pubsub'><items node='urn:example:none'/>"
             "</pubsub></iq>")
    bob.expect(f"<iq id='p' type='error' from='{mail(alice)}'/>")


def subscribes(one, other, to, known):
    """Asks by the address `to` and is answered from it; itself it is known as `known`."""
    follow(one, other, to, known)
    one.expect(f"<presence from='{to}/{str(other).rpartition('/')[2]}' type='-'/>")


def contacts_by_account(users):
    """Bob knows alice by the address of her account."""
    alice, bob = users
    for client in users:
        across.roster_of(client)
    subscribes(bob, alice, alice.bare, mail(bob))
    subscribes(alice, bob, mail(bob), alice.bare)
    pushed(bob, alice.bare, subscription="both")
    alice.expect("<iq type='set'><query xmlns='jabber:iq:roster'>"
                 f"<item jid='{mail(bob)}' subscription='both'/></query></iq>")
    for client in users:
        client.drain()


def test_a_contact_by_the_address_of_the_account(servers, users):
    """All that such a contact gets comes from there, and the mail address is never told."""
    one, other = servers
    alice, bob = users
    contacts_by_account(users)
    assert across.roster_of(bob) == {alice.bare: ("both", None)}
    alice.send("<presence><show>away</show></presence>")
    bob.expect(f"<presence from='{alice}'><show>away</show></presence>")
    alice.send(f"<message to='{mail(bob)}' type='chat'><body>begun</body></message>")
    bob.expect(f"<message from='{alice}'><body>begun</body></message>")
    alice.send(f"<iq type='get' id='v' to='{mail(bob, 'b')}'><query xmlns='{VERSION}'/></iq>")
    bob.expect(f"<iq type='get' from='{alice}' to='{bob}'/>")
    bob.send(f"<iq type='get' id='w' to='{mail(alice)}'><query xmlns='{DISCO}'/></iq>")
    bob.expect(f"<iq id='w' from='{mail(alice)}'/>")
    pubsub.publish(alice, "http://jabber.org/protocol/tune", "<item id='1'>"
                   "<tune xmlns='http://jabber.org/protocol/tune'/></item>")
    bob.close()
    bob = other.client("bob", "again")
    bob.expect(f"<presence from='{alice}'><show>away</show></presence>")
    alice.close()
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    one.restart()
    alice = one.client("alice", "a")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    across.roster_of(bob), across.roster_of(alice)
    alice.result("set", f"<query xmlns='{xml.ROSTER}'><item jid='{mail(bob)}' "
                        "subscription='remove'/></query>")
    bob.expect(f"<presence from='{alice.bare}' type='unsubscribe'/>")
    bob.expect(f"<presence from='{alice.bare}' type='unsubscribed'/>")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    assert not any(mail(alice) in (e.get("from") or "") for e in bob.inbox)
    alice.send(f"<message to='{mail(bob)}' type='chat'><body>stranger</body></message>")
    bob.expect(f"<message from='{mail(alice, 'a')}'><body>stranger</body></message>")


def test_messages_to_contacts_by_both_addresses_wait(servers, users):
    """They are read from the database: each goes from the address that its contact knows."""
    one, other = servers
    alice, bob = users
    contacts_by_account(users)
    other.ctl("user", "set", f"dave@{OTHER}", "--email", "")
    dave = other.client("dave", "d")
    across.roster_of(dave)
    subscribes(dave, alice, mail(alice), dave.bare)
    other.stop()
    for n in range(3):
        for to in mail(bob), dave.bare:
            alice.send(f"<message to='{to}' type='chat'><body>waits {n}</body></message>")
    alice.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    one.stop()
    other.start()
    one.start()
    for name, known in ("bob", str(alice)), ("dave", mail(alice, "a")):
        client = other.client(name)
        for n in range(3):
            client.expect(f"<message from='{known}'><body>waits {n}</body></message>")


def test_contacts_from_before_the_setting(make_server, tmp_path):
    one, other = across.start(make_server, tmp_path)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    alice.drain(), bob.drain()
    for server in one, other:
        server.ctl("set", "federation.mail-address", "on")
    one.ctl("user", "set", alice.bare, "--email", MAIL["alice"])
    other.ctl("user", "set", bob.bare, "--email", MAIL["bob"])
    used(one, 1), used(other, 1)
    for sender, receiver in (alice, bob), (bob, alice):
        sender.send("<presence><show>away</show></presence>")
        receiver.expect(f"<presence from='{sender}'><show>away</show></presence>")
        sender.send(f"<message to='{receiver.bare}' type='chat'><body>old</body></message>")
        receiver.expect(f"<message from='{sender}'><body>old</body></message>")
    bob.close()
    bob = other.client("bob", "again")
    bob.expect(f"<presence from='{alice}'><show>away</show></presence>")
    alice.expect(f"<presence from='{bob}' type='-'/>")


def test_a_contact_changes_to_the_mail_address(servers, users):
    """What the old contact ends is not what the new one has."""
    alice, bob = users
    contacts_by_account(users)
    bob.send(f"<presence to='{mail(alice)}' type='subscribe'/>")
    bob.expect(f"<presence from='{mail(alice)}' type='subscribed'/>")
    bob.expect(f"<presence from='{mail(alice, 'a')}' type='-'/>")
    bob.result("set", f"<query xmlns='{xml.ROSTER}'><item jid='{alice.bare}' "
                      "subscription='remove'/></query>")
    alice.expect(f"<presence from='{mail(bob)}' type='unsubscribed'/>")
    alice.send("<presence><show>dnd</show></presence>")
    bob.expect(f"<presence from='{mail(alice, 'a')}'><show>dnd</show></presence>")
    assert across.roster_of(alice) == {mail(bob): ("from", None)}
    subscribes(alice, bob, mail(bob), mail(alice))
    assert across.roster_of(bob) == {mail(alice): ("both", None)}


def test_a_stranger_who_asks_for_presence(servers, users, tmp_path):
    alice, bob = users
    name = tmp_path / OTHER
    peer = Peer(servers[0], OTHER, ONE,
                {"certificate": f"{name}.pem", "key": f"{name}.key"}).join()
    across.roster_of(bob)
    for to in alice.bare, mail(alice):
        bob.send(f"<presence to='{to}' type='subscribe'/>")
        pushed(bob, to, subscription="none", ask="subscribe")
    for to in alice.bare, mail(alice):
        peer.raw(f"<presence from='{mail(bob, 'b')}' to='{to}' type='probe'/>")
        bob.expect(f"<presence from='{to}' type='unsubscribed'/>")


def test_a_deleted_account_leaves_by_the_address_that_is_known(servers, users):
    alice, bob = users
    contacts_by_account(users)
    servers[0].ctl("user", "del", alice.bare)
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    bob.close()
    bob = servers[1].client("bob", "again")
    until("the contact has gone", lambda: across.roster_of(bob)[alice.bare][0] in ("none", "from"))
    assert not any(mail(alice) in (e.get("from") or "") for e in bob.inbox)


def test_a_contact_that_an_operator_adds(servers, users):
    alice, bob = users
    across.roster_of(alice)
    servers[0].ctl("contact", "add", alice.bare, mail(bob), "--subscribe")
    bob.expect(f"<presence from='{mail(alice)}' to='{bob.bare}' type='subscribe'/>")
    bob.send(f"<presence to='{mail(alice)}' type='subscribed'/>")
    alice.expect(f"<presence from='{mail(bob)}' type='subscribed'/>")
    alice.expect(f"<presence from='{mail(bob, 'b')}' type='-'/>")
    assert across.roster_of(alice) == {mail(bob): ("to", None)}


REGISTER = ("<query xmlns='jabber:iq:register'><username>{}</username>"
            "<password>pass-word-1</password></query>")


def registers(server, name):
    answer = server.connect().iq("set", REGISTER.format(name))
    return answer.find("{jabber:client}error/*").tag if answer.get("type") == "error" else "made"


def test_nobody_registers_the_mail_address_of_another_one(servers, friends):
    """Who knows alice by it goes on to speak with her."""
    one, _ = servers
    alice, bob = friends
    one.ctl("set", "register.enabled", "on")
    name = MAIL["alice"].partition("@")[0]
    for other in name, name.title():
        assert registers(one, other).endswith("}conflict")
    bob.send(f"<message to='{mail(alice)}' type='chat' id='m'><body>for her</body></message>")
    alice.expect("<message id='m'/>")
    one.ctl("user", "set", alice.bare, "--email", "")
    until("free", lambda: registers(one, name) == "made")


def test_operators_are_told_whose_mail_address_it_is(servers, tmp_path):
    one, _ = servers
    alice, name = f"alice@{ONE}", MAIL["alice"].partition("@")[0]
    one.ctl("set", "invite.enabled", "on")
    file = tmp_path / "users.xml"
    file.write_text("<?xml version='1.0'?><server-data xmlns='urn:xmpp:pie:0'>"
                    f"<host jid='{ONE}'><user name='{name}' password='secret'/></host>"
                    "</server-data>")
    imported = one.bring("xep0227", str(file))
    assert f"mail address of {alice}" in str(imported["rows"])
    for command in (("user", "add", MAIL["alice"], "--password", "secret"),
                    ("user", "invite", "--username", name, "--domain", ONE)):
        assert f"mail address of {alice}" in refusal(one, *command)
    assert not any(r["jid"] == MAIL["alice"] for r in one.rows("user", "list"))


def test_an_account_that_is_there_is_replaced_whoever_has_its_address(servers, tmp_path):
    """Else it could not be imported again, after somebody got its address as a mail address."""
    one, _ = servers
    one.ctl("user", "set", f"alice@{ONE}", "--email", f"carol@{ONE}")
    used(one, 1, shared=1)
    file = tmp_path / "users.xml"
    file.write_text("<?xml version='1.0'?><server-data xmlns='urn:xmpp:pie:0'>"
                    f"<host jid='{ONE}'><user name='carol' password='replaced'/></host>"
                    "</server-data>")
    (said,) = one.bring("xep0227", str(file))["rows"]
    assert "is there already" in str(said)
    one.bring("xep0227", str(file), "--replace")
    one.client("carol", "c", password="replaced")


def test_a_contact_is_told_later_that_an_account_is_gone(servers, friends):
    """Under the address that it knows, which the server has forgotten by then."""
    one, other = servers
    alice, bob = friends
    bob.close()
    other.clients.clear()
    other.stop()
    one.ctl("user", "del", alice.bare)
    one.restart()
    used(one, 1)
    other.start()
    bob = other.client("bob", "b")
    until("it is told", lambda: across.roster_of(bob)[mail(alice)] == ("none", None))


@pytest.mark.parametrize("on", ["everywhere", "here", "off"])
def test_no_account_is_renamed_to_the_mail_address_of_another_one(servers, on):
    one, _ = servers
    if on == "here":
        one.ctl("set", f"federation.mail-address@{ONE}", "on")
    if on != "everywhere":
        one.ctl("set", "federation.mail-address", "off")
    one.stop()
    done = rename(one, f"carol@{ONE}", MAIL["alice"])
    assert (done.returncode == 0) == (on == "off"), done.stderr
    assert on == "off" or f"mail address of alice@{ONE}" in done.stderr
    assert rename(one, f"alice@{ONE}", MAIL["alice"]).returncode == (on == "off")
    one.start()
