"""Alarms by SNMP: a real snmptrapd of net-snmp on loopback."""
import pathlib
import re
import shutil
import socket
import subprocess

import pytest

from harness.client import TIMEOUT, until
from harness.server import refusal
from operate.test_alarm_targets import results
from operate.test_alarms import active, fail_fedtest, mend_fedtest
from promise.test_faults import small_disk

__all__ = ["small_disk"]

MIB = pathlib.Path(__file__).parents[2] / "docs/MUSTER-MIB.txt"
ROOT = ".1.3.6.1.4.1.8072.9999.9999.5222"
SIGN, HIDE = 'a "strange" #pass\\', "-priv päss word"
V3 = {"snmp.user": "boss", "snmp.auth-password": SIGN, "snmp.privacy-password": HIDE}

pytestmark = pytest.mark.skipif(not shutil.which("snmptrapd") or not shutil.which("snmptrap"),
                                reason="needs snmptrapd and snmp")


def objects():
    """The names of the module by their numbers: what the file says is what is sent."""
    text = MIB.read_text()
    parents = {"muster": ROOT, "musterNotifications": f"{ROOT}.0", "musterObjects": f"{ROOT}.1"}
    found = re.findall(r"^(\w+) (?:OBJECT|NOTIFICATION)-TYPE\n.*?::= { (\w+) (\d+) }", text,
                       re.S | re.M)
    assert "{ enterprises 8072 9999 9999 5222 }" in text and len(found) == 10
    return {f"{parents[parent]}.{number}": name for name, parent, number in found}


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Manager:
    """snmptrapd, which knows one community and one user."""

    def __init__(self, folder, engine=None, sign=SIGN, port=None, at="127.0.0.1"):
        folder.mkdir(exist_ok=True)
        six = ":" in at
        with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((at, port or 0))
            self.port = probe.getsockname()[1]
        known = f"SHA-256 {quoted(sign)} AES {quoted(HIDE)}"
        lines = [f"createUser boss {known}", "authUser log boss priv", "authCommunity log hush",
                 r"format1 got|%v\n", r"format2 got|%v\n"]
        if engine:
            lines.insert(0, f"createUser -e {engine} boss {known}")
        (folder / "trapd.conf").write_text("\n".join(lines) + "\n")
        self.log = folder / "log"
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                ["snmptrapd", "-f", "-C", "-c", folder / "trapd.conf", "-On", "-Lo",
                 f"udp6:[{at}]:{self.port}" if six else f"udp:{at}:{self.port}"],
                stdout=out, stderr=out,
                env={"PATH": "/usr/sbin:/usr/bin", "SNMP_PERSISTENT_DIR": str(folder), "MIBS": "",
                     "SNMPCONFPATH": str(folder)})
        until("snmptrapd", lambda: "NET-SNMP" in self.log.read_text())

    def got(self, **wanted):
        """What came, the oldest first: the kind and the objects by name."""
        names, found = objects(), []
        for line in self.log.read_text(errors="replace").splitlines():
            if ROOT not in line:
                continue
            parts = line.partition("|")[2].split("\t")
            pairs = dict(part.split(" = ", 1) for part in parts)
            kind = pairs[".1.3.6.1.6.3.1.1.4.1.0"].removeprefix("OID: ")
            one = {"kind": names[kind]}
            for oid, value in pairs.items():
                if oid.startswith(f"{ROOT}.1."):
                    assert oid.endswith(".0")
                    one[names[oid[:-2]]] = re.sub(r'^(STRING: "|INTEGER: )|"$', "", value)
            if all(one[name] == value for name, value in wanted.items()):
                found.append(one)
        return found

    def end(self):
        self.process.terminate()
        self.process.wait(TIMEOUT)


@pytest.fixture
def manager(tmp_path):
    made = []

    def make(**options):
        made.append(Manager(tmp_path / f"manager{len(made)}", **options))
        return made[-1]
    yield make
    for one in made:
        one.end()


def result_of(host):
    return results(host)["snmp"]


def told(manager):
    return [one["kind"] for one in manager.got(musterAlarmName="fedtest.failed")]


@pytest.mark.parametrize("way", ["v2c", "v3", "v3 trap", "v2c trap", "name"])
def test_ways(make_server, manager, way):
    host = make_server("alice", settings={**V3, "snmp.community": "hush",
                                          "snmp.version": "v2c" if "v2c" in way else "v3",
                                          "snmp.confirm": "off" if "trap" in way else "on"})
    [shown] = host.rows("snmp", "show")
    assert shown["missing"] == "no manager is given (snmp.receiver)"
    one = manager(engine=shown["engine_id"])
    host.ctl("set", "snmp.receiver", "localhost" if way == "name" else "127.0.0.1")
    host.ctl("set", "snmp.port", one.port)
    host.ctl("set", "alarm.snmp", "warning")
    assert host.rows("snmp", "show")[0]["missing"] == ""
    assert result_of(host)["works"], host.log()
    [test] = until("the test", lambda: one.got(musterAlarmName="test"))
    assert test["kind"] == "musterAlarmRaised" and test["musterAlarmSeverity"] == "1"
    until("the file is gone", lambda: not (host.data / "snmp").exists())


@pytest.mark.parametrize("confirm", ["on", "off"])
def test_raised_and_cleared(make_server, manager, confirm):
    host = make_server("alice", settings={**V3, "snmp.confirm": confirm,
                                          "snmp.receiver": "127.0.0.1"})
    one = manager(engine=host.rows("snmp", "show")[0]["engine_id"])
    host.ctl("set", "snmp.port", one.port)
    host.ctl("set", "alarm.snmp", "warning")
    fail_fedtest(host)
    [raised] = until("raised", lambda: one.got(musterAlarmName="fedtest.failed"))
    assert raised["kind"] == "musterAlarmRaised" and raised["musterAlarmSeverity"] == "2"
    assert "fedtest.target" in raised["musterAlarmDetail"] and raised["musterAlarmAction"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", raised["musterAlarmTime"])
    mend_fedtest(host)
    until("cleared", lambda: told(one) == ["musterAlarmRaised", "musterAlarmCleared"])


def test_a_wrong_password_and_a_manager_that_is_away(make_server, manager):
    """What nobody confirmed waits, and what went wrong is said."""
    one = manager(sign="something else")
    host = make_server("alice", settings={"alarm.snmp": "warning", "snmp.receiver": "127.0.0.1",
                                          **V3})
    host.ctl("set", "snmp.port", one.port)
    refused = result_of(host)
    assert not refused["works"] and "Authentication failure" in refused["result"]
    until("alarm", lambda: "alarm.delivery" in active(host))
    one.end()
    fail_fedtest(host)
    late = result_of(host)
    assert not late["works"] and "has not confirmed" in late["result"]
    again = manager(port=one.port)
    until("what waited", lambda: "musterAlarmRaised" in told(again), 60)
    until("end of the alarm", lambda: "alarm.delivery" not in active(host), 60)


@pytest.mark.sqlite
def test_a_full_disk_is_told(make_server, manager, small_disk, tmp_path, monkeypatch):
    """systemd gives the server a folder in memory."""
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(run))
    one = manager()
    host = make_server("alice", wrapper=small_disk.wrapper,
                       settings={"alarm.snmp": "warning", "snmp.receiver": "127.0.0.1", **V3})
    host.ctl("set", "snmp.port", one.port)
    small_disk.sh(f"dd if=/dev/zero of={small_disk.folder}/ballast bs=4k || true")
    until("no room", lambda: host.ctl_run("user", "add", "bob@localhost", "--stdin",
                                          stdin="long west wind 4\n").returncode
          or not host.ctl("user", "del", "bob@localhost"))
    until("the trap", lambda: one.got(musterAlarmName="store.full", kind="musterAlarmRaised"))
    assert "alarm.delivery" not in active(host)
    until("nothing secret is left", lambda: list(run.iterdir()) == [])
    small_disk.sh(f"rm {small_disk.folder}/ballast")
    until("its end", lambda: one.got(musterAlarmName="store.full", kind="musterAlarmCleared"))


def test_what_is_missing(make_server, manager):
    one = manager()
    host = make_server("alice", settings={"alarm.snmp": "warning"})
    host.ctl("set", "snmp.port", one.port)
    assert "snmp.receiver" in result_of(host)["result"]
    host.ctl("set", "snmp.receiver", "127.0.0.1")
    assert "snmp.user" in result_of(host)["result"]
    host.ctl("set", "snmp.version", "v2c")
    assert "snmp.community" in result_of(host)["result"]
    host.ctl("set", "snmp.community", "wrong")
    assert "has not confirmed" in result_of(host)["result"]
    host.ctl("set", "snmp.receiver", "nobody.invalid")
    assert "snmp.community" in result_of(host)["result"]  # was that of another receiver
    host.ctl("set", "snmp.community", "wrong")
    assert result_of(host)["result"].startswith("nobody.invalid: ")
    assert one.got() == []


def test_without_the_program(make_server, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    host = make_server("alice", settings={"alarm.snmp": "warning", "snmp.receiver": "127.0.0.1",
                                          **V3})
    assert "apt install snmp" in result_of(host)["result"]


@pytest.mark.parametrize("setting, wrong", [
    ("snmp.receiver", "-x"), ("snmp.receiver", "a b"), ("snmp.receiver", "udp/x"),
    ("snmp.auth-password", "seven.."), ("snmp.community", "a\nlogOption f /tmp/x"),
    ("snmp.user", "a\nb"), ("snmp.port", "0")])
def test_wrong_settings(make_server, setting, wrong):
    assert setting in refusal(make_server("alice"), "set", setting, wrong)
