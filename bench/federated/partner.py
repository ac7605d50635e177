#!/usr/bin/python3
"""partner.py PORT CERTIFICATE THEIR-PORT THEIR-DOMAIN: the server of every domain that somebody asks for.

One process with one loop takes streams of other servers on PORT, with STARTTLS and EXTERNAL, and believes what they
say. An iq that arrives for a domain is answered over a stream of that domain's own to THEIR-PORT, where it shows the
CERTIFICATE (path without .pem and .key). So each domain that is asked has one stream in each direction."""
import re
import select
import socket
import ssl
import sys

PORT, CERTIFICATE, THEIR_PORT, THEIRS = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
HEADER = ("<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' "
          "from='{}' to='{}'{}>")
SASL, TLS = "urn:ietf:params:xml:ns:xmpp-sasl", "urn:ietf:params:xml:ns:xmpp-tls"
STEP = re.compile(rb"<stream:stream[^>]*>|<starttls[^>]*>|<proceed[^>]*>|<auth.*?</auth>|<success[^>]*>"
                  rb"|<stream:features.*?</stream:features>|<stream:features/>|<iq[^>]*type=['\"]get.*?</iq>"
                  rb"|</stream:stream>|<stream:error.*?</stream:error>", re.S)


def context(side):
    made = ssl.SSLContext(side)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.load_cert_chain(f"{CERTIFICATE}.pem", f"{CERTIFICATE}.key")
    return made


SERVER, CLIENT = context(ssl.PROTOCOL_TLS_SERVER), context(ssl.PROTOCOL_TLS_CLIENT)
poll = select.epoll()
streams = {}
ours = {}  # domain: its stream to the others


def attribute(text, name):
    found = re.search(rf"\b{name}=['\"]([^'\"]*)".encode(), text)
    return found[1].decode() if found else ""


class Stream:
    def __init__(self, sock, domain=None):
        sock.setblocking(False)
        self.sock, self.domain, self.data, self.out = sock, domain, b"", b""
        self.initiates, self.shaking, self.secure, self.proved = domain is not None, False, False, False
        self.waiting = b""  # until it is proved
        streams[sock.fileno()] = self
        poll.register(sock, select.EPOLLIN | (select.EPOLLOUT if domain else 0))
        if domain:
            self.say(HEADER.format(domain, THEIRS, ""))

    def say(self, text):
        self.out += text.encode()
        self.flush()

    def flush(self):
        try:
            while self.out and not self.shaking:
                self.out = self.out[self.sock.send(self.out):]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError:
            return self.close()
        self.watch()

    def watch(self):
        try:
            poll.modify(self.sock, select.EPOLLIN | (select.EPOLLOUT if self.out and not self.shaking else 0))
        except (OSError, ValueError):
            pass

    def close(self):
        streams.pop(self.sock.fileno(), None)
        if ours.get(self.domain) is self:
            del ours[self.domain]
        try:
            poll.unregister(self.sock)
        except (OSError, ValueError):
            pass
        self.sock.close()

    def shake(self):
        """Begins TLS, or goes on."""
        if not self.shaking:
            self.shaking = True
            poll.unregister(self.sock)
            made = CLIENT if self.initiates else SERVER
            self.sock = made.wrap_socket(self.sock, server_side=not self.initiates, do_handshake_on_connect=False,
                                         server_hostname=THEIRS if self.initiates else None)
            poll.register(self.sock, select.EPOLLIN)
            streams[self.sock.fileno()] = self
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return poll.modify(self.sock, select.EPOLLIN)
        except ssl.SSLWantWriteError:
            return poll.modify(self.sock, select.EPOLLOUT)
        except OSError:
            return self.close()
        self.shaking, self.secure, self.data = False, True, b""
        if self.initiates:
            self.say(HEADER.format(self.domain, THEIRS, ""))
        return self.watch()

    def event(self):
        if self.shaking:
            self.shake()
            if self.shaking or self.sock.fileno() < 0:
                return
        try:
            while True:
                data = self.sock.recv(65536)
                if not data:
                    return self.close()
                self.data += data
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError:
            return self.close()
        while (found := STEP.search(self.data)) and self.sock.fileno() >= 0 and not self.shaking:
            self.data = self.data[found.end():]
            self.step(found[0])
        if self.out and self.sock.fileno() >= 0:
            self.flush()
        return None

    def step(self, text):
        if text.startswith(b"<iq"):
            answer(text)
        elif text.startswith((b"</stream", b"<stream:error")):
            self.close()
        elif self.initiates:
            self.go_on(text)
        elif text.startswith(b"<stream:stream"):
            inner = "" if self.proved else (f"<mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"
                                            if self.secure else f"<starttls xmlns='{TLS}'><required/></starttls>")
            self.say(HEADER.format(attribute(text, "to"), attribute(text, "from"), f" id='s{id(self)}'")
                     + f"<stream:features>{inner}</stream:features>")
        elif text.startswith(b"<starttls"):
            self.say(f"<proceed xmlns='{TLS}'/>")
            self.shake()
        elif text.startswith(b"<auth"):
            self.proved = True
            self.say(f"<success xmlns='{SASL}'/>")

    def go_on(self, text):
        """The next step of a stream of ours."""
        if text.startswith(b"<proceed"):
            self.shake()
        elif text.startswith(b"<success"):
            self.proved = True
            self.say(HEADER.format(self.domain, THEIRS, ""))
        elif text.startswith(b"<stream:features"):
            if self.proved:
                self.out += self.waiting
                self.waiting = b""
            elif self.secure:
                self.say(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>")
            else:
                self.say(f"<starttls xmlns='{TLS}'/>")


def answer(text):
    domain = attribute(text, "to")
    if domain not in ours:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", THEIR_PORT))
        ours[domain] = Stream(sock, domain)
    stream = ours[domain]
    stanza = (f"<iq type='result' id='{attribute(text, 'id')}' from='{domain}' to='{attribute(text, 'from')}'/>"
              ).encode()
    if stream.proved and not stream.waiting:
        stream.out += stanza
        stream.flush()
    else:
        stream.waiting += stanza


listener = socket.create_server(("127.0.0.1", PORT), backlog=4096)
listener.setblocking(False)
poll.register(listener, select.EPOLLIN)
while True:
    for fd, event in poll.poll():
        if fd == listener.fileno():
            try:
                while True:
                    Stream(listener.accept()[0])
            except BlockingIOError:
                continue
        stream = streams.get(fd)
        if stream is None:
            continue
        if event & select.EPOLLOUT and stream.out and not stream.shaking:
            stream.flush()
        if stream.sock.fileno() >= 0 and event & ~select.EPOLLOUT or stream.shaking:
            stream.event()
