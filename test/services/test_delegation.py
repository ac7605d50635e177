"""Requests that components answer in the place of the server (XEP-0355)."""
import asyncio

import pytest

from harness import across, nodes, xml
from harness.component import Component
from harness.server import refusal

SERVICE, OTHER = "service.example.test", "other.example.test"
SECRET = "a rather long secret"
DELEGATION, FORWARD = "urn:xmpp:delegation:2", "urn:xmpp:forward:0"
QUERY = "<query xmlns='urn:x'/>"


def delegates(make_server, **options):
    """A server of two domains. SERVICE answers for two namespaces of the first."""
    server = make_server("alice", "bob", domains=("localhost", "second.test"), component=True,
                         **options)
    server.add_user("eve", domain="second.test")
    for domain in SERVICE, OTHER:
        server.ctl("component", "add", domain, "--secret", SECRET)
    server.ctl("set", "component.delegations@localhost",
               f"urn:x={SERVICE} vcard-temp[node,kind]={SERVICE}")
    return server


@pytest.fixture
def host(make_server):
    return delegates(make_server)


def wrapped(stanza):
    return (f"<delegation xmlns='{DELEGATION}'><forwarded xmlns='{FORWARD}'>{stanza}</forwarded>"
            "</delegation>")


def take(service, host="localhost"):
    """The next delegated request: what stands around it, and what the user sent."""
    outer = service.expect(f"<iq type='set' from='{host}' to='{service.domain}'><delegation "
                           f"xmlns='{DELEGATION}'/></iq>")
    forwarded, = outer[0]
    assert forwarded.tag == f"{{{FORWARD}}}forwarded"
    assert forwarded[0].tag == f"{{{xml.CLIENT}}}iq"
    return outer, forwarded[0]


def answer(service, outer, content, kind="result"):
    service.send(f"<iq type='{kind}' id='{outer.get('id')}' from='{service.domain}' "
                 f"to='{outer.get('from')}'>{content}</iq>")


def result(request, content="", kind="result", **changed):
    attributes = {"from": request.get("to"), "to": request.get("from"), "id": request.get("id"),
                  "type": kind, **changed}
    words = " ".join(f"{name}='{value}'" for name, value in attributes.items() if value)
    return wrapped(f"<iq xmlns='jabber:client' {words}>{content}</iq>")


def test_a_component_is_told_what_is_delegated(host):
    """After the handshake, and when that changes."""
    service = Component(host, SERVICE, SECRET)
    told = service.expect("<message from='localhost'/>")
    assert [(d.get("namespace"), [a.get("name") for a in d]) for d in told[0]] == [
        ("urn:x", []), ("vcard-temp", ["node", "kind"])]
    host.ctl("set", "component.delegations@second.test", f"urn:y={SERVICE}")
    told = service.expect("<message from='second.test'/>")
    assert [d.get("namespace") for d in told[0]] == ["urn:y"]
    other = Component(host, OTHER, SECRET)
    other.expect_nothing("<message/>")


@pytest.mark.parametrize("value", [
    "urn:x", f"={SERVICE}", "urn:x=", "urn:x=Service.Test", "urn:x=a@service.test",
    f"urn:x={SERVICE} urn:x={OTHER}", f"urn:x[]={SERVICE}", f"[a]={SERVICE}",
    f"urn:x[a,,b]={SERVICE}", f"urn:x[,]={SERVICE}", f"urn:x[a,]={SERVICE}",
    f"urn:x[a,b,a]={SERVICE}", f"urn:x[={SERVICE}", f"urn:x[a={SERVICE}", f"urn:x[[a]={SERVICE}",
    f"urn:x[a]]={SERVICE}", f"urn:x]={SERVICE}",
    *(f"{ns}={SERVICE}" for ns in (
        "jabber:client", "jabber:iq:roster", "urn:ietf:params:xml:ns:xmpp-sasl",
        "urn:xmpp:sasl:2", "urn:ietf:params:xml:ns:xmpp-bind", "urn:xmpp:blocking",
        "jabber:iq:privacy", "urn:xmpp:carbons:2", DELEGATION, "urn:xmpp:privilege:2",
        "http://jabber.org/protocol/disco#info", "http://jabber.org/protocol/disco",
        "urn:xmpp:invisible:0", "urn:xmpp:sift:1", "urn:xmpp:sift:2",
        "http://jabber.org/protocol/offline", "urn:xmpp:csi:0", "jabber:iq:auth"))])
def test_what_cannot_be_delegated(host, value):
    """Two components cannot have one namespace, and some are the server's own."""
    assert "each namespace once" in refusal(host, "set", "component.delegations", value)


@pytest.mark.parametrize("to", [None, "localhost", "alice@localhost"])
def test_a_request_is_answered_by_the_component(host, to):
    alice = host.client("alice", "a")
    service = Component(host, SERVICE, SECRET)
    service.expect("<message/>")
    address = f"to='{to}'" if to else ""
    alice.send(f"<iq type='get' id='q' {address}><query xmlns='urn:x' xmlns:p='urn:p'>"
               "<p:a p:b='c'/>&lt;</query></iq>")
    outer, request = take(service)
    assert request.get("from") == str(alice) and request.get("to") == (to or alice.bare)
    assert request.get("id") == "q" and request.get("type") == "get"
    assert request[0].find("{urn:p}a").get("{urn:p}b") == "c"
    answer(service, outer, result(request, "<p:q xmlns:p='urn:x'><p:yes/></p:q>"))
    got = alice.expect(f"<iq type='result' id='q' from='{to or alice.bare}'/>")
    assert got.find("{urn:x}q/{urn:x}yes") is not None


def test_an_answer_may_be_an_error(host):
    alice = host.client("alice", "a")
    service = Component(host, SERVICE, SECRET)
    alice.send(f"<iq type='set' id='q'>{QUERY}</iq>")
    outer, request = take(service)
    answer(service, outer, result(request, "<error type='cancel'><conflict xmlns='"
                                  "urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", "error"))
    alice.expect_error("conflict")


@pytest.mark.parametrize("changed", [
    {"to": "bob@localhost"}, {"to": "alice@localhost"}, {"from": "bob@localhost"}, {"id": "other"},
    {"from": "localhost"}, {"kind": "get"}, {"kind": "set"}])
def test_answers_that_are_none(host, changed):
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    service = Component(host, SERVICE, SECRET)
    alice.send(f"<iq type='get' id='q'>{QUERY}</iq>")
    outer, request = take(service)
    answer(service, outer, result(request, **changed))
    alice.expect_error("service-unavailable", template="<iq type='error' id='q'/>")
    bob.expect_nothing("<iq/>")


@pytest.mark.parametrize("content", [
    "", f"<delegation xmlns='{DELEGATION}'/>", wrapped(""), wrapped("<iq xmlns='urn:x'/>"),
    wrapped("<message xmlns='jabber:client' to='alice@localhost/a' id='q' type='result'/>"),
    "<query xmlns='urn:x'/>"])
def test_answers_without_an_answer(host, content):
    alice = host.client("alice", "a")
    service = Component(host, SERVICE, SECRET)
    alice.send(f"<iq type='get' id='q'>{QUERY}</iq>")
    answer(service, take(service)[0], content)
    alice.expect_error("service-unavailable", template="<iq type='error' id='q'/>")


def test_an_error_of_the_component_itself(host):
    alice = host.client("alice", "a")
    service = Component(host, SERVICE, SECRET)
    alice.send(f"<iq type='get' id='q'>{QUERY}</iq>")
    answer(service, take(service)[0], "<error type='cancel'><not-allowed xmlns='"
           "urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", "error")
    alice.expect_error("service-unavailable")


def test_nobody_else_answers(host):
    """Another component, or a client, that guesses the id."""
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    service, other = (Component(host, name, SECRET) for name in (SERVICE, OTHER))
    alice.send(f"<iq type='get' id='q'>{QUERY}</iq>")
    outer, request = take(service)
    answer(other, outer, result(request, "<forged xmlns='urn:x'/>"))
    bob.send(f"<iq type='result' id='{outer.get('id')}' to='localhost'>"
             f"{result(request, '<forged/>')}</iq>")
    other.ping()
    bob.ping()
    answer(service, outer, result(request, "<true xmlns='urn:x'/>"))
    assert alice.expect("<iq type='result' id='q'/>")[0].tag == "{urn:x}true"
    answer(service, outer, result(request, "<twice xmlns='urn:x'/>"))
    service.ping()
    alice.expect_nothing("<iq/>")


@pytest.mark.parametrize("id_", ["", "ffff" + "0" * 24, "0000" + "0" * 24, "zzzz" + "0" * 24,
                                 "0fff" + "0" * 24, "1000" + "0" * 24])
def test_answers_that_nobody_waits_for(host, id_):
    alice, service = host.client("alice", "a"), Component(host, SERVICE, SECRET)
    alice.send(f"<iq type='result' id='{id_}' to='localhost'/>")
    service.send(f"<iq type='result' id='{id_}' from='{SERVICE}' to='localhost'/>")
    alice.ping()
    service.ping()


def test_a_component_that_is_not_there(host):
    alice = host.client("alice", "a")
    assert alice.error("get", QUERY)[0] == "service-unavailable"


def test_a_component_that_leaves_and_comes_back(host):
    alice = host.client("alice", "a")
    service = Component(host, SERVICE, SECRET)
    alice.send(f"<iq type='get' id='q'>{QUERY}</iq>")
    outer, request = take(service)
    service.close()
    alice.expect_error("service-unavailable", template="<iq type='error' id='q'/>")
    again = Component(host, SERVICE, SECRET)
    answer(again, outer, result(request, "<late/>"))
    alice.send(f"<iq type='get' id='r'>{QUERY}</iq>")
    outer, request = take(again)
    answer(again, outer, result(request))
    alice.expect("<iq type='result' id='r'/>")


def test_a_component_that_is_deleted(host):
    alice = host.client("alice", "a")
    service = Component(host, SERVICE, SECRET)
    alice.send(f"<iq type='get' id='q'>{QUERY}</iq>")
    take(service)
    host.ctl("component", "del", SERVICE)
    alice.expect_error("service-unavailable", template="<iq type='error' id='q'/>")
    assert alice.error("get", QUERY)[0] == "service-unavailable"


def test_a_component_that_never_answers(make_server, disk):
    """The user gets an error after 30 s; what is behind the request is acknowledged meanwhile."""
    host = delegates(make_server, disk=disk)
    alice = host.client("alice", "a")
    alice.enable_sm()
    service = Component(host, SERVICE, SECRET)
    alice.send(f"<iq type='get' id='q'>{QUERY}</iq>")
    take(service)
    alice.send("<message to='bob@localhost' type='chat'><body>hi</body></message>")
    alice.wait_acked(2)
    disk.turn(mono_us=30 * 10**6)
    alice.expect_error("service-unavailable", template="<iq type='error' id='q'/>")


def test_a_stop_with_requests_under_way(host):
    alice = host.client("alice", "a")
    service = Component(host, SERVICE, SECRET)
    alice.send(f"<iq type='get' id='q'>{QUERY}</iq>")
    take(service)
    alice.send(f"<iq type='get' id='d' to='localhost'><query xmlns='{xml.DISCO_INFO}'/></iq>")
    service.expect("<iq type='get'/>")
    host.stop()


def test_what_has_not_all_attributes_is_for_the_server(host):
    alice = host.client("alice", "a")
    service = Component(host, SERVICE, SECRET)
    assert alice.error("get", "<vCard xmlns='vcard-temp'/>")[0] == "item-not-found"
    assert alice.error("get", "<vCard xmlns='vcard-temp' node='n'/>")[0] == "item-not-found"
    alice.send("<iq type='get' id='q'><vCard xmlns='vcard-temp' node='n' kind='k'/></iq>")
    outer, request = take(service)
    answer(service, outer, result(request))
    alice.expect("<iq type='result' id='q'/>")


def test_requests_to_others_are_not_delegated(host):
    """To other domains, by others to the domain itself, and to clients."""
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    eve = host.client("eve", "e", domain="second.test")
    service, other = (Component(host, name, SECRET) for name in (SERVICE, OTHER))
    for client, to in (alice, eve.bare), (alice, "second.test"), (eve, None), (eve, "localhost"):
        assert client.error("get", QUERY, to=to)[0] == "service-unavailable"
    alice.send(f"<iq type='get' id='q' to='{bob}'>{QUERY}</iq>")
    bob.expect(f"<iq type='get' id='q'>{QUERY}</iq>")
    for component in service, other:
        component.send(f"<iq type='get' id='q' from='{component.domain}' to='localhost'>{QUERY}"
                       "</iq>")
        component.expect_error("service-unavailable", template="<iq type='error' id='q'/>")
    service.expect_nothing("<iq/>")


def asked_of(service, client, to, kind="get", from_=None):
    """Somebody's request to an account, as it comes to the component."""
    from_ = from_ or str(client)
    client.send(f"<iq type='{kind}' id='q' from='{from_}' to='{to}'>{QUERY}</iq>")
    outer, request = take(service)
    assert (request.get("from"), request.get("to"), request.get("type")) == (from_, to, kind)
    return outer, request


@pytest.mark.parametrize("kind", ["get", "set"])
def test_requests_of_others_to_an_account_are_delegated(host, kind):
    """From the same domain, another domain, and another component."""
    alice, eve = host.client("alice", "a"), host.client("eve", "e", domain="second.test")
    service, other = (Component(host, name, SECRET) for name in (SERVICE, OTHER))
    for client, from_ in (alice, None), (eve, None), (other, f"x@{OTHER}/y"), (other, OTHER):
        outer, request = asked_of(service, client, "bob@localhost", kind, from_)
        answer(service, outer, result(request, "<yes xmlns='urn:x'/>"))
        got = client.expect("<iq type='result' id='q' from='bob@localhost'/>")
        assert got[0].tag == "{urn:x}yes"


def test_requests_of_another_server_to_an_account_are_delegated(make_server, tmp_path):
    one, other = across.start(make_server, tmp_path, component=True)
    one.ctl("component", "add", "cards.one.test", "--secret", SECRET)
    one.ctl("set", "component.delegations@one.test", "vcard-temp=cards.one.test")
    service, bob = Component(one, "cards.one.test", SECRET), other.client("bob", "b")
    bob.send("<iq type='get' id='q' to='alice@one.test'><vCard xmlns='vcard-temp'/></iq>")
    outer, request = take(service, "one.test")
    assert (request.get("from"), request.get("to")) == (str(bob), "alice@one.test")
    answer(service, outer, result(request, "<vCard xmlns='vcard-temp'><FN>Alice</FN></vCard>"))
    got = bob.expect("<iq type='result' id='q' from='alice@one.test'/>")
    assert got[0].findtext("{vcard-temp}FN") == "Alice"


def test_the_component_itself_asks_the_server_for_an_account(host):
    service = Component(host, SERVICE, SECRET)
    for from_ in SERVICE, f"x@{SERVICE}/y":
        service.send(f"<iq type='get' id='q' from='{from_}' to='bob@localhost'>{QUERY}</iq>")
        service.expect_error("service-unavailable", template="<iq type='error' id='q'/>")
    service.expect_nothing("<iq/>")


def test_a_component_that_speaks_for_a_user_asks_the_server_for_others(host):
    host.ctl("set", "component.privileges@localhost", f"{OTHER} iq-both=urn:x")
    service, other = (Component(host, name, SECRET) for name in (SERVICE, OTHER))
    other.send(f"<iq type='get' id='p' from='{OTHER}' to='bob@localhost'><privileged_iq "
               "xmlns='urn:xmpp:privilege:2'><iq xmlns='jabber:client' type='get' id='i' "
               f"from='alice@localhost' to='bob@localhost'>{QUERY}</iq></privileged_iq></iq>")
    other.expect("<iq id='p'/>")
    service.expect_nothing("<iq/>")


STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
NOT_FOUND = f"<error type='cancel'><item-not-found xmlns='{STANZA_ERRORS}'/></error>"


def test_strangers_do_not_learn_from_errors_which_accounts_exist(host):
    """Of an account that does not exist, of one that has blocked them, and of others."""
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    host.add_user("carol")
    bob.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></block>")

    def error_of(to):
        alice.send(f"<iq type='get' id='q' to='{to}'>{QUERY}</iq>")
        got = alice.expect("<iq type='error' id='q'/>")
        return xml.canonical(got).replace(to, "somebody")

    nobody = error_of("nobody@localhost")
    assert "}service-unavailable" in nobody and "}text" not in nobody
    assert error_of("bob@localhost") == nobody == error_of("carol@localhost")
    service = Component(host, SERVICE, SECRET)
    assert error_of("bob@localhost") == nobody == error_of("nobody@localhost")
    for content in result, lambda request, *rest: "":
        outer, request = asked_of(service, alice, "carol@localhost")
        answer(service, outer, content(request, NOT_FOUND, "error"))
        got = xml.canonical(alice.expect("<iq type='error' id='q'/>"))
        assert got.replace("carol@localhost", "somebody") == nobody
    service.expect_nothing("<iq/>")


def test_contacts_are_told_the_error_of_the_component(host):
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    across.befriend(alice, bob)
    service = Component(host, SERVICE, SECRET)
    outer, request = asked_of(service, alice, "bob@localhost")
    answer(service, outer, result(request, NOT_FOUND, "error"))
    alice.expect_error("item-not-found", template="<iq type='error' id='q'/>")


def test_requests_of_others_take_nothing_from_the_requests_of_the_account(host):
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    service = Component(host, SERVICE, SECRET)
    for n in range(64):
        alice.send(f"<iq type='get' id='{n}' to='bob@localhost'>{QUERY}</iq>")
    for n in range(64):
        take(service)
    assert alice.error("get", QUERY, to="bob@localhost")[0] == "service-unavailable"
    bob.send(f"<iq type='get' id='q'>{QUERY}</iq>")
    outer, request = take(service)
    answer(service, outer, result(request))
    bob.expect("<iq type='result' id='q'/>")


def test_what_the_component_asks_for_a_user_is_for_the_server(host):
    host.ctl("set", "component.delegations@localhost", f"vcard-temp={SERVICE}")
    host.ctl("set", "component.privileges@localhost", f"{SERVICE} iq-both=vcard-temp")
    service = Component(host, SERVICE, SECRET)
    service.send(f"<iq type='get' id='p' from='{SERVICE}' to='alice@localhost'><privileged_iq "
                 "xmlns='urn:xmpp:privilege:2'><iq xmlns='jabber:client' type='get' id='i' "
                 "from='alice@localhost'><vCard xmlns='vcard-temp'/></iq></privileged_iq></iq>")
    service.expect("<iq type='result' id='p'/>")
    service.expect_nothing(f"<iq><delegation xmlns='{DELEGATION}'/></iq>")


def test_many_at_once(host):
    """Each answer goes to who asked, whatever their order."""
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    service = Component(host, SERVICE, SECRET)
    taken = []
    for n in range(50):
        for client in alice, bob:
            client.send(f"<iq type='get' id='{n}'><query xmlns='urn:x' n='{client.bare}{n}'/></iq>")
    for _ in range(100):
        taken.append(take(service))
    for outer, request in reversed(taken):
        n = request[0].get("n")
        answer(service, outer, result(request, f"<n xmlns='urn:x' n='{n}'/>"))
    for client in alice, bob:
        for n in range(50):
            got = client.expect(f"<iq type='result' id='{n}'/>")
            assert got[0].get("n") == f"{client.bare}{n}"


def test_a_user_has_few_requests_that_wait(host):
    """A component that is silent does not let one user take what all need."""
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    service = Component(host, SERVICE, SECRET)
    for n in range(64):
        alice.send(f"<iq type='get' id='{n}'>{QUERY}</iq>")
    taken = [take(service) for _ in range(64)]
    alice.send(f"<iq type='get' id='more'>{QUERY}</iq>")
    alice.expect_error("resource-constraint", template="<iq type='error' id='more'/>")
    alice.send(f"<iq type='get' id='d' to='localhost'><query xmlns='{xml.DISCO_INFO}'/></iq>")
    assert DELEGATION in discovered(alice, "localhost")[0]
    bob.send(f"<iq type='get' id='q'>{QUERY}</iq>")
    outer, request = take(service)
    answer(service, outer, result(request))
    bob.expect("<iq type='result' id='q'/>")
    for outer, request in taken[:2]:
        answer(service, outer, result(request))
    alice.expect("<iq type='result' id='1'/>")
    for n in "ab":
        alice.send(f"<iq type='get' id='{n}'>{QUERY}</iq>")
        take(service)
    assert alice.error("get", QUERY)[0] == "resource-constraint"


def test_components_of_every_node(host):
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    for node in range(nodes.COUNT):
        service = Component(host, SERVICE, SECRET, node=node)
        for client in alice, bob:
            client.send(f"<iq type='get' id='q{node}'>{QUERY}</iq>")
            outer, request = take(service)
            answer(service, outer, result(request))
            client.expect(f"<iq type='result' id='q{node}'/>")
        service.close()


def discovered(client, to):
    info = client.expect(f"<iq type='result' id='d' from='{to}'/>")[0]
    return ({f.get("var") for f in info if f.get("var")},
            [(i.get("category"), i.get("type")) for i in info if i.get("category")])


def describe(service, host, node, content):
    """Answers a request of the server for what stands in its place."""
    request = service.expect(f"<iq type='get' from='{host}' to='{service.domain}'><query "
                             f"xmlns='{xml.DISCO_INFO}' node='{node}'/></iq>")
    service.send(f"<iq type='result' id='{request.get('id')}' from='{service.domain}' "
                 f"to='{host}'><query xmlns='{xml.DISCO_INFO}' node='{node}'>{content}</query>"
                 "</iq>")


@pytest.mark.parametrize("to, mark", [("localhost", "::"), ("alice@localhost", ":bare:")])
def test_discovery_shows_what_the_component_can_do(host, to, mark):
    """Instead of what the server can, and to no more than it may have."""
    pubsub = "http://jabber.org/protocol/pubsub"
    alice = host.client("alice", "a")
    ask = f"<iq type='get' id='d' to='{to}'><query xmlns='{xml.DISCO_INFO}'/></iq>"
    host.ctl("set", "component.delegations@localhost", "--default")
    alice.send(ask)
    before, identities = discovered(alice, to)
    host.ctl("set", "component.delegations@localhost", f"{pubsub}={SERVICE} urn:y={SERVICE}")
    service = Component(host, SERVICE, SECRET)
    alice.send(ask)
    many = "".join(f"<feature var='urn:y#{n}'/>" for n in range(300))
    describe(service, "localhost", f"{DELEGATION}{mark}urn:y", "<feature/><identity/>" + "".join(
        f"<identity category='c{n}' type='t'/>" for n in range(20)))
    describe(service, "localhost", f"{DELEGATION}{mark}{pubsub}",
             f"<identity category='pubsub' type='pep'/><feature var='{pubsub}#own'/>{many}")
    features, after = discovered(alice, to)
    assert {f for f in features if f.startswith(pubsub)} == {f"{pubsub}#own"}
    assert {f for f in before if not f.startswith(pubsub)} <= features
    assert "urn:y#0" in features and len(features) == 256
    assert set(identities) <= set(after) and ("c0", "t") in after and len(after) == 8


def test_discovery_keeps_what_the_server_still_answers(host):
    """With attributes, only some requests go to the component."""
    mam, pubsub = "urn:xmpp:mam:2", "http://jabber.org/protocol/pubsub"
    alice = host.client("alice", "a")
    ask = f"<iq type='get' id='d' to='alice@localhost'><query xmlns='{xml.DISCO_INFO}'/></iq>"
    host.ctl("set", "component.delegations@localhost", "--default")
    alice.send(ask)
    before = discovered(alice, "alice@localhost")[0]
    kept = {f for f in before if f.startswith(mam)}
    assert mam in kept and f"{mam}#extended" in kept
    host.ctl("set", "component.delegations@localhost", f"{mam}[node]={SERVICE} {pubsub}={SERVICE}")
    service = Component(host, SERVICE, SECRET)
    alice.send(ask)
    describe(service, "localhost", f"{DELEGATION}:bare:{pubsub}", "")
    describe(service, "localhost", f"{DELEGATION}:bare:{mam}", f"<feature var='{mam}#more'/>")
    after = discovered(alice, "alice@localhost")[0]
    assert {f for f in after if f.startswith(mam)} == kept | {f"{mam}#more"}
    assert pubsub in before and pubsub not in after


def test_discovery_without_the_component(host):
    """It is gone, answers with an error, or takes too long."""
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    ask = f"<iq type='get' id='d' to='localhost'><query xmlns='{xml.DISCO_INFO}'/></iq>"
    alice.send(ask)
    assert DELEGATION in discovered(alice, "localhost")[0]
    service = Component(host, SERVICE, SECRET)
    alice.send(ask)
    for _ in range(2):
        request = service.expect("<iq type='get'/>")
        service.send(f"<iq type='error' id='{request.get('id')}' from='{SERVICE}' to='localhost'/>")
    features = discovered(alice, "localhost")[0]
    assert {DELEGATION, "vcard-temp"} <= features
    bob.send(ask)
    service.expect("<iq type='get'/>")
    assert DELEGATION in discovered(bob, "localhost")[0]
    eve = host.client("eve", "e", domain="second.test")
    assert eve.error("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="alice@localhost")[0] == (
        "service-unavailable")


def test_the_server_says_that_it_delegates(host):
    alice = host.client("alice", "a")
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="localhost")
    assert DELEGATION in {f.get("var") for f in info}


async def test_slixmpp(host):
    """A component written with slixmpp answers for the server."""
    slixmpp = pytest.importorskip("slixmpp")
    from slixmpp.xmlstream.handler import Callback
    from slixmpp.xmlstream.matcher import MatchXPath
    bot = slixmpp.ComponentXMPP(SERVICE, SECRET, "127.0.0.1", host.component_port)
    bot.register_plugin("xep_0297")
    started = asyncio.get_running_loop().create_future()

    def answer_it(outer):
        request = outer.xml.find(f".//{{{xml.CLIENT}}}iq")
        reply = outer.reply()
        text = result(request, "<done xmlns='urn:x'/>")
        reply.append(slixmpp.xmlstream.ET.fromstring(text))
        reply.send()

    bot.register_handler(Callback("delegated", MatchXPath(
        f"{{{bot.default_ns}}}iq/{{{DELEGATION}}}delegation"), answer_it))
    bot.add_event_handler("session_start", lambda _: started.set_result(None))
    bot.connect()
    await asyncio.wait_for(started, 10)
    alice = await asyncio.to_thread(host.client, "alice", "a")
    alice.send(f"<iq type='get' id='q'>{QUERY}</iq>")
    got = await asyncio.to_thread(alice.expect, "<iq type='result' id='q'/>")
    assert got[0].tag == "{urn:x}done"
    await bot.disconnect()
