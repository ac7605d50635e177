"""Users who are known to other servers by their mail addresses (federation.mail-address): in `from`
and `to` of stanzas, and nowhere else."""
import contextlib
import re

import pytest

from harness import across, federation, muc, xml
from harness.across import BLOCKING, ONE, OTHER, RECEIPTS, VERSION, pushed
from harness.client import follow, until
from harness.federation import Peer
from harness.server import refusal

DISCO = "http://jabber.org/protocol/disco#info"

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


def test_answers_to_what_no_client_sends(servers, users, tmp_path):
    """Malformed addresses and requests, as another server may send them."""
    alice, bob = users
    name = tmp_path / OTHER
    peer = Peer(servers[0], OTHER, ONE,
                {"certificate": f"{name}.pem", "key": f"{name}.key"}).join()
    for bare in mail(alice),:
        peer.raw(f"<message from='{bob}' to='{bare}/\u2028' id='m'><body>x</body></message>")
        bob.expect(f"<message type='error' id='m' from='{bare}'><error type='modify'/></message>")
        for n in range(3):
            for kind in "type='no'", "":
                peer.raw(f"<iq {kind} from='{bob}' to='{bare}' id='named-{n}:i'><query "
                         f"xmlns='{DISCO}'/></iq>")
                bob.expect(f"<iq type='error' id='named-{n}:i' from='{bare}'/>")
        peer.raw(f"<iq type='get' from='{bob}' to='{bare}'><query xmlns='{DISCO}'/></iq>")
        bob.expect(f"<iq type='error' from='{bare}'/>")


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
    assert refused(mail(alice)) == nobody
    alice.result("set", f"<unblock xmlns='{BLOCKING}'><item jid='{mail(bob)}'/></unblock>")
    one.ctl("federation", "set", alice.bare, "off")
    assert refused(mail(alice)) == nobody


def test_a_stranger_who_asks_for_presence(servers, users, tmp_path):
    alice, bob = users
    name = tmp_path / OTHER
    peer = Peer(servers[0], OTHER, ONE,
                {"certificate": f"{name}.pem", "key": f"{name}.key"}).join()
    across.roster_of(bob)
    for to in alice.bare, mail(alice):
        bob.send(f"<presence to='{to}' type='subscribe'/>")
        pushed(bob, to, subscription="none", ask="subscribe")
    for to in mail(alice),:
        peer.raw(f"<presence from='{mail(bob, 'b')}' to='{to}' type='probe'/>")
        bob.expect(f"<presence from='{to}' type='unsubscribed'/>")

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
    with read_again(one):
        one.ctl("user", "set", alice.bare, "--email", "")
    assert registers(one, name) == 'made'


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


def test_answers_come_from_the_mail_address(users):
    """Also where the address of the account was asked."""
    alice, bob = users
    for to in alice.bare, mail(alice):
        for payload in f"<query xmlns='{DISCO}'/>", "<query xmlns='urn:example:no'/>":
            bob.send(f"<iq type='get' id='v' to='{to}'>{payload}</iq>")
            bob.expect(f"<iq id='v' from='{mail(alice)}' to='{bob}'/>")


def test_payloads_are_not_changed(users):
    """Whatever they name: the text of a message, an invitation, a call."""
    alice, bob = users
    for n, payload in enumerate((
            f"<body>xmpp:{alice.bare}</body>",
            f"<x xmlns='{muc.USER}'><invite to='{alice.bare}'/></x>",
            f"<jingle xmlns='urn:xmpp:jingle:1' initiator='{alice.bare}'/>")):
        alice.send(f"<message to='{mail(bob)}' type='chat' id='p{n}'>{payload}</message>")
        got = bob.expect(f"<message from='{mail(alice, 'a')}' id='p{n}'/>")
        text = "".join(xml.canonical(child) for child in got)
        assert text.count(alice.bare) == 1 and MAIL["alice"] not in text
