"""Strangers do not learn which addresses have an account (RFC 6121 section 8.5.1): what comes back
is the same for an account that is off line, for one that takes nothing more, and for none. That is
so for requests, presence and messages."""
import re
import subprocess

import pytest

from harness import across, muc, rows, sasl, xml
from harness.client import until
from harness.muc import Room

# A subscription that is granted at once tells that there is an account: presence.approval.
pytestmark = pytest.mark.settings({"presence.approval": "ask"}, why="users are asked")


def answers(client, to, stanza):
    """All that comes back, up to the answer to a request that went the same way; where it is a
    request itself, with its own answer, which may come later."""
    client.drain()
    client.send(stanza)
    if stanza.startswith("<iq"):
        client.wait(f"the answer to {stanza}",
                    lambda: any(e.get("id") == "r" for e in client.inbox))
    fence = client.iq("get", "<query xmlns='urn:example:fence'/>", to=to)
    assert fence.get("type") == "error"
    return sorted(xml.canonical(e).replace(to, "NAME") for e in client.drain())


def both(client, template):
    """The answers for bob and for zoe, who does not exist."""
    return [answers(client, to, template.format(to)) for to in ("bob@localhost", "zoe@localhost")]


def requests():
    """Each request that the server knows, to whomever, and one that it does not."""
    done = subprocess.run([rows.MUSTERD, "--dump-docs", "requests"], capture_output=True, text=True,
                          check=True)
    known = re.findall(r"^(get|set) \{(.*)\}(\S+) to ", done.stdout, re.MULTILINE)
    assert len(known) == len(done.stdout.splitlines()) > 50
    return [*known, *((kind, "urn:example:unknown", "query") for kind in ("get", "set"))]


@pytest.mark.parametrize("state", ["off line", "on line", "blocks strangers", "blocks her"])
def test_requests(alice, server, state):
    """To the account of bob and to none."""
    if state != "off line":
        bob = server.client("bob")
    if state == "blocks strangers":
        bob.result("set", "<policy xmlns='urn:muster:policy:0' others='block'/>")
    if state == "blocks her":
        bob.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{alice.bare}'/></block>")
    differ = []
    for kind, ns, name in requests():
        payload = f"<{name} xmlns='{ns}'/>"
        here, nowhere = both(alice, f"<iq type='{kind}' id='r' to='{{}}'>{payload}</iq>")
        differ += [(kind, ns, name)] * (here != nowhere)
    assert differ == []


@pytest.mark.parametrize("kind", ["", "type='unavailable'", "type='probe'", "type='subscribe'",
                                  "type='subscribed'", "type='unsubscribe'",
                                  "type='unsubscribed'"])
def test_presence(alice, kind):
    here, nowhere = both(alice, f"<presence {kind} to='{{}}'/>")
    assert here == nowhere


@pytest.mark.parametrize("to", ["bob@localhost/x", "zoe@localhost/x"])
def test_requests_to_a_resource_that_is_not_there(alice, to):
    assert alice.error("get", "<query xmlns='jabber:iq:version'/>", to=to) == (
        "service-unavailable", "cancel")


def scram_details(server, name):
    """The salt and the iteration count that a name is told."""
    client = server.connect(name)
    client.sasl_start("SCRAM-SHA-256", sasl.Scram("SCRAM-SHA-256", name, "x").first())
    kind, said = client.sasl_answer()
    assert kind == "challenge"
    client.cut()
    return re.search(rb"s=([^,]+),i=(\d+)", said).groups()


def test_scram_details_after_the_setting_changed(make_server):
    """Those of known and of unknown names stay what they were, whatever is done to accounts. One
    name of 40 may go over: 0.01 % do so in the first seconds (auth/credentials.c)."""
    old = [f"old{n}" for n in range(4)]
    server = make_server(*old, "gone", settings={"auth.failures-per-address": "none"},
                         why="looks at more names than an address may")
    names = old + [f"nobody{n}" for n in range(40)]

    def look():
        return {name: scram_details(server, name) for name in names}

    before = look()
    server.ctl("set", "auth.scram-iterations", "20000")
    for n in range(8):
        server.add_user(f"new{n}")
    assert scram_details(server, "new1")[1] == b"20000"
    server.ctl("user", "password", "new1@localhost", "--password", "another")
    server.ctl("user", "del", "gone@localhost")
    server.restart()
    after = look()
    moved = [name for name in names if after[name] != before[name]]
    assert len(moved) <= 1 and not set(moved) & set(old), moved


def told_by(server, sender):
    """What others are to hear from it yet."""
    with server.database(read_only=True) as db:
        return db.execute("SELECT count(*) FROM roster_out WHERE sender = ?", (sender,)
                          ).fetchone()[0]


ROSTER = "<query xmlns='jabber:iq:roster'>{}</query>"
BEFORE = "before"  # the request was there already


@pytest.mark.parametrize("state", ["absent", "disabled", "removed", "disabled " + BEFORE,
                                   "removed " + BEFORE, "enabled again " + BEFORE, "online"])
def test_a_request_that_nobody_answers(make_server, state):
    """The roster of who asks: what is pushed, what it says later, and how the request is taken
    back."""
    server = make_server("alice", "bob", settings={"presence.approval": "ask"},
                         why="her other clients see no more than one")
    seen = {}
    alice = server.login("alice", "a")
    names = "bob@localhost", "zoe@localhost"

    def change():
        if "removed" in state:
            server.ctl("user", "del", "bob@localhost")
        elif state == "online":
            server.client("bob", "b")
        elif state != "absent":
            server.ctl("user", "disable", "bob@localhost")
        if "enabled" in state:
            server.ctl("user", "enable", "bob@localhost")

    def say(to, stanza):
        """What comes back until later changes and requests have gone the same ways."""
        alice.drain()
        alice.send(stanza)
        for _ in range(3):
            alice.result("set", ROSTER.format("<item jid='mark@localhost'/>"))
            alice.iq("get", "<query xmlns='urn:example:fence'/>", to=to)
        said = [re.sub(r" (id|ver)='[^']*'", "", xml.canonical(e)).replace(to, "NAME")
                for e in alice.drain()]
        seen.setdefault(to, []).append([e for e in said if "mark@" not in e])

    def look(client):
        for to in names:
            item = next((xml.canonical(i).replace(to, "NAME")
                         for i in client.result("get", ROSTER.format("")) if i.get("jid") == to),
                        None)
            seen[to].append(item)

    alice.result("get", ROSTER.format(""))
    alice.send("<presence/>")
    alice.expect(f"<presence from='{alice.jid}'/>")
    if BEFORE not in state:
        change()
    for to in names:
        say(to, f"<presence type='subscribe' to='{to}'/>")
        say(to, f"<presence type='probe' to='{to}'/>")
    if BEFORE in state:
        change()
        until("who knew him is told", lambda: not told_by(server, "bob@localhost"))
        for to in names:
            say(to, "<presence/>")
    look(alice)
    server.restart()
    alice = server.login("alice", "b")
    look(alice)
    for to in names:
        say(to, f"<presence type='subscribe' to='{to}'/>")  # again (section 3.1.2)
        say(to, f"<presence type='unsubscribe' to='{to}'/>")
    look(alice)
    for to in names:
        say(to, "<iq type='set' id='rm'>"
            + ROSTER.format(f"<item jid='{to}' subscription='remove'/>") + "</iq>")
    look(alice)
    assert seen["bob@localhost"] == seen["zoe@localhost"]
    assert "ask='subscribe'" in seen["zoe@localhost"][2 + (BEFORE in state)]


MESSAGES = {
    "chat": "type='chat'><body>hi</body>", "normal": "><body>hi</body>",
    "subject": "><subject>hi</subject>", "headline": "type='headline'><body>hi</body>",
    "groupchat": "type='groupchat'><body>hi</body>", "error": "type='error'><body>hi</body>",
    "state": "type='chat'><active xmlns='http://jabber.org/protocol/chatstates'/>",
    "receipt": "type='chat' id='r'><body>hi</body><request xmlns='urn:xmpp:receipts'/>",
    "no store": "type='chat'><body>hi</body><no-store xmlns='urn:xmpp:hints'/>",
    "invitation": f"><x xmlns='jabber:x:conference' jid='cave@{muc.service()}'/>",
}


@pytest.fixture(params=["absent", "no mailbox", "full mailbox", "full of strangers", "removed"])
def host(make_server, request):
    """Bob is off line, in several ways; there never was a zoe."""
    settings = {"no mailbox": {"im.offline-messages": "off"},
                "full mailbox": {"mailbox.unsettled-max": 1},
                "full of strangers": {"mailbox.unsettled-max": 10, "mailbox.stranger-share": 10}}
    server = make_server("alice", "bob", "carol", settings={
        "mailbox.tell-strangers": "off", **settings.get(request.param, {})})
    if request.param.startswith("full"):
        carol = server.client("carol", "c")
        carol.send("<message to='bob@localhost' type='chat'><body>first</body></message>")
        carol.result("get", "<ping xmlns='urn:xmpp:ping'/>")
    if request.param == "removed":
        server.ctl("user", "del", "bob@localhost")
    return server


def test_messages(host):
    """A stranger gets the same, which is no error, to the account and to a resource of it."""
    alice = host.client("alice", "a")
    for kind, rest in MESSAGES.items():
        for resource in "", "/x":
            here, nowhere = (answers(alice, to, f"<message to='{to}{resource}' {rest}</message>")
                             for to in ("bob@localhost", "zoe@localhost"))
            assert here == nowhere, (kind, resource)
            assert len(here) == (kind == "groupchat"), (kind, resource)  # section 8.5.2.1.1


def test_contacts_are_told(make_server):
    """Contacts on the roster learn that a message is refused; others only if a setting allows
    it."""
    server = make_server("alice", "bob", "carol", settings={"mailbox.unsettled-max": 1})
    server.ctl("set", "mailbox.tell-strangers", "off")
    server.login("bob").result("set", "<query xmlns='jabber:iq:roster'>"
                               "<item jid='alice@localhost'/></query>")
    alice, carol = server.client("alice", "a"), server.client("carol", "c")
    for client in alice, alice:
        client.send("<message to='bob@localhost' type='chat' id='m'><body>hi</body></message>")
    alice.expect_error("resource-constraint", "wait", "<message type='error' id='m'/>")
    carol.send("<message to='bob@localhost' type='chat'><body>hi</body></message>")
    carol.expect_nothing("<message/>")
    server.ctl("set", "mailbox.tell-strangers", "on")
    carol.send("<message to='bob@localhost' type='chat' id='m'><body>hi</body></message>")
    carol.expect_error("resource-constraint", "wait", "<message type='error' id='m'/>")
    carol.send("<message to='zoe@localhost' type='chat' id='z'><body>hi</body></message>")
    carol.expect_error("service-unavailable", "cancel", "<message type='error' id='z'/>")


@pytest.mark.parametrize("state", ["absent", "full mailbox", "blocks", "blocks strangers"])
def test_messages_of_users_of_another_server(make_server, tmp_path, state):
    """Alice is absent, takes nothing more, or does not want them; there never was a zoe."""
    one, other = across.start(make_server, tmp_path, settings={
        "mailbox.tell-strangers": "off",
        **({"mailbox.unsettled-max": 1} if state == "full mailbox" else {})})
    bob, dave = other.client("bob", "b"), other.client("dave", "d")
    if state == "blocks":
        one.login("alice").result("set", "<block xmlns='urn:xmpp:blocking'>"
                                  f"<item jid='{bob.bare}'/></block>")
    if state == "blocks strangers":
        one.login("alice").result("set", "<policy xmlns='urn:muster:policy:0' others='block'/>")
    if state == "full mailbox":
        answers(dave, "alice@one.test", "<message to='alice@one.test'><body>1</body></message>")
    for kind, rest in MESSAGES.items():
        for resource in "", "/x":
            here, nowhere = (answers(bob, to, f"<message to='{to}{resource}' {rest}</message>")
                             for to in ("alice@one.test", "zoe@one.test"))
            assert here == nowhere, (kind, resource)
            assert len(here) == (kind == "groupchat"), (kind, resource)


def test_contacts_of_another_server_are_told(make_server, tmp_path):
    """And strangers there, if a setting allows it."""
    one, other = across.start(make_server, tmp_path, settings={"mailbox.unsettled-max": 1})
    one.ctl("set", "mailbox.tell-strangers", "off")
    one.login("alice").result("set", "<query xmlns='jabber:iq:roster'>"
                              "<item jid='bob@other.test'/></query>")
    bob, dave = other.client("bob", "b"), other.client("dave", "d")
    text = "<message to='{}@one.test' type='chat' id='m'><body>hi</body></message>"
    for _ in range(2):
        bob.send(text.format("alice"))
    bob.expect_error("resource-constraint", "wait", "<message type='error' id='m'/>")
    assert answers(dave, "alice@one.test", text.format("alice")) == []
    one.ctl("set", "mailbox.tell-strangers", "on")
    dave.send(text.format("alice"))
    dave.expect_error("resource-constraint", "wait", "<message type='error' id='m'/>")
    dave.send(text.format("zoe"))
    dave.expect_error("service-unavailable", "cancel", "<message type='error' id='m'/>")


def test_mediated_invitations_and_multicast(server):
    """Through a room and through the service that sends to many."""
    server.ctl("set", "mailbox.tell-strangers", "off")
    alice = server.client("alice", "a")
    room = Room("cave").create(alice, "first")
    invite = (f"<message to='{room.jid}'><x xmlns='{muc.USER}'><invite to='{{}}'/></x></message>")
    here, nowhere = both(alice, invite)
    assert here == nowhere
    many = ("<message to='localhost'><addresses xmlns='http://jabber.org/protocol/address'>"
            "<address type='to' jid='{}'/></addresses><body>hi</body></message>")
    here, nowhere = both(alice, many)
    assert here == nowhere


def test_requests_of_strangers_may_be_shut_out(make_server):
    """presence.stranger-requests off: a client that is connected answers like one that is not, but
    to its account, subscribers, and whom it has sent presence."""
    server = make_server("alice", "bob", "carol", "dora")
    phone, other = server.client("bob", "phone"), server.client("bob", "other")
    alice, carol, dora = (server.client(n, "r") for n in ("alice", "carol", "dora"))
    server.befriend("bob", "carol")
    phone.send(f"<presence to='{dora.jid}'/>")
    dora.expect(f"<presence from='{phone.jid}' type='-'/>")

    def ask(client, answered):
        client.drain()
        client.send(f"<iq type='get' id='v' to='{phone.jid}'>"
                    "<query xmlns='jabber:iq:version'/></iq>")
        if answered:
            phone.expect(f"<iq type='get' id='v' from='{client.jid}'/>")
            phone.send(f"<iq type='result' id='v' to='{client.jid}'/>")
            client.expect(f"<iq type='result' id='v' from='{phone.jid}'/>")
        else:
            error = client.expect("<iq type='error' id='v'/>")
            phone.expect_nothing("<iq/>", after=client)
            return xml.canonical(error).replace("/phone", "/gone")
        return None
    ask(alice, True)
    server.ctl("set", "presence.stranger-requests", "off")
    for client in other, carol, dora:
        ask(client, True)
    there = ask(alice, False)
    alice.send("<iq type='get' id='v' to='bob@localhost/gone'>"
               "<query xmlns='jabber:iq:version'/></iq>")
    assert there == xml.canonical(alice.expect("<iq type='error' id='v'/>"))
    phone.send(f"<presence to='{dora.jid}' type='unavailable'/>")
    dora.expect(f"<presence from='{phone.jid}' type='unavailable'/>")
    ask(dora, False)
