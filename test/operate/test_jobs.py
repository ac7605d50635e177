"""Jobs: work that takes long is listed while it runs and when it has ended, and can be canceled."""
import contextlib
import getpass
import os
import re
import signal

import pytest

from harness import muc, rows, slow_disk
from harness.client import until
from harness.imports import server_data
from harness.server import refusal
from surface.test_api import Api, api_server

MANY = 10000


@pytest.fixture
def server(make_server):
    server = api_server(make_server)
    server.add_user("alice")
    return server


def jobs(server, *more):
    return server.rows("job", "list", *more)


def begin(server, *command):
    """The command as a process, and its job, which runs."""
    process = server.ctl_start(*command)
    row, = until("the job", lambda: jobs(server, "--running") or process.poll() and [None])
    assert row["command"] == " ".join(command[:2]) or row["command"] == command[0]
    return process, row


def cancel(server, process, job, disk=None):
    """What the command says, and its job, which is over. The disk waits until it is canceled."""
    server.ctl("job", "cancel", job["id"])
    if disk is not None:
        disk.turn(sync_ms=0)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 1 and "canceled by `job cancel`" in told, told
    row, = server.rows("job", "show", job["id"])
    assert row["state"] == "canceled" and row["text"] in told and row["ended"] >= row["created"]
    assert jobs(server, "--running") == []
    return told


def test_each_kind_of_work_is_a_job(server, tmp_path):
    alice = server.client("alice", "a")
    room = muc.Room("cave").create(alice, "me", persistentroom=True)
    commands = [("backup create", tmp_path / "b"), ("backup verify", tmp_path / "b"),
                ("export xep0227", tmp_path / "u"), ("import xep0227", tmp_path / "u"),
                ("room export", room, tmp_path / "r"), ("room import", tmp_path / "r"),
                ("room cleanup", "--older-than", "5"), ("announce", "Hello", "--all")]
    told = {}
    for name, *args in commands:
        done = server.ctl_run(*name.split(), *args)
        told[name] = (done.stdout or done.stderr).strip()
    server.ctl("announce", "Hello")  # at once, and none
    found = jobs(server)
    assert [row["command"] for row in found] == [name for name, *_ in commands]
    for row in found:
        there = row["command"] == "room import"  # the room is
        assert row["state"] == ("failed" if there else "done"), row
        assert row.get("percent") == (None if there else 100)
        assert row["text"] in told[row["command"]] and row["node"] == "test1"
        assert server.rows("job", "show", row["id"]) == [row]
    assert [row["about"] for row in found][2] == f"file={tmp_path / 'u'}"
    assert "Hello" not in str(found)
    assert jobs(server, "--running") == []


def of_prosody(folder, rooms):
    """Its data: a user and perhaps a room."""
    (folder / "localhost" / "accounts").mkdir(parents=True)
    (folder / "localhost" / "accounts" / "zora.dat").write_text('return { ["password"] = "x" };')
    if not rooms:
        return
    host = folder / "conference%2elocalhost"
    (host / "config").mkdir(parents=True)
    (host / "persistent.dat").write_text('return { ["hall@conference.localhost"] = true };')
    (host / "config" / "hall.dat").write_text(
        'return { ["jid"] = "hall@conference.localhost"; ["_data"] = { ["persistent"] = true } };')


def test_rooms_of_an_import_are_no_jobs_of_their_own(server, tmp_path):
    """The import of users is; its rooms are steps of it."""
    of_prosody(tmp_path, rooms=True)
    assert "rooms imported: 1" in server.ctl("import", "prosody", tmp_path)["text"]
    assert [row["command"] for row in jobs(server)] == ["import prosody"]


def test_the_last_are_kept(server):
    for _ in range(60):
        answer = server.api("POST", "/rooms/cleanup", {"older_than": "5", "dry_run": True})
        assert answer.status == 200, answer.text
    ids = [row["id"] for row in jobs(server)]
    node, first = ids[0].split("-")
    assert ids == [f"{node}-{int(first) + i}" for i in range(50)]
    assert "no such job" in refusal(server, "job", "show", f"{node}-{int(first) - 1}")


def test_ids_are_not_used_again(server):
    ids = []
    for _ in range(2):
        server.ctl("room", "cleanup", "--older-than", "5")
        ids += [row["id"] for row in jobs(server)]
        server.stop()
        server.start()
    assert len(set(ids)) == 2, ids


@pytest.mark.sqlite
@pytest.mark.parametrize("what", ["rooms", "groups"])
def test_what_comes_behind_users_is_canceled(make_server, disk, tmp_path, what):
    """Rooms and groups are not begun if the job is canceled while the users are stored."""
    server = make_server(disk=disk)
    folder, groups = tmp_path / "data", tmp_path / "groups.txt"
    of_prosody(folder, rooms=what == "rooms")
    groups.write_text("[sales]\nzora@localhost\n")
    command = ["import", "prosody", folder, "--groups-file", groups]
    disk.turn(sync_ms=slow_disk.STILL)
    process, job = begin(server, *command)
    server.ctl("job", "cancel", job["id"])
    disk.turn(sync_ms=0)
    _, told = process.communicate(timeout=30)
    assert "canceled by `job cancel`; run it again" in told and "users imported: 1" in told
    assert server.rows("job", "show", job["id"])[0]["state"] == "canceled"
    assert server.rows("room", "list") == server.rows("group", "list") == []
    again = server.ctl(*command)["text"]
    assert "rooms imported: 1" in again or what == "groups"
    assert "groups imported: 1" in again


def test_a_backup_is_canceled(make_server, disk):
    server = make_server("alice", disk=disk)
    backups = server.folder / "data-backups"  # the slow disk is what begins like the data folder
    backups.mkdir()
    backup = backups / "b"
    disk.turn(sync_ms=200)
    process, job = begin(server, "backup", "create", backup)
    cancel(server, process, job)
    disk.turn(sync_ms=0)
    assert list(backups.iterdir()) == []
    server.ctl("backup", "create", backup)


def many_accounts(server):
    """In the database of a server that is stopped."""
    with server.database() as db:
        db.execute("INSERT INTO account(jid, created_us, disabled) WITH RECURSIVE n(i) AS "
                   f"(VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < {MANY - 1}) "
                   "SELECT 'user' || printf('%06d', i) || '@localhost', 0, 0 FROM n")


@pytest.mark.release
@pytest.mark.sqlite
def test_what_goes_through_all_accounts_is_canceled(server, tmp_path):
    server.stop()
    many_accounts(server)
    server.start()
    path = tmp_path / "all.xml"
    cancel(server, *begin(server, "export", "xep0227", path))
    assert not path.exists()
    told = cancel(server, *begin(server, "announce", "Hello", "--all"))
    assert 0 < int(told.split("sent to: ")[1].split(";")[0]) < MANY


def test_a_cleanup_by_itself_is_a_job_if_it_finds_something(server):
    server.ctl("room", "create", "old@conference.localhost", "alice@localhost")
    server.stop()
    with server.database() as db:
        db.execute("UPDATE room SET created_us = created_us - ?", (30 * 86400 * 10**6,))
    server.start()
    server.ctl("set", "muc.cleanup-days", "20", "--accept")
    row, = until("the cleanup", lambda: [r for r in jobs(server) if r["state"] != "running"])
    assert (row["command"], row["by"], row["text"]) == (
        "room cleanup", "server", "rooms destroyed: 1, failed: 0")
    server.ctl("set", "muc.cleanup-days", "19")  # finds nothing
    until("one that has nothing to do", lambda: server.ctl_run("room", "cleanup").returncode == 0)
    assert [row["by"] for row in jobs(server) if row["state"] == "done"] == [
        "server", "control:" + getpass.getuser()]


@pytest.mark.sqlite
def test_a_cleanup_is_canceled(make_server, disk):
    """It shows which rooms it has destroyed. One that had looked at all of them is done, although
    it was canceled."""
    server = make_server("alice", disk=disk)
    rooms = [f"old{i}@conference.localhost" for i in range(2)]
    for room in rooms:
        server.ctl("room", "create", room, "alice@localhost")
    server.stop()
    with server.database() as db:
        db.execute("UPDATE room SET created_us = created_us - ?", (30 * 86400 * 10**6,))
    server.start()
    for room, state in zip(rooms, ("canceled", "done")):
        disk.turn(sync_ms=slow_disk.STILL)
        process, job = begin(server, "room", "cleanup", "--older-than", "5", "--yes")
        server.ctl("job", "cancel", job["id"])
        disk.turn(sync_ms=0)
        found, told = process.communicate(timeout=30)
        ended, = server.rows("job", "show", job["id"])
        assert [one for one in rooms if one in found] == [room]
        assert ended["state"] == state and process.returncode == (state == "canceled"), told
        assert room not in {row["jid"] for row in server.rows("room", "list")}
        server.wait_log(f'event=room.destroyed room={room} by="room cleanup"')


@pytest.mark.sqlite
@pytest.mark.parametrize("kind", ["ejabberd", "openfire", "prosody", "xep0227"])
def test_an_import_is_canceled_between_two_steps(make_server, disk, tmp_path, kind):
    """Users are there as a whole or not at all, and the others come with the next import."""
    server = make_server(disk=disk)
    names = [f"u{i:02}" for i in range(20)]
    path = tmp_path / "source"
    if kind == "prosody":
        (path / "localhost" / "accounts").mkdir(parents=True)
        for name in names:
            (path / "localhost" / "accounts" / f"{name}.dat").write_text(
                'return { ["password"] = "x" };')
    elif kind == "ejabberd":
        path.write_text("{tables,[{passwd,[{record_name,passwd},{attributes,[us,password]}]}]}.\n" +
                        "".join(f'{{passwd,{{<<"{name}">>,<<"localhost">>}},<<"x">>}}.\n'
                                for name in names))
    elif kind == "openfire":
        path.write_text("<Openfire>" + "".join(
            f"<User><Username>{name}</Username><Password>x</Password></User>" for name in names) +
            "</Openfire>")
    else:
        path.write_text("<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'>" + "".join(
            f"<user name='{name}' password='x'/>" for name in names) + "</host></server-data>")
    disk.turn(sync_ms=slow_disk.STILL)
    process, job = begin(server, "import", kind, path)
    told = cancel(server, process, job, disk)
    there = [row["jid"].partition("@")[0] for row in server.rows("user", "list")]
    assert f"users imported: {len(there)}," in told and "run it again" in told
    assert 0 < len(there) < 20
    server.login(there[-1], "a", password="x").close()
    assert f"users imported: {20 - len(there)}, there already: {len(there)}," in server.ctl(
        "import", kind, path)["text"]


def rooms_of(server):
    """Of each table about rooms how many rows there are."""
    with server.database(read_only=True) as db:
        tables = db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'room%' AND "
                            "type = 'table'").fetchall()
        return {name: db.execute(f"SELECT count(*) FROM {name}").fetchone() for name, in tables}


@pytest.mark.sqlite
def test_rooms_in_files_are_canceled(make_server, disk, tmp_path):
    """No file is left, and no part of a room."""
    server = make_server("alice", disk=disk)
    alice = server.client("alice", "a")
    room, path = muc.Room("cave").create(alice, "me", persistentroom=True), tmp_path / "cave"
    server.ctl("room", "export", room, path)
    disk.turn(sync_ms=slow_disk.STILL)
    room.say(alice, "Hello")
    process, job = begin(server, "room", "export", room, tmp_path / "other")
    assert "no file was written" in cancel(server, process, job, disk)
    assert not (tmp_path / "other").exists()
    server.ctl("room", "destroy", room)
    before = rooms_of(server)
    disk.turn(sync_ms=slow_disk.STILL)
    process, job = begin(server, "room", "import", path)
    assert "nothing was changed" in cancel(server, process, job, disk)
    until("nothing of it is left", lambda: rooms_of(server) == before)
    server.ctl("room", "import", path)


def test_who_waits_for_a_job_may_leave(make_server, tmp_path, disk):
    """Ctrl-C ends musterctl, which says that the server goes on."""
    server = make_server(disk=disk)
    path = tmp_path / "source"
    path.write_text("<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'>" + "".join(
        f"<user name='u{i}' password='x'/>" for i in range(3)) + "</host></server-data>")
    disk.turn(sync_ms=slow_disk.STILL)
    process, job = begin(server, "import", "xep0227", path)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT and "`musterctl job list --running`" in told
    assert [row["id"] for row in jobs(server, "--running")] == [job["id"]]
    disk.turn(sync_ms=0)
    until("its end", lambda: jobs(server, "--running") == [])
    assert "users imported: 3" in server.rows("job", "show", job["id"])[0]["text"]


def test_the_check_of_a_backup_is_canceled(server, tmp_path):
    """While it waits for a file, whose bytes come when it is canceled."""
    backup = tmp_path / "backup"
    server.ctl("backup", "create", backup)
    rest = tmp_path / "rest"
    name = next(one for one in backup.iterdir() if one.is_file() and "manifest" not in one.name)
    name.rename(rest)
    os.mkfifo(name)
    process, job = begin(server, "backup", "verify", backup)
    server.ctl("job", "cancel", job["id"])
    with open(name, "wb") as file:
        file.write(rest.read_bytes()[:4096])
    _, told = process.communicate(timeout=30)
    assert process.returncode == 1 and "canceled by `job cancel`" in told
    assert server.rows("job", "show", job["id"])[0]["state"] == "canceled"
    name.unlink()
    rest.rename(name)
    assert server.rows("backup", "verify", backup)[0]["damaged"] == 0


# The test that cancels it.
CANCELED = {
    "announce": test_what_goes_through_all_accounts_is_canceled,
    "backup create": test_a_backup_is_canceled,
    "backup verify": test_the_check_of_a_backup_is_canceled,
    "export xep0227": test_what_goes_through_all_accounts_is_canceled,
    "import ejabberd": test_an_import_is_canceled_between_two_steps,
    "import openfire": test_an_import_is_canceled_between_two_steps,
    "import prosody": test_an_import_is_canceled_between_two_steps,
    "import xep0227": test_an_import_is_canceled_between_two_steps,
    "room cleanup": test_a_cleanup_is_canceled,
    "room export": test_rooms_in_files_are_canceled,
    "room import": test_rooms_in_files_are_canceled,
}


def test_each_kind_of_work_is_canceled_by_a_test():
    kinds = {name for name, row in rows.part("commands").items() if row.get("x-job")}
    assert kinds == set(CANCELED)


# The end of the server. Each begins a job that goes on until the function that it returns is
# called.


def still(server, disk, *command):
    """A command that stores something, which the disk does not do."""
    disk.turn(sync_ms=slow_disk.STILL)
    return (*begin(server, *command), lambda: disk.turn(sync_ms=0))


def stays_import(server, disk, tmp_path):
    path = tmp_path / "source"
    path.write_text(server_data(*[f"<user name='u{i:02}' password='x'/>" for i in range(40)]))
    return still(server, disk, "import", "xep0227", path)


def stays_cleanup(server, disk, _):
    for i in range(2):
        server.ctl("room", "create", f"old{i}@conference.localhost", "alice@localhost")
    server.stop()
    with server.database() as db:
        db.execute("UPDATE room SET created_us = created_us - ?", (30 * 86400 * 10**6,))
    server.start()
    return still(server, disk, "room", "cleanup", "--older-than", "5")


def stays_room_export(server, disk, tmp_path):
    alice = server.client("alice", "a")
    room = muc.Room("cave").create(alice, "me", persistentroom=True)
    disk.turn(sync_ms=slow_disk.STILL)
    room.say(alice, "Hello")
    return still(server, disk, "room", "export", room, tmp_path / "cave")


def stays_room_import(server, disk, tmp_path):
    room = muc.Room("cave").create(server.client("alice", "a"), "me", persistentroom=True)
    server.ctl("room", "export", room, tmp_path / "cave")
    server.ctl("room", "destroy", room)
    return still(server, disk, "room", "import", tmp_path / "cave")


def stays_backup(server, disk, _):
    disk.turn(sync_ms=1000)
    process, job = begin(server, "backup", "create", server.folder / "data-backup")
    disk.turn(sync_ms=slow_disk.STILL)  # however long the rest takes
    return process, job, lambda: disk.turn(sync_ms=0)


def stays_verify(server, _, tmp_path):
    backup = tmp_path / "backup"
    server.ctl("backup", "create", backup)
    name = next(one for one in backup.iterdir() if one.is_file() and "manifest" not in one.name)
    head = name.read_bytes()[:4096]
    name.unlink()
    os.mkfifo(name)
    process, job = begin(server, "backup", "verify", backup)

    def release():
        """If it is canceled before it has opened the file, nobody reads that."""
        def is_read_or_over():
            with contextlib.suppress(OSError):
                file = os.open(name, os.O_WRONLY | os.O_NONBLOCK)
                os.write(file, head)
                os.close(file)
                return True
            return process.poll() is not None
        until("it reads the file, or has ended", is_read_or_over)
    return process, job, release


def stays_long(server, *command):
    """A command that goes through more accounts than it gets to until the end."""
    server.stop()
    many_accounts(server)
    server.start()
    return (*begin(server, *command), lambda: None)


def stays_export(server, _, tmp_path):
    return stays_long(server, "export", "xep0227", tmp_path / "all.xml")


def stays_announce(server, *_):
    return stays_long(server, "announce", "Hello", "--all")


# What begins it, and what it says of what it has done.
STAYS = {
    "announce": (stays_announce, r"accounts that it was sent to: \d+; the server stops"),
    "backup create": (stays_backup, "the server stops"),
    "backup verify": (stays_verify, "the server stops"),
    "export xep0227": (stays_export, "the server stops; no file was written"),
    "import xep0227": (stays_import, r"the server stops; run it again to go on; "
                                     r"users imported: \d+, there already: 0, refused: 0"),
    "room cleanup": (stays_cleanup, "the server stops; rooms that were destroyed: 1"),
    "room export": (stays_room_export, "the server stops; no file was written"),
    "room import": (stays_room_import, "the server stops; nothing was changed"),
}
GOES_THROUGH_ALL = {"announce", "export xep0227"}


@pytest.mark.sqlite
@pytest.mark.parametrize("kind", [
    pytest.param(kind, marks=pytest.mark.release if kind in GOES_THROUGH_ALL else [])
    for kind in STAYS])
def test_the_end_of_the_server_ends_a_job(make_server, disk, tmp_path, kind):
    """Its author hears so, and the audit log says how far it was."""
    begins, said = STAYS[kind]
    server = make_server("alice", disk=disk)
    process, _, release = begins(server, disk, tmp_path)
    server.signal(signal.SIGTERM)
    until("the jobs are told", lambda: not server.control.exists())
    release()
    _, told = process.communicate(timeout=30)
    assert server.wait_exit(30) == 0
    assert process.returncode == 1 and re.search(said, told), told
    assert f'command="{kind}" result=canceled' in server.log().replace("command=announce",
                                                                       'command="announce"')
    server.start()
    entry = server.rows("audit", "list", "--command", kind)[0]
    assert entry["result"] == "canceled" and re.search(said, entry["after"]), entry
    assert entry["after"] in told and entry["before"] == ""


def test_each_kind_of_work_is_ended_by_a_test():
    kinds = {name for name, row in rows.part("commands").items() if row.get("x-job")}
    assert {name for name in kinds if not name.startswith("import")} | {"import xep0227"} \
        == set(STAYS)


@pytest.mark.sqlite
def test_a_job_that_does_not_end_in_time_is_in_the_logs(make_server, disk, tmp_path):
    """Its next step never comes."""
    server = make_server("alice", disk=disk)
    process, job, release = stays_verify(server, disk, tmp_path)
    server.signal(signal.SIGTERM)
    server.wait_log(f"event=job.cut-off id={job['id']} command=\"backup verify\"")
    release()
    assert server.wait_exit(30) == 0 and process.wait(30) == 3
    server.start()
    entries = server.rows("audit", "list", "--command", "backup verify")
    assert [(one["result"], one["after"].split(";")[0]) for one in entries] == [
        ("canceled", "the server stopped before its end")]


def stored_jobs(server):
    """What the database has of jobs that run: as a server that is killed leaves it."""
    with server.database(read_only=True) as db:
        return db.execute("SELECT number, told FROM audit_job").fetchall()


def slow_import(server, disk, tmp_path):
    begun = stays_import(server, disk, tmp_path)
    disk.turn(sync_ms=500)  # a job tells how far it is once in a second
    return begun


@pytest.mark.sqlite
@pytest.mark.parametrize("begins, far", [(slow_import, "; users [1-9].*, refused 0"),
                                         (stays_verify, "")], ids=["import", "verify"])
@pytest.mark.parametrize("kills", [1, 2])
def test_a_job_of_a_server_that_is_killed_has_one_entry(make_server, disk, tmp_path, begins, far,
                                                        kills):
    """At the next start; also if that is killed before anybody has asked for it."""
    server = make_server("alice", disk=disk)
    process, job, _ = begins(server, disk, tmp_path)
    until("it is stored", lambda: any(re.search(far, f"; {told}")
                                      for _, told in stored_jobs(server)))
    for _ in range(kills):
        server.kill()
        server.start()
    process.communicate()
    for _ in range(2):
        entry, = until("the entry", lambda: server.rows("audit", "list", "--command",
                                                        job["command"], "--limit", "1"))
        one, = [e for e in server.rows("audit", "list", "--command", job["command"])
                if e["result"] != "ok"]
        assert entry == one and one["result"] == "interrupted" and one["before"] == "", one
        assert (one["actor"], one["args"]) == ("control:root", job["about"])
        assert re.fullmatch(f"job {job['id']}: the server ended before the job, or .*{far}",
                            one["after"]), one
        assert "event=job.interrupted" in server.log() and not stored_jobs(server)
        disk.turn(sync_ms=0)
        server.restart()
    assert server.ctl_run("audit", "verify").returncode == 0


@pytest.mark.sqlite
@pytest.mark.parametrize("fails", [False, True])
def test_a_job_that_has_ended_before_the_server_is_killed_has_its_own_entry(make_server, fails):
    server = make_server("alice")
    done = server.ctl_run("backup", "create", server.folder / ("data" if fails else "backup"))
    assert (done.returncode != 0) == fails
    until("its entry", lambda: server.rows("audit", "list", "--command", "backup create"))
    assert not stored_jobs(server)
    server.kill()
    server.start()
    entry, = server.rows("audit", "list", "--command", "backup create")
    assert entry["result"] not in ("interrupted", "") and "job.interrupted" not in server.log()


def test_who_sees_and_cancels(server, tmp_path):
    server.ctl("role", "set", "rooms", "jobs.* rooms.read")
    rooms = Api(server.api.port, server.rows("token", "add", "rooms", "rooms")[0]["token"])
    viewer = Api(server.api.port, server.rows("token", "add", "viewer", "viewer")[0]["token"])
    server.ctl("backup", "create", tmp_path / "b")
    server.ctl("room", "cleanup", "--older-than", "5")
    backup, cleanup = (row["id"] for row in jobs(server))
    seen = [[row["id"] for row in api("GET", "/jobs").json["items"]]
            for api in (server.api, viewer, rooms)]
    assert seen == [[backup, cleanup], [backup, cleanup], [cleanup]]
    assert server.api("GET", f"/jobs/{backup}").json["command"] == "backup create"
    told = {"by", "about"}  # as the audit log says it, and for who reads that
    operator, auditor = (Api(server.api.port, server.rows("token", "add", role, role)[0]["token"])
                         for role in ("operator", "auditor"))
    assert server.api("GET", "/audit").json["items"] and auditor("GET", "/audit").status == 200
    for api, seen in (server.api, told), (auditor, told), (viewer, set()), (operator, set()):
        for row in [api("GET", f"/jobs/{backup}").json, *api("GET", "/jobs").json["items"]]:
            assert told & set(row) == seen, row
        assert (api("GET", "/audit").status == 200) == bool(seen)
    assert rooms("GET", f"/jobs/{backup}").status == 404
    assert rooms("DELETE", f"/jobs/{backup}").status == 404
    denied = rooms("DELETE", f"/jobs/{cleanup}")
    assert denied.status == 403 and "needs the permission rooms.write" in denied.text
    source = tmp_path / "source"
    source.write_text("<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'>"
                      "<user name='dora' password='x'/></host></server-data>")
    server.bring("xep0227", source)
    brought, = (row["id"] for row in jobs(server) if row["command"] == "import xep0227")
    denied = server.api("DELETE", f"/jobs/{brought}")
    assert denied.status == 403 and "only with musterctl on the machine" in denied.text
    assert "has ended already" in refusal(server, "job", "cancel", backup)
    server.ctl_run("import", "xep0227", tmp_path / "nothing")
    failed, = (row["id"] for row in jobs(server) if row["state"] == "failed")
    assert str(tmp_path) in server.api("GET", f"/jobs/{failed}").json["text"]
    assert str(tmp_path) not in viewer("GET", f"/jobs/{failed}").text
    assert viewer("DELETE", f"/jobs/{cleanup}").status == 403
    over = server.api("DELETE", f"/jobs/{cleanup}")
    assert over.status == 409 and "has ended already" in over.text
    assert server.api("DELETE", "/jobs/0-0").status == 404
    server.ctl("role", "set", "rooms", "jobs.* rooms.*")
    own = rooms("POST", "/rooms/cleanup", {"older_than": "5"})
    assert own.status == 200, own.text
    first, mine = (row for row in rooms("GET", "/jobs").json["items"]
                   if row["command"] == "room cleanup")
    assert (mine["by"], "by" in first) == ("token:rooms", False) and "older_than=5" in mine["about"]
