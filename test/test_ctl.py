"""musterctl: every command, as text and as JSON, its exit codes and its completion."""
import json
import os
import pty
import select
import shlex
import socket
import subprocess
import time

import pytest

from muster.client import TIMEOUT, until
from muster.muc import Room
from muster.server import MUSTERCTL

OK, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3


def code(server, *args, stdin=None):
    return server.ctl_run(*args, stdin=stdin).returncode


def jids(rows):
    return {row["jid"] for row in rows}


# --- users ---


def test_user_add_and_list(make_server):
    server = make_server(domains=["one.example", "two.example"])
    server.ctl("user", "add", "dora@one.example", "--password", "p")
    server.ctl("user", "add", "emil@two.example", "--stdin", stdin="from stdin\n")
    assert jids(server.rows("user", "list")) == {"dora@one.example", "emil@two.example"}
    assert jids(server.rows("user", "list", "--domain", "two.example")) == {"emil@two.example"}
    server.login("emil", domain="two.example", password="from stdin")


@pytest.mark.parametrize("args, error", [
    (("user", "add", "alice@localhost", "--password", "p"), "exists"),
    (("user", "add", "alice@elsewhere.example", "--password", "p"), None),
    (("user", "add", "@localhost", "--password", "p"), None),
    (("user", "add", "dora@localhost/resource", "--password", "p"), None),
    (("user", "add", "dora@localhost", "--password", ""), None),
    (("user", "del", "nobody@localhost"), None),
    (("user", "password", "nobody@localhost", "--password", "p"), None),
    (("session", "list", "--user", "nobody@localhost"), None),
    (("device", "list", "nobody@localhost"), None),
    (("session", "kick", "alice@localhost/nowhere"), None),
    (("get", "no.such-setting"), None),
    (("set", "no.such-setting", "1"), None),
    (("log", "trace", "no-such-area", "on"), None),
])
def test_what_cannot_be_done(server, args, error):
    done = server.ctl_run("--json", *args)
    assert done.returncode == FAILED
    answer = json.loads(done.stdout)
    assert answer["ok"] is False and answer["error"] and answer["text"]
    assert error is None or answer["error"] == error
    done = server.ctl_run(*args)
    assert done.returncode == FAILED and answer["text"] in done.stderr


def test_names_are_prepared(server):
    assert code(server, "user", "add", "ALICE@LOCALHOST", "--password", "p") == FAILED


def test_user_password_ends_the_sessions(server, alice):
    server.ctl("user", "password", "alice@localhost", "--password", "new")
    alice.expect_closed()
    assert server.connect("alice").authenticate() == "not-authorized"
    server.login("alice", password="new")


def test_user_del_takes_everything_along(server):
    """Sessions, roster entries of others, messages: a namesake starts with nothing."""
    server.befriend("alice", "bob")
    bob, alice = server.client("bob"), server.client("alice")
    bob.result("set", "<vCard xmlns='vcard-temp'><FN>Bob</FN></vCard>")
    server.ctl("user", "del", "bob@localhost")
    bob.expect_closed()
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    until("end of the subscription", lambda: "both" not in [
        i.get("subscription") for i in alice.result("get", "<query xmlns='jabber:iq:roster'/>")])
    assert server.connect("bob").authenticate() == "not-authorized"
    assert "bob@localhost" not in jids(server.rows("user", "list"))
    alice.send("<message to='bob@localhost' type='chat' id='m'><body>hi</body></message>")
    alice.expect_error("service-unavailable", template="<message type='error' id='m'/>")
    server.add_user("bob")
    bob = server.client("bob")
    assert len(bob.result("get", "<query xmlns='jabber:iq:roster'/>")) == 0
    bob.expect_nothing("<message/>")


def test_user_del_while_messages_wait(server, alice):
    alice.send("<message to='bob@localhost' type='chat'><body>old</body></message>")
    alice.ping()
    server.ctl("user", "del", "bob@localhost")
    server.add_user("bob")
    server.client("bob").expect_nothing("<message/>")


def at_a_terminal(command, answers):
    """Runs the command at a terminal and types an answer at each prompt; all that was shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], [str(word) for word in command])
    shown = ""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], TIMEOUT)[0]:
            break
        try:
            shown += os.read(terminal, 4096).decode()
        except OSError:
            break  # the other end of a terminal is gone: EIO
        if answers and shown.endswith(": "):
            os.write(terminal, answers.pop(0).encode() + b"\n")
            shown += "\n"
    os.close(terminal)
    return shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_password_prompt(server):
    """Asked twice, shown never."""
    command = [MUSTERCTL, "--socket", server.control, "user", "add", "dora@localhost"]
    shown, code_ = at_a_terminal(command, ["s3cret dora", "s3cret dora"])
    assert code_ == OK and "s3cret" not in shown
    server.login("dora", password="s3cret dora")
    command[-1] = "emil@localhost"
    shown, code_ = at_a_terminal(command, ["one", "other"])
    assert code_ != OK
    assert "emil@localhost" not in jids(server.rows("user", "list"))


# --- sessions, status ---


def test_session_list_and_kick(server, alice, bob):
    rows = {row["jid"]: row for row in server.rows("session", "list")}
    assert set(rows) == {"alice@localhost/a", "bob@localhost/b"}
    assert "127.0.0.1" in str(rows["alice@localhost/a"])
    server.ctl("session", "kick", "alice@localhost/a")
    alice.expect_closed()
    until("end of the session", lambda: jids(server.rows("session", "list"))
          == {"bob@localhost/b"})
    bob.ping()


def test_status(server, alice):
    text = server.ctl_run("status")
    assert text.returncode == OK and "localhost" in text.stdout
    answer = server.ctl("status")
    assert answer["ok"] is True and answer["rows"]
    assert "localhost" in json.dumps(answer)


def test_metrics(server, alice):
    rows = {row["name"]: row["value"] for row in server.rows("metrics")}
    assert rows and all(name.startswith("muster_") for name in rows)
    text = server.ctl_run("metrics", "--format", "prometheus").stdout
    assert "# TYPE muster_" in text


# --- settings ---


def test_set_get_show(server):
    server.ctl("set", "sm.ack-every", "9")
    assert server.rows("get", "sm.ack-every")[0]["value"] in ("9", 9)
    row = next(r for r in server.rows("config", "show") if r["name"] == "sm.ack-every")
    assert row["value"] in ("9", 9) and str(row["default"]) == "5"


def test_settings_survive_kill(server):
    server.ctl("set", "sm.ack-every", "9")
    server.kill()
    server.start()
    assert server.rows("get", "sm.ack-every")[0]["value"] in ("9", 9)
    server.ctl("set", "sm.ack-every", "--default")
    assert server.rows("get", "sm.ack-every")[0]["value"] in ("5", 5)


def test_settings_apply_at_once(server, alice):
    for i in range(2):
        alice.result("set", "<query xmlns='jabber:iq:roster'>"
                            f"<item jid='u{i}@localhost'/></query>")
    server.ctl("set", "roster.contacts-max", "2")
    condition, _ = alice.error("set", "<query xmlns='jabber:iq:roster'>"
                                      "<item jid='u2@localhost'/></query>")
    assert condition == "policy-violation"


def test_locked_settings(make_server):
    server = make_server(settings={"sm.ack-every": "7"})
    done = server.ctl_run("set", "sm.ack-every", "9")
    assert done.returncode == FAILED and "sm.ack-every" in done.stderr
    row = next(r for r in server.rows("config", "show") if r["name"] == "sm.ack-every")
    assert str(row["value"]) == "7" and row["locked"] is True


def test_one_part_goes_back_to_its_defaults(make_server):
    server = make_server(settings={"sm.queue-max": "777"})
    server.ctl("set", "sm.ack-every", "1")
    server.ctl("set", "im.durable-ack", "off")
    done = server.ctl_run("config", "reset", "sm")
    assert done.returncode == OK and "fixed by the node file: 1" in done.stdout
    changed = {row["name"] for row in server.rows("config", "show", "--changed")}
    assert "sm.ack-every" not in changed and changed >= {"sm.queue-max", "im.durable-ack"}
    server.kill()
    server.start()
    rows = {row["name"]: row for row in server.rows("config", "show")}
    assert rows["sm.ack-every"]["source"] == "default"
    assert rows["sm.queue-max"]["value"] == "777"
    assert rows["im.durable-ack"]["value"] == "off"
    for nothing in ("sm.", "s", "sm.ack-every", "no-such-part"):
        done = server.ctl_run("config", "reset", nothing)
        assert done.returncode == FAILED and "no setting" in done.stderr


def test_every_setting_refuses_nonsense_and_names_itself(server):
    for row in server.rows("config", "show"):
        if row.get("locked") or row.get("type") == "string":
            continue
        done = server.ctl_run("set", row["name"], "~nonsense~")
        if done.returncode == OK:
            assert "string" in str(row) or "text" in str(row), row
        else:
            assert done.returncode == FAILED and row["name"] in done.stderr
            assert "~nonsense~" in done.stderr


def test_config_check(server):
    assert code(server, "config", "check", str(server.file)) == OK
    bad = server.folder / "bad.yaml"
    bad.write_text("node: x\nnonsense: 1\n")
    done = server.ctl_run("config", "check", str(bad))
    assert done.returncode == FAILED and "nonsense" in done.stderr


# --- log ---


def test_log_trace(server):
    area = server.rows("log", "areas")[0]
    name = area.get("area") or area.get("name")
    server.ctl("log", "trace", name, "on")
    server.ctl("log", "trace", name, "off")
    assert code(server, "log", "trace", name, "perhaps") in (FAILED, USAGE)


def lines_of(server, event):
    """Its lines, as fields."""
    return [dict(part.partition("=")[::2] for part in shlex.split(line))
            for line in server.log().splitlines() if f" event={event} " in line]


def test_trace_tells_what_became_of_a_message(server):
    server.ctl("log", "trace", "message", "on")
    alice, bob = server.login("alice", "a").available(), server.login("bob", "b").available()
    for ident, to, inner in (("m1", bob.bare, "<body>1</body>"),
                             ("m2", "nobody@localhost", "<body>2</body>"),
                             ("m3", "carol@localhost", "<body>3</body>"),
                             ("m4", f"{bob.bare}/gone", "<x xmlns='urn:x'/>")):
        alice.send(f"<message to='{to}' type='chat' id='{ident}'>{inner}</message>")
    alice.ping()
    bob.send(f"<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{alice.bare}'/>"
             "</block></iq>")
    bob.expect("<iq type='result' id='b'/>")
    alice.send(f"<message to='{bob.bare}' type='chat' id='m5'><body>5</body></message>")
    alice.expect("<message type='error' id='m5'/>")

    def fate(ident):
        found = [line for event in ("delivered", "waits", "refused", "blocked", "dropped")
                 for line in lines_of(server, f"message.{event}")
                 if (line["id"], line["type"]) == (ident, "chat")]  # its error is one, too
        return [(line["event"], line["why"], line["sessions"]) for line in found]

    until("five lines", lambda: all(fate(f"m{i}") for i in range(1, 6)))
    assert fate("m1") == [("message.delivered", "stored", "1")]
    assert fate("m2") == [("message.refused", "service-unavailable", "0")]
    assert fate("m3") == [("message.waits", "stored", "0")]
    assert fate("m5") == [("message.blocked", "service-unavailable", "0")]
    assert {line["id"] for line in lines_of(server, "message.sent")} >= {"m1", "m2", "m3", "m5"}
    server.ctl("log", "trace", "message", "off")
    alice.send("<message to='carol@localhost' type='chat' id='m6'><body>6</body></message>")
    alice.ping()
    assert not fate("m6")


def test_trace_tells_of_subscriptions(server):
    server.ctl("log", "trace", "subscription", "on")
    alice, bob = server.login("alice", "a").available(), server.login("bob", "b").available()
    alice.send(f"<presence to='{bob.bare}' type='subscribe'/>")
    bob.expect("<presence type='subscribe'/>")
    bob.send(f"<presence to='{alice.bare}' type='subscribed'/>")
    alice.expect(f"<presence from='{bob.jid}'/>")

    def told():
        return [(line["event"], line["account"], line["type"], line["subscription"])
                for event in ("out", "in") for line in lines_of(server, f"subscription.{event}")]

    until("four lines", lambda: len(told()) == 4)
    assert set(told()) == {
        ("subscription.out", alice.bare, "subscribe", "none"),
        ("subscription.in", bob.bare, "subscribe", "none"),
        ("subscription.out", bob.bare, "subscribed", "from"),
        ("subscription.in", alice.bare, "subscribed", "to"),
    }


def test_trace_tells_what_became_of_what_is_said_in_rooms(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    room = Room("traced").create(alice, "one")
    room.enter(bob, "two")
    server.ctl("log", "trace", "muc", "on")
    for client, to, ident in ((alice, room, "r1"), (bob, room.at("one"), "r2"),
                              (bob, room.at("nobody"), "r3")):
        kind = "groupchat" if ident == "r1" else "chat"
        client.send(f"<message to='{to}' type='{kind}' id='{ident}'><body>said</body></message>")
        client.ping()

    def fates():
        return {line["id"]: (event, line["from"], line["occupants"])
                for event in ("said", "private", "refused")
                for line in lines_of(server, f"room.{event}")}

    until("three lines", lambda: len(fates()) == 3)
    assert fates() == {"r1": ("said", alice.jid, "2"), "r2": ("private", bob.jid, "1"),
                       "r3": ("refused", bob.jid, "0")}
    assert "said</body>" not in server.log()


def test_secrets_are_not_logged(server):
    for row in server.rows("log", "areas"):
        server.ctl("log", "trace", row.get("area") or row.get("name"), "on")
    server.add_user("dora", "Tr0ub4dor")
    client = server.connect("dora", password="Tr0ub4dor")
    assert client.authenticate() is None
    client.open()
    client.bind()
    client.send("<message to='bob@localhost' type='chat'><body>Geheimnis</body></message>")
    client.ping()
    log = server.log()
    assert "Tr0ub4dor" not in log and "Geheimnis" not in log
    assert "AGRvcmEAVHIwdWI0ZG9y" not in log  # SASL PLAIN in base64


# --- the program ---


@pytest.mark.parametrize("args", [
    ("no-such-command",), ("user",), ("user", "add"), ("user", "add", "a@localhost", "b@localhost"),
    ("user", "list", "--no-such-option"), ("user", "list", "--domain"), ("--no-such-option",), ()])
def test_usage(server, args):
    done = server.ctl_run(*args)
    assert done.returncode == USAGE and done.stderr


def test_unreachable(tmp_path):
    done = subprocess.run([MUSTERCTL, "--socket", tmp_path / "no.sock", "status"],
                          capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == UNREACHABLE and "no.sock" in done.stderr


def test_socket_from_the_config_file(server):
    done = subprocess.run([MUSTERCTL, "--config", server.file, "status"], capture_output=True,
                          text=True, check=False, timeout=10)
    assert done.returncode == OK, done.stderr


def test_socket_is_for_owner_and_group(server):
    assert server.control.stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize("args", [("--help",), ("help",), ("help", "user", "add"), ("--version",)])
def test_help(server, args):
    done = server.ctl_run(*args)
    assert done.returncode == OK and done.stdout


def test_help_of_a_group(server):
    done = server.ctl_run("help", "session")
    assert done.returncode == OK and "musterctl session kick JID" in done.stdout
    assert "musterctl user" not in done.stdout
    assert server.ctl_run("help", "sessions").returncode == USAGE


def test_help_names_every_command(server):
    text = server.ctl_run("help").stdout
    for name in ("user add", "user del", "user list", "user password", "session list",
                 "session kick", "status", "config show", "config check", "config reset",
                 "set", "get", "metrics", "log trace"):
        assert name in text, name


def complete(script, words):
    """What bash offers for the last of these words."""
    code_ = (f"{script}\nCOMP_WORDS=({' '.join(words)} '')\nCOMP_CWORD={len(words)}\n"
             "COMP_LINE=\"${COMP_WORDS[*]}\"; COMP_POINT=${#COMP_LINE}\n"
             "function=$(complete -p musterctl | sed -E 's/.*-F ([^ ]+).*/\\1/')\n"
             "$function musterctl '' \"${COMP_WORDS[COMP_CWORD-1]}\"\n"
             "printf '%s\\n' \"${COMPREPLY[@]}\"")
    done = subprocess.run(["bash", "--norc", "-c", code_], capture_output=True, text=True,
                          check=False, timeout=10)
    assert done.returncode == 0, done.stderr
    return {word.strip() for word in done.stdout.split("\n")}


def test_completion(server):
    script = server.ctl_run("completion", "bash").stdout
    assert {"user", "session", "status", "log"} <= complete(script, ["musterctl"])
    assert {"add", "del", "list", "password"} <= complete(script, ["musterctl", "user"])
    areas = {row["area"] for row in server.rows("log", "areas")}
    assert {"all", "on", "off", *areas} <= complete(script, ["musterctl", "log", "trace"])


def test_many_at_once(server):
    """Commands from several terminals."""
    runs = [subprocess.Popen([MUSTERCTL, "--socket", server.control, "--json", "user", "add",
                              f"m{i}@localhost", "--password", "p"], stdout=subprocess.DEVNULL)
            for i in range(20)]
    assert [run.wait(20) for run in runs] == [0] * 20
    assert len(server.rows("user", "list")) == 23


def test_garbage_on_the_socket(server):
    for data in (b"\0\xff\n", b"{}\n", b"[1]\n", b'{"command":7}\n', b"x" * 200_000 + b"\n",
                 b'{"command":"status","args":{"a":{"b":1}}}\n'):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(server.control))
            try:
                sock.sendall(data)
                sock.recv(65536)
            except OSError:
                pass
    assert server.ctl("status")["ok"]
