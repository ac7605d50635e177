"""Invitations: XEP-0401 and XEP-0445, with the page of XEP-0379 section 3.3."""
import datetime
import re
import urllib.error
import urllib.request

import pytest

from harness import xml
from harness.client import TIMEOUT, insecure_context, until
from harness.server import Failed


REGISTER = "jabber:iq:register"
PARS = "urn:xmpp:pars:0"
COMMANDS = "http://jabber.org/protocol/commands"
ON = {"invite.enabled": "on", "register.password-min": "4"}


@pytest.fixture
def inviting(make_server):
    return make_server("alice", "bob", settings=ON)


def invite(server, *args):
    return server.rows("user", "invite", *args)[0]


def token_of(row):
    return re.search(r"preauth=([0-9a-z]+)", row["uri"]).group(1)


def show(client, token):
    """Shows a token; True, or the condition of the error."""
    reply = client.iq("set", f"<preauth xmlns='{PARS}' token='{token}'/>", to="localhost")
    if reply.get("type") == "result":
        return True
    return xml.condition(reply.find(f"{{{xml.CLIENT}}}error"))


def register(client, name, password="secret"):
    reply = client.iq("set", f"<query xmlns='{REGISTER}'><username>{name}</username>"
                      f"<password>{password}</password></query>", to=client.domain)
    if reply.get("type") == "result":
        return True
    return xml.condition(reply.find(f"{{{xml.CLIENT}}}error"))


def fetch(server, path):
    """Status, headers and text of a page."""
    request = urllib.request.Request(f"https://127.0.0.1:{server.https_port}{path}")
    context = insecure_context()
    try:
        with urllib.request.urlopen(request, context=context, timeout=TIMEOUT) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def test_off_by_default(server):
    client = server.connect()
    assert not client.offers("register", "urn:xmpp:ibr-token:0")
    with pytest.raises(Failed, match="invite.enabled"):
        invite(server)


def test_links(inviting):
    row = invite(inviting)
    assert re.fullmatch(r"xmpp:localhost\?register;preauth=[0-9a-f]{32}", row["uri"])
    assert row["landing_url"] == (f"https://localhost:{inviting.https_port}/invite/"
                                  + token_of(row))
    end = datetime.datetime.fromisoformat(row["expire"].replace("Z", "+00:00"))
    left = end - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(days=6, hours=23) < left <= datetime.timedelta(days=7)
    row = invite(inviting, "--username", "Juliet", "--domain", "localhost", "--expires", "2h")
    assert row["uri"].startswith("xmpp:juliet@localhost?register;preauth=")
    row = invite(inviting, "--roster", "alice@localhost")
    assert re.fullmatch(r"xmpp:alice@localhost\?roster;preauth=[0-9a-f]+;ibr=y", row["uri"])
    inviting.ctl("set", "http.base-url", "https://chat.example.test:5443/")
    assert invite(inviting)["landing_url"].startswith("https://chat.example.test:5443/invite/")


@pytest.mark.parametrize("args, why", [
    (("--domain", "elsewhere.test"), "served here"), (("--expires", "soon"), "expires"),
    (("--expires", "1s"), "expires"), (("--username", "a b"), "found a b"),
    (("--roster", "alice"), "found alice"), (("--roster", "a@elsewhere.test"), "not served"),
    (("--roster", "nobody@localhost"), "no account nobody@localhost"),
    (("--username", "alice"), "alice@localhost exists already")])
def test_bad_arguments(inviting, args, why):
    with pytest.raises(Failed, match=why):
        invite(inviting, *args)


def test_an_account_by_invitation(inviting):
    token = token_of(invite(inviting))
    client = inviting.connect("juliet")
    assert client.offers("register", "urn:xmpp:ibr-token:0")
    assert client.offers("register", "http://jabber.org/features/iq-register")
    assert show(client, token) is True
    form = client.result("get", f"<query xmlns='{REGISTER}'/>", to="localhost")
    assert form.find(f"{{{REGISTER}}}username") is not None
    assert register(client, "juliet") is True
    client.login().ping()


def test_an_invitation_is_for_one_account(inviting):
    token = token_of(invite(inviting))
    one, two, three = (inviting.connect() for _ in range(3))
    assert show(one, token) is True and show(two, token) is True
    assert register(one, "juliet") is True
    assert register(one, "rosaline") == "not-allowed", "it was used"
    assert register(two, "rosaline") == "item-not-found"
    assert show(three, token) == "item-not-found"


def test_a_failed_registration_does_not_use_it(inviting):
    """XEP-0445 section 4."""
    client = inviting.connect()
    assert show(client, token_of(invite(inviting))) is True
    assert register(client, "alice") == "conflict"
    assert register(client, "a b") == "not-acceptable"
    assert register(client, "juliet", "x") == "not-acceptable"
    assert register(client, "juliet") is True


def test_no_account_without_an_invitation(inviting):
    client = inviting.connect()
    assert register(client, "juliet") == "not-allowed"
    for token in ("", "x", "0" * 32, "x" * 5000):
        assert show(client, token) == "item-not-found"
    assert register(client, "juliet") == "not-allowed"


def test_attempts_are_limited(make_server):
    server = make_server(settings={**ON, "register.per-address-per-hour": "3"})
    client = server.connect()
    answers = [show(client, "0" * 32) for _ in range(5)]
    assert answers == ["item-not-found"] * 3 + ["not-acceptable"] * 2


def test_a_name_is_kept(make_server):
    """XEP-0445 section 5: for the one who has the invitation, also where registration is open."""
    server = make_server(settings={**ON, "register.enabled": "on"})
    token = token_of(invite(server, "--username", "juliet"))
    stranger, guest = server.connect(), server.connect()
    assert register(stranger, "juliet") == "conflict"
    assert show(guest, token) is True
    assert register(guest, "romeo") == "not-acceptable"
    assert register(guest, "juliet") is True
    assert register(stranger, "romeo") is True


def test_expiry(inviting):
    """It is looked at when the token is shown, and not again (XEP-0445 section 4)."""
    token = token_of(invite(inviting))
    early, late = inviting.connect(), inviting.connect()
    assert show(early, token) is True
    with inviting.database() as db:
        db.execute("UPDATE invite SET expires_us = created_us")
    assert show(late, token) == "item-not-found"
    assert register(early, "juliet") is True


def test_the_inviter_becomes_a_contact(inviting):
    """XEP-0401 section 4.4: the inviter gets a roster push."""
    alice = inviting.login("alice", "a")
    alice.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    alice.available()
    client = inviting.connect("juliet")
    assert show(client, token_of(invite(inviting, "--roster", "alice@localhost"))) is True
    assert register(client, "juliet") is True
    alice.expect(f"<iq type='set'><query xmlns='{xml.ROSTER}'><item jid='juliet@localhost' "
                 "subscription='both'/></query></iq>")
    client.login(resource="j")

    def listed():
        roster = client.result("get", f"<query xmlns='{xml.ROSTER}'/>")
        return [(i.get("jid"), i.get("subscription")) for i in roster]

    until("contact", lambda: listed() == [("alice@localhost", "both")])
    client.available()
    client.expect(f"<presence from='{alice.jid}'/>")
    alice.expect(f"<presence from='{client.jid}'/>")


def contacts(client):
    roster = client.result("get", f"<query xmlns='{xml.ROSTER}'/>")
    return [(i.get("jid"), i.get("subscription")) for i in roster]


def unfinished(server):
    with server.database() as db:
        return [welcome for welcome, in db.execute("SELECT welcome FROM invite").fetchall()
                if welcome != 0]


@pytest.mark.parametrize("undone", [4, 6, 7])
def test_a_crash_leaves_nobody_without_the_other(inviting, undone):
    """Between the commit of the account and that of the rosters: as the database is then."""
    token = token_of(invite(inviting, "--roster", "alice@localhost"))
    client = inviting.connect("juliet")
    assert show(client, token) is True and register(client, "juliet") is True
    alice = inviting.login("alice", "a")
    client.login(resource="j")
    until("contacts", lambda: contacts(alice) == [("juliet@localhost", "both")] and
          contacts(client) == [("alice@localhost", "both")])
    until("it is done", lambda: not unfinished(inviting))
    inviting.kill()
    with inviting.database() as db:
        db.execute("UPDATE invite SET welcome = ?", (undone,))
        for bit, jid in ((1, "alice@localhost"), (2, "juliet@localhost")):
            if undone & bit:
                db.execute("DELETE FROM roster WHERE owner = (SELECT id FROM account "
                           "WHERE jid = ?)", (jid,))
        # something took away half of what alice has
        db.execute("UPDATE roster SET state = 6 WHERE jid = 'juliet@localhost'")
    inviting.start()
    alice, client = inviting.login("alice", "a"), inviting.login("juliet", "j")
    until("contacts", lambda: contacts(alice) == [("juliet@localhost", "both")] and
          contacts(client) == [("alice@localhost", "both")])
    until("it is done", lambda: not unfinished(inviting))


def test_both_know_each_other_while_commits_take_time(make_server, disk):
    """The inviter, who is there, asks for the presence of somebody whose list is not there yet."""
    server = make_server("alice", settings=ON, workers=4, disk=disk)
    alice = server.client("alice", "a")
    disk.turn(write_ms=5)
    names = [f"juliet{i}" for i in range(8)]
    for name in names:
        client = server.connect(name)
        assert show(client, token_of(invite(server, "--roster", "alice@localhost"))) is True
        assert register(client, name) is True
    disk.turn(write_ms=0)
    until("all are welcome", lambda: not unfinished(server))
    assert sorted(contacts(alice)) == [(f"{name}@localhost", "both") for name in names]
    for name in names:
        assert contacts(server.login(name)) == [("alice@localhost", "both")]


def test_who_is_deleted_is_not_welcomed_after_a_crash(inviting):
    token = token_of(invite(inviting, "--roster", "alice@localhost"))
    client = inviting.connect("juliet")
    assert show(client, token) is True and register(client, "juliet") is True
    alice = inviting.login("alice", "a")
    until("contacts", lambda: contacts(alice) == [("juliet@localhost", "both")])
    with inviting.database() as db:
        db.execute("UPDATE invite SET welcome = 7")
    inviting.ctl("user", "del", "juliet@localhost")
    until("no contact", lambda: contacts(alice) == [])
    inviting.kill()
    inviting.start()
    assert contacts(inviting.login("alice", "a")) == []


def test_an_invitation_goes_with_its_inviter(inviting):
    """Whoever has the name afterwards invited nobody."""
    inviting.add_user("carol")
    token = token_of(invite(inviting, "--roster", "carol@localhost"))
    inviting.ctl("user", "del", "carol@localhost")
    inviting.add_user("carol")
    assert show(inviting.connect(), token) == "item-not-found"


def run(client, node, to="localhost"):
    return client.iq("set", f"<command xmlns='{COMMANDS}' node='{node}' action='execute'/>", to=to)


def test_users_invite(inviting):
    """XEP-0401 section 4.1, as an ad-hoc command."""
    alice = inviting.login("alice")
    reply = run(alice, "urn:xmpp:invite#invite")
    assert "invite.by-users is off" in "".join(reply.itertext())
    listed = f"<query xmlns='{xml.DISCO_ITEMS}' node='{COMMANDS}'/>"
    for to in ("localhost", alice.bare):  # XEP-0401 §4.1: announced where it can be used
        assert "invite#invite" not in str([i.attrib for i in alice.result("get", listed, to=to)])
    assert "uri" in inviting.rows("user", "invite-contact", "alice@localhost")[0]
    inviting.ctl("set", "invite.by-users", "on")
    inviting.ctl("set", "invite.max", "3")
    for _ in range(2):
        command = run(alice, "urn:xmpp:invite#invite").find(f"{{{COMMANDS}}}command")
        assert command.get("status") == "completed"
        form = command.find("{jabber:x:data}x")
        fields = {f.get("var"): f.findtext("{jabber:x:data}value") for f in form}
        assert fields["FORM_TYPE"] == "urn:xmpp:invite#invitation"
        assert fields["uri"].startswith("xmpp:alice@localhost?roster;preauth=")
        assert fields["landing-url"].startswith("https://") and fields["expire"].endswith("Z")
    assert "invite.max" in "".join(run(alice, "urn:xmpp:invite#invite").itertext())
    reply = run(alice, "urn:xmpp:invite#create-account")
    assert xml.condition(reply.find(f"{{{xml.CLIENT}}}error")) == "forbidden"


def test_an_invitation_is_for_the_domain_of_its_inviter(make_server):
    server = make_server("alice", domains=("localhost", "other.test"),
                         settings={"invite.enabled": True})
    refused = server.ctl_run("user", "invite", "--roster", "alice@localhost", "--domain",
                             "other.test")
    assert refused.returncode != 0 and "leave --domain out" in refused.stderr
    assert invite(server, "--roster", "alice@localhost", "--domain", "localhost")
    assert invite(server, "--domain", "other.test")["uri"].startswith("xmpp:other.test?")


def test_an_invitation_shown_before_tls(make_server):
    """What was shown to one domain is not used at another."""
    server = make_server(domains=("localhost", "other.test"),
                         settings={"invite.enabled": True, "c2s.tls-required": False},
                         why="a stream before STARTTLS registers nobody else")
    client = server.connect(tls="none")
    assert show(client, token_of(invite(server))) is True
    client.domain = "other.test"
    client.starttls()
    assert register(client, "juliet", "long enough") == "not-acceptable"


def test_the_page(inviting):
    row = invite(inviting, "--roster", "alice@localhost")
    path = "/invite/" + token_of(row)
    status, headers, page = fetch(inviting, path)
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert "alice@localhost" in page and row["uri"] in page.replace("&amp;", "&")
    assert "<script" not in page and "src=" not in page
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"
    client = inviting.connect()
    assert show(client, token_of(row)) is True and register(client, "juliet") is True
    assert fetch(inviting, path)[0] == 404


@pytest.mark.parametrize("path", ["/invite/", "/invite/x", "/invite/" + "0" * 32,
                                  "/invite/%3Cscript%3E", "/invite/" + "x" * 4000])
def test_pages_that_are_not_there(inviting, path):
    status, _, page = fetch(inviting, path)
    assert status == 404 and "<script" not in page


def test_no_pages_where_there_are_no_invitations(server):
    assert fetch(server, "/invite/" + "0" * 32)[0] == 404
