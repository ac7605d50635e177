"""Accounts that come from other servers, and go as a file of XEP-0227."""
import concurrent.futures
import getpass
import json
import re
import time
import xml.etree.ElementTree as ET

import pytest

from harness.client import until
from harness.imports import (ALICE, LAUGHS, OWNER, PIE, PUBSUB, ROMEO, canonical, lost_of,
                             server_data)
from harness.server import Failed
from archive.test_mam import form


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_all_that_a_user_has_comes_along_and_goes_again(server, load, make_server, tmp_path):
    message, lost = load(server_data(ALICE, ROMEO), "--dry-run")
    assert message.startswith("users that would be imported: 2,") and lost == set()
    assert not [r for r in server.rows("user", "list") if r["jid"].startswith("juliet")]
    message, lost = load(server_data(ALICE, ROMEO))
    assert message == ("users imported: 2, there already: 0, refused: 0; "
                       "what does not come along: 0") and lost == set()

    juliet = server.client("juliet", "balcony", password="s3crEt", priority=0)
    first = juliet.expect("<message from='romeo@localhost/x'><body>come</body></message>")
    assert first.find("{urn:xmpp:delay}delay").get("stamp").startswith("2020-05-01T10:00:00")
    juliet.expect("<message from='nurse@example.com/x'><body>later</body></message>")
    roster = juliet.result("get", "<query xmlns='jabber:iq:roster'/>")
    items = {i.get("jid"): (i.get("subscription"), i.get("ask"), i.get("name"),
                            [g.text for g in i]) for i in roster}
    assert items == {"romeo@localhost": ("both", None, "R & M", ["Friends"]),
                     "nurse@example.com": ("to", None, None, []),
                     "bob@localhost": ("none", "subscribe", None, [])}
    card = juliet.result("get", "<vCard xmlns='vcard-temp'/>")
    assert card.findtext("{vcard-temp}FN") == "Juliet Capulet"
    prefs = juliet.result("get", "<query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'/>"
                                 "</query>")
    assert prefs.findtext(".//{exodus:prefs}nick") == "J"
    rooms = juliet.result("get", f"<pubsub xmlns='{PUBSUB}'><items node='urn:xmpp:bookmarks:1'/>"
                                 "</pubsub>")
    assert rooms[0][0].get("id") == "tea@rooms.localhost"
    old = juliet.result("get", "<query xmlns='jabber:iq:private'>"
                               "<storage xmlns='storage:bookmarks'/></query>")[0]
    assert {e.tag.split("}")[1] for e in old} == {"conference", "url"}
    blocked = juliet.result("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
    assert {i.get("jid") for i in blocked} == {"tybalt@example.com", "spam@example.com"}
    archive = server.ctl("user", "stats", "juliet@localhost")["rows"]
    assert {"name": "stored messages", "value": "3"} in archive

    romeo = server.client("romeo", "orchard", password="iLuvJuLi3T", mechanism="SCRAM-SHA-1",
                          priority=0)
    romeo.expect(f"<presence from='{juliet}'/>")
    assert romeo.result("get", f"<pubsub xmlns='{PUBSUB}'><items node='mood'/></pubsub>",
                        to="juliet@localhost")[0][0].get("id") == "1"
    romeo.error("get", f"<pubsub xmlns='{PUBSUB}'><items node='urn:xmpp:bookmarks:1'/></pubsub>",
                to="juliet@localhost")
    for client in juliet, romeo:
        client.close()

    # what goes and comes again is the same
    one, two = tmp_path / "one.xml", tmp_path / "two.xml"
    assert server.ctl("export", "xep0227", str(one))["text"].startswith("users written: ")
    assert one.stat().st_mode & 0o777 == 0o600
    other = make_server()
    answer = other.bring("xep0227", str(one))
    assert lost_of(answer) == []
    other.ctl("export", "xep0227", str(two), "localhost")
    assert canonical(one.read_text()) == canonical(two.read_text())
    with pytest.raises(Failed, match="File exists"):
        other.ctl("export", "xep0227", str(two))


def test_bookmarks_in_all_forms_are_joined(server, load):
    """An item is worth more than the old node, and that more than private XML."""
    def old(*rooms):
        return ("<storage xmlns='storage:bookmarks'>" + "".join(
            f"<conference jid='{jid}@rooms.example' name='{name}'/>" for jid, name in rooms)
                + "</storage>")

    def node(name, *items):
        return (f"<pubsub xmlns='{PUBSUB}'><items node='{name}'>" + "".join(
            f"<item id='{key}'>{payload}</item>" for key, payload in items) + "</items></pubsub>")
    bookmark = "<conference xmlns='urn:xmpp:bookmarks:1' name='new'/>"
    private = ("<query xmlns='jabber:iq:private'>" + old(
        ("one", "private"), ("two", "private"), ("three", "private"), ("", "none")) + "</query>")
    new = node("urn:xmpp:bookmarks:1", ("One@rooms.example", bookmark))
    pep = node("storage:bookmarks", ("current", old(("one", "pep"), ("two", "pep"))))
    config = form(("pubsub#access_model", "open"), ("pubsub#max_items", "1"),
                  form_type=f"{PUBSUB}#node_config")
    opened = (f"<pubsub xmlns='{OWNER}'><configure node='urn:xmpp:bookmarks:1'>{config}"
              "</configure></pubsub>")
    users = {"all": private + opened + new + pep, "pep": pep, "both": private + new,
             "new": opened + new}
    text = server_data(*(f"<user name='{name}' password='x'>{more}</user>"
                         for name, more in users.items()))
    none = "a bookmark of what is no address of a room: @rooms.example"
    for more in ["--dry-run"], []:
        assert load(text, *more)[1] == {(f"{name}@localhost", none) for name in ("all", "both")}
    wanted = {"all": {"one": "new", "two": "pep", "three": "private"},
              "pep": {"one": "pep", "two": "pep"},
              "both": {"one": "new", "two": "private", "three": "private"}, "new": {"one": "new"}}
    get = f"<pubsub xmlns='{PUBSUB}'><items node='urn:xmpp:bookmarks:1'/></pubsub>"
    for name, expected in wanted.items():
        client = server.client(name, password="x")
        assert {i.get("id").lower(): i[0].get("name") for i in client.result("get", get)[0]} == {
            f"{room}@rooms.example": said for room, said in expected.items()}
        stored = client.result("get", "<query xmlns='jabber:iq:private'>"
                                      "<storage xmlns='storage:bookmarks'/></query>")[0]
        assert {c.get("jid"): c.get("name") for c in stored} == {
            f"{room}@rooms.example": said for room, said in expected.items()}
    client.error("get", get, to="all@localhost")


CARD4 = """<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'>
<fn><text>Bea &amp; Son</text></fn><n><surname>Son</surname><given>Bea</given><additional/></n>
<nickname><text>bee</text></nickname><bday><date>1990-01-02</date></bday>
<photo><uri>data:image/png;base64,AAEC</uri></photo><photo><uri>https://b.example/a</uri></photo>
<email><parameters><type><text>work</text></type></parameters><text>b@b.example</text></email>
<tel><parameters><type><text>voice</text><text>home</text></type></parameters>
<uri>tel:+1-2</uri></tel><org><text>Bees</text><text>Hive</text><text>Floor 2</text></org>
<adr><street>Way 1</street><locality>Bonn</locality></adr><title><text>Queen</text></title>
<url><uri>https://b.example/</uri></url><note><text>hm</text></note><kind><text>x</text></kind>
<fn><text/></fn></vcard>"""


def test_a_vcard_is_made_of_vcard4(server, load):
    """Of a server that keeps only that; not for more people than could read it there."""
    def user(name, access, more="", card=CARD4):
        config = form(("pubsub#access_model", access), form_type=f"{PUBSUB}#node_config")
        return (f"<user name='{name}' password='x'>{more}<pubsub xmlns='{OWNER}'><configure"
                f" node='urn:xmpp:vcard4'>{config}</configure></pubsub><pubsub xmlns='{PUBSUB}'>"
                f"<items node='urn:xmpp:vcard4'><item id='current'>{card}</item></items></pubsub>"
                "</user>")
    text = server_data(
        user("bea", "open"), user("shy", "presence"),
        user("old", "open", "<vCard xmlns='vcard-temp'><FN>Older</FN></vCard>"),
        user("none", "open", card="<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'/>"))
    hidden = "a vCard for clients that know no vCard4: not everybody may read that"
    for more in ["--dry-run"], []:
        assert load(text, *more)[1] == {("shy@localhost", hidden)}
    shown = {name: [(r["name"], r["value"]) for r in server.rows("user", "vcard",
                                                                 f"{name}@localhost")]
             for name in ("bea", "shy", "old", "none")}
    assert shown == {"shy": [], "none": [], "old": [("FN", "Older")], "bea": [
        ("FN", "Bea & Son"), ("N/FAMILY", "Son"), ("N/GIVEN", "Bea"), ("NICKNAME", "bee"),
        ("BDAY", "1990-01-02"), ("PHOTO/TYPE", "image/png"), ("PHOTO/BINVAL", "AAEC"),
        ("PHOTO/EXTVAL", "https://b.example/a"), ("EMAIL/USERID", "b@b.example"),
        ("TEL/NUMBER", "+1-2"), ("ORG/ORGNAME", "Bees"), ("ORG/ORGUNIT", "Hive"),
        ("ORG/ORGUNIT", "Floor 2"), ("ADR/STREET", "Way 1"), ("ADR/LOCALITY", "Bonn"),
        ("TITLE", "Queen"), ("URL", "https://b.example/"), ("NOTE", "hm")]}
    card = server.client("old", password="x").result("get", "<vCard xmlns='vcard-temp'/>",
                                                     to="bea@localhost")
    assert [c.tag for c in card.find("{vcard-temp}TEL")] == [
        "{vcard-temp}HOME", "{vcard-temp}VOICE", "{vcard-temp}NUMBER"]
    assert card.find("{vcard-temp}EMAIL/{vcard-temp}INTERNET") is not None
    assert server.ctl("user", "vcard", "none@localhost")["text"] == "the user has stored none"


def test_it_is_run_again(server, load):
    """What is there is left alone, or replaced with all it has."""
    load(server_data(ALICE))
    message, lost = load(server_data(ALICE, ROMEO))
    assert message.startswith("users imported: 1, there already: 1, refused: 0;")
    assert lost == {("juliet@localhost", "is there already; --replace replaces it")}
    message, lost = load(server_data("<user name='juliet' password='other'/>"), "--replace")
    assert message.startswith("users imported: 1, there already: 0,") and lost == set()
    juliet = server.client("juliet", password="other")
    assert len(juliet.result("get", "<query xmlns='jabber:iq:roster'/>")) == 0
    assert server.ctl("user", "stats", "juliet@localhost")["rows"][-2]["value"] == "0"


PROFILE = ("--given-name", "Juliet", "--surname", "Capulet", "--department", "Verona", "--email",
           "j@example.com", "--directory-uri", "sip:juliet@example.com", "--template", "lovers")


def profile(server):
    """What `user show` says of it, the account itself aside."""
    done = server.ctl_run("--json", "user", "show", "juliet@localhost")
    return {key: value for row in json.loads(done.stdout).get("rows", [])
            for key, value in row.items() if key not in ("created", "disabled")}


def by_search(client, last):
    found = client.result("set", f"<query xmlns='jabber:iq:search'><last>{last}</last></query>",
                          to="search.localhost")
    return [(i.get("jid"), i.findtext("{*}first"), i.findtext("{*}last")) for i in found]


def test_contacts_of_the_only_one_who_is_replaced_keep_it(server, load):
    """With its name and groups, as far as the file has the subscription; the others lose it."""
    names = [f"{name}@localhost" for name in ("alice", "bob", "carol")]
    server.ctl("contact", "group", "Friends", *names)

    def listed(owner):
        return {(r["jid"], r["subscription"], r["groups"])
                for r in server.rows("contact", "list", owner)}

    before = listed(names[1])
    assert (names[0], "both", "Friends") in before
    bob, carol = server.client("bob"), server.client("carol")
    one = ("<user name='alice' password='secret'><query xmlns='jabber:iq:roster'>"
           "<item jid='bob@localhost' subscription='both'/></query></user>")
    load(server_data(one), "--replace")
    until("carol is told", lambda: listed(names[2]) == {(names[1], "both", "Friends")})
    assert listed(names[1]) == before
    alice = server.client("alice")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    carol.expect_nothing(f"<presence from='{alice}'/>", after=alice)


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
@pytest.mark.parametrize("new, fits", [("both", "both"), ("to", "from"), ("from", "to"),
                                      ("none", None)])
@pytest.mark.parametrize("had", ["both", "from", "to"])
def test_contacts_of_one_who_is_replaced_lose_one_direction(server, load, new, fits, had):
    """A contact that is not in the file keeps what its list and the new list have in common."""
    kept = {"from": {"from", "both"}, "to": {"to", "both"}}
    other = {"both": "both", "from": "to", "to": "from"}[had]

    def user(name, contact, subscription):
        return (f"<user name='{name}' password='x'><query xmlns='jabber:iq:roster'><item "
                f"jid='{contact}@localhost' subscription='{subscription}'/></query></user>")
    load(server_data(user("juliet", "romeo", had), user("romeo", "juliet", other)))
    romeo = server.client("romeo", password="x")
    load(server_data(user("juliet", "romeo", new)), "--replace")
    juliet = server.client("juliet", password="x")

    def subscription(owner, contact):
        rows = server.rows("contact", "list", f"{owner}@localhost")
        return next((r["subscription"] for r in rows if r["jid"] == f"{contact}@localhost"), None)
    common = "".join(d for d in ("from", "to") if fits in kept[d] and other in kept[d])
    want = {"fromto": "both", "": None}.get(common, common)
    if new in ("both", "to") and "from" not in common:  # juliet asks anew
        if "to" in common:
            want = "both"  # romeo sees her, so he is not asked
        else:
            romeo.expect("<presence from='juliet@localhost' type='subscribe'/>")
    until("romeo has the rest", lambda: subscription("romeo", "juliet") in (
        want, want or "none"))
    if common == "from":
        juliet.expect(f"<presence from='{romeo}' type='-'/>")
    with server.database(read_only=True) as db:
        until("no word is left", lambda: db.execute(
            "SELECT count(*) FROM roster_out WHERE axis = 0 OR verb <> 0").fetchone() == (0,))


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_contacts_of_a_deleted_account_are_asked_again(server, load):
    """They were told that it is gone, and have no subscription any more."""
    server.ctl("contact", "group", "Friends", "alice@localhost", "bob@localhost", "carol@localhost")
    server.ctl("user", "del", "alice@localhost")
    until("bob and carol are told", lambda: [len(server.rows("contact", "list", f"{n}@localhost"))
                                             for n in ("bob", "carol")] == [1, 1])
    bob, carol = server.client("bob"), server.client("carol")
    items = "".join(f"<item jid='{name}@localhost' subscription='{how}'/>"
                    for name, how in (("bob", "both"), ("carol", "from")))
    load(server_data(f"<user name='alice' password='secret'><query xmlns='jabber:iq:roster'>{items}"
                     "</query></user>"))
    bob.expect("<presence from='alice@localhost' type='subscribe'/>")
    alice = server.client("alice")
    roster = {i.get("jid"): (i.get("subscription"), i.get("ask"))
              for i in alice.result("get", "<query xmlns='jabber:iq:roster'/>")}
    assert roster == {"bob@localhost": ("from", "subscribe"), "carol@localhost": ("from", None)}
    bob.send("<presence to='alice@localhost' type='subscribed'/>")
    alice.expect("<presence from='bob@localhost' type='subscribed'/>")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.send("<presence to='alice@localhost' type='subscribe'/>")
    until("both", lambda: {(r["jid"], r["subscription"]) for r in server.rows(
        "contact", "list", "bob@localhost")} == {("alice@localhost", "both"),
                                                 ("carol@localhost", "both")})
    carol.expect_nothing("<presence from='alice@localhost' type='subscribe'/>", after=alice)


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
@pytest.mark.parametrize("order", ["da1 da2", "da2 da1"])
@pytest.mark.parametrize("other", ["", "<item jid='da1@localhost' subscription='to'/>"])
@pytest.mark.parametrize("between", [0, 20])
@pytest.mark.parametrize("replaced", [0, 2])
def test_lists_that_do_not_agree(server, load, order, other, between, replaced):
    """Whoever comes first, and however far apart: the one whose list the other does not confirm
    asks again, once. That one has an account that was replaced meanwhile, perhaps."""
    lists = {"da1": "<item jid='da2@localhost' subscription='both'/>", "da2": other}
    users = [f"<user name='{name}' password='x'><query xmlns='jabber:iq:roster'>{lists[name]}"
             "</query></user>" for name in order.split()]
    others = [f"<user name='other{i}' password='x'/>" for i in range(between)]
    text = server_data(users[0], *others, users[1])
    for options in [[], *[["--replace"]] * replaced]:
        message, lost = load(text, *options)
        assert f"users imported: {2 + between}," in message and not lost
    one, two = (server.client(name, password="x") for name in ("da1", "da2"))
    if not other:  # else the one sees the other already, and is not asked
        two.expect("<presence from='da1@localhost' type='subscribe'/>")
        two.send("<presence to='da1@localhost' type='subscribed'/>")
    one.expect(f"<presence from='{two}' type='-'/>")
    if not other:
        two.send("<presence to='da1@localhost' type='subscribe'/>")
    for owner, contact in (("da1", "da2"), ("da2", "da1")):
        until(owner, lambda: [(r["jid"], r["subscription"]) for r in server.rows(
            "contact", "list", f"{owner}@localhost")] == [(f"{contact}@localhost", "both")])
    two.expect_nothing("<presence from='da1@localhost' type='subscribe'/>", after=one)
    with server.database(read_only=True) as db:
        until("no word is left",
              lambda: db.execute("SELECT count(*) FROM roster_out").fetchone() == (0,))


@pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")
def test_lists_that_do_not_agree_and_a_refusal(server, load):
    """The one who came first sees both until the other has answered."""
    load(server_data("<user name='da1' password='x'><query xmlns='jabber:iq:roster'>"
                     "<item jid='da2@localhost' subscription='both'/></query></user>",
                     "<user name='da2' password='x'/>"))
    two = server.client("da2", password="x")
    two.expect("<presence from='da1@localhost' type='subscribe'/>")
    two.send("<presence to='da1@localhost' type='unsubscribed'/>")
    until("from", lambda: [r["subscription"] for r in server.rows(
        "contact", "list", "da1@localhost")] == ["from"])


@pytest.mark.parametrize("how", ["contact", "account", "file"])
def test_who_comes_later_in_the_file_grants_what_was_asked(server, load, how):
    """The contacts have lost the user, and get it back by their own lists: its requests, which
    went to the accounts that are replaced, are answered by these."""
    def user(name, *contacts):
        items = "".join(f"<item jid='{c}@localhost' subscription='both'/>" for c in contacts)
        return (f"<user name='{name}' password='x'><query xmlns='jabber:iq:roster'>{items}"
                "</query></user>")
    others = [user(name, "da0") for name in ("da1", "da2", "da3")]
    between = [user(f"other{i}") for i in range(40)]  # the requests arrive meanwhile
    both = server_data(user("da0", "da1", "da2", "da3"), *between, *others)
    load(both)
    if how == "contact":
        for name in "da1", "da2", "da3":
            server.ctl("contact", "del", f"{name}@localhost", "da0@localhost")
    elif how == "account":
        server.ctl("user", "del", "da0@localhost")
        server.add_user("da0")
    else:  # the contacts come one by one
        load(server_data(*[user(name) for name in ("da1", "da2", "da3")]), "--replace")
        until("no longer", lambda: not server.rows("contact", "list", "da0@localhost"))
        load(server_data(user("da0", "da1", "da2", "da3")), "--replace")
    one = server.client("da1", password="x") if how == "contact" else None
    for text in [server_data(o) for o in others] if how == "file" else [both]:
        load(text, "--replace")
    for owner, want in ("da0", 3), ("da1", 1), ("da2", 1), ("da3", 1):
        until(owner, lambda: [(r["subscription"], r["ask"]) for r in server.rows(
            "contact", "list", f"{owner}@localhost")] == [("both", False)] * want)
    with server.database(read_only=True) as db:
        until("no word is left",
              lambda: db.execute("SELECT count(*) FROM roster_out").fetchone() == (0,))
    if one:
        one.close()
    zero, one = server.client("da0", password="x"), server.client("da1", password="x")
    zero.expect(f"<presence from='{one}' type='-'/>")
    one.expect(f"<presence from='{zero}' type='-'/>")


@pytest.mark.parametrize("end", ["enable", "del"])
def test_contacts_of_an_emptied_account_are_told_when_it_is_for_somebody_else(server, end):
    server.ctl("contact", "group", "Friends", "alice@localhost", "bob@localhost")
    server.ctl("user", "del", "alice@localhost", "--keep-address")
    assert len(server.rows("contact", "list", "bob@localhost")) == 1
    server.ctl("user", end, "alice@localhost")
    until("bob is told", lambda: not server.rows("contact", "list", "bob@localhost"))


@pytest.mark.parametrize("killed", [False, True], ids=["restart", "kill"])
def test_contacts_of_an_emptied_account_wait_also_over_a_start(server, load, killed):
    """As contacts on other servers do: an import fills it again."""
    def listed():
        return [(r["jid"], r["subscription"]) for r in server.rows(
            "contact", "list", "bob@localhost")]
    server.ctl("contact", "group", "Friends", "alice@localhost", "bob@localhost", "carol@localhost")
    before = listed()
    server.ctl("user", "del", "alice@localhost", "--keep-address")
    server.ctl("user", "del", "carol@localhost", "--keep-address")
    server.kill() if killed else server.stop()
    with server.database() as db:  # the time of one of them is nearly over
        db.execute("UPDATE roster_out SET due = ? WHERE sender = 'carol@localhost'",
                   (int((time.time() + 2) * 1e6),))
    server.start()
    until("bob is told of carol", lambda: len(listed()) == 1)
    assert listed() == before[:1] == [("alice@localhost", "both")]
    load(server_data("<user name='alice' password='secret'><query xmlns='jabber:iq:roster'>"
                     "<item jid='bob@localhost' subscription='both'/></query></user>"), "--replace")
    alice, bob = server.client("alice"), server.client("bob")
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    assert listed() == before[:1]
    with server.database(read_only=True) as db:
        until("no word is left",
              lambda: db.execute("SELECT count(*) FROM roster_out").fetchone() == (0,))


def test_contacts_of_an_emptied_account_are_told_behind_a_start(server):
    """Its time goes on while the server does not run; one that is enabled does not wait."""
    server.ctl("contact", "group", "Friends", "alice@localhost", "bob@localhost", "carol@localhost")
    for name in "alice", "carol":
        server.ctl("user", "del", f"{name}@localhost", "--keep-address")
    server.restart()
    server.ctl("user", "enable", "carol@localhost")
    until("bob is told of carol", lambda: [r["jid"] for r in server.rows(
        "contact", "list", "bob@localhost")] == ["alice@localhost"])
    server.stop()
    with server.database() as db:
        db.execute("UPDATE roster_out SET due = due - 600000000 WHERE due > 0")
    server.start()
    until("bob is told", lambda: not server.rows("contact", "list", "bob@localhost"))


def test_what_is_replaced_keeps_what_others_gave_it(server, load):
    """Profile, role, affiliations with rooms and places in groups: these are not in the file."""
    load(server_data(ALICE, ROMEO))
    server.ctl("admin", "add", "juliet@localhost", "operator")
    server.ctl("room-admin", "add", "juliet@localhost")
    server.ctl("room", "create", "hall@conference.localhost", "juliet@localhost")
    server.ctl("room", "affiliation", "hall@conference.localhost", "romeo@localhost", "admin")
    server.ctl("template", "add", "lovers")
    server.ctl("user", "set", "juliet@localhost", *PROFILE)
    server.ctl("group", "add", "house")
    server.ctl("group-member", "add", "house", "juliet@localhost", "romeo@localhost")
    server.ctl("group", "add", "verona")
    server.ctl("group-member", "add", "verona", "--rule", "department=Verona")
    server.ctl("federation", "set", "juliet@localhost", "off")
    server.ctl("policy", "set", "juliet@localhost", "--others", "block", "--allow", "nurse@x.test")
    server.ctl("policy", "set", "romeo@localhost", "--allow", "juliet@localhost")

    def given():
        return (server.rows("admin", "list"), server.rows("room-admin", "list"),
                server.rows("room", "affiliations", "hall@conference.localhost"),
                [server.rows("group", "show", "house")[0]["members"],
                 *server.rows("group-member", "list", "house")],
                [server.rows("group", "show", "verona")[0]["rules"],
                 *server.rows("group-member", "list", "verona")], profile(server))

    def ruled():
        return [server.rows("federation", "show", "juliet@localhost"),
                server.rows("policy", "show", "juliet@localhost"),
                server.rows("policy", "show", "romeo@localhost")]
    before, rules = given(), ruled()
    assert [len(rows) for rows in before] == [1, 1, 2, 3, 2, 8]
    assert all(word in str(rows) for word, rows in
               zip(("'off'", "nurse", "juliet"), rules, strict=True)) and "block" in str(rules[1])
    romeo = server.client("romeo", password="iLuvJuLi3T", mechanism="SCRAM-SHA-1")
    message, lost = load(server_data("<user name='juliet' password='other'/>", ROMEO), "--replace")
    assert message.startswith("users imported: 2, there already: 0, refused: 0") and lost == set()
    romeo.expect_stream_error("not-authorized")
    until("it is as before", lambda: given() == before)
    assert ruled() == rules
    juliet = server.client("juliet", password="other")
    assert by_search(juliet, "capulet") == [("juliet@localhost", "Juliet", "Capulet")]
    juliet.close()
    server.client("romeo", password="iLuvJuLi3T", mechanism="SCRAM-SHA-1").close()

    # one that cannot be written stays, so that nobody else gets what was given to it
    card = "<vCard xmlns='vcard-temp'><N>" + "x" * 100 + "</N></vCard>"
    many = "".join(f"<item jid='a{i}@b.example'/>" for i in range(40000))
    server.ctl("set", "roster.contacts-max", "50000")
    _, lost = load(server_data(f"<user name='juliet' password='x'>{card}"
                               f"<query xmlns='jabber:iq:roster'>{many}</query></user>"),
                   "--replace")
    assert any("the account that was there is empty and disabled now" in what
               for _, what in lost), list(lost)[:3]
    refused = [{**row, "disabled": True} for row in before[0]]
    until("it is disabled", lambda: given() == (refused, *before[1:]))
    row, = [r for r in server.rows("user", "list") if r["jid"] == "juliet@localhost"]
    assert row["disabled"]
    with pytest.raises(Failed):
        server.ctl("user", "add", "juliet@localhost", "--password", "mine")
    message, _ = load(server_data("<user name='juliet' password='again'/>"), "--replace")
    assert message.startswith("users imported: 1,")
    until("it is as before again", lambda: given() == before)
    assert ruled() == rules
    server.client("juliet", password="again").close()
    server.ctl("user", "del", "juliet@localhost")
    until("groups", lambda: [len(rows) for rows in given()] == [0, 0, 1, 2, 1, 0])
    server.ctl("user", "add", "juliet@localhost", "--password", "mine")
    assert not any(word in str(rows) for word, rows in
                   zip(("'off'", "nurse", "juliet"), ruled(), strict=True))


def test_an_account_that_is_disabled_stays_so(server, load, make_server, tmp_path):
    load(server_data(ROMEO, "<user name='juliet' password='x'/>"))
    server.ctl("user", "disable", "romeo@localhost")
    file = tmp_path / "out.xml"
    server.ctl("export", "xep0227", str(file))
    other = make_server()
    assert [row["user"] for row in other.bring("xep0227", str(file))["rows"]] == ["romeo@localhost"]
    disabled = {r["jid"]: r["disabled"] for r in other.rows("user", "list")}
    assert disabled["romeo@localhost"] and not disabled["juliet@localhost"]
    with pytest.raises(Exception, match="account-disabled"):
        other.login("romeo", password="iLuvJuLi3T", mechanism="SCRAM-SHA-1")
    other.ctl("user", "enable", "romeo@localhost")
    other.login("romeo", password="iLuvJuLi3T", mechanism="SCRAM-SHA-1").close()


@pytest.mark.parametrize("emptied", [False, True])
def test_an_account_that_an_operator_has_disabled_is_not_enabled_by_a_file(server, load, emptied):
    """Also in pieces, and if it was emptied before; but an account that was emptied alone is."""
    on = "<continues xmlns='urn:muster:pie:0'/>"
    users = [f"<user name='{name}' password='x'>{more}</user>" for name, more in
             (("one", ""), ("two", on), ("two", ""), ("free", ""))]
    load(server_data(*users))
    for name in "one", "two":
        server.ctl("user", "disable", f"{name}@localhost")
    for _ in range(2):
        for name in ("one", "two", "free") if emptied else ():
            server.ctl("user", "del", f"{name}@localhost", "--keep-address")
        message, lost = load(server_data(*users), "--replace")
        assert "users imported: 3," in message and not lost
        assert [r["jid"].partition("@")[0] for r in server.rows("user", "list", "--disabled")] == \
            ["one", "two"]
        for name in "one", "two":
            with pytest.raises(Exception, match="account-disabled"):
                server.login(name, password="x")
        server.login("free", password="x").close()
    server.ctl("user", "enable", "one@localhost")
    load(server_data(*users), "--replace")
    server.login("one", password="x").close()


def test_an_import_says_how_far_it_is(server, tmp_path):
    """Another connection asks while it runs: each password takes its time."""
    running = lambda: server.rows("job", "list", "--running")  # noqa: E731
    assert running() == []
    path = tmp_path / "users.xml"
    path.write_text(server_data(*(f"<user name='u{i}' password='x'/>" for i in range(60)),
                                "<user/>"))
    seen = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        done = pool.submit(server.bring, "xep0227", str(path))
        while not done.done():
            seen += running()
        assert done.result()["text"].startswith("users imported: 60, there already: 0, refused: 1")
    assert seen and {(j["command"], j["state"], j["by"]) for j in seen} == {
        ("import xep0227", "running", "control:" + getpass.getuser())}
    told = [re.fullmatch(r"users (\d+), rooms 0, groups 0, refused [01]", j["text"]) for j in seen]
    assert all(told) and all(int(m[1]) <= 60 for m in told)
    assert all(0 <= j["percent"] <= 100 for j in seen)
    ended, = server.rows("job", "show", seen[0]["id"])
    assert running() == [] and ended["state"] == "failed" and ended["about"] == f"file={path}"
    assert ended["text"].startswith("users imported: 60, there already: 0, refused: 1")


def test_where_no_users_are(server, load, tmp_path):
    """A wrong path is told, dry or not, and is no success."""
    (tmp_path / "pictures" / "2020").mkdir(parents=True)
    (tmp_path / "data" / "localhost" / "accounts").mkdir(parents=True)
    for more in [], ["--dry-run"]:
        for folder in "pictures", "data":
            with pytest.raises(Failed, match="found no users, expected the data_path of Prosody"):
                server.bring("prosody", str(tmp_path / folder), *more)
        for kind in "xep0227", "ejabberd":
            with pytest.raises(Failed, match="found no users, expected a file of XEP"):
                load(server_data(), *more, kind=kind)
            with pytest.raises(Failed, match="the root is no <server-data/>"):
                load("<archive/>", *more, kind=kind)
    with pytest.raises(Failed, match="found file is not a database, expected a database of Pros"):
        server.bring("prosody", str(tmp_path / "users.xml"))
    with pytest.raises(Failed, match="expected a folder that muster-convert has written"):
        server.bring("xep0227", str(tmp_path))


DEEP = "<a xmlns='urn:a'>" * 200 + "</a>" * 200
REFUSED = {
    "deep": (f"<user name='u'>{DEEP}</user>", "it has elements inside each other"),
    "entity": ("<user name='u'><a xmlns='urn:a'>&x;</a></user>", "it is no well-formed XML"),
    "tags": ("<user name='u'><a xmlns='urn:a'></b></user>", "it is no well-formed XML"),
    "name": ("<user name='a/b@c'/>", "its name is none that an account can have"),
    "no name": ("<user/>", "it has no name"),
    "empty": ("<user name=''/>", "it has no name"),
    "line": ("<user name='a&#10;b'/>", "its name is none that an account can have"),
    "twice": ("<user name='dan' password='a'/>", "it is in the source for the second time"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_user_who_is_refused(server, load, what):
    """The others come, and nothing is changed for this one."""
    user, why = REFUSED[what]
    text = server_data("<user name='dan' password='a'/>", user, "<user name='eve' password='b'/>")
    results = lambda: [r["result"] for r in server.rows(  # noqa: E731
        "audit", "list", "--command", "import xep0227")]
    load(text, "--dry-run")
    message, lost = load(text)
    assert message.startswith("users imported: 2, there already: 0, refused: 1;")
    assert results() == ["part", "conflict"]
    (_, said), = lost
    assert said.startswith(f"refused: {why}")
    assert len(server.rows("user", "list")) == len(server.rows("user", "list", "--limit", "99"))
    assert {r["jid"] for r in server.rows("user", "list")} >= {"dan@localhost", "eve@localhost"}


def test_a_domain_of_others(server, load):
    message, lost = load(server_data("<user name='u' password='a'/>", host="elsewhere.example"))
    assert message.startswith("users imported: 0,")
    until("it is in the audit log", lambda: [row["result"] for row in server.rows(
        "audit", "list", "--command", "import xep0227")] == ["conflict"])
    assert lost == {("u@elsewhere.example", "refused: its domain is none of this server")}


WRONG = {
    "laughs": (LAUGHS[0] + "<server-data xmlns='urn:xmpp:pie:0'/>", "found a document type"),
    "root": ("<html/>", "the root is no <server-data/>"),
    "nothing": ("", "the file ends before its root"),
    "up": (f"<server-data xmlns='{PIE}' xmlns:xi='http://www.w3.org/2001/XInclude'>"
           "<xi:include href='../secret.xml'/></server-data>", "does not lead upwards"),
    "itself": (f"<server-data xmlns='{PIE}' xmlns:xi='http://www.w3.org/2001/XInclude'>"
               "<xi:include href='users.xml'/></server-data>", "inside each other"),
    "no domain": (f"<server-data xmlns='{PIE}'><host><user name='a'/></host></server-data>",
                  "found users without a domain"),
    "encoding": ("<?xml version='1.0' encoding='ISO-8859-1'?>" + server_data(),
                 "iconv -f ISO-8859-1 -t UTF-8"),
    "prefix": (f"<p:server-data xmlns:p='{PIE}'/>", "found <p:server-data> with a prefix"),
    "prefix of a user": (f"<p:user xmlns:p='{PIE}' name='a'/>", "found <p:user> with a prefix"),
    "namespace": ("<server-data xmlns='urn:other'/>",
                  "found the namespace .*urn:other.* of <server-data>"),
    "namespace of a user": (server_data("<user xmlns='urn:other' name='a'/>"),
                            "found the namespace .*urn:other.* of <user>"),
    "absent": (f"<server-data xmlns='{PIE}' xmlns:xi='http://www.w3.org/2001/XInclude'>"
               "<xi:include href='absent.xml'/></server-data>", "No such file"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_is_wrong(load, what):
    text, why = WRONG[what]
    with pytest.raises(Failed, match=why):
        load(text)


@pytest.mark.parametrize("kind", ["xep0227", "openfire"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_another_encoding(server, tmp_path, kind, encoding):
    path = tmp_path / "users.xml"
    path.write_bytes(server_data(ROMEO).encode(encoding))
    with pytest.raises(Failed, match="iconv -f UTF-16"):
        server.bring(kind, str(path))


def test_a_file_that_is_cut_off(server, load):
    """The users before the cut are there; the one in it is not."""
    text = server_data("<user name='dan' password='a'/>", ALICE)
    with pytest.raises(Failed, match=r"line \d+: the file ends within .*users imported: 1"):
        load(text[:text.index("</vCard>")])
    names = {r["jid"] for r in server.rows("user", "list")}
    assert "dan@localhost" in names and "juliet@localhost" not in names


def test_files_of_hosts_and_users(server, tmp_path):
    """XEP-0227 §5."""
    xi = "xmlns:xi='http://www.w3.org/2001/XInclude'"
    (tmp_path / "localhost").mkdir()
    (tmp_path / "main.xml").write_text(f"<server-data xmlns='{PIE}' {xi}>"
                                       "<xi:include href='localhost.xml'/></server-data>")
    (tmp_path / "localhost.xml").write_text(
        f"<host xmlns='{PIE}' {xi} jid='localhost'><xi:include href='localhost/j%75liet.xml'/>"
        "<xi:include href='localhost/romeo.xml'/></host>")
    for name, user in ("juliet", ALICE), ("romeo", ROMEO):
        (tmp_path / "localhost" / f"{name}.xml").write_text(
            user.replace("<user", f"<user xmlns='{PIE}'", 1))
    answer = server.bring("xep0227", str(tmp_path / "main.xml"))
    assert answer["text"].startswith("users imported: 2,") and lost_of(answer) == []


def test_what_does_not_come_along_is_said(server, load):
    server.ctl("set", "roster.contacts-max", "1")
    message, lost = load(server_data(
        "<user name='u'><weather xmlns='urn:w'/><query xmlns='jabber:iq:roster'>"
        "<item jid='@'/><item jid='a@b.example'/><item jid='c@d.example'/></query></user>"))
    assert message == ("users imported: 1, there already: 0, refused: 0; "
                       "what does not come along: 4")
    assert lost == {
        ("u@localhost", "an element <weather/> of urn:w"),
        ("u@localhost", "a password: nobody can log in before `user password` sets one"),
        ("u@localhost", "a contact whose address is none @"),
        ("u@localhost", "a contact beyond roster.contacts-max c@d.example")}


def test_contents_too_long_to_be_stored_are_in_the_report(load):
    """Nothing that is longer than any stanza is left out without a word, or stored empty."""
    long = "x" * (17 << 20)
    message = (f"<message xmlns='jabber:client' from='romeo@localhost/x' type='chat'><body>{long}"
               "</body></message>")
    users = {
        "private": f"<query xmlns='jabber:iq:private'><n xmlns='urn:n'>{long}</n></query>",
        "offline": f"<offline-messages>{message}</offline-messages>",
        "asks": ("<presence xmlns='jabber:client' from='romeo@localhost' type='subscribe'><status>"
                 f"{long[:9000]}</status></presence>"),
        "card": (f"<pubsub xmlns='{PUBSUB}'><items node='urn:xmpp:vcard4'><item id='current'>"
                 f"<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'><note><text>{long}</text>"
                 "</note></vcard></item></items></pubsub>"),
    }
    text = server_data(*(f"<user name='{name}' password='x'>{more}</user>"
                         for name, more in users.items()))
    assert load(text, "--dry-run")[1] == {
        ("private@localhost",
         "private data beyond private.elements-max or private.bytes-max: {urn:n}n"),
        ("offline@localhost", "a message longer than 15.9 MiB, or with an id longer than 1 MiB, "
                              "from romeo@localhost/x"),
        ("asks@localhost", "the words of a request, longer than 8 KiB, from romeo@localhost"),
        ("card@localhost", "an item without id, or beyond pep.item-bytes or pep.bytes-max, of node "
                           "urn:xmpp:vcard4"),
        ("card@localhost",
         "a vCard for clients that know no vCard4: not everybody may read that")}


@pytest.mark.sqlite
def test_an_account_that_is_too_large_is_left_out_by_name(server, tmp_path):
    """The others are written, and the command says that it has not written all."""
    server.stop()
    with server.database() as db:
        owner, = db.execute("SELECT id FROM account WHERE jid = 'bob@localhost'").fetchone()
        db.execute("INSERT INTO private_xml(owner, ns, name, bytes, xml) "
                   "VALUES(?, 'urn:n', 'n', 1, ?)",
                   (owner, "<n xmlns='urn:n'>" + "x" * (33 << 20) + "</n>"))
    server.start()
    path = tmp_path / "out.xml"
    done = server.ctl_run("--json", "export", "xep0227", str(path))
    answer = json.loads(done.stdout)
    assert done.returncode == 1 and answer["error"] == "part"
    assert answer["text"] == "users written: 2; users that are too large, and left out: 1"
    (row,) = answer["rows"]
    assert row["user"] == "bob@localhost"
    assert row["what"].startswith("left out: beside its archive it has more than 128 MiB")
    names = [u.get("name") for u in ET.parse(path).iter(f"{{{PIE}}}user")]
    assert names == ["alice", "carol"]
