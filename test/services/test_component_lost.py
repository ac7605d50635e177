"""A component (XEP-0114) that dies and comes back: what users see of its contacts."""
import pytest

from harness import federation, xml
from harness.client import until
from harness.component import Component
from harness.muc import Room
from operate.test_rename import contacts, rename

DOMAIN = "icq.example.test"
SECRET = "a rather long secret"
OTHER = "irc.example.test"
FRIEND = f"friend@{DOMAIN}"
CHANNEL = f"#tea@{DOMAIN}/nick"


@pytest.fixture
def host(make_server):
    server = make_server("alice", "bob", component=True)
    server.ctl("set", "s2s.lost-after", "2s")
    server.ctl("component", "add", DOMAIN, "--secret", SECRET)
    return server


def be_friends(alice, gateway, friend=FRIEND):
    """Both see each other, and the friend is online."""
    alice.send(f"<presence to='{friend}' type='subscribe'/>")
    gateway.expect(f"<presence to='{friend}' type='subscribe'/>")
    for kind in "subscribed", "subscribe":
        gateway.send(f"<presence from='{friend}' to='{alice.bare}' type='{kind}'/>")
    gateway.expect(f"<presence to='{friend}' type='subscribed'/>")  # alice need not be asked
    gateway.expect(f"<presence from='{alice}' to='{friend}' type='-'/>")
    shows(gateway, alice, friend=friend)


def shows(gateway, *clients, friend=FRIEND):
    """The friend is online."""
    for client in clients:
        gateway.send(f"<presence from='{friend}/icq' to='{client.bare}'/>")
        client.expect(f"<presence from='{friend}/icq' type='-'/>")


def goes_away(host, gateway):
    """Its only connection ends."""
    gateway.cut()
    until("nobody is connected", lambda: host.rows("component", "list")[0]["connections"] == 0)


def is_probed(gateway, client):
    """The component is asked for the contact, and told of the user."""
    gateway.expect(f"<presence from='{client}' to='{FRIEND}' type='probe'/>")
    gateway.expect(f"<presence from='{client}' to='{FRIEND}' type='-'/>")


def is_lost_meanwhile(host):
    """Another component goes, and its contacts, which takes longer than any doubt."""
    host.ctl("component", "add", OTHER, "--secret", SECRET)
    bob = host.client("bob", "watch")
    other = Component(host, OTHER, SECRET)
    be_friends(bob, other, f"friend@{OTHER}")
    other.cut()
    bob.expect(f"<presence from='friend@{OTHER}/icq' type='unavailable'/>")


def test_contacts_of_a_component_that_dies_go_and_are_asked_when_it_is_back(host):
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)
    be_friends(alice, gateway)
    gateway.cut()
    alice.expect(f"<presence from='{FRIEND}/icq' type='unavailable'/>")
    host.wait_log(f"event=domain.lost domain={DOMAIN} ")
    gateway = Component(host, DOMAIN, SECRET)
    is_probed(gateway, alice)
    shows(gateway, alice)
    gateway.cut()
    alice.expect(f"<presence from='{FRIEND}/icq' type='unavailable'/>")


def test_a_short_failure_is_not_shown(host):
    host.ctl("set", "s2s.lost-after", "1h")
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)
    be_friends(alice, gateway)
    goes_away(host, gateway)
    alice.expect_nothing("<presence type='unavailable'/>")


def test_a_second_connection_of_a_component_puts_nothing_in_doubt(host):
    """Else who does not answer probes would go."""
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)
    be_friends(alice, gateway)
    second = Component(host, DOMAIN, SECRET)
    shows(second, alice)
    gateway.cut()
    until("one is left", lambda: host.rows("component", "list")[0]["connections"] == 1)
    is_lost_meanwhile(host)
    shows(second, alice)
    assert f"event=domain.back domain={DOMAIN} " not in host.log()
    second.cut()
    alice.expect(f"<presence from='{FRIEND}/icq' type='unavailable'/>")


def test_connections_of_a_component_that_end_together_are_missed(host):
    alice = host.client("alice", "a")
    gateways = [Component(host, DOMAIN, SECRET)]
    be_friends(alice, gateways[0])
    gateways += [Component(host, DOMAIN, SECRET) for _ in range(3)]
    for gateway in gateways:
        gateway.cut()
    alice.expect(f"<presence from='{FRIEND}/icq' type='unavailable'/>")


def test_a_component_that_says_nothing_is_still_there(host):
    """It need not answer pings."""
    host.ctl("set", "s2s.ping-after", "1s")
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)
    be_friends(alice, gateway)
    gateway.expect_nothing("<iq/>")
    assert "domain.lost" not in host.log()
    alice.expect_nothing("<presence type='unavailable'/>")


def test_contacts_are_asked_when_the_component_comes_after_the_server(host):
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)
    be_friends(alice, gateway)
    host.restart()
    alice = host.client("alice", "b")
    gateway = Component(host, DOMAIN, SECRET)
    is_probed(gateway, alice)


def test_occupants_of_a_component_that_dies_leave_rooms(host):
    bob = host.client("bob", "b")
    gateway = Component(host, DOMAIN, SECRET)
    room = Room("talk")
    room.create(bob, "bob")
    gateway.send(f"<presence from='{FRIEND}/icq' to='{room.at('friend')}'>"
                 "<x xmlns='http://jabber.org/protocol/muc'/></presence>")
    bob.expect(f"<presence from='{room.at('friend')}' type='-'/>")
    gateway.cut()
    gone = bob.expect(f"<presence from='{room.at('friend')}' type='unavailable'/>")
    assert "333" in xml.canonical(gone)


def is_shown_and_in_a_channel(client, gateway):
    """A contact of the component sees the client, which is in a channel of it, too."""
    be_friends(client, gateway)
    client.send(f"<presence to='{CHANNEL}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    gateway.expect(f"<presence from='{client}' to='{CHANNEL}' type='-'/>")


def is_told_of_the_end(gateway, client, *addresses):
    for address in addresses:
        gateway.expect(f"<presence from='{client}' to='{address}' type='unavailable'/>")
    gateway.expect_nothing(f"<presence from='{client}'/>")


@pytest.mark.parametrize("restart", [lambda server: server.ctl("server", "restart"),
                                     lambda server: server.restart()], ids=["restart", "stop"])
def test_a_component_hears_of_sessions_that_end_with_the_server(host, restart):
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    gateway = Component(host, DOMAIN, SECRET)
    is_shown_and_in_a_channel(alice, gateway)
    bob.send(f"<presence to='{CHANNEL}'/>")
    gateway.expect(f"<presence from='{bob}' to='{CHANNEL}' type='-'/>")
    restart(host)
    gateway.expect_stream_error("system-shutdown")
    for client, addresses in (alice, [FRIEND, CHANNEL]), (bob, [CHANNEL]):
        assert sorted(e.get("to") for e in gateway.inbox if e.get("from") == str(client)
                      and e.get("type") == "unavailable") == sorted(addresses)


def test_a_component_does_not_hear_of_sessions_that_can_be_resumed(host):
    alice = host.client("alice", "a")
    alice.enable_sm()
    gateway = Component(host, DOMAIN, SECRET)
    is_shown_and_in_a_channel(alice, gateway)
    host.restart()
    gateway.expect_stream_error("system-shutdown")
    assert not [e for e in gateway.inbox if e.get("type") == "unavailable"]


def rows(host):
    with host.database() as db:
        return db.execute("SELECT jid, component, contact FROM component_shown").fetchall()


def is_told_when_it_comes_back(host, *ends):
    """The component gets exactly these unavailable presences: (session, address)."""
    gateway = Component(host, DOMAIN, SECRET)
    for client, address in ends:
        gateway.expect(f"<presence from='{client}' to='{address}' type='unavailable'/>")
    gateway.expect_nothing("<presence type='unavailable'/>")
    return gateway


def test_a_component_hears_of_sessions_that_a_crash_has_ended(host):
    """When it is back: of contacts and of directed presence, and only once."""
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    gateway = Component(host, DOMAIN, SECRET)
    is_shown_and_in_a_channel(alice, gateway)
    bob.enable_sm()
    bob.send(f"<presence to='{CHANNEL}'/>")
    gateway.expect(f"<presence from='{bob}' to='{CHANNEL}' type='-'/>")
    until("all have rows", lambda: len(rows(host)) == 3)
    host.kill()
    host.start()
    is_told_when_it_comes_back(host, (alice, FRIEND), (alice, CHANNEL), (bob, CHANNEL))
    until("the rows are gone", lambda: not rows(host))
    host.kill()
    host.start()
    is_told_when_it_comes_back(host)


def test_a_component_hears_of_the_addresses_that_a_domain_had(host):
    """They never come back, and the new ones it has not seen."""
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)
    is_shown_and_in_a_channel(alice, gateway)
    until("both are stored", lambda: len(rows(host)) == 2)
    host.kill()
    assert rename(host, "localhost", "example.org").returncode == 0
    host.domains[0] = "example.org"
    host.start()
    is_told_when_it_comes_back(host, (alice, FRIEND), (alice, CHANNEL))
    until("no rows", lambda: rows(host) == [])
    assert contacts(host.client("alice", "a")) == {FRIEND: "none"}


def test_a_component_hears_nothing_of_what_has_been_told_before_a_crash(host):
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    gateway = Component(host, DOMAIN, SECRET)
    is_shown_and_in_a_channel(alice, gateway)
    bob.send(f"<presence to='{CHANNEL}'/>")
    bob.send(f"<presence to='{CHANNEL}' type='unavailable'/>")
    gateway.expect(f"<presence from='{bob}' to='{CHANNEL}' type='unavailable'/>")
    alice.close()
    for address in FRIEND, CHANNEL:
        gateway.expect(f"<presence from='{alice}' to='{address}' type='unavailable'/>")
    until("the rows are gone", lambda: not rows(host))
    host.kill()
    host.start()
    is_told_when_it_comes_back(host)


def test_a_component_hears_of_sessions_that_end_while_it_is_away(host):
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)
    is_shown_and_in_a_channel(alice, gateway)
    goes_away(host, gateway)
    alice.close()
    host.wait_log("event=session.end jid=alice@localhost/a reason=\"closed by the client\"")
    is_told_when_it_comes_back(host, (alice, FRIEND), (alice, CHANNEL))


def test_sessions_that_are_still_there_are_not_told_as_gone(host):
    """Also after a restart that they survive. A new session with the same address has left the
    channel."""
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    alice.enable_sm()
    gateway = Component(host, DOMAIN, SECRET)
    is_shown_and_in_a_channel(alice, gateway)
    bob.send(f"<presence to='{CHANNEL}'/>")
    gateway.expect(f"<presence from='{bob}' to='{CHANNEL}' type='-'/>")
    host.restart()
    gateway = is_told_when_it_comes_back(host)
    gateway.cut()
    host.kill()
    host.start()
    host.client("alice", "a")
    is_told_when_it_comes_back(host, (alice, CHANNEL))


def test_rows_are_those_of_what_a_component_still_sees(host):
    """Nicknames that another one has replaced, and what was refused, have none."""
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)
    is_shown_and_in_a_channel(alice, gateway)
    for n in range(200):
        alice.send(f"<presence to='#tea@{DOMAIN}/nick{n}'>"
                   "<x xmlns='http://jabber.org/protocol/muc'/></presence>")
        alice.send(f"<presence to='refused{n}@{DOMAIN}'/>")
        gateway.expect(f"<presence from='{alice}' to='refused{n}@{DOMAIN}' type='-'/>")
        gateway.send(f"<presence from='refused{n}@{DOMAIN}' to='{alice}' type='error'/>")
        alice.expect(f"<presence from='refused{n}@{DOMAIN}' type='error'/>")
    until("two are left", lambda: {row[2] for row in rows(host)} == {
        FRIEND, f"#tea@{DOMAIN}/nick199"})
    gateway.send(f"<presence from='#tea@{DOMAIN}/nick199' to='{alice}' type='error'/>")
    alice.send(f"<presence to='{FRIEND}' type='unsubscribed'/>")
    until("none is left", lambda: not rows(host))


def test_each_resource_that_a_session_shows_itself_to_has_a_row(host):
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)
    for resource in "one", "two":
        alice.send(f"<presence to='{FRIEND}/{resource}'/>")
        gateway.expect(f"<presence from='{alice}' to='{FRIEND}/{resource}' type='-'/>")
    alice.send(f"<presence to='{FRIEND}/one' type='unavailable'/>")
    alice.send(f"<presence to='{FRIEND}' type='unavailable'/>")
    gateway.expect(f"<presence from='{alice}' to='{FRIEND}' type='unavailable'/>")
    until("one is left", lambda: [row[2] for row in rows(host)] == [f"{FRIEND}/two"])
    host.kill()
    host.start()
    is_told_when_it_comes_back(host, (alice, f"{FRIEND}/two"))


def test_a_component_hears_of_accounts_that_are_deleted_while_it_is_away(host):
    """What it was shown is forgotten when it has been told, or when it is deleted itself."""
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    gateway = Component(host, DOMAIN, SECRET)
    is_shown_and_in_a_channel(alice, gateway)
    bob.send(f"<presence to='{CHANNEL}'/>")
    gateway.expect(f"<presence from='{bob}' to='{CHANNEL}' type='-'/>")
    until("all have rows", lambda: len(rows(host)) == 3)
    goes_away(host, gateway)
    host.ctl("user", "del", bob.bare)
    is_told_when_it_comes_back(host, (bob, CHANNEL))
    until("those of alice are left", lambda: {row[0] for row in rows(host)} == {str(alice)})
    host.ctl("component", "del", DOMAIN)
    assert rows(host) == []


def test_a_component_that_is_deleted_and_added_hears_of_sessions_that_a_crash_has_ended(host):
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    gateway = Component(host, DOMAIN, SECRET)
    is_shown_and_in_a_channel(alice, gateway)
    bob.send(f"<presence to='{CHANNEL}'/>")
    gateway.expect(f"<presence from='{bob}' to='{CHANNEL}' type='-'/>")
    until("all have rows", lambda: len(rows(host)) == 3)
    host.ctl("component", "del", DOMAIN)
    host.ctl("component", "add", DOMAIN, "--secret", SECRET)
    until("all have rows again", lambda: len(rows(host)) == 3)
    host.kill()
    host.start()
    is_told_when_it_comes_back(host, (alice, FRIEND), (alice, CHANNEL), (bob, CHANNEL))


def test_sessions_get_their_rows_in_pages_when_a_component_is_added(host):
    """Each session that is there, also if that takes several pages on a worker."""
    gateway = Component(host, DOMAIN, SECRET)
    sessions = [host.client("alice", str(n)) for n in range(5)]
    for client in sessions:
        client.raw("".join(f"<presence to='#c{n}@{DOMAIN}/nick'/>" for n in range(100)))
    for client in sessions:
        client.send(f"<presence to='{CHANNEL}'/>")
        gateway.expect(f"<presence from='{client}' to='{CHANNEL}' type='-'/>")
    host.ctl("component", "del", DOMAIN)
    assert rows(host) == []
    host.ctl("component", "add", DOMAIN, "--secret", SECRET)
    until("all have rows", lambda: len(rows(host)) == 505)
    host.ctl("component", "add", OTHER, "--secret", SECRET)
    host.ctl("component", "del", DOMAIN)
    assert rows(host) == []


def is_shown_to_many(host, gateway, sessions, addresses):
    """Each session has rows for that many addresses."""
    for client in sessions:
        client.raw("".join(f"<presence to='#c{n}@{DOMAIN}/nick'/>" for n in range(addresses)))
        gateway.expect(f"<presence from='{client}' to='#c{addresses - 1}@{DOMAIN}/nick'/>")
    until("all have rows", lambda: len(rows(host)) == len(sessions) * addresses)


def add_again(host, times=1):
    host.ctl("component", "del", DOMAIN)
    for _ in range(times):
        host.ctl("component", "add", DOMAIN, "--secret", SECRET)


def test_sessions_that_end_before_their_page_are_told(make_server):
    """The component is not connected then. Added more than once, it has all rows still."""
    host = make_server("alice", component=True, workers=1)
    host.ctl("component", "add", DOMAIN, "--secret", SECRET)
    gateway = Component(host, DOMAIN, SECRET)
    sessions = [host.client("alice", str(n)) for n in range(8)]
    is_shown_to_many(host, gateway, sessions, 130)
    add_again(host, 2)
    for client in sessions:
        client.close()
    until("all have ended", lambda: host.log().count("event=session.end") == len(sessions))
    until("all have rows", lambda: len(rows(host)) == 8 * 130)
    gateway = Component(host, DOMAIN, SECRET)
    until("all were told", lambda: not rows(host))
    gateway.expect(f"<presence from='{sessions[0]}' type='unavailable'/>")


def test_a_session_that_ends_while_its_component_comes_twice_is_told(host):
    """When the component comes again, the rows of sessions that were there are read again, even if
    those from the first time are being read still."""
    alice = host.client("alice", "a")
    be_friends(alice, Component(host, DOMAIN, SECRET))
    host.stop()
    with host.database(read_only=False) as db:  # rows that take some seconds, as they stay
        db.execute("DELETE FROM component_shown")
        db.execute("INSERT INTO component_shown(jid, component, contact) VALUES(?, ?, ?)",
                   (alice.jid, DOMAIN, FRIEND))
        db.execute("INSERT INTO component_shown(jid, component, contact) "
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6400) "
                   "SELECT 'no session', ?, i || ? FROM n", (DOMAIN, f"@{DOMAIN}"))
    host.start()
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)
    is_probed(gateway, alice)  # a second later: its row has been read
    goes_away(host, gateway)
    alice.close()
    host.wait_log("event=session.end jid=alice@localhost/a reason=\"closed by the client\"")
    is_told_when_it_comes_back(host, (alice, FRIEND))


def test_sessions_that_are_taken_over_before_their_page_have_rows(make_server):
    host = make_server("alice", component=True, workers=1)
    host.ctl("component", "add", DOMAIN, "--secret", SECRET)
    gateway = Component(host, DOMAIN, SECRET)
    sessions = [host.client("alice", str(n)) for n in range(8)]
    for client in sessions:
        client.enable_sm()
    is_shown_to_many(host, gateway, sessions, 130)
    add_again(host)
    host.restart()
    assert len(rows(host)) == 8 * 130


def test_a_component_hears_that_a_renamed_account_is_gone_from_its_old_address(host):
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)
    is_shown_and_in_a_channel(alice, gateway)
    until("both have rows", lambda: len(rows(host)) == 2)
    host.kill()
    assert rename(host, alice.bare, "alicia@localhost").returncode == 0
    host.start()
    is_told_when_it_comes_back(host, (alice, FRIEND), (alice, CHANNEL))
    until("the rows are gone", lambda: not rows(host))


def test_a_component_hears_of_what_waits_before_the_server_stops(make_server, tmp_path):
    """Nothing that components send is stored: what waits for another server goes back."""
    tls = federation.Authority(tmp_path).issue("one.test", "one.test")
    server = make_server("alice", domains=["one.test"], s2s=True, component=True, tls=tls,
                         settings=federation.settings(), workers=2)
    federation.route(server, "other.test", federation.free_port())
    server.ctl("component", "add", DOMAIN, "--secret", SECRET)
    gateways = [Component(server, DOMAIN, SECRET) for _ in range(4)]
    for n, gateway in enumerate(gateways):
        gateway.send(f"<message from='{FRIEND}' to='bob{n}@other.test' id='m{n}'>"
                     "<body>to a server that is down</body></message>")
    until("they wait", lambda: sum(row["queue"] for row in server.rows("s2s", "list")) == 4)
    server.stop()
    told = []
    for gateway in gateways:
        gateway.expect_stream_error("system-shutdown")
        told += [e.get("id") for e in gateway.inbox if e.get("type") == "error"]
    assert sorted(told) == ["m0", "m1", "m2", "m3"]


HIDES = {
    "blocked": f"<block xmlns='urn:xmpp:blocking'><item jid='{FRIEND}'/></block>",
    "domain blocked": f"<block xmlns='urn:xmpp:blocking'><item jid='{DOMAIN}'/></block>",
    "policy": f"<policy xmlns='urn:muster:policy:0'><rule jid='{FRIEND}' action='block'/></policy>",
    "invisible": "<invisible xmlns='urn:xmpp:invisible:0'/>",
    "list": "<query xmlns='jabber:iq:privacy'><active name='list'/></query>"}


@pytest.mark.parametrize("how", HIDES)
@pytest.mark.parametrize("away", [False, True], ids=["up", "away"])
def test_a_component_hears_of_sessions_that_hide_from_a_contact(host, how, away):
    host.ctl("set", "s2s.lost-after", "1h")
    alice = host.client("alice", "a")
    alice.result("set", "<query xmlns='jabber:iq:privacy'><list name='list'><item type='jid' value="
                 f"'{FRIEND}' action='deny' order='1'><presence-out/></item></list></query>")
    gateway = Component(host, DOMAIN, SECRET)
    be_friends(alice, gateway)
    until("it is stored", lambda: len(rows(host)) == 1)
    if away:
        goes_away(host, gateway)
    alice.result("set", HIDES[how])
    if away:
        gateway = Component(host, DOMAIN, SECRET)
    gateway.expect(f"<presence from='{alice}' to='{FRIEND}' type='unavailable'/>")
    alice.close()
    host.wait_log("event=session.end jid=alice@localhost/a reason=\"closed by the client\"")
    until("nothing is left", lambda: not rows(host))
    if away:  # else what it hears because it has come may say so again
        gateway.expect_nothing("<presence type='unavailable'/>")


def test_a_component_hears_which_of_two_resources_a_session_has_left(host):
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)
    for resource in "one", "two":
        alice.send(f"<presence to='{FRIEND}/{resource}'/>")
        gateway.expect(f"<presence from='{alice}' to='{FRIEND}/{resource}' type='-'/>")
    until("both are stored", lambda: len(rows(host)) == 2)
    goes_away(host, gateway)
    alice.send(f"<presence to='{FRIEND}/one' type='unavailable'/>")
    alice.ping()
    gateway = is_told_when_it_comes_back(host, (alice, f"{FRIEND}/one"))
    alice.close()
    gateway.expect(f"<presence from='{alice}' to='{FRIEND}/two' type='unavailable'/>")



@pytest.mark.parametrize("rule", [
    ("federation", "set", "alice@localhost", "off"), ("set", "s2s.policy", "off")],
    ids=lambda rule: rule[1])
def test_rules_for_other_servers_are_not_for_a_component_that_is_away(host, rule):
    """What is written to it is refused because it is away, its contacts stay, and what ends
    meanwhile is told once."""
    host.ctl("set", "s2s.lost-after", "1h")
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)
    be_friends(alice, gateway)
    goes_away(host, gateway)
    host.ctl(*rule)
    alice.send(f"<message to='{FRIEND}' type='chat' id='late'><body>hi</body></message>")
    error = alice.expect(f"<message from='{FRIEND}' type='error' id='late'/>")
    assert "remote-server-timeout" in xml.canonical(error)
    alice.expect_nothing("<presence type='unavailable'/>")
    alice.close()
    host.wait_log("event=session.end jid=alice@localhost/a reason=\"closed by the client\"")
    is_told_when_it_comes_back(host, (alice, FRIEND))
