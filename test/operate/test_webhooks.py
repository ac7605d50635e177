"""Webhooks: receivers of this test on loopback that fail, hang and come back."""
import collections
import concurrent.futures
import contextlib
import hashlib
import hmac
import http.server
import itertools
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

from harness.client import TIMEOUT, until
from harness.imports import keys, server_data
from harness.server import ROOT, free_ports, refusal
from harness.slow_disk import STILL
from surface.test_api import api_server
from services.test_admin import run as run_form
from operate.test_alarms import active, fail_fedtest, mend_fedtest
from operate.test_certs import make

SECRET = "a secret of sixteen bytes or more"
LOCAL = {"webhook.allow-local": "on"}


class Receiver:
    """Takes what is signed. `status`: a function of the event that says what to answer."""

    def __init__(self, secret=SECRET, status=lambda event: 204, port=0, context=None):
        self.secret, self.status = secret.encode(), status
        self.requests, self.taken, self.lock = [], [], threading.Lock()
        self.now = self.most = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                outer.answer(self)

            def log_message(self, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook?a=b"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, request):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        body = request.rfile.read(int(request.headers["Content-Length"]))
        event = json.loads(body)
        found = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", request.headers["Muster-Signature"])
        wanted = hmac.new(self.secret, found[1].encode() + b"." + body, hashlib.sha256).hexdigest()
        status = self.status(event)
        with self.lock:
            self.now -= 1
            self.requests.append((event, request.headers, request.path))
            if wanted != found[2] or abs(time.time() - int(found[1])) > TIMEOUT:
                status = 403
            elif 200 <= status < 300:
                self.taken.append(event)
        with contextlib.suppress(OSError):
            request.send_response(status)
            request.end_headers()

    def of(self, event):
        with self.lock:
            return [e for e in self.taken if e["event"] == event]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    """A function that makes receivers, which end with the test."""
    made = []

    def start(**options):
        made.append(Receiver(**options))
        return made[-1]
    yield start
    for one in made:
        with contextlib.suppress(OSError):
            one.close()


def add(host, url, events="*", secret=SECRET):
    return host.rows("webhook", "add", url, "--events", events, "--secret", secret)[0]["id"]


def hook(host, number):
    return host.rows("webhook", "show", str(number))[0]


def numbers_of(host, number):
    """How many events wait, and how many of them are in memory only."""
    row = hook(host, number)
    return row["waiting"], row["unstored"]


def test_each_kind_of_event_arrives_signed(make_server, receiver):
    host = make_server("alice", settings=LOCAL)
    one = receiver()
    number = add(host, one.url)
    alice = host.client("alice", "phone")
    host.ctl("user", "add", "dora@localhost", "--password", "planted south wind")
    host.ctl("user", "set", "dora@localhost", "--email", "d@x.test")
    host.ctl("user", "disable", "dora@localhost")
    host.ctl("user", "enable", "dora@localhost")
    host.ctl("user", "del", "dora@localhost", "--yes")
    host.ctl("room", "create", "cave@conference.localhost", "alice@localhost")
    host.ctl("room", "destroy", "cave@conference.localhost", "--yes")
    host.ctl("set", "sm.hibernate-time", "77s")
    alice.close()
    fail_fedtest(host)
    mend_fedtest(host)
    kinds = {row["event"] for row in host.rows("webhook", "events")} - {"alarm.changed"}
    until("all", lambda: kinds <= {e["event"] for e in one.taken}, 30)
    rows = {row["event"]: row for row in host.rows("webhook", "events")}
    for event, headers, path in one.requests:
        assert headers["Muster-Event"] == event["event"] and path == "/hook?a=b"
        assert headers["Muster-Event-Id"] == event["id"] and event["server"] == "localhost"
        assert set(event["data"]) <= set(rows[event["event"]]["fields"].split())
    assert [e["subject"] for e in one.of("user.created")] == ["dora@localhost"]
    assert [e["event"] for e in one.taken if e["subject"] == "dora@localhost"] == [
        "user.created", "user.changed", "user.disabled", "user.enabled", "user.deleted"]
    assert one.of("session.available")[0]["data"] == {"jid": "alice@localhost",
                                                      "resource": "phone"}
    assert one.of("room.created")[0]["subject"] == "cave@conference.localhost"
    assert {"setting": "sm.hibernate-time", "value": "77s"} in [
        e["data"] for e in one.of("setting.changed")]
    assert [int(e["data"]["id"]) for e in one.of("audit.entry")] == sorted(
        int(e["data"]["id"]) for e in one.of("audit.entry"))
    assert "planted" not in str(one.taken) and SECRET not in str(one.taken) + host.log()
    assert SECRET not in str(host.rows("webhook", "list")) and len(one.taken) == len(
        {e["id"] for e in one.taken})
    host.ctl("webhook", "del", str(number))
    assert "no such webhook" in refusal(host, "webhook", "show", str(number))
    assert not host.rows("webhook", "list")
    until("its own end", lambda: [e for e in one.of("audit.entry")
                                  if e["data"]["command"] == "webhook del"])


def test_a_new_name_of_a_template_changes_the_profile_of_each_account(make_server, receiver):
    """They are more than are read at once. Nobody else is told of."""
    host = make_server("bob", settings=LOCAL)
    one = receiver()
    for name in "staff", "other":
        host.ctl("template", "add", name)
    host.ctl("user", "add", "zoe@localhost", "--password", "secret", "--template", "other")
    jids = [f"u{n:03}@localhost" for n in range(450)]
    with host.database() as db:
        for jid in jids:
            db.execute("INSERT INTO account(jid, created_us, disabled, template) "
                       f"VALUES ('{jid}', 0, 0, 'staff')")
    add(host, one.url, "user.changed")
    host.ctl("template", "rename", "staff", "crew")
    host.ctl("user", "set", "bob@localhost", "--surname", "B")
    until("all", lambda: len(one.of("user.changed")) > len(jids), 60)
    assert sorted(e["subject"] for e in one.taken) == ["bob@localhost", *jids]


def test_a_new_name_of_a_template_is_not_told_of_accounts_behind_their_end(make_server, receiver):
    """Accounts go while the template that they name gets new names: what is told of one ends with
    its end."""
    host = api_server(make_server, **LOCAL)
    one = receiver()
    host.ctl("template", "add", "a")
    jids = [f"u{n:03}@localhost" for n in range(100)]
    with host.database() as db:
        for jid in jids:
            db.execute("INSERT INTO account(jid, created_us, disabled, template) "
                       f"VALUES ('{jid}', 0, 0, 'a')")
    number = add(host, one.url, "user.changed user.deleted")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        gone = pool.map(lambda jid: host.api("DELETE", f"/users/{jid}").status, jids)
        for old, new in itertools.pairwise(itertools.islice(itertools.cycle("ab"), 80)):
            assert host.api("PUT", f"/templates/{old}/name", {"to": new}).status < 300
        assert set(gone) == {200}
    until("all", lambda: len(one.of("user.deleted")) == len(jids)
          and hook(host, number)["waiting"] == 0, 90)
    last = {e["subject"]: e["event"] for e in one.taken}
    assert [jid for jid in jids if last[jid] != "user.deleted"] == []
    assert one.of("user.changed")


def test_failures_are_tried_again_in_the_order_of_each_subject(make_server, receiver):
    """The first two attempts of every second event fail; one subject never holds up another."""
    tries = collections.Counter()

    def status(event):
        tries[event["id"]] += 1
        return 503 if int(event["id"], 16) % 2 and tries[event["id"]] <= 2 else 200
    host = make_server("alice", settings=LOCAL)
    one = receiver(status=status)
    number = add(host, one.url, "setting.changed")
    for i in range(12):
        host.ctl("set", "sm.hibernate-time", f"{30 + i}s")
        host.ctl("set", "sm.ack-every", str(2 + i))
    until("all", lambda: len(one.taken) == 24 and hook(host, number)["waiting"] == 0, 90)
    for name, values in (("sm.hibernate-time", [f"{30 + i}s" for i in range(12)]),
                         ("sm.ack-every", [str(2 + i) for i in range(12)])):
        assert [e["data"]["value"] for e in one.taken if e["subject"] == name] == values
    assert one.most <= 4 and max(tries.values()) == 3
    attempts = [(e["id"], int(h["Muster-Attempt"])) for e, h, _ in one.requests]
    assert len(set(attempts)) == len(attempts)


def test_many_events_of_one_subject_hold_up_no_other(make_server, receiver):
    """All entries of the audit log have one subject, and a receiver may refuse those."""
    host = make_server("alice", settings=LOCAL)
    one = receiver(status=lambda e: 503 if e["event"] == "audit.entry" else 200)
    number = add(host, one.url, "audit.entry user.created")
    for i in range(150):
        host.ctl("set", "sm.ack-every", str(2 + i % 2))
    until("they wait", lambda: hook(host, number)["waiting"] >= 150)
    host.add_user("bob")
    until("the other subject", lambda: one.of("user.created"))
    one.status = lambda event: 200
    until("all", lambda: hook(host, number)["waiting"] == 0, 90)
    values = [e["data"]["after"] for e in one.of("audit.entry")
              if e["data"]["command"] == "set"]
    assert len(values) == 150 and values == values[:2] * 75


def test_a_clock_that_is_set_back_holds_up_nothing(make_server, receiver, disk):
    host = make_server("alice", settings=LOCAL, disk=disk)
    port = free_ports(1)[0]
    number = add(host, f"http://127.0.0.1:{port}/", "user.created")
    disk.turn(wall_us=7200 * 10**6)
    host.add_user("bob")
    until("it was tried", lambda: hook(host, number)["failure"])
    disk.turn(wall_us=0)
    one = receiver(port=port)
    host.add_user("carol")
    until("both", lambda: {e["subject"] for e in one.of("user.created")} == {
        "bob@localhost", "carol@localhost"})


def test_slow_receivers_hold_up_no_other(make_server, receiver):
    """Requests to all of them together are bounded, and one to each has room."""
    host = make_server("alice", settings=LOCAL)
    answers = threading.Event()
    slow = receiver(status=lambda event: 204 if answers.wait(TIMEOUT) else 500)
    fast = receiver()
    slow_ones = [add(host, slow.url, "user.created") for _ in range(6)]
    number = add(host, fast.url, "user.created")
    for i in range(12):
        host.add_user(f"user{i}")
    until("the fast one has all", lambda: hook(host, number)["waiting"] == 0, 10)
    assert not slow.taken and slow.most > 16
    assert "receiver has taken" in host.ctl("webhook", "test", str(number))["text"]
    answers.set()
    until("the others, too", lambda: all(hook(host, one)["waiting"] == 0 for one in slow_ones), 60)
    assert len(slow.of("user.created")) == 6 * 12 and len(fast.of("user.created")) == 12


@pytest.mark.parametrize("soon", [True, False])
def test_nothing_that_waits_for_a_deleted_webhook_goes_to_another(make_server, receiver, soon):
    """Not even if that gets its number, after a restart; whatever waits for others."""
    host = make_server("alice", settings=LOCAL)
    away = f"http://127.0.0.1:{free_ports(1)[0]}/"
    add(host, away, "audit.entry")  # what waits for it keeps the queue from being swept
    number = add(host, away, "audit.entry")
    host.ctl("set", "sm.ack-every", "3")
    host.ctl("--yes", "webhook", "del", str(number))
    host.ctl("set", "sm.ack-every", "4")

    def rows():
        with host.database(read_only=True) as db:
            return db.execute("SELECT count(*) FROM webhook_queue WHERE hook = ?",
                              (number,)).fetchone()[0]
    until("its last entries", lambda: rows() > 0)
    if not soon:
        until("they are given up", lambda: rows() == 0)
    host.kill()
    host.start()
    assert rows() == 0
    one = receiver()
    assert add(host, one.url, "room.created user.created") == number
    host.kill()
    host.start()
    host.add_user("bob")
    until("its own", lambda: one.of("user.created"))
    assert {e["event"] for e, _, _ in one.requests} == {"user.created"}


def test_events_outlast_a_kill_while_the_receiver_is_away(make_server, receiver):
    host = make_server("alice", settings=LOCAL)
    port = free_ports(1)[0]
    number = add(host, f"http://127.0.0.1:{port}/", "setting.changed")
    for i in range(20):
        host.ctl("set", "sm.hibernate-time", f"{30 + i}s")
    until("stored", lambda: numbers_of(host, number) == (20, 0))
    until("alarm", lambda: "webhook.failing" in active(host))
    assert "webhook.failing" in active(host) and hook(host, number)["failure"]
    host.kill()
    host.start()
    assert hook(host, number)["waiting"] == 20
    one = receiver(port=port)
    until("all", lambda: len({e["id"] for e in one.taken}) == 20, 60)
    assert int(one.requests[0][1]["Muster-Attempt"]) > 1  # it was tried before the kill
    first_times = list({e["id"]: e["data"]["value"] for e in one.taken}.values())
    assert first_times == [f"{30 + i}s" for i in range(20)]
    until("empty", lambda: hook(host, number)["waiting"] == 0)


@pytest.mark.sqlite
def test_events_that_the_database_has_yet_to_take_are_counted(make_server, receiver, disk):
    host = make_server("alice", settings=LOCAL, disk=disk)
    number = add(host, receiver().url, "session.*")
    other = add(host, receiver().url, "setting.changed")
    alice = host.login("alice")
    disk.turn(sync_ms=STILL)
    for count in range(1, 6):
        alice.send("<presence type='unavailable'/>" if count % 2 == 0 else "<presence/>")
        until("it waits", lambda: numbers_of(host, number) == (count, count))
    assert numbers_of(host, other) == (0, 0)
    disk.turn(sync_ms=0)
    until("all", lambda: numbers_of(host, number) == (0, 0))
    assert hook(host, number)["taken"] == 5


@pytest.mark.parametrize("status", [301, 403, 500])
def test_a_receiver_that_refuses_raises_the_alarm(make_server, receiver, status):
    """Whoever answers with an error has not taken the event, like one that cannot be reached."""
    host = make_server("alice", settings=LOCAL)
    answers = {"status": status}
    one = receiver(status=lambda event: answers["status"])
    number = add(host, one.url, "setting.changed")
    host.ctl("set", "sm.hibernate-time", "31s")
    until("alarm", lambda: "webhook.failing" in active(host), 30)
    detail = active(host)["webhook.failing"]["detail"]
    assert f"webhook {number}" in detail and f"status {status}" in detail
    answers["status"] = 200
    until("taken", lambda: hook(host, number)["waiting"] == 0, 60)
    until("cleared", lambda: "webhook.failing" not in active(host))


def test_a_full_queue_drops_and_says_so(make_server):
    host = make_server("alice", settings={**LOCAL, "webhook.queue-max": "100"})
    number = add(host, f"http://127.0.0.1:{free_ports(1)[0]}/", "setting.changed")
    for i in range(105):
        host.ctl("set", "sm.hibernate-time", f"{30 + i % 60}s")
    until("alarm", lambda: "webhook.dropped" in active(host))
    assert hook(host, number)["waiting"] == 100
    detail = active(host)["webhook.dropped"]["detail"]
    assert "5 since the start" in detail and "webhook.queue-max" in detail
    host.ctl("webhook", "del", str(number))
    with host.database() as db:
        until("gone", lambda: db.execute("SELECT count(*) FROM webhook_queue").fetchone()[0] == 0)


def put_into_queue(host, hook, kind, subject, ids=(1, 1)):
    """Events that wait, into the database of a server that is stopped. `subject`: SQL, of id."""
    with host.database() as db:
        db.execute(
            "WITH RECURSIVE ids(id) AS (SELECT ? UNION ALL SELECT id + 1 FROM ids WHERE id < ?) "
            "INSERT INTO webhook_queue (id, hook, event_id, kind, subject, at_us, body) SELECT id, "
            f"?, 'e' || id, ?, {subject}, ?, ? FROM ids",
            (*ids, hook, kind, int(time.time() * 1e6), json.dumps({"id": "e", "event": kind})))


def test_a_queue_with_much_text_is_read_at_the_start(make_server, receiver):
    """More than one answer of the database may have (STORE_RESULT_BYTES_MAX)."""
    host = make_server("alice", settings={**LOCAL, "webhook.queue-max": "40000"},
                       why="more text than one answer of the database may have")
    first = add(host, f"http://127.0.0.1:{free_ports(1)[0]}/", "room.created")
    host.stop()
    put_into_queue(host, first, "room.created", f"'{'x' * 1000}' || id", (1, 34000))
    host.start()
    assert hook(host, first)["waiting"] == 34000
    one = receiver()
    second = add(host, one.url, "setting.changed")
    assert second == first + 1
    for i in range(5):
        host.ctl("set", "sm.ack-every", str(10 + i))
    until("all of the second", lambda: hook(host, second)["waiting"] == 0)
    assert [e["data"]["value"] for e in one.taken] == [str(10 + i) for i in range(5)]
    assert hook(host, first)["waiting"] == 34000 and "webhook.unread" not in active(host)


@pytest.mark.parametrize("stops", [False, True])
def test_events_wait_while_the_queue_cannot_be_read(make_server, receiver, stops):
    """Nothing is lost, also if the server is stopped meanwhile, and all is in order."""
    host = make_server("alice", settings=LOCAL)
    one = receiver()
    number = add(host, one.url, "user.*")
    host.stop()
    put_into_queue(host, number, "user.deleted", "'dora@localhost'")
    long = f"replace('{'1' * 3300}', '1', '{'x' * 10500}')"  # no answer may be so long
    put_into_queue(host, number, "user.deleted", long, (2, 2))
    host.start()
    until("alarm", lambda: "webhook.unread" in active(host))
    host.add_user("dora")
    for words in ["list"], ["add", one.url], ["del", str(number)], ["show", str(number)]:
        assert "not read" in refusal(host, "--yes", "webhook", *words)
    assert not one.requests
    with host.database() as db:
        db.execute("DELETE FROM webhook_queue WHERE id = 2")
    if stops:
        host.stop()
        host.start()
    until("both", lambda: len(one.taken) == 2)
    assert [e["event"] for e in one.taken] == ["user.deleted", "user.created"]
    until("cleared", lambda: "webhook.unread" not in active(host))
    assert [row["id"] for row in host.rows("webhook", "list")] == [number]


def test_many_events_at_once_are_all_kept(make_server, tmp_path):
    """As many as may wait, for as many webhooks as there may be."""
    host = make_server("alice", settings=LOCAL)
    away = f"http://127.0.0.1:{free_ports(1)[0]}/"
    numbers = [add(host, away, "user.created") for _ in range(32)]
    file = tmp_path / "users.xml"
    file.write_text(server_data(*(f"<user name='u{i}'>{keys('planted south wind')}</user>"
                                  for i in range(300))))
    host.bring("xep0227", str(file))
    until("all", lambda: sum(hook(host, n)["waiting"] for n in numbers) == 32 * 300, 20)
    assert "webhook.dropped" not in active(host)


def test_a_webhook_reads_what_its_maker_may(make_server):
    host = api_server(make_server)
    host.ctl("role", "set", "hooks", "webhooks.* users.read")
    made = host.rows("token", "add", "hooks", "hooks")[0]["token"]

    def add_of(**events):
        return host.api("POST", "/commands/webhook-add", {"url": "https://hook.example.org/",
                                                          **events}, token=made)
    assert add_of(events="user.created user.deleted").status == 200
    for events in {}, {"events": "*"}, {"events": "user.* audit.entry"}:
        refused = add_of(**events)
        assert refused.status == 403 and ".read" in refused.json["detail"]
    assert len(host.rows("webhook", "list")) == 1


def test_what_waits_too_long_is_dropped(make_server):
    host = make_server("alice", settings={**LOCAL, "webhook.keep": "1s"})
    number = add(host, f"http://127.0.0.1:{free_ports(1)[0]}/", "setting.changed")
    host.ctl("set", "sm.hibernate-time", "31s")
    until("alarm", lambda: "webhook.dropped" in active(host))
    until("gone", lambda: hook(host, number)["waiting"] == 0)


def test_a_shorter_time_drops_what_is_older_at_once(make_server):
    """Also where it is more than one step takes (SWEPT_MAX in notify/webhooks.c)."""
    host = make_server("alice", settings=LOCAL)
    number = add(host, f"http://127.0.0.1:{free_ports(1)[0]}/", "setting.changed")
    host.stop()
    at_us = int((time.time() - 3600) * 1e6)
    with host.database() as db:
        for i in range(1, 2501):
            db.execute("INSERT INTO webhook_queue (id, hook, event_id, kind, subject, at_us, "
                       "body, attempts) VALUES (?, ?, ?, 'setting.changed', ?, ?, '{}', 0)",
                       (i, number, f"{i:032x}", f"s{i % 7}", at_us))
    host.start()
    host.ctl("set", "sm.hibernate-time", "31s")
    until("stored", lambda: hook(host, number)["waiting"] == 2501)
    host.ctl("set", "webhook.keep", "30m", "--accept")
    until("dropped", lambda: hook(host, number)["waiting"] == 2, 10)
    detail = active(host)["webhook.dropped"]["detail"]
    assert "2500 since the start" in detail
    with host.database(read_only=True) as db:
        until("gone", lambda: db.execute("SELECT count(*) FROM webhook_queue").fetchone() == (2,))


def test_what_is_too_old_is_not_sent(make_server, receiver):
    """Nor does it hold up what is not, of the same subject."""
    host = make_server("alice", settings=LOCAL)
    port = free_ports(1)[0]
    number = add(host, f"http://127.0.0.1:{port}/", "setting.changed")
    for i in range(20):
        host.ctl("set", "sm.hibernate-time", f"{30 + i}s")
    until("stored", lambda: numbers_of(host, number) == (20, 0))
    host.stop()
    with host.database() as db:  # the clock was a day behind for most of them
        db.execute("UPDATE webhook_queue SET at_us = at_us - 90000000000 WHERE id NOT IN "
                   "(SELECT min(id) FROM webhook_queue) AND id NOT IN "
                   "(SELECT max(id) FROM webhook_queue)")
    one = receiver(port=port)
    host.start()
    until("the rest", lambda: hook(host, number)["waiting"] == 0)
    assert [e["data"]["value"] for e in one.taken] == ["30s", "49s"]
    assert "18 since the start" in active(host)["webhook.dropped"]["detail"]


@pytest.mark.parametrize("url", ["ftp://a.test/", "http://", "https://a.test:0/", "file:///x",
                                 "http://a b/", "http://u:p@a.test/", "gopher://a.test:25/",
                                 "http://a.test/\r\nX: y"])
def test_addresses_that_are_refused(server, url):
    assert "allowed" in refusal(server, "webhook", "add", url) or "control" in refusal(
        server, "webhook", "add", url)
    assert server.rows("webhook", "list") == []


def test_wrong_arguments(server):
    assert "events" in refusal(server, "webhook", "add", "http://a.test/", "--events", "user.born")
    assert "secret" in refusal(server, "webhook", "add", "http://a.test/", "--secret", "short")
    assert "no such webhook" in refusal(server, "webhook", "test", "7")


def own_addresses():
    """Of this machine, beside loopback: it may have none."""
    table = open("/proc/net/fib_trie").read()
    found = set(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", table))
    return sorted(one for one in found if not one.startswith("127."))


def test_this_machine_is_no_receiver_unless_that_is_allowed(make_server, receiver):
    host = make_server("alice")
    one = receiver()
    for name in ["127.0.0.1", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", *own_addresses()]:
        told = refusal(host, "webhook", "add", f"http://{name}:{one.port}/")
        assert "not allowed" in told and "webhook.allow-local" in told, name
    assert host.rows("webhook", "list") == []
    number = str(add(host, f"http://localhost:{one.port}/"))
    assert "not allowed" in refusal(host, "webhook", "test", number)
    assert one.requests == []
    host.ctl("set", "webhook.allow-local", "on")
    host.ctl("webhook", "test", number)
    assert one.of("test")


def test_https_checks_the_receiver(make_server, receiver, tmp_path):
    make(tmp_path, "hook", ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "hook.pem", tmp_path / "hook.key")
    one = receiver(context=context)
    host = make_server("alice", settings=LOCAL)
    number = str(add(host, f"https://localhost:{one.port}/", "user.created"))
    assert "certificate" in refusal(host, "webhook", "test", number)
    host.ctl("cert-trust", "add", tmp_path / "hook.pem")
    host.ctl("webhook", "test", number)
    assert one.of("test")


@contextlib.contextmanager
def serving(answer):
    """The address of a program that answers one request by that function."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        def serve():
            with contextlib.suppress(OSError):
                peer, _ = other.accept()
                peer.settimeout(TIMEOUT)
                while b"\r\n\r\n" not in peer.recv(65536):
                    pass
                answer(peer)
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{other.getsockname()[1]}/"


def answering(answer, ends=True):
    """The same, of one that answers so. ends: it says no more."""
    def say(peer):
        peer.sendall(answer)
        if ends:
            peer.shutdown(socket.SHUT_WR)
        while peer.recv(65536):
            pass
    return serving(say)


@pytest.mark.parametrize("answer, told", [
    (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "status 302"),
    (b"HTTP/1.1 500 Oops\r\nContent-Length: 99999999\r\n\r\n", "status 500"),
    (b"SSH-2.0-x\r\n", "as a web server does"), (b"", "as a web server does"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100000, "as a web server does")])
def test_answers_of_other_programs(make_server, answer, told):
    with answering(answer) as url:
        host = make_server("alice", settings=LOCAL)
        number = add(host, url, "user.created")
        assert told in refusal(host, "webhook", "test", str(number))


BODIES = {
    "long": (b"", b"x" * 70000),
    "very long": (b"", b"x" * 2000000),
    "longer than allowed": (b"Content-Length: 300000\r\n", b"x" * 300000),
    "none of it": (b"Content-Length: 99999999\r\n", b""),
    "too short": (b"Content-Length: 10\r\n", b"abc"),
    "no number": (b"Content-Length: ten\r\n", b"abc"),
    "in chunks": (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    "part of a chunk": (b"Transfer-Encoding: chunked\r\n", b"5\r\nhe"),
}


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("body", BODIES)
def test_the_status_decides_whatever_the_body_is(make_server, body, ends):
    with answering(b"HTTP/1.1 200 OK\r\n%b\r\n%b" % BODIES[body], ends) as url:
        host = make_server("alice", settings=LOCAL)
        host.ctl("webhook", "test", str(add(host, url, "user.created")))


@pytest.mark.parametrize("fields", [b"", b"Content-Length: 5\r\n",
                                    b"Transfer-Encoding: chunked\r\n"])
def test_an_answer_without_a_body_ends_with_its_head(make_server, fields):
    """RFC 9112 §6.3. The receiver leaves the connection open, and nothing waits for its end."""
    with answering(b"HTTP/1.1 204 No Content\r\n%b\r\n" % fields, ends=False) as url:
        host = make_server("alice", settings=LOCAL)
        number = str(add(host, url, "user.created"))
        begun = time.monotonic()
        host.ctl("webhook", "test", number)
        assert time.monotonic() - begun < 12  # a receiver has 15 s to answer


@pytest.mark.parametrize("head", [b"", b"Content-Length: 99999999\r\n"])
def test_an_answer_that_is_too_long_is_not_read_on(make_server, head):
    """The status is known, so the connection ends, whatever more is sent."""
    sent = []

    def flood(peer):
        peer.sendall(b"HTTP/1.1 200 OK\r\n%b\r\n" % head)
        with contextlib.suppress(OSError):
            while True:
                sent.append(peer.send(b"x" * 65536))
        sent.append(None)

    with serving(flood) as url:
        host = make_server("alice", settings=LOCAL)
        host.ctl("webhook", "test", str(add(host, url, "user.created")))
        until("the connection has ended", lambda: sent and sent[-1] is None)
    assert sum(sent[:-1]) < 32 << 20  # what the kernel takes on the way, and no more


def test_the_receiver_of_the_documentation(make_server):
    """It prints each event once, and takes no request that is not signed."""
    port = free_ports(1)[0]
    with subprocess.Popen([sys.executable, ROOT / "docs/examples/webhook_receiver.py",
                           "127.0.0.1", str(port)], stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "MUSTER_SECRET": SECRET}) as process:
        try:
            host = make_server("alice", settings=LOCAL)
            good = str(add(host, f"http://127.0.0.1:{port}/", "user.created"))
            bad = str(add(host, f"http://127.0.0.1:{port}/", "user.deleted", SECRET + "x"))
            until("it listens", lambda: host.ctl_run("webhook", "test", good).returncode == 0)
            assert "status 403" in refusal(host, "webhook", "test", bad)
            host.ctl("user", "add", "dora@localhost", "--password", "planted south wind")
            lines = []
            while not lines or "user.created" not in lines[-1]:
                lines.append(process.stdout.readline())
            assert lines[-1].split()[1:] == ["user.created", "dora@localhost", '{"jid":',
                                             '"dora@localhost"}']
        finally:
            process.kill()


# --- every way by which the state of an account changes ---

ANN = "ann@localhost"


def by_form(host, name, **fields):
    with contextlib.closing(host.client("alice")) as alice:
        run_form(alice, name, **fields)


def added_by_form(host, _):
    by_form(host, "add-user", **{"accountjid": ANN, "password": "p", "password-verify": "p"})


def registered(host, _):
    host.ctl("set", "register.enabled", "on")
    with contextlib.closing(host.connect()) as fresh:
        fresh.result("set", "<query xmlns='jabber:iq:register'><username>ann</username>"
                     "<password>secret-enough</password></query>", to="localhost")


def removed_by_the_user(host, _):
    with contextlib.closing(host.client("ann", password="secret-enough")) as ann:
        ann.result("set", "<query xmlns='jabber:iq:register'>"
                   "<x xmlns='jabber:x:data' type='submit'>"
                   "<field var='FORM_TYPE'><value>jabber:iq:register:cancel</value></field>"
                   "<field var='username'><value>ann</value></field>"
                   "<field var='password'><value>secret-enough</value></field></x></query>")


def imports(inner, *more):
    def act(host, folder):
        (folder / "in.xml").write_text(
            "<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'>"
            f"<user name='ann' password='p'>{inner}</user></host></server-data>")
        host.bring("xep0227", str(folder / "in.xml"), *more)
    return act


def ctl(*args):
    return lambda host, _: host.ctl(*args)


OFF = "<disabled xmlns='urn:muster:pie:0'/>"
# Each way with the events of the account that it makes; each one finds what those above it left.
WAYS = [
    (ctl("user", "add", ANN, "--password", "planted south wind"), "created"),
    (ctl("user", "set", ANN, "--given-name", "Ann"), "changed"),
    (ctl("user", "disable", ANN), "disabled"),
    (ctl("user", "enable", ANN), "enabled"),
    (ctl("user", "del", ANN, "--keep-address", "--yes"), "deleted disabled"),
    (ctl("user", "enable", ANN), "enabled"),
    (imports("", "--replace", "--yes"), "deleted disabled created"),
    (imports("", "--yes"), ""),
    (ctl("user", "del", ANN, "--yes"), "deleted"),
    (imports(OFF, "--dry-run"), ""),
    (imports(OFF), "created disabled"),
    (imports(OFF, "--replace", "--yes"), "deleted disabled created disabled"),
    (ctl("user", "del", ANN, "--yes"), "deleted"),
    (added_by_form, "created"),
    (lambda host, _: by_form(host, "disable-user", accountjids=[ANN]), "disabled"),
    (lambda host, _: by_form(host, "reenable-user", accountjids=[ANN]), "enabled"),
    (lambda host, _: by_form(host, "delete-user", accountjids=[ANN]), "deleted"),
    (registered, "created"),
    (removed_by_the_user, "deleted"),
]


def test_each_way_to_change_an_account_is_told(make_server, receiver, tmp_path):
    host = make_server("alice", settings=LOCAL)
    host.ctl("set", "admin.accounts", "alice@localhost")
    one = receiver()
    add(host, one.url, "user.*")
    expected = []

    def told():
        return [e["event"] for e in list(one.taken) if e["subject"] == ANN]

    for number, (act, events) in enumerate(WAYS):
        act(host, tmp_path)
        expected += [f"user.{event}" for event in events.split()]
        until(f"way {number}", lambda: len(told()) >= len(expected))
        assert told() == expected, number


def test_events_wait_for_a_secret_that_cannot_be_read(make_server, receiver):
    """The file with the key is away: what happens then is not lost, and nothing goes unsigned."""
    host = make_server("alice", settings=LOCAL)
    one = receiver()
    number = add(host, one.url, "user.*")
    host.stop()
    key = host.data / "secrets.key"
    key.rename(host.data / "away")
    host.start()
    host.add_user("dora")
    until("it waits", lambda: hook(host, number)["waiting"] == 1)
    assert "secrets.key" in hook(host, number)["failure"]
    assert "cannot be read" in refusal(host, "webhook", "test", str(number))
    host.restart()
    host.add_user("emil")
    until("both wait", lambda: hook(host, number)["waiting"] == 2)
    assert not one.requests
    host.stop()
    key.unlink(missing_ok=True)
    (host.data / "away").rename(key)
    host.start()
    until("taken", lambda: {e["subject"] for e in one.of("user.created")} == {
        "dora@localhost", "emil@localhost"})
    until("none waits", lambda: hook(host, number)["waiting"] == 0)
    assert hook(host, number)["failure"] == ""


def test_a_rollback_at_the_start_is_told_as_one_while_the_server_runs(make_server, receiver):
    """Numbers, texts, defaults, values of a domain, secrets: events, log and audit log are the
    same."""
    one, told = receiver(), []
    host = make_server(settings=LOCAL)
    add(host, one.url, "setting.changed")
    changes = {"roster.groups-max": "46", "sm.ack-every": "8", "announce.subject": "News",
               "invite.max@localhost": "9", "invite.max": "8", "mail.password": "hush"}
    host.ctl("set", "sm.ack-every", "7")

    def events(count):
        return until("the events", lambda: len(one.of("setting.changed")) == count
                     and one.of("setting.changed"))
    events(1)
    for ends in ("while it runs", "while it is away"):
        for name, value in changes.items():
            host.ctl("config", "edit", name, value)
        host.ctl("config", "apply", "--confirm", "2s")
        version = host.rows("config", "history")[0]["version"]
        if ends == "while it is away":
            host.stop()
            time.sleep(2)
            host.start()
        host.wait_log(f"event=setting.rolled_back version={version}")
        entry = until("the entry", lambda: [
            e for e in host.rows("audit", "list", "--command", "config rollback")
            if f"version={version - 1} " in e["args"]])[0]
        last = {e["subject"]: e["data"] for e in events(1 + 12 * (len(told) + 1))}
        told.append((entry["before"], entry["after"], last))
    assert told[0] == told[1]
    assert "invite.max@localhost=9" in told[0][0] and "sm.ack-every=7" in told[0][1]
    assert "hush" not in str(told)


def test_only_who_may_add_webhooks_sees_their_paths(make_server):
    host = api_server(make_server, **LOCAL)
    urls = ["https://hooks.example.org:8443/services/key?token=1", "https://h.example.org/"]
    numbers = [add(host, url) for url in urls]
    shown = {}
    for role in ("administrator", "viewer", "auditor", "operator"):
        token = host.rows("token", "add", role, role)[0]["token"]
        listed = host.api("GET", "/webhooks", token=token)
        shown[role] = [row["url"] for row in listed.json["items"]]
        one = host.api("GET", f"/webhooks/{numbers[0]}", token=token)
        assert one.json["url"] == shown[role][0]
    short = ["https://hooks.example.org:8443/…", "https://h.example.org/"]
    assert shown == {"administrator": urls, "viewer": short, "auditor": short, "operator": short}
    assert [row["url"] for row in host.rows("webhook", "list")] == urls
    host.ctl("webhook", "del", str(numbers[0]), "--yes")
    assert host.api("POST", "/webhooks", {"url": urls[0]}, token=token).status == 403
    auditor = host.rows("token", "add", "reads", "auditor")[0]["token"]
    for path in "/audit", "/log?area=command":
        said = host.api("GET", path, token=auditor)
        assert said.status == 200 and "webhook add" in said.text and "webhook del" in said.text
        assert "services" not in said.text and "token=1" not in said.text, path
    assert "services" not in host.log()


def test_webhooks_whose_key_is_lost_are_gone_at_once(make_server, receiver):
    """With what waits for them."""
    host = make_server("alice", settings=LOCAL)
    one = receiver()
    for events in "user.*", "*":
        add(host, one.url, events)
    host.stop()
    (host.data / "secrets.key").unlink()
    host.start()
    host.add_user("dora")
    assert len(host.rows("webhook", "list")) == 2
    host.ctl("secrets", "reset", "--yes")
    assert host.rows("webhook", "list") == []
    assert "no such webhook" in refusal(host, "webhook", "show", "1")
    host.restart()
    assert host.rows("webhook", "list") == [] and not one.of("user.created")
