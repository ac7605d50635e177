"""certbot and lego get certificates from an authority on loopback, pebble, and renew them, by the
commands and with the hooks of docs/. Muster serves each new one without a restart."""
import getpass
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import urllib.request

import pytest
from cryptography import x509
from operate.test_certs import make
from surface.test_recipes import FENCE, needs, run

from harness.client import TIMEOUT, until
from harness.prosody import Process
from harness.server import MUSTERCTL, MUSTERD, ROOT, free_ports

RENEW = "certbot renew --force-renewal --no-random-sleep-on-renew"


class Authority:
    """pebble, and a name server for it that has every name at this machine."""

    def __init__(self, folder):
        names, manage_names, port, manage, tls, self.http_port = free_ports(6)
        make(folder, "pebble", ["localhost"])
        self.trusted = folder / "pebble.pem"
        (folder / "pebble.json").write_text(json.dumps({"pebble": {
            "listenAddress": f"127.0.0.1:{port}", "managementListenAddress": f"127.0.0.1:{manage}",
            "certificate": str(self.trusted), "privateKey": str(folder / "pebble.key"),
            "httpPort": self.http_port, "tlsPort": tls}}))
        self.processes = [
            Process(["pebble-challtestsrv", "-dns01", f"127.0.0.1:{names}", "-http01", "",
                     "-https01", "", "-tlsalpn01", "", "-defaultIPv6", "",
                     "-management", f"127.0.0.1:{manage_names}"], folder / "names.log"),
            Process(["pebble", "-config", folder / "pebble.json",
                     "-dnsserver", f"127.0.0.1:{names}"], folder / "pebble.log",
                    {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "100",
                     "PEBBLE_WFE_NONCEREJECT": "0"})]
        for process, its_port in zip(self.processes, (names, manage)):
            process.wait_port(its_port)
        self.url = f"https://localhost:{port}/dir"
        context = ssl.create_default_context(cafile=self.trusted)
        with urllib.request.urlopen(f"https://localhost:{manage}/roots/0", timeout=TIMEOUT,
                                    context=context) as answer:
            self.root = answer.read().decode()

    def finish(self):
        for process in self.processes:
            process.finish()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    for program in ("certbot", "lego", "pebble", "pebble-challtestsrv"):
        needs(program)
    made = Authority(tmp_path_factory.mktemp("pebble"))
    yield made
    made.finish()


class Machine:
    """Runs commands of the docs, with folders and the user of this test. certbot and lego ask its
    authority; musterctl and systemctl speak to its server."""

    def __init__(self, folder, server, authority):
        self.folder, self.server, self.authority = folder, server, authority
        self.etc, self.letsencrypt = folder / "muster", folder / "letsencrypt"
        self.live = self.letsencrypt / "live"
        self.etc.mkdir()
        (folder / "bin").mkdir()
        ctl = f"exec {MUSTERCTL} --socket {server.control}"
        self.program("musterctl", f'{ctl} "$@"')
        self.program("systemctl", f'test "$*" = "reload muster" && {ctl} server reload')
        at = f"--server {authority.url}"
        self.program("certbot", f'''exec {shutil.which("certbot")} {at} \\
            --config-dir {self.letsencrypt} --work-dir {folder}/work --logs-dir {folder}/log \\
            --http-01-address 127.0.0.1 --http-01-port {authority.http_port} \\
            --non-interactive --agree-tos --register-unsafely-without-email "$@"''')
        self.program("lego", f'''exec {shutil.which("lego")} {at} \\
            --http.port 127.0.0.1:{authority.http_port} "$@"''')

    def program(self, name, text):
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def here(self, text):
        """A text of the docs with these folders, and with the user and the group of this test."""
        user, group = getpass.getuser(), run("id", "-gn").strip()
        for said, mine in (("-o root", f"-o {user}"), ("-g muster", f"-g {group}"),
                           ("chown muster", f"chown {user}"), ("sudo ", ""),
                           ("/etc/muster", str(self.etc)), ("/etc/lego", f"{self.folder}/lego"),
                           ("/etc/letsencrypt", str(self.letsencrypt))):
            text = text.replace(said, mine)
        return text

    def tries(self, command):
        """Runs it. No copy of a key is left, however it ends."""
        done = subprocess.run(
            ["sh", "-c", self.here(command)], capture_output=True, text=True, check=False,
            timeout=3 * TIMEOUT, env={
                "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOME": str(self.folder),
                "REQUESTS_CA_BUNDLE": str(self.authority.trusted),
                "LEGO_CA_CERTIFICATES": str(self.authority.trusted)})
        assert not list(self.etc.glob("renewed*"))
        return done

    def runs(self, command):
        done = self.tries(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done

    def shown(self, kind, domain="example.org"):
        """The certificate for a domain, verified as by a peer that trusts the authority."""
        trusting = ssl.create_default_context(cadata=self.authority.root)
        port = getattr(self.server, f"{kind}_port")
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as bare, \
                trusting.wrap_socket(bare, server_hostname=domain) as tls:
            return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))

    def serves(self, file):
        """Shows the certificate of the file to clients and to servers."""
        cert = x509.load_pem_x509_certificate(file.read_bytes())
        until("new certificate", lambda: self.shown("tls") == cert)
        return self.shown("s2s_tls") == cert


def blocks(page, first, last):
    """The blocks of a page between two of its headings."""
    text = (ROOT / "docs" / page).read_text()
    return [body for _, _, body in FENCE.findall(text[text.index(first):text.index(last)])]


def commands(text):
    return re.findall(r"^\$ (.*)$", text, re.MULTILINE)


@pytest.fixture
def machine(make_server, tmp_path, authority):
    server = make_server("alice", domains=["example.org", "other.test"], s2s=True)
    return Machine(tmp_path, server, authority)


def save(machine, program):
    """Saves the hook of docs/operate.md; returns the commands behind it, and the one that runs it
    by hand."""
    parts = blocks("operate.md", "### Renewal by", "### OCSP")
    place = [text.startswith("#!") and program.upper() in text.replace("RENEWED", "CERTBOT")
             for text in parts].index(True)
    (machine.etc / f"{program}-hook").write_text(machine.here(parts[place]))
    by_hand, = (line for line in commands(parts[-1]) if line.endswith(f"/{program}-hook"))
    return commands(parts[place + 1]), by_hand


def other(server):
    return server.rows("cert", "show", "other.test")[0]["fingerprint"]


def test_certbot(machine):
    """It has a certificate already."""
    server, file = machine.server, machine.live / "example.org/fullchain.pem"
    alice, before = server.client("alice"), other(server)
    (executable, first), by_hand = save(machine, "certbot")
    machine.runs(executable)
    machine.runs(first.partition(" --deploy-hook")[0])
    assert "error" not in machine.runs(f"{first} --force-renewal").stderr
    assert machine.serves(file)
    assert "error" not in machine.runs(RENEW).stderr
    assert machine.serves(file)
    assert other(server) == before
    alice.ping()

    in_use = machine.shown("tls")
    server.stop()
    assert "error" not in machine.runs(RENEW.replace("renew", "-q renew", 1)).stderr
    told = (machine.folder / "log/letsencrypt.log").read_text()
    assert "Hook 'deploy-hook' reported error code 3" in told and str(server.control) in told
    server.start()
    assert machine.shown("tls") == in_use
    machine.runs(by_hand)
    assert machine.serves(file)


def test_certbot_with_another_name(machine):
    (executable, first), _ = save(machine, "certbot")
    before = machine.server.rows("cert", "show")
    machine.runs(executable)
    done = machine.runs(first.replace("--cert-name example.org", "--cert-name other.test"))
    assert re.search(r"Hook 'deploy-hook' reported error code 1\n.*\n.*does not name other.test",
                     done.stderr)
    assert machine.server.rows("cert", "show") == before


def test_lego(machine):
    server, file = machine.server, machine.folder / "lego/certificates/example.org.crt"
    alice, before = server.client("alice"), other(server)
    (executable, first, renew), by_hand = save(machine, "lego")
    machine.runs(executable)
    done = machine.tries(first.replace("-d example.org ", ""))  # which is no domain of the server
    assert done.returncode == 1 and "component add xmpp.example.org" in done.stdout
    machine.runs(first)
    assert machine.serves(file)
    now = machine.shown("tls")
    machine.runs(renew)  # which has time
    assert machine.shown("tls") == now
    renew = renew.replace(" renew ", " renew --days 9999 --no-random-sleep ")
    machine.runs(renew)
    assert machine.serves(file) and machine.shown("tls") != now
    assert other(server) == before
    alice.ping()

    in_use = machine.shown("tls")
    server.stop()
    done = machine.tries(renew)
    assert done.returncode == 3 and str(server.control) in done.stdout
    server.start()
    assert machine.shown("tls") == in_use
    machine.runs(by_hand)
    assert machine.serves(file)


def test_certificate_and_node_file_in_the_order_of_the_page(machine):
    """Steps 4 and 5 of docs/install.md, one after the other, beside a server that runs with the
    node file of the package: each works when it is done, and at last clients see the certificate,
    and the next one after a renewal. Only systemctl and the folders are others here."""
    hook, first, node_file, after = blocks("install.md", "## 4.", "## 6.")
    etc, server = machine.etc, machine.server
    (etc / "certbot-hook").write_text(machine.here(hook))
    for line in commands(first):
        assert "error" not in machine.runs(line).stderr
    assert oct((etc / "key.pem").stat().st_mode)[-3:] == "640"

    file = etc / "muster.yaml"
    listen = "".join(f"  {key}: {server.conf['listen'][key]}\n" for key in
                     ("c2s", "c2s_tls", "s2s_tls"))
    ours = re.sub(r"(?<=listen:\n)(  .*\n)+", listen, node_file)
    file.write_text(ours.replace("/var/lib/muster", str(server.data)).replace(
        "/run/muster/control.sock", str(server.control)))
    server.stop()
    assert commands(after) == ["sudo musterd --check", "sudo systemctl restart muster",
                               "sudo musterctl cert list"]
    assert f"{file}: no mistakes" in run(MUSTERD, "--check", "--config", file)
    server.file, server.write = file, lambda: None
    server.start()
    assert [row["certificate"] for row in server.rows("cert", "list")] == [str(etc / "cert.pem")]
    live = machine.live / "example.org/fullchain.pem"
    assert machine.serves(live)
    server.add_user("bob")
    bob = server.client("bob")
    assert "error" not in machine.runs(RENEW).stderr
    assert machine.serves(live)
    bob.ping()
