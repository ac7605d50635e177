"""Attacks on the API that its own requests carry: redirects to elsewhere, tokens in the address,
and header fields in what is repeated."""
import http.client
import io
import socket

import pytest

from harness.client import TIMEOUT
from surface.test_api import api_server

ELSEWHERE = "elsewhere.test"


class Bytes(io.BytesIO):
    """What was received, for the parser of http.client."""

    def makefile(self, *_):
        return self


@pytest.fixture
def server(make_server):
    return api_server(make_server)


def answers(server, line, *fields):
    """The answer to these bytes, and all that was received."""
    fields = ["Connection: close", *fields]
    if not any(field.startswith("Host:") for field in fields):
        fields.append("Host: localhost")
    with socket.create_connection(("127.0.0.1", server.api.port), timeout=TIMEOUT) as connection:
        connection.sendall("\r\n".join([f"{line} HTTP/1.1", *fields, "", ""]).encode("latin-1"))
        received = b""
        while piece := connection.recv(65536):
            received += piece
    answer = http.client.HTTPResponse(Bytes(received))
    answer.begin()
    return answer, received


def bearer(server):
    return f"Authorization: Bearer {server.api.token}"


SENT = [
    f"GET //{ELSEWHERE}/admin", f"GET /admin//{ELSEWHERE}", f"GET /admin/..//{ELSEWHERE}",
    f"GET /admin/?next=//{ELSEWHERE}/", f"GET /admin?return=https://{ELSEWHERE}/",
    f"GET /\\{ELSEWHERE}", f"GET http://{ELSEWHERE}/admin", "GET /admin", "GET /",
    f"GET /api/v1/login?redirect=https://{ELSEWHERE}/"]


def test_nobody_is_sent_elsewhere(server):
    """Wherever the request says that it was meant for: a redirect names a path of this server."""
    places = set()
    for line in SENT:
        for fields in ([], [f"Host: {ELSEWHERE}"], [f"X-Forwarded-Host: {ELSEWHERE}"],
                       [f"Forwarded: host={ELSEWHERE};proto=https"],
                       [f"Referer: http://{ELSEWHERE}/"]):
            answer, _ = answers(server, line, *fields)
            assert ELSEWHERE not in str(answer.headers), (line, fields)
            place = answer.getheader("Location")
            assert (place is not None) == (300 <= answer.status < 400), answer.status
            places.add(place)
    assert places == {None, "/admin/"}


def test_a_token_in_the_address_gives_nothing(server):
    """Addresses are stored by browsers and proxies. What is refused repeats no token, and neither
    the log nor the audit log has it."""
    secret = server.api.token
    for name in ("token", "access_token", "api_token", "api_key", "key", "bearer", "authorization",
                 "Authorization", "session", "__Host-muster"):
        for path in "/api/v1/users", "/api/v1/events", "/api/v1/openapi.json":
            answer, received = answers(server, f"GET {path}?topics=metrics&{name}={secret}")
            assert answer.status == 401 and secret.encode() not in received
        answer, _ = answers(server, f"GET /api/v1/users?{name}={secret}", bearer(server))
        assert answer.status == 422
    answer, _ = answers(server, f"GET /api/v1/{secret}/users")
    assert answer.status == 401
    assert secret not in server.log() and secret not in str(server.rows("audit", "list"))


WRITES = [
    "GET /api/v1/users/a%0d%0aEvil:%201", "GET /api/v1/users?filter=%0d%0aEvil:%201",
    "GET /api/v1/rooms/a%0d%0aEvil:%201@conference.localhost/export?reason=%0aEvil:1",
    "GET /api/v1/users?%0d%0aEvil:%201", "GET /admin/%0d%0aEvil:%201", "GET /%0d%0aEvil:%201",
    "POST /api/v1/users/a%0d%0aEvil:%201", "OPTIONS /api/v1/%0aEvil:%201",
    "GET /api/v1/users/a\rEvil:", "GET /api/v1/users/a\nEvil: 1"]


def test_no_request_writes_a_header_field(server):
    for line in WRITES:
        for field in ("X-Request-Id: a%0d%0aEvil: 1", "Origin: a\rEvil: 1", "Referer: x",
                      'If-None-Match: "a"\x00Evil: 1'):
            _, received = answers(server, line, bearer(server), field)
            assert b"Evil" not in received.split(b"\r\n\r\n")[0], (line, field, received)


def test_two_requests_in_one_are_refused(server):
    """RFC 9112 §6.3: with both lengths it may be meant to hide the second."""
    hidden = "0\r\n\r\nGET /healthz"
    answer, received = answers(server, "POST /api/v1/session", "Content-Length: 4",
                               f"Transfer-Encoding: chunked\r\n\r\n{hidden}")
    assert answer.status == 400 and received.count(b"HTTP/1.1 ") == 1
