"""Servers that federate on loopback: certificates of one authority, a name server (dnsmasq), and Muster, ejabberd or
Prosody with settings that let them find and trust each other. Nothing is left running after World.end()."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

BENCH = pathlib.Path(__file__).resolve().parents[1]
ROOT = BENCH.parent
BUILD = ROOT / "build/bench"
MUSTERD = os.environ.get("MUSTERD", str(ROOT / "build/release/musterd"))
MUSTERCTL = os.environ.get("MUSTERCTL", str(pathlib.Path(MUSTERD).with_name("musterctl")))
WAIT = 60  # seconds
# For CPU time of work alone: limits of rates are off, as in server.sh.
SETTINGS = {
    "c2s.tls-required": "off", "c2s.stanza-rate": "none", "c2s.byte-rate": "none",
    "c2s.connections-per-address": "none", "register.enabled": "on", "register.password-min": 6,
    "register.per-address-per-hour": "none", "auth.scram-iterations": 4096,
    "s2s.policy": "open", "s2s.stanza-rate": "none", "s2s.byte-rate": "none",
    "federation.stanza-rate": "none",
    "s2s.connections-per-address": 1000000,
}


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def wait_port(port, process=None):
    end = time.monotonic() + WAIT
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            if time.monotonic() > end or (process and process.poll() is not None):
                raise SystemExit(f"nothing listens on port {port}") from None
            time.sleep(0.01)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def scheduled(pid):
    """Seconds that the loop of a server ran, and that it could have run but waited for a processor; and that the
    helper threads ran."""
    ran = waited = helped = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "schedstat").read_text().split()
        name = (task / "comm").read_text().strip()
        if name == "musterd":
            ran, waited = ran + int(fields[0]), waited + int(fields[1])
        elif name == "helper":
            helped += int(fields[0])
    return ran / 1e9, waited / 1e9, helped / 1e9


def memory(pid):
    """Resident bytes and the bytes of private memory that is not of a file: the heap and the stacks."""
    fields = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        fields[name] = int(value.split()[0]) * 1024
    return fields["Rss"], fields["Anonymous"]


def peak_begins(pid):
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pid):
    """The most bytes that were resident since then. The kernel notes it: nobody walks the pages of a process whose
    delay is measured."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def behind_others(pid, cpu):
    """All threads of a process run there when nobody else wants to, and give the processor up at once."""
    pin(pid, cpu)
    subprocess.run(["chrt", "-a", "-i", "-p", "0", str(pid)], check=True, stdout=subprocess.DEVNULL)


def pin(pid, cpu):
    subprocess.run(["taskset", "-a", "-cp", str(cpu), str(pid)], check=True, stdout=subprocess.DEVNULL)


def before_others(pid):
    """With BENCH_FIRST, all threads of a process go before other programs of a machine that is not idle: for figures
    of time. It uses little of the processors. Not by real-time priority: where the loop and a helper thread have one
    processor, a loop that spins for a lock would keep it from the helper that holds it. Where the kernel divides time
    between sessions first (autogroup), niceness counts within one only: so this session goes before others, too."""
    group = pathlib.Path("/proc/self/autogroup")
    if os.environ.get("BENCH_FIRST") and group.exists() and " nice -20" not in group.read_text():
        group.write_text("-20")
    if os.environ.get("BENCH_FIRST"):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            subprocess.run(["renice", "-n", "-9" if (task / "comm").read_text() == "helper\n" else "-19", "-p", task.name], check=True, stdout=subprocess.DEVNULL)


class World:
    """A scratch folder with an authority; the servers and the name server that run."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        self.ca = self.folder / "ca.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 30,
                "-subj", "/CN=authority of the measurement", "-keyout", self.folder / "ca.key", "-out", self.ca)
        self.running = []
        self.names = None
        self.dns_port = free_port()

    def certificate(self, name, *domains):
        """The path without .pem and .key."""
        path = self.folder / name
        alternatives = ",".join(f"DNS:{domain}" for domain in domains)
        (self.folder / "ext").write_text(f"subjectAltName={alternatives}\nbasicConstraints=CA:FALSE\n"
                                         "extendedKeyUsage=serverAuth,clientAuth\n")
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                f"/CN={name}", "-keyout", f"{path}.key", "-out", f"{path}.csr")
        openssl("x509", "-req", "-in", f"{path}.csr", "-CA", self.ca, "-CAkey", self.folder / "ca.key",
                "-CAcreateserial", "-days", 30, "-extfile", self.folder / "ext", "-out", f"{path}.pem")
        return path

    def publish(self, hosts, target="localhost"):
        """The zone from now on: {domain: port}. ejabberd asks the system for addresses, so the target is a name
        that every system knows. The lines are in a file, because there are thousands."""
        self.hide()
        zone = self.folder / "zone"
        zone.write_text("".join(f"srv-host=_xmpp-server._tcp.{domain},{target},{port}\n"
                                for domain, port in hosts.items()) + f"host-record={target},127.0.0.1\n")
        self.names = subprocess.Popen(
            ["/usr/sbin/dnsmasq", "--keep-in-foreground", f"--port={self.dns_port}", "--user=root", "--no-resolv",
             "--listen-address=127.0.0.1", "--bind-interfaces", "--no-hosts", "--local=/example/",
             f"--conf-file={zone}", f"--pid-file={self.folder}/dns.pid", "--dns-forward-max=10000"],
            stdout=subprocess.DEVNULL, stderr=open(self.folder / "dns.log", "wb"))
        wait_port(self.dns_port, self.names)

    def hide(self):
        if self.names:
            self.names.send_signal(signal.SIGTERM)
            self.names.wait()
            self.names = None

    def add(self, server):
        self.running.append(server)
        return server

    def stop(self):
        """Ends the servers; the authority and the name server stay."""
        while self.running:
            self.running.pop().stop()

    def end(self):
        self.stop()
        self.hide()


class Muster:
    """One worker, the default settings but for those above. durable: a message is acknowledged when it is stored."""
    archive = "im.durable-ack"

    def __init__(self, world, name, domains, durable=True, cpu=0, certificate=None, settings=None):
        self.folder = world.folder / f"muster-{name}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.port, self.s2s_port, self.domain = free_port(), free_port(), domains[0]
        certificate = certificate or world.certificate(f"muster-{name}", *domains)
        conf = {"node": "bench", "node_id": 1, "domains": domains, "data": str(self.folder / "data"),
                "control": str(self.folder / "control.sock"), "workers": 1,
                "listen": {"c2s": [f"127.0.0.1:{self.port}"], "c2s_tls": [], "s2s": [f"127.0.0.1:{self.s2s_port}"]},
                "tls": {"certificate": f"{certificate}.pem", "key": f"{certificate}.key", "trust": str(world.ca)},
                "log": {"level": "warn"},
                "settings": {**SETTINGS, "im.durable-ack": "on" if durable else "off",
                             "s2s.dns-servers": f"127.0.0.1:{world.dns_port}", **(settings or {})}}
        file = self.folder / "muster.yaml"
        file.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in conf.items()))
        self.log = self.folder / "log"
        self.process = subprocess.Popen([MUSTERD, "--config", str(file)], stdin=subprocess.DEVNULL,
                                        stdout=open(self.log, "wb"), stderr=subprocess.STDOUT)
        try:
            wait_port(self.port, self.process)
        except SystemExit:
            raise SystemExit(self.log.read_text()) from None
        self.pid = self.process.pid
        pin(self.pid, cpu)

    def ctl(self, *args):
        done = subprocess.run([MUSTERCTL, "--socket", str(self.folder / "control.sock"), "--json", *map(str, args)],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"musterctl {args}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def link(self):
        """How the first streams of other servers are secured and authenticated."""
        seen = {" ".join(f"{key}={row[key]}" for key in ("direction", "tls", "auth", "sm", "resumes", "bidi")
                         if key in row) for row in self.ctl("s2s", "list")["rows"][:4]}
        return "; ".join(sorted(seen))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Peer:
    """A server of another make, by its script in bench/peers."""

    def __init__(self, world, name, domains, script, port, cpu=0, more=None):
        self.domain, self.port, self.s2s_port = domains[0], port, port + 6
        certificate = world.certificate(f"{script}-{name}", self.domain, f"conference.{self.domain}")
        self.script = str(BENCH / f"peers/{script}.sh")
        self.env = {**os.environ, "BENCH_TMP": str(world.folder), "BENCH_DOMAIN": self.domain, "BENCH_NAME": name,
                    "BENCH_S2S": str(self.s2s_port), "BENCH_DNS": str(world.dns_port), "BENCH_CERT": str(certificate),
                    "BENCH_CA": str(world.ca), "BENCH_PORT": str(port), "BENCH_CPUS": str(cpu),
                    "BENCH_GC": "generational", **(more or {})}
        self.prepare()
        self.run("start")
        self.pid = int(self.run("pids"))

    def prepare(self):
        pass

    def run(self, *args):
        done = subprocess.run([self.script, *args], env=self.env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{self.script} {args}: {done.stdout}{done.stderr}")
        return done.stdout

    def stop(self):
        self.run("stop")


class Ejabberd(Peer):
    def __init__(self, world, name, domains, durable=False, cpu=0):
        port = 5450 if name == "a" else 5470
        self.folder = world.folder / f"ejabberd{'-mam-sqlite' if durable else ''}-{name}"
        super().__init__(world, name, domains, "ejabberd", port, cpu, {"BENCH_MAM": "sqlite"} if durable else None)

    def link(self):
        log = (self.folder / "ejabberd.log").read_text(errors="replace")
        how = "certificate" if "s2s EXTERNAL authentication" in log else "dialback" if "dialback" in log else "?"
        return f"TLS auth={how}, no sm (ejabberd has none between servers)"


class Prosody(Peer):
    def __init__(self, world, name, domains, durable=False, cpu=0):
        assert not durable
        self.folder = world.folder / f"prosody-{name}"
        super().__init__(world, name, domains, "prosody", 5350 if name == "a" else 5370, cpu)

    def prepare(self):
        self.run("users", "400")

    def link(self):
        log = (self.folder / "prosody.log").read_text(errors="replace")
        return f"TLS auth={'certificate' if 'SASL EXTERNAL identity' in log else 'dialback'}, sm (mod_smacks)"
