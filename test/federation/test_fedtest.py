"""`musterctl fedtest` and `pushtest`: the way to another domain, and to a push service."""
import json
import socket

import pytest

from harness import federation, prosody, xml
from harness.component import Component
from harness.client import until

ONE, OTHER, SECOND = "one.test", "other.test", "second.test"
FIELDS = ["target_fqdn", "result", "latency", "error_message", "diagnosis"]
PUSH = "urn:xmpp:push:0"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


def make(make_server, authority, user, domain, **more):
    tls = {**authority.issue(domain, domain, f"push.{domain}"), "trust": str(authority.file)}
    options = {"component": True} if domain == OTHER else {}
    return make_server(user, domains=[domain], s2s=True, tls=tls,
                       settings=federation.settings(**more), **options)


@pytest.fixture
def pair(make_server, authority):
    one, other = (make(make_server, authority, user, domain)
                  for user, domain in (("alice", ONE), ("bob", OTHER)))
    for domain in OTHER, f"push.{OTHER}":
        federation.route(one, domain, other.s2s_port)
    federation.route(other, ONE, one.s2s_port)
    return one, other


def test_run(server, *words):
    done = server.ctl_run("--json", *words)
    reply = json.loads(done.stdout)
    row = reply["rows"][0]
    assert [f for f in row if f != "warning"] == FIELDS
    return done.returncode, row, reply["text"]


test_run.__test__ = False


def failure(server, stage, error, *words):
    code, row, _ = test_run(server, *words)
    assert code == 1 and row["result"] == "Failure"
    assert error in row["error_message"] and row["diagnosis"].startswith(stage + ": "), row
    return row


def test_a_domain_at_a_host(pair):
    one, other = pair
    code, row, text = test_run(one, "fedtest", "--target", "localhost", "--domain", OTHER,
                               "--proxy", f"127.0.0.1:{other.s2s_port}")
    assert code == 0 and row["result"] == "Success" and "warning" not in row, row
    assert "ping" in text and row["latency"] != "00:00:00" and row["diagnosis"] == ""
    kept, = until("it is kept", lambda: one.rows("test", "history"))
    assert (kept["test"], kept["domain"]) == ("fedtest", OTHER) and kept["latency_ms"] < 60000


def test_a_host_of_another_name_is_tried_at_the_default_port(pair):
    one, other = pair
    code, row, _ = test_run(one, "fedtest", "--target", "127.0.0.3", "--domain", OTHER, "--proxy",
                            f"127.0.0.1:{other.s2s_port}")
    assert code == 1 and "5269" in row["warning"] and "127.0.0.3" in row["error_message"]


def test_ports_that_are_none(pair):
    one, other = pair
    right = f"127.0.0.1:{other.s2s_port}"
    for words in (("fedtest", "--target", "localhost:99999", "--domain", OTHER, "--proxy", right),
                  ("fedtest", "--target", "localhost", "--domain", OTHER, "--proxy", "[::1]:x"),
                  ("pushtest", "--edge", "localhost:0", "--service", f"push.{OTHER}")):
        done = one.ctl_run(*words)
        assert done.returncode == 2 and ":PORT (1 to 65535)" in done.stderr, done
    code, row, _ = test_run(one, "fedtest", "--target", f"127.0.0.1:{one.s2s_port}", "--domain",
                            OTHER, "--proxy", right)
    assert code == 0 and "warning" not in row, row


def test_each_stage_that_fails_is_named(pair):
    one, other = pair
    one.ctl("set", "s2s.bidi", "off")  # the answer needs a way back
    to = ("fedtest", "--target", "localhost", "--domain")
    port = federation.free_port()
    row = failure(one, "tcp", f"127.0.0.1:{port}: Connection refused (errno 111", *to, OTHER,
                  "--proxy", f"127.0.0.1:{port}")
    assert row["latency"] == "00:00:00"
    failure(one, "stream", "host-unknown", *to, "else.test", "--proxy",
            f"127.0.0.1:{other.s2s_port}")
    failure(one, "policy", "served here", *to, ONE, "--proxy", "127.0.0.1:1")
    federation.route(other, ONE, federation.free_port())
    row = failure(one, "no answer", "ping", *to, OTHER, "--proxy", f"127.0.0.1:{other.s2s_port}",
                  "--timeout", "2s")
    assert row["latency"] > "00:00:01.2", row  # the ping has what the trace has left
    assert "are needed" in one.ctl_run("fedtest", "--target", "localhost").stderr


def test_hosts_that_drop_packets(pair):
    one, other = pair
    with federation.deaf_port() as port:
        deaf, there = f"127.0.0.1:{port}", f"127.0.0.1:{other.s2s_port}"
        for words in (("fedtest", "--target", deaf, "--proxy", there, "--domain", OTHER),
                      ("pushtest", "--edge", deaf, "--service", f"push.{OTHER}")):
            failure(one, "tcp", f"{deaf}: Connection timed out (errno 110)", *words,
                    "--timeout", "2s")


def test_a_link_that_fails_elsewhere(make_server, authority, pair):
    """The proxy is right. The ping goes by the route, and where that fails is the stage."""
    one, other = pair
    words = ("fedtest", "--target", "localhost", "--domain", OTHER, "--proxy",
             f"127.0.0.1:{other.s2s_port}", "--timeout", "5s")
    one.ctl("set", "s2s.retry-for", "0s")
    old = make(make_server, authority, "carol", OTHER)
    old.ctl("set", "tls.servers-max-version", "1.2")
    one.ctl("s2s-demand", "set", OTHER, "--tls-min", "1.3")
    federation.route(one, OTHER, old.s2s_port)
    row = failure(one, "tls", "a ping of the domain was refused", *words)
    assert "s2s-demand list" in row["diagnosis"], row
    federation.route(one, OTHER, federation.free_port())
    one.ctl_run("s2s", "retry", OTHER)
    failure(one, "tcp", "a ping of the domain was refused", *words)


def test_a_link_that_is_not_ready_when_the_test_ends(pair):
    """No error has come: it is tried again, or the attempt goes on."""
    one, other = pair
    words = ("fedtest", "--target", "localhost", "--domain", OTHER, "--proxy",
             f"127.0.0.1:{other.s2s_port}", "--timeout", "2s")
    late = "a ping of the domain was not answered in time: "
    port = federation.free_port()
    federation.route(one, OTHER, port)
    row = failure(one, "tcp", f"{late}127.0.0.1:{port}: Connection refused", *words)
    assert "firewall" in row["diagnosis"]
    one.ctl("s2s-route", "set", OTHER, f"127.0.0.1:{port}", "--in-service", "off")  # no host before
    with socket.create_server(("127.0.0.1", 0)) as silent:
        federation.route(one, OTHER, silent.getsockname()[1])
        row = failure(one, "no answer", f"{late}the stream to it is not ready after", *words)
        assert "has taken the stream" in row["diagnosis"]


def test_a_link_to_a_push_service_that_is_not_ready_when_the_test_ends(pair):
    one, _ = pair
    words = ("pushtest", "--edge", "localhost", "--service", f"push.{OTHER}", "--timeout", "1s")
    port = federation.free_port()
    federation.route(one, f"push.{OTHER}", port)
    row = failure(one, "tcp", "the push service has not answered in time: "
                  f"127.0.0.1:{port}: Connection refused", *words)
    assert "firewall" in row["diagnosis"] and row["latency"] == "00:00:00"
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the next host hides no reason
        one.ctl("s2s-route", "add", f"push.{OTHER}", f"127.0.0.1:{silent.getsockname()[1]}",
                "--less-specific", "off", "--priority", "2")
        row = failure(one, "tcp", "the stream to it is not ready after", *words)
        assert f"; before: 127.0.0.1:{port}: Connection refused" in row["error_message"], row


def test_a_server_whose_rules_refuse_this_one(make_server, authority):
    one = make(make_server, authority, "alice", ONE)
    other = make(make_server, authority, "bob", OTHER, policy="allow")
    row = failure(one, "policy", "policy-violation", "fedtest", "--target", "localhost", "--domain",
                  OTHER, "--proxy", f"127.0.0.1:{other.s2s_port}")
    assert "rules of the other server do not allow" in row["diagnosis"], row


def test_a_domain_that_cannot_connect_to_this_one(pair):
    """It answers on the stream of the question."""
    one, other = pair
    federation.route(other, ONE, federation.free_port())
    code, row, _ = test_run(one, "fedtest", "--target", "localhost", "--domain", OTHER, "--proxy",
                            f"127.0.0.1:{other.s2s_port}")
    assert code == 0, row


@pytest.mark.parametrize("words", [
    ("fedtest", "--domain", OTHER, "--proxy", "127.0.0.1:{other}", "--target"),
    ("pushtest", "--service", f"push.{OTHER}", "--edge")])
def test_the_own_host_must_take_streams_of_others(pair, words):
    """At the host that is named something else answers, or nobody; the partner is not asked."""
    one, other = pair
    words = [word.format(other=other.s2s_port) for word in words]
    failure(one, "tcp", "127.0.0.1:1: Connection refused", *words, "127.0.0.1:1")
    row = failure(one, "stream", "", *words, f"127.0.0.1:{one.http_port}")
    assert "Something else answers there" in row["diagnosis"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        failure(one, "stream", "not answered in time", *words,
                f"127.0.0.1:{silent.getsockname()[1]}", "--timeout", "1s")
    one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{federation.free_port()}")
    failure(one, "dns", "nowhere.test", *words, "nowhere.test")
    assert f"domain={ONE}" not in other.log()


@pytest.mark.skipif(not prosody.is_here(), reason="no dnsmasq")
def test_the_domain_of_the_edge_speaks(make_server, authority, tmp_path):
    """The edge is named by a domain, which is not the first of the server. For the first one there
    is no way back."""
    tls = {**authority.issue(ONE, ONE, SECOND), "trust": str(authority.file)}
    one = make_server("alice", domains=[ONE, SECOND], s2s=True, tls=tls,
                      settings=federation.settings(bidi="off"))
    other = make(make_server, authority, "bob", OTHER)
    for domain in OTHER, f"push.{OTHER}":
        federation.route(one, domain, other.s2s_port)
    federation.route(other, SECOND, one.s2s_port)
    federation.route(other, ONE, federation.free_port())
    port = federation.free_port()
    name_server = prosody.Dns(tmp_path, port, {}, f"--host-record={SECOND},127.0.0.1")
    try:
        one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{port}")
        other.ctl("component", "add", f"push.{OTHER}", "--secret", "x" * 32)
        service = Component(other, f"push.{OTHER}", "x" * 32)
        words = ("--domain", OTHER, "--proxy", f"127.0.0.1:{other.s2s_port}")
        code, row, _ = test_run(one, "fedtest", "--target", SECOND, *words)
        assert code == 0 and "warning" not in row, row
        failure(one, "no answer", "ping", "fedtest", "--target", "localhost", *words,
                "--timeout", "2s")
        running = one.ctl_start("pushtest", "--edge", SECOND, "--service", f"push.{OTHER}")
        iq = service.expect(f"<iq type='set' from='{SECOND}'/>")
        service.send(f"<iq type='result' to='{SECOND}' from='push.{OTHER}' id='{iq.get('id')}'/>")
        out, _ = running.communicate(timeout=60)
        assert running.returncode == 0 and "Success" in out
    finally:
        name_server.finish()


@pytest.fixture
def service(pair):
    """A push service on the second server."""
    _, other = pair
    other.ctl("component", "add", f"push.{OTHER}", "--secret", "x" * 32)
    return Component(other, f"push.{OTHER}", "x" * 32)


def test_a_notification_reaches_a_push_service_of_another_server(pair, service):
    one, _ = pair
    running = one.ctl_start("pushtest", "--edge", "localhost", "--service", f"push.{OTHER}",
                            "--node", "device")
    iq = service.expect("<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
                        "<publish node='device'><item/></publish></pubsub></iq>")
    assert iq.find(f".//{{{PUSH}}}notification") is not None and iq.get("from") == ONE
    service.send(f"<iq type='result' to='{ONE}' from='push.{OTHER}' id='{iq.get('id')}'/>")
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0 and "Success" in out and "XEP-0357" in out


def test_a_push_service_of_this_server(pair):
    """A component here. No stream from another server is in its name."""
    _, other = pair
    other.ctl("component", "add", f"push.{OTHER}", "--secret", "x" * 32)
    service = Component(other, f"push.{OTHER}", "x" * 32)
    running = other.ctl_start("pushtest", "--edge", "localhost", "--service", f"push.{OTHER}")
    iq = service.expect(f"<iq type='set' from='{OTHER}'/>")
    service.send(f"<iq type='result' to='{OTHER}' from='push.{OTHER}' id='{iq.get('id')}'/>")
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0 and "Success" in out, out


def test_a_notification_that_is_refused_or_cannot_arrive(pair, service):
    one, _ = pair
    to = ("pushtest", "--edge", "localhost", "--service", f"push.{OTHER}")
    running = one.ctl_start("--json", *to)
    iq = service.expect("<iq type='set'/>")
    service.send(f"<iq type='error' to='{ONE}' from='push.{OTHER}' id='{iq.get('id')}'>"
                 f"<error type='cancel'><item-not-found xmlns='{xml.STANZA_ERROR}'/></error></iq>")
    out, _ = running.communicate(timeout=60)
    row = json.loads(out)["rows"][0]
    assert "item-not-found" in row["error_message"] and row["diagnosis"].startswith("receiver: ")
    running = one.ctl_start("--json", *to)
    iq = service.expect("<iq type='set'/>")
    service.send(f"<iq type='error' to='{ONE}' from='push.{OTHER}' id='{iq.get('id')}'><error "
                 f"type='wait'><resource-constraint xmlns='{xml.STANZA_ERROR}'/></error></iq>")
    out, _ = running.communicate(timeout=60)
    diagnosis = json.loads(out)["rows"][0]["diagnosis"]
    assert diagnosis.startswith("policy: ") and "limit" in diagnosis, diagnosis
    row = failure(one, "no answer", "not answered", *to, "--timeout", "1s")
    assert row["latency"] == "00:00:00"
    one.ctl("set", "push.services", "else.test")
    failure(one, "policy", "push.services", *to)
    one.ctl("set", "push.enabled", "off")
    failure(one, "policy", "push.enabled", *to)
    assert "is needed" in one.ctl_run("pushtest", "--service", f"push.{OTHER}").stderr


def test_a_notification_reaches_the_endpoint_of_this_server(make_server, authority):
    """Where no push service is named. The own host must take streams of others."""
    one = make(make_server, authority, "alice", ONE)
    one.ctl("set", "push.services", "else.test")  # for clients
    code, row, text = test_run(one, "pushtest", "--edge", "localhost")
    assert code == 0 and [k for k in row if k != "warning"] == FIELDS, row
    assert row["result"] == "Success" and row["latency"] > "00:00:00", row
    assert "test endpoint of this server" in text and "--service" in text, text
    assert one.rows("test", "history")[0]["domain"] == ""
    port = federation.free_port()
    failure(one, "tcp", f"127.0.0.1:{port}: Connection refused", "pushtest", "--edge",
            f"127.0.0.1:{port}")
    done = one.ctl_run("pushtest", "--edge", "localhost", "--node", "device")
    assert done.returncode == 2 and "--service" in done.stderr, done
    one.ctl("set", "push.enabled", "off")
    failure(one, "policy", "push.enabled", "pushtest", "--edge", "localhost")


def test_an_edge_without_federation_says_which_setting_keeps_others_out(make_server):
    one = make_server("alice", domains=[ONE], s2s=True)
    one.ctl("set", "s2s.policy", "off")
    row = failure(one, "policy", "does not federate", "pushtest", "--edge", "localhost")
    assert "s2s.policy" in row["diagnosis"] and "Something else" not in row["diagnosis"], row
    one.ctl("set", "s2s.policy", "open")
    assert test_run(one, "pushtest", "--edge", "localhost")[0] == 0


def test_a_domain_at_the_place_of_the_endpoint_is_named(make_server):
    """It would get the notification, and answer as others do that know no such node."""
    at = f"pushtest.{ONE}"
    one = make_server("alice", domains=[ONE, at], s2s=True)
    one.ctl("set", "s2s.policy", "open")
    row = failure(one, "policy", f"{at} is a domain", "pushtest", "--edge", "localhost")
    assert "--service" in row["diagnosis"], row


def notification(node):
    return (f"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{node}'><item>"
            f"<notification xmlns='{PUSH}'/></item></publish></pubsub>")


def test_the_endpoint_takes_nothing_of_others(make_server, authority):
    """Whether a test is under way or not, whoever they are, all get the same answer."""
    one = make(make_server, authority, "alice", ONE)
    alice = one.client("alice")
    at = f"pushtest.{ONE}"
    assert at not in [i.get("jid") for i in alice.iq(
        "get", "<query xmlns='http://jabber.org/protocol/disco#items'/>", to=ONE)[0]]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        edge = f"127.0.0.1:{silent.getsockname()[1]}"
        running = one.ctl_start("pushtest", "--edge", edge, "--timeout", "3s")
        peer, _ = silent.accept()  # the test is under way
        for to in (*(f"{n}@{at}" for n in range(8)), f"0@{at}/x"):
            for node in "", "test", "0" * 32:
                answer = alice.iq("set", notification(node), to=to)
                assert xml.condition(answer) == "item-not-found", answer
        assert running.poll() is None
        running.communicate(timeout=60)
        peer.close()
    for kind, payload in ("set", notification("test")), ("get", "<ping xmlns='urn:xmpp:ping'/>"):
        assert xml.condition(alice.iq(kind, payload, to=f"0@{at}")) == "item-not-found"
    answer = alice.iq("set", notification("test"), to=at)
    assert xml.condition(answer) == "service-unavailable"
    alice.send(f"<message to='0@{at}' type='chat' id='m'><body>x</body></message>")
    alice.expect(f"<message from='0@{at}' type='error' id='m'/>")


def test_the_endpoint_is_tested_by_itself(make_server, authority):
    one = make(make_server, authority, "alice", ONE)
    one.ctl("set", "pushtest.edge", "localhost")
    one.ctl("set", "tests.every", "1s")
    rows = until("a result", lambda: one.rows("test", "history"))
    assert (rows[0]["test"], rows[0]["result"]) == ("pushtest", "Success"), rows
    one.ctl("set", "pushtest.edge", f"127.0.0.1:{federation.free_port()}")
    until("alarm", lambda: "pushtest.failed" in {a["name"] for a in one.rows("alarm", "list")})
    one.ctl("set", "pushtest.edge", "")
    until("end of it",
          lambda: "pushtest.failed" not in {a["name"] for a in one.rows("alarm", "list")})


@pytest.fixture
def mended(make_server, authority):
    """The first server could not reach the second one, which is there again."""
    one, other = (make(make_server, authority, user, domain, retry_for="0s")
                  for user, domain in (("alice", ONE), ("bob", OTHER)))
    federation.route(other, ONE, one.s2s_port)
    other.stop()
    alice = one.client("alice")
    for domain in OTHER, f"push.{OTHER}":
        federation.route(one, domain, other.s2s_port)
        for n in range(4):
            alice.send(f"<iq type='get' to='{domain}' id='q{n}'><ping xmlns='urn:xmpp:ping'/></iq>")
            alice.expect(f"<iq type='error' from='{domain}' id='q{n}'/>")
    other.start()
    return one, other


def test_a_link_is_tried_at_once(mended):
    one, other = mended
    code, row, _ = test_run(one, "fedtest", "--target", "localhost", "--domain", OTHER,
                            "--proxy", f"127.0.0.1:{other.s2s_port}")
    assert (code, row["result"]) == (0, "Success"), row


def test_a_link_to_a_push_service_is_tried_at_once(mended):
    one, other = mended
    other.ctl("component", "add", f"push.{OTHER}", "--secret", "x" * 32)
    service = Component(other, f"push.{OTHER}", "x" * 32)
    running = one.ctl_start("pushtest", "--edge", "localhost", "--service", f"push.{OTHER}")
    iq = service.expect(f"<iq type='set' from='{ONE}'/>")
    service.send(f"<iq type='result' to='{ONE}' from='push.{OTHER}' id='{iq.get('id')}'/>")
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0 and "Success" in out, out


def test_both_run_by_themselves(pair):
    one, other = pair
    for name, value in {"fedtest.target": "localhost", "pushtest.edge": "localhost",
                        "fedtest.proxy": f"127.0.0.1:{other.s2s_port}", "fedtest.domain": OTHER,
                        "pushtest.service": f"nobody.{OTHER}", "tests.every": "1s"}.items():
        one.ctl("set", name, value)
    rows = until("results", lambda: {r["test"]: r["result"] for r in one.rows("test", "history")}
                 if len(one.rows("test", "history")) > 1 else None)
    assert rows["fedtest"] == "Success"
    until("failure", lambda: "pushtest" in {r["test"] for r in one.rows("test", "history")})
    until("alarm", lambda: "pushtest.failed" in {a["name"] for a in one.rows("alarm", "list")})
    assert "fedtest.failed" not in {a["name"] for a in one.rows("alarm", "list")}
    one.ctl("set", "pushtest.service", "")  # from now on the endpoint of this server
    until("end of it",
          lambda: "pushtest.failed" not in {a["name"] for a in one.rows("alarm", "list")})
