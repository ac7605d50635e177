"""What operators see of one user beside profile, sessions and contacts: vCard, groups, blocked
addresses, the size of the archive and of files, with the limits."""
import pytest

from harness.server import refusal
from surface.test_console import api_server, opened, until

CARD = ("<vCard xmlns='vcard-temp'><FN>Bob &lt;b&gt;</FN> <N><FAMILY>Stone</FAMILY></N>"
        "<ADR><LOCALITY>Brno</LOCALITY></ADR><NOTE>{}</NOTE></vCard>")
OF_ONE = ("user vcard", "user groups", "user blocked", "user archive", "upload quota")


def values(server, *args):
    return {row["name"]: row["value"] for row in server.rows(*args)}


def test_vcard(make_server):
    server = make_server("alice", "bob")
    assert server.ctl("user", "vcard", "bob@localhost") == {
        "ok": True, "text": "the user has stored none", "rows": []}
    server.ctl("user", "set", "bob@localhost", "--given-name", "Bob", "--email", "bob@example.org")
    answer = server.ctl("user", "vcard", "bob@localhost")
    assert answer["text"].endswith("made of the profile")
    assert values(server, "user", "vcard", "bob@localhost") == {
        "FN": "Bob", "N/GIVEN": "Bob", "EMAIL/USERID": "bob@example.org"}
    server.client("bob", "b").result("set", CARD.format("a" * 3000))
    server.ctl("user", "disable", "bob@localhost")
    assert values(server, "user", "vcard", "bob@localhost") == {
        "FN": "Bob <b>", "N/FAMILY": "Stone", "ADR/LOCALITY": "Brno",
        "NOTE": "(3000 bytes)"}
    deep = ("<vCard xmlns='vcard-temp'>" + "<A>" * 20 + "x" + "</A>" * 20 + "<B/>" * 1000
            + "</vCard>")
    server.client("alice", "a").result("set", deep.replace("<B/>", "<B>y</B>"))
    assert len(server.rows("user", "vcard", "alice@localhost")) == 500


def test_groups(make_server):
    """By name and by domain; a group that one only sees is none."""
    server = make_server("alice", "bob")
    for group, seen in ("sales", "members"), ("all", "domain:localhost"), ("board", "group:sales"):
        server.ctl("group", "add", group, "--visible-to", seen, "--shown", group.upper())
    assert server.rows("user", "groups", "bob@localhost") == []
    server.ctl("group-member", "add", "sales", "bob@localhost")
    server.ctl("group-member", "add", "all", "--domain", "localhost")
    server.ctl("group-member", "add", "board", "alice@localhost")
    for user, groups in ("alice", {"all", "board"}), ("bob", {"all", "sales"}):
        rows = server.rows("user", "groups", f"{user}@localhost")
        assert {(r["name"], r["shown"]) for r in rows} == {(g, g.upper()) for g in groups}


def test_blocked(make_server):
    """As the client sees it; what the policy denies is not among it."""
    server = make_server("alice")
    alice = server.client("alice", "a")
    assert server.rows("user", "blocked", "alice@localhost") == []
    alice.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='evil@example.org'/>"
                 "<item jid='spam.example'/></block>")
    server.ctl("policy", "set", "alice@localhost", "--block", "bob@localhost")
    assert sorted(r["jid"] for r in server.rows("user", "blocked", "alice@localhost")) == [
        "evil@example.org", "spam.example"]


def test_sizes_and_limits(make_server):
    server = make_server("alice", "bob")
    server.ctl("set", "archive.user-bytes", "2MiB")
    assert server.rows("user", "archive", "bob@localhost") == [
        {"bytes": 0, "bytes_max": 2 << 20}]
    server.client("alice", "a").send("<message to='bob@localhost' type='chat'><body>hi</body>"
                                     "</message>")
    until("it is counted",
          lambda: server.rows("user", "archive", "bob@localhost")[0]["bytes"] > 128)
    server.ctl("set", "archive.user-bytes", "none")
    assert "bytes_max" not in server.rows("user", "archive", "bob@localhost")[0]
    row = server.rows("upload", "quota", "bob@localhost")[0]
    assert (row["files"], row["bytes"], row["bytes_max"]) == (0, 0, 2 << 30)


@pytest.mark.parametrize("name", OF_ONE)
def test_nobody(make_server, name):
    server = make_server()
    assert "nobody@localhost" in refusal(server, *name.split(), "nobody@localhost")


@pytest.mark.release
def test_page_of_a_user(make_server, tmp_path):
    """All of it is on the page, text of users as text, and the zone of times is told."""
    server = api_server(make_server)
    server.add_user("bob")
    server.client("bob", "b").result("set", CARD.format("a"))
    server.ctl("group", "add", "sales")
    server.ctl("group-member", "add", "sales", "bob@localhost")
    with opened(server, tmp_path / "browser") as pages:
        pages.log_in(server.api.token)
        pages.go("user", "bob%40localhost")
        shown = "\n".join(pages.tabs())
        for text in "Bob <b>", "Brno", "sales", "Blocked", "1.0 GiB", "2.0 GiB":
            assert text in shown, text
        assert "Times are in the zone of this machine: " in pages.js(
            "document.querySelector('.zone').innerText")
        assert pages.complaints(ours=("404",)) == []  # bob has no role
