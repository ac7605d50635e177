"""Power cuts: what a server has promised is there, whatever of its files a power cut leaves.

A server works behind shim.c, which records what it does to its files. Then the record is replayed
up to random places, images of the disk are made that POSIX allows there (muster/power.py), a real
server is started on each, and asked for all that was acknowledged before.

MUSTER_POWER_IMAGES (30) chooses how many, MUSTER_POWER_SEED (1) the first seed."""
import hashlib
import os
import random
import sqlite3

import pytest

from harness.power import Disk, read_records
from harness.server import MUSTERD
from harness.shim import Shim, now_us
from archive.test_mam import Page
from services.test_upload import http_do, slot

IMAGES = int(os.environ.get("MUSTER_POWER_IMAGES", "30"))
SEED = int(os.environ.get("MUSTER_POWER_SEED", "1"))
USERS = ("alice", "bob")

pytestmark = [pytest.mark.sqlite, pytest.mark.release,
              pytest.mark.skipif("build/release" not in str(MUSTERD), reason="slow")]


class Promises:
    """What clients were told, and when."""

    def __init__(self):
        self.messages = []  # (time, body)
        self.rosters = []  # (time, user, name of the contact)
        self.files = []  # (time, path of the URL, sha256)
        self.accounts = None  # time


def work(host, rnd, promises):
    """Messages of all sizes, so that the WAL is copied and begun anew; rosters; files."""
    for user in USERS:
        host.add_user(user)
    promises.accounts = now_us()
    clients = [host.login(user) for user in USERS]
    for client in clients:
        client.enable_sm()
    sent = dict.fromkeys(clients, 0)
    for n in range(60):
        client = rnd.choice(clients)
        what = rnd.random()
        if what < 0.6:
            bodies = [f"{n}.{i}" for i in range(rnd.randint(1, 20))]
            for body in bodies:
                pad = "x" * rnd.choice((0, 100, 3000, 40000, 120000))
                client.send(f"<message to='{rnd.choice(clients).bare}' type='chat'><body>{body}"
                            f"</body><p xmlns='urn:pad'>{pad}</p></message>")
            sent[client] += len(bodies)
            client.wait_acked(sent[client])
            promises.messages += [(now_us(), body) for body in bodies]
        elif what < 0.8:
            client.result("set", "<query xmlns='jabber:iq:roster'>"
                          f"<item jid='friend@localhost' name='{n}'/></query>")
            sent[client] += 1
            promises.rosters.append((now_us(), client.name, str(n)))
        else:
            data = rnd.randbytes(rnd.choice((10, 5000, 300000)))
            write, read = slot(client, "f", len(data))
            sent[client] += 1
            answer = http_do(host, "PUT", write, data)
            assert answer.status == 201
            promises.files.append((now_us(), read, hashlib.sha256(data).hexdigest()))


def record(make_server, folder, rnd):
    root = folder / "disk"  # in which the server makes its data folder
    root.mkdir()
    shim = Shim(folder / "shim", root, record=True)
    host = make_server(wrapper=shim.wrapper, conf={"data": str(root / "data")})
    promises = Promises()
    work(host, rnd, promises)
    host.kill()
    return read_records(shim.record), promises


def archived(client):
    """All bodies that the archive has."""
    found, after = [], None
    while True:
        page = Page(client, page="<max>100</max>" + (f"<after>{after}</after>" if after else ""))
        found += page.bodies
        if page.complete:
            return found
        after = page.last


def check_whole(path):
    with sqlite3.connect(path / "muster.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    db.close()


def check_server(host, promises, cut_us):
    """A real server on the image: it starts, and has all that was promised before the cut."""
    host.start()
    assert "upload.key" not in {row["name"] for row in host.rows("alarm", "list")}
    if not promises.accounts < cut_us:
        return
    bodies = []
    for user in USERS:
        client = host.login(user)
        bodies += archived(client)
        roster = client.result("get", "<query xmlns='jabber:iq:roster'/>")
        names = [int(item.get("name")) for item in roster if item.get("name")]
        last = max((int(n) for t, u, n in promises.rosters if u == user and t < cut_us), default=-1)
        assert max(names, default=-1) >= last, f"roster of {user}"
        client.cut()
    lost = {body for t, body in promises.messages if t < cut_us} - set(bodies)
    assert not lost, f"messages {sorted(lost)[:5]} of {len(lost)}"
    for t, url, digest in promises.files:
        if t < cut_us:
            url = f"http://127.0.0.1:{host.http_port}/{url.split('/', 3)[3]}"
            answer = http_do(host, "GET", url)
            assert answer.status == 200, f"file {digest}: {answer.status}"
            assert hashlib.sha256(answer.body).hexdigest() == digest


def places(records, rnd, count):
    """Where to cut: everywhere, and around what changes files and names."""
    hot = [i for i, r in enumerate(records) if r.kind in "STRUMO"]
    first = [i for i in hot if i < len(records) // 20]
    picked = {rnd.randrange(len(records)) for _ in range(count // 3)}
    picked |= {max(0, rnd.choice(hot) + rnd.choice((-1, 0, 1))) for _ in range(count // 3)}
    return picked | {rnd.choice(first) for _ in range(count - len(picked))}


def cut_and_check(again, disk, records, promises, cuts):
    image = again.folder / "image"
    again.conf["data"] = str(image / "data")
    for i, step in enumerate(records):
        disk.step(step)
        if i not in cuts:
            continue
        disk.image(image)
        try:
            check_server(again, promises, step.time_us)
            again.stop()
            check_whole(image / "data")
        except AssertionError as error:
            files = sorted(str(p.relative_to(image)) for p in image.rglob("*"))
            raise AssertionError(f"cut behind record {i} of {len(records)}, {step.kind}, seed "
                                 f"{SEED}, ordered {disk.ordered}: {error}\n{files}") from error


def test_what_was_promised_survives_a_power_cut(make_server, tmp_path):
    rnd = random.Random(SEED)
    records, promises = record(make_server, tmp_path, rnd)
    again = make_server(start=False)
    for ordered in (False, True):
        disk = Disk(rnd, ordered)
        cut_and_check(again, disk, records, promises, places(records, rnd, IMAGES // 2))


def test_images_are_what_posix_allows(tmp_path):
    """The model itself: what is synced is in each image, what is not is missing in some."""
    from harness.power import Record

    def record(kind, file=0, at=0, one=b"", two=b""):
        return Record(kind, file, 0, at, memoryview(one), memoryview(two))

    disk = Disk(random.Random(1))
    for r in (record("M", one=b"d"), record("D", 1), record("B", 1), record("S", 1),
              record("O", 2, 1, b"d/a.new"), record("W", 2, 0, b"x" * 2000), record("B", 2),
              record("S", 2), record("R", one=b"d/a.new", two=b"d/a"),
              record("O", 3, 1, b"d/b"), record("W", 3, 0, b"y" * 2000)):
        disk.step(r)
    seen = set()
    for _ in range(200):
        disk.image(tmp_path / "i")
        names = {p.name for p in (tmp_path / "i" / "d").iterdir()}
        seen.add(frozenset(names))
        for name in names - {"b"}:
            assert (tmp_path / "i" / "d" / name).read_bytes() == b"x" * 2000
    assert seen == {frozenset(s) for s in ((), ("a",), ("a.new",), ("b",), ("a", "b"),
                                           ("a.new", "b"))} or len(seen) >= 4
    disk.step(record("D", 4, one=b"d"))
    disk.step(record("B", 4))
    disk.step(record("S", 4))
    for _ in range(50):
        disk.image(tmp_path / "i")
        assert {p.name for p in (tmp_path / "i" / "d").iterdir()} == {"a", "b"}
