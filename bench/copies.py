#!/usr/bin/python3
"""copies.py PORT PIDS [LABEL]: conversations of users with several devices, as one line of JSON.

Pairs of users write to each other in both directions, from one device to one device; each has
DEVICES (3) devices, all with message carbons (XEP-0280). So each message is delivered once and
copied to the other devices of both: 2 * DEVICES - 1 deliveries. A device sends the next message
when one of its peer has arrived, WINDOW (4) at a time. Plain TCP on 127.0.0.1:PORT; PIDS are the
processes of the server, whose CPU time is read; accounts are registered in-band.

Environment: PAIRS (50), DEVICES, WINDOW, WARMUP (3), SECONDS (5), DOMAIN (localhost)."""
import json
import os
import pathlib
import select
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "test"))

from muster.client import Client  # noqa: E402

PAIRS = int(os.environ.get("PAIRS", 50))
DEVICES = int(os.environ.get("DEVICES", 3))
WINDOW = int(os.environ.get("WINDOW", 4))
WARMUP = float(os.environ.get("WARMUP", 3))
SECONDS = float(os.environ.get("SECONDS", 5))
DOMAIN = os.environ.get("DOMAIN", "localhost")
PASSWORD = "bench-password"
REGISTER = "jabber:iq:register"
CARBONS = "urn:xmpp:carbons:2"


def register(address, name):
    client = Client(address, DOMAIN, name, PASSWORD)
    client.open()
    client.iq("set", f"<query xmlns='{REGISTER}'><username>{name}</username>"
                     f"<password>{PASSWORD}</password></query>")
    client.sock.close()


def login(address, name, resource):
    client = Client(address, DOMAIN, name, PASSWORD)
    client.open()
    client.login("SCRAM-SHA-1", resource)
    answer = client.iq("set", f"<enable xmlns='{CARBONS}'/>")
    assert answer.get("type") == "result", "no carbons"
    client.send("<presence/>")
    return client


class Device:
    """A connection that counts what arrives; one that talks to a peer answers it."""

    def __init__(self, client, peer):
        self.sock = client.sock
        self.sock.setblocking(False)
        self.rest = b""
        self.out = b""
        self.talks = peer is not None
        self.message = (f"<message to='{peer}' type='chat'><body>{'x' * 100}</body></message>"
                        ).encode()

    def send(self, count):
        self.out += self.message * count
        self.flush()

    def flush(self):
        try:
            while self.out:
                self.out = self.out[self.sock.send(self.out):]
        except BlockingIOError:
            pass

    def read(self):
        """Deliveries that were completed."""
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return 0
        if not data:
            raise SystemExit("the server closed a connection")
        data = self.rest + data
        end = data.rfind(b">") + 1
        self.rest, data = data[end:], data[:end]
        copies = data.count(b"</forwarded>")  # a copy has a message inside
        count = data.count(b"</message>") - copies
        if self.talks:
            self.send(count)
        return count


def cpu_seconds(pids):
    total = 0
    for pid in pids.split(","):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def connect(address):
    devices = []
    for pair in range(PAIRS):
        names = [f"copies{2 * pair + side}" for side in (0, 1)]
        for name in names:
            register(address, name)
        for name, other in (names, reversed(names)):
            for i in range(DEVICES):
                peer = f"{other}@{DOMAIN}/d0" if i == 0 else None
                devices.append(Device(login(address, name, f"d{i}"), peer))
    return devices


def drain(devices, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for device in select.select([d.sock for d in devices], [], [], 0.05)[0]:
            try:
                device.recv(1 << 18)
            except BlockingIOError:
                pass


def run(devices, seconds):
    poll = select.epoll()
    by_fd = {d.sock.fileno(): d for d in devices}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for fd, _ in poll.poll(0.1):
            count += by_fd[fd].read()
        for device in devices:
            if device.out:
                device.flush()
    poll.close()
    return count


def main():
    port, pids = int(sys.argv[1]), sys.argv[2]
    devices = connect(("127.0.0.1", port))
    drain(devices, 1)  # presence of all, of no interest
    for device in devices:
        if device.talks:
            device.send(WINDOW)
    run(devices, WARMUP)
    began, cpu = time.monotonic(), cpu_seconds(pids)
    count = run(devices, SECONDS)
    cpu, took = cpu_seconds(pids) - cpu, time.monotonic() - began
    print(json.dumps({"label": sys.argv[3] if len(sys.argv) > 3 else "copies", "valid": 1,
                      "deliveries": count, "deliveries_per_s": round(count / took),
                      "deliveries_per_cpu_s": round(count / cpu), "srv_cores": cpu / took}))


main()
