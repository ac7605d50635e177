#!/usr/bin/python3
"""copies.py PORT PIDS [LABEL]: conversations of users with several devices, as one line of JSON.

Pairs of users write to each other in both directions, from one device to one device; each has
DEVICES (3) devices, all with message carbons (XEP-0280). So each message is delivered once and
copied to the other devices of both: 2 * DEVICES - 1 deliveries. A device sends the next message
when one of its peer has arrived, WINDOW (4) at a time. Plain TCP on 127.0.0.1:PORT; PIDS are the
processes of the server, whose CPU time is read; accounts are registered in-band.

Environment: PAIRS (50), DEVICES, WINDOW, and that of load.py."""
import os
import sys

import load

PAIRS = int(os.environ.get("PAIRS", 50))
DEVICES = int(os.environ.get("DEVICES", 3))
WINDOW = int(os.environ.get("WINDOW", 4))
CARBONS = "urn:xmpp:carbons:2"


class Device(load.Connection):
    """Counts what arrives; one that talks to a peer answers it."""

    def __init__(self, client, peer):
        super().__init__(client)
        self.talks = peer is not None
        self.message = (f"<message to='{peer}' type='chat'><body>{'x' * 100}</body></message>"
                        ).encode()

    def read(self):
        """Deliveries that were completed."""
        data = self.elements()
        copies = data.count(b"</forwarded>")  # a copy has a message inside
        count = data.count(b"</message>") - copies
        if self.talks:
            self.send(self.message * count)
        return count


def login(address, name, resource):
    client = load.login(address, name, resource)
    answer = client.iq("set", f"<enable xmlns='{CARBONS}'/>")
    assert answer.get("type") == "result", "no carbons"
    client.send("<presence/>")
    return client


def connect(address):
    devices = []
    for pair in range(PAIRS):
        names = [f"copies{2 * pair + side}" for side in (0, 1)]
        for name in names:
            load.register(address, name)
        for name, other in (names, reversed(names)):
            for i in range(DEVICES):
                peer = f"{other}@{load.DOMAIN}/d0" if i == 0 else None
                devices.append(Device(login(address, name, f"d{i}"), peer))
    return devices


def main():
    devices = connect(("127.0.0.1", int(sys.argv[1])))
    load.run(devices, 1)  # presence of all, of no interest
    for device in devices:
        if device.talks:
            device.send(device.message * WINDOW)
    load.measure(devices, sys.argv[2], "copies")


main()
