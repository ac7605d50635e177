"""What operators see and do of streams with other servers: `musterctl s2s`, alarms and metrics."""
import contextlib
import json
import re
import socket
import threading
import urllib.request

import pytest

from harness import federation, xml
from harness.client import until
from harness.federation import EXTERNAL, Listener
from harness.links import ONE, OTHER, authority, hear, links, pair, say, start
from harness.server import free_ports, refusal

__all__ = ["authority", "pair", "start"]
BOB = f"bob@{OTHER}"


@pytest.fixture
def one(start):
    return start("alice")


@pytest.fixture
def played(one, authority):
    """OTHER, which the test plays."""
    listener = Listener(OTHER, authority.issue(OTHER, OTHER))
    federation.route(one, OTHER, listener.port)
    yield listener
    listener.close()


def trace(server, *words):
    """The exit code, the steps by stage, and what is said at the end."""
    done = server.ctl_run("--json", "s2s", "trace", OTHER, *words)
    reply = json.loads(done.stdout)
    steps = {}
    for row in reply["rows"]:
        steps.setdefault(row["stage"], []).append((row["result"], row["text"]))
    return done.returncode, steps, reply["text"]


def failed(one, stage, text, *words, advice=""):
    """The trace fails in this stage, as its last step says, and then, what to do. Each step is told
    once."""
    code, steps, said = trace(one, *words)
    assert code == 1 and list(steps)[-1] == stage, (steps, said)
    assert steps[stage][-1][0] == "failed" and text in steps[stage][-1][1], steps
    assert f"({stage})" in said and len(said.split("\n")[1]) > 20 and advice in said, said
    for told in steps.values():
        texts = [line.partition(" (errno")[0] for _, line in told]
        assert len(texts) == len(set(texts)), texts
    return steps


def shown(server, domain=OTHER):
    return {row["name"]: row["value"] for row in server.rows("s2s", "show", domain)}


# --- s2s trace ---


def test_a_server_that_can_be_reached_shows_all_stages(one, start):
    other = start("bob", domains=[OTHER])
    federation.route(one, OTHER, other.s2s_port)
    code, steps, text = trace(one)
    assert code == 0 and "can be reached" in text
    assert steps["policy"][0][0] == "ok" and steps["route"][0][0] == "ok"
    assert "connected" in steps["tcp"][0][1]
    assert steps["tls"][0][1].startswith("TLSv1.3, TLS_")
    result, ours = steps["tls"][1]
    assert result == "ok" and ours.endswith(f"; it names {ONE}")
    assert re.match("our certificate: CN=.*, issued by CN=ca of tests, valid until 2", ours)
    assert "valid until 2" in steps["certificate"][0][1]
    assert steps["certificate"][-1] == ("ok", f"it names {OTHER} (DNS name)")
    assert steps["authentication"] == [("ok", "by certificate (SASL EXTERNAL)")]
    first, last = (text for _, text in steps["offers"])
    assert first.startswith("EXTERNAL: yes, dialback:") and "XEP-0288: yes" in first
    assert last == "XEP-0198: yes"  # what comes before authentication only is no lack
    assert "none is needed" in steps["link"][0][1]
    assert "s2s.up" not in one.log()  # the real link was not touched
    assert "served here" in refusal(one, "s2s", "trace", ONE)
    assert "no domain of this server" in refusal(one, "s2s", "trace", OTHER, "--local", "x.test")
    assert refusal(one, "s2s", "trace", OTHER, "--timeout", "1ms")


BLOCKS = {  # the command, the reason and the advice
    "off": (("set", "s2s.policy", "off"), "s2s.policy is off", "Set s2s.policy to open"),
    "allow": (("set", "s2s.policy", "allow"), "s2s.policy is allow, and s2s.domains does not name",
              "Add the domain to s2s.domains."),
    "administrator": (("federation", "block", OTHER),
                      "it is blocked by an administrator or by reports",
                      "`musterctl federation allow` ends it"),
    "file": (None, "the file of federation.blocklist has it", "Take the domain out of the file"),
    "route": (("s2s-route", "add", OTHER, "127.0.0.1:9", "--blocked", "on"),
              "a static route blocks it", "--blocked off"),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_what_blocks_a_domain_is_named(one, tmp_path, case):
    command, why, advice = BLOCKS[case]
    if command is None:
        (tmp_path / "list").write_text(f"{OTHER}\n")
        command = ("set", "federation.blocklist", tmp_path / "list")
    one.ctl(*command)
    until("it is blocked", lambda: trace(one)[1]["policy"][-1][0] == "failed")
    failed(one, "policy", why, advice=advice)
    assert f"not allowed: {why}" in shown(one)["policy"]
    done = one.ctl_run("fedtest", "--target", "localhost", "--domain", OTHER, "--proxy",
                       "127.0.0.1")
    assert done.returncode == 1 and "policy: " in done.stdout, done.stdout
    assert why in done.stdout and advice in done.stdout


def first_failure(one, bob):
    """The stage and reason of the stream for stanzas, once it has failed; None: what alice sends
    arrives."""
    one.client("alice").send(f"<message to='bob@{OTHER}' type='chat'><body>x</body></message>")

    def judged():
        why = [(row.get("stage"), row.get("why")) for row in one.rows("s2s", "list")
               if row["state"] == "failed" or row.get("why")]
        bob.pump(0.05)
        arrived = any("body" in child.tag for e in bob.inbox for child in e)
        return why[:1] or ([None] if arrived else [])
    return until("a verdict", judged)[0]


GOOD = {"names": [OTHER], "version": "1.3", "begins": -1, "ends": 30}
JUDGED = {  # what is demanded, what is wrong with the other server: the stage that fails, and why
    "expired": ([], {"begins": -20, "ends": -2}, "certificate", "expired"),
    "early": ([], {"begins": 2}, "certificate", "not yet valid"),
    "name": ([], {"names": ["else.test"]}, "certificate", f"does not name {OTHER}"),
    "unknown": ([], {"rogue": True}, "certificate", "unable to get local issuer"),
    "old tls": (["--tls-min", "1.3"], {"version": "1.2"}, "tls", "wants TLSv1.3"),
    "new tls": (["--tls-min", "1.3"], {}, None, ""),
    "name, no check": (["--verify", "off"], {"names": ["else.test"]}, None, ""),
    "pin": (["--pin", "ab" * 32], {}, "certificate", "does not have"),
    "dialback": (["--auth", "dialback"], {}, None, ""),
    "dialback, name": (["--auth", "dialback"], {"names": ["else.test"]}, "certificate",
                       f"does not name {OTHER}"),
}


@pytest.mark.parametrize("case", JUDGED)
def test_a_server_is_judged_as_for_stanzas(one, make_server, authority, tmp_path, case):
    demands, wrong, stage, why = JUDGED[case]
    has = {**GOOD, **wrong}
    by = federation.Authority(tmp_path, "rogue") if "rogue" in has else authority
    cert = by.issue("other", *has["names"], begins=has["begins"], ends=has["ends"])
    server = make_server("bob", domains=[OTHER], s2s=True, settings=federation.settings(),
                         tls={**cert, "trust": str(authority.file)})
    server.ctl("set", "tls.servers-max-version", has["version"])
    federation.route(one, OTHER, server.s2s_port)
    federation.route(server, ONE, one.s2s_port)
    if demands:
        one.ctl("s2s-demand", "set", OTHER, *demands)
    if stage is None:
        code, steps, _ = trace(one)
        assert code == 0 and {result for told in steps.values() for result, _ in told} == {"ok"}
        assert ("need not" in steps["certificate"][-1][1]) == ("off" in demands)
        assert first_failure(one, server.client("bob")) is None
        how = trace(one)[1]["authentication"]
        assert how == [("ok", "by dialback" if "dialback" in demands
                        else "by certificate (SASL EXTERNAL)")]
        return
    failed(one, stage, why)
    at, said = first_failure(one, server.client("bob"))
    assert at == stage and why in said
    done = one.ctl_run("fedtest", "--target", "localhost", "--domain", OTHER, "--proxy",
                       f"127.0.0.1:{server.s2s_port}")
    assert done.returncode == 1 and f"{stage}: " in done.stdout and why in done.stdout, done.stdout


REFUSED = "it refuses our certificate (not-authorized)"
NOT_OFFERED = "it does not offer EXTERNAL"
LATER = "it answers EXTERNAL with a failure (temporary-auth-failure: later)"


@pytest.mark.parametrize("says, why", [
    (None, NOT_OFFERED), ("<not-authorized/>", REFUSED),
    ("<temporary-auth-failure/><text>later</text>", LATER)])
@pytest.mark.parametrize("dialback", ["on", "off"])
def test_what_has_become_of_our_certificate(one, played, says, why, dialback):
    """Only a server that has offered EXTERNAL refuses it: others perhaps take no certificates. The
    advice behind a failure that passes is another one."""
    one.ctl("set", "s2s.dialback", dialback)

    def refuse():
        with played.secure(features=EXTERNAL if says else "") as peer:
            if says:
                played.read_until(peer, "<auth.*</auth>")
                peer.sendall(f"<failure xmlns='{xml.SASL}'>{says}</failure>".encode())
            played.read_until(peer, "<db:result")
            peer.sendall(f"<db:result type='invalid' from='{OTHER}' to='{ONE}'/>".encode())

    def serve():
        with contextlib.suppress(OSError):
            while True:
                with contextlib.suppress(AssertionError):  # it has gone before
                    refuse()
    threading.Thread(target=serve, daemon=True).start()
    why += ", and could not prove our domain by dialback: invalid" if dialback == "on" else \
        ", and dialback is off here"
    code, steps, text = trace(one)
    assert code == 1 and steps["authentication"][-1] == ("failed", why), steps
    assert ("cert check" in text) != ("tried again" in text) == why.startswith(LATER), text
    assert first_failure(one, one.client("alice", "z")) == ("authentication", why)


# --- s2s list, show, close and retry ---


def test_operators_see_streams_and_close_them(pair):
    one, other, wire = pair()
    assert one.rows("s2s", "list") == []
    assert shown(one) == {"state": "no stream, and nothing waits", "policy": "allowed",
                          "stored": "0 messages are not confirmed"}
    alice, bob = one.client("alice"), other.client("bob")
    for n in range(2):  # also by a new stream
        say(alice, n, to=bob)
        hear(bob, n)
        say(bob, n, to=alice)
        hear(alice, n)
        until("all is confirmed", lambda: set(
            row["value"] for row in one.rows("s2s", "show", OTHER)
            if row["name"] in ("unacknowledged", "stored")) == {"0 stanzas",
                                                               "0 messages are not confirmed"})
        rows, dialled = links(one, None, OTHER), f"127.0.0.1:{wire.port}"
        assert {(row["direction"], row["peer"], row.get("host")) for row in rows} == {
            ("out", "127.0.0.1", dialled), ("in", "127.0.0.1", dialled)}
        for row in rows:
            assert (row["domain"], row["local"], row["state"]) == (OTHER, ONE, "up")
            assert (row["queue"], row["tls"], row["auth"]) == (0, "TLSv1.3", "certificate")
        row = shown(one)
        assert re.match(f"from {ONE}: up for .* by certificate", row["stream to it"])
        assert row["stream from it"].startswith(f"to {ONE}: up for")
        assert row["address"] == f"127.0.0.1, dialled as {dialled}"
        assert row["tls"].startswith("TLSv1.3, TLS_") and row["chain"] == "verified"
        assert row["name that matches"] == f"{OTHER} (DNS name)"
        assert re.search("CN=.*, issued by CN=ca of tests, valid until 20", row["certificate"])
        assert re.match("[1-9][0-9]* stanzas sent, [1-9][0-9]* received, [12] streams, 0 failures",
                        row["counted"]), row
        assert trace(one)[1]["link"][0][1].startswith("the stream for stanzas: up for")
        assert one.ctl("s2s", "close", OTHER)["text"] == "closed streams: 1"  # of both directions
        until("the end of both", lambda: one.rows("s2s", "list") == [])
    assert "no stream" in refusal(one, "s2s", "close", "nobody.test")
    assert shown(one, ONE)["policy"] == "this domain is served here"


def test_an_attempt_that_is_under_way(one, played):
    """An operator may end it; it is followed, at once or after a pause. `s2s retry` begins it."""
    def comes(state):
        until(state, lambda: [r["state"] for r in links(one, None, OTHER)] == [state])
    say(one.client("alice"), 0, to=BOB)
    ended = 0
    while not [r for r in links(one, None, OTHER) if r["state"] == "waiting"]:
        ended += one.ctl_run("s2s", "close", OTHER).returncode == 0
        assert ended < 10
    assert "an operator has ended the attempt" in one.log()
    assert re.search("the next attempt is in [0-9]+ s; `s2s retry` begins it now",
                     refusal(one, "s2s", "close", OTHER))
    comes("connecting")
    assert "failing since" in shown(one)
    assert "under way" in one.ctl("s2s", "retry", OTHER)["text"]


def test_the_reason_of_a_failure_is_said_in_full(one):
    """Also after an operator has ended a later attempt."""
    def why(text):
        until(text, lambda: any(re.search(text, row["why"] or "")
                                for row in one.rows("s2s", "list", OTHER)))
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        federation.route(one, OTHER, hole.getsockname()[1])
        say(one.client("alice"), 0, to=BOB)
        why("Connection refused")
        hole.listen()
        one.ctl("s2s", "retry", OTHER)
        until("an attempt", lambda: one.ctl_run("s2s", "close", OTHER).returncode == 0)
        why("Connection refused")
        hole.settimeout(10)
        while "not-well-formed" not in one.log():
            peer, _ = hole.accept()
            with peer:
                peer.sendall(b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' "
                             b"xmlns='jabber:server' version='1.0'>SSH-2.0")
                while peer.recv(1000):
                    pass
        assert "we ended the stream: not-well-formed: text outside" in one.log()


# --- metrics and alarms ---


def metrics(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics") as answer:
        text = answer.read().decode()
    return dict(re.findall(r'^(muster_s2s_(?:stored|domain_\w+{domain="[^"]+"})) (\d+)$',
                           text, re.M))


def test_metrics_of_domains_are_bounded_and_a_failing_one_raises_an_alarm(make_server, authority,
                                                                          start):
    tls = {**authority.issue(ONE, ONE), "trust": str(authority.file)}
    one = make_server(domains=[ONE], s2s=True, tls=tls, start=False, settings=federation.settings(
        retry_for="0s", keep_for="0s", alarm_after="1s", metrics_domains="1"))
    one.metrics_port = free_ports(1)[0]
    one.conf["listen"]["metrics"] = [f"127.0.0.1:{one.metrics_port}"]
    one.start()
    one.add_user("alice")
    server, alice = start("bob", domains=[OTHER]), one.client("alice")
    federation.route(one, "*", federation.free_port())

    def failing():
        rows = {row["name"]: row["detail"] for row in one.rows("alarm", "list")}
        return rows.get("s2s.partner-failing", "")

    def fails(*domains):
        """An attempt for each, which shows that it fails still."""
        for domain in domains:
            say(alice, 0, to=f"x@{domain}")
            alice.expect("<message type='error' id='m0'/>")
    fails(OTHER, "third.test", "fourth.test")
    found = metrics(one)
    assert found[f'muster_s2s_domain_failures_total{{domain="{OTHER}"}}'] == "1", found
    assert found['muster_s2s_domain_failures_total{domain="other"}'] == "2"
    assert not [name for name in found if "third" in name]
    until("alarm", lambda: fails(OTHER) or OTHER in failing())
    assert "failing since" in shown(one)
    federation.route(one, OTHER, server.s2s_port)
    one.ctl_run("s2s", "retry", OTHER)  # unless it is forgotten already
    say(alice, 1, to=BOB)
    hear(server.client("bob"), 1)
    until("end of it", lambda: not failing())
    assert metrics(one)[f'muster_s2s_domain_sent_total{{domain="{OTHER}"}}'] != "0"
