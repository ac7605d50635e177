/* pubsub: publish-subscribe (XEP-0060) as one engine for two kinds of services: each account
 * (XEP-0163, pep.c) and pubsub.<domain> (pubsub_host.c). This header is for other extensions that
 * keep their data in an account's nodes; the others here are the engine's own.
 *
 * A service lives at the home worker of its JID and is confined to it. It is loaded at first use;
 * an account without nodes has none. In memory are the nodes with their configuration, affiliations
 * and subscriptions, a line for each item of the nodes that were worked with, and the last item of
 * a node; items are in the database. */
#pragma once
#include "base/slice.h"
#include "xmpp/stanza_error.h"

struct account;
struct arena;
struct buf;
struct feature;
struct portable;
struct ps_config;
struct xml_write;

extern const struct feature pubsub_feature;      /* of the engine: its tables */
extern const struct feature pep_feature;         /* XEP-0163 */
extern const struct feature pubsub_host_feature; /* XEP-0060 */

/* An item, borrowed. */
struct ps_item {
    uint64_t at_us;
    slice id, publisher; /* publisher: bare JID */
    slice xml;           /* the payload; empty: none */
};

/* Without PEP no account has nodes: these then say so.
 *
 * Runs a <pubsub/> request of type set as the account itself; `done` (may be NULL) is called once,
 * maybe before this returns. The text is copied. A guest's is refused. */
typedef void ps_own_fn(void *arg, enum stanza_error e);
void ps_own(struct account *a, slice pubsub_xml, ps_own_fn *done, void *arg);
/* The same from a buffer, which is released. If it has overflowed: SE_RESOURCE_CONSTRAINT. */
void ps_own_buf(struct account *a, struct buf *pubsub_xml, ps_own_fn *done, void *arg);

/* All items of a node of the account, newest first, as `reader` (a full or bare JID) may read them;
 * ptr NULL: as the account itself. Count 0 also where there is no such node, or no access. */
typedef void ps_items_fn(void *arg, enum stanza_error e, const struct ps_item *items,
                         unsigned count);
void ps_own_items(struct account *a, slice node, slice reader, ps_items_fn *done, void *arg);

/* A row of struct feature.watches: a node of accounts that a feature follows. */
enum ps_by { PS_BY_CLIENT, PS_BY_SERVER };
struct ps_watch {
    const char *node;
    /* The node has changed. item NULL: one was retracted, the node purged or deleted.
     * PS_BY_SERVER: ps_own() did it. */
    void (*changed)(struct account *a, enum ps_by by, const struct ps_item *item);
    /* What an item that is published there must satisfy, by its id (empty: none was given): returns
     * what is wrong with it, for the client, or NULL. NULL: any is good. */
    const char *(*item_rule)(slice id, struct arena *tmp);
    /* Writes what an account that comes (core/portable.h) brings for the node in another form:
     * <pubsub/> elements with its configuration and items that the account does not bring itself.
     * NULL: nothing. */
    void (*port)(struct portable *p, struct xml_write *x);
};
