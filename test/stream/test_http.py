"""The HTTP server, by what is served by it: discovery (XEP-0156), limits, order, safety."""
import http.client
import json
import re
import socket
import ssl
import threading
import time
import xml.etree.ElementTree as ET

import pytest

from harness.client import TIMEOUT, insecure_context
from harness.server import refusal

XRD = "{http://docs.oasis-open.org/ns/xri/xrd-1.0}"
META = "/.well-known/host-meta"


def get(server, path=META, tls=False, method="GET", headers=None):
    if tls:
        connection = http.client.HTTPSConnection("127.0.0.1", server.https_port, timeout=TIMEOUT,
                                                 context=insecure_context())
    else:
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=TIMEOUT)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    answer.text = answer.read().decode()
    connection.close()
    return answer


def raw(server, data, port=None):
    """Everything that the server sends until it closes."""
    with socket.create_connection(("127.0.0.1", port or server.http_port), 10) as sock:
        sock.sendall(data)
        got = b""
        while True:
            piece = sock.recv(65536)
            if not piece:
                return got
            got += piece


@pytest.mark.parametrize("tls", [False, True])
def test_host_meta(server, tls):
    answer = get(server, tls=tls, headers={"Host": "chat.example:5443"})
    assert answer.status == 200
    assert answer.getheader("Content-Type").startswith("application/xrd+xml")
    links = {link.get("rel"): link.get("href") for link in ET.fromstring(answer.text)}
    s = "s" if tls else ""
    assert links["urn:xmpp:alt-connections:websocket"] == \
        f"ws{s}://chat.example:5443/xmpp-websocket"
    answer = get(server, META + ".json", tls=tls, headers={"Host": "chat.example"})
    links = {link["rel"]: link["href"] for link in json.loads(answer.text)["links"]}
    assert links["urn:xmpp:alt-connections:websocket"] == f"ws{s}://chat.example/xmpp-websocket"


def test_host_meta_with_a_base_url(server):
    server.ctl("set", "http.base-url", "https://chat.example/")
    assert "wss://chat.example/xmpp-websocket" in get(server).text


def test_cors(server):
    origin = {"Origin": "https://web.example"}
    assert get(server, headers=origin).getheader("Access-Control-Allow-Origin") == "*"
    server.ctl("set", "http.cors-origins", "https://other.example, https://web.example")
    answer = get(server, headers=origin)
    assert answer.getheader("Access-Control-Allow-Origin") == "https://web.example"
    assert answer.getheader("Vary") == "Origin"
    server.ctl("set", "http.cors-origins", "https://other.example")
    assert get(server, headers=origin).getheader("Access-Control-Allow-Origin") is None
    answer = get(server, method="OPTIONS",
                 headers={"Origin": "https://other.example",
                          "Access-Control-Request-Method": "GET"})
    assert answer.status == 204
    assert "GET" in answer.getheader("Access-Control-Allow-Methods")


def test_an_origin_that_is_too_long_is_not_repeated(server):
    server.ctl("set", "http.header-bytes", "64KiB")
    server.ctl("set", "http.cors-origins", "*, https://web.example")
    answer = get(server, headers={"Origin": "https://" + "a" * 60000})
    assert answer.status == 200 and answer.getheader("Access-Control-Allow-Origin") is None


def test_safe_headers_and_errors(server):
    answer = get(server, "/nothing/here")
    assert answer.status == 404
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert "default-src 'none'" in answer.getheader("Content-Security-Policy")
    answer = get(server, method="POST")
    assert (answer.status, answer.getheader("Allow")) == (405, "OPTIONS, GET, HEAD")
    answer = get(server, method="HEAD")
    assert answer.status == 200 and answer.text == "" and int(answer.getheader("Content-Length"))
    server.ctl("set", "http.strict-transport", "1h")
    assert get(server, tls=True).getheader("Strict-Transport-Security") == "max-age=3600"
    assert get(server).getheader("Strict-Transport-Security") is None


# What every answer has, whatever it answers: (name, pattern).
SAFE = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
        ("X-Frame-Options", "DENY"), ("Content-Security-Policy", "default-src 'none'.*|sandbox.*"),
        ("Cache-Control", "no-store|private, max-age=.*|no-cache"),
        ("Cross-Origin-Resource-Policy", "same-origin|cross-origin"),
        ("Strict-Transport-Security", "max-age=3600"))
BODY = "<body xmlns='http://jabber.org/protocol/httpbind' rid='1' to='localhost'/>"
REQUESTS = {
    "page": (f"GET {META} HTTP/1.1\r\nHost: x\r\n", 200),
    "head": (f"HEAD {META}.json HTTP/1.1\r\nHost: x\r\n", 200),
    "options": (f"OPTIONS {META} HTTP/1.1\r\nHost: x\r\nOrigin: https://x\r\n"
                "Access-Control-Request-Method: GET\r\n", 204),
    "nothing": ("GET /nothing HTTP/1.1\r\nHost: x\r\n", 404),
    "method": (f"POST {META} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n", 405),
    "unknown method": (f"BREW {META} HTTP/1.1\r\nHost: x\r\n", 501),
    "bad": (f"GET {META} HTTP/1.1\r\nHost : x\r\n", 400),
    "no host": (f"GET {META} HTTP/1.1\r\n", 400),
    "version": (f"GET {META} HTTP/9.1\r\nHost: x\r\n", 505),
    "long": (f"GET {META} HTTP/1.1\r\nHost: x\r\nA: {'x' * 20000}\r\n", 431),
    "long path": (f"GET /{'x' * 20000} HTTP/1.1\r\nHost: x\r\n", 414),
    "invitation": ("GET /invite/0123456789abcdef0123456789abcdef HTTP/1.1\r\nHost: x\r\n", 404),
    "upload": ("GET /upload/x/y HTTP/1.1\r\nHost: x\r\n", 404),
    "chat": ("GET /chat/ HTTP/1.1\r\nHost: x\r\n", None),
    "bosh": ("POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n"
             f"Content-Length: {len(BODY)}\r\n", None),
    "websocket": ("GET /xmpp-websocket HTTP/1.1\r\nHost: x\r\n", None),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_every_answer_is_safe(server, kind):
    """Also errors of the parser; none names the server or its version."""
    server.ctl("set", "http.strict-transport", "1h")
    head, status = REQUESTS[kind]
    with socket.create_connection(("127.0.0.1", server.https_port), TIMEOUT) as sock, \
            insecure_context().wrap_socket(sock, server_hostname="x") as tls:
        tls.sendall(f"{head}Connection: close\r\n\r\n{BODY if kind == 'bosh' else ''}".encode())
        answer = http.client.HTTPResponse(tls, method=head.split()[0])
        answer.begin()
        assert status in (None, answer.status)
        for name, pattern in SAFE:
            assert re.fullmatch(pattern, answer.getheader(name) or ""), name
        assert not {"server", "x-powered-by", "via"} & {n.lower() for n, _ in answer.getheaders()}
        assert b"muster" not in answer.read().lower() or kind == "chat"


def test_alpn(server):
    for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), (None, None)):
        with socket.create_connection(("127.0.0.1", server.https_port), 10) as sock, \
                insecure_context(alpn=offered).wrap_socket(sock, server_hostname="x") as tls:
            assert tls.selected_alpn_protocol() == chosen
    with socket.create_connection(("127.0.0.1", server.https_port), 10) as sock:
        with pytest.raises(ssl.SSLError):
            insecure_context(alpn=["xmpp-client"]).wrap_socket(sock, server_hostname="x")


def test_pipelined_in_order(server):
    one = f"GET {META} HTTP/1.1\r\nHost: x\r\n\r\n"
    got = raw(server, (one + one.replace("GET", "HEAD") + "GET /no HTTP/1.1\r\nHost: x\r\n"
                       "Connection: close\r\n\r\n").encode())
    assert got.count(b"HTTP/1.1 200 OK") == 2 and got.count(b"</XRD>") == 1
    assert got.index(b"404 Not Found") > got.rindex(b"200 OK")


@pytest.mark.parametrize("data, status", [
    (b"\x16\x03\x01\x00\x05hello", 400),
    (b"GET / HTTP/3.0\r\n\r\n", 505),
    (b"GET /%2e%2e/etc HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100 + b"\r\n", 431),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
     400),
    (b"POST /no HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
     400),
    (b"POST /no HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello", 400),
    (b"POST /no HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\r\n"
     b"5\r\nhello\r\n0\r\n\r\n", 501),
], ids=range(12))
def test_bad_requests(server, data, status):
    got = raw(server, data)
    assert got.startswith(b"HTTP/1.1 %d " % status), got[:100]
    assert b"Connection: close" in got
    assert get(server, "/no").status == 404


def test_slow_requests_end(make_server):
    server = make_server(settings={"http.request-timeout": "1s"})
    assert raw(server, b"GET / HTT").startswith(b"HTTP/1.1 408 ")
    assert raw(server, b"") == b""


def test_requests_per_connection(server):
    server.ctl("set", "http.requests-per-connection", "2")
    got = raw(server, b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    assert got.count(b"404 Not Found\r\n") == 2 and got.count(b"Connection: close") == 1


def test_request_rate(server):
    server.ctl("set", "http.request-rate", "2")
    request = b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n"
    got = raw(server, request * 5)
    assert b"429 Too Many Requests" in got and b"Retry-After: 1" in got


def test_request_rate_of_all_workers(make_server):
    """The times of their ticks differ."""
    server = make_server(workers=4)
    server.ctl("set", "http.request-rate", "20")
    good, end = [0] * 8, time.monotonic() + 2

    def ask(k):
        while time.monotonic() < end:
            try:
                got = raw(server, b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n" * 6 + b"END\r\n\r\n")
            except ConnectionError:
                continue
            good[k] += got.count(b"404 Not Found\r\n")

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(len(good))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(good) <= 100, "20 at first, and 20 a second"


def test_proxy_header(make_server):
    server = make_server(start=False)
    server.conf["listen"]["http"] = [{"address": f"127.0.0.1:{server.http_port}", "proxy": True}]
    server.start()
    header = (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes([192, 0, 2, 9, 127, 0, 0, 1]) +
              b"\x10\x00\x20\x00")
    got = raw(server, header + b"GET /no HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 404 ")


def test_bosh_listener_serves_nothing_else(server):
    got = raw(server, f"GET {META} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(),
              port=server.bosh_port)
    assert got.startswith(b"HTTP/1.1 404 ")


def test_stops_while_connections_are_open(server):
    with socket.create_connection(("127.0.0.1", server.http_port), 10) as sock:
        sock.sendall(b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(1000)
        server.stop()
        assert sock.recv(1000) == b""


@pytest.mark.parametrize("setting, taken", [
    ("bosh.path", "/xmpp-websocket"), ("bosh.path", "/ws"), ("bosh.path", "/invite/x"),
    ("bosh.path", "/.well-known/host-meta"), ("bosh.path", "/"), ("bosh.path", "/chat"),
    ("websocket.path", "/http-bind"), ("websocket.path", "/upload/x"),
    ("web.chat-path", "/http-bind"), ("web.chat-path", "/invite/x")])
def test_a_page_does_not_take_the_place_of_another(server, setting, taken):
    assert "where no other page is" in refusal(server, "set", setting, taken)
    server.ctl("set", setting, "/elsewhere")
    server.ctl("set", setting, "/elsewhere")
