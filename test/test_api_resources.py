"""Resources of the API that are made, changed and read as a whole: groups, tokens, roles, nodes."""
import pytest

from muster.client import until
from test_api import api_server, pages
from test_groups import listening
from test_roster import get, items, push

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
    assert api("PUT", path, {"shown": "Sales", "visible-to": "domain:localhost",
                             "members": [CAROL]}).status == 200
    assert [(row["what"], row["value"]) for row in api("GET", path).json["items"]] == [
        ("shown", "Sales"), ("visible-to domain", "localhost"), ("member", CAROL)]


def test_members_that_are_given_stand_instead_of_domains_and_rules(api, server):
    server.ctl("group", "add", "sales")
    server.ctl("group-member", "add", "sales", BOB, "--domain", "localhost",
               "--rule", "department=Sales")
    assert members(api) == [ALICE, BOB, CAROL]
    assert api("PUT", "/groups/sales", {"members": [ALICE]}).status == 200
    assert members(api) == [ALICE]
    assert {row["what"] for row in api("GET", "/groups/sales").json["items"]} == {
        "shown", "visible-to members", "member"}
    server.add_user("dave")
    assert members(api) == [ALICE]


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
    assert api("PUT", "/groups/sales", {"members": [CAROL, ALICE]}).status == 200
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
