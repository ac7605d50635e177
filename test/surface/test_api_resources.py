"""Resources of the API that are made, changed and read as a whole: groups, tokens, roles, nodes."""
import concurrent.futures
import re
import urllib.parse

import pytest

from harness import json_schema
from harness.client import until
from harness.muc import Room
from surface.test_api import Api, api_server, pages
from im.test_groups import listening
from im.test_roster import get, items, push

ALICE, BOB, CAROL = (f"{name}@localhost" for name in ("alice", "bob", "carol"))


@pytest.fixture
def server(make_server):
    server = api_server(make_server)
    for name in "alice", "bob", "carol":
        server.add_user(name, "secret")
    return server


@pytest.fixture
def api(server):
    return server.api


def members(api, name="sales"):
    return [row["jid"] for row in api("GET", f"/groups/{name}/members").json["items"]]


def test_put_replaces_the_members_of_a_group(api):
    path = "/groups/sales"
    assert api("PUT", path, {"members": [ALICE, BOB]}).status == 201
    assert members(api) == [ALICE, BOB]
    for given in [BOB, CAROL], [CAROL, BOB, BOB], [CAROL], [], [ALICE]:
        for _ in range(2):
            answer = api("PUT", path, {"members": given})
            assert answer.status == 200, answer.text
            assert members(api) == sorted(set(given))
    etag = api("GET", path).getheader("ETag")
    assert api("PUT", path, {"members": [ALICE]}, If_Match=etag).status == 200
    assert api("GET", path).getheader("ETag") == etag
    assert api("PATCH", path, {"members": f"{ALICE} {BOB}"}, If_Match=etag).status == 200
    assert api("PUT", path, {"members": []}, If_Match=etag).status == 412
    assert api("PUT", path, {"shown": "Sellers"}).status == 200
    assert members(api) == [ALICE, BOB]
    assert api("PUT", path, {"shown": "Sales", "visible_to": "domain:localhost",
                             "members": [CAROL]}).status == 200
    group = {"name": "sales", "shown": "Sales", "visible_to": "domain:localhost",
             "members": CAROL, "domains": "", "rules": "", "now": 1}
    assert api("GET", path).json == group
    assert api("PUT", path, group).json["text"] == "nothing to change"
    assert api("PUT", path, {**group, "rules": "department=Field Sales", "domains": ["localhost"]
                             }).status == 200
    assert api("GET", path).json == {**group, "rules": "department=Field Sales",
                                     "domains": "localhost", "now": 3}
    assert api("PUT", "/groups/copy", {name: value for name, value in api("GET", path).json.items()
                                       if name not in ("name", "now")}).status == 201
    assert api("GET", "/groups/copy").json == {**api("GET", path).json, "name": "copy"}


def named(api, path):
    """Members by name, by pages."""
    found, cursor = [], ""
    while cursor is not None:
        page = api("GET", f"{path}/members?named=true&limit=1000{cursor}").json
        found += [row["jid"] for row in page["items"]]
        cursor = f"&cursor={page['next']}" if "next" in page else None
    return found


def test_what_a_group_shows_can_be_sent_back(api, server):
    """However many members it has: all are shown, or none, and then their number and a digest."""
    server.ctl("set", "groups.members-max", "4000")
    people = [f"{n:05}-{'x' * 28}@localhost" for n in range(4000)]
    with server.database() as db:
        db.execute("INSERT INTO account(jid, created_us, disabled) VALUES"
                   + ", ".join(f"('{jid}', 0, 0)" for jid in people))
    path = "/groups/sales"
    assert api("PUT", path, {"members": people[:1]}).status == 201
    for count in 1, 2000, 4000:
        if count == 2000:
            assert api("PUT", path, {"members": people[:2000]}).status == 200
        if count == 4000:
            assert api("POST", f"{path}/members", {"users": people[2000:]}).status == 200
        answer = api("GET", path)
        group, etag = answer.json, answer.getheader("ETag")
        assert ("members" in group, "named" in group) == (count < 4000, count == 4000)
        assert group.get("named", count) == count == len(named(api, path))
        for method in "PUT", "PATCH":
            assert api(method, path, group, If_Match=etag).json["text"] == "nothing to change"
        assert api("PUT", path, {**group, "shown": f"S{count}"}).status == 200
        assert named(api, path) == people[:count]
        etag = api("GET", path).getheader("ETag")
        server.ctl("group-member", "del", "sales", people[0])
        server.ctl("group-member", "add", "sales", ALICE)
        assert api("PUT", path, group, If_Match=etag).status == 412
        server.ctl("group-member", "del", "sales", ALICE)
        server.ctl("group-member", "add", "sales", people[0])


def test_members_that_are_given_leave_domains_and_rules(api, server):
    server.ctl("group", "add", "sales")
    server.ctl("group-member", "add", "sales", BOB, "--domain", "localhost",
               "--rule", "department=Sales")
    assert members(api) == [ALICE, BOB, CAROL]
    assert api("PUT", "/groups/sales", {"members": [ALICE]}).status == 200
    assert members(api) == [ALICE, BOB, CAROL]
    before = api("GET", "/groups/sales").json
    assert (before["members"], before["domains"], before["rules"]) == (
        ALICE, "localhost", "department=Sales")
    assert api("PUT", "/groups/sales", {**before, "domains": "", "rules": ""}).status == 200
    assert members(api) == [ALICE]
    server.add_user("dave")
    assert members(api) == [ALICE]


def test_accounts_that_a_domain_brings_change_nothing_that_is_compared(api, server):
    """The group shows how many users are in it now, which If-Match leaves out; the list of its
    members has pages, and so no ETag."""
    path = "/groups/sales"
    assert api("PUT", path, {"members": [ALICE], "domains": "localhost"}).status == 201
    before = api("GET", path)
    etag = before.getheader("ETag")
    server.add_user("dave")
    until("dave is in it", lambda: api("GET", path).json["now"] == 4)
    assert api("GET", path, If_None_Match=etag).json == {**before.json, "now": 4}
    assert api("PATCH", path, {"shown": "Sales"}, If_Match=etag).status == 200
    assert api("PATCH", path, {"shown": "Other"}, If_Match=etag).status == 412
    assert len(members(api)) == 4
    assert api("GET", f"{path}/members").getheader("ETag") is None
    answer = api("POST", f"{path}/members", {"users": [BOB]}, If_Match=etag)
    assert answer.status == 412 and "no ETag" in answer.json["detail"]


def test_members_are_refused_as_a_whole(api, server):
    """Nothing of the request is done."""
    path = "/groups/sales"
    wrong = "nobody@localhost", "alice@elsewhere.test", "localhost", "@", "x" * 1100
    for one in wrong:
        assert 400 <= api("PUT", path, {"members": [ALICE, one]}).status < 500, one
        assert api("GET", path).status == 404
    assert api("PUT", path, {"members": [ALICE, BOB]}).status == 201
    before = api("GET", path).text
    for one in wrong:
        for method in "PUT", "PATCH":
            answer = api(method, path, {"members": [CAROL, one], "shown": "Other"})
            assert 400 <= answer.status < 500 and answer.json["argument"] == "members", one
            assert api("GET", path).text == before
    server.ctl("set", "groups.members-max", "2")
    answer = api("PUT", path, {"members": [ALICE, BOB, CAROL], "shown": "Other"})
    assert answer.status == 422 and "groups.members-max" in answer.json["detail"]
    assert api("GET", path).text == before
    assert api("PUT", "/groups/other", {"members": [ALICE, BOB, CAROL]}).status == 422
    assert api("GET", "/groups/other").status == 404
    assert api("PUT", path, {"members": [CAROL, BOB, CAROL]}).status == 200
    viewer = server.rows("token", "add", "eyes", "viewer")[0]["token"]
    assert api("PUT", path, {"members": []}, token=viewer).status == 403
    assert members(api) == [BOB, CAROL]


def test_contacts_hear_only_what_changed(api, server):
    assert api("PUT", "/groups/sales", {"shown": "Sales", "members": [ALICE, BOB]}).status == 201
    alice, bob = listening(server, "alice"), listening(server, "bob")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    assert api("PUT", "/groups/sales", {"members": [BOB, ALICE]}).status == 200
    for client in alice, bob:
        client.expect_nothing("<iq type='set'/>")
    assert api("PUT", "/groups/sales", {"members": [ALICE, BOB, CAROL]}).status == 200
    for client in alice, bob:
        push(client, f"<item jid='{CAROL}' subscription='both'><group>Sales</group></item>")
        client.expect_nothing("<iq type='set'/>")
    assert api("PUT", "/groups/sales", {"members": [ALICE, CAROL]}).status == 200
    push(alice, f"<item jid='{BOB}' subscription='remove'/>")
    alice.expect_nothing("<iq type='set'/>")
    assert set(items(get(alice))) == {CAROL} and items(get(bob)) == {}


def test_members_in_the_audit_log(api, server):
    assert api("PUT", "/groups/sales", {"members": [ALICE, BOB]}).status == 201
    server.ctl("group-member", "add", "sales", "--domain", "localhost")
    assert api("PUT", "/groups/sales", {"members": [CAROL, ALICE], "domains": ""}).status == 200
    entry = until("the entry", lambda: next((
        row for row in server.rows("audit", "list") if row["command"] == "group set"), None))
    assert entry["actor"] == "token:tests" and CAROL in entry["args"]
    assert entry["before"] == f"domain=localhost {ALICE} {BOB}"
    assert entry["after"] == f"{ALICE} {CAROL}"


def test_the_members_of_a_large_group_at_once(api, server):
    """As many as a group may have by default."""
    names = [f"u{n:04}@localhost" for n in range(2001)]
    assert "2000" in api("PUT", "/groups/all", {"members": names}).json["detail"]
    assert api("PUT", "/groups/all", {"members": names[:2000]}).json["argument"] == "members"
    assert api("GET", "/groups/all").status == 404
    server.ctl("group", "add", "few", "--members", f"{ALICE} {BOB}")
    server.ctl("group", "set", "few", "--members", CAROL)
    assert members(api, "few") == [CAROL]
    server.ctl("group", "set", "few", "--members", "")
    assert members(api, "few") == []


# --- lists in pages ---


def test_groups_in_pages(api, server):
    """In order, none twice and none left out, also when some come and go meanwhile."""
    names = [f"team-{n:02}" for n in range(5)]
    for name in reversed(names):
        assert api("PUT", f"/groups/{name}", {}).status == 201
    assert pages(api, "/groups", "name") == names
    first = api("GET", "/groups?limit=2").json
    assert [row["name"] for row in first["items"]] == names[:2]
    assert api("DELETE", f"/groups/{names[1]}").status == 200
    assert api("PUT", "/groups/a-new-one", {}).status == 201
    rest = api("GET", f"/groups?cursor={first['next']}").json
    assert [row["name"] for row in rest["items"]] == names[2:] and "next" not in rest
    assert api("GET", "/groups?limit=0").status == 422
    assert api("GET", "/groups?cursor=zz").status == 400
    assert "go on with --after a-new-one" in server.ctl("group", "list", "--limit", "1")["text"]
    assert len(server.rows("group", "list")) == 5


def test_people_of_a_room_in_pages(api, server):
    clients = [server.client(name) for name in ("alice", "bob", "carol")]
    room = Room("cave")
    room.create(clients[0], "alice")
    for client, name in zip(clients[1:], ("bob", "carol")):
        room.enter(client, name)
    jids = [ALICE, BOB, CAROL]
    for jid in jids[1:]:
        assert api("PUT", f"/rooms/{room.jid}/affiliations/{jid}",
                   {"affiliation": "member"}).status == 200
    assert pages(api, f"/rooms/{room.jid}/affiliations", "jid") == jids
    assert pages(api, f"/rooms/{room.jid}/occupants", "jid") == sorted(str(c) for c in clients)


def test_a_component_that_is_there_keeps_its_secret(api, server):
    """PUT is idempotent (RFC 9110 §9.2.2), also by ten clients at once."""
    path = "/components/gw.localhost"
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: server.api("PUT", path, {}), range(10)))
    assert all(answer.status in (200, 201) for answer in answers)
    made = [row["secret"] for answer in answers for row in answer.json.get("rows", [])]
    assert len(made) == 1
    again = api("PUT", path, {})
    assert again.status == 200 and not again.json.get("rows")
    assert "is there already" in again.json["text"]
    new = api("POST", f"{path}/secret", {})
    assert new.status == 200 and new.json["rows"][0]["secret"] not in made
    assert api("POST", "/components/none.localhost/secret", {}).status == 404
    for body in {}, {"secret": "s" * 32}:  # no component may have it
        assert api("PUT", "/components/localhost", body).status == 409
    given = {"secret": "s" * 32}
    assert [api("PUT", path, given).status for _ in range(2)] == [200, 200]


def test_other_lists_in_pages(api, server):
    alice = server.client("alice")
    others = [f"{name}.localhost" for name in ("a", "b", "c")]
    for other in reversed(others):
        assert api("PUT", f"/components/{other}", {}).status in (200, 201)
        alice.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{other}'/></block>")
        server.ctl("room-alias", "add", f"rooms.{other}")
    assert pages(api, "/components", "domain") == others
    assert pages(api, "/users/alice@localhost/blocked", "jid") == others
    aliases = [row["alias"] for row in server.rows("room-alias", "list")]
    assert pages(api, "/room-aliases", "alias") == aliases == sorted(aliases)
    assert {f"rooms.{other}" for other in others} < set(aliases)


# --- single things ---


def one_of(api, path, key, name):
    """The row of a list is what GET of the thing gives, and all may be found behind its pages."""
    found = {row[key]: row for row in api("GET", path).json["items"]}
    assert pages(api, path, key) == sorted(found)
    assert found[name] == api("GET", f"{path}/{urllib.parse.quote(name, safe='')}").json
    return found[name]


def changed_by_itself(api, path, name):
    """The thing as it was read, and what waits until this member is another one."""
    first = api("GET", path)

    def changed():
        return api("GET", path).json.get(name) != first.json.get(name)
    return first, lambda: until(f"another {name}", changed)


def test_members_of_a_domain_come_and_go(api, server):
    """The number of those who are in a group is nothing that a change of the group compares."""
    path = "/groups/all"
    assert api("PUT", path, {"domains": "localhost"}).status == 201
    old, changed = changed_by_itself(api, path, "now")
    server.add_user("dave", "secret")
    changed()
    etag = old.getheader("ETag")
    assert api("GET", path, If_None_Match=etag).status == 200
    assert api("PATCH", path, {"shown": "Everybody"}, If_Match=etag).status == 200
    assert api("PATCH", path, {"shown": "Nobody"}, If_Match=etag).status == 412
    assert api("PUT", path, {**old.json, "shown": "All"}).status == 200


def test_what_becomes_of_its_events_changes_no_webhook(api, server):
    server.ctl("set", "webhook.allow-local", "on")
    hook = server.rows("webhook", "add", "http://127.0.0.1:1/", "--events", "user.changed")[0]["id"]
    old, changed = changed_by_itself(api, f"/webhooks/{hook}", "failure")
    server.ctl("user", "set", ALICE, "--given-name", "Alice")
    changed()
    assert api("GET", f"/webhooks/{hook}").json["waiting"] == 1
    etag = old.getheader("ETag")
    assert api("DELETE", f"/webhooks/{hook}", If_Match=etag).status == 200


def test_a_use_changes_no_token(api, server):
    token = server.rows("token", "add", "eyes", "viewer")[0]["token"]
    old, changed = changed_by_itself(api, "/tokens/eyes", "used")
    assert Api(api.port, token)("GET", "/users").status == 200
    changed()
    assert api("DELETE", "/tokens/eyes", If_Match=old.getheader("ETag")).status == 200


def test_a_token_is_a_resource(api, server):
    assert api("GET", "/tokens/eyes").status == 404
    assert api("POST", "/tokens", {"name": "eyes", "role": "viewer", "scope": "users.read",
                                   "expires": "1h"}).status == 200
    token = one_of(api, "/tokens", "name", "eyes")
    assert (token["role"], token["scope"], token["made_by"]) == ("viewer", "users.read",
                                                                 "token:tests")
    etag = api("GET", "/tokens/eyes").getheader("ETag")
    assert api("GET", "/tokens/eyes", If_None_Match=etag).status == 304
    assert api("DELETE", "/tokens/eyes", If_Match='"other"').status == 412
    assert api("DELETE", "/tokens/eyes", If_Match=etag).status == 200
    for method in "GET", "DELETE":
        answer = api(method, "/tokens/eyes")
        assert answer.status == 404 and "token list" in answer.json["detail"]
    assert server.ctl_run("token", "show", "eyes").returncode == 1


def test_several_words_are_a_list(api):
    """Of members that the document of the API has as a list, too."""
    path = "/roles/listed"
    assert api("PUT", path, {"permissions": ["users.read", "rooms.*"]}).status == 201
    assert api("GET", path).json["permissions"] == "users.read rooms.*"
    assert api("PUT", path, {"permissions": ["users.read", "nonsense"]}).status == 422
    assert api("POST", "/tokens", {"name": "listed", "role": "listed",
                                   "scope": ["users.read", "rooms.read"]}).status == 200
    assert api("GET", "/tokens/listed").json["scope"] == "users.read rooms.read"
    made = api("POST", "/webhooks", {"url": "https://hook.example.org/",
                                     "events": ["user.*", "alarm.raised"]})
    assert made.json["rows"][0]["events"] == "user.* alarm.raised"
    paths = api("GET", "/openapi.json").json["paths"]
    for path, method, name in (("/roles/{name}", "put", "permissions"),
                               ("/tokens", "post", "scope"), ("/webhooks", "post", "events"),
                               ("/rooms/{room}/fields/{field}", "put", "value")):
        body, = paths[path][method]["requestBody"]["content"].values()
        kinds = [one["type"] for one in body["schema"]["properties"][name]["anyOf"]]
        assert kinds == ["string", "array"], path


def test_a_role_is_a_resource(api, server):
    path = "/roles/desk"
    assert api("GET", path).status == 404
    assert api("PUT", path, {"permissions": "users.read"}, If_Match='"x"').status == 412
    assert api("PUT", path, {"permissions": "users.read"}).status == 201
    assert one_of(api, "/roles", "name", "desk") == {
        "name": "desk", "permissions": "users.read", "built_in": False}
    etag = api("GET", path).getheader("ETag")
    assert api("PUT", path, {"permissions": "users.read"}).status == 200
    assert api("GET", path, If_None_Match=etag).status == 304
    assert api("PUT", path, {"permissions": "rooms.read"}, If_Match=etag).status == 200
    assert api("PUT", path, {"permissions": "users.*"}, If_Match=etag).status == 412
    assert api("DELETE", path, If_Match=etag).status == 412
    assert api("GET", path).json["permissions"] == "rooms.read"
    assert api("PUT", path, {"permissions": "*"}, If_None_Match="*").status == 412
    assert api("DELETE", path).status == 200 and api("GET", path).status == 404
    viewer = one_of(api, "/roles", "name", "viewer")
    assert viewer["built_in"] and viewer["doc"]
    for method, body in ("PUT", {"permissions": "*"}), ("DELETE", None):
        assert api(method, "/roles/viewer", body).status == 409


def test_an_administrator_is_a_resource(api, server):
    path = "/admins/nora"
    assert api("GET", path).status == 404
    assert api("PATCH", path, {"role": "viewer"}).status == 404
    made = api("PUT", path, {"role": "viewer", "password": "a good secret"})
    assert made.status == 201 and made.json["rows"] == []
    nora = one_of(api, "/admins", "name", "nora")
    assert (nora["role"], nora["source"], nora["disabled"]) == ("viewer", "admin create", False)
    etag = api("GET", path).getheader("ETag")
    assert api("PUT", path, {}).status == 200
    assert api("GET", path, If_None_Match=etag).status == 304
    assert api("PUT", path, {"role": "auditor"}, If_Match=etag).status == 200
    assert api("PATCH", path, {"role": "viewer"}, If_Match=etag).status == 412
    assert api("GET", path).json["role"] == "auditor"
    refused = api("PUT", path, {"role": "viewer", "password": "another secret"})
    assert (refused.status, refused.json["argument"]) == (409, "password")
    assert "admin password" in refused.json["detail"]
    assert api("GET", path).json["role"] == "auditor"
    assert api("PUT", path + "/password", {"password": "another secret"}).status == 200
    assert api("PUT", path + "/password", {}).json["rows"][0]["password"]
    for _ in range(2):
        assert api("PUT", path + "/disabled", {}).status == 200
        assert api("GET", path).json["disabled"] is True
    assert api("DELETE", path + "/disabled").status == 200
    assert api("GET", path).json["disabled"] is False
    assert api("DELETE", path + "/lock").status == 404
    made = api("PUT", "/admins/mia", {"role": "operator"})
    assert made.status == 201 and made.json["rows"][0]["password"]
    eyes = server.rows("token", "add", "eyes", "administrator", "--scope", "*.read")[0]["token"]
    assert api("GET", path, token=eyes).status == 200
    for method, more, body in (("PUT", "", {"role": "viewer"}), ("PATCH", "", {"role": "viewer"}),
                               ("DELETE", "", None), ("PUT", "/password", {}),
                               ("PUT", "/disabled", {}), ("DELETE", "/disabled", None),
                               ("DELETE", "/lock", None)):
        assert api(method, path + more, body, token=eyes).status == 403, (method, more)
    assert api("DELETE", path).status == 200
    assert api("GET", path).status == api("DELETE", path).status == 404


def test_a_put_that_made_an_administrator_can_be_repeated(api, server):
    """Who has lost the answer sends the request again. Whether the password is theirs is said only
    to who could set it."""
    path, body = "/admins/nora", {"role": "administrator", "password": "a good secret"}
    assert api("PUT", path, body).status == 201
    etag = api("GET", path).getheader("ETag")
    for headers in {}, {"If_Match": etag}:
        again = api("PUT", path, body, **headers)
        assert (again.status, again.json["text"]) == (200, "nothing to change"), again.text
    assert api("PUT", path, body, If_None_Match="*").status == 412
    server.ctl("role", "set", "clerk", "admins.*")
    clerk = server.rows("token", "add", "clerk", "clerk")[0]["token"]
    for password in "a good secret", "another secret":
        assert api("PUT", path, {**body, "password": password}, token=clerk).status == 403
    assert api("GET", path).getheader("ETag") == etag
    assert api("PUT", path, {**body, "role": "viewer"}).status == 200
    assert api("GET", path).json["role"] == "viewer"
    told = server.ctl_run("admin", "create", "nora", "viewer", "--password", "a good secret")
    assert told.returncode != 0 and "with this password" in told.stderr


def test_a_locked_administrator_is_let_in_again(api, server):
    assert api("PUT", "/admins/nora", {"role": "viewer", "password": "a good secret"}).status == 201
    server.ctl("set", "admin.lock-failures", "2")
    for _ in range(2):
        assert api("POST", "/session", {"name": "nora", "password": "wrong"},
                   token=None).status == 401
    assert api("GET", "/admins/nora").json["locked"] is True
    assert api("DELETE", "/admins/nora/lock").status == 200
    assert api("GET", "/admins/nora").json["locked"] is False


def test_the_role_of_an_account_is_a_resource(api, server):
    path = f"/users/{ALICE}/role"
    assert api("GET", path).status == 404
    assert api("PUT", path, {"role": "viewer"}).status == 201
    assert api("GET", path).json == {"jid": ALICE, "role": "viewer", "source": "admin add"}
    assert one_of(api, "/admins", "name", ALICE)["source"] == "admin add"
    etag = api("GET", path).getheader("ETag")
    assert api("PUT", path, {"role": "viewer"}).status == 200
    assert api("GET", path, If_None_Match=etag).status == 304
    assert api("PUT", path, {"role": "auditor"}, If_Match=etag).status == 200
    assert api("PUT", path, {"role": "viewer"}, If_Match=etag).status == 412
    assert api("DELETE", path, If_Match=etag).status == 412
    assert api("PUT", path, {"role": "none"}).status >= 400
    assert api("GET", path).json["role"] == "auditor"
    assert api("DELETE", path).status == 200
    assert api("DELETE", path).status == api("GET", path).status == 404
    assert api("PUT", "/users/nobody@localhost/role", {"role": "viewer"}).status == 404
    server.ctl("set", "admin.accounts", BOB)
    assert api("GET", f"/users/{BOB}/role").json == {
        "jid": BOB, "role": "administrator", "source": "admin.accounts"}
    for method, body in ("PUT", {"role": "viewer"}), ("DELETE", None):
        assert api(method, f"/users/{BOB}/role", body).status == 409


def test_a_node_and_a_domain_are_resources(make_server):
    server = api_server(make_server, {"domains": ["localhost", "bücher.test"]})
    api = server.api
    node, = api("GET", "/nodes").json["items"]
    assert api("GET", f"/nodes/{node['node']}").json == node
    assert api("GET", "/nodes/nothing").status == 404
    for domain in api("GET", "/domains").json["items"]:
        for name in domain["domain"], domain["ascii"]:
            assert api("GET", f"/domains/{urllib.parse.quote(name)}").json == domain
    for other in "elsewhere.test", "xn--99zt52a.test":
        assert api("GET", f"/domains/{other}").status == 404


def test_what_a_request_names_besides_its_path_is_not_what_is_missing(api):
    """404 says that the thing of the path is not there; all else is 422, with its argument."""
    assert api("PUT", "/groups/sales", {}).status == 201
    assert api("PUT", "/admins/nora", {"role": "viewer"}).status == 201
    nobody, role = {"members": ["nobody@localhost"]}, {"role": "nothing"}
    for method, path, body, argument in (
            ("PUT", "/groups/sales", nobody, "members"),
            ("PATCH", "/groups/sales", {"visible_to": "group:nothing"}, "visible_to"),
            ("PATCH", "/groups/sales", {"visible_to": "domain:a.test"}, "visible_to"),
            ("POST", "/groups/sales/members", {"users": ["nobody@localhost"]}, "users"),
            ("DELETE", f"/groups/sales/members?users={BOB}", None, "users"),
            ("PUT", f"/users/{ALICE}/role", role, "role"), ("PUT", "/admins/nora", role, "role"),
            ("PUT", "/admins/mia", role, "role"), ("PATCH", "/admins/nora", role, "role"),
            ("POST", "/tokens", {"name": "eyes", **role}, "role"),
            ("GET", "/users?domain=a.test", None, "domain")):
        answer = api(method, path, body)
        assert (answer.status, answer.json.get("argument")) == (422, argument), (path, answer.text)
    for method, path, body in (
            ("PATCH", "/groups/nothing", {"members": []}), ("GET", "/groups/nothing", None),
            ("POST", "/groups/nothing/members", {"users": [ALICE]}),
            ("PATCH", "/admins/nothing", {"role": "viewer"}),
            ("PUT", "/users/nobody@localhost/role", {"role": "viewer"}),
            ("DELETE", "/tokens/nothing", None), ("GET", "/users/alice@a.test", None)):
        assert api(method, path, body).status == 404, (method, path)
    assert api("POST", "/commands/user-show", {"jid": "nobody@localhost"}).status == 404


# --- what holds for all of them, by the document ---

# What changes by itself, or with who asks.
MOVES = {"occupants", "messages", "last_message", "active", "since", "detail", "raised",
         "acknowledged", "acknowledged_by", "note", "entry", "protected", "own", "now", "accounts"}
MOVES_HERE = {("/admins/a", "locked"), ("/templates/a", "missing")}


def filled(server):
    """Something of each kind, so that lists have pages and things are there. Values for paths."""
    api = server.api
    for n in "ab":
        for path, body in ((f"/groups/{n}", {"members": [ALICE, BOB]}),
                           (f"/roles/{n}", {"permissions": "users.read"}),
                           (f"/templates/{n}", {"department": n}),
                           (f"/admins/{n}", {"role": "viewer"}),
                           (f"/users/{ALICE if n == 'a' else BOB}/role", {"role": "viewer"}),
                           (f"/components/{n}.localhost", {"secret": "s" * 32}),
                           (f"/federation/blocked/{n}.test", {}),
                           (f"/federation/demands/{n}.test", {"auth": "certificate"})):
            assert api("PUT", path, body).status in (200, 201), path
        for path, body in (("/tokens", {"name": n, "role": "viewer"}),
                           ("/rooms", {"room": f"{n}@conference.localhost", "owners": ALICE}),
                           ("/room-admins", {"jid": ALICE if n == "a" else BOB}),
                           (f"/users/{ALICE}/roster", {"contacts": [f"{n}@a.test"]})):
            answer = api("POST", path, body)
            assert answer.status == 200, (path, answer.text)
    server.login("alice", resource="a")
    server.login("alice", resource="b")
    server.login("bob")
    node = api("GET", "/nodes").json["items"][0]["node"]
    return {"jid": ALICE, "room": "a@conference.localhost", "name": "a",
            "domain": "localhost", "node": node, "setting": "sm.ack-every",
            "alarm": "store.full", "contact": "a@a.test", "pattern": "a.test"}


def filled_by_rows(server):
    """Reports, uploads and alarms of three times, two of them at the same one."""
    with server.database() as db:
        owner = db.execute("SELECT id FROM account WHERE jid = 'alice@localhost'").fetchone()[0]
        for n, at in enumerate((1_700_000_000_000_000, 1_700_000_000_000_000,
                                1_700_000_000_000_001)):
            db.execute("INSERT INTO report(owner, at_us, reporter, jid, reason, text, ids) "
                       f"VALUES({owner}, {at}, '{ALICE}', '{n}@a.test', 'spam', '', '')")
            db.execute("INSERT INTO upload(id, owner, name, type, size, hash, at_us, until_us) "
                       f"VALUES('{n}', {owner}, 'a', 'a/b', 1, 'x', {at}, {2 * at})")
            db.execute("INSERT INTO alarm_history(id, alarm, severity, detail, raised_us, "
                       "cleared_us, known_us, known_by, note, worst) "
                       f"VALUES({n + 900}, 'x', 'error', '', {at}, {at}, 0, '', '', 'error')")


def path_of(template, values):
    return re.sub(r"{([^}]*)}",
                  lambda found: urllib.parse.quote(values.get(found[1], "1"), safe=""), template)


def validated(api, document, template, method, path, **headers):
    answer = api(method.upper(), path, **headers)
    operation = document["paths"][template][method]
    assert answer.status < 500, (method, path, answer.text)
    assert str(answer.status) in operation["responses"], (method, path, answer.status)
    schema = (operation["responses"]["200"]["content"]["application/json"]["schema"]
              if answer.status < 300 else document["components"]["responses"]["problem"][
                  "content"]["application/problem+json"]["schema"])
    if answer.status != 304:
        json_schema.validate(answer.json, schema)
    return answer


def test_every_list_goes_on_behind_its_pages(server, api):
    values = filled(server)
    filled_by_rows(server)
    document, long, refused = api("GET", "/openapi.json").json, set(), set()
    for template, of in document["paths"].items():
        if not any(p["name"] == "cursor" for p in of.get("get", {}).get("parameters", [])):
            continue
        path = path_of(template, values) + "?" + "".join(
            f"{p['name']}=why&" for p in of["get"]["parameters"]
            if p["in"] == "query" and p["required"])
        whole = validated(api, document, template, "get", path + "limit=1000").json["items"]
        found, cursor = [], ""
        while True:
            page = validated(api, document, template, "get", f"{path}limit=1{cursor}").json
            found += page["items"]
            if "next" not in page or len(found) == 20:
                break
            cursor = f"&cursor={page['next']}"
        if template not in ("/audit", "/audit/export"):  # which grow
            keys = [next(iter(row.values())) for row in whole]
            assert [next(iter(row.values())) for row in found] == keys[:len(found)], path
        if len(found) > 1:
            long.add(template)
        for wrong in "", "zz", "6", "%00", "00", "ff", "2d31", "c3", "27", "aa" * 4000:
            answer = validated(api, document, template, "get", f"{path}cursor={wrong}")
            if answer.status == 200 and wrong not in ("", "zz", "6", "%00"):
                continue  # texts behind which a list can go on
            assert (answer.status, answer.json["error"], answer.json["argument"]) == (
                400, "syntax", "cursor"), (path, wrong)
            refused.add(template)
    assert {"/users", "/users/online", "/sessions", "/groups", "/groups/{name}/members",
            "/tokens", "/roles", "/admins", "/room-admins", "/federation/blocked",
            "/rooms", "/rooms/report", "/audit", "/reports", "/alarms/history",
            "/federation/demands", "/users/{jid}/uploads",
            "/users/{jid}/roster", "/users/{jid}/sessions"} <= long, sorted(long)
    assert long <= refused


def test_every_thing_keeps_what_if_match_says(server, api):
    """A thing is the same with the ETag of its GET; a change with another ETag is refused, and
    changes nothing."""
    values = filled(server)
    document, things = api("GET", "/openapi.json").json, set()
    for template, of in document["paths"].items():
        if template.startswith(("/commands", "/session", "/login", "/events")):
            continue
        path, etag = path_of(template, values), None
        if "304" in of.get("get", {}).get("responses", {}):
            etag = validated(api, document, template, "get", path).getheader("ETag")
        if etag and template not in ("/status", "/nodes/{node}", "/tokens/{name}"):  # they move
            things.add(template)
            for match in etag, "*", f'"x", {etag}':
                same = validated(api, document, template, "get", path, If_None_Match=match)
                assert same.status == 304 and same.text == "", path
        for method in {"put", "patch", "delete"} & set(of):
            for match in '"x"', "x", "", '"' + "y" * 2000 + '"', 'W/"x", "y"', ",,":
                answer = validated(api, document, template, method, path, If_Match=match)
                assert answer.status in (403, 404, 412, 422), (method, path, match, answer.text)
        if etag and template in things:
            assert api("GET", path).getheader("ETag") == etag, path
    assert {"/users/{jid}", "/groups/{name}", "/roles/{name}", "/admins/{name}",
            "/users/{jid}/role", "/domains/{domain}", "/settings/{setting}"} <= things


# What a change takes and GET does not show: secrets, why it is done, and acts.
NOT_SHOWN = {"password", "reason", "default"}


def taken_by_another_name(document):
    """Members of changes that GET of the same thing does not show."""
    for template, of in document["paths"].items():
        if not {"get", "patch"} <= set(of):
            continue
        answer = of["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        shown = set(answer["properties"])
        if "items" in shown:  # the rules of a policy, which are changed one by one
            continue
        for method in {"put", "patch"} & set(of):
            body = of[method]["requestBody"]["content"]["application/json"]["schema"]
            for name in set(body["properties"]) - shown - NOT_SHOWN:
                yield f"{method} {template}", name


def read_and_changed(document, values):
    """(path, method, schema of its body) of all that is read and changed at one path."""
    for template, of in document["paths"].items():
        for method in {"put", "patch"} & set(of):
            if "get" in of:
                body = of[method]["requestBody"]["content"]["application/json"]["schema"]
                yield path_of(template, values), method.upper(), body


def other(value):
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else "x" + value if isinstance(value, str) else []


def test_what_was_read_can_be_sent_back(server, api):
    """Unchanged it changes nothing. What the request does not change may be left out, or be as it
    is."""
    values = filled(server)
    assert api("PUT", "/motd", {"text": "Hello"}).status == 201
    document, resources = api("GET", "/openapi.json").json, set()
    assert list(taken_by_another_name(document)) == []
    viewer = server.rows("token", "add", "back", "viewer")[0]["token"]
    for path, method, schema in read_and_changed(document, values):
        before = api("GET", path)
        json_schema.validate(before.json, schema)
        history = api("GET", "/settings/history").text
        answer = api(method, path, before.json, If_Match=before.getheader("ETag"))
        assert (answer.status, answer.json["text"]) == (200, "nothing to change"), answer.text
        assert api("GET", path, If_None_Match=before.getheader("ETag")).status == 304, path
        assert api("GET", "/settings/history").text == history
        assert api(method, path, before.json, token=viewer).status == 403, path
        for name, rule in schema["properties"].items():
            if not rule.get("readOnly"):
                continue
            refused = api(method, path, {**before.json, name: other(before.json.get(name, "x"))})
            assert refused.json.get("argument", name) == name, (path, refused.text)
            moves = name in MOVES or (path, name) in MOVES_HERE
            assert refused.status == (200 if moves else 422), (path, name, refused.text)
        assert api("GET", path, If_None_Match=before.getheader("ETag")).status == 304, path
        resources.add(path)
    assert len(resources) > 9, resources
    assert api("PUT", f"/users/{ALICE}", {**api("GET", f"/users/{ALICE}").json,
                                          "surname": "Roe"}).status == 200
    assert api("GET", f"/users/{ALICE}").json["surname"] == "Roe"
    audit = server.rows("audit", "list", "--command", "user set")[0]["args"]
    assert "surname=" in audit and "given_name" not in audit  # what is as it was is not written
    path = "/settings/mail.password"
    assert api("PUT", path, {"value": "s3cret"}).status == 200
    assert api("GET", path).json["value"] == "(secret)"
    refused = api("PUT", path, {**api("GET", path).json, "comment": "none", "default": True})
    assert refused.status == 422
    assert api("PUT", path, {"value": "(secret)", "comment": "again"}).status == 422
    path = "/settings/sm.ack-every"
    assert api("PUT", path, {**api("GET", path).json, "value": "7"}).status == 200
    assert api("GET", path).json["value"] == "7"
    path = "/rooms/a@conference.localhost"
    assert api("PUT", path, {**api("GET", path).json, "moderated": True}).status == 200
    assert api("GET", path).json["moderated"] is True
    unread = {**api("GET", f"/users/{ALICE}").json, "jid": "new@localhost"}
    assert api("PUT", "/users/new@localhost", unread).status == 422
