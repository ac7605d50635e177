/* roster_iq: the requests of RFC 6121 §2.2-§2.6 in the namespace jabber:iq:roster. A set is one
 * mutation; its result follows the roster pushes that its commit caused. */
#pragma once
#include "presence/roster.h"
#include "talk/iq.h"

struct account;
struct stanza;
struct store_batch;

extern const struct iq_rule roster_iq_rules[];

/* A sealed delta with what the contact is told when it is committed. Owns the stanzas. */
struct roster_change {
    struct roster_delta delta;
    struct stanza *announce[2]; /* NULL: none */
    bool hides;                 /* the contact has seen the account and no longer does */
};
/* The removal of a contact (RFC 6121 §2.5.2) from an account that is READY. false: not listed. */
bool roster_removal_plan(const struct account *a, slice jid, struct roster_change *out);
void roster_change_store(struct store_batch *b, const struct account *a,
                         const struct roster_change *r);
void roster_change_commit(struct account *a, struct roster_change *r); /* when that is stored */
void roster_change_drop(struct roster_change *r);                      /* when it is not */
