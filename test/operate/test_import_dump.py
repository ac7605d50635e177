"""A dump of ejabberd's database, written by hand: what its real ones seldom have."""
import pytest

from harness import muc
from harness.imports import BEGIN_US, keys, lost_of, times
from harness.server import Failed
from operate.test_import_rooms import TEA, fields, people, said_of
from archive.test_mam import Page, tag
from rooms.test_archive import Page as RoomPage

HEAD = "{tables,[{passwd,[{record_name,passwd},{attributes,[us,password]}]}]}."
JULIET = '{<<"juliet">>,<<"localhost">>}'
ROOM = '{<<"tea">>,<<"conference.localhost">>}'
PASSWORD = f'{{passwd,{JULIET},<<"x">>}}.'


def time_of(us):
    return f"{{{us // 10**12},{us // 10**6 % 10**6},{us % 10**6}}}"


# As older versions write it: a stanza without its namespace.
def archived(owner, us, text, nick="", sender='{<<"romeo">>,<<"localhost">>,<<"a">>}'):
    kind = "groupchat" if nick else "chat"
    return (f'{{archive_msg,{owner},<<"{us}">>,{time_of(us)},{sender},{sender},\n'
            f'  {{xmlel,<<"message">>,[{{<<"from">>,<<"romeo@localhost/a">>}},\n'
            f'    {{<<"to">>,<<"juliet@localhost">>}},{{<<"type">>,<<"{kind}">>}}],\n'
            f'    [{{xmlel,<<"body">>,[],[{{xmlcdata,<<"{text}">>}}]}}]}},<<"{nick}">>,{kind}}}.')


def room(more="", persistent="true", people='{{<<"juliet">>,<<"localhost">>,<<>>},owner}'):
    return (f"{{muc_room,{ROOM},[{{persistent,{persistent}}},{{affiliations,[{people}]}}"
            f"{more and ','}{more}]}}.")


@pytest.fixture
def dump(server, tmp_path):
    """A function that imports rows and returns the answer."""
    def load(*rows, head=HEAD):
        path = tmp_path / "dump.txt"
        path.write_text("\n".join([head, *rows]) + "\n")
        return server.bring("ejabberd", str(path))
    return load


def lost(answer):
    """What the report says of the source as a whole."""
    return {r["what"] for r in answer["rows"] if r["user"] == ""}


def contact(name, subscription, ask, groups="[]", message=""):
    jid = f'{{<<"{name}">>,<<"localhost">>,<<>>}}'
    return (f'{{roster,{{<<"juliet">>,<<"localhost">>,{jid}}},{JULIET},{jid},<<>>,{subscription},'
            f'{ask},{groups},<<"{message}">>,[]}}.')


def test_contacts_and_who_asks(server, dump):
    answer = dump(
        contact("a", "both", "none", '[<<"One">>,<<"Two">>]'), contact("b", "none", "out"),
        contact("c", "none", "in", message="it is me"), contact("d", "none", "both"),
        contact("e", "remove", "none"), PASSWORD)
    assert answer["text"].startswith("users imported: 1,") and lost(answer) == {
        "contacts that are being removed in the table roster: 1, first of juliet@localhost"}
    juliet = server.client("juliet", password="x")
    roster = juliet.result("get", "<query xmlns='jabber:iq:roster'/>")
    assert {(i.get("jid").partition("@")[0], i.get("subscription"), i.get("ask"),
             " ".join(g.text for g in i)) for i in roster} == {
        ("a", "both", None, "One Two"), ("b", "none", "subscribe", ""),
        ("d", "none", "subscribe", "")}
    for name in "c", "d":
        asked = juliet.expect(f"<presence from='{name}@localhost' type='subscribe'/>")
        if name == "c":
            assert asked.findtext(tag("jabber:client", "status")) == "it is me"


@pytest.mark.parametrize("hashed,mechanism", [
    ("sha,4096", "SCRAM-SHA-1"), ("sha256,4096", "SCRAM-SHA-256"), ("4096", "SCRAM-SHA-1")])
def test_keys(server, dump, hashed, mechanism):
    """Older versions name no hash."""
    made = keys("x", name="sha256" if "256" in mechanism else "sha1")
    part = {name: made.partition(f"<{name}>")[2].partition("<")[0]
            for name in ("stored-key", "server-key", "salt")}
    record = ",".join(f'<<"{part[n]}">>' for n in ("stored-key", "server-key", "salt"))
    assert lost_of(dump(f"{{passwd,{JULIET},{{scram,{record},{hashed}}}}}.")) == []
    server.login("juliet", "a", password="x", mechanism=mechanism).close()


def test_privacy_lists(server, dump):
    rules = ('{listitem,jid,{<<"a">>,<<"example.com">>,<<>>},deny,1,false,false,true,true,false},'
             '{listitem,group,<<"Foes">>,deny,2,true,false,false,false,false},'
             '{listitem,none,none,allow,3,true,false,false,false,false}')
    assert dump(PASSWORD, contact("f", "none", "none", '[<<"Foes">>]'),
                f'{{privacy,{JULIET},<<"work">>,[{{<<"work">>,[{rules}]}}]}}.')["rows"] == []
    juliet = server.client("juliet", password="x")
    query = juliet.result("get", "<query xmlns='jabber:iq:privacy'/>")
    assert query.find(tag("jabber:iq:privacy", "default")).get("name") == "work"
    one, = juliet.result("get", "<query xmlns='jabber:iq:privacy'><list name='work'/></query>")
    assert [(i.get("type"), i.get("value"), i.get("action"),
             [c.tag.partition("}")[2] for c in i]) for i in one] == [
        ("jid", "a@example.com", "deny", ["message", "presence-in"]),
        ("group", "Foes", "deny", []), (None, None, "allow", [])]


def test_rules_of_one_order(server, dump):
    """As ejabberd writes blocks: all with order 0, the newest first."""
    blocks = [f'{{listitem,jid,{{<<"{name}">>,<<"example.com">>,<<>>}},{action},{order},'
              'true,false,false,false,false}' for name, action, order in (
                  ("z", "deny", 7), ("b", "deny", 0), ("c", "allow", 7), ("a", "deny", 0))]
    assert dump(PASSWORD, f'{{privacy,{JULIET},<<"Blocked contacts">>,'
                f'[{{<<"Blocked contacts">>,[{",".join(blocks)}]}}]}}.')["rows"] == []
    juliet = server.client("juliet", password="x")
    one, = juliet.result("get", "<query xmlns='jabber:iq:privacy'><list name='Blocked contacts'/>"
                                "</query>")
    assert [i.get("value")[0] for i in one] == ["b", "a", "z", "c"]
    assert len({i.get("order") for i in one}) == 4
    blocked = juliet.result("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
    assert {i.get("jid")[0] for i in blocked} == {"a", "b", "z"}


def test_an_archive_without_order_and_of_nobody(server, dump):
    order = [3, 1, 2, 0]
    answer = dump(*(archived(JULIET, BEGIN_US + n * 10**6, f"line {n}") for n in order), PASSWORD,
                  archived('{<<"gone">>,<<"localhost">>}', BEGIN_US, "of nobody"))
    assert lost(answer) == {
        "rows of the table archive_msg that are of no account with a password, no room and no "
        "group: 1, first of gone@localhost"}
    page = Page(server.client("juliet", password="x"))
    assert page.bodies == [f"line {n}" for n in range(4)]
    assert [times(at) for at in page.stamps] == [BEGIN_US / 10**6 + n for n in range(4)]


@pytest.mark.release
def test_an_archive_of_many_megabytes(server, dump, tmp_path):
    many, text = 50000, "long " * 160
    answer = dump(PASSWORD, *(archived(JULIET, BEGIN_US + n * 10**6, text) for n in range(many)))
    assert answer["text"].startswith("users imported: 1,") and answer["rows"] == []
    page = Page(server.client("juliet", password="x"), page="<max>1</max><before/>")
    assert times(page.stamps[0]) == BEGIN_US / 10**6 + many - 1
    server.ctl("export", "xep0227", tmp_path / "all.xml")
    assert (tmp_path / "all.xml").read_text().count("<result ") == many


def test_what_waits_too_long_does_not_come(server, dump):
    waiting = ('{{offline_msg,{},{},{},{{jid,<<"romeo">>,<<"localhost">>,<<>>}},none,'
               '{{xmlel,<<"message">>,[{{<<"from">>,<<"romeo@localhost/a">>}}],'
               '[{{xmlel,<<"body">>,[],[{{xmlcdata,<<"{}">>}}]}}]}}}}.')
    dump(PASSWORD, waiting.format(JULIET, time_of(BEGIN_US), time_of(BEGIN_US + 1), "old"),
         waiting.format(JULIET, time_of(BEGIN_US), "never", "new"))
    juliet = server.client("juliet", password="x")
    juliet.expect("<message><body>new</body></message>")
    assert Page(juliet).bodies == ["new"]


def test_what_of_a_room_does_not_come_along(server, dump):
    answer = dump(
        PASSWORD,
        room('{title,<<"a\\nb">>},{lang,<<"no tag!">>},{max_users,many},{captcha_protected,true},'
             '{hats_users,[]},{logging,false},{unknown,1},{subject,<<"Tea">>},'
             '{subject_author,{<<"j">>,none}}',
             people='{{<<"juliet">>,<<"localhost">>,<<>>},{owner,<<"why">>}},'
                    '{{<<>>,<<"b.example">>,<<>>},{outcast,<<>>}},'
                    '{{<<>>,<<"c.example">>,<<>>},member},'
                    '{{<<"x">>,<<"localhost">>,<<>>},none}'),
        archived(ROOM, BEGIN_US + 5, "two", "r"), archived(ROOM, BEGIN_US, "one", "r"),
        archived(ROOM, BEGIN_US + 9, "of nobody"))
    assert said_of(answer) == [
        "an affiliation of c.example",
        "entries of the archive that are no messages of occupants, or are longer than 4 MiB: "
        "as many as 1",
        "of the configuration: captcha_protected", "of the configuration: lang",
        "of the configuration: max_users", "of the configuration: unknown"]
    assert people(server, TEA) == {("juliet@localhost", "owner", ""), ("b.example", "outcast", "")}
    tea = muc.Room("tea")
    got = tea.enter(juliet := server.client("juliet", password="x"), "j")
    assert got.subject.findtext("{jabber:client}subject") == "Tea"
    assert got.subject.get("from") == f"{TEA}/j"
    assert RoomPage(juliet, tea).bodies == ["one", "two"]


@pytest.mark.parametrize("moderated,by_default,is_", [
    ("true", "true", "off"), ("true", "false", "on"), ("false", "false", "off")])
def test_who_may_speak(server, dump, moderated, by_default, is_):
    """There, a moderated room gives everybody a voice who enters, unless it says otherwise."""
    assert dump(PASSWORD, room(f"{{moderated,{moderated}}},{{members_by_default,{by_default}}}"))[
        "rows"] == []
    assert fields(server, TEA)["moderatedroom"] == is_


def test_rooms_that_are_refused(server, dump):
    assert said_of(dump(PASSWORD, room(persistent="false"))) == ["refused: it is not persistent"]
    assert said_of(dump(PASSWORD, f"{{muc_room,{ROOM},none}}.")) == [
        "refused: its row does not say how it is configured"]
    assert said_of(dump(PASSWORD, room(), room())) == ["refused: the file has several rows of it"]
    assert server.rows("room", "list") == []


def test_rows_that_nobody_needs_may_be_anything(dump):
    answer = dump("{session,<0.1.0>,#Ref<0.1.2.3>,#Fun<a.1>,[<<1:3>>]}.", '{odd,"a. \\" b. "}.',
                  "single.", "{passwd,none,none}.", PASSWORD)
    assert answer["text"].startswith("users imported: 1,") and lost(answer) == {
        "rows of the table session: 1", "rows of the table odd: 1", "rows of no table: 1",
        "rows of the table passwd with a key of an unknown form: 1"}


def test_names_that_are_none(server, dump):
    answer = dump('{passwd,{<<255,254>>,<<"localhost">>},<<"x">>}.', PASSWORD,
                  '{passwd,{<<"a b">>,<<"localhost">>},<<"x">>}.',
                  '{passwd,{<<"bo">>,<<"elsewhere.example">>},<<"x">>}.',
                  room().replace('<<"tea">>', "<<255>>"), room().replace('<<"tea">>', '<<"@">>'))
    assert answer["text"].startswith("users imported: 1, there already: 0, refused: 3;")
    assert answer["text"].endswith("refused: 2")
    assert len([r for r in answer["rows"] if r["what"].startswith("refused: ")]) == 5


def test_a_dump_that_is_wrong(server, dump):
    """Nothing of it comes, and its line is told."""
    for rows, why in (
            ([PASSWORD, f"{{passwd,{JULIET},<0.1.0>}}."],
             r"line 3: line 1 of it: found what is no term of constants"),
            ([PASSWORD, f"{{passwd,\n{JULIET},<<\"x"], r"line 3: it ends in the middle of a row"),
            ([], "found no users, expected a file of `ejabberdctl dump` with accounts")):
        with pytest.raises(Failed, match=why):
            dump(*rows)
    with pytest.raises(Failed, match="expected a file of `ejabberdctl dump`"):
        dump(PASSWORD, head="\x04\x1e log_header")  # as `ejabberdctl backup` begins
    assert "juliet@localhost" not in {r["jid"] for r in server.rows("user", "list")}
