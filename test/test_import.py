"""Accounts that come from other servers, and go as a file of XEP-0227."""
import base64
import concurrent.futures
import datetime
import getpass
import hashlib
import hmac
import json
import re
import sqlite3
import time
import xml.etree.ElementTree as ET

import pytest

from muster import ejabberd, federation, prosody
from muster.client import until
from muster.server import Failed, free_ports
from test_mam import MAM, WORDS, Page, form

PIE, SCRAM = "urn:xmpp:pie:0", "urn:xmpp:pie:0#scram"
PUBSUB, OWNER = "http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/pubsub#owner"


def keys(password, name="sha1", salt=b"0123456789abcdef0123456789abcdef0123", count=4096):
    """Keys as another server has them: of one hash, with a salt that is longer than ours."""
    salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, count)
    client = hmac.digest(salted, b"Client Key", name)
    parts = {"iter-count": str(count)}
    for key, value in (("salt", salt), ("server-key", hmac.digest(salted, b"Server Key", name)),
                       ("stored-key", hashlib.new(name, client).digest())):
        parts[key] = base64.b64encode(value).decode()
    label = {"sha1": "SHA-1", "sha256": "SHA-256"}[name]
    return (f"<scram-credentials xmlns='{SCRAM}' mechanism='SCRAM-{label}'>"
            + "".join(f"<{k}>{v}</{k}>" for k, v in parts.items()) + "</scram-credentials>")


def server_data(*users, host="localhost"):
    return (f"<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='{PIE}'>"
            f"<host jid='{host}'>\n" + "\n".join(users) + "\n</host></server-data>\n")


@pytest.fixture
def load(server, tmp_path):
    """A function that imports a text and returns the message and the rows of the report."""
    def load(text, *more, kind="xep0227"):
        path = tmp_path / "users.xml"
        path.write_text(text)
        answer = server.bring(kind, str(path), *more)
        return answer["text"], {(r["user"], r["what"]) for r in answer["rows"]}
    return load


ALICE = f"""<user name='juliet' password='s3crEt'>
<query xmlns='jabber:iq:roster'>
<item jid='romeo@localhost' name='R &amp; M' subscription='both'><group>Friends</group></item>
<item jid='nurse@example.com' subscription='to'/>
<item jid='bob@localhost' subscription='none' ask='subscribe'/></query>
<presence xmlns='jabber:client' from='tybalt@example.com' type='subscribe'><status>let me</status>
</presence>
<vCard xmlns='vcard-temp'><FN>Juliet Capulet</FN></vCard>
<query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'><nick>J</nick></exodus>
<storage xmlns='storage:bookmarks'><conference jid='tea@rooms.localhost' name='Tea' autojoin='1'>
<nick>jules</nick></conference><url name='x' url='https://example.com'/></storage></query>
<query xmlns='jabber:iq:privacy'><default name='mine'/><list name='mine'>
<item action='deny' order='7' type='jid' value='spam@example.com'/>
<item action='allow' order='9'/></list></query>
<blocklist xmlns='urn:xmpp:blocking'><item jid='tybalt@example.com'/></blocklist>
<pubsub xmlns='{OWNER}'><configure node='mood'><x xmlns='jabber:x:data' type='submit'>
<field var='FORM_TYPE'><value>{PUBSUB}#node_config</value></field>
<field var='pubsub#access_model'><value>whitelist</value></field></x></configure>
<affiliations node='mood'><affiliation jid='romeo@localhost' affiliation='member'/></affiliations>
</pubsub><pubsub xmlns='{PUBSUB}'><items node='mood'><item id='1'><m xmlns='urn:m'/></item></items>
</pubsub>
<archive xmlns='urn:xmpp:pie:0#mam'>
<result xmlns='urn:xmpp:mam:2' id='a'><forwarded xmlns='urn:xmpp:forward:0'>
<delay xmlns='urn:xmpp:delay' stamp='2020-05-01T10:00:00Z'/><message xmlns='jabber:client'
 from='juliet@localhost/balcony' to='romeo@localhost' type='chat' id='m1'><body>sent</body>
</message></forwarded></result>
<result xmlns='urn:xmpp:mam:2' id='b'><forwarded xmlns='urn:xmpp:forward:0'>
<delay xmlns='urn:xmpp:delay' stamp='2020-05-01T10:00:00Z'/><message xmlns='jabber:client'
 from='romeo@localhost/x' to='juliet@localhost' type='chat' id='m2'><body>come</body>
</message></forwarded></result></archive>
<offline-messages><message xmlns='jabber:client' from='romeo@localhost/x' to='juliet@localhost'
 type='chat' id='m2'><body>come</body><delay xmlns='urn:xmpp:delay' from='localhost'
 stamp='2020-05-01T10:00:00Z'/></message>
<message xmlns='jabber:client' from='nurse@example.com/x' to='juliet@localhost' type='chat'>
<body>later</body><delay xmlns='urn:xmpp:delay' from='localhost' stamp='2020-05-02T10:00:00Z'/>
</message></offline-messages>
</user>"""
ROMEO = f"""<user name='romeo'>{keys('iLuvJuLi3T')}<query xmlns='jabber:iq:roster'>
<item jid='juliet@localhost' subscription='both'/></query></user>"""


def canonical(text):
    """A <host/> whose white space and order of elements within a user, and of contacts, do not
    matter."""
    def strip(e):
        e.text = (e.text or "").strip() or None
        e.tail = None
        for child in e:
            strip(child)
        if e.tag == "{jabber:iq:roster}query":
            e[:] = sorted(e, key=lambda item: item.get("jid"))
        return ET.canonicalize(ET.tostring(e, encoding="unicode"))
    return [sorted(map(strip, user)) for user in ET.fromstring(text).iter(f"{{{PIE}}}user")]


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
    assert answer["rows"] == []
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


@pytest.mark.parametrize("end", ["enable", "del"])
def test_contacts_of_an_emptied_account_are_told_when_it_is_for_somebody_else(server, end):
    server.ctl("contact", "group", "Friends", "alice@localhost", "bob@localhost")
    server.ctl("user", "del", "alice@localhost", "--keep-address")
    assert len(server.rows("contact", "list", "bob@localhost")) == 1
    server.ctl("user", end, "alice@localhost")
    until("bob is told", lambda: not server.rows("contact", "list", "bob@localhost"))


def test_what_is_replaced_keeps_what_others_gave_it(server, load):
    """Profile, role, affiliations with rooms and places in groups: these are not in the file."""
    load(server_data(ALICE, ROMEO))
    server.ctl("admin", "add", "juliet@localhost", "operator")
    server.ctl("room-admin", "add", "juliet@localhost")
    server.ctl("room", "create", "hall@conference.localhost", "juliet@localhost")
    server.ctl("room", "affiliation", "hall@conference.localhost", "romeo@localhost", "admin")
    server.ctl("user", "set", "juliet@localhost", *PROFILE)
    server.ctl("group", "add", "house")
    server.ctl("group-member", "add", "house", "juliet@localhost", "romeo@localhost")
    server.ctl("group", "add", "verona")
    server.ctl("group-member", "add", "verona", "--rule", "department=Verona")

    def given():
        return (server.rows("admin", "list"), server.rows("room-admin", "list"),
                server.rows("room", "affiliations", "hall@conference.localhost"),
                [server.rows("group", "show", "house")[0]["members"],
                 *server.rows("group-member", "list", "house")],
                [server.rows("group", "show", "verona")[0]["rules"],
                 *server.rows("group-member", "list", "verona")], profile(server))
    before = given()
    assert [len(rows) for rows in before] == [1, 1, 2, 3, 2, 8]
    romeo = server.client("romeo", password="iLuvJuLi3T", mechanism="SCRAM-SHA-1")
    message, lost = load(server_data("<user name='juliet' password='other'/>", ROMEO), "--replace")
    assert message.startswith("users imported: 2, there already: 0, refused: 0") and lost == set()
    romeo.expect_stream_error("not-authorized")
    assert given() == before
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
    assert given() == before
    row, = [r for r in server.rows("user", "list") if r["jid"] == "juliet@localhost"]
    assert row["disabled"]
    with pytest.raises(Failed):
        server.ctl("user", "add", "juliet@localhost", "--password", "mine")
    message, _ = load(server_data("<user name='juliet' password='again'/>"), "--replace")
    assert message.startswith("users imported: 1,") and given() == before
    server.client("juliet", password="again").close()
    server.ctl("user", "del", "juliet@localhost")
    until("groups", lambda: [len(rows) for rows in given()] == [0, 0, 1, 2, 1, 0])


def test_an_account_that_is_disabled_stays_so(server, load, make_server, tmp_path):
    load(server_data(ROMEO, "<user name='juliet' password='x'/>"))
    server.ctl("user", "disable", "romeo@localhost")
    file = tmp_path / "out.xml"
    server.ctl("export", "xep0227", str(file))
    other = make_server()
    assert other.bring("xep0227", str(file))["rows"] == []
    disabled = {r["jid"]: r["disabled"] for r in other.rows("user", "list")}
    assert disabled["romeo@localhost"] and not disabled["juliet@localhost"]
    with pytest.raises(Exception, match="account-disabled"):
        other.login("romeo", password="iLuvJuLi3T", mechanism="SCRAM-SHA-1")
    other.ctl("user", "enable", "romeo@localhost")
    other.login("romeo", password="iLuvJuLi3T", mechanism="SCRAM-SHA-1").close()


def test_equal_messages_are_not_one(server, load):
    """The same text twice, without ids, is two messages, archived or not; and what came long ago is
    not what waits now."""
    def message(stamp, archived):
        delay = f"<delay xmlns='urn:xmpp:delay' from='localhost' stamp='{stamp}'/>"
        text = ("<message xmlns='jabber:client' from='romeo@localhost/x' to='juliet@localhost'"
                " type='chat'><body>ok</body>{}</message>")
        return (f"<result xmlns='urn:xmpp:mam:2'><forwarded xmlns='urn:xmpp:forward:0'>{delay}"
                + text.format("") + "</forwarded></result>") if archived else text.format(delay)
    stamps = ["2020-05-02T10:00:01Z", "2020-05-02T10:00:02Z"]
    archive = "".join(message(s, True) for s in ["2019-01-01T00:00:00Z", *stamps])
    offline = "".join(message(s, False) for s in [*stamps, "2020-05-03T10:00:00Z"])
    load(server_data("<user name='juliet' password='x'><archive xmlns='urn:xmpp:pie:0#mam'>"
                     f"{archive}</archive><offline-messages>{offline}</offline-messages></user>"))
    juliet = server.client("juliet", password="x")
    got = [juliet.expect("<message from='romeo@localhost/x'><body>ok</body></message>")
           .find("{urn:xmpp:delay}delay").get("stamp")[:19] + "Z" for _ in range(3)]
    assert got == [*stamps, "2020-05-03T10:00:00Z"]
    stats = server.ctl("user", "stats", "juliet@localhost")["rows"]
    assert {"name": "stored messages", "value": "4"} in stats


MANY = 3000
BEGIN_US = 1588327200_000000  # 2020-05-01T10:00:00Z


def stamp_of(us):
    return (datetime.datetime.fromtimestamp(us // 10**6, datetime.UTC).strftime("%FT%T")
            + f".{us % 10**6:06}Z")


def entry(us, text, key, mine):
    ends = ("juliet@localhost/a", "romeo@localhost")
    sender, to = ends if mine else (f"{ends[1]}/x", "juliet@localhost")
    return (f"<result xmlns='urn:xmpp:mam:2' id='{key}'><forwarded xmlns='urn:xmpp:forward:0'>"
            f"<delay xmlns='urn:xmpp:delay' stamp='{stamp_of(us)}'/><message xmlns='jabber:client'"
            f" from='{sender}' to='{to}' type='chat'><body>{text}</body></message></forwarded>"
            "</result>")


def with_archive(entries, name="juliet", password="x", more=""):
    return (f"<user name='{name}' password='{password}'><archive xmlns='urn:xmpp:pie:0#mam'>"
            + "".join(entries) + f"</archive>{more}</user>")


def pages(client, size=200, **options):
    """All of an archive, page by page: (id, time, text)."""
    found, after = [], ""
    while True:
        page = Page(client, page=f"<max>{size}</max>{after}", **options)
        found += zip(page.ids, page.stamps, page.bodies)
        if page.complete:
            return found
        after = f"<after>{page.last}</after>"


def times(us):
    """As queries tell it: without zeros at the end."""
    return datetime.datetime.fromisoformat(us).timestamp()


def messages_of(server, jid="juliet@localhost"):
    stats = {r["name"]: r["value"] for r in server.rows("user", "stats", jid)}
    return int(stats["stored messages"])


@pytest.fixture
def many():
    """Messages of an archive with ids of this server, close to their times but not equal."""
    return [(BEGIN_US + i * 250_000, str(BEGIN_US + i * 250_000 + 1 + i % 7), f"line {i}")
            for i in range(MANY)]


def test_a_long_archive_comes_whole(server, load, make_server, tmp_path, many):
    """With its times, and ids that can be kept; what goes from here comes again as it was."""
    text = server_data(with_archive(entry(us, body, key, i % 2)
                                    for i, (us, key, body) in enumerate(many)))
    for more in ["--dry-run"], []:
        message, lost = load(text, *more)
        assert lost == set() and message.endswith("what does not come along: 0")
    juliet = server.client("juliet", password="x", priority=-1)
    found = pages(juliet)
    assert [body for _, _, body in found] == [body for _, _, body in many]
    assert len({key for key, _, _ in found}) == MANY
    assert [times(at) for _, at, _ in found] == [us / 10**6 for us, _, _ in many]
    middle = many[MANY // 2]
    page = Page(juliet, ("start", stamp_of(middle[0])), page="<max>1</max>")
    assert page.bodies == [middle[2]]
    assert messages_of(server) == MANY
    server.ctl("export", "xep0227", str(tmp_path / "out.xml"))
    exported = {r.get("id") for r in ET.parse(tmp_path / "out.xml").iter(f"{{{MAM}}}result")}
    assert exported == {key for _, key, _ in many}

    # again: nothing twice; anew: as many, and those of the file
    load(text)
    assert messages_of(server) == MANY
    load(server_data(with_archive([entry(*many[0][:1], "other", "x", 0)])), "--replace")
    assert messages_of(server) == 1
    load(text, "--replace")
    juliet = server.client("juliet", password="x", priority=-1)
    assert pages(juliet) == found  # by the ids that clients know

    other = make_server()
    assert other.bring("xep0227", str(tmp_path / "out.xml"))["rows"] == []
    other.ctl("export", "xep0227", str(tmp_path / "again.xml"))
    assert canonical((tmp_path / "out.xml").read_text()) == canonical(
        (tmp_path / "again.xml").read_text())
    assert [row[1:] for row in pages(other.client("juliet", password="x", priority=-1))] == [
        row[1:] for row in found]


def test_ids_that_cannot_be_kept(server, load, tmp_path):
    """Those of other servers, those that are far from their times, and those that are there twice:
    the order is right, and no time is lost."""
    keys = ["aZ-9", str(BEGIN_US + 3600 * 10**6), "-5", "9" * 30, str(BEGIN_US + 4 * 10**6),
            str(BEGIN_US + 4 * 10**6), str(4 * 10**15)]
    load(server_data(with_archive(entry(BEGIN_US + i * 10**6, f"t{i}", key, 0)
                                  for i, key in enumerate(keys))))
    found = pages(server.client("juliet", password="x", priority=-1))
    assert [body for _, _, body in found] == [f"t{i}" for i in range(len(keys))]
    assert [times(at) for _, at, _ in found] == [BEGIN_US / 10**6 + i for i in range(len(keys))]
    server.ctl("export", "xep0227", str(tmp_path / "out.xml"))
    ids = [int(r.get("id")) for r in ET.parse(tmp_path / "out.xml").iter(f"{{{MAM}}}result")]
    assert len(ids) == len(keys) and ids == sorted(set(ids)) and all(
        abs(n - BEGIN_US - i * 10**6) < 60 * 10**6 for i, n in enumerate(ids))


def test_an_account_that_is_not_taken_leaves_no_archive(server, load, many):
    """Messages are stored before their account. If the database does not take that, they go."""
    server.ctl("set", "pep.bytes-max", "64MiB")
    config = form(("pubsub#max_items", "300"), form_type=f"{PUBSUB}#node_config")
    large = "".join(f"<item id='{i}'><a xmlns='urn:a'>{'n' * 60000}</a></item>" for i in range(300))
    entries = [entry(us, body, key, 0) for us, key, body in many]
    message, lost = load(server_data(with_archive(
        entries, more=f"<pubsub xmlns='{OWNER}'><configure node='a'>{config}</configure></pubsub>"
                      f"<pubsub xmlns='{PUBSUB}'><items node='a'>{large}</items></pubsub>")))
    (_, said), = lost
    assert "refused: 1" in message and "it has more than 16 MiB" in said
    with server.database(read_only=True) as db:
        assert db.execute("SELECT count(*) FROM message").fetchone() == (MANY,)
    # interrupted: the process ended between messages and account
    server.ctl("set", "archive.retention", "36500")
    server.ctl("archive", "expire")
    server.stop()
    with server.database() as db:
        assert db.execute("SELECT count(*) FROM entry").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM import_part").fetchone() == (0,)
        db.execute("INSERT INTO message(id, at_us, sender, rcpt, sender_entry, rcpt_entry, flags,"
                   " origin, pending_out, stanza)"
                   " VALUES(100000, 5, 0, 999, 0, 5, 64, 0, 0, '<message/>')")
        db.execute("INSERT INTO entry(owner, id, peer, msg, flags) VALUES(999, 5, 0, 100000, 0)")
        db.execute("INSERT INTO import_part VALUES(999, 'juliet@localhost')")
    server.start()
    server.ctl("archive", "expire")
    with server.database(read_only=True) as db:
        for table in "entry", "import_part":
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    load(server_data(with_archive(entries)))
    assert messages_of(server) == MANY


def test_retention_and_search_know_what_was_imported(server, load, many):
    """An old archive is found by words, and goes by its times, not by when it came."""
    now = int(time.time()) * 10**6
    fresh = [(now - i * 10**6, str(now - i * 10**6), f"fresh {i}") for i in range(1200, 0, -1)]
    load(server_data(with_archive(entry(us, body, key, 1) for us, key, body in many + fresh)))
    juliet = server.client("juliet", password="x", priority=-1)
    found = Page(juliet, (WORDS, "2222"))
    assert found.bodies == ["line 2222"]
    server.ctl("set", "archive.retention", "30")
    server.ctl("archive", "expire")
    assert [body for _, _, body in pages(juliet)] == [body for _, _, body in fresh]


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


PROSODY_ITEM = ("<message xmlns='jabber:client' from='romeo@localhost/x' to='zora@localhost' "
                "type='chat' xml:lang='de'><body>a &lt; <b/>\u00e9</body></message>")


def test_a_prosody_with_storage_in_sql(server, tmp_path):
    """The file alone, or beside folders with other stores. Damaged data cost their user only."""
    path = tmp_path / "prosody.sqlite"
    prosody.sql_file(path, [
        *(prosody.account_in_sql("localhost", name, "x") for name in ("zora", "y.x", "bad")),
        ("localhost", "zora", "roster", "romeo@localhost", "json",
         '{"subscription":"both","name":"R\\n\\u0026","groups":{"Friends":true}}'),
        ("localhost", "zora", "roster", "", "json",
         '{"__hash":[false,{"version":3,"pending":{"pending@localhost":true}}]}'),
        ("localhost", "bad", "roster", "romeo@localhost", "json", '{"subscription":'),
        ("localhost", "", "persistent", "x", "boolean", "true")],
        [("localhost", "zora", "archive", f"k{i}", 1588327200 + i / 4, "xml", PROSODY_ITEM)
         for i in range(3)])
    prosody_file(tmp_path, "localhost", "private", "y%2ex.dat",
                 'return { ["n:urn:n"] = { ["name"] = "n"; ["attr"] = { ["xmlns"] = "urn:n"; }; '
                 '"kept"; }; };')
    (tmp_path / "upload").mkdir()
    answer = server.bring("prosody", str(path), "--dry-run")
    assert "users that would be imported: 2," in answer["text"]
    answer = server.bring("prosody", str(tmp_path))
    assert "users imported: 2, there already: 0, refused: 1" in answer["text"]
    assert [r["what"] for r in answer["rows"] if r["user"] == "bad@localhost"][0].startswith(
        "refused: roster/bad in SQL: found no JSON")
    zora = server.client("zora", password="x", priority=-1)
    zora.expect("<presence from='pending@localhost' type='subscribe'/>")
    (item,) = zora.result("get", "<query xmlns='jabber:iq:roster'/>")
    assert (item.get("jid"), item.get("subscription"), item.get("name"), item[0].text) == (
        "romeo@localhost", "both", "R\n&", "Friends")
    found = pages(zora)
    assert [times(at) for _, at, _ in found] == [1588327200 + i / 4 for i in range(3)]
    other = server.client("y.x", password="x")
    kept = other.result("get", "<query xmlns='jabber:iq:private'><n xmlns='urn:n'/></query>")
    assert kept.findtext("{urn:n}n") == "kept"


@pytest.mark.parametrize("what", ["damaged", "foreign", "twice"])
def test_a_prosody_whose_storage_in_sql_is_not_read(server, tmp_path, what):
    path = tmp_path / "prosody.sqlite"
    if what == "twice":  # which of them Prosody uses, only its settings say
        prosody.sql_file(path, [prosody.account_in_sql("localhost", "zora", "x")])
        prosody_file(tmp_path, "localhost", "accounts", "zora.dat",
                     'return { ["password"] = "old" };')
    elif what == "foreign":
        sqlite3.connect(path).execute("CREATE TABLE t(x)").connection.close()
    else:
        path.write_bytes(b"SQLite format 3\0" * 100)
    found = {"damaged": "found file is not a database, expected a database of Prosody",
             "foreign": "found no such table: prosody, expected a database of Prosody",
             "twice": "found the store accounts of localhost in files and in .*prosody.sqlite, "
                      "expected it in one of them"}
    for more in [], ["--dry-run"]:
        with pytest.raises(Failed, match=found[what]):
            server.bring("prosody", str(tmp_path), *more)


def test_where_no_users_are(server, load, tmp_path):
    """A wrong path is told, dry or not, and is no success."""
    (tmp_path / "pictures" / "2020").mkdir(parents=True)
    (tmp_path / "data" / "localhost" / "accounts").mkdir(parents=True)
    for more in [], ["--dry-run"]:
        for folder in "pictures", "data":
            with pytest.raises(Failed, match="found no users, expected the data_path of Prosody"):
                server.bring("prosody", str(tmp_path / folder), *more)
        for kind, expected in ("xep0227", "a file of XEP"), ("ejabberd", "a file of `ejab"):
            with pytest.raises(Failed, match=f"found no users, expected {expected}"):
                load(server_data(), *more, kind=kind)
            with pytest.raises(Failed, match="the root is no <server-data/>"):
                load("<archive/>", *more, kind=kind)
    with pytest.raises(Failed, match="found file is not a database, expected a database of Pros"):
        server.bring("prosody", str(tmp_path / "users.xml"))
    with pytest.raises(Failed, match="no regular file"):
        server.bring("xep0227", str(tmp_path))


OPENFIRE = """<?xml version="1.0" encoding="UTF-8"?>

<Openfire>
  <User>
    <Username>bea</Username>
    <Password>s&lt;cret</Password>
    <Email>bea@example.com</Email>
    <Name>Bea &amp; son</Name>
    <CreationDate>1125442154664</CreationDate>
    <ModifiedDate>1125442154664</ModifiedDate>
    <Roster>
      <Item jid="carl@localhost" askstatus="-1" recvstatus="-1" substatus="3" name="C">
        <Group>Friends</Group><Group>Work</Group>
      </Item>
      <Item jid="bob@localhost" askstatus="0" recvstatus="-1" substatus="0" name="D"/>
      <Item jid="eve@example.com" askstatus="-1" recvstatus="1" substatus="0"/>
      <Item jid="gone@example.com" askstatus="-1" recvstatus="-1" substatus="-1"/>
    </Roster>
  </User>
  <User>
    <Username>carl</Username>
    <Password>carl</Password>
    <Email/><Name/>
    <Roster><Item jid="bea@localhost" askstatus="-1" recvstatus="-1" substatus="3"/></Roster>
  </User>
</Openfire>
"""


def test_users_of_openfire(server, load, make_server, tmp_path):
    """The plugin's own format, after its source and schema; it can write XEP-0227 as well."""
    message, lost = load(OPENFIRE, kind="openfire")
    assert message.startswith("users imported: 2, there already: 0, refused: 0;")
    assert {what.split(":")[0].split(",")[0] for _, what in lost} == {
        "a password that is the name of the user", "a password"}
    assert {user for user, _ in lost} == {"carl@localhost"}
    bea = server.client("bea", password="s<cret", priority=0)
    bea.expect("<presence from='eve@example.com' type='subscribe'/>")
    roster = {i.get("jid"): (i.get("subscription"), i.get("ask"), i.get("name"),
                             {g.text for g in i})
              for i in bea.result("get", "<query xmlns='jabber:iq:roster'/>")}
    assert roster == {"carl@localhost": ("both", None, "C", {"Friends", "Work"}),
                      "bob@localhost": ("none", "subscribe", "D", set())}
    card = bea.result("get", "<vCard xmlns='vcard-temp'/>")
    assert card.findtext("{vcard-temp}FN") == "Bea & son"
    assert card.findtext("{vcard-temp}EMAIL/{vcard-temp}USERID") == "bea@example.com"
    with pytest.raises(Exception, match="not-authorized"):
        server.login("carl", password="carl")

    load(server_data(ROMEO), kind="openfire")
    server.login("romeo", password="iLuvJuLi3T", mechanism="SCRAM-SHA-1").close()
    for text, why in (("<Openfire/>", "found no users, expected a file of the plugin"),
                      ("<html/>", "the root is no <Openfire/>"), (LAUGHS[0], LAUGHS[1]),
                      ("<Openfire><User><Username>x</Username>", "the file ends within")):
        with pytest.raises(Failed, match=why):
            load(text, kind="openfire")
    with pytest.raises(Failed, match="the root is no <server-data/>"):
        load(OPENFIRE)
    message, lost = load("<Openfire><User><Password>a</Password></User><User><Username>z"
                         "</Username><Password>&x;</Password></User></Openfire>", kind="openfire")
    assert message.startswith("users imported: 0, there already: 0, refused: 2;")

    # with several domains, somebody has to say which
    other = make_server(domains=["one.example", "two.example"])
    path = str(tmp_path / "openfire.xml")
    (tmp_path / "openfire.xml").write_text(OPENFIRE)
    with pytest.raises(Failed, match="users without a domain.* --domain"):
        other.bring("openfire", path)
    assert other.bring("openfire", path, "--domain", "two.example")["text"].startswith(
        "users imported: 2,")
    assert [r["jid"] for r in other.rows("user", "list")] == ["bea@two.example",
                                                              "carl@two.example"]


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
    message, lost = load(server_data("<user name='dan' password='a'/>", user,
                                     "<user name='eve' password='b'/>"))
    assert message.startswith("users imported: 2, there already: 0, refused: 1;")
    (_, said), = lost
    assert said.startswith(f"refused: {why}")
    assert len(server.rows("user", "list")) == len(server.rows("user", "list", "--limit", "99"))
    assert {r["jid"] for r in server.rows("user", "list")} >= {"dan@localhost", "eve@localhost"}


def test_a_domain_of_others(load):
    message, lost = load(server_data("<user name='u' password='a'/>", host="elsewhere.example"))
    assert message.startswith("users imported: 0,")
    assert lost == {("u@elsewhere.example", "refused: its domain is none of this server")}


LAUGHS = ("<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]>", "document type")
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
    assert answer["text"].startswith("users imported: 2,") and answer["rows"] == []


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


HOST = "partner.example"


def fill(theirs):
    """What users of another server have, by its own protocol."""
    bob = theirs.client("bob", "b")
    bob.result("set", "<query xmlns='jabber:iq:roster'><item jid='carol@partner.example' name='C'>"
                      "<group>Work</group></item></query>")
    carol = theirs.client("carol", "c")
    bob.send("<presence to='carol@partner.example' type='subscribe'/>")
    carol.expect("<presence from='bob@partner.example' type='subscribe'/>")
    carol.send("<presence to='bob@partner.example' type='subscribed'/>")
    bob.expect("<presence from='carol@partner.example/c'/>")
    carol.send("<presence to='bob@partner.example' type='subscribe'/>")
    bob.expect("<presence from='carol@partner.example' type='subscribe'/>")
    bob.result("set", "<vCard xmlns='vcard-temp'><FN>Bob &amp; son</FN></vCard>")
    bob.result("set", "<query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'><n>é</n>"
                      "</exodus></query>")
    bob.result("set", "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>"
                      "<conference jid='tea@rooms.partner.example' autojoin='true'/></storage>"
                      "</query>")
    bob.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='spam@example.com'/></block>")
    bob.send("<presence type='unavailable'/>")
    bob.result("get", "<query xmlns='jabber:iq:roster'/>")
    carol.send("<message to='bob@partner.example' type='chat' id='m1'><body>A &lt; B</body>"
               "</message>")
    carol.result("get", "<query xmlns='jabber:iq:roster'/>")
    for client in bob, carol:
        client.close()


def check(ours, mechanisms=("PLAIN", "SCRAM-SHA-1")):
    """They have it here as well."""
    for mechanism in mechanisms:
        ours.login("bob", "b", mechanism=mechanism).close()
    bob = ours.client("bob", "b")
    message = bob.expect("<message id='m1' type='chat'><body>A &lt; B</body></message>")
    assert message.find("{urn:xmpp:delay}delay") is not None
    item, = bob.result("get", "<query xmlns='jabber:iq:roster'/>")
    assert (item.get("jid"), item.get("name"), item.get("subscription"), item[0].text) == (
        "carol@partner.example", "C", "to", "Work")
    card = bob.result("get", "<vCard xmlns='vcard-temp'/>")
    assert card.findtext("{vcard-temp}FN") == "Bob & son"
    prefs = bob.result("get", "<query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'/>"
                              "</query>")
    assert prefs.findtext(".//{exodus:prefs}n") == "é"
    rooms = bob.result("get", f"<pubsub xmlns='{PUBSUB}'><items node='urn:xmpp:bookmarks:1'/>"
                              "</pubsub>")
    assert rooms[0][0].get("id") == "tea@rooms.partner.example"
    blocked, = bob.result("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
    assert blocked.get("jid") == "spam@example.com"
    row, = [r for r in ours.rows("contact", "list", "bob@partner.example")]
    assert row["jid"] == "carol@partner.example"
    carol = ours.client("carol", "c")
    bob.expect("<presence from='carol@partner.example/c'/>")
    item, = carol.result("get", "<query xmlns='jabber:iq:roster'/>")
    assert (item.get("subscription"), item.get("ask")) == ("from", "subscribe")
    # the request waits for an answer here as it did there
    bob.send("<presence to='carol@partner.example' type='subscribed'/>")
    carol.expect("<presence from='bob@partner.example/b'/>")


@pytest.mark.skipif(not ejabberd.is_here(), reason="no ejabberd")
@pytest.mark.parametrize("password_format", ["plain", "scram"])
@pytest.mark.parametrize("way", ["export_piefxis", "dump"])
def test_users_of_ejabberd(make_server, tmp_path, password_format, way):
    cert = federation.Authority(tmp_path).issue("partner", HOST)
    theirs = ejabberd.Ejabberd(
        tmp_path, HOST, dict(zip(("c2s", "s2s", "dns"), free_ports(3))), ["bob", "carol"],
        password_format=password_format, authority=tmp_path / "ca.pem", **cert,
        more="mod_vcard: {}\n  mod_private: {}\n  mod_offline: {}\n  mod_privacy: {}\n"
             "  mod_blocking: {}\n  mod_last: {}"
             + ("\n  mod_mam: {default: always}" if way == "dump" else ""))
    exported = tmp_path / "exported"
    try:
        fill(theirs)
        exported.mkdir()
        if way == "dump":
            theirs.dump(exported / "dump.txt")
        else:
            theirs.export(exported)
    finally:
        theirs.finish()
    ours = make_server(domains=[HOST])
    main, = [p for p in exported.iterdir() if "example" not in p.name]
    for more, text in (["--dry-run"], "users that would be imported: 2,"), (
            [], "users imported: 2, there already: 0, refused: 0;"):
        answer = ours.bring("ejabberd", str(main), *more)
        assert answer["text"].startswith(text) and answer["rows"] == []
    check(ours)
    if way == "dump":
        for name in "bob", "carol":  # also what waited for bob is there once
            assert Page(ours.client(name, "d")).bodies == ["A < B"]


@pytest.mark.skipif(not prosody.is_here(), reason="no Prosody")
@pytest.mark.parametrize("sql", prosody.STORAGES, ids=["files", "sql"])
def test_users_of_prosody(make_server, tmp_path, sql):
    cert = federation.Authority(tmp_path).issue("partner", HOST)
    theirs = prosody.Prosody(
        tmp_path, HOST, dict(zip(("c2s", "s2s", "dns"), free_ports(3))), ["bob", "carol"],
        authority=tmp_path / "ca.pem", **cert,
        more='"vcard"; "private"; "offline"; "blocklist"; "bookmarks"; "mam";', sql=sql)
    try:
        fill(theirs)
    finally:
        theirs.finish()
    ours = make_server(domains=[HOST])
    for more, text in (["--dry-run"], "users that would be imported: 2,"), (
            [], "users imported: 2, there already: 0, refused: 0;"):
        answer = ours.bring("prosody", str(tmp_path / "data"), *more)
        assert answer["text"].startswith(text) and answer["rows"] == []
    check(ours)


def prosody_file(folder, host, store, name, text):
    path = folder / host.replace(".", "%2e") / store / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def prosody_item(us, text, sender, to, kind="chat"):
    """An entry of an archive, as Prosody's internal storage has it."""
    return (f'item({{\n\t["attr"] = {{ ["from"] = "{sender}"; ["to"] = "{to}";'
            f' ["type"] = "{kind}"; ["xmlns"] = "jabber:client"; }};\n\t["key"] = "aB_{us}";\n'
            f'\t["name"] = "message";\n\t["when"] = {us // 10**6}.{us % 10**6:06};\n'
            f'\t["with"] = "romeo@localhost";\n'
            f'\t{{ ["attr"] = {{}}; ["name"] = "body"; "{text}"; }};\n}});\n')


def test_a_long_archive_of_prosody(server, tmp_path, many):
    data = tmp_path / "data"
    prosody_file(data, "localhost", "accounts", "juliet.dat", 'return { ["password"] = "x"; };')
    prosody_file(data, "localhost", "archive", "juliet.list", "".join(
        prosody_item(us, text, "romeo@localhost/x", "juliet@localhost") for us, _, text in many))
    assert server.bring("prosody", str(data))["rows"] == []
    found = pages(server.client("juliet", password="x", priority=-1))
    assert [(times(at), body) for _, at, body in found] == [
        (us / 10**6, body) for us, _, body in many]
    with open(data / "localhost" / "archive" / "juliet.list", "a") as file:
        file.write("item({ os.exit() });\n")
    (said,) = server.bring("prosody", str(data), "--replace")["rows"]
    assert said["what"].startswith(
        f"refused: archive/juliet.list: line {MANY * 8 + 1}: found what is no constant")
    assert messages_of(server) == MANY


LUA = {
    "code": ("return os.execute('x')", "accounts/bob.dat: line 1: found what is no constant"),
    "string": ('return { ["password"] = "x\n', "accounts/bob.dat: line 1: a string does not end"),
    "cut": ('return {\n["password"] = "x";', "accounts/bob.dat: line 2: found what is no constant"),
    "more": ("return {}; return {};", "accounts/bob.dat: line 1: there is something behind"),
    "deep": ("return " + "{" * 200, "accounts/bob.dat: line 1: found too many tables"),
}


@pytest.mark.parametrize("what", LUA)
def test_data_of_prosody_that_is_wrong(server, tmp_path, what):
    """The user is refused; the others come. Names of files are what they stand for."""
    text, why = LUA[what]
    folder = tmp_path / "data" / "localhost" / "accounts"
    folder.mkdir(parents=True)
    (folder / "bob.dat").write_text(text)
    (folder / "d%2eo.dat").write_text(
        'return { ["password"] = "a\\195\\169" };')
    (folder / "x%2fy.dat").write_text('return { ["password"] = "a" };')
    rooms = tmp_path / "data" / "rooms%2elocalhost" / "config"
    rooms.mkdir(parents=True)
    (rooms / "tea.dat").write_text("return {};")
    answer = server.bring("prosody", str(tmp_path / "data"))
    assert answer["text"].startswith("users imported: 1, there already: 0, refused: 2;")
    said = {r["user"]: r["what"] for r in answer["rows"]}
    assert said["bob@localhost"].startswith(f"refused: {why}")
    assert said["x/y@localhost"].startswith("refused: its name is none")
    assert said["tea@rooms.localhost"] == "refused: its file does not say how it is configured"
    server.login("d.o", password="a\u00e9").close()
    with pytest.raises(Failed, match="No such file"):
        server.bring("prosody", str(tmp_path / "absent"))


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


def test_the_longest_message_that_is_stored_is_delivered(server, load):
    """One that is longer costs itself only. Each of these has a transaction of its own."""
    longest = (16 << 20) - (64 << 10) - len("<body xmlns='jabber:client'></body>") - 6

    def message(name, length):
        return (f"<message xmlns='jabber:client' from='romeo@localhost/x' type='chat' id='{name}'>"
                f"<body>{'x' * length}</body></message>")
    lengths = [1 << 20, longest, longest + 1]
    text, lost = load(server_data(
        "<user name='juliet' password='x'><offline-messages>"
        + "".join(message(i, length) for i, length in enumerate(lengths))
        + "</offline-messages></user>"))
    assert "users imported: 1," in text and text.endswith("come along: 1")
    assert lost == {("juliet@localhost", "a message longer than 15.9 MiB, or with an id longer "
                                         "than 1 MiB, from romeo@localhost/x")}
    juliet = server.client("juliet", password="x")
    for i, length in enumerate(lengths[:2]):
        body = juliet.expect(f"<message id='{i}'/>").findtext("{jabber:client}body")
        assert len(body) == length
    assert [len(b) for b in Page(juliet).bodies] == lengths[:2]
