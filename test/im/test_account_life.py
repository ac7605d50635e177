"""While an account is disabled, or on its way out: nothing that others do is lost or half done,
and nothing is left of it."""
import concurrent.futures

import pytest

from harness import xml
from harness.client import Gone, until
from harness.component import Component
from harness.muc import Room
from harness.slow_disk import STILL
from im.test_deleted import number_of, rows_of
from stream.test_fast import Device
from services.test_invite import ON, invite, register, show, token_of
from archive.test_mam import Page
from services.test_push import DOMAIN, SECRET, enable
from services.test_upload import store as upload
from together.console import Console

ROSTER = "<query xmlns='jabber:iq:roster'/>"


def entered(server, name):
    """A client that hears of subscriptions (RFC 6121 §2.1.6)."""
    client = server.login(name, "r")
    client.result("get", ROSTER)
    return client.available()


def subscription(client, contact):
    """What the roster of a client says of a contact: (subscription, ask)."""
    for item in client.result("get", ROSTER):
        if item.get("jid") == contact:
            return item.get("subscription"), item.get("ask")
    return None


def test_a_contact_asks_a_disabled_account_again(server):
    """Its roster still has the contact, so nobody refuses in its place."""
    server.befriend("alice", "bob")
    bob = entered(server, "bob")
    server.ctl("user", "disable", "alice@localhost")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    bob.expect_nothing("<presence type='unsubscribed'/>")
    server.ctl("user", "enable", "alice@localhost")
    alice = entered(server, "alice")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    assert subscription(alice, bob.bare) == subscription(bob, alice.bare) == ("both", None)


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_a_request_is_repeated_while_the_account_is_disabled(server):
    alice, bob = entered(server, "alice"), entered(server, "bob")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    alice.expect("<presence from='bob@localhost' type='subscribe'/>")
    server.ctl("user", "disable", "alice@localhost")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    bob.expect_nothing("<presence type='unsubscribed'/>")
    server.ctl("user", "enable", "alice@localhost")
    alice = entered(server, "alice")
    alice.expect("<presence from='bob@localhost' type='subscribe'/>")
    alice.send("<presence to='bob@localhost' type='subscribed'/>")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    assert (subscription(alice, bob.bare), subscription(bob, alice.bare)) == (
        ("from", None), ("to", None))


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_a_request_is_granted_after_the_account_was_disabled(server):
    """It has heard of the request before, and the grant is its answer (RFC 6121 §3.1.6)."""
    alice, bob = entered(server, "alice"), entered(server, "bob")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    alice.expect("<presence from='bob@localhost' type='subscribe'/>")
    server.ctl("user", "disable", "alice@localhost")
    server.ctl("user", "enable", "alice@localhost")
    alice = entered(server, "alice")
    alice.expect("<presence from='bob@localhost' type='subscribe'/>")
    alice.send("<presence to='bob@localhost' type='subscribed'/>")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    assert (subscription(alice, bob.bare), subscription(bob, alice.bare)) == (
        ("from", None), ("to", None))


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_a_stranger_asks_a_disabled_account(server):
    """The request waits; to the stranger it is like one to a user who does not answer."""
    bob = entered(server, "bob")
    server.ctl("user", "disable", "alice@localhost")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    bob.expect_nothing("<presence from='alice@localhost'/>", after=bob)
    assert subscription(bob, "alice@localhost") == ("none", "subscribe")
    server.ctl("user", "enable", "alice@localhost")
    alice = entered(server, "alice")
    alice.expect(f"<presence from='{bob.bare}' type='subscribe'/>")
STORED = ("<vCard xmlns='vcard-temp'><FN>Fay</FN></vCard>",
          "<query xmlns='jabber:iq:private'><a xmlns='urn:x:a'/></query>")


@pytest.fixture
def inviting(make_server, disk):
    return make_server("alice", settings=ON, disk=disk)


def newcomer(server, name, token):
    """Registers by an invitation."""
    guest = server.connect()
    assert show(guest, token) is True and register(guest, name) is True


@pytest.mark.parametrize("restarts", [False, True])
def test_the_inviter_is_disabled_when_the_invited_one_comes(inviting, restarts):
    token = token_of(invite(inviting, "--roster", "alice@localhost"))
    inviting.ctl("user", "disable", "alice@localhost")
    newcomer(inviting, "erin", token)
    erin = entered(inviting, "erin")
    if restarts:
        inviting.restart()
        erin = entered(inviting, "erin")
    inviting.ctl("user", "enable", "alice@localhost")
    alice = entered(inviting, "alice")
    erin.expect(f"<presence from='{alice}' type='-'/>")
    alice.expect(f"<presence from='{erin}' type='-'/>")
    assert subscription(alice, erin.bare) == subscription(erin, alice.bare) == ("both", None)


def test_the_inviter_is_deleted_as_the_invited_one_comes(inviting, disk):
    """The disk is slow, and the inviter is deleted a little later each time. The next holder of the
    inviter's address is in nobody's roster."""
    console = Console(inviting)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for pause in range(10):
            token = token_of(invite(inviting, "--roster", "alice@localhost"))
            disk.turn(write_ms=20)
            coming = pool.submit(newcomer, inviting, f"new{pause}", token)
            for _ in range(pause * 60):
                console.ask("get", setting="im.enabled")
            console.ask("user del", jid="alice@localhost")
            came = coming.exception() is None  # else the invitation was void
            disk.turn(write_ms=0)
            if came:
                client = entered(inviting, f"new{pause}")
                until("nobody in the roster", lambda c=client: not len(c.result("get", ROSTER)))
            inviting.add_user("alice")
    console.close()


def test_what_the_owner_stores_while_it_is_deleted(make_server, disk):
    """Nothing of it stays behind."""
    server = make_server(disk=disk, workers=2)
    console = Console(server)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            console.ask("user add", jid="fay@localhost", password="secret")
            fay, number = server.login("fay", "r"), number_of(server, "fay@localhost")
            disk.turn(write_ms=10)
            deletion = pool.submit(console.ask, "user del", jid="fay@localhost")
            with pytest.raises((Gone, OSError)):
                while True:
                    for what in STORED:
                        fay.send(f"<iq type='set' id='i'>{what}</iq>")
                    fay.ping()
            deletion.result()
            disk.turn(write_ms=0)
            console.ask("user add", jid="last@localhost", password="secret")  # behind all that came
            assert rows_of(server, number) == set()
            console.ask("user del", jid="last@localhost")
    console.close()


def test_who_gets_the_address_has_no_memory_of_the_deleted_one(make_server):
    """A push service does not answer, so that the deleted account stays in memory: a message that
    the old one had is new to the next (XEP-0359 §3.2: ids of the sender's choice)."""
    server = make_server("alice", "bob", component=True)
    server.ctl("component", "add", DOMAIN, "--secret", SECRET)
    push = Component(server, DOMAIN, SECRET)
    bob = server.login("bob", "b")
    enable(bob)
    bob.close()
    alice = server.client("alice", "a")
    said = (f"<message to='bob@localhost' type='chat' id='m'><body>{{}}</body>"
            f"<origin-id xmlns='{xml.SID}' id='same'/></message>")
    alice.send(said.format("to the old one"))
    push.expect("<iq type='set' from='bob@localhost'/>")
    server.ctl("user", "del", "bob@localhost")
    server.add_user("bob")
    alice.send(said.format("to the new one"))
    alice.send("<message to='bob@localhost' type='chat'><body>last</body></message>")
    alice.ping()
    bob = server.client("bob", "b")
    bob.expect("<message><body>to the new one</body></message>")
    bob.expect("<message><body>last</body></message>")


def leaving(server, contact, what):
    """`user del` (or disable) of bob, who is in memory, waits for a disk that stands still. Bob's
    home knows of it: it refuses messages."""
    command = server.ctl_start("user", what, "bob@localhost")

    def refused():
        contact.send("<message to='bob@localhost' type='chat'><body>there?</body></message>")
        contact.ping()
        return any(e.get("type") == "error" and xml.condition(e) == "service-unavailable"
                   for e in contact.inbox)
    until("bob is leaving", refused)
    return command


@pytest.mark.sqlite
@pytest.mark.parametrize("second", ["del", "disable"])
@pytest.mark.parametrize("first", ["del", "disable"])
def test_deletion_and_disabling_exclude_each_other(make_server, disk, first, second):
    """Else the one ends with the account, or its messages, that the other keeps."""
    server = make_server("alice", "bob", disk=disk)
    alice = server.client("alice", "a")
    server.client("bob", "b")
    disk.turn(sync_ms=STILL)
    command = leaving(server, alice, first)
    refused = server.ctl_run("user", second, "bob@localhost")
    assert refused.returncode != 0 and "not now, try again later" in refused.stderr
    alice.send("<message to='bob@localhost' type='chat' id='m'><body>there?</body></message>")
    alice.expect_error("service-unavailable", "cancel", "<message type='error' id='m'/>")
    disk.turn(sync_ms=0)
    assert command.communicate()[1] == ""
    left = [row["disabled"] for row in server.rows("user", "list")
            if row["jid"] == "bob@localhost"]
    assert left == ([] if first == "del" else [True])


def test_what_a_session_leaves_behind_as_its_account_is_deleted(make_server):
    """It is in no mailbox, and is refused as what comes later."""
    server = make_server("alice", "bob", settings={"im.durable-ack": "off"})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    number = number_of(server, "bob@localhost")
    bob.auto_ack = False
    bob.enable_sm()
    alice.send("<message to='bob@localhost' type='chat' id='m'><body>hi</body></message>")
    bob.expect("<message id='m'/>")
    bob.cut()
    server.ctl("user", "del", "bob@localhost")
    alice.expect("<message type='error' id='m'/>")
    server.add_user("last")  # behind all that came
    assert rows_of(server, number) == set()


def test_what_was_on_its_way_when_its_sender_was_deleted(make_server):
    """It is stored for its addressee, and what that leaves of the sender goes with the next pass
    over the archive. Without an index of words, which would have the message as it was before this
    test changes it."""
    server = make_server("bob", "fay",
                         settings={"archive.retention": 365, "archive.fulltext": False})
    bob, fay = server.client("bob", "b"), server.client("fay", "f")
    number = number_of(server, "fay@localhost")
    fay.send("<message to='bob@localhost' type='chat'><body>hi</body></message>")
    bob.expect("<message><body>hi</body></message>")
    server.ctl("user", "del", "fay@localhost")
    assert rows_of(server, number) == set()
    assert Page(bob).bodies == ["hi"]
    with server.database() as db:  # as if it had been stored a moment later
        db.execute("UPDATE message SET sender = ?, sender_entry = 77 WHERE stanza LIKE '%hi%'",
                   (number,))
        db.execute("INSERT INTO entry(owner, id, peer, msg, flags) SELECT sender, 77, rcpt, id, 0 "
                   "FROM message WHERE sender_entry = 77")
        db.execute("INSERT INTO archive_size(owner, peer, bytes) VALUES(?, 1, 200)", (number,))
    assert rows_of(server, number) == {"entry.owner", "message.sender", "archive_size.owner"}

    def removed():  # not while this connection to the database still holds its lock
        server.ctl("archive", "expire")
        return rows_of(server, number) == set()
    until("the next pass removes it", removed)
    assert Page(bob).bodies == ["hi"]


def messages(server):
    with server.database(read_only=True) as db:
        return db.execute("SELECT count(*) FROM message").fetchone()[0]


@pytest.mark.sqlite
@pytest.mark.parametrize("retention", ["none", "365"])
def test_what_a_kill_leaves_of_a_deleted_account_is_counted_when_it_goes(
        make_server, disk, retention):
    """Messages that only it had; those that another user has stay, and do not count."""
    server = make_server("alice", "bob", disk=disk, settings={"archive.retention": retention})
    alice = server.client("alice", "a")
    for i in range(1000):
        for name in "alice", "bob":
            alice.send(f"<message to='{name}@localhost' type='chat'><body>{i}</body></message>")
    alice.ping()
    until("all are stored", lambda: messages(server) == 2000)
    disk.turn(write_ms=5)
    command = server.ctl_start("user", "del", "alice@localhost")
    until("it begins", lambda: messages(server) < 2000)
    server.kill()
    command.communicate()
    disk.turn(write_ms=0)
    server.start()
    left = messages(server)
    assert 1000 < left < 2000
    said = server.ctl("archive", "expire")["text"]
    gone = left - messages(server)
    assert f"messages deleted: {gone}" in said and 1000 <= messages(server) <= 1001  # the newest


@pytest.mark.parametrize("disabled", [False, True])
def test_what_a_deletion_takes_is_counted(make_server, disabled):
    """By a row of each feature, so what `user stats` says is 0 for all of them afterwards."""
    server = make_server("alice", "bob", settings={"upload.enabled": "on"})
    alice, bob = server.client("alice", "r"), server.client("bob", "r")
    Room("sole").create(alice, "alice", persistentroom="1")
    Room("both").create(alice, "alice", persistentroom="1")
    Room("both").set_affiliation(alice, bob.bare, "owner")
    for body in (b"hello", b"goodbye"):
        upload(server, alice, body, body.decode())
    server.ctl("group", "add", "desk")
    server.ctl("group-member", "add", "desk", "alice@localhost")
    alice.result("set", "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='x'><item>"
                 "<a xmlns='urn:x'/></item></publish></pubsub>")
    Device(server).first()
    if disabled:
        server.ctl("user", "disable", "alice@localhost")
    counted = {"uploaded files": "2", "uploaded bytes": "12", "rooms without another owner": "1",
               "shared groups": "1", "PEP nodes": "1", "devices with tokens": "1"}

    def counts():
        facts = {row["name"]: row["value"] for row in server.rows("user", "stats", alice.bare)}
        return {name: facts[name] for name in counted}
    assert counts() == counted
    server.ctl("user", "del", alice.bare)
    server.add_user("alice")
    assert set(counts().values()) == {"0"}
