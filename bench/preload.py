"""Fills the database of a stopped musterd with accounts and archived messages, so that figures are not those of
an empty one. Everything it adds is settled: nobody gets old messages. Each account writes to FRIENDS others.

    ACCOUNTS=25000 FRIENDS=20 MESSAGES=1000000 preload.py muster.db

Then, while musterd runs: waits until it has counted and indexed these messages, as it does by and by with messages
that it stores itself.

    preload.py --settle muster.db"""
import os
import random
import sqlite3
import sys
import time

ACCOUNTS = int(os.environ.get("ACCOUNTS", 25000))
MESSAGES = int(os.environ.get("MESSAGES", 1000000))
FRIENDS = int(os.environ.get("FRIENDS", 20))
BODY = "x" * 100
READERS = ("archive-sizes", "fulltext")  # of the log of messages
SETTLE_SECONDS = 1800


def settle(path):
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    last = db.execute("SELECT max(id) FROM message").fetchone()[0] or 0
    deadline, told = time.monotonic() + SETTLE_SECONDS, 0
    while True:
        at = dict(db.execute("SELECT name, position FROM reader"))
        left = {name: last - at.get(name, 0) for name in READERS if at.get(name, 0) < last}
        if not left:
            return
        if time.monotonic() > deadline:
            sys.exit(f"the server has not read the log within {SETTLE_SECONDS} s: {left}")
        if time.monotonic() > told + 10:
            told = time.monotonic()
            print("messages left:", ", ".join(f"{n} {c}" for n, c in left.items()), file=sys.stderr)
        time.sleep(0.5)


def fill(path):
    db = sqlite3.connect(path)
    if db.execute("SELECT count(*) FROM message").fetchone()[0] >= MESSAGES:
        return
    rng = random.Random(1)
    now = int(time.time() * 1e6)
    db.execute("PRAGMA journal_mode = WAL")
    db.executemany("INSERT OR IGNORE INTO account(jid, created_us, disabled) VALUES(?, ?, 0)",
                   ((f"filler{i}@localhost", now) for i in range(ACCOUNTS)))
    ids = [row[0] for row in db.execute("SELECT id FROM account")]
    first = db.execute("SELECT coalesce(max(id), 0) + 1 FROM message").fetchone()[0]
    at = now - MESSAGES * 1000
    friends = {i: [rng.choice(ids) for _ in range(FRIENDS)] for i in ids}
    entries = []
    messages = []
    for i in range(MESSAGES):
        sender = rng.choice(ids)
        rcpt = rng.choice(friends[sender])
        when = at + i * 1000
        stanza = (f"<message from='user{sender}@localhost/bench' to='user{rcpt}@localhost/bench' "
                  f"id='m{i}' type='chat'><body>{BODY}</body></message>")
        messages.append((first + i, when, sender, rcpt, when, when + 1, stanza))
        entries.append((rcpt, when + 1, sender, first + i, 1))
        entries.append((sender, when, rcpt, first + i, 0))
    entries.sort()
    db.executemany("INSERT INTO message(id, at_us, sender, rcpt, sender_entry, rcpt_entry, flags,"
                   " origin, pending_out, stanza) VALUES(?, ?, ?, ?, ?, ?, 1, 0, 0, ?)", messages)
    db.executemany("INSERT OR IGNORE INTO entry(owner, id, peer, msg, flags) VALUES(?, ?, ?, ?, ?)",
                   entries)
    db.execute("INSERT INTO reader(name, position) VALUES('entries', ?)"
               " ON CONFLICT(name) DO UPDATE SET position = excluded.position",
               (first + MESSAGES - 1,))
    db.executemany("INSERT INTO mailbox(owner, cursor) VALUES(?, ?)"
                   " ON CONFLICT(owner) DO UPDATE SET cursor = excluded.cursor",
                   ((i, now) for i in ids))
    db.commit()
    print(f"{ACCOUNTS} accounts, {MESSAGES} messages", file=sys.stderr)


if __name__ == "__main__":
    settle(sys.argv[2]) if sys.argv[1] == "--settle" else fill(sys.argv[1])
