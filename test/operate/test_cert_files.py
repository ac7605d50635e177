"""Certificates that clients refuse or that cannot be used: chains, keys, files of the folder."""
import datetime
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from operate.test_cert_commands import Authority, csr, refused, shown, write
from operate.test_certs import NOW, alarm, make, named, tls_of


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


# --- chains that are whole, and that clients refuse ---


def usage_of_nothing():
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")


class Chain:
    """A certificate for localhost, then its issuers, as one text in PEM with the key."""

    def __init__(self):
        self.text = b""

    def add(self, name, issuer, authority, *extensions, names=()):
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (x509.CertificateBuilder().subject_name(named(name))
                   .issuer_name(named(issuer[0] if issuer else name))
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(NOW - datetime.timedelta(days=1))
                   .not_valid_after(NOW + datetime.timedelta(days=90))
                   .add_extension(authority, critical=True))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
        cert = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
        secret = b"" if authority.ca else key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption())
        self.text = cert.public_bytes(serialization.Encoding.PEM) + self.text + secret
        return name, key


def issuer_of(length=None):
    return x509.BasicConstraints(ca=True, path_length=length)


LEAF = x509.BasicConstraints(ca=False, path_length=None)


def chain_of(case):
    chain = Chain()
    root = chain.add("root", None, issuer_of())
    if case == "key":
        chain.add("middle", root, issuer_of())
        middle = ("middle", ec.generate_private_key(ec.SECP256R1()))
    elif case == "length":
        middle = chain.add("below", chain.add("middle", root, issuer_of(0)), issuer_of())
    elif case == "constraint":
        middle = chain.add("middle", root, issuer_of(),
                           x509.NameConstraints([x509.DNSName("other.test")], None))
    else:
        middle = chain.add("middle", root, issuer_of())
    chain.add("localhost", middle, LEAF, *([usage_of_nothing()] if case == "extension" else []),
              names=[] if case == "common" else ["localhost"])
    return chain.text


REFUSED = {
    "key": '"CN=localhost" is not signed with the key of its issuer',
    "length": '"CN=middle": it allows fewer issuers below it than there are (path length)',
    "constraint": '"CN=localhost": an issuer above it may not issue for its names',
    "extension": '"CN=localhost": it has a critical extension that is not known',
    "common": "does not name localhost; it names no domain at all (the common name does not count)",
}


@pytest.mark.parametrize("case", REFUSED)
def test_whole_chains_that_clients_refuse(make_server, tmp_path, case):
    path = write(tmp_path, "cert.pem", chain_of("right"))
    path.chmod(0o600)
    server = make_server(tls={"certificate": str(path), "key": str(path)})
    assert server.ctl_run("cert", "check").returncode == 0
    write(tmp_path, "cert.pem", chain_of(case))
    assert REFUSED[case] in refused(server, "cert", "check")
    assert REFUSED[case] in refused(server, "config", "check", code=2)


@pytest.mark.parametrize("case", REFUSED)
def test_import_of_whole_chains_that_clients_refuse(server, tmp_path, case):
    before = shown(server)
    path = write(tmp_path, "new.pem", chain_of(case))
    assert f"{path}: " in (told := refused(server, "cert", "import", "localhost", "--file", path))
    assert REFUSED[case] in told and shown(server) == before
    server.ctl("cert", "import", "localhost", "--file",
               write(tmp_path, "new.pem", chain_of("right")))


@pytest.mark.parametrize("name, fine", [("*.test", False), ("a*.test", False), ("A.TEST", True)])
def test_names_that_the_matcher_of_other_servers_takes(make_server, tmp_path, name, fine):
    """RFC 9525 §6.3, io/tls_names.h: a wildcard is a whole label, and two are behind it."""
    server = make_server(domains=["a.test"])
    chain = Chain()
    chain.add("leaf", chain.add("root", None, issuer_of()), LEAF, names=[name])
    done = server.ctl_run("cert", "import", "a.test", "--file",
                          write(tmp_path, "new.pem", chain.text))
    assert (done.returncode == 0) == fine, done.stderr
    assert fine or f"does not name a.test; it names {name}" in done.stderr


# --- an issuer that expires before the certificate ---


def short_chain(folder, authority, days):
    """A certificate of 90 days whose issuer ends earlier."""
    short = make(folder, "short", [], issuer=authority.root, begins=-9, ends=days)
    leaf, _ = make(folder, "cert", ["localhost"], issuer=short, ends=90)
    write(folder, "cert.pem", authority.chain(leaf, short[0], authority.root[0]))
    return tls_of(folder)


def test_an_issuer_that_expires_first_is_told(make_server, tmp_path, authority):
    server = make_server(tls=short_chain(tmp_path, authority, 3))
    row = alarm(server, "tls.expiry")
    assert row["severity"] == "error"
    assert row["detail"] == f'{tmp_path}/cert.pem: the issuer "CN=short" in its chain: 3 days'
    row, = server.rows("cert", "list")
    assert row["days_left"] == 3 and row["first_to_expire"] == "CN=short"
    metrics = {m["name"]: m["value"] for m in server.rows("metrics")}
    assert metrics["muster_tls_certificate_left_seconds"] == 3 * 86400
    assert 'the issuer "CN=short" in the chain expires in 3 days' in server.ctl_run(
        "cert", "check").stdout
    assert row["state"] == "ok"
    server.ctl("set", "cert.notice-from", "3")
    assert alarm(server, "tls.expiry") is None
    short_chain(tmp_path, authority, -2)
    said = refused(server, "cert", "check")
    assert 'has the issuer "CN=short" in its chain, which expired on 20' in said


def test_an_import_notes_an_issuer_that_expires_first(server, tmp_path, authority):
    pair = short_chain(tmp_path, authority, 60)
    done = server.ctl_run("cert", "import", "localhost", "--file", pair["certificate"],
                          "--key", pair["key"])
    assert done.returncode == 0, done.stderr
    assert re.search(r'the issuer "CN=short" in the chain expires first, on 20\d\d-\d\d-\d\d\. '
                     "Import a newer chain before that", done.stdout)
    assert alarm(server, "tls.expiry") is None


# --- a key in the file that cannot be used ---


def test_a_key_in_the_file_that_cannot_be_used_is_told(server, tmp_path, authority):
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = authority.sign(csr(server, "localhost"), key=key.public_key())

    def pem(of, *secret):
        how = serialization.BestAvailableEncryption(secret[0]) if secret \
            else serialization.NoEncryption()
        return of.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    other = ec.generate_private_key(ec.SECP256R1())
    for inside, told in ((pem(other), "the one in the file is that of another certificate"),
                         (pem(key, b"secret"), "the one in the file has a pass phrase"),
                         (pem(key)[:60] + b"\n-----END PRIVATE KEY-----\n",
                          "the one in the file is damaged"),
                         (b"", "none is in the file")):
        path = write(tmp_path, "new.pem", authority.chain(leaf) + inside)
        said = refused(server, "cert", "import", "localhost", "--file", path)
        assert "found no key for this certificate" in said and told in said
    # nor beside a certificate that is in use, whose key is known
    for inside, taken in (pem(key), True), (b"", True), (pem(other), False):
        path = write(tmp_path, "new.pem", authority.chain(leaf) + inside)
        done = server.ctl_run("cert", "import", "localhost", "--file", path)
        assert (done.returncode == 0) == taken, done.stderr
    assert "the one in the file is that of another certificate" in done.stderr


# --- a file of the data folder that is damaged ---


@pytest.mark.parametrize("damage", ["all", "key"])
def test_a_damaged_file_leaves_the_other_domains_served(make_server, damage):
    server = make_server(domains=["a.test", "b.test"])
    for domain in ("a.test", "b.test"):
        server.ctl("cert", "self-signed", domain)
    right = shown(server, "a.test")
    pair = server.data / "certs" / "b.test.pem"
    text = pair.read_text()
    pair.write_text("garbage" if damage == "all" else text[text.index("-----BEGIN CERT"):])
    told = refused(server, "server", "reload", code=2)
    assert str(pair) in told
    assert "Import the certificate of b.test again (`musterctl cert import`)" in told
    server.restart()
    assert shown(server, "a.test") == right
    assert f"{pair}: cannot be read" in alarm(server, "tls.names")["detail"]
    assert "event=cert.unusable domain=b.test" in server.log()
    state, = [r["state"] for r in server.rows("cert", "list") if r["domains"] == "b.test"]
    assert state == "cannot be read"
    server.ctl("cert", "self-signed", "b.test", "--replace")
    assert shown(server, "b.test").subject == named("b.test")
    assert alarm(server, "tls.names") is None
