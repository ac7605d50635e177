/* behind: what comes live for a session while offline messages are delivered to it
 * (talk/offline.h), and is not stored: it waits for its place among them, so that the order of what
 * one address says to another holds (RFC 6120 §10.1). What others say does not wait, so contacts
 * are seen at once.
 *
 * Limits: BEHIND_MAX of these, BEHIND_BYTES; what is beyond does not wait. Confined to the worker
 * of its session. */
#pragma once
#include "session/session.h"

enum { BEHIND_MAX = 2048, BEHIND_BYTES = 512 * 1024 };

struct behind;
struct stanza;

struct behind *behind_new(void);
void behind_free(struct behind **b); /* drops what waits; nulls */
/* All up to that archive id have been delivered. */
void behind_looked(struct behind *b, uint64_t id);
/* A message was stored, which is delivered in its place, though another session has it. */
void behind_owes(struct behind *b, const struct stanza *st, uint64_t id);

enum behind_says { BEHIND_WAITS, BEHIND_PASSES, BEHIND_IS_FULL };
/* Whether a stanza waits; it is referenced then. stored: the last message of its sender that nobody
 * has (mailbox_last_from()). `to`: at most QUEUED_BARE. */
enum behind_says behind_hold(struct behind *b, struct stanza *st, enum queued_to to,
                             uint64_t delay_us, uint64_t stored);

/* Those that wait: at_us is the delay stamp, 0: none. */
typedef void behind_fn(struct session *s, const struct queued *q);
/* Removes those whose place is up to that archive id, in order; calls fn for each. */
void behind_take(struct behind *b, uint64_t to, behind_fn *fn, struct session *s);
/* The next behind number *i, which moves on; it begins at 0. NULL: there is none. */
const struct queued *behind_next(const struct behind *b, uint32_t *i);
