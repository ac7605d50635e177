/* caps_info: what a client says about itself in a disco#info answer, held against the hash that it
 * announced: Entity Capabilities (XEP-0115 §5) and their second version (XEP-0390 §4). Pure.
 *
 * Limits: CAPS_PARTS_MAX identities, features, forms, fields and values in all; an answer with more
 * is not verified. */
#pragma once
#include "base/slice.h"

struct arena;
struct elem;

enum { CAPS_PARTS_MAX = 2048, CAPS_INPUT_BYTES_MAX = 256 << 10, CAPS_HASH_MAX = 256 };

enum caps_version { CAPS_1, CAPS_2 };

/* Capabilities that a presence announces. */
struct caps_key {
    enum caps_version version;
    slice algo;  /* "sha-1"; empty: a client that knows no hashes (before XEP-0115 1.4) */
    slice value; /* base64 */
    slice node;  /* to ask for: disco#info at this node */
};

/* From <c xmlns='http://jabber.org/protocol/caps'/>. false: it says nothing. */
bool caps_key_1(struct caps_key *out, const struct elem *c, struct arena *tmp);
/* From <c xmlns='urn:xmpp:caps'/>: the best hash that we can verify. */
bool caps_key_2(struct caps_key *out, const struct elem *c, struct arena *tmp);

/* Whether the answer is what was announced. */
bool caps_verify(const struct caps_key *key, const struct elem *query, struct arena *tmp);

/* The features that end in "+notify", without that, sorted, each once. */
unsigned caps_wanted(const struct elem *query, struct arena *tmp, const slice **out);
