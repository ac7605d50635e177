"""What a template gives to new accounts, once: `template add`, `user add --template`, imports."""
import re
import threading
import time

import pytest

from harness.client import until
from harness.imports import server_data
from harness.server import refusal
from surface.test_api import Api, api_server
from operate.test_backup import into
from im.test_roster import get, items

STAFF = {"description": "Staff in the office", "department": "Sales", "federation": "off",
         "share": "off", "others": "ask", "groups": "sales office"}
NOTHING = {"description": "", "department": "", "federation": "default", "share": "default",
           "others": "default", "groups": "", "disabled": False, "accounts": 0}


def options(values):
    return [word for name, value in values.items() for word in (f"--{name}", value)]


def make(server, name="staff", **values):
    server.ctl("template", "add", name, *options(values))


def add(server, name, *more, template="staff"):
    return server.ctl("user", "add", f"{name}@localhost", "--password", "secret",
                      "--template", template, *more)["text"]


def shown(server, name="staff"):
    row, = server.rows("template", "show", name)
    assert row.pop("name") == name
    return row


def profile(server, name):
    row, = server.rows("user", "show", f"{name}@localhost")
    return row["department"], row["template"], row["disabled"]


def federation(server, name):
    return {row["what"]: row["mode"]
            for row in server.rows("federation", "show", f"{name}@localhost")}["user"]


def policy(server, name):
    return {row["what"]: row["is"] for row in server.rows("policy", "show", f"{name}@localhost")}


def groups(server, name):
    return {row["name"] for row in server.rows("user", "groups", f"{name}@localhost")}


def login_fails(server, name):
    assert server.connect(name).authenticate() is not None


@pytest.fixture
def staff(server):
    for name in "sales", "office":
        server.ctl("group", "add", name)
    make(server, **STAFF)
    return server


def test_values_are_shown_and_listed(staff):
    assert shown(staff) == {**NOTHING, **STAFF}
    make(staff, "none")
    assert shown(staff, "none") == NOTHING
    add(staff, "ann")
    rows = staff.rows("template", "list")
    assert rows == [{"name": "none", **NOTHING}, {"name": "staff", **NOTHING, **STAFF,
                                                  "accounts": 1}]
    page = staff.ctl("template", "list", "--limit", "1")
    assert page["rows"] == rows[:1] and page["next"] == "none"
    assert staff.rows("template", "list", "--after", "none") == rows[1:]
    staff.restart()
    assert staff.rows("template", "list") == rows


def test_a_new_account_is_given_all_of_it(staff):
    staff.ctl("group-member", "add", "sales", "alice@localhost")
    alice = staff.login("alice", "a")
    get(alice)
    assert add(staff, "ann") .startswith("account ann@localhost added from template staff;")
    assert profile(staff, "ann") == ("Sales", "staff", False)
    assert federation(staff, "ann") == "off"
    assert policy(staff, "ann") == {"share": "off", "others": "ask"}
    until("it is in its groups", lambda: groups(staff, "ann") == {"sales", "office"})
    alice.expect("<iq type='set'><query xmlns='jabber:iq:roster'><item jid='ann@localhost'/>"
                 "</query></iq>")
    assert "alice@localhost" in items(get(staff.login("ann")))


def test_what_is_given_by_hand_comes_first(staff):
    add(staff, "ann", "--department", "Court", "--surname", "Boleyn")
    assert profile(staff, "ann") == ("Court", "staff", False)
    add(staff, "bea", "--department", "")
    assert profile(staff, "bea") == ("", "staff", False)


def test_an_empty_one_gives_its_name_alone(server):
    make(server, "plain")
    add(server, "ann", template="plain")
    assert profile(server, "ann") == ("", "plain", False)
    assert federation(server, "ann") == "default" and groups(server, "ann") == set()
    assert policy(server, "ann") == {"share": "default", "others": "default"}
    with server.database() as db:
        assert db.execute("SELECT count(*) FROM privacy").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM federation_user").fetchone() == (0,)


def test_an_account_may_begin_disabled(server):
    make(server, "later", disabled="on")
    assert "it is disabled, `user enable` lets it in" in add(server, "ann", template="later")
    assert profile(server, "ann") == ("", "later", True)
    login_fails(server, "ann")
    server.ctl("user", "enable", "ann@localhost")
    server.login("ann")


def test_a_later_change_changes_no_account(staff):
    add(staff, "ann")
    until("it is in its groups", lambda: groups(staff, "ann") == {"sales", "office"})
    text = staff.ctl("template", "set", "staff", "--department", "", "--federation", "on",
                     "--others", "default", "--groups", "sales", "--disabled", "on")["text"]
    assert text == "template staff changed; accounts that are there stay as they are"
    assert shown(staff) == {**NOTHING, **STAFF, "department": "", "federation": "on",
                            "others": "default", "groups": "sales", "disabled": True,
                            "accounts": 1}
    staff.restart()
    assert profile(staff, "ann") == ("Sales", "staff", False)
    assert federation(staff, "ann") == "off" and policy(staff, "ann")["others"] == "ask"
    assert groups(staff, "ann") == {"sales", "office"}
    add(staff, "bea")
    assert profile(staff, "bea") == ("", "staff", True)


def test_default_is_a_name_like_others_where_it_is_no_choice(server):
    server.ctl("group", "add", "default")
    words = dict.fromkeys(("description", "department", "groups"), "default")
    make(server, **words)
    make(server, "later")
    server.ctl("template", "set", "later", *options(words))
    assert shown(server) == shown(server, "later") == {**NOTHING, **words}
    add(server, "ann")
    assert profile(server, "ann") == ("default", "staff", False)
    until("it is in its group", lambda: groups(server, "ann") == {"default"})


def test_an_unknown_one_is_refused(server):
    for words in (("user", "add", "ann@localhost", "--password", "x", "--template", "nobody"),
                  ("user", "set", "bob@localhost", "--template", "nobody"),
                  ("template", "show", "nobody"), ("template", "del", "nobody"),
                  ("template", "set", "nobody", "--department", "x"),
                  ("template", "rename", "nobody", "staff"),
                  ("import", "xep0227", "/nowhere", "--template", "nobody")):
        assert ("there is no template nobody; `template list` shows all, `template add` makes one"
                in refusal(server, *words)), words
    assert "there is no account" in refusal(server, "user", "show", "ann@localhost")


@pytest.mark.parametrize("name, value, why", [
    ("groups", "sales nosuch", "there is no group nosuch; `group list` shows all"),
    ("groups", " ".join(["sales"] * 21), "found 21 groups, allowed: up to 20"),
    ("federation", "only", "allowed"), ("others", "perhaps", "allowed"),
    ("share", "x", "allowed"), ("disabled", "x", "on or off"), ("department", "x" * 257, "256"),
    ("description", "a\nb", "one line")])
def test_values_that_do_not_fit(staff, name, value, why):
    before = shown(staff)
    assert why in refusal(staff, "template", "set", "staff", f"--{name}", value)
    assert why in refusal(staff, "template", "add", "other", f"--{name}", value)
    assert shown(staff) == before and len(staff.rows("template", "list")) == 1


def test_names(server):
    make(server)
    assert "there is a template staff already" in refusal(server, "template", "add", "staff")
    for bad in "Staff", "a b", "..", "x" * 65, "":
        assert refusal(server, "template", "add", bad)
    assert "say what changes" in refusal(server, "template", "set", "staff")


def test_user_set_names_it_and_applies_nothing(staff):
    staff.ctl("user", "set", "bob@localhost", "--template", "staff")
    assert profile(staff, "bob") == ("", "staff", False)
    assert federation(staff, "bob") == "default" and groups(staff, "bob") == set()
    staff.ctl("template", "del", "staff")
    staff.ctl("user", "set", "bob@localhost", "--template", "staff", "--surname", "B")
    assert profile(staff, "bob") == ("", "staff", False), "it has that name already"
    staff.ctl("user", "set", "bob@localhost", "--template", "")
    assert profile(staff, "bob") == ("", "", False)


def test_deletion_says_who_names_it_and_takes_nothing(staff):
    make(staff, "unused")
    assert staff.ctl("template", "del", "unused")["text"] == (
        "template unused deleted; no account names it")
    staff.ctl("group", "add", "crew", "--rules", "template=staff")
    add(staff, "ann")
    assert staff.ctl("template", "del", "staff")["text"] == (
        "template staff deleted; accounts that name it, and keep what they have: 1")
    assert profile(staff, "ann") == ("Sales", "staff", False)
    assert federation(staff, "ann") == "off"
    until("it is in its groups", lambda: groups(staff, "ann") == {"sales", "office", "crew"})
    assert staff.rows("template", "list") == []


def test_rename(staff):
    """Also in accounts and in rules of groups, of which one may have the new name already."""
    staff.ctl("group", "add", "crew", "--rules", "template=staff template=team")
    staff.ctl("group", "add", "team", "--rules", "template=team")
    add(staff, "ann")
    make(staff, "taken")
    assert "there is a template taken already" in refusal(staff, "template", "rename", "staff",
                                                          "taken")
    assert staff.ctl("template", "rename", "staff", "team")["text"] == (
        "template staff is now team; accounts that name it: 1")
    assert shown(staff, "team") == {**NOTHING, **STAFF, "accounts": 1}
    assert profile(staff, "ann")[1] == "team"
    assert staff.rows("group", "show", "crew")[0]["rules"] == "template=team"
    all_of_them = {"sales", "office", "crew", "team"}
    until("it is in its groups", lambda: groups(staff, "ann") == all_of_them)
    assert "there is no template staff" in refusal(staff, "template", "show", "staff")


@pytest.mark.parametrize("change", [("rename", "staff", "crew"), ("del", "staff")])
def test_an_account_that_is_being_made_when_its_template_goes(server, change):
    """It is not made with the name of a template that is not there."""
    server.ctl("set", "auth.scram-iterations", "1000000")  # the password takes its time
    make(server)
    answers = []
    maker = threading.Thread(target=lambda: answers.append(server.ctl_run(
        "user", "add", "ann@localhost", "--password", "secret", "--template", "staff")))
    maker.start()
    time.sleep(0.2)
    server.ctl("template", *change)
    assert not answers, "it was made before"
    maker.join()
    assert answers[0].returncode != 0 and "there is no template staff;" in answers[0].stderr
    assert "there is no account" in refusal(server, "user", "show", "ann@localhost")


def test_rename_changes_no_account_of_those_who_may_do_more(make_server):
    """As `user set --template` does not."""
    server = api_server(make_server)
    server.ctl("role", "set", "maker", "templates.* users.*")
    maker = Api(server.api.port, server.rows("token", "add", "maker", "maker")[0]["token"])
    for name in "ann", "bea":
        make(server, name)
        add(server, name, template=name)
    server.ctl("admin", "add", "ann@localhost", "operator")
    server.add_user("root")
    server.ctl("set", "admin.accounts", "root@localhost bea@localhost")
    for name in "ann", "bea":
        answer = maker("PUT", f"/templates/{name}/name", {"to": "crew"})
        assert answer.status == 403 and "admins.write" in answer.json["detail"], name
        assert f"{name}@localhost names the template {name} and" in answer.json["detail"]
        assert profile(server, name) == ("", name, False) and shown(server, name)
    server.ctl("admin", "remove", "ann@localhost")
    server.ctl("room-admin", "add", "ann@localhost")
    answer = maker("PUT", "/templates/ann/name", {"to": "crew"})
    assert answer.status == 403 and "rooms.write" in answer.json["detail"]
    assert "ann@localhost names the template ann and" in answer.json["detail"]
    server.ctl("room-admin", "del", "ann@localhost")
    assert maker("PUT", "/templates/ann/name", {"to": "crew"}).status < 300
    assert server.ctl("template", "rename", "bea", "team")["text"].endswith("name it: 1")


def test_a_group_that_is_gone(staff):
    staff.ctl("group", "del", "office")
    assert shown(staff)["missing"] == "office"
    done = staff.ctl_run("user", "add", "ann@localhost", "--password", "secret",
                         "--template", "staff")
    assert "groups of the template that are there no more: office" in done.stdout
    until("it is in its groups", lambda: groups(staff, "ann") == {"sales"})


def test_an_import_names_the_groups_that_are_gone(staff, load):
    users = server_data("<user name='ann' password='secret'/>",
                        "<user name='eve' password='secret'/>")
    gone = []
    for group in "office", "sales":
        staff.ctl("group", "del", group)
        gone = sorted([*gone, group])
        for more in ("--dry-run",), ("--replace",), ():
            _, report = load(users, "--template", "staff", *more)
            (user, what), = [row for row in report if "template" in row[1]]
            assert (user, sorted(what.rpartition(": ")[2].split(", "))) == ("", gone), report
    assert not [what for _, what in load(users)[1] if "template" in what]
    assert groups(staff, "ann") == set()


def test_an_account_that_is_made_again_has_nothing_of_it(staff):
    add(staff, "ann")
    staff.ctl("user", "del", "ann@localhost")
    staff.add_user("ann")
    assert profile(staff, "ann") == ("", "", False) and groups(staff, "ann") == set()
    assert federation(staff, "ann") == "default" and policy(staff, "ann")["others"] == "default"


def test_an_account_that_is_there_is_left_alone(staff):
    assert "exists already" in refusal(staff, "user", "add", "bob@localhost", "--password", "x",
                                       "--template", "staff")
    assert profile(staff, "bob") == ("", "", False) and groups(staff, "bob") == set()


def test_imports_apply_it_to_accounts_that_are_new(staff, load):
    users = server_data("<user name='ann' password='secret'/>",
                        "<user name='bob' password='other'/>")
    assert load(users, "--template", "staff", "--dry-run")[0].startswith("users that would be")
    assert "there is no account" in refusal(staff, "user", "show", "ann@localhost")
    assert load(users, "--template", "staff", "--replace")[0].startswith("users imported: 2,")
    assert profile(staff, "ann") == ("Sales", "staff", False)
    assert federation(staff, "ann") == "off"
    assert policy(staff, "ann") == {"share": "off", "others": "ask"}
    until("it is in its groups", lambda: groups(staff, "ann") == {"sales", "office"})
    assert profile(staff, "bob") == ("", "", False), "it was there"
    staff.ctl("template", "set", "staff", "--disabled", "on")
    load(server_data("<user name='eve' password='secret'/>"), "--template", "staff")
    assert profile(staff, "eve") == ("Sales", "staff", True)
    login_fails(staff, "eve")


def test_nobody_gives_what_they_may_not_give_by_hand(make_server):
    server = api_server(make_server)
    server.ctl("group", "add", "sales")
    server.ctl("role", "set", "maker", "templates.* users.*")
    tokens = {role: Api(server.api.port, server.rows("token", "add", role, role)[0]["token"])
              for role in ("maker", "help-desk", "auditor", "administrator")}
    maker, desk, auditor, root = tokens.values()
    assert maker("PUT", "/templates/staff", {"department": "Sales"}).status == 201
    for name, value, permission in (("federation", "on", "federation.write"),
                                    ("groups", "sales", "groups.write"),
                                    ("others", "block", "policies.write")):
        answer = maker("PATCH", "/templates/staff", {name: value})
        assert answer.status == 403 and permission in str(answer.json), name
        assert root("PATCH", "/templates/staff", {name: value}).status < 300
    for one in desk, auditor:
        assert one("GET", "/templates/staff").json["department"] == "Sales"
        assert one("DELETE", "/templates/staff").status == 403
    assert desk("PUT", "/users/ann@localhost", {"password": "secret-1", "template": "staff"}
                ).status == 201
    assert desk("GET", "/users/ann@localhost").json["template"] == "staff"
    assert auditor("PUT", "/users/bea@localhost", {"password": "x"}).status == 403
    answer = desk("PUT", "/users/bea@localhost", {"password": "secret-1", "template": "nobody"})
    assert answer.status == 422 and "template" in str(answer.json)


def test_a_full_group_takes_nobody_by_a_template(make_server, tmp_path):
    """The same limit and the same words as by hand, wherever an account is made. The account is
    not made. One that is there already is told so first."""
    server = api_server(make_server)
    server.add_user("alice")
    for name in "a", "g":
        server.ctl("group", "add", name)
    make(server, groups="a g")
    server.ctl("set", "groups.members-max", "2")
    server.ctl("group-member", "add", "g", "alice@localhost")
    add(server, "ann")
    server.add_user("carol")
    limit = "found 3 members by name, allowed: 2 (groups.members-max)"
    by_hand = refusal(server, "group-member", "add", "g", "carol@localhost")
    assert by_hand == f"musterctl: nothing was changed: {limit}\n"
    said = f"nothing was changed: the group g of the template: {limit}"
    new = "user", "add", "bea@localhost", "--password", "secret", "--template", "staff"
    assert refusal(server, *new) == f"musterctl: {said}\n"
    answer = server.api("PUT", "/users/bea@localhost", {"password": "s", "template": "staff"})
    assert answer.status == 422 and said in answer.json["detail"]
    assert answer.json["argument"] == "template", answer.json
    (tmp_path / "users.xml").write_text(server_data("<user name='bea' password='x'/>",
                                                    "<user name='carol' password='x'/>"))
    text = server.bring("xep0227", tmp_path / "users.xml", "--template", "staff")
    assert [row["what"] for row in text["rows"] if "bea" in row["user"]] == [
        f"refused: the group g of the template: {limit}"]
    assert "there is no account" in refusal(server, "user", "show", "bea@localhost")
    until("ann is in its groups", lambda: groups(server, "ann") == {"a", "g"})
    assert {r["jid"] for r in server.rows("group-member", "list", "a", "--named")} == {
        "ann@localhost"}
    assert "exists already, with this password" in refusal(
        server, "user", "add", "ann@localhost", "--password", "secret", "--template", "staff")
    server.ctl("set", "groups.members-max", "3")
    add(server, "bea")
    until("it is in its groups", lambda: groups(server, "bea") == {"a", "g"})


@pytest.mark.parametrize(("limit", "value", "rules", "lacks"), [
    ("together-max", "3", "", "g a"), ("together-max", "5", "", "g"), ("together-max", "6", "", ""),
    ("members-max", "2", "", ""), ("members-max", "2", "department=x", "g")])
def test_what_a_full_group_does_not_take_is_told(make_server, tmp_path, limit, value, rules, lacks):
    """Of limits that no transaction counts. The account is made, and the newest are left out."""
    server = make_server("alice", "bob")
    server.ctl("group", "add", "all", "--members", "alice@localhost bob@localhost")
    server.ctl("group", "add", "a", "--members", "alice@localhost")
    server.ctl("group", "add", "g", "--members", "bob@localhost")
    server.ctl("group", "add", "empty")
    server.ctl("user", "set", "alice@localhost", "--department", "x")
    server.ctl("group", "set", "g", "--rules", rules)
    make(server, groups="g a")
    server.ctl("set", f"groups.{limit}", value)
    said = ("groups of the template that are full, so that the newest accounts are not in them "
            f"(groups.members-max, groups.together-max): {lacks}")
    done = server.ctl_run("user", "add", "ann@localhost", "--password", "secret", "--template",
                          "staff")
    assert done.returncode == 0 and ("are full" in done.stdout, said in done.stdout) == (
        lacks != "", lacks != ""), done.stdout
    until("it is in the others", lambda: groups(server, "ann") == {"g", "a"} - set(lacks.split()))
    server.ctl("user", "del", "ann@localhost")
    (tmp_path / "users.xml").write_text(server_data("<user name='bea' password='x'/>"))
    rows = server.bring("xep0227", tmp_path / "users.xml", "--template", "staff")["rows"]
    assert [row["what"] for row in rows] == ([said] if lacks else [])
    until("it is in the others", lambda: groups(server, "bea") == {"g", "a"} - set(lacks.split()))


def test_a_dry_run_says_who_finds_a_group_of_the_template_full(make_server, tmp_path):
    """What it reports is what the import reports, whether the group is full or gets full."""
    server = make_server(settings={"groups.members-max": 3}, why="a limit that is reached")
    server.add_user("alice")
    for name in "a", "g":
        server.ctl("group", "add", name)
    server.ctl("group-member", "add", "g", "alice@localhost")
    make(server, groups="a g")
    users = [f"<user name='{name}' password='x'/>" for name in ("alice", *(
        f"u{n:02}" for n in range(40)))]
    (tmp_path / "users.xml").write_text(server_data(*users))

    def bring(*more):
        answer = server.bring("xep0227", tmp_path / "users.xml", "--template", "staff", *more)
        return (answer["text"].replace("that would be ", ""),
                sorted(row["what"] for row in answer["rows"]))
    for new in 2, 0:
        text, said = bring("--dry-run")
        assert text.startswith(f"users imported: {new}, there already: {3 - new}, refused: 38;")
        assert said.count("refused: the group g of the template: found 4 members by name, "
                          "allowed: 3 (groups.members-max)") == 38
        assert bring() == (text, said)


def test_accounts_of_one_template_at_once_keep_the_limit(make_server):
    server = make_server(settings={"groups.members-max": 5}, why="a limit that is reached")
    server.ctl("group", "add", "g")
    for n in range(2):
        make(server, f"t{n}", groups="g")
    one = ["user", "add", "--password", "secret", "--template"]
    done = []
    threads = [threading.Thread(target=lambda n=n: done.append(server.ctl_run(
        *one, f"t{n % 2}", f"u{n}@localhost").returncode)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(bool, done)) == [False] * 5 + [True] * 7
    assert len(server.rows("group-member", "list", "g", "--named")) == 5


def test_what_is_full_for_a_moment_is_never_called_an_account(make_server):
    """Not even if the group has places again when the refusal is explained."""
    server = api_server(make_server)
    server.ctl("group", "add", "g")
    make(server, "t", groups="g")
    for n in range(3):
        add(server, f"first{n}", template="t")
    ended, refused = threading.Event(), []

    def turn():
        while not ended.is_set():
            for most in 3, 1000:
                server.api("PUT", "/settings/groups.members-max", {"value": str(most)})

    turner = threading.Thread(target=turn)
    turner.start()
    try:
        for n in range(200):
            jid = f"u{n}@localhost"
            answer = server.api("PUT", f"/users/{jid}", {"template": "t", "password": "secret12"})
            if answer.status != 201:
                refused.append((answer.status, answer.json["detail"].split(":")[0]))
                assert server.api("GET", f"/users/{jid}").status == 404
    finally:
        ended.set()
        turner.join()
    assert refused and {said for _, said in refused} == {"nothing was changed"}, refused
    assert {status for status, _ in refused} <= {409, 422}


def test_what_was_read_over_the_api_may_be_sent_back(make_server):
    server = api_server(make_server)
    api = server.api
    assert api("PUT", "/templates/staff", {"department": "Sales", "disabled": True}).status == 201
    read = api("GET", "/templates/staff")
    etag = read.getheader("ETag")
    body = {**read.json, "description": "Office"}
    assert api("PATCH", "/templates/staff", body, If_Match=etag).status < 300
    assert api("GET", "/templates/staff").json == body
    assert api("PATCH", "/templates/staff", {"department": "x"}, If_Match=etag).status == 412
    assert api("PUT", "/templates/staff/name", {"to": "crew"}).status < 300
    assert api("GET", "/templates/staff").status == 404
    assert api("DELETE", "/templates/crew").status < 300
    assert server.rows("template", "list") == []


def test_a_group_is_named_once(staff):
    for command in ("add", "more"), ("set", "staff"):
        assert "found the group sales twice" in refusal(
            staff, "template", *command, "--groups", "sales office sales")
    assert shown(staff)["groups"] == STAFF["groups"]


def test_a_group_that_goes_and_comes_changes_no_template(make_server):
    """What was read may be sent back, with the ETag of then."""
    server = api_server(make_server)
    api = server.api
    server.ctl("group", "add", "sales")
    assert api("PUT", "/templates/staff", {"groups": ["sales"]}).status == 201
    before = api("GET", "/templates/staff")
    server.ctl("group", "del", "sales", "--yes")
    gone = api("GET", "/templates/staff")
    assert gone.json["missing"] == "sales"
    server.ctl("group", "add", "sales")
    body = {**gone.json, "description": "Office"}
    answer = api("PATCH", "/templates/staff", body, If_Match=before.getheader("ETag"))
    assert answer.status < 300, answer.text
    assert api("GET", "/templates/staff").json["description"] == "Office"


def quoted(value):
    return f'"{value}"' if " " in value else value


def test_the_audit_log_has_what_changed(staff):
    """Of each value that an option sets, also of those that a template is made or deleted with."""
    texts = {**STAFF, "federation": "on", "share": "on", "others": "block", "groups": "sales",
             "department": "Court", "description": "The court"}
    everything = {**STAFF, "disabled": "off"}
    for name, value in {**texts, "disabled": "on"}.items():
        staff.ctl("template", "set", "staff", f"--{name}", value)
        entry = staff.rows("audit", "list", "--limit", "1")[0]
        assert (entry["before"], entry["after"]) == (
            f"{name}={quoted(everything[name])}", f"{name}={quoted(value)}")
    staff.ctl("template", "set", "staff", "--others", "default", "--description", "")
    entry = staff.rows("audit", "list", "--limit", "1")[0]
    assert (entry["before"], entry["after"]) == ('description="The court" others=block',
                                                 "description= others=default")
    add(staff, "ann")
    entry = staff.rows("audit", "list", "--limit", "1")[0]
    assert "template=staff" in entry["args"] and "secret" not in entry["args"]
    staff.ctl("template", "del", "staff", "--yes")
    left = "department=Court federation=on share=on groups=sales disabled=on"
    make(staff, **texts)
    whole = " ".join(f"{name}={quoted(value)}" for name, value in texts.items()) + " disabled=off"
    for command, before, after in (("template add", "", whole), ("template del", left, "")):
        entry = staff.rows("audit", "list", "--limit", "1", "--command", command)[0]
        assert (entry["before"], entry["after"]) == (before, after), command


def test_a_refused_template_is_not_audited_as_made(staff):
    assert "already" in refusal(staff, "template", "add", "staff", "--department", "x")
    entry = staff.rows("audit", "list", "--limit", "1")[0]
    assert (entry["result"], entry["before"], entry["after"]) == ("exists", "", "")


@pytest.mark.sqlite
def test_a_backup_has_them(staff, make_server, tmp_path):
    add(staff, "ann")
    staff.ctl("backup", "create", tmp_path / "backup")
    again = into(make_server, tmp_path / "backup")
    assert again.rows("template", "list") == staff.rows("template", "list")
    assert profile(again, "ann") == ("Sales", "staff", False)
    until("it is in its groups", lambda: groups(again, "ann") == {"sales", "office"})


def test_at_most_a_thousand(server):
    with server.database() as db:
        for i in range(1000):
            db.execute(f"INSERT INTO account_template VALUES ('t{i}', '', '', '', '', '', '', 0)")
    assert "there are 1000 templates" in refusal(server, "template", "add", "more")
    assert "there is a template t1 already" in refusal(server, "template", "add", "t1")
    assert re.fullmatch("t9+", server.rows("template", "list")[-1]["name"])
