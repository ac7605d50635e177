"""Stanzas go both ways on one connection between servers (XEP-0288)."""
import pytest

from muster import federation, xml
from muster.client import until
from test_s2s_lost import Wire

ONE, OTHER = "one.test", "other.test"
BIDI = "<bidi xmlns='urn:xmpp:bidi'/>"
FEATURE = "{urn:xmpp:features:bidi}bidi"


@pytest.fixture
def authority(tmp_path):
    return federation.Authority(tmp_path)


@pytest.fixture
def start(make_server, authority):
    """A function that starts a server of ours."""
    def one(user, domain, **more):
        tls = {**authority.issue(domain, domain, f"conference.{domain}"),
               "trust": str(authority.file)}
        return make_server(user, domains=[domain], s2s=True, tls=tls,
                           settings=federation.settings(**more))
    return one


@pytest.fixture
def pair(start):
    """alice@one.test reaches bob@other.test over a wire; that server has no way to hers."""
    one, other = start("alice", ONE, ack_timeout="2s"), start("bob", OTHER, ack_timeout="2s")
    wire = Wire(other.s2s_port)
    federation.route(one, OTHER, wire.port)
    federation.route(other, ONE, federation.free_port())
    yield one, other, wire
    wire.close()


def say(one, other, *bodies):
    for body in bodies:
        one.send(f"<message to='{other.bare}' type='chat'><body>{body}</body></message>")


def hear(other, one, *bodies):
    for body in bodies:
        other.expect(f"<message from='{one}'><body>{body}</body></message>")


def test_the_other_server_answers_on_the_connection_that_we_have_made(pair):
    one, other, wire = pair
    alice, bob = one.client("alice"), other.client("bob")
    say(alice, bob, "there")
    hear(bob, alice, "there")
    say(bob, alice, *range(20))
    hear(alice, bob, *range(20))
    assert bob.result("get", "<query xmlns='jabber:iq:version'/>", to=ONE) is not None
    assert len(wire.pairs) == 1
    assert sorted((r["direction"], r["state"]) for r in other.rows("s2s", "list")) == \
        [("in", "up"), ("out", "up")]
