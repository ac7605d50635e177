"""A client made for tests: blocking, raw, and honest about every byte.

    alice = server.client("alice")            # connected, authenticated, bound, available
    alice.send(f"<message to='{bob}'><body>hi</body></message>")
    bob.expect(f"<message from='{alice}'><body>hi</body></message>")

Nothing waits longer than `timeout`; nothing sleeps.
"""
import contextlib
import hashlib
import os
import select
import socket
import ssl
import time
import uuid

from harness import sasl, xml

TIMEOUT = float(os.environ.get("MUSTER_TIMEOUT", "10"))  # seconds, for every wait


def insecure_context(alpn=None, **limits):
    """A TLS context that takes any certificate; `limits` sets attributes (maximum_version ...)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # a default one reads all certificates first
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    for name, value in limits.items():
        setattr(context, name, value)
    return context


def readable(sock, timeout):
    """Whether there is input within the time; with any number of descriptors."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(max(0, timeout) * 1000))


def receive(sock, size):
    """What has arrived, b"" at the end; None if it is nothing for the application, such as a ticket
    of TLS 1.3."""
    waits = sock.gettimeout()
    sock.settimeout(0)
    try:
        return sock.recv(size)
    except (BlockingIOError, ssl.SSLWantReadError):
        return None
    finally:
        sock.settimeout(waits)


class Gone(AssertionError):
    """The server closed the connection while something was awaited."""


class Client:
    """One connection. `str(client)` is its full JID, `client.bare` its bare JID."""

    def __init__(self, address, domain="localhost", name=None, password="secret", source=None):
        self.address = address
        self.domain = domain
        self.name = name
        self.password = password
        self.bare = f"{name}@{domain}" if name else None
        self.jid = None
        self.features = None
        self.timeout = TIMEOUT
        self.sock = socket.create_connection(address, TIMEOUT,
                                             source_address=(source, 0) if source else None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = xml.Reader()
        self.inbox = []  # elements that arrived and were not expected yet, in order
        self.log = []  # every element that arrived
        self.eof = False
        self.sm_on = False
        self.sm_id = None
        self.h = 0  # stanzas handled since <enabled/>
        self.acked = 0  # last h of the server
        self.auto_ack = True  # answer <r/> while reading

    def __str__(self):
        return self.jid or self.bare or "nobody"

    # --- bytes ---

    def raw(self, data):
        """Sends bytes or text as they are."""
        self.sock.sendall(data.encode() if isinstance(data, str) else data)

    def fileno(self):
        return self.sock.fileno()

    def pump(self, timeout):
        """Reads what is there, waiting at most `timeout` seconds. False: nothing came."""
        pending = getattr(self.sock, "pending", lambda: 0)()
        if not pending and not readable(self.sock, timeout):
            return False
        try:
            data = receive(self.sock, 65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if data is None:
            return False
        if not data:
            self.eof = True
            return True
        for element in self.reader.feed(data):
            self._arrived(element)
        return True

    def _arrived(self, element):
        self.log.append(element)
        ns, _, name = element.tag[1:].partition("}")
        if ns == xml.SM and name == "a":
            self.acked = int(element.get("h"))
        elif ns == xml.SM and name == "r":
            with contextlib.suppress(OSError):  # a dead connection is told by pump()
                if self.auto_ack:
                    self.ack()
        elif ns == xml.SM and name in ("enabled", "resumed"):
            self.sm_on = True  # counting starts here, whatever the same read brings
            self.inbox.append(element)
        elif ns == xml.SASL2 and name == "success":
            enabled = element.find(f".//{{{xml.SM}}}enabled")
            self.sm_on = enabled is not None or element.find(f"{{{xml.SM}}}resumed") is not None
            self.inbox.append(element)
        else:
            if ns == xml.CLIENT and self.sm_on:
                self.h += 1
            self.inbox.append(element)

    def wait(self, what, found):
        """Reads until found() is true or not None, and returns its value."""
        deadline = time.monotonic() + self.timeout
        while True:
            value = found()
            if value is not None and value is not False:
                return value
            if self.eof:
                raise Gone(self._story(f"closed while waiting for {what}"))
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(self._story(f"no {what} within {self.timeout} s"))
            self.pump(left)

    def _story(self, headline):
        tail = "\n".join("  " + xml.canonical(e)[:600] for e in self.log[-12:])
        left = "\n".join("  " + xml.canonical(e)[:600] for e in self.inbox[-12:])
        return f"{self}: {headline}\nreceived last:\n{tail}\nstill unexpected:\n{left}"

    # --- stream ---

    def open(self, to=None, header=None):
        """Sends a stream header and returns the features of the answer."""
        self.reader = xml.Reader()
        self.raw(header or (f"<?xml version='1.0'?><stream:stream to='{to or self.domain}' "
                            f"version='1.0' xml:lang='en' xmlns='{xml.CLIENT}' "
                            f"xmlns:stream='{xml.STREAM}'>"))
        self.features = self.expect("<stream:features/>")
        return self.features

    def offers(self, tag, ns):
        """Whether the last features contain the element."""
        return self.features.find(f"{{{ns}}}{tag}") is not None

    @property
    def mechanisms(self):
        return [m.text for m in self.features.iter(f"{{{xml.SASL}}}mechanism")]

    @property
    def bindings(self):
        return [c.get("type") for c in self.features.iter(f"{{{xml.SASL_CB}}}channel-binding")]

    def wrap(self, context=None, name=None):
        """The TLS handshake on the connection as it is."""
        self.sock = (context or insecure_context()).wrap_socket(
            self.sock, server_hostname=name or self.domain)

    def starttls(self, context=None):
        self.raw(f"<starttls xmlns='{xml.TLS}'/>")
        self.expect(f"<proceed xmlns='{xml.TLS}'/>")
        self.wrap(context)
        return self.open()

    def end_point(self):
        """tls-server-end-point of the connection (RFC 5929 §4.1)."""
        from cryptography import x509
        der = self.sock.getpeercert(binary_form=True)
        algorithm = x509.load_der_x509_certificate(der).signature_hash_algorithm.name
        return hashlib.new("sha256" if algorithm in ("md5", "sha1") else algorithm, der).digest()

    # --- SASL ---

    def sasl_start(self, mechanism, data=None):
        text = "" if data is None else sasl.encode(data)
        self.raw(f"<auth xmlns='{xml.SASL}' mechanism='{mechanism}'>{text}</auth>")

    def sasl_respond(self, data):
        self.raw(f"<response xmlns='{xml.SASL}'>{sasl.encode(data)}</response>")

    def sasl_answer(self):
        """The next SASL element: ("challenge" | "success", data) or ("failure", condition)."""
        element = self.wait("SASL element", lambda: self._take(
            lambda e: e.tag.startswith(f"{{{xml.SASL}}}")))
        kind = element.tag.partition("}")[2]
        return kind, xml.condition(element) if kind == "failure" else sasl.decode(element.text)

    def authenticate(self, mechanism="PLAIN", name=None, password=None, **options):
        """One whole exchange. Returns None for success, else the condition of the failure."""
        name, password = name or self.name, password or self.password
        if mechanism == "PLAIN":
            self.sasl_start("PLAIN", sasl.plain(name, password, options.get("authzid", "")))
            kind, value = self.sasl_answer()
            return None if kind == "success" else value
        scram = sasl.Scram(mechanism, name, password, **options)
        self.sasl_start(mechanism, scram.first())
        kind, value = self.sasl_answer()
        if kind == "failure":
            return value
        self.sasl_respond(scram.final(value))
        kind, value = self.sasl_answer()
        if kind == "failure":
            return value
        scram.verify(value)
        return None

    # --- SASL2 (XEP-0388) ---

    def sasl2_start(self, mechanism, data=None, inner="", agent=None):
        """Sends <authenticate/>; `agent` is the id of the user agent, `inner` all the rest."""
        text = "" if data is None else f"<initial-response>{sasl.encode(data)}</initial-response>"
        if agent:
            text += (f"<user-agent id='{agent}'><software>tests</software>"
                     "<device>this one</device></user-agent>")
        self.raw(f"<authenticate xmlns='{xml.SASL2}' mechanism='{mechanism}'>{text}{inner}"
                 "</authenticate>")

    def sasl2_say(self, element, data):
        self.raw(f"<{element} xmlns='{xml.SASL2}'>{sasl.encode(data)}</{element}>")

    def sasl2_next(self):
        """The next SASL2 element."""
        return self.wait("SASL2 element", lambda: self._take(
            lambda e: e.tag.startswith(f"{{{xml.SASL2}}}")))

    def sasl2(self, mechanism="PLAIN", inner="", agent=None, token=None, **options):
        """One exchange up to <success/>, <continue/> or <failure/>, which is returned."""
        if mechanism == "PLAIN":
            machine = None
            first = sasl.plain(self.name, self.password, options.get("authzid", ""))
        elif mechanism.startswith("HT-"):
            machine = sasl.Token(self.name, token, options.get("binding", b""))
            first = machine.first()
        else:
            machine = sasl.Scram(mechanism, self.name, self.password, **options)
            first = machine.first()
        self.sasl2_start(mechanism, first, inner, agent)
        answer = self.sasl2_next()
        if answer.tag == f"{{{xml.SASL2}}}challenge":
            self.sasl2_say("response", machine.final(sasl.decode(answer.text)))
            answer = self.sasl2_next()
        data = answer.find(f"{{{xml.SASL2}}}additional-data")
        if answer.tag != f"{{{xml.SASL2}}}failure" and machine is not None:
            machine.verify(sasl.decode(data.text))
        if answer.tag == f"{{{xml.SASL2}}}success":
            self.sasl2_done(answer)
        return answer

    def sasl2_done(self, success):
        """Takes over what <success/> says, and the features behind it."""
        self.jid = success.findtext(f"{{{xml.SASL2}}}authorization-identifier")
        self.bare = self.jid.partition("/")[0]
        for element in success.iter(f"{{{xml.SM}}}enabled"):
            self.sm_id = element.get("id")
        self.features = self.expect("<stream:features/>")
        return success

    # --- session ---

    def bind(self, resource=None):
        inner = f"<resource>{resource}</resource>" if resource else ""
        reply = self.iq("set", f"<bind xmlns='{xml.BIND}'>{inner}</bind>")
        assert reply.get("type") == "result", xml.canonical(reply)
        self.jid = reply.find(f".//{{{xml.BIND}}}jid").text
        self.bare = self.jid.partition("/")[0]
        return self.jid

    def login(self, mechanism="PLAIN", resource=None):
        """From an open, secured stream to a bound resource."""
        failure = self.authenticate(mechanism)
        assert failure is None, f"{self.bare}: {failure}"
        self.open()
        self.bind(resource)
        return self

    def available(self, priority=None, inner=""):
        """Sends initial presence and waits for its own reflection (RFC 6121 §4.2.2)."""
        if priority is not None:
            inner += f"<priority>{priority}</priority>"
        self.send(f"<presence>{inner}</presence>")
        self.expect(f"<presence from='{self.jid}' type='-'/>")
        return self

    def close(self):
        """Ends the stream in order (RFC 6120 §4.4) and the connection."""
        try:
            self.raw("</stream:stream>")
            self.wait("end of stream", lambda: self.reader.ended or self.eof)
        except (OSError, ValueError, AssertionError):
            pass
        self.sock.close()

    def cut(self):
        """The connection is reset without closing the stream, as when the network fails."""
        linger_0s = b"\x01\0\0\0\0\0\0\0"
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0s)
        self.sock.close()

    def expect_closed(self):
        """The server has ended the stream and the connection."""
        self.wait("end of the connection", lambda: self.eof)

    def expect_stream_error(self, *conditions):
        """The stream ends with one of these errors (RFC 6120 §4.9.3). Returns the error."""
        error = self.expect("<stream:error/>")
        found = xml.condition(error)
        assert found in conditions, f"stream error {found}, not {' or '.join(conditions)}"
        self.expect_closed()
        return error

    # --- stanzas ---

    def send(self, text):
        self.raw(text)

    def _take(self, predicate):
        for i, element in enumerate(self.inbox):
            if predicate(element):
                return self.inbox.pop(i)
        return None

    def expect(self, template):
        """The first unexpected element that matches (see harness.xml), however many came before."""
        wanted = xml.parse(template) if isinstance(template, str) else None
        return self.wait(template, lambda: self._take(
            template if wanted is None else lambda e: xml.matches(e, wanted)))

    def next(self):
        """The first unexpected element, whatever it is."""
        return self.wait("an element", lambda: self._take(lambda e: True))

    def expect_next(self, template):
        """The first unexpected element, which must match."""
        element = self.wait(template, lambda: self._take(lambda e: True))
        assert xml.matches(element, template), self._story(
            f"got {xml.canonical(element)}\nnot {template}")
        return element

    def expect_error(self, condition, kind=None, template="<iq type='error'/>"):
        """A stanza error of this condition (and type)."""
        element = self.expect(template)
        error = element.find(f"{{{xml.CLIENT}}}error")
        assert error is not None, xml.canonical(element)
        assert xml.condition(error) == condition, xml.canonical(element)
        assert kind is None or error.get("type") == kind, xml.canonical(element)
        return element

    def iq(self, kind, inner, to=None, **attributes):
        """Sends a request and returns its answer, result or error."""
        ident = uuid.uuid4().hex[:8]
        address = f" to='{to}'" if to else ""
        more = "".join(f" {k}='{v}'" for k, v in attributes.items())
        self.send(f"<iq type='{kind}' id='{ident}'{address}{more}>{inner}</iq>")
        answer = self.wait(f"answer to {inner}", lambda: self._take(
            lambda e: e.tag == f"{{{xml.CLIENT}}}iq" and e.get("id") == ident
            and e.get("type") in ("result", "error")))
        check_forms(answer)
        return answer

    def result(self, kind, inner, to=None, **attributes):
        """The same, but the answer must be a result. Returns its first child, or None."""
        reply = self.iq(kind, inner, to, **attributes)
        assert reply.get("type") == "result", xml.canonical(reply)
        return reply[0] if len(reply) else None

    def error(self, kind, inner, to=None, **attributes):
        """The same, but the answer must be an error. Returns (condition, type)."""
        reply = self.iq(kind, inner, to, **attributes)
        assert reply.get("type") == "error", xml.canonical(reply)
        return xml.condition(reply), reply.find(f"{{{xml.CLIENT}}}error").get("type")

    def ping(self):
        """A round trip: everything that the server sent to this session before has arrived."""
        self.result("get", "<ping xmlns='urn:xmpp:ping'/>", to=self.domain)

    def expect_nothing(self, template=None, after=None):
        """Nothing (that matches) has come, nor is on its way from `after`.

        Between two accounts there is one FIFO, so a marker sent by `after` overtakes nothing."""
        if after is not None and after is not self:
            mark = uuid.uuid4().hex
            after.send(f"<message to='{self.jid}' type='headline' id='{mark}'><body/></message>")
            self.expect(f"<message id='{mark}'/>")
        self.ping()
        found = [e for e in self.inbox if template is None or xml.matches(e, template)]
        assert not found, self._story(f"unexpected: {xml.canonical(found[0])}")

    def drain(self):
        """Forgets everything that has arrived up to now."""
        self.ping()
        taken, self.inbox = self.inbox, []
        return taken

    # --- stream management (XEP-0198) ---

    def enable_sm(self, resume="true", more=""):
        self.send(f"<enable xmlns='{xml.SM}' resume='{resume}' {more}/>")
        enabled = self.expect(f"<enabled xmlns='{xml.SM}'/>")
        self.sm_id = enabled.get("id")
        return enabled

    def ack(self, h=None):
        self.raw(f"<a xmlns='{xml.SM}' h='{self.h if h is None else h}'/>")

    def request_ack(self):
        self.raw(f"<r xmlns='{xml.SM}'/>")

    def wait_acked(self, h):
        """Until the server has acknowledged h stanzas."""
        self.request_ack()
        self.wait(f"<a h='{h}'/>", lambda: self.acked >= h)

    def take_over(self, old):
        """Resumes the session of another, dead connection, up to <resumed/> or <failed/>."""
        failure = self.authenticate()
        assert failure is None, failure
        self.open()
        self.h = old.h
        self.raw(f"<resume xmlns='{xml.SM}' previd='{old.sm_id}' h='{old.h}'/>")
        answer = self.wait("<resumed/> or <failed/>", lambda: self._take(
            lambda e: e.tag in (f"{{{xml.SM}}}resumed", f"{{{xml.SM}}}failed")))
        if answer.tag.endswith("resumed"):
            self.jid, self.bare, self.sm_id = old.jid, old.bare, old.sm_id
        return answer


def check_forms(answer):
    """XEP-0004 §3.2: a name is of one field, and several values need a type that has several."""
    for form in answer.iter("{jabber:x:data}x"):
        fields = form.findall("{jabber:x:data}field")
        names = [f.get("var") for f in fields if f.get("var") is not None]
        assert len(names) == len(set(names)), xml.canonical(form)
        for field in fields:
            several = len(field.findall("{jabber:x:data}value")) > 1
            assert not several or (field.get("type") or "").endswith("-multi"), xml.canonical(field)


def follow(one, other, to=None, known=None):
    """The one sees the other from now on: the other accepts if the server asks. The one has asked
    for its roster, so that it hears of answers. `to` and `known`: addresses that they have for each
    other, if these are not their own."""
    request = f"<presence from='{known or one.bare}' type='subscribe'/>"
    granted = f"<presence from='{to or other.bare}' type='subscribed'/>"

    def answered():
        for client in one, other:
            client.pump(0.01)
        return any(xml.matches(e, request) for e in other.inbox) or any(
            xml.matches(e, granted) for e in one.inbox)

    one.send(f"<presence to='{to or other.bare}' type='subscribe'/>")
    until(f"request of {one.bare}", answered)
    if any(xml.matches(e, request) for e in other.inbox):
        other.expect(request)
        other.send(f"<presence to='{known or one.bare}' type='subscribed'/>")
    one.expect(granted)


def bodies(elements):
    """The message bodies among these elements, in order."""
    found = (e.find(f"{{{xml.CLIENT}}}body") for e in elements)
    return [body.text for body in found if body is not None]



def until(what, true, timeout=TIMEOUT):
    """Asks again until it is true, and returns that; for what nobody announces."""
    deadline = time.monotonic() + timeout
    while not (value := true()):
        assert time.monotonic() < deadline, f"no {what} within {timeout} s"
        select.select([], [], [], 0.02)
    return value
