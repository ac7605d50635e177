"""Message Archive Management (XEP-0313) with its preferences (XEP-0441)."""
import concurrent.futures
import time

import pytest

from harness import xml
from harness.client import until
from stream.test_sm import resume

MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"
FORWARD = "urn:xmpp:forward:0"
DATA = "jabber:x:data"


def tag(ns, name):
    return f"{{{ns}}}{name}"


def form(*fields, kind="submit", form_type=MAM):
    """A data form; fields are (var, value, …)."""
    inner = f"<field var='FORM_TYPE' type='hidden'><value>{form_type}</value></field>"
    for var, *values in fields:
        inner += f"<field var='{var}'>" + "".join(f"<value>{v}</value>" for v in values) + \
            "</field>"
    return f"<x xmlns='{DATA}' type='{kind}'>{inner}</x>"


def rsm(inner):
    return f"<set xmlns='{RSM}'>{inner}</set>"


def query_text(*fields, page="", flip=False, more="", queryid=""):
    filters = form(*fields) if fields else ""
    attribute = f" queryid='{queryid}'" if queryid else ""
    paging = rsm(page) if page else ""
    return (f"<query xmlns='{MAM}'{attribute}>{filters}{paging}"
            f"{'<flip-page/>' if flip else ''}{more}</query>")


class Page:
    """The result of a query."""

    def __init__(self, client, *fields, **options):
        fin = client.result("set", query_text(*fields, **options))
        assert fin.tag == tag(MAM, "fin")
        self.results = [e.find(tag(MAM, "result")) for e in client.inbox
                        if e.find(tag(MAM, "result")) is not None]
        client.inbox = [e for e in client.inbox if e.find(tag(MAM, "result")) is None]
        self.ids = [r.get("id") for r in self.results]
        self.messages = [r.find(f"{tag(FORWARD, 'forwarded')}/{tag(xml.CLIENT, 'message')}")
                         for r in self.results]
        self.bodies = [None if m is None else m.findtext(tag(xml.CLIENT, "body"))
                       for m in self.messages]
        self.stamps = [r.find(f"{tag(FORWARD, 'forwarded')}/{tag(xml.DELAY, 'delay')}").get("stamp")
                       for r in self.results]
        self.complete = fin.get("complete") == "true"
        found = fin.find(tag(RSM, "set"))
        self.first, self.last, self.count = (found.findtext(tag(RSM, name))
                                             for name in ("first", "last", "count"))


def chat(sender, to, text, more=""):
    sender.send(f"<message to='{to}' type='chat'><body>{text}</body>{more}</message>")


@pytest.fixture
def talk(server):
    """Alice and Bob, who have said ten things to each other."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    for i in range(10):
        one, other = (alice, bob) if i % 3 else (bob, alice)
        chat(one, other.bare, f"m{i}")
        other.expect(f"<message><body>m{i}</body></message>")
    return alice, bob


ALL = [f"m{i}" for i in range(10)]


# --- queries ---


def test_archive_of_both_sides(talk):
    for client in talk:
        page = Page(client, queryid="f&apos;27")
        assert page.bodies == ALL and page.complete
        assert (page.first, page.last) == (page.ids[0], page.ids[-1])
        assert page.count == "10"
        assert all(r.get("queryid") == "f'27" for r in page.results)
        assert page.stamps == sorted(page.stamps)


def test_results_are_what_was_said(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.send(f"<message to='{bob.jid}' type='chat' id='x1' xml:lang='de'><body>a &lt; b</body>"
               "<x xmlns='jabber:x:oob'><url>https://example.net/1.png</url></x>"
               "<html xmlns='http://jabber.org/protocol/xhtml-im'>"
               "<body xmlns='http://www.w3.org/1999/xhtml'><p>a &lt; <b>b</b></p></body></html>"
               "</message>")
    got = bob.expect("<message id='x1'/>")
    page = Page(bob)
    assert page.ids == [got.find(tag(xml.SID, "stanza-id")).get("id")]
    message = page.messages[0]
    got.remove(got.find(tag(xml.SID, "stanza-id")))
    assert xml.canonical(message) == xml.canonical(got)
    assert Page(alice).messages[0].get("to") == bob.jid


def test_result_messages_are_from_the_archive(talk):
    alice, _ = talk
    alice.send(f"<iq type='set' id='q'>{query_text(page='<max>1</max>')}</iq>")
    result = alice.expect(f"<message from='{alice.bare}' to='{alice.jid}'>"
                          f"<result xmlns='{MAM}' id='*' queryid='-'/></message>")
    assert result.find(tag(xml.SID, "stanza-id")) is None
    alice.expect(f"<iq type='result' id='q'><fin xmlns='{MAM}' complete='-'/></iq>")


@pytest.mark.parametrize("size", (1, 3, 4, 10, 50))
def test_pages_forward(talk, size):
    alice, _ = talk
    found, after = [], ""
    while True:
        page = Page(alice, page=f"<max>{size}</max>{after}")
        assert len(page.bodies) <= size
        found += page.bodies
        if page.complete:
            break
        after = f"<after>{page.last}</after>"
    assert found == ALL


@pytest.mark.parametrize("size", (1, 3, 4, 10, 50))
def test_pages_backward(talk, size):
    alice, _ = talk
    found, before = [], "<before/>"
    while True:
        page = Page(alice, page=f"<max>{size}</max>{before}")
        assert len(page.bodies) <= size
        found = page.bodies + found
        if page.complete:
            break
        before = f"<before>{page.first}</before>"
    assert found == ALL


def test_flipped_pages(talk):
    alice, _ = talk
    page = Page(alice, page="<max>3</max>", flip=True)
    assert page.bodies == ["m2", "m1", "m0"]
    assert (page.first, page.last) == (page.ids[-1], page.ids[0])
    page = Page(alice, page="<max>3</max><before/>", flip=True)
    assert page.bodies == ["m9", "m8", "m7"]


def test_count_alone(talk):
    alice, _ = talk
    page = Page(alice, page="<max>0</max>")
    assert (page.bodies, page.count, page.first) == ([], "10", None)
    assert Page(alice, ("with", "carol@localhost"), page="<max>0</max>").count == "0"


def test_an_empty_archive(server):
    carol = server.client("carol", "c")
    page = Page(carol)
    assert page.bodies == [] and page.complete and page.count == "0"
    metadata = carol.result("get", f"<metadata xmlns='{MAM}'/>")
    assert metadata.tag == tag(MAM, "metadata") and len(metadata) == 0


def test_with_an_address(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    bob2, carol = server.client("bob", "b>2"), server.client("carol", "c")
    for client, text in ((bob, "1"), (bob2, "2"), (carol, "3")):
        chat(client, alice.bare, text)
        alice.expect(f"<message><body>{text}</body></message>")
    chat(alice, bob2.jid, "4")
    bob2.expect("<message><body>4</body></message>")
    chat(alice, "bob@localhost", "5")
    bob.expect("<message><body>5</body></message>")

    def found(jid):
        return Page(alice, ("with", jid)).bodies

    assert found("bob@localhost") == ["1", "2", "4", "5"]
    assert found("BOB@localhost") == ["1", "2", "4", "5"]
    assert found("carol@localhost") == ["3"]
    assert found(bob.jid) == ["1"]
    assert found(bob2.jid) == ["2", "4"]
    assert found("nobody@localhost") == []
    assert found("alice@localhost") == []
    assert found("elsewhere.example") == []
    assert Page(alice, ("with", "bob@localhost"), page="<max>2</max><before/>").bodies == ["4", "5"]


def test_messages_to_oneself_are_there_once(server):
    alice, other = server.client("alice", "a"), server.client("alice", "other")
    chat(alice, alice.bare, "note")
    other.expect("<message><body>note</body></message>")
    chat(alice, other.jid, "note 2")
    other.expect("<message><body>note 2</body></message>")
    assert Page(alice).bodies == ["note", "note 2"]
    assert Page(alice, ("with", alice.bare)).bodies == ["note", "note 2"]


def test_between_times(talk):
    alice, _ = talk
    stamps = Page(alice).stamps
    assert Page(alice, ("start", stamps[3])).bodies == ALL[3:]
    assert Page(alice, ("end", stamps[3])).bodies == ALL[:4]
    assert Page(alice, ("start", stamps[3]), ("end", stamps[6])).bodies == ALL[3:7]
    assert Page(alice, ("start", stamps[6]), ("end", stamps[3])).bodies == []
    assert Page(alice, ("start", "1970-01-01T00:00:00Z")).bodies == ALL
    assert Page(alice, ("end", "1969-12-31T23:59:59Z")).bodies == []
    assert Page(alice, ("start", "2200-01-01T01:00:00+01:00")).bodies == []
    assert Page(alice, ("start", stamps[3]), page="<max>2</max><before/>").bodies == ALL[8:]


def test_between_ids(talk):
    alice, _ = talk
    ids = Page(alice).ids
    assert Page(alice, ("after-id", ids[2])).bodies == ALL[3:]
    assert Page(alice, ("before-id", ids[2])).bodies == ALL[:2]
    page = Page(alice, ("after-id", ids[2]), ("before-id", ids[8]), page="<max>3</max>")
    assert page.bodies == ALL[3:6] and not page.complete
    page = Page(alice, ("after-id", ids[2]), ("before-id", ids[8]),
                page=f"<max>3</max><after>{page.last}</after>")
    assert page.bodies == ALL[6:8] and page.complete


def test_by_ids(talk):
    alice, _ = talk
    ids = Page(alice).ids
    page = Page(alice, ("ids", ids[7], ids[2], ids[7]))
    assert page.bodies == ["m2", "m7"] and page.complete
    page = Page(alice, ("ids", *ids), page="<max>4</max><before/>")
    assert page.bodies == ALL[6:] and not page.complete
    page = Page(alice, ("ids", *ids), page=f"<max>4</max><after>{ids[1]}</after>")
    assert page.bodies == ALL[2:6]
    assert Page(alice, ("ids", ids[0], ids[1]), ("with", "carol@localhost")).bodies == []
    assert Page(alice, ("ids", ids[7], ids[2], ids[7]), page="<max>0</max>").count == "2"


def test_ids_that_are_not_there(talk):
    alice, bob = talk
    mine, theirs = Page(alice).ids, Page(bob).ids
    foreign = next(i for i in theirs if i not in mine)
    for unknown in ("nonsense", "0", "-5", "99999999999999999999", "1", foreign):
        for fields, page in (((("ids", mine[0], unknown),), ""),
                             ((("after-id", unknown),), ""), ((("before-id", unknown),), ""),
                             ((), f"<after>{unknown}</after>"),
                             ((), f"<before>{unknown}</before>")):
            assert alice.error("set", query_text(*fields, page=page)) == \
                ("item-not-found", "cancel"), (fields, page)
    assert not [e for e in alice.inbox if e.find(tag(MAM, "result")) is not None]


@pytest.mark.parametrize("query, condition", [
    (query_text(("start", "yesterday")), "bad-request"),
    (query_text(("end", "2010-02-30T00:00:00Z")), "bad-request"),
    (query_text(("with", "a@b@c")), "bad-request"),
    (query_text(("with", "a@localhost", "b@localhost")), "bad-request"),
    (query_text(("include-groupchat", "perhaps")), "bad-request"),
    (query_text(("colour", "red")), "feature-not-implemented"),
    (query_text(page="<max>many</max>"), "bad-request"),
    (query_text(page="<max>-1</max>"), "bad-request"),
    (query_text(page="<before/><after>1</after>"), "bad-request"),
    (query_text(page="<index>3</index>"), "feature-not-implemented"),
    (f"<query xmlns='{MAM}'>{form(form_type='urn:other')}</query>", "bad-request"),
    (f"<query xmlns='{MAM}'>{form(kind='cancel')}</query>", "bad-request"),
    (f"<query xmlns='{MAM}'><x xmlns='{DATA}' type='submit'><field var='with'/></x></query>",
     "bad-request"),
    (f"<query xmlns='{MAM}'><x xmlns='{DATA}'/></query>", "bad-request"),
    (f"<query xmlns='{MAM}' queryid='{'x' * 2000}'/>", "bad-request"),
    (f"<query xmlns='{MAM}' node='blog'/>", "item-not-found"),
    (query_text(("ids", *range(1, 300))), "bad-request"),
])
def test_bad_queries(alice, query, condition):
    assert alice.error("set", query)[0] == condition


def test_archives_of_others_are_closed(alice, bob):
    for to in ("bob@localhost", "nobody@localhost"):
        for kind, inner in (("set", query_text()), ("get", query_text()),
                            ("get", f"<metadata xmlns='{MAM}'/>"),
                            ("get", f"<prefs xmlns='{MAM}'/>"),
                            ("set", f"<prefs xmlns='{MAM}' default='never'/>")):
            assert alice.error(kind, inner, to=to) == ("forbidden", "auth")


def test_page_limits_are_settings(server, talk):
    alice, _ = talk
    server.ctl("set", "archive.page-default", "4")
    assert len(Page(alice).bodies) == 4
    server.ctl("set", "archive.page-max", "3")
    assert Page(alice, page="<max>100</max>").bodies == ALL[:3]
    assert not Page(alice).complete


def test_disco_and_form(alice):
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=alice.bare)
    features = {f.get("var") for f in info}
    assert {MAM, f"{MAM}#extended", f"{MAM}#groupchat-field"} <= features
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="localhost")
    assert MAM not in {f.get("var") for f in info}  # the server itself has no archive
    fields = {f.get("var"): f for f in
              alice.result("get", query_text()).iter(tag(DATA, "field"))}
    assert {"FORM_TYPE", "with", "start", "end", "before-id", "after-id", "ids",
            "include-groupchat"} <= set(fields)
    assert fields["with"].get("type") == "jid-single"
    assert fields["ids"].find(".//{http://jabber.org/protocol/xdata-validate}open") is not None


def test_metadata(talk):
    alice, _ = talk
    page = Page(alice)
    metadata = alice.result("get", f"<metadata xmlns='{MAM}'/>")
    ends = [(e.tag, e.get("id"), e.get("timestamp")) for e in metadata]
    assert ends == [(tag(MAM, "start"), page.ids[0], page.stamps[0]),
                    (tag(MAM, "end"), page.ids[-1], page.stamps[-1])]


def test_what_is_archived(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    kept = {
        "body": "<body>1</body>",
        "receipt": "<received xmlns='urn:xmpp:receipts' id='x'/>",
        "marker": "<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>",
        "correction": "<body>2</body><replace xmlns='urn:xmpp:message-correct:0' id='x'/>",
        "reaction": "<reactions xmlns='urn:xmpp:reactions:0' id='x'><reaction>+</reaction>"
                    "</reactions><store xmlns='urn:xmpp:hints'/>",
        "reply": "<body>3</body><reply xmlns='urn:xmpp:reply:0' to='bob@localhost' id='x'/>",
        "no-copy": "<body>4</body><no-copy xmlns='urn:xmpp:hints'/>",
    }
    passing = {
        "state": "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
        "no-store": "<body>5</body><no-store xmlns='urn:xmpp:hints'/>",
        "no-permanent-store": "<body>6</body><no-permanent-store xmlns='urn:xmpp:hints'/>",
    }
    for ident, content in {**kept, **passing}.items():
        alice.send(f"<message to='{bob.jid}' type='chat' id='{ident}'>{content}</message>")
        bob.expect(f"<message id='{ident}'/>")
    alice.send(f"<message to='{bob.jid}' type='headline' id='h'><body>7</body></message>")
    bob.expect("<message id='h'/>")
    for client in (alice, bob):
        assert [m.get("id") for m in Page(client).messages] == list(kept)


def test_results_come_in_the_client_s_pace(server):
    """More than the output may hold, to a client that reads late; nothing is lost or doubled."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    server.ctl("set", "c2s.output-max", "256KiB")
    text = "x" * 20000
    for i in range(60):
        chat(alice, bob.bare, f"{i} {text}")
        bob.expect(f"<message><body>{i} {text}</body></message>")
    bob.send(f"<iq type='set' id='q'>{query_text(page='<max>250</max>')}</iq>")
    alice.ping()
    bob.expect("<iq type='result' id='q'/>")
    assert len([e for e in bob.inbox if e.find(tag(MAM, "result")) is not None]) == 60


def test_a_session_that_ends_during_a_query(server, talk):
    alice, bob = talk
    for i in range(60):
        chat(bob, alice.bare, "x" * 5000)
        alice.expect("<message/>")
    other = server.client("alice", "other")
    other.enable_sm()
    other.send(f"<iq type='set' id='q'>{query_text(page='<max>250</max>')}</iq>")
    other.expect("<message/>")
    other.close()
    alice.ping()
    alice.expect_nothing(f"<message><result xmlns='{MAM}'/></message>")
    assert len(Page(alice, page="<max>250</max>").bodies) == 70


# --- what waits for its owner ---


def wait_for_alice(server, count=3):
    """Messages that came while she was away."""
    bob = server.client("bob", "b")
    bob.enable_sm()
    for i in range(count):
        chat(bob, "alice@localhost", f"w{i}")
    bob.wait_acked(count)
    return bob


@pytest.mark.parametrize("managed", (False, True))
def test_catching_up_by_archive_settles(server, managed):
    """XEP-0313 §5.1.1: no second copy for a client that has read its archive."""
    wait_for_alice(server)
    alice = server.login("alice", "a")
    if managed:
        alice.enable_sm()
    assert Page(alice).bodies == ["w0", "w1", "w2"]
    alice.available()
    alice.expect_nothing("<message/>")
    if managed:
        alice.ack()
    alice.ping()
    time_passed = time.monotonic() + 1.2  # the cursor is written once a second
    until("a second", lambda: time.monotonic() > time_passed)
    server.kill()
    server.start()
    again = server.client("alice", "a")
    again.expect_nothing("<message/>")
    assert Page(again).bodies == ["w0", "w1", "w2"]


def test_catching_up_in_part(server):
    wait_for_alice(server)
    alice = server.login("alice", "a")
    assert Page(alice, page="<max>2</max>").bodies == ["w0", "w1"]
    alice.available()
    assert alice.expect("<message/>").findtext(tag(xml.CLIENT, "body")) == "w2"
    alice.expect_nothing("<message/>")


def test_copies_that_were_not_taken(server):
    """A session that ends without an acknowledgement has settled nothing."""
    wait_for_alice(server)
    alice = server.login("alice", "a")
    alice.enable_sm(resume="false")
    assert Page(alice).bodies == ["w0", "w1", "w2"]
    alice.cut()
    again = server.client("alice", "again")
    for text in ("w0", "w1", "w2"):
        again.expect_next(f"<message><body>{text}</body></message>")


def test_what_was_acknowledged_is_in_the_archive(server):
    """kill -9 behind the acknowledgement, and late rows with it."""
    bob = wait_for_alice(server, 20)
    server.kill()
    server.start()
    wanted = [f"w{i}" for i in range(20)]
    assert Page(server.login("alice", "x")).bodies == wanted
    assert Page(server.login("bob", "x"), ("with", "alice@localhost")).bodies == wanted
    bob.expect_closed()


@pytest.mark.parametrize("workers", [1, 4])
def test_what_is_acknowledged_is_found_at_once(make_server, workers):
    """By both sides, whichever worker writes it."""
    server = make_server("alice", "bob", workers=workers, settings={"c2s.migration": "off"})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    for client in (alice, bob):
        client.enable_sm()
    for i in range(30):
        chat(alice, "bob@localhost" if i % 2 else bob, f"w{i}")
        alice.wait_acked(2 * i + 1)
        newest = {"page": "<max>1</max><before/>"}
        assert Page(alice, **newest).bodies == Page(bob, **newest).bodies == [f"w{i}"]


# --- preferences (XEP-0441) ---


def prefs_text(default="always", always=(), never=()):
    lists = "".join(f"<{name}>" + "".join(f"<jid>{j}</jid>" for j in jids) + f"</{name}>"
                    for name, jids in (("always", always), ("never", never)))
    return f"<prefs xmlns='{MAM}' default='{default}'>{lists}</prefs>"


def prefs_of(element):
    return (element.get("default"),
            *([j.text for j in element.find(tag(MAM, name))] for name in ("always", "never")))


GET_PREFS = f"<prefs xmlns='{MAM}'/>"


def test_preferences(server):
    alice = server.client("alice", "a")
    assert prefs_of(alice.result("get", GET_PREFS)) == ("always", [], [])
    wanted = ("never", ["bob@localhost"], ["carol@localhost", "bob@localhost/x"])
    assert prefs_of(alice.result("set", prefs_text(*wanted))) == wanted
    server.kill()
    server.start()
    alice = server.client("alice", "a")
    assert prefs_of(alice.result("get", GET_PREFS)) == wanted
    short = f"<prefs xmlns='{MAM}' default='roster'/>"
    assert prefs_of(alice.result("set", short)) == ("roster", [], [])


@pytest.mark.parametrize("text", [
    f"<prefs xmlns='{MAM}'/>",
    prefs_text("sometimes"),
    prefs_text(always=["a@b@c"]),
    f"<prefs xmlns='{MAM}' default='always'><never><name>x</name></never></prefs>",
    prefs_text(never=[f"u{i}@localhost" for i in range(1001)]),
])
def test_bad_preferences(alice, text):
    assert alice.error("set", text) == ("bad-request", "modify")
    assert prefs_of(alice.result("get", GET_PREFS)) == ("always", [], [])


def test_preferences_decide_what_is_archived(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    carol = server.client("carol", "c")
    alice.result("set", prefs_text("always", [bob.jid], ["bob@localhost"]))
    for client in (bob, carol):
        chat(client, alice.bare, "in")
        alice.expect(f"<message from='{client}'><body>in</body></message>")
        chat(alice, client.bare, "out")
        client.expect("<message><body>out</body></message>")
    # from bob/b: listed in full as `always`, but `never` without resource is stronger
    assert [(m.get("from"), m.findtext(tag(xml.CLIENT, "body"))) for m in Page(alice).messages] \
        == [(carol.jid, "in"), (alice.jid, "out")]
    assert Page(bob).bodies == ["in", "out"]


def test_only_contacts_are_archived(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    carol = server.client("carol", "c")
    alice.result("set", "<query xmlns='jabber:iq:roster'><item jid='bob@localhost'/></query>")
    alice.result("set", prefs_text("roster"))
    for client in (bob, carol):
        chat(client, alice.bare, f"from {client.name}")
        alice.expect(f"<message from='{client}'><body>*</body></message>")
    assert Page(alice).bodies == ["from bob"]


def count_rows(server, table):
    with server.database(read_only=True) as db:
        return db.execute(f"SELECT count(*) FROM {table} WHERE id <> (SELECT max(id) FROM message)"
                          if table == "message" else f"SELECT count(*) FROM {table}").fetchone()[0]


def test_what_is_not_archived_waits_and_goes(server):
    """It is stored until the addressee has it, without an archive id, and is gone then."""
    server.ctl("set", "archive.enabled", "off")
    wait_for_alice(server)
    server.kill()
    server.start()
    server.ctl("set", "archive.enabled", "off")
    alice = server.client("alice", "a")
    for i in range(3):
        got = alice.expect_next(f"<message><body>w{i}</body></message>")
        assert got.find(tag(xml.SID, "stanza-id")) is None
        assert got.find(tag(xml.DELAY, "delay")) is not None
    assert Page(alice).bodies == []
    bob = server.client("bob", "b")
    assert Page(bob).bodies == []
    alice.ping()
    until("empty tables", lambda: count_rows(server, "entry") == 0
          and count_rows(server, "message") == 0)
    chat(bob, alice.bare, "live")
    got = alice.expect("<message><body>live</body></message>")
    assert got.find(tag(xml.SID, "stanza-id")) is None


def test_choice_is_a_setting(server, alice):
    server.ctl("set", "archive.default", "never")
    assert prefs_of(alice.result("get", GET_PREFS)) == ("never", [], [])
    server.ctl("set", "archive.users-may-choose", "off")
    assert alice.error("set", prefs_text()) == ("not-allowed", "cancel")
    server.ctl("set", "archive.users-may-choose", "on")
    server.ctl("set", "archive.enabled", "off")
    assert alice.error("set", prefs_text()) == ("not-allowed", "cancel")


def test_without_a_choice_of_users_the_operator_decides(server):
    """Earlier choices are kept, not in force, and shown to operators; later they hold again."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    choice = ("never", ["carol@localhost"], ["bob@localhost", "x@localhost/y"])
    alice.result("set", prefs_text(*choice))

    def talk(number):
        chat(bob, alice.bare, f"in {number}")
        alice.expect(f"<message><body>in {number}</body></message>")
        chat(alice, bob.bare, f"out {number}")
        bob.expect(f"<message><body>out {number}</body></message>")
        return Page(alice).bodies

    assert talk(1) == []
    server.ctl("set", "archive.users-may-choose", "off")
    assert talk(2) == ["in 2", "out 2"]
    assert [r["body"] for r in server.rows("archive", "read", alice.bare)] == ["in 2", "out 2"]
    assert prefs_of(alice.result("get", GET_PREFS)) == ("always", [], [])
    refused = alice.iq("set", prefs_text())
    assert "archive.users-may-choose is off" in xml.canonical(refused)
    listed = server.ctl("archive", "choices")
    assert listed["rows"] == [{"jid": alice.bare, "default": "never", "always": 1, "never": 2}]
    assert "not in force" in listed["text"]
    shown = server.rows("user", "archive", alice.bare)[0]
    assert (shown["default"], shown["always"], shown["never"]) == (
        "never", "carol@localhost", "bob@localhost x@localhost/y")
    assert "default" not in server.rows("user", "archive", bob.bare)[0]
    server.ctl("set", "archive.default", "never")
    assert talk(3) == ["in 2", "out 2"]
    server.ctl("set", "archive.default", "always")
    server.kill()
    server.start()
    server.ctl("set", "archive.users-may-choose", "on")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    assert prefs_of(alice.result("get", GET_PREFS)) == choice
    assert talk(4) == ["in 2", "out 2"]
    assert "not in force" not in server.ctl("archive", "choices")["text"]


def test_a_deleted_contact_is_still_found(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    chat(bob, alice.bare, "last words")
    alice.expect("<message><body>last words</body></message>")
    server.ctl("user", "del", "bob@localhost")
    assert Page(alice, ("with", "bob@localhost")).bodies == ["last words"]
    assert Page(alice).bodies == ["last words"]
    server.ctl("user", "del", "alice@localhost")
    assert (count_rows(server, "entry"), count_rows(server, "message")) == (0, 0)


# --- full-text search (XEP-0431) ---


def indexed(server, word):
    return server.indexed(word)


def marks(server):
    """The words in the index that name the owners of a message."""
    with server.database(read_only=True) as db:
        return {jid.partition("@")[0]: f"\ue000{i}"
                for jid, i in db.execute("SELECT jid, id FROM account")}


def fill(server, count):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    for i in range(count):
        alice.send(f"<message to='{bob.bare}' type='chat'><body>orang{i} utan</body></message>")
    chat(alice, alice.bare, "diary")
    alice.expect("<message><body>diary</body></message>")
    bob.expect(f"<message><body>orang{count - 1} utan</body></message>")
    for client in (alice, bob):
        assert Page(client, (WORDS, f"orang{count - 1}")).bodies == [f"orang{count - 1} utan"]
    return alice, bob


def test_words_leave_with_the_account(server):
    """The words of the other side are kept, under its name alone."""
    mark = marks(server)
    _, bob = fill(server, 300)
    assert [indexed(server, w) for w in ("utan", "diary", mark["alice"])] == [300, 1, 301]
    server.ctl("user", "del", "alice@localhost")
    assert [indexed(server, w) for w in ("utan", "diary", mark["alice"])] == [300, 0, 0]
    assert Page(bob, (WORDS, "orang298")).bodies == ["orang298 utan"]
    server.ctl("user", "del", "bob@localhost")
    assert [indexed(server, w) for w in ("utan", mark["bob"])] == [0, 0]


def test_both_sides_leave_at_once(server):
    mark = marks(server)
    fill(server, 1000)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda jid: server.ctl("user", "del", jid),
                      ("alice@localhost", "bob@localhost")))
    assert [indexed(server, w) for w in ("utan", mark["alice"], mark["bob"])] == [0, 0, 0]
    assert (count_rows(server, "entry"), count_rows(server, "message")) == (0, 0)


WORDS = "{urn:xmpp:fulltext:0}fulltext"


@pytest.fixture
def library(server):
    """Alice with some messages that have words in common."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    carol = server.client("carol", "c")
    texts = ["the quick brown fox", "Ein Übermaß an Füchsen", "quick, quick!", "nothing of that",
             "QUICK &amp; dirty", "don't panic"]
    for i, text in enumerate(texts):
        sender = (bob, carol)[i % 2]
        chat(sender, alice.bare, text)
        alice.expect(f"<message><body>{text}</body></message>")
    chat(bob, carol.bare, "quick, but not for alice")
    carol.expect("<message><body>quick, but not for alice</body></message>")
    return alice, bob, carol


# --- retraction (XEP-0424) ---

RETRACT = "urn:xmpp:message-retract:1"


def retract(client, to, ident, more=""):
    client.send(f"<message to='{to}' type='chat' id='r-{ident}'><retract xmlns='{RETRACT}' "
                f"id='{ident}'/><fallback xmlns='urn:xmpp:fallback:0'/><body>took it back</body>"
                f"<store xmlns='urn:xmpp:hints'/>{more}</message>")


def tombstone(message):
    return message.find(tag(RETRACT, "retracted"))


def test_retraction(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    assert {RETRACT, f"{RETRACT}#tombstone"} <= {f.get("var") for f in alice.result(
        "get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=alice.bare)}
    alice.send(f"<message to='{bob.bare}' type='chat' id='m1'><body>saints lips</body></message>")
    alice.send(f"<message to='{bob.bare}' type='chat' id='m2'><body>more lips</body>"
               f"<origin-id xmlns='{xml.SID}' id='o&apos;2'/></message>")
    bob.expect("<message id='m2'/>")
    assert len(Page(bob, (WORDS, "lips")).bodies) == 2
    before = Page(bob)
    retract(alice, bob.bare, "m1")
    retract(alice, bob.bare, "o&apos;2")
    bob.expect("<message id=\"r-o'2\"/>")
    until("tombstones", lambda: all(tombstone(m) is not None for m in Page(bob).messages[:2]))
    for client in (alice, bob):
        page = Page(client)
        assert page.bodies == [None, None, "took it back", "took it back"]
        assert [m.get("id") for m in page.messages] == ["m1", "m2", "r-m1", "r-o'2"]
        assert tombstone(page.messages[0]).get("id") == "r-m1"
        assert len(tombstone(page.messages[0]).get("stamp")) > 18
        assert len(page.messages[0]) == 1 and page.messages[0].get("type") == "chat"
        assert Page(client, (WORDS, "lips")).bodies == []
    page = Page(bob)
    assert page.ids[:2] == before.ids and page.stamps[:2] == before.stamps


def test_only_the_author_retracts(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    carol = server.client("carol", "c")
    alice.send(f"<message to='{bob.bare}' type='chat' id='m1'><body>mine</body></message>")
    bob.expect("<message id='m1'/>")
    retract(bob, alice.bare, "m1")
    alice.expect("<message id='r-m1'/>")
    retract(carol, bob.bare, "m1")
    bob.expect("<message id='r-m1'/>")
    for bad in ("", "nothing", "m", "1", "x" * 3000):
        retract(alice, bob.bare, bad)
    chat(alice, bob.bare, "end")
    bob.expect("<message><body>end</body></message>")
    until("all stored", lambda: Page(bob).bodies[-1] == "end")
    assert Page(bob).bodies[0] == "mine" and Page(alice).bodies[0] == "mine"


def test_retraction_reaches_who_was_away(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    bob.close()
    alice.send("<message to='bob@localhost' type='chat' id='m1'><body>oops</body></message>")
    retract(alice, "bob@localhost", "m1")
    until("a tombstone", lambda: len(Page(alice).messages) == 2
          and tombstone(Page(alice).messages[0]) is not None)
    bob = server.client("bob", "b")
    assert tombstone(bob.expect("<message id='m1'/>")) is not None
    bob.expect(f"<message id='r-m1'><retract xmlns='{RETRACT}' id='m1'/></message>")


def test_who_comes_after_the_acknowledgement_does_not_get_the_old_words(server):
    """Until then a client may get them as if it had come a moment earlier, and the retraction
    behind them. Stanzas that were sent cannot be taken back."""
    alice = server.login("alice", "a")
    alice.enable_sm()
    for i in range(10):
        alice.send(f"<message to='bob@localhost' type='chat' id='m{i}'><body>oops</body></message>")
        retract(alice, "bob@localhost", f"m{i}")
        alice.wait_acked(2 * i + 2)
        bob = server.client("bob", "b")
        assert tombstone(bob.expect(f"<message id='m{i}'/>")) is not None
        bob.expect(f"<message id='r-m{i}'><retract xmlns='{RETRACT}' id='m{i}'/></message>")
        bob.close()


def lost(server, seen):
    """A session of bob that hibernates with a message in its queue, which its client has seen or
    not, and that was retracted meanwhile."""
    alice, bob = server.login("alice", "a"), server.login("bob", "b")
    bob.auto_ack = False
    for client in alice, bob:
        client.enable_sm()
    bob.available()
    if not seen:
        bob.cut()
    alice.send("<message to='bob@localhost' type='chat' id='m1'><body>oops</body></message>")
    alice.wait_acked(1)
    if seen:
        bob.expect("<message id='m1'><body>oops</body></message>")
        bob.cut()
    retract(alice, "bob@localhost", "m1")
    alice.wait_acked(2)
    return bob


def test_who_resumes_after_it_does_not_get_the_old_words(server):
    bob = resume(server, lost(server, seen=False))
    assert tombstone(bob.expect("<message id='m1'/>")) is not None
    bob.expect(f"<message id='r-m1'><retract xmlns='{RETRACT}' id='m1'/></message>")


@pytest.mark.parametrize("seen", [True, False])
def test_what_a_session_leaves_behind_after_it_is_the_tombstone(server, seen):
    """Another one gets it, which may know of the retraction already."""
    old = lost(server, seen)
    bob = server.client("bob", "other")
    server.ctl("session", "kick", old.jid)
    assert tombstone(bob.expect("<message id='m1'/>")) is not None


def test_a_retraction_that_is_not_let_in(server):
    """A blocked user cannot retract messages in the archive of the user who blocks them."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.send(f"<message to='{bob.bare}' type='chat' id='m1'><body>threat</body></message>")
    bob.expect("<message id='m1'/>")
    block = "<{0}block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></{0}block>"
    bob.result("set", block.format(""))
    retract(alice, bob.bare, "m1")
    alice.expect("<message type='error'/>")
    assert Page(alice).bodies == ["threat", "took it back"]
    bob.result("set", block.format("un"))
    retract(alice, bob.bare, "m2")
    bob.expect("<message id='r-m2'/>")
    assert Page(bob).bodies == ["threat", "took it back"]


# --- retention ---


def age(server, count, days):
    """The oldest messages become older still, in a stopped server's database."""
    with server.database() as db:
        db.execute("UPDATE message SET at_us = at_us - ? WHERE id <= ?",
                   (days * 86400 * 1000000, count))
        return db.execute("SELECT count(*) FROM message").fetchone()[0]


def test_retention(server, talk):
    alice, bob = talk
    bob.ping()
    carol = server.client("carol", "c")
    carol.close()
    chat(alice, "carol@localhost", "waits")  # the eleventh
    until("eleven", lambda: len(Page(alice).bodies) == 11)
    assert Page(alice, (WORDS, "m3")).bodies == ["m3"]
    chat(bob, alice.bare, "new")
    alice.expect("<message><body>new</body></message>")
    server.stop()
    assert age(server, 11, 40) == 12
    server.start()
    assert "no other message is too old" in server.ctl("archive", "expire")["text"]
    server.ctl("set", "archive.retention", "50", "--accept")
    server.ctl("archive", "expire")
    alice = server.client("alice", "a")
    assert len(Page(alice).bodies) == 12
    old = Page(alice).ids
    server.ctl("set", "archive.retention", "30", "--accept")
    assert "messages deleted: 10" in str(server.ctl("archive", "expire"))
    assert Page(alice).bodies == ["waits", "new"]  # carol does not have it yet
    assert Page(alice, (WORDS, "m3")).bodies == []
    assert Page(alice, (WORDS, "waits")).bodies == ["waits"]
    assert alice.error("set", query_text(page=f"<after>{old[0]}</after>"))[0] == "item-not-found"
    carol = server.client("carol", "c")
    carol.expect("<message><body>waits</body></message>")
    carol.ping()
    server.restart()
    server.ctl("set", "archive.retention", "30", "--accept")
    server.ctl("archive", "expire")
    for name in ("alice", "bob"):
        assert Page(server.client(name, "x")).bodies == ["new"]
    assert Page(server.client("carol", "x")).bodies == []


@pytest.mark.parametrize("days", (400, -1), ids=("of the future", "young"))
def test_a_message_with_a_wrong_time_does_not_stop_retention(server, talk, days):
    alice, _ = talk
    chat(alice, "bob@localhost", "new")
    until("eleven", lambda: len(Page(alice).bodies) == 11)
    server.stop()
    assert age(server, 10, 40) == 11
    age(server, 1, -40 - days)
    server.start()
    server.ctl("set", "archive.retention", "30", "--accept")
    assert "messages deleted: 9" in str(server.ctl("archive", "expire"))
    assert len(Page(server.client("alice", "a")).bodies) == 2


def test_a_message_as_long_as_a_batch_is_removed(server, talk):
    """c2s.stanza-bytes may be 16 MiB, which is what one batch may hold: a change of such a message
    does not say its text again. Else it would stop retention, and the removal of its account."""
    long = ("(WITH RECURSIVE d(i, t) AS (SELECT 0, CAST('x' AS text) UNION ALL SELECT i + 1, t || t"
            " FROM d WHERE i < 24) SELECT replace(stanza, 'm{}', 'm{} ' || substr(t, 600)) FROM d"
            " WHERE i = 24)")
    server.stop()
    with server.database() as db:
        for i in 1, 8:
            db.execute(f"UPDATE message SET stanza = {long.format(i, i)} WHERE stanza LIKE ?",
                       (f"%>m{i}<%",))
        lengths = db.execute("SELECT max(length(stanza)), min(length(stanza)) FROM message"
                             " WHERE length(stanza) > 1000").fetchone()
        assert (2 << 23) - 600 < lengths[1] <= lengths[0] < 2 << 23
    age(server, 6, 40)
    server.start()
    server.ctl("set", "archive.retention", "30", "--accept")
    assert "messages deleted: 6" in str(server.ctl("archive", "expire"))
    assert count_rows(server, "entry") == 8
    server.ctl("user", "del", "bob@localhost")
    assert count_rows(server, "entry") == 4


def test_long_messages(server):
    """Many in a row, with more words than a batch can hold: they are found, they leave, and they
    expire."""
    for name, value in (("c2s.byte-rate", "none"), ("archive.fulltext", "off")):
        server.ctl("set", name, value)
    clients = [server.client(name, "a") for name in ("alice", "bob", "carol")]
    words = "x " * 16400
    for i in range(200):
        to = clients[1 + i % 2]
        chat(clients[0], to.bare, f"no{i} {words}")
        to.expect(f"<message><body>no{i} {words}</body></message>")
        to.inbox.clear()
    server.ctl("set", "archive.fulltext", "on")
    for i in (0, 199):
        until("it is found", lambda i=i: len(Page(clients[0], (WORDS, f"no{i}")).bodies) == 1)
    server.ctl("user", "del", "alice@localhost")
    assert Page(clients[1], (WORDS, "no198")).messages
    server.stop()
    age(server, 400, 40)
    server.start()
    server.ctl("set", "archive.retention", "30", "--accept")
    server.ctl("archive", "expire")
    assert (count_rows(server, "entry"), indexed(server, "x")) == (0, 0)


def test_a_client_that_asks_and_does_not_read(server, talk):
    """Queries wait for a client that acknowledges nothing; some are enough."""
    alice, _ = talk
    other = server.login("alice", "other")
    other.enable_sm(resume="false")
    other.auto_ack = False
    for i in range(60):
        other.send(f"<iq type='set' id='q{i}'>{query_text()}</iq>")
    other.expect_error("resource-constraint", "wait")
    other.auto_ack = True
    other.ack()
    other.expect("<iq type='result' id='q0'/>")
    assert Page(alice).bodies == ALL
