"""Backups: made while the server works, verified, put back with one command."""
import errno
import hashlib
import json
import os
import shutil
import stat
import subprocess
import threading
import time

import pytest

from harness import database
from harness.client import until
from harness.server import MUSTERCTL, MUSTERD, refusal
from harness.shim import Shim
from surface.test_api import api_server
from promise.test_faults import SmallDisk
from archive.test_mam import Page
from operate.test_secret_files import alarms
from services.test_upload import http_do, store


def message(number, to="bob@localhost", size=0):
    return (f"<message to='{to}' type='chat'><body>{number}</body>"
            f"<p xmlns='urn:pad'>{'x' * size}</p></message>")


def archived(client):
    found, after = [], None
    while True:
        page = Page(client, page="<max>100</max>" + (f"<after>{after}</after>" if after else ""))
        found += page.bodies
        if page.complete:
            return found
        after = page.last


BY_SERVER = "musterd --restore"


def restore(server, backup, by="musterctl"):
    """For a server that does not run; the finished process."""
    server.write()
    command = [MUSTERD, "--config", server.file, "--restore", backup] if by == BY_SERVER else [
        MUSTERCTL, "--config", server.file, "backup", "restore", backup]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def into(make_server, backup, **conf):
    """A server with the data of a backup, started."""
    again = make_server(start=False, conf=conf)
    done = restore(again, backup)
    assert done.returncode == 0, done.stderr
    again.start()
    return again


@pytest.fixture
def busy(make_server):
    """A server with a file, a contact and messages, and somebody who goes on writing."""
    host = make_server("alice", "bob", settings={"mailbox.stranger-share": "100"},
                       why="bob, who is in no roster, sends much that alice does not read")
    alice = host.client("alice", "a")
    alice.enable_sm()
    host.url_of_file = store(host, alice, b"a picture", "p.png", "image/png")
    alice.result("set", "<query xmlns='jabber:iq:roster'>"
                 "<item jid='friend@localhost' name='Friend'/></query>")
    for i in range(50):
        alice.send(message(i, size=1000))
    alice.wait_acked(52)
    return host


@pytest.mark.sqlite
def test_backup_in_traffic_and_restore(busy, make_server, tmp_path):
    """All that was acknowledged before the backup began is in it, and the server goes on."""
    backup = tmp_path / "backup"
    bob, ended = busy.client("bob", "b"), threading.Event()
    bob.enable_sm()
    sent = []

    def flood():
        while not ended.is_set():
            for _ in range(20):
                bob.send(message(f"b{len(sent)}", "alice@localhost", 2000))
                sent.append(len(sent))
            bob.wait_acked(len(sent))

    thread = threading.Thread(target=flood)
    thread.start()
    until("traffic", lambda: bob.acked > 100)
    before = bob.acked
    row = busy.rows("backup", "create", backup)[0]
    ended.set()
    thread.join()
    assert len(sent) > before
    assert row["database"] == "sqlite" and not row["secrets"] and row["damaged"] == 0
    assert row["files"] == 5  # the database, a content, the key of slots, the pair
    files = sorted(backup.rglob("*"))
    assert busy.rows("backup", "verify", backup)[0] == row
    assert sorted(backup.rglob("*")) == files
    assert not (backup / "secrets.key").exists()
    for path in [backup, *backup.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    busy.stop()
    again = into(make_server, backup)
    key = again.data / "uploads" / "upload.key"
    assert key.read_bytes() == (busy.data / "uploads" / "upload.key").read_bytes()
    assert set(alarms(again)) == {"secrets.key"}
    assert not again.rows("backup", "create", f"{tmp_path}/keyless/", "--secrets")[0]["secrets"]
    assert not (tmp_path / "keyless" / "secrets.key").exists()
    alice = again.client("alice", "a")
    bodies = archived(alice)
    expected = [*map(str, range(50)), *(f"b{i}" for i in range(before))]
    assert not [body for body in expected if body not in bodies]
    assert len(bodies) == len(set(bodies))
    roster = alice.result("get", "<query xmlns='jabber:iq:roster'/>")
    assert [item.get("name") for item in roster] == ["Friend"]
    path = busy.url_of_file.split("/", 3)[3]
    answer = http_do(again, "GET", f"http://127.0.0.1:{again.http_port}/{path}")
    assert answer.body == b"a picture"
    alice.send(message("new", "alice@localhost"))
    until("new message", lambda: "new" in archived(alice))


def test_backup_with_the_key_of_secrets(busy, make_server, tmp_path):
    if busy.url:
        pytest.skip("its database is elsewhere")
    assert busy.rows("backup", "create", tmp_path / "b", "--secrets")[0]["secrets"]
    again = into(make_server, tmp_path / "b")
    assert alarms(again) == {}
    assert (again.data / "secrets.key").read_bytes() == (busy.data / "secrets.key").read_bytes()


def damage_byte(path):
    path.chmod(0o600)
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        old = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([old[0] ^ 1]))


def content(backup):
    return next(p for p in backup.rglob("*") if len(p.name) == 64)


DAMAGES = {
    "database": lambda b: damage_byte(b / "muster.db"),
    "content": lambda b: damage_byte(content(b)),
    "key": lambda b: damage_byte(b / "uploads/upload.key"),
    "manifest": lambda b: damage_byte(b / "MANIFEST"),
    "short": lambda b: os.truncate(b / "muster.db", 8192),
    "missing": lambda b: content(b).unlink(),
    "cut list": lambda b: os.truncate(b / "MANIFEST", 100),
    "no list": lambda b: (b / "MANIFEST").unlink(),
}


@pytest.mark.sqlite
def test_damaged_backup_is_refused(busy, make_server, tmp_path):
    whole = tmp_path / "whole"
    busy.ctl("backup", "create", whole)
    again = make_server(start=False)
    for name, damage in DAMAGES.items():
        bad = tmp_path / name.replace(" ", "-")
        shutil.copytree(whole, bad)
        damage(bad)
        assert str(bad) in refusal(busy, "backup", "verify", bad), name
        done = restore(again, bad)
        assert done.returncode == 1 and str(bad) in done.stderr, name
        assert {p.name for p in again.data.iterdir()} == {"muster.lock"}, name
    forged = tmp_path / "forged"  # a list that is whole, but names what no backup has
    shutil.copytree(whole, forged)
    text = (forged / "MANIFEST").read_bytes().rsplit(b"end ", 1)[0]
    text += b"file %s 1 uploads/../../../x\n" % (b"0" * 64)
    text += b"end %s\n" % hashlib.sha256(text).hexdigest().encode()
    (forged / "MANIFEST").write_bytes(text)
    assert "no backup has" in restore(again, forged).stderr
    assert restore(again, whole).returncode == 0


def alive(server):
    return server.rows("status") and server.process.poll() is None


@pytest.mark.sqlite
@pytest.mark.parametrize("by", [BY_SERVER, "musterctl"])
def test_both_programs_restore(busy, make_server, tmp_path, by):
    backup = tmp_path / "backup"
    busy.ctl("backup", "create", backup)
    busy.stop()
    again = make_server(start=False)
    done = restore(again, backup, by)
    assert done.returncode == 0 and "restored into" in done.stdout
    again.start()
    assert len(archived(again.client("alice", "a"))) >= 50
    again.stop()
    done = restore(again, backup, by)
    assert done.returncode == 1 and "a restore overwrites nothing" in done.stderr


@pytest.mark.sqlite
def test_restore_replaces_nothing(busy, make_server, tmp_path):
    backup = tmp_path / "backup"
    busy.ctl("backup", "create", backup)
    assert "another server uses this folder" in restore(busy, backup, BY_SERVER).stderr
    done = restore(busy, backup)
    assert done.returncode == 1 and "systemctl stop muster" in done.stderr
    assert done.stderr.startswith("musterctl: a running server cannot restore")
    assert alive(busy)
    busy.stop()
    before = {p: p.read_bytes() for p in busy.data.rglob("*") if p.is_file()}
    done = restore(busy, backup)
    assert done.returncode == 1 and "a restore overwrites nothing" in done.stderr
    assert {p: p.read_bytes() for p in busy.data.rglob("*") if p.is_file()} == before
    again = make_server(start=False)
    (again.data / "restore.partial").mkdir(parents=True)
    again.start(ready=False)
    assert again.wait_exit() == 1
    assert "cut short" in again.log()
    assert restore(again, backup).returncode == 0
    assert not (again.data / "restore.partial").exists()


@pytest.mark.sqlite
def test_what_a_backup_does_not_have_stays(busy, tmp_path):
    """The remedy of the doctor for a damaged database, word by word."""
    backup = tmp_path / "backup"
    busy.ctl("backup", "create", backup)
    busy.stop()
    (busy.data / "muster.db").write_bytes(b"This is a letter." * 100)
    (busy.data / "muster.db-wal").write_bytes(b"of the damaged one")
    key = (busy.data / "secrets.key").read_bytes()
    rows = json.loads(busy.ctl_run("--config", busy.file, "--json", "doctor").stdout)["rows"]
    remedy = next(r["remedy"] for r in rows if r["check"] == "database")
    steps = remedy.split("systemctl stop muster; ")[1].split(" && systemctl start muster")[0]
    steps = steps.replace("musterd ", f"{MUSTERD} ").replace("FOLDER", str(backup))
    done = subprocess.run(steps, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the one that was there is kept" in done.stdout
    assert (busy.data / "secrets.key").read_bytes() == key
    busy.start()
    assert len(archived(busy.client("alice", "a"))) >= 50
    assert "secrets.key" not in {r["name"] for r in busy.rows("alarm", "list")}


@pytest.mark.sqlite
def test_a_restore_names_what_is_in_its_way(busy, make_server, tmp_path):
    backup = tmp_path / "backup"
    busy.ctl("backup", "create", backup, "--secrets")
    again = make_server(start=False)
    again.data.mkdir(parents=True)
    upload = next(p for p in backup.rglob("*") if len(p.name) == 64).relative_to(backup)
    (again.data / upload.parent).mkdir(parents=True)
    for name in "muster.db-wal", upload:
        (again.data / name).write_bytes(b"another")
        done = restore(again, backup)
        assert done.returncode == 1 and f"{again.data / name}: is there" in done.stderr
        assert (again.data / name).read_bytes() == b"another"
        (again.data / name).unlink()
    (again.data / upload).write_bytes((backup / upload).read_bytes())
    (again.data / "secrets.key").write_bytes(b"mine")
    done = restore(again, backup)
    assert done.returncode == 0, done.stderr
    assert (again.data / "secrets.key.old").read_bytes() == b"mine"
    for name in "secrets.key", upload, "uploads/upload.key":
        assert (again.data / name).read_bytes() == (backup / name).read_bytes()
    again.start()
    assert len(archived(again.client("alice", "a"))) >= 50


@pytest.mark.sqlite
def test_paths(busy, tmp_path):
    assert "begins with /" in refusal(busy, "backup", "create", "relative")
    assert "is there already" in refusal(busy, "backup", "create", tmp_path)
    assert "No such file" in refusal(busy, "backup", "create", tmp_path / "no" / "such")
    assert "No such file" in refusal(busy, "backup", "verify", tmp_path / "nothing")
    (tmp_path / ".b.partial").mkdir()  # of one that was killed
    (tmp_path / ".b.partial" / "muster.db").write_text("rest")
    busy.ctl("backup", "create", tmp_path / "b")
    assert not (tmp_path / ".b.partial").exists()


@pytest.mark.sqlite
def test_no_backup_takes_the_place_of_another(busy, tmp_path):
    """Its temporary name is none that a backup may have, and folders of that kind stay."""
    for name in "monday.partial", ".partial", "n" * 241, "n" * 300:
        for given in name, f"{name}/":
            told = refusal(busy, "backup", "create", f"{tmp_path}/{given}")
            assert "at most 240 bytes and does not end in .partial" in told, given
    longest = tmp_path / ("n" * 240)
    busy.ctl("backup", "create", longest)
    longest.rename(tmp_path / "monday.partial")
    busy.ctl("backup", "create", tmp_path / "monday")
    for name in "monday", "monday.partial":
        busy.ctl("backup", "verify", tmp_path / name)
    assert "found a path of 4" in refusal(busy, "backup", "create", tmp_path / ("d/" * 2040 + "b"))


@pytest.mark.sqlite
def test_the_api_refuses_such_names(make_server, tmp_path):
    server = api_server(make_server, **{"backup.folder": str(tmp_path)})
    for name in "monday.partial", "n" * 300:
        refused = server.api("POST", "/commands/backup-create", {"folder": f"{tmp_path}/{name}"})
        assert (refused.status, refused.json["argument"]) == (422, "folder"), refused.text
        assert "at most 240 bytes" in refused.json["detail"]


@pytest.mark.sqlite
def test_content_that_is_damaged_already_is_told_of(busy, tmp_path):
    path = next(p for p in busy.data.rglob("*") if len(p.name) == 64)
    damage_byte(path)
    row = busy.rows("backup", "create", tmp_path / "b")[0]
    assert row["damaged"] == 1 and row["files"] == 4
    busy.ctl("backup", "verify", tmp_path / "b")


@pytest.mark.sqlite
def finished(server):
    return {row["name"]: row["value"] for row in server.rows("metrics")}[
        "muster_backup_finished_seconds"]


def test_the_time_of_the_last_backup_outlives_the_process(make_server, tmp_path):
    """An alert on its age is for servers without a new backup, not for those that began anew."""
    host = make_server("alice")
    assert finished(host) == 0
    before = int(time.time())
    host.ctl("backup", "create", tmp_path / "one")
    done = finished(host)
    assert before <= done <= time.time()
    assert "No such" in refusal(host, "backup", "create", tmp_path / "none" / "two")
    host.restart()
    assert finished(host) == done
    host.ctl("backup", "verify", tmp_path / "one")
    host.kill()
    host.start()
    assert finished(host) == done


def test_a_time_of_the_last_backup_that_cannot_be_read(make_server):
    """Counts as none."""
    host = make_server(start=False)
    host.data.mkdir(parents=True)
    for text in ("", "x", "soon\n", "9" * 40 + "\n", "-5\n"):
        (host.data / "backup-finished").write_text(text)
        host.start()
        assert finished(host) == 0
        host.stop()


def test_an_alarm_says_that_the_last_backup_failed(make_server, tmp_path):
    """Until one succeeds. It outlives the process."""
    host = make_server("alice")
    host.ctl("backup", "create", tmp_path / "one")
    assert refusal(host, "backup", "create", tmp_path / "one")  # it is there: nothing is wrong
    assert alarms(host) == {}
    assert refusal(host, "backup", "create", tmp_path / "none" / "two")
    until("it is stored", lambda: host.rows("alarm", "history"))
    detail = alarms(host)["backup.failed"]["detail"]
    assert str(tmp_path / "none" / "two") in detail and "No such" in detail
    host.restart()
    until("it is there again", lambda: "backup.failed" in alarms(host))
    assert alarms(host)["backup.failed"]["detail"] == detail
    host.ctl("backup", "verify", tmp_path / "one")
    assert list(alarms(host)) == ["backup.failed"]
    host.ctl("backup", "create", tmp_path / "two")
    assert alarms(host) == {}


def test_an_alarm_says_that_no_backup_is_made_any_more(make_server, tmp_path):
    """If the operator wants one at all."""
    host = make_server("alice")
    host.ctl("set", "backup.alarm-after", "2h")
    until("it is raised", lambda: "backup.missing" in alarms(host))
    assert alarms(host)["backup.missing"]["detail"] == "none has been made yet"
    host.ctl("backup", "create", tmp_path / "one")
    assert alarms(host) == {}
    host.stop()
    (host.data / "backup-finished").write_text(f"{int(time.time()) - 3 * 3600}\n")
    host.start()
    until("it is raised", lambda: "backup.missing" in alarms(host))
    assert alarms(host)["backup.missing"]["detail"] == "the last one is 3 hours old"
    host.stop()
    (host.data / "backup-finished").write_text(f"{int(time.time()) + 30 * 3600 + 60}\n")
    host.start()  # the clock was wrong, and nobody knows how old it is
    until("it says so", lambda: "ahead" in alarms(host).get(
        "backup.missing", {"detail": ""})["detail"])
    assert alarms(host)["backup.missing"]["detail"] == (
        "the time of the last one is 30 hours ahead of the clock")
    host.ctl("set", "backup.alarm-after", "none")
    until("it is cleared", lambda: alarms(host) == {})


def test_full_disk_leaves_nothing(make_server, tmp_path):
    disk = SmallDisk(tmp_path / "server0" / "small", "1m")
    host = make_server("alice", "bob", wrapper=disk.wrapper)
    alice = host.client("alice", "a")
    alice.enable_sm()
    for i in range(40):
        alice.send(message(i, size=100000))
    alice.wait_acked(40)
    said = refusal(host, "backup", "create", disk.folder / "b")
    assert "database or disk is full" in said or "No space" in said
    assert disk.sh(f"ls -A {disk.folder}") == ""
    assert set(alarms(host)) <= {"backup.failed"}
    alice.ping()
    host.finish()
    disk.close()


@pytest.mark.sqlite
def test_disk_that_fails_leaves_nothing(make_server, tmp_path):
    (tmp_path / "out").mkdir()
    shim = Shim(tmp_path / "shim", tmp_path / "out")
    host = make_server("alice", wrapper=shim.wrapper)
    store(host, host.client("alice", "a"))
    for one_in in (1, 7, 25):
        for kind in ("writes_fail", "syncs_fail", "reads_fail"):
            shim.fail(errno.EIO, **{kind: one_in})
            done = host.ctl_run("backup", "create", tmp_path / "out" / "b")
            shim.heal()
            if done.returncode == 0:
                host.ctl("backup", "verify", tmp_path / "out" / "b")
                shutil.rmtree(tmp_path / "out" / "b")
            assert list((tmp_path / "out").iterdir()) == []
    assert set(alarms(host)) <= {"backup.failed"}


@pytest.mark.sqlite
def test_end_of_the_server_gives_a_backup_up(busy, tmp_path):
    shim_free = tmp_path / "b"
    ctl = busy.ctl_start("backup", "create", shim_free)
    busy.stop()
    ctl.communicate(timeout=30)
    assert not (tmp_path / ".b.partial").exists()
    assert not shim_free.exists() or (shim_free / "MANIFEST").exists()


@pytest.mark.sqlite
def test_the_server_ends_in_the_middle_of_a_backup(make_server, disk):
    """In order, and what was begun is removed. Who made it is told, if the disk is not too slow."""
    server = make_server("alice", disk=disk)
    alice = server.client("alice", "a")
    for i in range(30):
        store(server, alice, b"x" * 4000, f"{i}.txt", "text/plain")
    backups = server.folder / "data-backups"  # the slow disk is what begins like the data folder
    backups.mkdir()
    backup, unfinished = backups / "b", backups / ".b.partial"
    disk.turn(sync_ms=400)
    ctl = server.ctl_start("backup", "create", backup)
    until("it has begun", unfinished.exists)
    server.stop()
    _, told = ctl.communicate(timeout=30)
    assert ctl.returncode != 0 and told.startswith("musterctl: ")
    assert not unfinished.exists()


@pytest.mark.skipif(not database.POSTGRESQL, reason="of PostgreSQL")
def test_postgresql_is_backed_up_by_its_own_tools(busy, make_server, tmp_path):
    answer = busy.ctl("backup", "create", tmp_path / "b")
    assert "pg_dump" in answer["text"] and answer["rows"][0]["database"] == "not in it"
    assert not (tmp_path / "b" / "muster.db").exists()
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o700
    again = make_server(start=False, conf={"database": "sqlite"})
    assert "pg_restore" in restore(again, tmp_path / "b").stderr
    again = make_server(start=False)
    done = restore(again, tmp_path / "b")
    assert done.returncode == 0 and "pg_restore" in done.stdout


def test_backups_are_listed_with_what_was_found_of_them(make_server, tmp_path):
    """One that is whole, one that is damaged, one that could not be made, and no other folder."""
    server = make_server("alice")
    folder = tmp_path / "backups"
    server.ctl("set", "backup.folder", folder)
    assert "make it" in server.ctl("backup", "list")["text"]
    folder.mkdir()
    (folder / "other").mkdir()
    made = server.rows("backup", "create")[0]  # named after the time
    assert made["folder"].startswith(f"{folder}/{made['created'][:10]}")
    server.ctl("backup", "create", folder / "second")
    rows = {row["folder"]: row for row in server.rows("backup", "list")}
    assert set(rows) == {made["folder"], f"{folder}/second"}
    first = rows[made["folder"]]
    assert (first["verified"], first["result"], first["bytes"]) == ("no", "ok", made["bytes"])
    assert first["node"] == server.rows("status")[0]["node"]
    server.ctl("backup", "verify", made["folder"])
    refusal(server, "backup", "create", made["folder"])  # which changes nothing of it
    damage_byte(next(folder.glob("second/self-signed-cert.pem")))
    refusal(server, "backup", "verify", folder / "second")
    refusal(server, "backup", "create", tmp_path / "no" / "such")
    server.restart()
    listed = server.rows("backup", "list")
    rows = {row["folder"]: row for row in listed}
    assert listed[0]["folder"] == f"{tmp_path}/no/such" and "No such" in listed[0]["result"]
    assert rows[made["folder"]]["verified"] == "yes" and rows[made["folder"]]["verified_at"]
    assert rows[f"{folder}/second"]["verified"] == "failed"
    assert "damaged" in rows[f"{folder}/second"]["result"]
    assert len(server.rows("backup", "list", "--folder", folder)) == 2
    shutil.rmtree(folder / "second")
    assert f"{folder}/second" not in {row["folder"] for row in server.rows("backup", "list")}


def test_from_elsewhere_only_the_folder_of_backups_is_used(make_server, tmp_path):
    server = api_server(make_server)
    folder, api = tmp_path / "backups", server.api
    folder.mkdir()
    server.ctl("set", "backup.folder", f"{folder}/")
    assert api("POST", "/commands/backup-create", {}).status == 200
    assert api("POST", "/commands/backup-create", {"folder": f"{folder}/b"}).status == 200
    assert api("POST", "/commands/backup-verify", {"folder": f"{folder}/b"}).status == 200
    assert len(api("GET", "/backups").json["items"]) == 2
    server.add_user("alice")
    server.ctl("room", "create", "cave@conference.localhost", "alice@localhost")
    export = {"room": "cave@conference.localhost", "file": f"{folder}/cave.jsonl"}
    assert api("POST", "/commands/room-export", export).status == 200
    assert '"cave' in (folder / "cave.jsonl").read_text()
    for bad in ("/tmp/x", f"{tmp_path}/x", f"{folder}", f"{folder}/", f"{folder}/..",
                f"{folder}/../x", f"{folder}/b/../../x", f"{folder}x/y", f"{folder}//x",
                f"{folder}/.hidden", f"{folder}/b/x"):
        for command in "backup-create", "backup-verify":
            answer = api("POST", f"/commands/{command}", {"folder": bad})
            assert answer.status == 403 and str(folder) in answer.json["detail"], (command, bad)
        assert api("POST", "/commands/room-export", {**export, "file": bad}).status == 403, bad
    assert api("PUT", "/settings/backup.folder", {"value": "/etc"}).status == 403
    assert sorted(tmp_path.glob("*x*")) == []
