"""A musterd process with its node file in a scratch folder, and musterctl to speak to it."""
import collections
import contextlib
import itertools
import json
import os
import pathlib
import random
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import time

from harness import database, defaults, nodes, rows
from harness.client import TIMEOUT, Client, follow
from harness.control import Control
from harness.rows import MUSTERCTL, MUSTERD

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKERS = int(os.environ.get("MUSTER_TEST_WORKERS", "2"))  # of a server that does not say
REPORTS = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:"
                     r"|ensure failed|Assertion")
# Freed memory is kept up to 8 MiB in place of 256: a server takes a third fewer pages, which are
# much of the time of a short test.
ASAN_OPTIONS = "exitcode=99:detect_leaks=1:quarantine_size_mb=8"
KINDS = "c2s", "tls", "component", "http", "https", "bosh", "proxy65", "s2s", "s2s_tls"
NUMBERS = itertools.count()
CREATED = set()  # databases, of PostgreSQL
HELD = collections.deque(maxlen=128)  # sockets of free_ports()


class Failed(AssertionError):
    """A musterctl command that should have succeeded."""


def hold_ports(count):
    """Ports nobody uses and sockets that keep them so, until they are closed: a server may listen
    there, but no other run of tests takes them. Below the ephemeral range."""
    held = []
    while len(held) < count:
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", random.randrange(10000, 32000)))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.append(probe)
        except OSError:
            probe.close()
    return [probe.getsockname()[1] for probe in held], held


def free_ports(count):
    """Ports for a listener that no Server knows of: held until this process has asked for some
    hundred more, thus longer than its test takes."""
    ports, held = hold_ports(count)
    HELD.extend(held)
    return ports


def yaml(value):
    """YAML is a superset of JSON: this is all the writer we need."""
    return json.dumps(value, ensure_ascii=False)


def refusal(server, *args):
    """What musterctl says of a command that it refuses."""
    done = server.ctl_run(*args)
    assert done.returncode != 0, done.stdout
    return done.stderr


class Server:
    """A node with the product's defaults (harness.defaults has what differs). Options: settings
    (full name: value), why (needed where these lift a limit), domains, workers, tls, conf (more
    keys), proxy (PROXY protocol on c2s), component, proxy65 and s2s (their listeners), wrapper (a
    command in front), limits (resource.RLIMIT_*: value), disk (a harness.slow_disk.SlowDisk). With
    MUSTER_DATABASE=postgresql it has a database of its own there, unless conf says where."""

    def __init__(self, folder, settings=None, domains=("localhost",), workers=WORKERS, **options):
        self.folder = pathlib.Path(folder)
        self.domains = list(domains)
        self.options = options
        self.settings = dict(settings or {})
        defaults.check(MUSTERD, self.settings, options.get("why"))
        ports, self.held = hold_ports(len(KINDS))
        self.c2s_port, self.tls_port, self.component_port, *web = ports  # as KINDS
        self.http_port, self.https_port, self.bosh_port, self.proxy65_port, *servers = web
        self.s2s_port, self.s2s_tls_port = servers
        self.data = self.folder / "data"
        self.control = self.folder / "control.sock"
        self.file = self.folder / "muster.yaml"
        self.log_path = self.folder / "musterd.log"
        self.process = None
        self.clients = []
        self.conf = {
            "node": "test1", "node_id": 1, "domains": self.domains, "data": str(self.data),
            "control": str(self.control), "workers": workers,
            "listen": {"c2s": [self._address(self.c2s_port)],
                       "c2s_tls": [f"127.0.0.1:{self.tls_port}"],
                       "http": [f"127.0.0.1:{self.http_port}"],
                       "https": [f"127.0.0.1:{self.https_port}"],
                       "bosh": [f"127.0.0.1:{self.bosh_port}"]},
            "settings": self.settings,
        }
        if options.get("component"):
            self.conf["listen"]["component"] = [f"127.0.0.1:{self.component_port}"]
        if options.get("s2s"):
            self.conf["listen"]["s2s"] = [f"127.0.0.1:{self.s2s_port}"]
            self.conf["listen"]["s2s_tls"] = [f"127.0.0.1:{self.s2s_tls_port}"]
        if options.get("proxy65"):
            self.conf["listen"]["proxy65"] = [f"127.0.0.1:{self.proxy65_port}"]
        self.second_ports = {}  # of the second node, by kind: it listens for the same
        if nodes.COUNT > 1:
            ports, held = hold_ports(len(KINDS))
            self.second_ports = dict(zip(KINDS, ports))
            self.held += held
        if "tls" in options:
            self.conf["tls"] = options["tls"]
        self.conf.update(options.get("conf", {}))
        self.template = "template0"
        self.owned = None  # the name of the database, if it is made here
        if database.POSTGRESQL and "database" not in self.conf:
            self.owned = f"test_{os.getpid()}_{next(NUMBERS)}"
            self.conf["database"] = database.url_of(database.shared(), self.owned)
        place = self.conf.get("database", "sqlite")
        self.url = None if place == "sqlite" else place

    def _address(self, port):
        address = f"127.0.0.1:{port}"
        return {"address": address, "proxy": True} if self.options.get("proxy") else address

    # --- process ---

    def write(self):
        """Writes the node file, one key a line."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(parents=True, exist_ok=True)
        self.file.write_text("".join(f"{k}: {yaml(v)}\n" for k, v in self.conf.items()))
        if self.second_ports:
            conf = {**self.conf, "node": "test2", "node_id": 2, "listen": self._second_listen(),
                    "control": str(self.folder / "second.sock")}
            self.second_file.write_text("".join(f"{k}: {yaml(v)}\n" for k, v in conf.items()))

    @property
    def second_file(self):
        return self.folder / "second.yaml"

    def _second_listen(self):
        listen = {}
        for kind, port in self.second_ports.items():
            key = "c2s_tls" if kind == "tls" else kind
            if key in self.conf["listen"]:
                listen[key] = [self._address(port) if kind == "c2s" else f"127.0.0.1:{port}"]
        return listen

    def _second_node(self):
        return {"MUSTER_SECOND_NODE": str(self.second_file)} if self.second_ports else {}

    def port_at(self, node, kind):
        """A listener of that node, of one of KINDS."""
        return self.second_ports[kind] if node == 1 else getattr(self, f"{kind}_port")

    def port(self, kind, bare=None):
        """Where clients of that account connect, and the component or server of that domain."""
        return self.port_at(nodes.away(bare), kind)

    def start(self, ready=True):
        assert self.process is None
        self.write()
        self._create_database()
        notify = self.folder / "notify.sock"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(notify))
            with open(self.log_path, "ab") as log:
                self.process = subprocess.Popen(
                    [*self.options.get("wrapper", ()), self.options.get("musterd", MUSTERD),
                     "--config", self.file],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env={**os.environ, "NOTIFY_SOCKET": str(notify),
                         "ASAN_OPTIONS": ASAN_OPTIONS, **self._disk(),
                         **self._second_node()},
                    preexec_fn=self._limit if self.options.get("limits") else None)
            if ready:
                self._wait_ready(listener)
        return self

    def _disk(self):
        disk = self.options.get("disk")
        return disk.env(self.folder) if disk else {}

    def _create_database(self):
        if self.owned and self.owned not in CREATED:
            CREATED.add(self.owned)
            database.psql(database.url_of(database.shared(), "postgres"),
                          f"CREATE DATABASE {self.owned} TEMPLATE {self.template}")

    def _drop_database(self):
        if self.owned in CREATED:
            CREATED.remove(self.owned)
            database.psql(database.url_of(database.shared(), "postgres"),
                          f"DROP DATABASE {self.owned} WITH (FORCE)")

    def _limit(self):
        for name, value in self.options.get("limits", {}).items():
            resource.setrlimit(name, (value, value))

    def _wait_ready(self, listener):
        deadline = time.monotonic() + 2 * TIMEOUT
        while time.monotonic() < deadline:
            if select.select([listener], [], [], 0.05)[0]:
                if b"READY=1" in listener.recv(4096):
                    return
            if self.process.poll() is not None:
                break
        raise AssertionError(f"musterd is not ready ({self.process.poll()})\n{self.log()}")

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_log(self, pattern):
        """Until the log has a line that matches."""
        deadline = time.monotonic() + TIMEOUT
        while not re.search(pattern, self.log()):
            assert time.monotonic() < deadline, f"no {pattern!r} in the log\n{self.log()[-2000:]}"
            assert self.process.poll() is None, f"musterd ended\n{self.log()[-2000:]}"
            select.select([], [], [], 0.02)

    def wait_exit(self, timeout=TIMEOUT):
        code = self.process.wait(timeout)
        self.process = None
        return code

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """SIGTERM; the server leaves without a complaint and with exit code 0: it does so only if
        it is done within its own time limit."""
        if self.process is None:
            return
        try:
            self.signal(signal.SIGTERM)
            code = self.wait_exit(max(TIMEOUT, 20))
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGABRT)
            self.wait_exit()
            raise AssertionError(f"musterd did not leave after SIGTERM\n{self.log()[-4000:]}")
        assert code == 0, f"musterd left with {code}\n{self.log()[-6000:]}"
        self.check_log()

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.wait_exit()

    def restart(self):
        self.stop()
        return self.start()

    def check_log(self):
        log = self.log()
        found = REPORTS.search(log)
        assert not found, log[max(0, found.start() - 500):found.start() + 6000]

    def begin_as(self, other):
        """With a copy of what the other one has stored, which has ended."""
        shutil.copytree(other.data, self.data)
        self.template = other.owned

    def finish(self, keep=False):
        """The end of a test: clients first, so that nothing is hibernated, then the process."""
        for client in self.clients:
            client.sock.close()
        try:
            self.stop()
        finally:
            if self.process is not None:
                self.kill()
            if not keep:
                self._drop_database()
            for probe in self.held:
                probe.close()

    def status_kib(self, field="VmRSS"):
        """A field of /proc/PID/status in KiB."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+)", text, re.M).group(1))

    def cpu_seconds(self):
        """Processor time since its start: a measure that does not depend on other processes."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # --- database ---

    def database(self, read_only=False):
        """A connection to it: `with server.database() as db: db.execute(…)`."""
        if self.url:
            return contextlib.nullcontext(database.Connection(self.url))
        return database.sqlite_connection(self.data / "muster.db", read_only)

    def indexed(self, word):
        """How many messages the index of words finds, whoever asks."""
        with self.database(read_only=True) as db:
            if self.url:
                sql = "SELECT count(*) FROM message_fts WHERE words @@ CAST(? AS tsquery)"
                return db.execute(sql, (f"'{word}'",)).fetchone()[0]
            sql = "SELECT count(*) FROM message_fts WHERE message_fts MATCH ?"
            return db.execute(sql, (f'"{word}"',)).fetchone()[0]

    # --- control ---

    def ctl_run(self, *args, stdin=None, own=("--yes",), timeout=3 * TIMEOUT):
        """musterctl as it is: the finished process, with text output. Files that it is told to
        write by a relative name are in the folder of the server."""
        return subprocess.run([MUSTERCTL, "--socket", self.control, *own, *map(str, args)],
                              input=stdin, cwd=self.folder if self.folder.is_dir() else None,
                              capture_output=True, text=True, timeout=timeout, check=False)

    def ctl_start(self, *args):
        """musterctl while it runs."""
        return subprocess.Popen([MUSTERCTL, "--socket", self.control, "--yes", *map(str, args)],
                                cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True)

    def ctl(self, *args, stdin=None):
        """musterctl --json; the answer, which must be a success, and as its row declares it."""
        done = self.ctl_run("--json", *args, stdin=stdin)
        if done.returncode != 0:
            raise Failed(f"musterctl {' '.join(map(str, args))}: {done.returncode}\n"
                         f"{done.stdout}{done.stderr}")
        answer = json.loads(done.stdout)
        assert not rows.wrong(answer["rows"], rows.command_of(args)["properties"]["rows"]), args
        return answer

    def rows(self, *args):
        return self.ctl(*args)["rows"]

    def run(self, command, **args):
        """A command straight over the control socket, for what most tests begin with: a third of
        the time of musterctl. The answer, which must be a success."""
        with contextlib.closing(Control(self)) as control:
            answer = control.run(command, **args)
        if not answer["ok"]:
            raise Failed(f"{command} {args}: {answer['text']}")
        return answer

    def bring(self, *args):
        """`musterctl import`: the answer. It succeeds unless a user or a room is refused."""
        done = self.ctl_run("--json", "import", *args)
        answer = json.loads(done.stdout)
        refused = re.search(r"refused: [1-9]", answer["text"]) is not None
        if done.returncode != int(refused) or not re.search(r"refused: \d", answer["text"]):
            raise Failed(f"musterctl import {args}: {done.returncode}\n{done.stdout}{done.stderr}")
        command = rows.command_of(["import", *args])
        assert not rows.wrong(answer["rows"], command["properties"]["rows"])
        return answer

    def add_user(self, name, password="secret", domain=None):
        self.run("user add", jid=f"{name}@{domain or self.domains[0]}", password=password)

    # --- clients ---

    def dial(self, name=None, tls="direct", domain=None, password="secret", **options):
        """A connection, nothing sent but the handshake if tls is "direct"."""
        domain = domain or self.domains[0]
        port = self.port("tls" if tls == "direct" else "c2s", name and f"{name}@{domain}")
        client = Client(("127.0.0.1", port), domain, name, password, **options)
        self.clients.append(client)
        if tls == "direct":
            client.wrap()
        return client

    def connect(self, name=None, tls="direct", **options):
        """A connection with its stream open: tls is "direct", "starttls", "none" (plain)."""
        client = self.dial(name, tls, **options)
        client.open()
        if tls == "starttls":
            client.starttls()
        return client

    def login(self, name, resource=None, mechanism="PLAIN", **options):
        """A bound session without presence."""
        return self.connect(name, **options).login(mechanism, resource)

    def client(self, name, resource=None, priority=None, **options):
        """A bound session that is available."""
        return self.login(name, resource, **options).available(priority)

    def ask_about_each_other(self, *users):
        """Each of these users is asked about requests of each other one, in both directions: a rule
        for the address comes before presence.approval, and before their own subscriptions."""
        users = [user if "@" in user else f"{user}@localhost" for user in users]
        for user in users:
            rules = [word for other in users if other != user for word in ("--ask", other)]
            self.ctl("policy", "set", user, *rules)

    def befriend(self, one, other):
        """Makes two users see each other's presence (both), by the protocol."""
        a, b = self.login(one, "befriend"), self.login(other, "befriend")
        for client in (a, b):
            client.result("get", "<query xmlns='jabber:iq:roster'/>")
            client.available()
        for client, peer in ((a, b), (b, a)):
            follow(client, peer)
        for client, peer in ((a, b), (b, a)):
            client.expect("<iq type='set'><query xmlns='jabber:iq:roster'>"
                          f"<item jid='{peer.bare}' subscription='both'/></query></iq>")
        for client in (a, b):
            client.close()
            self.clients.remove(client)
