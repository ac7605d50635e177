"""Resources of the API: history and candidate of settings, and rooms that are made and changed by
the same request; and the errors, with their texts."""
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import database
from harness.client import until
from harness.muc import Room
from surface.test_api import LEFT_OUT, api_server, pages, without_streams
from surface.test_api_resources import filled, other, path_of

LIMIT = "roster.groups-max"


@pytest.fixture
def server(make_server):
    server = api_server(make_server)
    for name in "alice", "bob":
        server.add_user(name, "secret")
    return server


@pytest.fixture
def api(server):
    return server.api


def viewer_of(server):
    return server.rows("token", "add", "eyes", "viewer")[0]["token"]


# --- things that are as they are ---


def test_a_change_to_what_it_is_changes_nothing(server, api):
    """Also of a part of it, and of several words as a list, in any order."""
    user, group = "/users/alice@localhost", "/groups/sales"
    assert api("PATCH", user, {"given_name": "Alice", "email": "a@b.test"}).status == 200
    assert api("PUT", group, {"members": ["bob@localhost", "alice@localhost"]}).status == 201
    before = len(server.rows("audit", "list"))
    for path, method, body in (
            (user, "PATCH", {"given_name": "Alice"}), (user, "PATCH", {"surname": ""}),
            *((group, method, body) for method in ("PUT", "PATCH") for body in (
                {"members": ["alice@localhost", "bob@localhost"]},
                {"members": "bob@localhost alice@localhost bob@localhost".split()},
                {"domains": [], "rules": []}, {"visible_to": ["members"]}))):
        answer = api(method, path, body)
        assert (answer.status, answer.json["text"]) == (200, "nothing to change"), (path, body)
    assert len(server.rows("audit", "list")) == before
    rules = ["department=Field Sales", "source=ldap"]
    assert api("PATCH", group, {"rules": rules}).json["text"] != "nothing to change"
    assert api("GET", group).json["rules"] == " ".join(rules)
    assert api("PATCH", group, {"rules": rules}).json["text"] == "nothing to change"
    assert api("PATCH", group, {"members": ["bob@localhost"]}).json["text"] != "nothing to change"
    assert api("PATCH", group, {"members": []}).json["text"] != "nothing to change"
    assert api("GET", group).json["members"] == ""
    assert api("PATCH", user, {"given_name": "Al"}, token=viewer_of(server)).status == 403


@pytest.mark.parametrize("method, path, body, wrong, allowed", [
    ("PATCH", "/users/alice@localhost", {"given_name": 5}, "given_name", "a text"),
    ("PATCH", "/users/alice@localhost", {"given_name": True}, "given_name", "a text"),
    ("PATCH", "/users/alice@localhost", {"given_name": ["A"]}, "given_name", "a text"),
    ("PUT", "/groups/g", {"members": 7}, "members", "a list of texts"),
    ("PUT", "/groups/g", {"members": [7]}, "members", "list"),
    ("PUT", f"/settings/{LIMIT}", {"value": 7}, "value", "a text"),
    ("PUT", f"/settings/{LIMIT}", {"default": 1}, "default", "true or false"),
    ("POST", "/commands/user-list", {"limit": True}, "limit", "a number"),
])
def test_a_value_of_another_type_is_refused(api, method, path, body, wrong, allowed):
    """As the document says it; what is a number, or true or false, may be a text as in a query."""
    answer = api(method, path, body)
    assert (answer.status, answer.json["argument"]) == (422, wrong), answer.text
    assert answer.json["detail"].startswith(wrong) and allowed in answer.json["detail"]
    for good in {"limit": "1"}, {"limit": 1}:
        assert len(api("POST", "/commands/user-list", good).json["rows"]) == 1


@pytest.mark.parametrize("method, path, body, words", [
    ("PUT", "/users/carol@localhost", {}, ["password"]),
    ("PUT", f"/settings/{LIMIT}", {}, ["value", "default"]),
    ("PUT", f"/settings/candidate/{LIMIT}", {}, ["value", "default"]),
    ("PATCH", "/users/alice@localhost", {}, ["email"]),
    ("POST", "/commands/group-set", {"name": "g"}, ["visible_to", "members"]),
    ("PATCH", "/rooms/cave@conference.localhost", {}, ["name", "public"]),
])
def test_refusals_name_members(server, api, method, path, body, words):
    server.ctl("room", "create", "cave@conference.localhost", "alice@localhost")
    answer = api(method, path, body)
    assert answer.status == 422, answer.text
    assert "--" not in answer.json["detail"]
    assert [word for word in words if word not in answer.json["detail"]] == []


def test_refusals_name_options_to_whoever_wants_so(api):
    def refusal(**headers):
        return api("PATCH", "/users/alice@localhost", {}, **headers).json["detail"]

    assert "`email`" in refusal() and "--email" not in refusal()
    assert "--email" in refusal(Prefer="names=options")


# --- things that somebody changes and may not read ---

ROOM = "/rooms/new@conference.localhost"
MADE = [("/users/new@localhost", {"password": "secret-471147"}, {"given_name": "Al"}),
        ("/templates/new", {"department": "sales"}, {"department": "board"}),
        ("/groups/new", {"members": ["alice@localhost"]}, {"members": ["bob@localhost"]}),
        (ROOM, {"owners": ["alice@localhost"]}, {"name": "Tea"}),
        ("/admins/new", {"role": "writer", "password": "secret-471147"}, {"role": "writer"})]


@pytest.fixture
def writer(server):
    server.ctl("role", "set", "writer", "*.write")
    return server.rows("token", "add", "writer", "writer")[0]["token"]


@pytest.mark.parametrize("path, made, changed", MADE, ids=[path for path, _, _ in MADE])
def test_who_may_only_change_a_thing_makes_it_and_changes_it(api, writer, path, made, changed):
    """A repeated request finds what it made. Nothing tells what the thing is like."""
    assert api("GET", path, token=writer).status == 403
    for body in made, made, {**made, **changed}, changed, {}:
        answer = api("PUT", path, body, token=writer)
        assert (answer.status, answer.getheader("ETag")) == (200, None), (body, answer.text)
    shown = api("GET", path)
    for name, value in {**made, **changed}.items():
        if name != "password":
            assert shown.json[name] == (value if isinstance(value, str) else " ".join(value))
    assert api("PUT", path, changed, token=writer).json["text"] != "nothing to change"
    assert api("PUT", path, changed, token=writer, If_None_Match="*").status == 412
    etag = api("GET", path).getheader("ETag")
    assert api("PUT", path, changed, token=writer, If_Match='"other"').status == 412
    assert api("PUT", path, changed, token=writer, If_Match=etag).status == 200
    assert api("PATCH", path, changed, token=writer, If_Match=etag).status == 200
    assert api("DELETE", path, None, token=writer, If_Match='"other"').status == 412


def test_who_may_not_read_a_thing_does_not_learn_by_sending_what_it_may_be(server, api, writer):
    """Right and wrong guesses of what only GET has get the same answer."""
    path = "/users/alice@localhost"
    shown, guessed = api("GET", path).json, set()
    body = api("GET", "/openapi.json").json["paths"]["/users/{jid}"]["put"]["requestBody"]
    for name, rule in body["content"]["application/json"]["schema"]["properties"].items():
        if rule.get("readOnly") and name in shown:
            right, wrong = (api("PUT", path, {name: value}, token=writer)
                            for value in (shown[name], other(shown[name])))
            assert (right.status, right.json["argument"]) == (422, name), right.text
            assert right.json["detail"] == wrong.json["detail"]
            guessed.add(name)
    assert guessed


def test_no_put_of_the_document_needs_more_than_its_permission(server, api, writer):
    values, document = filled(server), api("GET", "/openapi.json").json
    seen = []
    for template, of in document["paths"].items():
        if "put" not in of:
            continue
        need = f"{of['put']['x-permission']} {of['put'].get('x-also-permission', '')}"
        server.ctl("role", "set", "writer", need)
        for path in path_of(template, values), path_of(template, {}):
            answer = api("PUT", path, {}, token=writer)
            refused = answer.status == 403 and "`role list` shows" in answer.text
            assert not refused, (path, need, answer.text)  # but for what others are protected from
        seen.append(template)
    assert len(seen) > 20 and set(seen) >= {"/users/{jid}", "/settings/{setting}", "/motd"}


# --- messages ---


def test_a_cursor_of_another_archive_is_refused(server, api):
    """Of a room and of a user."""
    alice, bob = (server.login(name, resource="a") for name in ("alice", "bob"))
    for name in "cave", "den":
        server.ctl("room", "create", f"{name}@conference.localhost", "alice@localhost")
        room = Room(name)
        room.enter(alice, "first")
        for text in "one", "two":
            room.say(alice, text)
            room.expect_body(alice, "first", text)
            alice.send(f"<message to='{bob.jid}' type='chat'><body>{name} {text}</body></message>")
    for one, other_one in (("/rooms/cave@conference.localhost", "/rooms/den@conference.localhost"),
                           ("/users/alice@localhost", "/users/bob@localhost")):
        query = "messages?reason=case+1&limit=1"
        until("two messages", lambda at=one: "next" in api("GET", f"{at}/{query}").json)
        cursor = api("GET", f"{one}/{query}").json["next"]
        assert api("GET", f"{one}/{query}&cursor={cursor}").status == 200
        refused = api("GET", f"{other_one}/{query}&cursor={cursor}")
        assert (refused.status, refused.json["argument"]) == (400, "cursor"), refused.text
        assert refused.json["detail"].startswith("cursor: found one that no answer of this list")


def test_the_characters_of_a_reason_are_counted_as_its_refusal_says(server, api):
    server.ctl("room", "create", "cave@conference.localhost", "alice@localhost")
    path = "/rooms/cave@conference.localhost/messages?reason="
    for reason in "a%0Ab", "%0A%0A%0A", "a%20b":
        refused = api("GET", path + reason)
        assert (refused.status, refused.json["argument"]) == (422, "reason"), refused.text
        assert "3 characters, blanks and line breaks not counted" in refused.json["detail"]
    assert api("GET", f"{path}a%0Abc").status == 200


# --- settings ---


def test_the_history_of_settings_is_a_resource(api, server):
    for value in "71", "72", "73":
        server.ctl("set", LIMIT, value)
    whole = api("GET", "/settings/history").json
    versions = [row["version"] for row in whole["items"]]
    assert versions == sorted(versions, reverse=True) and "next" not in whole
    assert pages(api, "/settings/history", "version") == versions
    mine = api("GET", f"/settings/history?setting={LIMIT}").json["items"]
    assert [row["version"] for row in mine] == versions[:3]
    assert pages(api, f"/settings/history?setting={LIMIT}&", "version") == versions[:3]
    assert api("GET", f"/settings/history/{versions[0]}").json["items"] == [
        {"setting": LIMIT, "before": "72", "after": "73"}]
    assert api("GET", f"/settings/history/{versions[2]}/differences").json["items"] == [
        {"setting": LIMIT, "before": "71", "after": "73"}]
    assert api("GET", f"/settings/history/{versions[2]}/differences?to={versions[1]}").json[
        "items"] == [{"setting": LIMIT, "before": "71", "after": "72"}]
    assert api("GET", "/settings/history/999999").status == 404
    assert api("GET", "/settings/history/first").status == 422
    assert api("POST", "/settings/rollback", {"version": versions[2]}).status == 200
    assert server.rows("get", LIMIT)[0]["value"] == "71"
    assert "go on with --after" in server.ctl("config", "history", "--limit", "1")["text"]
    assert api("POST", "/settings/rollback", {}, token=viewer_of(server)).status == 403


def test_the_candidate_is_a_resource(api, server):
    path = "/settings/candidate"
    assert api("GET", path).json["items"] == []
    for _ in range(2):
        assert api("PUT", f"{path}/{LIMIT}", {"value": "77"}).status == 200
    row, = api("GET", path).json["items"]
    assert (row["setting"], row["candidate"]) == (LIMIT, "77")
    owner, = api("GET", "/settings/candidates").json["items"]
    assert (owner["owner"], owner["settings"]) == ("token:tests", 1)
    etag = api("GET", path).getheader("ETag")
    assert api("GET", path, If_None_Match=etag).status == 304
    assert api("PUT", f"{path}/sm.ack-every", {"value": "7"}).status == 200
    assert api("DELETE", path, If_Match=etag).status == 412
    assert api("DELETE", f"{path}/sm.ack-every").status == 200
    assert api("DELETE", path, If_Match=etag).status == 200
    assert api("GET", path).json["items"] == []
    assert api("PUT", f"{path}/{LIMIT}", {"value": "many"}).status == 422
    assert api("PUT", f"{path}/no.such", {"value": "1"}).status == 404
    assert api("PUT", f"{path}/{LIMIT}", {"value": "78"}).status == 200
    eyes = viewer_of(server)
    for method, more in (("PUT", f"/{LIMIT}"), ("DELETE", ""), ("POST", "/apply")):
        body = None if method == "DELETE" else {"value": "9"} if method == "PUT" else {}
        assert api(method, path + more, body, token=eyes).status == 403, method
    assert api("POST", f"{path}/apply", {"confirm": "1h", "comment": "more"}).status == 200
    newest = api("GET", "/settings/history").json["items"][0]
    assert newest["state"] == "waits"
    version = newest["version"]
    assert api("POST", "/settings/confirmation", {"version": version + 1}).status == 409
    assert api("POST", "/settings/rollback", {"waits": version + 1}).status == 409
    assert api("POST", "/settings/confirmation", {"version": version}).status == 200
    assert api("GET", "/settings/history").json["items"][0]["state"] == "confirmed"
    assert api("GET", f"/settings/{LIMIT}").json["value"] == "78"


# --- rooms ---

ROOM = "/rooms/tea@conference.localhost"


def test_a_room_is_made_and_changed_by_the_same_request(api, server):
    given = {"owners": "alice@localhost", "name": "Tea", "description": "at five", "public": False,
             "members_only": True}
    assert api("GET", ROOM).status == 404
    assert api("PUT", ROOM, {}).status == 422
    assert api("PUT", ROOM, given, If_Match='"x"').status == 412
    assert api("PUT", ROOM, given).status == 201
    room = api("GET", ROOM)
    etag = room.getheader("ETag")
    assert (room.json["name"], room.json["description"], room.json["public"]) == (
        "Tea", "at five", False)
    assert room.json["members_only"] and not room.json["moderated"]
    assert room.json["owners"] == "alice@localhost"
    for again in given, given, {}:
        assert api("PUT", ROOM, again).status == 200
        assert api("GET", ROOM, If_None_Match=etag).status == 304
    assert api("PUT", ROOM, given, If_None_Match="*").status == 412
    assert given.items() <= room.json.items()
    both = {"owners": ["alice@localhost", "bob@localhost"]}
    assert api("PATCH", ROOM, both).status == 200
    assert set(api("GET", ROOM).json["owners"].split()) == set(both["owners"])
    assert api("PUT", ROOM, api("GET", ROOM).json).json["text"] == "nothing to change"
    changed = {"owners": "bob@localhost", "public": True, "moderated": True, "description": ""}
    assert api("PUT", ROOM, changed, If_Match=etag).status == 412
    assert api("PUT", ROOM, changed, If_Match=api("GET", ROOM).getheader("ETag")).status == 200
    room = api("GET", ROOM).json
    assert (room["name"], room["description"], room["public"]) == ("Tea", "", True)
    assert room["members_only"] and room["moderated"]
    assert (room["owners"], room["members"]) == ("bob@localhost", "alice@localhost")
    for method in "PUT", "PATCH", "DELETE":
        body = None if method == "DELETE" else {"name": "Other"}
        assert api(method, ROOM, body, If_Match=etag).status == 412
    assert api("PATCH", ROOM, {"name": "Coffee", "members_only": False}).status == 200
    room = api("GET", ROOM).json
    assert room["name"] == "Coffee" and not room["members_only"]
    for wrong in {"name": "two\nlines"}, {"owners": ["bob@localhost", "nobody@localhost"]}, \
            {"owners": ""}, {"owners": []}, {"public": "perhaps"}, {}:
        before = api("GET", ROOM).text
        assert api("PATCH", ROOM, wrong).status in (404, 422), wrong
        assert api("GET", ROOM).text == before
    assert api("PATCH", "/rooms/none@conference.localhost", {"name": "x"}).status == 404
    eyes = viewer_of(server)
    for method in "PUT", "PATCH":
        assert api(method, ROOM, {"name": "x"}, token=eyes).status == 403
    assert api("DELETE", ROOM).status == 200 and api("GET", ROOM).status == 404


def test_occupants_are_told_what_a_change_of_their_room_means(api, server):
    assert api("PUT", ROOM, {"owners": "alice@localhost"}).status == 201
    room = Room("tea")
    alice = server.login("alice")
    room.enter(alice, "first")
    assert api("PUT", ROOM, {"owners": "bob@localhost", "name": "Tea"}).status == 200
    alice.expect("<message type='groupchat'><x xmlns='http://jabber.org/protocol/muc#user'>"
                 "<status code='104'/></x></message>")
    server.ctl("room", "change", room.jid, "--moderated", "on")
    assert api("GET", ROOM).json["moderated"] is True


# --- what is refused and shown ---


@pytest.mark.parametrize("body,words", [
    (b'{"jid": "a\\u0000b"}', "NUL"), (b'{"a\\u0000": 1}', "NUL"),
    (b'{"jid": "a", "jid": "b"}', "twice"),
    (b'{"jid": "\xff"}', "UTF-8"), (b'{"jid": "a"', "the end"), (b'{"jid": }', "syntax"),
    (b'{"jid": 1' + b"0" * 400 + b"}", "too large"), (b"[" * 5000, "too deep"),
    (b"{} {}", "behind"), (b"[1]", "no object")])
def test_a_body_that_is_not_json_is_explained_in_words(api, body, words):
    answer = api("POST", "/commands/user-show", body, Content_Type="application/json")
    assert answer.status == 400 and words in answer.json["detail"], answer.text
    assert "_" not in answer.json["detail"] and "JSON" in answer.json["detail"]


@pytest.mark.parametrize("mark", "\u202e\u202a\u2066\u2069\u200f\u061c")
def test_directions_are_escaped_in_tables(server, mark):
    server.ctl("user", "set", "alice@localhost", "--given-name", f"a{mark}b")
    table = server.ctl_run("user", "show", "alice@localhost").stdout
    assert f"a\\u{ord(mark):04x}b" in table and mark not in table
    assert server.rows("user", "show", "alice@localhost")[0]["given_name"] == f"a{mark}b"


DAVE = "dave@localhost"
# Arguments of all commands that have them, and of some that would be refused for another reason.
GIVEN = {"email": "a@a.test", "contacts": ["c@a.test"], "jid": "alice@localhost", "role": "viewer",
         "owner": "alice@localhost", "owners": ["alice@localhost"], "secret": "s" * 32,
         "permissions": "users.read",
         "new_owner": "bob@localhost",
         "reason": "it is asked", "url": "https://a.test/", "code": "123456"}
OF = {"admin create": {"name": "c", "password": "secret-471147"},
      "component add": {"domain": "c.localhost"},
      "component del": {"domain": "a.localhost"}, "component secret": {"domain": "a.localhost"},
      "config edit": {"value": "7"},
      "contact group": {"users": ["alice@localhost", "bob@localhost"]},
      "federation allow": {"domain": "a.test"}, "federation block": {"domain": "c.test"},
      "group set": {"shown": "A"}, "group-member add": {"users": [DAVE]},
      "group-member del": {"users": ["alice@localhost"]}, "room change": {"name": "Tea"},
      "room cleanup": {"older_than": "90d"}, "room owner": {"rooms": ["a@conference.localhost"]},
      "room set": {"field": "muc#roomconfig_roomname", "value": "Tea"}, "set": {"value": "7"},
      "test user-add": {"password": "secret"}, "token add": {"name": "c"},
      "user add": {"jid": DAVE, "password": "secret-471147"},
      "user password": {"password": "secret-471147"}, "webhook add": {"events": "user.created"}}


def changes(document, values):
    """Each command that changes something, with what it needs, and options that it may need."""
    for path, operations in without_streams(document):
        operation = operations.get("post", {})
        if (not path.startswith("/commands/") or operation["x-command"] in LEFT_OUT
                or operation.get("x-access") == "local"
                or not operation["x-permission"].endswith(".write")):
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        body = dict(OF.get(operation["x-command"], {}))
        for name, one in schema["properties"].items():
            one = one.get("anyOf", [one])[0]
            if name not in body and (name in schema["required"] or name == "email"):
                body[name] = (
                    GIVEN.get(name) or values.get(name) or next(iter(one.get("enum", [])), None)
                    or (True if one.get("type") == "boolean" else
                        one.get("minimum", 1) if one.get("type") == "integer" else "a"))
        yield path, body


@pytest.mark.sqlite
def test_what_needs_the_database_says_that_it_is_away(make_server):
    with database.private() as cluster:
        server = api_server(make_server, conf={"database": cluster.url("postgres")})
        for name in "alice", "bob":
            server.add_user(name)
        document, values = server.api("GET", "/openapi.json").json, filled(server)
        paths = [path_of(path, values) for path, operations in without_streams(document)
                 if "get" in operations]
        cluster.stop()
        with ThreadPoolExecutor(8) as pool:
            answers = dict(zip(paths, pool.map(lambda path: server.api("GET", path), paths)))
        answers |= {path: server.api("POST", path, body)
                    for path, body in changes(document, values)}
        cluster.start()
        server.stop()
    refused = {path: answer for path, answer in answers.items() if answer.status >= 500}
    assert {"/settings/history", path_of("/users/{jid}/vcard", values),
            "/commands/user-set", "/commands/test-user-add", "/commands/room-create",
            "/commands/room-owner", "/commands/set", "/commands/user-password"} <= set(refused)
    assert {path: answer.text for path, answer in refused.items()
            if answer.status != 503 or "database" not in answer.json["detail"]} == {}
