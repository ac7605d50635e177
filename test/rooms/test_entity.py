"""Rooms for those who are not in them: discovery (XEP-0045 §6)."""
import pytest

from harness import muc, xml
from harness.client import until
from harness.muc import Room, disco_info, disco_items

RSM = "http://jabber.org/protocol/rsm"


@pytest.fixture
def cave():
    return Room("cave")


# --- §6.1, §6.2: the service ---


def test_the_server_names_the_service(alice):
    assert muc.service() in dict(disco_items(alice, "localhost"))


def test_the_service_says_what_it_is(alice):
    identities, features, _ = disco_info(alice, muc.service())
    assert ("conference", "text") in {i[:2] for i in identities}
    assert {muc.NS, xml.DISCO_INFO, xml.DISCO_ITEMS} <= features


def test_modern_features_of_the_service(alice):
    """Where every room has them, the service says so (XEP-0421 §4, XEP-0486 §3.1)."""
    assert {muc.OCCUPANT_ID, "vcard-temp"} <= disco_info(alice, muc.service())[1]


def test_unknown_node_of_the_service(alice):
    condition, _ = alice.error("get", f"<query xmlns='{xml.DISCO_INFO}' node='no such'/>",
                               to=muc.service())
    assert condition == "item-not-found"


def test_unknown_request_to_the_service(alice):
    condition, kind = alice.error("get", "<query xmlns='urn:example:nothing'/>", to=muc.service())
    assert (condition, kind) == ("service-unavailable", "cancel")


def test_ping_of_the_service(alice):
    assert alice.result("get", "<ping xmlns='urn:xmpp:ping'/>", to=muc.service()) is None


# --- §6.3: rooms ---


def test_public_rooms_are_listed_with_their_names(alice, bob, cave):
    assert disco_items(bob, muc.service()) == []
    cave.create(alice, "w", publicroom=True, roomname="A Dark Cave")
    Room("heath").create(alice, "w", publicroom=True, roomname="Heath")
    assert sorted(disco_items(bob, muc.service())) == [
        (cave.jid, "A Dark Cave"), (Room("heath").jid, "Heath")]


def test_hidden_rooms_are_not_listed(alice, bob, cave):
    cave.create(alice, "w", publicroom=False)
    assert disco_items(bob, muc.service()) == []


def test_a_room_that_becomes_hidden_leaves_the_list(alice, bob, cave):
    cave.create(alice, "w", publicroom=True)
    assert [jid for jid, _ in disco_items(bob, muc.service())] == [cave.jid]
    cave.configure(alice, publicroom=False)
    until("an empty list", lambda: disco_items(bob, muc.service()) == [])


def test_a_room_that_ended_leaves_the_list(alice, bob, cave):
    cave.create(alice, "w", publicroom=True, persistentroom=False)
    cave.leave(alice, "w")
    until("an empty list", lambda: disco_items(bob, muc.service()) == [])


def test_a_room_that_is_being_created_is_not_listed(alice, bob, cave):
    cave.enter(alice, "w")
    assert disco_items(bob, muc.service()) == []


def rooms_page(client, inner):
    query = client.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'>"
                          f"<set xmlns='{RSM}'>{inner}</set></query>", to=muc.service())
    found = query.find(f"{{{RSM}}}set")
    return ([i.get("jid") for i in query.iter(f"{{{xml.DISCO_ITEMS}}}item")],
            {e.tag.partition("}")[2]: e.text for e in found})


def test_rooms_in_pages(alice, bob):
    """XEP-0059 in disco#items (§6.3)."""
    names = [f"room{i}" for i in range(5)]
    for name in names:
        Room(name).create(alice, "w", publicroom=True)
    first, said = rooms_page(bob, "<max>2</max>")
    assert len(first) == 2 and said["count"] == "5"
    assert said["last"]
    second, said = rooms_page(bob, f"<max>2</max><after>{said['last']}</after>")
    third, _ = rooms_page(bob, f"<max>2</max><after>{said['last']}</after>")
    assert len(second) == 2 and len(third) == 1
    assert sorted(first + second + third) == [Room(n).jid for n in names]


def test_number_of_rooms_alone(alice, bob):
    for name in "abc":
        Room(name).create(alice, "w", publicroom=True)
    found, said = rooms_page(bob, "<max>0</max>")
    assert found == [] and said["count"] == "3"


# --- §6.4: a room ---


def test_a_room_that_does_not_exist(alice, cave):
    condition, kind = alice.error("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=cave.jid)
    assert (condition, kind) == ("item-not-found", "cancel")


def test_identity_of_a_room(alice, bob, cave):
    cave.create(alice, "w", roomname="A Dark Cave")
    identities, features, forms = disco_info(bob, cave.jid)
    assert ("conference", "text", "A Dark Cave") in identities
    assert muc.NS in features
    assert muc.INFO in forms


KINDS = [
    ({"publicroom": True}, "muc_public", "muc_hidden"),
    ({"publicroom": False}, "muc_hidden", "muc_public"),
    ({"membersonly": True}, "muc_membersonly", "muc_open"),
    ({"membersonly": False}, "muc_open", "muc_membersonly"),
    ({"moderatedroom": True}, "muc_moderated", "muc_unmoderated"),
    ({"moderatedroom": False}, "muc_unmoderated", "muc_moderated"),
    ({"whois": "anyone"}, "muc_nonanonymous", "muc_semianonymous"),
    ({"whois": "moderators"}, "muc_semianonymous", "muc_nonanonymous"),
    ({"persistentroom": True}, "muc_persistent", "muc_temporary"),
    ({"persistentroom": False}, "muc_temporary", "muc_persistent"),
    ({"passwordprotectedroom": True, "roomsecret": "x"}, "muc_passwordprotected",
     "muc_unsecured"),
    ({"passwordprotectedroom": False}, "muc_unsecured", "muc_passwordprotected")]


@muc.owners_may("anonymous")
def test_kinds_of_rooms_are_features(alice, bob, cave):
    cave.create(alice, "w")
    for fields, said, unsaid in KINDS:
        cave.configure(alice, **fields)
        features = disco_info(bob, cave.jid)[1]
        assert said in features and unsaid not in features, fields


def test_modern_features_of_a_room(alice, bob, cave):
    cave.create(alice, "w")
    assert {muc.OCCUPANT_ID, muc.NS + "#stable_id", muc.NS + "#self-ping-optimization",
            "urn:xmpp:message-moderate:1", "urn:xmpp:sid:0", "vcard-temp"} <= \
        disco_info(bob, cave.jid)[1]


def test_extended_information_of_a_room(alice, bob, cave):
    """muc#roominfo (§6.4, §15.5.4)."""
    cave.create(alice, "w", roomdesc="The place for all good witches!", changesubject=True,
                lang="en")
    cave.set_subject(alice, "Spells")
    cave.expect_subject(alice, "w", "Spells")
    cave.enter(bob, "b")
    info = disco_info(bob, cave.jid)[2][muc.INFO]
    assert info["muc#roominfo_description"] == "The place for all good witches!"
    assert info["muc#roominfo_subject"] == "Spells"
    assert info["muc#roominfo_occupants"] == "2"
    assert info["muc#roominfo_changesubject"] in ("1", "true")
    assert info["muc#roominfo_lang"] == "en"


def test_information_does_not_tell_the_password(alice, bob, cave):
    cave.create(alice, "w", passwordprotectedroom=True, roomsecret="cauldronburn")
    answer = bob.iq("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=cave.jid)
    assert "cauldronburn" not in xml.canonical(answer)


# --- §6.5: items of a room ---


def test_occupants_of_a_public_room(alice, bob, carol, cave):
    """All of them or, where that is private, none."""
    cave.create(alice, "w", publicroom=True)
    cave.enter(bob, "b")
    found = {jid for jid, _ in disco_items(carol, cave.jid)}
    assert found in (set(), {cave.at("w"), cave.at("b")})


def test_occupants_of_a_hidden_room(alice, bob, cave):
    cave.create(alice, "w", publicroom=False)
    answer = bob.iq("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to=cave.jid)
    assert not list(answer.iter(f"{{{xml.DISCO_ITEMS}}}item"))


def test_items_of_a_room_that_does_not_exist(alice, cave):
    condition, _ = alice.error("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to=cave.jid)
    assert condition == "item-not-found"


# --- §6.6: occupants ---


def test_a_stranger_asks_an_occupant(alice, bob, cave):
    cave.create(alice, "w")
    condition, _ = bob.error("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=cave.at("w"))
    assert condition in ("bad-request", "not-acceptable")
    cave.expect_nothing(alice, "<iq type='get'/>", after=[bob])


@muc.owners_may("anonymous")
def test_an_occupant_asks_another(alice, bob, cave):
    """§17.4: the room passes the request on and the answer back, and tells no real address."""
    cave.create(alice, "w", whois="moderators")
    cave.enter(bob, "b")
    alice.send(f"<iq type='get' id='q1' to='{cave.at('b')}'><query xmlns='{xml.DISCO_INFO}'/></iq>")
    asked = bob.expect(f"<iq type='get' from='{cave.at('w')}'>"
                       f"<query xmlns='{xml.DISCO_INFO}'/></iq>")
    bob.send(f"<iq type='result' id='{asked.get('id')}' to='{asked.get('from')}'>"
             f"<query xmlns='{xml.DISCO_INFO}'><feature var='urn:example:b'/></query></iq>")
    answer = alice.expect(f"<iq type='result' id='q1' from='{cave.at('b')}'/>")
    assert "urn:example:b" in xml.canonical(answer)
    assert "bob@" not in xml.canonical(answer) and "alice@" not in xml.canonical(asked)


def test_an_occupant_refuses_a_request_of_another(alice, bob, cave):
    cave.create(alice, "w")
    cave.enter(bob, "b")
    alice.send(f"<iq type='get' id='q2' to='{cave.at('b')}'><query xmlns='urn:example:q'/></iq>")
    asked = bob.expect(f"<iq type='get' from='{cave.at('w')}'><query xmlns='urn:example:q'/></iq>")
    bob.send(f"<iq type='error' id='{asked.get('id')}' to='{asked.get('from')}'>"
             f"<error type='cancel'><service-unavailable xmlns='{xml.STANZA_ERROR}'/></error></iq>")
    answer = alice.expect(f"<iq type='error' id='q2' from='{cave.at('b')}'/>")
    assert xml.condition(answer) == "service-unavailable"


def test_a_request_to_nobody(alice, cave):
    cave.create(alice, "w")
    condition, _ = alice.error("get", "<query xmlns='urn:example:q'/>", to=cave.at("nobody"))
    assert condition == "item-not-found"


def test_unknown_request_to_a_room(alice, cave):
    cave.create(alice, "w")
    condition, kind = alice.error("set", "<query xmlns='urn:example:nothing'/>", to=cave.jid)
    assert (condition, kind) == ("service-unavailable", "cancel")


def test_a_room_names_its_forms(alice, cave):
    """§16.3"""
    cave.create(alice, "w")
    assert {muc.REGISTER, muc.REQUEST, muc.CONFIG, muc.INFO} <= disco_info(alice, cave.jid)[1]


def test_unknown_node_of_a_room(alice, cave):
    cave.create(alice, "w")
    condition, _ = alice.error("get", f"<query xmlns='{xml.DISCO_INFO}' node='no such'/>",
                               to=cave.jid)
    assert condition == "item-not-found"


@pytest.mark.parametrize("node", [xml.DISCO_INFO, xml.DISCO_ITEMS])
def test_outsiders_ask_nothing_of_an_occupant(alice, bob, cave, node):
    """§6.6"""
    cave.create(alice, "w")
    assert bob.error("get", f"<query xmlns='{node}'/>", to=cave.at("w"))[0] == "bad-request"


@muc.owners_may("strip-xhtml")
@pytest.mark.parametrize("stripxhtml, condition", [
    (False, "service-unavailable"), (True, "feature-not-implemented")])
def test_what_may_be_said_is_not_listed(alice, cave, stripxhtml, condition):
    """§18.1.1"""
    cave.create(alice, "w", **{"muster#roomconfig_stripxhtml": stripxhtml})
    query = f"<query xmlns='{xml.DISCO_INFO}' node='{muc.NS}#traffic'/>"
    assert alice.error("get", query, to=cave.jid)[0] == condition
