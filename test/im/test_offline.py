"""Delivery of what waited, while the store is slow or away: nothing is lost, nothing overtakes."""
import contextlib

import pytest

from harness import database
from harness.client import bodies, until
from stream.test_sm import resume

PAGE = 64  # rows of one page
NOTE = "<query xmlns='jabber:iq:private'><a xmlns='urn:a'/></query>"


def chat(to, body):
    return f"<message to='{to}' type='chat'><body>{body}</body></message>"


@contextlib.contextmanager
def no_page(server):
    """No page can be read and no message stored. Both wait in order."""
    with database.held_by_another(server, reads=True):
        yield


def slow_reader(server, waiting):
    """A client of bob that has its first page and has acknowledged nothing of it."""
    alice = server.client("alice", "a")
    alice.enable_sm()
    for i in range(waiting):
        alice.send(chat("bob@localhost", i))
    alice.wait_acked(waiting)
    bob = server.login("bob", "b")
    bob.auto_ack = False
    bob.enable_sm()
    bob.send("<presence/>")
    bob.wait("the first page", lambda: len(bodies(bob.inbox)) == min(waiting, PAGE))
    return alice, bob


def take(client, count):
    client.auto_ack = True
    client.ack()
    client.wait(f"{count} messages", lambda: len(bodies(client.inbox)) >= count)
    client.ping()
    return bodies(client.inbox)


@pytest.mark.parametrize("waiting", [1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
def test_live_message_behind_the_last_page(server, waiting):
    """One that comes while the page behind the last one is read is delivered, however many pages
    there were."""
    alice, bob = slow_reader(server, waiting)
    with no_page(server):
        bob.auto_ack = True
        bob.ack()
        bob.ping()  # the next page was asked for, if there is one
        alice.send(chat("bob@localhost", "live"))
        alice.ping()
    alice.wait_acked(waiting + 1)
    assert take(bob, waiting + 1) == [str(i) for i in range(waiting)] + ["live"]
    alice.send(chat("bob@localhost", "later"))
    assert take(bob, waiting + 2)[-1] == "later"


def test_live_message_that_another_session_has(server):
    """It was live for both, and one of them was getting its pages."""
    alice, bob = slow_reader(server, PAGE)
    other = server.client("bob", "other")
    other.enable_sm()
    with no_page(server):
        bob.ack()
        bob.ping()
        alice.send(chat("bob@localhost", "live"))
        other.expect("<message><body>live</body></message>")
        other.ack()
        other.ping()
    alice.wait_acked(PAGE + 1)
    assert take(bob, PAGE + 1) == [str(i) for i in range(PAGE)] + ["live"]


@pytest.mark.parametrize("has_other", [False, True])
def test_a_planned_restart_in_the_middle(server, has_other):
    """What comes meanwhile is delivered once and in order, also if another session has it."""
    waiting = [str(i) for i in range(2 * PAGE + 1)]
    alice, bob = slow_reader(server, len(waiting))
    mine, others = waiting[:PAGE], []
    if has_other:  # it takes what the slow one has not got yet
        other = server.login("bob", "other")
        other.enable_sm()
        other.available()
        others = take(other, PAGE + 1)
    else:
        mine = waiting
    alice.send(chat("bob@localhost", "live"))
    if has_other:
        other.expect("<message><body>live</body></message>")
        other.ack()
        other.ping()
    alice.wait_acked(len(waiting) + 1)
    server.restart()
    new = resume(server, bob)
    server.client("alice", "new").send(chat("bob@localhost", "later"))
    take(new, len(mine) + 2 - PAGE)
    assert bodies(bob.inbox) + bodies(new.inbox) == [*mine, "live", "later"]
    if has_other:
        assert others == waiting[PAGE:] and take(resume(server, other), 1) == ["later"]


def test_page_that_could_not_be_read(server):
    """It is read again when the store answers, and what comes then does not overtake."""
    bob = server.login("bob", "b")
    alice = server.client("alice", "a")
    alice.enable_sm()
    for i in range(5):
        alice.send(chat("bob@localhost", i))
    alice.wait_acked(5)
    with no_page(server):
        bob.send("<presence/>")
        server.wait_log("alarm=store.down|store.read-failed")
    until("the store works", lambda: alice.iq("set", NOTE).get("type") == "result")
    alice.send(chat("bob@localhost", "later"))
    alice.request_ack()
    assert take(bob, 6) == ["0", "1", "2", "3", "4", "later"]


def test_page_while_the_database_is_away(make_server):
    """The same when it refuses at once."""
    if not database.POSTGRESQL:
        pytest.skip("of a database server")
    server = make_server("alice", "bob")
    bob = server.login("bob", "b")
    alice = server.client("alice", "a")
    alice.enable_sm()
    for i in range(5):
        alice.send(chat("bob@localhost", i))
    alice.wait_acked(5)
    base = database.url_of(database.shared(), "postgres")
    database.psql(base, f"ALTER DATABASE {server.owned} ALLOW_CONNECTIONS false")
    database.psql(base, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        f"WHERE datname = '{server.owned}'")
    server.wait_log("alarm.raised alarm=store.down")
    bob.send("<presence/>")
    bob.ping()
    database.psql(base, f"ALTER DATABASE {server.owned} ALLOW_CONNECTIONS true")
    until("the database is back", lambda: alice.iq("set", NOTE).get("type") == "result")
    alice.send(chat("bob@localhost", "later"))
    assert take(bob, 6) == ["0", "1", "2", "3", "4", "later"]


def test_strangers_leave_room_for_contacts(make_server):
    """They may fill a part of the mailbox, also across a restart; a request does not make a
    stranger a contact."""
    server = make_server("alice", "bob", "carol", settings={
        "mailbox.unsettled-max": "50", "presence.approval": "ask"})
    server.befriend("alice", "bob")
    alice, carol = server.client("alice", "a"), server.client("carol", "c")
    carol.enable_sm()
    carol.send("<presence to='bob@localhost' type='subscribe'/>")
    for i in range(4):
        carol.send(chat("bob@localhost", i))
    carol.wait_acked(5)
    server.kill()
    server.start()
    alice, carol = server.client("alice", "a"), server.client("carol", "c")
    for i in range(4, 10):
        carol.send(chat("bob@localhost", i))
    for _ in range(5):
        carol.expect_error("resource-constraint", "wait", "<message type='error'/>")
    for i in range(45):
        alice.send(chat("bob@localhost", f"c{i}"))
    alice.expect_nothing("<message type='error'/>")
    bob = server.client("bob", "b")
    assert take(bob, 50) == [str(i) for i in range(5)] + [f"c{i}" for i in range(45)]


def test_the_server_itself_is_no_stranger(make_server):
    """What it says comes, however much strangers have left, also across a restart."""
    server = make_server("alice", "bob", "carol", settings={"mailbox.unsettled-max": "10"})
    server.befriend("alice", "bob")
    carol = server.client("carol", "c")
    carol.send(chat("bob@localhost", "spam"))
    carol.send(chat("bob@localhost", "more of it"))
    carol.expect_error("resource-constraint", "wait", "<message type='error'/>")
    server.ctl("announce", "we move", "--all")
    server.restart()
    server.ctl("announce", "we have moved", "--all")
    assert take(server.client("bob", "b"), 3) == ["spam", "we move", "we have moved"]


def test_nobody_is_a_stranger_without_contacts(make_server):
    """There is no contact to keep room for, also after a request; from the first contact on there
    is."""
    server = make_server("alice", "bob", "carol", settings={
        "mailbox.unsettled-max": "20", "presence.approval": "ask"})
    alice, carol = server.client("alice", "a"), server.client("carol", "c")
    carol.send("<presence to='bob@localhost' type='subscribe'/>")
    for i in range(21):
        carol.send(chat("bob@localhost", i))
    carol.expect_error("resource-constraint", "wait", "<message type='error'/>")
    bob = server.client("bob", "b")
    assert take(bob, 20) == [str(i) for i in range(20)]
    bob.result("set", "<query xmlns='jabber:iq:roster'><item jid='alice@localhost'/></query>")
    bob.close()
    for i in range(3):
        carol.send(chat("bob@localhost", f"c{i}"))
    carol.expect_error("resource-constraint", "wait", "<message type='error'/>")
    for i in range(18):
        alice.send(chat("bob@localhost", f"a{i}"))
    alice.expect_nothing("<message type='error'/>")
    assert take(server.client("bob", "b"), 20) == ["c0", "c1"] + [f"a{i}" for i in range(18)]


def test_bytes_that_wait(make_server):
    """Few large messages fill a mailbox as well, also across a restart; a part of it for strangers.
    Another mailbox is not concerned, and what is delivered gives room again."""
    server = make_server("alice", "bob", "carol", "dave", settings={
        "mailbox.unsettled-bytes": "100kB"})
    server.befriend("alice", "bob")
    alice, carol = server.client("alice", "a"), server.client("carol", "c")
    for client in alice, carol:
        client.enable_sm()
    for i in range(2):
        carol.send(chat("bob@localhost", f"{i}{'x' * 10000}"))
    carol.expect_error("resource-constraint", "wait", "<message type='error'/>")
    for i in range(1, 6):
        alice.send(chat("bob@localhost", f"{i}{'x' * 10000}"))
    alice.wait_acked(5)
    carol.wait_acked(2)
    alice.expect_nothing("<message type='error'/>")
    server.kill()
    server.start()
    alice, carol = server.client("alice", "a"), server.client("carol", "c")
    carol.send(chat("bob@localhost", "no"))
    carol.expect_error("resource-constraint", "wait", "<message type='error'/>")
    for i in range(6, 11):
        alice.send(chat("bob@localhost", f"{i}{'x' * 10000}"))
    alice.expect_error("resource-constraint", "wait", "<message type='error'/>")
    for client in alice, carol:
        client.send(chat("dave@localhost", f"{'x' * 10000}"))
        client.expect_nothing("<message type='error'/>")
    bob = server.client("bob", "b")
    assert [text.rstrip("x") for text in take(bob, 10)] == [str(i) for i in range(10)]
    for client in alice, carol:
        client.send(chat("bob@localhost", "again"))
        bob.expect(f"<message from='{client}'><body>again</body></message>")


def test_an_announcement_counts_those_who_have_it(make_server):
    """The mailboxes of those who are away are full in the end."""
    server = make_server("alice", "bob", "carol", settings={"mailbox.unsettled-max": 10})
    carol = server.client("carol", "c")

    def announce(text):
        done = server.ctl_run("announce", text, "--all")
        assert done.returncode == 0
        return done.stdout.strip()
    assert announce("first") == "accounts that it was sent to: 3"
    for _ in range(10):
        last = announce("more")
    assert last == ("accounts that it was sent to: 1; the others refused it, or their mailboxes "
                    "are full")
    carol.expect("<message><body>first</body></message>")
