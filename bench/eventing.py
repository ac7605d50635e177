#!/usr/bin/python3
"""eventing.py PORT PIDS [LABEL]: personal eventing (XEP-0163), as one line of JSON.

USERS (51) users are contacts of each other, with one device each that wants the node of all others by
its capabilities (XEP-0115), as a department is. Each publishes to a node of the own account, the next
item when the last was answered, WINDOW (2) at a time; an item has PAYLOAD (200) bytes. Counted are
the notifications that arrive. Plain TCP on 127.0.0.1:PORT; PIDS are the processes of the server, whose
CPU time is read; accounts are registered in-band.

Environment: USERS, WINDOW, PAYLOAD, and that of load.py."""
import base64
import hashlib
import os
import select
import sys
import time

import load
from harness.client import follow

USERS = int(os.environ.get("USERS", 51))
WINDOW = int(os.environ.get("WINDOW", 2))
PAYLOAD = int(os.environ.get("PAYLOAD", 200))
NODE = "http://jabber.org/protocol/tune"
DISCO = "http://jabber.org/protocol/disco#info"
FEATURES = (DISCO, NODE + "+notify")
HASH = base64.b64encode(hashlib.sha1(("client/pc//bench<" + "".join(
    f + "<" for f in sorted(FEATURES))).encode()).digest()).decode()
CAPS = (f"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:bench' ver='{HASH}'/>")
INFO = ("<identity category='client' type='pc' name='bench'/>" + "".join(
    f"<feature var='{f}'/>" for f in FEATURES))
PUBLISH = ("<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
           f"<publish node='{NODE}'><item id='current'><tune xmlns='{NODE}'><title>{'x' * PAYLOAD}"
           "</title></tune></item></publish></pubsub></iq>").encode()


def connect(address):
    users = [load.user(address, f"user{load.RUN}x{i}") for i in range(USERS)]
    for client in users:
        client.result("get", "<query xmlns='jabber:iq:roster'/>")
        client.send("<presence/>")
    for i, one in enumerate(users):
        for other in users[:i]:
            for a, b in ((one, other), (other, one)):
                follow(a, b)
        one.inbox.clear()
        one.log.clear()
    for client in users:
        client.send(f"<presence>{CAPS}</presence>")
    return users


def explain(clients, seconds):
    """Answers questions about capabilities."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for client in select.select(clients, [], [], 0.05)[0]:
            client.pump(0)
            for e in client.inbox:
                if e.get("type") == "get" and len(e) and e[0].tag == f"{{{DISCO}}}query":
                    node = e[0].get("node")
                    client.send(f"<iq type='result' to='{e.get('from')}' id='{e.get('id')}'>"
                                f"<query xmlns='{DISCO}' node='{node}'>{INFO}</query></iq>")
            client.inbox.clear()


class Reader(load.Connection):
    """Counts notifications; publishes again for each answer."""

    def read(self):
        data = self.elements()
        load.refuse_errors(data)
        self.send(PUBLISH * load.count(data, "type", "result"))
        return data.count(b"</event>")


def main():
    users = connect(("127.0.0.1", int(sys.argv[1])))
    explain(users, 3)
    for client in users:  # the first item makes the node
        client.raw(PUBLISH)
        client.expect("<iq type='result' id='p'/>")
    explain(users, 1)
    readers = [Reader(client) for client in users]
    for reader in readers:
        reader.send(PUBLISH * WINDOW)
    load.measure(readers, sys.argv[2], "eventing")


main()
