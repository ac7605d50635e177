"""Stanzas at the limits of a client, and too large ones: they arrive at users of another server, or
go back to who has sent them. Nobody else on the stream between the two servers notices."""
import contextlib
import re
import time

import pytest

from harness import across, federation, pubsub, xml
from harness.across import ONE, OTHER
from harness.client import until
from harness.component import Component
from harness.muc import Room

from federation.test_s2s_lost import (POISON, POLICY, Reader, authority, listener, node, read_join,
                           start)

assert authority and listener and node and start  # fixtures

MAM = "urn:xmpp:mam:2"
SECRET = "a secret of tests"


def numbered(text, count):
    return " ".join(text.format(n) for n in range(count))


def declared(count):
    """An element inside others, which declare so many prefixes together."""
    text, end = "", ""
    for first in range(0, count, 60):
        prefixes = "".join(f" xmlns:p{n}='urn:{n}'" for n in range(first, min(first + 60, count)))
        text, end = f"{text}<e{prefixes}>", f"</e>{end}"
    return text + "<e p0:a='1'/>" + end


# (attributes of the message, what is in it): as much as c2s allows
MOST = {
    "attributes": (numbered("a{0}='1'", 60), ""),
    "prefixed attributes": (numbered("xmlns:a{0}='urn:{0}' a{0}:b='1'", 30), ""),
    "attributes of a child": ("", f"<x xmlns='urn:x' {numbered('''a{0}='1' ''', 63)}/>"),
    "declarations": ("", declared(128)),
    "depth": ("", "<a xmlns='urn:a'>" + 62 * "<a>" + 62 * "</a>" + "</a>"),
    "children": ("", 55 * "<a xmlns='urn:a'/>"),
    "bytes": ("", f"<x xmlns='urn:x'>{(262144 - 300) * '.'}</x>"),
}


@pytest.fixture
def servers(make_server, tmp_path):
    return across.start(make_server, tmp_path)


@pytest.fixture
def users(servers):
    one, other = servers
    return one.client("alice", "a"), other.client("bob", "b")


def lost(*servers):
    return [line for s in servers for line in s.log().splitlines() if "event=s2s.lost" in line]


def message(kind, to, what):
    attributes, inner = MOST[what]
    return (f"<message to='{to}' type='{kind}' id='most' {attributes}><body>x</body>{inner}"
            "</message>")


@pytest.mark.parametrize("what", MOST)
def test_as_much_as_a_client_may_send_arrives(servers, users, what):
    alice, bob = users
    alice.raw(message("chat", bob, what))
    came = bob.expect(f"<message from='{alice}' id='most'><body>x</body></message>")
    if what == "attributes":
        assert sum(name[0] == "a" for name in came.attrib) == 60
    alice.ping()
    across.mark(alice, bob)
    assert not lost(*servers)


@pytest.mark.parametrize("what", [w for w in MOST if w != "children"])
def test_a_room_hands_it_on_and_its_history_and_archive_do(servers, users, what):
    alice, bob = users
    dave = servers[1].client("dave", "d")
    room = Room("cave", ONE)
    room.create(alice, "owner", persistentroom=True, enablearchiving=True)
    room.enter(bob, "guest")
    alice.raw(message("groupchat", room.jid, what))
    bob.expect("<message type='groupchat' id='most'><body>x</body></message>")
    assert "x" in room.enter(dave, "late").bodies
    answer = bob.iq("set", f"<query xmlns='{MAM}'/>", to=room.jid)
    assert answer.get("type") == "result"
    found = [e for e in bob.log if any(r.tag == f"{{{MAM}}}result" for r in e)]
    assert any("x" in "".join(e.itertext()) for e in found)
    across.mark(alice, bob)
    assert not lost(*servers)


def test_an_item_with_inherited_prefixes_is_notified_and_fetched(servers, users):
    alice, bob = users
    prefixes = [numbered("xmlns:p{0}='urn:{0}'", 60), numbered("xmlns:q{0}='urn:q:{0}'", 60)]
    payload = f"<a xmlns='urn:a' {numbered('p{0}:a=' + repr('1'), 60)}/>"
    bob.send(f"<presence to='{alice.bare}'/>")
    alice.raw(f"<iq type='set' id='p'><pubsub xmlns='{pubsub.NS}' {prefixes[0]}>"
              f"<publish node='urn:x:node' {prefixes[1]}><item id='i'>{payload}</item></publish>"
              f"<publish-options>{pubsub.form('publish-options', access_model='open')}"
              "</publish-options></pubsub></iq>")
    alice.expect("<iq type='result' id='p'/>")
    bob.result("set", pubsub.subscribe("urn:x:node", bob.bare), to=alice.bare)
    bob.expect("<message><event xmlns='http://jabber.org/protocol/pubsub#event'/></message>")
    answer = bob.result("get", pubsub.get_items("urn:x:node"), to=alice.bare)
    assert pubsub.item_ids(answer) == ["i"]
    across.mark(alice, bob)
    assert not lost(*servers)


def test_items_that_are_too_much_for_one_answer_come_in_pages(servers, users):
    alice, bob = users
    for n in range(6):
        alice.result("set", pubsub.publish("urn:x:node", pubsub.entry(100000 * "."), f"i{n}",
                                           access_model="open", max_items=6))
    answer = bob.result("get", pubsub.get_items("urn:x:node"), to=alice.bare)
    assert 0 < len(pubsub.item_ids(answer)) < 6
    ids = [f"i{n}" for n in range(6)]
    assert pubsub.error_of(bob, "get", pubsub.get_items("urn:x:node", *ids), to=alice.bare)[0] == \
        "policy-violation"
    one = bob.result("get", pubsub.get_items("urn:x:node", "i3"), to=alice.bare)
    assert pubsub.item_ids(one) == ["i3"]
    assert len(pubsub.item_ids(alice.result("get", pubsub.get_items("urn:x:node")))) == 6
    across.mark(alice, bob)
    assert not lost(*servers)


def test_a_component_sends_back_what_has_grown(make_server):
    node = make_server("alice", component=True)
    node.ctl("component", "add", "gate.test", "--secret", SECRET)
    gate, alice = Component(node, "gate.test", SECRET), node.client("alice", "a")
    grown = numbered("grown{0}='1'", 10)
    for what in MOST:
        alice.raw(message("chat", "x@gate.test", what))
        gate.expect("<message id='most'/>")
        back = f"<message to='{alice}' from='x@gate.test' id='{what}' xml:lang='de' "
        attributes, inner = MOST[what]
        gate.raw(f"{back} {attributes} {grown}><body>x</body>{inner}"
                 "<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/></message>")
        alice.expect(f"<message id='{what}'/>")


# --- a stanza that makes the other server end the stream ---


def test_bad_stanzas_hold_up_the_others_for_moments(node, listener):
    """Two go back to their sender. Nothing says so before: the stream ends each time."""
    alice = node.client("alice")
    begin = time.monotonic()
    for n in range(1, 6):
        bad = POISON if n in (2, 3) else ""
        alice.raw(f"<message to='bob@{OTHER}' type='chat' id='m{n}'><body>text {n}</body>{bad}"
                  "</message>")
    taken, streams = set(), 0
    while not {1, 4, 5} <= taken:
        reader, streams = read_join(listener), streams + 1
        assert streams < 12
        until("the rest or the poison", lambda r=reader, t=taken: POISON in r.text or
              {1, 4, 5} <= t | set(r.numbers()))
        if POISON in reader.text:
            reader.say(POLICY)
            until("its end", lambda r=reader: r.ended)
        whole = reader.text.partition(POISON)[0].split("</message>")[:-1]
        taken |= {int(re.search(r"<body>text (\d)", text)[1]) for text in whole}
    errors = [alice.expect("<message type='error'/>") for _ in range(2)]
    assert [e.get("id") for e in errors] == ["m2", "m3"]
    assert time.monotonic() - begin < 5


def test_a_server_that_ends_all_streams_is_not_flooded_with_them(node, listener):
    alice = node.client("alice")
    for n in range(10):
        alice.raw(f"<message to='bob@{OTHER}' type='chat' id='m{n}'><body>text {n}</body>{POISON}"
                  "</message>")
    begin, streams = time.monotonic(), 0
    with contextlib.suppress(TimeoutError):
        listener.sock.settimeout(2)
        while streams < 30 and time.monotonic() - begin < 15:
            reader, streams = read_join(listener), streams + 1
            until("the poison", lambda r=reader: POISON in r.text)
            reader.say(POLICY)
            until("its end", lambda r=reader: r.ended)
    assert 12 <= streams < 20, streams


# --- a stanza that the other server has said not to take (XEP-0478) ---


LIMITS = "urn:xmpp:stream-limits:0"


def test_limits_are_among_the_features(node, authority):
    def offered(client):
        limits = client.features.find(f"{{{LIMITS}}}limits")
        return [int(limits.findtext(f"{{{LIMITS}}}{e}")) for e in ("max-bytes", "idle-seconds")]
    assert offered(node.client("alice")) == [262144, 180]
    peer = federation.Peer(node, OTHER, ONE, cert=authority.issue("peer", OTHER))
    assert offered(peer.secure()) == [524288, 600]
    assert peer.external() is None
    assert offered(peer.header().features_come()) == [524288, 600]


@pytest.mark.parametrize("first", ["alice", "bob"])
@pytest.mark.parametrize("more", ["", "<no-store xmlns='urn:xmpp:hints'/>"],
                         ids=["stored", "not stored"])
def test_a_stanza_beyond_the_limit_of_the_other_server_goes_back_at_once(servers, users, first,
                                                                        more):
    """Also on the stream that the other server has made."""
    alice, bob = users
    servers[1].ctl("set", "s2s.stanza-bytes", "20kB")
    for client, peer in ((alice, bob), (bob, alice))[::1 if first == "alice" else -1]:
        across.mark(client, peer)
    for n in range(12):
        alice.raw(f"<message to='{bob}' type='chat' id='big{n}'><body>{60000 * 'x'}</body>{more}"
                  "</message>")
    for n in range(12):
        error = alice.expect(f"<message from='{bob}' id='big{n}' type='error'/>")
        assert xml.condition(error) == "policy-violation"
    across.mark(alice, bob, "behind")
    assert not lost(*servers)


def test_occupants_stay_where_the_room_has_said_too_much_for_their_server(servers, users):
    alice, bob = users
    dave = servers[1].client("dave", "d")
    servers[1].ctl("set", "s2s.stanza-bytes", "20kB")
    room = Room("cave", ONE)
    room.create(alice, "owner", persistentroom=True)
    room.enter(bob, "guest")
    room.enter(dave, "other")
    room.say(alice, 60000 * "x")
    room.say(alice, "behind")
    for client in bob, dave:
        room.expect_body(client, "owner", "behind")
        room.say(client, "still here")
        assert alice.expect(f"<message from='{room.jid}/{'guest' if client is bob else 'other'}' "
                            "type='groupchat'><body>still here</body></message>") is not None
    assert not lost(*servers)


def test_what_waited_is_measured_when_the_server_says_its_limit(node, listener):
    alice = node.client("alice")
    for n, text in enumerate(("text 0", 30000 * "x", "text 2")):
        alice.raw(f"<message to='bob@{OTHER}' type='chat' id='m{n}'><body>{text}</body></message>")
    limits = f"<limits xmlns='{LIMITS}'><max-bytes>20000</max-bytes></limits>"
    reader = Reader(listener.join(limits))
    until("the others", lambda: reader.numbers() == [0, 2])
    assert alice.expect("<message type='error'/>").get("id") == "m1"
    assert "xxx" not in reader.text
