"""Homes: the worker that accepts a connection makes no difference for users.

Each test runs with c2s.migration on and off where ./check asks for both: then stream and session
are on different workers, and every stanza crosses between them."""
import pytest


USERS = [f"u{i}" for i in range(12)]


@pytest.fixture
def crowd(make_server):
    """Twelve users on two (or four) workers, all online."""
    server = make_server(*USERS, workers=4)
    return [server.client(name, "r") for name in USERS]


def test_everyone_reaches_everyone(crowd):
    for sender in crowd:
        for receiver in crowd:
            sender.send(f"<message to='{receiver}' type='chat'><body>{sender}</body></message>")
    for receiver in crowd:
        for sender in crowd:
            receiver.expect(f"<message from='{sender}'><body>{sender}</body></message>")


def test_order_between_each_two(crowd):
    for i in range(50):
        for sender in crowd[:3]:
            for receiver in crowd[3:]:
                sender.send(f"<message to='{receiver}' type='chat'><body>{i}</body></message>")
    for receiver in crowd[3:]:
        for sender in crowd[:3]:
            for i in range(50):
                found = receiver.expect(f"<message from='{sender}'/>")
                assert found.find("{jabber:client}body").text == str(i)


def test_requests_and_answers(crowd):
    for sender, receiver in zip(crowd, crowd[1:]):
        sender.send(f"<iq type='get' to='{receiver}' id='q'><query xmlns='urn:x'/></iq>")
        receiver.expect(f"<iq from='{sender}' id='q'/>")
        receiver.send(f"<iq type='result' to='{sender}' id='q'/>")
        sender.expect(f"<iq type='result' from='{receiver}' id='q'/>")


def test_pipelined_behind_authentication(make_server):
    """Bytes that came before the connection moved are worked off after it, in order."""
    server = make_server(*USERS, workers=4)
    for name in USERS:
        client = server.connect(name)
        assert client.authenticate() is None
        client.open()
        client.raw("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
                   "<presence/>" + "".join(
                       f"<iq type='get' id='p{i}' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>"
                       for i in range(20)))
        client.expect("<iq type='result' id='b'/>")
        for i in range(20):
            client.expect(f"<iq type='result' id='p{i}'/>")


def test_leaving_while_moving(make_server):
    """Connections that end at every step between success and bind."""
    server = make_server(*USERS, workers=4)
    for step in range(4):
        for name in USERS:
            client = server.connect(name)
            client.authenticate()
            if step > 0:
                client.raw("<stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
                           "xmlns:stream='http://etherx.jabber.org/streams'>")
            if step > 1:
                client.raw("<iq type='set' id='b'>"
                           "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
            if step > 2:
                client.raw("<presence/>")
            client.cut()
    server.login("u0").ping()


def test_broadcast_to_contacts_everywhere(make_server):
    server = make_server(*USERS, workers=4, settings={"presence.approval": "ask"})
    clients = [server.login(name, "r").available() for name in USERS]
    first, others = clients[0], clients[1:]
    for other in others:
        other.send(f"<presence to='{first.bare}' type='subscribe'/>")
        first.expect(f"<presence from='{other.bare}' type='subscribe'/>")
        first.send(f"<presence to='{other.bare}' type='subscribed'/>")
        other.expect(f"<presence from='{first}' type='-'/>")
    for i in range(10):
        first.send(f"<presence><status>{i}</status></presence>")
    for other in others:
        for i in range(10):
            found = other.expect(f"<presence from='{first}'><status/></presence>")
            assert found.find("{jabber:client}status").text == str(i)
    first.cut()
    for other in others:
        other.expect(f"<presence from='{first}' type='unavailable'/>")


def test_resumption_on_another_worker(make_server):
    server = make_server(*USERS, workers=4)
    for name in USERS:
        client = server.client(name, "r")
        client.enable_sm()
        for round_ in range(3):
            client.cut()
            other = server.login(USERS[0], "sender")
            other.send(f"<message to='{client}' type='chat'><body>{round_}</body></message>")
            other.ping()
            again = server.connect(name)
            assert again.take_over(client).tag.endswith("resumed")
            again.name = name
            again.expect_next(f"<message><body>{round_}</body></message>")
            client = again


def test_one_worker(make_server):
    server = make_server("alice", "bob", workers=1)
    alice, bob = server.client("alice"), server.client("bob")
    alice.send(f"<message to='{bob}'><body>hi</body></message>")
    bob.expect(f"<message from='{alice}'><body>hi</body></message>")
