"""Groups of users that an administrator makes, in the rosters of who may see them."""
import pytest

from harness import xml
from harness.client import until
from harness.pubsub import publish
from im.test_blocking import block, unblock
from im.test_invisible import hide
from services.test_pep import TUNE, expect_event, interested, tune
from im.test_policy import edit
from operate.test_rename import rename
from im.test_roster import get, items, push, put, refuse

NAMES = ("alice", "bob", "carol")
JIDS = tuple(f"{name}@localhost" for name in NAMES)


def make(server, *users, name="sales", shown="Sales", **options):
    given = [word for key, value in options.items()
             for word in (f"--{key.replace('_', '-')}", value)]
    server.ctl("group", "add", name, "--shown", shown, *given)
    if users:
        join(server, *users, name=name)


def join(server, *users, name="sales"):
    server.ctl("group-member", "add", name, *users)


def leave(server, *users, name="sales"):
    server.ctl("group-member", "del", name, *users)


def listening(server, name, resource="r"):
    client = server.login(name, resource)
    get(client)
    return client.available()


def refused(server, *args):
    done = server.ctl_run(*args)
    assert done.returncode != 0
    return done.stderr


# --- rosters ---


def test_members_are_in_the_rosters_of_each_other(server):
    make(server, *JIDS)
    for name in NAMES:
        assert items(get(server.login(name))) == {
            jid: ("both", None, ["Sales"]) for jid in JIDS if jid != f"{name}@localhost"}
    server.add_user("dave")
    assert items(get(server.login("dave"))) == {}


def test_who_is_online_is_pushed_what_changes(server):
    alice, bob = listening(server, "alice"), listening(server, "bob")
    make(server, "alice@localhost")
    alice.expect_nothing("<iq type='set'/>")
    join(server, "bob@localhost")
    push(alice, "<item jid='bob@localhost' subscription='both'><group>Sales</group></item>")
    push(bob, "<item jid='alice@localhost' subscription='both'><group>Sales</group></item>")
    server.ctl("group", "set", "sales", "--shown", "Sales & more")
    push(alice, "<item jid='bob@localhost'><group>Sales &amp; more</group></item>")
    leave(server, "bob@localhost")
    push(alice, "<item jid='bob@localhost' subscription='remove'/>")
    push(bob, "<item jid='alice@localhost' subscription='remove'/>")
    assert items(get(alice)) == items(get(bob)) == {}


def test_a_group_that_is_deleted_goes_from_rosters(server):
    make(server, *JIDS)
    alice = listening(server, "alice")
    server.ctl("group", "del", "sales", "--yes")
    for _ in range(2):
        push(alice, "<item subscription='remove'/>")
    assert items(get(alice)) == {}
    assert server.rows("group", "list") == []


def test_it_is_there_after_a_crash(server):
    make(server, *JIDS[:2])
    server.kill()
    server.start()
    assert set(items(get(server.login("alice")))) == {"bob@localhost"}


# --- presence ---


def test_members_see_each_other_without_asking(server):
    make(server, "alice@localhost", "bob@localhost")
    bob = server.client("bob", "b")
    alice = server.client("alice", "a")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    alice.send("<presence><show>away</show></presence>")
    bob.expect(f"<presence from='{alice}'><show>away</show></presence>")
    alice.cut()
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    bob.expect_nothing("<presence type='subscribe'/>")


def test_presence_comes_and_goes_with_membership(server):
    alice, bob = listening(server, "alice"), listening(server, "bob")
    make(server, "alice@localhost", "bob@localhost")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    leave(server, "bob@localhost")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    bob.send("<presence><show>dnd</show></presence>")
    bob.ping()
    alice.expect_nothing("<presence><show>dnd</show></presence>", after=bob)


def test_pep_and_capabilities_follow(server):
    alice, bob = listening(server, "alice"), listening(server, "bob")
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    interested(bob, TUNE)
    make(server, "alice@localhost", "bob@localhost")
    expect_event(bob, TUNE, alice.bare, "<item id='1'/>")
    alice.result("set", publish(TUNE, tune("two"), item="2"))
    expect_event(bob, TUNE, alice.bare, "<item id='2'/>")
    leave(server, "bob@localhost")
    alice.result("set", publish(TUNE, tune("three"), item="3"))
    bob.expect_nothing("<message/>", after=alice)


# --- who sees it ---


def test_a_group_can_be_seen_by_a_whole_domain(server):
    """One way: who is in it does not get all the others into the list, nor their presence."""
    make(server, "alice@localhost", visible_to="domain:localhost")
    alice, carol = listening(server, "alice"), listening(server, "carol")
    carol.expect(f"<presence from='{alice}' type='-'/>")
    assert items(get(carol)) == {"alice@localhost": ("to", None, ["Sales"])}
    assert items(get(alice)) == {}
    carol.send("<presence><show>dnd</show></presence>")
    alice.expect_nothing("<presence><show>dnd</show></presence>", after=carol)
    view = {r["check"]: r["found"] for r in server.rows(
        "presence", "view", "alice@localhost", "--watcher", "carol@localhost")}
    assert view["subscription"] == "from"


def test_a_group_can_be_seen_by_another_group(server):
    make(server, "alice@localhost", "bob@localhost")
    make(server, "carol@localhost", name="help", shown="Help", visible_to="members group:sales")
    assert items(get(server.login("alice"))) == {
        "bob@localhost": ("both", None, ["Sales"]), "carol@localhost": ("to", None, ["Help"])}
    assert items(get(server.login("carol"))) == {}
    server.ctl("group", "set", "sales", "--visible-to", "members group:help")
    assert items(get(server.login("carol"))) == {jid: ("both", None, ["Sales"])
                                                 for jid in JIDS[:2]}
    server.ctl("group", "del", "sales", "--yes")
    assert items(get(server.login("alice"))) == items(get(server.login("carol"))) == {}


# --- members by domain and by profile ---


def test_a_group_can_be_seen_by_nobody(server):
    """It says who sees another one, and its members do not see each other."""
    make(server, "bob@localhost", "carol@localhost", visible_to="nobody")
    make(server, "alice@localhost", name="help", shown="Help", visible_to="group:sales")
    bob = listening(server, "bob")
    assert items(get(bob)) == {"alice@localhost": ("to", None, ["Help"])}
    server.ctl("group", "set", "sales", "--visible-to", "members")
    push(bob, "<item jid='carol@localhost' subscription='both'/>")
    server.ctl("group", "set", "sales", "--visible-to", "nobody")
    push(bob, "<item jid='carol@localhost' subscription='remove'/>")
    assert server.rows("group", "show", "sales")[0]["visible_to"] == "nobody"


def test_all_of_a_domain_are_members_also_those_that_come_later(server):
    make(server)
    server.ctl("group-member", "add", "sales", "--domain", "localhost")
    alice = listening(server, "alice")
    assert set(items(get(alice))) == {"bob@localhost", "carol@localhost"}
    server.add_user("dave")
    push(alice, "<item jid='dave@localhost' subscription='both'/>")
    server.ctl("user", "del", "bob@localhost")
    push(alice, "<item jid='bob@localhost' subscription='remove'/>")
    assert set(items(get(server.login("dave")))) == {"alice@localhost", "carol@localhost"}
    server.ctl("group-member", "del", "sales", "--domain", "localhost")
    assert items(get(alice)) == {}


def test_members_by_what_their_profiles_say(server):
    for jid, given, surname in (("alice", "Alice", "Liddell"), ("bob", "Bob", "")):
        server.ctl("user", "set", f"{jid}@localhost", "--department", "Human Resources",
                   "--given-name", given, "--surname", surname)
    make(server)
    server.ctl("group-member", "add", "sales", "--rule", "department=Human Resources")
    bob = listening(server, "bob")
    assert items(get(bob)) == {"alice@localhost": ("both", "Alice Liddell", ["Sales"])}
    server.ctl("user", "set", "carol@localhost", "--department", "Human Resources")
    push(bob, "<item jid='carol@localhost' subscription='both'/>")
    server.ctl("user", "set", "alice@localhost", "--department", "Logistics")
    push(bob, "<item jid='alice@localhost' subscription='remove'/>")
    server.ctl("user", "set", "carol@localhost", "--surname", "Carolus")
    push(bob, "<item jid='carol@localhost' name='Carolus'/>")


def test_test_users_are_members_only_by_name(server):
    """They are marked while the groups are there, and the other way round."""
    make(server)
    server.ctl("group-member", "add", "sales", "--domain", "localhost")
    make(server, *JIDS[:2], name="named", shown="Named")
    alice, carol = listening(server, "alice"), listening(server, "carol")
    server.ctl("test", "user-add", JIDS[1], "--password", "secret")
    push(carol, f"<item jid='{JIDS[1]}' subscription='remove'/>")
    push(alice, f"<item jid='{JIDS[1]}'><group>Named</group></item>")
    assert set(items(get(server.login("bob")))) == {JIDS[0]}
    make(server, name="later")
    server.ctl("group-member", "add", "later", "--domain", "localhost")
    row = next(r for r in server.rows("group", "list") if r["name"] == "later")
    assert row["members"] == 2
    server.ctl("test", "user-del", JIDS[1])
    push(carol, f"<item jid='{JIDS[1]}' subscription='both'/>")


def test_an_address_is_not_inherited(server):
    make(server, *JIDS)
    bob = listening(server, "bob")
    server.ctl("user", "del", "alice@localhost")
    server.add_user("alice")
    alice = server.client("alice", "new")
    assert items(get(alice)) == {}
    bob.send("<presence><show>dnd</show></presence>")
    bob.ping()
    alice.expect_nothing("<presence><show>dnd</show></presence>", after=bob)
    until("bob lost her", lambda: set(items(get(bob))) == {"carol@localhost"})


# --- what users do with it ---


def test_a_contact_of_a_group_cannot_be_removed(server):
    make(server, "alice@localhost", "bob@localhost")
    alice = listening(server, "alice")
    assert refuse(alice, "<item jid='bob@localhost' subscription='remove'/>")[0] == "not-allowed"
    assert items(get(alice)) == {"bob@localhost": ("both", None, ["Sales"])}
    assert refuse(alice, "<item jid='x@localhost' subscription='remove'/>")[0] == "item-not-found"


def test_name_and_groups_of_the_user_stand_beside_it(server):
    make(server, "alice@localhost", "bob@localhost")
    alice = listening(server, "alice")
    put(alice, "<item jid='bob@localhost' name='Bobby'><group>Sales</group><group>Chess</group>"
               "</item>")
    push(alice, "<item jid='bob@localhost' name='Bobby' subscription='both'><group>Chess</group>"
                "<group>Sales</group></item>")
    put(alice, "<item jid='bob@localhost' name='Bobby'><group>Chess</group></item>")
    assert items(get(alice)) == {"bob@localhost": ("both", "Bobby", ["Chess", "Sales"])}
    put(alice, "<item jid='bob@localhost' subscription='remove'/>")
    assert items(get(alice)) == {"bob@localhost": ("both", None, ["Sales"])}
    put(alice, "<item jid='bob@localhost' name='Bobby'><group>Chess</group></item>")
    leave(server, "bob@localhost")
    assert items(get(alice)) == {"bob@localhost": ("none", "Bobby", ["Chess"])}


def test_own_subscriptions_outlast_the_group(server):
    server.befriend("alice", "bob")
    alice, bob = listening(server, "alice"), listening(server, "bob")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    make(server, "alice@localhost", "bob@localhost")
    push(alice, "<item jid='bob@localhost' subscription='both'><group>Sales</group></item>")
    leave(server, "bob@localhost")
    push(alice, "<item jid='bob@localhost' subscription='both'/>")
    bob.ping()
    bob.expect_nothing("<presence type='unavailable'/>", after=alice)


def test_subscriptions_that_end_leave_the_group(server):
    server.befriend("alice", "bob")
    make(server, "alice@localhost", "bob@localhost")
    alice, bob = listening(server, "alice"), listening(server, "bob")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    put(alice, "<item jid='bob@localhost' subscription='remove'/>")
    assert items(get(alice)) == {"bob@localhost": ("both", None, ["Sales"])}
    alice.send("<presence><show>away</show></presence>")
    bob.expect(f"<presence from='{alice}'><show>away</show></presence>")
    bob.expect_nothing("<presence type='unavailable'/>", after=alice)


@pytest.mark.parametrize("kind", ["subscribe", "subscribed", "unsubscribe", "unsubscribed"])
def test_there_is_nothing_to_ask_and_nothing_to_end(server, kind):
    """What a group gives cannot be made to last, nor taken away."""
    make(server, "alice@localhost", "bob@localhost")
    alice, bob = listening(server, "alice"), listening(server, "bob")
    alice.send(f"<presence to='bob@localhost' type='{kind}'/>")
    alice.ping()
    bob.expect_nothing(f"<presence type='{kind}'/>", after=alice)
    assert items(get(alice))["bob@localhost"][0] == "both"
    leave(server, "bob@localhost")
    assert items(get(alice)) == items(get(bob)) == {}


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_a_request_that_a_group_has_answered_is_not_shown_while_it_does(server):
    """RFC 6121 §3.1.3: requests come again with each client. This one is for what bob has."""
    bob = listening(server, "bob")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    push(bob, "<item jid='alice@localhost' ask='subscribe'/>")
    first = server.client("alice", "first")
    first.expect(f"<presence from='{bob.bare}' type='subscribe'/>")
    make(server, "alice@localhost", "bob@localhost")
    server.client("alice", "second").expect_nothing("<presence type='subscribe'/>", after=bob)
    leave(server, "bob@localhost")
    server.client("alice", "third").expect(f"<presence from='{bob.bare}' type='subscribe'/>")


# --- versions ---


def test_versions(server):
    """RFC 6121 §2.6: any change of a group is another version; the last push says the new one."""
    make(server, "alice@localhost", "bob@localhost")
    alice = listening(server, "alice")
    first = get(alice).get("ver")
    assert get(alice, first) is None
    join(server, "carol@localhost")
    query = push(alice, "<item jid='carol@localhost'/>")[0]
    second = get(alice).get("ver")
    assert query.get("ver") == second != first
    put(alice, "<item jid='x@localhost'/>")
    push(alice, "<item jid='x@localhost'/>")
    assert get(alice, second) is None
    push(alice, "<item jid='x@localhost'/>")
    third = get(alice).get("ver")
    alice.close()
    server.kill()
    server.start()
    again = server.login("alice")
    assert get(again, third) is None
    assert set(items(get(again, first))) == {"bob@localhost", "carol@localhost", "x@localhost"}
    server.ctl("group", "set", "sales", "--shown", "Other")
    assert items(get(again, third))["bob@localhost"] == ("both", None, ["Other"])
    server.ctl("group", "del", "sales", "--yes")
    assert set(items(get(again, third))) == {"x@localhost"}


def test_a_client_that_heard_half_of_a_change_gets_the_whole_list(server):
    make(server, "alice@localhost")
    alice = listening(server, "alice")
    join(server, "bob@localhost", "carol@localhost")
    half, whole = (push(alice, "<item/>")[0].get("ver") for _ in range(2))
    assert len(items(get(alice, half))) == 2
    assert get(alice, whole) is None


# --- beside other features ---


def test_blocking(server):
    """XEP-0191: who is blocked sees the user leave, and come when it is unblocked."""
    carol = listening(server, "carol")
    make(server, "alice@localhost", "bob@localhost")
    alice, bob = listening(server, "alice"), listening(server, "bob")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    block(alice, "bob@localhost")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    alice.send("<presence><show>away</show></presence>")
    other = server.client("bob", "other")
    alice.ping()
    other.expect_nothing(f"<presence from='{alice}'/>", after=carol)
    unblock(alice, "bob@localhost")
    bob.expect(f"<presence from='{alice}'><show>away</show></presence>")


def test_a_block_holds_when_a_group_comes(server):
    alice, bob, carol = (listening(server, name) for name in NAMES)
    block(alice, "bob@localhost")
    make(server, "alice@localhost", "bob@localhost")
    push(bob, "<item jid='alice@localhost'/>")
    bob.expect_nothing(f"<presence from='{alice}'/>", after=carol)


def test_invisible(server):
    make(server, "alice@localhost", "bob@localhost")
    alice, bob = listening(server, "alice"), listening(server, "bob")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    hide(alice)
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    leave(server, "bob@localhost")
    join(server, "bob@localhost")
    alice.ping()
    bob.expect_nothing(f"<presence from='{alice}' type='-'/>", after=alice)


def got(client, template):
    return any(xml.matches(e, template) for e in client.log)


def sees(client, other):
    """Whether the client was told last that the other is available."""
    client.iq("get", "<q xmlns='x'/>", to=other.bare)  # behind all that the other's home has sent
    told = [e for e in client.log if xml.matches(e, f"<presence from='{other}'/>")]
    return bool(told) and told[-1].get("type") is None


# What a user may do with one who blocks strangers: see them, write, ask the client, ask for a
# subscription, and be seen.
NOTHING = dict.fromkeys(("sees", "message", "iq", "subscribe", "seen"), False)
MAY = {"contact": {**dict.fromkeys(NOTHING, True), "subscribe": False},  # it is granted already
       "contact and member": {**dict.fromkeys(NOTHING, True), "subscribe": False},
       "member": {**NOTHING, "seen": True},
       "stranger": NOTHING}


@pytest.mark.parametrize("who", MAY)
def test_members_are_strangers_to_a_policy(server, who):
    """Only the list that the user makes has contacts; what the user sees of members stays."""
    if "contact" in who:
        server.befriend("alice", "bob")
    if "member" in who:
        make(server, *JIDS[:2])
    alice, bob = listening(server, "alice"), listening(server, "bob")
    sees(bob, alice)
    edit(alice, "others='block'")
    found = {"sees": sees(bob, alice)}
    bob.send(f"<presence to='{alice.bare}' type='probe'/>"
             f"<message to='{alice.bare}' id='m'><body>hello</body></message>"
             f"<iq type='get' id='q' to='{alice}'><q xmlns='z'/></iq>"
             f"<presence to='{alice.bare}' type='subscribe'/>"
             "<presence><show>dnd</show></presence>")
    bob.ping()
    alice.iq("get", "<q xmlns='x'/>", to=bob.bare)
    found |= {"message": got(alice, "<message id='m'/>"), "iq": got(alice, "<iq id='q'/>"),
              "subscribe": got(alice, "<presence type='subscribe'/>"),
              "seen": got(alice, f"<presence from='{bob}'><show>dnd</show></presence>")}
    assert found == MAY[who]
    assert sees(bob, alice) == MAY[who]["sees"]


def test_a_member_becomes_a_contact_and_a_stranger_again(server):
    """The list decides from the moment when it changes."""
    make(server, *JIDS[:2])
    alice, bob = listening(server, "alice"), listening(server, "bob")
    edit(alice, "others='block'")
    assert not sees(bob, alice)
    put(alice, "<item jid='bob@localhost' name='Bob'/>")
    assert sees(bob, alice)
    put(alice, "<item jid='bob@localhost' subscription='remove'/>")
    assert not sees(bob, alice)
    edit(alice, "", bob_at_localhost="allow")
    assert sees(bob, alice)


def test_a_rule_for_a_member(server):
    make(server, *JIDS[:2])
    alice, bob = listening(server, "alice"), listening(server, "bob")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    edit(alice, bob_at_localhost="block")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")


def test_privacy_lists_know_the_group(server):
    """XEP-0016 §2.1: a rule about a group of the roster."""
    make(server, *JIDS[:2])
    alice, bob = listening(server, "alice"), listening(server, "bob")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    alice.result("set", "<query xmlns='jabber:iq:privacy'><list name='l'><item type='group' "
                 "value='Sales' action='deny' order='1'/></list></query>")
    alice.result("set", "<query xmlns='jabber:iq:privacy'><active name='l'/></query>")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")


def test_privacy_lists_with_groups_of_both_kinds(server):
    """XEP-0016 §2.1: each group of a list is one of the user's or of the server's."""
    make(server, *JIDS[:2])
    alice = listening(server, "alice")
    alice.result("set", "<query xmlns='jabber:iq:roster'><item jid='carol@localhost'>"
                 "<group>Friends</group></item></query>")

    def query(*groups):
        items = "".join(f"<item type='group' value='{group}' action='deny' order='{order}'/>"
                        for order, group in enumerate(groups))
        return f"<query xmlns='jabber:iq:privacy'><list name='l'>{items}</list></query>"
    alice.result("set", query("Friends", "Sales", "Friends"))
    assert alice.error("set", query("Sales", "Friends", "Nobodies"))[0] == "item-not-found"
    assert alice.error("set", query("Nobodies", "Sales"))[0] == "item-not-found"


def test_archives_of_contacts_only(server):
    """XEP-0441: `roster` archives what is exchanged with members of a group."""
    make(server, "alice@localhost", "bob@localhost")
    alice, bob, carol = (listening(server, name) for name in NAMES)
    alice.result("set", "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always/><never/></prefs>")
    for who in carol, bob:
        who.send(f"<message to='{alice.bare}' type='chat'><body>from {who.bare}</body></message>")
        alice.expect(f"<message><body>from {who.bare}</body></message>")
    alice.result("set", "<query xmlns='urn:xmpp:mam:2'/>")
    kept = [m.findtext(".//{jabber:client}body") for m in alice.drain()
            if m.find("{urn:xmpp:mam:2}result") is not None]
    assert kept == ["from bob@localhost"]


@pytest.mark.settings({"roster.contacts-max": 1, "roster.watchers-max": 1},
                      why="a list that is full")
def test_limits_of_own_contacts_do_not_count_groups(server):
    alice = listening(server, "alice")
    put(alice, "<item jid='x@localhost'/>")
    make(server, *JIDS)
    assert len(items(get(alice))) == 3
    assert refuse(alice, "<item jid='y@localhost'/>")[0] == "policy-violation"


# --- commands ---


def test_the_commands_show_what_is_there(server):
    make(server, "alice@localhost", visible_to="members domain:localhost")
    server.ctl("group-member", "add", "sales", "--domain", "localhost", "--rule", "source=local")
    assert server.rows("group", "list") == [{"name": "sales", "shown": "Sales", "named": 1,
                                             "rules": 2, "members": 3}]
    assert server.rows("group", "show", "sales") == [{
        "name": "sales", "shown": "Sales", "visible_to": "domain:localhost members",
        "members": "alice@localhost", "domains": "localhost", "rules": "source=local",
        "now": 3}]
    assert [r["jid"] for r in server.rows("group-member", "list", "sales")] == list(JIDS)


def test_rules_are_read_as_they_are_written(server):
    """In one line, although values have spaces."""
    rules = "department=Field Sales = West given-name=Al  ice source=local"
    make(server)
    for _ in range(2):
        server.ctl("group", "set", "sales", "--rules", rules, "--domains", "localhost")
        shown, = server.rows("group", "show", "sales")
        assert (shown["rules"], shown["domains"]) == (rules, "localhost")
    server.ctl("group-member", "add", "sales", "--rule", "email=a@b.example")
    server.ctl("group-member", "del", "sales", "--rule", "department=Field Sales = West")
    shown, = server.rows("group", "show", "sales")
    assert shown["rules"] == "email=a@b.example given-name=Al  ice source=local"
    server.ctl("group", "set", "sales", "--rules", "")
    shown, = server.rows("group", "show", "sales")
    assert (shown["rules"], shown["domains"]) == ("", "localhost")
    for wrong in "Sales", "shoe-size=42", "department=", "x department=Sales":
        assert "rules such as" in refused(server, "group", "set", "sales", "--rules", wrong)
    assert "department=VALUE" in refused(server, "group-member", "add", "sales", "--rule",
                                         "department=Sales source=local")
    many = " ".join(f"department=d{n}" for n in range(49))
    assert "found 50 domains and rules" in refused(server, "group", "set", "sales", "--rules", many)
    server.ctl("group", "set", "sales", "--rules", many, "--domains", "")


@pytest.mark.settings({"groups.max": 1, "groups.members-max": 2}, why="limits that are reached")
def test_groups_are_limited(server):
    make(server, *JIDS[:2])
    assert "groups.max" in refused(server, "group", "add", "more")
    assert "groups.members-max" in refused(server, "group-member", "add", "sales", JIDS[2])
    assert len(items(get(server.login("alice")))) == 1
    said = server.ctl("group-member", "add", "sales", "--domain", "localhost")["text"]
    assert said == ("sales: changed; only the 2 oldest of 3 accounts that match are in it "
                    "(groups.members-max)")
    assert server.ctl("group", "set", "sales", "--domains", "localhost")["text"] == said
    assert server.rows("group", "list")[0]["members"] == 2
    assert "groups.cut" in {r["name"] for r in server.rows("alarm", "list")}
    assert server.ctl("group-member", "del", "sales", "--domain", "localhost")["text"] == (
        "sales: changed")
    assert "groups.cut" not in {r["name"] for r in server.rows("alarm", "list")}


@pytest.mark.settings({"groups.together-max": 4}, why="groups that are larger together")
def test_a_new_group_takes_nobody_from_those_that_are_there(server):
    """It is refused; when accounts that are made need more, the largest group is cut."""
    make(server, *JIDS[:2])
    said = refused(server, "group", "add", "all", "--domains", "localhost")
    assert ("found 2 members of all other groups and 3 of this one, allowed: 4 together "
            "(groups.together-max)") in said
    server.ctl("group", "add", "all", "--members", " ".join(JIDS[:2]))
    assert "groups.together-max" in refused(server, "group-member", "add", "all", JIDS[2])
    assert "groups.together-max" in refused(server, "group", "set", "all", "--domains", "localhost")
    server.ctl("group", "set", "all", "--members", JIDS[0], "--rules", "department=x")
    assert "groups.cut" not in {r["name"] for r in server.rows("alarm", "list")}
    for name in NAMES:
        server.ctl("user", "set", f"{name}@localhost", "--department", "x")
    until("the largest is cut", lambda: "groups.cut" in {
        r["name"] for r in server.rows("alarm", "list")})
    assert {r["name"]: r["members"] for r in server.rows("group", "list")} == {"all": 2, "sales": 2}


def test_a_limit_holds_when_it_is_changed(server):
    """Groups are made again, so nobody is missing, and the alarm ends."""
    server.ctl("set", "groups.members-max", "2")
    make(server)
    server.ctl("group-member", "add", "sales", "--domain", "localhost")
    alice = listening(server, "alice")
    assert len(items(get(alice))) == 1
    server.ctl("set", "groups.members-max", "3")
    push(alice, "<item jid='carol@localhost' subscription='both'/>")
    until("alarm cleared", lambda: "groups.cut" not in {r["name"] for r in
                                                        server.rows("alarm", "list")})
    server.ctl("set", "groups.members-max", "2")
    push(alice, "<item jid='carol@localhost' subscription='remove'/>")
    until("alarm raised", lambda: "groups.cut" in {r["name"] for r in
                                                   server.rows("alarm", "list")})


def test_a_lower_limit_is_shown_and_cuts_groups_with_names(server):
    """At once, and a higher one brings them back. Nothing else need happen to a group."""
    make(server, *JIDS)
    server.ctl("group", "add", "rest", "--members", JIDS[0])
    server.ctl("config", "edit", "groups.members-max", "2")
    assert server.rows("config", "diff")[0]["impact"] == "groups that are larger: 1"
    server.ctl("config", "apply")

    def members():
        return {r["name"]: r["members"] for r in server.rows("group", "list")}

    until("the group is cut", lambda: members() == {"rest": 1, "sales": 2})
    assert "groups.cut" in {r["name"] for r in server.rows("alarm", "list")}
    server.ctl("config", "edit", "groups.members-max", "3")
    assert server.rows("config", "diff")[0]["impact"] == "groups that are larger: 0"
    server.ctl("config", "apply")
    until("all are back", lambda: members() == {"rest": 1, "sales": 3})
    assert "groups.cut" not in {r["name"] for r in server.rows("alarm", "list")}


@pytest.mark.settings({"groups.viewers-max": 2}, why="a domain that is larger")
def test_who_sees_a_group_by_domain_is_limited(server):
    """The oldest accounts do."""
    make(server, "carol@localhost", visible_to="domain:localhost")
    assert [len(items(get(server.login(name)))) for name in NAMES] == [1, 1, 0]
    assert server.ctl("group", "set", "sales", "--shown", "S")["text"] == (
        "sales: changed; only the 2 oldest of 3 accounts of localhost see it (groups.viewers-max)")
    assert "groups.cut" in {r["name"] for r in server.rows("alarm", "list")}


def test_an_answer_says_what_was_done(server):
    for did, *args in (("added", "group", "add"), ("changed", "group", "set", "--shown", "S"),
                       ("deleted", "group", "del")):
        assert server.ctl(*args[:2], "sales", *args[2:])["text"] == f"sales: {did}"


@pytest.mark.parametrize("args, said", [
    (("group", "add", "sales"), "there is such a group already"),
    (("group", "add", "Sales"), "lower-case letters"),
    (("group", "add", "x", "--visible-to", "everybody"), "allowed words such as members"),
    (("group", "add", "x", "--visible-to", "domain:other.example"), "a domain of this server"),
    (("group", "add", "x", "--visible-to", "members group:sals"),
     "visible_to: group:sals: there is no such group; `group list` shows all"),
    (("group", "set", "sales", "--visible-to", "group:sales group:sals"),
     "visible_to: group:sals: there is no such group; `group list` shows all"),
    (("group", "add", "x", "--shown", "two\nlines"), "one line without control characters"),
    (("group", "set", "sales", "--shown", "\u202eselas"), "one line without control characters"),
    (("group", "set", "sales", "--shown", "\u0085"), "one line without control characters"),
    (("group", "set", "sales", "--shown", "s" * 129), "128"),
    (("group", "set", "none", "--shown", "x"), "there is no such group"),
    (("group", "set", "sales"), "nothing to change"),
    (("group", "show", "none"), "there is no such group"),
    (("group", "del", "none", "--yes"), "there is no such group"),
    (("group-member", "add", "none", JIDS[0]), "there is no such group"),
    (("group-member", "add", "sales", JIDS[2], "nobody@localhost"),
     "there is no account nobody@localhost"),
    (("group-member", "add", "sales"), "found nobody"),
    (("group-member", "add", "sales", "--rule", "shoe-size=42"), "department=VALUE"),
    (("group-member", "del", "sales", JIDS[2]), "is no member by name"),
], ids=str)
def test_what_is_wrong_changes_nothing(server, args, said):
    make(server, *JIDS[:2])
    before = server.rows("group", "show", "sales"), server.rows("group", "list")
    assert said in refused(server, *args)
    assert before == (server.rows("group", "show", "sales"), server.rows("group", "list"))


def test_what_is_of_a_domain_that_went_is_shown_so_and_can_go(make_server):
    host = make_server(domains=("localhost", "two.example"))
    for domain in host.domains:
        host.add_user("alice", domain=domain)
    make(host, "alice@localhost", "alice@two.example", visible_to="members domain:two.example")
    host.ctl("group-member", "add", "sales", "--domain", "two.example")
    assert "missing" not in host.rows("group", "show", "sales")[0]
    host.stop()
    host.conf["domains"] = ["localhost"]
    host.write()
    host.start()
    assert host.rows("group", "show", "sales")[0]["missing"] == (
        "domain:two.example two.example alice@two.example")
    assert "not served here" in refused(host, "group-member", "add", "sales", "alice@two.example")
    assert "not served here" in refused(host, "group-member", "add", "sales", "--domain",
                                        "two.example")
    host.ctl("group-member", "del", "sales", "alice@two.example", "--domain", "two.example")
    assert host.rows("group", "show", "sales") == [{
        "name": "sales", "shown": "Sales", "visible_to": "domain:two.example members",
        "members": "alice@localhost", "domains": "", "rules": "",
        "missing": "domain:two.example", "now": 1}]


def test_it_is_renamed_with_an_account(server):
    make(server, *JIDS[:2])
    server.stop()
    assert rename(server, "bob@localhost", "robert@localhost").returncode == 0
    server.start()
    assert set(items(get(server.login("alice")))) == {"robert@localhost"}


def test_a_crash_in_the_middle_of_a_change(server):
    """Either all or nothing of it is there, for both sides; and the next change is whole."""
    make(server, *JIDS[:2])
    for round_ in range(4):
        ctl = server.ctl_start("group-member", "add" if round_ % 2 == 0 else "del", "sales",
                               "carol@localhost")
        if round_ > 1:  # the answer of some is there
            ctl.wait()
        server.kill()
        ctl.wait()
        server.start()
        seen = {jid: set(items(get(server.login(jid.split("@")[0])))) for jid in JIDS}
        there = "carol@localhost" in seen["alice@localhost"]
        assert seen["carol@localhost"] == (set(JIDS[:2]) if there else set())
        assert ("carol@localhost" in seen["bob@localhost"]) == there
        (leave if there else join)(server, "carol@localhost")
        assert ("carol@localhost" in items(get(server.login("bob")))) != there
        (leave if not there else join)(server, "carol@localhost")


def test_groups_that_look_the_same_are_one(server):
    for name in "chess", "chess2":
        make(server, "alice@localhost", "bob@localhost", name=name, shown="Chess")
    make(server, "alice@localhost", "bob@localhost")
    alice = listening(server, "alice")
    assert items(get(alice)) == {"bob@localhost": ("both", None, ["Chess", "Sales"])}
    leave(server, "bob@localhost", name="chess")
    assert items(get(alice)) == {"bob@localhost": ("both", None, ["Chess", "Sales"])}
    leave(server, "bob@localhost", name="chess2")
    assert items(get(alice)) == {"bob@localhost": ("both", None, ["Sales"])}


def test_the_presence_viewer_lists_who_is_seen_by_groups(server):
    make(server, "alice@localhost", "bob@localhost")
    make(server, "alice@localhost", name="desk", shown="Desk", visible_to="domain:localhost")
    put(listening(server, "alice"), "<item jid='bob@localhost'><group>Friends</group></item>")

    def listed(name, what):
        return {(r["found"], r["result"]) for r in server.rows(
            "presence", "view", f"{name}@localhost", f"--{what}s") if r["check"] == what}
    assert listed("alice", "contact") == {("bob@localhost", "Friends, Sales")}
    assert listed("alice", "watcher") == {("bob@localhost", "Friends, Sales"),
                                          ("carol@localhost", "by a group")}
    assert listed("carol", "contact") == {("alice@localhost", "Desk")}
    assert listed("carol", "watcher") == set()


# --- contacts that the user added, too ---


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
@pytest.mark.parametrize("before, after", [("none", "from"), ("to", "both")])
def test_a_contact_that_sees_the_user_by_a_group(server, before, after):
    """It is told whoever has that contact, though the contact is in no group."""
    bob, carol = listening(server, "bob"), listening(server, "carol")
    put(carol, "<item jid='bob@localhost' name='Bob'/>")
    if before == "to":
        carol.send("<presence to='bob@localhost' type='subscribe'/>")
        bob.expect("<presence type='subscribe'/>")
        bob.send("<presence to='carol@localhost' type='subscribed'/>")
        push(carol, "<item jid='bob@localhost' subscription='to'/>")
    version = get(carol).get("ver")
    make(server, "carol@localhost", visible_to="domain:localhost")
    push(carol, f"<item jid='bob@localhost' name='Bob' subscription='{after}'/>")
    assert items(get(carol, version))["bob@localhost"][0] == after
    version = get(carol).get("ver")
    leave(server, "carol@localhost")
    push(carol, f"<item jid='bob@localhost' name='Bob' subscription='{before}'/>")
    assert items(get(carol, version))["bob@localhost"][0] == before


# --- an account that is made anew ---


def test_who_is_made_anew_is_told_of_the_groups(server):
    """Also those who are online; and no list of the time between is taken for a whole one."""
    make(server)
    server.ctl("group-member", "add", "sales", "--domain", "localhost")
    alice = listening(server, "alice", "a")
    server.ctl("user", "del", "bob@localhost")
    server.add_user("bob")  # before the next round of the groups
    bob = server.login("bob", "new")
    first = get(bob)
    bob.available()
    if not items(first):
        push(bob, "<item subscription='both'/>")
        push(bob, "<item subscription='both'/>")
    for one, other in (bob, alice), (alice, bob):
        one.expect(f"<presence from='{other}'/>")
    whole = get(bob)
    assert set(items(whole)) == {"alice@localhost", "carol@localhost"}
    again = get(bob, first.get("ver"))
    assert items(first if again is None else again) == items(whole)
    assert get(bob, whole.get("ver")) is None


@pytest.mark.release
@pytest.mark.sqlite
def test_a_group_of_a_thousand_costs_its_memory_once(server):
    """Who sees it has a session and no copy of the members: a viewer costs what one has cost before
    there was the group."""
    members, few, many = 1000, 30, 90
    with server.database() as db:
        for n in range(members):
            db.execute("INSERT INTO account(jid, created_us, disabled) VALUES "
                       f"('m{n:04d}@localhost', 0, 0)")
    server.restart()
    for n in range(few + many):
        server.ctl("user", "password", f"m{n:04d}@localhost", "--password", "secret")

    def growth(viewers):
        """KiB for each of those who come."""
        before = server.status_kib()
        for n in viewers:
            listening(server, f"m{n:04d}")
        return (server.status_kib() - before) / len(viewers)

    listening(server, "alice")
    alone = growth(range(few))
    before = server.status_kib()
    server.ctl("group", "add", "big")
    server.ctl("group-member", "add", "big", "--domain", "localhost")
    assert len(items(get(listening(server, "bob")))) == members + len(NAMES) - 1
    assert server.status_kib() - before < 16 << 10  # 8 to 10, with what the command itself takes
    assert growth(range(few, few + many)) < alone + 16  # a copy has 1,000 addresses
