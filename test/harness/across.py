"""Two servers of ours that federate, with all their services, and users who know each other."""
from harness import federation, xml
from harness.client import follow

ONE, OTHER = "one.test", "other.test"
RECEIPTS, BLOCKING = "urn:xmpp:receipts", "urn:xmpp:blocking"
VERSION, CARBONS, MAM = "jabber:iq:version", "urn:xmpp:carbons:2", "urn:xmpp:mam:2"
SERVICES = "conference", "pubsub", "upload", "proxy", "chat"  # chat: an alias of group chat


def route(server, domain, port):
    """Tells a server where another one is, with its services."""
    for pattern in domain, f"*.{domain}":
        federation.route(server, pattern, port)


def start(make_server, folder, **options):
    """Both servers: alice and carol are users of the one, bob and dave of the other one."""
    authority = federation.Authority(folder)
    settings = {**federation.settings(), **options.pop("settings", {})}
    servers = []
    for users, domain in ((("alice", "carol"), ONE), (("bob", "dave"), OTHER)):
        names = [domain] + [f"{service}.{domain}" for service in SERVICES]
        tls = {**authority.issue(domain, *names), "trust": str(authority.file)}
        servers.append(make_server(*users, domains=[domain], s2s=True, tls=tls, settings=settings,
                                   **options))
    one, other = servers
    route(one, OTHER, other.port("s2s", ONE))
    route(other, ONE, one.port("s2s", OTHER))
    return one, other


def roster_of(client):
    """{bare JID: (subscription, ask)}, and the client hears of changes from now on."""
    query = client.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    return {i.get("jid"): (i.get("subscription"), i.get("ask")) for i in query}


def befriend(alice, bob):
    """They see each other's presence from now on."""
    for client in alice, bob:
        roster_of(client)
    for one, other in (alice, bob), (bob, alice):
        follow(one, other)
        one.expect(f"<presence from='{other}' type='-'/>")
    for one, other in (alice, bob), (bob, alice):
        one.expect("<iq type='set'><query xmlns='jabber:iq:roster'>"
                   f"<item jid='{other.bare}' subscription='both'/></query></iq>")


def mark(one, other, text="mark"):
    """What one has sent to the other before has arrived, by the same way."""
    one.send(f"<message to='{other}' type='headline' id='{text}'><body>{text}</body></message>")
    other.expect(f"<message from='{one}' id='{text}'/>")


def pushed(client, contact, **attributes):
    """The roster push that says how the subscription stands now."""
    more = "".join(f" {k}='{v}'" for k, v in attributes.items())
    return client.expect(f"<iq type='set'><query xmlns='{xml.ROSTER}'>"
                         f"<item jid='{contact}'{more}/></query></iq>")


def archived(client, contact):
    """The bodies that its archive has of that contact."""
    client.send(f"<iq type='set' id='q'><query xmlns='{MAM}'><x xmlns='jabber:x:data' "
                f"type='submit'><field var='FORM_TYPE'><value>{MAM}</value></field>"
                f"<field var='with'><value>{contact}</value></field></x></query></iq>")
    client.expect("<iq id='q' type='result'/>")
    found = [e for e in client.inbox if e.find(f"{{{MAM}}}result") is not None]
    client.inbox = [e for e in client.inbox if e not in found]
    return [b.text for e in found for b in e.iter(f"{{{xml.CLIENT}}}body")]
