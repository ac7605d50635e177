"""Requests of the API that compare an ETag (RFC 9110 §13), and headers that have several lines
(§5.3)."""
import http.client
import re
import socket

import pytest

from harness.client import TIMEOUT
from harness.server import ROOT
from surface.test_api import api_server


@pytest.fixture
def server(make_server):
    server = api_server(make_server)
    server.add_user("alice", "secret")
    return server


@pytest.fixture
def api(server):
    return server.api


def test_a_command_by_its_name_refuses_what_it_does_not_compare(api):
    """And says which resource compares it."""
    path = "/users/alice@localhost"
    etag = api("GET", path).getheader("ETag")
    for headers in {"If_Match": '"other"'}, {"If_Match": etag}, {"If_None_Match": "*"}:
        refused = api("POST", "/commands/user-set", {"jid": "alice@localhost", "surname": "Doe"},
                      **headers)
        assert refused.status == 412, refused.text
        assert "PATCH /users/{jid}" in refused.json["detail"], refused.text
        assert next(iter(headers)).replace("_", "-") in refused.json["detail"]
    assert api("GET", path).getheader("ETag") == etag
    assert api("POST", "/commands/status", {}, If_Match="*").status == 412


def test_a_get_compares_if_match(api):
    path = "/users/alice@localhost"
    etag = api("GET", path).getheader("ETag")
    for match in etag, "*", f'"x", {etag}':
        assert api("GET", path, If_Match=match).status == 200, match
    assert api("GET", path, If_Match=etag, If_None_Match=etag).status == 304
    for match in '"x"', "", "W/" + etag:
        refused = api("GET", path, If_Match=match)
        assert refused.status == 412 and "surname" not in refused.text, match
    assert api("GET", "/users/nobody@localhost", If_Match=etag).status == 404
    assert api("GET", "/motd", If_Match="*").status == 412
    assert api("GET", "/users", If_Match="*").status == 412
    assert api("GET", "/users", If_None_Match="*").status == 200


def test_nothing_of_the_api_ignores_if_match(api):
    """Whatever the path: an ETag that nothing has is refused, and no change is made."""
    document = api("GET", "/openapi.json").json
    for path, operations in document["paths"].items():
        for method in operations:
            target = path.replace("{", "").replace("}", "")
            answer = api(method.upper(), target, None if method in ("get", "delete") else {},
                         If_Match='"nothing"')
            assert answer.status in (401, 403, 404, 409, 412, 422, 429), (method, path, answer.text)
    for path in "/", "/openapi.json", "/description":
        assert api("GET", path, If_Match='"nothing"').status == 412, path


@pytest.mark.parametrize("path", ["/openapi.json", "/"])
def test_a_document_is_made_once(server, api, path):
    """It has a strong ETag, is not sent again to those who have it, and costs almost nothing."""
    first = api("GET", path)
    etag = first.getheader("ETag")
    assert first.status == 200 and etag.startswith('"')
    assert api("GET", path, If_Match=etag).status == 200
    known = api("GET", path, If_None_Match=f'"x", {etag}')
    assert (known.status, known.text, known.getheader("ETag")) == (304, "", etag)
    begun = server.cpu_seconds()
    again = [api("GET", path) for _ in range(20)]
    spent = server.cpu_seconds() - begun
    assert all((one.text, one.getheader("ETag")) == (first.text, etag) for one in again)
    assert spent < 20 * 0.02, f"{spent} s for 20 requests; each was 0.06 s and more"


def test_the_page_is_of_its_host(api):
    """Its examples name the host of the request, and so do their ETags."""
    there = asked(api, "GET", "/", host="chat.example.org")
    examples = set(re.findall(r"http://[^/]*/api/v1/", there.text))
    assert examples == {"http://chat.example.org/api/v1/"} and "{base" not in there.text
    assert there.headers["ETag"] != asked(api, "GET", "/").headers["ETag"]


# Headers that hold lists, so that several lines of them are one list.
LISTS = {"Accept", "Accept-Encoding", "Connection", "Content-Encoding", "Expect", "If-Match",
         "If-None-Match", "Prefer", "Sec-WebSocket-Protocol", "Upgrade", "X-Forwarded-For",
         "X-Forwarded-Proto"}


def asked(api, method, path, *lines, body="", host="localhost"):
    """The answer to a request with these header lines."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=TIMEOUT) as connection:
        head = [f"{method} /api/v1{path} HTTP/1.1", f"Host: {host}", "Connection: close",
                f"Authorization: Bearer {api.token}", *lines]
        if body:
            head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        connection.sendall(("\r\n".join(head) + "\r\n\r\n" + body).encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.text = answer.read().decode()
        return answer


def test_all_lines_of_an_etag_list_count(api):
    path = "/users/alice@localhost"
    for before, behind in (['"x"'], []), ([], ['"x"']), (['"x"', '"y", "z"'], ['"x"']):
        etag = api("GET", path).getheader("ETag")
        lines = [*before, etag, *behind]
        none = [f"If-None-Match: {line}" for line in lines]
        assert asked(api, "GET", path, *none).status == 304, lines
        assert asked(api, "PUT", path, *none, body="{}").status == 412, lines
        match = [f"If-Match: {line}" for line in lines]
        changed = asked(api, "PATCH", path, *match, body=f'{{"surname": "D{len(lines)}"}}')
        assert changed.status == 200, lines
    refused = asked(api, "PATCH", path, 'If-Match: "x"', 'If-Match: "y"', body="{}")
    assert refused.status == 412, refused.text


def test_a_preference_in_any_line_counts(api):
    """RFC 7240 §2: Prefer is a list."""
    for lines in ["Prefer: wait=3", "Prefer: names=options"], ["Prefer: names=options, wait=3"]:
        text = asked(api, "POST", "/commands/user-set", *lines, body="{}").text
        assert text == asked(api, "POST", "/commands/user-set", "Prefer: names=options",
                             body="{}").text


def test_every_header_is_a_list_or_is_refused_twice(api):
    """Whichever header the sources read."""
    read = set()
    for path in ROOT.joinpath("src").rglob("*.c"):
        read.update(re.findall(r'http_header\([^,()]*, "([^"]+)"', path.read_text()))
    assert LISTS < read, LISTS - read
    for name in sorted(read - LISTS | {"Host", "Content-Length"}):
        answer = asked(api, "GET", "/status", f"{name}: 0", f"{name}: 0")
        assert answer.status == 400, (name, answer.text)
