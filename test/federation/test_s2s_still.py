"""The disk of the server that sends stands still, and works again: what the other server has
confirmed meanwhile is sent by nobody once more."""
import re
import time

import pytest

from harness import federation, slow_disk
from harness.client import until

ONE, OTHER = "one.test", "other.test"
LATE = 6  # seconds: more than a write may take (STORE_DEADLINE_MS)
CLIENTS = 5  # each may have 1,024 stanzas under way
EACH = 900


@pytest.fixture
def pair(make_server, tmp_path, disk):
    """alice@one.test to bob@other.test; the disk is the first one's."""
    authority = federation.Authority(tmp_path)

    def start(user, domain, disk=None):
        tls = {**authority.issue(domain, domain), "trust": str(authority.file)}
        return make_server(user, domains=[domain], s2s=True, tls=tls, disk=disk,
                           settings=federation.settings())
    one, other = start("alice", ONE, disk), start("bob", OTHER)
    federation.route(one, OTHER, other.s2s_port)
    federation.route(other, ONE, one.s2s_port)
    return one, other


def pending(server):
    with server.database(read_only=True) as db:
        return db.execute("SELECT count(*) FROM message WHERE pending_out <> 0").fetchone()[0]


def came(server):
    """The ids of what it has got, in order."""
    with server.database(read_only=True) as db:
        rows = db.execute("SELECT stanza FROM message ORDER BY id").fetchall()
    return [re.search(r"\bid='(m\d+|last)'", text)[1] for text, in rows]


@pytest.mark.sqlite
def test_what_was_confirmed_while_the_disk_stood_still_is_not_sent_again(pair, disk):
    one, other = pair
    alices = [one.client("alice", f"r{n}") for n in range(CLIENTS)]
    alices[0].send(f"<message to='bob@{OTHER}' type='chat' id='m0'><body>x</body></message>")
    until("the stream is up and nothing waits", lambda: came(other) and pending(one) == 0)
    disk.turn(sync_ms=slow_disk.STILL)
    still = time.monotonic()
    ids = [f"m{n}" for n in range(1, CLIENTS * EACH)]
    for at in range(0, len(ids), 100):
        alices[at // EACH].raw("".join(
            f"<message to='bob@{OTHER}' type='chat' id='{name}'><body>x</body></message>"
            for name in ids[at:at + 100]))
        until("they have come", lambda sent=len(ids[:at + 100]): len(came(other)) == 1 + sent)
    until("writes are late", lambda: time.monotonic() > still + LATE)
    disk.turn(sync_ms=0)
    until("each is known to be there",
          lambda: len(came(one)) == CLIENTS * EACH and pending(one) == 0)
    one.restart()
    again = one.client("alice")
    again.send(f"<message to='bob@{OTHER}' type='chat' id='last'><body>x</body></message>")
    until("the last has come", lambda: came(other)[-1] == "last")
    assert sorted(came(other)) == sorted(["m0", *ids, "last"])
