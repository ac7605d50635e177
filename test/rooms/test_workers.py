"""Rooms and their occupants on several workers: every stanza crosses from one to another, and
nothing depends on who is where."""
import pytest

from harness import muc
from harness.client import bodies
from harness.muc import Room

USERS = [f"user{i}" for i in range(6)]


@pytest.fixture(params=["on", "off"])
def server(make_server, request):
    """With sessions at the homes of their accounts, and wherever they happened to arrive."""
    return make_server(*USERS, workers=4,
                       settings={"c2s.migration": request.param})


@pytest.fixture
def clients(server):
    return [server.client(user, "r") for user in USERS]


ROOMS = [Room(f"room{i}") for i in range(5)]


def fill(clients):
    """Five rooms with all of the clients."""
    for i, room in enumerate(ROOMS):
        room.create(clients[i], f"n{i}")
        for j, client in enumerate(clients):
            if j != i:
                assert room.enter(client, f"n{j}").own.nick == f"n{j}"


def test_all_hear_all_in_one_order_everywhere(clients):
    fill(clients)
    for client in clients:
        client.inbox.clear()
    for n in range(5):
        for i, client in enumerate(clients):
            for room in ROOMS:
                room.say(client, f"{room.name} {i} {n}")
    heard = []
    for client in clients:
        client.wait("all messages", lambda c=client: len(bodies(c.inbox)) >= 150)
        heard.append({room.name: [b for b in bodies(client.inbox)
                                  if b.startswith(room.name + " ")] for room in ROOMS})
    assert all(h == heard[0] for h in heard), "each room has one order for all"
    assert all(len(said) == 30 == len(set(said)) for said in heard[0].values())


def test_roles_and_affiliations_everywhere(clients):
    fill(clients)
    for i, room in enumerate(ROOMS):
        other = (i + 1) % len(clients)
        room.set_role(clients[i], f"n{other}", "visitor")
        room.set_affiliation(clients[i], clients[other].bare, "admin")
        for client in clients:
            room.expect(client, "presence", f"n{other}",
                        lambda e: muc.Seen(e).standing == ("admin", "moderator"))


def test_private_messages_everywhere(clients):
    fill(clients)
    for room in ROOMS:
        for i, client in enumerate(clients):
            to = (i + 2) % len(clients)
            room.whisper(client, f"n{to}", f"{room.name} {i}")
            room.expect_body(clients[to], f"n{i}", f"{room.name} {i}", "chat")


def test_going_offline_leaves_all_rooms(clients):
    fill(clients)
    gone = clients.pop()
    gone.cut()
    for room in ROOMS:
        for client in clients:
            assert room.gone(client, "n5").role == "none"


def test_destruction_everywhere(clients):
    fill(clients)
    for i, room in enumerate(ROOMS):
        assert room.destroy(clients[i]).get("type") == "result"
        for j, client in enumerate(clients):
            assert room.gone(client, f"n{j}").destroy is not None
