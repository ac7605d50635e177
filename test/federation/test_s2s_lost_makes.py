"""What a server of ours has acknowledged reaches a server of another make, and the other way round:
over streams that break, and when one of them is killed."""
import itertools

import pytest

from harness import ejabberd, federation, partner, prosody, xml
from harness.client import until
from harness.partner import OURS, THEIRS
from harness.wire import Wire
from federation.test_s2s_lost import acknowledged, say, stored, until_confirmed


@pytest.fixture
def federated(make_server, tmp_path):
    """A function that starts a server of ours and one of that kind, with a wire to it, which ends
    both connections of a stream at once, or without one."""
    started = []

    def both(kind, wired=True, **options):
        if not kind.is_here():
            pytest.skip("it is not installed, or dnsmasq is not")
        make = prosody.Prosody if kind is prosody else ejabberd.Ejabberd
        ours, theirs = partner.start(make_server, tmp_path, make, started, **options)
        wire = Wire(theirs.s2s_port)
        federation.route(ours, THEIRS, wire.port if wired else theirs.s2s_port)
        started.append(wire)
        return ours, theirs, wire
    yield both
    for one in reversed(started):
        getattr(one, "finish", getattr(one, "close", None))()


@pytest.mark.parametrize("kind, options", [
    (prosody, {"more": '"smacks";'}), (prosody, {}), (ejabberd, {})],
    ids=["Prosody, XEP-0198", "Prosody", "ejabberd"])
def test_connections_to_other_makes_that_are_cut_lose_nothing(federated, kind, options):
    ours, theirs, wire = federated(kind, **options)
    alice, bob = ours.client("alice"), theirs.client("bob")
    say(alice, 0, to=bob)
    bob.expect("<message id='m0'/>")
    until_confirmed(ours)
    got = []

    def come():
        bob.pump(0.1)
        got.extend(int(e.get("id")[1:]) for e in bob.inbox if (e.get("id") or "").startswith("m"))
        bob.inbox.clear()
        return set(got) >= set(range(1, 201))

    for n in range(1, 201):
        seen = wire.seen
        say(alice, n, to=bob)
        if n in (60, 120):
            until("more are under way", lambda seen=seen: wire.seen > seen)
            wire.say("c")
    until("all of them", come)
    first = list(dict.fromkeys(got))
    assert first == sorted(first)
    until_confirmed(ours)
    assert OURS in str(alice)


@pytest.mark.parametrize("kind, options", [
    (prosody, {"more": '"smacks";'}), (prosody, {}), (ejabberd, {})],
    ids=["Prosody, XEP-0198", "Prosody", "ejabberd"])
def test_streams_with_other_makes_that_are_closed_lose_nothing_of_ours(federated, kind, options):
    """In a flood both ways. ejabberd loses what it gives to its stream behind the end of that."""
    ours, theirs, _ = federated(kind, **options)
    alice, bob = ours.client("alice"), theirs.client("bob")
    say(alice, 0, to=bob)
    bob.expect("<message id='m0'/>")
    say(bob, 1000, to=alice)
    alice.expect("<message id='m1000'/>")
    for n in range(1, 301):
        say(alice, n, to=bob)
        say(bob, 1000 + n, to=alice)
        if n % 100 == 50:
            ours.ctl("s2s", "close", THEIRS)
    got = []

    def come():
        bob.pump(0.1)
        alice.pump(0.01)
        got.extend(int(e.get("id")[1:]) for e in bob.inbox
                   if (e.get("id") or "").startswith("m") and e.get("type") != "error")
        bob.inbox.clear()
        return set(got) >= set(range(1, 301))

    until("all of them", come)
    first = list(dict.fromkeys(got))
    assert first == sorted(first)
    until_confirmed(ours)
    assert not [e for e in alice.inbox if e.get("type") == "error"]


def test_a_planned_restart_in_a_flood_repeats_nothing(federated):
    """To Prosody, which confirms what it is asked for."""
    ours, theirs, _ = federated(prosody, wired=False, more='"smacks";')
    bob, got, read = theirs.client("bob"), [], []

    def come():
        bob.pump(0.1)
        got.extend(int(e.get("id")[1:]) for e in bob.inbox if (e.get("id") or "").startswith("m"))
        bob.inbox.clear()
        return set(got) >= set(read)

    for _ in range(4):
        alice, begun = ours.client("alice"), len(read)
        say(alice, begun, to=bob)
        until("the link is up", lambda: come() or begun in got)
        for n in range(begun + 1, begun + 200):
            say(alice, n, to=bob)
        ours.restart()
        read = stored(ours)
        assert begun < len(read) and read == list(range(len(read)))
    until("all of them", come)
    until_confirmed(ours)
    come()
    assert got == read


@pytest.mark.parametrize("kind, options", [
    (prosody, {"more": '"smacks";'}), (prosody, {}), (ejabberd, {})],
    ids=["Prosody, XEP-0198", "Prosody", "ejabberd"])
def test_our_server_is_killed_in_a_flood_with_another_make(federated, kind, options):
    """Both ways: what was acknowledged to a client arrives, in order; so does what the other server
    sends and counts, but for what it has returned itself. Repeats are those of a crash."""
    ours, theirs, _ = federated(kind, settings={"ack_timeout": "5s"}, **options)
    alice, bob = ours.client("alice"), theirs.client("bob")
    alice.enable_sm()
    say(alice, 0, to=bob)
    bob.expect("<message id='m0'/>")
    say(bob, 1000, to=alice.bare)
    alice.expect("<message id='m1000'/>")
    until_confirmed(ours)
    for n in range(1, 200):
        say(alice, n, to=bob)
        say(bob, 1000 + n, to=alice.bare)
    until("some are acknowledged", lambda: acknowledged(alice) > 20)
    sure = acknowledged(alice)
    ours.kill()
    got, returned = [], set()

    def numbers():
        bob.pump(0.1)
        for e in bob.inbox:
            if (e.get("id") or "").startswith("m"):
                (returned.add if e.get("type") == "error" else got.append)(int(e.get("id")[1:]))
        bob.inbox.clear()
        return got
    numbers()
    ours.start()
    until("all that was acknowledged", lambda: set(range(1, sure)) <= set(numbers()))
    probe = itertools.count(2000)
    arrived = []

    def come_back():
        say(bob, next(probe), to=alice.bare)
        numbers()
        arrived[:] = [n for n in stored(ours) if n >= 1000]
        return any(n >= 2000 for n in arrived)
    until("the way back", come_back)
    if options:  # it knows by XEP-0198 what we have not got
        until("each is here or was returned", lambda: (
            numbers(), set(range(1000, 1200)) <= {*stored(ours)} | returned)[1])
    mine = [n for n in stored(ours) if 1000 <= n < 1200]
    assert mine == sorted(set(mine))  # repeats are known by their origin-ids
    until_confirmed(ours)  # by pings, if its way back is there
    numbers()
    first = list(dict.fromkeys(got))
    assert first == sorted(first)


@pytest.mark.parametrize("kind, options", [
    (prosody, {"more": '"smacks"; "offline";'}), (prosody, {"more": '"offline";'}),
    (ejabberd, {"more": "mod_offline: {}\n  mod_s2s_dialback: {}"})],
    ids=["Prosody, XEP-0198", "Prosody", "ejabberd"])
def test_another_make_is_killed_in_a_flood(federated, kind, options):
    """Half of it was sent when that happens. What our user has sent arrives, in order, as soon as
    the other server is back; none is returned. What that has taken and not confirmed comes twice.
    """
    ours, theirs, _ = federated(kind, wired=False, settings={"ack_timeout": "5s"}, **options)
    alice, bob = ours.client("alice"), theirs.client("bob")
    alice.enable_sm()
    say(alice, 0, to=bob)
    bob.expect("<message id='m0'/>")
    until_confirmed(ours)
    got = []

    def come(client):
        client.pump(0.1)
        got.extend(int(e.get("id")[1:]) for e in client.inbox
                   if (e.get("id") or "").startswith("m") and e.get("type") != "error")
        client.inbox.clear()
        return set(got) >= set(range(1, 300))

    for n in range(1, 300):
        say(alice, n, to=bob.bare)
        if n == 150:
            theirs.kill()
    come(bob)
    theirs.begin()
    ours.ctl_run("s2s", "retry", THEIRS)  # unless it has come by itself
    again = theirs.client("bob")
    until("all of them", lambda: come(again))
    until_confirmed(ours)
    alice.wait_acked(300)
    come(again)
    first = list(dict.fromkeys(got))
    assert first == sorted(first)
    assert not [e for e in alice.inbox if e.get("type") == "error"]


def test_a_denial_that_another_make_has_not_got_is_said_again(federated):
    """Its server was killed, and the denial with it: the answer to its probe says it."""
    ours, theirs, _ = federated(prosody, settings={"retry_for": "0s"})
    alice, bob = ours.client("alice"), theirs.client("bob")
    for client in alice, bob:
        client.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    bob.send(f"<presence to='{alice.bare}' type='subscribe'/>")
    alice.expect(f"<presence from='{bob.bare}' type='subscribe'/>")
    alice.send(f"<presence to='{bob.bare}' type='subscribed'/>")
    bob.expect(f"<presence from='{alice}'/>")
    until_subscribed(bob, alice, "to")
    theirs.kill()
    alice.send(f"<presence to='{bob.bare}' type='unsubscribed'/>")
    ours.wait_log("event=s2s.failed")
    theirs.begin()
    ours.ctl_run("s2s", "retry", THEIRS)  # unless it has come by itself
    until_subscribed(theirs.client("bob"), alice, "none")


def until_subscribed(client, contact, state):
    """As the contact list of the client has it, which another server changes later."""
    until(f"subscription {state}", lambda: [
        item.get("subscription")
        for item in client.result("get", f"<query xmlns='{xml.ROSTER}'/>")
        if item.get("jid") == contact.bare] == [state])
