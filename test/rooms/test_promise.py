"""What an acknowledgement promises of what goes through a room (XEP-0198): h does not move while
what it would cover is not on the disk, and it does not wait for what is never stored."""
import pytest

from harness import muc, xml
from harness.database import held_by_another
from harness.muc import Room

MAM = "urn:xmpp:mam:2"


def keeps_nothing(client):
    """The sender has no archive: h waits only for the others."""
    client.result("set", f"<prefs xmlns='{MAM}' default='never'><always/><never/></prefs>")


def invitation(*to):
    invites = "".join(f"<invite to='{jid}'><reason>come</reason></invite>" for jid in to)
    return f"<x xmlns='{muc.USER}'>{invites}</x>"


def approval(jid, nick):
    return muc.submit(muc.REGISTER, {"jid": jid, "roomnick": nick, "allow": True},
                      "muc#register_")


# name: (what is sent, to which nickname, type, what the room is like)
KEPT = {
    "subject that is not archived": ("<subject>Spells</subject>", None, "groupchat",
                                     {"enablearchiving": False}),
    "subject that is archived": ("<subject>Spells</subject>", None, "groupchat", {}),
    "private message": ("<body>psst</body>", "bob", "chat", {}),
    "private message of an ad hoc room": ("<body>psst</body>", "bob", "chat",
                                          {"persistentroom": False}),
    "invitation": (invitation("dave@localhost"), None, "normal", {}),
    "several invitations": (invitation("dave@localhost", "erin@localhost"), None, "normal", {}),
    "invitation of a member": (invitation("dave@localhost"), None, "normal",
                               {"membersonly": True}),
    "decline": (f"<x xmlns='{muc.USER}'><decline to='bob@localhost'><reason>no</reason></decline>"
                "</x>", None, "normal", {}),
    "decision about a registration": (approval("dave@localhost", "dave"), None, "normal", {}),
    "message": ("<body>hello</body>", None, "groupchat", {}),
}


@pytest.fixture(params=[1, 3])
def server(make_server, request):
    return make_server("alice", "bob", "carol", "dave", "erin", workers=request.param)


@pytest.mark.parametrize("what", KEPT)
def test_h_waits_for_the_disk(server, what):
    inner, nick, kind, config = KEPT[what]
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    keeps_nothing(alice)
    room = Room("cave").create(alice, "alice", **{"persistentroom": True, **config})
    if config.get("membersonly"):
        room.set_affiliation(alice, "bob@localhost", "member")
    room.enter(bob, "bob")
    room.forget(alice, bob)
    alice.enable_sm()
    with held_by_another(server):
        room.send(alice, inner, nick, kind)
        alice.request_ack()
        alice.ping()
        assert alice.acked == 0
    alice.request_ack()
    alice.wait_acked(1)
    server.kill()
    server.start()
    if "subject" in what:
        back = server.client("bob", "b")
        assert room.enter(back, "bob").subject.findtext(f"{{{xml.CLIENT}}}subject") == "Spells"
    elif what == "decision about a registration":
        assert "dave@localhost" in room.jids(server.client("alice", "a"), "member")
    elif "invitation" in what:
        names = ["dave", "erin"] if what.startswith("several") else ["dave"]
        for name in names:
            server.client(name, "d").expect(
                f"<message from='{room}'><x xmlns='{muc.USER}'><invite/></x></message>")
    elif what in ("private message", "private message of an ad hoc room"):
        server.client("bob", "b").expect("<message type='chat'><body>psst</body></message>")


def test_h_waits_for_a_retraction(server):
    """XEP-0424: acknowledged, its tombstone is in the archive."""
    alice = server.client("alice", "a")
    keeps_nothing(alice)
    room = Room("cave").create(alice, "alice", persistentroom=True)
    room.say(alice, "secret")
    said = room.expect_body(alice, "alice", "secret")
    ident = said.find(f"{{{xml.SID}}}stanza-id").get("id")
    alice.enable_sm()
    with held_by_another(server):
        room.send(alice, f"<retract xmlns='urn:xmpp:message-retract:1' id='{ident}'/>"
                         "<body>taken back</body>")
        alice.request_ack()
        alice.ping()
        assert alice.acked == 0
    alice.wait_acked(1)
    server.kill()
    server.start()
    back = server.client("alice", "b")
    entered = room.enter(back, "alice")
    assert "secret" not in entered.bodies


@pytest.mark.parametrize("inner, nick, kind", [
    ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", None, "groupchat"),
    ("<subject>Spells</subject>", None, "groupchat"),
    ("<body>hello</body>", None, "groupchat"),
    ("<body>psst</body>", "nobody", "chat"),
    ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", "bob", "chat"),
    (invitation("nobody@localhost"), None, "normal"),
    (invitation("@"), None, "normal"),
    (invitation(*(f"n{i}@localhost" for i in range(60))), None, "normal"),
    (f"<x xmlns='{muc.USER}'><decline to='nobody@localhost'/></x>", None, "normal"),
    (approval("dave@localhost", "bob"), None, "normal"),
    ("<retract xmlns='urn:xmpp:message-retract:1' id='nothing'/>", None, "groupchat"),
    ("<retract xmlns='urn:xmpp:message-retract:1' id='0000000000000000'/>", None, "groupchat"),
], ids=str)
@pytest.mark.parametrize("persistent", [True, False])
def test_nothing_waits_for_ever(server, inner, nick, kind, persistent):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    room = Room("cave").create(alice, "alice", persistentroom=persistent)
    room.enter(bob, "bob")
    alice.enable_sm()
    room.send(alice, inner, nick, kind)
    alice.request_ack()
    alice.wait_acked(1)


def test_a_subject_outlives_a_database_that_is_away(make_server):
    """It is stored when the database is back, also if it was away for longer than a write waits."""
    server = make_server("alice", "bob")
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    room = Room("cave").create(alice, "alice", persistentroom=True, enablearchiving=False)
    room.enter(bob, "bob")
    alice.enable_sm()
    with held_by_another(server):
        for i in range(3):
            room.set_subject(alice, f"s{i}")
            room.expect_subject(bob, "alice", f"s{i}")
        bob.send("<message to='alice@localhost' type='chat' id='x'><body>x</body></message>")
        bob.expect("<message type='error' id='x'/>")  # writes do not wait for longer
        room.set_subject(alice, "s3")
        alice.request_ack()
        alice.ping()
        assert alice.acked == 0
    alice.wait_acked(4)
    server.kill()
    server.start()
    subject = room.enter(server.client("bob", "b"), "bob").subject
    assert subject.findtext(f"{{{xml.CLIENT}}}subject") == "s3"


def test_too_many_subjects_for_a_database_that_is_away(server):
    alice = server.client("alice", "a")
    room = Room("cave").create(alice, "alice", persistentroom=True, enablearchiving=False)
    alice.enable_sm()
    with held_by_another(server):
        for i in range(40):
            room.set_subject(alice, f"s{i}")
        assert room.message_error(alice) == ("resource-constraint", "wait")
    alice.request_ack()
    alice.wait_acked(40)


def test_a_private_message_that_is_not_taken_comes_back(make_server):
    """Its sender learns it as of any other message, and by the nickname."""
    server = make_server("alice", "bob", settings={"mailbox.unsettled-max": 1})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    room = Room("cave").create(alice, "alice")
    room.enter(bob, "bob")
    bob.enable_sm()
    for i in range(3):
        ident = room.whisper(alice, "bob", f"p{i}")
    error = alice.expect(f"<message type='error' id='{ident}'/>")
    assert error.get("from") == room.at("bob")
    assert xml.condition(error) == "resource-constraint"
