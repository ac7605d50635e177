"""Users who are made contacts of each other by one command."""
import random

import pytest

from harness.client import until
from harness.pubsub import publish
from im.test_contacts import add, contacts
from services.test_pep import TUNE, expect_event, interested, tune
from together.console import Console

NAMES = ("alice", "bob", "carol")
JIDS = tuple(f"{name}@localhost" for name in NAMES)
ROSTER = "<query xmlns='jabber:iq:roster'/>"


def group(server, *users, name="Sales"):
    return server.ctl_run("contact", "group", name, *users)


def grouped(server, *users, name="Sales"):
    done = group(server, *users, name=name)
    assert done.returncode == 0, done.stderr
    assert f"contacts of each other: {len(users)}" in done.stdout
    settled(server, *users)


def settled(server, *users):
    for user in users:
        def both(user=user):
            found = contacts(server, user)
            return all(found.get(other, {}).get("subscription") == "both"
                       for other in users if other != user)
        until(f"{user} and the others see each other", both)


def refused(server, *args, name="Sales"):
    """Nothing has changed; the text of the error."""
    before = [contacts(server, jid) for jid in JIDS]
    done = group(server, *args, name=name)
    assert done.returncode != 0
    assert [contacts(server, jid) for jid in JIDS] == before
    return done.stderr


def listening(server, name):
    client = server.login(name, "r")
    client.result("get", ROSTER)
    return client.available()


def test_each_has_the_others_with_both_subscriptions(server):
    grouped(server, *JIDS)
    for jid in JIDS:
        found = contacts(server, jid)
        assert set(found) == set(JIDS) - {jid}
        assert all(c["groups"] == "Sales" and not c["ask"] for c in found.values())
        assert not any("approved" in c["item"] for c in found.values())
    found = [contacts(server, jid) for jid in JIDS]
    server.kill()
    server.start()
    assert [contacts(server, jid) for jid in JIDS] == found


def test_who_is_online_sees_the_others_at_once_and_is_asked_nothing(server):
    clients = [listening(server, name) for name in NAMES]
    grouped(server, *JIDS)
    for one in clients:
        for other in clients:
            if one is not other:
                one.expect(f"<presence from='{other}' type='-'/>")
        one.expect_nothing("<presence type='subscribe'/>")


def test_what_others_have_published_comes_too(server):
    """The last items of PEP, to who was online before (XEP-0163 §4.3)."""
    alice, bob = listening(server, "alice"), server.login("bob", "r")
    alice.result("set", publish(TUNE, tune("one"), item="1"))
    interested(bob, TUNE)
    grouped(server, "alice@localhost", "bob@localhost")
    expect_event(bob, TUNE, alice.bare, "<item id='1'/>")


@pytest.mark.parametrize("before", [
    (), ("alice asks bob",), ("bob asks alice",), ("alice asks bob", "bob asks alice"),
    ("alice asks bob", "bob grants"), ("bob asks alice", "alice grants"), ("bob approves",),
    ("alice lists",), ("bob lists", "alice asks bob"), ("both",)])
def test_whatever_was_between_two_before_they_are_contacts_after_it(server, before):
    server.ask_about_each_other("alice", "bob")
    alice, bob = listening(server, "alice"), listening(server, "bob")
    for step in before:
        if step == "both":
            server.befriend("alice", "bob")
        elif step.endswith("lists"):
            add(server, *({"alice@localhost", "bob@localhost"} -
                          {f"{step.split()[0]}@localhost"}), user=f"{step.split()[0]}@localhost")
        else:
            who, other = (alice, bob) if step.startswith("alice") else (bob, alice)
            kind = "subscribe" if "asks" in step else "subscribed"
            who.send(f"<presence to='{other.bare}' type='{kind}'/>")
            if kind == "subscribe":
                other.expect(f"<presence from='{who.bare}' type='subscribe'/>")
            who.ping()
    grouped(server, "alice@localhost", "bob@localhost")
    assert contacts(server)["bob@localhost"]["groups"] == "Sales"
    assert contacts(server, "bob@localhost")["alice@localhost"]["groups"] == "Sales"


def test_it_can_be_run_again_with_more_users(server):
    grouped(server, *JIDS[:2])
    before = contacts(server)
    grouped(server, *JIDS[:2])
    assert contacts(server) == before
    grouped(server, *JIDS)
    assert set(contacts(server)) == set(JIDS[1:])
    grouped(server, *JIDS[:2], name="Chess")
    assert contacts(server)["bob@localhost"]["groups"] == "Sales, Chess"


def test_it_mends_what_one_of_them_has_removed(server):
    grouped(server, *JIDS)
    alice = listening(server, "alice")
    alice.result("set", "<query xmlns='jabber:iq:roster'><item jid='bob@localhost' "
                 "subscription='remove'/></query>")
    grouped(server, *JIDS)


def test_it_mends_what_only_one_of_two_has(server):
    """Such as a part of a backup leaves it: the others do not have what one list says."""
    grouped(server, *JIDS)
    server.stop()
    with server.database() as db:
        db.execute("DELETE FROM roster WHERE jid = ? AND owner = (SELECT id FROM account "
                   "WHERE jid = ?)", (JIDS[0], JIDS[1]))
        db.execute("UPDATE roster SET state = 4 WHERE jid = ? AND owner = (SELECT id FROM account "
                   "WHERE jid = ?)", (JIDS[0], JIDS[2]))
    server.start()
    grouped(server, *JIDS)
    clients = [server.client(name, "r") for name in NAMES]
    for one in clients:
        for other in clients:
            if other is not one:
                one.expect(f"<presence from='{other}' type='-'/>")


def test_names_and_groups_that_users_gave_stay(server):
    alice = listening(server, "alice")
    alice.result("set", "<query xmlns='jabber:iq:roster'><item jid='bob@localhost' name='Bobby'>"
                 "<group>Friends</group></item></query>")
    grouped(server, *JIDS)
    found = contacts(server)["bob@localhost"]
    assert (found["name"], found["groups"]) == ("Bobby", "Friends, Sales")


def test_addresses_are_prepared_and_named_twice_count_once(server):
    done = group(server, "Alice@LOCALHOST", "alice@localhost", "bob@localhost alice@localhost")
    assert done.returncode == 0, done.stderr
    settled(server, "alice@localhost", "bob@localhost")
    assert set(contacts(server)) == {"bob@localhost"}


@pytest.mark.parametrize("args, why", [
    ((), "users"), (("alice@localhost",), "found 1, allowed: 2 to 100"),
    (("alice@localhost", "Alice@localhost"), "found 1, allowed: 2 to 100"),
    (("alice@localhost", "x@other.example"), "other.example"),
    (("alice@localhost", "bob@localhost/x"), "without resource"),
    (("alice@localhost", "@"), "address"), (("  ",), "found 0"),
    (("alice@localhost", "nobody@localhost", "bob@localhost"), "nobody@localhost"),
    (("alice@localhost", "nobody@localhost", "void@localhost"), "void@localhost"),
])
def test_bad_addresses_change_nothing(server, args, why):
    assert why in refused(server, *args)


@pytest.mark.parametrize("name", ["g" * 1024, "", "a\x01b"])
def test_a_bad_name_of_the_group_changes_nothing(server, name):
    assert refused(server, *JIDS, name=name)


def test_too_many_at_once_change_nothing(server):
    jids = [f"u{i}@localhost" for i in range(101)]
    assert "100 at once" in refused(server, *jids)
    assert "nothing was changed" in refused(server, *jids[:100])
    assert refused(server, *[f"user-{i:060}@localhost" for i in range(2000)])


def test_a_disabled_account_changes_nothing(server):
    server.ctl("user", "disable", "bob@localhost")
    assert "bob@localhost" in refused(server, *JIDS)
    server.ctl("user", "enable", "bob@localhost")
    grouped(server, *JIDS)


def test_a_full_contact_list_changes_nothing(make_server):
    server = make_server(*NAMES, settings={"roster.contacts-max": "2"})
    add(server, "x@x.example", user="bob@localhost")
    text = refused(server, *JIDS)
    assert "bob@localhost: carol@localhost (roster.contacts-max is reached)" in text
    assert "nothing was changed" in text
    grouped(server, *JIDS[:2])


def test_the_number_of_those_who_see_a_user_is_kept(make_server):
    server = make_server(*NAMES, "dave", settings={"roster.watchers-max": "2"})
    server.befriend("bob", "dave")
    text = refused(server, *JIDS)
    assert "bob@localhost: carol@localhost (roster.watchers-max is reached)" in text
    grouped(server, "alice@localhost", "carol@localhost")


def test_who_blocks_another_stays_unseen(server):
    alice, bob = listening(server, "alice"), listening(server, "bob")
    bob.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></block>")
    assert group(server, *JIDS).returncode == 0
    settled(server, "alice@localhost", "carol@localhost")
    settled(server, "bob@localhost", "carol@localhost")
    alice.expect_nothing(f"<presence from='{bob}'/>")
    bob.result("set", "<unblock xmlns='urn:xmpp:blocking'/>")
    grouped(server, *JIDS)


def test_rosters_agree_while_users_change_them(server):
    """Contacts are removed and asked in the middle of it; one more run mends all."""
    chance = random.Random(7)
    clients = {jid: listening(server, name) for name, jid in zip(NAMES, JIDS)}
    for _ in range(8):
        running = server.ctl_start("contact", "group", "Sales", *JIDS)
        for _ in range(6):
            one, other = chance.sample(JIDS, 2)
            clients[one].send(chance.choice((
                "<iq type='set' id='r'><query xmlns='jabber:iq:roster'>"
                f"<item jid='{other}' subscription='remove'/></query></iq>",
                f"<presence to='{other}' type='unsubscribed'/>",
                f"<presence to='{other}' type='unsubscribe'/>",
                f"<presence to='{other}' type='subscribe'/>")))
        running.wait(60)
        for client in clients.values():
            client.ping()
    grouped(server, *JIDS)


def test_a_group_of_a_hundred(make_server):
    server = make_server(workers=2)
    jids = [f"u{i}@localhost" for i in range(100)]
    console = Console(server)
    for jid in jids:
        console.ask("user add", jid=jid, password="secret")
    console.close()
    grouped(server, *jids)
    assert len(contacts(server, jids[50])) == 99


def test_help_says_what_it_does(server):
    help_text = server.ctl_run("help", "contact", "group").stdout
    assert "100" in help_text and "roster.watchers-max" in help_text


def test_dry_run_says_what_would_be_done(server):
    answer = server.ctl("contact", "add", "alice@localhost", "bob@localhost", "x@other.example",
                        "--approve", "--subscribe", "--group", "G", "--dry-run")
    assert [(r["result"], r["done"]) for r in answer["rows"]] == [("added", True)] * 2
    assert "would be added: 2 of 2" in answer["text"]
    assert contacts(server) == {} and contacts(server, "bob@localhost") == {}


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_approval_answers_a_request_or_the_next_one(server):
    alice, bob, carol = (listening(server, name) for name in NAMES)
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    alice.expect("<presence from='bob@localhost' type='subscribe'/>")
    add(server, "bob@localhost", "carol@localhost", more=("--approve",))
    bob.expect(f"<presence from='{alice}' type='-'/>")
    carol.send("<presence to='alice@localhost' type='subscribe'/>")
    carol.expect(f"<presence from='{alice}' type='-'/>")
    found = contacts(server)
    assert found["bob@localhost"]["subscription"] == "from"
    assert found["carol@localhost"]["subscription"] == "from"
    assert add(server, "bob@localhost", "carol@localhost", more=("--approve",)) == [
        ("bob@localhost", "there already"), ("carol@localhost", "there already")]


def test_an_address_with_a_comma_is_one_address(server):
    """A local part may have one, and nobody else is meant by it."""
    server.add_user("x,alice")
    grouped(server, "x,alice@localhost", "bob@localhost")
    assert set(contacts(server, "bob@localhost")) == {"x,alice@localhost"}
    assert add(server, "y,bob@localhost") == [("y,bob@localhost", "added")]
    assert set(contacts(server)) == {"y,bob@localhost"}


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_nobody_is_approved_who_has_no_account(server, more):
    """Whoever gets the address would see the user."""
    assert add(server, "bob@localhost", "void@localhost", "void@other.example",
               more=("--approve", *more)) == [
        ("bob@localhost", "added"), ("void@localhost", "has no account"),
        ("void@other.example", "added")]
    assert set(contacts(server)) == (set() if more else {"bob@localhost", "void@other.example"})


def test_who_has_a_new_account_is_approved_when_the_last_one_is_forgotten(server):
    """Or the word that the last one is gone would take the approval away."""
    with server.database() as db:
        db.execute("INSERT INTO roster_out (sender, rcpt, axis, verb, stanza) "
                   "VALUES ('bob@localhost', 'alice@localhost', 0, 0, '')")
        db.commit()
    for more in (), ("--dry-run",):
        assert add(server, "bob@localhost", more=("--approve", *more)) == [
            ("bob@localhost", "has a new account; run the command again")]
    assert contacts(server) == {}
    assert "bob@localhost (has a new account" in refused(server, *JIDS)
    server.restart()  # what is left over is told again at a start
    grouped(server, *JIDS)


def test_each_missing_account_is_named(make_server):
    server = make_server(*NAMES)
    text = refused(server, *JIDS, "y@localhost", "z@localhost")
    assert text.count("y@localhost: ") == text.count("z@localhost: ") == 1
    assert "nothing was changed" in text and "alice@localhost" not in text


def test_an_account_that_goes_in_between_changes_nothing(make_server, disk):
    """It was there when it was looked for; the change looks again."""
    server = make_server(*NAMES, disk=disk, workers=2)
    console, other = Console(server), Console(server)
    disk.turn(write_ms=20)
    for _ in range(4):
        running = server.ctl_start("contact", "add", "alice@localhost", "bob@localhost",
                                   "carol@localhost", "--approve")
        console.ask("user del", jid="bob@localhost")
        running.wait(60)
        other.ask("user add", jid="bob@localhost", password="secret")
        until("nobody is approved", lambda: not any(
            "approved" in i["item"] for i in contacts(server).values() if i["jid"].startswith("b")))
    console.close()
    other.close()


def test_who_is_in_too_many_groups_changes_nothing(make_server):
    server = make_server(*NAMES, settings={"roster.groups-max": "1"})
    grouped(server, *JIDS)
    text = refused(server, *JIDS, name="Chess")
    assert "not put into the group: roster.groups-max (1)" in text and "nothing was changed" in text


def test_approvals_ahead_count_as_watchers(make_server):
    server = make_server(*NAMES, "dave", settings={"roster.watchers-max": "2"})
    add(server, "bob@localhost", "carol@localhost", more=("--approve",))
    (_, said), = add(server, "dave@localhost", more=("--approve",))
    assert "roster.watchers-max" in said
    assert add(server, "bob@localhost", more=("--approve",)) == [("bob@localhost", "there already")]


def test_asking_once_more_changes_no_roster(server):
    bob, alice = listening(server, "bob"), listening(server, "alice")
    bob.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></block>")
    add(server, "bob@localhost", more=("--subscribe",))
    alice.drain()
    before = alice.result("get", ROSTER).get("ver")
    assert add(server, "bob@localhost", more=("--subscribe",)) == [
        ("bob@localhost", "there already; asked")]
    alice.expect_nothing("<iq type='set'/>")
    assert alice.result("get", ROSTER).get("ver") == before


def test_the_log_has_each_user_also_of_a_long_list(server):
    console = Console(server)
    jids = [f"{'u' * 60}{i}@localhost" for i in range(80)]
    for jid in jids:
        console.ask("user add", jid=jid, password="secret")
    console.close()
    assert group(server, *jids).returncode == 0
    lines = server.log().splitlines()
    line, = (line for line in lines if 'command="contact group"' in line)
    assert "bytes)" in line and "result=ok" in line and jids[0] in line
    add(server, *jids, user=jids[0], more=("--group", "G", "--approve"))
    assert "group=G" in server.log() and "approve=true" in server.log()
    assert all(any("contacts.grouped" in line and f"user={jid}" in line for line in lines)
               for jid in jids)
