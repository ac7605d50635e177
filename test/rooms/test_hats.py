"""Hats: titles of users in a room (XEP-0317)."""
import pytest

from harness import muc, xml
from harness.muc import Room, disco_info, disco_items

COMMANDS = "http://jabber.org/protocol/commands"
NODES = ("assign", "unassign", "create", "destroy", "list", "list-assigned")
DON, DOFF, CREATE, DESTROY, LIST, WORN = (f"urn:xmpp:hats:commands:{name}" for name in NODES)
TEACHER = "http://tech.example.edu/hats#Teacher"


@pytest.fixture
def cave(alice, bob, carol):
    cave = Room("cave").create(alice, "owner")
    cave.enter(bob, "b")
    cave.enter(carol, "c")
    cave.forget(alice, bob, carol)
    return cave


def command(client, room, node, fields=None, more=""):
    form = muc.submit("urn:xmpp:hats:commands", fields) if fields is not None else ""
    return client.iq("set", f"<command xmlns='{COMMANDS}' node='{node}' {more}>{form}</command>",
                     to=room.jid)


def don(client, room, jid, uri=TEACHER, title="Teacher"):
    return command(client, room, DON, {"hats#jid": jid, "hats#uri": uri, "hats#title": title},
                   "sessionid='s1'")


def doff(client, room, jid, uri=TEACHER):
    return command(client, room, DOFF, {"hats#jid": jid, "hats#uri": uri})


def hats(seen):
    """{uri: title} in a presence, which has at most one <hats/>."""
    found = seen.element.findall(f"{{{muc.HATS}}}hats")
    assert len(found) <= 1
    return {h.get("uri"): h.get("title") for one in found for h in one}


def test_support_is_told(alice, bob, cave):
    for to in (muc.service(), cave.jid):
        assert muc.HATS in disco_info(bob, to)[1]
    node = f"<query xmlns='{xml.DISCO_ITEMS}' node='{COMMANDS}'/>"
    nodes = {i.get("node") for i in alice.result("get", node, to=cave.jid)}
    assert nodes == {DON, DOFF, CREATE, DESTROY, LIST, WORN}
    assert [i.get("node") for i in bob.result("get", node, to=cave.jid)] == [LIST], \
        "nor the occupants"
    assert disco_items(bob, cave.jid) == [(cave.at(n), None) for n in ("owner", "b", "c")]


def test_the_form(alice, cave):
    answer = command(alice, cave, DON, more="action='execute'")
    got = answer.find(f"{{{COMMANDS}}}command")
    assert got.get("status") == "executing" and got.get("node") == DON and got.get("sessionid")
    fields = muc.form_values(got.find(f"{{{muc.DATA}}}x[@type='form']"))
    assert fields["FORM_TYPE"] == "urn:xmpp:hats:commands"
    assert {"hats#jid", "hats#uri"} <= fields.keys()


def test_a_hat_is_put_on_and_taken_off(alice, bob, carol, cave):
    answer = don(alice, cave, bob.bare)
    assert xml.matches(answer, f"<iq type='result'><command xmlns='{COMMANDS}' node='{DON}' "
                       "sessionid='s1' status='completed'/></iq>")
    for client in (alice, bob, carol):
        seen = cave.presence(client, "b")
        assert hats(seen) == {TEACHER: "Teacher"} and seen.role == "participant"
        assert (110 in seen.codes) == (client is bob)
    assert doff(alice, cave, bob.bare).get("type") == "result"
    for client in (alice, bob, carol):
        assert hats(cave.presence(client, "b")) == {}


def test_many_hats(alice, bob, carol, cave):
    don(alice, cave, bob.bare)
    don(alice, cave, bob.bare, "http://example.org/hats#Host", "Host")
    assert list(hats(cave.enter(carol, "c").others["b"])) == [
        TEACHER, "http://example.org/hats#Host"]


def test_a_hat_stays_on_its_wearer(alice, bob, cave):
    """Over nicks, availability, visits; and one may be waiting for who is not here yet."""
    don(alice, cave, bob.bare)
    bob.send(f"<presence to='{cave.at('bobby')}'/>")
    assert hats(cave.presence(alice, "bobby")) == {TEACHER: "Teacher"}
    cave.leave(bob, "bobby")
    don(alice, cave, bob.bare, title="Professor")
    assert hats(cave.enter(bob, "b").own) == {TEACHER: "Professor"}


def test_a_title_is_optional(alice, bob, carol, cave):
    command(alice, cave, DON, {"hats#jid": bob.bare, "hats#uri": TEACHER})
    assert hats(cave.presence(alice, "b")) == {TEACHER: "Teacher"}


def test_a_hat_of_markup(alice, bob, cave):
    don(alice, cave, bob.bare, "urn:example:a'b", "<&'\">")
    assert hats(cave.presence(alice, "b")) == {"urn:example:a'b": "<&'\">"}


def test_others_give_no_hats(alice, bob, carol, cave):
    cave.set_role(alice, "b", "moderator")
    for client in (bob, carol):
        assert xml.condition(command(client, cave, DON)) == "forbidden"
        assert xml.condition(don(client, cave, client.bare)) == "forbidden"
    cave.set_affiliation(alice, bob.bare, "admin")
    assert don(bob, cave, carol.bare).get("type") == "result"


def test_a_form_beside_the_point(alice, bob, cave):
    for fields in ({}, {"hats#jid": bob.bare}, {"hats#uri": TEACHER},
                   {"hats#jid": "@", "hats#uri": TEACHER},
                   {"hats#jid": "localhost", "hats#uri": TEACHER},
                   {"hats#jid": bob.bare, "hats#uri": "no uri"},
                   {"hats#jid": bob.bare, "hats#uri": "u:" + "x" * 300},
                   {"hats#jid": bob.bare, "hats#uri": TEACHER, "hats#title": "x" * 300}):
        condition = xml.condition(command(alice, cave, DON, fields))
        assert condition in ("bad-request", "not-acceptable", "jid-malformed"), fields
    assert xml.condition(doff(alice, cave, bob.bare)) == "item-not-found"
    assert xml.condition(command(alice, cave, "urn:xmpp:hats:commands:throw")) == "item-not-found"
    cave.expect_nothing(alice, f"<presence from='{cave.at('b')}'/>", after=[alice])


def test_nobody_wears_too_many(alice, bob, cave):
    answers = [don(alice, cave, bob.bare, f"urn:example:{i}", str(i)) for i in range(9)]
    assert [a.get("type") for a in answers] == ["result"] * 8 + ["error"]
    assert xml.condition(answers[-1]) == "resource-constraint"
    assert don(alice, cave, bob.bare, "urn:example:3", "three").get("type") == "result"


def test_a_command_is_cancelled(alice, bob, cave):
    answer = command(alice, cave, DON, more="action='cancel' sessionid='s1'")
    assert answer.find(f"{{{COMMANDS}}}command").get("status") == "canceled"


@pytest.mark.parametrize("when", ["before", "after"])
def test_hats_of_a_persistent_room_survive(server, alice, bob, when):
    """Given before it became persistent, or after."""
    heath = Room("heath").create(alice, "owner", persistentroom=when == "after")
    don(alice, heath, bob.bare)
    heath.configure(alice, persistentroom=True)
    don(alice, heath, "x@example.org")
    doff(alice, heath, "x@example.org")
    server.restart()
    assert hats(heath.enter(server.client("bob", "b"), "b").own) == {TEACHER: "Teacher"}


def test_hats_end_with_the_room(alice, bob, cave):
    heath = Room("heath").create(alice, "owner", persistentroom=True)
    don(alice, heath, bob.bare)
    assert heath.destroy(alice).get("type") == "result"
    heath.create(alice, "owner", persistentroom=True)
    assert hats(heath.enter(bob, "b").own) == {}


# --- hats to choose from ---


def listed(client, room):
    """{(uri, title, who)}: who is empty where it is one to choose from"""
    rows = []
    for node in (LIST, WORN):
        answer = command(client, room, node)
        assert answer.get("type") == "result"
        rows += [{f.get("var"): f.findtext(f"{{{muc.DATA}}}value") or "" for f in item}
                 for item in answer.iter(f"{{{muc.DATA}}}item")]
    return {(r["hats#uri"], r["hats#title"], r.get("hats#jid", "")) for r in rows}


def test_hats_to_choose_from(alice, bob, carol, cave):
    fields = {"hats#uri": TEACHER, "hats#title": "Teacher"}
    assert command(alice, cave, CREATE, fields).get("type") == "result"
    form = command(alice, cave, DON).find(f".//{{{muc.DATA}}}field[@var='hats#uri']")
    assert form.get("type") == "list-single"
    assert [(o.get("label"), o.findtext(f"{{{muc.DATA}}}value"))
            for o in form.iter(f"{{{muc.DATA}}}option")] == [("Teacher", TEACHER)]
    command(alice, cave, DON, {"hats#jid": bob.bare, "hats#uri": TEACHER})
    assert hats(cave.presence(carol, "b")) == {TEACHER: "Teacher"}
    assert listed(alice, cave) == {(TEACHER, "Teacher", ""), (TEACHER, "Teacher", bob.bare)}
    assert command(alice, cave, DESTROY, {"hats#uri": TEACHER}).get("type") == "result"
    assert hats(cave.presence(carol, "b")) == {}
    assert listed(alice, cave) == set()
    assert xml.condition(command(alice, cave, DESTROY, {"hats#uri": TEACHER})) == "item-not-found"


def hats_hash(client, room):
    return disco_info(client, room.jid)[2][muc.INFO].get("hats#hash")


def test_a_hat_is_defined_anew(alice, bob, carol, cave):
    """§3.2: users with the hat are shown with the new title, and all learn that the list has
    changed."""
    assert hats_hash(bob, cave) is None
    command(alice, cave, CREATE, {"hats#uri": TEACHER, "hats#title": "Teacher"})
    first = hats_hash(bob, cave)
    assert first and cave.notice(carol) == {104}
    command(alice, cave, DON, {"hats#jid": bob.bare, "hats#uri": TEACHER})
    assert hats(cave.presence(carol, "b")) == {TEACHER: "Teacher"}
    command(alice, cave, CREATE, {"hats#uri": TEACHER, "hats#title": "Professor"})
    assert hats(cave.presence(carol, "b")) == {TEACHER: "Professor"}
    assert cave.notice(carol) == {104} and hats_hash(bob, cave) not in (None, first)
    command(alice, cave, DESTROY, {"hats#uri": TEACHER})
    assert cave.notice(carol) == {104} and hats_hash(bob, cave) is None


def test_a_closed_room_lists_no_hats(alice, bob, carol, cave):
    cave.configure(alice, membersonly=True)
    cave.gone(carol, "c")
    assert xml.condition(command(carol, cave, LIST)) == "forbidden"


def test_owners_define_hats(alice, bob, carol, cave):
    cave.set_affiliation(alice, bob.bare, "admin")
    for node in (CREATE, DESTROY):
        assert xml.condition(command(bob, cave, node, {"hats#uri": TEACHER})) == "forbidden"
    assert listed(bob, cave) == set()
    assert command(carol, cave, LIST).get("type") == "result"
    assert xml.condition(command(carol, cave, WORN)) == "forbidden"
    for fields in ({}, {"hats#uri": "no uri"}, {"hats#title": "x"}):
        assert command(alice, cave, CREATE, fields).get("type") == "error"


def test_defined_hats_outlive_a_restart(server, alice, bob):
    heath = Room("heath").create(alice, "owner", persistentroom=True)
    for uri in (TEACHER, "urn:example:proctor"):
        command(alice, heath, CREATE, {"hats#uri": uri, "hats#title": "t"})
        don(alice, heath, bob.bare, uri, "t")
    command(alice, heath, DESTROY, {"hats#uri": TEACHER})
    command(alice, heath, CREATE, {"hats#uri": "urn:example:proctor", "hats#title": "Proctor"})
    server.restart()
    alice = server.client("alice", "a")
    assert listed(alice, heath) == {("urn:example:proctor", "Proctor", who)
                                    for who in ("", bob.bare)}


def test_not_too_many_are_defined(alice, cave):
    answers = [command(alice, cave, CREATE, {"hats#uri": f"urn:example:{i}"}) for i in range(65)]
    assert [a.get("type") for a in answers] == ["result"] * 64 + ["error"]


def test_a_hat_for_a_room_that_ends_leaves_nothing(server, alice):
    """A request at the same time is refused, and leaves no row."""
    heath = Room("heath").create(alice, "owner", persistentroom=True)
    form = muc.submit("urn:xmpp:hats:commands", {"hats#jid": alice.bare, "hats#uri": TEACHER})
    alice.send(f"<iq type='set' id='end' to='{heath}'><query xmlns='{muc.OWNER}'><destroy/></query>"
               f"</iq><iq type='set' id='hat' to='{heath}'>"
               f"<command xmlns='{COMMANDS}' node='{DON}'>{form}</command></iq>")
    alice.expect("<iq type='result' id='end'/>")
    alice.expect("<iq type='error' id='hat'/>")
    with server.database(read_only=True) as db:
        assert not list(db.execute(
            "SELECT 1 FROM room_hat WHERE room NOT IN (SELECT id FROM room)"))
