"""An orderly stop while many streams of all transports send: the server ends in time, and all that
it acknowledged is stored."""
import concurrent.futures
import contextlib
import os
import signal
import socket
import threading

import pytest

from harness import xml
from harness.bosh import Bosh
from harness.client import Gone, until
from harness.websocket import WebSocket

STREAMS = int(os.environ.get("MUSTER_STREAMS", "60"))
PER_ACCOUNT, EACH = 30, 20


def dial(server, i):
    """Nine of twelve over TCP, two over WebSocket, one over BOSH."""
    name, resource = f"u{i // PER_ACCOUNT}", f"r{i}"
    if i % 12 < 9:
        return server.login(name, resource)
    kind = WebSocket if i % 12 < 11 else Bosh
    client = kind(("127.0.0.1", server.https_port), "localhost", name, tls=True)
    server.clients.append(client)
    client.open()
    return client.login("PLAIN", resource)


def load(client, to):
    """Sends without waiting for anything, until the stream ends."""
    try:
        for i in range(EACH):
            client.send(f"<message to='{to}' type='chat'><body>{i}</body></message>")
            if client.sm_id:
                client.raw(f"<r xmlns='{xml.SM}'/>")
    except (Gone, OSError):
        pass


def read_to_the_end(client):
    try:
        while True:
            client.next()
    except (Gone, OSError):
        pass


def test_stop_while_many_streams_send(make_server):
    accounts = (STREAMS - 1) // PER_ACCOUNT + 1
    server = make_server(*[f"u{i}" for i in range(accounts)], *[f"s{i}" for i in range(accounts)])
    clients = [dial(server, i) for i in range(STREAMS)]
    streams = [c for c in clients if not isinstance(c, (Bosh, WebSocket))]
    for client in streams:
        client.enable_sm()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sending = [pool.submit(load, c, f"s{i // PER_ACCOUNT}@localhost")
                   for i, c in enumerate(clients)]
        concurrent.futures.wait(sending[:STREAMS // 2])
        server.stop()
    for client in streams:
        read_to_the_end(client)
    acknowledged = sum(c.acked for c in streams)
    for client in clients:
        client.cut()
    server.start()
    with server.database() as db:
        stored, = db.execute("SELECT count(*) FROM message WHERE rcpt_entry <> 0").fetchone()
    assert 0 < acknowledged <= stored


def starts(server):
    return server.log().count("server.ready")


def threads(server):
    return len(os.listdir(f"/proc/{server.process.pid}/task"))


# From the command to the start after it, which has one thread for a while.
MOMENTS = {
    "scheduled": lambda server: "server.end-scheduled" in server.log(),
    "stopping": lambda server: "server.stopping" in server.log(),
    "between": lambda server: threads(server) == 1 or starts(server) == 2,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_during_a_planned_restart_ends_in_order(make_server, moment):
    """As `systemctl stop` sends it: the process neither goes on nor fails."""
    server = make_server("alice")
    server.login("alice").enable_sm()
    server.ctl("server", "restart")
    until(moment, lambda: MOMENTS[moment](server))
    server.stop()
    assert "without waiting" not in server.log()
    assert moment == "between" or starts(server) == 1


@pytest.mark.parametrize("moment", ["stopping", "between"])
def test_a_reload_during_a_planned_restart(make_server, moment):
    """It waits until the server has started again."""
    server = make_server()
    server.ctl("server", "restart")
    until(moment, lambda: MOMENTS[moment](server))
    server.signal(signal.SIGHUP)
    until("another start", lambda: starts(server) == 2)
    server.wait_log("server.reloaded")


def test_clients_of_the_control_socket_that_stay(server):
    """They wait for answers while the server stops, and never end their side."""
    line = b'{"command":"server reload","args":{}}\n'
    clients = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    for client in clients:
        client.connect(str(server.control))
        client.sendall(30 * line)
    clients[0].recv(1)
    server.stop()
    for client in clients:
        client.close()


def ask(server, stopping):
    """One connection after the other, until the server takes none; returns the last answers."""
    answers = []
    with contextlib.suppress(OSError):
        while True:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(server.control))
                client.settimeout(20)
                client.sendall(b'{"command":"server reload","args":{}}\n')
                answers.append((stopping.is_set(), client.recv(4096)))
    return answers


def test_a_reload_is_answered_or_refused_while_the_server_ends(server):
    """Whenever it comes: main takes no reloads from the moment it stops."""
    stopping = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, server, stopping) for _ in range(8)]
        until("reloads", lambda: server.log().count("server.reloaded") > 3)
        stopping.set()
        server.stop()
        late = [answer for a in asked for was, answer in a.result() if was and answer]
    assert all(b'"ok":true' in answer or b"the server ends" in answer for answer in late)
