"""An account gets another address, or a domain another name, with everything that is there
(`musterd --rename OLD --to NEW`)."""
import os
import re
import subprocess

import pytest

from services import test_upload
from harness import pubsub, xml
from harness.client import until
from harness.component import Component
from harness.muc import Room
from harness.server import MUSTERD, ROOT, free_ports
from surface.test_api import Api
from archive.test_archive_quota import by_owner, sizes
from operate.test_backup import archived
from im.test_blocking import block, blocklist, report
from services.test_invite import token_of
from archive.test_mam import Page
from rooms.test_hats import don
from rooms.test_alias import MADE, room_at
from services.test_push import OPTIONS, SECRET, enable
from services.test_upload import http_do, store

# Where the old address stays, since people or their clients wrote it.
# Entries of the audit log stay as they were, or its chain would not be whole.
AUDITED = {"audit_log.actor", "audit_log.args", "audit_log.was", "audit_log.became",
           "audit_job.actor", "audit_job.args", "audit_job.told"}
# A session that waits says from its old address that it has gone from there.
WRITTEN = {"vcard.xml", "pubsub_item.xml", "private_xml.xml", "frozen.bytes"} | AUDITED


def rename(server, old, new):
    """For a server that does not run; the finished process."""
    server.write()
    return subprocess.run([MUSTERD, "--config", server.file, "--rename", old, "--to", new],
                          capture_output=True, text=True, timeout=60, check=False)


def columns(server, db):
    """(table, column, what of it can be looked into) of texts and bytes."""
    if server.url:
        return [(table, column, f'"{column}"' if kind == "text" else
                 f"encode(\"{column}\", 'escape')") for table, column, kind in db.execute(
                     "SELECT table_name, column_name, data_type FROM information_schema.columns "
                     "WHERE table_schema = 'public' AND data_type IN ('text', 'bytea')").fetchall()]
    return [(table, column, f'CAST("{column}" AS BLOB)') for table, in db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE "
                "'message_fts%'").fetchall()
            for _, column, kind, *_ in db.execute(f"PRAGMA table_info('{table}')").fetchall()
            if kind != "INTEGER"]


def left_in(server, address):
    """The columns in which an address stands."""
    place = "strpos({}, '{}')" if server.url else "instr({}, CAST('{}' AS BLOB))"
    with server.database(read_only=True) as db:
        sql = " UNION ALL ".join(
            f"SELECT '{table}.{column}' AS place FROM \"{table}\" WHERE "
            f"{place.format(value, address)} > 0" for table, column, value in columns(server, db))
        return {name for name, in db.execute(sql).fetchall()}


@pytest.fixture
def host(make_server):
    return furnish(make_server("alice", "bob", "carol", settings={
        "push.services": "push.localhost",
        "muc.administrators-enabled": "on"}))


def furnish(host):
    """Alice has something of everything, and the others have her everywhere."""
    host.befriend("alice", "bob")
    host.ask_about_each_other("alice", "carol")
    alice, bob, carol = (host.client(name, name[0]) for name in ("alice", "bob", "carol"))
    carol.send("<presence to='alice@localhost' type='subscribe'/>")
    alice.expect("<presence from='carol@localhost' type='subscribe'/>")
    alice.send("<presence to='carol@localhost' type='subscribe'/>")
    carol.expect("<presence from='alice@localhost' type='subscribe'/>")
    for i in range(3):
        alice.send(f"<message to='{bob}' type='chat'><body>to bob {i}</body></message>")
        bob.send(f"<message to='alice@localhost' type='chat'><body>of bob {i}</body></message>")
    until("all", lambda: len(archived(bob)) == 6)
    cave = Room("cave").gather(owner=alice, second=bob)
    cave.configure(alice, persistentroom=1, enablearchiving=1)
    cave.set_affiliation(alice, bob, "admin")
    assert don(alice, cave, "alice@localhost").get("type") == "result"
    cave.say(alice, "in the cave")
    bob.expect("<message type='groupchat'><body>in the cave</body></message>")
    service = "pubsub.localhost"
    alice.result("set", pubsub.create("news"), to=service)
    alice.result("set", pubsub.publish("news", item="one"), to=service)
    alice.result("set", pubsub.subscribe("news", "alice@localhost"), to=service)
    alice.result("set", "<vCard xmlns='vcard-temp'><FN>Alice</FN></vCard>")
    block(carol, "alice@localhost", "dave@example.org")
    enable(alice, jid="push.localhost")
    alice.result("set", "<prefs xmlns='urn:xmpp:mam:2' default='always'><always><jid>bob@localhost"
                 "</jid></always><never/></prefs>")
    bob.result("set", "<prefs xmlns='urn:xmpp:mam:2' default='always'><always><jid>alice@localhost"
               "</jid></always><never><jid>alice@localhost/x</jid></never></prefs>")
    host.ctl("room-admin", "add", "alice@localhost")
    host.ctl("set", "admin.accounts", "bob@localhost alice@localhost")
    host.upload = store(host, alice, b"hello")
    alice.enable_sm()
    alice.cut()  # its session waits, with a message, when the server ends
    bob.send("<message to='alice@localhost' type='chat'><body>late</body></message>")
    bob.ping()
    host.room, host.cut = cave, alice
    return host


def test_everything_goes_with_it(host):
    assert "another server uses this folder" in rename(host, "alice@localhost",
                                                       "alicia@localhost").stderr
    host.stop()
    assert left_in(host, "alice@localhost") - WRITTEN
    done = rename(host, "alice@localhost", "alicia@localhost")
    assert done.returncode == 0 and "alice@localhost is alicia@localhost now" in done.stdout, done
    assert left_in(host, "alice@localhost") <= WRITTEN
    host.start()
    with pytest.raises(AssertionError):
        host.login("alice")
    bob = host.client("bob", "b")
    alicia = host.client("alicia", "new")
    bob.expect(f"<presence from='{alicia}' type='-'/>")
    assert len(archived(alicia)) == 7 and archived(bob)[-1] == "late"
    assert Page(bob, ("with", "alicia@localhost")).bodies == archived(bob)
    assert {m.get("from").split("/")[0] for m in Page(bob).messages} == {
        "bob@localhost", "alicia@localhost"}
    items = alicia.result("get", "<query xmlns='jabber:iq:roster'/>")
    assert {i.get("jid") for i in items} >= {"bob@localhost", "carol@localhost"}
    cave = host.room
    seen = cave.enter(alicia, "owner")
    assert seen.own.standing == ("owner", "moderator")
    cave.configure(alicia, roomname="deep")
    items = alicia.result("get", pubsub.get_items("news"), to="pubsub.localhost")
    assert len(items[0]) == 1
    alicia.result("set", pubsub.publish("news", item="two"), to="pubsub.localhost")
    path = host.upload.split("/", 3)[3]
    answer = http_do(host, "GET", f"http://127.0.0.1:{host.http_port}/{path}")
    assert answer.body == b"hello"
    assert set(blocklist(host.client("carol", "c"))) == {"alicia@localhost", "dave@example.org"}
    assert host.rows("get", "admin.accounts")[0]["value"] == "bob@localhost alicia@localhost"
    assert [r["jid"] for r in host.rows("room-admin", "list")] == ["alicia@localhost"]
    assert host.rows("push", "list", "alicia@localhost")
    host.add_user("alice", "other")  # it is somebody else
    assert archived(host.login("alice", password="other")) == []


def forwarded(to):
    return ("<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' "
            f"from='bob@localhost/b' to='{to}' type='chat'><body>old</body></message></forwarded>")


def contents(server):
    """What is behind the start tag of each stanza of the log."""
    with server.database(read_only=True) as db:
        return [stanza.partition(">")[2] for stanza, in db.execute(
            "SELECT stanza FROM message ORDER BY id").fetchall()]


def counted(server):
    """(what archives count, what a count finds)"""
    def found():
        both = sizes(server)
        return both and by_owner(both[0]) == by_owner(both[1]) and both
    return until("counted", found)


@pytest.mark.parametrize("new", ["al@localhost", "alicia-with-a-long-name@localhost"])
def test_what_people_wrote_and_what_it_counts(make_server, new):
    """Content of stanzas is the same bytes, and what archives count is what is in them."""
    host = make_server("alice", "bob", "carol", settings={"archive.user-bytes": 64 << 10})
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    cave = Room("cave").gather(owner=alice, second=bob)
    cave.configure(alice, persistentroom=1, enablearchiving=1)
    cave.say(alice, "in the cave")
    for to in "carol@localhost", "alice@localhost", "nobody@localhost":
        for inner in ("", forwarded("alice@localhost"),
                      "<q xmlns='urn:example:q' a='b' to='alice@localhost'/>",
                      "<q xmlns='urn:example:q' from='alice@localhost/a'/>"):
            bob.send(f"<message to='{to}' type='chat'><body>words ' to='alice@localhost' "
                     f"from='alice@localhost' end</body>{inner}</message>")
    for to in "bob@localhost", "nobody@localhost", "carol@localhost":
        for i in range(3):
            alice.send(f"<message to='{to}' type='chat' id='a{i}'><body>from her {i}</body>"
                       f"{forwarded('alice@localhost')}</message>")


    def stored(text):
        return sum(text in one for one in contents(host))
    until("all", lambda: stored("words '") == 12 and stored("from her") == 9)
    for to in "bob@localhost", "nobody@localhost", "carol@localhost":
        alice.send(f"<message to='{to}' type='chat'><retract xmlns='urn:xmpp:message-retract:1' "
                   "id='a1'/><store xmlns='urn:xmpp:hints'/></message>")
    until("tombstones", lambda: stored("<retracted") == 3)
    before = counted(host), contents(host), host.indexed("alice")
    host.stop()
    assert rename(host, "alice@localhost", new).returncode == 0
    host.start()
    assert contents(host) == before[1] and host.indexed("alice") == before[2]
    after = counted(host)
    assert after != before[0] and len(after[0]) == len(before[0][0])


def strangers(host):
    """Alice and the others know the address that she gets."""
    alice, bob, carol = (host.client(name, name[0]) for name in ("alice", "bob", "carol"))
    both = "alicia@localhost", "alice@localhost"
    alice.send("<presence to='alicia@localhost' type='subscribe'/>")
    alice.result("set", pubsub.create("mine"))
    alice.result("set", f"<pubsub xmlns='{pubsub.NS}#owner'><affiliations node='mine'><affiliation "
                 "jid='alicia@localhost' affiliation='member'/></affiliations></pubsub>")
    block(alice, "alicia@localhost", "alicia@localhost/x", "dave@example.org")
    block(bob, *both, "alicia@localhost/x", "alice@localhost/x")
    for client, one, two in ((bob, *both), (carol, *reversed(both))):
        client.result("set", "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always>"
                      f"<jid>{one}</jid></always><never><jid>{two}</jid><jid>x@localhost</jid>"
                      "</never></prefs>")
    alice.result("set", "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always>"
                 "<jid>alice@localhost</jid><jid>b@localhost</jid><jid>alicia@localhost</jid>"
                 "</always><never/></prefs>")
    carol.result("set", "<query xmlns='jabber:iq:privacy'><list name='x'>" + "".join(
        f"<item type='jid' value='{jid}' action='{action}' order='{i}'/>"
        for i, (jid, action) in enumerate(zip(both, ("allow", "deny")))) + "</list></query>")
    for jid in both:
        host.ctl_run("room-admin", "add", jid)
        carol.result("set", f"<query xmlns='jabber:iq:roster'><item jid='{jid}' name='?'/></query>")
    cave = Room("cave").create(bob, "owner", persistentroom=True)
    cave.set_affiliation(bob, both[1], "admin")
    cave.set_affiliation(bob, both[0], "outcast")
    alice.ping()
    return cave


def jids_in(element):
    return [i.get("jid") or i.get("value") or i.text for i in element.iter()
            if i.get("jid") or i.get("value") or i.tag.endswith("}jid")]


def test_nobody_is_twice_in_a_list_or_in_their_own(make_server):
    host = make_server("alice", "bob", "carol", settings={"muc.administrators-enabled": "on"})
    cave = strangers(host)
    host.ctl("set", "admin.accounts", "alice@localhost bob@localhost")
    host.stop()
    assert rename(host, "alice@localhost", "alicia@localhost").returncode == 0
    host.start()
    alicia, bob, carol = (host.client(name, "x") for name in ("alicia", "bob", "carol"))
    roster, prefs = "<query xmlns='jabber:iq:roster'/>", "<prefs xmlns='urn:xmpp:mam:2'/>"
    assert jids_in(alicia.result("get", roster)) == []
    assert blocklist(alicia) == ["dave@example.org"]
    assert jids_in(carol.result("get", roster)) == ["alicia@localhost"]
    assert sorted(blocklist(bob)) == ["alicia@localhost", "alicia@localhost/x"]
    assert jids_in(carol.result("get", "<query xmlns='jabber:iq:privacy'><list name='x'/></query>")
                   ) == ["alicia@localhost"]
    assert sorted(jids_in(alicia.result("get", prefs))) == ["alicia@localhost", "b@localhost"]
    assert sorted(jids_in(bob.result("get", prefs))) == ["alicia@localhost", "x@localhost"]
    assert sorted(jids_in(carol.result("get", prefs))) == ["alicia@localhost", "x@localhost"]
    never = [jids_in(c.result("get", prefs).find("{urn:xmpp:mam:2}never")) for c in (bob, carol)]
    assert [sorted(n) for n in never] == [["alicia@localhost", "x@localhost"], ["x@localhost"]]
    assert jids_in(alicia.result("get", f"<pubsub xmlns='{pubsub.NS}#owner'><affiliations "
                                 "node='mine'/></pubsub>")) == ["alicia@localhost"]
    cave.enter(bob, "owner")
    assert "alicia@localhost" in cave.jids(bob, "admin")
    assert "alicia@localhost" not in cave.jids(bob, "outcast")
    assert [r["jid"] for r in host.rows("room-admin", "list")] == ["alicia@localhost"]
    assert left_in(host, "alice@localhost") <= AUDITED


def test_clients_that_keep_their_contacts_learn_of_it(make_server):
    host = make_server("alice", "bob")
    host.befriend("alice", "bob")
    bob = host.client("bob", "b")
    version = bob.result("get", "<query xmlns='jabber:iq:roster' ver=''/>").get("ver")
    host.stop()
    assert rename(host, "alice@localhost", "alicia@localhost").returncode == 0
    host.start()
    items = host.client("bob", "b").result(
        "get", f"<query xmlns='jabber:iq:roster' ver='{version}'/>")
    assert jids_in(items) == ["alicia@localhost"]


def test_contacts_whose_sessions_go_on_learn_of_it(make_server):
    """By their own lists and by a group; the old address is gone, and the new one is seen."""
    host = make_server("alice", "bob", "carol", "dora")
    host.befriend("alice", "bob")
    host.ctl("group", "add", "staff")
    for who in ("alice", "carol"):
        host.ctl("group-member", "add", "staff", f"{who}@localhost")
    clients = [host.client(who, "b") for who in ("alice", "bob", "carol", "dora")]
    for client in clients:
        client.result("get", "<query xmlns='jabber:iq:roster'/>")
        client.send("<presence/>")
        client.enable_sm()
    for client in clients[1:3]:
        client.expect("<presence from='alice@localhost/b'/>")
    for client in clients:
        client.cut()
    until("hibernation", lambda: {r["state"] for r in host.rows("session", "list")}
          == {"hibernating"})
    host.stop()
    for old, new in (("alice", "interim"), ("interim", "alicia")):
        assert rename(host, f"{old}@localhost", f"{new}@localhost").returncode == 0
    host.start()
    for name, client in ("bob", clients[1]), ("carol", clients[2]):
        back = host.connect(name)
        assert back.take_over(client).tag == f"{{{xml.SM}}}resumed"
        back.expect("<iq type='set'><query xmlns='jabber:iq:roster'><item jid='alice@localhost' "
                    "subscription='remove'/></query></iq>")
        back.expect("<iq type='set'><query xmlns='jabber:iq:roster'><item jid='alicia@localhost' "
                    "subscription='both'/></query></iq>")
        back.expect("<presence from='alicia@localhost/b'/>")
    back = host.connect("dora")
    assert back.take_over(clients[3]).tag == f"{{{xml.SM}}}resumed"
    back.ping()
    assert "alicia" not in str(back.inbox)


def test_what_operators_wrote_is_named(make_server):
    host = make_server("alice", "bob", conf={"settings": {"contact.abuse": "xmpp:alice@localhost"}})
    wrote = {"contact.support": "xmpp:alice@localhost", "contact.sales":
             "mailto:x@localhost xmpp:alice@localhost", "contact.admin": "xmpp:malice@localhost",
             "contact.feedback": "xmpp:alice@localhost.example"}
    for name, text in wrote.items():
        host.ctl("set", name, text)
    host.stop()
    done = rename(host, "alice@localhost", "alicia@localhost")
    assert done.returncode == 0, done
    named = re.findall(r"(?m)^(?:the setting (\S+)|\S+muster\.yaml:(\d+)) still has "
                       "alice@localhost: change it (?:there|with `musterctl set`)$", done.stdout)
    lines = host.file.read_text().split("\n")
    assert {name for name, _ in named} == {"contact.support", "contact.sales", ""}
    assert [i for _, i in named if i] == [
        str(i) for i, line in enumerate(lines, 1) if "alice@localhost" in line] != []
    host.start()
    assert {name: host.rows("get", name)[0]["value"] for name in wrote} == wrote


@pytest.mark.parametrize("options, why", [
    ("--to x@localhost", "--to: the old address is missing"),
    ("--rename x@localhost", "--rename: the new address is missing"),
    ("--rename x@localhost --check", "only one of"), ("--restore / --copy-to x", "only one of"),
    ("--dump-docs config --check", "only one of"),
    ("--check --core-dumps", "--core-dumps is for a server that starts")])
def test_options_that_do_not_go_together(make_server, options, why):
    """Nothing is done."""
    host = make_server("alice", start=False)
    host.write()
    done = subprocess.run([MUSTERD, "--config", host.file, *options.split()], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 2 and why in done.stderr and "Usage: musterd" in done.stderr, done
    assert not done.stdout


def test_settings_with_accounts_are_renamed():
    """Those of this type, by name."""
    rows = "".join(path.read_text() for path in (ROOT / "src").glob("**/*.c"))
    names = re.findall(r'struct setting \w+ = \{\s*\.name = "([^"]+)",\s*\.type = PARAM_BARE', rows)
    only = re.search(r'(?s)"name IN \((.*?)\)"',
                     (ROOT / "src/admin/settings/settings.c").read_text())
    renamed = re.findall(r"'([a-z.-]+)'", only[1])
    assert set(names) <= set(renamed)
    assert all(f'.name = "{name}"' in rows for name in renamed)


def test_a_session_that_waits_goes_on(host):
    """It is in its room, and has what came for it."""
    host.stop()
    assert rename(host, "alice@localhost", "alicia@localhost").returncode == 0
    host.start()
    bob = host.client("bob", "b")
    seen = host.room.enter(bob, "second")
    assert "owner" in seen.others
    alicia = host.connect("alicia")
    assert alicia.take_over(host.cut).tag == f"{{{xml.SM}}}resumed"
    alicia.expect("<message from='bob@localhost/b' to='alicia@localhost'><body>late</body>"
                  "</message>")
    host.room.say(bob, "still here?")
    alicia.expect("<message type='groupchat'><body>still here?</body></message>")
    host.room.say(alicia, "yes")
    bob.expect("<message type='groupchat' from='cave@conference.localhost/owner'><body>yes</body>"
               "</message>")


def test_what_others_wait_for_names_it(host):
    """A message in the queue of another account's session, and whom that owes its end."""
    bob = host.client("bob", "waits")
    bob.send("<presence to='alice@localhost/gone'/>")
    bob.enable_sm()
    bob.cut()
    alice = host.client("alice", "more")
    alice.send(f"<message to='{bob}' type='chat'><body>to you</body></message>")
    alice.ping()
    host.stop()
    assert "frozen.bytes" in left_in(host, "alice@localhost")
    assert rename(host, "alice@localhost", "alicia@localhost").returncode == 0
    assert left_in(host, "alice@localhost") <= WRITTEN
    assert "frozen.bytes" in left_in(host, "alicia@localhost/gone")
    host.start()
    back = host.connect("bob")
    assert back.take_over(bob).tag == f"{{{xml.SM}}}resumed"
    back.expect("<message from='alicia@localhost/more'><body>to you</body></message>")


def session_of(server, name):
    """Asks the API as the web console does."""
    api = Api(server.conf["listen"]["http_admin"][0].rpartition(":")[2], None)
    begun = api("POST", "/session", {"name": name, "password": "secret"})
    headers = {"Cookie": begun.headers["Set-Cookie"].split(";")[0],
               "X-CSRF-Token": begun.json["csrf"]}
    return lambda method, path, body=None: api(method, path, body, **headers)


def test_what_an_administrator_has_begun_goes_with_them(make_server):
    """A candidate of settings, and the name of who made a token: also by XMPP."""
    server = make_server("alice", "bob", start=False)
    server.conf["listen"]["http_admin"] = [f"127.0.0.1:{free_ports(1)[0]}"]
    server.start()
    for name in ("alice", "bob"):
        server.add_user(name)
        server.ctl("admin", "add", f"{name}@localhost", "administrator")
        ask = session_of(server, f"{name}@localhost")
        ask("PUT", "/settings/candidate/log.repeats", {"value": "44"})
        assert ask("POST", "/tokens", {"name": name, "role": "viewer"}).status in (200, 201)
    server.stop()
    with server.database() as db:
        db.execute("INSERT INTO setting_candidate SELECT replace(owner, 'console:', 'xmpp:'), "
                   "name, value, base, at_us FROM setting_candidate")
    done = rename(server, "alice@localhost", "alicia@localhost")
    assert done.returncode == 0, done
    server.start()
    assert {row["owner"] for row in server.rows("config", "candidate")} == {
        f"{via}:{name}@localhost" for via in ("console", "xmpp") for name in ("alicia", "bob")}
    assert {row["name"]: row["made_by"] for row in server.rows("token", "list")} == {
        "alice": "console:alicia@localhost", "bob": "console:bob@localhost"}
    candidate = session_of(server, "alicia@localhost")("GET", "/settings/candidate").json
    assert "44" in str(candidate)


def test_refused(host):
    host.stop()
    before = left_in(host, "alice@localhost")
    for old, new, why in (("nobody@localhost", "alicia@localhost", "there is no such account"),
                          ("alice@localhost", "bob@localhost", "there is such an account already"),
                          ("alice@localhost", "alice@localhost", "there is no such account"),
                          ("alice@localhost", "alicia@example.org", "an account of this node"),
                          ("alice@localhost", "localhost", "an account of this node"),
                          ("alice@localhost/a", "alicia@localhost", "an account of this node"),
                          ("alice@localhost", "al icia@localhost", "an account of this node")):
        done = rename(host, old, new)
        assert done.returncode == 1 and why in done.stderr, done
    assert left_in(host, "alice@localhost") == before
    assert not left_in(host, "alicia@localhost")


def test_of_two_rows_that_of_the_old_address_stays(host):
    bob = host.client("bob", "more")
    bob.result("set", "<query xmlns='jabber:iq:roster'><item jid='alicia@localhost' name='?'/>"
               "</query>")
    bob.result("get", "<query xmlns='jabber:iq:roster'/>")
    host.stop()
    assert rename(host, "alice@localhost", "alicia@localhost").returncode == 0
    host.start()
    items = host.client("bob", "b").result("get", "<query xmlns='jabber:iq:roster'/>")
    assert [(i.get("jid"), i.get("subscription")) for i in items] == [("alicia@localhost", "both")]


# Texts that are no addresses of accounts, or that people wrote.
OTHERS = (WRITTEN - {"frozen.bytes"}) | {
    "account.department", "account.directory_uri", "account.email", "account.given_name",
    "account.source", "account.surname", "account.template",
    "account.look", "auth_secret.factors", "audit_head.sealed", "blob.hash",
    "device.address", "device.device", "device.software", "directory.email", "directory.email_key",
    "directory.first", "directory.first_key", "directory.last", "directory.last_key",
    "directory.nick", "directory.nick_key", "fast_token.mech", "fast_token.secret", 
    "component_shown.jid",  # the component knows the old address, and is told that it has gone
    "backup_result.folder", "backup_result.node", "backup_result.why", "frozen.kind",
    "invite.name", "invite.token", "last.status", "motd.text",
    "privacy.standard", "privacy_rule.list", "private_xml.name", "private_xml.ns",
    "pubsub_node.config", "pubsub_node.node", "pubsub_subscription.subid",
    "push.device", "push.node", "push.resource", "reader.name",
    "report.ids", "report.reason", "report.text", "reserved.name", 
    "room.name", "room_remote.nick", "room_administrator.description",
    "room_administrator.nick", "room_affiliation.nick", "room_affiliation.reason",
    "room_hat.title", "room_hat.uri", "room_vcard.hashes", "room_vcard.vcard",
    "roster.name", "schema.feature", "seal.mark",
    "administrator.name", "administrator.role", "administrator_password.name",
    "admin_recovery.hash", "access_admin.role", "access_role.grants", "access_role.name",
    "access_token.hash", "access_token.name", "access_token.role", "access_token.scope",
    "audit_log.command", "audit_log.hash", "audit_log.peer", "audit_log.result",
    "audit_log.role", "audit_job.command", "audit_job.peer", "audit_job.role",
    "setting_version.actor", "setting_version.comment", "setting_version.ended_by",  # as it was
    "setting_version.kind", "setting_version.state", "store_state.name",
    "alarm_history.alarm", "alarm_history.detail", "alarm_history.known_by", "alarm_history.note",
    "alarm_history.severity", "alarm_history.worst", "alarm_rule.alarm",
    "alarm_waiting.alarm", "alarm_waiting.detail", "alarm_owed.recipients",
    # a receiver is told of what happened under the address of that time
    "webhook.events", "webhook.secret", "webhook.url", "webhook_queue.body",
    "webhook_queue.event_id", "webhook_queue.kind", "webhook_queue.subject",
    "federation_domain.domain", "federation_group.domains", "federation_group.name",
    "federation_report.domain", "federation_user.domains", "outside_test.diagnosis",
    "outside_test.domain", "outside_test.error", "outside_test.target", "s2s_demand.description",
    "s2s_demand.pattern", "s2s_demand.pins", "s2s_route.description", "s2s_route.pattern",
    "s2s_route.target", "test_user.password",
    "account_template.department", "account_template.description", "account_template.federation",
    "account_template.member_of", "account_template.name", "account_template.others",
    "account_template.share",
    "shared_group.name", "shared_group.shown", "shared_group_member.name",
    "shared_group_rule.field", "shared_group_rule.name", "shared_group_viewer.kind",
    "shared_group_viewer.name",
    "upload.hash", "upload.id", "upload.name", "upload.type"}


@pytest.mark.sqlite
def test_each_column_of_text_is_renamed_or_is_no_address(server):
    rows = "".join(path.read_text() for path in (ROOT / "src").glob("**/*.c"))
    declared = {f"{table}.{column}" for table, column in
                re.findall(r'\{\s*"([a-z_]+)",\s*"([a-z_]+)",\s*\.kind = STORE_(?!NUMBER)', rows)}
    with server.database(read_only=True) as db:
        texts = {f"{table}.{c[1]}" for table, in db.execute(
                     "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE "
                     "'message_fts%' AND name NOT LIKE 'sqlite_%'").fetchall()
                 for c in db.execute(f"PRAGMA table_info('{table}')").fetchall() if c[2] == "TEXT"}
    assert texts == declared | OTHERS, texts ^ (declared | OTHERS)
    assert not declared & OTHERS


# Where an old domain stays, since people or their clients wrote it.
WRITTEN_OF_DOMAIN = WRITTEN | {"message.stanza", "report.text"}


@pytest.fixture
def place(make_server):
    """A domain with something of everything, also of what users do not have, and one beside it."""
    place = furnish(make_server(
        "alice", "bob", "carol", "dave", domains=("localhost", "other.test"), component=True,
        settings={"muc.administrators-enabled": "on"}))
    place.ctl("set", "invite.enabled", "on")
    place.ctl("set", "push.services", "push.localhost push.example.com")
    place.ctl("set", "guest.domains", "localhost")
    place.ctl("set", "register.password-min@localhost", "11")
    place.ctl("set", "service.blacklist", "evil.test mallory@localhost irc.localhost/x")
    for label in "push", "irc":
        place.ctl("component", "add", f"{label}.localhost", "--secret", SECRET)
    place.add_user("zoe", domain="other.test")
    alice, bob, carol, dave = (place.client(name, "more") for name in (
        "alice", "bob", "carol", "dave"))
    zoe = place.client("zoe", "z", domain="other.test")
    zoe.send("<presence to='alice@localhost' type='subscribe'/>")
    zoe.expect("<presence from='alice@localhost/more' type='-'/>")
    zoe.send("<message to='alice@localhost' type='chat'><body>of zoe</body></message>")
    dave.send("<message to='bob@localhost' type='chat'><body>of dave</body></message>")
    until("dave", lambda: "of dave" in archived(bob))
    place.ctl("user", "del", "dave@localhost")
    enable(alice, node="n2", inner=OPTIONS, jid="push.localhost")
    vault = Room("vault").gather(owner=alice, second=bob)
    vault.configure(alice, persistentroom=1, enablearchiving=1, passwordprotectedroom=1,
                    roomsecret="opened")
    vault.set_subject(alice, "treasure")
    vault.set_affiliation(alice, "other.test", "outcast")
    vault.whisper(alice, "second", "psst")
    until("the whisper", lambda: "psst" in archived(bob))
    until("the alias", lambda: MADE in {r["alias"] for r in place.rows("room-alias", "list")})
    room_at(MADE).create(bob, "second", persistentroom=1)
    place.ctl("room-alias", "add", "chat.localhost")
    room_at("chat.localhost").create(zoe, "z", persistentroom=1)
    place.token = token_of(place.rows("user", "invite", "--username", "juliet", "--roster",
                                      "bob@localhost")[0])
    alice.result("set", pubsub.publish("urn:xmpp:bookmarks:1", "<conference xmlns="
                 "'urn:xmpp:bookmarks:1' autojoin='1'/>", item="cave@conference.localhost"))
    bob.result("set", f"<block xmlns='urn:xmpp:blocking'><item jid='carol@localhost'>{report()}"
               "</item><item jid='irc.localhost'/></block>")
    place.vault, place.zoe = vault, zoe
    for client in alice, bob, carol, zoe:
        client.close()
    return place


def rename_domain(server, new="example.org"):
    """The server is stopped; its node file has the new name then."""
    done = rename(server, server.domains[0], new)
    assert done.returncode == 0, done
    server.domains[0] = new
    return done.stdout


def contacts(client):
    return {i.get("jid"): i.get("subscription")
            for i in client.result("get", "<query xmlns='jabber:iq:roster'/>")}


def moved(room):
    room.jid = room.jid.replace("localhost", "example.org")
    return room


def test_a_domain_is_renamed_with_everything(place):
    place.stop()
    assert left_in(place, "localhost") >= {
        "account.jid", "account.look", "component.domain", "former.jid", "frozen.bytes",
        "invite.domain", "mam_prefs.always", "message.remote", "pubsub_item.id", "push.service",
        "report.jid", "room.jid", "room.domain", "room.subject", "room_affiliation.jid",
        "room_alias.domain", "roster.jid", "setting.name", "setting.value"}
    said = rename_domain(place)
    assert "localhost is example.org now" in said and "muster.yaml:3 still has localhost" in said
    assert left_in(place, "localhost") <= WRITTEN_OF_DOMAIN, said
    place.start()
    assert {row["jid"] for row in place.rows("user", "list")} == {
        f"{name}@example.org" for name in ("alice", "bob", "carol")} | {"zoe@other.test"}
    assert place.rows("get", "register.password-min@example.org")[0]["value"] == "11"
    alice = place.client("alice", "x", mechanism="SCRAM-SHA-256")
    bob = place.client("bob", "x")
    zoe = place.client("zoe", "z", domain="other.test")
    zoe.expect("<presence from='alice@example.org/x' type='-'/>")
    assert contacts(alice) == {"bob@example.org": "both", "carol@example.org": "none",
                               "zoe@other.test": "from"}
    assert contacts(zoe) == {"alice@example.org": "to"}
    assert {m.get("from").split("/")[0] for m in Page(bob).messages} >= {
        "bob@example.org", "alice@example.org", "dave@example.org",
        "vault@conference.example.org"}
    assert Page(bob, ("with", "dave@example.org")).bodies == ["of dave"]
    assert Page(bob, ("with", "vault@conference.example.org")).bodies == ["psst"]
    assert archived(alice)[-1] == "psst" and "of zoe" in archived(alice)
    assert set(blocklist(bob)) == {"carol@example.org", "irc.example.org"}
    items = alice.result("get", pubsub.get_items("urn:xmpp:bookmarks:1"))
    assert pubsub.item_ids(items) == ["cave@conference.example.org"]


@pytest.fixture
def uploads(monkeypatch):
    monkeypatch.setattr(test_upload, "HOST", "upload.example.org")


def dump(server):
    """All texts and bytes but what is made again, the audit log, which grows, and the numbers that
    renaming changes."""
    with server.database(read_only=True) as db:
        found = {f"{table}.{column}": sorted(
            str(value) for value, in db.execute(f'SELECT {text} FROM "{table}"').fetchall())
            for table, column, text in columns(server, db)}
        found["archive_size"] = sorted(db.execute("SELECT * FROM archive_size").fetchall())
        for table in "node", "item", "affiliation", "subscription":
            found[table] = sorted(db.execute(f"SELECT owner FROM pubsub_{table}").fetchall())
    return {name: values for name, values in found.items()
            if name != "account.look" and not name.startswith("audit_")}


def test_lists_of_many_users_are_renamed_in_one_go(make_server):
    """Each row is found by an index: 10,000 looks at 10,000 rows take 7 s of a processor."""
    server = make_server("alice", domains=["example.test"])
    server.stop()
    with server.database() as db:
        db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
                   " INSERT INTO mam_prefs(owner, preference, always, never) SELECT 1000000 + i, 1,"
                   " CASE WHEN i % 2 = 0 THEN '' ELSE 'x' || i || '@example.test' || chr(10) END,"
                   " 'y' || (i % 3) || '@example.test' || chr(10) || 'z' || i || '@else.example'"
                   " || chr(10) FROM n".replace("chr", "chr" if server.url else "char"))
    used = os.times().children_user
    server.conf["domains"] = ["example.org"]
    done = rename(server, "example.test", "example.org")
    assert done.returncode == 0, done.stderr
    if not server.url:  # PostgreSQL is another process
        assert os.times().children_user - used < 3
    with server.database() as db:
        found = db.execute("SELECT count(DISTINCT always), count(DISTINCT never) FROM mam_prefs"
                           " WHERE never LIKE '%example.org%'"
                           " AND NOT always || never LIKE '%example.test%'").fetchone()
        assert tuple(found) == (5001, 10000)
        assert db.execute("SELECT count(*) FROM mam_prefs").fetchone()[0] == 10000


@pytest.mark.parametrize("new", ["new.localhost", "bücher.example"])
def test_a_domain_gets_its_old_name_back(place, new):
    """Everything is as it was."""
    place.stop()
    before = dump(place)
    for old, to in ("localhost", new), (new, "localhost"):
        done = rename(place, old, to)
        assert done.returncode == 0, done
        after = dump(place)
        assert to == "localhost" or {name for name in before if before[name] != after[name]} >= {
            "account.jid", "room.config", "push.options", "component.secret", "frozen.bytes",
            "node"}
    assert not [(name, before[name], after[name]) for name in before
                if before[name] != after[name]]


def test_services_of_a_renamed_domain_go_on(place, uploads):
    place.stop()
    rename_domain(place)
    place.start()
    alice, bob = place.client("alice", "x"), place.client("bob", "x")
    items = {i.get("jid") for i in alice.result(
        "get", f"<query xmlns='{xml.DISCO_ITEMS}'/>", to="example.org")}
    assert {f"{label}.example.org" for label in ("conference", "pubsub", "upload", "chat")} <= items
    assert not any(jid.endswith("localhost") for jid in items)
    assert {row["alias"] for row in place.rows("room-alias", "list")} == {
        "chat.example.org", "conference-1-standalone.example.org",
        "conference-1-standalone.other.test"}
    items = alice.result("get", pubsub.get_items("news"), to="pubsub.example.org")
    assert pubsub.item_ids(items) == ["one"]
    alice.result("set", pubsub.publish("news", item="two"), to="pubsub.example.org")
    alice.expect("<message from='pubsub.example.org'/>")
    path = place.upload.split("/", 3)[3]
    answer = http_do(place, "GET", f"http://127.0.0.1:{place.http_port}/{path}")
    assert answer.body == b"hello"
    assert http_do(place, "GET", store(place, alice, b"new").replace(
        f"https://example.org:{place.https_port}", f"http://127.0.0.1:{place.http_port}")
                   ).body == b"new"
    for label in "push", "irc":
        Component(place, f"{label}.example.org", SECRET).close()
    push = Component(place, "push.example.org", SECRET)
    alice.close()
    bob.send("<message to='alice@example.org' type='chat'><body>wake up</body></message>")
    iq = push.expect(lambda e: e.tag.endswith("}iq") and b"s3" in xml.ET.tostring(e))
    assert iq.get("to") == "push.example.org" and iq.get("from") == "alice@example.org"
    for name, value in (("push.services", "push.example.org push.example.com"),
                        ("guest.domains", "example.org"),
                        ("service.blacklist", "evil.test mallory@example.org irc.example.org/x"),
                        ("admin.accounts", "bob@example.org alice@example.org")):
        assert place.rows("get", name)[0]["value"] == value
    juliet = place.connect("juliet")
    reply = juliet.iq("set", f"<preauth xmlns='urn:xmpp:pars:0' token='{place.token}'/>",
                      to="example.org")
    assert reply.get("type") == "result", xml.canonical(reply)


def test_rooms_of_a_renamed_domain_go_on(place):
    place.stop()
    rename_domain(place)
    place.start()
    alice, bob = place.client("alice", "x"), place.client("bob", "x")
    zoe = place.client("zoe", "z", domain="other.test")
    vault, cave = moved(place.vault), moved(place.room)
    seen = vault.enter(alice, "owner", password="opened")
    assert seen.own.standing == ("owner", "moderator")
    assert seen.subject.findtext(f"{{{xml.CLIENT}}}subject") == "treasure"
    assert vault.refused(bob, "second", password="closed") == ("not-authorized", "auth")
    assert vault.refused(zoe, "z", password="opened") == ("forbidden", "auth")
    vault.configure(alice, roomname="deep")
    seen = cave.enter(alice, "owner")
    assert seen.own.standing == ("owner", "moderator") and "in the cave" in seen.bodies
    assert set(cave.jids(alice, "admin")) == {"bob@example.org"}
    assert room_at("conference-1-standalone.example.org").enter(
        bob, "second").own.standing == ("owner", "moderator")
    assert room_at("chat.example.org").enter(zoe, "z").own.standing == ("owner", "moderator")


def test_sessions_of_a_renamed_domain_that_wait_go_on(place):
    place.stop()
    rename_domain(place)
    place.start()
    bob = place.client("bob", "x")
    cave = moved(place.room)
    assert "owner" in cave.enter(bob, "second").others
    alice = place.connect("alice")
    assert alice.take_over(place.cut).tag == f"{{{xml.SM}}}resumed"
    alice.expect("<message from='bob@example.org/b' to='alice@example.org'><body>late</body>"
                 "</message>")
    cave.say(bob, "still here?")
    alice.expect("<message type='groupchat'><body>still here?</body></message>")
    cave.say(alice, "yes")
    bob.expect("<message type='groupchat' from='cave@conference.example.org/owner'>"
               "<body>yes</body></message>")


def test_names_that_look_like_it_stay(make_server):
    """Names that have it as a part, domains below it that are our own, and users named like it."""
    host = make_server("alice", "bob", domains=("localhost", "sub.localhost", "other.test"),
                       component=True)
    host.add_user("localhost", domain="other.test")
    host.add_user("alice", domain="sub.localhost")
    for domain in "irc.localhost", "irc.sub.localhost", "irc.xlocalhost", "irc.localhost.test":
        host.ctl("component", "add", domain, "--secret", SECRET)
    same = ("bob@xlocalhost", "bob@localhost.test", "localhost@other.test", "alice@sub.localhost",
            "x@conference.sub.localhost", "localhost.test", "bob@unknown.localhost",
            "bob@x.test/bob@localhost", "localhost@irc.sub.localhost", "localhost@xlocalhost")
    other = ("bob@localhost", "localhost", "localhost/x", "localhost@localhost", "irc.localhost",
             "x@conference.localhost/a@localhost", "x@irc.localhost", "pubsub.localhost")
    zoe = host.client("localhost", "z", domain="other.test")
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    cave = Room("cave", "sub.localhost").create(alice, "owner", persistentroom=1)
    mine = Room("mine").create(alice, "owner", persistentroom=1)
    for room in cave, mine:
        for jid in "bob@localhost", "localhost", "bob@xlocalhost", "bob@localhost.test":
            room.set_affiliation(alice, jid, "outcast")
    below = host.client("alice", "b", domain="sub.localhost")
    below.send("<message to='alice@localhost' type='chat'><body>alice@localhost</body></message>")
    until("archived", lambda: archived(alice) == ["alice@localhost"])
    for client in zoe, bob:
        block(client, *(jid for jid in same + other if jid != client.bare))
    host.stop()
    rename_domain(host)
    host.start()
    zoe = host.client("localhost", "z", domain="other.test")
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    expected = {*same, "bob@example.org", "example.org", "example.org/x", "localhost@example.org",
                "irc.example.org", "x@conference.example.org/a@localhost", "x@irc.example.org",
                "pubsub.example.org"}
    assert set(blocklist(bob)) == expected - {bob.bare}
    assert set(blocklist(zoe)) == expected - {zoe.bare}
    assert {row["domain"] for row in host.rows("component", "list")} == {
        "irc.example.org", "irc.sub.localhost", "irc.xlocalhost", "irc.localhost.test"}
    mine.jid = "mine@conference.example.org"
    for room in cave, mine:
        room.enter(alice, "owner")
        assert set(room.jids(alice, "outcast")) == {
            "bob@example.org", "example.org", "bob@xlocalhost", "bob@localhost.test"}
    assert [m.get("from") for m in Page(alice).messages] == ["alice@sub.localhost/b"]
    assert archived(alice) == ["alice@localhost"]


def test_of_users_that_were_strangers_the_old_ones_stay(make_server):
    host = make_server("alice", "bob")
    host.befriend("alice", "bob")
    alice = host.client("alice", "a")
    for jid in "bob@example.org", "alice@example.org", "eve@example.org":
        alice.result("set", f"<query xmlns='jabber:iq:roster'><item jid='{jid}' name='?'/></query>")
    version = alice.result("get", "<query xmlns='jabber:iq:roster' ver=''/>").get("ver")
    alice.result("set", "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always>"
                 "<jid>bob@localhost</jid></always><never><jid>bob@example.org</jid>"
                 "<jid>eve@example.org</jid></never></prefs>")
    host.stop()
    rename_domain(host)
    host.start()
    alice = host.client("alice", "a")
    assert contacts(alice) == {"bob@example.org": "both", "eve@example.org": "none"}
    again = alice.result("get", f"<query xmlns='jabber:iq:roster' ver='{version}'/>")
    assert set(jids_in(again)) == {"bob@example.org", "eve@example.org"}
    prefs = alice.result("get", "<prefs xmlns='urn:xmpp:mam:2'/>")
    assert sorted(jids_in(prefs)) == ["bob@example.org", "eve@example.org"]


@pytest.mark.parametrize("new", ["example.org", "a.test", "bücher.example"])
def test_what_archives_of_a_renamed_domain_count(make_server, new):
    host = make_server("alice", "bob", settings={"archive.user-bytes": 64 << 10})
    alice, bob = host.client("alice", "a"), host.client("bob", "b")
    cave = Room("cave").gather(owner=alice, second=bob)
    cave.configure(alice, persistentroom=1, enablearchiving=1)
    cave.say(alice, "in the cave")
    mark = "<stanza-id xmlns='urn:xmpp:sid:0' by='alice@localhost' id='0123456789abcdef'/>"
    mark = mark.replace("<", "&lt;")
    for to, body in ("bob@localhost", "' to='alice@localhost'"), ("nobody@localhost", mark):
        alice.send(f"<message to='{to}' type='chat'><body>{body}</body>"
                   f"{forwarded('alice@localhost')}</message>")
    until("all", lambda: len(contents(host)) == 3)
    before = counted(host), contents(host)
    host.stop()
    rename_domain(host, new)
    host.start()
    of_room = "by='cave@conference.{}'"
    assert contents(host) == [text.replace(of_room.format("localhost"), of_room.format(
        new)) for text in before[1]] != before[1]
    assert counted(host) != before[0]


@pytest.mark.parametrize("first", [True, False])
def test_the_node_file_is_changed_before_or_afterwards(make_server, first):
    host = make_server("alice", conf={"settings": {"contact.abuse": "xmpp:alice@localhost",
                                                   "contact.sales": "xmpp:a@xlocalhost"}})
    host.ctl("set", "contact.support", "https://www.localhost/help xmpp:alice@localhost")
    host.ctl("set", "contact.admin", "xmpp:localhost@other.test")
    host.stop()
    if first:
        host.conf["domains"] = ["example.org"]
        host.start()  # too early
        host.stop()
    done = rename(host, "localhost", "example.org")
    assert done.returncode == 0, done
    named = re.findall(r"(?m)^(?:the setting (\S+)|\S+muster\.yaml:(\d+)) still has localhost: ",
                       done.stdout)
    lines = [i for i, line in enumerate(host.file.read_text().split("\n"), 1)
             if re.search(r"\blocalhost\b", line)]
    assert [int(i) for _, i in named if i] == lines and len(lines) == (1 if first else 2)
    assert [name for name, _ in named if name] == ["contact.support"]
    host.conf["domains"] = host.domains = ["example.org"]
    host.start()
    host.client("alice")


def test_domains_that_cannot_be_renamed(make_server):
    host = make_server("alice", domains=("localhost", "other.test", "empty.test"))
    host.add_user("zoe", domain="other.test")
    host.stop()
    for old, new, why in (
            ("empty.test", "example.org", "empty.test: there is no such domain in the database"),
            ("localhost", "other.test", "other.test: this domain is in use already: the database "
             "has zoe@other.test"),
            ("localhost", "localhost", "a domain and its new name"),
            ("example.org", "example.com", "one of which is in `domains` of the node file"),
            ("localhost", "alice@localhost", "two addresses"),
            ("alice@localhost", "localhost", "an account of this node"),
            ("localhost", "conference.localhost", "not the one of a service"),
            ("localhost", "example.org/x", "or a domain"),
            ("localhost", "exa mple", "or a domain")):
        done = rename(host, old, new)
        assert done.returncode == 1 and why in done.stderr, done
    assert not left_in(host, "example.org")
    assert rename(host, "localhost", "empty.test").returncode == 0
    assert rename(host, "other.test", "empty.test").returncode == 1
    (host.data / "secrets.key").rename(host.data / "away")
    done = rename(host, "empty.test", "example.org")
    assert done.returncode == 1 and "secrets.key" in done.stderr, done
    assert not left_in(host, "example.org")


def test_a_domain_with_rooms_only_is_in_use(make_server):
    host = make_server("alice", domains=("localhost", "other.test"))
    alice = host.client("alice")
    Room("cave", "other.test").create(alice, "owner", persistentroom=1)
    alice.result("set", pubsub.create("news"), to="pubsub.other.test")
    host.stop()
    done = rename(host, "localhost", "other.test")
    assert "the database has pubsub.other.test" in done.stderr, done
    with host.database() as db:
        db.execute("DELETE FROM pubsub_node")
        if not host.url:
            db.commit()
    done = rename(host, "localhost", "other.test")
    assert "the database has cave@conference.other.test" in done.stderr, done
    rename_domain(host)
