"""Guessing of passwords: the throttle of logins holds whatever is tried at once, and shuts nobody
out of their own account."""
import contextlib
import time
import uuid

import pytest

from harness import sasl, xml
from harness.bosh import Bosh
from harness.client import until
from harness.websocket import WebSocket


BIND = f"<bind xmlns='{xml.BIND2}'/>"
MANY = 300
LIMIT = 10  # auth.failures-per-account
STEADY = {"auth.failure-window": "1h", "auth.block-time": "1h"}


@pytest.fixture
def server(make_server):
    return make_server("alice", "bob", settings=STEADY, why="no time is over on a slow machine")


def over_tcp(server, name):
    return server.connect(name, password="wrong")


def over_websocket(server, name):
    client = WebSocket(("127.0.0.1", server.https_port), name=name, password="wrong", tls=True)
    client.open()
    return client


def over_bosh(server, name):
    client = Bosh(("127.0.0.1", server.https_port), name=name, password="wrong", tls=True)
    client.open()
    return client


WAYS = [over_tcp, over_websocket, over_bosh]


def condition(element):
    return element[0].tag.partition("}")[2]


def metric(server, name):
    return {row["name"]: row["value"] for row in server.rows("metrics")}[name]


def from_address(server, name, last, password="secret"):
    """By another address of loopback."""
    client = server.dial(name, tls="none", source=f"127.0.0.{last}", password=password)
    client.open()
    client.starttls()
    return client


# --- many at once ---


class Exchange:
    """One login that is begun, and finished later."""

    def __init__(self, client, kind):
        self.client, self.kind = client, kind
        self.name = client.name

    def begin(self):
        if self.kind == "SCRAM":
            self.machine = sasl.Scram("SCRAM-SHA-256", self.name, "wrong")
            self.client.sasl_start("SCRAM-SHA-256", self.machine.first())
        elif self.kind == "SCRAM2":
            self.machine = sasl.Scram("SCRAM-SHA-256", self.name, "wrong")
            self.client.sasl2_start("SCRAM-SHA-256", self.machine.first())

    def finish(self):
        if self.kind == "SCRAM":
            kind, value = self.client.sasl_answer()
            if kind == "failure":
                self.refused = value
            else:
                self.refused = None
                self.client.sasl_respond(self.machine.final(value))
        elif self.kind == "SCRAM2":
            answer = self.client.sasl2_next()
            self.refused = condition(answer) if answer.tag.endswith("failure") else None
            if self.refused is None:
                self.client.sasl2_say("response", self.machine.final(sasl.decode(answer.text)))
        else:
            self.refused = None
            if self.kind == "PLAIN":
                self.client.sasl_start("PLAIN", sasl.plain(self.name, "wrong"))
            elif self.kind == "PLAIN2":
                self.client.sasl2_start("PLAIN", sasl.plain(self.name, "wrong"))
            else:
                token = sasl.Token(self.name, "x" * 48)
                self.client.sasl2_start("HT-SHA-256-NONE", token.first(), agent=uuid.uuid4(),
                                        inner=f"<fast xmlns='{xml.FAST}'/>" + BIND)

    def verdict(self):
        if self.refused is not None:
            return self.refused
        if self.kind in ("SCRAM", "PLAIN"):
            return self.client.sasl_answer()[1]
        return condition(self.client.sasl2_next())


@pytest.mark.parametrize("kind, way, many", [
    ("SCRAM", over_tcp, MANY), ("PLAIN", over_tcp, MANY), ("SCRAM2", over_tcp, 60),
    ("PLAIN2", over_tcp, 60), ("FAST", over_tcp, 60),
    ("SCRAM", over_websocket, 60), ("PLAIN2", over_websocket, 60),
    ("SCRAM", over_bosh, 60), ("PLAIN2", over_bosh, 60)])
def test_many_at_once_get_no_more_guesses_than_in_a_row(server, kind, way, many):
    exchanges = [Exchange(way(server, "alice"), kind) for _ in range(many)]
    for step in ("begin", "finish"):
        for exchange in exchanges:
            getattr(exchange, step)()
    verdicts = [exchange.verdict() for exchange in exchanges]
    assert verdicts.count("not-authorized") == LIMIT
    assert verdicts.count("temporary-auth-failure") == many - LIMIT


def test_the_limit_holds_over_all_ways(server):
    verdicts = []
    for _ in range(4):
        for way in WAYS:
            exchange = Exchange(way(server, "alice"), "PLAIN2")
            exchange.begin()
            exchange.finish()
            verdicts.append(exchange.verdict())
    assert verdicts == ["not-authorized"] * LIMIT + ["temporary-auth-failure"] * 2


def test_the_right_password_is_not_compared_either(server):
    """Else the answer to a blocked guess would tell whether it was right."""
    right = server.connect("alice")
    scram = sasl.Scram("SCRAM-SHA-256", "alice", "secret")
    right.sasl_start("SCRAM-SHA-256", scram.first())
    final = scram.final(right.sasl_answer()[1])
    for _ in range(LIMIT):
        assert server.connect("alice").authenticate(password="wrong") == "not-authorized"
    right.sasl_respond(final)
    assert right.sasl_answer() == ("failure", "temporary-auth-failure")


def test_exchanges_that_are_not_finished_count_nothing(server):
    clients = [server.connect("alice") for _ in range(40)]
    for client in clients:
        client.sasl_start("SCRAM-SHA-256", sasl.Scram("SCRAM-SHA-256", "alice", "x").first())
        assert client.sasl_answer()[0] == "challenge"
        client.cut()
    server.login("alice").ping()
    server.login("alice", mechanism="SCRAM-SHA-256").ping()


def test_many_right_logins_at_once(server):
    """From one address, as of a company: nobody is refused."""
    clients = [server.connect(name) for _ in range(60) for name in ("alice", "bob")]
    for client in clients:
        client.sasl_start("PLAIN", sasl.plain(client.name, "secret"))
    assert [client.sasl_answer()[0] for client in clients] == ["success"] * len(clients)


def guesses_in_a_row(seconds, limit):
    """So many wrong passwords of one account are heard in this time, one after the other, each from
    another address."""
    heard, now = 0, 0.0
    while True:
        pace = 0 if heard < limit else min(8, 1 << (heard // limit).bit_length() - 1)
        now += pace
        if now > seconds:
            return heard
        heard += 1


LONGEST = 16  # seconds that an attempt waits for its turn


def answered(client):
    client.pump(0)
    return any(e.tag.endswith(("failure", "success")) for e in client.inbox)


@pytest.mark.parametrize("kind", ["SCRAM", "PLAIN", "SCRAM2", "PLAIN2", "FAST"])
def test_a_crowd_gets_no_more_guesses_than_a_row(server, kind):
    """From many addresses, none of which has failed too often."""
    limit = 2
    server.ctl("set", "auth.failures-per-account", limit)
    crowd = [Exchange(from_address(server, "alice", last, "wrong"), kind)
             for last in range(20, 80) for _ in range(limit)]
    began = time.monotonic()
    for step in ("begin", "finish"):
        for exchange in crowd:
            getattr(exchange, step)()
    clients = [e.client for e in crowd if e.refused is None]
    assert len(clients) >= 60  # SCRAM: nobody is heard before the proof


    def turns():
        return metric(server, "muster_auth_slowed")

    until("they are answered, or wait",
          lambda: sum(map(answered, clients)) + turns() >= len(clients))
    heard = sum("not-authorized" in xml.canonical(e) for c in clients for e in c.inbox)
    row = guesses_in_a_row(time.monotonic() - began + LONGEST, limit)
    assert limit <= heard <= limit + turns() <= row
    refused = next(c for c in clients if c.inbox and "temporary" in xml.canonical(c.inbox[0]))
    assert "try again in a minute" in xml.canonical(refused.inbox[0])
    owner = from_address(server, "bob", 2)
    assert owner.authenticate() is None


# --- nobody is locked out ---


def test_guesses_of_others_lock_nobody_out(server):
    for _ in range(LIMIT):
        assert from_address(server, "alice", 2, "wrong").authenticate() == "not-authorized"
    assert from_address(server, "alice", 2).authenticate() == "temporary-auth-failure"
    server.login("alice").ping()
    server.wait_log("event=auth.blocked what=\"account at address\" jid=alice@localhost "
                    "peer=127.0.0.2 failures=10")
    assert metric(server, "muster_auth_blocks") == 1


def test_an_account_that_is_guessed_everywhere_is_slowed_down(server):
    """For those who were not here before; not for those who were."""
    server.login("alice").close()
    for last in range(LIMIT):
        client = from_address(server, "alice", last + 10, "wrong")
        assert client.authenticate() == "not-authorized"
    server.wait_log("event=auth.slowed jid=alice@localhost")
    server.login("alice").close()
    assert metric(server, "muster_auth_slowed") == 0
    began = time.monotonic()
    assert from_address(server, "alice", 2).authenticate() is None
    assert time.monotonic() - began > 0.9
    assert metric(server, "muster_auth_slowed") == 1
    assert from_address(server, "bob", 2).authenticate() is None


def test_a_stream_may_end_while_it_is_slowed_down(server):
    for last in range(LIMIT):
        assert from_address(server, "alice", last + 10, "wrong").authenticate() == "not-authorized"
    streams = metric(server, "muster_c2s_streams")
    for last in range(2, 5):
        slowed = metric(server, "muster_auth_slowed")
        client = from_address(server, "alice", last)
        client.sasl_start("PLAIN", sasl.plain("alice", "secret"))
        until("slowed", lambda before=slowed: metric(server, "muster_auth_slowed") > before)
        client.cut()
    until("they are gone", lambda: metric(server, "muster_c2s_streams") == streams)


@pytest.mark.parametrize("after_restart", [False, True])
def test_known_devices_and_addresses_pass(server, after_restart):
    """Though their address is refused as a whole, and, after a restart, by what is stored."""
    phone = str(uuid.uuid4())
    client = server.connect("alice")
    assert client.sasl2(agent=phone, inner=BIND).tag.endswith("success")
    client.close()
    if after_restart:
        server.restart()
    for guess in range(20):
        assert server.connect(f"nobody{guess}").authenticate() == "not-authorized"
    assert server.connect("nobody").authenticate() == "temporary-auth-failure"
    assert server.connect("bob").authenticate() == "temporary-auth-failure"
    assert server.connect("alice").authenticate("SCRAM-SHA-256") is None
    for guess in range(LIMIT):
        assert from_address(server, "alice", 2, "wrong").authenticate() == "not-authorized"
    client = from_address(server, "alice", 2)
    assert condition(client.sasl2(agent=uuid.uuid4(), inner=BIND)) == "temporary-auth-failure"
    client = from_address(server, "alice", 2)
    assert client.sasl2("SCRAM-SHA-256", agent=phone, inner=BIND).tag.endswith("success")


def test_the_device_of_another_account_is_not_known(server):
    phone = str(uuid.uuid4())
    assert server.connect("bob").sasl2(agent=phone, inner=BIND).tag.endswith("success")
    for _ in range(LIMIT):
        assert from_address(server, "alice", 2, "wrong").authenticate() == "not-authorized"
    client = from_address(server, "alice", 2)
    assert condition(client.sasl2(agent=phone, inner=BIND)) == "temporary-auth-failure"


def test_guesses_with_a_known_device_end_too(server):
    phone = str(uuid.uuid4())
    assert server.connect("alice").sasl2(agent=phone, inner=BIND).tag.endswith("success")
    answers = []
    for _ in range(2 * LIMIT + 1):
        client = from_address(server, "alice", 2, "wrong")
        answers.append(condition(client.sasl2(agent=phone, inner=BIND)))
    assert answers == ["not-authorized"] * 2 * LIMIT + ["temporary-auth-failure"]


@pytest.mark.parametrize("known", [True, False])
def test_unknown_names_are_throttled_like_known_ones(server, known):
    name = "alice" if known else "nobody"
    answers = [server.connect(name).authenticate(mechanism, password="wrong")
               for mechanism in ("PLAIN", "SCRAM-SHA-1") * 6]
    assert answers == ["not-authorized"] * LIMIT + ["temporary-auth-failure"] * 2


# --- PLAIN costs the server ---


def test_wrong_passwords_of_one_address_do_not_hold_up_another(make_server):
    """Each takes some 100 ms here; the other address has its turn after at most one of them."""
    server = make_server("alice", start=False, settings={
        "auth.scram-iterations": "200000", "auth.failures-per-address": "none",
        "auth.failures-per-account": "none"}, why="work that waits, and is not refused")
    server.start()
    for name in ("alice", "bob"):
        server.add_user(name)
    crowd = [server.connect("alice") for _ in range(60)]
    other = from_address(server, "bob", 2)
    for client in crowd:
        client.sasl_start("PLAIN", sasl.plain("alice", "wrong"))
    assert other.authenticate() is None
    answered = sum(client.pump(0) for client in crowd)
    assert answered < len(crowd) // 2


@pytest.mark.parametrize("how", ["stop", "restart"])
def test_a_stop_forgets_what_has_not_begun(make_server, how):
    server = make_server(start=False, settings={
        "auth.scram-iterations": "250000", "auth.failures-per-address": "none",
        "auth.failures-per-account": "none"}, why="work that waits, and is not refused")
    server.start()
    server.add_user("alice")
    crowd = [server.connect("alice") for _ in range(120)]
    for client in crowd:
        client.sasl_start("PLAIN", sasl.plain("alice", "wrong"))
    crowd[0].sasl_answer()
    if how == "stop":
        server.stop()
    else:
        server.ctl("server", "restart")
        until("it is back", lambda: server.log().count("event=server.ready") == 2)
    assert "without waiting" not in server.log()
    for client in crowd:
        with contextlib.suppress(OSError):
            client.cut()
