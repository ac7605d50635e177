"""Rules about other servers that change: who is shut out goes and is seen again, and what waits is
judged once more."""
import re
import time

import pytest

from harness import across, federation, xml
from harness.client import until
from federation.test_s2s_policy import (FAR, ONE, OTHER, befriend, befriended, both, bounced,
                                        free_node, free_pair, say, text_of, told)
from stream.test_sm import resume


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def pair(make_server, authority):
    return both(make_server, authority, settings=federation.settings())


@pytest.fixture
def free(make_server, authority):
    return free_pair(make_server, authority)


@pytest.fixture
def node(make_server, authority):
    return free_node(make_server, authority)


SHUTS = {
    "policy": ([("set", "s2s.policy", "off")], [("set", "s2s.policy", "open")]),
    "domains": ([("set", "s2s.domains", "far.test"), ("set", "s2s.policy", "allow")],
                [("set", "s2s.domains", f"far.test {OTHER}")]),
    "deny": ([("set", "s2s.domains", f"*.{OTHER} {OTHER}"), ("set", "s2s.policy", "deny")],
             [("set", "s2s.domains", "far.test")]),
    "of the domain": ([("set", f"s2s.policy@{ONE}", "off")],
                      [("set", f"s2s.policy@{ONE}", "open")]),
    "route": ([("s2s-route", "add", OTHER, "192.0.2.1:1", "--blocked", "on")],
              [("s2s-route", "del", OTHER, "192.0.2.1:1")]),
    "block": ([("federation", "block", OTHER)], [("federation", "allow", OTHER)]),
}


@pytest.mark.parametrize("how", SHUTS)
def test_a_domain_that_is_shut_out_goes_and_is_seen_again(free, how):
    """Its contacts and occupants; and the other way round."""
    one, _ = free
    alice, bob, room = befriended(free)
    shut, open_again = SHUTS[how]
    for command in shut:
        one.ctl(*command)
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    alice.expect(f"<presence from='{room.jid}/bob' type='unavailable'/>")
    bob.send("<presence><status>changed</status></presence>")
    alice.send("<presence><status>news</status></presence>")
    alice.ping()
    alice.expect_nothing(f"<presence from='{bob}'/>")
    for command in open_again:
        one.ctl(*command)
    assert "changed" in text_of(alice.expect(f"<presence from='{bob}' type='-'/>"))
    assert "news" in text_of(bob.expect(lambda e: e.get("from") == str(alice)
                                        and "news" in text_of(e)))


@pytest.mark.parametrize("how", SHUTS)
def test_a_request_to_an_occupant_who_is_shut_out_is_answered(free, how):
    """RFC 6120 §8.2.3. It went through a room here (XEP-0045 §17), which the occupant leaves."""
    one, _ = free
    alice, bob, room = befriended(free)
    alice.send(f"<iq type='get' id='ask' to='{room.jid}/bob'>"
               "<query xmlns='jabber:iq:version'/></iq>")
    bob.expect(f"<iq type='get' from='{room.jid}/alice'/>")
    for command in SHUTS[how][0]:
        one.ctl(*command)
    error = alice.expect(f"<iq type='error' id='ask' from='{room.jid}/bob'/>")
    assert xml.condition(error) == "recipient-unavailable"
    alice.ping()
    alice.expect_nothing("<iq type='error' id='ask'/>")


@pytest.fixture
def with_list(free, tmp_path):
    """Both servers, and a function that puts addresses on the list of the first one."""
    one, _ = free
    listed = tmp_path / "blocklist"

    def read():
        return one.log().count("event=federation.blocklist ")

    def block(*patterns):
        before = read()
        listed.write_text("\n".join(patterns))
        until("the list is read", lambda: read() > before)
    listed.write_text("")
    one.ctl("set", "federation.blocklist", str(listed))
    until("the list is read", read)
    return free, block


@pytest.mark.parametrize("pattern", [f"bob@{OTHER}", f"bo*@{OTHER}"])
def test_a_request_to_an_occupant_whose_address_is_listed_is_answered(with_list, pattern):
    """The occupant leaves, and hears that; others of the same domain stay."""
    free, block = with_list
    free[1].add_user("dave", domain=OTHER)
    alice, bob, room = befriended(free)
    dave = free[1].client("dave")
    room.enter(dave, "dave")
    for who in "bob", "dave":
        ask(alice, f"{room.jid}/{who}", f"to-{who}")
    bob.expect(f"<iq type='get' from='{room.jid}/alice'/>")
    request = dave.expect(f"<iq type='get' from='{room.jid}/alice'/>")
    block(pattern)
    assert bounced(alice, "recipient-unavailable", "to-bob", "iq").get("from") == f"{room.jid}/bob"
    for client in alice, bob, dave:
        client.expect(f"<presence from='{room.jid}/bob' type='unavailable'/>")
    dave.send(f"<iq type='result' id='{request.get('id')}' to='{room.jid}/alice'/>")
    alice.expect(f"<iq type='result' id='to-dave' from='{room.jid}/dave'/>")
    for ident, to in ("again", f"{room.jid}/alice"), ("room", room.jid):
        ask(bob, to, ident)
        bounced(bob, "policy-violation", ident, "iq")
        say(bob, to, ident)
        bounced(bob, "policy-violation", ident)
    alice.ping()
    alice.expect_nothing("<iq type='error'/>")
    alice.expect_nothing(f"<presence from='{room.jid}/dave' type='unavailable'/>")


def test_who_is_taken_off_the_list_enters_a_room_again(with_list):
    free, block = with_list
    alice, bob, room = befriended(free)
    block(f"bob@{OTHER}")
    bob.expect(f"<presence from='{room.jid}/bob' type='unavailable'/>")
    alice.expect(f"<presence from='{room.jid}/bob' type='unavailable'/>")
    block()
    alice.expect(f"<presence from='{bob}' type='-'/>")
    room.enter(bob, "bob")
    alice.expect(f"<presence from='{room.jid}/bob' type='-'/>")


@pytest.mark.parametrize("how", ["policy", "block"])
def test_each_resource_of_a_contact_is_seen_again_once(free, how):
    """RFC 6121 §4.3: one probe, and one answer for each resource; our user is told once, too."""
    one, other = free
    alice, bob, _ = befriended(free)
    clients = [alice, bob, one.client("alice", "second"), other.client("bob", "second")]
    for client in clients:
        across.mark(alice, bob)
        across.mark(bob, alice)
        client.ping()
    shut, open_again = SHUTS[how]
    for command in shut:
        one.ctl(*command)
    for client in clients[:2]:
        there = OTHER if client is alice else ONE
        for _ in range(2):
            client.expect(lambda e, there=there: e.get("type") == "unavailable"
                          and e.get("from").partition("/")[0].endswith(f"@{there}"))
    for client in clients:
        client.drain()
    for command in open_again:
        one.ctl(*command)
    ends = time.monotonic() + 3  # contacts are asked a second later
    while time.monotonic() < ends:
        for client in clients:
            client.pump(0.02)
    for client in clients:
        there = clients[1::2] if client.bare == alice.bare else clients[::2]
        seen = [e.get("from") for e in client.inbox
                if e.tag.endswith("}presence") and e.get("type") is None]
        assert sorted(seen) == sorted(map(str, there))


@pytest.mark.parametrize("at", [ONE, OTHER], ids=["here", "there"])
@pytest.mark.parametrize("how", ["policy", "deny", "block"])
def test_who_is_shut_out_hears_so(free, how, at):
    """Occupants of rooms here hear that they have left. Rooms and contacts there hear that our user
    has gone."""
    one, _ = free
    alice, bob, room = befriended(free, at)
    for command in SHUTS[how][0] + ([("federation", "block", f"conference.{OTHER}")]
                                    if how == "block" else []):
        one.ctl(*command)
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    if at == OTHER:
        bob.expect(f"<presence from='{room.jid}/alice' type='unavailable'/>")
        return
    left = bob.expect(f"<presence from='{room.jid}/bob' type='unavailable'/>")
    assert [e.get("code") for e in left.iter("{http://jabber.org/protocol/muc#user}status")] == [
        "110"]


def test_occupants_hear_that_a_service_is_not_reached_any_more(free):
    """federation.services: and their contacts here stay."""
    one, _ = free
    alice, bob, room = befriended(free)
    one.ctl("set", f"federation.services@{ONE}", "pubsub")
    bob.expect(f"<presence from='{room.jid}/bob' type='unavailable'/>")
    bob.ping()
    bob.expect_nothing(f"<presence from='{alice}' type='unavailable'/>")
    say(bob, alice.bare, "stays")
    alice.expect("<message id='stays'/>")


def test_who_comes_while_a_domain_is_shut_out_sees_it_later(free):
    one, other = free
    alice, bob = one.client("alice"), other.client("bob")
    befriend(alice, bob)
    one.ctl("set", "s2s.policy", "off")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    alice.close()
    second = one.client("alice", "second")
    second.ping()
    second.expect_nothing(f"<presence from='{bob}'/>")
    one.ctl("set", "s2s.policy", "open")
    second.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect(f"<presence from='{second}' type='-'/>")


def test_a_rule_of_one_domain_or_service_leaves_the_others(free):
    """Contacts of another domain of ours at the same foreign domain stay, and rooms alone go where
    rooms alone are shut."""
    one, other = free
    one.add_user("dora", domain="two.test")
    alice, bob, room = befriended(free)
    dora = one.client("dora", domain="two.test")
    befriend(dora, bob)
    one.ctl("set", f"federation.services@{ONE}", "pubsub")
    alice.expect(f"<presence from='{room.jid}/bob' type='unavailable'/>")
    alice.ping()
    alice.expect_nothing(f"<presence from='{bob}' type='unavailable'/>")
    one.ctl("set", "s2s.policy@two.test", "off")
    dora.expect(f"<presence from='{bob}' type='unavailable'/>")
    alice.ping()
    alice.expect_nothing(f"<presence from='{bob}' type='unavailable'/>")
    one.ctl("set", "s2s.policy@two.test", "open")
    dora.expect(f"<presence from='{bob}' type='-'/>")


def refused_count(server, why):
    return sum(row["value"] for row in server.rows("metrics")
               if row["name"] == "muster_federation_refused" and why in str(row))


def test_a_stanza_that_may_not_leave_is_judged_once(pair, tmp_path):
    one, other = pair
    alice, bob = one.client("alice"), other.client("bob")
    befriend(alice, bob)
    listed = tmp_path / "blocklist"
    listed.write_text(f"{bob.bare}\n")
    one.ctl("set", "federation.blocklist", str(listed))
    until("the list", lambda: "event=federation.blocklist" in one.log())
    before = refused_count(one, "blocked")
    alice.send("<presence><status>to all contacts</status></presence>")
    alice.ping()
    assert refused_count(one, "blocked") == before + 1


def ask(client, to, ident):
    client.send(f"<iq type='get' to='{to}' id='{ident}'><query xmlns='jabber:iq:version'/></iq>")


def forbid(node, tmp_path, *rule):
    """bad@FAR may get nothing any more, and the rule keeps alice from other servers."""
    listed = tmp_path / "blocklist"
    listed.write_text(f"bad@{FAR}\n")
    node.ctl("set", "federation.blocklist", str(listed))
    until("the list", lambda: "event=federation.blocklist" in node.log())
    node.ctl(*rule)
    until("the rule applies", lambda: ("applies", "off") in [
        (row["what"], row["mode"]) for row in node.rows("federation", "show", f"alice@{ONE}")])


RULES = pytest.mark.parametrize("rule", [
    ("federation", "set", f"alice@{ONE}", "off"),
    ("s2s-group", "set", "sales", "off"),
    ("s2s-group", "set", "group:sellers", "off"),
    ("group-member", "add", "buyers", f"alice@{ONE}"),
    ("set", f"federation.users@{ONE}", "off"),
], ids=["user", "department", "group", "member", "domain"])


def group(node):
    """All of RULES are about alice, and none is about carol."""
    node.add_user("carol", domain=ONE)
    node.ctl("federation", "set", f"carol@{ONE}", "on")
    node.ctl("user", "set", f"alice@{ONE}", "--department", "sales")
    node.ctl("group", "add", "sellers")
    node.ctl("group-member", "add", "sellers", f"alice@{ONE}")
    node.ctl("group", "add", "buyers")
    node.ctl("s2s-group", "set", "group:buyers", "off")


@RULES
@pytest.mark.parametrize("where", ["memory", "database"])
def test_what_waits_comes_back_while_its_server_stays_away(node, authority, tmp_path, rule, where):
    """At once, more than a page of it, in order; what others have sent goes on waiting."""
    group(node)
    if where == "database":
        node.ctl("set", "s2s.retry-for", "0s")
    federation.route(node, FAR, federation.free_port())
    alice, carol = node.client("alice", domain=ONE), node.client("carol", domain=ONE)
    for n in range(70):
        say(carol, f"x@{FAR}", f"c{n}", "of carol")
    for n in range(70):
        say(alice, f"x@{FAR}", f"a{n}", "of alice")
    say(carol, f"bad@{FAR}", "blocked", "to bad")
    say(carol, f"x@{FAR}", "last", "of carol")
    for client in carol, alice:
        client.ping()
    until("the domain fails", lambda: "event=s2s.failed" in node.log())
    forbid(node, tmp_path, *rule)
    for n in range(70):
        bounced(alice, "not-allowed", f"a{n}")
    bounced(carol, "policy-violation", "blocked")
    listener = federation.Listener(FAR, authority.issue("listener", FAR))
    federation.route(node, FAR, listener.port)
    with listener.join() as peer:
        heard = listener.read_until(peer, "'last'").string
    listener.close()
    assert "of alice" not in heard and "to bad" not in heard
    assert re.findall("id='(c.*?)'", heard) == [f"c{n}" for n in range(70)]
    for client in alice, carol:
        client.ping()
        client.expect_nothing("<message type='error'/>")


@RULES
def test_what_waits_in_memory_may_not_leave_any_more(node, authority, tmp_path, rule):
    """Stanzas that are stored and others, while their domain fails: one error each, where they are
    answered at all. Unavailable presence goes, without its content."""
    group(node)
    federation.route(node, FAR, federation.free_port())
    alice, carol = node.client("alice", domain=ONE), node.client("carol", domain=ONE)
    for n in range(70):
        ask(alice, f"x@{FAR}", f"q{n}")
    say(alice, f"x@{FAR}", "stored", "of alice")
    alice.send(f"<presence to='x@{FAR}'><status>of alice</status></presence>")
    alice.send(f"<presence to='x@{FAR}' type='unavailable'><status>of alice</status></presence>")
    ask(carol, f"bad@{FAR}", "blocked")
    say(carol, f"bad@{FAR}", "stored", "to bad")
    say(carol, f"x@{FAR}", "free", "first of carol")
    ask(carol, f"x@{FAR}", "carol-asks")
    carol.ping()
    alice.ping()
    until("the domain fails", lambda: "event=s2s.failed" in node.log())
    forbid(node, tmp_path, *rule)
    listener = federation.Listener(FAR, authority.issue("listener", FAR))
    federation.route(node, FAR, listener.port)
    with listener.join() as peer:
        heard = listener.read_until(peer, "carol-asks").string
        for n in range(70):
            bounced(alice, "not-allowed", f"q{n}", "iq")
        bounced(alice, "not-allowed", "stored")
        bounced(carol, "policy-violation", "blocked", "iq")
        bounced(carol, "policy-violation", "stored")
        say(carol, f"x@{FAR}", "last", "last of carol")
        heard += listener.read_until(peer, "last of carol").string
    listener.close()
    assert "of alice" not in heard and "'q" not in heard and "bad@" not in heard
    assert heard.index("first of carol") < heard.index("carol-asks")
    assert len([part for part in heard.split("<presence")[1:] if "unavailable" in part]) == 1
    for client in alice, carol:
        client.ping()
        client.expect_nothing("<message type='error'/>")
        client.expect_nothing("<iq type='error'/>")
        client.expect_nothing("<presence type='error'/>")


def test_what_is_diverted_may_not_leave_any_more(make_server, authority, tmp_path):
    """One of two connections of a pair cannot be made, and rules change before the other one takes
    over what waits for it."""
    node = make_server("alice", "carol", domains=[ONE], s2s=True,
                       tls={**authority.issue("both", ONE), "trust": str(authority.file)},
                       settings={"s2s.connections": 2, "s2s.bidi": "off"})
    node.ctl("set", "s2s.policy", "open")
    listener = federation.Listener(FAR, authority.issue("listener", FAR))
    federation.route(node, FAR, listener.port)
    alice, carol = node.client("alice", domain=ONE), node.client("carol", domain=ONE)
    for n in range(20):
        ask(alice, f"x{n}@{FAR}", f"q{n}")
        say(carol, f"x{n}@{FAR}", f"m{n}", f"first {n}")
    with listener.join() as peer:
        hung, _ = listener.sock.accept()
        before = listener.read_until(peer, "<body>first").string
        node.ctl("federation", "set", f"alice@{ONE}", "off")
        hung.close()
        listener.sock.settimeout(0.2)

        def diverted():
            try:
                listener.sock.accept()[0].close()
            except TimeoutError:
                pass
            return "event=s2s.diverted" in node.log()
        until("the connection is diverted", diverted)
        for n in range(20):
            say(carol, f"x{n}@{FAR}", f"n{n}", f"last {n}.")
        heard = before
        while not all(f"last {n}." in heard for n in range(20)):
            heard += listener.read_until(peer, "(?s).").string  # what is there: it may be cut
    listener.close()
    assert not all(f"'q{n}'" in heard for n in range(20))
    for n in range(20):  # those that were sent before have no answer yet
        bounced(alice, "not-allowed", f"q{n}", "iq")
    alice.ping()
    alice.expect_nothing("<iq type='error'/>")


def test_what_a_stream_has_not_confirmed_may_not_be_sent_again(node, authority, tmp_path):
    """It breaks, rules change, and the next one comes."""
    node.add_user("carol", domain=ONE)
    listener = federation.Listener(FAR, authority.issue("listener", FAR))
    federation.route(node, FAR, listener.port)
    alice, carol = node.client("alice", domain=ONE), node.client("carol", domain=ONE)
    say(alice, f"x@{FAR}", "stored", "of alice")
    with listener.join() as peer:
        listener.read_until(peer, "of alice")
        ask(alice, f"x@{FAR}", "asked")
        listener.read_until(peer, "asked")
        ask(carol, f"bad@{FAR}", "blocked")
        listener.read_until(peer, "blocked")
        say(carol, f"x@{FAR}", "free", "of carol")
        listener.read_until(peer, "of carol")
        federation.route(node, FAR, federation.free_port())
    until("the domain fails", lambda: "event=s2s.failed" in node.log())
    forbid(node, tmp_path, "federation", "set", alice.bare, "off")
    federation.route(node, FAR, listener.port)
    with listener.join() as peer:
        heard = listener.read_until(peer, "of carol").string
        bounced(alice, "not-allowed", "stored")
        bounced(alice, "not-allowed", "asked", "iq")
        bounced(carol, "policy-violation", "blocked", "iq")
        say(carol, f"x@{FAR}", "last", "the last one")
        heard += listener.read_until(peer, "the last one").string
    listener.close()
    assert "of alice" not in heard and "asked" not in heard and "bad@" not in heard
    alice.expect_nothing("<message type='error'/>")


def join_counted(listener):
    """A stream with acknowledgements."""
    peer = listener.secure()
    listener.read_until(peer, "<auth.*</auth>")
    peer.sendall(f"<success xmlns='{xml.SASL}'/>".encode())
    listener.header(peer, "counted", f"<sm xmlns='{xml.SM}'/>")
    return peer


def test_what_waits_for_the_one_before_may_not_leave_any_more(node, authority, tmp_path):
    """A server that ends streams for what it gets is sent one stanza at a time."""
    node.add_user("carol", domain=ONE)
    listener = federation.Listener(FAR, authority.issue("listener", FAR))
    federation.route(node, FAR, listener.port)
    alice, carol = node.client("alice", domain=ONE), node.client("carol", domain=ONE)
    for n in range(4):
        ask(alice, f"x@{FAR}", f"q{n}")
    with join_counted(listener) as peer:
        listener.read_until(peer, "'q3'")
        peer.sendall(f"<enabled xmlns='{xml.SM}'/><stream:error><policy-violation "
                     "xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
                     "</stream:stream>".encode())
    with join_counted(listener) as peer:
        listener.read_until(peer, "'q0'")
        peer.sendall(f"<enabled xmlns='{xml.SM}'/>".encode())
        forbid(node, tmp_path, "federation", "set", alice.bare, "off")
        peer.sendall(f"<a xmlns='{xml.SM}' h='1'/>".encode())
        for n in range(1, 4):
            bounced(alice, "not-allowed", f"q{n}", "iq")
        say(carol, f"x@{FAR}", "last", "the last one")
        heard = listener.read_until(peer, "the last one").string
    listener.close()
    assert "id='q" not in heard


def test_a_message_that_has_waited_may_not_leave_any_more(node, authority, tmp_path):
    """The rule of its sender, or a block of the addressee, came meanwhile: one error each."""
    node.ctl("set", "s2s.retry-for", "1s")
    node.add_user("carol", domain=ONE)
    federation.route(node, FAR, federation.free_port())
    alice, carol = node.client("alice", domain=ONE), node.client("carol", domain=ONE)
    for n in range(3):
        say(alice, f"x@{FAR}", f"a{n}")
    say(carol, f"bad@{FAR}", "blocked")
    say(carol, f"x@{FAR}", "free", "from carol")
    until("they are left to the database", lambda: node.log().count("event=s2s.failed") > 2)
    listed = tmp_path / "blocklist"
    listed.write_text(f"bad@{FAR}\n")
    node.ctl("set", "federation.blocklist", str(listed))
    until("the list", lambda: "event=federation.blocklist" in node.log())
    node.ctl("federation", "set", alice.bare, "off")
    counted = [refused_count(node, why) for why in ("blocked", "user")]
    listener = federation.Listener(FAR, authority.issue("listener", FAR))
    federation.route(node, FAR, listener.port)
    with listener.join() as peer:
        heard = listener.read_until(peer, "from carol").string
        for n in range(3):
            bounced(alice, "not-allowed", f"a{n}")
        bounced(carol, "policy-violation", "blocked")
        node.ctl("federation", "set", alice.bare, "on")
        say(alice, f"x@{FAR}", "last", "the last one")
        heard += listener.read_until(peer, "the last one").string
    assert "hello" not in heard
    assert [refused_count(node, why) for why in ("blocked", "user")] == counted
    listener.close()
    alice.expect_nothing("<message type='error'/>")
    carol.expect_nothing("<message type='error'/>")


# --- requests that the other server has, and has not answered ---


FORBIDS = {
    "policy": ("not-allowed", ("set", "s2s.policy", "off")),
    "allow": ("not-allowed", ("set", "s2s.policy", "allow")),
    "of the domain": ("not-allowed", ("set", f"s2s.policy@{ONE}", "off")),
    "route": ("not-allowed", ("s2s-route", "add", FAR, "192.0.2.1:1", "--blocked", "on")),
    "block": ("not-allowed", ("federation", "block", FAR)),
    "user": ("not-allowed", ("federation", "set", f"alice@{ONE}", "off")),
    "department": ("not-allowed", ("s2s-group", "set", "sales", "off")),
    "group": ("not-allowed", ("s2s-group", "set", "group:sellers", "off")),
    "member": ("not-allowed", ("group-member", "add", "buyers", f"alice@{ONE}")),
    "users": ("not-allowed", ("set", f"federation.users@{ONE}", "off")),
    "file": ("policy-violation", None),
}


def forbids(node, tmp_path, how):
    """The rule applies from now on, and the error that it makes."""
    condition, command = FORBIDS[how]
    if command is not None:
        node.ctl(*command)
    else:
        listed = tmp_path / "blocklist"
        listed.write_text(f"x@{FAR}\n")
        node.ctl("set", "federation.blocklist", str(listed))
    return condition


@pytest.fixture
def asked(node, authority):
    """A function with which alice asks a server that confirms requests, and answers none."""
    node.ctl("user", "set", f"alice@{ONE}", "--department", "sales")
    for group in "sellers", "buyers":
        node.ctl("group", "add", group)
    node.ctl("group-member", "add", "sellers", f"alice@{ONE}")
    node.ctl("s2s-group", "set", "group:buyers", "off")
    listener = federation.Listener(FAR, authority.issue("listener", FAR))
    federation.route(node, FAR, listener.port)
    alice, peers = node.client("alice", domain=ONE), []

    def run(*idents):
        for ident in idents:
            ask(alice, f"x@{FAR}", ident)
        peer = join_counted(listener)
        peers.append(peer)
        heard = listener.read_until(peer, f"{idents[-1]}'.*</iq>").string
        peer.sendall(f"<enabled xmlns='{xml.SM}'/><a xmlns='{xml.SM}' h='{heard.count('</iq>')}'/>"
                     .encode())
        until("they are confirmed", lambda: "0 stanzas" in [
            row["value"] for row in node.rows("s2s", "show", FAR)
            if row["name"] == "unacknowledged"])
        return alice
    yield run
    for peer in peers:
        peer.close()
    listener.close()


@pytest.fixture
def far(node, authority):
    return federation.Peer(node, FAR, ONE, authority.issue("far", FAR)).join()


def hears_no_more(alice):
    alice.ping()
    alice.expect_nothing("<iq type='error'/>")
    alice.expect_nothing(f"<iq from='x@{FAR}'/>")


@pytest.mark.parametrize("how", FORBIDS)
def test_a_request_that_is_under_way_is_answered_when_a_rule_forbids_it(node, tmp_path, asked, how):
    """RFC 6120 §8.2.3: once. Nobody else can: the answer may not come any more."""
    alice = asked("first", "second")
    condition = forbids(node, tmp_path, how)
    for ident in "first", "second":
        assert bounced(alice, condition, ident, "iq").get("from") == f"x@{FAR}"
    hears_no_more(alice)


@pytest.mark.parametrize("how", ["user", "file"])
def test_an_answer_that_comes_too_late_is_dropped(node, tmp_path, asked, far, how):
    alice = asked("late")
    bounced(alice, forbids(node, tmp_path, how), "late", "iq")
    if how == "user":
        node.ctl("federation", "set", alice.bare, "on")
    else:
        (tmp_path / "blocklist").write_text("")
        until("the list is read", lambda: "patterns=0" in node.log())
    far.raw(f"<iq type='result' id='late' from='x@{FAR}' to='{alice}'/>")
    told(far, f"x@{FAR}", alice.bare, "behind")
    alice.expect("<message id='behind'/>")
    hears_no_more(alice)


def test_a_request_that_has_its_answer_gets_no_second_one(node, tmp_path, asked, far):
    """Results, errors, and what this server has answered itself."""
    alice = asked("result", "error")
    far.raw(f"<iq type='result' id='result' from='x@{FAR}' to='{alice}'/>")
    alice.expect("<iq type='result' id='result'/>")
    far.raw(f"<iq type='error' id='error' from='x@{FAR}' to='{alice}'><error type='cancel'>"
            "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
    bounced(alice, "item-not-found", "error", "iq")
    forbids(node, tmp_path, "user")
    ask(alice, f"x@{FAR}", "refused")
    bounced(alice, "not-allowed", "refused", "iq")
    forbids(node, tmp_path, "block")
    hears_no_more(alice)


# Behind a break, what was written and is not confirmed goes back.
GIVES_BACK = {
    "block": ("federation", "block", FAR),
    "fails": ("set", "s2s.retry-for", "1s"),
}


@pytest.fixture
def answered(node, authority, far):
    """Alice has the answer to a request that her stream to the other server has not confirmed."""
    listener = federation.Listener(FAR, authority.issue("listener", FAR))
    federation.route(node, FAR, listener.port)
    alice = node.client("alice", domain=ONE)
    alice.enable_sm()
    ask(alice, f"x@{FAR}", "q")
    with join_counted(listener) as peer:
        listener.read_until(peer, "(id=.q.).*</iq>")
        answer(far, alice, "q")
        yield alice, listener, peer
    listener.close()


def answer(far, client, ident):
    far.raw(f"<iq type='result' id='{ident}' from='x@{FAR}' to='{client}'/>")
    client.expect(f"<iq type='result' from='x@{FAR}' id='{ident}'/>")


@pytest.mark.parametrize("how", GIVES_BACK)
def test_a_request_that_goes_back_after_its_answer_is_answered_once(node, answered, how):
    """RFC 6120 §8.2.3."""
    alice, _, peer = answered
    federation.route(node, FAR, federation.free_port())
    peer.close()
    node.wait_log("event=s2s.lost")
    node.ctl(*GIVES_BACK[how])
    until("nothing waits", lambda: "0 stanzas" in [
        row["value"] for row in node.rows("s2s", "show", FAR)
        if row["name"] == "unacknowledged"])
    hears_no_more(alice)


def test_a_request_that_is_answered_does_not_go_again(answered, far):
    """A second answer that comes all the same is dropped."""
    alice, listener, peer = answered
    peer.close()
    say(alice, f"x@{FAR}", "next", "the next one")
    with listener.join() as peer:
        assert "'q'" not in listener.read_until(peer, "the next one").string.replace('"', "'")
        far.raw(f"<iq type='result' id='q' from='x@{FAR}' to='{alice}'/>")
        told(far, f"x@{FAR}", alice.bare, "behind")
        alice.expect("<message id='behind'/>")
    hears_no_more(alice)


def test_a_request_is_answered_once_when_the_server_stops(node, answered):
    alice, _, _ = answered
    node.restart()
    hears_no_more(resume(node, alice))


def test_an_id_that_a_client_uses_again_is_answered_again(node, answered, far):
    """Also by this server."""
    alice, listener, peer = answered
    ask(alice, f"x@{FAR}", "q")
    listener.read_until(peer, "(id=.q.).*</iq>")
    answer(far, alice, "q")
    peer.sendall(f"<enabled xmlns='{xml.SM}'/><a xmlns='{xml.SM}' h='2'/>".encode())
    ask(alice, f"x@{FAR}", "q")
    listener.read_until(peer, "(id=.q.).*</iq>")
    node.ctl("federation", "block", FAR)
    bounced(alice, "not-allowed", "q", "iq")
    ask(alice, f"x@{FAR}", "q")
    bounced(alice, "policy-violation", "q", "iq")
    hears_no_more(alice)


def test_requests_that_are_under_way_are_bounded(node, tmp_path, asked):
    """The last 64 of a session."""
    idents = [f"q{n}" for n in range(70)]
    alice = asked(*idents)
    forbids(node, tmp_path, "block")
    for ident in idents[-64:]:
        bounced(alice, "not-allowed", ident, "iq")
    hears_no_more(alice)
