"""Secrets at rest: tokens of devices and sessions, secrets of components and settings, options of
push services and passwords of rooms lie sealed in the database, under a key of the node that is a
file of its own. Of invitations and passwords only hashes are there."""
import base64
import re

import pytest

from harness import rows
from harness.client import until
from harness.component import Component
from harness.muc import Room
from harness.server import ROOT, refusal
from operate.test_audit import rewrite
from surface.test_console_login import now_step, totp
from stream.test_fast import Device
from services.test_invite import invite, register, show, token_of
from services.test_push import announcement, registrations
from operate.test_secret_files import CASES, DAMAGE, alarms
from stream.test_sm import refuse, resume

PUSH = "push.example.test"
COMPONENT = "a rather long planted secret"
TURN = "planted north wind"
HOOK = "planted gentle wind"
PROBE = "planted south wind"
EARLIER = "planted east wind"
PERSON = "planted north wind"
CANDIDATE = "planted west wind"
ROOM = "planted open sesame"
OPTION = "planted push secret"
FORMS = "planted 5µm"  # SASLprep and OpaqueString prepare it differently

# Each column of texts or bytes. If a new one lets somebody in, it is sealed or hashed, and
# test_no_secret_is_in_any_column plants such a secret.
SEALED = """audit_head.sealed
    component.secret webhook.secret fast_token.secret push.options room.config frozen.bytes
    seal.mark     setting.value test_user.password setting_candidate.value setting_change.was
    setting_change.became admin_factor.secret"""
HASHED = """credential.salt credential.server_key credential.stored_key
    credential.other_server credential.other_stored invite.token
    access_token.hash admin_recovery.hash administrator_password.salt
    administrator_password.server_key administrator_password.stored_key"""
# Keys that make ids and answers nobody can predict. Who has the database has what they protect.
KEYS = "auth_secret.factors auth_secret.secret room.secret"
# What users write, and names that let nobody in.
CONTENT = """admin_factor.name admin_recovery.name administrator.name administrator.role
    administrator_password.name access_admin.jid
    access_admin.role access_role.grants access_role.name
    access_token.made_by
    access_token.name access_token.role access_token.scope audit_log.actor audit_log.args
    alarm_history.alarm alarm_history.detail alarm_history.known_by alarm_history.note
    alarm_history.severity alarm_history.worst alarm_rule.alarm alarm_waiting.alarm
    alarm_owed.recipients alarm_waiting.detail
    webhook.events webhook.url webhook_queue.body webhook_queue.event_id webhook_queue.kind
    webhook_queue.subject
    audit_job.actor audit_job.args audit_job.command audit_job.peer audit_job.role audit_job.told
    audit_log.became audit_log.command audit_log.hash audit_log.peer audit_log.result
    audit_log.role audit_log.was account.department account.directory_uri account.email
    account.given_name
    federation_domain.domain federation_group.domains federation_group.name
    federation_report.domain federation_user.domains outside_test.diagnosis
    outside_test.domain outside_test.error outside_test.target backup_result.folder
    backup_result.node backup_result.why s2s_demand.description s2s_demand.pattern
    s2s_demand.pins s2s_route.description s2s_route.pattern s2s_route.target
    account.jid account.look account.source account.surname account.template
    blob.hash component.domain device.address device.device device.id
    device.software directory.email directory.email_key directory.first directory.first_key
    directory.last directory.last_key directory.nick directory.nick_key fast_token.device
    fast_token.mech former.jid invite.domain invite.inviter invite.name invite.used_by
    import_part.jid last.status mailbox.settled
    mam_prefs.always mam_prefs.never message.remote
    message.stanza motd.text     privacy.standard privacy_rule.list privacy_rule.value
    private_xml.name private_xml.ns     private_xml.xml pubsub_affiliation.jid pubsub_item.id
    pubsub_item.publisher pubsub_item.xml     pubsub_node.config pubsub_node.creator
    pubsub_node.node pubsub_subscription.jid     pubsub_subscription.subid push.device push.node
    push.resource push.service reader.name report.ids report.jid     report.reason
    report.reporter report.text reserved.name room.creator room.domain room.jid     room.name
    room.subject room_administrator.description room_administrator.jid
    component_shown.component component_shown.contact component_shown.jid
    room_remote.jid room_remote.nick room_remote.presence room_remote.room
    room_administrator.nick room_affiliation.jid room_affiliation.nick room_affiliation.reason
    room_alias.domain room_hat.jid room_hat.title room_hat.uri room_vcard.hashes
    room_vcard.vcard     roster.in_groups roster.jid roster.name roster.request
    roster_out.rcpt roster_out.sender     roster_out.stanza frozen.jid
    frozen.kind schema.feature shared_group.name shared_group.shown shared_group_member.jid
    shared_group_member.name shared_group_rule.field shared_group_rule.name
    account_template.department account_template.description account_template.federation
    account_template.member_of account_template.name account_template.others
    account_template.share
    shared_group_rule.value shared_group_viewer.kind shared_group_viewer.name
    shared_group_viewer.value setting.name store_state.name
    setting_candidate.name setting_candidate.owner setting_change.name setting_version.actor
    setting_version.comment setting_version.ended_by setting_version.kind setting_version.state
    upload.hash upload.id upload.name upload.type vcard.xml"""


@pytest.fixture
def planted(make_server):
    """A server with three secrets; the device has the token."""
    host = make_server("alice", component=True)
    host.ctl("component", "add", PUSH, "--secret", COMPONENT)
    host.ctl("set", "extdisco.turn-secret", TURN)
    device = Device(host)
    device.first()
    return host, device


def stored(host):
    """All bytes of the database."""
    if host.url:
        with host.database() as db:
            rows = [db.execute(f"SELECT * FROM {table}").fetchall()
                    for table in ("fast_token", "component", "setting", "seal")]
            return str(rows).encode()
    return b"".join(p.read_bytes() for p in host.data.rglob("muster.db*"))


def test_no_secret_is_in_the_database(planted):
    host, device = planted
    tokens = {device.token}
    for _ in range(3):
        device.again()
        tokens.add(device.token)
    host.ctl("component", "add", "made.example.test")
    tokens |= {COMPONENT, TURN}
    for stop in (False, True):
        if stop:
            host.stop()
        data = stored(host)
        assert PUSH.encode() in data and b"sealed:" in data
        for token in tokens:
            assert token.encode() not in data
        if host.url:
            break
    key = host.data / "secrets.key"
    assert key.stat().st_size == 32 and key.stat().st_mode & 0o777 == 0o600


def columns(host):
    """(table, column) of texts and bytes; not those of the index of words, which has no names."""
    with host.database() as db:
        if host.url:
            return {tuple(r) for r in db.execute(
                "SELECT table_name, column_name FROM information_schema.columns"
                " WHERE table_schema = current_schema()"
                " AND data_type IN ('text', 'bytea')").fetchall()}
        return {(t, c) for t, c, kind in db.execute(
            "SELECT m.name, p.name, p.type FROM sqlite_master m, pragma_table_info(m.name) p"
            " WHERE m.type = 'table'").fetchall()
            if kind in ("TEXT", "BLOB") and not t.startswith(("message_fts", "sqlite_"))}


@pytest.fixture
def full(planted):
    """The server has stopped; all that lets somebody in, by what it is."""
    host, device = planted
    device.again()
    host.ctl("set", "invite.enabled", "on")
    for value in (EARLIER, TURN):
        host.ctl("set", "extdisco.turn-secret", value)
    host.ctl("config", "edit", "extdisco.turn-secret", CANDIDATE)
    host.ctl("user", "add", "probe@localhost", "--password", PROBE)
    host.ctl("test", "user-add", "probe@localhost", "--password", PROBE)
    alice = host.client("alice", "a")
    alice.result("set", f"<enable xmlns='urn:xmpp:push:0' jid='{PUSH}' node='n1'>"
                 "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>"
                 "http://jabber.org/protocol/pubsub#publish-options</value></field>"
                 f"<field var='secret'><value>{OPTION}</value></field></x></enable>")
    Room("cave").create(alice, "first", persistentroom=True, passwordprotectedroom=True,
                        roomsecret=ROOM)
    alice.enable_sm()
    host.ctl("webhook", "add", "http://hook.test/", "--events", "user.deleted", "--secret", HOOK)
    secrets = {"token of a device": device.token, "component": COMPONENT, "setting": TURN,
               "webhook": HOOK,
               "test user": PROBE, "earlier setting": EARLIER, "candidate": CANDIDATE,
               "room": ROOM, "push service": OPTION, "session": alice.sm_id,
               "invitation": token_of(invite(host)),
               "access token": host.rows("token", "add", "backup", "viewer")[0]["token"]}
    host.ctl("user", "add", "mike@localhost", "--password", FORMS)
    secrets["password of two forms"] = FORMS
    host.ctl("admin", "create", "nora", "viewer", "--password", PERSON)
    factor = host.rows("admin", "totp", "nora")[0]["secret"]
    codes = host.rows("admin", "totp-confirm", "nora", totp(factor, now_step()))
    secrets |= {"administrator": PERSON, "second factor": factor,
                "its bytes": base64.b32decode(factor).hex(),
                "recovery code": codes[0]["code"].replace("-", "")}
    host.stop()
    return host, alice, secrets


def test_every_column_has_its_place(full):
    known = f"{SEALED} {HASHED} {KEYS} {CONTENT}".split()
    assert len(known) == len(set(known))
    new = {f"{t}.{c}" for t, c in columns(full[0])} - set(known)
    assert not new, f"secrets or not? sort them in: {sorted(new)}"


def test_no_secret_is_in_any_column(full):
    host, _, secrets = full
    filled = set()
    with host.database() as db:
        for table, column in columns(host):
            rows = db.execute(f"SELECT {column} FROM {table}").fetchall()
            texts = [r[0].encode() if isinstance(r[0], str) else bytes(r[0] or b"") for r in rows]
            if any(texts):
                filled.add(f"{table}.{column}")
            for what, secret in secrets.items():
                forms = [secret.encode()]
                if re.fullmatch("([0-9a-f]{2})+", secret):
                    forms.append(bytes.fromhex(secret))
                for form in forms:
                    assert not any(form in t for t in texts), f"{what}: {table}.{column}"
    assert filled >= set(f"{SEALED} {HASHED}".split()), "each has something"


def test_what_is_sealed_is_used_after_a_restart(full):
    host, alice, secrets = full
    host.start()
    resume(host, alice)
    host.add_user("bob")
    bob = host.client("bob", "b")
    assert Room("cave").refused(bob, "n", password="wrong") == ("not-authorized", "auth")
    Room("cave").enter(bob, "n", password=ROOM)
    push = Component(host, PUSH, COMPONENT)
    host.ctl("session", "kick", alice.jid)
    bob.send("<message to='alice@localhost' type='chat'><body>one</body></message>")
    iq = announcement(push)
    assert OPTION in {v.text for v in iq.iter("{jabber:x:data}value")}
    new = host.connect()
    assert show(new, secrets["invitation"]) is True and register(new, "carol", COMPONENT) is True


def test_without_the_key_sealed_things_stay_shut(full):
    """The password of a room lets nobody in then, no session is resumed, push has no options."""
    host, alice, _ = full
    (host.data / "secrets.key").rename(host.data / "away")
    host.start()
    assert refuse(host, alice) == "item-not-found"
    host.add_user("bob")
    bob = host.client("bob", "b")
    for password in (ROOM, "", None):
        assert Room("cave").refused(bob, "n", password=password) == ("not-authorized", "auth")
    assert not registrations(host)


def test_secrets_outlive_a_restart(planted):
    host, device = planted
    host.restart()
    assert "secrets.key" not in alarms(host)
    assert "success" in device.again().tag
    Component(host, PUSH, COMPONENT)
    assert host.rows("get", "extdisco.turn-secret")[0]["value"] == "(secret)"


@pytest.mark.parametrize("case", [*CASES, "missing", "other"])
def test_without_their_key_nothing_is_made_anew(planted, case):
    host, device = planted
    host.stop()
    path = host.data / "secrets.key"
    right = path.read_bytes()
    if case == "missing":
        path.unlink()
    elif case == "other":
        path.write_bytes(bytes(32))
    else:
        DAMAGE[case](path)
    host.start()
    assert str(path) in alarms(host)["secrets.key"]["detail"]
    assert not (case == "missing" and path.exists())
    assert "failure" in device.again().tag
    assert "success" in device.connect().sasl2("PLAIN", agent=device.id).tag
    for command in (("component", "add", "x.example.test"),
                    ("set", "extdisco.turn-secret", "another"),
                    ("webhook", "add", "http://x.example.test/")):
        assert "secrets.key" in refusal(host, *command)
    host.stop()
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(right)
    path.chmod(0o600)
    host.start()
    assert "secrets.key" not in alarms(host)
    assert "success" in device.again().tag
    Component(host, PUSH, COMPONENT)


def check_the_reset_of_the_audit_log(host, before):
    """The chain counts from the reset, and says so; the database alone cannot make another one."""
    reset, = until("the entry", lambda: host.rows("audit", "list", "--command", "audit reset"))
    assert host.rows("audit", "list", "--command", "secrets reset")[0]["id"] < reset["id"]
    for _ in range(2):
        host.ctl("audit", "verify")
        found = host.ctl_run("audit", "verify").stdout
        assert host.rows("audit", "verify")[0]["unproven"] == reset["id"] - 1 >= len(before)
        assert f"from entry {reset['id']} on" in found, found
        assert f"the {reset['id'] - 1} before it" in found, found
        host.wait_log("audit.verified.*result=ok")
        assert "audit.broken" not in alarms(host)
        assert host.rows("audit", "list", "--command", "audit broken") == []
        host.restart()
    host.stop()
    with host.database() as db:
        saved = {table: db.execute(f"SELECT * FROM {table}").fetchall()
                 for table in ("audit_log", "audit_head")}
        rewrite(db)  # also what is before it cannot be changed any more
        db.execute("DELETE FROM seal")
        db.commit()
    host.start()
    assert until("the alarm", lambda: alarms(host).get("audit.broken"))
    assert host.ctl_run("audit", "verify").returncode != 0
    assert len(host.rows("audit", "list", "--command", "audit reset")) == 1
    host.stop()
    with host.database() as db:
        for table, lines in saved.items():
            db.execute(f"DELETE FROM {table}")
            db.executemany(f"INSERT INTO {table} VALUES({', '.join('?' * len(lines[0]))})", lines)
        db.commit()
    host.start()
    host.ctl("audit", "verify")
    assert "audit.broken" not in alarms(host)


# What an operator has to do anew after `secrets reset`, by the column it was in.
GIVEN_UP = {"fast_token.secret": "devices", "component.secret": "components",
            "webhook.secret": "webhooks", "room.config": "rooms",
            "setting.value": "secret settings", "admin_factor.secret": "second factor",
            "test_user.password": "test users"}
# The server or clients make these anew, or they go with what is named above.
MADE_ANEW = """seal.mark audit_head.sealed frozen.bytes push.options
    setting_candidate.value setting_change.was setting_change.became"""


def test_the_texts_name_each_kind_of_secret_that_is_given_up(make_server):
    """The alarm that says how, the command that does it, and the page about backups."""
    assert set(SEALED.split()) == set(GIVEN_UP) | set(MADE_ANEW.split())
    action = make_server().rows("alarm", "show", "secrets.key")[0]["action"]
    page = (ROOT / "docs" / "backup.md").read_text()
    page = page.split("**secrets.key**")[1].split("**Private keys")[0]
    command = rows.part("commands")["secrets reset"]["description"]
    for text in action, page, command:
        missing = [word for word in GIVEN_UP.values() if word not in text.lower()]
        assert not missing, text


def test_a_lost_key_is_given_up(planted):
    host, device = planted
    assert "there is nothing to reset" in refusal(host, "secrets", "reset")
    host.stop()
    (host.data / "secrets.key").unlink()
    host.start()
    host.ctl("secrets", "reset")
    before = host.rows("audit", "list")
    host.restart()
    assert "secrets.key" not in alarms(host)
    check_the_reset_of_the_audit_log(host, before)
    assert "failure" in device.again().tag
    assert "success" in device.first().tag
    assert "success" in device.again().tag
    host.ctl("component", "add", PUSH, "--secret", COMPONENT)
    Component(host, PUSH, COMPONENT)
