/* s2s_partner_fails: a partner whose server cannot be reached: how long stanzas that are not stored
 * wait for it, and when it is tried again.
 *
 * They wait for s2s.retry-for from when the stream began to be made, whatever becomes of the
 * attempts. An attempt that is under way then gets PATIENCE_MIN_MS in all, so that a shorter
 * setting leaves time for one, and goes on when their senders are told: until it ends, stanzas are
 * refused at once. An attempt for stored messages alone, to a domain that has failed for long, gets
 * BRIEF_MS before stanzas that come meanwhile are refused. Confined to its worker. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct partner;

enum {
    BACKOFF_MS = 1000, /* before the second attempt; doubles */
    PARTNER_QUICK_MAX = 12,
    PARTNER_QUICK_MS = 60000
};

/* It has failed for s2s.retry-for. */
bool partner_fails_for_long(const struct partner *p);
/* After an attempt that has failed: how long until the next one. One that waits for its session has
 * several attempts while the other server keeps that, and one behind its end. */
uint64_t partner_pause_ms(const struct partner *p);
/* Its pair has other connections; one that asks about keys is none. */
bool partner_is_one_of_many(const struct partner *p);
/* No other connection of its pair is up: its failure is that of the domain. */
bool partner_is_alone(const struct partner *p);
/* The stream has broken: the other server begins to count how long it keeps the session. */
void partner_session_breaks(struct partner *p);
/* How long it keeps that from now on, with something that it has not confirmed, and perhaps has; 0:
 * it does not, or we do not try to resume it. No longer than SESSION_MAX_S after the break. */
uint64_t partner_session_left_ms(const struct partner *p);
/* The same while another connection of the pair is up: that does not carry its stanzas meanwhile
 * (gate/s2s/s2s_divert.h), they wait. */
bool partner_waits_for_session(const struct partner *p);
/* Its own stream has broken, on which the other server had stanzas, too (XEP-0288): what that keeps
 * for us cannot come if it cannot connect to us. So the stream is made again, also if nothing waits
 * for it here, with pauses as long as the session is kept. */
bool partner_returns(const struct partner *p);
uint64_t partner_return_pause_ms(struct partner *p); /* until the next attempt; counts it */
/* It has failed in a way that waiting does not mend, as by a certificate that is refused, and the
 * other server keeps its session: something else has perhaps answered in place of that server. What
 * waits is refused, but what it has not confirmed stays until the session is resumed or over. Not
 * where our own rules are why. */
bool partner_keeps_sent(const struct partner *p);
/* Rules of ours do not let it connect: no other attempt can. */
bool partner_rules_fail(const struct partner *p);
/* After an attempt that has failed, to resume a session of XEP-0198: whether the next one follows
 * after a short pause. The other server waits BACK_WAIT_MS for that if it has written to the
 * session, too, and after that writes what was not confirmed on another stream: it would arrive
 * twice. So would what we give back for a failure that waiting does not mend: something else has
 * perhaps answered in place of the server. RESUME_SOON_MAX in a row: then pauses are those for
 * other stanzas. Counts this one. */
bool partner_resumes_soon(struct partner *p);
uint64_t partner_resume_pause_ms(const struct partner *p); /* ... of the last one that it counted */
/* After an attempt that has failed for a stanza that it was sent alone: whether the next one may
 * follow at once, so that one bad stanza does not hold up others. The same if a stream has ended in
 * order, before anything was confirmed on it, or if an operator has ended an attempt: perhaps both
 * operators close the stream. PARTNER_QUICK_MAX in PARTNER_QUICK_MS: a server that ends all streams
 * is not flooded with them. Counts this one. */
bool partner_may_be_quick(struct partner *p);
bool partner_gives_up(const struct partner *p); /* after a failure: no other is waited for */
/* It is LOADING from now on: stanzas begin to wait, if any come. */
void partner_waits(struct partner *p);
/* partner.patience has ended while it is LOADING. false: not yet, or nothing waits. true: what
 * waits is refused, and the domain counts as one that fails. */
bool partner_is_impatient(struct partner *p, bool waited_for);
/* Its server is there, perhaps: that it failed counts no more, and stanzas wait again. Not READY.
 */
void partner_recovers(struct partner *p);
/* It is known to fail, and not tried again yet. */
bool partner_is_down(const struct partner *p);
/* Stanzas are refused at once: the attempt that is under way has taken too long, or the domain is
 * down, and has failed for s2s.retry-for or would fail again. One that is down for less has failed
 * for a key, for stored messages or for an answer to the other server: what users send waits for an
 * attempt of its own. */
bool partner_refuses_now(const struct partner *p);
