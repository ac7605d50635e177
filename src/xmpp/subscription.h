/* subscription: the presence subscription state machines of RFC 6121 Appendix A (and pre-approval,
 * §3.4) as tables: state × stanza × direction -> what to do. Pure. One entry is one roster item
 * seen from the server of its owner. */
#pragma once
#include <stdint.h>

/* RFC 6121 §A.1, in this order; stored in the database as these numbers. */
enum sub_state {
    SUB_NONE,
    SUB_NONE_PENDING_OUT,
    SUB_NONE_PENDING_IN,
    SUB_NONE_PENDING_OUT_IN,
    SUB_TO,
    SUB_TO_PENDING_IN,
    SUB_FROM,
    SUB_FROM_PENDING_OUT,
    SUB_BOTH,
    SUB_STATE_COUNT
};
/* The numbers travel between nodes. */
enum sub_verb {
    SUB_SUBSCRIBE = 0,
    SUB_SUBSCRIBED = 1,
    SUB_UNSUBSCRIBE = 2,
    SUB_UNSUBSCRIBED = 3,
    SUB_VERB_COUNT
};
enum sub_dir { SUB_OUT, SUB_IN };

/* Bits. Presence goes to the contact from each available resource of the owner. No probe follows an
 * approval: the contact's server sends its presence by itself (§3.1.5). */
enum sub_action {
    SUB_ROUTE = 1,              /* outbound: send it on to the contact */
    SUB_DELIVER = 2,            /* inbound: to the owner's interested resources */
    SUB_PUSH = 4,               /* what clients see of the item changed */
    SUB_AUTO_SUBSCRIBED = 8,    /* answer `subscribed` on behalf of the owner (§3.1.3, §3.4) */
    SUB_AUTO_UNSUBSCRIBED = 16, /* answer `unsubscribed`: for limits of the caller, never here */
    SUB_SEND_PRESENCE = 32,     /* the contact sees the owner from now on */
    SUB_SEND_UNAVAILABLE = 64,  /* and from now on no longer */
    SUB_SET_PREAPPROVED = 128,  /* §3.4.2 */
    SUB_CLEAR_PREAPPROVED = 256,
    SUB_CREATE = 512 /* the item must exist and be visible to clients */
};
struct sub_result {
    enum sub_state state;
    uint32_t actions;
};
struct sub_result sub_next(enum sub_state state, int preapproved, enum sub_verb verb,
                           enum sub_dir dir);

/* A `subscribed` or `unsubscribed` came that its sender had sent before it heard of the request
 * that the owner has made since: that request is open. */
struct sub_result sub_crossed(enum sub_state state, enum sub_verb verb);

const char *sub_state_subscription(enum sub_state s); /* "none", "to", "from", "both" */
int sub_state_ask(enum sub_state s);                  /* pending out: ask='subscribe' */
int sub_state_pending_in(enum sub_state s);
int sub_sees(enum sub_state s);    /* owner receives the contact's presence: to, both */
int sub_is_seen(enum sub_state s); /* contact receives the owner's presence: from, both */
const char *sub_verb_name(enum sub_verb v);
