"""Requests of the API that compare an ETag (RFC 9110 §13)."""
import pytest

from test_api import api_server


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
