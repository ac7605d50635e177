"""Federation with Prosody, in both directions."""
import pytest

from muster import federation, prosody, xml
from muster.client import until
from muster.prosody import Dns, Prosody
from muster.server import free_ports

pytestmark = pytest.mark.skipif(not prosody.is_here(), reason="no Prosody, or no dnsmasq")
MUC = "http://jabber.org/protocol/muc"
OURS, THEIRS = "one.example", "partner.example"


@pytest.fixture
def federated(make_server, tmp_path):
    """A function that starts a server of ours and a Prosody, which find each other; with options of
    the latter."""
    started = []

    def start(settings=None, trusted=True, **options):
        authority = federation.Authority(tmp_path)
        other = authority if trusted else federation.Authority(tmp_path, "other")
        cert = other.issue("partner", THEIRS, f"conference.{THEIRS}")
        tls = {**authority.issue("ours", OURS, f"conference.{OURS}"), "trust": str(authority.file)}
        ours = make_server("alice", "carol", domains=[OURS], s2s=True, tls=tls,
                           settings=federation.settings(**(settings or {})))
        c2s, s2s, dns = free_ports(3)
        hosts = {f"{label}{domain}": port for domain, port in ((OURS, ours.s2s_port), (THEIRS, s2s))
                 for label in ("", "conference.")}
        started.append(Dns(tmp_path, dns, hosts))
        theirs = Prosody(tmp_path, THEIRS, {"c2s": c2s, "s2s": s2s, "dns": dns}, ["bob"],
                         authority=other.file, **cert, **options)
        started.append(theirs)
        ours.ctl("set", "s2s.dns-servers", f"127.0.0.1:{dns}")
        return ours, theirs
    yield start
    for process in started:
        process.finish()


def talk(one, other, mark):
    for n in range(3):
        one.send(f"<message to='{other}' type='chat' id='{mark}{n}'><body>{mark} {n} &amp;</body>"
                 "</message>")
    for n in range(3):
        other.expect(f"<message from='{one}' id='{mark}{n}'><body>{mark} {n} &amp;</body>"
                     "</message>")


@pytest.mark.parametrize("first", ["alice", "bob"])
@pytest.mark.parametrize("protocol", ["tlsv1_2", "tlsv1_3"])
def test_messages_with_certificates(federated, first, protocol):
    ours, theirs = federated(settings={"dialback": "off"}, secure_auth="true", less='"dialback";',
                             ssl=f'protocol = "{protocol}";')
    alice, bob = ours.client("alice"), theirs.client("bob")
    pair = (alice, bob) if first == "alice" else (bob, alice)
    talk(*pair, "to")
    talk(*reversed(pair), "back")
    assert f"auth=certificate tls={protocol.replace('tlsv1_', 'TLSv1.')}" in ours.log()
    assert "auth=dialback" not in ours.log()


@pytest.mark.parametrize("first", ["alice", "bob"])
def test_messages_with_dialback(federated, first):
    ours, theirs = federated(settings={"verify_certificates": "off"}, trusted=False)
    alice, bob = ours.client("alice"), theirs.client("bob")
    pair = (alice, bob) if first == "alice" else (bob, alice)
    talk(*pair, "to")
    talk(*reversed(pair), "back")
    assert ours.log().count("auth=dialback") == 2
    assert "auth=certificate" not in ours.log()


def test_questions_both_ways(federated):
    ours, theirs = federated()
    alice, bob = ours.client("alice"), theirs.client("bob")
    for client, domain, name in (alice, THEIRS, "Prosody"), (bob, OURS, "Muster"):
        version = client.result("get", "<query xmlns='jabber:iq:version'/>", to=domain)
        assert version.findtext("{jabber:iq:version}name") == name
        info = client.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=domain)
        assert any(i.get("category") == "server" for i in info)
        assert client.error("get", "<query xmlns='urn:x'/>", to=f"nobody@{domain}")[0] == \
            "service-unavailable"


def test_presence_subscriptions_both_ways(federated):
    ours, theirs = federated()
    alice, bob = ours.client("alice"), theirs.client("bob")
    for client in alice, bob:  # they hear of changes from now on
        client.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    for one, other in (alice, bob), (bob, alice):
        one.send(f"<presence to='{other.bare}' type='subscribe'/>")
        other.expect(f"<presence from='{one.bare}' type='subscribe'/>")
        other.send(f"<presence to='{one.bare}' type='subscribed'/>")
        one.expect(f"<presence from='{other.bare}' type='subscribed'/>")
        one.expect(f"<presence from='{other}'/>")
    bob.send("<presence><show>away</show></presence>")
    alice.expect(f"<presence from='{bob}'><show>away</show></presence>")
    alice.send("<presence><show>dnd</show></presence>")
    bob.expect(f"<presence from='{alice}'><show>dnd</show></presence>")
    second = ours.client("alice")  # a probe tells it of bob
    second.expect(f"<presence from='{bob}'><show>away</show></presence>")
    bob.send("<presence type='unavailable'/>")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")


def test_rooms_both_ways(federated):
    ours, theirs = federated()
    alice, bob = ours.client("alice"), theirs.client("bob")
    for domain, owner, guest in (OURS, alice, bob), (THEIRS, bob, alice):
        room = f"room@conference.{domain}"
        for client, nick in (owner, "owner"), (guest, "guest"):
            client.send(f"<presence to='{room}/{nick}'><x xmlns='{MUC}'/></presence>")
            presence = client.expect(f"<presence from='{room}/{nick}'/>")
            assert presence.get("type") is None
            client.expect(f"<message from='{room}' type='groupchat'><subject/></message>")
            if client is owner:
                owner.result("set", "<query xmlns='http://jabber.org/protocol/muc#owner'>"
                             "<x xmlns='jabber:x:data' type='submit'/></query>", to=room)
        for client, nick in (owner, "owner"), (guest, "guest"):
            client.send(f"<message to='{room}' type='groupchat'><body>by {nick}</body></message>")
            for listener in owner, guest:
                listener.expect(f"<message from='{room}/{nick}' type='groupchat'>"
                                f"<body>by {nick}</body></message>")
        guest.send(f"<presence to='{room}/guest' type='unavailable'/>")
        owner.expect(f"<presence from='{room}/guest' type='unavailable'/>")


def test_messages_are_archived_copied_and_delivered_late(federated):
    ours, theirs = federated()
    alice, bob = ours.client("alice", "a"), theirs.client("bob")
    second = ours.client("alice", "b")
    second.result("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    alice.send(f"<message to='{bob}' type='chat' id='m1'><body>one</body></message>")
    bob.expect("<message id='m1'><body>one</body></message>")
    bob.send(f"<message to='{alice}' type='chat' id='m2'><body>two</body></message>")
    alice.expect(f"<message from='{bob}' id='m2'><body>two</body></message>")
    until("both copies", lambda: (second.pump(0.1), sum(
        e.find("{urn:xmpp:carbons:2}sent") is not None
        or e.find("{urn:xmpp:carbons:2}received") is not None for e in second.inbox) == 2)[1])
    bob.send(f"<message to='carol@{OURS}' type='chat' id='m3'><body>late</body></message>")
    carol = ours.client("carol")
    carol.expect("<message id='m3'><body>late</body></message>")
    alice.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
    found = [alice.expect("<message><result xmlns='urn:xmpp:mam:2'/></message>") for _ in range(2)]
    texts = ["".join(e.itertext()) for e in found]
    assert "one" in texts[0] and "two" in texts[1]
