"""The hooks of docs/operate.md for certbot and lego, run as those run them, on files as they lay
them out."""
import getpass
import os
import pathlib
import re
import subprocess

import pytest
from cryptography.hazmat.primitives import hashes

from muster.client import TIMEOUT
from muster.server import MUSTERD
from test_certs import make

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "operate.md"


@pytest.fixture
def hook(tmp_path):
    """Makes the hook that uses a variable, with folders and a user of this test."""
    def take(variable, server):
        text, = (m for m in re.findall(r"```\n(#!/bin/sh\n.*?)```", PAGE.read_text(), re.S)
                 if variable in m)
        folder = tmp_path / "etc"
        folder.mkdir()
        text = text.replace("/etc/muster", str(folder))
        path = tmp_path / "hook"
        path.write_text(text.replace("chown muster", f"chown {getpass.getuser()}"))
        path.chmod(0o755)
        tool = tmp_path / "bin" / "musterctl"
        tool.parent.mkdir()
        ctl = pathlib.Path(MUSTERD).resolve().parent / "musterctl"
        tool.write_text(f'#!/bin/sh\nexec {ctl} --socket {server.control} "$@"\n')
        tool.chmod(0o755)

        def run(**variables):
            done = subprocess.run([path], capture_output=True, text=True, timeout=TIMEOUT,
                                  check=False, env={
                                      "PATH": f"{tool.parent}:{os.environ['PATH']}", **variables})
            assert list(folder.iterdir()) == []  # no copy of the key is left
            return done
        return run
    return take


def issued(folder, domain, **options):
    root = make(folder, "root", [])
    cert, _ = make(folder, "leaf", [domain], issuer=root, **options)
    chain = (folder / "leaf.pem").read_bytes() + (folder / "root.pem").read_bytes()
    return cert.fingerprint(hashes.SHA256()).hex(), chain, (folder / "leaf.key").read_bytes()


def served(server):
    return server.rows("cert", "show", "a.test")[0]["fingerprint"]


def test_certbot(make_server, tmp_path, hook):
    server = make_server(domains=["a.test"])
    run = hook("RENEWED_LINEAGE", server)
    live, archive = tmp_path / "live" / "a.test", tmp_path / "archive" / "a.test"
    for folder in (live, archive):
        folder.mkdir(parents=True)
    for number in (1, 2):
        print_, chain, key = issued(tmp_path, "a.test")
        for name, content in (("fullchain", chain), ("privkey", key)):
            (archive / f"{name}{number}.pem").write_bytes(content)
            link = live / f"{name}.pem"
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../archive/a.test/{name}{number}.pem")
        done = run(RENEWED_LINEAGE=str(live), RENEWED_DOMAINS="a.test")
        assert done.returncode == 0, done.stderr
        assert served(server) == print_


def test_lego(make_server, tmp_path, hook):
    server = make_server(domains=["a.test"])
    run = hook("LEGO_CERT_PATH", server)
    print_, chain, key = issued(tmp_path, "a.test")
    (tmp_path / "a.test.crt").write_bytes(chain)
    (tmp_path / "a.test.key").write_bytes(key)
    done = run(LEGO_CERT_DOMAIN="a.test", LEGO_CERT_PATH=str(tmp_path / "a.test.crt"),
               LEGO_CERT_KEY_PATH=str(tmp_path / "a.test.key"))
    assert done.returncode == 0, done.stderr
    assert served(server) == print_


def test_a_certificate_that_is_refused_changes_nothing(make_server, tmp_path, hook):
    server = make_server(domains=["a.test"])
    before = served(server)
    run = hook("LEGO_CERT_PATH", server)
    _, chain, key = issued(tmp_path, "other.test")
    (tmp_path / "c").write_bytes(chain)
    (tmp_path / "k").write_bytes(key)
    done = run(LEGO_CERT_DOMAIN="a.test", LEGO_CERT_PATH=str(tmp_path / "c"),
               LEGO_CERT_KEY_PATH=str(tmp_path / "k"))
    assert done.returncode != 0 and "does not name a.test" in done.stderr
    assert served(server) == before
