"""Ad-hoc commands (XEP-0050): the commands of the server in a client."""
import pathlib
import re
from xml.etree import ElementTree

import pytest

from harness import rows, xml
from harness.client import until
from services.test_upload import http_do, slot

ROOT = pathlib.Path(__file__).resolve().parents[2]

COMMANDS = "http://jabber.org/protocol/commands"
DATA = "jabber:x:data"


@pytest.fixture
def host(make_server):
    """Alice administers, Bob does not."""
    return make_server("alice", "bob", settings={"admin.accounts": "alice@localhost"})


@pytest.fixture
def alice(host):
    return host.client("alice", "a")


def command(node, inner="", **attributes):
    more = "".join(f" {k}='{v}'" for k, v in attributes.items())
    return f"<command xmlns='{COMMANDS}' node='{node}'{more}>{inner}</command>"


def form(**fields):
    inner = "".join(f"<field var='{k}'><value>{v}</value></field>"
                    for k, v in fields.items())
    return f"<x xmlns='{DATA}' type='submit'>{inner}</x>"


def run(client, node, to="localhost", **fields):
    """Asks for the form and fills it in."""
    asked = client.result("set", command(node, action="execute"), to=to)
    assert asked.get("status") == "executing"
    answer = client.result("set", command(node, form(**fields), action="complete",
                                          sessionid=asked.get("sessionid")), to=to)
    assert answer.get("sessionid") == asked.get("sessionid")
    return answer


def note(answer):
    found = answer.find(f"{{{COMMANDS}}}note")
    return None if found is None else (found.get("type"), found.text)


def table(answer):
    return [{f.get("var"): f.findtext(f"{{{DATA}}}value") for f in item}
            for item in answer.iter(f"{{{DATA}}}item")]


def labels(client, node):
    asked = client.result("set", command(node, action="execute"), to="localhost")
    return {f.get("var"): f.get("label") for f in asked.iter(f"{{{DATA}}}field")}


def nodes(client, to="localhost"):
    query = client.result("get", f"<query xmlns='{xml.DISCO_ITEMS}' node='{COMMANDS}'/>", to=to)
    return {item.get("node") for item in query}


def test_an_administrator_finds_every_command(host, alice):
    found = nodes(alice)
    assert {"user-add", "session-kick", "status", "set", "metrics"} <= found
    query = alice.result("get", f"<query xmlns='{xml.DISCO_ITEMS}' node='{COMMANDS}'/>",
                         to="localhost")
    names = {item.get("node"): item.get("name") for item in query}
    assert names["user-add"] == "User: creates an account"
    assert names["room-admin-list"] == "Room admin: shows the administrators of group chat"
    assert names["get"] == "Server: shows a setting"
    shown = [name for node, name in names.items() if "//" not in node]
    assert all(re.fullmatch(r"[A-Z][a-z0-9 ]+: [a-z]+s .{3,}", name) for name in shown), shown
    assert len(set(names.values())) == len(names)  # each says what it alone does
    groups = [name.partition(":")[0] for node, name in names.items() if ":" not in node]
    assert groups == sorted(groups)  # each group in one piece, "Server" too
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}' node='user-add'/>",
                        to="localhost")
    assert info[0].get("category") == "automation" and info[0].get("type") == "command-node"
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="localhost")
    assert COMMANDS in {f.get("var") for f in info}


def test_others_find_none_of_them(host, alice):
    bob = host.client("bob", "b")
    assert "user-add" not in nodes(bob)
    assert bob.error("set", command("user-add"), to="localhost") == ("forbidden", "auth")
    assert bob.error("get", f"<query xmlns='{xml.DISCO_INFO}' node='user-add'/>",
                     to="localhost")[0] == "forbidden"
    assert "user-add" not in nodes(bob, bob.bare)
    assert bob.error("set", command("user-add"), to=bob.bare)[0] == "forbidden"


def test_an_administrator_finds_them_at_the_own_address(host, alice):
    """XEP-0133 §3: and nobody else finds them there."""
    assert nodes(alice, alice.bare) == nodes(alice)
    assert "http://jabber.org/protocol/admin#add-user" in nodes(alice, alice.bare)
    form = alice.result("set", command("user-add"), to=alice.bare)
    assert form.get("status") == "executing"
    bob = host.client("bob", "b")
    assert nodes(bob, alice.bare) == set()
    assert bob.iq("set", command("user-add"), to=alice.bare).get("type") == "error"


def test_nothing_to_show_is_said(host, alice):
    """A list without rows: a client would show an empty window."""
    bob = host.client("bob", "b")
    answer = run(bob, "upload-list", to=bob.bare)
    assert answer.get("status") == "completed"
    assert answer.findtext(f"{{{COMMANDS}}}note") == "There is nothing to show."


def asked_account(client, node):
    """The value of the field `jid`; None: there is none."""
    answer = client.result("set", command(node, action="execute"), to="localhost")
    return next((f.findtext(f"{{{DATA}}}value", "") for f in answer.iter(f"{{{DATA}}}field")
                 if f.get("var") == "jid" and answer.get("status") == "executing"), None)


@pytest.mark.parametrize("node", ["device-list", "device-revoke", "upload-list"])
def test_the_account_is_asked_for_where_the_role_has_others(host, alice, node):
    """The API has the argument for each of these commands; the own account is offered."""
    host.ctl("role", "set", "desk", "devices.* uploads.read")
    host.ctl("admin", "add", "bob@localhost", "desk")
    bob = host.client("bob", "b")
    assert asked_account(alice, node) == alice.bare and asked_account(bob, node) == bob.bare
    host.ctl("admin", "remove", "bob@localhost")
    assert asked_account(bob, node) is None


def test_every_command_about_an_account_has_its_field(host, alice):
    """But the one that XEP-0401 defines, which runs at once."""
    found = [name for name, row in rows.part("commands").items()
             if "jid" in row["properties"]["args"]["properties"] and not row.get("x-node")
             and row["x-access"] != "local"]
    assert len(found) > 20
    assert [name for name in found
            if asked_account(alice, name.replace(" ", "-")) is None] == []


def test_files_of_another_account_are_for_who_has_the_role(make_server):
    host = make_server("alice", "bob")
    host.ctl("set", "http.base-url", f"http://localhost:{host.http_port}")
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    put, _ = slot(alice, "plan.txt")
    assert http_do(host, "PUT", put, b"12345").status == 201

    def ask(jid, call=bob.result):
        session = bob.result("set", command("upload-list"), to="localhost").get("sessionid")
        return call("set", command("upload-list", form(jid=jid), sessionid=session),
                    to="localhost")

    def entries():
        return [e for e in host.rows("audit", "list") if e["command"] == "upload list"]

    assert ask(alice.bare, bob.error)[0] == "forbidden" and entries() == []
    assert note(ask("BOB@localhost")) == ("info", "There is nothing to show.")
    assert ask("@no address", bob.error)[0] in ("forbidden", "bad-request")
    host.ctl("role", "set", "room-desk", "rooms.*")
    host.ctl("admin", "add", "bob@localhost", "room-desk")
    assert ask(alice.bare, bob.error)[0] == "forbidden"
    until("the refusal is in the audit log", entries)
    assert [(e["actor"], e["result"]) for e in entries()] == [(f"xmpp:{bob.jid}", "denied")]
    host.ctl("admin", "add", "bob@localhost", "viewer")
    assert [f["name"] for f in table(ask(alice.bare))] == ["plan.txt"]
    assert table(run(bob, "upload-list")) == []


def test_a_form_asks_for_the_arguments(host, alice):
    asked = alice.result("set", command("user-add"), to="localhost")
    fields = {f.get("var"): f for f in asked.iter(f"{{{DATA}}}field")}
    assert fields["password"].get("type") == "text-private"
    assert fields["jid"].find(f"{{{DATA}}}required") is not None
    answer = run(alice, "user-add", jid="dora@localhost", password="secret")
    assert answer.get("status") == "completed" and note(answer)[0] == "info"
    assert answer.get("node") == "user-add" and answer.get("sessionid")
    host.client("dora", "d")
    assert 'actor=xmpp:alice@localhost/a command="user add"' in host.log()
    assert "secret" not in host.log()


def test_labels_name_no_command_line():
    """What a client shows as the label of a field is for its user."""
    for name, row in rows.part("commands").items():
        for argument, rule in row["properties"]["args"]["properties"].items():
            assert row["x-access"] == "local" or "`" not in rule["description"], (name, argument)


def test_rows_are_a_table(host, alice):
    users = table(run(alice, "user-list"))
    assert [r["jid"] for r in users] == ["alice@localhost", "bob@localhost"]
    answer = alice.result("set", command("status"), to="localhost")
    assert answer.get("status") == "completed"


def test_a_form_removes_values_by_name(host, alice):
    """Clients send fields that were left alone as empty ones: these stay."""
    host.ctl("group", "add", "sales")
    host.ctl("template", "add", "staff", "--groups", "sales", "--department", "D",
             "--description", "x", "--disabled", "on")
    empty = {"department": "", "groups": "", "federation": "", "disabled": ""}

    def changed(node, call=run, **fields):
        return call(alice, node, **fields)

    def refused(node, **fields):
        asked = alice.result("set", command(node, action="execute"), to="localhost")
        answer = alice.iq("set", command(node, form(**fields), action="complete",
                                         sessionid=asked.get("sessionid")), to="localhost")
        return ElementTree.tostring(answer, encoding="unicode")
    changed("template-set", name="staff", **{**empty, "description": "y"})
    row, = host.rows("template", "show", "staff")
    assert (row["description"], row["department"], row["groups"], row["disabled"]) == (
        "y", "D", "sales", True)
    assert "none of the options" in refused("template-set", name="staff", remove="name")
    for node, which in (("template-set", {"name": "staff"}),
                        ("user-set", {"jid": "bob@localhost"})):
        said = refused(node, **which)  # an empty field removes nothing
        assert 'values to remove; an empty field leaves its value" removes one' in said
        assert "removes it" not in said
    assert "new value" in refused("template-set", name="staff", description="z",
                                  remove="description")
    changed("template-set", name="staff", disabled="off", remove="groups")
    row, = host.rows("template", "show", "staff")
    assert (row["description"], row["groups"], row["disabled"]) == ("y", "", False)
    host.ctl("user", "set", "bob@localhost", "--surname", "B", "--email", "b@localhost")
    changed("user-set", jid="bob@localhost", given_name="Bob", remove="surname")
    row, = host.rows("user", "show", "bob@localhost")
    assert (row["given_name"], row["surname"], row["email"]) == ("Bob", "", "b@localhost")


def test_every_command_whose_empty_values_remove_has_the_field(host, alice):
    """And each option that is on or off has these as choices."""
    found, all_switches = 0, 0
    for name, row in rows.part("commands").items():
        if row["x-access"] == "local" or row.get("x-node"):
            continue
        says = "empty value removes" in row["description"].lower()
        switches = [a for a, rule in row["properties"]["args"]["properties"].items()
                    if rule.get("x-kind") == "option" and rule.get("type") == "boolean"]
        if not says and not switches:
            continue
        asked = alice.result("set", command(name.replace(" ", "-")), to="localhost")
        types = {f.get("var"): f.get("type") for f in asked.iter(f"{{{DATA}}}field")}
        assert (types.get("remove") == "list-multi") == says, name
        assert {types[switch] for switch in switches} <= {"list-single"}, name
        found += says
        all_switches += len(switches)
    assert found == 2 and all_switches > 2


def test_a_page_says_where_the_next_one_begins(host, alice):
    """In the words of the form, for each command with pages: its user types no options."""
    answer = run(alice, "user-list", limit="1")
    kind, text = note(answer)
    said = re.fullmatch('There are more. Run it again, with this in the field "(.*)": (.*)', text)
    assert kind == "info" and said[1] == labels(alice, "user-list")["after"]
    assert [r["jid"] for r in table(answer) + table(run(alice, "user-list", after=said[2]))] == [
        "alice@localhost", "bob@localhost"]
    paged = [name for name, row in rows.part("commands").items()
             if {"limit", "after"} <= set(row["properties"]["args"]["properties"])]
    seen = nodes(alice)
    for name in paged:
        node = name.replace(" ", "-")
        if node in seen and not rows.command_of(name.split())["properties"]["args"].get("required"):
            assert "--after" not in (note(run(alice, node, limit="1")) or ("", ""))[1], name


def test_what_fails_says_why(host, alice):
    kind, text = note(run(alice, "user-del", jid="nobody@localhost"))
    assert kind == "error" and "there is no account" in text


def test_what_doctor_finds_is_shown_where_it_fails(host, alice):
    answer = alice.result("set", command("doctor"), to="localhost")
    kind, text = note(answer)
    found = table(answer)
    assert {"check", "state", "found"} <= set(found[0])
    assert (kind == "error") == any(row["state"] == "error" for row in found), text
    assert kind == "error"  # the certificate of the tests, at least


def test_cancel(host, alice):
    asked = alice.result("set", command("user-add"), to="localhost")
    answer = alice.result("set", command("user-add", sessionid=asked.get("sessionid"),
                                         action="cancel"), to="localhost")
    assert answer.get("status") == "canceled"


def application_error(client, text):
    reply = client.iq("set", text, to="localhost")
    assert reply.get("type") == "error", xml.canonical(reply)
    return next((e.tag.partition("}")[2] for e in reply.iter() if e.tag.startswith(
        f"{{{COMMANDS}}}") and not e.tag.endswith("}command")), None)


def test_mistakes(host, alice):
    asked = alice.result("set", command("user-add"), to="localhost")
    good = asked.get("sessionid")
    assert alice.error("set", command("fly-away"), to="localhost")[0] == "item-not-found"
    assert application_error(alice, command("user-add", action="jump")) == "malformed-action"
    assert application_error(alice, command("user-add", action="prev")) == "bad-action"
    assert application_error(alice, command("user-add", action="cancel")) == "bad-action"
    for bad in ("x", "1.2", good[:-1] + ("0" if good[-1] != "0" else "1")):
        assert application_error(alice, command("user-add", sessionid=bad)) == "bad-sessionid"
    assert application_error(alice, command("user-del", sessionid=good)) == "bad-sessionid"
    assert application_error(alice, command("user-add", sessionid=good)) == "bad-payload"
    assert application_error(alice, command(
        "user-add", f"<x xmlns='{DATA}' type='submit'><field/></x>", sessionid=good)) \
        == "bad-payload"


def test_a_session_is_of_one_client(host, alice):
    asked = alice.result("set", command("user-add"), to="localhost")
    other = host.client("alice", "other")
    assert application_error(other, command("user-add", form(jid="x@localhost"),
                                            sessionid=asked.get("sessionid"))) == "bad-sessionid"


@pytest.mark.parametrize("how", ["complete", "cancel"])
@pytest.mark.parametrize("to", ["localhost", "alice@localhost"])
def test_an_execution_ends_once(host, alice, how, to):
    """A request that a client repeats must not run the command again (XEP-0050 §3.4)."""
    asked = alice.result("set", command("user-add"), to=to)
    session = asked.get("sessionid")
    made = form(jid="carol@localhost", password="a good secret")
    answer = alice.result("set", command("user-add", made if how == "complete" else "",
                                         sessionid=session, action=how), to=to)
    assert answer.get("status") == {"complete": "completed", "cancel": "canceled"}[how]
    if how == "complete":
        host.ctl("user", "del", "carol@localhost")
    for action in ("complete", "execute", "next", "cancel"):
        reply = alice.iq("set", command("user-add", made, sessionid=session, action=action), to=to)
        assert "bad-sessionid" in xml.canonical(reply), action
    assert "carol@localhost" not in {r["jid"] for r in host.rows("user", "list")}
    other = alice.result("set", command("user-add"), to=to).get("sessionid")
    assert alice.result("set", command("user-add", made, sessionid=other), to=to) is not None


def test_many_at_once_end_on_other_workers(make_server):
    """Each is answered, whichever worker its account has its home on, and soon."""
    names = [f"u{i}" for i in range(24)]
    host = make_server("alice", *names, workers=4, settings={"admin.accounts": "alice@localhost"})
    alice = host.client("alice", "a")
    for name in names[:12]:
        assert table(run(alice, "user-stats", jid=f"{name}@localhost"))
    asked = [alice.result("set", command("user-stats"), to="localhost").get("sessionid")
             for _ in range(200)]
    for i, session in enumerate(asked):
        text = command("user-stats", form(jid=f"{names[i % 24]}@localhost"), sessionid=session)
        alice.send(f"<iq type='set' id='s{i}' to='localhost'>{text}</iq>")
    for i in range(200):
        alice.expect(f"<iq type='result' id='s{i}'/>")


# --- files of the host ---


@pytest.mark.parametrize("node", ["room-import", "config-check"])
def test_commands_about_files_of_the_host_are_not_for_clients(host, alice, node):
    assert node not in nodes(alice)
    for action in ("execute", "complete"):
        fields = form(room="x@conference.localhost", file="/tmp/nothing-is-made-here")
        assert alice.error("set", command(node, fields, action=action),
                           to="localhost")[0] in ("forbidden", "item-not-found")


FILES = {"web.chat-files": "/nowhere", "web.logo": "/nowhere/logo.png",
         "federation.blocklist": "/nowhere/list", "journald.socket": "/nowhere/socket"}


@pytest.mark.parametrize("setting", FILES)
def test_settings_that_name_files_of_the_host_are_not_for_clients(host, alice, setting):
    prefix, default = setting.partition(".")[0], host.rows("get", setting)[0]["value"]
    for fields in ({"setting": setting, "value": FILES[setting]},
                   {"setting": setting, "default": "true"}):
        kind, text = note(run(alice, "set", **fields))
        assert kind == "error" and "musterctl at the server only" in text
    assert note(run(alice, "config-reset", prefix=prefix))[0] != "error"  # it has its default
    host.ctl("set", setting, FILES[setting])
    kind, text = note(run(alice, "config-reset", prefix=prefix))
    assert kind == "error" and "musterctl at the server only" in text
    assert host.rows("get", setting)[0]["value"] == FILES[setting]
    host.ctl("config", "reset", prefix)
    assert host.rows("get", setting)[0]["value"] == default


def test_each_setting_that_names_files_of_the_host_is_one_of_them():
    """By its words in docs/config.md."""
    listed = re.findall(r"^\| `([a-z0-9-]+\.[a-z0-9-]+)` \| (text of.*) \|$",
                        (ROOT / "docs/config.md").read_text(), re.M)
    assert len(listed) > 20
    named = {name for name, rest in listed if re.search(r"\| (File|Folder|Path|Directory)\b", rest)}
    local = {name for name, rest in listed if "Only `musterctl` at the server's host" in rest}
    assert named == local == set(FILES)


def test_several_addresses_are_lines(host, alice):
    bob = host.client("bob", "b")
    asked = alice.result("set", command("contact-group", action="execute"), to="localhost")
    field, = (f for f in asked.iter(f"{{{DATA}}}field") if f.get("var") == "users")
    assert field.get("type") == "text-multi"
    values = "".join(f"<value>{c.bare}</value>" for c in (alice, bob))
    answer = alice.result("set", command(
        "contact-group", f"<x xmlns='{DATA}' type='submit'><field var='group'><value>Sales</value>"
        f"</field><field var='users'>{values}</field></x>", action="complete",
        sessionid=asked.get("sessionid")), to="localhost")
    assert note(answer) == ("info", "users who are contacts of each other: 2")
    found, = host.rows("contact", "list", "bob@localhost")
    assert (found["jid"], found["groups"]) == ("alice@localhost", "Sales")
