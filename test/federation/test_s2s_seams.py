"""Two features at once, between two servers of ours: where one hands over to the other."""
import pytest

from harness import across, federation, pubsub, xml
from harness.across import ONE, OTHER
from harness.client import until
from harness.component import Component
from harness.muc import Room

from services.test_privilege import SECRET, archived, inner, say as say_for
from services.test_push import enable
from federation.test_s2s_across import CARBONS, NODES, RECEIPTS, wants

FAR = "far.test"
GATEWAY = "gateway.elsewhere.test"


@pytest.fixture
def servers(make_server, tmp_path):
    return across.start(make_server, tmp_path)


@pytest.fixture
def users(servers):
    one, other = servers
    return one.client("alice", "a"), other.client("bob", "b")


@pytest.fixture
def gated(make_server, tmp_path):
    """The first server has a component with a domain of its own, which the other one knows."""
    authority = federation.Authority(tmp_path)
    servers = []
    for user, domain, more in ("alice", ONE, [GATEWAY]), ("bob", OTHER, []):
        tls = {**authority.issue(domain, domain, *more), "trust": str(authority.file)}
        servers.append(make_server(user, domains=[domain], s2s=True, component=not not more,
                                   tls=tls))
        servers[-1].ctl("set", "s2s.policy", "open")
    one, other = servers
    federation.route(one, OTHER, other.s2s_port)
    for domain in ONE, GATEWAY:
        federation.route(other, domain, one.s2s_port)
    one.ctl("component", "add", GATEWAY, "--secret", SECRET)
    return one, other, Component(one, GATEWAY, SECRET)


def chat(client, to, ident, sender=""):
    sender = sender and f"from='{sender}' "
    client.send(f"<message {sender}to='{to}' type='chat' id='{ident}'><body>{ident}</body>"
                "</message>")


def refused(client, ident, condition):
    assert xml.condition(client.expect(f"<message type='error' id='{ident}'/>")) == condition


def test_a_component_with_its_own_domain_follows_the_policy(gated):
    one, other, gateway = gated
    other.ctl("set", "s2s.retry-for", "0s")
    bob = other.client("bob", "b")

    def passes(ident):
        chat(gateway, bob, ident, f"x@{GATEWAY}")
        bob.expect(f"<message from='x@{GATEWAY}' id='{ident}'/>")
        chat(bob, f"x@{GATEWAY}", f"back-{ident}")
        gateway.expect(f"<message from='{bob}' id='back-{ident}'/>")

    passes("open")
    for n, (shut, condition, opened) in enumerate((
            (("set", "s2s.policy", "allow"), "not-allowed", ("set", "s2s.policy", "open")),
            (("federation", "block", OTHER), "not-allowed", ("federation", "allow", OTHER)),
            (("s2s-route", "set", OTHER, f"127.0.0.1:{other.s2s_port}", "--blocked", "on"),
             "not-allowed",
             ("s2s-route", "set", OTHER, f"127.0.0.1:{other.s2s_port}", "--blocked", "off")))):
        one.ctl(*shut)
        chat(gateway, bob, f"shut-{n}", f"x@{GATEWAY}")
        refused(gateway, f"shut-{n}", condition)
        bob.send(f"<message to='x@{GATEWAY}' type='headline' id='in-{n}'><body>x</body></message>")
        bob.expect(f"<message type='error' id='in-{n}'/>")
        one.ctl(*opened)
        other.ctl_run("s2s", "retry", GATEWAY)
        passes(f"open-{n}")
    assert not [e for e in gateway.inbox if (e.get("id") or "").startswith("in-")]
    bob.expect_nothing("<message type='chat'/>")


def test_what_a_component_says_for_a_user_follows_the_rule_of_the_user(make_server, tmp_path):
    one, other = across.start(make_server, tmp_path, component=True)
    one.ctl("component", "add", GATEWAY, "--secret", SECRET)
    one.ctl("set", f"component.privileges@{ONE}", f"{GATEWAY} message=outgoing")
    gateway = Component(one, GATEWAY, SECRET)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    say_for(gateway, inner(alice.bare, bob.bare, "<body>allowed</body>"), ONE)
    bob.expect(f"<message from='{alice.bare}'><body>allowed</body></message>")
    one.ctl("federation", "set", alice.bare, "off")
    say_for(gateway, inner(alice.bare, bob.bare, "<body>forbidden</body>"), ONE)
    error = gateway.expect("<message type='error' id='out'/>")
    assert "may not write" in "".join(error.itertext())
    one.ctl("federation", "set", alice.bare, "on")
    across.mark(alice, bob)
    assert not [e for e in bob.inbox if "forbidden" in xml.canonical(e)]
    assert archived(bob) == ["allowed"]


def test_a_catch_all_route_carries_what_the_policy_allows(make_server, tmp_path):
    """No domain has an entry; one on no allow list is refused, and nothing is connected to."""
    one, other = across.start(make_server, tmp_path)
    for pattern in OTHER, f"*.{OTHER}":
        one.ctl("s2s-route", "del", pattern, f"127.0.0.1:{other.s2s_port}")
    federation.route(one, "*", other.s2s_port)
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    chat(alice, bob, "by-the-catch-all")
    bob.expect(f"<message from='{alice}' id='by-the-catch-all'/>")
    one.ctl("federation", "block", FAR)
    chat(alice, f"x@{FAR}", "blocked")
    refused(alice, "blocked", "policy-violation")
    assert not [row for row in one.rows("s2s", "list", FAR)]


def test_a_command_is_done_when_its_rule_applies(servers, users):
    """What is sent right behind the answer of the command is judged by the new rule."""
    one, other = servers
    alice, bob = users
    one.ctl("user", "set", alice.bare, "--department", "Sales")
    rules = {"policy-violation": (("federation", "block", OTHER), ("federation", "allow", OTHER)),
             "not-allowed": (("s2s-group", "set", "Sales", "off"), ("s2s-group", "del", "Sales"))}
    for condition, (shut, opened) in rules.items():
        for n in range(15):
            one.ctl(*shut)
            chat(alice, bob, f"shut-{condition}-{n}")
            refused(alice, f"shut-{condition}-{n}", condition)
            one.ctl(*opened)
            chat(alice, bob, f"open-{condition}-{n}")
            bob.expect(f"<message from='{alice}' id='open-{condition}-{n}'/>")
    assert not [e for e in bob.inbox if (e.get("id") or "").startswith("shut")]


def test_a_list_that_is_read_again_empties_rooms_and_contact_lists(servers, users, tmp_path):
    one, other = servers
    alice, bob = users
    dave = other.client("dave", "d")
    across.befriend(alice, bob)
    room = Room("room", ONE)
    room.create(alice, "alice", persistentroom=True)
    for guest in bob, dave:
        room.enter(guest, guest.name)
        room.presence(alice, guest.name)
    listed = tmp_path / "blocklist"
    listed.write_text("nobody.test\n")
    one.ctl("set", "federation.blocklist", str(listed))
    room.say(bob, "before")
    room.expect_body(alice, "bob", "before")
    listed.write_text(f"{OTHER}\n")
    for nick in "bob", "dave":
        alice.expect(f"<presence from='{room.at(nick)}' type='unavailable'/>")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    listed.write_text("nobody.test\n")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    room.enter(bob, "again")
    room.say(bob, "after")
    room.expect_body(alice, "again", "after")


def test_one_listed_address_leaves_a_room_and_others_stay(servers, users, tmp_path):
    one, other = servers
    alice, bob = users
    dave = other.client("dave", "d")
    room = Room("room", ONE)
    room.create(alice, "alice", persistentroom=True)
    for guest in bob, dave:
        room.enter(guest, guest.name)
        room.presence(alice, guest.name)
    listed = tmp_path / "blocklist"
    listed.write_text(f"{bob.bare}\n")
    one.ctl("set", "federation.blocklist", str(listed))
    until("the list is read", lambda: bounces(alice, bob))
    room.say(bob, "spam")
    room.say(dave, "still here")
    room.expect_body(alice, "dave", "still here")
    assert not [e for e in alice.inbox if "spam" in xml.canonical(e)]


def test_one_listed_address_goes_and_is_seen_again(servers, users, tmp_path):
    """Also where its domain was listed in between."""
    one, _ = servers
    alice, bob = users
    across.befriend(alice, bob)
    listed = tmp_path / "blocklist"
    listed.write_text(f"{bob.bare}\n")
    one.ctl("set", "federation.blocklist", str(listed))
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    for between in f"{OTHER}\n", f"{bob.bare}\n":
        before = one.log().count("event=federation.blocklist")
        listed.write_text(between)
        until("it is read", lambda n=before: one.log().count("event=federation.blocklist") > n)
    listed.write_text("nobody.test\n")
    alice.expect(f"<presence from='{bob}' type='-'/>")


def test_a_listed_address_that_enters_a_room_is_answered(servers, users, tmp_path):
    one, _ = servers
    alice, bob = users
    room = Room("room", ONE)
    room.create(alice, "alice", persistentroom=True)
    listed = tmp_path / "blocklist"
    listed.write_text(f"{bob.bare}\n")
    one.ctl("set", "federation.blocklist", str(listed))
    until("the list is read", lambda: "event=federation.blocklist" in one.log())
    bob.send(f"<presence to='{room.at('bob')}'><x xmlns='http://jabber.org/protocol/muc'/>"
             "</presence>")
    error = bob.expect(f"<presence from='{room.at('bob')}' type='error'/>")
    assert "policy-violation" in xml.canonical(error)


def bounces(client, other):
    client.send(f"<message to='{other}' type='chat' id='try'><body>try</body></message>")
    client.ping()
    found = [e for e in client.inbox if e.get("id") == "try" and e.get("type") == "error"]
    client.inbox = [e for e in client.inbox if e.get("id") != "try"]
    return found


def test_receipts_of_foreign_contacts_are_copied(servers, users):
    alice, bob = users
    second = servers[0].client("alice", "second")
    second.result("set", f"<enable xmlns='{CARBONS}'/>")
    alice.send(f"<message to='{bob}' type='chat' id='m'><body>m</body>"
               f"<request xmlns='{RECEIPTS}'/></message>")
    bob.expect(f"<message from='{alice}' id='m'><request xmlns='{RECEIPTS}'/></message>")
    second.expect(f"<message><sent xmlns='{CARBONS}'/></message>")
    bob.send(f"<message to='{alice}' type='chat'><received xmlns='{RECEIPTS}' id='m'/></message>")
    alice.expect(f"<message from='{bob}'><received xmlns='{RECEIPTS}' id='m'/></message>")
    copy = second.expect(f"<message><received xmlns='{CARBONS}'/></message>")
    receipt, = copy.iter(f"{{{RECEIPTS}}}received")
    assert receipt.get("id") == "m"


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_contacts_hear_of_nodes_after_a_restart(servers, users, how):
    """What bob's client can do was in memory only."""
    one, _ = servers
    alice, bob = users
    node = "http://jabber.org/protocol/nick"
    across.befriend(alice, bob)
    wants(bob, node)
    alice.expect(f"<presence from='{bob}'><c xmlns='http://jabber.org/protocol/caps'/></presence>")
    one.restart() if how == "stop" else (one.kill(), one.start())
    again = one.client("alice", "a2")
    payload = "<nick xmlns='http://jabber.org/protocol/nick'>Ahab</nick>"

    def told():
        again.result("set", pubsub.publish(node, payload, "current"))
        bob.ping()
        asked = bob._take(lambda e: e.tag.endswith("}iq") and e.get("type") == "get"
                          and "disco#info" in xml.canonical(e))
        if asked is not None:
            features = [xml.DISCO_INFO, node + "+notify", f"urn:x:{bob.jid}"]
            bob.send(f"<iq type='result' to='{asked.get('from')}' id='{asked.get('id')}'>"
                     f"{pubsub.disco_answer(features, asked[0].get('node'))}</iq>")
        return [e for e in bob.inbox if "Ahab" in xml.canonical(e)
                and e.get("from") == again.bare]

    until("a notification", told)


def test_a_push_service_that_is_away_loses_no_stored_message(servers):
    """XEP-0357: the message is in the mailbox, and its sender hears nothing of the service."""
    one, other = servers
    alice, carol = one.client("alice", "phone"), one.client("carol")
    other.stop()
    enable(alice, jid=f"push.{OTHER}")
    alice.close()
    for n in range(3):
        chat(carol, f"alice@{ONE}", f"stored-{n}")
    carol.ping()
    again = one.client("alice", "desk")
    for n in range(3):
        again.expect_next(f"<message id='stored-{n}'/>") if n else again.expect(
            "<message id='stored-0'/>")
    again.expect_nothing("<message/>")
    carol.expect_nothing("<message type='error'/>")


def test_who_blocks_a_foreign_occupant_archives_nothing_of_it(servers, users):
    alice, bob = users
    room = Room("room", OTHER)
    room.create(bob, "bob", persistentroom=True)
    room.enter(alice, "alice")
    room.presence(bob, "alice")
    alice.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{room.at('bob')}'/></block>")
    room.whisper(bob, "alice", "unheard")
    room.message_error(bob)
    room.say(bob, "unheard by all")
    room.expect_body(bob, "bob", "unheard by all")
    room.say(alice, "mine")
    room.expect_body(alice, "alice", "mine")
    assert not [e for e in alice.inbox if "unheard" in xml.canonical(e)]
    assert not [t for t in archived(alice) if "unheard" in t]


def test_a_mail_address_in_what_a_component_says(make_server, tmp_path):
    one, other = across.start(make_server, tmp_path, component=True)
    one.ctl("set", "federation.mail-address", "on")
    one.ctl("user", "set", f"alice@{ONE}", "--email", f"alice.smith@{ONE}")
    one.wait_log("mail-address.read used=1 shared=0")
    one.ctl("component", "add", GATEWAY, "--secret", SECRET)
    one.ctl("set", f"component.privileges@{ONE}", f"{GATEWAY} message=outgoing")
    gateway = Component(one, GATEWAY, SECRET)
    bob = other.client("bob", "b")
    say_for(gateway, inner(f"alice@{ONE}", bob.bare, "<body>hi</body>"), ONE)
    bob.expect(f"<message from='alice.smith@{ONE}'><body>hi</body></message>")


def test_strangers_are_counted_for_a_mail_address_as_for_the_account(make_server, tmp_path):
    one, other = across.start(make_server, tmp_path,
                              settings={"federation.stranger-rate": 1})
    one.ctl("set", "federation.mail-address", "on")
    one.ctl("user", "set", f"alice@{ONE}", "--email", f"alice.smith@{ONE}")
    one.wait_log("mail-address.read used=1 shared=0")
    alice = one.client("alice", "a")
    bob, dave = other.client("bob"), other.client("dave")
    chat(bob, f"alice.smith@{ONE}", "first")
    alice.expect(f"<message from='{bob}' id='first'/>")
    chat(bob, f"alice@{ONE}", "known")
    chat(dave, f"alice.smith@{ONE}", "stranger")
    dave.expect(f"<message type='error' id='stranger' from='alice.smith@{ONE}'/>")
    alice.expect(f"<message from='{bob}' id='known'/>")
    alice.expect_nothing(f"<message from='{dave}'/>")


def test_groups_in_rosters_are_of_this_server_alone(servers, users):
    """No foreign user is put into one or sees one; what a user granted abroad outlives it."""
    one, _ = servers
    alice, bob = users
    carol = one.client("carol", "c")
    across.roster_of(carol)
    across.befriend(alice, bob)
    one.ctl("group", "add", "sales", "--visible-to", f"domain:{ONE}")
    for words in (("group-member", "add", "sales", bob.bare),
                  ("group-member", "add", "sales", "--domain", OTHER),
                  ("group", "set", "sales", "--visible-to", f"domain:{OTHER}")):
        assert one.ctl_run(*words).returncode != 0
    one.ctl("group-member", "add", "sales", "--domain", ONE)
    alice.expect(f"<presence from='{carol}' type='-'/>")
    bob.send(f"<presence to='{carol.bare}' type='subscribe'/>")
    carol.expect(f"<presence from='{bob.bare}' type='subscribe'/>")
    bob.expect_nothing(f"<presence from='{carol}'/>")
    carol.send(f"<presence to='{bob.bare}' type='subscribed'/>")
    bob.expect(f"<presence from='{carol}' type='-'/>")
    one.ctl("federation", "block", OTHER)
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    carol.send("<presence><show>away</show></presence>")
    alice.expect(f"<presence from='{carol}'><show>away</show></presence>")
    one.ctl("federation", "allow", OTHER)
    alice.expect(f"<presence from='{bob}' type='-'/>")
    one.ctl("group", "del", "sales")
    alice.expect(f"<presence from='{carol}' type='unavailable'/>")
    carol.send("<presence><show>dnd</show></presence>")
    bob.expect(f"<presence from='{carol}'><show>dnd</show></presence>")
    assert across.roster_of(alice) == {bob.bare: ("both", None)}


@pytest.fixture
def friends(servers, users):
    """Friends over a link; the policy of the first server is no longer of its node file."""
    one, _ = servers
    across.befriend(*users)
    for name in "s2s.policy", "s2s.bidi":
        one.conf["settings"].pop(name, None)
    one.write()
    one.ctl("server", "reload")
    one.ctl("set", "s2s.policy", "open")
    return users


def test_contacts_abroad_go_while_nothing_is_shared_and_come_back(servers, friends):
    """As those of this server do: with the present state, and not with that of before."""
    one, other = servers
    alice, bob = friends
    phone = other.client("bob", "phone")
    alice.expect(f"<presence from='{phone}' type='-'/>")
    one.ctl("set", "presence.sharing", "off")
    alice.expect(f"<presence from='{bob.bare}' type='unavailable'/>")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    phone.close()
    bob.send("<presence><show>dnd</show></presence>")
    across.mark(bob, alice)
    one.ctl("set", "presence.sharing", "on")
    assert xml.matches(alice.expect("<presence type='-'/>"),
                       f"<presence from='{bob}'><show>dnd</show></presence>")
    bob.expect(f"<presence from='{alice}' type='-'/>")


@pytest.mark.parametrize("undo", ["rollback", "unconfirmed"])
def test_a_candidate_shuts_a_link_and_going_back_opens_it(servers, friends, undo):
    one, _ = servers
    alice, bob = friends
    for name in "s2s.policy", "s2s.bidi":
        one.ctl("config", "edit", name, "off")
    chat(alice, bob, "edited")
    bob.expect("<message id='edited'/>")
    one.ctl("config", "apply", *(("--confirm", "2s") if undo == "unconfirmed" else ()))
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    if undo == "rollback":
        chat(alice, bob, "shut")
        refused(alice, "shut", "remote-server-not-found")
        one.ctl("config", "rollback")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    for sender, receiver in (alice, bob), (bob, alice):
        chat(sender, receiver, "open")
        receiver.expect(f"<message from='{sender}' id='open'/>")


def test_a_candidate_of_tls_counts_for_the_next_link(servers, friends):
    """The link that is up stays, with its version."""
    one, _ = servers
    alice, bob = friends

    def versions():
        chat(alice, bob, "one")
        bob.expect("<message id='one'/>")
        chat(bob, alice, "two")
        alice.expect("<message id='two'/>")
        return {row["tls"] for row in one.rows("s2s", "list", OTHER) if row["state"] == "up"}
    assert versions() == {"TLSv1.3"}
    one.ctl("config", "edit", "tls.servers-max-version", "1.2")
    one.ctl("config", "apply")
    assert versions() == {"TLSv1.3"}
    one.ctl("s2s", "close", OTHER)
    until("the next link", lambda: versions() == {"TLSv1.2"})


def test_an_imported_contact_abroad_is_asked_for_what_it_grants(servers, users, tmp_path):
    """Its server knows nothing of the account: the contact is asked, and is granted at once."""
    one, _ = servers
    _, bob = users
    export = tmp_path / "export.xml"
    export.write_text(
        f"<server-data xmlns='urn:xmpp:pie:0'><host jid='{ONE}'><user name='zoe' password='pw'>"
        f"<query xmlns='{xml.ROSTER}'><item jid='{bob.bare}' subscription='both'/></query>"
        "</user></host></server-data>")
    one.bring("xep0227", str(export))
    across.roster_of(bob)
    zoe = one.client("zoe", "z", password="pw")
    until("it does not see the contact", lambda: across.roster_of(zoe) == {
        bob.bare: ("from", None)})
    bob.send(f"<presence to='{zoe.bare}' type='subscribe'/>")
    bob.expect(f"<presence from='{zoe.bare}' type='subscribed'/>")
    bob.expect(f"<presence from='{zoe}' type='-'/>")


@pytest.mark.parametrize("first", ["alice", "bob"])
def test_a_contact_that_may_see_us_later_hears_of_our_nodes(servers, users, first):
    """Whoever of the two has added the other first, at the approval and afterwards."""
    alice, bob = users
    node, features = NODES["nick"][0], [xml.DISCO_INFO, NODES["nick"][0] + "+notify"]
    alice.result("set", pubsub.publish(node, NODES["nick"][1], "current"))
    bob.send(f"<presence>{pubsub.caps(features)}</presence>")

    def answer():
        alice.pump(0.01)
        asked = bob._take(lambda e: e.tag.endswith("}iq") and e.get("type") == "get"
                          and "disco#info" in xml.canonical(e))
        if asked is not None:
            bob.send(f"<iq type='result' to='{asked.get('from')}' id='{asked.get('id')}'>"
                     f"{pubsub.disco_answer(features, asked[0].get('node'))}</iq>")

    def told(text):
        def look():
            bob.ping()
            answer()
            return [e for e in bob.inbox if text in xml.canonical(e)
                    and e.get("from") == alice.bare]
        return look

    one, other = (alice, bob) if first == "alice" else (bob, alice)
    for asks, grants in (one, other), (other, one):
        asks.send(f"<presence type='subscribe' to='{grants.bare}'/>")
        if asks is one:  # the way back is granted without asking
            grants.expect(f"<presence type='subscribe' from='{asks.bare}'/>")
            grants.send(f"<presence type='subscribed' to='{asks.bare}'/>")
        asks.expect(f"<presence from='{grants}'/>")
        for _ in range(3):
            bob.ping()
            alice.ping()
            answer()
    until("the last item", told("Ishmael"))
    alice.result("set", pubsub.publish(node, NODES["nick"][1].replace("Ishmael", "Ahab"),
                                       "current"))
    until("the next one", told("Ahab"))
