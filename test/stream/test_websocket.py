"""XMPP over WebSocket (RFC 6455, RFC 7395)."""
import http.client

import pytest

from harness import xml
from harness.client import TIMEOUT, until
from harness.websocket import BINARY, CLOSE, FRAMING, PING, WebSocket, frame


@pytest.fixture
def node(make_server):
    return make_server("alice", "bob", settings={"c2s.tls-required": "off"},
                       why="every byte of the frames is the test's own")


def connect(server, name=None, tls=False, **options):
    port = server.https_port if tls else server.http_port
    client = WebSocket(("127.0.0.1", port), "localhost", name, tls=tls, **options)
    server.clients.append(client)
    return client


def login(server, name="alice", resource="ws", mechanism="SCRAM-SHA-256", **options):
    client = connect(server, name, **options)
    client.open()
    return client.login(mechanism, resource)


def test_login_and_chat(node):
    alice, bob = login(node).available(), node.client("bob", "b")
    alice.send(f"<message to='{bob}' type='chat'><body>hi</body></message>")
    bob.expect(f"<message from='{alice}'><body>hi</body></message>")
    bob.send(f"<message to='{alice}' type='chat'><body>{'x' * 70000}</body></message>")
    message = alice.expect(f"<message from='{bob}'/>")
    assert message.tag == f"{{{xml.CLIENT}}}message"
    assert len(message.findtext(f"{{{xml.CLIENT}}}body")) == 70000
    alice.ping()
    alice.close()
    assert alice.closed_with == 1000


def test_features_stand_alone(node):
    client = connect(node)
    features = client.open()
    assert features.tag == f"{{{xml.STREAM}}}features"
    assert not client.offers("starttls", xml.TLS)
    assert client.header.get("from") == "localhost" and client.header.get("version") == "1.0"
    assert client.header.get("id")


def test_passwords_only_over_tls(server):
    clear = connect(server)
    with pytest.raises(AssertionError):
        clear.open()
    error = clear.expect("<stream:error/>")  # not a list of nothing
    assert xml.condition(error) == "policy-violation" and "tls-required" in str(
        "".join(error.itertext()))
    client = connect(server, "alice", tls=True)
    client.open()
    assert "PLAIN" in client.mechanisms
    client.login("PLAIN", "wss")
    client.ping()


def test_channel_binding_over_https(server):
    client = connect(server, "alice", tls=True)
    client.open()
    assert "tls-server-end-point" in client.bindings
    failure = client.authenticate("SCRAM-SHA-256-PLUS",
                                  binding=("tls-server-end-point", client.end_point()))
    assert failure is None


def test_trusted_proxy_says_that_it_was_tls(make_server):
    server = make_server("alice", settings={"http.trusted-proxies": "127.0.0.1"})
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    client = connect(server, "alice", headers=headers)
    client.open()
    client.login("PLAIN", "proxied")
    assert "192.0.2.7" in str(server.ctl("session", "list"))
    client = connect(server, "alice", headers={"X-Forwarded-Proto": "https",
                                               "x-forwarded-for": "192.0.2.8, 192.0.2.9",
                                               "X-Forwarded-For": "192.0.2.10"})
    client.open()
    client.login("PLAIN", "appended")
    assert "192.0.2.10" in str(server.ctl("session", "list")), "what the proxy says comes last"


def test_an_alarm_names_what_a_proxy_needs(server):
    """A reverse proxy that nobody told the server about: users share the limits of one address, and
    links to files begin with a port that clients cannot reach."""
    def details():
        rows = server.rows("alarm", "list")
        return [row["detail"] for row in rows if row["name"] == "http.proxy"]

    def request():
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=TIMEOUT)
        connection.request("GET", "/.well-known/host-meta", headers={
            "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"})
        assert connection.getresponse().status == 200
        connection.close()

    def told():
        """Each worker clears the alarm when it hears of a change; the next request raises it."""
        request()
        return "".join(details())

    assert details() == []
    assert "http.trusted-proxies for the proxy at 127.0.0.1" in told()
    server.ctl("set", "http.trusted-proxies", "127.0.0.1")
    until("an alarm about the base", lambda: "http.base-url for the proxy at 127.0.0.1" in told())
    for name in ("http.base-url", "http.base-url@localhost"):
        server.ctl("set", name, "https://chat.example.org")
        until("there is no alarm", lambda: told() == "")
        server.ctl("set", name, "--default")
        until("an alarm about the base", lambda: "http.base-url for the proxy" in told())


@pytest.mark.parametrize("first", ["ws", "tcp"])
def test_resumption(node, first):
    alice = login(node) if first == "ws" else node.login("alice", "tcp")
    alice.available()
    alice.enable_sm()
    bob = node.client("bob", "b")
    alice.ping()
    alice.cut()
    bob.send(f"<message to='{alice}' type='chat'><body>while you were away</body></message>")
    again = connect(node, "alice")
    again.open()
    assert again.authenticate("SCRAM-SHA-256") is None
    again.open()
    again.send(f"<resume xmlns='{xml.SM}' previd='{alice.sm_id}' h='{alice.h}'/>")
    again.expect(f"<resumed xmlns='{xml.SM}'/>")
    again.expect(f"<message from='{bob}'><body>while you were away</body></message>")


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


def test_lost_without_close_hibernates(node):
    alice = login(node).available()
    alice.enable_sm()
    alice.frame(b"\x03\xe9", opcode=CLOSE)  # 1001, going away, and no <close/>
    alice.expect_code(1000)
    again = connect(node, "alice")
    again.open()
    again.authenticate("SCRAM-SHA-256")
    again.open()
    again.send(f"<resume xmlns='{xml.SM}' previd='{alice.sm_id}' h='{alice.h}'/>")
    again.expect(f"<resumed xmlns='{xml.SM}'/>")


def test_ping_and_fragments(node):
    alice = login(node)
    alice.frame(b"are you there", opcode=PING)
    alice.wait("pong", lambda: alice.pongs == [b"are you there"])
    text = ("<iq xmlns='jabber:client' type='get' id='pieces' to='localhost'>"
            "<ping xmlns='urn:xmpp:ping'/></iq>")
    alice.frame(text[:10], fin=False)
    alice.frame(text[10:30], opcode=0, fin=False)
    alice.frame(b"in between", opcode=PING)
    alice.frame(text[30:], opcode=0)
    alice.expect("<iq id='pieces' type='result'/>")
    alice.wait("pong", lambda: b"in between" in alice.pongs)


def test_bytes_one_by_one(node):
    alice = login(node)
    for byte in frame("<iq xmlns='jabber:client' type='get' id='slow' to='localhost'>"
                      "<ping xmlns='urn:xmpp:ping'/></iq>"):
        alice.bytes(bytes([byte]))
    alice.expect("<iq id='slow' type='result'/>")


def test_close_is_the_name_of_an_element_only(node):
    alice, bob = login(node).available(), node.client("bob", "b")
    alice.frame(f"<message id='close' to='{bob}' xmlns='jabber:client'><body>hi</body></message>")
    bob.expect(f"<message from='{alice}'><body>hi</body></message>")
    alice.frame(f"<f:close xmlns:f='{FRAMING}'/>")
    alice.expect_code(1000)


def test_other_path_and_setting(node):
    assert connect(node, path="/ws").status == 101
    node.ctl("set", "websocket.path", "/chat-socket")
    assert connect(node, path="/xmpp-websocket").status == 404
    assert connect(node, path="/chat-socket").status == 101


@pytest.mark.parametrize("headers, status", [
    ({"Sec-WebSocket-Protocol": None}, 400),
    ({"Sec-WebSocket-Protocol": "chat"}, 400),
    ({"Sec-WebSocket-Key": None}, 400),
    ({"Sec-WebSocket-Key": "short"}, 400),
    ({"Sec-WebSocket-Version": "8"}, 426),
    ({"Upgrade": None}, 426),
    ({"Connection": "keep-alive"}, 426),
])
def test_bad_handshakes(node, headers, status):
    assert connect(node, headers=headers).status == status


def test_origins(make_server):
    server = make_server(settings={"http.cors-origins": "https://good.example"})
    assert connect(server, headers={"Origin": "https://evil.example"}).status == 403
    assert connect(server, headers={"Origin": "https://good.example"}).status == 101


@pytest.mark.parametrize("data, code", [
    (frame("<open/>", mask=None), 1002),
    (frame("<open/>", opcode=BINARY), 1003),
    (frame("<open/>", reserved=0x40), 1002),
    (frame("x", opcode=3), 1002),
    (frame("x", opcode=PING, fin=False), 1002),
    (frame("x", opcode=0), 1002),
    (frame(b"\x03", opcode=CLOSE), 1002),
    (frame(b"\x00\x01", opcode=CLOSE), 1002),
    (frame("<open", fin=False) + frame("/>"), 1002),
    (frame(b"<open a='\xff'/>"), 1007),
    (frame(b"<open/>\xc3"), 1007),
    (frame(b"\xed\xa0\x80"), 1007),
    (frame(b"<open a='\xc3", fin=False) + frame(b"'/>", opcode=0), 1007),
])
def test_bad_frames(node, data, code):
    client = connect(node)
    client.bytes(data)
    client.expect_code(code)


def test_too_large(node):
    client = connect(node)
    client.bytes(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"mask")
    client.expect("<stream:error><policy-violation "
                  "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
    client.expect_code(1009)
    client = connect(node)
    for _ in range(70):
        client.frame("x" * 1000, fin=False, opcode=1 if _ == 0 else 0)
    client.expect_code(1009)


@pytest.mark.parametrize("first, condition", [
    ("<open>", "not-well-formed"),
    ("no xml", "not-well-formed"),
    ("<open xmlns='urn:other' to='localhost'/>", "invalid-namespace"),
    ("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
     "to='localhost' version='1.0'>", "not-well-formed"),
    (f"<open xmlns='{FRAMING}' to='elsewhere.example' version='1.0'/>", "host-unknown"),
    (f"<open xmlns='{FRAMING}' version='1.0'/>", "host-unknown"),
    (f"<open xmlns='{FRAMING}' to='localhost'/>", "unsupported-version"),
])
def test_bad_opens(node, first, condition):
    client = connect(node)
    client.frame(first)
    client.expect(f"<open xmlns='{FRAMING}'/>")  # RFC 7395 §3.3.2: the error needs a stream
    client.expect_stream_error(condition)
    assert client.closed_with == 1000


@pytest.mark.parametrize("text, condition", [
    ("<message xmlns='jabber:client'><body>", "not-well-formed"),
    ("<presence xmlns='jabber:client'/><presence xmlns='jabber:client'/>", "not-well-formed"),
    ("<?xml version='1.0'?><presence xmlns='jabber:client'/>", "restricted-xml"),
    ("<!-- no --><presence/>", "restricted-xml"),
    ("<presence xmlns='jabber:server'/>", "invalid-namespace"),
    ("text", "not-well-formed"),
])
def test_bad_messages(node, text, condition):
    alice = login(node)
    alice.frame(text)
    alice.expect_stream_error(condition, "not-well-formed")


def test_server_ends(node):
    alice = login(node)
    node.stop()
    alice.expect_stream_error("system-shutdown")
