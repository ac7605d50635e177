"""Occupants who are not of this server are asked whether they are still there (XEP-0199)."""
import pytest

from harness import muc
from harness.client import until
from harness.component import Component
from harness.muc import Room

DOMAIN = "bots.example.test"
SECRET = "a rather long secret"
BOT = f"bot@{DOMAIN}/r"
PING = f"<iq type='get' to='{BOT}'><ping xmlns='urn:xmpp:ping'/></iq>"


@pytest.fixture
def server(make_server):
    server = make_server("alice", component=True,
                         settings={"muc.ping-after": "1s", "muc.ping-timeout": "2s"})
    server.ctl("component", "add", DOMAIN, "--secret", SECRET)
    return server


@pytest.fixture
def bots(server, alice):
    """A component with an occupant in the cave."""
    cave = Room("cave").create(alice, "first")
    bots = Component(server, DOMAIN, SECRET)
    bots.send(f"<presence from='{BOT}' to='{cave.at('bot')}'><x xmlns='{muc.NS}'/></presence>")
    assert cave.presence(alice, "bot").standing == ("none", "participant")
    return bots


def answer(bots, ping, kind="result", inner=""):
    bots.send(f"<iq type='{kind}' from='{BOT}' to='{ping.get('from')}' id='{ping.get('id')}'>"
              f"{inner}</iq>")


def error(condition):
    return (f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            "</error>")


def test_who_answers_stays_and_who_does_not_leaves(alice, bots):
    cave = Room("cave")
    answer(bots, bots.expect(PING))
    answer(bots, bots.expect(PING), "error", error("service-unavailable"))  # no XEP-0199
    ping = bots.expect(PING)
    assert ping.get("from") == cave.jid
    assert not [e for e in alice.inbox if e.get("from") == cave.at("bot")]
    seen = cave.gone(alice, "bot")
    assert 333 in seen.codes
    cave.say(alice, "alone")
    cave.expect_body(alice, "first", "alone")


def test_who_does_not_exist_any_more_leaves(alice, bots):
    answer(bots, bots.expect(PING), "error", error("item-not-found"))
    assert 333 in Room("cave").gone(alice, "bot").codes


def test_an_answer_that_nobody_waits_for_is_ignored(alice, bots):
    cave = Room("cave")
    ping = bots.expect(PING)
    bots.send(f"<iq type='error' from='{BOT}' to='{cave}' id='other'>{error('gone')}</iq>")
    bots.send(f"<iq type='error' from='bot@{DOMAIN}/x' to='{cave}' id='{ping.get('id')}'>"
              f"{error('gone')}</iq>")
    answer(bots, ping)
    answer(bots, bots.expect(PING))
    assert not [e for e in alice.inbox if e.get("from") == cave.at("bot")]


def test_components_that_are_gone_leave(server, alice, bots):
    """Their presence and messages come back at once, while the room still speaks to all."""
    cave = Room("cave")
    for i in range(5):
        bots.send(f"<presence from='bot@{DOMAIN}/{i}' to='{cave.at(f'bot{i}')}'>"
                  f"<x xmlns='{muc.NS}'/></presence>")
        cave.presence(alice, f"bot{i}")
    bots.close()
    until("the server noticed", lambda: not server.rows("component", "list")[0]["connections"])
    cave.say(alice, "anybody there?")
    gone = {cave.expect(alice, "presence", nick, lambda e: e.get("type") == "unavailable")
            .get("from") for nick in ("bot", "bot0", "bot1", "bot2", "bot3", "bot4")}
    assert len(gone) == 6
    cave.forget(alice)
    cave.say(alice, "nobody")
    cave.expect_body(alice, "first", "nobody")
    assert [e.get("nick") for e in cave.listed(alice, role="participant")] == []
