"""A component (XEP-0114) whose domain was that of another server, and is again."""
import pytest

from harness import across
from harness.across import ONE, OTHER
from harness.client import until
from harness.component import Component
from harness.muc import Room

SECRET = "a rather long secret"


@pytest.fixture
def servers(make_server, tmp_path):
    return across.start(make_server, tmp_path, component=True,
                        settings={"s2s.lost-after": "2s", "s2s.retry-for": "2s"})


def links(server):
    return [row for row in server.rows("s2s", "list") if row["domain"] == OTHER]


def test_a_component_takes_a_domain_over_and_gives_it_back(servers):
    """Nobody else speaks for the domain meanwhile; contacts and occupants of before are gone. What
    is stored at the other server waits there."""
    one, other = servers
    alice, bob = one.client("alice", "a"), other.client("bob", "b")
    across.befriend(alice, bob)
    cave = Room("cave", ONE)
    cave.create(alice, "alice")
    cave.enter(bob, "bob")
    one.ctl("component", "add", OTHER, "--secret", SECRET)
    until("no stream of the other server is left", lambda: not links(one))
    alice.expect(f"<presence from='{bob}' type='unavailable'/>")
    cave.gone(alice, "bob")
    bob.send(f"<message to='{alice}' type='chat' id='late'><body>late</body></message>")
    bob.expect(f"<presence from='{alice}' type='unavailable'/>")
    component = Component(one, OTHER, SECRET)
    component.send(f"<message from='bob@{OTHER}/c' to='{alice}' id='c'><body>c</body></message>")
    alice.expect(f"<message from='bob@{OTHER}/c' id='c'/>")
    alice.expect_nothing("<message id='late'/>")
    one.ctl("component", "del", OTHER)
    other.ctl("s2s", "retry", ONE)
    alice.expect(f"<presence from='{bob}' type='-'/>")
    bob.expect(f"<presence from='{alice}' type='-'/>")
    alice.expect("<message id='late'/>")
    across.mark(alice, bob, "there")
    across.mark(bob, alice, "back")
