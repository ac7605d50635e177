"""IPv6: every listener and every connection that the server makes, at ::1. The tables are complete:
a listener that is not in the first, and a file that makes connections and is not in the second,
fail."""
import http.client
import http.server
import ipaddress
import pathlib
import re
import socket
import struct
import tempfile

import pytest
from cryptography import x509

from harness import database, federation, nodes, xml
from harness.bosh import Bosh
from harness.client import TIMEOUT, Client, insecure_context, until
from harness.server import free_ports

from operate import test_alarm_snmp
from operate import test_cert_mail
from operate import test_cert_ocsp
from operate import test_copy
from surface import test_ctl_remote
from operate import test_doctor
from operate import test_rename
from federation import test_revocation
from federation import test_s2s_trust

ROOT = pathlib.Path(__file__).resolve().parents[2]
LISTENERS = {  # key of the node file: the test that connects to it at ::1
    **{f"listen.{kind}": "stream/test_ipv6.py::test_every_listener_at_ipv6" for kind in (
        "c2s", "c2s_tls", "component", "http", "https", "bosh", "proxy65", "s2s", "s2s_tls")},
    "listen.metrics": "stream/test_ipv6.py::test_metrics",
    "listen.http_admin": "surface/test_api.py::test_listeners_at_ipv6_with_and_without_tls",
    "listen.https_admin": "surface/test_api.py::test_listeners_at_ipv6_with_and_without_tls",
}
CONNECTORS = {  # source file: the tests in which it connects to ::1
    "src/gate/s2s/find/s2s_find.c": [
        "federation/test_s2s_routes.py::test_a_server_that_has_ipv6_alone"],
    "src/notify/mail.c": ["stream/test_ipv6.py::test_mail"],
    "src/cert/cert_ocsp.c": ["stream/test_ipv6.py::test_ocsp"],
    "src/cert/cert_revoke.c": ["stream/test_ipv6.py::test_lists_of_revoked_certificates"],
    "src/notify/webhook_post.c": ["stream/test_ipv6.py::test_webhook"],
    "src/notify/syslog.c": ["stream/test_ipv6.py::test_syslog",
                         "stream/test_ipv6.py::test_syslog_over_udp"],
    "src/notify/snmp.c": ["stream/test_ipv6.py::test_snmp"],
    "src/operate/doctor_check.c": ["stream/test_ipv6.py::test_doctor_looks_at_listeners"],
    "src/operate/doctor_net.c": ["stream/test_ipv6.py::test_doctor_looks_at_listeners"],
    "ctl/remote.c": ["stream/test_ipv6.py::test_musterctl"],
    "src/store/pgsql_conn.c": ["stream/test_ipv6.py::test_postgresql"],
    "src/store/store_copy.c": ["stream/test_ipv6.py::test_postgresql"],
    "src/store/store_rename.c": ["stream/test_ipv6.py::test_postgresql"],
}
# By itself, by a part of ours or of a library, or by another program.
MAKES = re.compile(
    r"\b((dial_start|visit_start|child_start|PQconnectdb\w*)\(|socket\((?!AF_UNIX))")
one_node = pytest.mark.skipif(nodes.COUNT > 1, reason="of one node")


def test_every_listener_stands_here():
    keys = set(re.findall(r"`(listen\.[a-z0-9_]+)`", (ROOT / "docs/config.md").read_text()))
    assert keys == set(LISTENERS)


def test_everything_that_connects_stands_here():
    own = ROOT / "src"
    parts = {own / "io", own / "operate/child.c"}  # which others do it by
    made = {str(file.relative_to(ROOT)) for where in (own, ROOT / "ctl")
            for file in where.rglob("*.c")
            if not {file, file.parent} & parts and MAKES.search(file.read_text())
            and not file.stem.endswith(("_test", "_bench", "_fuzz"))}
    assert made == set(CONNECTORS)


def test_the_tests_exist():
    for test in [*LISTENERS.values(), *(t for tests in CONNECTORS.values() for t in tests)]:
        file, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / "test" / file).read_text(), test


def client_at(port, user, at_domain, tls=False):
    client = Client(("::1", port), at_domain, user)
    if tls:
        client.wrap()
    client.open()
    if not tls:
        client.starttls()
    client.login("PLAIN", "r" if tls else "s")
    return client.available()


@one_node
def test_every_listener_at_ipv6(make_server):
    kinds = "c2s", "tls", "component", "http", "https", "bosh", "proxy65", "s2s", "s2s_tls"
    server = make_server("alice", start=False, component=True, proxy65=True, s2s=True,
                         settings=federation.settings())
    server.conf["listen"] = {"c2s": [], **{
        {"tls": "c2s_tls"}.get(kind, kind): [f"[::1]:{getattr(server, f'{kind}_port')}"]
        for kind in kinds}}
    server.start()
    server.add_user("alice")
    for kind in kinds:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", getattr(server, f"{kind}_port")), 10)
    clients = [client_at(server.c2s_port, "alice", "localhost"),
               client_at(server.tls_port, "alice", "localhost", tls=True)]
    for client in clients:
        client.ping()
    bosh = Bosh(("::1", server.https_port), "localhost", "alice", tls=True)
    bosh.open()
    assert bosh.features is not None
    for port, kind in ((server.http_port, http.client.HTTPConnection),
                       (server.bosh_port, http.client.HTTPConnection),
                       (server.https_port, http.client.HTTPSConnection)):
        more = {"context": insecure_context()} if port == server.https_port else {}
        connection = kind("::1", port, timeout=10, **more)
        connection.request("GET", "/.well-known/host-meta")
        assert connection.getresponse().status == (404 if port == server.bosh_port else 200)
        connection.close()
    with socket.create_connection(("::1", server.proxy65_port), 10) as sock:
        sock.sendall(struct.pack("!BBB", 5, 1, 0))
        assert sock.recv(2) == b"\x05\x00"
    for port in server.s2s_port, server.component_port:
        with socket.create_connection(("::1", port), 10) as sock:
            ns = "jabber:server" if port == server.s2s_port else "jabber:component:accept"
            sock.sendall(f"<stream:stream xmlns='{ns}' xmlns:stream='{xml.STREAM}' to='x.test' "
                         "from='evil.test' version='1.0'>".encode())
            assert b"<stream:stream" in sock.recv(4096)
    for client in clients:
        client.sock.close()


@one_node
def test_metrics(make_server):
    server = make_server(start=False)
    port, = free_ports(1)
    server.conf["listen"]["metrics"] = [f"[::1]:{port}"]
    server.start()
    connection = http.client.HTTPConnection("::1", port, timeout=10)
    connection.request("GET", "/metrics")
    assert b"muster_" in connection.getresponse().read()
    connection.close()


def at_ipv6(maker):
    """socket.create_server(), at ::1 in place of 127.0.0.1."""
    return lambda address, **more: maker(("::1", address[1]), family=socket.AF_INET6, **more)


def test_mail(make_server, monkeypatch):
    monkeypatch.setattr(socket, "create_server", at_ipv6(socket.create_server))
    relay = test_cert_mail.Relay()
    relay.address = f"[::1]:{relay.socket.getsockname()[1]}"
    try:
        server = make_server(settings=test_cert_mail.settings(relay))
        assert server.ctl_run("cert", "mail-test").returncode == 0
        assert len(test_cert_mail.mails(relay, 1)) == 1
    finally:
        relay.close()


def test_ocsp(make_server, tmp_path, monkeypatch):
    port, = free_ports(1)
    authority = test_cert_ocsp.Authority(tmp_path, port)
    authority.url = f"http://[::1]:{port}/ocsp"
    tls = authority.issue()
    monkeypatch.setattr(socket, "create_server", at_ipv6(socket.create_server))
    responder = test_cert_ocsp.Responder(port, authority.answer(-1, 24))
    try:
        server = make_server(tls=tls, settings={"ocsp.allow-local": True})
        assert test_cert_ocsp.answered(server)["responder"] == authority.url
        until("it is shown", lambda: test_cert_ocsp.shown(server.tls_port) == "good")
    finally:
        responder.close()


def test_lists_of_revoked_certificates(make_server, tmp_path, monkeypatch):
    monkeypatch.setattr(http.server.ThreadingHTTPServer, "address_family", socket.AF_INET6)
    monkeypatch.setattr(test_revocation, "LOOPBACK", "::1")
    issuer, web = test_s2s_trust.Issuer(tmp_path), test_revocation.Web()
    try:
        node = test_revocation.start(make_server, issuer)
        cert = issuer.make("evil", test_s2s_trust.dns(test_s2s_trust.EVIL),
                           [test_revocation.point(web.url)])
        assert not test_revocation.accepted(node, cert, web, test_revocation.crl(issuer, cert[1]))
        assert len(web.asked) == 1
    finally:
        web.close()


def first_bytes(listener):
    listener.settimeout(TIMEOUT)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(TIMEOUT)
        return connection.recv(10)


def test_webhook(make_server):
    server = make_server(settings={"webhook.allow-local": "on"})
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        server.ctl("webhook", "add", f"http://[::1]:{listener.getsockname()[1]}/",
                   "--events", "setting.changed")
        server.ctl("set", "sm.hibernate-time", "31s")
        assert first_bytes(listener).startswith(b"POST / ")


def test_syslog(make_server):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        server = make_server(settings={"syslog.server": f"tcp:[::1]:{port}", "audit.syslog": "on"})
        server.ctl("set", "sm.hibernate-time", "31s")
        assert re.match(rb"\d+ <\d", first_bytes(listener))


def test_syslog_over_udp(make_server):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("::1", 0))
        receiver.settimeout(TIMEOUT)
        port = receiver.getsockname()[1]
        server = make_server(settings={"syslog.server": f"udp:[::1]:{port}", "audit.syslog": "on"})
        server.ctl("set", "sm.hibernate-time", "31s")
        assert re.match(rb"<\d+>1 ", receiver.recv(2000))


@test_alarm_snmp.pytestmark
def test_snmp(make_server, tmp_path):
    manager = test_alarm_snmp.Manager(tmp_path / "manager", at="::1")
    try:
        server = make_server(settings={"snmp.version": "v2c", "snmp.community": "hush",
                                       "snmp.receiver": "::1"})
        server.ctl("set", "snmp.port", manager.port)
        server.ctl("set", "alarm.snmp", "warning")
        assert test_alarm_snmp.result_of(server)["works"], server.log()
        assert until("the test", lambda: manager.got(musterAlarmName="test"))
    finally:
        manager.end()


@one_node
def test_musterctl(make_server, tmp_path):
    issuer = test_s2s_trust.Issuer(tmp_path)
    names = [*test_s2s_trust.dns("localhost"), x509.IPAddress(ipaddress.IPv6Address("::1"))]
    server = make_server(start=False, tls=issuer.make("six", names)[0])
    port, = free_ports(1)
    server.conf["listen"]["https_admin"] = [f"[::1]:{port}"]
    server.start()
    remote = test_ctl_remote.Remote(server, port, tmp_path)
    remote.url, remote.ca = f"https://[::1]:{port}/", issuer.file
    done = remote("status")
    assert done.returncode == 0 and "sessions" in done.stdout, done


@one_node
def test_doctor_looks_at_listeners(make_server):
    server = make_server(start=False)
    port, = free_ports(1)
    server.conf["listen"]["metrics"] = [f"[::1]:{port}"]
    server.start()
    _, rows = test_doctor.doctor(server)
    assert any(f"[::1]:{port}: it answers" in r["found"]
               for r in test_doctor.of(rows, "ports", "ok")), rows


@pytest.mark.sqlite
@one_node
@pytest.mark.skipif(not (database.programs() / "initdb").exists(), reason="no PostgreSQL")
def test_postgresql(make_server):
    """The database of a server is copied there, renames an account, and is used."""
    port, = free_ports(1)
    own = database.PostgreSQL(tempfile.mkdtemp(prefix="muster-six."))
    own.OPTIONS = (*(o for o in own.OPTIONS if not o.startswith("listen")),
                   "listen_addresses=::1", f"port={port}")
    own.url = lambda name: f"postgresql://muster@[::1]:{port}/{name}"
    try:
        own.create()
        database.psql(own.url("postgres"), "CREATE DATABASE muster TEMPLATE template0")
        server = make_server("alice")
        server.stop()
        done = test_copy.copy(server, own.url("muster"))
        assert done.returncode == 0, done.stderr
        server.conf["database"] = own.url("muster")
        server.write()
        done = test_rename.rename(server, "alice@localhost", "alicia@localhost")
        assert done.returncode == 0, done.stderr
        server.start()
        server.client("alicia").ping()
        server.stop()
    finally:
        own.finish()
