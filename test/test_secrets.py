"""Secrets at rest: tokens of devices and secrets of components and settings lie sealed in the
database, under a key of the node that is a file of its own."""
import pytest

from muster.component import Component
from muster.server import refusal
from test_fast import Device
from test_secret_files import CASES, DAMAGE, alarms

PUSH = "push.example.test"
COMPONENT = "a rather long planted secret"
TURN = "planted north wind"


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
                    ("set", "extdisco.turn-secret", "another")):
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


def test_a_lost_key_is_given_up(planted):
    host, device = planted
    assert "there is nothing to give up" in refusal(host, "secrets", "reset")
    host.stop()
    (host.data / "secrets.key").unlink()
    host.start()
    host.ctl("secrets", "reset")
    host.restart()
    assert "secrets.key" not in alarms(host)
    assert "failure" in device.again().tag
    assert "success" in device.first().tag
    assert "success" in device.again().tag
    host.ctl("component", "add", PUSH, "--secret", COMPONENT)
    Component(host, PUSH, COMPONENT)
