"""Registration with a room and reserved nicknames (XEP-0045 §7.10, §7.12; XEP-0077)."""
import pytest

from harness import muc, xml
from harness.muc import Room, disco_info

REGISTER = "jabber:iq:register"
pytestmark = pytest.mark.settings({"muc.new-self-add": True}, why="rooms that anybody may join")


@pytest.fixture
def cave(alice):
    return Room("cave").create(alice, "firstwitch")


def form(client, room):
    """The answer to a request for the form."""
    return client.iq("get", f"<query xmlns='{REGISTER}'/>", to=room.jid)


def register(client, room, nick, **more):
    fields = {"roomnick": nick, **more}
    return client.iq("set", f"<query xmlns='{REGISTER}'>"
                     + muc.submit(muc.REGISTER, fields, "muc#register_") + "</query>",
                     to=room.jid)


def reserved(client, room):
    """The nickname that this client has registered, or None."""
    identities, _, _ = disco_info(client, room.jid, muc.NICK_NODE)
    return identities[0][2] if identities else None


def test_the_form(bob, cave):
    answer = form(bob, cave)
    assert answer.get("type") == "result"
    fields = muc.form_values(answer.find(f".//{{{muc.DATA}}}x[@type='form']"))
    assert fields["FORM_TYPE"] == muc.REGISTER and "muc#register_roomnick" in fields


def test_registration(alice, bob, cave):
    assert register(bob, cave, "secondwitch").get("type") == "result"
    assert cave.jids(alice, "member") == {bob.bare}
    assert [i.get("nick") for i in cave.listed(alice, affiliation="member")] == ["secondwitch"]
    assert cave.enter(bob, "secondwitch").own.standing == ("member", "participant")


def test_registration_of_an_occupant(alice, bob, cave):
    """All see the new member."""
    cave.enter(bob, "secondwitch")
    cave.forget(alice, bob)
    assert register(bob, cave, "secondwitch").get("type") == "result"
    for client in (alice, bob):
        assert cave.presence(client, "secondwitch").standing == ("member", "participant")


def test_who_is_registered_is_told_so(bob, cave):
    register(bob, cave, "secondwitch")
    answer = form(bob, cave)
    assert answer.find(f".//{{{REGISTER}}}registered") is not None


def test_the_nick_is_reserved(alice, bob, carol, cave):
    register(bob, cave, "secondwitch")
    assert cave.refused(carol, "secondwitch") == ("conflict", "cancel")
    assert xml.condition(register(carol, cave, "secondwitch")) == "conflict"
    cave.enter(carol, "thirdwitch")
    carol.send(f"<presence to='{cave.at('secondwitch')}'/>")
    assert cave.presence_error(carol) == ("conflict", "cancel")


def test_a_nick_that_somebody_else_has_now(alice, bob, cave):
    assert xml.condition(register(bob, cave, "firstwitch")) == "conflict"


def test_registration_without_a_form(bob, cave):
    for form_of_others in "", muc.submit(f"{muc.NS}#nothing", {"a": "b"}):
        inner = f"<query xmlns='{REGISTER}'>{form_of_others}</query>"
        condition, _ = bob.error("set", inner, to=cave.jid)
        assert condition in ("bad-request", "not-acceptable")


@pytest.mark.parametrize("nick", ["", "   "])
def test_registration_of_no_nick(alice, bob, cave, nick):
    assert xml.condition(register(bob, cave, nick)) in ("bad-request", "not-acceptable",
                                                        "jid-malformed")
    assert cave.jids(alice, "member") == set()


@pytest.fixture
def strict(make_server):
    """A server as it comes: members are added by others."""
    return make_server("alice", "bob")


def asked(room, client):
    """The form that the room sends to the administrators who decide (§9.9)."""
    message = room.message(client, "", "normal", lambda e: e.find(f"{{{muc.DATA}}}x") is not None)
    form = muc.form_values(message.find(f"{{{muc.DATA}}}x[@type='form']"))
    assert form.pop("FORM_TYPE") == muc.REGISTER
    return form


def decide(room, client, form, answer):
    form["muc#register_allow"] = answer
    client.send(f"<message to='{room}'>{muc.submit(muc.REGISTER, form)}</message>")


@pytest.mark.parametrize("answer", ["1", "0"])
def test_by_default_somebody_else_decides(strict, answer):
    alice, bob = strict.client("alice", "a"), strict.client("bob", "b")
    cave = Room("cave").create(alice, "firstwitch")
    assert register(bob, cave, "secondwitch").get("type") == "result"
    form = asked(cave, alice)
    assert form["muc#register_roomnick"] == "secondwitch" and bob.bare in form.values()
    assert form["muc#register_allow"] in ("0", "false")
    assert cave.jids(alice, "member") == set()
    decide(cave, alice, form, answer)
    cave.flush(alice)
    assert cave.jids(alice, "member") == ({bob.bare} if answer == "1" else set())
    assert reserved(bob, cave) == ("secondwitch" if answer == "1" else None)


BLOCK = "<{0}block xmlns='urn:xmpp:blocking'><item jid='cave@conference.localhost'/></{0}block>"


@pytest.mark.parametrize("why", ["disabled", "blocked"])
def test_nobody_who_decides_can_be_asked(make_server, why):
    """The user hears of it, and may ask again at once."""
    server = make_server("alice", "bob", settings={"muc.new-persistent": "on"})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    cave = Room("cave").create(alice, "firstwitch")
    cave.leave(alice, "firstwitch")
    if why == "disabled":
        server.ctl("user", "disable", alice.bare)
    else:
        alice.result("set", BLOCK.format(""))
    for _ in range(2):
        assert xml.condition(register(bob, cave, "secondwitch")) == "recipient-unavailable"
    if why == "disabled":
        server.ctl("user", "enable", alice.bare)
        alice = server.client("alice", "a")
    else:
        alice.result("set", BLOCK.format("un"))
    assert register(bob, cave, "secondwitch").get("type") == "result"
    assert asked(cave, alice)["muc#register_roomnick"] == "secondwitch"


def test_nobody_decides_for_himself(strict):
    alice, bob = strict.client("alice", "a"), strict.client("bob", "b")
    cave = Room("cave").create(alice, "firstwitch")
    cave.enter(bob, "secondwitch")
    register(bob, cave, "secondwitch")
    decide(cave, bob, asked(cave, alice), "1")
    assert cave.message_error(bob)[0] == "forbidden"
    assert cave.jids(alice, "member") == set()


@pytest.mark.parametrize("nick", ["larry", "LARRY", "Iarry", "l\u0430rry"])
def test_registration_of_a_nick_that_looks_like_another(alice, bob, carol, cave, nick):
    """Registered by another, or used by one who is in the room; by administrators, too."""
    assert register(bob, cave, "larry").get("type") == "result"
    assert xml.condition(register(carol, cave, nick)) == "conflict"
    assert cave.denied(alice, "set", muc.item(jid=carol.bare, affiliation="member", nick=nick)) == \
        ("conflict", "cancel")
    assert cave.jids(alice, "member") == {bob.bare}
    register(bob, cave, "bob")
    cave.enter(bob, "larry")
    assert xml.condition(register(carol, cave, nick)) == "conflict"


def test_registration_of_a_nick_that_is_too_long(server, alice, bob, cave):
    server.ctl("set", "muc.nick-bytes", "64")
    assert xml.condition(register(bob, cave, "n" * 65)) == "not-acceptable"
    assert cave.denied(alice, "set", muc.item(jid=bob.bare, affiliation="member", nick="n" * 65)) \
        == ("not-acceptable", "modify")
    assert register(bob, cave, "n" * 64).get("type") == "result"


def test_two_get_the_same_nick_at_once(alice, cave):
    """In one request, and neither is done."""
    items = [muc.item(jid=f"{name}@localhost", affiliation="member", nick="larry")
             for name in ("bob", "carol")]
    assert cave.denied(alice, "set", *items) == ("conflict", "cancel")
    assert not cave.jids(alice, "member")


def test_the_banned_do_not_register(alice, bob, cave):
    cave.set_affiliation(alice, bob.bare, "outcast")
    assert xml.condition(register(bob, cave, "secondwitch")) in ("forbidden", "not-allowed")
    assert cave.jids(alice, "outcast") == {bob.bare}


def test_registration_with_a_room_that_does_not_exist(bob):
    assert xml.condition(form(bob, Room("nowhere"))) == "item-not-found"


def test_registration_is_taken_back(alice, bob, carol, cave):
    register(bob, cave, "secondwitch")
    bob.result("set", f"<query xmlns='{REGISTER}'><remove/></query>", to=cave.jid)
    assert cave.jids(alice, "member") == set() and reserved(bob, cave) is None
    assert cave.enter(carol, "secondwitch").own.affiliation == "none"


def test_an_owner_stays_owner(alice, cave):
    """Registering reserves a nick; it changes no higher affiliation."""
    register(alice, cave, "firstwitch")
    assert cave.jids(alice, "owner") == {alice.bare}
    assert reserved(alice, cave) == "firstwitch"


def test_another_nick_than_the_registered_one(alice, bob, cave):
    """§7.12: allowed, or refused with not-acceptable where nicks are locked down."""
    register(bob, cave, "secondwitch")
    cave.knock(bob, "oldhag")
    answer = bob.expect(lambda e: e.tag.endswith("}presence") and (
        e.get("type") == "error" or 110 in muc.codes(e)))
    if answer.get("type") == "error":
        assert xml.condition(answer) == "not-acceptable"
    else:
        assert muc.split(answer.get("from"))[1] in ("oldhag", "secondwitch")


# --- §7.12: which nick is mine ---


def test_reserved_nick(alice, bob, cave):
    assert reserved(bob, cave) is None
    cave.set_affiliation(alice, bob.bare, "member", nick="secondwitch")
    assert reserved(bob, cave) == "secondwitch"


def test_reserved_nick_is_asked_for_inside_too(alice, bob, cave):
    cave.set_affiliation(alice, bob.bare, "member", nick="secondwitch")
    cave.enter(bob, "secondwitch")
    assert reserved(bob, cave) == "secondwitch"


def test_reserved_nick_survives_a_restart(server, alice, bob):
    heath = Room("heath").create(alice, "firstwitch", persistentroom=True)
    register(bob, heath, "secondwitch")
    server.restart()
    bob = server.client("bob", "b")
    assert reserved(bob, heath) == "secondwitch"
