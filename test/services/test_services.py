"""Small services: disco, caps, ping, version, time, last, vCard, registration, private XML."""
import base64
import hashlib
import re
import time

import pytest

from harness import xml
from harness.client import until
from harness.registration import REGISTER, cancel, change

INFO = f"<query xmlns='{xml.DISCO_INFO}'/>"
ITEMS = f"<query xmlns='{xml.DISCO_ITEMS}'/>"
VCARD = "<vCard xmlns='vcard-temp'>{}</vCard>"


def features(info):
    return {f.get("var") for f in info.iter(f"{{{xml.DISCO_INFO}}}feature")}


def identities(info):
    return {(i.get("category"), i.get("type")) for i in
            info.iter(f"{{{xml.DISCO_INFO}}}identity")}


# --- XEP-0030, XEP-0115 ---


def test_disco_of_the_server(alice):
    info = alice.result("get", INFO, to="localhost")
    assert ("server", "im") in identities(info)
    assert {xml.DISCO_INFO, xml.DISCO_ITEMS, "urn:xmpp:ping", "jabber:iq:version",
            "urn:xmpp:time", "jabber:iq:last", "vcard-temp", "jabber:iq:private"} \
        <= features(info)
    assert alice.result("get", ITEMS, to="localhost").tag == f"{{{xml.DISCO_ITEMS}}}query"


def test_disco_of_the_server_tells_of_publish_subscribe(alice):
    """Clients of the first forms of PEP (XEP-0163) look for it at the server."""
    assert "http://jabber.org/protocol/pubsub" in features(alice.result("get", INFO,
                                                                        to="localhost"))


def test_disco_of_the_own_account(alice):
    for address in (alice.bare, None):
        info = alice.result("get", INFO, to=address)
        assert ("account", "registered") in identities(info)


def test_disco_of_strangers_says_nothing(alice, bob):
    """XEP-0030 §8: whether an account exists or is online is not told to strangers."""
    answers = {alice.error("get", INFO, to=to)
               for to in ("bob@localhost", "nobody@localhost", "bob@localhost/gone")}
    assert answers == {("service-unavailable", "cancel")}


def test_disco_of_a_client(alice, bob):
    alice.send(f"<iq type='get' to='{bob}' id='d'>{INFO}</iq>")
    bob.expect(f"<iq from='{alice}' id='d'>{INFO}</iq>")


def test_disco_of_an_unknown_node(alice):
    condition, _ = alice.error("get", f"<query xmlns='{xml.DISCO_INFO}' node='no such'/>",
                               to="localhost")
    assert condition == "item-not-found"


def test_caps_of_the_server(server, alice):
    """XEP-0115 §5: the hash in the stream features is the hash of the disco answer."""
    caps = alice.features.find("{http://jabber.org/protocol/caps}c")
    node = f"{caps.get('node')}#{caps.get('ver')}"
    info = alice.result("get", f"<query xmlns='{xml.DISCO_INFO}' node='{node}'/>", to="localhost")
    text = "".join(sorted(
        f"{i.get('category')}/{i.get('type')}/{i.get(xml.LANG) or ''}/{i.get('name') or ''}<"
        for i in info.iter(f"{{{xml.DISCO_INFO}}}identity")))
    text += "".join(f"{f}<" for f in sorted(features(info)))
    forms = []
    for form in info.iter("{jabber:x:data}x"):
        fields = {f.get("var"): sorted(v.text or "" for v in f) for f in form}
        kind = fields.pop("FORM_TYPE")[0]
        forms.append(f"{kind}<" + "".join(
            f"{var}<" + "".join(f"{v}<" for v in fields[var]) for var in sorted(fields)))
    text += "".join(sorted(forms))
    assert caps.get("hash") == "sha-1"
    assert caps.get("ver") == base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()


# --- XEP-0199, 0092, 0202, 0012 ---


@pytest.mark.parametrize("to", ["localhost", "alice@localhost", None])
def test_ping(alice, to):
    assert alice.result("get", "<ping xmlns='urn:xmpp:ping'/>", to=to) is None


def test_server_pings_idle_clients(make_server):
    """A client that answers stays; the error it may answer with counts as well. Some are on the
    worker of their session, some on another where they do not move."""
    server = make_server("alice", settings={"c2s.idle-ping": "1s"})
    clients = [server.client("alice") for _ in range(6)]
    for kind in ("result", "error"):
        for client in clients:
            ping = client.expect(f"<iq type='get' from='localhost' to='{client}'>"
                                 "<ping xmlns='urn:xmpp:ping'/></iq>")
            client.send(f"<iq type='{kind}' id='{ping.get('id')}' to='localhost'/>")
    for client in clients:
        client.ping()


def test_server_asks_idle_clients_for_acknowledgements(make_server):
    server = make_server("alice", settings={"c2s.idle-ping": "1s"})
    clients = [server.client("alice") for _ in range(6)]
    for client in clients:
        client.enable_sm()
    for client in clients:
        client.wait("<r/>", lambda c=client: any(e.tag == f"{{{xml.SM}}}r" for e in c.log))
        client.ping()


def test_silent_clients_are_closed(make_server):
    """A peer that answers no ping is gone (RFC 6120 §4.6.4): contacts learn of it."""
    server = make_server("alice", "bob", settings={"c2s.idle-ping": "1s",
                                                   "c2s.ping-timeout": "1s"})
    server.befriend("alice", "bob")
    alice = server.client("alice")
    bob = server.client("bob")
    alice.expect(f"<presence from='{bob}' type='-'/>")

    def bob_is_gone():
        alice.raw(" ")  # not silent itself
        alice.pump(0.1)
        return any(xml.matches(e, f"<presence from='{bob}' type='unavailable'/>")
                   for e in alice.inbox)
    until("end of bob", bob_is_gone)
    bob.expect_stream_error("connection-timeout")


def test_version(alice):
    version = alice.result("get", "<query xmlns='jabber:iq:version'/>", to="localhost")
    fields = {e.tag.partition("}")[2]: e.text for e in version}
    assert fields["name"] == "Muster" and re.match(r"\d+\.\d+", fields["version"])


def test_time(alice):
    time = alice.result("get", "<time xmlns='urn:xmpp:time'/>", to="localhost")
    fields = {e.tag.partition("}")[2]: e.text for e in time}
    assert re.fullmatch(r"[+-]\d\d:\d\d|Z", fields["tzo"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", fields["utc"])


def last(client, to):
    return client.result("get", "<query xmlns='jabber:iq:last'/>", to=to)


def test_uptime(alice):
    assert 0 <= int(last(alice, "localhost").get("seconds")) < 60


def test_last_activity_of_a_contact(server):
    """XEP-0012 §3: 0 while online; seconds since and last status when away."""
    server.befriend("alice", "bob")
    alice, bob = server.client("alice"), server.client("bob")
    assert last(alice, "bob@localhost").get("seconds") == "0"
    bob.send("<presence type='unavailable'><status>tea</status></presence>")
    bob.ping()
    bob.close()
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    answer = last(alice, "bob@localhost")
    assert 0 <= int(answer.get("seconds")) < 60 and answer.text == "tea"


def last_row(server, name):
    """The time of the row in the database of a server that is down; µs."""
    with server.database() as db:
        return db.execute("SELECT at_us FROM last JOIN account ON id = owner WHERE jid = ?",
                          (f"{name}@localhost",)).fetchone()[0]


def test_last_activity_of_who_was_cut_by_a_planned_restart(server):
    """The end of the server is the end of their activity."""
    server.befriend("alice", "bob")
    server.client("bob").ping()
    before = time.time_ns() // 1000
    server.stop()
    assert before <= last_row(server, "bob") <= time.time_ns() // 1000
    server.start()
    assert 0 <= int(last(server.client("alice"), "bob@localhost").get("seconds")) < 60


def test_last_activity_of_who_was_cut_by_a_crash(server):
    """What was known before stays; nothing is made up."""
    server.befriend("alice", "bob")
    bob, carol = server.client("bob"), server.client("carol")
    before = time.time_ns() // 1000
    for client in (bob, carol):
        private(client, "set", "<x xmlns='urn:x'/>")  # what was written before is there
    server.kill()
    assert last_row(server, "bob") <= before
    server.start()
    assert 0 <= int(last(server.client("alice"), "bob@localhost").get("seconds")) < 60
    condition, _ = server.login("carol").error("get", "<query xmlns='jabber:iq:last'/>")
    assert condition == "item-not-found"


def test_last_activity_of_a_stranger(alice, bob):
    for to in ("bob@localhost", "nobody@localhost"):
        condition, _ = alice.error("get", "<query xmlns='jabber:iq:last'/>", to=to)
        assert condition in ("forbidden", "service-unavailable")


# --- XEP-0054 ---


def test_vcard(server, alice):
    card = ("<FN>Alice \u20ac</FN><N><FAMILY>A</FAMILY></N><PHOTO><TYPE>image/png</TYPE><BINVAL>"
            + "QUJD" * 2000 + "</BINVAL></PHOTO><X-A xmlns='urn:x'>1</X-A>")
    assert alice.result("set", VCARD.format(card)) is None
    for to in (None, alice.bare):
        found = alice.result("get", VCARD.format(""), to=to)
        assert xml.canonical(found) == xml.canonical(xml.parse(VCARD.format(card)))
    alice.close()
    server.kill()
    server.start()
    bob = server.client("bob")
    found = bob.result("get", VCARD.format(""), to="alice@localhost")
    assert xml.matches(found, VCARD.format("<FN>Alice \u20ac</FN>"))


def test_vcard_that_was_never_set(alice):
    """XEP-0054 §3.1: empty, or item-not-found; for others also service-unavailable."""
    reply = alice.iq("get", VCARD.format(""))
    assert len(reply) and (reply.get("type") == "result" and len(reply[0]) == 0
                           or xml.condition(reply) == "item-not-found")
    condition = xml.condition(alice.iq("get", VCARD.format(""), to="nobody@localhost"))
    assert condition in ("item-not-found", "service-unavailable")


def test_vcard_of_another_is_not_to_be_set(alice):
    condition, _ = alice.error("set", VCARD.format("<FN>x</FN>"), to="bob@localhost")
    assert condition in ("forbidden", "not-allowed", "service-unavailable")


# --- XEP-0049 ---


def private(client, kind, inner):
    return client.result(kind, f"<query xmlns='jabber:iq:private'>{inner}</query>")


def test_private_xml(server, alice):
    private(alice, "set", "<a xmlns='urn:a'><b>1</b></a>")
    private(alice, "set", "<c xmlns='urn:c'>2</c>")
    private(alice, "set", "<a xmlns='urn:a'><b>3</b></a>")
    again = server.login("alice")
    assert xml.matches(private(again, "get", "<a xmlns='urn:a'/>")[0],
                       "<a xmlns='urn:a'><b>3</b></a>")
    assert private(again, "get", "<c xmlns='urn:c'/>")[0].text == "2"
    assert len(private(again, "get", "<none xmlns='urn:none'/>")[0]) == 0
    assert private(server.login("bob"), "get", "<c xmlns='urn:c'/>")[0].text is None


def test_private_xml_is_private(alice):
    for kind in ("get", "set"):
        condition, _ = alice.error(
            kind, "<query xmlns='jabber:iq:private'><a xmlns='urn:a'/></query>",
            to="bob@localhost")
        assert condition in ("forbidden", "service-unavailable")


@pytest.mark.parametrize("inner", ["", "<a/>"])
def test_private_xml_needs_a_namespace(alice, inner):
    condition, _ = alice.error("set", f"<query xmlns='jabber:iq:private'>{inner}</query>")
    assert condition in ("bad-request", "not-acceptable")


# --- XEP-0077 ---


def test_password_change_by_the_user(server, alice):
    other = server.client("alice", "other")
    alice.result("set", change(alice, "new-pass"), to="localhost")
    other.expect_closed()
    assert server.connect("alice").authenticate() == "not-authorized"
    server.login("alice", password="new-pass")


def test_password_change_of_another(server, alice):
    condition, _ = alice.error(
        "set", REGISTER.format("<username>bob</username><password>new-pass</password>"),
        to="localhost")
    assert condition in ("forbidden", "not-allowed", "bad-request")
    server.login("bob")


def test_registration_is_off(server):
    client = server.connect(tls="starttls")
    assert not client.offers("register", "http://jabber.org/features/iq-register")
    client.raw(f"<iq type='set' id='r'>"
               f"{REGISTER.format('<username>eve</username><password>eve-secret</password>')}</iq>")
    answer = client.next()
    assert xml.condition(answer) in ("service-unavailable", "not-allowed", "not-authorized",
                                     "forbidden")
    assert "eve@localhost" not in str(server.rows("user", "list"))


def test_nobody_registers_the_name_of_an_administrator(make_server):
    server = make_server(settings={"register.enabled": "on", "admin.accounts": "root@localhost"})
    inner = REGISTER.format("<username>Root</username><password>a long one</password>")
    assert server.connect().error("set", inner) == ("conflict", "cancel")
    assert server.rows("user", "list") == []


NOT_FOR_EVERYBODY = [
    "admin", "Postmaster", "support", "WebMaster", "\u0430dmin", "\u0455upport",  # Cyrillic
    "localhost", "guest-0123456789abcdef", "guest-x",
    "\u0430lice", "al1ce1",  # they look like alice and allce1
]


@pytest.mark.parametrize("name", NOT_FOR_EVERYBODY)
def test_names_that_others_trust_are_not_registered(make_server, name):
    """RFC 2142, UTS 39; an operator may add them."""
    server = make_server("alice", settings={"register.enabled": "on"})
    server.add_user("allce1")
    inner = REGISTER.format(f"<username>{name}</username><password>a long one</password>")
    client = server.connect()
    assert client.error("set", inner) == ("conflict", "cancel")
    client.result("set", inner.replace(name, "somebody"))
    server.add_user(name)


def test_accounts_of_an_older_database_have_look_alikes(make_server):
    """Accounts from before there were looks get theirs at the start, all of them."""
    server = make_server("alice", settings={"register.enabled": "on"})
    server.stop()
    with server.database() as db:
        db.execute("INSERT INTO account(jid, created_us, disabled) WITH RECURSIVE n(i) AS"
                   " (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1199)"  # more than a page
                   " SELECT 'user' || i || 'x@localhost', 1, 0 FROM n")
        db.execute("UPDATE account SET look = ''")
    server.start()
    client = server.connect()
    for name in "\u0430lice", "us\u0435r0x", "us\u0435r1199x":
        inner = REGISTER.format(f"<username>{name}</username><password>a long one</password>")
        assert client.error("set", inner) == ("conflict", "cancel")
    with server.database() as db:
        assert db.execute("SELECT count(*) FROM account WHERE look = ''").fetchone()[0] == 0


def test_an_invitation_may_be_to_a_reserved_name(make_server):
    server = make_server(settings={"invite.enabled": "on"})
    row, = server.rows("user", "invite", "--username", "support")
    token = row["uri"].rpartition("preauth=")[2].partition(";")[0]
    client = server.connect()
    client.result("set", f"<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>", to="localhost")
    client.result("set", REGISTER.format(
        "<username>support</username><password>a long one</password>"))
    row, = server.rows("user", "invite")
    token = row["uri"].rpartition("preauth=")[2].partition(";")[0]
    client = server.connect()
    client.result("set", f"<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>", to="localhost")
    assert client.error("set", REGISTER.format(
        "<username>postmaster</username><password>a long one</password>"))[0] == "conflict"


def test_all_reserved_names_are(make_server):
    """The first and the last of the list, too."""
    server = make_server(settings={"register.enabled": "on",
                                   "register.per-address-per-hour": "none"},
                         why="more names are tried than one address may register")
    client = server.connect()
    for name in server.rows("get", "register.reserved-names")[0]["value"].split():
        query = REGISTER.format(f"<username>{name}</username><password>a long one</password>")
        assert (name, client.error("set", query)[0]) == (name, "conflict")


def test_names_that_look_like_reserved_ones(make_server):
    server = make_server(settings={"register.enabled": "on",
                                   "register.per-address-per-hour": "none"},
                         why="more names are tried than one address may register")

    def said(name):
        query = REGISTER.format(f"<username>{name}</username><password>a long one</password>")
        answer = server.connect().iq("set", query)
        return xml.condition(answer) if answer.get("type") == "error" else None

    alike = ["adm1n", "admln", "admin.", "-admin", "ad_min", "1nf0", "no-reply", "supp0rt", "l1st",
             "sysadm\u0456n", "local-host", "localhost.", "mailerdaemon"]
    assert {name: said(name) for name in alike} == dict.fromkeys(alike, "conflict")
    others = ["admins", "bill", "info1", "a.lee", "j-j_j"]
    assert {name: said(name) for name in others} == dict.fromkeys(others)


def test_registration(make_server):
    server = make_server("alice", settings={"register.enabled": "on"})
    client = server.connect(tls="starttls")
    assert client.offers("register", "http://jabber.org/features/iq-register")
    form = client.result("get", REGISTER.format(""))
    assert {e.tag.partition("}")[2] for e in form} >= {"username", "password"}
    taken = "<username>alice</username><password>eve-secret</password>"
    assert client.error("set", REGISTER.format(taken))[0] == "conflict"
    empty = "<username>eve</username><password/>"
    assert client.error("set", REGISTER.format(empty))[0] in ("not-acceptable", "bad-request")
    client.result("set", REGISTER.format("<username>eve</username><password>eve-secret</password>"))
    client.name, client.password = "eve", "eve-secret"
    client.login()


def test_cancellation_of_an_account(make_server):
    """XEP-0077 §3.2: roster entries of others end too."""
    server = make_server("alice", "bob", settings={"register.enabled": "on"})
    server.befriend("alice", "bob")
    alice, bob = server.client("alice"), server.client("bob")
    alice.expect(f"<presence from='{bob}'/>")
    bob.send(f"<iq type='set' id='r' to='localhost'>{cancel(bob)}</iq>")
    bob.expect_closed()
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    assert server.connect("bob").authenticate() == "not-authorized"
    server.add_user("bob")
    roster = server.client("bob").result("get", "<query xmlns='jabber:iq:roster'/>")
    assert len(roster) == 0


# --- XEP-0157 ---


def test_contact_info(make_server):
    server = make_server("alice", settings={"contact.admin": "mailto:admin@localhost"})
    info = server.client("alice").result("get", INFO, to="localhost")
    forms = [[v.text for v in form.iter("{jabber:x:data}value")]
             for form in info.iter("{jabber:x:data}x")]
    contact = next(f for f in forms if f[0].endswith("/serverinfo"))
    assert contact == ["http://jabber.org/network/serverinfo", "mailto:admin@localhost"]
