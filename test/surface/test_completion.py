"""Completion of shells: words, names that the server has, and each in its place only."""
import os
import re
import select
import shlex
import shutil
import subprocess

import pytest

from harness import rows
from harness.client import TIMEOUT, until
from harness.muc import Room
from harness.server import MUSTERCTL
from harness.terminal import start

LINE = ["musterctl", "--socket"]


def complete(script, words):
    """The completions of bash for the last of these words."""
    code_ = (f"{script}\nCOMP_WORDS=({' '.join(words)} '')\nCOMP_CWORD={len(words)}\n"
             "COMP_LINE=\"${COMP_WORDS[*]}\"; COMP_POINT=${#COMP_LINE}\n"
             "function=$(complete -p musterctl | sed -E 's/.*-F ([^ ]+).*/\\1/')\n"
             "$function musterctl '' \"${COMP_WORDS[COMP_CWORD-1]}\"\n"
             "printf '%s\\n' \"${COMPREPLY[@]}\"")
    done = subprocess.run(["bash", "--norc", "-c", code_], capture_output=True, text=True,
                          check=False, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    return {word.strip() for word in done.stdout.split("\n")}


def with_names(tmp_path):
    """musterctl in the path, for scripts that ask it for names."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "musterctl").symlink_to(MUSTERCTL)
    return {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path)}


def completes_at_terminal(folder, shell, begin, line, whole):
    """The last word of the line, by a Tab. `begin`: what the shell reads first; it says "ready" at
    the end, and Ctrl-O shows the line as <LINE>."""
    pid, master = start(shell, folder, HOME=str(folder), TERM="dumb", INPUTRC="/dev/null")
    shown = b""

    def has(text):
        nonlocal shown
        while select.select([master], [], [], 0)[0]:
            shown += os.read(master, 65536)
        return text.encode() in shown

    try:
        os.write(master, f"{begin}\r".encode())
        until("the shell is ready", lambda: has("ready\r\n"))
        os.write(master, f"{line}\t\x0f".encode())
        until("the word is completed", lambda: has(f"<{line.rpartition(' ')[0]} {whole} >"))
    finally:
        os.write(master, b"\x03exit\r")
        os.close(master)
        os.waitpid(pid, 0)


def test_completion(server):
    script = server.ctl_run("completion", "bash").stdout
    assert {"user", "session", "status", "log"} <= complete(script, ["musterctl"])
    assert {"add", "del", "list", "password"} <= complete(script, ["musterctl", "user"])
    values = complete(script, ["musterctl", "set", "mdm.enabled"])
    assert values - {""} == {"on", "off", "--default"}
    assert "mdm.enabled" not in complete(script, ["musterctl", "set", "upload.file-bytes"])
    assert "mdm.enabled" in complete(script, ["musterctl", "set"])
    assert {"trust", "list"} <= complete(script, ["musterctl", "cert"])
    assert {"add", "del", "list", "report", ""} == complete(script, ["musterctl", "room", "alias"])
    areas = {row["area"] for row in server.rows("log", "areas")}
    assert {"all", "on", "off", *areas} <= complete(script, ["musterctl", "log", "trace"])


def test_completion_leaves_nothing_in_the_shell(server):
    """A word of one completion that stays would be in the next one: of another server, say."""
    script = server.ctl_run("completion", "bash").stdout
    lines = (["user", "show"], ["--socket", "/nowhere", "room", "show"], ["set", "mdm.enabled"],
             ["help"], ["help", "user"], ["token", "revoke"], ["group", "show"], ["--ca"], [])
    code_ = script + "\n: $COMP_WORDBREAKS\n" + "".join(  # bash makes it when it is read
        f"COMP_WORDS=(musterctl {' '.join(words)} '') COMP_CWORD={len(words) + 1}\n"
        "before=$(declare -p); _musterctl; after=$(unset before; declare -p)\n"
        "diff <(echo \"$before\") <(echo \"$after\") |"
        " grep '^[<>]' | grep -vE ' (COMPREPLY|before|after|_|PIPESTATUS|RANDOM|SRANDOM|SECONDS|"
        "LINENO|EPOCH.*|BASHPID|BASH_.*)='\nunset before after\n" for words in lines)
    done = subprocess.run(["bash", "--norc", "-c", code_], capture_output=True, text=True,
                          check=False, timeout=TIMEOUT, env={"PATH": os.environ["PATH"]})
    assert not done.stderr and not done.stdout, done


def test_completion_with_names_of_the_server(server, tmp_path, monkeypatch):
    """Also of those who chose a name that a shell would run."""
    monkeypatch.setenv("PATH", with_names(tmp_path)["PATH"])
    intrude = tmp_path / "bin" / "intrude"
    intrude.write_text(f"#!/bin/sh\ntouch {tmp_path}/intruded\n")
    intrude.chmod(0o755)
    server.add_user("$(intrude)", "secret")
    Room("cave").create(server.login("alice"), "alice", persistentroom=True)
    script = f"cd {tmp_path}; " + server.ctl_run("completion", "bash").stdout
    line = ["musterctl", "--socket", str(server.control)]
    users = complete(script, [*line, "user", "show"])
    assert {"alice@localhost", "bob@localhost"} <= users
    hostile, = (word for word in users if "intrude" in word)
    assert shlex.split(hostile) == ["$(intrude)@localhost"]
    assert not (tmp_path / "intruded").exists()
    assert "cave@conference.localhost" in complete(script, [*line, "room", "show"])
    assert "alice@localhost" not in complete(script, [*line, "room", "list"])
    assert server.ctl_run("names", "user", "bo").stdout == "bob@localhost\n"
    assert server.ctl_run("names", "user", "zz").stdout == ""
    assert server.ctl_run("names", "room", "").stdout == "cave@conference.localhost\n"
    assert all(server.ctl_run("names", *words).returncode == 2 for words in (["planet", ""], []))


def test_completion_of_partners(server, tmp_path, monkeypatch):
    """Domains that the server blocks, or has streams with: each once, wherever one is named."""
    monkeypatch.setenv("PATH", with_names(tmp_path)["PATH"])
    script = server.ctl_run("completion", "bash").stdout
    line = ["musterctl", "--socket", str(server.control)]
    server.ctl("federation", "block", "partner.test")
    assert server.ctl_run("names", "partner", "").stdout == "partner.test\n"
    assert server.ctl_run("names", "partner", "x").stdout == ""
    for command in ("s2s show", "s2s trace", "s2s close", "s2s retry", "s2s list",
                    "federation block", "federation allow"):
        assert "partner.test" in complete(script, [*line, *command.split()]), command


def test_completion_of_values_of_options(server):
    """Behind an option that has choices there is nothing else, even where another command takes
    a file by an option of that name."""
    script = server.ctl_run("completion", "bash").stdout
    assert {"rsa:2048", "ecdsa:p256"} <= complete(script, ["musterctl", "cert", "csr", "--key"])
    found = [(name, option, part["enum"])
             for name, row in rows.part("commands").items()
             for option, part in row["properties"]["args"]["properties"].items()
             if "enum" in part and part.get("x-kind") == "option"]
    assert len(found) > 20
    for name, option, choices in found:
        line = ["musterctl", *name.split(), "--" + option.replace("_", "-")]
        assert complete(script, line) - {""} == set(choices), line


def test_fish_completes_names_of_the_server(server, tmp_path):
    if shutil.which("fish") is None:
        pytest.skip("needs fish")
    script = tmp_path / "musterctl.fish"
    script.write_text(server.ctl_run("completion", "fish").stdout)
    line = f"musterctl --socket {server.control} user show bo"
    done = subprocess.run(["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"],
                          capture_output=True, text=True, check=True, timeout=TIMEOUT,
                          env=with_names(tmp_path))
    assert "bob@localhost" in {found.partition("\t")[0] for found in done.stdout.splitlines()}


LINES = [("musterctl us", "user"), ("musterctl user dis", "disable"),
         ("musterctl set sm.hibernate-t", "sm.hibernate-time"),
         ("musterctl log trace muc.a", "muc.archive"),
         ("musterctl cert tr", "trust"), ("musterctl help cert trust li", "list"),
         ("musterctl room alias de", "del")]


@pytest.mark.parametrize("line, whole", LINES)
def test_completion_in_fish(server, tmp_path, line, whole):
    if shutil.which("fish") is None:
        pytest.skip("needs fish")
    script = tmp_path / "musterctl.fish"
    script.write_text(server.ctl_run("completion", "fish").stdout)
    done = subprocess.run(["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"],
                          capture_output=True, text=True, check=True, timeout=TIMEOUT,
                          env={**os.environ, "HOME": str(tmp_path)})
    assert whole in {found.partition("\t")[0] for found in done.stdout.splitlines()}


@pytest.mark.parametrize("line, whole", LINES)
def test_completion_in_zsh(server, tmp_path, line, whole):
    """The first Tab of a shell, which loads the script as well."""
    if shutil.which("zsh") is None:
        pytest.skip("needs zsh")
    (tmp_path / "_musterctl").write_text(server.ctl_run("completion", "zsh").stdout)
    completes_at_terminal(
        tmp_path, ["zsh", "-f", "-i"],
        f"fpath=({tmp_path} $fpath); autoload -U compinit; compinit -u -D; "
        "tell() { print -r -- \"<$BUFFER>\" }; zle -N tell; bindkey ^O tell; print rea''dy",
        line, whole)


ZSH_LISTS = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PROMPT=; LISTMAX=9999; COLUMNS=200; LINES=500"
zpty -w shell "fpath=($1 \$fpath); autoload -U compinit; compinit -u -D"
zpty -w shell "zstyle ':completion:*' list-grouped false; zstyle ':completion:*' verbose yes"
zpty -w shell "bindkey ^I list-choices; tell() { zle -M END''OF; }; zle -N tell; bindkey ^O tell"
zpty -w shell "print rea''dy"
zpty -r shell shown "*ready*2004h*"  # the shell takes keys
zpty -w -n shell "$2"$'\t\x0f'
zpty -r shell shown "*ENDOF*"
print -r -- $shown
"""


def zsh_shown(server, tmp_path, line):
    """What zsh lists for the last word of the line."""
    folder = tmp_path / "functions"
    folder.mkdir(exist_ok=True)
    (folder / "_musterctl").write_text(server.ctl_run("completion", "zsh").stdout)
    done = subprocess.run(["zsh", "-f", "-c", ZSH_LISTS, "zsh", folder, line], capture_output=True,
                          text=True, check=False, timeout=TIMEOUT, cwd=tmp_path,
                          env={**os.environ, "TERM": "dumb", "HOME": str(tmp_path)})
    assert done.returncode == 0 and not done.stderr, done
    # The line, an empty line, the list, and the line again.
    return done.stdout.replace("\r", "").split("\n\n")[1].rpartition("\n")[0]


def zsh(server, tmp_path, line):
    """The same as words with what they are."""
    found = {}
    for shown in zsh_shown(server, tmp_path, line).splitlines():
        word, _, what = shown.strip().partition(" -- ")
        found[word.strip()] = what.strip()
    return found


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_says_what_a_word_is(named, tmp_path):
    """Commands and options with their briefs, as `musterctl help` has them."""
    briefs = {name: row["description"] for name, row in rows.part("commands").items()}
    line = f"musterctl --socket {named.control}"
    first = zsh(named, tmp_path, f"{line} ")
    assert briefs["doctor"].startswith(first["doctor"]) and len(first["doctor"]) > 10
    assert "add, " in first["user"] and first["completion"].startswith("Prints a script")
    second = zsh(named, tmp_path, f"{line} room ")
    assert {"create", "destroy", "export"} <= set(second)
    for word, what in second.items():
        group = f"room-{word}" in {name.split()[0] for name in briefs}  # "room alias" is one
        assert group or not what or briefs[f"room {word}"].startswith(what), word
    assert second["alias"].startswith("add, ")
    assert second["create"] and "user" not in second
    options = zsh(named, tmp_path, f"{line} user set alice@localhost --")
    assert options["--given-name"] == "given name of the user"
    assert options["--json"] == "Prints the server's answer as it is"
    assert zsh(named, tmp_path, f"{line} set sm.hib")["sm.hibernate-time"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_offers_a_word_in_its_place_only(named, tmp_path):
    (tmp_path / "export.xml").touch()
    named.add_user("$(intrude)")
    intrude = tmp_path / "bin" / "intrude"
    intrude.write_text(f"#!/bin/sh\ntouch {tmp_path}/intruded\n")
    intrude.chmod(0o755)
    line = f"musterctl --socket {named.control}"
    for words, there, away in (
            ("group ", "add", "sales"), ("group show ", "sales", "add"),
            ("metrics ", "history", "user"), ("watch alarm ", "list", "user"),
            ("completion ", "fish", "user"), ("set c2s.tls-required ", "off", "add"),
            ("set s2s.policy@localhost ", "open", "on"),
            ("user set --given-name Bob bo", "bob@localhost", "alice@localhost"),
            ("group-member add sales al", "alice@localhost", "bob@localhost"),
            ("admin add alice@localhost ", "viewer", "alice@localhost"),
            ("import xep0227 exp", "export.xml", "add"),
            ("user password alice@localhost --password-file exp", "export.xml", "add"),
            ("--config=exp", "export.xml", "add"), ("user show ", "$(intrude)", "export.xml")):
        shown = zsh_shown(named, tmp_path, f"{line} {words}")
        listed = shown.replace("\\", "").split()
        assert [word for word in listed if word.startswith(there)], (words, shown)
        assert away not in listed, (words, shown)
    assert not (tmp_path / "intruded").exists()


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_takes_the_script_as_it_is_read(named, tmp_path):
    """Not only as a file of its folders of functions."""
    completes_at_terminal(
        tmp_path, ["zsh", "-f", "-i"],
        f"autoload -U compinit; compinit -u -D; source <({MUSTERCTL} completion zsh); "
        "tell() { print -r -- \"<$BUFFER>\" }; zle -N tell; bindkey ^O tell; print rea''dy",
        f"musterctl --socket {named.control} user show bo", "bob@localhost")


@pytest.mark.parametrize("shell, check", [("bash", "-n"), ("zsh", "-n"), ("fish", "-n")])
def test_completion_is_a_script(server, tmp_path, shell, check):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    script = tmp_path / "script"
    script.write_text(server.ctl_run("completion", shell).stdout)
    assert "user" in script.read_text() and "sm.hibernate-time" in script.read_text() or \
        shell == "fish"
    done = subprocess.run([shell, check, script], capture_output=True, text=True, check=False,
                          timeout=TIMEOUT)
    assert done.returncode == 0 and not done.stderr


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


def test_names_of_every_kind_are_offered(named, tmp_path):
    """Behind a command, and as the value of an option."""
    named.ctl("template", "add", "staff")
    named.ctl("room", "create", "cave@conference.localhost", "alice@localhost")
    named.ctl("admin", "create", "root", "reader")
    named.ctl("component", "add", "bridge.localhost")
    named.ctl("webhook", "add", "https://hook.localhost/")
    named.ctl("federation", "block", "partner.test")
    script = named.ctl_run("completion", "bash").stdout
    line = [*LINE, str(named.control)]
    kinds = {"user": ("user show", "alice@localhost"), "group": ("group show", "sales"),
             "room": ("room show", "cave@conference.localhost"), "role": ("role del", "reader"),
             "token": ("token revoke", "prometheus"), "template": ("template show", "staff"),
             "partner": ("s2s show", "partner.test"),
             "admin": ("admin show", "root"), "webhook": ("webhook show", "1"),
             "component": ("component secret", "bridge.localhost"),
             "domain": ("domain show", "localhost")}
    options = [("admin unlock", "root"), ("admin totp", "root"), ("webhook test", "1"),
               ("component del", "bridge.localhost"), ("cert show", "localhost"),
               ("group-member add sales --domain", "localhost"),
               ("user add x@localhost --template", "staff"),
               ("import xep0227 x --template", "staff"), ("template set staff --groups", "sales"),
               ("template set staff --federation", "default"),
               ("template set staff --disabled", "off")]
    said = " ".join(named.ctl_run("help", "names").stdout.split())
    told = re.search(r"KIND is (.*?)\.", said)[1].replace(" or ", ", ")
    assert set(told.split(", ")) == set(kinds)
    for kind, (_, name) in kinds.items():
        assert name in named.ctl_run("names", kind, name[:1]).stdout.split(), kind
    assert "root" not in complete(script, [*line, "admin", "create"])
    for words, name in [*kinds.values(), *options]:
        assert name in complete(script, [*line, *words.split()]), words
        if shutil.which("fish"):
            shown = fish(named, tmp_path, f"musterctl --socket {named.control} {words} ")
            assert name in shown, words


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
    completes_at_terminal(
        tmp_path, ["bash", "--norc", "--noprofile", "-i"],
        ". ./musterctl.bash; tell() { echo \"<$READLINE_LINE>\"; }; bind -x '\"\\C-o\": tell'; "
        "echo rea''dy", f"musterctl --socket {named.control} {typed}", whole)
