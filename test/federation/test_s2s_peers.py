"""Federation with Prosody and ejabberd, in both directions; and what survives when streams to them
break."""
import itertools
import re

import pytest

from harness import ejabberd, federation, partner, prosody
from harness.client import until
from harness.links import PING, acknowledged, errors, hear, pending, say, stored, until_confirmed
from harness.partner import OURS, THEIRS
from harness.wire import Wire

KINDS = {"prosody": (prosody, prosody.Prosody), "ejabberd": (ejabberd, ejabberd.Ejabberd)}
STRICT = {"prosody": {"secure_auth": "true", "less": '"dialback";'}, "ejabberd": {"more": ""}}


@pytest.fixture(params=KINDS)
def kind(request):
    if not KINDS[request.param][0].is_here():
        pytest.skip(f"no {request.param}, or no dnsmasq")
    return request.param


@pytest.fixture
def federated(make_server, tmp_path, kind):
    """A function that starts both servers, with settings of ours and options of the other one;
    wired: by a wire from ours to theirs, which ends both connections of a stream at once."""
    started = []

    def start(wired=False, **options):
        ours, theirs = partner.start(make_server, tmp_path, KINDS[kind][1], started, **options)
        if not wired:
            return ours, theirs
        wire = Wire(theirs.s2s_port)
        federation.route(ours, THEIRS, wire.port)
        started.append(wire)
        return ours, theirs, wire
    yield start
    for one in reversed(started):
        getattr(one, "finish", getattr(one, "close", None))()


# --- other makes ---


@pytest.mark.parametrize("first", ["alice", "bob"])
@pytest.mark.parametrize("version", ["2", "3"])
def test_messages_with_certificates(federated, kind, first, version):
    """Of a request of ours (`cert csr`), which an authority signs that both trust."""
    authorities = []
    tls = {"ssl": f'protocol = "tlsv1_{version}";'} if kind == "prosody" else {
        "protocols": "no_tlsv1_3" if version == "2" else "no_tlsv1, no_tlsv1_1, no_tlsv1_2"}
    ours, theirs = federated(settings={"dialback": "off"}, **STRICT[kind], **tls,
                             our_certificate=lambda a: authorities.append(a) or {})
    signed = ours.folder / "signed.pem"
    signed.write_bytes(authorities[0].sign(ours.ctl("cert", "csr", OURS)["text"]))
    ours.ctl("cert", "import", OURS, "--file", signed)
    partner.talk_both_ways(ours, theirs, first)
    assert set(re.findall("auth=([a-z]+ tls=[^ ]+)", ours.log())) == {
        f"certificate tls=TLSv1.{version}"}
    partner.meet(ours, theirs)


@pytest.mark.parametrize("first", ["alice", "bob"])
def test_messages_with_dialback(federated, kind, first):
    ours, theirs = federated(settings={"verify_certificates": "off"}, trusted=False)
    partner.talk_both_ways(ours, theirs, first)
    assert ours.log().count("auth=dialback") == 2 and "auth=certificate" not in ours.log()
    partner.ask(ours, theirs, {"prosody": "Prosody", "ejabberd": "ejabberd"}[kind])


def test_subscriptions_both_ways(federated):
    partner.subscribe(*federated())


@pytest.mark.parametrize("more", ["", '"smacks";'], ids=["plain", "counted"])
@pytest.mark.parametrize("first", ["alice", "bob"])
@pytest.mark.parametrize("kind", ["prosody"], indirect=True)
def test_prosody_on_one_connection(federated, first, more):
    """XEP-0288; with XEP-0198 it asks for our acknowledgements."""
    ours, theirs = federated(more=f'"s2s_bidi"; {more}')
    partner.talk_both_ways(ours, theirs, first)
    assert {row["direction"] for row in ours.rows("s2s", "list")} == {"in", "out"}
    assert len({row["link"] for row in ours.rows("s2s", "list")}) == 1
    bob = theirs.client("bob", "second")
    say(bob, *range(20), to=f"carol@{OURS}")
    if more:
        until("the last acknowledgement", lambda: re.search(r"queue = 0 \(acked: \d", theirs.log()))
    hear(ours.client("carol"), *range(20))


# what is wrong with a certificate, and the part of the text about it that is the same for all
FAULTS = {
    "expired": (lambda a, name, *domains: a.issue(name, *domains, begins=-20, ends=-2), "expired"),
    "self-signed": (lambda a, name, *domains: federation.self_signed(a.folder, name, *domains),
                    "self-signed"),
    "unknown": (lambda a, name, *domains: federation.Authority(a.folder, "rogue")
                .issue(name, *domains), "unable to get local issuer"),
    "name": (lambda a, name, *domains: a.issue(name, "else.example"), "does not name"),
}
SAYS = {"prosody": "the server says: not-authorized: Your server's certificate ",
        "ejabberd": "it refuses our certificate ("}  # of our certificate


@pytest.mark.parametrize("whose", ["theirs", "ours"])
@pytest.mark.parametrize("fault", FAULTS)
def test_certificates_that_are_refused(federated, kind, fault, whose):
    """Nothing comes in either direction; senders are told, the log, and `s2s trace`."""
    make, text = FAULTS[fault]
    domain = THEIRS if whose == "theirs" else OURS
    bad = {"certificate" if whose == "theirs" else "our_certificate":
           lambda a: make(a, "bad", domain, f"conference.{domain}")}
    ours, theirs = federated(settings={"dialback": "off", "retry_for": "0s"}, **bad,
                             **(STRICT[kind] if whose == "ours" else {}))
    alice, bob = ours.client("alice"), theirs.client("bob")
    assert alice.error("get", PING, to=THEIRS)[0].startswith("remote-server-")
    text = f"its certificate is refused: .*{text}" if whose == "theirs" else re.escape(SAYS[kind])
    ours.wait_log(f"event=s2s.(host|failed) domain={THEIRS} .*{text}")
    done = ours.ctl_run("s2s", "trace", THEIRS)
    assert done.returncode == 1 and re.search(text.rpartition(".*")[2], done.stdout)
    assert ("cert-trust add" if whose == "theirs" else "`musterctl cert check`") in done.stderr
    say(bob, 0, to=alice.bare)
    bob.expect("<message type='error' id='m0'/>")
    alice.expect_nothing("<message/>")


# --- streams to other makes that break ---

MAKES = pytest.mark.parametrize("kind, options", [
    ("prosody", {"more": '"smacks"; "offline";'}), ("prosody", {"more": '"offline";'}),
    ("ejabberd", {"more": "mod_offline: {}\n  mod_s2s_dialback: {}"})],
    ids=["Prosody, XEP-0198", "Prosody", "ejabberd"], indirect=["kind"])


class Ear:
    """What of alice's messages has come to bob: all of them, in order when they first came."""

    def __init__(self, client):
        self.client, self.got, self.returned = client, [], set()

    def numbers(self):
        self.client.pump(0.1)
        for e in self.client.inbox:
            if (e.get("id") or "").startswith("m"):
                n = int(e.get("id")[1:])
                self.returned.add(n) if e.get("type") == "error" else self.got.append(n)
        self.client.inbox.clear()
        return set(self.got)

    def until(self, *numbers):
        until("all of them", lambda: set(numbers) <= self.numbers())
        first = list(dict.fromkeys(self.got))
        assert first == sorted(first)


@MAKES
@pytest.mark.parametrize("how", ["cut", "close", "restart"])
def test_streams_that_end_in_a_flood_lose_nothing_of_ours(federated, options, how):
    ours, theirs, wire = federated(wired=True, **options)
    alice, ear = ours.client("alice"), Ear(theirs.client("bob"))
    bob = ear.client
    say(alice, 0, to=bob)
    hear(bob, 0)
    until_confirmed(ours)
    for n in range(1, 201):
        seen = wire.seen
        say(alice, n, to=bob)
        if n in (60, 120):
            until("more are under way", lambda seen=seen: wire.seen > seen)
            if how == "cut":
                wire.say("c")
            elif how == "close":
                ours.ctl("s2s", "close", THEIRS)
            else:
                alice.ping()
                ours.restart()
                alice = ours.client("alice")
    ear.until(*range(1, 201))
    until_confirmed(ours)
    assert errors(alice) == []


@MAKES
def test_our_server_is_killed_in_a_flood(federated, options):
    """Both ways: what was acknowledged to a client arrives, in order; so does what the other server
    sends and counts, but for what it has returned itself."""
    ours, theirs, _ = federated(wired=True, settings={"ack_timeout": "5s"}, **options)
    alice, ear = ours.client("alice"), Ear(theirs.client("bob"))
    bob = ear.client
    alice.enable_sm()
    say(alice, 0, to=bob)
    hear(bob, 0)
    say(bob, 1000, to=alice.bare)
    hear(alice, 1000)
    until_confirmed(ours)
    for n in range(1, 200):
        say(alice, n, to=bob)
        say(bob, 1000 + n, to=alice.bare)
    until("some are acknowledged", lambda: acknowledged(alice) > 20)
    sure = acknowledged(alice)
    ours.kill()
    ear.numbers()
    ours.start()
    until("all that was acknowledged", lambda: set(range(1, sure)) <= ear.numbers())
    probe = itertools.count(2000)
    until("the way back", lambda: (say(bob, next(probe), to=alice.bare), ear.numbers(), [
        n for n in stored(ours) if int(n) >= 2000])[2])
    if "smacks" in options["more"]:  # it knows by XEP-0198 what we have not got
        until("each is here or was returned", lambda: (ear.numbers(), set(range(1000, 1200)) <= {
            *map(int, stored(ours))} | ear.returned)[1])
    mine = [int(n) for n in stored(ours) if 1000 <= int(n) < 1200]
    assert mine == sorted(set(mine))  # repeats are known by their origin-ids
    until_confirmed(ours)  # by pings, if its way back is there
    ear.until()


@MAKES
def test_another_make_is_killed_in_a_flood(federated, options):
    """What our user has sent arrives, in order, as soon as it is back; none is returned."""
    ours, theirs = federated(settings={"ack_timeout": "5s"}, **options)
    alice, ear = ours.client("alice"), Ear(theirs.client("bob"))
    say(alice, 0, to=ear.client)
    hear(ear.client, 0)
    until_confirmed(ours)
    for n in range(1, 300):
        say(alice, n, to=ear.client.bare)
        if n == 150:
            theirs.kill()
    ear.numbers()
    theirs.begin()
    ours.ctl_run("s2s", "retry", THEIRS)  # unless it has come by itself
    ear.client = theirs.client("bob")
    until("all that it may have lost", lambda: ear.numbers() >= set(range(200, 300)))
    until("the others", lambda: ear.numbers() and pending(ours) == 0)
    ear.until(*range(160, 300))
    assert errors(alice) == []
