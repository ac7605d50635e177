"""Presence subscriptions between two users: RFC 6121 §3. All states are rows of a unit test."""
import pytest

from harness.client import until

# Requests that nobody is asked about: test_policy.py.
pytestmark = pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")

ROSTER = "<query xmlns='jabber:iq:roster'>{}</query>"


def interested(server, name, resource):
    client = server.login(name, resource)
    client.result("get", ROSTER.format(""))
    return client.available()


@pytest.fixture
def alice(server):
    server.ask_about_each_other("alice", "bob")
    return interested(server, "alice", "a")


@pytest.fixture
def bob(server):
    return interested(server, "bob", "b")


def push(client, **attributes):
    """A roster push with one item of these attributes ("-": absent)."""
    attrs = " ".join(f"{k}='{v}'" for k, v in attributes.items())
    return client.expect(f"<iq type='set'>{ROSTER.format(f'<item {attrs}/>')}</iq>")


def presence(client, to, kind):
    client.send(f"<presence to='{to}' type='{kind}'/>")


def roster(client):
    return {i.get("jid"): (i.get("subscription"), i.get("ask"))
            for i in client.result("get", ROSTER.format(""))}


def subscribe(one, other):
    """one asks, other accepts; all that follows is consumed."""
    presence(one, other.bare, "subscribe")
    push(one, jid=other.bare, ask="subscribe")
    other.expect(f"<presence from='{one.bare}' type='subscribe'/>")
    presence(other, one.bare, "subscribed")
    push(other, jid=one.bare)
    push(one, jid=other.bare, ask="-")
    one.expect(f"<presence from='{other.bare}' type='subscribed'/>")
    one.expect(f"<presence from='{other}' type='-'/>")


def test_request_and_approval(alice, bob):
    """§3.1"""
    presence(alice, "bob@localhost", "subscribe")
    push(alice, jid="bob@localhost", subscription="none", ask="subscribe")
    bob.expect("<presence from='alice@localhost' to='bob@localhost' type='subscribe'/>")
    bob.expect_nothing("<iq type='set'/>", after=alice)
    presence(bob, "alice@localhost", "subscribed")
    push(bob, jid="alice@localhost", subscription="from", ask="-")
    push(alice, jid="bob@localhost", subscription="to", ask="-")
    alice.expect("<presence from='bob@localhost' type='subscribed'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect_nothing(after=alice)


def test_request_to_a_full_address_is_for_the_account(alice, bob):
    """§3.1.2"""
    presence(alice, bob.jid, "subscribe")
    push(alice, jid="bob@localhost", ask="subscribe")
    bob.expect("<presence from='alice@localhost' to='bob@localhost' type='subscribe'/>")


def test_request_carries_its_text(alice, bob):
    alice.send("<presence to='bob@localhost' type='subscribe'><status>it is me</status></presence>")
    bob.expect("<presence type='subscribe'><status>it is me</status></presence>")


def test_request_waits_for_the_absent(server, alice):
    """§3.1.3: delivered at each login until it is answered; once, however often it was sent."""
    for _ in range(3):
        presence(alice, "bob@localhost", "subscribe")
    push(alice, jid="bob@localhost", ask="subscribe")
    for _ in range(2):
        bob = interested(server, "bob", "b")
        bob.expect("<presence from='alice@localhost' type='subscribe'/>")
        bob.expect_nothing("<presence type='subscribe'/>", after=alice)
        bob.close()
    server.kill()
    server.start()
    bob = interested(server, "bob", "b")
    bob.expect("<presence from='alice@localhost' type='subscribe'/>")
    presence(bob, "alice@localhost", "unsubscribed")
    bob.ping()
    bob.close()
    bob = interested(server, "bob", "b")
    bob.expect_nothing("<presence type='subscribe'/>")


def test_a_probe_does_not_take_back_a_request_that_waits(server, alice, bob):
    """§4.3.2: there is no answer then."""
    presence(alice, "bob@localhost", "subscribe")
    bob.expect("<presence from='alice@localhost' type='subscribe'/>")
    push(alice, jid="bob@localhost", ask="subscribe")
    presence(alice, "bob@localhost", "probe")
    alice.iq("get", "<query xmlns='urn:example:fence'/>", to="bob@localhost")
    bob.ping()
    alice.expect_nothing("<iq type='set'/>", after=bob)
    presence(bob, "alice@localhost", "subscribed")
    push(bob, jid="alice@localhost", subscription="from")
    push(alice, jid="bob@localhost", subscription="to")


def test_request_goes_to_every_session(server, alice, bob):
    other = interested(server, "bob", "other")
    presence(alice, "bob@localhost", "subscribe")
    for client in (bob, other):
        client.expect("<presence from='alice@localhost' type='subscribe'/>")


def test_approval_of_the_absent(server, alice, bob):
    """The answer changes alice's roster though she is away."""
    presence(alice, "bob@localhost", "subscribe")
    bob.expect("<presence type='subscribe'/>")
    alice.close()
    presence(bob, "alice@localhost", "subscribed")
    push(bob, jid="alice@localhost", subscription="from")
    alice = interested(server, "alice", "a")
    assert roster(alice) == {"bob@localhost": ("to", None)}
    alice.expect(f"<presence from='{bob}' type='-'/>")


def test_denial(alice, bob):
    """§3.2"""
    presence(alice, "bob@localhost", "subscribe")
    push(alice, jid="bob@localhost", ask="subscribe")
    bob.expect("<presence type='subscribe'/>")
    presence(bob, "alice@localhost", "unsubscribed")
    push(alice, jid="bob@localhost", subscription="none", ask="-")
    alice.expect("<presence from='bob@localhost' type='unsubscribed'/>")
    assert roster(bob) == {}


def test_both(alice, bob):
    subscribe(alice, bob)
    subscribe(bob, alice)
    assert roster(alice) == {"bob@localhost": ("both", None)}
    assert roster(bob) == {"alice@localhost": ("both", None)}


def test_cancellation(alice, bob):
    """§3.2: bob takes it back; alice sees him leave."""
    subscribe(alice, bob)
    presence(bob, "alice@localhost", "unsubscribed")
    push(bob, jid="alice@localhost", subscription="none")
    push(alice, jid="bob@localhost", subscription="none")
    alice.expect("<presence from='bob@localhost' type='unsubscribed'/>")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")


def test_unsubscription(alice, bob):
    """§3.3: alice does not want it any more."""
    subscribe(alice, bob)
    presence(alice, "bob@localhost", "unsubscribe")
    push(alice, jid="bob@localhost", subscription="none")
    bob.expect("<presence from='alice@localhost' type='unsubscribe'/>")
    push(bob, jid="alice@localhost", subscription="none")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")


def test_unsubscription_of_one_direction_of_both(alice, bob):
    subscribe(alice, bob)
    subscribe(bob, alice)
    presence(alice, "bob@localhost", "unsubscribe")
    push(alice, jid="bob@localhost", subscription="from")
    push(bob, jid="alice@localhost", subscription="to")


def test_removal_ends_both_directions(alice, bob):
    """§2.5.2"""
    subscribe(alice, bob)
    subscribe(bob, alice)
    alice.result("set", ROSTER.format("<item jid='bob@localhost' subscription='remove'/>"))
    push(alice, jid="bob@localhost", subscription="remove")
    bob.expect("<presence from='alice@localhost' type='unsubscribe'/>")
    bob.expect("<presence from='alice@localhost' type='unsubscribed'/>")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    bob.drain()
    assert roster(alice) == {} and roster(bob) == {"alice@localhost": ("none", None)}


def test_removal_while_the_contact_is_away(server, alice, bob):
    subscribe(alice, bob)
    bob.close()
    alice.result("set", ROSTER.format("<item jid='bob@localhost' subscription='remove'/>"))
    alice.ping()
    bob = interested(server, "bob", "b")
    alice.expect_nothing("<presence type='-'/>", after=bob)
    assert roster(bob) in ({"alice@localhost": ("none", None)}, {})


def test_request_is_answered_by_the_server_when_approved_before(alice, bob):
    """§3.1.3: already subscribed: `subscribed` on behalf of bob, who is not asked again."""
    subscribe(alice, bob)
    presence(alice, "bob@localhost", "subscribe")
    bob.expect_nothing("<presence type='subscribe'/>", after=alice)


def test_pre_approval(alice, bob):
    """§3.4"""
    presence(bob, "alice@localhost", "subscribed")
    push(bob, jid="alice@localhost", subscription="none", approved="true")
    alice.expect_nothing("<presence type='subscribed'/>", after=bob)
    presence(alice, "bob@localhost", "subscribe")
    push(alice, jid="bob@localhost", subscription="to", ask="-")
    alice.expect("<presence from='bob@localhost' type='subscribed'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    push(bob, jid="alice@localhost", subscription="from")
    bob.expect_nothing("<presence type='subscribe'/>", after=alice)


def test_pre_approval_taken_back(alice, bob):
    presence(bob, "alice@localhost", "subscribed")
    push(bob, jid="alice@localhost", approved="true")
    presence(bob, "alice@localhost", "unsubscribed")
    push(bob, jid="alice@localhost", approved="-")
    presence(alice, "bob@localhost", "subscribe")
    bob.expect("<presence from='alice@localhost' type='subscribe'/>")


def test_pre_approval_holds_while_away(server, alice, bob):
    presence(bob, "alice@localhost", "subscribed")
    push(bob, jid="alice@localhost", approved="true")
    bob.close()
    presence(alice, "bob@localhost", "subscribe")
    push(alice, jid="bob@localhost", subscription="to", ask="-")
    assert roster(interested(server, "bob", "b")) == {"alice@localhost": ("from", None)}


@pytest.mark.parametrize("kind", ["subscribed", "unsubscribe", "unsubscribed"])
def test_what_changes_nothing_is_not_delivered(alice, bob, kind):
    """Appendix A.3: without a state that it changes the contact is not bothered."""
    presence(alice, "bob@localhost", kind)
    bob.expect_nothing(f"<presence type='{kind}'/>", after=alice)
    assert roster(bob) == {}


def test_unknown_user(alice):
    """§8.5.1: silence; alice stays pending."""
    presence(alice, "nobody@localhost", "subscribe")
    push(alice, jid="nobody@localhost", subscription="none", ask="subscribe")
    alice.expect_nothing()


NOT_ACCOUNTS = {"romeo@elsewhere.example": "remote-server-not-found",
                "elsewhere.example": "remote-server-not-found",
                "localhost": "service-unavailable",
                "conference.localhost": "service-unavailable",
                "tea@conference.localhost": "service-unavailable",
                "pubsub.localhost": "service-unavailable",
                "upload.localhost": "service-unavailable"}


@pytest.mark.parametrize("to", NOT_ACCOUNTS)
def test_a_request_that_an_error_answers_is_not_open(server, alice, to):
    """No one there will ever answer it: it is not shown as asked for ever."""
    presence(alice, to, "subscribe")
    push(alice, jid=to, subscription="none", ask="subscribe")
    alice.expect_error(NOT_ACCOUNTS[to], template=f"<presence type='error' from='{to}'/>")
    push(alice, jid=to, subscription="none", ask="-")
    assert roster(alice) == {to: ("none", None)}
    server.restart()
    assert roster(interested(server, "alice", "later")) == {to: ("none", None)}


def test_a_room_that_is_there_takes_no_subscription(alice, bob):
    room = "tea@conference.localhost"
    bob.send(f"<presence to='{room}/bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    bob.expect(f"<presence from='{room}/bob'/>")
    presence(alice, room, "subscribe")
    push(alice, jid=room, ask="subscribe")
    alice.expect_error("service-unavailable", template=f"<presence type='error' from='{room}'/>")
    push(alice, jid=room, subscription="none", ask="-")


def test_an_account_answers_by_its_words_alone(alice, bob):
    """What its client sends as an error to the other's bare address ends no request."""
    presence(alice, "bob@localhost", "subscribe")
    push(alice, jid="bob@localhost", ask="subscribe")
    bob.expect("<presence type='subscribe'/>")
    bob.send("<presence to='alice@localhost' type='error'><error type='cancel'>"
             "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
             "</presence>")
    bob.ping()
    alice.ping()
    assert roster(alice) == {"bob@localhost": ("none", "subscribe")}
    presence(bob, "alice@localhost", "subscribed")
    push(alice, jid="bob@localhost", subscription="to", ask="-")


def test_contacts_max_holds_for_subscriptions(make_server):
    server = make_server("alice", settings={"roster.contacts-max": "2"})
    alice = interested(server, "alice", "a")
    for i in range(2):
        presence(alice, f"u{i}@localhost", "subscribe")
        push(alice, jid=f"u{i}@localhost", ask="subscribe")
    presence(alice, "u2@localhost", "subscribe")
    alice.expect_error("policy-violation", template="<presence type='error'/>")
    assert len(roster(alice)) == 2


def test_watchers_max(make_server):
    server = make_server("alice", "bob", "carol", settings={
        "roster.watchers-max": "1", "presence.approval": "ask"})
    alice, bob, carol = (interested(server, name, "r") for name in ("alice", "bob", "carol"))
    subscribe(alice, carol)
    presence(bob, "carol@localhost", "subscribe")
    bob.expect_error("policy-violation", template="<presence type='error'/>")
    carol.expect_nothing("<presence type='subscribe'/>", after=bob)


def test_crossing_requests(alice, bob):
    """Both ask at the same moment, both accept."""
    for client, peer in ((alice, bob), (bob, alice)):
        presence(client, peer.bare, "subscribe")
    for client, peer in ((alice, bob), (bob, alice)):
        client.expect(f"<presence from='{peer.bare}' type='subscribe'/>")
        presence(client, peer.bare, "subscribed")
    for client, peer in ((alice, bob), (bob, alice)):
        push(client, jid=peer.bare, subscription="both", ask="-")


def test_a_crash_between_two_homes_heals(server, alice, bob):
    """design: state and announcement are one transaction, replayed until the other home has it."""
    presence(alice, "bob@localhost", "subscribe")
    push(alice, jid="bob@localhost", ask="subscribe")
    server.kill()
    server.start()
    bob = interested(server, "bob", "b")
    bob.expect("<presence from='alice@localhost' type='subscribe'/>")
    presence(bob, "alice@localhost", "subscribed")
    push(bob, jid="alice@localhost", subscription="from")
    server.kill()
    server.start()
    alice = interested(server, "alice", "a")
    alice.expect_nothing("<presence type='error'/>")
    until("subscription to bob", lambda: roster(alice)["bob@localhost"] == ("to", None))


@pytest.mark.sqlite
@pytest.mark.parametrize("kind", ["subscribe", "unsubscribed"])
def test_what_could_not_be_stored_is_told_again(server, alice, bob, kind):
    """The other home had no room for it: it needs no restart to learn of it later."""
    alice, bob = interested(server, "alice", "again"), interested(server, "bob", "again")
    if kind == "unsubscribed":
        subscribe(bob, alice)
    with server.database() as db:
        owner, = db.execute("SELECT id FROM account WHERE jid = 'bob@localhost'").fetchone()
        for what in ("INSERT", "UPDATE"):
            db.execute(f"CREATE TRIGGER no_{what} BEFORE {what} ON roster WHEN NEW.owner = {owner} "
                       "BEGIN SELECT RAISE(ABORT, 'no'); END")
    server.ctl("log", "trace", "subscription", "on")
    presence(alice, "bob@localhost", kind)
    push(alice, jid="bob@localhost")
    server.wait_log(r"event=subscription\.in account=bob@localhost .*why=\"?\w")
    bob.expect_nothing(f"<presence type='{kind}'/>", after=alice)
    with server.database() as db:
        for what in ("INSERT", "UPDATE"):
            db.execute(f"DROP TRIGGER no_{what}")
    bob.expect(f"<presence from='alice@localhost' type='{kind}'/>")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_probe_while_the_grant_is_being_stored(make_server, disk, workers):
    """Bob takes back that alice sees him, she asks again, and he grants it. While that is being
    stored another client of hers comes, and he is asked for his presence (RFC 6121 §4.3.2): the
    answer is that of the roster with the grant."""
    server = make_server("alice", "bob", workers=workers, disk=disk)
    server.ask_about_each_other("alice", "bob")
    server.befriend("alice", "bob")
    for round_ in range(3):
        alice, second = server.client("alice", f"a{round_}"), server.login("alice", f"c{round_}")
        bob = server.client("bob", f"b{round_}")
        disk.turn(write_ms=30)

        def edits(client, count):
            for number in range(count):
                item = f"<item jid='nobody@localhost' name='{number}'/>"
                client.send(f"<iq type='set' id='r{number}'>{ROSTER.format(item)}</iq>")

        bob.send("<presence to='alice@localhost' type='unsubscribed'/>")
        alice.send("<presence to='bob@localhost' type='subscribe'/>")
        edits(alice, 25)  # so that what bob took back waits
        bob.expect("<presence from='alice@localhost' type='subscribe'/>")
        edits(bob, 8)
        bob.send("<presence to='alice@localhost' type='subscribed'/>")
        bob.ping()
        second.available()
        second.ping()
        alice.expect("<iq id='r24'/>")
        disk.turn(write_ms=0)
        bob.result("set", ROSTER.format("<item jid='nobody@localhost' name='last'/>"))

        def states():
            return [next(item["subscription"] for item in server.rows("contact", "list", owner)
                         if item["jid"] == contact)
                    for owner, contact in (("alice@localhost", "bob@localhost"),
                                           ("bob@localhost", "alice@localhost"))]

        until("they see each other", lambda: states() == ["both", "both"])
        for client in alice, second, bob:
            client.close()
