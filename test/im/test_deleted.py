"""What is left of an account that was deleted: others keep what names it only with a reason, and
whoever gets its address next inherits nothing."""
import re

import pytest

from harness import database
from harness.client import until
from harness.muc import Room
from harness.pubsub import affiliations, create, entry, publish, subscribe
from services.test_invite import invite, register, show, token_of
from rooms.test_hats import TEACHER, don
from im.test_policy import edit, policy
from services.test_push import enable, registrations
from operate.test_secrets import columns

HOST = "pubsub.localhost"
NAMED = re.compile(rb"fay@localhost(?![\w.])")
ROSTER = "jabber:iq:roster"
SETTINGS = {"muc.new-persistent": "on", "muc.administrators-enabled": "on", "invite.enabled": "on",
            "presence.approval": "ask", "register.password-min": "4"}

# What others keep that names it.
KEPT = {
    "former.jid": "others find the messages that they had from it by its address",
    "message.remote": "archives of rooms keep who said what. Rooms know an author by the address, "
                      "so the next user of it who may enter can retract it",
    "message.stanza": "archives keep what they were told",
    "room.subject": "a room keeps who set its subject",
    "room.creator": "a room counts for the address that made it: whoever deletes the account and "
                    "makes it again gets no second share of muc.rooms-per-user",
    "pubsub_node.creator": "the same with pubsub.user-nodes-max and pubsub.user-bytes; it gives no "
                           "right to the node",
    "pubsub_item.publisher": "an item keeps who published it. Without an affiliation the next user "
                             "of the address can replace or retract it only where everybody may "
                             "publish",
    "mam_prefs.always": "a user's choice of what their own archive has; gives the address nothing",
    "mam_prefs.never": "the same",
    "privacy_rule.value": "a block, or an item of another privacy list: what its owner says of "
                          "whoever has the address. A list only takes away; an item that lets the "
                          "address pass is an exception from that. ejabberd and Prosody keep them, "
                          "too",
    "report.jid": "the operator has to know whom users reported",
    "report.reporter": "and who did",
    "audit_log.args": "the audit log tells who did what to which account, also to one that is gone",
    "audit_log.became": "the same",
    "audit_log.was": "the same",
    "setting.value": "the operator's words: contact.admin and the like, service.blacklist and "
                     "service.whitelist. admin.accounts loses it",
    "setting_change.became": "the same: the history of settings",
    "private_xml.xml": "words of another user",
    "vcard.xml": "words of another user",
}
# What stays with the address if an empty account keeps it (`--keep-address`), and nothing else.
STAYS = {
    "account.jid": "the empty account",
    "account.look": "the same",
    "setting_change.was": "that it was an administrator, which it stays",
    "room_administrator.jid": "its role in group chat",
    "room_affiliation.jid": "what rooms gave it",
    "room_hat.jid": "the same",
    "shared_group_member.jid": "its place in a group",
}
# Columns that have its number.
KEPT_NUMBERS = {
    "report.owner": "see report.reporter",
}


def rows_that_name_it(server):
    """Columns that have its address, alone or within other bytes."""
    kind = "TEXT" if server.url else "BLOB"
    every = " UNION ALL ".join(
        f"SELECT '{table}.{column}' AS at, CAST({column} AS {kind}) AS value FROM {table}"
        for table, column in columns(server))
    with server.database() as db:
        rows = db.execute(f"SELECT * FROM ({every}) v WHERE value IS NOT NULL").fetchall()
    return {at for at, value in rows
            if NAMED.search(value.encode() if isinstance(value, str) else value)}


def number_of(server, bare):
    with server.database() as db:
        return db.execute("SELECT id FROM account WHERE jid = ?", (bare,)).fetchone()[0]


def rows_of(server, number):
    """Columns that have the number of an account."""
    with server.database() as db:
        every = " UNION ALL ".join(
            f"SELECT '{table}.{column}' AS at WHERE EXISTS (SELECT 1 FROM {table} "
            f"WHERE {column} = {number})"
            for table, column in database.columns(db, "owner", "account", "sender", "rcpt"))
        return {at for at, in db.execute(f"SELECT * FROM ({every}) v").fetchall()}


def own_things(fay):
    fay.result("set", f"<query xmlns='{ROSTER}'><item jid='bob@localhost'/></query>")
    fay.result("set", "<vCard xmlns='vcard-temp'><FN>Fay</FN></vCard>")
    fay.result("set", "<query xmlns='jabber:iq:private'><a xmlns='urn:example:a'>fay@localhost</a>"
               "</query>")
    fay.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='x@other.example'>"
               "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'/></item>"
               "</block>")
    fay.result("set", "<prefs xmlns='urn:xmpp:mam:2' default='always'><always/><never/></prefs>")
    fay.result("set", publish("urn:example:p", entry("fay@localhost"), item="1"))
    enable(fay, jid="push.other.example")
    fay.result("set", create("hers"), to=HOST)


def contacts(server, fay, carol, dave):
    """One sees it, one has approved it before it asked, one is asked."""
    server.befriend("fay", "bob")
    carol.send(f"<presence to='{fay.bare}' type='subscribed'/>")
    carol.expect(f"<iq type='set'><query xmlns='{ROSTER}'>"
                 f"<item jid='{fay.bare}' approved='true'/></query></iq>")
    fay.send(f"<presence to='{dave.bare}' type='subscribe'/>")
    dave.expect(f"<presence from='{fay.bare}' type='subscribe'/>")


def contacts_of(client):
    return {item.get("jid") for item in client.result("get", f"<query xmlns='{ROSTER}'/>")}


def rules_of_others(fay, bob, carol, dave):
    edit(bob, fay_at_localhost="allow", localhost="block")
    edit(carol, fay_at_localhost="block")
    dave.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{fay.bare}'><report "
                "xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'/></item></block>")
    carol.result("set", "<prefs xmlns='urn:xmpp:mam:2' default='always'><always><jid>fay@localhost"
                 "</jid></always><never><jid>fay@localhost/phone</jid></never></prefs>")
    enable(bob, jid=fay.bare)
    enable(bob, node="n2", jid=f"{fay.bare}/phone")
    enable(bob, node="n3", jid="fay@localhost.example")


def words_of_others(bob):
    bob.result("set", "<query xmlns='jabber:iq:private'><a xmlns='urn:example:a'>fay@localhost</a>"
               "</query>")
    bob.result("set", "<vCard xmlns='vcard-temp'><FN>Bob</FN><DESC>fay@localhost</DESC></vCard>")


def nodes(fay, bob):
    fay.result("set", create("shared"), to=HOST)
    fay.result("set", affiliations("shared", to={bob.bare: "owner"}), to=HOST)
    bob.result("set", create("his", publish_model="open"), to=HOST)
    bob.result("set", affiliations("his", to={fay.bare: "member"}), to=HOST)
    fay.result("set", subscribe("his", fay.bare), to=HOST)
    fay.result("set", publish("his", entry("hers"), item="1"), to=HOST)


def rooms(fay, bob):
    hers, his = Room("hers").create(fay, "f"), Room("his").create(bob, "b")
    hers.set_affiliation(fay, bob.bare, "owner")
    his.set_affiliation(bob, fay.bare, "admin")
    don(bob, his, fay.bare, TEACHER, "Teacher")
    his.enter(fay, "f")
    his.say(fay, "hello")
    his.set_subject(fay, "fay@localhost")


def invitations(server):
    for _ in range(2):
        token = token_of(invite(server, "--roster", "fay@localhost"))
    guest = server.connect()
    assert show(guest, token) is True and register(guest, "erin") is True


@pytest.fixture(params=[1, 4])
def settled(make_server, request):
    """A server, and who named fay there."""
    server = make_server("fay", "bob", "carol", "dave", workers=request.param, settings=SETTINGS)
    fay, bob, carol, dave = (server.client(name, "r") for name in ("fay", "bob", "carol", "dave"))
    for client in carol, dave:
        assert contacts_of(client) == set()
    own_things(fay)
    contacts(server, fay, carol, dave)
    rules_of_others(fay, bob, carol, dave)
    words_of_others(bob)
    nodes(fay, bob)
    rooms(fay, bob)
    invitations(server)
    for accounts in "fay@localhost", "fay@localhost bob@localhost":
        server.ctl("set", "admin.accounts", accounts)
    server.ctl("set", "contact.admin", "xmpp:fay@localhost")
    server.ctl("room-admin", "add", "fay@localhost")
    server.ctl("group", "add", "staff")
    server.ctl("group-member", "add", "staff", "fay@localhost", "dave@localhost")
    fay.send("<message to='bob@localhost' type='chat'><body>hello</body></message>")
    bob.expect("<message><body>hello</body></message>")
    until("rows", lambda: "message.stanza" in rows_that_name_it(server))
    return server, bob, carol, dave


def unload(server):
    """Nobody is in memory."""
    for client in server.clients:
        client.close()
    server.restart()
    assert server.ctl("status")["rows"][0]["accounts_loaded"] == 0


@pytest.mark.parametrize("loaded", [True, False])
def test_nothing_is_left(settled, loaded):
    server, *others = settled
    number = number_of(server, "fay@localhost")
    assert KEPT.keys() < rows_that_name_it(server) | {"former.jid"}
    assert KEPT_NUMBERS.keys() < rows_of(server, number)
    if not loaded:
        unload(server)
    server.ctl("user", "del", "fay@localhost")
    for client in others:
        client.close()
    server.stop()
    kept = rows_that_name_it(server)
    assert kept == KEPT.keys(), kept ^ KEPT.keys()
    assert rows_of(server, number) == KEPT_NUMBERS.keys()


@pytest.mark.parametrize("settled", [4], indirect=True)
def test_only_what_others_gave_to_the_address_is_left(settled):
    server, bob, *_ = settled
    number = number_of(server, "fay@localhost")
    accounts = server.rows("get", "admin.accounts")
    assert "emptied" in server.ctl("user", "del", "fay@localhost", "--keep-address")["text"]
    assert "fay@localhost" in contacts_of(bob)  # an import may bring it back
    for client in server.clients:
        client.close()
    server.stop()
    with server.database() as db:  # ten minutes (im/forget_later.h)
        db.execute("UPDATE roster_out SET due = 1 WHERE due > 0")
    server.start()
    until("rosters", lambda: "fay@localhost" not in {
        r["jid"] for r in server.rows("contact", "list", "bob@localhost")})
    assert server.rows("get", "admin.accounts") == accounts
    assert [r["jid"] for r in server.rows("room-admin", "list")] == ["fay@localhost"]
    server.stop()
    kept = rows_that_name_it(server)
    assert kept == KEPT.keys() | STAYS.keys(), kept ^ (KEPT.keys() | STAYS.keys())
    assert rows_of(server, number) == KEPT_NUMBERS.keys()


@pytest.mark.parametrize("loaded", [True, False])
def test_the_next_one_inherits_nothing(settled, loaded):
    server, bob, carol, dave = settled
    if not loaded:
        unload(server)
    server.ctl("user", "del", "fay@localhost")
    if not loaded:
        bob, carol, dave = (server.client(name, "r") for name in ("bob", "carol", "dave"))
    server.add_user("fay")
    fay = server.client("fay", "r")
    until("policies", lambda: policy(bob)[2] == {"localhost": "block"} and policy(carol)[2] == {})
    until("push", lambda: registrations(server, "bob") == {("fay@localhost.example", "n3")})
    for client in bob, carol, dave:
        until("rosters", lambda c=client: fay.bare not in contacts_of(c))
    assert contacts_of(fay) == set()
    fay.send(f"<presence to='{carol.bare}' type='subscribe'/>")
    carol.expect(f"<presence from='{fay.bare}' type='subscribe'/>")
    fay.send(f"<message to='{dave.bare}' id='m'><body>hello</body></message>")
    fay.expect_error("service-unavailable", "cancel", "<message id='m'/>")
    assert server.rows("get", "admin.accounts")[0]["value"] == "bob@localhost"
    assert server.rows("room-admin", "list") == []
