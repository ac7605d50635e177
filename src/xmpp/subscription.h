/* subscription: the presence subscription state machines of RFC 6121 Appendix A (and pre-approval,
 * §3.4) as tables: state × stanza × direction -> what to do. Pure. One entry is one roster item seen
 * from the server of its owner. */
#pragma once
#include <stdint.h>

enum sub_state { /* RFC 6121 §A.1, in this order; stored in the database as these numbers */
    SUB_NONE, SUB_NONE_PENDING_OUT, SUB_NONE_PENDING_IN, SUB_NONE_PENDING_OUT_IN,
    SUB_TO, SUB_TO_PENDING_IN, SUB_FROM, SUB_FROM_PENDING_OUT, SUB_BOTH, SUB_STATE_COUNT
};
enum sub_verb { SUB_SUBSCRIBE, SUB_SUBSCRIBED, SUB_UNSUBSCRIBE, SUB_UNSUBSCRIBED, SUB_VERB_COUNT };
enum sub_dir { SUB_OUT, SUB_IN };

enum sub_action { /* bits */
    SUB_ROUTE = 1,        /* outbound: send it on; the contact's server must get it */
    SUB_DELIVER = 2,      /* inbound: deliver it to the owner's interested resources (or keep it: pending-in) */
    SUB_PUSH = 4,         /* the roster item changed as seen by clients: roster push */
    SUB_AUTO_SUBSCRIBED = 8,   /* inbound subscribe: answer `subscribed` on behalf of the owner (§3.1.3, §3.4) */
    SUB_AUTO_UNSUBSCRIBED = 16,/* inbound: answer `unsubscribed` */
    SUB_SEND_PRESENCE = 32,    /* the contact may see us from now: send current presence of our available resources */
    SUB_SEND_UNAVAILABLE = 64, /* it may no longer: send unavailable from each available resource */
    SUB_PROBE = 128,           /* we may see it from now */
    SUB_SET_PREAPPROVED = 256, /* §3.4.2 */
    SUB_CLEAR_PREAPPROVED = 512,
    SUB_CREATE = 1024     /* an item must exist afterwards that clients see (with `ask`) */
};
struct sub_result {
    enum sub_state state;
    uint32_t actions;
};
struct sub_result sub_next(enum sub_state state, int preapproved, enum sub_verb verb, enum sub_dir dir);

const char *sub_state_subscription(enum sub_state s); /* "none", "to", "from", "both" */
int sub_state_ask(enum sub_state s);                  /* pending out: ask='subscribe' */
int sub_state_pending_in(enum sub_state s);
int sub_sees(enum sub_state s);    /* owner receives the contact's presence: to, both */
int sub_is_seen(enum sub_state s); /* contact receives the owner's presence: from, both */
const char *sub_verb_name(enum sub_verb v);
