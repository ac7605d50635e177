"""What one address says to another arrives in the order in which it was said (RFC 6120 §10.1), also
while messages are delivered that have waited for a login (XEP-0160): some of it is stored, and some
is not."""
import random

import pytest

from stream import test_sm
from harness.client import bodies, until
from im.test_offline import PAGE, slow_reader

SAID = {
    "chat": "<message to='{bare}' type='chat' id='{id}'><body>b</body></message>",
    "full": "<message to='{full}' type='chat' id='{id}'><body>b</body></message>",
    "headline": "<message to='{bare}' type='headline' id='{id}'><body>b</body></message>",
    "hint": "<message to='{full}' type='chat' id='{id}'><body>b</body>"
            "<no-store xmlns='urn:xmpp:hints'/></message>",
    "state": "<message to='{full}' type='chat' id='{id}'><composing"
             " xmlns='http://jabber.org/protocol/chatstates'/></message>",
    "presence": "<presence to='{full}' id='{id}'/>",
    "iq": "<iq to='{full}' type='get' id='{id}'><query xmlns='jabber:iq:version'/></iq>",
}
KINDS = list(SAID)


def say(client, to, kinds, first=0):
    for number, kind in enumerate(kinds, first):
        client.send(SAID[kind].format(bare=to.bare, full=to.jid, id=number))
    client.ping()


def heard(client, alice):
    """The ids of what has come from alice behind the messages that have waited."""
    return [int(e.get("id")) for e in client.log
            if e.get("from") == alice.jid and (e.get("id") or "").isdigit()]


def resume(server, old):
    new = test_sm.resume(server, old)
    new.log = old.log + new.log
    return new


def comes(client, alice, count):
    """All of it, in order."""
    client.auto_ack = True
    client.ack()
    client.wait("all", lambda: len(heard(client, alice)) >= count)
    client.ping()
    assert heard(client, alice) == list(range(count))
    assert bodies(client.log)[:2 * PAGE] == [str(n) for n in range(2 * PAGE)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_live_comes_behind_what_has_waited(server, kind):
    alice, bob = slow_reader(server, 2 * PAGE)
    say(alice, bob, ["headline", kind, "chat", kind])
    comes(bob, alice, 4)


def test_the_order_outlasts_a_break(server):
    alice, bob = slow_reader(server, 2 * PAGE)
    say(alice, bob, KINDS)
    bob.cut()
    until("it hibernates", lambda: [row["state"] for row in server.rows("session", "list", "--jid",
          "bob@localhost")] == ["hibernating"])
    say(alice, bob, KINDS, len(KINDS))
    comes(resume(server, bob), alice, 2 * len(KINDS))


def test_contacts_are_seen_before_all_is_delivered(server):
    """Whose messages wait is not known yet, and presence is not about them."""
    server.befriend("bob", "carol")
    _, bob = slow_reader(server, 2 * PAGE)
    carol = server.client("carol", "c")
    bob.expect(f"<presence from='{carol}'/>")
    assert len(bodies(bob.log)) == PAGE


def test_what_waits_for_a_session_that_ends_goes_where_it_would_go_now(server):
    alice, bob = slow_reader(server, 2 * PAGE)
    other = server.client("bob", "other", priority=-1)
    alice.send(f"<message to='{bob}' type='chat'><body>passing</body><no-store xmlns="
               "'urn:xmpp:hints'/></message>")
    alice.send(f"<iq to='{bob}' type='get' id='asked'><a xmlns='urn:a'/></iq>")
    alice.ping()
    other.available(1)
    bob.close()
    alice.expect("<iq type='error' id='asked'/>")
    other.expect("<message><body>passing</body></message>")


def test_a_planned_restart_loses_none(server):
    alice, bob = slow_reader(server, 2 * PAGE)
    say(alice, bob, ["hint", "chat", "hint"])
    server.stop()
    server.start()
    bob = resume(server, bob)
    bob.auto_ack = True
    bob.ack()
    bob.wait("all", lambda: len(bodies(bob.log)) >= 2 * PAGE + 3)
    bob.ping()
    said = [e.get("id") for e in bob.log if e.tag.endswith("}message")]
    assert sorted(n for n in said if n and n.isdigit()) == ["0", "1", "2"]


@pytest.mark.settings({"c2s.stanza-rate": "none"}, why="what waits is bounded")
def test_too_many_are_not_kept(server):
    """They come before what has waited, in order."""
    alice, bob = slow_reader(server, 2 * PAGE)
    say(alice, bob, ["hint"] * 2500)
    bob.wait("most", lambda: len(heard(bob, alice)) > 2000)
    assert len(bodies(bob.log)) < 2 * PAGE + 2500
    bob.auto_ack = True
    bob.ack()
    bob.wait("all", lambda: len(heard(bob, alice)) == 2500)
    assert heard(bob, alice) == list(range(2500))


@pytest.mark.parametrize("seed", range(6))
def test_any_sequence_keeps_its_order(server, seed):
    """Several who speak, breaks, and two clients."""
    rand = random.Random(seed)
    alice, bob = slow_reader(server, 2 * PAGE)
    server.client("bob", "other")
    counts = {alice: 0, server.client("carol", "c"): 0}
    for _ in range(12):
        speaker = rand.choice(list(counts))
        kinds = rand.choices(KINDS, k=rand.randrange(12))
        say(speaker, bob, kinds, counts[speaker])
        counts[speaker] += len(kinds)
        if rand.random() < 0.3:
            bob.auto_ack = rand.random() < 0.5
            bob.ack()
            bob.ping()
        elif rand.random() < 0.3:
            bob.cut()
            bob = resume(server, bob)
    bob.auto_ack = True
    bob.ack()
    for speaker, count in counts.items():
        bob.wait("all", lambda: len(heard(bob, speaker)) >= count)  # noqa: B023
        assert heard(bob, speaker) == list(range(count))
