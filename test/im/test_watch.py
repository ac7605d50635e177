"""Temporary presence: watching a user for a while without a subscription (docs/policy.md)."""
import pytest

from harness import xml

WATCH = "urn:muster:watch:0"
POLICY = "urn:muster:policy:0"


@pytest.fixture
def server(make_server):
    return make_server("alice", "bob", "carol", settings={"presence.approval": "automatic",
                                                          "roster.watchers-max": 3})


def watch(client, user="bob@localhost", seconds=None):
    attribute = "" if seconds is None else f" seconds='{seconds}'"
    return int(client.result("set", f"<watch xmlns='{WATCH}'{attribute}/>", to=user)
               .get("seconds"))


def refused(client, user="bob@localhost", text="seconds='60'"):
    return client.error("set", f"<watch xmlns='{WATCH}' {text}/>", to=user)[0]


def ask(client, user="bob@localhost", seconds=60):
    """Watches, and is told that the user is asked, which is said of one that is hidden, too."""
    found = client.result("set", f"<watch xmlns='{WATCH}' seconds='{seconds}'/>", to=user)
    assert found.attrib == {"seconds": str(seconds), "pending": "true"}
    client.expect(f"<presence from='{user}' type='unavailable'/>")


def policy(client, attributes="", inner=""):
    client.result("set", f"<policy xmlns='{POLICY}' {attributes}>{inner}</policy>")


def test_feature(alice):
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="localhost")
    assert WATCH in {f.get("var") for f in info}


def test_a_session_that_takes_the_resource_gets_no_answers_of_the_old_one(server, bob):
    old = server.client("alice", "same")
    assert watch(old) > 0
    new = server.login("alice", "same")
    old.expect_stream_error("conflict")
    new.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=bob.bare)  # its answer is behind
    assert new.inbox == [], xml.canonical(new.inbox[0])


def test_watching(alice, bob, server):
    assert watch(alice, seconds=60) == 60
    alice.expect(f"<presence from='{bob}' to='{alice}' type='-'/>")
    bob.send("<presence><show>away</show></presence>")
    alice.expect(f"<presence from='{bob}'><show>away</show></presence>")
    phone = server.client("bob", "phone")
    alice.expect(f"<presence from='{phone}' type='-'/>")
    phone.close()
    alice.expect(f"<presence from='{phone}' type='unavailable'/>")
    bob.send("<presence type='unavailable'/>")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    bob.expect_nothing("<presence type='subscribe'/>", after=alice)


def test_who_is_away_comes(alice, server):
    watch(alice)
    alice.expect("<presence from='bob@localhost' type='unavailable'/>")
    bob = server.client("bob", "b")
    alice.expect(f"<presence from='{bob}' type='-'/>")


def test_only_the_session_that_asked(alice, bob, server):
    other = server.client("alice", "other")
    watch(alice)
    alice.expect(f"<presence from='{bob}'/>")
    other.expect_nothing(f"<presence from='{bob}'/>", after=bob)


def test_time(alice, bob, server):
    """Not more than the setting; renewed; ended by 0; over when it is over."""
    server.ctl("set", "presence.temporary-time", "30s")
    assert watch(alice) == 30
    assert watch(alice, seconds=1000) == 30
    assert watch(alice, seconds=5) == 5
    assert watch(alice, seconds=0) == 0
    assert watch(alice, seconds=0) == 0
    alice.drain()
    bob.send("<presence><show>xa</show></presence>")
    alice.expect_nothing("<presence/>", after=bob)
    assert watch(alice, seconds=1) == 1
    alice.expect(f"<presence from='{bob}'><show>xa</show></presence>")
    alice.expect("<presence from='bob@localhost' type='unavailable'/>")
    bob.send("<presence/>")
    alice.expect_nothing("<presence/>", after=bob)


def test_who_may(alice, bob):
    """As a subscription would be granted."""
    policy(bob, "others='block'")
    ask(alice)
    policy(bob, "", "<rule jid='alice@localhost' action='allow'/>")
    watch(alice)
    alice.expect(f"<presence from='{bob}'/>")


# --- users are asked, which is the default ---


@pytest.fixture
def asked(make_server):
    return make_server("alice", "bob", "carol", settings={"presence.approval": "ask"})


QUESTION = "<presence from='alice@localhost' to='bob@localhost' type='subscribe'/>"


def roster(client):
    return {i.get("jid"): i.get("subscription")
            for i in client.result("get", f"<query xmlns='{xml.ROSTER}'/>")}


def seen_by_alice(server):
    """What the presence viewer says that alice sees of bob, and how many watch him."""
    rows = server.rows("presence", "view", "bob@localhost", "--watcher", "alice@localhost")
    found = {r["check"]: r["found"] for r in rows}
    count = {r["check"]: r["found"] for r in server.rows("presence", "view", "bob@localhost")}
    return found["sees"], count["watchers"].partition(" ")[0]


def test_the_user_says_yes(asked):
    """By what every client knows, a request to subscribe (RFC 6121 §3.1.3); no roster changes, and
    the operator's view says the same as the watcher sees."""
    alice, bob = asked.client("alice", "a"), asked.client("bob", "b")
    ask(alice)
    bob.expect(QUESTION)
    alice.expect_nothing(f"<presence from='{bob}'/>", after=bob)
    assert seen_by_alice(asked) == ("Unavailable", "0")
    bob.send("<presence to='alice@localhost' type='subscribed'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.send("<presence><show>away</show></presence>")
    alice.expect(f"<presence from='{bob}'><show>away</show></presence>")
    assert seen_by_alice(asked) == ("Away", "1")
    assert "alice@localhost" in str(asked.rows("presence", "view", "bob@localhost", "--watchers"))
    other = asked.client("alice", "other")
    assert watch(other, seconds=60) == 60  # the answer is for the user
    other.expect(f"<presence from='{bob}'/>")
    assert seen_by_alice(asked) == ("Away", "1")  # each once
    bob.expect_nothing("<presence type='subscribe'/>", after=other)
    assert roster(alice) == {} and roster(bob) == {}
    bob.send("<presence type='unavailable'/>")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")


def test_the_user_says_no(asked):
    alice, bob = asked.client("alice", "a"), asked.client("bob", "b")
    ask(alice)
    bob.expect(QUESTION)
    bob.send("<presence to='alice@localhost' type='unsubscribed'/>")
    bob.ping()
    alice.expect_nothing("<presence/>", after=bob)
    for client in (alice, asked.client("alice", "other")):
        assert refused(client) == "forbidden"
    bob.expect_nothing("<presence type='subscribe'/>", after=alice)
    assert roster(bob) == {}


def test_the_user_changes_his_mind(asked):
    alice, bob = asked.client("alice", "a"), asked.client("bob", "b")
    ask(alice)
    bob.send("<presence to='alice@localhost' type='subscribed'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.send("<presence to='alice@localhost' type='unsubscribed'/>")
    alice.expect("<presence from='bob@localhost' type='unavailable'/>")
    bob.send("<presence><show>away</show></presence>")
    alice.expect_nothing("<presence/>", after=bob)
    assert refused(alice) == "forbidden"


def test_the_user_is_asked_when_he_comes(asked):
    alice = asked.client("alice", "a")
    ask(alice)
    bob = asked.client("bob", "b")
    bob.expect(QUESTION)
    bob.send("<presence to='alice@localhost' type='subscribed'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")


def test_a_subscription_asked_for_meanwhile(asked):
    """The yes is for both; the subscription stays when the watch is over."""
    alice, bob = asked.client("alice", "a"), asked.client("bob", "b")
    roster(alice)
    roster(bob)
    ask(alice)
    bob.expect(QUESTION)
    alice.send("<presence to='bob@localhost' type='subscribe'/>")
    bob.expect(QUESTION)
    bob.send("<presence to='alice@localhost' type='subscribed'/>")
    alice.expect("<presence from='bob@localhost' type='subscribed'/>")
    watch(alice, seconds=0)
    alice.drain()
    bob.send("<presence><show>away</show></presence>")
    alice.expect(f"<presence from='{bob}'><show>away</show></presence>")
    assert roster(bob)["alice@localhost"] == "from"


def test_rules_count_while_watching(alice, bob):
    watch(alice)
    alice.expect(f"<presence from='{bob}'/>")
    policy(bob, "share='off'")
    alice.expect("<presence from='bob@localhost' type='unavailable'/>")
    bob.send("<presence><show>dnd</show></presence>")
    alice.expect_nothing("<presence/>", after=bob)
    policy(bob, "share='on'")
    alice.expect(f"<presence from='{bob}'><show>dnd</show></presence>")
    bob.result("set", "<invisible xmlns='urn:xmpp:invisible:0'/>")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")


@pytest.mark.parametrize("state", ["absent", "off line", "on line", "full", "others='block'",
                                   "share='off'", "del", "disable"])
def test_strangers_do_not_learn_who_has_an_account(asked, state):
    """The user's state makes no difference, and a change of it tells them nothing."""
    user = "zoe@localhost" if state == "absent" else "bob@localhost"
    alice = asked.client("alice", "a")
    if state == "full":
        asked.ctl("set", "roster.watchers-max", 1)
        ask(asked.client("carol", "c"))
    elif state not in ("absent", "off line"):
        policy(asked.client("bob", "b"), state if "=" in state else "")
    seen = []
    for seconds in 60, 60, 0, 60:
        said = alice.result("set", f"<watch xmlns='{WATCH}' seconds='{seconds}'/>", to=user)
        if state in ("del", "disable") and seen == []:
            asked.ctl("user", state, user)
        alice.iq("get", "<query xmlns='urn:example:fence'/>", to=user)
        seen.append((said.attrib, [xml.canonical(e) for e in alice.drain()]))
    asks = ({"seconds": "60", "pending": "true"},
            [f"<presence from='{user}' to='{alice}' type='unavailable'/>"])
    assert seen == [asks, asks, ({"seconds": "0"}, []), asks]


def test_limit_of_the_watched(alice, bob, carol, server):
    """Watchers and subscribers together."""
    sessions = [server.client("carol", f"c{i}") for i in range(3)]
    for session in sessions:
        watch(session)
    assert refused(alice) == "policy-violation"
    watch(sessions[0], seconds=0)
    watch(alice)
    assert refused(carol) == "policy-violation"
    watch(alice, seconds=9)


def test_limit_of_the_watcher(alice, server):
    server.ctl("set", "presence.temporary-max", "2")
    watch(alice, "bob@localhost")
    watch(alice, "carol@localhost")
    watch(alice, "bob@localhost")
    server.add_user("dave")
    assert refused(alice, "dave@localhost") == "policy-violation"
    watch(alice, "bob@localhost", 0)
    for _ in range(3):  # what is refused is not counted
        assert refused(alice, text="seconds='soon'") == "bad-request"
    watch(alice, "dave@localhost")
    assert refused(alice, "bob@localhost") == "policy-violation"


def test_ends_with_the_session(alice, bob, server):
    for i in range(2):
        watch(server.client("carol", f"c{i}"))
    watch(alice)
    alice.close()
    again = server.client("carol", "c")
    again.wait("the place of the session that ended",
               lambda: again.iq("set", f"<watch xmlns='{WATCH}'/>", to="bob@localhost")
               .get("type") == "result")
    again.expect(f"<presence from='{bob}'/>")


@pytest.mark.parametrize("command", ["del", "disable"])
def test_the_watched_is_gone(alice, bob, server, command):
    watch(alice)
    alice.expect(f"<presence from='{bob}'/>")
    server.ctl("user", command, "bob@localhost")
    alice.expect("<presence from='bob@localhost' type='unavailable'/>")
    ask(alice)


def test_the_watched_is_enabled_again(alice, bob, server):
    watch(alice)
    alice.expect(f"<presence from='{bob}'/>")
    server.ctl("user", "disable", "bob@localhost")
    server.ctl("user", "enable", "bob@localhost")
    again = server.client("bob")
    alice.expect("<presence from='bob@localhost' type='unavailable'/>")
    alice.expect_nothing(f"<presence from='{again}'/>", after=again)
    watch(alice)
    alice.expect(f"<presence from='{again}'/>")


def test_off(alice, bob, server):
    server.ctl("set", "presence.temporary-max", "1")
    watch(alice)
    alice.expect(f"<presence from='{bob}'/>")
    server.ctl("set", "presence.temporary", "off")
    alice.expect("<presence from='bob@localhost' type='unavailable'/>")
    assert refused(alice) == "service-unavailable"
    bob.send("<presence><show>away</show></presence>")
    alice.expect_nothing(f"<presence from='{bob}'/>", after=bob)
    server.ctl("set", "presence.temporary", "on")
    watch(alice, "carol@localhost")


@pytest.mark.parametrize("text", ["seconds='soon'", "seconds='-1'", "seconds=''"])
def test_bad_requests(alice, text):
    assert refused(alice, text=text) == "bad-request"


def test_not_oneself(alice):
    assert refused(alice, "alice@localhost") == "service-unavailable"


def test_a_subscription_that_is_ended(make_server):
    """Nobody goes on watching, or renews it, who may not any more."""
    server = make_server("alice", "bob")
    server.befriend("alice", "bob")
    server.ask_about_each_other("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    watch(alice)
    bob.send("<presence to='alice@localhost' type='unsubscribed'/>")
    alice.expect("<presence from='bob@localhost' type='unsubscribed'/>")
    alice.drain()
    bob.send("<presence><show>dnd</show></presence>")
    alice.expect_nothing("<presence/>", after=bob)
    assert refused(alice) == "forbidden"
    assert watch(alice, seconds=0) == 0


def test_a_refusal_among_targets_with_names_as_long(make_server):
    """What was refused is gone while the others are still compared with it."""
    server = make_server("alice", "bob", "carol", "dan", "edgar",
                         settings={"presence.approval": "automatic", "roster.watchers-max": 1})
    alice, carol = server.client("alice"), server.client("carol")
    watch(alice, "bob@localhost")
    watch(alice, "carol@localhost")
    for name in ("dan", "edgar"):
        watch(carol, f"{name}@localhost")
        assert refused(alice, f"{name}@localhost") == "policy-violation"
    alice.expect(f"<presence from='{carol}'/>")
    carol.send("<presence><show>away</show></presence>")
    alice.expect(f"<presence from='{carol}'><show>away</show></presence>")
