"""The commands about certificates, on a real server. `openssl` says what is in requests and
certificates, and whether a chain holds."""
import datetime
import os
import re
import socket
import ssl
import stat
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from harness.client import until
from harness.federation import key_usage_of
from surface.test_api import api_server
from operate.test_certs import NOW, alarm, make, named, tls_of



def openssl(*args, stdin=None):
    done = subprocess.run(["openssl", *map(str, args)], input=stdin, capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A root and an intermediate authority: (root, (certificate, key) of the intermediate)."""
    return Authority(tmp_path_factory.mktemp("ca"))


class Authority:
    def __init__(self, folder):
        self.folder = folder
        self.root = make(folder, "root", [])
        self.middle = make(folder, "middle", [], issuer=self.root)

    def sign(self, request, begins=-1, ends=90, names=None, usage=True, key=None, digest=None,
             key_usage=None):
        """What an authority makes of a request: the certificate, as an object."""
        asked = x509.load_pem_x509_csr(request.encode())
        builder = (x509.CertificateBuilder().subject_name(asked.subject)
                   .issuer_name(self.middle[0].subject).public_key(key or asked.public_key())
                   .serial_number(x509.random_serial_number())
                   .not_valid_before(NOW + datetime.timedelta(days=begins))
                   .not_valid_after(NOW + datetime.timedelta(days=ends, hours=1)))
        san = x509.SubjectAlternativeName([x509.DNSName(d) for d in names]) if names else \
            asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        builder = builder.add_extension(san, critical=False)
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH if usage else ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if key_usage:
            builder = builder.add_extension(key_usage_of(*key_usage), critical=True)
        return builder.sign(self.middle[1], digest or hashes.SHA256())

    def chain(self, leaf, *behind):
        return b"".join(c.public_bytes(serialization.Encoding.PEM)
                        for c in (leaf, *(behind or (self.middle[0], self.root[0]))))


def shown(server, domain="localhost"):
    """The certificate that a client gets that asks for this domain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", server.tls_port), timeout=20) as raw, \
            context.wrap_socket(raw, server_hostname=domain) as tls:
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))


def fingerprint(cert):
    return cert.fingerprint(hashes.SHA256()).hex()


def csr(server, *args):
    done = server.ctl_run("cert", "csr", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def pem_of(folder, name, *certs):
    return write(folder, name, b"".join(c.public_bytes(serialization.Encoding.PEM)
                                        for c in certs))


def refused(server, *args, code=1):
    done = server.ctl_run(*args)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr


# --- cert show ---


def test_show_of_what_the_server_made(server):
    row, = server.rows("cert", "show")
    der = shown(server)
    assert row["domain"] == "localhost" and row["depth"] == 0
    assert row["fingerprint"] == fingerprint(der) and row["source"] == "self-signed"
    assert row["key"] == "ECDSA P-256" and row["names"] == "localhost"
    assert row["subject"] == row["issuer"] == "CN=localhost" and 3640 < row["days_left"] <= 3650
    again, = server.rows("cert", "show", "localhost")
    assert {**again, "days_left": row["days_left"]} == row  # a day may have ended in between
    assert "localhost" in refused(server, "cert", "show", "other.test")


def test_show_has_the_whole_chain(make_server, tmp_path, authority):
    server = make_server(domains=["a.test", "b.test"])
    leaf = authority.sign(csr(server, "a.test", "--xmpp-addr"))
    path = write(tmp_path, "a.pem", authority.chain(leaf))
    server.ctl("cert", "import", "a.test", "--file", path)
    rows = server.rows("cert", "show", "a.test")
    assert [r["depth"] for r in rows] == [0, 1, 2]
    assert [r["subject"] for r in rows] == ["CN=a.test", "CN=middle", "CN=root"]
    assert [r["fingerprint"] for r in rows] == [
        fingerprint(c) for c in (leaf, authority.middle[0], authority.root[0])]
    assert rows[0]["source"] == "data folder" and rows[0]["xmpp_names"].startswith("a.test")
    assert rows[0]["srv_names"].startswith("_xmpp-client.a.test, _xmpp-server.a.test")
    assert {r["domain"] for r in server.rows("cert", "show")} == {"a.test", "b.test"}


# --- cert csr ---


@pytest.mark.parametrize("key, said", [
    ("rsa:2048", "(2048 bit)"), ("rsa:3072", "(3072 bit)"), ("rsa:4096", "(4096 bit)"),
    ("ecdsa:p256", "NIST CURVE: P-256"), ("ecdsa:p384", "NIST CURVE: P-384")])
def test_a_request_is_right(server, key, said):
    request = csr(server, "localhost", "--key", key)
    assert request.startswith("-----BEGIN CERTIFICATE REQUEST-----\n")
    text = openssl("req", "-verify", "-noout", "-text", stdin=request)
    assert "erify OK" in text and said in text and "CN = localhost" in text
    signature = re.search(r"Signature Algorithm: (.*)", text)[1]
    assert ("sha384" if "384" in key else "sha256") in signature.lower()
    usage = re.search(r"Key Usage: critical\n *(.*)\n", text)[1]
    assert usage == "Digital Signature, Key Encipherment, Data Encipherment, Key Agreement"
    purpose = re.search(r"Extended Key Usage: *\n *(.*)\n", text)[1]
    assert purpose == ("TLS Web Server Authentication, TLS Web Client Authentication, "
                       "IPSec End System")
    path = server.data / "certs" / "localhost.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    public = openssl("pkey", "-in", path, "-pubout")
    assert public == openssl("req", "-pubkey", "-noout", stdin=request)


def names_of(request):
    """(DNS, SRV, XMPP) of a request."""
    names = x509.load_pem_x509_csr(request.encode()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName).value
    other = {"1.3.6.1.5.5.7.8.7": [], "1.3.6.1.5.5.7.8.5": []}
    for name in names.get_values_for_type(x509.OtherName):
        tag, length, text = name.value[0], name.value[1], name.value[2:]
        assert len(text) == length
        assert tag == {"7": 0x16, "5": 0x0c}[name.type_id.dotted_string[-1]]
        other[name.type_id.dotted_string].append(text.decode())
    return (names.get_values_for_type(x509.DNSName), *other.values())


def test_names_of_a_request(make_server):
    server = make_server(domains=["a.test", "bücher.test"])
    dns, srv, xmpp = names_of(csr(server, "a.test"))
    assert dns[0] == "a.test" and "conference.a.test" in dns
    assert srv[:2] == ["_xmpp-client.a.test", "_xmpp-server.a.test"]
    assert "_xmpp-server.conference.a.test" in srv
    assert "_xmpp-client.conference.a.test" not in srv
    assert xmpp == []
    assert names_of(csr(server, "a.test", "--xmpp-addr")) == (dns, srv, dns)
    several = "a.test", "bücher.test", "a.test", "--names", "wildcard"
    two = names_of(csr(server, *several))
    assert two == (["a.test", "*.a.test", "xn--bcher-kva.test", "*.xn--bcher-kva.test"],
                   ["_xmpp-client.a.test", "_xmpp-server.a.test",
                    "_xmpp-client.xn--bcher-kva.test", "_xmpp-server.xn--bcher-kva.test"], [])
    assert names_of(csr(server, *several, "--xmpp-addr")) == (*two[:2], ["a.test", "bücher.test"])
    assert names_of(csr(server, "a.test", "--names", "domain"))[0] == ["a.test"]
    assert names_of(csr(server, "a.test", "--wildcard"))[0] == ["a.test", "*.a.test"]
    assert names_of(csr(server, "a.test", "--names", "domain", "--wildcard"))[0] == [
        "a.test", "*.a.test"]
    assert set(names_of(csr(server, "a.test", "--names", "services", "--wildcard"))[0]) == {
        *dns, "*.a.test"}


def test_xmpp_addresses_only_where_they_are_wanted(make_server):
    """id-on-xmppAddr keeps ejabberd 23.01 away. With the API and `cert self-signed`, too."""
    server = api_server(make_server)
    for more, wanted in ({}, []), ({"xmpp_addr": True}, names_of(csr(server, "localhost"))[0]):
        answer = server.api("POST", "/certificates/requests", {"domains": "localhost", **more})
        assert names_of(answer.json["text"])[2] == wanted
        server.ctl("cert", "self-signed", "localhost", *(["--xmpp-addr"] * len(more)))
        row, = server.rows("cert", "show", "localhost")
        assert row["xmpp_names"] == ", ".join(wanted)
        noted = "has the XMPP address localhost (id-on-xmppAddr)"
        assert (noted in refused(server, "cert", "check", "localhost")) == bool(wanted)
        found = server.api("GET", "/certificates/findings").json["items"]
        assert [r["refused"] for r in found if noted in r["text"]] == [False] * bool(wanted)


@pytest.mark.parametrize("address, noted", [("a.test", True), ("alice@localhost", False)])
def test_check_notes_domains_as_xmpp_addresses_only(server, tmp_path, authority, address, noted):
    """ejabberd 23.01 does not fail at those of users."""
    key = ec.generate_private_key(ec.SECP256R1())
    xmpp = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.5"),
                          bytes([0x0c, len(address)]) + address.encode())
    request = x509.CertificateSigningRequestBuilder(named("localhost")).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("localhost"), xmpp]), False).sign(
            key, hashes.SHA256())
    leaf = authority.sign(request.public_bytes(serialization.Encoding.PEM).decode())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                            serialization.NoEncryption())
    server.ctl("cert", "import", "localhost", "--file",
               write(tmp_path, "new.pem", pem + authority.chain(leaf)))
    said = server.ctl("cert", "check", "localhost")["text"]
    assert (f"has the XMPP address {address} (id-on-xmppAddr)" in said) == noted, said


def test_a_request_keeps_the_key_of_an_earlier_one(server):
    key = server.data / "certs" / "localhost.key"
    csr(server, "localhost", "--key", "rsa:2048")
    first = key.read_bytes()
    csr(server, "localhost")
    csr(server, "localhost", "--key", "rsa:2048")
    assert key.read_bytes() == first
    told = refused(server, "cert", "csr", "localhost", "--key", "ecdsa:p384")
    assert "an earlier request waits" in told and "--replace" in told
    assert key.read_bytes() == first
    csr(server, "localhost", "--key", "ecdsa:p384", "--replace")
    assert key.read_bytes() != first


def test_a_request_for_a_domain_of_others(server):
    said = refused(server, "cert", "csr", "other.test")
    assert "other.test is not served here" in said and "`component add`" in said


def test_a_request_for_a_component_that_nobody_has_added(server):
    said = refused(server, "cert", "csr", "irc.localhost")
    assert "if it is a component, add it with `component add irc.localhost`, otherwise to" in said


def test_domains_that_have_no_certificate_of_their_own(make_server, tmp_path):
    server = make_server(domains=["a.test"])
    path = write(tmp_path, "none.pem", b"")
    for command, *more in ["csr"], ["self-signed"], ["import", "--file", path]:
        said = refused(server, "cert", command, "conference.a.test", *more)
        assert "found conference.a.test, a service of a.test; domains are a.test" in said
        said = refused(server, "cert", command, "a.test,b.test", *more, code=2)
        assert "found a.test,b.test, allowed: domains with spaces between them" in said
    assert "a service of a.test" in refused(server, "cert", "check", "conference.a.test")


def test_users_of_a_component_cannot_be_added(make_server):
    """Nor is there the advice to add its domain to those of the server."""
    server = make_server(domains=["a.test"], component=True)
    server.ctl("component", "add", "gate.test")
    said = refused(server, "user", "show", "x@gate.test")
    assert "found gate.test, the domain of a component; domains are a.test" in said


def test_a_request_names_components(make_server, tmp_path, authority):
    """Those below the domain, and others that are said."""
    server = make_server(domains=["a.test", "b.a.test"], component=True)
    below, deeper, other, elsewhere = "irc.a.test", "x.irc.a.test", "irc.b.a.test", "gate.test"
    for component in below, deeper, other, elsewhere:
        server.ctl("component", "add", component)
    dns, srv, xmpp = names_of(csr(server, "a.test", "--xmpp-addr"))
    assert {below, deeper} < set(dns) and not {other, elsewhere} & set(dns)
    assert f"_xmpp-server.{below}" in srv and f"_xmpp-client.{below}" not in srv and below in xmpp
    dns, srv, _ = names_of(csr(server, "a.test", below, elsewhere))
    assert dns.count(below) == 1 and elsewhere in dns
    assert f"_xmpp-client.{elsewhere}" not in srv

    leaf = authority.sign(csr(server, "a.test"))
    server.ctl("cert", "import", "a.test", "--file",
               write(tmp_path, "a.pem", authority.chain(leaf)))
    said = refused(server, "cert", "check")  # of b.a.test it is self-signed
    assert f"No certificate names the components {elsewhere}, {other}." in said
    assert "components" not in server.ctl("cert", "check", "a.test")["text"]
    assert f"components {other}." in refused(server, "cert", "check", "b.a.test")
    assert f"components {elsewhere}." in server.ctl("cert", "check", elsewhere)["text"]

    leaf = authority.sign(csr(server, "a.test"), names=["a.test", elsewhere, "*.b.a.test"])
    server.ctl("cert", "import", "a.test", "--file",
               write(tmp_path, "a.pem", authority.chain(leaf)))
    assert f"components {below}, {deeper}." in refused(server, "cert", "check")
    assert "components" not in refused(server, "cert", "check", "b.a.test")
    assert shown(server, elsewhere) == leaf


def test_more_domains_than_a_certificate_has_names(make_server, tmp_path):
    """Of components that were deleted: their certificates stay."""
    server = make_server(domains=["a.test"], component=True)
    server.ctl("component", "add", "gate.test")
    server.ctl("cert", "self-signed", "gate.test")
    pem = (server.data / "certs" / "gate.test.pem").read_bytes()
    domains = [f"c{n}.test" for n in range(513)]
    for domain in domains:
        write(server.data / "certs", f"{domain}.pem", pem)
    server.restart()
    for command in "csr", "self-signed":
        assert "found more than 512 names" in refused(server, "cert", command, *domains)
    assert server.rows("status")


def test_a_file_that_is_left_of_another_domain_keeps_nobody_from_reloading(server):
    (server.data / "certs").mkdir(exist_ok=True)
    write(server.data / "certs", "gone.test.pem", b"rubbish")
    server.ctl("server", "reload")
    server.wait_log("event=cert.unusable domain=gone.test")
    server.ctl("cert", "self-signed", "localhost", "--replace")


def test_check_names_certificates_of_domains_that_are_gone(make_server):
    """Whatever is wrong with them."""
    server = make_server(domains=["a.test", "gone.test"])
    server.ctl("cert", "self-signed", "gone.test")
    assert "no such domain" not in refused(server, "cert", "check")
    server.conf["domains"] = ["a.test"]
    server.restart()
    assert "gone.test: this server has no such domain" in server.ctl(
        "cert", "check", "gone.test")["text"]
    server.ctl("cert", "del", "gone.test")
    assert "no such domain" not in refused(server, "cert", "check")


def test_a_component_has_a_certificate_of_its_own(make_server, tmp_path, authority):
    """It counts before one that names the component, too, until it is deleted."""
    server = make_server(domains=["a.test"], component=True)
    server.ctl("component", "add", "gate.test")
    both = authority.sign(csr(server, "a.test", "gate.test"))
    server.ctl("cert", "import", "a.test", "--file",
               write(tmp_path, "both.pem", authority.chain(both)))
    request = csr(server, "gate.test")
    assert names_of(request) == (["gate.test"], ["_xmpp-server.gate.test"], [])
    wrong = write(tmp_path, "wrong.pem", authority.chain(authority.sign(request, names=["b.test"])))
    assert "does not name gate.test" in refused(server, "cert", "import", "gate.test", "--file",
                                                wrong)
    assert shown(server, "gate.test") == both
    own = authority.sign(request)
    path = write(tmp_path, "own.pem", authority.chain(own))
    server.ctl("cert", "import", "gate.test", "--file", path)
    for _ in range(2):
        assert shown(server, "gate.test") == own and shown(server, "a.test") == both
        assert {r["domain"] for r in server.rows("cert", "show")} == {"a.test", "gate.test"}
        row, *_ = server.rows("cert", "show", "gate.test")
        assert row["fingerprint"] == fingerprint(own) and row["source"] == "data folder"
        assert {r["domains"] for r in server.rows("cert", "list")} == {"a.test", "gate.test"}
        assert "components" not in server.ctl("cert", "check", "gate.test")["text"]
        server.restart()
    server.ctl("cert", "self-signed", "gate.test", "--replace")
    assert "gate.test: the certificate is self-signed" in refused(server, "cert", "check",
                                                                  "gate.test")
    server.ctl("component", "del", "gate.test")
    note = "gate.test: this server has no such domain and no such component"
    assert note in server.ctl("cert", "check", "gate.test")["text"]
    assert note in server.ctl("cert", "check")["text"]
    server.ctl("cert", "del", "gate.test")
    assert note not in server.ctl("cert", "check")["text"]
    assert shown(server, "gate.test") == both
    assert "gate.test is not served here" in refused(server, "cert", "show", "gate.test")


# --- cert import ---


def test_from_a_request_to_its_certificate_in_use(make_server, tmp_path, authority):
    """Without a restart, by SNI, also after one."""
    server = make_server("alice", domains=["localhost", "b.test"])
    alice = server.client("alice", "a")
    before = shown(server)
    request = csr(server, "localhost")
    leaf = authority.sign(request)
    path = write(tmp_path, "new.pem", authority.chain(leaf))
    done = server.ctl_run("cert", "import", "localhost", "--file", path)
    assert done.returncode == 0 and done.stdout == "localhost: the certificate is in use\n"
    assert shown(server) == leaf and shown(server, "b.test") == before
    alice.ping()
    assert not (server.data / "certs" / "localhost.key").exists()
    pair = server.data / "certs" / "localhost.pem"
    assert stat.S_IMODE(pair.stat().st_mode) == 0o600
    assert sorted(p.name for p in pair.parent.iterdir()) == ["localhost.pem"]
    root = tmp_path / "root.pem"
    root.write_bytes(authority.root[0].public_bytes(serialization.Encoding.PEM))
    said = openssl("s_client", "-connect", f"127.0.0.1:{server.tls_port}", "-CAfile", root,
                   "-verify_return_error", "-servername", "localhost", stdin="")
    assert "Verify return code: 0" in said
    server.restart()
    assert shown(server) == leaf and shown(server, "b.test") == before
    server.ctl("server", "reload")
    assert shown(server) == leaf


def test_clients_that_name_no_domain(make_server, tmp_path, authority):
    """They get the certificate of the only domain; of several nobody knows which. One that is
    damaged keeps no server from its start."""
    one, two = make_server(), make_server(domains=["localhost", "b.test"])
    for server in one, two:
        before = shown(server, None)
        leaf = authority.sign(csr(server, "localhost"))
        server.ctl("cert", "import", "localhost", "--file",
                   write(tmp_path, "new.pem", authority.chain(leaf)))
        assert shown(server) == leaf
        for _ in range(2):
            assert shown(server, None) == (leaf if server == one else before)
            server.restart()
    (one.data / "certs" / "localhost.pem").write_text("damaged")
    one.restart()
    self_signed = shown(one, None)
    assert self_signed != leaf and self_signed == shown(one)
    one.ctl("cert", "del", "localhost")
    assert shown(one, None) == self_signed


def test_one_certificate_for_several_domains(make_server, tmp_path, authority):
    server = make_server(domains=["a.test", "bücher.test"])
    leaf = authority.sign(csr(server, "a.test", "bücher.test"))
    path = write(tmp_path, "new.pem", authority.chain(leaf))
    server.ctl("cert", "import", "bücher.test", "--file", path)
    assert shown(server, "xn--bcher-kva.test") == leaf and shown(server, "a.test") != leaf
    server.ctl("cert", "import", "a.test", "--file", path)  # the key is that of the other one
    assert shown(server, "a.test") == leaf


def test_a_key_of_its_own(server, tmp_path, authority):
    """With --key, and in the same file; paths count from the folder of the caller."""
    key = rsa.generate_private_key(65537, 2048)
    request = x509.CertificateSigningRequestBuilder(named("localhost")).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("localhost")]), False).sign(key, hashes.SHA256())
    leaf = authority.sign(request.public_bytes(serialization.Encoding.PEM).decode())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                            serialization.NoEncryption())
    path = write(tmp_path, "new.pem", authority.chain(leaf))
    told = refused(server, "cert", "import", "localhost", "--file", path)
    assert "found no key for this certificate" in told and "--key" in told
    other = write(tmp_path, "other.key", make(tmp_path, "other", ["localhost"])[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    told = refused(server, "cert", "import", "localhost", "--file", path, "--key", other)
    assert f"{other}: the key is not the one of the certificate {path}" in told
    assert shown(server) != leaf
    server.ctl("cert", "import", "localhost", "--file", path, "--key",
               write(tmp_path, "right.key", pem))
    assert shown(server) == leaf
    both = write(tmp_path, "both.pem", pem + authority.chain(leaf))
    server.ctl("cert", "import", "localhost", "--file", both)
    assert server.rows("cert", "show")[0]["key"] == "RSA 2048"


BROKEN = {
    "expired": ({"ends": -2, "begins": -9}, "the certificate expired on 20"),
    "early": ({"begins": 3}, "the certificate is not valid before 20"),
    "names": ({"names": ["other.test"]}, "does not name localhost; it names other.test"),
    "usage": ({"usage": False}, "is not for servers"),
    "agreement": ({"key_usage": ["key_agreement"]}, "has a keyUsage without digitalSignature"),
    "encipherment": ({"key_usage": ["key_encipherment"]}, "and all ECDHE ciphers need"),
    "sha1": ({"digest": hashes.SHA1()}, "found a weak signature"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_refused_changes_nothing(server, tmp_path, authority, case):
    options, told = BROKEN[case]
    leaf = authority.sign(csr(server, "localhost"), **options)
    path = write(tmp_path, "new.pem", authority.chain(leaf))
    before = shown(server)
    said = refused(server, "cert", "import", "localhost", "--file", path)
    assert told in said and str(path) in said
    assert shown(server) == before
    assert [p.name for p in (server.data / "certs").iterdir()] == ["localhost.key"]


def test_a_certificate_comes_as_text_from_elsewhere(make_server, authority):
    """With the checks of `cert import`; nothing tells of the key."""
    server = api_server(make_server)
    api, before, told = server.api, shown(server), []

    def install(*parts):
        text = b"".join(part if isinstance(part, bytes) else part.encode() for part in parts)
        answer = api("POST", "/certificates", {"domains": ["localhost"],
                                               "certificate": text.decode()})
        told.append(answer.text)
        return answer

    asked = api("POST", "/certificates/requests", {"domains": "localhost"})
    assert asked.status == 200 and "PRIVATE" not in asked.text
    for options, words in BROKEN.values():
        answer = install(authority.chain(authority.sign(asked.json["text"], **options)))
        assert answer.status == 422 and words in answer.text, answer.text
    leaf = authority.sign(asked.json["text"])
    for text, words in ((leaf.public_bytes(serialization.Encoding.PEM), "is neither in the text"),
                        (authority.chain(authority.middle[0]), "Put the certificate of the domain"),
                        ("no PEM", "certificate: "), ("", "certificate is missing"),
                        ("x" * 70000, "65536"),
                        (authority.chain(authority.sign(
                            asked.json["text"], key=ec.generate_private_key(
                                ec.SECP256R1()).public_key())), "Put the key into the same text")):
        answer = install(text)
        assert 400 <= answer.status < 500 and words in answer.text, (words, answer.text)
    viewer = server.rows("token", "add", "eyes", "viewer")[0]["token"]
    for path in "/certificates", "/certificates/requests":
        assert api("POST", path, {"domains": "localhost"}, token=viewer).status == 403
    assert shown(server) == before
    assert install(authority.chain(leaf)).status == 200
    assert fingerprint(shown(server)) == fingerprint(leaf)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                            serialization.NoEncryption())
    leaf = authority.sign(asked.json["text"], key=key.public_key())
    assert install(authority.chain(leaf), pem.replace(b"\n", b"\r\n")).status == 200
    assert fingerprint(shown(server)) == fingerprint(leaf)
    leaf = authority.sign(asked.json["text"], key=key.public_key(), ends=80)  # the same key
    done = server.ctl_run("cert", "install", "localhost", "--stdin",
                          stdin=authority.chain(leaf).decode())
    assert done.returncode == 0 and fingerprint(shown(server)) == fingerprint(leaf), done.stderr
    found = api("GET", "/certificates/findings").json["items"]
    assert any(not row["refused"] and "does not trust" in row["text"] for row in found), found
    entry, = [row for row in server.rows("audit", "list", "--command", "cert install")[:1]]
    assert entry["args"] == "domains=localhost" and entry["result"] == "ok"
    secret = pem.decode().splitlines()[1]
    assert secret not in "".join([*told, server.log(), str(server.rows("audit", "export"))])
    assert "BEGIN CERT" not in server.log() + str(server.rows("audit", "export"))


def test_weak_keys_are_refused(server, tmp_path, authority):
    key = rsa.generate_private_key(65537, 1024)
    leaf = authority.sign(csr(server, "localhost"), key=key.public_key())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                            serialization.NoEncryption())
    path = write(tmp_path, "new.pem", pem + authority.chain(leaf))
    said = refused(server, "cert", "import", "localhost", "--file", path)
    assert "found a weak key (RSA 1024), allowed: RSA of 2048 bits" in said


def test_chains_that_are_refused(server, tmp_path, authority):
    leaf = authority.sign(csr(server, "localhost"))
    middle, root = authority.middle[0], authority.root[0]
    stranger, _ = make(tmp_path, "stranger", [])
    old, _ = make(tmp_path, "middle", [], issuer=authority.root, begins=-9, ends=-2)
    for behind, told in (((root, middle), 'found "CN=root" behind "CN=localhost", expected its '
                                          'issuer "CN=middle"'),
                         ((stranger,), 'found "CN=stranger"'),
                         ((old, root), 'the certificate "CN=middle" of the chain has expired')):
        path = write(tmp_path, "new.pem", authority.chain(leaf, *behind))
        assert told in refused(server, "cert", "import", "localhost", "--file", path)
    for several in ((middle, leaf), (middle, root), (middle,)):
        path = write(tmp_path, "new.pem", b"".join(
            cert.public_bytes(serialization.Encoding.PEM) for cert in several))
        assert 'found the certificate of the authority "CN=middle" first, expected that of ' \
               "localhost. Put the certificate of the domain first" in refused(
                   server, "cert", "import", "localhost", "--file", path)
    alone = write(tmp_path, "new.pem", leaf.public_bytes(serialization.Encoding.PEM))
    assert "is neither in the file nor" in refused(server, "cert", "import", "localhost", "--file",
                                                   alone)


def test_files_that_are_no_certificates(server, tmp_path):
    for content in (b"", b"nothing",
                    b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        path = write(tmp_path, "new.pem", content)
        told = refused(server, "cert", "import", "localhost", "--file", path, code=2)
        assert f"{path}: " + ("the certificate 1 in it is damaged" if b"AAAA" in content
                              else "found no PEM certificate") in told
    told = refused(server, "cert", "import", "localhost", "--file", "/nowhere/x")
    assert "/nowhere/x: No such file" in told and "musterd reads the file itself" in told
    assert "--file is missing" in refused(server, "cert", "import", "localhost", code=2)


def test_a_file_that_does_not_end_is_refused_at_once(server, tmp_path, authority):
    """It would hold the thread that checks passwords, too."""
    pipe = tmp_path / "pipe.pem"
    os.mkfifo(pipe)
    right = write(tmp_path, "new.pem", authority.chain(authority.sign(csr(server, "localhost"))))
    for args in (("cert", "import", "localhost", "--file", pipe),
                 ("cert", "import", "localhost", "--file", right, "--key", pipe),
                 ("cert-trust", "add", pipe)):
        told = refused(server, *args, code=2)
        assert f"{pipe}: not a regular file" in told and "musterd reads" not in told
    folder = server.data / "trust" / "federation"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "x.pem")
    server.ctl("server", "reload")
    assert "x.pem: not a regular file" in alarm(server, "tls.trust-file")["detail"]


def test_a_private_authority_may_leave_out_its_root(server, tmp_path, authority):
    leaf = authority.sign(csr(server, "localhost"))
    path = write(tmp_path, "new.pem", authority.chain(leaf, authority.middle[0]))
    done = server.ctl_run("cert", "import", "localhost", "--file", path)
    assert done.returncode == 0, done.stderr
    assert 'the chain ends at the issuer "CN=root", which is neither' in done.stdout
    assert shown(server) == leaf
    server.ctl("cert-trust", "add", pem_of(tmp_path, "root.pem", authority.root[0]))
    server.ctl("cert-trust", "add", pem_of(tmp_path, "middle.pem", authority.middle[0]))
    alone = write(tmp_path, "alone.pem", leaf.public_bytes(serialization.Encoding.PEM))
    done = server.ctl_run("cert", "import", "localhost", "--file", alone)
    assert done.returncode == 0 and done.stdout == "localhost: the certificate is in use\n"


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256K1()),
                                 ec.generate_private_key(ec.BrainpoolP256R1()),
                                 ed448.Ed448PrivateKey.generate()])
def test_keys_that_clients_cannot_use_are_refused(server, tmp_path, authority, key):
    leaf = authority.sign(csr(server, "localhost"), key=key.public_key())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                            serialization.NoEncryption())
    path = write(tmp_path, "new.pem", pem + authority.chain(leaf))
    said = refused(server, "cert", "import", "localhost", "--file", path)
    assert "found a key that clients cannot use (" in said and "P-256, P-384 or P-521" in said


def test_a_key_that_all_may_read_is_noted(server, tmp_path, authority):
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = authority.sign(csr(server, "localhost"), key=key.public_key())
    path = write(tmp_path, "new.pem", authority.chain(leaf))
    secret = write(tmp_path, "x.key", key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    for mode, noted in ((0o600, False), (0o640, False), (0o644, True)):
        secret.chmod(mode)
        done = server.ctl_run("cert", "import", "localhost", "--file", path, "--key", secret)
        assert done.returncode == 0, done.stderr
        assert (f"{secret}: all users of this machine may read the key" in done.stdout) == noted


def test_the_node_file_decides(make_server, tmp_path, authority):
    """tls.domains wins and is named; tls.certificate loses against an import."""
    make(tmp_path, "cert", ["a.test", "b.test"])
    make(tmp_path, "own", ["a.test"])
    server = make_server(domains=["a.test", "b.test"],
                         tls=tls_of(tmp_path, **{"a.test": tls_of(tmp_path, "own")}))
    leaf = authority.sign(csr(server, "a.test", "b.test"))
    path = write(tmp_path, "new.pem", authority.chain(leaf))
    told = refused(server, "cert", "import", "a.test", "--file", path)
    assert "the node file names its certificate (tls.domains, " in told
    assert re.search(rf"{re.escape(str(server.file))}:\d+\)", told) and "own.pem" in told
    assert "tls.domains" in refused(server, "cert", "import", "b.test", "a.test", "--file", path)
    assert "tls.domains" in refused(server, "cert", "self-signed", "a.test")
    assert shown(server, "b.test") != leaf
    server.ctl("cert", "import", "b.test", "--file", path)
    assert shown(server, "b.test") == leaf and shown(server, "a.test") != leaf
    sources = {r["domain"]: r["source"] for r in server.rows("cert", "show")}
    assert sources == {"a.test": "node file", "b.test": "data folder"}
    server.ctl("cert", "del", "b.test")
    assert shown(server, "b.test") != leaf
    assert "found no certificate of" in refused(server, "--yes", "cert", "del", "b.test")


def test_a_mistake_in_the_node_file_comes_first(server, tmp_path, authority):
    leaf = authority.sign(csr(server, "localhost"))
    path = write(tmp_path, "new.pem", authority.chain(leaf))
    server.conf["log"] = {"level": "loud"}
    server.write()
    told = refused(server, "cert", "import", "localhost", "--file", path, code=2)
    assert "the node file has a mistake" in told and "log.level" in told
    assert not (server.data / "certs" / "localhost.pem").exists()


def test_a_mistake_in_the_node_file_keeps_what_is_there(server, tmp_path, authority):
    server.ctl("cert", "self-signed", "localhost")
    root = pem_of(tmp_path, "root.pem", authority.root[0])
    server.ctl("cert-trust", "add", root)
    server.conf["log"] = {"level": "loud"}
    server.write()
    for args in (("--yes", "cert", "del", "localhost"),
                 ("cert-trust", "add", root, "--for", "clients"),
                 ("cert-trust", "del", fingerprint(authority.root[0]))):
        assert "the node file has a mistake" in refused(server, *args, code=2)
    assert (server.data / "certs" / "localhost.pem").exists()
    assert len(list((server.data / "trust" / "federation").iterdir())) == 1
    assert not (server.data / "trust" / "clients").exists()


# --- cert self-signed ---


def test_self_signed(server, tmp_path, authority):
    server.ctl("cert", "self-signed", "localhost", "--key", "rsa:3072")
    cert = shown(server)
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "conference.localhost" in names.get_values_for_type(x509.DNSName)
    row = server.rows("cert", "show")[0]
    assert row["fingerprint"] == fingerprint(cert) and row["key"] == "RSA 3072"
    own = tmp_path / "own.pem"
    own.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    assert "OK" in openssl("verify", "-CAfile", own, "-purpose", "sslserver", own)
    server.ctl("cert", "self-signed", "localhost")
    assert shown(server) != cert
    leaf = authority.sign(csr(server, "localhost"))
    server.ctl("cert", "import", "localhost", "--file",
               write(tmp_path, "new.pem", authority.chain(leaf)))
    assert "--replace gives it up" in refused(server, "cert", "self-signed", "localhost")
    assert shown(server) == leaf
    server.ctl("cert", "self-signed", "localhost", "--replace")
    assert shown(server) != leaf


def test_a_service_shows_the_certificate_that_names_it(make_server, tmp_path, authority):
    """Other servers ask for it by the name of the service."""
    server = make_server(domains=["a.test", "b.test"])
    before = shown(server, "b.test")
    leaf = authority.sign(csr(server, "b.test"))
    server.ctl("cert", "import", "b.test", "--file",
               write(tmp_path, "new.pem", authority.chain(leaf)))
    assert shown(server, "conference.b.test") == leaf
    assert shown(server, "CONFERENCE.b.test.") == leaf and shown(server, "b.test.") == leaf
    assert shown(server, "conference.a.test") == before == shown(server, "other.test")


@pytest.mark.parametrize("domain", ["ü" * 40 + "." + "b" * 30 + ".test",
                                    "a" * 50 + "." + "b" * 40 + ".test"])
def test_the_first_start_with_a_long_domain(make_server, domain):
    server = make_server(domains=[domain])
    ascii_name = domain.encode("idna").decode()
    cert = shown(server, ascii_name)
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [ascii_name]
    labels = [a.value for a in cert.issuer.get_attributes_for_oid(x509.NameOID.DOMAIN_COMPONENT)]
    assert ".".join(reversed(labels)) == ascii_name and cert.issuer == cert.subject
    text = openssl("req", "-noout", "-text", "-verify", stdin=csr(server, domain))
    assert "CN =" not in text and "DC = test, DC = " in text and f"DNS:{ascii_name}" in text


def test_an_import_for_several_domains_is_all_or_nothing(make_server, tmp_path, authority):
    server = make_server(domains=["a.test", "b.test"])
    leaf = authority.sign(csr(server, "a.test", "b.test"))
    path = write(tmp_path, "new.pem", authority.chain(leaf))
    folder = server.data / "certs"
    for name in ("b.test.pem.new", "b.test.pem.new.new"):
        (folder / name).mkdir()
    refused(server, "cert", "import", "a.test", "b.test", "--file", path)
    assert not [p.name for p in folder.iterdir() if p.is_file() and p.name != "a.test.key"]
    for name in ("b.test.pem.new", "b.test.pem.new.new"):
        (folder / name).rmdir()
    server.ctl("cert", "import", "a.test", "b.test", "--file", path)
    assert sorted(p.name for p in folder.iterdir()) == ["a.test.pem", "b.test.pem"]


def test_show_of_a_certificate_that_cannot_be_read(make_server, tmp_path):
    """TLS shows it, though it has more certificates than we read."""
    server = make_server(domains=["a.test", "b.test"])
    server.ctl("cert", "self-signed", "a.test")
    pair = server.data / "certs" / "a.test.pem"
    pem = pair.read_bytes()
    pair.write_bytes(pem + pem[pem.index(b"-----BEGIN CERT"):] * 16)
    server.restart()
    row, other = server.rows("cert", "show")
    if row["domain"] != "a.test":
        row, other = other, row
    assert row["subject"] == "cannot be read" and row["certificate"] == str(pair)
    assert row["source"] == "data folder" and other["subject"] == "CN=a.test"


# --- cert check ---


def test_check_of_what_the_server_made(server):
    told = refused(server, "cert", "check")
    assert "localhost: the certificate is self-signed." in told and "`cert csr`" in told
    assert "does not name the services" in told and "conference.localhost" in told


def test_check_finds_nothing(server, tmp_path, authority):
    leaf = authority.sign(csr(server, "localhost"))
    server.ctl("cert", "import", "localhost", "--file",
               write(tmp_path, "new.pem", authority.chain(leaf)))
    done = server.ctl_run("cert", "check", "localhost")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("nothing that clients or other servers refuse today\n")
    assert 'the chain ends at "CN=root", which this machine does not trust' in done.stdout
    assert "is not for clients (extendedKeyUsage clientAuth)" in done.stdout
    assert "services" not in done.stdout


@pytest.mark.parametrize("options, told", [
    ({"ends": -2, "begins": -30}, "localhost: the certificate expired on 20"),
    ({"begins": 2}, "localhost: the certificate is not valid before 20"),
    ({"names": ["other.test"]}, "localhost: the certificate does not name localhost"),
    ({"usage": False}, "localhost: the certificate is not for servers"),
    ({"key_usage": ["key_encipherment"]},
     "localhost: the certificate has a keyUsage without digitalSignature"),
    ({"digest": hashes.SHA1()}, "localhost: the signature is weak (ecdsa-with-SHA1)")])
def test_check_says_what_is_refused(make_server, tmp_path, authority, options, told):
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder(named("localhost")).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("localhost")]), False).sign(key, hashes.SHA256())
    right = authority.sign(request.public_bytes(serialization.Encoding.PEM).decode())
    write(tmp_path, "cert.pem", authority.chain(right))
    write(tmp_path, "cert.key", key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    server = make_server(tls=tls_of(tmp_path))
    assert server.ctl_run("cert", "check").returncode == 0
    leaf = authority.sign(request.public_bytes(serialization.Encoding.PEM).decode(), **options)
    write(tmp_path, "cert.pem", authority.chain(leaf))
    said = refused(server, "cert", "check")
    assert told in said
    assert f"{tmp_path}/cert.pem has changed and is not in use yet" in said


def test_keys_that_may_sign_are_taken(server, tmp_path, authority):
    """Whatever else keyUsage allows."""
    request = csr(server, "localhost")
    leaf = authority.sign(request, key_usage=["digital_signature", "key_encipherment"])
    server.ctl("cert", "import", "localhost", "--file",
               write(tmp_path, "new.pem", authority.chain(leaf)))
    assert server.ctl_run("cert", "check", "localhost").returncode == 0
    assert "tls.names" not in [row["name"] for row in server.rows("alarm", "list")]


def test_a_key_that_may_not_sign_is_told(make_server, tmp_path, authority):
    """Also one of RSA: it connects with some clients, and others refuse it."""
    key = rsa.generate_private_key(65537, 2048)
    request = x509.CertificateSigningRequestBuilder(named("localhost")).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("localhost")]), False).sign(key, hashes.SHA256())
    leaf = authority.sign(request.public_bytes(serialization.Encoding.PEM).decode(),
                          key_usage=["key_encipherment"])
    write(tmp_path, "cert.pem", authority.chain(leaf))
    write(tmp_path, "cert.key", key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    server = make_server(tls=tls_of(tmp_path))
    told = "has a keyUsage without digitalSignature"
    assert told in alarm(server, "tls.names")["text"]
    assert told in server.rows("cert", "list")[0]["state"]
    said = refused(server, "cert", "check")
    assert told in said and "clientAuth" not in said


def test_check_of_an_open_chain(make_server, tmp_path, authority):
    make(tmp_path, "cert", ["localhost"], issuer=authority.root)
    server = make_server(tls=tls_of(tmp_path))
    assert 'the chain ends at "CN=root", which is neither in the file' in refused(server, "cert",
                                                                                  "check")


def test_check_of_an_authority_that_only_this_server_trusts(make_server, tmp_path, authority):
    """Others do not know it. `doctor` says so, too."""
    make(tmp_path, "cert", ["localhost"], issuer=authority.root)
    server = make_server(tls=tls_of(tmp_path))
    server.ctl("cert-trust", "add", pem_of(tmp_path, "root.pem", authority.root[0]))
    done = server.ctl_run("cert", "check")
    assert done.returncode == 0, done
    assert ('the chain ends at "CN=root", which this server trusts only by `cert-trust list`. '
            "Clients and other servers must be told") in done.stdout, done


# --- the monitor ---


def test_the_days_of_notice_are_a_setting(make_server, tmp_path):
    make(tmp_path, "cert", ["localhost"], ends=40)
    server = make_server(tls=tls_of(tmp_path))
    assert alarm(server, "tls.expiry") is None
    server.ctl("set", "cert.notice-from", "41")
    row = alarm(server, "tls.expiry")
    assert row["severity"] == "warning" and "40 days" in row["detail"]
    assert "expires in 40 days" in server.ctl_run("cert", "check").stderr
    server.restart()
    assert alarm(server, "tls.expiry")["severity"] == "warning"
    server.ctl("set", "cert.notice-from", "40")
    assert alarm(server, "tls.expiry") is None


def test_the_last_hour_of_a_certificate(make_server, tmp_path):
    """There are no "0 days". It is looked at once more when it expires."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    late = now - NOW + datetime.timedelta(seconds=6) - datetime.timedelta(hours=1)
    make(tmp_path, "cert", ["localhost"], ends=late / datetime.timedelta(days=1))
    server = make_server(tls=tls_of(tmp_path))
    first = alarm(server, "tls.expiry")["detail"]
    assert "less than a day" in first or "expired" in first, first
    assert " 0 days" not in server.ctl_run("cert", "check").stderr
    until("it is seen", lambda: "expired" in alarm(server, "tls.expiry")["detail"])
    assert alarm(server, "tls.expiry")["severity"] == "critical"


def test_wildcards_may_be_the_rule(make_server):
    """One request for all domains that the server has."""
    server = make_server(domains=["a.test", "b.test"])
    assert "*.a.test" not in names_of(csr(server, "a.test"))[0]
    server.ctl("set", "cert.wildcards", "on")
    assert names_of(csr(server, "a.test", "b.test"))[0] == [
        "a.test", "*.a.test", "b.test", "*.b.test"]
    assert names_of(csr(server, "a.test", "--names", "domain"))[0] == ["a.test"]


def test_what_a_crash_has_left_is_removed(make_server):
    server = make_server(domains=["a.test"])
    server.ctl("cert", "self-signed", "a.test")
    server.stop()
    left = [server.data / "certs" / ".new", server.data / "certs" / "a.test.pem.new",
            server.data / "self-signed-key.pem.new"]
    for path in left:
        path.write_text("a key")
    server.start()
    assert not [p for p in left if p.exists()] and server.rows("cert", "show")
