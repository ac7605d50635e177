/* roster: the contacts of one account (RFC 6121 §2) in memory while the account is loaded, and
 * their rows. Confined to the home worker of the account. Changes go through account_change() as
 * deltas; roster_apply() is pure: the same deltas give the same roster (architecture §3).
 *
 * An account that never had a contact has no roster at all (NULL): every function here that takes a
 * const roster accepts NULL as the empty one. An item is one block; items of contacts that see the
 * owner come first in one array, so that a presence broadcast is a linear walk.
 *
 * Limits (settings): roster.contacts-max, roster.watchers-max, roster.name-bytes,
 * roster.groups-max; a kept subscription request: ROSTER_REQUEST_BYTES_MAX. */
#pragma once
#include "base/map.h"
#include "base/setting.h"
#include "base/slice.h"
#include "store/store.h"
#include "xmpp/subscription.h"

struct account;
struct buf;
struct xml_write;
struct session;
struct worker;

enum {
    ROSTER_LISTED = 1,      /* clients see it; else it only keeps a request (RFC 6121 §3.1.3) */
    ROSTER_PREAPPROVED = 2, /* §3.4 */
    ROSTER_REQUEST_BYTES_MAX = 8192
};

struct roster_item {
    uint64_t version;    /* of the roster when clients last saw it change */
    uint32_t at;         /* in roster.items */
    uint32_t groups_len; /* each group ends with a NUL */
    uint16_t jid_len, name_len, request_len;
    uint8_t state, flags; /* enum sub_state, ROSTER_ bits */
    char text[];          /* jid, name, groups, request */
};

struct roster {
    struct map by_jid;
    struct roster_item **items; /* the first `seen` are from or both */
    uint32_t count, cap;
    uint32_t seen, pending, listed; /* how many see the owner, wait for approval, are shown */
    uint64_t version;               /* rises with every change that clients see (§2.6) */
    uint64_t removed;               /* version of the last removal: older clients get all */
};

static inline slice roster_item_jid(const struct roster_item *i)
{
    return (slice){ i->text, i->jid_len };
}
static inline slice roster_item_name(const struct roster_item *i)
{
    return (slice){ i->text + i->jid_len, i->name_len };
}
static inline slice roster_item_groups(const struct roster_item *i)
{
    return (slice){ i->text + i->jid_len + i->name_len, i->groups_len };
}
/* The inbound subscribe that waits for an answer, as by stanza_store(); empty: none. */
static inline slice roster_item_request(const struct roster_item *i)
{
    return (slice){ i->text + i->jid_len + i->name_len + i->groups_len, i->request_len };
}

/* A change: the item as it is afterwards. Its slices are borrowed until it is applied. */
enum roster_op {
    ROSTER_PUT,
    ROSTER_DELETE,
    ROSTER_MARK /* only the versions, when loading */
};
struct roster_delta {
    enum roster_op op;
    uint8_t state, flags;
    slice jid, name, groups, request;
    uint64_t item_version;
    uint64_t version, removed; /* of the roster */
};
/* Whether the change is one that clients see. */
enum roster_view { ROSTER_HIDDEN, ROSTER_SHOWN };

/* The item as it is now (or a new one, not listed, in state none), to be edited. */
struct roster_delta roster_edit(const struct roster *r, slice jid);
/* Ends the editing: an item that says nothing any more is deleted; versions are set. */
void roster_seal(const struct roster *r, struct roster_delta *d, enum roster_view view);
bool roster_delta_is_new(const struct roster *r,
                         const struct roster_delta *d); /* not listed before */
void roster_apply(struct roster *r, const struct roster_delta *d);

void roster_init(struct roster *r);
void roster_fini(struct roster *r);
const struct roster_item *roster_find(const struct roster *r, slice jid);

/* Appends an <item/> as it is stored. */
void roster_item_write(struct xml_write *x, const struct roster_item *i);
/* Begins one, with what is in front of the groups. */
void roster_item_open(struct xml_write *x, slice jid, slice name, uint8_t state, uint8_t flags);
/* Begins a <query/> that says which version of the roster its items are of. */
void roster_query_open(struct xml_write *x, const struct account *a, uint64_t version);

/* What the router and others ask; with groups: presence/roster_view.h. */
bool roster_sees(const struct account *a,
                 slice contact); /* to, both: owner gets the contact's presence */
bool roster_is_seen(const struct account *a,
                    slice contact);             /* from, both: contact gets the owner's */
unsigned roster_count(const struct account *a); /* contacts of its own that clients see */
