"""Commands while the disk of the database stands still: who has given one that changes something
hears within seconds that it may still happen. Memory and disk have the same when it has ended."""
import functools
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.client import until
from harness.control import Control
from harness.muc import Room
from harness.slow_disk import STILL
from services.test_adhoc import command, form, note
from surface.test_api import api_server

OPEN = "the database does not answer: it may still happen, so look before you do it again; "
SECONDS = 20  # an answer comes after 5, also on a machine that is busy
pytestmark = pytest.mark.sqlite


def by_socket(server):
    """A function that runs a command: its error, and what it says."""
    def ask(name, args):
        control = Control(server)
        answer = control.run(name, **args)
        assert control.run("job list")["ok"]  # the connection is good for more
        return answer.get("error"), answer["text"]
    return ask


def by_api(server):
    def ask(name, args):
        answer = server.api("POST", f"/commands/{name.replace(' ', '-')}", args)
        assert answer.status == 504 or answer.status < 300, answer.text
        return answer.json.get("error"), answer.json.get("detail", answer.json.get("text"))
    return ask


def all_late(ask, server, disk, commands, again=True):
    """Begins them all while the disk stands still; each is answered in time, and says so."""
    disk.turn(sync_ms=STILL)
    begun = time.monotonic()
    with ThreadPoolExecutor(len(commands)) as pool:
        said = list(pool.map(lambda one: ask(*one), commands))
    took = time.monotonic() - begun
    for (name, _), (error, text) in zip(commands, said):
        assert error == "timeout" and text.startswith(OPEN), (name, error, text)
        assert ("`job list` shows" if name == "backup create" else "`audit list` shows") in text
    assert took < SECONDS
    assert server.rows("status")  # it goes on with everything else
    if again:
        disk.turn(sync_ms=0)


def entries(server, name):
    return [row["result"] for row in server.rows("audit", "list", "--command", name)]


def logs_in(server, name, password):
    client = server.connect(name, password=password)
    fails = client.authenticate("PLAIN")
    client.cut()
    return fails is None


def known(server):
    """What the server has of all that, from its memory."""
    return {"settings": server.rows("config", "show"), "history": server.rows("config", "history"),
            "users": server.rows("user", "list"), "rooms": server.rows("room", "list"),
            "hall": server.rows("room", "show", "hall@conference.localhost"),
            "candidate": server.rows("config", "diff"),
            "passwords": [logs_in(server, name, password) for name in ("bob", "dave")
                          for password in ("secret", "planted south wind")]}


def same_after_restart(server):
    before = known(server)
    server.restart()
    assert known(server) == before
    return before


@pytest.mark.parametrize("way", [by_socket, by_api])
def test_who_has_given_a_command_hears_in_time(make_server, disk, way):
    server = api_server(functools.partial(make_server, disk=disk))
    server.ctl("set", "backup.folder", server.folder)
    for name in "alice", "bob":
        server.add_user(name, "secret")
    ask, backup = way(server), server.folder / "data-backup"  # on that disk
    late = [("set", {"setting": "sm.ack-every", "value": "7"}),
            ("user add", {"jid": "dave@localhost", "password": "planted south wind"}),
            ("user password", {"jid": "bob@localhost", "password": "planted south wind"}),
            ("config edit", {"setting": "roster.groups-max", "value": "9"}),
            ("room create", {"room": "hall@conference.localhost", "owners": "alice@localhost"}),
            ("backup create", {"folder": str(backup)})]
    all_late(ask, server, disk, late)
    for name, _ in late:
        until(f"the entry of {name}", lambda name=name: entries(server, name)[:1] == ["ok"])
    assert server.rows("get", "sm.ack-every")[0]["value"] == "7"
    assert server.rows("backup", "verify", backup)[0]["damaged"] == 0
    all_late(ask, server, disk, [("config apply", {})])
    until("the entry", lambda: entries(server, "config apply") == ["ok"])
    now = same_after_restart(server)
    assert {row["name"]: row["value"] for row in now["settings"]}["roster.groups-max"] == "9"
    assert now["passwords"] == [False, True, False, True] and now["candidate"] == []
    assert [row["jid"] for row in now["rooms"]] == ["hall@conference.localhost"]


LISTS = ("token list", "role list", "admin list", "motd show", "webhook list",
         "component list", "room-alias list", "room-admin list", "federation list",
         "s2s-route list", "s2s-demand list", "user list")
MOVES = {"last", "last_used", "connections", "failure", "waiting", "unstored", "taken"}


def lists(server):
    severity = server.rows("alarm", "show", "backup.missing")[0]["severity"]
    return {"alarm": severity, **{name: [{k: v for k, v in row.items() if k not in MOVES}
                                         for row in server.rows(*name.split())] for name in LISTS}}


def test_memory_is_as_the_disk_after_commands_of_each_kind(make_server, disk):
    """And a right that was taken is gone as soon as the disk works again."""
    server = api_server(functools.partial(make_server, disk=disk))
    for name in "alice", "bob", "carol":
        server.add_user(name, "secret")
    server.ctl("set", "webhook.allow-local", "on")
    old, desk = (server.rows("token", "add", *args)[0]["token"]
                 for args in (("old", "administrator"), ("clerk", "help-desk")))
    server.ctl("role", "set", "clerks", "users.read rooms.read")
    clerk = server.rows("token", "add", "own", "clerks")[0]["token"]
    hook = server.rows("webhook", "add", "https://h.example/x")[0]["id"]
    server.ctl("component", "add", "gone.example", "--secret", "a rather long secret")
    late = [("token add", {"name": "ghost", "role": "administrator"}),
            ("token revoke", {"name": "old"}),
            ("role set", {"name": "clerks", "permissions": "users.read"}),
            ("admin add", {"jid": "alice@localhost", "role": "administrator"}),
            ("admin create", {"name": "nora", "role": "operator", "password": "west wind 4711 x"}),
            ("motd set", {"text": "hello"}),
            ("webhook add", {"url": "https://h.example/y"}), ("webhook del", {"id": str(hook)}),
            ("alarm set", {"alarm": "backup.missing", "severity": "critical"}),
            ("component add", {"domain": "new.example", "secret": "a rather long secret"}),
            ("component del", {"domain": "gone.example"}),
            ("room-alias add", {"alias": "talk.localhost"}),
            ("room-admin add", {"jid": "bob@localhost"}),
            ("federation block", {"domain": "spam.example"}),
            ("s2s-route add", {"pattern": "far.example", "target": "127.0.0.1:1"}),
            ("s2s-demand set", {"pattern": "far.example", "auth": "certificate"}),
            ("user set", {"jid": "carol@localhost", "department": "sales"})]
    all_late(by_socket(server), server, disk, late)
    for name, _ in late:
        until(f"the entry of {name}", lambda name=name: entries(server, name)[:1] == ["ok"])
    assert server.api("GET", "/users", token=old).status == 401
    assert server.api("GET", "/rooms", token=clerk).status == 403
    assert server.api("PUT", "/users/alice@localhost/password", {"password": "west wind 4711 x"},
                      token=desk).status == 403
    before = lists(server)
    server.restart()
    assert lists(server) == before
    assert "ghost" in str(before["token list"]) and before["alarm"] == "critical"


@pytest.mark.parametrize("way", [by_socket, by_api])
def test_what_looks_first_is_as_late_as_what_does_not(make_server, disk, way):
    """The look waits behind what was written before it, and the change is made when it can be."""
    server = api_server(functools.partial(make_server, disk=disk))
    for name in "alice", "bob":
        server.add_user(name, "secret")
    server.ctl("template", "add", "staff")
    server.ctl("group", "add", "all")
    disk.turn(sync_ms=STILL)
    late = [*(("group add", {"name": f"g{n}"}) for n in range(3)),
            *(("template add", {"name": f"t{n}"}) for n in range(3)),
            ("group set", {"name": "all", "shown": "All"}),
            ("group-member add", {"name": "all", "users": "bob@localhost"}),
            ("template set", {"name": "staff", "department": "Sales"}),
            ("user set", {"jid": "alice@localhost", "template": "staff"}),
            ("user add", {"jid": "carol@localhost", "password": "secret12", "template": "staff"})]
    all_late(way(server), server, disk, late)
    for name in {name for name, _ in late}:
        before = {"template add": 1, "group add": 1, "user add": 2}.get(name, 0)
        count = before + len([one for one, _ in late if one == name])
        until(f"the entries of {name}", lambda: len(entries(server, name)) == count)
        assert set(entries(server, name)) == {"ok"}, name
    known_now = [server.rows(*words) for words in (
        ("group", "list"), ("template", "list"), ("group-member", "list", "all", "--named"),
        ("user", "show", "alice@localhost"), ("user", "show", "carol@localhost"))]
    assert [row["name"] for row in known_now[0]] == ["all", "g0", "g1", "g2"]
    assert [row["name"] for row in known_now[1]] == ["staff", "t0", "t1", "t2"]
    assert [row["jid"] for row in known_now[2]] == ["bob@localhost"]
    assert [rows[0]["template"] for rows in known_now[3:]] == ["staff", "staff"]


def test_who_fills_in_a_form_hears_in_time(make_server, disk):
    server = make_server("alice", "bob", disk=disk, settings={"admin.accounts": "alice@localhost"})
    alice = server.client("alice")
    asked = alice.result("set", command("set", action="execute"), to="localhost")
    disk.turn(sync_ms=STILL)
    answer = alice.result("set", command(
        "set", form(setting="sm.ack-every", value="7"), action="complete",
        sessionid=asked.get("sessionid")), to="localhost")
    kind, text = note(answer)
    assert answer.get("status") == "completed" and kind == "error" and text.startswith(OPEN)
    disk.turn(sync_ms=0)
    until("the entry", lambda: entries(server, "set") == ["ok"])
    assert server.rows("get", "sm.ack-every")[0]["value"] == "7"


def test_memory_is_as_the_disk_after_a_long_standstill(make_server, disk):
    """Of more than ten minutes."""
    server = make_server("alice", "bob", disk=disk)
    rooms = [f"{name}@conference.localhost" for name in "abcde"]
    for room in rooms:
        server.ctl("room", "create", room, "alice@localhost")
    server.ctl("room", "affiliation", rooms[4], "bob@localhost", "member")
    hall = Room("hall").create(server.client("alice", "a"), "a", persistentroom=True)
    late = [("set", {"setting": "sm.ack-every", "value": "7"}),
            ("room set", {"room": rooms[0], "field": "roomname", "value": "A"}),
            ("room affiliation", {"room": rooms[1], "jid": "bob@localhost",
                                  "affiliation": "member"}),
            ("room destroy", {"room": rooms[2]}),
            ("room change", {"room": rooms[3], "name": "D"}),
            ("room owner", {"rooms": rooms[4], "new_owner": "bob@localhost"}),
            ("user password", {"jid": "bob@localhost", "password": "planted south wind"})]
    bob = server.client("bob", "b")
    disk.turn(sync_ms=STILL)
    asked = {name: Control(server) for name, _ in late}
    for name, args in late:
        asked[name].begin(name, **args)
    bob.send("<iq type='set' id='r'><query xmlns='jabber:iq:roster'>"
             "<item jid='carol@localhost' name='Carol'/></query></iq>")
    control = Control(server)
    for step in range(1400):  # the server takes a long one for its own standstill
        disk.turn(mono_us=step * 450_000)
        assert control.run("job list")["ok"]
    for name, _ in late:
        assert asked[name].answer()["text"].startswith(OPEN), name
    disk.turn(sync_ms=0)
    for name, _ in late:
        until(f"the entry of {name}",
              lambda name=name: entries(server, name)[:1] == ["ok"])
    bob.expect_closed()

    def rooms_known():
        found = {jid: server.rows("room", "show", jid) + server.rows("room", "affiliations", jid)
                 for jid in (rooms[0], rooms[1], rooms[3], rooms[4], hall.jid)}
        for row, *_ in found.values():
            row["owners"] = set(row["owners"].split())  # in no order
        return found
    before = rooms_known()
    assert rooms[2] not in {row["jid"] for row in server.rows("room", "list")}
    same_after_restart(server)
    after = rooms_known()
    assert {jid: (before[jid], now) for jid, now in after.items() if now != before[jid]} == {}
    roster = server.login("bob", password="planted south wind").result(
        "get", "<query xmlns='jabber:iq:roster'/>")
    assert [item.get("name") for item in roster] == ["Carol"]


def test_a_backup_that_gets_on_is_waited_for(make_server, disk, tmp_path):
    """However slow it is, and although the database does not answer. When it gets no further, who
    waits hears that."""
    server = make_server("alice", disk=disk)
    name = "ab" + 62 * "0"
    pipe = server.data / "uploads" / "ab" / name
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    disk.turn(sync_ms=STILL)
    control = Control(server)
    control.begin("backup create", folder=str(tmp_path / "backup"))
    with open(pipe, "wb", buffering=0) as upload:
        until("the database is late", lambda: "store.slow" in {
            row["name"] for row in server.rows("alarm", "list")})
        begun = time.monotonic()

        def gets_on():
            upload.write(b"x")
            assert [row["state"] for row in server.rows("job", "list")] == ["running"]
            return time.monotonic() - begun > 8
        until("it has gone on for long", gets_on)
        control.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            control.sock.recv(1)
        control.sock.setblocking(True)
        answer = control.answer()
        assert answer["error"] == "timeout" and answer["text"].startswith(OPEN)
    disk.turn(sync_ms=0)
    until("it is done", lambda: [row["state"] for row in server.rows("job", "list")] == ["done"])
    assert entries(server, "backup create") == ["ok"]


def test_a_slow_backup_is_waited_for(make_server, disk):
    """Each write to the disk takes long, and the backup has many."""
    server = make_server("alice", disk=disk)
    for n in range(40):
        folder = server.data / "uploads" / f"{n:02x}"
        folder.mkdir(parents=True)
        (folder / (f"{n:02x}" + 62 * "0")).write_bytes(b"x")
    disk.turn(sync_ms=150)
    begun = time.monotonic()
    done = server.rows("backup", "create", server.folder / "data-backup")
    assert time.monotonic() - begun > 8 and done[0]["damaged"] == 40


def test_a_server_that_ends_still_does_what_it_has_answered_so(make_server, disk):
    """If the disk works in time."""
    server = make_server("alice", disk=disk, settings={"admin.accounts": "alice@localhost"})
    all_late(by_socket(server), server, disk, [
        ("set", {"setting": "sm.ack-every", "value": str(n)}) for n in (5, 6, 7)], again=False)
    server.signal(signal.SIGTERM)
    server.wait_log("server.stopping")
    disk.turn(sync_ms=0)
    assert server.wait_exit(20) == 0
    server.start()
    values = [row["after"] for row in server.rows("audit", "list", "--command", "set")]
    assert server.rows("get", "sm.ack-every")[0]["value"] == values[0]
    assert sorted(values) == ["5", "6", "7"]


def placed(server):
    """A connection to the socket, when it has a place for one more."""
    def connect():
        control = Control(server)
        try:
            return control.run("status")["ok"] and control
        except (OSError, ValueError):  # it was sent away
            return None
    return until("a place", connect)


@pytest.mark.parametrize("stays", [True, False])
def test_late_commands_keep_no_places_at_the_socket(make_server, disk, stays):
    """Neither of those who have their answers nor of those who did not wait for it."""
    server = make_server("alice", disk=disk)
    disk.turn(sync_ms=STILL)
    rooms = [f"r{n:02}@conference.localhost" for n in range(90)]
    for begin in 0, 30, 60:  # of 32 places, and 4 for root
        asked = [placed(server) for _ in range(30)]
        for control, room in zip(asked, rooms[begin:]):
            control.begin("room create", room=room, owners="alice@localhost")
        for control in asked:
            if stays:
                assert control.answer()["text"].startswith(OPEN)
            control.lines.close()
            control.sock.close()
    disk.turn(sync_ms=0)
    until("all are made", lambda: [r["jid"] for r in server.rows("room", "list")] == rooms)
    until("all entries", lambda: entries(server, "room create") == 90 * ["ok"])
