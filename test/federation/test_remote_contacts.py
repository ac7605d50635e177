"""Contacts on other servers: subscriptions that outlast failures, what contacts are told when an
account is deleted or gets another address, and which strangers may write (federation.
stranger-messages)."""
import pytest

from harness import across, muc, xml
from harness.across import CARBONS, ONE, OTHER, archived
from harness.client import until
from harness.imports import server_data
from harness.muc import Room
from operate.test_rename import rename

SOON = {"s2s.retry-for": "1s", "s2s.lost-after": "2s", "register.enabled": "on"}
PASSWORD = "another-one-1"
CANCEL = ("<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>"
          "<field var='FORM_TYPE'><value>jabber:iq:register:cancel</value></field>"
          "<field var='username'><value>alice</value></field>"
          "<field var='password'><value>secret</value></field></x></query>")
REGISTER = ("<query xmlns='jabber:iq:register'><username>alice</username>"
            f"<password>{PASSWORD}</password></query>")
SETTING = "federation.stranger-messages"
DIRECT = "jabber:x:conference"


@pytest.fixture
def servers(make_server, tmp_path):
    return across.start(make_server, tmp_path, settings=SOON)


@pytest.fixture
def friends(servers):
    one, other = servers
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    for client in alice, bob:
        client.drain()
    return alice, bob


# --- requests and answers that were lost ---


def part(one, other):
    """Neither reaches the other one: also what goes back on its stream is lost."""
    across.route(one, OTHER, 1)
    across.route(other, ONE, 1)
    other.ctl("s2s", "close", ONE)
    until("no stream", lambda: not [row for server in (one, other)
                                    for row in server.rows("s2s", "list")
                                    if row["state"] == "up"])


def join(one, other):
    across.route(one, OTHER, other.s2s_port)
    across.route(other, ONE, one.s2s_port)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_request_that_was_lost_is_said_again(servers, victim):
    """The server that asks, or the one that is asked, is killed before the answer is there."""
    one, other = servers
    alice = one.client("alice")
    across.roster_of(alice)
    across.route(one, OTHER, 1)
    alice.send(f"<presence to='bob@{OTHER}' type='subscribe'/>")
    alice.expect(f"<iq type='set'><query xmlns='{xml.ROSTER}'><item jid='bob@{OTHER}' "
                 "subscription='none' ask='subscribe'/></query></iq>")
    servers[victim].kill()
    servers[victim].start()
    across.route(one, OTHER, other.s2s_port)
    if victim == 1:
        alice.close()
    alice = one.client("alice")
    across.roster_of(alice)
    bob = other.client("bob")
    across.roster_of(bob)
    bob.expect(f"<presence from='{alice.bare}' type='subscribe'/>")
    bob.send(f"<presence to='{alice.bare}' type='subscribed'/>")
    alice.expect(f"<presence from='{bob.bare}' type='subscribed'/>")
    until("agreement", lambda: (across.roster_of(alice)[bob.bare],
                                across.roster_of(bob)[alice.bare]) == (("to", None),
                                                                       ("from", None)))


def test_a_denial_while_we_were_away(servers, friends):
    """The answer to our probe says it."""
    one, other = servers
    alice, bob = friends
    part(one, other)
    bob.send(f"<presence to='{alice.bare}' type='unsubscribed'/>")
    bob.expect(f"<iq type='set'><query xmlns='{xml.ROSTER}'><item jid='{alice.bare}' "
               "subscription='to'/></query></iq>")
    until("an answer", lambda: "s2s.failed" in other.log())
    join(one, other)
    second = one.client("alice", "second")
    across.roster_of(second)
    until("agreement", lambda: across.roster_of(second)[bob.bare] == ("from", None))


# --- the end of an account ---


def rows(server):
    """What contacts on other servers have not confirmed."""
    with server.database(read_only=True) as db:
        return db.execute("SELECT sender, rcpt FROM roster_out WHERE axis = 0").fetchall()


def told(bob):
    bob.expect("<presence from='alice@one.test' type='unsubscribe'/>")
    bob.expect("<presence from='alice@one.test' type='unsubscribed'/>")
    assert across.roster_of(bob)["alice@one.test"] == ("none", None)


def gone(server, client, how):
    if how == "command":
        server.ctl("user", "del", client.bare)
    elif how == "cancel":
        client.iq("set", CANCEL)
    else:
        client.close()
        server.clients.clear()
        server.stop()
        assert rename(server, client.bare, "alicia@one.test").returncode == 0
        server.start()


@pytest.mark.parametrize("how", ["command", "cancel", "rename"])
def test_the_next_account_inherits_nothing(servers, friends, how):
    one, other = servers
    alice, bob = friends
    gone(one, alice, how)
    told(bob)
    until("no rows", lambda: not rows(one))
    assert one.connect().iq("set", REGISTER).get("type") == "result"
    alice = one.connect("alice", password=PASSWORD).login("PLAIN", "next").available()
    assert across.roster_of(alice) == {}
    alice.send("<presence to='bob@other.test' type='probe'/>")
    bob.send("<presence><show>xa</show></presence>")
    across.mark(bob, alice)
    alice.expect_nothing("<presence from='bob@other.test/b'/>")


@pytest.mark.parametrize("killed", [False, True])
def test_a_server_that_is_back_later_is_told(servers, friends, killed):
    one, other = servers
    alice, bob = friends
    bob.close()
    other.clients.clear()
    other.stop()
    one.ctl("user", "del", alice.bare)
    if killed:
        one.kill()
        one.start()
    carol = one.client("carol")
    carol.send("<message to='dave@other.test' type='headline' id='h'><body>given up</body>"
               "</message>")
    carol.expect("<message type='error' id='h'/>")
    assert rows(one) == [("alice@one.test", "bob@other.test")]
    other.start()
    until("no rows", lambda: not rows(one), timeout=60)
    assert across.roster_of(other.client("bob", "b"))["alice@one.test"] == ("none", None)


def test_a_server_that_is_killed_behind_its_answer_tells_it_later(servers, friends):
    one, other = servers
    alice, bob = friends
    one.ctl("user", "del", alice.bare)
    one.kill()
    one.start()
    told(bob)
    until("no rows", lambda: not rows(one))


def test_a_contact_is_told_what_was_and_a_stranger_nothing(servers):
    """Dave has only asked: he does not learn that there was an account."""
    one, other = servers
    alice, bob, dave = one.client("alice", "a"), other.client("bob", "b"), other.client("dave", "d")
    for client in alice, bob, dave:
        across.roster_of(client)
    bob.send("<presence to='alice@one.test' type='subscribe'/>")
    alice.expect("<presence from='bob@other.test' type='subscribe'/>")
    alice.send("<presence to='bob@other.test' type='subscribed'/>")
    bob.expect("<presence from='alice@one.test' type='subscribed'/>")
    dave.send("<presence to='alice@one.test' type='subscribe'/>")
    alice.expect("<presence from='dave@other.test' type='subscribe'/>")
    for client in bob, dave:
        client.drain()
    one.ctl("user", "del", alice.bare)
    bob.expect("<presence from='alice@one.test' type='unsubscribed'/>")
    until("no rows", lambda: not rows(one))
    across.mark(one.client("carol"), dave)
    for client in bob, dave:
        client.expect_nothing("<presence from='alice@one.test' type='unsubscribe'/>")
    dave.expect_nothing("<presence from='alice@one.test' type='unsubscribed'/>")
    assert across.roster_of(dave)["alice@one.test"] == ("none", "subscribe")


@pytest.mark.parametrize("how", ["federation", "blocks"])
def test_what_the_next_account_may_not_send_is_said(servers, friends, how):
    """Rules of the next account and its block list are not those of the last one."""
    one, other = servers
    alice, bob = friends
    bob.close()
    other.clients.clear()
    other.stop()
    one.ctl("user", "del", alice.bare)
    one.add_user("alice")
    if how == "federation":
        one.ctl("federation", "set", "alice@one.test", "off")
    else:
        one.client("alice", "next").result(
            "set", "<block xmlns='urn:xmpp:blocking'><item jid='bob@other.test'/></block>")
    other.start()
    one.restart()
    until("no rows", lambda: not rows(one))
    assert across.roster_of(other.client("bob", "b"))["alice@one.test"] == ("none", None)


def test_of_an_emptied_account_nothing_is_said_at_once(servers, friends):
    """An import fills it again."""
    one, other = servers
    alice, bob = friends
    one.ctl("user", "del", alice.bare, "--keep-address")
    one.restart()
    bob.ping()
    assert rows(one) == [("alice@one.test", "bob@other.test")]
    assert across.roster_of(bob)["alice@one.test"] == ("both", None)


def test_an_emptied_account_that_is_enabled_is_for_somebody_else(servers, friends):
    """Contacts on other servers are told at once."""
    one, other = servers
    alice, bob = friends
    one.ctl("user", "del", alice.bare, "--keep-address")
    assert len(rows(one)) == 1
    one.ctl("user", "enable", alice.bare)
    told(bob)
    until("no rows", lambda: not rows(one))


@pytest.mark.parametrize("new, bobs", [("both", "both"), ("to", "from"), ("from", "to"),
                                       ("none", "none")])
def test_a_contact_keeps_what_the_new_list_has(servers, friends, tmp_path, new, bobs):
    """The account is replaced by an import; a direction that it does not bring back ends."""
    one, other = servers
    alice, bob = friends
    path = tmp_path / "in.xml"
    path.write_text(server_data(
        "<user name='alice' password='secret'><query xmlns='jabber:iq:roster'><item "
        f"jid='bob@other.test' subscription='{new}'/></query></user>", host="one.test"))
    one.bring("xep0227", str(path), "--replace")
    one.clients.clear()
    until("no rows", lambda: not rows(one))
    alice = one.connect("alice").login("PLAIN", "a")
    assert across.roster_of(alice) == {"bob@other.test": (new, None)}
    alice.available()
    alice.send("<message to='bob@other.test'><body>behind</body></message>")
    bob.expect("<message><body>behind</body></message>")
    until("no rows", lambda: not rows(one))
    assert across.roster_of(bob)["alice@one.test"] == (bobs, None)
    bob.drain()
    bob.send("<presence><show>xa</show></presence>")
    across.mark(bob, alice)
    shown = "<presence from='bob@other.test/b'><show>xa</show></presence>"
    alice.expect(shown) if new in ("both", "to") else alice.expect_nothing(shown)


def rename_online(one, alice, new="alicia@one.test"):
    """While its client is online, with the words that are still to be said."""
    one.stop()
    assert rename(one, alice.bare, new).returncode == 0
    one.start()


def test_who_saw_a_renamed_account_hears_of_the_address_that_it_saw(servers, friends):
    """It stays a contact without a subscription: each side asks the other one again."""
    one, other = servers
    alice, bob = friends
    rename_online(one, alice)
    bob.expect("<presence from='alice@one.test' type='unavailable'/>")
    told(bob)
    until("no rows", lambda: not rows(one))
    alicia = one.client("alicia", "a")
    assert across.roster_of(alicia) == {"bob@other.test": ("none", None)}
    across.mark(alicia, bob)
    assert not [e for e in bob.inbox if "alicia" in e.get("from", "")]
    across.befriend(alicia, bob)


@pytest.mark.parametrize("asks", ["alice", "bob"])
def test_a_request_ends_when_its_account_is_renamed(servers, asks):
    one, other = servers
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.roster_of(alice)
    across.roster_of(bob)
    asker, asked = (alice, bob) if asks == "alice" else (bob, alice)
    asker.send(f"<presence to='{asked.bare}' type='subscribe'/>")
    asked.expect(f"<presence from='{asker.bare}' type='subscribe'/>")
    rename_online(one, alice)
    alicia = one.client("alicia", "a")
    kept = {"bob@other.test": ("none", None)} if asks == "alice" else {}
    assert across.roster_of(alicia) == kept
    across.befriend(alicia, bob)


# --- messages of strangers need approval ---


@pytest.fixture
def careful(servers):
    servers[0].ctl("set", SETTING, "approval")
    return servers


@pytest.fixture
def users(careful):
    return careful[0].client("alice", "a"), careful[1].client("bob", "b")


def write(sender, to, ident, inner="<body>hi</body>", kind="chat"):
    sender.send(f"<message to='{to}' type='{kind}' id='{ident}'>{inner}</message>")


def is_heard(sender, receiver, ident="m", **options):
    write(sender, receiver.bare, ident, **options)
    receiver.expect(f"<message from='{sender}' id='{ident}'/>")


def is_refused(sender, to, ident="no", **options):
    write(sender, to, ident, **options)
    error = sender.expect_error("subscription-required", "auth",
                                f"<message from='{to}' type='error' id='{ident}'/>")
    assert "request a subscription first" in xml.canonical(error)


def policy(client, inner="", **attributes):
    words = " ".join(f"{name}='{value}'" for name, value in attributes.items())
    client.result("set", f"<policy xmlns='urn:muster:policy:0' {words}>{inner}</policy>")


def rule(jid, action):
    return f"<rule jid='{jid}' action='{action}'/>"


def refusals(server):
    return sum(row["value"] for row in server.rows("metrics")
               if row["name"] == "muster_federation_refused" and row["label"] == "why=approval")


def test_a_stranger_writes_when_the_user_has_accepted_the_request(users):
    alice, bob = users
    for client in users:
        across.roster_of(client)
    is_refused(bob, alice.bare)
    bob.send(f"<presence to='{alice.bare}' type='subscribe'/>")
    alice.expect(f"<presence from='{bob.bare}' type='subscribe'/>")
    is_refused(bob, alice.bare, "waits")  # a request is no approval
    alice.send(f"<presence to='{bob.bare}' type='subscribed'/>")
    bob.expect(f"<presence from='{alice.bare}' type='subscribed'/>")
    is_heard(bob, alice)
    alice.result("set", f"<query xmlns='{xml.ROSTER}'><item jid='{bob.bare}' "
                        "subscription='remove'/></query>")
    is_refused(bob, alice.bare, "removed")
    alice.expect_nothing("<message/>")


@pytest.mark.parametrize("way", ["roster", "subscribe", "approved ahead", "presence", "message"])
def test_who_the_user_has_turned_to_may_write(users, way):
    alice, bob = users
    across.roster_of(alice)
    if way == "roster":
        alice.result("set", f"<query xmlns='{xml.ROSTER}'><item jid='{bob.bare}'/></query>")
    elif way in ("subscribe", "approved ahead"):
        kind = "subscribe" if way == "subscribe" else "subscribed"
        alice.send(f"<presence to='{bob.bare}' type='{kind}'/>")
    elif way == "presence":
        alice.send(f"<presence to='{bob}'/>")
    else:
        write(alice, bob.bare, "first")
    alice.ping()
    is_heard(bob, alice)


def test_who_was_only_looked_at_is_a_stranger(users):
    """Clients fetch the card of whoever asks for a subscription, and end a stranger's call."""
    alice, bob = users
    alice.iq("get", "<vCard xmlns='vcard-temp'/>", to=bob.bare)
    alice.send(f"<iq type='get' id='v' to='{bob}'><query xmlns='jabber:iq:version'/></iq>")
    bob.expect("<iq type='get' id='v'/>")
    alice.send(f"<iq type='set' id='j' to='{bob}'><jingle xmlns='urn:xmpp:jingle:1' sid='1' "
               "action='session-terminate'/></iq>")
    bob.expect("<iq type='set' id='j'/>")
    is_refused(bob, alice.bare)


@pytest.mark.parametrize("words, inner, heard", [
    ({"others": "allow"}, "", True), ({"others": "ask"}, "", False),
    ({"others": "block"}, "", False),
    ({}, rule(f"bob@{OTHER}", "allow"), True), ({}, rule(OTHER, "allow"), True),
    ({"others": "allow"}, rule(OTHER, "ask"), False),
    ({"others": "allow"}, rule(f"bob@{OTHER}", "block"), False),
    ({"others": "block"}, rule(f"bob@{OTHER}", "allow"), True)])
def test_the_policy_of_the_user_decides(users, words, inner, heard):
    alice, bob = users
    policy(alice, inner, **words)
    if heard:
        is_heard(bob, alice)
    else:
        is_refused(bob, alice.bare)


@pytest.mark.parametrize("kind, inner", [
    ("chat", "<body>hi</body>"), ("normal", "<subject>hi</subject>"),
    ("headline", "<body>hi</body>"), ("groupchat", "<body>hi</body>"),
    ("chat", "<composing xmlns='http://jabber.org/protocol/chatstates'/>"),
    ("chat", "<received xmlns='urn:xmpp:receipts' id='1'/>"),
    ("normal", f"<x xmlns='{DIRECT}' jid='cave@conference.{OTHER}'/>")])
@pytest.mark.parametrize("resource", ["", "/a", "/other"])
def test_all_messages_need_approval(users, kind, inner, resource):
    alice, bob = users
    is_refused(bob, alice.bare + resource, inner=inner, kind=kind)
    alice.expect_nothing("<message/>")


def test_presence_of_a_stranger_comes_without_content_only(users):
    alice, bob = users
    bob.send(f"<presence to='{alice}'><status>buy now</status></presence>")
    bob.send(f"<presence to='{alice}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    bob.send(f"<presence to='{alice}'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.send(f"<presence to='{alice}' type='unavailable'><status>buy now</status></presence>")
    assert len(alice.expect(f"<presence from='{bob}' type='unavailable'/>")) == 0
    is_refused(bob, alice.bare)
    alice.expect_nothing("<presence/>")
    bob.expect_nothing("<presence type='error'/>")


def test_errors_of_strangers_come_without_other_content_only(users):
    """It can be one to what the user sent before this server was started again."""
    alice, bob = users
    error = ("<error type='cancel'><service-unavailable "
             "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>")
    for n, inner in enumerate(("<body>buy now</body>", f"<body>buy now</body>{error}", error)):
        write(bob, str(alice), f"e{n}", inner, kind="error")
        bob.send(f"<presence to='{alice}' type='error' id='e{n}'>"
                 f"{inner.replace('body', 'status')}</presence>")
    for kind in "message", "presence":
        alice.expect(f"<{kind} type='error' id='e2'/>")
        alice.expect_nothing(f"<{kind} type='error'/>")
    write(alice, str(bob), "first")
    write(bob, str(alice), "echo", f"<body>hi</body>{error}", kind="error")
    alice.expect("<message type='error' id='echo'><body>hi</body></message>")

ALL = [("chat", "<body>hi</body>"), ("normal", "<body>hi</body>"), ("headline", "<body>hi</body>"),
       ("groupchat", "<body>hi</body>")]


def is_refused_in_all_ways(sender, to):
    for kind, inner in ALL:
        for resource in "", "/a", "/other":
            is_refused(sender, to + resource, inner=inner, kind=kind)
    sender.expect_nothing("<message/>")


def test_nobody_learns_who_exists(servers, users):
    """The answer is the same for an address without an account, and for who is away, disabled, or
    blocks the sender, who may be a contact."""
    one, other = servers
    alice, bob = users
    is_refused_in_all_ways(bob, f"nobody@{ONE}")
    is_refused_in_all_ways(bob, f"carol@{ONE}")
    one.ctl("user", "disable", f"carol@{ONE}")
    is_refused_in_all_ways(bob, f"carol@{ONE}")
    assert refusals(one) == 3 * len(ALL) * 3


@pytest.mark.parametrize("tell", ["on", "off"])
@pytest.mark.parametrize("before", ["stranger", "contact", "acquaintance", "allowed"])
def test_nobody_learns_who_blocks(servers, users, before, tell):
    one, _ = servers
    one.ctl("set", "mailbox.tell-strangers", tell)
    alice, bob = users
    if before == "contact":
        across.befriend(alice, bob)
    elif before == "acquaintance":
        is_heard(alice, bob)
    elif before == "allowed":
        policy(alice, others="allow")
    alice.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{bob.bare}'/></block>")
    is_refused_in_all_ways(bob, alice.bare)
    alice.result("set", "<unblock xmlns='urn:xmpp:blocking'/>")
    if before != "stranger":
        is_heard(bob, alice)
    one.ctl("federation", "set", alice.bare, "off")
    is_refused_in_all_ways(bob, alice.bare)
    alice.expect_nothing("<message/>")


def test_nothing_is_left_of_what_was_refused(servers, users):
    """No copy, nothing in the archive, and nothing for who comes later."""
    one, _ = servers
    alice, bob = users
    second = one.client("alice", "second")
    second.result("set", f"<enable xmlns='{CARBONS}'/>")
    is_refused(bob, str(alice))
    is_refused(bob, f"carol@{ONE}", "away")
    second.expect_nothing("<message/>", after=alice)
    assert archived(alice, bob.bare) == []
    carol = one.client("carol")
    carol.expect_nothing("<message/>")
    assert archived(carol, bob.bare) == []
    is_heard(alice, bob, "yes")
    write(bob, str(alice), "copied")
    second.expect(f"<message><received xmlns='{CARBONS}'/></message>")


def test_a_request_that_waits_makes_nobody_known(servers, users):
    """Else the limit of strangers would be passed by a request ahead of each message."""
    one, other = servers
    alice, bob = users
    dave = other.client("dave")
    one.ctl("set", SETTING, "deliver")
    one.ctl("set", "federation.stranger-rate", "1")
    is_heard(dave, alice)
    bob.send(f"<presence to='{alice.bare}' type='subscribe'/>")
    alice.expect(f"<presence from='{bob.bare}' type='subscribe'/>")
    write(bob, alice.bare, "many")
    bob.expect_error("resource-constraint", "wait", "<message type='error' id='many'/>")


def invite(sender, room, to, name="invite"):
    sender.send(f"<message to='{room}'><x xmlns='{muc.USER}'><{name} to='{to}'>"
                f"<reason>from {sender.name}</reason></{name}></x></message>")


def invitation(client, room, sender, name="invite"):
    return client.expect(f"<message from='{room}'><x xmlns='{muc.USER}'><{name}><reason>"
                         f"from {sender.name}</reason></{name}></x></message>")


def test_invitations_to_rooms_elsewhere(servers, users):
    """A contact may invite, a stranger may not, and another user here may."""
    one, other = servers
    alice, bob = users
    carol, dave = one.client("carol"), other.client("dave")
    cave = Room("cave", OTHER)
    cave.create(bob, "bob")
    cave.enter(dave, "dave")
    cave.enter(carol, "carol")
    invite(bob, cave, alice.bare)
    cave.flush(bob)
    is_refused(bob, alice.bare)
    alice.expect_nothing(f"<message from='{cave}'/>")
    alice.result("set", f"<query xmlns='{xml.ROSTER}'><item jid='{dave.bare}'/></query>")
    invite(dave, cave, alice.bare)
    invitation(alice, cave, dave)
    alice.result("set", f"<query xmlns='{xml.ROSTER}'><item jid='{dave.bare}' "
                        "subscription='remove'/></query>")
    invite(carol, cave, alice.bare)
    invitation(alice, cave, carol)


@pytest.mark.parametrize("hidden", ["off", "on"])
def test_invitations_to_rooms_here(servers, users, hidden):
    """Of a stranger, by way of a room that shows who that is, or does not."""
    servers[0].ctl("set", "muc.new-anonymous", hidden)
    alice, bob = users
    cave = Room("cave", ONE)
    cave.create(alice, "alice")
    cave.enter(bob, "bob")
    cave.leave(alice, "alice")
    invite(bob, cave, alice.bare)
    is_refused(bob, alice.bare)
    alice.expect_nothing(f"<message><x xmlns='{muc.USER}'/></message>")
    policy(alice, rule(OTHER, "allow"))
    invite(bob, cave, alice.bare)
    invitation(alice, cave, bob)


@pytest.mark.parametrize("name, body", [("invite", ""), ("decline", ""),
                                        ("invite", "<body>buy now</body>")])
@pytest.mark.parametrize("by_element", [False, True], ids=["by attribute", "by element"])
def test_a_user_does_not_speak_as_a_contact_who_invites(users, name, body, by_element):
    alice, bob = users
    friend = f"dave@{OTHER}"
    alice.result("set", f"<query xmlns='{xml.ROSTER}'><item jid='{friend}'/></query>")
    element = f"<inviter xmlns='urn:muster:rooms:0' jid='{friend}'/>" if by_element else ""
    by = "" if by_element else f" from='{friend}'"
    is_refused(bob, alice.bare, inner=f"{body}<x xmlns='{muc.USER}'><{name}{by}/></x>{element}")


def test_users_here_do_not_speak_for_strangers(servers, users):
    """Else they would use up what a domain may have of them."""
    one, _ = servers
    alice, bob = users
    carol = one.client("carol")
    one.ctl("set", "federation.stranger-rate", "1")
    for n in range(3):
        is_heard(carol, alice, f"c{n}",
                 inner=f"<body>hi</body><x xmlns='{muc.USER}'><invite from='x{n}@{OTHER}'/></x>")
    policy(alice, others="allow")
    is_heard(bob, alice)


@pytest.mark.parametrize("hidden", ["off", "on"])
def test_no_invitation_comes_from_where_the_user_may_not_reach(servers, users, hidden):
    """federation set: also where the room hides who the inviter is."""
    one, _ = servers
    one.ctl("set", "muc.new-anonymous", hidden)
    alice, bob = users
    carol = one.client("carol")
    one.ctl("set", SETTING, "deliver")
    one.ctl("federation", "set", alice.bare, "off")
    cave = Room("cave", ONE)
    cave.create(carol, "carol")
    cave.enter(bob, "bob")
    invite(bob, cave, alice.bare)
    cave.flush(bob)
    is_heard(carol, alice)
    alice.expect_nothing(f"<message from='{cave}'/>")
