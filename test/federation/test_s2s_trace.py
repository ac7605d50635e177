"""`musterctl s2s trace`: each stage on the way to another server, and why one fails."""
import contextlib
import json
import re
import socket
import threading
import time
import urllib.request

import pytest

from harness import federation, xml
from harness.client import until
from harness.server import free_ports
from federation.test_s2s_routes import sees_other

ONE, OTHER = "one.test", "other.test"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


def make(make_server, user, domain, tls, **more):
    return make_server(user, domains=[domain], s2s=True, tls=tls,
                       settings=federation.settings(**more))


@pytest.fixture
def one(make_server, authority):
    return make(make_server, "alice", ONE, {**authority.issue(ONE, ONE),
                                            "trust": str(authority.file)})


def other(make_server, authority, **more):
    return make(make_server, "bob", OTHER, {**authority.issue(OTHER, OTHER),
                                            "trust": str(authority.file)}, **more)


def route(server, domain, port):
    federation.route(server, domain, port)


def trace(server, *words):
    """The exit code, the steps by stage, and what is said at the end."""
    done = server.ctl_run("--json", "s2s", "trace", OTHER, *words)
    reply = json.loads(done.stdout)
    steps = {}
    for row in reply["rows"]:
        steps.setdefault(row["stage"], []).append((row["result"], row["text"]))
    return done.returncode, steps, reply["text"]


def test_a_server_that_can_be_reached_shows_all_stages(make_server, authority, one):
    route(one, OTHER, other(make_server, authority).s2s_port)
    code, steps, text = trace(one)
    assert code == 0 and "can be reached" in text
    assert steps["policy"][0][0] == "ok" and steps["route"][0][0] == "ok"
    assert "connected" in steps["tcp"][0][1]
    assert steps["tls"][0][1].startswith("TLSv1.3, TLS_")
    result, ours = steps["tls"][1]
    assert result == "ok" and ours.endswith(f"; it names {ONE}")
    assert ours.startswith(f"our certificate: CN={ONE}, issued by CN=ca of tests, valid until 2")
    assert f"CN={OTHER}" in steps["certificate"][0][1] and "valid until 2" in \
        steps["certificate"][0][1]
    assert steps["certificate"][-1] == ("ok", f"it names {OTHER} (DNS name)")
    assert steps["authentication"] == [("ok", "by certificate (SASL EXTERNAL)")]
    first, last = (text for _, text in steps["offers"])
    assert first.startswith("EXTERNAL: yes, dialback:") and "XEP-0288: yes" in first
    assert last == "XEP-0198: yes"  # what comes before authentication only is no lack
    assert "none is needed" in steps["link"][0][1]
    assert "s2s.up" not in one.log()  # the real link was not touched


def failed(one, stage, text, *words):
    """The trace fails in this stage, as its last step says, and then, what to do. Each step is told
    once."""
    code, steps, said = trace(one, *words)
    assert code == 1 and list(steps)[-1] == stage, (steps, said)
    assert steps[stage][-1][0] == "failed" and text in steps[stage][-1][1], steps
    assert f"({stage})" in said and len(said.split("\n")[1]) > 20, said
    for told in steps.values():
        texts = [line.partition(" (errno")[0] for _, line in told]
        assert len(texts) == len(set(texts)), texts
    return steps


def test_a_domain_that_the_policy_refuses(make_server, authority):
    one = make(make_server, "alice", ONE, authority.issue(ONE, ONE), policy="allow")
    failed(one, "policy", "s2s.policy is allow, and s2s.domains does not name it")
    assert "Add the domain to s2s.domains." in trace(one)[2]


def block_by_file(one, tmp_path):
    (tmp_path / "list").write_text(f"{OTHER}\n")
    one.ctl("set", "federation.blocklist", tmp_path / "list")


BLOCKS = {
    "off": ({"policy": "off"}, "s2s.policy is off", "Set s2s.policy to open"),
    "deny": ({"policy": "deny", "domains": OTHER},
             "s2s.policy is deny, and s2s.domains names it", "Take the domain out of s2s.domains"),
    "administrator": (lambda one, _: one.ctl("federation", "block", OTHER),
                      "it is blocked by an administrator or by reports",
                      "`musterctl federation allow` ends it"),
    "file": (block_by_file, "the file of federation.blocklist has it",
             "Take the domain out of the file"),
    "route": (lambda one, _: one.ctl("s2s-route", "add", OTHER, "127.0.0.1:9", "--blocked", "on"),
              "a static route blocks it", "--blocked off"),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_what_blocks_a_domain_is_named(make_server, authority, tmp_path, case):
    block, why, advice = BLOCKS[case]
    settings = block if isinstance(block, dict) else {}
    one = make(make_server, "alice", ONE, authority.issue(ONE, ONE), **settings)
    if not settings:
        block(one, tmp_path)
    until("it is blocked", lambda: "policy" in trace(one)[1]
          and trace(one)[1]["policy"][-1][0] == "failed")
    failed(one, "policy", why)
    assert advice in trace(one)[2]
    shown = one.rows("s2s", "show", OTHER)
    assert f"not allowed: {why}" in json.dumps(shown), shown
    done = one.ctl_run("fedtest", "--target", "localhost", "--domain", OTHER, "--proxy",
                       "127.0.0.1")
    assert done.returncode == 1 and "policy: " in done.stdout, done.stdout
    assert why in done.stdout and advice in done.stdout


def test_a_port_that_nobody_listens_at(make_server, authority, one):
    port = federation.free_port()
    route(one, OTHER, port)
    steps = failed(one, "tcp", "Connection refused")
    assert f"127.0.0.1:{port}: Connection refused" in steps["tcp"][0][1]


def test_a_block_of_others_is_not_at_fault(make_server, authority, one):
    """It ends what is tried after the routes of the domain itself."""
    one.ctl("s2s-route", "add", OTHER, f"127.0.0.1:{federation.free_port()}")
    one.ctl("s2s-route", "add", "*", "gateway.test:5269", "--blocked", "on")
    failed(one, "tcp", "Connection refused")
    assert "ask the other operator" in trace(one)[2]
    one.client("alice").send(f"<message to='bob@{OTHER}' type='chat'><body>x</body></message>")
    until("a failure", lambda: [r.get("stage") for r in one.rows("s2s", "list")] == ["tcp"])


@pytest.mark.parametrize("names, more, text", [
    (["else.test"], {}, f"does not name {OTHER}"),
    ([OTHER], {"begins": -20, "ends": -2}, "expired"),
    ([OTHER], {"begins": 2, "ends": 20}, "not yet valid"),
])
def test_a_certificate_that_is_refused(make_server, authority, one, names, more, text):
    tls = {**authority.issue("bad", *names, **more), "trust": str(authority.file)}
    route(one, OTHER, make(make_server, "bob", OTHER, tls).s2s_port)
    failed(one, "certificate", text)


def test_a_certificate_of_an_unknown_authority(make_server, authority, one, tmp_path):
    rogue = federation.Authority(tmp_path, "rogue")
    route(one, OTHER, make(make_server, "bob", OTHER, rogue.issue("thief", OTHER)).s2s_port)
    steps = failed(one, "certificate", "refused")
    assert steps["tls"][0][0] == "ok" and "authentication" not in steps


def test_a_server_that_does_not_ask_for_our_certificate(authority, one):
    """It was shown none, so none is named."""
    listener = federation.Listener(OTHER, authority.issue(OTHER, OTHER))
    route(one, OTHER, listener.port)
    tracing = one.ctl_start("--json", "s2s", "trace", OTHER)
    with listener.secure():
        pass
    rows = json.loads(tracing.communicate()[0])["rows"]
    assert [row["text"][:5] for row in rows if row["stage"] == "tls"] == ["TLSv1"]
    listener.close()


def test_dialback_where_the_certificate_is_not_accepted(make_server, authority, tmp_path):
    rogue = federation.Authority(tmp_path, "rogue")
    one = make(make_server, "alice", ONE, {**rogue.issue(ONE, ONE), "trust": str(authority.file)})
    server = other(make_server, authority, verify_certificates="off")
    route(one, OTHER, server.s2s_port)
    route(server, ONE, one.s2s_port)
    code, steps, _ = trace(one)
    assert code == 0 and steps["authentication"][-1] == ("ok", "by dialback"), steps
    federation.route(server, ONE, federation.free_port())
    server.ctl("set", "s2s.dialback", "off")
    failed(one, "authentication", "")


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


JUDGED = {  # what is demanded, and what the other server has: the stage that fails, and why
    "old tls": (["--tls-min", "1.3"], [OTHER], "1.2", "tls", "wants TLSv1.3"),
    "new tls": (["--tls-min", "1.3"], [OTHER], "1.3", None, ""),
    "name": (["--auth", "any"], ["else.test"], "1.3", "certificate", f"does not name {OTHER}"),
    "name, no check": (["--verify", "off"], ["else.test"], "1.3", None, ""),
    "pin": (["--pin", "ab" * 32], [OTHER], "1.3", "certificate", "does not have"),
    "dialback": (["--auth", "dialback"], [OTHER], "1.3", None, ""),
    "dialback, name": (["--auth", "dialback"], ["else.test"], "1.3", "certificate",
                       f"does not name {OTHER}"),
}


@pytest.mark.parametrize("case", JUDGED)
def test_a_server_is_judged_as_for_stanzas(make_server, authority, one, case):
    demands, names, version, stage, why = JUDGED[case]
    tls = {**authority.issue("other", *names), "trust": str(authority.file)}
    server = make(make_server, "bob", OTHER, tls)
    server.ctl("set", "tls.servers-max-version", version)
    route(one, OTHER, server.s2s_port)
    route(server, ONE, one.s2s_port)
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


def test_a_certificate_of_ours_that_is_of_no_use(make_server, authority):
    """It has expired, and the other server finds no way back to ask about a key."""
    one = make(make_server, "alice", ONE, {**authority.issue("old", ONE, begins=-20, ends=-2),
                                           "trust": str(authority.file)}, retry_for="0s")
    server = other(make_server, authority)
    route(one, OTHER, server.s2s_port)
    route(server, ONE, federation.free_port())
    why = ("it does not offer EXTERNAL, and could not prove our domain by dialback: "
           "remote-server-timeout")
    code, steps, text = trace(one)
    assert code == 1 and steps["authentication"][-1] == ("failed", why) and "cert check" in text
    result, ours = steps["tls"][1]
    assert result == "failed" and "expired on 2" in ours and ours.endswith(f"it names {ONE}")
    assert first_failure(one, server.client("bob")) == ("authentication", why)


@contextlib.contextmanager
def refusing(authority, offered, says="<not-authorized/>"):
    """The port of a server that refuses our certificate, if it has offered to look at it, and our
    keys."""
    listener = federation.Listener(OTHER, authority.issue("other", OTHER))

    def refuse():
        with listener.secure(features=federation.EXTERNAL if offered else "") as peer:
            if offered:
                listener.read_until(peer, "<auth.*</auth>")
                peer.sendall(f"<failure xmlns='{xml.SASL}'>{says}</failure>".encode())
            listener.read_until(peer, "<db:result")
            peer.sendall(f"<db:result type='invalid' from='{OTHER}' to='{ONE}'/>".encode())

    def serve():
        with contextlib.suppress(OSError):
            while True:
                with contextlib.suppress(AssertionError):  # it has gone before
                    refuse()

    server = threading.Thread(target=serve)
    server.start()
    yield listener.port
    listener.sock.shutdown(socket.SHUT_RDWR)
    server.join()
    listener.close()


@pytest.mark.parametrize("offered", [False, True])
@pytest.mark.parametrize("dialback", ["on", "off"])
def test_what_has_become_of_our_certificate(make_server, authority, tmp_path, offered, dialback):
    """Only a server that has offered EXTERNAL refuses it: others perhaps take no certificates."""
    one = make(make_server, "alice", ONE, {**authority.issue("one", ONE),
                                           "trust": str(authority.file)}, retry_for="0s")
    one.ctl("set", "s2s.dialback", dialback)
    with refusing(authority, offered) as port:
        route(one, OTHER, port)
        why = ("it refuses our certificate (not-authorized)" if offered
               else "it does not offer EXTERNAL") + \
            (", and could not prove our domain by dialback: invalid" if dialback == "on"
             else ", and dialback is off here")
        code, steps, _ = trace(one)
        assert code == 1 and steps["authentication"][-1] == ("failed", why), steps
        assert first_failure(one, one.client("alice", "z")) == ("authentication", why)


def test_a_failure_of_external_that_is_no_refusal(make_server, authority):
    """The advice is another one than behind a refusal."""
    one = make(make_server, "alice", ONE, {**authority.issue("one", ONE),
                                           "trust": str(authority.file)})
    with refusing(authority, True, "<temporary-auth-failure/><text>later</text>") as port:
        route(one, OTHER, port)
        code, steps, text = trace(one)
    said = "it answers EXTERNAL with a failure (temporary-auth-failure: later)"
    assert code == 1 and [text for _, text in steps["authentication"]] == [
        said, said + ", and could not prove our domain by dialback: invalid"]
    assert "tried again" in text and "cert check" not in text


def silent_at(listener, moment, over):
    """A server that goes on up to that moment, and then says nothing, or ends the stream."""
    with contextlib.suppress(OSError), listener.secure() as peer:
        listener.read_until(peer, "<auth.*</auth>")
        if moment != "external":
            peer.sendall(f"<success xmlns='{xml.SASL}'/>".encode())
            listener.read_until(peer, "<stream:stream [^>]*>")
        if moment == "header":
            peer.sendall(f"<stream:stream xmlns='{federation.SERVER}' xmlns:stream='{xml.STREAM}' "
                         f"version='1.0' from='{OTHER}' id='third'>".encode())
        if moment != "ends":
            over.wait()


@pytest.mark.parametrize("moment, stage, why", [
    ("external", "authentication", "no answer in the time that is given"),
    ("success", "no answer", "accepted our certificate, but does not go on with the stream"),
    ("header", "no answer", "accepted our certificate, but does not go on with the stream"),
    ("ends", "stream", "the server has ended the stream"),
])
def test_a_server_that_stops_at_its_answer_to_our_certificate(authority, one, moment, stage, why):
    """Behind <success/> the certificate is not at fault, and no stage is both ok and failed."""
    listener, over = federation.Listener(OTHER, authority.issue("other", OTHER)), threading.Event()
    server = threading.Thread(target=silent_at, args=(listener, moment, over))
    server.start()
    try:
        route(one, OTHER, listener.port)
        code, steps, text = trace(one, "--timeout", "3s")
        assert code == 1 and steps[stage][-1][0] == "failed" and why in steps[stage][-1][1], steps
        accepted = moment != "external"
        assert (steps["authentication"][0][0] == "ok") == accepted
        assert len(steps["authentication"]) == 1 and f"({stage})" in text
        assert ("cert check" in text) != accepted
        assert ("has accepted our certificate" in text) == accepted, text
    finally:
        over.set()
        server.join()
        listener.close()


def test_versions_of_tls_that_have_nothing_in_common(make_server, authority, one):
    """The advice names what this server allows, as that may be at fault."""
    one.ctl("set", "tls.servers-max-version", "1.2")
    server = other(make_server, authority)
    server.ctl("set", "tls.servers-min-version", "1.3")
    route(one, OTHER, server.s2s_port)
    failed(one, "tls", "")
    assert "tls.servers-max-version" in trace(one)[2]


def test_a_certificate_whose_key_may_not_sign(make_server, authority, one):
    """Of TLS 1.2 no cipher is left then. The versions are right."""
    usage = federation.key_usage_of("key_agreement")
    tls = {**authority.issue("other", OTHER, extensions=[usage]), "trust": str(authority.file)}
    one.ctl("set", "tls.servers-max-version", "1.2")
    route(one, OTHER, make(make_server, "bob", OTHER, tls).s2s_port)
    failed(one, "tls", "handshake failure")
    assert "keyUsage without digitalSignature" in trace(one)[2]


def test_a_server_that_never_answers(make_server, authority, one):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        route(one, OTHER, silent.getsockname()[1])
        failed(one, "no answer", "no answer in the time", "--timeout", "1s")


def test_a_server_that_has_no_tls(make_server, authority, one):
    listener = federation.Listener(OTHER, None)
    route(one, OTHER, listener.port)
    running = one.ctl_start("s2s", "trace", OTHER)
    peer, _ = listener.sock.accept()
    listener.header(peer, "id", "")
    out, err = running.communicate(timeout=30)
    assert running.returncode == 1 and "(tls)" in err and out.count("it offers no TLS") == 1
    peer.close()
    listener.close()


@pytest.mark.parametrize("allowed", ["s2s.require-tls is off", "the static route allows it"])
def test_a_server_that_has_no_tls_and_needs_none(one, allowed):
    listener = federation.Listener(OTHER, None)
    if "route" in allowed:
        federation.route(one, OTHER, listener.port, tls="none")
    else:
        route(one, OTHER, listener.port)
        one.ctl("set", "s2s.require-tls", "off")
    running = one.ctl_start("--json", "s2s", "trace", OTHER)
    peer, _ = listener.sock.accept()
    listener.header(peer, "id", f"<dialback xmlns='{federation.DIALBACK}'/>")
    listener.read_until(peer, "<db:result")
    peer.close()
    out, _ = running.communicate(timeout=30)
    steps = [(row["result"], row["text"]) for row in json.loads(out)["rows"]
             if row["stage"] == "tls"]
    assert len(steps) == 1 and steps[0][0] == "ok", steps
    assert "not encrypted" in steps[0][1] and allowed in steps[0][1], steps
    listener.close()


@pytest.mark.parametrize("answers", ["nothing", "an error", "too late"])
def test_name_servers_that_fail(one, answers):
    """They are not those of the domain only: the advice names our own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        if answers == "an error":
            threading.Thread(target=fail, args=(sock,), daemon=True).start()
        one.ctl("set", "s2s.dns-servers", f"127.0.0.1:{sock.getsockname()[1]}")
        words = ("--timeout", "1s") if answers == "too late" else ()
        text = "no answer" if words else "_xmpp-server._tcp.other.test"
        assert "tcp" not in failed(one, "dns", text, *words)
        assert "s2s.dns-servers" in trace(one, *words)[2]


def fail(sock):
    """A name server that answers SERVFAIL (RFC 1035 §4.1.1)."""
    with contextlib.suppress(OSError):
        while True:
            question, peer = sock.recvfrom(4096)
            sock.sendto(question[:2] + b"\x81\x82" + question[4:6] + bytes(6) + question[12:], peer)


def test_hosts_that_all_fail(make_server, authority, one):
    """The steps are those of each host, in their order."""
    tls = {**authority.issue("bad", "else.test"), "trust": str(authority.file)}
    route(one, OTHER, make(make_server, "bob", OTHER, tls).s2s_port)
    port = federation.free_port()
    one.ctl("s2s-route", "add", OTHER, f"127.0.0.1:{port}", "--priority", "2", "--less-specific",
            "off")
    _, steps, said = trace(one)
    assert steps["certificate"][-1] == ("failed", f"it is refused: it does not name {OTHER}")
    assert [text.partition(" (")[0] for result, text in steps["tcp"] if result == "failed"] == \
        [f"127.0.0.1:{port}: Connection refused"]
    assert "(tcp)" in said


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_a_server_that_is_elsewhere(make_server, authority, one, address):
    """The host that it names is tried, as for stanzas."""
    theirs = make(make_server, "bob", OTHER, {**authority.issue(OTHER, OTHER),
                                              "trust": str(authority.file)})
    if address == "[::1]":
        theirs.conf["listen"]["s2s"] = [f"[::1]:{theirs.s2s_port}"]
        theirs.restart()
    listener = federation.Listener(OTHER, None)
    sees_other(listener, f"{address}:{theirs.s2s_port}")
    route(one, OTHER, listener.port)
    code, steps, said = trace(one)
    assert steps["stream"] == [("failed", "the server says: see-other-host")]
    assert [text.partition(" (")[0] for _, text in steps["tcp"]] == [
        f"127.0.0.1:{listener.port}: connected", f"{address}:{theirs.s2s_port}: connected"]
    assert code == 0 and "it can be reached" in said
    listener.close()


def test_a_server_that_is_always_elsewhere(authority, one):
    """So many hosts are tried as for stanzas."""
    listeners = [federation.Listener(OTHER, None) for _ in range(5)]
    for here, there in zip(listeners, listeners[1:] + listeners[:1]):
        sees_other(here, f"127.0.0.1:{there.port}")
    route(one, OTHER, listeners[0].port)
    code, steps, said = trace(one)
    assert code == 1 and "(stream)" in said
    assert [text.partition(": ")[0] for _, text in steps["tcp"]] == [
        f"127.0.0.1:{listener.port}" for listener in listeners[:4]]
    for listener in listeners:
        listener.close()


def test_routes_that_let_nothing_through(one):
    port = federation.free_port()
    one.ctl("s2s-route", "add", OTHER, f"127.0.0.1:{port}", "--less-specific", "off",
            "--in-service", "off")
    assert "s2s-route list" in failed(one, "route", "out of service")["route"][0][1]


def test_stored_messages_that_wait_are_counted(make_server, authority):
    """Also when the attempt has failed, and none is in memory any more."""
    one = make(make_server, "alice", ONE, authority.issue(ONE, ONE), retry_for="0s")
    route(one, OTHER, federation.free_port())
    assert steps_of_links(one) == ["there is no stream for stanzas, and none is needed"]
    alice = one.client("alice")
    for n in range(3):
        alice.send(f"<message to='bob@{OTHER}' type='chat'><body>{n}</body></message>")

    def waits():
        return [(row["queue"], row["stored"]) for row in one.rows("s2s", "list")
                if row["state"] == "failed"]
    until("all are stored, and none is in memory", lambda: waits() == [(0, 3)])
    assert steps_of_links(one)[-1] == "stored messages that are not confirmed: 3"
    one.metrics_port = free_ports(1)[0]
    one.conf["listen"]["metrics"] = [f"127.0.0.1:{one.metrics_port}"]
    one.restart()  # all domains together are counted at once, and then each few seconds
    until("the figure of all", lambda: metrics(one).get("muster_s2s_stored") == "3")


def steps_of_links(server):
    return [text for _, text in trace(server)[1]["link"]]


def test_the_link_for_stanzas_is_shown_and_stays(make_server, authority, one):
    server = other(make_server, authority)
    route(one, OTHER, server.s2s_port)
    route(server, ONE, one.s2s_port)
    one.client("alice").send(f"<message to='bob@{OTHER}' type='chat'><body>x</body></message>")
    server.client("bob").expect("<message><body>x</body></message>")
    _, steps, _ = trace(one)
    result, text = steps["link"][0]  # perhaps the message is not confirmed yet
    assert result == "ok" and text.startswith("the stream for stanzas: up for"), steps
    assert one.log().count("s2s.up") == 1


def test_a_domain_of_ours_and_arguments_that_cannot_be(one):
    assert "served here" in one.ctl_run("s2s", "trace", ONE).stderr
    assert "no domain of this server" in one.ctl_run("s2s", "trace", OTHER, "--local",
                                                     "x.test").stderr
    assert one.ctl_run("s2s", "trace", OTHER, "--timeout", "1ms").returncode != 0


def shown(server, domain=OTHER):
    return {row["name"]: row["value"] for row in server.rows("s2s", "show", domain)}


def test_show_says_what_is_known(make_server, authority, one):
    assert shown(one) == {"state": "no stream, and nothing waits", "policy": "allowed",
                          "stored": "0 messages are not confirmed"}
    server = other(make_server, authority)
    route(one, OTHER, server.s2s_port)
    route(server, ONE, one.s2s_port)
    alice, bob = one.client("alice"), server.client("bob")
    alice.send(f"<message to='{bob}' type='chat'><body>there</body></message>")
    bob.expect("<message><body>there</body></message>")
    bob.send(f"<message to='{alice}' type='chat'><body>back</body></message>")
    alice.expect("<message><body>back</body></message>")
    row = shown(one)
    assert row["stream to it"].startswith(f"from {ONE}: up for") and "by certificate" in \
        row["stream to it"]
    assert row["stream from it"].startswith(f"to {ONE}: up for")
    dialled = f"127.0.0.1:{server.s2s_port}"
    assert row["address"] == f"127.0.0.1, dialled as {dialled}"
    listed = {(r["direction"], r["peer"], r.get("host")) for r in one.rows("s2s", "list")}
    assert listed == {("out", "127.0.0.1", dialled), ("in", "127.0.0.1", dialled)}
    assert {(r["peer"], r.get("host")) for r in server.rows("s2s", "list") if "peer" in r} == \
        {("127.0.0.1", None)}
    assert re.search(rf"s2s.up .*host={dialled}.* peer=127.0.0.1", one.log())
    assert row["queue"] == "0 stanzas wait" and row["policy"] == "allowed"
    assert re.match("[1-9][0-9]* stanzas sent, [1-9][0-9]* received, 1 streams, 0 failures",
                    row["counted"]), row
    until("all is confirmed", lambda: shown(one)["stored"] == "0 messages are not confirmed")
    assert shown(one, ONE)["policy"] == "this domain is served here"


def of_streams(server):
    """Per direction, what `s2s show` says of the streams."""
    streams, now = {}, {}
    for r in server.rows("s2s", "show", OTHER):
        if r["name"].startswith("stream "):
            now = streams.setdefault(r["name"], {})
        now[r["name"]] = r["value"]
    return streams


def test_show_says_what_certificates_say(make_server, authority, one):
    server = other(make_server, authority)
    route(one, OTHER, server.s2s_port)
    route(server, ONE, one.s2s_port)
    alice, bob = one.client("alice"), server.client("bob")
    alice.send(f"<message to='{bob}' type='chat'><body>there</body></message>")
    bob.expect("<message><body>there</body></message>")
    bob.send(f"<message to='{alice}' type='chat'><body>back</body></message>")
    alice.expect("<message><body>back</body></message>")
    until("all is confirmed",
          lambda: all(s["unacknowledged"] == "0 stanzas" for s in of_streams(one).values()))
    streams = of_streams(one)
    assert set(streams) == {"stream to it", "stream from it"}
    links = {re.search("link (.*)", stream[name])[1] for name, stream in streams.items()}
    assert len(links) == 1 and "certificate" not in streams["stream from it"]
    stream = streams["stream to it"]
    assert stream["tls"].startswith("TLSv1.3, TLS_")
    assert re.fullmatch(r"CN=.*, issued by CN=ca of tests, valid until 20\d\d-\d\d-\d\d",
                        stream["certificate"])
    assert f"{OTHER} (DNS name)" in stream["names"] and stream["chain"] == "verified"
    assert stream["name that matches"] == f"{OTHER} (DNS name)"


def test_show_counts_what_is_not_confirmed(make_server, authority, one):
    """A server that takes stanzas and acknowledges none."""
    listener = federation.Listener(OTHER, authority.issue(OTHER, OTHER))
    try:
        route(one, OTHER, listener.port)
        alice = one.client("alice")
        for n in range(3):
            alice.send(f"<message to='bob@{OTHER}' type='chat'><body>{n}</body></message>")
        with listener.secure() as peer:
            listener.read_until(peer, "<auth.*</auth>")
            peer.sendall(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
            listener.header(peer, "third", "<sm xmlns='urn:xmpp:sm:3'/>")
            listener.read_until(peer, "<body>2</body>")
            stream = of_streams(one)["stream to it"]
            assert stream["unacknowledged"] == "3 stanzas"
            assert stream["stored"] == "3 messages are not confirmed"
    finally:
        listener.close()


def metrics(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics") as answer:
        text = answer.read().decode()
    return dict(re.findall(r'^(muster_s2s_(?:stored|domain_\w+{domain="[^"]+"})) (\d+)$',
                           text, re.M))


def test_metrics_of_domains_are_bounded_and_a_failing_one_raises_an_alarm(make_server, authority):
    tls = {**authority.issue(ONE, ONE), "trust": str(authority.file)}
    one = make_server(domains=[ONE], s2s=True, tls=tls, start=False,
                      settings=federation.settings(retry_for="0s", alarm_after="1s"))
    one.metrics_port = free_ports(1)[0]
    one.conf["listen"]["metrics"] = [f"127.0.0.1:{one.metrics_port}"]
    one.start()
    one.ctl("set", "s2s.metrics-domains", "1")
    one.add_user("alice")
    server = other(make_server, authority)
    closed = federation.free_port()
    federation.route(one, "*", closed)
    one.ctl("set", "s2s.keep-for", "0s")
    alice = one.client("alice")
    for domain in OTHER, "third.test", "fourth.test":
        alice.send(f"<message to='x@{domain}' type='chat' id='{domain}'><body>x</body></message>")
        alice.expect(f"<message type='error' id='{domain}'/>")
    found = metrics(one)
    assert found[f'muster_s2s_domain_failures_total{{domain="{OTHER}"}}'] == "1", found
    assert found['muster_s2s_domain_failures_total{domain="other"}'] == "2"
    assert not [name for name in found if "third" in name]

    def alarms():
        return {row["name"]: row for row in one.rows("alarm", "list")}

    def fails_again(*domains):
        """An attempt for each, which shows that it fails still."""
        for number, domain in enumerate(domains):
            alice.send(f"<message to='x@{domain}' type='chat' id='f{number}'><body>x</body>"
                       "</message>")
            alice.expect(f"<message type='error' id='f{number}'/>")

    def failing():
        return alarms().get("s2s.partner-failing", {"detail": ""})["detail"]
    time.sleep(2.5)  # the alarm looks twice; one failure does not raise it
    assert failing() == ""
    until("alarm", lambda: fails_again(OTHER) or OTHER in failing())
    assert "failing since" in shown(one)
    route(one, OTHER, server.s2s_port)
    one.ctl_run("s2s", "retry", OTHER)  # unless it is forgotten already
    alice.send(f"<message to='bob@{OTHER}' type='chat'><body>x</body></message>")
    server.client("bob").expect("<message><body>x</body></message>")
    until("end of it", lambda: "s2s.partner-failing" not in alarms())
    assert metrics(one)[f'muster_s2s_domain_sent_total{{domain="{OTHER}"}}'] != "0"
    one.ctl("set", "s2s.metrics-domains", "3")
    until("both names", lambda: fails_again("third.test", "fourth.test") or
          "; also failing: " in failing())
    for domain in "third.test", "fourth.test":  # nobody misses what a rule forbids
        one.ctl("federation", "block", domain)
    until("no fault of theirs", lambda: "s2s.partner-failing" not in alarms())
    alice.send("<message to='x@fourth.test' type='chat' id='denied'><body>x</body></message>")
    alice.expect("<message type='error' id='denied'/>")
    assert "failing since" not in shown(one, "fourth.test")
