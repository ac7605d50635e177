/* contact_name: by which of its addresses a contact on another server knows an account
 * (xmpp/stanza.h, struct stanza.named). RFC 6121 §3 binds a subscription to the address that was
 * asked, and each direction is a subscription of its own, so the item of the roster has a flag for
 * each: ROSTER_SEEN_BY_MAIL for that by which the contact has asked, ROSTER_ASKED_BY_MAIL for that
 * by which the account has asked. Without it the contact knows the address of the account, as one
 * does that is older than the mail address. */
#pragma once
#include "im/roster.h"
#include "xmpp/stanza.h"

struct account;

/* Which direction counts first. */
enum contact_axis {
    CONTACT_SEES, /* the contact sees the account, or has asked to */
    CONTACT_SEEN  /* the account sees the contact, or has asked to */
};
/* NAMED_USUAL: it knows none yet. */
enum stanza_named contact_name(const struct roster *r, slice contact, enum contact_axis axis);
/* The same for a stanza that the account sends, by its type. */
enum stanza_named contact_name_of(const struct roster *r, const struct stanza *st);
/* Whether what the contact says of this direction was said to another address than it knows, where
 * it is about nothing. */
bool contact_name_is_other(const struct roster *r, const struct stanza *st, enum contact_axis axis);
/* Notes in a change that a subscription is asked for: by the contact, or by the account. named: by
 * which address, as contact_name() or the stanza of the contact says. */
void contact_name_asked_by_it(struct roster_delta *d, enum stanza_named named);
void contact_name_asked_by_us(const struct account *a, struct roster_delta *d,
                              enum stanza_named named);
/* For the state in it: a direction without a subscription has no address. */
void contact_name_fit(struct roster_delta *d);
