/* s2s_share: one stream of ours to another server for several domains of ours, if s2s.multiplex is
 * on (XEP-0220 §2.5). The partner that makes the stream is its host. Those of other domains of ours
 * with the same foreign domain are guests: they wait while the host connects, and then send a key
 * of their own on its stream, if the server says that it answers a wrong one with an error (§2.4).
 * One that is refused, or is not answered in GUEST_MS, makes a stream of its own, and does not
 * ask again for GUEST_REFUSED_MS.
 *
 * The partner of a guest has the stream as it has one of the other server (s2s_partner_back.h):
 * `back.on`. XEP-0198 counts stanzas of all partners together, so it is noted whose each is. What
 * is shared is not resumed: after a break each partner sends again what was not confirmed. A
 * partner whose stanzas have ended streams makes its own, so that no other suffers.
 *
 * Limit: GUESTS_MAX of a stream. Confined to the worker of the foreign domain, which has the
 * partners and the stream. */
#pragma once
#include "gate/s2s/s2s_gate.h"

struct partner;
struct s2s_out;
struct stanza;
struct stanza_note;

enum { GUESTS_MAX = 63, GUEST_MS = 10000, GUEST_REFUSED_MS = 10 * 60000 };

/* Partners. */

void share_map_init(struct s2s_worker *sw);
void share_map_fini(struct s2s_worker *sw);
/* One that is to connect: it waits for the stream of another, or uses it. false: it connects
 * itself, and others may wait for it. */
bool share_takes(struct partner *p);
bool share_is_sought(const struct partner *p); /* it waits, or has sent a key */
void share_leave(struct partner *p);           /* it neither waits nor is a guest any more */
/* It makes no stream, or has lost it: who waits for it connects. Again: nothing. */
void share_ends(struct partner *p);
void share_opens(struct partner *p); /* its stream is up: who waits sends a key */
/* Those of guests. Borrows. */
void share_write(struct partner *p, const struct stanza *st, const struct stanza_note *note);
void share_parts(struct partner *p, bool on); /* s2s_out_parts() */
void share_finishes(struct partner *p);
const struct s2s_out *share_stream(const struct partner *p); /* of a guest; NULL: it is none */
/* A guest that may not speak with that domain any more: the other server must not, either, so the
 * stream ends when all is confirmed, and the others make a new one. */
void share_closes(struct partner *p);

/* The stream. Where it has no guests, these are those of its partner. */

void share_each(struct s2s_out *o, void (*fn)(struct partner *p)); /* the host and each guest */
void share_holds(struct partner *p);                               /* its stream ends */
/* The server has ended the stream for what it was sent, perhaps: fn is called for the partner that
 * this was of, if only one has something that is not confirmed. */
void share_blames(struct s2s_out *o, void (*fn)(struct partner *p));
/* The server has answered the key of a domain; refused: why, NULL: it is proved. false: nobody has
 * asked. */
bool share_result(struct s2s_out *o, slice local, const char *refused);
bool share_may_send(const struct s2s_out *o, slice local); /* the server, to that domain */
struct partner *share_partner(const struct s2s_out *o, slice local); /* NULL: it has none */
void share_wrote(struct s2s_out *o);
bool share_confirmed(struct s2s_out *o, uint32_t h); /* false: that cannot be */
void share_uncounted(struct s2s_out *o);
bool share_is_unconfirmed(const struct s2s_out *o);
/* Whether a partner that partner_may_answer() does so: partner_answers() or partner_hears(). */
bool share_some(const struct s2s_out *o, bool (*answers)(const struct partner *p));
/* The same of a partner with a stream, its own or that of its host: s2s_out_proves(), and
 * s2s_out_is_proved(). */
bool share_proves(const struct partner *p);
void share_is_proved(struct partner *p);
uint32_t share_sent_count(const struct s2s_out *o);
/* The stream has ended; host: its partner. */
void share_gone(struct s2s_out *o, struct partner *host);
