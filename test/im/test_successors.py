"""An account is deleted while words about subscriptions are under way (the disk is slow), and
somebody else gets its address: nobody takes the one for the other, and rosters agree at the end."""
import contextlib
import random

import pytest

from harness.client import Gone, until
from im.test_account_life import ROSTER, entered
from together.console import Console

STATES = [  # as roster.state counts them: sees, seen, asking, asked
    (0, 0, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 1, 1), (1, 0, 0, 0), (1, 0, 0, 1),
    (0, 1, 0, 0), (0, 1, 1, 0), (1, 1, 0, 0)]
CHANGE = "<query xmlns='jabber:iq:roster'><item jid='nobody@localhost' name='{}'/></query>"
VERBS = ("subscribe", "subscribed", "unsubscribe", "unsubscribed")


def words_left(server):
    with server.database(read_only=True) as db:
        return db.execute("SELECT sender, rcpt, axis, verb FROM roster_out").fetchall()


def stored(server, name, contact):
    """(sees, is seen, asks, is asked)"""
    with server.database(read_only=True) as db:
        row = db.execute(
            "SELECT roster.state FROM roster JOIN account ON account.id = roster.owner WHERE "
            f"account.jid = '{name}@localhost' AND roster.jid = '{contact}@localhost'").fetchone()
    return STATES[row[0]] if row else STATES[0]


def agree(server):
    (sees, seen, _, asked), (sees2, seen2, _, asked2) = (
        stored(server, "alice", "bob"), stored(server, "bob", "alice"))
    asks, asks2 = stored(server, "alice", "bob")[2], stored(server, "bob", "alice")[2]
    return sees == seen2 and seen == sees2 and asked <= asks2 and asked2 <= asks


def changes(client, first, count):
    """Changes of the own roster, each of which waits for the disk."""
    client.send("".join(f"<iq type='set' id='c{i}'>{CHANGE.format(i)}</iq>"
                        for i in range(first, first + count)))


@pytest.fixture
def host(make_server, disk):
    host = make_server("alice", "bob", disk=disk, workers=2)
    host.ctl("set", "presence.approval", "ask")
    host.console = Console(host)
    yield host
    host.console.close()


def replace(host, name):
    host.console.ask("user del", jid=f"{name}@localhost")
    host.console.ask("user add", jid=f"{name}@localhost", password="secret")


@pytest.mark.parametrize("approval", ["ask", "automatic"])
def test_who_asked_is_deleted_before_it_is_stored(host, disk, approval):
    host.ctl("set", "presence.approval", approval)
    alice, bob = entered(host, "alice"), entered(host, "bob")
    disk.turn(write_ms=10)
    changes(bob, 0, 6)
    alice.send("<presence to='bob@localhost' type='subscribe'/>")
    alice.expect("<iq type='set'><query xmlns='jabber:iq:roster'><item ask='subscribe'/></query>"
                 "</iq>")
    host.console.ask("user del", jid="alice@localhost")
    disk.turn(write_ms=0)
    changes(bob, 6, 1)
    bob.expect("<iq type='result' id='c6'/>")
    until("no words", lambda: not words_left(host))
    assert stored(host, "bob", "alice") == STATES[0]
    host.add_user("alice")
    alice = entered(host, "alice")
    bob.send("<presence><status>not for her</status></presence>")
    alice.expect_nothing("<presence from='bob@localhost/r'/>", after=bob)


@pytest.mark.parametrize("approval", ["ask", "automatic"])
def test_who_is_asked_is_another_one_by_then(host, disk, approval):
    """The request reaches the new one; that the old one was deleted does not take it back."""
    host.ctl("set", "presence.approval", "automatic")
    alice, bob = entered(host, "alice"), entered(host, "bob")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    until("seen", lambda: stored(host, "alice", "bob")[1] and not words_left(host))
    host.ctl("set", "presence.approval", approval)
    disk.turn(write_ms=20)
    changes(alice, 0, 24)
    alice.send("<presence to='bob@localhost' type='subscribe'/>")
    replace(host, "bob")
    disk.turn(write_ms=0)
    alice.expect("<iq type='result' id='c23'/>")
    changes(alice, 24, 1)
    alice.expect("<iq type='result' id='c24'/>")
    until("no words", lambda: not words_left(host))
    assert agree(host), (stored(host, "alice", "bob"), stored(host, "bob", "alice"))


def test_who_was_disabled_learns_that_the_last_holder_of_an_address_is_gone(host):
    """Although who has it now is disabled, and says nothing."""
    host.befriend("alice", "bob")
    host.ctl("user", "disable", "alice@localhost")
    replace(host, "bob")
    host.ctl("user", "disable", "bob@localhost")
    host.ctl("user", "enable", "alice@localhost")
    until("no words", lambda: not words_left(host))
    assert len(entered(host, "alice").result("get", ROSTER)) == 0


def test_the_next_holder_does_not_inherit_from_who_was_disabled(host):
    """He asks while she is disabled; she has the last one as a friend still."""
    host.befriend("alice", "bob")
    host.ctl("user", "disable", "alice@localhost")
    replace(host, "bob")
    bob = entered(host, "bob")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    bob.expect("<iq type='set'><query xmlns='jabber:iq:roster'><item ask='subscribe'/></query>"
               "</iq>")
    host.ctl("user", "enable", "alice@localhost")
    until("no words", lambda: not words_left(host))
    assert stored(host, "alice", "bob") == (0, 0, 0, 1)
    assert stored(host, "bob", "alice") == (0, 0, 1, 0)
    alice = entered(host, "alice")
    alice.expect("<presence from='bob@localhost' type='subscribe'/>")
    alice.send("<presence><status>not for him</status></presence>")
    bob.expect_nothing("<presence from='alice@localhost/r'/>", after=alice)


def test_words_for_who_was_disabled_and_deleted_are_not_kept(host):
    alice = entered(host, "alice")
    host.ctl("user", "disable", "bob@localhost")
    alice.send("<presence to='bob@localhost' type='subscribe'/>")
    until("it waits", lambda: words_left(host))
    host.ctl("user", "del", "bob@localhost")
    until("no words", lambda: not words_left(host))


@contextlib.contextmanager
def unreadable(host, name):
    """More is stored for the account than is read at once, so it cannot be loaded."""
    owner = f"(SELECT id FROM account WHERE jid = '{name}@localhost')"
    with host.database() as db:
        db.execute("INSERT INTO roster (owner, jid, state, flags, version, name) VALUES "
                   f"({owner}, 'long@localhost', 0, 1, 1, ?)", ("x" * (33 << 20),))
    yield
    with host.database() as db:
        db.execute(f"DELETE FROM roster WHERE owner = {owner} AND jid = 'long@localhost'")


@pytest.mark.sqlite
def test_who_cannot_be_read_is_told_later_that_a_friend_was_deleted(host):
    """And does not take the next holder of the address for that friend meanwhile."""
    host.befriend("alice", "bob")
    host.restart()  # bob is not in memory
    with unreadable(host, "bob"):
        host.ctl("user", "del", "alice@localhost")
        host.wait_log(r"event=load\.failed jid=bob@localhost")
    until("no words", lambda: not words_left(host))
    assert stored(host, "bob", "alice") == STATES[0]


@pytest.mark.sqlite
def test_what_is_left_of_a_sender_who_cannot_be_read_is_told_later(host):
    """A word that is left over at a start."""
    bob = entered(host, "bob")
    with host.database() as db:
        db.execute("INSERT INTO roster_out (sender, rcpt, axis, verb, stanza) VALUES "
                   "('alice@localhost', 'bob@localhost', 2, 3, '<presence from=''alice@localhost'' "
                   "to=''bob@localhost'' type=''unsubscribed''/>')")
    bob.cut()
    with unreadable(host, "alice"):
        host.restart()
        host.wait_log(r"event=load\.failed jid=alice@localhost")
    until("no words", lambda: not words_left(host))


@pytest.mark.sqlite
def test_the_next_holder_is_not_granted_what_the_last_one_had(host):
    """Although her request comes before the word that the last one was deleted."""
    host.befriend("alice", "bob")
    host.restart()
    with unreadable(host, "bob"):
        replace(host, "alice")
        host.wait_log(r"event=load\.failed jid=bob@localhost")
        alice = entered(host, "alice")
    alice.send("<presence to='bob@localhost' type='subscribe'/>")
    alice.expect("<iq type='set'><query xmlns='jabber:iq:roster'><item ask='subscribe'/></query>"
                 "</iq>")
    until("no words", lambda: not words_left(host))
    assert stored(host, "bob", "alice") == (0, 0, 0, 1)
    assert stored(host, "alice", "bob") == (0, 0, 1, 0)


@pytest.mark.parametrize("asked", [False, True])
def test_what_was_approved_ahead_is_not_for_the_next_holder(host, asked):
    """Also if the last one was asked, and never answered. That request is to the address: as long
    as it waits, the next holder need not ask, whom the user would see by an answer."""
    bob = entered(host, "bob")
    bob.send("<iq type='set' id='r'><query xmlns='jabber:iq:roster'>"
             "<item jid='alice@localhost'/></query></iq>")
    if asked:
        bob.send("<presence to='alice@localhost' type='subscribe'/>")
    bob.send("<presence to='alice@localhost' type='subscribed'/>")
    bob.ping()
    replace(host, "alice")
    until("no words", lambda: not words_left(host))
    alice = entered(host, "alice")
    alice.send("<presence to='bob@localhost' type='subscribe'/>")
    if asked:
        alice.expect(f"<presence from='{bob}'/>")
    else:
        bob.expect("<presence from='alice@localhost' type='subscribe'/>")
        alice.expect_nothing(f"<presence from='{bob}'/>", after=bob)
    assert stored(host, "bob", "alice") == ((0, 1, 1, 0) if asked else (0, 0, 0, 1))
    assert not [i for i in bob.result("get", ROSTER) if i.get("approved")]


@pytest.mark.parametrize("seed", range(6))
def test_rosters_agree_at_the_end(host, disk, seed):
    chance = random.Random(seed)
    names = ("alice", "bob")
    disk.turn(write_ms=4)
    for _ in range(6):
        clients = {name: entered(host, name) for name in names}
        victim = chance.choice(names)
        for i in range(chance.randrange(1, 6)):
            name = chance.choice(names)
            if chance.random() < .3:
                changes(clients[name], 0, chance.randrange(1, 6))
            other = names[name == "alice"]
            clients[name].send(f"<presence to='{other}@localhost' type='{chance.choice(VERBS)}'/>")
        if chance.random() < .5:
            clients[chance.choice(names)].ping()
        replace(host, victim)
        for client in clients.values():
            try:
                client.close()
            except (Gone, OSError):
                pass
    disk.turn(write_ms=0)
    clients = [entered(host, name) for name in names]
    for client in clients:
        client.result("set", CHANGE.format("last"))
    until("no words", lambda: not words_left(host))
    for client in clients:
        client.result("get", ROSTER)
        client.result("set", CHANGE.format("behind"))
    until("both agree", lambda: agree(host))
