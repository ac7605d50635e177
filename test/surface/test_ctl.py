"""musterctl: every command, as text and as JSON, and its exit codes."""
import csv
import grp
import io
import json
import os
import pathlib
import re
import select
import shlex
import shutil
import socket
import subprocess
import time

import pytest

from harness import rows, terminal
from harness.client import TIMEOUT, until
from harness.muc import Room
from harness.server import MUSTERCTL, MUSTERD, refusal
from surface.test_completion import complete

ROOT = pathlib.Path(__file__).parents[2]

OK, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3


# They ask other servers, and wait.
OUTSIDE = {"fedtest", "imtest", "doctor"}


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
    (("session", "list", "--jid", "nobody@localhost"), None),
    (("device", "list", "nobody@localhost"), None),
    (("session", "kick", "alice@localhost/nowhere"), None),
    (("get", "no.such-setting"), None),
    (("set", "no.such-setting", "1"), None),
    (("log", "trace", "no-such-area", "on"), None),
])
def test_what_cannot_be_done(server, args, error):
    done = server.ctl_run("--json", *args)
    answer = json.loads(done.stdout)
    assert answer["ok"] is False and answer["error"] and answer["text"]
    assert error is None or answer["error"] == error
    assert done.returncode == (USAGE if answer["error"] == "syntax" else FAILED)
    again = server.ctl_run(*args)
    assert again.returncode == done.returncode and answer["text"] in again.stderr


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
    pid, master = terminal.start(command)
    shown = ""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        if not select.select([master], [], [], TIMEOUT)[0]:
            break
        try:
            shown += os.read(master, 4096).decode()
        except OSError:
            break  # the other end of a terminal is gone: EIO
        if answers and shown.endswith(": "):
            os.write(master, answers.pop(0).encode() + b"\n")
            shown += "\n"
    os.close(master)
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


@pytest.mark.parametrize("wrong", ["carol", "carol@localhost/phone", "@localhost", "a b@localhost"])
def test_no_password_for_an_address_that_cannot_be(server, wrong):
    command = [MUSTERCTL, "--socket", server.control, "user", "add", wrong]
    shown, code_ = at_a_terminal(command, [])
    assert code_ == USAGE and f"found {wrong}, allowed: an address" in shown
    assert "assword:" not in shown
    assert f"found {wrong}, allowed" in server.ctl_run("user", "add", wrong).stderr


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
    assert row["value"] in ("9", 9) and str(row["default_value"]) == "5"


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
    server = make_server(settings={"sm.ack-every": "3"})
    done = server.ctl_run("set", "sm.ack-every", "9")
    assert done.returncode == FAILED and "sm.ack-every" in done.stderr
    row = next(r for r in server.rows("config", "show") if r["name"] == "sm.ack-every")
    assert str(row["value"]) == "3" and row["locked"] is True


def test_a_reset_leaves_the_stored_value_of_a_locked_setting(make_server):
    server = make_server()
    for name, value in ("sm.ack-every", "9"), ("sm.queue-max", "500"):
        server.ctl("set", name, value)
    server.conf["settings"] = {"sm.ack-every": "3"}
    server.write()
    server.restart()
    assert "sm.ack-every: fixed by the node file; change it there and reload" in refusal(
        server, "config", "reset", "sm.ack-every")
    assert "fixed by the node file: 1" in server.ctl("config", "reset", "sm")["text"]
    del server.conf["settings"]
    server.write()
    server.restart()
    assert server.rows("get", "sm.ack-every")[0]["value"] == "9"


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
    server.ctl("set", "im.durable-ack", "off")
    done = server.ctl_run("config", "reset", "im.durable-ack")
    assert done.returncode == OK and server.rows("get", "im.durable-ack")[0]["value"] == "on"
    for nothing in ("sm.", "s", "sm.ack", "no-such-part"):
        done = server.ctl_run("config", "reset", nothing)
        assert done.returncode == FAILED and "no setting" in done.stderr


def test_every_setting_refuses_nonsense_and_names_itself(server):
    for row in server.rows("config", "show"):
        if row.get("locked") or row["type"] in ("string", "secret", "path"):
            continue
        done = server.ctl_run("set", row["name"], "~nonsense~")
        assert done.returncode == USAGE and row["name"] in done.stderr, row
        assert "~nonsense~" in done.stderr


def test_config_check(server):
    assert code(server, "config", "check", str(server.file)) == OK
    bad = server.folder / "bad.yaml"
    bad.write_text("node: x\nnonsense: 1\n")
    done = server.ctl_run("config", "check", str(bad))
    assert done.returncode == USAGE and "nonsense" in done.stderr


@pytest.mark.parametrize("name, text", [
    ("no-such.yaml", "no-such.yaml: cannot be read: No such file or directory"),
    ("sm.ack-every", "found sm.ack-every, which is a setting, allowed: a node file; `get "
                     "sm.ack-every` shows the setting"),
    ("", "config check: file: found nothing, allowed a path")])
def test_config_check_of_a_mistaken_name(server, name, text):
    done = server.ctl_run("config", "check", name)
    assert done.returncode == USAGE and text in done.stderr, done.stderr


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


def test_a_stream_error_names_the_client(make_server):
    """Also when its session has ended before."""
    server = make_server("alice", "bob", "carol", "dora", "erin", "frank")
    server.login("alice", "kicked")
    server.login("bob", "changed")
    server.login("carol", "disabled")
    server.login("dora", "deleted")
    server.login("erin", "replaced")
    server.login("frank", "stopped")
    server.ctl("session", "kick", "alice@localhost")
    server.ctl("user", "password", "bob@localhost", "--password", "another one")
    server.ctl("user", "disable", "carol@localhost")
    server.ctl("user", "del", "dora@localhost")
    server.login("erin", "replaced")
    server.stop()
    ended = [(line["condition"], line["jid"]) for line in lines_of(server, "stream.error")]
    assert sorted(jid for _, jid in ended) == [
        "alice@localhost/kicked", "bob@localhost/changed", "carol@localhost/disabled",
        "dora@localhost/deleted", "erin@localhost/replaced", "erin@localhost/replaced",
        "frank@localhost/stopped"], ended


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
    assert fate("m5") == [("message.refused", "service-unavailable", "0"),
                          ("message.blocked", "as if there were no account", "0")]
    assert {line["id"] for line in lines_of(server, "message.sent")} >= {"m1", "m2", "m3", "m5"}
    server.ctl("log", "trace", "message", "off")
    alice.send("<message to='carol@localhost' type='chat' id='m6'><body>6</body></message>")
    alice.ping()
    assert not fate("m6")


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
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
                          capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == UNREACHABLE and "no.sock" in done.stderr


def test_socket_from_the_config_file(server):
    done = subprocess.run([MUSTERCTL, "--config", server.file, "status"], capture_output=True,
                          text=True, check=False, timeout=TIMEOUT)
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


def test_help_knows_what_musterctl_does_itself(server):
    """Each word that may come first: `help` lists it, explains it, and completes it."""
    listed = re.findall(r"^  ([a-z][a-z0-9-]*)", server.ctl_run("help").stdout, re.MULTILINE)
    assert {"help", "watch", "completion", "schema", "names", "doctor", "user"} <= set(listed)
    for word in set(listed):
        for words in (["help", word], [word, "--help"]):
            done = server.ctl_run(*words)
            assert done.returncode == OK and f"musterctl {word}" in done.stdout, (words, done)
            assert not done.stderr and all(len(line) <= 80 for line in done.stdout.splitlines())
    script = server.ctl_run("completion", "bash").stdout
    assert set(listed) <= complete(script, ["musterctl"])
    assert set(listed) <= complete(script, ["musterctl", "help"])


def test_help_names_every_command(server):
    text = server.ctl_run("help").stdout
    for name in ("user add", "user del", "user list", "user password", "session list",
                 "session kick", "status", "config show", "config check", "config reset",
                 "set", "get", "metrics", "log trace"):
        assert name in text, name


def test_a_value_may_have_several_words(server):
    server.ctl("set", "upload.file-bytes", "10", "MiB")
    assert server.rows("get", "upload.file-bytes")[0]["value"] == "10MiB"
    assert server.ctl_run("set", "upload.file-bytes", "10", "MiB", "more").returncode != 0
    assert server.ctl_run("get", "upload.file-bytes", "10").returncode == 2
    server.ctl("set", "upload.file-bytes", "--default")


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


def test_a_program_that_stays_connected_is_left_at_the_end(server):
    """It never closes its side: the server does, and ends in order. Sanitizers see what is left."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect(str(server.control))
        sock.sendall(b'{"command":"status"}\n')
        assert b'"ok":true' in sock.recv(65536)
        server.stop()
        assert sock.recv(65536) == b""


def test_commands_that_only_read_are_not_in_the_log(server):
    """Every command that lists or shows something: a probe that runs each minute fills no log."""
    before = len(lines_of(server, "admin.command"))
    for command in (("status",), ("alarm", "list"), ("metrics",), ("get", "sm.ack-every"),
                    ("config", "show"), ("user", "list"), ("user", "count"), ("room", "list"),
                    ("session", "list"), ("cert", "list"), ("log", "areas"), ("motd", "show"),
                    ("contact", "list", "alice@localhost"), ("component", "list")):
        server.ctl(*command)
    assert len(lines_of(server, "admin.command")) == before
    server.ctl("set", "sm.ack-every", "9")
    assert len(lines_of(server, "admin.command")) == before + 1
    server.ctl("log", "level", "debug")
    server.ctl("status")
    until("its line", lambda: any(line["command"] == "status"
                                  for line in lines_of(server, "admin.command")))


# --- what is written wrongly, and what was meant ---


@pytest.mark.parametrize("args, meant", [
    (("usr", "list"), "user list"), (("user", "delete", "a@localhost"), "user del"),
    (("sttaus",), "status"), (("user", "list", "--limt", "3"), "limit"),
    (("get", "hibernate-time"), "sm.hibernate-time"),
    (("set", "sm.hibernate-tiem", "60s"), "sm.hibernate-time"),
    (("config", "show", "sm.hibernate-tme"), "sm.hibernate-time"),
    (("log", "trace", "mesage", "on"), "message"), (("--sockt", "x", "status"), "--socket"),
])
def test_what_was_probably_meant(server, args, meant):
    done = server.ctl_run(*args)
    assert done.returncode in (FAILED, USAGE)
    assert done.stderr.endswith(f"did you mean {meant}?\n"), done.stderr


def test_a_group_alone_is_no_mistyped_command(server):
    done = server.ctl_run("room")
    assert done.returncode == USAGE and "allowed room affiliation, " in done.stderr
    assert "did you mean" not in done.stderr


def test_an_argument_is_not_proposed_as_an_option(server):
    """`announce TEXT` has no --text."""
    done = server.ctl_run("announce", "--text", "hello")
    assert done.returncode == USAGE and "did you mean" not in done.stderr, done.stderr


def test_an_empty_setting_is_called_empty(server):
    assert server.ctl("set", "web.title", "Example")["text"] == "web.title is Example"
    assert server.ctl("set", "web.title", "--default")["text"] == "web.title is empty"


def test_help_of_a_setting_names_the_command(server):
    done = server.ctl_run("help", "upload.quota")
    assert done.returncode == USAGE and "`musterctl get upload.quota`" in done.stderr


def test_an_address_is_asked_for_by_an_address(make_server):
    """One that could be typed: the list of domains is no part of it."""
    server = make_server(domains=["localhost", "other.test"])
    done = server.ctl_run("user", "add", "carol", "--password", "longenough")
    assert "an address such as alice@localhost; domains are localhost, other.test" in done.stderr


def test_settings_of_one_part(server):
    names = [row["name"] for row in server.rows("config", "show", "sm")]
    assert names and all(name.startswith("sm.") for name in names)
    assert server.ctl_run("config", "show", "sm", "--changed").stdout.strip() \
        == "all of them have their defaults"


@pytest.mark.parametrize("name, text, value", [
    ("upload.file-bytes", "10MB", "10MB"), ("upload.file-bytes", "10 MiB", "10MiB"),
    ("upload.quota", "2TB", "2TB"),
    ("archive.retention", "4w", "28d"),
    ("archive.retention", "30", "30d"), ("sm.hibernate-time", "90", "90s"),
    ("sm.hibernate-time", "1min 30s", "90s")])
def test_units_as_people_write_them(server, name, text, value):
    server.ctl("set", name, text)
    assert str(server.rows("get", name)[0]["value"]) == value


def test_the_message_says_that_the_unit_is_wrong(server):
    done = server.ctl_run("set", "upload.file-bytes", "10PB")
    assert done.returncode == USAGE
    assert 'found "10PB" with an unknown unit (there are B, kB, KiB, MB, MiB' in done.stderr


@pytest.mark.parametrize("args", [
    ("user", "add", "carol", "--password", "p"), ("user", "list", "--limit", "many"),
    ("session", "kick", "@"), ("set", "sm.ack-every", "often"), ("log", "level", "loud"),
    ("room", "show", "tea"), ("device", "list", "@"), ("server", "stop", "--delay", "soon"),
    ("contact", "list", "@"), ("report", "del", "x")])
def test_malformed_arguments_exit_2(server, args):
    done = server.ctl_run(*args)
    assert done.returncode == USAGE and done.stderr, done.stdout


def test_a_list_says_that_there_is_more(server):
    done = server.ctl_run("user", "list", "--limit", "2")
    assert "there are more: go on with --after bob@localhost" in done.stdout
    assert "more" not in server.ctl_run("user", "list", "--limit", "3").stdout
    assert server.ctl_run("user", "list", "--disabled").stdout.strip() == "there are none"


def on_terminal(server, typed, *args):
    """musterctl on a terminal where this is typed at its first question; exit code and output."""
    pid, master = terminal.start([MUSTERCTL, "--socket", server.control, *args])
    shown, answered = b"", False
    while select.select([master], [], [], 3 * TIMEOUT)[0]:
        try:
            data = os.read(master, 4096)
        except OSError:
            break
        shown += data
        if b"[y/N]" in shown and not answered:
            os.write(master, typed)
            answered = True
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_what_destroys_asks_on_a_terminal(server):
    code_, shown = on_terminal(server, b"n\n", "user", "del", "bob@localhost")
    assert code_ == FAILED and "user del bob@localhost: The account and everything" in shown
    assert "nothing was done" in shown and "bob@localhost" in jids(server.rows("user", "list"))
    assert re.search(r"What goes with it:.*sessions +0\r.*stored messages +0\r.*go on\\?", shown,
                     re.S | re.I)
    assert on_terminal(server, b"\n", "user", "del", "bob@localhost")[0] == FAILED
    code_, shown = on_terminal(server, b"y\n", "user", "del", "nobody@localhost")
    assert code_ == FAILED and "What goes" not in shown and shown.count("no account") == 1
    assert on_terminal(server, b"y\n", "user", "del", "bob@localhost")[0] == OK
    code_, shown = on_terminal(server, b"", "user", "del", "carol@localhost", "--yes")
    assert code_ == OK and "[y/N]" not in shown
    assert jids(server.rows("user", "list")) == {"alice@localhost"}


def test_what_destroys_needs_yes_without_a_terminal(server):
    """Of each command that asks: refused with its reason and nothing done, by a script without
    --yes; with --yes nothing is asked, whatever the words are. A dry run destroys nothing."""
    asking = {name: row for name, row in rows.part("commands").items() if "x-asks" in row}
    assert {"user del", "room destroy", "server stop", "import prosody", "secrets reset",
            "cert del", "upload del"} <= set(asking)
    for name, row in asking.items():
        given = row["properties"]["args"]
        value = "/1" if name == "import prosody" else "1"
        words = [*name.split(), *[value for _ in given["required"]]]
        words += ["--" + row["x-asks-if"].replace("_", "-")] if "x-asks-if" in row else []
        words += ["--stdin"] if name == "cert install" else []
        done = server.ctl_run(*words, own=(), stdin="y\n")
        assert done.returncode == USAGE, (name, done)
        assert done.stderr == f"musterctl: {name}: standard input is no terminal to ask on, so " \
                              f"--yes is needed: {row['x-asks']}\n", done.stderr
        help_ = " ".join(server.ctl_run("help", *name.split()).stdout.split())
        assert "a script gives `--yes`" in help_, help_
        if name not in ("server stop", "secrets reset"):
            done = server.ctl_run(*words, stdin="")
            assert "--yes" not in done.stderr and "Go on" not in done.stderr, done
    assert server.ctl_run("user", "del", "alice@localhost", own=(), stdin="y\n").returncode == USAGE
    assert "alice@localhost" in jids(server.rows("user", "list"))
    assert server.ctl_run("user", "del", "--yes", "alice@localhost", own=()).returncode == OK
    for words in (["room", "cleanup", "--older-than", "90d", "--dry-run"],
                  ["import", "prosody", str(server.folder)]):
        assert "--yes" not in server.ctl_run(*words, own=(), stdin="").stderr


@pytest.mark.parametrize("name, file", [("socket", "control.sock"), ("config", "muster.yaml")])
def test_own_options_take_their_value_behind_an_equals_sign(server, name, file):
    value = server.folder / file
    for words in (["user", "list", f"--{name}={value}"], [f"--{name}={value}", "user", "list"]):
        done = subprocess.run([MUSTERCTL, *words, "--json"], capture_output=True, text=True,
                              check=True, timeout=TIMEOUT)
        assert "alice@localhost" in jids(json.loads(done.stdout)["rows"])
    for words, code, text in (([f"--{name}"], 2, "need a value"),
                              ([f"--{name}=", "user", "list"], None, ""),
                              ([f"--{name}s={value}", "user", "list"], 2, f"--{name}s")):
        done = subprocess.run([MUSTERCTL, *words], capture_output=True, text=True, timeout=TIMEOUT,
                              check=False)
        assert done.returncode != 0 and code in (None, done.returncode) and text in done.stderr


@pytest.mark.parametrize("words", ["watch user list --every 200ms",
                                   "--every 200ms watch user list",
                                   "watch user list --every=200ms",
                                   "--every=200ms watch user list"])
def test_watch(server, words):
    """One answer after the other, of what is there now, also behind a restart of the server."""
    watch = subprocess.Popen([MUSTERCTL, "--socket", server.control, *words.split(), "--json"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert jids(json.loads(watch.stdout.readline())["rows"]) == {
            "alice@localhost", "bob@localhost", "carol@localhost"}
        server.ctl("user", "del", "carol@localhost")
        until("it is seen", lambda: len(json.loads(watch.stdout.readline())["rows"]) == 2)
        server.restart()
        server.ctl("user", "del", "bob@localhost")
        until("it is seen", lambda: len(json.loads(watch.stdout.readline())["rows"]) == 1)
        assert watch.poll() is None
    finally:
        watch.kill()
        watch.communicate()


@pytest.mark.parametrize("args, text", [
    (["watch"], "watch: found no command"),
    (["watch", "user", "del", "alice@localhost"], "found a command that changes something"),
    (["watch", "status", "--every"], "--every needs a value"),
    (["watch", "status", "--every", "soon"], "--every: found \"soon\""),
    (["watch", "status", "--every", "1ms"], "--every: found \"1ms\""),
    (["--every", "soon", "watch", "status"], "--every: found \"soon\""),
    (["watch", "stats"], "stats"),
    (["watch", "user", "show", "@"], "found @, allowed"),
])
def test_what_cannot_be_watched(server, args, text):
    done = server.ctl_run(*args)
    assert done.returncode == USAGE and text in done.stderr, done


def test_a_cleanup_of_rooms_asks_unless_it_is_a_dry_run(server):
    code_, shown = on_terminal(server, b"n\n", "room", "cleanup", "--older-than", "90d")
    assert code_ == FAILED and "deleted with their archives" in shown
    assert "nothing was done" in shown
    code_, shown = on_terminal(server, b"", "room", "cleanup", "--older-than", "90d", "--dry-run")
    assert code_ == OK and "[y/N]" not in shown and "0 rooms would be destroyed" in shown


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become another user")
def test_who_may_not_connect_learns_how(server):
    for path in [*server.control.parents][:-2]:
        path.chmod(path.stat().st_mode | 0o005)
    os.chown(server.control, 0, 0)
    done = subprocess.run([MUSTERCTL, "--socket", server.control, "status"], user="nobody",
                          group="nogroup", extra_groups=[], capture_output=True,
                          text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == UNREACHABLE and "Permission denied" in done.stderr
    # root's group would give them more than this socket
    assert done.stderr.endswith("Run it as root.\n") and "usermod" not in done.stderr
    group = grp.getgrall()[-1]
    os.chown(server.control, 0, group.gr_gid)
    done = subprocess.run(done.args, user="nobody", group="nogroup", extra_groups=[],
                          capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert f"usermod -aG {group.gr_name} nobody" in done.stderr


# --- what is printed for people ---


def test_help_is_one_line_a_command(server):
    lines = server.ctl_run("--help").stdout.splitlines()
    assert all(len(line) <= 80 for line in lines), [x for x in lines if len(x) > 80]
    assert not [line for line in lines if line.endswith(" ...")]  # each says it whole
    listed = {line[2:22].strip() for line in lines if line.startswith("  ") and line[21:23] == "  "}
    assert {"user add", "cert list", "server reload", "status"} <= {
        line[2:21].strip() for line in lines} | listed


@pytest.mark.parametrize("page", ["musterd", "musterctl", "muster.yaml"])
def test_manual_pages(server, tmp_path, page):
    file = tmp_path / page
    file.write_text(subprocess.run([MUSTERD, "--dump-docs", f"man-{page}"], capture_output=True,
                                   text=True, check=True, timeout=TIMEOUT).stdout)
    text = file.read_text()
    assert text.count(".SH ") >= 4 and "\n." in text and "`" not in text
    if page == "muster.yaml":
        assert all(row["name"].replace("-", "\\-") in text
                   for row in server.rows("config", "show"))
    if page != "muster.yaml":  # it has the options of --help
        help_ = subprocess.run([MUSTERD if page == "musterd" else MUSTERCTL, "--help"],
                               capture_output=True, text=True, check=True, timeout=TIMEOUT).stdout
        options = set(re.findall(r"^  (--[a-z-]+)", help_, re.MULTILINE))
        own = re.sub(r"\.RS\n.*?\.RE\n", "", text, flags=re.DOTALL).replace("\\", "")
        assert options and options == set(re.findall(r"^\.B (--[a-z-]+)", own, re.MULTILINE))
    if shutil.which("mandoc") is None:
        pytest.skip("needs mandoc")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "error", file], capture_output=True,
                          text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout


def test_the_help_names_all_generated_documentation():
    parts = re.findall(r'\{ "([a-z.-]+)", (?:docs|api)_', (ROOT / "src/app/main.c").read_text())
    for option in ("--help",), ("--dump-docs", "man-musterd"):
        text = subprocess.run([MUSTERD, *option], capture_output=True, text=True, check=True,
                              timeout=TIMEOUT).stdout.replace("\\", "")
        named = re.search(r"generated documentation: ([a-z., \n-]+?)\.?\n *(?:--|\.TP)", text)
        assert re.split(r"(?:,| or)\s+", named[1]) == parts
    for part in parts:
        done = subprocess.run([MUSTERD, "--dump-docs", part], capture_output=True, text=True,
                              check=True, timeout=TIMEOUT)
        assert done.stdout and not done.stderr


def test_a_table_fits_the_terminal(server):
    """Long cells go on in the next line; nothing is left out."""
    lines = terminal.shown(100, MUSTERCTL, "--socket", server.control, "alarm", "list", "--all")
    assert lines and max(map(len, lines)) <= 100
    words = {word for row in server.rows("alarm", "list", "--all") for word in row["text"].split()}
    assert words <= set(" ".join(lines).split()) | {w for w in words if len(w) > 12}


def test_alarms_are_sentences(server):
    for row in server.rows("alarm", "list", "--all"):
        shown, = server.rows("alarm", "show", row["name"])
        for text in (row["text"], shown["action"]):
            assert re.fullmatch(r"[A-Z].*\w[`)]?\.", text), (row["name"], text)


def test_times_are_short_in_tables_and_exact_elsewhere(server):
    shown = server.ctl_run("user", "list").stdout
    assert re.search(r"alice@localhost +\d+ (s|min) ago", shown), shown
    exact = server.rows("user", "list")[0]["created"]
    assert exact in server.ctl_run("--csv", "user", "list").stdout


def test_csv_has_the_columns_of_the_row_whatever_the_rows_are(server):
    """Also the wide ones, those that no row has, and where there are no rows."""
    schema = json.loads(server.ctl_run("schema").stdout)["properties"]["commands"]["properties"]
    seen = empty = 0
    for name, command in schema.items():
        parts = command["properties"]
        if command["x-effect"] != "reads" or parts["args"]["required"] or name in OUTSIDE:
            continue
        done = server.ctl_run("--csv", *name.split())
        if done.returncode != OK:
            continue
        columns = list(parts["rows"]["items"]["properties"])
        table = list(csv.reader(io.StringIO(done.stdout)))
        assert table[:1] == ([columns] if columns else []), name
        assert all(len(row) == len(columns) for row in table), name
        seen += 1
        empty += len(table) == 1
    assert seen > 40 and empty > 5
    server.ctl("token", "add", "brief", "viewer", "--expires", "1h")
    server.ctl("token", "add", "long", "viewer")
    table = csv.DictReader(io.StringIO(server.ctl_run("--csv", "token", "list").stdout))
    assert {row["name"]: bool(row["expires"]) for row in table} == {"brief": True, "long": False}
    for name, value in ("sm.ack-every", "7"), ("sm.queue-max", "500"):
        server.ctl("config", "edit", name, value)
    server.ctl("config", "apply")
    table = csv.DictReader(io.StringIO(server.ctl_run("--csv", "audit", "list").stdout, newline=""))
    assert "sm.ack-every=7\nsm.queue-max=500\n" in [row["after"] for row in table]


@pytest.mark.parametrize("command,column", [
    ("log list", "time"), ("audit list", "time"), ("trace message", "time")])
def test_times_that_are_compared_with_others_are_exact(server, command, column):
    """With milliseconds, and in UTC as the log has them."""
    server.client("alice", "a").send("<message to='alice@localhost'><body>x</body></message>")
    until("a row", lambda: server.rows(*command.split()))
    shown = server.ctl_run(*command.split()).stdout
    exact = re.findall(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", shown)
    known = {row[column][:23] + "Z" for row in server.rows(*command.split())}
    assert exact and known & set(exact) and " ago" not in shown


def test_amounts_have_their_units_in_tables(server):
    server.ctl("server", "stop", "--delay", "1h")
    shown = server.ctl_run("status").stdout
    server.ctl("server", "continue")
    assert re.search(r"^uptime +\d+ (s|min( \d+ s)?)$", shown, re.MULTILINE), shown
    assert re.search(r"^rss +\d+\.\d MiB$", shown, re.MULTILINE), shown
    assert re.search(r"^end_scheduled +stop at [\d-]{10} \d\d:\d\d$", shown, re.MULTILINE), shown
    assert {"uptime_s", "rss_kib"} <= set(server.rows("status")[0])


def test_an_empty_list_says_so(server):
    done = server.ctl_run("component", "list")
    assert done.returncode == OK and (done.stdout + done.stderr).strip()
