"""Clients that send many small requests with large answers and read nothing, at each listener that
takes requests one after another: none answers a further request while output waits, so memory stays
bounded, and all are answered as soon as the client reads (architecture §15)."""
import contextlib
import json
import socket
import threading
import time

import pytest

from harness import federation, xml
from harness.bosh import Bosh
from harness.client import TIMEOUT
from harness.component import Component
from harness.control import Control
from harness.server import free_ports
from harness.websocket import WebSocket, frame
from surface.test_api import Api

pytestmark = pytest.mark.release  # under a sanitizer, memory is not that of the product
GROWTH_KIB = 24 << 10  # of the whole process, on any listener
ANSWERED_KIB = 32 << 10  # all answers together are more, or the memory would say nothing
STEADY = 5  # looks in a row that see no change
DOMAIN, OTHER, GATE, SECRET = "localhost", "other.test", "gate.test", "secret of a component"
INFO = f"<query xmlns='{xml.DISCO_INFO}'/>"  # answered with about 4 KiB
OK, REPLY = b"HTTP/1.1 200 ", b'{"ok":'


class Flood:
    """Requests on one connection. `mark` is in each answer once."""

    def __init__(self, client, requests, mark, count=None):
        self.client, self.sock = client, client.sock  # the client lives as long
        self.requests, self.mark, self.count = requests, mark, count or len(requests)
        self.sent = 0
        self.bodies, self.last = 0, b""  # of BOSH, that came as answers
        self.thread = threading.Thread(target=self._send, daemon=True)
        self.thread.start()

    def _send(self):
        with contextlib.suppress(OSError):  # it was closed: read() finds too few
            for request in self.requests:
                self.sock.sendall(request)
                self.sent += 1

    def _piece(self, deadline):
        """Over BOSH an answer needs a request that waits for it: there is always one more."""
        more = getattr(self.client, "more", None)
        self.sock.settimeout(0.2 if more else TIMEOUT)
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                piece = self.sock.recv(1 << 20)
                self.bodies += (self.last + piece).count(b"</body>")
                self.last = piece[-6:]
                return piece
            if more and self.bodies == self.sent and not self.thread.is_alive():
                self.sock.sendall(more())
                self.sent += 1
        return b""

    def read(self):
        """(answers, bytes), up to the last answer or the end of the connection."""
        found, size, rest = 0, 0, b""
        deadline = time.monotonic() + TIMEOUT
        while found < self.count and (piece := self._piece(deadline)):
            found += (rest + piece).count(self.mark)
            rest = (rest + piece)[1 - len(self.mark):]
            size += len(piece)
        return found, size


class Http:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.sock.settimeout(None)


def get(port, path, count, *fields):
    text = "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *fields, "", ""])
    return Flood(Http(port), [text.encode()] * count, OK)


def bearer(server):
    return f"Authorization: Bearer {server.api.token}"


def iqs(attributes=f" to='{DOMAIN}'"):
    return [f"<iq type='get' id='r{n}'{attributes}>{INFO}</iq>" for n in range(16_000)]


def streamed(client, *attributes):
    return Flood(client, [iq.encode() for iq in iqs(*attributes)], b"</query>")


def console(server):
    """Open to everybody, before a login."""
    return get(server.api.port, "/admin/app.js", 600)


def api_description(server):
    return get(server.api.port, "/api/v1/openapi.json", 40, bearer(server))


def api_page(server):
    return get(server.api.port, "/api/v1/", 40, bearer(server))


def api_list(server):
    return get(server.api.port, "/api/v1/settings", 800, bearer(server))


def public_file(server):
    folder = server.folder / "chat"
    folder.mkdir()
    (folder / "index.html").write_text("<!DOCTYPE html>")
    (folder / "client.js").write_text("x" * 500_000)
    server.ctl("set", "web.chat-files", folder)
    return get(server.http_port, "/chat/client.js", 600)


def clear_stream(server):
    return streamed(server.login("alice", tls="none"))


def tls_stream(server):
    return streamed(server.login("alice"))


def joined(server, client):
    server.clients.append(client)
    client.open()
    return client.login()


def websocket(server):
    client = joined(server, WebSocket(("127.0.0.1", server.http_port), name="alice"))
    return Flood(client, [frame(iq) for iq in iqs(f" to='{DOMAIN}' xmlns='{xml.CLIENT}'")],
                 b"</query>")


def cards(server, namespace=""):
    """Requests that the database and the worker of another account answer."""
    server.add_user("bob")
    bob = server.login("bob")
    bob.result("set", f"<vCard xmlns='vcard-temp'><DESC>{'x' * 50_000}</DESC></vCard>")
    card = "<vCard xmlns='vcard-temp'/>"
    return [f"<iq type='get' id='r{n}' to='bob@{DOMAIN}'{namespace}>{card}</iq>"
            for n in range(700)]


def cards_on_a_stream(server):
    asked = [iq.encode() for iq in cards(server)]
    return Flood(server.login("alice"), asked, b"</vCard>")


def cards_over_websocket(server):
    asked = cards(server, f" xmlns='{xml.CLIENT}'")
    client = joined(server, WebSocket(("127.0.0.1", server.http_port), name="alice"))
    return Flood(client, [frame(iq) for iq in asked], b"</vCard>")


def bosh(server):
    client = joined(server, Bosh(("127.0.0.1", server.bosh_port), name="alice"))
    http, asked = Http(server.bosh_port), iqs(f" to='{DOMAIN}' xmlns='{xml.CLIENT}'")
    http.session = client
    http.more = lambda: client.http(client.body("")[1])
    return Flood(http, [client.http(client.body(one)[1]) for one in asked], b"</query>")


def component(server):
    server.ctl("component", "add", GATE, "--secret", SECRET)
    return streamed(Component(server, GATE, SECRET), f" from='{GATE}' to='{DOMAIN}'")


def server_stream(server):
    """Answers go back on the stream that the other server has made (XEP-0288). Those that find the
    queue of its domain full are dropped, so it gets some of them."""
    peer = federation.Peer(server, OTHER, DOMAIN, server.authority.issue("other", OTHER)).secure()
    peer.raw("<bidi xmlns='urn:xmpp:bidi'/>")
    assert peer.external() is None
    peer.header().features_come()
    peer.iq("get", "<ping xmlns='urn:xmpp:ping'/>", DOMAIN, **{"from": f"x@{OTHER}"})
    flood = streamed(peer, f" from='x@{OTHER}' to='{DOMAIN}'")
    flood.count = None
    return flood


def commands(server):
    line = json.dumps({"command": "metrics", "args": {}}).encode() + b"\n"
    return Flood(Control(server), [line] * 2000, REPLY)


def wrong_commands(server):
    return Flood(Control(server), [b"\n" * 1000] * 300, REPLY, 300_000)


LISTENERS = [console, api_description, api_page, api_list, public_file, clear_stream, tls_stream,
             websocket, cards_on_a_stream, cards_over_websocket, bosh, component, server_stream,
             commands, wrong_commands]


def metric(server, name):
    return next(row["value"] for row in server.rows("metrics") if row["name"] == name)


def until_steady(server, flood):
    """The server does nothing more for the connection."""
    seen, same = None, 0
    while same < STEADY:
        now = flood.sent, metric(server, "muster_io_output_bytes"), server.status_kib()
        same = same + 1 if now == seen else 0
        seen = now


@pytest.fixture
def server(make_server, tmp_path):
    authority = federation.Authority(tmp_path)
    tls = {**authority.issue("ours", DOMAIN), "trust": str(authority.file)}
    rates = ("c2s.stanza-rate", "c2s.byte-rate", "federation.stanza-rate", "http.request-rate",
             "http.requests-per-connection", "api.requests-per-token", "api.requests-per-address")
    server = make_server(start=False, component=True, s2s=True, tls=tls, why="a flood in seconds",
                         settings={**dict.fromkeys(rates, "none"), "c2s.tls-required": "off",
                                   **federation.settings()})
    port, = free_ports(1)
    server.conf["listen"]["http_admin"] = [f"127.0.0.1:{port}"]
    server.start()
    server.api = Api(port, server.rows("token", "add", "tests", "administrator")[0]["token"])
    server.authority = authority
    server.add_user("alice")
    return server


@pytest.mark.parametrize("listener", LISTENERS, ids=lambda listener: listener.__name__)
def test_memory_is_bounded_and_all_is_answered(server, listener):
    before = server.status_kib()
    flood = listener(server)
    until_steady(server, flood)
    found, size = flood.read() if flood.count else (None, ANSWERED_KIB << 10)
    grown = server.status_kib("VmHWM") - before
    assert found == flood.count and grown < GROWTH_KIB, (found, size, grown)
    assert size >= ANSWERED_KIB << 10, size
    print(f"{listener.__name__}: {size >> 10} KiB of answers, {grown} KiB of memory")
