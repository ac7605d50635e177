/* pubsub_private: the engine's own: services, nodes, requests under way (see pubsub.h).
 *
 * A request is an operation. It waits until the service is loaded, then in the queue of its node:
 * a change is prepared over what is in memory, committed, applied, answered, then the next one
 * runs. Changes of different nodes are under way together. A read leaves the queue when it is
 * submitted; it sees what was submitted before it (store lane). */
#pragma once
#include "base/map.h"
#include "base/setting.h"
#include "ext/pubsub.h"
#include "ext/pubsub_request.h"
#include "im/iq.h"
#include "store/store.h"

struct buf;
struct metric;
struct ps_op;
struct worker;

enum {
    PS_ANSWER_BYTES_MAX = 8 << 20,
    PS_PAGE_BYTES = 2 << 20,
    PS_WAITING_MAX = 1000,
    PS_OPS_MAX = 20000,  /* of one service under way */
    PS_KEEP_BYTES = 1024 /* of a last item that stays in memory */
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
    uint8_t state; /* enum ps_state */
    bool deliver;
    uint16_t len;
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
    uint64_t bytes; /* of items, and of addresses in lists */
    uint16_t len;
    char jid[]; /* bare, with NUL */
};

struct ps_node {
    struct ps_service *service;
    int64_t nid;            /* unique in its service; 0: there is none, only requests for it */
    slice name;             /* in this block */
    struct ps_maker *maker; /* NULL if it does not exist */
    struct ps_config config;
    struct map affiliates, subscribers;
    struct ps_stub **stubs; /* oldest first; valid if `indexed` */
    uint32_t stub_count, stub_cap;
    uint64_t bytes;   /* of its items, */
    uint64_t listed;  /* and of the addresses in its lists */
    uint32_t changes; /* applied changes: a read from before a change may be outdated */
    bool indexed, last_known, busy;
    struct ps_kept *last;               /* NULL: none, if last_known */
    const struct ps_contacts *contacts; /* of the request that runs; NULL: nobody was asked */
    struct ps_op *ops, **ops_tail;
};

enum ps_ready { PS_UNLOADED, PS_LOADING, PS_READY };

struct ps_service {
    const struct ps_service_kind *kind;
    struct worker *worker;
    struct account *account; /* NULL: of a host */
    slice jid;               /* of the account, or in this block */
    int64_t owner;           /* in the database: the account's id; negative: a host */
    enum ps_ready ready;
    bool gone; /* its account was deleted */
    struct map nodes, makers;
    uint32_t node_count; /* that exist */
    uint32_t op_count;
    uint64_t bytes; /* of all items */
    int64_t last_nid;
    struct ps_op *waiting, **waiting_tail; /* while it is loaded */
    uint32_t waiting_count;
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
    struct stanza *st;    /* of the IQ: outlives its answer, */
    struct origin origin; /* and so does this */
    ps_own_fn *done;      /* of the server itself; or: */
    ps_call_fn *call;     /* no request: this is called when the service is ready */
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

/* pubsub_store.c */
extern struct store_stmt ps_stmt_any, ps_stmt_last, ps_stmt_item, ps_stmt_items, ps_stmt_index;
void ps_load_service(struct ps_service *s);
void ps_store_node(struct store_batch *b, const struct ps_node *n, const struct ps_config *c);
void ps_store_delete_node(struct store_batch *b, const struct ps_node *n);
void ps_store_item(struct store_batch *b, const struct ps_node *n, const struct ps_item *item);
void ps_store_delete_item(struct store_batch *b, const struct ps_node *n, slice id);
void ps_store_purge(struct store_batch *b, const struct ps_node *n);
void ps_store_affiliate(struct store_batch *b, const struct ps_node *n, slice jid,
                        enum ps_affiliation a);
void ps_store_subscriber(struct store_batch *b, const struct ps_node *n,
                         const struct ps_subscriber *s);
void ps_store_unsubscribe(struct store_batch *b, const struct ps_node *n, slice jid);
void ps_store_remove(struct store_batch *b, int64_t owner);
void ps_read_item(const struct store_batch *b, unsigned stmt, uint32_t row, struct ps_item *out);

/* pubsub_model.c: memory only */
struct ps_service *ps_service_create(struct worker *w, const struct ps_service_kind *kind,
                                     slice jid, int64_t owner);
void ps_service_free(struct ps_service **s);
struct ps_node *ps_node_find(const struct ps_service *s, slice name); /* that exists */
struct ps_node *ps_node_get(struct ps_service *s, slice name);        /* made if need be */
/* It is being made: takes a number, has no items. Cleared again if it cannot be stored. */
slice ps_creator(const struct ps_node *n);
/* NULL: that bare JID has made no node. */
const struct ps_maker *ps_maker(const struct ps_service *s, slice bare);
/* Whether so many bytes more are within what the maker of the node may store. */
bool ps_maker_has_room(const struct ps_node *n, int64_t more);
/* What a list takes for one address. */
uint32_t ps_address_bytes(slice jid);
void ps_node_begin(struct ps_node *n, slice creator, const struct ps_config *c);
void ps_node_load(struct ps_node *n, int64_t nid, slice creator, const struct ps_config *c);
void ps_node_clear(struct ps_node *n);   /* it does not exist any more */
void ps_node_release(struct ps_node *n); /* frees one that neither exists nor is asked for */
const struct ps_affiliate *ps_affiliate(const struct ps_node *n, slice jid);
/* `a` may be PS_OWNER_SHARING. */
void ps_affiliate_put(struct ps_node *n, slice jid, enum ps_affiliation a);
struct ps_subscriber *ps_subscriber(const struct ps_node *n, slice jid);
struct ps_subscriber *ps_subscriber_make(slice jid, slice subid, enum ps_state state);
void ps_subscriber_put(struct ps_node *n, struct ps_subscriber *s); /* takes over, replaces */
void ps_subscriber_del(struct ps_node *n, slice jid);
const struct ps_stub *ps_stub_find(const struct ps_node *n, slice id);
void ps_stub_add(struct ps_node *n, const struct ps_item *item); /* replaces one of that id */
void ps_stub_load(struct ps_node *n, const struct ps_item *item, uint32_t bytes);
void ps_stub_del(struct ps_node *n, slice id);
void ps_node_grew(struct ps_node *n, int64_t bytes);              /* of its items */
void ps_keep_last(struct ps_node *n, const struct ps_item *item); /* NULL: there is none */
void ps_forget_last(struct ps_node *n);
struct ps_item ps_last(const struct ps_node *n); /* of one that has a last item */
uint32_t ps_item_bytes(const struct ps_item *item);
struct ps_actor ps_actor_of(const struct ps_node *n, slice from);     /* bare or full JID */
bool ps_is_owner_jid(const struct ps_service *s, slice bare);         /* the account itself */
uint64_t ps_expired_before(const struct ps_node *n, uint64_t now_us); /* 0: nothing expires */

/* pubsub_contacts.c: who is a contact of the owners, for a node of a host that has access model
 * presence or roster. It answers for the bare JIDs that were added. Confined to the worker of the
 * service. */
struct ps_contacts;
/* e: an owner could not be asked, so that of those who are no contacts some may be one. */
typedef void ps_contacts_fn(void *arg, enum stanza_error e);
bool ps_contacts_needed(const struct ps_node *n, const struct ps_config *config);
struct ps_contacts *ps_contacts_create(uint32_t max); /* how many JIDs can be added */
struct ps_contacts *ps_contacts_all(void);            /* everybody is one */
void ps_contacts_add(struct ps_contacts *c, slice jid);
/* Asks the owners of n, for the access model of `config`, and calls done once, later: until then
 * c must not be freed. */
void ps_contacts_ask(struct ps_contacts *c, const struct ps_node *n, const struct ps_config *config,
                     ps_contacts_fn *done, void *arg);
bool ps_contacts_has(const struct ps_contacts *c, slice bare); /* c NULL: nobody is one */
void ps_contacts_free(struct ps_contacts **c);
/* At the home of an account: whether a contact is in one of the groups. */
bool ps_in_groups(const struct account *a, slice allowed, slice bare);
/* An owner has submitted op->config: from now on the contacts of that owner count. Those of the
 * other owners count no longer if the access model or its groups are not the same. */
void ps_sharing_store(const struct ps_op *op);
/* Before the node gets the configuration; once more changes nothing. */
void ps_sharing_apply(const struct ps_op *op);

/* pubsub_op.c */
void ps_request(struct iq *iq, struct ps_service *s); /* holds it */
/* As the account itself; see ps_own(). */
void ps_own_request(struct ps_service *s, slice pubsub_xml, ps_own_fn *done, void *arg);
/* As somebody who waits for no answer. */
void ps_request_from(struct ps_service *s, slice from, slice pubsub_xml);
/* Calls fn once: when the service is ready, or with an error. */
void ps_when_ready(struct ps_service *s, ps_call_fn *fn, void *arg);
void ps_service_loaded(struct ps_service *s, enum store_result result);
enum ps_step ps_fail(struct ps_op *op, enum stanza_error e, const char *condition, slice text);
enum ps_step ps_fail_with(struct ps_op *op, const struct ps_error *e);
enum ps_step ps_answer(struct ps_op *op, slice payload);
enum ps_step ps_answer_buf(struct ps_op *op, struct buf *out); /* ends the buffer */
void ps_service_gone(struct ps_service *s);
slice ps_from_bare(const struct ps_op *op);
struct ps_limits ps_limits_of(const struct ps_service *s);

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
extern const struct ps_verb_row ps_item_verbs[], ps_node_verbs[],
    ps_subscription_verbs[]; /* NULL run ends */

/* pubsub_own.c: how PEP finds the service of an account; at start. */
struct ps_accounts {
    struct ps_service *(*find)(const struct account *a); /* NULL: it has no nodes */
    struct ps_service *(*make)(struct account *a);       /* that, or a new one that is ready */
};
void ps_accounts_are(const struct ps_accounts *accounts);
struct ps_service *ps_service_of(const struct account *a); /* NULL: it has no nodes */

/* pubsub_leavers.c: an account is deleted (struct feature.remove, .account_deleted). */
extern struct store_stmt ps_leaver_items, ps_leaver_subscriptions, ps_leaver_nodes, ps_leaver_lists,
    ps_leaver_affiliations, ps_leaver_subscribed;
void ps_leaver_remove(struct account *a, struct store_batch *b);
void ps_leaver_forget(struct ps_service *s, slice bare);
/* A request of the server itself about a node, without an answer. */
void ps_node_request(struct ps_service *s, enum ps_verb verb, slice node, slice from);

/* pubsub_event.c */
extern struct metric ps_events;
enum ps_event { PS_EVENT_ITEM, PS_EVENT_RETRACT, PS_EVENT_PURGE, PS_EVENT_DELETE, PS_EVENT_CONFIG };
/* To all subscribers; the copies are charged to the client that asked for it. */
void ps_notify(const struct ps_op *op, enum ps_event what, const struct ps_item *item, slice text);
void ps_send_last(struct ps_node *n, const struct ps_item *item, slice to);
void ps_send_state(const struct ps_op *op, slice jid, const struct ps_subscriber *s);
void ps_tell_owners(const struct ps_node *n, const struct ps_subscriber *s);
void ps_ask_owners(const struct ps_node *n, const struct ps_subscriber *s);
/* Sends the last item to `to` if the node sends it in this case; it is read if it is not in memory.
 */
void ps_give_last(struct ps_node *n, slice to);
void ps_write_subscription(struct buf *out, const struct ps_node *n, slice jid,
                           const struct ps_subscriber *s);
void ps_watches_run(const struct ps_op *op, const struct ps_item *item);
/* A message with an owner's answer to ps_ask_owners(); false: it is not one. */
bool ps_authorization(struct ps_service *s, const struct stanza *st);

/* pubsub_arrive.c: explicit subscriptions at the homes of subscribers. The tag of a fan says on
 * whose behalf the service speaks: each bare JID ends with a newline. */
#define PS_TAG_EXPLICIT "*"
extern struct setting ps_offline_bytes;
void ps_explicit_arrived(struct worker *w, slice jid, uint32_t number, struct stanza *st,
                         slice tag); /* fan_fn */

/* pubsub_disco.c */
bool ps_disco(struct iq *iq, struct ps_service *s, slice node);
extern const char *const ps_features_pep[], *const ps_features_host[];
