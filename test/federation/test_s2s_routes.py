"""Where other servers are: by the DNS (RFC 6120 §3.2, RFC 2782, XEP-0368), by static routes, and
by what servers say of others; and how many are connected to at a time."""
import re
import socket
import threading

import pytest

from harness import federation, prosody, xml
from harness.client import TIMEOUT, until
from harness.federation import Listener, Peer
from harness.links import (ONE, OTHER, VERSION, authority, errors, hear, links, say, start)
from harness.prosody import Dns
from harness.server import free_ports, refusal
from harness.wire import Wire

__all__ = ["authority", "start"]
NAMED = "other.example"  # what our name servers know is below .example
HOST = f"--host-record=host.{NAMED},127.0.0.1"
needs_dns = pytest.mark.skipif(not prosody.is_here(), reason="no dnsmasq")


@pytest.fixture
def one(start):
    """It asks a name server that does not answer, so that no test asks those of the machine."""
    server = start("alice", "bob", "carol", workers=1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        server.ctl("set", "s2s.dns-servers", f"127.0.0.1:{silent.getsockname()[1]}")
        server.ctl("set", "s2s.retry-for", "0s")
        yield server


@pytest.fixture
def other(start, one):
    server = start("bob", domains=[OTHER, NAMED])
    federation.route(server, "*", one.s2s_port)
    return server


@pytest.fixture
def name_server(one, tmp_path):
    """A function: the server asks a name server with these arguments."""
    started = []

    def run(*more):
        started.append(Dns(tmp_path, free_ports(1)[0], {}, *more))
        one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{started[-1].port}")
    yield run
    for process in started:
        process.finish()


def srv(port, priority=0, weight=0, host=f"host.{NAMED}", kind="xmpp", domain=NAMED):
    return f"--srv-host=_{kind}-server._tcp.{domain},{host},{port},{priority},{weight}"


def add(server, pattern, target, *options):
    target = target if isinstance(target, str) else f"127.0.0.1:{target}"
    server.ctl("s2s-route", "add", pattern, target, *options)


def reach(server, domain=OTHER):
    """None: its server has answered; else the condition and the text of the error."""
    asker = getattr(server, "asker", None)
    if asker is None or asker.pump(0) and asker.eof:
        asker = server.asker = server.client("alice")
    reply = asker.iq("get", VERSION, to=domain)
    if reply.get("type") == "result":
        return None
    return xml.condition(reply), federation.for_users(reply)


def again(server, domain=OTHER):
    """The same by a new stream."""
    server.ctl_run("s2s", "close", domain)
    until("its end", lambda: "up" not in [r["state"] for r in links(server, "out", domain)])
    return reach(server, domain)


class Counting(Wire):
    """Passes connections on to a server and counts them; `closes`: it ends them at once."""

    count, closes = 0, False

    def _accept(self):
        self.count += 1
        if self.closes:
            self.sock.accept()[0].close()
        else:
            super()._accept()


@pytest.fixture
def hops(other):
    """Three ways to the other server that count."""
    made = [Counting(other.s2s_port) for _ in range(3)]
    yield made
    for hop in made:
        hop.close()


def counts(hops):
    return [hop.count for hop in hops]


# --- static routes ---


def test_priority_and_weight(one, hops):
    """(1,20), (1,10), (2,50): 2:1 between the first two, the third after both have failed."""
    for hop, (priority, weight) in zip(hops, ((1, 20), (1, 10), (2, 50))):
        add(one, OTHER, hop.port, "--priority", priority, "--weight", weight)
    for _ in range(60):
        assert again(one) is None
    first, second, third = counts(hops)
    assert (first + second, third) == (60, 0)
    assert 27 <= first <= 53, first  # of 40 on average: 3.5 standard deviations
    hops[0].closes = hops[1].closes = True
    assert again(one) is None
    assert hops[2].count == 1 and hops[0].count + hops[1].count == 62


def test_the_most_specific_pattern_comes_first(one, hops):
    """If it may be followed by less specific ones, and is in service."""
    for pattern, hop in zip((OTHER, "*.test", "*"), hops):
        add(one, pattern, hop.port)
    for used in range(3):
        assert again(one) is None
        assert counts(hops) == [1 + used - i if i <= used else 0 for i in range(3)]
        hops[used].closes = True
    hops[2].closes = False
    target = f"127.0.0.1:{hops[0].port}"
    one.ctl("s2s-route", "set", OTHER, target, "--less-specific", "off")
    assert again(one)[0] == "remote-server-timeout" and counts(hops)[1:] == [2, 1]
    one.ctl("s2s-route", "set", OTHER, target, "--in-service", "off")
    condition, text = again(one)
    assert condition == "remote-server-timeout" and "no way to that domain" in text
    assert "out of service" in federation.why(one, OTHER)
    one.ctl("s2s-route", "set", OTHER, target, "--less-specific", "on")
    one.restart()  # routes outlive it
    one.asker = None
    assert reach(one) is None and hops[0].count == 4


def test_a_blocked_route(one, hops, authority):
    """It refuses at once, in both directions, ends the streams, and the way is free when it goes.
    One that is out of service lifts no block."""
    add(one, "*", hops[0].port)
    assert reach(one) is None
    add(one, OTHER, hops[1].port, "--blocked", "on")
    until("end of the stream", lambda: all(row["state"] != "up" for row in links(one, None, OTHER)))
    assert reach(one)[0] == "not-allowed" and hops[1].count == 0
    cert = authority.issue("evil", OTHER)
    Peer(one, OTHER, ONE, cert).header().expect_stream_error("policy-violation")
    one.ctl("s2s-route", "del", OTHER, f"127.0.0.1:{hops[1].port}")
    assert reach(one) is None
    one.ctl("s2s-route", "set", "*", f"127.0.0.1:{hops[0].port}", "--blocked", "on")
    add(one, OTHER, hops[0].port, "--in-service", "off")
    assert reach(one)[0] == "not-allowed"
    Peer(one, OTHER, ONE, cert).header().expect_stream_error("policy-violation")


@pytest.mark.parametrize("behind", ["block", "wrong"])
def test_what_is_behind_a_route_that_fails_is_no_refusal(one, start, behind):
    """A block of all others, or a wrong certificate: the server of this domain may be back. Changes
    reach a domain that fails at once."""
    one.ctl("set", "s2s.retry-for", "1h")
    add(one, OTHER, federation.free_port())
    if behind == "block":
        add(one, "*", 1, "--blocked", "on")
        assert reach(one, "another.test")[0] == "not-allowed"
    else:
        add(one, OTHER, start("carol", domains=["thief.test"]).s2s_port, "--priority", 2)
    say(one.client("alice"), 0, to=f"bob@{OTHER}")
    one.wait_log("event=s2s.failed")
    [row] = links(one, "out", OTHER)
    assert row["state"] == "waiting" and row["queue"] == 1
    there = start("bob", domains=[OTHER])
    federation.route(one, OTHER, there.s2s_port)
    hear(there.client("bob"), 0)


@pytest.mark.parametrize("in_service", ["on", "off"])
def test_without_tls_only_by_such_a_route(one, authority, in_service):
    """Dialback proves both. A more specific one that fails or is out of service does not count; a
    demand does. TLS may also be direct."""
    listener = Listener(OTHER, authority.issue("listener", OTHER))
    threading.Thread(target=plain_server, args=(listener,), daemon=True).start()
    add(one, OTHER, federation.free_port(), "--in-service", in_service)
    add(one, "*", listener.port, "--less-specific", "off")
    assert "no secure connection" in reach(one)[1]
    one.ctl("s2s-demand", "set", "*", "--tls-min", "1.2")
    one.ctl("s2s-route", "set", "*", f"127.0.0.1:{listener.port}", "--tls", "none")
    assert "no secure connection" in reach(one)[1]
    one.ctl("s2s-demand", "del", "*")
    say(one.asker, 0, to=f"bob@{OTHER}")
    one.wait_log("auth=dialback tls=none")
    listener.close()


def plain_server(listener):
    try:
        while True:
            peer, _ = listener.sock.accept()
            peer.settimeout(TIMEOUT)
            listener.header(peer, "plain", "")
            text = peer.recv(65536).decode()
            if "db:result" in text:
                peer.sendall(f"<db:result xmlns:db='{federation.DIALBACK}' from='{OTHER}' "
                             f"to='{ONE}' type='valid'/>".encode())
                peer.recv(65536)
    except OSError:
        return


def test_what_is_wrong_is_refused(one):
    for pattern, target in (("a b", "127.0.0.1:1"), ("*a.test", "127.0.0.1:1"),
                            ("a.test", "127.0.0.1"), ("a.test", "_sip._tcp.a.test"),
                            ("127.0.0.1", "a.test"), (ONE, "a.test"), ("a.test", "0.0.0.0:5269"),
                            ("a.test", "b.test:0"), ("a.test", "300.1.1.1:5269"),
                            ("a.test", "::1:5269")):
        assert one.ctl_run("s2s-route", "add", pattern, target).returncode != 0, (pattern, target)
    for option, value in (("--priority", 0), ("--priority", 65536), ("--weight", 0),
                          ("--weight", 65536), ("--tls", "no"), ("--description", "x" * 256)):
        assert one.ctl_run("s2s-route", "add", "a.test", "b.test", option, value).returncode != 0
    assert not one.rows("s2s-route", "list")
    said = one.ctl("s2s-route", "add", "a.test", "b.test", "--description", "x" * 255)["text"]
    assert "SRV records: _xmpp-server._tcp.b.test, _xmpps-server._tcp.b.test" in said
    assert "SRV" not in one.ctl("s2s-route", "add", "c.test", "b.test:5269")["text"]
    assert "s2s-route set" in refusal(one, "s2s-route", "add", "a.test", "b.test")
    for verb in ("del",), ("set", "--weight", 2):
        assert "s2s-route list" in refusal(one, "s2s-route", verb[0], "a.test", "c.test", *verb[1:])
    for port in range(1, 100):
        one.run("s2s-route add", pattern="a.test", target=f"127.0.0.1:{port}")
    assert "100" in refusal(one, "s2s-route", "add", "a.test", "127.0.0.1:101")


# --- see-other-host ---


def sees_other(listener, host):
    """A server that says that it is elsewhere, to each stream."""
    def run():
        try:
            while True:
                with listener.sock.accept()[0] as peer:
                    peer.settimeout(TIMEOUT)
                    listener.read_until(peer, "<stream:stream [^>]*>")
                    peer.sendall(
                        f"<stream:stream xmlns='{federation.SERVER}' xmlns:stream='{xml.STREAM}' "
                        f"version='1.0' from='{OTHER}' id='first'><stream:error>"
                        f"<see-other-host xmlns='{xml.STREAM_ERROR}'>{host}</see-other-host>"
                        "</stream:error></stream:stream>".encode())
                    peer.recv(65536)
        except OSError:
            return
    threading.Thread(target=run, daemon=True).start()


@pytest.mark.parametrize("to", ["other", "ring", "itself", "thief"])
def test_see_other_host(one, other, start, authority, to):
    """It is followed three times, not to the same address, and does not change whose certificate it
    must be."""
    thief = start(domains=["thief.test"])
    listeners = [Listener(OTHER, authority.issue(f"l{i}", OTHER)) for i in range(5)]
    for n, here in enumerate(listeners):
        port = {"other": other.s2s_port, "thief": thief.s2s_port, "itself": here.port,
                "ring": listeners[(n + 1) % 5].port}[to]
        sees_other(here, f"127.0.0.1:{port}")
    add(one, OTHER, listeners[0].port, "--less-specific", "off")
    found = reach(one)
    if to == "other":
        assert found is None
    else:
        assert "event=s2s.up" not in one.log()
        assert (to == "thief") != ("see-other-host" in federation.why(one, OTHER))
        assert one.log().count("event=s2s.host") == {"ring": 3, "itself": 0, "thief": 1}[to]
    for listener in listeners:
        listener.close()


# --- how many at a time ---


@pytest.fixture
def silent(one):
    """Domains whose server takes connections and says nothing, one at a time."""
    one.ctl("set", "s2s.connecting", 1)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
        sock.settimeout(TIMEOUT)
        for pattern in "*.silent.test", "known.silent.test":
            add(one, pattern, sock.getsockname()[1], "--less-specific", "off")
        yield sock


def write(client, *names):
    client.raw("".join(f"<message to='x@{name}.silent.test' type='chat' id='{name}'>"
                       "<body>m</body></message>" for name in names))
    client.ping()


@pytest.mark.parametrize("how", ["ends", "more", "next"])
def test_a_wait_for_a_turn(one, other, silent, how):
    """It ends in time; or when more may be made, or when the one before ends."""
    add(one, OTHER, other.s2s_port)
    alice = one.client("alice")
    write(alice, "first")
    until("attempt", lambda: [r["state"] for r in links(one, "out", "first.silent.test")] ==
          ["connecting"])
    alice.send(f"<iq type='get' id='q' to='{OTHER}'>{VERSION}</iq>")
    until("queue", lambda: [r["state"] for r in links(one, "out", OTHER)] == ["queued"])
    if how == "ends":
        error = alice.expect("<iq type='error' id='q'/>")
        assert xml.condition(error) == "remote-server-timeout" and federation.for_users(error)
        assert "s2s.connecting" in federation.why(one, OTHER)
        return
    if how == "more":
        one.ctl("set", "s2s.connecting", 1000)
    else:
        silent.accept()[0].close()
    alice.expect("<iq type='result' id='q'/>")


def test_accounts_take_turns_and_domains_that_are_known_go_first(one, silent):
    def asked():
        """The domain of the next attempt, which ends then."""
        peer, _ = silent.accept()
        with peer:
            peer.settimeout(TIMEOUT)
            text = ""
            while not (found := re.search("to=['\"](.*?).silent.test['\"]", text)):
                text += peer.recv(4096).decode()
        return found[1]
    alice, bob, carol = (one.client(name) for name in ("alice", "bob", "carol"))
    one.ctl("set", "s2s.retry-for", "--default")
    write(alice, *(f"a{n}" for n in range(8)))
    write(bob, "b0", "b1")
    write(carol, "c0", "known")
    assert [asked() for _ in range(8)] == ["a0", "known", "a1", "b0", "c0", "a2", "b1", "a3"]


def test_domains_that_were_never_reached_are_limited(one, silent):
    """PEER_NEW_MAX for a sender: those of others still find a place, and are connected to."""
    one.ctl("set", "s2s.connecting", 1000)
    alice, bob = one.client("alice"), one.client("bob")
    write(alice, *(f"a{n}" for n in range(120)))
    found = []
    until("what is too much", lambda: found.extend(errors(alice)) or len(found) >= 20)
    assert [condition for _, condition in found] == ["resource-constraint"] * 20
    write(alice, "known")
    write(bob, "b0")
    until("all at once", lambda: [r["state"] for r in one.rows("s2s", "list")] == [
        "connecting"] * 102)
    assert errors(bob) == []


def test_questions_of_strangers_use_a_quarter(one, other, silent):
    """Keys of many domains that do not answer hold nobody up."""
    one.ctl("set", "s2s.connecting", 4)
    one.ctl("set", "s2s.require-tls", "off")
    add(one, OTHER, other.s2s_port)
    for i in range(2):
        peer = Peer(one, f"x{i}.silent.test", ONE)
        peer.header().features_come()
        for k in range(8):
            peer.result("ab" * 16, origin=f"t{i}-{k}.silent.test")
    until("queue", lambda: "queued" in [row["state"] for row in one.rows("s2s", "list")])
    assert reach(one) is None


# --- the DNS ---


def dead():
    return federation.free_port()


FOUND = {  # records: how the other server is found
    "plain": lambda o, w: [HOST, srv(o.s2s_port)],
    "first dead": lambda o, w: [HOST, srv(dead(), 1), srv(o.s2s_port, 2)],
    "first unknown": lambda o, w: [HOST, srv(5269, 1, host="no.example"), srv(o.s2s_port, 2)],
    "direct tls": lambda o, w: [HOST, srv(o.s2s_tls_port, kind="xmpps")],
    "both kinds": lambda o, w: [HOST, srv(o.s2s_tls_port, 1, kind="xmpps"), srv(dead(), 2)],
    "first wrong": lambda o, w: [HOST, srv(w.s2s_port, 1), srv(o.s2s_port, 2)],
    "first wrong, tls": lambda o, w: [HOST, srv(w.s2s_tls_port, 1, kind="xmpps"),
                                      srv(o.s2s_port, 2)],
    "ipv6 dead": lambda o, w: [f"--host-record=host.{NAMED},::1", HOST, srv(o.s2s_port)],
    "32 hosts": lambda o, w: [HOST, *(srv(dead(), n) for n in range(31)), srv(o.s2s_port, 31)],
    "1000 addresses": lambda o, w: [HOST, *(
        f"--host-record=many.example,127.1.{i // 250}.{i % 250 + 1}" for i in range(1000)),
        srv(dead(), 1, host="many.example"), srv(o.s2s_port, 2)],
}


@needs_dns
@pytest.mark.parametrize("case", FOUND)
def test_servers_are_found(one, other, name_server, make_server, tmp_path, case):
    wrong = make_server(domains=[NAMED], s2s=True, settings=federation.settings(),
                        tls=federation.Authority(tmp_path, "wrong").issue("wrong", "wrong.example"))
    name_server(*FOUND[case](other, wrong))
    assert reach(one, NAMED) is None
    assert "event=s2s.failed" not in one.log()
    assert ("its certificate is refused" in one.log()) == ("wrong" in case)


@needs_dns
@pytest.mark.parametrize("kind", ["s2s", "s2s_tls"])
def test_a_server_that_has_ipv6_alone(one, other, name_server, kind):
    port = getattr(other, f"{kind}_port")
    other.conf["listen"][kind] = [f"[::1]:{port}"]
    other.restart()
    name_server(f"--host-record=host.{NAMED},::1", HOST,
                srv(port, kind="xmpp" if kind == "s2s" else "xmpps"))
    assert reach(one, NAMED) is None


LOST = {  # records, the condition and what the operator is told
    "unknown": (lambda o: [], "remote-server-not-found", "no such name"),
    "no service": (lambda o: [f"--srv-host=_{kind}-server._tcp.{NAMED}"
                              for kind in ("xmpp", "xmpps")], "remote-server-not-found", ""),
    "dead": (lambda o: [HOST, srv(dead())], "remote-server-timeout", "Connection refused"),
    "address": (lambda o: [srv(o.s2s_port, host="127.0.0.1")], "remote-server-timeout",
                "127.0.0.1 is an address: SRV records must name hosts"),
    **{address: (lambda o, address=address: [f"--host-record=host.{NAMED},{address}",
                                             srv(o.s2s_port)], "remote-server-", "")
       for address in ("0.0.0.0", "::", "::ffff:127.0.0.1", "255.255.255.255")},
    "no answer": (None, "remote-server-timeout", ""),
}


@needs_dns
@pytest.mark.parametrize("case", LOST)
def test_servers_that_are_not_found(one, other, name_server, case):
    """Also addresses that nobody has, not even where this machine would answer for them. A key of
    such a domain is answered (XEP-0220 §2.5), at once and while it is remembered."""
    records, condition, why = LOST[case]
    if records:
        name_server(*records(other))
    found = reach(one, NAMED)
    assert found[0].startswith(condition) and found[1] and why in federation.why(one, NAMED)
    assert "event=s2s.up" not in one.log()
    for _ in range(2 if case in ("unknown", "dead") else 0):
        peer = Peer(one, NAMED, ONE).secure()
        peer.result("00")
        answer = peer.expect(f"<db:result type='error' from='{ONE}' to='{NAMED}' "
                             f"xmlns:db='{federation.DIALBACK}'/>")
        assert answer.find(f".//{{{xml.STANZA_ERROR}}}{condition}") is not None


@needs_dns
@pytest.mark.parametrize("target, options, used", [
    (NAMED, (), 1), (NAMED, ("--tls", "direct"), 1), (f"_xmpps-server._tcp.{NAMED}", (), 1),
    (f"_xmpp-server._tcp.{NAMED}", (), 0), (f"host.{NAMED}:PORT", (), 0)])
def test_names_in_routes(one, other, name_server, target, options, used):
    """RFC 2782, XEP-0368: the priorities of both services count together; a route can ask for one
    of them. A name that leads nowhere gives way to the next route."""
    ways = [Counting(port) for port in (other.s2s_port, other.s2s_tls_port, other.s2s_port)]
    name_server(HOST, srv(ways[0].port, 2), srv(ways[1].port, 1, kind="xmpps"))
    add(one, OTHER, "nowhere.example", "--priority", 1)
    add(one, OTHER, target.replace("PORT", str(ways[0].port)), "--priority", 2, *options)
    add(one, OTHER, ways[2].port, "--priority", 3, "--less-specific", "off")
    assert reach(one) is None
    assert counts(ways) == [int(used == 0), int(used == 1), 0]
    ways[used].closes = True
    assert again(one) is None
    both = target == NAMED and not options
    assert counts(ways) == ([1, 2, 0] if both else [2 * (used == 0), 2 * used, 1])
    for way in ways:
        way.close()


@needs_dns
@pytest.mark.parametrize("trusted", [True, False], ids=["certificate", "dialback"])
def test_a_domain_with_letters_beyond_ascii(one, start, authority, name_server, tmp_path, trusted):
    """It is asked for, and its certificate names it, by its A-labels (RFC 5891); both forms of an
    address are the same user, and commands take both."""
    name, ascii_name = "bücher.example", "xn--bcher-kva.example"
    by = authority if trusted else federation.Authority(tmp_path, "elsewhere")
    there = start("bob", domains=[name], cert=by.issue("there", ascii_name),
                  **({} if trusted else {"verify_certificates": "off"}))
    federation.route(there, ONE, one.s2s_port)
    if not trusted:
        one.ctl("set", "s2s.verify-certificates", "off")
        one.ctl("set", "s2s.bidi", "off")
    name_server(HOST, srv(there.s2s_port, domain=ascii_name))
    alice, bob = one.client("alice"), there.client("bob")
    say(alice, 0, to=f"bob@{ascii_name}")
    say(alice, 1, to=bob)
    hear(bob, 0, 1)
    say(bob, 0, to=alice)
    hear(alice, 0)
    assert f"auth={'certificate' if trusted else 'dialback'}" in one.log()
    one.ctl("set", "s2s.policy", "deny")
    for form in ascii_name, name.upper():
        one.ctl("set", "s2s.domains", form)
        assert reach(one, name)[0] == "not-allowed"
        one.ctl("set", "s2s.domains", "--default")
        add(one, form, "127.0.0.1:1", "--blocked", "on")
        assert reach(one, name)[0] == "not-allowed"
        one.ctl("s2s-route", "del", form, "127.0.0.1:1")
