"""Several connections to one server (s2s.connections): each pair of addresses keeps its order."""
import itertools

import pytest

from muster import federation
from test_s2s_lost import until_confirmed

ONE, OTHER = "one.test", "other.test"
SENDERS = [f"a{i}" for i in range(4)]
RECEIVERS = [f"b{i}" for i in range(5)]
PAIRS = list(itertools.product(SENDERS, RECEIVERS))


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def start(make_server, authority):
    """A function that starts a server of ours."""
    def one(users, domain, workers=4, **more):
        tls = {**authority.issue(domain, domain), "trust": str(authority.file)}
        return make_server(*users, domains=[domain], s2s=True, tls=tls, workers=workers,
                           settings=federation.settings(**more))
    return one


@pytest.fixture
def pair(start):
    """A function that starts two servers that know each other."""
    def two(**more):
        one, other = start(SENDERS, ONE, **more), start(RECEIVERS, OTHER, **more)
        federation.route(one, OTHER, other.s2s_port)
        federation.route(other, ONE, one.s2s_port)
        return one, other
    return two


def join(server, users):
    return {user: server.client(user) for user in users}


def streams(server, direction, state="up"):
    return [row for row in server.rows("s2s", "list")
            if row["direction"] == direction and row["state"] == state]


def flood(senders, begin, end):
    """Numbered messages of every pair, in turn."""
    for n in range(begin, end):
        for sender, receiver in PAIRS:
            senders[sender].send(f"<message to='{receiver}@{OTHER}' type='chat' id='m{n}'>"
                                 f"<body>{n}</body></message>")


def reach_all(sender):
    """To so many addresses that each connection has some: nobody is there."""
    for n in range(100):
        sender.send(f"<message to='nobody{n}@{OTHER}' type='headline'><body>x</body></message>")


def numbers_of(client, count, last):
    """What each sender has sent it, up to the last one of all."""
    seen = {sender: [] for sender in SENDERS}
    while any(last not in seen[sender] for sender in SENDERS):
        message = client.expect("<message type='chat'><body/></message>")
        body = next(e for e in message if e.tag.endswith("}body"))
        seen[message.get("from").partition("@")[0]].append(int(body.text))
    assert all(len(numbers) >= count for numbers in seen.values())
    return seen


def hear(receivers, begin, end):
    """Each once, of each pair in its order."""
    for client in receivers.values():
        for numbers in numbers_of(client, end - begin, end - 1).values():
            assert numbers == list(range(begin, end))


def hear_all(receivers, begin, end):
    """Each at least once, and for the first time in its order: after a crash some come again."""
    for client in receivers.values():
        for numbers in numbers_of(client, end - begin, end - 1).values():
            assert list(dict.fromkeys(numbers)) == list(range(begin, end))


# --- streams ---


@pytest.mark.parametrize("bidi", ["on", "off"])
def test_pairs_of_users_are_spread_and_keep_their_order(pair, bidi):
    one, other = pair(connections=4, bidi=bidi)
    senders, receivers = join(one, SENDERS), join(other, RECEIVERS)
    reach_all(senders["a0"])
    flood(senders, 0, 30)
    hear(receivers, 0, 30)
    assert len(streams(one, "out")) == 4
    assert len(streams(other, "in")) == 4
    until_confirmed(one)


def test_one_connection_is_the_default(pair):
    one, other = pair(bidi="off")
    senders, receivers = join(one, SENDERS), join(other, RECEIVERS)
    reach_all(senders["a0"])
    flood(senders, 0, 3)
    hear(receivers, 0, 3)
    assert len(streams(one, "out")) == len(streams(other, "in")) == 1
