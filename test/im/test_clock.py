"""Archives while the clock of the machine is wrong, and after it was."""
import time

import pytest

from harness import federation, xml

MAM = "urn:xmpp:mam:2"
DAY_US, HOUR_US = 86400 * 10**6, 3600 * 10**6


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def archived(client, **limits):
    """The bodies between two times (start, end: seconds from now)."""
    fields = "".join(f"<field var='{var}'><value>{stamp(at)}</value></field>"
                     for var, at in limits.items())
    client.result("set", f"<query xmlns='{MAM}'><x xmlns='jabber:x:data' type='submit'>"
                  f"<field var='FORM_TYPE'><value>{MAM}</value></field>{fields}</x>"
                  "<set xmlns='http://jabber.org/protocol/rsm'><max>200</max></set></query>")
    found = [e.findtext(f".//{{{xml.CLIENT}}}body") for e in client.inbox
             if e.find(f"{{{MAM}}}result") is not None]
    client.inbox = [e for e in client.inbox if e.find(f"{{{MAM}}}result") is None]
    return found


class Talk:
    """alice writes to bob, and both look at their archives."""

    def __init__(self, server):
        self.server, self.said = server, 0
        self.begin()

    def begin(self):
        self.alice, self.bob = self.server.client("alice", "a"), self.server.client("bob", "b")
        self.alice.enable_sm()

    def say(self, count):
        """Until they are acknowledged, whatever else was said before them."""
        texts = [str(self.said + i) for i in range(count)]
        self.alice.ping()
        self.alice.acked = -1
        self.alice.wait_acked(0)
        before = self.alice.acked
        for text in texts:
            self.alice.send("<message to='bob@localhost' type='chat'>"
                            f"<body>{text}</body></message>")
        self.said += count
        self.alice.wait("all acknowledged", lambda: self._all(before + count))
        return texts

    def _all(self, count):
        self.alice.request_ack()
        return self.alice.acked >= count

    def restart(self):
        self.server.kill()
        self.server.start()
        self.begin()


@pytest.mark.sqlite
@pytest.mark.release
@pytest.mark.parametrize("off", [DAY_US, -HOUR_US], ids=["ahead", "behind"])
def test_queries_by_time_after_the_clock_was_wrong(make_server, disk, off):
    """For a moment only: what comes when it is right again is found by its time, also after a
    crash, whose ids begin above those of the wrong time."""
    server = make_server("alice", "bob", disk=disk)
    talk = Talk(server)
    right = talk.say(3)
    disk.turn(wall_us=off)
    talk.alice.ping()
    wrong = talk.say(3)
    disk.turn(wall_us=0)
    talk.alice.ping()
    right += talk.say(3)
    talk.restart()
    right += talk.say(3)
    for client in (talk.alice, talk.bob):
        assert archived(client) == [str(i) for i in range(12)], "in order, whatever the clock says"
        found = archived(client, start=-600, end=60)
        assert [text for text in found if text not in wrong] == right
        assert [t for t in archived(client, end=60) if t not in wrong] == right


@pytest.mark.sqlite
@pytest.mark.release
def test_the_newest_results_of_tests_are_those_that_ended_last(make_server, disk):
    """Not those of the time when the clock was ahead: with as many as are kept of them, each new
    one would be deleted at once."""
    server = make_server(disk=disk, s2s=True, settings=federation.settings())
    disk.turn(wall_us=10 * DAY_US)
    for _ in range(31):
        server.ctl("pushtest", "--edge", "localhost")
    disk.turn(wall_us=0)
    for _ in range(3):
        server.ctl_run("pushtest", "--edge", "localhost", "--service", "nowhere.test",
                       "--node", "n")
    results = [row["result"] for row in server.rows("test", "history", "pushtest")]
    assert results == 3 * ["Failure"] + 27 * ["Success"]
    assert server.rows("test", "history") == server.rows("test", "history", "pushtest")
