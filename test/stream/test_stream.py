"""Streams: RFC 6120 §4 (headers, errors), §5 (STARTTLS), §11 (XML), XEP-0368 (direct TLS)."""
import re
import socket
import ssl
import subprocess

import pytest

from harness import xml
from harness.client import TIMEOUT, Client, insecure_context, until


OPEN = (f"<stream:stream to='localhost' version='1.0' xmlns='{xml.CLIENT}' "
        f"xmlns:stream='{xml.STREAM}'>")


@pytest.fixture
def plain(make_server):
    """A server that takes clients in the clear."""
    return make_server("alice", "bob", settings={"c2s.tls-required": "off"},
                       why="every byte of the tests is on the wire")


# --- headers (§4.7, §4.8) ---


def test_header_of_the_answer(plain):
    one, other = plain.connect(tls="none"), plain.connect(tls="none")
    header = one.reader.header
    assert header.tag == f"{{{xml.STREAM}}}stream"
    assert header.get("from") == "localhost"
    assert header.get("version") == "1.0"
    assert header.get(xml.LANG)
    assert len(header.get("id")) >= 16
    assert header.get("id") != other.reader.header.get("id")


def test_header_names_the_client_it_answers(plain):
    client = plain.dial(tls="none")
    client.open(header=OPEN.replace("to=", "from='alice@localhost' to="))
    assert client.reader.header.get("to") == "alice@localhost"


def test_header_with_another_prefix_for_streams(plain):
    client = plain.dial(tls="none")
    client.open(header=OPEN.replace("stream:stream", "s:stream").replace("xmlns:stream", "xmlns:s"))


def test_header_after_a_byte_order_mark_and_declaration(plain):
    client = plain.dial(tls="none")
    client.open(header="<?xml version='1.0' encoding='UTF-8'?>\n" + OPEN)


@pytest.mark.parametrize("change, conditions", [
    (("to='localhost'", "to='elsewhere.example'"), ["host-unknown"]),
    (("to='localhost'", "to='@'"), ["host-unknown", "improper-addressing"]),
    (("version='1.0'", "version='0.9'"), ["unsupported-version"]),
    (("version='1.0'", ""), ["unsupported-version"]),
    ((xml.CLIENT, "jabber:server"), ["invalid-namespace"]),
    ((xml.CLIENT, "urn:example:other"), ["invalid-namespace"]),
    ((xml.STREAM, "urn:example:streams"), ["invalid-namespace", "bad-format"]),
    (("stream:stream", "stream:river"), ["bad-format", "invalid-namespace"]),
    (("<stream:stream", "<?xml version='1.0' encoding='ISO-8859-1'?><stream:stream"),
     ["unsupported-encoding"]),
    (("xmlns:stream=", "xmlns:other="), ["not-well-formed", "bad-namespace-prefix"]),
    (("<stream:stream", "GET / HTTP/1.1\r\n\r\n"), ["not-well-formed", "bad-format"]),
])
def test_bad_header(plain, change, conditions):
    """The server opens its own stream before it says what is wrong (§4.9.1.2)."""
    client = plain.dial(tls="none")
    client.raw(OPEN.replace(*change))
    client.expect_stream_error(*conditions)
    assert client.reader.header.tag == f"{{{xml.STREAM}}}stream"
    assert client.reader.ended


def test_closing_is_answered(alice):
    alice.raw("</stream:stream>")
    alice.wait("</stream:stream>", lambda: alice.reader.ended)
    alice.expect_closed()


def test_white_space_keeps_alive(alice):
    for _ in range(20):
        alice.raw(" \n\t")
    alice.ping()


# --- errors in an open stream (§4.9.3) ---


@pytest.mark.parametrize("text, conditions", [
    ("<message></presence>", ["not-well-formed"]),
    ("<message to=bob/>", ["not-well-formed"]),
    ("<message to='a' to='b'/>", ["not-well-formed"]),
    ("<message id='<'/>", ["not-well-formed"]),
    ("<message to='alice@localhost' xmlns:p='jabber:server'><body>hi</body>"
     "<x xmlns='urn:x' xmlns:q='jabber:client' p:a='1' q:a='2'/></message>", ["not-well-formed"]),
    ("<x:message/>", ["not-well-formed", "bad-namespace-prefix"]),
    ("<message to='alice@localhost'><delay xmlns='urn:xmpp:dela&#121;' from='localhost' "
     "stamp='2001-01-01T00:00:00Z'/><body>hi</body></message>",
     ["not-well-formed", "bad-namespace-prefix"]),
    ("<message><body>&#0;</body></message>", ["not-well-formed"]),
    ("<message><body>&#xFFFE;</body></message>", ["not-well-formed"]),
    ("<message><body>]]></body></message>", ["not-well-formed"]),
    ("<message><body>\x01</body></message>", ["not-well-formed"]),
    ("<!-- a comment -->", ["restricted-xml"]),
    ("<message><!-- a comment --></message>", ["restricted-xml"]),
    ("<?target instruction?>", ["restricted-xml"]),
    ("<message><?target instruction?></message>", ["restricted-xml"]),
    ("<!DOCTYPE x>", ["restricted-xml", "not-well-formed"]),
    ("<message><body>&nbsp;</body></message>", ["restricted-xml", "not-well-formed"]),
    ("loose text", ["bad-format", "not-well-formed", "invalid-xml"]),
    ("<pubsub/>", ["unsupported-stanza-type"]),
    ("<message xmlns='urn:example:other'/>", ["unsupported-stanza-type", "invalid-namespace"]),
    ("<message from='bob@localhost' to='bob@localhost'/>", ["invalid-from"]),
    ("<message from='alice@localhost/other' to='bob@localhost'/>", ["invalid-from"]),
])
def test_error_in_a_bound_stream(alice, text, conditions):
    alice.raw(text)
    alice.expect_stream_error(*conditions)


@pytest.mark.parametrize("bad", [
    b"\x80", b"\xff", b"\xc3(", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xef\xbf\xbe", b"\xef\xbf\xbf",
], ids=["continuation", "FF", "cut short", "overlong 2", "overlong 3", "overlong 4", "surrogate",
        "above 10FFFF", "five bytes", "FFFE", "FFFF"])
def test_bad_utf8(alice, bad):
    alice.raw(b"<message to='bob@localhost'><body>" + bad + b"</body></message>")
    alice.expect_stream_error("not-well-formed", "bad-format", "unsupported-encoding",
                              "invalid-xml")


def test_billion_laughs(plain):
    client = plain.dial(tls="none")
    entities = "".join(f"<!ENTITY l{i} '{f'&l{i - 1};' * 10}'>" for i in range(1, 10))
    client.raw(f"<?xml version='1.0'?><!DOCTYPE l [<!ENTITY l0 'ha'>{entities}]>{OPEN}&l9;")
    client.expect_stream_error("restricted-xml", "not-well-formed")


def test_stanzas_before_authentication(plain):
    """§4.9.3.12"""
    client = plain.connect(tls="none")
    client.send("<message to='alice@localhost'><body>hi</body></message>")
    client.expect_stream_error("not-authorized")


def test_stanzas_before_binding(server):
    """§7.1: nothing but binding is allowed between authentication and binding."""
    client = server.connect("alice")
    assert client.authenticate() is None
    client.open()
    client.send("<message to='bob@localhost'><body>hi</body></message>")
    client.expect_stream_error("not-authorized")


def test_from_may_be_the_own_address(alice, bob):
    for sender in (alice.bare, alice.jid):
        alice.send(f"<message from='{sender}' to='{bob}'><body>{sender}</body></message>")
        bob.expect(f"<message from='{alice}'><body>{sender}</body></message>")


# --- limits ---


def test_stanza_bytes_before_authentication(plain):
    client = plain.connect(tls="none")
    client.raw("<auth xmlns='%s' mechanism='PLAIN'>" % xml.SASL)
    try:
        for _ in range(80):
            client.raw("A" * 1024)
    except OSError:
        pass  # the server has closed already
    client.expect_stream_error("policy-violation")


def test_stanza_bytes(server, alice, bob):
    body = "x" * 200_000
    alice.send(f"<message to='{bob}'><body>{body}</body></message>")
    assert bob.expect(f"<message from='{alice}'/>")[0].text == body
    try:
        alice.send(f"<message to='{bob}'><body>{body}{body}</body></message>")
    except OSError:
        pass
    alice.expect_stream_error("policy-violation")
    bob.expect_nothing("<message/>")


def test_nesting(alice):
    alice.raw("<message to='bob@localhost'>" + "<x>" * 100_000)
    alice.expect_stream_error("policy-violation")


def test_attribute_count(alice):
    attributes = " ".join(f"a{i}='1'" for i in range(5000))
    alice.raw(f"<message to='bob@localhost'><x {attributes}/></message>")
    alice.expect_stream_error("policy-violation")


def test_stanza_rate(make_server):
    """A client above its rate is slowed down, not cut off; what it sends arrives in order."""
    server = make_server("alice", "bob", settings={"c2s.stanza-rate": "50"})
    alice, bob = server.client("alice"), server.client("bob")
    for i in range(120):
        alice.send(f"<message to='{bob}'><body>{i}</body></message>")
    for i in range(120):
        bob.expect_next(f"<message><body>{i}</body></message>")


def test_connections_per_address(make_server):
    server = make_server(settings={"c2s.connections-per-address": "3"})
    kept = [server.connect(tls="none") for _ in range(3)]
    extra = server.dial(tls="none")
    try:
        extra.raw(OPEN)
        extra.wait("the end", lambda: extra.eof)
    except OSError:
        pass
    if extra.reader.header is not None:
        assert xml.condition(extra.expect("<stream:error/>")) in ("policy-violation",
                                                                  "resource-constraint")
    other = server.dial(tls="none", source="127.0.0.2")
    other.open()
    kept.pop().close()

    def again():
        client = server.dial(tls="none")
        try:
            client.open()
        except (AssertionError, OSError):
            return False
        return True
    until("room for one more", again)


# --- fragments ---


def test_login_byte_by_byte(plain):
    alice = plain.dial("alice", tls="none")
    whole = alice.raw
    alice.raw = lambda data: [whole(bytes([b])) for b in
                              (data.encode() if isinstance(data, str) else data)]
    alice.open()
    alice.login("SCRAM-SHA-256")
    alice.available()
    alice.ping()


def test_stanza_split_at_every_byte(plain):
    alice = plain.client("alice", tls="none")
    bob = plain.client("bob", tls="none")
    text = (f"<message to='{bob}' type=\"chat\" id='&#x20AC;'><body>a&amp;b \u20ac \U0001f600 "
            "<![CDATA[<x>]]></body><x:y xmlns:x='urn:x' x:z='1'/></message>").encode()
    for at in range(1, len(text)):
        alice.raw(text[:at])
        alice.raw(text[at:])
        bob.expect_next(f"<message from='{alice}' type='chat' id='\u20ac'>"
                        "<body>a&amp;b \u20ac \U0001f600 &lt;x&gt;</body>"
                        "<x:y xmlns:x='urn:x' x:z='1'/></message>")


def test_many_stanzas_in_one_write(alice, bob):
    alice.raw("".join(f"<message to='{bob}'><body>{i}</body></message>" for i in range(500)))
    for i in range(500):
        bob.expect_next(f"<message><body>{i}</body></message>")


# --- namespaces (§4.8, §11.3) ---


def test_prefix_declared_on_the_stream(plain):
    alice = plain.dial("alice", tls="none")
    alice.open()
    assert alice.authenticate() is None
    alice.open(header=OPEN.replace("xmlns:stream", "xmlns:ex='urn:example' xmlns:stream"))
    alice.bind()
    alice.available()
    bob = plain.client("bob", tls="none")
    alice.send(f"<message to='{bob}'><ex:thing ex:a='1'/></message>")
    bob.expect("<message><thing xmlns='urn:example' xmlns:e='urn:example' e:a='1'/></message>")


def test_prefixed_stanzas(plain):
    alice = plain.dial("alice", tls="none")
    alice.open()
    assert alice.authenticate() is None
    alice.open(header=OPEN.replace("xmlns:stream", "xmlns:c='jabber:client' xmlns:stream"))
    alice.bind()
    bob = plain.client("bob", tls="none")
    alice.send(f"<c:message to='{bob}'><c:body>hi</c:body></c:message>")
    bob.expect(f"<message from='{alice}'><body>hi</body></message>")


def test_unknown_namespaces_travel_untouched(alice, bob):
    inner = ("<a xmlns='urn:a' q='&quot;&apos;&lt;'><b xmlns='urn:b'><c xmlns=''/>t</b>u</a>"
             "<p:a xmlns:p='urn:p' p:x='1' x='2'/>")
    alice.send(f"<message to='{bob}'>{inner}</message>")
    found = bob.expect(f"<message>{inner}</message>")
    wanted = xml.parse(f"<message>{inner}</message>")
    assert [xml.canonical(e) for e in found[:2]] == [xml.canonical(e) for e in wanted]


def test_language_of_the_stream_is_stamped(plain):
    """§4.7.4: a stanza without xml:lang has the language of its stream."""
    alice = plain.dial("alice", tls="none")
    alice.open()
    assert alice.authenticate() is None
    alice.open(header=OPEN.replace("version=", "xml:lang='de' version="))
    alice.bind()
    bob = plain.client("bob", tls="none")
    alice.send(f"<message to='{bob}'><body>hallo</body></message>")
    assert bob.expect(f"<message from='{alice}'/>").get(xml.LANG) == "de"
    alice.send(f"<message to='{bob}' xml:lang='fr'><body>bonjour</body></message>")
    assert bob.expect(f"<message from='{alice}'/>").get(xml.LANG) == "fr"


# --- TLS (§5, XEP-0368) ---


def test_starttls_is_required(server):
    client = server.connect(tls="none")
    assert client.features.find(f"{{{xml.TLS}}}starttls/{{{xml.TLS}}}required") is not None
    assert not client.mechanisms
    client.sasl_start("PLAIN", b"\0alice\0secret")
    kind, value = client.sasl_answer()
    assert (kind, value) == ("failure", "encryption-required")


def test_starttls(server):
    client = server.connect("alice", tls="starttls")
    assert client.mechanisms and not client.offers("starttls", xml.TLS)
    client.login().available()


def test_starttls_twice(server):
    client = server.connect("alice", tls="starttls")
    client.raw(f"<starttls xmlns='{xml.TLS}'/>")
    element = client.next()
    assert element.tag in (f"{{{xml.TLS}}}failure", f"{{{xml.STREAM}}}error")
    client.expect_closed()


def test_nothing_injected_before_the_handshake_survives(make_server):
    """§5.4.3.3: what came in the clear behind <starttls/> is not read after the handshake."""
    server = make_server("alice")
    client = server.connect("alice", tls="none")
    client.raw(f"<starttls xmlns='{xml.TLS}'/>{OPEN}"
               f"<auth xmlns='{xml.SASL}' mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>")
    client.expect(f"<proceed xmlns='{xml.TLS}'/>")
    try:
        client.wrap()
    except (ssl.SSLError, OSError):
        return  # the bytes were taken for a handshake, and refused: as good
    client.open()
    assert not [e for e in client.inbox if e.tag.startswith(f"{{{xml.SASL}}}")]


def test_direct_tls_with_alpn(server):
    client = Client(("127.0.0.1", server.tls_port), name="alice")
    client.wrap(insecure_context(alpn=["xmpp-client"]))
    assert client.sock.selected_alpn_protocol() == "xmpp-client"
    client.open()
    client.login()
    client.close()


def test_direct_tls_with_foreign_alpn_only(server):
    sock = socket.create_connection(("127.0.0.1", server.tls_port))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with insecure_context(alpn=["http/1.1"]).wrap_socket(sock, server_hostname="localhost"):
            pass


def test_old_tls_is_refused(server):
    context = insecure_context(minimum_version=ssl.TLSVersion.TLSv1)
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    sock = socket.create_connection(("127.0.0.1", server.tls_port))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(sock, server_hostname="localhost")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_versions_are_forward_secret(server, version):
    context = insecure_context(maximum_version=version, minimum_version=version)
    sock = socket.create_connection(("127.0.0.1", server.tls_port))
    with context.wrap_socket(sock, server_hostname="localhost") as tls:
        name, protocol, _ = tls.cipher()
        assert protocol == "TLSv1.3" or name.startswith("ECDHE-")


def test_session_tickets(server):
    context = insecure_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    session = None
    for _ in range(2):
        sock = socket.create_connection(("127.0.0.1", server.tls_port))
        with context.wrap_socket(sock, server_hostname="localhost", session=session) as tls:
            reused, session = tls.session_reused, tls.session
    assert reused


def make_certificate(folder, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"],
                   check=True, capture_output=True)
    return {"certificate": str(folder / f"{name}.pem"), "key": str(folder / f"{name}.key")}


def served_name(port, name):
    sock = socket.create_connection(("127.0.0.1", port))
    with insecure_context().wrap_socket(sock, server_hostname=name) as tls:
        from cryptography import x509
        subject = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True)).subject
    return re.search(r"CN=([^,]+)", subject.rfc4514_string()).group(1)


def test_one_certificate_per_domain(make_server, tmp_path):
    tls = {**make_certificate(tmp_path, "one.example"),
           "domains": {"two.example": make_certificate(tmp_path, "two.example")}}
    server = make_server(domains=["one.example", "two.example"], tls=tls)
    assert served_name(server.tls_port, "one.example") == "one.example"
    assert served_name(server.tls_port, "two.example") == "two.example"


@pytest.mark.parametrize("asked, sni, shown", [
    ("two.example", None, "two.example"), ("one.example", None, "one.example"),
    ("two.example", "one.example", "one.example"), ("two.example", "none.example", "two.example")])
def test_the_certificate_of_the_stream_is_shown_without_sni(make_server, tmp_path, asked, sni,
                                                            shown):
    """RFC 6120 §4.7.2: whom the client speaks to stands in `to` already, before STARTTLS."""
    tls = {**make_certificate(tmp_path, "one.example"),
           "domains": {"two.example": make_certificate(tmp_path, "two.example")}}
    server = make_server(domains=["one.example", "two.example"], tls=tls)
    name = ["-servername", sni] if sni else ["-noservername"]
    done = subprocess.run(
        ["openssl", "s_client", "-starttls", "xmpp", "-xmpphost", asked, *name,
         "-connect", f"127.0.0.1:{server.c2s_port}"],
        input="", capture_output=True, text=True, timeout=TIMEOUT)
    assert f"subject=CN = {shown}\n" in done.stdout, done.stdout[:2000]


def test_certificates_are_read_again_without_dropping_clients(make_server, tmp_path):
    server = make_server("alice", tls=make_certificate(tmp_path, "localhost"))
    alice = server.client("alice")
    before = ssl.get_server_certificate(("127.0.0.1", server.tls_port))
    make_certificate(tmp_path, "localhost")
    server.signal(1)
    until("another certificate", lambda: before != ssl.get_server_certificate(
        ("127.0.0.1", server.tls_port)))
    alice.ping()


# --- PROXY protocol ---


def proxy_header(address, port):
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    return (signature + b"\x21\x11\x00\x0c" + socket.inet_aton(address)
            + socket.inet_aton("127.0.0.1") + port.to_bytes(2, "big") + b"\x14\x66")


@pytest.mark.parametrize("header", [
    proxy_header("192.0.2.7", 4711), b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 5222\r\n"],
    ids=["version 2", "version 1"])
def test_proxy_header_names_the_client(make_server, header):
    server = make_server("alice", proxy=True)
    alice = server.dial("alice", tls="none")
    alice.raw(header)
    alice.open()
    alice.starttls()
    alice.login()
    assert "192.0.2.7" in str(server.rows("session", "list"))


@pytest.mark.parametrize("data", [
    OPEN.encode(), b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c" + b"x" * 12,
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"], ids=["none", "version 3", "wrong version 1"])
def test_without_a_proxy_header_there_is_no_stream(make_server, data):
    server = make_server(proxy=True)
    client = server.dial(tls="none")
    client.raw(data)
    client.expect_closed()
    assert client.reader.header is None
    until("a line", lambda: "event=proxy.refused peer=127.0.0.1" in server.log())


# --- several domains ---


def test_domains_of_one_server(make_server):
    server = make_server("alice", domains=["one.example", "two.example"])
    server.add_user("alice", "other", domain="two.example")
    one = server.client("alice", domain="one.example")
    two = server.client("alice", domain="two.example", password="other")
    assert (one.bare, two.bare) == ("alice@one.example", "alice@two.example")
    one.send(f"<message to='{two.bare}'><body>hi</body></message>")
    two.expect(f"<message from='{one}'><body>hi</body></message>")


# --- the end ---


def test_shutdown_says_so(server, alice, bob):
    server.signal(15)
    for client in (alice, bob):
        client.expect_stream_error("system-shutdown")
        assert not client.inbox, "presence of a local session"
    assert server.wait_exit() == 0


def test_login_with_an_empty_bucket(make_server):
    """A rate limit slows a login down; it does not stop it."""
    server = make_server("alice", settings={"c2s.stanza-rate": "2"})
    server.client("alice", "a").ping()
