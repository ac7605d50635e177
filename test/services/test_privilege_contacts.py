"""What components see of the contacts of users (XEP-0356, presence=roster)."""
import asyncio

import pytest

from harness import across, nodes, xml
from harness.across import ONE
from harness.component import Component
from harness.muc import Room
from harness.server import refusal

GATEWAY, SECOND = "gateway.example.test", "second-gateway.example.test"
SECRET = "a rather long secret"
PRIVILEGE = "urn:xmpp:privilege:2"
RIGHTS = "roster=get presence=roster"
BLOCKING = "urn:xmpp:blocking"


@pytest.fixture
def host(make_server):
    """GATEWAY has the right for the first domain. Contacts are users of the second one."""
    server = make_server("alice", "bob", domains=("localhost", "second.test"), component=True)
    for name in "eve", "mallory":
        server.add_user(name, domain="second.test")
    for domain in GATEWAY, SECOND:
        server.ctl("component", "add", domain, "--secret", SECRET)
    server.ctl("set", "component.privileges@localhost", f"{GATEWAY} {RIGHTS}")
    return server


def eve_of(host, resource="e"):
    return host.client("eve", resource, domain="second.test")


def told(component):
    """The component has heard what was on its way."""
    component.ping()


def sees(gateway, contact, inner="", to=GATEWAY):
    return gateway.expect(f"<presence from='{contact}' to='{to}' type='-'>{inner}</presence>")


def sees_go(gateway, contact):
    gateway.expect(f"<presence from='{contact}' to='{gateway.domain}' type='unavailable'/>")


def gateway_of(host, domain=GATEWAY, node=None):
    gateway = Component(host, domain, SECRET, node=node)
    gateway.expect("<message from='localhost'/>")
    return gateway


@pytest.mark.parametrize("value", [
    "presence=roster", "roster=set presence=roster", "message=outgoing presence=roster",
    "roster=get presence=roster presence=managed_entity"])
def test_the_right_needs_the_right_to_read_contact_lists(host, value):
    text = refusal(host, "set", "component.privileges", f"{GATEWAY} {value}")
    assert "presence=roster (instead of it; needs roster=get or both)" in text


def test_a_component_is_told_of_its_right(host):
    gateway = Component(host, GATEWAY, SECRET)
    privilege, = gateway.expect("<message from='localhost'/>")
    assert privilege.tag == f"{{{PRIVILEGE}}}privilege"
    assert {p.get("access"): p.get("type") for p in privilege} == {
        "roster": "get", "presence": "roster"}


def test_contacts_come_change_and_go(host):
    gateway = gateway_of(host)
    alice, eve = host.client("alice", "a"), eve_of(host)
    sees(gateway, alice)  # as presence=managed_entity has it
    gateway.expect_nothing(f"<presence from='{eve}'/>")
    across.befriend(alice, eve)
    sees(gateway, eve)
    eve.send("<presence><show>dnd</show><status>busy &amp; so on</status></presence>")
    sees(gateway, eve, "<show>dnd</show><status>busy &amp; so on</status>")
    eve.send("<presence type='unavailable'><status>bye</status></presence>")
    gateway.expect(f"<presence from='{eve}' to='{GATEWAY}' type='unavailable'>"
                   "<status>bye</status></presence>")
    eve.send("<presence/>")
    sees(gateway, eve)
    eve.close()
    sees_go(gateway, eve)


def test_presence_is_copied_once(host):
    """Two users see the contact, and a second client of one asks for what is known."""
    gateway = gateway_of(host)
    alice, bob, eve = host.client("alice", "a"), host.client("bob", "b"), eve_of(host)
    across.befriend(alice, eve)
    across.befriend(bob, eve)
    gateway.drain()
    eve.send("<presence><status>once</status></presence>")
    for client in alice, bob:
        client.expect(f"<presence from='{eve}'><status>once</status></presence>")
    told(gateway)
    copies = [p for p in gateway.inbox if p.get("from") == str(eve)]
    assert 1 <= len(copies) <= 2 * nodes.COUNT  # one of each worker
    gateway.drain()
    host.client("alice", "second").expect(f"<presence from='{eve}'/>")
    gateway.expect_nothing(f"<presence from='{eve}'/>")


def test_changes_keep_their_order(host):
    gateway = gateway_of(host)
    alice, eve = host.client("alice", "a"), eve_of(host)
    across.befriend(alice, eve)
    sees(gateway, eve)
    gateway.drain()
    for n in range(200):
        eve.send(f"<presence><status>{n}</status></presence>")
    seen = [-1]
    while seen[-1] < 199:  # some are left out (presence.change-rate), not the last
        change = gateway.expect_next(f"<presence from='{eve}'><status>*</status></presence>")
        seen.append(int(change.find("{*}status").text))
    assert seen == sorted(set(seen))


def test_users_who_are_seen_anyway_are_not_copied(host):
    gateway = gateway_of(host)
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    across.befriend(alice, bob)
    gateway.drain()
    bob.send("<presence><status>once</status></presence>")
    sees(gateway, bob, "<status>once</status>")
    alice.expect(f"<presence from='{bob}'><status>once</status></presence>")
    gateway.expect_nothing(f"<presence from='{bob}'/>")


def test_who_is_no_contact_is_not_seen(host):
    """Directed presence of a stranger, and presence of a contact that only sees the user."""
    gateway = gateway_of(host)
    alice, eve, mallory = (host.client("alice", "a"), eve_of(host),
                           host.client("mallory", "m", domain="second.test"))
    mallory.send(f"<presence to='{alice}'/>")
    alice.expect(f"<presence from='{mallory}'/>")
    across.roster_of(alice)
    eve.send(f"<presence to='{alice.bare}' type='subscribe'/>")
    eve.expect(f"<presence from='{alice}'/>")
    eve.send(f"<presence to='{alice}'/>")
    alice.expect(f"<presence from='{eve}'/>")
    for client in eve, mallory:
        client.close()
        alice.expect(f"<presence from='{client}' type='unavailable'/>")
    for client in eve, mallory:
        gateway.expect_nothing(f"<presence from='{client}'/>")


def test_contacts_of_users_without_a_client(host):
    gateway = gateway_of(host)
    alice, eve = host.client("alice", "a"), eve_of(host)
    across.befriend(alice, eve)
    sees(gateway, eve)
    alice.close()
    sees_go(gateway, alice)
    eve.send("<presence><show>away</show></presence>")
    sees(gateway, eve, "<show>away</show>")
    eve.close()
    sees_go(gateway, eve)


def test_accounts_that_are_not_loaded(host):
    """Nobody has used the account since the server was started."""
    alice, eve = host.client("alice", "a"), eve_of(host)
    across.befriend(alice, eve)
    for client in alice, eve:
        client.close()
    host.restart()
    gateway = gateway_of(host)
    eve = eve_of(host)
    sees(gateway, eve)
    eve.close()
    sees_go(gateway, eve)


def test_a_component_that_comes_later(host):
    """It learns what there is; its users' clients need not say anything."""
    alice, eve = host.client("alice", "a"), eve_of(host)
    across.befriend(alice, eve)
    eve.send("<presence><show>xa</show></presence>")
    alice.expect(f"<presence from='{eve}'><show>xa</show></presence>")
    for node in range(nodes.COUNT):
        gateway = gateway_of(host, node=node)
        sees(gateway, eve, "<show>xa</show>")
        sees(gateway, alice)
        gateway.close()
    eve.close()
    gateway = gateway_of(host)
    sees(gateway, alice)
    gateway.expect_nothing(f"<presence from='{eve}'/>")


def test_the_right_is_given_and_taken_away(host):
    gateway = gateway_of(host)
    alice, eve = host.client("alice", "a"), eve_of(host)
    across.befriend(alice, eve)
    host.ctl("set", "component.privileges@localhost", f"{GATEWAY} presence=managed_entity")
    gateway.expect("<message from='localhost'/>")
    gateway.drain()
    eve.send("<presence><status>unseen</status></presence>")
    alice.expect(f"<presence from='{eve}'><status>unseen</status></presence>")
    gateway.expect_nothing(f"<presence from='{eve}'/>")
    host.ctl("set", "component.privileges@localhost", f"{GATEWAY} {RIGHTS}")
    sees(gateway, eve, "<status>unseen</status>")


def test_several_components(host):
    host.ctl("set", "component.privileges@localhost",
             f"{GATEWAY} {RIGHTS} {SECOND} roster=both presence=roster")
    alice, eve = host.client("alice", "a"), eve_of(host)
    across.befriend(alice, eve)
    gateways = [gateway_of(host), gateway_of(host, SECOND)]
    for gateway in gateways:
        sees(gateway, eve, to=gateway.domain)
    eve.send("<presence><status>both</status></presence>")
    for gateway in gateways:
        sees(gateway, eve, "<status>both</status>", to=gateway.domain)
    host.ctl("set", "component.privileges@second.test", f"{SECOND} presence=managed_entity")
    gateways[1].expect("<message from='second.test'/>")
    eve.close()
    for gateway in gateways:
        sees_go(gateway, eve)


def test_blocked_contacts(host):
    alice, eve = host.client("alice", "a"), eve_of(host)
    across.befriend(alice, eve)
    alice.result("set", f"<block xmlns='{BLOCKING}'><item jid='{eve.bare}'/></block>")
    gateway = gateway_of(host)
    sees(gateway, alice)
    eve.send("<presence><status>unseen</status></presence>")
    eve.expect(f"<presence from='{eve}'><status>unseen</status></presence>")
    gateway.expect_nothing(f"<presence from='{eve}'/>")
    alice.result("set", f"<unblock xmlns='{BLOCKING}'><item jid='{eve.bare}'/></unblock>")
    eve.send("<presence><status>seen</status></presence>")
    sees(gateway, eve, "<status>seen</status>")


@pytest.mark.parametrize("by_user", [True, False])
def test_a_subscription_that_ends(host, by_user):
    gateway = gateway_of(host)
    alice, eve = host.client("alice", "a"), eve_of(host)
    across.befriend(alice, eve)
    sees(gateway, eve)
    if by_user:
        alice.result("set", f"<query xmlns='{xml.ROSTER}'><item jid='{eve.bare}' "
                            "subscription='remove'/></query>")
    else:
        eve.send(f"<presence to='{alice.bare}' type='unsubscribed'/>")
    sees_go(gateway, eve)
    eve.send("<presence/>")
    eve.expect(f"<presence from='{eve}'/>")
    gateway.expect_nothing(f"<presence from='{eve}'/>")


def test_rooms_are_no_contacts(host):
    gateway = gateway_of(host)
    alice = host.client("alice", "a")
    room = Room("tea")
    room.enter(alice, "ally")
    gateway.expect_nothing(f"<presence from='{room.at('ally')}'/>")


def test_contacts_at_components(host):
    """Those of another one are seen; the component hears nothing of its own."""
    gateway, second = gateway_of(host), Component(host, SECOND, SECRET)
    alice = host.client("alice", "a")
    for component in gateway, second:
        friend = f"friend@{component.domain}"
        alice.send(f"<presence to='{friend}' type='subscribe'/>")
        component.expect(f"<presence to='{friend}' type='subscribe'/>")
        component.send(f"<presence from='{friend}' to='{alice.bare}' type='subscribed'/>")
        component.send(f"<presence from='{friend}/f' to='{alice.bare}'/>")
        alice.expect(f"<presence from='{friend}/f' type='-'/>")
    sees(gateway, f"friend@{SECOND}/f")
    gateway.expect_nothing(f"<presence from='friend@{GATEWAY}/f'/>")
    gateway.close()
    gateway = gateway_of(host)
    second.expect(f"<presence from='{alice}' to='friend@{SECOND}' type='probe'/>")
    second.send(f"<presence from='friend@{SECOND}/f' to='{alice}'><show>away</show></presence>")
    sees(gateway, f"friend@{SECOND}/f", "<show>away</show>")


@pytest.fixture
def servers(make_server, tmp_path):
    """Two servers; GATEWAY is a component of the one, with the right for its users."""
    one, other = across.start(make_server, tmp_path, component=True)
    one.ctl("component", "add", GATEWAY, "--secret", SECRET)
    one.ctl("set", f"component.privileges@{ONE}", f"{GATEWAY} {RIGHTS}")
    return one, other


def far_gateway(server):
    gateway = Component(server, GATEWAY, SECRET)
    gateway.expect(f"<message from='{ONE}'/>")
    return gateway


def test_contacts_on_another_server(servers):
    one, other = servers
    gateway = far_gateway(one)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    sees(gateway, bob)
    bob.send("<presence><show>dnd</show></presence>")
    sees(gateway, bob, "<show>dnd</show>")
    alice.close()
    sees_go(gateway, alice)
    bob.send("<presence><show>away</show></presence>")
    sees(gateway, bob, "<show>away</show>")
    bob.close()
    sees_go(gateway, bob)


def test_the_right_for_all_domains(servers):
    """Contacts on another server are not users whom the component sees anyway."""
    one, other = servers
    one.ctl("set", f"component.privileges@{ONE}", "--default")
    one.ctl("set", "component.privileges", f"{GATEWAY} {RIGHTS}")
    gateway = far_gateway(one)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    sees(gateway, bob)
    gateway.cut()
    sees(far_gateway(one), bob)


def test_a_component_that_comes_later_asks_another_server(servers):
    one, other = servers
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    bob.send("<presence><show>dnd</show></presence>")
    alice.expect(f"<presence from='{bob}'><show>dnd</show></presence>")
    gateway = far_gateway(one)
    sees(gateway, bob, "<show>dnd</show>")


def test_contacts_of_a_server_that_is_lost(servers):
    one, other = servers
    one.ctl("set", "s2s.lost-after", "2s")
    one.ctl("set", "s2s.ping-after", "1s")
    gateway = far_gateway(one)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    sees(gateway, bob)
    other.kill()
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    sees_go(gateway, bob)


async def test_slixmpp(host):
    slixmpp = pytest.importorskip("slixmpp")
    alice, eve = host.client("alice", "a"), eve_of(host)
    across.befriend(alice, eve)
    bot = slixmpp.ComponentXMPP(GATEWAY, SECRET, "127.0.0.1", host.component_port)
    bot.register_plugin("xep_0356")
    seen = asyncio.get_running_loop().create_future()

    def presence(stanza):
        if stanza["from"] == str(eve) and not seen.done():
            seen.set_result(stanza["type"])

    bot.add_event_handler("presence", presence)
    bot.add_event_handler("presence_available", presence)
    bot.connect()
    assert await asyncio.wait_for(seen, 20) == "available"
    assert bot["xep_0356"].granted_privileges["presence"] == "roster"
    await bot.disconnect()
