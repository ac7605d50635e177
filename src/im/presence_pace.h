/* presence_pace: presence that the server composes by itself for a session that is available: shown
 * as away while its client sleeps, and told again with another avatar. The node broadcasts so many
 * of these a second (setting presence.composed-rate); what is beyond waits in order, one record a
 * session, and the state that it has in the end is told once. What clients send never waits.
 * Confined to the worker; only the rate is the node's. */
#pragma once

struct session;
struct setting;
struct metric;
struct stanza;
struct worker;

/* Takes over a presence of the session and returns it as it should be, or the same. */
typedef struct stanza *presence_rewrite_fn(struct session *s, struct stanza *st);
/* The session's presence is rewritten, and told if that changes it. There is one rewrite_fn. */
void presence_rewrite(struct session *s, presence_rewrite_fn *fn);

/* For presence.c. The client has sent its own presence: it is not shown as away any more. */
void presence_pace_own(struct session *s);
void presence_pace_forget(struct session *s); /* not available any more; nothing waits: fine */
void presence_pace_start(void);
void presence_pace_ended(struct worker *w);

extern struct setting presence_composed_rate;
extern struct metric presence_waited;
