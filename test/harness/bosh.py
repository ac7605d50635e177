"""A raw BOSH client (XEP-0124, XEP-0206): every request is visible, and may be wrong, repeated or
lost. Requests are sent on connections of their own unless one is idle."""
import random
import select
import socket
import time
import xml.etree.ElementTree as ET

from harness import xml
from harness.client import TIMEOUT, Client, insecure_context, receive

HTTPBIND = "http://jabber.org/protocol/httpbind"
XBOSH = "urn:xmpp:xbosh"


class Request:
    """One POST under way. `body` is the answer's element, `status` its code, once it is there."""

    def __init__(self, rid, sock, text):
        self.rid, self.sock, self.text = rid, sock, text
        self.buffer = bytearray()
        self.body = self.status = self.headers = self.line = None

    def read(self):
        """Takes what is there; True when the answer is complete."""
        try:
            data = receive(self.sock, 262144)
        except ConnectionError:
            data = b""
        if data is None:
            return False
        if not data:
            raise ConnectionError(f"closed while rid {self.rid} was open: {self.buffer[:200]}")
        self.buffer += data
        if self.headers is None:
            head, found, self.buffer = self.buffer.partition(b"\r\n\r\n")
            if not found:
                self.buffer = head
                return False
            self.line, *lines = head.decode().split("\r\n")
            self.headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
        rest = self.buffer
        if len(rest) < int(self.headers["content-length"]):
            return False
        self.status = int(self.line.split()[1])
        if "xml" in self.headers.get("content-type", "") or rest.startswith(b"<body"):
            self.body = ET.fromstring(bytes(rest))
        return True


class _Sockets:
    def __init__(self, client):
        self.close = client.cut


class Bosh(Client):
    """A client whose elements travel in bodies."""

    def __init__(self, address, domain="localhost", name=None, password="secret", tls=False,
                 path="/http-bind", **attributes):
        self.address, self.domain, self.name, self.password = address, domain, name, password
        self.bare = f"{name}@{domain}" if name else None
        self.tls, self.path = tls, path
        self.attributes = {"wait": "10", "hold": "1", "ver": "1.6", "xmpp:version": "1.0",
                           **attributes}
        self.jid = self.features = self.sid = None
        self.timeout = TIMEOUT
        self.inbox, self.log = [], []
        self.eof = False  # the session is terminated
        self.sm_on, self.sm_id, self.h, self.acked, self.auto_ack = False, None, 0, 0, True
        self.rid = random.randrange(1 << 40)
        self.pending, self.idle = [], []
        self.created = self.last = None  # answers
        self.condition = None

    @property
    def sock(self):
        """For those who close the socket of any client."""
        return _Sockets(self)

    # --- requests ---

    def connect(self):
        sock = socket.create_connection(self.address, TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            sock = insecure_context(alpn=["http/1.1"]).wrap_socket(
                sock, server_hostname=self.domain)
        return sock

    def http(self, text):
        """The bytes of a POST with exactly that body."""
        data = text.encode() if isinstance(text, str) else text
        return (f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Type: text/xml; charset=utf-8\r\nContent-Length: {len(data)}\r\n\r\n"
                .encode() + data)

    def post(self, text, rid=None):
        """Sends a POST with exactly that body."""
        sock = self.idle.pop() if self.idle else self.connect()
        sock.sendall(self.http(text))
        request = Request(rid, sock, text)
        self.pending.append(request)
        return request

    def body(self, inner="", rid=None, **attributes):
        """The text of a <body/>; without a given rid the next one is used."""
        if rid is None:
            self.rid += 1
            rid = self.rid
        attributes = {"rid": str(rid), **({"sid": self.sid} if self.sid else {}), **attributes}
        text = "".join(f" {k}='{v}'" for k, v in attributes.items() if v is not None)
        return rid, (f"<body{text} xmlns='{HTTPBIND}' xmlns:xmpp='{XBOSH}'>{inner}</body>")

    def request(self, inner="", rid=None, **attributes):
        rid, text = self.body(inner, rid, **attributes)
        return self.post(text, rid)

    def answer(self, request):
        """The answer to a request, however long others take."""
        self.wait(f"answer to rid {request.rid}", lambda: request.status is not None, poll=False)
        return request.body

    def _ask(self):
        """An empty request; of a polling session no sooner after the last than it may (§12)."""
        created = getattr(self, "created", None)
        if created is not None and "0" in (created.get("hold"), created.get("wait")):
            due = getattr(self, "asked", 0) + int(created.get("polling")) + 0.1
            select.select([], [], [], max(0, due - time.monotonic()))
            self.asked = time.monotonic()
        self.request()

    def pump(self, timeout):
        """Reads answers; with none under way an empty request asks for more."""
        if not self.pending:
            self._ask()
        found = self._readable(timeout)
        if found and len(found) < len(self.pending):
            found = self._readable(0)  # an earlier one may have come while a later one was seen
        for request in sorted(found, key=lambda r: r.rid or 0):
            if request.read():
                self.pending.remove(request)
                self.idle.append(request.sock)
                self._answered(request)
            elif request.buffer:
                break  # the stanzas of the later ones come after its own (§11)
        return bool(found)

    def _readable(self, timeout):
        """The requests of which something may be read."""
        poll = select.poll()
        for request in self.pending:
            poll.register(request.sock, select.POLLIN)
        found = {r for r in self.pending if getattr(r.sock, "pending", lambda: 0)()}
        ready = {fd for fd, _ in poll.poll(0 if found else max(0, timeout) * 1000)}
        return found | {r for r in self.pending if r.sock.fileno() in ready}

    def _answered(self, request):
        body = self.last = request.body
        if body is None:
            return
        for element in body:
            self._arrived(element)
        if body.get("type") == "terminate" and not self.eof:
            self.condition = body.get("condition")
            # the answer to another request that is under way says why (§17.1)
            self.eof = self.condition != "other-request" or not self.pending

    def wait(self, what, found, poll=True):
        if poll:
            return super().wait(what, found)
        deadline = time.monotonic() + self.timeout
        while not found():
            left = deadline - time.monotonic()
            assert left > 0 and self.pending, self._story(f"no {what}")
            self.pump(left)
        return True

    # --- stream ---

    def raw(self, data):
        text = data.decode() if isinstance(data, bytes) else data
        for name in ("iq", "message", "presence"):
            if text.startswith(f"<{name}") and text[len(name) + 1] in " />":
                text = f"<{name} xmlns='{xml.CLIENT}'{text[len(name) + 1:]}"
        self.request(text)

    def open(self, to=None, header=None):
        to = to or self.domain
        if self.sid is None:
            self.created = self.answer(self.request(to=to, **self.attributes))
            self.sid = self.created.get("sid")
        else:
            self.request(to=to, **{"xmpp:restart": "true"})
        self.features = self.expect("<stream:features/>")
        return self.features

    def close(self):
        try:
            if not self.eof:
                self.request("<presence xmlns='jabber:client' type='unavailable'/>",
                             type="terminate")
                self.wait("end", lambda: self.eof, poll=False)
        except (OSError, AssertionError):
            pass
        self.cut()

    def cut(self):
        """The network connection is lost."""
        for sock in [r.sock for r in self.pending] + self.idle:
            sock.close()
        self.pending, self.idle = [], []

    def expect_terminated(self, condition=None):
        self.wait("the end of the session", lambda: self.eof, poll=False)
        assert self.condition == condition, (self.condition, condition)

    def expect_stream_error(self, *conditions):
        self.wait("the end of the session", lambda: self.eof)
        assert self.condition == "remote-stream-error", self.condition
        error = self.last[-1]  # XEP-0206 §7: behind all stanzas
        assert error.tag == f"{{{xml.STREAM}}}error"
        assert xml.condition(error) in conditions, xml.canonical(error)
