"""SASL: RFC 6120 §6, RFC 5802 (SCRAM), RFC 4616 (PLAIN), RFC 5929 and 9266 (channel binding)."""
import re
import select
import socket
import ssl

import pytest
from OpenSSL import SSL

from harness import sasl, xml
from harness.client import Client


SCRAM = ["SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1"]
PLUS = [name + "-PLUS" for name in SCRAM]


class ExportingSocket:
    """A TLS connection by pyOpenSSL: the only one that gives out keying material (RFC 5705)."""

    def __init__(self, sock):
        sock.setblocking(True)
        self.tls = SSL.Connection(SSL.Context(SSL.TLS_METHOD), sock)
        self.tls.set_tlsext_host_name(b"localhost")
        self.tls.set_connect_state()
        self.tls.do_handshake()
        self.sock = sock

    def __getattr__(self, name):
        return getattr(self.tls, name)

    def recv(self, count):
        try:
            return self.tls.recv(count)
        except SSL.WantReadError as error:
            raise ssl.SSLWantReadError from error
        except (SSL.ZeroReturnError, SSL.SysCallError):
            return b""

    def exporter(self):
        """tls-exporter (RFC 9266 §4.1)"""
        return self.tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")


def test_mechanisms_under_tls(server):
    """Strongest first; -PLUS with the types of binding there are (XEP-0440)."""
    client = server.connect()
    assert client.mechanisms == PLUS + SCRAM + ["PLAIN"]
    assert set(client.bindings) == {"tls-exporter", "tls-server-end-point"}


def test_mechanisms_in_the_clear(make_server):
    server = make_server("alice", settings={"c2s.tls-required": "off"},
                         why="what is offered without TLS")
    client = server.connect("alice", tls="none")
    assert client.mechanisms == SCRAM + ["PLAIN"]
    assert client.bindings == []
    client.login("PLAIN")


@pytest.mark.parametrize("mechanism", SCRAM + ["PLAIN"])
@pytest.mark.parametrize("tls", ["direct", "starttls"])
def test_login(server, mechanism, tls):
    server.login("alice", mechanism=mechanism, tls=tls).ping()


@pytest.mark.parametrize("mechanism", PLUS)
def test_end_point_binding(server, mechanism):
    client = server.connect("alice")
    binding = ("tls-server-end-point", client.end_point())
    assert client.authenticate(mechanism, binding=binding) is None


@pytest.mark.parametrize("mechanism", PLUS)
def test_exporter_binding(server, mechanism):
    client = Client(("127.0.0.1", server.tls_port), name="alice")
    client.sock = ExportingSocket(client.sock)
    client.open()
    binding = ("tls-exporter", client.sock.exporter())
    assert client.authenticate(mechanism, binding=binding) is None
    client.open()
    client.bind()
    client.sock.sock.close()


@pytest.mark.parametrize("binding", [
    ("tls-server-end-point", b"x" * 32), ("tls-server-end-point", b""),
    ("tls-exporter", b"x" * 32), ("tls-unique", b"x" * 12)])
def test_wrong_binding(server, binding):
    client = server.connect("alice")
    failure = client.authenticate("SCRAM-SHA-256-PLUS", binding=binding)
    assert failure in ("not-authorized", "malformed-request")


def test_downgrade_is_noticed(server):
    """RFC 5802 §6: "y" says the server offered no -PLUS; it did, so someone took it away."""
    client = server.connect("alice")
    assert client.authenticate("SCRAM-SHA-256", flag="y") == "not-authorized"


@pytest.mark.parametrize("mechanism, options, text", [
    ("SCRAM-SHA-256-PLUS", {"binding": ("tls-unique", b"x" * 12)}, "this connection does not have"),
    ("SCRAM-SHA-256", {"flag": "y"}, "offered no channel binding, but it was")])
def test_the_log_says_what_is_wrong_with_a_binding(server, mechanism, options, text):
    """And whose attempt it was; the client hears the same as after a wrong password."""
    for name in ("alice", "nobody"):
        client = server.connect(name)
        assert client.authenticate(mechanism, **options) == "not-authorized"
        client.close()
        server.wait_log(f"event=auth.fail .*jid={name}@localhost")
        line = next(line for line in server.log().splitlines()
                    if "event=auth.fail" in line and f"jid={name}@localhost" in line)
        assert text in line
        assert not any(text in xml.canonical(e) for e in client.log)


TRIED = [("SCRAM-SHA-256-PLUS", {"binding": ("tls-unique", b"x" * 12)}),
         ("SCRAM-SHA-256", {"flag": "y"}), ("PLAIN", {"password": "wrong"})]


def about_logins(server):
    return re.findall(r"level=(\S+) area=c2s event=(auth\.\S+) (.*)", server.log())


@pytest.mark.parametrize("tried", [1, 2, 3])
def test_who_tries_mechanisms_in_turn_and_logs_in_warns_nobody(server, tried):
    """One line says what was tried: a client that lacks what it tries first is no guess. For the
    limits each attempt counts when it is made."""
    client = server.connect("alice")
    for mechanism, options in TRIED[:tried]:
        assert client.authenticate(mechanism, **options) == "not-authorized"
    assert about_logins(server) == []
    assert client.authenticate("PLAIN") is None
    (level, event, line), (_, second, _) = about_logins(server)
    assert (level, event, second) == ("info", "auth.retried", "auth.ok")
    assert f"failed={tried} reason=not-authorized" in line and "jid=alice@localhost" in line
    assert f"mech={TRIED[tried - 1][0]} " in line and "peer=127.0.0.1" in line
    client.cut()
    server.login("alice").close()
    assert [event for _, event, _ in about_logins(server)][2:] == ["auth.ok"]


@pytest.mark.parametrize("ends", ["closed", "lost", "limit", "stop"])
def test_who_does_not_log_in_is_a_warning_for_each_attempt(server, ends):
    client = server.connect("alice")
    count = 4 if ends == "limit" else 2
    for _ in range(count):
        assert client.authenticate("PLAIN", password="wrong") == "not-authorized"
    {"closed": client.close, "lost": client.cut, "stop": server.stop,
     "limit": lambda: client.expect_stream_error("policy-violation")}[ends]()
    server.wait_log(f"(?s)(event=auth.fail .*){{{count}}}") if ends != "stop" else None
    found = about_logins(server)
    assert [(level, event) for level, event, _ in found] == [("warn", "auth.fail")] * count
    assert all("reason=not-authorized" in line and "jid=alice@localhost" in line
               and "mech=PLAIN peer=127.0.0.1 tls=TLSv1.3" in line for _, _, line in found)


def test_y_is_right_where_nothing_was_offered(make_server):
    server = make_server("alice", settings={"c2s.tls-required": "off"},
                         why="what is offered without TLS")
    client = server.connect("alice", tls="none")
    assert client.authenticate("SCRAM-SHA-256", flag="y") is None


@pytest.mark.parametrize("mechanism", SCRAM + ["PLAIN"])
def test_unknown_users_look_like_wrong_passwords(server, mechanism):
    answers = []
    for name in ("alice", "nobody"):
        client = server.connect(name, password="wrong")
        answers.append(client.authenticate(mechanism))
        answers.append([xml.canonical(e) for e in client.log if "failure" in e.tag])
    assert answers[:2] == answers[2:] and answers[0] == "not-authorized"


def test_salt_of_an_unknown_user_is_constant(server):
    """Otherwise two tries tell known users from unknown ones."""
    salts = {}
    for name in ("alice", "nobody", "nobody", "noone"):
        client = server.connect()
        scram = sasl.Scram("SCRAM-SHA-256", name, "x")
        client.sasl_start("SCRAM-SHA-256", scram.first())
        scram.final(client.sasl_answer()[1])
        salts.setdefault(name, set()).add((scram.salt, scram.iterations))
    assert len(salts["nobody"]) == 1 and salts["nobody"] != salts["noone"]
    known, unknown = [next(iter(salts[name])) for name in ("alice", "nobody")]
    assert len(known[0]) == len(unknown[0]) and known[1] == unknown[1]


def test_another_try_on_the_same_stream(server):
    """RFC 6120 §6.4.5: at least two retries."""
    client = server.connect("alice")
    assert client.authenticate(password="wrong") == "not-authorized"
    assert client.authenticate("SCRAM-SHA-1", password="wrong") == "not-authorized"
    client.login()


def test_retries_are_limited(server):
    client = server.connect("alice", password="wrong")
    for _ in range(12):
        client.sasl_start("PLAIN", b"\0alice\0wrong")
        element = client.next()
        if element.tag == f"{{{xml.STREAM}}}error":
            assert xml.condition(element) == "policy-violation"
            return
        assert xml.condition(element) in ("not-authorized", "temporary-auth-failure")
    raise AssertionError("12 tries on one stream")


def test_failures_per_address(make_server):
    server = make_server("alice", settings={"auth.failures-per-address": "4"})
    for _ in range(4):
        server.connect("alice").authenticate(password="wrong")
    try:
        assert server.connect("alice").authenticate() == "temporary-auth-failure"
    except (AssertionError, OSError) as closed:
        assert "closed" in str(closed) or isinstance(closed, OSError)
    other = server.dial("alice", tls="none", source="127.0.0.2")
    other.open()
    other.starttls()
    other.login()


def test_failures_per_account(make_server):
    """At one address; see stream/test_guessing.py."""
    server = make_server("alice", "bob", settings={"auth.failures-per-account": "4"})
    for _ in range(4):
        assert server.connect("alice").authenticate(password="wrong") == "not-authorized"
    assert server.connect("alice").authenticate() == "temporary-auth-failure"
    server.login("bob")


# --- names and passwords ---


@pytest.mark.parametrize("password", ["p\u00e4ssw\u00f6rd \u20ac", "a,b=c", "\u2168", "x" * 200])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_passwords(make_server, password, mechanism):
    server = make_server()
    server.add_user("dora", password)
    client = server.connect("dora", password=password)
    assert client.authenticate(mechanism) is None


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-1"])
def test_names_are_prepared(server, mechanism):
    """RFC 7622 §3.3: the localpart is case-mapped."""
    client = server.connect("ALICE")
    assert client.authenticate(mechanism) is None
    client.open()
    assert client.bind("x") == "alice@localhost/x"


def test_the_full_address_as_authorization_identity(server):
    assert server.connect("alice").authenticate(authzid="alice@localhost") is None
    scram = server.connect("alice").authenticate("SCRAM-SHA-256", authzid="alice@localhost")
    assert scram is None


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_another_authorization_identity(server, mechanism):
    client = server.connect("alice")
    assert client.authenticate(mechanism, authzid="bob@localhost") == "invalid-authzid"


# --- out of order and malformed (RFC 6120 §6.5) ---


def raw_auth(client, text, mechanism="PLAIN"):
    client.raw(f"<auth xmlns='{xml.SASL}' mechanism='{mechanism}'>{text}</auth>")
    return client.sasl_answer()


@pytest.mark.parametrize("mechanism, text, conditions", [
    ("X-UNKNOWN", "", ["invalid-mechanism"]),
    ("EXTERNAL", "=", ["invalid-mechanism"]),
    ("", "", ["invalid-mechanism", "malformed-request"]),
    ("PLAIN", "*not base64*", ["incorrect-encoding"]),
    ("PLAIN", "AGFsaWNlAHNlY3JldA", ["incorrect-encoding"]),
    ("PLAIN", "=", ["malformed-request", "not-authorized"]),
    ("PLAIN", sasl.encode(b"alice"), ["malformed-request", "not-authorized"]),
    ("PLAIN", sasl.encode(b"\0alice\0"), ["malformed-request", "not-authorized"]),
    ("PLAIN", sasl.encode(b"\0\0secret"), ["malformed-request", "not-authorized"]),
    ("PLAIN", sasl.encode(b"\0a\xff\0secret"), ["malformed-request", "not-authorized"]),
    ("SCRAM-SHA-256", sasl.encode(b"n,,n=alice"), ["malformed-request", "not-authorized"]),
    ("SCRAM-SHA-256", sasl.encode(b"n,,n=al=ice,r=x"), ["malformed-request", "not-authorized"]),
    ("SCRAM-SHA-256", sasl.encode(b"n,,m=x,n=alice,r=x"), ["malformed-request", "not-authorized"]),
    ("SCRAM-SHA-256", sasl.encode(b"z,,n=alice,r=x"), ["malformed-request", "not-authorized"]),
    ("SCRAM-SHA-256-PLUS", sasl.encode(b"n,,n=alice,r=xyz"),
     ["malformed-request", "not-authorized"]),
])
def test_malformed_auth(server, mechanism, text, conditions):
    client = server.connect("alice")
    kind, value = raw_auth(client, text, mechanism)
    assert kind == "failure" and value in conditions
    client.login()


def test_auth_without_initial_response(server):
    client = server.connect("alice")
    client.sasl_start("PLAIN")
    assert client.sasl_answer() == ("challenge", b"")
    client.sasl_respond(b"\0alice\0secret")
    assert client.sasl_answer()[0] == "success"


def test_abort(server):
    client = server.connect("alice")
    client.sasl_start("SCRAM-SHA-256", sasl.Scram("SCRAM-SHA-256", "alice", "secret").first())
    assert client.sasl_answer()[0] == "challenge"
    client.raw(f"<abort xmlns='{xml.SASL}'/>")
    assert client.sasl_answer() == ("failure", "aborted")
    client.login()


def test_tampered_proof_and_nonce(server):
    for tamper in ({"nonce": "other"}, {}):
        client = server.connect("alice")
        scram = sasl.Scram("SCRAM-SHA-256", "alice", "secret")
        client.sasl_start("SCRAM-SHA-256", scram.first())
        final = scram.final(client.sasl_answer()[1], **tamper)
        client.sasl_respond(final if tamper else final[:-4] + b"AAA=")
        kind, value = client.sasl_answer()
        assert kind == "failure" and value in ("not-authorized", "malformed-request")


@pytest.mark.parametrize("text", ["<response xmlns='{0}'/>", "<abort xmlns='{0}'/>",
                                  "<success xmlns='{0}'/>", "<unknown xmlns='{0}'/>"])
def test_sasl_out_of_order(server, text):
    """What does not belong here is refused: as a failure, or by ending the stream."""
    client = server.connect("alice")
    client.raw(text.format(xml.SASL))
    element = client.next()
    assert xml.condition(element) in ("malformed-request", "aborted", "not-authorized",
                                      "unsupported-stanza-type", "policy-violation")


def test_auth_during_an_exchange(server):
    client = server.connect("alice")
    client.sasl_start("SCRAM-SHA-256", sasl.Scram("SCRAM-SHA-256", "alice", "secret").first())
    assert client.sasl_answer()[0] == "challenge"
    client.sasl_start("PLAIN", b"\0alice\0secret")
    element = client.next()
    assert not element.tag.endswith("success") or xml.condition(element) is None


def test_auth_after_binding(alice):
    """RFC 6120 §6.3.5: SASL is over once it has succeeded."""
    alice.sasl_start("PLAIN", b"\0alice\0secret")
    element = alice.next()
    assert not element.tag.endswith("success")


def test_old_stream_header_after_success(server):
    """The stream starts anew after success (RFC 6120 §6.4.6): a stanza without it is refused."""
    client = server.connect("alice")
    assert client.authenticate() is None
    client.reader = xml.Reader()
    client.raw("<presence/>")
    client.expect_stream_error("not-authorized", "bad-format", "invalid-namespace",
                               "not-well-formed", "invalid-xml")


def test_half_a_handshake_costs_others_nothing(server):
    """Clients that stop in the middle of TLS or SASL; another logs in meanwhile."""
    silent = [socket.create_connection(("127.0.0.1", server.tls_port)) for _ in range(20)]
    for _ in range(5):
        client = server.connect("alice")
        client.sasl_start("SCRAM-SHA-256", sasl.Scram("SCRAM-SHA-256", "alice", "x").first())
    server.login("alice").ping()
    assert not select.select(silent, [], [], 0)[0]
    for sock in silent:
        sock.close()
