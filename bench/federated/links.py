"""Links: how soon one is up, what 1,000 at once cost others, and what idle ones weigh."""
import json
import os
import pathlib
import re
import select
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "test"))

from harness.client import Client  # noqa: E402
from servers import (BUILD, Muster, before_others, behind_others, free_port, memory, peak, peak_begins,  # noqa: E402
                     scheduled, wait_port)

OURS = "send.example"
SETUPS, DOMAINS = 200, 50  # a server of ours has at most 64 domains
REMOTE, SENDERS, ROUNDS = 1000, 20, 5
LINKS = int(os.environ.get("LINKS", "5000"))


def user(server, name, domain):
    """A session of a new account."""
    address = ("127.0.0.1", server.port)
    client = Client(address, domain, name)
    client.open()
    client.iq("set", f"<query xmlns='jabber:iq:register'><username>{name}</username>"
                     "<password>secret</password></query>")
    client.sock.close()
    client = Client(address, domain, name)
    client.open()
    client.login("PLAIN")
    return client


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def setup(world):
    """From a message of a client, over SRV, TCP, TLS 1.3 and EXTERNAL, to the client of the other server."""
    domains = [f"d{n}.many.example" for n in range(DOMAINS)]
    world.publish({})
    ours = world.add(Muster(world, "a", [OURS], durable=False))
    theirs = world.add(Muster(world, "b", domains, durable=False, cpu=1))
    world.publish({OURS: ours.s2s_port, **{domain: theirs.s2s_port for domain in domains}})
    for pid in os.getpid(), ours.pid, theirs.pid, world.names.pid:
        before_others(pid)
    alice = user(ours, "alice", OURS)
    bobs = [user(theirs, "bob", domain) for domain in domains]
    for bob in bobs:
        bob.send("<presence/>")
        bob.expect(f"<presence from='{bob}'/>")
    taken, warm = [], []
    for n in range(SETUPS):
        bob = bobs[n % DOMAINS]
        if n >= DOMAINS:
            ours.ctl("s2s", "close", bob.domain)
            while ours.ctl("s2s", "list", bob.domain)["rows"]:
                time.sleep(0.001)
        for times, mark in (taken, "first"), (warm, "second"):
            began = time.monotonic()
            alice.send(f"<message to='{bob}' type='chat' id='{mark}{n}'><body>{n}</body></message>")
            bob.expect(f"<message id='{mark}{n}'/>")
            times.append(1000 * (time.monotonic() - began))
    link = ours.link()
    world.stop()
    figures = {"label": "setup", "setups": SETUPS, "p50_ms": percentile(taken, 0.5), "p99_ms": percentile(taken, 0.99),
               "max_ms": max(taken), "warm_p50_ms": percentile(warm, 0.5), "link": link}
    print("| set-up of a link, first message delivered | p50, ms | p99, ms | max, ms | a second message, p50 | link |\n"
          "|---|---:|---:|---:|---:|---|\n"
          f"| {SETUPS} set-ups (target: p99 < 30 ms) | {figures['p50_ms']:.1f} | {figures['p99_ms']:.1f} | "
          f"{figures['max_ms']:.1f} | {figures['warm_p50_ms']:.2f} | {link} |\n", flush=True)
    return figures


class Partner:
    """A process of partner.py, for all domains below many.example."""

    def __init__(self, world, ours):
        certificate = world.certificate("partner", "*.many.example")
        self.port = free_port()
        self.process = subprocess.Popen(
            ["taskset", "-c", "1", "/usr/bin/python3",
             str(pathlib.Path(__file__).with_name("partner.py")), str(self.port), str(certificate),
             str(ours.s2s_port), OURS], stdin=subprocess.DEVNULL)
        wait_port(self.port, self.process)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Silent:
    """Two servers that never answer: one whose queue of connections is full, so that the kernel drops the first
    packet of each new one; and one that lets them wait there."""

    def __init__(self):
        self.full, self.patient = socket.socket(), socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.full.bind(("127.0.0.1", 0))
        self.full.listen(0)
        self.held = []
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(self.full.getsockname())
            self.held.append(sock)

    def ports(self):
        return self.full.getsockname()[1], self.patient.getsockname()[1]

    def stop(self):
        for sock in self.full, self.patient, *self.held:
            sock.close()


class Asker:
    """A session that asks domains, and what it has been told: {domain: (seconds, condition)}."""

    def __init__(self, client):
        self.sock, self.rest, self.begun, self.answers = client.sock, "", {}, {}
        self.jid = str(client)

    def ask(self, domains):
        self.begun.update(dict.fromkeys(domains, time.monotonic()))
        self.sock.settimeout(30)
        self.sock.sendall("".join(f"<iq type='get' id='q-{d}' to='{d}'><ping xmlns='urn:xmpp:ping'/></iq>"
                                  for d in domains).encode())

    def read(self):
        text = self.rest + self.sock.recv(1 << 18, socket.MSG_DONTWAIT).decode()
        pattern = re.compile(r"<iq\b([^>]*?)(?:/>|>(.*?)</iq>)", re.S)
        end = 0
        for found in pattern.finditer(text):
            end = found.end()
            domain = re.search(r"\bid=['\"]q-([^'\"]*)", found[1])
            if domain:
                condition = re.search(r"<error.*?<([a-z-]+) xmlns=['\"]urn:ietf:params:xml:ns:xmpp-stanzas",
                                      found[2] or "", re.S)
                assert domain[1] not in self.answers, f"two answers for {domain[1]}"
                self.answers[domain[1]] = (time.monotonic() - self.begun[domain[1]],
                                           condition[1] if condition else "result")
        self.rest = text[end:]


def collect(askers, wanted, seconds, after=None, until=None):
    """Reads until all have been answered, that time is over, or the process `until` has ended."""
    poll = select.epoll()
    by_fd = {asker.sock.fileno(): asker for asker in askers}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    end = time.monotonic() + seconds
    while (sum(len(asker.answers) for asker in askers) < wanted and time.monotonic() < end
           and (until is None or until.poll() is None)):
        for fd, _ in poll.poll(0.5):
            by_fd[fd].read()
            if after:
                after(by_fd[fd])
    poll.close()


def local_chat(server, seconds, first):
    turns = ["chrt", "-f", "1"] if os.environ.get("BENCH_FIRST") else ["chrt", "-o", "0"]
    return subprocess.Popen(
        [*turns, "taskset", "-c", "1", str(BUILD / "xmppload"), "chat", "--json", "--port",
         str(server.port), "--domain", OURS, "--users", "100", "--first", str(first), "--rate", "2000", "--warmup", "2", "--settle", "0.5", "--seconds",
         str(seconds), "--server-pid", str(server.pid)], stdout=subprocess.PIPE, text=True)


def read_chat(process):
    return json.loads(process.communicate()[0].splitlines()[-1])


def burst_round(ours, askers, domains):
    """Local chat before, and around the moment at which all these domains are asked; with what the server was given
    of its processor meanwhile, and its memory."""
    figures = {}
    began = scheduled(ours.pid)
    before = read_chat(local_chat(ours, 12, 0))
    at_burst, rest = scheduled(ours.pid), memory(ours.pid)[0]
    peak_begins(ours.pid)
    chat = local_chat(ours, 12, 0)
    time.sleep(4)  # its window has begun
    for n, asker in enumerate(askers):
        asker.ask(domains[n::SENDERS])
    wanted = sum(len(asker.begun) for asker in askers)
    collect(askers, wanted, 100, until=chat)
    during, at_end = read_chat(chat), scheduled(ours.pid)
    collect(askers, wanted, 100)
    figures.update(before_p99_ms=before["lat_p99_us"] / 1000, during_p99_ms=during["lat_p99_us"] / 1000,
                   during_max_ms=during["lat_max_us"] / 1000, chat_valid=during["valid"], rest=rest, peak=peak(ours.pid))
    for when, begin, end in ("before", began, at_burst), ("during", at_burst, at_end):
        for name, one, other in zip(("cpu", "waited", "helped"), begin, end):
            figures[f"{when}_{name}_s"] = other - one
    return figures


def burst(world):
    """1,000 domains are asked at the same moment, of which half never answer, while others chat here. The server has
    one processor, and the other one is of the generator: the other servers, the name server and the askers run when
    that does not, so that nothing but the server is in the delay; with BENCH_FIRST it goes before all of them at once
    (SCHED_FIFO). Five times, each with new domains, since a p99 of 12 s is as often that of the machine."""
    ours = world.add(Muster(world, "a", [OURS], durable=False))
    partner, silent = world.add(Partner(world, ours)), world.add(Silent())
    alive = [f"ok{n}.many.example" for n in range(ROUNDS * REMOTE // 2)]
    dead = [f"dead{n}.many.example" for n in range(ROUNDS * REMOTE // 2)]
    world.publish({**{domain: partner.port for domain in alive},
                   **{domain: silent.ports()[n % 2] for n, domain in enumerate(dead)}})
    subprocess.run([str(BUILD / "xmppload"), "register", "--json", "--port", str(ours.port), "--domain", OURS, "--users",
                    "100", "--first", "0"], check=True, stdout=subprocess.DEVNULL)
    before_others(ours.pid)
    for pid in partner.process.pid, world.names.pid, os.getpid():
        behind_others(pid, 1)
    askers = [Asker(user(ours, f"asker{n}", OURS)) for n in range(SENDERS)]
    read_chat(local_chat(ours, 4, 0))  # what is new is warm then
    both = [domain for pair in zip(alive, dead) for domain in pair]
    rounds = [burst_round(ours, askers, both[n * REMOTE:(n + 1) * REMOTE]) for n in range(ROUNDS)]
    answers = {d: a for asker in askers for d, a in asker.answers.items()}
    good = [seconds for seconds, condition in answers.values() if condition == "result"]
    bad = [seconds for seconds, condition in answers.values() if condition != "result"]
    conditions = sorted({condition for _, condition in answers.values()})
    world.stop()
    before, during = (statistics.median(one[f"{when}_p99_ms"] for one in rounds) for when in ("before", "during"))
    print(f"| {REMOTE} domains at once, half of them silent | local p99 before, ms | of the 12 s around it, ms "
          "| the loop ran, s | it waited for its processor, s | helper threads ran, s |\n|---|---:|---:|---:|---:|---:|")
    for n, one in enumerate(rounds):
        print(f"| round {n + 1} | {one['before_p99_ms']:.2f} | {one['during_p99_ms']:.2f} | {one['during_cpu_s']:.2f} "
              f"| {one['before_waited_s']:.2f} → {one['during_waited_s']:.2f} | {one['during_helped_s']:.2f} |")
    print(f"| median ({during / before:.2f} ×; target 1.5 ×) | {before:.2f} | {during:.2f} | | | |\n\n"
          f"{len(answers)} answers of {ROUNDS * REMOTE} ({', '.join(conditions)}): {len(good)} of domains that answer, the "
          f"last after {max(good, default=0):.1f} s; {len(bad)} errors for the others, the last after "
          f"{max(bad, default=0):.1f} s. Memory before the first {rounds[0]['rest'] / 2**20:.1f} MiB, highest of it "
          f"{rounds[0]['peak'] / 2**20:.1f} MiB, of all {max(one['peak'] for one in rounds) / 2**20:.1f} MiB.\n", flush=True)
    return {"label": "burst", "rounds": rounds, "before_p99_ms": before, "during_p99_ms": during,
            "answers": len(answers), "good": len(good), "bad": len(bad), "conditions": conditions,
            "good_max_s": max(good, default=0), "bad_max_s": max(bad, default=0)}


def idle(world):
    """Links in each direction that nothing goes over any more; socket buffers in the kernel are not counted."""
    ours = world.add(Muster(world, "a", [OURS], durable=False))
    partner = world.add(Partner(world, ours))
    warm = [f"w{n}.many.example" for n in range(50)]
    domains = [f"l{n}.many.example" for n in range(LINKS)]
    world.publish(dict.fromkeys(warm + domains, partner.port))
    asker = Asker(user(ours, "asker", OURS))
    asker.ask(warm)
    collect([asker], len(warm), 30)
    if len(asker.answers) != len(warm):
        raise SystemExit("idle: the partner does not answer")
    began, before = time.monotonic(), memory(ours.pid)
    waiting = domains[::-1]

    def more(asker):
        room = 100 - (len(asker.begun) - len(asker.answers))
        if room >= 50 and waiting:
            asker.ask([waiting.pop() for _ in range(min(room, len(waiting)))])

    more(asker)
    collect([asker], len(warm) + LINKS, 120, more)
    good = sum(condition == "result" for _, condition in asker.answers.values()) - len(warm)
    took = time.monotonic() - began
    time.sleep(2)
    after = memory(ours.pid)
    links = 2 * good
    world.stop()
    figures = {"label": "idle", "links": links, "rss_per_link": (after[0] - before[0]) / max(links, 1),
               "anonymous_per_link": (after[1] - before[1]) / max(links, 1), "seconds": took}
    print("| idle links | resident, KiB each | heap, KiB each | made in, s |\n|---|---:|---:|---:|\n"
          f"| {good} in each direction (target: 25 KiB) | {figures['rss_per_link'] / 1024:.1f} | "
          f"{figures['anonymous_per_link'] / 1024:.1f} | {took:.0f} |\n", flush=True)
    return figures
