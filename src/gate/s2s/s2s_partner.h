/* s2s_partner: a domain of ours and a foreign one, as an actor (home/actor.h) at the home of the
 * foreign domain. All stanzas from the one to the other go through it, so they keep their order. It
 * has at most one outgoing stream (gate/s2s/s2s_out.h), made when there is something to send or to
 * ask.
 *
 * What waits for the stream waits in the inbox of the actor. An attempt that fails is repeated with
 * growing pauses; after s2s.retry-for the senders are told. A domain that fails is remembered, and
 * stanzas to it are refused at once, until it is tried again. Confined to its worker. */
#pragma once
#include "gate/s2s/s2s_gate.h"
#include "home/message.h"
#include "xmpp/stanza_error.h"

struct partner;
struct stanza;

/* What the server of a domain says of a key. */
enum s2s_verdict { S2S_VALID = 0, S2S_INVALID = 1, S2S_UNKNOWN = 2 /* it could not be asked */ };

extern const struct actor_kind partner_kind;
/* At the home of the foreign domain. Takes over st. */
void partner_take(struct worker *w, struct stanza *st);
/* The edge stops: connections end, what waits is answered. */
void partner_stop(struct partner *p);
void partner_policy_changed(struct partner *p);
void partner_show(const struct partner *p, s2s_show_fn *show, void *arg);
bool partner_close(struct partner *p);     /* its stream; false: it has none. It may free p */
bool partner_try_again(struct partner *p); /* now; false: it waits for no attempt */
static inline struct partner *partner_of(const struct actor *a)
{
    return (struct partner *)(uintptr_t)a; /* its first member */
}
/* A stanza of ours that waits is to be answered with this if the stream ends. hard: another attempt
 * would end in the same way. */
void partner_blame(struct partner *p, enum stanza_error e, bool hard, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The server did not take it: the stream may end now, and the next one begins with dialback. */
void partner_certificate_refused(struct partner *p);
bool partner_is_uncertified(const struct partner *p);
/* The server says that it is somewhere else: tried next, where that may be. */
void partner_see_other(struct partner *p, slice host);
bool partner_may_be_plain(const struct partner *p); /* without TLS */
slice partner_local(const struct partner *p);
slice partner_remote(const struct partner *p);
struct s2s_gate *partner_gate(const struct partner *p);
bool partner_has_stanzas(const struct partner *p); /* that wait for the stream */
void partner_up(struct partner *p);                /* the stream takes stanzas now */
void partner_full(struct partner *p);              /* it takes none until: */
void partner_room(struct partner *p);              /* it takes them again, if it did not */
/* The stream has ended. at_once: another one is made without a pause if stanzas wait, and it is no
 * failure: that was up, or has ended for that. It may free p. */
void partner_lost(struct partner *p, bool at_once);
/* The next question for the server of the domain, which was not asked yet; false: none. */
struct partner_question {
    slice stream_id, key;
};
bool partner_next_question(struct partner *p, struct partner_question *q);
bool partner_is_asking(const struct partner *p); /* questions were asked, and not answered */
/* Its answer. false: that was not asked. */
bool partner_answer(struct partner *p, slice stream_id, enum s2s_verdict v);

/* To the home of a foreign domain: a stanza, and a question about a key. */
struct s2s_foreign {
    struct stanza *st;
};
struct s2s_verify {
    slice local, remote, stream_id, key;
};
struct s2s_verified {
    uint8_t verdict; /* enum s2s_verdict */
};
extern const struct message_row s2s_foreign_message, s2s_verify_message;
extern const struct message_row *const s2s_messages[]; /* NULL-terminated */
