"""`musterctl fedtest`, `pushtest` and `imtest`: the way to another domain, to a push service, and
of a message from a user who logs in to one at another server."""
import json
import re
import socket
import threading

import pytest

from harness import federation, xml
from harness.client import until
from harness.component import Component
from harness.links import ONE, OTHER, VERSION, authority, links, start

__all__ = ["authority", "start"]
FIELDS = ["target_fqdn", "result", "latency", "error_message", "diagnosis"]
PUSH, SECRET = f"push.{OTHER}", "x" * 32
TO = ("--target", "localhost", "--receiver", f"bob@{OTHER}")
FED = ("fedtest", "--target", "localhost", "--domain", OTHER, "--proxy")
NOTIFY = ("pushtest", "--edge", "localhost", "--service", PUSH)


@pytest.fixture
def pair(start):
    """A function that starts both, each with a route to the other one. Alice is a test user, with
    her password as it is."""
    def run(theirs=None, **more):
        one = start("alice", **more)
        other = start("bob", domains=[OTHER], names=[PUSH], component=True, **(theirs or more))
        for domain in OTHER, PUSH:
            federation.route(one, domain, other.s2s_port)
        federation.route(other, ONE, one.s2s_port)
        one.ctl("test", "user-add", f"alice@{ONE}", "--password", "secret")
        other.address = f"127.0.0.1:{other.s2s_port}"
        return one, other
    return run


def outcome(server, *words):
    """The exit code, the row, and what is said."""
    done = server.ctl_run("--json", *words, timeout=100)  # it may wait for 30 s itself
    reply = json.loads(done.stdout)
    assert len(reply["rows"]) == 1, reply
    row = reply["rows"][0]
    assert [f for f in row if f != "warning"] == FIELDS
    return done.returncode, row, reply["text"]


def success(server, *words):
    code, row, text = outcome(server, *words)
    assert (code, row["result"], row["error_message"], row["diagnosis"]) == (0, "Success", "", "")
    assert re.fullmatch(r"00:00:\d\d\.\d{7}", row["latency"])
    return row, text


def failure(server, stage, error, *words, advice=""):
    code, row, _ = outcome(server, *words)
    assert code == 1 and row["result"] == "Failure"
    assert error in row["error_message"] and row["diagnosis"].startswith(stage + ": "), row
    assert len(row["diagnosis"]) > len(stage) + 10 and advice in row["diagnosis"], row
    return row


def alarms(server):
    return {row["name"] for row in server.rows("alarm", "list")}


# --- the host that is tested ---


def test_a_domain_at_a_host(pair):
    """It may answer on the stream of the question; and the result is kept."""
    one, other = pair()
    federation.route(other, ONE, federation.free_port())
    row, text = success(one, *FED, other.address)
    assert "ping" in text and "warning" not in row
    kept, = until("it is kept", lambda: one.rows("test", "history"))
    assert (kept["test"], kept["domain"]) == ("fedtest", OTHER) and kept["latency_ms"] < 60000
    row, _ = success(one, FED[0], "--target", f"127.0.0.1:{one.s2s_port}", *FED[3:], other.address)
    assert "warning" not in row
    code, row, _ = outcome(one, FED[0], "--target", "127.0.0.3", *FED[3:], other.address)
    assert code == 1 and "5269" in row["warning"] and "127.0.0.3" in row["error_message"]


@pytest.mark.parametrize("test", ["fedtest", "pushtest", "imtest"])
def test_the_own_host(pair, test):
    """Where it drops packets, nobody listens, or something else answers; by a name that the DNS
    does not know. The partner is not asked. What is no port is refused."""
    one, other = pair()
    words = {"fedtest": (*FED[:1], *FED[3:], other.address, "--target"),
             "pushtest": (*NOTIFY[:1], *NOTIFY[3:], "--edge"),
             "imtest": ("imtest", *TO[2:], "--target")}[test]
    for wrong in "localhost:99999", "localhost:0", "localhost:", "localhost:x", "[::1", "[::1]:0":
        done = one.ctl_run(*words, wrong)
        assert done.returncode == 2 and ":PORT (1 to 65535)" in done.stderr, done
    failure(one, "tcp", "127.0.0.1:1: Connection refused (errno 111", *words, "127.0.0.1:1")
    row = failure(one, "tcp", "[::1]:1", *words, "[::1]:1")
    assert "warning" not in row and row["latency"] == "00:00:00"
    with federation.deaf_port() as port:
        failure(one, "tcp", f":{port}: Connection timed out (errno 110)", *words,
                f"127.0.0.1:{port}", "--timeout", "2s")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        failure(one, "stream", "not answered in time", *words,
                f"127.0.0.1:{silent.getsockname()[1]}", "--timeout", "1s")
    failure(one, "stream", "", *words, f"127.0.0.1:{one.http_port}",
            advice="" if test == "imtest" else "Something else answers there")
    one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{federation.free_port()}")
    failure(one, "dns", "nowhere.test", *words, "nowhere.test")
    for address in "224.0.0.1", "[ff0e::1]":  # the kernel refuses TCP to addresses of groups
        failure(one, "tcp", f"{address}:5", *words, address)
    assert f"domain={ONE}" not in other.log()


# --- the way to the partner ---


def no_such_name(sock):
    """A name server that knows no name."""
    try:
        while True:
            query, peer = sock.recvfrom(4096)
            sock.sendto(query[:2] + b"\x81\x83" + query[4:], peer)
    except OSError:
        return


def broken_way(one, other, authority, kind):
    """What the way is like from now on; what is to be closed."""
    listener = federation.Listener(OTHER, None)
    if kind == "tcp":
        federation.route(one, OTHER, federation.free_port())
    elif kind == "policy":
        other.ctl("set", "s2s.policy", "off")
    elif kind == "certificate":
        bad = authority.issue("bad", "else.test")
        for domain in OTHER, "else.test":
            other.ctl("cert", "import", domain, "--file", bad["certificate"], "--key", bad["key"])
    elif kind == "pin":
        one.ctl("s2s-demand", "set", OTHER, "--pin", "0" * 64)
    elif kind == "authentication":
        other.ctl("s2s-demand", "set", ONE, "--pin", "0" * 64)
    elif kind == "dns":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        threading.Thread(target=no_such_name, args=(sock,), daemon=True).start()
        one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{sock.getsockname()[1]}")
    else:
        federation.route(one, OTHER, listener.port)
        if kind == "tls":
            threading.Thread(target=serve_plain, args=(listener,), daemon=True).start()
    return listener


def serve_plain(listener):
    """A server without TLS, until it is closed."""
    kept = []
    try:
        while True:
            kept.append(listener.sock.accept()[0])
            listener.header(kept[-1], "id", "")
    except (OSError, AssertionError):
        return


WAYS = {  # kind: the stage, what is said of it, and the advice
    "tcp": ("tcp", "Connection refused", "firewall"),
    "policy": ("policy", "the server says: policy-violation", "ask its operator"),
    "pin": ("certificate", "which `s2s-demand list` does not have", "change the pin"),
    "authentication": ("authentication", "it does not offer EXTERNAL", ""),
    "dns": ("dns", "remote-server-not-found", "typing error in the domain"),
    "tls": ("tls", "it offers no TLS", ""),
    "no answer": ("no answer", "remote-server-timeout", "has taken the stream"),
}


@pytest.mark.parametrize("kind", WAYS)
def test_a_partner_that_is_not_reached(pair, authority, kind):
    """What remembers it and what looks again use the same word, and senders are told no more. The
    test ends with that, or with its own time: no error has come then."""
    one, other = pair(dialback="off")
    one.ctl("set", "s2s.retry-for", "0s")
    listener = broken_way(one, other, authority, kind)
    stage, error, advice = WAYS[kind]
    domain = "nowhere.test" if kind == "dns" else OTHER
    failure(one, stage, error, "imtest", *TO[:3], f"bob@{domain}", advice=advice)
    if kind != "no answer":  # else it is under way
        assert [row["stage"] for row in links(one, "out", domain)] == [stage]
        assert federation.for_users(one.client("alice").iq("get", VERSION, to=domain))
        shown = {r["name"]: r["value"] for r in one.rows("s2s", "show", domain)}
        assert shown["last failure"].startswith(stage + ": "), shown
    done = one.ctl_run("s2s", "trace", domain, "--timeout", "5s")
    assert done.returncode == 1 and f"({stage})" in done.stderr, done
    if kind in ("tcp", "policy", "no answer"):
        one.ctl("set", "s2s.retry-for", "30s")
        one.restart()
        failure(one, stage, "has not answered in time: ", "imtest", *TO, "--timeout", "2s")
    listener.close()


# --- a push service ---


@pytest.fixture
def service(pair):
    """Both servers, and a push service on the second one."""
    one, other = pair()
    other.ctl("component", "add", PUSH, "--secret", SECRET)
    return one, other, Component(other, PUSH, SECRET)


def pushed(server, service, error=None):
    """A test, to which the service says that: its row."""
    running = server.ctl_start("--json", *NOTIFY, "--node", "device")
    iq = service.expect("<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
                        "<publish node='device'><item/></publish></pubsub></iq>")
    assert iq.find(".//{urn:xmpp:push:0}notification") is not None
    error = error and f"<error type='cancel'><{error} xmlns='{xml.STANZA_ERROR}'/></error>"
    service.send(f"<iq type='{'error' if error else 'result'}' to='{iq.get('from')}' from='{PUSH}' "
                 f"id='{iq.get('id')}'>{error or ''}</iq>")
    return json.loads(running.communicate(timeout=60)[0])["rows"][0]


def test_a_notification_reaches_a_push_service(service):
    """Of another server, and of this one. It may refuse, and rules may, too."""
    one, other, push = service
    for server in one, other:
        assert pushed(server, push)["result"] == "Success"
    assert pushed(one, push, "item-not-found")["diagnosis"].startswith("receiver: ")
    diagnosis = pushed(one, push, "resource-constraint")["diagnosis"]
    assert diagnosis.startswith("policy: ") and "limit" in diagnosis
    failure(one, "no answer", "not answered", *NOTIFY, "--timeout", "1s")
    one.ctl("set", "push.services", "else.test")
    failure(one, "policy", "push.services", *NOTIFY)
    one.ctl("set", "push.enabled", "off")
    failure(one, "policy", "push.enabled", *NOTIFY)


def test_a_notification_reaches_the_endpoint_of_this_server(pair):
    """Where no push service is named. Whoever they are, it takes nothing of others, whether a test
    is under way or not: all get the same answer."""
    one, _ = pair()
    alice, at = one.client("alice"), f"pushtest.{ONE}"
    _, text = success(one, *NOTIFY[:3])
    assert "test endpoint of this server" in text and "--service" in text
    assert one.ctl_run(*NOTIFY[:3], "--node", "device").returncode == 2

    def notification(node):
        return (f"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{node}'><item>"
                "<notification xmlns='urn:xmpp:push:0'/></item></publish></pubsub>")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        running = one.ctl_start("pushtest", "--edge", f"127.0.0.1:{silent.getsockname()[1]}",
                                "--timeout", "3s")
        peer, _ = silent.accept()  # the test is under way
        for to in (*(f"{n}@{at}" for n in range(8)), f"0@{at}/x"):
            for node in "", "test", "0" * 32:
                assert alice.error("set", notification(node), to=to)[0] == "item-not-found"
        assert running.poll() is None
        running.communicate(timeout=60)
        peer.close()
    assert alice.error("set", notification("test"), to=f"0@{at}")[0] == "item-not-found"
    assert alice.error("set", notification("test"), to=at)[0] == "service-unavailable"
    one.ctl("set", "s2s.policy", "off")
    failure(one, "policy", "does not federate", *NOTIFY[:3], advice="s2s.policy")


# --- the message of a user ---


def test_what_proves_a_message(pair, tmp_path):
    """A receipt, or a ping where none comes; as the test user, or as one who is given."""
    one, other = pair()
    bob = other.client("bob")
    _, text = success(one, "imtest", *TO)
    assert "ping" in text and "receipt" in text
    bob.expect("<message type='chat'><body/></message>")
    file = tmp_path / "password"
    file.write_text("secret\n")
    user = ("--user", f"alice@{ONE}", "--password-file", file)
    running = one.ctl_start("imtest", *TO, *user)
    came = bob.expect("<message type='chat'><request xmlns='urn:xmpp:receipts'/></message>")
    bob.send(f"<message to='{came.get('from')}'><received xmlns='urn:xmpp:receipts' "
             f"id='{came.get('id')}'/></message>")
    lines = running.communicate(timeout=60)[0].splitlines()
    assert [line.split("  ")[0].strip() for line in lines[:5]] == [
        "Target FQDN", "Result", "Latency", "Error Message", "Diagnosis"]
    assert "Success" in lines[1] and "receipt of the receiver (XEP-0184)" in lines[5]
    file.write_text("wrong\n")
    failure(one, "authentication", "not-authorized", "imtest", *TO, *user)
    one.ctl("user", "disable", f"alice@{ONE}")
    failure(one, "authentication", "account-disabled", "imtest", *TO, advice="user enable")
    assert one.ctl_run("imtest", *TO, "--user", f"alice@{ONE}").returncode == 2
    one.ctl("test", "user-del", f"alice@{ONE}")
    failure(one, "user", "no test user", "imtest", *TO)


ALICE, BOB = f"alice@{ONE}", f"bob@{OTHER}"
RULES = [  # commands of the first server, error and advice
    ([("federation", "set", ALICE, "off")], "this account", "rule of this user"),
    ([("user", "set", ALICE, "--department", "Sales"), ("s2s-group", "set", "Sales", "off")],
     "the department of this account", "`musterctl s2s-group list`"),
    ([("group", "add", "sales"), ("group-member", "add", "sales", ALICE),
      ("s2s-group", "set", "group:sales", "off")], "a group of this account",
     "`musterctl federation show`"),
    ([("set", "federation.users", "off")], "accounts of this domain", "federation.users is off"),
    ([("federation", "block", OTHER)], "it is blocked", "`musterctl federation list`"),
    ([("set", "s2s.policy", "allow")], "s2s.policy is allow", "`musterctl get s2s.domains@"),
    ([("set", "s2s.policy", "off")], "s2s.policy is off", "`musterctl get s2s.policy@")]


@pytest.mark.parametrize("commands, error, advice", RULES)
def test_a_user_who_may_not_federate(pair, commands, error, advice):
    """The diagnosis names the rule, and the command that shows it."""
    one, _ = pair()
    for words in commands:
        one.ctl(*words)
    failure(one, "policy", error, "imtest", *TO, advice=advice)


# --- by themselves ---


def test_all_run_by_themselves(pair):
    """The schedule raises alarms and clears them; the last results are kept, over a restart."""
    one, other = pair(retry_for="0s")
    other.client("bob")
    one.ctl("set", "imtest.receiver", BOB)
    one.ctl("set", "tests.every", "1s")
    until("it cannot run", lambda: "imtest.failed" in alarms(one))
    assert not one.rows("test", "history")
    for name, value in {"fedtest.target": "localhost", "pushtest.edge": "localhost",
                        "fedtest.proxy": other.address, "fedtest.domain": OTHER,
                        "pushtest.service": f"nobody.{OTHER}", "imtest.target": "localhost",
                        }.items():
        one.ctl("set", name, value)
    until("alarm", lambda: alarms(one) == {"pushtest.failed"})
    one.ctl("set", "pushtest.service", "")  # from now on the endpoint of this server
    until("end of it", lambda: not alarms(one))
    results = {row["test"]: row["result"] for row in one.rows("test", "history")[::-1]}
    assert results == {"fedtest": "Success", "imtest": "Success", "pushtest": "Success"}
    assert "muster_tests_failed" in one.ctl_run("metrics").stdout
    one.ctl("set", "tests.every", "1h")
    until("none is under way", lambda: "another" not in one.ctl_run("imtest", *TO).stderr)
    for n in range(1, 33):
        failure(one, "tcp", "", "imtest", *TO[2:], "--target", f"127.0.0.{n}", "--port", "1")
    one.restart()
    kept = [row["target"] for row in one.rows("test", "history", "imtest")]
    assert kept == [f"127.0.0.{n}" for n in range(32, 2, -1)]
