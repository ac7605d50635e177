/* rules: a list of rules that say which stanzas may pass between an account and its peers: by
 * address, roster group, subscription, or for everyone (XEP-0016 §2.1). The rule of the lowest
 * order that fits decides; where none fits, the stanza passes (§2.2). Rules are found by a hash of
 * their value, so a long list costs no more than a short one. Pure.
 *
 * Limits are the owner's: rules_count(). */
#pragma once
#include "base/map.h"
#include "base/slice.h"
#include <stdint.h>

enum rule_type { RULE_EVERYONE, RULE_JID, RULE_GROUP, RULE_SUBSCRIPTION };
enum { RULE_TYPES = RULE_SUBSCRIPTION + 1 };
enum rule_action { RULE_ALLOW, RULE_DENY, RULE_ASK /* subscription requests go to the owner */ };

/* What a rule is about; bits. A rule without children is about all of it (XEP-0016 §2.13). */
enum rule_kind {
    RULE_MESSAGE = 1,      /* incoming messages */
    RULE_IQ = 2,           /* incoming IQs */
    RULE_PRESENCE_IN = 4,  /* incoming notifications: available and unavailable */
    RULE_PRESENCE_OUT = 8, /* outgoing ones */
    RULE_REST = 16,        /* all else, in both directions */
    RULE_ALL = 31
};

/* Values of type RULE_SUBSCRIPTION; in rule.value as "none", "to", "from", "both". */
struct rule {
    slice value; /* empty for RULE_EVERYONE; a JID is prepared */
    int64_t order;
    uint8_t type, action, kinds; /* enum rule_type, enum rule_action, RULE_ bits */
};

struct rule_item;
struct rules {
    struct rules *next;              /* of the same owner */
    struct map by_value[RULE_TYPES]; /* the first rule of each value */
    struct rule_item **items;        /* by order */
    uint32_t count, cap;
    uint32_t domains; /* rules for a domain */
    uint16_t name_len;
    char name[];
};

struct rules *rules_create(slice name);
void rules_destroy(struct rules **r); /* NULL is fine */
static inline slice rules_name(const struct rules *r) { return (slice){ r->name, r->name_len }; }
static inline uint32_t rules_count(const struct rules *r) { return r == NULL ? 0 : r->count; }
void rules_clear(struct rules *r);
void rules_put(struct rules *r, const struct rule *rule); /* replaces the one of that order */
bool rules_drop(struct rules *r, int64_t order);          /* false: there is none */
struct rule rules_at(const struct rules *r, uint32_t i);  /* by order; borrowed from the list */
/* The order that comes before all others. */
int64_t rules_order_first(const struct rules *r);

/* Another party, as the owner knows it. */
struct rule_peer {
    slice jid;          /* bare or full, prepared */
    slice groups;       /* of its roster item, each ends with a NUL */
    slice subscription; /* "none", "to", "from", "both" */
};
/* Whether groups and subscription of the peer matter. */
static inline bool rules_know_roster(const struct rules *r)
{
    return r != NULL &&
           (r->by_value[RULE_GROUP].count > 0 || r->by_value[RULE_SUBSCRIPTION].count > 0);
}
/* The rule that decides; false: none, the stanza passes. `kind` is one bit. r may be NULL. */
bool rules_match(const struct rules *r, const struct rule_peer *peer, enum rule_kind kind,
                 struct rule *out);
bool rules_deny(const struct rules *r, const struct rule_peer *peer, enum rule_kind kind);

/* Block lists are the rules that deny everything to an address (XEP-0191 §3). */
static inline bool rule_blocks(const struct rule *r)
{
    return r->type == RULE_JID && r->action == RULE_DENY && r->kinds == RULE_ALL;
}
/* The first rule behind the order `after` that blocks this address; false: there is none. r may be
 * NULL. */
bool rules_find_block(const struct rules *r, slice jid, int64_t after, struct rule *out);
