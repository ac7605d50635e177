"""What changes without a command is on record like a command: lists of accounts that lose a deleted
one, a rollback by the server, and what musterd does while no server runs."""
import subprocess

import pytest

from harness.client import until
from harness.rows import MUSTERD
from operate.test_rename import rename
from operate.test_webhooks import LOCAL, Receiver, add


def entries(server, command):
    return [(r["actor"], r["args"], r["before"], r["after"])
            for r in server.rows("audit", "list", "--command", command) if r["result"] == "ok"]


@pytest.fixture
def host(make_server):
    return make_server("alice", "bob", settings=LOCAL)


def delete_alice(host):
    host.ctl("user", "del", "alice@localhost", "--yes")
    return until("the entry", lambda: [
        e for e in entries(host, "set") if e[0] == "server" and "alice" in e[1]])[0]


def test_a_list_that_loses_a_deleted_account(host, request):
    one = Receiver()
    request.addfinalizer(one.close)
    add(host, one.url, events="setting.changed")
    host.ctl("set", "admin.accounts", "alice@localhost bob@localhost")
    assert delete_alice(host) == (
        "server",
        'setting=admin.accounts value=bob@localhost comment="alice@localhost was deleted"',
        "alice@localhost bob@localhost", "bob@localhost")
    newest = until("the version", lambda: (
        rows := host.rows("config", "history", "admin.accounts")) and
        rows[0]["by"] == "deletion" and rows[0])
    assert newest["who"] == newest["from"] == "server"
    assert newest["comment"] == (
        "admin.accounts: an account was deleted; the audit log names it")
    until("the event", lambda: [e for e in one.taken if "bob@localhost" in str(e) and
                                "alice@localhost" not in str(e)])
    # To go back gives a namesake nothing.
    host.add_user("alice")
    host.ctl("config", "rollback")
    host.ctl("config", "rollback", "0")
    host.ctl("config", "rollback", str(newest["version"]))
    assert host.rows("get", "admin.accounts")[0]["value"] == "bob@localhost"
    host.restart()
    assert host.rows("get", "admin.accounts")[0]["value"] == "bob@localhost"


@pytest.mark.parametrize("ends", ["confirm", "rollback", "restart"])
def test_a_deletion_while_a_change_waits_to_be_confirmed(host, ends):
    host.ctl("set", "admin.accounts", "alice@localhost bob@localhost")
    host.ctl("config", "edit", "muc.rooms-max", "77")
    host.ctl("config", "apply", "--confirm", "3s" if ends == "restart" else "1h")
    delete_alice(host)
    until("the version", lambda: host.rows("config", "history")[0]["by"] == "deletion")
    if ends == "restart":
        host.kill()
        host.start()
        until("the rollback", lambda: host.rows("config", "history")[0]["by"] == "unconfirmed")
    else:
        host.ctl("config", ends)
    assert (host.rows("get", "muc.rooms-max")[0]["value"] == "77") == (ends == "confirm")
    assert host.rows("get", "admin.accounts")[0]["value"] == "bob@localhost"
    assert "settings.unconfirmed" not in {a["name"] for a in host.rows("alarm", "list")}


@pytest.mark.parametrize("killed", [False, True])
def test_a_rollback_by_the_server_is_audited(host, killed):
    before = host.rows("get", "muc.rooms-max")[0]["value"]
    host.ctl("config", "edit", "muc.rooms-max", "77")
    host.ctl("config", "apply", "--confirm", "1s")
    version = host.rows("config", "history")[0]["version"]
    if killed:
        host.kill()
        host.start()
    found = until("the entry", lambda: entries(host, "config rollback"))
    values = (("muc.rooms-max=77", f"muc.rooms-max={before}"),
              ("", ""))  # by the start, before settings are read
    assert found[0][:2] == ("server", f'version={version - 1} comment="not confirmed in time"')
    assert found[0][2:] in (values if killed else values[:1])
    host.ctl("audit", "verify")


def test_what_musterd_does_while_no_server_runs_is_audited(host, tmp_path):
    host.ctl("backup", "create", str(tmp_path / "set"))
    host.stop()
    assert rename(host, "alice@localhost", "alicia@localhost").returncode == 0
    host.start()
    assert entries(host, "musterd --rename") == [
        ("musterd:root", "rename=alice@localhost to=alicia@localhost", "", "")]
    host.ctl("audit", "verify")
    host.ctl("user", "add", "eve@localhost", "--password", "secret")
    host.stop()
    (host.folder / "data").rename(tmp_path / "old")
    done = subprocess.run([MUSTERD, "--config", host.file, "--restore", tmp_path / "set"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    host.start()
    if not host.url:
        assert entries(host, "backup restore")[0][1].startswith(f"backup={tmp_path}/set created=")
        host.ctl("audit", "verify")
