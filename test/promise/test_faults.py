"""Faults: what an acknowledgement promises, and what a broken machine or client may cost.

MUSTER_KILL_ROUNDS (20), MUSTER_HALF_OPEN (500) and MUSTER_FD_LIMIT (200) choose the size; tests
marked slow take 10,000 half-open handshakes and 20,000 descriptors."""
import concurrent.futures
import contextlib
import os
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from harness import xml
from harness.client import TIMEOUT, Gone, until
from harness.muc import Room
from harness.server import refusal
from harness.slow_disk import STILL
from services.test_upload import http_do, slot

KILL_ROUNDS = int(os.environ.get("MUSTER_KILL_ROUNDS", "20"))
HALF_OPEN = int(os.environ.get("MUSTER_HALF_OPEN", "500"))
FD_LIMIT = int(os.environ.get("MUSTER_FD_LIMIT", "200"))


def chat(to, body, ident=None):
    origin = f"<origin-id xmlns='{xml.SID}' id='{ident}'/>" if ident else ""
    ident = f" id='{ident}'" if ident else ""
    return f"<message to='{to}' type='chat'{ident}><body>{body}</body>{origin}</message>"


def numbers(client):
    """The bodies that a client has received, in order, taken from its inbox."""
    found = [e.find(f"{{{xml.CLIENT}}}body") for e in client.inbox
             if e.tag == f"{{{xml.CLIENT}}}message"]
    client.inbox.clear()
    return [int(body.text) for body in found if body is not None]


def collect(client, last, seen):
    """Reads until the message `last` is there; all bodies in order of arrival."""
    def there():
        seen.extend(numbers(client))
        return last in seen
    client.wait(f"message {last}", there)
    return seen


# --- kill -9 under load (architecture §6) ---


def is_for_bob(number):
    """Few: reading costs the client time in which it could flood."""
    return number % 8 == 1


def receiver(number):
    return "bob@localhost" if is_for_bob(number) else "carol@localhost"


class Load:
    """alice floods bob, who is online, and carol, who is not, and watches h."""

    def __init__(self, server, start):
        self.server = server
        self.next = start
        self.sent = []  # numbers in order; h counts this list
        self.alice = server.client("alice", "a")
        self.alice.enable_sm()
        self.bob = server.client("bob", "b")
        self.bob.enable_sm()
        self.bob_has = []  # (number, when)

    def run_until_killed(self, seconds):
        """Floods until kill -9 strikes, at a moment that neither side knows. Returns the numbers
        that h covers, which is what the server has promised, and the time of the kill."""
        process, self.server.process = self.server.process, None
        killer = threading.Timer(seconds, process.kill)
        killer.start()
        while not self.alice.eof:
            try:
                self.flood()
            except OSError:
                break
            self.alice.pump(0.001)
            self.read_bob(0)
        process.wait(TIMEOUT)
        killed = time.monotonic()
        while not self.alice.eof:  # what the kernel still has of it
            self.alice.pump(TIMEOUT)
        while not self.bob.eof:
            self.read_bob(TIMEOUT)
        return self.sent[:self.alice.acked], killed

    def flood(self):
        for _ in range(20):
            if len(self.sent) - self.alice.acked >= 2000:
                break
            self.alice.send(chat(receiver(self.next), self.next, f"n{self.next}"))
            self.sent.append(self.next)
            self.next += 1
        self.alice.request_ack()

    def read_bob(self, timeout):
        self.bob.pump(timeout)
        now = time.monotonic()
        self.bob_has += [(number, now) for number in numbers(self.bob)]


def check_copies(arrived, before):
    """In order, nothing twice but what `before` allows to be repeated after the crash."""
    again = [number for number in arrived if number in before]
    assert arrived == sorted(set(arrived)), "out of order or twice"
    return again


@pytest.mark.release
def test_kill_under_load(make_server):
    """Twenty rounds. No acknowledged message is missing. Repeats follow architecture §6."""
    server = make_server("alice", "bob", "carol", settings={"mailbox.unsettled-max": "none"},
                         why="more waits than an account takes")
    rng = random.Random()
    promised_to_carol, number = [], 0
    for round_ in range(KILL_ROUNDS):
        load = Load(server, number)
        promised, killed = load.run_until_killed(rng.uniform(0.05, 0.5))
        number = load.next
        server.start()
        bob = server.client("bob", "b")
        marker = number
        number += 1
        server.login("alice", "m").send(chat("bob@localhost", marker))
        after = collect(bob, marker, [])
        had = dict(load.bob_has)
        again = check_copies(after, had)
        missing = [n for n in promised
                   if is_for_bob(n) and n not in had and n not in after]
        assert not missing, f"round {round_}: {len(missing)} acknowledged messages lost: {missing}"
        old = [n for n in again if had[n] < killed - 2.5]
        assert not old, f"round {round_}: repeated though settled long ago: {old}"
        bob.ping()
        bob.close()
        promised_to_carol += [n for n in promised if not is_for_bob(n)]
    carol = server.client("carol", "c")
    server.login("alice", "m").send(chat("carol@localhost", number))
    arrived = collect(carol, number, [])
    assert arrived == sorted(set(arrived)), "out of order or twice"
    assert not set(promised_to_carol) - set(arrived)


def settled_on_disk(server):
    """The highest archive id that is settled above the cursor (architecture §7)."""
    with server.database(read_only=True) as db:
        rows = db.execute("SELECT settled FROM mailbox WHERE settled IS NOT NULL").fetchall()
    return max((struct.unpack("<Q", row[0][-8:])[0] for row in rows), default=0)


def last_on_disk(server):
    """The archive id of the message that was received last."""
    with server.database(read_only=True) as db:
        return db.execute("SELECT max(rcpt_entry) FROM message").fetchone()[0] or 0


def test_kill_behind_an_open_entry(server):
    """A message that waits for one resource does not let those behind it arrive twice."""
    alice = server.client("alice", "a")
    lost, bob = server.client("bob", "lost"), server.client("bob", "b")
    lost.enable_sm()
    lost.cut()
    bob.enable_sm()
    alice.send(chat(lost, 1000))
    for number in range(20):
        alice.send(chat(bob, number))
    collect(bob, 19, [])
    bob.ack()
    until("settled on disk", lambda: settled_on_disk(server) == last_on_disk(server) > 0)
    server.kill()
    server.start()
    alice = server.client("alice", "a")
    alice.send(chat("bob@localhost", 2000))
    assert collect(server.client("bob", "b"), 2000, []) == [1000, 2000]


def test_kill_and_resend(make_server):
    """The sender repeats unacknowledged messages: all arrive, and repeated ones arrive once."""
    server = make_server("alice", "bob", "carol", settings={"mailbox.unsettled-max": "none"},
                         why="more waits than an account takes")
    load = Load(server, 0)
    promised, _ = load.run_until_killed(0.3)
    server.start()
    alice = server.client("alice", "a")
    for n in load.sent[len(promised):]:
        alice.send(chat(receiver(n), n, f"n{n}"))
    last = load.next
    alice.send(chat("carol@localhost", last))
    arrived = collect(server.client("carol", "c"), last, [])
    assert set(arrived) >= {n for n in load.sent if not is_for_bob(n)}
    assert len(arrived) == len(set(arrived)), "origin-id was not recognised after the restart"


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
@pytest.mark.parametrize("what", ["roster", "vcard", "private", "subscription"])
def test_kill_after_an_answered_change(server, what):
    """A result, or an ack, means committed."""
    alice = server.client("alice", "a")
    alice.enable_sm()
    if what == "roster":
        alice.result("set", "<query xmlns='jabber:iq:roster'><item jid='x@localhost'/></query>")
    elif what == "vcard":
        alice.result("set", "<vCard xmlns='vcard-temp'><FN>A</FN></vCard>")
    elif what == "private":
        alice.result("set", "<query xmlns='jabber:iq:private'><a xmlns='urn:a'>A</a></query>")
    else:
        alice.send("<presence to='bob@localhost' type='subscribe'/>")
        alice.wait_acked(1)
    server.kill()
    server.start()
    alice = server.client("alice", "a")
    if what == "roster":
        assert len(alice.result("get", "<query xmlns='jabber:iq:roster'/>")) == 1
    elif what == "vcard":
        assert len(alice.result("get", "<vCard xmlns='vcard-temp'/>")) == 1
    elif what == "private":
        found = alice.result("get", "<query xmlns='jabber:iq:private'><a xmlns='urn:a'/></query>")
        assert found[0].text == "A"
    else:
        roster = alice.result("get", "<query xmlns='jabber:iq:roster'/>")
        assert [i.get("ask") for i in roster] == ["subscribe"]
        server.client("bob").expect("<presence from='alice@localhost' type='subscribe'/>")


@pytest.mark.parametrize("stanza", [
    "<message to='bob@localhost/b' type='chat'>"
    "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
    "<presence to='bob@localhost/b'><status>hi</status></presence>",
    "<iq to='bob@localhost/b' type='get' id='q'><query xmlns='urn:x'/></iq>",
], ids=["message", "presence", "iq"])
def test_kill_after_a_passing_stanza(server, stanza):
    """Acknowledged means queued: it reached who was there, and is not heard of again."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.enable_sm()
    alice.send(stanza)
    alice.wait_acked(1)
    bob.expect(f"<{stanza[1:].partition(' ')[0]} from='{alice}'/>")
    server.kill()
    server.start()
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    bob.expect_nothing(after=alice)


@pytest.mark.sqlite
@pytest.mark.release
def test_frozen_for_longer_than_a_deadline(make_server, disk):
    """A machine that stood still (it was moved, say) refuses nothing that was under way."""
    server = make_server("alice", "bob", disk=disk)
    alice = server.client("alice", "a")
    alice.enable_sm()
    for freeze in range(1, 3):
        disk.turn(sync_ms=STILL)
        for i in range(50):
            alice.send(chat("bob@localhost", i))
        alice.ping()
        server.signal(signal.SIGSTOP)
        disk.turn(sync_ms=0, mono_us=freeze * 6 * 10**6)  # longer than a write may take
        server.signal(signal.SIGCONT)
        alice.wait_acked(51 * freeze)
    assert not [e for e in alice.inbox if e.get("type") == "error"]


@pytest.mark.sqlite
@pytest.mark.release
def test_frozen_while_it_ends(make_server, disk):
    """The time in which it stood still is not part of the time that an end may take."""
    server = make_server("alice", "bob", disk=disk)
    alice = server.client("alice", "a")
    disk.turn(sync_ms=STILL)
    alice.send(chat("bob@localhost", "last"))
    alice.ping()
    server.signal(signal.SIGTERM)
    server.wait_log("server.stopping")
    server.signal(signal.SIGSTOP)
    disk.turn(sync_ms=0, mono_us=16 * 10**6)  # longer than an end may take
    server.signal(signal.SIGCONT)
    assert server.process.wait(TIMEOUT) == 0
    server.process = None
    server.start()
    bob = server.client("bob", "b")
    bob.expect("<message><body>last</body></message>")


@pytest.mark.sqlite
@pytest.mark.release
def test_status_while_a_disk_stands_still(make_server, disk):
    """Threads that work on files wait for it; who asks for the status does not."""
    server = make_server("alice", "bob", disk=disk)
    alice = server.client("alice", "a")
    slots = [slot(alice) for _ in range(8)]
    disk.turn(sync_ms=STILL)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        uploads = [pool.submit(http_do, server, "PUT", put, b"hello") for put, _ in slots]
        try:
            until("all threads wait", lambda: server.rows("status")[0]["rss_kib"] == -1)
            assert server.rows("status")[0]["sessions"] == 1
            assert any((server.data / "uploads" / "tmp").iterdir())
        finally:
            disk.turn(sync_ms=0)
        assert {u.result().status for u in uploads} <= {201, 503}
    until("the figures", lambda: server.rows("status")[0]["rss_kib"] > 0)


@pytest.mark.sqlite
@pytest.mark.release
def test_a_still_disk_is_not_one_line_a_message(make_server, disk):
    server = make_server("alice", "bob", disk=disk)
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.enable_sm()
    disk.turn(sync_ms=STILL)
    for i in range(900):
        alice.send(chat("bob@localhost", i))

    def late():
        return sum(map(int, re.findall(r"store.overdue writes=(\d+)", server.log())))
    until("all writes are late", lambda: late() >= 900)
    assert "store.slow" in alarms(server)
    alice.expect_nothing("<message type='error'/>")
    disk.turn(sync_ms=0)
    alice.wait_acked(900)
    until("no alarm", lambda: not alarms(server))
    assert server.log().count("store.overdue") < 10
    assert collect(bob, 899, []) == list(range(900))


def test_without_durable_acknowledgements(make_server):
    """im.durable-ack off: acknowledged means queued; connected users still get everything."""
    server = make_server("alice", "bob", settings={"im.durable-ack": "off"})
    alice, bob = server.client("alice"), server.client("bob")
    alice.enable_sm()
    for i in range(100):
        alice.send(chat(bob, i))
    alice.wait_acked(100)
    collect(bob, 99, [])


# --- clients that do not read or do not finish ---


@pytest.mark.release
def test_client_that_never_reads(make_server):
    """Memory is bounded, others do not notice, nothing is lost."""
    server = make_server("alice", "bob", "carol", "dave", settings={
        "c2s.output-max": "256KiB", "c2s.byte-rate": "none"}, why="it sends 100 MB")
    bob = server.client("bob", "b")
    bob.enable_sm(resume="false")
    alice, carol, dave = (server.client(name, "r") for name in ("alice", "carol", "dave"))
    alice.enable_sm()
    before = server.status_kib()
    for i in range(1200):
        alice.send(f"<message to='bob@localhost' type='chat'><body>{i}</body>"
                   f"<x xmlns='urn:x'>{'x' * 16000}</x></message>")
        if i % 50 == 49:
            carol.send(chat(dave, i))
            dave.expect(f"<message><body>{i}</body></message>")
            alice.wait_acked(i + 1)  # else what waits for a slow disk is counted, too
    assert server.status_kib() - before < 48 * 1024
    with pytest.raises(Gone):
        bob.timeout = 3 * TIMEOUT
        bob.auto_ack = False
        bob.expect("<never xmlns='urn:never'/>")
    assert any(xml.condition(e) == "policy-violation" for e in bob.log)
    again = server.client("bob", "again")
    assert collect(again, 1199, []) == list(range(1200))


def test_slow_loris(make_server):
    """Streams that never get anywhere are closed when their time is over."""
    server = make_server("alice", settings={"c2s.auth-timeout": "2s"})
    slow = [server.dial(tls="none") for _ in range(50)]
    for i, client in enumerate(slow):
        client.raw("<?xml version='1.0'?><stream:stream to='localhost'"[:i + 1])
    server.login("alice").ping()
    for client in slow:
        client.expect_closed()


def room_for(wanted):
    """Raises the limit of this process; needs root where the hard limit is lower."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, wanted),) * 2)
    except ValueError:
        pytest.skip(f"needs {wanted} descriptors, {hard} are allowed")


@pytest.mark.release
@pytest.mark.parametrize("count", [HALF_OPEN, 10000])
def test_half_open_handshakes(make_server, count):
    """Thousands of TLS handshakes that were begun: logins go on, memory comes back."""
    room_for(count + 200)
    server = make_server("alice", why="one address stands for many",
                         settings={"c2s.auth-timeout": "5s", "c2s.connections-per-address": "none"})
    before = server.status_kib()
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)  # a ClientHello, cut off
    half = []
    for i in range(count):
        half.append(socket.create_connection(("127.0.0.1", server.tls_port), TIMEOUT))
        half[-1].sendall(hello)
        if i % 100 == 99:
            client = server.login("alice")
            client.ping()
            client.close()
    assert server.status_kib() - before < 8 * 1024 + count * 40
    for sock in half:
        sock.settimeout(3 * TIMEOUT)
        while sock.recv(4096):
            pass  # an alert may come first
        sock.close()
    server.login("alice").ping()


@pytest.mark.release
def test_bad_streams_leave_nothing_behind(make_server):
    """Thousands of streams that end in an error."""
    server = make_server("alice")
    bad = [b"<a></b>", b"\xff\xfe<", b"<stream:stream to='", b"<" * 70000, b"\0" * 100,
           b"<?xml version='1.0'?><!DOCTYPE x>"]

    def flood():
        for i in range(600):
            client = server.dial(tls="none")
            try:
                client.raw(bad[i % len(bad)])
            except OSError:
                pass
            client.cut()
            server.clients.remove(client)

    flood()
    server.login("alice").ping()
    before = server.status_kib()
    for _ in range(3):
        flood()
    server.login("alice").ping()
    assert server.status_kib() - before < 4096


# --- the machine ---


def alarms(server):
    return {row["name"] for row in server.rows("alarm", "list") if row.get("active", True)}


CROWD_EACH = 4000  # connections of one process: a limit of descriptors is one of a process
CROWD = """
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
crowd = [socket.create_connection(("127.0.0.1", int(sys.argv[1])))
         for _ in range(int(sys.argv[2]))]
print("there", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def crowd(port, count):
    """Connections that say nothing, of as many processes as it takes; made one after the other, as
    the kernel lets those that it has no room for wait ever longer."""
    with contextlib.ExitStack() as stack:
        gangs = [stack.enter_context(subprocess.Popen(
            [sys.executable, "-c", CROWD, str(port), str(min(CROWD_EACH, count - at))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)) for at in range(0, count, CROWD_EACH)]
        for gang in gangs:
            assert gang.stdout.readline() == b"there\n"
        yield
        for gang in gangs:
            gang.stdin.close()


@pytest.mark.parametrize("limit", [FD_LIMIT, 20000])
def test_out_of_descriptors(make_server, limit):
    """Accepting pauses, sessions live on, an alarm tells, and it heals by itself."""
    room_for(limit)
    server = make_server("alice", "bob", limits={resource.RLIMIT_NOFILE: limit},
                         settings={"c2s.connections-per-address": "none",
                                   "c2s.auth-timeout": "10m"},
                         why="one address stands for many, who stay until all are there")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    with crowd(server.c2s_port, limit + 20):
        server.wait_log("io.descriptors")
        assert len(os.listdir(f"/proc/{server.process.pid}/fd")) >= limit - 40
        assert "io.descriptors" in alarms(server), "the operator gets in"
        for i in range(20):
            alice.send(chat(bob, i))
            bob.expect(f"<message><body>{i}</body></message>")
    again = server.dial("alice", tls="none")
    again.open()
    again.starttls()
    again.login()
    until("end of the alarm", lambda: "io.descriptors" not in alarms(server))


class SmallDisk:
    """A tmpfs of its own for the data of a server, in a mount namespace."""

    def __init__(self, folder, size):
        self.folder = folder
        folder.mkdir(parents=True)
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        self.holder = subprocess.Popen(
            ["unshare", *user, "--mount", "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        self.wrapper = ["nsenter", *(["--user", "--preserve-credentials"] if user else []),
                        f"--target={self.holder.pid}", "--mount"]
        self.sh(f"mount -t tmpfs -o size={size} tmpfs {folder}")

    def sh(self, command):
        """Runs a command inside; its output."""
        self.holder.stdin.write(f"({command}) 2>&1; echo end $?\n")
        self.holder.stdin.flush()
        output = ""
        for line in self.holder.stdout:
            if line.startswith("end "):
                if line != "end 0\n":
                    pytest.skip(f"no mount namespace here: {output}")
                return output
            output += line
        pytest.skip(f"no mount namespace here: {output}")

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(TIMEOUT)


@pytest.fixture
def small_disk(request, tmp_path, make_server):
    """Of 8 MiB, if it is not said otherwise."""
    disk = SmallDisk(tmp_path / "server0" / "data", getattr(request, "param", "8m"))
    yield disk
    for server in make_server.servers:
        server.finish()
    disk.close()


@pytest.mark.sqlite
def test_full_disk(make_server, small_disk):
    """Errors to the clients, an alarm, nothing that was acknowledged is lost; it heals."""
    server = make_server("alice", "bob", wrapper=small_disk.wrapper)
    alice = server.client("alice", "a")
    alice.enable_sm()
    for i in range(10):
        alice.send(chat("bob@localhost", i))
    alice.wait_acked(10)
    small_disk.sh(f"dd if=/dev/zero of={small_disk.folder}/ballast bs=64k || true")
    refused = 0
    for i in range(10, 400):
        alice.send(f"<message to='bob@localhost' type='chat' id='{i}'><body>{i}</body>"
                   f"<x xmlns='urn:x'>{'x' * 4000}</x></message>")
    alice.request_ack()
    alice.wait("h of all", lambda: alice.acked >= 400)
    errors = [e for e in alice.inbox if e.get("type") == "error"]
    refused = {int(e.get("id")) for e in errors}
    assert refused and all(xml.condition(e) in ("resource-constraint", "internal-server-error")
                           for e in errors)
    server.wait_log("store.full")
    small_disk.sh(f"rm {small_disk.folder}/ballast")
    alice.inbox.clear()

    def works():
        condition = alice.iq("set", "<vCard xmlns='vcard-temp'><FN>A</FN></vCard>")
        return condition.get("type") == "result"
    until("writing again", works)
    server.kill()
    server.start()
    last = 1000
    server.login("alice").send(chat("bob@localhost", last))
    arrived = collect(server.client("bob", "b"), last, [])
    kept = set(range(400)) - refused
    assert not kept - set(arrived), "acknowledged without an error, and lost"


@pytest.mark.sqlite
def test_alarm_of_a_full_disk_stays(make_server, small_disk):
    """Small writes still fit into what the database has, but larger ones are refused."""
    server = make_server("alice", wrapper=small_disk.wrapper)
    server.ctl("set", "log.repeats", "11")
    small_disk.sh(f"dd if=/dev/zero of={small_disk.folder}/ballast bs=4k || true")
    add = ("user", "add", "bob@localhost", "--stdin")
    until("no room", lambda: "no space" in server.ctl_run(*add, stdin="long west wind 4\n").stderr
          or not server.ctl("user", "del", "bob@localhost"))
    until("the alarm", lambda: "store.full" in alarms(server))
    end = time.monotonic() + 12  # several looks at the disk
    while time.monotonic() < end:
        assert "store.full" in alarms(server)
        server.ctl_run("set", "log.repeats", str(random.randrange(10, 90)))
    log = server.log()
    assert "event=alarm.cleared alarm=store.full" not in log
    assert log.count("event=alarm.raised alarm=store.full") == 1
    small_disk.sh(f"rm {small_disk.folder}/ballast")
    until("end of the alarm", lambda: "store.full" not in alarms(server), 2 * TIMEOUT)
    server.ctl("user", "add", "bob@localhost", "--stdin", stdin="long west wind 4\n")


@pytest.mark.sqlite
@pytest.mark.parametrize("small_disk", ["64m"], indirect=True)  # a sixteenth holds what is sent
def test_files_leave_room_for_the_database(make_server, small_disk):
    """A disk that users have filled takes messages, and its operator can make room."""
    server = make_server("alice", "bob", wrapper=small_disk.wrapper)
    alice = server.client("alice", "a")

    def put(size):
        return http_do(server, "PUT", slot(alice, "f", size)[0], os.urandom(size)).status
    statuses = []
    while not statuses or statuses[-1] == 201 and len(statuses) < 100:
        statuses.append(put(3_000_000))
    assert statuses[-1] == 507 and statuses.count(201) > 3
    # refused before its bytes come, which the server does not wait for
    large = http_do(server, "PUT", slot(alice, "f", 50_000_000)[0], Content_Length="50000000")
    assert large.status == 507
    alice.enable_sm()
    for i in range(20):
        alice.send(chat("bob@localhost", i))
    alice.wait_acked(20)
    assert not [e for e in alice.inbox if e.get("type") == "error"]
    alarms = [r["name"] for r in server.rows("alarm", "list")]
    assert alarms == ["upload.disk"]
    server.ctl("upload", "del", server.rows("upload", "list", alice.bare)[0]["id"])
    server.ctl("upload", "sweep")
    assert put(2_000_000) == 201
    assert server.rows("alarm", "list") == []


def writes_a_chat(server):
    alice = server.login("alice")
    for i in range(50):
        alice.send(f"<message to='bob@localhost' type='chat'><body>{i}</body>"
                   f"<x xmlns='urn:x'>{'x' * 20000}</x></message>")
    alice.ping()


def writes_a_backup(server):
    assert "disk is full" in refusal(server, "backup", "create", server.folder / "backup")
    assert not [p for p in server.folder.iterdir() if p.name.startswith("backup")]


def writes_a_file(server):
    put, _ = slot(server.login("alice"), "a.txt", 500000)
    assert http_do(server, "PUT", put, b"x" * 500000).status == 507


def writes_a_room(server):
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (-1, -1))
    server.ctl("room", "create", "hall@conference.localhost", "alice@localhost")
    alice = server.login("alice").available()
    hall = Room("hall")
    alice.enable_sm()
    hall.enter(alice, "alice")
    for _ in range(5):
        hall.say(alice, "x" * 20000)
    alice.wait_acked(6)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4096, -1))
    refusal(server, "room", "export", hall.jid, server.folder / "room.jsonl")
    assert not [p for p in server.folder.iterdir() if p.name.startswith("room")]


@pytest.mark.parametrize("write", [writes_a_chat, writes_a_backup, writes_a_file, writes_a_room])
def test_files_may_not_grow(server, write):
    """`ulimit -f` and LimitFSIZE= of systemd: an error of what is written, whoever writes it, and
    no end of the server."""
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (200000, -1))
    write(server)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (-1, -1))

    def works():
        return server.login("bob").iq("set", "<vCard xmlns='vcard-temp'><FN>A</FN></vCard>")
    until("writing again", lambda: works().get("type") == "result")
    server.ctl("backup", "create", server.folder / "backup")


@pytest.mark.sqlite
def test_no_start_on_a_full_disk(make_server, small_disk):
    server = make_server("alice", wrapper=small_disk.wrapper)
    server.stop()
    small_disk.sh(f"dd if=/dev/zero of={small_disk.folder}/ballast bs=4k || true")
    server.start(ready=False)
    assert server.wait_exit() != 0
    assert "free space on its file system" in server.log().splitlines()[-1]
    small_disk.sh(f"rm {small_disk.folder}/ballast")
    server.start()
    server.client("alice")


@pytest.mark.sqlite
def test_refused_messages_may_be_sent_again(make_server, small_disk):
    """A message that found no room is not a copy of itself when it comes again (XEP-0359 §3.2)."""
    server = make_server("alice", "bob", wrapper=small_disk.wrapper)
    alice = server.client("alice", "a")
    alice.enable_sm()
    padding = f"<x xmlns='urn:x'>{'x' * 4000}</x>"

    def message(ident):
        return (f"<message to='bob@localhost' type='chat' id='{ident}'><body>hi</body>{padding}"
                f"<origin-id xmlns='urn:xmpp:sid:0' id='{ident}'/></message>")
    small_disk.sh(f"dd if=/dev/zero of={small_disk.folder}/ballast bs=64k || true")
    for i in range(400):
        alice.send(message(f"o{i}"))
    alice.request_ack()
    alice.wait("h of all", lambda: alice.acked >= 400)
    refused = [e.get("id") for e in alice.inbox if e.get("type") == "error"]
    assert refused, "the disk was not full"
    small_disk.sh(f"rm {small_disk.folder}/ballast")
    until("writing again", lambda: alice.iq(
        "set", "<vCard xmlns='vcard-temp'><FN>A</FN></vCard>").get("type") == "result")
    alice.inbox.clear()
    for ident in (refused[-1], "last"):
        alice.send(message(ident))
    bob = server.client("bob", "b")
    bob.wait("the last", lambda: any(m.get("id") == "last" for m in bob.inbox))
    assert any(m.get("id") == refused[-1] for m in bob.inbox)
    assert not [e for e in alice.inbox if e.get("type") == "error"]


@pytest.mark.sqlite
def test_read_only_database(make_server, small_disk):
    server = make_server("alice", wrapper=small_disk.wrapper)
    server.stop()
    small_disk.sh(f"mount -o remount,ro {small_disk.folder}")
    server.start(ready=False)
    assert server.wait_exit(2 * TIMEOUT) != 0
    line = server.log().splitlines()[-1].lower()
    assert "muster.db" in server.log() or str(server.data) in server.log()
    assert "read-only" in server.log().lower() or "readonly" in server.log().lower(), line
    small_disk.sh(f"mount -o remount,rw {small_disk.folder}")
    server.start()
    server.login("alice")


def damage_all(path):
    path.write_bytes(random.Random(1).randbytes(path.stat().st_size))


def damage_the_middle(path):
    data = bytearray(path.read_bytes())
    data[4096:-4096] = random.Random(1).randbytes(len(data) - 8192)
    path.write_bytes(data)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


@pytest.mark.sqlite
@pytest.mark.parametrize("damage", [damage_all, damage_the_middle, cut_off])
def test_damaged_database(server, damage):
    """The server says which file is broken, does not start, and leaves the file as it is."""
    server.stop()
    path = server.data / "muster.db"
    for extra in server.data.glob("muster.db-*"):
        extra.unlink()
    damage(path)
    broken = path.read_bytes()
    server.start(ready=False)
    assert server.wait_exit(2 * TIMEOUT) != 0
    assert "muster.db" in server.log()
    assert path.read_bytes() == broken


def test_newer_schema(server):
    """A database of a newer release is refused, with both versions named."""
    server.stop()
    with server.database() as db:
        db.execute("UPDATE schema SET version = 9999")
    server.start(ready=False)
    assert server.wait_exit(2 * TIMEOUT) != 0
    assert "9999" in server.log() and "newer" in server.log()
