/* history: the last messages of a room, in memory while it is loaded, for those who enter it
 * (XEP-0045 §7.2.13). Confined to the home of the room; costs nothing until something is said.
 *
 * Limits: as many messages as the room says, HISTORY_MAX at most; HISTORY_BYTES of stanzas, but
 * always one. */
#pragma once
#include "base/slice.h"
#include "xmpp/muc_history.h"

struct stanza;

enum { HISTORY_MAX = 1000, HISTORY_BYTES = 256 << 10, HISTORY_SMALL = 16 << 10 };

/* A message as it is relayed: `from` an occupant or the room, no `to`. */
struct room_post {
    struct stanza *st; /* borrowed */
    slice sender;      /* full JID of who said it; empty: the room itself */
    int64_t repeats;   /* what a repeat of it has, too (archive/recent.h); 0: none is known */
    uint64_t id;       /* room_archive_mint() */
    uint64_t at_us;    /* wall clock */
    unsigned flags;    /* of its entry: ENTRY_HIDDEN: kept, but told to nobody */
};

struct room_history {
    struct history_line *ring; /* NULL while there are none */
    uint32_t cap, head, len;
    size_t bytes;
};

/* As it is sent later: with the time, by the room, in the place of any other delay. */
struct stanza *room_stamped(const struct room_post *p, slice room);
void room_history_init(struct room_history *h);
void room_history_fini(struct room_history *h);
/* A change of the subject alone is not part of it: the subject is sent by itself (§7.2.15). most:
 * messages that are kept, with this one. */
void room_history_add(struct room_history *h, const struct room_post *p, uint32_t most, slice room);

/* Drops the oldest until no more than so many bytes are left. */
void room_history_trim(struct room_history *h, size_t bytes);

/* Calls fn with what somebody gets who enters and asked like this, oldest first: stanzas without
 * `to`, with a delay stamp. most: messages at most. Borrowed for the call. */
typedef void room_history_fn(struct stanza *st, void *arg);
void room_history_each(const struct room_history *h, const struct history_ask *ask, uint32_t most,
                       room_history_fn *fn, void *arg);

/* How many messages with text are younger than that id, and not from `author` (bare JID). */
uint32_t room_history_since(const struct room_history *h, uint64_t id, slice author);

/* A tombstone (XML text) instead of the content of that message, if `author` (bare JID; empty:
 * anybody) said it. false: it is not here. */
bool room_history_bury(struct room_history *h, uint64_t id, slice author, slice tombstone);
/* The tombstone for a message: its addresses, its id, what the room said about its author, and this
 * XML text instead of the content. The caller owns it. */
struct stanza *room_tombstone(const struct stanza *st, slice xml);
