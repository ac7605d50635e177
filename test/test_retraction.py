"""Messages that are taken back (XEP-0424) with their corrections (XEP-0308)."""
import pytest

from muster.client import until
from test_mam import Page, retract, tombstone


def correct(client, to, ident, of):
    client.send(f"<message to='{to}' type='chat' id='{ident}'><body>{ident}</body>"
                f"<replace xmlns='urn:xmpp:message-correct:0' id='{of}'/></message>")


@pytest.mark.parametrize("where", ["here", "away"])
def test_corrections_are_taken_back_with_the_message(server, where):
    """From the archives of both sides, and a client that comes later sees no words. Corrections of
    other messages, and those that others have made, stay."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    to, back = bob.bare, alice.bare
    if where == "away":
        bob.close()
    for ident in "m1", "m2":
        alice.send(f"<message to='{to}' type='chat' id='{ident}'><body>{ident}</body></message>")
    for n in range(3):
        correct(alice, to, f"c{n}", "m1")
    correct(alice, to, "other", "m2")
    if where == "here":
        bob.expect("<message id='other'/>")
        correct(bob, back, "theirs", "m1")
        alice.expect("<message id='theirs'/>")
    retract(alice, to, "m1")
    gone = {"m1", "c0", "c1", "c2"}
    if where == "away":
        until("tombstones", lambda: len([m for m in Page(alice).messages
                                         if tombstone(m) is not None]) == 4)
        bob = server.client("bob", "b")
        for ident in sorted(gone):
            assert tombstone(bob.expect(f"<message id='{ident}'/>")) is not None
    for client in alice, bob:
        until("tombstones", lambda client=client: {m.get("id") for m in Page(client).messages
                                                   if tombstone(m) is not None} == gone)
        page = Page(client)
        assert {"m2", "other"} <= set(page.bodies) and not gone & set(page.bodies)
    assert ("theirs" in Page(alice).bodies) == (where == "here")


def test_a_message_is_taken_back_though_its_corrections_were(server):
    """By their own ids, before; and a second time."""
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    alice.send(f"<message to='{bob.bare}' type='chat' id='m1'><body>m1</body></message>")
    correct(alice, bob.bare, "c1", "m1")
    for ident in "c1", "m1", "m1":
        retract(alice, bob.bare, ident)
    for client in alice, bob:
        until("tombstones", lambda client=client: {m.get("id") for m in Page(client).messages
                                                   if tombstone(m) is not None} == {"c1", "m1"})
