"""Who may speak with whom across servers: policies of domains, users and departments, rates of
foreign domains, blocked domains; and what becomes of contacts, rooms and requests when that
changes."""
import pytest

from harness import across, xml
from harness.client import Gone, until
from harness.component import Component
from harness.federation import Peer
from harness.links import (ENABLED, END, EVIL, ONE, OTHER, PING, SM, VERSION, authority, bounced,
                           hear, listener, message, metric, node, say, start)
from harness.muc import Room
from harness.server import refusal

__all__ = ["authority", "listener", "node", "start"]
ALICE, BOB, TWO, X = f"alice@{ONE}", f"bob@{OTHER}", "two.test", f"x@{EVIL}"
ROSTER, GATE, SECRET = f"<query xmlns='{xml.ROSTER}'/>", "gate.elsewhere.test", "x" * 32


@pytest.fixture
def pair(start):
    """Both servers; the first one has a second domain, and a component of its own."""
    one = start("alice", "carol", domains=[ONE, TWO], names=[f"pubsub.{ONE}", GATE], component=True)
    other = start("bob", "dave", domains=[OTHER], names=[f"pubsub.{OTHER}"])
    for server, there, domains in (one, other, [OTHER]), (other, one, [ONE, TWO, GATE]):
        for domain in domains:
            across.route(server, domain, there.s2s_port)
    return one, other


@pytest.fixture
def foreign(node, authority):
    """A function that connects another server and proves its domain to ours; refused: it is told
    that it may not."""
    def connect(domain=EVIL, local=ONE, refused=False):
        peer = Peer(node, domain, local, authority.issue(f"{domain}-{local}", domain))
        if not refused:
            return peer.join()
        peer.header().expect_stream_error("policy-violation")
        return peer
    return connect


def comes(connect):
    """Whether its stream is taken."""
    try:
        return connect().features is not None
    except Gone:
        return False


def text_of(error):
    return "".join(error.itertext())


def put(server, file, *patterns):
    """On the list of federation.blocklist."""
    before = server.log().count("event=federation.blocklist ")
    file.write_text("\n".join(patterns))
    if not before:
        server.ctl("set", "federation.blocklist", str(file))
    until("it is read", lambda: server.log().count("event=federation.blocklist ") > before)


# --- domains ---


@pytest.mark.parametrize("at", ["", f"@{ONE}"])
@pytest.mark.parametrize("policy, domains, may", [
    ("off", "", False), ("open", "", True), ("allow", EVIL, True), ("allow", OTHER, False),
    ("deny", "*.test", False), ("deny", OTHER, True)])
def test_the_policy_says_who_comes_in_and_is_reached(node, foreign, policy, domains, may, at):
    """Of one domain of ours, or of all; a change ends streams."""
    peer, alice = foreign(), node.client("alice")
    node.ctl("set", f"s2s.domains{at}", domains or "--default")
    node.ctl("set", f"s2s.policy{at}", policy)
    if may:
        foreign()
        say(alice, 0, to=X)
        node.wait_log(f"event=s2s.failed domain={EVIL}")
    else:
        peer.expect_stream_error("reset")
        foreign(refused=True)
        condition = "remote-server-not-found" if policy == "off" else "not-allowed"
        assert alice.error("get", VERSION, to=EVIL)[0] == condition
        say(alice, 0, to=X)
        bounced(alice, condition, "m0")
        if policy != "off":
            alice.send(f"<presence to='{X}' type='subscribe' id='q'/>")
            bounced(alice, condition, "q", "presence")


@pytest.mark.parametrize("domain", [f"conference.{ONE}", f"chat.sub.{ONE}", "chat.elsewhere.test",
                                    "echo.elsewhere.test"])
def test_other_servers_reach_the_services_that_are_named(node, foreign, domain):
    """By the first word of their own domain: aliases of group chat, and components, also those that
    are below no domain of ours."""
    word = domain.partition(".")[0]
    if word == "chat":
        node.ctl("room-alias", "add", domain)
    elif word == "echo":
        node.ctl("component", "add", domain, "--secret", SECRET)
    node.ctl("set", "federation.services", "pubsub")
    foreign(local=domain, refused=True)
    node.ctl("set", "federation.services", f"pubsub {word}")
    peer = foreign(local=domain)
    node.ctl("set", "federation.services", "pubsub")
    peer.expect_stream_error("reset")


def test_a_component_with_its_own_domain_follows_the_policy(pair):
    one, other = pair
    one.ctl("component", "add", GATE, "--secret", SECRET)
    gate, bob = Component(one, GATE, SECRET), other.client("bob")
    for n, rule in enumerate((None, ("set", "s2s.policy", "allow"), ("set", "s2s.policy", "open"),
                              ("federation", "block", OTHER), ("federation", "allow", OTHER))):
        if rule:
            one.ctl(*rule)
        gate.send(message(f"x@{GATE}", bob, n))
        if n % 2:
            bounced(gate, "not-allowed", f"m{n}")
        else:
            bob.expect(f"<message from='x@{GATE}' id='m{n}'/>")


# --- users ---


def test_a_user_without_federation_neither_sends_nor_is_there(pair):
    one, other = pair
    alice, bob = one.client("alice"), other.client("bob")
    one.ctl("federation", "set", ALICE, "off")
    say(alice, 0, to=BOB)
    assert "may not communicate" in text_of(bounced(alice, "not-allowed", "m0"))
    alice.error("get", PING, to=OTHER)
    alice.send(f"<presence to='{BOB}' type='subscribe' id='s'/>")
    bounced(alice, "not-allowed", "s", "presence")
    assert not [i for i in alice.result("get", ROSTER) if i.get("jid") == BOB]
    bob.result("get", ROSTER)  # who has it is told of answers
    answers = []
    for name in "alice", "nobody":  # nothing tells which of them has an account
        to, found = f"{name}@{ONE}", []
        say(bob, name, to=to)
        found.append(bob.expect(f"<message from='{to}' type='error'/>"))
        found.append(bob.error("get", "<query xmlns='jabber:iq:last'/>", to=to))
        found.append(bob.error("get", "<vCard xmlns='vcard-temp'/>", to=to))
        found.append(bob.error("get", VERSION, to=f"{to}/r"))
        bob.send(f"<presence to='{to}' type='subscribe'/>")
        say(bob, f"behind{name}", to=to)
        found.append(bob.expect(f"<message type='error' id='mbehind{name}'/>"))
        bob.expect_nothing(f"<presence from='{to}'/>")
        answers.append([e if isinstance(e, tuple) else
                        (e.get("type"), [c.tag for c in e.iter()], text_of(e)) for e in found])
    assert answers[0] == answers[1]
    alice.expect_nothing("<message type='chat'/>")
    one.ctl("federation", "set", ALICE, "default")
    say(bob, 1, to=ALICE)
    hear(alice, 1)


def rules_of(server, jid=ALICE):
    return {row["what"]: row["mode"] for row in server.rows("federation", "show", jid)}


def test_the_closest_rule_applies(pair):
    """Before groups, by name, the department, before that the user; and the rule of a group holds
    for its name, whoever comes and goes."""
    one, other = pair
    alice, bob = one.client("alice"), other.client("bob")
    said = iter(range(100))

    def may(here, there=None):
        n, there = next(said), here if there is None else there
        say(alice, n, to=bob)
        say(bob, f"b{n}", to=alice.bare)
        bob.expect(f"<message id='m{n}'/>") if here else bounced(alice, "not-allowed", f"m{n}")
        if there:
            alice.expect(f"<message id='mb{n}'/>")
        else:  # she seems not to exist
            bounced(bob, "service-unavailable", f"mb{n}")
        return rules_of(one)["applies"]
    assert rules_of(one) == {"user": "default", "department": "default", "applies": "on"}
    one.ctl("set", f"federation.users@{ONE}", "off")
    assert may(False) == "off"
    one.ctl("user", "set", ALICE, "--department", "Sales")
    one.ctl("s2s-group", "set", "Sales", "on")
    until("the department has its rule", lambda: rules_of(one)["applies"] == "on")
    may(True)
    for mode, domains, right in (("except", f"{EVIL} *.{OTHER}", True), ("except", OTHER, False),
                                 ("only", f"{EVIL} *.{OTHER}", False), ("only", OTHER, True)):
        one.ctl("federation", "set", ALICE, mode, "--domains", domains)
        assert may(right) == mode
    one.restart()
    alice = one.client("alice")
    assert may(True) == "only"
    one.ctl("federation", "set", ALICE, "default")
    one.ctl("s2s-group", "del", "Sales")
    one.ctl("set", f"federation.users@{ONE}", "on")
    for name, mode in ("b", "off"), ("c", "on"), ("a", "default"):
        one.ctl("group", "add", name)
        one.ctl("s2s-group", "set", f"group:{name}", mode)
    for way in (ALICE,), ("--domain", ONE), ("--rule", "department=Sales"):
        for name in "abc":
            one.ctl("group-member", "add", name, *way)
        assert may(False) == rules_of(one)["group:b"] == "off"
        one.ctl("group", "del", "b")
        assert may(True) == "on"
        for name in "ac":
            one.ctl("group-member", "del", name, *way)
        one.ctl("group", "add", "b")
    assert [row["who"] for row in one.rows("s2s-group", "list")] == ["group:a", "group:b",
                                                                    "group:c"]


# --- contacts, rooms and requests when rules change ---


def befriended(pair, at=ONE):
    """alice and bob as contacts, and in a room of that domain, which is of one of them."""
    one, other = pair
    alice, bob = one.client("alice"), other.client("bob")
    across.befriend(alice, bob)
    owner, other_one = (alice, bob) if at == ONE else (bob, alice)
    room = Room("room", at)
    room.create(owner, owner.name)
    room.enter(other_one, other_one.name)
    room.presence(owner, other_one.name)
    for client in alice, bob:
        client.drain()
    return alice, bob, room


SHUTS = {
    "policy": ([("set", "s2s.policy", "off")], [("set", "s2s.policy", "open")]),
    "domains": ([("set", "s2s.domains", EVIL), ("set", "s2s.policy", "allow")],
                [("set", "s2s.domains", f"{EVIL} {OTHER} *.{OTHER}")]),
    "of the domain": ([("set", f"s2s.policy@{ONE}", "off")],
                      [("set", f"s2s.policy@{ONE}", "open")]),
    "route": ([("s2s-route", "add", pattern, "192.0.2.1:1", "--blocked", "on")
               for pattern in (OTHER, f"*.{OTHER}")],
              [("s2s-route", "del", pattern, "192.0.2.1:1") for pattern in (OTHER, f"*.{OTHER}")]),
    "block": ([("federation", "block", d) for d in (OTHER, f"*.{OTHER}")],
              [("federation", "allow", d) for d in (OTHER, f"*.{OTHER}")]),
    "user": ([("federation", "set", ALICE, "off")], [("federation", "set", ALICE, "on")]),
    "group": ([("group", "add", "g"), ("group-member", "add", "g", ALICE),
               ("s2s-group", "set", "group:g", "except", "--domains", f"{OTHER} *.{OTHER}")],
              [("group-member", "del", "g", ALICE)]),
    "list": ([], []),
}


@pytest.mark.parametrize("at", [ONE, OTHER], ids=["here", "there"])
@pytest.mark.parametrize("how", SHUTS)
def test_who_is_shut_out_goes_and_is_seen_again(pair, tmp_path, how, at):
    """Contacts and occupants, of either side; but a domain that is shut out is not told. A request
    to an occupant is answered (RFC 6120 §8.2.3)."""
    one, _ = pair
    alice, bob, room = befriended(pair, at)
    if at == ONE:
        alice.send(f"<iq type='get' id='ask' to='{room.jid}/bob'>{VERSION}</iq>")
        bob.expect(f"<iq type='get' from='{room.jid}/alice'/>")
    shut, opened = SHUTS[how]
    for command in shut:
        one.ctl(*command)
    if how == "list":
        put(one, tmp_path / "list", f"bo*@{OTHER}", *([] if at == ONE else [room.jid]))
    alice.expect(lambda e: e.get("type") == "unavailable"
                 and e.get("from").partition("/")[0] == BOB)
    mine = how in ("user", "group")  # rules of alice, who may stay in her own room
    if mine or how == "list":
        bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    if at == OTHER and mine:
        bob.expect(f"<presence from='{room.jid}/alice' type='unavailable'/>")
    elif at == ONE and not mine:
        for client in (alice, bob) if how == "list" else (alice,):
            client.expect(f"<presence from='{room.jid}/bob' type='unavailable'/>")
        bounced(alice, "recipient-unavailable", "ask", "iq")
    bob.send("<presence><status>changed</status></presence>")
    alice.send("<presence><status>news</status></presence>")
    alice.expect_nothing(f"<presence from='{bob}'/>")
    for command in opened:
        one.ctl(*command)
    if how == "list":
        put(one, tmp_path / "list", "nobody.test")
    assert "changed" in text_of(alice.expect(f"<presence from='{bob}' type='-'/>"))
    bob.expect(lambda e: e.get("from") == str(alice) and "news" in text_of(e))
    alice.expect_nothing("<iq type='error' id='ask'/>")


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("how", ["policy", "route", "block", "user", "group", "list"])
def test_requests_to_see_a_contact_while_a_rule_forbids_it(pair, tmp_path, how, waits):
    """One that waits ends, and its user may ask again. One that was granted meanwhile is repeated
    when the rule ends (RFC 6121 §3.1.3): both contact lists agree."""
    one, other = pair
    alice, bob = one.client("alice"), other.client("bob")
    for client in alice, bob:
        across.roster_of(client)

    def rule(commands, *patterns):
        for command in commands:
            one.ctl(*command)
        if how == "list":
            put(one, tmp_path / "list", *patterns)
    if waits:
        rule(SHUTS[how][0], BOB)
        alice.send(f"<presence to='{BOB}' type='subscribe'/>")
        alice.expect(f"<presence from='{BOB}' type='error'/>")
        until("the request has ended",
              lambda: across.roster_of(alice).get(BOB) in (None, ("none", None)))
        rule(SHUTS[how][1], "nobody.test")
    alice.send(f"<presence to='{BOB}' type='subscribe'/>")
    bob.expect(f"<presence from='{ALICE}' type='subscribe'/>")
    if not waits:
        rule(SHUTS[how][0], BOB)
    bob.send(f"<presence to='{ALICE}' type='subscribed'/>")
    bob.expect(f"<iq type='set'><query xmlns='{xml.ROSTER}'><item jid='{ALICE}' "
               "subscription='from'/></query></iq>")
    if not waits:
        bob.ping()
        assert across.roster_of(alice)[BOB] == ("none", "subscribe")
        rule(SHUTS[how][1], "nobody.test")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    assert across.roster_of(alice)[BOB] == ("to", None)
    assert across.roster_of(bob)[ALICE] == ("from", None)


@pytest.mark.parametrize("how", ["policy", "of the domain", "block", "user", "list"])
def test_a_request_that_is_under_way_is_answered_when_a_rule_forbids_it(node, listener, foreign,
                                                                        tmp_path, how):
    """RFC 6120 §8.2.3: once, as nobody else can: the last 64 of a session. An answer that comes too
    late is dropped."""
    alice, far = node.client("alice"), foreign()
    for n in range(70):
        alice.send(f"<iq type='get' to='{X}' id='q{n}'>{VERSION}</iq>")
    peer = listener.join(SM)
    heard = listener.read_until(peer, "(?s)<enable .*'q69'.*</iq>").string
    peer.sendall(f"{ENABLED}<a xmlns='{xml.SM}' h='{heard.count('</iq>')}'/>".encode())
    until("they are confirmed", lambda: "0 stanzas" in [
        row["value"] for row in node.rows("s2s", "show", EVIL) if row["name"] == "unacknowledged"])
    far.raw(f"<iq type='result' id='q69' from='{X}' to='{alice}'/>")
    alice.expect("<iq type='result' id='q69'/>")
    if how == "list":
        put(node, tmp_path / "list", X)
    else:
        node.ctl(*[word.replace(OTHER, EVIL) for word in SHUTS[how][0][0]])
    for n in range(6, 69):
        bounced(alice, "policy-violation" if how == "list" else "not-allowed", f"q{n}", "iq")
    if how == "user":
        node.ctl("federation", "set", ALICE, "on")
        far.raw(f"<iq type='result' id='q68' from='{X}' to='{alice}'/>" + message(X, ALICE, 0))
        alice.expect("<message id='m0'/>")
    alice.expect_nothing("<iq type='error'/>")
    alice.expect_nothing(f"<iq from='{X}'/>")
    peer.close()


# --- rates ---


def test_subscription_requests_and_strangers_of_a_domain_are_limited(node, foreign):
    """Acquaintances are not, nor whom a user has written first."""
    node.ctl("set", "federation.subscription-rate", "3")
    node.ctl("set", "federation.stranger-rate", "2")
    far, near, alice = foreign(), foreign("near.test"), node.client("alice")
    alice.result("get", ROSTER)
    for n in range(4):
        far.raw(f"<presence from='u{n}@{EVIL}' to='{ALICE}' type='subscribe' id='s{n}'/>")
    for n in range(3):
        alice.expect(f"<presence from='u{n}@{EVIL}' type='subscribe'/>")
    near.raw(f"<presence from='u@near.test' to='{ALICE}' type='subscribe'/>")
    alice.expect("<presence from='u@near.test' type='subscribe'/>")
    for n in range(2):
        far.raw(message(f"u{n}@{EVIL}", ALICE, n))
        alice.expect(f"<message id='m{n}'/>")
    far.raw(message(f"u2@{EVIL}", ALICE, "no") + message(f"u3@{EVIL}", f"nobody@{ONE}", "none")
            + message(f"u0@{EVIL}", ALICE, "again"))
    near.raw(message("x@near.test", ALICE, "near"))
    for ident in "magain", "mnear":
        alice.expect(f"<message id='{ident}'/>")
    alice.expect_nothing("<message id='mno'/>")
    alice.expect_nothing(f"<presence from='u3@{EVIL}'/>")
    until("both are refused", lambda: metric(node, "federation_refused", "why=strangers") == 2)
    say(alice, "question", to=f"u4@{EVIL}")
    alice.ping()
    far.raw(message(f"u4@{EVIL}", ALICE, "answer"))
    alice.expect("<message id='manswer'/>")


def test_too_many_stanzas_of_a_domain_are_read_slowly_and_not_lost(node, foreign):
    node.ctl("set", "federation.stanza-rate", "10")
    far, alice = foreign(), node.client("alice")
    for n in range(25):
        far.raw(message(X, ALICE, n))
    for n in range(25):
        alice.expect(f"<message id='m{n}'/>")
    node.wait_log(f"event=s2s.held domain={EVIL} .*federation.stanza-rate")
    assert metric(node, "s2s_held") > 0
    assert "federation.stanza-rate" in str(node.rows("s2s", "show", EVIL))


# --- blocked ---


def report(client, jid):
    client.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{jid}'>"
                  "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'/>"
                  "</item></block>")


def test_reports_of_several_users_block_a_domain_until_it_is_decided(node, foreign):
    far, users = foreign(), []
    for name in "alice", "carol", "dave":
        if name != "alice":
            node.add_user(name, domain=ONE)
        users.append(node.client(name, domain=ONE))
    alice, carol, dave = users

    def alarmed():
        return [row for row in node.rows("alarm", "list")
                if row["active"] and row["name"] == "federation.reported"]
    node.ctl("set", "federation.reports-to-block", "2")
    for n in range(3):  # one user alone blocks nothing
        report(alice, f"u{n}@{EVIL}")
    until("reports are counted", lambda: [(row["domain"], row["users"]) for row in node.rows(
        "federation", "reports")] == [(EVIL, 1)])
    assert not node.rows("federation", "list")
    far.raw(message(X, dave.bare, "1"))
    dave.expect("<message id='m1'/>")
    report(carol, X)
    far.expect_stream_error("reset")
    row, = node.rows("federation", "list")
    assert (row["state"], row["reports"]) == ("reported", 2)
    until("the alarm", alarmed)
    node.ctl("federation", "allow", EVIL)
    until("the alarm ends", lambda: not alarmed())
    report(dave, f"y@{EVIL}")  # one since then
    assert not node.rows("federation", "list")
    until("streams come again", lambda: comes(foreign))


def active(node, name):
    return [row for row in node.rows("alarm", "list") if row["name"] == name and row["active"]]


def test_a_blocklist_file(node, foreign, tmp_path):
    """It is read again when it changes; a fault is told, and what was read before applies; one that
    cannot be read at the start applies later, and from the next start on."""
    file = tmp_path / "list"
    node.ctl("set", "federation.blocklist", str(file))
    node.restart()
    assert active(node, "federation.blocklist-unread")
    far, near, alice = foreign(), foreign("near.test"), node.client("alice")
    file.write_text(f"# spam\n\n{EVIL}  # this one\n*.spam.test\nbob@near.test\nwin*@near.test\n")
    far.expect_stream_error("reset")
    assert not active(node, "federation.blocklist-unread")
    near.raw(f"<iq type='get' id='q' from='bob@near.test/r' to='{ONE}'>{PING}</iq>")
    for name, blocked in (("bob", True), ("winner", True), ("bobby", False)):
        near.raw(message(f"{name}@near.test", ALICE, name))
        say(alice, name, to=f"{name}@near.test")
        if blocked:
            bounced(alice, "policy-violation", f"m{name}")
        else:
            alice.expect(f"<message from='{name}@near.test' type='chat'/>")
    alice.expect_nothing("<message type='chat'/>")
    file.write_text("good.test\nnot a domain\n")
    until("the fault is told", lambda: "line 2" in str(active(node, "federation.blocklist")))
    foreign(refused=True)
    file.write_text(f"{EVIL}\n")
    until("it is read", lambda: not active(node, "federation.blocklist"))
    node.restart()
    foreign(refused=True)
    foreign("near.test")


def test_an_administrator_blocks_a_domain_and_allows_it(node, foreign):
    far, early = foreign(), foreign("near.test")
    unproved = Peer(node, EVIL, ONE).secure()
    node.ctl("federation", "block", EVIL)
    far.expect_stream_error("reset")
    unproved.expect_stream_error("policy-violation")
    row, = node.rows("federation", "list")
    assert (row["domain"], row["state"]) == (EVIL, "blocked")
    early.raw(END)
    node.restart()  # what applied is known before the first stream
    foreign(refused=True)
    alice = node.client("alice")
    say(alice, 0, to=X)
    bounced(alice, "policy-violation", "m0")
    for kind in "", "type='subscribe'", "type='probe'":
        alice.send(f"<presence to='{X}' {kind} id='p'/>")
        bounced(alice, "policy-violation", "p", "presence")
    node.ctl("federation", "allow", EVIL)
    until("streams come again", lambda: comes(foreign))
    for command in "block", "allow":
        assert "of this server" in refusal(node, "federation", command, ONE)
    assert "not in the list" in refusal(node, "federation", "allow", EVIL)
    assert "a domain" in refusal(node, "federation", "block", "a b")
    node.ctl("federation", "block", "*.Spam.test")
    foreign("mx.spam.test", refused=True)
    node.ctl("federation", "allow", "*.spam.test")
    assert not node.rows("federation", "list")
