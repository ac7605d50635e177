"""Messages that a client sends again because it has read no acknowledgement (XEP-0359 §3.2)."""
import pytest

from harness import xml
from harness.client import bodies

MAM = "urn:xmpp:mam:2"


def message(number, to="bob@localhost"):
    return (f"<message to='{to}' type='chat' id='m{number}'><body>{number}</body>"
            f"<origin-id xmlns='{xml.SID}' id='m{number}'/></message>")


def say_all(client, count):
    """All at once, until all are handled."""
    client.enable_sm()
    client.raw("".join(message(i) for i in range(count)))
    client.wait_acked(count)


def number_archived(client):
    found = client.result("set", f"<query xmlns='{MAM}'>"
                          "<set xmlns='http://jabber.org/protocol/rsm'><max>0</max></set></query>")
    return int(found.findtext(".//{http://jabber.org/protocol/rsm}count"))


@pytest.mark.parametrize("how", ["cut", "kill"])
@pytest.mark.parametrize("count", [40, 64, 65, 200, 1000])
def test_all_repeats_are_known(server, count, how):
    """However many they are, and whatever ended in between: each is there once, on both sides."""
    alice = server.login("alice", "a")
    say_all(alice, count)
    if how == "kill":
        server.kill()
        server.start()
    else:
        alice.cut()
    again = server.login("alice", "again")
    say_all(again, count)
    assert not [e for e in again.inbox if e.get("type") == "error"]
    bob = server.client("bob", "b")
    bob.wait("all", lambda: len(bodies(bob.inbox)) >= count)
    bob.ping()
    assert bodies(bob.inbox) == [str(i) for i in range(count)]
    assert number_archived(again) == number_archived(bob) == count


def test_repeats_among_others(server, alice, bob):
    """Others who write meanwhile do not make the server forget them."""
    carol = server.client("carol", "c")
    say_all(alice, 100)
    carol.enable_sm()
    carol.raw("".join(message(i) for i in range(1000)))
    carol.wait_acked(1000)
    bob.wait("all", lambda: len(bodies(bob.inbox)) >= 1100)
    bob.inbox.clear()
    again = server.login("alice", "again")
    say_all(again, 100)
    bob.expect_nothing("<message><body/></message>")


def test_a_repeat_is_handled_where_the_mailbox_is_full(make_server):
    """Its first copy is in there."""
    server = make_server("alice", "bob", settings={"mailbox.unsettled-max": 1})
    alice = server.login("alice", "a")
    say_all(alice, 1)
    alice.cut()
    again = server.login("alice", "again")
    say_all(again, 1)
    assert not [e for e in again.inbox if e.get("type") == "error"]
    again.send(message(1))
    again.expect_error("resource-constraint", "wait", "<message id='m1' type='error'/>")
