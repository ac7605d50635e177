"""Archives of rooms (XEP-0313 §5.1.2), what those who enter are sent of them (XEP-0045 §7.2.13),
and what becomes of messages while the database is away."""
import pytest

from harness import muc, xml
from harness.client import until
from harness.component import Component
from harness.database import held_by_another
from harness.muc import ROOM_ID_MIN, Room
from archive.test_mam import FORWARD, MAM, RSM, Page as OwnPage, query_text, tag

FULLTEXT = "{urn:xmpp:fulltext:0}fulltext"
SID = "urn:xmpp:sid:0"


class Page:
    """The result of a query to a room."""

    def __init__(self, client, room, *fields, **options):
        reply = client.iq("set", query_text(*fields, **options), to=room.jid)
        assert reply.get("type") == "result", xml.canonical(reply)
        fin = reply.find(tag(MAM, "fin"))
        wrapped = [e for e in client.inbox if e.find(tag(MAM, "result")) is not None]
        client.inbox = [e for e in client.inbox if e.find(tag(MAM, "result")) is None]
        assert all(e.get("from") == room.jid for e in wrapped)
        results = [e.find(tag(MAM, "result")) for e in wrapped]
        self.ids = [r.get("id") for r in results]
        self.messages = [r.find(f"{tag(FORWARD, 'forwarded')}/{tag(xml.CLIENT, 'message')}")
                         for r in results]
        self.bodies = [None if m is None else m.findtext(tag(xml.CLIENT, "body"))
                       for m in self.messages]
        self.stamps = [r.find(f"{tag(FORWARD, 'forwarded')}/{tag(xml.DELAY, 'delay')}").get("stamp")
                       for r in results]
        self.complete = fin.get("complete") == "true"
        found = fin.find(tag(RSM, "set"))
        self.first, self.last, self.count = (found.findtext(tag(RSM, name))
                                             for name in ("first", "last", "count"))


def jids(message):
    """The real addresses that a message tells."""
    return [i.get("jid") for i in message.iter(f"{{{muc.USER}}}item")]


def refused(client, room, *fields, **options):
    """(condition, type) of the error that a query brings."""
    reply = client.iq("set", query_text(*fields, **options), to=room.jid)
    assert reply.get("type") == "error", xml.canonical(reply)
    return xml.condition(reply), reply.find(f"{{{xml.CLIENT}}}error").get("type")


@pytest.fixture
def cave(alice):
    return Room("cave").create(alice, "first", persistentroom=True)


@pytest.fixture
def talk(cave, alice, bob):
    """Ten things that two have said, each heard by both."""
    cave.enter(bob, "second")
    for i in range(10):
        one, nick = (alice, "first") if i % 3 else (bob, "second")
        cave.say(one, f"m{i}")
        cave.expect_body(bob, nick, f"m{i}")
        cave.expect_body(alice, nick, f"m{i}")
    return cave


ALL = [f"m{i}" for i in range(10)]


# --- pages and filters ---


def test_all_that_was_said_is_there_once(talk, bob):
    page = Page(bob, talk)
    assert page.bodies == ALL and page.complete
    assert len(set(page.ids)) == 10
    assert (page.first, page.last, page.count) == (page.ids[0], page.ids[-1], "10")
    for i, message in enumerate(page.messages):
        assert message.get("to") is None and message.get("type") == "groupchat"
        assert message.get("from") == talk.at("first" if i % 3 else "second")
        assert message.find(f"{{{muc.OCCUPANT_ID}}}occupant-id") is not None


def test_live_messages_name_the_ids_of_the_archive(cave, alice):
    cave.say(alice, "hail")
    heard = cave.expect_body(alice, "first", "hail")
    ids = [e.get("id") for e in heard.findall(f"{{{SID}}}stanza-id") if e.get("by") == cave.jid]
    assert ids == Page(alice, cave).ids


def test_pages_in_both_directions(talk, bob):
    pages, after = [], ""
    for _ in range(4):
        page = Page(bob, talk, page=f"<max>3</max>{after}")
        pages.append(page.bodies)
        after = f"<after>{page.last}</after>"
    assert pages == [ALL[:3], ALL[3:6], ALL[6:9], ALL[9:]] and page.complete
    pages, before = [], "<before/>"
    for _ in range(4):
        page = Page(bob, talk, page=f"<max>3</max>{before}")
        pages.append(page.bodies)
        before = f"<before>{page.first}</before>"
    assert pages == [ALL[7:], ALL[4:7], ALL[1:4], ALL[:1]] and page.complete
    flipped = Page(bob, talk, page="<max>3</max><before/>", flip=True)
    assert flipped.bodies == ALL[:6:-1] and flipped.first == flipped.ids[-1]
    counted = Page(bob, talk, page="<max>0</max>")
    assert counted.bodies == [] and counted.count == "10"


def test_filters(talk, alice, bob):
    everything = Page(bob, talk)
    ids, stamps = everything.ids, everything.stamps
    assert Page(bob, talk, ("start", stamps[4])).bodies == ALL[4:]
    assert Page(bob, talk, ("end", stamps[4])).bodies == ALL[:5]
    assert Page(bob, talk, ("after-id", ids[2]), ("before-id", ids[5])).bodies == ALL[3:5]
    assert Page(bob, talk, ("ids", ids[7], ids[2])).bodies == [ALL[2], ALL[7]]
    by_bob = [m for i, m in enumerate(ALL) if i % 3 == 0]
    assert Page(alice, talk, ("with", "bob@localhost")).bodies == by_bob
    assert Page(alice, talk, ("with", bob.jid)).bodies == by_bob
    assert Page(alice, talk, ("with", "bob@localhost/elsewhere")).bodies == []
    assert Page(alice, talk, ("with", talk.at("second"))).bodies == by_bob
    assert Page(alice, talk, ("with", talk.at("nobody"))).bodies == []
    assert Page(alice, talk, ("with", talk.jid)).bodies == ALL
    assert Page(bob, talk, ("with", "bob@localhost"), page="<max>0</max>").count == "4"


def test_words_are_found(cave, alice):
    for text in ("double double", "toil and trouble", "fire burn", "trouble again"):
        cave.say(alice, text)
        cave.expect_body(alice, "first", text)
    assert Page(alice, cave, (FULLTEXT, "trouble")).bodies == ["toil and trouble", "trouble again"]
    assert Page(alice, cave, (FULLTEXT, "trouble"), page="<max>1</max><before/>").bodies == [
        "trouble again"]
    assert Page(alice, cave, (FULLTEXT, "trouble"), ("with", "alice@localhost")).bodies == [
        "toil and trouble", "trouble again"]
    assert Page(alice, cave, (FULLTEXT, "trouble"), ("with", "bob@localhost")).bodies == []
    assert refused(alice, cave, (FULLTEXT, "?!")) == ("bad-request", "modify")


def test_words_of_a_room_are_not_found_by_others(talk, alice, cave):
    other = Room("heath").create(alice, "first", persistentroom=True)
    other.say(alice, "m3")
    other.expect_body(alice, "first", "m3")
    assert len(Page(alice, talk, (FULLTEXT, "m3")).ids) == 1
    own = alice.result("set", query_text((FULLTEXT, "m3")))
    assert own.find(tag(RSM, "set")).findtext(tag(RSM, "first")) is None


def test_metadata_and_form(talk, bob):
    ends = bob.result("get", f"<metadata xmlns='{MAM}'/>", to=talk.jid)
    page = Page(bob, talk)
    assert [e.get("id") for e in ends] == [page.ids[0], page.ids[-1]]
    fields = {f.get("var") for f in bob.result("get", f"<query xmlns='{MAM}'/>", to=talk.jid)
              .iter("{jabber:x:data}field")}
    assert {"with", "start", "end", "before-id", "after-id", "ids"} < fields
    _, features, _ = muc.disco_info(bob, talk.jid)
    assert {MAM, MAM + "#extended", "urn:xmpp:fulltext:0"} <= features


@pytest.mark.parametrize("fields, options, error", [
    ([("after-id", "5")], {}, ("item-not-found", "cancel")),
    ([("ids", "nonsense")], {}, ("item-not-found", "cancel")),
    ([("start", "yesterday")], {}, ("bad-request", "modify")),
    ([("colour", "red")], {}, ("feature-not-implemented", "cancel")),
    ([], {"page": "<max>x</max>"}, ("bad-request", "modify")),
    ([], {"page": "<index>3</index>"}, ("feature-not-implemented", "cancel")),
])
def test_bad_queries(cave, alice, fields, options, error):
    assert refused(alice, cave, *fields, **options) == error


@muc.owners_may("history")
def test_the_maximum_of_the_room_holds(cave, alice):
    cave.configure(alice, defaulthistorymessages=2, **{"muc#maxhistoryfetch": 4})
    for text in ALL:
        cave.say(alice, text)
        cave.expect_body(alice, "first", text)
    page = Page(alice, cave, page="<max>50</max>")
    assert page.bodies == ALL[:4] and not page.complete


def test_large_messages_make_short_pages(cave, alice):
    """The size of a page is limited; the client goes on with the next, in either direction."""
    texts = [str(i) * 60000 for i in range(8)]
    for i, text in enumerate(texts):
        cave.say(alice, text)
        cave.expect_body(alice, "first", texts[i])
    seen, after = [], ""
    while True:
        page = Page(alice, cave, page=f"<max>50</max>{after}")
        assert len(page.bodies) <= 4
        seen += page.bodies
        if page.complete:
            break
        after = f"<after>{page.last}</after>"
    assert seen == texts
    seen, before = [], "<before/>"
    while True:
        page = Page(alice, cave, page=f"<max>50</max>{before}")
        seen = page.bodies + seen
        if page.complete:
            break
        before = f"<before>{page.first}</before>"
    assert seen == texts


def test_what_nobody_was_sent_is_not_there(talk, bob, alice):
    talk.send(bob, "<composing xmlns='http://jabber.org/protocol/chatstates'/>")
    talk.send(bob, "<body>passing</body><no-store xmlns='urn:xmpp:hints'/>")
    talk.expect_body(alice, "second", "passing")
    talk.whisper(bob, "first", "psst")
    alice.expect("<message type='chat'><body>psst</body></message>")
    talk.set_subject(alice, "Brewing")
    talk.expect_subject(bob, "first", "Brewing")
    page = Page(bob, talk)
    assert page.bodies == [*ALL, None]
    assert page.messages[-1].findtext(f"{{{xml.CLIENT}}}subject") == "Brewing"


def test_forged_names_are_not_archived(cave, alice):
    cave.send(alice, "<body>x</body><x xmlns='http://jabber.org/protocol/muc#user'>"
              "<item jid='bob@localhost'/></x>")
    cave.expect_body(alice, "first", "x")
    assert [jids(m) for m in Page(alice, cave).messages] == [[alice.jid]]


def test_what_an_archive_tells_is_not_archived_again(server, talk, bob):
    assert Page(bob, talk).bodies == ALL
    own = bob.result("set", query_text())
    assert own.find(tag(RSM, "set")).findtext(tag(RSM, "first")) is None
    assert rows(server, "SELECT count(*) FROM message WHERE stanza LIKE '%<result%'") == [(0,)]


# --- who may read ---


@muc.owners_may("anonymous")
def test_real_addresses_are_for_those_who_may_know_them(alice, bob, carol):
    cave = Room("cave").create(alice, "first", persistentroom=True, whois="moderators")
    cave.enter(bob, "second")
    cave.say(bob, "who am I")
    cave.expect_body(alice, "second", "who am I")
    assert [jids(m) for m in Page(alice, cave).messages] == [[bob.jid]]
    for reader in (bob, carol):
        assert [jids(m) for m in Page(reader, cave).messages] == [[]]
        assert "bob" not in "".join(xml.canonical(m) for m in Page(reader, cave).messages)
        assert refused(reader, cave, ("with", "bob@localhost")) == ("forbidden", "auth")
    assert Page(carol, cave, ("with", cave.at("second"))).bodies == ["who am I"]
    cave.configure(alice, whois="anyone")
    assert [jids(m) for m in Page(carol, cave).messages] == [[bob.jid]]


def test_outcasts_read_nothing(talk, alice, bob, carol):
    assert Page(carol, talk).bodies == ALL
    talk.set_affiliation(alice, "carol@localhost", "outcast")
    assert refused(carol, talk) == ("forbidden", "auth")
    for kind, inner in (("get", f"<query xmlns='{MAM}'/>"), ("get", f"<metadata xmlns='{MAM}'/>")):
        assert xml.condition(carol.iq(kind, inner, to=talk.jid)) == "forbidden"


@pytest.mark.parametrize("closed", [{"membersonly": True},
                                    {"passwordprotectedroom": True, "roomsecret": "x"}])
def test_closed_rooms_are_read_by_members_and_occupants(talk, alice, bob, carol, closed):
    talk.configure(alice, **closed)
    assert refused(carol, talk) == ("forbidden", "auth")
    talk.set_affiliation(alice, "carol@localhost", "member")
    assert Page(carol, talk).bodies == ALL


def test_a_room_without_archive_says_so(alice):
    cave = Room("cave").create(alice, "first")
    assert refused(alice, cave) == ("service-unavailable", "cancel")
    assert refused(alice, Room("nowhere")) == ("item-not-found", "cancel")
    _, features, _ = muc.disco_info(alice, cave.jid)
    assert MAM not in features


def test_who_is_elsewhere_reads_too(make_server):
    """A page goes to any address; here that of a component's bot."""
    domain, secret = "bots.example.test", "a rather long secret"
    server = make_server("alice", component=True)
    server.ctl("component", "add", domain, "--secret", secret)
    alice, bots = server.client("alice", "a"), Component(server, domain, secret)
    cave = Room("cave").create(alice, "first", persistentroom=True)
    said(cave, alice, "first", ["m0", "m1"])
    bots.send(f"<iq type='set' id='q' from='bot@{domain}/r' to='{cave}'>"
              f"{query_text(queryid='x')}</iq>")
    for text in ("m0", "m1"):
        bots.expect(f"<message from='{cave}' to='bot@{domain}/r'><result xmlns='{MAM}' queryid='x'>"
                    f"<forwarded xmlns='{FORWARD}'><message xmlns='{xml.CLIENT}'>"
                    f"<body>{text}</body></message></forwarded></result></message>")
    bots.expect(f"<iq type='result' id='q'><fin xmlns='{MAM}' complete='true'/></iq>")


def test_each_query_at_once_has_an_answer(talk, alice):
    """So many of one address are under way; the others are told to wait."""
    alice.raw("".join(f"<iq type='set' id='at-once-{i}' to='{talk}'>{query_text()}</iq>"
                      for i in range(20)))
    replies = [alice.expect(f"<iq id='at-once-{i}'/>") for i in range(20)]
    errors = [e for e in replies if e.get("type") == "error"]
    assert 4 <= 20 - len(errors) < 20
    assert {xml.condition(e) for e in errors} == {"resource-constraint"}
    alice.inbox.clear()
    assert Page(alice, talk).bodies == ALL


# --- history ---


def test_history_of_a_room_that_is_loaded_again(server, talk, carol):
    before = Page(carol, talk)
    server.restart()
    carol = server.client("carol", "c")
    got = talk.enter(carol, "third")
    assert got.bodies == ALL
    for i, message in enumerate(got.history):
        assert message.find(f"{{{xml.DELAY}}}delay").get("stamp") == before.stamps[i]
        assert message.find(f"{{{xml.DELAY}}}delay").get("from") == talk.jid
        assert message.find(f"{{{SID}}}stanza-id").get("id") == before.ids[i]
        assert message.get("from") == talk.at("first" if i % 3 else "second")
        assert message.get("to") == carol.jid


@pytest.mark.parametrize("loaded", [True, False])
def test_history_as_it_is_asked_for(server, talk, carol, loaded):
    if not loaded:
        server.restart()
        carol = server.client("carol", "c")
    stamp = Page(carol, talk).stamps[6]

    def asked(**history):
        got = talk.enter(carol, "third", history=history)
        talk.leave(carol, "third")
        return got.bodies

    assert asked(maxstanzas=3) == ALL[7:]
    assert asked(maxstanzas=0) == []
    assert asked(maxchars=0) == []
    one = asked(maxstanzas=1)
    assert asked(maxchars=2000)[-1:] == one and len(asked(maxchars=2000)) < 10
    assert asked(since=stamp) == ALL[6:]
    assert asked(since="2100-01-01T00:00:00Z") == []
    assert asked(seconds=3600) == ALL
    assert asked(seconds=3600, maxstanzas=2) == ALL[8:]
    assert asked(maxstanzas="many") == ALL


# --- the database is away ---


def waiting(server):
    return next(int(r["value"]) for r in server.rows("metrics")
                if r["name"] == "muster_muc_recording_waiting")


def alarms(server):
    return {row["name"] for row in server.rows("alarm", "list") if row.get("active", True)}


def said(room, client, nick, texts):
    """Says them, and waits until the room has relayed each."""
    for text in texts:
        room.say(client, text)
        room.expect_body(client, nick, text)


def test_messages_wait_for_the_database(server, cave, alice):
    """Relayed at once, kept in order, stored once when it is back."""
    alice.enable_sm()
    said(cave, alice, "first", ["before"])
    alice.wait_acked(1)  # it is stored
    with held_by_another(server):
        said(cave, alice, "first", ["m0", "m1"])  # these are with the store when it gives up
        until("what was said to wait", lambda: waiting(server) == 2)
        said(cave, alice, "first", ["m2", "m3"])
        assert waiting(server) == 4
        assert "muc.recording" in alarms(server)
        alice.request_ack()
        alice.ping()
        assert alice.acked == 1  # "before": acknowledged means durable
    until("all stored", lambda: waiting(server) == 0)
    assert "muc.recording" not in alarms(server)
    alice.wait_acked(5)
    said(cave, alice, "first", ["after"])
    texts = ["before", "m0", "m1", "m2", "m3", "after"]
    assert Page(alice, cave).bodies == texts
    server.restart()
    alice = server.client("alice", "a")
    assert Page(alice, cave).bodies == texts


def test_a_full_queue_refuses(server, cave, alice):
    server.ctl("set", "muc.recording-queue", "3")
    with held_by_another(server):
        said(cave, alice, "first", ["m0"])
        until("what was said to wait", lambda: waiting(server) == 1)
        said(cave, alice, "first", ["m1", "m2"])
        ident = cave.say(alice, "m3")
        assert cave.message_error(alice, ident) == ("resource-constraint", "wait")
        cave.send(alice, "<body>x</body><no-store xmlns='urn:xmpp:hints'/>")  # nobody keeps it
        cave.expect_body(alice, "first", "x")
    until("all stored", lambda: waiting(server) == 0)
    said(cave, alice, "first", ["m4"])
    assert Page(alice, cave).bodies == ["m0", "m1", "m2", "m4"]


def test_what_all_have_read_is_recorded_though_the_queue_is_full(server, cave, alice):
    """It was under way to the database when that went away."""
    server.ctl("set", "muc.recording-queue", "3")
    texts = [f"m{i}" for i in range(8)]
    with held_by_another(server):
        said(cave, alice, "first", texts)
        until("what was said to wait", lambda: waiting(server) == len(texts))
    until("all stored", lambda: waiting(server) == 0)
    assert Page(alice, cave).bodies == texts


def test_a_page_of_very_long_messages(make_server):
    """They are more than one read may return."""
    server = make_server("alice", "bob", settings={"c2s.stanza-bytes": 3 << 20,
                                                   "c2s.byte-rate": "none"}, why="long messages")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    room = Room("cave").create(alice, "first", persistentroom=True, enablearchiving=True)
    words = "x" * (5 << 19)
    for _ in range(14):
        alice.send(f"<message to='{bob.bare}' type='chat'><body>{words}</body></message>")
        bob.expect(f"<message><body>{words}</body></message>")
        room.say(alice, words)
        alice.expect(f"<message type='groupchat'><body>{words}</body></message>")
    bob.inbox.clear()
    assert len(OwnPage(bob, page="<max>16</max>").bodies) == 14
    assert len(Page(alice, room, page="<max>16</max>").bodies) >= 1


# --- who enters and leaves ---


def test_who_enters_and_leaves_is_on_record(make_server):
    """For operators; clients are told nothing of it."""
    server = make_server("alice", "bob", settings={"muc.archive-joins": True})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = Room("cave").create(alice, "first", persistentroom=True)
    cave.enter(bob, "second")
    said(cave, alice, "first", ["hail"])
    cave.leave(bob, "second")
    page = Page(bob, cave)
    assert page.bodies == ["hail"] and page.count == "1"
    texts = [text for (text,) in rows(
        server, f"SELECT stanza FROM message WHERE rcpt >= {ROOM_ID_MIN}"
                " AND remote = 'bob@localhost' ORDER BY rcpt_entry")]
    assert len(texts) == 2
    assert all(text.startswith(f"<presence from='{cave.at('second')}' to='{bob.jid}'")
               for text in texts)
    assert ["type='unavailable'" in text for text in texts] == [False, True]
    bob.inbox.clear()
    assert cave.enter(bob, "second").bodies == ["hail"]
    server.restart()
    bob = server.client("bob", "c")
    assert cave.enter(bob, "second").bodies == ["hail"]
    alice = server.client("alice", "a")
    cave.enter(alice, "first")
    assert cave.destroy(alice).get("type") == "result"
    until("the end of its archive", lambda: rows(
        server, f"SELECT count(*) FROM message WHERE rcpt >= {ROOM_ID_MIN}") == [(0,)])


# --- retention, the end of a room ---


def rows(server, sql):
    with server.database(read_only=True) as db:
        return db.execute(sql).fetchall()


def test_a_destroyed_room_leaves_nothing(server, talk, alice, bob):
    talk.say(alice, "xyzzy")
    talk.expect_body(alice, "first", "xyzzy")
    assert len(Page(alice, talk, (FULLTEXT, "xyzzy")).ids) == 1
    assert talk.destroy(alice).get("type") == "result"
    until("the end of its archive", lambda: rows(
        server, "SELECT count(*) FROM message WHERE stanza LIKE '%cave@%'") == [(0,)])
    until("the end of its end", lambda: rows(server, "SELECT count(*) FROM muc_doomed") == [(0,)])
    assert rows(server, f"SELECT count(*) FROM entry WHERE owner >= {ROOM_ID_MIN}") == [(0,)]
    assert server.indexed("xyzzy") == 0
    alice.inbox.clear()
    cave = Room("cave").create(alice, "first", persistentroom=True)
    assert Page(alice, cave).bodies == []


def test_retention_holds_for_rooms(server, talk, alice):
    server.ctl("set", "archive.retention", "1", "--accept")
    server.stop()
    day = 2 * 86400 * 1000000
    with server.database() as db:
        db.execute(f"UPDATE message SET at_us = at_us - ? WHERE rcpt >= {ROOM_ID_MIN}"
                   " AND stanza NOT LIKE '%>m9<%'", (day,))
    server.start()
    alice = server.client("alice", "a")
    server.ctl("archive", "expire")
    assert Page(alice, talk).bodies == ["m9"]
    talk.enter(alice, "first")
    said(talk, alice, "first", ["m10"])
    assert Page(alice, talk).bodies == ["m9", "m10"]


def test_a_room_that_gives_out_nothing(server, cave, alice):
    """A client does not ask for one empty page after the other."""
    cave.say(alice, "one")
    cave.expect_body(alice, "first", "one")
    server.ctl("set", "muc.new-history", "0")
    server.ctl("set", "muc.history-max", "0")
    assert alice.error("set", f"<query xmlns='{MAM}'/>", to=cave.jid) == ("not-allowed", "cancel")
