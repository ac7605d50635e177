/* pubsub_request: what is asked of a pubsub service (XEP-0060 §5 to §8), read from the <pubsub/> of
 * an IQ into a value. What is wrong with the request alone is found here; what depends on the node
 * is not. Pure.
 *
 * The result borrows the stanza, or has its texts in the arena; its elements point into itself, so
 * it stays where it was made. Limits: PS_ID_MAX bytes a node or item id, PS_CHANGES_MAX changes or
 * items a request. */
#pragma once
#include "codec/xml_elem.h"
#include "pubsub/pubsub_access.h"
#include "xmpp/form.h"
#include "xmpp/jid.h"
#include "xmpp/rsm.h"
#include "xmpp/stanza_kind.h"

enum { PS_ID_MAX = 1023, PS_CHANGES_MAX = 1000 };

enum ps_verb {
    PS_SUBSCRIPTIONS,   /* §5.6 */
    PS_AFFILIATIONS_OF, /* §5.7 */
    PS_SUBSCRIBE,       /* §6.1 */
    PS_UNSUBSCRIBE,
    PS_OPTIONS_GET, /* §6.3 */
    PS_OPTIONS_SET,
    PS_OPTIONS_DEFAULT, /* §6.4 */
    PS_ITEMS,           /* §6.5 */
    PS_PUBLISH,         /* §7.1 */
    PS_RETRACT,
    PS_CREATE,        /* §8.1 */
    PS_CONFIGURE_GET, /* §8.2 */
    PS_CONFIGURE_SET,
    PS_CONFIGURE_DEFAULT, /* §8.3 */
    PS_DELETE,
    PS_PURGE,
    PS_SUBSCRIBERS_GET, /* §8.8 */
    PS_SUBSCRIBERS_SET,
    PS_AFFILIATES_GET, /* §8.9 */
    PS_AFFILIATES_SET,
    PS_FORGET, /* in no request: an account was deleted (pubsub_leavers.c) */
    PS_VERBS
};

/* A change that an owner makes to somebody's affiliation or subscription. */
struct ps_change {
    struct jid jid;
    enum ps_affiliation affiliation;
    enum ps_state state;
};

struct ps_request {
    enum ps_verb verb;
    slice node; /* empty: not said */
    struct jid jid;
    slice subid;
    slice redirect;
    bool notify;    /* of a retraction */
    bool has_item;  /* publish, retract: */
    slice item_id;  /* empty: not said */
    slice payload;  /* the item's one child, self-contained; empty: none */
    bool has_form;  /* of configure, options, publish-options: */
    bool cancelled; /* a form of type cancel */
    struct form form;
    bool has_page; /* items: */
    struct rsm page;
    uint32_t max_items; /* UINT32_MAX: not said */
    const slice *ids;
    unsigned id_count;
    struct ps_change *changes;
    unsigned change_count;
    struct elem root, action;
};

/* false: *e says why not. `type` is TYPE_GET or TYPE_SET. */
bool ps_request_parse(struct ps_request *r, const struct elem *pubsub, enum stanza_type type,
                      struct arena *tmp, struct ps_error *e);
