"""A server of ours and one of another make, which find each other by the DNS; and what works
between them whatever that make is."""
from harness import federation, xml
from harness.client import follow
from harness.prosody import Dns
from harness.server import free_ports

MUC = "http://jabber.org/protocol/muc"
OURS, THEIRS = "one.example", "partner.example"


def start(make_server, folder, kind, finish, settings=None, trusted=True, certificate=None,
          our_certificate=None, **options):
    """Starts both; options are of the other server, a class. What is to be finished is added to a
    list. The certificates: functions of the authority, in place of good ones."""
    authority = federation.Authority(folder)
    other = authority if trusted else federation.Authority(folder, "other")
    cert = (certificate(authority) if certificate is not None
            else other.issue("partner", THEIRS, f"conference.{THEIRS}"))
    tls = {**(our_certificate(authority) if our_certificate is not None
              else authority.issue("ours", OURS, f"conference.{OURS}")),
           "trust": str(authority.file)}
    ours = make_server("alice", "carol", domains=[OURS], s2s=True, tls=tls,
                       settings=federation.settings(**(settings or {})))
    c2s, s2s, dns = free_ports(3)
    hosts = {f"{label}{domain}": port for domain, port in ((OURS, ours.s2s_port), (THEIRS, s2s))
             for label in ("", "conference.")}
    finish.append(Dns(folder, dns, hosts, host=kind.host_of_others))
    theirs = kind(folder, THEIRS, {"c2s": c2s, "s2s": s2s, "dns": dns}, ["bob"],
                  authority=other.file, **cert, **options)
    finish.append(theirs)
    ours.ctl("set", "s2s.dns-servers", f"127.0.0.1:{dns}")
    return ours, theirs


def talk(one, other, mark):
    for n in range(3):
        one.send(f"<message to='{other}' type='chat' id='{mark}{n}'><body>{mark} {n} &amp;</body>"
                 "</message>")
    for n in range(3):
        other.expect(f"<message from='{one}' id='{mark}{n}'><body>{mark} {n} &amp;</body>"
                     "</message>")


def talk_both_ways(ours, theirs, first):
    """Messages from who is named first, and back."""
    alice, bob = ours.client("alice"), theirs.client("bob")
    pair = (alice, bob) if first == "alice" else (bob, alice)
    talk(*pair, "to")
    talk(*reversed(pair), "back")


def ask(ours, theirs, name_of_theirs):
    """Questions both ways."""
    alice, bob = ours.client("alice"), theirs.client("bob")
    for client, domain, name in (alice, THEIRS, name_of_theirs), (bob, OURS, "Muster"):
        version = client.result("get", "<query xmlns='jabber:iq:version'/>", to=domain)
        assert version.findtext("{jabber:iq:version}name") == name
        info = client.result("get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=domain)
        assert any(i.get("category") == "server" for i in info)
        assert client.error("get", "<query xmlns='urn:x'/>", to=f"nobody@{domain}")[0] == \
            "service-unavailable"


def subscribe(ours, theirs):
    """Subscriptions to presence both ways."""
    alice, bob = ours.client("alice"), theirs.client("bob")
    for client in alice, bob:  # they hear of changes from now on
        client.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    for one, other in (alice, bob), (bob, alice):
        follow(one, other)
        one.expect(f"<presence from='{other}'/>")
    bob.send("<presence><show>away</show></presence>")
    alice.expect(f"<presence from='{bob}'><show>away</show></presence>")
    alice.send("<presence><show>dnd</show></presence>")
    bob.expect(f"<presence from='{alice}'><show>dnd</show></presence>")
    second = ours.client("alice")  # a probe tells it of bob
    second.expect(f"<presence from='{bob}'><show>away</show></presence>")
    bob.send("<presence type='unavailable'/>")
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")


def meet(ours, theirs):
    """A room of each server, with an occupant of the other."""
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
