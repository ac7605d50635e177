"""Messages that wait until another service was asked about them (architecture §6), with the
feature of debug builds that asks a component (src/operate/asks_first.h)."""
import pytest

from harness import xml
from harness.client import until
from harness.component import Component
from harness.muc import Room
from harness.rows import MUSTERD

pytestmark = pytest.mark.skipif("build/release" in str(MUSTERD),
                                reason="only debug builds have the feature")
DOMAIN = "check.example.test"
SECRET = "a rather long secret"
at_archive = pytest.mark.parametrize("host", ["MUSTER_ASKS_ARCHIVE"], indirect=True)


def chat(to, body, kind="chat"):
    return (f"<message to='{to}' type='{kind}' id='{body}'><body>{body}</body>"
            f"<origin-id xmlns='{xml.SID}' id='{body}'/></message>")


@pytest.fixture
def host(make_server, monkeypatch, request):
    monkeypatch.setenv(getattr(request, "param", "MUSTER_ASKS_FIRST"), DOMAIN)
    server = make_server("alice", "bob", "carol", component=True)
    server.ctl("component", "add", DOMAIN, "--secret", SECRET)
    return server


@pytest.fixture
def checker(host):
    return Component(host, DOMAIN, SECRET)


@pytest.fixture
def bob(host):
    client = host.client("bob", "b")
    client.enable_sm()
    return client


@pytest.fixture
def alice(host):
    client = host.client("alice", "a")
    client.enable_sm()
    return client


def asked(checker, body):
    """The question about the message with this body, which is the next."""
    question = checker.expect_next("<iq type='get'/>")
    assert question.find(f".//{{{xml.CLIENT}}}body").text == body, xml.canonical(question)
    return question


def answer(checker, question, kind="result"):
    checker.send(f"<iq type='{kind}' id='{question.get('id')}' from='{DOMAIN}'"
                 f" to='{question.get('from')}'/>")


def test_it_waits_in_order_and_is_not_acknowledged(checker, alice, bob):
    alice.send(chat(bob.bare, "m1"))
    alice.send(f"<presence to='{bob.bare}' id='p2'/>")
    alice.send(chat(bob.bare, "m3"))
    first = asked(checker, "m1")
    alice.request_ack()
    bob.expect_nothing()
    assert alice.acked == 0
    answer(checker, first)
    bob.expect_next("<message id='m1'/>")
    bob.expect_next("<presence id='p2'/>")
    answer(checker, asked(checker, "m3"), "error")
    alice.expect_error("policy-violation", template="<message type='error' id='m3'/>")
    alice.wait_acked(3)
    bob.expect_nothing("<message/>")


def test_who_does_not_answer_holds_up_nobody_else(checker, host, alice, bob):
    alice.send(chat(bob.bare, "m1"))
    asked(checker, "m1")
    carol = host.client("carol", "c")
    carol.send(chat(bob.bare, "m2"))
    answer(checker, asked(checker, "m2"))
    bob.expect_next("<message id='m2'/>")


def test_a_service_that_is_away_refuses(alice, bob):
    alice.send(chat(bob.bare, "m1"))
    alice.expect_error("policy-violation", template="<message type='error' id='m1'/>")
    alice.wait_acked(1)


def test_a_room_message_waits(checker, alice, bob):
    cave = Room("cave")
    cave.create(alice, "first")
    cave.enter(bob, "second")
    for body in ("g1", "g2"):
        alice.send(chat(cave.jid, body, "groupchat"))
        question = asked(checker, body)
        bob.expect_nothing("<message type='groupchat'/>")
        answer(checker, question)
        bob.expect(f"<message type='groupchat'><body>{body}</body></message>")


def test_after_a_resumption_it_goes_on_once(checker, host, alice, bob):
    alice.send(chat(bob.bare, "m1"))
    question = asked(checker, "m1")
    alice.cut()
    again = host.connect("alice")
    assert again.take_over(alice).get("h") == "0"
    again.send(chat(bob.bare, "m1"))
    again.send(chat(bob.bare, "m2"))
    answer(checker, question)
    answer(checker, asked(checker, "m2"))
    bob.expect_next("<message id='m1'/>")
    bob.expect_next("<message id='m2'/>")
    again.wait_acked(2)
    bob.expect_nothing("<message/>")


def test_what_was_said_before_the_stream_was_closed(checker, host, bob):
    carol = host.client("carol", "c")
    carol.send(chat(bob.bare, "m1"))
    carol.send(chat(bob.bare, "m2"))
    question = asked(checker, "m1")
    carol.close()
    answer(checker, question)
    answer(checker, asked(checker, "m2"))
    assert [bob.expect("<message/>").get("id") for _ in range(2)] == ["m1", "m2"]
    until("her session has ended", lambda: not [
        row for row in host.rows("session", "list") if row["jid"].startswith("carol@")])


@pytest.mark.parametrize("how", ["crash", "restart"])
def test_after_the_end_of_the_process_it_is_said_again(checker, host, alice, bob, how):
    alice.send(chat(bob.bare, "m1"))
    answer(checker, asked(checker, "m1"))
    alice.wait_acked(1)
    alice.send(chat(bob.bare, "m2"))
    asked(checker, "m2")
    alice.request_ack()
    if how == "crash":
        host.kill()
    else:
        host.stop()
    alice.expect_closed()
    assert alice.acked == 1
    host.start()
    checker = Component(host, DOMAIN, SECRET)
    new = host.connect("alice")
    if how == "restart":
        assert new.take_over(alice).get("h") == "1"
    else:
        new = host.client("alice", "a")
    new.send(chat(bob.bare, "m2"))
    answer(checker, asked(checker, "m2"))
    new.wait_acked(2 if how == "restart" else 0)
    if how == "restart":
        reader = host.connect("bob")
        reader.take_over(bob)
    else:
        reader = host.client("bob", "late")
    reader.expect("<message id='m2'/>")
    reader.expect_nothing("<message id='m2'/>")


def test_the_account_is_deleted_meanwhile(checker, host, alice, bob):
    alice.send(chat(bob.bare, "m1"))
    question = asked(checker, "m1")
    host.ctl("user", "del", "alice@localhost")
    alice.expect_stream_error("not-authorized")
    answer(checker, question)
    bob.expect_nothing("<message/>")


@pytest.mark.parametrize("how", ["closed", "a second one stays"])
def test_a_component_that_goes_away_ends_its_questions(checker, host, alice, bob, how):
    """What waits for it is refused; where another serves the domain, that is asked next."""
    alice.send(chat(bob.bare, "m1"))
    alice.send(chat(bob.bare, "m2"))
    asked(checker, "m1")
    second = Component(host, DOMAIN, SECRET) if how != "closed" else None
    checker.sock.close()
    alice.expect_error("policy-violation", template="<message type='error' id='m1'/>")
    if second is None:
        alice.expect_error("policy-violation", template="<message type='error' id='m2'/>")
    else:
        answer(second, asked(second, "m2"))
        bob.expect_next("<message id='m2'/>")
    alice.wait_acked(2)
    bob.expect_nothing("<message/>")


def test_what_was_said_before_the_same_resource_is_bound_again(checker, host, bob):
    """The session that leaves says it all; the new one has another resource meanwhile."""
    carol = host.client("carol", "c")
    for body in "m1", "m2":
        carol.send(chat(bob.bare, body))
    question = asked(checker, "m1")
    carol.close()
    until("her session leaves", lambda: [row["state"] for row in host.rows(
        "session", "list") if row["jid"] == "carol@localhost/c"] == ["hibernating"])
    again = host.client("carol", "c")
    assert str(again) != "carol@localhost/c"
    again.send(chat(bob.bare, "n1"))
    answer(checker, asked(checker, "n1"))
    bob.expect_next("<message id='n1'/>")
    answer(checker, question)
    answer(checker, asked(checker, "m2"))
    for body in "m1", "m2":
        bob.expect_next(f"<message id='{body}'/>")
    until("the first has ended", lambda: [row["jid"] for row in host.rows("session", "list")
                                          if row["jid"].startswith("carol@")] == [str(again)])


def in_archive(client):
    """The bodies in the archive of the client's account."""
    client.result("set", "<query xmlns='urn:xmpp:mam:2'/>")
    return [e.find(f".//{{{xml.CLIENT}}}body").text for e in client.log
            if e.find("{urn:xmpp:mam:2}result") is not None]


@at_archive
def test_the_archives_of_both_sides_wait(checker, host, alice, bob):
    alice.send(chat(bob.bare, "m1"))
    alice.send(f"<presence to='{bob.bare}' id='p2'/>")
    alice.send(chat(bob.bare, "m3"))
    first = asked(checker, "m1")
    assert first.get("from") == alice.bare
    answer(checker, first)
    # the next one is asked about at the home of its sender, where nothing waits any more
    questions = {question.get("from"): question
                 for question in (checker.expect_next("<iq type='get'/>") for _ in range(2))}
    second, third = questions[bob.bare], questions[alice.bare]
    alice.request_ack()
    assert not [e for e in bob.inbox if e.get("id") in ("m1", "p2", "m3")]
    answer(checker, third, "error")
    answer(checker, second, "error")
    bob.expect_next("<message id='m1'/>")
    bob.expect_next("<presence id='p2'/>")
    answer(checker, asked(checker, "m3"))
    bob.expect_next("<message id='m3'/>")
    alice.wait_acked(3)
    assert in_archive(alice) == ["m1"]
    assert in_archive(bob) == ["m3"]


@at_archive
def test_a_login_meanwhile_waits_as_well(checker, host, alice, bob):
    alice.send(chat(bob.bare, "m1"))
    answer(checker, asked(checker, "m1"))
    question = asked(checker, "m1")
    late = host.connect("bob")
    late.authenticate()
    late.open()
    late.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
    answer(checker, question)
    late.expect("<iq type='result' id='b'/>")
    bob.expect_next("<message id='m1'/>")


@at_archive
@pytest.mark.parametrize("command", ["disable", "del"])
def test_an_operator_waits_for_nobody(checker, host, alice, bob, command):
    """An account ends although a service that was asked about its messages does not answer."""
    for body in "m1", "m2":
        alice.send(chat(bob.bare, body))
        answer(checker, asked(checker, body))
        if body == "m1":
            asked(checker, "m1")  # in the name of bob
    host.ctl("user", command, bob.bare)
    bob.expect_stream_error("not-authorized")
    for body in "m1", "m2":
        alice.expect_error("service-unavailable",
                           template=f"<message type='error' id='{body}'/>")
    alice.wait_acked(2)
    alice.send(chat(bob.bare, "m3"))
    answer(checker, asked(checker, "m3"))
    alice.expect_error("service-unavailable", template="<message type='error' id='m3'/>")
