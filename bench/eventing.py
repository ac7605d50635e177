#!/usr/bin/python3
"""eventing.py PORT PIDS [LABEL]: personal eventing (XEP-0163), as one line of JSON.

Each of OWNERS (4) users publishes to a node of the own account; WATCHERS (50) contacts of each, with
one device each, want that node by their capabilities (XEP-0115). An owner publishes the next item
when the last was answered, WINDOW (4) at a time; an item has PAYLOAD (200) bytes. Counted are the
notifications that arrive. Plain TCP on 127.0.0.1:PORT; PIDS are the processes of the server, whose
CPU time is read; accounts are registered in-band.

Environment: OWNERS, WATCHERS, WINDOW, PAYLOAD, WARMUP (3), SECONDS (5), DOMAIN (localhost)."""
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

OWNERS = int(os.environ.get("OWNERS", 4))
WATCHERS = int(os.environ.get("WATCHERS", 50))
WINDOW = int(os.environ.get("WINDOW", 4))
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
    owners, watchers = [], []
    for o in range(OWNERS):
        owner = user(address, f"owner{RUN}x{o}")
        owner.send("<presence/>")
        owners.append(owner)
        for i in range(WATCHERS):
            watcher = user(address, f"watcher{RUN}x{o}x{i}")
            watcher.send("<presence/>")
            watcher.send(f"<presence to='{owner.bare}' type='subscribe'/>")
            owner.expect(f"<presence from='{watcher.bare}' type='subscribe'/>")
            owner.send(f"<presence to='{watcher.bare}' type='subscribed'/>")
            watcher.expect(f"<presence from='{owner.bare}' type='subscribed'/>")
            watcher.send(f"<presence>{CAPS}</presence>")
            watchers.append(watcher)
    return owners, watchers


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
    """Counts an end tag in what arrives; an owner publishes again for each answer."""

    def __init__(self, client, mark, owner):
        self.sock = client.sock
        self.sock.setblocking(False)
        self.mark, self.owner, self.rest = mark, owner, b""

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
        count = data.count(self.mark)
        if not self.owner:
            return count
        if b"type='error'" in data or b'type="error"' in data:
            raise SystemExit(data.decode())
        self.sock.setblocking(True)
        self.sock.sendall(PUBLISH * count)
        self.sock.setblocking(False)
        return 0


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
    owners, watchers = connect(("127.0.0.1", port))
    explain(owners + watchers, 3)
    for owner in owners:  # the first item makes the node
        owner.raw(PUBLISH)
        owner.expect("<iq type='result' id='p'/>")
    explain(owners + watchers, 1)
    readers = [Reader(c, b"</iq>", True) for c in owners]
    readers += [Reader(c, b"</event>", False) for c in watchers]
    for owner in owners:
        owner.sock.sendall(PUBLISH * WINDOW)
    run(readers, WARMUP)
    began, cpu = time.monotonic(), cpu_seconds(pids)
    count = run(readers, SECONDS)
    cpu, took = cpu_seconds(pids) - cpu, time.monotonic() - began
    print(json.dumps({"label": sys.argv[3] if len(sys.argv) > 3 else "eventing", "valid": 1,
                      "deliveries": count, "deliveries_per_s": round(count / took),
                      "deliveries_per_cpu_s": round(count / cpu), "srv_cores": cpu / took}))


main()
