"""What a request costs grows with its size: not with its size times that of something else that
its sender chose, nor with the square. Each is compared with a plain one of the same size, in time
of the processor, of which a busy machine takes nothing away."""
import pathlib
import time

import pytest

PUBSUB = "http://jabber.org/protocol/pubsub"
PRIVACY = "jabber:iq:privacy"
FACTOR, MORE_MS = 10, 3  # what a hostile one may cost more; those that were mended had 40 to 300 x

pytestmark = pytest.mark.release


@pytest.fixture
def alice(make_server):
    server = make_server("alice", "bob", why="more than a client may send in the time",
                         settings={"c2s.byte-rate": "none", "c2s.stanza-rate": "none"})
    alice = server.client("alice", "a")
    alice.server = server
    return alice


def used_ms(server):
    """Of the threads that it has. cpu_seconds() goes in steps of 10 ms."""
    tasks = pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def quiet(server):
    """Waits until it does nothing more."""
    last, times = used_ms(server), 0
    while times < 3:
        time.sleep(0.1)
        now = used_ms(server)
        times = times + 1 if now - last < 2 else 0
        last = now


def cost_ms(client, text):
    """The least of some times: other work of the server may come between."""
    costs = []
    for _ in range(5):
        before = used_ms(client.server)
        client.raw(text)
        client.ping()  # answered behind it
        costs.append(used_ms(client.server) - before)
        client.inbox.clear()
    return min(costs)


def assert_bounded(plain_ms, hostile_ms, more_ms=MORE_MS):
    assert hostile_ms < FACTOR * plain_ms + more_ms, f"{plain_ms:.1f} and {hostile_ms:.1f} ms"


def compare(client, plain, hostile):
    assert_bounded(cost_ms(client, plain), cost_ms(client, hostile))


def filled(unit, size):
    return unit * (size // len(unit.encode()))


def pubsub(children, around="", on=""):
    return f"<iq type='set' id='p'{around}><pubsub{on} xmlns='{PUBSUB}'>{children}</pubsub></iq>"


@pytest.mark.parametrize("unit", ["<a/>", "<p:a/>", "<p:a/><q:a/>"])
def test_children_below_many_attributes(alice, unit):
    around = "".join(f" xmlns:n{i}='u'" for i in range(40)) + " xmlns:p='p' xmlns:q='q'"
    on = "".join(f" n{i}='u'" for i in range(60))
    compare(alice, pubsub(filled("<a/>", 120_000)), pubsub(filled(unit, 120_000), around, on))


def test_a_payload_below_many_prefixes(alice):
    """None is used; each ends like the text."""
    around = "".join(f" xmlns:b{i:03}{'a' * 240}='u'" for i in range(40))
    item = f"<publish node='n'><item id='i'><e xmlns='u'>{'a' * 60_000}</e></item></publish>"
    compare(alice, pubsub(item), pubsub(item, around))


@pytest.mark.parametrize("part", ["{}@localhost", "{}", "x@localhost/{}"])
def test_addresses_of_characters_with_rules(alice, part):
    """A katakana middle dot is allowed if there is any kana (RFC 5892 A.7)."""
    texts = ["x" * 990, "・" * 329 + "カ"]
    compare(alice, *("".join(f"<presence to='{part.format(text)}' type='unavailable'/>"
                             for _ in range(60)) for text in texts))


def with_groups(alice, contacts):
    for i in range(contacts):
        groups = "".join(f"<group>group {j}</group>" for j in range(40)) + "<group>all</group>"
        groups += "<group>of the last</group>" * (i == contacts - 1)
        alice.result("set", f"<query xmlns='jabber:iq:roster'>"
                            f"<item jid='c{i}@localhost'>{groups}</item></query>")


def test_rules_for_groups(alice):
    with_groups(alice, 50)
    items = "".join(f"<item type='group' value='of the last' action='deny' order='{i}'/>"
                    for i in range(1500))
    said = "<message to='c7@localhost'/>" * 100
    first = cost_ms(alice, said)
    alice.result("set", f"<query xmlns='{PRIVACY}'><list name='l'>{items}</list></query>")
    alice.result("set", f"<query xmlns='{PRIVACY}'><active name='l'/></query>")
    assert_bounded(first, cost_ms(alice, said))


def test_many_groups_as_recipients(alice):
    with_groups(alice, 100)
    both = [f"<message to='localhost'><addresses xmlns='http://jabber.org/protocol/address'>"
            f"{filled(unit, 25_000)}</addresses></message>"
            for unit in ("<address type='to' jid='somebody.of.that.name.here@localhost'/>",
                         "<address type='to' uri='urn:muster:roster-group:all'/>")]
    compare(alice, *both)


def test_answers_behind_a_long_queue(alice):
    """What a client answers is looked for in what it has not acknowledged."""
    alice.enable_sm(resume="false")
    alice.auto_ack = False
    answers = "<iq type='result' id='i' to='bob@localhost/none'/>" * 500
    first, bob = cost_ms(alice, answers), alice.server.client("bob", "b")
    bob.raw(f"<message to='{alice}' type='headline'><body>x</body></message>" * 9000)
    bob.raw(f"<message to='{alice}' type='headline' id='last'/>")
    alice.expect("<message id='last'/>")
    assert_bounded(first, cost_ms(alice, answers), more_ms=0)
