"""What an operator allows in messaging, and multiple device messaging on and off."""
import pytest

from harness import xml
from harness.muc import Room, X


CARBONS = "urn:xmpp:carbons:2"
DATA = "jabber:x:data"
MDM = "urn:muster:mdm:0"
MESSAGING = "urn:muster:messaging:0"


def chat(to, body, more="", kind="chat", ident="m"):
    text = f"<body>{body}</body>" if body else ""
    return f"<message to='{to}' type='{kind}' id='{ident}'>{text}{more}</message>"


def form(client, form_type):
    """The fields of a form in disco#info of the server: name to value."""
    info = client.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to="localhost")
    for found in info.iter(f"{{{DATA}}}x"):
        fields = {f.get("var"): f.findtext(f"{{{DATA}}}value")
                  for f in found.iter(f"{{{DATA}}}field")}
        if fields.pop("FORM_TYPE") == form_type:
            return fields
    return None


# --- what is told to clients ---


def test_told(server, alice):
    everything = {"enabled": "true", "offline-messages": "true", "client-history": "true",
                  "cut-paste": "true"}
    assert form(alice, MESSAGING) == everything
    server.ctl("set", "im.client-history", "off")
    server.ctl("set", "im.cut-paste", "off")
    assert form(alice, MESSAGING) == {**everything, "client-history": "false",
                                      "cut-paste": "false"}
    assert form(alice, MDM) == {"enabled": "true", "active-time": "300000"}


# --- instant messaging off ---


@pytest.mark.parametrize("kind", ["chat", "normal", "groupchat", "headline"])
def test_instant_messages_are_refused(server, alice, bob, kind):
    server.ctl("set", "im.enabled", "off")
    for to in (bob, "bob@localhost", "nobody@localhost"):
        alice.send(chat(to, "hi", kind=kind))
        error = alice.expect_error("not-allowed", "cancel", "<message type='error' id='m'/>")
        assert "instant messaging" in "".join(error.itertext())
    bob.expect_nothing("<message/>")


@pytest.mark.parametrize("kind", ["chat", "groupchat"])
def test_what_says_nothing_is_dropped_with_instant_messages(server, alice, bob, kind):
    """Clients tell of typing without being asked: no user waits for an answer."""
    server.ctl("set", "im.enabled", "off")
    for inner in ("<composing xmlns='http://jabber.org/protocol/chatstates'/>",
                  "<received xmlns='urn:xmpp:receipts' id='1'/>"):
        for to in (bob, "bob@localhost", "nobody@localhost"):
            alice.send(chat(to, "", inner, kind))
    alice.send(f"<presence to='{bob}'/>")
    bob.expect(f"<presence from='{alice}'/>")
    bob.expect_nothing("<message/>")
    alice.expect_nothing("<message/>")


def test_all_else_goes_on_without_instant_messages(server, alice, bob):
    server.ctl("set", "im.enabled", "off")
    alice.send(f"<presence to='{bob}'/>")
    bob.expect(f"<presence from='{alice}'/>")
    alice.send(chat(bob, "", "<event xmlns='urn:example:event'/>", "headline"))
    bob.expect("<message type='headline'/>")
    server.ctl("set", "im.enabled", "on")
    alice.send(chat(bob, "hi"))
    bob.expect("<message><body>hi</body></message>")


@pytest.mark.parametrize("inner", [X, ""])
def test_rooms_cannot_be_entered_without_instant_messages(server, alice, bob, inner):
    """With messages the rooms go, with a clear word: no client waits for a subject that does not
    come (XEP-0045 §7.2). Whoever is in one stays, changes its presence, and may leave."""
    room = Room("cave").create(alice, "alice", persistentroom=True)
    server.ctl("set", "im.enabled", "off")
    for to in (room.at("bob"), "new@conference.localhost/bob"):
        bob.send(f"<presence to='{to}' id='j'>{inner}</presence>")
        error = bob.expect_error("not-allowed", "cancel", "<presence type='error' id='j'/>")
        assert "instant messaging is turned off" in "".join(error.itertext())
    alice.send(f"<presence to='{room.at('alice')}'><show>away</show></presence>")
    assert room.presence(alice, "alice").show == "away"
    room.leave(alice, "alice")
    server.ctl("set", "im.enabled", "on")
    assert room.enter(bob, "bob").subject is not None


# --- no offline messages ---


def test_messages_to_users_who_are_offline_are_refused(server, alice):
    server.ctl("set", "im.offline-messages", "off")
    for to in ("bob@localhost", "bob@localhost/gone"):
        alice.send(chat(to, "hi"))
        alice.expect_error("service-unavailable", template="<message type='error' id='m'/>")
    alice.send(chat("bob@localhost", "", "<received xmlns='urn:xmpp:receipts' id='1'/>"))
    bob = server.client("bob", "b")
    bob.expect_nothing("<message/>", after=alice)
    alice.expect_nothing("<message/>")
    alice.send(chat("bob@localhost", "now"))
    bob.expect("<message><body>now</body></message>")


def test_a_client_without_presence_is_reached_by_its_full_jid(server, alice):
    server.ctl("set", "im.offline-messages", "off")
    silent = server.login("bob", "silent")
    alice.send(chat(silent, "hi"))
    silent.expect("<message><body>hi</body></message>")
    alice.send(chat("bob@localhost", "hi"))
    alice.expect_error("service-unavailable", template="<message type='error' id='m'/>")


def test_what_was_kept_before_is_delivered(server, alice):
    alice.enable_sm()
    alice.send(chat("bob@localhost", "before"))
    alice.wait_acked(1)
    server.ctl("set", "im.offline-messages", "off")
    server.client("bob", "b").expect("<message><body>before</body></message>")


# --- multiple device messaging ---


def active_client(client):
    return client.result("get", f"<active xmlns='{MDM}'/>").get("jid")


def test_the_active_client(server, bob):
    """The last to send available presence or a message."""
    quiet = server.login("alice", "quiet")
    assert active_client(quiet) is None
    laptop = server.client("alice", "laptop")
    assert active_client(quiet) == str(laptop)
    phone = server.client("alice", "phone")
    assert active_client(quiet) == str(phone)
    laptop.send(chat(bob, "hi"))
    laptop.ping()
    assert active_client(quiet) == str(laptop)
    laptop.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    laptop.ping()
    assert active_client(quiet) == str(phone)
    phone.send("<presence type='unavailable'/>")
    phone.ping()
    assert active_client(quiet) == str(phone)  # it said nothing that changes it
    phone.close()
    laptop.ping()


def test_nobody_else_learns_the_active_client(alice, bob):
    alice.send(f"<iq type='get' id='1' to='bob@localhost'><active xmlns='{MDM}'/></iq>")
    alice.expect_error("service-unavailable", template="<iq type='error' id='1'/>")


@pytest.fixture
def classic(make_server):
    return make_server("alice", "bob", "carol", settings={"mdm.enabled": "off"})


def test_forking_until_a_client_replies(classic):
    one, two = classic.client("alice", "one"), classic.client("alice", "two")
    bob, carol = classic.client("bob", "b"), classic.client("carol", "c")
    for client in (one, two):
        bob.send(chat("alice@localhost", "first"))
        client.expect("<message><body>first</body></message>")
    two.send(chat(bob, "reply"))
    bob.expect("<message><body>reply</body></message>")
    bob.send(chat("alice@localhost", "second"))
    two.expect("<message><body>second</body></message>")
    one.expect_nothing("<message><body>second</body></message>", after=bob)
    one.send(chat("bob@localhost", "from here now"))
    bob.expect("<message/>")
    bob.send(chat("alice@localhost", "third"))
    one.expect("<message><body>third</body></message>")
    two.expect_nothing("<message><body>third</body></message>", after=bob)
    carol.send(chat("alice@localhost", "another"))  # each conversation has its own
    for client in (one, two):
        client.expect("<message><body>another</body></message>")


def test_forking_again_when_that_client_is_gone(classic):
    one, two = classic.client("alice", "one"), classic.client("alice", "two")
    bob = classic.client("bob", "b")
    two.send(chat(bob, "reply"))
    bob.expect("<message/>")
    two.send("<presence type='unavailable'/>")
    one.expect(f"<presence from='{two}' type='unavailable'/>")
    bob.send(chat("alice@localhost", "hi"))
    one.expect("<message><body>hi</body></message>")


def test_a_full_jid_is_meant(classic):
    one, two = classic.client("alice", "one"), classic.client("alice", "two")
    bob = classic.client("bob", "b")
    two.send(chat(bob, "reply"))
    bob.expect("<message/>")
    bob.send(chat(one, "hi"))
    one.expect("<message><body>hi</body></message>")
    two.expect_nothing("<message/>", after=bob)


def test_carbons_are_forbidden(classic):
    one = classic.client("alice", "one")
    one.send(f"<iq type='set' id='1'><enable xmlns='{CARBONS}'/></iq>")
    one.expect_error("forbidden", "auth", "<iq type='error' id='1'/>")
    assert form(one, MDM)["enabled"] == "false"


def test_carbons_end_with_the_switch(server, bob):
    one, two = server.client("alice", "one"), server.client("alice", "two")
    two.result("set", f"<enable xmlns='{CARBONS}'/>")
    server.ctl("set", "mdm.enabled", "off")
    bob.send(chat(one, "hi"))
    one.expect("<message/>")
    two.expect_nothing("<message/>", after=bob)
    server.ctl("set", "mdm.enabled", "on")
    bob.send(chat(one, "hi"))
    two.expect(f"<message><received xmlns='{CARBONS}'/></message>")
