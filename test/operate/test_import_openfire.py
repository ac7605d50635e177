"""Accounts of Openfire."""
import pytest

from harness.imports import LAUGHS, ROMEO, server_data
from harness.server import Failed

OPENFIRE = """<?xml version="1.0" encoding="UTF-8"?>

<Openfire>
  <User>
    <Username>bea</Username>
    <Password>s&lt;cret</Password>
    <Email>bea@example.com</Email>
    <Name>Bea &amp; son</Name>
    <CreationDate>1125442154664</CreationDate>
    <ModifiedDate>1125442154664</ModifiedDate>
    <Roster>
      <Item jid="carl@localhost" askstatus="-1" recvstatus="-1" substatus="3" name="C">
        <Group>Friends</Group><Group>Work</Group>
      </Item>
      <Item jid="bob@localhost" askstatus="0" recvstatus="-1" substatus="0" name="D"/>
      <Item jid="eve@example.com" askstatus="-1" recvstatus="1" substatus="0"/>
      <Item jid="gone@example.com" askstatus="-1" recvstatus="-1" substatus="-1"/>
    </Roster>
  </User>
  <User>
    <Username>carl</Username>
    <Password>carl</Password>
    <Email/><Name/>
    <Roster><Item jid="bea@localhost" askstatus="-1" recvstatus="-1" substatus="3"/></Roster>
  </User>
</Openfire>
"""


@pytest.mark.settings({"presence.approval": "ask"}, why="a request that waits stays one")
def test_users_of_openfire(server, load, make_server, tmp_path):
    """The plugin's own format, after its source and schema; it can write XEP-0227 as well."""
    message, lost = load(OPENFIRE, kind="openfire")
    assert message.startswith("users imported: 2, there already: 0, refused: 0;")
    assert {what.split(":")[0].split(",")[0] for _, what in lost} == {
        "a password that is the name of the user", "a password", "contacts that are being removed",
        "elements <CreationDate/> of a <User/>", "elements <ModifiedDate/> of a <User/>"}
    assert {user for user, _ in lost} == {"carl@localhost", ""}
    bea = server.client("bea", password="s<cret", priority=0)
    bea.expect("<presence from='eve@example.com' type='subscribe'/>")
    roster = {i.get("jid"): (i.get("subscription"), i.get("ask"), i.get("name"),
                             {g.text for g in i})
              for i in bea.result("get", "<query xmlns='jabber:iq:roster'/>")}
    assert roster == {"carl@localhost": ("both", None, "C", {"Friends", "Work"}),
                      "bob@localhost": ("none", "subscribe", "D", set())}
    card = bea.result("get", "<vCard xmlns='vcard-temp'/>")
    assert card.findtext("{vcard-temp}FN") == "Bea & son"
    assert card.findtext("{vcard-temp}EMAIL/{vcard-temp}USERID") == "bea@example.com"
    with pytest.raises(Exception, match="not-authorized"):
        server.login("carl", password="carl")

    load(server_data(ROMEO), kind="openfire")
    server.login("romeo", password="iLuvJuLi3T", mechanism="SCRAM-SHA-1").close()
    for text, why in (("<Openfire/>", "found no users, expected a file of the plugin"),
                      ("<html/>", "the root is no <Openfire/>"), (LAUGHS[0], LAUGHS[1]),
                      ("<Openfire><User><Username>x</Username>", "the file ends within")):
        with pytest.raises(Failed, match=why):
            load(text, kind="openfire")
    with pytest.raises(Failed, match="the root is no <server-data/>"):
        load(OPENFIRE)
    message, lost = load("<Openfire><User><Password>a</Password></User><User><Username>z"
                         "</Username><Password>&x;</Password></User></Openfire>", kind="openfire")
    assert message.startswith("users imported: 0, there already: 0, refused: 2;")

    # with several domains, somebody has to say which
    other = make_server(domains=["one.example", "two.example"])
    path = str(tmp_path / "openfire.xml")
    (tmp_path / "openfire.xml").write_text(OPENFIRE)
    with pytest.raises(Failed, match="users without a domain.* --domain"):
        other.bring("openfire", path)
    assert other.bring("openfire", path, "--domain", "two.example")["text"].startswith(
        "users imported: 2,")
    assert [r["jid"] for r in other.rows("user", "list")] == ["bea@two.example",
                                                              "carl@two.example"]
