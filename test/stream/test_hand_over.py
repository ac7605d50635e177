"""Messages whose session ends, and streams whose account changes."""
import pytest

from harness import xml
from harness.client import bodies, until

NO_STORE = "<no-store xmlns='urn:xmpp:hints'/>"


def chat(to, body, more="", kind="chat", ident="i"):
    return f"<message to='{to}' type='{kind}' id='{ident}'><body>{body}</body>{more}</message>"


def silent(server, resource):
    """A session that acknowledges nothing and cannot be resumed."""
    client = server.client("bob", resource)
    client.enable_sm(resume="false")
    client.auto_ack = False
    return client


def gone(watcher, lost):
    lost.cut()
    watcher.expect(f"<presence from='{lost}' type='unavailable'/>")


def received(client):
    return bodies(e for e in client.log if e.tag == f"{{{xml.CLIENT}}}message")


@pytest.mark.parametrize("kind, more, durable", [
    ("chat", NO_STORE, "on"), ("headline", "", "on"), ("chat", "", "off")])
def test_who_has_it_gets_no_second_copy(make_server, kind, more, durable):
    server = make_server("alice", "bob", settings={"im.durable-ack": durable})
    alice = server.client("alice", "a")
    one, two = silent(server, "one"), server.client("bob", "two")
    alice.send(chat("bob@localhost", "x", more, kind))
    for client in (one, two):
        client.expect("<message><body>x</body></message>")
    gone(two, one)
    two.expect_nothing("<message><body>x</body></message>")


@pytest.mark.parametrize("kind", ["groupchat", "headline", "error"])
def test_kinds_that_are_for_one_resource(server, alice, kind):
    """RFC 6121 §8.5.3.2.1: not for the others."""
    one, two = silent(server, "one"), server.client("bob", "two")
    alice.send(chat(one, "x", "", kind))
    one.expect("<message><body>x</body></message>")
    gone(two, one)
    two.expect_nothing("<message><body>x</body></message>")


def test_mailbox_without_durable_acknowledgements(make_server):
    server = make_server("alice", "bob", settings={"im.durable-ack": "off"})
    alice, one = server.client("alice", "a"), server.client("bob", "one")
    one.enable_sm()
    one.cut()
    alice.send(chat("bob@localhost", "x"))
    alice.ping()
    server.ctl("session", "kick", "bob@localhost")
    again = server.client("bob", "again")
    again.ping()
    assert bodies(again.inbox) == ["x"]


@pytest.mark.parametrize("change", [
    ["user", "del", "bob@localhost"],
    ["user", "password", "bob@localhost", "--password", "newsecret"]])
def test_late_binding(server, change):
    """A stream that logged in before the account or its password went does not get a session."""
    client = server.connect("bob")
    assert client.authenticate() is None
    client.open()
    server.ctl(*change)
    if "del" in change:
        server.add_user("bob", "otherpass")
    answer = client.iq("set", f"<bind xmlns='{xml.BIND}'><resource>z</resource></bind>")
    assert answer.get("type") == "error", xml.canonical(answer)


def test_offline_messages_of_a_session_that_ends(server, alice):
    """Unacknowledged messages of a session that ends go to the other session."""
    for i in range(200):
        alice.send(chat("bob@localhost", i, ident=f"m{i}"))
    alice.ping()
    one, two = (server.login("bob", name) for name in ("one", "two"))
    one.enable_sm(resume="false")
    one.auto_ack = False
    one.available()
    one.ping()
    two.enable_sm()
    two.available()
    two.ping()
    gone(two, one)
    two.wait("all of them", lambda: len(received(two)) >= 200)
    two.ping()
    assert sorted(map(int, received(two))) == list(range(200))


@pytest.mark.parametrize("kind", ["chat", "headline"])
def test_bounced_is_what_nobody_got(make_server, kind):
    server = make_server("alice", "bob", settings={"sm.hibernate-buffer": "5",
                                                   "sm.on-expiry": "bounce"})
    alice, one, two = (server.client(*who) for who in (("alice", "a"), ("bob", "one"),
                                                       ("bob", "two")))
    one.enable_sm()
    one.cut()
    until("hibernation", lambda: "hibernating" in [
        row["state"] for row in server.rows("session", "list")])
    to = "bob@localhost" if kind == "chat" else one
    for i in range(8):
        alice.send(chat(to, i, kind=kind, ident=f"m{i}"))
    two.expect(f"<presence from='{one}' type='unavailable'/>")
    alice.expect_nothing("<message type='error'/>", after=two)


def test_hibernating_is_not_connected(make_server):
    server = make_server("bob", settings={"c2s.resource-conflict": "refuse"})
    lost = server.client("bob", "phone")
    lost.enable_sm()
    lost.cut()
    again = server.client("bob", "phone")
    assert str(again) == "bob@localhost/phone"


# --- copies (XEP-0280) of what went to one client ---


def with_copies(client):
    client.result("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    return client


def copies(client, body):
    """How often it came, directly or as a copy."""
    messages = (e for e in client.log if e.tag == f"{{{xml.CLIENT}}}message")
    return sum(body == e.text for m in messages for e in m.iter(f"{{{xml.CLIENT}}}body"))


@pytest.fixture
def others(server, alice):
    """bob's client that never acknowledges; one that has copies; one that has not."""
    one = silent(server, "one")
    two, three = with_copies(server.client("bob", "two")), server.client("bob", "three")
    for client in (two, three):
        client.enable_sm(resume="false")
    for i in range(3):
        alice.send(chat(one, f"x{i}", ident=f"m{i}"))
    one.expect("<message><body>x2</body></message>")
    two.wait("copies", lambda: copies(two, "x2"))
    return one, two, three


@pytest.mark.parametrize("acked", [True, False])
def test_handed_over_to_those_without_a_copy(alice, others, acked):
    one, two, three = others
    if acked:
        two.ack()
        two.ping()
    gone(three, one)
    three.wait("what one lost", lambda: copies(three, "x2"))
    for client in (two, three):
        client.expect_nothing("<message type='error'/>", after=alice)
        assert [copies(client, f"x{i}") for i in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("acked", [True, False])
def test_copies_are_enough(server, others, acked):
    """Nobody lacks it: it is not given again, now or to a client that comes later; but if those
    with the copy go without having taken it, it waits."""
    one, two, three = others
    three.close()
    if acked:
        two.ack()
        two.ping()
    else:
        two.auto_ack = False
    gone(two, one)
    two.ping()
    assert [copies(two, f"x{i}") for i in range(3)] == [1, 1, 1]
    two.cut()
    until("nobody", lambda: "bob@localhost" not in str(server.rows("session", "list")))
    four = server.client("bob", "four")
    four.ping()
    assert [copies(four, f"x{i}") for i in range(3)] == [0 if acked else 1] * 3


@pytest.mark.parametrize("sm", [True, False])
def test_a_copy_for_one_of_negative_priority_delivers_nothing(server, alice, sm):
    """RFC 6121 §8.5.2: the message waits for a session that may receive it."""
    two = with_copies(server.client("bob", "two", priority=-1))
    if sm:
        two.enable_sm()
    alice.send(chat("bob@localhost", "x"))
    two.wait("a copy", lambda: copies(two, "x"))
    if sm:
        two.ack()
    two.ping()
    server.client("bob", "one").expect("<message><body>x</body></message>")


def test_one_that_takes_it_late_settles_it(server, others):
    """Also when the clients with a copy are gone before."""
    one, two, three = others
    two.ack()
    two.ping()
    one.ack()
    one.ping()
    for client in others:
        client.close()
    until("nobody", lambda: "bob@localhost" not in str(server.rows("session", "list")))
    four = server.client("bob", "four")
    four.ping()
    assert not bodies(four.inbox)


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("end", ["closes", "is replaced", "is cut"])
def test_a_request_has_one_answer(make_server, answers, end):
    """RFC 6120 §8.2.3: an answered request that was not acknowledged brings no error when the
    session ends; one that was not answered does."""
    server = make_server("alice", "bob", "carol")
    alice, carol = server.client("alice", "a"), server.client("carol", "c")
    bob = silent(server, "b")
    for client in (carol, alice):  # the same id from another address is another request
        client.send(f"<iq type='get' id='q' to='{bob}'><query xmlns='jabber:iq:version'/></iq>")
        bob.expect(f"<iq type='get' id='q' from='{client}'/>")
    if answers:
        bob.send(f"<iq type='result' id='q' to='{alice}'/>")
        alice.expect("<iq type='result' id='q'/>")
    if end == "closes":
        bob.close()
    elif end == "is replaced":
        server.client("bob", "b")
    else:
        bob.cut()
    refused = (f"<iq type='error' id='q'><error type='wait'>"
               f"<recipient-unavailable xmlns='{xml.STANZA_ERROR}'/></error></iq>")
    carol.expect(refused)
    if answers:
        alice.expect_nothing("<iq id='q'/>")
    else:
        alice.expect(refused)


@pytest.mark.parametrize("kind", ["type='bogus'", ""])
def test_an_answer_that_is_refused_is_none(make_server, kind):
    server = make_server("alice", "bob")
    alice, bob = server.client("alice", "a"), silent(server, "b")
    alice.send(f"<iq type='get' id='q' to='{bob}'><query xmlns='jabber:iq:version'/></iq>")
    bob.expect(f"<iq type='get' id='q' from='{alice}'/>")
    bob.raw(f"<iq {kind} id='q' to='{alice}'/>")
    bob.ping()
    bob.cut()
    alice.expect("<iq type='error' id='q'/>")
