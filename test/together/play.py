#!/usr/bin/python3
"""Plays scripts that chance has written, and shrinks one that fails to its shortest form.

    test/together/play.py 17                     one seed
    test/together/play.py --count 20000          seeds 0 to 19999, four at a time
    test/together/play.py 17 --workers 4 --steps 80
    test/together/play.py --script failed.json   a script once more

MUSTERD names the server, MUSTER_DATABASE the database, as for the other tests."""
import argparse
import concurrent.futures
import dataclasses
import itertools
import json
import os
import pathlib
import random
import select
import shutil
import sys
import tempfile
import time

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import database, xml  # noqa: E402
from harness import client as clients  # noqa: E402
from harness.server import Server  # noqa: E402
from together.accounts import PUBSUB  # noqa: E402
from together.actions import NEW  # noqa: E402
from together.console import Console  # noqa: E402
from together.extras import PUSH  # noqa: E402
from together.live import Live, Wrong, wait_input  # noqa: E402
from together.registry import ACTIONS  # noqa: E402
from together.world import CUT, OFF, ON, SERVICE, Device, World  # noqa: E402

STEPS = 40
USERS = ("alice", "bob", "carol", "dave")
TRANSPORTS = ("tcp", "tcp", "websocket", "bosh")
SHRINK_SECONDS = 60  # for all runs of it
SHRINK_TIMEOUT = 6  # seconds, for each wait of a shorter script
BASE = []
MAM = "urn:xmpp:mam:2"
# How two features met: both had something to do at one place, or one of them only answered there.
DRIVEN, ANSWERED = "seed", "answered in seed"
# Features that compare_stored() asks at the end; for most of them any answer will do.
STORED = ("adhoc", "retrieval", "pep", "privacy", "bookmarks", "displayed", "pubsub_host",
          "muc_service", "upload", "disco", "time", "version", "extdisco", "vcard4", "last",
          "pubsub")
# What carries everything, and the ping that agree() sends to all that an entry concerns.
CARRIERS = {"tcp": "c2s", "websocket": "websocket", "bosh": "bosh"}
EVERYWHERE = {"account", "ping"}
# Requests to the server whose answers nothing else changes.
PLAIN = (f"<query xmlns='{xml.DISCO_INFO}'/>", "<time xmlns='urn:xmpp:time'/>",
         "<query xmlns='jabber:iq:version'/>", "<services xmlns='urn:xmpp:extdisco:2'/>",
         "<query xmlns='jabber:iq:last'/>")
STATES = {"on": (ON,), "cut": (CUT,), "off": (OFF,), "device": (ON, CUT, OFF)}


@dataclasses.dataclass(frozen=True)
class Setup:
    """How a server is set up; what is seen of it must not depend on that."""
    workers: int = 2
    migration: bool = True  # a connection moves to the worker of its account

    def settings(self):
        asks = {"presence.approval": "ask"}
        return asks if self.migration else {**asks, "c2s.migration": "off"}

    def __str__(self):
        return f"workers {self.workers}, migration {'on' if self.migration else 'off'}"


def setup_of(seed):
    return Setup((1, 2, 4)[seed % 3], seed % 4 != 3)


class Player:
    """One server, and the world that is played on it."""

    def __init__(self, folder, seed, setup, template=None):
        self.world, self.rng = World(), random.Random(seed)
        self.server = Server(folder, workers=setup.workers, settings=setup.settings(),
                             component=True)
        if template is not None:
            self.server.begin_as(template)
        self.console = Console(self.server)
        self.lives = {}
        self.script = []
        self.step = []  # what each entry of the step that is played touches
        self.driven = {}  # name of an account or room: features that something there has driven
        self.asked = set()  # names of accounts whose features of STORED have answered
        for name in USERS:
            account = self.world.account(name)
            for number in range(self.rng.choice((1, 2, 2, 3))):
                transport = self.rng.choice(TRANSPORTS)
                device = Device(account, f"d{number}", transport, carbons=self.rng.random() < 0.8,
                                sm=transport != "bosh" and self.rng.random() < 0.7)
                self.lives[device] = Live(self.server, device)

    def live(self, device):
        return self.lives[device]

    # --- to wait, and to compare ---

    def read(self):
        for live in self.lives.values():
            live.read()

    def until(self, what, true):
        deadline = time.monotonic() + clients.TIMEOUT
        while True:
            self.read()
            if true():
                return
            if time.monotonic() > deadline:
                raise Wrong(f"no {what}\n" + self.story())
            wait_input(self.lives.values(), 0.05)

    def differences(self):
        found = []
        for device, live in self.lives.items():
            if device.state == ON and not device.inactive:
                found += live.differences(self.world)
        return found

    def agree(self):
        """Until each device has seen what the model says, and nothing else, and the server has
        done all that it was asked: a later step must not overtake what nobody could see."""
        self.prove()
        deadline, pause = time.monotonic() + clients.TIMEOUT, 0.001
        while True:
            self.read()
            for live in self.lives.values():
                live.ack()
            found = self.differences()
            seen = not found
            if seen:
                found = self.unsettled()
            if not found:
                self.step = []
                return
            if time.monotonic() > deadline:
                raise Wrong("\n".join(found) + "\n" + self.story())
            if seen:  # nobody is told of what is missing
                pause = min(2 * pause, 0.05)
                select.select([], [], [], pause)
            else:
                wait_input(self.lives.values(), 0.05)

    def prove(self):
        """Whoever did something asks those whom it concerns; the answer comes behind it."""
        waited = []
        for devices, names in self.step:
            for device in devices:
                if device.state == ON:
                    waited += self.live(device).ask_behind(self.addresses(device, names))
        for live, ident in waited:
            live.answer(ident)

    def addresses(self, device, names):
        """Where what a device did may still be on its way."""
        accounts = [self.world.accounts[n].bare for n in names if n in self.world.accounts]
        rooms = [f"{n}@{SERVICE}" for n in names if n.startswith("room-")]
        return ["localhost", *(a for a in accounts if a != device.account.bare), *rooms]

    def unsettled(self):
        """What the server itself says of sessions and rooms, where it is not as in the model: a
        session that ends, or a message whose receipt is on its way, is seen by nobody else."""
        found = []
        rows = self.console.rows("session list")
        seen = {r["jid"]: r["state"] for r in rows}
        wanted = {d.jid: "connected" if d.state == ON else "hibernating"
                  for d in self.world.devices if d.state != OFF}
        if seen != wanted:
            found.append(f"sessions {seen}, not {wanted}")
        unacked = {r["jid"]: r["unacked"] for r in rows if r["unacked"]}
        for device in self.world.devices:
            if device.state == ON and not device.inactive and device.jid in unacked:
                found.append(f"{device}: {unacked[device.jid]} stanzas are not acknowledged")
                self.live(device).confirm()
        seen = {r["jid"]: r["occupants"] for r in self.console.rows("room list")}
        rooms = self.world.rooms.values()
        wanted = {r.jid: len(r.seats) for r in rooms}
        if seen != wanted:
            return [*found, f"occupants of rooms {seen}, not {wanted}"]
        for room in rooms:  # a row for each session, where some share a nickname
            wanted = sorted(d.jid for d in room.devices())
            if len(wanted) != len(room.seats):
                seen = sorted(r["jid"] for r in self.console.rows("room occupants", room=room.jid))
                if seen != wanted:
                    found.append(f"sessions in {room}: {seen}, not {wanted}")
        return found

    def story(self):
        lines = []
        for device, live in self.lives.items():
            if live.client is not None and device.state == ON:
                lines += [f"{device} received last:"]
                lines += ["  " + xml.canonical(e)[:300] for e in live.client.log[-6:]]
        return "\n".join(lines)

    def compare_archive(self, device):
        """The whole archive of the account (XEP-0313): each message once, in order. A message may
        be seen a moment before it is committed."""
        deadline = time.monotonic() + clients.TIMEOUT
        while True:
            found = self.archive_differs(device, self.read_archive(device))
            if not found:
                device.account.waiting.clear()  # what is read so is not delivered again
                device.account.read |= set(device.account.archive)
                return
            if time.monotonic() > deadline:
                raise Wrong(f"archive of {device.account}: {found}")

    def compare_room_archive(self, device, room):
        """The same of a room, whose archive has what was said since it was made."""
        deadline = time.monotonic() + clients.TIMEOUT
        while True:
            texts = self.read_archive(device, room.jid)
            found = self.archive_is_not(texts, room.said)
            found += [f"retracted, and still there: {t}" for t in texts if t in room.retracted]
            if not found:
                return
            if time.monotonic() > deadline:
                raise Wrong(f"archive of {room}: {found}")

    def read_archive(self, device, to=None):
        """The bodies of all pages."""
        live = self.live(device)
        texts, after = [], ""
        while True:
            page = (f"<query xmlns='{MAM}'><set xmlns='http://jabber.org/protocol/rsm'>"
                    f"<max>200</max>{after}</set></query>")
            start = len(live.client.log)
            fin = live.result("set", page, to).find(f"{{{MAM}}}fin")
            for element in live.client.log[start:]:
                result = element.find(f"{{{MAM}}}result")
                if result is not None:
                    if element in live.client.inbox:
                        live.client.inbox.remove(element)
                    texts.append(result.findtext(f".//{{{xml.CLIENT}}}body"))
            last = fin.findtext(".//{http://jabber.org/protocol/rsm}last")
            if fin.get("complete") == "true" or last is None:
                return texts
            after = f"<after>{last}</after>"

    def archive_differs(self, device, texts):
        kept = [t for t in texts if t in device.account.retracted]
        return self.archive_is_not(texts, device.account.archive) + (
            [f"retracted, and still there {kept}"] if kept else [])

    @staticmethod
    def archive_is_not(texts, messages):
        wanted = {m.text: m for m in messages}
        missing = [t for t in wanted if t not in texts]
        twice = [t for t in wanted if texts.count(t) > 1]
        by_sender = {}
        for text in texts:
            if text in wanted:
                by_sender.setdefault(wanted[text].sender, []).append(int(text[1:]))
        moved = {d: n for d, n in by_sender.items() if n != sorted(n)}
        return [f"{what} {which}" for what, which in
                (("missing", missing), ("twice", twice), ("out of order", moved)) if which]

    def barrier(self):
        """What anybody has asked for has been done, and told to all: a way from each device to each
        other one, and through each room, is walked to its end."""
        online = [d for d in self.world.devices if d.state == ON]
        for device in online:
            live = self.live(device)
            if device.inactive:
                live.client.send("<active xmlns='urn:xmpp:csi:0'/>")
                device.activate()
            live.result("get", "<ping xmlns='urn:xmpp:ping'/>", to="localhost")
            for room in list(self.world.rooms.values()):
                live.iq("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=room.jid)
        for device in online:
            for other in online:
                if other.account is not device.account:
                    self.live(device).iq("get", "<ping xmlns='urn:xmpp:ping'/>",
                                         to=other.account.bare)
        for device in online:
            self.live(device).result("get", "<ping xmlns='urn:xmpp:ping'/>", to="localhost")

    def met(self):
        """(one, other, how) of features that met at one account, or in one room."""
        return {(*pair, how) for place, features in self.driven.items()
                for how, more in ((DRIVEN, ()), (ANSWERED, STORED if place in self.asked else ()))
                for pair in itertools.combinations(sorted({*features, *more}), 2)}

    def finish(self):
        """At the end nothing else comes, and what is stored is right."""
        self.agree()
        self.barrier()
        self.agree()
        for account in self.world.accounts.values():
            for device in account.online()[:1]:
                self.compare_archive(device)
                self.compare_stored(device)
                self.asked.add(account.name)
        admins = {row["jid"] for row in self.console.rows("room-admin list")}
        if admins != {a.bare for a in self.world.room_administrators}:
            raise Wrong(f"administrators of group chat: {admins}, not "
                        f"{self.world.room_administrators}")
        self.server.check_log()

    def compare_stored(self, device):
        live, account = self.live(device), device.account
        node = PUBSUB.format("<items node='{}'/>")
        if account.bookmarks:
            items = live.result("get", node.format("urn:xmpp:bookmarks:1"))
            seen = {i.get("id") for i in items.iter("{http://jabber.org/protocol/pubsub}item")}
            if seen != set(account.bookmarks):
                raise Wrong(f"bookmarks of {account}: {seen}, not {set(account.bookmarks)}")
        if account.tune is not None:
            items = live.result("get", node.format("http://jabber.org/protocol/tune"))
            if items.findtext(".//{http://jabber.org/protocol/tune}title") != account.tune:
                raise Wrong(f"tune of {account}: {xml.canonical(items)}")
        if account.marks:
            items = live.result("get", node.format("urn:xmpp:mds:displayed:0"))
            seen = {i.get("id"): i[0][0].get("id")
                    for i in items.iter("{http://jabber.org/protocol/pubsub}item")}
            if seen != account.marks:
                raise Wrong(f"marks of {account}: {seen}, not {account.marks}")
        live.result("set", f"<disable xmlns='{PUSH}' jid='push.example.test'/>")
        listed = live.result("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
        seen = {i.get("jid") for i in listed.iter("{urn:xmpp:blocking}item")}
        if seen != {a.bare for a in account.blocked}:
            raise Wrong(f"block list of {account}: {seen}, not {account.blocked}")
        # whatever an account has, the nodes of other features answer
        for where, what in (("localhost", "http://jabber.org/protocol/commands"),
                            (account.bare, "http://jabber.org/protocol/offline"),
                            ("pubsub.localhost", ""), (SERVICE, "")):
            live.result("get", f"<query xmlns='{xml.DISCO_ITEMS}' node='{what}'/>", to=where)
        for request in PLAIN:
            live.result("get", request, to="localhost")
        live.result("get", "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'/>", to=account.bare)
        answer = live.iq("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="upload.localhost")
        if (answer.get("type") == "result") != self.world.uploads:
            raise Wrong(f"upload.localhost: {xml.canonical(answer)}")

    # --- scripts ---

    def name(self, thing):
        return thing if isinstance(thing, (int, str)) else repr(thing)

    def find(self, kind, name):
        """What a name of a script means now; None if it is not there, or not in that state."""
        if kind in STATES:
            device = next((d for d in self.world.devices if repr(d) == name), None)
            return device if device is not None and device.state in STATES[kind] else None
        if kind == "account":
            return self.world.accounts.get(name)
        if kind == "room":
            return self.world.rooms.get(name)
        return name

    def some(self, kind):
        """Something of that kind, by chance, as its name."""
        if kind == "digit":
            return self.rng.randrange(10)
        if kind == "new":
            return f"room-{self.rng.choice(NEW[:3])}"
        if kind == "account":
            return self.rng.choice(sorted(self.world.accounts))
        if kind == "room":
            return self.rng.choice(sorted(self.world.rooms)) if self.world.rooms else None
        fitting = [repr(d) for d in self.world.devices if d.state in STATES[kind]]
        return self.rng.choice(fitting) if fitting else None

    def touched(self, entry):
        """What an entry of a script is about: names of accounts and rooms, with the rooms in which
        these accounts are unless it is something that goes past those; None: everything."""
        name, *args = entry
        kinds = ACTIONS[name].kinds
        if not any(k in STATES or k == "account" or k == "room" for k in kinds):
            return None
        touched = set()
        for kind, arg in zip(kinds, args):
            if kind in STATES:
                touched.add(arg.partition("/")[0])
            elif kind != "digit":
                touched.add(arg)
        if not ACTIONS[name].free:
            touched |= {r.name for r in self.world.rooms.values() for a in r.nicks
                        if a.name in touched}
        return touched

    def clash(self, entry, step):
        mine = self.touched(entry)
        for name, theirs in step:
            if ACTIONS[entry[0]].free and ACTIONS[name].free:
                continue
            if mine is None or theirs is None or mine & theirs:
                return True
        return False

    def do(self, entry):
        """One entry of a script. False: it could not be done now."""
        name, *args = entry
        found = [self.find(kind, arg) for kind, arg in zip(ACTIONS[name].kinds, args)]
        if any(value is None for value in found):
            return False
        names = self.touched(entry)
        if ACTIONS[name].run(self, *found) is False:
            return False
        devices = [f for f in found if isinstance(f, Device)]
        self.step.append((devices, names or set()))
        drives = ACTIONS[name].drives | EVERYWHERE | {CARRIERS[d.transport] for d in devices}
        for place in names or {*self.world.accounts, *self.world.rooms}:
            self.driven.setdefault(place, set()).update(drives)
        return True

    def invent(self, touched):
        """One more entry that may stand beside those of the step, done already."""
        for _ in range(20):
            names = list(ACTIONS)
            name = self.rng.choices(names, [ACTIONS[n].weight for n in names])[0]
            entry = [name, *(self.some(kind) for kind in ACTIONS[name].kinds)]
            if None not in entry and not self.clash(entry, touched):
                self.script[-1].append(entry)
                names = self.touched(entry)
                if self.do(entry):
                    touched.append((name, names))
                    return
                self.script[-1].pop()

    def play_seed(self, steps):
        for device in self.world.devices[::2]:
            self.script.append([["connect", repr(device)]])
            self.do(self.script[-1][0])
            self.agree()
        for _ in range(steps):
            self.script.append([])
            touched = []
            for _ in range(self.rng.choice((1, 1, 2, 3, 5))):
                self.invent(touched)
            self.agree()
        self.finish()

    def play_script(self, script):
        for step in script:
            for entry in step:
                self.script = [step]
                self.do(entry)
            self.agree()
        self.finish()


# --- one run, and its failure ---


def template(folder):
    """A server that has had the users."""
    server = Server(folder).start()
    server.ctl("set", "register.enabled", "on")
    server.ctl("set", "push.show-away", "off")
    server.ctl("set", "muc.bookmark", "on")
    for user in USERS:
        server.add_user(user)
    server.finish(keep=True)
    return server


def run(base, seed, script=None, steps=STEPS, setup=None, met=None):
    """(what went wrong or None, the script that was played). `met` is a set that gets the
    features that met (Player.met); without a setup it is that of the seed."""
    folder = tempfile.mkdtemp(prefix=f"together-{seed}.")
    player = Player(folder, seed, setup or setup_of(seed), base)
    try:
        player.server.start()
        if script is None:
            player.play_seed(steps)
        else:
            player.play_script(script)
        player.server.finish()
        if met is not None:
            met |= player.met()
        return None, player.script
    except (AssertionError, OSError) as error:
        return f"{type(error).__name__}: {error}", player.script
    finally:
        player.console.close()
        if player.server.process is not None:
            player.server.kill()
        for probe in player.server.held:
            probe.close()
        shutil.rmtree(folder, ignore_errors=True)


def shrink(base, seed, script, setup=None):
    """The shortest script found that still fails: entries are left out in ever smaller groups."""
    deadline = time.monotonic() + SHRINK_SECONDS
    entries = [[entry] for step in script for entry in step]
    if not _fails(base, seed, entries, setup):
        entries = script
    size = max(1, len(entries) // 2)
    while size:
        at, shorter = 0, False
        while at < len(entries):
            tried = entries[:at] + entries[at + size:]
            if time.monotonic() > deadline:
                return entries
            if tried and _fails(base, seed, tried, setup):
                entries, shorter = tried, True
            else:
                at += size
        size = size if shorter and size == 1 else size // 2
    return entries


def _fails(base, seed, script, setup):
    whole, clients.TIMEOUT = clients.TIMEOUT, min(clients.TIMEOUT, SHRINK_TIMEOUT)
    try:  # twice: a machine that was busy for a moment is no failure
        return all(run(base, seed, script, setup=setup)[0] is not None for _ in range(2))
    finally:
        clients.TIMEOUT = whole


def failure_text(base, seed, script, error, setup, steps=STEPS):
    """What a person needs who looks for the cause: what was seen, also if it is not seen again."""
    headline = f"seed {seed}, {setup}, steps {steps}"
    print(f"{headline}\n{error}\nlooking for a shorter script", flush=True)
    short = shrink(base, seed, script, setup)
    again, _ = run(base, seed, short, setup=setup)
    lines = ",\n".join("  " + json.dumps(step) for step in short)
    return (f"{headline}\n{error}\n"
            f"the shortest script found ({sum(map(len, short))} entries):\n[\n{lines}\n]\n"
            + (f"which fails so:\n{again}\n" if again else "which passed when played last\n"))


def _one(job):
    seed, steps, setup = job
    error, script = run(BASE[0], seed, steps=steps, setup=setup)
    return seed, setup, error, script


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seed", nargs="*", type=int)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--workers", type=int, default=0, help="0: 1, 2 and 4 in turn")
    parser.add_argument("--migration", choices=("on", "off"),
                        help="c2s.migration; not given: off for one seed in four")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--script", type=pathlib.Path)
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--without", default="", help="actions to leave out, with commas")
    options = parser.parse_args()
    for name in filter(None, options.without.split(",")):
        del ACTIONS[name]
    with database.of_this_run():
        return play(options)


def chosen(options, seed):
    """The setup of a seed, but for what the options say."""
    setup = setup_of(seed)
    return Setup(options.workers or setup.workers,
                 setup.migration if options.migration is None else options.migration == "on")


def play(options):
    with tempfile.TemporaryDirectory(prefix="together-base.") as folder:
        return play_on(template(folder), options)


def play_on(base, options):
    seeds = options.seed or range(options.first, options.first + options.count)
    if options.script:
        seed = (options.seed or [0])[0]
        error, _ = run(base, seed, json.loads(options.script.read_text()),
                       setup=chosen(options, seed))
        print(error or "passed")
        return error is not None
    BASE.append(base)  # the processes of the pool begin with it
    jobs = [(s, options.steps, chosen(options, s)) for s in seeds]
    failed = 0
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        for done, (seed, setup, error, script) in enumerate(pool.map(_one, jobs), 1):
            if error is None:
                continue
            failed += 1
            print(f"--- seed {seed} of {done} failed\n" + (
                error if options.no_shrink
                else failure_text(base, seed, script, error, setup, options.steps)), flush=True)
    print(f"{len(jobs) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
