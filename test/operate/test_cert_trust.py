"""The commands about certificates that the server trusts, on a real server."""
import stat

import pytest

from operate.test_backup import restore
from operate.test_cert_commands import (authority, csr, fingerprint, openssl, pem_of, refused,
                                        shown, write)
from operate.test_certs import alarm, make

__all__ = ["authority"]


def trusted(server, *args):
    return [(r["for"], r["fingerprint"]) for r in server.rows("cert-trust", "list", *args)]


def test_trusted_certificates_stay_until_they_are_deleted(server, tmp_path, authority):
    root, middle = authority.root[0], authority.middle[0]
    assert trusted(server) == []
    done = server.ctl_run("cert-trust", "add", pem_of(tmp_path, "both.pem", middle, root))
    assert done.returncode == 0 and done.stdout.splitlines() == [
        "trusted for federation:", f"{fingerprint(middle)}  CN=middle",
        f"{fingerprint(root)}  CN=root"]
    server.ctl("cert-trust", "add", pem_of(tmp_path, "root.pem", root), "--for", "clients")
    everything = {("federation", fingerprint(root)), ("federation", fingerprint(middle)),
                  ("clients", fingerprint(root))}
    assert set(trusted(server)) == everything and len(trusted(server)) == 3
    assert trusted(server, "--for", "clients") == [("clients", fingerprint(root))]
    row = server.rows("cert-trust", "list", "--for", "clients")[0]
    assert row["subject"] == row["issuer"] == "CN=root" and row["authority"] is True
    assert row["days_left"] == 365
    folder = server.data / "trust" / "federation"
    assert {p.name for p in folder.iterdir()} == {f"{fingerprint(c)}.pem" for c in (root, middle)}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    server.ctl("cert-trust", "add", pem_of(tmp_path, "root.pem", root))  # again
    assert set(trusted(server)) == everything
    server.restart()
    assert set(trusted(server)) == everything
    said = openssl("x509", "-in", folder / f"{fingerprint(root)}.pem", "-noout", "-fingerprint",
                   "-sha256").strip().partition("=")[2]
    server.ctl("cert-trust", "del", said)  # in capitals, with colons
    assert set(trusted(server)) == everything - {("federation", fingerprint(root))}
    told = refused(server, "cert-trust", "del", fingerprint(root))
    assert f"found no certificate {fingerprint(root)} that is trusted for federation" in told
    server.ctl("cert-trust", "del", fingerprint(root), "--for", "clients")
    assert trusted(server) == [("federation", fingerprint(middle))]


def test_many_trusted_certificates_at_once(server, tmp_path):
    """All of a file, and none of one that is damaged or has too many."""
    certs = [make(tmp_path, f"ca{i}", [])[0] for i in range(20)]
    whole = pem_of(tmp_path, "all.pem", *certs)
    damaged = write(tmp_path, "damaged.pem", whole.read_bytes()[:-60])
    told = refused(server, "cert-trust", "add", damaged, code=2)
    assert f"{damaged}: the certificate 20 in it is damaged" in told and trusted(server) == []
    server.ctl("cert-trust", "add", whole)
    assert {f for _, f in trusted(server)} == {fingerprint(c) for c in certs}
    many = write(tmp_path, "many.pem", whole.read_bytes() * 52)
    told = refused(server, "cert-trust", "add", many)
    assert f"{many}: found more than 1024 certificates" in told


@pytest.mark.parametrize("options, told", [
    ({"ends": -2, "begins": -9}, 'the certificate "CN=old" has expired'),
    ({"begins": 3}, 'the certificate "CN=old" is not valid yet')])
def test_certificates_that_are_not_trusted(server, tmp_path, authority, options, told):
    """All of a file or nothing."""
    old, _ = make(tmp_path, "old", [], **options)
    path = pem_of(tmp_path, "both.pem", authority.root[0], old)
    said = refused(server, "cert-trust", "add", path)
    assert f"{path}: {told}" in said
    assert trusted(server) == [] and not (server.data / "trust").exists()
    assert "found no PEM certificate" in refused(server, "cert-trust", "add",
                                                 write(tmp_path, "x.pem", b"x"), code=2)


def test_what_is_put_into_the_folder_by_hand(server, tmp_path, authority):
    folder = server.data / "trust" / "clients"
    folder.mkdir(parents=True)
    pem_of(folder, "ours.crt", authority.root[0], authority.middle[0])
    (folder / "README").write_text("nothing")
    server.ctl("server", "reload")
    assert len(trusted(server)) == 2
    told = refused(server, "cert-trust", "del", fingerprint(authority.root[0]), "--for", "clients")
    assert f"{folder}/ours.crt: has 2 certificates" in told
    (folder / "broken.pem").write_text("nothing")
    assert f"{folder}/broken.pem: found no" in refused(server, "config", "check", code=2)
    server.ctl("server", "reload")
    assert f"{folder}/broken.pem" in alarm(server, "tls.trust-file")["detail"]
    assert len(trusted(server)) == 2
    server.restart()
    assert len(trusted(server)) == 2 and alarm(server, "tls.trust-file")
    (folder / "broken.pem").unlink()
    server.ctl("server", "reload")
    assert not alarm(server, "tls.trust-file")


def test_names_that_a_backup_cannot_have(server, tmp_path, authority):
    folder = server.data / "trust" / "clients"
    folder.mkdir(parents=True)
    pem_of(folder, "our root.pem", authority.root[0])
    server.ctl("server", "reload")
    assert "our root.pem: the name has a space" in alarm(server, "tls.trust-file")["detail"]
    assert trusted(server) == []


def test_trusted_certificates_are_watched(server, tmp_path):
    soon, _ = make(tmp_path, "soon", [], ends=20)
    server.ctl("cert-trust", "add", tmp_path / "soon.pem")
    row = alarm(server, "tls.trust-expiry")
    assert row["severity"] == "warning" and "CN=soon: 20 days left" in row["detail"]
    server.ctl("set", "cert.notice-from", "20")
    assert alarm(server, "tls.trust-expiry") is None
    server.ctl("set", "cert.notice-from", "30")
    assert alarm(server, "tls.trust-expiry")
    server.ctl("set", "cert.trust-system", "off")
    server.ctl("cert-trust", "del", fingerprint(soon))
    assert alarm(server, "tls.trust-expiry") is None


@pytest.mark.sqlite
def test_a_backup_has_them(make_server, tmp_path, authority):
    domains = ["a.test", "bücher.test"]
    server = make_server(domains=domains)
    leaf = authority.sign(csr(server, "bücher.test"))
    server.ctl("cert", "import", "bücher.test", "--file",
               write(tmp_path, "new.pem", authority.chain(leaf)))
    csr(server, "a.test")
    for store in ("federation", "clients"):
        server.ctl("cert-trust", "add", pem_of(tmp_path, "root.pem", authority.root[0]),
                   "--for", store)
    pem_of(server.data / "trust" / "clients", "ours.PEM", authority.middle[0])
    files = {p.relative_to(server.data): p.read_bytes() for folder in ("certs", "trust")
             for p in (server.data / folder).rglob("*") if p.is_file()}
    assert len(files) == 5
    server.ctl("backup", "create", tmp_path / "backup")
    server.ctl("backup", "verify", tmp_path / "backup")
    server.stop()
    again = make_server(start=False, domains=domains)
    done = restore(again, tmp_path / "backup")
    assert done.returncode == 0, done.stderr
    assert files == {name: (again.data / name).read_bytes() for name in files}
    again.start()
    assert shown(again, "xn--bcher-kva.test") == leaf and len(trusted(again)) == 3
    for path in (again.data / "certs", again.data / "trust"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
