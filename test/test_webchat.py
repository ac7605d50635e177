"""The chat client at /chat: its files over HTTP, and used in a browser (Chromium, headless)."""
import gzip
import http.client
import json

import pytest

PAGE = "<!DOCTYPE html>\n<title>Chat</title>\n"
SCRIPT = "/* a script */\n" * 50000


def get(server, path, headers=None, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=10)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    answer.body = answer.read()
    connection.close()
    return answer


@pytest.fixture
def files(server, tmp_path):
    """A folder with a page, and one of a version with a script."""
    folder = tmp_path / "chat"
    (folder / "1.0").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "1.0/client.js").write_text(SCRIPT)
    (folder / "1.0/client.js.gz").write_bytes(gzip.compress(SCRIPT.encode()))
    (folder / "1.0/notes").write_text("not for browsers")
    (folder / "1.0/folder.js").mkdir()
    (tmp_path / "secret.json").write_text("{}")
    server.ctl("set", "web.chat-files", folder)
    return folder


def directives(answer):
    return {one.split()[0]: one.split()[1:]
            for one in answer.getheader("Content-Security-Policy").split(";")}


def test_page(server, files):
    answer = get(server, "/chat")
    assert (answer.status, answer.getheader("Location")) == (302, "/chat/")
    answer = get(server, "/chat/", {"Host": "chat.example:8443"})
    assert answer.status == 200 and answer.body.decode() == PAGE
    assert answer.getheader("Content-Type") == "text/html; charset=utf-8"
    assert answer.getheader("Cache-Control") == "no-cache"
    policy = directives(answer)
    assert policy["default-src"] == ["'none'"] and policy["frame-ancestors"] == ["'none'"]
    assert policy["script-src"] == ["'self'", "'wasm-unsafe-eval'"]
    assert "ws://chat.example:8443" in policy["connect-src"]
    again = get(server, "/chat/", {"If-None-Match": answer.getheader("ETag")})
    assert (again.status, again.body) == (304, b"")
    (files / "index.html").write_text(PAGE * 2)
    assert get(server, "/chat/", {"If-None-Match": answer.getheader("ETag")}).status == 200


def test_files(server, files):
    plain = get(server, "/chat/1.0/client.js")
    assert plain.body.decode() == SCRIPT and plain.getheader("Content-Encoding") is None
    assert plain.getheader("Content-Type") == "text/javascript; charset=utf-8"
    assert "immutable" in plain.getheader("Cache-Control")
    packed = get(server, "/chat/1.0/client.js", {"Accept-Encoding": "br, gzip"})
    assert packed.getheader("Content-Encoding") == "gzip"
    assert gzip.decompress(packed.body).decode() == SCRIPT
    assert packed.getheader("ETag") != plain.getheader("ETag")
    head = get(server, "/chat/1.0/client.js", method="HEAD")
    assert (int(head.getheader("Content-Length")), head.body) == (len(SCRIPT), b"")


@pytest.mark.parametrize("path", [
    "/chat/none.js", "/chat/1.0/notes", "/chat/1.0/", "/chat/1.0/folder.js", "/chatter",
    "/chat/1.0/client.js/more.js", "/chat//etc/passwd", "/chat/" + "a" * 5000 + ".js",
    "/chat/" + "a" * 300 + ".js"])
def test_what_is_not_served(server, files, path):
    assert get(server, path).status == (414 if len(path) > 4000 else 404)


def test_nothing_outside_is_served(server, files):
    for path in ("/chat/../secret.json", "/chat/%2e%2e/secret.json", "/chat/1.0/..%2f../x.json"):
        assert get(server, path).status == 400


def test_hostile_host(server, files):
    """What a Host header says does not get into the policy unless it is an origin."""
    for host in ("x;script-src *", "x script-src", "x,y", "'unsafe-eval'"):
        answer = get(server, "/chat/", {"Host": host})
        if answer.status == 200:
            policy = answer.getheader("Content-Security-Policy")
            assert "script-src *" not in policy and policy.count("script-src") == 1
            assert "unsafe-eval'" not in policy.replace("wasm-unsafe-eval'", "")


def test_settings(server, files):
    found = json.loads(get(server, "/chat/settings.json").body)
    assert found["domain"] == "localhost" and found["websocket"] == "/xmpp-websocket"
    server.ctl("set", "web.chat-path", "/talk/here")
    assert get(server, "/talk/here/").body.decode() == PAGE
    assert get(server, "/chat/").status == 404
    for bad in ("talk", "/", "/talk/", "/a b", "//x", "/%41"):
        assert server.ctl_run("set", "web.chat-path", bad).returncode != 0
    server.ctl("set", "web.chat", "off")
    assert get(server, "/talk/here/").status == 404


def test_domain_of_the_host(make_server):
    server = make_server(domains=("one.example", "two.example"))
    for host, domain in (("two.example", "two.example"), ("chat.two.example:5280", "two.example"),
                         ("nottwo.example", "one.example"), ("127.0.0.1", "one.example")):
        found = json.loads(get(server, "/chat/settings.json", {"Host": host}).body)
        assert found["domain"] == domain


def test_not_installed(server, tmp_path):
    server.ctl("set", "web.chat-files", tmp_path / "nothing")
    answer = get(server, "/chat/")
    assert answer.status == 404 and b"make web" in answer.body
