"""The model: accounts, devices, rooms, messages. It knows no XML and no server. Actions change it,
and `expected()` says what a device must have seen by now."""
import dataclasses

DOMAIN = "localhost"
SERVICE = f"conference.{DOMAIN}"

OFF, ON, CUT = "off", "on", "cut"  # CUT: the connection is lost, the session waits
UNSURE = "unsure"  # a presence that was on its way when its sender was blocked


@dataclasses.dataclass(eq=False)
class Message:
    """Something said. `number` is its body, and rises in the order in which the script speaks."""
    number: int
    sender: "Device"
    to: object  # an account or a room
    device: "Device" = None  # the one of the account that it is addressed to
    holders: set = dataclasses.field(default_factory=set)  # devices of `to` that were given it

    @property
    def text(self):
        return f"m{self.number}"


class Account:
    def __init__(self, name):
        self.name = name
        self.bare = f"{name}@{DOMAIN}"
        self.devices = []
        self.begin()

    def begin(self):
        """A new account, or one that has come back under this name: it has nothing."""
        self.exists, self.disabled, self.password = True, False, "secret"
        self.friends = set()  # accounts; subscription both
        self.known = set()  # accounts that stay in the roster without a subscription
        self.blocked = set()
        self.muted = set()  # accounts whose messages the default privacy list denies
        self.photo = None  # SHA-1 of the avatar
        self.archive = []  # messages, in order
        self.whispers = []  # private messages of rooms that it was given
        self.waiting = []  # messages that no device was given
        self.again = set()  # messages that a crash may bring once more
        self.unheard = set()  # those that waited when their sender was refused
        self.read = set()  # messages that a device has had from the archive
        self.bookmarks = {}  # room -> nickname
        self.tune = None  # what it has published at a node of its own
        self.files = {}  # address of an upload: its content
        self.private = None  # what it keeps in private XML
        self.marks = {}  # bare JID: id of the last message that was read
        self.retracted = set()  # texts that no archive has any more

    def __repr__(self):
        return self.name

    @property
    def there(self):
        return self.exists and not self.disabled

    def live(self):
        return [d for d in self.devices if d.state != OFF]

    def online(self):
        return [d for d in self.devices if d.state == ON]

    def receivers(self):
        """The sessions that a message to the bare address goes to (RFC 6121 §8.5.2.1.1)."""
        return [d for d in self.live() if d.available and d.priority >= 0]


class Device:
    """A client of an account. What is said of presence is what it has sent last."""

    def __init__(self, account, name, transport, sm, carbons):
        self.account, self.name, self.transport = account, name, transport
        self.sm, self.carbons = sm, carbons
        self.jid = f"{account.bare}/{name}"
        account.devices.append(self)
        self.begin(OFF)

    def __repr__(self):
        return f"{self.account.name}/{self.name}"

    def begin(self, state):
        """A new session, or none."""
        self.state = state
        self.available = self.invisible = self.inactive = False
        self.show = self.status = None
        self.priority = 0
        self.told = {}  # device: presence that it has directed to this session
        self.kept = {}  # device of a blocked account: what this one saw of it last, or UNSURE
        self.must, self.may = {}, {}  # messages: how often; and those that are no fault
        self.errors = set()  # messages that must come back as errors
        self.pending = []  # messages given to it while it was CUT
        self.held = []  # those that it may not have been sent, as it was in the background

    def presence(self):
        return self.show, self.status, self.account.photo

    def allow(self, message, count=1):
        """It is no fault if this comes, so many times, beside what must come."""
        self.may[message] = max(count, self.may.get(message, 0))

    def allow_all(self, messages):
        for message in messages:
            self.allow(message)

    def give(self, message, count=1):
        self.must[message] = self.must.get(message, 0) + count
        if self.state == CUT:
            self.pending.append(message)
        elif self.inactive:
            self.held.append(message)

    def activate(self):
        """In the foreground: it is sent what was held."""
        self.inactive = False
        self.held.clear()


class Room:
    def __init__(self, name, number):
        self.name, self.number = name, number
        self.jid = f"{self.name}@{SERVICE}"
        self.persistent = self.members_only = False
        self.subject = ""
        self.seats = {}  # nickname: devices
        self.nicks = {}  # account: nickname
        self.affiliations = {}  # account: owner, admin, member, outcast
        self.said = []  # messages since it was made
        self.image = None
        self.retracted = set()  # texts that its archive has no more

    def __repr__(self):
        return self.name

    def devices(self):
        return [d for seats in self.seats.values() for d in seats]

    def nick_of(self, device):
        return next((n for n, seats in self.seats.items() if device in seats), None)

    def standing(self, account):
        """(affiliation, role) of an occupant."""
        affiliation = self.affiliations.get(account, "none")
        return affiliation, "moderator" if affiliation in ("owner", "admin") else "participant"


class World:
    def __init__(self):
        self.accounts, self.rooms = {}, {}
        self.number = self.room_number = self.news = 0
        self.room_administrators = set()
        self.sharing = True  # settings of the server
        self.talking = self.uploads = self.registers = True

    @property
    def devices(self):
        return [d for a in self.accounts.values() for d in a.devices]

    def account(self, name):
        self.accounts[name] = Account(name)
        return self.accounts[name]

    def room(self, name):
        self.room_number += 1
        self.rooms[name] = Room(name, self.room_number)
        return self.rooms[name]

    def message(self, sender, to):
        self.number += 1
        return Message(self.number, sender, to)

    # --- messages ---

    def say(self, sender, to, device=None):
        """A chat message of a device to an account, or to one of its devices. None: refused."""
        message, own = self.message(sender, to), sender.account
        message.device = device
        if to in own.blocked or not self.talking:
            sender.errors.add(message)
            return message
        self._arrive(message, to, device)
        if not own.archive or own.archive[-1] is not message:
            own.archive.append(message)
        for other in own.live():
            if other is not sender and other.carbons:
                other.give(message)
        return message

    def _arrive(self, message, to, device=None):
        sender, own = message.sender, message.sender.account
        if own in to.blocked or own in to.muted or not to.there:
            if to not in own.muted:  # the error comes from there, too
                sender.errors.add(message)
        else:
            self._receive(message, to, device)

    def say_to_both(self, sender, one, other):
        """One message to two accounts (XEP-0033): its sender has it once for each of them."""
        self.number += 1
        for to in (one, other):
            message = Message(self.number, sender, to)
            sender.account.whispers.append(message)
            self._arrive(message, to)
        for device in sender.account.live():
            if device is not sender and device.carbons:
                device.give(message, 2)

    def _receive(self, message, to, device):
        to.archive.append(message)
        if device is not None and device.state != OFF:  # RFC 6121 §8.5.3.1: connected is enough
            targets = [device]
        else:
            targets = to.receivers()
        for one in targets:
            one.give(message)
            message.holders.add(one)
        if not targets:
            to.waiting.append(message)
        for one in to.live():
            if one not in targets and one.carbons:
                one.give(message)

    def became_receiver(self, device):
        """What waits goes to the first that comes (RFC 6121 §8.5.2.2.1)."""
        account = device.account
        for message in account.waiting:
            device.give(message)
            message.holders.add(device)
        account.waiting.clear()
        device.allow_all(account.again)

    # --- what is heard and seen no longer ---

    def block(self, own, account):
        """An account blocks another one: of that it sees no more than it has seen, and is gone for
        it (XEP-0191 §3.2)."""
        for watcher in own.devices:
            sure = watcher.state == ON and not watcher.inactive
            watcher.kept |= {d: self.sees(watcher, d) if sure else UNSURE
                             for d in account.devices}
        own.blocked.add(account)
        self.not_heard(own, account)
        for watched, watchers in ((own, account), (account, own)):
            for watcher in watchers.devices:
                for friend in watched.devices:
                    watcher.told.pop(friend, None)

    def not_heard(self, account, sender):
        """What is on its way from one whose messages are refused since: it may come or not."""
        account.unheard |= {m for m in account.waiting if m.sender.account is sender}
        account.waiting = [m for m in account.waiting if m.sender.account is not sender]
        for one in account.devices:
            for message in [m for m in one.pending + one.held if m.sender.account is sender]:
                one.allow(message, one.must.pop(message, 1))  # a copy of it, too
            one.pending = [m for m in one.pending if m.sender.account is not sender]
            one.held = [m for m in one.held if m.sender.account is not sender]

    def heard(self, account, sender):
        """No longer refused: what nobody has come for since may still wait."""
        if sender not in account.blocked | account.muted:
            account.again |= {m for m in account.unheard if m.sender.account is sender}

    def delete(self, account):
        """Its sessions have ended."""
        for other in self.accounts.values():
            other.friends.discard(account)
            other.known.discard(account)
        for room in self.rooms.values():
            room.affiliations.pop(account, None)
        self.room_administrators.discard(account)
        account.begin()
        account.exists = False

    # --- the end of a session ---

    def end(self, device):
        """The session is gone: what it was not sent goes to others of the account, or waits."""
        lost, account = device.pending, device.account
        account.again |= set(device.held)
        for one in account.live():
            one.allow_all(device.held)
        for room in list(self.rooms.values()):
            self.leave(room, device)
        for other in self.devices:
            other.told.pop(device, None)
        device.begin(OFF)
        for message in lost:
            if message.to is not account:
                continue
            message.holders.discard(device)
            for one in account.live():
                if message in one.must:  # a copy of it; that the client has that, nobody knows
                    one.allow(message)
            if message.holders or message in account.waiting:
                continue
            targets = account.receivers()
            if message in account.read:  # that settles it
                for one in targets:
                    one.allow(message)
                continue
            for one in targets:
                message.holders.add(one)
                if message not in one.must:
                    one.give(message)
            if not targets:
                account.waiting.append(message)

    # --- rooms ---

    def leave(self, room, device):
        nick = room.nick_of(device)
        if nick is None:
            return
        room.seats[nick].remove(device)
        if not room.seats[nick]:
            del room.seats[nick]
            del room.nicks[device.account]
        if not room.seats and not room.persistent:
            self.forget(room)

    def forget(self, room):
        for name, one in list(self.rooms.items()):
            if one is room:
                del self.rooms[name]

    # --- what a device must see ---

    def sees(self, watcher, device):
        """Whether, and how, a device sees another one: None, or its presence."""
        if not watcher.available:
            return None
        if device.account in watcher.account.blocked:  # nothing comes, not even that it has gone
            return watcher.kept.get(device)
        if (device.state == OFF or not device.available
                or watcher.account in device.account.blocked):
            return None
        if watcher.account is device.account:
            return device.presence()
        if device in watcher.told:
            return watcher.told[device]
        if (device.account not in watcher.account.friends or device.invisible
                or not self.sharing):
            return None
        return device.presence()

    def hazy(self, watcher, device):
        """What is not compared: the server may show it or not."""
        return (watcher.account is device.account and device.invisible
                or self.sees(watcher, device) is UNSURE)

    def expected_presence(self, watcher):
        seen = {d: self.sees(watcher, d) for d in self.devices if not self.hazy(watcher, d)}
        return {d.jid: p for d, p in seen.items() if p is not None}

    def expected_rooms(self, device):
        return {room.jid: ({n: room.standing(s[0].account) for n, s in room.seats.items()},
                           room.subject)
                for room in self.rooms.values() if room.nick_of(device)}

    def expected_roster(self, device):
        account = device.account
        return {**{a.bare: "none" for a in account.known},
                **{a.bare: "both" for a in account.friends}}
