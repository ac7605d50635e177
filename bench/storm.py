#!/usr/bin/env python3
"""A storm between two servers: their users write to each other in bursts, while connections break, hang and are slow,
operators close streams and change settings and demands, and servers are stopped, killed and started again. Then all is well, and
every message that a server has acknowledged (XEP-0198) must have arrived, those of each pair of users in order.

    bench/storm.py [SEED ...]     each is a storm; without any: three new ones

A seed gives the same events again, as far as the machine is as fast. SECONDS (20) says how long a storm lasts, MUSTERD
which program is tried: one with sanitizers is a good choice. Talks to loopback only. The folder of a storm that went
wrong stays, with its events; the exit status is 1 then."""
import asyncio
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test"))
os.environ.setdefault("MUSTERD", str(ROOT / "build/release/musterd"))
os.environ.setdefault("MUSTERCTL", str(ROOT / "build/release/musterctl"))

from harness import federation, xml  # noqa: E402
from harness.server import Server  # noqa: E402

SECONDS = float(os.environ.get("SECONDS", "20"))
SETTLE_S = 70  # a stream that is dead without a word is found out in less
DOMAINS = "a.test", "b.test"
BODY = re.compile(r"<body>([ab]\d-[ab]\d-\d+)</body>")
RESET = b"\1\0\0\0\0\0\0\0"  # for SO_LINGER
CHANGES = [("s2s.bidi", "on"), ("s2s.bidi", "off"), ("s2s.resume-for", "none"), ("s2s.resume-for", "1min"),
           ("s2s.multiplex", "on"), ("s2s.multiplex", "off"), ("s2s.idle", "1s"), ("s2s.idle", "10min"),
           ("s2s.unacked-max", "5"), ("s2s.unacked-max", "1000"), ("s2s.ack-timeout", "2s")]


class Proxy:
    """A TCP proxy on a thread. mode: up, refuse, hang (accepts alone), freeze (reads nothing more) or slow."""

    def __init__(self, target):
        self.target, self.mode, self.pairs, self.server = target, "up", set(), None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.turn("up")

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def turn(self, mode):
        self.mode = mode
        self.call(self._listen(mode != "refuse"))

    def cut(self, count, reset):
        self.call(self._cut(count, reset))

    async def _listen(self, on):
        if on and self.server is None:
            self.server = await asyncio.start_server(self._came, "127.0.0.1", self.port, reuse_address=True)
        elif not on and self.server is not None:
            self.server.close()
            self.server = None

    async def _came(self, reader, writer):
        if self.mode == "hang":
            self.pairs.add((writer,))
            return
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = writer, forth
        self.pairs.add(pair)
        for one, other in (reader, forth), (back, writer):
            asyncio.ensure_future(self._carry(one, other, pair))

    async def _carry(self, reader, writer, pair):
        with contextlib.suppress(OSError):
            while data := await reader.read(200 if self.mode == "slow" else 16384):
                while self.mode == "freeze":
                    await asyncio.sleep(0.02)
                await asyncio.sleep(0.03 if self.mode == "slow" else 0)
                writer.write(data)
                await writer.drain()
        self._drop(pair, False)

    def _drop(self, pair, reset):
        self.pairs.discard(pair)
        for writer in pair:
            if reset:
                with contextlib.suppress(OSError, AttributeError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()
            else:
                writer.close()

    async def _cut(self, count, reset):
        for pair in random.sample(sorted(self.pairs, key=id), min(count, len(self.pairs))):
            self._drop(pair, reset)


class User:
    """Someone who writes numbered messages, and what of them is acknowledged."""

    def __init__(self, server, name, domain):
        self.server, self.name, self.domain = server, name, domain
        self.acked, self.errors, self.count, self.client = set(), [], 0, None

    def login(self):
        self.client = self.server.client(self.name)
        self.client.enable_sm()
        self.client.acked, self.sent, self.seen = 0, [], len(self.client.log)

    def say(self, to, count):
        for _ in range(count):
            self.count += 1
            ident = f"{self.name}-{to.name}-{self.count}"
            self.sent.append(ident)
            self.client.raw(f"<message to='{to.name}@{to.domain}' type='chat' id='{ident}'><body>{ident}</body>"
                            "</message>")
        self.client.request_ack()

    def read(self):
        if self.client is None:
            return
        with contextlib.suppress(OSError, AssertionError):
            while self.client.pump(0) and not self.client.eof:
                pass
        for e in self.client.log[self.seen:]:
            if e.tag.endswith("}message") and e.get("type") == "error":
                self.errors.append((e.get("id"), xml.condition(e.find(f"{{{xml.CLIENT}}}error"))))
        self.seen = len(self.client.log)
        self.client.inbox.clear()
        self.acked.update(self.sent[:self.client.acked])


class Storm:
    def __init__(self, seed, folder):
        self.random, self.folder, self.begun, self.events, self.later = random.Random(seed), folder, time.monotonic(), [], []
        authority = federation.Authority(folder)
        options = {d: {"ack_timeout": self.pick("2s", "5s", "1min"), "connections": self.pick(1, 1, 3),
                       "bidi": self.pick("on", "on", "on", "off"), "multiplex": self.pick("off", "off", "on"),
                       "resume_for": self.pick("1min", "1min", "2s", "none")} for d in DOMAINS}
        self.kills = self.random.random() < 0.4
        self.one_way = self.random.random() < 0.4  # only the first can connect, and stanzas go back on that
        if self.one_way:
            for option in options.values():
                option["bidi"] = "on"
        self.servers = {d: self.start(d, authority, options[d]) for d in DOMAINS}
        other = dict(zip(DOMAINS, reversed(DOMAINS)))
        self.proxies = {d: Proxy(self.servers[other[d]].s2s_port) for d in DOMAINS}  # the way from d
        for d in DOMAINS:
            federation.route(self.servers[d], other[d], self.proxies[d].port)
        self.other, self.down = other, set()
        if self.one_way:
            self.proxies[DOMAINS[1]].turn("refuse")
        self.users = [User(self.servers[d], f"{d[0]}{n}", d) for d in DOMAINS for n in range(2)]
        for user in self.users:
            user.login()
        print(f"seed {seed}: {options}, kills: {self.kills}, one way: {self.one_way}", flush=True)

    def pick(self, *of):
        return self.random.choice(of)

    def start(self, domain, authority, options):
        tls = {**authority.issue(domain, domain), "trust": str(authority.file)}
        changing = {name: options[name] for name in options if name != "connections"}  # not in the node file
        server = Server(self.folder / domain, settings=federation.settings(connections=options["connections"]), domains=[domain], s2s=True,
                        workers=2, tls=tls, why="a storm changes all of them")
        server.start()
        for name, value in changing.items():
            server.ctl("set", f"s2s.{name.replace('_', '-')}", str(value))
        for n in range(2):
            server.add_user(f"{domain[0]}{n}")
        server.ctl("set", "c2s.stanza-rate", "none")
        return server

    def note(self, *event):
        self.events.append((round(time.monotonic() - self.begun, 2), *event))

    def after(self, seconds, what, *args):
        self.later.append((time.monotonic() + seconds, what, args))

    def pump(self, all_of_it=False):
        for user in self.users:
            user.read()
        for due in [one for one in self.later if all_of_it or one[0] <= time.monotonic()]:
            self.later.remove(due)
            due[1](*due[2])

    def burst(self):
        if here := [u for u in self.users if u.client is not None]:
            user = self.pick(*here)
            to = self.pick(*(u for u in self.users if u.domain != user.domain))
            count = self.pick(1, 1, 2, 5, 20, 60)
            self.note("burst", user.name, to.name, count)
            with contextlib.suppress(OSError):
                user.say(to, count)

    def cut(self, domain):
        count, reset = self.pick(1, 99), self.pick(True, False)
        self.note("cut", domain, count, reset)
        self.proxies[domain].cut(count, reset)

    def turn(self, domain, mode):
        self.note(mode, domain)
        self.proxies[domain].turn(mode)

    def weather(self, domain):
        if self.proxies[domain].mode == "up" and not (self.one_way and domain == DOMAINS[1]):
            self.turn(domain, self.pick("refuse", "hang", "freeze", "slow", "slow"))
            self.after(self.pick(0.2, 1, 3, 6), self.turn, domain, "up")

    def operate(self, domain):
        if domain not in self.down:
            change = self.pick(*CHANGES[2 if self.one_way else 0:])
            close, auth = ("s2s", "close", self.other[domain]), self.pick("any", "dialback")
            args = self.pick(close, close, ("s2s", "retry", self.other[domain]), ("set", *change), ("set", *change),
                             ("server", "reload"), ("s2s-demand", "set", self.other[domain], "--auth", auth))
            if args[0] == "s2s-demand" and self.one_way:  # a key needs a way back
                return
            self.note(domain, *args)
            refused = self.servers[domain].ctl_run(*args).returncode
            if refused and args[0] != "s2s":  # nothing to close or to retry
                raise SystemExit(f"{args} was refused")

    def hold(self, domain):
        if domain not in self.down:
            self.note("stands still", domain)
            self.servers[domain].signal(signal.SIGSTOP)
            self.down.add(domain)
            self.after(self.pick(0.3, 2, 4), self.go_on, domain)

    def go_on(self, domain):
        self.note("goes on", domain)
        self.servers[domain].signal(signal.SIGCONT)
        self.down.discard(domain)

    def end(self, domain):
        if domain in self.down or not self.kills:
            return
        how = self.pick("kill", "stop")
        self.note(how, domain)
        self.pump()
        getattr(self.servers[domain], how)()
        self.down.add(domain)
        for user in self.users:
            if user.domain == domain:
                user.read()
                user.client = None
        self.after(self.pick(0, 1, 3), self.begin, domain)

    def begin(self, domain):
        self.note("start", domain)
        self.servers[domain].start()
        self.down.discard(domain)
        for user in self.users:
            if user.domain == domain:
                user.login()

    def rage(self):
        acts = [(self.burst, 10), (self.cut, 3), (self.weather, 3), (self.operate, 4), (self.hold, 1), (self.end, 1)]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            self.pump()
            act, = self.random.choices([one for one, _ in acts], [weight for _, weight in acts])
            act(*([] if act == self.burst else [self.pick(*DOMAINS)]))
            if self.random.random() < 0.5:
                time.sleep(self.pick(0.01, 0.05, 0.2))
        self.pump(all_of_it=True)
        for domain in DOMAINS[:1] if self.one_way else DOMAINS:
            self.turn(domain, "up")
        for user in self.users:
            user.say(next(other for other in self.users if other.domain != user.domain), 1)

    def arrived(self, domain):
        with self.servers[domain].database(read_only=True) as db:
            return [found[1] for (text,) in db.execute("SELECT stanza FROM message ORDER BY id")
                    if (found := BODY.search(text)) and found[1][0] != domain[0]]

    def missing(self):
        there = {ident for domain in DOMAINS for ident in self.arrived(domain)}
        returned = {ident for user in self.users for ident, _ in user.errors}
        return {ident for user in self.users for ident in user.acked} - there - returned

    def waits(self):
        total = 0
        for server in self.servers.values():
            with server.database(read_only=True) as db:
                total += db.execute("SELECT count(*) FROM message WHERE pending_out <> 0").fetchone()[0]
        return total

    def disorder(self):
        """Pairs of users of whom a message came before an older one, for the first time; and how many came twice."""
        wrong, twice = [], 0
        for domain in DOMAINS:
            last, seen = {}, set()
            for ident in self.arrived(domain):
                pair, _, number = ident.rpartition("-")
                twice += ident in seen
                if ident not in seen and int(number) < last.get(pair, 0):
                    wrong.append(ident)
                last[pair] = int(number) if ident not in seen else last[pair]
                seen.add(ident)
        return wrong, twice

    def judge(self):
        end, begun = time.monotonic() + SETTLE_S, time.monotonic()
        while (self.missing() or self.waits()) and time.monotonic() < end:
            self.pump()
            time.sleep(0.2)
        took = time.monotonic() - begun
        missing, (wrong, twice) = self.missing(), self.disorder()
        errors = [error for user in self.users for error in user.errors]
        print(f"  acknowledged {sum(len(u.acked) for u in self.users)}, missing {len(missing)}, out of order {len(wrong)}, "
              f"twice {twice}, returned {len(errors)}, settled in {took:.1f} s", flush=True)
        for title, found in ("missing", sorted(missing)), ("out of order", wrong), ("returned", errors):
            if found:
                print(f"  {title}: {found[:10]}")
        return not (missing or wrong or errors or self.waits())

    def over(self):
        for user in self.users:
            if user.client is not None:
                user.client.sock.close()
        for proxy in self.proxies.values():
            proxy.cut(99, True)
            proxy.turn("refuse")
            proxy.loop.call_soon_threadsafe(proxy.loop.stop)
        for server in self.servers.values():
            server.stop()
            server.check_log()


def main():
    fine = True
    for seed in [int(one) for one in sys.argv[1:]] or random.sample(range(100000), 3):
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"storm.{seed}."))
        storm = Storm(seed, folder)
        try:
            storm.rage()
            good = storm.judge()
        finally:
            storm.over()
        if good:
            shutil.rmtree(folder)
        else:
            (folder / "events.json").write_text(json.dumps(storm.events))
            print(f"  see {folder}")
        fine = fine and good
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
