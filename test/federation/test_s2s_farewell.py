"""An account that has contacts on another server is deleted, or gets another address: they are
told, and whoever has the address next inherits nothing from them."""
import socket
import time

import pytest

from harness import across, federation, xml
from harness.client import until
from harness.imports import server_data
from harness.muc import Room
from operate.test_rename import rename

PASSWORD = "another-one-1"
CANCEL = ("<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>"
          "<field var='FORM_TYPE'><value>jabber:iq:register:cancel</value></field>"
          "<field var='username'><value>alice</value></field>"
          "<field var='password'><value>secret</value></field></x></query>")
REGISTER = ("<query xmlns='jabber:iq:register'><username>alice</username>"
            f"<password>{PASSWORD}</password></query>")
MOOD = "http://jabber.org/protocol/mood"
PUBLISH = ("<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{0}'><item "
           "id='current'><mood xmlns='{0}'/></item></publish></pubsub>").format(MOOD)
ITEMS = ("<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{}'/></pubsub>"
         ).format(MOOD)


@pytest.fixture
def servers(make_server, tmp_path):
    return across.start(make_server, tmp_path,
                        settings={"register.enabled": "on", "s2s.retry-for": "1s"})


@pytest.fixture
def friends(servers):
    one, other = servers
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    bob.drain()
    return alice, bob


def rows(server):
    with server.database(read_only=True) as db:
        return db.execute("SELECT sender, rcpt FROM farewell").fetchall()


def add_rows(server, *added, age_s=0, domain="one.test", mail=""):
    """(name of the sender, contact, words) of a server that does not run. Words as in
    im/farewell.c."""
    since = int((time.time() - age_s) * 1e6)
    with server.database() as db:
        for name, contact, words in added:
            db.execute("INSERT INTO farewell(sender, rcpt, words, since, mail) "
                       "VALUES(?, ?, ?, ?, ?)",
                       (f"{name}@{domain}", contact, words, since, mail))


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
    bob.result("set", PUBLISH)
    gone(one, alice, how)
    told(bob)
    until("no rows", lambda: not rows(one))
    assert one.connect().iq("set", REGISTER).get("type") == "result"
    alice = one.connect("alice", password=PASSWORD).login("PLAIN", "next").available()
    assert across.roster_of(alice) == {}
    alice.send("<presence to='bob@other.test' type='probe'/>")
    assert alice.iq("get", ITEMS, to=bob.bare).get("type") == "error"
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
    until("no rows", lambda: not rows(one))
    assert across.roster_of(other.client("bob", "b"))["alice@one.test"] == ("none", None)


def test_a_server_that_is_killed_behind_its_answer_tells_it_later(servers, friends):
    one, other = servers
    alice, bob = friends
    one.ctl("user", "del", alice.bare)
    one.kill()
    one.start()
    told(bob)
    until("no rows", lambda: not rows(one))


def test_what_the_next_account_sends_goes_behind(servers, friends):
    """The words could not be said yet; its request is one of a stranger."""
    one, other = servers
    alice, bob = friends
    bob.close()
    other.clients.clear()
    other.stop()
    one.ctl("user", "del", alice.bare)
    one.add_user("alice")
    alice = one.client("alice", "next")
    across.roster_of(alice)
    other.start()
    one.ctl("s2s", "retry", across.OTHER)
    bob = other.client("bob", "b")
    across.roster_of(bob)
    alice.send("<presence to='bob@other.test' type='subscribe'/>")
    bob.expect("<presence from='alice@one.test' type='subscribe'/>")
    until("no rows", lambda: not rows(one))
    bob.send("<presence to='alice@one.test' type='subscribed'/>")
    alice.expect("<presence from='bob@other.test' type='subscribed'/>")
    assert across.roster_of(alice) == {"bob@other.test": ("to", None)}
    assert across.roster_of(bob) == {"alice@one.test": ("from", None)}


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


def is_still_there(server):
    """The contact whose server is stopped has a row, also when what was sent behind the ping has
    got its error."""
    carol = server.client("carol")
    carol.send("<message to='dave@other.test' type='headline' id='h'><body>behind</body></message>")
    carol.expect("<message type='error' id='h'/>")
    assert rows(server) == [("alice@one.test", "bob@other.test")]


def test_what_this_server_refuses_itself_is_no_answer(servers, friends):
    one, other = servers
    alice, bob = friends
    bob.close()
    other.clients.clear()
    other.stop()
    one.ctl("user", "del", alice.bare)
    one.ctl("federation", "block", across.OTHER)
    is_still_there(one)
    one.restart()
    is_still_there(one)
    one.ctl("federation", "allow", across.OTHER)
    other.start()
    one.restart()
    until("no rows", lambda: not rows(one))
    assert across.roster_of(other.client("bob", "b"))["alice@one.test"] == ("none", None)


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


def test_a_silent_server_does_not_hold_up_the_others(servers):
    """It has more rows than a page, and takes connections, and no more."""
    one, other = servers
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one.settings["s2s.retry-for"] = "1h"
        federation.route(one, "silent.test", silent.getsockname()[1])
        one.stop()
        add_rows(one, *(("gone", f"u{n}@silent.test", 19) for n in range(100)),
                 ("next", "bob@other.test", 19))
        one.start()
        until("the other server is told", lambda: len(rows(one)) == 100, timeout=30)


def test_a_request_is_given_up_sooner_than_a_subscription(servers):
    one, other = servers
    other.stop()
    one.stop()
    add_rows(one, ("asked", "bob@other.test", 1), ("saw", "bob@other.test", 17),
             age_s=2 * 86400)
    one.start()
    until("one row", lambda: rows(one) == [("saw@one.test", "bob@other.test")])


def test_rows_of_a_domain_that_is_not_served_any_more_end(servers):
    """It may be served again: its words are said then, as long as they count."""
    one, other = servers
    other.stop()
    one.stop()
    add_rows(one, ("old", "bob@other.test", 19), domain="gone.test", age_s=91 * 86400)
    add_rows(one, ("new", "bob@other.test", 19), domain="gone.test", age_s=89 * 86400)
    one.start()
    until("one row", lambda: rows(one) == [("new@gone.test", "bob@other.test")])


def test_words_under_a_mail_address_are_those_of_the_account_that_gets_it(servers):
    """Else they would end subscriptions of that account, which does not know them."""
    one, other = servers
    other.stop()
    one.stop()
    add_rows(one, ("one", "bob@other.test", 19 + 12), ("two", "eve@other.test", 19 + 4),
             ("three", "dave@other.test", 19 + 8), mail="mail@one.test")
    one.start()
    one.add_user("mail")

    def words():
        with one.database(read_only=True) as db:
            return set(db.execute("SELECT sender, rcpt, words, mail FROM farewell").fetchall())
    until("they are its own", lambda: words() == {
        ("one@one.test", "bob@other.test", 16, ""), ("mail@one.test", "bob@other.test", 19, ""),
        ("two@one.test", "eve@other.test", 17, ""), ("mail@one.test", "eve@other.test", 18, ""),
        ("three@one.test", "dave@other.test", 18, ""),
        ("mail@one.test", "dave@other.test", 17, "")})


def test_of_an_emptied_account_nothing_is_said_at_once(servers, friends):
    """An import fills it again."""
    one, other = servers
    alice, bob = friends
    one.ctl("user", "del", alice.bare, "--keep-address")
    one.stop()
    add_rows(one, ("behind", "bob@other.test", 19))
    one.start()
    until("a round", lambda: len(rows(one)) == 1)
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


@pytest.mark.parametrize("when", ["at once", "round", "login"])
@pytest.mark.parametrize("new, bobs", [("both", "both"), ("to", "from"), ("from", "to"),
                                       ("none", "none")])
def test_a_contact_keeps_what_the_new_list_has(servers, friends, tmp_path, new, bobs, when):
    """The account is replaced by an import; a direction that it does not bring back ends."""
    one, other = servers
    alice, bob = friends
    path = tmp_path / "in.xml"
    path.write_text(server_data(
        "<user name='alice' password='secret'><query xmlns='jabber:iq:roster'><item "
        f"jid='bob@other.test' subscription='{new}'/></query></user>", host="one.test"))
    one.bring("xep0227", str(path), "--replace")
    one.clients.clear()
    if when == "at once":
        until("no rows", lambda: not rows(one))
        assert across.roster_of(bob)["alice@one.test"] == (bobs, None)
    if when == "round":
        one.stop()
        with one.database() as db:  # the time in which an import may fill it
            db.execute("UPDATE farewell SET since = since - 600000000")
        one.start()
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


def test_words_leave_requests_of_the_next_account_open(servers):
    one, other = servers
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    for server, client, contact in (one, alice, bob), (other, bob, alice):
        server.ctl("policy", "set", client.bare, "--ask", contact.bare)
    for client, contact in (alice, bob), (bob, alice):
        across.roster_of(client)
        client.send(f"<presence to='{contact.bare}' type='subscribe'/>")
        contact.expect(f"<presence from='{client.bare}' type='subscribe'/>")
    alice.close()
    one.clients.clear()
    one.stop()
    add_rows(one, ("alice", bob.bare, 19), age_s=-300)  # for no round, but for what alice sends
    one.start()
    alice = one.connect("alice").login("PLAIN", "a")  # whoever is available asks anew
    across.roster_of(alice)
    bob.drain()
    alice.send(f"<message to='{bob}' type='headline'><body>hi</body></message>")
    bob.expect("<presence from='alice@one.test' type='subscribe'/>")
    until("no rows", lambda: not rows(one))
    alice.available()
    bob.send("<presence to='alice@one.test' type='subscribed'/>")
    alice.expect("<presence from='bob@other.test' type='subscribed'/>")
    alice.send("<presence to='bob@other.test' type='subscribed'/>")
    bob.expect("<presence from='alice@one.test' type='subscribed'/>")
    assert across.roster_of(alice) == {"bob@other.test": ("both", None)}
    assert across.roster_of(bob) == {"alice@one.test": ("both", None)}


def test_a_renamed_account_adds_its_words_to_a_row(servers, friends):
    one, other = servers
    alice, _ = friends
    alice.close()
    one.clients.clear()
    one.stop()
    add_rows(one, ("alice", "bob@other.test", 17))
    assert rename(one, alice.bare, "alicia@one.test").returncode == 0
    with one.database(read_only=True) as db:
        assert db.execute("SELECT words FROM farewell").fetchall() == [(19,)]


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


@pytest.mark.parametrize("waits", [False, True], ids=["gone", "resumable"])
def test_who_got_directed_presence_hears_of_the_address_that_it_saw(servers, waits):
    """A room elsewhere, a stranger elsewhere, and one here, whose session waits as well."""
    one, other = servers
    alice, carol, bob = one.client("alice", "a"), one.client("carol"), other.client("bob", "b")
    cave = Room("cave", "other.test")
    cave.create(bob, "owner")
    cave.enter(alice, "guest")
    bob.expect(f"<presence from='{cave.at('guest')}' type='-'/>")
    for client in bob, carol:
        alice.send(f"<presence to='{client}'/>")
        client.expect(f"<presence from='{alice}' type='-'/>")
    carol.enable_sm()
    if waits:
        alice.enable_sm()
    rename_online(one, alice)
    bob.expect(f"<presence from='{cave.at('guest')}' type='unavailable'/>")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    back = one.connect("carol")
    assert back.take_over(carol).tag == f"{{{xml.SM}}}resumed"
    back.expect(f"<presence from='{alice}' type='unavailable'/>")
    alicia = one.client("alicia", "b")
    if waits:
        resumed = one.connect("alicia")
        assert resumed.take_over(alice).tag == f"{{{xml.SM}}}resumed"
        resumed.close()
    across.mark(alicia, bob)
    assert not [e for e in bob.inbox if e.get("type") == "unavailable"]


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
