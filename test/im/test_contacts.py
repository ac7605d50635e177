"""Contact lists in the hands of an operator; the limit cuts a bulk addition short."""
import pytest


def contacts(server, user="alice@localhost"):
    return {r["jid"]: r for r in server.rows("contact", "list", user)}


def add(server, *jids, user="alice@localhost", more=()):
    answer = server.ctl("contact", "add", user, " ".join(jids), *more)
    return [(r["jid"], r["result"]) for r in answer["rows"]]


def test_what_fits_is_added(make_server):
    """Cap 200, 195 there, add 6: five are added, the sixth is not."""
    server = make_server("alice")
    done = add(server, *(f"c{i}@example.com" for i in range(195)))
    assert {result for _, result in done} == {"added"}
    done = add(server, *(f"d{i}@example.com" for i in range(6)))
    assert [result for _, result in done] == ["added"] * 5 + ["roster.contacts-max is reached"]
    found = contacts(server)
    assert len(found) == 200 and "d4@example.com" in found and "d5@example.com" not in found
    assert server.rows("contact", "full") == [{"jid": "alice@localhost", "contacts": 200}]
    assert add(server, "e@example.com") == [("e@example.com", "roster.contacts-max is reached")]
    server.kill()
    server.start()
    assert contacts(server) == found


def test_each_row_says_what_became_of_it(server):
    add(server, "bob@localhost")
    assert add(server, "Carol@localhost", "bob@localhost", "@", "alice@localhost",
               "carol@LOCALHOST", "x@example.com/r") == [
        ("carol@localhost", "added"), ("bob@localhost", "there already"),
        ("@", "not an address"), ("alice@localhost", "the user's own address"),
        ("carol@localhost", "named twice"), ("x@example.com", "added")]
    assert set(contacts(server)) == {"bob@localhost", "carol@localhost", "x@example.com"}


def test_clients_are_told_in_order(server):
    alice = server.client("alice", "a")
    before = alice.result("get", "<query xmlns='jabber:iq:roster' ver=''/>").get("ver")
    add(server, "bob@localhost", "carol@localhost", "dave@localhost", more=("--group", "Friends"))
    versions = []
    for name in ("bob", "carol", "dave"):
        push = alice.expect("<iq type='set'><query xmlns='jabber:iq:roster'>"
                            f"<item jid='{name}@localhost' subscription='none'>"
                            "<group>Friends</group></item></query></iq>")
        versions.append(push[0].get("ver"))
    assert len(set(versions)) == 3
    assert contacts(server)["bob@localhost"]["groups"] == "Friends"
    # what a client that was away learns is the same (RFC 6121 §2.6)
    alice.send(f"<iq type='get' id='r'><query xmlns='jabber:iq:roster' ver='{before}'/></iq>")
    alice.expect("<iq type='result' id='r'/>")
    for version in versions:
        assert alice.expect("<iq type='set'><query xmlns='jabber:iq:roster'/></iq>")[0].get(
            "ver") == version


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_asking_on_behalf_of_the_user(server, bob):
    alice = server.client("alice", "a")
    add(server, "bob@localhost", more=("--subscribe",))
    assert contacts(server)["bob@localhost"]["ask"] is True
    bob.expect("<presence from='alice@localhost' type='subscribe'/>")
    bob.send("<presence to='alice@localhost' type='subscribed'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    assert contacts(server)["bob@localhost"]["subscription"] == "to"


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_adding_again_does_what_was_asked(server, bob):
    add(server, "bob@localhost", "carol@localhost")
    alice = server.client("alice", "a")
    assert add(server, "bob@localhost", "dave@localhost", more=("--group", "Work", "--subscribe")) \
        == [("bob@localhost", "there already; put into the group and asked"),
            ("dave@localhost", "added")]
    bob.expect("<presence from='alice@localhost' type='subscribe'/>")
    assert contacts(server)["bob@localhost"]["groups"] == "Work"
    assert add(server, "bob@localhost", more=("--group", "Home", "--subscribe")) \
        == [("bob@localhost", "there already; put into the group and asked")]
    assert add(server, "bob@localhost", more=("--group", "Home")) \
        == [("bob@localhost", "there already")]
    assert contacts(server)["bob@localhost"]["groups"] == "Work, Home"
    assert contacts(server)["carol@localhost"]["groups"] == ""
    alice.ping()
    found = contacts(server)
    server.kill()
    server.start()
    assert contacts(server) == found


def test_a_full_list_can_still_be_changed(make_server):
    server = make_server("alice", settings={"roster.contacts-max": "2"})
    add(server, "a@x.example", "b@x.example")
    assert add(server, "c@x.example", "a@x.example", more=("--group", "G")) == [
        ("c@x.example", "roster.contacts-max is reached"),
        ("a@x.example", "there already; put into the group")]


def test_a_contact_is_removed(server, pair):
    """As by the client: both are told, and the other sees no presence any more."""
    alice, bob = pair
    for client in pair:
        client.result("get", "<query xmlns='jabber:iq:roster'/>")
    done = server.ctl_run("contact", "del", "alice@localhost", "Bob@localhost/x")
    assert done.returncode == 0, done.stderr
    alice.expect("<iq type='set'><query xmlns='jabber:iq:roster'>"
                 "<item jid='bob@localhost' subscription='remove'/></query></iq>")
    bob.expect("<presence from='alice@localhost' type='unsubscribe'/>")
    bob.expect("<presence from='alice@localhost' type='unsubscribed'/>")
    assert "bob@localhost" not in contacts(server)
    assert contacts(server, "bob@localhost")["alice@localhost"]["subscription"] == "none"
    again = server.ctl_run("contact", "del", "alice@localhost", "bob@localhost")
    assert again.returncode == 1 and "bob@localhost is no contact of alice" in again.stderr
    assert server.ctl_run("contact", "del", "alice@localhost", "@").returncode == 2


def test_help_names_the_limit_of_a_command(server):
    assert "1,000" in server.ctl_run("help", "contact", "add").stdout
    refused = server.ctl_run("contact", "add", "alice@localhost",
                             " ".join(f"c{i}@x" for i in range(1001)))
    assert "1000" in refused.stderr


@pytest.mark.parametrize("args", [
    ("add", "alice", "bob@localhost"), ("add", "nobody@localhost", "bob@localhost"),
    ("add", "alice@example.org", "bob@localhost"), ("list", "nobody@localhost"),
    ("add", "alice@localhost", " ".join(f"c{i}@x" for i in range(1001))),
    ("add", "alice@localhost", "bob@localhost", "--group", "g" * 1024),
    ("add", "alice@localhost", " "),
])
def test_bad_input_changes_nothing(server, args):
    assert server.ctl_run("contact", *args).returncode != 0
    assert contacts(server) == {}
