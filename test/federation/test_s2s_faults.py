"""Other servers as they are, and as they fail: Prosody, ejabberd, and some that are made for it."""
import contextlib
import http.client
import socket
import threading
import time
import urllib.parse

import pytest

from harness import ejabberd, federation, nodes, partner, prosody, pubsub, xml
from harness.client import TIMEOUT, follow, until
from harness.federation import Listener, Peer
from harness.partner import OURS, THEIRS
from harness.prosody import Dns
from harness.server import free_ports
from services.test_upload import http_do

MEMORY_OF_A_STREAM_KIB = 40  # of a program with checks
NICK = "http://jabber.org/protocol/nick"
KINDS = {"prosody": (prosody, prosody.Prosody), "ejabberd": (ejabberd, ejabberd.Ejabberd)}
MORE = {"prosody": {"more": '"vcard_legacy"; "vcard4"; "offline"; "time"; "carbons"; "smacks";'},
        "ejabberd": {"more": "mod_s2s_dialback: {}\n  mod_vcard: {}\n  mod_offline: {}\n"
                             "  mod_time: {}"}}


@pytest.fixture(params=list(KINDS))
def kind(request):
    module, made = KINDS[request.param]
    if not module.is_here():
        pytest.skip(f"no {request.param}, or no dnsmasq")
    return request.param, made


@pytest.fixture
def federated(make_server, tmp_path, kind):
    """A function that starts both servers, with settings of ours and options of the other."""
    started = []

    def start(**options):
        name, made = kind
        return partner.start(make_server, tmp_path, made, started, **{**MORE[name], **options})
    yield start
    for process in started:
        process.finish()


def befriend(alice, bob):
    """Subscriptions both ways; each has seen the other's presence."""
    for client in alice, bob:
        client.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    for one, other in (alice, bob), (bob, alice):
        follow(one, other)
        one.expect(f"<presence from='{other}'/>")


# --- what goes across with real servers ---


def test_personal_events_both_ways(federated):
    """Those who ask for it by their capabilities get each event of a contact (XEP-0163)."""
    ours, theirs = federated()
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    befriend(alice, bob)
    features = [xml.DISCO_INFO, f"{NICK}+notify"]
    for client in alice, bob:
        client.send(f"<presence>{pubsub.caps(features)}</presence>")
    for client, other in (alice, bob), (bob, alice):  # of both servers
        other.expect(f"<presence from='{client}'><c xmlns='{pubsub.CAPS}'/></presence>")
        while client.inbox and (asks := [e for e in client.inbox if xml.matches(e, pubsub.ASK)]):
            for _ in asks:
                pubsub.answer_caps(client, features)
    for one, other, name in (alice, bob, "Ali"), (bob, alice, "Bobby"):
        payload = f"<nick xmlns='{NICK}'>{name}</nick>"
        until(f"the event of {name}", lambda o=one, p=payload, t=other, n=name:
              told(o, t, p, n, features))


def told(publisher, listener, payload, name, features):
    """It is published (again, while the listener's server has not asked yet what the listener
    wants), and the listener hears of it."""
    publisher.result("set", f"<pubsub xmlns='{pubsub.NS}'><publish node='{NICK}'>"
                     f"<item id='current'>{payload}</item></publish></pubsub>")
    for client in publisher, listener:
        client.pump(0.2)
        for _ in [e for e in client.inbox if xml.matches(e, pubsub.ASK)]:
            pubsub.answer_caps(client, features)
    return any(name in "".join(e.itertext()) for e in listener.inbox
               if e.get("from") == publisher.bare and e.tag.endswith("message"))


def test_vcards_both_ways(federated):
    ours, theirs = federated()
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    for client, other, name in (alice, bob, "Alice A"), (bob, alice, "Bob B"):
        client.result("set", f"<vCard xmlns='vcard-temp'><FN>{name}</FN></vCard>")
        card = other.result("get", "<vCard xmlns='vcard-temp'/>", to=client.bare)
        assert card.findtext("{vcard-temp}FN") == name


def test_a_file_of_ours_is_fetched_by_the_other(federated):
    ours, theirs = federated()
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    reply = alice.result("get", "<request xmlns='urn:xmpp:http:upload:0' filename='a.txt' "
                         "size='5'/>", to=f"upload.{OURS}")
    put, get = (reply.find(f"{{*}}{way}").get("url") for way in ("put", "get"))
    assert http_do(ours, "PUT", put, b"hello").status == 201
    alice.send(f"<message to='{bob}' type='chat' id='f'><body>{get.replace('&', '&amp;')}</body>"
               f"<x xmlns='jabber:x:oob'><url>{get.replace('&', '&amp;')}</url></x></message>")
    found = bob.expect("<message id='f'><x xmlns='jabber:x:oob'/></message>")
    answer = http_do(ours, "GET", found.findtext("{jabber:x:oob}x/{jabber:x:oob}url"))
    assert (answer.status, answer.body) == (200, b"hello")
    refused = bob.iq("get", "<request xmlns='urn:xmpp:http:upload:0' filename='a.txt' size='5'/>",
                     to=f"upload.{OURS}")
    assert refused.get("type") == "error"


def stores_files(name, port):
    """Options of a server that takes files of its users over HTTP, at this port."""
    if name == "ejabberd":
        return {"listen": f'- {{ port: {port}, ip: "127.0.0.1", module: ejabberd_http, '
                          'request_handlers: { /upload: mod_http_upload } }',
                "more": f"{MORE[name]['more']}\n  mod_http_upload: {{ host: upload.{THEIRS}, "
                        f'access: all, put_url: "http://127.0.0.1:{port}/upload" }}'}
    return {"listen": f'http_ports = {{ {port} }}\nhttp_interfaces = {{ "127.0.0.1" }}\n'
                      f'https_ports = {{ }}\nhttp_default_host = "upload.{THEIRS}"\n'
                      f'http_external_url = "http://127.0.0.1:{port}/"\n',
            "conference": f'Component "upload.{THEIRS}" "http_file_share"\n'}


def ask_http(method, url, body=None, headers=None):
    """The status and the body of the answer."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
    connection.request(method, f"{parts.path}?{parts.query}", body, headers or {})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_a_file_of_the_other_is_fetched_by_ours(federated, kind):
    """Its own server has taken it, and gives it; our user gets the link."""
    port, = free_ports(1)
    ours, theirs = federated(**stores_files(kind[0], port))
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    slot = bob.result("get", "<request xmlns='urn:xmpp:http:upload:0' filename='a.txt' "
                      "size='5'/>", to=f"upload.{THEIRS}")
    put, get = slot.find("{*}put"), slot.find("{*}get").get("url")
    headers = {header.get("name"): header.text for header in put}
    assert f":{port}/" in get
    assert ask_http("PUT", put.get("url"), b"hello", headers)[0] == 201
    link = get.replace("&", "&amp;")
    bob.send(f"<message to='{alice}' type='chat' id='f'><body>{link}</body>"
             f"<x xmlns='jabber:x:oob'><url>{link}</url></x></message>")
    found = alice.expect("<message id='f'><x xmlns='jabber:x:oob'/></message>")
    url = found.findtext("{jabber:x:oob}x/{jabber:x:oob}url")
    assert url == get == found.findtext(f"{{{xml.CLIENT}}}body")
    assert ask_http("GET", url) == (200, b"hello")


CONTENTS = [
    "<body>a</body><request xmlns='urn:xmpp:receipts'/>",
    "<received xmlns='urn:xmpp:receipts' id='m0'/>",
    "<body>a</body><markable xmlns='urn:xmpp:chat-markers:0'/>",
    "<displayed xmlns='urn:xmpp:chat-markers:0' id='m0'/>",
    "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
    "<body>b</body><replace xmlns='urn:xmpp:message-correct:0' id='m0'/>",
    "<reactions xmlns='urn:xmpp:reactions:0' id='m0'><reaction>👍</reaction></reactions>"
    "<store xmlns='urn:xmpp:hints'/>",
    "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'><iv>AAAA</iv></header>"
    "<payload>BBBB</payload></encrypted><store xmlns='urn:xmpp:hints'/>",
    "<body>&lt;&amp;&gt;&quot; ü 𝄞</body><thread>t</thread><subject>s</subject>",
]


def test_what_messages_contain_arrives_unchanged(federated):
    ours, theirs = federated()
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    for one, other in (alice, bob), (bob, alice):
        for n, content in enumerate(CONTENTS):
            one.send(f"<message to='{other}' type='chat' id='m{n}'>{content}</message>")
        for n, content in enumerate(CONTENTS):
            found = other.expect(f"<message from='{one}'/>")
            assert found.get("id") == f"m{n}"
            assert xml.matches(found, f"<message>{content}</message>"), xml.canonical(found)


def test_answers_for_what_is_not_there(federated):
    ours, theirs = federated()
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    for client, domain in (alice, THEIRS), (bob, OURS):
        for to in f"nobody@{domain}", f"nobody@{domain}/x", f"nobody@conference.{domain}/x":
            assert client.iq("get", "<query xmlns='jabber:iq:version'/>", to=to
                             ).get("type") == "error"
    bob.send(f"<message to='nobody@{OURS}' type='chat' id='n'><body>x</body></message>")
    bob.expect("<message type='error' id='n'/>")


# --- trust ---


@pytest.mark.parametrize("first", ["alice", "bob"])
def test_certificates_of_unknown_authorities_without_dialback(federated, first):
    """Nobody gets in by a certificate alone that nobody vouches for; both are told."""
    ours, theirs = federated(settings={"dialback": "off"}, trusted=False)
    client, to = ((ours.client("alice"), THEIRS) if first == "alice"
                  else (theirs.client("bob"), OURS))
    answer = client.iq("get", "<query xmlns='jabber:iq:version'/>", to=to)
    assert answer.get("type") == "error"
    assert not [row for row in ours.rows("s2s", "list") if row["state"] == "up"]
    if first == "alice":
        assert "its certificate is refused" in federation.for_users(answer)


# --- they go and come back ---


def test_the_other_server_is_killed_and_comes_back(federated):
    """What was sent while it was down arrives in order, and so does what it sends. Before that may
    come again what ejabberd had not confirmed, which does not count (XEP-0198)."""
    ours, theirs = federated()
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    partner.talk(alice, bob, "before")
    partner.talk(bob, alice, "back")
    theirs.kill()
    until("the end of its streams",
          lambda: all(row["state"] != "up" for row in ours.rows("s2s", "list", THEIRS)))
    for n in range(5):
        alice.send(f"<message to='{bob.bare}' type='chat' id='down{n}'><body>{n}</body></message>")
    until("a failure", lambda: "s2s.failed" in ours.log())
    theirs.begin()
    bob = theirs.client("bob", "b")
    for n in range(5):
        bob.expect(f"<message from='{alice}' type='chat' id='down{n}'/>")
    came = [e.get("id") for e in bob.log if (e.get("id") or "").startswith("down")]
    assert came == [f"down{n}" for n in range(5)]
    partner.talk(bob, alice, "after")
    partner.talk(alice, bob, "after")


def test_our_server_is_killed_and_comes_back(federated):
    """The other one finds it again, and what is sent from then on arrives."""
    ours, theirs = federated()
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    partner.talk(alice, bob, "before")
    partner.talk(bob, alice, "back")
    ours.kill()
    ours.start()
    alice = ours.client("alice", "a")
    partner.talk(alice, bob, "after")
    until("the way back", lambda: bob.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=OURS
                                         ).get("type") == "result")
    partner.talk(bob, alice, "after")


def test_a_planned_restart_of_ours(federated):
    ours, theirs = federated()
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    partner.talk(alice, bob, "before")
    partner.talk(bob, alice, "back")
    starts = ours.log().count("event=server.ready")
    ours.ctl("server", "restart")
    until("the next start", lambda: ours.log().count("event=server.ready") > starts)
    alice = ours.client("alice", "a")
    partner.talk(alice, bob, "after")
    partner.talk(bob, alice, "after")


@pytest.mark.skipif(not prosody.is_here(), reason="no dnsmasq")
def test_the_dns_says_another_place(make_server, tmp_path):
    """The server of a domain moves to another port; as soon as its record changes, it is found
    there, without a restart of ours."""
    authority = federation.Authority(tmp_path)
    one, other = (
        make_server(user, domains=[domain], s2s=True, settings=federation.settings(),
                    tls={**authority.issue(domain, domain), "trust": str(authority.file)})
        for user, domain in (("alice", OURS), ("bob", THEIRS)))
    dns = free_ports(1)[0]
    names = Dns(tmp_path, dns, {OURS: one.s2s_port, THEIRS: other.s2s_port})
    try:
        for server in one, other:
            server.ctl("set", "s2s.dns-servers", f"127.0.0.1:{dns}")
        alice, bob = one.client("alice", "a"), other.client("bob", "b")
        partner.talk(alice, bob, "before")
        old = other.s2s_port
        other.stop()
        other.s2s_port = free_ports(1)[0]
        other.conf["listen"]["s2s"] = [f"127.0.0.1:{other.s2s_port}"]
        other.start()
        assert old != other.s2s_port
        alice.send(f"<message to='bob@{THEIRS}' type='chat' id='late'><body>x</body></message>")
        until("a failure at the old place", lambda: "s2s.failed" in one.log())
        names.finish()
        names = Dns(tmp_path, dns, {OURS: one.s2s_port, THEIRS: other.s2s_port})
        bob = other.client("bob", "b")
        bob.expect(f"<message from='{alice}' id='late'/>")
        partner.talk(bob, alice, "after")
    finally:
        names.finish()


# --- servers that are made for it ---


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


def federates(make_server, authority, **options):
    tls = {**authority.issue(OURS, OURS), "trust": str(authority.file)}
    return make_server("alice", "carol", domains=[OURS], s2s=True, tls=tls,
                       settings=federation.settings(), **options)


@pytest.fixture
def node(make_server, authority):
    return federates(make_server, authority)


@pytest.fixture
def listener(node, authority):
    made = Listener(THEIRS, authority.issue("theirs", THEIRS))
    federation.route(node, THEIRS, made.port)
    yield made
    made.close()


def test_a_server_that_closes_after_each_stanza(node, listener):
    """The next stanza makes the next stream; none is lost, none comes twice."""
    alice = node.client("alice", "a")
    for n in range(5):
        alice.send(f"<message to='bob@{THEIRS}' type='chat' id='m{n}'><body>{n}</body></message>")
        with listener.join() as peer:
            text = listener.read_until(peer, "(?s).*</message>").string
            assert text.count("<message") == 1 and f"<body>{n}</body>" in text
            peer.sendall(b"</stream:stream>")
            listener.read_until(peer, "</stream:stream>")
    assert not [e for e in alice.inbox if e.get("type") == "error"]


def stall(listener, moment):
    """The socket of a server that goes on up to that moment."""
    peer = listener.sock.accept()[0]
    peer.settimeout(TIMEOUT)
    if moment == "tls":
        listener.header(peer, "first", f"<starttls xmlns='{xml.TLS}'/>")
        listener.read_until(peer, "<starttls")
        peer.sendall(f"<proceed xmlns='{xml.TLS}'/>".encode())
    elif moment == "header":
        peer.sendall(f"<stream:stream xmlns='{federation.SERVER}' xmlns:stream='{xml.STREAM}' "
                     f"id='x' version='1.0' from='{listener.domain}'>".encode())
    return peer


def test_servers_that_never_go_on(make_server, authority, disk):
    """Whatever they stop at: the senders are told in time, and others are served meanwhile."""
    node = federates(make_server, authority, disk=disk)
    node.ctl("set", "s2s.retry-for", "0")
    cert = authority.issue("silent", "*.example")
    listeners = {moment: Listener(f"{moment}.example", cert)
                 for moment in ("accepted", "header", "tls", "authentication")}
    for made in listeners.values():
        federation.route(node, made.domain, made.port)
    alice, carol = node.client("alice", "a"), node.client("carol", "c")
    for moment, made in listeners.items():
        alice.send(f"<iq type='get' to='{made.domain}' id='{moment}'><ping xmlns='urn:xmpp:ping'/>"
                   "</iq>")
    held = [stall(made, moment) for moment, made in listeners.items() if moment != "authentication"]
    held.append(listeners["authentication"].secure())
    partner.talk(alice, carol, "meanwhile")
    disk.turn(mono_us=30 * 10**6)  # an attempt has 15 s for the connection, 30 s for the stream
    for moment in listeners:
        alice.expect_error("remote-server-timeout",
                           template=f"<iq type='error' id='{moment}'/>")
    for sock in held:
        sock.close()
    for made in listeners.values():
        made.close()


@contextlib.contextmanager
def hanging():
    """Ports of servers that never come to an end: they say nothing, speak byte by byte, or drop the
    first packet of a connection, because their queue is full."""
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        socks = {name: stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog))
                 for name, backlog in (("mute", 50), ("slow", 50), ("full", 0), ("second", 50),
                                       ("third", 50), ("fourth", 50))}
        threading.Thread(target=speak_slowly, args=(socks["slow"], over), daemon=True).start()
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(socks["full"].getsockname())
        stack.callback(over.set)
        yield {name: sock.getsockname()[1] for name, sock in socks.items()}


def speak_slowly(sock, over):
    with contextlib.suppress(OSError), sock.accept()[0] as peer:
        for byte in b"<stream:stream" + 400 * b" ":
            peer.sendall(bytes([byte]))
            if over.wait(0.5):
                return


def ask(alice, *domains):
    """Asks all of them; how long each takes to fail, in seconds."""
    begun, took = time.monotonic(), {}
    for domain in domains:
        alice.send(f"<iq type='get' to='{domain}' id='{domain}'><ping xmlns='urn:xmpp:ping'/></iq>")
    alice.timeout = 90
    while len(took) < len(domains):
        error = alice.expect_error("remote-server-timeout")
        took[error.get("id")] = time.monotonic() - begun
    return took


@pytest.mark.parametrize("retry_for", [15, 30])
def test_an_attempt_that_hangs_holds_no_answer(node, retry_for):
    """Senders hear of it after s2s.retry-for, whatever the attempt is doing. From then on others
    hear at once, while it goes on."""
    domains = "mute.example", "slow.example", "full.example", "four.example"
    node.ctl("set", "s2s.retry-for", f"{retry_for}s")
    alice = node.client("alice", "a")
    with hanging() as ports:
        for domain in domains[:3]:
            federation.route(node, domain, ports[domain.removesuffix(".example")])
        for n, name in enumerate(("mute", "second", "third", "fourth")):
            node.ctl("s2s-route", "add", "four.example", f"127.0.0.1:{ports[name]}",
                     "--priority", n + 1, "--less-specific", "off")
        first = ask(alice, *domains)
        assert all(retry_for - 1 < s < retry_for + 2 for s in first.values()), first
        assert all(s < 3 for s in ask(alice, *domains).values())
        assert [row["state"] for row in node.rows("s2s", "list", "four.example")] == ["connecting"]


def test_an_attempt_that_senders_do_not_wait_for_any_more_comes_to_its_end(node, listener):
    """A message that is stored waits for it, and stanzas go over the stream that it makes."""
    node.ctl("set", "s2s.retry-for", "15s")
    alice = node.client("alice", "a")
    alice.send(f"<message to='bob@{THEIRS}' type='chat'><body>late</body></message>")
    assert 14 < ask(alice, THEIRS)[THEIRS] < 17
    with listener.join() as peer:
        listener.read_until(peer, "<body>late</body>")
        alice.send(f"<iq type='get' to='{THEIRS}' id='q'><ping xmlns='urn:xmpp:ping'/></iq>")
        listener.read_until(peer, "id='q'")
    assert not [e for e in alice.inbox if e.get("type") == "error"]


def test_an_attempt_that_nobody_waits_for_comes_to_its_end(node, listener):
    """The same for a question alone: who asks next has the stream."""
    node.ctl("set", "s2s.retry-for", "15s")
    alice = node.client("alice", "a")
    assert 14 < ask(alice, THEIRS)[THEIRS] < 17
    with listener.join() as peer:
        until("stream", lambda: "event=s2s.up" in node.log())
        alice.send(f"<iq type='get' to='{THEIRS}' id='q'><ping xmlns='urn:xmpp:ping'/></iq>")
        listener.read_until(peer, "id='q'")


def test_a_server_that_is_known_to_hang_is_told_of_soon(node, listener):
    """Also while it is tried again for a message that is stored."""
    node.ctl("set", "s2s.retry-for", "15s")
    alice = node.client("alice", "a")
    alice.send(f"<message to='bob@{THEIRS}' type='chat'><body>late</body></message>")
    with listener.sock.accept()[0]:
        assert 14 < ask(alice, THEIRS)[THEIRS] < 17
    with listener.sock.accept()[0]:
        assert ask(alice, THEIRS)[THEIRS] < 4
        assert [row["state"] for row in node.rows("s2s", "list", THEIRS)] == ["connecting"]
    assert not [e for e in alice.inbox if e.tag.endswith("}message")]


def test_a_server_that_refuses_is_told_of_in_time(node):
    """Also in the pause between two attempts, and messages that are stored get no error."""
    node.ctl("set", "s2s.retry-for", "5s")
    federation.route(node, THEIRS, federation.free_port())
    alice = node.client("alice", "a")
    alice.send(f"<message to='bob@{THEIRS}' type='chat'><body>late</body></message>")
    assert 4 < ask(alice, THEIRS)[THEIRS] < 7
    assert ask(alice, THEIRS)[THEIRS] < 3
    assert not [e for e in alice.inbox if e.tag.endswith("}message")]


def test_a_server_that_speaks_byte_by_byte(node, authority):
    """A stream in, with each byte in a packet of its own."""
    alice = node.client("alice", "a")
    evil = Peer(node, THEIRS, OURS, authority.issue("theirs", THEIRS)).join()
    text = (f"<message to='{alice}' from='bob@{THEIRS}' type='chat' id='m'><body>ü&#65;</body>"
            "</message>")
    for byte in text.encode():
        evil.sock.sendall(bytes([byte]))
    alice.expect(f"<message from='bob@{THEIRS}' id='m'><body>üA</body></message>")


def test_large_stanzas_end_the_stream_and_nothing_else(node, authority):
    alice = node.client("alice", "a")
    evil = Peer(node, THEIRS, OURS, authority.issue("theirs", THEIRS)).join()
    evil.raw(f"<message to='{alice}' from='bob@{THEIRS}' id='m'><body>")
    with contextlib.suppress(OSError):  # it does not wait for the end
        for _ in range(64):
            evil.raw("x" * 16384)
        evil.raw("</body></message>")
    until("the end of the stream", lambda: node.rows("s2s", "list", THEIRS) == [])
    good = Peer(node, THEIRS, OURS, authority.issue("theirs2", THEIRS)).join()
    good.send(f"<message to='{alice}' from='bob@{THEIRS}' type='chat' id='n'><body>y</body>"
              "</message>")
    alice.expect_next(f"<message from='bob@{THEIRS}' id='n'/>")


@pytest.mark.skipif(nodes.COUNT > 1, reason="the limit is of a node")
def test_more_streams_than_an_address_may_have(node, authority):
    """1,000 connections at once: the limit of an address holds, and users are served."""
    alice, carol = node.client("alice", "a"), node.client("carol", "c")
    socks = []
    for _ in range(1000):
        socks.append(socket.create_connection(("127.0.0.1", node.s2s_port), TIMEOUT))
    partner.talk(alice, carol, "meanwhile")
    for sock in socks:
        sock.close()
    until("room for others", lambda: came(node, authority, alice))


@pytest.mark.skipif(nodes.COUNT > 1, reason="the limit is of a node")
def test_five_thousand_streams_of_one_server(make_server, authority):
    """Each is authenticated and idle. The next one is refused, users notice nothing, and the memory
    is that of so many streams."""
    count = 5000
    tls = {**authority.issue("ours", OURS), "trust": str(authority.file)}
    node = make_server("alice", "carol", domains=[OURS], s2s=True, tls=tls,
                       settings=federation.settings(connections_per_address=count, idle="1h"),
                       why="so many streams of one server are what is tried")
    alice, carol = node.client("alice", "a"), node.client("carol", "c")
    cert = authority.issue("theirs", THEIRS)
    peers = [Peer(node, THEIRS, OURS, cert).join() for _ in range(100)]
    before = node.status_kib()
    try:
        while len(peers) < count:
            peers.append(Peer(node, THEIRS, OURS, cert).join())
            if len(peers) % 500 == 0:
                partner.talk(alice, carol, f"at {len(peers)}")
        each = (node.status_kib() - before) / (count - 100)
        assert each <= MEMORY_OF_A_STREAM_KIB, f"{each:.1f} KiB"
        with pytest.raises((AssertionError, OSError)):
            Peer(node, THEIRS, OURS, cert).join()
        for peer in peers[0], peers[count // 2], peers[-1]:
            peer.send(f"<message to='{alice}' from='bob@{THEIRS}' type='chat' id='{id(peer)}'>"
                      "<body>y</body></message>")
            alice.expect(f"<message from='bob@{THEIRS}' id='{id(peer)}'/>")
        partner.talk(carol, alice, "full")
    finally:
        for peer in peers:
            peer.sock.close()
    until("room for others", lambda: came(node, authority, alice))


def came(node, authority, alice):
    try:
        good = Peer(node, THEIRS, OURS, authority.issue("theirs", THEIRS)).join()
    except (AssertionError, OSError):
        return False
    good.send(f"<message to='{alice}' from='bob@{THEIRS}' type='chat' id='n'><body>y</body>"
              "</message>")
    alice.expect(f"<message from='bob@{THEIRS}' id='n'/>")
    return True
