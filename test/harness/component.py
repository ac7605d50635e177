"""An external component (XEP-0114) made for tests; a Client with another way to log in.

    push = Component(server, "push.example.test", "some secret")    # connected and joined
"""
import hashlib

from harness import nodes, xml
from harness.client import Client

NS = "jabber:component:accept"


class Component(Client):
    """One connection of a component. With secret None nothing is proven: see join(). Of two nodes,
    the domain chooses one if none is given."""

    def __init__(self, server, domain, secret=None, node=None):
        node = nodes.away(domain) if node is None else node
        super().__init__(("127.0.0.1", server.port_at(node, "component")), domain)
        self.jid = domain
        server.clients.append(self)
        if secret is not None:
            self.join(secret)

    def _arrived(self, element):
        """As a client would see it: one content namespace (XEP-0114 §3)."""
        for e in element.iter():
            e.tag = e.tag.replace(f"{{{NS}}}", f"{{{xml.CLIENT}}}")
        super()._arrived(element)

    def header(self, to=None, namespace=NS):
        """Sends the stream header and returns the stream id of the answer."""
        self.reader = xml.Reader()
        self.raw(f"<stream:stream xmlns='{namespace}' xmlns:stream='{xml.STREAM}' "
                 f"to='{to or self.domain}'>")
        self.wait("a stream header", lambda: self.reader.header is not None or None)
        return self.reader.header.get("id")

    def handshake(self, secret, stream_id):
        digest = hashlib.sha1((stream_id + secret).encode()).hexdigest()
        self.raw(f"<handshake>{digest}</handshake>")

    def join(self, secret):
        self.handshake(secret, self.header())
        self.expect("<handshake/>")

    def ping(self):
        self.send(f"<iq type='get' id='ping' from='{self.domain}' to='localhost'>"
                  "<ping xmlns='urn:xmpp:ping'/></iq>")
        self.expect("<iq id='ping'/>")
