"""Rooms under abuse: floods, storms of joins, names that imitate, lists that are too long, clients
that do not read, forms that make no sense, and what a crash may leave behind (XEP-0045, XEP-0421).

MUSTER_MEMBERS (100000) chooses the length of the long list."""
import os
import signal
import socket
import time

import pytest

from harness import muc, xml
from harness.client import TIMEOUT, Gone, until
from harness.muc import Room, Seen, item

MEMBERS = int(os.environ.get("MUSTER_MEMBERS", "100000"))
RSM = "http://jabber.org/protocol/rsm"
TICKS = os.sysconf("SC_CLK_TCK")
SANITIZED = "build/release" not in os.environ.get("MUSTERD", "build/release")
SLACK = 10 if SANITIZED else 1


def cpu_s(server):
    """CPU seconds that the server has used."""
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def occupants(room, client):
    """The nicks in a room, as it tells somebody who is in it."""
    return {jid.partition("/")[2] for jid, _ in muc.disco_items(client, room.jid)}


def list_by_pages(room, client, affiliation):
    """The addresses of an affiliation, however many answers it takes (XEP-0059)."""
    jids, after = [], ""
    while True:
        rsm = f"<set xmlns='{RSM}'>{after}</set>"
        answer = client.result("get", f"<query xmlns='{muc.ADMIN}'>"
                               f"<item affiliation='{affiliation}'/>{rsm}</query>", to=room.jid)
        page = [i.get("jid") for i in answer.iter(f"{{{muc.ADMIN}}}item")]
        jids += page
        count = answer.findtext(f"{{{RSM}}}set/{{{RSM}}}count")
        if not page or count is None or len(jids) >= int(count):
            return jids
        last = answer.findtext(f"{{{RSM}}}set/{{{RSM}}}last")
        after = f"<after>{last}</after>"


def room_bodies(room, client, nick):
    """The bodies that have come from an occupant, in order; they leave the inbox."""
    mine = [e for e in client.inbox if e.tag == f"{{{xml.CLIENT}}}message"
            and e.get("type") == "groupchat" and e.get("from") == room.at(nick)]
    client.inbox = [e for e in client.inbox if e not in mine]
    return [e.findtext(f"{{{xml.CLIENT}}}body") for e in mine]


# --- floods ---


def two(make_server, rate, burst, nick):
    """A room of alice, and bob in it by this name, where an occupant may send so fast."""
    server = make_server("alice", "bob", settings={
        "muc.message-rate": rate, "muc.message-burst": burst})
    alice, bob = server.client("alice", "x"), server.client("bob", "x")
    room = Room().create(alice, "alice")
    room.enter(bob, nick)
    return room, alice, bob


def test_a_flood_of_one_occupant(make_server):
    """What is over the limit of an occupant is refused; the others hear what was within, in order,
    and have limits of their own."""
    rate, burst, sent = 10, 20, 600
    server = make_server("alice", "bob", "carol", settings={
        "muc.message-rate": rate, "muc.message-burst": burst})
    alice, bob, carol = (server.client(name, "x") for name in ("alice", "bob", "carol"))
    room = Room().create(alice, "alice")
    room.enter(bob, "bob")
    room.enter(carol, "carol")
    room.forget(alice, bob, carol)
    began = time.monotonic()
    bob.send("".join(f"<message to='{room}' type='groupchat' id='f{i}'><body>{i}</body></message>"
                     for i in range(sent)))
    carol.send(f"<message to='{room}' type='groupchat'><body>me too</body></message>")
    refused, heard = [], []

    def all_answered():
        for e in list(bob.inbox):
            if e.get("type") == "error" and e.tag.endswith("}message"):
                bob.inbox.remove(e)
                assert xml.condition(e) == "policy-violation", xml.canonical(e)
                assert e.find(f"{{{xml.CLIENT}}}error").get("type") == "wait"
                refused.append(int(e.get("id")[1:]))
        heard.extend(int(b) for b in room_bodies(room, bob, "bob"))
        return len(refused) + len(heard) == sent

    bob.wait("an answer to each message", all_answered)
    took = time.monotonic() - began
    assert burst <= len(heard) <= burst + rate * (took + 1), (len(heard), took)
    assert heard == sorted(heard) and refused == sorted(refused)
    assert not set(heard) & set(refused)
    room.expect_body(alice, "carol", "me too")
    said = []
    alice.wait("as much as bob heard", lambda: said.extend(
        int(b) for b in room_bodies(room, alice, "bob")) or len(said) >= len(heard))
    assert said == heard
    # the user can speak again after waiting
    until("allowance", lambda: room.say(bob, "slowly now") and bob.ping() is None
          and "slowly now" in room_bodies(room, bob, "bob"))
    room.expect_body(alice, "bob", "slowly now")


def test_coming_back_gains_nothing(make_server):
    """Leaving and entering again gives no new burst, also with another nickname."""
    rate, burst = 5, 20
    server = make_server("alice", "bob", settings={
        "muc.message-rate": rate, "muc.message-burst": burst})
    alice, bob = server.client("alice", "x"), server.client("bob", "x")
    room = Room().create(alice, "alice")
    heard, began = 0, time.monotonic()
    for i in range(6):
        room.enter(bob, f"bob{i}")
        bob.send(f"<message to='{room}' type='groupchat'><body>x</body></message>" * burst)
        room.leave(bob, f"bob{i}")
        bob.inbox.clear()
        room.gone(alice, f"bob{i}")
        heard += len(room_bodies(room, alice, f"bob{i}"))
    assert burst <= heard <= burst + rate * (time.monotonic() - began + 1)


def test_a_flood_of_private_messages(make_server):
    """The limit counts what goes to one occupant too."""
    room, alice, bob = two(make_server, 5, 10, "bob")
    bob.send("".join(f"<message to='{room.at('alice')}' type='chat' id='p{i}'><body>{i}</body>"
                     "</message>" for i in range(200)))
    bob.expect("<message type='error' id='p199'/>")
    room.flush(bob, alice)
    came = [e for e in alice.inbox if e.get("from") == room.at("bob") and e.get("type") == "chat"]
    assert 10 <= len(came) < 100


def test_thousands_of_joins_and_leaves(make_server):
    """Two clients come and go under ever new names, without waiting: it takes bounded CPU time, the
    others see as many come as go, and nobody is left behind."""
    rounds = 1000
    server = make_server("alice", "bob", "carol", settings={"muc.message-rate": "none"},
                         why="each join counts as a message")
    alice = server.client("alice", "x")
    room = Room().create(alice, "alice")
    hoppers = [server.client(name, "x") for name in ("bob", "carol")]
    for client in (alice, *hoppers):
        client.timeout = 10 * SLACK + 20
    before = cpu_s(server)
    for step in range(0, rounds, 100):
        for client in hoppers:
            name = client.bare.partition("@")[0]
            client.send("".join(
                f"<presence to='{room.at(f'{name}{i}')}'>{muc.X}</presence>"
                f"<presence to='{room.at(f'{name}{i}')}' type='unavailable'/>"
                for i in range(step, step + 100)))
            client.pump(0)
    for client in hoppers:
        last = f"{client.bare.partition('@')[0]}{rounds - 1}"
        client.wait("the last leave", lambda c=client, n=last: c._take(
            lambda e: e.get("from") == room.at(n) and e.get("type") == "unavailable"))
    room.flush(*hoppers, alice)
    assert cpu_s(server) - before < 2 * SLACK  # for 2,000 of each
    there = {}
    for e in alice.inbox:
        if e.tag.endswith("}presence"):
            seen = Seen(e)
            there[seen.nick] = not seen.gone
    assert not [nick for nick, here in there.items() if here and nick != "alice"]
    assert occupants(room, alice) == {"alice"}
    for client in hoppers:  # and each attempt was answered: entered, or refused
        assert not [e for e in client.inbox if e.get("type") == "error"]


def test_who_comes_and_goes_too_often(make_server):
    """A user who enters and leaves too often is refused for a while. One who only sent many
    messages can enter again at once."""
    burst = 20
    room, alice, bob = two(make_server, 1, burst, "bob")
    bob.send(f"<message to='{room}' type='groupchat'><body>x</body></message>" * 100)
    room.leave(bob, "bob")
    room.enter(bob, "bob")
    room.leave(bob, "bob")
    alice.inbox.clear()
    for i in range(200):
        bob.send(f"<presence to='{room.at(f'b{i}')}'>{muc.X}</presence>"
                 f"<presence to='{room.at(f'b{i}')}' type='unavailable'/>")
    assert room.presence_error(bob) == ("policy-violation", "wait")
    room.flush(bob, alice)
    came = [e for e in alice.inbox if e.tag.endswith("}presence")
            and e.get("type") != "unavailable"]
    assert 5 <= len(came) <= burst + 10
    assert occupants(room, alice) == {"alice"}


def test_a_storm_of_nick_changes(make_server):
    """They count like messages: faster ones are refused, and all occupants see the same in the
    end."""
    sent, burst = 300, 50
    room, alice, bob = two(make_server, 10, burst, "n0")
    bob.send("".join(f"<presence to='{room.at(f'n{i}')}'/>" for i in range(1, sent + 1)))
    refused, changed = [], []

    def all_answered():
        for e in list(bob.inbox):
            if e.tag.endswith("}presence") and e.get("type") == "error":
                bob.inbox.remove(e)
                assert xml.condition(e) == "policy-violation", xml.canonical(e)
                refused.append(e)
            elif e.tag.endswith("}presence") and 303 in muc.codes(e):
                bob.inbox.remove(e)
                changed.append(Seen(e).new_nick)
        return len(refused) + len(changed) == sent

    bob.wait("an answer to each change", all_answered)
    assert burst <= len(changed) < sent - burst
    room.flush(bob, alice)
    assert occupants(room, alice) == {"alice", changed[-1]}
    there = {}
    for e in alice.inbox:
        if e.tag.endswith("}presence"):
            seen = Seen(e)
            there[seen.nick] = not seen.gone
    assert [n for n, here in there.items() if here and n != "alice"] == [changed[-1]]


def test_a_storm_of_availability(make_server):
    """Of many the others see some, and the last one in any case."""
    sent, burst = 400, 20
    room, alice, bob = two(make_server, 5, burst, "bob")
    room.forget(alice, bob)
    began = time.monotonic()
    bob.send("".join(f"<presence to='{room.at('bob')}'><status>{i}</status></presence>"
                     for i in range(sent)))
    seen = []
    while not seen or seen[-1] != sent - 1:
        seen.append(int(room.presence(alice, "bob").status))
    assert seen == sorted(seen) and len(seen) <= burst + 5 * (time.monotonic() - began + 1)
    assert int(room.presence(bob, "bob").status) == 0  # all see the same
    entered = room.enter(make_server.servers[0].client("alice", "y"), "again")
    assert entered.others["bob"].status == f"{sent - 1}"


def test_all_of_a_room_again_and_again(make_server):
    """Who asks to enter though he is there gets everything anew, as often as he might speak."""
    server = make_server("alice", "bob", settings={
        "muc.message-rate": 1, "muc.message-burst": 5})
    bob = server.client("bob", "x")
    room = Room().create(bob, "bob")
    bob.send(f"<presence to='{room.at('bob')}'>{muc.X}</presence>" * 50)
    room.flush(bob)
    errors = [e for e in bob.inbox if e.get("type") == "error"]
    assert len(errors) >= 40
    assert {xml.condition(e) for e in errors} == {"policy-violation"}


def test_a_flood_of_requests_to_an_occupant(make_server):
    """Ten count as a message; what is beyond may come later."""
    sent = 300
    room, alice, bob = two(make_server, 1, 10, "bob")
    bob.send("".join(f"<iq type='get' id='q{i}' to='{room.at('alice')}'><query xmlns='urn:x'/></iq>"
                     for i in range(sent)))
    error = bob.expect_error("policy-violation", "wait", f"<iq id='q{sent - 1}'/>")
    assert error.get("from") == room.at("alice")
    room.flush(bob, alice)
    came = [e for e in alice.inbox if e.tag.endswith("}iq") and e.get("from") == room.at("bob")]
    assert 50 <= len(came) <= 120


def test_a_flood_of_declines(make_server):
    """Of those who are not in the room there are not more than of one who is."""
    server = make_server("alice", "bob", settings={
        "muc.message-rate": 1, "muc.message-burst": 10})
    alice, bob = server.client("alice", "x"), server.client("bob", "x")
    room = Room().create(alice, "alice")
    bob.send(f"<message to='{room}'><x xmlns='{muc.USER}'><decline to='{alice.bare}'/></x>"
             "</message>" * 100)
    bob.expect_error("policy-violation", "wait", "<message type='error'/>")
    room.flush(bob, alice)
    came = [e for e in alice.inbox if e.find(f"{{{muc.USER}}}x/{{{muc.USER}}}decline") is not None]
    assert 5 <= len(came) <= 20


def test_requests_of_an_owner_without_waiting(make_server):
    """Each has its turn, in their order, however many others wait; those behind the end of the room
    are told that there is none."""
    server = make_server("alice")
    alice = server.client("alice", "x")
    room, sent = Room().create(alice, "alice", persistentroom=True), 300

    def configure(i):
        return muc.submit(muc.CONFIG, {"muc#roomconfig_roomdesc": f"{i}"})

    alice.send("".join(f"<iq type='set' id='c{i}' to='{room}'><query xmlns='{muc.OWNER}'>"
                       f"{'<destroy/>' if i == sent else configure(i)}</query></iq>"
                       for i in range(sent + 5)))
    for i in range(sent + 5):
        answer = alice.expect(f"<iq id='c{i}'/>")
        assert answer.get("type") == ("result" if i <= sent else "error"), xml.canonical(answer)
    assert xml.condition(answer) == "item-not-found"


def test_a_room_ends_once(server, alice):
    room = Room().create(alice, "alice")
    reply = room.owner(alice, "set", "<destroy/><destroy jid='b@localhost'/>")
    assert xml.condition(reply) == "bad-request"
    assert occupants(room, alice) == {"alice"}


# --- what is too long ---


def test_an_oversized_subject(make_server):
    server = make_server("alice", "bob", settings={"muc.subject-bytes": "1KiB"})
    alice, bob = server.client("alice", "x"), server.client("bob", "x")
    room = Room().create(alice, "alice")
    fits = "é" * 512
    room.set_subject(alice, fits)
    room.expect_subject(alice, "alice", fits)
    ident = room.set_subject(alice, fits + "!")
    condition, kind = room.message_error(alice, ident)
    assert (condition, kind) in (("policy-violation", "modify"), ("not-acceptable", "modify"))
    entered = room.enter(bob, "bob")
    assert entered.subject.findtext(f"{{{xml.CLIENT}}}subject") == fits


def test_an_oversized_nick(make_server):
    server = make_server("alice", "bob", settings={"muc.nick-bytes": 64})
    alice, bob = server.client("alice", "x"), server.client("bob", "x")
    room = Room().create(alice, "alice")
    condition, kind = room.refused(bob, "é" * 33)
    assert (condition, kind) in (("policy-violation", "modify"), ("not-acceptable", "modify"),
                                 ("jid-malformed", "modify"))
    room.enter(bob, "é" * 32)
    bob.send(f"<presence to='{room.at('b' * 65)}'/>")
    assert room.presence_error(bob)[0] == condition
    assert occupants(room, alice) == {"alice", "é" * 32}


# --- names that imitate ---


# As it is, in capitals; capital i, digit, bar; with a Cyrillic a; fullwidth; with spaces around it.
ALIKE = ("larry", "LARRY", "Iarry", "1arry", "|arry", "l\u0430rry", "\uff4carry", " larry\u00a0")


@pytest.mark.parametrize("nick", ALIKE)
def test_a_nick_that_looks_like_another(server, alice, bob, carol, nick):
    """Whatever the case, the width and the script: conflict (§7.2.8, RFC 8266, UTS 39)."""
    room = Room().create(alice, "alice")
    room.enter(bob, "larry")
    assert room.refused(carol, nick) == ("conflict", "cancel")
    room.enter(carol, "carol")
    carol.send(f"<presence to='{room.at(nick)}'/>")
    assert room.presence_error(carol) == ("conflict", "cancel")
    assert occupants(room, alice) == {"alice", "larry", "carol"}
    room.leave(bob, "larry")
    carol.send(f"<presence to='{room.at(nick)}'/>")  # the name is free
    assert 303 in room.gone(carol, "carol").codes


def test_a_nick_that_looks_like_a_registered_one(server, alice, bob, carol):
    """Nobody else takes a name that a member has, in the room or not (§7.2.8)."""
    room = Room().create(alice, "alice")
    room.set_affiliation(alice, bob.bare, "member", nick="larry")
    for nick in ("larry", "Larry", "Iarry"):
        assert room.refused(carol, nick) == ("conflict", "cancel"), nick
    room.enter(bob, "larry")


def test_names_that_only_resemble(server, alice, bob, carol):
    room = Room().create(alice, "alice")
    room.enter(bob, "larry")
    for nick in ("harry", "larr", "lárry", "ларри"):
        room.enter(carol, nick)
        room.leave(carol, nick)


def test_looks_may_be_free(make_server):
    """The setting ends look-alikes, not the comparison whatever the case."""
    server = make_server("alice", "bob", settings={"muc.look-alike": True})
    alice, bob = server.client("alice", "x"), server.client("bob", "x")
    room = Room().create(alice, "larry")
    assert room.refused(bob, "Iarry") == ("conflict", "cancel")
    server.settings["muc.look-alike"] = False
    server.write()
    server.signal(signal.SIGHUP)
    server.wait_log("server.reloaded")
    assert room.refused(bob, "LARRY") == ("conflict", "cancel")
    room.enter(bob, "Iarry")


def test_a_nick_of_nothing(server, alice, bob):
    """Only spaces, or nothing: refused, and nobody hears of it."""
    room = Room().create(alice, "alice")
    for nick in ("", " ", "\u00a0\u2003"):
        condition, kind = room.refused(bob, nick)
        assert (condition, kind) in (("jid-malformed", "modify"), ("not-acceptable", "modify"),
                                     ("bad-request", "modify")), nick
    assert occupants(room, alice) == {"alice"}


def test_a_nick_is_shown_as_it_is_stored(server, alice, bob):
    """The room enforces the profile and tells the user the changed nickname (status 210)."""
    room = Room().create(alice, "alice")
    room.knock(bob, "  third\u00a0 witch ")
    seen = Seen(room.expect(bob, "presence", "third witch"))
    while 110 not in seen.codes:
        seen = Seen(room.expect(bob, "presence", "third witch"))
    assert 210 in seen.codes
    assert room.presence(alice, "third witch").role == "participant"


def test_forged_marks_of_an_occupant(server, alice, bob):
    """Identifier and muc#user of others do not pass (XEP-0421 §4, XEP-0045 §17.2)."""
    room = Room().create(alice, "alice")
    room.enter(bob, "bob")
    room.forget(alice, bob)
    forged = (f"<occupant-id xmlns='{muc.OCCUPANT_ID}' id='forged'/>"
              f"<x xmlns='{muc.USER}'><item affiliation='owner' role='moderator'/>"
              "<status code='301'/></x>")
    room.send(bob, f"<body>hi</body>{forged}")
    got = room.expect_body(alice, "bob", "hi")
    ids = [e.get("id") for e in got.iter(f"{{{muc.OCCUPANT_ID}}}occupant-id")]
    assert len(ids) == 1 and ids[0] != "forged"
    assert muc.codes(got) == set()
    bob.send(f"<presence to='{room.at('bob')}'><status>x</status>{forged}</presence>")
    seen = room.presence(alice, "bob")
    assert seen.standing == ("none", "participant") and 301 not in seen.codes
    assert [e.get("id") for e in seen.element.iter(f"{{{muc.OCCUPANT_ID}}}occupant-id")] == ids


# --- lists ---


def test_a_member_list_of_thousands(make_server):
    """It is taken in stanzas of their usual size, decides who enters at once, and is in the
    database: after a restart it is there."""
    server = make_server("alice", "bob", "carol", settings={
        "muc.affiliations-max": max(MEMBERS + 10, 1000)}, why="a list of thousands")
    alice, bob = server.client("alice", "x"), server.client("bob", "x")
    alice.timeout = bob.timeout = 20 * SLACK
    room = Room().create(alice, "alice", persistentroom=True)
    for first in range(0, MEMBERS, 1000):
        room.change(alice, *(item(affiliation="member", jid=f"m{i}@example.org")
                             for i in range(first, min(first + 1000, MEMBERS))))
    room.configure(alice, membersonly=True)
    assert room.refused(bob, "bob") == ("registration-required", "auth")
    room.set_affiliation(alice, bob.bare, "member")
    room.forget(alice, bob)  # the invitation is sent again after the restart
    began, used = time.monotonic(), server.cpu_seconds()
    room.enter(bob, "bob")
    assert server.cpu_seconds() - used < 1 * SLACK and time.monotonic() - began < TIMEOUT
    server.kill()
    server.start()
    alice, bob, carol = (server.client(n, "y") for n in ("alice", "bob", "carol"))
    assert room.refused(carol, "carol") == ("registration-required", "auth")
    room.forget(bob)
    room.enter(bob, "bob")
    room.enter(alice, "alice")
    alice.timeout = 20 * SLACK
    room.set_affiliation(alice, f"m{MEMBERS - 1}@example.org", "none")
    jids = list_by_pages(room, alice, "member")
    assert len(jids) == len(set(jids)) == MEMBERS and f"m{MEMBERS - 1}@example.org" not in jids


def test_a_list_with_long_reasons(make_server):
    """An answer has an end in bytes, too: pages get shorter, and the stream stays what it was."""
    server = make_server("alice")
    alice = server.client("alice", "x")
    alice.timeout = 20 * SLACK
    room = Room().create(alice, "alice")
    count = 1200
    for first in range(0, count, 40):
        room.change(alice, *(item(affiliation="outcast", jid=f"o{i}@example.org", reason="&" * 1000)
                             for i in range(first, first + 40)))
    jids = list_by_pages(room, alice, "outcast")
    assert set(jids) == {f"o{i}@example.org" for i in range(count)} and len(jids) == count
    backward, before = [], "<before/>"
    while True:  # from its end, and nothing is left out between two pages
        answer = alice.result("get", f"<query xmlns='{muc.ADMIN}'><item affiliation='outcast'/>"
                              f"<set xmlns='{RSM}'>{before}</set></query>", to=room.jid)
        page = [i.get("jid") for i in answer.iter(f"{{{muc.ADMIN}}}item")]
        if not page:
            break
        backward = page + backward
        before = f"<before>{page[0]}</before>"
    assert backward == jids
    alice.ping()


def photo(size):
    return f"<vCard xmlns='vcard-temp'><NOTE>{'x' * size}</NOTE></vCard>"


def test_cards_of_ad_hoc_rooms_are_limited(make_server):
    """They are in memory: all of one user's together; a smaller one is taken, and so is that of
    somebody else's room."""
    server = make_server("alice", "bob", settings={"muc.affiliations-bytes": 64 << 10})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    first, second, other = Room("first"), Room("second"), Room("other")
    for room, client in (first, alice), (second, alice), (other, bob):
        room.create(client, "a")
    alice.result("set", photo(40000), to=first.jid)
    assert alice.error("set", photo(40000), to=second.jid)[0] == "resource-constraint"
    alice.result("set", photo(30000), to=first.jid)
    alice.result("set", photo(20000), to=second.jid)
    bob.result("set", photo(40000), to=other.jid)
    first.destroy(alice)
    alice.result("set", photo(40000), to=second.jid)


def test_histories_of_one_user_are_limited(make_server):
    """Beyond that the newest messages are kept; rooms of others keep theirs."""
    server = make_server("alice", "bob", settings={"muc.history-bytes": 64 << 10})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    rooms = [Room(f"r{i}") for i in range(4)]
    other = Room("other")
    for room in rooms:
        room.create(alice, "a")
    other.create(bob, "a")
    for room, client in [(room, alice) for room in rooms] + [(other, bob)]:
        for i in range(6):
            room.say(client, f"{i}" + "x" * 6000)
            room.expect_body(client, "a", f"{i}" + "x" * 6000)
    carol = server.client("bob", "c")
    kept = [len(room.enter(carol, "c").bodies) for room in rooms]
    assert kept[0] == 6 and 1 <= kept[-1] < 4 and sum(kept) * 6000 < 100000
    assert len(other.enter(carol, "c").bodies) == 6
    for room in rooms[0], rooms[2], rooms[3]:
        room.destroy(alice)
    for i in range(6):
        rooms[1].say(alice, f"again {i}" + "x" * 6000)
        rooms[1].expect_body(alice, "a", f"again {i}" + "x" * 6000)
    rooms[1].leave(carol, "c")
    assert len(rooms[1].enter(carol, "c").bodies) >= 6


def test_large_messages_of_many_rooms_are_not_kept(make_server):
    """One message is not more than all rooms of a user may keep together."""
    server = make_server("alice", "bob", settings={"muc.history-bytes": 64 << 10})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    rooms = [Room(f"r{i}") for i in range(3)]
    for room in rooms:
        room.create(alice, "a")
        room.say(alice, "x" * 50000)
        room.expect_body(alice, "a", "x" * 50000)
    assert [len(room.enter(bob, "b").bodies) for room in rooms] == [1, 0, 0]


@pytest.mark.parametrize("persistent", [False, True])
def test_a_list_is_limited_in_bytes(make_server, persistent):
    """Long reasons for few addresses, in all rooms of one user together; what is there can be made
    shorter, and a room of another is not concerned."""
    server = make_server("alice", "bob", settings={"muc.affiliations-bytes": 64 << 10})
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    first, long, other = Room("first"), Room("long"), Room("other")
    for room in first, long:
        room.create(alice, "a", persistentroom=persistent)
    other.create(bob, "b")

    def outcasts(room, start, count, reason="x" * 1000):
        return room.admin(alice, "set", *(item(reason, jid=f"o{i}@elsewhere.example",
                                               affiliation="outcast")
                                          for i in range(start, start + count))).get("type")
    assert outcasts(first, 0, 20) == "result"
    assert "error" in [outcasts(long, 10 * n, 10) for n in range(4)]
    there = len(long.jids(alice, "outcast"))
    assert 20 <= there < 40
    assert first.denied(alice, "set", *(item("x" * 1000, jid=f"p{i}@elsewhere.example",
                                             affiliation="outcast") for i in range(20)))[0] == \
        "resource-constraint"
    if persistent:
        server.restart()
        alice, bob = server.client("alice", "a"), server.client("bob", "b")
        first.enter(alice, "a")
        long.enter(alice, "a")
        other.create(bob, "b")
        assert outcasts(long, there, 20) == "error"
    assert outcasts(first, 0, 20, "short") == "result"
    assert outcasts(long, there, 10) == "result"
    assert outcasts(long, 0, there, "short") == "result"
    other.set_affiliation(bob, "o@elsewhere.example", "outcast", "x" * 1000)
    first.destroy(alice)
    assert outcasts(long, 100, 20) == "result"


def test_rooms_with_long_names(make_server):
    """The list of rooms goes by pages, too."""
    server = make_server("alice", "bob", settings={"muc.rooms-per-user": "none"},
                         why="one user makes them all")
    alice, bob = server.client("alice", "x"), server.client("bob", "x")
    count = 300
    for i in range(count):
        Room(f"r{i}").create(alice if i % 2 else bob, "nick", roomname="&" * 1000)
    jids, after = [], ""
    while len(jids) < count:
        page = muc.disco_items(alice, muc.service(), f"<set xmlns='{RSM}'>{after}</set>")
        assert page and all(name == "&" * 1000 for _, name in page)
        jids += [jid for jid, _ in page]
        after = f"<after>{jids[-1]}</after>"
    assert sorted(jids) == sorted(f"r{i}@{muc.service()}" for i in range(count))


def test_a_list_has_an_end(make_server):
    """One affiliation too many: refused, and none of its stanza is applied."""
    server = make_server("alice", "bob", settings={"muc.affiliations-max": 100})
    alice = server.client("alice", "x")
    room = Room().create(alice, "alice")
    most = [item(affiliation="member", jid=f"m{i}@example.org") for i in range(99)]
    room.change(alice, *most)
    condition, _ = room.denied(alice, "set", item(affiliation="outcast", jid="x@example.org"),
                               item(affiliation="member", jid="y@example.org"))
    assert condition in ("policy-violation", "resource-constraint", "not-acceptable")
    assert room.jids(alice, "outcast") == set()
    assert len(room.jids(alice, "member")) == 99
    room.change(alice, item(affiliation="none", jid="m5@example.org"),
                item(affiliation="member", jid="y@example.org"))
    assert "y@example.org" in room.jids(alice, "member")


def test_a_room_keeps_an_owner(server, alice, bob):
    """Whatever the order of the items of one request, the last owner stays (§10.4: conflict)."""
    room = Room().create(alice, "alice")
    up, down = (item(affiliation=a, jid="x@example.org") for a in ("owner", "none"))
    resign = item(affiliation="none", jid=alice.bare)
    for items in ((resign,), (up, down, resign), (up, resign, down)):
        assert room.denied(alice, "set", *items)[0] == "conflict", items
        assert room.jids(alice, "owner") == {alice.bare}, items
    room.change(alice, item(affiliation="owner", jid=bob.bare), resign)
    assert room.jids(bob, "owner") == {bob.bare}


def test_one_bad_item_spoils_the_stanza(server, alice, bob):
    """Nothing of a request is applied if one of its items is refused (§9.2: the delta)."""
    room = Room().create(alice, "alice")
    good = item(affiliation="member", jid="m@example.org")
    for bad in (item(affiliation="king", jid="x@example.org"), item(affiliation="member"),
                item(affiliation="member", jid="@@"), item(jid="x@example.org"),
                item(role="tyrant", nick="alice"), item(affiliation="outcast", jid=alice.bare)):
        assert room.denied(alice, "set", good, bad)[0] in (
            "bad-request", "jid-malformed", "not-acceptable", "conflict", "item-not-found"), bad
        assert room.jids(alice, "member") == set(), bad
    assert room.denied(alice, "set")[0] == "bad-request"


# --- an occupant that does not read ---


def test_a_slow_occupant(make_server):
    """The room goes on without one who does not read, and costs bounded memory; the slow one gets
    all in order when it reads again, or was shown to leave."""
    count, size = 1500, 8000
    server = make_server("alice", "bob", "carol", settings={
        "muc.message-rate": "none", "sm.queue-max": 1000}, why="they talk faster than people")
    alice, bob = server.client("alice", "x"), server.client("bob", "x")
    slow = server.client("carol", "x")
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    room = Room().create(alice, "alice")
    for client, nick in ((bob, "bob"), (slow, "slow")):
        room.enter(client, nick)
    alice.timeout = bob.timeout = 20 * SLACK
    before = server.status_kib()
    padding = "x" * size
    heard = 0
    for i in range(count):
        room.say(alice, f"{i} {padding}")
        if i % 50 == 49:
            room.expect_body(alice, "alice", f"{i} {padding}")
            alice.inbox.clear()
            room.expect_body(bob, "alice", f"{i} {padding}")
            heard += len(room_bodies(room, bob, "alice")) + 1
            bob.log.clear()
            alice.log.clear()
    assert heard == count
    grown = server.status_kib() - before
    assert grown < 64 * 1024 * (4 if SANITIZED else 1), f"{grown} KiB"
    slow.timeout = 20 * SLACK
    try:
        room.expect_body(slow, "alice", f"{count - 1} {padding}")
        numbers = [int(b.partition(" ")[0]) for b in room_bodies(room, slow, "alice")]
        assert numbers == list(range(count - 1))
    except (Gone, OSError):
        until("the slow one to be gone", lambda: occupants(room, alice) == {"alice", "bob"})


# --- forms ---


WRONG = [
    {"maxusers": "many"}, {"maxusers": "-1"}, {"maxusers": "0"},
    {"maxusers": "99999999999999999999"}, {"maxusers": ["10", "20"]}, {"maxusers": ""},
    {"membersonly": "perhaps"}, {"membersonly": "2"}, {"membersonly": ["1", "0"]},
    {"moderatedroom": "yes"}, {"publicroom": "<b/>"}, {"persistentroom": "TRUE!"},
    {"whois": "everybody"}, {"whois": ["moderators", "anyone"]}, {"allowpm": "friends"},
    {"presencebroadcast": ["king"]}, {"roomowners": ["@@"]}, {"roomadmins": ["a@b@c"]},
    {"roomname": "x" * 5000}, {"roomdesc": "é" * 3000},
    {"passwordprotectedroom": True, "roomsecret": ""},
    {"roomname": "good", "maxusers": "bad"},
]


@pytest.mark.parametrize("fields", WRONG, ids=lambda f: ",".join(f))
def test_a_form_that_makes_no_sense(make_server, fields):
    """not-acceptable or bad-request, and nothing has changed (§10.1.3)."""
    server = make_server("alice")
    alice = server.client("alice", "x")
    room = Room().create(alice, "alice")
    was = room.configuration(alice)
    reply = room.try_configure(alice, fields)
    assert reply.get("type") == "error", xml.canonical(reply)
    assert xml.condition(reply) in ("not-acceptable", "bad-request", "jid-malformed")
    assert reply.find(f"{{{xml.CLIENT}}}error").get("type") == "modify"
    assert room.configuration(alice) == was
    room.say(alice, "still here")
    room.expect_body(alice, "alice", "still here")


def test_requests_of_an_owner_that_make_no_sense(server, alice, bob):
    room = Room().create(alice, "alice")
    room.enter(bob, "bob")
    data = f"<x xmlns='{muc.DATA}'"
    for inner in ("", "<what/>", f"{data} type='form'/>", f"{data}/>",
                  f"{data} type='submit'><field/></x>",
                  muc.submit("urn:example:other", {"x": "y"})):
        reply = room.owner(alice, "set", inner)
        assert reply.get("type") == "error", (inner, xml.canonical(reply))
        assert xml.condition(reply) in ("bad-request", "not-acceptable"), inner
    for kind in ("get", "set"):
        reply = room.owner(bob, kind, "" if kind == "get" else f"{data} type='submit'/>")
        assert xml.condition(reply) == "forbidden"
    assert occupants(room, alice) == {"alice", "bob"}


# --- ghosts ---


def test_no_ghosts_after_a_crash(make_server):
    """kill -9 with occupants and messages on the way: nobody is in the room afterwards, and all
    names are free."""
    server = make_server("alice", "bob", "carol")
    alice, bob = server.client("alice", "x"), server.client("bob", "x")
    room = Room().create(alice, "alice", persistentroom=True)
    room.enter(bob, "bob")
    for i in range(100):
        room.say(bob, str(i))
    server.kill()
    server.start()
    carol = server.client("carol", "y")
    entered = room.enter(carol, "bob")
    assert entered.others == {}
    assert {nick for nick, seen in entered.absent.items()} <= {"alice"}


def test_no_ghost_of_a_cut_connection(make_server):
    """A connection that is reset takes its occupant with it, and the last one an ad hoc room."""
    server = make_server("alice", "bob")
    alice, bob = server.client("alice", "x"), server.client("bob", "x")
    room = Room().create(alice, "alice")
    room.enter(bob, "bob")
    bob.cut()
    room.gone(alice, "bob")
    alice.cut()
    bob = server.client("bob", "y")

    def is_new():
        if 201 in room.enter(bob, "bob").own.codes:
            return True
        room.leave(bob, "bob")
        return False

    until("new room", is_new)


def test_rooms_that_do_not_exist(make_server):
    """Questions to ever new addresses make nothing that stays."""
    server = make_server("alice")
    alice = server.client("alice", "x")
    alice.timeout = 20 * SLACK

    def ask(first, count):
        for step in range(first, first + count, 500):
            alice.send("".join(
                f"<iq type='get' id='q{i}' to='r{i}@{muc.service()}'>"
                f"<query xmlns='{xml.DISCO_INFO}'/></iq>" for i in range(step, step + 500)))
            for i in range(step, step + 500):
                alice.expect_error("item-not-found", "cancel", f"<iq type='error' id='q{i}'/>")
            alice.log.clear()

    ask(0, 3000)
    before = server.status_kib()
    ask(3000, 9000)
    if not SANITIZED:  # which keeps what was freed for a while
        assert server.status_kib() - before < 4 * 1024
    assert muc.disco_items(alice, muc.service()) == []
