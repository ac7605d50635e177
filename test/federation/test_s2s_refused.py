"""Our stream to another server breaks, and the next connections are refused for longer than a
moment in a way that waiting does not mend, as by a wrong certificate: something else has perhaps
answered in place of that server. While it keeps the session (XEP-0198), what it has not confirmed
does not go back to its senders: it has perhaps arrived."""
import select
from concurrent import futures

import pytest

from harness import xml
from harness.client import until
from federation.test_s2s_back import (BODIES, authority, confirmed, join, listener, node, resumes,
                                      said, start)
from federation.test_s2s_back import taken, wrong
from federation.test_s2s_bidi import EVIL, pending, send

__all__ = ["authority", "join", "listener", "node", "start"]
REFUSED = 5  # so many attempts follow soon, until the domain counts as one that fails


def certificate(listener, authority):
    wrong(listener, authority)


def no_tls(listener, authority):
    """The next connection is to a server without TLS."""
    with listener.sock.accept()[0] as peer:
        listener.header(peer, "plain", "")
        while peer.recv(4096):
            pass


def failed(node):
    """The reason of the connection that has failed, as operators see it; empty: none has."""
    return "".join(row["why"] for row in node.rows("s2s", "list") if row["state"] == "failed")


def not_stored(alice, body):
    alice.send(f"<message to='bob@{EVIL}' type='headline' id='{body}'><body>{body}</body>"
               "</message>")


def errors(alice):
    """The ids and conditions of those that have come since the last call."""
    alice.ping()
    found = [e for e in alice.inbox if e.get("type") == "error"]
    alice.inbox = [e for e in alice.inbox if e.get("type") != "error"]
    return [(e.get("id"), xml.condition(e.find(f"{{{xml.CLIENT}}}error"))) for e in found]


@pytest.fixture(params=[certificate, no_tls])
def refused(node, listener, authority, request):
    """A function that breaks the stream, on which BODIES have arrived. Each further attempt is
    refused until the domain counts as one that fails. It returns alice."""
    def one(max_s):
        alice, reader = confirmed(node, listener, max_s)
        send(alice, *BODIES[:-1])
        not_stored(alice, BODIES[-1])
        until("they have arrived", lambda: said(reader) == ["first", *BODIES])
        reader.cut()
        for _ in range(REFUSED):
            request.param(listener, authority)
        until("it has failed", lambda: "keeps its session" in failed(node))
        return alice
    one.again = lambda: request.param(listener, authority)
    return one


@pytest.mark.sqlite
def test_what_has_arrived_does_not_go_back_while_the_session_is_kept(node, listener, refused):
    alice = refused(60)
    assert errors(alice) == []
    not_stored(alice, "meanwhile")
    refused.again()
    assert errors(alice) == [("meanwhile", "remote-server-timeout")]
    resumes(node, listener, alice)
    assert errors(alice) == []


@pytest.mark.sqlite
def test_what_has_arrived_goes_back_once_when_the_session_is_over(node, listener, refused):
    alice = refused(3)
    assert errors(alice) == []
    back = []
    with futures.ThreadPoolExecutor(1) as there:
        there.submit(lambda: [refused.again() for _ in range(9)])
        until("all", lambda: back.extend(errors(alice)) or len(back) >= len(BODIES))
        until("the database knows it", lambda: pending(node) == 0)
        back += errors(alice)
        listener.close()
    assert [e for _, e in back] == ["remote-server-timeout"] * len(BODIES)


@pytest.mark.sqlite
def test_a_block_gives_back_what_waits_for_a_session(node, refused):
    alice = refused(60)
    node.ctl("federation", "block", EVIL)
    back = []
    until("all", lambda: back.extend(errors(alice)) or len(back) == len(BODIES))
    assert {e for _, e in back} == {"not-allowed"}, back
    until("the database knows it", lambda: pending(node) == 0)


@pytest.mark.sqlite
def test_a_retry_resumes_at_once_what_was_refused(node, listener, refused):
    alice = refused(60)
    refused.again()
    node.ctl("s2s", "retry", EVIL)
    resumes(node, listener, alice)
    assert errors(alice) == []


@pytest.mark.sqlite
def test_a_stop_leaves_to_the_database_what_waits_for_a_session(node, listener, refused):
    """A restart forgets the session, so what is stored is sent again."""
    refused(60)
    node.stop()
    assert pending(node) == len(BODIES) - 1
    while select.select([listener.sock], [], [], 0)[0]:  # an attempt that the stop has ended
        listener.sock.accept()[0].close()
    node.start()
    reader = taken(listener)
    until("they come", lambda: said(reader) == BODIES[:-1])
