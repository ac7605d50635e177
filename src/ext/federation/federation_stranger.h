/* federation_stranger: what strangers on other servers may say to a user. A stranger is an address
 * that is not in the contact list, and that the user has not written to. How many a domain may have
 * is limited, and a setting lets them write only after the user, or a policy, has accepted them.
 *
 * What counts is everything with content that a client shows unasked: messages of all types, and
 * presence with content; of errors, what is there beside their condition. An invitation that a room
 * of ours passes on is a word of its inviter. One of a foreign room is the room's, except that a
 * server is believed about inviters at its own domain.
 *
 * At the home of the account, or of the address that nobody has. */
#pragma once
#include "base/slice.h"

struct account;
struct federation_rates;
struct setting;
struct stanza;
struct worker;

extern struct setting federation_stranger_rate, federation_stranger_messages;

enum stranger_word {
    STRANGER_HEARD,      /* or it is none */
    STRANGER_UNAPPROVED, /* the user would have to be asked */
    STRANGER_TOO_MANY    /* of its domain */
};
/* Whether the addressee (a, or NULL: nobody has that address, which has accepted nobody) is to hear
 * it. A stranger who is heard is counted. */
enum stranger_word federation_stranger(struct federation_rates *r, struct worker *w,
                                       const struct account *a, const struct stanza *st);
/* The user sends something that its addressees may answer. */
void federation_stranger_met(struct federation_rates *r, const struct account *a,
                             const struct stanza *st);
