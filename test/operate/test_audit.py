"""The audit log: what is in it, and that nobody changes it unseen."""
import contextlib
import functools
import hashlib
import json
import re
import time

import pytest
from cryptography.hazmat.primitives import hashes

from harness import rows
from harness.client import until
from harness.control import Control
from harness.slow_disk import STILL
from services.test_adhoc import run
from surface.test_api import api_server
from im.test_blocking import BLOCKING
from im.test_blocking import report as reported
from operate.test_certs import make
from operate.test_roles import refused
from services.test_upload import store


@pytest.fixture
def host(make_server):
    return make_server("alice", "bob")


def entries(host, *args):
    return host.rows("audit", "list", *args)


def broken(host):
    """The alarm of a log that is not as the server left it."""
    return next((row for row in host.rows("alarm", "list") if row["name"] == "audit.broken"), None)


def test_an_entry_has_what_was_before_and_after(host):
    """Of each kind of thing: whoever reads the log need not look for an older entry."""
    host.ctl("role", "set", "eyes", "users.read")
    host.ctl("role", "del", "eyes")
    host.ctl("template", "add", "staff")
    host.ctl("template", "rename", "staff", "team")
    found = {e["command"]: (e["before"], e["after"]) for e in entries(host)}
    assert found["role set"] == ("", "users.read")
    assert found["role del"] == ("users.read", "")
    assert found["template rename"] == ("staff", "team")


def told(host, *command):
    """What the entry of a command says that was before and is after it."""
    host.ctl(*command)
    newest = entries(host)[0]
    assert newest["result"] == "ok" and command[0] in newest["command"]
    return newest["before"], newest["after"]


def test_an_entry_has_the_profile_before_and_after(host):
    """Of what is given, also if a value was empty, is removed, or stays."""
    assert told(host, "user", "set", "bob@localhost", "--given-name", "Bob", "--email", "b@x.test"
                ) == ("given_name= email=", "given_name=Bob email=b@x.test")
    assert told(host, "user", "set", "bob@localhost", "--given-name", "Bobby Lee"
                ) == ("given_name=Bob", 'given_name="Bobby Lee"')
    assert told(host, "user", "set", "bob@localhost", "--given-name", "", "--email", "b@x.test"
                ) == ('given_name="Bobby Lee" email=b@x.test', "given_name= email=b@x.test")
    forged = 'Eve role=administrator \\ "x" email=eve@x.test'
    assert told(host, "user", "set", "bob@localhost", "--given-name", forged)[1] == (
        'given_name="Eve role=administrator \\\\ \\"x\\" email=eve@x.test"')
    host.ctl("template", "add", "staff")
    assert told(host, "user", "set", "bob@localhost", "--template", "staff"
                ) == ("template=", "template=staff")
    host.ctl("template", "del", "staff")
    assert told(host, "user", "set", "bob@localhost", "--template", "staff", "--surname", "Lee"
                ) == ("surname= template=staff", "surname=Lee template=staff")


def test_an_entry_has_a_group_before_and_after(host):
    """What is changed of it, and all of it if it is made or deleted."""
    assert told(host, "group", "add", "sales") == ("", "shown=sales visible_to=members")
    assert told(host, "group", "set", "sales", "--shown", "Sales team"
                ) == ("shown=sales", 'shown="Sales team"')
    assert told(host, "group", "set", "sales", "--visible-to", "members domain:localhost"
                ) == ("visible_to=members", "visible_to=members visible_to=domain:localhost")
    assert told(host, "group", "set", "sales", "--members", "bob@localhost", "--shown", ""
                ) == ('shown="Sales team"', "shown=sales bob@localhost")
    assert told(host, "group", "set", "sales", "--rules", "department=Field Sales",
                "--domains", "localhost") == ("", 'domain=localhost department="Field Sales"')
    whole = ("shown=sales visible_to=domain:localhost visible_to=members "
             'department="Field Sales" domain=localhost bob@localhost')
    assert told(host, "group", "del", "sales") == (whole, "")
    assert told(host, "group", "add", "all", "--visible-to", "nobody", "--members",
                "alice@localhost") == ("", "shown=all visible_to=nobody alice@localhost")


def test_of_a_long_group_an_entry_has_the_beginning(host):
    rules = " ".join(f"department={n}{'x' * 200}" for n in range(10, 55))
    assert told(host, "group", "add", "long", "--rules", rules
                ) == ("", f"shown=long visible_to=members {rules}"[:4096])
    assert told(host, "group", "del", "long"
                ) == (f"shown=long visible_to=members {rules}"[:4096], "")


def test_an_entry_has_a_webhook_before_and_after(host):
    """But for its secret, and the path of its address, in which there may be a key."""
    one = "id=1 url=http://hook.test/ events=user.deleted"
    assert told(host, "webhook", "add", "http://hook.test/", "--events", "user.deleted",
                "--secret", "planted south wind") == ("", one)
    assert told(host, "webhook", "add", "http://hook.test/all"
                ) == ("", "id=2 url=http://hook.test/… events=*")
    assert told(host, "webhook", "del", "1") == (one, "")
    assert "planted" not in str(entries(host)) and "hook.test/all" not in str(entries(host))


def test_an_entry_has_a_blocked_domain_before_and_after(host):
    assert told(host, "federation", "block", "far.test") == ("", "blocked")
    assert told(host, "federation", "block", "far.test") == ("blocked", "blocked")
    assert told(host, "federation", "allow", "far.test") == ("blocked", "")


def test_an_entry_has_a_room_before_and_after(host):
    """What is changed of its configuration, without its password, and what is destroyed."""
    room = "cave@conference.localhost"
    host.ctl("room", "create", room, "alice@localhost", "--name", "Cave")
    assert told(host, "room", "set", room, "roomname", "Den"
                ) == ("roomname=Cave", "roomname=Den")
    assert told(host, "room", "change", room, "--name", "Hall", "--public", "off", "--owners",
                "bob@localhost") == ("roomname=Den publicroom=on owners=alice@localhost",
                                     "roomname=Hall publicroom=off owners=bob@localhost")
    assert told(host, "room", "affiliation", room, "alice@localhost", "outcast"
                ) == ("member", "outcast")
    host.ctl("room", "set", room, "roomsecret", "planted south wind")
    assert "planted" not in str(entries(host)[0])
    assert told(host, "room", "destroy", room
                ) == ("name=Hall owners=bob@localhost affiliations=2", "")


def test_an_entry_has_what_is_said_of_other_servers_before_and_after(host):
    host.ctl("s2s-route", "add", "far.test", "127.0.0.1:9")
    was = "priority=1 weight=1 tls=starttls in_service=on blocked=off less_specific=on description="
    now = was.replace("weight=1", "weight=2")
    route = ("far.test", "127.0.0.1:9")
    assert told(host, "s2s-route", "set", *route, "--weight", "2") == (was, now)
    assert told(host, "s2s-route", "del", *route) == (now, "")
    demand = "auth=settings verify=settings tls_min=1.3 pins= description="
    assert told(host, "s2s-demand", "set", "far.test", "--tls-min", "1.3") == ("", demand)
    assert told(host, "s2s-demand", "set", "far.test", "--verify", "on"
                ) == (demand, demand.replace("verify=settings", "verify=on"))
    assert told(host, "s2s-demand", "del", "far.test"
                ) == (demand.replace("verify=settings", "verify=on"), "")
    only = ("only", "--domains", "far.test near.test")
    for who, command in (("Sales", "s2s-group"), ("group:all", "s2s-group"),
                         ("bob@localhost", "federation")):
        assert told(host, command, "set", who, *only) == ("", "only domains=far.test near.test")
        assert told(host, command, "set", who, "off") == ("only domains=far.test near.test", "off")
    assert told(host, "s2s-group", "del", "group:all") == ("off", "")
    assert told(host, "federation", "set", "bob@localhost", "default") == ("off", "")


def test_an_entry_has_a_token_and_the_level_of_the_log_before_and_after(host):
    host.ctl("token", "add", "far", "viewer")
    assert told(host, "token", "revoke", "far"
                ) == ("role=viewer scope= made_by=control:root", "")
    assert told(host, "log", "level", "warn") == ("info", "warn")


FORGED = 'Eve\u202e role=administrator "x" \\ y'
IN_QUOTES = '"Eve\\u202e role=administrator \\"x\\" \\\\ y"'
EVIL = "role=administrator@evil.test"  # a bare JID


def test_no_text_of_users_looks_like_another_value(host):
    """In what was before, what is after, and in the arguments, of each command that has one."""
    hall = "hall@conference.localhost"
    host.ctl("room", "create", hall, "bob@localhost")
    for command in (
            ("room", "affiliation", hall, EVIL, "owner"),
            ("room", "set", hall, "roomname", FORGED),
            ("room", "affiliation", hall, "alice@localhost", "member"),
            ("room", "owner", hall, "alice@localhost"),
            ("room", "destroy", hall, "--reason", FORGED, "--yes"),
            ("group", "add", "staff", "--rules", f"department={FORGED}", "--shown", "Staff"),
            ("group", "set", "staff", "--rules", "department=Office"),
            ("group", "del", "staff", "--yes"),
            ("policy", "set", "bob@localhost", "--block", EVIL),
            ("policy", "set", "bob@localhost", "--none", EVIL),
            ("s2s-route", "add", "a.test", "b.test:5269", "--description", FORGED),
            ("s2s-route", "del", "a.test", "b.test:5269", "--yes"),
            ("s2s-demand", "set", "a.test", "--tls-min", "1.3", "--description", FORGED),
            ("s2s-demand", "del", "a.test", "--yes"),
            ("user", "set", "bob@localhost", "--given-name", FORGED)):
        host.ctl(*command)
    quoted = {"s2s-route del": 1, "s2s-demand set": 1, "s2s-demand del": 1,
              "group add": 1, "group set": 1, "room destroy": 1, "room set": 1, "user set": 1}
    for entry in entries(host):
        told = entry["before"] + " " + entry["after"]
        for text in entry["args"], told:
            assert "\u202e" not in text, entry
            assert "role=administrator " not in re.sub(r'"([^"\\]|\\.)*"', "", text + " "), entry
        assert " role=" not in re.sub(r'"([^"\\]|\\.)*"', "", " " + told), entry
        assert told.count(IN_QUOTES) == quoted.get(entry["command"], 0), entry


def pem_of(folder, name):
    """A file with the certificate of localhost and its key; what the audit log says of it."""
    cert, _ = make(folder, name, ["localhost", "a.test"])
    both = folder / f"{name}-both.pem"
    both.write_bytes((folder / f"{name}.pem").read_bytes() +
                     (folder / f"{name}.key").read_bytes())
    ends = cert.not_valid_after.strftime("%Y-%m-%dT%H:%M:%S")
    return both, (f"names=localhost,a.test sha256={cert.fingerprint(hashes.SHA256()).hex()} "
                  f"expires={ends}.000000Z")


def test_an_entry_has_a_certificate_before_and_after(host, tmp_path):
    """Its names, its fingerprint and its end, never its key; of each domain that it is for."""
    host.ctl("component", "add", "gate.localhost", "--secret", "planted south wind")
    one, first = pem_of(tmp_path, "one")
    two, second = pem_of(tmp_path, "two")
    assert told(host, "cert", "import", "localhost", "--file", one
                ) == ("", f"domain=localhost {first}")
    done = host.ctl_run("cert", "install", "localhost", "--yes", "--stdin", stdin=two.read_text())
    newest = entries(host)[0]
    assert done.returncode == 0 and newest["command"] == "cert install", done.stderr
    assert (newest["before"], newest["after"]) == (f"domain=localhost {first}",
                                                   f"domain=localhost {second}")
    made = told(host, "cert", "self-signed", "localhost", "gate.localhost", "--replace")
    assert made[0] == f"domain=localhost {second}"
    parts = re.fullmatch(r"domain=localhost (.*) domain=gate.localhost (.*)", made[1])
    assert parts[1] == parts[2] and re.search(
        r"names=localhost,.*gate.localhost.* sha256=[0-9a-f]{64} expires=20\S*Z$", parts[1])
    assert told(host, "cert", "del", "gate.localhost") == (f"domain=gate.localhost {parts[1]}", "")
    root, _ = make(tmp_path, "root", [])
    print_of = root.fingerprint(hashes.SHA256()).hex()
    for before in "", "for=clients subject=":
        found = told(host, "cert-trust", "add", tmp_path / "root.pem", "--for", "clients")
        assert found[0].startswith(before) and (found[0] in ("", found[1]))
    assert re.fullmatch(f"for=clients subject=.*root.* sha256={print_of} expires=20.*Z", found[1])
    assert told(host, "cert-trust", "del", print_of, "--for", "clients") == (found[1], "")
    assert "PRIVATE" not in str(entries(host))


def test_of_many_names_a_certificate_has_the_first(make_server, tmp_path):
    host = make_server()
    make(tmp_path, "many", ["localhost", *(f"n{i}.{'x' * 60}.test" for i in range(300))])
    after = told(host, "cert", "import", "localhost", "--file", tmp_path / "many.pem", "--key",
                 tmp_path / "many.key")[1]
    assert re.search(r"names=localhost,n0\.\S+,\.\.\. \(301 names\) sha256=\S+ expires=", after)
    assert len(after) < 1000


def test_an_entry_has_the_owners_of_rooms_before_and_after(host):
    cave, hall = (f"{name}@conference.localhost" for name in ("cave", "hall"))
    for room in cave, hall:
        host.ctl("room", "create", room, "alice@localhost")
        host.ctl("room", "affiliation", room, "bob@localhost", "member")
    host.ctl("room", "affiliation", hall, "x@far.test", "owner")
    before, after = told(host, "room", "owner", f"{cave} {hall}", "bob@localhost", "--replace")
    owners = [re.fullmatch(f"{cave} owners=(.*) {hall} owners=(.*)", text).groups()
              for text in (before, after)]
    assert [[sorted(one.strip('"').split()) for one in both] for both in owners] == [
        [["alice@localhost"], ["alice@localhost", "x@far.test"]],
        [["bob@localhost"], ["bob@localhost"]]]


def test_of_many_owners_an_entry_has_the_first(host):
    room = "cave@conference.localhost"
    host.ctl("room", "create", room, "alice@localhost")
    host.ctl("room", "affiliation", room, "bob@localhost", "member")
    for i in range(20):
        host.ctl("room", "affiliation", room, f"{i}{'x' * 900}@far.test", "owner")
    before, after = told(host, "room", "owner", room, "bob@localhost")
    for text in before, after:
        assert re.fullmatch(rf'{room} owners="[^"]{{3000,4000}}"\.\.\. \(\d+ bytes\)', text)


def test_an_entry_has_the_account_that_is_deleted(host):
    """Its profile, role and groups, and if it stays what it keeps."""
    host.ctl("user", "add", "eve@localhost", "--password", "planted south wind", "--given-name",
             "Eve", "--surname", "Lee", "--email", "eve@x.test")
    host.ctl("admin", "add", "eve@localhost", "viewer")
    for name in "sales", "all":
        host.ctl("group", "add", name, "--members", "eve@localhost")
    created = host.rows("user", "show", "eve@localhost")[0]["created"]
    rest = ("given_name=Eve surname=Lee email=eve@x.test role=viewer group=all group=sales")
    assert told(host, "user", "del", "eve@localhost", "--keep-address"
                ) == (f"created={created} disabled=off {rest}", f"disabled=on {rest}")
    before, after = told(host, "user", "del", "eve@localhost")
    assert re.fullmatch(f"created=\\S+ disabled=on {rest}", before) and after == ""
    assert re.fullmatch("created=\\S+ disabled=off", told(host, "user", "del", "bob@localhost")[0])
    assert "planted" not in str(entries(host))


def test_an_entry_has_the_file_that_is_deleted(host):
    store(host, host.client("alice", "a"), b"12345", "plan.txt")
    row = host.rows("upload", "list", "alice@localhost")[0]
    assert told(host, "upload", "del", row["id"]) == (
        f"jid=alice@localhost name=plan.txt type=text/plain bytes=5 stored={row['stored']}", "")


def report(alice, jid):
    alice.result("set", f"<block xmlns='{BLOCKING}'><item jid='{jid}'>"
                        f"{reported('<text>Planted south wind.</text>')}</item></block>")


def test_an_entry_has_the_reports_that_are_deleted(host):
    """Without what their reporters wrote; of many the newest."""
    alice = host.client("alice", "a")
    for i in range(32):
        report(alice, f"spam{i}@far.test")
    rows = host.rows("report", "list")
    said = [f"id={row['id']} created={row['created']} reporter=alice@localhost jid={row['jid']} "
            "reason=urn:xmpp:reporting:spam text=(19 characters)" for row in rows]
    assert told(host, "report", "del", rows[31]["id"]) == (said[31], "")
    before, after = told(host, "report", "del", rows[30]["id"], "--older")
    assert after == "" and before.startswith(f"31 reports, the newest: {said[30]} {said[29]}")
    assert before.endswith(said[11]) and "Planted" not in str(entries(host))


# Calls whose entries say what was before or after; each finds what the ones above it have left.
NOTED = """
set web.title Ravens|config apply|config reset web.title
config rollback 1
admin add bob@localhost viewer|admin remove bob@localhost
admin create desk viewer|admin role desk auditor|admin delete desk
alarm set fedtest.failed --severity critical
role set eyes users.read|role del eyes
template add staff|template set staff --department Sales
template rename staff team|template del team
group add sales|group set sales --shown Sales|group del sales
webhook add http://hook.test/|webhook del 1
federation block far.test|federation allow far.test
policy set bob@localhost --share off
user set bob@localhost --surname Lee
token revoke x
log level debug
room set cave@conference.localhost roomname Cave
room change cave@conference.localhost --name Den
room affiliation cave@conference.localhost bob@localhost member
room destroy cave@conference.localhost
s2s-route set far.test 127.0.0.1:9 --weight 2|s2s-route del far.test 127.0.0.1:9
s2s-demand set far.test --tls-min 1.3|s2s-demand del far.test
s2s-group set Sales off|s2s-group del Sales
federation set bob@localhost off
cert import localhost --file PEM|cert install localhost --certificate TEXT
cert self-signed localhost --replace|cert del localhost
cert-trust add PEM|cert-trust del PRINT
room affiliation hall@conference.localhost bob@localhost member
room owner hall@conference.localhost bob@localhost
upload del UPLOAD|report del REPORT|user del bob@localhost
"""
# The others, by why they say neither. `secret`: what it was and is must not be read. `job`: its
# result is what is after it. `act`: there is no value before. `the arguments are all`: they name
# what it makes or takes away, and it has nothing else. `a text to users`: of messages the log has
# the length only.
UNNOTED = {
    "secret": "admin-password admin-recovery-codes admin-totp admin-totp-confirm "
              "admin-totp-remove component-secret secrets-reset token-add user-password "
              "user-invite user-invite-contact",
    "job": "archive-expire backup-create backup-restore backup-verify export-xep0227 "
           "import-ejabberd import-openfire import-prosody import-xep0227 job-cancel room-cleanup "
           "room-export room-import upload-sweep",
    "act": "admin-end-session admin-unlock alarm-acknowledge alarm-test announce cert-mail-test "
           "device-revoke fedtest imtest log-trace pushtest room-kick room-unlock s2s-close "
           "s2s-retry server-continue server-reload server-restart server-stop session-kick "
           "trace-bodies trace-jid trace-stop webhook-test",
    "the arguments are all": "admin-disable admin-enable cert-csr component-add "
           "component-del config-confirm config-drop config-edit contact-add contact-del "
           "contact-group group-member-add group-member-del room-admin-add room-admin-del "
           "room-alias-add room-alias-del room-create s2s-route-add test-user-add test-user-del "
           "user-add user-disable user-enable",
    "a text to users": "motd-del motd-edit motd-set",
}


def test_each_change_says_what_was_before_or_why_it_does_not(host, tmp_path):
    pem, said = pem_of(tmp_path, "one")
    alice = host.client("alice", "a")
    store(host, alice)
    report(alice, "spam@far.test")
    words = {"PEM": pem, "TEXT": pem.read_text(), "PRINT": re.search("sha256=(.*) ", said)[1],
             "UPLOAD": host.rows("upload", "list", "alice@localhost")[0]["id"],
             "REPORT": host.rows("report", "list")[0]["id"]}
    calls = [[words.get(word, word) for word in call.split()]
             for call in re.split(r"[|\n]", NOTED) if call]
    host.ctl("config", "edit", "sm.ack-every", "6")
    host.ctl("token", "add", "x", "viewer")
    for room in "cave", "hall":
        host.ctl("room", "create", f"{room}@conference.localhost", "alice@localhost")
    host.ctl("s2s-route", "add", "far.test", "127.0.0.1:9")
    assert [call for call in calls if not any(told(host, *call))] == []
    changes = {name for name, row in rows.part("commands").items() if row["x-effect"] == "changes"}
    noted = {max((n for n in changes if n.split() == call[:len(n.split())]), key=len)
             for call in calls}
    others = [name for names in UNNOTED.values() for name in names.split()]
    assert len(others) == len(set(others))
    assert {n.replace(" ", "-") for n in noted} | set(others) == {
        n.replace(" ", "-") for n in changes}
    assert not {n.replace(" ", "-") for n in noted} & set(others)


def test_changes_and_refusals_are_in_it_and_reading_is_not(host):
    host.ctl("set", "sm.hibernate-time", "77s")
    host.ctl("user", "list")
    host.ctl("user", "password", "bob@localhost", "--password", "planted south wind")
    assert host.ctl_run("user", "del", "nobody@localhost", "--yes").returncode != 0
    assert refused(host.client("alice", "a"), "user-list")
    found = {(e["command"], e["result"]): e for e in entries(host)}
    change = found["set", "ok"]
    assert change["after"] in ("77s", "77") or "77" in change["after"]
    assert change["before"] and change["before"] != change["after"]
    assert change["actor"].startswith("control:") and "sm.hibernate-time" in change["args"]
    assert any(c == "user del" and r != "ok" for c, r in found)
    assert not any(e["command"] == "user list" and e["result"] == "ok" for e in entries(host))
    assert "planted" not in str(entries(host))


def test_an_argument_does_not_look_like_another(host):
    for given, shown in (("x role=administrator", 'given_name="x role=administrator"'),
                         ('a"b\\c', 'given_name="a\\"b\\\\c"'), ("plain", "given_name=plain")):
        host.ctl("user", "set", "bob@localhost", "--given-name", given)
        assert shown in entries(host, "--command", "user set")[0]["args"]


def test_a_refused_client_is_in_it(host):
    host.ctl("admin", "add", "alice@localhost", "viewer")
    alice = host.client("alice", "a")
    assert "users.write" in refused(alice, "user-del", jid="bob@localhost")
    newest = entries(host, "--command", "user del")[0]
    assert newest["actor"].startswith("xmpp:alice@localhost/") and newest["result"] == "denied"
    assert newest["role"] == "viewer" and newest["from"] == "127.0.0.1"


def test_the_chain_holds_over_restarts_and_kills(host):
    for i in range(150):
        host.ctl("set", "sm.hibernate-time", f"{30 + i % 60}s")
    host.restart()
    host.wait_log("audit.verified.*result=ok.*entries=15")
    host.ctl("set", "sm.hibernate-time", "61s")
    host.kill()
    host.start()
    host.ctl("set", "sm.hibernate-time", "62s")
    checked = host.rows("audit", "verify")[0]
    assert checked["first"] == 1 and checked["last"] >= 152
    assert len(host.rows("audit", "export", "--limit", "1000")) >= 152


def test_a_broken_chain_is_an_answer_of_the_api(make_server):
    """As of doctor, to have found it is no failure of the server; for a script it is one."""
    host = api_server(make_server)
    for i in range(6):
        host.ctl("set", "sm.hibernate-time", f"{30 + i}s")
    whole = host.api("GET", "/audit/verification")
    assert whole.status == 200 and "broken" not in whole.json
    host.stop()
    with host.database() as db:
        db.execute("DELETE FROM audit_log WHERE id = 4")
        db.commit()
    host.start()
    done = host.ctl_run("audit", "verify")
    answer = host.api("GET", "/audit/verification")
    assert done.returncode != 0 and answer.status == 200
    assert done.stderr.strip().endswith(answer.json["broken"])
    assert (answer.json["first"], answer.json["last"]) == (1, 3)
    found = host.api("POST", "/commands/audit-verify", {})
    assert (found.status, found.json["rows"]) == (200, [answer.json])
    assert found.json["error"] and found.json["text"] == answer.json["broken"]


@pytest.mark.parametrize("change", [
    "UPDATE audit_log SET actor = 'control:root' || actor WHERE id = 3",
    "UPDATE audit_log SET at_us = at_us + 1 WHERE id = 3",
    "UPDATE audit_log SET peer = role, role = peer, was = 'x' WHERE id = 3",
    "DELETE FROM audit_log WHERE id = 3",
    "UPDATE audit_log SET hash = (SELECT hash FROM audit_log WHERE id = 2) WHERE id = 3",
    "UPDATE audit_log SET id = 1000 WHERE id = 3",
])
def test_what_was_changed_is_found(host, change):
    for i in range(6):
        host.ctl("set", "sm.hibernate-time", f"{30 + i % 60}s")
    assert host.rows("audit", "verify")[0]["last"] >= 6
    whole = host.ctl("audit", "export")
    assert "text" not in whole or not whole["text"]
    assert not any("fault" in row for row in whole["rows"])
    host.stop()
    with host.database() as db:
        db.execute(change)
        db.commit()
    host.start()
    done = host.ctl_run("audit", "verify")
    assert done.returncode != 0 and "entry" in done.stderr
    alarm = until("the alarm", lambda: broken(host))
    assert alarm["severity"] == "critical" and alarm["detail"]
    exported = host.ctl("audit", "export")
    bad, = [row for row in exported["rows"] if "fault" in row]
    assert bad["id"] in (3, 4) and done.stderr.strip().endswith(bad["fault"])
    assert exported["text"] == f"the chain is broken: {bad['fault']}"
    assert len(exported["rows"]) >= 6
    second = host.ctl("audit", "export", "--after", str(bad["id"] - 1), "--limit", "2")
    assert second["rows"][0]["id"] == bad["id"] and "fault" in second["rows"][0]
    assert "the chain is broken: entry " in second["text"]



# What somebody tries who has the database, and perhaps this source, but not secrets.key.
ATTACKS = {
    "the newest is removed": "DELETE FROM audit_log WHERE id = (SELECT max(id) FROM audit_log)",
    "the newest are removed": "DELETE FROM audit_log WHERE id > 3",
    "the oldest are removed": "DELETE FROM audit_log WHERE id < 4",
    "all are removed": "DELETE FROM audit_log",
    "all are removed with the head": "DELETE FROM audit_log; DELETE FROM audit_head",
    "the head is removed": "DELETE FROM audit_head",
    "the head is another one": "UPDATE audit_head SET sealed = 'sealed:AAAA'",
    "the head of another server": "UPDATE audit_head SET sealed = (SELECT mark FROM seal)",
}


def rewrite(db):
    """Computes all hashes again behind a change: the rule of ops/audit.h, written once more."""
    db.execute("UPDATE audit_log SET actor = 'control:mallory' WHERE id = 3")
    before = ""
    for number, at, *texts, _ in db.execute(
            "SELECT id, at_us, actor, peer, role, command, args, result, was, became, hash "
            "FROM audit_log ORDER BY id").fetchall():
        text = f"{len(before)}:{before} {number} {at}" + "".join(
            f" {len(one.encode())}:{one}" for one in texts)
        before = hashlib.sha256(text.encode()).hexdigest()
        db.execute(f"UPDATE audit_log SET hash = '{before}' WHERE id = {number}")


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("attack", [*ATTACKS, "all is written anew"])
def test_an_attacker_with_the_database_is_found(host, attack, goes_on):
    """At once, and also when the server has written more since."""
    for i in range(6):
        host.ctl("set", "sm.hibernate-time", f"{30 + i}s")
    until("the entries", lambda: host.rows("audit", "verify")[0]["last"] >= 6)
    host.stop()
    with host.database() as db:
        for one in ATTACKS.get(attack, "").split(";"):
            if one:
                db.execute(one)
        if attack not in ATTACKS:
            rewrite(db)
        db.commit()
    host.start()
    if goes_on:
        host.ctl("set", "sm.hibernate-time", "77s")
    if attack == "all are removed with the head":
        # An empty log looks like that of a new server: only who kept the number sees it.
        until("the entries", lambda: host.rows("audit", "verify")[0]["last"] <= 1)
        return
    host.wait_log("audit.broken")
    until("the alarm", lambda: broken(host))
    found = until("the entry", lambda: entries(host, "--command", "audit broken"))[0]
    done = host.ctl_run("audit", "verify")
    assert done.returncode != 0 and "entr" in done.stderr, done.stderr
    host.restart()
    assert host.ctl_run("audit", "verify").returncode != 0
    assert len(entries(host, "--command", "audit broken")) == 1
    assert "the chain is broken: " in host.ctl("audit", "export")["text"]
    host.ctl("set", "sm.hibernate-time", "78s")
    until("the rest", lambda: host.rows(
        "audit", "verify", "--after", str(found["id"]))[0]["first"] == found["id"] + 1)
    rest = host.ctl("audit", "export", "--after", str(found["id"]))
    assert rest["rows"] and not rest["text"]


@pytest.mark.sqlite
def test_an_older_end_of_the_log_is_seen_by_comparison_only(host):
    """Whoever can write to the database can put back the end that it once had, with what was
    behind it deleted. The number and hash of an entry, kept elsewhere, show it
    (docs/administrators.md, The audit log)."""
    for i in range(6):
        host.ctl("set", "sm.hibernate-time", f"{30 + i}s")
    until("the entries", lambda: host.rows("audit", "verify")[0]["last"] >= 6)
    with host.database() as db:
        head, = db.execute("SELECT sealed FROM audit_head").fetchone()
    older = host.rows("audit", "verify")[0]
    host.ctl("user", "del", "bob@localhost", "--yes")
    kept = until("the entry", lambda: [
        row for row in host.rows("audit", "verify") if row["last"] > older["last"]])[0]
    assert entry_of(host, kept["last"])["hash"] == kept["hash"]
    host.stop()
    with host.database() as db:
        db.execute(f"DELETE FROM audit_log WHERE id > {older['last']}")
        db.execute("UPDATE audit_head SET sealed = ?", (head,))
        db.commit()
    host.start()
    assert host.ctl_run("audit", "verify").returncode == 0 and not broken(host)
    assert host.rows("audit", "verify")[0]["last"] < kept["last"]
    assert entry_of(host, older["last"])["hash"] == older["hash"]
    host.ctl("set", "sm.hibernate-time", "77s")
    until("the entry", lambda: host.rows("audit", "verify")[0]["last"] >= kept["last"])
    assert host.ctl_run("audit", "verify").returncode == 0
    assert entry_of(host, kept["last"])["hash"] != kept["hash"]


def entry_of(host, number):
    return host.rows("audit", "export", "--after", str(number - 1), "--limit", "1")[0]


SINCE_US = 1_790_000_000_000_000


def append(db, *commands):
    """As the server does without the key."""
    for command in commands:
        number, before = db.execute(
            "SELECT id, hash FROM audit_log ORDER BY id DESC LIMIT 1").fetchone()
        db.execute("INSERT INTO audit_log VALUES(?, ?, 'server', '', '', ?, ?, 'ok', '', '', '')",
                   (number + 1, SINCE_US, *command))
        text = f"{len(before)}:{before} {number + 1} {SINCE_US}" + "".join(
            f" {len(one)}:{one}" for one in ("server", "", "", *command, "ok", "", ""))
        db.execute("UPDATE audit_log SET hash = ? WHERE id = ?",
                   (hashlib.sha256(text.encode()).hexdigest(), number + 1))


def without_key(host, *values):
    """The server works without its key for a while, and has it again."""
    key, away = host.folder / "data" / "secrets.key", host.folder / "away.key"
    host.stop()
    key.rename(away)
    for value in values:
        host.start()
        host.ctl("set", "sm.hibernate-time", value)
        host.stop()
    away.rename(key)


def test_entries_of_a_time_without_the_key_are_unproven(host):
    """And no more than that: nobody has removed anything. The server said that it had no key."""
    host.ctl("set", "sm.hibernate-time", "30s")
    before = until("it is there", lambda: entries(host, "--command", "set"))[0]["id"]
    for count in 1, 2:
        without_key(host, "31s", "32s")
        host.start()
        host.ctl("set", "sm.hibernate-time", "33s")
        sealed = until("the entry", lambda: len(found := entries(host, "--command", "audit sealed"))
                       == count and found)[0]
        assert sealed["args"] == f"first={before + 1} last={sealed['id'] - 1}"
        assert len(entries(host, "--command", "audit unsealed")) == 2 * count
        for _ in range(2):
            host.wait_log("audit.verified.*result=ok")
            verified = host.ctl_run("audit", "verify")
            assert "without" not in verified.stderr and verified.returncode == 0, verified.stderr
            assert host.rows("audit", "verify")[0]["unproven"] == 4 * count
            host.restart()
        assert broken(host) is None and entries(host, "--command", "audit broken") == []
        before = host.rows("audit", "list", "--limit", "1")[0]["id"]


def first_answer(host, command):
    """Of a server that has just made its socket."""
    for _ in range(20000):
        with contextlib.suppress(OSError):
            return Control(host).run(command)
        time.sleep(0.001)
    raise AssertionError("no socket")


@pytest.mark.parametrize("command", ["audit verify", "audit export"])
def test_what_compares_the_ends_waits_until_the_server_has_begun(host, command):
    """The server comes back with its key, and says so in an entry behind those without it."""
    for n in range(3):
        without_key(host, f"{31 + n}s")
        host.start(ready=False)
        answer = first_answer(host, command)
        assert answer["ok"] and "broken" not in json.dumps(answer), answer
        host.stop()


ATTACKS_WITHOUT_KEY = {
    "a sealed one is removed": lambda db, sealed: db.execute(
        "DELETE FROM audit_log WHERE id = 3"),
    "the oldest is removed": lambda db, sealed: db.execute("DELETE FROM audit_log WHERE id = 1"),
    "a sealed one is changed": lambda db, sealed: rewrite(db),
    "the last sealed one is another one": lambda db, sealed: (
        db.execute("DELETE FROM audit_log WHERE id >= ?", (sealed,)),
        append(db, ("set", "x"), ("audit unsealed", ""))),
    "nobody said that the key was away": lambda db, sealed: (
        db.execute("DELETE FROM audit_log WHERE id > ?", (sealed,)),
        append(db, ("set", "x"), ("audit unsealed", ""))),
}


@pytest.mark.parametrize("attack", ATTACKS_WITHOUT_KEY)
def test_sealed_entries_stay_proven_while_the_key_is_away(host, attack):
    for i in range(6):
        host.ctl("set", "sm.hibernate-time", f"{30 + i}s")
    sealed = until("all is there", lambda: len(found := entries(host, "--command", "set")) == 6
                   and found)[0]["id"]
    without_key(host, "50s")
    with host.database() as db:
        assert db.execute("SELECT command FROM audit_log WHERE id = ?",
                          (sealed + 1,)).fetchone() == ("audit unsealed",)
        ATTACKS_WITHOUT_KEY[attack](db, sealed)
        db.commit()
    host.start()
    until("the alarm", lambda: broken(host))
    assert host.ctl_run("audit", "verify").returncode != 0


def test_nobody_makes_unproven_entries_look_proven(host):
    """Whoever writes into the log while the key is away can only make them more."""
    host.ctl("set", "sm.hibernate-time", "30s")
    without_key(host, "31s")
    with host.database() as db:
        most = f"first=1 last={2**63 - 1}"
        append(db, ("audit sealed", "first=3 last=3"), ("set", "x"), ("audit sealed", most),
               ("audit sealed", most), ("audit sealed", f"first=1 last={2**40}"),
               ("audit reset", most), ("set", "y"))
        last = db.execute("SELECT max(id) FROM audit_log").fetchone()[0]
        db.commit()
    host.start()
    until("the entry", lambda: entries(host, "--command", "audit sealed")[0]["args"]
          .endswith(f" last={last}"))
    verified = host.rows("audit", "verify")[0]
    assert verified["unproven"] == verified["last"]


def test_what_the_server_cuts_off_is_fine(host):
    """audit.keep: the begin of the chain is another one then, and the head knows it."""
    for i in range(6):
        host.ctl("set", "sm.hibernate-time", f"{30 + i}s")
    until("the entries", lambda: host.rows("audit", "verify")[0]["last"] >= 6)
    host.ctl("set", "audit.keep", "1d", "--accept")
    host.stop()
    with host.database() as db:  # as if they were older: by entries that nobody compares
        db.execute("UPDATE audit_log SET at_us = at_us - 172800000000 WHERE id < 4")
        db.commit()
    host.start()
    until("the cut", lambda: host.rows("audit", "export")[0]["id"] == 4)
    checked = host.rows("audit", "verify")[0]
    assert checked["first"] == 4 and entries(host, "--command", "audit broken") == []
    host.restart()
    host.ctl("set", "sm.hibernate-time", "77s")
    assert host.rows("audit", "verify")[0]["first"] == 4


@pytest.mark.sqlite
@pytest.mark.release
def test_entries_go_when_they_are_older_than_audit_keep(make_server, disk):
    """By the clock, not a day before; the chain of those that are left verifies."""
    day_us = 24 * 3600 * 10**6
    host = make_server("alice", disk=disk)
    host.ctl("set", "audit.keep", "10d", "--accept")
    for i in range(3):
        host.ctl("set", "sm.hibernate-time", f"{30 + i}s")
    disk.turn(wall_us=6 * day_us)
    host.ctl("set", "sm.hibernate-time", "40s")
    kept = entries(host, "--command", "set")[0]["id"]
    disk.turn(wall_us=9 * day_us)
    host.restart()
    host.wait_log("audit.verified")
    assert host.rows("audit", "export")[0]["id"] == 1
    disk.turn(wall_us=11 * day_us)
    host.restart()
    until("the old ones are gone", lambda: host.rows("audit", "export")[0]["id"] == kept)
    for _ in range(2):
        host.ctl("set", "sm.hibernate-time", "50s")
        host.ctl("set", "sm.hibernate-time", "60s")
        checked = host.rows("audit", "verify")[0]
        assert checked["first"] == kept and checked["last"] > kept
        assert broken(host) is None and entries(host, "--command", "audit broken") == []
        host.restart()


def test_the_audit_log_names_a_secret_setting_but_no_word_that_may_be_a_secret(server):
    server.ctl("set", "mail.password", "s3cret")
    assert server.ctl_run("set", "s3cret", "s3cret").returncode != 0
    known, unknown = server.rows("audit", "list", "--command", "set")[1::-1]
    assert (known["args"], unknown["args"]) == ("setting=mail.password", "")
    assert "args=\"setting=mail.password\"" in server.log() and "s3cret" not in server.log()


@pytest.mark.sqlite
@pytest.mark.parametrize("change", [
    "UPDATE audit_log SET actor = 'control:mallory' WHERE id = (SELECT max(id) FROM audit_log)",
    "DELETE FROM audit_log WHERE id = (SELECT max(id) FROM audit_log)"])
def test_new_entries_are_verified_while_the_server_works(host, change):
    """With nobody who asks: what is new since the check before, again and again."""
    host.wait_log("audit.verified")  # at the start
    host.ctl("set", "audit.verify-every", "none")
    for i in range(3):
        host.ctl("set", "sm.hibernate-time", f"{30 + i}s")
    assert broken(host) is None
    with host.database() as db:
        db.execute(change)
        db.commit()
    host.ctl("set", "audit.verify-every", "1s")
    until("the alarm", lambda: broken(host))


@pytest.mark.sqlite
def test_a_log_that_was_emptied_is_found_while_the_server_works(host):
    """With its head, of which nothing is left to compare but what the check before has seen."""
    for i in range(3):
        host.ctl("set", "sm.hibernate-time", f"{30 + i}s")
    host.restart()
    host.wait_log("(?s)event=server.stopping.*event=audit.verified result=ok entries=[1-9]")
    with host.database() as db:
        db.executescript("DELETE FROM audit_log; DELETE FROM audit_head")
        db.commit()
    host.ctl("set", "audit.verify-every", "1s")
    assert "entr" in until("the alarm", lambda: broken(host))["detail"]


@pytest.mark.sqlite
def test_what_is_behind_an_entry_of_a_broken_log_is_verified(host):
    host.ctl("set", "audit.verify-every", "1s")
    host.ctl("set", "sm.hibernate-time", "30s")
    host.stop()
    with host.database() as db:
        db.execute("DELETE FROM audit_log WHERE id = (SELECT max(id) FROM audit_log)")
        db.commit()
    host.start()
    found = until("the entry", lambda: entries(host, "--command", "audit broken"))[0]
    for i in range(3):
        host.ctl("set", "sm.hibernate-time", f"{31 + i}s")
    until("the alarm", lambda: f"entry {found['id']} says" in broken(host)["detail"])
    with host.database() as db:
        db.execute("UPDATE audit_log SET role = 'x' WHERE id = ?", (found["id"] + 2,))
        db.commit()
    until("the newer fault",
          lambda: broken(host)["detail"].startswith(f"entry {found['id'] + 2} is not"))


@pytest.mark.sqlite
def test_the_alarm_ends_when_the_log_is_restored(host):
    for i in range(10):
        host.ctl("set", "sm.hibernate-time", f"{30 + i}s")
    until("the entries", lambda: host.rows("audit", "verify")[0]["last"] >= 10)
    host.ctl("set", "audit.verify-every", "1s")
    host.stop()
    with host.database() as db:
        db.execute("UPDATE audit_log SET role = role || 'x' WHERE id = 5")
        db.commit()
    host.start()
    assert "entry 5" in until("the alarm", lambda: broken(host))["detail"]
    with host.database() as db:
        db.execute("UPDATE audit_log SET role = substr(role, 1, length(role) - 1) WHERE id = 5")
        db.commit()
    until("its end", lambda: broken(host) is None)


@pytest.mark.sqlite
def test_an_export_is_divided_where_its_entries_are_long(host):
    """Each answer ends before it is too long, and says where to go on."""
    count = 1500
    host.ctl("set", "sm.hibernate-time", "30s")
    host.stop()
    with host.database() as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(audit_log)")]
        first = db.execute("SELECT min(id) FROM audit_log").fetchone()[0]
        values = {"id": "1000000 + n.i", "args": "replace(hex(zeroblob(3000)), '0', char(1))"}
        db.execute(f"INSERT INTO audit_log({', '.join(columns)}) "
                   f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
                   f"SELECT {', '.join(values.get(c, 'audit_log.' + c) for c in columns)} "
                   "FROM audit_log, n WHERE audit_log.id = ?", (count, first))
        db.commit()
    host.start()
    for command, begin in (("export", ["--after", "1000000"]), ("list", ["--limit", "10000"])):
        found, more = [], begin
        while True:
            answer = host.ctl("audit", command, *more)
            found += [row["id"] for row in answer["rows"] if 1000000 < row["id"] <= 1000000 + count]
            behind = re.search(r"--after (\d+)", answer["text"])
            if behind is None:
                break
            more = ["--after", behind[1], "--limit", "10000"]
        assert sorted(found) == list(range(1000001, 1000001 + count))


@pytest.mark.sqlite
@pytest.mark.parametrize("way", ("musterctl", "api", "client"))
def test_what_is_acknowledged_is_in_the_log_after_a_kill(make_server, disk, way):
    """The change and its entry: every write takes a time, and the kill comes with the answer."""
    host = api_server(functools.partial(make_server, disk=disk),
                      **{"admin.accounts": "alice@localhost"})
    host.add_user("alice", "secret")
    alice = host.login("alice")
    for name, arguments in (
            ("group add", {"name": "sales"}), ("log level", {"level": "debug"})):
        disk.turn(write_ms=150)
        if way == "musterctl":
            host.ctl(*name.split(), *arguments.values())
        elif way == "api":
            assert host.api("POST", "/commands/" + name.replace(" ", "-"), arguments).status == 200
        else:
            run(alice, name.replace(" ", "-"), **arguments)
        host.kill()
        disk.turn(write_ms=0)
        host.start()
        assert entries(host, "--command", name)[0]["result"] == "ok", name
        alice = host.login("alice")


@pytest.mark.sqlite
def test_an_answer_does_not_wait_long_for_its_entry(make_server, disk):
    """Of a command that needs no database."""
    host = make_server(disk=disk)
    disk.turn(sync_ms=STILL)
    begun = time.monotonic()
    host.ctl("log", "level", "debug")
    assert 1 < time.monotonic() - begun < 20
    disk.turn(sync_ms=0)
    until("the entry", lambda: entries(host, "--command", "log level"))
