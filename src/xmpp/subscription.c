#include "xmpp/subscription.h"
#include "base/ensure.h"
#include <stdbool.h>

/* A state is four facts; pending-in and seen exclude each other, as do pending-out and sees. */
enum { SEES = 1, SEEN = 2, ASKED = 4, ASKING = 8 }; /* to, from, pending in, pending out */

static const struct {
    unsigned facts;
    const char *subscription; /* RFC 6121 §2.1.2.5 */
} states[SUB_STATE_COUNT] = {
    [SUB_NONE] = { 0, "none" },
    [SUB_NONE_PENDING_OUT] = { ASKING, "none" },
    [SUB_NONE_PENDING_IN] = { ASKED, "none" },
    [SUB_NONE_PENDING_OUT_IN] = { ASKING | ASKED, "none" },
    [SUB_TO] = { SEES, "to" },
    [SUB_TO_PENDING_IN] = { SEES | ASKED, "to" },
    [SUB_FROM] = { SEEN, "from" },
    [SUB_FROM_PENDING_OUT] = { SEEN | ASKING, "from" },
    [SUB_BOTH] = { SEES | SEEN, "both" },
};

/* The tables of RFC 6121 Appendix A.2 and A.3: new state, and what is done. */
struct rule {
    enum sub_state next;
    uint32_t actions;
};
#define STAY(s, actions) [s] = { s, actions }

static const struct rule out_rules[SUB_VERB_COUNT][SUB_STATE_COUNT] = {
    [SUB_SUBSCRIBE] = { /* A.2.1, §3.1.2: always routed */
        [SUB_NONE] = { SUB_NONE_PENDING_OUT, SUB_ROUTE | SUB_PUSH | SUB_CREATE },
        STAY(SUB_NONE_PENDING_OUT, SUB_ROUTE),
        [SUB_NONE_PENDING_IN] = { SUB_NONE_PENDING_OUT_IN, SUB_ROUTE | SUB_PUSH | SUB_CREATE },
        STAY(SUB_NONE_PENDING_OUT_IN, SUB_ROUTE),
        STAY(SUB_TO, SUB_ROUTE),
        STAY(SUB_TO_PENDING_IN, SUB_ROUTE),
        [SUB_FROM] = { SUB_FROM_PENDING_OUT, SUB_ROUTE | SUB_PUSH | SUB_CREATE },
        STAY(SUB_FROM_PENDING_OUT, SUB_ROUTE),
        STAY(SUB_BOTH, SUB_ROUTE),
    },
    [SUB_UNSUBSCRIBE] = { /* A.2.2, §3.3.2: always routed */
        STAY(SUB_NONE, SUB_ROUTE),
        [SUB_NONE_PENDING_OUT] = { SUB_NONE, SUB_ROUTE | SUB_PUSH },
        STAY(SUB_NONE_PENDING_IN, SUB_ROUTE),
        [SUB_NONE_PENDING_OUT_IN] = { SUB_NONE_PENDING_IN, SUB_ROUTE | SUB_PUSH },
        [SUB_TO] = { SUB_NONE, SUB_ROUTE | SUB_PUSH },
        [SUB_TO_PENDING_IN] = { SUB_NONE_PENDING_IN, SUB_ROUTE | SUB_PUSH },
        STAY(SUB_FROM, SUB_ROUTE),
        [SUB_FROM_PENDING_OUT] = { SUB_FROM, SUB_ROUTE | SUB_PUSH },
        [SUB_BOTH] = { SUB_FROM, SUB_ROUTE | SUB_PUSH },
    },
    [SUB_SUBSCRIBED] = { /* A.2.3, §3.1.5; not routed unless asked for (pre-approval: see below) */
        STAY(SUB_NONE, 0),
        STAY(SUB_NONE_PENDING_OUT, 0),
        [SUB_NONE_PENDING_IN] = { SUB_FROM,
                                  SUB_ROUTE | SUB_PUSH | SUB_CREATE | SUB_SEND_PRESENCE },
        [SUB_NONE_PENDING_OUT_IN] = { SUB_FROM_PENDING_OUT,
                                      SUB_ROUTE | SUB_PUSH | SUB_CREATE | SUB_SEND_PRESENCE },
        STAY(SUB_TO, 0),
        [SUB_TO_PENDING_IN] = { SUB_BOTH, SUB_ROUTE | SUB_PUSH | SUB_CREATE | SUB_SEND_PRESENCE },
        STAY(SUB_FROM, 0),
        STAY(SUB_FROM_PENDING_OUT, 0),
        STAY(SUB_BOTH, 0),
    },
    [SUB_UNSUBSCRIBED] = { /* A.2.4, §3.2.2; pending-in is not visible to clients, so no push */
        STAY(SUB_NONE, 0),
        STAY(SUB_NONE_PENDING_OUT, 0),
        [SUB_NONE_PENDING_IN] = { SUB_NONE, SUB_ROUTE },
        [SUB_NONE_PENDING_OUT_IN] = { SUB_NONE_PENDING_OUT, SUB_ROUTE },
        STAY(SUB_TO, 0),
        [SUB_TO_PENDING_IN] = { SUB_TO, SUB_ROUTE },
        [SUB_FROM] = { SUB_NONE, SUB_ROUTE | SUB_PUSH | SUB_SEND_UNAVAILABLE },
        [SUB_FROM_PENDING_OUT] = { SUB_NONE_PENDING_OUT,
                                   SUB_ROUTE | SUB_PUSH | SUB_SEND_UNAVAILABLE },
        [SUB_BOTH] = { SUB_TO, SUB_ROUTE | SUB_PUSH | SUB_SEND_UNAVAILABLE },
    },
};

static const struct rule in_rules[SUB_VERB_COUNT][SUB_STATE_COUNT] = {
    [SUB_SUBSCRIBE] = { /* A.3.1, §3.1.3: asked again: silence; granted: confirmed */
        [SUB_NONE] = { SUB_NONE_PENDING_IN, SUB_DELIVER },
        [SUB_NONE_PENDING_OUT] = { SUB_NONE_PENDING_OUT_IN, SUB_DELIVER },
        STAY(SUB_NONE_PENDING_IN, 0),
        STAY(SUB_NONE_PENDING_OUT_IN, 0),
        [SUB_TO] = { SUB_TO_PENDING_IN, SUB_DELIVER },
        STAY(SUB_TO_PENDING_IN, 0),
        STAY(SUB_FROM, SUB_AUTO_SUBSCRIBED),
        STAY(SUB_FROM_PENDING_OUT, SUB_AUTO_SUBSCRIBED),
        STAY(SUB_BOTH, SUB_AUTO_SUBSCRIBED),
    },
    [SUB_UNSUBSCRIBE] = { /* A.3.2, §3.3.3 */
        STAY(SUB_NONE, 0),
        STAY(SUB_NONE_PENDING_OUT, 0),
        [SUB_NONE_PENDING_IN] = { SUB_NONE, SUB_DELIVER },
        [SUB_NONE_PENDING_OUT_IN] = { SUB_NONE_PENDING_OUT, SUB_DELIVER },
        STAY(SUB_TO, 0),
        [SUB_TO_PENDING_IN] = { SUB_TO, SUB_DELIVER },
        [SUB_FROM] = { SUB_NONE, SUB_DELIVER | SUB_PUSH | SUB_SEND_UNAVAILABLE },
        [SUB_FROM_PENDING_OUT] = { SUB_NONE_PENDING_OUT,
                                   SUB_DELIVER | SUB_PUSH | SUB_SEND_UNAVAILABLE },
        [SUB_BOTH] = { SUB_TO, SUB_DELIVER | SUB_PUSH | SUB_SEND_UNAVAILABLE },
    },
    [SUB_SUBSCRIBED] = { /* A.3.3, §3.1.6: only an answer to a question of ours counts */
        STAY(SUB_NONE, 0),
        [SUB_NONE_PENDING_OUT] = { SUB_TO, SUB_DELIVER | SUB_PUSH },
        STAY(SUB_NONE_PENDING_IN, 0),
        [SUB_NONE_PENDING_OUT_IN] = { SUB_TO_PENDING_IN, SUB_DELIVER | SUB_PUSH },
        STAY(SUB_TO, 0),
        STAY(SUB_TO_PENDING_IN, 0),
        STAY(SUB_FROM, 0),
        [SUB_FROM_PENDING_OUT] = { SUB_BOTH, SUB_DELIVER | SUB_PUSH },
        STAY(SUB_BOTH, 0),
    },
    [SUB_UNSUBSCRIBED] = { /* A.3.4, §3.2.3 */
        STAY(SUB_NONE, 0),
        [SUB_NONE_PENDING_OUT] = { SUB_NONE, SUB_DELIVER | SUB_PUSH },
        STAY(SUB_NONE_PENDING_IN, 0),
        [SUB_NONE_PENDING_OUT_IN] = { SUB_NONE_PENDING_IN, SUB_DELIVER | SUB_PUSH },
        [SUB_TO] = { SUB_NONE, SUB_DELIVER | SUB_PUSH },
        [SUB_TO_PENDING_IN] = { SUB_NONE_PENDING_IN, SUB_DELIVER | SUB_PUSH },
        STAY(SUB_FROM, 0),
        [SUB_FROM_PENDING_OUT] = { SUB_FROM, SUB_DELIVER | SUB_PUSH },
        [SUB_BOTH] = { SUB_FROM, SUB_DELIVER | SUB_PUSH },
    },
};

static bool xmpp_subscription_has(enum sub_state s, unsigned fact)
{
    ensure((unsigned)s < SUB_STATE_COUNT);
    return (states[s].facts & fact) != 0;
}

static enum sub_state state_with(unsigned facts)
{
    unsigned s = 0;
    while (s < SUB_STATE_COUNT && states[s].facts != facts)
        s++;
    ensure(s < SUB_STATE_COUNT);
    return (enum sub_state)s;
}

/* §3.4.2: `subscribed` sent ahead of any request is noted, not routed. */
static struct sub_result pre_approve(enum sub_state state, int preapproved)
{
    uint32_t noted = SUB_SET_PREAPPROVED | SUB_PUSH | SUB_CREATE;
    return (struct sub_result){ state, preapproved ? 0 : noted };
}

/* §3.4.2: the request that was approved ahead is granted; the approval is used up by it. */
static struct sub_result grant(enum sub_state state)
{
    return (struct sub_result){
        state_with((states[state].facts & ~(unsigned)ASKED) | SEEN),
        SUB_AUTO_SUBSCRIBED | SUB_PUSH | SUB_SEND_PRESENCE | SUB_CLEAR_PREAPPROVED,
    };
}

struct sub_result sub_next(enum sub_state state, int preapproved, enum sub_verb verb,
                           enum sub_dir dir)
{
    ensure((unsigned)state < SUB_STATE_COUNT && (unsigned)verb < SUB_VERB_COUNT);
    if (dir == SUB_OUT && verb == SUB_SUBSCRIBED && !xmpp_subscription_has(state, ASKED | SEEN))
        return pre_approve(state, preapproved);
    if (dir == SUB_IN && verb == SUB_SUBSCRIBE && preapproved &&
        !xmpp_subscription_has(state, SEEN))
        return grant(state);
    const struct rule *rule = dir == SUB_OUT ? &out_rules[verb][state] : &in_rules[verb][state];
    struct sub_result result = { rule->next, rule->actions };
    /* A.2.4, note: `unsubscribed` takes an approval back, which clients see */
    if (dir == SUB_OUT && verb == SUB_UNSUBSCRIBED && preapproved)
        result.actions |= SUB_CLEAR_PREAPPROVED | SUB_PUSH;
    return result;
}

struct sub_result sub_crossed(enum sub_state state, enum sub_verb verb)
{
    if (verb != SUB_UNSUBSCRIBED || !xmpp_subscription_has(state, SEES))
        return (struct sub_result){ state, 0 };
    return (struct sub_result){ state_with((states[state].facts & ~(unsigned)SEES) | ASKING),
                                SUB_DELIVER | SUB_PUSH };
}

const char *sub_state_subscription(enum sub_state s)
{
    ensure((unsigned)s < SUB_STATE_COUNT);
    return states[s].subscription;
}

int sub_state_ask(enum sub_state s) { return xmpp_subscription_has(s, ASKING); }
int sub_state_pending_in(enum sub_state s) { return xmpp_subscription_has(s, ASKED); }
int sub_sees(enum sub_state s) { return xmpp_subscription_has(s, SEES); }
int sub_is_seen(enum sub_state s) { return xmpp_subscription_has(s, SEEN); }

const char *sub_verb_name(enum sub_verb v)
{
    static const char *const names[SUB_VERB_COUNT] = { "subscribe", "subscribed", "unsubscribe",
                                                       "unsubscribed" };
    ensure((unsigned)v < SUB_VERB_COUNT);
    return names[v];
}
