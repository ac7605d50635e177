#!/usr/bin/python3
"""archive.py [MESSAGES] [QUERIES]: time of archive queries (XEP-0313), from the first byte of the
request to the last of the answer, over TLS, as a client sees it.

One account has MESSAGES (1,000,000) in its archive, with 200 contacts. Each kind of page, of 50
messages, is asked for QUERIES (300) times, at random places. Then again while other accounts
exchange messages as fast as they can, so that there are late rows."""
import contextlib
import os
import pathlib
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "test"))

from harness.server import Server  # noqa: E402

CONTACTS = 200
WORDS = [f"word{i}" for i in range(20000)]
BEGAN = 1_700_000_000_000_000
STEP = 20_000_000  # microseconds between two messages
PAGE = "<set xmlns='http://jabber.org/protocol/rsm'><max>50</max>{}</set>"
FORM = ("<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2"
        "</value></field><field var='{}'><value>{}</value></field></x>")


def rows(count, alice, contacts):
    rng = random.Random(7)
    for i in range(count):
        peer, jid = rng.choice(contacts)
        at = BEGAN + i * STEP
        text = "the " + " ".join(rng.choices(WORDS, k=12))
        if i % 2:
            yield (at, peer, alice, at + 1, at, 1, "", jid, "alice@localhost", text)
        else:
            yield (at, alice, peer, at, at + 1, 1, "", "alice@localhost", jid, text)


def fill(path, count):
    """What the server would have written."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA synchronous=OFF")
        ids = dict(db.execute("SELECT jid, id FROM account"))
        alice = ids.pop("alice@localhost")
        contacts = [(i, jid) for jid, i in ids.items()]
        db.executemany(
            "INSERT INTO message(at_us, sender, rcpt, sender_entry, rcpt_entry, flags, origin,"
            " pending_out, stanza) VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0, 0, '<message from=''' || ?8 ||"
            " '/phone'' to=''' || ?9 || ''' type=''chat'' id=''0123456789abcdef''><body>' || ?10 ||"
            " '</body></message>' || ?7)", rows(count, alice, contacts))
        db.execute("INSERT INTO entry SELECT rcpt, rcpt_entry, sender, id, 1 FROM message"
                   " WHERE rcpt_entry <> 0 ORDER BY 1, 2")
        db.execute("INSERT INTO entry SELECT sender, sender_entry, rcpt, id, 0 FROM message"
                   " WHERE sender_entry <> 0 ORDER BY 1, 2")
        db.execute("INSERT INTO mailbox(owner, cursor) SELECT owner, max(id) FROM entry"
                   " WHERE true GROUP BY owner"
                   " ON CONFLICT DO UPDATE SET cursor = excluded.cursor")
        db.execute("INSERT INTO reader SELECT 'entries', max(id) FROM message WHERE true"
                   " ON CONFLICT(name) DO UPDATE SET position = excluded.position")
        return alice, contacts


def ask(client, text):
    """Seconds until the answer is complete."""
    began = time.perf_counter()
    client.sock.sendall(f"<iq type='set' id='q'>{text}</iq>".encode())
    seen = b""
    while b"</fin></iq>" not in seen[-200:]:
        data = client.sock.recv(262144)
        assert data and b"type='error'" not in data, data
        seen += data
    assert seen.count(b"<result ") > 0
    return time.perf_counter() - began


def stamp(us):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(us // 1000000))


def kinds(count, contacts, client, rng):
    def anywhere():
        return BEGAN + rng.randrange(count // 10, count * 9 // 10) * STEP

    def query(form="", page=""):
        return f"<query xmlns='urn:xmpp:mam:2'>{form}{PAGE.format(page)}</query>"

    return {
        "last page": lambda: query(page="<before/>"),
        "before an id": lambda: query(page=f"<before>{own(client, anywhere())}</before>"),
        "after an id": lambda: query(page=f"<after>{own(client, anywhere())}</after>"),
        "from a time on": lambda: query(FORM.format("start", stamp(anywhere()))),
        "search, a word of 0.06 % of them": lambda: query(search(rng.choice(WORDS))),
        "search, a word of all, last": lambda: query(search("the"), "<before/>"),
        "search, both": lambda: query(search(f"the {rng.choice(WORDS)}")),
        "with a contact, last": lambda: query(FORM.format("with", rng.choice(contacts)[1]),
                                              "<before/>"),
    }


def search(words):
    return FORM.format("{urn:xmpp:fulltext:0}fulltext", words)


def cpu_seconds(server):
    ticks = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")")[1].split()
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")


def wait_indexed(server, client):
    """Asks until the full-text index has all; prints how long it took."""
    began, cpu = time.monotonic(), cpu_seconds(server)
    while True:
        client.result("set", f"<query xmlns='urn:xmpp:mam:2'>{search('nothing')}</query>")
        with contextlib.closing(sqlite3.connect(
                f"file:{server.data}/muster.db?mode=ro", uri=True)) as db:
            position, last = db.execute(
                "SELECT (SELECT position FROM reader WHERE name = 'fulltext'),"
                " (SELECT max(id) FROM message)").fetchone()
        if position == last:
            break
    print(f"indexed in {time.monotonic() - began:.1f} s, {cpu_seconds(server) - cpu:.1f} CPU-s; "
          f"{(server.data / 'muster.db').stat().st_size >> 20} MiB in all", flush=True)


def own(client, at):
    """The archive id of the message of that time, as the client sees it."""
    page = "<set xmlns='http://jabber.org/protocol/rsm'><max>1</max></set>"
    fin = client.result("set", f"<query xmlns='urn:xmpp:mam:2'>{FORM.format('start', stamp(at))}"
                               f"{page}</query>")
    client.inbox.clear()
    client.log.clear()
    return fin.findtext(".//{http://jabber.org/protocol/rsm}first")


def report(label, found):
    found.sort()
    print(f"{label:46} p50 {found[len(found) // 2] * 1e3:6.2f} ms   "
          f"p99 {found[len(found) * 99 // 100] * 1e3:6.2f} ms   max {found[-1] * 1e3:6.2f} ms",
          flush=True)


def load(server, stop, sent):
    one, other = server.client("u1", "x"), server.client("u2", "x")
    burst = "".join(f"<message to='u2@localhost' type='chat'><body>load {i}</body></message>"
                    for i in range(50))
    while not stop.is_set():
        one.raw(burst)
        sent[0] += 50
        while other.pump(0):
            other.inbox.clear()
            other.log.clear()
        one.ping()
        one.log.clear()
        one.inbox.clear()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000
    queries = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    folder = tempfile.mkdtemp(prefix="muster-archive-")
    server = Server(folder, workers=2)
    try:
        server.start()
        for name in ["alice"] + [f"u{i}" for i in range(CONTACTS)]:
            server.add_user(name)
        server.stop()
        began = time.monotonic()
        _, contacts = fill(server.data / "muster.db", count)
        print(f"{count} messages made in {time.monotonic() - began:.0f} s", flush=True)
        server.start()
        client = server.login("alice", "bench")
        wait_indexed(server, client)
        rng = random.Random(3)
        for label, text in kinds(count, contacts, client, rng).items():
            report(label, [ask(client, text()) for _ in range(queries)])
        stop, sent = threading.Event(), [0]
        thread = threading.Thread(target=load, args=(server, stop, sent))
        thread.start()
        began = time.monotonic()
        for label, text in kinds(count, contacts, client, rng).items():
            report(f"under load: {label}", [ask(client, text()) for _ in range(queries)])
        stop.set()
        thread.join()
        print(f"load: {sent[0] / (time.monotonic() - began):.0f} messages/s")
    finally:
        server.finish()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
