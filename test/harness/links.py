"""Links between servers: fixtures of servers of ours, and a server of EVIL that a test plays. What
one says has its body as id, m and all: `say(alice, 1)` is the message m1 with the body 1."""
import re
import select
import socket
import threading

import pytest

from harness import federation, xml
from harness.client import until
from harness.federation import DIALBACK, EXTERNAL, Listener, Peer
from harness.wire import Wire

ONE, OTHER, EVIL = "one.test", "other.test", "evil.test"
BOB = f"bob@{EVIL}"
NOT_STORED = "<no-store xmlns='urn:xmpp:hints'/>"
BIDI, OFFER = "<bidi xmlns='urn:xmpp:bidi'/>", "<bidi xmlns='urn:xmpp:features:bidi'/>"
SM, END = f"<sm xmlns='{xml.SM}'/>", "</stream:stream>"
ENABLED = f"<enabled xmlns='{xml.SM}' id='session' resume='true'/>"
NO_SESSION = f"<enabled xmlns='{xml.SM}'/>"
FAILED = f"<failed xmlns='{xml.SM}'/>"
FAULT = ("<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
         "</stream:error></stream:stream>")
POISON = "<x xmlns='poison'/>"
PING, VERSION = "<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='jabber:iq:version'/>"
OPTIONS = {"component", "conf", "disk", "workers", "why"}  # of Server; the others are settings


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def start(make_server, authority):
    """A function that starts a server of ours at these domains, with settings of s2s."""
    def run(*users, domains=(ONE,), names=(), cert=None, **more):
        first, options = domains[0], {name: more.pop(name) for name in OPTIONS & set(more)}
        cert = cert or authority.issue(first, *domains, f"conference.{first}", *names)
        settings = federation.settings(**more)
        policy = settings.pop("s2s.policy")
        server = make_server(*users, domains=list(domains), s2s=True, settings=settings,
                             tls={**cert, "trust": str(authority.file)}, **options)
        server.ctl("set", "s2s.policy", policy)  # which a test may change
        return server
    return run


@pytest.fixture
def node(start):
    """A server of ours that knows where EVIL is; nobody listens there."""
    server = start("alice", component=True)
    federation.route(server, EVIL, federation.free_port())
    return server


@pytest.fixture
def listener(node, authority):
    """There is EVIL."""
    made = Listener(EVIL, authority.issue("listener", EVIL))
    federation.route(node, EVIL, made.port)
    yield made
    made.close()


@pytest.fixture
def evil(node, authority):
    """A connection of EVIL, which has not said anything yet."""
    return Peer(node, EVIL, ONE, authority.issue("evil", EVIL))


@pytest.fixture
def silent(node):
    """All other servers are this socket, which says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
        federation.route(node, "*", sock.getsockname()[1])
        yield sock


@pytest.fixture
def join(authority):
    """A function that makes a stream of EVIL, authenticated, with XEP-0198; both: and XEP-0288."""
    def run(server, domain=EVIL, local=ONE, enable=True, both=False):
        peer = Peer(server, domain, local, authority.issue(domain, domain)).secure()
        if both:
            peer.raw(BIDI)
        assert peer.external() is None
        peer.header().features_come()
        if enable:
            peer.enable_sm()
        return peer
    return run


@pytest.fixture
def pair(start):
    """A function: alice@one.test and bob@other.test, and the wire from hers to his."""
    wires = []

    def run(back=True, **more):
        one, other = (start(user, domains=[domain], **more)
                      for user, domain in (("alice", ONE), ("bob", OTHER)))
        wires.append(Wire(other.s2s_port))
        federation.route(one, OTHER, wires[-1].port)
        federation.route(other, ONE, one.s2s_port if back else federation.free_port())
        return one, other, wires[-1]
    yield run
    for wire in wires:
        wire.close()


def message(origin, to, body, more=""):
    return (f"<message from='{origin}' to='{to}' type='chat' id='m{body}'><body>{body}</body>"
            f"{more}</message>")


def say(client, *bodies, to=BOB, more=""):
    for body in bodies:
        client.send(f"<message to='{getattr(to, 'bare', to)}' type='chat' id='m{body}'>"
                    f"<body>{body}</body><origin-id xmlns='{xml.SID}' id='o{body}'/>{more}"
                    "</message>")


def hear(client, *bodies):
    """Each once, in this order, and nothing else."""
    for body in bodies:
        client.expect(f"<message id='m{body}'><body>{body}</body></message>")
    left = [xml.canonical(e) for e in client.inbox if e.tag.endswith("}message")]
    assert not left, (client.jid, left)


def condition(error):
    return xml.condition(error.find(f"{{{xml.CLIENT}}}error"))


def bounced(client, wanted, ident, kind="message"):
    """The error to its stanza of that id."""
    error = client.expect(f"<{kind} type='error' id='{ident}'/>")
    assert condition(error) == wanted, xml.canonical(error)
    return error


def errors(client):
    """The ids and conditions of those that have come since the last call."""
    client.ping()
    found = [e for e in client.inbox if e.get("type") == "error"]
    client.inbox = [e for e in client.inbox if e.get("type") != "error"]
    return [(e.get("id"), condition(e)) for e in found]


def pending(server):
    with server.database(read_only=True) as db:
        return db.execute("SELECT count(*) FROM message WHERE pending_out <> 0").fetchone()[0]


def until_confirmed(*servers):
    for server in servers:
        until("all are confirmed", lambda server=server: pending(server) == 0)


def stored(server):
    """The bodies of the messages that it has, in order."""
    with server.database(read_only=True) as db:
        rows = db.execute("SELECT stanza FROM message ORDER BY id").fetchall()
    return [found[1] for row in rows if (found := re.search(r" id='m(\w+)'", row[0]))]


def acknowledged(client):
    """How many stanzas of it are acknowledged."""
    client.request_ack()
    client.pump(0.05)
    return client.acked


def links(server, direction=None, domain=EVIL):
    return [row for row in server.rows("s2s", "list", domain)
            if direction in (None, row["direction"])]


def metric(server, name, label=""):
    return sum(row["value"] for row in server.rows("metrics")
               if row["name"] == f"muster_{name}" and label in row.get("label", ""))


def answered(peer, kind, origin=EVIL):
    """What a key of that domain is found to be."""
    return peer.expect(f"<db:result xmlns:db='{DIALBACK}' from='{peer.local}' to='{origin}' "
                       f"type='{kind}'/>")


def sm(peer, request):
    """The answer to a request of stream management: its element."""
    peer.raw(request)
    return peer.wait("an answer", lambda: peer._take(lambda e: e.tag.startswith(f"{{{xml.SM}}}")))


def resume_of(old, h=0):
    return f"<resume xmlns='{xml.SM}' previd='{old.sm_id}' h='{h}'/>"


def broken(node, peer):
    """Its connection is gone, and the server knows."""
    before = len(links(node, "in", peer.jid))
    peer.cut()
    until("the end", lambda: len(links(node, "in", peer.jid)) < before)


STANZA = re.compile(r"</(?:message|iq|presence)>|<(?:message|iq|presence)\b[^>]*/>")  # its end


class Reader:
    """Reads what comes on a stream to a server that the test plays. confirms: by XEP-0198, if it is
    asked, up to POISON; handled: on the session before. breaks: it resets the connection at
    POISON."""

    def __init__(self, peer, text="", confirms=False, breaks=False, handled=0):
        self.peer, self.text, self.confirms, self.ended = peer, text, confirms, False
        self.breaks, self.handled, self.asked = breaks, handled, ""
        self.answered, self.lock = 0, threading.Lock()  # a TLS socket is for one at a time
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            self._answer()
            while not (self.breaks and POISON in self.text) and (data := self._read()):
                self.text += data.decode(errors="replace")
                self._answer()
            if self.breaks:
                Wire._reset(self.peer)
        except OSError:
            pass
        self.ended = True

    def _read(self):
        if not self.peer.pending():
            select.select([self.peer], [], [])
        with self.lock:
            return self.peer.recv(65536)

    def say(self, text):
        with self.lock:
            self.peer.sendall(text.encode())

    def cut(self):
        with self.lock:
            self.peer.shutdown(socket.SHUT_RDWR)

    def _answer(self):
        asked = self.text.count(f"<r xmlns='{xml.SM}'/>")
        if self.confirms and asked > self.answered:
            self.answered = asked
            self.confirm()

    def confirm(self, on=False):
        self.confirms = self.confirms or on
        count = self.handled + len(STANZA.findall(self.text.partition(POISON)[0]))
        self.say(f"<a xmlns='{xml.SM}' h='{count}'/>")

    def bodies(self):
        return re.findall(r"<body>(\w+)</body>.*?</message>", self.text)

    def until(self, *bodies):
        """These have come, and no others."""
        until("messages", lambda: self.bodies() == list(map(str, bodies)))

    def wait(self, pattern):
        return until(pattern, lambda: re.search(pattern, self.text, re.S))

    def pong(self, other=None, kind="result", name=None, sender=EVIL, to=ONE):
        """Answers the last ping, on this stream or another one."""
        ping = self.wait(".*(<iq [^>]*)><ping")[1]
        name = name or re.search(" id='([^']*)'", ping)[1]
        text = f"<iq type='{kind}' id='{name}' from='{sender}' to='{to}'/>"
        other.raw(text) if other else self.say(text)


def authenticated(listener, both=False, features=SM):
    """The next stream to it, with these features: its socket."""
    peer = listener.secure(features=EXTERNAL + (OFFER if both else ""))
    listener.read_until(peer, "(?s).*<auth.*</auth>")
    peer.sendall(f"<success xmlns='{xml.SASL}'/>".encode())
    listener.header(peer, "third", features)
    return peer


def plain(listener, **more):
    """The same, read, without XEP-0198."""
    return Reader(authenticated(listener, features="", **more))


def taken(listener, answer=ENABLED, both=False, **more):
    """The same with XEP-0198: <enable/> or <resume/> gets that answer. <resume/> fails if that is
    for <enable/>, which follows."""
    peer = authenticated(listener, both)
    asked = listener.read_until(peer, "<(?:enable|resume) [^>]*/>")
    request = asked[0]
    if "<resume" in request and not answer.startswith("<resumed"):
        peer.sendall(FAILED.encode())
        asked = listener.read_until(peer, "<enable [^>]*/>")
    peer.sendall(answer.encode())
    reader = Reader(peer, asked.string[asked.end():], **more)
    reader.asked = request
    return reader


def resumed(h):
    return f"<resumed xmlns='{xml.SM}' previd='session' h='{h}'/>"
