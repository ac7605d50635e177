"""Many attempts at a time: nobody takes turns of others, and what was never reached is limited."""
import re
import socket

import pytest

from harness import federation, xml
from harness.client import TIMEOUT, until

ONE = "one.test"
NEW_MAX = 100  # domains that were never reached, for a sender


@pytest.fixture
def one(make_server, tmp_path):
    cert = federation.Authority(tmp_path).issue(ONE, ONE)
    server = make_server("alice", "bob", "carol", domains=[ONE], s2s=True, workers=1, tls=cert,
                         settings=federation.settings())
    return server


@pytest.fixture
def silent(one):
    """*.silent.test: one attempt at a time is made."""
    one.ctl("set", "s2s.connecting", 1)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
        sock.settimeout(TIMEOUT)
        for pattern in "*.silent.test", "known.silent.test":
            federation.route(one, pattern, sock.getsockname()[1])
        yield sock


def say(client, *domains):
    client.raw("".join(f"<message to='x@{domain}.silent.test' type='chat' id='{domain}'>"
                       "<body>m</body></message>" for domain in domains))
    client.ping()


def conditions(client):
    client.ping()
    return [xml.condition(e.find(f"{{{xml.CLIENT}}}error")) for e in client.log
            if e.get("type") == "error"]


def asked(sock):
    """The domain of the next attempt, which ends then."""
    peer, _ = sock.accept()
    with peer:
        peer.settimeout(TIMEOUT)
        text = ""
        while not (found := re.search("to=['\"](.*?).silent.test['\"]", text)):
            text += peer.recv(4096).decode()
    return found[1]


def test_accounts_take_turns_and_domains_that_are_known_go_first(one, silent):
    alice, bob, carol = (one.client(name) for name in ("alice", "bob", "carol"))
    say(alice, *(f"a{n}" for n in range(8)))
    say(bob, "b0", "b1")
    say(carol, "c0", "known")
    order = [asked(silent) for _ in range(8)]
    assert order == ["a0", "known", "a1", "b0", "c0", "a2", "b1", "a3"]


def test_domains_that_were_never_reached_are_limited(one, silent):
    """For each sender: those of others still find a place."""
    alice, bob = one.client("alice"), one.client("bob")
    say(alice, *(f"a{n}" for n in range(NEW_MAX + 20)))
    until("what is too much", lambda: len(conditions(alice)) >= 20)
    assert conditions(alice) == ["resource-constraint"] * 20
    say(alice, "known")
    say(bob, "b0")
    assert len(one.rows("s2s", "list")) == NEW_MAX + 2
    assert conditions(bob) == []
