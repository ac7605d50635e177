"""Alarms: their history, who acknowledged them, hold-down, severity, and what a restart does."""
import re
import subprocess
import time

import pytest

from harness import rows
from harness.client import until
from harness.rows import MUSTERD
from harness.server import refusal

PAGE = subprocess.run([MUSTERD, "--dump-docs", "alarms"], capture_output=True, text=True,
                      check=True).stdout


@pytest.fixture
def host(make_server):
    return make_server("alice")


def active(host):
    return {row["name"]: row for row in host.rows("alarm", "list")}


def history(host, *args):
    return host.rows("alarm", "history", *args)


def fail_fedtest(host):
    """A schedule whose settings have a mistake: no host is tested."""
    host.ctl("set", "fedtest.domain", "elsewhere.example")
    host.ctl("set", "tests.every", "1s")
    until("alarm", lambda: "fedtest.failed" in active(host))


def mend_fedtest(host):
    host.ctl("set", "fedtest.domain", "")
    until("end of the alarm", lambda: "fedtest.failed" not in active(host))


def entry(host, name="fedtest.failed"):
    """The newest entry of an alarm, when it has one."""
    return until("entry", lambda: history(host, name))[0]


def test_each_alarm_is_explained():
    for name in rows.part("alarms"):
        part = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)[1]
        for words in "Severity", "Raised", "Cleared", "What to do":
            assert re.search(rf"^- {words}: [^(\n]{{4,}}", part, re.M), (name, words)
        text = part.strip().split("\n")[0]
        assert text.count(". ") >= 1 and "(null)" not in part, name


def test_thresholds_are_settings_that_exist(host):
    known = {row["name"] for row in host.rows("config", "show")}
    for line in re.findall(r"^- Settings: (.*)$", PAGE, re.M):
        assert set(re.findall(r"`([^`]+)`", line)) <= known, line
    shown = host.rows("alarm", "show", "capacity.sessions")[0]
    assert shown["settings"] == "capacity.alarm-percent = 80, capacity.alarm-after = 10min"
    host.ctl("set", "capacity.alarm-percent", "70")
    assert "alarm-percent = 70," in host.rows("alarm", "show", "capacity.sessions")[0]["settings"]
    assert "JSMSessionsExceedsThreshold" in shown["also"]


def test_what_was_raised_and_cleared_is_in_the_history(host):
    fail_fedtest(host)
    first = entry(host)
    assert first["severity"] == "error" and first["raised"] and not first["cleared"]
    assert "fedtest.target" in first["detail"]
    mend_fedtest(host)
    until("end", lambda: entry(host)["cleared"])
    ended = entry(host)
    every = {row["name"]: row for row in host.rows("alarm", "list", "--all")}
    assert every["fedtest.failed"]["action"] == "" != every["fedtest.failed"]["text"]
    assert host.rows("alarm", "show", "fedtest.failed")[0]["action"]
    assert ended["id"] == first["id"] and ended["cleared"] > ended["raised"] == first["raised"]
    fail_fedtest(host)
    until("second", lambda: len(history(host, "fedtest.failed")) == 2)
    ids = [e["id"] for e in history(host)]
    assert ids == sorted(ids, reverse=True)
    assert history(host, "--limit", "1")[0]["id"] == history(host)[0]["id"]


def test_an_acknowledgement_right_after_the_alarm_stays(host):
    """The history is written a moment after an alarm is raised."""
    for _ in range(4):
        fail_fedtest(host)
        host.ctl("alarm", "acknowledge", "fedtest.failed", "--note", "at once")
        until("raised", lambda: history(host)[0]["cleared"] == "")
        mend_fedtest(host)
        until("end", lambda: history(host)[0]["cleared"] != "")
    assert [e["note"] for e in history(host)] == ["at once"] * 4


def test_an_acknowledgement_names_who_and_lasts_until_the_end(host):
    assert "not active" in refusal(host, "alarm", "acknowledge", "fedtest.failed")
    assert "no such alarm" in refusal(host, "alarm", "acknowledge", "fedtest.nothing")
    fail_fedtest(host)
    host.ctl("alarm", "acknowledge", "fedtest.failed", "--note", "Ünder way")
    row = active(host)["fedtest.failed"]
    assert row["acknowledged"] and row["acknowledged_by"].startswith("control:")
    until("note", lambda: entry(host)["note"] == "Ünder way")
    assert row["note"] == "Ünder way"
    shown = host.ctl_run("alarm", "show", "fedtest.failed").stdout
    assert re.search(r"^acknowledged_by +control:\S+$", shown, re.M) and "Ünder way" in shown
    assert entry(host)["acknowledged_by"] == row["acknowledged_by"]
    mend_fedtest(host)
    fail_fedtest(host)
    assert active(host)["fedtest.failed"]["acknowledged"] == ""
    until("second", lambda: len(history(host)) == 2)
    assert [bool(e["acknowledged"]) for e in history(host)] == [False, True]


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_an_alarm_that_nothing_checks_at_the_start_is_active_after_it(host, end):
    fail_fedtest(host)
    host.ctl("alarm", "acknowledge", "fedtest.failed", "--note", "Ünder way")
    until("stored", lambda: entry(host)["acknowledged"])
    before, first = active(host)["fedtest.failed"], entry(host)
    host.ctl("set", "tests.every", "7d")
    if end == "kill":
        host.kill()
        host.start()
    else:
        host.restart()
    after = active(host)["fedtest.failed"]
    kept = "detail", "severity", "acknowledged_by", "note"
    assert {k: after[k] for k in ("since", *kept)} == {
        "since": first["raised"], **{k: before[k] for k in kept}}
    mend_fedtest(host)
    until("end", lambda: entry(host)["cleared"])
    assert [e["id"] for e in history(host, "fedtest.failed")] == [first["id"]]


def test_an_alarm_that_is_raised_again_at_the_start_goes_on(host, tmp_path):
    """And one that is not ends, some seconds after the start."""
    bad = tmp_path / "blocked.txt"
    bad.write_text("not a domain at all\n")
    host.ctl("set", "federation.blocklist", str(bad))
    name = until("alarm", lambda: {"federation.blocklist", "federation.blocklist-unread"}
                 & set(active(host))).pop()
    host.ctl("alarm", "acknowledge", name, "--note", "known")
    first = until("stored", lambda: entry(host, name)["acknowledged"] and entry(host, name))
    host.restart()
    until("alarm", lambda: "federation.blocklist-unread" in active(host))
    if name == "federation.blocklist-unread":
        assert entry(host, name)["id"] == first["id"] and not entry(host, name)["cleared"]
        kept = "since", "acknowledged", "note"
        until("its time", lambda: tuple(active(host)[name][key] for key in kept) == (
            first["raised"], first["acknowledged"], "known"))
    host.stop()
    bad.write_text("spam.example\n")
    host.start()
    until("end", lambda: entry(host, "federation.blocklist-unread")["cleared"], 30)
    assert "federation.blocklist-unread" not in active(host)


def test_the_end_of_an_alarm_outlives_a_crash(host):
    """Also in the seconds after a start, in which alarms of before may be raised again."""
    host.restart()
    fail_fedtest(host)
    mend_fedtest(host)
    time.sleep(0.5)  # it is written some milliseconds after it happened
    cleared = entry(host)["cleared"]
    host.kill()
    host.start()
    assert cleared and entry(host)["cleared"] == cleared


def test_the_history_says_that_an_alarm_is_over_when_the_list_does(host):
    fail_fedtest(host)
    assert not entry(host)["cleared"]
    host.ctl("alarm", "set", "fedtest.failed", "--hold-down", "1h")
    mend_fedtest(host)
    assert entry(host)["raised"] < entry(host)["cleared"]


def test_a_short_alarm_is_held_down(host):
    host.ctl("alarm", "set", "fedtest.failed", "--hold-down", "1h")
    assert "0 to 1d" in refusal(host, "alarm", "set", "fedtest.failed", "--hold-down", "2d")
    fail_fedtest(host)
    host.ctl("alarm", "set", "imtest.failed", "--hold-down", "0")
    host.ctl("set", "imtest.receiver", "bob@elsewhere.example")
    assert entry(host, "imtest.failed")  # so the other was looked at as well
    assert history(host, "fedtest.failed") == []
    change = host.rows("audit", "list", "--command", "alarm set")[-1]
    assert "hold_down=1h " in change["after"]
    shown = host.ctl_run("alarm", "show", "fedtest.failed").stdout
    assert re.search(r"^hold_down +1h$", shown, re.M), shown
    host.restart()
    assert host.rows("alarm", "show", "fedtest.failed")[0]["hold_down"] == "1h"
    host.ctl("alarm", "set", "fedtest.failed", "--default")
    assert not entry(host)["cleared"]


def test_another_severity(host):
    host.ctl("alarm", "set", "fedtest.failed", "--severity", "critical")
    assert "critical" in refusal(host, "alarm", "set", "fedtest.failed", "--severity", "fatal")
    fail_fedtest(host)
    assert active(host)["fedtest.failed"]["severity"] == "critical"
    assert entry(host)["severity"] == "critical"
    host.ctl("alarm", "set", "fedtest.failed", "--severity", "warning")
    assert active(host)["fedtest.failed"]["severity"] == "warning"
    until("change", lambda: entry(host)["severity"] == "warning")
    change = host.rows("audit", "list", "--command", "alarm set")[0]
    assert "severity=critical" in change["before"] and "severity=warning" in change["after"]


def test_the_history_is_bounded(host):
    fail_fedtest(host)
    first = entry(host)
    host.stop()
    with host.database() as db:
        for i in range(200):
            at = 1_700_000_000_000_000 + i
            db.execute("INSERT INTO alarm_history(id, alarm, severity, detail, raised_us, "
                       "cleared_us, known_us, known_by, note, worst) VALUES("
                       f"{first['id'] + 1 + i}, 'x.gone', 'error', '', {at}, {at}, 0, '', '', "
                       "'error')")
    host.start()
    host.ctl("set", "alarm.history-keep", "none")
    host.ctl("set", "alarm.history-max", "150", "--accept")
    until("less", lambda: len(history(host, "--limit", "1000")) <= 151)
    assert len(history(host, "x.gone", "--limit", "1000")) >= 149
    host.ctl("set", "alarm.history-keep", "1h", "--accept")
    until("none", lambda: "x.gone" not in {e["name"] for e in history(host, "--limit", "1000")})
    assert "no such alarm" in refusal(host, "alarm", "history", "x.gone")
    assert entry(host)["id"] == first["id"]  # it is still active
