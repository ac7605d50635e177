/* session_wait: the stanzas of a session that wait: the first for the answer to a question of stage
 * CHECK or ARCHIVE (core/stage_wait.h), the others because no stanza overtakes another of the same
 * sender (RFC 6120 §10.1). They are checked one at a time, as the check of one may depend on what
 * became of the one before it. Only data; session/session_input.c decides. Confined to the home
 * worker.
 *
 * Limits: as many as may be unfinished (session/session_input.c), and SESSION_WAIT_BYTES; beyond,
 * the connection is not read, and what it had sent by then is kept as well. Its memory counts for
 * node.memory. When the session ends it is dropped: nothing of it was acknowledged. */
#pragma once
#include "core/stage_wait.h"
#include "home/origin.h"

enum { SESSION_WAIT_BYTES = 256 * 1024 };

struct session_waiting {
    struct session_waiting *next;
    struct stanza *st; /* NULL: an element that is no stanza, of this number */
    uint32_t nonza;
    bool archive; /* of the first: it waits at ARCHIVE, and has passed CHECK */
    unsigned at;  /* where that goes on */
    struct origin origin;
};

/* Puts one behind those that wait; takes over the stanza. */
void session_wait_put(struct session *s, const struct session_waiting *one);
/* The same where none waits, and it is asked about. */
void session_wait_ask(struct session *s, const struct session_waiting *one);
struct session *session_wait_of(struct stage_pause *p);
bool session_wait_is_asked(const struct session *s);

/* Takes the first out, or all; the caller frees what it gets. NULL: there is none. */
struct session_waiting *session_wait_take(struct session *s);
struct session_waiting *session_wait_take_all(struct session *s);
/* Puts them behind those that wait now. */
void session_wait_put_all(struct session *s, struct session_waiting *all);
void session_wait_free(struct session_waiting **all); /* with their stanzas; NULL is fine */

uint32_t session_wait_bytes(const struct session *s);
/* Its connection is read while little waits. The gate may bring more from inside. */
void session_wait_weigh(struct session *s);
void session_wait_drop(struct session *s); /* all that waits, unanswered */

void session_waits_init(struct worker *w);
void session_waits_fini(struct worker *w); /* when there are no sessions any more */
