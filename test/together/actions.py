"""What somebody does. Each function is handed a player and those it is about, looks whether it can
be done now (if not it returns False and has done nothing), does it on the server, and tells the
model. It does not wait for what others see of it: the player does."""
import base64
import hashlib

from harness import muc
from harness.muc import Room as Address
from together.registry import action
from together.world import CUT, OFF, ON, SERVICE

SHOWS = (None, "away", "dnd", "xa", "chat")
# Settings that change nothing of what anybody sees.
HARMLESS = (("c2s.idle-ping", "60s"), ("mdm.plain-clients", "off"),
            ("sm.hibernate-time", "80s"), ("session.pause-buffer", "50"))
NEW = "abcdefghij"


# --- sessions ---


def come(player, device):
    """The first presence of a session."""
    player.live(device).send("<presence/>")
    device.available, device.kept = True, {}
    player.world.became_receiver(device)


@action(12, "off", drives="session presence roster carbons last announce")
def connect(player, device):
    if not device.account.there:
        return False
    player.live(device).connect()
    device.begin(ON)
    come(player, device)


@action(3, "on", drives="session last presence")
def close(player, device):
    player.live(device).client.close()
    player.world.end(device)


@action(4, "on", drives="session carbons")
def cut(player, device):
    if not device.sm:
        return False
    player.live(device).cut()
    device.state = CUT


@action(8, "cut", drives="session carbons")
def resume(player, device):
    player.live(device).resume()
    device.state = ON
    device.pending.clear()
    device.held.clear()


@action(2, "cut", drives="session presence roster carbons")
def relogin(player, device):
    """The client has forgotten its session, and takes the same resource anew."""
    player.live(device).connect()
    player.world.end(device)
    device.begin(ON)
    come(player, device)


@action(1, "device", drives="session users last")
def admin_kick(player, device):
    if device.state == OFF:
        return False
    player.console.ask("session kick", jid=device.jid)
    player.world.end(device)


@action(3, "on", drives="csi session")
def inactive(player, device):
    if device.inactive:
        return False
    player.live(device).client.send("<inactive xmlns='urn:xmpp:csi:0'/>")
    device.inactive = True


@action(4, "on", drives="csi")
def active(player, device):
    if not device.inactive:
        return False
    player.live(device).client.send("<active xmlns='urn:xmpp:csi:0'/>")
    device.activate()


# --- presence ---


def announce(player, device, to=None):
    inner = "".join(f"<{tag}>{text}</{tag}>" for tag, text in
                    (("show", device.show), ("status", device.status)) if text is not None)
    if to is None and device.priority:
        inner += f"<priority>{device.priority}</priority>"
    player.live(device).send(f"<presence{f' to={to!r}' if to else ''}>{inner}</presence>")


@action(8, "on", "digit", free=True, drives="presence")
def show(player, device, number):
    if not device.available:
        return False
    device.show, device.status = SHOWS[number % len(SHOWS)], f"status {number}"
    announce(player, device)


@action(3, "on", "digit", drives="presence mdm")
def prioritise(player, device, number):
    if not device.available:
        return False
    was, device.priority = device.priority, (-1, 0, 5)[number % 3]
    announce(player, device)
    if was < 0 <= device.priority:
        player.world.became_receiver(device)


@action(2, "on", drives="presence last")
def go_away(player, device):
    """Unavailable, and still connected: leaves its rooms, too (RFC 6121 §4.6.3)."""
    world = player.world
    if not device.available or device.invisible:
        return False
    for room in list(world.rooms.values()):
        world.leave(room, device)
    for other in world.devices:
        other.told.pop(device, None)
    player.live(device).send("<presence type='unavailable'/>")
    player.live(device).rooms.clear()
    device.available, device.told = False, {}
    device.show = device.status = None
    device.priority = 0


@action(4, "on", drives="presence announce")
def come_back(player, device):
    if device.available:
        return False
    player.live(device).presence.clear()
    come(player, device)


def is_hidden_or_directed(player, device):
    return device.invisible or any(device in other.told for other in player.world.devices)


@action(2, "on", drives="presence invisible last")
def hide(player, device):
    if (not device.available or is_hidden_or_directed(player, device)
            or any(r.nick_of(device) for r in player.world.rooms.values())):
        return False
    player.live(device).result("set", "<invisible xmlns='urn:xmpp:invisible:0'/>")
    device.invisible = True


@action(4, "on", drives="presence invisible")
def unhide(player, device):
    if not device.invisible:
        return False
    player.live(device).result("set", "<visible xmlns='urn:xmpp:invisible:0'/>")
    announce(player, device)
    device.invisible = False


@action(4, "on", "account", drives="presence")
def direct(player, device, account):
    """Presence for one who is no contact (RFC 6121 §4.6)."""
    own = device.account
    if (not device.available or device.invisible or account is own or account in own.friends
            or account in own.blocked or own in account.blocked or not player.world.sharing
            or not account.there):
        return False
    announce(player, device, account.bare)
    for other in account.live():
        if other.available:
            other.told[device] = device.presence()


@action(2, "on", "account", drives="presence")
def undirect(player, device, account):
    if account is device.account or account in device.account.friends or device.invisible:
        return False
    player.live(device).send(f"<presence to='{account.bare}' type='unavailable'/>")
    for other in account.live():
        other.told.pop(device, None)


@action(8, "on", "on", drives="roster presence")
def befriend(player, one, other):
    a, b = one.account, other.account
    if (a is b or b in a.friends or not one.available or not other.available
            or one.inactive or other.inactive or b in a.blocked or a in b.blocked):
        return False
    for asker, asked in ((one, other), (other, one)):
        asks, answers = player.live(asker), player.live(asked)
        for live in asks, answers:
            live.requests.clear()
        asks.send(f"<presence to='{asked.account.bare}' type='subscribe'/>")
        if asked is other:  # who has been accepted is not asked about the way back
            player.until(f"a request of {asker} at {asked}",
                         lambda wanted=("subscribe", asker.account.bare), at=answers:
                         wanted in at.requests)
            answers.send(f"<presence to='{asker.account.bare}' type='subscribed'/>")
        player.until(f"an answer of {asked} at {asker}",
                     lambda wanted=("subscribed", asked.account.bare), at=asks:
                     wanted in at.requests)
    for mine, theirs in ((a, b), (b, a)):
        mine.friends.add(theirs)
        mine.known.discard(theirs)
        for device in theirs.devices:
            for friend in mine.devices:
                device.told.pop(friend, None)


@action(2, "on", "account", drives="roster presence")
def unfriend(player, device, account):
    own = device.account
    if (account not in own.friends or account in own.blocked or own in account.blocked
            or not account.exists):
        return False
    player.live(device).result("set", "<query xmlns='jabber:iq:roster'><item "
                               f"jid='{account.bare}' subscription='remove'/></query>")
    own.friends.discard(account)
    account.friends.discard(own)
    account.known.add(own)
    for mine, theirs in ((own, account), (account, own)):
        for watcher in theirs.devices:
            for friend in mine.devices:
                watcher.told.pop(friend, None)


@action(6, "on", "account", "digit", drives="privacy roster presence")
def block(player, device, account, number):
    """Then each side has another presence, which the other side must not see."""
    own = device.account
    if account is own or account in own.blocked:
        return False
    player.live(device).result("set", "<block xmlns='urn:xmpp:blocking'>"
                               f"<item jid='{account.bare}'/></block>")
    player.world.block(own, account)
    for one in (device, *account.online()):
        show(player, one, number)


@action(4, "on", "account", drives="privacy")
def unblock(player, device, account):
    own = device.account
    if account not in own.blocked:
        return False
    for one in own.live():
        player.live(one).forget(account)
    player.live(device).result("set", "<unblock xmlns='urn:xmpp:blocking'>"
                               f"<item jid='{account.bare}'/></unblock>")
    own.blocked.discard(account)
    player.world.heard(own, account)


@action(2, "digit", drives="presence settings")
def share(player, number):
    """The administrator lets presence be seen, or not."""
    world = player.world
    if any(d.told for d in world.devices) or any(a.blocked for a in world.accounts.values()):
        return False
    world.sharing = not world.sharing
    player.console.ask("set", setting="presence.sharing", value="on" if world.sharing else "off")


@action(2, "digit", drives="settings")
def configure(player, number):
    """The administrator turns something that nobody shall notice."""
    name, value = HARMLESS[number % len(HARMLESS)]
    player.console.ask("set", setting=name, value=value)


# --- messages ---


def chat(player, message, to):
    player.live(message.sender).send(
        f"<message to='{to}' type='chat' id='{message.text}'><body>{message.text}</body></message>")


@action(20, "on", "account", free=True, drives="message messaging mam carbons mdm")
def say(player, device, account):
    if account is device.account:
        return False
    chat(player, player.world.say(device, account), account.bare)


@action(8, "on", "device", free=True, drives="message messaging mam carbons mdm")
def say_to_device(player, device, other):
    if other.account is device.account or not device.available:
        return False
    chat(player, player.world.say(device, other.account, other), other.jid)


@action(2, "on", "account", drives="message mam")
def say_much(player, device, account):
    """As many as one page of offline delivery has, to somebody who is away."""
    if account is device.account or account.receivers() or account in device.account.blocked:
        return False
    if any(d.carbons for d in account.live()) or any(d.state == CUT for d in device.account.live()):
        return False  # no session gets more than it can keep
    for _ in range(64):
        chat(player, player.world.say(device, account), account.bare)


@action(3, "on", "account", drives="message session mam")
def say_and_lose(player, device, account):
    """The connection is lost behind a message, and the session is resumed: it is said once."""
    if account is device.account or not device.sm:
        return False
    chat(player, player.world.say(device, account), account.bare)
    player.live(device).resume()


# --- what an account has ---


@action(5, "on", "digit", drives="vcard avatar pep search")
def avatar(player, device, number):
    """A photo in the vCard, or none (XEP-0153, XEP-0398)."""
    photo = f"photo {number}".encode() if number else None
    inner = (f"<PHOTO><TYPE>image/png</TYPE><BINVAL>{base64.b64encode(photo).decode()}</BINVAL>"
             "</PHOTO>" if photo else "<FN>no photo</FN>")
    player.live(device).result("set", f"<vCard xmlns='vcard-temp'>{inner}</vCard>")
    device.account.photo = hashlib.sha1(photo).hexdigest() if photo else None


@action(4, "on", "new", drives="bookmarks pep")
def bookmark(player, device, name):
    """An item of bookmarks (XEP-0402)."""
    jid = f"{name}@{SERVICE}"
    player.live(device).result(
        "set", "<pubsub xmlns='http://jabber.org/protocol/pubsub'>"
        f"<publish node='urn:xmpp:bookmarks:1'><item id='{jid}'><conference "
        f"xmlns='urn:xmpp:bookmarks:1' name='{name}'/></item></publish><publish-options>"
        + muc.submit("http://jabber.org/protocol/pubsub#publish-options", {
            "pubsub#persist_items": "true", "pubsub#max_items": "max",
            "pubsub#send_last_published_item": "never", "pubsub#access_model": "whitelist"})
        + "</publish-options></pubsub>")
    device.account.bookmarks[jid] = name


@action(3, "on", "digit", drives="pep")
def publish(player, device, number):
    """An item of a node that friends may read (XEP-0163)."""
    player.live(device).result(
        "set", "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish "
        "node='http://jabber.org/protocol/tune'><item id='current'><tune "
        f"xmlns='http://jabber.org/protocol/tune'><title>{number}</title></tune></item></publish>"
        "</pubsub>")
    device.account.tune = str(number)


@action(3, "on", drives="mam archive-query")
def read_archive(player, device):
    player.compare_archive(device)


# --- rooms ---


def enter_now(player, device, address, nick):
    """Asks to enter, and waits for the last of what a room sends then, or for its refusal: True if
    it is in. What a room shows of before it must be what was said, in order."""
    live = player.live(device)
    live.refusals.clear()
    live.rooms.pop(address.jid, None)
    live.send(f"<presence to='{address.at(nick)}'>{muc.X}</presence>")
    player.until(f"an answer of {address} to {device}", lambda: live.refusals or live.rooms.get(
        address.jid, ({}, None))[1] is not None)
    return not live.refusals


@action(10, "on", "new", drives="muc audience")
def enter(player, device, name):
    """Enters a room, which is made if it is not there."""
    world, account = player.world, device.account
    if not device.available or device.invisible:
        return False
    room = world.rooms.get(name)
    if room is not None and room.nick_of(device):
        return False
    if not world.talking:  # rooms cannot be entered then
        live = player.live(device)
        live.refusals.clear()
        live.send(f"<presence to='{Address(name).at(account.name)}'>{muc.X}</presence>")
        player.until(f"a refusal to {device}", lambda: live.refusals)
        return True
    if room is None:
        return make(player, device, world.room(name))
    affiliation = room.affiliations.get(account, "none")
    refused = affiliation == "outcast" or (room.members_only and affiliation == "none")
    nick = room.nicks.get(account, account.name)
    assert enter_now(player, device, Address(room.name), nick) != refused, f"{device} at {room}"
    if not refused:
        room.nicks[account] = nick
        room.seats.setdefault(nick, []).append(device)
    return True


def make(player, device, room):
    account, address = device.account, Address(room.name)
    live = player.live(device)
    live.send(f"<presence to='{address.at(account.name)}'>{muc.X}</presence>")
    room.persistent = room.number % 2 == 0
    fields = muc.submit(muc.CONFIG, {"persistentroom": room.persistent}, "muc#roomconfig_")
    live.result("set", f"<query xmlns='{muc.OWNER}'>{fields}</query>", to=room.jid)
    room.affiliations[account] = "owner"
    room.nicks[account] = account.name
    room.seats[account.name] = [device]
    return True


@action(4, "on", "room", drives="muc")
def leave(player, device, room):
    nick = room.nick_of(device)
    if nick is None:
        return False
    player.live(device).send(f"<presence to='{room.jid}/{nick}' type='unavailable'/>")
    player.world.leave(room, device)


@action(14, "on", "room", free=True, drives="muc muc-archive")
def say_in_room(player, device, room):
    if room.nick_of(device) is None:
        return False
    message = player.world.message(device, room)
    player.live(device).send(f"<message to='{room.jid}' type='groupchat' id='{message.text}'>"
                             f"<body>{message.text}</body></message>")
    if not player.world.talking:
        device.errors.add(message)
        return True
    room.said.append(message)
    for one in room.devices():
        one.give(message)
    return True


@action(4, "on", "room", "account", drives="muc carbons")
def whisper(player, device, room, account):
    """A private message; copies of it are no fault."""
    nick = room.nicks.get(account)
    if room.nick_of(device) is None or nick is None or account is device.account:
        return False
    if not player.world.talking:
        return False
    if any(d.state == CUT for d in account.devices):
        return False
    message = player.world.message(device, room)
    account.whispers.append(message)
    for one in account.live() + device.account.live():
        one.allow(message)
    player.live(device).send(f"<message to='{room.jid}/{nick}' type='chat' id='{message.text}'>"
                             f"<body>{message.text}</body><x xmlns='{muc.USER}'/></message>")
    seats = room.seats[nick]
    if len(seats) == 1:
        seats[0].may.pop(message, None)
        seats[0].give(message)


def rules(room, device, *affiliations):
    return (room.nick_of(device) is not None
            and room.affiliations.get(device.account) in affiliations)


@action(4, "on", "room", "digit", drives="muc")
def set_subject(player, device, room, number):
    if not rules(room, device, "owner", "admin") or not player.world.talking:
        return False
    room.subject = f"subject {number}"
    player.live(device).send(f"<message to='{room.jid}' type='groupchat'>"
                             f"<subject>{room.subject}</subject></message>")


@action(3, "on", "room", drives="muc")
def rename(player, device, room):
    """Another nickname, where nobody shares it."""
    account, nick = device.account, room.nick_of(device)
    if nick is None or len(room.seats[nick]) > 1:
        return False
    new = f"{account.name}-2" if nick == account.name else account.name
    player.live(device).send(f"<presence to='{room.jid}/{new}'/>")
    room.seats[new] = room.seats.pop(nick)
    room.nicks[account] = new


def change(player, device, room, item):
    player.live(device).result("set", f"<query xmlns='{muc.ADMIN}'>{item}</query>", to=room.jid)


def remove(player, room, account):
    """Out of the room with all sessions."""
    for device in list(room.seats.get(room.nicks.get(account), ())):
        player.world.leave(room, device)


@action(3, "on", "room", "account", drives="muc muc_admin")
def kick(player, device, room, account):
    nick = room.nicks.get(account)
    if (not rules(room, device, "owner", "admin") or nick is None
            or room.affiliations.get(account) in ("owner", "admin")):
        return False
    change(player, device, room, muc.item(nick=nick, role="none"))
    remove(player, room, account)


@action(4, "on", "room", "account", "digit", drives="muc muc_admin muc_leavers")
def affiliate(player, device, room, account, number):
    if not rules(room, device, "owner") or account is device.account:
        return False
    if room.affiliations.get(account) == "owner" or not account.there:
        return False
    new = ("none", "member", "admin", "outcast")[number % 4]
    change(player, device, room, muc.item(jid=account.bare, affiliation=new))
    room.affiliations[account] = new
    if new == "outcast" or (new == "none" and room.members_only):
        remove(player, room, account)


@action(4, "on", "room", "digit", drives="muc muc_owner")
def restrict(player, device, room, number):
    """For members only, or for all."""
    if not rules(room, device, "owner"):
        return False
    room.members_only = number % 2 == 1
    fields = muc.submit(muc.CONFIG, {"membersonly": room.members_only}, "muc#roomconfig_")
    player.live(device).result("set", f"<query xmlns='{muc.OWNER}'>{fields}</query>", to=room.jid)
    if room.members_only:
        for account in list(room.nicks):
            if room.affiliations.get(account, "none") == "none":
                remove(player, room, account)


@action(1, "on", "room", drives="muc muc_owner")
def destroy(player, device, room):
    if not rules(room, device, "owner"):
        return False
    player.live(device).result("set", f"<query xmlns='{muc.OWNER}'><destroy/></query>",
                               to=room.jid)
    player.world.forget(room)


@action(1, "room", drives="muc muc_operate")
def admin_destroy(player, room):
    player.console.ask("room destroy", room=room.jid)
    player.world.forget(room)


# --- the server ---


def settle(player):
    """What was said is in the database: an archive query waits for it. So is what the server
    wrote at its start: a setting is written behind it."""
    player.console.ask("set", setting=HARMLESS[0][0], value=HARMLESS[0][1])
    for account in player.world.accounts.values():
        for device in account.online()[:1]:
            player.compare_archive(device)


@action(1, "digit", drives="audience session carbons last")
def restart(player, number):
    """A planned one: those with stream management may come back to their sessions, and are still in
    the rooms that outlive their occupants."""
    for device in player.world.devices:
        if device.state == ON:
            player.live(device).ack()
            if not device.sm:
                player.live(device).client.close()
    player.console.close()
    player.server.stop()
    for device in player.world.devices:
        if device.state == ON and device.sm:
            device.state = CUT
        elif device.state == ON:
            player.world.end(device)
    for room in list(player.world.rooms.values()):
        if not room.persistent:
            player.world.forget(room)
    player.server.start()


@action(1, "digit", drives="store")
def crash(player, number):
    """kill -9: sessions and rooms that are only memory are gone, and no message."""
    settle(player)
    player.console.close()
    player.server.kill()
    world = player.world
    for account in world.accounts.values():
        account.again |= {*account.archive, *account.whispers}
    for room in list(world.rooms.values()):
        for device in room.devices():
            world.leave(room, device)
    for device in world.devices:
        world.end(device)
    player.server.start()
