/* pubsub_private: the engine's own: services, nodes, requests under way (see pubsub.h).
 *
 * A request is an operation. It waits in the inbox of the service (pubsub_model.h), then in the
 * queue of its node: a change is prepared over what is in memory, committed, applied, answered,
 * then the next one runs. Changes of different nodes are under way together. A read leaves the
 * queue when it is submitted; it sees what was submitted before it (store lane). */
#pragma once
#include "base/map.h"
#include "ext/pubsub/pubsub.h"
#include "ext/pubsub/pubsub_request.h"
#include "home/actor.h"
#include "im/iq.h"

struct account;
struct arena;
struct ps_contacts;
struct ps_op;
struct setting;
struct store_batch;
struct worker;

enum {
    PS_READ_BYTES_MAX = 8 << 20, /* of items that a request names */
    PS_PAGE_BYTES = 2 << 20,
    PS_WAITING_MAX = 1000,
    PS_OPS_MAX = 20000,   /* of one service under way */
    PS_KEEP_BYTES = 1024, /* of a last item that stays in memory */
    PS_LOOK_BYTES = 16    /* charged for each node that a request looks at */
};

/* What differs between the two kinds. */
struct ps_service_kind {
    enum ps_kind kind;
    struct setting *nodes_max, *items_max, *item_bytes, *bytes_max, *subscriptions_max;
    struct setting *user_nodes_max;                   /* NULL: all its nodes are one user's */
    struct setting *user_bytes;                       /* of items, addresses included */
    bool (*may_create)(struct worker *w, slice bare); /* NULL: the account only */
};

struct ps_affiliate {
    uint8_t affiliation; /* enum ps_affiliation */
    bool shares;         /* an owner of a node of a host: see ps_sharing_store() */
    uint16_t len;
    char jid[];
};
struct ps_subscriber {
    struct ps_subscriber *next; /* another address of the same bare JID */
    uint8_t state;              /* enum ps_state */
    bool deliver;
    uint16_t len, bare_len;
    char subid[17];
    char jid[];
};
/* An item as far as it is in memory. */
struct ps_stub {
    uint64_t at_us;
    uint64_t publisher; /* hash of its bare JID */
    uint32_t bytes;
    uint16_t id_len;
    char id[];
};
/* The last item of a node, in one block. */
struct ps_kept {
    uint64_t at_us;
    uint32_t id_len, publisher_len, xml_len;
    char text[];
};

/* The creators of nodes of a service and the size of all their nodes, to limit the share of
 * each. */
struct ps_maker {
    uint32_t nodes; /* gone with the last one */
    uint64_t bytes; /* of items, configurations, and addresses in lists */
    uint16_t len;
    char jid[]; /* bare, with NUL */
};

struct ps_node {
    struct ps_service *service;
    int64_t nid;            /* unique in its service; 0: there is none, only requests for it */
    slice name;             /* in this block */
    struct ps_maker *maker; /* NULL if it does not exist */
    struct ps_config config;
    struct map affiliates, subscribers; /* by bare JID */
    uint32_t subscriber_count;
    struct ps_stub **stubs; /* oldest first; valid if `indexed` */
    struct map by_id;       /* all stubs, of a node with many; else empty */
    uint32_t stub_count, stub_cap;
    uint64_t bytes;   /* of its items, */
    uint64_t listed;  /* and of its configuration and the addresses in its lists */
    uint32_t changes; /* applied changes: a read from before a change may be outdated */
    bool indexed, last_known, busy;
    struct ps_kept *last;               /* NULL: none, if last_known */
    const struct ps_contacts *contacts; /* of the request that runs; NULL: nobody was asked */
    struct ps_op *ops, **ops_tail;
};

/* An actor from its first request on: LOADING its nodes, READY; ABSENT when they could not be read,
 * or when its account is gone. Requests and reads pin it. */
struct ps_service {
    union {
        struct actor actor;
        struct {
            ACTOR_HEAD;
        };
    };
    const struct ps_service_kind *kind;
    struct account *account; /* NULL: of a host */
    int64_t owner;           /* in the database: the account's id; negative: a host */
    struct map nodes, makers;
    uint32_t node_count; /* that exist */
    uint64_t bytes;      /* of all items */
    int64_t last_nid;
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
