"""Domains of other servers that are IP addresses: s2s.ip-literals."""
import contextlib
import random
import socket

import pytest

from harness import federation, xml
from harness.federation import Listener, Peer
from harness.server import refusal

ONE = "one.test"
V4, V6 = "127.0.0.7", "[2001:db8::7]"
REFUSED = ("not-allowed", "this server communicates with domains only, not with addresses in "
                          "numbers")


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def node(make_server, authority):
    """It asks a name server that does not answer."""
    server = make_server("alice", domains=[ONE], s2s=True, settings=federation.settings(),
                         tls={**authority.issue(ONE, ONE), "trust": str(authority.file)})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        server.ctl("set", "s2s.dns-servers", f"127.0.0.1:{silent.getsockname()[1]}")
        server.ctl("set", "s2s.retry-for", "0s")
        yield server


@pytest.fixture
def open_node(node):
    node.ctl("set", "s2s.ip-literals", "on")
    return node


def error_of(alice, to):
    answer = alice.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=to)
    return xml.condition(answer), federation.for_users(answer)


def listening(domain, cert):
    """At an address of this machine, and the port of the standard."""
    with contextlib.suppress(OSError):
        return Listener(domain, cert, 5269, domain)
    pytest.skip(f"{domain}:5269 is taken")


@pytest.mark.parametrize("domain", [V4, V6])
def test_an_address_is_no_domain_by_default(node, authority, domain):
    alice = node.client("alice")
    assert error_of(alice, domain) == error_of(alice, f"bob@{domain}/x") == REFUSED
    for command in ("s2s-route", "add", domain, "127.0.0.1:1"), ("s2s-demand", "set", domain,
                                                                 "--auth", "any"):
        assert "s2s.ip-literals" in refusal(node, *command)
    assert "s2s.ip-literals" in node.ctl_run("s2s", "trace", domain).stdout
    peer = Peer(node, domain, ONE, authority.issue("other", domain))
    peer.header()
    peer.expect_stream_error("policy-violation")


def test_a_message_goes_to_an_address(open_node, authority):
    """Directly, and its certificate must have it as an address."""
    at = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}.7"
    open_node.ctl("set", "s2s.verify-certificates", "on")
    listener = listening(at, authority.issue("other", at))
    open_node.client("alice").send(f"<message to='bob@{at}' type='chat'><body>x</body></message>")
    with listener.join() as stream:
        listener.read_until(stream, f"(?s)<message[^>]* to='bob@{at}'.*</message>")
        assert listener.names == [None]
        open_node.ctl("set", "s2s.ip-literals", "off")
        listener.read_until(stream, "</stream:stream>")
    assert error_of(open_node.client("alice"), at) == REFUSED
    listener.close()


def test_each_host_has_one_address_as_a_domain(open_node):
    """IPv4 in IPv6 (RFC 4291 §2.5.5.2) is the same."""
    alice = open_node.client("alice")
    same = [V4, "[::ffff:127.0.0.7]", "[::FFFF:7F00:7]"]
    open_node.ctl("federation", "block", same[1])
    for to in same:
        assert error_of(alice, f"bob@{to}")[0] == "policy-violation"
    open_node.ctl("federation", "allow", V4)
    open_node.ctl("s2s-route", "add", V4, f"127.0.0.1:{federation.free_port()}")
    for to in same:
        assert error_of(alice, f"bob@{to}")[0] == "remote-server-timeout"


@pytest.mark.parametrize("domain", [V4, V6])
def test_static_routes_to_addresses(open_node, authority, domain):
    """A name in the certificate is none, though it has the same text, nor another address."""
    open_node.ctl("set", "s2s.verify-certificates", "on")
    alice = open_node.client("alice")
    for n, name in enumerate(("other.test", "127.0.0.8", domain)):
        listener = Listener(domain, authority.issue("other", name))
        federation.route(open_node, domain, listener.port)
        alice.send(f"<message to='bob@{domain}' type='chat' id='m{n}'><body>x</body></message>")
        if name == domain:
            with listener.join() as stream:
                listener.read_until(stream, f"<message[^>]* id='m{n}'")
        else:
            with listener.secure():
                alice.expect(f"<message type='error' id='m{n}'/>")
            assert f"does not name {domain}" in federation.why(open_node, domain)
        listener.close()


@pytest.mark.parametrize("domain", [V4, V6])
def test_a_server_at_an_address_proves_itself(open_node, authority, domain):
    """By its certificate, if it has the address; else by dialback, which connects to the
    address."""
    alice = open_node.client("alice")
    peer = Peer(open_node, domain, ONE, authority.issue("other", domain))
    peer.join()
    peer.send(f"<message from='bob@{domain}' to='alice@{ONE}' type='chat'><body>x</body></message>")
    alice.expect(f"<message from='bob@{domain}'/>")
    peer = Peer(open_node, domain, ONE, authority.issue("wrong", "127.0.0.8"))
    peer.secure()
    assert peer.external() == "not-authorized"
    listener = Listener(domain, authority.issue("other", domain))
    federation.route(open_node, domain, listener.port)
    peer = Peer(open_node, domain, ONE, authority.issue("wrong", "127.0.0.8"))
    peer.secure().result("0" * 64)
    assert listener.questions() == ["0" * 64]
    listener.close()
    open_node.ctl("set", "s2s.dialback", "off")
    peer = Peer(open_node, domain, ONE, authority.issue("wrong", "127.0.0.8"))
    peer.secure().result("0" * 64)
    peer.expect_stream_error("not-authorized")


def test_addresses_have_demands_and_blocks(open_node, authority):
    """As domains have them. There is nothing below an address."""
    assert "DOMAIN" in refusal(open_node, "s2s-demand", "set", f"*.{V4}", "--auth", "any")
    open_node.ctl("s2s-demand", "set", "[2001:DB8:0::7]", "--auth", "dialback")
    assert open_node.rows("s2s-demand", "list")[0]["pattern"] == V6
    peer = Peer(open_node, V6, ONE, authority.issue("other", V6))
    peer.secure()
    assert peer.external() == "not-authorized"
    open_node.ctl("federation", "block", V6)
    alice = open_node.client("alice")
    assert error_of(alice, V6)[0] == "policy-violation"
    assert error_of(alice, V4)[0] == "remote-server-timeout"
    open_node.ctl("s2s-route", "add", V4, "127.0.0.1:1", "--blocked", "on")
    assert error_of(alice, V4) == (
        "not-allowed", "this server does not communicate with that domain")


@pytest.mark.parametrize("pattern", ["*.0.0.7", "*.7", f"*.{V4}", f"*.{V6}"])
def test_a_pattern_of_a_part_of_an_address_is_refused(open_node, pattern):
    """It would match nothing. The text says what to write."""
    alice = f"alice@{ONE}"
    for command in (("federation", "block", pattern), ("federation", "allow", pattern),
                    ("set", "s2s.domains", f"a.test {pattern}"),
                    ("set", f"s2s.domains@{ONE}", pattern),
                    ("s2s-route", "add", pattern, "127.0.0.1:1"),
                    ("s2s-demand", "set", pattern, "--auth", "any"),
                    ("federation", "set", alice, "only", "--domains", f"a.test {pattern}"),
                    ("s2s-group", "set", "sales", "except", "--domains", pattern)):
        assert "IP address" in refusal(open_node, *command), command
    assert open_node.rows("federation", "list") == []


def test_a_line_of_the_blocklist_that_blocks_nothing_is_named(open_node, tmp_path):
    """The others count."""
    alice = open_node.client("alice")
    file = tmp_path / "blocklist"
    file.write_text(f"*.7 # the first is named\n{V4}\n*.0.0.7\n")
    open_node.ctl("set", "federation.blocklist", str(file))
    open_node.wait_log("event=federation.blocklist-useless .* line=1 .*in full")
    assert open_node.log().count("federation.blocklist-useless") == 1
    assert error_of(alice, V4)[0] == "policy-violation"
