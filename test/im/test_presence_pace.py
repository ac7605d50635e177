"""Changes of presence, of clients and of the server for them: so many a second, and the last state
arrives."""
import time

import pytest

from harness import xml
from harness.client import until
from services.test_avatar import HASH, UPDATE, photo_in, publish_avatar
from services.test_push import enable

CSI = "urn:xmpp:csi:0"
RATE = 10


def quiet(client):
    client.send(f"<inactive xmlns='{CSI}'/>")


def active(client):
    client.send(f"<active xmlns='{CSI}'/>")


def show(presence):
    return presence.findtext(f"{{{xml.CLIENT}}}show")


@pytest.fixture
def host(make_server):
    names = [f"u{i}" for i in range(24)]
    server = make_server("bob", *names)
    server.ctl("set", "presence.change-rate", str(RATE))
    for name in names:
        server.befriend(name, "bob")
    return server


def test_many_that_fall_asleep_are_told_one_after_another(host):
    bob = host.client("bob", "b")
    phones = [host.client(f"u{i}", "phone") for i in range(24)]
    for phone in phones:
        bob.expect(f"<presence from='{phone}'/>")
        enable(phone)
    start = time.monotonic()
    for phone in phones:
        quiet(phone)
    phones[-1].ping()
    active(phones[-1])  # waits still: nobody hears of it
    phones[-2].send("<presence><show>dnd</show></presence>")  # in the same turn, and it counts
    for phone in phones[:-2]:
        assert show(bob.expect(f"<presence from='{phone}'/>")) == "away"
    assert show(bob.expect(f"<presence from='{phones[-2]}'/>")) == "dnd"
    assert time.monotonic() - start >= (23 - 2) / RATE - 0.2
    for phone in phones[-2:]:
        bob.expect_nothing(f"<presence from='{phone}'/>", after=phone)
    for phone in phones[:3]:
        active(phone)
    for phone in phones[:3]:
        assert show(bob.expect(f"<presence from='{phone}'/>")) is None


def test_another_avatar_of_one_who_is_shown_as_away(host):
    """Awake again, the client is shown as it said, with the new avatar."""
    bob, phone = host.client("bob", "b"), host.client("u0", "phone")
    bob.expect(f"<presence from='{phone}'/>")
    enable(phone)
    quiet(phone)
    assert show(bob.expect(f"<presence from='{phone}'/>")) == "away"
    publish_avatar(phone)
    seen = bob.expect(f"<presence from='{phone}'><x xmlns='{UPDATE}'/></presence>")
    assert show(seen) == "away" and photo_in(seen) == HASH
    active(phone)
    seen = bob.expect(f"<presence from='{phone}'/>")
    assert show(seen) is None and photo_in(seen) == HASH


def test_who_goes_while_it_waits_is_gone(host):
    bob = host.client("bob", "b")
    phones = [host.client(f"u{i}", "phone") for i in range(8)]
    for phone in phones:
        bob.expect(f"<presence from='{phone}'/>")
        enable(phone)
    for phone in phones:
        quiet(phone)
    phones[-1].ping()
    for phone in phones:
        phone.close()
    for phone in phones:
        bob.expect(f"<presence from='{phone}' type='unavailable'/>")
    last = host.client("u8", "phone")  # behind all who waited
    bob.expect(f"<presence from='{last}'/>")
    enable(last)
    quiet(last)
    assert show(bob.expect(f"<presence from='{last}'/>")) == "away"
    for phone in phones:
        told = [e for e in bob.log if e.get("from") == str(phone)]
        assert told[-1].get("type") == "unavailable"


def change(phones, *texts):
    """Each client sends all of these states, one after another."""
    for text in texts:
        for phone in phones:
            phone.send(f"<presence><status>{text}</status></presence>")
    for phone in phones:
        phone.ping()


def states(client, phone):
    """What the client was told of the phone."""
    return [e.findtext(f"{{{xml.CLIENT}}}status") for e in client.log
            if xml.matches(e, f"<presence from='{phone}' type='-'><status/></presence>")]


def test_changes_of_clients_wait_for_their_turn(host):
    """Many clients that change often: contacts hear no more than the rate, and the last state of
    each; who asks hears it at once; who goes does not wait."""
    bob = host.client("bob", "b")
    phones = [host.client(f"u{i}", "phone") for i in range(24)]
    for phone in phones:
        bob.expect(f"<presence from='{phone}' type='-'/>")
    start = time.monotonic()
    change(phones, *range(10))
    late = host.client("bob", "late")
    late.expect(f"<presence from='{phones[-1]}'/>")
    assert states(late, phones[-1])[0] == "9"
    for phone in phones:
        bob.expect(f"<presence from='{phone}'><status>9</status></presence>")
    took = time.monotonic() - start
    assert took >= (24 - 3) / RATE - 0.2
    assert sum(len(states(bob, phone)) for phone in phones) <= took * RATE + 3
    change(phones, "again")
    phones[-1].close()
    gone = bob.expect(f"<presence from='{phones[-1]}'/>")
    assert gone.get("type") == "unavailable"
    assert states(bob, phones[-1])[-1] == "9"
    for phone in phones[:-1]:
        bob.expect(f"<presence from='{phone}'><status>again</status></presence>")
    assert next(row["value"] for row in host.rows("metrics")
                if row["name"] == "muster_presence_change_waits") > 0


def test_a_planned_restart_keeps_changes_that_wait(host):
    bob = host.client("bob", "b")
    bob.enable_sm()
    phones = [host.client(f"u{i}", "phone") for i in range(24)]
    for phone in phones:
        bob.expect(f"<presence from='{phone}' type='-'/>")
        phone.enable_sm()
    change(phones, "first", "last")
    host.restart()
    while bob.pump(0.1) and not bob.eof:
        pass
    back = host.connect("bob")
    assert back.take_over(bob).tag == f"{{{xml.SM}}}resumed"
    until("each last state is told", lambda: back.ping() or all(
        (states(bob, phone) + states(back, phone))[-1:] == ["last"] for phone in phones))


def in_turn(bob, phones, kind):
    """Bob is told of all, no sooner than the rate allows."""
    start = time.monotonic()
    for phone in phones:
        bob.expect(f"<presence from='{phone}' type='{kind}'/>")
    return time.monotonic() - start >= (len(phones) - 3) / RATE - 0.2


@pytest.fixture
def lost(host):
    """bob, and the phones of contacts: bob saw them, then all lost their connections at once."""
    bob = host.client("bob", "b")
    phones = [host.client(f"u{i}", "phone") for i in range(24)]
    for phone in phones:
        bob.expect(f"<presence from='{phone}' type='-'/>")
        phone.enable_sm(more="max='1'")
    for phone in phones:
        phone.cut()
    return bob, phones


def test_connections_that_are_lost_at_once(lost):
    """Sessions that are not resumed end one after another; until its end each can be resumed."""
    assert in_turn(*lost, "unavailable")


def test_who_waits_for_the_end_of_a_session_can_resume_it(host, lost):
    bob, phones = lost
    for _ in phones[:12]:  # about half of them are told, and the others wait
        bob.expect("<presence type='unavailable'/>")
    told = {e.get("from") for e in bob.log if e.get("type") == "unavailable"}
    resumed = 0
    for phone in (p for p in phones if str(p) not in told):
        answer = host.connect(phone.name).take_over(phone)
        resumed += answer.tag == f"{{{xml.SM}}}resumed"
    assert resumed > 0


def test_sharing_is_turned_on_for_all(host):
    """Off hides all at once; on shows one after another, and of two switches the last one holds."""
    bob = host.client("bob", "b")
    phones = [host.client(f"u{i}", "phone") for i in range(24)]
    for phone in phones:
        bob.expect(f"<presence from='{phone}' type='-'/>")
    host.ctl("set", "presence.sharing", "off")
    for phone in phones:
        bob.expect(f"<presence from='{phone}' type='unavailable'/>")
    host.ctl("set", "presence.sharing", "on")
    assert in_turn(bob, phones, "-")
    for value in ("off", "on", "off"):
        host.ctl("set", "presence.sharing", value)
    for phone in phones:
        bob.expect(f"<presence from='{phone}' type='unavailable'/>")
    host.ctl("set", "presence.sharing", "on")
    bob.drain()
    for phone in phones:
        until("it is shown", lambda p=phone: bob.ping() or [
            e for e in bob.log if e.get("from") == str(p)][-1].get("type") is None)


@pytest.mark.parametrize("value, taken", [("9", False), ("10", True), ("100", True),
                                          ("101", False)])
def test_the_range_of_the_rate(server, value, taken):
    assert (server.ctl_run("set", "presence.change-rate", value).returncode == 0) == taken
