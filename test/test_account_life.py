"""What others do while an account is disabled or on its way out: nothing of it is lost or half done,
and nothing is left for the next holder of the address."""
from muster.client import until

ROSTER = "<query xmlns='jabber:iq:roster'/>"


def entered(server, name):
    """A client that hears of subscriptions (RFC 6121 §2.1.6)."""
    client = server.login(name, "r")
    client.result("get", ROSTER)
    return client.available()


def subscription(client, contact):
    """What the roster of a client says of a contact: (subscription, ask)."""
    for item in client.result("get", ROSTER):
        if item.get("jid") == contact:
            return item.get("subscription"), item.get("ask")
    return None


def test_a_contact_asks_a_disabled_account_again(server):
    """Its roster still has the contact, so nobody refuses in its place."""
    server.befriend("alice", "bob")
    bob = entered(server, "bob")
    server.ctl("user", "disable", "alice@localhost")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    bob.expect_nothing("<presence type='unsubscribed'/>")
    server.ctl("user", "enable", "alice@localhost")
    alice = entered(server, "alice")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    assert subscription(alice, bob.bare) == subscription(bob, alice.bare) == ("both", None)


def test_a_request_is_repeated_while_the_account_is_disabled(server):
    alice, bob = entered(server, "alice"), entered(server, "bob")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    alice.expect("<presence from='bob@localhost' type='subscribe'/>")
    server.ctl("user", "disable", "alice@localhost")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    bob.expect_nothing("<presence type='unsubscribed'/>")
    server.ctl("user", "enable", "alice@localhost")
    alice = entered(server, "alice")
    alice.expect("<presence from='bob@localhost' type='subscribe'/>")
    alice.send("<presence to='bob@localhost' type='subscribed'/>")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    assert (subscription(alice, bob.bare), subscription(bob, alice.bare)) == (
        ("from", None), ("to", None))


def test_a_stranger_asks_a_disabled_account(server):
    """To others it seems not to exist."""
    bob = entered(server, "bob")
    server.ctl("user", "disable", "alice@localhost")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    bob.expect("<presence from='alice@localhost' type='unsubscribed'/>")
    server.ctl("user", "enable", "alice@localhost")
    alice = entered(server, "alice")
    alice.expect_nothing("<presence type='subscribe'/>", after=bob)
    assert subscription(bob, alice.bare) in (None, ("none", None))
