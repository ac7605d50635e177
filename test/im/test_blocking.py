"""The blocking command (XEP-0191) and reports with it (XEP-0377)."""
import pytest

from harness import across, xml
from harness.client import until
from harness.slix import Slix

BLOCKING = "urn:xmpp:blocking"
REPORTING = "urn:xmpp:reporting:1"
ERRORS = "urn:xmpp:blocking:errors"


def items(*jids):
    return "".join(f"<item jid='{jid}'/>" for jid in jids)


def block(client, *jids):
    client.result("set", f"<block xmlns='{BLOCKING}'>{items(*jids)}</block>")


def unblock(client, *jids):
    client.result("set", f"<unblock xmlns='{BLOCKING}'>{items(*jids)}</unblock>")


def blocklist(client):
    found = client.result("get", f"<blocklist xmlns='{BLOCKING}'/>")
    return [item.get("jid") for item in found]


def expect_silence(client, other, template):
    """Nothing that matches has come from the home of `other`: an answer of it would be behind."""
    client.iq("get", "<q xmlns='x'/>", to=other.bare)
    client.expect_nothing(template)


def test_feature(alice):
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="localhost")
    assert {BLOCKING, REPORTING} <= {f.get("var") for f in info}


def test_list(alice):
    """§3.2, §3.3, §3.4, §3.5"""
    assert blocklist(alice) == []
    block(alice, "romeo@montague.net", "iago@shakespeare.lit")
    assert sorted(blocklist(alice)) == ["iago@shakespeare.lit", "romeo@montague.net"]
    block(alice, "romeo@montague.net", "spam.example", "a@b.c/d")
    assert len(blocklist(alice)) == 4
    unblock(alice, "romeo@montague.net", "nobody@example.com")
    assert sorted(blocklist(alice)) == ["a@b.c/d", "iago@shakespeare.lit", "spam.example"]
    unblock(alice)
    assert blocklist(alice) == []


@pytest.mark.parametrize("what", ["user", "domain", "all"])
def test_who_is_approved_while_blocked_is_subscribed_after_it(make_server, tmp_path, what):
    """RFC 6121 §3.1.3: by a contact of another server, and by one of this one."""
    one, other = across.start(make_server, tmp_path, settings={"presence.approval": "ask"})
    alice = one.client("alice", "a")
    across.roster_of(alice)
    for contact in other.client("bob", "b"), one.client("carol", "c"):
        across.roster_of(contact)
        whom = contact.bare if what != "domain" else contact.bare.partition("@")[2]
        alice.send(f"<presence to='{contact.bare}' type='subscribe'/>")
        contact.expect(f"<presence from='{alice.bare}' type='subscribe'/>")
        block(alice, whom)
        contact.send(f"<presence to='{alice.bare}' type='subscribed'/>")
        contact.expect("<iq type='set'><query xmlns='jabber:iq:roster'>"
                       f"<item jid='{alice.bare}' subscription='from'/></query></iq>")
        contact.ping()
        unblock(alice, *[whom] * (what != "all"))
        until("it sees the contact", lambda contact=contact: across.roster_of(alice)
              [contact.bare] == ("to", None))
        assert across.roster_of(contact)[alice.bare] == ("from", None)


def test_addresses_are_prepared(alice):
    block(alice, "Romeo@Montague.NET")
    assert blocklist(alice) == ["romeo@montague.net"]
    unblock(alice, "ROMEO@montague.net")
    assert blocklist(alice) == []


def test_pushes_go_to_those_that_asked(server):
    """§3.3: to all resources that have requested the list."""
    one, two, three = (server.client("alice", r) for r in ("one", "two", "three"))
    blocklist(one)
    blocklist(two)
    block(two, "romeo@montague.net")
    push = f"<iq type='set'><block xmlns='{BLOCKING}'>{items('romeo@montague.net')}</block></iq>"
    for client in (one, two):
        got = client.expect(push)
        assert got.get("to") == str(client) and got.get("id")
    unblock(one)
    for client in (one, two):
        got = client.expect(f"<iq type='set'><unblock xmlns='{BLOCKING}'/></iq>")
        assert not len(got[0])
    three.expect_nothing("<iq type='set'/>", after=one)


def test_contact_sees_it_leave_and_return(pair):
    """§3.3, §3.4"""
    alice, bob = pair
    block(alice, bob.bare)
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    alice.expect(f"<presence from='{bob.bare}' type='unavailable'/>")
    alice.send("<presence><show>away</show></presence>")
    alice.ping()
    expect_silence(bob, alice, "<presence/>")
    unblock(alice, bob.bare)
    bob.expect(f"<presence from='{alice}'><show>away</show></presence>")
    alice.expect(f"<presence from='{bob}' type='-'/>")


def test_blocking_again_tells_nobody(pair):
    alice, bob = pair
    block(alice, bob.bare)
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    block(alice, bob.bare, "localhost")
    unblock(alice, "localhost")
    expect_silence(bob, alice, "<presence/>")


def test_strangers_are_not_told(alice, bob):
    block(alice, bob.bare)
    unblock(alice, bob.bare)
    bob.expect_nothing("<presence/>", after=alice)


def test_messages_in(pair, server):
    """§3.3: as if nobody were there; nothing is stored either."""
    alice, bob = pair
    block(alice, bob.bare)
    for to in (alice.bare, alice):
        bob.send(f"<message to='{to}' type='chat' id='m'><body>hi</body></message>")
        bob.expect_error("service-unavailable", "cancel", "<message type='error' id='m'/>")
    alice.expect_nothing("<message/>")
    unblock(alice, bob.bare)
    bob.send(f"<message to='{alice}' type='chat'><body>again</body></message>")
    alice.expect("<message><body>again</body></message>")
    block(alice, bob.bare)
    alice.close()
    bob.send("<message to='alice@localhost' type='chat' id='m2'><body>hi</body></message>")
    bob.expect_error("service-unavailable", "cancel", "<message type='error' id='m2'/>")
    server.client("alice", "a").expect_nothing("<message/>")


def test_iqs_in(pair):
    alice, bob = pair
    block(alice, bob.bare)
    for to in (alice.bare, alice):
        assert bob.error("get", "<query xmlns='jabber:iq:version'/>", to=to) == (
            "service-unavailable", "cancel")
    # as from an address without an account: im/test_strangers.py
    last = "<query xmlns='jabber:iq:last'/>"
    assert bob.error("get", last, to=alice.bare) == ("forbidden", "auth")
    assert bob.error("get", last, to=alice) == ("service-unavailable", "cancel")
    bob.send(f"<iq type='result' id='x' to='{alice}'/>")
    bob.send(f"<iq type='error' id='x' to='{alice}'/>")
    alice.expect_nothing("<iq id='x'/>")
    bob.expect_nothing("<iq id='x'/>")


def test_presence_in(pair, server):
    """§3.3: never answered: notifications, probes, requests."""
    alice, bob = pair
    block(alice, bob.bare)
    bob.expect("<presence type='unavailable'/>")
    alice.drain()
    bob.send("<presence><show>dnd</show></presence>")
    bob.send(f"<presence to='{alice}'/>")
    bob.send(f"<presence type='probe' to='{alice.bare}'/>")
    bob.send(f"<presence type='unsubscribe' to='{alice.bare}'/>")
    bob.send(f"<presence type='subscribe' to='{alice.bare}'/>")
    bob.ping()
    alice.expect_nothing("<presence/>")
    alice.expect_nothing("<iq type='set'/>")
    bob.expect_nothing(f"<presence from='{alice}'/>")
    bob.expect_nothing("<presence type='error'/>")


def test_outgoing(pair):
    """§3.3: not-acceptable of type cancel with <blocked/>."""
    alice, bob = pair
    block(alice, bob.bare)
    bob.drain()
    for stanza, template in (
            (f"<message to='{bob}' id='o1'><body>hi</body></message>", "<message id='o1'/>"),
            (f"<message to='{bob.bare}' id='o2'><body>hi</body></message>", "<message id='o2'/>"),
            (f"<iq type='get' to='{bob}' id='o3'><q xmlns='x'/></iq>", "<iq id='o3'/>"),
            (f"<presence to='{bob}' id='o4'/>", "<presence id='o4'/>"),
            (f"<presence to='{bob.bare}' type='subscribe' id='o5'/>", "<presence id='o5'/>")):
        alice.send(stanza)
        error = alice.expect_error("not-acceptable", "cancel", template)
        assert error.find(f".//{{{ERRORS}}}blocked") is not None
    bob.expect_nothing(after=None)


def test_jid_matching(server):
    """§2: a resource, an account, a domain; each only what it says."""
    alice = server.client("alice", "a")
    phone, desk = server.client("bob", "phone"), server.client("bob", "desk")
    block(alice, phone)
    phone.send(f"<message to='{alice}' id='m'><body>hi</body></message>")
    phone.expect_error("service-unavailable", None, "<message id='m'/>")
    desk.send(f"<message to='{alice}'><body>desk</body></message>")
    alice.expect("<message><body>desk</body></message>")
    block(alice, "localhost")
    desk.send(f"<message to='{alice}' id='m2'><body>hi</body></message>")
    desk.expect_error("service-unavailable", None, "<message id='m2'/>")
    alice.ping()  # what serves the account itself is not blocked
    assert len(blocklist(alice)) == 2


def test_directed_presence_ends(pair, carol):
    alice, _ = pair
    alice.send(f"<presence to='{carol}'/>")
    carol.expect(f"<presence from='{alice}' type='-'/>")
    block(alice, carol.bare)
    carol.expect(f"<presence from='{alice}' type='unavailable'/>")
    alice.send("<presence type='unavailable'/>")
    alice.ping()
    expect_silence(carol, alice, "<presence/>")


def test_newcomers_see_nothing(pair, server):
    alice, bob = pair
    block(alice, bob.bare)
    bob.expect("<presence type='unavailable'/>")
    other = server.client("bob", "other")
    expect_silence(other, alice, f"<presence from='{alice}'/>")
    again = server.client("alice", "again")
    expect_silence(bob, alice, f"<presence from='{again}'/>")


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_requests_wait_while_their_sender_is_blocked(server, bob):
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    bob.ping()
    alice = server.client("alice", "a")
    alice.expect("<presence type='subscribe'/>")
    block(alice, bob.bare)
    again = server.client("alice", "again")
    again.expect_nothing("<presence type='subscribe'/>")
    unblock(alice, bob.bare)
    third = server.client("alice", "third")
    third.expect(f"<presence from='{bob.bare}' type='subscribe'/>")


def test_own_resources_are_never_blocked(server):
    one, two = server.client("alice", "one"), server.client("alice", "two")
    block(one, "localhost")
    one.send(f"<message to='{two}'><body>me</body></message>")
    two.expect("<message><body>me</body></message>")
    two.send("<presence><show>xa</show></presence>")
    one.expect("<presence><show>xa</show></presence>")


def test_kept_across_kill(make_server):
    server = make_server("alice", "bob")
    alice = server.client("alice", "a")
    block(alice, "bob@localhost", "spam.example")
    server.kill()
    server.start()
    alice = server.client("alice", "a")
    assert sorted(blocklist(alice)) == ["bob@localhost", "spam.example"]
    bob = server.client("bob", "b")
    bob.send("<message to='alice@localhost' id='m'><body>hi</body></message>")
    bob.expect_error("service-unavailable", None, "<message id='m'/>")


def test_forgotten_with_the_account(server):
    alice = server.client("alice", "a")
    block(alice, "bob@localhost")
    server.ctl("user", "del", "alice@localhost")
    server.add_user("alice")
    assert blocklist(server.client("alice", "a")) == []


@pytest.mark.parametrize("payload,error", [
    (f"<block xmlns='{BLOCKING}'/>", ("bad-request", "modify")),
    (f"<block xmlns='{BLOCKING}'><other xmlns='x'/></block>", ("bad-request", "modify")),
    (f"<block xmlns='{BLOCKING}'><item/></block>", ("jid-malformed", "modify")),
    (f"<block xmlns='{BLOCKING}'><item jid='@x'/></block>", ("jid-malformed", "modify")),
    (f"<block xmlns='{BLOCKING}'><item jid='bob@localhost'/><item jid='a@'/></block>",
     ("jid-malformed", "modify")),
    (f"<block xmlns='{BLOCKING}'><item jid='alice@localhost'/></block>",
     ("not-allowed", "cancel")),
    (f"<unblock xmlns='{BLOCKING}'><item jid='@'/></unblock>", ("jid-malformed", "modify")),
    (f"<blocklist xmlns='{BLOCKING}'/>", ("service-unavailable", "cancel")),
    (f"<block xmlns='{BLOCKING}'><item jid='bob@localhost'><report xmlns='{REPORTING}'/></item>"
     "</block>", ("bad-request", "modify")),
])
def test_bad_requests_change_nothing(alice, payload, error):
    assert alice.error("set", payload) == error
    assert blocklist(alice) == []


def test_only_for_oneself(alice):
    assert alice.error("set", f"<block xmlns='{BLOCKING}'>{items('x@y')}</block>",
                       to="bob@localhost") == ("service-unavailable", "cancel")
    assert alice.error("get", f"<blocklist xmlns='{BLOCKING}'/>", to="bob@localhost") == (
        "service-unavailable", "cancel")


def test_limit(make_server):
    server = make_server("alice", settings={"privacy.rules-max": 3})
    alice = server.client("alice", "a")
    block(alice, "a@b", "c@d")
    assert alice.error("set", f"<block xmlns='{BLOCKING}'>{items('e@f', 'g@h')}</block>") == (
        "resource-constraint", "wait")
    assert len(blocklist(alice)) == 2
    block(alice, "e@f", "a@b")
    assert alice.error("set", f"<block xmlns='{BLOCKING}'>{items('g@h')}</block>")[0] == (
        "resource-constraint")
    unblock(alice, "a@b")
    block(alice, "g@h")


# --- reports ---


def report(inner="", reason="urn:xmpp:reporting:spam"):
    return f"<report xmlns='{REPORTING}' reason='{reason}'>{inner}</report>"


def test_report(server, alice):
    """XEP-0377 §6: blocked and written down; the push is without it."""
    blocklist(alice)
    text = ("<text xml:lang='en'>Never came trouble to my house like this.</text>"
            "<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='28482-98726'/>"
            "<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='38383'/><third-party/>")
    alice.result("set", f"<block xmlns='{BLOCKING}'><item jid='bob@localhost'>{report(text)}</item>"
                        "<item jid='x@example.com'/></block>")
    push = alice.expect("<iq type='set'/>")
    assert push.find(f".//{{{REPORTING}}}report") is None
    assert sorted(blocklist(alice)) == ["bob@localhost", "x@example.com"]
    rows = server.rows("report", "list")
    assert len(rows) == 1
    assert rows[0]["reporter"] == "alice@localhost" and rows[0]["jid"] == "bob@localhost"
    assert rows[0]["reason"] == "urn:xmpp:reporting:spam"
    assert rows[0]["text"] == "Never came trouble to my house like this."
    assert rows[0]["stanza_ids"].split() == ["28482-98726", "38383"]
    assert server.rows("report", "list", "--jid", "x@example.com") == []
    server.ctl("report", "del", rows[0]["id"])
    assert server.rows("report", "list") == []
    assert server.ctl_run("report", "del", rows[0]["id"]).returncode != 0


def test_report_of_somebody_blocked_already(server, alice):
    block(alice, "bob@localhost")
    alice.result("set", f"<block xmlns='{BLOCKING}'><item jid='bob@localhost'>"
                        f"{report(reason='urn:xmpp:reporting:abuse')}</item></block>")
    assert [r["reason"] for r in server.rows("report", "list")] == ["urn:xmpp:reporting:abuse"]


def test_reports_have_a_limit(make_server):
    server = make_server("alice", settings={"privacy.reports-max": 2})
    alice = server.client("alice", "a")
    for i in range(4):
        alice.result("set", f"<block xmlns='{BLOCKING}'><item jid='s{i}@example.com'>{report()}"
                            "</item></block>")
    assert len(blocklist(alice)) == 4
    assert len(server.rows("report", "list")) == 2


def test_report_too_long(server, alice):
    long = f"<text>{'x' * 5000}</text>"
    assert alice.error("set", f"<block xmlns='{BLOCKING}'><item jid='bob@localhost'>{report(long)}"
                              "</item></block>") == ("not-acceptable", "modify")
    assert blocklist(alice) == [] and server.rows("report", "list") == []


# --- what came before ---


@pytest.mark.parametrize("talking", ("on", "off"))
def test_messages_that_waited_when_their_sender_was_blocked(server, talking):
    """§3.3: they are not delivered; the archive has them. Also if new messages are refused."""
    for name in ("alice", "carol"):
        client = server.client(name, name)
        client.enable_sm()
        client.send(f"<message to='bob@localhost' type='chat'><body>{name}</body></message>")
        client.wait_acked(1)
    bob = server.login("bob", "b")
    block(bob, "alice@localhost")
    server.ctl("set", "im.enabled", talking)
    bob.available()
    bob.expect("<message><body>carol</body></message>")
    bob.expect_nothing("<message/>")
    bob.result("set", "<query xmlns='urn:xmpp:mam:2'/>")
    bob.expect("<message><result xmlns='urn:xmpp:mam:2'/></message>")
    bob.expect("<message><result xmlns='urn:xmpp:mam:2'/></message>")


def test_what_was_queued_while_the_connection_was_lost(server):
    """The same for the queue of a session that is resumed; a request is answered."""
    alice, carol = server.client("alice", "a"), server.client("carol", "c")
    bob, phone = server.login("bob", "b"), server.login("bob", "phone")
    bob.enable_sm()
    bob.available()
    bob.ping()
    bob.cut()
    until("hibernation", lambda: "hibernating" in str(server.ctl("session", "list")))
    alice.send(f"<presence to='{bob}'/>")
    alice.send(f"<message to='{bob.bare}' type='chat'><body>kept</body></message>")
    alice.send(f"<message to='{bob}' type='chat'><composing "
               "xmlns='http://jabber.org/protocol/chatstates'/></message>")
    alice.send(f"<iq type='get' to='{bob}' id='q'><ping xmlns='urn:xmpp:ping'/></iq>")
    alice.send(f"<message to='{bob.bare}' id='last'><body>kept, too</body></message>")
    alice.ping()
    carol.send(f"<message to='{bob.bare}'><body>carol</body></message>")
    carol.iq("get", "<q xmlns='x'/>", to=bob.bare)
    alice.iq("get", "<q xmlns='x'/>", to=bob.bare)
    block(phone, "alice@localhost")
    alice.expect_error("service-unavailable", None, "<iq type='error' id='q'/>")
    again = server.connect("bob")
    assert again.take_over(bob).tag == f"{{{xml.SM}}}resumed"
    again.expect("<message><body>carol</body></message>")
    again.ping()
    again.expect_nothing("<message from='alice@localhost/a'/>")
    again.expect_nothing("<presence from='alice@localhost/a'/>")
    again.expect_nothing("<iq type='get'/>")
    unblock(phone, "alice@localhost")
    phone.available()  # nothing waits for it
    phone.ping()
    phone.expect_nothing("<message/>")


# --- another implementation ---


async def test_slixmpp(server):
    """The plugin of slixmpp blocks, lists and unblocks."""
    async def listed(blocking):
        answer = await blocking.get_blocked()
        return sorted(str(jid) for jid in answer["blocklist"]["items"])

    alice = await Slix(server, "alice", ["xep_0191"]).login()
    blocking = alice["xep_0191"]
    await blocking.block(["bob@localhost", "spam.example"])
    assert await listed(blocking) == ["bob@localhost", "spam.example"]
    await blocking.unblock(["spam.example"])
    assert await listed(blocking) == ["bob@localhost"]
    await alice.disconnect()
