/* caps: what the clients of the sessions here want to be told: the features "<node>+notify" of
 * their capabilities (XEP-0060 §9.2, XEP-0115, XEP-0390). A hash that nobody has explained yet is
 * asked for once, of one client that announces it, or of several where they are slow, and believed
 * when the answer has that hash; an answer that has not counts for the client that gave it alone.
 *
 * Confined to the home worker of the sessions; each worker has a cache of its own. Limits:
 * CAPS_UNUSED_MAX sets that no session uses, CAPS_NODES_MAX nodes a set, CAPS_REMOTES_MAX resources
 * of contacts elsewhere an account (the oldest gives way). */
#pragma once
#include "base/slice.h"

struct account;
struct feature;
struct session;

extern const struct feature caps_feature; /* XEP-0115, XEP-0390 of clients */

/* Events that contacts' accounts give to who wants them (XEP-0163). In struct feature; one has it.
 * At the home of the session or account. */
struct personal_events {
    /* The account asks for the presence of a contact that it sees from now on. */
    void (*probed)(struct account *a, slice contact);
    /* Available and of non-negative priority, it wants nodes that it did not want before: it became
     * that, or its client announces other capabilities. */
    void (*wants)(struct session *s, const slice *nodes, unsigned count);
    /* The same of a contact's resource elsewhere whose presence the account has seen. */
    void (*contact_wants)(struct account *a, slice jid, const slice *nodes, unsigned count);
};

enum { CAPS_UNUSED_MAX = 500, CAPS_NODES_MAX = 256, CAPS_REMOTES_MAX = 1000 };

/* Whether the client wants events of this node. */
bool caps_wants(struct session *s, slice node);

/* All that it wants, sorted; borrowed until the next presence. */
unsigned caps_nodes(struct session *s, const slice **out);

/* What kind of client it is (its identity); NULL: it does not say, or not yet. */
struct caps_client {
    char device[16];   /* "phone"; empty: unknown */
    char software[64]; /* its name, cut where needed */
};
const struct caps_client *caps_client(struct session *s);

/* It is available, and its priority has become non-negative, or negative: it gets what is sent to
 * the account from now on, or no longer. */
void caps_receives(struct session *s);
/* A contact begins or ceases to see the account's presence, and has been told. */
void caps_contact_shown(struct account *a, slice contact, bool shown);

/* Calls fn for the full JIDs of contacts' resources that are not at home here, as their presence
 * was seen by this account, that see the account's presence, and that want the node. */
typedef void caps_remote_fn(slice jid, void *arg);
void caps_remotes_each(const struct account *a, slice node, caps_remote_fn *fn, void *arg);
