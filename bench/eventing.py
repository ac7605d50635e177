#!/usr/bin/python3
"""eventing.py PORT PIDS [LABEL]: personal eventing (XEP-0163), as one line of JSON.

USERS (51) users are contacts of each other, with one device each that wants the node of all others by
its capabilities (XEP-0115), as a department is. Each publishes to a node of the own account, the next
item when the last was answered, WINDOW (2) at a time; an item has PAYLOAD (200) bytes. Counted are
the notifications that arrive. Plain TCP on 127.0.0.1:PORT; PIDS are the processes of the server, whose
CPU time is read; accounts are registered in-band.

Environment: USERS, WINDOW, PAYLOAD, WARMUP (3), SECONDS (5), DOMAIN (localhost)."""
import base64
import hashlib
import json
import os
import pathlib
import select
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "test"))

from muster.client import Client  # noqa: E402

USERS = int(os.environ.get("USERS", 51))
WINDOW = int(os.environ.get("WINDOW", 2))
PAYLOAD = int(os.environ.get("PAYLOAD", 200))
WARMUP = float(os.environ.get("WARMUP", 3))
SECONDS = float(os.environ.get("SECONDS", 5))
DOMAIN = os.environ.get("DOMAIN", "localhost")
PASSWORD = "bench-password"
RUN = os.getpid()  # accounts of its own, whatever was registered before
NODE = "http://jabber.org/protocol/tune"
DISCO = "http://jabber.org/protocol/disco#info"
FEATURES = (DISCO, NODE + "+notify")
HASH = base64.b64encode(hashlib.sha1(("client/pc//bench<" + "".join(
    f + "<" for f in sorted(FEATURES))).encode()).digest()).decode()
CAPS = (f"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:bench' ver='{HASH}'/>")
INFO = ("<identity category='client' type='pc' name='bench'/>" + "".join(
    f"<feature var='{f}'/>" for f in FEATURES))
PUBLISH = ("<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
           f"<publish node='{NODE}'><item id='current'><tune xmlns='{NODE}'><title>{'x' * PAYLOAD}"
           "</title></tune></item></publish></pubsub></iq>").encode()


def user(address, name):
    client = Client(address, DOMAIN, name, PASSWORD)
    client.open()
    client.iq("set", f"<query xmlns='jabber:iq:register'><username>{name}</username>"
                     f"<password>{PASSWORD}</password></query>")
    client.sock.close()
    client = Client(address, DOMAIN, name, PASSWORD)
    client.open()
    client.login("SCRAM-SHA-1", "bench")
    client.result("get", "<query xmlns='jabber:iq:roster'/>")
    return client


def connect(address):
    users = [user(address, f"user{RUN}x{i}") for i in range(USERS)]
    for client in users:
        client.send("<presence/>")
    for i, one in enumerate(users):
        for other in users[:i]:
            for a, b in ((one, other), (other, one)):
                a.send(f"<presence to='{b.bare}' type='subscribe'/>")
                b.expect(f"<presence from='{a.bare}' type='subscribe'/>")
                b.send(f"<presence to='{a.bare}' type='subscribed'/>")
                a.expect(f"<presence from='{b.bare}' type='subscribed'/>")
        one.inbox.clear()
        one.log.clear()
    for client in users:
        client.send(f"<presence>{CAPS}</presence>")
    return users


def explain(clients, seconds):
    """Answers questions about capabilities."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for client in select.select(clients, [], [], 0.05)[0]:
            client.pump(0)
            for e in client.inbox:
                if e.get("type") == "get" and len(e) and e[0].tag == f"{{{DISCO}}}query":
                    node = e[0].get("node")
                    client.send(f"<iq type='result' to='{e.get('from')}' id='{e.get('id')}'>"
                                f"<query xmlns='{DISCO}' node='{node}'>{INFO}</query></iq>")
            client.inbox.clear()


def cpu_seconds(pids):
    total = 0
    for pid in pids.split(","):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


class Reader:
    """Counts notifications; publishes again for each answer."""

    def __init__(self, client):
        self.sock = client.sock
        self.sock.setblocking(False)
        self.rest = b""

    def read(self):
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return 0
        if not data:
            raise SystemExit("the server closed a connection")
        data = self.rest + data
        end = data.rfind(b">") + 1
        self.rest, data = data[end:], data[:end]
        if b"type='error'" in data or b'type="error"' in data:
            raise SystemExit(data.decode())
        answers = data.count(b"type='result'") + data.count(b'type="result"')
        self.sock.setblocking(True)
        self.sock.sendall(PUBLISH * answers)
        self.sock.setblocking(False)
        return data.count(b"</event>")


def run(readers, seconds):
    poll = select.epoll()
    by_fd = {r.sock.fileno(): r for r in readers}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for fd, _ in poll.poll(0.1):
            count += by_fd[fd].read()
    poll.close()
    return count


def main():
    port, pids = int(sys.argv[1]), sys.argv[2]
    users = connect(("127.0.0.1", port))
    explain(users, 3)
    for client in users:  # the first item makes the node
        client.raw(PUBLISH)
        client.expect("<iq type='result' id='p'/>")
    explain(users, 1)
    readers = [Reader(client) for client in users]
    for client in users:
        client.sock.sendall(PUBLISH * WINDOW)
    run(readers, WARMUP)
    began, cpu = time.monotonic(), cpu_seconds(pids)
    count = run(readers, SECONDS)
    cpu, took = cpu_seconds(pids) - cpu, time.monotonic() - began
    print(json.dumps({"label": sys.argv[3] if len(sys.argv) > 3 else "eventing", "valid": 1,
                      "deliveries": count, "deliveries_per_s": round(count / took),
                      "deliveries_per_cpu_s": round(count / cpu), "srv_cores": cpu / took}))


main()
