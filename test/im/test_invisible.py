"""Invisibility: the command (XEP-0186), and by privacy lists (XEP-0126)."""
import pytest

from harness import xml
from harness.client import until

INVISIBLE, PRIVACY = "urn:xmpp:invisible:0", "jabber:iq:privacy"


def hide(client):
    client.result("set", f"<invisible xmlns='{INVISIBLE}'/>")


def hide_by_list(client):
    """XEP-0126 §3.5"""
    client.result("set", f"<query xmlns='{PRIVACY}'><list name='hidden'>"
                  "<item action='deny' order='1'><presence-out/></item></list></query>")
    client.result("set", f"<query xmlns='{PRIVACY}'><active name='hidden'/></query>")


def show(client):
    client.result("set", f"<visible xmlns='{INVISIBLE}'/>")


def test_feature(alice):
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="localhost")
    assert INVISIBLE in {f.get("var") for f in info}


def test_contacts_see_it_leave(pair):
    """§3.1"""
    alice, bob = pair
    hide(alice)
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    alice.send("<presence><show>away</show></presence>")
    bob.expect_nothing("<presence/>", after=alice)
    hide(alice)
    bob.expect_nothing("<presence/>", after=alice)


def test_it_sees_and_receives(pair):
    """§3.1.1: inbound presence and messages, to the bare and the full JID."""
    alice, bob = pair
    hide(alice)
    bob.send("<presence><show>dnd</show></presence>")
    alice.expect(f"<presence from='{bob}'><show>dnd</show></presence>")
    for to in (alice.bare, alice):
        bob.send(f"<message to='{to}' type='chat'><body>{to}</body></message>")
        alice.expect(f"<message from='{bob}'><body>{to}</body></message>")
    alice.send(f"<message to='{bob}' type='chat'><body>hi</body></message>")
    bob.expect("<message><body>hi</body></message>")


def test_probes_and_newcomers_see_nothing(pair, server):
    alice, bob = pair
    hide(alice)
    bob.expect("<presence type='unavailable'/>")
    other = server.client("bob", "other")
    other.expect_nothing(f"<presence from='{alice}'/>", after=alice)
    bob.send("<presence type='probe' to='alice@localhost'/>")
    bob.expect_nothing(f"<presence from='{alice}'/>", after=alice)


def test_account_looks_offline(pair):
    """Last activity and items as if it were offline; the time is that of hiding."""
    alice, bob = pair
    hide(alice)
    bob.expect("<presence type='unavailable'/>")
    items = bob.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to="alice@localhost")
    assert not len(items)
    last = bob.result("get", "<query xmlns='jabber:iq:last'/>", to="alice@localhost")
    assert int(last.get("seconds")) >= 0 and not last.text
    mine = alice.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to="alice@localhost")
    assert [i.get("jid") for i in mine] == [str(alice)]


ROSTER = "jabber:iq:roster"
ENDS = {
    "unsubscribe": lambda alice, bob: bob.send(f"<presence to='{alice.bare}' type='unsubscribe'/>"),
    "unsubscribed": lambda alice, bob: alice.send(
        f"<presence to='{bob.bare}' type='unsubscribed'/>"),
    "removed by it": lambda alice, bob: alice.result(
        "set", f"<query xmlns='{ROSTER}'><item jid='{bob.bare}' subscription='remove'/></query>"),
    "removed by the contact": lambda alice, bob: bob.result(
        "set", f"<query xmlns='{ROSTER}'><item jid='{alice.bare}' subscription='remove'/></query>"),
    "blocked": lambda alice, bob: alice.result(
        "set", f"<block xmlns='urn:xmpp:blocking'><item jid='{bob.bare}'/></block>"),
    "sharing off": lambda alice, bob: None,
}


def seen_by(server, name):
    """The subscriptions `from` and `both` of a user."""
    return {r["jid"] for r in server.rows("contact", "list", f"{name}@localhost")
            if r["subscription"] in ("from", "both")}


@pytest.mark.parametrize("hide", (hide, hide_by_list))
@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_a_subscription_does_not_show_it(pair, server, end, hide):
    """Unavailable presence would tell that it is connected, and its resource."""
    alice, bob = pair
    hide(alice)
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    if end == "sharing off":
        server.ctl("set", "presence.sharing", "off")
    ENDS[end](alice, bob)
    if end not in ("blocked", "sharing off"):
        until("the end", lambda: seen_by(server, "alice") == set())
    bob.expect_nothing(f"<presence from='{alice}'/>", after=None if end == "blocked" else alice)


def test_another_session_stays_visible(pair, server):
    alice, bob = pair
    phone = server.client("alice", "phone")
    bob.expect(f"<presence from='{phone}' type='-'/>")
    hide(alice)
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    items = bob.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to="alice@localhost")
    assert [i.get("jid") for i in items] == [str(phone)]
    phone.send("<presence><show>xa</show></presence>")
    bob.expect(f"<presence from='{phone}'><show>xa</show></presence>")


def test_directed_presence(pair):
    """§3.1.1 items 2 and 8: delivered, and only its receivers are told of the end."""
    alice, bob = pair
    hide(alice)
    bob.expect("<presence type='unavailable'/>")
    alice.send(f"<presence to='{bob.bare}'><status>psst</status></presence>")
    bob.expect(f"<presence from='{alice}'><status>psst</status></presence>")
    alice.send("<presence type='unavailable'/>")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")


def test_receivers_of_directed_presence_are_told_of_hiding(pair, carol):
    alice, _ = pair
    alice.send(f"<presence to='{carol}'/>")
    carol.expect(f"<presence from='{alice}' type='-'/>")
    hide(alice)
    carol.expect(f"<presence from='{alice}' type='unavailable'/>")


def test_leaving_while_invisible_is_silent(pair):
    alice, bob = pair
    hide(alice)
    bob.expect("<presence type='unavailable'/>")
    alice.close()
    bob.expect_nothing("<presence/>")


def test_visible_again(pair):
    """§3.2: as before initial presence; the client sends it when it wants to."""
    alice, bob = pair
    hide(alice)
    bob.expect("<presence type='unavailable'/>")
    show(alice)
    bob.expect_nothing("<presence/>", after=alice)
    alice.drain()
    alice.send("<presence><status>back</status></presence>")
    bob.expect(f"<presence from='{alice}'><status>back</status></presence>")
    alice.expect(f"<presence from='{bob}' type='-'/>")


def test_contacts_who_leave_before_it_is_seen_again(pair):
    """Between the command and its presence the client goes on to hear of its contacts."""
    alice, bob = pair
    hide(alice)
    bob.expect("<presence type='unavailable'/>")
    show(alice)
    bob.send("<presence type='unavailable'/>")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    bob.expect_nothing(f"<presence from='{alice}'/>", after=alice)


def test_invisible_again_before_it_is_seen(pair):
    alice, bob = pair
    hide(alice)
    bob.expect("<presence type='unavailable'/>")
    show(alice)
    hide(alice)
    alice.send("<presence><status>hidden</status></presence>")
    bob.expect_nothing("<presence/>", after=alice)


def test_leaving_before_it_is_seen_is_silent(pair, server):
    alice, bob = pair
    desk = server.client("alice", "desk")
    hide(alice)
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    show(alice)
    alice.send("<presence type='unavailable'/>")
    desk.expect(f"<presence from='{alice}' type='unavailable'/>")
    bob.expect_nothing(f"<presence from='{alice}'/>", after=desk)
    alice.send("<presence/>")
    bob.expect(f"<presence from='{alice}' type='-'/>")


def test_before_initial_presence(server):
    server.befriend("alice", "bob")
    bob = server.client("bob", "b")
    alice = server.login("alice", "a")
    hide(alice)
    alice.available()
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect_nothing("<presence/>", after=alice)


def test_next_session_is_visible(pair, server):
    alice, bob = pair
    hide(alice)
    bob.expect("<presence type='unavailable'/>")
    alice.close()
    again = server.client("alice", "a")
    bob.expect(f"<presence from='{again}' type='-'/>")


def test_kept_across_resumption_and_restart(server):
    server.befriend("alice", "bob")
    alice = server.login("alice", "a")
    alice.enable_sm()
    hide(alice)
    alice.available()
    alice.request_ack()
    alice.ping()
    alice.cut()
    server.restart()
    again = server.connect("alice")
    assert again.take_over(alice).tag.endswith("resumed")
    bob = server.client("bob", "b")
    again.expect(f"<presence from='{bob}' type='-'/>")
    again.send("<presence><show>away</show></presence>")
    bob.expect_nothing(f"<presence from='{again}'/>", after=again)


def cut(alice, server):
    alice.cut()


def restart(alice, server):
    alice.cut()
    server.restart()


def sleep(alice, server):
    alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    alice.ping()


STATES = {
    "hidden": (lambda alice, server: hide(alice),),
    "visible, without presence": (lambda alice, server: hide(alice),
                                  lambda alice, server: show(alice)),
    "asleep": (sleep,),
    "cut": (cut,),
    "restarted": (restart,),
    "visible, without presence, cut": (lambda alice, server: hide(alice),
                                       lambda alice, server: show(alice), cut),
    "visible, without presence, restarted": (lambda alice, server: hide(alice),
                                             lambda alice, server: show(alice), restart),
}


@pytest.mark.parametrize("state", STATES)
def test_no_state_keeps_a_contact_that_left(server, state):
    """Whatever the client is in the middle of when a contact leaves, it learns of it."""
    server.befriend("alice", "bob")
    alice = server.login("alice", "a")
    alice.enable_sm()
    alice.available()
    bob = server.login("bob", "b")
    bob.enable_sm()
    bob.available()
    alice.expect(f"<presence from='{bob}' type='-'/>")
    alice.request_ack()
    for act in STATES[state]:
        act(alice, server)
    if restart in STATES[state]:
        bob, was = server.connect("bob"), bob
        assert bob.take_over(was).tag.endswith("resumed")
    bob.send("<presence type='unavailable'/>")
    bob.ping()
    if {cut, restart} & set(STATES[state]):
        again = server.connect("alice")
        assert again.take_over(alice).tag.endswith("resumed")
        alice = again
    alice.send("<active xmlns='urn:xmpp:csi:0'/><presence/>")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    alice.expect_nothing(f"<presence from='{bob}'/>", after=bob)


def test_only_for_oneself(pair):
    alice, bob = pair
    assert alice.error("set", f"<invisible xmlns='{INVISIBLE}'/>", to="bob@localhost") == (
        "service-unavailable", "cancel")
    assert alice.error("get", f"<invisible xmlns='{INVISIBLE}'/>") == (
        "service-unavailable", "cancel")
    bob.expect_nothing("<presence/>", after=alice)
