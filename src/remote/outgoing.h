/* outgoing: the stored messages of ours that wait until a foreign domain has confirmed them
 * (archive/pending.h), for the edge that sends them (gate/s2s/peer/s2s_backlog.h). What became of
 * them is written at the home of their sender, on its lane: behind the write of the message itself.
 * They are read at the home of the foreign domain, from the database of its node. */
#pragma once
#include "base/err.h"
#include "base/slice.h"
#include "home/message.h"
#include "io/timer.h"
#include "store/store.h"
#include <stdbool.h>
#include <stdint.h>

struct outgoing_read;
struct stanza;
struct store_op;
struct worker;

enum {
    OUTGOING_MANY = 256, /* messages in one outgoing_tell() */
    OUTGOING_PAGE = 64   /* in one page */
};

/* One of them, by its sender. */
struct outgoing_id {
    int64_t sender;
    uint64_t entry;
    uint16_t slot; /* of the home of the sender (home/node.h) */
    bool unshown;  /* the sender does not archive it */
};

enum outgoing_word {
    OUTGOING_CONFIRMED = 0, /* they wait no longer */
    OUTGOING_ASKED = 2      /* whether one waits: behind the write of it; E_NOTFOUND: no */
};
typedef void outgoing_fn(void *arg, enum err e);
/* Whose messages: from a domain of ours to a foreign one. `worker`: this one. */
struct outgoing_pair {
    struct worker *worker;
    slice local, remote;
};
/* Adds a read: how many stored messages wait for a domain, a row with a number; at most
 * OUTGOING_TOTAL_MAX. */
enum { OUTGOING_TOTAL_MAX = 100000 };
void outgoing_total(struct store_batch *b, slice domain);
void outgoing_all(struct store_batch *b); /* for all domains together */
/* The same for each domain, of at most OUTGOING_TOTAL_MAX in all: rows of a domain and a number. */
void outgoing_totals(struct store_batch *b);

/* Says it for `count` messages of one sender, at most OUTGOING_MANY. `done` is called once, later,
 * unless the worker ends before. */
void outgoing_tell(const struct outgoing_pair *pair, const struct outgoing_id *ids, unsigned count,
                   enum outgoing_word word, outgoing_fn *done, void *arg);

/* The same of one message, by another message that outgoing_answer answers; takes over what is in
 * it. */
void outgoing_ask(const struct outgoing_pair *pair, const struct outgoing_id *id,
                  const struct message_row *row, void *message, outgoing_fn *done, void *arg);
struct outgoing_answered {
    uint8_t err;
};

struct outgoing_line {
    struct outgoing_id id;
    uint64_t at_us;    /* wall clock, when it was stored */
    struct stanza *st; /* borrowed; NULL: it was taken back, or is damaged */
};
/* A page, by sender and id. `more`: others may be behind it. */
struct outgoing_page {
    enum err error;
    const struct outgoing_line *lines;
    unsigned count;
    bool more;
    struct outgoing_id last; /* where the next one begins */
};
typedef void outgoing_page_fn(void *arg, const struct outgoing_page *page);
/* Reads messages that were stored before a time (UINT64_MAX: all). `done` is called once, later,
 * unless it is cancelled. */
struct outgoing_read *outgoing_read(const struct outgoing_pair *pair,
                                    const struct outgoing_id *behind, uint64_t before_us,
                                    outgoing_page_fn *done, void *arg);
void outgoing_cancel(struct outgoing_read **r); /* NULL is fine; nulls */

/* Calls `found` for each pair of domains that has such messages, perhaps more than once. Only what
 * is there now. If the database does not answer, it is asked again after a while, from the first
 * pair, as long as it takes; the same where this is called before it has ended. */
typedef void outgoing_found_fn(const struct outgoing_pair *pair);
struct outgoing_find { /* zeroed before it is first used; confined to its worker */
    struct worker *worker;
    outgoing_found_fn *found;
    struct store_op *op;
    struct timer timer;
    bool again;
};
void outgoing_find(struct outgoing_find *f, struct worker *w, outgoing_found_fn *found);
void outgoing_find_stop(struct outgoing_find *f); /* also one that was never used */

extern const struct message_row outgoing_message, outgoing_answer;
