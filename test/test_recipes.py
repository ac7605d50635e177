"""The recipes of README and docs/ are true: each is taken out of its page and run by the program
that it is written for. Programs that ./check does not install (nginx, haproxy) are tried where they
are there."""
import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess

import pytest
from test_certs import make

from muster.client import TIMEOUT, Client, until
from muster.server import MUSTERCTL, MUSTERD, ROOT, free_ports
from muster.websocket import WebSocket

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


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT,
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
        words = [w for w in line.split() if w not in ("--json", "--csv", "--yes")]
        if words[0] == "help" or words[0].isupper():
            continue
        name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
        assert name in known, f"{page}: musterctl {line}: there is no such command"
        for option in re.findall(r"--[a-z-]+", " ".join(words)):
            assert option in known[name] or option == "--stdin", f"{page}: {name} has no {option}"
        tried += 1
    assert tried > 40


def test_settings_exist():
    """Names such as `http.base-url` in the pages are settings, keys of the node file, alarms,
    events or files."""
    known = set(re.findall(r"^\| `([a-z0-9_.-]+)` \|", run(MUSTERD, "--dump-docs", "config"),
                           re.MULTILINE))
    areas = {name.split(".")[0] for name in known if "." in name}
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
    lines = re.findall(r"^\$ sudo apt-get install ([a-z0-9 +-]+)$", text, re.MULTILINE)
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
    ("docs/services.md", "proxy: true"), ("docs/install.md", '"[::]:443"')])
def test_node_files_have_no_mistakes(node_file, page, part):
    assert "no mistakes" in node_file(block(page, part))


def test_the_installed_node_file_has_no_mistakes(node_file):
    assert "no mistakes" in node_file((ROOT / "packaging/muster.yaml").read_text())


# --- the system around ---


def test_dns_records(tmp_path):
    checker = needs("named-checkzone")
    zone = tmp_path / "zone"
    zone.write_text("$TTL 3600\n@ IN SOA ns.example.org. root.example.org. (1 3600 600 86400 60)\n"
                    "@ IN NS ns.example.org.\nns.example.org. IN A 192.0.2.1\n"
                    + block("docs/install.md", "_xmpp-client._tcp"))
    assert "OK" in run(checker, "example.org", zone)


def test_firewall_rules():
    nft = needs("nft")
    if os.getuid() != 0:
        pytest.skip("nft needs root, also to check rules")
    lines = re.findall(r"^\$ sudo nft (.*)$", block("docs/install.md", "sudo nft"), re.MULTILINE)
    assert len(lines) == 3
    rules = "\n".join(line.replace("'", "") for line in lines)
    run("unshare", "--net", nft, "--check", "--file", "-", input=rules)


def test_the_hook_of_certbot_gives_the_certificate_to_the_server(tmp_path):
    """With another folder and group; systemctl is not run."""
    group = subprocess.run(["id", "-gn"], capture_output=True, text=True, check=True).stdout.strip()
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    lineage, etc = tmp_path / "live", tmp_path / "etc"
    lineage.mkdir()
    etc.mkdir()
    make(lineage, "fullchain", ["example.org"])
    (lineage / "fullchain.key").rename(lineage / "privkey.pem")
    hook = block("docs/install.md", "RENEWED_LINEAGE/fullchain")
    hook = hook.replace("-o root", f"-o {user}").replace("-g muster", f"-g {group}")
    hook = hook.replace("/etc/muster", str(etc)).replace("systemctl", "echo")
    out = run("sh", "-c", hook, env={**os.environ, "RENEWED_LINEAGE": str(lineage)})
    assert out == "reload muster\n"
    assert oct((etc / "key.pem").stat().st_mode)[-3:] == "640"
    assert (etc / "cert.pem").read_text() == (lineage / "fullchain.pem").read_text()


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
