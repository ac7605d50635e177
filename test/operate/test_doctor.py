"""musterctl doctor: what is wrong with a node, with and without a running server. The judgements of
the machine are tested in src/operate/doctor_check_test.c, where it can be broken."""
import contextlib
import fcntl
import grp
import json
import os
import pathlib
import pwd
import signal
import socket
import sqlite3
import struct
import subprocess
import tempfile
import threading

import pytest

from harness import database
from harness.client import TIMEOUT
from harness.rows import MUSTERCTL, MUSTERD
from harness.server import Server
from harness.federation import Authority
from surface.test_api import api_server

SRV, NXDOMAIN, SERVFAIL = 33, 3, 2


def name_of(text):
    return b"".join(bytes([len(x)]) + x.encode() for x in text.split(".") if x) + b"\0"


@contextlib.contextmanager
def name_server(answers):
    """At a port of 127.0.0.1: SRV records by their names, "servfail", or an event, which is set and
    the question not answered; no other name exists. Addresses are those of /etc/hosts."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve():
            while True:
                try:
                    query, peer = server.recvfrom(4096)
                except OSError:
                    return
                if len(query) < 12:  # the end of the test
                    return
                end = query.index(b"\0", 12)
                labels, at = [], 12
                while query[at]:
                    labels.append(query[at + 1:at + 1 + query[at]].decode())
                    at += 1 + query[at]
                kind, = struct.unpack("!H", query[end + 1:end + 3])
                found = answers.get(".".join(labels).lower()) if kind == SRV else None
                if isinstance(found, threading.Event):
                    found.set()
                    continue
                code = SERVFAIL if found == "servfail" else 0 if found else NXDOMAIN
                records = b""
                for port, host in found if isinstance(found, list) else []:
                    data = struct.pack("!HHH", 0, 5, port) + name_of(host)
                    records += b"\xc0\x0c" + struct.pack("!HHIH", SRV, 1, 60, len(data)) + data
                count = len(found) if records else 0
                server.sendto(query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, count, 0, 0)
                              + query[12:end + 5] + records, peer)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield "127.0.0.1:%d" % server.getsockname()[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"end", server.getsockname())
            thread.join()


def doctor(server):
    """Exit code, and the rows."""
    done = server.ctl_run("--config", server.file, "--json", "doctor")
    return done.returncode, json.loads(done.stdout)["rows"]


def of(rows, check, state=None):
    return [r for r in rows if r["check"] == check and state in (None, r["state"])]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def test_with_and_without_a_server(make_server):
    server = make_server("alice", s2s=True)
    _, rows = doctor(server)
    assert of(rows, "server") == [{"check": "server", "state": "ok", "found": "it runs",
                                   "remedy": ""}]
    ports = of(rows, "ports", "ok")
    assert len(ports) == sum(len(v) for v in server.conf["listen"].values())
    assert any(f":{server.c2s_port}: it answers" in r["found"] for r in ports)
    assert all(bool(r["remedy"]) == (r["state"] != "ok") for r in rows)
    assert of(rows, "certificates", "warning")[0]["found"].endswith("is self-signed")
    server.stop()
    code, rows = doctor(server)
    assert code == 1 and of(rows, "server", "error")[0]["remedy"].startswith("systemctl start")
    assert of(rows, "ports") == []
    for check in "permissions", "disk", "memory", "database", "clock", "kernel":
        assert of(rows, check), check
    with open(server.data / "muster.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)  # another one looks just now
        assert of(doctor(server)[1], "server", "error") == of(rows, "server", "error")


@pytest.mark.parametrize("records, check, state, text", [
    ({"_xmpp-client._tcp.localhost": "c2s"}, "dns client", "ok", "it answers"),
    ({"_xmpps-client._tcp.localhost": "tls"}, "dns client", "ok", "it answers"),
    ({"_xmpp-server._tcp.localhost": "s2s"}, "dns server", "ok", "it answers"),
    ({"_xmpps-server._tcp.localhost": "s2s_tls"}, "dns server", "ok", "it answers"),
    ({"_xmpp-client._tcp.localhost": "s2s"}, "dns client", "warning",
     "but this server does not listen for it at that port"),
    ({"_xmpp-client._tcp.localhost": [(1, "localhost")]}, "dns client", "error",
     "leads to localhost port 1: "),
    ({"_xmpp-client._tcp.localhost": [(0, ".")]}, "dns client", "error",
     "says that there is no such service"),
    ({"_xmpp-server._tcp.localhost": [(5269, "gone.invalid")]}, "dns server", "error",
     "gone.invalid"),
    ({"_xmpps-client._tcp.localhost": None}, "dns client", "warning",
     "the listener for direct TLS is not found"),
    ({"_xmpp-server._tcp.localhost": "servfail"}, "dns server", "warning",
     "_xmpp-server._tcp.localhost: "),
])
def test_dns(make_server, records, check, state, text):
    server = make_server(s2s=True)
    answers = {name: [(getattr(server, f"{what}_port"), "localhost")]
               if isinstance(what, str) and what != "servfail" else what
               for name, what in records.items()}
    with name_server(answers) as address:
        server.ctl("set", "s2s.dns-servers", address)
        _, rows = doctor(server)
    service = next(iter(records))
    found = [r for r in of(rows, check) if service in r["found"]]
    assert [r["state"] for r in found] == [state] and text in found[0]["found"], rows
    assert state != "ok" or found[0]["found"].endswith(text)


def test_a_record_that_may_lead_elsewhere(make_server):
    server = make_server()
    with socket.create_server(("127.0.0.2", 0)) as other:
        port = other.getsockname()[1]
        with name_server({"_xmpp-client._tcp.localhost": [(port, "127.0.0.2")]}) as address:
            server.ctl("set", "s2s.dns-servers", address)
            rows = doctor(server)[1]
    assert any(f"127.0.0.2 port {port}" in r["found"] and "cannot be proven" in r["found"]
               for r in of(rows, "dns client", "ok")), rows


def test_what_is_broken_without_a_server(make_server, tmp_path):
    """One after the other; each is named with what mends it."""
    server = make_server()
    server.stop()
    server.data.chmod(0o755)
    found = of(doctor(server)[1], "permissions", "warning")
    assert found[0]["remedy"] == f"chmod o= {server.data}"
    server.data.chmod(0o750)
    assert not of(doctor(server)[1], "permissions", "warning")
    if not database.POSTGRESQL:
        (server.data / "muster.db").write_bytes(b"This is a letter." * 100)
        found = of(doctor(server)[1], "database", "error")
        assert "is not a database" in found[0]["found"] and "--restore" in found[0]["remedy"]
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        server.conf["listen"]["bosh"] = [f"127.0.0.1:{taken}"]
        server.write()
        found = of(doctor(server)[1], "ports", "error")
        assert f"{taken}" in found[0]["found"] and "ss -ltnp" in found[0]["remedy"]
    server.conf["listen"]["bosh"] = ["192.0.2.1:0"]
    server.write()
    found = of(doctor(server)[1], "ports", "error")
    assert "192.0.2.1:0" in found[0]["found"] and "ip -brief address" in found[0]["remedy"]
    server.conf["tls"] = {"certificate": str(tmp_path / "none.pem"), "key": str(tmp_path / "none")}
    server.write()
    found = of(doctor(server)[1], "certificates", "error")
    assert "none.pem" in found[0]["found"] and "musterctl" not in found[0]["remedy"]
    assert f"musterd --config {server.file} --check" in found[0]["remedy"]
    server.conf["node_id"] = "seven"
    server.write()
    done = server.ctl_run("--config", server.file, "doctor")
    assert done.returncode == 1 and "node_id" in done.stderr


SQLITE = pytest.mark.skipif(database.POSTGRESQL, reason="a file of SQLite")


@SQLITE
def test_the_server_keeps_its_database(make_server):
    """A process that closes a file loses all its locks of it, also those of SQLite. Then whoever
    else opens the database and closes it takes the WAL away, with all that is committed later."""
    server = make_server("alice")
    doctor(server)
    with contextlib.closing(sqlite3.connect(server.data / "muster.db")) as other:
        assert other.execute("SELECT jid FROM account").fetchall() == [("alice@localhost",)]
    server.add_user("bob")
    server.kill()
    server.start()
    assert server.login("bob")


def damage(server):
    """A page far behind the first ones, of a table."""
    path = server.data / "muster.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        root, = db.execute("SELECT rootpage FROM sqlite_schema WHERE type = 'table' "
                           "ORDER BY rootpage DESC").fetchone()
        size, = db.execute("PRAGMA page_size").fetchone()
    assert root > 8
    with open(path, "r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xee" * size)


@SQLITE
def test_a_database_that_is_damaged_in_the_middle(make_server):
    server = make_server("alice")
    assert "is whole" in of(doctor(server)[1], "database", "ok")[0]["found"]
    server.stop()
    before = sorted(server.data.glob("muster.db*"))
    assert "is whole" in of(doctor(server)[1], "database", "ok")[0]["found"]
    assert sorted(server.data.glob("muster.db*")) == before
    damage(server)
    found = of(doctor(server)[1], "database", "error")
    assert "is damaged" in found[0]["found"] and "--restore" in found[0]["remedy"], found


@SQLITE
def test_a_database_of_a_server_that_was_killed(make_server):
    """What is in the WAL counts, and stays there."""
    server = make_server("alice")
    server.kill()
    wal = (server.data / "muster.db-wal").read_bytes()
    assert wal and "is whole" in of(doctor(server)[1], "database", "ok")[0]["found"]
    assert (server.data / "muster.db-wal").read_bytes() == wal
    server.start()
    assert server.login("alice")


NOBODY = pwd.getpwnam("nobody")
BROKEN_RIGHTS = {  # by whom and how; where the doctor says it; what it says, and what mends it
    "database": ("muster.db", "database", "belongs to user root (mode 600)",
                 "chown nobody: {0}/muster.db && chmod u+rw {0}/muster.db"),
    "key": ("secrets.key", "permissions", "secrets.key", "chown -R nobody: {0}"),
    "control": ("run", "permissions", "control.sock: user nobody may not make a socket",
                "chown nobody: {0}/run if it is of the server alone"),
    "folder": (".", "permissions", "user nobody may not read and write there",
               "chown -R nobody: {0}"),
    "tls": ("tls.pem", "certificates", "tls.pem", "let user nobody read"),
    "port": (None, "ports", "needs CAP_NET_BIND_SERVICE", "setcap cap_net_bind_service"),
}


@pytest.fixture(name="foreign")
def of_nobody():
    """The folder of a node that runs as user nobody: its node file, and a sound data folder."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        data = folder / "data"
        data.mkdir(mode=0o750)
        for name in "muster.lock", "muster.db", "secrets.key", "tls.pem":
            (data / name).write_bytes(b"" if name == "muster.db" else b"1" * 32)
            (data / name).chmod(0o600)
        (data / "run").mkdir()
        for path in data, *data.iterdir():
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        yield folder


def looks(folder, port=0, tls=False, run="data/run", **process):
    """Rows of the doctor, and how `musterd --check` ends."""
    file, data = folder / "muster.yaml", folder / "data"
    key = {"tls": {"certificate": f"{data}/tls.pem", "key": f"{data}/tls.pem"}} if tls else {}
    file.write_text(json.dumps({"node": "test1", "node_id": 1, "domains": ["localhost"],
                                "data": str(data), "control": str(folder / run / "control.sock"),
                                "listen": {"c2s": [f"127.0.0.1:{port}"]}, **key}))
    done = subprocess.run([MUSTERCTL, "--config", file, "--json", "doctor"], capture_output=True,
                          check=False, **process)
    check = subprocess.run([MUSTERD, "--config", file, "--check"], capture_output=True, check=False,
                           **process)
    return json.loads(done.stdout)["rows"], check.returncode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", BROKEN_RIGHTS)
def test_root_looks_as_the_user_of_the_server(foreign, what):
    if what == "port" and pathlib.Path("/run/systemd/system").exists():
        pytest.skip("the unit gives the server this right")
    name, check, text, remedy = BROKEN_RIGHTS[what]
    sound, code = looks(foreign)
    assert code == 0 and not [r for r in sound if r["state"] == "error"
                              and r["check"] in ("database", "permissions", "ports")], sound
    if name:
        os.chown(foreign / "data" / name, 0, 0)
    rows, code = looks(foreign, port=21 if what == "port" else 0, tls=what == "tls")
    state = "warning" if what == "port" else "error"
    found = [r for r in of(rows, check, state) if text in r["found"]]
    assert found and remedy.format(foreign / "data") in found[0]["remedy"], rows
    assert code == (0 if what == "port" else 2)
    assert not any("makes an empty one" in r["remedy"] for r in rows), rows


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_stranger_is_told_who_can_look(foreign):
    """What another user may not do says nothing of the user of the server."""
    (foreign / "run").mkdir(mode=0o755)
    os.chown(foreign / "run", NOBODY.pw_uid, NOBODY.pw_gid)
    try:
        rows, _ = looks(foreign, port=21, tls=True, run="run", user=NOBODY.pw_uid - 1,
                        group=NOBODY.pw_gid - 1, extra_groups=[])
    except PermissionError:
        pytest.skip("another user may not run what was built here")
    wrong = [row for row in rows if row["state"] != "ok"
             and row["check"] in ("permissions", "certificates", "ports", "database")]
    kinds = {row["check"] for row in wrong}
    assert {"permissions", "certificates"} <= kinds, rows
    assert {row["remedy"] for row in wrong} == {"run the doctor as root, or as user nobody"}, wrong


@pytest.fixture(name="seen")
def seen_by_all():
    """A server whose folder and node file all users can see, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder).chmod(0o755)
        server = Server(pathlib.Path(folder) / "server")
        server.start()
        server.folder.chmod(0o755)
        server.file.chmod(0o644)
        yield server
        server.finish()


def seen_by_nobody(server):
    """What the doctor says to user nobody."""
    done = subprocess.run([MUSTERCTL, "--config", server.file, "--json", "doctor"],
                          capture_output=True, check=False, timeout=TIMEOUT, user=NOBODY.pw_uid,
                          group=NOBODY.pw_gid, extra_groups=[])
    assert done.stdout, done.stderr
    return json.loads(done.stdout)["rows"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_the_socket_of_a_server_that_was_killed_says_nothing(seen):
    """It is there, and may not be used. If the lock can be seen, and is free, no server runs."""
    os.chown(seen.control, 0, 0)
    seen.data.chmod(0o755)
    (seen.data / "muster.lock").chmod(0o644)
    found, = of(seen_by_nobody(seen), "server")
    assert found["state"] == "warning" and "user nobody may not use" in found["found"], found
    seen.kill()
    found, = of(seen_by_nobody(seen), "server")
    assert (found["state"], found["found"]) == ("error", "no server runs with this node file")
    (seen.data / "muster.lock").chmod(0o600)
    found, = of(seen_by_nobody(seen), "server")
    assert found["state"] == "warning" and "user nobody may not use" in found["found"], found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_who_may_not_use_the_socket_is_told_so_and_what_can_be_seen(seen):
    """Not only that the connection is refused: it looks by itself."""
    server = seen
    for group, mend in (grp.getgrall()[-1], "usermod -aG {} nobody"), (grp.getgrgid(0), ""):
        os.chown(server.control, 0, group.gr_gid)
        rows = seen_by_nobody(server)
        found, = of(rows, "server")
        assert found["state"] == "warning" and "user nobody may not use" in found["found"], found
        assert str(server.control) in found["found"]
        assert found["remedy"].startswith("run the doctor as root")
        assert mend.format(group.gr_name) in found["remedy"]
        assert ("usermod" in found["remedy"]) == bool(mend)
        assert of(rows, "disk") and of(rows, "memory") and of(rows, "ports", "ok"), rows
        assert not of(rows, "ports", "error")


def test_what_every_user_may_use(make_server):
    """The socket gives all rights of an administrator, and the keys those of the server."""
    server = make_server()
    assert not of(doctor(server)[1], "permissions", "error")
    (server.data / "uploads").mkdir(exist_ok=True)
    upload = server.data / "uploads/upload.key"
    if not upload.exists():
        upload.write_bytes(b"1" * 32)
    secret = [server.data / "secrets.key", upload]
    for path in server.control, server.data / "self-signed-key.pem", *secret:
        path.chmod(0o666)
        found = of(doctor(server)[1], "permissions", "error")
        assert len(found) == 1 and str(path) in found[0]["found"] and "666" in found[0]["found"]
        assert found[0]["remedy"] == (f"chmod 600 {path}" if path in secret else f"chmod o= {path}")
        subprocess.run(found[0]["remedy"], shell=True, check=True)
    assert not of(doctor(server)[1], "permissions", "error")


@pytest.mark.parametrize("mode, who", [(0o644, "every user of this machine"),
                                       (0o640, "the group of this file")])
def test_a_private_key_that_others_may_read(make_server, authority, mode, who):
    server = make_server(tls=authority.issue("own", "localhost"))
    key = pathlib.Path(server.conf["tls"]["key"])
    key.chmod(mode)
    found, = of(doctor(server)[1], "permissions", "error")
    assert found["found"] == f"{key}: {who} may use this private key (mode {mode:o})"
    subprocess.run(found["remedy"], shell=True, check=True)
    assert key.stat().st_mode & 0o777 == 0o600
    assert not of(doctor(server)[1], "permissions", "error")


def test_a_server_that_hangs(make_server):
    """It is said, and everything is looked at without it."""
    server = make_server()
    server.process.send_signal(signal.SIGSTOP)
    try:
        code, rows = doctor(server)
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert code == 1 and "does not answer" in of(rows, "server", "error")[0]["found"]
    assert of(rows, "ports") == [] and of(rows, "database", "ok") and of(rows, "disk")


def test_an_alarm_with_what_it_is_about(make_server):
    server = make_server("alice")
    server.ctl("set", "groups.members-max", "1")
    server.add_user("bob")
    server.ctl("group", "add", "sales")
    server.ctl("group-member", "add", "sales", "--domain", "localhost")
    assert any(r["found"].startswith("groups.cut: ") and r["found"].endswith(" sales")
               for r in of(doctor(server)[1], "alarms", "warning"))


def test_over_the_api(make_server):
    """What it found is an answer, also where it fails for musterctl: that is in `error`."""
    server = api_server(make_server)
    answer = server.api("POST", "/commands/doctor", {})
    rows = answer.json["rows"]
    assert of(rows, "server", "ok") and answer.status == 200
    assert ("error" in answer.json) == any(r["state"] == "error" for r in rows)


def test_the_server_ends_while_it_waits_for_dns(make_server):
    """It is answered, and holds nobody up."""
    server = make_server()
    asked = threading.Event()
    with name_server({"_xmpp-client._tcp.localhost": asked}) as address:
        server.ctl("set", "s2s.dns-servers", address)
        waiting = server.ctl_start("--json", "doctor")
        assert asked.wait(TIMEOUT)
        assert "it runs already" in server.ctl_run("doctor").stderr
        server.stop()
        rows = json.loads(waiting.communicate()[0])["rows"]
    assert of(rows, "server", "error")[0]["found"] == "the server ends"


def outside(server, *words, trusts="/dev/null"):
    """On a machine without a server and without a node file."""
    done = subprocess.run([MUSTERCTL, "--json", "doctor", "outside", *words], capture_output=True,
                          text=True, timeout=3 * TIMEOUT, check=False,
                          env={"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(trusts)}, cwd="/")
    return done.returncode, json.loads(done.stdout)["rows"] if done.stdout else done.stderr


def test_from_outside(make_server, authority):
    """How a domain is found and reached, by who has nothing but musterctl."""
    server = make_server(s2s=True, settings={"s2s.policy": "open"},
                         tls=authority.issue("good", "localhost"))
    answers = {"_xmpp-client._tcp.localhost": [(server.c2s_port, "localhost")],
               "_xmpp-server._tcp.localhost": [(server.s2s_port, "localhost")],
               "_xmpps-client._tcp.localhost": [(server.tls_port, "localhost")]}
    with name_server(answers) as address:
        code, rows = outside(server, "localhost", "--dns", address, trusts=authority.file)
        assert code == 0, rows
        assert [r["state"] for r in of(rows, "dns client")] == ["ok", "ok"]
        assert all(r["found"].endswith("it answers") for r in rows
                   if r["state"] == "ok" and r["check"] != "certificates")
        assert {r["found"].partition(" issued by ")[0] for r in of(rows, "certificates", "ok")} == {
            f"localhost port {port}: verified: CN=good,"
            for port in (server.c2s_port, server.s2s_port, server.tls_port)}
        unknown, = [r for r in rows if r["state"] == "unknown"]
        assert "_xmpps-server._tcp.localhost: direct TLS, if there is any" in unknown["found"]
        server.stop()
        code, rows = outside(server, "--dns", address, "LOCALHOST")
        assert code == 1 and len([r for r in rows if r["state"] == "error"]) == 3
        assert of(rows, "certificates") == []
        assert {r["remedy"] for r in rows if r["state"] == "error"} >= {
            f"open port {server.s2s_port} in the firewall, or correct the record"}
    for words, said in ((["a b"], "allowed a domain"), ([], "domain is missing"),
                        (["[::1]"], "found the address [::1], allowed a domain such as"),
                        (["192.0.2.1"], "found the address 192.0.2.1, allowed a domain such as"),
                        (["x.test", "--dns", "no"], "addresses with or without a port")):
        code, text = outside(server, *words)
        assert code == 2 and said in text


@pytest.mark.parametrize("names, ends, trusted, state, said", [
    (["elsewhere.test"], 90, True, "error", "the certificate does not name localhost: verified: "),
    (["localhost"], 90, False, "error", "CN=shown, issued by CN=ca of tests, valid "),
    (["localhost"], -0.5, True, "error", "certificate has expired: CN=shown, "),
    (["localhost"], 5, True, "warning", "verified: CN=shown, "),
])
def test_from_outside_the_certificate_is_looked_at(make_server, authority, names, ends, trusted,
                                                   state, said):
    """Behind STARTTLS, and with TLS from the first byte."""
    server = make_server(s2s=True, settings={"s2s.policy": "open"},
                         tls=authority.issue("shown", *names, ends=ends))
    with name_server({"_xmpp-server._tcp.localhost": [(server.s2s_port, "localhost")],
                      "_xmpps-client._tcp.localhost": [(server.tls_port, "localhost")]}) as address:
        code, rows = outside(server, "localhost", "--dns", address,
                             trusts=authority.file if trusted else "/dev/null")
    found = of(rows, "certificates")
    assert code == 1 and {r["found"].split(":")[0] for r in found} == {
        f"localhost port {port}" for port in (server.s2s_port, server.tls_port)}
    for row in found:
        assert row["state"] == state and said in row["found"] and "localhost" in row["remedy"], row


def test_from_outside_tls_must_be_offered():
    stream = b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams'><stream:features"
    for more, said in ((b"/>", "it offers no TLS"), (b"></stream:features>", "it offers no TLS"),
                       (b"><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
                        "TLS fails: localhost: no answer in time")):
        with listener(stream + more) as port, \
                name_server({"_xmpp-client._tcp.localhost": [(port, "localhost")]}) as address:
            found, = of(outside(None, "localhost", "--dns", address)[1], "certificates", "error")
            assert said in found["found"], found


def test_from_outside_without_answers(make_server):
    """Nothing could be looked at: that is no success."""
    with name_server({f"_{name}._tcp.localhost": "servfail" for name in (
            "xmpp-client", "xmpps-client", "xmpp-server", "xmpps-server")}) as address:
        code, rows = outside(make_server(start=False), "localhost", "--dns", address)
    assert code == 1 and [row["state"] for row in rows] == ["error"] * 4, rows


@contextlib.contextmanager
def listener(says):
    """A port whose connections get this, and nothing if it is empty."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            kept = []
            while True:
                try:
                    kept.append(server.accept()[0])
                    kept[-1].sendall(says)
                except OSError:
                    return
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_from_outside_xmpp_must_answer(make_server):
    """An open port is not enough: of another protocol, of another kind of TLS or stream, or of a
    server that does not serve the domain."""
    server = make_server(s2s=True)
    plain, direct, others = "_xmpp-client._tcp", "_xmpps-client._tcp", "_xmpp-server._tcp"
    with listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as http, listener(b"") as silent, \
            listener(b"\x15\x03\x01\0\2\2\x46") as alert:
        for service, port, domain, said in (
                (plain, http, "localhost",
                 "does not speak XMPP: it says \"HTTP/1.1 400 Bad Request\""),
                (plain, silent, "localhost", "no answer in time"),
                (plain, server.tls_port, "localhost", "does not speak XMPP: "),
                (plain, alert, "localhost", "it speaks TLS from the first byte"),
                (plain, server.s2s_port, "localhost", "it refuses the stream: invalid-namespace"),
                (plain, server.c2s_port, "strange.test", "it refuses the stream: host-unknown"),
                (direct, http, "localhost", "does not speak XMPP with direct TLS: "),
                (direct, server.c2s_port, "localhost", "does not speak XMPP with direct TLS: "),
                (others, server.s2s_port, "localhost", None)):
            with name_server({f"{service}.{domain}": [(port, "localhost")]}) as address:
                _, rows = outside(server, domain, "--dns", address)
            found, = [row for row in rows if f"{service}.{domain} leads" in row["found"]]
            assert found["state"] == ("error" if said else "ok"), found
            assert said is None or said in found["found"], found
            unseen = of(rows, "certificates", "unknown")
            assert [f"port {port}: it refuses the stream" in r["found"] for r in unseen] == (
                [] if said else [True])
