"""Extended Stanza Addressing (XEP-0033), and broadcast to a group of the roster."""
import pytest

from harness import xml
from harness.muc import Room


ADDRESS = "http://jabber.org/protocol/address"
CARBONS = "urn:xmpp:carbons:2"
GROUP = "urn:muster:roster-group:"


def address(kind, jid=None, **more):
    attributes = {"type": kind, **({"jid": jid} if jid else {}), **more}
    return "<address" + "".join(f" {k}='{v}'" for k, v in attributes.items()) + "/>"


def to_many(*addresses, body="hi", kind="message", more=""):
    inner = f"<body>{body}</body>" if kind == "message" else ""
    return (f"<{kind} to='localhost' id='m'>{more}<addresses xmlns='{ADDRESS}'>"
            f"{''.join(addresses)}</addresses>{inner}</{kind}>")


def seen(client, body="hi", kind="message"):
    """The addresses of the next one, as (type, jid, delivered)."""
    inner = f"<body>{body}</body>" if kind == "message" else ""
    found = client.expect(f"<{kind}><addresses xmlns='{ADDRESS}'/>{inner}</{kind}>")
    assert len(found.findall(f"{{{ADDRESS}}}addresses")) == 1
    return [(a.get("type"), a.get("jid"), a.get("delivered"))
            for a in found.iter(f"{{{ADDRESS}}}address")]


def test_disco(alice):
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="localhost")
    assert ADDRESS in {f.get("var") for f in info.iter(f"{{{xml.DISCO_INFO}}}feature")}


def test_to_cc_bcc(server, alice, bob, carol):
    server.add_user("dave")
    dave = server.client("dave", "d")
    alice.send(to_many(address("to", "bob@localhost", desc="Bob &amp; son"),
                       address("cc", "Carol@LOCALHOST"), address("bcc", "dave@localhost"),
                       address("bcc", "alice@localhost"), address("replyto", "bob@localhost"),
                       address("noreply")))
    shown = [("to", "bob@localhost", "true"), ("cc", "carol@localhost", "true"),
             ("replyto", "bob@localhost", None), ("noreply", None, None)]
    assert seen(bob) == shown
    assert seen(carol) == shown
    assert seen(dave) == shown[:2] + [("bcc", "dave@localhost", "true")] + shown[2:]
    assert seen(alice) == shown[:2] + [("bcc", "alice@localhost", "true")] + shown[2:]


def test_each_gets_its_own(alice, bob):
    alice.send(to_many(address("to", str(bob)), more="<thread>t</thread>"))
    found = bob.expect(f"<message from='{alice}' to='{bob}' id='m'><thread>t</thread>"
                       "<body>hi</body></message>")
    assert found.find(f"{{{xml.SID}}}stanza-id") is not None


def test_delivered_ones_are_not_delivered_to(alice, bob, carol):
    alice.send(to_many(address("to", "bob@localhost"),
                       address("to", "carol@localhost", delivered="true")))
    assert seen(bob) == [("to", "bob@localhost", "true"), ("to", "carol@localhost", "true")]
    carol.expect_nothing("<message/>", after=alice)


def test_once_each(alice, bob):
    alice.send(to_many(address("to", "bob@localhost"), address("cc", "bob@localhost")))
    assert seen(bob) == [("to", "bob@localhost", "true")]
    bob.expect_nothing("<message/>", after=alice)


def test_offline_recipients_and_acknowledgement(server, alice, bob):
    """h covers it when every copy is stored: kill -9 loses none."""
    alice.enable_sm()
    alice.send(to_many(address("to", "bob@localhost"), address("to", "carol@localhost")))
    alice.wait_acked(1)
    server.kill()
    server.start()
    for name in ("bob", "carol"):
        seen(server.client(name, "x"))


def test_errors_of_one_recipient(alice, bob):
    alice.send(to_many(address("to", "nobody@localhost"), address("to", "bob@localhost"),
                       address("to", "x@elsewhere.example")))
    alice.expect("<message type='error' from='nobody@localhost' id='m'/>")
    alice.expect("<message type='error' from='x@elsewhere.example' id='m'/>")
    assert len(seen(bob)) == 3


def test_presence(alice, bob, carol):
    for kind in ("-", "unavailable"):
        text = to_many(address("bcc", str(bob)), address("bcc", str(carol)), kind="presence")
        alice.send(text if kind == "-" else text.replace("id='m'", "id='m' type='unavailable'"))
        for client in (bob, carol):
            found = client.expect(f"<presence from='{alice}' type='{kind}'/>")
            assert [a.get("jid") for a in found.iter(f"{{{ADDRESS}}}address")] == [str(client)]


def test_copies_for_other_devices(server, alice, bob, carol):
    phone = server.client("alice", "phone")
    phone.result("set", f"<enable xmlns='{CARBONS}'/>")
    alice.send(to_many(address("to", "bob@localhost"), address("to", "carol@localhost")))
    for _ in range(2):
        phone.expect(f"<message><sent xmlns='{CARBONS}'/></message>")


def test_to_oneself_and_to_the_domain(alice):
    """Neither loops."""
    alice.send(to_many(address("to", "localhost"), address("to", "alice@localhost")))
    alice.expect("<message type='error' from='localhost' id='m'/>")
    assert len(seen(alice)) == 2
    alice.expect_nothing("<message/>")


def test_in_a_message_to_one(alice, bob):
    """§3: more about a single addressee; nothing is sent to anybody else."""
    alice.send(f"<message to='{bob}'><addresses xmlns='{ADDRESS}'>"
               f"{address('to', 'carol@localhost')}</addresses><body>hi</body></message>")
    assert seen(bob) == [("to", "carol@localhost", None)]


ORIGIN = [
    f"<addresses xmlns='{ADDRESS}'><address type='ofrom' jid='carol@localhost'/></addresses>",
    f"<addresses xmlns='{ADDRESS}'><address type='to' jid='dave@localhost'/>"
    "<address type='&#111;from' jid='carol@localhost'/></addresses>",
    f"<p:addresses xmlns:p='{ADDRESS}'><p:address type='ofrom' jid='carol@localhost'/>"
    "</p:addresses>",
]


@pytest.mark.parametrize("claim", ORIGIN)
def test_a_client_does_not_say_where_its_stanza_is_from(server, claim):
    """To whomever it goes, in whatever way: bare and full address, oneself, on line and later,
    copies, presence, rooms."""
    server.add_user("dave")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    phone = server.client("alice", "phone")
    for client in alice, bob, phone:
        client.result("set", f"<enable xmlns='{CARBONS}'/>")
    cave = Room("cave").create(alice, "owner")
    cave.enter(bob, "b")
    told = [bob.bare, str(bob), alice.bare, str(phone), "dave@localhost", cave.at("owner")]
    for to in told:
        bob.send(f"<message to='{to}' type='chat'>{claim}<body>to {to}</body></message>")
    bob.send(f"<message to='{cave.jid}' type='groupchat'>{claim}<body>to all</body></message>")
    server.befriend("alice", "bob")
    bob.send(f"<presence to='{alice}'>{claim}<status>here</status></presence>")
    bob.send(f"<presence>{claim}<status>around</status></presence>")
    dave = server.client("dave", "d")
    dave.expect("<message><body>to dave@localhost</body></message>")
    for to in alice.bare, str(phone):
        phone.expect(f"<message type='chat'><body>to {to}</body></message>")
    alice.expect("<message type='groupchat'><body>to all</body></message>")
    for status in "here", "around":
        alice.expect(f"<presence><status>{status}</status></presence>")
    for client in alice, bob, phone, dave:
        client.result("set", "<query xmlns='urn:xmpp:mam:2'/>")
        assert "carol@" not in "".join(map(xml.canonical, client.log))


@pytest.mark.parametrize("bad, condition", [
    ("", "bad-request"),
    (address("to"), "bad-request"),
    ("<address jid='bob@localhost'/>", "bad-request"),
    (address("from", "bob@localhost"), "bad-request"),
    (address("ofrom", "bob@localhost"), "bad-request"),
    (address("to", "bob@localhost", uri="sip:bob@localhost"), "bad-request"),
    (address("to", "@localhost"), "jid-malformed"),
    (address("to", uri="sip:bob@localhost"), "jid-malformed"),
    (address("to", uri=GROUP), "jid-malformed"),
    (address("to", uri=GROUP + "a%2"), "jid-malformed"),
    (address("to", uri=GROUP + "%zz"), "jid-malformed"),
    (address("to", uri=GROUP + "nobody"), "item-not-found"),
])
def test_bad_lists(alice, bob, bad, condition):
    """Then nobody gets anything."""
    alice.send(to_many(*([address("to", "bob@localhost"), bad] if bad else [])))
    error = alice.expect_error(condition, template="<message type='error' id='m'/>")
    assert error.get("from") == "localhost"
    bob.expect_nothing("<message/>", after=alice)


def test_too_many(server, alice, bob):
    def many(count):
        return to_many(address("to", "bob@localhost"),
                       *(address("to", f"u{i}@localhost") for i in range(count - 1)))
    alice.send(many(51))
    alice.expect_error("not-acceptable", template="<message type='error' id='m'/>")
    alice.send(many(600))
    alice.expect_error("not-acceptable", template="<message type='error' id='m'/>")
    bob.expect_nothing("<message/>", after=alice)
    alice.send(many(50))
    assert len(seen(bob)) == 50


def test_a_list_that_is_full(server, alice, bob):
    """Who does not fit is not left out in silence; who is in it already takes no more room."""
    for i in range(3):
        put(alice, f"u{i}@localhost", "g")
    put(alice, "bob@localhost", "g")
    full = [address("replyto", "a@b")] * 508 + [address("bcc", uri=GROUP + "g")]
    alice.send(to_many(*full, address("to", "carol@localhost")))
    alice.expect_error("not-acceptable", template="<message type='error' from='localhost' id='m'/>")
    bob.expect_nothing("<message/>", after=alice)
    alice.send(to_many(*full, address("to", "bob@localhost"), address("to", uri=GROUP + "g")))
    assert len(seen(bob)) == 509


def test_forbidden(server, alice, bob):
    server.ctl("set", "multicast.allowed", "off")
    alice.send(to_many(address("to", "bob@localhost")))
    alice.expect_error("forbidden", "auth", "<message type='error' id='m'/>")
    bob.expect_nothing("<message/>", after=alice)


# --- groups of the roster ---


def put(client, jid, *groups):
    inner = "".join(f"<group>{g}</group>" for g in groups)
    client.result("set", f"<query xmlns='{xml.ROSTER}'><item jid='{jid}'>{inner}</item></query>")


@pytest.mark.parametrize("name, uri", [("Friends", "Friends"), ("Büro 1 %", "B%C3%bcro%201%20%25")])
def test_roster_group(alice, bob, carol, name, uri):
    put(alice, "bob@localhost", "Other", name)
    put(alice, "carol@localhost", name + "s")
    put(alice, "nobody@localhost", name)
    alice.send(to_many(address("bcc", uri=GROUP + uri), address("noreply")))
    assert seen(bob) == [("bcc", "bob@localhost", "true"), ("noreply", None, None)]
    alice.expect("<message type='error' from='nobody@localhost' id='m'/>")
    carol.expect_nothing("<message/>", after=alice)


def test_a_group_and_one_of_its_contacts(alice, bob, carol):
    for jid in ("bob@localhost", "carol@localhost"):
        put(alice, jid, "g")
    alice.send(to_many(address("cc", "bob@localhost"), address("to", uri=GROUP + "g")))
    for client in (bob, carol):
        assert seen(client) == [("cc", "bob@localhost", "true"), ("to", "carol@localhost", "true")]


def test_a_contact_of_several_groups(alice, bob, carol):
    """Gets it once, as the first group in the list says."""
    put(alice, "carol@localhost", "g", "h")
    put(alice, "bob@localhost", "h")
    alice.send(to_many(address("cc", uri=GROUP + "g"), address("to", uri=GROUP + "h"),
                       address("to", uri=GROUP + "g")))
    for client in (bob, carol):
        assert seen(client) == [("cc", "carol@localhost", "true"), ("to", "bob@localhost", "true")]
    bob.expect_nothing("<message/>", after=alice)
    carol.expect_nothing("<message/>", after=alice)


def test_a_group_that_has_got_it(alice, bob, carol):
    put(alice, "bob@localhost", "g")
    alice.send(to_many(address("to", uri=GROUP + "g", delivered="true"),
                       address("to", "carol@localhost")))
    assert seen(carol) == [("to", None, "true"), ("to", "carol@localhost", "true")]
    bob.expect_nothing("<message/>", after=alice)


def test_too_many_groups(alice, bob):
    """They are counted, and not looked up."""
    put(alice, "bob@localhost", "g")
    alice.send(to_many(*([address("to", uri=GROUP + "nobody")] * 51)))
    alice.expect_error("not-acceptable", template="<message type='error' id='m'/>")
    alice.send(to_many(*([address("to", uri=GROUP + "g")] * 50)))
    assert len(seen(bob)) == 1


def test_a_group_that_is_too_large(server, alice, bob):
    server.ctl("set", "multicast.recipients-max", "2")
    for name in ("bob", "carol", "x"):
        put(alice, f"{name}@localhost", "g")
    alice.send(to_many(address("to", uri=GROUP + "g")))
    alice.expect_error("not-acceptable", template="<message type='error' id='m'/>")
    bob.expect_nothing("<message/>", after=alice)


def test_a_group_of_all_contacts_that_a_user_may_have(make_server):
    """roster.contacts-max (200) fit, and one <a/> covers all of them (XEP-0198 §4)."""
    server = make_server("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.timeout = bob.timeout = 60
    alice.enable_sm()
    for i in range(199):
        put(alice, f"u{i}@localhost", "g")
    put(alice, "bob@localhost", "g")
    sent = 201
    alice.send(to_many(address("to", uri=GROUP + "g")))
    assert len(seen(bob)) == 200
    for i in range(199):
        alice.expect(f"<message type='error' from='u{i}@localhost' id='m'/>")
    alice.wait_acked(sent)


@pytest.mark.migrates(why="the home charges a stream that has read the next stanza already")
def test_copies_are_charged_to_the_sender(make_server):
    """She sent 40 kB to 20, which is 800 kB: 8 s at 100 kB a second."""
    users = [f"u{i}" for i in range(20)]
    server = make_server("alice", "bob", *users, settings={"c2s.byte-rate": 100_000})
    alice, bob = server.client("alice"), server.client("bob")
    alice.send(to_many(*(address("to", f"{u}@localhost") for u in users), body="x" * 40_000))
    alice.send(f"<message to='{bob.jid}'><body>late</body></message>")
    for i in range(20):
        bob.send(f"<message to='{bob.jid}'><body>{i}</body></message>")
        assert bob.expect("<message/>").findtext(f"{{{xml.CLIENT}}}body") == str(i)
    bob.expect_nothing(f"<message from='{alice.jid}'/>")
    bob.expect(f"<message from='{alice.jid}'><body>late</body></message>")
