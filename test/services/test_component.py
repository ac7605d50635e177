"""External components (XEP-0114)."""
import asyncio

import pytest

from harness import nodes, xml
from harness.client import until
from harness.component import Component
from harness.server import refusal

DOMAIN = "push.example.test"
SECRET = "a rather long secret"


@pytest.fixture
def host(make_server):
    """A server that lets DOMAIN connect."""
    server = make_server("alice", "bob", component=True)
    server.ctl("component", "add", DOMAIN, "--secret", SECRET)
    return server


def metric(server, name):
    return next(row["value"] for row in server.rows("metrics") if row["name"] == name)


def test_messages_presence_and_iqs_go_both_ways(host):
    alice = host.client("alice", "a")
    push = Component(host, DOMAIN, SECRET)
    alice.send(f"<message to='bot@{DOMAIN}/r' type='chat' id='m1'><body>hi &amp; ho</body>"
               "</message>")
    push.expect(f"<message from='{alice}' to='bot@{DOMAIN}/r' id='m1'>"
                "<body>hi &amp; ho</body></message>")
    push.send(f"<message from='bot@{DOMAIN}' to='{alice.bare}' type='chat'><body>yes</body>"
              "</message>")
    alice.expect(f"<message from='bot@{DOMAIN}' type='chat'><body>yes</body></message>")
    alice.send(f"<presence to='{DOMAIN}'/>")
    push.expect(f"<presence from='{alice}' to='{DOMAIN}'/>")
    alice.send(f"<iq type='get' id='q' to='{DOMAIN}'><query xmlns='urn:x'/></iq>")
    request = push.expect(f"<iq from='{alice}' type='get'><query xmlns='urn:x'/></iq>")
    push.send(f"<iq type='result' id='{request.get('id')}' from='{DOMAIN}' to='{alice}'/>")
    alice.expect(f"<iq type='result' id='q' from='{DOMAIN}'/>")


def test_its_domain_is_an_item_of_the_server_while_it_is_connected(host):
    alice = host.client("alice", "a")

    def items():
        query = alice.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to="localhost")
        return {item.get("jid") for item in query}

    assert DOMAIN not in items()
    push = Component(host, DOMAIN, SECRET)
    assert DOMAIN in items()
    push.close()
    until("its absence", lambda: DOMAIN not in items())
    assert alice.error("get", "<query xmlns='urn:x'/>", to=DOMAIN)[0] == "remote-server-timeout"


@pytest.mark.parametrize("online", [True, False])
def test_an_error_ends_a_request_for_a_subscription_unless_it_says_to_wait(host, online):
    """RFC 6120 §8.3.2; also while the user who asked is away."""
    roster = "<query xmlns='jabber:iq:roster'/>"
    alice = host.client("alice", "a")
    gateway = Component(host, DOMAIN, SECRET)

    def state(client):
        return {i.get("jid"): (i.get("subscription"), i.get("ask"))
                for i in client.result("get", roster)}

    def bounce(contact, kind):
        gateway.send(f"<presence from='{contact}@{DOMAIN}' to='alice@localhost' type='error'>"
                     f"<error type='{kind}'><undefined-condition "
                     "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>")

    gateway.send(f"<presence from='seen@{DOMAIN}' to='alice@localhost' type='subscribe'/>")
    for contact in "final", "waits", "seen":
        alice.send(f"<presence to='{contact}@{DOMAIN}' type='subscribe'/>")
        gateway.expect(f"<presence to='{contact}@{DOMAIN}' type='subscribe'/>")
    gateway.send(f"<presence from='seen@{DOMAIN}' to='alice@localhost' type='subscribed'/>")
    until("an answer", lambda: state(alice)[f"seen@{DOMAIN}"][0] in ("to", "both"))
    granted = state(alice)[f"seen@{DOMAIN}"]
    if not online:
        alice.close()
        until("end of the session", lambda: host.rows("session", "list") == [])
    for contact, kind in ("waits", "wait"), ("seen", "cancel"), ("final", "cancel"):
        bounce(contact, kind)
    if not online:
        alice = host.client("alice", "back")
    until("an end of the request", lambda: state(alice)[f"final@{DOMAIN}"] == ("none", None))
    assert state(alice) == {f"final@{DOMAIN}": ("none", None), f"seen@{DOMAIN}": granted,
                            f"waits@{DOMAIN}": ("none", "subscribe")}


def test_a_pair_keeps_its_connection_among_several(host):
    alice = host.client("alice", "a")
    links = [Component(host, DOMAIN, SECRET, n % nodes.COUNT) for n in range(3)]
    for user in range(20):
        for n in range(5):
            alice.send(f"<message to='u{user}@{DOMAIN}' type='chat'><body>{n}</body></message>")

    def all_arrived():
        for link in links:
            link.pump(0.01)
        return sum(len(link.inbox) for link in links) == 100

    until("all messages", all_arrived)
    seen, used = {}, set()
    for index, link in enumerate(links):
        for element in link.inbox:
            user, body = element.get("to"), element[0].text
            seen.setdefault(user, []).append((index, body))
            used.add(index)
    assert len(seen) == 20 and len(used) > 1
    for got in seen.values():
        assert [body for _, body in got] == ["0", "1", "2", "3", "4"]
        assert len({index for index, _ in got}) == 1


@pytest.mark.parametrize("domain, secret", [(DOMAIN, "a wrong secret"),
                                            ("unknown.example.test", SECRET)])
def test_a_wrong_secret_tells_nothing(host, domain, secret):
    push = Component(host, domain)
    push.handshake(secret, push.header())
    error = push.expect_stream_error("not-authorized")
    assert len(error) == 1  # no text that tells one from the other
    assert metric(host, "muster_component_refused") == 1


@pytest.mark.parametrize("handshake", ["<handshake/>", "<handshake>zz</handshake>",
                                       f"<handshake>{'0' * 40}</handshake>",
                                       f"<handshake>{'0' * 4000}</handshake>"])
def test_a_malformed_handshake_is_a_wrong_secret(host, handshake):
    push = Component(host, DOMAIN)
    push.header()
    push.raw(handshake)
    push.expect_stream_error("not-authorized")


def test_stanzas_before_the_handshake(host):
    push = Component(host, DOMAIN)
    push.header()
    push.send(f"<message from='{DOMAIN}' to='alice@localhost'><body>no</body></message>")
    push.expect_stream_error("not-authorized")


@pytest.mark.parametrize("domain", ["localhost", "not a domain", ""])
def test_domains_that_no_component_may_serve(host, domain):
    push = Component(host, DOMAIN)
    push.raw(f"<stream:stream xmlns='jabber:component:accept' xmlns:stream='{xml.STREAM}' "
             f"to='{domain}'>")
    push.expect_stream_error("host-unknown")


def test_the_namespace_of_clients(host):
    push = Component(host, DOMAIN)
    push.raw(f"<stream:stream xmlns='jabber:client' xmlns:stream='{xml.STREAM}' to='{DOMAIN}'>")
    push.expect_stream_error("invalid-namespace")


@pytest.mark.parametrize("sender", [f"bot@other.{DOMAIN}", "alice@localhost"])
def test_it_speaks_for_its_own_domain_only(host, sender):
    push = Component(host, DOMAIN, SECRET)
    push.send(f"<message from='{sender}' to='alice@localhost'><body>no</body></message>")
    push.expect_stream_error("invalid-from")


def test_a_stanza_needs_an_addressee(host):
    push = Component(host, DOMAIN, SECRET)
    push.send(f"<message from='bot@{DOMAIN}'><body>to whom?</body></message>")
    push.expect_stream_error("improper-addressing")


def test_an_addressee_that_is_no_jid(host):
    push = Component(host, DOMAIN, SECRET)
    push.send(f"<message from='bot@{DOMAIN}' to='@' id='x'><body>to whom?</body></message>")
    push.expect_error("jid-malformed", template="<message type='error' id='x'/>")


def test_what_is_sent_to_it_is_in_the_senders_archive_before_it_is_acknowledged(host):
    alice = host.client("alice", "a")
    push = Component(host, DOMAIN, SECRET)
    alice.enable_sm()
    alice.send(f"<message to='bot@{DOMAIN}' type='chat' id='m'><body>keep</body></message>")
    push.expect("<message id='m'/>")
    alice.wait_acked(1)


def test_commands(host):
    rows = host.rows("component", "list")
    assert rows == [{"domain": DOMAIN, "connections": 0}]
    assert "16 to 1000" in refusal(host, "component", "add", "x.test", "--secret", "short")
    assert "served by this server" in refusal(host, "component", "add", "localhost", "--secret",
                                                     SECRET)
    host.ctl("component", "del", DOMAIN)
    assert host.rows("component", "list") == []
    assert "no such component" in refusal(host, "component", "del", DOMAIN)


def test_a_component_that_is_deleted_is_disconnected(host):
    """All its connections, whatever their state; nobody else's."""
    host.ctl("component", "add", "other.example.test", "--secret", SECRET)
    links = [Component(host, DOMAIN, SECRET) for _ in range(6)]
    begun = Component(host, DOMAIN)
    begun.header()
    other = Component(host, "other.example.test", SECRET)
    alice = host.client("alice", "a")
    host.ctl("component", "del", DOMAIN)
    for link in [*links, begun]:
        link.expect_stream_error("not-authorized")
    alice.wait("nobody is there", lambda: alice.error(
        "get", "<query xmlns='urn:x'/>", to=DOMAIN)[0] == "remote-server-not-found" or None)
    late = Component(host, DOMAIN)
    late.handshake(SECRET, late.header())
    late.expect_stream_error("not-authorized")
    host.ctl("component", "add", DOMAIN, "--secret", SECRET[::-1])
    again = Component(host, DOMAIN, SECRET[::-1])
    for i in range(20):
        alice.send(f"<message to='b{i}@{DOMAIN}' type='chat' id='m{i}'><body>hi</body></message>")
    for i in range(20):
        again.expect(f"<message id='m{i}'/>")
    alice.send("<message to='other.example.test' id='o'><body>hi</body></message>")
    other.expect("<message id='o'/>")


def test_a_secret_is_made_if_none_is_given(host):
    first = host.ctl("component", "add", "made.example.test")
    row, = first["rows"]
    assert first["text"] == "made.example.test may connect with this secret"
    assert row["domain"] == "made.example.test" and len(row["secret"]) == 48
    Component(host, "made.example.test", row["secret"])
    assert row["secret"] not in host.log()
    assert host.rows("component", "add", "made.example.test") == []  # it is there: nothing changes
    connected = Component(host, "made.example.test", row["secret"])
    again, = host.rows("component", "secret", "made.example.test")
    connected.expect_stream_error("not-authorized")
    assert again["secret"] != row["secret"]
    given = host.ctl("component", "add", "made.example.test", "--stdin", stdin=SECRET + "\n")
    assert given["rows"] == []
    Component(host, "made.example.test", SECRET)


def test_a_component_that_is_given_another_secret_is_disconnected(host):
    """And not one that is given its own again, as by a program that puts what should be there."""
    push = Component(host, DOMAIN, SECRET)
    alice = host.client("alice", "a")
    host.ctl("component", "add", DOMAIN, "--secret", SECRET)
    alice.send(f"<message to='bob@{DOMAIN}' id='m'><body>hi</body></message>")
    push.expect("<message id='m'/>")
    host.ctl("component", "add", DOMAIN, "--secret", SECRET[::-1])
    push.expect_stream_error("not-authorized")
    again = Component(host, DOMAIN, SECRET[::-1])
    alice.send(f"<message to='bob@{DOMAIN}' id='n'><body>hi</body></message>")
    again.expect("<message id='n'/>")


def test_guessing_of_secrets_ends(host):
    """Before the right one is tried; components that were here before are not shut out, nor are
    clients. Each node counts for itself."""
    host.ctl("component", "add", "other.example.test", "--secret", SECRET)
    Component(host, "other.example.test", SECRET, node=0)
    for _ in range(10):
        push = Component(host, DOMAIN, node=0)
        push.handshake("a wrong secret", push.header())
        push.expect_stream_error("not-authorized")
    push = Component(host, DOMAIN, node=0)
    push.handshake(SECRET, push.header())
    push.expect_stream_error("not-authorized")
    for guess in range(11):
        push = Component(host, f"guess{guess}.example.test", node=0)
        push.handshake("a wrong secret", push.header())
        push.expect_stream_error("not-authorized")
    assert metric(host, "muster_auth_throttled") == 2
    host.wait_log("event=auth.blocked what=address ")
    Component(host, "other.example.test", SECRET)
    host.login("alice")


async def test_slixmpp(host):
    """A component written with slixmpp answers a client."""
    slixmpp = pytest.importorskip("slixmpp")
    alice = host.client("alice", "a")
    bot = slixmpp.ComponentXMPP(DOMAIN, SECRET, "127.0.0.1", host.component_port)
    done = asyncio.get_running_loop().create_future()
    bot.add_event_handler("session_start", lambda _: bot.send_message(
        mto=alice.bare, mbody="ready", mfrom=f"bot@{DOMAIN}", mtype="chat"))
    bot.add_event_handler("message", lambda m: done.set_result(m["body"]))
    bot.connect()
    await asyncio.to_thread(alice.expect, "<message type='chat'><body>ready</body></message>")
    alice.send(f"<message to='bot@{DOMAIN}' type='chat'><body>hello</body></message>")
    assert await asyncio.wait_for(done, 10) == "hello"
    await bot.disconnect()


def test_it_is_read_again_after_pressure(host):
    """More stanzas at once than the way to another worker holds: it waits, and goes on."""
    push = Component(host, DOMAIN, SECRET)
    for name in ("alice", "bob", "carol", "dave"):
        push.raw(f"<presence from='{DOMAIN}' to='{name}@localhost'/>" * 20000)
    push.raw(f"<iq type='get' id='end' from='{DOMAIN}' to='localhost'>"
             "<ping xmlns='urn:xmpp:ping'/></iq>")
    push.expect("<iq type='result' id='end'/>")
