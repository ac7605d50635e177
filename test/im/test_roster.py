"""Rosters: RFC 6121 §2, with versioning (§2.6) and limits."""
import socket

import pytest

from harness import nodes, xml
from harness.bosh import Bosh
from harness.client import Gone, until
from harness.websocket import WebSocket, frame
from cost.test_shares_memory import held, metric


QUERY = "<query xmlns='jabber:iq:roster'{}>{}</query>"


def get(client, ver=None):
    return client.result("get", QUERY.format("" if ver is None else f" ver='{ver}'", ""))


def put(client, item):
    assert client.result("set", QUERY.format("", item)) is None


def refuse(client, item):
    return client.error("set", QUERY.format("", item))


def items(roster):
    """{jid: (subscription, name, groups)}"""
    return {item.get("jid"): (item.get("subscription"), item.get("name"),
                              sorted(g.text or "" for g in item)) for item in roster}


@pytest.fixture
def alice(server):
    """Interested: she has asked for her roster (§2.2)."""
    client = server.login("alice", "a")
    get(client)
    return client


def push(client, item):
    return client.expect(f"<iq type='set' id='*'>{QUERY.format('', item)}</iq>")


def test_empty(server):
    assert items(get(server.login("alice"))) == {}


def test_add_push_get(server, alice):
    other = server.login("alice", "other")
    get(other)
    put(alice, "<item jid='bob@localhost' name='Bob'><group>Friends</group><group>Work</group>"
               "</item>")
    for client in (alice, other):
        push(client, "<item jid='bob@localhost' name='Bob' subscription='none' ask='-'>"
                     "<group>Friends</group><group>Work</group></item>")
    assert items(get(alice)) == {"bob@localhost": ("none", "Bob", ["Friends", "Work"])}


def test_update_replaces_name_and_groups(alice):
    put(alice, "<item jid='bob@localhost' name='Bob'><group>Friends</group></item>")
    put(alice, "<item jid='bob@localhost'><group>Other</group></item>")
    name, groups = items(get(alice))["bob@localhost"][1:]
    assert not name and groups == ["Other"]


def test_no_push_to_who_never_asked(server, alice):
    silent = server.login("alice", "silent")
    put(alice, "<item jid='bob@localhost'/>")
    push(alice, "<item jid='bob@localhost'/>")
    silent.expect_nothing("<iq type='set'/>")


def test_remove(alice):
    put(alice, "<item jid='bob@localhost'/>")
    put(alice, "<item jid='bob@localhost' subscription='remove'/>")
    push(alice, "<item jid='bob@localhost' subscription='none'/>")
    push(alice, "<item jid='bob@localhost' subscription='remove'/>")
    assert items(get(alice)) == {}


def test_remove_what_is_not_there(alice):
    """§2.5.3"""
    condition, _ = refuse(alice, "<item jid='bob@localhost' subscription='remove'/>")
    assert condition == "item-not-found"


def test_subscription_is_not_the_clients_to_set(alice):
    """§2.1.2.5: anything but `remove` is ignored."""
    put(alice, "<item jid='bob@localhost' subscription='both' ask='subscribe' approved='true'/>")
    push(alice, "<item jid='bob@localhost' subscription='none' ask='-' approved='-'/>")


@pytest.mark.parametrize("item, conditions", [
    ("", ["bad-request"]),
    ("<item jid='a@localhost'/><item jid='b@localhost'/>", ["bad-request"]),
    ("<item name='nobody'/>", ["bad-request"]),
    ("<item jid='@'/>", ["jid-malformed", "bad-request"]),
    ("<item jid='a@localhost'><group>x</group><group>x</group></item>", ["bad-request"]),
    ("<item jid='a@localhost'><group/></item>", ["not-acceptable"]),
    ("<item jid='a@localhost' name='%s'/>" % ("n" * 5000), ["not-acceptable"]),
    ("<item jid='a@localhost'><group>%s</group></item>" % ("g" * 5000), ["not-acceptable"]),
], ids=["nothing", "two items", "no jid", "bad jid", "group twice", "empty group", "long name",
        "long group"])
def test_bad_set(alice, item, conditions):
    """§2.3.3"""
    condition, _ = refuse(alice, item)
    assert condition in conditions
    assert items(get(alice)) == {}


def test_rosters_of_others(server, alice):
    """§2.1.5, §2.3.3"""
    for kind, inner in (("get", ""), ("set", "<item jid='carol@localhost'/>")):
        condition, _ = alice.error(kind, QUERY.format("", inner), to="bob@localhost")
        assert condition in ("forbidden", "service-unavailable")
    assert items(get(server.login("bob"))) == {}


def test_own_address_may_be_written(alice):
    alice.result("get", QUERY.format("", ""), to=alice.bare)
    alice.result("set", QUERY.format("", "<item jid='bob@localhost'/>"), to=alice.bare)
    push(alice, "<item jid='bob@localhost'/>")


def test_addresses_are_prepared(alice):
    put(alice, "<item jid='BOB@LocalHost'/>")
    assert list(items(get(alice))) == ["bob@localhost"]


def test_names_travel_untouched(alice):
    name = "\u20ac &lt;&amp;&quot; \U0001f600"
    put(alice, f"<item jid='bob@localhost' name='{name}'><group>{name}</group></item>")
    assert items(get(alice))["bob@localhost"] == (
        "none", "\u20ac <&\" \U0001f600", ["\u20ac <&\" \U0001f600"])


def test_survives_a_restart(server, alice):
    put(alice, "<item jid='bob@localhost' name='Bob'><group>G</group></item>")
    alice.close()
    server.kill()
    server.start()
    assert items(get(server.login("alice"))) == {"bob@localhost": ("none", "Bob", ["G"])}


def test_versions(server, alice):
    """§2.6: nothing when nothing changed; else the roster, or the changes as pushes."""
    put(alice, "<item jid='bob@localhost'/>")
    ver = push(alice, "<item jid='bob@localhost'/>")[0].get("ver")
    assert ver and get(alice, "").get("ver") == ver
    again = server.login("alice", "again")
    assert get(again, ver) is None
    put(alice, "<item jid='carol@localhost'/>")
    push(again, "<item jid='carol@localhost'/>")
    late = server.login("alice", "late")
    answer = get(late, ver)
    if answer is None:
        push(late, "<item jid='carol@localhost'/>")
    else:
        assert set(items(answer)) == {"bob@localhost", "carol@localhost"}


def test_unknown_version_gets_everything(alice):
    put(alice, "<item jid='bob@localhost'/>")
    for ver in ("", "no such version", "999999999"):
        assert list(items(get(alice, ver))) == ["bob@localhost"]


def test_contacts_max(make_server):
    server = make_server("alice", settings={"roster.contacts-max": "3"})
    alice = server.login("alice")
    for i in range(3):
        put(alice, f"<item jid='u{i}@localhost'/>")
    condition, _ = refuse(alice, "<item jid='u3@localhost'/>")
    assert condition == "policy-violation"
    put(alice, "<item jid='u2@localhost' name='known ones may change'/>")
    put(alice, "<item jid='u2@localhost' subscription='remove'/>")
    put(alice, "<item jid='u3@localhost'/>")


def test_contacts_max_is_200(alice):
    for i in range(200):
        item = f"<item jid='u{i}@localhost'/>"
        alice.send(f"<iq type='set' id='i{i}'>{QUERY.format('', item)}</iq>")
    for i in range(200):
        alice.expect(f"<iq type='result' id='i{i}'/>")
    assert refuse(alice, "<item jid='one@localhost'/>")[0] == "policy-violation"
    assert len(get(alice)) == 200


def test_contacts_max_none(make_server):
    server = make_server("alice", settings={"roster.contacts-max": "none"},
                         why="it can be lifted")
    alice = server.login("alice")
    for i in range(250):
        put(alice, f"<item jid='u{i}@localhost'/>")
    assert len(get(alice)) == 250


def test_changes_are_made_in_order(alice):
    for i in range(30):
        alice.send(f"<iq type='set' id='i{i}'>"
                   + QUERY.format("", f"<item jid='bob@localhost' name='n{i}'/>") + "</iq>")
    for i in range(30):
        push(alice, f"<item jid='bob@localhost' name='n{i}'/>")
    assert items(get(alice))["bob@localhost"][1] == "n29"


# --- long contact lists ---


def test_an_answer_longer_than_any_stanza(make_server):
    """Each quotation mark is six bytes in an answer, so what fits coming in may not fit going out.
    Nothing is sent truncated, the request is answered, and operators can see it."""
    server = make_server("alice", settings={
        "c2s.stanza-bytes": "4MiB", "c2s.byte-rate": "none", "roster.name-bytes": 8192,
        "roster.groups-max": 1000}, why="the answer is longer than 128 MiB")
    alice = server.login("alice")
    groups = "".join(f"<group>{i:03}" + '"' * 8189 + "</group>" for i in range(350))
    for i in range(8):
        put(alice, f"<item jid='c{i}@localhost'>{groups}</item>")
        alice.log.clear()
    assert metric(server, "muster_texts_cut") == 0
    assert alice.error("get", QUERY.format("", "")) == ("resource-constraint", "wait")
    assert metric(server, "muster_texts_cut") == 1
    assert "event=text.left-out function=iq_result_buf bytes_max=134217728" in server.log()
    alice.ping()


# --- contact lists of more than c2s.output-max ---


def fill(client, contacts=190):
    """With about 8.5 MB: more than sockets hold."""
    for i in range(contacts):
        inner = "".join(f"<group>{k:02}{'g' * 900}</group>" for k in range(50))
        put(client, f"<item jid='c{i}@localhost'>{inner}</item>")
        client.log.clear()


def narrow_of(make_server, **settings):
    """Its largest stanza makes the limit of waiting output 128 KiB."""
    return make_server("alice", "bob", settings={
        "c2s.output-max": "64KiB", "c2s.stanza-bytes": "64KiB", "c2s.byte-rate": "none",
        "sm.queue-bytes": "512KiB", **settings}, why="it sends 8.5 MB")


@pytest.fixture
def narrow(make_server):
    return narrow_of(make_server)


def reader(server, way):
    """A client of alice that reads at full speed, over one of the ways."""
    if way in ("websocket", "bosh"):
        kind = WebSocket if way == "websocket" else Bosh
        client = kind(("127.0.0.1", server.https_port), "localhost", "alice", tls=True)
        server.clients.append(client)
        client.open()
        client.login()
    else:
        client = server.login("alice", None)
    if way != "bosh":  # else the kernel takes all of it at once
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
    if way == "sm":
        client.enable_sm()
    return client


WAYS = ["tcp", "sm", "websocket", "bosh"]


@pytest.mark.parametrize("way", WAYS)
def test_a_long_answer_does_not_end_the_stream_of_a_client_that_reads(narrow, way):
    """It is the server's own answer to one request (RFC 6121 §2.1.4)."""
    fill(narrow.login("alice", "first"))
    alice = reader(narrow, way)
    for _ in range(3):
        assert len(items(get(alice))) == 190
        alice.ping()
        if way == "sm":
            alice.ack()


def pipeline(client, way, count):
    """So many requests for the contact list before any answer is read."""
    iqs = [f"<iq xmlns='{xml.CLIENT}' type='get' id='long{i}'>{QUERY.format('', '')}</iq>"
           for i in range(count)]
    if way == "websocket":
        client.bytes(b"".join(frame(iq) for iq in iqs))
    elif way == "bosh":
        client.request("".join(iqs))
    else:
        client.raw("".join(iqs))


@pytest.mark.parametrize("moves", ["on", "off"])
@pytest.mark.parametrize("way", WAYS)
def test_long_answers_that_wait_at_once_do_not_end_it(make_server, way, moves):
    """The home of the account is on the worker of the connection, or on another one."""
    apart = moves == "off" or nodes.COUNT > 1
    server = narrow_of(make_server, **{"c2s.migration": moves})
    fill(server.login("alice", "first"))
    for _ in range(2):  # of two workers
        alice = reader(server, way)
        count = 2 if way == "bosh" or apart else 4
        pipeline(alice, way, count)
        for i in range(count):
            answer = alice.expect(f"<iq id='long{i}'/>")
            assert answer.get("type") == "result" and len(answer[0]) == 190, xml.canonical(answer)
        alice.ping()
        alice.close()
    assert "stream.error" not in server.log() and "session.shed" not in server.log()


@pytest.mark.parametrize("way", WAYS)
def test_more_long_answers_than_may_wait(make_server, way):
    """They are refused, and the client can ask again (XEP-0198 and node.memory-share bound what
    waits); the session stays."""
    server = narrow_of(make_server, **{"c2s.migration": "off"})
    fill(server.login("alice", "first"))
    for _ in range(2):
        alice = reader(server, way)
        pipeline(alice, way, 12)
        answers = [alice.expect(f"<iq id='long{i}'/>") for i in range(12)]
        assert {xml.condition(a) for a in answers if a.get("type") == "error"} <= \
            {"resource-constraint"}
        assert len([a for a in answers if a.get("type") == "result"]) >= 2
        assert len(items(get(alice))) == 190
        alice.close()
    assert "stream.error" not in server.log() and "session.shed" not in server.log()


@pytest.mark.parametrize("moves", ["on", "off"])
@pytest.mark.parametrize("way", WAYS)
def test_who_asks_much_and_reads_nothing_is_bounded(make_server, way, moves):
    """A client holds one long answer in its output and one in its queue, whatever it asks for, and
    over BOSH one for repeats and one in the output of the request. All 60 would be 500 MB. Another
    client notices nothing."""
    server = narrow_of(make_server, **{"c2s.migration": moves})
    fill(server.login("alice", "first"))
    bob, readers = server.client("bob"), []
    for _ in range(2):  # of two workers
        before, most = held(server), 0  # the first one goes on to hold what it holds
        readers.append(reader(server, way))
        pipeline(readers[-1], way, 60)
        until("the first answer", lambda: held(server) - before > 4 << 20)
        for _ in range(30):
            bob.ping()
            most = max(most, held(server) - before)
        assert most < 60 << 20, most


def test_behind_a_long_answer_the_limit_is_as_ever(narrow):
    """A client that stops to read is closed by what a contact sends later, and that is not lost."""
    narrow.befriend("alice", "bob")
    fill(narrow.login("alice", "first"))
    alice, bob = narrow.client("alice", "a"), narrow.client("bob", "b")
    alice.raw(f"<iq type='get' id='long'>{QUERY.format('', '')}</iq>" * 2)
    sent = 0

    def closed():
        nonlocal sent
        bob.send(f"<message to='alice@localhost' type='chat'><body>{sent}</body>"
                 f"<x xmlns='urn:x'>{'x' * 32000}</x></message>")
        bob.ping()
        sent += 1
        return "stream.dropped" in narrow.log()
    until("the end of the stream", closed)
    assert sent < 800  # what sockets hold, and the limit
    with pytest.raises(Gone):
        alice.expect("<never xmlns='urn:never'/>")
    read = {e.findtext(f"{{{xml.CLIENT}}}body") for e in alice.inbox}  # written before the end
    again = narrow.client("alice", "a")
    for i in range(sent):
        if str(i) not in read:
            again.expect(f"<message from='{bob}'><body>{i}</body></message>")


@pytest.mark.parametrize("user", ["bob", "nobody"])
def test_the_roster_of_another_is_not_changed(server, alice, user):
    """RFC 6121 §2.1.5"""
    item = f"<query xmlns='{xml.ROSTER}'><item jid='x@localhost'/></query>"
    assert alice.error("set", item, to=f"{user}@localhost") == ("forbidden", "auth")
