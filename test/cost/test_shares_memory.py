"""Memory of the server: what one session, one account and all of them may hold of it, and that
those who hold too much are closed and nobody else notices (docs/architecture.md, "What a user can
consume")."""
import contextlib
import re

import pytest

from harness.bosh import Bosh
from harness.client import bodies, until
from harness.muc import X, Room
from harness.websocket import WebSocket

LARGE = 200_000
CLEAR = {"c2s.tls-required": "off", "c2s.byte-rate": "none"}
WHY = "many megabytes, and web clients of a few lines"


def metric(server, name):
    return next(row["value"] for row in server.rows("metrics") if row["name"] == name)


def held(server):
    return metric(server, "muster_stanza_bytes") + metric(server, "muster_io_output_bytes")


def flood(sender, to, count, size=LARGE, kind="headline"):
    """That many messages, all handled by the server when it returns."""
    for i in range(count):
        sender.send(f"<message to='{to}' type='{kind}' id='f{i}'><body>{'x' * size}</body>"
                    "</message>")
    sender.ping()


def chats(one, other):
    """They write to each other, ask and are answered: nothing is refused."""
    for a, b in ((one, other), (other, one)):
        a.send(f"<message to='{b.jid}' type='chat'><body>hello</body></message>")
        b.expect(f"<message from='{a.jid}' type='chat'><body>hello</body></message>")
        a.result("get", "<query xmlns='jabber:iq:roster'/>")
        a.expect_nothing("<message type='error'/>")
        a.available()


def shed(server):
    return re.findall(r"event=session.shed jid=(\S+) bytes=(\d+) state=(\S+) beyond=(\S+)",
                      server.log())


def sink(server, name="alice", resource="sink"):
    """Reads everything, acknowledges nothing."""
    client = server.login(name, resource)
    client.auto_ack = False
    client.enable_sm()
    return client.available()


@pytest.mark.parametrize("workers", [1, 3])
def test_who_acknowledges_nothing_is_closed_alone(make_server, workers):
    """node.memory of 64 MiB, and 80 MB to one client: everybody else goes on as before."""
    server = make_server("alice", "bob", "carol", "dave", workers=workers,
                         settings={**CLEAR, "node.memory": 64 << 20}, why=WHY)
    carol, dave = server.client("carol", "c"), server.client("dave", "d")
    alice, bob = sink(server), server.client("bob", "b")
    for _ in range(8):
        flood(bob, alice.bare, 50)
        chats(carol, dave)
        alice.pump(0)
    alice.expect_stream_error("policy-violation")
    assert [s[0] for s in shed(server)] == [alice.jid]
    assert metric(server, "muster_sessions_shed") == 1
    assert held(server) < 8 << 20


def test_a_queue_is_limited_in_bytes(make_server):
    server = make_server("alice", "bob", settings={**CLEAR, "sm.queue-bytes": 2 << 20}, why=WHY)
    alice, bob = sink(server), server.client("bob", "b")
    flood(bob, alice.bare, 9)
    assert metric(server, "muster_sessions") == 2
    flood(bob, alice.bare, 3)
    alice.expect_stream_error("policy-violation")
    until("all is free", lambda: held(server) < 1 << 20)


def test_messages_of_a_session_that_held_too_much_wait_in_the_mailbox(make_server):
    """Stored ones; they come again, each once, to the next session."""
    server = make_server("alice", "bob", settings={**CLEAR, "sm.queue-bytes": 1 << 20}, why=WHY)
    alice, bob = sink(server), server.client("bob", "b")
    for i in range(8):
        bob.send(f"<message to='{alice.bare}' type='chat' id='{i}'><body>{i} {'x' * LARGE}</body>"
                 "</message>")
    bob.ping()
    alice.expect_stream_error("policy-violation")
    again = server.client("alice", "again")
    again.wait("8 messages", lambda: len(bodies(again.inbox)) >= 8 or None)
    assert [b.split()[0] for b in bodies(again.inbox)] == [str(i) for i in range(8)]


def test_a_client_in_the_background_does_not_hold_more(make_server):
    """XEP-0352: what is kept for it counts in bytes, too, and is sent when it is too much."""
    server = make_server("alice", "bob", settings={**CLEAR, "sm.queue-bytes": 1 << 20,
                                                   "session.pause-buffer": 1000}, why=WHY)
    alice, bob = sink(server), server.client("bob", "b")
    alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    alice.ping()
    state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
    for _ in range(12):
        bob.send(f"<presence to='{alice.jid}'><status>{'x' * LARGE}</status></presence>"
                 f"<message to='{alice.jid}' type='chat'>{state}<x xmlns='urn:x'>{'x' * LARGE}</x>"
                 "</message>")
        bob.ping()
    alice.expect_stream_error("policy-violation")
    until("all is free", lambda: held(server) < 1 << 20)


def test_sessions_that_hibernate_hold_a_megabyte(make_server):
    server = make_server("alice", "bob", settings=CLEAR, why=WHY)
    bob = server.client("bob", "b")
    one = sink(server)
    one.cut()
    until("it hibernates", lambda: metric(server, "muster_sessions_hibernating") == 1)
    flood(bob, one.jid, 5, kind="chat")
    assert metric(server, "muster_sessions_hibernating") == 1
    flood(bob, one.jid, 1, kind="chat")
    until("it has ended", lambda: metric(server, "muster_sessions_hibernating") == 0)
    again = server.client("alice", "again")
    again.wait("6 messages", lambda: len(bodies(again.inbox)) >= 6 or None)


def test_all_sessions_of_an_account_hold_its_share(make_server):
    """32 that hibernate, each within its own limit; the share is 4 MiB."""
    server = make_server("alice", "bob", "carol", "dave",
                         settings={**CLEAR, "node.memory": 256 << 20}, why=WHY)
    bob, carol, dave = (server.client(n, "x") for n in ("bob", "carol", "dave"))
    for i in range(32):
        sink(server, resource=f"r{i}").cut()
    until("they hibernate", lambda: metric(server, "muster_sessions_hibernating") == 32)
    for i in range(32):
        flood(bob, f"alice@localhost/r{i}", 4)
    assert held(server) < 8 << 20
    assert {s[2:] for s in shed(server)} == {("hibernating", "node.memory-share")}
    chats(carol, dave)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("kind", ["tls", "websocket", "bosh"])
def test_clients_that_do_not_read_hold_the_share(make_server, kind, workers):
    """Output counts as well, whatever carries it, and wherever the account has its home."""
    server = make_server("alice", "bob", "carol", "dave", workers=workers, why=WHY, settings={
        **CLEAR, "c2s.migration": "off", "node.memory": 64 << 20, "c2s.output-max": 64 << 20,
        "sm.queue-bytes": 64 << 20})
    bob, carol, dave = (server.client(n, "x") for n in ("bob", "carol", "dave"))
    for i in range(8):
        if kind == "tls":
            client = server.connect("alice")
        else:
            made = {"websocket": WebSocket, "bosh": Bosh}[kind]
            client = made(("127.0.0.1", server.http_port), "localhost", "alice", tls=False)
            server.clients.append(client)
            client.open()
        client.login("PLAIN" if kind == "tls" else "SCRAM-SHA-256", f"r{i}")
        client.available()
    for _ in range(4):
        flood(bob, "alice@localhost", 30)
        chats(carol, dave)
    until("what it holds is free", lambda: held(server) < 16 << 20)
    assert {s[0].split("/")[0] for s in shed(server)} <= {"alice@localhost"}


@pytest.mark.parametrize("workers", [1, 4])
def test_output_counts_wherever_the_stream_is(make_server, workers):
    """Eight sessions of 400 KB, which nobody fetches, on any worker; the share is 1 MiB."""
    server = make_server("alice", "bob", workers=workers, why=WHY,
                         settings={**CLEAR, "node.memory": 64 << 20})
    bob = server.client("bob", "b")
    for i in range(8):
        client = Bosh(("127.0.0.1", server.http_port), "localhost", "alice", tls=False)
        server.clients.append(client)
        client.open()
        client.login("SCRAM-SHA-256", f"r{i}").available()
    flood(bob, "alice@localhost", 2)
    until("no more than the share is held", lambda: held(server) < 2 << 20)
    assert {s[3] for s in shed(server)} == {"node.memory-share"}


def test_above_the_budget_who_holds_most_goes(make_server):
    """Each within its share, together too much: the heaviest are closed, on every worker."""
    users = [f"u{i}" for i in range(24)]
    server = make_server("bob", "carol", "dave", *users, workers=3,
                         settings={**CLEAR, "node.memory": 16 << 20}, why=WHY)
    bob, carol, dave = (server.client(n, "x") for n in ("bob", "carol", "dave"))
    light = sink(server, "carol", "light")
    flood(bob, light.jid, 4, 1000)
    sinks = [sink(server, u) for u in users]
    for s in sinks:
        flood(bob, s.jid, 4)
    chats(carol, dave)
    assert held(server) < 20 << 20
    closed = shed(server)
    assert closed and {s[3] for s in closed} == {"node.memory"}
    assert {s[0].split("@")[0] for s in closed} <= set(users)
    light.ping()
    alarm = next(row for row in server.rows("alarm", "list") if row["name"] == "node.memory")
    assert "were closed" in alarm["text"]


@pytest.mark.parametrize("where", ["rooms", "addresses"])
def test_presence_that_is_kept_counts(make_server, where):
    """In rooms, which keep what they were sent, and of addresses that have long names. The share is
    1 MiB."""
    server = make_server("alice", "bob", "carol", "dave", settings={"node.memory": 64 << 20})
    bob, carol, dave = (server.client(n, "x") for n in ("bob", "carol", "dave"))
    rooms = [Room(f"r{i}") for i in range(12)]
    for room in rooms if where == "rooms" else ():
        room.create(bob, "bob")
    eves = [server.client("alice", f"r{i}") for i in range(3)]
    for eve in eves:
        with contextlib.suppress(OSError):
            for i in range(12 if where == "rooms" else 400):
                to = rooms[i].at("alice") if where == "rooms" else \
                    f"{'a' * 1000}@localhost/{i:0>1000}"
                inner = f"{X}<status>{'x' * 15000}</status>" if where == "rooms" else ""
                eve.send(f"<presence to='{to}'>{inner}</presence>")
    until("one is closed", lambda: shed(server))
    assert {s[0].split("/")[0] for s in shed(server)} == {"alice@localhost"}
    assert {s[3] for s in shed(server)} == {"node.memory-share"}
    chats(carol, dave)
    if where == "rooms":
        until("the rooms have let it go", lambda: held(server) < 3 << 20)


def test_strangers_do_not_get_a_client_closed(make_server):
    """They have a tenth of what may wait for it, messages, presence and requests alike; a contact
    has the rest."""
    server = make_server("alice", "bob", "carol", settings=CLEAR, why=WHY)
    bob, carol = server.client("bob", "b"), server.client("carol", "c")
    alice = sink(server)
    alice.result("set", "<query xmlns='jabber:iq:roster'><item jid='carol@localhost'/></query>")
    big = f"<x xmlns='urn:x'>{'x' * LARGE}</x>"
    for kind in ("headline", "chat"):
        flood(bob, alice.jid, 30, kind=kind)
        bob.expect_error("resource-constraint", "wait", "<message type='error'/>")
    bob.send(f"<presence to='{alice.jid}'>{big}</presence>")
    bob.expect_error("resource-constraint", "wait", "<presence type='error'/>")
    assert bob.error("get", big, to=alice.jid) == ("resource-constraint", "wait")
    flood(carol, alice.jid, 10, kind="chat")
    alice.ping()
    alice.wait("the contact's", lambda: len([
        b for b in bodies(alice.log) if len(b) == LARGE]) >= 10 or None)
    alice.ack()
    alice.auto_ack = True
    alice.ping()
    bob.drain()
    flood(bob, alice.jid, 1, kind="chat")
    bob.expect_nothing("<message type='error'/>")
