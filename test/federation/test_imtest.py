"""`musterctl imtest`: a user logs in at a host and sends a message to one at another server."""
import json
import re
import socket
import threading

import pytest

from harness import federation
from harness.client import until
from harness.server import free_ports

ONE, OTHER = "one.test", "other.test"
FIELDS = ["target_fqdn", "result", "latency", "error_message", "diagnosis"]
PASSWORD = "secret"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def pair(make_server, authority):
    """A function that starts both, each with a route to the other one."""
    def start(**more):
        servers = []
        for user, domain in (("alice", ONE), ("bob", OTHER)):
            tls = {**authority.issue(domain, domain), "trust": str(authority.file)}
            servers.append(make_server(user, domains=[domain], s2s=True, tls=tls,
                                       settings=federation.settings(**more)))
        one, other = servers
        federation.route(one, OTHER, other.s2s_port)
        federation.route(other, ONE, one.s2s_port)
        return one, other
    return start


def mark(server):
    """Alice is the test user, with her password as it is."""
    server.ctl("test", "user-add", f"alice@{ONE}", "--password", PASSWORD)


def imtest(server, *words):
    """The exit code, the row, and what is said."""
    done = server.ctl_run("--json", "imtest", *words, timeout=100)  # it may wait for 30 s itself
    reply = json.loads(done.stdout)
    assert len(reply["rows"]) == 1, reply
    row = reply["rows"][0]
    assert [f for f in row if f != "warning"] == FIELDS
    return done.returncode, row, reply["text"]


def failure(server, stage, error, *words):
    code, row, _ = imtest(server, *words)
    assert code == 1 and row["result"] == "Failure"
    assert error in row["error_message"] and row["diagnosis"].startswith(stage + ": "), row
    assert len(row["diagnosis"]) > len(stage) + 10
    return row


def between(server, stage, error, domain=OTHER, trace=()):
    """A failure between the servers. What remembers it and what looks again use the same word."""
    row = failure(server, stage, error, *TO[:2], "--receiver", f"bob@{domain}")
    listed = [r["stage"] for r in server.rows("s2s", "list") if r["domain"] == domain
              and r["direction"] == "out"]
    assert listed == [stage]
    assert federation.for_users(server.client("alice").iq(
        "get", "<query xmlns='jabber:iq:version'/>", to=domain))
    shown = {r["name"]: r["value"] for r in server.rows("s2s", "show", domain)}
    assert shown["last failure"].startswith(stage + ": "), shown
    done = server.ctl_run("s2s", "trace", domain, *trace)
    assert done.returncode == 1 and f"({stage})" in done.stderr, done
    return row


def no_such_name(sock):
    """A name server that knows no name."""
    try:
        while True:
            query, peer = sock.recvfrom(4096)
            sock.sendto(query[:2] + b"\x81\x83" + query[4:], peer)
    except OSError:
        return


def serve_plain(listener):
    """A server without TLS, until it is closed."""
    kept = []
    try:
        while True:
            kept.append(listener.sock.accept()[0])
            listener.header(kept[-1], "id", "")
    except (OSError, AssertionError):
        return


def password_file(server):
    file = server.folder / "password"
    file.write_text(PASSWORD + "\n")
    return file


TO = ("--target", "localhost", "--receiver", f"bob@{OTHER}")


def test_a_ping_proves_it_where_no_receipt_comes(pair):
    one, other = pair()
    mark(one)
    bob = other.client("bob")
    code, row, text = imtest(one, *TO)
    assert code == 0 and row["result"] == "Success" and "warning" not in row
    assert row["error_message"] == "" and row["diagnosis"] == ""
    assert re.fullmatch(r"00:00:\d\d\.\d{7}", row["latency"])
    assert "ping" in text and "receipt" in text
    message = bob.expect("<message type='chat'><body/></message>")
    assert message.get("from").startswith(f"alice@{ONE}/")


def test_the_ping_takes_the_link_of_the_message(pair):
    """Of several connections: it proves that the message has arrived."""
    one, other = pair(connections=4, bidi="off")
    mark(one)

    def links():
        return len([r for r in one.rows("s2s", "list")
                    if r["direction"] == "out" and r["state"] == "up"])
    for name in "bob", "bill", "ben", "bert":
        if name != "bob":
            other.add_user(name, domain=OTHER)
        assert imtest(one, *TO[:2], "--receiver", f"{name}@{OTHER}")[0] == 0
        assert links() == 1
        one.ctl("s2s", "close", OTHER)
        until("it is closed", lambda: links() == 0)


def test_a_receipt_proves_it(pair):
    one, other = pair()
    mark(one)
    bob = other.client("bob")
    running = one.ctl_start("imtest", *TO)
    message = bob.expect("<message type='chat'><request xmlns='urn:xmpp:receipts'/></message>")
    bob.send(f"<message to='{message.get('from')}'><received xmlns='urn:xmpp:receipts' "
             f"id='{message.get('id')}'/></message>")
    out, err = running.communicate(timeout=60)
    lines = out.splitlines()
    assert running.returncode == 0 and not err
    assert [line.split("  ")[0].strip() for line in lines[:5]] == [
        "Target FQDN", "Result", "Latency", "Error Message", "Diagnosis"]
    assert "Success" in lines[1] and "receipt of the receiver (XEP-0184)" in lines[5]


def test_a_user_and_a_password_file_are_given(pair, tmp_path):
    one, other = pair()
    other.client("bob")
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    user = ("--user", f"alice@{ONE}", "--password-file", file)
    assert imtest(one, *TO, *user)[0] == 0
    done = one.ctl_run("imtest", *TO, "--user", f"alice@{ONE}", "--password-file",
                       tmp_path / "none")
    assert done.returncode != 0 and "No such file" in done.stderr
    file.write_text("wrong\n")
    row = failure(one, "authentication", "not-authorized", *TO, *user)
    assert row["latency"] != "00:00:00"


def test_without_a_user_nobody_can_log_in(pair):
    one, _ = pair()
    row = failure(one, "user", "no test user", *TO)
    assert row["latency"] == "00:00:00"


@pytest.mark.parametrize("policy, setting", [("allow", "s2s.domains"), ("off", "s2s.policy")])
def test_a_partner_that_is_not_allowed(pair, policy, setting):
    """The diagnosis says which command shows the rule of the domain."""
    one, _ = pair()
    one.conf["settings"]["s2s.policy"] = policy
    one.restart()
    mark(one)
    row = failure(one, "policy", f"s2s.policy is {policy}", *TO)
    assert f"`musterctl get {setting}@{ONE}` shows" in row["diagnosis"]
    assert one.rows("get", f"{setting}@{ONE}")


@pytest.mark.parametrize("commands, rule, error", [
    ([("federation", "set", f"alice@{ONE}", "off")], "rule of this user", "this account"),
    ([("user", "set", f"alice@{ONE}", "--department", "Sales"),
      ("s2s-group", "set", "Sales", "off")],
     "`musterctl s2s-group list`", "the department of this account"),
    ([("group", "add", "sales"), ("group-member", "add", "sales", f"alice@{ONE}"),
      ("s2s-group", "set", "group:sales", "off")],
     "`musterctl federation show`", "a group of this account"),
    ([("set", "federation.users", "off")], "federation.users is off", "accounts of this domain"),
    ([("federation", "block", OTHER)], "`musterctl federation list`", "it is blocked")])
def test_a_user_who_may_not_federate(pair, commands, rule, error):
    """The diagnosis names the rule, and the command that shows it."""
    one, _ = pair()
    mark(one)
    for words in commands:
        one.ctl(*words)
    row = failure(one, "policy", f": {error}", *TO)
    assert rule in row["diagnosis"]
    if "blocked" not in error:
        assert f"`musterctl federation show alice@{ONE}`" in row["diagnosis"]


@pytest.fixture
def shut_out(make_server, authority):
    """A function that starts both, with a route from the first one: the other has no federation."""
    def start(**more):
        one, other = (make_server(user, domains=[domain], s2s=True,
                                  tls={**authority.issue(domain, domain),
                                       "trust": str(authority.file)},
                                  settings=federation.settings(**settings))
                      for user, domain, settings in (("alice", ONE, more),
                                                     ("bob", OTHER, {"policy": "off"})))
        federation.route(one, OTHER, other.s2s_port)
        mark(one)
        return one
    return start


def test_a_partner_that_does_not_allow_us(shut_out):
    row = between(shut_out(retry_for="0s"), "policy", "the server says: policy-violation")
    assert "ask its operator" in row["diagnosis"]


def test_a_partner_that_does_not_allow_us_while_the_message_waits(shut_out):
    """No error has come: it is tried again."""
    row = failure(shut_out(), "policy",
                  f"{OTHER} has not answered in time: the server says: policy-violation", *TO,
                  "--timeout", "2s")
    assert "ask its operator" in row["diagnosis"]


def test_a_partner_that_cannot_be_reached(pair):
    one, _ = pair(retry_for="0s")
    mark(one)
    federation.route(one, OTHER, federation.free_port())
    row = between(one, "tcp", "remote-server-timeout")
    assert "firewall" in row["diagnosis"] and "other operator" in row["diagnosis"]


def test_a_domain_that_the_dns_does_not_know(pair):
    one, _ = pair(retry_for="0s")
    mark(one)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        threading.Thread(target=no_such_name, args=(sock,), daemon=True).start()
        one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{sock.getsockname()[1]}")
        row = between(one, "dns", "remote-server-not-found", domain="nowhere.test")
    assert "typing error in the domain" in row["diagnosis"]


def test_a_partner_without_tls(pair):
    one, _ = pair(retry_for="0s")
    mark(one)
    listener = federation.Listener(OTHER, None)
    threading.Thread(target=serve_plain, args=(listener,), daemon=True).start()
    federation.route(one, OTHER, listener.port)
    between(one, "tls", "it offers no TLS")
    listener.close()


def test_a_partner_with_a_wrong_certificate(make_server, authority):
    one, other = (make_server(user, domains=[domain], s2s=True,
                              tls={**authority.issue(domain, name), "trust": str(authority.file)},
                              settings=federation.settings(retry_for="0s", dialback="off"))
                  for user, domain, name in (("alice", ONE, ONE), ("bob", OTHER, "else.test")))
    mark(one)
    federation.route(one, OTHER, other.s2s_port)
    between(one, "certificate", f"does not name {OTHER}")


def test_a_partner_with_another_certificate_than_the_pin(pair):
    one, other = pair(retry_for="0s")
    mark(one)
    one.ctl("s2s-demand", "set", OTHER, "--pin", "0" * 64)
    row = between(one, "certificate", "which `s2s-demand list` does not have")
    assert "change the pin" in row["diagnosis"] and "cert-trust" not in row["diagnosis"]
    assert "change the pin" in one.ctl_run("s2s", "trace", OTHER).stderr
    done = one.ctl_run("fedtest", "--target", "localhost", "--domain", OTHER, "--proxy",
                       f"127.0.0.1:{other.s2s_port}")
    assert "change the pin" in done.stdout


def test_a_partner_that_refuses_our_certificate(make_server, authority, tmp_path):
    """It trusts another authority."""
    rogue = federation.Authority(tmp_path, "rogue")
    one, other = (make_server(user, domains=[domain], s2s=True,
                              tls={**authority.issue(domain, domain), "trust": str(trust.file)},
                              settings=federation.settings(retry_for="0s", dialback="off"))
                  for user, domain, trust in (("alice", ONE, authority), ("bob", OTHER, rogue)))
    mark(one)
    federation.route(one, OTHER, other.s2s_port)
    between(one, "authentication", "it does not offer EXTERNAL")


def test_a_test_that_has_failed_leaves_no_message(pair):
    """It is neither stored nor sent later, when the partner is there again."""
    one, other = pair()
    mark(one)
    other.stop()
    failure(one, "tcp", "", *TO, "--timeout", "2s")
    with one.database(read_only=True) as db:
        assert db.execute("SELECT count(*) FROM message WHERE pending_out <> 0").fetchone()[0] == 0
    other.start()
    alice, bob = one.client("alice"), other.client("bob")
    alice.send(f"<message to='bob@{OTHER}' type='chat'><body>after</body></message>")
    one.ctl_run("s2s", "retry", OTHER)
    message = bob.expect("<message/>")
    assert message.findtext("{jabber:client}body") == "after"


def test_a_partner_that_takes_the_connection_and_is_silent(pair):
    one, _ = pair(retry_for="1s")
    mark(one)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        federation.route(one, OTHER, silent.getsockname()[1])
        between(one, "no answer", "it does not answer", trace=("--timeout", "1s"))


@pytest.mark.parametrize("target", ["127.0.0.1", "localhost"])
def test_a_target_that_drops_packets(pair, target):
    one, _ = pair()
    mark(one)
    with federation.deaf_port() as port:
        failure(one, "tcp", f"{target}:{port}: Connection timed out (errno 110)", *TO[2:],
                "--target", target, "--port", str(port), "--timeout", "2s")


def test_a_link_that_works_again_has_no_stage(pair):
    one, other = pair(retry_for="0s")
    mark(one)
    other.stop()
    between(one, "tcp", "Connection refused")
    failure(one, "tcp", "Connection refused", *TO)
    other.start()
    failure(one, "receiver", "service-unavailable", *TO[:2], "--receiver", f"nobody@{OTHER}")
    assert not [r for r in one.rows("s2s", "list") if r.get("stage")]


def test_what_another_server_could_not_deliver(pair):
    """A target that is no server of ours: only its operator can find the stage."""
    one, other = pair(retry_for="0s")
    federation.route(one, "third.test", federation.free_port())
    row = failure(other, "delivery", "remote-server-timeout", "--target", "localhost", "--port",
                  one.c2s_port, "--receiver", "carol@third.test", "--user", f"alice@{ONE}",
                  "--password-file", password_file(one))
    assert "operator of the target" in row["diagnosis"] and "s2s trace" in row["diagnosis"]


def test_a_receiver_who_is_not_there(pair):
    one, _ = pair()
    mark(one)
    failure(one, "receiver", "service-unavailable", "--target", "localhost", "--receiver",
            f"nobody@{OTHER}")


def test_a_limit_of_the_partner(pair):
    """What it refuses for now is none of the receiver's, and waiting helps."""
    one, other = pair()
    mark(one)
    other.ctl("set", "federation.stranger-rate", "1")
    bob = other.client("bob")
    one.add_user("dan")
    one.client("dan").send(f"<message to='bob@{OTHER}' type='chat'><body>x</body></message>")
    bob.expect("<message><body>x</body></message>")
    row = failure(one, "policy", "resource-constraint", *TO)
    assert "federation.stranger-rate" in row["diagnosis"], row
    assert "Wait and try again" in row["diagnosis"], row
    assert "typing error" not in row["diagnosis"], row


def test_a_receiver_who_is_asked_about_strangers(pair):
    one, other = pair()
    mark(one)
    other.ctl("set", "federation.stranger-messages", "approval")
    row = failure(one, "policy", "subscription-required", *TO)
    assert "federation.stranger-messages" in row["diagnosis"], row
    other.client("bob")
    other.ctl("policy", "set", f"bob@{OTHER}", "--allow", f"alice@{ONE}")
    code, row, _ = imtest(one, *TO)
    assert code == 0 and row["result"] == "Success", row


def test_a_receiver_who_may_not_federate(pair):
    """From outside it is as one who is not there, so each reason is named."""
    one, other = pair()
    mark(one)
    for words in (("federation", "set", f"bob@{OTHER}", "off"),
                  ("federation", "set", f"bob@{OTHER}", "on"), ("user", "disable", f"bob@{OTHER}")):
        other.ctl(*words)
        if words[-1] == "on":
            continue
        row = failure(one, "receiver", "service-unavailable", *TO)
        for reason in "typing error", "not there", "disabled", "federate":
            assert reason in row["diagnosis"], row


def test_a_receiver_with_a_mail_address(pair):
    """Who is given as the receiver answers as somebody else."""
    one, other = pair()
    mark(one)
    other.ctl("set", "federation.mail-address", "on")
    other.ctl("user", "set", f"bob@{OTHER}", "--email", f"bob.brown@{OTHER}")
    other.wait_log("mail-address.read used=1 shared=0")
    bob = other.client("bob")
    running = one.ctl_start("imtest", *TO)
    message = bob.expect("<message type='chat'><request xmlns='urn:xmpp:receipts'/></message>")
    bob.send(f"<message to='{message.get('from')}'><received xmlns='urn:xmpp:receipts' "
             f"id='{message.get('id')}'/></message>")
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0 and "receipt of the receiver (XEP-0184)" in out
    bob.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='alice@{ONE}'/></block>")
    failure(one, "receiver", "service-unavailable", *TO)


def test_an_address_that_is_blocked(pair, tmp_path):
    one, _ = pair()
    mark(one)
    (tmp_path / "blocked").write_text(f"bob@{OTHER}\n")
    one.ctl("set", "federation.blocklist", tmp_path / "blocked")
    until("it is read", lambda: "event=federation.blocklist" in one.log())
    failure(one, "policy", "policy-violation", *TO)


def test_a_partner_that_never_answers(pair):
    one, other = pair(bidi="off")
    mark(one)
    federation.route(other, ONE, federation.free_port())
    failure(one, "no answer", OTHER, *TO, "--timeout", "2s")


def test_a_port_that_nobody_listens_at_is_named(pair):
    one, _ = pair()
    mark(one)
    port = federation.free_port()
    row = failure(one, "tcp", "Connection refused (errno 111", *TO, "--port", port)
    assert f"127.0.0.1:{port}" in row["error_message"] and row["latency"] == "00:00:00"


def test_a_target_that_never_answers(pair):
    one, _ = pair()
    mark(one)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        row = failure(one, "stream", "not answered in time", *TO, "--timeout", "1s", "--port",
                      silent.getsockname()[1])
    assert row["latency"] != "00:00:00"


def test_a_target_that_the_configuration_does_not_know_gets_the_default_port(pair):
    one, _ = pair()
    mark(one)
    done = one.ctl_run("imtest", "--target", "127.0.0.3", "--receiver", f"bob@{OTHER}")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("WARNING:") and "5222" in lines[0]
    assert lines[1].startswith("Target FQDN") and done.returncode == 1


def test_an_address_without_a_port_needs_no_dns(pair):
    """As the host of a client, of a server and of a proxy. The kernel refuses TCP to addresses of
    groups at once, and sends nothing, whatever listens at these ports of this machine."""
    one, other = pair()
    mark(one)
    one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{federation.free_port()}")
    for address in "224.0.0.1", "[ff0e::1]":
        row = failure(one, "tcp", f"{address}:5222: Network is unreachable", "--target", address,
                      *TO[2:])
        assert row["latency"] == "00:00:00" and "5222" in row["warning"]
    for target, proxy, refused in (
            ("224.0.0.1", f"127.0.0.1:{other.s2s_port}", "224.0.0.1:5269"),
            ("localhost", "224.0.0.1", "224.0.0.1:5269")):
        done = one.ctl_run("fedtest", "--target", target, "--domain", OTHER, "--proxy", proxy)
        assert f"{refused}: Network is unreachable" in done.stdout and done.returncode == 1


def test_a_certificate_for_another_name(make_server, authority):
    tls = {**authority.issue("bad", "else.test"), "trust": str(authority.file)}
    one = make_server("alice", domains=[ONE], s2s=True, tls=tls,
                      settings=federation.settings())
    mark(one)
    failure(one, "certificate", f"does not name {ONE}", *TO)


def test_a_name_that_the_dns_does_not_know(pair):
    one, _ = pair()
    mark(one)
    one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{federation.free_port()}")
    failure(one, "dns", "nowhere.test", "--target", "nowhere.test", "--receiver", f"bob@{OTHER}")


def test_the_schedule_raises_an_alarm_and_clears_it(pair):
    one, other = pair(retry_for="0s")
    mark(one)
    other.client("bob")
    federation.route(one, OTHER, federation.free_port())
    assert not one.rows("test", "history")
    one.ctl("set", "imtest.target", "localhost")
    one.ctl("set", "imtest.receiver", f"bob@{OTHER}")
    one.ctl("set", "tests.every", "1s")
    until("alarm", lambda: "imtest.failed" in [a["name"] for a in one.rows("alarm", "list")])
    federation.route(one, OTHER, other.s2s_port)
    one.ctl_run("s2s", "retry", OTHER)  # unless it is forgotten already
    until("end of it",
          lambda: "imtest.failed" not in [a["name"] for a in one.rows("alarm", "list")])
    results = [row["result"] for row in one.rows("test", "history", "imtest")]
    assert results[0] == "Success" and "Failure" in results
    assert not one.rows("test", "history", "fedtest")
    text = one.ctl_run("metrics").stdout
    assert "muster_tests_failed" in text and "muster_tests_latency" in text


@pytest.mark.parametrize("to", [f"alice@{ONE}", f"x@conference.{ONE}"])
def test_a_receiver_at_the_server_of_the_sender_proves_nothing(pair, to):
    one, _ = pair()
    mark(one)
    row = failure(one, "receiver", f"is at the server of alice@{ONE}", *TO[:2], "--receiver", to)
    assert row["latency"] == "00:00:00" and "another server" in row["diagnosis"]


def test_nobody_is_told_of_the_way_before_the_partner_has_failed(pair):
    """With the default settings: tests wait longer than stanzas do, so they say what has failed."""
    one, _ = pair(retry_for="30s")
    mark(one)
    for domain in OTHER, f"push.{OTHER}":
        federation.route(one, domain, federation.free_port())
    push = one.ctl_start("--json", "pushtest", "--edge", "localhost", "--service", f"push.{OTHER}")
    row = failure(one, "tcp", "remote-server-timeout", *TO)
    assert "Connection refused" in row["error_message"], row
    out, _ = push.communicate(timeout=60)
    row = json.loads(out)["rows"][0]
    assert row["diagnosis"].startswith("tcp: "), row
    assert "Connection refused" in row["error_message"], row


def test_the_last_thirty_results_are_kept(pair):
    """Of each test, over a restart."""
    one, _ = pair()
    mark(one)
    port = federation.free_port()
    closed = f"localhost:{port}"
    one.ctl_run("fedtest", "--target", closed, "--domain", OTHER, "--proxy", closed)
    for timeout in range(1, 33):
        row = failure(one, "tcp", "Connection refused", "--target", f"127.0.0.{timeout}",
                      *TO[2:], "--port", port)
    assert row["result"] == "Failure"
    for again in False, True:
        if again:
            one.restart()
        kept = [r["target"] for r in one.rows("test", "history", "imtest")]
        assert kept == [f"127.0.0.{n}" for n in range(32, 2, -1)]
        assert [r["target"] for r in one.rows("test", "history", "fedtest")] == [closed]


@pytest.mark.parametrize("name, setting, value, wrong", [
    ("imtest", "imtest.receiver", f"bob@{OTHER}", "imtest.target"),
    ("fedtest", "fedtest.domain", OTHER, "fedtest.target"),
    ("pushtest", "pushtest.service", f"push.{OTHER}", "pushtest.edge")])
def test_a_schedule_that_cannot_run_is_an_alarm(pair, name, setting, value, wrong):
    one, _ = pair()
    one.ctl("set", setting, value)
    one.ctl("set", "tests.every", "1s")
    found = until("alarm", lambda: [a for a in one.rows("alarm", "list")
                                    if a["name"] == f"{name}.failed"])
    assert wrong in json.dumps(found), found
    assert not one.rows("test", "history")
    one.ctl("set", setting, "")
    until("end of it", lambda: not one.rows("alarm", "list"))


def test_test_users_are_kept_apart(pair):
    one, _ = pair()
    one.ctl("user", "add", f"carol@{ONE}", "--password", PASSWORD)
    counts = {r["state"]: r["users"] for r in one.rows("user", "count")}
    assert counts["registered"] == 2 and counts["test"] == 0
    mark(one)
    counts = {r["state"]: r["users"] for r in one.rows("user", "count")}
    assert counts["registered"] == 1 and counts["test"] == 1
    assert [r["jid"] for r in one.rows("user", "list")] == [f"carol@{ONE}"]
    assert [r["jid"] for r in one.rows("test", "users")] == [f"alice@{ONE}"]
    found = one.client("carol", password=PASSWORD).result(
        "set", "<query xmlns='jabber:iq:search'><nick>al*</nick></query>", to=f"search.{ONE}")
    assert not found.findall("{jabber:iq:search}item")
    one.ctl("test", "user-del", f"alice@{ONE}")
    assert len(one.rows("user", "list")) == 2 and not one.rows("test", "users")
    assert "no test user" in one.ctl_run("test", "user-del", f"alice@{ONE}").stderr
    assert "no account" in one.ctl_run("test", "user-add", f"x@{ONE}", "--password", "x").stderr


@pytest.mark.parametrize("words", [("imtest", *TO, "--port"),
                                   ("fedtest", "--target", "localhost", "--domain", OTHER,
                                    "--proxy")])
def test_a_stop_ends_a_test_that_is_under_way(pair, words):
    one, _ = pair()
    mark(one)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        port = silent.getsockname()[1]
        running = one.ctl_start(*words, f"127.0.0.1:{port}" if words[0] == "fedtest" else port)
        peer, _ = silent.accept()
        one.stop()
        out, err = running.communicate(timeout=60)
        peer.close()
    assert running.returncode != 0 and (out or err)


def test_all_at_ipv6(make_server, authority):
    """The login, the way to the partner, and the way back."""
    one, other = (make_server(domains=[domain], s2s=True, start=False,
                              tls={**authority.issue(domain, domain),
                                   "trust": str(authority.file)},
                              settings=federation.settings(bidi="off"))
                  for domain in (ONE, OTHER))
    c2s, *s2s = free_ports(3)
    one.conf["listen"]["c2s"] += [f"[::1]:{c2s}"]
    for server, port in zip((one, other), s2s):
        server.conf["listen"]["s2s"] = [f"[::1]:{port}"]
        server.start()
    for server, domain, port in (one, OTHER, s2s[1]), (other, ONE, s2s[0]):
        server.ctl("s2s-route", "add", domain, f"[::1]:{port}")
    one.add_user("alice")
    other.add_user("bob")
    mark(one)
    other.client("bob")
    code, row, _ = imtest(one, "--target", f"[::1]:{c2s}", *TO[2:])
    assert code == 0, row
    done = one.ctl_run("fedtest", "--target", f"[::1]:{s2s[0]}", "--domain", OTHER, "--proxy",
                       f"[::1]:{s2s[1]}")
    assert done.returncode == 0 and "Success" in done.stdout, done


def test_forms_of_the_target(pair):
    one, _ = pair()
    mark(one)
    to = ("--receiver", f"bob@{OTHER}")
    code, row, _ = imtest(one, "--target", f"127.0.0.1:{one.c2s_port}", *to)
    assert code == 0 and "warning" not in row, row
    for wrong in "localhost:99999", "localhost:0", "localhost:", "localhost:x", "[::1", "[::1]:0":
        done = one.ctl_run("imtest", "--target", wrong, *to)
        assert done.returncode == 2 and ":PORT (1 to 65535)" in done.stderr, done
    port = str(federation.free_port())
    for address in "::1", "[::1]":
        row = failure(one, "tcp", "[::1]:" + port, "--target", address, "--port", port, *to)
        assert row["target_fqdn"] == address
    row = failure(one, "tcp", "[::1]:" + port, "--target", f"[::1]:{port}", *to)
    assert "warning" not in row


def test_a_user_without_a_password(pair):
    one, _ = pair()
    done = one.ctl_run("imtest", *TO, "--user", f"alice@{ONE}")
    assert done.returncode == 2 and "--user needs the password" in done.stderr, done
    shown = one.ctl_run("help", "imtest").stdout
    assert "made if missing" not in shown and "--password-file FILE" in shown, shown


def test_a_login_that_is_refused_says_why(pair):
    one, _ = pair()
    mark(one)
    one.ctl("user", "disable", f"alice@{ONE}")
    row = failure(one, "authentication", "account-disabled", *TO)
    assert "musterctl user enable" in row["diagnosis"]
    one.ctl("user", "enable", f"alice@{ONE}")
    one.ctl("set", "tls.clients-max-version", "1.2")
    one.ctl("set", "tls.servers-min-version", "1.3")
    one.ctl("server", "reload")  # what is set applies before it answers
    row = failure(one, "tls", "", *TO)
    assert "`musterctl tls list`" in row["diagnosis"]
