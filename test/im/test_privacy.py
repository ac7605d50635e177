"""Privacy lists (XEP-0016), what they make of blocking (XEP-0191 §3), invisibility (XEP-0126)."""
import pytest

from harness import xml
from harness.client import until

PRIVACY = "jabber:iq:privacy"
BLOCKING = "urn:xmpp:blocking"


def item(order, action="deny", kind=None, value=None, *children):
    more = f" type='{kind}' value='{value}'" if kind else ""
    inner = "".join(f"<{child}/>" for child in children)
    return f"<item{more} action='{action}' order='{order}'>{inner}</item>"


def query(inner):
    return f"<query xmlns='{PRIVACY}'>{inner}</query>"


def put(client, name, *items):
    client.result("set", query(f"<list name='{name}'>{''.join(items)}</list>"))


def use(client, what, name=None):
    attribute = f" name='{name}'" if name else ""
    client.result("set", query(f"<{what}{attribute}/>"))


def names(client):
    return sorted((e.tag.partition("}")[2], e.get("name"))
                  for e in client.result("get", query("")))


def stored(client, name):
    """[(type, value, action, order, children)]"""
    found = client.result("get", query(f"<list name='{name}'/>"))[0]
    return [(e.get("type"), e.get("value"), e.get("action"), int(e.get("order")),
             sorted(c.tag.partition("}")[2] for c in e)) for e in found]


def expect_silence(client, other, template):
    """Nothing that matches has come from the home of `other`: an answer of it would be behind."""
    client.iq("get", "<q xmlns='x'/>", to=other.bare)
    client.expect_nothing(template)


# --- lists ---


def test_lists(server):
    """§2.3 to §2.7"""
    alice = server.client("alice", "a")
    assert names(alice) == []
    put(alice, "public", item(1, "deny", "jid", "tybalt@example.com"), item(2, "allow"))
    put(alice, "private", item(10, "allow", "subscription", "both"), item(15, "deny"))
    put(alice, "special", item(6, "allow", "jid", "Juliet@Example.COM", "message", "iq"),
        item(42, "deny", None, None, "presence-in", "presence-out"))
    use(alice, "active", "private")
    use(alice, "default", "public")
    assert names(alice) == [("active", "private"), ("default", "public"), ("list", "private"),
                            ("list", "public"), ("list", "special")]
    assert stored(alice, "special") == [
        ("jid", "juliet@example.com", "allow", 6, ["iq", "message"]),
        (None, None, "deny", 42, ["presence-in", "presence-out"])]
    assert stored(alice, "public") == [("jid", "tybalt@example.com", "deny", 1, []),
                                       (None, None, "allow", 2, [])]
    put(alice, "public", item(3, "deny", "jid", "paris@example.org"))
    assert stored(alice, "public") == [("jid", "paris@example.org", "deny", 3, [])]
    put(alice, "special")
    use(alice, "active")
    use(alice, "default")
    assert names(alice) == [("list", "private"), ("list", "public")]


def test_order_is_by_number(alice):
    put(alice, "x", item(9), item(4294967295, "allow"), item(0, "allow", "jid", "a@b"))
    assert [i[3] for i in stored(alice, "x")] == [0, 9, 4294967295]


def test_pushes_to_all_resources(server):
    """§2.2: the name only."""
    one, two = server.client("alice", "one"), server.login("alice", "two")
    put(one, "x", item(1))
    for client in (one, two):
        push = client.expect(f"<iq type='set' to='{client}'>{query('<list/>')}</iq>")
        assert push[0][0].get("name") == "x" and not len(push[0][0])
    put(two, "x")
    for client in (one, two):
        client.expect("<iq type='set'>" + query("<list name='x'/>") + "</iq>")


@pytest.mark.parametrize("inner,condition", [
    ("<list name='a'/><list name='b'/>", "bad-request"),
    ("<active name='a'/><default name='a'/>", "bad-request"),
    ("", "bad-request"),
    ("<other name='a'/>", "bad-request"),
    ("<list><item action='deny' order='1'/></list>", "bad-request"),
    ("<list name=''><item action='deny' order='1'/></list>", "bad-request"),
    (f"<list name='{'n' * 257}'><item action='deny' order='1'/></list>", "not-acceptable"),
    ("<list name='x'><item order='1'/></list>", "bad-request"),
    ("<list name='x'><item action='maybe' order='1'/></list>", "bad-request"),
    ("<list name='x'><item action='deny'/></list>", "bad-request"),
    ("<list name='x'><item action='deny' order='-1'/></list>", "bad-request"),
    ("<list name='x'><item action='deny' order='4294967296'/></list>", "bad-request"),
    ("<list name='x'><item action='deny' order='one'/></list>", "bad-request"),
    (f"<list name='x'>{item(1)}{item(1, 'allow')}</list>", "bad-request"),
    (f"<list name='x'>{item(1, 'deny', 'jid', '@')}</list>", "jid-malformed"),
    (f"<list name='x'>{item(1, 'deny', 'jid', '')}</list>", "bad-request"),
    (f"<list name='x'>{item(1, 'deny', 'subscription', 'all')}</list>", "bad-request"),
    (f"<list name='x'>{item(1, 'deny', 'group', 'Nobodies')}</list>", "item-not-found"),
    (f"<list name='x'>{item(1, 'deny', 'colour', 'red')}</list>", "bad-request"),
    ("<list name='x'><item action='deny' order='1'><presence/></item></list>", "bad-request"),
    ("<list name='x'><entry action='deny' order='1'/></list>", "bad-request"),
    ("<list name='none'/>", "item-not-found"),
    ("<active name='none'/>", "item-not-found"),
    ("<default name='none'/>", "item-not-found"),
])
def test_bad_requests_change_nothing(alice, inner, condition):
    put(alice, "a", item(1))
    assert alice.error("set", query(inner))[0] == condition
    assert names(alice) == [("list", "a")]


def test_bad_gets(alice):
    put(alice, "a", item(1))
    put(alice, "b", item(1))
    assert alice.error("get", query("<list name='none'/>")) == ("item-not-found", "cancel")
    assert alice.error("get", query("<list name='a'/><list name='b'/>")) == (
        "bad-request", "modify")
    assert alice.error("get", query("<active/>")) == ("bad-request", "modify")


def test_conflicts(server):
    """§2.2 item 11: what applies to another resource stays."""
    one, two = server.client("alice", "one"), server.client("alice", "two")
    put(one, "a", item(1, "allow"))
    put(one, "b", item(1, "allow"))
    use(two, "active", "a")
    assert one.error("set", query("<list name='a'/>")) == ("conflict", "cancel")
    use(two, "active")
    use(one, "default", "a")
    for inner in ("<default/>", "<default name='b'/>", "<list name='a'/>"):
        assert one.error("set", query(inner)) == ("conflict", "cancel")
    use(two, "active", "b")
    use(one, "default")
    put(one, "a")
    assert names(one) == [("list", "b")]
    two.close()
    until("its end", lambda: len(server.rows("session", "list")) == 1)
    put(one, "b")


def test_own_list_may_go_while_it_is_active(alice):
    put(alice, "a", item(1, "allow"))
    use(alice, "active", "a")
    put(alice, "a")
    assert names(alice) == []


def test_limits(make_server):
    server = make_server("alice", settings={"privacy.lists-max": 2, "privacy.rules-max": 4})
    alice = server.client("alice", "a")
    put(alice, "a", item(1))
    put(alice, "b", item(1))
    assert alice.error("set", query(f"<list name='c'>{item(1)}</list>")) == (
        "resource-constraint", "wait")
    put(alice, "b", item(1), item(2), item(3))
    assert alice.error("set", query(f"<list name='a'>{item(1)}{item(2)}</list>"))[0] == (
        "resource-constraint")
    assert len(stored(alice, "a")) == 1


# --- what they do ---


def test_messages(pair, carol):
    alice, bob = pair
    put(alice, "x", item(3, "deny", "jid", "bob@localhost", "message"))
    use(alice, "active", "x")
    bob.send(f"<message to='{alice}' id='m'><body>hi</body></message>")
    bob.expect_error("service-unavailable", "cancel", "<message id='m'/>")
    carol.send(f"<message to='{alice}'><body>hi</body></message>")
    alice.expect(f"<message from='{carol}'/>")
    bob.send("<presence><show>dnd</show></presence>")
    alice.expect(f"<presence from='{bob}'><show>dnd</show></presence>")
    alice.send(f"<message to='{bob}'><body>out</body></message>")
    bob.expect("<message><body>out</body></message>")


def test_only_the_session_of_the_active_list(pair, server):
    """§2.2 items 1, 2: no layering; the others are under the default list."""
    alice, bob = pair
    desk = server.client("alice", "desk")
    put(alice, "nobody", item(1, "deny", None, None, "message"))
    use(alice, "active", "nobody")
    bob.send("<message to='alice@localhost' type='chat'><body>one</body></message>")
    desk.expect("<message><body>one</body></message>")
    bob.send(f"<message to='{alice}' id='m'><body>two</body></message>")
    bob.expect_error("service-unavailable", None, "<message id='m'/>")
    alice.expect_nothing("<message/>")
    put(desk, "all", item(1, "allow"))
    use(desk, "active", "all")
    use(desk, "default", "nobody")
    bob.send("<message to='alice@localhost' type='chat'><body>three</body></message>")
    desk.expect("<message><body>three</body></message>")
    use(desk, "active")
    bob.send("<message to='alice@localhost' type='chat' id='m4'><body>four</body></message>")
    bob.expect_error("service-unavailable", None, "<message id='m4'/>")


def test_default_list_without_sessions(pair):
    alice, bob = pair
    put(alice, "x", item(1, "deny", "jid", "bob@localhost"))
    use(alice, "default", "x")
    alice.close()
    bob.send("<message to='alice@localhost' type='chat' id='m'><body>hi</body></message>")
    bob.expect_error("service-unavailable", None, "<message id='m'/>")


def test_presence_in(pair):
    """§2.10: the contact goes, for this session; it is asked again when it may come back."""
    alice, bob = pair
    put(alice, "x", item(7, "deny", "jid", "bob@localhost", "presence-in"))
    use(alice, "active", "x")
    alice.expect("<presence from='bob@localhost' type='unavailable'/>")
    bob.send("<presence><show>away</show></presence>")
    bob.send(f"<presence to='{alice}'><show>xa</show></presence>")
    alice.expect_nothing("<presence/>", after=bob)
    use(alice, "active")
    alice.expect(f"<presence from='{bob}'><show>away</show></presence>")


def test_presence_out(pair):
    """§2.11"""
    alice, bob = pair
    put(alice, "x", item(13, "deny", "jid", "bob@localhost", "presence-out"))
    use(alice, "active", "x")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    alice.send("<presence><show>away</show></presence>")
    bob.expect_nothing("<presence/>", after=alice)
    alice.send(f"<presence to='{bob}' id='d'/>")
    alice.expect_error("not-acceptable", None, "<presence id='d'/>")
    put(alice, "x", item(1, "allow"))
    bob.expect(f"<presence from='{alice}'><show>away</show></presence>")


def test_iqs(pair):
    """§2.12: requests; answers to the user's own pass."""
    alice, bob = pair
    put(alice, "x", item(1, "deny", None, None, "iq"))
    use(alice, "active", "x")
    assert bob.error("get", "<q xmlns='x'/>", to=str(alice)) == ("service-unavailable", "cancel")
    alice.expect_nothing("<iq type='get'/>", after=bob)
    alice.send(f"<iq type='get' id='v' to='{bob}'><q xmlns='x'/></iq>")
    bob.expect("<iq id='v'/>")
    bob.send(f"<iq type='result' id='v' to='{alice}'/>")
    alice.expect("<iq type='result' id='v'/>")


def test_everything(pair):
    """§2.13, §2.14: subscriptions too, and nothing out."""
    alice, bob = pair
    put(alice, "x", item(1, "deny"))
    use(alice, "active", "x")
    bob.expect("<presence type='unavailable'/>")
    alice.send(f"<message to='{bob}' id='m'><body>hi</body></message>")
    alice.expect_error("not-acceptable", None, "<message id='m'/>")
    bob.send("<presence type='unsubscribe' to='alice@localhost'/>")
    bob.ping()
    expect_silence(bob, alice, "<presence type='unavailable'/>")
    alice.ping()  # the server itself is not blocked
    use(alice, "active")
    alice.send(f"<message to='{bob}'><body>back</body></message>")
    bob.expect("<message><body>back</body></message>")


@pytest.mark.parametrize("what", ["active", "default"])
def test_what_serves_the_user_answers(server, what):
    """The own account, the server, its services: RFC 6120 §8.2.3, one answer to each request."""
    alice = server.client("alice", "a")
    put(alice, "x", item(1, "deny"))
    use(alice, what, "x")
    info = f"<query xmlns='{xml.DISCO_INFO}'/>"
    for to in (None, "alice@localhost", "localhost", "pubsub.localhost", "upload.localhost"):
        alice.result("get", info, to=to)
    for to in ("localhost/x", "pubsub.localhost/x"):
        assert alice.error("get", "<q xmlns='x'/>", to=to)[0] == "service-unavailable", to
    assert alice.error("get", info, to="bob@localhost")[0] == "not-acceptable"
    assert alice.error("get", info, to="room@pubsub.localhost")[0] == "not-acceptable"


def test_what_is_no_address_is_answered(alice):
    """The answer comes from nobody, whom a rule denies."""
    put(alice, "x", item(1, "deny"))
    use(alice, "active", "x")
    assert alice.error("get", "<q xmlns='x'/>", to="@") == ("jid-malformed", "modify")
    alice.send("<message to='@' id='m'><body>hi</body></message>")
    alice.expect_error("jid-malformed", "modify", "<message id='m'/>")


def test_an_answer_of_a_service_that_comes_after_the_rule(alice):
    put(alice, "x", item(1, "deny"))
    active = query("<active name='x'/>")
    create = ("<iq type='set' id='c' to='pubsub.localhost'><pubsub "
              "xmlns='http://jabber.org/protocol/pubsub'><create node='n'/></pubsub></iq>")
    alice.send(create + f"<iq type='set' id='a'>{active}</iq>")
    for ident in "ac":
        alice.expect(f"<iq type='result' id='{ident}'/>")


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_groups_and_subscriptions(pair, carol):
    """§2.2 item 9: changes of the roster count at once."""
    alice, bob = pair
    roster = "<query xmlns='jabber:iq:roster'><item jid='{}'>{}</item></query>"
    alice.result("set", roster.format("bob@localhost", "<group>Enemies</group>"))
    put(alice, "x", item(4, "deny", "group", "Enemies", "message"),
        item(5, "deny", "subscription", "none", "message"))
    use(alice, "active", "x")
    for client in (bob, carol):
        client.send(f"<message to='{alice}' id='m'><body>hi</body></message>")
        client.expect_error("service-unavailable", None, "<message id='m'/>")
    alice.result("set", roster.format("bob@localhost", "<group>Friends</group>"))
    bob.send(f"<message to='{alice}'><body>friend</body></message>")
    alice.expect("<message><body>friend</body></message>")
    alice.send("<presence to='carol@localhost' type='subscribe'/>")
    carol.expect("<presence type='subscribe'/>")
    carol.send("<presence to='alice@localhost' type='subscribed'/>")
    alice.expect("<presence from='carol@localhost/c'/>")
    carol.send(f"<message to='{alice}'><body>known</body></message>")
    alice.expect("<message><body>known</body></message>")


def test_an_edit_counts_at_once(pair):
    """§2.2 item 8"""
    alice, bob = pair
    put(alice, "x", item(1, "allow"))
    use(alice, "default", "x")
    put(alice, "x", item(1, "deny", "jid", "bob@localhost"), item(2, "allow"))
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    bob.send(f"<message to='{alice}' id='m'><body>hi</body></message>")
    bob.expect_error("service-unavailable", None, "<message id='m'/>")


def test_own_resources_pass(server):
    one, two = server.client("alice", "one"), server.client("alice", "two")
    put(one, "x", item(1, "deny"))
    use(one, "active", "x")
    two.send(f"<message to='{one}'><body>me</body></message>")
    one.expect("<message><body>me</body></message>")


def test_active_list_ends_with_the_session_and_lives_in_resumption(server):
    alice = server.login("alice", "a")
    alice.enable_sm()
    alice.available()
    put(alice, "x", item(1, "deny", None, None, "message"))
    use(alice, "active", "x")
    alice.request_ack()
    alice.ping()
    alice.cut()
    server.restart()
    again = server.connect("alice")
    assert again.take_over(alice).tag.endswith("resumed")
    assert ("active", "x") in names(again)
    bob = server.client("bob", "b")
    bob.send(f"<message to='{again}' id='m'><body>hi</body></message>")
    bob.expect_error("service-unavailable", None, "<message id='m'/>")
    again.close()
    assert names(server.client("alice", "a")) == [("list", "x")]


def test_kept_across_kill(make_server):
    server = make_server("alice")
    alice = server.client("alice", "a")
    put(alice, "x", item(3, "deny", "jid", "bob@localhost", "iq"), item(9, "allow"))
    put(alice, "y", item(1, "deny"))
    put(alice, "y")
    use(alice, "default", "x")
    server.kill()
    server.start()
    alice = server.client("alice", "a")
    assert names(alice) == [("default", "x"), ("list", "x")]
    assert stored(alice, "x") == [("jid", "bob@localhost", "deny", 3, ["iq"]),
                                  (None, None, "allow", 9, [])]


# --- and blocking (XEP-0191 §3) ---


def blocked(client):
    return sorted(i.get("jid") for i in client.result("get", f"<blocklist xmlns='{BLOCKING}'/>"))


def block(client, verb, *jids):
    inner = "".join(f"<item jid='{jid}'/>" for jid in jids)
    client.result("set", f"<{verb} xmlns='{BLOCKING}'>{inner}</{verb}>")


def test_blocking_goes_first_in_the_default_list(alice):
    put(alice, "mine", item(0, "allow", "jid", "bob@localhost"), item(5, "deny", None, None, "iq"))
    use(alice, "default", "mine")
    block(alice, "block", "bob@localhost", "carol@localhost")
    assert names(alice) == [("default", "mine"), ("list", "mine")]
    found = stored(alice, "mine")
    assert [i[3] for i in found] == [1, 2, 3, 4]
    assert {i[1] for i in found[:2]} == {"bob@localhost", "carol@localhost"}
    assert [i[2] for i in found] == ["deny", "deny", "allow", "deny"]
    block(alice, "unblock")
    assert [i[3] for i in stored(alice, "mine")] == [0, 5]
    assert blocked(alice) == []


def test_a_virtual_list(alice):
    block(alice, "block", "bob@localhost")
    assert names(alice) == [("default", BLOCKING), ("list", BLOCKING)]
    assert stored(alice, BLOCKING) == [("jid", "bob@localhost", "deny", 0, [])]
    block(alice, "unblock", "bob@localhost")
    assert names(alice) == []


def test_unblocking_takes_every_rule_of_the_address(alice):
    put(alice, "mine", item(1, "deny", "jid", "bob@localhost"),
        item(2, "allow", "jid", "bob@localhost"), item(3, "deny", "jid", "bob@localhost"),
        item(4, "deny", "jid", "bob@localhost", "iq"))
    use(alice, "default", "mine")
    block(alice, "unblock", "bob@localhost", "carol@localhost")
    assert blocked(alice) == []
    assert [i[3] for i in stored(alice, "mine")] == [2, 4]


def test_lists_change_what_is_blocked(alice):
    """§3 items 2, 3, 4"""
    put(alice, "one", item(1, "deny", "jid", "bob@localhost"),
        item(2, "deny", "jid", "carol@localhost", "message"), item(3, "deny", "jid", "x.example"))
    put(alice, "two", item(1, "deny", "jid", "dave@localhost"))
    use(alice, "default", "one")
    assert blocked(alice) == ["bob@localhost", "x.example"]
    use(alice, "default", "two")
    assert blocked(alice) == ["dave@localhost"]
    use(alice, "default")
    assert blocked(alice) == []


def test_another_active_list_lets_through(pair):
    """§3 item 5"""
    alice, bob = pair
    block(alice, "block", "bob@localhost")
    bob.expect("<presence type='unavailable'/>")
    put(alice, "open", item(1, "allow"))
    use(alice, "active", "open")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    bob.send(f"<message to='{alice}'><body>hi</body></message>")
    alice.expect("<message><body>hi</body></message>")


# --- invisibility (XEP-0126) ---


def test_login_invisible_and_appear(server):
    """§3.1 to §3.5"""
    server.befriend("alice", "bob")
    bob = server.client("bob", "b")
    alice = server.login("alice", "a")
    put(alice, "invisible", item(1, "deny", None, None, "presence-out"))
    use(alice, "active", "invisible")
    alice.available()
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect_nothing("<presence/>", after=alice)
    put(alice, "visible-to-bob", item(1, "allow", "jid", "bob@localhost", "presence-out"),
        item(2, "deny", None, None, "presence-out"))
    use(alice, "active", "visible-to-bob")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    alice.send("<presence><status>here</status></presence>")
    bob.expect(f"<presence from='{alice}'><status>here</status></presence>")
    alice.send("<presence type='unavailable'/>")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    use(alice, "active", "invisible")
    alice.send("<presence/>")
    bob.expect_nothing("<presence/>", after=alice)
