"""./demo: what it prints works."""
import http.client
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess

import pytest

from harness import nodes
from harness.client import TIMEOUT, Client, until
from harness.rows import MUSTERD
from harness.server import MUSTERCTL
from surface.test_console_login import Browser

ROOT = pathlib.Path(__file__).parents[2]
OFFSETS = 0, 1, 58, 59, 125, 221, 2555  # of its listeners

pytestmark = pytest.mark.skipif(nodes.COUNT > 1, reason="it is one node")


def free_base():
    """A port such that those of all listeners are free."""
    while True:
        base = random.randrange(10000, 29000)
        try:
            for offset in OFFSETS:
                socket.create_server(("127.0.0.1", base + offset)).close()
            return base
        except OSError:
            continue


@pytest.fixture
def demo(tmp_path):
    """A copy of it, of the programs that are tested: its folder, its port and what it has printed
    when it was ready."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "build/release").mkdir(parents=True)
    shutil.copy(ROOT / "demo", tmp_path)
    (tmp_path / "tools/install.sh").write_text("install_packages() { :; }\n")
    (tmp_path / "Makefile").write_text("all: ;\n")
    for name, program in ("musterd", MUSTERD), ("musterctl", MUSTERCTL):
        (tmp_path / "build/release" / name).symlink_to(pathlib.Path(program).resolve())
    port, said = free_base(), tmp_path / "said"
    with said.open("w") as out:
        process = subprocess.Popen([tmp_path / "demo"], stdout=out, stderr=out,
                                   env=os.environ | {"MUSTER_PORT": str(port)})
    try:
        text = until("the demo", lambda: process.poll() is not None or "Ctrl-C" in said.read_text()
                     and said.read_text())
        assert process.poll() is None, said.read_text()
        yield tmp_path, port, text
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0, said.read_text()
    finally:
        process.kill()


def says_how_to_federate(folder, text):
    """It speaks with no other server; the page that it names says what changes that."""
    page = re.search(r"speaks with no other server; (\S+\.md) says how to change that", text)[1]
    control = folder / "demo-data/control.sock"
    done = subprocess.run([MUSTERCTL, "--socket", control, "get", "s2s.policy"],
                          capture_output=True, text=True, check=True, timeout=TIMEOUT)
    assert "off" in done.stdout
    said = (ROOT / page).read_text()
    assert "s2s.policy" in said and "listen" in said and "_xmpp-server._tcp" in said


def test_what_the_demo_prints_works(demo):
    folder, port, text = demo
    place = re.search(r"Web console: http://localhost:(\d+)(/admin/)\n +operator +password (\S+)\n",
                      text)
    connection = http.client.HTTPConnection("127.0.0.1", int(place[1]), timeout=TIMEOUT)
    connection.request("GET", place[2])
    assert connection.getresponse().status == 200
    connection.close()
    browser = Browser(int(place[1]), host=f"localhost:{place[1]}")
    answer = browser.login("operator", place[3])
    assert (answer.status, answer.json["role"]) == (201, "administrator"), answer.text
    assert browser("GET", "/status").json["node"] == "demo"
    # the request for curl, with the token that it says where to find
    assert "$(cat demo-data/token)" in text
    token = (folder / "demo-data/token").read_text().strip()
    assert Browser(int(place[1]))("GET", "/users", Authorization=f"Bearer {token}").status == 200
    for name, password in re.findall(r"^ +(alice|bob)@localhost +password (\S+)$", text, re.M):
        client = Client(("127.0.0.1", port), "localhost", name, password)
        client.open()
        client.login("PLAIN")
        client.sock.close()
    says_how_to_federate(folder, text)
