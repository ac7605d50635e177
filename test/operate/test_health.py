"""What load balancers and systemd ask: /healthz, /readyz and the watchdog; and over which
connections the API is there."""
import contextlib
import http.client
import os
import socket
import ssl
import threading

import pytest

from harness import database
from harness.client import TIMEOUT, until
from harness.server import free_ports
from surface.test_api import Api, api_server
from rooms.test_archive import alarms


def get(port, path, **headers):
    """Status and text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_the_watchdog_of_systemd_is_fed(make_server, monkeypatch):
    """Once a second, while all workers turn (src/admin/health_test.c: and not else)."""
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    server = make_server()
    notify = server.folder / "notify.sock"
    notify.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(TIMEOUT)
        listener.bind(str(notify))
        assert [listener.recv(100) for _ in range(2)] == [b"WATCHDOG=1"] * 2


def test_nobody_asks_for_the_watchdog(make_server, monkeypatch):
    """Its process id is that of another: the variables are for the parent."""
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    server = make_server()
    notify = server.folder / "notify.sock"
    notify.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(notify))
        listener.settimeout(3)
        with pytest.raises(TimeoutError):
            listener.recv(100)


def test_not_ready_while_it_ends(make_server):
    """A load balancer sends no more clients, while those that are there end; it is alive."""
    server = api_server(make_server)
    seen, port, stopped = set(), server.api.port, threading.Event()
    assert get(port, "/readyz") == (200, "ok\n")

    def ask():
        with contextlib.suppress(OSError):
            while not stopped.is_set():  # the port may be that of another server by then
                seen.add(get(port, "/readyz"))

    asking = threading.Thread(target=ask)
    asking.start()
    server.stop()
    stopped.set()
    asking.join()
    assert seen <= {(200, "ok\n"), (503, "it does not let clients in yet, or no longer\n")}


def test_not_ready_while_the_database_is_away(make_server):
    """But alive: a restart would not help."""
    if not database.POSTGRESQL:
        pytest.skip("of a database server")
    server = api_server(make_server)
    port = server.api.port
    base = database.url_of(database.shared(), "postgres")
    database.psql(base, f"ALTER DATABASE {server.owned} ALLOW_CONNECTIONS false")
    database.psql(base, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        f"WHERE datname = '{server.owned}'")
    until("the API says so", lambda: server.api("GET", "/users").status == 503)
    until("not ready", lambda: get(port, "/readyz") == (503, "the database is away\n"))
    assert get(port, "/healthz") == (200, "ok\n")
    database.psql(base, f"ALTER DATABASE {server.owned} ALLOW_CONNECTIONS true")
    until("ready again", lambda: server.api("GET", "/users").status == 200
          and get(port, "/readyz") == (200, "ok\n"))


@pytest.mark.sqlite
def test_not_ready_while_the_database_is_silent(make_server):
    """It takes what it is asked and does not answer, and nobody writes."""
    with database.private() as cluster:
        server = api_server(make_server, conf={"database": cluster.url("postgres")})
        port = server.api.port
        cluster.freeze()
        try:
            assert server.api("GET", "/users").status == 503
            assert get(port, "/readyz")[0] == 503
            until("the alarm", lambda: "store.down" in alarms(server), 2 * TIMEOUT)
            assert get(port, "/readyz") == (503, "the database is away\n")
        finally:
            cluster.go_on()
        until("ready again", lambda: get(port, "/readyz") == (200, "ok\n"), 2 * TIMEOUT)
        assert server.api("GET", "/users").status == 200
        server.stop()


def test_a_token_does_not_travel_without_tls(make_server):
    """A proxy says who asks and whether they use TLS; nobody else is believed."""
    server = api_server(make_server)
    server.ctl("set", "http.trusted-proxies", "127.0.0.1")
    here = {"Authorization": f"Bearer {server.api.token}"}
    away = {**here, "X_Forwarded_For": "192.0.2.9"}

    def status(**headers):
        return get(server.api.port, "/api/v1/status", **headers)[0]

    until("it applies", lambda: status(**away) == 403)
    assert status(**here) == 200 and status(**away, X_Forwarded_Proto="http") == 403
    assert status(**away, X_Forwarded_Proto="https") == 200
    server.ctl("set", "http.trusted-proxies", "")
    until("its fields count for nothing", lambda: status(**away) == 200)
    server.ctl("set", "http.trusted-proxies", "127.0.0.1")
    until("it applies", lambda: status(**away) == 403)
    server.ctl("set", "api.tls-required", "off")
    until("it applies", lambda: status(**away) == 200)


def test_https_admin(make_server):
    """It speaks nothing but TLS, with the certificate of the server, and has all that http_admin
    has."""
    port = free_ports(1)[0]
    server = make_server(start=False)
    server.conf["listen"]["https_admin"] = [f"127.0.0.1:{port}"]
    server.start()
    token = server.rows("token", "add", "tests", "administrator")[0]["token"]
    here = ssl.create_default_context(cafile=server.data / "self-signed-cert.pem")
    for path, wanted in (("/api/v1/status", '"version"'), ("/metrics", "muster_"),
                         ("/healthz", "ok\n"), ("/readyz", "ok\n")):
        connection = http.client.HTTPSConnection("localhost", port, timeout=TIMEOUT, context=here)
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        assert answer.status == 200 and wanted in answer.read().decode(), path
        connection.close()
    with pytest.raises((http.client.HTTPException, OSError)):
        get(port, "/healthz")
    assert Api(server.http_port)("GET", "/healthz", root="").status == 404
