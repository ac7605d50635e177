"""The recipes of README and docs/ are true: each is taken out of its page and run by the program
that it is written for. Programs that ./check does not install (nginx, haproxy) are tried where they
are there."""
import contextlib
import fcntl
import gzip
import os
import pathlib
import re
import shutil
import socket
import subprocess

import pytest
from operate.test_certs import make

from harness import rows
from harness.client import TIMEOUT, Client, until
from harness.server import MUSTERCTL, MUSTERD, ROOT, free_ports
from harness.websocket import WebSocket

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(page, with_text):
    """The fenced blocks of a page that contain a text."""
    text = (ROOT / page).read_text()
    return [body for _, _, body in FENCE.findall(text) if with_text in body]


def block(page, with_text):
    found = blocks(page, with_text)
    assert len(found) == 1, f"{page}: {len(found)} blocks with {with_text!r}"
    return found[0]


def needs(program):
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def run(*command, timeout=TIMEOUT, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout,
                          **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


# --- commands ---


def commands():
    """Every command line of musterctl in a block, and in `…`."""
    for page in PAGES:
        if page.name in ("commands.md", "architecture.md"):  # made from the rows; a drawing
            continue
        text = page.read_text()
        fenced = "\n".join(body for _, _, body in FENCE.findall(text))
        lines = re.findall(r"^ *(?:\$ )?(?:sudo )?musterctl (.*)$", fenced, re.MULTILINE)
        inline = re.findall(r"`(?:sudo )?musterctl ([^`]+)`", FENCE.sub("", text))
        for line in lines + [" ".join(i.split()) for i in inline]:
            yield page.name, re.split(r"  +| # |; |\)\"", line)[0]


def test_commands_exist_with_their_options():
    sections = re.split(r"^## ", run(MUSTERD, "--dump-docs", "commands"), flags=re.MULTILINE)
    known = {text.split("\n")[0]: text for text in sections[1:]}
    assert "user add" in known and len(known) > 50
    tried = 0
    for page, line in commands():
        line = line.removeprefix("watch ")
        line = re.sub(r"--(?:url|token-file|ca) \S+ ?", "", line)
        words = [w for w in line.split() if w not in ("--json", "--csv", "--yes")]
        if words[0] == "help" or words[0].isupper():
            continue
        name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
        assert name in known, f"{page}: musterctl {line}: there is no such command"
        for option in re.findall(r"--[a-z-]+", " ".join(words)):
            assert option in known[name] or option == "--stdin", f"{page}: {name} has no {option}"
        tried += 1
    assert tried > 40


def texts():
    """The string literals of the program, those that follow one another as one."""
    literal = r'"(?:[^"\\\n]|\\.)*"'
    for path in sorted((ROOT / "src").rglob("*.c")):
        if path.name.endswith(("_test.c", "_fuzz.c")):
            continue
        for run_of in re.findall(rf"{literal}(?:\s*{literal})*", path.read_text()):
            yield path.name, "".join(p[1:-1] for p in re.findall(literal, run_of))


def test_commands_of_texts_exist():
    """What alarms, refusals and advice tell operators to run: `musterctl …`, or a command alone
    whose first word is that of a group."""
    names = set(re.findall(r"^## (.+)$", run(MUSTERD, "--dump-docs", "commands"), re.MULTILINE))
    groups = {name.split()[0] for name in names if " " in name}
    groups |= {word.partition("-")[0] for word in groups}
    tried, wrong = 0, []
    for where, text in texts():
        for quoted in re.findall(r"`([^`%]+)`", text):
            words = [w for w in quoted.split() if w not in ("sudo", "--json")]
            ours = words[:1] == ["musterctl"]
            words = words[1:] if ours else words
            if not words or words[0] == "help" or not words[0].islower() or words[0][0] in "-[":
                continue
            if not ours and (len(words) < 2 or words[0] not in groups):
                continue
            words = rows.joined(words, groups)
            actions = words[1].split("|") if len(words) > 1 else [""]
            if words[0] not in names and any(f"{words[0]} {a}" not in names for a in actions):
                wrong.append(f"{where}: `{quoted}`")
            tried += 1
    assert tried > 60 and not wrong, "\n".join(wrong)


def test_settings_exist():
    """Names such as `http.base-url` in the pages are settings, keys of the node file, alarms,
    permissions, events or files."""
    known = set(re.findall(r"^\| `([a-z0-9_.-]+)` \|", run(MUSTERD, "--dump-docs", "config"),
                           re.MULTILINE))
    areas = {name.split(".")[0] for name in known if "." in name}
    known |= {row["x-permission"] for row in rows.part("commands").values()}
    sources = "\n".join(p.read_text() for p in (ROOT / "src").rglob("*.c"))
    for page in PAGES:
        for name in re.findall(r"`([a-z0-9]+\.[a-z0-9-]+)(?: [^`]*)?`", page.read_text()):
            if name.split(".")[0] in areas and not name.endswith((".c", ".h", ".db", ".py")):
                assert name in known or f'"{name}"' in sources, f"{page.name}: {name}"


def test_warnings_say_what_they_mean():
    """Each warning and error in the log has words beside the name of its event, as docs/operate.md
    says: a field hint, text or why that is never empty."""
    calls = re.compile(r"log_(?:warn|error|at)\(((?:[^;\"]|\"(?:\\\\.|[^\"\\\\])*\")*)\);")
    tried = 0
    for path in (ROOT / "src").rglob("*.c"):
        for call in calls.findall(path.read_text()):
            if "LOG_EV" not in call or "LOG_DEBUG" in call or path.name.endswith("_test.c"):
                continue
            words = [field for field in re.split(r"\bLOG_[A-Z]+\(", call)
                     if re.match(r'"(hint|text|why)",\s', field)]
            assert any('""' not in field for field in words), f"{path.name}: {call}"
            tried += 1
    assert tried > 40


def packages(kind):
    rows = re.findall(r"^(\w+) (\S+)", (ROOT / "tools/packages").read_text(), re.MULTILINE)
    return {name for row_kind, name in rows if row_kind == kind}


@pytest.mark.parametrize("page", ["README.md", "docs/install.md"])
def test_the_packages_that_building_needs(page):
    text = "\n".join(blocks(page, "libssl-dev"))
    lines = re.findall(r"^\$ sudo apt-get install ([a-z0-9 .+-]+)$", text, re.MULTILINE)
    assert set(lines[0].split()) == packages("build")
    if page == "docs/install.md":
        assert set(lines[1].split()) == packages("chat") | {"dpkg-dev"}


# --- the node file ---


@pytest.fixture
def node_file(tmp_path):
    """A function: a node file, or a part of one, as its text with paths and ports of this test,
    checked by musterd."""
    make(tmp_path, "cert", ["example.org", "example.test"])
    (tmp_path / "cert.key").rename(tmp_path / "key.pem")
    (tmp_path / "data").mkdir()

    def check(text):
        if "node:" not in text:
            text = f"node: im1\ndomains: [example.org]\ndata: data\ncontrol: c.sock\n{text}"
        text = text.replace("/var/lib/muster", "data").replace("/run/muster/", "")
        text = re.sub(r'(?<=:)\d{4}(?=")', lambda _: str(free_ports(1)[0]), text)
        file = tmp_path / "muster.yaml"
        file.write_text(text)
        return run(MUSTERD, "--config", file, "--check")

    return check


@pytest.mark.parametrize("page, part", [
    ("README.md", "node: im1"), ("docs/install.md", "node: im1"),
    ("docs/services.md", 'http: ["127'), ("docs/services.md", "metrics: ["),
    ("docs/services.md", "proxy: true"), ("docs/install.md", '"[::]:443"'),
    ("docs/federation.md", "s2s_tls: [")])
def test_node_files_have_no_mistakes(node_file, page, part):
    assert "no mistakes" in node_file(block(page, part))


def test_the_installed_node_file_has_no_mistakes(node_file):
    assert "no mistakes" in node_file((ROOT / "packaging/muster.yaml").read_text())


# --- the system around ---


@pytest.mark.parametrize("page, part", [("docs/install.md", "_xmpp-client._tcp"),
                                        ("docs/federation.md", "IN SRV")])
def test_dns_records(tmp_path, page, part):
    checker = needs("named-checkzone")
    zone = tmp_path / "zone"
    zone.write_text("$TTL 3600\n@ IN SOA ns.example.org. root.example.org. (1 3600 600 86400 60)\n"
                    "@ IN NS ns.example.org.\nns.example.org. IN A 192.0.2.1\n"
                    + block(page, part))
    assert "OK" in run(checker, "example.org", zone)


def test_firewall_rules():
    nft = needs("nft")
    if os.getuid() != 0:
        pytest.skip("nft needs root, also to check rules")
    lines = re.findall(r"^\$ sudo nft (.*)$", block("docs/install.md", "sudo nft"), re.MULTILINE)
    assert len(lines) == 3
    rules = "\n".join(line.replace("'", "") for line in lines)
    run("unshare", "--net", nft, "--check", "--file", "-", input=rules)


def test_ports_are_the_same_everywhere():
    """The node file of the package has the usual port of each listener. Every page that names a
    listener and a port says the same, and docs/install.md has them all."""
    of = r"\b{}: \[\{{?(?:address: )?\"[^\"]*:(\d+)\""
    installed = (ROOT / "packaging/muster.yaml").read_text()
    known = re.findall(r"^\| `listen\.(\w+)` \|", run(MUSTERD, "--dump-docs", "config"),
                       re.MULTILINE)
    ports = {key: re.search(of.format(key), installed)[1] for key in known}
    assert len(ports) == 12
    table = dict(re.findall(r"^\| (\d+) \| `listen\.(\w+)` \|",
                            (ROOT / "docs/install.md").read_text(), re.MULTILINE))
    assert {key: port for port, key in table.items()} == ports
    tried = 0
    for page in [*PAGES, ROOT / "SECURITY.md", ROOT / "packaging/muster.yaml", ROOT / "demo"]:
        text = page.read_text().replace('"[::]:443"', "")  # what step 7 is about
        for key, port in ports.items():
            said = re.findall(of.format(key), text) + re.findall(
                rf"`listen\.{key}`[^|.]*?(?:usual port is|at port|port) (\d+)", text)
            usual = {port} | ({"5224"} if "proxy: true" in text else set()) | (
                {"5322"} if page.name == "services.md" else set())
            assert set(said) <= usual, (page.name, key, said)
            tried += len(said)
    assert tried > 15


def test_the_unit_of_systemd(tmp_path):
    analyze = needs("systemd-analyze")
    for program, folder in ((MUSTERD, "sbin"), (MUSTERCTL, "bin")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / program.name).symlink_to(program)
    unit = tmp_path / "muster.service"
    unit.write_text((ROOT / "packaging/muster.service").read_text()
                    .replace("@PREFIX@", str(tmp_path)))
    out = run(analyze, "verify", "--man=no", unit)
    assert "muster.service" not in out, out


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local"])
@pytest.mark.parametrize("shell, script, folders", [
    ("zsh", "_musterctl", ["zsh", "-f", "-c", "print -l $fpath"]),
    ("fish", "musterctl.fish", ["fish", "-c", 'printf "%s\\n" $fish_complete_path']),
])
def test_shells_find_their_completion(tmp_path, prefix, shell, script, folders):
    """Also on a server, where nothing has set XDG_DATA_DIRS."""
    needs(shell)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    plan = run("make", "-n", "-C", ROOT, "install", f"PREFIX={prefix}", env=env)
    [place] = re.findall(rf">(\S+)/{re.escape(script)}$", plan, re.MULTILINE)
    assert place in run(*folders, env=env).splitlines()


@pytest.mark.release
@pytest.mark.skipif("build/release" not in str(MUSTERD), reason="would build the release")
def test_pages_of_the_package(tmp_path):
    """No link leads to a file that is not installed, and manual pages have a date."""
    needs("dpkg-shlibdeps")
    file = ROOT / run(ROOT / "packaging/deb/build", "0.0.0+pages", timeout=600, env={
        **os.environ, "SOURCE_DATE_EPOCH": "1763683200"}).splitlines()[-1]
    run("dpkg", "-x", file, tmp_path)
    file.unlink()
    pages = tmp_path / "usr/share/doc/muster"
    dead = [(page.name, link) for page in pages.glob("*.md")
            for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
            if "://" not in link and not (pages / link).exists()]
    assert not dead and (pages / "README.md").exists()
    manuals = list((tmp_path / "usr/share/man").glob("man*/*.gz"))
    heads = [re.search(r"^\.TH .*$", gzip.decompress(m.read_bytes()).decode(), re.MULTILINE)[0]
             for m in manuals]
    assert len(heads) == 3 and all('"2025-11-21"' in head for head in heads), heads


# --- proxies ---


@contextlib.contextmanager
def running(*command):
    """A program that runs until the end of the block."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), TIMEOUT):
        return True
    return False


def nginx(folder, body):
    """nginx with this part of a configuration, in the foreground, in a folder of its own."""
    program = needs("nginx")
    modules = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    built_in = "--with-stream " in run(program, "-V")
    if "stream" in body and not built_in and not modules.exists():
        pytest.skip("nginx is installed without its module stream")
    load = f"load_module {modules};\n" if "stream" in body and modules.exists() else ""
    file = folder / "nginx.conf"
    file.write_text(f"{load}daemon off;\nmaster_process off;\npid {folder}/pid;\n"
                    f"error_log stderr;\nevents {{}}\n{body}\n")
    run(program, "-t", "-p", folder, "-c", file)
    return running(program, "-p", folder, "-c", file)


def test_behind_nginx(make_server, tmp_path):
    server = make_server("alice")
    port = free_ports(1)[0]
    location = block("docs/services.md", "location ~").replace("127.0.0.1:5280",
                                                               f"127.0.0.1:{server.http_port}")
    paths = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in
                    ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    # as TLS in front of nginx would have it
    location = location.replace("$scheme", "https")
    with nginx(tmp_path, f"http {{ access_log off;\n{paths}"
                         f"server {{ listen 127.0.0.1:{port};\n{location} }} }}"):
        until("nginx listens", lambda: accepts(port))
        for line in re.findall(r"^musterctl (.*)$", block("docs/services.md", "set http.trusted"),
                               re.MULTILINE):
            server.ctl(*line.split())
        client = WebSocket(("127.0.0.1", port), "localhost", "alice")
        server.clients.append(client)
        client.open()
        client.login("SCRAM-SHA-256", "ws")
        client.ping()
        assert server.rows("alarm", "list") == []


@pytest.mark.parametrize("program", ["nginx", "haproxy"])
def test_load_balancers_tell_the_address_of_the_client(make_server, tmp_path, program):
    needs(program)
    server = make_server("alice", proxy=True)
    port = free_ports(1)[0]
    part = block("docs/services.md", "stream {" if program == "nginx" else "frontend xmpp")
    part = part.replace("127.0.0.1:5322", f"127.0.0.1:{server.c2s_port}")
    part = part.replace("listen 5222", f"listen 127.0.0.1:{port}").replace(
        "bind :5222", f"bind 127.0.0.1:{port}")
    if program == "nginx":
        balancer = nginx(tmp_path, part)
    else:
        file = tmp_path / "haproxy.cfg"
        file.write_text(part)
        run(needs("haproxy"), "-c", "-f", file)
        balancer = running(needs("haproxy"), "-db", "-f", file)
    with balancer:
        until("it listens", lambda: accepts(port))
        client = Client(("127.0.0.1", port), "localhost", "alice", source="127.0.0.77")
        server.clients.append(client)
        client.open()
        client.starttls()
        client.login()
        assert "127.0.0.77" in str(server.rows("session", "list"))


def test_a_second_demo_of_a_folder_leaves_the_first_alone(tmp_path):
    """It would write over the node file and the log of the one that runs."""
    data = tmp_path / "demo-data"
    data.mkdir()
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "demo", tmp_path)
    shutil.copy(ROOT / "tools/install.sh", tmp_path / "tools")
    (data / "muster.yaml").write_text("of the first")
    with open(data / "muster.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run([tmp_path / "demo"], capture_output=True, text=True, check=False,
                              timeout=TIMEOUT, env=os.environ | {"MUSTER_PORT": "6222"})
    assert done.returncode == 1 and "running already" in done.stderr and done.stdout == ""
    assert (data / "muster.yaml").read_text() == "of the first"
    assert not (data / "musterd.log").exists()


def test_the_guide_lists_each_stage_of_check():
    table = re.search(r"^\| stage \|.*\n((?:\|.*\n)+)", (ROOT / "CONTRIBUTING.md").read_text(),
                      re.MULTILINE)[1]
    listed = set(re.findall(r"`([a-z0-9-]+)`", table))
    stages = set(re.findall(r"^stage_([a-z0-9-]+)\(\)", (ROOT / "tools/stages.sh").read_text(),
                            re.MULTILINE))
    assert listed == stages
