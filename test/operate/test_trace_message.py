"""trace message: the way of one message, and never its text."""
import json
import socket

import pytest

from harness import federation, muc, nodes
from harness.client import until
from harness.component import Component
from harness.links import ONE as HOME, OTHER as AWAY
from services.test_push import DOMAIN, SECRET, announcement, enable

ALICE, BOB = "alice@localhost", "bob@localhost"
ROOM = "cave@conference.localhost"
ROUTED = {"routed"} if nodes.COUNT > 1 else set()  # each client is on the node that is not its home


def steps(server, *arguments):
    return server.rows("trace", "message", *arguments)


def events(server, *arguments):
    return [r["event"] for r in steps(server, *arguments)]


def archives(server, ident, *wanted):
    """What each archive did with it: (event, whose), when all that are wanted are there."""
    def found():
        return {(r["event"], r["whom"]) for r in steps(server, ident)
                if r["event"] in ("archived", "stored", "not-stored")}
    if wanted:
        until("archives", lambda: found() >= set(wanted))
    return found()


def keeps_nothing(client):
    client.result("set", "<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>")


def way(server, last, *arguments):
    """The events, when the last one is there."""
    return until(last, lambda: (found := events(server, *arguments)) and last in found and found)


def say(client, to, number, kind="chat"):
    client.send(f"<message to='{to}' type='{kind}' id='{number}'><body>topsecret</body></message>")


def test_both_are_there(server, alice, bob):
    bob.enable_sm()
    say(alice, BOB, "m1")
    bob.expect("<message id='m1'/>")
    bob.ack()
    archives(server, "m1", ("archived", ALICE), ("archived", BOB))
    found = way(server, "acknowledged", "m1")
    assert set(found) == {"sent", "delivered", "written", "archived", "acknowledged"} | ROUTED
    assert found[0] == "sent" and found.index("written") < found.index("acknowledged")
    rows = steps(server, "m1")
    assert {(r["from"], r["to"]) for r in rows} == {(str(alice), BOB)}
    assert archives(server, "m1") == {("archived", ALICE), ("archived", BOB)}
    assert {r["whom"] for r in rows if r["event"] in ("written", "acknowledged")} == {str(bob)}
    assert "topsecret" not in json.dumps(rows)
    times = [r["time"] for r in rows]
    assert times == sorted(times)
    # By addresses and time.
    assert steps(server, "--from", ALICE, "--to", BOB, "--around", times[0]) == rows
    assert steps(server, "m1", "--from", BOB) == []
    assert steps(server, "m1", "--around", "2001-01-01T00:00:00Z") == []
    assert steps(server, "--from", str(alice)) == rows
    assert steps(server) == rows
    assert server.ctl_run("trace", "message", "m1", "--around", "yesterday").returncode != 0
    entries = server.rows("audit", "list", "--command", "trace message")
    assert entries and "m1" in json.dumps(entries)


def test_the_steps_are_in_the_order_of_the_way(server, alice, bob):
    """On whichever workers and nodes they are noted."""
    clients = [bob, *(server.client("bob", f"more{i}") for i in range(3))]
    for one in clients:
        one.enable_sm()
    for number in range(30):
        say(alice, BOB, f"n{number}")
    for one in clients:
        one.expect("<message id='n29'/>")
        one.ack()
        one.ping()
    for number in range(30):
        rows = until("all of it", lambda: (found := steps(server, f"n{number}")) and [
            r["event"] for r in found].count("acknowledged") == len(clients) and found)
        first = [r["event"] for r in rows if r["event"] != "routed"]
        assert first[:2] == ["sent", "delivered"], rows
        for one in clients:
            assert [r["event"] for r in rows if r["whom"] == str(one)] == [
                "written", "acknowledged"], rows


@pytest.mark.skipif(nodes.COUNT == 1, reason="of two nodes")
def test_the_way_to_another_node_names_the_nodes(server, alice, bob):
    """The step `routed` is of the one that sent it there, and the steps behind it of the other."""
    home, there = (f"test{nodes.home(jid) + 1}" for jid in (ALICE, BOB))
    assert home != there
    say(alice, BOB, "a0")
    bob.expect("<message id='a0'/>")
    way(server, "written", "a0")
    found = [(r["event"], r["node"], r["why"]) for r in steps(server, "a0")
             if r["event"] in ("sent", "routed", "delivered")]
    assert [step[:2] for step in found] == [("sent", home), ("routed", home), ("delivered", there)]
    assert found[1][2] == "to another node"


def test_the_sender_has_no_archive(server, alice, bob):
    keeps_nothing(alice)
    say(alice, BOB, "a1")
    bob.expect("<message id='a1'/>")
    assert archives(server, "a1", ("archived", BOB)) == {("archived", BOB)}
    assert steps(server, "a1")[0]["why"] == "not for its sender's archive"


def test_the_recipient_has_no_archive(server, alice, bob):
    keeps_nothing(bob)
    say(alice, BOB, "a2")
    bob.expect("<message id='a2'/>")
    wanted = {("archived", ALICE), ("stored", BOB)}
    assert archives(server, "a2", *wanted) == wanted


def test_a_refused_message_is_in_no_archive_of_its_recipient(server, alice, bob):
    """The sender's archive keeps what it sent; the way says both."""
    bob.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{ALICE}'/></block>")
    say(alice, BOB, "a3")
    alice.expect("<message type='error' id='a3'/>")
    assert archives(server, "a3", ("archived", ALICE)) == {("archived", ALICE)}
    assert steps(server, "a3")[0]["event"] == "sent" and not steps(server, "a3")[0]["why"]


def test_nobody_is_there(server, alice):
    say(alice, BOB, "a5")
    wanted = {("archived", ALICE), ("archived", BOB)}
    assert archives(server, "a5", *wanted) == wanted
    assert "waits" in events(server, "a5") and "written" not in events(server, "a5")


def test_it_is_queued_while_the_client_hibernates(server, alice, bob):
    bob.enable_sm()
    jid = str(bob)
    bob.cut()
    until("hibernates", lambda: [r for r in server.rows("session", "list")
                                 if r["jid"] == jid and r["state"] == "hibernating"])
    say(alice, BOB, "a6")
    way(server, "queued", "a6")
    assert [(r["why"], r["whom"]) for r in steps(server, "a6") if r["event"] == "queued"] == [
        ("hibernates", jid)]


def test_a_carbon(server, alice, bob):
    laptop = server.client("bob", "laptop")
    laptop.result("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    say(alice, str(bob), "m2")
    bob.expect("<message id='m2'/>")
    laptop.expect("<message/>")
    assert "copied" in way(server, "written", "m2")
    assert [(r["event"], r["whom"]) for r in steps(server, "m2") if r["event"] == "copied"] == [
        ("copied", str(laptop))]
    say(bob, ALICE, "m3")  # of what is sent, too
    laptop.expect("<message/>")
    assert ("copied", str(laptop)) in {(r["event"], r["whom"]) for r in steps(server, "m3")}


def test_away_then_pushed(make_server):
    server = make_server("alice", "bob", component=True)
    server.ctl("component", "add", DOMAIN, "--secret", SECRET)
    push = Component(server, DOMAIN, SECRET)
    bob = server.client("bob", "phone")
    enable(bob)
    bob.close()
    say(server.client("alice"), BOB, "m3")
    announcement(push)
    found = way(server, "pushed", "m3")
    assert [e for e in found if e not in ("archived", "routed")] == ["sent", "waits", "push sent",
                                                                     "pushed"]
    assert {r["whom"] for r in steps(server, "m3") if r["event"] == "pushed"} == {DOMAIN}
    server.client("bob").expect("<message id='m3'/>")
    assert "written" in way(server, "written", "m3")


def pushes(server, ident):
    return [(r["event"], r["why"], r["whom"]) for r in steps(server, ident)
            if r["event"].startswith("push")]


def push_metrics(server):
    return {row["name"].removeprefix("muster_push_"): row["value"]
            for row in server.rows("metrics") if row["name"].startswith("muster_push_")}


@pytest.mark.parametrize("service", ["answers", "refuses", "is silent", "is not connected",
                                     "is foreign", "is forbidden"])
def test_an_announcement_is_as_its_service_says(make_server, service):
    """A step is written when it is true, and each announcement that fails is counted."""
    server = make_server("alice", "bob", component=True, s2s=True,
                         settings=federation.settings(retry_for="0s"))
    server.ctl("component", "add", DOMAIN, "--secret", SECRET)
    to = "push.far.test" if service in ("is foreign", "is forbidden") else DOMAIN
    if service == "is foreign":
        federation.route(server, to, federation.free_port())
    elif service == "is forbidden":
        server.ctl("federation", "block", to)
    bob = server.client("bob", "phone")
    enable(bob, jid=to)
    bob.close()
    push = Component(server, DOMAIN, SECRET) if service in ("answers", "refuses", "is silent") \
        else None
    say(server.client("alice"), BOB, "m3")
    if service == "is silent":
        push.expect("<iq type='set'/>")
        found = until("the step", lambda: pushes(server, "m3"))
        assert found == [("push sent", "", to)]  # and no more, until it answers
        push.close()
    elif push is not None:
        announcement(push, "result" if service == "answers" else "error")
    found = until("the end", lambda: (p := pushes(server, "m3")) and p[-1][0] != "push sent" and p)
    why = {"answers": None, "refuses": "item-not-found", "is silent": "no answer",
           "is not connected": "remote-server-timeout"}
    sent = service not in ("is not connected", "is forbidden")
    assert found[:-1] == ([("push sent", "", to)] if sent else [])
    if service == "answers":
        assert found[-1] == ("pushed", "", to)
    else:
        assert (found[-1][0], found[-1][2]) == ("push failed", to)
        assert found[-1][1] in (why.get(service), *(
            ("remote-server-not-found", "remote-server-timeout") if service == "is foreign" else
            ("not-allowed", "policy-violation", "forbidden") if service == "is forbidden" else ()))
    counted = push_metrics(server)
    assert (counted["sent"], counted["errors"]) == (sent, service != "answers")


def test_in_a_room(server, alice, bob):
    server.ctl("set", "muc.archive", "on")
    room = muc.Room("cave")
    room.create(alice, "first", persistentroom=True)
    room.enter(bob, "second")
    say(alice, ROOM, "m4", "groupchat")
    bob.expect("<message type='groupchat' id='m4'/>")
    way(server, "written", "m4")
    rows = steps(server, "m4")
    assert [r["to"] for r in rows if r["event"] == "room.said"] == [ROOM]
    until("both", lambda: {r["whom"] for r in steps(server, "m4") if r["event"] == "written"} >=
          {str(alice), str(bob)})
    assert archives(server, "m4", ("archived", ROOM)) == {("archived", ROOM)}
    at_room = steps(server, "--to", "cave@conference.localhost")
    assert {"sent", "room.said", "written"} <= {r["event"] for r in at_room}
    assert {r["whom"] for r in at_room if r["event"] == "written"} == {str(alice), str(bob)}
    assert {r["whom"] for r in steps(server, "m4", "--to", BOB)} == {str(bob)}


def test_blocked_and_refused(server, alice, bob):
    bob.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{ALICE}'/></block>")
    say(alice, BOB, "m5")
    way(server, "blocked", "m5")
    assert {r["event"]: r["why"] for r in steps(server, "m5")}["refused"] == "service-unavailable"
    # The own list refuses it before it leaves (XEP-0191 §5).
    say(bob, ALICE, "m6")
    assert way(server, "refused", "m6")[0] == "refused"
    assert steps(server, "m6")[0]["why"] == "not-acceptable"
    say(alice, "nobody@localhost", "m7")
    assert "refused" in way(server, "refused", "m7")


def test_who_answers_by_an_error_has_refused_it(make_server):
    """Services, rooms, components, the server, accounts: with the condition of the answer, once."""
    server = make_server("alice", "bob", "carol", component=True)
    server.ctl("component", "add", "gate.localhost", "--secret", SECRET)
    gate = Component(server, "gate.localhost", SECRET)
    alice, bob, carol = (server.client(name) for name in ("alice", "bob", "carol"))
    room = muc.Room("cave")
    room.create(alice, "first")
    room.enter(bob, "second")
    bob.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{ALICE}'/></block>")
    cases = [
        (alice, "conference.localhost", "chat"), (alice, "conference.localhost", "groupchat"),
        (alice, "none@conference.localhost", "groupchat"), (carol, ROOM, "groupchat"),
        (carol, f"{ROOM}/second", "chat"), (alice, f"{ROOM}/nobody", "chat"),
        (alice, "pubsub.localhost", "chat"), (alice, "upload.localhost", "normal"),
        (alice, "localhost/x", "chat"), (alice, "nobody@localhost", "chat"), (alice, BOB, "chat"),
        (bob, ALICE, "chat"), (carol, BOB, "groupchat"), (alice, "elsewhere.test", "chat"),
        (alice, "gate.localhost", "chat")]
    for number, (client, to, kind) in enumerate(cases):
        ident = f"r{number}"
        say(client, to, ident, kind)
        if to == "gate.localhost":
            gate.expect(f"<message id='{ident}'/>")
            gate.send(f"<message from='{to}' to='{client}' type='error' id='{ident}'><error "
                      "type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
                      "</message>")
        answer = client.expect(f"<message type='error' id='{ident}'/>")
        condition = answer.find("{*}error")[0].tag.partition("}")[2]
        found = [r["why"] for r in steps(server, ident) if r["event"] in ("refused", "returned")]
        assert found == [condition], (to, kind, steps(server, ident))


def test_to_another_server_that_is_not_there(make_server, tmp_path):
    tls = federation.Authority(tmp_path).issue(HOME, HOME)
    server = make_server("alice", domains=[HOME], s2s=True, tls=tls,
                         settings=federation.settings())
    federation.route(server, AWAY, federation.free_port())
    alice = server.client("alice")
    say(alice, f"bob@{AWAY}", "m8")
    assert archives(server, "m8", (("archived", f"alice@{HOME}"))) == {
        ("archived", f"alice@{HOME}")}
    keeps_nothing(alice)
    say(alice, f"bob@{AWAY}", "m9")
    wanted = {("stored", f"alice@{HOME}")}
    assert archives(server, "m9", *wanted) == wanted
    server.ctl("set", "s2s.retry-for", "0s")
    server.ctl("set", "s2s.keep-for", "1s")
    alice.expect("<message type='error' id='m8'/>")
    assert "returned" in way(server, "returned", "m8")
    why, = {row["why"] for row in steps(server, "m8") if row["event"] == "returned"}
    assert why == "remote-server-timeout"


def test_a_policy_refuses_what_goes_to_another_server(make_server, tmp_path):
    tls = federation.Authority(tmp_path).issue(HOME, HOME)
    server = make_server("alice", domains=[HOME], s2s=True, tls=tls,
                         settings={**federation.settings(), "s2s.policy": "off"})
    alice = server.client("alice")
    say(alice, f"bob@{AWAY}", "p1")
    alice.expect("<message type='error' id='p1'/>")
    owner = ("archived", f"alice@{HOME}")
    assert archives(server, "p1", owner) == {owner}
    assert [r["why"] for r in steps(server, "p1") if r["event"] == "returned"]


def test_another_server_takes_it(make_server, tmp_path):
    authority = federation.Authority(tmp_path)
    home, away = (
        make_server(user, domains=[domain], s2s=True, settings=federation.settings(),
                    tls={**authority.issue(domain, domain), "trust": str(authority.file)})
        for user, domain in (("alice", HOME), ("bob", AWAY)))
    federation.route(home, AWAY, away.s2s_port)
    federation.route(away, HOME, home.s2s_port)
    bob = away.client("bob")
    say(home.client("alice"), f"bob@{AWAY}", "f1")
    bob.expect("<message id='f1'/>")
    sender, addressee = ("archived", f"alice@{HOME}"), ("archived", f"bob@{AWAY}")
    assert archives(home, "f1", sender) == {sender}
    assert archives(away, "f1", addressee) == {addressee}
    assert {"sent", "sent to server"} <= set(way(home, "confirmed by server", "f1"))
    away.stop()  # what is said now waits, and the trace says for whom
    bob.close()
    say(home.clients[0], f"bob@{AWAY}", "f2")
    assert "sent to server" not in way(home, "waits", "f2")
    assert ("for its server", AWAY) in {(r["why"], r["whom"]) for r in steps(home, "f2")}
    away.start()
    assert set(way(home, "confirmed by server", "f2")) >= {"waits", "sent to server"}


def test_one_that_waits_in_memory_for_another_server(make_server):
    """It is not stored, and that server takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        home = make_server("alice", domains=[HOME], s2s=True, settings=federation.settings())
        federation.route(home, AWAY, silent.getsockname()[1])
        home.client("alice").send(f"<message to='bob@{AWAY}' type='headline' id='f3'><body>3</body>"
                                  "</message>")
        silent.accept()
        way(home, "waits", "f3")
        assert ("for its server", AWAY) in {(r["why"], r["whom"]) for r in steps(home, "f3")}


@pytest.mark.parametrize("options", [(), ("--keep-address",)], ids=["", "keep"])
def test_one_that_waits_when_its_sender_is_deleted(make_server, tmp_path, options):
    tls = federation.Authority(tmp_path).issue(HOME, HOME)
    home = make_server("alice", "carol", domains=[HOME], s2s=True, tls=tls,
                       settings=federation.settings())
    federation.route(home, AWAY, federation.free_port())
    say(home.client("alice"), f"bob@{AWAY}", "d1")
    say(home.client("carol"), f"bob@{AWAY}", "d2")
    for one in ("d1", "d2"):
        way(home, "waits", one)
    home.ctl("user", "del", f"alice@{HOME}", *options)
    way(home, "dropped", "d1")
    last = steps(home, "d1")[-1]
    assert (last["event"], last["why"], last["whom"]) == ("dropped", "its sender is deleted", AWAY)
    assert "dropped" not in events(home, "d2")


def test_off_and_bounded(server, alice, bob):
    server.ctl("set", "trace.memory", "1MiB")
    ids = [f"{number}-{'x' * 200}" for number in range(3000)]
    for one in ids:
        say(alice, BOB, one)
    bob.expect(f"<message id='{ids[-1]}'/>")
    way(server, "written", ids[-1])
    rows = steps(server, "--from", ALICE)
    assert len(rows) == 500 and rows[-1]["id"] == ids[-1]
    assert events(server, ids[0]) == []
    server.ctl("set", "trace.messages", "off")
    assert events(server, ids[-1]) == []
    say(alice, BOB, "late")
    bob.expect("<message id='late'/>")
    assert events(server, "late") == []
    server.ctl("set", "trace.messages", "on")
    say(alice, BOB, "later")
    bob.expect("<message id='later'/>")
    assert "written" in way(server, "written", "later")


@pytest.mark.parametrize("text", ["", "x" * 400, "&quot;&lt;"])
def test_ids_of_all_kinds(server, alice, bob, text):
    say(alice, BOB, text)
    bob.expect("<message/>")
    plain = text.replace("&quot;", '"').replace("&lt;", "<")[:255]
    row = until("step", lambda: [r for r in steps(server, "--from", ALICE)
                                 if r["event"] == "written"])[0]
    assert row["id"] == plain
