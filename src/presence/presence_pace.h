/* presence_pace: holds changes of presence back: those that the client of an available session
 * sends, and those that the server composes by itself for one: shown as away while its client
 * sleeps, told again with another avatar or because sharing was turned on, or unavailable because
 * its lost connection was not resumed. The setting presence.change-rate says how many of these are
 * broadcast a second; each node has an equal part. The others wait in order, one record a session,
 * and the state that it has in the end is told once: whoever asks meanwhile (probes) hears it
 * already. Initial presence, and unavailable presence that a client sends, never waits. Confined to
 * the worker; only the rate is the node's. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>

struct buf;
struct session;
struct setting;
struct metric;
struct stanza;
struct worker;

/* Shows a session that is available (without <show/>) as away until presence_wake() or its next
 * presence: for clients that are asleep and will be woken by others. Again: fine. */
void presence_sleep(struct session *s);
void presence_wake(struct session *s);

/* Takes over a presence of the session and returns it as it should be, or the same. */
typedef struct stanza *presence_rewrite_fn(struct session *s, struct stanza *st);
/* The session's presence is rewritten, and told if that changes it. There is one rewrite_fn. */
void presence_rewrite(struct session *s, presence_rewrite_fn *fn);

/* Takes a turn for one change of a session's presence. false: there is none now, try again
 * PRESENCE_PACE_MS later. For changes that need no place in the line, because what is told is what
 * holds then. */
enum { PRESENCE_PACE_MS = 100 };
bool presence_pace_take(struct worker *w);

/* For presence.c. The client of an available session has sent presence, which is the session's now:
 * it is not shown as away any more. true: it is told at once; false: in turn, by
 * presence_replace(). */
bool presence_pace_own(struct session *s);
void presence_pace_forget(struct session *s); /* not available any more; nothing waits: fine */
extern unsigned presence_pace_session, presence_pace_worker; /* slots */
void presence_pace_ended(struct worker *w);
void presence_pace_save(const struct session *s, struct buf *out);
void presence_pace_restore(struct session *s, slice saved);

extern struct setting presence_change_rate;
extern struct metric presence_waited;
