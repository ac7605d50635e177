"""The API: rows of commands over HTTP, against the OpenAPI document; and health."""
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import json_schema
from harness.client import TIMEOUT, until
from harness.control import Control
from harness.muc import Room
from harness.rows import MUSTERD
from harness.server import ROOT, free_ports

ROOT_PATH = "/api/v1"
OPTIONS = re.compile(r"(?<![-\w])--[a-z]")  # of the command line, which the API has not
OWN = object()  # the token of the server
# These would end the server, or speak with others.
LEFT_OUT = {"server stop", "server restart", "fedtest", "imtest", "pushtest", "s2s trace",
            "s2s retry", "cert mail-test", "secrets reset", "doctor"}


class Api:
    def __init__(self, port, token=None):
        self.port, self.token = port, token

    def __call__(self, method, path, body=None, token=OWN, root=ROOT_PATH, **headers):
        token = self.token if token is OWN else token
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        connection.request(method, root + path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        kind = answer.getheader("Content-Type") or ""
        answer.json = json.loads(text) if "json" in kind and text else None
        answer.text = text
        if answer.status >= 400 and root == ROOT_PATH and method != "HEAD":
            assert kind == "application/problem+json", (method, path, text)
            if "Prefer" not in headers:
                assert not OPTIONS.search(answer.json.get("detail", "")), (method, path, text)
            assert answer.json["status"] == answer.status
        return answer


def api_server(make_server, conf=None, **settings):
    port = free_ports(1)[0]
    server = make_server(
        start=False, conf=conf or {}, why="one client sends hundreds of requests as fast as it can",
        settings={
            "api.requests-per-token": "none", "http.request-rate": "none",
            "api.requests-per-address": "none", **settings})
    server.conf["listen"]["http_admin"] = [f"127.0.0.1:{port}"]
    server.start()
    server.api = Api(port, server.rows("token", "add", "tests", "administrator")[0]["token"])
    return server


@pytest.fixture
def server(make_server):
    server = api_server(make_server)
    for name in "alice", "bob", "carol":
        server.add_user(name, "secret")
    return server


@pytest.fixture
def api(server):
    return server.api


def test_nothing_is_open_without_a_token(api):
    document = api("GET", "/openapi.json").json
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation.get("security") == []:
                assert path in ("/login", "/session")
                continue
            for token in None, "", "x", api.token[:-1], api.token + "x":
                answer = api(method.upper(), path.replace("{", "").replace("}", ""), token=token)
                assert answer.status == 401, (method, path)
                assert answer.getheader("WWW-Authenticate").startswith("Bearer")
    for path in "/", "/openapi.json", "/nothing":
        assert api("GET", path, token=None).status == 401
    assert api("OPTIONS", "/users", token=None).status == 401
    for path in "/healthz", "/readyz":
        assert api("GET", path, root="", token=None).text == "ok\n"


def test_it_is_on_its_own_listener(server):
    open_port = free_ports(1)[0]
    server.stop()
    server.conf["listen"]["http"] = [f"127.0.0.1:{open_port}"]
    server.start()
    for path in "/api/v1/users", "/healthz", "/readyz", "/metrics":
        assert Api(open_port)("GET", path, root="").status == 404
    assert server.api("GET", "/metrics", root="", token=None).status == 200
    assert server.api("GET", "/xmpp-websocket", root="", token=None).status == 404


def test_listeners_at_ipv6_with_and_without_tls(server):
    ports = free_ports(2)
    server.stop()
    server.conf["listen"]["http_admin"] = [f"[::1]:{ports[0]}"]
    server.conf["listen"]["https_admin"] = [f"[::1]:{ports[1]}"]
    server.start()
    here = ssl._create_unverified_context()  # the server made its certificate itself
    for connection in (http.client.HTTPConnection("::1", ports[0], timeout=TIMEOUT),
                       http.client.HTTPSConnection("::1", ports[1], timeout=TIMEOUT, context=here)):
        connection.request("GET", "/api/v1/status", headers={
            "Authorization": f"Bearer {server.api.token}"})
        answer = connection.getresponse()
        assert answer.status == 200 and "sessions" in json.loads(answer.read())
        connection.close()


def test_a_list_in_pages(api):
    first = api("GET", "/users?limit=2").json
    assert [row["jid"] for row in first["items"]] == ["alice@localhost", "bob@localhost"]
    assert first["items"][0]["disabled"] is False
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", first["items"][0]["created"])
    second = api("GET", f"/users?limit=2&cursor={first['next']}").json
    assert [row["jid"] for row in second["items"]] == ["carol@localhost"]
    assert "next" not in second
    for cursor in "zz", "6", "", "%00":
        refused = api("GET", f"/users?cursor={cursor}")
        assert refused.status == 400 and refused.json["argument"] == "cursor"


def test_refusals_of_a_query_speak_of_what_it_has(api):
    """`cursor` stands for `after`; flags are as in JSON."""
    for path in ("/audit?cursor=78", "/users?cursor=00", "/users?cursor=61&cursor=62",
                 "/users?cursor=x"):
        refused = api("GET", path)
        assert (refused.status, refused.json["error"], refused.json["argument"]) == (
            400, "syntax", "cursor"), refused.text
        assert refused.json["detail"].startswith("cursor: found one that no answer of this list")
    assert api("GET", "/audit?after=x").json["argument"] == "after"
    refused = api("GET", "/users?disabled=maybe")
    assert refused.json["detail"] == (
        'user list: disabled: found "maybe", allowed true or false')
    for value in "true", "false":
        assert api("GET", f"/users?disabled={value}").status == 200


def test_texts_speak_of_members_also_of_other_commands(api):
    """Refusals, what commands say, and descriptions."""
    for command in "alarm-show", "alarm-set", "alarm-acknowledge", "alarm-history":
        refused = api("POST", f"/commands/{command}", {"alarm": "no.such", "note": "x"}
                      if command == "alarm-acknowledge" else {"alarm": "no.such"})
        assert refused.json["detail"] == (
            "no.such: no such alarm; `alarm list` with `all` lists them"), command
    asked = api("POST", "/commands/alarm-show", {"alarm": "no.such"}, Prefer="names=options")
    assert "`musterctl alarm list --all`" in asked.json["detail"]
    document = api("GET", "/openapi.json").json
    described = api("GET", "/description").json["commands"]
    args = {name: {f"--{arg['name'].replace('_', '-')}" for arg in command["args"]}
            for command in described for name in [command["name"]]}
    for line in re.findall("`[^`]*--[^`]*`", json.dumps([document, described])):
        words = line.strip("`").removeprefix("musterctl ").split()
        named = next((name for n in range(len(words), 0, -1)
                      for name in [" ".join(words[:n])] if name in args), None)
        assert not named or not set(words) & args[named], line
    assert "`config apply` with `shown`" in json.dumps(described)


def pages(api, path, key):
    """All values of a list, a page of one at a time."""
    found, cursor = [], ""
    while True:
        start = path if path.endswith("&") else f"{path}?"
        answer = api("GET", f"{start}limit=1{cursor}").json
        found += [row[key] for row in answer["items"]]
        if "next" not in answer:
            return found
        assert len(answer["items"]) == 1
        cursor = f"&cursor={answer['next']}"


def test_rooms_and_those_who_enter_in_pages(api, server):
    server.ctl("set", "muc.archive-joins", "on")
    alice = server.login("alice")
    rooms = [Room(name) for name in ("attic", "bath", "cave")]
    for room in rooms:
        room.create(alice, "alice", persistentroom=True)
    assert pages(api, "/rooms", "jid") == [room.jid for room in rooms]
    assert pages(api, "/rooms/report", "jid") == [room.jid for room in rooms]
    for name in "bob", "carol":
        rooms[0].enter(server.login(name), name)
    path = f"/rooms/{urllib.parse.quote(rooms[0].jid)}/joins"
    whole = [row["nick"] for row in api("GET", path).json["items"]]
    assert pages(api, path, "nick") == whole == ["alice", "bob", "carol"]


def test_people_in_pages(api, server):
    """Each list of users and sessions: in order, nobody twice and nobody left out."""
    names = ["alice", "bob", "carol"]
    jids = [f"{name}@localhost" for name in names]
    for name, resources in (("carol", 1), ("alice", 3), ("bob", 1)):
        for n in range(resources):
            server.login(name, resource=f"r{n}")
    full = [f"alice@localhost/r{n}" for n in range(3)] + ["bob@localhost/r0", "carol@localhost/r0"]
    assert pages(api, "/users/online", "jid") == jids
    assert pages(api, "/sessions", "jid") == full
    assert pages(api, "/users/alice@localhost/sessions", "jid") == full[:3]
    answer = api("GET", "/sessions?limit=2").json
    assert [row["jid"] for row in answer["items"]] == full[:2]
    rest = api("GET", f"/sessions?cursor={answer['next']}").json
    assert [row["jid"] for row in rest["items"]] == full[2:] and "next" not in rest
    assert pages(api, "/users/online?state=idle&", "jid") == []
    contacts = [f"{name}@{domain}" for domain in ("a.test", "localhost") for name in "xyz"]
    assert api("POST", "/users/bob@localhost/roster", {"contacts": contacts[::-1]}).status == 200
    assert pages(api, "/users/bob@localhost/roster", "jid") == sorted(contacts)
    assert api("PUT", "/users/bob@localhost/disabled", {}).status == 200
    assert pages(api, "/users/bob@localhost/roster", "jid") == sorted(contacts)
    api("POST", "/groups", {"name": "all"})
    assert api("GET", "/groups/all/members").json["items"] == []
    assert api("GET", "/groups/none/members").status == 404
    server.ctl("group-member", "add", "all", "--domain", "localhost")
    assert pages(api, "/groups/all/members", "jid") == jids


def test_the_audit_log_in_pages(api, server):
    """The newest first; the export the other way round. What happens meanwhile is in neither."""
    for n in range(5):
        server.ctl("set", "sm.ack-every", str(n + 1))
    whole = api("GET", "/audit?command=set").json
    ids = [row["id"] for row in whole["items"]]
    assert "next" not in whole and len(ids) == 5 and ids == sorted(ids, reverse=True)
    assert pages(api, "/audit?command=set&", "id") == ids
    first = api("GET", "/audit?limit=2&command=set").json
    server.ctl("set", "sm.ack-every", "9")
    rest = api("GET", f"/audit?command=set&cursor={first['next']}").json["items"]
    assert [row["id"] for row in first["items"] + rest] == ids
    exported = api("GET", "/audit/export?limit=3").json
    again = api("GET", f"/audit/export?limit=3&cursor={exported['next']}").json
    assert [r["id"] for r in exported["items"] + again["items"]] == [1, 2, 3, 4, 5, 6]
    assert api("GET", "/audit/verification").json["first"] == 1
    assert "go on with --after" in server.ctl("audit", "list", "--limit", "1")["text"]


def test_tokens_and_roles_are_resources(api, server):
    made = api("POST", "/tokens", {"name": "eyes", "role": "viewer"})
    assert made.status == 200 and made.json["rows"][0]["token"], made.text
    assert {"tests", "eyes"} == {row["name"] for row in api("GET", "/tokens").json["items"]}
    eyes = made.json["rows"][0]["token"]
    for path in "/tokens", "/roles", "/admins", "/audit":
        assert api("GET", path, token=eyes).status == 403, path
    assert api("DELETE", "/tokens/eyes").status == 200
    assert api("DELETE", "/tokens/eyes").status == 404
    for grants, status in ("users.read", 201), ("users.read", 200), ("rooms.read users.read", 200):
        assert api("PUT", "/roles/desk", {"permissions": grants}).status == status
        assert {r["name"]: r["permissions"] for r in api("GET", "/roles").json["items"]}[
            "desk"] == grants
    assert api("DELETE", "/roles/viewer").status >= 400
    assert api("DELETE", "/roles/desk").status == 200
    server.ctl("admin", "add", "alice@localhost", "viewer")
    assert [row["name"] for row in api("GET", "/admins").json["items"]] == ["alice@localhost"]


def test_nodes_and_domains_are_resources(make_server):
    server = api_server(make_server, {"domains": ["localhost", "bücher.test"]})
    server.add_user("alice")
    server.login("alice")
    state = server.api("GET", "/status").json
    node, = server.api("GET", "/nodes").json["items"]
    for name in "node", "version", "workers", "sessions":
        assert node[name] == state[name], name
    assert node["sessions"] == 1 and node["started"].endswith("Z")
    assert server.api("GET", "/domains").json["items"] == [
        {"domain": "localhost", "ascii": "localhost", "first": True},
        {"domain": "bücher.test", "ascii": "xn--bcher-kva.test", "first": False}]


def test_a_user_from_begin_to_end(api):
    path = "/users/dave@localhost"
    made = api("PUT", path, {"password": "a good secret", "given_name": "Dave"})
    assert (made.status, made.json["rows"]) == (201, [])
    again = api("PUT", path, {"given_name": "Dave"})
    assert again.status == 200, again.text
    shown = api("GET", path)
    assert shown.json["jid"] == "dave@localhost" and shown.json["given_name"] == "Dave"
    etag = shown.getheader("ETag")
    assert api("GET", path, If_None_Match=etag).status == 304
    assert api("PATCH", path, {"surname": "Doe"}, If_Match='"other"').status == 412
    assert api("PATCH", path, {"surname": "Doe"}, If_Match=etag).status == 200
    assert api("PATCH", path, {"surname": "Roe"}, If_Match=etag).status == 412
    assert api("GET", path).json["surname"] == "Doe"
    assert api("PUT", path, {"given_name": "D"}, If_None_Match="*").status == 412
    refused = api("PUT", path, {"password": "another secret"})
    assert (refused.status, refused.json["argument"]) == (409, "password")
    assert api("PUT", path + "/disabled", {}).status == 200
    assert api("DELETE", path + "/disabled").status == 200
    assert api("HEAD", path).text == ""
    assert api("DELETE", path).status == 200
    assert api("DELETE", path).status == 404
    assert api("PATCH", path, {"surname": "Doe"}, If_Match=etag).status == 412


def test_who_is_in_a_room_is_nothing_that_a_change_compares(server, api):
    """If-Match is not about members that change by themselves; If-None-Match is."""
    path = "/rooms/den@conference.localhost"
    assert api("PUT", path, {"name": "Den", "owners": "bob@localhost"}).status == 201
    empty = api("GET", path).getheader("ETag")
    Room("den").enter(server.login("alice"), "alice")
    shown = api("GET", path, If_None_Match=empty)
    assert (shown.status, shown.json["occupants"]) == (200, 1)
    for weak in "", "W/":  # a proxy that compresses makes it weak
        same = api("GET", path, If_None_Match=weak + shown.getheader("ETag"))
        assert same.status == 304, weak
    several = f'"x", {empty[:-5]}0000"'
    assert api("PATCH", path, {"name": "Hall"}, If_Match=several).status == 200
    weak = "W/" + api("GET", path).getheader("ETag")
    for wrong in weak, empty, shown.getheader("ETag"), empty.split("-")[0], empty[:-1], empty[1:]:
        assert api("PATCH", path, {"name": "Shed"}, If_Match=wrong).status == 412, wrong
    assert api("GET", path).json["name"] == "Hall"


def test_a_put_that_made_an_account_can_be_repeated(server, api):
    """Who has lost the answer sends the request again. The password is not set again: it only has
    to be that of the account."""
    path, body = "/users/dave@localhost", {"password": "a good secret", "given_name": "Dave"}
    assert api("PUT", path, body).status == 201
    dave = server.login("dave", password="a good secret")
    etag = api("GET", path).getheader("ETag")
    for headers in {}, {"If_Match": etag}:
        again = api("PUT", path, body, **headers)
        assert (again.status, again.json["text"]) == (200, "nothing to change"), again.text
    assert api("PUT", path, {"password": "a good secret"}).json["text"] == "nothing to change"
    other = api("PUT", path, {**body, "password": "another secret", "surname": "Doe"})
    assert (other.status, other.json["argument"]) == (409, "password")
    assert "user password" in other.json["detail"]
    assert api("PUT", path, body, If_None_Match="*").status == 412
    assert api("PUT", path, {**body, "no_such": "x"}).json["argument"] == "no_such"
    assert api("GET", path).getheader("ETag") == etag
    assert api("PUT", path, {**body, "surname": "Doe"}).json["text"] == \
        "profile of dave@localhost changed"
    assert api("GET", path).json["surname"] == "Doe"
    dave.ping()
    server.login("dave", password="a good secret")


def test_a_put_of_what_is_there_changes_nothing(server, api):
    path = "/users/bob@localhost"
    assert api("PUT", path, {"given_name": "Bob"}).json["text"] == \
        "profile of bob@localhost changed"
    before = len(server.rows("audit", "list"))
    for _ in range(2):
        assert api("PUT", path, {"given_name": "Bob"}).json["text"] == "nothing to change"
    assert len(server.rows("audit", "list")) == before
    assert api("PUT", path, {"given_name": "Bob", "surname": "Roe"}).json["text"] == \
        "profile of bob@localhost changed"
    assert api("PUT", path, {"given_name": ""}).json["text"] == "profile of bob@localhost changed"


def test_the_contacts_of_a_user(api):
    both = {"contacts": ["bob@localhost", "carol@localhost"]}
    made = api("POST", "/users/alice@localhost/roster", both)
    assert made.status == 200 and len(made.json["rows"]) == 2, made.text
    assert api("DELETE", "/users/alice@localhost/roster/bob@localhost").status == 200
    kept, = api("GET", "/users/alice@localhost/roster").json["items"]
    assert kept["jid"] == "carol@localhost"


def test_a_group_is_made_and_changed_by_the_same_request(api, server):
    path = "/groups/sales"
    assert api("GET", path).status == 404
    assert api("PUT", path, {"shown": "Sales"}, If_Match='"x"').status == 412
    assert api("PUT", path, {"shown": "Sales"}).status == 201
    assert api("PUT", path, {"shown": "Sellers"}).status == 200
    assert api("PUT", path, {}).status == 200
    viewer = server.rows("token", "add", "eyes", "viewer")[0]["token"]
    for body in {}, {"shown": "Mine"}:
        assert api("PUT", path, body, token=viewer).status == 403
    assert api("GET", path).json["shown"] == "Sellers"
    assert api("PUT", path, {"shown": "x"}, If_None_Match="*").status == 412
    for method, body in ("PUT", {"shown": "y"}), ("PATCH", {"visible_to": "members"}), (
            "DELETE", None):
        old = api("GET", path).getheader("ETag")
        assert api("GET", path, If_None_Match=old).status == 304
        assert api("POST", path + "/members", {"users": ["alice@localhost"]}).status == 200
        assert api(method, path, body, If_Match=old).status == 412
        new = api("GET", path).getheader("ETag")
        assert api(method, path, body, If_Match=new).status == 200
        api("DELETE", path + "/members?users=alice@localhost")
    assert api("GET", path).status == 404


def test_a_policy_and_the_message_of_the_day_have_an_etag(api):
    path = "/users/alice@localhost/policy"
    old = api("GET", path).getheader("ETag")
    assert api("GET", path, If_None_Match=old).status == 304
    assert api("PATCH", path, {"ask": "bob@localhost"}, If_Match=old).status == 200
    assert api("PATCH", path, {"ask": "carol@localhost"}, If_Match=old).status == 412
    assert "carol" not in api("GET", path).text
    none = api("GET", "/motd")
    assert none.json["items"] == [] and none.getheader("ETag") is None
    assert api("PUT", "/motd", {"text": "a"}, If_Match="*").status == 412
    assert api("PUT", "/motd", {"text": "a"}, If_None_Match="*").status == 201
    assert api("PUT", "/motd", {"text": "b"}, If_None_Match="*").status == 412
    old = api("GET", "/motd").getheader("ETag")
    assert api("PUT", "/motd", {"text": "b"}, If_Match=old).status == 200
    for method, body in ("PUT", {"text": "c"}), ("DELETE", None):
        assert api(method, "/motd", body, If_Match=old).status == 412
    assert api("GET", "/motd").json["items"][0]["text"] == "b"


def test_all_that_is_changed_where_it_is_read_has_an_etag(api):
    """And the document says so."""
    paths = api("GET", "/openapi.json").json["paths"]
    for path, of in paths.items():
        if "get" not in of or path.startswith(("/session", "/login", "/events")):
            continue
        pages = any(p["name"] == "cursor" for p in of["get"]["parameters"])
        one = "items" not in of["get"]["responses"]["200"]["content"]["application/json"][
            "schema"]["properties"]
        changes = not {"put", "patch", "delete"}.isdisjoint(of)
        assert ("304" in of["get"]["responses"]) == (one or (changes and not pages)), path
    assert "304" in paths["/groups/{name}"]["get"]["responses"]


def test_a_setting_and_its_etag(api, server):
    path = "/settings/sm.ack-every"
    old = api("GET", path)
    assert api("PUT", path, {"value": "7"}, If_Match=old.getheader("ETag")).status == 200
    assert api("PUT", path, {"value": "8"}, If_Match=old.getheader("ETag")).status == 412
    assert server.rows("get", "sm.ack-every")[0]["value"] == "7"
    wrong = api("PUT", path, {"value": "many"})
    assert wrong.status == 422 and "sm.ack-every" in wrong.json["detail"]
    assert api("GET", "/settings/no.such").status == 404
    assert api("PUT", "/settings/federation.blocklist", {"value": "/etc/passwd"}).status == 403


def test_a_token_gives_what_its_role_and_scope_give(server):
    """The same refusal as for clients of administrators; what ends a token ends it at once."""
    def token(*args):
        return server.rows("token", "add", *args)[0]["token"]
    api, viewer = server.api, token("eyes", "viewer")
    assert api("GET", "/users", token=viewer).status == 200
    refused = api("PUT", "/users/eve@localhost", {"password": "a good secret"}, token=viewer)
    assert refused.status == 403 and "users.write" in refused.json["detail"]
    narrow = token("narrow", "administrator", "--scope", "users.read")
    assert api("GET", "/users", token=narrow).status == 200
    assert "rooms.read" in api("GET", "/rooms", token=narrow).json["detail"]
    wide = token("wide", "viewer", "--scope", "*")
    assert api("DELETE", "/users/alice@localhost", token=wide).status == 403
    assert {r["name"]: "used" in r for r in server.rows("token", "list")}["eyes"]
    server.ctl("token", "revoke", "eyes")
    assert api("GET", "/users", token=viewer).status == 401
    server.stop()
    server.start()
    assert api("GET", "/users", token=narrow).status == 200
    assert api("GET", "/users", token=viewer).status == 401


def test_a_token_of_a_token_ends_no_later(server):
    """By default at the same time; of a token without an end, whenever it is said."""
    api = server.api
    def made(name, by=OWN, **more):
        return api("POST", "/commands/token-add", {"name": name, "role": "administrator", **more},
                   token=by)
    brief = made("brief", expires="1h").json["rows"][0]["token"]
    child = made("child", by=brief).json["rows"][0]["token"]
    assert made("grandchild", by=child).status == 200
    assert made("shorter", by=brief, expires="1min").status == 200
    later = made("later", by=brief, expires="2h")
    assert later.status == 403 and later.json["argument"] == "expires"
    assert "brief" in later.json["detail"] and "shorter" in later.json["detail"]
    assert made("open").status == 200 and made("long", expires="2h").status == 200
    ends = {row["name"]: row.get("expires") for row in server.rows("token", "list")}
    assert ends["brief"] == ends["child"] == ends["grandchild"]
    assert ends["shorter"] < ends["brief"] < ends["long"]
    assert ends["open"] is None and "later" not in ends


def test_an_administrator_of_a_token_stays_and_the_audit_log_names_the_token(server):
    """As docs/administrators.md has it; the token cannot give more than it has."""
    brief = server.rows("token", "add", "brief", "administrator", "--scope",
                        "admins.write users.read", "--expires", "1h")[0]["token"]
    api = server.api
    refused = api("POST", "/commands/admin-create", {"name": "evil", "role": "administrator"},
                  token=brief)
    assert refused.status == 403 and "evil" not in str(server.rows("admin", "list"))
    assert api("PUT", "/roles/looks", {"permissions": "users.read"}, token=brief).status == 200
    assert api("POST", "/commands/admin-create", {"name": "nora", "role": "looks"},
               token=brief).status == 200
    assert api("POST", "/commands/admin-add", {"jid": "bob@localhost", "role": "looks"},
               token=brief).status == 200
    server.ctl("token", "revoke", "brief")
    assert {"nora", "bob@localhost"} == {r["name"] for r in server.rows("admin", "list")}
    made = {(r["command"], r["result"]) for r in server.rows("audit", "list")
            if r["actor"] == "token:brief"}
    assert made == {("admin create", "denied"), ("role set", "ok"), ("admin create", "ok"),
                    ("admin add", "ok")}


def test_what_the_api_changes_and_refuses_is_in_the_audit_log(server):
    viewer = server.rows("token", "add", "eyes", "viewer")[0]["token"]
    assert server.api("PUT", "/settings/sm.ack-every", {"value": "9"}).status == 200
    assert server.api("DELETE", "/users/alice@localhost", token=viewer).status == 403
    until("both entries", lambda: {"token:tests", "token:eyes"} <= {
        r["actor"] for r in server.rows("audit", "list")})
    entries = server.rows("audit", "list")
    found = {r["actor"]: r for r in entries if r["actor"].startswith("token:")}
    assert found["token:tests"]["command"] == "set" and found["token:tests"]["from"] == "127.0.0.1"
    assert found["token:eyes"]["result"] == "denied"
    assert all(server.api.token not in str(r) and viewer not in str(r) for r in entries)


@pytest.mark.parametrize("method,path,body,headers,status", [
    ("GET", "/nothing", None, {}, 404),
    ("POST", "/users", None, {}, 405),
    ("GET", "/commands/status", None, {}, 405),
    ("POST", "/commands/status", b"{}", {"Content-Type": "text/plain"}, 415),
    ("POST", "/commands/status", b"{", {"Content-Type": "application/json"}, 400),
    ("POST", "/commands/status", b"[]", {"Content-Type": "application/json"}, 400),
    ("POST", "/commands/status", {"no": 1}, {}, 422),
    ("POST", "/commands/status?a=b", {}, {}, 400),
    ("POST", "/commands/user-show", {}, {}, 422),
    ("POST", "/commands/user-show", {"jid": None}, {}, 422),
    ("POST", "/commands/user-show", {"jid": {"a": 1}}, {}, 422),
    ("POST", "/commands/backup-verify", {"folder": "/x"}, {}, 403),
    ("GET", "/users?limit=0", None, {}, 422),
    ("GET", "/users?limit=%zz", None, {}, 400),
    ("GET", "/users/" + "a" * 2000 + "@localhost", None, {}, 422),
    ("GET", "/users/%7f", None, {}, 400),
    ("GET", "/users/a%2f..%2fb", None, {}, 400),
])
def test_what_is_refused(api, method, path, body, headers, status):
    answer = api(method, path, body, **headers)
    assert answer.status == status, answer.text
    if status == 405:
        assert "OPTIONS" in answer.getheader("Allow")


def test_a_body_that_is_too_long(api):
    assert api("POST", "/commands/status", b" " * 300000,
               Content_Type="application/json").status == 413


REFUSALS = [
    ("GET /api/v1/users/a%00b", "", 400), ("GET /api/v1/users/%FF", "", 400),
    ("GET /api/v1/users/a\x01b", "", 400), ("GET /api/v1/users/%01", "", 400),
    ("GET /api/v1/users/..%2Fx", "", 400), ("GET /api/v1/users/%zz", "", 400),
    ("GET /api/v1", "", 404), ("GET /api", "", 404), ("GET /api/v2/users", "", 404),
    ("GET /api/v1/nothing", "", 404), ("OPTIONS /api/v1/nothing", "", 404),
    ("GET /%61pi/v1/users", "", 404), ("PUT /api/v1/login", "", 405),
    ("FLY /api/v1/users", "", 501), ("PROPPATCH /api/v1/users", "", 501),
    ("GET /api/v1/events?topics=alarms", "Content-Length: 2\r\n\r\n{}", 413),
    ("POST /api/v1/users", "Content-Length: 99999999\r\n", 413),
    ("GET /api/v1/users/" + "a" * 70000, "", 414),
    ("GET /api/v1/users", "X: " + "a" * 300000 + "\r\n", 431),
    ("POST /api/v1/users", "Expect: nothing\r\nContent-Length: 0\r\n", 417),
    ("POST /api/v1/login", "Transfer-Encoding: gzip, chunked\r\n", 501),
]


def refusal_of(api, line, more, status):
    """The problem that answers these bytes of a request."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=TIMEOUT) as connection:
        connection.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                           f"Authorization: Bearer {api.token}\r\n{more}\r\n".encode("latin-1"))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        problem = json.loads(answer.read())
    assert answer.getheader("Content-Type") == "application/problem+json", (line[:80], problem)
    assert answer.status == problem["status"] == status, (line[:80], problem)
    assert problem["detail"] and problem["error"], (line[:80], problem)
    return problem


def test_every_refusal_is_a_problem(api):
    for line, more, status in REFUSALS:
        problem = refusal_of(api, line, more, status)
        if more.endswith("{}"):
            assert "body" in problem["detail"] and "without" in problem["detail"]


def test_the_argument_is_named(api):
    for body, argument in ({"limit": "x"}, "limit"), ({"nothing": 1}, "nothing"), (
            {"domain": "nowhere.test"}, "domain"), ({"limit": [1]}, "limit"):
        assert api("POST", "/commands/user-list", body).json["argument"] == argument


def test_what_failed_elsewhere_is_no_fault_of_this_server(make_server):
    """Each command that asks another server says so in the same way."""
    server = api_server(make_server, **{
        "webhook.allow-local": "on", "mail.relay": "127.0.0.1:1", "cert.mail-to": "a@a.test",
        "alarm.syslog": "warning", "syslog.server": "tcp:127.0.0.1:1"})
    server.ctl("set", "s2s.policy", "open")
    server.ctl("s2s-route", "add", "a.test", "127.0.0.1:1", "--less-specific", "off")
    hook = server.rows("webhook", "add", "http://127.0.0.1:1/")[0]["id"]
    for name, body in (
            ("webhook-test", {"id": hook}), ("cert-mail-test", {}), ("alarm-test", {}),
            ("s2s-trace", {"domain": "a.test"}),
            ("fedtest", {"target": "127.0.0.1:1", "domain": "a.test", "proxy": "127.0.0.1"}),
            ("pushtest", {"edge": "127.0.0.1:1", "service": "push.a.test"})):
        answer = server.api("POST", f"/commands/{name}", body)
        assert (answer.status, answer.json.get("error")) == (502, "outside"), (name, answer.text)
        assert answer.json["title"] == "Bad Gateway" and answer.json["detail"]
    assert [row["works"] for row in server.api("POST", "/alarms/test").json["rows"]] == [False]
    # One of them is enough.
    server.ctl("set", "alarm.mail", "warning")
    answer = server.api("POST", "/alarms/test")
    assert answer.status == 502 and {r["target"] for r in answer.json["rows"]} == {"mail", "syslog"}


def test_what_the_own_settings_forbid_is_a_conflict(make_server, tmp_path):
    """The same commands, when no other server was asked."""
    server = api_server(make_server)
    server.ctl("set", "webhook.allow-local", "on")

    def refused(name, body, what):
        answer = server.api("POST", f"/commands/{name}", body)
        assert (answer.status, answer.json.get("error")) == (409, "conflict"), (name, answer.text)
        assert what in answer.text, (name, answer.text)

    hook = server.rows("webhook", "add", "http://127.0.0.1:1/")[0]["id"]
    server.ctl("set", "webhook.allow-local", "off")
    refused("webhook-test", {"id": hook}, "not allowed")
    refused("cert-mail-test", {}, "cert.mail-to")
    server.ctl("set", "cert.mail-to", "a@a.test")
    refused("cert-mail-test", {}, "mail.relay")
    server.ctl("set", "journald.socket", str(tmp_path / "nobody"))
    for target, what in (("mail", "alarm.mail-to"), ("syslog", "syslog.server"),
                         ("snmp", "snmp.receiver"), ("journald", "journald.socket")):
        server.ctl("set", f"alarm.{target}", "warning")
        refused("alarm-test", {}, what)
        server.ctl("set", f"alarm.{target}", "off")
    edge = f"127.0.0.1:{server.s2s_port}"
    fedtest = {"target": edge, "domain": "a.test", "proxy": "127.0.0.1:1"}
    pushtest = {"edge": edge, "service": "push.a.test"}
    refused("imtest", {"target": edge, "receiver": "bob@a.test"}, "no test user")
    server.ctl("set", "s2s.policy", "off")
    refused("s2s-trace", {"domain": "a.test"}, "policy")
    refused("fedtest", fedtest, "policy")
    refused("pushtest", pushtest, "policy")
    server.ctl("set", "s2s.policy", "open")
    server.ctl("s2s-route", "add", "a.test", "127.0.0.1:9", "--blocked", "on")
    refused("s2s-trace", {"domain": "a.test"}, "route")
    server.ctl("set", "push.services", "push.b.test")
    refused("pushtest", pushtest, "push.services")
    server.ctl("set", "push.enabled", "off")
    refused("pushtest", pushtest, "push.enabled")


def test_options_and_no_cors(api):
    answer = api("OPTIONS", "/users/a@localhost", Origin="https://evil.test",
                 Access_Control_Request_Method="PUT")
    assert set(answer.getheader("Allow").split(", ")) == {
        "OPTIONS", "GET", "HEAD", "PUT", "PATCH", "DELETE"}
    assert not any("access-control" in name.lower() for name in answer.headers)
    assert api("OPTIONS", "/users").getheader("Allow") == "OPTIONS, GET, HEAD"


def test_rates(make_server):
    api = api_server(make_server, **{"api.requests-per-token": "2"}).api
    found = [api("GET", "/status") for _ in range(8)]
    assert found[0].status == 200
    late = next(answer for answer in found if answer.status == 429)
    assert late.getheader("Retry-After") == "1"
    assert "api.requests-per-token" in late.json["detail"]


def test_the_rate_of_an_address(make_server):
    api = api_server(make_server, **{"api.requests-per-address": "2"}).api
    assert 429 in [api("GET", "/status", token=None).status for _ in range(8)]


def test_a_client_that_goes_away(server):
    with socket.create_connection(("127.0.0.1", server.api.port)) as gone:
        gone.sendall(f"POST {ROOT_PATH}/commands/user-list HTTP/1.1\r\nHost: x\r\nAuthorization: "
                     f"Bearer {server.api.token}\r\nContent-Length: 0\r\n\r\n".encode())
    assert server.api("GET", "/status").status == 200
    server.stop()


def without_streams(document):
    """The paths but that of the events, whose answers have no end: surface/test_api_events.py."""
    return [(path, operations) for path, operations in sorted(document["paths"].items())
            if path != "/events"]


def test_every_get_without_arguments(api):
    document = api("GET", "/openapi.json").json
    for path, operations in without_streams(document):
        if "get" not in operations or "{" in path:
            continue
        answer = api("GET", path)
        assert answer.status == 200, (path, answer.text)
        json_schema.validate(answer.json, operations["get"]["responses"]["200"]["content"][
            "application/json"]["schema"])


def test_the_document(api):
    """Every command is there, operations have names of their own, and no two paths differ in the
    names of their parameters alone, which OpenAPI forbids."""
    document = api("GET", "/openapi.json").json
    dumped = subprocess.run([MUSTERD, "--dump-docs", "openapi"], capture_output=True, text=True,
                            check=True).stdout
    assert json.loads(dumped) == document
    operations = [(path, method, operation) for path, all_of in document["paths"].items()
                  for method, operation in all_of.items()]
    ids = [operation["operationId"] for _, _, operation in operations]
    assert len(ids) == len(set(ids))
    commands = {operation["x-command"] for path, _, operation in operations
                if path.startswith("/commands/")}
    assert commands >= {"user add", "set", "status", "backup create"}
    shapes = {}
    for path, method, operation in operations:
        names = set(re.findall(r"{([^}]*)}", path))
        assert names == {p["name"] for p in operation["parameters"] if p["in"] == "path"}, path
        shape = re.sub(r"{[^}]*}", "{}", path)
        assert shapes.setdefault(shape, path) == path
    assert "content" in document["components"]["responses"]["problem"]


def names_in(document):
    """Of members and parameters, at any depth."""
    if isinstance(document, dict):
        if isinstance(document.get("properties"), dict):
            yield from document["properties"]
        if document.get("in") in ("path", "query"):
            yield document["name"]
        for one in document.values():
            yield from names_in(one)
    elif isinstance(document, list):
        for one in document:
            yield from names_in(one)


def test_names_are_the_same_in_requests_and_answers(api, server):
    """Words with underscores. A name of the command line is refused, and the right one named."""
    found = set(names_in(api("GET", "/openapi.json").json))
    described = api("GET", "/description").json
    found |= {one["name"] for row in described["commands"] for one in row["args"] + row["columns"]}
    found |= {key for row in described["commands"] + described["settings"] for key in row}
    assert "given_name" in found
    assert not [name for name in found if not re.fullmatch("[a-z0-9_]+", name)]
    for method, path in ("PATCH", "/users/alice@localhost"), ("POST", "/commands/user-set"):
        refused = api(method, path, {"given-name": "A"})
        assert (refused.status, refused.json["argument"]) == (422, "given-name")
        assert refused.json["detail"] == \
            'user set: found argument "given-name", allowed given_name'
    refused = api("DELETE", "/users/alice@localhost?keep-address")
    assert (refused.status, "allowed keep_address" in refused.json["detail"]) == (422, True)
    answer = Control(server).run("user del", jid="alice@localhost", **{"keep-address": True})
    assert answer["text"] == 'user del: found argument "keep-address", allowed keep_address'


def test_lists_in_parameters_are_as_the_document_says(api):
    """They are separated by spaces; the path has none, where OpenAPI has no such style."""
    document, lists = api("GET", "/openapi.json").json, 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation["parameters"]:
                if "array" in json.dumps(parameter["schema"]):
                    assert parameter["in"] == "query", (method, path)
                    assert (parameter["style"], parameter["explode"]) == ("spaceDelimited", False)
                    lists += 1
    assert lists > 0
    assert api("POST", "/groups", {"name": "team"}).status == 200
    both = ["alice@localhost", "bob@localhost"]
    assert api("POST", "/groups/team/members", {"users": both}).status == 200
    assert api("DELETE", "/groups/team/members?users=" + "%20".join(both)).status == 200


def test_the_example(server, tmp_path):
    file = tmp_path / "people.csv"
    file.write_text("jid,password,given_name,surname\nerin@localhost,a good secret,Erin,Roe\n")
    for status in 201, 200:
        done = subprocess.run(
            [sys.executable, ROOT / "docs/examples/users.py",
             f"http://127.0.0.1:{server.api.port}{ROOT_PATH}", file],
            capture_output=True, text=True, check=True, timeout=TIMEOUT,
            env={**os.environ, "MUSTER_TOKEN": server.api.token})
        assert f"/users/erin@localhost {status} " in done.stdout
        assert "\nerin@localhost 20" in done.stdout
    assert server.rows("user", "show", "erin@localhost")[0]["surname"] == "Roe"


def test_two_changes_of_one_thing_are_so_however_its_name_is_written(make_server):
    """Of those that compare one ETag at the same time, one succeeds."""
    server = api_server(make_server)
    server.add_user("alice")
    api = server.api
    room = {"owners": "alice@localhost"}
    assert api("PUT", "/rooms/den@conference.localhost", room).status == 201
    for path, other, member in (("/users/alice@localhost", "/users/ALICE@LOCALHOST", "surname"),
                                ("/rooms/den@conference.localhost",
                                 "/rooms/Den@Conference.localhost", "name")):
        for i in range(20):
            etag = api("GET", path).getheader("ETag")
            with ThreadPoolExecutor(4) as pool:
                answers = list(pool.map(
                    lambda n: api("PATCH", (path, other)[n % 2], {member: f"{i}-{n}"},
                                  If_Match=etag).status, range(4)))
            assert sorted(answers)[0] == 200 and set(sorted(answers)[1:]) <= {409, 412}, answers
