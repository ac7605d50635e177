#!/usr/bin/python3
"""instructions.py [KIND...]: how many instructions musterd runs in user space for each delivery, by callgrind.

Each kind of delivery (below; default: all) is played N times and 2 N times; the difference counts, divided by its
deliveries, so that what does not depend on their number is left out. All threads count, the kernel does not. Unlike
times, the figures can be compared on a busy machine. They vary by some 3 %; that of stored messages by more, because it
depends on how many share a commit. MUSTERD is the program (default: the release build); it needs valgrind.
Environment: ROUNDS (20), which is N for most kinds."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("MUSTER_TIMEOUT", "120")  # a program under callgrind is some 50 times as slow

import load  # noqa: E402
import preload  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
MUSTERD = os.environ.get("MUSTERD", str(HERE.parent / "build/release/musterd"))
PORT = os.environ.get("MUSTER_BENCH_PORT", "5742")
ROUNDS = int(os.environ.get("ROUNDS", 20))
USERS, CONTACTS = 100, 20
IDLE_SECONDS, IDLE_CHECKS = 0.1, 4  # of processor time in 2 s; the store fills its index when idle for some seconds
SM, MUC = "urn:xmpp:sm:3", "http://jabber.org/protocol/muc"
BODY, ADDRESS = f"<body>{'x' * 100}</body>", ("127.0.0.1", int(PORT))


class User(load.Connection):
    """Answers requests, acknowledges what it has, and counts `tokens` in what arrives."""

    def __init__(self, name, sm=""):
        client = load.login(ADDRESS, name)
        client.available()
        if sm:
            client.enable_sm()
        self.jid, self.tokens, self.answer, self.handled = str(client), (), b"", 0
        super().__init__(client)

    def read(self):
        data = self.elements()
        load.refuse_errors(data)
        self.handled += data.count(b"</message>")
        if re.search(rb"<r[ /]", data):
            self.send(f"<a xmlns='{SM}' h='{self.handled}'/>".encode())
        if self.answer:
            self.send(self.answer * load.count(data, "type", "get"))
        return sum(data.count(token) for token in self.tokens)


class Server:
    """musterd under callgrind, with users that were registered while it ran without."""

    def __init__(self, folder):
        self.folder = folder
        self.env = {**os.environ, "MUSTER_BENCH_DIR": str(folder), "MUSTER_BENCH_PORT": PORT, "DURABLE": "on"}
        self.control("start", MUSTERD)
        for i in range(USERS):
            load.register(ADDRESS, f"user{i}")
        self.control("stop", MUSTERD)
        slow = folder / "slow"
        slow.write_text("#!/bin/sh\nexec valgrind --tool=callgrind "
                        f"--callgrind-out-file='{folder}/out' '{MUSTERD}' \"$@\"\n")
        slow.chmod(0o755)
        self.control("start", str(slow))
        self.pid = (folder / "pid").read_text().strip()

    def control(self, what, program):
        subprocess.run([HERE / "server.sh", what], env={**self.env, "MUSTERD": program}, check=True,
                       stdout=subprocess.DEVNULL)

    def callgrind(self, command):
        subprocess.run(["vgdb", f"--pid={self.pid}", *command.split()], check=True, capture_output=True)

    def settle(self):
        """Until all that was stored is counted and indexed, and nothing is done any more."""
        preload.settle(self.folder / "data/muster.db")
        used, idle = load.cpu_seconds(self.pid), 0
        while idle < IDLE_CHECKS:
            time.sleep(2)
            before, used = used, load.cpu_seconds(self.pid)
            idle = idle + 1 if used - before <= IDLE_SECONDS else 0

    def instructions(self, play, rounds):
        """Of all threads, with what follows from the last round."""
        self.settle()
        self.callgrind("zero")
        play(rounds)
        self.settle()
        self.callgrind("dump")
        dumps = sorted(self.folder.glob("out.*"), key=lambda p: int(p.suffix[1:]))
        return int(re.search(r"^totals: (\d+)", dumps[-1].read_text(), re.M)[1])


def player(users, senders, text, awaited, tokens):
    """A round: each sender sends; it is over when `awaited` of the tokens have come to the users."""
    poll, by_fd = load.registered_poll(users)

    def play(rounds):
        for user in users:
            user.tokens = tokens
        for _ in range(rounds):
            for sender in senders:
                sender.send(text(sender).encode())
            left = awaited
            while left > 0:
                left -= sum(by_fd[fd].read() for fd, _ in poll.poll(1))
    return play


def chat(more="", sm="", tokens=(b"</message>",)):
    users = [User(f"user{i}", sm) for i in range(USERS)]
    to = {user: users[i ^ 1].jid for i, user in enumerate(users)}
    return player(users, users, lambda u: f"<message to='{to[u]}' type='chat'>{BODY}{more}</message>{sm}",
                  USERS * len(tokens), tokens), USERS


def stored():
    return chat(sm=f"<r xmlns='{SM}'/>", tokens=(b"</message>", b"<a "))


def not_stored():
    return chat("<no-permanent-store xmlns='urn:xmpp:hints'/><no-store xmlns='urn:xmpp:hints'/>")


def request():
    users = [User(f"user{i}") for i in range(USERS)]
    to = {user: users[i ^ 1].jid for i, user in enumerate(users)}
    for user in users:
        user.answer = f"<iq type='result' id='q' to='{to[user]}'/>".encode()
    return player(users, users, lambda u: f"<iq type='get' id='q' to='{to[u]}'><ping xmlns='urn:xmpp:ping'/></iq>",
                  USERS, (b"'result'", b'"result"')), 2 * USERS


def presence():
    users = [User(f"user{i}") for i in range(CONTACTS + 1)]
    seen, contacts = users[0], users[1:]
    bare = seen.jid.partition("/")[0]
    for contact in contacts:
        contact.send(f"<presence type='subscribe' to='{bare}'/>".encode())
        seen.send(f"<presence type='subscribed' to='{contact.jid.partition('/')[0]}'/>".encode())
    load.run(users, 5)  # what comes of it
    return player(users, [seen], lambda u: f"<presence><status>{time.monotonic()}</status></presence>",
                  CONTACTS + 1, (b"</presence>",)), CONTACTS + 1


def room(occupants):
    jid = f"room{occupants}@conference.{load.DOMAIN}"
    users = [User(f"user{i}") for i in range(occupants)]
    for i, user in enumerate(users):
        user.send(f"<presence to='{jid}/n{i}'><x xmlns='{MUC}'/></presence>".encode())
        if i == 0:
            user.send(f"<iq type='set' id='c' to='{jid}'><query xmlns='{MUC}#owner'>"
                      "<x xmlns='jabber:x:data' type='submit'/></query></iq>".encode())
        load.run(users, 0.2)
    load.run(users, 3)
    return player(users, users[:1], lambda u: f"<message to='{jid}' type='groupchat'>{BODY}</message>",
                  occupants, (b"</message>",)), occupants


def page():
    play, _ = stored()
    play(50)  # a hundred messages for each
    users = [User(f"user{i}") for i in range(10)]
    return player(users, users, lambda u: "<iq type='set' id='m'><query xmlns='urn:xmpp:mam:2'><set xmlns="
                  "'http://jabber.org/protocol/rsm'><max>50</max><before/></set></query></iq>",
                  10, (b"</fin>",)), 10


KINDS = {  # and how many times ROUNDS
    "chat": ("message to a user, not stored", not_stored, 1),
    "stored": ("message to a user, stored", stored, 1),
    "presence": (f"presence to each of {CONTACTS} contacts", presence, 25),
    "room10": ("message of a room to each of 10 occupants", lambda: room(10), 25),
    "room100": ("message of a room to each of 100 occupants", lambda: room(100), 2),
    "iq": ("request or result of a user to another", request, 1),
    "page": ("archive page of 50 messages", page, 1)}


def main():
    names = sys.argv[1:] or list(KINDS)
    if set(names) - set(KINDS):
        sys.exit(f"KIND is one of {', '.join(KINDS)}")
    with tempfile.TemporaryDirectory() as folder:
        server = Server(pathlib.Path(folder))
        try:
            for name in names:
                text, make, times = KINDS[name]
                play, deliveries = make()
                play(ROUNDS // 2)  # once everything, so that caches are full
                once, twice = (server.instructions(play, n * ROUNDS * times) for n in (1, 2))
                print(f"{text:45} {(twice - once) / (ROUNDS * times * deliveries):10,.0f}", flush=True)
        finally:
            server.control("stop", MUSTERD)


main()
