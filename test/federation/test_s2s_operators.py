"""Operators of two servers block domains and close streams while users talk, and nothing breaks:
each message arrives once and in order, or its sender has one error."""
import collections
import threading
import time

import pytest

from harness import across, xml
from harness.across import ONE, OTHER
from federation.test_s2s_bidi import pending

TALK_S, CALM_S, REST_S, END_S = 5, 2, 30, 100


def blocks(one, other, turn):
    server, domain = ((one, OTHER), (other, ONE))[turn % 2]
    server.ctl("federation", "block", domain)
    time.sleep((0, 0.1, 0.4)[turn % 3])
    server.ctl("federation", "allow", domain)


def closes(one, other, turn):
    for server, domain in ((one, OTHER), (other, ONE))[:1 + turn % 2]:
        server.ctl_run("s2s", "close", domain)


class Talk:
    """Everybody here says something to everybody there, and the other way round."""

    def __init__(self, here, there):
        self.pairs = [(x, y) for a, b in ((here, there), (there, here)) for x in a for y in b]
        self.clients = here + there
        self.said = 0

    def round(self):
        for x, y in self.pairs:
            x.send(f"<message to='{y.bare}' type='chat' id='m{self.said}'>"
                   f"<body>text {self.said}</body></message>")
            self.said += 1
        self.pump(0.01)

    def pump(self, seconds=0):
        return any([c.pump(seconds) for c in self.clients])

    def heard(self, client):
        """(number, sender) of what it has got, and the numbers of errors."""
        got, errors = [], []
        for e in client.log:
            if not e.tag.endswith("}message"):
                continue
            if e.get("type") == "error":
                errors.append(int(e.get("id")[1:]))
            elif (body := e.findtext(f"{{{xml.CLIENT}}}body") or "").startswith("text "):
                got.append((int(body[5:]), e.get("from")))
        return got, errors

    def ends(self):
        """How often each has arrived or come back, when nothing is under way any more."""
        begun = calm = time.monotonic()
        while time.monotonic() - begun < END_S and time.monotonic() - calm < REST_S:
            if self.pump():
                calm = time.monotonic()
            elif time.monotonic() - calm < CALM_S:
                time.sleep(0.01)
            elif len(self.counts()) == self.said:
                break
            else:
                time.sleep(1)
        return self.counts()

    def counts(self):
        counts = collections.Counter()
        for client in self.clients:
            got, errors = self.heard(client)
            counts.update(number for number, _ in got)
            counts.update(errors)
        return counts

    def in_order(self):
        for client in self.clients:
            of = collections.defaultdict(list)
            for number, sender in self.heard(client)[0]:
                of[sender].append(number)
            assert all(numbers == sorted(numbers) for numbers in of.values())


@pytest.mark.sqlite
@pytest.mark.parametrize("bidi", ["on", "off"])
@pytest.mark.parametrize("operate", [blocks, closes])
def test_each_message_ends_once(make_server, tmp_path, bidi, operate):
    one, other = across.start(make_server, tmp_path, settings={"s2s.bidi": bidi}, workers=4,
                              why="one of the two ways, and several workers")
    talk = Talk([one.client("alice"), one.client("carol")],
                [other.client("bob"), other.client("dave")])
    over = threading.Event()

    def operates():
        turn = 0
        while not over.is_set():
            operate(one, other, turn)
            time.sleep((0.05, 0.2, 0.5)[turn % 3])
            turn += 1
    operator = threading.Thread(target=operates)
    operator.start()
    begun = time.monotonic()
    while time.monotonic() - begun < TALK_S:
        talk.round()
    over.set()
    operator.join()
    counts = talk.ends()
    assert {n: counts[n] for n in range(talk.said) if counts[n] != 1} == {}
    talk.in_order()
    assert pending(one) == pending(other) == 0
