"""Resource binding (RFC 6120 §7), conflict policies, and the old session element (RFC 3921 §3)."""
import pytest

from harness import xml
from harness.client import until


BIND = f"<bind xmlns='{xml.BIND}'><resource>{{}}</resource></bind>"


@pytest.fixture
def authenticated(server):
    """A stream after SASL, before binding."""
    client = server.connect("alice")
    assert client.authenticate() is None
    client.open()
    return client


def test_features_after_authentication(authenticated):
    assert authenticated.offers("bind", xml.BIND)
    assert authenticated.offers("sm", xml.SM)
    assert authenticated.offers("ver", "urn:xmpp:features:rosterver")
    assert authenticated.offers("sub", "urn:xmpp:features:pre-approval")
    assert not authenticated.mechanisms


def test_chosen_resource(authenticated):
    assert authenticated.bind("balcony") == "alice@localhost/balcony"


def test_made_resources_differ(server):
    one, other = server.login("alice"), server.login("alice")
    assert one.jid != other.jid and one.bare == other.bare == "alice@localhost"
    assert len(one.jid.partition("/")[2]) >= 8


def test_resource_may_contain_anything_legal(authenticated):
    assert authenticated.bind("a/b@c d \u20ac") == "alice@localhost/a/b@c d \u20ac"


@pytest.mark.parametrize("resource", ["x" * 1024, "\u0081", "a\u2028b"],
                         ids=["too long", "control", "line separator"])
def test_bad_resource(authenticated, resource):
    condition, kind = authenticated.error("set", BIND.format(resource))
    assert (condition, kind) == ("bad-request", "modify")
    authenticated.bind("good")


def test_binding_twice(alice):
    condition, _ = alice.error("set", BIND.format("more"))
    assert condition in ("not-allowed", "service-unavailable", "bad-request")
    alice.ping()


def test_session_element_does_nothing(authenticated):
    """RFC 6121 Appendix E: advertised as optional for old clients."""
    session = authenticated.features.find(f"{{{xml.SESSION}}}session")
    assert session is None or session.find(f"{{{xml.SESSION}}}optional") is not None
    authenticated.bind()
    assert authenticated.result("set", f"<session xmlns='{xml.SESSION}'/>") is None


def test_conflict_replaces_by_default(server):
    old = server.client("alice", "a")
    new = server.login("alice", "a")
    old.expect_stream_error("conflict")
    assert new.jid == "alice@localhost/a"
    new.available()
    new.ping()


def test_conflict_rename(make_server):
    server = make_server("alice", settings={"c2s.resource-conflict": "rename"})
    old = server.client("alice", "a")
    new = server.login("alice", "a")
    assert new.jid != old.jid and new.bare == old.bare
    old.ping()


def test_conflict_refuse(make_server):
    """§7.7.2.2"""
    server = make_server("alice", settings={"c2s.resource-conflict": "refuse"})
    old = server.client("alice", "a")
    new = server.connect("alice")
    assert new.authenticate() is None
    new.open()
    assert new.error("set", BIND.format("a"))[0] == "conflict"
    new.bind("b")
    old.ping()


def test_replaced_session_is_gone_for_contacts(server):
    """The others see the old one leave before the new one comes."""
    server.befriend("alice", "bob")
    bob = server.client("bob", "b")
    server.client("alice", "a")
    bob.expect("<presence from='alice@localhost/a' type='-'/>")
    server.client("alice", "a")
    bob.expect_next("<presence from='alice@localhost/a' type='unavailable'/>")
    bob.expect_next("<presence from='alice@localhost/a' type='-'/>")


def test_many_resources(server):
    sessions = [server.client("alice", f"r{i}") for i in range(10)]
    for i, session in enumerate(sessions):
        sessions[0].send(f"<message to='{session}'><body>{i}</body></message>")
        session.expect(f"<message><body>{i}</body></message>")


def test_sessions_per_account(make_server):
    server = make_server("alice", "bob", settings={"session.per-account-max": "2"})
    sessions = [server.login("alice", f"r{i}") for i in range(2)]
    third = server.connect("alice")
    assert third.authenticate() is None
    third.open()
    assert third.error("set", BIND.format("third"))[0] == "resource-constraint"
    server.login("bob").ping()
    for session in sessions:
        session.ping()


def test_the_answer_to_a_long_id_is_whole(server):
    """Each apostrophe of the id is six bytes in the answer. Some versions of expat wait for more
    behind such a tag, so it is read as bytes."""
    client = server.connect("alice")
    assert client.authenticate() is None
    client.open()
    ident = "'" * 60000
    client.send(f'<iq type="set" id="{ident}">{BIND.format("long")}</iq>')
    answer = b""
    while not answer.endswith(b"</iq>"):
        answer += client.sock.recv(65536)
    assert answer.count(b"&apos;") == len(ident) and b"type='result'" in answer
    client.ping()


def streams(server):
    return next(r["value"] for r in server.rows("metrics") if r["name"] == "muster_c2s_streams")


@pytest.mark.parametrize("how", ["replaced", "resumed"])
def test_the_session_of_a_stream_that_failed_but_still_writes(server, how):
    """Its last bytes wait for the client while another connection takes the session: the end of
    the first one changes nothing any more."""
    bob = server.client("bob", "b")
    old = server.client("alice", "r")
    if how == "resumed":
        old.enable_sm()
    for _ in range(14):
        bob.send(f"<message to='{old}' type='headline'><body>{'x' * 200000}</body></message>")
    bob.ping()
    old.raw("<no xml")
    old.raw("<<<>")
    server.wait_log("not-well-formed.*alice")
    if how == "resumed":
        new = server.connect("alice")
        assert new.take_over(old).tag.endswith("resumed")
    else:
        new = server.client("alice", "r")
    assert streams(server) == 3
    old.cut()
    until("the end of the first", lambda: streams(server) == 2)
    new.ping()
    bob.send(f"<message to='{new}' type='chat' id='live'><body>hi</body></message>")
    new.expect("<message id='live'/>")
