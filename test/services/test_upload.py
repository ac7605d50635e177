"""HTTP file upload (XEP-0363): slots by XMPP, files by HTTP."""
import hashlib
import http.client
import os
import shutil
import socket
import struct
import time
import urllib.parse

import pytest

from harness import nodes, xml
from harness.client import insecure_context, until
from harness.server import MUSTERD

NS = "urn:xmpp:http:upload:0"
HOST = "upload.localhost"
DATA = "jabber:x:data"


def slot_iq(client, name="a.txt", size=5, kind=None):
    more = f" content-type='{kind}'" if kind else ""
    return client.iq("get", f"<request xmlns='{NS}' filename='{name}' size='{size}'{more}/>",
                     to=HOST)


def slot(client, *args):
    reply = slot_iq(client, *args)
    assert reply.get("type") == "result", xml.canonical(reply)
    return tuple(reply.find(f".//{{{NS}}}{way}").get("url") for way in ("put", "get"))


def http_do(server, method, url, body=None, **headers):
    """One request on a connection of its own; the answer has .body. Of two nodes, one takes files
    and the other one gives them."""
    parts = urllib.parse.urlsplit(url)
    tls = parts.scheme == "https"
    kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
    more = {"context": insecure_context()} if tls else {}
    assert parts.port in (server.https_port, server.http_port)
    port = parts.port
    if nodes.COUNT > 1 and method != "PUT":
        port = server.port_at(1, parts.scheme)
    connection = kind("127.0.0.1", port, timeout=20, **more)
    connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body,
                       {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


def store(server, client, body=b"hello", name="a.txt", kind="text/plain"):
    """A file that is there; its URL."""
    put, get = slot(client, name, len(body), kind)
    answer = http_do(server, "PUT", put, body, Content_Type=kind)
    assert answer.status == 201, answer.body
    return get


def blobs(server):
    return {f for folder, _, files in os.walk(server.data / "uploads") for f in files
            if len(f) == 64}


def test_discovery(server, alice):
    items = alice.result("get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to="localhost")
    assert HOST in {item.get("jid") for item in items}
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=HOST)
    assert {(i.get("category"), i.get("type")) for i in info.iter(f"{{{xml.DISCO_INFO}}}identity")
            } == {("store", "file")}
    fields = {f.get("var"): f.findtext(f"{{{DATA}}}value") for f in info.iter(f"{{{DATA}}}field")}
    assert fields == {"FORM_TYPE": NS, "max-file-size": str(100 << 20)}


def test_a_file_goes_up_and_comes_down(server, alice):
    put, get = slot(alice, "photo ä&amp;b.jpg", 5, "image/jpeg")
    assert get.startswith(f"https://localhost:{server.https_port}/upload/")
    assert get.endswith("/photo%20%C3%A4%26b.jpg")
    answer = http_do(server, "PUT", put, b"12345", Content_Type="image/jpeg")
    assert answer.status == 201
    answer = http_do(server, "GET", get)
    assert (answer.status, answer.body) == (200, b"12345")
    assert answer.getheader("Content-Type") == "image/jpeg"
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert "sandbox" in answer.getheader("Content-Security-Policy")
    assert answer.getheader("Content-Disposition").startswith("inline; filename*=UTF-8''photo%20")
    answer = http_do(server, "HEAD", get)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.getheader("Content-Length") == "5"


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/xhtml+xml",
                                  "application/javascript"])
def test_what_a_browser_would_run_is_downloaded(server, alice, kind):
    answer = http_do(server, "GET", store(server, alice, b"<script>1</script>", "x.html", kind))
    assert answer.getheader("Content-Disposition").startswith("attachment")


def test_a_large_file(server, alice):
    body = os.urandom(1 << 20) * 20
    url = store(server, alice, body, "big.bin", "application/octet-stream")
    answer = http_do(server, "GET", url)
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(body).digest()
    if "build/release" in str(MUSTERD):
        assert server.status_kib() < 60 * 1024


@pytest.mark.parametrize("header, status, body, span", [
    ("bytes=0-2", 206, b"012", "bytes 0-2/10"), ("bytes=7-", 206, b"789", "bytes 7-9/10"),
    ("bytes=-4", 206, b"6789", "bytes 6-9/10"), ("bytes=3-3", 206, b"3", "bytes 3-3/10"),
    ("bytes=5-99", 206, b"56789", "bytes 5-9/10"), ("bytes=10-", 416, b"", "bytes */10"),
    ("bytes=x-y", 200, b"0123456789", None), ("lines=1-2", 200, b"0123456789", None),
    ("bytes=0-1,3-4", 200, b"0123456789", None)])
def test_ranges(server, alice, header, status, body, span):
    url = store(server, alice, b"0123456789")
    answer = http_do(server, "GET", url, Range=header)
    assert (answer.status, answer.getheader("Content-Range")) == (status, span)
    if status != 416:
        assert answer.body == body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_download_has_no_body(server, method):
    url = f"https://localhost:{server.https_port}/upload/{'0' * 32}/a.txt"
    assert http_do(server, method, url, b"hello").status == 400
    assert http_do(server, method, url, iter([b"he", b"llo"]), Transfer_Encoding="chunked"
                   ).status == 400
    assert http_do(server, method, url, b"", Content_Length="0").status in (403, 404)


def test_it_is_not_sent_again_to_whom_has_it(server, alice):
    url = store(server, alice)
    tag = http_do(server, "GET", url).getheader("ETag")
    for tags in tag, f'"x", W/{tag}':
        assert http_do(server, "GET", url, If_None_Match=tags).status == 304


def test_a_slot_is_signed(server, alice):
    put, get = slot(alice)
    assert http_do(server, "PUT", get, b"hello").status == 403
    assert http_do(server, "PUT", put.replace("s=5", "s=6"), b"hello!").status == 403
    assert http_do(server, "PUT", put[:-1] + ("0" if put[-1] != "0" else "1"),
                   b"hello").status == 403
    assert http_do(server, "PUT", put.replace("a.txt", "b.txt"), b"hello").status == 403
    assert blobs(server) == set()
    assert http_do(server, "PUT", put, b"hello").status == 201
    assert http_do(server, "PUT", put, b"HELLO").status == 409  # once
    assert http_do(server, "GET", get).body == b"hello"


def test_the_length_must_be_that_of_the_slot(server, alice):
    put, get = slot(alice)
    assert http_do(server, "PUT", put, b"hell").status == 400
    assert http_do(server, "PUT", put, b"hello!").status == 413
    assert http_do(server, "GET", get).status == 404


def test_the_type_must_be_that_of_the_slot(server, alice):
    put, _ = slot(alice, "a.txt", 5, "text/plain")
    assert http_do(server, "PUT", put, b"hello", Content_Type="text/html").status == 415
    assert http_do(server, "PUT", put, b"hello",
                   Content_Type="text/plain; charset=utf-8").status == 201


OCTETS = "application/octet-stream"


@pytest.mark.parametrize("asked, put, got", [
    ("text/plain; charset=utf-8", "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
    ("text/plain;charset=UTF-8", "text/plain", "text/plain; charset=UTF-8"),
    ("Text/Plain ; Charset=utf-8 ;", "TEXT/plain", "text/plain; charset=utf-8"),
    ("text/plain", "text/plain;charset=UTF-8", "text/plain"),
    (None, "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
    ("audio/ogg; codecs=opus", None, "audio/ogg; codecs=opus"),
    ('video/mp4; codecs="avc1.42E01E, mp4a.40.2; \\"x\\""', "video/mp4",
     'video/mp4; codecs="avc1.42E01E, mp4a.40.2; \\"x\\""'),
    ("application/x-a+b; a=1; b=2", "application/x-a+b; b=3", "application/x-a+b; a=1; b=2"),
    ("image/png; " + "p" * 200 + "=1", "image/png", "image/png; " + "p" * 200 + "=1"),
    (None, "nothing", OCTETS), (None, None, OCTETS)])
def test_a_type_may_have_parameters(make_server, asked, put, got):
    """RFC 9110 §8.3.1. They do not count when types are compared, and come back with the file."""
    host = make_server("alice", settings={
        "upload.types": "text/* AUDIO/* video/mp4 image/png application/x-a+b " + OCTETS})
    url, get = slot(host.client("alice", "a"), "a", 5, asked)
    headers = {"Content_Type": put} if put else {}
    assert http_do(host, "PUT", url, b"hello", **headers).status == 201
    answer = http_do(host, "GET", get)
    assert (answer.status, answer.getheader("Content-Type")) == (200, got)
    shown = "attachment" if got.startswith("application/") else "inline"
    assert answer.getheader("Content-Disposition").startswith(shown)


@pytest.mark.parametrize("condition, kinds", [
    ("bad-request", [
        "text", "text/", "/plain", "text/plain/x", "text /plain", "; charset=utf-8",
        "text/plain; charset", "text/plain; charset=", "text/plain; =utf-8",
        "text/plain; charset = utf-8", "text/plain charset=utf-8", "text/plain; charset=utf-8 x=1",
        "text/plain; a=b,c=d", "text/plain; a=text/plain", "text/plain; a=\u00e4",
        'text/plain; a="b', 'text/plain; a="b"c', 'text/plain; a="b\\', 'text/plain; a="\u00e4"',
        'text/plain; a="b&#10;c: d"', "image/png; " + "p" * 300 + "=1"]),
    ("not-acceptable", ["text/html; charset=utf-8", "texts/plain; a=1", "text/plain2",
                        "imag/png"])])
def test_types_that_are_none_or_not_stored(make_server, condition, kinds):
    host = make_server("alice", settings={"upload.types": "text/plain image/*"})
    alice = host.client("alice", "a")
    for kind in kinds:
        assert xml.condition(slot_iq(alice, "a", 5, kind)) == condition, kind
    slot(alice, "a", 5, "text/plain")


def test_a_slot_lasts_for_its_time_and_a_restart(make_server):
    host = make_server("alice", settings={"upload.slot-time": "10s"})
    alice = host.client("alice", "a")
    put, get = slot(alice)
    host.restart()
    assert http_do(host, "PUT", put, b"hello").status == 201
    assert http_do(host, "GET", get).body == b"hello"
    late = put.replace("u=", "u=1")
    assert http_do(host, "PUT", late, b"hello").status == 403


@pytest.mark.parametrize("inner, condition", [
    ("filename='' size='5'", "bad-request"), ("size='5'", "bad-request"),
    ("filename='a/b' size='5'", "bad-request"), ("filename='..' size='5'", "bad-request"),
    ("filename='a.txt'", "bad-request"), ("filename='a.txt' size='0'", "bad-request"),
    ("filename='a.txt' size='-1'", "bad-request"), ("filename='a.txt' size='x'", "bad-request"),
    (f"filename='{'n' * 256}' size='5'", "bad-request"),
    ("filename='a.txt' size='5' content-type='no'", "bad-request"),
    ("filename='a.txt' size='999999999999'", "not-acceptable")])
def test_malformed_requests(alice, inner, condition):
    assert alice.error("get", f"<request xmlns='{NS}' {inner}/>", to=HOST)[0] == condition


def test_too_large_says_how_large_it_may_be(make_server):
    alice = make_server("alice", settings={"upload.file-bytes": "2KiB"}).client("alice", "a")
    reply = slot_iq(alice, "a.txt", 2049)
    assert xml.condition(reply) == "not-acceptable"
    assert reply.findtext(f".//{{{NS}}}file-too-large/{{{NS}}}max-file-size") == "2048"
    slot(alice, "a.txt", 2048)


def test_quota_and_daily_limit(make_server):
    host = make_server("alice", "bob", settings={"upload.quota": 3000})
    host.ctl("set", "upload.daily", "2000")
    alice = host.client("alice", "a")
    store(host, alice, b"x" * 1500)
    reply = slot_iq(alice, "a.txt", 600)
    assert xml.condition(reply) == "resource-constraint"
    assert reply.find(f".//{{{NS}}}retry").get("stamp").endswith("Z")
    # slots given before the limit was reached do not help either
    one, two = slot(alice, "a.txt", 400)[0], slot(alice, "b.txt", 400)[0]
    assert http_do(host, "PUT", one, b"y" * 400).status == 201
    assert http_do(host, "PUT", two, b"z" * 400).status == 413
    host.ctl("set", "upload.daily", "none")
    reply = slot_iq(alice, "a.txt", 1200)
    assert xml.condition(reply) == "resource-constraint"
    assert reply.find(f".//{{{NS}}}retry") is None
    slot(host.client("bob", "b"), "a.txt", 1200)


def test_the_number_of_files_is_limited(make_server):
    """However small they are; who has removed one may store another."""
    host = make_server("alice", "bob")
    host.ctl("set", "upload.files-max", "2")
    alice = host.client("alice", "a")
    late = slot(alice, "late.txt", 1)[0]
    for _ in range(2):
        store(host, alice, b"x")
    assert xml.condition(slot_iq(alice, "a.txt", 1)) == "resource-constraint"
    assert http_do(host, "PUT", late, b"x").status == 413
    slot(host.client("bob", "b"), "b.txt", 1)
    host.ctl("upload", "del", host.rows("upload", "list", alice.bare)[0]["id"])
    assert http_do(host, "PUT", late, b"x").status == 201


def test_slots_hold_up_no_logins(make_server):
    """One user who has as many files as possible asks for slots as fast as possible."""
    host = make_server("alice", "bob")
    host.stop()
    with host.database() as db:
        db.execute("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 9990) "
                   "INSERT INTO upload(id, owner, name, type, size, hash, at_us, until_us) "
                   "SELECT 'f' || x, (SELECT id FROM account WHERE jid = 'alice@localhost'), 'a', "
                   "'', 1, 'h', x, 4000000000000000 FROM n")
        db.commit()
    host.start()
    alice = host.client("alice")
    alice.raw("".join(f"<iq type='get' id='s{i}' to='upload.localhost'><request xmlns='{NS}' "
                      "filename='a' size='1'/></iq>" for i in range(1000)))
    assert host.connect("bob").authenticate() is None
    while alice.pump(0):
        pass
    assert len([e for e in alice.inbox if e.get("type") == "result"]) < 900
    alice.wait("all answers", lambda: len(alice.inbox) >= 1000)


def test_types_that_are_not_stored(make_server):
    host = make_server("alice", settings={"upload.types": "image/* application/pdf"})
    alice = host.client("alice", "a")
    assert xml.condition(slot_iq(alice, "a.txt", 5, "text/plain")) == "not-acceptable"
    assert xml.condition(slot_iq(alice, "a.txt", 5)) == "not-acceptable"
    store(host, alice, b"12345", "a.png", "image/png")
    store(host, alice, b"12345", "a.pdf", "application/pdf")


def test_the_same_content_is_stored_once(server, alice, bob):
    url = store(server, alice, b"the same")
    other = store(server, bob, b"the same", "b.txt")
    assert len(blobs(server)) == 1
    rows = server.rows("upload", "list", alice.bare)
    assert rows[0]["name"] == "a.txt" and rows[0]["bytes"] == 8
    server.ctl("upload", "del", rows[0]["id"])
    server.ctl("upload", "sweep")
    assert http_do(server, "GET", url).status == 404
    assert http_do(server, "GET", other).body == b"the same"
    server.ctl("user", "del", bob.bare)
    server.ctl("upload", "sweep")
    assert blobs(server) == set()
    again = store(server, alice, b"the same", "c.txt")
    assert http_do(server, "GET", again).body == b"the same"


def test_files_expire(server, alice):
    url = store(server, alice)
    server.stop()
    with server.database() as database:
        database.execute("UPDATE upload SET until_us = 1")
    server.start()
    assert http_do(server, "GET", url).status == 404
    assert "files removed: 1" in server.ctl("upload", "sweep")["text"]
    assert blobs(server) == set() and server.rows("upload", "list", alice.bare) == []


def test_an_upload_that_breaks_leaves_nothing(server, alice):
    put, get = slot(alice, "a.bin", 1 << 20)
    parts = urllib.parse.urlsplit(put)
    raw = socket.create_connection(("127.0.0.1", server.https_port), 10)
    with insecure_context().wrap_socket(raw, server_hostname="localhost") as sock:
        sock.sendall(f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: localhost\r\n"
                     f"Content-Length: {1 << 20}\r\n\r\n".encode() + b"x" * 300000)
        temp = server.data / "uploads" / "tmp"
        until("a temporary file", lambda: temp.is_dir() and any(temp.iterdir()))
    until("no temporary file", lambda: not any(temp.iterdir()))
    assert http_do(server, "GET", get).status == 404


def test_a_full_disk_is_a_clear_error(make_server):
    import resource
    host = make_server("alice", limits={resource.RLIMIT_FSIZE: 8 << 20})
    alice = host.client("alice", "a")
    put, get = slot(alice, "a.bin", 12 << 20)
    answer = http_do(host, "PUT", put, b"x" * (12 << 20))
    assert answer.status == 507 and b"no room" in answer.body
    assert any(a["name"] == "upload.disk" for a in host.rows("alarm", "list"))
    assert http_do(host, "GET", get).status == 404
    temp = host.data / "uploads" / "tmp"
    until("no temporary file", lambda: not any(temp.iterdir()))
    assert http_do(host, "GET", store(host, alice)).body == b"hello"


def test_files_are_for_users(make_server):
    from harness.component import Component
    host = make_server(component=True)
    host.ctl("component", "add", "gw.test", "--secret", "a rather long secret")
    gateway = Component(host, "gw.test", "a rather long secret")
    gateway.send(f"<iq type='get' id='x' from='gw.test' to='{HOST}'>"
                 f"<request xmlns='{NS}' filename='a' size='1'/></iq>")
    assert xml.condition(gateway.expect("<iq type='error' id='x'/>")) == "forbidden"


def test_scripts_of_web_clients_may_use_it(server, alice):
    put, _ = slot(alice)
    answer = http_do(server, "OPTIONS", put, Origin="https://web.example",
                     Access_Control_Request_Method="PUT")
    assert "PUT" in answer.getheader("Access-Control-Allow-Methods")
    assert answer.getheader("Access-Control-Allow-Origin") == "*"


@pytest.mark.parametrize("path", ["/upload/", "/upload/x", "/upload/../muster.db",
                                  f"/upload/{'0' * 32}/a.txt", f"/upload/{'0' * 32}/..%2fx",
                                  f"/upload/{'g' * 32}/a.txt"])
def test_paths_that_are_nothing(server, path):
    url = f"https://localhost:{server.https_port}{path}"
    assert http_do(server, "GET", url).status in (400, 404)


def test_base_url(make_server):
    host = make_server("alice", settings={"upload.base-url": "https://files.example.org/"})
    put, get = slot(host.client("alice", "a"))
    assert put.startswith("https://files.example.org/upload/")
    assert get.startswith("https://files.example.org/upload/")


def test_the_list_of_an_administrator(server, alice):
    assert server.rows("upload", "list", alice.bare) == []
    get = store(server, alice, name="b.txt")
    header, line = server.ctl_run("upload", "list", alice.bare).stdout.splitlines()
    assert header.split() == ["id", "name", "type", "bytes", "stored", "until"]
    assert line.split()[:4] == [get.split("/")[-2], "b.txt", "text/plain", "5"]
    run = server.ctl_run("upload", "list", "nobody@localhost")
    assert run.returncode == 1 and "there is no account" in run.stderr


def begin_put(server, url, size, body):
    """A connection on which a PUT was begun, and maybe completed."""
    parts = urllib.parse.urlsplit(url)
    sock = socket.create_connection(("127.0.0.1", server.http_port), 20)
    sock.sendall(f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n"
                 f"Content-Length: {size}\r\n\r\n".encode() + body)
    return sock


def rows(server):
    return server.ctl("upload", "list", "alice@localhost")["rows"]


def test_client_gone_at_any_time_leaves_no_row_without_its_file(server, alice):
    """Each is reset a little later; some while their row is being committed."""
    for i in range(100):
        sock = begin_put(server, slot(alice, f"{i:06}", 6)[0], 6, b"%06d" % i)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end = time.perf_counter() + i * 0.0002
        while time.perf_counter() < end:
            pass
        sock.close()
    store(server, alice, b"the last")
    names = [row["name"] for row in rows(server) if row["name"] != "a.txt"]
    until("content", lambda: {hashlib.sha256(name.encode()).hexdigest() for name in names}
          <= blobs(server))


def test_content_that_cannot_be_placed_leaves_no_row(server, alice):
    folder = server.data / "uploads" / hashlib.sha256(b"hello").hexdigest()[:2]
    folder.write_text("in the way")
    assert http_do(server, "PUT", slot(alice)[0], b"hello").status == 500
    until("undoing", lambda: rows(server) == [])
    folder.unlink()
    assert http_do(server, "GET", store(server, alice)).body == b"hello"


def test_content_that_is_lost_is_not_found(server, alice):
    url = store(server, alice)
    digest = hashlib.sha256(b"hello").hexdigest()
    (server.data / "uploads" / digest[:2] / digest).unlink()
    assert http_do(server, "GET", url).status == 404


def test_a_folder_that_is_lost_is_made_again(server, alice):
    store(server, alice, b"before")
    shutil.rmtree(server.data / "uploads")
    get = store(server, alice, b"behind")
    assert http_do(server, "GET", get).body == b"behind"


def test_slot_of_an_account_that_was_deleted(server, alice):
    put, _ = slot(alice)
    server.ctl("user", "del", "alice@localhost")
    assert http_do(server, "PUT", put, b"hello").status == 403
    assert not blobs(server)


def test_uploads_under_way_are_limited(server, alice):
    """32 of an account at a time; another account is not concerned."""
    bob = server.client("bob", "b")
    begun = [begin_put(server, slot(alice, f"f{i}", 1000)[0], 1000, b"x") for i in range(32)]
    tmp = server.data / "uploads" / "tmp"
    until("files", lambda: tmp.exists() and len(list(tmp.iterdir())) == 32)
    put, _ = slot(alice, "more", 5)
    assert http_do(server, "PUT", put, b"hello").status == 429
    assert http_do(server, "PUT", slot(bob, "his", 5)[0], b"hello").status == 201
    begun.pop().close()
    until("end of one", lambda: http_do(server, "PUT", put, b"hello").status == 201)
    for connection in begun:
        connection.close()


def test_files_on_their_way_are_within_the_quota(server, alice):
    server.ctl("set", "upload.quota", "1MiB")
    first = begin_put(server, slot(alice, "a", 1000000)[0], 1000000, b"x" * 900000)
    folder = server.data / "uploads" / "tmp"
    until("file", lambda: folder.exists() and any(folder.iterdir()))
    put, _ = slot(alice, "b", 1000000)
    with begin_put(server, put, 1000000, b"") as second:
        assert b"429 Too Many Requests" in second.recv(1000)
    first.close()
    until("end of it", lambda: not any(folder.iterdir()))
    assert http_do(server, "PUT", put, b"x" * 1000000).status == 201
