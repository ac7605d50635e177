"""A stanza with an address that is none is refused alone (RFC 6120 §8.3.3.8): what comes behind it
on the same stream arrives. On each edge, for `from` and `to`."""
import re

import pytest

from harness import bosh, federation, websocket, xml
from harness.component import Component

HERE, THERE, GATE, SECRET = "one.test", "other.test", "gate.example", "a rather long secret"
HEART = "\u2764\ufe0f"  # no resource has the second character (RFC 8264 §9.11)
KINDS = {"message": ("message type='chat'", True), "talk": ("message type='groupchat'", True),
         "presence": ("presence", True), "request": ("iq type='get'", True),
         "result": ("iq type='result'", False), "error": ("iq type='error'", False),
         "bounce": ("message type='error'", False)}
PRIVILEGE, DELEGATION, FORWARD = ("urn:xmpp:privilege:2", "urn:xmpp:delegation:2",
                                  "urn:xmpp:forward:0")
NOTHING_BACK = ("s2s_in", "s2s_bidi", "s2s_out")


class Stream:
    """What an edge is sent by a good sender, and all that has come back until the answer to a
    request."""

    def __init__(self, send, sender, back):
        self.send, self.sender, self.back = send, sender, back


def of_client(client, sender=None, send=None):
    def back(mark):
        client.expect(f"<iq id='{mark}'/>")
        return [xml.canonical(e) for e in client.log]
    return Stream(send or (lambda *texts: client.raw("".join(texts))), sender or str(client), back)


def of_socket(send, listener, accept):
    """Answers come on a stream that our server opens; or has opened."""
    came = []

    def back(mark):
        if not came:
            came.extend([accept(), ""])
        came[1] += listener.read_until(came[0], f"id='{mark}'[^>]*>").string
        return re.findall("(?s)<(?:iq|message|presence) .*?</(?:iq|message|presence)>", came[1])
    return Stream(lambda *texts: send("".join(texts)), f"bob@{THERE}/r", back)


@pytest.fixture
def node(make_server, tmp_path):
    authority = federation.Authority(tmp_path)
    server = make_server("alice", "bob", domains=[HERE], s2s=True, component=True,
                         settings={**federation.settings(), "c2s.tls-required": "off"},
                         tls={**authority.issue("here", HERE), "trust": str(authority.file)},
                         why="WebSocket and BOSH without TLS: every byte is the test's own")
    server.authority = authority
    server.ctl("component", "add", GATE, "--secret", SECRET)
    return server


def framed(kind, node):
    client = kind(("127.0.0.1", node.http_port), HERE, "bob")
    node.clients.append(client)
    client.open()
    return client.login()


def tcp(node, _):
    return of_client(node.client("bob"))


def over_websocket(node, _):
    client = framed(websocket.WebSocket, node)
    return of_client(client, send=lambda *texts: [client.raw(text) for text in texts])


def over_bosh(node, _):
    client = framed(bosh.Bosh, node)

    def send(*texts):
        client.request("".join(re.sub(r"^<\w+", rf"\g<0> xmlns='{xml.CLIENT}'", t) for t in texts))
    return of_client(client, send=send)


def component(node, _):
    return of_client(Component(node, GATE, SECRET), f"bob@{GATE}/r")


def s2s_in(node, listener):
    """Answers go on a stream of ours."""
    peer = federation.Peer(node, THERE, HERE, node.authority.issue("peer", THERE)).join()
    return of_socket(peer.raw, listener, listener.join)


def s2s_bidi(node, _):
    peer = federation.Peer(node, THERE, HERE, node.authority.issue("peer", THERE)).secure()
    peer.raw("<bidi xmlns='urn:xmpp:bidi'/>")
    assert peer.external() is None
    return of_client(peer.header().features_come(), f"bob@{THERE}/r")


def s2s_out(node, listener):
    """They come on a stream that our server has opened."""
    node.client("bob").send(f"<message to='bob@{THERE}'><body>open</body></message>")
    peer = listener.secure(features=federation.EXTERNAL
                           + "<bidi xmlns='urn:xmpp:features:bidi'/>")
    listener.read_until(peer, "<auth.*</auth>")
    peer.sendall(f"<success xmlns='{xml.SASL}'/>".encode())
    listener.header(peer, "third", "")
    listener.read_until(peer, "open</body>")
    return of_socket(lambda text: peer.sendall(text.encode()), listener, lambda: peer)


@pytest.fixture
def listener(node):
    other = federation.Listener(THERE, node.authority.issue("there", THERE))
    federation.route(node, THERE, other.port)
    yield other
    other.close()


def malformed(domain):
    """Addresses that are none; of the last one not even the domain can be read."""
    return f"bob@{domain}/Bo {HEART}", f"\u2603@{domain}", f"@{domain}/r", "@", "", HEART


@pytest.mark.parametrize("attribute", ["from", "to"])
@pytest.mark.parametrize("edge", [tcp, over_websocket, over_bosh, component, s2s_in, s2s_bidi,
                                  s2s_out])
def test_an_address_that_is_none_costs_its_stanza_alone(node, listener, edge, attribute):
    alice, stream = node.client("alice", "a"), edge(node, listener)
    domain = stream.sender.partition("@")[2].partition("/")[0] if attribute == "from" else HERE
    wrong = malformed(domain)
    for name, (start, answered) in KINDS.items():
        for which, address in enumerate(wrong):
            ident = f"{name}{which}"
            named = {"from": stream.sender, "to": str(alice), attribute: address}
            start_tag = start + "".join(f" {k}='{v}'" for k, v in named.items())
            stream.send(
                f"<{start_tag} id='bad-{ident}'><x xmlns='urn:x'/></{start.split()[0]}>",
                f"<message from='{stream.sender}' to='{alice}' type='chat'><body>{ident}</body>"
                "</message>",
                f"<iq type='get' from='{stream.sender}' to='{HERE}' id='mark-{ident}'>"
                "<ping xmlns='urn:xmpp:ping'/></iq>")
            alice.expect_next(f"<message type='chat'><body>{ident}</body></message>")
            errors = [text for text in stream.back(f"mark-{ident}") if f"bad-{ident}'" in text
                      or f'bad-{ident}"' in text]
            nowhere = edge.__name__ in NOTHING_BACK and which > 2
            assert len(errors) == (answered and not nowhere), (ident, errors)
            assert all("jid-malformed" in error for error in errors), errors


@pytest.mark.parametrize("sender", [f"bob@other.{GATE}/r", f"bob@other.{GATE}/{HEART}",
                                    f"alice@{HERE}/{HEART}"])
def test_a_component_does_not_speak_for_another_domain(node, sender):
    """Whatever the rest of the address is (XEP-0114)."""
    gate = Component(node, GATE, SECRET)
    gate.send(f"<message from='{sender}' to='alice@{HERE}'><body>no</body></message>")
    gate.expect_stream_error("invalid-from")


def test_a_room_does_not_lose_an_occupant_by_the_name_of_another(node):
    """The answer is for the domain: an error to the room would tell it that its occupant is gone
    (XEP-0045 §18.1)."""
    gate = Component(node, GATE, SECRET)
    alice = node.client("alice", "a")
    gate.send(f"<message from='room@{GATE}/{HEART}' to='{alice}' type='groupchat' id='m'>"
              "<body>hi</body></message>")
    error = gate.expect_error("jid-malformed", "modify", "<message type='error' id='m'/>")
    assert (error.get("from"), error.get("to")) == (str(alice), GATE)
    metric = {row["name"]: row["value"] for row in node.rows("metrics")}
    assert metric["muster_component_misaddressed"] == 1
    assert f"room@{GATE}/{HEART}" in node.log()


# --- stanzas inside stanzas ---


def privileged_message(gate, inner):
    gate.send(f"<message from='{GATE}' to='{HERE}' id='out'><privilege xmlns='{PRIVILEGE}'>"
              f"<forwarded xmlns='{FORWARD}'><message xmlns='jabber:client' {inner} type='chat'>"
              "<body>hi</body></message></forwarded></privilege></message>")


def privileged_request(gate, inner):
    gate.send(f"<iq type='get' id='out' from='{GATE}' to='bob@{HERE}'><privileged_iq "
              f"xmlns='{PRIVILEGE}'><iq xmlns='jabber:client' type='get' id='in' {inner}>"
              "<query xmlns='urn:y'/></iq></privileged_iq></iq>")


@pytest.mark.parametrize("attribute", ["from", "to"])
@pytest.mark.parametrize("say", [privileged_message, privileged_request])
def test_what_is_said_for_a_user_has_addresses(node, say, attribute):
    node.ctl("set", f"component.privileges@{HERE}", f"{GATE} message=outgoing iq-get=urn:y")
    gate, alice = Component(node, GATE, SECRET), node.client("alice", "a")
    kind = "message" if say is privileged_message else "iq"
    for address in malformed(HERE):
        named = {"from": f"bob@{HERE}", "to": f"alice@{HERE}", attribute: address}
        say(gate, " ".join(f"{k}='{v}'" for k, v in named.items()))
        gate.expect_error("jid-malformed", "modify", f"<{kind} type='error' id='out'/>")
    privileged_message(gate, f"from='bob@{HERE}' to='alice@{HERE}'")
    alice.expect_next(f"<message from='bob@{HERE}'><body>hi</body></message>")


@pytest.mark.parametrize("attribute", ["from", "to"])
def test_an_answer_for_the_server_has_addresses(node, attribute):
    node.ctl("set", f"component.delegations@{HERE}", f"urn:x={GATE}")
    gate, alice = Component(node, GATE, SECRET), node.client("alice", "a")
    for address in (*malformed(HERE), None):
        alice.send("<iq type='get' id='q'><query xmlns='urn:x'/></iq>")
        outer = gate.expect(f"<iq type='set'><delegation xmlns='{DELEGATION}'/></iq>")
        named = {"from": alice.bare, "to": str(alice)}
        if address is not None:
            named[attribute] = address
        text = " ".join(f"{k}='{v}'" for k, v in named.items())
        gate.send(f"<iq type='result' id='{outer.get('id')}' from='{GATE}' to='{HERE}'>"
                  f"<delegation xmlns='{DELEGATION}'><forwarded xmlns='{FORWARD}'><iq "
                  f"xmlns='jabber:client' type='result' id='q' {text}/></forwarded></delegation>"
                  "</iq>")
        if address is None:
            alice.expect_next("<iq type='result' id='q'/>")
        else:
            alice.expect_error("service-unavailable", template="<iq type='error' id='q'/>")


def test_each_of_many_recipients_has_an_address(node):
    """XEP-0033 §9: nobody gets it, and the next one is sent."""
    alice, bob = node.client("alice", "a"), node.client("bob", "b")
    for address in (*malformed(HERE), bob.bare):
        bob.send(f"<message to='{HERE}' id='m'><addresses "
                 f"xmlns='http://jabber.org/protocol/address'><address type='to' "
                 f"jid='alice@{HERE}'/><address type='cc' jid='{address}'/>"
                 "</addresses><body>many</body></message>")
        if address == bob.bare:
            alice.expect_next("<message><body>many</body></message>")
        else:
            condition = "jid-malformed" if address else "bad-request"
            bob.expect_error(condition, template="<message type='error' id='m'/>")
