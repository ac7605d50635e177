"""Every key of the node file, every setting and every argument of a command, given wrongly: a
precise error, and nothing has changed. What is tried is made from the rows, as the product
documents them; a row of a kind that is new fails here until it is told what is wrong for it."""
import re
import subprocess

import pytest

from harness.control import Control, commands, node_keys, settings
from harness.muc import Room
from harness.server import MUSTERD, free_ports, yaml

# --- the node file ---

LONG = "x" * 2000
TEXTS = ([], ["a"], {"a": 1}, None, "a\x01b", LONG)  # what no text is
ADDRESSES = ("nowhere", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1", "300.0.0.1:1",
             "127.0.0.1:05222", "[::1", "[::1]:", "[localhost]:5222",
             "localhost:5222", "::1:5222", "[::1]", {"address": "127.0.0.1:1", "proxy": "perhaps"},
             {"proxy": True}, {"address": "127.0.0.1:1", "port": 1}, ["127.0.0.1:1"], None)
PAIR = {"certificate": "a.pem", "key": "b.pem"}


def numbers(low, high):
    return int(low) - 1, int(high) + 1, "one", 1.5, "", 10 ** 30, *TEXTS


def names(low, high):
    return "a b", "ä", "a_b", "x" * (int(high) + 1), "", *TEXTS


def domains(low, high):
    many = [f"d{i}.test" for i in range(int(high) + 1)]
    return ([], many, "localhost", {"a": 1}, None, ["a.test", "A.test"], ["a b"], ["@"], [""],
            [[]], ["a.test/r"], ["x" * 300])


def addresses(high):
    return ("127.0.0.1:1", {"address": "127.0.0.1:1"}, None, ["127.0.0.1:0"] * (int(high) + 1),
            *([one] for one in ADDRESSES))


# What a value may be, as docs/config.md says it: what is wrong then.
WRONG = {
    r"a number from (\d+) to (\d+)": numbers,
    r"auto, or a number from (\d+) to (\d+)": numbers,
    r"(\d+) to (\d+) letters, digits and hyphens": names,
    r"a list of (\d+) to (\d+) different domain names.*": domains,
    r"a list of at most (\d+) items, such as .*": addresses,
    r"a path; .*": lambda: ("", *TEXTS),
    r"sqlite, or postgresql://.*": lambda: ("oracle", "", "mysql://a@b/c", *TEXTS),
    r"(?:\w+, )*\w+ or \w+": lambda: ("perhaps", "", "ON", *TEXTS),
    r"a section DOMAIN: .*": lambda: (
        [], "x", {"other.test": PAIR}, {"localhost": {}}, {"localhost": "a.pem"},
        {"localhost": {"key": "b"}}, {"localhost": {**PAIR, "more": 1}}, {"localhost": None}),
    r"a section NAME: .*": lambda: (
        [], "x", {"no.such-setting": 1}, {"sm.ack-every": []}, {"sm.ack-every": {"a": 1}},
        {"sm.ack-every": 0}, {"sm.ack-every": "often"}, {"c2s.tls-required": 17}),
}


def wrong_for(allowed):
    for pattern, make in WRONG.items():
        if found := re.fullmatch(pattern, allowed):
            return make(*found.groups())
    raise AssertionError(f"what is wrong for: {allowed}")


def node_file(folder, key=None, value=None):
    """One that is right but for this value."""
    c2s, tls = free_ports(2)
    found = {"domains": ["localhost"], "data": "data", "control": "control.sock",
             "listen": {"c2s": [f"127.0.0.1:{c2s}"], "c2s_tls": [f"127.0.0.1:{tls}"]},
             "tls": {}, "log": {}}
    if key:
        section, _, name = key.rpartition(".")
        (found[section] if section else found)[name] = value
    if (key or "").startswith("tls.") and key in ("tls.key", "tls.certificate"):
        other = {"tls.key": "certificate", "tls.certificate": "key"}[key]
        found["tls"][other] = "other.pem"
    path = folder / "muster.yaml"
    path.write_text("".join(f"{k}: {yaml(v)}\n" for k, v in found.items() if v != {} or k == key))
    return path


def check(path):
    return subprocess.run([MUSTERD, "--config", path, "--check"], capture_output=True, text=True,
                          timeout=60, check=False, cwd="/")


def test_the_file_that_is_changed_is_right(tmp_path):
    done = check(node_file(tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("key", node_keys(MUSTERD))
def test_every_key_of_the_node_file(tmp_path, key):
    """FILE:LINE: key 'KEY': found what stands there, allowed what the documentation says."""
    allowed = node_keys(MUSTERD)[key].allowed
    for value in wrong_for(allowed):
        path = node_file(tmp_path, key, value)
        done = check(path)
        assert done.returncode == 2, f"{value!r}: {done.stdout}{done.stderr}"
        told = re.search(rf"^{re.escape(str(path))}:(\d+): key '(.+?)'.*found (.*), allowed (.*)$",
                         done.stderr, re.M)
        assert told, f"{value!r}: {done.stderr}"
        line = path.read_text().splitlines()[int(told[1]) - 1]
        assert line.startswith(key.partition(".")[0]) and len(done.stderr) < 2000
        assert told[2].startswith(key) or key == "settings", done.stderr
        assert told[4] in allowed or told[2] != key, done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"muster.yaml"}, "nothing was made"


def test_files_that_are_not_there(tmp_path):
    """What the file names, each with its path; a pair that is only half there, too."""
    nowhere = tmp_path / "nowhere" / "at" / "all"
    for key, value in (("data", str(nowhere)), ("tls.certificate", str(nowhere)),
                       ("tls.domains", {"localhost": {"certificate": str(nowhere), "key": "x"}})):
        done = check(node_file(tmp_path, key, value))
        assert done.returncode != 0 and str(nowhere) in done.stderr, f"{key}: {done.stderr}"
    assert {p.name for p in tmp_path.iterdir()} == {"muster.yaml"}


def test_a_control_socket_in_no_folder(tmp_path):
    """--check does not mind: systemd makes /run/muster for the unit. A start does."""
    path = node_file(tmp_path, "control", "nowhere/control.sock")
    assert check(path).returncode == 0
    done = subprocess.run([MUSTERD, "--config", path], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 1 and f"{tmp_path}/nowhere/control.sock" in done.stderr


def test_a_reload_with_each_key_wrong(server, alice):
    """The command says the same, the server goes on with what it has."""
    before = server.rows("config", "show"), server.rows("status")[0]["version"]
    right = server.file.read_text()
    for key, row in node_keys(MUSTERD).items():
        value = next(v for v in wrong_for(row.allowed) if v is not None)
        section, _, name = key.rpartition(".")
        old = server.conf.get(section or name)
        server.conf[section or name] = {**(old or {}), name: value} if section else value
        server.write()
        done = server.ctl_run("server", "reload")
        assert done.returncode == 2 and f"key '{key}" in done.stderr, f"{key}: {done.stderr}"
        server.conf[section or name] = old
        if old is None:
            del server.conf[section or name]
    server.file.write_text(right)
    assert (server.rows("config", "show"), server.rows("status")[0]["version"]) == before
    server.ctl("server", "reload")
    alice.ping()


# --- settings ---


def beyond(text, step):
    """A number with its unit, one more or less."""
    value, unit = re.fullmatch(r"(\d+)(\D*)", text).groups()
    return f"{int(value) + step}{unit}"


def wrong_setting(row):
    """Nonsense of all kinds; below and above the range; what is no choice; units of others."""
    if row.allowed.startswith("text of"):
        found = re.fullmatch(r"text of (\d+) to (\d+) bytes(: .*)?", row.allowed)
        low, high, form = found.groups()
        return ["x" * (int(high) + 1), *(["x" * (int(low) - 1)] if int(low) else []),
                *(["<, >"] if form and "printable" not in form else [])]
    if row.allowed == "on or off" or row.allowed.startswith("one of: "):
        return ["perhaps", "", "1 or", "on off"]
    if row.allowed == "a path that begins with /":
        return ["backups", "./backups", "", "~/backups"]
    found = re.match(r"(\d+\w*) to (\d+\w*)|at least (\d+\w*)()", row.allowed)
    assert found, f"what is wrong for: {row.allowed}"
    low, high = (part for part in found.groups() if part is not None)
    sizes = re.search(r"\d(kB|[KMG]iB)\b", row.allowed)
    return ["often", "", "-1", "1.5.5", "1 parsec", "0x10", "9" * 30,
            *([] if sizes or int(re.match(r"\d+", low)[0]) == 0 else [beyond(low, -1)]),
            *([beyond(high, 1)] if high else []), *(["5s"] if sizes else ["5KiB"]),
            *([] if "none" in row.allowed else ["none"])]


@pytest.mark.migrates(why="every setting is set, and this one is in the node file then")
def test_every_setting(server):
    """SETTING: found what was given, allowed what the documentation says; the value stays."""
    control = Control(server)
    before = server.rows("config", "show")
    told = []
    for name, row in settings(MUSTERD).items():
        for value in wrong_setting(row):
            answer = control.run("set", setting=name, value=value)
            told.append((name, row.allowed, value, answer))
    for name, allowed, value, answer in told:
        said = answer["text"]
        assert not answer["ok"] and name in said and len(said) < 700, (name, value, answer)
        assert "found" in said and "allowed" in said, (name, value, said)
        assert answer["error"] in ("syntax", "limit"), (name, value, answer)
    assert server.rows("config", "show") == before
    assert len(told) > 1000


# What is no HOST:PORT, though it looks like one.
NO_HOSTS = ("h:", "h:x", "h:0", "h:05", "h:65536", "h:-1", "h:+1", "h: 1", ":1", "[::1", "::1]",
            "[::1]x", "[::1]:", "[::1]:0", "[::1]:05", "[h]:1", "[]:1", "127.0.0.1:0",
            "127.0.0.1:05", "127.0.0.1:5:6", "256.0.0.1:5", "1.2.3:5", "127.0.0.1.:5", "h h:1",
            "h..a:1", ".h:1", "-h:1", "u@h:1")
HOST_SETTINGS = {"mail.relay": "{}", "syslog.server": "tcp:{}", "extdisco.services": "stun:{}/udp",
                 "s2s.dns-servers": "{}", "snmp.receiver": "{}", "imtest.target": "{}",
                 "fedtest.target": "{}", "fedtest.proxy": "{}", "pushtest.edge": "{}"}


def test_hosts_with_wrong_ports(server):
    """In each setting and command that takes one."""
    control = Control(server)
    for host in NO_HOSTS:
        for name, form in HOST_SETTINGS.items():
            answer = control.run("set", setting=name, value=form.format(host))
            assert answer.get("error") == "syntax", (name, host, answer)
            assert "allowed" in answer["text"], (name, host, answer)
        done = server.ctl_run("s2s-route", "add", "x.test", host)
        assert done.returncode == 2 and "allowed" in done.stderr, (host, done)
        for words in (("imtest", "--receiver", "bob@x.test", "--target", host),
                      ("fedtest", "--domain", "x.test", "--proxy", "h", "--target", host),
                      ("fedtest", "--domain", "x.test", "--target", "h", "--proxy", host),
                      ("pushtest", "--service", "x.test", "--edge", host)):
            done = server.ctl_run(*words)
            assert done.returncode == 2 and ":PORT (1 to 65535)" in done.stderr, (words, done)
    assert not server.rows("s2s-route", "list")
    for name, form in HOST_SETTINGS.items():
        if name != "snmp.receiver":
            control.run("set", setting=name, value=form.format("[::1]:1"))
            assert server.rows("get", name)[0]["value"] == form.format("[::1]:1")


def test_every_setting_in_the_node_file(tmp_path):
    """The same rules, in the file; all mistakes of one file are told, up to fifty."""
    rows = settings(MUSTERD)
    for first in range(0, len(rows), 40):
        some = list(rows)[first:first + 40]
        wrong = {name: wrong_setting(rows[name])[0] for name in some}
        done = check(node_file(tmp_path, "settings", wrong))
        assert done.returncode == 2
        for name in some:
            assert f"{name}" in done.stderr, name
        assert done.stderr.count("allowed") >= len(some)


# --- commands ---

ADDRESS = ("@", "a b@localhost", "x" * 1100 + "@localhost")
COUNT = ("many", "-1", "9" * 20)
TIME = ("soon", "-1s", "5 parsecs")
DOMAIN = ("@", "a b", "a@b", "x" * 1100)
ANY = ("a\x01b", "a\x7fb")  # any text will do, but for what no text has
PRECISE = re.compile(r"found|missing|unknown|there is no|[Nn]o such|no setting begins|cannot")
# What is wrong for an argument, by its name.
ARGUMENTS = {
    **dict.fromkeys(("jid", "user", "users", "owner", "roster", "watcher", "contact", "new-owner",
                     "room", "rooms", "members", "owners", "alternate", "allow", "block", "ask",
                     "none", "receiver", "service", "with"), ADDRESS),
    "contacts": ("@", "x" * 1100 + "@localhost"),
    "visible-to": ("everybody", "domain:", "group"),
    **dict.fromkeys(("rule", "rules"), ("department", "shoe-size=42", "=x")),
    **dict.fromkeys(("from", "to", "before", "version", "waits"), COUNT), "role": ("no-such-role",),
    **dict.fromkeys(("permissions", "scope"), ("users", "*.nothing more")),
    **dict.fromkeys(("confirm", "delay", "expires", "older-than", "timeout", "hold-down", "step",
                     "for", "within"), TIME),
    "alarm": ("no.such-alarm",), "job": ("1-99999", "x" * 40), "series": ("no_such_series",),
    "code": ("1", "12345a", "x" * 100), "dns": ("nowhere", "127.0.0.1:x"),
    "url": ("nowhere", "ftp://example.org/", "https://a b/", "x" * 2000), "events": ("user.born",),
    **dict.fromkeys(("around", "start", "end"), ("yesterday-or-so", "-1")),
    **dict.fromkeys(("domain", "alias", "local", "pattern"), DOMAIN), "domains": ("@", "x" * 1100),
    "limit": COUNT, "days": COUNT, "port": COUNT,
    "setting": ("no.such-setting", "@"), "fingerprint": ("@", "ab", "f" * 65),
    **dict.fromkeys(("priority", "weight"), COUNT), "pin": ("@", "ab", "f" * 65),
    **dict.fromkeys(("file", "groups-file", "key"), ("/nowhere/at/all",)),
    "folder": ("relative", "/nowhere/at/all"),
    "groups": ("no-such-group",),
    "prefix": ("no-such-part",), "area": ("no-such-area",), "id": ("@",), "field": ("no-such",),
    **dict.fromkeys(("after", "filter", "text", "value", "nick", "name", "description", "reason",
                     "group", "email", "certificate", "given-name", "surname", "department",
                     "directory-uri", "who",
                     "template", "username", "password", "secret", "target", "proxy", "edge",
                     "node", "actor", "shown", "command", "comment", "note", "event", "word"), ANY),
}
TEA = "tea@conference.localhost"
RIGHT = {
    **dict.fromkeys(("jid", "user", "owner", "owners"), "alice@localhost"),
    **dict.fromkeys(("contact", "contacts", "new-owner"), "bob@localhost"),
    "users": "alice@localhost bob@localhost", "members": "bob@localhost", "group": "Sales",
    "node": "node1", "job": "1-1",
    "room": TEA, "rooms": TEA, "domain": "bots.test", "domains": "localhost",
    "pattern": "*.other.test", "target": "127.0.0.1:5269",
    "alias": "tea.localhost", "text": "hello", "fingerprint": "f" * 64,
    "department": "Sales", "who": "Sales", "area": "message",
    "setting": "sm.ack-every", "value": "9", "field": "membersonly",
    "nick": "alice", "prefix": "sm", "id": "1", "folder": "/nowhere/else", "file": "/nowhere/else",
    "role": "viewer", "permissions": "users.read", "name": "desk",
    "from": "1", "to": "1", "version": "1", "waits": "1", "alarm": "store.full",
    "series": "muster_sessions",
    "code": "123456", "url": "https://hook.example.org/", "reason": "a test",
}


def words(command, args, given):
    """A command with the right value of each argument that is required, and these."""
    said = command.split()
    for arg in args:
        if arg.kind == "flag":
            said += [f"--{arg.name}"] if arg.name in given else []
        elif arg.kind == "option":
            said += [f"--{arg.name}", given[arg.name]] if arg.name in given else []
        elif arg.kind == "required" or arg.name in given:
            right = arg.choices[0] if arg.choices else RIGHT[arg.name]
            said.append(given.get(arg.name, right))
    if command in ("user add", "user password") and "password" not in given:
        said += ["--password", "p"]
    return said


def wrong_calls(name, args):
    """(words, the value that is wrong)"""
    yield [*words(name, args, {}), "--no-such-option"], "--no-such-option"
    required = [arg for arg in args if arg.kind == "required"]
    if required:
        yield words(name, args, {})[:len(name.split()) + len(required) - 1], required[-1].name
    if len(name.split()) > 1:
        yield [name.split()[0], "no-such"], "no-such"
    for arg in args:
        if arg.kind != "flag":
            for value in ("perhaps",) if arg.choices else ARGUMENTS[arg.name]:
                yield words(name, args, {arg.name: value}), value


def state(server):
    """What commands could have changed."""
    shown = [server.ctl_run(*line.split()).stdout for line in (
        "user list", "config show --changed", "room-admin list", "room-alias list", "report list",
        "component list", "contact list alice@localhost", "policy show alice@localhost",
        "motd show", f"room affiliations {TEA}", "user count")]
    return [re.sub(r"\d+ \w+ ago|\s", "", text) for text in shown]


@pytest.mark.release
@pytest.mark.parametrize("part", range(4))
def test_every_argument_of_every_command(make_server, part):
    """Exit status 1 or 2, one line or two that name what was wrong; nothing has changed."""
    server = make_server("alice", "bob", settings={"invite.enabled": "on"})
    alice = server.client("alice", "a")
    Room("tea").create(alice, "alice", persistentroom=True)
    before = state(server)
    for name, args in list(commands(MUSTERD).items())[part::4]:
        for said, wrong in wrong_calls(name, args):
            done = server.ctl_run(*said, stdin="")
            told = done.stderr
            if name == "trace message" and wrong in ("@", *COUNT) and done.returncode == 0:
                continue  # an id is any text, and "many" a domain
            if name == "contact add" and wrong in ADDRESS and done.returncode == 0:
                assert "not an address" in done.stdout  # in a row for each contact
                continue
            assert done.returncode in (1, 2), f"{said}: {done.stdout}{told}"
            assert told.startswith("musterctl: ") and 20 < len(told) < 2500, f"{said}: {told}"
            assert PRECISE.search(told), f"{said}: {told}"
    assert state(server) == before
    alice.ping()


def test_no_name_is_like_an_option(make_server):
    """What is made with such a name could be named behind -- only."""
    server = make_server("alice")
    before = state(server)
    made = set()
    for name, args in commands(MUSTERD).items():
        for arg in args:
            if arg.kind != "required" or arg.name not in ("name", "to"):
                continue
            said = words(name, args, {arg.name: "-x"})
            at = len(name.split())
            done = server.ctl_run(*said[:at], "--", *said[at:], stdin="planted south wind\n")
            assert done.returncode in (1, 2), said
            if "- is not the first" in done.stderr:
                made.add(name)
    assert made >= {"group add", "template add", "template rename", "role set", "token add",
                    "admin create"}
    assert state(server) == before
