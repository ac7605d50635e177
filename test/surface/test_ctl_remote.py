"""musterctl over the API of a server on another machine: --url, --token-file, --ca."""
import json
import os
import socket
import ssl
import subprocess
import threading

import pytest

from harness.client import TIMEOUT
from harness.rows import part
from harness.server import MUSTERCTL, free_ports


class Remote:
    """What musterctl is told on the other machine."""

    def __init__(self, server, port, folder):
        self.url = f"https://localhost:{port}/"
        self.token = server.rows("token", "add", "far", "administrator")[0]["token"]
        self.ca = server.data / "self-signed-cert.pem"
        self.token_file = folder / "token"
        self.token_file.write_text(self.token + "\n")
        self.token_file.chmod(0o600)

    def __call__(self, *args, url=None, ca=True, token=True, env=None, stdin=None):
        own = ["--url", url or self.url]
        own += ["--ca", self.ca] if ca else []
        own += ["--token-file", self.token_file] if token else []
        return run(*own, *args, env=env, stdin=stdin)

    def start(self, *args):
        """As Server.ctl_start()."""
        return subprocess.Popen(
            [MUSTERCTL, "--url", self.url, "--ca", self.ca, "--token-file", self.token_file, *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*args, env=None, stdin=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    return subprocess.run([MUSTERCTL, *map(str, args)], input=stdin, capture_output=True, text=True,
                          timeout=3 * TIMEOUT, check=False, env={**clean, **(env or {})})


def listening(make_server):
    """A server with an API over TLS."""
    port = free_ports(1)[0]
    server = make_server(start=False, why="one client sends many requests", settings={
        "api.requests-per-token": "none", "api.requests-per-address": "none"})
    server.conf["listen"]["https_admin"] = [f"127.0.0.1:{port}"]
    server.start()
    server.admin_port = port
    return server


@pytest.fixture
def server(make_server):
    return listening(make_server)


@pytest.fixture
def remote(server, tmp_path):
    return Remote(server, server.admin_port, tmp_path)


def told(done):
    return done.returncode, done.stdout, done.stderr


def compared(server, remote, name):
    """Whether it says the same from afar, or may only be asked at the host; None: what it says is
    of the moment, as figures are, which also look the same before and after by chance."""
    for _ in range(5):
        before, far, after = (told(run(*name.split())) for run in (
            server.ctl_run, remote, server.ctl_run))
        if before == after and (far == before or "reason is missing" in far[2]):
            return True
    return False if before == after else None


def test_the_same_as_over_the_socket(server, remote):
    """Tables, JSON, CSV, refusals and exit codes, of commands that read."""
    server.add_user("alice", "secret")
    same = 0
    for name, row in sorted(part("commands").items()):
        if row["x-effect"] != "reads" or row["x-access"] == "local":
            continue
        if name in ("doctor", "status"):  # how much memory it shares depends on who else runs
            continue
        if row["properties"]["args"]["required"]:
            continue
        answer = compared(server, remote, name)
        assert answer is not False, name
        same += answer is True
    assert same > 20
    for args in (["user", "list", "--json"], ["user", "list", "--csv"], ["get", "c2s.tls-required"],
                 ["user", "show", "nobody@localhost"],
                 ["user", "show", "alice@localhost", "--json"],
                 ["user", "show", "@"], ["user", "show", "@", "--json"], ["user", "shwo"],
                 ["imtest"], ["room", "list", "--domain", "nowhere.test"]):
        assert told(remote(*args)) == told(server.ctl_run(*args)), args
    done = remote("doctor", "--json")
    assert done.returncode == 1
    assert any(row["state"] == "error" for row in json.loads(done.stdout)["rows"])


def test_lines_of_a_file_in_pages(server, remote):
    """Pages follow each other, unless the number of lines is given."""
    room = "cave@conference.localhost"
    server.add_user("alice", "secret")
    server.ctl("room", "create", room, "alice@localhost")
    here, far = server.ctl_run("room", "download", room), remote(
        "room", "download", room, "--reason", "moved away")
    assert told(far) == told(here) and far.stdout.count("\n") == 3
    first = remote("room", "download", room, "--reason", "moved away", "--limit", "2", "--json")
    rest = remote("room", "download", room, "--reason", "moved away", "--after",
                  json.loads(first.stdout)["next"])
    lines = [row["line"] for row in json.loads(first.stdout)["rows"]]
    assert "\n".join(lines) + "\n" + rest.stdout == here.stdout


def test_changes_are_made_and_what_destroys_asks(server, remote):
    assert remote("user", "add", "bob@localhost", "--stdin", stdin="secret\n").returncode == 0
    server.login("bob", password="secret")
    assert remote("set", "sm.ack-every", "7").returncode == 0
    assert server.rows("get", "sm.ack-every")[0]["value"] == "7"
    assert remote("user", "del", "bob@localhost", "--yes").returncode == 0
    done = remote("backup", "verify", "/nowhere")
    assert done.returncode == 1 and "on the machine of the server" in done.stderr


def test_from_the_environment(server, remote):
    env = {"MUSTER_URL": remote.url, "MUSTER_TOKEN": remote.token, "MUSTER_CA": str(remote.ca)}
    done = run("user", "list", env=env)
    assert told(done) == (0, "there are none\n", "")
    # a socket that is named comes first
    assert run("--socket", "/nowhere/s", "status", env=env).returncode == 3


@pytest.mark.parametrize("change, code, text", [
    ({"url": "http://localhost/"}, 2, "allowed https://HOST[:PORT]/"),
    ({"url": "https://"}, 2, "allowed https://HOST[:PORT]/"),
    ({"url": "https://localhost:1/"}, 3, "cannot connect: Connection refused"),
    ({"url": "https://nowhere.invalid/"}, 3, "nowhere.invalid: "),
    ({"ca": False}, 3, "certificate was not accepted: self-signed certificate"),
    ({"token": False}, 2, "found no access token: give --token-file FILE"),
    ({"token": False, "env": {"MUSTER_TOKEN": "a b"}}, 2, "found no access token"),
    ({"token": False, "env": {"MUSTER_TOKEN": "wrong"}}, 3, "the access token is not accepted"),
])
def test_what_is_wrong_is_said(remote, change, code, text):
    done = remote("status", **change)
    assert done.returncode == code and text in done.stderr, done
    assert done.stdout == "" and remote.token not in done.stderr


def test_the_certificate_names_the_host(remote):
    """It leads to a trusted one, but it is for another."""
    done = remote("status", url=remote.url.replace("localhost", "127.0.0.1"))
    assert done.returncode == 3 and "its certificate is for other names" in done.stderr


def test_files_that_cannot_be_used(remote, tmp_path):
    remote.token_file.chmod(0o644)
    done = remote("status")
    assert done.returncode == 2 and f"run `chmod 600 {remote.token_file}`" in done.stderr
    remote.token_file.unlink()
    assert "No such file" in remote("status").stderr
    remote.ca = tmp_path / "none.pem"
    assert remote("status", token=False, env={"MUSTER_TOKEN": "a"}).returncode == 2
    assert run("--url", remote.url, "--socket", "/x", "status").returncode == 2


@pytest.mark.parametrize("answer, text", [
    (b"", "without a whole answer"),
    (b"nonsense\r\n\r\n", "without a whole answer"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "without a whole answer"),
    (b"HTTP/1.1 200 OK\r\n\r\n{}", "found status 200, expected an answer of the API"),
    (b"HTTP/1.1 302 Found\r\nLocation: https://evil.test/\r\n\r\n", "found status 302"),
    (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "found status 502, expected"),
    (b"HTTP/1.1 403 Forbidden\r\n\r\n{\"error\": 1}", "found status 403"),
])
def test_another_server(remote, server, answer, text):
    """One that is not ours: nothing that it says is taken for an answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.data / "self-signed-cert.pem",
                            server.data / "self-signed-key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            with context.wrap_socket(listener.accept()[0], server_side=True) as peer:
                peer.recv(65536)
                peer.sendall(answer) if answer else None
        serving = threading.Thread(target=serve)
        serving.start()
        done = remote("status", url=f"https://localhost:{listener.getsockname()[1]}")
        serving.join()
    assert done.returncode == 3 and text in done.stderr and done.stdout == "", done
