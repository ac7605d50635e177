"""What musterctl shows on a terminal of 80 columns: tables, fields, links and help."""
import contextlib
import json
import re
import socket
import subprocess
import threading

import pytest

from harness import terminal
from harness.client import TIMEOUT
from harness.server import MUSTERCTL, MUSTERD, ROOT

WIDTH = 80
LINK = "xmpp:example.org?register;preauth=" + "k3Yw0rd" * 12
ADDRESS = "maximilian.power@department.example.org"
SESSION = ADDRESS + "/gajim.ABCDEFGH-0123456789"
SENTENCE = "The database refuses statements, because its disk is full, and nothing is stored."


def on_terminal(control, *args, width=WIDTH):
    """The lines that it shows on a terminal of that width, without the spaces at their ends."""
    lines = terminal.shown(width, MUSTERCTL, "--socket", control, "--yes", *args)
    return [line.rstrip() for line in lines]


class Answering:
    """A control socket where each command is answered with these rows."""

    def __init__(self, folder):
        self.rows, self.more = [], {}
        self.path = folder / "answering.sock"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                with self.listener.accept()[0] as peer:
                    if peer.recv(65536):
                        answer = json.dumps({"ok": True, "rows": self.rows} | self.more)
                        peer.sendall(answer.encode() + b"\n")

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(TIMEOUT)


class Slow:
    """A control socket where an import is answered when its progress was asked for twice."""

    def __init__(self, folder):
        self.path, self.asked = folder / "slow.sock", 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.enough = threading.Event()
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                self.threads.append(threading.Thread(target=self._answer, args=[peer]))
                self.threads[-1].start()

    def _answer(self, peer):
        with peer:
            request = json.loads(peer.recv(65536))
            text, rows = "users imported: 5", []
            if request["command"] == "job list":
                assert request["args"] == {"running": "true"}
                self.asked += 1
                text = ""
                other = {"command": "import xep0227", "text": "users 9", "percent": 9}
                rows = [{**other, "created": "2001-01-01T00:00:00.000000Z"},
                        {"command": "room export", "text": "messages written: 7",
                         "created": "2098-01-01T00:00:00.000000Z"},
                        {"command": "import xep0227", "text": "users 3",
                         "percent": self.asked * 30, "created": "2098-01-01T00:00:00.000000Z"},
                        {**other, "created": "2099-01-01T00:00:00.000000Z"}]
                if self.asked == 2:
                    self.enough.set()
            else:
                assert self.enough.wait(3 * TIMEOUT)
            peer.sendall(json.dumps({"ok": True, "text": text, "rows": rows}).encode() + b"\n")

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(3 * TIMEOUT)


def test_a_long_import_shows_how_far_it_is(tmp_path):
    """In one line, which is gone at the end; and only on a terminal."""
    slow = Slow(tmp_path)
    command = [MUSTERCTL, "--socket", slow.path, "import", "xep0227", "/srv/a.xml"]
    try:
        lines = terminal.shown(WIDTH, *command)
        assert slow.asked >= 2
        drawn = [line.removeprefix("\033[K") for line in lines]  # split where it is drawn anew, too
        assert drawn[:3] == ["", "[######              ] 30 %: users 3",
                             "[############        ] 60 %: users 3"]
        assert drawn[-1] == "users imported: 5" and lines[-1].startswith("\033[K")
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        assert (told.stdout.strip(), told.stderr) == ("users imported: 5", "")
    finally:
        slow.close()


@pytest.fixture
def answering(tmp_path):
    it = Answering(tmp_path)
    yield it
    it.close()


def tables():
    """Every command and the columns of its table, if it has one."""
    docs = subprocess.run([MUSTERD, "--dump-docs", "commands"], capture_output=True, text=True,
                          check=True, timeout=TIMEOUT).stdout
    for section in re.split(r"^## ", docs, flags=re.MULTILINE)[1:]:
        columns = re.search(r"^Columns: (.*)", section, re.MULTILINE)
        yield section.split("\n")[0], re.findall(r"`([\w-]+)`", columns[1]) if columns else []


def arguments(name):
    """Values for what the command must be given."""
    done = subprocess.run([MUSTERCTL, "help", *name.split()], capture_output=True, text=True,
                          check=True, timeout=TIMEOUT)
    usage = " ".join(done.stdout.split("\n\n")[0].split()).removeprefix("Usage: musterctl " + name)
    secret = ["--password", "long-enough-for-all"] if "[--password PASSWORD]" in usage else []
    if "[--secret SECRET]" in usage:
        secret = ["--secret", "long-enough-for-all"]
    needed = re.sub(r"\[[^]]*\]", "", usage).split()
    values = {"FOLDER": "/folder", "FILE": "/folder", "CODE": "123456", "REASON": "a test",
              "URL": "https://hook.example.org/"}
    return [word.split("|")[0] if "|" in word else values.get(word, "1")
            for word in needed] + secret


TABLES = list(tables())


def test_the_tables_are_found():
    assert len(TABLES) > 60 and sum(1 for _, columns in TABLES if columns) > 25


def value(column):
    if column.endswith(("_s", "_kib")) or column in ("occupants", "messages", "bytes", "errors"):
        return 1234567
    if column in ("uri", "landing_url"):
        return LINK
    if column in ("text", "detail", "action", "help", "meaning", "description"):
        return SENTENCE
    return "2026-01-02T03:04:05.678901Z" if column in ("created", "since", "time") else ADDRESS


@pytest.mark.parametrize("environment, coloured", [
    ({"NO_COLOR": ""}, True), ({}, False), ({"NO_COLOR": "", "TERM": "dumb"}, False)])
def test_what_is_wrong_has_a_colour(answering, environment, coloured):
    """By the whole word in columns of states; the columns stay in line."""
    answering.rows = [{"id": 1, "job": "backup", "state": "failed"},
                      {"id": 2, "job": "failed", "state": "running"}]
    lines = terminal.shown(WIDTH, MUSTERCTL, "--socket", answering.path, "job", "list",
                           **environment)
    shown = "\n".join(lines)
    assert ("\033[31mfailed\033[0m" in shown) == coloured
    assert shown.count("\033[31m") == (1 if coloured else 0)
    plain = [re.sub(r"\033\[[0-9]+m", "", line) for line in lines]
    assert len({line.index(word) for line, word in zip(plain, ("state", "failed", "running"))}) == 1
    piped = subprocess.run([MUSTERCTL, "--socket", answering.path, "job", "list"], check=True,
                           capture_output=True, text=True, timeout=TIMEOUT)
    assert "\033" not in piped.stdout


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("letter", sorted({name[0] for name, _ in TABLES}))
def test_every_table_fits(answering, letter, count):
    """Only a single word that is longer than the line makes a line longer, and is whole then."""
    for name, columns in TABLES:
        if name[0] != letter or not columns or name == "doctor outside":  # asks no server
            continue
        if name in ("import ejabberd", "import openfire", "import prosody"):  # need a source
            continue
        row = {column: value(column) for column in columns}
        if name == "session list":
            row["jid"] = SESSION
        answering.rows = [row] * count
        shown = on_terminal(answering.path, *name.split(), *arguments(name))
        assert len(shown) > count, (name, shown)
        for line in shown:
            assert len(line) <= WIDTH or len(line.split()[-1]) > WIDTH - 20, (name, line)
        whole = [text for text in row.values() if isinstance(text, str) and text[0] != "2"]
        assert set(" ".join(whole).split()) <= set(" ".join(shown).split()), (name, shown)


def test_a_row_that_does_not_fit_is_shown_as_fields(answering):
    answering.rows = [{"uri": LINK, "landing_url": "https://example.org/i/1", "expire": "never"}]
    assert on_terminal(answering.path, "user", "invite") == [
        f"uri          {LINK}", "landing_url  https://example.org/i/1", "expire       never"]
    answering.rows *= 2
    assert len(on_terminal(answering.path, "user", "invite", width=300)) == 3  # with its heading


def test_rows_that_do_not_fit_are_shown_as_fields_one_after_the_other(answering):
    columns = dict(TABLES)["room report"]
    answering.rows = [{column: ADDRESS + str(number) for column in columns} for number in (1, 2)]
    shown = on_terminal(answering.path, "room", "report")
    assert shown[0].split() == ["jid", ADDRESS + "1"]
    assert shown[len(columns)] == "" and shown[-1].split() == [columns[-1], ADDRESS + "2"]
    assert len(shown) == 2 * len(columns) + 1


def test_a_column_that_only_some_rows_have_is_shown(answering):
    """Such as the reason of a stream that fails, behind one that is up."""
    row = {"domain": "a.test", "local": "b.test", "direction": "out", "state": "up", "since_s": 1,
           "queue": 0, "tls": "TLSv1.3", "auth": "certificate"}
    answering.rows = [row, row | {"state": "failed", "stage": "tcp", "why": "Connection refused"}]
    heading, up, failed = on_terminal(answering.path, "s2s", "list", width=200)
    assert failed.index("Connection refused") == heading.index("why") > len(up)
    assert "connection" not in heading


@pytest.mark.parametrize("name", ["job list", "log list", "session list", "trace message",
                                  "trace texts"])
def test_a_table_names_the_node_of_each_row_where_there_are_several(answering, name):
    row = {column: "x" for column in dict(TABLES)[name]}
    for rows, nodes, told in (("aa", {}, False), ("ab", {}, True), ("a", {"nodes": 2}, True)):
        answering.rows, answering.more = [row | {"node": node} for node in rows], nodes
        shown = on_terminal(answering.path, *name.split(), *arguments(name), width=500)
        assert ("node" in shown[0].split()) is told, (rows, nodes, shown)


def test_an_address_that_is_too_long_for_its_column_has_a_line_of_its_own(answering):
    """It is what the row is about, and copied into the next command."""
    columns = dict(TABLES)["session list"]
    row = {column: "12" for column in columns} | {"state": "connected"}
    answering.rows = [row | {"jid": SESSION}, row | {"jid": "a@b/c"}]
    heading, jid, rest, short = on_terminal(answering.path, "session", "list")
    assert heading.startswith("jid") and jid == SESSION
    assert rest.split() == short.split()[1:] and rest.index("connected") == heading.index("state")
    assert short.split()[0] == "a@b/c"


def test_what_is_no_terminal_gets_one_line_a_row(answering):
    columns = dict(TABLES)["room report"]
    answering.rows = [{column: ADDRESS for column in columns}] * 2
    done = subprocess.run([MUSTERCTL, "--socket", answering.path, "room", "report"],
                          capture_output=True, text=True, check=True, timeout=TIMEOUT)
    assert len(done.stdout.splitlines()) == 3


def test_the_links_of_an_invitation_can_be_copied(make_server):
    server = make_server(settings={"invite.enabled": "on"})
    shown = on_terminal(server.control, "user", "invite")
    links = [line.split()[-1] for line in shown if "://" in line or "xmpp:" in line]
    assert len(links) == 2 and all("invite" in link or "preauth" in link for link in links), shown


def test_help_fits():
    for what in sorted({name for name, _ in TABLES} | {name.split()[0] for name, _ in TABLES}):
        done = subprocess.run([MUSTERCTL, "help", *what.split()], capture_output=True, text=True,
                              check=True, timeout=TIMEOUT)
        for line in done.stdout.splitlines():
            assert len(line) <= WIDTH, (what, line)
            assert not re.match(r"  --[a-z-]+ [a-z|-]+\|[a-z-]+ \w", line), (what, line)


def refused(*words):
    done = subprocess.run([MUSTERCTL, *words], capture_output=True, text=True, check=False,
                          timeout=TIMEOUT)
    assert done.returncode == 2
    return done.stderr


@pytest.mark.parametrize("joined", [" ", "-"])
def test_words_that_are_joined_in_another_way(joined):
    """`test user add` and `user-add` are understood, whatever follows."""
    for name, _ in TABLES:
        typed = joined.join(re.split("[ -]", name)).split()
        if typed != name.split() and not (joined == " " and "-" in name.split()[0]):
            said = refused(*typed, "alice@example.org")
            assert said.endswith(f"did you mean {name}?\n"), (typed, said)


def test_a_group_with_a_hyphen_may_be_two_words(make_server):
    """`cert trust list` is `cert-trust list`, also for `help`, with options and with `watch`."""
    server = make_server()
    groups = {name.split()[0] for name, _ in TABLES if "-" in name.split()[0]}
    assert {"cert-trust", "room-alias", "s2s-route"} <= groups
    for group in groups:
        first, second = group.split("-")
        helped = [subprocess.run([MUSTERCTL, "help", *words], capture_output=True, text=True,
                                 check=True, timeout=TIMEOUT).stdout
                  for words in ([group], [first, second])]
        assert helped[0] == helped[1] and f"musterctl {group} " in helped[0], group
    for name, _ in TABLES:
        group, _, verb = name.partition(" ")
        if group in groups:
            said = subprocess.run([MUSTERCTL, *group.split("-"), verb, "--help"], check=True,
                                  capture_output=True, text=True, timeout=TIMEOUT).stdout
            assert said.startswith(f"Usage: musterctl {name}"), said
    assert "room-alias add, room-alias del, " in refused("room", "alias")
    done = server.ctl_run("s2s", "route", "add", "a.test", "127.0.0.1:1", "--weight", "7")
    assert done.returncode == 0, done
    assert "a.test,127.0.0.1:1,1,7," in server.ctl_run("--csv", "s2s", "route", "list").stdout
    assert server.rows("s2s", "list") == []


def test_a_mistyped_group_whose_words_are_joined_in_another_way():
    """`room allias list`: one letter more or less in the second word."""
    groups = {name.split()[0] for name, _ in TABLES if "-" in name.split()[0]}
    assert "room-alias" in groups
    for group in groups:
        first, second = group.split("-")
        for at in range(1, len(second)):
            for typed in (second[:at] + second[at + 1:], second[:at] + second[at] + second[at:]):
                for more in ([], ["list"]):
                    said = refused(first, typed, *more)
                    assert said.endswith(f"did you mean {group}?\n"), (typed, said)


def test_counts_are_not_followed_by_a_plural():
    """"1 messages were deleted": what a command says has the number behind the word, or both forms
    of it."""
    calls = re.compile(r'command_done\([\w>.-]+,\s*((?:"[^"]*"\s*(?:PRI\w+\s*)?)+)')
    texts = [text for path in (ROOT / "src").rglob("*.c") for text in calls.findall(
        path.read_text())]
    assert len(texts) > 60
    for text in texts:
        whole = re.sub(r'"\s*(?:PRI\w+)?\s*"', "", text)
        assert not re.search(r"%(?:ll)?[ud] (?!s\b)[a-z]+s\b(?!, of which)", whole), whole


@pytest.mark.parametrize("args, right", [
    (("--all", "alarm", "list"), "alarm list --all"),
    (("--limit", "3", "user", "list"), "user list --limit")])
def test_an_option_in_front_of_its_command(server, args, right):
    done = server.ctl_run(*args)
    assert done.returncode == 2 and f"behind: musterctl {right}" in done.stderr
