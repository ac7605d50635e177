"""SOCKS5 bytestreams (XEP-0065): the proxy, with sockets of its clients."""
import asyncio
import hashlib
import os
import socket
import threading
import time

import pytest

from harness import nodes, xml
from harness.client import TIMEOUT, until
from harness.component import Component
from harness.slix import Slix

BYTESTREAMS = "http://jabber.org/protocol/bytestreams"
AT = "proxy.localhost"


@pytest.fixture
def node(make_server):
    return make_server("alice", "bob", proxy65=True)


@pytest.fixture
def alice(node):
    return node.client("alice", "a")


@pytest.fixture
def bob(node):
    return node.client("bob", "b")


def address(sid, initiator, target):
    return hashlib.sha1(f"{sid}{initiator}{target}".encode()).hexdigest()


class Side:
    """One connection to the proxy: of two nodes, at the home of its address, which answers."""

    def __init__(self, node, receive_buffer=None, at=AT):
        self.sock = socket.socket()
        self.sock.settimeout(TIMEOUT)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(("127.0.0.1", node.port_at(nodes.home(at), "proxy65")))

    def greet(self, methods=b"\x00"):
        self.sock.sendall(bytes([5, len(methods)]) + methods)
        return self.read(2)

    def request(self, host, command=1, port=0):
        name = host.encode()
        self.sock.sendall(bytes([5, command, 0, 3, len(name)]) + name + port.to_bytes(2, "big"))
        head = self.read(5)
        assert head[0] == 5 and head[2:4] == b"\x00\x03"
        assert self.read(head[4] + 2) == (name if head[4] else b"") + port.to_bytes(2, "big")
        return head[1]

    def join(self, host):
        assert self.greet() == b"\x05\x00"
        assert self.request(host) == 0
        return self

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            assert more, f"the proxy closed after {len(data)} of {count} bytes"
            data += more
        return data

    def closed(self):
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True


def activate(sid, target):
    return f"<query xmlns='{BYTESTREAMS}' sid='{sid}'><activate>{target}</activate></query>"


def pair(node, alice, bob, sid="s1", at=AT, **options):
    host = address(sid, alice, bob)
    target, initiator = Side(node, at=at, **options).join(host), Side(node, at=at).join(host)
    alice.result("set", activate(sid, bob), to=at)
    return initiator, target


def test_the_proxy_is_found(node, alice):
    items = alice.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to="localhost")
    assert AT in {i.get("jid") for i in items}
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=AT)
    assert (info[0].get("category"), info[0].get("type")) == ("proxy", "bytestreams")
    assert BYTESTREAMS in {f.get("var") for f in info}
    at_home = node.port_at(nodes.home(AT), "proxy65")
    host, = alice.result("get", f"<query xmlns='{BYTESTREAMS}'/>", to=AT)
    assert dict(host.attrib) == {"jid": AT, "host": "localhost", "port": str(at_home)}
    node.ctl("set", "proxy65.host", "files.example")
    node.ctl("set", "proxy65.port", "7777")
    host, = alice.result("get", f"<query xmlns='{BYTESTREAMS}'/>", to=AT)
    assert (host.get("host"), host.get("port")) == ("files.example", "7777")


def test_without_a_listener_there_is_none(server):
    alice = server.client("alice")
    items = alice.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to="localhost")
    assert AT not in {i.get("jid") for i in items}
    reply = alice.error("get", f"<query xmlns='{BYTESTREAMS}'/>", to=AT)
    assert reply[0] == "remote-server-not-found"


@pytest.mark.parametrize("sid", [f"sid-{n}" for n in range(4)])
def test_bytes_go_both_ways(node, alice, bob, sid):
    """Whichever workers accept the two, and whichever the hash chooses."""
    initiator, target = pair(node, alice, bob, sid)
    initiator.sock.sendall(b"to the target")
    assert target.read(13) == b"to the target"
    target.sock.sendall(b"and back")
    assert initiator.read(8) == b"and back"
    data = os.urandom(3 << 20)
    sender = threading.Thread(target=lambda: (initiator.sock.sendall(data),
                                              initiator.sock.shutdown(socket.SHUT_WR)))
    sender.start()
    assert target.read(len(data)) == data
    assert target.closed() and initiator.closed()
    sender.join()
    node.wait_log("bytestream.ended")
    until("no connection", lambda: gauge(node, "muster_proxy65_connections") == 0)


def test_each_domain_has_a_proxy(make_server):
    """Of two nodes, each has those whose home it is."""
    node = make_server("alice", "bob", proxy65=True, domains=["localhost", "d0.test"])
    alice, bob = node.client("alice", "a"), node.client("bob", "b")
    for n, at in enumerate((AT, "proxy.d0.test")):
        assert nodes.home(at) == (nodes.COUNT - 1) * (1 - n)
        host, = alice.result("get", f"<query xmlns='{BYTESTREAMS}'/>", to=at)
        assert host.get("port") == str(node.port_at(nodes.home(at), "proxy65"))
        initiator, target = pair(node, alice, bob, at=at)
        initiator.sock.sendall(b"to the target")
        assert target.read(13) == b"to the target"
        initiator.sock.close()
        assert target.closed()
        until("no connection", lambda: gauge(node, "muster_proxy65_connections") == 0)


def gauge(node, name):
    return next(int(r["value"]) for r in node.rows("metrics") if r["name"] == name)


def test_what_comes_before_the_activation_waits(node, alice, bob):
    host = address("s", alice, bob)
    target, initiator = Side(node).join(host), Side(node).join(host)
    initiator.sock.sendall(b"early")
    alice.result("set", activate("s", bob), to=AT)
    assert target.read(5) == b"early"


def test_activations_that_are_wrong(node, alice, bob):
    host = address("s", alice, bob)
    assert alice.error("set", activate("s", bob), to=AT)[0] == "item-not-found"
    target = Side(node).join(host)
    assert alice.error("set", activate("s", bob), to=AT)[0] == "not-allowed"
    initiator = Side(node).join(host)
    assert bob.error("set", activate("s", alice), to=AT)[0] == "item-not-found"
    assert alice.error("set", activate("other", bob), to=AT)[0] == "item-not-found"
    assert alice.error("set", activate("", bob), to=AT)[0] == "bad-request"
    assert alice.error("set", activate("x" * 128, bob), to=AT)[0] == "bad-request"
    assert alice.error("set", activate("s", "a@b@c@"), to=AT)[0] == "jid-malformed"
    assert alice.error("set", f"<query xmlns='{BYTESTREAMS}' sid='s'/>", to=AT)[0] == "bad-request"
    alice.result("set", activate("s", bob), to=AT)
    assert alice.error("set", activate("s", bob), to=AT)[0] == "not-allowed"
    initiator.sock.sendall(b"x")
    assert target.read(1) == b"x"


def test_a_third_connection_is_refused(node, alice, bob):
    host = address("s", alice, bob)
    sides = [Side(node).join(host) for _ in range(2)]
    third = Side(node)
    third.greet()
    assert third.request(host) == 2 and third.closed()
    alice.result("set", activate("s", bob), to=AT)
    third = Side(node)
    third.greet()
    assert third.request(host) == 2 and third.closed()
    sides[0].sock.sendall(b"x")
    assert sides[1].read(1) == b"x"


def test_handshakes_that_are_wrong(node):
    host = "a" * 40
    side = Side(node)
    side.sock.sendall(b"\x04\x01\x00\x00")
    assert side.closed()
    side = Side(node)
    assert side.greet(b"\x02") == b"\x05\xff" and side.closed()
    for name, command, code in ((host, 2, 7), (host, 3, 7), ("no hash", 1, 2), ("G" * 40, 1, 2)):
        side = Side(node)
        side.greet()
        assert side.request(name, command) == code and side.closed()
    side = Side(node)
    side.greet()
    side.sock.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50")
    assert side.read(2) == b"\x05\x08" and side.closed()
    side = Side(node)
    side.greet()
    side.sock.sendall(b"\x05\x01\x00\x09\x7f\x00")
    assert side.closed()
    slow = Side(node)
    for byte in b"\x05\x02\x01\x00" + b"\x05\x01\x00\x03\x28" + host.encode() + b"\x00":
        slow.sock.sendall(bytes([byte]))
    slow.sock.sendall(b"\x07")
    assert slow.read(2) == b"\x05\x00"
    assert slow.read(5)[1] == 0 and slow.read(42) == host.encode() + b"\x00\x07"


def test_nobody_waits_for_ever(node, alice, bob):
    node.ctl("set", "proxy65.wait-time", "1s")
    assert Side(node).join(address("s", alice, bob)).closed()
    node.ctl("set", "proxy65.wait-time", "60s")
    node.ctl("set", "proxy65.idle-time", "1s")
    initiator, target = pair(node, alice, bob)
    assert initiator.closed() and target.closed()


def test_connections_are_limited(node, alice, bob):
    node.ctl("set", "proxy65.connections-max", "2")
    initiator, target = pair(node, alice, bob)
    assert Side(node).closed()
    initiator.sock.sendall(b"x")
    assert target.read(1) == b"x"


def test_connections_of_one_address_are_limited(node, alice, bob):
    node.ctl("set", "proxy65.connections-per-address", "2")
    initiator, target = pair(node, alice, bob)
    third = Side(node)
    third.sock.sendall(b"\x05\x01\x00")
    assert third.closed()
    initiator.sock.close()
    assert target.closed()
    until("room", lambda: gauge(node, "muster_proxy65_connections") == 0)
    Side(node).join("c" * 40)


def test_who_reads_slowly_holds_the_other(node, alice, bob):
    initiator, target = pair(node, alice, bob, receive_buffer=4096)
    before = node.status_kib()
    initiator.sock.setblocking(False)
    chunk, sent, deadline = b"z" * 65536, 0, time.monotonic() + TIMEOUT
    stuck = 0
    while stuck < 20 and time.monotonic() < deadline:
        try:
            sent += initiator.sock.send(chunk)
            stuck = 0
        except BlockingIOError:
            stuck += 1
            alice.ping()  # the node has had time to take more
    assert stuck == 20, f"{sent} bytes were taken, and more would be"
    assert node.status_kib() - before < 8192
    initiator.sock.settimeout(TIMEOUT)
    closer = threading.Thread(target=initiator.sock.close)
    reader = target.read(sent)
    closer.start()
    assert reader == b"z" * sent
    closer.join()
    assert target.closed()


def test_the_rate_is_kept(node, alice, bob):
    node.ctl("set", "proxy65.rate", "100KiB")
    initiator, target = pair(node, alice, bob)
    data = os.urandom(200 << 10)
    began = time.monotonic()
    sender = threading.Thread(target=initiator.sock.sendall, args=(data,))
    sender.start()
    assert target.read(len(data)) == data
    assert time.monotonic() - began > 0.7  # one second's worth goes at once
    sender.join()


def test_only_users_of_this_server(make_server):
    server = make_server("alice", proxy65=True, component=True)
    server.ctl("component", "add", "svc.example", "--secret", "a rather long secret")
    gate = Component(server, "svc.example", "a rather long secret")
    gate.send(f"<iq type='get' id='1' from='x@svc.example' to='{AT}'>"
              f"<query xmlns='{BYTESTREAMS}'/></iq>")
    gate.expect("<iq type='error' id='1'><error><forbidden "
                "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
    gate.send(f"<iq type='set' id='2' from='x@svc.example' to='{AT}'>"
              f"{activate('s', 'alice@localhost/a')}</iq>")
    gate.expect("<iq type='error' id='2'><error><forbidden "
                "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")


def test_the_node_stops_with_bytestreams(node, alice, bob):
    initiator, target = pair(node, alice, bob)
    waiting = Side(node).join("b" * 40)
    node.stop()
    assert initiator.closed() and target.closed() and waiting.closed()


async def test_slixmpp(node):
    """Two clients of slixmpp find the proxy, shake hands and speak."""
    node.ctl("set", "proxy65.host", "127.0.0.1")

    loop = asyncio.get_running_loop()
    alice, bob = Slix(node, "alice"), Slix(node, "bob")
    for client in (alice, bob):
        client.register_plugin("xep_0065", {"auto_accept": True})
        await client.login()
    heard = loop.create_future()
    bob.add_event_handler("socks5_data", heard.set_result)
    stream = await asyncio.wait_for(alice["xep_0065"].handshake(bob.boundjid, sid="slix"),
                                    TIMEOUT)
    await stream.write(b"over the proxy")
    assert await asyncio.wait_for(heard, TIMEOUT) == b"over the proxy"
    for client in (alice, bob):
        client["xep_0065"].get_socket("slix").transport.close()
        await client.disconnect()
