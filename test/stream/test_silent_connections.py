"""What somebody without an account, or a single account, can take away from all others."""
import select
import socket

import pytest

from harness.client import TIMEOUT, until

LIMIT = 5
TOLD = 16  # PEERS_TOLD_MAX: so many more are let in to be told why they are refused
PORTS = ("c2s_port", "tls_port", "http_port", "https_port", "bosh_port", "proxy65_port")


def crowd(server, port, count):
    """Connections from 127.0.0.1 that never send anything."""
    return [socket.create_connection(("127.0.0.1", getattr(server, port)), TIMEOUT)
            for _ in range(count)]


def closed(sockets):
    poll = select.poll()
    for one in sockets:
        poll.register(one, select.POLLIN)
    return len(poll.poll(0))


@pytest.mark.parametrize("port", PORTS)
def test_connections_that_say_nothing_count(make_server, port):
    """One address does not use up the descriptors of the server, whatever it does not say."""
    server = make_server("alice", proxy65=True, settings={
        "c2s.connections-per-address": LIMIT, "http.connections-per-address": LIMIT,
        "proxy65.connections-per-address": LIMIT})
    silent = crowd(server, port, 60)
    kept = LIMIT + (0 if port == "proxy65_port" else TOLD)
    until("the others are closed", lambda: closed(silent) >= 60 - kept)
    assert closed(silent) == 60 - kept
    other = socket.create_connection(("127.0.0.1", getattr(server, port)), TIMEOUT,
                                     source_address=("127.0.0.2", 0))
    for one in silent:
        one.close()
    until("there is room again", lambda: has_room(server, port))
    assert closed([other]) == 0
    other.close()


def has_room(server, port):
    """Whether another connection stays open for a while: as long as a round trip takes."""
    (one,) = crowd(server, port, 1)
    server.ctl("status")
    stays = closed([one]) == 0
    one.close()
    return stays
