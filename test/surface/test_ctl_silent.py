"""musterctl and a server that says nothing: it ends with an error, but waits for a command that
takes long while the server answers others."""
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from harness import terminal
from harness.client import TIMEOUT, until
from harness.server import MUSTERCTL
from surface.test_ctl_remote import Remote, listening, told

@pytest.fixture
def server(make_server):
    return listening(make_server)


@contextlib.contextmanager
def stopped(server):
    server.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, server.process.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("args", [("status",), ("user", "add", "bob@localhost", "--password", "x")])
def test_a_server_that_is_silent(server, tmp_path, args):
    """Over the socket and over the API, of commands that read and that change."""
    remote = Remote(server, server.admin_port, tmp_path)
    with stopped(server):
        for done in server.ctl_run(*args), remote(*args):
            assert done.returncode == 3 and done.stdout == "", done
            assert "the server does not answer" in done.stderr, done
    assert server.ctl_run("status").returncode == 0 and remote("status").returncode == 0


def test_watch_goes_on(server):
    """A server that falls silent is told, and its next answer is shown."""
    with subprocess.Popen([MUSTERCTL, "--socket", server.control, "watch", "status"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stdout.readline()
        with stopped(server):
            assert "the server does not answer" in watching.stderr.readline()
        while watching.stdout.readline().strip():
            pass  # the answers before
        assert watching.stdout.readline()
        watching.terminate()


def test_watch_says_that_it_asks_again_and_outlasts_a_restart(server, tmp_path):
    """Over the socket and over the API."""
    remote = Remote(server, server.admin_port, tmp_path)
    for where in (["--socket", server.control],
                  ["--url", remote.url, "--ca", remote.ca, "--token-file", remote.token_file]):
        with subprocess.Popen([MUSTERCTL, *where, "watch", "status", "--every", "300ms"],
                              text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as watching:
            assert watching.stdout.readline()
            server.stop()
            until("it says so", lambda: "asks again in 0.3 s" in watching.stderr.readline())
            server.start()
            while watching.stdout.readline().strip():
                pass  # the answers before
            assert watching.stdout.readline() and watching.poll() is None
            watching.terminate()


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_watch_ends_where_it_is_refused_for_good(server, tmp_path):
    """The socket, its folder, the server behind the socket, the token, and the role of that."""
    def watch(*args, **options):
        return subprocess.run([MUSTERCTL, *args, "--every", "200ms"], capture_output=True,
                              text=True, timeout=TIMEOUT, check=False, **options)
    local = "--socket", server.control, "watch", "status"
    other = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    for path in [*server.control.parents][:-2]:
        path.chmod(path.stat().st_mode | 0o005)
    done = watch(*local, **other)
    assert done.returncode == 3 and done.stderr.count("cannot connect") == 1, done
    server.control.chmod(0o666)
    done = watch(*local, **other)
    assert done.returncode == 1 and done.stderr.count("may not use the control socket") == 1, done
    remote = Remote(server, server.admin_port, tmp_path)
    server.ctl("role", "set", "hooks", "webhooks.read")
    for token, code, text in (("wrong", 3, "the access token is not accepted"),
                              (server.rows("token", "add", "few", "hooks")[0]["token"], 1,
                               "needs the permission")):
        done = watch("--url", remote.url, "--ca", remote.ca, "watch", "user", "list",
                     env={**os.environ, "MUSTER_TOKEN": token})
        assert done.returncode == code and done.stderr.count(text) == 1, done
        assert "asks again" not in done.stderr


def test_a_server_that_is_silent_while_progress_is_shown(server):
    """An import asks for its progress by connections of its own."""
    with stopped(server):
        lines = terminal.shown(100, MUSTERCTL, "--socket", server.control, "import", "xep0227",
                               "/x")
    assert any("the server does not answer" in line for line in lines), lines


def test_a_queue_that_is_full(tmp_path):
    """Nobody takes connections from it."""
    path = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as waiting:
        listener.bind(path)
        listener.listen(0)
        waiting.enter_context(socket.socket(socket.AF_UNIX)).connect(path)
        done = subprocess.run([MUSTERCTL, "--socket", path, "status"], capture_output=True,
                              text=True, timeout=3 * TIMEOUT, check=False)
    assert done.returncode == 3 and "the server does not answer" in done.stderr, done


class Slow:
    """Answers the first connection when another one was asked for the status, and answered."""

    def __init__(self, listener, status, late):
        self.listener, self.status, self.late = listener, status, late
        self.asked = []
        self.serving = threading.Thread(target=self.serve)
        self.serving.start()

    def serve(self):
        first = self.listener.accept()[0]
        self.asked.append(first.recv(65536))
        other = self.listener.accept()[0]
        self.asked.append(other.recv(65536))
        other.sendall(self.status)
        other.close()
        first.sendall(self.late)
        first.close()


def test_a_command_that_takes_long(tmp_path):
    path = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        slow = Slow(listener, b'{"ok":true,"rows":[]}\n', b'{"ok":true,"text":"late","rows":[]}\n')
        done = subprocess.run([MUSTERCTL, "--socket", path, "config", "confirm"], text=True,
                              capture_output=True, timeout=3 * TIMEOUT, check=False)
        slow.serving.join()
    assert (done.returncode, done.stdout, done.stderr) == (0, "late\n", "")
    assert b"config confirm" in slow.asked[0] and b'"status"' in slow.asked[1]


def test_a_command_that_takes_long_over_the_api(server, tmp_path):
    remote = Remote(server, server.admin_port, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.data / "self-signed-cert.pem",
                            server.data / "self-signed-key.pem")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    with context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True) as listener:
        slow = Slow(listener, b"HTTP/1.1 429 Too Many Requests\r\n\r\n",
                    head + b'{"text":"late","rows":[]}')
        done = remote("config", "confirm", url=f"https://localhost:{listener.getsockname()[1]}")
        slow.serving.join()
    assert told(done) == (0, "late\n", "")
    assert b"/config-confirm " in slow.asked[0] and b"/status " in slow.asked[1]
