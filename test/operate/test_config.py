"""The node file, its errors, the command line of musterd, and reloading on SIGHUP."""
import contextlib
import json
import re
import signal
import socket
import subprocess

import pytest

from harness.client import until
from harness.server import MUSTERD, Server, free_ports
from operate.test_alarm_targets import Journal

GOOD = """\
node: im1
node_id: 1
cluster_id: standalone
domains: [localhost]
data: data
database: sqlite
control: control.sock
workers: 1
worker_pinning: off
listen:
  c2s: ["127.0.0.1:C2S"]
  c2s_tls: ["127.0.0.1:TLS"]
log: {level: info, format: logfmt}
settings:
  sm.ack-every: 5
"""


def with_ports(text):
    c2s, tls = free_ports(2)
    return text.replace("C2S", str(c2s)).replace("TLS", str(tls))


@pytest.fixture
def node_file(tmp_path):
    path = tmp_path / "muster.yaml"
    path.write_text(with_ports(GOOD))
    return path


def run(*args):
    return subprocess.run([MUSTERD, *args], capture_output=True, text=True, check=False,
                          timeout=20, cwd="/")


def check(path):
    return run("--config", path, "--check")


def test_version():
    done = run("--version")
    assert done.returncode == 0 and re.search(r"\d+\.\d+\.\d+", done.stdout)


def test_help():
    done = run("--help")
    assert done.returncode == 0
    for option in ("--config", "--check", "--version"):
        assert option in done.stdout


@pytest.mark.parametrize("args", [("--nonsense",), ("--config",), ("extra",)])
def test_usage(args):
    done = run(*args)
    assert done.returncode == 2 and done.stderr.startswith(f"musterd: {args[0]}: ")


def test_missing_file(tmp_path):
    done = run("--config", tmp_path / "none.yaml")
    assert done.returncode == 2 and "none.yaml" in done.stderr
    assert done.stderr.endswith("Name the node file with --config FILE.\n")


def test_good_file(node_file):
    """Checking touches nothing: no data folder, no socket."""
    done = check(node_file)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in node_file.parent.iterdir()} == {"muster.yaml"}


WRONG = [  # what is replaced, by what, the key that is named, what was found
    ("node: im1", "node: ''", "node", ""),
    ("node: im1", "node: [a]", "node", ""),
    ("node: im1", "node: 'a b'", "node", "a b"),
    ("node_id: 1", "node_id: 0", "node_id", "0"),
    ("node_id: 1", "node_id: one", "node_id", "one"),
    ("cluster_id: standalone", "cluster_id: 'no spaces'", "cluster_id", "no spaces"),
    ("domains: [localhost]", "domains: []", "domains", ""),
    ("domains: [localhost]", "domains: ['@']", "domains", "…"),
    ("domains: [localhost]", "domains: {a: b}", "domains", ""),
    ("domains: [localhost]", "other: 1", "domains", ""),
    ("data: data", "data: []", "data", ""),
    ("database: sqlite", "database: oracle", "database", "oracle"),
    ("control: control.sock", "control: {a: 1}", "control", ""),
    ("workers: 1", "workers: 0", "workers", "0"),
    ("workers: 1", "workers: 65", "workers", "65"),
    ("workers: 1", "workers: some", "workers", "some"),
    ("worker_pinning: off", "worker_pinning: maybe", "worker_pinning", "maybe"),
    ("c2s: [", "c2s: [nowhere, ", "listen.c2s", "nowhere"),
    ("c2s: [", "c2s: ['127.0.0.1:70000', ", "listen.c2s", "70000"),
    ("c2s_tls: [", "c2s_tls: [{address: '127.0.0.1:1', proxy: perhaps}, ", "listen.c2s_tls",
     "perhaps"),
    ("c2s_tls: [", "c2s_tls: [{port: 1}, ", "listen.c2s_tls", ""),
    ("  c2s:", "  xmpp: 1\n  c2s:", "listen.xmpp", ""),
    ("log: {level: info", "log: {level: loud", "log.level", "loud"),
    ("format: logfmt", "format: xml", "log.format", "xml"),
    ("log: {", "tls: {certificate: [a], key: b}\nlog: {", "tls.certificate", ""),
    ("log: {", "tls: {certificate: a.pem}\nlog: {", "tls.key", ""),
    ("log: {", "tls: {domains: {other.example: {certificate: a, key: b}}}\nlog: {",
     "tls.domains", "other.example"),
    ("sm.ack-every: 5", "sm.ack-every: 65", "sm.ack-every", "65"),
    ("sm.ack-every: 5", "sm.ack-every: often", "sm.ack-every", "often"),
    ("sm.ack-every: 5", "sm.ack-never: 5", "sm.ack-never", ""),
    ("sm.ack-every: 5", "sm.ack-every: 5\n  sm.ack-every: 6", "sm.ack-every", ""),
    ("sm.ack-every: 5", "c2s.tls-required: 17", "c2s.tls-required", "17"),
    ("node_id: 1", "node_id: 1\nnode_id: 2", "node_id", ""),
    ("node_id: 1", "node_id: 1\ncolour: red", "colour", ""),
]


@pytest.mark.parametrize("old, new, key, found", WRONG,
                         ids=[f"{w[2]}-{i}" for i, w in enumerate(WRONG)])
def test_wrong_value(node_file, old, new, key, found):
    """FILE:LINE: key 'KEY': found ..., allowed ...; nothing starts."""
    assert old in GOOD
    text = with_ports(GOOD.replace(old, new, 1))
    node_file.write_text(text)
    for done in (check(node_file), run("--config", node_file)):
        assert done.returncode == 2, done.stderr
        line = next(x for x in done.stderr.splitlines() if f"{key.rpartition('.')[2]}" in x)
        at = re.match(rf"(?:.*\s)?{re.escape(str(node_file))}:(\d+): .*found (.*)allowed", line)
        assert at, line
        assert found in at.group(2)
        if "other:" not in new:
            name = key.rpartition(".")[2]
            assert 1 <= int(at.group(1)) <= text.count("\n") + 1, name
    assert not (node_file.parent / "data").exists()


def test_all_errors_are_told(node_file):
    text = node_file.read_text().replace("node_id: 1", "node_id: x").replace(
        "workers: 1", "workers: y")
    node_file.write_text(text)
    done = check(node_file)
    assert "node_id" in done.stderr and "workers" in done.stderr


@pytest.mark.parametrize("text", ["", "[a, b]", "node: [", "\t- x", "\0", "a: &a [*a]",
                                  "x" * 200000],
                         ids=["empty", "list", "cut short", "tab", "NUL", "loop", "long"])
def test_no_node_file_at_all(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    done = check(path)
    assert done.returncode == 2 and "bad.yaml" in done.stderr


def test_taken_port(node_file):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = int(re.search(r"c2s: .*:(\d+)", node_file.read_text()).group(1))
        other.bind(("127.0.0.1", port))
        other.listen()
        done = run("--config", node_file)
    assert done.returncode != 0 and str(port) in done.stderr


def test_certificate_that_is_none(node_file):
    (node_file.parent / "x.pem").write_text("nothing")
    node_file.write_text(node_file.read_text() + "tls: {certificate: x.pem, key: x.pem}\n")
    done = run("--config", node_file)
    assert done.returncode != 0 and "x.pem" in done.stderr


def test_second_server_on_the_same_data(server, tmp_path):
    other = Server(tmp_path / "other")
    other.conf["data"] = str(server.data)
    other.start(ready=False)
    assert other.wait_exit(20) != 0
    assert str(server.data) in other.log()
    server.login("alice")


# --- start, SIGHUP, SIGTERM ---


def test_self_signed_pair_is_made_once(server):
    files = {p: p.read_bytes() for p in server.data.glob("self-signed*")}
    assert len(files) == 2
    assert all(p.stat().st_mode & 0o077 == 0 for p in files if b"PRIVATE" in files[p])
    server.restart()
    assert {p: p.read_bytes() for p in files} == files


def test_start_is_fast(make_server):
    """Little work, however busy the machine is; docs/performance.md has the time."""
    server = make_server()
    server.restart()
    assert server.cpu_seconds() < (1 if "build/release" in str(MUSTERD) else 10)


def test_a_first_start_is_short_in_the_log(make_server):
    lines = make_server(start=False).start().log().splitlines()
    assert 0 < sum("event=store.migrated" in line for line in lines) <= 2
    assert len(lines) < 6, lines


def test_reload_changes_settings_of_the_file(make_server):
    server = make_server("alice", settings={"sm.ack-every": "3"})
    alice = server.client("alice")
    server.settings["sm.ack-every"] = "9"
    server.write()
    server.signal(signal.SIGHUP)
    until("new value", lambda: str(server.rows("get", "sm.ack-every")[0]["value"]) == "9")
    alice.ping()


def test_reload_of_a_wrong_file_changes_nothing(make_server):
    server = make_server("alice", settings={"sm.ack-every": "3"})
    alice = server.client("alice")
    server.settings["sm.ack-every"] = "99"
    server.write()
    server.signal(signal.SIGHUP)
    server.wait_log(r"sm\.ack-every.*99")
    assert str(server.rows("get", "sm.ack-every")[0]["value"]) == "3"
    alice.ping()


def test_reload_says_what_needs_a_restart(server, alice):
    server.conf["node_id"] = 2
    server.write()
    server.signal(signal.SIGHUP)
    server.wait_log("node_id")
    alice.ping()


def test_reload_under_load(server, alice, bob):
    for i in range(10):
        for n in range(20):
            alice.send(f"<message to='{bob}' type='chat'><body>{i}.{n}</body></message>")
        server.signal(signal.SIGHUP)
    for i in range(10):
        for n in range(20):
            bob.expect_next(f"<message><body>{i}.{n}</body></message>")


def test_stop_with_hanging_clients(server):
    """In order, whatever clients do: a server that takes too long leaves with another exit code."""
    silent = [socket.create_connection(("127.0.0.1", server.tls_port)) for _ in range(5)]
    bob = server.client("bob")
    for _ in range(50):
        bob.send(f"<message to='{bob}'><body>{'x' * 100000}</body></message>")
    server.stop()
    for sock in silent:
        sock.close()


def test_start_after_stop_is_clean(server):
    for _ in range(3):
        server.restart()
    server.login("alice").ping()


def test_json_log(make_server):
    server = make_server("alice", conf={"log": {"format": "json", "level": "debug"}})
    server.login("alice")
    lines = [json.loads(line) for line in server.log().splitlines()]
    assert lines and all("event" in line for line in lines)


@pytest.mark.parametrize("name,value", [
    ("http.base-url", "chat.example.org"), ("http.cors-origins", "chat.example.org"),
    ("http.trusted-proxies", "localhost"), ("bosh.path", "http-bind"), ("websocket.path", "/a b"),
    ("upload.base-url", "ftp://example.org"), ("upload.types", "image"),
    ("guest.domains", "Not.Lower"),
])
def test_texts_have_their_form(server, name, value):
    done = server.ctl_run("set", name, value)
    assert done.returncode == 2 and f'{name}: found "{value}", allowed' in done.stderr


def test_lines_for_the_journal_begin_with_their_priority(make_server, monkeypatch):
    server = make_server(start=False)
    server.write()
    server.log_path.touch()
    found = server.log_path.stat()
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    server.start()
    server.conf["log"] = {"level": "loud"}
    server.write()
    assert server.ctl_run("server", "reload").returncode == 2
    lines = server.log().splitlines()
    marks = {"error": "<3>", "warn": "<4>", "info": "<6>", "debug": "<7>"}
    for line in lines:
        level = re.search(r" level=(\w+) ", line).group(1)
        assert line.startswith(f"{marks[level]}time="), line
    assert {line[:3] for line in lines} >= {"<3>", "<6>"}
    server.conf["log"] = {"level": "info"}
    server.conf["workers"] = "many"
    server.stop()
    server.start(ready=False)
    assert server.wait_exit(20) == 2
    assert server.log().splitlines()[-1].startswith(f"<3>{server.file}:")


def journal_lines(journal, wanted):
    """The lines that journald gets until one fits."""
    found = []

    def look():
        found.append(journal.next())
        return wanted(found[-1])
    until("the line", look)
    return found


def test_the_journal_gets_lines_with_their_fields(make_server, monkeypatch, tmp_path):
    """What strangers say stays in its field. Who takes nothing any more keeps nobody waiting, and
    lines are on standard error then."""
    path = tmp_path / "journal"
    server = make_server(start=False, settings={"journald.socket": str(path)})
    server.write()
    server.log_path.touch()
    known = server.log_path.stat()
    monkeypatch.setenv("JOURNAL_STREAM", f"{known.st_dev}:{known.st_ino}")
    with contextlib.closing(Journal(path)) as journal:
        server.start()
        server.add_user("alice", "secret")
        before = server.log()
        odd = "alice\u2028PRIORITY=0"
        guess = server.connect()
        assert guess.authenticate(name=odd, password="not it") is not None
        guess.close()
        lines = journal_lines(journal, lambda f: f.get("MUSTER_EVENT") == "auth.fail")
        fail = lines[-1]
        assert (fail["PRIORITY"], fail["MUSTER_KIND"], fail["SYSLOG_IDENTIFIER"]) == \
            ("4", "log", "muster"), fail
        assert fail["MESSAGE"].startswith("time=") and "event=auth.fail" in fail["MESSAGE"]
        assert fail["MUSTER_AREA"] == "c2s", fail
        assert fail["MUSTER_PEER"].split(":")[0] == "127.0.0.1", fail
        assert "not it" not in str(lines) and server.log() == before
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, \
                contextlib.suppress(BlockingIOError):
            other.setblocking(False)
            while True:
                other.sendto(b"MESSAGE=much\n", str(path))
        server.ctl("set", "sm.ack-every", "7")
        assert re.search(r"^<6>time=.* args=\"setting=sm.ack-every value=7\"", server.log(), re.M)
    path.unlink()
    server.ctl("set", "sm.ack-every", "8")
    assert re.search(r"^<6>time=.* args=\"setting=sm.ack-every value=8\"", server.log(), re.M)


def test_no_priorities_elsewhere(make_server, monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    server = make_server()
    assert server.log().startswith("time=")


@pytest.mark.parametrize("command", [("set",), ("config", "edit")])
def test_the_value_of_a_setting_is_read_from_standard_input(server, command):
    server.ctl(*command, "mail.password", "--stdin", stdin="s3cret of the relay\n")
    if command != ("set",):
        server.ctl("config", "apply")
    secret = server.rows("config", "show", "mail.password")[0]
    assert secret["value"] == "(secret)" and secret["source"] == "database"
    server.ctl("set", "mail.from", "--stdin", stdin="muster@example.test\n")
    assert server.rows("config", "show", "mail.from")[0]["value"] == "muster@example.test"
    assert "unknown option --stdin" in server.ctl_run("user", "list", "--stdin").stderr
