"""Where other servers are, by the DNS (RFC 6120 §3.2, RFC 2782, XEP-0368)."""
import socket
import threading

import pytest

from harness import federation, prosody, xml
from harness.client import TIMEOUT, until
from harness.prosody import Dns
from harness.server import free_ports

pytestmark = pytest.mark.skipif(not prosody.is_here(), reason="no dnsmasq")
ONE, OTHER = "one.example", "other.example"


@pytest.fixture
def pair(make_server, tmp_path):
    """A function that starts two servers, and a name server for which a function makes arguments of
    the second one."""
    started = []

    def start(records):
        authority = federation.Authority(tmp_path)
        one, other = servers = [
            make_server(user, domains=[domain], s2s=True, settings=federation.settings(),
                        tls={**authority.issue(domain, domain), "trust": str(authority.file)})
            for user, domain in (("alice", ONE), ("bob", OTHER))]
        dns = free_ports(1)[0]
        started.append(Dns(tmp_path, dns, {ONE: one.s2s_port}, *records(other)))
        for server in servers:
            server.ctl("set", "s2s.dns-servers", f"127.0.0.1:{dns}")
        return one, other
    yield start
    for process in started:
        process.finish()


def srv(domain, port, priority=0, host="host.other.example", service="xmpp"):
    return f"--srv-host=_{service}-server._tcp.{domain},{host},{port},{priority},0"


HOST = "--host-record=host.other.example,127.0.0.1"


def dead():
    return federation.free_port()


@pytest.mark.parametrize("records", [
    lambda other: [HOST, srv(OTHER, other.s2s_port)],
    lambda other: [HOST, srv(OTHER, dead(), 1), srv(OTHER, other.s2s_port, 2)],
    lambda other: [HOST, srv(OTHER, 5269, 1, "no.example"), srv(OTHER, other.s2s_port, 2)],
    lambda other: [HOST, srv(OTHER, other.s2s_tls_port, service="xmpps")],
    lambda other: [HOST, srv(OTHER, other.s2s_tls_port, 1, service="xmpps"),
                   srv(OTHER, dead(), 2)],
], ids=["plain", "first-dead", "first-unknown", "direct-tls", "both"])
def test_servers_are_found(pair, records):
    one, other = pair(records)
    alice, bob = one.client("alice"), other.client("bob")
    exchange(alice, bob)
    bob.send(f"<message to='{alice}' type='chat' id='n'><body>ho</body></message>")
    alice.expect(f"<message from='{bob}' id='n'><body>ho</body></message>")
    assert "auth=certificate" in one.log()


@pytest.mark.parametrize("trusted", [True, False], ids=["certificate", "dialback"])
def test_a_domain_with_letters_beyond_ascii(make_server, tmp_path, trusted):
    """It is asked for, and its certificate names it, by its A-labels (RFC 5891); both forms of an
    address are the same user, and commands say in which form they take patterns."""
    name, ascii_name = "bücher.example", "xn--bcher-kva.example"
    authority = federation.Authority(tmp_path)
    trust = {"trust": str(authority.file)} if trusted else {}
    more = {"policy": "deny", **({} if trusted else {"verify_certificates": "off"})}
    one, other = [make_server(user, domains=[domain], s2s=True,
                              settings=federation.settings(**more),
                              tls={**authority.issue(user, cert), **trust})
                  for user, domain, cert in (("alice", ONE, ONE), ("bob", name, ascii_name))]
    dns = free_ports(1)[0]
    names = Dns(tmp_path, dns, {ONE: one.s2s_port, ascii_name: other.s2s_port})
    try:
        for server in one, other:
            server.ctl("set", "s2s.dns-servers", f"127.0.0.1:{dns}")
        alice, bob = one.client("alice"), other.client("bob")
        exchange(alice, bob)
        exchange(bob, alice)
        alice.send(f"<message to='bob@{ascii_name}' type='chat' id='a'><body>hi</body></message>")
        bob.expect(f"<message from='{alice}' id='a'/>")
        assert f"auth={'certificate' if trusted else 'dialback'}" in one.log()
        for form in ascii_name, name.upper():
            named_by_operators(one, alice, name, form)
        for form in ascii_name, name.upper():
            one.ctl("federation", "block", form)
            reply = alice.iq("get", "<query xmlns='jabber:iq:version'/>", to=name)
            assert xml.condition(reply) == "policy-violation"
            one.ctl("federation", "allow", form)
    finally:
        names.finish()


def named_by_operators(one, alice, name, form):
    """Whatever form of the name a setting or a row has, it is about that domain."""
    def answer():
        reply = alice.iq("get", "<query xmlns='jabber:iq:version'/>", to=name)
        return None if reply.get("type") == "result" else \
            xml.condition(reply.find(f"{{{xml.CLIENT}}}error"))

    for patterns, condition in ((form, "not-allowed"), (f"*.{form}", None),
                                (f"x.test *.{form.partition('.')[2]}", "not-allowed")):
        one.ctl("set", "s2s.domains", patterns)
        assert answer() == condition, patterns
        one.ctl("set", "s2s.domains", "--default")
        until("it is allowed", lambda: answer() is None)
    one.ctl("s2s-route", "add", form, "127.0.0.1:1", "--blocked", "on")
    assert answer() == "not-allowed"
    assert [row["pattern"] for row in one.rows("s2s-route", "list")] == [name]
    one.ctl("s2s-route", "set", form, "127.0.0.1:1", "--in-service", "off")
    one.ctl("s2s-route", "del", form, "127.0.0.1:1")
    until("it is allowed", lambda: answer() is None)
    one.ctl("s2s-demand", "set", f"*.{form}", "--auth", "any")
    assert [row["pattern"] for row in one.rows("s2s-demand", "list")] == [f"*.{name}"]
    one.ctl("s2s-demand", "del", f"*.{form}")


def exchange(alice, bob):
    alice.send(f"<message to='{bob}' type='chat' id='m'><body>hi</body></message>")
    bob.expect(f"<message from='{alice}' id='m'><body>hi</body></message>")


@pytest.fixture
def wrong(make_server, tmp_path):
    """A server of the same domain, with a certificate of an unknown authority."""
    authority = federation.Authority(tmp_path, "wrong")
    return make_server(domains=[OTHER], s2s=True, settings=federation.settings(),
                       tls=authority.issue("wrong", "wrong.example"))


@pytest.mark.parametrize("service, port", [("xmpp", "s2s_port"), ("xmpps", "s2s_tls_port")])
def test_a_host_with_a_wrong_certificate_is_passed_over(pair, wrong, service, port):
    one, other = pair(lambda other: [HOST, srv(OTHER, getattr(wrong, port), 1, service=service),
                                     srv(OTHER, other.s2s_port, 2)])
    exchange(one.client("alice"), other.client("bob"))
    assert "its certificate is refused" in one.log()
    assert "event=s2s.failed" not in one.log()


@pytest.mark.parametrize("service", ["xmpp", "xmpps"])
def test_a_host_that_closes_is_passed_over(pair, service):
    with socket.create_server(("127.0.0.1", 0)) as closing:
        accept = threading.Thread(target=lambda: closing.accept()[0].close())
        accept.start()
        one, other = pair(lambda other: [
            HOST, srv(OTHER, closing.getsockname()[1], 1, service=service),
            srv(OTHER, other.s2s_port, 2)])
        exchange(one.client("alice"), other.client("bob"))
        accept.join(TIMEOUT)
        assert not accept.is_alive() and "event=s2s.failed" not in one.log()


@pytest.mark.parametrize("addresses, listens", [
    (["::1"], "[::1]"), (["::1", "127.0.0.1"], "127.0.0.1"), (["::1", "127.0.0.1"], "[::1]")],
    ids=["only-ipv6", "ipv6-dead", "ipv4-dead"])
@pytest.mark.parametrize("service, kind", [("xmpp", "s2s"), ("xmpps", "s2s_tls")])
def test_both_kinds_of_addresses(pair, addresses, listens, service, kind):
    def records(other):
        port = getattr(other, f"{kind}_port")
        other.conf["listen"][kind] = [f"{listens}:{port}"]
        other.restart()
        return [srv(OTHER, port, service=service)] + [
            f"--host-record=host.other.example,{address}" for address in addresses]
    one, other = pair(records)
    exchange(one.client("alice"), other.client("bob"))


def test_hosts_that_are_all_wrong(pair, wrong):
    """The sender is told of the last one, and at once: no other attempt would end differently."""
    one, _ = pair(lambda other: [HOST, srv(OTHER, wrong.s2s_port, 1),
                                 srv(OTHER, wrong.s2s_tls_port, 2, service="xmpps")])
    reply = one.client("alice").iq("get", "<query xmlns='jabber:iq:version'/>", to=OTHER)
    assert xml.condition(reply) == "remote-server-timeout"
    assert "its certificate is refused" in federation.for_users(reply)
    assert one.log().count("its certificate is refused") == 2


@pytest.mark.parametrize("records, condition, text", [
    (lambda other: [], "remote-server-not-found", "no such name"),
    (lambda other: [f"--srv-host=_{service}-server._tcp.{OTHER}" for service in ("xmpp", "xmpps")],
     "remote-server-not-found", ""),
    (lambda other: [HOST, srv(OTHER, dead())], "remote-server-timeout", "Connection refused"),
    (lambda other: [srv(OTHER, other.s2s_port, host="127.0.0.1")], "remote-server-timeout",
     "127.0.0.1 is an address: SRV records must name hosts"),
], ids=["unknown", "no-service", "dead", "address"])
def test_servers_that_are_not_found(pair, records, condition, text):
    one, _ = pair(records)
    one.ctl("set", "s2s.retry-for", "0s")
    alice = one.client("alice")
    reply = alice.iq("get", "<query xmlns='jabber:iq:version'/>", to=OTHER)
    assert xml.condition(reply) == condition
    assert federation.for_users(reply) and text in federation.why(one, OTHER)


@pytest.mark.parametrize("records, condition", [
    (lambda other: [], "remote-server-not-found"),
    (lambda other: [HOST, srv(OTHER, dead())], "remote-server-timeout")], ids=["unknown", "dead"])
def test_a_key_of_a_domain_that_cannot_be_asked(pair, records, condition):
    """XEP-0220 §2.5, at once and while it is remembered."""
    one, _ = pair(records)
    one.ctl("set", "s2s.retry-for", "0s")
    for _ in range(2):
        peer = federation.Peer(one, OTHER, ONE).secure()
        peer.result("00")
        answer = peer.expect(f"<db:result type='error' from='{ONE}' to='{OTHER}' "
                             "xmlns:db='jabber:server:dialback'/>")
        assert answer.find(f".//{{urn:ietf:params:xml:ns:xmpp-stanzas}}{condition}") is not None


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "::ffff:127.0.0.1", "255.255.255.255"])
def test_addresses_that_nobody_has(pair, address):
    """Not even where this machine would answer for them."""
    one, _ = pair(lambda other: [f"--host-record=host.other.example,{address}",
                                 srv(OTHER, other.s2s_port)])
    one.ctl("set", "s2s.retry-for", "0s")
    reply = one.client("alice").iq("get", "<query xmlns='jabber:iq:version'/>", to=OTHER)
    assert xml.condition(reply).startswith("remote-server-")
    assert "event=s2s.up" not in one.log()


def test_a_domain_with_many_hosts(pair):
    """The last one of 32 is reached."""
    one, other = pair(lambda other: [HOST, *(srv(OTHER, dead(), n) for n in range(31)),
                                     srv(OTHER, other.s2s_port, 31)])
    exchange(one.client("alice"), other.client("bob"))


def test_a_host_with_a_thousand_addresses(pair):
    """Some are tried, and then the next host."""
    many = [f"--host-record=many.other.example,127.1.{i // 250}.{i % 250 + 1}" for i in range(1000)]
    one, other = pair(lambda other: [HOST, *many, srv(OTHER, dead(), 1, "many.other.example"),
                                     srv(OTHER, other.s2s_port, 2)])
    exchange(one.client("alice"), other.client("bob"))


def test_a_trace_asks_anew(pair, tmp_path):
    """What is remembered could be outdated: it is neither shown nor dialled."""
    one, other = pair(lambda other: [HOST, srv(OTHER, other.s2s_port), "--local-ttl=86400"])
    exchange(one.client("alice"), other.client("bob"))

    def asked():
        log = (tmp_path / "dns.log").read_text()
        return [log.count(f"query[{kind}] {name} ") for kind, name in
                (("SRV", f"_xmpp-server._tcp.{OTHER}"), ("A", "host.other.example"))]
    before = asked()
    assert one.ctl_run("s2s", "trace", OTHER).returncode == 0
    assert asked() == [n + 1 for n in before]


def test_a_name_server_that_does_not_answer(make_server, tmp_path):
    authority = federation.Authority(tmp_path)
    one = make_server("alice", domains=[ONE], s2s=True, settings=federation.settings(),
                      tls={**authority.issue(ONE, ONE), "trust": str(authority.file)})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        one.ctl("set", "s2s.retry-for", "0s")
        one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{silent.getsockname()[1]}")
        alice = one.client("alice")
        assert alice.error("get", "<query xmlns='jabber:iq:version'/>", to=OTHER)[0] == \
            "remote-server-timeout"


def unknown(client, begin, end):
    """She asks so many domains that do not exist, a hundred at a time, and has an error of each."""
    label = "x" * 60  # memory is measured
    for first in range(begin, end, 100):
        names = [f"n{n}.{label}.{label}.example" for n in range(first, first + 100)]
        for name in names:
            client.send(f"<iq type='get' id='{name}' to='{name}'>"
                        "<ping xmlns='urn:xmpp:ping'/></iq>")
        for name in names:
            error = client.expect(f"<iq type='error' id='{name}'/>")
            assert xml.condition(error.find(f"{{{xml.CLIENT}}}error")) == "remote-server-not-found"


def test_a_worker_remembers_so_many_names_and_the_oldest_goes(make_server, tmp_path):
    """4,096, of which an unknown domain has four. An answer that is used stays longer; memory and
    the list of streams do not grow with more."""
    authority = federation.Authority(tmp_path)
    one, other = [
        make_server(user, domains=[domain], s2s=True, workers=1, settings=federation.settings(),
                    tls={**authority.issue(domain, domain), "trust": str(authority.file)})
        for user, domain in (("alice", ONE), ("bob", OTHER))]
    dns = Dns(tmp_path, free_ports(1)[0], {ONE: one.s2s_port}, HOST, srv(OTHER, other.s2s_port),
              "--local-ttl=86400")
    for server in one, other:
        server.ctl("set", "s2s.dns-servers", f"127.0.0.1:{dns.port}")
    alice, bob = one.client("alice"), other.client("bob")

    def asked(name=f"_xmpp-server._tcp.{OTHER}"):
        return (tmp_path / "dns.log").read_text().count(f"] {name} ")

    def connect_again():
        one.ctl("s2s", "close", OTHER)
        until("no stream", lambda: not one.rows("s2s", "list", OTHER))
        exchange(alice, bob)
    exchange(alice, bob)
    try:
        for end in 900, 1800:  # it has been used in between
            unknown(alice, end - 900, end)
            connect_again()
            assert asked() == 1
        unknown(alice, 1800, 3000)
        assert (tmp_path / "dns.log").read_text().count("query[") > 3 * 3000
        connect_again()
        assert asked() == 2
        before = one.status_kib()
        unknown(alice, 3000, 5000)
        assert one.status_kib() - before < 2048
        assert len(one.rows("s2s", "list")) < 1500
    finally:
        dns.finish()
