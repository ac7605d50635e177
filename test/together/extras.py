"""What goes on beside it all: nobody shall notice more of it than is said here."""
import base64
import hashlib
import json

from harness import muc, xml
from harness.component import Component
from harness.muc import Room as Address
from together.registry import action
from together.world import ON

PRIVATE = "<query xmlns='jabber:iq:private'>{}</query>"
PUBSUB = "<pubsub xmlns='http://jabber.org/protocol/pubsub'>{}</pubsub>"
PUSH = "urn:xmpp:push:0"
REGISTER = "jabber:iq:register"
OUTSIDE, OUTSIDE_SECRET = "gate.example.test", "a secret of the gate"


@action(2, "on", "digit", drives="push")
def push(player, device, number):
    """Notifications by a service that cannot be reached, or none (XEP-0357)."""
    word = "enable" if number % 3 else "disable"
    player.live(device).result("set", f"<{word} xmlns='{PUSH}' jid='push.example.test' node='n'/>")


@action(2, "on", "digit", drives="private")
def keep_private(player, device, number):
    """An element that only the account reads (XEP-0049)."""
    player.live(device).result("set", PRIVATE.format(f"<own xmlns='urn:own'>{number}</own>"))
    device.account.private = str(number)


@action(2, "on", drives="private")
def read_private(player, device):
    found = player.live(device).result("get", PRIVATE.format("<own xmlns='urn:own'/>"))
    text = found.findtext(".//{urn:own}own") or None
    assert text == device.account.private, f"private XML of {device}: {xml.canonical(found)}"


@action(2, "on", drives="caps presence")
def tell_caps(player, device):
    """What the client can do (XEP-0115), by a hash for which it does not stand when it is asked."""
    if not device.available or device.invisible:
        return False
    ver = base64.b64encode(hashlib.sha1(device.name.encode()).digest()).decode()
    inner = "".join(f"<{tag}>{text}</{tag}>" for tag, text in
                    (("show", device.show), ("status", device.status)) if text is not None)
    player.live(device).send(
        f"<presence>{inner}<priority>{device.priority}</priority><c hash='sha-1' "
        f"xmlns='http://jabber.org/protocol/caps' node='urn:own' ver='{ver}'/></presence>")


@action(1, "digit", drives="announce")
def announce_to_all(player, number):
    """Operators tell all who are online; who is not in the background has it at once."""
    player.world.news += 1
    text = f"news {player.world.news}"
    player.console.ask("announce", text=text)
    for device in player.world.devices:
        if device.state == ON and device.available and not device.inactive:
            live = player.live(device)
            player.until(f"{text!r} at {device}", lambda live=live: text in live.news)


@action(2, "account", drives="muc_administrators")
def room_administrator(player, account):
    """One more administrator of group chat, or one less; their rights are off by default."""
    if not account.there:
        return False
    admins = player.world.room_administrators
    player.console.ask("room-admin del" if account in admins else "room-admin add",
                       jid=account.bare)
    admins ^= {account}


@action(4, "on", "room", drives="muc muc_register")
def see_registration(player, device, room):
    """The form of the room's register (XEP-0045 §7.10); who has not registered is told so."""
    if room.nick_of(device) is None:
        return False
    player.live(device).result("get", f"<query xmlns='{REGISTER}'/>", to=room.jid)


@action(2, "on", drives="sift")
def sift(player, device):
    """No requests of others for this session (XEP-0273), of which there are none here."""
    player.live(device).result(
        "set", "<sift xmlns='urn:xmpp:sift:1'><iq sender='others'/></sift>",
        to=device.account.bare)


@action(3, "on", "account", drives="watch presence")
def watch(player, device, account):
    """A subscription for a while to somebody who is seen anyway: nothing comes of it."""
    own = device.account
    if (account not in own.friends or not account.there or own in account.blocked
            or account in own.blocked):
        return False
    player.live(device).result("set", "<watch xmlns='urn:muster:watch:0' seconds='60'/>",
                               to=account.bare)


@action(2, "digit", drives="service_lists settings")
def refuse_strangers(player, number):
    """The operator refuses a domain that nobody here talks to, or no longer."""
    player.console.ask("set", setting="service.blacklist",
                       value="spam.example.test" if number % 2 else "")


@action(4, "on", "account", "account", drives="multicast message mam messaging mdm carbons")
def say_to_both(player, device, one, other):
    """One message to two accounts (XEP-0033)."""
    own = device.account
    if (own in (one, other) or one is other or not player.world.talking
            or own.blocked & {one, other}):
        return False
    player.world.say_to_both(device, one, other)
    text = f"m{player.world.number}"
    player.live(device).send(
        f"<message to='localhost' type='chat' id='{text}'><addresses "
        f"xmlns='http://jabber.org/protocol/address'><address type='to' jid='{one.bare}'/>"
        f"<address type='to' jid='{other.bare}'/></addresses><body>{text}</body></message>")


def rules(room, device):
    return (room.nick_of(device) is not None
            and room.affiliations.get(device.account) in ("owner", "admin"))


@action(10, "on", "room", drives="muc muc_moderate muc-archive")
def moderate(player, device, room):
    """The last message that a moderator saw is taken back (XEP-0425)."""
    live = player.live(device)
    seen = [m for m in room.said if m.text in live.ids]
    if not rules(room, device) or not room.persistent or not seen:
        return False
    ident = live.ids[seen[-1].text]
    live.result("set", f"<moderate xmlns='urn:xmpp:message-moderate:1' id='{ident}'>"
                       "<retract xmlns='urn:xmpp:message-retract:1'/></moderate>", to=room.jid)
    room.said.remove(seen[-1])
    room.retracted.add(seen[-1].text)


@action(5, "on", "room", "digit", drives="muc muc_hats")
def wear_hat(player, device, room, number):
    """Somebody is given a mark that others see (XEP-0317), which changes nothing else."""
    if room.nick_of(device) is None or room.affiliations.get(device.account) != "owner":
        return False
    form = muc.submit("urn:xmpp:hats:commands", {
        "hats#jid": device.account.bare, "hats#uri": f"urn:hat:{number}", "hats#title": "Hat"})
    player.live(device).result(
        "set", "<command xmlns='http://jabber.org/protocol/commands' sessionid='s1' "
        f"node='urn:xmpp:hats:commands:assign'>{form}</command>", to=room.jid)


@action(3, "on", drives="component message messaging mam carbons mdm")
def write_outside(player, device):
    """A component comes (XEP-0114), is written to, and goes."""
    own = device.account
    if not player.world.talking:
        return False
    player.console.ask("component add", domain=OUTSIDE, secret=OUTSIDE_SECRET)
    gate = Component(player.server, OUTSIDE, OUTSIDE_SECRET)
    message = player.world.message(device, None)
    own.archive.append(message)
    for other in own.live():
        if other is not device and other.carbons:
            other.give(message)
    player.live(device).send(f"<message to='bot@{OUTSIDE}' type='chat' id='{message.text}'>"
                             f"<body>{message.text}</body></message>")
    gate.expect(f"<message from='{device.jid}'><body>{message.text}</body></message>")
    gate.close()
    player.server.clients.remove(gate)


@action(8, "on", "account", drives="contacts roster")
def group_contact(player, device, account):
    """The operator puts a contact into a group."""
    own = device.account
    if account not in own.friends or not own.there:
        return False
    row, = player.console.rows("contact add", jid=own.bare, contacts=account.bare, group="team")
    assert row["jid"] == account.bare, row


@action(2, "room", drives="muc muc_file muc-archive")
def export_room(player, room):
    """The operator writes a room to a file, with all that was said."""
    if not room.persistent:
        return False
    path = player.server.folder / "room.jsonl"
    player.console.ask("room export", room=room.jid, file=str(path))
    text = path.read_text()
    path.unlink()
    assert json.loads(text.partition("\n")[0]), text
    missing = [m.text for m in room.said if f"<body>{m.text}</body>" not in text]
    assert not missing, f"not in the file of {room}: {missing}"


@action(1, "digit", drives="muc muc_alias muc_service")
def other_domain(player, number):
    """Group chat has one more domain for a moment; no room is there."""
    player.console.ask("room-alias add", alias="chat.localhost")
    player.console.ask("room-alias del", alias="chat.localhost")


@action(1, "digit", drives="muc muc_cleanup")
def clean_up(player, number):
    """Rooms that nobody needs are destroyed; all are of today."""
    assert player.console.rows("room cleanup", **{"older_than": "1d"}) == []


def notes(player, device):
    """The rooms among the bookmarks of an account (XEP-0402); an error: it has had none yet."""
    items = player.live(device).iq("get", PUBSUB.format("<items node='urn:xmpp:bookmarks:1'/>"))
    return {i.get("id") for i in items.iter("{http://jabber.org/protocol/pubsub}item")}


@action(14, "on", "room", "account", drives="muc muc_register muc_follow muc_mention muc_bookmark")
def follow(player, device, room, account):
    """Somebody who is not in the room is made a member and follows it for a moment: has a bookmark
    of it, and hears what is said, which names the member (XEP-0372)."""
    ready = [d for d in account.live() if d in account.receivers() and d.state == ON
             and not d.inactive]
    if (not rules(room, device) or not room.persistent or not player.world.talking
            or room.affiliations.get(account, "none") not in ("none", "member")
            or account in room.nicks or not ready or ready != account.live()
            or device.account in account.blocked | account.muted):
        return False
    member, address = ready[0], Address(room.name)
    live, speaker = player.live(member), player.live(device)
    form = muc.submit(muc.REGISTER, {"roomnick": account.name, muc.FOLLOW: True}, "muc#register_")
    query = f"<query xmlns='{REGISTER}'>{{}}</query>"
    speaker.result("set", f"<query xmlns='{muc.ADMIN}'>"
                   + muc.item(jid=account.bare, affiliation="member") + "</query>", to=room.jid)
    live.result("set", query.format(form), to=address.jid)
    player.until(f"a bookmark of {room}", lambda: room.jid in notes(player, member))
    message = player.world.message(device, room)
    room.said.append(message)
    for one in room.devices():
        one.give(message)
    speaker.send(f"<message to='{room.jid}' type='groupchat' id='{message.text}'>"
                 f"<body>{message.text}</body><reference xmlns='urn:xmpp:reference:0' "
                 f"type='mention' uri='xmpp:{account.bare}'/></message>")
    for one in ready:
        player.until(f"{message.text} at {one}",
                     lambda at=player.live(one): message.text in at.messages)
    live.result("set", query.format("<remove/>"), to=address.jid)
    room.affiliations[account] = "none"
    account.bookmarks.pop(room.jid, None)  # a bookmark ends with the registration
    kept = set(account.bookmarks)
    player.until(f"the bookmarks {kept}", lambda: notes(player, member) == kept)
