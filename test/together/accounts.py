"""What becomes of accounts: made, deleted, disabled, their passwords and resources; and what they
have beside messages: files, lists, images, marks of what was read."""
import base64
import hashlib
import http.client
import urllib.parse

from harness import muc, xml
from harness.client import insecure_context
from harness.registration import CHANGE, REGISTER, form
from together.actions import come
from together.registry import action
from together.world import ON

PUBSUB = "<pubsub xmlns='http://jabber.org/protocol/pubsub'>{}</pubsub>"
UPLOAD = "urn:xmpp:http:upload:0"
PRIVACY = "<query xmlns='jabber:iq:privacy'>{}</query>"
DISPLAYED = "urn:xmpp:mds:displayed:0"


def hand_over(account, but=None):
    """Whether it is known what becomes of messages if its sessions end: none is under way."""
    return not any(d.pending or d.held for d in account.devices if d is not but)


def all_end(player, account, but=None):
    for device in account.live():
        if device is not but:
            player.world.end(device)


# --- accounts ---


@action(1, "account", drives="users session auth")
def disable(player, account):
    """Its sessions end, and to others it is as if it were not there; all that it has stays."""
    if not account.there or not hand_over(account):
        return False
    player.console.ask("user disable", jid=account.bare)
    all_end(player, account)
    account.disabled = True


@action(8, "account", drives="users auth")
def enable(player, account):
    if not account.disabled:
        return False
    player.console.ask("user enable", jid=account.bare)
    account.disabled = False


@action(1, "account", "digit", drives="users register roster presence mam pep privacy private push "
        "upload vcard search announce last muc_administrators muc_leavers pubsub pubsub_host")
def unregister(player, account, number):
    """Deleted, by itself or by an operator: others lose it from their rosters."""
    devices = account.online()
    if not account.there or not hand_over(account):
        return False
    if devices and number % 2:
        player.live(devices[0]).remove_account()
    else:
        player.console.ask("user del", jid=account.bare)
    all_end(player, account)
    player.world.delete(account)


@action(8, "account", drives="register users auth")
def register(player, account):
    """The same name comes back, by in-band registration: it has nothing of what it had."""
    if account.exists:
        return False
    client, account.password = player.server.connect(), "secret again"
    client.send("<iq type='set' id='new'>" + REGISTER.format(
        f"<username>{account.name}</username><password>{account.password}</password>") + "</iq>")
    if player.world.registers:
        client.expect("<iq type='result' id='new'/>")
        client.close()
    else:
        client.expect_stream_error("not-authorized")
        client.sock.close()
    player.server.clients.remove(client)
    account.exists = player.world.registers


@action(2, "on", "digit", drives="register auth session")
def change_password(player, device, number):
    """The other sessions of the account end."""
    account = device.account
    if not hand_over(account, device):
        return False
    password = f"secret {number}"
    player.live(device).result("set", form(
        CHANGE, username=account.name, old_password=account.password, password=password))
    account.password = password
    all_end(player, account, device)


@action(2, "on", drives="session c2s")
def conflict(player, device):
    """Another client takes the resource (RFC 6120 §7.7.2.2): the first one is told, and ends."""
    live = player.live(device)
    old = live.client
    live.connect()
    old.expect_stream_error("conflict")
    player.world.end(device)
    device.begin(ON)
    come(player, device)


@action(1, "digit", drives="settings message messaging upload register")
def switch(player, number):
    """The administrator turns a part of the server on or off."""
    world = player.world
    name, setting = (("talking", "im.enabled"), ("uploads", "upload.enabled"),
                     ("registers", "register.enabled"))[number % 3]
    setattr(world, name, not getattr(world, name))
    player.console.ask("set", setting=setting, value="on" if getattr(world, name) else "off")


# --- files ---


def http_do(player, method, url, body=None, **headers):
    parts = urllib.parse.urlsplit(url)
    assert parts.port == player.server.https_port, url
    connection = http.client.HTTPSConnection("127.0.0.1", parts.port, context=insecure_context(),
                                             timeout=60)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


@action(3, "on", "digit", drives="upload http")
def upload(player, device, number):
    """A file goes up, where that is allowed (XEP-0363)."""
    body = f"{device} {number}".encode()
    answer = player.live(device).iq("get", f"<request xmlns='{UPLOAD}' filename='f{number}' "
                                           f"size='{len(body)}'/>", to="upload.localhost")
    assert (answer.get("type") == "result") == player.world.uploads, xml.canonical(answer)
    if player.world.uploads:
        put, get = (answer.find(f".//{{{UPLOAD}}}{way}").get("url") for way in ("put", "get"))
        status, text = http_do(player, "PUT", put, body)
        assert status == 201, text
        device.account.files[get] = body
    return True


@action(3, "account", drives="upload http")
def download(player, account):
    """Whoever has the address gets what was sent, while there is an upload service."""
    if not account.files or not player.world.uploads:
        return False
    for url, body in account.files.items():
        answer = http_do(player, "GET", url)
        assert answer == (200, body), f"file of {account}: {answer}, not {body}"
    return True


# --- lists, images and marks ---


@action(3, "on", "account", drives="privacy")
def mute(player, device, account):
    """Messages of somebody are denied by the default list (XEP-0016), or no longer; presence goes
    on. Who is blocked stands in the same list (XEP-0191 §3)."""
    own, live = device.account, player.live(device)
    if account is own:
        return False
    muted = own.muted ^ {account}
    found = live.result("get", PRIVACY.format("")).find(".//{jabber:iq:privacy}default")
    name = "quiet" if found is None else found.get("name")
    items = [(a, "") for a in sorted(own.blocked, key=repr)]
    items += [(a, "<message/>") for a in sorted(muted, key=repr)]
    text = "".join(f"<item type='jid' value='{a.bare}' action='deny' order='{i}'>{what}</item>"
                   for i, (a, what) in enumerate(items, 1))
    live.result("set", PRIVACY.format(f"<list name='{name}'>{text}"
                                      "<item action='allow' order='99'/></list>"))
    if found is None:
        live.result("set", PRIVACY.format(f"<default name='{name}'/>"))
    own.muted = muted
    player.world.not_heard(own, account)
    player.world.heard(own, account)


@action(3, "on", "digit", drives="avatar pep presence vcard")
def avatar_item(player, device, number):
    """An avatar as items of nodes (XEP-0084), which are the photo of the vCard, too (XEP-0398)."""
    image = f"image {number}".encode()
    ident = hashlib.sha1(image).hexdigest()
    info = f"<info id='{ident}' bytes='{len(image)}' type='image/png'/>"
    for node, inner in (("data", base64.b64encode(image).decode()), ("metadata", info)):
        ns = f"urn:xmpp:avatar:{node}"
        player.live(device).result("set", PUBSUB.format(
            f"<publish node='{ns}'><item id='{ident}'><{node} xmlns='{ns}'>{inner}</{node}></item>"
            "</publish>"))
    device.account.photo = ident


@action(3, "on", "account", "digit", drives="displayed pep")
def mark_read(player, device, account, number):
    """How far a conversation was read (XEP-0490), for the other devices."""
    player.live(device).result("set", PUBSUB.format(
        f"<publish node='{DISPLAYED}'><item id='{account.bare}'><displayed xmlns='{DISPLAYED}'>"
        f"<stanza-id xmlns='urn:xmpp:sid:0' id='s{number}' by='{device.account.bare}'/></displayed>"
        "</item></publish><publish-options>"
        + muc.submit("http://jabber.org/protocol/pubsub#publish-options", {
            "pubsub#persist_items": "true", "pubsub#max_items": "max",
            "pubsub#send_last_published_item": "never", "pubsub#access_model": "whitelist"})
        + "</publish-options>"))
    device.account.marks[account.bare] = f"s{number}"


# --- what was said, changed ---


@action(3, "on", "account", drives="message mam carbons")
def correct(player, device, account):
    """The last message to somebody is corrected (XEP-0308): that is a message of its own."""
    own = device.account
    said = [m for m in own.archive if m.sender is device and m.to is account]
    if account is own or not said:
        return False
    message = player.world.say(device, account)
    player.live(device).send(
        f"<message to='{account.bare}' type='chat' id='{message.text}'><body>{message.text}</body>"
        f"<replace id='{said[-1].text}' xmlns='urn:xmpp:message-correct:0'/></message>")


@action(3, "on", "account", drives="message mam")
def retract(player, device, account):
    """The last message to somebody is taken back (XEP-0424): no archive has its words any more."""
    own = device.account
    said = [m for m in own.archive if m.sender is device and m.to is account]
    if (not said or said[-1] not in account.archive or not account.there
            or own in account.blocked | account.muted or account in own.blocked
            or not player.world.talking or said[-1] in account.waiting
            or not hand_over(account)):
        return False
    player.live(device).send(
        f"<message to='{account.bare}' type='chat' id='r-{said[-1].text}'>"
        f"<retract xmlns='urn:xmpp:message-retract:1' id='{said[-1].text}'/></message>")
    for one in (own, account):
        one.archive.remove(said[-1])
        one.retracted.add(said[-1].text)
        one.whispers.append(said[-1])  # a crash may bring it once more
    # an operator who deletes the addressee must not overtake it; what it changes may come later
    player.live(device).iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=account.bare)


# --- rooms ---


@action(3, "on", "room", drives="muc muc-archive")
def read_room_archive(player, device, room):
    """All that was said in a room that outlives its occupants, once, in order."""
    if not room.persistent or room.nick_of(device) is None:
        return False
    player.compare_room_archive(device, room)


@action(4, "on", "room", "digit", drives="muc muc_vcard")
def room_avatar(player, device, room, number):
    """The image of a room, which its owner sets as its vCard (XEP-0486)."""
    if room.nick_of(device) is None or room.affiliations.get(device.account) != "owner":
        return False
    image = base64.b64encode(f"room {number}".encode()).decode()
    player.live(device).result("set", "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE>"
                                      f"<BINVAL>{image}</BINVAL></PHOTO></vCard>", to=room.jid)
    room.image = image


@action(2, "on", "room", drives="muc muc_vcard vcard")
def see_room_avatar(player, device, room):
    if room.nick_of(device) is None or room.image is None:
        return False
    card = player.live(device).result("get", "<vCard xmlns='vcard-temp'/>", to=room.jid)
    seen = card.findtext(".//{vcard-temp}BINVAL")
    assert seen == room.image, f"image of {room}: {seen}, not {room.image}"


