"""A stream that domains of ours share ends, to a server without XEP-0198: nothing more is written
on it, whatever rules change meanwhile, and no other domain comes to it."""
import re

import pytest

from harness import federation
from harness.client import until
from federation.test_s2s_bidi import BIDI
from federation.test_s2s_lost import Reader
from federation.test_s2s_multiplex import (ERRORS, EVIL, ONE, TWO, authority, evil, hosted,
                                           pending, start)
from federation.test_s2s_multiplex_pings import pong, shared, streams

assert authority and evil and hosted and start and shared and streams  # fixtures
END = "</stream:stream>"


def say(client, text):
    client.send(f"<message to='bob@{EVIL}' type='chat'><body>{text}</body></message>")
    client.ping()


def next_text(listener, text):
    with listener.join() as stream:
        listener.read_until(stream, f"(?s).*<body>{text}</body>")


@pytest.mark.sqlite
@pytest.mark.parametrize("first", ["message", "rule"])
def test_rules_of_others_change_behind_our_end(shared, first):
    one, listener, reader, _ = shared
    carol = one.client("alice", "again", domain=TWO)
    one.ctl("s2s", "close", EVIL)
    until("our end", lambda: END in reader.text)
    if first == "message":
        say(carol, "later")
    one.ctl("federation", "block", "unrelated.test")
    if first == "rule":
        say(carol, "later")
    reader.cut()
    assert "later" not in reader.text
    next_text(listener, "later")


@pytest.mark.sqlite
@pytest.mark.parametrize("off", [ONE, TWO])
def test_one_domain_may_not_speak_and_the_other_one_goes_on(shared, off):
    one, listener, reader, _ = shared
    other = TWO if off == ONE else ONE
    carol = one.client("alice", "again", domain=other)
    one.ctl("set", f"s2s.policy@{off}", "off")
    until("our end", lambda: END in reader.text)
    say(carol, "later")
    reader.cut()
    assert "later" not in reader.text
    next_text(listener, "later")


@pytest.mark.sqlite
def test_rules_of_others_change_while_the_server_is_asked(shared, streams):
    """It has ended its half: what is written behind that is perhaps thrown away."""
    one, listener, reader, pings = shared
    backs = {local: streams(local) for local in (ONE, TWO)}
    for local, back in backs.items():
        back.raw(pong(pings[local], local))
    until("both are confirmed", lambda: pending(one) == 0)
    alice = one.client("alice", "again", domain=TWO)
    say(alice, "again")
    until("it", lambda: "again</body>" in reader.text and pending(one) == 1)
    seen = reader.text.count("<ping")
    reader.say(END)
    until("a ping", lambda: reader.text.count("<ping") == seen + 1)
    one.ctl("federation", "block", "unrelated.test")
    say(alice, "later")
    name = re.search(" id='([^']*)'", re.findall("<iq [^>]*><ping", reader.text)[-1])[1]
    backs[TWO].raw(pong(name, TWO))
    until("our end", lambda: END in reader.text)
    reader.cut()
    assert "later" not in reader.text
    next_text(listener, "later")


@pytest.mark.sqlite
@pytest.mark.parametrize("key", ["answered", "new"])
def test_no_domain_comes_to_a_stream_whose_server_is_asked(evil, authority, key):
    """Neither with a new key, nor one whose key was answered while it had another way."""
    one, listener = evil
    cert = authority.issue("third", EVIL)
    alice, carol = (one.client("alice", domain=domain) for domain in (ONE, TWO))
    say(alice, "first")
    reader = Reader(listener.join(ERRORS))
    until("a ping", lambda: "<ping" in reader.text)
    back = federation.Peer(one, EVIL, ONE, cert=cert).join()
    back.raw(pong(re.search(" id='([^']*)'", re.findall("<iq [^>]*><ping", reader.text)[-1])[1],
                  ONE))
    until("it is confirmed", lambda: pending(one) == 0)
    way = None
    if key == "answered":
        say(carol, "guest")
        until("a key", lambda: f"from='{TWO}'" in reader.text)
        way = federation.Peer(one, EVIL, TWO, cert=cert)
        way.secure()
        way.raw(BIDI)
        assert way.external() is None
        way.header().features_come()
        way.raw(f"<message from='bob@{EVIL}' to='alice@{TWO}' type='headline'><body>x</body>"
                "</message>")
        way.expect("<message type='chat'><body>guest</body></message>")
        reader.say(f"<db:result from='{EVIL}' to='{TWO}' type='valid'/>")
    say(alice, "second")
    until("it", lambda: "second</body>" in reader.text)
    seen = reader.text.count("<ping")
    reader.say(END)
    until("a ping", lambda: reader.text.count("<ping") == seen + 1)
    if way:
        way.raw(END)
        way.expect_closed()
    keys = reader.text.count(f"from='{TWO}'")
    say(carol, "later")
    with listener.join() as stream:
        listener.read_until(stream, "(?s).*<body>later</body>")
        assert reader.text.count(f"from='{TWO}'") == keys and "later" not in reader.text
        until("our end", lambda: END in reader.text)
    one.ctl("status")


@pytest.fixture
def again(shared, streams):
    """Each domain has had an answer, and the messages of those that write have come since: what
    writes, and the streams that answer."""
    one, _, reader, pings = shared
    backs = {local: streams(local) for local in (ONE, TWO)}
    for local, back in backs.items():
        back.raw(pong(pings[local], local))
    until("both are confirmed", lambda: pending(one) == 0)
    clients = {local: one.client("alice", "again", domain=local) for local in (ONE, TWO)}

    def write(*locals_):
        for local in locals_:
            say(clients[local], f"{local} again")
        until("all", lambda: reader.text.count("again</body>") == len(locals_))
        until("they are stored", lambda: pending(one) == len(locals_))
        return clients
    return write


@pytest.mark.sqlite
@pytest.mark.parametrize("off", [ONE, TWO])
def test_a_domain_that_may_not_speak_is_not_asked(shared, again, off):
    """No answer to it is taken: the end of the other server says that it has read all, at once."""
    one, _, reader, _ = shared
    client = again(off)[off]
    one.ctl("set", f"s2s.policy@{off}", "off")
    until("our end", lambda: END in reader.text)
    reader.say(END)
    until("it is confirmed", lambda: pending(one) == 0)
    client.ping()
    assert not [e for e in client.inbox if e.get("type") == "error"]


@pytest.mark.sqlite
def test_a_domain_is_asked_though_the_one_whose_stream_it_is_may_not_speak(shared, again):
    """The other server ends its half without having read anything."""
    one, listener, reader, _ = shared
    again(TWO)
    seen = reader.text.count("<ping")
    one.ctl("set", f"s2s.policy@{ONE}", "off")
    until("a ping", lambda: reader.text.count("<ping") > seen)
    reader.say(END)
    until("our end", lambda: END in reader.text)
    reader.cut()
    next_text(listener, f"{TWO} again")
