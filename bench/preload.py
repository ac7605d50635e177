"""preload.py DATABASE: fills the database of a stopped musterd with accounts and archived messages, so that
figures are not those of an empty one. Everything it adds is settled: nobody gets old messages.

    ACCOUNTS=25000 MESSAGES=1000000 python3 preload.py muster.db"""
import os
import random
import sqlite3
import sys
import time

ACCOUNTS = int(os.environ.get("ACCOUNTS", 25000))
MESSAGES = int(os.environ.get("MESSAGES", 1000000))
BODY = "x" * 100


def main():
    db = sqlite3.connect(sys.argv[1])
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
    entries = []
    messages = []
    for i in range(MESSAGES):
        sender, rcpt = rng.choice(ids), rng.choice(ids)
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


main()
