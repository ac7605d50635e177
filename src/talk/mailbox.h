/* mailbox: the low-water mark of what an account has (architecture §6, §7). Every stored message
 * gets an archive id from the home of its owner. Those that must reach the owner are open until
 * then: OPEN (nobody has it), TAKEN (in the queue of a session), then settled. The cursor is the id
 * up to which all are settled; above it, behind one that is not, the ranges of ids that are. Both
 * are written at most once a second. Only this module advances them.
 *
 * Limits: SETTLED_RANGES_MAX ranges, the oldest; what is settled beyond is forgotten by a restart.
 * In memory: six entries for each that is not settled, and some.
 */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "io/timer.h"
#include <stdbool.h>
#include <stdint.h>

struct account;
struct stanza;
struct store_batch;

enum { SETTLED_RANGES_MAX = 1000 };

enum entry_state { ENTRY_OPEN, ENTRY_TAKEN, ENTRY_SETTLED };

struct entry {
    uint64_t id;
    uint32_t bytes; /* its share of mailbox.unsettled-bytes */
    uint32_t from;  /* hash of the bare JID of its sender; 0: not said */
    uint8_t state;  /* enum entry_state */
    bool hidden;    /* not in the archive: gone when it is settled */
    bool stranger;  /* from somebody who is not on the owner's roster */
    bool quiet;     /* not what its owner would call a message */
};

struct mailbox {
    uint64_t last_id; /* highest archive id minted */
    uint64_t cursor, cursor_stored;
    struct entry *ring; /* entries above the cursor, ids rising; NULL while there are none */
    uint32_t cap, head, len;
    uint32_t open;                       /* not settled: counts against mailbox.unsettled-max */
    uint32_t strangers;                  /* of these: from strangers */
    uint32_t quiet;                      /* of these: what their owner would not call messages */
    uint64_t open_bytes, stranger_bytes; /* of the same, against mailbox.unsettled-bytes */
    bool dirty, writing; /* something was settled since the last write / it is under way */
    bool hidden;         /* there are hidden ones, or were since the cursor was written */
    struct timer timer;  /* writes */
};

/* Whether an id is among the stored ranges of what is settled. Ids are asked about in rising order:
 * ranges that lie behind are dropped. */
bool mailbox_ranges_have(slice *ranges, uint64_t id);
void mailbox_load(struct account *a, struct store_batch *b);
void mailbox_loaded(struct account *a, const struct store_batch *b, unsigned first);
void mailbox_loaded_roster(struct account *a, const struct store_batch *b, unsigned first);
void mailbox_fini(struct account *a);
bool mailbox_clean(const struct account *a);                 /* what is settled is on disk */
void mailbox_store(struct account *a);                       /* begins to write it, if it is not */
void mailbox_save(struct account *a, struct store_batch *b); /* adds the write of that */

uint64_t mailbox_mint(struct account *a); /* the next archive id */
void mailbox_open(struct account *a, uint64_t id, enum entry_state state);
void mailbox_hide(struct account *a, uint64_t id);    /* of one just opened */
void mailbox_strange(struct account *a, uint64_t id); /* the same: it is from a stranger */
void mailbox_quiet(struct account *a, uint64_t id);   /* the same: no message for its owner */
void mailbox_from(struct account *a, uint64_t id, slice bare); /* the same: who has sent it */
/* The same, once: the stanza as it is stored has `len` bytes. */
void mailbox_weigh(struct account *a, uint64_t id, size_t len);
uint64_t mailbox_cursor(const struct account *a);    /* all ids up to it are settled */
uint32_t mailbox_unsettled(const struct account *a); /* entries above it that are not settled */
uint32_t mailbox_messages(const struct account *a);  /* that wait; what is quiet is not counted */
bool mailbox_hides(const struct account *a, uint64_t id); /* its id is not told to clients */
void mailbox_set(struct account *a, uint64_t id,
                 enum entry_state state);            /* of an id that is not settled */
void mailbox_settle(struct account *a, uint64_t id); /* the owner has it; unknown ids are fine */
/* All in state OPEN that the archive shows (not hidden): nobody needs them delivered. */
void mailbox_settle_archived(struct account *a);
/* mailbox.unsettled-max or mailbox.unsettled-bytes is reached. */
bool mailbox_full(const struct account *a);
/* The share of strangers in it is. A stranger is anybody but the account itself, the server and the
 * contacts that the owner has in the roster; there are none while the owner has no contact. A
 * subscription request does not make its sender a contact. */
bool mailbox_full_of_strangers(const struct account *a);
bool mailbox_is_stranger(const struct account *a, slice bare);
/* Whether a client has so much waiting that a stranger's stanza would be beyond the share of
 * strangers in sm.queue-bytes: nobody whom the owner does not know gets the session closed. */
bool mailbox_is_crowded(const struct account *a, const struct stanza *st);
enum entry_state mailbox_state(const struct account *a, uint64_t id); /* unknown: settled */
/* The first in state OPEN behind that id; 0: there is none. */
uint64_t mailbox_next_open(const struct account *a, uint64_t after);
/* Writes now what is settled, then calls done; where it fails, it is tried again later. */
void mailbox_write(struct account *a, void (*done)(void *arg, enum err e), void *arg);
/* The last in state OPEN that mailbox_from() was called for with that; 0: there is none. */
uint64_t mailbox_last_from(const struct account *a, slice bare);
bool mailbox_has_open(const struct account *a); /* at least one in state OPEN */
uint64_t
mailbox_newest(const struct account *a); /* id of the newest that is not settled; 0: none */
