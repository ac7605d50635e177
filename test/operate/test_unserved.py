"""Accounts and rooms of a domain that the node does not serve any more: an operator is told of
them, and can keep them, or delete them."""
from harness.client import follow, until
from harness.server import refusal
from surface.test_api import api_server
from surface.test_console_login import PASSWORD, Browser
from im.test_roster import get, items

ALARM = "domains.unserved"
ROOM = "tea@conference.two.example"


def alarm(host):
    return {row["name"]: row for row in host.rows("alarm", "list")}.get(ALARM)


def left_behind(make_server):
    host = make_server(domains=("localhost", "two.example"))
    host.add_user("alice")
    for name in ("bob", "carol"):
        host.add_user(name, domain="two.example")
    befriend(host.client("alice"), host.client("bob", domain="two.example"))
    host.ctl("user", "disable", "carol@two.example")
    host.ctl("room", "create", ROOM, "alice@localhost")
    host.ctl("room", "create", "tea@conference.localhost", "alice@localhost")
    assert alarm(host) is None
    host.stop()
    host.conf["domains"] = ["localhost"]
    host.write()
    host.start()
    until("alarm", lambda: alarm(host))
    return host


def befriend(*pair):
    for client in pair:
        get(client)
    for asks, grants in (pair, pair[::-1]):
        follow(asks, grants)


def test_they_have_no_role(make_server):
    """Neither by admin.accounts nor by `admin add`: nobody logs in to them, at the console neither.
    They have it again with their domain."""
    host = api_server(make_server, conf={"domains": ["localhost", "two.example"]})
    port = host.api.port
    for name, domain in (("alice", "localhost"), ("bob", "two.example"), ("carol", "two.example")):
        host.add_user(name, PASSWORD, domain=domain)
    host.ctl("set", "admin.accounts", "alice@localhost bob@two.example")
    host.ctl("admin", "add", "carol@two.example", "viewer")

    def results():
        return [Browser(port).login(jid).status
                for jid in ("alice@localhost", "bob@two.example", "carol@two.example")]
    assert results() == [201, 201, 201]
    host.stop()
    for domains, expected in ((["localhost"], [201, 401, 401]),
                              (["localhost", "two.example"], [201, 201, 201])):
        host.conf["domains"] = domains
        host.write()
        host.start()
        assert results() == expected
        host.stop()


def test_their_role_is_taken(make_server):
    host = api_server(make_server, conf={"domains": ["localhost", "two.example"]})
    host.add_user("carol", PASSWORD, domain="two.example")
    host.ctl("admin", "add", "carol@two.example", "viewer")
    host.stop()
    host.conf["domains"] = ["localhost"]
    host.write()
    host.start()
    [row] = host.rows("user", "role", "carol@two.example")
    assert row["role"] == "viewer"
    host.ctl("admin", "remove", "carol@two.example")
    assert host.rows("admin", "list") == []


def test_an_operator_is_told_of_them_and_deletes_them(make_server, tmp_path):
    host = left_behind(make_server)
    assert alarm(host)["detail"] == "2 accounts and 1 room: two.example, conference.two.example"
    found = host.ctl_run("doctor").stdout
    assert ALARM in found and "Add the domain to `domains`" in " ".join(found.split())
    assert {row["jid"]: row.get("unserved") for row in host.rows("user", "list")} == {
        "alice@localhost": None, "bob@two.example": True, "carol@two.example": True}
    assert {row["jid"]: row.get("unserved") for row in host.rows("room", "list")} == {
        "tea@conference.localhost": None, ROOM: True}
    assert [row["jid"] for row in host.rows("user", "list", "--domain", "two.example")] == [
        "bob@two.example", "carol@two.example"]
    counts = {row["state"]: row["users"] for row in host.rows("user", "count")}
    assert (counts["registered"], counts["unserved"]) == (3, 2)
    said = refusal(host, "user", "list", "--domain", "three.example")
    assert "domain three.example is not served here" in said
    assert host.rows("user", "show", "bob@two.example")[0]["unserved"] is True
    assert "unserved" not in host.rows("user", "show", "alice@localhost")[0]
    assert "add it to `domains`" in refusal(host, "user", "enable", "carol@two.example")
    assert "`room-alias add conference.two.example`" in refusal(host, "room", "destroy", ROOM)
    assert host.ctl("export", "xep0227", tmp_path / "all.xml")["text"] == (
        "users written: 1; users of domains that this node does not serve, and left out: 2 "
        "(two.example); add these domains to `domains` in the node file to export them")
    assert host.ctl("export", "xep0227", tmp_path / "one.xml", "localhost")["text"] == (
        "users written: 1")

    assert items(get(host.login("alice")))["bob@two.example"][0] == "both"
    host.ctl("room-alias", "add", "conference.two.example")
    host.ctl("room", "destroy", ROOM)
    host.ctl("room-alias", "del", "conference.two.example")
    for name in ("bob", "carol"):
        host.ctl("user", "del", f"{name}@two.example")
    until("alarm cleared", lambda: alarm(host) is None)
    assert items(get(host.login("alice")))["bob@two.example"][0] == "both"
    assert [row["jid"] for row in host.rows("user", "list")] == ["alice@localhost"]
    assert [row["jid"] for row in host.rows("room", "list")] == ["tea@conference.localhost"]
    said = refusal(host, "user", "del", "bob@two.example")
    assert "not served here" in said and "domains are localhost" in said


def test_what_others_gave_to_the_address_stays(make_server):
    """It may be an address of another server by now: a contact that is alive there, and a ban. What
    the account itself had goes, and with its domain served it is as with every account."""
    host = left_behind(make_server)
    rules = {"contact": lambda: {row["jid"] for row in host.rows("contact", "list",
                                                                 "alice@localhost")},
             "ban": lambda: {row["jid"] for row in host.rows("room", "affiliations",
                                                             "tea@conference.localhost")},
             "policy": lambda: {row["what"] for row in host.rows("policy", "show",
                                                                "alice@localhost")}}
    host.ctl("room", "affiliation", "tea@conference.localhost", "bob@two.example", "outcast")
    host.ctl("policy", "set", "alice@localhost", "--block", "bob@two.example")
    for name in ("bob", "carol"):
        host.ctl("user", "del", f"{name}@two.example")
    assert [row["jid"] for row in host.rows("user", "list")] == ["alice@localhost"]
    for kept in "now", "after a restart":
        assert [name for name, rows in rules.items() if "bob@two.example" not in rows()] == [], kept
        host.restart()
    host.stop()
    host.conf["domains"] = ["localhost", "two.example"]
    host.write()
    host.start()
    host.add_user("bob", domain="two.example")
    host.ctl("user", "del", "bob@two.example")
    for name, rows in rules.items():
        until(name, lambda: "bob@two.example" not in rows())


def test_an_alias_whose_domain_is_served_again_is_listed_once(make_server):
    """As a service of that domain, which is the one that answers."""
    host = left_behind(make_server)
    host.ctl("room-alias", "add", "conference.two.example")
    alice = host.client("alice")

    def listed(domain):
        query = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
        return [item.get("jid") for item in alice.result("get", query, to=domain)]
    assert listed("localhost").count("conference.two.example") == 1
    host.stop()
    host.conf["domains"] = ["localhost", "two.example"]
    host.write()
    host.start()
    alice = host.client("alice")
    assert "conference.two.example" not in listed("localhost")
    assert listed("two.example").count("conference.two.example") == 1
    found = " ".join(row["text"] for row in host.rows("cert", "findings"))
    assert found.count("conference.two.example") <= 1, found
