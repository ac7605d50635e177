"""trace jid: the stanzas of one user in the log, for a while, with what they say masked."""
import json

from harness import rows
from harness.client import until
from surface.test_api import api_server
from surface.test_api_events import Stream

ALICE = "alice@localhost"


def lines(server, *more, area="trace"):
    return server.rows("log", "list", "--area", area, *more)


def texts(server, *more):
    return server.rows("trace", "texts", ALICE, "a judge wants it", *more)


def say(client, to, number):
    client.send(f"<message to='{to}' type='chat' id='{number}'><body>topsecret</body>"
                "<x xmlns='jabber:x:conference' jid='r@c' password='hidden'/></message>")


def test_one_user_both_ways_and_masked(server, alice, bob):
    carol = server.client("carol")
    server.ctl("trace", "jid", ALICE)
    say(alice, "bob@localhost", "m1")
    bob.expect("<message id='m1'/>")
    say(bob, ALICE, "m2")
    alice.expect("<message id='m2'/>")
    say(carol, "bob@localhost", "m3")
    bob.expect("<message id='m3'/>")
    found = until("both", lambda: (found := lines(server)) and {"trace.in", "trace.out"} <= {
        r["event"] for r in found} and found)
    text = json.dumps(found)
    assert "m1" in text and "m2" in text and "m3" not in text
    assert "topsecret" not in text and "hidden" not in text and "<body>[9]</body>" in text
    assert {r["level"] for r in found} == {"info"}
    assert "topsecret" not in server.log() and "hidden" not in server.log()
    # The text only where it is asked for with a reason, and of it no more than bodies.
    assert server.ctl_run("trace", "bodies", ALICE).returncode != 0
    server.ctl("trace", "bodies", ALICE, "a judge wants it")
    say(alice, "bob@localhost", "m4")
    bob.expect("<message id='m4'/>")
    assert server.ctl_run("trace", "texts", ALICE).returncode != 0
    shown = until("line", lambda: texts(server, "--word", "m4"))
    assert len(shown) == 1  # also where two nodes answer
    assert "topsecret" in shown[0]["text"] and "hidden" not in shown[0]["text"]
    assert server.rows("trace", "texts", "bob@localhost", "of another") == []
    assert "topsecret" not in server.log()
    entry = until("entry", lambda: server.rows("audit", "list", "--command", "trace bodies"))[0]
    assert "a judge wants it" in entry["args"]


def test_no_level_of_the_log_hides_it(server, alice, bob):
    server.ctl("log", "level", "error")
    server.ctl("log", "trace", "trace", "off")
    server.ctl("trace", "jid", ALICE)
    say(alice, "bob@localhost", "m9")
    bob.expect("<message id='m9'/>")
    until("line", lambda: "m9" in json.dumps(lines(server)))
    assert "m9" in server.log()


def test_the_texts_of_every_node_are_shown(server, alice, bob):
    """In their order, the newest ones."""
    server.ctl("trace", "bodies", ALICE, "a judge wants it")
    for number in range(5):
        say(alice, "bob@localhost", f"n{number}")
        bob.expect(f"<message id='n{number}'/>")
    until("last", lambda: texts(server, "--word", "id='n4'"))
    found = [r["text"] for r in texts(server, "--limit", "3")]
    assert [f"n{n}" in text for n, text in zip((2, 3, 4), found, strict=True)] == [True] * 3


def test_it_ends(server, alice, bob):
    answer = server.ctl_run("trace", "jid", ALICE, "--for", "1h")
    assert answer.returncode == 0 and "no such account" not in answer.stdout + answer.stderr
    assert [(r["jid"], r["bodies"]) for r in server.rows("trace", "list")] == [(ALICE, False)]
    server.ctl("trace", "stop", ALICE)
    assert server.ctl_run("trace", "stop", ALICE).returncode == 1
    say(alice, "bob@localhost", "m5")
    bob.expect("<message id='m5'/>")
    assert lines(server) == []
    server.ctl("trace", "jid", ALICE, "--for", "1s")
    until("its end", lambda: server.rows("trace", "list") == [])
    say(alice, "bob@localhost", "m6")
    bob.expect("<message id='m6'/>")
    assert "m6" not in json.dumps(lines(server))


def test_who_may_and_how_many(server):
    for number in range(16):
        answer = server.ctl_run("trace", "jid", f"u{number}@localhost")
        assert answer.returncode == 0 and "there is no such account yet" in answer.stdout
    server.ctl("trace", "jid", "u0@localhost", "--for", "1h")
    done = server.ctl_run("trace", "jid", ALICE)
    assert done.returncode == 1 and "16 users" in done.stderr
    assert len(server.rows("trace", "list")) == 16
    schema = {name: row["x-permission"] for name, row in rows.part("commands").items()
              if name.startswith("trace ")}
    assert schema == {"trace jid": "log.write", "trace stop": "log.write",
                      "trace list": "log.read", "trace bodies": "compliance.write",
                      "trace texts": "compliance.read",
                      "trace message": "trace.read"}


def test_who_may_read_the_log_does_not_read_what_users_say(make_server):
    """Neither in `log list` nor as events: of whom a trace is, is not for everybody either."""
    server = api_server(make_server)
    bob = server.add_user("bob") or server.client("bob")
    server.add_user("alice")
    alice = server.client("alice")
    server.ctl("trace", "bodies", ALICE, "a judge wants it")
    tokens = {role: server.rows("token", "add", role, role)[0]["token"]
              for role in ("viewer", "auditor")}
    stream = Stream(server, "log", token=tokens["viewer"])
    assert stream.status() == 200
    say(alice, "bob@localhost", "m7")
    bob.expect("<message id='m7'/>")
    until("line", lambda: texts(server, "--word", "m7"))
    server.ctl("trace", "stop", ALICE)
    server.client("bob", "behind")
    assert "trace-bodies" not in {row["area"] for row in server.rows("log", "areas")}
    assert server.ctl_run("log", "trace", "trace-bodies", "on").returncode == 1

    def read(role, body):
        return server.api("POST", "/commands/log-list", body, token=tokens[role])
    stream.find("log", lambda line: line["event"] == "auth.ok")
    assert "m7" not in stream.seen
    assert "m7" not in read("viewer", {"limit": 4000}).text
    for area in "trace", "trace-bodies":
        refused = read("viewer", {"area": area})
        assert refused.status == 403 and ".read" in refused.json["detail"]
    # Who may read what users say states a reason, also after the end of a trace of somebody else.
    for body in {"area": "trace-bodies"}, {"area": "trace-bodies", "reason": "curious"}:
        assert read("auditor", body).status in (403, 422)
    for way in "/log?area=trace-bodies", "/log?area=trace", "/log", "/trace/users":
        assert "topsecret" not in server.api("GET", way, token=tokens["auditor"]).text

    def ask(role, **body):
        return server.api("POST", "/commands/trace-texts", {"jid": ALICE, **body},
                          token=tokens[role])
    assert ask("viewer", reason="curious").status == 403
    assert ask("auditor").status == 422
    assert {ask("auditor", reason=why).status for why in ("", "  \t ", " ab ")} == {422}
    assert "topsecret" in ask("auditor", reason="case 4711").text
    entry = until("entry", lambda: [r for r in server.rows(
        "audit", "list", "--command", "trace texts") if r["actor"] == "token:auditor"])[0]
    assert "case 4711" in entry["args"] and ALICE in entry["args"] and entry["result"] == "ok"


def test_no_log_has_the_text_of_messages(server, alice, bob):
    """Of no area, whatever is traced."""
    server.ctl("log", "trace", "all", "on")
    server.ctl("trace", "jid", "bob@localhost")
    server.ctl("trace", "bodies", ALICE, "a judge wants it")
    say(alice, "bob@localhost", "m8")
    bob.expect("<message id='m8'/>")
    until("line", lambda: "topsecret" in json.dumps(texts(server)))
    assert "topsecret" not in server.log() and "m8" in server.log()
    for row in server.rows("log", "areas"):
        found = server.ctl_run("log", "list", "--area", row["area"], "--limit", "4000")
        assert "topsecret" not in found.stdout + found.stderr, row["area"]
