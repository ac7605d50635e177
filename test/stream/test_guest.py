"""Guests: SASL ANONYMOUS (RFC 4505, XEP-0175)."""
import pytest

from harness import database, muc, pubsub, sasl, xml
from harness.client import until


BIND = f"<bind xmlns='{xml.BIND2}'/>"


@pytest.fixture
def open_server(make_server):
    return make_server("alice", settings={"guest.domains": "other.test localhost"})


def guest(server, **options):
    """A bound guest, by SASL2 and Bind 2."""
    client = server.connect(**options)
    client.sasl2_start("ANONYMOUS", inner=BIND)
    client.sasl2_done(client.sasl2_next())
    return client


def test_off_by_default(server):
    client = server.connect()
    assert "ANONYMOUS" not in client.mechanisms
    client.sasl_start("ANONYMOUS")
    assert client.sasl_answer() == ("failure", "invalid-mechanism")


def test_only_where_it_is_allowed(make_server):
    server = make_server(domains=("localhost", "other.test"),
                         settings={"guest.domains": "other.test"})
    assert "ANONYMOUS" not in server.connect().mechanisms
    client = server.connect(domain="other.test")
    assert "ANONYMOUS" in client.mechanisms
    assert guest(server, domain="other.test").bare.endswith("@other.test")


@pytest.mark.parametrize("trace", [None, b"", b"sirhc"])
def test_login(open_server, trace):
    client = open_server.connect()
    client.sasl_start("ANONYMOUS", trace)
    assert client.sasl_answer() == ("success", b"")
    client.open()
    client.bind()
    assert client.bare.startswith("guest-") and client.bare.endswith("@localhost")
    client.available().ping()


def test_a_long_trace(open_server):
    client = open_server.connect()
    client.sasl_start("ANONYMOUS", b"x" * 1021)
    assert client.sasl_answer() == ("failure", "malformed-request")


def test_names_differ(open_server):
    assert guest(open_server).bare != guest(open_server).bare


def test_they_chat(open_server):
    alice = open_server.client("alice", "a")
    one, other = guest(open_server).available(), guest(open_server).available()
    for sender, receiver in ((one, other), (one, alice), (alice, one)):
        sender.send(f"<message to='{receiver.jid}' type='chat'><body>hi</body></message>")
        receiver.expect(f"<message from='{sender.jid}'><body>hi</body></message>")


@pytest.mark.parametrize("inner", [
    "<query xmlns='jabber:iq:roster'><item jid='alice@localhost'/></query>",
    "<vCard xmlns='vcard-temp'><FN>x</FN></vCard>",
    "<query xmlns='jabber:iq:private'><a xmlns='b'/></query>",
    "<query xmlns='jabber:iq:register'><remove/></query>"])
def test_nothing_is_kept_of_what_they_say(open_server, inner):
    assert guest(open_server).error("set", inner) == ("not-allowed", "cancel")


@pytest.mark.parametrize("to, inner", [
    ("pubsub.localhost", pubsub.create("n")),
    ("alice@localhost", pubsub.subscribe("n", "{bare}")),
    ("other.test", "<command xmlns='http://jabber.org/protocol/commands' "
                   "node='urn:xmpp:invite#invite'/>")])
def test_nothing_is_kept_of_them_elsewhere(make_server, to, inner):
    server = make_server("alice", domains=("localhost", "other.test"), settings={
        "guest.domains": "localhost", "guest.remote": "on", "invite.enabled": "on",
        "invite.by-users": "on"})
    server.client("alice", "a").result("set", pubsub.publish("n"))
    client = guest(server)
    assert client.error("set", inner.format(bare=client.bare), to=to) == ("not-allowed", "cancel")


def test_they_have_no_contacts(open_server):
    alice = open_server.client("alice", "a")
    client = guest(open_server).available()
    assert len(client.result("get", f"<query xmlns='{xml.ROSTER}'/>")) == 0
    client.send("<presence to='alice@localhost' type='subscribe' id='s'/>")
    client.expect_error("not-allowed", template="<presence type='error'/>")
    alice.send(f"<presence to='{client.bare}' type='subscribe'/>")
    client.ping()
    client.expect_nothing("<presence type='subscribe'/>")


def test_they_stay_at_home(open_server):
    client = guest(open_server)
    client.send("<message to='x@elsewhere.test'><body>hi</body></message>")
    client.expect_error("not-allowed", template="<message type='error'/>")
    assert client.error("get", "<ping xmlns='urn:xmpp:ping'/>", to="elsewhere.test")[0] == \
        "not-allowed"
    open_server.ctl("set", "guest.remote", "on")
    assert client.error("get", "<ping xmlns='urn:xmpp:ping'/>", to="elsewhere.test")[0] == \
        "remote-server-not-found"


def test_their_number_is_limited(open_server):
    open_server.ctl("set", "guest.max", "1")
    first = guest(open_server)
    client = open_server.connect()
    client.sasl2_start("ANONYMOUS", inner=BIND)
    answer = client.sasl2_next()
    assert answer[0].tag == f"{{{xml.SASL}}}temporary-auth-failure"
    first.close()
    until("room", lambda: not open_server.rows("session", "list"))
    guest(open_server).ping()


def test_stream_management_without_resumption(open_server):
    """A guest who logs in again is another guest."""
    client = guest(open_server)
    enabled = client.enable_sm()
    assert enabled.get("id") is None
    client.ping()
    client.wait_acked(1)


def test_an_id_of_the_client_is_not_kept(open_server):
    client = open_server.connect()
    client.sasl2_start("ANONYMOUS", agent="d4565fa7-4d72-4749-b3d3-740edbf87770", inner=BIND)
    client.sasl2_done(client.sasl2_next())
    client.ping()


def test_they_leave_nothing_behind(open_server):
    alice = open_server.client("alice", "a")
    client = guest(open_server).available()
    for sender, receiver in ((client, alice), (alice, client)):
        sender.send(f"<message to='{receiver.jid}' type='chat'><body>hi</body></message>")
        receiver.expect("<message><body>hi</body></message>")
    client.send("<presence type='unavailable'><status>bye</status></presence>")
    client.ping()
    client.close()
    until("end", lambda: len(open_server.rows("session", "list")) == 1)
    alice.send(f"<message to='{client.bare}' type='chat'><body>late</body></message>")
    alice.expect_error("service-unavailable", template="<message type='error'/>")
    open_server.stop()
    with open_server.database() as db:
        for table, column in database.columns(db, "owner", "account", "sender", "rcpt"):
            found = db.execute(f"SELECT COUNT(*) FROM {table} WHERE {column} < 0")
            assert found.fetchone() == (0,), (table, column)
        bodies = [row[0] for row in db.execute("SELECT stanza FROM message")]
        assert len(bodies) == 3, "what alice has of it, and of what was refused"


def test_another_trace_is_not_a_login(open_server):
    client = open_server.connect("alice")
    client.sasl_start("ANONYMOUS", sasl.plain("alice", "wrong"))
    assert client.sasl_answer()[0] == "success"
    client.open()
    client.bind()
    assert client.bare.startswith("guest-")


def test_no_node_is_made_by_what_they_have_displayed(open_server):
    """XEP-0490 §4.4: what the server would publish for them would outlive them."""
    client = guest(open_server).available()
    client.send("<message to='alice@localhost' type='chat'>"
                "<displayed xmlns='urn:xmpp:mds:displayed:0'>"
                "<stanza-id xmlns='urn:xmpp:sid:0' by='alice@localhost' id='1'/></displayed>"
                "<body>seen</body></message>")
    open_server.client("alice", "a").result("set", pubsub.publish("n"))  # stored behind it
    with open_server.database() as db:
        assert db.execute("SELECT node FROM pubsub_node").fetchall() == [("n",)]


def test_guests_enter_rooms_but_make_none(open_server):
    """Guests cannot make rooms, since they would leave them locked (XEP-0045 §10.1)."""
    alice, visitor = open_server.client("alice"), guest(open_server)
    cave = muc.Room("cave").create(alice, "owner")
    assert cave.enter(visitor, "visitor").own.standing == ("none", "participant")
    cave.say(visitor, "hello")
    cave.expect_body(alice, "visitor", "hello")
    assert muc.Room("den").refused(visitor, "visitor") == ("not-allowed", "cancel")
    assert [row["jid"] for row in open_server.rows("room", "list")] == [cave.jid]


def test_a_guest_asks_itself(open_server):
    """Its own client answers at its own full address, as for every user (RFC 6121 §8.5.3)."""
    one = guest(open_server)
    one.send(f"<iq type='set' id='q' to='{one}'><query xmlns='urn:example:x'/></iq>")
    one.expect(f"<iq type='set' id='q' from='{one}'/>")
