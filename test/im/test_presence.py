"""Presence: RFC 6121 §4 (broadcast, probes, directed), priorities, and every way of leaving."""
import pytest

from harness import xml


@pytest.fixture
def friends(server):
    """alice and bob see each other; nobody is online."""
    server.befriend("alice", "bob")
    return server


@pytest.fixture
def pair(friends):
    """The two online, nothing left to read."""
    bob = friends.client("bob", "b")
    alice = friends.client("alice", "a")
    bob.expect(f"<presence from='{alice}'/>")
    alice.expect(f"<presence from='{bob}'/>")
    return alice, bob


def test_initial_presence_reaches_the_contact(friends):
    bob = friends.client("bob", "b")
    alice = friends.login("alice", "a")
    alice.send("<presence><show>away</show><status>tea</status><priority>5</priority>"
               "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/>"
               "</presence>")
    bob.expect(f"<presence from='{alice}' to='bob@localhost'><show>away</show><status>tea</status>"
               "<priority>5</priority><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' "
               "node='n' ver='v'/></presence>")


def test_newcomer_learns_who_is_there(friends):
    """§4.3: probes on behalf of the newcomer; every resource of the contact is told."""
    bobs = [friends.login("bob", f"b{i}") for i in range(3)]
    for i, bob in enumerate(bobs):
        bob.available(inner=f"<status>{i}</status>")
    alice = friends.client("alice", "a")
    for i, bob in enumerate(bobs):
        alice.expect(f"<presence from='{bob}'><status>{i}</status></presence>")


def test_own_resources_see_each_other(server):
    """§4.2.2, §4.4.2"""
    one = server.client("alice", "one")
    other = server.client("alice", "other")
    one.expect(f"<presence from='{other}' type='-'/>")
    other.expect(f"<presence from='{one}' type='-'/>")
    other.send("<presence type='unavailable'/>")
    one.expect(f"<presence from='{other}' type='unavailable'/>")


def test_changes_are_broadcast_in_order(pair):
    """Some may be left out (presence.change-rate), not the last."""
    alice, bob = pair
    for i in range(20):
        alice.send(f"<presence><status>{i}</status></presence>")
    seen = [-1]
    while seen[-1] < 19:
        change = bob.expect_next(f"<presence from='{alice}'><status>*</status></presence>")
        seen.append(int(change.findtext(f"{{{xml.CLIENT}}}status")))
    assert seen == sorted(set(seen))


def test_strangers_see_nothing(pair, carol):
    alice, _ = pair
    alice.send("<presence><show>dnd</show></presence>")
    alice.ping()
    carol.expect_nothing("<presence/>", after=alice)


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_one_direction_only(server):
    """Subscription `to` or `from`: presence flows one way."""
    alice, bob = server.login("alice", "a"), server.login("bob", "b")
    bob.available()
    alice.send("<presence to='bob@localhost' type='subscribe'/>")
    bob.expect("<presence type='subscribe'/>")
    bob.send("<presence to='alice@localhost' type='subscribed'/>")
    bob.ping()
    alice.available()
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect_nothing("<presence/>", after=alice)


def test_a_session_without_presence_gets_none(friends):
    bob = friends.login("bob", "b")
    alice = friends.client("alice", "a")
    bob.expect_nothing("<presence/>", after=alice)


# --- leaving ---


def test_leaving_with_a_word(pair):
    alice, bob = pair
    alice.send("<presence type='unavailable'><status>bye</status></presence>")
    bob.expect(f"<presence from='{alice}' type='unavailable'><status>bye</status></presence>")
    alice.send("<presence/>")
    bob.expect(f"<presence from='{alice}' type='-'/>")


def leave_by_close(alice):
    alice.close()


def leave_by_reset(alice):
    alice.cut()


def leave_by_end_of_file(alice):
    alice.sock.shutdown(1)


def leave_by_stream_error(alice):
    alice.raw("<a></b>")


def leave_by_own_stream_error(alice):
    alice.raw(f"<stream:error><undefined-condition xmlns='{xml.STREAM_ERROR}'/></stream:error>"
              "</stream:stream>")


@pytest.mark.parametrize("leave", [leave_by_close, leave_by_reset, leave_by_end_of_file,
                                   leave_by_stream_error, leave_by_own_stream_error])
def test_leaving_without_a_word(pair, leave):
    """§4.5.2: the server says it."""
    alice, bob = pair
    leave(alice)
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    bob.expect_nothing("<presence/>")


def test_leaving_by_session_kick(friends, pair):
    alice, bob = pair
    friends.ctl("session", "kick", alice.jid)
    alice.expect_closed()
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")


def test_leaving_of_one_of_two(friends, pair):
    alice, bob = pair
    other = friends.client("alice", "other")
    bob.expect(f"<presence from='{other}'/>")
    alice.close()
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    bob.expect_nothing("<presence/>", after=other)


# --- probes (§4.3) ---


def test_probe_by_a_subscriber(pair):
    alice, bob = pair
    alice.send("<presence to='bob@localhost' type='probe'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect_nothing("<presence type='probe'/>", after=alice)


def test_probe_by_a_stranger(pair, carol):
    """§4.3.2: no presence without a subscription."""
    carol.send("<presence to='alice@localhost' type='probe'/>")
    carol.expect_nothing("<presence from='alice@localhost/a'/>", after=pair[0])
    carol.expect_nothing("<presence type='-'/>")


def test_probe_of_the_absent(friends):
    """§4.3.2: unavailable, or nothing; never presence."""
    alice = friends.client("alice", "a")
    alice.send("<presence to='bob@localhost' type='probe'/>")
    alice.expect_nothing("<presence from='bob@localhost' type='-'/>")


# --- directed presence (§4.6) ---


def test_directed_presence(server, alice, carol):
    alice.send(f"<presence to='{carol}'><status>hi</status></presence>")
    carol.expect(f"<presence from='{alice}' to='{carol}'><status>hi</status></presence>")
    alice.send("<presence><show>away</show></presence>")
    alice.ping()
    carol.expect_nothing("<presence/>", after=alice)


def test_directed_presence_before_initial(server, carol):
    alice = server.login("alice", "a")
    alice.send(f"<presence to='{carol}'/>")
    carol.expect(f"<presence from='{alice}' type='-'/>")
    alice.close()
    carol.expect(f"<presence from='{alice}' type='unavailable'/>")


@pytest.mark.parametrize("leave", [leave_by_close, leave_by_reset])
def test_who_got_directed_presence_is_told_of_the_end(alice, carol, leave):
    """§4.6.3"""
    alice.send(f"<presence to='{carol}'/>")
    carol.expect(f"<presence from='{alice}'/>")
    leave(alice)
    carol.expect(f"<presence from='{alice}' type='unavailable'/>")


def test_directed_presence_taken_back(alice, carol):
    alice.send(f"<presence to='{carol}'/>")
    alice.send(f"<presence to='{carol}' type='unavailable'/>")
    carol.expect(f"<presence from='{alice}' type='-'/>")
    carol.expect(f"<presence from='{alice}' type='unavailable'/>")
    alice.send("<presence type='unavailable'/>")
    alice.ping()
    carol.expect_nothing("<presence/>", after=alice)


def test_directed_presence_to_a_foreign_domain(alice):
    alice.send("<presence to='romeo@elsewhere.example'/>")
    alice.expect_error("remote-server-not-found", template="<presence type='error'/>")


# --- content ---


@pytest.mark.parametrize("priority", ["-129", "128", "high", "1.5"])
def test_priority_out_of_range(alice, priority):
    """§4.7.2.3: an integer from -128 to 127."""
    alice.send(f"<presence id='p'><priority>{priority}</priority></presence>")
    alice.expect_error("bad-request", template="<presence type='error' id='p'/>")


@pytest.mark.parametrize("priority", ["-128", "127", "0", " 5 "])
def test_priority_in_range(server, priority):
    server.client("alice", priority=priority).ping()


def test_unknown_type(alice):
    """§4.7.1: not one of the list is bad-request."""
    alice.send("<presence type='hidden' id='p'/>")
    alice.expect_error("bad-request", template="<presence type='error' id='p'/>")


def test_unknown_extensions_are_broadcast(pair):
    alice, bob = pair
    alice.send("<presence><x xmlns='urn:x'>1<y/></x></presence>")
    bob.expect(f"<presence from='{alice}'><x xmlns='urn:x'>1<y/></x></presence>")


def test_presence_error_does_no_harm(pair):
    alice, bob = pair
    alice.send(f"<presence to='{bob}' type='error'><error type='cancel'>"
               f"<gone xmlns='{xml.STANZA_ERROR}'/></error></presence>")
    bob.ping()
    alice.ping()


def test_many_contacts(make_server):
    """Each watcher gets the broadcast, and the end."""
    names = [f"u{i}" for i in range(12)]
    server = make_server("alice", *names, settings={"presence.approval": "ask"})
    alice = server.login("alice", "a")
    watchers = [server.login(name, "w").available() for name in names]
    alice.available()
    for watcher in watchers:
        watcher.send("<presence to='alice@localhost' type='subscribe'/>")
        alice.expect(f"<presence from='{watcher.bare}' type='subscribe'/>")
        alice.send(f"<presence to='{watcher.bare}' type='subscribed'/>")
        watcher.expect(f"<presence from='{alice}' type='-'/>")
    alice.send("<presence><status>all</status></presence>")
    for watcher in watchers:
        watcher.expect(f"<presence from='{alice}'><status>all</status></presence>")
    alice.cut()
    for watcher in watchers:
        watcher.expect(f"<presence from='{alice}' type='unavailable'/>")


def test_who_goes_is_told_as_well(server):
    """RFC 6121 §4.5.2: all resources of the user, the one that went among them; once."""
    one, other = server.client("alice", "one"), server.client("alice", "other")
    one.drain()
    one.send("<presence type='unavailable'><status>bye</status></presence>")
    one.expect(f"<presence from='{one}' type='unavailable'><status>bye</status></presence>")
    other.expect(f"<presence from='{one}' type='unavailable'/>")
    one.send("<presence type='unavailable'/>")
    one.expect_nothing("<presence/>")
