"""What is acknowledged is on disk: every write takes WRITE_MS, an operation is done, the process is
killed at the moment of its acknowledgement, is started again, and is asked for the result.

The rows are those of `musterd --dump-docs promises`: a kind of stanza or a request without an
operation here is a failure, and so is an operation of a row that is no more."""
import http.client
import subprocess

import pytest

from harness import database, muc, pubsub, xml
from harness.client import until
from harness.muc import Room, submit
from harness.registration import change
from harness.server import MUSTERD

WRITE_MS = 150
MAM = "urn:xmpp:mam:2"
OFFLINE = "http://jabber.org/protocol/offline"
IDLE = "keeps nothing: it is gone with its session"
READS = "changes nothing"
WITHOUT = {  # rows that promise nothing of a disk
    "iq set {urn:xmpp:carbons:2}enable to server self account": IDLE,
    "iq set {urn:xmpp:carbons:2}disable to server self account": IDLE,
    "iq set {urn:xmpp:invisible:0}invisible to self": IDLE,
    "iq set {urn:xmpp:invisible:0}visible to self": IDLE,
    "iq set {urn:xmpp:sift:1}sift to self": IDLE,
    "iq set {urn:muster:watch:0}watch to account": IDLE,
    "iq set {http://jabber.org/protocol/bytestreams}query to host": IDLE,
    "iq set {urn:ietf:params:xml:ns:xmpp-session}session to server self": READS,
    "iq set {urn:xmpp:mam:2}query to self account": READS,
    "iq set {urn:xmpp:mam:2}query to room": READS,
    "iq set {jabber:iq:search}query to host": READS,
}
SETTINGS = {"admin.accounts": "alice@localhost", "presence.approval": "ask"}
OPERATIONS = {}


def operation(*rows):
    """A generator: prepares, yields, does it and waits for the acknowledgement, yields, looks after
    the restart. It gets a Bench."""
    def add(function):
        OPERATIONS[function.__name__] = (function, rows)
        return function
    return add


class Bench:
    """A server, and clients by name, with stream management."""

    def __init__(self, server):
        self.server = server

    def up(self, name, **options):
        client = self.server.client(name, name[0], **options)
        client.enable_sm()
        return client

    def room(self, client, **fields):
        return Room("cave").create(client, client.name, persistentroom=True, **fields)


def say(client, text, *, acked=1):
    """Sends a stanza, the first since stream management began, and waits until it is covered."""
    if not client.sm_on:
        client.enable_sm()
    client.send(text)
    client.wait_acked(acked)


def chat(to, body, ident="m1", inner=""):
    return f"<message to='{to}' type='chat' id='{ident}'><body>{body}</body>{inner}</message>"


def archived(client, to=None):
    """The bodies in an archive."""
    client.result("set", f"<query xmlns='{MAM}'/>", to=to)
    texts = [e.findtext(f".//{{{xml.CLIENT}}}body") for e in client.inbox
             if e.find(f"{{{MAM}}}result") is not None]
    client.inbox.clear()
    return texts


def has(element, text):
    return element is not None and text in xml.canonical(element)


# --- messages ---


@operation("message, kept")
def message_to_an_absent_user(bench):
    alice = bench.up("alice")
    yield
    say(alice, chat("bob@localhost", "hi"))
    yield
    bench.up("bob").expect("<message><body>hi</body></message>")
    assert archived(bench.up("alice")) == ["hi"]


@operation("message, kept")
def message_to_several(bench):
    alice = bench.up("alice")
    yield
    say(alice, "<message to='localhost' id='m1'><body>hi</body>"
        "<addresses xmlns='http://jabber.org/protocol/address'>"
        "<address type='to' jid='bob@localhost'/><address type='to' jid='carol@localhost'/>"
        "</addresses></message>")
    yield
    for name in ("bob", "carol"):
        bench.up(name).expect("<message><body>hi</body></message>")


@operation("message, kept")
def retraction(bench):
    alice = bench.up("alice")
    say(alice, chat("bob@localhost", "secret"))
    yield
    say(alice, "<message to='bob@localhost' type='chat' id='m2'><body>-</body>"
        "<retract xmlns='urn:xmpp:message-retract:1' id='m1'/></message>", acked=2)
    yield
    assert archived(bench.up("alice")) == [None, "-"]


@operation("message, kept")
def retraction_to_nobody_of_ours(bench):
    alice = bench.up("alice")
    say(alice, chat("nobody@localhost", "secret"))
    yield
    say(alice, "<message to='nobody@localhost' type='chat' id='m2'><body>-</body>"
        "<retract xmlns='urn:xmpp:message-retract:1' id='m1'/></message>", acked=2)
    yield
    assert "secret" not in archived(bench.up("alice"))


@operation("message, kept")
def direct_invitation(bench):
    alice = bench.up("alice")
    yield
    say(alice, "<message to='bob@localhost' id='m1'>"
        "<x xmlns='jabber:x:conference' jid='cave@conference.localhost'/></message>")
    yield
    bench.up("bob").expect("<message><x xmlns='jabber:x:conference'/></message>")


@operation("message, to a room")
def message_to_a_room(bench):
    alice = bench.server.client("alice", "a")
    room = bench.room(alice, enablelogging=True)
    yield
    alice.enable_sm()
    say(alice, f"<message to='{room}' type='groupchat' id='m1'><body>hi</body></message>")
    yield
    alice = bench.up("alice")
    assert Room("cave").enter(alice, "again").bodies == ["hi"]


def set_subject(bench, **config):
    alice = bench.server.client("alice", "a")
    room = bench.room(alice, **config)
    yield
    alice.enable_sm()
    say(alice, f"<message to='{room}' type='groupchat' id='m1'><subject>new</subject></message>")
    yield
    entered = Room("cave").enter(bench.up("alice"), "again")
    assert entered.subject.findtext(f"{{{xml.CLIENT}}}subject") == "new"


@operation("message, to a room")
def subject(bench):
    return set_subject(bench, enablelogging=True)


@operation("message, to a room")
def subject_of_a_room_without_archive(bench):
    return set_subject(bench, enablelogging=False)


@operation("message, kept")
def private_message_of_a_room(bench):
    alice, bob = bench.server.client("alice", "a"), bench.server.client("bob", "b")
    room = bench.room(alice)
    room.enter(bob, "bob")
    bob.auto_ack = False
    bob.enable_sm()
    yield
    alice.enable_sm()
    say(alice, f"<message to='{room}/bob' type='chat' id='m1'><body>psst</body>"
        f"<x xmlns='{muc.USER}'/></message>")
    yield
    bench.up("bob").expect("<message><body>psst</body></message>")


@operation("message, kept")
def invitation_through_a_room(bench):
    alice = bench.server.client("alice", "a")
    room = bench.room(alice)
    yield
    alice.enable_sm()
    say(alice, f"<message to='{room}' id='m1'><x xmlns='{muc.USER}'><invite to='bob@localhost'>"
        "<reason>come</reason></invite></x></message>")
    yield
    bench.up("bob").expect(lambda e: has(e, "come"))


# --- subscriptions ---


def roster(client):
    found = client.result("get", "<query xmlns='jabber:iq:roster'/>")
    return {i.get("jid"): (i.get("subscription"), i.get("ask")) for i in found}


@operation("presence, subscription")
def subscribe(bench):
    alice = bench.up("alice")
    yield
    say(alice, "<presence to='bob@localhost' type='subscribe'/>")
    yield
    assert roster(bench.up("alice"))["bob@localhost"] == ("none", "subscribe")
    bench.up("bob").expect("<presence from='alice@localhost' type='subscribe'/>")


@operation("presence, subscription")
def subscribed(bench):
    alice, bob = bench.up("alice"), bench.up("bob")
    say(alice, "<presence to='bob@localhost' type='subscribe'/>")
    bob.expect("<presence type='subscribe'/>")
    yield
    say(bob, "<presence to='alice@localhost' type='subscribed'/>")
    yield
    alice, bob = bench.up("alice"), bench.up("bob")
    until("both sides", lambda: roster(alice).get("bob@localhost", ("",))[0] == "to")
    assert roster(bob)["alice@localhost"][0] == "from"


@operation("presence, subscription")
def unsubscribed(bench):
    bench.server.befriend("alice", "bob")
    bob = bench.up("bob")
    yield
    say(bob, "<presence to='alice@localhost' type='unsubscribed'/>")
    yield
    alice, bob = bench.up("alice"), bench.up("bob")
    until("both sides", lambda: roster(alice)["bob@localhost"][0] == "from")
    assert roster(bob)["alice@localhost"][0] == "to"


# --- requests: set, then get ---


def set_and_get(name, row, change, ask, wanted, *, to=None, before=None, gone=None):
    """An operation that changes something by one request and asks for it by another. `before`
    prepares; `gone`: what must not be there."""
    def run(bench):
        alice = bench.server.client("alice", "a")
        if before is not None:
            before(bench, alice)
        yield
        alice.result("set", change, to=to)
        yield
        found = bench.up("alice").iq("get", ask, to=to)
        assert wanted is None or has(found, wanted)
        assert gone is None or not has(found, gone)
    OPERATIONS[name] = (run, ("iq set", f"iq set {row}"))


PUBSUB, OWNER = "http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/pubsub#owner"
SERVICE, ROOM = "pubsub.localhost", "cave@conference.localhost"
PUBLISH = f"<publish node='n'><item id='i'>{pubsub.entry('V77')}</item></publish>"
ITEMS = pubsub.pubsub("<items node='n'/>")
ROW_HOST, ROW_HOST_OWNER = f"{{{PUBSUB}}}pubsub to host", f"{{{OWNER}}}pubsub to host"
ROW_PEP, ROW_PEP_OWNER = (f"{{{PUBSUB}}}pubsub to self account",
                          f"{{{OWNER}}}pubsub to self account")


def before(change, to=None):
    return lambda bench, alice: alice.result("set", change, to=to)


def with_item(bench, alice):
    alice.result("set", pubsub.pubsub("<create node='n'/>"), to=SERVICE)
    alice.result("set", pubsub.pubsub(PUBLISH), to=SERVICE)


def with_room(bench, alice):
    bench.room(alice, enablelogging=True)


set_and_get("roster_item", "{jabber:iq:roster}query to self account",
            "<query xmlns='jabber:iq:roster'><item jid='k@localhost' name='N77'/></query>",
            "<query xmlns='jabber:iq:roster'/>", "N77")
set_and_get("pep_publish", ROW_PEP, pubsub.pubsub(PUBLISH), ITEMS, "V77")
set_and_get("pep_retract", ROW_PEP, pubsub.pubsub("<retract node='n'><item id='i'/></retract>"),
            ITEMS, None, gone="V77", before=before(pubsub.pubsub(PUBLISH)))
set_and_get("pep_delete", ROW_PEP_OWNER, pubsub.pubsub("<delete node='n'/>", OWNER), ITEMS,
            "item-not-found", before=before(pubsub.pubsub(PUBLISH)))
set_and_get("pep_bookmark", ROW_PEP, pubsub.pubsub(
    "<publish node='urn:xmpp:bookmarks:1'><item id='cave@conference.localhost'>"
    "<conference xmlns='urn:xmpp:bookmarks:1' name='N77'/></item></publish>"),
    pubsub.pubsub("<items node='urn:xmpp:bookmarks:1'/>"), "N77")
set_and_get("pubsub_create", ROW_HOST, pubsub.pubsub("<create node='n77'/>"),
            f"<query xmlns='{xml.DISCO_ITEMS}'/>", "n77", to=SERVICE)
CREATE = pubsub.pubsub("<create node='n'/>")
set_and_get("pubsub_publish", ROW_HOST, pubsub.pubsub(PUBLISH), ITEMS, "V77", to=SERVICE,
            before=before(CREATE, SERVICE))
set_and_get("pubsub_subscribe", ROW_HOST,
            pubsub.pubsub("<subscribe node='n' jid='alice@localhost'/>"),
            pubsub.pubsub("<subscriptions/>"), "node='n'", to=SERVICE,
            before=before(CREATE, SERVICE))
set_and_get("pubsub_affiliation", ROW_HOST_OWNER, pubsub.pubsub(
    "<affiliations node='n'><affiliation jid='bob@localhost' affiliation='publisher'/>"
    "</affiliations>", OWNER), pubsub.pubsub("<affiliations node='n'/>", OWNER), "bob@localhost",
    to=SERVICE, before=before(CREATE, SERVICE))
set_and_get("pubsub_configure", ROW_HOST_OWNER, pubsub.pubsub(
    f"<configure node='n'>{pubsub.form('node_config', title='T77')}</configure>", OWNER),
    pubsub.pubsub("<configure node='n'/>", OWNER), "T77", to=SERVICE,
    before=before(CREATE, SERVICE))
set_and_get("pubsub_purge", ROW_HOST_OWNER, pubsub.pubsub("<purge node='n'/>", OWNER), ITEMS, None,
            gone="V77", to=SERVICE, before=with_item)
set_and_get("private_xml", "{jabber:iq:private}query to server self account",
            "<query xmlns='jabber:iq:private'><n xmlns='u:p'>P77</n></query>",
            "<query xmlns='jabber:iq:private'><n xmlns='u:p'/></query>", "P77")
set_and_get("old_bookmarks", "{jabber:iq:private}query to server self account",
            "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>"
            "<conference jid='cave@conference.localhost' name='N77'/></storage></query>",
            "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>", "N77")
set_and_get("vcard", "{vcard-temp}vCard to server self account",
            "<vCard xmlns='vcard-temp'><FN>F77</FN></vCard>", "<vCard xmlns='vcard-temp'/>", "F77")
set_and_get("vcard4", "{urn:ietf:params:xml:ns:vcard-4.0}vcard to server self account",
            "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'><fn><text>F77</text></fn></vcard>",
            "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'/>", "F77")
set_and_get("archive_preferences", "{urn:xmpp:mam:2}prefs to self account",
            "<prefs xmlns='urn:xmpp:mam:2' default='never'><always><jid>z77@localhost</jid>"
            "</always><never/></prefs>", "<prefs xmlns='urn:xmpp:mam:2'/>", "z77")
BLOCK = "<block xmlns='urn:xmpp:blocking'><item jid='bad77@localhost'/></block>"
BLOCKED = "<blocklist xmlns='urn:xmpp:blocking'/>"
set_and_get("block", "{urn:xmpp:blocking}block to self", BLOCK, BLOCKED, "bad77")
set_and_get("unblock", "{urn:xmpp:blocking}unblock to self",
            BLOCK.replace("block ", "unblock ").replace("/block>", "/unblock>"), BLOCKED, None,
            gone="bad77", before=before(BLOCK))
set_and_get("privacy_list", "{jabber:iq:privacy}query to self",
            "<query xmlns='jabber:iq:privacy'><list name='L77'>"
            "<item type='jid' value='x@y' action='deny' order='1'/></list></query>",
            "<query xmlns='jabber:iq:privacy'/>", "L77")
set_and_get("policy", "{urn:muster:policy:0}policy to self",
            "<policy xmlns='urn:muster:policy:0'><rule jid='p77@localhost' action='ask'/></policy>",
            "<policy xmlns='urn:muster:policy:0'/>", "p77")
set_and_get("room_configuration", f"{{{muc.OWNER}}}query to room",
            f"<query xmlns='{muc.OWNER}'>"
            f"{submit(muc.CONFIG, {'roomname': 'RN77'}, 'muc#roomconfig_')}</query>",
            f"<query xmlns='{muc.OWNER}'/>", "RN77", to=ROOM, before=with_room)
set_and_get("room_affiliation", f"{{{muc.ADMIN}}}query to room",
            f"<query xmlns='{muc.ADMIN}'>{muc.item(affiliation='member', jid='m77@localhost')}"
            "</query>",
            f"<query xmlns='{muc.ADMIN}'>{muc.item(affiliation='member')}</query>", "m77", to=ROOM,
            before=with_room)
set_and_get("room_vcard", "{vcard-temp}vCard to room",
            "<vCard xmlns='vcard-temp'><FN>F77</FN></vCard>", "<vCard xmlns='vcard-temp'/>", "F77",
            to=ROOM, before=with_room)


@operation("iq set", "iq set {http://jabber.org/protocol/commands}command to room")
def hat(bench):
    alice, bob = bench.server.client("alice", "a"), bench.server.client("bob", "b")
    room = bench.room(alice)
    form = submit("urn:xmpp:hats:commands", {"hats#jid": bob.bare, "hats#uri": "urn:h77",
                                             "hats#title": "Hat"})
    yield
    alice.result("set", "<command xmlns='http://jabber.org/protocol/commands' "
                 f"node='urn:xmpp:hats:commands:assign' sessionid='s'>{form}</command>",
                 to=room.jid)
    yield
    seen = Room("cave").enter(bench.up("bob"), "bob").own
    assert has(seen.element, "urn:h77")


@operation("iq set", f"iq set {{{muc.OWNER}}}query to room")
def room_destroyed(bench):
    alice = bench.server.client("alice", "a")
    room = bench.room(alice)
    yield
    assert room.destroy(alice).get("type") == "result"
    yield
    info = bench.up("bob").iq("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=ROOM)
    assert info.get("type") == "error"


@operation("iq set", "iq set {jabber:iq:register}query to room")
def room_registration(bench):
    alice, bob = bench.server.client("alice", "a"), bench.server.client("bob", "b")
    room = bench.room(alice)
    room.set_affiliation(alice, bob.bare, "member")  # of others the owner decides
    room.enter(bob, "bob")
    yield
    room.register(bob, "Nick77")
    yield
    found = bench.up("bob").result("get", "<query xmlns='jabber:iq:register'/>", to=ROOM)
    assert found.find("{jabber:iq:register}registered") is not None


def asked_to_register(bench, *, here):
    alice, bob = bench.server.client("alice", "a"), bench.server.client("bob", "b")
    room = bench.room(alice)
    if here:
        alice.auto_ack = False
        alice.enable_sm()
    else:
        room.leave(alice, "alice")
        alice.close()
        bench.server.wait_log(r"event=session\.end jid=alice@")
    yield
    assert room.try_register(bob, "Nick77").get("type") == "result"
    yield
    bench.up("alice").expect(lambda e: has(e, "Nick77"))


@operation("iq set", "iq set {jabber:iq:register}query to room")
def room_registration_that_the_owner_decides(bench):
    return asked_to_register(bench, here=True)


@operation("iq set", "iq set {jabber:iq:register}query to room")
def room_registration_that_an_absent_owner_decides(bench):
    return asked_to_register(bench, here=False)


def moderation(request):
    def run(bench):
        alice = bench.server.client("alice", "a")
        room = bench.room(alice, enablelogging=True)
        room.say(alice, "bad")
        ident = room.expect_body(alice, "alice", "bad").find(
            f"{{{xml.SID}}}stanza-id").get("id")
        yield
        alice.result("set", request.format(ident), to=room.jid)
        yield
        assert "bad" not in Room("cave").enter(bench.up("alice"), "again").bodies
    return run


OPERATIONS["moderation"] = (moderation(
    "<moderate xmlns='urn:xmpp:message-moderate:1' id='{}'>"
    "<retract xmlns='urn:xmpp:message-retract:1'/></moderate>"),
    ("iq set", "iq set {urn:xmpp:message-moderate:1}moderate to room"))
OPERATIONS["old_moderation"] = (moderation(
    "<apply-to xmlns='urn:xmpp:fasten:0' id='{}'><moderate xmlns='urn:xmpp:message-moderate:0'>"
    "<retract xmlns='urn:xmpp:message-retract:0'/></moderate></apply-to>"),
    ("iq set", "iq set {urn:xmpp:fasten:0}apply-to to room"))


@operation("iq set", "iq set {http://jabber.org/protocol/offline}offline to self account")
def offline_messages_removed(bench):
    alice = bench.up("alice")
    say(alice, chat("bob@localhost", "old"))
    bob = bench.server.login("bob", "b")
    bob.result("get", f"<query xmlns='{xml.DISCO_INFO}' node='{OFFLINE}'/>")
    yield
    bob.result("set", f"<offline xmlns='{OFFLINE}'><purge/></offline>")
    yield
    bench.up("bob").expect_nothing("<message/>")


@operation("iq set", "iq set {jabber:iq:register}query to server self")
def password(bench):
    carol = bench.server.login("carol", "c")
    yield
    carol.result("set", change(carol, "another-77"), to="localhost")
    yield
    bench.up("carol", password="another-77")


PUSH = "<{0} xmlns='urn:xmpp:push:0' jid='push.localhost' node='N77'/>"


def registrations(bench):
    rows = bench.server.rows("push", "list", "alice@localhost")
    return [row["node"] for row in rows]


@operation("iq set", "iq set {urn:xmpp:push:0}enable to self")
def push_enabled(bench):
    alice = bench.server.client("alice", "a")
    yield
    alice.result("set", PUSH.format("enable"))
    yield
    assert registrations(bench) == ["N77"]


@operation("iq set", "iq set {urn:xmpp:push:0}disable to self")
def push_disabled(bench):
    alice = bench.server.client("alice", "a")
    alice.result("set", PUSH.format("enable"))
    yield
    alice.result("set", PUSH.format("disable"))
    yield
    assert registrations(bench) == []


@operation("iq set", "iq set {http://jabber.org/protocol/commands}command to server self")
def command_by_form(bench):
    alice = bench.server.client("alice", "a")
    node = "http://jabber.org/protocol/admin#add-user"
    form = submit("http://jabber.org/protocol/admin", {
        "accountjid": "new77@localhost", "password": "secret-77", "password-verify": "secret-77"})
    first = alice.result("set", f"<command xmlns='http://jabber.org/protocol/commands' "
                         f"node='{node}' action='execute'/>", to="localhost")
    yield
    done = alice.result("set", "<command xmlns='http://jabber.org/protocol/commands' "
                        f"node='{node}' sessionid='{first.get('sessionid')}'>{form}</command>",
                        to="localhost")
    assert done.get("status") == "completed"
    yield
    bench.up("new77", password="secret-77")


# --- what is not a stanza ---


@operation()
def user_added(bench):
    yield
    bench.server.add_user("new77")
    yield
    bench.up("new77")


@operation()
def announcement_to_all(bench):
    names = ["bob", "carol", *(f"user{i}" for i in range(20))]
    for name in names[2:]:
        bench.server.add_user(name)
    yield
    bench.server.ctl("announce", "hi77", "--all")
    yield
    for name in names:
        bench.up(name).expect("<message><body>hi77</body></message>")


@operation()
def user_deleted(bench):
    yield
    bench.server.ctl("user", "del", "bob@localhost")
    yield
    client = bench.server.connect("bob")
    assert client.authenticate() == "not-authorized"


@operation()
def setting(bench):
    yield
    bench.server.ctl("set", "sm.ack-every", "7")
    yield
    assert [r["value"] for r in bench.server.rows("get", "sm.ack-every")] == ["7"]


@operation()
def uploaded_file(bench):
    alice, port = bench.server.client("alice", "a"), bench.server.http_port
    bench.server.ctl("set", "http.base-url", f"http://127.0.0.1:{port}")
    slot = alice.result("get", "<request xmlns='urn:xmpp:http:upload:0' filename='f' size='5000'/>",
                        to="upload.localhost")
    put, get = (slot.find(f"{{urn:xmpp:http:upload:0}}{what}").get("url").split("/", 3)[3]
                for what in ("put", "get"))
    data = bytes(range(250)) * 20
    yield
    web = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    web.request("PUT", f"/{put}", data)
    assert web.getresponse().status == 201
    yield
    web = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    web.request("GET", f"/{get}")
    assert web.getresponse().read() == data


# --- the matrix ---


@pytest.mark.sqlite
@pytest.mark.release
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_behind_the_acknowledgement(make_server, disk, name, workers):
    server = make_server("alice", "bob", "carol", workers=workers, settings=SETTINGS, disk=disk)
    steps = OPERATIONS[name][0](Bench(server))
    next(steps)
    disk.turn(write_ms=WRITE_MS)
    next(steps)
    server.kill()
    disk.turn(write_ms=0)
    for client in server.clients:
        client.sock.close()
    server.start()
    assert next(steps, "done") == "done"


SLOW_COMMIT = f"""
CREATE SEQUENCE slowed;
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN PERFORM nextval(''slowed''); PERFORM pg_sleep({WRITE_MS / 1000}); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slow AFTER INSERT OR UPDATE ON opened DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION slow();
"""
END_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid();
"""


@pytest.mark.skipif(not database.POSTGRESQL, reason="of the commit of PostgreSQL")
@pytest.mark.release
@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_behind_the_acknowledgement_on_postgresql(make_server, name):
    """Each commit sleeps before it is one; server and sessions end at the acknowledgement, and with
    them everything that is not committed."""
    server = make_server("alice", "bob", "carol", settings=SETTINGS)
    steps = OPERATIONS[name][0](Bench(server))
    next(steps)
    database.psql(server.url, SLOW_COMMIT)
    next(steps)
    server.kill()
    database.psql(server.url, END_SESSIONS + "DROP FUNCTION slow() CASCADE")
    assert database.psql(server.url, "SELECT is_called FROM slowed") == ["t"]
    for client in server.clients:
        client.sock.close()
    server.start()
    assert next(steps, "done") == "done"


def promised():
    done = subprocess.run([MUSTERD, "--dump-docs", "promises"], capture_output=True, text=True,
                          check=True)
    rows = [line.split(": ", 1) for line in done.stdout.splitlines()]
    return {row for what, row in rows if what == "committed"}


def test_each_promise_has_an_operation():
    covered = {row for _, rows in OPERATIONS.values() for row in rows}
    assert not promised() - covered - WITHOUT.keys(), "these have no operation here"


def test_each_operation_has_a_promise():
    covered = {row for _, rows in OPERATIONS.values() for row in rows}
    assert not (covered | WITHOUT.keys()) - promised(), "these are promised no more"
    assert not covered & WITHOUT.keys()
