/* ask: IQ requests of the server itself, on behalf of an account or of a domain of ours, and their
 * answers (RFC 6120 §8.2.3). Confined to the worker: the home of the account, or, asking a client
 * in the name of the domain, the home of that client. The answer of a component to a domain comes
 * to the worker of its link: the id has the slot of the home that it goes on to.
 *
 * Limit: ASKS_MAX requests a worker that wait for their answers. */
#pragma once
#include "home/remote.h"
#include "home/router.h"

enum { ASKS_MAX = 65536 };

/* reply: the result or error, borrowed; NULL: none came in time, or the component is gone. Once,
 * unless cancelled. */
typedef void ask_fn(struct worker *w, void *arg, const struct stanza *reply);

struct ask;
struct ask_request {
    enum stanza_type type; /* TYPE_GET or TYPE_SET */
    slice from;            /* a bare JID whose home is here, or a domain of ours */
    slice to;
    slice payload; /* XML text */
    uint32_t timeout_ms;
    void (*drop)(void *arg); /* the process ends: frees memory, no more; NULL: nothing to free */
    /* Where `from` is a domain and `to` is no client whose home is here: a bare JID whose home is,
     * or was until a moment ago. Empty: `from`. */
    slice home;
};
/* NULL: too many wait, or this worker is the home of nothing any more; fn is not called. The handle
 * is valid until fn is called. */
struct ask *ask_send(struct worker *w, const struct ask_request *r, ask_fn *fn, void *arg);
void ask_cancel(struct ask **a); /* NULL is fine; nulls */
bool ask_has_id(const struct ask *a, slice id);

/* A result or error that came to a bare JID or a domain of ours; borrowed. false: not awaited. */
bool ask_answered(struct worker *w, const struct stanza *st);
/* The same for what came to a domain of ours: sends it on if the request was made elsewhere. */
bool ask_domain_answered(struct worker *w, struct stanza *st);
extern const struct message_row ask_answer_message;

/* Nobody answers by this link of a component any more. */
void asks_link_gone(struct worker *w, struct remote_link link);

void asks_init(struct worker *w);
void asks_fini(struct worker *w);
