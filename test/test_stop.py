"""An orderly stop while many streams of all transports send: the server ends in time, and all that
it acknowledged is stored."""
import concurrent.futures
import os

from muster import xml
from muster.bosh import Bosh
from muster.client import Gone
from muster.websocket import WebSocket

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
