"""Roles, access tokens, and accounts with a role: who may run what. The matrix of roles and
commands takes both from the program."""
import re

import pytest

from harness import rows
from harness.client import until
from surface.test_api import Api, api_server
from services.test_adhoc import COMMANDS, command, form, nodes

ROLES = ["administrator", "operator", "help-desk", "auditor", "viewer"]
OWN = "clerk"
CLERK = "users.read rooms.* !rooms.write"


def granted(patterns, permission):
    """The rule of base/principal.h, written once more."""
    area, effect = permission.split(".")

    def fits(pattern):
        return pattern == "*" or all(a in ("*", b) for a, b in
                                     zip(pattern.split("."), (area, effect)))
    words = patterns.split()
    return (any(fits(w) for w in words if not w.startswith("!")) and
            not any(fits(w[1:]) for w in words if w.startswith("!")))


def needed(row):
    return [row[key] for key in ("x-permission", "x-also-permission") if key in row]


def has_all(patterns, row):
    return all(granted(patterns, permission) for permission in needed(row))


def is_told(words, row):
    return any(f"needs the permission {permission}" in words for permission in needed(row))


@pytest.fixture
def host(make_server):
    server = make_server("alice", "bob", "root")
    server.ctl("set", "admin.accounts", "root@localhost")
    return server


def refused(client, node, **fields):
    """The words of a refusal, before or after the form; None: it ran."""
    answer = client.iq("set", command(node), to="localhost")
    asked = answer.find(f"{{{COMMANDS}}}command")
    if asked is not None and asked.get("status") == "executing":
        filled = command(node, form(**fields), sessionid=asked.get("sessionid"))
        answer = client.iq("set", filled, to="localhost")
    if answer.get("type") == "error":
        return " ".join(answer.itertext())
    note = answer.find(f".//{{{COMMANDS}}}note")
    return note.text if note is not None and note.get("type") == "error" else None


@pytest.mark.parametrize("role", [*ROLES, OWN])
def test_matrix_of_roles_and_commands(host, role):
    if role == OWN:
        host.ctl("role", "set", OWN, CLERK)
    host.ctl("admin", "add", "alice@localhost", role)
    patterns = {r["name"]: r["permissions"] for r in host.rows("role", "list")}[role]
    alice = host.client("alice", "a")
    shown = nodes(alice)
    found = {True: 0, False: 0}
    for name, row in rows.part("commands").items():
        node = row.get("x-node") or name.replace(" ", "-")
        may = row["x-access"] != "local" and (
            has_all(patterns, row) or row["x-access"] == "own")
        if row["x-access"] != "own":
            found[may] += 1
            assert (node in shown) == may, (role, name)
        if not may:
            words = refused(alice, node)
            assert words and (is_told(words, row) or row["x-access"] == "local"), (
                role, name, words)
    assert found[True] > 3 and found[False] > 3


@pytest.mark.parametrize("role", [*ROLES, OWN])
def test_matrix_of_roles_and_commands_over_the_api(make_server, role):
    """With an argument that no command has, so that none runs."""
    host = api_server(make_server)
    host.ctl("role", "set", OWN, CLERK)
    patterns = {r["name"]: r["permissions"] for r in host.rows("role", "list")}[role]
    api = Api(host.api.port, host.rows("token", "add", "matrix", role)[0]["token"])
    found = {True: 0, False: 0}
    for name, row in rows.part("commands").items():
        may = row["x-access"] != "local" and has_all(patterns, row)
        answer = api("POST", "/commands/" + name.replace(" ", "-"), {"no-such": 1})
        found[may] += 1
        assert answer.status == (422 if may else 403), (role, name, answer.text)
        assert may or row["x-access"] == "local" or is_told(answer.json["detail"], row), (
            role, name)
    assert found[True] > 3 and found[False] > 3


def test_a_user_without_role_learns_what_is_needed(host):
    words = refused(host.client("bob", "b"), "user-list")
    assert "users.read" in words and "admin add" in words


def test_help_desk_cannot_take_over_an_administrator(host):
    host.ctl("admin", "add", "alice@localhost", "help-desk")
    alice = host.client("alice", "a")
    assert refused(alice, "user-password", jid="bob@localhost", password="another one") is None
    for node, more in (("user-password", {"password": "another one"}), ("user-del", {}),
                       ("user-disable", {})):
        assert "admins.write" in refused(alice, node, jid="root@localhost", **more), node
    host.client("root", "r")
    host.ctl("admin", "add", "bob@localhost", "viewer")
    assert "admins.write" in refused(alice, "user-disable", jid="bob@localhost")
    host.ctl("user", "disable", "bob@localhost")
    host.ctl("role", "set", "tester", "users.* tests.*")
    host.ctl("admin", "add", "alice@localhost", "tester")
    for node, more in (("user-enable", {}), ("user-set", {"email": "evil@localhost"}),
                       ("test-user-add", {"password": "secret"})):
        assert "admins.write" in refused(alice, node, jid="bob@localhost", **more), node
    assert host.rows("user", "show", "bob@localhost")[0]["disabled"]


# Each command that changes something of the user it names: those that could take an account over,
# with what else they are called with, and the others.
TAKES = {"user-password": {"password": "another one"}, "user-set": {"email": "evil@localhost"},
         "user-add": {"password": "another one"}, "user-disable": {}, "user-enable": {},
         "user-del": {}, "test-user-add": {"password": "secret"}}
TAKES_NOT = {"contact add", "contact del", "contact group", "device revoke", "federation set",
             "group add", "group set", "group-member add", "policy set", "test user-del",
             "trace bodies", "trace jid", "trace stop", "user invite", "user invite-contact"}


def test_each_command_that_names_a_user_is_known_to_take_it_over_or_not():
    """One that is new belongs into TAKES, unless nobody can be taken over by it."""
    found = {name for name, row in rows.part("commands").items()
             if row["x-effect"] != "reads" and row["x-access"] != "local"
             and row["x-permission"] not in ("admins.write", "rooms.write")
             and any(arg.get("x-type") == "user"
                     for arg in row["properties"]["args"]["properties"].values())}
    assert found == TAKES_NOT | {name.replace("-", " ", 1) for name in TAKES
                                 if name != "test-user-add"} | {"test user-add"}


@pytest.mark.parametrize("role, refused_for", [
    ("help-desk", "rooms.write"), ("* !rooms.write", "rooms.write"),
    ("users.* tests.* rooms.read", "rooms.write"), ("users.* tests.* rooms.write", None)])
@pytest.mark.parametrize("enabled", ["on", "off"])
def test_who_could_not_make_an_administrator_of_group_chat_takes_over_none(
        make_server, role, refused_for, enabled):
    """By no command, whatever state the account is in; off: the list can be turned on again."""
    host = api_server(make_server, **{"muc.administrators-enabled": enabled})
    jid = "alice@localhost"
    host.add_user("alice")
    host.ctl("room-admin", "add", jid)
    if role not in ROLES:
        host.ctl("role", "set", "clerk", role)
    api = Api(host.api.port, host.rows("token", "add", "clerk",
                                       role if role in ROLES else "clerk")[0]["token"])

    def runs(name):
        answer = api("POST", f"/commands/{name}", {"jid": jid, **TAKES[name]})
        if name == "test-user-add" and role == "help-desk":
            assert answer.status == 403  # tests.write is missing, too
        elif refused_for:
            assert answer.status == 403, (name, answer.text)
            told = f"{jid} is an administrator of group chat, so this needs the permission "
            assert told + refused_for in answer.json["detail"], name
        else:
            assert answer.status != 403, (name, answer.text)

    def state():
        return host.rows("user", "show", jid)[0]
    assert ("protected" in api("GET", f"/users/{jid}").json) == bool(refused_for)
    if not refused_for:
        for name in TAKES:
            runs(name)
        return
    before = state()
    for name in TAKES:
        runs(name)
    assert state() == before
    host.restart()
    host.client("alice", "a")
    host.ctl("user", "disable", jid)
    for name in TAKES:
        runs(name)
    assert state()["disabled"]
    host.ctl("user", "del", jid, "--keep-address", "--yes")
    for name in TAKES:  # whoever gets the address is an administrator, too
        runs(name)
    host.ctl("user", "enable", jid)
    runs("user-password")
    host.ctl("room-admin", "del", jid)
    done = api("PUT", f"/users/{jid}/password", {"password": "another one"})
    assert done.status == 200, done.text


def test_an_account_with_a_role_that_administers_group_chat_is_as_both(make_server):
    host = api_server(make_server)
    host.add_user("alice")
    host.ctl("admin", "add", "alice@localhost", "viewer")
    host.ctl("room-admin", "add", "alice@localhost")
    for number, (permissions, missing) in enumerate((
            ("users.* rooms.*", "admins.write"), ("* !rooms.write", "rooms.write"),
            ("users.* rooms.* admins.*", "you do not have"), ("*", None))):
        host.ctl("role", "set", f"role{number}", permissions)
        token = host.rows("token", "add", f"token{number}", f"role{number}")[0]["token"]
        done = Api(host.api.port, token)("PUT", "/users/alice@localhost/password",
                                         {"password": "another one"})
        assert done.status == (403 if missing else 200), (permissions, done.text)
        assert not missing or missing in done.json["detail"], permissions


def test_lists_say_which_accounts_the_caller_may_not_change(make_server):
    """The same row says it to one caller and not to another, and refusals agree with it."""
    host = api_server(make_server)
    for name in "boss", "carol", "dave":
        host.add_user(name)
    host.ctl("set", "admin.accounts", "boss@localhost")
    host.ctl("admin", "add", "carol@localhost", "help-desk")
    host.ctl("role", "set", "chief", "admins.* users.*")
    for role, protected in (("help-desk", {"boss", "carol"}), ("chief", {"boss", "carol"}),
                            ("administrator", set())):
        api = Api(host.api.port, host.rows("token", "add", role, role)[0]["token"])
        listed = {row["jid"]: row for row in api("GET", "/users").json["items"]}
        for name in "boss", "carol", "dave":
            jid = f"{name}@localhost"
            shown = api("GET", f"/users/{jid}").json
            assert ("protected" in shown) == ("protected" in listed[jid]) == (name in protected)
            changed = api("PATCH", f"/users/{jid}", {"department": role})
            assert changed.status == (403 if name in protected else 200), (role, name)
    assert not any("protected" in row for row in host.rows("user", "list"))
    shown["protected"] = True  # as another caller has read it
    assert api("PATCH", f"/users/{jid}", {**shown, "department": "desk"}).status == 200


def test_nobody_takes_from_who_can_do_more(make_server):
    """Who may manage administrators and users is no administrator because of that, and does not
    reach one: neither the account, nor what others were given."""
    host = api_server(make_server)
    for name in "boss", "carol", "dave":
        host.add_user(name)
    host.ctl("set", "admin.accounts", "boss@localhost")
    host.ctl("admin", "add", "carol@localhost", "operator")
    host.ctl("role", "set", "chief", "admins.* users.* tests.*")
    host.ctl("role", "set", "great", "admins.* rooms.*")
    host.ctl("role", "set", "small", "users.read")
    host.ctl("admin", "add", "dave@localhost", "small")
    for token, role, more in (("big", "administrator", ()), ("little", "small", ()),
                              ("narrow", "administrator", ("--scope", "users.read"))):
        host.ctl("token", "add", token, role, *more)
    api = Api(host.api.port, host.rows("token", "add", "chief", "chief")[0]["token"])

    def run(command, **fields):
        answer = api("POST", f"/commands/{command}", fields)
        assert answer.status in (200, 403), (command, fields, answer.text)
        assert answer.status == 200 or "you do not have" in answer.json["detail"], answer.text
        return answer.status == 200
    before = [host.rows(*c) for c in (("role", "list"), ("admin", "list"))]
    for jid in "boss@localhost", "carol@localhost":
        assert not run("user-password", jid=jid, password="another one")
        assert not run("user-disable", jid=jid)
        assert not run("user-enable", jid=jid)
        assert not run("user-set", jid=jid, email="evil@localhost")
        assert not run("user-del", jid=jid)
        assert not run("test-user-add", jid=jid, password="secret")
    assert not run("admin-remove", jid="carol@localhost")
    assert not run("admin-add", jid="carol@localhost", role="small")
    assert not run("role-set", name="great", permissions="users.read")
    assert not run("role-del", name="great")
    assert not run("token-revoke", name="big")
    assert [host.rows(*c) for c in (("role", "list"), ("admin", "list"))] == before
    assert run("user-password", jid="dave@localhost", password="another one")
    assert run("admin-add", jid="dave@localhost", role="chief")
    assert run("admin-remove", jid="dave@localhost")
    assert run("token-revoke", name="little") and run("token-revoke", name="narrow")
    assert run("role-set", name="small", permissions="users.*") and run("role-del", name="small")


def test_nobody_gives_what_they_do_not_have(host):
    host.ctl("role", "set", "chief", "admins.* settings.* users.*")
    host.ctl("admin", "add", "alice@localhost", "chief")
    alice = host.client("alice", "a")
    assert "you do not have" in refused(alice, "token-add", name="x", role="administrator")
    assert "you do not have" in refused(alice, "role-set", name="big", permissions="*.read")
    assert "you do not have" in refused(alice, "admin-add", jid="bob@localhost", role="operator")
    assert "own account" in refused(alice, "admin-add", jid="alice@localhost", role="chief")
    assert refused(alice, "token-add", name="x", role="chief") is None
    assert refused(alice, "token-add", name="y", role="administrator", scope="users.read") is None
    host.ctl("role", "set", "tuner", "settings.*")
    host.ctl("admin", "add", "bob@localhost", "tuner")
    words = refused(host.client("bob", "b"), "set", setting="admin.accounts",
                    value="bob@localhost")
    assert "admins.write" in words


GUARDED = ["admin", "api", "audit", "component", "console"]
ALSO_GUARDED = ["http.trusted-proxies", "syslog.server", "webhook.allow-local"]


def test_who_changes_settings_changes_nothing_of_administrators(host):
    """By no way that leads to a setting: each of those settings, set, reset and as a candidate."""
    protected = [s["name"] for s in host.rows("config", "show")
                 if s["name"].split(".")[0] in GUARDED] + ALSO_GUARDED
    assert len(protected) > 15 and "audit.keep" in protected
    host.ctl("set", "audit.keep", "400d")
    host.ctl("role", "set", "tuner", "settings.*")
    host.ctl("role", "set", "chief", "settings.* admins.* users.*")
    host.ctl("admin", "add", "bob@localhost", "tuner")
    host.ctl("admin", "add", "alice@localhost", "chief")
    bob, alice = host.client("bob", "b"), host.client("alice", "a")
    for name in protected:
        words = refused(bob, "set", setting=name, default="1")
        assert words and ("admins.write" in words or "at the server only" in words), (name, words)
    assert "admins.write" in refused(bob, "config-reset", prefix="audit.keep")
    assert "admins.write" in refused(bob, "config-edit", setting="audit.keep", value="1d")
    assert refused(bob, "set", setting="muc.rooms-max", value="77") is None
    assert refused(alice, "set", setting="audit.keep", value="500d") is None
    words = refused(alice, "set", setting="admin.accounts", value="bob@localhost root@localhost")
    assert "all permissions" in words
    assert "all permissions" in refused(alice, "config-edit", setting="admin.accounts",
                                        value="bob@localhost")
    root = host.client("root", "r")
    assert refused(root, "set", setting="admin.accounts", value="root@localhost") is None


def test_who_changes_settings_ends_no_change_of_administrators(host):
    """A change that waits, a candidate of before, the history: each way to what may not be set."""
    host.ctl("set", "audit.keep", "400d")
    host.ctl("role", "set", "tuner", "settings.*")
    host.ctl("role", "set", "chief", "settings.* admins.*")
    host.ctl("admin", "add", "bob@localhost", "tuner")
    host.ctl("admin", "add", "alice@localhost", "chief")
    bob, alice = host.client("bob", "b"), host.client("alice", "a")
    host.add_user("carol")
    for setting, value, words in (("audit.keep", "30d", "admins.write"),
                                  ("admin.accounts", "root@localhost carol@localhost",
                                   "admins.write")):
        host.ctl("config", "edit", setting, value)
        host.ctl("config", "edit", "muc.rooms-max", "78")
        host.ctl("config", "apply", "--confirm", "10min")
        for node in "config-confirm", "config-rollback":
            assert words in refused(bob, node), (node, setting)
        until("the refusal is in the audit log", lambda: host.rows(
            "audit", "list", "--command", "config confirm")[0]["result"] == "denied")
        assert host.rows("config", "history")[0]["state"] == "waits"
        if setting == "admin.accounts":
            assert "all permissions" in refused(alice, "config-confirm")
            host.ctl("config", "rollback")
        else:
            assert refused(alice, "config-confirm") is None
            assert "admins.write" in refused(bob, "config-rollback", version="0")
    assert refused(alice, "config-edit", setting="audit.keep", value="20d") is None
    host.ctl("admin", "add", "alice@localhost", "tuner")
    assert "admins.write" in refused(alice, "config-apply", accept="1")
    assert host.rows("get", "audit.keep")[0]["value"] == "30d"
    host.ctl("config", "edit", "muc.rooms-max", "79")  # what they may set they may confirm
    host.ctl("config", "apply", "--confirm", "10min")
    assert refused(bob, "config-confirm") is None


def test_settings_of_a_domain_that_is_away_need_the_same_permissions(make_server):
    domains = ["localhost", "second.test"]
    server = make_server("bob", domains=domains)
    server.ctl("role", "set", "tuner", "settings.*")
    server.ctl("admin", "add", "bob@localhost", "tuner")
    for setting, value in (("component.privileges@second.test", "bot.second.test roster=get"),
                           ("muc.rooms-max", "78")):
        server.ctl("config", "edit", setting, value)
    server.ctl("config", "apply", "--confirm", "10min")
    server.stop()
    server.conf["domains"] = domains[:1]
    server.start()
    bob = server.client("bob", "b")
    for node in "config-confirm", "config-rollback":
        assert "admins.write" in refused(bob, node), node
    assert server.rows("config", "history")[0]["state"] == "waits"
    server.ctl("config", "confirm")
    assert "admins.write" in refused(bob, "config-rollback", version="0")


def test_a_client_without_the_second_factor_changes_no_administrators(host):
    """Each row that changes them, by a role that demands the factor; XMPP asks for none."""
    root = host.client("root", "r")
    changes = {row.get("x-node") or name.replace(" ", "-")
               for name, row in rows.part("commands").items()
               if row["x-permission"] == "admins.write" and row["x-access"] != "local"}
    assert changes > {"token-add", "admin-totp-remove", "admin-add"} and changes <= set(nodes(root))
    host.ctl("set", "admin.totp-roles", "administrator")
    assert not changes & set(nodes(root))
    for node in changes:
        assert "console" in refused(root, node), node
    host.ctl("admin", "add", "bob@localhost", "viewer")
    assert "console" in refused(root, "set", setting="admin.totp-roles", default="1")
    assert "console" in refused(root, "user-password", jid="bob@localhost", password="another")
    assert refused(root, "user-list") is None
    assert refused(root, "user-password", jid="alice@localhost", password="another") is None


def test_a_role_that_is_taken_is_gone_at_once(host):
    host.ctl("admin", "add", "alice@localhost", "viewer")
    alice = host.client("alice", "a")
    assert refused(alice, "user-list") is None
    host.ctl("admin", "remove", "alice@localhost")
    assert "users.read" in refused(alice, "user-list")


def test_a_role_in_use_is_not_deleted(host):
    host.ctl("role", "set", OWN, CLERK)
    host.ctl("token", "add", "t", OWN)
    done = host.ctl_run("role", "del", OWN)
    assert done.returncode != 0 and "t has the role clerk" in done.stderr
    host.ctl("token", "revoke", "t")
    host.ctl("role", "del", OWN)
    for name in ROLES:
        assert host.ctl_run("role", "set", name, "*").returncode != 0
        assert host.ctl_run("role", "del", name).returncode != 0


def test_wrong_patterns_are_refused(host):
    for text in ("", "users", "users.delete", "!users.read", "u*.read", "users.read, rooms.read",
                 "USERS.read", "!", "x." + "a" * 3000):
        assert host.ctl_run("role", "set", "odd", text).returncode != 0, text


def test_tokens_survive_a_restart_and_are_stored_as_hashes(host):
    made = host.rows("token", "add", "ci", "viewer", "--scope", "users.read", "--expires", "2d")[0]
    assert made["token"].startswith("muster_") and len(made["token"]) == 7 + 64
    assert host.ctl_run("token", "add", "ci", "viewer").returncode != 0
    with host.database(read_only=True) as db:
        stored = db.execute("SELECT * FROM access_token").fetchall()
    assert made["token"] not in str(stored) and made["token"][7:] not in str(stored)
    host.restart()
    listed = host.rows("token", "list")[0]
    assert (listed["name"], listed["scope"], listed["expired"]) == ("ci", "users.read", False)
    host.ctl("token", "revoke", "ci")
    assert host.rows("token", "list") == []


def test_a_deleted_account_leaves_no_role(host):
    host.ctl("admin", "add", "bob@localhost", "operator")
    host.ctl("user", "del", "bob@localhost", "--yes")
    host.add_user("bob")
    assert "users.read" in refused(host.client("bob", "b"), "user-list")
    assert "bob@localhost" not in str(host.rows("admin", "list"))


WRONG = (("!complience.* *", "!compliance.*"), ("usr.*", "users.*"), ("audit.write", "audit.read"),
         ("rooms.read roms.write", "rooms.write"), ("nothingofthiskind.read", "the areas are"),
         ("users.read !users.*", "nothing is left"))


def test_patterns_that_match_no_permission_are_refused_with_the_nearest(make_server):
    """By each surface, and nothing is stored; `role set` and the scope of a token."""
    host = api_server(make_server)
    host.add_user("root")
    host.ctl("set", "admin.accounts", "root@localhost")
    root = host.client("root", "r")
    for text, near in WRONG:
        for fields in ({"name": "odd", "permissions": text},
                       {"name": "odd", "role": "administrator", "scope": text}):
            node = "role-set" if "permissions" in fields else "token-add"
            words = [refused(root, node, **fields)]
            answer = host.api("POST", f"/commands/{node}", fields)
            assert answer.status == 422, answer.text
            assert answer.json["argument"] in ("permissions", "scope") and (
                fields[answer.json["argument"]] == text)
            words.append(answer.json["detail"])
            done = host.ctl_run("role", "set", "odd", text) if node == "role-set" else (
                host.ctl_run("token", "add", "odd", "administrator", "--scope", text))
            assert done.returncode != 0
            words.append(done.stderr)
            assert all(w and near in w for w in words), (text, words)
    assert "viewer gives none" in host.ctl_run(
        "token", "add", "odd", "viewer", "--scope", "users.write").stderr
    assert "odd" not in str(host.rows("role", "list") + host.rows("token", "list"))


def test_each_pattern_of_a_built_in_role_matches_a_permission(host):
    """Which `role set` says, given the same patterns."""
    for name, grants in [(r["name"], r["permissions"]) for r in host.rows("role", "list")]:
        host.ctl("role", "set", "copy", grants)
        assert host.rows("role", "show", "copy")[0]["permissions"] == grants, name


def test_commands_that_texts_of_the_server_name_are_there():
    """What stands between backquotes in its texts, as it would be typed."""
    commands, wrong, found = rows.part("commands"), [], 0
    first = {name.split()[0] for name in commands if " " in name}
    for path in sorted((rows.ROOT / "src").rglob("*.c")):
        text = path.read_text()
        if "`" not in text or path.name.endswith("_test.c"):
            continue
        text = re.sub(r'"\s*"', "", re.sub(r"/\*.*?\*/", "", text, flags=re.S))
        for quoted in re.findall(r"`([^`\n]*)`", "".join(re.findall(r'"(?:[^"\\\n]|\\.)*"', text))):
            words = quoted.removeprefix("musterctl ").split()
            if len(words) < 2 or words[0] not in first:
                continue
            words = rows.joined(words, first)
            names = (" ".join(words[:k]) for k in (4, 3, 2, 1))
            name = next((n for n in names if n in commands), "")
            found += 1
            args = commands[name]["properties"]["args"]["properties"] if name else {}
            options = {"--" + a.replace("_", "-") for a, row in args.items()
                       if row["x-kind"] not in ("positional", "optional")} | {"--yes", "--stdin"}
            given = {w.split("=")[0] for w in words if w.startswith("--")}
            if not name or not given <= options:
                wrong.append((path.name, quoted))
    assert found > 50 and not wrong


def test_the_log_does_not_tell_what_the_audit_log_tells(host):
    """Who has no audit.read sees no line of a command, however they ask."""
    host.ctl("set", "audit.keep", "410d")
    until("the line", lambda: host.rows("log", "list", "--area", "command", "--word", "410d"))
    host.ctl("admin", "add", "alice@localhost", "operator")
    alice = host.client("alice", "a")
    assert "audit.read" in refused(alice, "log-list", area="command")
    host.ctl("admin", "add", "alice@localhost", "auditor")
    assert refused(alice, "log-list", area="command") is None
    for chosen in [], ["--event", "admin.command"], ["--word", "410d"], ["--level", "trace"]:
        assert not [r for r in host.rows("log", "list", *chosen) if "410d" in r["text"]], chosen
