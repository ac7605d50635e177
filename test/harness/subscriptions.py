"""The state machines of RFC 6121 Appendix A for two users, as facts and rules, with the words that
are on their way between them: everything that can come of it, in every order."""
import collections

SUBSCRIBE, SUBSCRIBED, UNSUBSCRIBE, UNSUBSCRIBED, REMOVE = (
    "subscribe", "subscribed", "unsubscribe", "unsubscribed", "remove")
VERBS = (SUBSCRIBE, SUBSCRIBED, UNSUBSCRIBE, UNSUBSCRIBED, REMOVE)

# sees: "to"; seen: "from"; asking: pending out; asked: pending in; approved: ahead (§3.4)
# wish: number of the last wish; open: of the last `subscribe`; heard: of the other side's last wish
Side = collections.namedtuple("Side", "sees seen asking asked approved wish open heard")
NOBODY = Side(False, False, False, False, False, 0, 0, 0)
Pair = collections.namedtuple("Pair", "sides ways todo")  # of both; ways[i]: from side i


def say(side, verb):
    """A client says it: the side after that, and the words that go to the other one."""
    if verb == REMOVE:
        words = []
        if side.sees or side.asking:
            side, more = say(side, UNSUBSCRIBE)
            words += more
        if side.seen or side.asked:
            side, more = say(side, UNSUBSCRIBED)
            words += more
        return side._replace(approved=False), words
    if verb == SUBSCRIBE:
        wish = side.wish + 1
        return side._replace(asking=not side.sees, wish=wish, open=wish), [(verb, wish)]
    if verb == UNSUBSCRIBE:
        wish = side.wish + 1
        return side._replace(asking=False, sees=False, wish=wish), [(verb, wish)]
    if verb == SUBSCRIBED:
        if side.asked:
            return side._replace(asked=False, seen=True), [(verb, side.heard)]
        return side._replace(approved=side.approved or not side.seen), []
    words = [(verb, side.heard)] if side.asked or side.seen else []
    return side._replace(asked=False, seen=False, approved=False), words


def hear(side, word):
    """A word comes in: the side after that, and what it answers by itself."""
    verb, number = word
    if verb == SUBSCRIBE:
        side = side._replace(heard=number)
        if side.seen or side.approved:
            return side._replace(seen=True, asked=False, approved=side.approved and side.seen), [
                (SUBSCRIBED, number)]
        return side._replace(asked=True), []
    if verb == UNSUBSCRIBE:
        return side._replace(asked=False, seen=False, heard=number), []
    stale = number < side.open
    if verb == SUBSCRIBED:
        fits = side.asking and not stale
        return side._replace(asking=side.asking and not fits, sees=side.sees or fits), []
    again = stale and (side.sees or side.asking)  # it has asked since
    return side._replace(asking=again, sees=False), []


def steps(pair):
    for me in (0, 1):
        other = 1 - me
        if pair.todo[me]:
            side, words = say(pair.sides[me], pair.todo[me][0])
            yield put(pair, me, side, words, todo=pair.todo[me][1:])
        if pair.ways[other]:
            side, words = hear(pair.sides[me], pair.ways[other][0])
            yield put(pair, me, side, words, taken=True)


def put(pair, me, side, words, todo=None, taken=False):
    sides, ways, left = list(pair.sides), list(pair.ways), list(pair.todo)
    sides[me] = side
    ways[me] = ways[me] + tuple(words)
    if todo is not None:
        left[me] = todo
    if taken:
        ways[1 - me] = ways[1 - me][1:]
    return Pair(tuple(sides), tuple(ways), tuple(left))


def ends(sides, todo):
    """Everything that can have become of the two sides when all has been said and heard."""
    start = Pair(tuple(sides), ((), ()), tuple(tuple(t) for t in todo))
    seen, found, open_ = {start}, set(), [start]
    while open_:
        more = list(steps(open_[-1]))
        pair = open_.pop()
        if not more:
            found.add(pair.sides)
        for after in more:
            if after not in seen:
                seen.add(after)
                open_.append(after)
    return found


def agree(sides):
    one, other = sides
    return (one.sees, one.asking, other.sees, other.asking) == (
        other.seen, other.asked, one.seen, one.asked)


def shown(side):
    """Without the numbers."""
    return side[:5]
