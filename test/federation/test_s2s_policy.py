"""Who may speak with whom across servers: policies of domains, users and departments, rates of
foreign domains, blocked domains."""
import pytest

from harness import federation, muc, xml
from harness.client import Gone, follow, until
from harness.federation import Peer
from harness.muc import Room
from harness.server import refusal
from stream.test_guest import guest

ONE, OTHER, FAR = "one.test", "other.test", "far.test"
ROSTER = "<query xmlns='jabber:iq:roster'/>"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


def both(make_server, authority, *more, settings):
    """Both servers, federated: alice at ONE, bob at OTHER. more: domains of the first."""
    servers = []
    for user, domains in (("alice", [ONE, *more]), ("bob", [OTHER])):
        names = [f"{label}.{domains[0]}" for label in ("conference", "pubsub", "upload")]
        tls = {**authority.issue(domains[0], *domains, *names), "trust": str(authority.file)}
        servers.append(make_server(user, domains=domains, s2s=True, tls=tls, settings=settings))
    one, other = servers
    for server, there, domains in (one, other, [OTHER]), (other, one, [ONE, *more]):
        for domain in domains:
            federation.route(server, domain, there.s2s_port)
            federation.route(server, f"*.{domain}", there.s2s_port)
    return one, other


@pytest.fixture
def pair(make_server, authority):
    return both(make_server, authority, settings=federation.settings())


def free_pair(make_server, authority):
    """The same, where commands may change the policy; ONE has a second domain."""
    servers = both(make_server, authority, "two.test", settings={})
    for server in servers:
        server.ctl("set", "s2s.policy", "open")
    return servers


def free_node(make_server, authority):
    """One server that federates with all, with two domains."""
    tls = {**authority.issue("both", ONE, "two.test", f"conference.{ONE}"),
           "trust": str(authority.file)}
    server = make_server("alice", domains=[ONE, "two.test"], s2s=True, tls=tls)
    server.ctl("set", "s2s.policy", "open")
    return server


@pytest.fixture
def node(make_server, authority):
    return free_node(make_server, authority)


@pytest.fixture
def foreign(node, authority):
    """A function that connects another server and proves its domain to ours."""
    def connect(domain=FAR, local=ONE):
        cert = authority.issue(f"{domain}-{local}", domain)
        return Peer(node, domain, local, cert).join()
    return connect


def comes(connect):
    """Whether its stream is taken."""
    try:
        return connect().features is not None
    except Gone:
        return False


def befriend(alice, bob):
    """Contacts across servers, who see each other."""
    for client in (alice, bob):
        client.result("get", ROSTER)
    for one, other in (alice, bob), (bob, alice):
        follow(one, other)
        one.expect(f"<presence from='{other}' type='-'/>")


def say(client, to, ident, body="hello"):
    client.send(f"<message to='{to}' type='chat' id='{ident}'><body>{body}</body></message>")


def told(peer, origin, to, ident, kind="chat"):
    peer.raw(f"<message from='{origin}' to='{to}' type='{kind}' id='{ident}'><body>hi</body>"
             "</message>")


def bounced(client, condition, ident, kind="message"):
    """The error to its stanza of that id."""
    error = client.expect(f"<{kind} type='error' id='{ident}'/>")
    assert xml.condition(error) == condition, text_of(error)
    return error


def text_of(error):
    return "".join(error.itertext())


# --- domains ---


def test_each_domain_has_its_policy(node, authority):
    """`s2s.policy@DOMAIN` and `s2s.domains@DOMAIN`, in both directions."""
    node.ctl("set", "s2s.policy@two.test", "off")
    Peer(node, FAR, "two.test", authority.issue("a", FAR)).header().expect_stream_error(
        "policy-violation")
    node.ctl("set", "s2s.policy@two.test", "allow")
    node.ctl("set", "s2s.domains@two.test", "near.test")
    Peer(node, FAR, "two.test", authority.issue("b", FAR)).header().expect_stream_error(
        "policy-violation")
    Peer(node, "near.test", "two.test", authority.issue("c", "near.test")).join()
    Peer(node, FAR, ONE, authority.issue("d", FAR)).join()
    node.add_user("dora", domain="two.test")
    dora, alice = node.client("dora", domain="two.test"), node.client("alice", domain=ONE)
    say(dora, f"x@{FAR}", "m")
    bounced(dora, "not-allowed", "m")
    node.ctl("set", "s2s.policy@two.test", "off")
    say(dora, f"x@{FAR}", "n")
    bounced(dora, "remote-server-not-found", "n")
    federation.route(node, FAR, federation.free_port())
    say(alice, f"x@{FAR}", "o")  # of the other domain: it is tried
    until("it is tried", lambda: "event=s2s.failed domain=far.test local=one.test" in node.log())


def test_a_policy_of_one_domain_ends_its_streams_alone(node, foreign):
    far, two = foreign(), foreign(local="two.test")
    node.ctl("set", "s2s.policy@two.test", "deny")
    node.ctl("set", "s2s.domains@two.test", FAR)
    two.expect_stream_error("reset")
    alice = node.client("alice", domain=ONE)
    told(far, f"x@{FAR}", f"alice@{ONE}", "m")
    alice.expect("<message id='m'/>")


def test_without_an_allow_list_that_names_it_a_domain_is_refused_both_ways(node, authority):
    node.ctl("set", "s2s.policy", "allow")
    Peer(node, FAR, ONE, authority.issue("a", FAR)).header().expect_stream_error(
        "policy-violation")
    alice = node.client("alice", domain=ONE)
    for kind in "message", "iq", "presence":
        inner = "<query xmlns='jabber:iq:version'/>" if kind == "iq" else ""
        attributes = {"message": "type='chat'", "iq": "type='get'",
                      "presence": "type='subscribe'"}[kind]
        alice.send(f"<{kind} to='x@{FAR}' id='{kind}' {attributes}>{inner}</{kind}>")
        bounced(alice, "not-allowed", kind, kind)


def test_other_servers_reach_the_services_that_are_named(node, authority):
    """`federation.services@DOMAIN`."""
    node.ctl("set", f"federation.services@{ONE}", "pubsub")
    Peer(node, FAR, f"conference.{ONE}", authority.issue("a", FAR)).header().expect_stream_error(
        "policy-violation")
    node.ctl("set", f"federation.services@{ONE}", "pubsub conference")
    room = Peer(node, FAR, f"conference.{ONE}", authority.issue("b", FAR)).join()
    node.ctl("set", f"federation.services@{ONE}", "pubsub")
    room.expect_stream_error("reset")


@pytest.mark.parametrize("domain", [f"chat.{ONE}", f"chat.sub.{ONE}", "chat.elsewhere.test", "chat",
                                    f"echo.sub.{ONE}", "echo.elsewhere.test"])
def test_a_service_goes_by_the_first_word_of_its_own_domain(make_server, authority, domain):
    """Aliases of group chat, and components, also those that are below no domain of ours."""
    tls = {**authority.issue("both", ONE, domain), "trust": str(authority.file)}
    node = make_server("alice", domains=[ONE], s2s=True, tls=tls, component=True)
    node.ctl("set", "s2s.policy", "open")
    if domain.startswith("chat"):
        node.ctl("room-alias", "add", domain)
    else:
        node.ctl("component", "add", domain, "--secret", "a rather long secret")
    node.ctl("set", "federation.services", "conference pubsub")
    Peer(node, FAR, domain, authority.issue("a", FAR)).header().expect_stream_error(
        "policy-violation")
    node.ctl("set", "federation.services", domain.partition(".")[0])
    Peer(node, FAR, domain, authority.issue("b", FAR)).join()
    Peer(node, FAR, f"conference.{ONE}", authority.issue("c", FAR)).header().expect_stream_error(
        "policy-violation")


# --- users ---


def test_a_user_without_federation_neither_sends_nor_is_there(pair):
    one, other = pair
    alice, bob = one.client("alice"), other.client("bob")
    one.ctl("federation", "set", alice.bare, "off")
    say(alice, bob.bare, "m")
    assert "may not communicate" in text_of(bounced(alice, "not-allowed", "m"))
    alice.error("get", "<ping xmlns='urn:xmpp:ping'/>", to=OTHER)
    alice.send(f"<presence to='{bob.bare}' type='subscribe' id='s'/>")
    alice.expect(f"<presence from='{bob.bare}' type='error' id='s'/>")
    assert not [i for i in alice.result("get", ROSTER) if i.get("jid") == bob.bare]
    bob.result("get", ROSTER)  # who has it is told of answers
    answers = []
    for name in "alice", "nobody":  # nothing tells which of them has an account
        to = f"{name}@{ONE}"
        found = []
        say(bob, to, name)
        found.append(bob.expect(f"<message from='{to}' type='error'/>"))
        found.append(bob.error("get", "<query xmlns='jabber:iq:last'/>", to=to))
        found.append(bob.error("get", "<vCard xmlns='vcard-temp'/>", to=to))
        found.append(bob.error("get", "<query xmlns='jabber:iq:version'/>", to=f"{to}/r"))
        bob.send(f"<presence to='{to}' type='subscribe'/>")
        say(bob, to, f"behind {name}")
        found.append(bob.expect(f"<message type='error' id='behind {name}'/>"))
        bob.expect_nothing(f"<presence from='{to}'/>")
        answers.append([e if isinstance(e, tuple) else
                        (e.get("type"), [c.tag for c in e.iter()], text_of(e)) for e in found])
    assert answers[0] == answers[1]
    alice.expect_nothing("<message type='chat'/>")
    one.ctl("federation", "set", alice.bare, "default")
    say(bob, alice.bare, "n")
    alice.expect(f"<message from='{bob}' id='n'/>")


def test_stored_messages_wait_while_a_rule_forbids_them(pair):
    one, other = pair
    bob = other.client("bob")
    for n in range(2):
        say(bob, f"alice@{ONE}", f"m{n}")
    say(bob, f"nobody@{ONE}", "behind")
    bob.expect("<message type='error' id='behind'/>")
    one.ctl("federation", "set", f"alice@{ONE}", "off")
    alice = one.client("alice")
    alice.ping()
    alice.expect_nothing("<message type='chat'/>")
    alice.close()
    one.restart()
    alice = one.client("alice")
    alice.ping()
    one.ctl("federation", "set", f"alice@{ONE}", "default")
    for n in range(2):
        alice.expect(f"<message from='{bob}' id='m{n}'/>")


def test_a_probe_does_not_tell_who_has_an_account(node, foreign, authority):
    node.ctl("federation", "set", f"alice@{ONE}", "off")
    listener = federation.Listener(FAR, authority.issue("back", FAR))
    federation.route(node, FAR, listener.port)
    far, back = foreign(), None
    for name in "nobody", "alice":
        far.raw(f"<presence from='u@{FAR}' to='{name}@{ONE}' type='probe'/>")
        back = back or listener.join()
        listener.read_until(back, f"from='{name}@{ONE}'[^>]*type='unsubscribed'")
    listener.close()


def test_the_rules_are_shown_and_the_closest_one_applies(pair):
    one, other = pair
    alice, bob = one.client("alice"), other.client("bob")

    def shown():
        return {row["what"]: (row["mode"], row["domains"])
                for row in one.rows("federation", "show", alice.bare)}
    none = ("default", "")
    assert shown() == {"user": none, "department": none, "applies": ("on", "")}
    one.ctl("set", f"federation.users@{ONE}", "off")
    assert shown()["applies"] == ("off", "")
    say(alice, bob.bare, "a")
    alice.expect("<message type='error' id='a'/>")
    one.ctl("user", "set", alice.bare, "--department", "Sales")
    one.ctl("s2s-group", "set", "Sales", "on")
    until("the department has its rule", lambda: shown()["applies"] == ("on", ""))
    say(alice, bob.bare, "b")
    bob.expect("<message id='b'/>")
    assert one.rows("s2s-group", "list") == [
        {"who": "Sales", "mode": "on", "domains": ""}]
    one.ctl("federation", "set", alice.bare, "except", "--domains", f"{FAR} *.{OTHER}")
    assert shown()["applies"] == ("except", f"{FAR} *.{OTHER}")
    say(alice, bob.bare, "d")
    bob.expect("<message id='d'/>")
    one.ctl("federation", "set", alice.bare, "except", "--domains", OTHER)
    say(alice, bob.bare, "e")
    bounced(alice, "not-allowed", "e")
    say(bob, alice.bare, "f")
    bounced(bob, "service-unavailable", "f")  # she seems not to exist
    one.ctl("federation", "set", alice.bare, "only", "--domains", f"{FAR} *.{OTHER}")
    assert shown()["user"] == shown()["applies"] == ("only", f"{FAR} *.{OTHER}")
    say(alice, bob.bare, "c")
    bounced(alice, "not-allowed", "c")
    one.restart()
    assert shown()["applies"] == ("only", f"{FAR} *.{OTHER}")
    one.ctl("federation", "set", alice.bare, "default")
    assert shown()["applies"] == ("on", "")
    one.ctl("user", "set", alice.bare, "--department", "Other")
    until("the user has left", lambda: shown()["applies"] == ("off", ""))
    one.ctl("s2s-group", "set", "Sales", "only", "--domains", "Other.Test *.XN--BCHER-KVA.test")
    assert one.rows("s2s-group", "list")[0]["domains"] == "other.test *.bücher.test"
    one.ctl("federation", "set", alice.bare, "only", "--domains", OTHER.upper())
    assert shown()["applies"] == ("only", OTHER)
    one.ctl("federation", "set", alice.bare, "default")
    assert "except" in refusal(one, "s2s-group", "set", "Sales", "except")
    assert "domains" in refusal(one, "s2s-group", "set", "Sales", "only", "--domains", "a..b")
    one.ctl("s2s-group", "del", "Sales")
    assert "no rule" in refusal(one, "s2s-group", "del", "Sales")
    assert "only" in refusal(one, "federation", "set", alice.bare, "only")
    assert "only" in refusal(one, "federation", "set", alice.bare, "only", "--domains", " ")
    assert "spaces" in refusal(one, "s2s-group", "set", " Sales", "off")
    assert "first words" in refusal(one, "set", f"federation.services@{ONE}", "a,b")
    assert "only" in refusal(one, "federation", "set", alice.bare, "on", "--domains", FAR)
    assert "no account" in refusal(one, "federation", "set", f"none@{ONE}", "on")


def rules_of(server, jid):
    return {row["what"]: row["mode"] for row in server.rows("federation", "show", jid)}


def test_rules_of_shared_groups(pair):
    """Members come and go, and so do groups: the rule holds for the name."""
    one, other = pair
    alice, bob = one.client("alice"), other.client("bob")
    for name in "Sales", "sales team", "..", "", "s" * 65:
        said = refusal(one, "s2s-group", "set", f"group:{name}", "off")
        assert f'who: found "group:{name[:50]}' in said and "lower-case" in said, said
    assert one.rows("s2s-group", "list") == []
    assert "no group sales" in one.ctl("s2s-group", "set", "group:sales", "off")["text"]
    one.ctl("group", "add", "sales")
    one.ctl("user", "set", alice.bare, "--department", "Sales")
    say(alice, bob.bare, "a")
    bob.expect("<message id='a'/>")
    for come, leave in (
            (("add", "sales", alice.bare), ("del", "sales", alice.bare)),
            (("add", "sales", "--domain", ONE), ("del", "sales", "--domain", ONE)),
            (("add", "sales", "--rule", "department=Sales"),
             ("del", "sales", "--rule", "department=Sales"))):
        one.ctl("group-member", *come)
        assert rules_of(one, alice.bare) == {"user": "default", "department": "default",
                                             "group:sales": "off", "applies": "off"}
        say(alice, bob.bare, "b")
        assert text_of(bounced(alice, "not-allowed", "b")) == \
            "a group of this account may not communicate with that server"
        say(bob, alice.bare, "c")
        bounced(bob, "service-unavailable", "c")
        one.ctl("group-member", *leave)
        assert rules_of(one, alice.bare)["applies"] == "on"
        say(alice, bob.bare, "d")
        bob.expect("<message id='d'/>")
    one.ctl("group-member", "add", "sales", alice.bare)
    one.ctl("group", "del", "sales")
    assert rules_of(one, alice.bare)["applies"] == "on"
    one.ctl("group", "add", "sales")
    one.ctl("group-member", "add", "sales", alice.bare)
    one.restart()
    assert rules_of(one, alice.bare)["applies"] == "off"  # also before the user logs in
    alice = one.client("alice")
    say(alice, bob.bare, "e")
    bounced(alice, "not-allowed", "e")
    text = one.ctl("s2s-group", "del", "group:sales")["text"]
    assert text == "the group sales has no rule any more"
    say(alice, bob.bare, "f")
    bob.expect("<message id='f'/>")


def test_which_of_several_rules_counts(pair):
    """Of groups the first by name; before that the department, before that the user."""
    one, _ = pair
    alice = f"alice@{ONE}"
    for name, mode in ("b", "off"), ("c", "on"), ("a", "default"):
        one.ctl("group", "add", name)
        one.ctl("group-member", "add", name, alice)
        one.ctl("s2s-group", "set", f"group:{name}", mode)
    assert [row["who"] for row in one.rows("s2s-group", "list")] == [
        "group:a", "group:b", "group:c"]
    rules = {"user": "default", "department": "default", "group:b": "off", "applies": "off"}
    assert rules_of(one, alice) == rules
    one.ctl("user", "set", alice, "--department", "b")
    one.ctl("s2s-group", "set", "b", "on")
    until("of the department",
          lambda: rules_of(one, alice) == {**rules, "department": "on", "applies": "on"})
    one.ctl("federation", "set", alice, "off")
    assert rules_of(one, alice) == {**rules, "user": "off", "department": "on"}
    one.ctl("federation", "set", alice, "default")
    one.ctl("user", "set", alice, "--department", "group:c")  # is no group
    until("of the group", lambda: rules_of(one, alice) == rules)


def test_contacts_see_a_member_of_a_group_go(pair):
    one, _ = pair
    alice, bob, room = befriended(pair, OTHER)
    one.ctl("group", "add", "sales")
    one.ctl("s2s-group", "set", "group:sales", "except", "--domains",
            f"{OTHER} *.{OTHER}")
    one.ctl("group-member", "add", "sales", alice.bare)
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    bob.expect(f"<presence from='{room.jid}/alice' type='unavailable'/>")
    alice.expect(f"<presence from='{bob.bare}' type='unavailable'/>")
    one.ctl("group-member", "del", "sales", alice.bare)
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect(f"<presence from='{alice}' type='-'/>")


def befriended(pair, at=ONE):
    """alice and bob as contacts, and in a room of that domain, which is of one of them."""
    one, other = pair
    alice, bob = one.client("alice"), other.client("bob")
    befriend(alice, bob)
    owner, guest = (alice, bob) if at == ONE else (bob, alice)
    room = Room("room", at)
    room.create(owner, str(owner).partition("@")[0])
    name = str(guest).partition("@")[0]
    room.enter(guest, name)
    owner.expect(f"<presence from='{room.jid}/{name}' type='-'/>")
    for client in alice, bob:
        client.drain()
    return alice, bob, room


def test_contacts_and_rooms_see_a_user_go_who_may_no_longer(pair):
    one, _ = pair
    alice, bob, room = befriended(pair, OTHER)
    one.ctl("federation", "set", alice.bare, "off")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    bob.expect(f"<presence from='{room.jid}/alice' type='unavailable'/>")
    alice.expect(f"<presence from='{bob.bare}' type='unavailable'/>")
    alice.send("<presence><status>hidden</status></presence>")
    one.ctl("federation", "set", alice.bare, "only", "--domains", OTHER)
    alice.expect(f"<presence from='{bob}' type='-'/>")
    shown = bob.expect(f"<presence from='{alice}' type='-'/>")
    assert "hidden" in text_of(shown)
    bob.expect_nothing(f"<presence from='{alice}'/>", after=alice)


def test_a_user_without_federation_who_logs_in_is_not_noticed(pair):
    """Neither by presence nor by a probe."""
    one, other = pair
    alice, bob = one.client("alice"), other.client("bob")
    befriend(alice, bob)
    one.ctl("federation", "set", alice.bare, "off")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    alice.close()
    again = one.client("alice")
    again.ping()
    bob.send("<presence><status>still here</status></presence>")
    bob.expect("<presence><status>still here</status></presence>")
    say(bob, again.bare, "m")
    bob.expect("<message type='error' id='m'/>")  # behind all that its server has sent
    bob.expect_nothing(f"<presence from='{again}'/>")
    again.expect_nothing(f"<presence from='{bob}'/>")


def test_guests_stay_at_home_unless_they_may(pair):
    """`guest.remote`, in both directions."""
    one, other = pair
    one.ctl("set", "guest.domains", ONE)
    bob, visitor = other.client("bob"), guest(one)
    say(visitor, bob.bare, "m")
    bounced(visitor, "not-allowed", "m")
    one.ctl("set", f"guest.remote@{ONE}", "on")
    say(visitor, bob.bare, "n")
    bob.expect(f"<message from='{visitor}' id='n'/>")
    say(bob, visitor, "o")
    visitor.expect("<message id='o'><body>hello</body></message>")
    one.ctl("set", f"guest.remote@{ONE}", "off")
    say(bob, visitor, "p")
    bounced(bob, "service-unavailable", "p")


def test_invitations_of_foreign_users_do_not_come_by_a_room_of_ours(pair):
    one, other = pair
    one.add_user("carol")
    alice, carol, bob = one.client("alice"), one.client("carol"), other.client("bob")
    room = Room("room", ONE)
    room.create(alice, "alice")
    room.enter(bob, "bob")
    alice.expect(f"<presence from='{room.jid}/bob' type='-'/>")
    invite = (f"<message to='{room.jid}'><x xmlns='{muc.USER}'><invite to='{carol.bare}'/></x>"
              "</message>")
    one.ctl("federation", "set", carol.bare, "off")
    bob.send(invite)
    say(bob, f"{room.jid}/alice", "behind")
    alice.expect("<message id='behind'/>")
    carol.ping()
    carol.expect_nothing(f"<message from='{room.jid}'/>")
    one.ctl("federation", "set", carol.bare, "default")
    bob.send(invite)
    carol.expect(f"<message from='{room.jid}'/>")


def test_invitations_to_foreign_users_do_not_leave_by_a_room_of_ours(pair):
    """One that is refused takes the others of its message along."""
    one, other = pair
    one.add_user("carol")
    alice, carol, bob = one.client("alice"), one.client("carol"), other.client("bob")
    room = Room("room", ONE)
    room.create(alice, "alice")
    both = (f"<message to='{room.jid}' id='i'><x xmlns='{muc.USER}'><invite to='{carol.bare}'/>"
            f"<invite to='{bob.bare}'/></x></message>")
    one.ctl("federation", "set", alice.bare, "only", "--domains", FAR)
    alice.send(both)
    bounced(alice, "not-allowed", "i")
    alice.send(both.replace(f"<invite to='{bob.bare}'/>", "<invite to='no address@'/>"))
    alice.expect("<message type='error' id='i'><error><jid-malformed "
                 "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
    alice.ping()
    carol.expect_nothing(f"<message from='{room.jid}'/>")
    bob.expect_nothing(f"<message from='{room.jid}'/>")
    one.ctl("federation", "set", alice.bare, "only", "--domains", OTHER)
    alice.send(both)
    for invited in carol, bob:
        invited.expect(f"<message from='{room.jid}'/>")


def test_an_invitation_to_an_address_on_the_list_is_refused(pair, tmp_path):
    """By a room of ours, as what is sent to the address itself."""
    one, other = pair
    one.add_user("carol")
    alice, carol, bob = one.client("alice"), one.client("carol"), other.client("bob")
    room = Room("room", ONE)
    room.create(alice, "alice")
    listed = tmp_path / "blocklist"
    listed.write_text(f"bob@{OTHER}\n")
    one.ctl("set", "federation.blocklist", str(listed))
    until("the list", lambda: "event=federation.blocklist" in one.log())
    alice.send(f"<message to='{room.jid}' id='i'><x xmlns='{muc.USER}'><invite to='{carol.bare}'/>"
               f"<invite to='{bob.bare}'/></x></message>")
    bounced(alice, "policy-violation", "i")
    alice.ping()
    carol.expect_nothing(f"<message from='{room.jid}'/>")
    alice.send(f"<message to='{room.jid}' id='j'><x xmlns='{muc.USER}'><invite to='{carol.bare}'/>"
               "</x></message>")
    carol.expect(f"<message from='{room.jid}'/>")


# --- rates ---


def test_subscription_requests_of_a_domain_are_limited(node, foreign):
    node.ctl("set", "federation.subscription-rate", "3")
    far, near = foreign(), foreign("near.test")
    alice = node.client("alice", domain=ONE)
    alice.result("get", ROSTER)
    for n in range(4):
        far.raw(f"<presence from='u{n}@{FAR}' to='alice@{ONE}' type='subscribe' id='s{n}'/>")
    for n in range(3):
        alice.expect(f"<presence from='u{n}@{FAR}' type='subscribe'/>")
    near.raw(f"<presence from='u@near.test' to='alice@{ONE}' type='subscribe'/>")
    alice.expect("<presence from='u@near.test' type='subscribe'/>")
    alice.expect_nothing(f"<presence from='u3@{FAR}'/>")


def test_strangers_of_a_domain_are_limited_and_acquaintances_are_not(node, foreign):
    node.ctl("set", "federation.stranger-rate", "2")
    far, near = foreign(), foreign("near.test")
    alice = node.client("alice", domain=ONE)
    for n in range(2):
        told(far, f"u{n}@{FAR}", alice.bare, f"m{n}")
        alice.expect(f"<message from='u{n}@{FAR}' id='m{n}'/>")
    told(far, f"u2@{FAR}", alice.bare, "no")
    told(far, f"u3@{FAR}", f"nobody@{ONE}", "none")
    told(far, f"u0@{FAR}", alice.bare, "again")  # who has written before goes on
    alice.expect("<message id='again'/>")
    told(near, "x@near.test", alice.bare, "near")
    alice.expect("<message id='near'/>")
    alice.expect_nothing("<message id='no'/>")
    until("both are refused", lambda: [row for row in node.rows("metrics")
                                       if row["name"] == "muster_federation_refused"
                                       and row["label"] == "why=strangers" and row["value"] == 2])
    say(alice, f"u4@{FAR}", "question")
    alice.ping()
    told(far, f"u4@{FAR}", alice.bare, "answer")  # alice has written first
    alice.expect("<message id='answer'/>")
    node.ctl("set", "federation.stranger-rate", "3")  # one more, at once
    told(far, f"u5@{FAR}", alice.bare, "more")
    alice.expect("<message id='more'/>")


def test_too_many_stanzas_of_a_domain_are_read_slowly_and_not_lost(node, foreign):
    node.ctl("set", "federation.stanza-rate", "10")
    far = foreign()
    alice = node.client("alice", domain=ONE)
    for n in range(25):
        told(far, f"u@{FAR}", alice.bare, f"m{n}")
    for n in range(25):
        alice.expect(f"<message id='m{n}'/>")
    node.wait_log(f"event=s2s.held domain={FAR} .*federation.stanza-rate")
    assert [row for row in node.rows("metrics")
            if row["name"] == "muster_s2s_held" and row["value"] > 0]
    assert "federation.stanza-rate" in str(node.rows("s2s", "show", FAR))


# --- blocked ---


def test_a_blocklist_file_is_read_again_when_it_changes(node, foreign, tmp_path):
    listed = tmp_path / "blocklist"
    listed.write_text(f"# spam\n\n{FAR}  # this one\n*.spam.test\nbob@near.test\nwin*@near.test\n")
    far, near = foreign(), foreign("near.test")
    alice = node.client("alice", domain=ONE)
    node.ctl("set", "federation.blocklist", str(listed))
    far.expect_stream_error("reset")
    for name, blocked in (("bob", True), ("winner", True), ("bobby", False)):
        told(near, f"{name}@near.test", alice.bare, name)
        say(alice, f"{name}@near.test", name)
        if blocked:
            bounced(alice, "policy-violation", name)
        else:
            alice.expect(f"<message from='{name}@near.test' type='chat'/>")
    alice.expect_nothing("<message type='chat'/>")
    say(alice, f"x@{FAR}", "m")
    alice.expect("<message type='error' id='m'/>")
    listed.write_text("good.test\nnot a domain\n")
    until("the fault is told", lambda: [row for row in node.rows("alarm", "list")
                                        if row["name"] == "federation.blocklist"
                                        and row["active"] and "line 2" in str(row)])
    say(alice, "bob@near.test", "still")
    bounced(alice, "policy-violation", "still")
    listed.write_text("*.spam.test\n")
    until("it is read", lambda: not [row for row in node.rows("alarm", "list")
                                     if row["name"] == "federation.blocklist" and row["active"]])
    again = foreign()
    told(again, f"x@{FAR}", alice.bare, "free")
    alice.expect("<message id='free'/>")
    assert "1" in node.ctl("federation", "list")["text"]
    node.ctl("set", "federation.blocklist", "--default")


def active(node, name):
    return [row for row in node.rows("alarm", "list") if row["name"] == name and row["active"]]


def test_a_blocklist_file_that_cannot_be_read_at_the_start_applies_later(node, authority, tmp_path):
    listed = tmp_path / "blocklist"
    node.ctl("set", "federation.blocklist", str(listed))
    node.restart()
    assert active(node, "federation.blocklist-unread")
    assert not active(node, "federation.blocklist")
    listed.write_text(f"{FAR}\n")
    until("it is read", lambda: not active(node, "federation.blocklist-unread"))
    Peer(node, FAR, ONE, authority.issue("a", FAR)).header().expect_stream_error(
        "policy-violation")
    node.restart()  # now it applies from the start
    Peer(node, FAR, ONE, authority.issue("b", FAR)).header().expect_stream_error(
        "policy-violation")


def test_an_administrator_blocks_a_domain_and_allows_it(node, foreign, authority):
    far = foreign()
    node.ctl("federation", "block", FAR)
    far.expect_stream_error("reset")
    row, = node.rows("federation", "list")
    assert (row["domain"], row["state"]) == (FAR, "blocked")
    node.ctl("user", "set", f"alice@{ONE}", "--department", "Sales")
    node.ctl("s2s-group", "set", "Sales", "only", "--domains", FAR)
    node.restart()  # what applied is known before the first stream
    Peer(node, FAR, ONE, authority.issue("after", FAR)).header().expect_stream_error(
        "policy-violation")
    alice = node.client("alice", domain=ONE)
    say(alice, f"x@{FAR}", "m")
    bounced(alice, "policy-violation", "m")
    for kind in "", "type='subscribe'", "type='probe'":
        alice.send(f"<presence to='x@{FAR}' {kind} id='p'/>")
        bounced(alice, "policy-violation", "p", "presence")
    say(alice, "x@near.test", "n")
    assert "this account" in text_of(bounced(alice, "not-allowed", "n"))
    node.ctl("federation", "allow", FAR)
    until("streams come again", lambda: comes(foreign))
    for command in "block", "allow":
        assert "of this server" in refusal(node, "federation", command, ONE)
    assert "not in the list" in refusal(node, "federation", "allow", FAR)
    assert "a domain" in refusal(node, "federation", "block", "a b")
    node.ctl("federation", "block", "*.Spam.test")
    Peer(node, "mx.spam.test", ONE, authority.issue("spam", "mx.spam.test")).header(
        ).expect_stream_error("policy-violation")
    node.ctl("federation", "allow", "*.spam.test")
    assert not node.rows("federation", "list")


def test_contacts_and_occupants_of_a_blocked_domain_go(pair):
    one, other = pair
    alice, bob = one.client("alice"), other.client("bob")
    befriend(alice, bob)
    room = Room("room", ONE)
    room.create(alice, "alice")
    room.enter(bob, "bob")
    alice.expect(f"<presence from='{room.jid}/bob' type='-'/>")
    one.ctl("federation", "block", OTHER)
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    alice.expect(f"<presence from='{room.jid}/bob' type='unavailable'/>")


def test_farewells_have_no_content_where_nothing_else_passes(pair):
    one, other = pair
    alice, bob = one.client("alice"), other.client("bob")
    befriend(alice, bob)
    one.ctl("federation", "set", alice.bare, "off")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    alice.expect(f"<presence from='{bob.bare}' type='unavailable'/>")
    alice.send(f"<presence to='{bob.bare}' type='unavailable'><status>first</status></presence>")
    alice.send(f"<presence to='{bob.bare}' type='unsubscribed'><status>words</status></presence>")
    bob.expect(f"<presence from='{alice.bare}' type='unsubscribed'/>")
    bob.send("<presence type='unavailable'><status>words</status></presence>")
    bob.send(f"<presence to='{alice.bare}' type='unsubscribed'><status>words</status></presence>")
    until("the contact lists agree", lambda: [
        i.get("subscription") for i in alice.result("get", ROSTER)] == ["none"])
    assert not [e for c in (alice, bob) for e in c.inbox if "words" in text_of(e)]
    bob.expect_nothing("<presence><status>first</status></presence>")


def report(client, jid):
    client.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{jid}'>"
                  "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'/>"
                  "</item></block>")


def test_reports_of_several_users_block_a_domain_until_it_is_decided(node, foreign):
    far = foreign()
    users = [node.client("alice", domain=ONE)]
    for name in "carol", "dave":
        node.add_user(name, domain=ONE)
        users.append(node.client(name, domain=ONE))
    alice, carol, dave = users
    node.ctl("set", "federation.reports-to-block", "2")
    for n in range(3):  # one user alone blocks nothing
        report(alice, f"u{n}@{FAR}")
    report(carol, f"dave@{ONE}")
    until("reports are counted", lambda: [(row["domain"], row["users"]) for row in node.rows(
        "federation", "reports")] == [(FAR, 1)])
    assert not node.rows("federation", "list")
    told(far, f"x@{FAR}", dave.bare, "m")
    dave.expect("<message id='m'/>")
    report(carol, f"x@{FAR}")
    far.expect_stream_error("reset")
    row, = node.rows("federation", "list")
    assert (row["state"], row["reports"]) == ("reported", 2)
    until("the alarm", lambda: [r for r in node.rows("alarm", "list") if r["active"]
                                and r["name"] == "federation.reported"])
    node.ctl("federation", "allow", FAR)
    until("the alarm ends", lambda: not [r for r in node.rows("alarm", "list") if r["active"]
                                         and r["name"] == "federation.reported"])
    assert not node.rows("federation", "list") and not node.rows("federation", "reports")
    report(dave, f"y@{FAR}")  # one since then
    assert not node.rows("federation", "list")
    until("streams come again", lambda: comes(foreign))


# --- across ---


def test_a_user_blocks_a_foreign_user_and_a_foreign_domain(pair):
    """XEP-0191, and a privacy list (XEP-0016) as it is stored."""
    one, other = pair
    alice, bob = one.client("alice"), other.client("bob")
    befriend(alice, bob)
    for blocked in bob.bare, OTHER:
        alice.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{blocked}'/></block>")
        bob.expect(f"<presence from='{alice}' type='unavailable'/>")
        say(bob, alice.bare, blocked)
        bounced(bob, "service-unavailable", blocked)
        say(alice, bob.bare, f"to {blocked}")
        bounced(alice, "not-acceptable", f"to {blocked}")
        alice.result("set", f"<unblock xmlns='urn:xmpp:blocking'><item jid='{blocked}'/></unblock>")
        bob.expect(f"<presence from='{alice}' type='-'/>")
    say(bob, alice.bare, "free")
    alice.expect("<message id='free'/>")


def test_copies_and_archives_have_what_went_abroad_and_nothing_that_was_refused(pair):
    """Carbons, MAM and multicast, with a user who may and then may not."""
    one, other = pair
    alice, second, bob = one.client("alice"), one.client("alice"), other.client("bob")
    second.result("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    say(alice, bob.bare, "m1", "before")
    bob.expect("<message id='m1'/>")
    copy = second.expect(lambda e: "before" in text_of(e))
    assert copy.find("{urn:xmpp:carbons:2}sent") is not None
    one.ctl("federation", "set", alice.bare, "off")
    say(alice, bob.bare, "m2", "after")
    bounced(alice, "not-allowed", "m2")
    alice.send(f"<message to='{ONE}' id='m3'><addresses xmlns='http://jabber.org/protocol/address'>"
               f"<address type='to' jid='{bob.bare}'/><address type='cc' jid='{alice.bare}'/>"
               "</addresses><body>to many</body></message>")
    second.expect(lambda e: "to many" in text_of(e))
    query = "<query xmlns='urn:xmpp:mam:2' queryid='q'/>"
    alice.result("set", query)
    found = [text_of(e) for e in alice.inbox if "urn:xmpp:mam:2" in xml.canonical(e)]
    assert any("before" in f for f in found) and not any("after" in f for f in found), found
    say(bob, alice.bare, "m4", "back")
    bounced(bob, "service-unavailable", "m4")
    bob.expect_nothing("<message><body>to many</body></message>")


def test_a_request_of_a_blocked_address_is_answered(node, foreign, authority, tmp_path):
    """RFC 6120 §8.2.3: also where the address may say nothing else."""
    listed = tmp_path / "blocklist"
    listed.write_text(f"bob@{FAR}\n")
    listener = federation.Listener(FAR, authority.issue("listener", FAR))
    federation.route(node, FAR, listener.port)
    node.ctl("set", "federation.blocklist", str(listed))
    until("the list", lambda: "event=federation.blocklist" in node.log())
    far = foreign()
    far.raw(f"<iq type='get' id='blocked' from='bob@{FAR}/r' to='{ONE}'>"
            "<ping xmlns='urn:xmpp:ping'/></iq>")
    with listener.join() as peer:
        assert "policy-violation" in listener.read_until(peer, "id=.blocked.*</iq>").string
    listener.close()


def test_a_domain_that_is_proved_again_and_again_is_tried_no_more_often(node, foreign):
    """Its senders are told in time all the same."""
    node.ctl("set", "s2s.retry-for", "1s")
    federation.route(node, FAR, federation.free_port())
    far = foreign()
    alice = node.client("alice", domain=ONE)
    alice.send(f"<iq type='get' id='q' to='x@{FAR}/r'><ping xmlns='urn:xmpp:ping'/></iq>")
    for _ in range(100):
        far.result("00")
        far.expect("<db:result xmlns:db='jabber:server:dialback' type='valid'/>")
    alice.expect("<iq type='error' id='q'/>")
    assert node.log().count("s2s.proved") == 1 and node.log().count("s2s.failed") < 8
