/* delivery: the delivery rules of RFC 6121 §8 (Table 1 and text) as a table: what happens to a
 * stanza for a local account, by kind and type, by the form of its address and by what resources
 * there are. A bare-JID message goes to all sessions of non-negative priority. Pure. */
#pragma once
#include "xmpp/stanza_kind.h"
#include <stdbool.h>

struct stanza;

enum delivery_to { TO_BARE, TO_FULL };
/* Sessions that the account has. */
enum delivery_have {
    HAVE_NO_ACCOUNT,
    HAVE_NONE,     /* no available resource */
    HAVE_NEGATIVE, /* only available resources of negative priority */
    HAVE_SOME,     /* one of non-negative priority; with TO_FULL: but not the one asked for */
    HAVE_MATCH     /* TO_FULL: the resource asked for is connected */
};
enum delivery {
    DELIVER_NONE,    /* silently ignored */
    DELIVER_ERROR,   /* service-unavailable */
    DELIVER_STORE,   /* offline: kept, or service-unavailable where nothing is kept */
    DELIVER_ALL,     /* messages: to all resources of non-negative priority; presence: to all */
    DELIVER_MATCH,   /* to the resource */
    DELIVER_AS_BARE, /* as if it had been addressed to the bare JID */
    DELIVER_ACCOUNT  /* the server answers on behalf of the account (IQ, subscription, probe) */
};
enum delivery delivery_rule(enum stanza_kind kind, enum stanza_type type, enum delivery_to to,
                            enum delivery_have have);

/* Whether a message is worth keeping for its addressee. */
bool message_storable(const struct stanza *st);
/* The same of what is said in a room, of any type: not of chat states alone, and by its hints
 * (XEP-0334). */
bool message_room_storable(const struct stanza *st);
/* Whether a message is worth a notification: a text, which may be encrypted, or a call (XEP-0353).
 * Messages of a room go to the client that is in the room, messages to the account to all clients.
 */
bool message_notifies(const struct stanza *st);
