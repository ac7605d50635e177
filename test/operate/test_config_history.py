"""Changes of settings are transactions: candidates, confirmation, history, going back."""
import base64
import hashlib
import hmac
import re
import time

import pytest

from harness import rows
from harness.muc import Room
from harness.pubsub import publish
from harness.server import refusal
from harness.slow_disk import STILL
from services.test_adhoc import command, labels, note, run, table
from services.test_extdisco import SERVICES, services

PAIR = "muc.new-occupants", "muc.occupants-max"  # the first is not above the second


def value(server, name):
    return server.rows("get", name)[0]["value"]


def history(server, *args):
    return server.rows("config", "history", *args)


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def passes(disk, seconds):
    """So much time, on both clocks of the server, which runs or starts later."""
    disk.turn(wall_us=seconds * 10**6, mono_us=seconds * 10**6)


def test_set_is_in_the_history(server):
    before = value(server, "roster.groups-max")
    server.ctl("set", "roster.groups-max", "77", "--comment", "more groups")
    newest = history(server)[0]
    assert (newest["who"], newest["from"], newest["by"]) == ("root", "control", "set")
    assert (newest["state"], newest["comment"]) == ("applied", "more groups")
    assert server.rows("config", "version", str(newest["version"])) == [
        {"setting": "roster.groups-max", "before": "(default)", "after": "77"}]
    shown = server.rows("config", "show", "roster.groups-max")[0]
    assert shown["changed_by"] == "root" and shown["changed_at"] == newest["time"]
    server.ctl("set", "roster.groups-max", "77")  # nothing new
    assert history(server)[0] == newest
    server.ctl("config", "rollback")
    assert value(server, "roster.groups-max") == before
    assert history(server)[0]["by"] == "rollback"


@pytest.mark.parametrize("setting, low, high", [
    ("archive.retention", "30d", "365d"), ("audit.keep", "10d", "20d"),
    ("archive.retention", "30d", "none")])
def test_going_back_to_what_deletes_must_be_accepted(make_server, setting, low, high):
    """As `set` does: it counts, so where nothing would be deleted it does not ask. It does where a
    change is taken back that was never confirmed: what came meanwhile would be deleted, too."""
    server = make_server("alice", "bob", settings={"audit.verify-every": "none"},
                         why="the test changes an entry, of which there would be an alarm")
    server.ctl("set", setting, low)
    server.ctl("set", setting, high)
    server.ctl("config", "rollback")  # lower, but nothing is as old
    assert value(server, setting) == low and history(server)[0]["by"] == "rollback"
    server.ctl("set", setting, high)
    said_to_bob(server)
    aged(server, 40 if setting.startswith("archive") else 15)
    said = refusal(server, "config", "rollback")
    what = "messages" if setting.startswith("archive") else "entries"
    assert said == (f"musterctl: nothing was changed: {setting} would delete: {what} that are "
                    "older: 1; use --accept if it is meant\n")
    assert refusal(server, "set", setting, low) == said
    assert value(server, setting) != low and history(server)[0]["by"] == "set"
    server.ctl("config", "rollback", "--accept")
    assert value(server, setting) == low
    server.ctl("config", "rollback")  # higher again: nothing is deleted
    assert value(server, setting) == high
    server.ctl("set", setting, low, "--accept")
    server.ctl("config", "edit", setting, high)
    server.ctl("config", "apply", "--confirm", "5m")
    said_to_bob(server)
    aged(server, 40 if setting.startswith("archive") else 15)
    assert f"{setting} would delete: {what} that are older: " in \
        refusal(server, "config", "rollback")
    assert value(server, setting) == high and history(server)[0]["state"] == "waits"
    server.ctl("config", "rollback", "--accept")
    assert value(server, setting) == low


def test_fewer_versions_must_be_accepted(make_server):
    """Versions of settings are deleted with the next change. A change that is taken back has
    deleted none."""
    server = make_server()
    server.ctl("set", "config.history-max", "20")  # there are fewer
    for n in range(1, 15):
        server.ctl("set", "roster.groups-max", str(50 + n))
    versions = len(history(server))
    said = refusal(server, "set", "config.history-max", "10")
    assert f"config.history-max would delete: versions beyond it: {versions + 1 - 10};" in said
    server.ctl("config", "edit", "config.history-max", "10")
    assert server.rows("config", "diff")[0]["impact"] == f"versions beyond it: {versions + 1 - 10}"
    assert refusal(server, "config", "apply") == said
    server.ctl("config", "apply", "--accept", "--confirm", "5m")
    server.ctl("config", "rollback")
    server.ctl("set", "config.history-max", "10", "--accept")
    server.ctl("set", "config.history-max", "50")
    assert len(history(server)) == versions + 4
    server.ctl("set", "config.history-max", "10", "--accept")
    server.ctl("set", "roster.groups-max", "49")
    assert len(history(server)) == 10


def test_two_settings_that_depend_on_each_other_move_together(server):
    low, high = PAIR
    assert "allowed at most" in refusal(server, "set", low, "2000")
    server.ctl("config", "edit", low, "2000")
    assert "allowed at most" in refusal(server, "config", "apply")
    assert value(server, low) == "50"
    server.ctl("config", "edit", high, "3000")
    assert {r["setting"]: r["candidate"] for r in server.rows("config", "diff")} == {
        low: "2000", high: "3000"}
    assert value(server, low) == "50"  # not yet
    version = len(history(server))
    server.ctl("config", "apply", "--comment", "large rooms")
    assert (value(server, low), value(server, high)) == ("2000", "3000")
    assert history(server)[0]["settings"] == 2 and len(history(server)) == version + 1
    assert server.rows("config", "diff") == []
    server.ctl("config", "rollback")
    assert (value(server, low), value(server, high)) == ("50", "1000")


def test_a_candidate_outlives_a_kill(make_server):
    server = make_server()
    server.ctl("config", "edit", "roster.groups-max", "33")
    server.ctl("config", "edit", "sm.ack-every", "9")
    server.ctl("config", "drop", "sm.ack-every")
    server.kill()
    server.start()
    assert [r["setting"] for r in server.rows("config", "diff")] == ["roster.groups-max"]
    assert value(server, "roster.groups-max") == "50"
    server.ctl("config", "apply")
    server.kill()
    server.start()
    assert value(server, "roster.groups-max") == "33"
    assert server.rows("config", "diff") == []


def test_what_changed_meanwhile_is_a_conflict(server):
    server.ctl("config", "edit", "roster.groups-max", "60")
    server.ctl("config", "edit", "sm.ack-every", "9")
    server.ctl("set", "roster.groups-max", "61")
    conflict = server.rows("config", "diff")[0]["conflict"]
    assert "set to 61 by root from control at 20" in conflict
    assert conflict in refusal(server, "config", "apply")
    assert value(server, "sm.ack-every") == "5"  # all or nothing
    server.ctl("config", "edit", "roster.groups-max", "62")  # knowing it
    server.ctl("config", "apply")
    assert (value(server, "roster.groups-max"), value(server, "sm.ack-every")) == ("62", "9")
    server.ctl("config", "rollback", "0")
    assert value(server, "roster.groups-max") == "50"


def test_not_confirmed_is_rolled_back(make_server, disk):
    server = make_server(disk=disk)
    server.ctl("config", "edit", "roster.groups-max", "44")
    server.ctl("config", "apply", "--confirm", "1h")
    assert value(server, "roster.groups-max") == "44"
    assert history(server)[0]["state"] == "waits"
    assert "settings.unconfirmed" in {a["name"] for a in server.rows("alarm", "list")}
    assert "waits to be confirmed" in refusal(server, "set", "sm.ack-every", "7")
    passes(disk, 3600)
    until(lambda: value(server, "roster.groups-max") == "50")
    newest, before = history(server)[:2]
    assert (newest["by"], newest["from"]) == ("unconfirmed", "server")
    assert before["state"] == "rolled back"
    assert "settings.unconfirmed" not in {a["name"] for a in server.rows("alarm", "list")}


def test_confirmed_stays(make_server, disk):
    server = make_server(disk=disk)
    server.ctl("config", "edit", "roster.groups-max", "45")
    server.ctl("config", "apply", "--confirm", "1h")
    server.ctl("config", "confirm")
    passes(disk, 3601)  # longer than it would have waited
    until(lambda: server.rows("status")[0]["uptime_s"] >= 3600)
    assert value(server, "roster.groups-max") == "45"
    assert history(server)[0]["state"] == "confirmed"
    assert "no change waits" in refusal(server, "config", "confirm")
    server.ctl("config", "rollback")


def test_only_the_change_that_was_seen_is_confirmed_or_taken_back(server):
    """Somebody else may have confirmed it meanwhile, or taken it back and applied another one."""
    def waits(subject):
        server.ctl("config", "edit", "announce.subject", subject)
        server.ctl("config", "apply", "--confirm", "1h")
        return history(server)[0]["version"]

    seen = waits("one")
    server.ctl("config", "confirm", seen)
    server.ctl("set", "roster.groups-max", "99")
    stale = f"version {seen} does not wait to be confirmed; "
    for act in (("confirm", seen), ("rollback", "--waits", seen), ("rollback", 0, "--waits", seen)):
        assert stale + "no change waits" in refusal(server, "config", *act)
    assert (value(server, "announce.subject"), value(server, "roster.groups-max")) == ("one", "99")
    gone = waits("two")
    server.ctl("config", "rollback", "--waits", gone)
    assert value(server, "announce.subject") == "one"
    other = waits("three")
    for act in (("confirm", gone), ("rollback", "--waits", gone)):
        said = refusal(server, "config", *act)
        assert f"nothing was changed: version {gone} does not wait" in said
        assert f"; version {other} waits to be confirmed until 20" in said
    assert history(server)[0]["state"] == "waits" and value(server, "announce.subject") == "three"
    server.ctl("config", "rollback", other - 1, "--waits", other)
    assert value(server, "announce.subject") == "one"


@pytest.mark.parametrize("runs", (False, True))
def test_a_kill_does_not_confirm(make_server, disk, runs):
    """The time to confirm ends while nothing runs, or after the start."""
    server = make_server(disk=disk)
    server.ctl("set", "sm.ack-every", "7")
    server.ctl("config", "edit", "roster.groups-max", "46")
    server.ctl("config", "edit", "sm.ack-every", "8")
    server.ctl("config", "apply", "--confirm", "1h")
    server.kill()
    if not runs:
        passes(disk, 3600)
    server.start()
    if runs:
        assert value(server, "roster.groups-max") == "46"
        passes(disk, 3600)
    until(lambda: value(server, "roster.groups-max") == "50")
    assert value(server, "sm.ack-every") == "7"
    assert [r["by"] for r in history(server)] == ["unconfirmed", "apply", "set"]
    server.ctl("config", "rollback", "0")
    assert value(server, "sm.ack-every") == "5"
    server.kill()
    server.start()
    assert value(server, "sm.ack-every") == "5"


@pytest.mark.parametrize("how", ("command", "clock", "clock after a restart", "late start"))
def test_what_the_node_file_fixes_meanwhile_does_not_hinder_a_rollback(make_server, disk, how):
    """The others go back. The value of before is stored, and applies without the node file."""
    server = make_server(disk=disk)
    server.ctl("set", "sm.ack-every", "7")
    for name, number in (("roster.groups-max", "46"), ("sm.ack-every", "8")):
        server.ctl("config", "edit", name, number)
    server.ctl("config", "apply", "--confirm", "1h")
    server.settings["sm.ack-every"] = "6"
    server.write()
    if how == "late start":
        server.kill()
        passes(disk, 3600)
        server.start()
    elif how == "clock after a restart":
        server.restart()
    else:
        server.ctl("server", "reload")
    assert value(server, "sm.ack-every") == "6"
    if how == "command":
        text = server.ctl("config", "rollback")["text"]
        assert "earlier values: 1; fixed by the node file" in text
        assert text.endswith(": sm.ack-every")
    passes(disk, 3600)
    until(lambda: value(server, "roster.groups-max") == "50")
    assert history(server)[1]["state"] == "rolled back"
    assert value(server, "sm.ack-every") == "6"
    del server.settings["sm.ack-every"]
    server.write()
    server.ctl("server", "reload")
    assert value(server, "sm.ack-every") == "7"


@pytest.mark.parametrize("how", ("command", "earlier version", "clock", "late start"))
def test_a_rollback_covers_domains_that_are_away(make_server, disk, how):
    """Their settings have the values of before when the domain is served again, and the answer,
    the history and the log name them."""
    domains = ["localhost", "second.test"]
    server = make_server(domains=domains, disk=disk)
    changes = {"c2s.certificate-login@second.test": ("on", "off", "(as for all domains)"),
               "invite.max@second.test": ("9", "7", "7"),
               "roster.groups-max": ("46", "50", "(default)")}
    server.ctl("set", "invite.max@second.test", "7")
    for name, (new, _, _) in changes.items():
        server.ctl("config", "edit", name, new)
    wait = [] if how == "earlier version" else ["--confirm", "1h"]
    server.ctl("config", "apply", *wait)
    server.stop()
    if how == "late start":
        passes(disk, 3600)
    server.conf["domains"] = domains[:1]
    server.start()
    away = [name for name in changes if "@" in name]
    if how in ("command", "earlier version"):
        text = server.ctl("config", "rollback", "1")["text"]
        assert text.endswith("earlier values: 1; unknown to this node, so that the earlier value "
                             "is only stored: " + ", ".join(away))
    elif how == "clock":
        passes(disk, 3600)
    until(lambda: value(server, "roster.groups-max") == "50")
    newest, gone = history(server)[:2]
    assert (newest["settings"], gone["state"]) == (3, "rolled back" if wait else "applied")
    rows = server.rows("config", "version", str(newest["version"]))
    assert {row["setting"]: row["before"] for row in rows} == {
        name: new for name, (new, _, _) in changes.items()}
    assert all(f"event=setting.unknown name={name}" in server.log() for name in away)
    until(lambda: server.rows("audit", "list", "--command", "config rollback"))
    shown = server.rows("audit", "list", "--command", "config rollback")[0]
    assert all(f"{name}={changes[name][0]}" in shown["before"] for name in away)
    assert f"{away[1]}=7" in shown["after"]
    server.stop()
    server.conf["domains"] = domains
    server.start()
    assert {name: value(server, name) for name in changes} == {
        name: old for name, (_, old, _) in changes.items()}
    rows = server.rows("config", "version", str(newest["version"]))
    assert {row["setting"]: row["after"] for row in rows} == {
        name: shown for name, (_, _, shown) in changes.items()}


def test_the_audit_log_names_the_one_setting_of_a_change(make_server):
    """The arguments of these commands do not."""
    server = make_server()
    server.ctl("config", "edit", "sm.ack-every", "8")
    server.ctl("config", "apply")
    server.ctl("config", "rollback")
    server.ctl("set", "sm.ack-every", "9")
    assert [(e["command"], e["before"], e["after"]) for e in server.rows("audit", "list")[:3]] == [
        ("set", "5", "9"), ("config rollback", "sm.ack-every=8", "sm.ack-every=5"),
        ("config apply", "sm.ack-every=5", "sm.ack-every=8")]


def test_a_kill_during_the_rollback(make_server):
    """It is one transaction: it is done when the server runs again, and once."""
    server = make_server()
    for number in range(4):
        server.ctl("config", "edit", "roster.groups-max", "46")
        server.ctl("config", "edit", "sm.ack-every", "8")
        server.ctl("config", "apply", "--confirm", "1s")
        time.sleep(0.9 + number * 0.1)
        server.kill()
        server.start()
        until(lambda: history(server)[0]["by"] == "unconfirmed")
        assert (value(server, "roster.groups-max"), value(server, "sm.ack-every")) == ("50", "5")
        assert len(history(server)) == 2 * (number + 1)


def test_versions_are_compared_and_gone_back_to(make_server):
    server = make_server()
    for number in ("11", "12", "13"):
        server.ctl("set", "roster.groups-max", number)
    server.ctl("set", "sm.ack-every", "9")
    assert server.rows("config", "compare", "1", "3") == [
        {"setting": "roster.groups-max", "before": "11", "after": "13"}]
    assert len(server.rows("config", "compare", "0")) == 2
    server.ctl("config", "rollback", "2")
    assert (value(server, "roster.groups-max"), value(server, "sm.ack-every")) == ("12", "5")
    assert server.rows("config", "compare", "2", "5") == []
    assert "the last one is 5" in refusal(server, "config", "rollback", "9")
    assert [r["version"] for r in history(server, "sm.ack-every")] == [5, 4]


def test_what_has_its_old_value_does_not_hinder_a_rollback(make_server):
    """What `config compare` does not show is not gone back to, so it is not refused either."""
    server = make_server()
    for name, number in (("sm.ack-every", "7"), ("roster.groups-max", "11"),
                         ("sm.ack-every", "9"), ("roster.groups-max", "12"),
                         ("sm.ack-every", "7")):
        server.ctl("set", name, number)
    server.conf["settings"] = {"sm.ack-every": "6"}
    server.write()
    server.restart()
    assert [r["setting"] for r in server.rows("config", "compare", "2")] == ["roster.groups-max"]
    server.ctl("config", "rollback", "2")
    assert value(server, "roster.groups-max") == "11"


def test_the_history_is_bounded(make_server):
    server = make_server()
    server.ctl("set", "config.history-max", "10")
    for number in range(12):
        server.ctl("set", "roster.groups-max", str(100 + number))
    assert [r["version"] for r in history(server)] == list(range(13, 3, -1))
    assert "no longer kept" in refusal(server, "config", "rollback", "1")
    server.ctl("config", "rollback", "3")
    assert value(server, "roster.groups-max") == "101"


def test_more_versions_bring_no_older_ones_back(make_server):
    server = make_server()
    server.ctl("set", "roster.groups-max", "90")
    server.ctl("set", "config.history-max", "10")
    for number in range(12):
        server.ctl("set", "roster.groups-max", str(100 + number))
    server.ctl("set", "config.history-max", "1000")  # version 15
    oldest = history(server)[-1]["version"] - 1
    for version in "0", "1", str(oldest - 1):
        said = f"version {version} is no longer kept; the oldest is {oldest}"
        assert said in refusal(server, "config", "rollback", version, "--accept")
        assert said in refusal(server, "config", "compare", version)
    assert len(history(server)) == 11
    server.ctl("config", "compare", str(oldest))
    server.ctl("config", "rollback", str(oldest), "--accept")
    assert value(server, "roster.groups-max") == str(100 + oldest - 3)


def test_secrets_are_not_shown(make_server):
    server = make_server()
    server.ctl("set", "extdisco.turn-secret", "planted-one")
    server.ctl("config", "edit", "extdisco.turn-secret", "planted-two")
    assert server.rows("config", "diff")[0]["candidate"] == "(secret)"
    server.ctl("config", "apply")
    assert server.rows("config", "version", "2") == [
        {"setting": "extdisco.turn-secret", "before": "(secret)", "after": "(secret)"}]
    server.ctl("config", "rollback")
    assert "planted" not in server.log_path.read_text()


@pytest.mark.parametrize("was", ("one", ""))
@pytest.mark.parametrize("how", ("clock", "late start", "command"))
def test_a_rollback_covers_a_secret_whose_key_is_lost(make_server, disk, how, was):
    """Once, with all other settings: the default applies until the key is there again. If it had
    no value before, it has none then either."""
    server = make_server("alice", settings={"extdisco.services": SERVICES}, disk=disk)
    if was:
        server.ctl("set", "extdisco.turn-secret", was)
    server.ctl("set", "sm.ack-every", "7")
    first = history(server)[0]["version"]
    server.ctl("config", "edit", "extdisco.turn-secret", "two")
    server.ctl("config", "edit", "sm.ack-every", "9")
    server.ctl("config", "apply", "--confirm", "1h")
    server.stop()
    key = server.data / "secrets.key"
    right = key.read_bytes()
    key.unlink()
    if how == "late start":
        passes(disk, 3600)
    server.start()
    if how == "clock":
        passes(disk, 3600)
    if how == "command":
        text = server.ctl("config", "rollback")["text"]
        lost = ("; not to be decrypted without the key that is lost, so that the earlier value is "
                "only stored: extdisco.turn-secret")
        assert text == f"version {first + 2}; settings that have earlier values: 1{lost}"
    until(lambda: value(server, "sm.ack-every") == "7")
    assert [h["state"] for h in history(server)[:3]] == ["applied", "rolled back", "applied"]
    assert {r["setting"] for r in server.rows("config", "version", str(first + 2))} == {
        "extdisco.turn-secret", "sm.ack-every"}
    assert "settings.unconfirmed" not in {a["name"] for a in server.rows("alarm", "list")}
    server.ctl("set", "sm.ack-every", "8")
    assert "setting.rollback_failed" not in server.log()
    assert server.log().count("event=setting.sealed name=extdisco.turn-secret hint=\"its earlier"
                              ) == (how != "late start")
    assert server.rows("get", "extdisco.turn-secret")[0]["value"] == ""
    server.stop()
    key.write_bytes(right)
    key.chmod(0o600)
    server.start()
    assert server.rows("get", "extdisco.turn-secret")[0]["value"] == ("(secret)" if was else "")
    _, turn, _ = services(server.client("alice"))
    if was:
        mac = hmac.new(was.encode(), turn["username"].encode(), hashlib.sha1).digest()
        assert turn["password"] == base64.b64encode(mac).decode()
    else:
        assert "password" not in turn

def test_the_node_file_prevails(make_server):
    server = make_server(settings={"sm.ack-every": 6}, why="a value that is not the default")
    assert "fixed by the node file" in refusal(server, "config", "edit", "sm.ack-every", "7")


def test_values_of_one_domain(make_server):
    server = make_server()
    server.ctl("config", "edit", "search.enabled@localhost", "off")
    server.ctl("config", "apply")
    assert value(server, "search.enabled@localhost") == "off"
    assert server.rows("config", "version", "1") == [
        {"setting": "search.enabled@localhost", "before": "(as for all domains)", "after": "off"}]
    server.ctl("config", "rollback")
    assert value(server, "search.enabled@localhost") == "on"


def test_a_deleted_administrator_does_not_come_back(make_server):
    server = make_server("alice", "bob")
    server.ctl("set", "admin.accounts", "alice@localhost bob@localhost")
    server.ctl("set", "admin.accounts", "--default")
    server.ctl("user", "del", "bob@localhost", "--yes")
    server.ctl("config", "rollback")
    assert value(server, "admin.accounts") == "alice@localhost"


def test_deletions_of_administrators_leave_the_version_that_waits(make_server):
    """Each is a version, also while nothing else may change; ten are kept."""
    names = [f"admin{n}" for n in range(12)]
    server = make_server(*names)
    server.ctl("set", "config.history-max", "10")
    server.ctl("set", "admin.accounts", " ".join(f"{name}@localhost" for name in names))
    server.ctl("config", "edit", "sm.ack-every", "7")
    server.ctl("config", "apply", "--confirm", "1h")
    for name in names[1:]:
        server.ctl("user", "del", f"{name}@localhost", "--yes")
    server.ctl("config", "rollback")
    assert value(server, "sm.ack-every") != "7"
    assert value(server, "admin.accounts") == f"{names[0]}@localhost"


@pytest.mark.parametrize("kill", [False, True])
def test_a_deleted_administrator_is_in_no_candidate(make_server, kill):
    """Neither in memory nor after a start. The next account of that address gets nothing."""
    server = make_server("alice", "bob")
    server.ctl("config", "edit", "admin.accounts", "bob@localhost  alice@localhost")
    server.ctl("config", "edit", "roster.groups-max", "60")
    server.ctl("user", "del", "bob@localhost", "--yes")
    if kill:
        server.kill()
        server.start()
    server.add_user("bob")
    diff = {row["setting"]: row["candidate"] for row in server.rows("config", "diff")}
    assert diff == {"admin.accounts": "alice@localhost", "roster.groups-max": "60"}
    server.ctl("config", "apply")
    assert value(server, "admin.accounts") == "alice@localhost"


NAMING = {
    "set": ([], ["set", "{name}", "{jid}"]),
    "apply": ([["config", "edit", "{name}", "{jid}"]], ["config", "apply"]),
    "rollback": ([["set", "{name}", "{jid}"], ["set", "{name}", "--default"]],
                 ["config", "rollback"]),
}


@pytest.mark.parametrize("way", NAMING)
def test_an_account_that_is_deleted_meanwhile_is_in_no_setting(make_server, way):
    """Of each that lists accounts, now and after a start: its next owner would be administrator."""
    lists = [name for name, row in rows.part("settings").items() if row["x-type"] == "bare-jid"]
    assert "admin.accounts" in lists
    server = make_server("alice")
    before, naming = NAMING[way]
    for n, name in [(n, name) for name in lists for n in range(15)]:
        server.ctl("set", name, "alice@localhost")
        jid = f"gone{n}-{way}@localhost"
        server.add_user(jid.split("@")[0])
        words = {"name": name, "jid": jid}
        for args in before:
            server.ctl(*(arg.format(**words) for arg in args))
        both = [server.ctl_start(*(arg.format(**words) for arg in naming)),
                server.ctl_start("user", "del", jid)]
        told = [process.communicate(timeout=60)[1] for process in both]
        assert both[1].returncode == 0, told
        if both[0].returncode != 0:
            assert "which is no account" in told[0] or "deleted meanwhile" in told[0]
        assert jid not in value(server, name)
        server.ctl_run("config", "drop")  # if it was not applied
    server.kill()
    server.start()
    assert [value(server, name) for name in lists if "gone" in value(server, name)] == []


def test_each_operator_has_a_candidate(make_server):
    """One at the socket, one with a client: all of it is there as ad-hoc commands."""
    server = make_server("alice")
    server.ctl("set", "admin.accounts", "alice@localhost")
    alice = server.client("alice", "phone")
    server.ctl("config", "edit", "roster.groups-max", "60")
    run(alice, "config-edit", setting="sm.ack-every", value="7")
    run(alice, "config-edit", setting="roster.groups-max", value="70")
    owners = [r["owner"] for r in server.rows("config", "candidate")]
    assert sorted(owners) == ["control:root", "xmpp:alice@localhost"]
    assert [r["setting"] for r in server.rows("config", "diff")] == ["roster.groups-max"]
    run(alice, "config-apply", comment="mine")
    assert value(server, "sm.ack-every") == "7"
    newest = history(server)[0]
    assert (newest["who"], newest["from"]) == ("alice@localhost", "xmpp/phone")
    assert "set to 70 by alice@localhost from xmpp/phone" in refusal(server, "config", "apply")
    server.ctl("config", "edit", "roster.groups-max", "61")
    server.ctl("config", "apply", "--confirm", "1h")
    assert table(run(alice, "config-history"))[0]["state"] == "waits"
    run(alice, "config-confirm")
    assert history(server)[0]["state"] == "confirmed"


def test_a_client_goes_back_to_no_setting_that_it_may_not_change(make_server):
    server = make_server("alice")
    server.ctl("set", "web.chat-files", "/usr")
    server.ctl("set", "admin.accounts", "alice@localhost")
    answer = run(server.client("alice", "phone"), "config-rollback", version="0")
    assert note(answer)[0] == "error" and "with musterctl at the server only" in note(answer)[1]
    assert value(server, "web.chat-files") == "/usr"


@pytest.mark.parametrize("way", ["the domain is back", "one is dropped", "all is dropped"])
def test_a_candidate_keeps_what_this_node_cannot_apply(make_server, way):
    """It is shown and refused, as `set` does: nothing of it is dropped in silence."""
    domains = ["localhost", "second.test"]
    server = make_server(domains=domains)
    away, here = "invite.max@second.test", "roster.groups-max"
    why = f"{away}: this node does not serve such a domain; "
    server.ctl("config", "edit", away, "9")
    server.ctl("config", "edit", here, "46")

    def restart_with(served):
        server.stop()
        server.conf["domains"] = served
        server.start()
    restart_with(domains[:1])
    rows = {row["setting"]: row for row in server.rows("config", "diff")}
    assert set(rows) == {away, here} and rows[away]["candidate"] == "9"
    assert why.endswith(rows[away]["conflict"].split(";")[0] + "; ")
    assert why in server.ctl("config", "diff")["text"]
    assert [row["settings"] for row in server.rows("config", "candidate")] == [2]
    assert why in refusal(server, "config", "apply")
    assert value(server, here) == "50" and not history(server)
    if way == "the domain is back":
        restart_with(domains)
    else:
        server.ctl("config", "drop", *[away] * (way == "one is dropped"))
    if way == "all is dropped":
        assert server.rows("config", "candidate") == [] == server.rows("config", "diff")
        server.restart()
        assert server.rows("config", "candidate") == []
        return
    server.ctl("config", "apply")
    assert value(server, here) == "46" and server.rows("config", "candidate") == []
    assert way != "the domain is back" or value(server, away) == "9"


def test_a_candidate_keeps_a_secret_that_cannot_be_decrypted(make_server):
    """What it says of it helps: to edit it again is refused without the key."""
    server = make_server()
    server.ctl("config", "edit", "mail.password", "hush")
    server.stop()
    (server.data / "secrets.key").unlink()
    server.start()
    assert "mail.password: its value cannot be decrypted" in refusal(server, "config", "apply")
    row, = server.rows("config", "diff")
    assert "`alarm list` says what to do" in row["conflict"] and "hush" not in str(row)
    assert "edit" not in row["conflict"]
    assert "`alarm list`" in refusal(server, "config", "edit", "mail.password", "again")
    server.ctl("config", "drop", "mail.password")
    assert server.rows("config", "candidate") == []


@pytest.mark.sqlite
def test_a_secret_of_a_candidate_that_is_damaged_is_edited_again(make_server):
    server = make_server()
    server.ctl("config", "edit", "mail.password", "hush")
    server.stop()
    with server.database() as db:
        db.execute("UPDATE setting_candidate SET value = 'sealed:AAAA'")
        db.commit()
    server.start()
    assert "`config edit` it again" in server.rows("config", "diff")[0]["conflict"]
    server.ctl("config", "edit", "mail.password", "again")
    assert server.rows("config", "diff")[0]["conflict"] == ""


def test_candidates_are_bounded(make_server):
    server = make_server("alice")
    server.ctl("set", "admin.accounts", "alice@localhost")
    server.ctl("set", "config.candidates-max", "1")
    server.ctl("config", "edit", "roster.groups-max", "60")
    answer = run(server.client("alice", "phone"), "config-edit", setting="sm.ack-every", value="7")
    assert "config.candidates-max" in note(answer)[1]
    server.ctl("config", "drop", "--owner", "control:root")
    assert server.rows("config", "candidate") == []


def test_a_difference_says_who_is_above_a_new_limit(make_server):
    server = make_server("alice", "bob", "carol", "dave")
    for contact in ("bob", "carol", "dave"):
        server.ctl("contact", "add", "alice@localhost", f"{contact}@localhost")
    server.ctl("config", "edit", "roster.contacts-max", "2")
    server.ctl("config", "edit", "sm.ack-every", "6")
    shown = {r["setting"]: r["impact"] for r in server.rows("config", "diff")}
    assert shown["roster.contacts-max"] == "users with more contacts and requests: 1"
    assert shown["sm.ack-every"] == ""
    server.ctl("config", "edit", "roster.contacts-max", "3")
    assert server.rows("config", "diff")[0]["impact"].endswith(": 0")


def test_each_limit_of_what_users_store_is_counted(make_server):
    """By the rows of their features; before it applies."""
    server = make_server("alice", "bob")
    alice = server.client("alice", "a")
    for name in "cave", "tea":
        Room(name).create(alice, "alice", persistentroom=True)
        server.ctl("room", "affiliation", f"{name}@conference.localhost", "bob@localhost", "member")
    for n in range(3):
        alice.iq("set", publish(f"urn:test:{n}"))
    with server.database() as db:
        owner = db.execute("SELECT id FROM account WHERE jid = 'alice@localhost'").fetchone()[0]
        for n in range(3):
            db.execute("INSERT INTO upload(id, owner, name, type, size, hash, at_us, until_us) "
                       f"VALUES('{n}', {owner}, 'a', 'text/plain', 1000, '', 1, {2 ** 62})")
        db.execute(f"INSERT INTO archive_size(owner, peer, bytes) VALUES({owner}, 99, 90000)")
        db.execute(f"INSERT INTO archive_size(owner, peer, bytes) VALUES({2 ** 40}, 0, 90000)")
        for n in range(3):
            db.execute("INSERT INTO privacy_rule(owner, list, ord, type, value, action, kinds) "
                       f"VALUES({owner}, 'list{n}', 0, 0, '', 0, 0)")
        db.execute("UPDATE pubsub_item SET bytes = 30000")
    limits = {"muc.rooms-per-user": ("1", "2"), "muc.affiliations-max": ("1", "2"),
              "pep.nodes-max": ("2", "100"), "upload.files-max": ("2", "3"),
              "upload.quota": ("2kB", "3kB"), "archive.user-bytes": ("65536B", "100kB"),
              "archive.room-bytes": ("65536B", "100kB"), "privacy.lists-max": ("2", "3"),
              "privacy.rules-max": ("2", "3"), "pep.bytes-max": ("65536B", "100kB")}
    for which, count in enumerate(({"muc.affiliations-max": 2}, {})):
        for name, values in limits.items():
            server.ctl("config", "edit", name, values[which])
        shown = {r["setting"]: int(r["impact"].rsplit(": ")[1])
                 for r in server.rows("config", "diff")}
        assert shown == {name: count.get(name, 1 - which) for name in limits}


def said_to_bob(server):
    server.client("alice", "a").send("<message to='bob@localhost' type='chat'><body>hi</body>"
                                     "</message>")
    until(lambda: server.rows("user", "stats", "bob@localhost"))


def aged(server, days):
    """Entries of so many days, in all that is kept for a time."""
    at = int((time.time() - days * 86400) * 1e6)
    with server.database() as db:
        db.execute("UPDATE message SET at_us = ?", (at,))
        db.execute("UPDATE room SET created_us = ?", (at,))
        db.execute("UPDATE audit_log SET at_us = ? WHERE id = (SELECT min(id) FROM audit_log)",
                   (at,))
        for n in range(101):
            db.execute("INSERT INTO alarm_history(id, alarm, severity, detail, raised_us, "
                       "cleared_us, known_us, known_by, note, worst) VALUES(?, 'store.full', "
                       "'error', '', ?, ?, 0, '', '', 'error') ON CONFLICT DO NOTHING",
                       (10 ** 6 + n, at, at))


def waiting_and_published(server):
    """An event that has waited for half a day, and three items of a node: of an account, and of
    pubsub.localhost."""
    with server.database() as db:
        db.execute("INSERT INTO webhook_queue(id, hook, event_id, kind, subject, at_us, body) "
                   "VALUES(?, 1, '', 'user.created', '', ?, '')",
                   (10 ** 9, int((time.time() - 43200) * 1e6)))
        for owner in 1, -1:
            for n in range(3):
                db.execute("INSERT INTO pubsub_item(owner, nid, id, at_us, bytes, publisher, xml) "
                           "VALUES(?, 999, ?, 1, 10, '', '')", (owner, str(n)))


KEPT = {"archive.retention": ("30d", "messages that are older: 1", "50d"),
        "audit.keep": ("30d", "entries that are older: 1", "50d"),
        "alarm.history-keep": ("30d", "entries that are older: 101", "50d"),
        "alarm.history-max": ("100", "entries beyond it: 1", "200"),
        "muc.cleanup-days": ("30d", "rooms without a message for so long, if nobody is in them: 1",
                             "50d"),
        "webhook.keep": ("1h", "events that have waited longer: 1", "2d"),
        "pep.items-max": ("2", "items beyond it: 1", "20000"),
        "pubsub.items-max": ("1", "items beyond it: 2", "20000")}


def test_what_would_delete_is_counted_and_must_be_accepted(make_server):
    """`config apply` says how much, and changes nothing without --accept; a higher limit needs
    none. The answer has what `config diff` shows."""
    server = make_server("alice", "bob", settings={"audit.verify-every": "none"},
                         why="the test changes an entry, of which there would be an alarm")
    said_to_bob(server)
    Room("cave").create(server.client("alice", "b"), "alice", persistentroom=True)
    server.ctl("set", "roster.groups-max", "77")  # which the audit log has
    aged(server, 40)
    waiting_and_published(server)
    with server.database() as db:
        assert db.execute("SELECT count(*) FROM message").fetchone()[0] == 1
    for name, (less, impact, more) in KEPT.items():
        server.ctl("config", "edit", name, less)
        diff = server.ctl("config", "diff")
        assert [r["impact"] for r in diff["rows"]] == [impact]
        assert diff["text"] == \
            f"{name} would delete: {impact}; only `config apply --accept` applies this candidate"
        said = refusal(server, "config", "apply")
        assert f"nothing was changed: {name} would delete: {impact}; use --accept" in said
        assert refusal(server, "set", name, less) == said
        shown = server.rows("config", "show", name)[0]
        assert shown["value"] == shown["default_value"]
        server.ctl("config", "edit", name, more)
        row = server.rows("config", "apply")[0]
        assert row["setting"] == name and row["impact"].endswith(": 0")
        assert row["now"] == value(server, name) != row["before"]
        server.ctl("config", "rollback")
    server.ctl("config", "edit", "archive.retention", "30d")
    assert server.rows("config", "apply", "--accept")[0]["impact"] == KEPT["archive.retention"][1]
    assert value(server, "archive.retention") == "30d"
    server.ctl("set", "archive.retention", "20d", "--accept")
    assert value(server, "archive.retention") == "20d"
    server.ctl("set", "pubsub.items-max", "1", "--accept")
    server.ctl("config", "edit", "pubsub.items-max", "2")  # higher: it deletes nothing
    assert server.rows("config", "apply")[0]["impact"] == "items beyond it: 1"


def test_a_default_that_would_delete_must_be_accepted(server):
    for name, high in ("audit.keep", "none"), ("sm.hibernate-time", "77s"):
        server.ctl("set", name, high)
    server.stop()
    aged(server, 400)
    server.start()
    for args in ("config", "reset", "audit"), ("set", "audit.keep", "--default"):
        said = refusal(server, *args)
        assert re.search("nothing was changed: audit.keep would delete: entries that are older: "
                         r"\d+; use --accept", said), said
    assert value(server, "audit.keep") == "none"
    server.ctl("config", "reset", "sm")
    server.ctl("config", "reset", "audit", "--accept", "--yes")
    assert value(server, "audit.keep") == "365d"


def test_a_form_names_its_own_field(make_server):
    """Who fills in a form types no options: refusals name the field, also of another command."""
    server = make_server("alice")
    server.ctl("set", "admin.accounts", "alice@localhost")
    for number in range(12):
        server.ctl("set", "roster.groups-max", str(100 + number))
    alice = server.client("alice", "phone")
    lower = {"setting": "config.history-max", "value": "10"}
    run(alice, "config-edit", **lower)
    for node, fields in ("set", lower), ("config-apply", {}):
        label = labels(alice, node)["accept"]
        kind, text = note(run(alice, node, **fields))
        assert kind == "error" and text.endswith(f'; use the field "{label}" if it is meant'), text
    kind, text = note(alice.result("set", command("config-diff"), to="localhost"))
    assert kind == "info" and f'only `config apply` with the field "{label}" applies' in text, text
    label = labels(alice, "set")["default"]
    kind, text = note(run(alice, "set", setting="sm.ack-every"))
    assert kind == "error" and text.endswith(f'either a value or the field "{label}"'), text
    run(alice, "config-apply", accept="true")
    assert value(server, "config.history-max") == "10"


def test_apply_says_what_is_above_a_new_limit(make_server):
    server = make_server("alice", "bob", "carol")
    for contact in ("bob", "carol"):
        server.ctl("contact", "add", "alice@localhost", f"{contact}@localhost")
    server.ctl("config", "edit", "roster.contacts-max", "1")
    server.ctl("config", "edit", "sm.ack-every", "6")
    assert server.rows("config", "apply", "--confirm", "5min") == [
        {"setting": "roster.contacts-max", "before": "200", "now": "1",
         "impact": "users with more contacts and requests: 1"},
        {"setting": "sm.ack-every", "before": "5", "now": "6", "impact": ""}]
    server.ctl("config", "rollback")
    assert value(server, "roster.contacts-max") in ("200", 200)


def test_a_time_that_there_is_not_is_left_out(server):
    """`until` is only of a change that waits."""
    server.ctl("set", "roster.groups-max", "77")
    server.ctl("config", "edit", "roster.groups-max", "78")
    server.ctl("config", "apply", "--confirm", "5m")
    waits, applied = history(server)[:2]
    assert waits["state"] == "waits" and waits["until"] > waits["time"]
    assert applied["state"] == "applied" and "until" not in applied
    server.ctl("config", "confirm")
    assert "until" not in history(server)[0]


def test_only_what_was_shown_is_applied(make_server):
    """Somebody else, or another tab, may edit the candidate between the look and the change."""
    server = make_server()
    low, high = PAIR
    server.ctl("config", "edit", high, "200")
    shown, = {row["shown"] for row in server.rows("config", "diff")}
    for words in ((high, "300"), (high, "--default"), (low, "60")):
        server.ctl("config", "edit", *words)
        assert "not the one that was shown" in refusal(server, "config", "apply", "--shown", shown)
    assert value(server, low) == "50"
    server.ctl("config", "drop", low)
    server.ctl("config", "edit", high, "200")
    server.ctl("config", "apply", "--shown", shown)
    assert value(server, high) == "200"


def test_what_was_shown_is_the_same_after_a_restart(make_server):
    """Also if a default or a secret is in the candidate."""
    server = make_server()
    low, high = PAIR
    server.ctl("config", "edit", high, "200")
    server.ctl("config", "edit", low, "--default")
    server.ctl("config", "edit", "extdisco.turn-secret", "planted south wind")
    before = server.rows("config", "diff"), server.rows("config", "candidate")
    server.restart()
    assert (server.rows("config", "diff"), server.rows("config", "candidate")) == before
    server.ctl("config", "edit", "extdisco.turn-secret", "planted west wind")
    assert "not the one that was shown" in refusal(
        server, "config", "apply", "--shown", before[0][0]["shown"])
    server.restart()
    shown, = {row["shown"] for row in server.rows("config", "diff")}
    server.ctl("config", "apply", "--shown", shown)
    assert value(server, high) == "200"


def test_a_difference_says_why_apply_would_be_refused(make_server):
    """Whatever refuses `config apply` is said before; the rows are shown all the same."""
    server = make_server("alice")
    low, high = PAIR

    def both():
        answer = server.ctl("config", "diff")
        assert answer["rows"]
        said = refusal(server, "config", "apply").removeprefix("musterctl: ").strip()
        assert answer["text"] == f"`config apply` would be refused: {said}"
        return said

    server.ctl("config", "edit", low, "2000")
    assert "allowed at most" in both()
    assert value(server, low) == "50"
    server.ctl("config", "edit", high, "3000")
    assert server.ctl("config", "diff")["text"] == ""
    server.ctl("config", "edit", "admin.accounts", "nobody@localhost")
    assert "is no account" in both()
    server.ctl("config", "drop", "admin.accounts")
    server.ctl("set", high, "2500")
    assert "after you edited it" in both()
    server.ctl("config", "edit", high, "3000")
    assert server.ctl("config", "diff")["text"] == ""
    server.ctl("config", "apply", "--confirm", "5m")
    server.ctl("config", "edit", low, "60")
    assert "waits to be confirmed" in both()
    server.ctl("config", "confirm")
    assert server.ctl("config", "diff")["text"] == ""
    assert len(history(server)) == 2  # what was only looked at has changed nothing


@pytest.mark.sqlite
def test_a_diff_does_not_wait_for_changes(make_server, disk):
    """Of the settings: one that waits for the disk, and others behind it."""
    server = make_server(disk=disk)
    server.ctl("config", "edit", "roster.groups-max", "9")
    disk.turn(sync_ms=STILL)
    changes = [server.ctl_start("set", "sm.ack-every", n) for n in (3, 4)]
    for _ in range(5):
        assert [r["candidate"] for r in server.rows("config", "diff")] == ["9"]
    assert [change.poll() for change in changes] == [None, None]
    disk.turn(sync_ms=0)
    assert [change.wait(timeout=30) for change in changes] == [0, 0]
