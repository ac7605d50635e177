"""Flexible Offline Message Retrieval (XEP-0013)."""
import pytest

from harness import xml

OFFLINE = "http://jabber.org/protocol/offline"
INFO = f"<query xmlns='{xml.DISCO_INFO}' node='{OFFLINE}'/>"
ITEMS = f"<query xmlns='{xml.DISCO_ITEMS}' node='{OFFLINE}'/>"


def items(action, *nodes):
    return f"<offline xmlns='{OFFLINE}'>" + "".join(
        f"<item action='{action}' node='{node}'/>" for node in nodes) + "</offline>"


FETCH = f"<offline xmlns='{OFFLINE}'><fetch/></offline>"
PURGE = f"<offline xmlns='{OFFLINE}'><purge/></offline>"


def number(client):
    info = client.result("get", INFO)
    assert info.find(f"{{{xml.DISCO_INFO}}}identity").get("type") == "message-list"
    return int(info.findtext(".//{jabber:x:data}field[@var='number_of_messages']"
                             "/{jabber:x:data}value"))


def headers(client):
    found = client.result("get", ITEMS)
    assert all(i.get("jid") == client.bare for i in found)
    return [(i.get("node"), i.get("name")) for i in found]


@pytest.fixture
def waiting(server):
    """Alice, not yet available, for whom three messages wait."""
    for name, resource, text in (("bob", "b>1", "m0"), ("carol", "c", "m1"), ("bob", "b>1", "m2")):
        client = server.client(name, resource)
        client.enable_sm(resume="false")
        client.send(f"<message to='alice@localhost' type='chat'><body>{text}</body></message>")
        client.wait_acked(1)
        client.close()
    return server.login("alice", "a")


def test_it_is_announced(alice):
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="localhost")
    assert {OFFLINE, "msgoffline"} <= {f.get("var") for f in info}


def test_headers_and_no_flood(server, waiting):
    assert number(waiting) == 3
    found = headers(waiting)
    assert [name for _, name in found] == ["bob@localhost/b>1", "carol@localhost/c",
                                           "bob@localhost/b>1"]
    assert sorted(found) == found  # nodes may be sorted by character
    waiting.available()
    waiting.expect_nothing("<message/>")
    other = server.client("alice", "other")
    other.expect_nothing("<message/>")
    bob = server.client("bob", "again")
    bob.send("<message to='alice@localhost' type='chat'><body>live</body></message>")
    for client in (waiting, other):
        assert client.expect("<message/>").findtext(f"{{{xml.CLIENT}}}body") == "live"
    waiting.ping()
    assert number(waiting) == 3
    waiting.close()  # now the other one gets them
    for text in ("m0", "m1", "m2"):
        other.expect(f"<message><body>{text}</body><delay xmlns='{xml.DELAY}' stamp='*'/>"
                     "</message>")


def test_viewing_and_removing(server, waiting):
    nodes = [node for node, _ in headers(waiting)]
    waiting.send(f"<iq type='get' id='v'>{items('view', nodes[2], nodes[0])}</iq>")
    for node, text in ((nodes[2], "m2"), (nodes[0], "m0")):
        waiting.expect_next(
            f"<message from='bob@localhost/b&gt;1'><body>{text}</body>"
            f"<offline xmlns='{OFFLINE}'><item node='{node}'/></offline>"
            f"<delay xmlns='{xml.DELAY}' from='localhost' stamp='*'/></message>")
    waiting.expect_next("<iq type='result' id='v'/>")
    assert number(waiting) == 3  # they stay until they are removed
    assert waiting.result("set", items("remove", nodes[0], nodes[1])) is None
    assert headers(waiting) == [(nodes[2], "bob@localhost/b>1")]
    server.kill()
    server.start()
    again = server.client("alice", "again")
    assert again.expect_next("<message/>").findtext(f"{{{xml.CLIENT}}}body") == "m2"
    again.expect_nothing("<message/>")


def test_fetching_and_purging(server, waiting):
    waiting.send(f"<iq type='get' id='f'>{FETCH}</iq>")
    for text in ("m0", "m1", "m2"):
        waiting.expect_next(f"<message><body>{text}</body><offline xmlns='{OFFLINE}'>"
                            "<item node='*'/></offline></message>")
    waiting.expect_next("<iq type='result' id='f'/>")
    waiting.available()
    waiting.expect_nothing("<message/>")
    assert waiting.result("set", PURGE) is None
    assert number(waiting) == 0 and headers(waiting) == []
    assert waiting.result("get", FETCH) is None
    server.kill()
    server.start()
    server.client("alice", "again").expect_nothing("<message/>")


@pytest.mark.parametrize("kind, request_, condition", [
    ("get", items("view", "0000000000000001"), "item-not-found"),
    ("get", items("view", "x"), "item-not-found"),
    ("set", items("remove", "0000000000000001"), "item-not-found"),
    ("set", items("remove", ""), "item-not-found"),
    ("get", items("remove", "0000000000000001"), "bad-request"),
    ("set", items("view", "0000000000000001"), "bad-request"),
    ("get", items("view"), "bad-request"),
    ("set", items("remove"), "bad-request"),
    ("get", f"<offline xmlns='{OFFLINE}'><item node='1'/></offline>", "bad-request"),
    ("get", PURGE, "bad-request"),
    ("set", FETCH, "bad-request"),
])
def test_bad_requests_change_nothing(waiting, kind, request_, condition):
    assert waiting.error(kind, request_)[0] == condition
    assert number(waiting) == 3


def test_one_wrong_node_among_right_ones(waiting):
    nodes = [node for node, _ in headers(waiting)]
    for kind, action in (("get", "view"), ("set", "remove")):
        assert waiting.error(kind, items(action, nodes[0], "77"))[0] == "item-not-found"
    waiting.expect_nothing("<message/>")
    assert number(waiting) == 3


def test_others_may_not(alice, bob):
    for kind, request_ in (("get", INFO), ("get", ITEMS), ("get", FETCH), ("set", PURGE)):
        for to in ("bob@localhost", "nobody@localhost"):
            assert alice.error(kind, request_, to=to) == ("forbidden", "auth")


def test_no_flood_after_a_planned_restart(server, waiting):
    assert number(waiting) == 3
    waiting.available()
    waiting.enable_sm()
    server.restart()
    again = server.connect("alice")
    assert again.take_over(waiting).tag == f"{{{xml.SM}}}resumed"
    again.expect_nothing("<message/>")
