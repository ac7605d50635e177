"""Requests to see presence of users on other servers, while rules change: whichever rule keeps the
two apart, the same becomes of a request, and both contact lists agree in the end."""
import pytest

from harness import across, xml
from harness.client import until
from harness.federation import free_port, route
from harness.wire import Wire

ONE, OTHER = across.ONE, across.OTHER


class Rule:
    """Keeps alice apart from bob, and ends."""

    def __init__(self, server, folder, kind):
        self.server, self.kind, self.list = server, kind, folder / "blocklist"
        if kind in ("address", "glob", "listed domain"):
            self.list.write_text("")
            server.ctl("set", "federation.blocklist", str(self.list))
            until("the list is read", self._read)
        if kind == "group":
            server.ctl("group", "add", "sales")
            server.ctl("s2s-group", "set", "group:sales", "off")
        if kind == "department":
            server.ctl("s2s-group", "set", "sales", "off")

    def _read(self):
        return self.server.log().count("event=federation.blocklist ")

    def _write(self, text):
        before = self._read()
        self.list.write_text(text)
        until("the list is read", lambda: self._read() > before)

    def begin(self):
        self._change(True)

    def end(self):
        self._change(False)

    def _change(self, begins):
        alice, ctl = f"alice@{ONE}", self.server.ctl
        if self.kind == "user":
            ctl("federation", "set", alice, "off" if begins else "on")
        elif self.kind == "group":
            ctl("group-member", "add" if begins else "del", "sales", alice)
        elif self.kind == "department":
            ctl("user", "set", alice, "--department", "sales" if begins else "")
        elif self.kind == "users":
            ctl("set", f"federation.users@{ONE}", "off" if begins else "on")
        elif self.kind == "domain":
            ctl("federation", "block" if begins else "allow", OTHER)
        elif self.kind == "route":
            blocks = () if not begins else ("--blocked", "on")
            ctl("s2s-route", "add" if begins else "del", OTHER, "192.0.2.1:1", *blocks)
        else:
            patterns = {"address": f"bob@{OTHER}", "glob": f"b*@{OTHER}", "listed domain": OTHER}
            self._write(patterns[self.kind] if begins else "# none\n")


RULES = ["user", "group", "department", "users", "domain", "route", "address", "glob",
         "listed domain"]


@pytest.fixture
def servers(make_server, tmp_path):
    return across.start(make_server, tmp_path)


@pytest.fixture(params=RULES)
def rule(request, servers, tmp_path):
    return Rule(servers[0], tmp_path, request.param)


def asks(who, whom):
    who.send(f"<presence to='{whom.bare}' type='subscribe'/>")


def asked(alice, bob):
    """bob has her request, and does not answer."""
    for client in alice, bob:
        across.roster_of(client)
    asks(alice, bob)
    bob.expect(f"<presence from='{alice.bare}' type='subscribe'/>")


def approves(bob, alice):
    bob.send(f"<presence to='{alice.bare}' type='subscribed'/>")
    bob.expect("<iq type='set'><query xmlns='jabber:iq:roster'>"
               f"<item jid='{alice.bare}' subscription='from'/></query></iq>")
    bob.ping()


def see(alice, bob):
    alice.expect(f"<presence from='{bob}' type='-'/>")
    assert across.roster_of(alice)[bob.bare] == ("to", None)
    assert across.roster_of(bob)[alice.bare] == ("from", None)


@pytest.mark.parametrize("login", ["stays", "comes"])
def test_who_is_approved_while_a_rule_forbids_it_sees_the_contact_later(servers, rule, login):
    """RFC 6121 §3.1.3: the request is repeated, and granted without asking. Also if the user logs
    in meanwhile."""
    one, other = servers
    alice, bob = one.client("alice"), other.client("bob")
    asked(alice, bob)
    rule.begin()
    approves(bob, alice)
    if login == "comes":
        alice.close()
        alice = one.client("alice", "later")
    assert across.roster_of(alice)[bob.bare] == ("none", "subscribe")
    rule.end()
    see(alice, bob)


def test_a_request_that_waits_ends_where_a_rule_forbids_it(servers, rule):
    """Its user gets an error, as for a message, and may ask again when the rule ends."""
    one, other = servers
    wire = Wire(other.s2s_port)
    route(one, OTHER, wire.port)
    alice, bob = one.client("alice"), other.client("bob")
    for client in alice, bob:
        across.roster_of(client)
    wire.target = free_port()
    asks(alice, bob)
    alice.ping()
    rule.begin()
    wire.target = other.s2s_port
    one.ctl_run("s2s", "retry", OTHER)
    error = alice.expect(f"<presence from='{bob.bare}' type='error'/>")
    assert xml.condition(error) in ("not-allowed", "policy-violation")
    until("the request has ended",
          lambda: across.roster_of(alice).get(bob.bare) in (None, ("none", None)))
    rule.end()
    asks(alice, bob)
    bob.expect(f"<presence from='{alice.bare}' type='subscribe'/>")
    wire.close()


def watches(bob, alice):
    """Bob asks to see alice, and sees her. His server has sent nothing else."""
    for client in bob, alice:
        across.roster_of(client)
    asks(bob, alice)
    alice.expect(f"<presence from='{bob.bare}' type='subscribe'/>")
    alice.send(f"<presence to='{bob.bare}' type='subscribed'/>")
    bob.expect(f"<presence from='{alice}' type='-'/>")


def test_who_sees_the_user_does_so_no_longer_from_the_rule_on(servers, rule):
    """At the moment when it takes effect, and again when it ends; also if the contact is new in
    the list, and if the user has another client that is not available."""
    one, other = servers
    one.login("alice", "first")
    alice, bob = one.client("alice"), other.client("bob")
    watches(bob, alice)
    rule.begin()
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    alice.send("<presence><show>dnd</show></presence>")
    alice.ping()
    rule.end()
    bob.expect(f"<presence from='{alice}' type='-'><show>dnd</show></presence>")
    across.mark(alice, bob)
    bob.expect_nothing("<presence type='unavailable'/>")
