"""Completion of shells: names that the server has, and that a word is offered in its place only."""
import os
import pty
import select
import shutil
import subprocess

import pytest

from muster.client import TIMEOUT, until
from test_ctl import complete, with_names

LINE = ["musterctl", "--socket"]


@pytest.fixture(name="named")
def with_some(server, tmp_path, monkeypatch):
    """Its groups, tokens and roles."""
    monkeypatch.setenv("PATH", with_names(tmp_path)["PATH"])
    for name in "sales", "support":
        server.ctl("group", "add", name)
    server.ctl("token", "add", "prometheus", "viewer")
    server.ctl("role", "set", "reader", "users.read")
    return server


def test_names_of_groups_tokens_roles_and_alarms(named):
    script = named.ctl_run("completion", "bash").stdout
    line = [*LINE, str(named.control)]
    for words, names in (("group show", {"sales", "support"}),
                         ("group-member add", {"sales", "alice@localhost"}),
                         ("token revoke", {"prometheus"}), ("admin add", {"reader", "viewer"}),
                         ("alarm show", {"store.full", "tls.expiry"})):
        assert names <= complete(script, [*line, *words.split()]), words
    assert "sales" not in complete(script, [*line, "group", "add"])
    assert named.ctl_run("names", "group", "sa").stdout == "sales\n"
    assert named.ctl_run("names", "token", "").stdout == "prometheus\n"


def fish(server, tmp_path, line):
    script = tmp_path / "musterctl.fish"
    script.write_text(server.ctl_run("completion", "fish").stdout)
    done = subprocess.run(["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"],
                          capture_output=True, text=True, check=True, timeout=TIMEOUT)
    assert not done.stderr, done.stderr
    return {found.partition("\t")[0] for found in done.stdout.splitlines()}


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_offers_a_word_in_its_place_only(named, tmp_path):
    line = f"musterctl --socket {named.control}"
    first = fish(named, tmp_path, f"{line} ")
    assert {"user", "group", "watch", "doctor"} <= first and "list" not in first
    second = fish(named, tmp_path, f"{line} group ")
    assert {"add", "show"} <= second and not {"group", "sales", "fish"} & second
    third = fish(named, tmp_path, f"{line} group show ")
    assert {"sales", "support"} <= third and not {"add", "list", "user"} & third
    assert "--members" in fish(named, tmp_path, f"{line} group set --m")
    assert {"show", "list"} <= fish(named, tmp_path, f"{line} watch alarm ")
    assert "history" in fish(named, tmp_path, f"{line} metrics ")
    assert {"bash", "zsh", "fish"} <= fish(named, tmp_path, f"{line} completion ")


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_offers_values_and_files_in_their_places(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export.xml").touch()
    line = f"musterctl --socket {named.control}"
    for setting in "c2s.tls-required", "s2s.policy@localhost":
        values = fish(named, tmp_path, f"{line} set {setting} ")
        assert values & {"on", "open"} and not {v for v in values if "." in v}, setting
    assert {"c2s.tls-required"} <= fish(named, tmp_path, f"{line} set c2s.tls-r")
    assert "viewer" not in fish(named, tmp_path, f"{line} admin add ")
    assert "viewer" in fish(named, tmp_path, f"{line} admin add alice@localhost ")
    for words in "import xep0227 exp", "user password alice@localhost --password-file exp":
        assert fish(named, tmp_path, f"{line} {words}") == {"export.xml"}, words
    assert "export.xml" not in fish(named, tmp_path, f"{line} user show exp")


def test_bash_offers_files_in_their_places(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export.xml").touch()
    script = named.ctl_run("completion", "bash").stdout
    line = [*LINE, str(named.control)]
    for words in "import xep0227", "cert import --key":
        assert "export.xml" in complete(script, [*line, *words.split()]), words
    assert "export.xml" not in complete(script, [*line, "user", "show"])


@pytest.mark.parametrize("typed, whole", [
    ("user show bob@", "bob@localhost"), ("group-member add sales bob@lo", "bob@localhost"),
    ("import xep0227 a:b=", "a:b=c.xml")])
def test_bash_completes_behind_what_divides_words(named, tmp_path, typed, whole):
    """At a terminal, where bash itself divides the line and puts in what it is given."""
    (tmp_path / "musterctl.bash").write_text(named.ctl_run("completion", "bash").stdout)
    (tmp_path / "a:b=c.xml").touch()
    typed = f"musterctl --socket {named.control} {typed}"
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"],
                   {**os.environ, "HOME": str(tmp_path), "TERM": "dumb", "INPUTRC": "/dev/null"})
    shown = b""

    def has(text):
        nonlocal shown
        while select.select([master], [], [], 0)[0]:
            shown += os.read(master, 65536)
        return text.encode() in shown

    os.write(master, b". ./musterctl.bash; tell() { echo \"<$READLINE_LINE>\"; }; "
                     b"bind -x '\"\\C-o\": tell'; echo rea''dy\r")
    try:
        until("bash is ready", lambda: has("ready\r\n"))
        os.write(master, f"{typed}\t\x0f".encode())
        until("the word is completed",
              lambda: has(f"<{typed.rpartition(' ')[0]} {whole} >"))
    finally:
        os.write(master, b"\x03exit\r")
        os.close(master)
        os.waitpid(pid, 0)
