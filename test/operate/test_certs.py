"""Certificates: what checks find, what is told before they expire, and reloads that are refused."""
import datetime
import ipaddress
import os
import pwd
import re
import signal
import socket
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.client import TIMEOUT, until
from harness.server import MUSTERD

NOW = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


def named(name):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def make(folder, name, domains, begins=-1, ends=365, issuer=None):
    """NAME.pem and NAME.key, valid for these days from now; of itself, or of an issuer (its
    certificate and key). Returns both."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = issuer or (None, key)
    builder = (x509.CertificateBuilder().subject_name(named(name))
               .issuer_name(signer[0].subject if issuer else named(name))
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(NOW + datetime.timedelta(days=begins))
               .not_valid_after(NOW + datetime.timedelta(days=ends, hours=1)))
    if domains:
        names = [x509.IPAddress(ipaddress.ip_address(d)) if d[0].isdigit() else x509.DNSName(d)
                 for d in domains]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=not domains, path_length=None),
                                    critical=True)
    cert = builder.sign(signer[1], hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    return cert, key


def tls_of(folder, name="cert", **domains):
    pair = {"certificate": str(folder / f"{name}.pem"), "key": str(folder / f"{name}.key")}
    return {**pair, "domains": domains} if domains else pair


def check(server):
    server.write()
    return subprocess.run([MUSTERD, "--config", server.file, "--check"], capture_output=True,
                          text=True, check=False, timeout=20)


@pytest.fixture
def node(make_server, tmp_path):
    """Not started: a node file with a certificate of its own, which is right at first."""
    make(tmp_path, "cert", ["localhost"])
    server = make_server(start=False, tls=tls_of(tmp_path))
    return server


def test_all_is_right(node):
    done = check(node)
    assert done.returncode == 0 and "no mistakes" in done.stdout, done.stderr
    assert "is self-signed" in done.stdout


@pytest.mark.parametrize("options, told", [
    ({"ends": -2, "begins": -30}, r"the certificate expired on 20\d\d-\d\d-\d\d"),
    ({"begins": 2}, r"the certificate is not valid before 20\d\d-\d\d-\d\d"),
    ({"domains": ["other.example", "*.localhost"]},
     r"the certificate does not name localhost; it names other\.example, \*\.localhost"),
    ({"domains": []}, "the certificate does not name localhost; it names no domain"),
])
def test_what_clients_would_refuse(node, tmp_path, options, told):
    make(tmp_path, "cert", options.pop("domains", ["localhost"]), **options)
    done = check(node)
    assert done.returncode == 2, done.stdout
    assert re.search(rf"{re.escape(str(tmp_path))}/cert\.pem: {told}", done.stderr), done.stderr
    node.start()
    done = node.ctl_run("config", "check")
    assert done.returncode == 2 and re.search(told, done.stderr)
    state = node.rows("cert", "list")[0]["state"]
    assert state in re.sub(r"^the certificate ", "", done.stderr.partition("the certificate ")[2])
    alarms = {row["name"] for row in node.rows("alarm", "list")}
    assert alarms & {"tls.names", "tls.expiry"}


@pytest.mark.parametrize("names, domain, fine", [
    (["*.a.example"], "b.a.example", True), (["*.a.example"], "c.b.a.example", False),
    (["*.a.example"], "a.example", False), (["A.Example"], "a.example", True),
    (["xn--bcher-kva.example"], "bücher.example", True), (["*"], "localhost", False),
    (["a.example"], "ba.example", False)])
def test_names(make_server, tmp_path, names, domain, fine):
    make(tmp_path, "cert", names)
    server = make_server(start=False, domains=[domain], tls=tls_of(tmp_path))
    done = check(server)
    assert (done.returncode == 0) == fine, done.stderr


def test_all_mistakes_of_all_certificates(make_server, tmp_path):
    make(tmp_path, "cert", ["a.example"], ends=-1, begins=-9)
    make(tmp_path, "b", ["c.example"])
    make(tmp_path, "c", ["c.example"])
    (tmp_path / "c.key").write_bytes((tmp_path / "b.key").read_bytes())
    server = make_server(start=False, domains=["a.example", "b.example", "c.example"],
                         tls=tls_of(tmp_path, **{"b.example": tls_of(tmp_path, "b"),
                                                 "c.example": tls_of(tmp_path, "c")}))
    told = check(server).stderr
    assert re.search(r"cert\.pem: .*expired", told)
    assert re.search(r"b\.pem: .*does not name b\.example; it names c\.example", told)
    assert re.search(r"c\.key: the key does not fit", told)


def test_a_chain_without_its_issuer(node, tmp_path):
    """Its clients may know the issuer, so that is no mistake."""
    root = make(tmp_path, "root", [])
    cert, _ = make(tmp_path, "cert", ["localhost"], issuer=root)
    done = check(node)
    assert done.returncode == 0 and 'its issuer "CN=root" is neither' in done.stdout
    both = (tmp_path / "cert.pem").read_bytes() + (tmp_path / "root.pem").read_bytes()
    (tmp_path / "cert.pem").write_bytes(both)
    done = check(node)
    assert done.returncode == 0 and "issuer" not in done.stdout
    assert cert.issuer == root[0].subject


def test_a_taken_port(node):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", node.https_port))
        other.listen()
        done = check(node)
    assert done.returncode == 2 and re.search(rf"listen\.https: .*{node.https_port}", done.stderr)
    node.start()  # now they are its own
    assert check(node).returncode == 0


def test_an_address_that_is_there_twice(node):
    node.conf["listen"]["http"] = node.conf["listen"]["https"]
    done = check(node)
    assert done.returncode == 2 and str(node.https_port) in done.stderr


def test_a_data_folder_without_parent(node, tmp_path):
    node.write()
    node.conf["data"] = str(tmp_path / "none" / "data")
    node.file.write_text(node.file.read_text().replace(str(node.data), node.conf["data"]))
    done = subprocess.run([MUSTERD, "--config", node.file, "--check"], capture_output=True,
                          text=True, check=False, timeout=20)
    assert done.returncode == 2
    assert f"data: {tmp_path}/none/data: the folder above it, {tmp_path}/none, does" in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to take the rights of another user")
def test_root_checks_as_the_user_of_the_service(node, tmp_path):
    user = pwd.getpwnam("nobody")
    node.write()
    for path in [*tmp_path.parents][:-2]:
        if not os.stat(path).st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o001)
    tmp_path.chmod(0o755)
    node.folder.chmod(0o755)
    os.chown(node.folder, user.pw_uid, -1)
    node.file.chmod(0o644)
    os.chown(node.data, user.pw_uid, user.pw_gid)
    (tmp_path / "cert.key").chmod(0o600)
    done = check(node)
    assert done.returncode == 2 and "rights of user nobody" in done.stdout
    assert re.search(r"cert\.key: Permission denied", done.stderr), done.stderr
    os.chown(tmp_path / "cert.key", user.pw_uid, -1)
    # the unit of systemd lets the service listen below port 1024, whoever its user is
    node.conf["listen"]["https"] = ["127.0.77.1:443"]
    done = check(node)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    run.mkdir()
    node.conf["control"] = str(run / "control.sock")
    done = check(node)
    assert done.returncode == 2
    assert f"control.sock: user nobody may not make a socket in {run}\n" in done.stderr
    os.chown(run, user.pw_uid, -1)
    assert check(node).returncode == 0


# --- while it runs ---


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give the folder away")
def test_root_does_not_start_on_the_data_of_another(node, tmp_path):
    """It would leave files that the user of the service cannot open."""
    node.write()
    os.chown(node.data, pwd.getpwnam("nobody").pw_uid, -1)
    done = subprocess.run([MUSTERD, "--config", node.file], capture_output=True, text=True,
                          check=False, timeout=TIMEOUT)
    assert done.returncode == 1 and "belongs to user nobody" in done.stderr, done.stderr
    assert "`systemctl start muster`" in done.stderr and list(node.data.iterdir()) == []


def alarm(server, name):
    rows = {row["name"]: row for row in server.rows("alarm", "list")}
    return rows.get(name)


def test_expiry_is_told_in_steps(node, tmp_path):
    node.start()
    for days, severity in ((31, None), (29, "warning"), (6, "error"), (-2, "critical"),
                           (90, None)):
        make(tmp_path, "cert", ["localhost"], ends=days, begins=-100)
        node.ctl("server", "reload")
        row = alarm(node, "tls.expiry")
        assert (row and row["severity"]) == severity, days
        assert node.rows("cert", "list")[0]["days_left"] == days
        metrics = {m["name"]: m["value"] for m in node.rows("metrics")}
        assert metrics["muster_tls_certificate_left_seconds"] == days * 86400
    assert node.log().count("event=alarm.raised alarm=tls.expiry") == 1
    assert node.log().count("event=alarm.changed alarm=tls.expiry") == 2


def test_list_of_what_the_server_made(server):
    row = server.rows("cert", "list")[0]
    assert row["domains"] == row["names"] == "localhost" and row["state"] == "ok"
    assert row["self_signed"] is True and row["certificate"].startswith(str(server.data))


# --- server reload ---


def levels(server):
    """But for lines that somebody has asked for, which no level hides."""
    return {row["level"] for row in server.rows("log", "areas") if row["area"] != "trace"}


def test_a_level_of_the_log_that_was_set_outlasts_reloads(server):
    """Commands of certificates, and settings of TLS, reload by the way."""
    server.ctl("log", "level", "debug")
    server.ctl("cert", "self-signed", "localhost")
    server.ctl("server", "reload")
    assert levels(server) == {"debug"}
    server.conf["log"] = {"level": "warn"}
    server.write()
    server.ctl("server", "reload")
    assert levels(server) == {"warn"}


def test_reload_answers_with_the_mistake(server, alice):
    server.conf["log"] = {"level": "loud"}
    server.write()
    done = server.ctl_run("server", "reload")
    assert done.returncode == 2
    assert re.search(rf"{server.file}:\d+: key 'log\.level': found \"loud\"", done.stderr)
    row = alarm(server, "server.reload")
    assert row["severity"] == "error" and "log.level" in row["detail"]
    alice.ping()
    server.conf["log"] = {"level": "debug"}
    server.write()
    done = server.ctl_run("server", "reload")
    assert done.returncode == 0 and "were read again" in done.stdout
    assert alarm(server, "server.reload") is None


def test_reload_with_a_key_that_cannot_be_used(node, tmp_path):
    node.start()
    (tmp_path / "cert.key").write_text("nothing")
    done = node.ctl_run("server", "reload")
    assert done.returncode == 2 and f"{tmp_path}/cert.key" in done.stderr
    assert alarm(node, "server.reload")
    make(tmp_path, "cert", ["localhost"])
    node.signal(signal.SIGHUP)
    until("a good one", lambda: alarm(node, "server.reload") is None)


def test_reload_says_what_needs_a_restart_until_it_is_done(server):
    server.conf["node_id"], server.conf["worker_pinning"] = 2, "on"
    server.write()
    done = server.ctl_run("server", "reload")
    assert done.returncode == 0 and "restart needed: node_id, worker_pinning" in done.stdout
    assert "node_id" in alarm(server, "server.restart")["detail"]
    assert server.rows("status")[0]["restart_needed"] == "node_id, worker_pinning"
    server.restart()
    assert alarm(server, "server.restart") is None
    assert server.rows("status")[0]["restart_needed"] == "no"


def test_many_reloads_are_all_answered(server):
    runs = [server.ctl_start("server", "reload") for _ in range(12)]
    assert [run.wait(60) for run in runs] == [0] * 12
    for run in runs:
        run.stdout.close()
        run.stderr.close()
