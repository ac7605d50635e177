"""What is left of an account that was deleted: no row says anything of it but those that belong to
others and name it with a reason."""
import sqlite3

import pytest

from muster import database
from muster.client import until
from muster.muc import ADMIN, OWNER as ROOM_OWNER, X, Room, item
from muster.pubsub import affiliations, create, entry, publish, subscribe

HOST = "pubsub.localhost"
ROOM = Room("r")
# What others have of it, and keep: (table, column) and why.
KEPT = {
    ("former", "jid"): "who registers does not get the name of another",
    ("message", "stanza"): "the archives of others keep what they were told",
}

pytestmark = pytest.mark.skipif(database.POSTGRESQL, reason="reads the rows of SQLite's file")


def rows_with(server, text):
    """(table, column) of all that name this text, as text or within a blob."""
    found = set()
    with sqlite3.connect(f"file:{server.data}/muster.db?mode=ro", uri=True) as db:
        tables = [t for t, in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND "
                                         "sql NOT LIKE 'CREATE VIRTUAL%'")]
        for table in tables:
            for column in [c[1] for c in db.execute(f"PRAGMA table_info('{table}')")]:
                where = f"instr(CAST(\"{column}\" AS BLOB), CAST(? AS BLOB)) > 0"
                one = f"SELECT 1 FROM \"{table}\" WHERE {where} LIMIT 1"
                if db.execute(one, (text,)).fetchone():
                    found.add((table, column))
    return found


def test_nothing_is_left(make_server):
    server = make_server("fay", "bob", settings={"muc.new-persistent": "on"})
    fay, bob = server.client("fay"), server.client("bob")
    fay.result("set", "<query xmlns='jabber:iq:roster'><item jid='bob@localhost'/></query>")
    fay.result("set", "<vCard xmlns='vcard-temp'><FN>Fay</FN></vCard>")
    fay.result("set", "<query xmlns='jabber:iq:private'><a xmlns='urn:example:a'>fay@localhost</a>"
               "</query>")
    fay.result("set", "<block xmlns='urn:xmpp:blocking'><item jid='x@other.example'/></block>")
    fay.result("set", publish("urn:example:p", entry("fay@localhost"), item="1"))
    fay.result("set", create("hers"), to=HOST)
    bob.result("set", create("his"), to=HOST)
    bob.result("set", affiliations("his", to={fay.bare: "member"}), to=HOST)
    fay.result("set", subscribe("his", fay.bare), to=HOST)
    bob.send(f"<presence to='{ROOM.at('bob')}'>{X}</presence>")
    bob.result("set", f"<query xmlns='{ROOM_OWNER}'><x xmlns='jabber:x:data' type='submit'/>"
               "</query>", to=ROOM.jid)
    bob.result("set", f"<query xmlns='{ADMIN}'>{item(jid=fay.bare, affiliation='member')}</query>",
               to=ROOM.jid)
    fay.send("<message to='bob@localhost' type='chat'><body>hello</body></message>")
    until("rows", lambda: rows_with(server, "fay@localhost"))
    fay.close()
    bob.close()
    server.ctl("user", "del", "fay@localhost")
    server.stop()
    left = rows_with(server, "fay@localhost")
    assert left == set(KEPT), left ^ set(KEPT)
