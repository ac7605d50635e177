"""Push notifications (XEP-0357): a push service is a component on a domain of its own."""
import asyncio
import uuid

import pytest

from harness import xml
from harness.bosh import Bosh
from harness.client import until
from harness.component import Component
from harness.muc import Room
from harness.registration import change
from harness.server import refusal
from harness.websocket import WebSocket

DOMAIN = "push.example.test"
SECRET = "a rather long secret"
PUSH = "urn:xmpp:push:0"
PUBSUB = "http://jabber.org/protocol/pubsub"
DATA = "jabber:x:data"
OPTIONS = ("<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>"
           f"{PUBSUB}#publish-options</value></field><field var='secret'><value>s3</value></field>"
           "</x>")


@pytest.fixture
def host(make_server):
    server = make_server("alice", "bob", component=True)
    server.ctl("component", "add", DOMAIN, "--secret", SECRET)
    return server


@pytest.fixture
def push(host):
    return Component(host, DOMAIN, SECRET)


def enable(client, node="n1", inner="", jid=DOMAIN):
    client.result("set", f"<enable xmlns='{PUSH}' jid='{jid}' node='{node}'>{inner}</enable>")


def say(client, to, body):
    client.send(f"<message to='{to}' type='chat'><body>{body}</body></message>")


def announcement(push, answer="result", node="n1"):
    """The next one; answered."""
    iq = push.expect(f"<iq type='set'><pubsub xmlns='{PUBSUB}'><publish node='{node}'><item>"
                     f"<notification xmlns='{PUSH}'/></item></publish></pubsub></iq>")
    error = ("<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
             "</error>")
    push.send(f"<iq type='{answer}' id='{iq.get('id')}' from='{iq.get('to')}' "
              f"to='{iq.get('from')}'>{error if answer == 'error' else ''}</iq>")
    return iq


def fields(iq, form_type="urn:xmpp:push:summary"):
    for form in iq.iter(f"{{{DATA}}}x"):
        found = {f.get("var"): f.findtext(f"{{{DATA}}}value") for f in form}
        if found.get("FORM_TYPE") == form_type:
            return found
    return None


def registrations(server, name="alice"):
    return {(r["service"], r["node"]) for r in server.rows("push", "list", f"{name}@localhost")}


def test_an_account_says_so(host):
    alice = host.client("alice", "phone")
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=alice.bare)
    assert PUSH in {f.get("var") for f in info}


def test_a_message_for_a_client_that_is_away(host, push):
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    enable(alice, inner=OPTIONS)
    say(bob, alice.bare, "to the foreground")
    alice.expect("<message type='chat'/>")
    alice.close()
    say(bob, alice.bare, "first")
    iq = announcement(push)
    assert iq.get("from") == alice.bare
    summary = fields(iq)
    assert summary["message-count"] == "1"
    assert summary["last-message-sender"] == str(bob)
    assert "last-message-body" not in summary
    assert fields(iq, f"{PUBSUB}#publish-options")["secret"] == "s3"
    say(bob, alice.bare, "second")
    assert fields(announcement(push))["message-count"] == "2"
    back = host.client("alice", "phone")
    for body in ("first", "second"):
        back.expect(f"<message type='chat'><body>{body}</body></message>")


def test_a_client_whose_connection_broke(host, push):
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    alice.enable_sm()
    enable(alice)
    alice.cut()
    until("hibernation", lambda: host.rows("session", "list", "--jid", "alice@localhost")
          [0]["state"] == "hibernating")
    say(bob, alice.bare, "wake up")
    announcement(push)
    again = host.connect("alice")
    assert again.take_over(alice).tag.endswith("resumed")
    again.expect("<message type='chat'><body>wake up</body></message>")


def test_a_client_in_the_background(host, push):
    """XEP-0352: told by its service although it is connected, and not when it is back."""
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    enable(alice)
    alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    alice.ping()
    say(bob, alice.bare, "one")
    announcement(push)
    alice.send("<active xmlns='urn:xmpp:csi:0'/>")
    alice.ping()
    alice.expect("<message type='chat'><body>one</body></message>")
    say(bob, alice.bare, "two")
    alice.expect("<message type='chat'><body>two</body></message>")
    bob.ping()
    push.send(f"<iq type='get' id='p' from='{DOMAIN}' to='localhost'><ping xmlns='urn:xmpp:ping'/>"
              "</iq>")
    push.expect("<iq type='result' id='p'/>")
    assert not [e for e in push.inbox if e.get("type") == "set"]


def test_who_is_away_is_shown_as_away(host, push):
    host.befriend("alice", "bob")
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    alice.enable_sm()
    alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    alice.ping()  # not enabled: nobody sees it
    alice.send("<active xmlns='urn:xmpp:csi:0'/>")
    enable(alice)
    bob.expect_nothing(f"<presence from='{alice}'/>", after=alice)
    alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    bob.expect(f"<presence from='{alice}'><show>away</show></presence>")
    alice.send("<active xmlns='urn:xmpp:csi:0'/>")
    assert bob.expect(f"<presence from='{alice}'/>").find(f"{{{xml.CLIENT}}}show") is None
    alice.cut()
    bob.expect(f"<presence from='{alice}'><show>away</show></presence>")
    late = host.client("bob", "late")
    late.expect(f"<presence from='{alice}'><show>away</show></presence>")
    again = host.connect("alice")
    assert again.take_over(alice).tag.endswith("resumed")
    assert bob.expect(f"<presence from='{alice}'/>").find(f"{{{xml.CLIENT}}}show") is None
    again.send("<presence><show>dnd</show></presence>")
    bob.expect(f"<presence from='{alice}'><show>dnd</show></presence>")
    again.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    again.ping()
    bob.expect_nothing(f"<presence from='{alice}'/>", after=again)


def test_a_client_shown_as_away_resumes(host, push):
    """<resumed/> comes first, then what the client lacks, once each and with the time where it came
    late, and last its own presence, which is shown again."""
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    alice.auto_ack = False
    alice.enable_sm()
    enable(alice)
    alice.ping()
    alice.ack()
    alice.cut()
    until("hibernation", lambda: "hibernating" in {
        row["state"] for row in host.rows("session", "list")})
    texts = [str(i) for i in range(6)]
    for text in texts:
        say(bob, alice.bare, text)
        announcement(push)
    again = host.connect("alice")
    assert again.take_over(alice).tag.endswith("resumed")
    again.ping()
    tags = [e.tag for e in again.log]
    first = tags.index(f"{{{xml.SM}}}resumed")
    assert not [tag for tag in tags[:first] if xml.CLIENT in tag or tag == f"{{{xml.SM}}}r"]
    came = [e for e in again.log[first + 1:] if e.tag in (f"{{{xml.CLIENT}}}presence",
                                                          f"{{{xml.CLIENT}}}message")]
    shows = [e.findtext(f"{{{xml.CLIENT}}}show") for e in came if e.tag.endswith("presence")]
    assert shows == ["away", None]
    assert [e.get("from") for e in (came[0], came[-1])] == [alice.jid] * 2
    assert [e.findtext(f"{{{xml.CLIENT}}}body") for e in came[1:-1]] == texts
    assert all(e.find(f"{{{xml.DELAY}}}delay") is not None for e in came[1:-1])
    again.ack()
    again.ping()


def test_a_client_shown_as_away_before_a_planned_restart(host, push):
    """It is still shown so afterwards, until it resumes its session."""
    host.befriend("alice", "bob")
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    alice.enable_sm()
    bob.enable_sm()
    enable(alice)
    alice.cut()
    bob.expect(f"<presence from='{alice}'><show>away</show></presence>")
    bob.ack()
    host.restart()
    again = host.connect("bob")
    assert again.take_over(bob).tag.endswith("resumed")
    late = host.client("bob", "late")
    late.expect(f"<presence from='{alice}'><show>away</show></presence>")
    back = host.connect("alice")
    assert back.take_over(alice).tag.endswith("resumed")
    back.ping()
    assert again.expect(f"<presence from='{alice}'/>").find(f"{{{xml.CLIENT}}}show") is None


def test_a_client_in_the_background_begins_and_ends_its_registration(host):
    """It is shown as away while it has one."""
    host.befriend("alice", "bob")
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    enable(alice)
    bob.expect(f"<presence from='{alice}'><show>away</show></presence>")
    enable(alice, "n2")
    alice.result("set", f"<disable xmlns='{PUSH}' jid='{DOMAIN}' node='n1'/>")
    bob.expect_nothing(f"<presence from='{alice}'/>", after=alice)
    alice.result("set", f"<disable xmlns='{PUSH}' jid='{DOMAIN}'/>")
    assert bob.expect(f"<presence from='{alice}'/>").find(f"{{{xml.CLIENT}}}show") is None
    alice.send("<active xmlns='urn:xmpp:csi:0'/>")
    bob.expect_nothing(f"<presence from='{alice}'/>", after=alice)


def test_registrations_of_a_disabled_account(host):
    """There is such an account, and it is not told of anything."""
    alice = host.client("alice", "phone")
    enable(alice)
    host.ctl("user", "disable", alice.bare)
    assert "disabled" in refusal(host, "push", "list", alice.bare)
    assert "no account" in refusal(host, "push", "list", "nobody@localhost")
    host.ctl("user", "enable", alice.bare)
    assert registrations(host) == {(DOMAIN, "n1")}


def test_shown_as_away_with_prefixes_declared_outside_of_the_elements(host, push):
    """What is behind a prefix of the stanza or the stream is told with it: XML without the
    declaration would end the stream of everybody who sees the presence."""
    host.befriend("alice", "bob")
    bob = host.client("bob", "b")
    alice = host.connect("alice")
    assert alice.authenticate() is None
    alice.open(header=f"<stream:stream to='localhost' version='1.0' xmlns='{xml.CLIENT}' "
               f"xmlns:stream='{xml.STREAM}' xmlns:far='urn:far'>")
    alice.bind("phone")
    alice.send("<presence xmlns:near='urn:near' xml:lang='nl'><near:x/><far:x/></presence>")
    wanted = ("<x xmlns='urn:near'/><x xmlns='urn:far'/>")
    bob.expect(f"<presence from='{alice}' xml:lang='nl'>{wanted}</presence>")
    enable(alice)
    alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    bob.expect(f"<presence from='{alice}' xml:lang='nl'><show>away</show>{wanted}</presence>")


def test_what_was_on_its_way_when_the_connection_broke(host, push):
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    alice.auto_ack = False
    alice.enable_sm()
    enable(alice)
    say(bob, alice.bare, "seen or not")
    alice.expect("<message type='chat'/>")
    alice.cut()
    announcement(push)


def test_nobody_is_told_beside_the_active_client(make_server):
    """Multiple device messaging: it alone notifies its user, for as long as it is active."""
    host = make_server("alice", "bob", component=True, settings={"session.active-time": "1s"})
    host.ctl("component", "add", DOMAIN, "--secret", SECRET)
    push = Component(host, DOMAIN, SECRET)
    phone, bob = host.client("alice", "phone"), host.client("bob", "b")
    enable(phone)
    phone.close()
    desk = host.client("alice", "desk")
    say(bob, desk.bare, "one")
    desk.expect("<message><body>one</body></message>")
    desk.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    desk.ping()
    say(bob, desk.bare, "two")
    assert fields(announcement(push))["message-count"] == "1"


def test_another_device_that_is_there_need_not_matter(host, push):
    host.ctl("set", "push.when-active", "on")
    phone, desk = host.client("alice", "phone"), host.client("alice", "desk")
    bob = host.client("bob", "b")
    enable(phone)
    phone.close()
    say(bob, desk.bare, "hello")
    desk.expect("<message type='chat'/>")
    announcement(push)


@pytest.mark.parametrize("message", [
    "<message to='{to}' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/>"
    "</message>",
    "<message to='{to}' type='chat'><received xmlns='urn:xmpp:receipts' id='x'/></message>",
    "<message to='{to}' type='headline'><body>news</body></message>",
])
def test_what_is_not_worth_it(host, push, message):
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    enable(alice)
    alice.close()
    bob.send(message.format(to=alice.bare))
    say(bob, alice.bare, "the only one")
    announcement(push)
    bob.ping()
    say(bob, alice.bare, "and the next")
    announcement(push)
    assert not [e for e in push.inbox if e.get("type") == "set"]


def test_disable_one_node_and_all(host, push):
    alice = host.client("alice", "phone")
    for node in ("n1", "n2", "n3"):
        enable(alice, node)
    assert registrations(host) == {(DOMAIN, n) for n in ("n1", "n2", "n3")}
    alice.result("set", f"<disable xmlns='{PUSH}' jid='{DOMAIN}' node='n2'/>")
    assert registrations(host) == {(DOMAIN, "n1"), (DOMAIN, "n3")}
    alice.result("set", f"<disable xmlns='{PUSH}' jid='{DOMAIN}'/>")
    assert registrations(host) == set()
    alice.result("set", f"<disable xmlns='{PUSH}' jid='{DOMAIN}'/>")


def test_it_survives_kill_9(host, push):
    alice = host.client("alice", "phone")
    enable(alice, "kept", OPTIONS)
    host.kill()
    host.start()
    push = Component(host, DOMAIN, SECRET)
    say(host.client("bob", "b"), alice.bare, "hello")
    iq = announcement(push, node="kept")
    assert fields(iq, f"{PUBSUB}#publish-options")["secret"] == "s3"


def test_a_service_that_fails_is_dropped(make_server):
    host = make_server("alice", "bob", component=True, settings={"push.errors-max": 3})
    host.ctl("component", "add", DOMAIN, "--secret", SECRET)
    push = Component(host, DOMAIN, SECRET)
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    enable(alice)
    alice.close()
    for answer in ("error", "error", "result", "error", "error"):
        say(bob, alice.bare, answer)
        announcement(push, answer)
    assert registrations(host) == {(DOMAIN, "n1")}
    say(bob, alice.bare, "the third in a row")
    announcement(push, "error")
    until("the end of the registration", lambda: registrations(host) == set())


def test_the_end_while_an_answer_is_awaited(host, push):
    """Nothing is leaked (asan)."""
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    enable(alice)
    alice.close()
    say(bob, alice.bare, "hello")
    push.expect("<iq type='set'/>")
    host.stop()


def test_more_messages_than_a_service_has_answered(host, push):
    """16 announcements wait for their answers, then one more stands for all that came meanwhile."""
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    enable(alice)
    alice.close()
    for n in range(20):
        bob.send(f"<message to='{alice.bare}' type='chat' id='n{n}'><body>{n}</body></message>")
    until("all messages", lambda: "waits" in {
        row["event"] for row in host.rows("trace", "message", "n19")})
    counts = [fields(announcement(push))["message-count"] for _ in range(17)]
    assert counts == [str(n) for n in (*range(1, 17), 20)]
    push.expect_nothing("<iq type='set'/>")
    assert len(host.client("alice", "phone").drain()) >= 20


def test_a_service_that_wants_no_more(host, push):
    alice = host.client("alice", "phone")
    enable(alice)
    enable(alice, "n2")
    push.send(f"<message from='{DOMAIN}' to='{alice.bare}'><pubsub xmlns='{PUBSUB}' node='n1'>"
              f"<affiliation jid='{alice.bare}' affiliation='none'/></pubsub></message>")
    until("one registration", lambda: registrations(host) == {(DOMAIN, "n2")})


def test_a_service_that_is_away_for_a_moment_keeps_its_registrations(make_server):
    """However many messages come meanwhile: its clients sleep and cannot enable it again."""
    host = make_server("alice", "bob", component=True, settings={"push.errors-max": 3})
    host.ctl("component", "add", DOMAIN, "--secret", SECRET)
    push = Component(host, DOMAIN, SECRET)
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    enable(alice)
    alice.close()
    push.close()
    until("its absence", lambda: host.rows("component", "list")[0]["connections"] == 0)
    for n in range(10):
        say(bob, alice.bare, n)
    until("all messages", lambda: sum(
        r["value"] for r in host.rows("metrics") if r["name"] == "muster_push_errors") == 10)
    assert registrations(host) == {(DOMAIN, "n1")}
    push = Component(host, DOMAIN, SECRET)
    say(bob, alice.bare, "it is back")
    announcement(push)


def mark(push, sender, to):
    """All announcements that were made before are in push.inbox."""
    sender.ping()
    sender.send(f"<message to='{to}' id='mark'/>")
    push.expect("<message id='mark'/>")


def announced(push):
    """Answers what is in the inbox; the nodes, in order."""
    found = [e for e in push.inbox if e.tag == f"{{{xml.CLIENT}}}iq" and e.get("type") == "set"]
    push.inbox = [e for e in push.inbox if e not in found]
    for iq in found:
        push.send(f"<iq type='result' id='{iq.get('id')}' from='{iq.get('to')}' "
                  f"to='{iq.get('from')}'/>")
    return [iq.find(f".//{{{PUBSUB}}}publish").get("node") for iq in found]


def over(kind):
    """A way to connect alice's phone: none of these has stream management."""
    def dial(host):
        if kind == "tcp":
            return host.login("alice", "phone")
        client = {"bosh": Bosh, "websocket": WebSocket}[kind](
            ("127.0.0.1", host.https_port), "localhost", "alice", tls=True)
        host.clients.append(client)
        client.open()
        return client.login(resource="phone")
    return dial


def bosh_without_request(host, bob):
    """A message waits in the session of a BOSH client that has gone."""
    phone = over("bosh")(host).available()
    enable(phone, "own")
    phone.cut()
    say(bob, phone.bare, "not taken")
    bob.ping()
    return phone


@pytest.mark.parametrize("end", ["inactivity", "kick"])
def test_a_message_that_its_client_did_not_take_is_announced(make_server, end):
    """When its session ends it is in the mailbox again, and other clients know nothing of it
    either: the session was there when it came."""
    host = make_server("alice", "bob", component=True, settings={"bosh.inactivity": "1s"})
    host.ctl("component", "add", DOMAIN, "--secret", SECRET)
    push = Component(host, DOMAIN, SECRET)
    other, bob = host.client("alice", "tablet"), host.client("bob", "b")
    enable(other, "other")
    other.close()
    phone = bosh_without_request(host, bob)
    if end == "kick":
        host.ctl("session", "kick", str(phone))
    until("the end of the session", lambda: not host.rows("session", "list", "--jid", phone.bare))
    assert fields(announcement(push, node="other"))["message-count"] == "1"
    assert fields(announcement(push, node="own"))["message-count"] == "1"
    mark(push, bob, DOMAIN)
    assert announced(push) == []
    host.client("alice", "phone").expect("<message><body>not taken</body></message>")


def test_the_end_of_a_session_that_slept_is_news_only_to_others(host, push):
    """Its own client was told when it fell asleep."""
    other, bob = host.client("alice", "tablet"), host.client("bob", "b")
    enable(other, "other")
    other.close()
    phone = host.client("alice", "phone")
    phone.auto_ack = False
    phone.enable_sm()
    enable(phone, "own")
    say(bob, phone.bare, "on its way")
    phone.expect("<message><body>on its way</body></message>")
    phone.cut()
    announcement(push, node="own")
    host.ctl("session", "kick", str(phone))
    announcement(push, node="other")
    mark(push, bob, DOMAIN)
    assert announced(push) == []


def test_what_came_while_a_session_slept_is_announced_once(host, push):
    other, bob = host.client("alice", "tablet"), host.client("bob", "b")
    enable(other, "other")
    other.close()
    phone = host.client("alice", "phone")
    phone.enable_sm()
    enable(phone, "own")
    phone.cut()
    until("hibernation", lambda: host.rows("session", "list", "--jid", phone.bare)
          [0]["state"] == "hibernating")
    say(bob, phone.bare, "asleep")
    announcement(push, node="other")
    announcement(push, node="own")
    host.ctl("session", "kick", str(phone))
    mark(push, bob, DOMAIN)
    assert announced(push) == []


@pytest.mark.parametrize("kind", ["tcp", "websocket", "bosh"])
def test_a_client_that_is_replaced_by_itself_is_not_told(host, push, kind):
    """It is here, and gets what it did not take."""
    bob = host.client("bob", "b")
    phone = bosh_without_request(host, bob)
    again = over(kind)(host).available()
    again.expect("<message><body>not taken</body></message>")
    mark(push, bob, DOMAIN)
    assert announced(push) == []
    assert phone.jid == again.jid


def sasl2_client(host, device, name="alice"):
    client = host.connect(name)
    client.sasl2(agent=device, inner=f"<bind xmlns='{xml.BIND2}'><tag>app</tag></bind>")
    return client.available()


@pytest.mark.parametrize("when", ["before it slept", "while it slept", "before the restart",
                                  "behind the restart"])
def test_what_is_announced_over_a_planned_restart(host, push, when):
    """Once, whatever becomes of the session: by its end, what nobody was told yet."""
    other, bob = host.client("alice", "tablet"), host.client("bob", "b")
    enable(other, "other")
    other.close()
    phone = host.client("alice", "phone")
    phone.auto_ack = False
    phone.enable_sm()
    enable(phone, "own")
    told = []
    if when.startswith("before"):
        say(bob, phone.bare, "text")
        phone.expect("<message><body>text</body></message>")
    if when == "before it slept":
        told = ["own"]
    if when.endswith("slept"):
        phone.cut()
        until("hibernation", lambda: host.rows("session", "list", "--jid", phone.bare)
              [0]["state"] == "hibernating")
    if when == "while it slept":
        say(bob, phone.bare, "text")
        told = ["other", "own"]
    for node in sorted(told):
        announcement(push, node=node)
    mark(push, bob, DOMAIN)
    assert announced(push) == []
    host.restart()
    push, bob = Component(host, DOMAIN, SECRET), host.client("bob", "b")
    if when == "behind the restart":
        say(bob, phone.bare, "text")
        told = ["other", "own"]
        for node in told:
            announcement(push, node=node)
    mark(push, bob, DOMAIN)
    assert announced(push) == []
    host.ctl("session", "kick", str(phone))
    mark(push, bob, DOMAIN)
    assert sorted(announced(push)) == sorted({"other", "own"} - set(told))


@pytest.mark.parametrize("there", ["connected", "gone", "restarted"])
def test_a_revoked_device_is_told_nothing(host, there):
    """A stolen phone, whether its app is connected or not: only its own registrations end."""
    stolen, mine = str(uuid.uuid4()), str(uuid.uuid4())
    for device, node in ((stolen, "stolen"), (mine, "mine")):
        client = sasl2_client(host, device)
        enable(client, node, OPTIONS)
        if there != "connected":
            client.close()
    if there == "restarted":
        host.restart()
    push = Component(host, DOMAIN, SECRET)
    host.ctl("device", "revoke", "alice@localhost", stolen)
    until("the end of the registration", lambda: registrations(host) == {(DOMAIN, "mine")})
    for client in host.clients:
        if client.bare == "alice@localhost":
            client.sock.close()
    until("absence", lambda: not host.rows("session", "list", "--jid", "alice@localhost"))
    bob = host.client("bob", "b")
    say(bob, "alice@localhost", "secret")
    announcement(push, node="mine")
    mark(push, bob, DOMAIN)
    assert announced(push) == []
    host.restart()
    assert registrations(host) == {(DOMAIN, "mine")}


@pytest.mark.parametrize("by", ["operator", "client"])
def test_a_new_password_ends_registrations(host, push, by):
    """Whoever knew the old one hears nothing any more; the client that changed it goes on."""
    thief, mine = host.client("alice", "thief"), host.client("alice", "mine")
    enable(thief, "thief")
    enable(mine, "mine")
    thief.close()
    if by == "operator":
        host.ctl("user", "password", "alice@localhost", "--password", "another one")
    else:
        mine.result("set", change(mine, "another one"), to="localhost")
    left = {(DOMAIN, "mine")} if by == "client" else set()
    until("the end of registrations", lambda: registrations(host) == left)
    host.kill()
    host.start()
    assert registrations(host) == left


def test_a_service_that_is_not_allowed_any_more_is_told_nothing(host, push):
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    enable(alice)
    alice.close()
    host.ctl("set", "push.services", "other.example.test")
    say(bob, alice.bare, "one")
    mark(push, bob, DOMAIN)
    assert announced(push) == []
    host.ctl("set", "push.services", f"other.example.test {DOMAIN}")
    say(bob, alice.bare, "two")
    assert fields(announcement(push))["message-count"] == "2"


FALLBACK = ("<fallback xmlns='urn:xmpp:fallback:0' for='{}'/><body>of a client that does not know "
            "it</body>").format
NOT_COUNTED = {
    "receipt": "<received xmlns='urn:xmpp:receipts' id='m1'/>",
    "marker": "<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/>",
    "reaction": "<reactions xmlns='urn:xmpp:reactions:0' id='m1'><reaction>+</reaction></reactions>"
                "<store xmlns='urn:xmpp:hints'/>",
    "reaction with a body": "<reactions xmlns='urn:xmpp:reactions:0' id='m1'><reaction>+</reaction>"
                            "</reactions>" + FALLBACK("urn:xmpp:reactions:0"),
    "retraction": "<retract xmlns='urn:xmpp:message-retract:1' id='m1'/>"
                  "<store xmlns='urn:xmpp:hints'/>",
    "retraction with a body": "<retract xmlns='urn:xmpp:message-retract:1' id='m1'/>"
                              + FALLBACK("urn:xmpp:message-retract:1"),
    "retraction as it was": "<apply-to xmlns='urn:xmpp:fasten:0' id='m1'><retract "
                            "xmlns='urn:xmpp:message-retract:0'/></apply-to>"
                            + FALLBACK("urn:xmpp:message-retract:0"),
    "subject": "<subject>of what follows</subject>",
}
COUNTED = {
    "text": "<body>hello</body>",
    "encrypted": "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/><payload>eA=="
                 "</payload></encrypted><store xmlns='urn:xmpp:hints'/>",
    "call": "<propose xmlns='urn:xmpp:jingle-message:0' id='s1'><description "
            "xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose>"
            "<store xmlns='urn:xmpp:hints'/>",
    "answer": "<reply xmlns='urn:xmpp:reply:0' id='m1' to='alice@localhost'/>"
              "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' "
              "end='4'/></fallback><body>&gt; a\nb</body>",
}


def undelivered(host):
    return int({r["name"]: r["value"] for r in host.rows("user", "stats", "alice@localhost")}
               ["undelivered messages"])


def count_told(push, bob, to):
    """With one more text."""
    say(bob, to, "one more")
    while True:
        found = fields(announcement(push))
        if found.get("last-message-body") == "one more":
            return int(found["message-count"])


def test_what_is_no_message_is_not_counted(host, push):
    """What says something about an earlier message is stored and delivered like any, but it is not
    what a user would call a message that waits. The count holds over a restart."""
    host.ctl("set", "push.include-body", "on")
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    bob.enable_sm()
    enable(alice)
    alice.close()
    for part in (*NOT_COUNTED.values(), *COUNTED.values()):
        bob.send(f"<message to='{alice.bare}' type='chat'>{part}</message>")
    assert count_told(push, bob, alice.bare) == len(COUNTED) + 1
    bob.wait_acked(len(NOT_COUNTED) + len(COUNTED) + 1)
    host.kill()
    host.start()
    push, bob = Component(host, DOMAIN, SECRET), host.client("bob", "b")
    assert count_told(push, bob, alice.bare) == len(COUNTED) + 2
    assert undelivered(host) == len(NOT_COUNTED) + len(COUNTED) + 2
    with host.database() as db:  # entries that were made again have their own flags only
        assert {row[0] for row in db.execute("SELECT flags FROM entry")} <= {0, 1}
    back = host.client("alice", "desk")
    for _ in range(undelivered(host)):
        back.expect("<message type='chat'/>")
    until("an empty mailbox", lambda: undelivered(host) == 0)
    back.close()
    until("her absence", lambda: not host.rows("session", "list", "--jid", alice.bare))
    bob.send(f"<message to='{alice.bare}' type='chat'>{NOT_COUNTED['receipt']}</message>")
    assert count_told(push, bob, alice.bare) == 1


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
def test_what_was_retracted_is_not_counted(host, push, restart):
    """What waits is the note that there was something."""
    host.ctl("set", "push.include-body", "on")
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    bob.enable_sm()
    enable(alice)
    alice.close()
    bob.send(f"<message to='{alice.bare}' type='chat' id='m1'><body>a mistake</body></message>")
    bob.send(f"<message to='{alice.bare}' type='chat'><body>right</body></message>")
    bob.send(f"<message to='{alice.bare}' type='chat'>{NOT_COUNTED['retraction']}</message>")
    bob.wait_acked(3)
    if restart:
        host.kill()
        host.start()
        push, bob = Component(host, DOMAIN, SECRET), host.client("bob", "b")
    assert count_told(push, bob, alice.bare) == 2


def test_messages_of_rooms_are_not_counted(host, push):
    """They wait in the archive of the room: no number is better than 0, which says that there is
    nothing."""
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    host.ctl("room", "create", "hall@conference.localhost", "bob@localhost")
    host.ctl("room", "affiliation", "hall@conference.localhost", alice.bare, "member")
    enable(alice)
    alice.close()
    hall = Room("hall")
    hall.enter(bob, "bob")
    hall.say(bob, "alice: are you there?")
    summary = fields(announcement(push))
    assert summary["last-message-sender"] == "hall@conference.localhost/bob"
    assert "message-count" not in summary
    say(bob, alice.bare, "then so")
    assert fields(announcement(push))["message-count"] == "1"


def test_a_service_that_is_not_there_counts_as_an_error(make_server):
    host = make_server("alice", "bob", settings={"push.errors-max": 1})
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    enable(alice, jid="nowhere.example.test")
    alice.close()
    say(bob, alice.bare, "hello")
    until("the end of the registration", lambda: registrations(host) == set())


def test_the_oldest_gives_way(make_server):
    host = make_server("alice", settings={"push.registrations-max": 2})
    alice = host.client("alice", "phone")
    for node in ("n1", "n2", "n3"):
        enable(alice, node)
    assert registrations(host) == {(DOMAIN, "n2"), (DOMAIN, "n3")}


def test_settings(make_server):
    host = make_server("alice", "bob", component=True,
                       settings={"push.include-body": True, "push.services": f"x.test {DOMAIN}"})
    host.ctl("component", "add", DOMAIN, "--secret", SECRET)
    push = Component(host, DOMAIN, SECRET)
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    assert alice.error("set", f"<enable xmlns='{PUSH}' jid='other.test' node='n'/>") == \
        ("not-allowed", "cancel")
    enable(alice)
    alice.close()
    say(bob, alice.bare, "\u00e4" * 600)
    assert fields(announcement(push))["last-message-body"] == "\u00e4" * 256
    host.ctl("set", "push.payload", "none")
    say(bob, alice.bare, "two")
    assert fields(announcement(push)) is None
    host.ctl("set", "push.enabled", "off")
    again = host.client("alice", "desk")
    assert again.error("set", f"<enable xmlns='{PUSH}' jid='{DOMAIN}' node='n'/>")[0] == \
        "service-unavailable"


@pytest.mark.parametrize("inner", [
    "<enable xmlns='urn:xmpp:push:0'/>",
    "<enable xmlns='urn:xmpp:push:0' jid='@'/>",
    "<enable xmlns='urn:xmpp:push:0' jid='p.test' node='" + "n" * 1025 + "'/>",
    "<enable xmlns='urn:xmpp:push:0' jid='p.test'><x xmlns='jabber:x:data' type='submit'>"
    "<field var='FORM_TYPE'><value>urn:else</value></field></x></enable>",
    "<enable xmlns='urn:xmpp:push:0' jid='p.test'><x xmlns='jabber:x:data' type='nothing'/>"
    "</enable>",
    "<disable xmlns='urn:xmpp:push:0'/>",
])
def test_malformed_requests_change_nothing(host, inner):
    alice = host.client("alice", "phone")
    assert alice.error("set", inner)[0] == "bad-request"
    assert registrations(host) == set()


def test_nobody_enables_it_for_others(host):
    bob = host.client("bob", "b")
    assert bob.error("set", f"<enable xmlns='{PUSH}' jid='{DOMAIN}' node='n'/>",
                     to="alice@localhost")[0] == "service-unavailable"


async def test_slixmpp(host):
    """An app server written with slixmpp gets what a phone should show."""
    slixmpp = pytest.importorskip("slixmpp")
    alice, bob = host.client("alice", "phone"), host.client("bob", "b")
    app = slixmpp.ComponentXMPP(DOMAIN, SECRET, "127.0.0.1", host.component_port)
    loop = asyncio.get_running_loop()
    joined, shown = loop.create_future(), loop.create_future()

    def publish(iq):
        iq.reply().send()
        shown.set_result(iq.xml.find(f".//{{{PUSH}}}notification"))

    app.register_handler(slixmpp.xmlstream.handler.Callback(
        "push", slixmpp.xmlstream.matcher.MatchXPath(
            f"{{{app.default_ns}}}iq/{{{PUBSUB}}}pubsub"), publish))
    app.add_event_handler("session_start", lambda _: joined.set_result(True))
    app.connect()
    await asyncio.wait_for(joined, 10)
    await asyncio.to_thread(enable, alice)
    alice.close()
    say(bob, alice.bare, "hello")
    assert await asyncio.wait_for(shown, 10) is not None
    await app.disconnect()
