"""Who sees a user's availability: settings, the user's own policy, the operator's view of it."""
import pytest

from harness import nodes, xml
from harness.muc import Room
from harness.component import Component
from harness.server import refusal

POLICY = "urn:muster:policy:0"
BLOCKING = "urn:xmpp:blocking"


def make_pair(server, names=("alice", "bob")):
    """Two that see each other, online."""
    one, other = names
    server.befriend(one, other)
    b, a = server.client(other, "b"), server.client(one, "a")
    b.expect(f"<presence from='{a}' type='-'/>")
    a.expect(f"<presence from='{b}' type='-'/>")
    return a, b


@pytest.fixture
def pair(server):
    return make_pair(server)


def online(server, *names):
    """Clients that know their rosters: they are told of approvals (RFC 6121 §3.1.6)."""
    clients = [server.client(name, name[0]) for name in names]
    for client in clients:
        client.result("get", "<query xmlns='jabber:iq:roster'/>")
    return clients if len(clients) > 1 else clients[0]


def policy(client):
    """(share, others, {jid: action})"""
    found = client.result("get", f"<policy xmlns='{POLICY}'/>")
    return (found.get("share"), found.get("others"),
            {r.get("jid"): r.get("action") for r in found})


def edit(client, attributes="", **rules):
    inner = "".join(f"<rule jid='{jid.replace('_at_', '@').replace('_dot_', '.')}' "
                    f"action='{action}'/>" for jid, action in rules.items())
    client.result("set", f"<policy xmlns='{POLICY}' {attributes}>{inner}</policy>")


def expect_silence(client, other, template):
    """Nothing that matches has come from the home of `other`: an answer of it would be behind."""
    client.iq("get", "<q xmlns='x'/>", to=other.bare)
    client.expect_nothing(template)


def subscribe(client, other):
    client.send(f"<presence to='{other}' type='subscribe'/>")


def expect_granted(client, other):
    client.expect(f"<presence from='{other}' type='subscribed'/>")


def expect_asked(client, other):
    client.expect(f"<presence from='{other}' type='subscribe'/>")


def subscription(client, other):
    roster = client.result("get", "<query xmlns='jabber:iq:roster'/>")
    return {i.get("jid"): i.get("subscription") for i in roster}.get(other)


# --- approval ---


@pytest.fixture
def asking(make_server):
    return make_server("alice", "bob", "carol", settings={"presence.approval": "ask"})


def test_automatic(server):
    """The default: granted with no prompt; the watched user finds the watcher in the roster."""
    alice, bob = online(server, "alice", "bob")
    subscribe(alice, bob.bare)
    expect_granted(alice, bob.bare)
    alice.expect(f"<presence from='{bob}' type='-'/>")
    alice.expect_nothing("<presence type='unavailable'/>", after=bob)
    bob.expect("<iq type='set'><query xmlns='jabber:iq:roster'>"
               f"<item jid='{alice.bare}' subscription='from'/></query></iq>")
    bob.expect_nothing("<presence type='subscribe'/>", after=alice)
    assert subscription(alice, bob.bare) == "to"


def test_automatic_while_the_watched_is_away(server):
    alice = online(server, "alice")
    subscribe(alice, "bob@localhost")
    expect_granted(alice, "bob@localhost")
    bob = server.client("bob", "b")
    alice.expect(f"<presence from='{bob}' type='-'/>")


def test_asked_once(asking):
    """The other way needs no prompt, whatever the policy says of the domain and of all others."""
    alice, bob = online(asking, "alice", "bob")
    edit(alice, "others='ask'", localhost="block")
    subscribe(alice, bob.bare)
    expect_asked(bob, alice.bare)
    subscribe(bob, alice.bare)
    expect_granted(bob, alice.bare)
    alice.expect_nothing("<presence type='subscribe'/>", after=bob)
    bob.send(f"<presence to='{alice.bare}' type='subscribed'/>")
    expect_granted(alice, bob.bare)
    assert subscription(alice, bob.bare) == "both"


def test_accepted_and_back(asking):
    """The reverse of what the user has accepted is granted, and nobody is asked a second time."""
    alice, bob = online(asking, "alice", "bob")
    edit(bob, "others='ask'")
    edit(alice, "others='ask'")
    subscribe(alice, bob.bare)
    expect_asked(bob, alice.bare)
    bob.send(f"<presence to='{alice.bare}' type='subscribed'/>")
    expect_granted(alice, bob.bare)
    subscribe(bob, alice.bare)
    expect_granted(bob, alice.bare)
    bob.expect(f"<presence from='{alice}' type='-'/>")
    alice.expect_nothing("<presence type='subscribe'/>", after=bob)
    assert subscription(alice, bob.bare) == subscription(bob, alice.bare) == "both"


@pytest.mark.parametrize("approval", ["automatic", "ask"])
def test_a_rule_for_the_address_goes_before_reciprocity(make_server, approval):
    server = make_server("alice", "bob", settings={"presence.approval": approval})
    alice, bob = online(server, "alice", "bob")
    edit(bob, alice_at_localhost="ask")
    edit(alice, bob_at_localhost="ask")
    subscribe(alice, bob.bare)
    expect_asked(bob, alice.bare)
    subscribe(bob, alice.bare)
    expect_asked(alice, bob.bare)


@pytest.mark.parametrize("mode", ["automatic", "ask"])
def test_users_go_before_the_setting(make_server, mode):
    """allow and ask, by address, by domain and for all others."""
    server = make_server("alice", "bob", "carol", settings={"presence.approval": mode})
    alice, bob, carol = online(server, "alice", "bob", "carol")
    edit(alice, "others='ask'", bob_at_localhost="allow")
    subscribe(bob, alice.bare)
    expect_granted(bob, alice.bare)
    subscribe(carol, alice.bare)
    expect_asked(alice, carol.bare)
    edit(carol, localhost="ask")
    subscribe(bob, carol.bare)
    expect_asked(carol, bob.bare)
    edit(bob, "others='allow'")
    subscribe(alice, bob.bare)
    expect_granted(alice, bob.bare)


def test_blocked_is_asked_about(server):
    """Under automatic approval, and sees nothing even when he is granted."""
    alice, bob = online(server, "alice", "bob")
    edit(bob, alice_at_localhost="block")
    subscribe(alice, bob.bare)
    expect_asked(bob, alice.bare)
    bob.send(f"<presence to='{alice.bare}' type='subscribed'/>")
    expect_granted(alice, bob.bare)
    bob.send("<presence><show>away</show></presence>")
    expect_silence(alice, bob, f"<presence from='{bob}'/>")
    edit(bob, alice_at_localhost="none")
    alice.expect(f"<presence from='{bob}'><show>away</show></presence>")


def test_requests_wait_at_the_limit_for_nobody(make_server):
    """At the cap neither side can add; automatic or not."""
    server = make_server("alice", "bob", "carol", settings={
        "presence.approval": "automatic", "roster.contacts-max": 1})
    alice, bob, carol = online(server, "alice", "bob", "carol")
    subscribe(alice, bob.bare)
    expect_granted(alice, bob.bare)
    subscribe(carol, bob.bare)
    carol.expect(f"<presence from='{bob.bare}' type='unsubscribed'/>")
    subscribe(alice, "x@example.com")
    alice.expect_error("policy-violation", None, "<presence type='error'/>")


def test_other_domains_ask_the_user(make_server):
    """The setting is for our own domains; the user's policy is for all."""
    server = make_server("alice", component=True)
    server.ctl("component", "add", "far.example.test", "--secret", "the secret of far")
    far = Component(server, "far.example.test", "the secret of far")
    alice = online(server, "alice")
    far.send("<presence from='bob@far.example.test' to='alice@localhost' type='subscribe'/>")
    expect_asked(alice, "bob@far.example.test")
    edit(alice, far_dot_example_dot_test="allow")
    far.send("<presence from='carol@far.example.test' to='alice@localhost' type='subscribe'/>")
    far.expect("<presence from='alice@localhost' to='carol@far.example.test' type='subscribed'/>")
    far.expect(f"<presence from='{alice}' to='carol@far.example.test'/>")
    edit(alice, "others='allow'", far_dot_example_dot_test="none")
    far.send("<presence from='dave@far.example.test' to='alice@localhost' type='subscribe'/>")
    far.expect("<presence from='alice@localhost' to='dave@far.example.test' type='subscribed'/>")


# --- rules ---


def test_blocked_watcher_sees_unavailable(pair):
    alice, bob = pair
    edit(alice, bob_at_localhost="block")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    alice.send("<presence><show>dnd</show></presence>")
    bob.send("<presence type='probe' to='alice@localhost'/>")
    bob.expect_nothing("<presence/>", after=alice)
    bob.send(f"<message to='{alice}'><body>still</body></message>")
    alice.expect("<message><body>still</body></message>")
    edit(alice, bob_at_localhost="allow")
    bob.expect(f"<presence from='{alice}'><show>dnd</show></presence>")


def test_the_more_exact_rule_decides(pair):
    alice, bob = pair
    edit(alice, localhost="block")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    edit(alice, bob_at_localhost="allow")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    edit(alice, localhost="none", bob_at_localhost="none")
    assert policy(alice) == ("default", "default", {})
    bob.expect_nothing("<presence/>", after=alice)


def test_subdomains(make_server):
    server = make_server(domains=("example.com", "sub.example.com"),
                         settings={"presence.approval": "ask"})
    server.add_user("alice")
    server.add_user("bob", domain="sub.example.com")
    alice = server.client("alice", "a", domain="example.com")
    bob = server.client("bob", "b", domain="sub.example.com")
    subscribe(bob, alice.bare)
    expect_asked(alice, bob.bare)
    alice.send(f"<presence to='{bob.bare}' type='subscribed'/>")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    edit(alice, example_dot_com="block", sub_dot_example_dot_com="allow")
    bob.expect_nothing("<presence/>", after=alice)
    edit(alice, sub_dot_example_dot_com="none")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")


def test_block_everyone_but_contacts(pair, carol):
    """Presence and messages of strangers; contacts pass, and those a rule allows."""
    alice, bob = pair
    edit(alice, "others='block'")
    carol.send(f"<message to='{alice}' id='m'><body>hi</body></message>")
    carol.expect_error("service-unavailable", "cancel", "<message id='m'/>")
    subscribe(carol, alice.bare)
    carol.send(f"<presence to='{alice}'/>")
    expect_silence(carol, alice, "<presence type='unsubscribed'/>")
    alice.expect_nothing("<presence/>", after=bob)
    bob.send(f"<message to='{alice}'><body>friend</body></message>")
    alice.expect("<message><body>friend</body></message>")
    alice.send("<presence><show>away</show></presence>")
    bob.expect(f"<presence from='{alice}'><show>away</show></presence>")
    edit(alice, carol_at_localhost="allow")
    carol.send(f"<message to='{alice}'><body>allowed</body></message>")
    alice.expect("<message><body>allowed</body></message>")


def test_requests_of_strangers(server, pair, carol):
    """To a stranger who knows its full JID, a client is not there; what it asks is answered."""
    alice, bob = pair
    phone = server.client("alice", "phone")
    gone = carol.error("get", "<q xmlns='x'/>", to="alice@localhost/gone")
    assert gone == ("service-unavailable", "cancel")
    edit(alice, "others='block'")
    for kind in ("get", "set"):
        assert carol.error(kind, "<q xmlns='x'/>", to=alice) == gone
    alice.expect_nothing("<iq type='get'/>", after=bob)
    alice.expect_nothing("<iq type='set'/>")
    for friend in (bob, phone):
        friend.send(f"<iq type='get' id='1' to='{alice}'><q xmlns='y'/></iq>")
        alice.expect(f"<iq type='get' from='{friend}'><q xmlns='y'/></iq>")
    alice.send(f"<iq type='get' id='2' to='{carol}'><q xmlns='z'/></iq>")
    carol.expect(f"<iq type='get' id='2' from='{alice}'/>")
    carol.send(f"<iq type='result' id='2' to='{alice}'/>")
    alice.expect(f"<iq type='result' id='2' from='{carol}'/>")
    edit(alice, carol_at_localhost="allow")
    carol.send(f"<iq type='get' id='3' to='{alice}'><q xmlns='a'/></iq>")
    alice.expect(f"<iq type='get' from='{carol}'/>")


def test_no_contact_any_more_is_a_stranger(pair):
    alice, bob = pair
    edit(alice, "others='block'")
    alice.result("set", "<query xmlns='jabber:iq:roster'>"
                        "<item jid='bob@localhost' subscription='remove'/></query>")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    bob.send(f"<message to='{alice}' id='m'><body>hi</body></message>")
    bob.expect_error("service-unavailable", None, "<message id='m'/>")


def test_kept_across_kill(make_server):
    server = make_server("alice")
    alice = server.client("alice", "a")
    edit(alice, "share='off' others='ask'", bob_at_localhost="block", example_dot_com="allow")
    before = policy(alice)
    assert before == ("off", "ask", {"bob@localhost": "block", "example.com": "allow"})
    server.kill()
    server.start()
    assert policy(server.client("alice", "a")) == before


@pytest.mark.parametrize("xml_text,condition", [
    (f"<policy xmlns='{POLICY}' share='maybe'/>", "bad-request"),
    (f"<policy xmlns='{POLICY}' others='on'/>", "bad-request"),
    (f"<policy xmlns='{POLICY}'><x/></policy>", "bad-request"),
    (f"<policy xmlns='{POLICY}'><rule jid='a@b'/></policy>", "bad-request"),
    (f"<policy xmlns='{POLICY}'><rule jid='a@b' action='kill'/></policy>", "bad-request"),
    (f"<policy xmlns='{POLICY}'><rule action='ask'/></policy>", "jid-malformed"),
    (f"<policy xmlns='{POLICY}'><rule jid='a@b/c' action='ask'/></policy>", "jid-malformed"),
    (f"<policy xmlns='{POLICY}' share='off'><rule jid='@' action='ask'/></policy>",
     "jid-malformed"),
    (f"<policy xmlns='{POLICY}'><rule jid='a@b' action='ask'/><rule jid='A@b' action='none'/>"
     "</policy>", "bad-request"),
])
def test_bad_requests_change_nothing(alice, xml_text, condition):
    assert alice.error("set", xml_text)[0] == condition
    assert policy(alice) == ("default", "default", {})


def test_limit(make_server):
    server = make_server("alice", settings={"privacy.rules-max": 2})
    alice = server.client("alice", "a")
    edit(alice, a_at_b="ask", c_at_d="block")
    assert alice.error("set", f"<policy xmlns='{POLICY}'><rule jid='e@f' action='ask'/></policy>"
                       ) == ("resource-constraint", "wait")
    edit(alice, a_at_b="block")
    assert policy(alice)[2] == {"a@b": "block", "c@d": "block"}


MOOD = "http://jabber.org/protocol/mood"


def test_what_subscribers_may_know_goes_with_it(pair):
    """Last activity, resources and personal events are for those that see him."""
    alice, bob = pair
    def knows():
        """Last activity, items (resources and nodes), an item of a node."""
        last = bob.iq("get", "<query xmlns='jabber:iq:last'/>", to=alice.bare)
        mood = bob.iq("get", "<pubsub xmlns='http://jabber.org/protocol/pubsub'>"
                             f"<items node='{MOOD}'/></pubsub>", to=alice.bare)
        items = bob.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to=alice.bare)
        return last.get("type"), mood.get("type"), len(items)

    alice.result("set", "<pubsub xmlns='http://jabber.org/protocol/pubsub'>"
                        f"<publish node='{MOOD}'><item><mood xmlns='{MOOD}'/></item></publish>"
                        "</pubsub>")
    assert knows() == ("result", "result", 2)
    edit(alice, bob_at_localhost="block")
    assert knows() == ("error", "error", 0)
    edit(alice, bob_at_localhost="none")
    assert knows() == ("result", "result", 2)


# --- sharing ---


def test_sharing_off_and_on(pair, server):
    """Users see only their own state; it takes hold at once, and comes back."""
    alice, bob = pair
    server.ctl("set", "presence.sharing", "off")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    phone = server.client("alice", "phone")
    alice.expect(f"<presence from='{phone}' type='-'/>")
    alice.drain()
    bob.send("<presence><show>away</show></presence>")
    alice.expect_nothing("<presence/>", after=bob)
    alice.send(f"<presence to='{bob}' id='d'/>")
    alice.expect_error("not-allowed", None, "<presence id='d'/>")
    bob.send(f"<message to='{alice}'><body>talk</body></message>")
    alice.expect("<message><body>talk</body></message>")
    server.ctl("set", "presence.sharing", "on")
    alice.expect(f"<presence from='{bob}'><show>away</show></presence>")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    bob.expect(f"<presence from='{phone}' type='-'/>")


DETAILS = ("<show>dnd</show><status>busy</status><c xmlns='http://jabber.org/protocol/caps' "
           "hash='sha-1' node='n' ver='v'/><idle xmlns='urn:xmpp:idle:1' since='x'/>")


def plain(seen):
    """Whether a presence tells that an occupant is there, and no more."""
    return {e.tag for e in seen.element} <= {"{http://jabber.org/protocol/muc#user}x",
                                             "{urn:xmpp:occupant-id:0}occupant-id",
                                             "{vcard-temp:x:update}x"}


@pytest.mark.parametrize("whose", ["server", "user"])
def test_rooms_tell_no_availability_that_is_not_shared(pair, server, whose):
    """Who is in a room is seen to be there, and not what they do: when they enter, when they
    change, and at once where it was seen before."""
    alice, bob = pair
    old, new = Room("old").create(bob, "bob"), Room("new").create(bob, "bob")
    old.knock(alice, "alice", inner=DETAILS)
    assert old.presence(bob, "alice").show == "dnd"
    alice.drain()
    if whose == "server":
        server.ctl("set", "presence.sharing", "off")
    else:
        edit(alice, "share='off'")
    assert plain(old.presence(bob, "alice"))
    new.configure(bob, passwordprotectedroom=True, roomsecret="secret")
    new.knock(alice, "alice", password="secret", inner=DETAILS)
    assert plain(new.presence(bob, "alice"))
    assert plain(new.entered(alice).own)
    alice.send(f"<presence to='{old.at('alice')}'>{DETAILS}</presence>")
    assert plain(old.presence(bob, "alice"))
    if whose == "server":
        server.ctl("set", "presence.sharing", "on")
    else:
        edit(alice, "share='on'")
    assert plain(old.presence(bob, "alice"))  # what everybody is told
    alice.send(f"<presence to='{old.at('alice')}'>{DETAILS}</presence>")
    assert old.presence(bob, "alice").status == "busy"


@pytest.mark.parametrize("whose", ["server", "user"])
def test_rooms_show_the_state_again_when_it_is_shared(pair, server, whose):
    """Rooms get the present state, as contacts do. An invisible user is not shown."""
    alice, bob = pair
    room = Room("room").create(bob, "bob")
    room.enter(alice, "alice")
    assert room.presence(bob, "alice")

    def share(value):
        if whose == "server":
            server.ctl("set", "presence.sharing", value)
        else:
            edit(alice, f"share='{value}'")

    share("off")
    assert plain(room.presence(bob, "alice"))
    alice.send("<presence><show>dnd</show><status>in the train</status></presence>")
    share("on")
    shown = room.presence(bob, "alice")
    assert (shown.show, shown.status) == ("dnd", "in the train")
    alice.result("set", "<invisible xmlns='urn:xmpp:invisible:0'/>")
    room.gone(bob, "alice")
    room.enter(alice, "alice")
    assert plain(room.presence(bob, "alice"))
    share("off")
    assert plain(room.presence(bob, "alice"))
    share("on")
    bob.expect_nothing(f"<presence from='{room.at('alice')}'/>", after=alice)


def test_a_user_does_not_share(pair):
    alice, bob = pair
    edit(alice, "share='off'")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    alice.expect("<presence from='bob@localhost' type='unavailable'/>")
    bob.send("<presence><show>away</show></presence>")
    alice.expect_nothing("<presence/>", after=bob)
    edit(alice, "share='on'")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    alice.expect(f"<presence from='{bob}'><show>away</show></presence>")


# --- the operator ---


def test_rules_for_domains_with_the_names_of_defaults(server, alice):
    server.ctl("policy", "set", alice.bare, "--others", "ask", "--allow", "share",
               "--block", "others")
    rows = {(r["kind"], r["what"]): r["is"] for r in server.rows("policy", "show", alice.bare)}
    assert rows == {("default", "share"): "default", ("default", "others"): "ask",
                    ("rule", "share"): "allow", ("rule", "others"): "block"}


def test_commands(server, alice):
    server.ctl("policy", "set", "alice@localhost", "--others", "ask", "--block", "bob@localhost",
               "--allow", "example.com")
    assert policy(alice) == ("default", "ask", {"bob@localhost": "block", "example.com": "allow"})
    rows = {r["what"]: r["is"] for r in server.rows("policy", "show", "alice@localhost")}
    assert rows == {"share": "default", "others": "ask", "bob@localhost": "block",
                    "example.com": "allow"}
    server.ctl("policy", "set", "alice@localhost", "--none", "bob@localhost")
    assert policy(alice)[2] == {"example.com": "allow"}
    server.ctl("policy", "set", "alice@localhost", "--share", "on", "--ask", "Example.com")
    noted = [(r["before"], r["after"]) for r in server.rows("audit", "list", "--command",
                                                            "policy set")]
    assert noted == [
        ("share=default example.com=allow", "share=on example.com=ask"),
        ("bob@localhost=block", "bob@localhost=none"),
        ("others=default example.com=none bob@localhost=none",
         "others=ask example.com=allow bob@localhost=block")]
    assert "say what changes" in refusal(server, "policy", "set", "alice@localhost")
    for bad in (("nobody@localhost", "--others", "ask"), ("alice@example.org", "--others", "ask"),
                ("alice@localhost", "--others", "never"), ("alice@localhost", "--ask", "@"),
                ("alice@localhost", "--ask", "bob@localhost", "--allow", "bob@localhost"),
                ("alice@localhost", "--ask", "bob@localhost/x")):
        assert server.ctl_run("policy", "set", *bad).returncode != 0
    assert policy(alice) == ("on", "ask", {"example.com": "ask"})


def view(server, watcher=None, user="alice@localhost"):
    args = ("--watcher", watcher) if watcher else ()
    return server.rows("presence", "view", user, *args)


def sees(server, watcher):
    return view(server, watcher)[-1]["found"]


def hidden_by(server, watcher):
    return [r["check"] for r in view(server, watcher) if r["result"].startswith("hidden")]


def test_viewer(pair, server):
    alice, _ = pair
    rows = {r["check"]: r for r in view(server)}
    assert rows["status"]["found"] == "Available"
    assert rows["contacts"]["found"] == "1 of 200" and rows["contacts"]["result"] == ""
    assert rows["watchers"]["found"] == "1 of 200"
    assert rows["server"]["found"] == f"test{1 + nodes.home('alice@localhost')}"
    for show, found in (("away", "Away"), ("dnd", "Do Not Disturb"), ("chat", "Available")):
        alice.send(f"<presence><show>{show}</show></presence>")
        alice.ping()
        assert view(server)[0]["found"] == found
        assert sees(server, "bob@localhost") == found
    alice.send("<presence><status>lunch</status></presence>")
    alice.ping()
    assert view(server)[0]["found"] == "Custom: lunch"
    assert sees(server, "carol@localhost") == "Unavailable"
    assert "subscription" in hidden_by(server, "carol@localhost")
    assert sees(server, "alice@localhost") == "Custom: lunch"


def test_viewer_says_why(pair, server):
    alice, _ = pair
    bob = "bob@localhost"
    assert hidden_by(server, bob) == []
    edit(alice, bob_at_localhost="block")
    assert hidden_by(server, bob) == ["user's rule", "session a"] and sees(server, bob) == (
        "Unavailable")
    assert ("user's rule", "block bob@localhost") in [
        (r["check"], r["found"]) for r in view(server, bob)]
    edit(alice, "share='off'", bob_at_localhost="none")
    assert "user shares" in hidden_by(server, bob)
    edit(alice, "share='default'")
    alice.result("set", f"<block xmlns='{BLOCKING}'><item jid='localhost'/></block>")
    assert "session a" in hidden_by(server, bob)
    assert any("deny address localhost" in r["found"] for r in view(server, bob))
    alice.result("set", f"<unblock xmlns='{BLOCKING}'/>")
    alice.result("set", "<invisible xmlns='urn:xmpp:invisible:0'/>")
    assert ("session a", "invisible", "hidden") in [
        (r["check"], r["found"], r["result"]) for r in view(server, bob)]
    alice.result("set", "<visible xmlns='urn:xmpp:invisible:0'/>")
    server.ctl("set", "presence.sharing", "off")
    assert "presence.sharing" in hidden_by(server, bob)


def test_viewer_counts_each_once_and_warns(pair, server):
    """A contact in several groups counts once; more than the maximum is said."""
    alice, _ = pair
    alice.result("set", "<query xmlns='jabber:iq:roster'><item jid='bob@localhost'>"
                        "<group>Friends</group><group>Work</group></item></query>")
    for name in ("x", "y"):
        alice.result("set", "<query xmlns='jabber:iq:roster'>"
                            f"<item jid='{name}@example.com'/></query>")
    rows = server.rows("presence", "view", "alice@localhost", "--contacts", "--watchers")
    contacts = {r["found"]: r["result"] for r in rows if r["check"] == "contact"}
    assert set(contacts) == {"bob@localhost", "x@example.com", "y@example.com"}
    assert contacts["bob@localhost"] == "Friends, Work"
    assert [r["found"] for r in rows if r["check"] == "watcher"] == ["bob@localhost"]
    server.ctl("set", "roster.contacts-max", "2")
    found = {r["check"]: r for r in view(server)}["contacts"]
    assert found["found"] == "3 of 2" and "roster.contacts-max" in found["result"]


def test_viewer_bad_input(server):
    for bad in (("alice",), ("alice@example.org",), ("nobody@localhost",),
                ("alice@localhost", "--watcher", "@"),
                ("alice@localhost", "--watcher", "x" * 129 + "@localhost")):
        assert server.ctl_run("presence", "view", *bad).returncode != 0


def test_feature(alice):
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="localhost")
    assert POLICY in {f.get("var") for f in info}
    assert alice.error("get", f"<policy xmlns='{POLICY}'/>", to="bob@localhost") == (
        "service-unavailable", "cancel")
