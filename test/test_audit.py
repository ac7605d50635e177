"""The audit log: what is in it, and that nobody changes it unseen."""
import pytest

from test_roles import refused


@pytest.fixture
def host(make_server):
    return make_server("alice", "bob")


def entries(host, *args):
    return host.rows("audit", "list", *args)


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


def test_a_refused_client_is_in_it(host):
    host.ctl("admin", "add", "alice@localhost", "viewer")
    alice = host.client("alice", "a")
    assert "users.write" in refused(alice, "user-del", jid="bob@localhost")
    newest = entries(host, "--command", "user del")[0]
    assert newest["actor"].startswith("xmpp:alice@localhost/") and newest["result"] == "denied"
    assert newest["role"] == "viewer"


def test_the_chain_holds_over_restarts_and_kills(host):
    for i in range(150):
        host.ctl("set", "sm.hibernate-time", f"{30 + i % 60}s")
    host.restart()
    host.ctl("set", "sm.hibernate-time", "61s")
    host.kill()
    host.start()
    host.ctl("set", "sm.hibernate-time", "62s")
    checked = host.rows("audit", "verify")[0]
    assert checked["first"] == 1 and checked["last"] >= 152
    assert len(host.rows("audit", "export", "--limit", "1000")) >= 152


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
    host.stop()
    with host.database() as db:
        db.execute(change)
        db.commit()
    host.start()
    done = host.ctl_run("audit", "verify")
    assert done.returncode != 0 and "entry" in done.stderr


def test_old_entries_can_be_cut_and_the_rest_is_a_chain(host):
    for i in range(6):
        host.ctl("set", "sm.hibernate-time", f"{30 + i % 60}s")
    host.stop()
    with host.database() as db:
        db.execute("DELETE FROM audit_log WHERE id < 4")
        db.commit()
    host.start()
    assert host.rows("audit", "verify")[0]["first"] == 4
