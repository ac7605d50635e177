"""Domains of ours share a stream to a server without XEP-0198: the answer to the ping of one of
them confirms what that one has sent, and nothing else."""
import re

import pytest

from harness import federation
from harness.client import until
from federation.test_s2s_lost import Reader
from federation.test_s2s_multiplex import EVIL, ONE, TWO, authority, evil, hosted, pending, start

assert authority and evil and start  # fixtures
IDS = {ONE: "first", TWO: "second"}


@pytest.fixture
def shared(evil):
    """Two messages, of two domains, on one stream, and a ping of each: our server, who listens,
    what is read of the stream, and the ids of the pings."""
    one, listener = evil
    _, carol, stream = hosted(one, listener)
    reader = Reader(stream)
    carol.send(f"<message to='bob@{EVIL}' type='chat'><body>second</body></message>")
    until("a key", lambda: f"from='{TWO}'" in reader.text)
    reader.say(f"<db:result from='{EVIL}' to='{TWO}' type='valid'/>")
    pings = {}

    def both():
        for iq in re.findall("<iq [^>]*><ping", reader.text):
            pings[re.search(" from='([^']*)'", iq)[1]] = re.search(" id='([^']*)'", iq)[1]
        return len(pings) == 2
    until("a ping of each", both)
    assert pings[ONE] != pings[TWO] and pending(one) == 2
    return one, listener, reader, pings


def pong(name, to, origin=EVIL, kind="result"):
    return f"<iq type='{kind}' id='{name}' from='{origin}' to='{to}'/>"


def sent_again(listener):
    """The body on the next stream: each domain has one of its own then."""
    with listener.join() as stream:
        return listener.read_until(stream, "(?s).*<body>(.*?)</body>")[1]


@pytest.mark.sqlite
@pytest.mark.parametrize("local", [ONE, TWO])
@pytest.mark.parametrize("kind", ["result", "error"])
def test_an_answer_on_the_shared_stream_is_for_its_domain(shared, local, kind):
    one, listener, reader, pings = shared
    reader.say(pong(pings[local], local, kind=kind))
    until("one is confirmed", lambda: pending(one) == 1)
    reader.cut()
    assert sent_again(listener) == IDS[TWO if local == ONE else ONE]


@pytest.mark.sqlite
@pytest.mark.parametrize("of, to", [(ONE, TWO), (TWO, ONE)])
def test_an_answer_on_the_shared_stream_to_another_domain_ends_it(shared, of, to):
    _, listener, reader, pings = shared
    reader.say(pong(pings[of], to))
    until("the error", lambda: "unsupported-stanza-type" in reader.text)
    reader.cut()
    assert {sent_again(listener), sent_again(listener)} == set(IDS.values())


@pytest.fixture
def streams(shared, authority):
    """A function that makes a stream of the other server: for which domains it may speak."""
    cert = authority.issue("third", EVIL, "third.test")
    return lambda local, origin=EVIL: federation.Peer(shared[0], origin, local, cert=cert).join()


@pytest.mark.sqlite
@pytest.mark.parametrize("local", [ONE, TWO])
def test_an_answer_on_a_stream_of_the_server_is_for_its_domain(shared, streams, local):
    one, listener, reader, pings = shared
    streams(local).raw(pong(pings[local], local))
    until("one is confirmed", lambda: pending(one) == 1)
    reader.cut()
    assert sent_again(listener) == IDS[TWO if local == ONE else ONE]


@pytest.mark.sqlite
@pytest.mark.parametrize("of, to, origin", [(ONE, TWO, EVIL), (TWO, ONE, EVIL),
                                            (ONE, ONE, "third.test")])
def test_an_answer_for_another_pair_confirms_nothing(shared, streams, of, to, origin):
    _, listener, reader, pings = shared
    peer = streams(to, origin)
    peer.raw(pong(pings[of], to, origin))
    peer.raw("</stream:stream>")  # it is read up to there
    peer.expect_closed()
    reader.cut()
    assert {sent_again(listener), sent_again(listener)} == set(IDS.values())


@pytest.mark.sqlite
@pytest.mark.parametrize("answers", [(ONE, TWO), (TWO,)])
def test_a_server_that_ends_the_shared_stream_is_asked_by_each_domain(shared, streams, answers):
    """Our half ends when both have their answers, or after 2 s; what was not answered for is sent
    again."""
    one, listener, reader, pings = shared
    backs = {local: streams(local) for local in (ONE, TWO)}
    for local, back in backs.items():
        back.raw(pong(pings[local], local))
    until("both are confirmed", lambda: pending(one) == 0)
    for local in ONE, TWO:
        one.client("alice", "again", domain=local).send(
            f"<message to='bob@{EVIL}' type='chat'><body>{IDS[local]} again</body></message>")
    until("both", lambda: reader.text.count("again</body>") == 2)
    seen = reader.text.count("<ping")
    reader.say("</stream:stream>")
    until("two pings", lambda: reader.text.count("<ping") == seen + 2)
    assert "</stream:stream>" not in reader.text
    for iq in re.findall("<iq [^>]*><ping", reader.text)[seen:]:
        local = re.search(" from='([^']*)'", iq)[1]
        if local in answers:
            backs[local].raw(pong(re.search(" id='([^']*)'", iq)[1], local))
    until("our end", lambda: "</stream:stream>" in reader.text)
    until("what is confirmed", lambda: pending(one) == 2 - len(answers))
    reader.cut()
    if len(answers) == 1:
        assert sent_again(listener) == f"{IDS[ONE]} again"
