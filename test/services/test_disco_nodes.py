"""Every node of service discovery is reachable, whatever else an address has: what users name does
not hide what the server names (XEP-0030 §3.2, §4.2)."""
import pytest

from harness.muc import Room
from harness.pubsub import create, publish

DISCO = "http://jabber.org/protocol/disco#"
COMMANDS = "http://jabber.org/protocol/commands"
OFFLINE = "http://jabber.org/protocol/offline"
HOST = "pubsub.localhost"
DATA = "{jabber:x:data}"

SELF, DOMAIN = "alice@localhost", "localhost"
NODES = [(SELF, "items", COMMANDS), (SELF, "info", COMMANDS), (SELF, "items", OFFLINE),
         (SELF, "info", OFFLINE), (SELF, "info", ""), (SELF, "items", ""),
         (DOMAIN, "items", COMMANDS), (DOMAIN, "info", COMMANDS), (DOMAIN, "info", ""),
         (DOMAIN, "items", ""), (HOST, "info", ""), (HOST, "items", "")]


def ask(client, to, kind, node):
    name = f" node='{node}'" if node else ""
    answer = client.iq("get", f"<query xmlns='{DISCO}{kind}'{name}/>", to)
    payload = answer[0] if len(answer) else None
    rows = set() if payload is None else {
        (e.tag, e.get("node"), e.get("var"), e.get("jid")) for e in payload}
    return answer.get("type"), rows


@pytest.mark.parametrize("loaded", [True, False])
def test_what_users_name_hides_nothing(make_server, loaded):
    """Also a node of the very same name, and before the nodes of the account are loaded."""
    server = make_server("alice", settings={"admin.accounts": SELF})
    alice = server.client("alice", "a")
    before = {n: ask(alice, *n) for n in NODES}
    assert {kind for kind, _ in before.values()} == {"result"}
    for name in ("urn:example:mine", COMMANDS, OFFLINE):
        alice.result("set", publish(name, item="1"))
        alice.result("set", create(name), to=HOST)
    if not loaded:
        server.restart()
        alice = server.client("alice", "a")
    for n in NODES:
        kind, rows = ask(alice, *n)
        assert kind == "result" and rows >= before[n][1], (n, kind, before[n][1] - rows)
    assert ask(alice, SELF, "info", "urn:example:mine")[0] == "result"
    assert ask(alice, SELF, "info", "urn:example:none")[0] == "error"


MULTI = {"muc#roominfo_contactjid": "jid-multi", "muc#roominfo_avatarhash": "text-multi",
         "pubsub#owner": "jid-multi", "pubsub#publisher": "jid-multi",
         "pubsub#contact": "jid-multi",
         **{f"{role}-addresses": "list-multi" for role in (
             "abuse", "admin", "feedback", "sales", "security", "status", "support")}}


def test_a_field_that_may_have_several_values_has_their_type(make_server):
    """Also where it has one (XEP-0004 §3.2: without a type it is text-single): clients show the
    letters of one address one by one otherwise."""
    server = make_server("alice")
    alice = server.client("alice", "a")
    for role in MULTI:
        if role.endswith("-addresses"):
            server.ctl("set", f"contact.{role.partition('-')[0]}", "mailto:help@example.org")
    cave = Room()
    cave.create(alice, "owner")
    alice.result("set", "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE>"
                        "<BINVAL>AAAA</BINVAL></PHOTO></vCard>", to=cave.jid)
    alice.result("set", create("news", contact=[SELF]), to=HOST)
    alice.result("set", publish("news", item="1"), to=HOST)
    found = {}
    for to, node in ((DOMAIN, ""), (cave.jid, ""), (HOST, "news")):
        name = f" node='{node}'" if node else ""
        info = alice.result("get", f"<query xmlns='{DISCO}info'{name}/>", to=to)
        for field in info.iter(f"{DATA}field"):
            found[field.get("var")] = field.get("type")
            assert "multi" in (field.get("type") or "") or len(field) <= 1, field.get("var")
    assert {var: kind for var, kind in found.items() if var in MULTI} == MULTI
