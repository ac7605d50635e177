"""Accounts of a real ejabberd and of a real Prosody that the test fills first."""
import pytest

from harness import ejabberd, federation, prosody
from harness.imports import HOST, PUBSUB, lost_of
from harness.server import free_ports
from archive.test_mam import Page


def fill(theirs):
    """What users of another server have, by its own protocol."""
    bob = theirs.client("bob", "b")
    bob.result("set", "<query xmlns='jabber:iq:roster'><item jid='carol@partner.example' name='C'>"
                      "<group>Work</group></item></query>")
    carol = theirs.client("carol", "c")
    bob.send("<presence to='carol@partner.example' type='subscribe'/>")
    carol.expect("<presence from='bob@partner.example' type='subscribe'/>")
    carol.send("<presence to='bob@partner.example' type='subscribed'/>")
    bob.expect("<presence from='carol@partner.example/c'/>")
    carol.send("<presence to='bob@partner.example' type='subscribe'/>")
    bob.expect("<presence from='carol@partner.example' type='subscribe'/>")
    bob.result("set", "<vCard xmlns='vcard-temp'><FN>Bob &amp; son</FN></vCard>")
    bob.result("set", "<query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'><n>é</n>"
                      "</exodus></query>")
    bob.result("set", "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>"
                      "<conference jid='tea@rooms.partner.example' autojoin='true'/></storage>"
                      "</query>")
    bob.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='spam@example.com'/></block>")
    bob.send("<presence type='unavailable'/>")
    bob.result("get", "<query xmlns='jabber:iq:roster'/>")
    carol.send("<message to='bob@partner.example' type='chat' id='m1'><body>A &lt; B</body>"
               "</message>")
    carol.result("get", "<query xmlns='jabber:iq:roster'/>")
    for client in bob, carol:
        client.close()


def check(ours, mechanisms=("PLAIN", "SCRAM-SHA-1")):
    """They have it here as well."""
    for mechanism in mechanisms:
        ours.login("bob", "b", mechanism=mechanism).close()
    bob = ours.client("bob", "b")
    message = bob.expect("<message id='m1' type='chat'><body>A &lt; B</body></message>")
    assert message.find("{urn:xmpp:delay}delay") is not None
    item, = bob.result("get", "<query xmlns='jabber:iq:roster'/>")
    assert (item.get("jid"), item.get("name"), item.get("subscription"), item[0].text) == (
        "carol@partner.example", "C", "to", "Work")
    card = bob.result("get", "<vCard xmlns='vcard-temp'/>")
    assert card.findtext("{vcard-temp}FN") == "Bob & son"
    prefs = bob.result("get", "<query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'/>"
                              "</query>")
    assert prefs.findtext(".//{exodus:prefs}n") == "é"
    rooms = bob.result("get", f"<pubsub xmlns='{PUBSUB}'><items node='urn:xmpp:bookmarks:1'/>"
                              "</pubsub>")
    assert rooms[0][0].get("id") == "tea@rooms.partner.example"
    blocked, = bob.result("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
    assert blocked.get("jid") == "spam@example.com"
    row, = [r for r in ours.rows("contact", "list", "bob@partner.example")]
    assert row["jid"] == "carol@partner.example"
    carol = ours.client("carol", "c")
    bob.expect("<presence from='carol@partner.example/c'/>")
    item, = carol.result("get", "<query xmlns='jabber:iq:roster'/>")
    assert (item.get("subscription"), item.get("ask")) == ("from", "subscribe")
    # the request waits for an answer here as it did there
    bob.send("<presence to='carol@partner.example' type='subscribed'/>")
    carol.expect("<presence from='bob@partner.example/b'/>")


NOT_CONVERTED = "last_activity", "vcard_search", "pubsub_index", "pubsub_state"


@pytest.mark.skipif(not ejabberd.is_here(), reason="no ejabberd")
@pytest.mark.parametrize("password_format", ["plain", "scram"])
@pytest.mark.parametrize("way", ["export_piefxis", "dump"])
def test_users_of_ejabberd(make_server, tmp_path, password_format, way):
    cert = federation.Authority(tmp_path).issue("partner", HOST)
    theirs = ejabberd.Ejabberd(
        tmp_path, HOST, dict(zip(("c2s", "s2s", "dns"), free_ports(3))), ["bob", "carol"],
        password_format=password_format, authority=tmp_path / "ca.pem", **cert,
        more="mod_vcard: {}\n  mod_private: {}\n  mod_offline: {}\n  mod_privacy: {}\n"
             "  mod_blocking: {}\n  mod_last: {}"
             + ("\n  mod_mam: {default: always}" if way == "dump" else ""))
    exported = tmp_path / "exported"
    try:
        fill(theirs)
        exported.mkdir()
        if way == "dump":
            theirs.dump(exported / "dump.txt")
        else:
            theirs.export(exported)
    finally:
        theirs.finish()
    ours = make_server(domains=[HOST])
    main, = [p for p in exported.iterdir() if "example" not in p.name]
    for more, text in (["--dry-run"], "users that would be imported: 2,"), (
            [], "users imported: 2, there already: 0, refused: 0;"):
        answer = ours.bring("ejabberd", str(main), *more)
        assert answer["text"].startswith(text)
        assert {row["what"].partition(":")[0] for row in lost_of(answer)} <= {
            f"rows of the table {name}" for name in NOT_CONVERTED if way == "dump"}
    check(ours)
    if way == "dump":
        for name in "bob", "carol":  # also what waited for bob is there once
            assert Page(ours.client(name, "d")).bodies == ["A < B"]


@pytest.mark.skipif(not prosody.is_here(), reason="no Prosody")
@pytest.mark.parametrize("sql", prosody.STORAGES, ids=["files", "sql"])
def test_users_of_prosody(make_server, tmp_path, sql):
    cert = federation.Authority(tmp_path).issue("partner", HOST)
    theirs = prosody.Prosody(
        tmp_path, HOST, dict(zip(("c2s", "s2s", "dns"), free_ports(3))), ["bob", "carol"],
        authority=tmp_path / "ca.pem", **cert,
        more='"vcard"; "private"; "offline"; "blocklist"; "bookmarks"; "mam";', sql=sql)
    try:
        fill(theirs)
    finally:
        theirs.finish()
    ours = make_server(domains=[HOST])
    for more, text in (["--dry-run"], "users that would be imported: 2,"), (
            [], "users imported: 2, there already: 0, refused: 0;"):
        answer = ours.bring("prosody", str(tmp_path / "data"), *more)
        assert answer["text"].startswith(text)
        assert {row["what"].partition(":")[0] for row in lost_of(answer)} <= {
            "entries of the store archive_cleanup"}
    check(ours)
