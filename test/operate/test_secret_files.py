"""Keys in the data folder: a file that is not as it was written stops the part that needs it, with
an alarm or a sentence, and is never made anew behind the operator's back."""
import hashlib
import hmac
import os
import time
import uuid

import pytest

from services.test_upload import NS, http_do, slot_iq, store

DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "readable": lambda path: path.chmod(0o644),
    "owner": lambda path: os.chown(path, 1, 1),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}
CASES = ["empty", "short", "readable", "folder"] + (["owner"] if os.geteuid() == 0 else [])


def forged(owner, body, key=bytes(32)):
    """A slot that nobody was given, signed with this key."""
    ident, until = uuid.uuid4().hex, int(time.time() * 1e6) + 3600 * 10**6
    text = f"{ident}\n{owner}\n{len(body)}\n{until}\n\nx.txt".encode()
    mac = hmac.new(key, text, hashlib.sha256).hexdigest()[:40]
    return f"/upload/{ident}/x.txt?o={owner}&s={len(body)}&u={until}&t=&m={mac}"


def put(server, path, body):
    return http_do(server, "PUT", f"http://127.0.0.1:{server.http_port}{path}", body).status


def alarms(server):
    return {row["name"]: row for row in server.rows("alarm", "list")}


def owner_of(server, jid):
    with server.database(read_only=True) as db:
        return db.execute("SELECT id FROM account WHERE jid = ?", (jid,)).fetchone()[0]


@pytest.mark.parametrize("case", CASES)
def test_no_key_no_uploads(make_server, case):
    host = make_server("alice")
    alice = host.client("alice")
    url = store(host, alice)
    path = host.data / "uploads" / "upload.key"
    right = path.read_bytes()
    assert len(right) == 32 and path.stat().st_mode & 0o777 == 0o600
    host.stop()
    DAMAGE[case](path)
    before = path.stat()
    host.start()
    alarm = alarms(host)["upload.key"]
    assert str(path) in alarm["detail"] and "backup" in alarm["action"]
    assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, before.st_size)
    alice = host.client("alice")
    reply = slot_iq(alice)
    assert reply.get("type") == "error" and reply.find(f".//{{{NS}}}put") is None
    assert put(host, forged(owner_of(host, alice.bare), b"forged"), b"forged") == 503
    assert put(host, forged(owner_of(host, alice.bare), b"forged", right), b"forged") == 503
    assert http_do(host, "GET", url).body == b"hello"
    host.stop()
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_bytes(right)
    path.chmod(0o600)
    host.start()
    assert "upload.key" not in alarms(host)
    assert put(host, forged(owner_of(host, alice.bare), b"other", right), b"other") == 201
    assert put(host, forged(owner_of(host, alice.bare), b"forged"), b"forged") == 403


@pytest.mark.parametrize("case", CASES)
def test_self_signed_key_is_not_made_anew(make_server, case):
    host = make_server("alice")
    path = host.data / "self-signed-key.pem"
    host.stop()
    if case == "short":
        path.write_bytes(path.read_bytes()[:40])
    else:
        DAMAGE[case](path)
    before = path.stat()
    host.start(ready=False)
    assert host.wait_exit(20) == 1
    assert str(path) in host.log()
    assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, before.st_size)


def test_self_signed_key_that_is_lost_is_told_of(make_server):
    host = make_server()
    host.stop()
    (host.data / "self-signed-key.pem").unlink()
    host.start(ready=False)
    assert host.wait_exit(20) == 1
    assert "remove the certificate to have a new pair made" in host.log()
    (host.data / "self-signed-cert.pem").unlink()
    host.start()


def test_start_goes_on_after_a_cut_between_key_and_certificate(make_server):
    host = make_server("alice")
    host.stop()
    (host.data / "self-signed-cert.pem").unlink()
    key = (host.data / "self-signed-key.pem").read_bytes()
    host.start()
    assert (host.data / "self-signed-key.pem").read_bytes() == key
    host.login("alice")
