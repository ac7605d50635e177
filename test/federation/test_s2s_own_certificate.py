"""The certificate that a server of ours shows to other servers: for each of its domains, services
and components the one that names it."""
import pathlib
import subprocess

import pytest
from cryptography import x509

from harness import ejabberd, federation, partner, prosody
from harness.partner import OURS
from federation.test_s2s_trace import OTHER, make, route, trace

SERVICES = "conference", "pubsub", "upload", "search", "proxy"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


def issue(authority, domain, *more):
    """A certificate of a domain, its services and more."""
    ascii_domain = domain.encode("idna").decode()
    return authority.issue(ascii_domain, ascii_domain,
                           *(f"{service}.{ascii_domain}" for service in SERVICES), *more)


def leaf(cert):
    return x509.load_pem_x509_certificate(pathlib.Path(cert["certificate"]).read_bytes())


def take(server, domain, cert):
    server.ctl("cert", "import", domain, "--file", cert["certificate"], "--key", cert["key"])


def start(make_server, authority, domains, tls, components=()):
    """A server of these domains, and another one, which takes nothing but a certificate."""
    one = make_server(domains=domains, s2s=True, component=True, settings=federation.settings(),
                      tls={**tls, "trust": str(authority.file)})
    other = make(make_server, "bob", OTHER, {**authority.issue(OTHER, OTHER),
                                             "trust": str(authority.file)}, dialback="off")
    route(one, OTHER, other.s2s_port)
    for component in components:
        one.ctl("component", "add", component)
    return one


def proven(server, domain):
    """Whether the other server accepts that domain by its certificate."""
    code, steps, _ = trace(server, "--local", domain)
    (result, text), (_, (told, ours)) = *steps["authentication"], steps["tls"]
    assert (code == 0) == (result == "ok") == (told == "ok"), (text, ours)
    assert ours.endswith(f"; it {'names' if result == 'ok' else 'does not name'} {domain}")
    return result == "ok"


def shown(server, domain):
    """The certificate for a stream to that domain, without SNI."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.s2s_port}", "-starttls",
         "xmpp-server", "-xmpphost", domain, "-noservername"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    begin = done.stdout.index("-----BEGIN CERTIFICATE-----")
    return x509.load_pem_x509_certificate(done.stdout[begin:].encode())


@pytest.mark.parametrize("domain", ["one.test", "bücher.test"])
def test_an_imported_certificate_is_that_of_services(make_server, authority, domain):
    one = start(make_server, authority, [domain], {})
    assert not proven(one, f"conference.{domain}")
    cert = issue(authority, domain)
    take(one, domain, cert)
    for local in domain, f"conference.{domain}", f"pubsub.{domain}":
        assert proven(one, local) and shown(one, local) == leaf(cert)
    one.restart()
    assert proven(one, f"conference.{domain}")


def test_each_domain_has_its_own_for_its_services(make_server, authority):
    certs = {domain: issue(authority, domain) for domain in ("a.test", "b.test")}
    one = start(make_server, authority, list(certs),
                {**certs["a.test"], "domains": {"b.test": certs["b.test"]}})
    for domain, cert in certs.items():
        for local in domain, f"conference.{domain}", f"pubsub.{domain}":
            assert proven(one, local) and shown(one, local) == leaf(cert)


def test_a_component_has_the_certificate_that_names_it(make_server, authority):
    components = "irc.one.test", "a.irc.one.test", "gate.test", "none.test"
    one = start(make_server, authority, ["one.test"], {}, components)
    cert = issue(authority, "one.test", "*.one.test", "gate.test")
    take(one, "one.test", cert)
    assert [proven(one, component) for component in components] == [True, False, True, False]
    assert shown(one, "irc.one.test") == shown(one, "gate.test") == leaf(cert)
    assert shown(one, "none.test") != leaf(cert)
    own = authority.issue("none", "none.test")
    take(one, "none.test", own)
    assert proven(one, "none.test") and shown(one, "none.test") == leaf(own)
    one.restart()
    assert proven(one, "none.test") and proven(one, "gate.test")


@pytest.mark.parametrize("kind, options", [
    pytest.param(ejabberd.Ejabberd, {"more": ""}, id="ejabberd", marks=pytest.mark.skipif(
        not ejabberd.is_here(), reason="no ejabberd, or no dnsmasq")),
    pytest.param(prosody.Prosody, {"secure_auth": "true", "less": '"dialback";'}, id="prosody",
                 marks=pytest.mark.skipif(not prosody.is_here(),
                                          reason="no Prosody, or no dnsmasq"))])
def test_rooms_with_other_servers(make_server, tmp_path, kind, options):
    """They take nothing but a certificate, and the one of ours was imported."""
    ours_of, started = [], []

    def later(authority):
        ours_of.append(issue(authority, OURS))
        return {}
    try:
        ours, theirs = partner.start(make_server, tmp_path, kind, started,
                                     settings={"dialback": "off"}, our_certificate=later, **options)
        take(ours, OURS, ours_of[0])
        partner.meet(ours, theirs)
    finally:
        for process in started:
            process.finish()
