"""What the process gives away of itself: nothing in dumps; sessions of TLS outlive a reload, but
not their key; and what operators read in the log about logins."""
import re
import ssl
import uuid

import pytest

from muster import xml
from muster.client import insecure_context, until
from muster.server import MUSTERD

BIND = f"<bind xmlns='{xml.BIND2}'/>"


@pytest.mark.skipif("build/release" not in str(MUSTERD), reason="other builds may be debugged")
def test_no_core_dumps(server):
    limits = open(f"/proc/{server.process.pid}/limits").read()
    assert re.search(r"Max core file size\s+0\s+0\s", limits)
    assert server.rows("status")[0]["rss_kib"] > 0  # what it reads of itself it still can


def test_sessions_of_tls_outlive_a_reload(server):
    context = insecure_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # the ticket comes with the handshake
    client = server.dial("alice", tls="none")
    client.open()
    client.starttls(context)
    session = client.sock.session
    server.ctl("server", "reload")
    again = server.dial("alice", tls="none")
    again.open()
    again.raw("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    again.expect("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    again.sock = context.wrap_socket(again.sock, server_hostname="localhost", session=session)
    assert again.sock.session_reused


def lines(server, event):
    return [line for line in server.log().splitlines() if f"event={event} " in line]


def test_a_login_is_one_line(server):
    phone = str(uuid.uuid4())
    assert server.connect("alice").sasl2("SCRAM-SHA-256", agent=phone,
                                         inner=BIND).tag.endswith("success")
    line, = lines(server, "auth.ok")
    for field in ("level=info", "jid=alice@localhost", "mech=SCRAM-SHA-256", "peer=127.0.0.1",
                  "tls=TLSv1.3", f"device={phone}"):
        assert field in line


def test_a_failed_login_says_why(server):
    server.connect("alice").authenticate(password="wrong")
    server.ctl("user", "disable", "bob@localhost")
    server.connect("bob").authenticate()
    server.connect("alice").authenticate("SCRAM-SHA-256", flag="y")
    server.dial("alice", tls="none").open()
    found = lines(server, "auth.fail")
    assert len(found) == 3
    for line, reason, jid in zip(found, ("not-authorized", "account-disabled", "not-authorized"),
                                 ("alice@localhost", "bob@localhost", '""')):
        assert "level=warn" in line and f"reason={reason}" in line and "peer=127.0.0.1" in line
        assert f"jid={jid}" in line


def test_the_end_of_a_session_is_told_in_words(server):
    server.login("alice", "one").close()
    server.login("alice", "two")
    server.ctl("session", "kick", "alice@localhost/two")
    until("both", lambda: len(lines(server, "session.end")) == 2)
    first, second = lines(server, "session.end")
    assert 'reason="closed by the client"' in first and 'reason="ended by an operator"' in second


def test_an_error_of_a_stream_names_the_account(server):
    client = server.connect("alice", password="wrong")
    for _ in range(4):
        client.sasl_start("PLAIN", b"\0alice\0wrong")
        client.next()
    until("it", lambda: lines(server, "stream.error"))
    assert "jid=alice@localhost" in lines(server, "stream.error")[0]


def test_a_short_password_is_pointed_out(server):
    answer = server.ctl("user", "add", "dora@localhost", "--password", "1234567")
    assert "register.password-min" in answer["text"]
    answer = server.ctl("user", "add", "emil@localhost", "--password", "12345678")
    assert "register.password-min" not in answer["text"]
    answer = server.ctl("user", "password", "emil@localhost", "--password", "x")
    assert "register.password-min" in answer["text"]
