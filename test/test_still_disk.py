"""The disk of a server stands still for longer than a write may take, and then works again: no
message is delivered and also returned to its sender, and none comes twice."""
import pytest

from muster import federation, slow_disk
from muster.client import until
from muster.muc import Room
from test_faults import alarms
from test_s2s_lost import Wire, until_confirmed

ONE, OTHER = "one.test", "other.test"
CHAT = "<message to='{}' type='chat' id='{}'><body>{}</body></message>"
pytestmark = pytest.mark.sqlite


def until_late(server):
    until("a write is late", lambda: "store.slow" in alarms(server))


def ids_of(client, like):
    """The ids that it has got, without errors."""
    client.ping()
    return [e.get("id") for e in client.inbox
            if e.tag.endswith("}message") and e.get("type") != "error"
            and e.get("id").startswith(like)]


def test_messages_of_clients_wait(make_server, disk):
    """For somebody who is there, somebody who is not, and a room."""
    server = make_server("alice", "bob", "carol", disk=disk)
    alice, bob = server.client("alice"), server.client("bob")
    room = Room("hall")
    room.create(bob, "bob")
    room.enter(alice, "alice")
    alice.enable_sm()
    for name in ("bob", "carol"):  # whose account is read
        alice.send(CHAT.format(f"{name}@localhost", f"{name[0]}-", "x"))
    alice.wait_acked(2)
    disk.turn(sync_ms=slow_disk.STILL)
    for n in range(5):
        alice.send(CHAT.format("bob@localhost", f"b{n}", n))
        alice.send(CHAT.format("carol@localhost", f"c{n}", n))
        alice.send(f"<message to='{room.jid}' type='groupchat' id='r{n}'><body>{n}</body>"
                   "</message>")
    until_late(server)
    alice.expect_nothing("<message type='error'/>")
    alice.request_ack()
    alice.ping()
    assert alice.acked == 2  # none that is not stored
    disk.turn(sync_ms=0)
    alice.wait_acked(17)
    carol = server.client("carol")
    assert ids_of(carol, "c") == ["c-", *(f"c{n}" for n in range(5))]
    assert ids_of(bob, "b") == ["b-", *(f"b{n}" for n in range(5))]
    assert ids_of(bob, "r") == [f"r{n}" for n in range(5)]
    alice.expect_nothing("<message type='error'/>")


@pytest.fixture
def pair(make_server, tmp_path, disk):
    """A function that starts two servers, one of them on that disk, and what is between."""
    authority = federation.Authority(tmp_path)
    wires = []

    def start(still=OTHER, **more):
        servers = [make_server(user, domains=[domain], s2s=True,
                               disk=disk if domain == still else None,
                               tls={**authority.issue(domain, domain,
                                                      f"conference.{domain}"),
                                    "trust": str(authority.file)},
                               settings=federation.settings(bidi="off", **more))
                   for user, domain in (("alice", ONE), ("bob", OTHER))]
        wires.append(Wire(servers[1].s2s_port))
        federation.route(servers[0], OTHER, wires[0].port)
        federation.route(servers[0], f"conference.{OTHER}", wires[0].port)
        federation.route(servers[1], ONE, servers[0].s2s_port)
        return *servers, wires[0]
    yield start
    for wire in wires:
        wire.close()


def stored(server):
    with server.database(read_only=True) as db:
        return [xml_id for (xml_id,) in db.execute(
            "SELECT substr(stanza, instr(stanza, \"id='m\") + 4, 2) FROM message ORDER BY id")]


@pytest.mark.parametrize("breaks", [False, True], ids=["", "breaks"])
def test_messages_of_another_server_wait(pair, disk, breaks):
    """Also if their connection breaks meanwhile: it is not resumed before they are stored."""
    one, other, wire = pair()
    alice, bob = one.client("alice"), other.client("bob")
    room = Room("hall", OTHER)
    room.create(bob, "bob")
    room.enter(alice, "alice")
    alice.send(CHAT.format(f"bob@{OTHER}", "before", "x"))
    bob.expect("<message id='before'/>")
    until_confirmed(one)
    disk.turn(sync_ms=slow_disk.STILL)
    for n in range(5):
        alice.send(CHAT.format(f"bob@{OTHER}", f"m{n}", n))
        alice.send(f"<message to='{room.jid}' type='groupchat' id='r{n}'><body>{n}</body>"
                   "</message>")
    for n in range(5):
        bob.expect(f"<message type='chat' id='m{n}'/>")
    if breaks:
        wire.say("c")
        one.wait_log("resume the stream later")
    until_late(other)
    alice.expect_nothing("<message type='error'/>")
    disk.turn(sync_ms=0)
    until_confirmed(one)
    assert [n for n in stored(other) if n.startswith("m")] == [f"m{n}" for n in range(5)]
    assert ids_of(bob, "m") == [] and ids_of(bob, "r") == [f"r{n}" for n in range(5)]
    alice.expect_nothing("<message type='error'/>")


def test_messages_to_another_server_wait(pair, disk):
    """They go out at once, and are acknowledged when they are stored: after a crash there would be
    nothing to send again."""
    one, other, _ = pair(still=ONE)
    alice, bob = one.client("alice"), other.client("bob")
    alice.enable_sm()
    alice.send(CHAT.format(f"bob@{OTHER}", "before", "x"))
    bob.expect("<message id='before'/>")
    alice.wait_acked(1)
    until_confirmed(one)
    disk.turn(sync_ms=slow_disk.STILL)
    for n in range(5):
        alice.send(CHAT.format(f"bob@{OTHER}", f"m{n}", n))
    for n in range(5):
        bob.expect(f"<message type='chat' id='m{n}'/>")
    until_late(one)
    alice.request_ack()
    alice.ping()
    assert alice.acked == 1
    disk.turn(sync_ms=0)
    alice.wait_acked(6)
    until_confirmed(one)
    assert ids_of(bob, "m") == []
    alice.expect_nothing("<message type='error'/>")
