"""Stream management: XEP-0198, and what architecture §6 makes of it."""
import pytest

from harness import xml
from harness.client import bodies, until
from harness.websocket import WebSocket


def chat(to, body):
    return f"<message to='{to}' type='chat'><body>{body}</body></message>"


def cut_and_resume(server, old):
    """The network of `old` fails; the client comes back and takes the session over."""
    old.cut()
    return resume(server, old)


def resume(server, old):
    new = server.connect(old.name)
    answer = new.take_over(old)
    assert answer.tag == f"{{{xml.SM}}}resumed", xml.canonical(answer)
    assert answer.get("previd") == old.sm_id
    return new


def refuse(server, old):
    """Resumption fails, and the stream may bind instead (§5). Returns the condition."""
    new = server.connect(old.name)
    answer = new.take_over(old)
    assert answer.tag == f"{{{xml.SM}}}failed", xml.canonical(answer)
    new.bind()
    return xml.condition(answer)


def receive(client, bodies_wanted):
    for body in bodies_wanted:
        client.expect_next(f"<message><body>{body}</body></message>")


@pytest.fixture
def bob(server):
    client = server.client("bob", "b")
    client.enable_sm()
    return client


# --- enabling (§3) ---


def test_enabled(bob):
    assert bob.sm_id and len(bob.sm_id) >= 16
    assert bob.log[-1].get("resume") in ("true", "1")
    assert bob.log[-1].get("max") in (None, "60")


def test_without_resumption(server):
    client = server.login("alice")
    enabled = client.enable_sm(resume="false")
    assert enabled.get("id") is None and enabled.get("resume") in (None, "false", "0")


def test_ids_differ(server):
    assert len({server.login("alice").enable_sm().get("id") for _ in range(5)}) == 5


def test_before_binding(server):
    client = server.connect("alice")
    assert client.authenticate() is None
    client.open()
    client.raw(f"<enable xmlns='{xml.SM}'/>")
    failed = client.expect(f"<failed xmlns='{xml.SM}'/>")
    assert xml.condition(failed) == "unexpected-request"


def test_twice(bob):
    bob.raw(f"<enable xmlns='{xml.SM}'/>")
    answer = bob.next()
    assert xml.condition(answer) in ("unexpected-request", "policy-violation",
                                     "undefined-condition")


@pytest.mark.parametrize("element", ["enable", "resume", "r", "a"])
def test_before_authentication(server, element):
    """§3: <failed/>, and the stream goes on."""
    client = server.connect("alice")
    client.raw(f"<{element} xmlns='{xml.SM}' previd='x' h='0'/>")
    failed = client.expect(f"<failed xmlns='{xml.SM}'/>")
    assert xml.condition(failed) == "unexpected-request"
    client.login("PLAIN", "a").ping()


def test_off(server):
    """sm.enabled: not offered, and refused; those that have it keep it."""
    old = server.client("alice", "old")
    old.enable_sm()
    server.ctl("set", "sm.enabled", "off")
    client = server.connect("alice")
    assert f"{{{xml.SM}}}sm" not in {e.tag for e in client.features.iter()}
    client.login("PLAIN", "a")
    assert not client.offers("sm", xml.SM)
    for element in ("<enable xmlns='{}'/>", "<resume xmlns='{}' previd='x' h='0'/>"):
        client.raw(element.format(xml.SM))
        failed = client.expect(f"<failed xmlns='{xml.SM}'/>")
        assert xml.condition(failed) in ("service-unavailable", "unexpected-request")
    client.ping()
    old.request_ack()
    old.ping()
    server.ctl("set", "sm.enabled", "on")
    client.enable_sm()


def test_off_and_a_lost_session(server, bob):
    """Who has it keeps it: the session is resumed, and what waited for it comes."""
    old = server.client("alice", "old")
    old.enable_sm()
    server.ctl("set", "sm.enabled", "off")
    old.cut()
    bob.send(chat(old, "while away"))
    for said in ("while away", "and since"):
        old = resume(server, old)
        receive(old, [said])
        old.cut()
        bob.send(chat(old, "and since"))
    assert refuse_enable(server.client("alice", "new")) == "service-unavailable"


def refuse_enable(client):
    client.raw(f"<enable xmlns='{xml.SM}' resume='true'/>")
    return xml.condition(client.expect(f"<failed xmlns='{xml.SM}'/>"))


@pytest.mark.parametrize("asked, given", [("5", "5"), ("60", "60"), ("600", "60"), ("x", "60"),
                                          ("0", None)])
def test_no_longer_than_the_client_wants(server, asked, given):
    """§3: `max` of the client, if it is below that of the server."""
    enabled = server.client("alice", "a").enable_sm(more=f"max='{asked}'")
    assert enabled.get("max") == given
    assert (enabled.get("resume") == "true") == (given is not None)


def test_it_ends_when_the_client_wants(server):
    server.befriend("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.enable_sm(more="max='1'")
    bob.cut()
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")


# --- acknowledgements (§4) ---


def test_server_counts_stanzas(bob):
    bob.wait_acked(0)
    bob.send("<presence/>")
    bob.send(f"<message to='{bob}'><body>1</body></message>")
    bob.send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
    bob.wait_acked(3)
    bob.request_ack()
    bob.ping()
    assert bob.acked in (3, 4)


def test_refused_stanzas_count_too(bob):
    bob.send(chat("nobody@localhost", "x"))
    bob.send("<iq type='get' id='1'><query xmlns='urn:example:unknown'/></iq>")
    bob.send(chat("romeo@elsewhere.example", "x"))
    bob.wait_acked(3)


def test_ack_follows_without_being_asked(server, bob):
    """What was not durable when it was asked for is acknowledged as soon as it is."""
    for i in range(50):
        bob.send(chat("alice@localhost", i))
    bob.request_ack()
    bob.wait("the last ack", lambda: bob.acked == 50)


@pytest.mark.parametrize("every", [1, 3, 64])
def test_server_asks_every_n_stanzas(make_server, every):
    server = make_server("alice", "bob", settings={"sm.ack-every": str(every),
                                                        "sm.ack-after": "1min"},
                         why="64 is its largest value")
    alice, bob = server.client("alice"), server.login("bob", "b")
    bob.enable_sm()
    bob.auto_ack = False
    for i in range(every):
        alice.send(chat(bob, i))
    bob.wait("<r/>", lambda: any(e.tag == f"{{{xml.SM}}}r" for e in bob.log))
    receive(bob, range(every))


def asked(client):
    return sum(element.tag == f"{{{xml.SM}}}r" for element in client.log)


def test_a_single_message_is_asked_for(make_server):
    """Who ends without a word of its own does not get it again. Content that is not stored asks for
    nothing."""
    server = make_server("alice", "bob", settings={"sm.ack-every": "64"},
                         why="few are sent here, and sm.ack-after is what asks")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    bob.enable_sm()
    alice.send(f"<message to='{bob}' type='chat'><composing xmlns="
               "'http://jabber.org/protocol/chatstates'/></message>")
    alice.send(chat(bob.bare, "once"))
    bob.wait("<r/>", lambda: asked(bob) > 0)
    bob.close()
    server.client("bob", "again").expect_nothing("<message/>")
    assert asked(bob) == 1


@pytest.mark.parametrize("h", ["7", "4294967295"])
def test_h_too_high(bob, h):
    """§4: undefined-condition with handled-count-too-high."""
    bob.ack(h)
    error = bob.expect_stream_error("undefined-condition")
    high = error.find(f"{{{xml.SM}}}handled-count-too-high")
    assert high is not None and high.get("h") == h and high.get("send-count") == "0"


@pytest.mark.parametrize("h", ["-1", "one", "", "4294967296"])
def test_h_is_not_a_number(bob, h):
    bob.ack(h)
    bob.expect_stream_error("undefined-condition", "bad-format", "policy-violation", "invalid-xml")


# --- resumption (§5) ---


def test_resume_delivers_what_was_missed(server, alice, bob):
    bob.cut()
    for i in range(20):
        alice.send(chat(bob if i % 2 else bob.bare, i))
    alice.ping()
    again = resume(server, bob)
    receive(again, range(20))
    again.expect_nothing("<message/>")
    assert again.jid == "bob@localhost/b"


def test_resume_repeats_what_was_not_acknowledged(server, alice, bob):
    bob.auto_ack = False
    for i in range(10):
        alice.send(chat(bob, i))
    receive(bob, range(10))
    bob.h -= 6  # the client lost the last six
    again = cut_and_resume(server, bob)
    receive(again, range(4, 10))
    again.expect_nothing("<message/>")


def test_repeated_messages_were_not_late(server, alice, bob):
    """XEP-0203: what the client was sent in time is repeated as it was, also to a new stream that
    comes while the server still believes in the old one."""
    bob.auto_ack = False
    alice.send(chat(bob, 1))
    receive(bob, [1])
    bob.h -= 1
    again = resume(server, bob)
    found = again.expect("<message><body>1</body></message>")
    assert found.find(f"{{{xml.DELAY}}}delay") is None


def test_resume_says_what_arrived(server, alice, bob):
    """The client resends what h does not cover; the server has each stanza once."""
    for i in range(5):
        bob.send(chat(alice, i))
    bob.wait_acked(5)
    new = server.connect("bob")
    bob.cut()
    answer = new.take_over(bob)
    assert answer.get("h") == "5"
    for i in range(5, 8):
        new.send(chat(alice, i))
    receive(alice, range(8))
    alice.expect_nothing("<message/>")


def test_resume_twice_in_a_row(server, alice, bob):
    for round_ in range(4):
        bob.cut()
        alice.send(chat(bob, round_))
        again = resume(server, bob)
        again.name = "bob"
        receive(again, [round_])
        bob = again


def test_resume_while_the_old_stream_lives(server, alice, bob):
    """A dead network looks alive to the server: the new stream wins."""
    alice.send(chat(bob, 1))
    receive(bob, [1])
    again = resume(server, bob)
    bob.expect_stream_error("conflict")
    alice.send(chat(bob, 2))
    receive(again, [2])
    again.expect_nothing("<message/>")


def test_stream_goes_on_after_resumption(server, alice, bob):
    again = cut_and_resume(server, bob)
    for i in range(10):
        again.send(chat(alice, i))
    receive(alice, range(10))
    again.wait_acked(10)
    alice.send(chat(again, "back"))
    receive(again, ["back"])


def test_an_ordinary_end_is_the_end(server, bob):
    """§5: a closed stream is not resumed."""
    bob.close()
    assert refuse(server, bob) == "item-not-found"


def test_unknown_id(server, bob):
    bob.sm_id = "no-such-session"
    assert refuse(server, bob) == "item-not-found"


def test_the_session_of_another_account(server, bob):
    """The id is bound to the account (and the refusal tells nothing)."""
    bob.cut()
    thief = server.connect("alice")
    answer = thief.take_over(bob)
    assert xml.condition(answer) == "item-not-found"
    resume(server, bob)


def test_resume_with_h_too_high(server, alice, bob):
    bob.h += 5
    bob.cut()
    new = server.connect("bob")
    try:
        answer = new.take_over(bob)
        assert answer.tag == f"{{{xml.SM}}}failed"
    except AssertionError:
        assert any(e.tag == f"{{{xml.STREAM}}}error" for e in new.log)


def test_contacts_do_not_notice(server):
    server.befriend("alice", "bob")
    alice = server.client("alice", "a")
    bob = server.client("bob", "b")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    bob.enable_sm()
    bob.cut()
    alice.send(chat(bob, "marker"))
    again = resume(server, bob)
    receive(again, ["marker"])
    alice.expect_nothing("<presence/>", after=again)


def test_presence_is_coalesced_while_hibernating(server):
    server.befriend("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    bob.enable_sm()
    bob.cut()
    for i in range(300):
        alice.send(f"<presence><status>{i}</status></presence>")
    alice.send(chat(bob, "end"))
    alice.ping()
    again = resume(server, bob)
    again.expect("<message><body>end</body></message>")
    last = f"<presence from='{alice}'><status>299</status></presence>"
    again.expect(last)  # it may wait for its turn (presence.change-rate)
    states = [e for e in again.log if e.tag == f"{{{xml.CLIENT}}}presence"]
    assert 1 <= len(states) <= 100 and xml.matches(states[-1], last)


# --- the end of a session that is not resumed ---


def test_lost_messages_go_to_the_mailbox(server, alice):
    """Without resumption what was not acknowledged waits for the next session."""
    bob = server.client("bob", "b")
    bob.enable_sm(resume="false")
    bob.auto_ack = False
    for i in range(5):
        alice.send(chat(bob, i))
    receive(bob, range(5))
    bob.ack(2)
    bob.ping()
    bob.cut()
    alice.ping()
    again = server.client("bob", "again")
    for i in range(2, 5):
        again.expect(f"<message><body>{i}</body></message>")
    again.expect_nothing("<message/>")


def test_lost_messages_go_to_the_other_session(server, alice):
    bob, other = server.client("bob", "b"), server.client("bob", "other")
    bob.enable_sm(resume="false")
    bob.auto_ack = False
    alice.send(chat(bob, "to b only"))
    receive(bob, [])
    bob.expect("<message><body>to b only</body></message>")
    bob.cut()
    other.expect(f"<message from='{alice}'><body>to b only</body></message>")


def test_lost_requests_are_answered(server, alice):
    bob = server.client("bob", "b")
    bob.enable_sm(resume="false")
    bob.auto_ack = False
    alice.send(f"<iq type='get' to='{bob}' id='q'><query xmlns='urn:x'/></iq>")
    bob.expect("<iq id='q'/>")
    bob.cut()
    condition = xml.condition(alice.expect("<iq type='error' id='q'/>"))
    assert condition in ("service-unavailable", "recipient-unavailable")


def test_full_buffer_ends_resumability_not_messages(make_server):
    server = make_server("alice", "bob", settings={"sm.hibernate-buffer": "5"})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    bob.enable_sm()
    bob.cut()
    for i in range(8):
        alice.send(chat(bob.bare, i))
    alice.ping()
    assert refuse(server, bob) == "item-not-found"
    server.wait_log('event=session.end .*reason="too much waited to be resumed"')
    again = server.client("bob", "again")
    receive(again, range(8))
    again.expect_nothing("<message/>")


def test_a_longer_queue_cannot_hibernate(make_server):
    """What was sent and not acknowledged counts, too (architecture §6)."""
    server = make_server("alice", "bob", settings={"sm.hibernate-buffer": "5"})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    bob.enable_sm()
    bob.auto_ack = False
    for i in range(5):
        alice.send(chat(bob, i))
    receive(bob, range(5))
    bob.h = 0
    bob.cut()
    again = server.connect("bob")
    again.auto_ack = False
    assert again.take_over(bob).tag == f"{{{xml.SM}}}resumed"
    receive(again, range(5))
    alice.send(chat(again, 5))
    receive(again, [5])
    again.h = 0
    again.cut()
    assert refuse(server, again) == "item-not-found"
    again = server.client("bob", "again")
    receive(again, range(6))
    again.expect_nothing("<message/>")


def test_presence_of_one_contact_is_one_of_the_buffer(make_server):
    server = make_server("alice", "bob", settings={"sm.hibernate-buffer": "5"})
    server.befriend("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    bob.enable_sm()
    bob.auto_ack = False
    for i in range(40):
        alice.send(f"<presence><status>{i}</status></presence>")
    bob.expect(f"<presence from='{alice}'><status>39</status></presence>")
    bob.cut()
    alice.send(chat(bob, "end"))
    alice.ping()
    again = resume(server, bob)
    again.expect("<message><body>end</body></message>")
    again.ping()


def test_the_buffer_bounds_only_the_absent(make_server):
    """While connected the bound is bytes, not stanzas (architecture §6)."""
    server = make_server("alice", "bob", settings={"sm.hibernate-buffer": "5"})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    bob.enable_sm()
    bob.auto_ack = False
    for i in range(100):
        alice.send(chat(bob, i))
    receive(bob, range(100))


@pytest.mark.parametrize("name, bad, good", [
    ("sm.hibernate-time", ["29s", "91s", "none", "soon"], ["30s", "90s"]),
    ("sm.hibernate-buffer", ["4", "151"], ["5", "150"]),
    ("sm.ack-every", ["0", "65"], ["1", "64"]),
    ("sm.on-expiry", ["drop"], ["deliver", "bounce"])])
def test_ranges(server, name, bad, good):
    for value in bad:
        done = server.ctl_run("set", name, value)
        assert done.returncode in (1, 2) and name in done.stdout + done.stderr
    for value in good:
        server.ctl("set", name, value)


def test_resume_after_a_planned_restart(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    bob.enable_sm()
    bob.cut()
    for i in range(5):
        alice.send(chat(bob, i))
    alice.ping()
    server.restart()
    again = resume(server, bob)
    receive(again, range(5))
    again.expect_nothing("<message/>")
    alice = server.client("alice", "a")
    alice.send(chat(again, "after"))
    receive(again, ["after"])


@pytest.mark.parametrize("available", [True, False])
def test_directed_presence_outlives_a_planned_restart(server, available):
    """RFC 6121 §4.6.3: whoever got it hears of the end, whatever lies between."""
    alice, carol = server.client("alice", "a"), server.client("carol", "c")
    bob = server.login("bob", "b")
    if available:
        bob.available()
    bob.enable_sm()
    carol.enable_sm()
    bob.send(f"<presence to='{carol}'/><presence to='{alice}'/><presence to='nobody@localhost'/>")
    bob.send(f"<presence to='{alice}' type='unavailable'/>")
    carol.expect(f"<presence from='{bob}' type='-'/>")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    server.restart()
    carol, bob = resume(server, carol), resume(server, bob)
    alice = server.client("alice", "a")
    bob.send("<presence type='unavailable'/>")
    carol.expect(f"<presence from='{bob}' type='unavailable'/>")
    alice.expect_nothing("<presence/>", after=bob)


def test_all_sessions_are_back_before_anybody_connects(server):
    """After a planned restart: who is quick finds the session that was read last."""
    clients = [server.login(name, f"r{i}") for i in range(15) for name in ("alice", "bob", "carol")]
    for client in clients:
        client.enable_sm()
    server.restart()
    for client in clients[::-1]:
        resume(server, client)


@pytest.mark.parametrize("on_expiry", ["deliver", "bounce"])
def test_expiry(make_server, disk, on_expiry):
    """After sm.hibernate-time: messages settle by setting, requests fail, contacts are told."""
    server = make_server("alice", "bob", disk=disk, settings={"sm.hibernate-time": "30s",
                                                              "sm.on-expiry": on_expiry})
    server.befriend("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.enable_sm()
    bob.cut()
    until("it hibernates", lambda: [row["state"] for row in server.rows(
        "session", "list", "--jid", bob.bare)] == ["hibernating"])
    late = (f"<message to='{bob}' type='chat' id='m'><body>late</body>"
            "<origin-id xmlns='urn:xmpp:sid:0' id='m'/></message>")
    alice.send(late)
    alice.send(f"<iq type='get' to='{bob}' id='q'><query xmlns='urn:x'/></iq>")
    alice.ping()
    disk.turn(mono_us=30 * 10**6)
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    alice.expect("<iq type='error' id='q'/>")
    if on_expiry == "bounce":
        alice.expect("<message type='error' id='m'/>")
    assert refuse(server, bob) == "item-not-found"
    again = server.client("bob", "again")
    if on_expiry == "bounce":  # it was told so: sent again, it is no repeat
        again.ping()
        assert bodies(again.inbox) == []
        alice.send(late)
    again.expect("<message><body>late</body></message>")


def test_copies_outlive_a_planned_restart_as_copies(server):
    """Results of an archive query are for the session that asked; the messages are for all."""
    alice = server.client("alice", "a")
    alice.enable_sm()
    for i in range(3):
        alice.send(chat("bob@localhost", i))
    alice.wait_acked(3)
    bob = server.login("bob", "b")
    bob.auto_ack = False
    bob.enable_sm()
    bob.result("set", "<query xmlns='urn:xmpp:mam:2'/>")
    server.restart()
    other = server.client("bob", "other")
    server.login("bob", "b")  # in the place of the one that asked
    for i in range(3):
        other.expect(f"<message><body>{i}</body></message>")
    other.expect_nothing("<message/>")


@pytest.mark.parametrize("way", ["tcp", "websocket"])
def test_before_a_restart_a_stream_with_management_only_breaks_off(server, way):
    """§5: a client takes a stream that the server has closed for the end of its session, as Gajim
    does. Clients that cannot resume are told why."""
    alice = server.client("alice", "a")
    if way == "tcp":
        bob = server.client("bob", "b")
    else:
        bob = WebSocket(("127.0.0.1", server.https_port), "localhost", "bob", tls=True)
        server.clients.append(bob)
        bob.open()
        bob.login("SCRAM-SHA-256", "b")
        bob.available()
    bob.enable_sm()
    starts = server.log().count("event=server.ready")
    alice.send(chat(bob, "before"))
    bob.expect_next("<message><body>before</body></message>")
    server.ctl("server", "restart")
    alice.expect_stream_error("system-shutdown")
    bob.expect_closed()
    assert bob.inbox == [] and not bob.reader.ended
    until("the next start", lambda: server.log().count("event=server.ready") > starts)
    alice = server.client("alice", "a")
    alice.send(chat(bob, "while away"))
    alice.ping()
    receive(resume(server, bob), ["while away"])
