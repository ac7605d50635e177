"""XMPP over BOSH (XEP-0124, XEP-0206)."""
import hashlib
import http.client
import time

import pytest

from harness import xml
from harness.bosh import HTTPBIND, Bosh
from harness.client import TIMEOUT, until

CLEAR = {"c2s.tls-required": "off"}
WHY = "every byte of the requests is the test's own"


@pytest.fixture
def node(make_server):
    """Four workers: the requests of a session arrive on all of them."""
    return make_server("alice", "bob", settings=CLEAR, why=WHY, workers=4)


def connect(server, name=None, tls=False, port=None, **options):
    port = port or (server.https_port if tls else server.http_port)
    client = Bosh(("127.0.0.1", port), "localhost", name, tls=tls, **options)
    server.clients.append(client)
    return client


def login(server, name="alice", resource="bosh", mechanism="SCRAM-SHA-256", **options):
    client = connect(server, name, **options)
    client.open()
    return client.login(mechanism, resource)


def ping_text(ident):
    return (f"<iq xmlns='jabber:client' type='get' id='{ident}' to='localhost'>"
            "<ping xmlns='urn:xmpp:ping'/></iq>")


def test_session_creation(node):
    client = connect(node)
    client.open()
    created = client.created
    assert created.tag == f"{{{HTTPBIND}}}body"
    assert (created.get("wait"), created.get("hold"), created.get("requests")) == ("10", "1", "2")
    assert created.get("ver") == "1.6", "the lower of both"
    assert created.get("from") == "localhost" and len(created.get("sid")) == 32
    assert int(created.get("inactivity")) == 60 and int(created.get("maxpause")) == 120
    assert created.get("{urn:xmpp:xbosh}version") == "1.0"
    assert created.get("{urn:xmpp:xbosh}restartlogic") == "true"
    assert not client.offers("starttls", xml.TLS)
    assert "SCRAM-SHA-256" in client.mechanisms


def test_login_and_chat(node):
    alice, bob = login(node).available(), node.client("bob", "b")
    alice.send(f"<message to='{bob}' type='chat'><body>hi</body></message>")
    bob.expect(f"<message from='{alice}'><body>hi</body></message>")
    for i in range(20):
        bob.send(f"<message to='{alice}' type='chat'><body>{i}</body></message>")
    for i in range(20):
        message = alice.expect(f"<message from='{bob}'/>")
        assert message.findtext(f"{{{xml.CLIENT}}}body") == str(i)
    alice.close()
    assert alice.eof and alice.condition is None


def test_passwords_only_over_tls(server):
    clear = connect(server)
    with pytest.raises(AssertionError):
        clear.open()
    assert any("policy-violation" in xml.canonical(e) for e in clear.log)
    client = connect(server, "alice", tls=True)
    client.open()
    client.login("PLAIN", "s")
    client.ping()
    # the sid does not work where others may read it
    stranger = connect(server)
    stranger.sid, stranger.rid = client.sid, client.rid
    assert stranger.answer(stranger.request()).get("condition") == "item-not-found"
    client.ping()


def test_sasl2_with_inline_binding(node):
    """Nothing is opened again, and features come behind <success/> (XEP-0388, XEP-0386)."""
    client, bob = connect(node, "alice"), node.client("bob", "b")
    client.open()
    inner = (f"<bind xmlns='{xml.BIND2}'><tag>web</tag><enable xmlns='{xml.SM}' resume='true'/>"
             "</bind>")
    success = client.sasl2("SCRAM-SHA-256", inner=inner)
    assert success.tag == f"{{{xml.SASL2}}}success" and client.sm_id
    assert client.jid.startswith("alice@localhost/web/")
    client.available()
    bob.send(f"<message to='{client}' type='chat'><body>hi</body></message>")
    client.expect(f"<message from='{bob}'><body>hi</body></message>")


def test_own_listener(node):
    client = login(node, port=node.bosh_port)
    client.ping()
    assert connect(node, port=node.bosh_port, path="/bosh").open() is not None


def test_requests_are_held(node):
    alice = login(node, wait="60").available()
    bob = node.client("bob", "b")
    held = alice.request()
    alice.pump(0.3)
    assert held.status is None, "answered though there was nothing to say"
    bob.send(f"<message to='{alice}' type='chat'><body>now</body></message>")
    alice.answer(held)
    alice.expect("<message><body>now</body></message>")
    first, second = alice.request(), alice.request()  # hold is 1: the first goes back
    assert len(alice.answer(first)) == 0
    assert second.status is None


def test_pipelined(node):
    """On one connection, a held request is answered when the next one arrives."""
    alice = login(node, wait="60")
    alice.drain()
    while alice.pending:
        alice.answer(alice.pending[0])
    sock = alice.idle[0]
    requests = [alice.request()]
    alice.idle.append(sock)
    requests.append(alice.request(ping_text("behind")))
    assert requests[0].sock is requests[1].sock
    data = b""
    while b"behind" not in data:
        data += sock.recv(65536)
    assert data.count(b"HTTP/1.1 200 OK") == 2
    alice.pending.clear()


def test_wait_ends(node):
    alice = login(node, wait="1")
    start = time.monotonic()
    assert len(alice.answer(alice.request())) == 0
    assert 0.8 < time.monotonic() - start < TIMEOUT


def test_out_of_order(node):
    alice = login(node)
    alice.drain()
    if alice.pending:
        alice.answer(alice.pending[0])
    first = alice.body(ping_text("one"))
    second = alice.body(ping_text("two"))
    alice.post(second[1], second[0])
    alice.post(first[1], first[0])
    alice.expect_next("<iq type='result' id='one'/>")
    alice.expect_next("<iq type='result' id='two'/>")


def test_what_is_behind_a_lost_request_is_not_held_for_long(node):
    """No longer than the client wants to wait, since it must not be answered before (§14.2)."""
    alice = login(node, wait="1")
    alice.drain()
    while alice.pending:
        alice.answer(alice.pending[0])
    alice.rid += 1
    body = alice.answer(alice.request(ping_text("behind")))
    assert (body.get("type"), body.get("condition"), len(body)) == ("terminate",
                                                                    "item-not-found", 0)
    client = connect(node)
    client.sid, client.rid = alice.sid, alice.rid
    assert client.answer(client.request()).get("condition") == "item-not-found"


@pytest.mark.parametrize("count", [64, 65, 1000])
def test_a_body_holds_any_number_of_stanzas(node, count):
    """Libraries send all that they have queued, such as the rooms of the bookmarks, in one."""
    alice, bob = login(node), node.client("bob", "b")
    alice.answer(alice.request("".join(
        f"<message xmlns='{xml.CLIENT}' to='{bob}' type='chat'><body>{i}</body></message>"
        for i in range(count))))
    for i in range(count):
        bob.expect_next(f"<message from='{alice}'><body>{i}</body></message>")
    alice.ping()


def test_lost_answers_are_repeated(node):
    alice = login(node).available()
    alice.drain()
    while alice.pending:
        alice.answer(alice.pending[0])
    rid, text = alice.body(ping_text("again"))
    request = alice.post(text, rid)
    body = alice.answer(request)
    assert len(body) == 1
    again = alice.answer(alice.post(text, rid))
    assert xml.canonical(again) == xml.canonical(body)
    alice.ping()


def test_broken_connection(node):
    """A held request whose connection is gone is sent again, and gets what comes."""
    alice, bob = login(node, wait="60").available(), node.client("bob", "b")
    alice.drain()
    alice.cut()
    rid, text = alice.body(f"<message xmlns='jabber:client' to='{bob}'><body>1</body></message>")
    alice.post(text, rid)
    bob.expect("<message><body>1</body></message>")  # so it is held now
    alice.cut()
    request = alice.post(text, rid)
    bob.send(f"<message to='{alice}' type='chat'><body>still there</body></message>")
    alice.answer(request)
    alice.expect("<message><body>still there</body></message>")


def test_a_request_that_is_repeated_gives_way(node):
    """XEP-0124 §14.3: it may be repeated itself (§17.3)."""
    alice, bob = login(node, wait="60").available(), node.client("bob", "b")
    alice.drain()
    while alice.pending:
        alice.answer(alice.pending[0])
    rid, text = alice.body(f"<message xmlns='jabber:client' to='{bob}'><body>1</body></message>")
    old = alice.post(text, rid)
    bob.expect("<message><body>1</body></message>")
    new = alice.post(text, rid)
    body = alice.answer(old)
    assert (body.get("type"), len(body)) == ("error", 0)
    bob.send(f"<message to='{alice}' type='chat'><body>2</body></message>")
    assert alice.answer(new).get("type") is None
    alice.expect("<message><body>2</body></message>")
    bob.expect_nothing("<message/>", after=alice)


def test_the_oldest_request_tells_of_the_end(node):
    """XEP-0124 §13; the others are answered by nothing."""
    alice = login(node, wait="60")
    alice.drain()
    while alice.pending:
        alice.answer(alice.pending[0])
    held, end = alice.request(), alice.request(type="terminate")
    assert alice.answer(held).get("type") == "terminate"
    body = alice.answer(end)
    assert (body.get("type"), len(body)) == (None, 0)


def test_messages_of_a_dead_session_wait(make_server):
    """Stanzas in an answer that was not confirmed are not lost."""
    server = make_server("alice", "bob", settings={**CLEAR, "bosh.inactivity": "3s"}, why=WHY)
    alice, bob = login(server).available(), server.client("bob", "b")
    alice.drain()
    while alice.pending:
        alice.answer(alice.pending[0])
    bob.send(f"<message to='{alice}' type='chat' id='x'><body>hello?</body></message>")
    bob.send(f"<presence to='{alice}'/>")
    bob.ping()
    alice.request()
    alice.cut()
    until("the end of the session", lambda: "alice" not in str(server.ctl("session", "list")))
    again = server.login("alice", "later").available()
    again.expect("<message><body>hello?</body></message>")


def test_polling(node):
    alice = login(node, hold="0", wait="0")
    assert alice.created.get("requests") == "1"
    alice.drain()
    silent = "<presence xmlns='jabber:client' type='unavailable'/>"  # nothing is answered to it
    assert len(alice.answer(alice.request(silent))) == 0
    sock = alice.idle.pop()
    sock.sendall(b"".join(alice.http(alice.body()[1]) for _ in range(2)))  # at the same time
    data = b""
    while b"type='terminate'" not in data:
        more = sock.recv(65536)
        assert more, data
        data += more
    assert data.count(b"HTTP/1.1 200 OK") == 2 and b"condition='policy-violation'" in data


def test_pause(node):
    alice, bob = login(node, wait="60").available(), node.client("bob", "b")
    alice.drain()
    while alice.pending and alice.pending[0].status is None and len(alice.pending) > 1:
        alice.answer(alice.pending[0])
    held = alice.pending[0] if alice.pending else alice.request()
    rid, text = alice.body(pause="60")
    pause = alice.post(text, rid)
    alice.answer(held)
    assert len(alice.answer(pause)) == 0
    again = alice.answer(alice.post(text, rid))  # the answer was lost
    assert len(again) == 0 and again.get("type") is None
    bob.send(f"<message to='{alice}' type='chat'><body>after</body></message>")
    alice.expect("<message><body>after</body></message>")


@pytest.mark.parametrize("name", [None, "alice"])
def test_restart_when_nothing_is_to_begin_again(node, name):
    client = login(node, name) if name else connect(node)
    if not name:
        client.open()
    client.request(**{"xmpp:restart": "true"})
    client.expect_stream_error("not-well-formed")
    node.client("bob", "b").ping()


def test_inactivity(make_server):
    server = make_server("alice", settings={**CLEAR, "bosh.inactivity": "3s"}, why=WHY)
    alice = login(server, wait="1")
    alice.cut()
    until("the end of the session", lambda: "alice" not in str(server.ctl("session", "list")))
    assert alice.answer(alice.request()).get("condition") == "item-not-found"


def test_stream_management_survives(node):
    alice = login(node).available()
    alice.enable_sm()
    alice.ping()
    sid, h = alice.sm_id, alice.h
    alice.request(rid=alice.rid + 50)
    alice.expect_terminated("item-not-found")
    again = connect(node, "alice")
    again.open()
    assert again.authenticate("SCRAM-SHA-256") is None
    again.open()
    again.send(f"<resume xmlns='{xml.SM}' previd='{sid}' h='{h}'/>")
    again.expect(f"<resumed xmlns='{xml.SM}'/>")


def test_keys(node):
    keys = ["seed"]
    for _ in range(20):
        keys.append(hashlib.sha1(keys[-1].encode()).hexdigest())
    client = connect(node, "alice", newkey=keys.pop())
    client.open()
    body = client.answer(client.request(pause="60", key=keys.pop()))
    assert body.get("type") is None
    fresh = ["other"]
    for _ in range(5):
        fresh.append(hashlib.sha1(fresh[-1].encode()).hexdigest())
    body = client.answer(client.request(pause="60", key=keys.pop(), newkey=fresh.pop()))
    assert body.get("type") is None
    assert client.answer(client.request(pause="60", key=fresh.pop())).get("type") is None
    client.request(pause="60", key="0" * 40)
    client.expect_terminated("item-not-found")


def test_acknowledgements(node):
    client = connect(node, "alice", ack="1")
    client.open()
    assert client.created.get("ack") == str(client.rid)
    first, second = client.request(), client.request()
    assert client.answer(first).get("ack") == str(second.rid)


def test_an_answer_that_may_be_lost_is_reported(node):
    """XEP-0124 §9.2."""
    client = connect(node, "alice", ack="1", wait="1")
    client.open()
    lost = client.request()
    assert client.answer(lost).get("report") is None
    until("a report", lambda: client.answer(
        client.request(ack=str(lost.rid - 1))).get("report") == str(lost.rid))
    assert int(client.last.get("time")) >= 2000
    body = client.answer(client.request())  # it has them all
    assert body.get("report") is None and body.get("type") is None


def test_content_type(node):
    client = connect(node, content="text/html; charset=utf-8")
    request = client.request(to="localhost", **client.attributes)
    client.answer(request)
    assert request.headers["content-type"] == "text/html; charset=utf-8"
    client = connect(node, content="text/html\r\nX: y")
    request = client.request(to="localhost", **client.attributes)
    client.answer(request)
    assert request.headers["content-type"] == "text/xml; charset=utf-8"


def test_unqualified_stanzas(node):
    """As old clients send them (XEP-0206 §2), and with prefixes of the wrapper."""
    alice = login(node)
    alice.request(ping_text("old").replace(" xmlns='jabber:client'", ""))
    alice.expect("<iq type='result' id='old'/>")
    rid, text = alice.body("<c:iq type='get' id='p' to='localhost'>"
                           "<ping xmlns='urn:xmpp:ping'/></c:iq>")
    alice.post(text.replace("<body ", "<body xmlns:c='jabber:client' "), rid)
    alice.expect("<iq type='result' id='p'/>")


def test_wrong_rids(node):
    for offset in (-20, 20):
        alice = login(node)
        alice.drain()
        alice.request(rid=alice.rid + offset)
        alice.expect_terminated("item-not-found")


def test_wrong_sid(node):
    client = connect(node)
    client.sid = "0" * 32
    client.request()
    client.expect_terminated("item-not-found")


def test_creation_errors(node):
    client = connect(node)
    assert client.answer(client.request(**client.attributes)).get("condition") == \
        "improper-addressing"
    client = connect(node)
    assert client.answer(client.request(to="elsewhere.example", **client.attributes)) \
        .get("condition") == "host-unknown"


@pytest.mark.parametrize("text", [
    "no xml", "", "<body", "<body xmlns='urn:other' rid='1' to='localhost'/>",
    f"<body xmlns='{HTTPBIND}' to='localhost'/>",
    f"<body xmlns='{HTTPBIND}' rid='0' to='localhost'/>",
    f"<body xmlns='{HTTPBIND}' rid='-5' to='localhost'/>",
    f"<body xmlns='{HTTPBIND}' rid='99999999999999999' to='localhost'/>",
    f"<body xmlns='{HTTPBIND}' rid='1' wait='long' to='localhost'/>",
    f"<body xmlns='{HTTPBIND}' rid='1' to='localhost'><!-- no --></body>",
    f"<!DOCTYPE x []><body xmlns='{HTTPBIND}' rid='1' to='localhost'/>",
    f"<body xmlns='{HTTPBIND}' rid='1' to='localhost'/>trailing",
    f"<body xmlns='{HTTPBIND}' rid='1' to='localhost'><a></b></body>",
], ids=range(13))
def test_bad_bodies(node, text):
    client = connect(node)
    client.post(text)
    client.expect_terminated("bad-request")


def test_huge_body(node):
    client = connect(node)
    request = client.post(f"<body xmlns='{HTTPBIND}' rid='1'>{'x' * (2 << 20)}</body>")
    client.wait("an answer", lambda: request.status is not None, poll=False)
    assert request.status == 413


def test_strangers_say_little(node):
    client = connect(node)
    client.open()
    client.request(f"<message xmlns='jabber:client'><body>{'x' * 70000}</body></message>")
    client.expect_terminated("policy-violation")
    client = connect(node)
    client.request("x" * 70000, to="localhost", **client.attributes)
    client.expect_terminated("policy-violation")
    alice = login(node)
    alice.request(f"<message xmlns='jabber:client' to='alice@localhost'><body>{'x' * 70000}</body>"
                  "</message>")
    alice.ping()


def test_stream_errors(node):
    alice = login(node)
    alice.request("<message xmlns='jabber:client' from='bob@localhost'/>")
    alice.expect_stream_error("invalid-from")
    client = connect(node)
    client.open()
    client.request("<message xmlns='jabber:client'/>")
    client.expect_stream_error("not-authorized")


def test_legacy_clients_get_codes(node):
    client = connect(node, ver=None)
    client.open()
    request = client.request(rid=client.rid + 50)
    client.answer(request)
    assert request.status == 404


def test_http_side(node):
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=TIMEOUT)
    connection.request("GET", "/http-bind")
    answer = connection.getresponse()
    assert answer.status == 200 and b"BOSH" in answer.read()
    connection.request("OPTIONS", "/http-bind", headers={
        "Origin": "https://a.example", "Access-Control-Request-Method": "POST"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 204
    assert "POST" in answer.getheader("Access-Control-Allow-Methods")
    connection.request("PUT", "/http-bind", body=b"x")
    assert connection.getresponse().status == 405
    connection.close()


def test_sessions_per_address(make_server):
    server = make_server(settings={**CLEAR, "c2s.connections-per-address": "2"}, why=WHY)
    connect(server).open()
    connect(server).open()
    third = connect(server)
    third.request(to="localhost", **third.attributes)
    third.expect_terminated("remote-stream-error")


def test_server_ends(node):
    alice = login(node)
    alice.drain()
    while alice.pending:
        alice.answer(alice.pending[0])
    alice.request()
    node.stop()
    alice.expect_stream_error("system-shutdown")


@pytest.mark.parametrize("ack", [None, "1"])
def test_pages_follow_each_other(node, ack):
    """Pages of messages are sent at once, and not one page for each `wait`. A new request shows
    that the client has the page before, also without acknowledgements (XEP-0124 §9)."""
    bob = node.client("bob", "b")
    for i in range(130):
        bob.send(f"<message to='alice@localhost' type='chat'><body>{i}</body></message>")
    bob.ping()
    alice = login(node, wait="60", ack=ack)
    alice.send("<presence/>")
    for i in range(130):
        alice.expect(f"<message from='{bob}'><body>{i}</body></message>")
    found = len(alice.log)
    alice.result("set", "<query xmlns='urn:xmpp:mam:2'/>")
    results = [e for e in alice.log[found:] if e.find("{urn:xmpp:mam:2}result") is not None]
    assert len(results) > 16, "more than go out at a time"


@pytest.mark.parametrize("ack", [None, "1"])
def test_pages_follow_each_other_while_a_request_is_held(node, ack):
    """A client that has another request open sends none when it gets a page: that one is answered
    soon, so that the next request shows that the client has the page."""
    bob = node.client("bob", "b")
    for i in range(130):
        bob.send(f"<message to='alice@localhost' type='chat'><body>{i}</body></message>")
    bob.ping()
    alice = login(node, wait="60", ack=ack)
    alice.send("<presence/>")
    alice.send("<iq type='get' id='behind'><ping xmlns='urn:xmpp:ping'/></iq>")
    for i in range(130):
        alice.expect(f"<message from='{bob}'><body>{i}</body></message>")
