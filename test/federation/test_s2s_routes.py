"""Where other servers are, as operators say it: static routes, and what servers say of others."""
import socket
import threading

import pytest

from harness import federation, prosody, xml
from harness.client import TIMEOUT, until
from harness.federation import Listener
from harness.prosody import Dns
from harness.server import free_ports, refusal

ONE, OTHER = "one.test", "other.test"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


def server_of(make_server, authority, user, domain, **options):
    return make_server(user, domains=[domain], s2s=True, settings=federation.settings(),
                       tls={**authority.issue(domain, domain), "trust": str(authority.file)},
                       **options)


@pytest.fixture
def one(make_server, authority):
    """It asks a name server that does not answer, so that no test asks those of the machine."""
    server = server_of(make_server, authority, "alice", ONE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        server.ctl("set", "s2s.dns-servers", f"127.0.0.1:{silent.getsockname()[1]}")
        server.ctl("set", "s2s.retry-for", "0s")
        yield server


@pytest.fixture
def other(make_server, authority, one):
    server = server_of(make_server, authority, "bob", OTHER)
    federation.route(server, "*", one.s2s_port)
    return server


def add(server, pattern, target, *options):
    target = target if isinstance(target, str) else f"127.0.0.1:{target}"
    server.ctl("s2s-route", "add", pattern, target, *options)


def reach(alice, domain=OTHER):
    """None: its server has answered; else the condition and the text of the error."""
    reply = alice.iq("get", "<query xmlns='jabber:iq:version'/>", to=domain)
    if reply.get("type") == "result":
        return None
    return xml.condition(reply), federation.for_users(reply)


def again(server, alice, domain=OTHER):
    """The same by a new stream."""
    server.ctl_run("s2s", "close", domain)
    until("end of the stream", lambda: not [
        row for row in server.rows("s2s", "list", domain)
        if row["direction"] == "out" and row["state"] == "up"])
    return reach(alice, domain)


class Counting:
    """Passes connections on to a server and counts them; `closes`: it ends them at once."""

    def __init__(self, port):
        self.port_of, self.count, self.closes = port, 0, False
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                peer, _ = self.sock.accept()
            except OSError:
                return
            self.count += 1
            if self.closes:
                peer.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.port_of))
            for a, b in ((peer, server), (server, peer)):
                threading.Thread(target=self._pass, args=(a, b), daemon=True).start()

    @staticmethod
    def _pass(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


@pytest.fixture
def hops(other):
    """Three ways to the other server that count."""
    made = [Counting(other.s2s_port) for _ in range(3)]
    yield made
    for hop in made:
        hop.close()


def test_priority_and_weight(one, hops):
    """(1,20), (1,10), (2,50): 2:1 between the first two, the third after both have failed."""
    for hop, (priority, weight) in zip(hops, ((1, 20), (1, 10), (2, 50))):
        add(one, OTHER, hop.port, "--priority", priority, "--weight", weight)
    alice = one.client("alice")
    for _ in range(60):
        assert again(one, alice) is None
    first, second, third = (hop.count for hop in hops)
    assert (first + second, third) == (60, 0)
    assert 27 <= first <= 53, first  # of 40 on average: 3.5 standard deviations
    hops[0].closes = hops[1].closes = True
    assert again(one, alice) is None
    assert hops[2].count == 1 and hops[0].count + hops[1].count == 62


def test_the_most_specific_pattern_comes_first(one, hops):
    for pattern, hop in zip((OTHER, "*.test", "*"), hops):
        add(one, pattern, hop.port)
    alice = one.client("alice")
    for used in range(3):
        assert again(one, alice) is None
        assert [hop.count for hop in hops] == [1 + used - i if i <= used else 0 for i in range(3)]
        hops[used].closes = True


def test_a_pattern_that_ends_the_search(one, hops):
    add(one, OTHER, hops[0].port, "--less-specific", "off")
    add(one, "*", hops[1].port)
    hops[0].closes = True
    assert reach(one.client("alice"))[0] == "remote-server-timeout"
    assert hops[1].count == 0


def test_out_of_service(one, hops):
    add(one, OTHER, hops[0].port, "--in-service", "off")
    add(one, "*", hops[1].port)
    alice = one.client("alice")
    assert reach(alice) is None
    assert (hops[0].count, hops[1].count) == (0, 1)
    one.ctl("s2s-route", "set", OTHER, f"127.0.0.1:{hops[0].port}", "--in-service", "on")
    assert again(one, alice) is None
    assert (hops[0].count, hops[1].count) == (1, 1)


def test_all_out_of_service(one):
    add(one, OTHER, 1, "--in-service", "off", "--less-specific", "off")
    condition, text = reach(one.client("alice"))
    assert condition == "remote-server-timeout" and "no way to that domain" in text
    assert "out of service" in federation.why(one, OTHER)


def test_a_blocked_route(one, hops):
    """It refuses at once, ends the streams, and the way is free when it goes."""
    add(one, "*", hops[0].port)
    alice = one.client("alice")
    assert reach(alice) is None
    add(one, OTHER, hops[1].port, "--blocked", "on")
    until("end of the stream", lambda: all(
        row["state"] != "up" for row in one.rows("s2s", "list", OTHER)))
    assert reach(alice)[0] == "not-allowed"
    assert hops[1].count == 0
    one.ctl("s2s-route", "del", OTHER, f"127.0.0.1:{hops[1].port}")
    assert reach(alice) is None


def test_a_block_behind_a_route_that_fails_is_no_refusal(one):
    """All others are blocked; the server of this domain may be back."""
    one.ctl("set", "s2s.retry-for", "1h")
    add(one, OTHER, federation.free_port())
    add(one, "*", 1, "--blocked", "on")
    alice = one.client("alice")
    alice.send(f"<message to='bob@{OTHER}' type='chat' id='m'><body>late</body></message>")
    until("failure", lambda: "event=s2s.failed" in one.log())
    [row] = [row for row in one.rows("s2s", "list", OTHER) if row["direction"] == "out"]
    assert row["state"] == "waiting" and row["queue"] == 1
    assert reach(alice, "another.test")[0] == "not-allowed"


def test_a_route_out_of_service_does_not_lift_a_block(one, authority):
    add(one, "*", 1, "--blocked", "on")
    add(one, OTHER, 2, "--in-service", "off")
    assert reach(one.client("alice"))[0] == "not-allowed"
    peer = federation.Peer(one, OTHER, ONE, authority.issue("evil", OTHER))
    peer.header()
    peer.expect_stream_error("policy-violation")


def test_a_blocked_domain_may_not_come_in(one, authority):
    add(one, "evil.test", 1, "--blocked", "on")
    peer = federation.Peer(one, "evil.test", ONE, authority.issue("evil", "evil.test"))
    peer.header()
    peer.expect_stream_error("policy-violation")


def test_changes_reach_a_domain_that_fails_at_once(one, hops):
    dead = federation.free_port()
    add(one, OTHER, dead, "--less-specific", "off")
    alice = one.client("alice")
    assert "cannot be reached" in reach(alice)[1]
    add(one, OTHER, hops[0].port)
    assert reach(alice) is None


def test_direct_tls(one, other):
    add(one, OTHER, other.s2s_tls_port, "--tls", "direct")
    assert reach(one.client("alice")) is None


def test_without_tls_only_by_such_a_route(one, make_server, authority):
    """A server that offers no TLS, and dialback proves both."""
    listener = Listener(OTHER, authority.issue("listener", OTHER))
    threading.Thread(target=plain_server, args=(listener,), daemon=True).start()
    add(one, OTHER, listener.port, "--less-specific", "off")
    alice = one.client("alice")
    assert "no secure connection" in reach(alice)[1]
    one.ctl("s2s-route", "set", OTHER, f"127.0.0.1:{listener.port}", "--tls", "none")
    alice.send(f"<message to='bob@{OTHER}' type='chat' id='m'><body>plain</body></message>")
    until("stream", lambda: "event=s2s.up" in one.log())
    assert "auth=dialback tls=none" in one.log()
    listener.close()


@pytest.mark.parametrize("in_service", ["on", "off"])
def test_without_tls_by_the_route_that_is_used(one, authority, in_service):
    """A more specific one that fails or is out of service does not count; a demand does."""
    listener = Listener(OTHER, authority.issue("listener", OTHER))
    threading.Thread(target=plain_server, args=(listener,), daemon=True).start()
    add(one, OTHER, federation.free_port(), "--in-service", in_service)
    add(one, "*", listener.port, "--tls", "none", "--less-specific", "off")
    one.ctl("s2s-demand", "set", "*", "--tls-min", "1.2")
    alice = one.client("alice")
    assert "no secure connection" in reach(alice)[1]
    one.ctl("s2s-demand", "del", "*")
    alice.send(f"<message to='bob@{OTHER}' type='chat' id='m'><body>plain</body></message>")
    until("stream", lambda: "auth=dialback tls=none" in one.log())
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
                            ("a.test", "127.0.0.1"), ("a.test", "a.test:x"),
                            ("a.test", "unix:/tmp/x"), ("a.test", "_sip._tcp.a.test"),
                            ("127.0.0.1", "a.test"), ("*.127.0.0.1", "a.test"), (ONE, "a.test"),
                            ("a.test", "0.0.0.0:5269"), ("a.test", "[::]:5269"),
                            ("a.test", "b.test:0"), ("a.test", "b.test:00"),
                            ("a.test", "b.test:"), ("a.test", "300.1.1.1:5269"),
                            ("a.test", "127.0.0.1:05269"), ("a.test", "::1:5269"),
                            ("a.test", "b.test:05269")):
        done = one.ctl_run("s2s-route", "add", pattern, target)
        assert done.returncode != 0, (pattern, target)
    for option, value in (("--priority", 0), ("--priority", 65536), ("--weight", 0),
                          ("--weight", 65536), ("--tls", "no"), ("--description", "x" * 256)):
        assert one.ctl_run("s2s-route", "add", "a.test", "b.test", option, value).returncode != 0
    assert not one.rows("s2s-route", "list")
    add(one, "a.test", "b.test", "--description", "x" * 255)
    assert one.rows("s2s-route", "list")[0]["target"] == "b.test"
    assert "s2s-route set" in refusal(one, "s2s-route", "add", "a.test", "b.test")
    assert "s2s-route list" in refusal(one, "s2s-route", "del", "a.test", "c.test")
    assert "s2s-route list" in refusal(one, "s2s-route", "set", "a.test", "c.test", "--weight", 2)


def test_a_pattern_has_at_most_a_hundred_routes(one):
    for port in range(1, 101):
        add(one, "a.test", port)
    assert "100" in refusal(one, "s2s-route", "add", "a.test", "127.0.0.1:101")
    assert "event=s2s.routes" in one.log()
    add(one, "b.test", 101)
    assert len(one.rows("s2s-route", "list")) == 101


def test_routes_outlive_a_restart(one, other):
    add(one, OTHER, other.s2s_port)
    one.restart()
    assert reach(one.client("alice")) is None


@pytest.fixture
def name_server(tmp_path):
    """A function: a name server with these arguments, at the port that it returns."""
    started = []

    def start(*more):
        port = free_ports(1)[0]
        started.append(Dns(tmp_path, port, {}, *more))
        return port
    yield start
    for process in started:
        process.finish()


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


def test_see_other_host(one, other, authority):
    listener = Listener(OTHER, authority.issue("listener", OTHER))
    sees_other(listener, f"127.0.0.1:{other.s2s_port}")
    add(one, OTHER, listener.port, "--less-specific", "off")
    assert reach(one.client("alice")) is None
    listener.close()


def test_see_other_host_is_followed_three_times(one, authority):
    """Five servers that each name the next one."""
    listeners = [Listener(OTHER, authority.issue(f"l{i}", OTHER)) for i in range(5)]
    for here, there in zip(listeners, listeners[1:] + listeners[:1]):
        sees_other(here, f"127.0.0.1:{there.port}")
    add(one, OTHER, listeners[0].port, "--less-specific", "off")
    assert "connection" in reach(one.client("alice"))[1]
    assert "see-other-host" in federation.why(one, OTHER)
    assert one.log().count("event=s2s.host") == 3
    for listener in listeners:
        listener.close()


def test_see_other_host_does_not_change_whose_certificate_it_must_be(one, make_server, authority):
    thief = server_of(make_server, authority, "carol", "thief.test")
    listener = Listener(OTHER, authority.issue("listener", OTHER))
    sees_other(listener, f"127.0.0.1:{thief.s2s_port}")
    add(one, OTHER, listener.port, "--less-specific", "off")
    condition, _ = reach(one.client("alice"))
    assert condition == "remote-server-not-found" and "event=s2s.up" not in one.log()
    listener.close()


def test_see_other_host_at_the_same_address(one, authority):
    listener = Listener(OTHER, authority.issue("listener", OTHER))
    sees_other(listener, f"127.0.0.1:{listener.port}")
    add(one, OTHER, listener.port, "--less-specific", "off")
    assert "connection" in reach(one.client("alice"))[1]
    assert "see-other-host" in federation.why(one, OTHER)
    assert "event=s2s.host" not in one.log()
    listener.close()


def test_all_hosts_count_for_giving_up(one, other, make_server, authority):
    """One that refuses the connection may be back; a wrong certificate alone does not decide."""
    wrong = server_of(make_server, authority, "carol", "thief.test")
    one.ctl("set", "s2s.retry-for", "1h")
    one.ctl("set", "s2s.verify-certificates", "on")
    dead = federation.free_port()
    add(one, OTHER, dead, "--less-specific", "off")
    add(one, OTHER, wrong.s2s_port, "--priority", 2, "--less-specific", "off")
    alice = one.client("alice")
    alice.send(f"<message to='bob@{OTHER}' type='chat' id='m'><body>late</body></message>")
    until("failure", lambda: "event=s2s.failed" in one.log())
    [row] = [row for row in one.rows("s2s", "list", OTHER) if row["direction"] == "out"]
    assert row["state"] == "waiting" and row["queue"] == 1


def test_attempts_at_a_time_are_bounded(one, other):
    """One at a time and worker: a server that says nothing holds it up for no longer than it is
    waited for, and the others have their turn."""
    one.ctl("set", "s2s.connecting", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        add(one, "silent.test", silent.getsockname()[1], "--less-specific", "off")
        add(one, OTHER, other.s2s_port)
        alice = one.client("alice")
        alice.send("<message to='a@silent.test' type='chat'><body>x</body></message>")
        silent.accept()[0].close()
        assert reach(alice) is None


def out_states(server, domain):
    return [row["state"] for row in server.rows("s2s", "list", domain)
            if row["direction"] == "out"]


@pytest.fixture
def silent(one):
    """Domains whose server takes connections and says nothing, one at a time."""
    one.ctl("set", "s2s.connecting", 1)
    with socket.create_server(("127.0.0.1", 0), backlog=50) as sock:
        add(one, "*.silent.test", sock.getsockname()[1], "--less-specific", "off")
        yield sock


def hold(one, alice):
    """The only attempt that may be made is made for long."""
    alice.send("<message to='a@first.silent.test' type='chat'><body>x</body></message>")
    until("attempt", lambda: out_states(one, "first.silent.test") == ["connecting"])


def test_a_wait_for_a_turn_ends(one, other, silent):
    add(one, OTHER, other.s2s_port)
    alice = one.client("alice")
    hold(one, alice)
    alice.send(f"<iq type='get' id='q' to='{OTHER}'><query xmlns='jabber:iq:version'/></iq>")
    until("queue", lambda: out_states(one, OTHER) == ["queued"])
    error = alice.expect("<iq type='error' id='q'/>")
    assert xml.condition(error) == "remote-server-timeout"
    assert federation.for_users(error) == "the server of that domain cannot be reached"
    assert "s2s.connecting" in federation.why(one, OTHER)


def test_more_attempts_begin_at_once(one, other, silent):
    add(one, OTHER, other.s2s_port)
    alice = one.client("alice")
    hold(one, alice)
    alice.send(f"<iq type='get' id='q' to='{OTHER}'><query xmlns='jabber:iq:version'/></iq>")
    until("queue", lambda: out_states(one, OTHER) == ["queued"])
    one.ctl("set", "s2s.connecting", 1000)
    alice.expect("<iq type='result' id='q'/>")


def test_many_domains_at_once_are_all_connected_to(one, silent):
    """More than a worker begins at once: the others begin one after the other."""
    one.ctl("set", "s2s.connecting", 1000)
    alice = one.client("alice")
    alice.raw("".join(f"<message to='a@d{n}.silent.test' type='chat'><body>x</body></message>"
                      for n in range(40)))
    until("40 attempts", lambda: [row["state"] for row in one.rows("s2s", "list")
                                  if row["domain"].endswith(".silent.test")] ==
          ["connecting"] * 40)


def test_a_route_that_is_deleted_while_an_attempt_waits(one, other, silent):
    with socket.create_server(("127.0.0.1", 0)) as old:
        add(one, OTHER, old.getsockname()[1], "--less-specific", "off")
        alice = one.client("alice")
        hold(one, alice)
        alice.send(f"<iq type='get' id='q' to='{OTHER}'><query xmlns='jabber:iq:version'/></iq>")
        until("queue", lambda: out_states(one, OTHER) == ["queued"])
        add(one, OTHER, other.s2s_port)
        one.ctl("s2s-route", "del", OTHER, f"127.0.0.1:{old.getsockname()[1]}")
        one.ctl("s2s", "close", "first.silent.test")
        alice.expect("<iq type='result' id='q'/>")


def test_questions_of_strangers_use_a_quarter(one, other, silent):
    """Keys of many domains that do not answer hold nobody up."""
    workers = 8
    one.ctl("set", "s2s.connecting", 4 * workers)
    one.ctl("set", "s2s.require-tls", "off")
    add(one, OTHER, other.s2s_port)
    peers = []
    for i in range(2):
        peer = federation.Peer(one, f"x{i}.silent.test", ONE)
        peer.header().features_come()
        for k in range(30):
            peer.result("ab" * 16, origin=f"t{i}-{k}.silent.test")
        peers.append(peer)
    until("queue", lambda: any(row["state"] == "queued" for row in one.rows("s2s", "list")))
    assert reach(one.client("alice")) is None


@pytest.mark.skipif(not prosody.is_here(), reason="no dnsmasq")
def test_many_routes_leave_room_for_what_is_behind(one, other, name_server):
    dns = name_server("--host-record=host.example,127.0.0.1",
                      f"--srv-host=_xmpp-server._tcp.{OTHER},host.example,{other.s2s_port},0,0")
    one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{dns}")
    for i in range(70):
        add(one, OTHER, f"127.0.1.{i + 1}:1")
    assert reach(one.client("alice")) is None


@pytest.mark.skipif(not prosody.is_here(), reason="no dnsmasq")
@pytest.mark.parametrize("target", ["there.example", "_xmpp-server._tcp.there.example",
                                    "host.example:PORT"])
def test_names_in_routes(one, other, name_server, target):
    dns = name_server("--host-record=host.example,127.0.0.1",
                      f"--srv-host=_xmpp-server._tcp.there.example,host.example,"
                      f"{other.s2s_port},0,0")
    one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{dns}")
    add(one, OTHER, target.replace("PORT", str(other.s2s_port)), "--less-specific", "off")
    assert reach(one.client("alice")) is None


@pytest.mark.parametrize("target, name", [
    ("host", "_xmpp-server._tcp.host, _xmpps-server._tcp.host"),
    ("_xmpps-server._tcp.a.test", "_xmpps-server._tcp.a.test"),
    ("host:5269", None), ("192.0.2.1:5269", None)])
def test_a_target_without_a_port_is_said_to_be_one(make_server, target, name):
    said = make_server(s2s=True).ctl_run("s2s-route", "add", "two.test", target).stdout
    assert said.startswith("the route applies to new connections")
    assert (f"SRV records: {name}" in said) if name else "SRV" not in said


def service(port, priority, weight=0, name="_xmpp-server._tcp"):
    return f"--srv-host={name}.there.example,host.example,{port},{priority},{weight}"


def counts(hops):
    return [hop.count for hop in hops]


@pytest.mark.skipif(not prosody.is_here(), reason="no dnsmasq")
def test_the_hosts_of_a_name_in_a_route_have_priorities_and_weights(one, hops, name_server):
    """RFC 2782: 3:1 between the first two, the third after both have failed; then another route."""
    dns = name_server("--host-record=host.example,127.0.0.1", service(hops[0].port, 1, 30),
                      service(hops[1].port, 1, 10), service(hops[2].port, 2, 90))
    one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{dns}")
    last = Counting(hops[0].port_of)
    add(one, OTHER, "there.example", "--priority", 1, "--less-specific", "off")
    add(one, OTHER, last.port, "--priority", 2, "--less-specific", "off")
    alice = one.client("alice")
    for _ in range(40):
        assert again(one, alice) is None
    first, second, third = counts(hops)
    assert (first + second, third, last.count) == (40, 0, 0)
    assert 20 <= first <= 39, first  # of 30 on average: 3.5 standard deviations
    hops[0].closes = hops[1].closes = True
    assert again(one, alice) is None
    assert (sum(counts(hops)), hops[2].count, last.count) == (43, 1, 0)
    hops[2].closes = True
    assert again(one, alice) is None
    assert (sum(counts(hops)), last.count) == (46, 1)
    last.close()


@pytest.mark.skipif(not prosody.is_here(), reason="no dnsmasq")
@pytest.mark.parametrize("records", [
    ["--srv-host=_xmpp-server._tcp.there.example", "--srv-host=_xmpps-server._tcp.there.example"],
    [], ["--host-record=there.example,127.0.0.1"]], ids=[".", "none", "no records of services"])
def test_a_name_in_a_route_that_leads_nowhere_gives_way_to_the_next(one, hops, name_server,
                                                                    records):
    """There is no such service, no such name, or a host where nobody listens at the usual port."""
    dns = name_server(*records)
    one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{dns}")
    add(one, OTHER, "there.example", "--priority", 1)
    add(one, OTHER, hops[0].port, "--priority", 2, "--less-specific", "off")
    assert reach(one.client("alice")) is None
    assert hops[0].count == 1


@pytest.mark.skipif(not prosody.is_here(), reason="no dnsmasq")
@pytest.mark.parametrize("target, options, used", [
    ("there.example", (), 1), ("there.example", ("--tls", "direct"), 1),
    ("_xmpps-server._tcp.there.example", (), 1), ("_xmpp-server._tcp.there.example", (), 0)])
def test_a_name_in_a_route_has_records_of_two_services(one, other, name_server, target, options,
                                                       used):
    """XEP-0368: their priorities count together; a route can ask for one of them."""
    ways = [Counting(port) for port in (other.s2s_port, other.s2s_tls_port)]
    dns = name_server("--host-record=host.example,127.0.0.1", service(ways[0].port, 2),
                      service(ways[1].port, 1, name="_xmpps-server._tcp"))
    one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{dns}")
    add(one, OTHER, target, "--less-specific", "off", *options)
    assert reach(one.client("alice")) is None
    assert [way.count for way in ways] == [int(used == 0), int(used == 1)]
    ways[used].closes = True
    answer = again(one, one.client("alice"))
    alone = target != "there.example" or options
    assert (answer is None) == (not alone)
    for way in ways:
        way.close()


@pytest.mark.skipif(not prosody.is_here(), reason="no dnsmasq")
def test_behind_routes_that_fail_the_dns_is_asked(one, make_server, authority, name_server):
    there = server_of(make_server, authority, "carol", "there.example")
    federation.route(there, "*", one.s2s_port)
    dns = name_server("--host-record=host.example,127.0.0.1",
                      f"--srv-host=_xmpp-server._tcp.there.example,host.example,"
                      f"{there.s2s_port},0,0")
    one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{dns}")
    add(one, "*", federation.free_port())
    assert reach(one.client("alice"), "there.example") is None


NOWHERE = "nowhere.example"


@pytest.fixture
def no_names():
    """The port of a name server that knows none (RFC 1035 §4.1.1)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def answer():
            try:
                while True:
                    question, peer = sock.recvfrom(4096)
                    sock.sendto(question[:2] + b"\x81\x83" + question[4:], peer)
            except OSError:
                pass
        threading.Thread(target=answer, daemon=True).start()
        yield sock.getsockname()[1]


@pytest.mark.parametrize("gateway, error, stage", [
    ("does not know it", "remote-server-not-found", "stream"),
    ("refuses us", "remote-server-timeout", "certificate"),
    ("is not there", "remote-server-timeout", "tcp"),
    ("does not know it, and another is not there", "remote-server-timeout", "tcp"),
    ("none", "remote-server-not-found", "dns")])
def test_a_domain_that_neither_a_gateway_nor_the_dns_has(one, other, no_names, gateway, error,
                                                         stage):
    """What the gateway says is why it fails, as the DNS is only asked in case that helps; but a
    domain that both do not know does not exist."""
    one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{no_names}")
    domain = OTHER if gateway == "refuses us" else NOWHERE
    if gateway not in ("none", "is not there"):
        add(one, "*", other.s2s_port)
    if "is not there" in gateway:
        add(one, "*", federation.free_port(), "--priority", 2)
    if gateway == "refuses us":
        one.ctl("s2s-demand", "set", OTHER, "--pin", "ab" * 32)
    assert reach(one.client("alice"), domain)[0] == error
    [row] = one.rows("s2s", "list")
    assert row["stage"] == stage and "no such name" in row["why"], row
    done = one.ctl_run("s2s", "trace", domain)
    assert done.returncode == 1 and f"({stage})" in done.stderr, done
    assert ("typing error" in done.stderr) == (gateway == "none")
