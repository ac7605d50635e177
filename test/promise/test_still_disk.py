"""The disk of a server stands still for longer than a write may take, and then works again: no
message is lost, or delivered and also returned to its sender. What other servers had not confirmed
when a connection broke may come twice."""
import functools
import re
import signal

import pytest

from harness import federation, slow_disk
from harness.client import until
from harness.links import until_confirmed
from harness.muc import Room
from harness.wire import Wire
from surface.test_ctl_remote import Remote, listening
from promise.test_faults import alarms

ONE, OTHER = "one.test", "other.test"
BOBS = ["bob", "bert", "bill", "ben", "boris", "bruno"]
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
    """A function that starts two servers, some of them on that disk, and what is between."""
    authority = federation.Authority(tmp_path)
    wires = []

    def start(*still, bidi="off", **more):
        servers = [make_server(*users, domains=[domain], s2s=True,
                               disk=disk if domain in still else None,
                               tls={**authority.issue(domain, domain,
                                                      f"conference.{domain}"),
                                    "trust": str(authority.file)},
                               settings=federation.settings(bidi=bidi, **more))
                   for users, domain in ((["alice"], ONE), (BOBS, OTHER))]
        wires.extend(Wire(server.s2s_port) for server in reversed(servers))
        federation.route(servers[0], OTHER, wires[0].port)
        federation.route(servers[0], f"conference.{OTHER}", wires[0].port)
        federation.route(servers[1], ONE, wires[1].port)
        return *servers, wires
    yield start
    for wire in wires:
        wire.close()


def stored(server, like="m"):
    """The ids of messages that begin with that letter, in order."""
    with server.database(read_only=True) as db:
        ids = [re.search(" id='([^']*)'", stanza)[1] for (stanza,) in db.execute(
            "SELECT stanza FROM message ORDER BY id")]
    return [one for one in ids if one.startswith(like)]


def test_a_command_that_is_late_says_that_it_may_still_happen(make_server, disk):
    """And it does, when the disk works again."""
    server = make_server("alice", disk=disk, s2s=True)
    server.ctl("set", "invite.enabled", "on")
    alice = server.client("alice")
    late = [("s2s-route", "add", "x.test", "127.0.0.1:9"), ("federation", "block", "a.test"),
            ("component", "add", "c.localhost"),
            ("user", "set", "alice@localhost", "--given-name", "Alice"),
            ("user", "invite", "--username", "dave")]
    disk.turn(sync_ms=slow_disk.STILL)
    alice.send(CHAT.format("alice@localhost", "x", "x"))
    until_late(server)
    running = [server.ctl_start(*command) for command in late]
    for command, process in zip(late, running):
        _, said = process.communicate(timeout=30)
        assert process.returncode != 0, command
        assert "it may still happen, so look" in said and "nothing" not in said, (command, said)
    disk.turn(sync_ms=0)
    until("the route", lambda: [r["pattern"] for r in server.rows("s2s-route", "list")] == [
        "x.test"])
    until("the ban", lambda: [r["domain"] for r in server.rows("federation", "list")] == [
        "a.test"])
    until("the component", lambda: server.rows("component", "list"))
    until("the name", lambda: server.rows(
        "user", "show", "alice@localhost")[0]["given_name"] == "Alice")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_server_that_ends_leaves_open_what_became_of_a_command(make_server, disk, tmp_path, how):
    """Over the socket and over the API: with the exit status of no answer."""
    server = listening(functools.partial(make_server, disk=disk))
    remote = Remote(server, server.admin_port, tmp_path)
    server.ctl("set", "backup.folder", server.folder)

    def queue():
        return next(row["value"] for row in server.rows("metrics")
                    if row["name"] == "muster_store_queue")
    until("all is stored", lambda: queue() == 0)
    disk.turn(sync_ms=slow_disk.STILL)
    near = server.ctl_start("set", "sm.ack-every", "7")
    until("it waits", queue)
    far = remote.start("backup", "create", server.folder / "data-backup")  # on that disk
    until("it waits", lambda: server.rows("job", "list", "--running"))
    if how == "stop":
        server.signal(signal.SIGTERM)
    else:
        server.kill()
    for process in near, far:
        out, said = process.communicate(timeout=30)
        if process is far and how == "stop":  # which answers, with all that it knows
            assert process.returncode == 1, said
            assert "the server stops before there is an answer; what was asked for may" in said
            continue
        assert (process.returncode, out) == (3, ""), said
        assert "the command may have been carried out or not, so look before" in said, said
        assert process is far or "the server has stopped before it answered" in said, said
    disk.turn(sync_ms=0)
    if how == "stop":
        server.wait_exit(30)


@pytest.mark.parametrize("breaks", [False, True], ids=["", "breaks"])
def test_messages_of_another_server_wait(pair, disk, breaks):
    """Also if their connection breaks meanwhile: then some may come twice."""
    one, other, wires = pair(OTHER)
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
        wires[0].say("c")
    until_late(other)
    alice.expect_nothing("<message type='error'/>")
    disk.turn(sync_ms=0)
    until_confirmed(one)
    wanted = [f"m{n}" for n in range(5)]
    assert set(stored(other)) == set(wanted) and (breaks or stored(other) == wanted)
    assert list(dict.fromkeys(ids_of(bob, "r"))) == [f"r{n}" for n in range(5)]
    alice.expect_nothing("<message type='error'/>")


def test_messages_to_another_server_wait(pair, disk):
    """They go out at once, and are acknowledged when they are stored: after a crash there would be
    nothing to send again."""
    one, other, _ = pair(ONE)
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


def begun(one, other, names=("bob",)):
    """Alice, and those who have written to her after she has to them: the first server has made
    the connection, or the first one of several."""
    alice, bobs = one.client("alice"), [other.client(name) for name in names]
    for bob in bobs:
        alice.send(CHAT.format(bob.bare, "warm", "x"))
        bob.expect("<message id='warm'/>")
        until_confirmed(one)
        bob.send(CHAT.format(alice.bare, "warm", "x"))
        alice.expect("<message id='warm'/>")
        until_confirmed(other)
    return alice, bobs


@pytest.mark.parametrize("how", ["reset", "end"])
def test_what_goes_back_on_a_connection_is_not_lost(pair, disk, how):
    """XEP-0288: it breaks while the disk of the server that has made it stands still."""
    one, other, wires = pair(ONE, bidi="on")
    alice, [bob] = begun(one, other)
    disk.turn(sync_ms=slow_disk.STILL)
    for n in range(300):
        bob.send(CHAT.format(alice.bare, f"b{n}", n))
    for n in range(250):
        alice.expect(f"<message type='chat' id='b{n}'/>")
    wires[0].say("c" if how == "reset" else "e")
    until_late(one)
    disk.turn(sync_ms=0)
    until_confirmed(other)
    assert list(dict.fromkeys(stored(one, "b"))) == [f"b{n}" for n in range(300)]


@pytest.mark.parametrize("still", [(ONE,), (OTHER,), (ONE, OTHER)], ids=["one", "other", "both"])
def test_messages_of_both_servers_are_not_lost(pair, disk, still):
    """All connections break while a disk stands still. They can be made again at once."""
    one, other, wires = pair(*still, bidi="on")
    alice, bobs = begun(one, other, BOBS)
    disk.turn(sync_ms=slow_disk.STILL)
    for n, bob in enumerate(bobs):
        alice.send(CHAT.format(bob.bare, f"m{n}", n))
        bob.send(CHAT.format(alice.bare, f"b{n}", n))
    for n, bob in enumerate(bobs):
        bob.expect(f"<message type='chat' id='m{n}'/>")
        alice.expect(f"<message type='chat' id='b{n}'/>")
    for wire in wires:
        wire.say("c")
    until_late(one if ONE in still else other)
    disk.turn(sync_ms=0)
    until_confirmed(one)
    until_confirmed(other)
    for like, server in ("m", other), ("b", one):
        assert set(stored(server, like)) == {f"{like}{n}" for n in range(len(BOBS))}
