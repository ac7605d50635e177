"""A stored message for another server that is given up: its sender is told, also one who has logged
out, and also if the server is killed at that moment."""
import contextlib
import re
import time

import pytest

from harness import federation, slow_disk, xml
from harness.client import until
from archive.test_mam import Page
from federation.test_s2s_lost import NOT_STORED, condition, flood, pending, say
from stream.test_sm import resume

HOME, AWAY, GONE = "one.test", "other.test", "gone.test"


@pytest.fixture
def away(make_server, tmp_path):
    """A server whose users write to another domain, which cannot be reached."""
    tls = federation.Authority(tmp_path).issue(HOME, HOME)
    server = make_server("alice", "carol", domains=[HOME], s2s=True, tls=tls,
                         settings=federation.settings())
    federation.route(server, AWAY, federation.free_port())
    return server


def leave(client, count=1):
    """Messages of a client that ends when they are stored."""
    client.enable_sm()
    flood(client, 0, count)
    client.wait_acked(count)
    client.close()


def give_up(node, after="1s"):
    node.ctl("set", "s2s.retry-for", "0s")
    node.ctl("set", "s2s.keep-for", after)


def until_given_up(node):
    until("all are given up", lambda: pending(node) == 0)


def errors(client, count):
    """The ids of the errors that have come: so many, and no more."""
    found = [client.expect("<message type='error'/>").get("id") for _ in range(count)]
    client.expect_nothing("<message type='error'/>")
    return found


def ids(count):
    return [f"m{n}" for n in range(count)]


def test_a_sender_who_has_logged_out_is_told_at_the_next_login(away):
    leave(away.client("alice", "phone"))
    give_up(away)
    until_given_up(away)
    alice = away.client("alice", "laptop")
    error = alice.expect(f"<message type='error' id='m0' from='bob@{AWAY}'/>")
    assert condition(error) == "remote-server-timeout"
    assert error.find(f"{{{xml.DELAY}}}delay") is not None
    alice.ping()
    alice.close()
    assert errors(away.client("alice", "laptop"), 0) == []


def test_it_outlasts_a_crash_and_comes_in_order(away):
    leave(away.client("alice", "phone"), 100)
    give_up(away)
    until_given_up(away)
    away.kill()
    away.start()
    assert errors(away.client("alice"), 100) == ids(100)


BLOCKS = {
    "blocked": f"<block xmlns='urn:xmpp:blocking'><item jid='bob@{AWAY}'/></block>",
    "domain": f"<block xmlns='urn:xmpp:blocking'><item jid='{AWAY}'/></block>",
    "list": "<query xmlns='jabber:iq:privacy'><list name='l'><item type='jid' value='" + AWAY
            + "' action='deny' order='1'/></list></query>",
}


@pytest.mark.parametrize("state", ["online", "offline", "disabled"])
@pytest.mark.parametrize("how", BLOCKS)
def test_who_has_blocked_the_addressee_meanwhile_is_told(away, how, state):
    """By the server, since nothing of the addressee comes through."""
    alice = away.client("alice", "phone")
    alice.enable_sm()
    flood(alice, 0, 1)
    alice.wait_acked(1)
    alice.result("set", BLOCKS[how])
    if how == "list":
        alice.result("set", "<query xmlns='jabber:iq:privacy'><default name='l'/></query>")
    if state != "online":
        alice.close()
    if state == "disabled":
        away.ctl("user", "disable", alice.bare)
    give_up(away)
    until_given_up(away)
    if state == "disabled":
        away.ctl("user", "enable", alice.bare)
    alice = alice if state == "online" else away.client("alice", "laptop")
    error = alice.expect(f"<message type='error' id='m0' from='{HOME}'/>")
    assert condition(error) == "remote-server-timeout"
    alice.expect_nothing("<message type='error'/>")


def test_a_server_that_is_killed_while_it_gives_up_tells_of_all(away):
    alice = away.client("alice", "phone")
    alice.enable_sm()
    flood(alice, 0, 200)
    alice.wait_acked(200)
    give_up(away)
    until("some are given up", lambda: pending(away) < 150)
    away.kill()
    away.start()
    until_given_up(away)
    told = errors(away.client("alice", "phone"), 200)
    assert sorted(told, key=lambda i: int(i[1:])) == ids(200)


def test_it_is_in_the_archive_beside_the_message(away):
    leave(away.client("alice", "phone"))
    give_up(away)
    until_given_up(away)
    page = Page(away.login("alice", "reader"))
    assert [(m.get("type"), m.get("id")) for m in page.messages] == [("chat", "m0"),
                                                                     ("error", "m0")]


def test_a_sender_who_archives_nothing_is_told_all_the_same(away):
    alice = away.client("alice", "phone")
    alice.result("set", "<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>")
    leave(alice)
    give_up(away)
    until_given_up(away)
    alice = away.login("alice", "reader")
    assert Page(alice).messages == []
    alice.available()
    assert errors(alice, 1) == ["m0"]
    assert Page(alice).messages == []


def test_a_session_that_can_be_resumed_gets_it(away):
    alice = away.client("alice", "phone")
    alice.enable_sm()
    flood(alice, 0, 3)
    alice.wait_acked(3)
    laptop = away.client("alice", "laptop")
    alice.cut()
    give_up(away)
    until_given_up(away)
    assert errors(laptop, 0) == []
    again = resume(away, alice)
    assert errors(again, 3) == ids(3)


@pytest.mark.parametrize("expiry", ["bounce", "deliver"])
def test_a_session_that_cannot_be_resumed_leaves_them_to_the_next(away, expiry):
    away.ctl("set", "sm.on-expiry", expiry)
    away.ctl("set", "sm.hibernate-buffer", "5")
    alice = away.client("alice", "phone")
    alice.enable_sm()
    flood(alice, 0, 8)
    alice.wait_acked(8)
    alice.cut()
    until("hibernation", lambda: "hibernating" in [
        row["state"] for row in away.rows("session", "list")])
    give_up(away)
    until_given_up(away)
    until("there are too many for it", lambda: away.rows("session", "list") == [])
    assert errors(away.client("alice", "laptop"), 8) == ids(8)


def test_other_clients_of_the_sender_get_it_if_that_one_is_gone(away):
    laptop = away.client("alice", "laptop")
    leave(away.client("alice", "phone"))
    give_up(away)
    until_given_up(away)
    assert errors(laptop, 1) == ["m0"]
    laptop.close()
    assert errors(away.client("alice", "tablet"), 0) == []


def test_a_full_mailbox_takes_it(away):
    away.ctl("set", "mailbox.unsettled-max", "2")
    leave(away.client("alice", "phone"), 5)
    give_up(away)
    until_given_up(away)
    carol = away.client("carol")
    say(carol, 9, to=f"alice@{HOME}")
    assert carol.expect("<message type='error'/>").get("id") == "m9"
    assert errors(away.client("alice"), 5) == ids(5)


def test_a_sender_who_is_deleted_is_not_told(away):
    leave(away.client("alice"))
    away.ctl("user", "del", f"alice@{HOME}")
    give_up(away)
    until_given_up(away)
    away.add_user("alice", domain=HOME)
    assert errors(away.client("alice"), 0) == []


@pytest.mark.parametrize("restart", [False, True])
def test_a_sender_who_is_disabled_is_told_when_it_is_enabled(away, restart):
    leave(away.client("carol"), 2)
    away.ctl("user", "disable", f"carol@{HOME}")
    if restart:
        away.restart()
    give_up(away)
    until_given_up(away)
    if restart:
        away.restart()
    away.ctl("user", "enable", f"carol@{HOME}")
    carol = away.client("carol")
    assert errors(carol, 2) == ids(2)
    carol.close()
    assert errors(away.client("carol"), 0) == []


def test_what_is_not_stored_is_not_told_later(away):
    alice = away.client("alice")
    alice.enable_sm()
    say(alice, 0, "<no-store xmlns='urn:xmpp:hints'/>")
    alice.wait_acked(1)
    alice.close()
    carol = away.client("carol")
    give_up(away)
    say(carol, 1, "<no-store xmlns='urn:xmpp:hints'/>")
    carol.expect("<message type='error' id='m1'/>")
    assert errors(away.client("alice"), 0) == []


# --- rules of this server, and of the sender, are not about its own word ---


CONTACT = f"<query xmlns='{xml.ROSTER}'><item jid='bob@{AWAY}'/></query>"


@pytest.mark.parametrize("restart", [False, True])
def test_who_may_not_write_there_any_more_is_told(away, restart):
    alice = away.client("alice", "phone")
    alice.result("set", CONTACT)
    leave(alice, 2)
    away.ctl("federation", "set", f"alice@{HOME}", "off")
    if restart:
        away.restart()
    give_up(away)
    until_given_up(away)
    assert errors(away.client("alice", "laptop"), 2) == ids(2)


@pytest.mark.parametrize("restart", [False, True])
def test_errors_are_no_words_of_strangers(away, restart):
    alice = away.client("alice", "phone")
    alice.enable_sm()
    for n in range(4):
        alice.send(f"<message to='u{n}@{AWAY}' type='chat' id='m{n}'><body>x</body></message>")
    alice.wait_acked(4)
    alice.close()
    away.ctl("set", "federation.stranger-rate", "1")
    if restart:
        away.restart()
    give_up(away)
    until_given_up(away)
    assert sorted(errors(away.client("alice", "laptop"), 4)) == ids(4)


@pytest.mark.parametrize("online", [False, True])
def test_who_takes_nothing_from_strangers_is_told(away, online):
    alice = away.client("alice", "phone")
    alice.result("set", "<policy xmlns='urn:muster:policy:0' others='block'/>")
    if online:
        say(alice, 0)
        until("it waits", lambda: pending(away) == 1)
    else:
        leave(alice)
    give_up(away)
    until_given_up(away)
    assert errors(alice if online else away.client("alice", "laptop"), 1) == ids(1)


# --- a domain of ours that is not there any more ---


def serve(node, *domains):
    node.conf["domains"] = list(domains)
    node.restart()


@pytest.fixture
def gone(make_server, tmp_path):
    """A message of alice@gone.test waits, and the node file has that domain no more."""
    authority = federation.Authority(tmp_path)
    tls = {**authority.issue(HOME, HOME, GONE), "trust": str(authority.file)}
    server = make_server("carol", domains=[HOME, GONE], s2s=True, tls=tls,
                         settings=federation.settings())
    server.authority = authority
    server.add_user("alice", domain=GONE)
    federation.route(server, AWAY, federation.free_port())
    leave(server.client("alice", domain=GONE))
    serve(server, HOME)
    return server


def test_messages_of_a_domain_that_is_served_no_more_end(gone):
    """Operators see them meanwhile, and the domain that they are for is not said to fail. If the
    domain of the sender comes back, its user is told."""
    gone.wait_log(f"event=s2s.unserved domain={AWAY} local={GONE}")
    line = until("it is tried", lambda: gone.rows("s2s", "list", AWAY))[0]
    assert (line["local"], line["stage"]) == (GONE, "policy") and "does not serve" in line["why"]
    shown = [(row["name"], row["value"]) for row in gone.rows("s2s", "show", AWAY)]
    assert ("queue", "0 stanzas wait, and stored messages") in shown
    assert ("stored", "1 messages are not confirmed") in shown
    assert "failing since" not in dict(shown) and pending(gone) == 1
    give_up(gone)
    until_given_up(gone)
    gone.wait_log(f"event=s2s.given-up domain={AWAY} local={GONE} messages=1")
    assert ('muster_s2s_given_up_total{sender="unserved"} 1'
            in gone.ctl("metrics", "--format", "prometheus")["text"])
    serve(gone, HOME, GONE)
    assert condition(gone.client("alice", domain=GONE).expect(
        "<message type='error' id='m0'/>")) == "service-unavailable"


def test_messages_of_a_domain_that_is_served_again_go(gone):
    gone.wait_log(f"event=s2s.unserved domain={AWAY} local={GONE}")
    with contextlib.closing(federation.Listener(AWAY, gone.authority.issue(AWAY, AWAY))) as away:
        federation.route(gone, AWAY, away.port)
        serve(gone, HOME, GONE)
        away.read_until(away.join(), f"<message [^>]*from='alice@{GONE}/")


def test_messages_that_wait_come_back_where_federation_is_off_at_the_start(away):
    leave(away.client("alice"))
    away.conf["settings"]["s2s.policy"] = "off"
    away.restart()
    until_given_up(away)
    assert errors(away.client("alice"), 1) == ids(1)


REFUSAL = (f"<stream:error><policy-violation xmlns='{xml.STREAM_ERROR}'/></stream:error>"
           "</stream:stream>").encode()


def refuse(listener, before):
    with listener.sock.accept()[0] as peer:
        before()
        listener.header(peer, "refused", "")
        peer.sendall(REFUSAL)


def read_all(peer):
    """The messages that come until nothing has come for a while, which are confirmed; then both
    ends."""
    text = ""
    peer.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while data := peer.recv(65536):
            text += data.decode()
    peer.settimeout(30)
    peer.sendall(f"<enabled xmlns='{xml.SM}'/><a xmlns='{xml.SM}' h='{text.count('</message>')}'/>"
                 "</stream:stream>".encode())
    with contextlib.suppress(OSError):
        while peer.recv(65536):
            pass
    peer.close()
    return re.findall("<body>(m[0-9]+)</body>", text)


@pytest.mark.sqlite
def test_what_comes_back_does_not_go_out(make_server, tmp_path, disk):
    """The server refuses, and takes the next stream while senders are still being told: a message
    that is read from the database then has been given up when its turn comes. Several rounds, as
    the moment is short."""
    authority = federation.Authority(tmp_path)
    tls = {**authority.issue(HOME, HOME), "trust": str(authority.file)}
    node = make_server("alice", domains=[HOME], s2s=True, tls=tls, disk=disk,
                       settings=federation.settings(bidi="off"))
    listener = federation.Listener(AWAY, authority.issue("away", AWAY))
    federation.route(node, AWAY, listener.port)
    listener.sock.settimeout(5)
    alice, retries, out = node.client("alice"), [], []
    for n in range(12):
        for name in range(40 * n, 40 * n + 40):
            alice.send(f"<message to='bob@{AWAY}' type='chat' id='m{name}'><body>m{name}</body>"
                       "</message>")
        alice.ping()
        if n > 0:
            retries.append(node.ctl_start("s2s", "retry", AWAY))
        until("they are stored", lambda: pending(node) >= 40)
        with contextlib.suppress(TimeoutError):  # an attempt may be one of the round before
            refuse(listener, lambda: disk.turn(sync_ms=slow_disk.STILL))
            retries.append(node.ctl_start("s2s", "retry", AWAY))
            peer = listener.secure()
            listener.read_until(peer, "<auth.*</auth>")
            peer.sendall(f"<success xmlns='{xml.SASL}'/>".encode())
            alice.raw(f"<iq type='get' id='busy' to='{HOME}'>"
                      "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>" * 60)
            listener.header(peer, "third", f"<sm xmlns='{xml.SM}'/>")
            disk.turn(sync_ms=0)
            out += read_all(peer)
        disk.turn(sync_ms=0)
    for retry in retries:
        retry.communicate()
    federation.route(node, AWAY, federation.free_port())
    give_up(node)
    listener.close()
    until("none waits", lambda: pending(node) == 0)
    alice.ping()
    back = [e.get("id") for e in alice.log
            if e.tag.endswith("}message") and e.get("type") == "error"]
    assert len(back) == len(set(back)) and len(set(out) | set(back)) == 12 * 40
    assert not set(out) & set(back)


@pytest.mark.sqlite
def test_what_is_being_returned_while_the_disk_stands_still_does_not_go_out(
        make_server, tmp_path, disk):
    """It is too large for a stream, and the next one takes it, before it is known that its sender
    is told, and later than a write may take."""
    authority = federation.Authority(tmp_path)
    tls = {**authority.issue(HOME, HOME), "trust": str(authority.file)}
    node = make_server("alice", domains=[HOME], s2s=True, tls=tls, disk=disk,
                       settings=federation.settings(bidi="off"))
    listener = federation.Listener(AWAY, authority.issue("away", AWAY))
    federation.route(node, AWAY, listener.port)
    alice = node.client("alice")
    listener.leave()
    alice.send(f"<message to='bob@{AWAY}' type='chat' id='m0'><body>{30000 * 'x'}</body></message>")
    until("it is stored", lambda: pending(node) == 1)
    disk.turn(sync_ms=slow_disk.STILL)
    listener.come_back()
    retry = node.ctl_start("s2s", "retry", AWAY)
    with listener.join("<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>20000</max-bytes>"
                       "</limits>") as peer:
        say(alice, 1, NOT_STORED)
        out = listener.read_until(peer, "<body>text 1</body>").string
    late = time.monotonic() + 7  # STORE_DEADLINE_MS, and more
    say(alice, 2, NOT_STORED)
    with listener.join() as peer:
        out += listener.read_until(peer, "<body>text 2</body>").string
        until("its error should be stored", lambda: time.monotonic() > late)
        say(alice, 3, NOT_STORED)
        out += listener.read_until(peer, "<body>text 3</body>").string
        assert "xxx" not in out
        disk.turn(sync_ms=0)
        alice.expect("<message type='error' id='m0'/>")
        until("none waits", lambda: pending(node) == 0)
    retry.communicate()
    listener.close()
    alice.expect_nothing("<message type='error' id='m0'/>")
