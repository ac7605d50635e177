/* pubsub_access: who may do what with a node, by affiliation (XEP-0060 §4.1), access model (§4.5)
 * and publish model, as one function each. Pure. */
#pragma once
#include "pubsub/pubsub_config.h"
#include "xmpp/stanza_error.h"

/* Stored in the database as these numbers. */
enum ps_affiliation {
    PS_NONE,
    PS_OWNER,
    PS_PUBLISHER,
    PS_PUBLISH_ONLY,
    PS_MEMBER,
    PS_OUTCAST,
    PS_AFFILIATIONS,
    PS_OWNER_SHARING = PS_AFFILIATIONS /* only stored: an owner whose contacts have access */
};
/* Pending is a subscription that an owner has to approve; offered is one that an owner has made for
 * another address, which has to agree. Protocol says `pending` to both (XEP-0060 §4.2). */
enum ps_state { PS_UNSUBSCRIBED, PS_PENDING, PS_SUBSCRIBED, PS_OFFERED, PS_STATES };

/* An error with its condition of pubsub#errors. */
struct ps_error {
    enum stanza_error error; /* SE_NONE: none */
    const char *condition;   /* NULL: none */
    const char *feature;     /* of condition `unsupported` */
    slice text;
};

/* Somebody, as the node sees them. */
struct ps_actor {
    enum ps_affiliation affiliation;
    enum ps_state state; /* of a subscription of theirs */
    bool presence;       /* sees the presence of the owner */
    bool in_group;       /* of a roster group that the node allows */
    bool may_configure;  /* everything: the account itself */
};

/* Each returns SE_NONE or why not. */
struct ps_error ps_may_read(const struct ps_config *c, const struct ps_actor *who);
struct ps_error ps_may_subscribe(const struct ps_config *c, const struct ps_actor *who);
struct ps_error ps_may_publish(const struct ps_config *c, const struct ps_actor *who);
/* Removing an item: owners all, publishers and others who may publish what is theirs. */
struct ps_error ps_may_retract(const struct ps_config *c, const struct ps_actor *who, bool own);
struct ps_error ps_may_own(const struct ps_actor *who);

const char *ps_affiliation_name(enum ps_affiliation a);
bool ps_affiliation_find(slice name, enum ps_affiliation *out);
const char *ps_state_name(enum ps_state s);
bool ps_state_find(slice name, enum ps_state *out);
