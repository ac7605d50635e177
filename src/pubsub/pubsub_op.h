/* pubsub_op: requests under way: from the IQ to its answer.
 *
 * A request is an operation. It waits in the inbox of the service (pubsub_model.h), then in the
 * queue of its node: a change is prepared over what is in memory, committed, applied, answered,
 * then the next one runs. Changes of different nodes are under way together. A read leaves the
 * queue when it is submitted; it sees what was submitted before it (store lane). */
#pragma once
#include "codec/xml_write.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_request.h"
#include "store/store.h"
#include "talk/iq.h"

struct arena;
struct buf;

enum {
    PS_WAITING_MAX = 1000, /* for a service that is read: each is a request and its two arenas */
    PS_OPS_MAX = 20000,    /* of one service under way */
    PS_LOOK_BYTES = 16     /* charged for each node that a request looks at */
};

/* What running a request comes to. */
enum ps_step {
    PS_ANSWERED, /* it is over */
    PS_COMMIT,   /* op->batch is to be written, then apply() */
    PS_READ      /* op->batch is to be read, then found() */
};

typedef void ps_call_fn(struct ps_op *op, enum stanza_error e);

struct ps_op {
    struct ps_op *next;
    struct ps_service *service;
    struct ps_node *node; /* while it is in its queue */
    struct iq *iq;        /* held; NULL: of the server itself, */
    slice from;           /* from this JID */
    struct arena *tmp;
    struct ps_request req;
    struct stanza *st; /* of the IQ: outlives its answer */
    ps_own_fn *done;   /* of the server itself; or: */
    ps_call_fn *call;  /* no request: this is called when the service is ready */
    void *arg;
    struct store_batch *batch;
    struct ps_contacts *contacts; /* NULL: nobody was asked */
    /* what a request remembers from run() to apply() */
    struct ps_config config;
    struct ps_item item;
    const slice *ids;
    unsigned id_count, drop; /* drop: how many of the oldest items go */
    uint32_t total, first;   /* of a page */
    bool create, paged, deliver;
    enum ps_state state;
};

/* What a verb is: which of its functions run. */
struct ps_verb_row {
    enum ps_verb verb;
    bool node;   /* it is about one node, */
    bool exists; /* which must be there; else item-not-found */
    bool index;  /* its items must be known */
    enum ps_step (*run)(struct ps_op *op);
    void (*apply)(struct ps_op *op);
    void (*found)(struct ps_op *op, const struct store_batch *b);
};

void ps_request(struct iq *iq, struct ps_service *s); /* holds it */
/* As the account itself; see ps_own(). */
void ps_own_request(struct ps_service *s, slice pubsub_xml, ps_own_fn *done, void *arg);
/* As somebody who waits for no answer. */
void ps_request_from(struct ps_service *s, slice from, slice pubsub_xml);
/* Calls fn once: when the service is ready, or with an error. */
void ps_when_ready(struct ps_service *s, ps_call_fn *fn, void *arg);
/* One that has waited in the inbox of its service. */
void ps_request_call(struct actor *a, actor_any_fn *fn, enum err e, void *op);
enum ps_step ps_fail(struct ps_op *op, enum stanza_error e, const char *condition, slice text);
enum ps_step ps_fail_with(struct ps_op *op, const struct ps_error *e);
enum ps_step ps_no_room(struct ps_op *op); /* for what the maker of a node wants to store */
enum ps_step ps_answer(struct ps_op *op, slice payload);
enum ps_step ps_answer_buf(struct ps_op *op, struct buf *out); /* ends the buffer */
static inline enum ps_step ps_answer_xml(struct ps_op *op,
                                         struct xml_write *x) /* all elements, too */
{
    xml_close_all(x);
    return ps_answer_buf(op, x->out);
}
/* What looks at all nodes of a service is paid by the client that asks. */
void ps_charge_look(const struct ps_service *s, slice client);
slice ps_from_bare(const struct ps_op *op);
struct ps_limits ps_limits_of(const struct ps_service *s);
/* A request of the server itself about a node, without an answer. */
void ps_node_request(struct ps_service *s, enum ps_verb verb, slice node, slice from);
