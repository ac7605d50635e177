"""A request to another server has one answer (RFC 6120 §8.2.3), also where the stream that it went
on breaks after the answer has come on another one."""
import pytest

from harness import federation, xml
from harness.client import until
from harness.component import Component
from federation.test_s2s_lost import ENABLED, ONE, OTHER, Reader, authority, listener, sm_join

__all__ = ["authority", "listener"]
SECRET = 32 * "x"
GATEWAY = f"gw.{ONE}"


@pytest.fixture
def node(make_server, authority, listener):
    server = make_server("alice", domains=[ONE], s2s=True, component=True,
                         tls={**authority.issue(ONE, ONE, GATEWAY), "trust": str(authority.file)},
                         settings=federation.settings())
    server.ctl("component", "add", GATEWAY, "--secret", SECRET)
    federation.route(server, OTHER, listener.port)
    return server


class User:
    def __init__(self, node):
        self.client, self.domain = node.client("alice"), ONE
        self.jid = str(self.client)


class Gateway:
    def __init__(self, node):
        self.client, self.domain = Component(node, GATEWAY, SECRET), GATEWAY
        self.jid = f"user@{GATEWAY}/desk"


def asks(who, to, *idents):
    for ident in idents:
        who.client.send(f"<iq type='set' from='{who.jid}' to='{to}' id='{ident}'>"
                        "<query xmlns='urn:x'/></iq>")


def asked(node, authority, listener, who, to, answer):
    """Two have the same id, and the first of all and one of these are answered."""
    asks(who, to, "q1", "q2", "q3", "q2")
    peer, enable = sm_join(listener, answer)
    reader = Reader(peer, enable.string[enable.end():])
    until("all", lambda: reader.text.count("</iq>") == 4)
    other = federation.Peer(node, OTHER, who.domain, authority.issue("again", OTHER)).join()
    for ident in "q1", "q2":
        other.raw(f"<iq type='result' from='{to}' to='{who.jid}' id='{ident}'/>")
        who.client.expect(f"<iq type='result' id='{ident}'/>")
    return reader


@pytest.mark.parametrize("to", [f"bob@{OTHER}/r", f"bob@{OTHER}", OTHER])
@pytest.mark.parametrize("kind", [User, Gateway])
def test_an_answered_request_is_not_sent_again(node, authority, listener, kind, to):
    """On a stream that does not resume the one before."""
    who = kind(node)
    asked(node, authority, listener, who, to, ENABLED).cut()
    peer, _ = sm_join(listener, f"<failed xmlns='{xml.SM}'/>")
    enable = listener.read_until(peer, "<enable [^>]*/>")
    peer.sendall(f"<enabled xmlns='{xml.SM}'/>".encode())
    reader = Reader(peer, enable.string[enable.end():], confirms=True)
    asks(who, to, "last")
    until("the last one", lambda: "'last'" in reader.text)
    assert "'q1'" not in reader.text
    assert reader.text.count("'q2'") == reader.text.count("'q3'") == 1


@pytest.mark.parametrize("kind", [User, Gateway])
def test_an_answered_request_has_no_error_too(node, authority, listener, kind):
    """The server is not reached any more."""
    node.ctl("set", "s2s.retry-for", "1s")
    who = kind(node)
    reader = asked(node, authority, listener, who, f"bob@{OTHER}/r", f"<enabled xmlns='{xml.SM}'/>")
    listener.leave()
    reader.cut()
    for ident in "q3", "q2":
        who.client.expect(f"<iq type='error' id='{ident}'/>")
    assert not [e for e in who.client.inbox if e.tag.endswith("}iq")]
