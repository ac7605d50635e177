"""Five servers of ours that all federate with each other; restarts; and IPv6 alone."""
import http.client
import socket
import struct

import pytest

from harness import federation, nodes, prosody, xml
from harness.bosh import Bosh
from harness.client import Client, insecure_context, until
from harness.partner import MUC
from harness.prosody import Dns
from harness.server import free_ports

COUNT = 5


def domain(n):
    return f"m{n}.test"


def start(make_server, folder, count, **settings):
    """Servers m0.test and so on, with a user u0 and so on; each knows where all others are, and
    their rooms."""
    authority = federation.Authority(folder)
    servers = []
    for n in range(count):
        tls = {**authority.issue(f"m{n}", domain(n), f"conference.{domain(n)}"),
               "trust": str(authority.file)}
        servers.append(make_server(f"u{n}", domains=[domain(n)], s2s=True, tls=tls,
                                   settings=federation.settings(**settings)))
    for one in servers:
        for n, other in enumerate(servers):
            if other is not one:
                for service in "", "conference.":
                    federation.route(one, f"{service}{domain(n)}", other.s2s_port)
    return servers


def chat(sender, other, mark, count=2):
    for n in range(count):
        sender.send(f"<message to='{other}' type='chat' id='{mark}-{n}'><body>{mark} {n}</body>"
                    "</message>")
    for n in range(count):
        found = ""
        while not found.startswith(mark):  # after kill -9, those of the last second come again
            found = other.expect(f"<message from='{sender}' type='chat'/>").get("id")
        assert found == f"{mark}-{n}"  # none is missing, and none comes twice


def everyone_chats(users, mark):
    for a, sender in enumerate(users):
        for b, other in enumerate(users):
            if sender is not other:
                chat(sender, other, f"{mark}-{a}-{b}")


def enter(client, room, nick):
    client.send(f"<presence to='{room}/{nick}'><x xmlns='{MUC}'><history "
                "maxstanzas='0'/></x></presence>")
    own = client.expect(f"<presence from='{room}/{nick}' type='-'><x xmlns='{MUC}#user'>"
                        "<status code='110'/></x></presence>")
    client.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
    return own


def everyone_speaks(users, room, mark):
    for n, client in enumerate(users):
        client.send(f"<message to='{room}' type='groupchat' id='{mark}{n}'><body>{mark} of {n}"
                    "</body></message>")
        for listener in users:
            found = ""
            while not found.startswith(mark):  # what waited for a server that was down comes first
                found = listener.expect(f"<message from='{room}/n{n}' type='groupchat'/>").get("id")
            assert found == f"{mark}{n}"


def test_a_mesh_of_five(make_server, tmp_path):
    """Each pair chats, one room has all of them; one server is killed, the others go on, and after
    its start all come together again."""
    servers = start(make_server, tmp_path, COUNT)
    users = [server.client(f"u{n}", "r") for n, server in enumerate(servers)]
    everyone_chats(users, "first")
    room = f"mesh@conference.{domain(0)}"
    for n, client in enumerate(users):
        enter(client, room, f"n{n}")
        if n == 0:
            client.result("set", f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' "
                          "type='submit'/></query>", to=room)
    for n, client in enumerate(users):  # each sees those who came later, too
        for m in range(n + 1, COUNT):
            client.expect(f"<presence from='{room}/n{m}' type='-'/>")
    everyone_speaks(users, room, "all")
    servers[2].kill()
    rest = [client for n, client in enumerate(users) if n != 2]
    everyone_chats(rest, "without")
    users[0].send(f"<message to='{room}' type='groupchat' id='without'><body>without</body>"
                  "</message>")
    for client in rest:
        client.expect(f"<message from='{room}/n0' type='groupchat'><body>without</body></message>")
    servers[2].start()
    users[2] = servers[2].client("u2", "r")
    for n, client in enumerate(users):
        client.inbox.clear()
        if n != 2:  # the server that was down is not known to fail for ever
            until("the way to the server that is back",
                  lambda client=client: client.iq("get", "<ping xmlns='urn:xmpp:ping'/>",
                                                  to=domain(2)).get("type") == "result")
    everyone_chats(users, "again")
    enter(users[2], room, "n2")
    everyone_speaks(users, room, "together")
    for n, server in enumerate(servers):
        others = {row["domain"] for row in server.rows("s2s", "list") if row["state"] == "up"}
        assert {domain(m) for m in range(COUNT) if m != n} <= others


def test_a_planned_restart_with_links(make_server, tmp_path):
    """`server restart` ends links in order: what is sent meanwhile arrives, and in order. The other
    server does not try to come back meanwhile, once it has looked for what waits for the routes,
    which are new at the first restart."""
    one, other = start(make_server, tmp_path, 2)
    alice, bob = one.client("u0", "r"), other.client("u1", "r")
    chat(alice, bob, "to")
    chat(bob, alice, "back")
    for turn, (restarted, stays, waits, n) in enumerate(
            ((one, other, bob, 0), (one, other, bob, 0), (other, one, None, 1))):
        failures = stays.log().count("event=s2s.failed")
        starts = restarted.log().count("event=server.ready")
        restarted.ctl("server", "restart")
        until("the next start", lambda r=restarted, s=starts:
              r.log().count("event=server.ready") > s)
        again = restarted.client(f"u{n}", "r")
        waits = waits or alice
        chat(waits, again, f"to {n}")
        chat(again, waits, f"from {n}")
        if n == 0:
            alice = again
        assert stays.log().count("event=s2s.failed") == failures or turn != 1


def test_messages_during_a_planned_restart_arrive(make_server, tmp_path):
    one, other = start(make_server, tmp_path, 2)
    alice = one.client("u0", "r")
    bob = other.client("u1", "r")
    chat(alice, bob, "before")
    bob.sock.close()
    starts = other.log().count("event=server.ready")
    other.ctl("server", "restart")
    for n in range(20):
        alice.send(f"<message to='{bob.bare}' type='chat' id='m{n}'><body>{n}</body></message>")
    alice.ping()
    until("the next start", lambda: other.log().count("event=server.ready") > starts)
    again = other.client("u1", "r")
    found = [again.expect(f"<message from='{alice}' type='chat'/>").get("id") for _ in range(20)]
    assert found == [f"m{n}" for n in range(20)]


# --- IPv6 ---


def six(server, *kinds):
    """Its listeners of all kinds, at ::1 alone."""
    names = {"tls": "c2s_tls"}
    server.conf["listen"] = {"c2s": [], **{
        names.get(kind, kind): [f"[::1]:{getattr(server, f'{kind}_port')}"] for kind in kinds}}


def client_at(port, user, at_domain, tls=False):
    client = Client(("::1", port), at_domain, user)
    if tls:
        client.wrap()
    client.open()
    if not tls:
        client.starttls()
    client.login("PLAIN", "r" if tls else "s")
    return client.available()


@pytest.mark.skipif(nodes.COUNT > 1, reason="listeners of one node")
def test_every_listener_at_ipv6(make_server):
    kinds = "c2s", "tls", "component", "http", "https", "bosh", "proxy65", "s2s", "s2s_tls"
    server = make_server("alice", start=False, component=True, proxy65=True, s2s=True,
                         settings=federation.settings())
    six(server, *kinds)
    server.start()
    server.add_user("alice")
    for kind in kinds:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", getattr(server, f"{kind}_port")), 10)
    clients = [client_at(server.c2s_port, "alice", "localhost"),
               client_at(server.tls_port, "alice", "localhost", tls=True)]
    for client in clients:
        client.ping()
    bosh = Bosh(("::1", server.https_port), "localhost", "alice", tls=True)
    bosh.open()
    assert bosh.features is not None
    for port, kind in ((server.http_port, http.client.HTTPConnection),
                       (server.bosh_port, http.client.HTTPConnection),
                       (server.https_port, http.client.HTTPSConnection)):
        more = {"context": insecure_context()} if port == server.https_port else {}
        connection = kind("::1", port, timeout=10, **more)
        connection.request("GET", "/.well-known/host-meta")
        assert connection.getresponse().status == (404 if port == server.bosh_port else 200)
        connection.close()
    with socket.create_connection(("::1", server.proxy65_port), 10) as sock:
        sock.sendall(struct.pack("!BBB", 5, 1, 0))
        assert sock.recv(2) == b"\x05\x00"
    for port in server.s2s_port, server.component_port:
        with socket.create_connection(("::1", port), 10) as sock:
            ns = "jabber:server" if port == server.s2s_port else "jabber:component:accept"
            sock.sendall(f"<stream:stream xmlns='{ns}' xmlns:stream='{xml.STREAM}' to='x.test' "
                         "from='evil.test' version='1.0'>".encode())
            assert b"<stream:stream" in sock.recv(4096)
    for client in clients:
        client.sock.close()


@pytest.mark.skipif(nodes.COUNT > 1 or not prosody.is_here(), reason="one node, and dnsmasq")
@pytest.mark.parametrize("way", ["srv", "route", "direct-tls"])
def test_servers_that_have_ipv6_alone(make_server, tmp_path, way):
    """Clients, links, and the questions to the name server."""
    authority = federation.Authority(tmp_path)
    domains = "one.example", "other.example"
    servers, dns = [], free_ports(1)[0]
    for name, at in zip(("alice", "bob"), domains):
        server = make_server(name, start=False, domains=[at], s2s=True,
                             settings=federation.settings(dns_servers=f"[::1]:{dns}"),
                             tls={**authority.issue(at, at), "trust": str(authority.file)})
        six(server, "tls", "s2s", "s2s_tls")
        servers.append(server)
    records = [f"--host-record=host.{at},::1" for at in domains]
    service, port = ("xmpps", "s2s_tls_port") if way == "direct-tls" else ("xmpp", "s2s_port")
    if way != "route":
        records += [f"--srv-host=_{service}-server._tcp.{at},host.{at},{getattr(server, port)}"
                    for at, server in zip(domains, servers)]
    name_server = Dns(tmp_path, dns, {}, "--listen-address=::1", *records)
    try:
        for server, name, other in (servers[0], "alice", 1), (servers[1], "bob", 0):
            server.start()
            server.add_user(name)
            if way == "route":
                server.ctl("s2s-route", "add", domains[other],
                           f"[::1]:{servers[other].s2s_port}")
        alice, bob = (client_at(server.tls_port, name, at, tls=True)
                      for server, name, at in zip(servers, ("alice", "bob"), domains))
        chat(alice, bob, "to")
        chat(bob, alice, "back")
        alice.sock.close()
        bob.sock.close()
    finally:
        name_server.finish()
