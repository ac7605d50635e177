"""External services (XEP-0215): STUN and TURN servers with credentials, tried on coturn."""
import base64
import hashlib
import hmac
import shutil
import socket
import subprocess
import time

import pytest

from harness import xml
from harness.client import until
from harness.server import free_ports

NS = "urn:xmpp:extdisco:2"
SERVICES = "stun:stun.example.test:3478/udp turn:[2001:db8::1]:3478/udp turns:t.test:5349/tcp"


def services(client, **attributes):
    more = "".join(f" {k}='{v}'" for k, v in attributes.items())
    return [dict(e.attrib) for e in client.result("get", f"<services xmlns='{NS}'{more}/>",
                                                  to="localhost")]


@pytest.fixture
def alice(make_server):
    host = make_server("alice", settings={"extdisco.services": SERVICES,
                                          "extdisco.turn-secret": "north wind"})
    return host.client("alice", "a")


def test_all_services_with_credentials(alice):
    stun, turn, turns = services(alice)
    assert stun == {"type": "stun", "host": "stun.example.test", "port": "3478",
                    "transport": "udp"}
    assert turn["host"] == "2001:db8::1" and turn["restricted"] == "true"
    assert turns["type"] == "turns" and turns["transport"] == "tcp"
    expires, _, who = turn["username"].partition(":")
    assert who == "alice@localhost"
    assert 11.9 * 3600 < int(expires) - time.time() < 12.1 * 3600
    mac = hmac.new(b"north wind", turn["username"].encode(), hashlib.sha1).digest()
    assert turn["password"] == base64.b64encode(mac).decode()
    assert turn["expires"].endswith("Z")


def test_selected_services(alice):
    assert [s["type"] for s in services(alice, type="turn")] == ["turn"]
    assert services(alice, type="ftp") == []


def test_credentials_of_one_service(alice):
    answer = alice.result("get", f"<credentials xmlns='{NS}'><service host='t.test' type='turns'/>"
                          "</credentials>", to="localhost")
    assert [s.get("host") for s in answer] == ["t.test"]
    assert answer[0].get("password")


@pytest.mark.parametrize("inner, condition", [
    ("", "bad-request"), ("<service host='t.test'/>", "bad-request"),
    ("<service type='turn'/>", "bad-request"),
    ("<service host='else.test' type='turn'/>", "item-not-found"),
    ("<service host='t.test' type='turns' port='1'/>", "item-not-found")])
def test_credentials_of_what_is_not_there(alice, inner, condition):
    assert alice.error("get", f"<credentials xmlns='{NS}'>{inner}</credentials>",
                       to="localhost")[0] == condition


def test_without_a_secret_there_are_no_credentials(make_server):
    host = make_server("alice", settings={"extdisco.services": "turn:t.test:3478/udp"})
    turn, = services(host.client("alice", "a"))
    assert turn["restricted"] == "true" and "password" not in turn


@pytest.mark.parametrize("value", ["turn:t.test", "ftp:t.test:1/tcp", "turn:t.test:0/udp",
                                   "turn:t.test:65536/udp", "turn:t.test:1/sctp",
                                   "turn:t t.test:1/udp", "turn:<x>:1/udp", "turn:[::1:1/udp"])
def test_settings_that_are_wrong(make_server, value):
    host = make_server()
    done = host.ctl_run("set", "extdisco.services", value)
    assert done.returncode == 2 and "allowed" in done.stderr, done


def test_the_secret_stays_secret(make_server):
    host = make_server()
    host.ctl("set", "extdisco.turn-secret", "north wind")
    assert host.rows("get", "extdisco.turn-secret")[0]["value"] == "(secret)"
    long = "south wind " * 100
    done = host.ctl_run("set", "extdisco.turn-secret", long)
    assert done.returncode == 1 and "south" not in done.stderr, done
    assert host.ctl_run("set", "extdisco.turn-secrets", "west wind").returncode == 1
    for wind in ("north wind", "south wind", "west wind"):
        assert wind not in host.log()


@pytest.mark.skipif(not shutil.which("turnserver"), reason="needs coturn")
def test_coturn_takes_the_credentials(make_server, tmp_path):
    """A TURN server with the same secret relays for whoever has them, and for nobody else."""
    port, = free_ports(1)
    turn = subprocess.Popen(
        ["turnserver", "-n", "--no-cli", "-L", "127.0.0.1", "-E", "127.0.0.1", "-p", str(port),
         "--use-auth-secret", "--static-auth-secret", "north wind", "-r", "localhost",
         "--no-tls", "--no-dtls", "--allow-loopback-peers", "--userdb", str(tmp_path / "turndb"),
         "--log-file", str(tmp_path / "turn.log"), "--simple-log",
         "--pidfile", str(tmp_path / "turn.pid")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        host = make_server("alice", settings={
            "extdisco.services": f"turn:127.0.0.1:{port}/udp turn:127.0.0.1:{port}/tcp",
            "extdisco.turn-secret": "north wind"})
        service = services(host.client("alice", "a"))[0]

        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until("a TURN server that listens", listens)

        def relay(password):
            done = subprocess.run(
                ["turnutils_uclient", "-y", "-t", "-T", "-n", "1", "-p", str(port),
                 "-u", service["username"], "-w", password, "127.0.0.1"],
                capture_output=True, text=True, timeout=30, check=False)
            return done.returncode, done.stdout

        code, text = relay(service["password"])
        assert code == 0 and "Total lost packets 0" in text, text
        code, text = relay("another")
        assert code != 0 or "401" in text or "error" in text, text
    finally:
        turn.terminate()
        turn.wait(10)


def test_an_answer_is_for_users_only(make_server):
    host = make_server(component=True, settings={"extdisco.services": SERVICES})
    from harness.component import Component
    host.ctl("component", "add", "gw.test", "--secret", "a rather long secret")
    gateway = Component(host, "gw.test", "a rather long secret")
    gateway.send(f"<iq type='get' id='x' from='gw.test' to='localhost'><services xmlns='{NS}'/>"
                 "</iq>")
    assert xml.condition(gateway.expect("<iq type='error' id='x'/>")) == "forbidden"
