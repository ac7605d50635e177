"""What others change while an account is being disabled: it finds it when it is enabled again."""
import concurrent.futures

import pytest

from harness.client import until
from together.console import Console

ROSTER = "<query xmlns='jabber:iq:roster'/>"
REMOVE = ("<query xmlns='jabber:iq:roster'><item jid='carol@localhost' subscription='remove'/>"
          "</query>")
ROUNDS = 8
WRITE_MS = 15


def contacts(client):
    items = client.result("get", ROSTER)
    return {item.get("jid"): item.get("subscription") for item in items}


def delete_carol(server, console, carol):
    console.ask("user del", jid="carol@localhost")


def leave_bob(verb):
    def act(server, console, carol):
        carol.send(f"<presence to='bob@localhost' type='{verb}'/>")
        carol.ping()
    return act


CHANGES = {  # what carol does, and what bob's roster says of carol in the end
    "deleted": (delete_carol, None),
    "unsubscribe": (leave_bob("unsubscribe"), "to"),
    "unsubscribed": (leave_bob("unsubscribed"), "from"),
}


@pytest.mark.sqlite
def test_a_deletion_that_fails_leaves_it_disabled(make_server):
    """To others it does not exist, and it can be enabled and deleted later."""
    server = make_server("bob", "carol")
    carol = server.client("carol", "phone")
    server.ctl("user", "disable", "bob@localhost")
    with server.database() as db:
        db.execute("CREATE TRIGGER no BEFORE DELETE ON account BEGIN SELECT RAISE(ABORT, 'no'); "
                   "END")

    def answer():
        carol.send("<message to='bob@localhost' type='chat' id='m'><body>there?</body></message>")
        carol.expect_error("service-unavailable", "cancel", "<message type='error' id='m'/>")

    for _ in range(2):
        assert server.ctl_run("user", "del", "bob@localhost").returncode != 0
        answer()
        server.restart()
        carol = server.client("carol", "phone")
        answer()
    with server.database() as db:
        db.execute("DROP TRIGGER no")
    server.ctl("user", "enable", "bob@localhost")
    bob = server.client("bob", "desk")
    carol.send("<message to='bob@localhost' type='chat'><body>now</body></message>")
    bob.expect("<message><body>now</body></message>")
    server.ctl("user", "disable", "bob@localhost")
    server.ctl("user", "del", "bob@localhost")
    assert "bob@localhost" not in {row["jid"] for row in server.rows("user", "list")}


@pytest.mark.parametrize("change", CHANGES)
def test_change_while_it_is_being_disabled(make_server, disk, change):
    """The disk is slow, and bob is disabled a little later each time: also between the moment when
    the change has come and the one when it is stored."""
    act, expected = CHANGES[change]
    server = make_server("bob", "carol", disk=disk, workers=2)
    first, second = Console(server), Console(server)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for pause in range(ROUNDS):
            server.befriend("bob", "carol")
            carol = server.client("carol", "phone")
            disk.turn(write_ms=WRITE_MS)
            changing = pool.submit(act, server, first, carol)
            for _ in range(pause * 4):
                second.ask("get", setting="im.enabled")
            second.ask("user disable", jid="bob@localhost")
            changing.result()
            disk.turn(write_ms=0)
            if change == "deleted":
                server.add_user("carol")
            second.ask("user enable", jid="bob@localhost")
            bob = server.client("bob", "desk")
            until(f"{change} in bob's roster (round {pause})",
                  lambda client=bob: contacts(client).get("carol@localhost") == expected)
            if expected is not None:
                bob.result("set", REMOVE)
            bob.close()
            carol.close()
    first.close()
    second.close()
