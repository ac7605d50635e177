"""Alarms by mail, to a syslog server and to journald: real receivers of this test."""
import contextlib
import json
import re
import socket
import ssl
import struct
import threading

import pytest

from harness.client import TIMEOUT, until
from harness.server import refusal
from operate.test_alarms import active, fail_fedtest, mend_fedtest
from surface.test_api import api_server
from operate.test_cert_mail import Relay
from operate.test_certs import make

LINE = re.compile(r"<(\d+)>1 (\S+Z) (\S+) muster - (\S+) \[muster@32473((?: \w+=\"(?:[^\"\\\]]"
                  r"|\\[\"\\\]])*\")*)\] (.*)", re.S)
FIELD = re.compile(r" (\w+)=\"((?:[^\"\\]|\\.)*)\"", re.S)


def parsed(message):
    """The fields of a message, as RFC 5424 reads it; anything else is an error."""
    found = LINE.fullmatch(message.decode())
    assert found, message
    fields = {name: re.sub(r"\\(.)", r"\1", value) for name, value in FIELD.findall(found[5])}
    return {**fields, "priority": int(found[1]), "time": found[2], "host": found[3],
            "kind": found[4], "text": found[6]}


class Syslog:
    """A syslog server over TCP or TLS: it takes frames with their length, and messages that were
    framed wrongly are an error of the test."""

    def __init__(self, context=None, port=0):
        self.context, self.messages, self.broken, self.connections = context, [], [], 0
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        with contextlib.suppress(OSError), peer:
            peer.settimeout(TIMEOUT)
            if self.context:
                peer = self.context.wrap_socket(peer, server_side=True)
            with peer, peer.makefile("rb") as stream:
                self.read(stream)

    def read(self, stream):
        while True:
            number = b""
            while (c := stream.read(1)) not in (b"", b" "):
                number += c
            if not c:
                return
            message = stream.read(int(number))
            (self.messages if len(message) == int(number) else self.broken).append(message)

    def of(self, **wanted):
        assert not self.broken
        return [m for m in map(parsed, list(self.messages)) if wanted.items() <= m.items()]

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def context_of(folder, name="localhost"):
    make(folder, "log", [name])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "log.pem", folder / "log.key")
    return context


@pytest.fixture
def receivers():
    made = []
    yield made
    for one in made:
        one.close()


class Journal:
    """A datagram socket that reads the native protocol of journald."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(TIMEOUT)

    def next(self):
        data, fields = self.socket.recv(1 << 20), {}
        while data:
            name, _, data = data.partition(b"\n")
            if b"=" in name:
                name, _, value = name.partition(b"=")
            else:
                length, = struct.unpack("<Q", data[:8])
                value, data = data[8:8 + length], data[8 + length:]
                assert data[:1] == b"\n"
                data = data[1:]
            assert re.fullmatch(rb"[A-Z][A-Z0-9_]*", name)
            fields[name.decode()] = value.decode()
        return fields

    def close(self):
        self.socket.close()


def results(host):
    """What each target made of a test alarm; the command fails if one of them did not take it."""
    done = host.ctl_run("--json", "alarm", "test")
    rows = json.loads(done.stdout)["rows"]
    assert done.returncode == (0 if all(row["works"] for row in rows) else 1), done
    return {row["target"]: row for row in rows}


def test_a_storm_of_alarms_is_one_mail(make_server, receivers):
    relay = Relay()
    receivers.append(relay)
    host = make_server("alice", settings={
        "mail.relay": relay.address, "alarm.mail-to": "ann@a.test; bob@b.test",
        "alarm.mail": "warning"})
    host.ctl("set", "alarm.mail-every", "0")
    host.ctl("set", "imtest.receiver", "bob@elsewhere.example")
    fail_fedtest(host)
    mails = until("mail", lambda: relay.mails)
    text = str(mails[0].get_content())
    assert mails[0]["To"] == "ann@a.test, bob@b.test"
    until("both", lambda: all(name in "".join(m.get_content() for m in relay.mails)
                              for name in ("fedtest.failed", "imtest.failed")))
    assert "What to do: Run `musterctl " in text and "raised  error" in text
    assert len(relay.mails) <= 2
    host.ctl("set", "alarm.mail-every", "1h")
    before = len(relay.mails)
    mend_fedtest(host)
    fail_fedtest(host)
    until("history", lambda: len(host.rows("alarm", "history", "fedtest.failed")) == 2)
    assert len(relay.mails) == before  # they wait
    assert results(host)["mail"]["works"]
    last = until("the test", lambda: relay.mails[before:])[-1]
    assert "administrator tests" in last.get_content() and "cleared" in last.get_content()
    assert re.fullmatch(r"localhost: changes of alarms: \d, raised: \d", last["Subject"])


def test_a_mail_is_sent_again_only_to_those_refused_for_the_moment(make_server, receivers):
    """Those refused for good are told of once, and nobody gets the mail twice."""
    relay = Relay(refuses="RCPT.*bad@", delays="RCPT.*(late|later)@")
    receivers.append(relay)
    host = make_server("alice", settings={
        "mail.relay": relay.address, "alarm.mail": "critical", "alarm.mail-every": "0"})
    host.ctl("set", "alarm.mail-to", "ann@a.test; bad@b.test; late@c.test; later@d.test")
    everybody = "ann@a.test, bad@b.test, late@c.test, later@d.test"
    assert not results(host)["mail"]["works"]  # each test has it tried again at once
    assert [m["To"] for m in relay.mails] == [everybody]
    relay.delays = "RCPT.*late@"
    assert not results(host)["mail"]["works"]
    assert [m["To"] for m in relay.mails[1:]] == ["late@c.test, later@d.test"]
    relay.delays = None
    assert results(host)["mail"]["works"]
    assert [m["To"] for m in relay.mails[2:]] == ["late@c.test"]
    for name, count in ("ann", 1), ("bad", 1), ("late", 3), ("later", 2):
        assert len([c for c in relay.commands if f"<{name}@" in c]) == count

    # What came meanwhile goes to all. One refused for good is told of, and the mail is sent.
    result = results(host)["mail"]
    assert "the relay refuses bad@b.test" in result["result"] and not result["works"]
    assert [m["To"] for m in relay.mails[3:]] == [everybody]
    assert "alarm.delivery" in active(host)
    host.ctl("set", "alarm.mail-to", "ann@a.test")
    assert results(host)["mail"]["works"]
    assert [m["To"] for m in relay.mails[4:]] == ["ann@a.test"]
    until("it works", lambda: "alarm.delivery" not in active(host))


def stored_waiting(host):
    with host.database(read_only=True) as db:
        return [name for name, in db.execute("SELECT alarm FROM alarm_waiting").fetchall()]


def test_who_is_owed_a_mail_at_a_crash_gets_it_alone(make_server, receivers):
    relay = Relay(delays="RCPT.*late@")
    receivers.append(relay)
    host = make_server("alice", settings={
        "mail.relay": relay.address, "alarm.mail": "warning", "alarm.mail-every": "0",
        "alarm.mail-to": "ann@a.test; late@c.test"})
    fail_fedtest(host)
    until("the mail", lambda: relay.mails)

    def owed():
        with host.database(read_only=True) as db:
            return db.execute("SELECT recipients FROM alarm_owed").fetchall()
    until("it is stored", lambda: owed() == [("late@c.test",)])
    host.kill()
    relay.delays = None
    host.start()
    again = until("mail", lambda: relay.mails[1:])[0]
    assert again["To"] == "late@c.test"
    assert "raised  error  fedtest.failed" in again.get_content()
    until("it is paid", lambda: owed() == [] and "fedtest.failed" not in stored_waiting(host))
    assert len([c for c in relay.commands if "<ann@" in c]) == 1


def test_a_mail_has_what_waited_at_a_crash(make_server, receivers):
    """And it is not sent sooner than if the server had gone on."""
    relay = Relay()
    receivers.append(relay)
    host = make_server("alice", settings={"mail.relay": relay.address, "alarm.mail": "warning",
                                          "alarm.mail-to": "ann@a.test"})
    assert results(host)["mail"]["works"]
    fail_fedtest(host)
    until("it is stored", lambda: "fedtest.failed" in stored_waiting(host))
    host.kill()
    host.start()
    assert len(relay.mails) == 1
    host.ctl("set", "alarm.mail-every", "0")
    mail = until("mail", lambda: relay.mails[1:])[0]
    assert "raised  error  fedtest.failed" in mail.get_content()
    until("nothing waits", lambda: "fedtest.failed" not in stored_waiting(host))


def test_a_target_has_a_least_severity(make_server, receivers):
    log = Syslog()
    receivers.append(log)
    host = make_server("alice", settings={"syslog.server": f"tcp:127.0.0.1:{log.port}",
                                          "alarm.syslog": "critical"})
    fail_fedtest(host)
    until("entry", lambda: host.rows("alarm", "history", "fedtest.failed"))
    mend_fedtest(host)
    host.ctl("alarm", "set", "fedtest.failed", "--severity", "critical")
    fail_fedtest(host)
    found = until("message", lambda: log.of(alarm="fedtest.failed"))
    assert [m["severity"] for m in found] == ["critical"] and found[0]["priority"] == 3 * 8 + 2
    assert found[0]["state"] == "raised" and found[0]["kind"] == "alarm" and found[0]["host"]
    mend_fedtest(host)
    until("end", lambda: log.of(alarm="fedtest.failed", state="cleared"))
    assert {m["state"]: "action" in m for m in log.of(alarm="fedtest.failed")} == {
        "raised": True, "cleared": False}
    host.ctl("alarm", "set", "fedtest.failed", "--delivered", "off")
    fail_fedtest(host)
    until("entry", lambda: len(host.rows("alarm", "history", "fedtest.failed")) == 3)
    assert results(host)["syslog"]["works"]
    until("the test", lambda: log.of(alarm="test"))
    assert len(log.of(alarm="fedtest.failed")) == 2


def test_who_was_told_of_an_alarm_hears_of_its_fall_and_of_its_end(make_server, receivers):
    """Also after a restart in between."""
    log = Syslog()
    receivers.append(log)
    host = make_server("alice", settings={"syslog.server": f"tcp:127.0.0.1:{log.port}",
                                          "alarm.syslog": "error"})
    fail_fedtest(host)
    until("raised", lambda: log.of(alarm="fedtest.failed", state="raised", severity="error"))
    host.ctl("alarm", "set", "fedtest.failed", "--severity", "warning")
    until("fall", lambda: log.of(alarm="fedtest.failed", state="changed", severity="warning"))
    host.restart()
    until("alarm", lambda: "fedtest.failed" in active(host))
    mend_fedtest(host)
    until("end", lambda: log.of(alarm="fedtest.failed", state="cleared"))
    fail_fedtest(host)  # this one was never more than a warning
    mend_fedtest(host)
    until("entry", lambda: [e["cleared"] != "" for e in host.rows("alarm", "history",
                                                                  "fedtest.failed")] == [True] * 2)
    assert results(host)["syslog"]["works"]
    assert [m["state"] for m in log.of(alarm="fedtest.failed")] == ["raised", "changed", "cleared"]


def test_syslog_over_tls_checks_the_server(make_server, receivers, tmp_path):
    log = Syslog(context_of(tmp_path))
    receivers.append(log)
    host = make_server("alice", settings={"syslog.server": f"tls:localhost:{log.port}",
                                          "alarm.syslog": "warning"})
    refused = results(host)["syslog"]
    assert not refused["works"] and "certificate" in refused["result"]
    until("alarm", lambda: "alarm.delivery" in active(host))
    host.ctl("cert-trust", "add", tmp_path / "log.pem")
    assert results(host)["syslog"]["works"]
    until("the test", lambda: log.of(alarm="test"))
    until("end of the alarm", lambda: "alarm.delivery" not in active(host))
    until("it was told", lambda: log.of(alarm="alarm.delivery", state="cleared"))


@pytest.mark.parametrize("name, works", [("127.0.0.1", True), ("127.0.0.2", False),
                                         ("localhost", False)])
def test_a_server_that_is_named_by_its_address(make_server, receivers, tmp_path, name, works):
    """An address counts as iPAddress of the certificate (RFC 9525 §6.5)."""
    log = Syslog(context_of(tmp_path, name))
    receivers.append(log)
    host = make_server("alice", settings={"syslog.server": f"tls:127.0.0.1:{log.port}",
                                          "alarm.syslog": "warning"})
    host.ctl("cert-trust", "add", tmp_path / "log.pem")
    told = results(host)["syslog"]
    assert told["works"] == works and works != ("for another name" in told["result"]), told


def test_syslog_by_datagrams(make_server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as log:
        log.bind(("127.0.0.1", 0))
        log.settimeout(TIMEOUT)
        host = make_server("alice", settings={
            "syslog.server": f"udp:127.0.0.1:{log.getsockname()[1]}", "alarm.syslog": "warning"})
        assert results(host)["syslog"]["works"]
        assert parsed(log.recv(4096))["alarm"] == "test"


def test_what_a_target_missed_is_told_when_it_is_back(make_server, receivers):
    log = Syslog()
    host = make_server("alice", settings={"syslog.server": f"tcp:127.0.0.1:{log.port}",
                                          "alarm.syslog": "warning"})
    log.close()
    fail_fedtest(host)
    until("alarm", lambda: "alarm.delivery" in active(host))
    mend_fedtest(host)
    again = Syslog(port=log.port)
    receivers.append(again)
    until("both", lambda: len(again.of(alarm="fedtest.failed")) == 2, 60)
    assert [m["state"] for m in again.of(alarm="fedtest.failed")] == ["raised", "cleared"]


def test_journald_gets_fields(make_server, tmp_path):
    path = tmp_path / "j"
    host = make_server("alice", settings={"journald.socket": str(path),
                                          "alarm.journald": "warning"})
    assert "not there" in results(host)["journald"]["result"]
    with contextlib.closing(Journal(path)) as journal:
        fail_fedtest(host)
        found = journal.next()
        while found["MUSTER_ALARM"] != "fedtest.failed":
            found = journal.next()
        assert found["PRIORITY"] == "3" and found["SYSLOG_IDENTIFIER"] == "muster"
        assert found["MUSTER_STATE"] == "raised" and "fedtest.target" in found["MUSTER_DETAIL"]
        assert found["MESSAGE"].startswith("fedtest.failed: ")


@pytest.mark.parametrize("target,what", [("mail", "alarm.mail-to"), ("syslog", "syslog.server"),
                                         ("journald", "journald.socket"),
                                         ("snmp", "snmp.receiver")])
def test_a_test_ends_although_an_alarm_before_it_cannot_be_told(make_server, tmp_path, target,
                                                                what):
    """Also where one alarm is sent at a time, and the test would wait behind it."""
    host = make_server("alice", settings={f"alarm.{target}": "warning",
                                          "journald.socket": str(tmp_path / "nobody")})
    fail_fedtest(host)
    until("both alarms", lambda: {"fedtest.failed", "alarm.delivery"} <= {
        row["name"] for row in host.rows("alarm", "list")})
    found = results(host)
    assert set(found) == {target} and what in found[target]["result"]


def test_a_test_ends_although_too_many_changes_wait(make_server, receivers):
    """While a mail is under way to a relay that says nothing, 200 changes wait behind it; there is
    no room for the test alarm. Of the test the next one hears nothing."""
    silent = socket.create_server(("127.0.0.1", 0))
    receivers.append(silent)
    host = api_server(make_server, **{
        "alarm.mail": "warning", "alarm.mail-to": "a@a.test", "alarm.mail-every": "0",
        "mail.relay": f"127.0.0.1:{silent.getsockname()[1]}"})
    fail_fedtest(host)
    path = "/alarms/fedtest.failed"
    silent.settimeout(TIMEOUT)
    peer, _ = silent.accept()
    receivers.append(peer)
    for n in range(201):
        severity = ("error", "warning")[n % 2]
        assert host.api("PATCH", path, {"severity": severity}).status == 200
        assert host.api("PUT", path + "/acknowledged", {}).status == 200  # it is looked at now
    for _ in range(2):
        answer = host.api("POST", "/alarms/test")
        assert answer.status == 502
        row, = answer.json["rows"]
        assert row == {"target": "mail", "works": False, "result": "too many changes wait for it"}
    silent.close()
    peer.close()
    until("the mail has failed", lambda: "alarm.delivery" in active(host))
    assert "too many" not in results(host)["mail"]["result"]


def test_nothing_is_switched_on(make_server):
    host = make_server("alice")
    assert "no target is switched on" in host.ctl_run("alarm", "test").stdout
    for wrong in "udp", "http:a", "tls:[::1", "tcp:a:0", "udp:a b":
        assert "syslog.server" in refusal(host, "set", "syslog.server", wrong)


def test_what_changes_just_before_a_stop_is_told_of(make_server, receivers, tmp_path):
    """An alarm that is raised or cleared then is in the history and in a mail as any other, and is
    what it was after the start."""
    relay = Relay()
    receivers.append(relay)
    host = make_server("alice", settings={"mail.relay": relay.address, "alarm.mail": "warning",
                                          "alarm.mail-to": "ann@a.test", "alarm.mail-every": "0"})
    assert refusal(host, "backup", "create", tmp_path / "none" / "two")
    host.restart()
    assert "backup.failed" in active(host)
    until("mail", lambda: relay.mails)
    assert "backup.failed" in relay.mails[0].get_content()
    host.ctl("backup", "create", tmp_path / "one")
    host.restart()
    assert "backup.failed" not in active(host)
    row, = host.rows("alarm", "history", "backup.failed")
    assert row["cleared"] > row["raised"]
    until("mail", lambda: len(relay.mails) > 1)
