"""Search for words in archives (XEP-0431), on either database."""
import pytest

from harness import xml
from archive.test_mam import MAM, WORDS, Page, chat, library, query_text, tag, wait_for_alice

__all__ = ["library"]


def test_search(library):
    alice, bob, carol = library
    assert "urn:xmpp:fulltext:0" in {f.get("var") for f in alice.result(
        "get", f"<query xmlns='{xml.DISCO_INFO}'/>", to=alice.bare)}
    found = Page(alice, (WORDS, "quick"))
    assert found.bodies == ["the quick brown fox", "quick, quick!", "QUICK & dirty"]
    assert found.complete
    assert Page(alice, (WORDS, "ubermass")).bodies == []  # ß is no diacritic
    assert Page(alice, (WORDS, "UBERMAß")).bodies == ["Ein Übermaß an Füchsen"]
    assert Page(alice, (WORDS, "fox quick")).bodies == ["the quick brown fox"]
    assert Page(alice, (WORDS, "don't")).bodies == ["don't panic"]
    assert Page(alice, (WORDS, "quick cat")).bodies == []
    assert len(Page(bob, (WORDS, "quick")).bodies) == 4
    assert Page(carol, (WORDS, "quick")).bodies == ["quick, but not for alice"]


def test_search_with_other_filters(library):
    alice, bob, carol = library
    everything = Page(alice)
    assert Page(alice, (WORDS, "quick"), ("with", bob.bare)).bodies == \
        ["the quick brown fox", "quick, quick!", "QUICK & dirty"]
    assert Page(alice, (WORDS, "quick"), ("with", carol.bare)).bodies == []
    assert Page(alice, (WORDS, "quick"), ("with", bob.jid)).bodies != []
    assert Page(alice, (WORDS, "quick"), ("with", f"{bob.bare}/other")).bodies == []
    start = everything.stamps[1]  # two messages can have the same
    assert Page(alice, (WORDS, "quick"), ("start", start)).bodies == [
        body for body, stamp in zip(everything.bodies, everything.stamps)
        if stamp >= start and "quick" in body.lower()]
    assert Page(alice, (WORDS, "quick"), ("before-id", everything.ids[4])).bodies == \
        ["the quick brown fox", "quick, quick!"]
    page = Page(alice, (WORDS, "quick"), page="<max>2</max>")
    assert page.bodies == ["the quick brown fox", "quick, quick!"] and not page.complete
    page = Page(alice, (WORDS, "quick"), page=f"<max>2</max><after>{page.last}</after>")
    assert page.bodies == ["QUICK & dirty"] and page.complete
    page = Page(alice, (WORDS, "quick"), page="<max>2</max><before/>")
    assert page.bodies == ["quick, quick!", "QUICK & dirty"] and not page.complete
    page = Page(alice, (WORDS, "quick"), page=f"<max>2</max><before>{page.first}</before>")
    assert page.bodies == ["the quick brown fox"] and page.complete
    assert Page(alice, (WORDS, "quick"), page="<max>0</max>").count == "3"
    assert alice.error("set", query_text((WORDS, "quick"), ("ids", everything.ids[0])))[0] == \
        "bad-request"
    assert alice.error("set", query_text((WORDS, "quick"), ("after-id", "77")))[0] == \
        "item-not-found"


@pytest.mark.parametrize("text", ["*", "a AND", "NEAR(", "\"", "a\" OR \"b", "words:x", "x*", "-x",
                                  "{}", "(", "\ue0001", "^a", pytest.param("a" * 3000, id="long"),
                                  pytest.param("a b " * 500, id="many")])
def test_searches_have_no_syntax(library, text):
    """What has a letter is searched, the rest is refused; nothing of others is found."""
    alice = library[0]
    reply = alice.iq("set", query_text((WORDS, text.replace('"', "&quot;"))))
    if reply.get("type") == "error":
        assert xml.condition(reply) == "bad-request"
    assert not [e for e in alice.inbox if e.find(tag(MAM, "result")) is not None]


def test_search_for_too_many_words(library):
    """The first 32 count, with spaces between them or without."""
    alice, bob, _ = library
    words = [f"w{i}" for i in range(32)]
    said = [between.join(words) for between in (".", " ")]
    for text in said:
        chat(bob, alice.bare, text)
        alice.expect(f"<message><body>{text}</body></message>")
    for between in (".", " ", "\u2026"):
        for more in ([], ["w99"], ["w99"] * 1000):
            assert Page(alice, (WORDS, between.join(words + more))).bodies == said
        assert Page(alice, (WORDS, between.join(words[:-1] + ["w99"]))).bodies == []


def test_search_leaves_out_what_is_encrypted(server):
    alice, bob = server.client("alice", "a"), server.client("bob", "b")
    chat(bob, alice.bare, "secret fallback",
         "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>")
    chat(bob, alice.bare, "fallback")
    alice.expect("<message><body>fallback</body></message>")
    assert Page(alice, (WORDS, "fallback")).bodies == ["fallback"]


def test_search_after_a_crash(server):
    """The index follows the log: what it lacks is added before the search is answered."""
    bob = wait_for_alice(server, 30)
    server.kill()
    server.start()
    alice = server.login("alice", "x")
    assert Page(alice, (WORDS, "w17")).bodies == ["w17"]
    bob.expect_closed()


def test_search_is_a_setting(server, library):
    alice, bob, _ = library
    server.ctl("set", "archive.fulltext", "off")
    assert alice.error("set", query_text((WORDS, "quick")))[0] == "feature-not-implemented"
    chat(bob, alice.bare, "quick while it was off")
    alice.expect("<message><body>quick while it was off</body></message>")
    server.ctl("set", "archive.fulltext", "on")
    assert len(Page(alice, (WORDS, "quick")).bodies) == 4
