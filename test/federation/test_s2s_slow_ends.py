"""A stream that is read slowly (federation.stanza-rate) ends, by an operator or by a planned
restart of either server: what was sent on it arrives once and in order."""
import pytest

from harness.client import until
from federation.test_s2s_bidi import ONE, OTHER, authority, begin, federation, start

__all__ = ["authority", "start"]
SLOW, MANY = 50, 150


@pytest.fixture(params=[True, False], ids=["counted", "plain"])
def counted(request):
    return request.param


@pytest.fixture
def servers(start, counted):
    """alice@one.test, whose server reads slowly, and bob@other.test."""
    more = {} if counted else {"resume_for": "none"}
    why = "plain: no stream between the servers is counted (XEP-0198)"
    one, other = (start(*who, why=why, **more) for who in (("alice", ONE), ("bob", OTHER)))
    federation.route(one, OTHER, other.s2s_port)
    federation.route(other, ONE, one.s2s_port)
    return one, other


def close(server, there):
    server.ctl("s2s", "close", there)


def restart(server, there):
    del there
    server.restart()


def arrived(one):
    rows = one.rows("archive", "read", f"alice@{ONE}", "--limit", "1000")
    return [int(r["body"]) for r in rows if r["body"].isdigit()]


@pytest.mark.parametrize("opens", ["reader", "writer"])
@pytest.mark.parametrize("ends", ["reader", "writer"])
@pytest.mark.parametrize("end", [close, restart])
def test_what_is_read_slowly_arrives_once_when_its_stream_ends(servers, counted, end, ends, opens):
    """In a restart, a writer forgets what the reader has not confirmed: of what is counted
    (XEP-0198) that is what it takes at once. It also repeats what it cannot count."""
    one, other = servers
    alice, bob = one.client("alice"), other.client("bob")
    begin(*((one, other, alice, bob) if opens == "reader" else (other, one, bob, alice)))
    one.ctl("set", "federation.stanza-rate", str(SLOW))
    for n in range(MANY):
        bob.send(f"<message to='{alice.bare}' type='chat' id='m{n}'><body>{n}</body></message>")
    bob.ping()
    one.wait_log("event=s2s.held")
    end(*((one, OTHER) if ends == "reader" else (other, ONE)))
    bob = other.client("bob")
    bob.send(f"<message to='{alice.bare}' type='chat'><body>{MANY}</body></message>")
    until("all have arrived", lambda: set(arrived(one)) >= set(range(MANY + 1)))
    found = arrived(one)
    assert list(dict.fromkeys(found)) == list(range(MANY + 1))
    if counted or ends == "reader":
        assert len(found) - MANY - 1 <= (SLOW // 2 if (end, ends) == (restart, "writer") else 0)
