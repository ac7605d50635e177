"""What components do in the name of users (XEP-0356)."""
import asyncio

import pytest

from harness import nodes, xml
from harness.client import until
from harness.component import Component
from harness.server import refusal

GATEWAY, OTHER = "gateway.example.test", "other.example.test"
SECRET = "a rather long secret"
PRIVILEGE, FORWARD = "urn:xmpp:privilege:2", "urn:xmpp:forward:0"
ROSTER, PUBSUB = "jabber:iq:roster", "http://jabber.org/protocol/pubsub"
COMMANDS = "http://jabber.org/protocol/commands"
ALL = f"roster=both message=outgoing iq-both={PUBSUB}"


@pytest.fixture
def host(make_server):
    """A server of two domains. GATEWAY may do all for the users of the first."""
    server = make_server("alice", "bob", domains=("localhost", "second.test"), component=True)
    server.add_user("eve", domain="second.test")
    for domain in GATEWAY, OTHER:
        server.ctl("component", "add", domain, "--secret", SECRET)
    server.ctl("set", "component.privileges@localhost", f"{GATEWAY} {ALL}")
    return server


def inner(sender, to, content="<body>hi</body>", more="type='chat' id='in'"):
    return (f"<message xmlns='jabber:client' from='{sender}' to='{to}' {more}>{content}"
            "</message>")


def say(component, message, host="localhost"):
    component.send(f"<message from='{component.domain}' to='{host}' id='out'><privilege "
                   f"xmlns='{PRIVILEGE}'><forwarded xmlns='{FORWARD}'>{message}</forwarded>"
                   "</privilege></message>")


def forbidden(component, kind="message"):
    component.expect_error("forbidden", template=f"<{kind} type='error' id='out'/>")


def ask(component, user, payload, kind="get", sender=None, to=None):
    """The answer that a user would get."""
    component.send(f"<iq type='{kind}' id='out' from='{component.domain}' to='{user}'>"
                   f"<privileged_iq xmlns='{PRIVILEGE}'><iq xmlns='jabber:client' type='{kind}' "
                   f"id='in' from='{sender or user}' to='{to or user}'>{payload}</iq>"
                   "</privileged_iq></iq>")


def answered(component, user):
    answer = component.expect(f"<iq type='result' id='out' from='{user}'/>")
    forwarded, = answer[0]
    assert answer[0].tag == f"{{{PRIVILEGE}}}privilege"
    assert forwarded.tag == f"{{{FORWARD}}}forwarded"
    assert forwarded[0].get("id") == "in" and forwarded[0].get("to") == user
    return forwarded[0]


def perms(message):
    privilege, = message
    assert privilege.tag == f"{{{PRIVILEGE}}}privilege"
    return {p.get("access"): p.get("type") or {n.get("ns"): n.get("type") for n in p}
            for p in privilege}


def test_a_component_is_told_what_it_may(host):
    """After the handshake, and when that changes."""
    gateway = Component(host, GATEWAY, SECRET)
    told = gateway.expect(f"<message from='localhost' to='{GATEWAY}'/>")
    assert perms(told) == {"roster": "both", "message": "outgoing", "iq": {PUBSUB: "both"}}
    assert told[0][0].get("push") == "false"
    host.ctl("set", "component.privileges@second.test", f"{OTHER} roster=get {GATEWAY} roster=set")
    told = gateway.expect("<message from='second.test'/>")
    assert perms(told) == {"roster": "set"}
    other = Component(host, OTHER, SECRET)
    assert perms(other.expect("<message/>")) == {"roster": "get"}
    other.expect_nothing("<message/>")


def test_a_component_that_loses_its_last_right_is_told(host):
    """By a message without rights, once; who never had any is told nothing."""
    gateway, other = Component(host, GATEWAY, SECRET), Component(host, OTHER, SECRET)
    assert perms(gateway.expect("<message from='localhost'/>"))
    host.ctl("set", "component.privileges@localhost", f"{OTHER} roster=get")
    assert perms(gateway.expect("<message from='localhost'/>")) == {}
    assert perms(other.expect("<message from='localhost'/>")) == {"roster": "get"}
    host.ctl("set", "component.privileges@localhost", "--default")
    assert perms(other.expect("<message from='localhost'/>")) == {}
    host.ctl("set", "component.delegations@localhost", f"urn:x:delegated={GATEWAY}")
    assert len(gateway.expect("<message from='localhost'/>")[0]) == 1
    host.ctl("set", "component.delegations@localhost", "--default")
    lost, = gateway.expect("<message from='localhost'/>")
    assert lost.tag.endswith("delegation") and len(lost) == 0
    other.expect_nothing("<message/>")
    gateway.expect_nothing("<message/>")


@pytest.mark.parametrize("value", [
    "roster=both", f"{GATEWAY} roster=all", f"{GATEWAY} message=incoming", f"{GATEWAY} iq-get=",
    f"{GATEWAY} iq-all=urn:x", f"{GATEWAY} roster=get {GATEWAY}", "Gateway.Test roster=get",
    f"{GATEWAY} iq-set={PRIVILEGE}", "bot@gateway.test roster=get",
    f"{GATEWAY} roster=get roster=set", f"{GATEWAY} iq-get=urn:x iq-set=urn:x",
    f"{GATEWAY} message=outgoing message=outgoing", f"{GATEWAY} push=roster",
    f"{GATEWAY} roster=set push=roster", f"{GATEWAY} presence=roster", f"{GATEWAY} push=presence"])
def test_rights_that_nobody_can_have(host, value):
    assert "component.privileges" in refusal(host, "set", "component.privileges", value)


def test_a_domain_of_the_server_as_a_component_does_no_harm(make_server):
    """The node file is checked before the domains are known, so this must not end the start."""
    server = make_server("alice", domains=("localhost", "second.test"),
                         settings={"component.privileges": "second.test roster=get"})
    server.client("alice", "a").close()


def test_a_contact_list(host):
    gateway = Component(host, GATEWAY, SECRET)
    gateway.expect("<message/>")
    alice = host.client("alice", "a")
    alice.result("get", f"<query xmlns='{ROSTER}'/>")
    gateway.send(f"<iq type='set' id='out' from='{GATEWAY}' to='alice@localhost'><query "
                 f"xmlns='{ROSTER}'><item jid='buddy@{GATEWAY}' name='Buddy'/></query></iq>")
    gateway.expect("<iq type='result' id='out' from='alice@localhost'/>")
    pushed = alice.expect(f"<iq type='set'><query xmlns='{ROSTER}'/></iq>")
    assert pushed[0][0].get("jid") == f"buddy@{GATEWAY}"
    gateway.send(f"<iq type='get' id='out' from='{GATEWAY}' to='alice@localhost'><query "
                 f"xmlns='{ROSTER}'/></iq>")
    answer = gateway.expect("<iq type='result' id='out' from='alice@localhost'/>")
    assert [i.get("name") for i in answer[0]] == ["Buddy"]


@pytest.mark.parametrize("kind", ["get", "set"])
@pytest.mark.parametrize("rights", ["", f"{GATEWAY} message=outgoing", f"{OTHER} roster=both"])
def test_contact_lists_are_closed_to_others(host, kind, rights):
    host.ctl("set", "component.privileges@localhost", rights)
    gateway = Component(host, GATEWAY, SECRET)
    gateway.send(f"<iq type='{kind}' id='out' from='{GATEWAY}' to='alice@localhost'><query "
                 f"xmlns='{ROSTER}'><item jid='x@y.test'/></query></iq>")
    forbidden(gateway, "iq")


def test_one_right_to_contact_lists_is_not_the_other(host):
    host.ctl("set", "component.privileges@localhost", f"{GATEWAY} roster=get")
    gateway = Component(host, GATEWAY, SECRET)
    gateway.expect("<message/>")
    gateway.send(f"<iq type='set' id='out' from='{GATEWAY}' to='alice@localhost'><query "
                 f"xmlns='{ROSTER}'><item jid='x@y.test'/></query></iq>")
    forbidden(gateway, "iq")


def test_a_message_of_a_user(host):
    """Bob gets it, Alice's clients get copies, and both archives have it."""
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    alice.result("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    gateway = Component(host, GATEWAY, SECRET)
    gateway.expect("<message/>")
    say(gateway, inner("alice@localhost", "bob@localhost", "<body>hi &amp; ho</body>"
                       "<p:x xmlns:p='urn:p'><p:y/></p:x>"))
    message = bob.expect("<message from='alice@localhost' type='chat' id='in'>"
                         "<body>hi &amp; ho</body></message>")
    assert message.find("{urn:p}x/{urn:p}y") is not None
    alice.expect("<message from='alice@localhost'><sent xmlns='urn:xmpp:carbons:2'/></message>")
    for user in alice, bob:
        until("an entry of the archive", lambda: archived(user) == ["hi & ho"])


def archived(client):
    client.result("set", "<query xmlns='urn:xmpp:mam:2' queryid='q'/>")
    found = [e for e in client.inbox if e.find("{urn:xmpp:mam:2}result") is not None]
    client.inbox = [e for e in client.inbox if e not in found]
    return [b.text for e in found for b in e.iter(f"{{{xml.CLIENT}}}body")]


def test_messages_of_one_user_keep_their_order(host):
    bob = host.client("bob", "b")
    gateway = Component(host, GATEWAY, SECRET)
    for n in range(50):
        say(gateway, inner("alice@localhost", "bob@localhost", f"<body>{n}</body>"))
    for n in range(50):
        bob.expect_next(f"<message from='alice@localhost'><body>{n}</body></message>")


def test_a_message_of_the_domain(host):
    bob = host.client("bob", "b")
    gateway = Component(host, GATEWAY, SECRET)
    say(gateway, inner("localhost", "bob@localhost"))
    bob.expect("<message from='localhost'><body>hi</body></message>")


def test_an_error_goes_to_the_user(host):
    alice = host.client("alice", "a")
    gateway = Component(host, GATEWAY, SECRET)
    say(gateway, inner("alice@localhost", "nobody@localhost"))
    gateway.expect("<message from='localhost'/>")
    alice.ping()
    gateway.expect_nothing("<message type='error'/>")


@pytest.mark.parametrize("message", [
    inner("alice@localhost/a", str("bob@localhost")), inner("eve@second.test", "bob@localhost"),
    inner("second.test", "bob@localhost"), inner(f"x@{OTHER}", "bob@localhost"),
    inner("nobody@localhost", "bob@localhost"), "", inner("alice@localhost", "bob@localhost") * 2,
    inner("alice@localhost", "").replace(" to=''", ""),
    "<message xmlns='jabber:client' to='bob@localhost'><body>hi</body></message>",
    "<message xmlns='urn:x' from='alice@localhost' to='bob@localhost'/>",
    "<presence xmlns='jabber:client' from='alice@localhost' to='bob@localhost'/>"])
def test_forged_messages(host, message):
    bob = host.client("bob", "b")
    gateway = Component(host, GATEWAY, SECRET)
    say(gateway, message)
    forbidden(gateway)
    bob.expect_nothing("<message/>")


@pytest.mark.parametrize("sender", ["alice@localhost", "localhost"])
def test_a_message_claims_no_other_origin(host, sender):
    """As a client cannot: what it says of the origin is left out."""
    bob = host.client("bob", "b")
    gateway = Component(host, GATEWAY, SECRET)
    claim = ("<addresses xmlns='http://jabber.org/protocol/address'><address type='ofrom' "
             "jid='carol@localhost'/></addresses>")
    say(gateway, inner(sender, "bob@localhost", claim + "<body>hi</body>"))
    message = bob.expect(f"<message from='{sender}'><body>hi</body></message>")
    assert message.find("{http://jabber.org/protocol/address}addresses") is None


@pytest.mark.parametrize("sender", ["alice@localhost", "localhost"])
@pytest.mark.parametrize("to", ["localhost", "second.test", "localhost/announce/all"])
def test_a_message_to_the_server_itself(host, sender, to):
    gateway = Component(host, GATEWAY, SECRET)
    say(gateway, inner(sender, to))
    got = gateway.expect_error("not-acceptable", template="<message type='error' id='out'/>")
    assert "the server itself" in "".join(got.itertext())


@pytest.mark.parametrize("sender", [f"user@{GATEWAY}", f"{GATEWAY}/desk"])
def test_only_the_component_itself_has_rights(host, sender):
    """Not what stands behind it under its domain."""
    gateway = Component(host, GATEWAY, SECRET)
    for payload in (f"<query xmlns='{ROSTER}'/>",
                    f"<privileged_iq xmlns='{PRIVILEGE}'><iq xmlns='jabber:client' type='get' "
                    f"id='in' from='alice@localhost' to='alice@localhost'><pubsub "
                    f"xmlns='{PUBSUB}'/></iq></privileged_iq>"):
        gateway.send(f"<iq type='get' id='out' from='{sender}' to='alice@localhost'>{payload}</iq>")
        forbidden(gateway, "iq")


def test_users_of_another_domain_are_out_of_reach(host):
    eve = host.client("eve", "e", domain="second.test")
    bob = host.client("bob", "b")
    gateway = Component(host, GATEWAY, SECRET)
    for to in "second.test", "localhost":
        say(gateway, inner("eve@second.test", "bob@localhost"), to)
        forbidden(gateway)
    gateway.send(f"<iq type='get' id='out' from='{GATEWAY}' to='{eve.bare}'><query "
                 f"xmlns='{ROSTER}'/></iq>")
    forbidden(gateway, "iq")
    ask(gateway, eve.bare, f"<pubsub xmlns='{PUBSUB}'/>")
    forbidden(gateway, "iq")
    ask(gateway, "alice@localhost", f"<pubsub xmlns='{PUBSUB}'/>", sender=eve.bare)
    forbidden(gateway, "iq")
    bob.expect_nothing("<message/>")


@pytest.mark.parametrize("rights", ["", f"{GATEWAY} roster=both iq-both={PUBSUB}",
                                    f"{OTHER} message=outgoing"])
def test_messages_without_the_right(host, rights):
    host.ctl("set", "component.privileges@localhost", rights)
    bob = host.client("bob", "b")
    gateway = Component(host, GATEWAY, SECRET)
    say(gateway, inner("alice@localhost", "bob@localhost"))
    forbidden(gateway)
    bob.expect_nothing("<message/>")


def test_a_right_that_is_taken_away_is_gone(host):
    bob = host.client("bob", "b")
    gateway = Component(host, GATEWAY, SECRET)
    say(gateway, inner("alice@localhost", "bob@localhost"))
    bob.expect("<message from='alice@localhost'/>")
    host.ctl("set", "component.privileges@localhost", "--default")
    say(gateway, inner("alice@localhost", "bob@localhost"))
    forbidden(gateway)


def test_a_client_has_no_such_rights(host):
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    alice.send(f"<message to='localhost' id='out'><privilege xmlns='{PRIVILEGE}'><forwarded "
               f"xmlns='{FORWARD}'>{inner('alice@localhost', 'bob@localhost')}</forwarded>"
               "</privilege></message>")
    assert alice.error("get", f"<privileged_iq xmlns='{PRIVILEGE}'/>",
                       to="bob@localhost")[0] == "service-unavailable"
    bob.expect_nothing("<message/>")


def test_the_recipient_blocks_the_user(host):
    bob = host.client("bob", "b")
    bob.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></block>")
    gateway = Component(host, GATEWAY, SECRET)
    say(gateway, inner("alice@localhost", "bob@localhost"))
    bob.expect_nothing("<message/>")


def test_instant_messages_are_off(host):
    """Nothing goes out in the name of a user that its own client could not send."""
    alice = host.client("alice", "a")
    gateway = Component(host, GATEWAY, SECRET)
    host.ctl("set", "im.enabled", "off")
    for to in "friend@elsewhere.test", "bob@localhost":
        say(gateway, inner("alice@localhost", to))
        gateway.expect_error("not-acceptable", template="<message type='error' id='out'/>")
    ask(gateway, "alice@localhost", f"<pubsub xmlns='{PUBSUB}'><subscriptions/></pubsub>")
    answered(gateway, "alice@localhost")
    host.ctl("set", "im.enabled", "on")
    say(gateway, inner("alice@localhost", "alice@localhost"))
    alice.expect("<message from='alice@localhost'/>")


def test_the_user_blocks_the_recipient(host):
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    host.ctl("set", "component.privileges@localhost",
             f"{GATEWAY} message=outgoing iq-get=urn:xmpp:ping")
    gateway = Component(host, GATEWAY, SECRET)
    say(gateway, inner("alice@localhost", "bob@localhost"))
    bob.expect("<message from='alice@localhost'/>")
    alice.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='bob@localhost'/></block>")
    say(gateway, inner("alice@localhost", "bob@localhost"))
    gateway.expect_error("not-acceptable", template="<message type='error' id='out'/>")
    ask(gateway, alice.bare, "<ping xmlns='urn:xmpp:ping'/>", to=str(bob))
    gateway.expect_error("not-acceptable", template="<iq type='error' id='out'/>")
    bob.expect_nothing("<message/>")
    ask(gateway, alice.bare, "<ping xmlns='urn:xmpp:ping'/>", to="localhost")
    answered(gateway, alice.bare)


def test_a_stop_with_requests_under_way(host):
    host.ctl("set", "component.privileges@localhost", f"{GATEWAY} iq-get=urn:xmpp:ping")
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    gateway = Component(host, GATEWAY, SECRET)
    ask(gateway, alice.bare, "<ping xmlns='urn:xmpp:ping'/>", to=str(bob))
    bob.expect("<iq type='get'/>")
    host.stop()


def test_a_request_of_a_user(host):
    alice = host.client("alice", "a")
    gateway = Component(host, GATEWAY, SECRET)
    ask(gateway, alice.bare, f"<pubsub xmlns='{PUBSUB}'><publish node='urn:n'><item id='i'><x "
        "xmlns='urn:x'/></item></publish></pubsub>", "set")
    assert answered(gateway, alice.bare).get("type") == "result"
    items = alice.result("get", f"<pubsub xmlns='{PUBSUB}'><items node='urn:n'/></pubsub>")
    assert items.find(".//{urn:x}x") is not None
    ask(gateway, alice.bare, f"<pubsub xmlns='{PUBSUB}'><items node='urn:none'/></pubsub>")
    assert answered(gateway, alice.bare).get("type") == "error"


def test_a_request_of_a_user_to_somebody_else(host):
    host.ctl("set", "component.privileges@localhost", f"{GATEWAY} iq-get=urn:xmpp:ping")
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    gateway = Component(host, GATEWAY, SECRET)
    ask(gateway, alice.bare, "<ping xmlns='urn:xmpp:ping'/>", to="localhost")
    assert answered(gateway, alice.bare).get("from") == "localhost"
    ask(gateway, alice.bare, "<ping xmlns='urn:xmpp:ping'/>", to=str(bob))
    request = bob.expect(f"<iq type='get' from='{alice.bare}'><ping xmlns='urn:xmpp:ping'/></iq>")
    bob.send(f"<iq type='result' id='{request.get('id')}' to='{alice.bare}'/>")
    assert answered(gateway, alice.bare).get("from") == str(bob)


@pytest.mark.parametrize("rights", ["", "roster=both message=outgoing", f"iq-set={PUBSUB}",
                                    f"iq-both={PUBSUB}#owner"])
def test_requests_without_the_right(host, rights):
    host.ctl("set", "component.privileges@localhost", f"{GATEWAY} {rights}")
    gateway = Component(host, GATEWAY, SECRET)
    ask(gateway, "alice@localhost", f"<pubsub xmlns='{PUBSUB}'/>")
    forbidden(gateway, "iq")


@pytest.mark.parametrize("request_", [
    "", "<iq xmlns='jabber:client' type='set' id='in' from='{}'><pubsub xmlns='{}'/></iq>",
    "<iq xmlns='jabber:client' type='get' from='{}'><pubsub xmlns='{}'/></iq>",
    "<iq xmlns='jabber:client' type='get' id='in' from='{}/a'><pubsub xmlns='{}'/></iq>",
    "<iq xmlns='jabber:client' type='get' id='in' from='bob@localhost'><pubsub xmlns='{1}'/></iq>",
    "<iq xmlns='jabber:client' type='get' id='in' from='{0}'><pubsub xmlns='{1}'/><pubsub "
    "xmlns='{1}'/></iq>",
    "<message xmlns='jabber:client' from='{}' to='bob@localhost'><pubsub xmlns='{}'/></message>"])
def test_forged_requests(host, request_):
    gateway = Component(host, GATEWAY, SECRET)
    gateway.send(f"<iq type='get' id='out' from='{GATEWAY}' to='alice@localhost'><privileged_iq "
                 f"xmlns='{PRIVILEGE}'>{request_.format('alice@localhost', PUBSUB)}"
                 "</privileged_iq></iq>")
    forbidden(gateway, "iq")


def test_requests_of_users_who_are_not_there(host):
    gateway = Component(host, GATEWAY, SECRET)
    ask(gateway, "nobody@localhost", f"<pubsub xmlns='{PUBSUB}'/>")
    forbidden(gateway, "iq")


def test_any_request_of_a_user_without_a_client(host):
    """What is asked without a client finds an answer, whatever it is: nothing relies on one."""
    asked = {
        "urn:xmpp:carbons:2": ("set", "enable"), "urn:xmpp:mam:2": ("set", "query"),
        "urn:xmpp:blocking": ("get", "blocklist"), "jabber:iq:privacy": ("get", "query"),
        "jabber:iq:private": ("get", "query"), "vcard-temp": ("get", "vCard"),
        "http://jabber.org/protocol/disco#info": ("get", "query"),
        "http://jabber.org/protocol/disco#items": ("get", "query"),
        "jabber:iq:last": ("get", "query"), "urn:xmpp:push:0": ("set", "enable"),
        "urn:xmpp:invisible:1": ("set", "invisible"), "urn:xmpp:sift:1": ("set", "sift"),
        "jabber:iq:version": ("get", "query"), "urn:xmpp:time": ("get", "time"),
        COMMANDS: ("set", "command"), ROSTER: ("get", "query"),
        "jabber:iq:register": ("get", "query"), "urn:xmpp:http:upload:0": ("get", "request"),
        "http://jabber.org/protocol/offline": ("get", "offline"),
        "urn:ietf:params:xml:ns:xmpp-session": ("set", "session"),
        "urn:xmpp:reporting:1": ("set", "report")}
    words = " ".join(f"iq-both={ns}" for ns in asked)
    host.ctl("set", "component.privileges@localhost", f"{GATEWAY} {words}")
    gateway = Component(host, GATEWAY, SECRET)
    for to in "alice@localhost", "localhost", "bob@localhost":
        for ns, (kind, name) in asked.items():
            ask(gateway, "alice@localhost", f"<{name} xmlns='{ns}'/>", kind, to=to)
            answered(gateway, "alice@localhost")


def test_a_component_does_not_administer(host):
    """Not even with every right over the requests of an administrator."""
    host.ctl("set", "admin.accounts", "alice@localhost")
    host.ctl("set", "component.privileges@localhost", f"{GATEWAY} iq-both={COMMANDS}")
    gateway = Component(host, GATEWAY, SECRET)
    for to in "alice@localhost", "localhost":
        ask(gateway, "alice@localhost", f"<command xmlns='{COMMANDS}' node='user-list'/>", "set",
            to=to)
        assert xml.condition(answered(gateway, "alice@localhost")) == "forbidden"


def test_a_component_that_is_deleted_has_no_rights(host):
    gateway = Component(host, GATEWAY, SECRET)
    host.ctl("component", "del", GATEWAY)
    gateway.expect_stream_error("not-authorized")
    late = Component(host, GATEWAY)
    late.handshake(SECRET, late.header())
    late.expect_stream_error("not-authorized")


@pytest.fixture
def watched(host):
    """GATEWAY may see presence and changes of contact lists of users of the first domain."""
    host.ctl("set", "component.privileges@localhost",
             f"{GATEWAY} roster=get push=roster presence=managed_entity")
    return host


def test_presence_of_users(watched):
    gateway = Component(watched, GATEWAY, SECRET)
    told = gateway.expect("<message from='localhost'/>")
    assert perms(told) == {"roster": "get", "presence": "managed_entity"}
    assert told[0][0].get("push") == "true"
    alice = watched.client("alice", "a")
    gateway.expect(f"<presence from='{alice}' to='{GATEWAY}'/>")
    alice.send("<presence><show>dnd</show><status>busy &amp; so on</status></presence>")
    gateway.expect(f"<presence from='{alice}' to='{GATEWAY}'><show>dnd</show>"
                   "<status>busy &amp; so on</status></presence>")
    other = watched.client("alice", "b")
    gateway.expect(f"<presence from='{other}'/>")
    other.close()
    gateway.expect(f"<presence from='{other}' type='unavailable'/>")
    alice.send("<presence type='unavailable'><status>bye</status></presence>")
    gateway.expect(f"<presence from='{alice}' type='unavailable'><status>bye</status></presence>")
    watched.client("eve", "e", domain="second.test")
    gateway.expect_nothing("<presence/>")
    alice.expect_nothing(f"<presence from='{GATEWAY}'/>")


def test_presence_that_was_there_before_the_component(watched):
    alice, bob, eve = (watched.client("alice", "a"), watched.client("bob", "b"),
                       watched.client("eve", "e", domain="second.test"))
    for client, words in (alice, "<show>away</show>"), (bob, ""), (eve, ""):
        client.send(f"<presence>{words}</presence>")
        client.expect(f"<presence from='{client}'/>")
    bob.result("set", "<invisible xmlns='urn:xmpp:invisible:0'/>")
    gateway = Component(watched, GATEWAY, SECRET)
    gateway.expect(f"<presence from='{alice}' to='{GATEWAY}'><show>away</show></presence>")
    gateway.expect_nothing("<presence/>")
    bob.send("<presence/>")
    gateway.expect_nothing("<presence/>")
    bob.result("set", "<visible xmlns='urn:xmpp:invisible:0'/>")
    bob.send("<presence/>")
    gateway.expect(f"<presence from='{bob}'/>")
    bob.result("set", "<invisible xmlns='urn:xmpp:invisible:0'/>")
    gateway.expect(f"<presence from='{bob}' type='unavailable'/>")
    watched.ctl("set", "component.privileges@localhost", f"{GATEWAY} message=outgoing")
    alice.send("<presence/>")
    alice.expect(f"<presence from='{alice}'/>")
    gateway.expect_nothing("<presence/>")
    watched.ctl("set", "component.privileges@localhost", f"{GATEWAY} presence=managed_entity")
    gateway.expect(f"<presence from='{alice}'/>")


def test_changes_of_contact_lists(watched):
    gateway = Component(watched, GATEWAY, SECRET)
    alice, eve = watched.client("alice", "a"), watched.client("eve", "e", domain="second.test")
    for client in eve, alice:
        client.result("set", f"<query xmlns='{ROSTER}'><item jid='bob@localhost' name='B'/>"
                             "</query>")
    push = gateway.expect(f"<iq type='set' to='{GATEWAY}'><query xmlns='{ROSTER}'>"
                          "<item jid='bob@localhost' name='B' subscription='none'/></query></iq>")
    assert push.get("from") == "alice@localhost"
    gateway.send(f"<iq type='result' id='{push.get('id')}' from='{GATEWAY}' "
                 "to='alice@localhost'/>")
    alice.result("set", f"<query xmlns='{ROSTER}'><item jid='bob@localhost' "
                        "subscription='remove'/></query>")
    gateway.expect("<iq type='set' from='alice@localhost'>"
                   f"<query xmlns='{ROSTER}'><item jid='bob@localhost' subscription='remove'/>"
                   "</query></iq>")
    gateway.expect_nothing("<iq/>")


def test_on_every_node(host):
    bob = host.client("bob", "b")
    for node in range(nodes.COUNT):
        gateway = Component(host, GATEWAY, SECRET, node=node)
        gateway.expect("<message from='localhost'/>")
        say(gateway, inner("alice@localhost", "bob@localhost", f"<body>{node}</body>"))
        bob.expect(f"<message from='alice@localhost'><body>{node}</body></message>")
        gateway.close()


async def test_slixmpp(host):
    """Its plug-in reads what it may, sends a message and changes a contact list."""
    slixmpp = pytest.importorskip("slixmpp")
    bob = host.client("bob", "b")
    bot = slixmpp.ComponentXMPP(GATEWAY, SECRET, "127.0.0.1", host.component_port)
    bot.register_plugin("xep_0356")
    told = asyncio.get_running_loop().create_future()
    bot.add_event_handler("privileges_advertised", lambda _: told.done() or told.set_result(None))
    bot.connect()
    await asyncio.wait_for(told, 10)
    plugin = bot["xep_0356"]
    assert plugin.granted_privileges["message"] == "outgoing"
    message = slixmpp.Message()
    message["from"], message["to"], message["body"] = "alice@localhost", bob.bare, "from slixmpp"
    bot.server_host = "localhost"
    plugin.send_privileged_message(message)
    await asyncio.to_thread(bob.expect, "<message from='alice@localhost'><body>from slixmpp</body>"
                            "</message>")
    await plugin.set_roster("alice@localhost", {f"b@{GATEWAY}": {"name": "B",
                                                                 "subscription": "none"}})
    roster = await plugin.get_roster("alice@localhost")
    assert list(roster["roster"]["items"]) == [f"b@{GATEWAY}"]
    await bot.disconnect()
