"""Presence, rooms and nodes with servers of another make, and what happens when these die."""
import contextlib

import pytest

from harness import across, ejabberd, partner, prosody, pubsub, xml
from harness.client import until
from harness.muc import Room
from harness.partner import OURS, THEIRS

SOON = {"ping_after": "2s", "lost_after": "3s", "retry_for": "1s"}
MAKES = {"prosody": (prosody, prosody.Prosody, {"more": '"blocklist"; "vcard_legacy";'}),
         "ejabberd": (ejabberd, ejabberd.Ejabberd, {"more": "mod_s2s_dialback: {}\n  "
                                                    "mod_blocking: {}\n  mod_privacy: {}\n  "
                                                    "mod_vcard: {}"})}


@pytest.fixture(params=MAKES)
def federated(request, make_server, tmp_path):
    """A function that starts ours and theirs."""
    module, kind, options = MAKES[request.param]
    if not module.is_here():
        pytest.skip(f"no {request.param}, or no dnsmasq")
    started = []
    yield lambda **settings: partner.start(make_server, tmp_path, kind, started,
                                           settings=settings, **options)
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.finish()


def friends_of(ours, theirs):
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    across.befriend(alice, bob)
    return alice, bob


def test_contacts_of_a_server_that_dies_and_is_back(federated):
    ours, theirs = federated(**SOON)
    alice, bob = friends_of(ours, theirs)
    theirs.kill()
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    theirs.begin()
    again = until("a client", lambda: login(theirs))
    ours.wait_log("domain.back")
    if isinstance(theirs, prosody.Prosody):  # after kill -9 ejabberd may have lost the contacts
        again.expect(f"<presence from='{alice}' type='-'/>")
        alice.expect(f"<presence from='{again}' type='-'/>")


def test_an_unsubscribe_that_was_lost_is_said_again(federated):
    ours, theirs = federated(**SOON)
    alice, bob = friends_of(ours, theirs)
    if isinstance(theirs, ejabberd.Ejabberd):
        pytest.skip("after kill -9 it may have lost the contacts")
    theirs.kill()
    alice.send(f"<presence to='{bob.bare}' type='unsubscribe'/>")
    alice.send(f"<message to='{bob}' type='headline' id='behind'><body>behind</body></message>")
    alice.expect("<message type='error' id='behind'/>")
    theirs.begin()
    again = until("a client", lambda: login(theirs))
    until("agreement", lambda: across.roster_of(again)[alice.bare] == ("to", None))


def login(theirs):
    with contextlib.suppress(AssertionError, OSError):
        return theirs.client("bob", "again")
    return None


def test_contacts_of_a_server_that_was_started_again_at_once(federated):
    ours, theirs = federated()
    alice, bob = friends_of(ours, theirs)
    alice.drain()
    theirs.kill()
    theirs.begin()
    alice.timeout = 60
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")


def test_our_server_is_killed(federated):
    """Their server does not notice it; what it shows is true again when our user is back."""
    ours, theirs = federated()
    alice, bob = friends_of(ours, theirs)
    ours.kill()
    ours.start()
    again = ours.client("alice", "again")
    again.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect(f"<presence from='{again}' type='-'/>")
    again.close()
    second = theirs.client("bob", "second")
    second.expect(f"<presence from='{alice.bare}' type='unavailable'/>")


def test_occupants_of_a_dead_server_leave(federated):
    ours, theirs = federated(**SOON)
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    room = Room("cave", OURS)
    room.create(alice, "owner")
    room.enter(bob, "guest")
    theirs.kill()
    assert 333 in room.gone(alice, "guest").codes


def test_ghosts_of_a_server_that_was_started_again_leave(federated):
    ours, theirs = federated()
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    room = Room("cave", OURS)
    room.create(alice, "owner")
    room.enter(bob, "guest")
    theirs.kill()
    theirs.begin()
    alice.timeout = 60
    assert 333 in room.gone(alice, "guest").codes


def test_a_foreign_room_that_is_gone(federated):
    ours, theirs = federated(**SOON)
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    room = Room("cave", THEIRS)
    bob.send(f"<presence to='{room.at('owner')}'><x xmlns='http://jabber.org/protocol/muc'/>"
             "</presence>")
    bob.expect(f"<presence from='{room.at('owner')}'/>")
    room.configure(bob)
    room.knock(alice, "guest")
    alice.expect(f"<presence from='{room.at('guest')}'/>")
    theirs.kill()
    assert alice.error("get", "<ping xmlns='urn:xmpp:ping'/>", to=room.at("guest"))[0] == \
        "remote-server-timeout"


def test_nodes_and_cards(federated):
    ours, theirs = federated()
    alice, bob = friends_of(ours, theirs)
    node = "http://jabber.org/protocol/nick"
    for one, other in (alice, bob), (bob, alice):
        features = [xml.DISCO_INFO, node + "+notify", f"urn:x:{other.jid}"]
        other.send(f"<presence>{pubsub.caps(features)}</presence>")
        one.expect(f"<presence from='{other}'><c xmlns='{pubsub.CAPS}'/></presence>")
        asked = set()

        def answered(client=other, features=features, asked=asked):
            client.pump(0.05)
            while (ask := client._take(lambda e: xml.matches(e, pubsub.ASK))) is not None:
                client.send(f"<iq type='result' to='{ask.get('from')}' id='{ask.get('id')}'>"
                            f"{pubsub.disco_answer(features, ask[0].get('node'))}</iq>")
                asked.add(ask.get("from").rpartition("@")[2].partition("/")[0])
            return one.domain in asked
        until(f"a question of {one.domain}", answered)
        across.mark(other, one)
        one.result("set", pubsub.publish(node, f"<nick xmlns='{node}'>x</nick>", "current"))
        pubsub.expect_event(other, node, one.bare)
        one.result("set", "<vCard xmlns='vcard-temp'><FN>Ahab</FN></vCard>")
        card = other.result("get", "<vCard xmlns='vcard-temp'/>", to=one.bare)
        assert card.findtext("{vcard-temp}FN") == "Ahab"


def test_blocking(federated):
    ours, theirs = federated()
    pair = friends_of(ours, theirs)
    for one, other in (pair, pair[::-1]):
        one.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{other.bare}'/></block>")
        if one is pair[0] or isinstance(theirs, prosody.Prosody):
            other.expect(f"<presence from='{one}' type='unavailable'/>")
        other.send(f"<message to='{one.bare}' type='chat' id='m'><body>x</body></message>")
        error = other.expect(f"<message from='{one.bare}' type='error' id='m'/>")
        assert xml.condition(error) in ("service-unavailable", "not-acceptable")
        one.result("set",
                   f"<unblock xmlns='urn:xmpp:blocking'><item jid='{other.bare}'/></unblock>")
        if one is pair[0] or isinstance(theirs, prosody.Prosody):
            other.expect(f"<presence from='{one}' type='-'/>")


def test_subscriptions_are_denied_and_cancelled(federated):
    ours, theirs = federated()
    alice, bob = ours.client("alice", "a"), theirs.client("bob", "b")
    for client in alice, bob:
        across.roster_of(client)
    for one, other in (alice, bob), (bob, alice):
        one.send(f"<presence to='{other.bare}' type='subscribe'/>")
        other.expect(f"<presence from='{one.bare}' type='subscribe'/>")
        other.send(f"<presence to='{one.bare}' type='unsubscribed'/>")
        one.expect(f"<presence from='{other.bare}' type='unsubscribed'/>")
    across.befriend(alice, bob)
    for one, other, left in (alice, bob, "from"), (bob, alice, "none"):
        one.send(f"<presence to='{other.bare}' type='unsubscribe'/>")
        until("the end", lambda: across.roster_of(one)[other.bare][0] == left)
        until("the same there", lambda: across.roster_of(other)[one.bare][0] == {
            "from": "to", "none": "none"}[left])
