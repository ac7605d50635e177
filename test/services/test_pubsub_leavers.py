"""An account is deleted: whoever gets its address next finds nothing of it at nodes of others."""
import pytest

from harness.client import until
from harness.pubsub import (
    OWNER, affiliations, create, entry, error_of, get_items, item_ids, publish, subscribe,
    subscriptions)

HOST = "pubsub.localhost"
WHITELIST = {"access_model": "whitelist"}


def listed(client, node, to):
    """Who has an affiliation with a node."""
    answer = client.result("get", affiliations(node), to=to)
    return {a.get("jid") for a in answer.iter(f"{{{OWNER}}}affiliation")}


def subscribers(client, node, to):
    answer = client.result("get", subscriptions(node), to=to)
    return {s.get("jid") for s in answer.iter(f"{{{OWNER}}}subscription")}


@pytest.fixture(params=[1, 4])
def server(make_server, request):
    return make_server("alice", "bob", "fay", workers=request.param)


def settle(server):
    """Fay has nodes, and places in the lists of others, and is deleted; the name is given anew."""
    fay, bob = server.client("fay"), server.client("bob")
    for node in ("alone", "shared"):
        fay.result("set", create(node, **WHITELIST), to=HOST)
        fay.result("set", publish(node, entry("hers"), item="1"), to=HOST)
    fay.result("set", affiliations("shared", to={bob.bare: "owner"}), to=HOST)
    bob.result("set", create("bobs", **WHITELIST), to=HOST)
    bob.result("set", publish("bobs", entry("his"), item="1"), to=HOST)
    bob.result("set", publish("urn:x:wl", entry("his"), item="1", **WHITELIST))
    for node, to in (("bobs", HOST), ("urn:x:wl", None)):
        bob.result("set", affiliations(node, to={fay.bare: "publisher"}), to=to)
        fay.result("set", subscribe(node, fay.bare), to=to or bob.bare)
    return fay, bob


def delete(server, fay):
    server.ctl("user", "del", fay.bare, "--yes")


def check(server, bob):
    server.add_user("fay", "another")
    fay = server.client("fay", password="another")
    for node, to in (("shared", HOST), ("bobs", HOST), ("urn:x:wl", bob.bare)):
        own = None if to == bob.bare else to
        assert fay.bare not in listed(bob, node, own) | subscribers(bob, node, own)
        assert item_ids(bob.result("get", get_items(node), to=own)) == ["1"]
        for request in (("get", get_items(node)), ("set", publish(node, entry("new"), item="2")),
                        ("set", subscribe(node, fay.bare)), ("get", affiliations(node))):
            assert fay.iq(*request, to=to).get("type") == "error", (node, request)
    assert error_of(bob, "get", get_items("alone"), to=HOST)[0] == "item-not-found"
    fay.result("set", create("alone"), to=HOST)
    assert item_ids(fay.result("get", get_items("alone"), to=HOST)) == []


def test_while_all_is_in_memory(server):
    fay, bob = settle(server)
    delete(server, fay)
    check(server, bob)
    server.kill()
    server.start()
    bob = server.client("bob")
    assert listed(bob, "bobs", HOST) == {bob.bare}


def test_while_nothing_is_in_memory(server):
    fay, bob = settle(server)
    server.stop()
    server.start()
    delete(server, fay)
    check(server, server.client("bob"))


def test_an_owner_leaves_while_the_service_is_loaded(server):
    """The nodes were read before fay went, the affiliations behind it: nobody owns the node."""
    fay, bob = server.client("fay"), server.client("bob")
    fay.result("set", create("alone"), to=HOST)
    server.stop()
    with server.database() as db:
        db.execute("DELETE FROM pubsub_affiliation")
    server.start()
    fay, bob = server.client("fay"), server.client("bob")
    assert error_of(bob, "set", create("alone"), to=HOST)[0] == "conflict"
    delete(server, fay)
    until("the node is gone",
          lambda: bob.iq("set", create("alone"), to=HOST).get("type") == "result")
