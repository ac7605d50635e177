"""What a stored thing costs does not grow with how many others are stored: messages that a client
has not acknowledged. As in test_cost.py. An account with few of them
is compared with one that has many."""
import pathlib
import time

import pytest

from test_cost import assert_bounded, used_ms

pytestmark = pytest.mark.release

CARBONS = "urn:xmpp:carbons:2"


@pytest.fixture
def server(make_server):
    return make_server("few", "many", "bob", why="more than a client may send in the time",
                       settings={"c2s.byte-rate": "none", "c2s.stanza-rate": "none"})


def workers_ms(server):
    """Without the threads of the store, which may be late."""
    tasks = pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks
               if (task / "comm").read_text().strip() == "musterd") / 1e6


def quiet(server):
    last, times = used_ms(server), 0
    while times < 3:
        time.sleep(0.1)
        now = used_ms(server)
        times = times + 1 if now - last < 2 else 0
        last = now


def end_ms(server, client):
    quiet(server)
    before = workers_ms(server)
    client.raw("</stream:stream>")
    quiet(server)
    return workers_ms(server) - before


def sessions(server, user, count):
    """None of them acknowledges what it receives."""
    all_of_them = [server.client(user, f"s{i}") for i in range(count)]
    for client in all_of_them:
        client.enable_sm(resume="false")
        client.auto_ack = False
    return all_of_them


def send(server, count, to, readers):
    bob = server.client("bob")
    for _ in range(0, count, 500):
        bob.raw(f"<message to='{to}' type='chat'><body>x</body></message>" * 500)
        bob.ping()
        for client in readers:
            client.ping()
            client.inbox.clear()
    bob.close()


def ends_ms(server, user, count):
    """The first end gives all its messages to the others. A later one finds that they have them."""
    first, *rest = sessions(server, user, 5)
    send(server, count, first, [first, *rest])
    first_ms = end_ms(server, first)
    return first_ms, min(end_ms(server, client) for client in rest[:-1])


def test_the_end_of_a_session_that_acknowledged_nothing(server):
    """Each message is looked for in the queues of the other sessions."""
    few, many = ends_ms(server, "few", 1500), ends_ms(server, "many", 8000)
    for costs in zip(few, many):
        assert_bounded(*costs)


def carbons_ms(server, user, count):
    first, *rest = sessions(server, user, 4)
    for client in rest:
        client.result("set", f"<enable xmlns='{CARBONS}'/>")
    send(server, count, first, [first, *rest])
    costs = []
    for client in rest:
        quiet(server)
        before = workers_ms(server)
        client.ack()
        client.ping()
        costs.append(workers_ms(server) - before)
    return min(costs), end_ms(server, first)


def test_copies_that_other_sessions_acknowledged(server):
    few, many = carbons_ms(server, "few", 1000), carbons_ms(server, "many", 8000)
    for costs in zip(few, many):
        assert_bounded(*costs)
