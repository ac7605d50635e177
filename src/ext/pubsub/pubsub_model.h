/* pubsub_model: the memory of pubsub services. Nothing is read or written here.
 *
 * A service is an actor (home/actor.h) at the home of its JID: of a host, or of an account beside
 * the actor of the account. A host's stays in memory, an account's until the account is unloaded.
 * What waits in its inbox are requests. */
#pragma once
#include "ext/pubsub/pubsub_private.h"

struct worker;

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
void ps_services_forget(struct worker *w, slice bare); /* an account that was deleted */

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
/* All stubs of a node as they are stored, in any order; then ps_stubs_loaded() orders them. */
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
struct ps_actor ps_actor_of(const struct ps_node *n, slice from);     /* bare or full JID */
bool ps_is_owner_jid(const struct ps_service *s, slice bare);         /* the account itself */
uint64_t ps_expired_before(const struct ps_node *n, uint64_t now_us); /* 0: nothing expires */
