/* pubsub_model: the memory of pubsub services: nodes, lists, items as far as they are in memory.
 * Nothing is read or written here.
 *
 * A service is an actor (home/actor.h) at the home of its JID: of a host, or of an account beside
 * the actor of the account. A host's stays in memory, an account's until the account is unloaded.
 * What waits in its inbox are requests. */
#pragma once
#include "base/map.h"
#include "home/actor.h"
#include "pubsub/pubsub.h"
#include "pubsub/pubsub_access.h"
#include "pubsub/pubsub_config.h"

struct account;
struct actor_kind;
struct ps_contacts;
struct ps_op;
struct setting;
struct worker;

enum { PS_KEEP_BYTES = 1024 }; /* of a last item that stays in memory */

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

/* LOADING: the caller loads it next, or makes it READY. account: NULL for a host. */
struct ps_service *ps_service_create(struct worker *w, const struct ps_service_kind *kind,
                                     struct account *account, slice jid, int64_t owner);
struct ps_service *ps_service_find(const struct worker *w, slice jid); /* NULL: not in memory */
static inline struct ps_service *ps_service_of(struct actor *a) { return (struct ps_service *)a; }
void ps_service_pin(struct ps_service *s); /* it and its account stay */
void ps_service_unpin(struct ps_service *s);
/* For the feature of the engine. */
extern unsigned ps_services_slot; /* of workers */
extern struct metric ps_services_loaded;
void ps_services_stop(struct worker *w);
/* How services are loaded and called, which is above; at start. */
void ps_services_are(const struct actor_kind *kind);
typedef void ps_service_fn(struct ps_service *s, slice bare);
void ps_services_each(struct worker *w, ps_service_fn *fn, slice bare);
void ps_service_unload(struct actor *a); /* for the kind */

struct ps_node *ps_node_find(const struct ps_service *s, slice name); /* that exists */
struct ps_node *ps_node_get(struct ps_service *s, slice name);        /* made if need be */
slice ps_creator(const struct ps_node *n);                            /* bare JID */
/* NULL: that bare JID has made no node. */
const struct ps_maker *ps_maker(const struct ps_service *s, slice bare);
/* Whether so many bytes more are within what the maker of the node may store; one with that JID. */
bool ps_maker_has_room(const struct ps_node *n, int64_t more);
bool ps_maker_of_has_room(const struct ps_service *s, slice bare, int64_t more);
/* What a list takes for one address. */
uint32_t ps_address_bytes(slice jid);
/* The node is being made: takes a number, has no items. Cleared again if it cannot be stored. */
void ps_node_begin(struct ps_node *n, slice creator, const struct ps_config *c);
void ps_node_load(struct ps_node *n, int64_t nid, slice creator, const struct ps_config *c);
void ps_node_configure(struct ps_node *n, const struct ps_config *c); /* may borrow the old one */
void ps_node_clear(struct ps_node *n);   /* it does not exist any more */
void ps_node_release(struct ps_node *n); /* frees one that neither exists nor is asked for */
const struct ps_affiliate *ps_affiliate(const struct ps_node *n, slice jid);
/* `a` may be PS_OWNER_SHARING. */
void ps_affiliate_put(struct ps_node *n, slice jid, enum ps_affiliation a);
struct ps_subscriber *ps_subscriber(const struct ps_node *n, slice jid);
/* The first address of a bare JID that has a subscription; the others follow it. */
struct ps_subscriber *ps_subscribers_of(const struct ps_node *n, slice bare);
/* All: for (uint32_t i = 0; (s = ps_subscriber_next(n, &i, s)) != NULL;), s is NULL before; the
 * list stays as it is meanwhile. */
struct ps_subscriber *ps_subscriber_next(const struct ps_node *n, uint32_t *at,
                                         const struct ps_subscriber *s);
struct ps_subscriber *ps_subscriber_make(slice jid, slice subid, enum ps_state state);
void ps_subscriber_put(struct ps_node *n, struct ps_subscriber *s); /* takes over, replaces */
void ps_subscriber_del(struct ps_node *n, slice jid);
const struct ps_stub *ps_stub_find(const struct ps_node *n, slice id);
void ps_stub_add(struct ps_node *n, const struct ps_item *item); /* replaces one of that id */
/* All stubs of a node as they are stored, in any order; then ps_stubs_loaded() orders them.
 * Their size is that of the items from then on. */
void ps_stub_load(struct ps_node *n, const struct ps_item *item, uint32_t bytes);
void ps_stubs_loaded(struct ps_node *n);
void ps_stubs_clear(struct ps_node *n); /* of memory; the size of the items stays */
void ps_stub_del(struct ps_node *n, slice id);
/* The first `count`, but for that of this id, in one pass: there may be 100,000. */
void ps_stubs_drop(struct ps_node *n, uint32_t count, slice but);
void ps_node_grew(struct ps_node *n, int64_t bytes);              /* of its items */
void ps_keep_last(struct ps_node *n, const struct ps_item *item); /* NULL: there is none */
void ps_forget_last(struct ps_node *n);
struct ps_item ps_last(const struct ps_node *n); /* of one that has a last item */
uint32_t ps_item_bytes(const struct ps_item *item);
bool ps_is_owner_jid(const struct ps_service *s, slice bare);         /* the account itself */
uint64_t ps_expired_before(const struct ps_node *n, uint64_t now_us); /* 0: nothing expires */
