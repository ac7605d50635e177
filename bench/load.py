"""What loads of our own have in common (copies.py, eventing.py, rooms.py): users in a test server, readers
that count what arrives, and the CPU time of the server's processes.

Environment: DOMAIN (localhost), WARMUP (3), SECONDS (5)."""
import json
import os
import pathlib
import select
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "test"))

from harness.client import Client  # noqa: E402

DOMAIN = os.environ.get("DOMAIN", "localhost")
WARMUP = float(os.environ.get("WARMUP", 3))
SECONDS = float(os.environ.get("SECONDS", 5))
PASSWORD = "bench-password"
RUN = os.getpid()  # accounts of its own, whatever was registered before


def register(address, name):
    client = Client(address, DOMAIN, name, PASSWORD)
    client.open()
    client.iq("set", f"<query xmlns='jabber:iq:register'><username>{name}</username>"
                     f"<password>{PASSWORD}</password></query>")
    client.sock.close()


def login(address, name, resource="bench"):
    client = Client(address, DOMAIN, name, PASSWORD)
    client.open()
    client.login("SCRAM-SHA-1", resource)
    return client


def user(address, name):
    register(address, name)
    return login(address, name)


def cpu_seconds(pids):
    total = 0
    for pid in pids.split(","):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


class Connection:
    """A client's connection from now on: bytes as they come, without parsing, never waiting."""

    def __init__(self, client):
        self.sock = client.sock
        self.sock.setblocking(False)
        self.rest = b""
        self.out = b""

    def elements(self):
        """What came up to the last complete tag."""
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return b""
        if not data:
            raise SystemExit("the server closed a connection")
        data = self.rest + data
        end = data.rfind(b">") + 1
        self.rest, data = data[end:], data[:end]
        return data

    def send(self, data):
        self.out += data
        self.flush()

    def flush(self):
        try:
            while self.out:
                self.out = self.out[self.sock.send(self.out):]
        except BlockingIOError:
            pass


def count(data, tag, value):
    """Attributes with this value, in either kind of quotes."""
    return sum(data.count(f"{tag}={quote}{value}{quote}".encode()) for quote in "'\"")


def refuse_errors(data):
    if count(data, "type", "error"):
        raise SystemExit(data.decode(errors="replace")[-2000:])


def registered_poll(connections):
    """A poll of all of them, and which has a descriptor."""
    poll = select.epoll()
    by_fd = {c.sock.fileno(): c for c in connections}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    return poll, by_fd


def run(connections, seconds):
    """Reads for so long; returns what read() of all of them has counted."""
    poll, by_fd = registered_poll(connections)
    end, total = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for fd, _ in poll.poll(0.1):
            total += by_fd[fd].read()
        for connection in connections:
            if connection.out:
                connection.flush()
    poll.close()
    return total


def measure(connections, pids, label):
    """Deliveries for SECONDS, after WARMUP, as one line of JSON."""
    run(connections, WARMUP)
    began, cpu = time.monotonic(), cpu_seconds(pids)
    total = run(connections, SECONDS)
    cpu, took = cpu_seconds(pids) - cpu, time.monotonic() - began
    report(label, valid=1, deliveries=total, deliveries_per_s=round(total / took),
           deliveries_per_cpu_s=round(total / cpu), srv_cores=cpu / took)


def report(label, **figures):
    print(json.dumps({"label": sys.argv[3] if len(sys.argv) > 3 else label, **figures}))
