"""Secrets do not leak into dumps; TLS sessions outlive a reload, but not their key; logins are in
the log."""
import os
import pathlib
import re
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import uuid

import pytest

from harness import xml
from harness.client import TIMEOUT, insecure_context, until
from harness.server import MUSTERCTL, MUSTERD, ROOT, Server

BIND = f"<bind xmlns='{xml.BIND2}'/>"


@pytest.mark.release
@pytest.mark.skipif("build/release" not in str(MUSTERD), reason="other builds may be debugged")
def test_no_core_dumps(server):
    limits = open(f"/proc/{server.process.pid}/limits").read()
    assert re.search(r"Max core file size\s+0\s+0\s", limits)
    assert server.rows("status")[0]["rss_kib"] > 0  # what it reads of itself it still can


@pytest.mark.release
@pytest.mark.skipif("build/release" not in str(MUSTERD), reason="other builds may be debugged")
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None,
                    reason="needs to start the server as another user")
def test_other_programs_of_its_user_cannot_read_its_memory():
    """A process that is not dumpable belongs to root in /proc, whoever runs it."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="muster-"))
    server = Server(folder, musterd=folder / "musterd",
                    wrapper=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    try:
        shutil.copy(MUSTERD, folder / "musterd")
        server.write()
        for path in folder, server.data:
            os.chown(path, 65534, 65534)
        server.start(ready=False)
        server.wait_log("event=server.ready")
        assert re.search(r"^Uid:\s+65534\s", (pathlib.Path("/proc") / str(server.process.pid) /
                                              "status").read_text(), re.M)
        assert os.stat(f"/proc/{server.process.pid}/mem").st_uid == 0
    finally:
        server.finish()
        shutil.rmtree(folder, ignore_errors=True)


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
    server.ctl("user", "disable", "bob@localhost")
    for name, mechanism, options in (("alice", "PLAIN", {"password": "wrong"}),
                                     ("bob", "PLAIN", {}),
                                     ("alice", "SCRAM-SHA-256", {"flag": "y"})):
        client = server.connect(name)
        client.authenticate(mechanism, **options)
        client.close()
    server.dial("alice", tls="none").open()
    server.wait_log("(?s)(event=auth.fail .*){3}")
    found = lines(server, "auth.fail")
    assert len(found) == 3
    for line, reason, jid in zip(found, ("not-authorized", "account-disabled", "not-authorized"),
                                 ("alice@localhost", "bob@localhost", "alice@localhost")):
        assert "level=warn" in line and f"reason={reason}" in line and "peer=127.0.0.1" in line
        assert f"jid={jid}" in line
    assert 'text="the account is disabled (musterctl user enable)"' in found[1]


def test_a_failed_login_does_not_tell_whether_there_is_the_account(server):
    """Not even in the log, by its words."""
    for name, password in (("alice", "wrong"), ("nobody", "pencil")):
        for mechanism in ("PLAIN", "SCRAM-SHA-256"):
            client = server.connect(name)
            client.authenticate(mechanism, password=password)
            client.close()
    server.wait_log("(?s)(event=auth.fail .*){4}")
    words = {re.search(r'reason=\S+ text=("[^"]*")', line)[1] for line in
             lines(server, "auth.fail")}
    assert len(words) == 1 and "no such account, a wrong password" in words.pop()


STREAMS = 60


def streams_that_fail(server):
    for _ in range(STREAMS):
        with socket.create_connection(("127.0.0.1", server.port("c2s"))) as s:
            s.sendall(b"<nonsense/>")
            while s.recv(4096):
                pass


def held_back(server):
    return [int(n) for n in re.findall(r"event=log.repeated of=stream.error n=(\d+)", server.log())]


def test_what_the_log_holds_back_is_told_soon_and_at_the_stop(server):
    """Nothing more of the event comes behind the flood."""
    server.ctl("set", "log.repeats", "1")
    streams_that_fail(server)
    until("line of what was held back",
          lambda: len(lines(server, "stream.error")) + sum(held_back(server)) == STREAMS)
    assert held_back(server)
    streams_that_fail(server)
    server.stop()
    assert len(lines(server, "stream.error")) + sum(held_back(server)) == 2 * STREAMS
    assert len(held_back(server)) >= 2


def test_what_users_are_told_is_not_in_the_log(server):
    """Every command with a text: the log has its length. Reasons are for the log as well."""
    docs = subprocess.run([MUSTERD, "--dump-docs", "commands"], capture_output=True, text=True,
                          check=True, timeout=TIMEOUT).stdout
    told = re.findall(r"^## (.*)\n+```\nmusterctl \1(.*\bTEXT\b.*)\n", docs, re.MULTILINE)
    assert {name for name, _ in told} >= {"announce", "motd set", "motd edit", "server stop"}
    for name, usage in told:
        text = ["--text"] if "--text" in usage else []
        later = ["--delay", "1h"] if "--delay" in usage else []
        server.ctl_run(*name.split(), *later, *text, "Geheimnis 4711")  # it may fail, too
    for setting in ("announce.subject", "announce.welcome"):
        server.ctl("set", setting, "Geheimnis 4711")
        told.append(("set", setting))
    server.ctl("server", "continue")
    found = [line for line in lines(server, "admin.command") if "(14 bytes)" in line]
    assert len(found) == len(told) and "Geheimnis" not in server.log()


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


# --- the programs ---

RELEASE = pytest.mark.skipif("build/release" not in str(MUSTERD), reason="of the release build")
LOAD, DYNAMIC, STACK, RELRO = 1, 2, 0x6474e551, 0x6474e552
X, W = 1, 2
PAGE = 4096


class Elf:
    """Segments and dynamic entries of a 64-bit little-endian file."""

    def __init__(self, path):
        self.data = path.read_bytes()
        assert self.data[:6] == b"\x7fELF\2\1"
        self.kind, = struct.unpack_from("<H", self.data, 16)
        offset, = struct.unpack_from("<Q", self.data, 32)
        size, count = struct.unpack_from("<HH", self.data, 54)
        self.segments = []
        for i in range(count):
            kind, flags, at, _, _, length = struct.unpack_from("<IIQQQQ", self.data,
                                                               offset + i * size)
            self.segments.append((kind, flags, at, length))
        (_, _, at, length), = self.of(DYNAMIC)
        self.dynamic = dict(struct.unpack_from("<QQ", self.data, at + i)
                            for i in range(0, length, 16))

    def of(self, kind):
        return [s for s in self.segments if s[0] == kind]


@pytest.mark.release
@RELEASE
@pytest.mark.parametrize("path", [MUSTERD, MUSTERCTL], ids=lambda p: p.name)
def test_programs_are_hardened(path):
    elf = Elf(path)
    bind_now, pie = 1, 0x08000000
    assert elf.kind == 3 and elf.dynamic[0x6ffffffb] & (bind_now | pie) == bind_now | pie
    assert elf.of(RELRO)
    (_, flags, _, _), = elf.of(STACK)
    assert not flags & X
    loads = elf.of(LOAD)
    assert not any(flags & X and flags & W for _, flags, _, _ in loads)
    pages = [(flags & X, set(range(at // PAGE, (at + length - 1) // PAGE + 1)))
             for _, flags, at, length in loads if length]
    code = set().union(*(p for x, p in pages if x))
    data = set().union(*(p for x, p in pages if not x))
    assert code and not code & data, "a page of the file is both"
    assert b"__stack_chk_fail" in elf.data and b"__snprintf_chk" in elf.data
    assert b"-fstack-clash-protection" in elf.data, "gcc notes its options in the debugging data"


@pytest.mark.release
@RELEASE
def test_all_of_it_is_compiled_so():
    lines = subprocess.run(["make", "-nB", "build/release/musterd"], cwd=ROOT, capture_output=True,
                           text=True, check=True).stdout.splitlines()
    compiled = [line for line in lines if " -c " in line]
    assert len(compiled) > 200
    for line in compiled:
        for flag in "-O2", "-fstack-protector-strong", "-fstack-clash-protection", \
                "-D_FORTIFY_SOURCE=3", "-fPIE":
            assert f" {flag} " in line, (flag, line)
