"""Jabber Search (XEP-0055) over what vCards say."""
import pytest

from harness import xml
from harness.client import until
from harness.slix import Slix

SEARCH = "jabber:iq:search"
DATA = "jabber:x:data"
VCARD = "vcard-temp"
AT = "search.localhost"


def card(client, first="", last="", nick="", email="", more=""):
    client.result("set", f"<vCard xmlns='{VCARD}'><N><FAMILY>{last}</FAMILY><GIVEN>{first}</GIVEN>"
                  f"</N><NICKNAME>{nick}</NICKNAME><EMAIL><USERID>{email}</USERID></EMAIL>{more}"
                  "</vCard>")


@pytest.fixture
def people(server):
    """Alice Liddell, Bob Dodgson, Çarol (who likes %_\\ in nicknames)."""
    alice, bob, carol = (server.client(n) for n in ("alice", "bob", "carol"))
    card(alice, "Alice", "Liddell", "Ali", "alice@wonder.example")
    card(bob, "Bob", "Dodgson", "bobby", "bob@wonder.example")
    card(carol, "Çarol", "Liddell-Smith", "100%_real", "c@other.example")
    return alice, bob, carol


def classic(client, at=AT, **terms):
    inner = "".join(f"<{k}>{v}</{k}>" for k, v in terms.items())
    query = client.result("set", f"<query xmlns='{SEARCH}'>{inner}</query>", to=at)
    return {i.get("jid"): {e.tag.partition("}")[2]: e.text for e in i} for i in query}


def names(found):
    return sorted(jid.partition("@")[0] for jid in found)


def submit(terms, form_type=SEARCH):
    fields = "".join(f"<field var='{k}'><value>{v}</value></field>" for k, v in terms.items())
    return (f"<query xmlns='{SEARCH}'><x xmlns='{DATA}' type='submit'>"
            f"<field var='FORM_TYPE' type='hidden'><value>{form_type}</value></field>{fields}</x>"
            "</query>")


def test_guests_do_not_search(make_server):
    """Names and addresses are for those who have an account."""
    server = make_server("alice", settings={"guest.domains": "localhost"})
    card(server.client("alice", "a"), "Alice", "Liddell", "", "alice@wonder.example")
    guest = server.connect()
    guest.sasl2_start("ANONYMOUS", inner=f"<bind xmlns='{xml.BIND2}'/>")
    guest.sasl2_done(guest.sasl2_next())
    assert guest.error("get", f"<query xmlns='{SEARCH}'/>", to=AT)[0] == "forbidden"
    found = guest.iq("set", f"<query xmlns='{SEARCH}'><last>Lid</last></query>", to=AT)
    assert found.get("type") == "error" and "Liddell" not in "".join(found.itertext())


def test_it_is_found_and_says_what_it_wants(people):
    alice = people[0]
    items = alice.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to="localhost")
    assert AT in {i.get("jid") for i in items}
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=AT)
    assert (info[0].get("category"), info[0].get("type")) == ("directory", "user")
    assert SEARCH in {f.get("var") for f in info}
    query = alice.result("get", f"<query xmlns='{SEARCH}'/>", to=AT)
    assert {e.tag.partition("}")[2] for e in query} == {
        "instructions", "first", "last", "nick", "email", "x"}
    fields = {f.get("var") for f in query.iter(f"{{{DATA}}}field")}
    assert fields == {"FORM_TYPE", "first", "last", "nick", "email"}


def test_terms(people):
    alice = people[0]
    found = classic(alice, last="Liddell")
    assert found["alice@localhost"] == {"first": "Alice", "last": "Liddell", "nick": "Ali",
                                        "email": "alice@wonder.example"}
    assert names(found) == ["alice", "carol"]
    assert names(classic(alice, last="liDD")) == ["alice", "carol"]
    assert names(classic(alice, first="çAR")) == ["carol"]
    assert names(classic(alice, last="Liddell", first="al")) == ["alice"]
    assert names(classic(alice, email="*wonder*")) == ["alice", "bob"]
    assert names(classic(alice, last="*smith")) == ["carol"]
    assert names(classic(alice, last="l*dell")) == ["alice"]
    assert classic(alice, first="ob") == {}
    assert names(classic(alice, nick="100%_")) == ["carol"]
    assert classic(alice, nick="1__%") == {}  # they stand for themselves


def test_data_form(people):
    alice = people[0]
    query = alice.result("set", submit({"last": "dodg"}), to=AT)
    x = query.find(f"{{{DATA}}}x")
    assert x.get("type") == "result"
    assert [f.get("var") for f in x.find(f"{{{DATA}}}reported")] == [
        "jid", "first", "last", "nick", "email"]
    item, = x.findall(f"{{{DATA}}}item")
    assert {f.get("var"): f.findtext(f"{{{DATA}}}value") for f in item} == {
        "jid": "bob@localhost", "first": "Bob", "last": "Dodgson", "nick": "bobby",
        "email": "bob@wonder.example"}
    assert len(alice.result("set", submit({"last": "nobody"}), to=AT)) == 0


def test_cards_change(server, people):
    alice, bob, _ = people
    card(bob, "Robert", "Dodgson")
    assert classic(alice, first="bob") == {} and names(classic(alice, first="robert")) == ["bob"]
    card(bob, "Robert", "Dodgson", more="<CLASS><PRIVATE/></CLASS>")
    assert classic(alice, first="robert") == {}
    card(bob, "Robert", "Dodgson", more="<CLASS><PUBLIC/></CLASS>")
    assert names(classic(alice, first="robert")) == ["bob"]
    server.ctl("user", "disable", "bob@localhost")
    assert classic(alice, first="robert") == {}
    server.ctl("user", "enable", "bob@localhost")
    assert names(classic(alice, first="robert")) == ["bob"]
    server.ctl("user", "del", "bob@localhost")
    assert classic(alice, first="robert") == {}
    server.ctl("user", "add", "bob@localhost", "--password", "p", "--given-name", "New & Young",
               "--email", "new@x.example")
    until("the first card", lambda: names(classic(alice, first="new &amp;")) == ["bob"])
    vcard = alice.result("get", f"<vCard xmlns='{VCARD}'/>", to="bob@localhost")
    assert vcard.findtext(f".//{{{VCARD}}}GIVEN") == "New & Young"


def refused(client, inner, at=AT):
    return client.error("set", f"<query xmlns='{SEARCH}'>{inner}</query>", to=at)[0]


def test_mistakes(server, people):
    alice = people[0]
    for nothing in ({}, {"first": ""}):  # §2.1: an empty result
        assert classic(alice, **nothing) == {}
    assert len(alice.result("set", submit({}), to=AT)) == 0
    assert refused(alice, "<first>a</first>") == "not-acceptable"
    assert refused(alice, "<first>*a*</first>") == "not-acceptable"
    assert refused(alice, f"<first>{'a' * 300}</first>") == "not-acceptable"
    assert alice.error("set", submit({"first": "al"}, "other:form"), to=AT)[0] == "bad-request"
    assert alice.error("set", f"<query xmlns='{SEARCH}'><x xmlns='{DATA}' type='result'/></query>",
                       to=AT)[0] == "bad-request"
    assert refused(alice, "<first>al</first>", "localhost") == "service-unavailable"
    server.ctl("set", "search.rows-max", "1")
    assert names(classic(alice, last="liddell")) == ["alice"]
    server.ctl("set", "search.length-min", "1")
    assert names(classic(alice, first="a")) == ["alice"]


def test_who_may_search(make_server):
    server = make_server(domains=["one.example", "two.example"], component=True)
    server.add_user("alice", domain="one.example")
    server.add_user("bob", domain="two.example")
    alice = server.client("alice", domain="one.example")
    bob = server.client("bob", domain="two.example")
    card(alice, "Alice")
    card(bob, "Albert")
    assert list(classic(bob, "search.one.example", first="al")) == ["alice@one.example"]
    assert list(classic(bob, "search.two.example", first="al")) == ["bob@two.example"]
    server.ctl("set", "search.access", "domain")
    assert refused(bob, "<first>al</first>", "search.one.example") == "forbidden"
    assert bob.error("get", f"<query xmlns='{SEARCH}'/>", to="search.one.example")[0] == "forbidden"
    assert list(classic(bob, "search.two.example", first="al")) == ["bob@two.example"]
    server.ctl("set", "search.enabled", "off")
    assert refused(bob, "<first>al</first>", "search.two.example") == "remote-server-not-found"


async def test_slixmpp(server, people):
    """The plugin of slixmpp sends a form and reads the table."""
    bob = Slix(server, "bob")
    bob.register_plugin("xep_0055", {"provide_search": False})
    await bob.login()
    iq = bob["xep_0055"].make_search_iq(ito=AT)
    iq["search"]["form"].add_field(var="last", value="liddell")
    answer = await iq.send()
    assert sorted(item["jid"] for item in answer["search"]["form"]["items"]) == [
        "alice@localhost", "carol@localhost"]
    await bob.disconnect()


def test_users_without_a_card_are_found_by_their_address(server, alice):
    """By the name before the @ (nickname) and the whole address (email)."""
    assert classic(alice, nick="bo") == {"bob@localhost": {
        "first": None, "last": None, "nick": None, "email": None}}
    assert names(classic(alice, email="bob@local")) == ["bob"]
    assert names(classic(alice, nick="*aro*")) == ["carol"]
    assert classic(alice, nick="local") == {} and classic(alice, first="bob") == {}
    card(alice, more="<CLASS><PRIVATE/></CLASS>")
    assert classic(alice, nick="alice") == {} and classic(alice, email="alice@localhost") == {}
    card(alice, "Alice")
    assert names(classic(alice, nick="alice")) == ["alice"]
    server.ctl("user", "disable", "bob@localhost")
    assert classic(alice, nick="bob") == {}


@pytest.mark.parametrize("given, last, email, name", [
    ("Ann", "Boleyn", "a@x.example", "Ann Boleyn"), ("Ann", "", "", "Ann"),
    ("", "Boleyn", "", "Boleyn"), ("", "", "a@x.example", "a")])
def test_the_card_of_a_new_user_has_a_name(server, alice, given, last, email, name):
    """FN is required (RFC 2426 §3.1.1), and it is there when the command has answered."""
    args = [a for k, v in (("given-name", given), ("surname", last), ("email", email)) if v
            for a in (f"--{k}", v)]
    server.ctl("user", "add", "ann@localhost", "--password", "p", *args)
    found = alice.result("get", f"<vCard xmlns='{VCARD}'/>", to="ann@localhost")
    assert found.findtext(f"{{{VCARD}}}FN") == name
    until("the directory", lambda: names(classic(alice, nick="ann")) == ["ann"])
    if last:
        until("the directory", lambda: names(classic(alice, last=last)) == ["ann"])


@pytest.mark.sqlite
@pytest.mark.release
def test_searches_hold_up_no_logins(make_server):
    """One user searches as fast as possible in a large directory: somebody else is logged in before
    even the searches that may wait are done."""
    server = make_server("alice", "bob")
    server.stop()
    with server.database() as db:
        db.execute("WITH RECURSIVE n(x) AS "
                   "(SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 60000) "
                   "INSERT INTO account(jid, created_us, disabled, look) "
                   "SELECT 'someone' || x || '@localhost', 1, 0, 'look' || x FROM n")
        db.commit()
    server.start()
    alice = server.client("alice")
    alice.raw("".join(f"<iq type='set' id='s{i}' to='{AT}'><query xmlns='{SEARCH}'>"
                      f"<nick>*o*e*z{i}*z</nick></query></iq>" for i in range(200)))
    assert server.connect("bob").authenticate() is None
    while alice.pump(0):
        pass
    assert len([e for e in alice.inbox if e.get("type") == "result"]) < 30
    alice.wait("all answers", lambda: len(alice.inbox) >= 200)
