#!/usr/bin/python3
"""rooms.py PORT PIDS [LABEL]: many rooms, or a big one, as one line of JSON.

CLIENTS (500) users join ROOMS (5000) persistent rooms so that each room has OCCUPANTS (10), and stay;
then the memory of the server is read (pss_rooms: its growth since the logins, in bytes) and the CPU
time that the joins took. ROOMS=1 CLIENTS=1000 OCCUPANTS=1000 is a big meeting that everybody joins
at once. Plain TCP on 127.0.0.1:PORT; PIDS are the processes of the server; accounts are registered
in-band.

Environment: CLIENTS, ROOMS, OCCUPANTS, MUC (conference.DOMAIN), and that of load.py."""
import os
import pathlib
import sys
import time

import load

CLIENTS = int(os.environ.get("CLIENTS", 500))
ROOMS = int(os.environ.get("ROOMS", 5000))
OCCUPANTS = int(os.environ.get("OCCUPANTS", 10))
MUC = os.environ.get("MUC", "conference." + load.DOMAIN)
NS = "http://jabber.org/protocol/muc"
FORM = (f"<query xmlns='{NS}#owner'><x xmlns='jabber:x:data' type='submit'>"
        f"<field var='FORM_TYPE'><value>{NS}#roomconfig</value></field>"
        "<field var='muc#roomconfig_persistentroom'><value>1</value></field>"
        f"<field var='muc#roomconfig_maxusers'><value>{max(OCCUPANTS, 10)}</value></field></x></query>")


def user(address, name):
    client = load.user(address, name)
    client.send("<presence/>")
    client.expect(f"<presence from='{client}'/>")
    return client


def read_kib(pids, field):
    total = 0
    for pid in pids.split(","):
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(field + ":"):
                total += int(line.split()[1])
    return total


class Member(load.Connection):
    """Sends what is asked of it; counts what arrives."""

    def __init__(self, client):
        super().__init__(client)
        self.entered = self.answered = self.presences = 0

    def read(self):
        data = self.elements()
        load.refuse_errors(data)
        self.entered += load.count(data, "code", "110")
        self.answered += load.count(data, "type", "result")
        self.presences += data.count(b"</presence>")

    def join(self, room, nick):
        self.out += f"<presence to='{room}/{nick}'><x xmlns='{NS}'/></presence>".encode()

    def configure(self, room):
        self.out += f"<iq type='set' id='c' to='{room}'>{FORM}</iq>".encode()


def drive(members, done):
    """Until done(); then until nothing has come for half a second."""
    poll, by_fd = load.registered_poll(members)
    end = time.monotonic() + 120
    while not done() and time.monotonic() < end:
        for m in members:
            m.flush()
        for fd, _ in poll.poll(0.01):
            by_fd[fd].read()
    ended = time.monotonic()
    while events := poll.poll(0.5):
        for fd, _ in events:
            by_fd[fd].read()
    poll.close()
    return done(), ended


def main():
    port, pids = int(sys.argv[1]), sys.argv[2]
    members = [Member(user(("127.0.0.1", port), f"user{load.RUN}x{i}")) for i in range(CLIENTS)]
    rooms = [f"room{load.RUN}x{i}@{MUC}" for i in range(ROOMS)]
    memory, cpu, began = read_kib(pids, "Pss"), load.cpu_seconds(pids), time.monotonic()
    for i, room in enumerate(rooms):
        members[i % CLIENTS].join(room, "n0")
        members[i % CLIENTS].configure(room)
    valid, _ = drive(members, lambda: sum(m.answered for m in members) == ROOMS)
    for i, room in enumerate(rooms):
        for k in range(1, OCCUPANTS):
            members[(i + k * 37) % CLIENTS if ROOMS > 1 else k].join(room, f"n{k}")
    again, ended = drive(members, lambda: sum(m.entered for m in members) >= ROOMS * OCCUPANTS)
    cpu, presences = load.cpu_seconds(pids) - cpu, sum(m.presences for m in members)
    pss = (read_kib(pids, "Pss") - memory) * 1024
    load.report("rooms", valid=int(valid and again and presences >= ROOMS * OCCUPANTS ** 2),
                presences=presences, took_s=round(ended - began, 2), cpu_s=cpu,
                deliveries_per_cpu_s=round(presences / cpu), pss_rooms=pss,
                pss_per_occupant=pss / (ROOMS * OCCUPANTS))


main()
