"""Service administration (XEP-0133), and the commands below it with musterctl."""
import asyncio
import datetime
import json
import re
import signal

import pytest

from harness import rows, xml
from harness.client import TIMEOUT, until
from harness.registration import cancel
from harness.server import Failed
from harness.slix import Slix
from stream.test_fast import Device, condition

ADMIN = "http://jabber.org/protocol/admin"
COMMANDS = "http://jabber.org/protocol/commands"
DATA = "jabber:x:data"
ALICE = "alice@localhost"


@pytest.fixture
def host(make_server):
    """Alice administers; Bob and Carol do not."""
    server = make_server("alice", "bob", "carol")
    server.ctl("set", "admin.accounts", ALICE)
    return server


@pytest.fixture
def alice(host):
    return host.client("alice", "a")


@pytest.fixture
def bob(host):
    return host.client("bob", "b")


def command(name, inner="", **attributes):
    more = "".join(f" {k}='{v}'" for k, v in attributes.items())
    return f"<command xmlns='{COMMANDS}' node='{ADMIN}#{name}'{more}>{inner}</command>"


def form(fields):
    inner = f"<field var='FORM_TYPE' type='hidden'><value>{ADMIN}</value></field>"
    for var, values in fields.items():
        values = [values] if isinstance(values, str) else values
        inner += f"<field var='{var}'>{''.join(f'<value>{v}</value>' for v in values)}</field>"
    return f"<x xmlns='{DATA}' type='submit'>{inner}</x>"


def ask(client, name):
    """The form of a node: its session and the values that it offers."""
    asked = client.result("set", command(name, action="execute"), to="localhost")
    assert asked.get("status") == "executing"
    fields = {f.get("var"): f for f in asked.iter(f"{{{DATA}}}field")}
    assert fields["FORM_TYPE"].findtext(f"{{{DATA}}}value") == ADMIN
    return asked.get("sessionid"), fields


def values(field):
    return [v.text or "" for v in field.findall(f"{{{DATA}}}value")]


def run(client, name, **fields):
    """Fills in the form and returns the fields of the result."""
    session, _ = ask(client, name)
    answer = client.result("set", command(name, form(fields), sessionid=session), to="localhost")
    return result(answer)


def result(answer):
    assert answer.get("status") == "completed", xml.canonical(answer)
    return {f.get("var"): values(f) for f in answer.iter(f"{{{DATA}}}field")}


def refused(client, name, **fields):
    session, _ = ask(client, name)
    return client.error("set", command(name, form(fields), sessionid=session), to="localhost")[0]


def failed(client, name, **fields):
    """What a note says of a command that ran and failed: it is completed (XEP-0050 §4.3)."""
    session, _ = ask(client, name)
    answer = client.result("set", command(name, form(fields), sessionid=session), to="localhost")
    assert answer.get("status") == "completed" and answer.get("sessionid") == session
    assert answer.find(f"{{{DATA}}}x") is None
    note, = answer.iter(f"{{{COMMANDS}}}note")
    assert note.get("type") == "error"
    return note.text


def once(client, name):
    """A node that asks nothing."""
    return result(client.result("set", command(name), to="localhost"))


def body(client, text, kind=None):
    kind = f" type='{kind}'" if kind else ""
    client.expect(f"<message from='localhost'{kind}><body>{text}</body></message>")


# --- discovery ---


def test_every_command_is_found_by_administrators_only(host, alice, bob):
    def nodes(client):
        query = client.result("get", f"<query xmlns='{xml.DISCO_ITEMS}' node='{COMMANDS}'/>",
                              to="localhost")
        return {i.get("node").partition("#")[2] for i in query if ADMIN in i.get("node")}

    assert nodes(alice) == {
        "add-user", "delete-user", "disable-user", "reenable-user", "end-user-session",
        "change-user-password", "get-user-roster", "get-user-lastlogin", "user-stats",
        "edit-blacklist", "edit-whitelist", "get-registered-users-num", "get-disabled-users-num",
        "get-online-users-num", "get-active-users-num", "get-idle-users-num",
        "get-registered-users-list", "get-disabled-users-list", "get-online-users-list",
        "get-active-users", "get-idle-users", "announce", "set-motd", "edit-motd", "delete-motd",
        "set-welcome", "delete-welcome", "edit-admin", "restart", "shutdown"}
    assert nodes(bob) == set()
    for name in ("add-user", "shutdown", "get-registered-users-num"):
        assert bob.error("set", command(name), to="localhost")[0] == "forbidden"
        assert bob.error("get", f"<query xmlns='{xml.DISCO_INFO}' node='{ADMIN}#{name}'/>",
                         to="localhost")[0] == "forbidden"
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}' node='{ADMIN}#announce'/>",
                        to="localhost")
    assert info[0].get("type") == "command-node"


# --- accounts ---


def test_add_and_delete_users(host, alice):
    _, fields = ask(alice, "add-user")
    assert {v: f.get("type") for v, f in fields.items()} == {
        "FORM_TYPE": "hidden", "accountjid": "jid-single", "password": "text-private",
        "password-verify": "text-private", "email": "text-single", "given_name": "text-single",
        "surname": "text-single"}
    run(alice, "add-user", **{"accountjid": "dora@localhost", "password": "p",
                              "password-verify": "p"})
    run(alice, "add-user", **{"accountjid": "emil@localhost", "password": "p",
                              "password-verify": "p"})
    dora = host.client("dora", password="p")
    run(alice, "delete-user", accountjids=["dora@localhost", "emil@localhost"])
    dora.expect_stream_error("not-authorized")
    assert {r["jid"] for r in host.rows("user", "list")} == {
        ALICE, "bob@localhost", "carol@localhost"}


def test_fields_of_results_have_their_types(host, alice):
    """XEP-0133 §9.2; several values have a type for several (XEP-0004 §3.3)."""
    def types(answer):
        return {f.get("var"): f.get("type") for f in answer.iter(f"{{{DATA}}}field")
                if f.get("var") != "FORM_TYPE"}

    def filled(name, **fields):
        session, _ = ask(alice, name)
        return alice.result("set", command(name, form(fields), sessionid=session), to="localhost")

    for name in "registered", "disabled", "online", "active", "idle":
        answer = alice.result("set", command(f"get-{name}-users-num"), to="localhost")
        assert types(answer) == {f"{name}usersnum": "text-single"}
    for name in "registered", "disabled", "online":
        assert types(filled(f"get-{name}-users-list")) == {f"{name}userjids": "jid-multi"}
    assert types(filled("get-user-lastlogin", accountjids="bob@localhost")) == {
        "accountjids": "jid-multi", "lastlogin": "text-single"}
    found = types(filled("user-stats", accountjid="alice@localhost"))
    assert found["rostersize"] == "text-single" and found["onlineresources"] == "text-single"


def test_mistakes_change_nothing(host, alice):
    assert "exists already" in failed(alice, "add-user", **{
        "accountjid": "bob@localhost", "password": "p", "password-verify": "p"})
    assert refused(alice, "add-user", **{"accountjid": "dora@localhost", "password": "p",
                                         "password-verify": "q"}) == "bad-request"
    assert refused(alice, "add-user", password="p") == "bad-request"
    assert "no account" in failed(alice, "delete-user", accountjids=["nobody@localhost"])
    both = failed(alice, "disable-user", accountjids=["nobody@localhost", "no@localhost"])
    assert "nobody@localhost" in both and "no@localhost" in both and "other" not in both
    some = failed(alice, "disable-user", accountjids=["nobody@localhost", "carol@localhost"])
    assert "nobody@localhost" in some and some.endswith("; done for the other 1")
    run(alice, "reenable-user", accountjids=["carol@localhost"])
    for name, field in (("user-stats", "accountjid"), ("get-user-roster", "accountjids"),
                        ("get-user-lastlogin", "accountjids")):
        assert "no account" in failed(alice, name, **{field: "nobody@localhost"})
    assert refused(alice, "delete-user") == "bad-request"
    assert refused(alice, "delete-user", accountjids=["@localhost"]) == "bad-request"
    assert refused(alice, "get-registered-users-list", max_items="26") == "bad-request"
    session, _ = ask(alice, "delete-user")
    other = f"<x xmlns='{DATA}' type='submit'><field var='FORM_TYPE'><value>x:y</value></field>" \
            "<field var='accountjids'><value>bob@localhost</value></field></x>"
    assert alice.error("set", command("delete-user", other, sessionid=session),
                       to="localhost")[0] == "bad-request"
    assert alice.error("set", command("get-user-password"), to="localhost")[0] == "not-allowed"
    assert alice.error("set", command("make-coffee"), to="localhost")[0] == "item-not-found"
    assert len(host.rows("user", "list")) == 3


def test_some_of_many_fail(host, alice):
    session, _ = ask(alice, "disable-user")
    answer = alice.result("set", command("disable-user", form(
        {"accountjids": ["bob@localhost", "nobody@localhost"]}), sessionid=session),
        to="localhost")
    assert [n.get("type") for n in answer.iter(f"{{{COMMANDS}}}note")] == ["error"]
    assert [r["jid"] for r in host.rows("user", "list", "--disabled")] == ["bob@localhost"]


def test_disabled_users_are_away_and_come_back(host, alice, bob):
    host.ctl("set", "presence.approval", "ask")
    host.befriend("bob", "carol")
    carol = host.client("carol", "c")
    run(alice, "disable-user", accountjids=["bob@localhost"])
    bob.expect_stream_error("not-authorized")
    carol.expect(f"<presence from='{bob}' type='unavailable'/>")
    bad = host.connect("bob")
    bad.sasl_start("PLAIN", b"\0bob\0secret")
    bad.expect("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><account-disabled/></failure>")
    assert carol.error("get", "<ping xmlns='urn:xmpp:ping'/>",
                       to="bob@localhost")[0] == "service-unavailable"
    carol.send("<message to='bob@localhost' type='chat' id='m'><body>there?</body></message>")
    assert carol.expect("<message type='error' id='m'/>") is not None
    assert result(alice.result("set", command("get-disabled-users-num"), to="localhost"))[
        "disabledusersnum"] == ["1"]
    assert run(alice, "get-disabled-users-list", max_items="none")["disableduserjids"] == [
        "bob@localhost"]
    again = host.client("carol", "again")  # probes Bob, who must not lose his contact by it
    again.ping()
    assert not [e for e in again.log if e.get("type") == "unsubscribed"]
    run(alice, "reenable-user", accountjids=["bob@localhost"])
    bob = host.client("bob", "back")
    carol.expect(f"<presence from='{bob}'/>")
    roster = bob.result("get", "<query xmlns='jabber:iq:roster'/>")
    assert [(i.get("jid"), i.get("subscription")) for i in roster] == [
        ("carol@localhost", "both")]


def test_what_waits_for_a_disabled_user_is_kept(host, alice):
    alice.send("<message to='bob@localhost' type='chat'><body>later</body></message>")
    alice.ping()
    host.ctl("user", "disable", "bob@localhost")
    host.restart()
    host.ctl("user", "enable", "bob@localhost")
    bob = host.client("bob")
    bob.expect("<message><body>later</body></message>")


def test_a_disabled_user_has_no_way_in(host):
    """Neither by a token, nor by resumption, nor by a login that was already under way."""
    device = Device(host, "bob")
    device.first()
    gone = host.login("bob", "gone")
    gone.enable_sm()
    gone.cut()
    half = host.connect("bob")
    assert half.authenticate() is None
    host.ctl("user", "disable", "bob@localhost")
    assert condition(device.again()) == "account-disabled"
    half.open()
    half.raw(f"<resume xmlns='{xml.SM}' previd='{gone.sm_id}' h='0'/>")
    half.expect(f"<failed xmlns='{xml.SM}'/>")
    assert half.error("set", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")[0] in (
        "not-authorized", "item-not-found", "not-allowed")
    assert host.rows("session", "list", "--jid", "bob@localhost") == []
    host.ctl("user", "enable", "bob@localhost")
    assert device.again().tag == f"{{{xml.SASL2}}}success"


def test_a_disabled_account_can_be_deleted(host):
    host.ctl("user", "disable", "bob@localhost")
    host.ctl("user", "disable", "bob@localhost")
    host.ctl("user", "del", "bob@localhost")
    for verb in ("disable", "enable", "del"):
        with pytest.raises(Failed):
            host.ctl("user", verb, "bob@localhost")
    host.add_user("bob")
    host.client("bob")


def test_an_emptied_administrator_is_listed_as_disabled(host):
    host.ctl("admin", "add", "bob@localhost", "auditor")
    for name in ("alice@localhost", "bob@localhost"):
        host.ctl("user", "del", name, "--keep-address")
        until("disabled", lambda: {r["name"]: r["disabled"] for r in host.rows(
            "admin", "list")}[name] is True)


def test_sessions_end(host, alice, bob):
    other = host.client("bob", "other")
    run(alice, "end-user-session", accountjids=[str(other)])
    other.expect_stream_error("policy-violation")
    bob.ping()
    run(alice, "end-user-session", accountjids=["bob@localhost"])
    bob.expect_stream_error("policy-violation")


def test_change_a_password(host, alice, bob):
    run(alice, "change-user-password", accountjid="bob@localhost", password="other")
    bob.expect_stream_error("not-authorized")
    host.client("bob", password="other")
    assert "no account" in failed(alice, "change-user-password",
                                  accountjid="nobody@localhost", password="x")


def takes_over(client, node):
    """Fills in the own address and a password wherever there is a field for them."""
    asked = client.result("set", f"<command xmlns='{COMMANDS}' node='{node}'/>", to="localhost")
    session, said = asked.get("sessionid"), {}
    for field in asked.iter(f"{{{DATA}}}field"):
        var, kind = field.get("var"), field.get("type")
        if kind == "hidden":
            said[var] = ADMIN
        elif kind == "text-private":
            said[var] = "stolen"
        elif "jid" in var:
            said[var] = "Alice@LOCALHOST"
    inner = "".join(f"<field var='{v}'><value>{t}</value></field>" for v, t in said.items())
    client.iq("set", f"<command xmlns='{COMMANDS}' node='{node}' sessionid='{session}'>"
              f"<x xmlns='{DATA}' type='submit'>{inner}</x></command>", to="localhost")


def test_a_token_of_an_administrator_is_not_the_account(host):
    """No command gives the account another password, or deletes it, for one who has only a token
    of an administrator: the current password is asked for elsewhere (XEP-0077)."""
    device = Device(host)
    device.first()
    device.again()
    query = device.client.result("get", f"<query xmlns='{xml.DISCO_ITEMS}' node='{COMMANDS}'/>",
                                 to="localhost")
    every = {i.get("node") for i in query}
    changes = {n for n in every if re.search(r"\buser-(del|add)|(add|delete)-user|password", n)}
    assert changes > {"user-del", "user-password", "user-add", ADMIN + "#change-user-password",
                      ADMIN + "#delete-user"}
    for node in changes:
        takes_over(device.client, node)
        assert host.connect("alice").authenticate() is None, node
    assert "own account" in failed(device.client, "change-user-password", accountjid=ALICE,
                                   password="stolen")
    host.ctl("user", "password", ALICE, "--password", "another")


# --- what is known of users ---


def test_roster(host, alice):
    host.befriend("bob", "carol")
    bob = host.client("bob")
    bob.result("set", "<query xmlns='jabber:iq:roster'><item jid='carol@localhost' "
               "name='C &amp; D'>"
               "<group>a, b</group><group>c</group></item></query>")
    session, _ = ask(alice, "get-user-roster")
    answer = alice.result("set", command("get-user-roster", form(
        {"accountjids": ["bob@localhost", "carol@localhost"]}), sessionid=session),
        to="localhost")
    queries = list(answer.iter("{jabber:iq:roster}query"))
    assert len(queries) == 2
    fields = {f.get("var"): f for f in answer.iter(f"{{{DATA}}}field")}
    assert fields["accountjids"].get("type") == "jid-multi"
    assert values(fields["accountjids"]) == ["bob@localhost", "carol@localhost"]
    item = queries[0][0]
    assert item.get("jid") == "carol@localhost" and item.get("name") == "C & D"
    assert {g.text for g in item} == {"a, b", "c"}


def subscriptions(host, jid):
    return {r["jid"]: r["subscription"] for r in host.rows("contact", "list", jid)}


@pytest.mark.parametrize("restarts", (False, True))
def test_a_disabled_user_hears_what_contacts_did(make_server, restarts):
    """Contacts that were deleted, or ended the subscription, meanwhile: else somebody new with that
    name would be shown as a contact, and see the presence of the user."""
    host = make_server()
    for name in ("alice", "bob", "carol"):
        host.add_user(name)
    host.befriend("bob", "alice")
    host.befriend("bob", "carol")
    host.ctl("user", "disable", "bob@localhost")
    host.ctl("user", "del", "carol@localhost")
    alice = host.login("alice", "a")
    alice.result("set", "<query xmlns='jabber:iq:roster'><item jid='bob@localhost' "
                        "subscription='remove'/></query>")
    if restarts:
        host.restart()
    assert set(subscriptions(host, "bob@localhost").values()) == {"both"}
    host.ctl("user", "enable", "bob@localhost")
    until("bob to hear of it", lambda: subscriptions(host, "bob@localhost") == {
        "alice@localhost": "none"})


def test_the_roster_of_a_disabled_user(host, alice):
    """A disabled account keeps its roster, and the administrator sees it (§4.8)."""
    host.befriend("bob", "carol")
    host.ctl("contact", "add", "bob@localhost", "dora@localhost", "--group", "Friends")
    before = host.rows("contact", "list", "bob@localhost")
    host.ctl("user", "disable", "bob@localhost")
    session, _ = ask(alice, "get-user-roster")
    answer = alice.result("set", command("get-user-roster", form(
        {"accountjids": ["carol@localhost", "bob@localhost"]}), sessionid=session),
        to="localhost")
    queries = list(answer.iter("{jabber:iq:roster}query"))
    assert [i.get("jid") for i in queries[0]] == ["bob@localhost"]
    assert {i.get("jid"): (i.get("subscription"), [g.text for g in i]) for i in queries[1]} == {
        "carol@localhost": ("both", []), "dora@localhost": ("none", ["Friends"])}
    host.restart()
    after = host.rows("contact", "list", "bob@localhost")
    assert sorted(after, key=str) == sorted(before, key=str)
    for change in (("add", "bob@localhost", "emil@localhost"),
                   ("del", "bob@localhost", "dora@localhost")):
        with pytest.raises(Failed, match="disabled"):
            host.ctl("contact", *change)
    with pytest.raises(Failed, match="no account"):
        host.ctl("contact", "list", "nobody@localhost")
    host.ctl("user", "enable", "bob@localhost")
    after = host.rows("contact", "list", "bob@localhost")
    assert sorted(after, key=str) == sorted(before, key=str)


def test_last_login_and_statistics(host, alice):
    bob = host.client("bob", "phone")
    found = run(alice, "get-user-lastlogin", accountjids=["bob@localhost", "carol@localhost"])
    assert found["accountjids"] == ["bob@localhost", "carol@localhost"]
    assert len(found["lastlogin"]) == 1 and found["lastlogin"][0].endswith("Z")
    stats = run(alice, "user-stats", accountjid="bob@localhost")
    assert stats["onlineresources"] == ["phone"] and stats["ipaddresses"] == ["127.0.0.1"]
    assert stats["rostersize"] == ["0"]
    bob.close()
    until("the end of the visit",
          lambda: host.rows("user", "last", "bob@localhost")[0]["state"] == "offline")
    alice.send("<message to='bob@localhost' type='chat'><body>x</body></message>")
    alice.ping()
    facts = {r["name"]: r["value"] for r in host.rows("user", "stats", "bob@localhost")}
    assert facts["stored messages"] == "1" and facts["undelivered messages"] == "1"
    assert facts["sessions"] == "0"
    assert host.rows("user", "last", "carol@localhost")[0]["state"] == "never"
    with pytest.raises(Failed):
        host.ctl("user", "stats", "nobody@localhost")


@pytest.mark.parametrize("loaded", [True, False])
def test_statistics_of_a_disabled_account(host, alice, loaded):
    bob = host.client("bob", "phone")
    host.ctl("contact", "add", "bob@localhost", "carol@localhost")
    alice.send("<message to='bob@localhost' type='chat'><body>x</body></message>")
    bob.expect("<message><body>x</body></message>")
    before = {r["name"]: r["value"] for r in host.rows("user", "stats", "bob@localhost")}
    host.ctl("user", "disable", "bob@localhost")
    if not loaded:
        host.restart()
    facts = {r["name"]: r["value"] for r in host.rows("user", "stats", "bob@localhost")}
    assert facts.pop("disabled") == "yes" and facts.pop("sessions") == "0"
    assert facts == {name: before[name] for name in facts} and facts["contacts"] == "1"
    if loaded:
        stats = run(alice, "user-stats", accountjid="bob@localhost")
        assert stats["rostersize"] == ["1"] and not stats["onlineresources"]


def test_counts_and_lists(host, alice, bob):
    host.ctl("user", "disable", "carol@localhost")
    host.ctl("set", "users.idle-time", "1s")
    until("both idle", lambda: host.rows("user", "count", "--state", "idle")[0]["users"] == 2)
    alice.ping()
    num = {name: list(once(alice, f"get-{name}-users-num").values())[-1][0]
           for name in ("registered", "disabled", "online")}
    assert num == {"registered": "3", "disabled": "1", "online": "2"}
    host.ctl("set", "users.idle-time", "1h")
    assert once(alice, "get-active-users-num")["activeusersnum"] == ["2"]
    assert once(alice, "get-idle-users-num")["idleusersnum"] == ["0"]
    assert sorted(run(alice, "get-online-users-list", max_items="25")["onlineuserjids"]) == [
        ALICE, "bob@localhost"]
    assert run(alice, "get-idle-users").get("activeuserjids") == []
    assert len(run(alice, "get-active-users", max_items="none")["activeuserjids"]) == 2
    assert len(run(alice, "get-registered-users-list")["registereduserjids"]) == 3
    assert len(host.rows("user", "list", "--limit", 2)) == 2
    assert len(host.rows("user", "online", "--limit", 1)) == 1
    with pytest.raises(Failed):
        host.ctl("user", "list", "--limit", "0")


# --- announcements ---


def test_announcements(host, alice, bob):
    run(alice, "announce", announcement=["Two", "lines &lt; three"])
    for client in (alice, bob):
        body(client, "Two\nlines &lt; three", "headline")
    host.ctl("announce", "to all", "--all")
    body(bob, "to all")
    body(host.client("carol"), "to all")
    assert refused(alice, "announce") == "bad-request"


def test_message_of_the_day(host, alice, bob):
    run(alice, "set-motd", motd=["Hello", "World"])
    body(alice, "Hello\nWorld")
    body(bob, "Hello\nWorld")
    _, fields = ask(alice, "edit-motd")
    assert values(fields["motd"]) == ["Hello", "World"]
    run(alice, "edit-motd", motd="Better")
    again = host.client("bob", "again")
    again.ping()
    assert not [e for e in again.log if e.tag.endswith("message")]
    host.restart()
    carol = host.client("carol")
    body(carol, "Better")
    alice = host.client("alice", "a")
    once(alice, "delete-motd")
    assert host.rows("motd", "show") == []
    once(alice, "delete-motd")  # what is not there need not be deleted
    run(alice, "set-motd", motd="New")
    body(carol, "New")


def refused_once(client, name):
    return client.error("set", command(name), to="localhost")[0]


def test_welcome(host, alice):
    run(alice, "set-welcome", welcome=["Welcome", "here"])
    _, fields = ask(alice, "set-welcome")
    assert values(fields["welcome"]) == ["Welcome", "here"]
    host.add_user("dora")
    body(host.client("dora"), "Welcome\nhere")
    host.ctl("set", "register.enabled", "on")
    fresh = host.connect()
    fresh.result("set", "<query xmlns='jabber:iq:register'><username>frank</username>"
                 "<password>secret-enough</password></query>", to="localhost")
    body(host.client("frank", password="secret-enough"), "Welcome\nhere")
    once(alice, "delete-welcome")
    host.add_user("emil")
    emil = host.client("emil")
    emil.ping()
    assert not [e for e in emil.log if e.tag.endswith("message")]


# --- lists ---


def by_token(host, name="alice"):
    """A client of hers that has a token and not the password."""
    device = Device(host, name)
    device.first()
    device.again()
    return device.client


def test_a_token_of_an_administrator_makes_no_other(host):
    """Neither by XEP-0133 nor by the command `set`: the other could change the password of the
    first. The same with the password of one who is there already."""
    token = by_token(host)
    changes = {name.replace(" ", "-") for name, row in rows.part("commands").items()
               if row["x-permission"] == "admins.write" and row["x-access"] != "local"}
    query = token.result("get", f"<query xmlns='{xml.DISCO_ITEMS}' node='{COMMANDS}'/>",
                         to="localhost")
    assert len(changes) > 10 and not changes & {i.get("node") for i in query}
    assert "log in with the password" in failed(token, "edit-admin",
                                                adminjids=[ALICE, "bob@localhost"])
    assert administrators(host) == [ALICE]
    host.ctl("set", "admin.accounts", f"{ALICE} carol@localhost")
    for name, fields in (("change-user-password", {"accountjid": "carol@localhost",
                                                   "password": "stolen"}),
                         ("delete-user", {"accountjids": ["carol@localhost"]})):
        assert "carol@localhost is an administrator" in failed(token, name, **fields)
    carol = host.client("carol")
    run(token, "change-user-password", accountjid="bob@localhost", password="other")
    run(carol, "change-user-password", accountjid=ALICE, password="other")  # with her password


def test_a_token_of_an_administrator_does_not_make_one_who_is_named_already(make_server):
    """The node file may name an account that is not there yet."""
    host = make_server("alice", settings={"admin.accounts": f"{ALICE} zoe@localhost"})
    zoe = {"accountjid": "zoe@localhost", "password": "p", "password-verify": "p"}
    assert "zoe@localhost is an administrator" in failed(by_token(host), "add-user", **zoe)
    run(host.client("alice", "b"), "add-user", **zoe)


def test_no_client_turns_off_the_question_for_the_password(host):
    """Not even one that was left alone."""
    for client in by_token(host), host.client("alice", "b"):
        for name in "register.ask-password", "register.ask-password@localhost":
            node = "set"
            asked = client.result("set", f"<command xmlns='{COMMANDS}' node='{node}'/>",
                                  to="localhost")
            inner = "".join(f"<field var='{v}'><value>{t}</value></field>"
                            for v, t in (("setting", name), ("value", "never")))
            answer = client.result(
                "set", f"<command xmlns='{COMMANDS}' node='{node}' sessionid="
                f"'{asked.get('sessionid')}'><x xmlns='{DATA}' type='submit'>{inner}</x></command>",
                to="localhost")
            note, = answer.iter(f"{{{COMMANDS}}}note")
            assert note.text == f"{name}: changed with musterctl at the server only"
    assert host.rows("get", "register.ask-password")[0]["value"] == "always"


def test_administrators_edit_their_list(host, alice, bob):
    _, fields = ask(alice, "edit-admin")
    assert values(fields["adminjids"]) == [ALICE]
    run(alice, "edit-admin", adminjids=[ALICE, "Bob@localhost"])
    assert once(bob, "get-registered-users-num")["registeredusersnum"] == ["3"]
    run(bob, "edit-admin", adminjids=["bob@localhost"])
    assert refused_once(alice, "get-registered-users-num") == "forbidden"


def administrators(server):
    row, = server.rows("get", "admin.accounts")
    return row["value"].split()


def deleted_by_an_operator(server, name):
    server.ctl("user", "del", f"{name}@localhost")


def deleted_by_the_client(server, name):
    client = server.client(name)
    assert client.result("set", cancel(client)) is None


def deleted_by_an_administrator(server, name):
    run(server.client("alice", "deletes"), "delete-user", accountjids=[f"{name}@localhost"])


@pytest.mark.parametrize("deleted", [deleted_by_an_operator, deleted_by_the_client,
                                     deleted_by_an_administrator])
def test_a_deleted_account_is_no_administrator(host, deleted):
    """Whoever gets the address next is somebody else, also after a restart."""
    host.ctl("set", "admin.accounts", f"bob@localhost {ALICE}  carol@localhost bob@localhost")
    deleted(host, "bob")
    rest = [ALICE, "carol@localhost"]
    until("list without bob", lambda: administrators(host) == rest)
    assert "setting.account_deleted" in host.log()
    host.add_user("bob")
    assert refused_once(host.client("bob"), "get-registered-users-num") == "forbidden"
    host.restart()
    assert administrators(host) == rest
    assert refused_once(host.client("bob"), "get-registered-users-num") == "forbidden"


def test_accounts_deleted_together_are_no_administrators(make_server):
    names = [f"user{i}" for i in range(12)]
    server = make_server("alice", *names)
    them = [f"{name}@localhost" for name in names]
    server.ctl("set", "admin.accounts", " ".join([*them, ALICE]))
    clients = [server.client(name) for name in names]
    for client in clients:
        client.send(f"<iq type='set' id='gone'>{cancel(client)}</iq>")
    until("list of alice alone", lambda: administrators(server) == [ALICE])
    server.restart()
    assert administrators(server) == [ALICE]


def test_an_administrator_has_an_account(host, alice):
    for wanted in ("nobody@localhost", f"{ALICE} nobody@localhost"):
        done = host.ctl_run("set", "admin.accounts", wanted)
        assert done.returncode != 0
        assert "found nobody@localhost, which is no account" in done.stderr
    assert "nobody@localhost" in failed(alice, "edit-admin", adminjids=[ALICE, "nobody@localhost"])
    assert administrators(host) == [ALICE]
    host.ctl("set", "admin.accounts", "--default")
    assert administrators(host) == []


def test_no_administrator_is_of_another_server(host, alice):
    said = "found root@two.example, which is of another server"
    for words in (("set",), ("config", "edit")):
        done = host.ctl_run(*words, "admin.accounts", f"{ALICE} root@two.example")
        assert done.returncode != 0 and said in done.stderr
    assert said in failed(alice, "edit-admin", adminjids=[ALICE, "root@two.example"])
    assert administrators(host) == [ALICE]
    host.conf["settings"] = {"admin.accounts": f"{ALICE} root@two.example"}
    host.write()
    assert said in host.ctl_run("config", "check").stderr
    assert said in host.ctl_run("server", "reload").stderr
    assert administrators(host) == [ALICE]


def test_the_node_file_may_name_who_does_not_exist_yet(make_server):
    """It is there before the accounts are: the log and `user add` say it."""
    server = make_server(settings={"admin.accounts": ALICE})
    server.wait_log("setting.no_account.*alice@localhost")
    said = server.ctl("user", "add", ALICE, "--password", "secret")["text"]
    assert "it is an administrator, since admin.accounts names it" in said
    server.ctl("user", "del", ALICE)
    server.wait_log("setting.account_deleted.*the node file still names")
    assert ALICE in administrators(server)


def test_a_setting_of_the_node_file_stays(make_server):
    server = make_server("alice", settings={"admin.accounts": ALICE})
    note = failed(server.client("alice"), "edit-admin", adminjids=[ALICE])
    assert note == "admin.accounts: fixed by the node file; change it there and reload"
    assert administrators(server) == [ALICE]


def test_blacklist_and_whitelist(host, alice, bob):
    def says(sender, to):
        sender.send(f"<message to='{to}' type='chat' id='x'><body>hi</body></message>")

    run(alice, "edit-blacklist", blacklistjids=["evil.example", "bob@localhost"])
    _, fields = ask(alice, "edit-blacklist")
    assert values(fields["blacklistjids"]) == ["evil.example", "bob@localhost"]
    for to in ("x@evil.example", "bob@localhost"):
        says(alice, to)
        alice.expect("<message type='error' id='x'><error><policy-violation "
                     "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
        for kind in "", "type='subscribe'":
            alice.send(f"<presence to='{to}' {kind} id='p'/>")
            alice.expect(f"<presence type='error' id='p' from='{to}'><error><policy-violation "
                         "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>")
    says(bob, ALICE)
    bob.expect("<message type='error' id='x'><error><policy-violation "
               "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
    bob.result("get", "<ping xmlns='urn:xmpp:ping'/>", to="localhost")
    run(alice, "edit-blacklist", blacklistjids=[])
    run(alice, "edit-whitelist", whitelistjids=["good.example"])
    says(bob, ALICE)
    alice.expect(f"<message from='{bob}'><body>hi</body></message>")
    says(alice, "x@other.example")
    alice.expect("<message type='error' id='x'><error><policy-violation "
                 "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
    says(alice, "x@good.example")
    alice.expect("<message type='error' id='x'><error><remote-server-not-found "
                 "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
    assert refused(alice, "edit-whitelist", whitelistjids=["a b@c"]) == "bad-request"
    assert host.ctl_run("set", "service.blacklist", "UPPER.example").returncode != 0


# --- the end ---


def test_shutdown(host, alice, bob):
    run(alice, "shutdown", announcement="closing")
    body(bob, "closing", "headline")
    bob.expect_stream_error("system-shutdown")
    assert host.wait_exit() == 0
    assert "server.end-scheduled" in host.log()


def test_a_delayed_end_can_be_taken_back(host, alice):
    run(alice, "shutdown", delay="30")
    assert json.loads(host.ctl_run("--json", "server", "continue").stdout)["ok"]
    assert host.ctl_run("server", "continue").returncode != 0
    assert host.ctl_run("server", "stop", "--delay", "soon").returncode != 0
    alice.ping()


@pytest.mark.parametrize("later", [["continue"], ["stop", "--delay", "3600"], ["restart"]])
def test_an_end_at_once_cannot_be_taken_back(host, later):
    """Perhaps it has ended before the second command is there."""
    host.ctl("server", "stop")
    assert host.ctl_run("server", *later).returncode != 0
    assert host.wait_exit() == 0


@pytest.mark.parametrize("what", ["restart", "stop"])
def test_status_shows_a_scheduled_end(host, what):
    """A second operator sees what will happen and when, until it is cancelled."""
    [row] = host.rows("status")
    assert row["end_scheduled"] == "no"
    before = datetime.datetime.now(datetime.timezone.utc)
    host.ctl("server", what, "--delay", 3600)
    [row] = host.rows("status")
    said, _, stamp = row["end_scheduled"].partition(" at ")
    assert said == what
    due = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    assert before + datetime.timedelta(seconds=3599) < due < before + datetime.timedelta(hours=2)
    host.ctl("server", "continue")
    assert host.rows("status")[0]["end_scheduled"] == "no"


def test_a_stop_while_a_restart_waits(host):
    host.ctl("server", "restart", "--delay", 60)
    host.stop()


def test_restart(host, alice):
    pid, before = host.process.pid, host.log().count("server.ready")
    run(alice, "restart", announcement="back soon")
    body(alice, "back soon", "headline")
    alice.expect_stream_error("system-shutdown")
    until("another start", lambda: host.log().count("server.ready") == before + 1)
    assert host.process.poll() is None and host.process.pid == pid
    again = host.client("alice", "again")
    again.ping()
    host.signal(signal.SIGHUP)
    host.wait_log("server.reloaded")


# --- another implementation ---


async def test_slixmpp(host):
    """The plugin of slixmpp asks for a form, fills it in and gets the end of its session."""
    alice = await Slix(host, "alice", ["xep_0133"]).login()
    ended = asyncio.get_running_loop().create_future()

    def form_came(iq, session):
        answer = alice["xep_0004"].make_form(ftype="submit")
        fields = iq["command"]["form"].get_fields()
        assert fields["accountjid"]["type"] == "jid-single"
        answer.add_field(var="FORM_TYPE", ftype="hidden", value=ADMIN)
        answer.add_field(var="accountjid", value="dora@localhost")
        answer.add_field(var="password", value="secret")
        session["payload"] = answer
        session["next"] = lambda iq, _: ended.set_result(iq["command"]["status"])
        alice["xep_0050"].complete_command(session)

    alice["xep_0133"].add_user(jid="localhost", session={
        "next": form_came, "error": lambda iq, _: ended.set_exception(AssertionError(iq))})
    assert await asyncio.wait_for(ended, TIMEOUT) == "completed"
    await alice.disconnect()
    host.client("dora")
