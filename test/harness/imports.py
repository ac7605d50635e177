"""Files of accounts as other servers leave them, and what to see after the import."""
import base64
import datetime
import hashlib
import hmac
import xml.etree.ElementTree as ET

PIE, SCRAM = "urn:xmpp:pie:0", "urn:xmpp:pie:0#scram"
PUBSUB, OWNER = "http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/pubsub#owner"
HOST = "partner.example"
LAUGHS = ("<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]>", "document type")


def keys(password, name="sha1", salt=b"0123456789abcdef0123456789abcdef0123", count=4096):
    """Keys as another server has them: of one hash, with a salt that is longer than ours."""
    salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, count)
    client = hmac.digest(salted, b"Client Key", name)
    parts = {"iter-count": str(count)}
    for key, value in (("salt", salt), ("server-key", hmac.digest(salted, b"Server Key", name)),
                       ("stored-key", hashlib.new(name, client).digest())):
        parts[key] = base64.b64encode(value).decode()
    label = {"sha1": "SHA-1", "sha256": "SHA-256"}[name]
    return (f"<scram-credentials xmlns='{SCRAM}' mechanism='SCRAM-{label}'>"
            + "".join(f"<{k}>{v}</{k}>" for k, v in parts.items()) + "</scram-credentials>")


def lost_of(answer):
    """The report without what is said of a domain as a whole: keys that accounts lack."""
    return [r for r in answer["rows"] if not r["what"].startswith("accounts without keys for")]


def server_data(*users, host="localhost"):
    return (f"<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='{PIE}'>"
            f"<host jid='{host}'>\n" + "\n".join(users) + "\n</host></server-data>\n")


ALICE = f"""<user name='juliet' password='s3crEt'>
<query xmlns='jabber:iq:roster'>
<item jid='romeo@localhost' name='R &amp; M' subscription='both'><group>Friends</group></item>
<item jid='nurse@example.com' subscription='to'/>
<item jid='bob@localhost' subscription='none' ask='subscribe'/></query>
<presence xmlns='jabber:client' from='tybalt@example.com' type='subscribe'><status>let me</status>
</presence>
<vCard xmlns='vcard-temp'><FN>Juliet Capulet</FN></vCard>
<query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'><nick>J</nick></exodus>
<storage xmlns='storage:bookmarks'><conference jid='tea@rooms.localhost' name='Tea' autojoin='1'>
<nick>jules</nick></conference><url name='x' url='https://example.com'/></storage></query>
<query xmlns='jabber:iq:privacy'><default name='mine'/><list name='mine'>
<item action='deny' order='7' type='jid' value='spam@example.com'/>
<item action='allow' order='9'/></list></query>
<blocklist xmlns='urn:xmpp:blocking'><item jid='tybalt@example.com'/></blocklist>
<pubsub xmlns='{OWNER}'><configure node='mood'><x xmlns='jabber:x:data' type='submit'>
<field var='FORM_TYPE'><value>{PUBSUB}#node_config</value></field>
<field var='pubsub#access_model'><value>whitelist</value></field></x></configure>
<affiliations node='mood'><affiliation jid='romeo@localhost' affiliation='member'/></affiliations>
</pubsub><pubsub xmlns='{PUBSUB}'><items node='mood'><item id='1'><m xmlns='urn:m'/></item></items>
</pubsub>
<archive xmlns='urn:xmpp:pie:0#mam'>
<result xmlns='urn:xmpp:mam:2' id='a'><forwarded xmlns='urn:xmpp:forward:0'>
<delay xmlns='urn:xmpp:delay' stamp='2020-05-01T10:00:00Z'/><message xmlns='jabber:client'
 from='juliet@localhost/balcony' to='romeo@localhost' type='chat' id='m1'><body>sent</body>
</message></forwarded></result>
<result xmlns='urn:xmpp:mam:2' id='b'><forwarded xmlns='urn:xmpp:forward:0'>
<delay xmlns='urn:xmpp:delay' stamp='2020-05-01T10:00:00Z'/><message xmlns='jabber:client'
 from='romeo@localhost/x' to='juliet@localhost' type='chat' id='m2'><body>come</body>
</message></forwarded></result></archive>
<offline-messages><message xmlns='jabber:client' from='romeo@localhost/x' to='juliet@localhost'
 type='chat' id='m2'><body>come</body><delay xmlns='urn:xmpp:delay' from='localhost'
 stamp='2020-05-01T10:00:00Z'/></message>
<message xmlns='jabber:client' from='nurse@example.com/x' to='juliet@localhost' type='chat'>
<body>later</body><delay xmlns='urn:xmpp:delay' from='localhost' stamp='2020-05-02T10:00:00Z'/>
</message></offline-messages>
</user>"""
ROMEO = f"""<user name='romeo'>{keys('iLuvJuLi3T')}<query xmlns='jabber:iq:roster'>
<item jid='juliet@localhost' subscription='both'/></query></user>"""


def canonical(text):
    """A <host/> whose white space and order of elements within a user, and of contacts, do not
    matter."""
    def strip(e):
        e.text = (e.text or "").strip() or None
        e.tail = None
        for child in e:
            strip(child)
        if e.tag == "{jabber:iq:roster}query":
            e[:] = sorted(e, key=lambda item: item.get("jid"))
        return ET.canonicalize(ET.tostring(e, encoding="unicode"))
    return [sorted(map(strip, user)) for user in ET.fromstring(text).iter(f"{{{PIE}}}user")]


MANY = 3000
BEGIN_US = 1588327200_000000  # 2020-05-01T10:00:00Z
# An archive with ids of this server, close to their times but not equal: (µs, id, text).
LINES = [(BEGIN_US + i * 250_000, str(BEGIN_US + i * 250_000 + 1 + i % 7), f"line {i}")
         for i in range(MANY)]


def stamp_of(us):
    return (datetime.datetime.fromtimestamp(us // 10**6, datetime.UTC).strftime("%FT%T")
            + f".{us % 10**6:06}Z")


def entry(us, text, key, mine):
    ends = ("juliet@localhost/a", "romeo@localhost")
    sender, to = ends if mine else (f"{ends[1]}/x", "juliet@localhost")
    return (f"<result xmlns='urn:xmpp:mam:2' id='{key}'><forwarded xmlns='urn:xmpp:forward:0'>"
            f"<delay xmlns='urn:xmpp:delay' stamp='{stamp_of(us)}'/><message xmlns='jabber:client'"
            f" from='{sender}' to='{to}' type='chat'><body>{text}</body></message></forwarded>"
            "</result>")


def with_archive(entries, name="juliet", password="x", more=""):
    return (f"<user name='{name}' password='{password}'><archive xmlns='urn:xmpp:pie:0#mam'>"
            + "".join(entries) + f"</archive>{more}</user>")


def times(us):
    """As queries tell it: without zeros at the end."""
    return datetime.datetime.fromisoformat(us).timestamp()


def messages_of(server, jid="juliet@localhost"):
    stats = {r["name"]: r["value"] for r in server.rows("user", "stats", jid)}
    return int(stats["stored messages"])


def prosody_file(folder, host, store, name, text):
    path = folder / host.replace(".", "%2e") / store / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def prosody_item(us, text, sender, to, kind="chat"):
    """An entry of an archive, as Prosody's internal storage has it."""
    return (f'item({{\n\t["attr"] = {{ ["from"] = "{sender}"; ["to"] = "{to}";'
            f' ["type"] = "{kind}"; ["xmlns"] = "jabber:client"; }};\n\t["key"] = "aB_{us}";\n'
            f'\t["name"] = "message";\n\t["when"] = {us // 10**6}.{us % 10**6:06};\n'
            f'\t["with"] = "romeo@localhost";\n'
            f'\t{{ ["attr"] = {{}}; ["name"] = "body"; "{text}"; }};\n}});\n')
