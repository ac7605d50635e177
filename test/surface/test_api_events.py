"""GET /api/v1/events: what happens, as server-sent events."""
import json
import select
import socket
import time

import pytest

from harness.client import TIMEOUT, until
from surface.test_api import api_server
from surface.test_console_login import Browser, console_server


class Stream:
    """A reader of events that takes what is there."""

    def __init__(self, server, topics, token=None, last=None, extra="", query=None,
                 host="localhost"):
        self.socket = socket.create_connection(("127.0.0.1", server.api.port), timeout=TIMEOUT)
        last = f"Last-Event-ID: {last}\r\n" if last else ""
        query = f"topics={topics}" if query is None else query
        self.socket.sendall(
            f"GET /api/v1/events?{query} HTTP/1.1\r\nHost: {host}\r\n{last}{extra}"
            f"{self.bearer(server, token)}\r\n".encode())
        self.bytes, self.text, self.events, self.last, self.seen = b"", "", [], None, ""
        self.head, self.closed = None, False

    @staticmethod
    def bearer(server, token):
        return "" if token is False else f"Authorization: Bearer {token or server.api.token}\r\n"

    def read(self, wait=0.0):
        if self.closed or not select.select([self.socket], [], [], wait)[0]:
            return
        piece = self.socket.recv(1 << 20)
        self.closed = piece == b""
        self.bytes += piece
        if self.head is None and b"\r\n\r\n" in self.bytes:
            head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
            self.head = head.decode()
        while self.head and b"\r\n" in self.bytes:  # chunks (RFC 9112 §7.1)
            size, rest = self.bytes.split(b"\r\n", 1)
            if len(rest) < int(size, 16) + 2:
                break
            self.text += rest[:int(size, 16)].decode()
            self.bytes = rest[int(size, 16) + 2:]
            self.closed = self.closed or size == b"0"
        while "\n\n" in self.text:
            event, self.text = self.text.split("\n\n", 1)
            self.take(event)

    def take(self, text):
        self.seen += text
        event = {}
        for line in text.split("\n"):
            name, _, value = line.partition(":")
            event[name] = value.strip()
        if event.get("event"):
            event["data"] = json.loads(event["data"])
            self.events.append(event)
            self.last = event.get("id", self.last)

    def find(self, topic, wanted=lambda data: True):
        """The next such event; those before it are dropped."""
        def look():
            self.read(0.05)
            while self.events:
                event = self.events.pop(0)
                if event["event"] == topic and wanted(event["data"]):
                    return event["data"]
            return None
        return until(f"event of {topic}", look)

    def status(self):
        until("answer", lambda: self.read(0.05) or self.head)
        return int(self.head.split()[1])

    def close(self):
        self.socket.close()


@pytest.fixture
def server(make_server):
    server = api_server(make_server)
    server.add_user("alice", "secret")
    return server


def test_topics(server):
    stream = Stream(server, "metrics,alarms,log,audit")
    assert stream.status() == 200 and "text/event-stream" in stream.head
    first = stream.find("metrics")
    series = {r["name"] for r in server.rows("metrics", "series")}
    assert set(first) == {"time", "values"} and set(first["values"]) == series
    assert all(isinstance(n, int) for n in first["values"].values())
    server.client("alice")
    stream.find("metrics", lambda data: data["values"]["muster_sessions"] == 1)
    server.ctl("set", "sm.ack-every", "9")
    entry = stream.find("audit", lambda data: data["command"] == "set")
    assert entry == next(r for r in server.rows("audit", "list") if r["id"] == entry["id"])
    server.add_user("carol", "secret")
    server.client("carol")
    line = stream.find("log", lambda data: "carol" in data["text"])
    assert set(line) == {"time", "level", "area", "event", "text", "node"}
    rows = [r for r in server.rows("log", "list") if line.items() <= r.items()]
    assert len(rows) == 1 and rows[0]["node"] in {r["node"] for r in server.rows("node", "list")}
    stream.close()
    until("end of the stream", lambda: server.rows("log", "list") and streams(server) == 0)


def streams(server):
    return next(r["value"] for r in server.rows("metrics")
                if r["name"] == "muster_api_event_streams")


def test_alarms_are_rows_of_alarm_list(server):
    stream = Stream(server, "alarms")
    assert stream.status() == 200
    server.api("GET", "/status", X_Forwarded_For="10.1.1.1")
    raised = server.rows("alarm", "list")
    assert [r["name"] for r in raised] == ["http.proxy"]
    got = stream.find("alarms", lambda data: data["name"] == raised[0]["name"])
    assert set(got) == set(raised[0]) and got["active"] is True


def test_permissions(server):
    server.ctl("role", "set", "look", "server.read")
    token = server.rows("token", "add", "looker", "look")[0]["token"]
    assert Stream(server, "metrics,alarms", token).status() == 200
    for topics, permission in (("log", "log.read"), ("metrics,audit", "audit.read")):
        stream = Stream(server, topics, token)
        assert stream.status() == 403
        until("body", lambda: stream.read(0.05) or permission.encode() in stream.bytes)
    assert Stream(server, "metrics", "nonsense").status() == 401
    for query in ("", "topics=", "topics=nothing", "topics=log&x=1", "topic=log"):
        assert Stream(server, None, query=query).status() == 422, query
    assert Stream(server, None, query="topics=%zz").status() == 400


def test_what_is_taken_away_ends_the_stream(server):
    server.ctl("role", "set", "look", "*.read")
    tokens = [server.rows("token", "add", name, "look")[0]["token"] for name in ("one", "two")]
    one, two = (Stream(server, "metrics,audit", token) for token in tokens)
    own = Stream(server, "metrics")
    assert [s.status() for s in (one, two, own)] == [200, 200, 200]
    server.ctl("token", "revoke", "one")
    begun = time.monotonic()
    assert "token" in one.find("end")["reason"]
    assert time.monotonic() - begun < TIMEOUT
    until("closed", lambda: one.read(0.05) or one.closed)
    server.ctl("role", "set", "look", "server.read")
    assert "audit.read" in two.find("end")["reason"]
    own.find("metrics")
    assert streams(server) == 1


def test_a_token_that_expires(server):
    token = server.rows("token", "add", "brief", "viewer", "--expires", "1d")[0]["token"]
    for seconds in 3, 10, 40:  # a busy machine may need that long to start
        server.stop()
        with server.database() as db:
            db.execute("UPDATE access_token SET expires_us = ? WHERE name = 'brief'",
                       [int((time.time() + seconds) * 1000000)])
            db.commit()
        server.start()
        stream = Stream(server, "metrics", token)
        if stream.status() == 200:
            break
    assert "expired" in stream.find("end")["reason"]
    until("closed", lambda: stream.read(0.05) or stream.closed)


@pytest.mark.parametrize("idle", [False, True])
def test_a_session_of_the_console_has_events_until_it_ends(make_server, idle):
    """It ends by its logout, or because only the stream, which nobody touches, used it."""
    server = console_server(make_server)
    if idle:
        server.ctl("set", "console.idle", "3s")
    browser = Browser(server.api.port)
    assert browser.login("root").status == 201
    stream = Stream(server, "audit,metrics", token=False, host=browser.host,
                    extra=f"Cookie: {browser.cookie}\r\n")
    stream.find("metrics")
    if not idle:
        assert browser("DELETE", "/session").status == 204
    assert "ended" in stream.find("end")["reason"]
    until("the end", lambda: stream.read(0.05) or stream.closed)
    stranger = Stream(server, "metrics", token=False, host=browser.host,
                      extra=f"Cookie: {browser.cookie}\r\n")
    assert stranger.status() == 401


def test_a_reader_that_comes_back_gets_what_it_missed(server):
    stream = Stream(server, "log,audit")
    assert stream.status() == 200
    server.ctl("set", "sm.ack-every", "7")
    stream.find("audit", lambda data: data["command"] == "set")
    last = stream.last
    stream.close()
    server.ctl("set", "sm.ack-every", "8")
    again = Stream(server, "log,audit", last=last)
    assert again.find("audit")["args"].endswith("8")
    # More than is kept (512): it is told how many are gone, and none is both. The ids of the audit
    # log have no gap.
    last, made = again.last, 700
    again.close()
    for number in range(1, made + 1):
        value = {"value": "64" if number == made else str(2 + number % 9)}
        assert server.api("PUT", "/settings/sm.ack-every", value).status == 200
    follower = Stream(server, "audit", last=last)  # the answers did not wait for the audit log
    follower.find("audit", lambda data: data["args"].endswith(" value=64"))
    late = Stream(server, "audit", last=last)
    lost = late.find("lost")
    assert lost["topic"] == "audit" and lost["count"] >= made - 512
    for _ in range(made - lost["count"]):
        entry = late.find("audit")
    assert entry["args"].endswith(" value=64"), entry
    # An id that is none of ours begins now.
    for nonsense in ("x", "1-1-1-1-1", last.replace("-", "-9999999"), last + "x", "-" * 400):
        odd = Stream(server, "metrics", last=nonsense)
        assert odd.status() == 200
        odd.find("metrics")
        odd.close()


def test_a_maximum(server):
    server.ctl("set", "api.event-streams", "2")
    kept = [Stream(server, "metrics") for _ in range(2)]
    assert [s.status() for s in kept] == [200, 200]
    assert Stream(server, "metrics").status() == 503
    kept[0].close()
    until("room", lambda: Stream(server, "metrics").status() == 200)


def test_time_limits_of_http_do_not_end_it_and_a_stop_does(make_server):
    server = api_server(make_server, **{"http.request-timeout": "1s", "http.idle-timeout": "1s"})
    stream = Stream(server, "metrics")
    for _ in range(3):  # each 2 s
        stream.find("metrics")
    server.stop()
    assert "stops" in stream.find("end")["reason"]


def test_head_and_other_methods(server):
    assert server.api("HEAD", "/events?topics=metrics").status == 200
    assert server.api("POST", "/events?topics=metrics", {}).status == 405
    assert streams(server) == 0


def test_500_streams(server):
    many = [Stream(server, "metrics,alarms,log,audit") for _ in range(500)]
    waiting = list(many)

    def all_got_one():
        for stream in select.select([s.socket for s in waiting], [], [], 0.1)[0]:
            next(s for s in waiting if s.socket is stream).read()
        waiting[:] = [s for s in waiting
                      if not any(e["event"] == "metrics" for e in s.events)]
        return not waiting
    until("event on each stream", all_got_one)
    assert streams(server) == 500
    # One who does not read holds nobody up.
    server.ctl("log", "trace", "all", "on")
    alice = server.client("alice")
    for number in range(300):
        alice.send(f"<message to='alice@localhost' id='m{number}'><body>x</body></message>")
    many[0].events.clear()
    many[0].find("metrics")
    server.ctl("log", "trace", "all", "off")
    for stream in many:
        stream.close()
    until("end of all", lambda: streams(server) == 0)


def test_log_list(server):
    server.add_user("carol", "secret")
    server.client("alice")
    rows = server.rows("log", "list", "--event", "auth.ok")
    assert [("alice@localhost" in r["text"], r["level"], r["area"]) for r in rows] == [
        (True, "info", "c2s")]
    assert server.rows("log", "list", "--word", "carol", "--area", "command")
    assert server.rows("log", "list", "--level", "error") == []
    assert len(server.rows("log", "list", "--limit", "2")) == 2
    assert "secret" not in json.dumps(server.rows("log", "list"))
    assert server.api("GET", "/log?event=auth.ok").json["items"] == rows
