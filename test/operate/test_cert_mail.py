"""Mails about certificates that expire, to a mail server of this test."""
import base64
import contextlib
import datetime
import email
import email.policy
import re
import socket
import ssl
import threading

import pytest

from harness.client import TIMEOUT, until
from operate.test_certs import NOW, make, tls_of


def coded(text):
    return base64.b64encode(text.encode()).decode()


class Relay:
    """A mail server that takes mails, or refuses what `refuses` finds in a command."""

    def __init__(self, context=None, refuses=None, login=None, first=False, delays=None):
        """delays: what it refuses for the moment; login: the mechanisms that it offers under TLS;
        first: TLS begins at once."""
        self.context, self.refuses, self.login, self.first = context, refuses, login, first
        self.mails, self.commands, self.peers, self.delays = [], [], [], delays
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            peer.settimeout(TIMEOUT)
            self.peers.append(peer)
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        try:
            self.talk(peer)
        except (OSError, ValueError):
            pass
        finally:
            peer.close()

    def talk(self, peer):
        if self.first:
            peer = self.context.wrap_socket(peer, server_side=True)
        stream, secure = peer.makefile("rwb"), self.first

        def say(text):
            stream.write(text.encode() + b"\r\n")
            stream.flush()
        say("220-welcome\r\n220 relay.test")
        while line := stream.readline().decode().rstrip("\r\n"):
            self.commands.append(("tls " if secure else "") + line)
            if self.refuses and re.search(self.refuses, line):
                say("550 5.7.1 not here")
            elif self.delays and re.search(self.delays, line):
                say("450 4.7.1 not now")
            elif line.startswith("EHLO"):
                tls = self.context and not secure
                login = self.login and secure
                say("250-relay.test\r\n" + ("250-STARTTLS\r\n" if tls else "")
                    + (f"250-AUTH {self.login}\r\n" if login else "") + "250 8BITMIME")
            elif line.startswith("AUTH PLAIN "):
                say("235 ok" if line.split()[2] == coded("\0muster\0pencil") else "535 no")
            elif line == "AUTH LOGIN":
                asked = []
                for question in ("Username:", "Password:"):
                    say(f"334 {coded(question)}")
                    asked.append(stream.readline().decode().strip())
                say("235 ok" if asked == [coded("muster"), coded("pencil")] else "535 no")
            elif line == "STARTTLS":
                say("220 go")
                peer = self.context.wrap_socket(peer, server_side=True)
                stream, secure = peer.makefile("rwb"), True
            elif line == "DATA":
                say("354 go")
                lines = []
                while (text := stream.readline()) != b".\r\n":
                    assert text.endswith(b"\r\n")
                    lines.append(text[1:] if text.startswith(b".") else text)
                self.mails.append(email.message_from_bytes(b"".join(lines),
                                                           policy=email.policy.default))
                say("250 taken")
            elif line == "QUIT":
                say("221 bye")
                return
            else:
                say("250 fine")

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # accept() ends
        self.socket.close()
        for peer in self.peers:
            peer.close()


@pytest.fixture
def relay():
    made = Relay()
    yield made
    made.close()


def settings(relay, **more):
    return {"mail.relay": relay.address, "cert.mail": "on",
            "cert.mail-to": "ann@a.test; bob@b.test", **more}


def monitor(server):
    row, = server.rows("cert", "monitor")
    return row


def mails(relay, count):
    until(f"{count} mails", lambda: len(relay.mails) >= count)
    assert len(relay.mails) == count
    return relay.mails


def test_a_certificate_that_expires_is_told_once(make_server, tmp_path, relay):
    make(tmp_path, "cert", ["localhost"], ends=10)
    server = make_server(tls=tls_of(tmp_path), settings=settings(relay))
    mail, = mails(relay, 1)
    assert mail["To"] == "ann@a.test, bob@b.test" and mail["From"] == "muster@localhost"
    assert mail["Subject"] == "1 certificate of localhost expires" and mail["Date"]
    assert mail["Auto-Submitted"] == "auto-generated" and mail["Message-ID"]
    body = mail.get_content()
    assert re.search(r"expires on 20\d\d-\d\d-\d\d, in 10 days: localhost\s", body)
    assert server.rows("cert", "show")[0]["fingerprint"] in body
    assert [c for c in relay.commands if c.startswith("RCPT")] == [
        "RCPT TO:<ann@a.test>", "RCPT TO:<bob@b.test>"]
    until("it is noted", lambda: (server.data / "cert-notices").exists())
    server.restart()
    server.ctl("server", "reload")
    server.ctl("cert", "mail-test")
    assert [m["Subject"] for m in mails(relay, 2)][1] == "Test mail of Muster"
    assert monitor(server)["mailed"] and monitor(server)["note"] == ""


def test_again_after_some_days_and_for_another_one(make_server, tmp_path, relay):
    make(tmp_path, "cert", ["localhost"], ends=10)
    server = make_server(tls=tls_of(tmp_path), settings=settings(relay))
    mails(relay, 1)
    noted = server.data / "cert-notices"
    until("it is noted", noted.exists)
    server.stop()
    fingerprint, at = noted.read_text().split()
    noted.write_text(f"{fingerprint} {int(at) - 7 * 86400 + 60}\n")
    server.start()
    server.ctl("cert", "mail-test")
    mails(relay, 2)  # the test alone
    server.stop()
    noted.write_text(f"{fingerprint} {int(at) - 7 * 86400 - 1}\n")
    server.start()
    assert "expires on" in mails(relay, 3)[2].get_content()
    make(tmp_path, "cert", ["localhost"], ends=-1, begins=-9)
    server.ctl("server", "reload")
    assert "expired on" in mails(relay, 4)[3].get_content()


def test_a_trusted_certificate_counts_too(make_server, tmp_path, relay):
    make(tmp_path, "partner", [], ends=5)
    server = make_server(settings=settings(relay))
    server.ctl("cert-trust", "add", tmp_path / "partner.pem")
    assert "trusted certificate \"CN=partner\"" in mails(relay, 1)[0].get_content()


def test_an_issuer_in_the_chain_counts_too(make_server, tmp_path, relay):
    root = make(tmp_path, "root", [])
    make(tmp_path, "cert", ["localhost"], issuer=make(tmp_path, "short", [], issuer=root, ends=5))
    both = (tmp_path / "cert.pem").read_bytes() + (tmp_path / "short.pem").read_bytes()
    (tmp_path / "cert.pem").write_bytes(both)
    make_server(tls=tls_of(tmp_path), settings=settings(relay))
    mail, = mails(relay, 1)
    assert 'in 5 days: issuer "CN=short" in the chain of localhost' in mail.get_content()


def test_nobody_is_told_without_need(make_server, tmp_path, relay):
    make(tmp_path, "cert", ["localhost"], ends=40)
    server = make_server(tls=tls_of(tmp_path), settings=settings(relay))
    server.ctl("cert", "mail-test")
    mails(relay, 1)
    server.ctl("set", "cert.notice-from", "60")
    assert "in 40 days" in mails(relay, 2)[1].get_content()


@pytest.mark.parametrize("hours_left, hours", [(40 * 24, 24), (25, 1), (20, 1), (-2, 1)])
def test_the_monitor_is_shown(make_server, tmp_path, relay, hours_left, hours):
    """It looks each day, and each hour from the last day of a certificate on."""
    now = datetime.datetime.now(datetime.timezone.utc)
    ends = now.replace(tzinfo=None) - NOW + datetime.timedelta(hours=hours_left - 1)
    make(tmp_path, "cert", ["localhost"], ends=ends / datetime.timedelta(days=1))
    server = make_server(tls=tls_of(tmp_path), settings={"cert.notice-every": 3})
    row = monitor(server)
    assert (row["notice_from"], row["notice_every"], row["mail"]) == (30, 3, False)
    wait = datetime.datetime.fromisoformat(row["next_look"].replace("Z", "+00:00")) - now
    assert abs(wait - datetime.timedelta(hours=hours)) < datetime.timedelta(minutes=5)
    assert not relay.commands  # off: no mail


def test_the_relay_speaks_tls(make_server, tmp_path):
    make(tmp_path, "relay", ["relay.test"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "relay.pem", tmp_path / "relay.key")
    relay = Relay(context)
    try:
        server = make_server(settings=settings(relay))
        server.ctl("cert", "mail-test")
        mails(relay, 1)
        assert "tls MAIL FROM:<muster@localhost>" in relay.commands
        assert "STARTTLS" in relay.commands and "tls STARTTLS" not in relay.commands
    finally:
        relay.close()


def test_tls_with_the_relay_is_a_context_of_its_own(make_server, tmp_path):
    """A demand on other servers does not cut off a relay that is older."""
    make(tmp_path, "relay", ["relay.test"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tmp_path / "relay.pem", tmp_path / "relay.key")
    relay = Relay(context)
    try:
        server = make_server(settings={**settings(relay), "tls.servers-min-version": "1.3"})
        server.ctl("cert", "mail-test")
        mails(relay, 1)
        server.ctl("set", "tls.relay-min-version", "1.3")
        until("the relay is too old", lambda: server.ctl_run("cert", "mail-test").returncode != 0)
        server.ctl("set", "tls.relay-min-version", "1.2")
        until("it is taken again", lambda: server.ctl_run("cert", "mail-test").returncode == 0)
    finally:
        relay.close()


LOGIN = {"mail.user": "muster", "mail.password": "pencil"}


@pytest.fixture(name="relay_with_login")
def relay_that_wants_a_login(tmp_path):
    """A function: a relay at this name, and the settings for it."""
    made = []

    def start(offers="PLAIN LOGIN", name="localhost", **options):
        make(tmp_path, "relay", [name])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "relay.pem", tmp_path / "relay.key")
        relay = Relay(context, login=offers, **options)
        made.append(relay)
        relay.address = relay.address.replace("127.0.0.1", "localhost")
        return relay, settings(relay, **LOGIN, **{"mail.tls-first": relay.first})
    yield start
    for relay in made:
        relay.close()


@pytest.mark.parametrize("first", [False, True], ids=["starttls", "tls-first"])
@pytest.mark.parametrize("offers", ["PLAIN LOGIN", "LOGIN"])
def test_the_relay_wants_a_login(make_server, tmp_path, relay_with_login, offers, first):
    relay, given = relay_with_login(offers, first=first)
    server = make_server(settings=given)
    server.ctl("cert-trust", "add", tmp_path / "relay.pem")
    server.ctl("cert", "mail-test")
    mails(relay, 1)
    assert any(c.startswith("tls AUTH") for c in relay.commands)
    assert not any(c.startswith("AUTH") for c in relay.commands)
    assert "pencil" not in server.log() and "pencil" not in str(server.rows("config", "show"))


@pytest.mark.parametrize("what, told", [
    ("untrusted", "self-signed certificate"), ("name", "for another name"),
    ("clear", "offers no STARTTLS"), ("none", "neither AUTH PLAIN nor AUTH LOGIN"),
    ("wrong", "refuses the login")])
def test_a_password_is_told_to_the_relay_alone(make_server, tmp_path, relay_with_login, what, told):
    relay, given = relay_with_login(offers="CRAM-MD5" if what == "none" else "PLAIN",
                                    name="other.test" if what == "name" else "localhost")
    if what == "clear":
        relay.context = None
    server = make_server(settings={**given, **({"mail.password": "x"} if what == "wrong" else {})})
    if what != "untrusted":
        server.ctl("cert-trust", "add", tmp_path / "relay.pem")
    done = server.ctl_run("cert", "mail-test")
    assert done.returncode != 0 and told in done.stdout + done.stderr
    assert what == "wrong" or not any("AUTH" in c for c in relay.commands)


@pytest.mark.parametrize("refuses, told", [
    ("EHLO", "refuses EHLO"), ("MAIL", "refuses the sender"), ("RCPT", "refuses bob@b.test"),
    ("DATA", "does not take the text")])
def test_a_relay_that_refuses(make_server, refuses, told):
    relay = Relay(refuses=refuses)
    try:
        server = make_server(settings=settings(relay))
        done = server.ctl_run("cert", "mail-test")
        assert done.returncode != 0 and told in done.stderr and "not here" in done.stderr
        assert any(r["name"] == "mail.failed" for r in server.rows("alarm", "list"))
        relay.refuses = None
        server.ctl("cert", "mail-test")
        assert not any(r["name"] == "mail.failed" for r in server.rows("alarm", "list"))
    finally:
        relay.close()


def test_a_mail_about_alarms_ends_the_alarm(make_server):
    """A test without settings raises none: no mail to anybody is lost."""
    def failed():
        return any(r["name"] == "mail.failed" for r in server.rows("alarm", "list"))
    relay = Relay(refuses="ann")
    try:
        server = make_server(settings={"alarm.mail": "warning", "alarm.mail-to": "bob@b.test"})
        for name, value in (("cert.mail-to", "ann@a.test"), ("mail.relay", relay.address)):
            assert name in server.ctl_run("cert", "mail-test").stderr and not failed()
            server.ctl("set", name, value)
        assert server.ctl_run("cert", "mail-test").returncode != 0 and failed()
        server.ctl("alarm", "test")
        until("the alarm is cleared", lambda: not failed())
    finally:
        relay.close()


def test_one_address_is_refused(make_server):
    relay = Relay(refuses="ann")
    try:
        server = make_server(settings=settings(relay))
        done = server.ctl_run("cert", "mail-test")
        assert done.returncode == 0 and "refuses ann@a.test" in done.stdout
        mails(relay, 1)
    finally:
        relay.close()


def test_no_relay(make_server, relay):
    server = make_server(settings={"cert.mail": "on"})
    server.ctl("set", "cert.mail-to", "ann@a.test")
    done = server.ctl_run("cert", "mail-test")
    assert done.returncode != 0 and "mail.relay" in done.stderr
    server.ctl("set", "mail.relay", relay.address)
    relay.close()
    done = server.ctl_run("cert", "mail-test")
    assert done.returncode != 0 and "127.0.0.1" in done.stderr
    server.ctl("set", "cert.mail-to", "")
    assert "cert.mail-to" in server.ctl_run("cert", "mail-test").stderr


def test_a_silent_relay_stops_nobody(make_server):
    listener = socket.create_server(("127.0.0.1", 0))
    try:
        server = make_server(settings={
            "mail.relay": f"127.0.0.1:{listener.getsockname()[1]}", "cert.mail-to": "ann@a.test"})
        waiting = server.ctl_start("cert", "mail-test")
        peer, _ = listener.accept()
        assert "on its way" in server.ctl_run("cert", "mail-test").stderr
        server.stop()
        waiting.wait(TIMEOUT)
        peer.close()
    finally:
        listener.close()


@pytest.mark.parametrize("value", ["ann", "ann@a.test, bob@b.test", "<ann@a.test>", "a@b@c"])
def test_addresses_that_are_none(server, value):
    done = server.ctl_run("set", "cert.mail-to", value)
    assert done.returncode != 0 and "separated by semicolons" in done.stderr


def test_a_mail_is_sent_when_the_relay_is_corrected(make_server, tmp_path, relay):
    make(tmp_path, "cert", ["localhost"], ends=5)
    server = make_server(tls=tls_of(tmp_path))
    server.ctl("set", "mail.relay", "127.0.0.1:1")
    server.ctl("set", "cert.mail-to", "ann@a.test")
    server.ctl("set", "cert.mail", "on")
    until("it fails", lambda: failed(server))
    server.ctl("set", "mail.relay", relay.address)
    assert "expires on" in mails(relay, 1)[0].get_content()
    until("the alarm ends", lambda: not failed(server))


def failed(server):
    return any(r["name"] == "mail.failed" for r in server.rows("alarm", "list"))


def test_a_test_mail_sends_what_is_due_too(make_server, tmp_path, relay):
    make(tmp_path, "cert", ["localhost"], ends=5)
    relay.refuses = "EHLO"
    server = make_server(tls=tls_of(tmp_path), settings=settings(relay))
    until("it fails", lambda: failed(server))
    relay.refuses = None
    server.ctl("cert", "mail-test")
    assert [m["Subject"] for m in mails(relay, 2)] == [
        "Test mail of Muster", "1 certificate of localhost expires"]
    until("the alarm ends", lambda: not failed(server))


def test_the_alarm_ends_with_the_mails(make_server, tmp_path, relay):
    make(tmp_path, "cert", ["localhost"], ends=5)
    relay.refuses = "EHLO"
    server = make_server(tls=tls_of(tmp_path))
    server.ctl("set", "mail.relay", relay.address)
    server.ctl("set", "cert.mail-to", "ann@a.test")
    server.ctl("set", "cert.mail", "on")
    until("it fails", lambda: failed(server))
    server.ctl("set", "cert.mail", "off")
    until("the alarm ends", lambda: not failed(server))


def test_lines_of_a_mail_are_short_and_its_header_is_ascii(make_server, tmp_path, relay):
    make(tmp_path, "cert", ["xn--bcher-kva.test"], ends=5)
    names = [f"a-long-name-of-a-domain-number-{i:04d}.example.test" for i in range(60)]
    people = [f"b{i}{'c' * 50}@x.test" for i in range(15)]
    make_server(domains=["bücher.test", *names], tls=tls_of(tmp_path),
                settings=settings(relay, **{"cert.mail-to": ";; " + "; ;".join(people)}))
    mail, = mails(relay, 1)
    raw = mail.as_bytes(policy=email.policy.SMTP.clone(refold_source="none", cte_type="8bit"))
    head, body = raw.split(b"\r\n\r\n", 1)
    assert head.isascii() and max(map(len, raw.split(b"\r\n"))) < 998
    assert mail["Subject"] == "1 certificate of xn--bcher-kva.test expires"
    assert [a.addr_spec for a in mail["To"].addresses] == people and not mail.defects
    assert all(name.encode() in body for name in names)


def test_tls_can_be_demanded(make_server, relay):
    server = make_server(settings=settings(relay, **{"mail.tls-required": True}))
    done = server.ctl_run("cert", "mail-test")
    assert done.returncode != 0 and "offers no STARTTLS" in done.stderr and not relay.mails


@pytest.mark.parametrize("lines", [
    [b"220 x\r\n250 x\r\n"],
    [b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n", b"220 go\r\n250 x\r\n"]],
    ids=["greeting", "starttls"])
def test_a_relay_that_speaks_too_early(make_server, lines):
    listener = socket.create_server(("127.0.0.1", 0))

    def speak():
        peer, _ = listener.accept()
        with peer, contextlib.suppress(OSError):
            for line in lines:
                peer.sendall(line)
                peer.recv(4096)
    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        server = make_server(settings={
            "mail.relay": f"127.0.0.1:{listener.getsockname()[1]}", "cert.mail-to": "ann@a.test"})
        done = server.ctl_run("cert", "mail-test")
        assert done.returncode != 0 and "more than it was asked" in done.stderr
    finally:
        listener.close()


@pytest.mark.parametrize("value", [
    "a b", "[::1", "[]:25", ":25", "host:", "host:0", "host:65536", "host:+25", "host:025",
    "host:25x", "h/x", "::1", "user@host", "[::1]25", "[host]:25", "ä.test", ".test", " "])
def test_relays_that_are_none(server, value):
    done = server.ctl_run("set", "mail.relay", value)
    assert done.returncode != 0 and "HOST or HOST:PORT" in done.stderr


@pytest.mark.parametrize("value", ["[::1]:25", "[::1]", "localhost", "a-b.test:587", "192.0.2.1"])
def test_relays(server, value):
    server.ctl("set", "mail.relay", value)
