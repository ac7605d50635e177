#include "xmpp/stream.h"
#include "base/ensure.h"
#include "xmpp/ns.h"

#define BIT(name) (1u << STREAM_##name)

enum {
    ELEMENTS = BIT(GOT_UNREADABLE) | BIT(GOT_FEATURES) | BIT(GOT_ERROR) | BIT(GOT_STARTTLS) |
               BIT(GOT_STARTTLS_AGAIN) | BIT(GOT_PROCEED) | BIT(GOT_TLS) | BIT(GOT_SASL) |
               BIT(GOT_SASL2) | BIT(GOT_SM) | BIT(GOT_HANDSHAKE) | BIT(GOT_STANZA),
    FROM_PEER = ELEMENTS | BIT(GOT_HEADER) | BIT(GOT_END),
    OF_LOGIN = BIT(GOT_STARTTLS) | BIT(GOT_STARTTLS_AGAIN) | BIT(GOT_PROCEED) | BIT(GOT_TLS) |
               BIT(GOT_SASL) | BIT(GOT_SASL2),
    ALL_INPUTS = (1u << STREAM_INPUT_COUNT) - 1,
    ALL_STATES = (1u << STREAM_STATE_COUNT) - 1,
    SAME = STREAM_STATE_COUNT /* the state stays */
};

enum reason {
    NO_REASON,
    HEADER_FIRST,
    SECOND_HEADER,
    LOGIN_FIRST,
    LOGIN_UNDER_WAY,
    LOGIN_TWICE,
    NOT_AN_ELEMENT,
    BIND_FIRST,
    HANDSHAKE_FIRST,
    FEATURES_FIRST,
    UNASKED
};

/* RFC 6120 §4.9.3 */
static const struct {
    enum stream_error error;
    const char *text;
} reasons[] = {
    [NO_REASON] = { XE_NONE, "" },
    [HEADER_FIRST] = { XE_NOT_WELL_FORMED, "a stream header must come first" },
    [SECOND_HEADER] = { XE_NOT_WELL_FORMED, "a second stream header" },
    [LOGIN_FIRST] = { XE_NOT_AUTHORIZED, "log in first" },
    [LOGIN_UNDER_WAY] = { XE_POLICY_VIOLATION, "an authentication is under way" },
    [LOGIN_TWICE] = { XE_POLICY_VIOLATION, "already authenticated" },
    [NOT_AN_ELEMENT] = { XE_INVALID_XML, "" },
    [BIND_FIRST] = { XE_NOT_AUTHORIZED, "bind a resource first" },
    [HANDSHAKE_FIRST] = { XE_NOT_AUTHORIZED, "a handshake must come first" },
    [FEATURES_FIRST] = { XE_UNSUPPORTED_STANZA_TYPE, "the features must come first" },
    [UNASKED] = { XE_UNSUPPORTED_STANZA_TYPE, "nothing was asked that this answers" },
};

/* The cells of some states and inputs. The first rule that fits is the cell. */
struct rule {
    uint32_t states, inputs; /* a bit each */
    uint8_t next, action, reason;
};

/* WebSocket and BOSH have TLS below them, or not at all. */
static const struct rule from_framed[] = {
    { BIT(FEATURES), BIT(GOT_STARTTLS) | BIT(GOT_STARTTLS_AGAIN), SAME, STREAM_DO_EARLY,
      LOGIN_FIRST },
    { 0 },
};

static const struct rule from_client[] = {
    { BIT(OPEN), BIT(GOT_HEADER), STREAM_FEATURES, STREAM_DO_HEADER, NO_REASON },
    { BIT(OPEN), BIT(SECURED), SAME, STREAM_NONE, NO_REASON }, /* direct TLS */
    { BIT(FEATURES), BIT(GOT_STARTTLS), STREAM_TLS, STREAM_DO_TLS, NO_REASON },
    { BIT(FEATURES), BIT(GOT_STARTTLS_AGAIN), STREAM_CLOSED, STREAM_DO_NO_TLS, NO_REASON },
    { BIT(FEATURES), BIT(GOT_SASL), SAME, STREAM_DO_SASL, NO_REASON },
    { BIT(FEATURES), BIT(GOT_SASL2), SAME, STREAM_DO_SASL2, NO_REASON },
    { BIT(FEATURES), BIT(GOT_SM), SAME, STREAM_DO_SM, NO_REASON }, /* XEP-0198 §3: after binding */
    { BIT(FEATURES), ELEMENTS, SAME, STREAM_DO_EARLY, LOGIN_FIRST },
    { BIT(FEATURES), BIT(BEGIN_SASL2), STREAM_SASL2, STREAM_NONE, NO_REASON },
    { BIT(FEATURES), BIT(PASSED), STREAM_AUTHED_OPEN, STREAM_RESTART, NO_REASON },
    { BIT(FEATURES), BIT(REFUSED), SAME, STREAM_NONE, NO_REASON },
    { BIT(SASL2), BIT(GOT_SASL2), SAME, STREAM_DO_SASL2, NO_REASON },
    { BIT(SASL2), ELEMENTS, STREAM_CLOSED, STREAM_FAIL, LOGIN_UNDER_WAY }, /* XEP-0388 §2.4 */
    { BIT(SASL2), BIT(PASSED_ON), STREAM_COMPLETING, STREAM_NONE, NO_REASON },
    { BIT(SASL2), BIT(REFUSED), STREAM_FEATURES, STREAM_NONE, NO_REASON },
    { BIT(TLS), FROM_PEER, SAME, STREAM_WAIT, NO_REASON },
    { BIT(TLS), BIT(SECURED), STREAM_OPEN, STREAM_NONE, NO_REASON },
    { BIT(AUTHED_OPEN), BIT(GOT_HEADER), STREAM_AUTHED, STREAM_DO_HEADER, NO_REASON },
    { BIT(OPEN) | BIT(AUTHED_OPEN), ELEMENTS, STREAM_CLOSED, STREAM_FAIL, HEADER_FIRST },
    { BIT(AUTHED), BIT(GOT_UNREADABLE), STREAM_CLOSED, STREAM_FAIL, NOT_AN_ELEMENT },
    { BIT(AUTHED), BIT(GOT_SM), SAME, STREAM_DO_SM, NO_REASON },
    { BIT(AUTHED), OF_LOGIN, STREAM_CLOSED, STREAM_FAIL, LOGIN_TWICE },
    { BIT(AUTHED), ELEMENTS, SAME, STREAM_DO_BIND, BIND_FIRST }, /* RFC 6120 §7.1 */
    { BIT(AUTHED), BIT(ASK_BIND), STREAM_BINDING, STREAM_NONE, NO_REASON },
    { BIT(COMPLETING) | BIT(BINDING), FROM_PEER, SAME, STREAM_WAIT, NO_REASON },
    { BIT(COMPLETING) | BIT(BINDING), BIT(IS_BOUND), STREAM_BOUND, STREAM_NONE, NO_REASON },
    { BIT(COMPLETING), BIT(ASK_BIND), SAME, STREAM_NONE, NO_REASON },
    { BIT(COMPLETING), BIT(REFUSED), STREAM_FEATURES, STREAM_NONE, NO_REASON },
    { BIT(COMPLETING), BIT(UNBOUND), STREAM_AUTHED, STREAM_NONE, NO_REASON },
    { BIT(BINDING), BIT(REFUSED), STREAM_AUTHED, STREAM_NONE, NO_REASON },
    { BIT(BOUND), ELEMENTS, SAME, STREAM_DO_STANZA, NO_REASON },
    { 0 },
};

static const struct rule from_component[] = {
    { BIT(OPEN), BIT(GOT_HEADER), STREAM_HANDSHAKE, STREAM_DO_HEADER, NO_REASON },
    { BIT(OPEN), ELEMENTS, STREAM_CLOSED, STREAM_FAIL, HEADER_FIRST },
    { BIT(HANDSHAKE), BIT(GOT_HANDSHAKE), STREAM_CHECKING, STREAM_DO_HANDSHAKE, NO_REASON },
    { BIT(HANDSHAKE), ELEMENTS, STREAM_CLOSED, STREAM_FAIL, HANDSHAKE_FIRST },
    { BIT(CHECKING) | BIT(BINDING), FROM_PEER, SAME, STREAM_WAIT, NO_REASON },
    { BIT(CHECKING), BIT(PASSED), STREAM_BINDING, STREAM_NONE, NO_REASON },
    { BIT(BINDING), BIT(IS_BOUND), STREAM_BOUND, STREAM_NONE, NO_REASON },
    { BIT(BOUND), ELEMENTS, SAME, STREAM_DO_STANZA, NO_REASON },
    { 0 },
};

/* Elements of dialback (XEP-0220) are early requests, and stanzas to whom they come in BOUND. */
static const struct rule from_server[] = {
    { BIT(OPEN), BIT(GOT_HEADER), STREAM_FEATURES, STREAM_DO_HEADER, NO_REASON },
    { BIT(OPEN), BIT(SECURED), SAME, STREAM_NONE, NO_REASON }, /* direct TLS */
    { BIT(AUTHED_OPEN), BIT(GOT_HEADER), STREAM_BOUND, STREAM_DO_HEADER, NO_REASON },
    { BIT(OPEN) | BIT(AUTHED_OPEN), ELEMENTS, STREAM_CLOSED, STREAM_FAIL, HEADER_FIRST },
    { BIT(FEATURES) | BIT(BOUND), BIT(GOT_ERROR), STREAM_CLOSED, STREAM_HEARD, NO_REASON },
    { BIT(FEATURES), BIT(GOT_STARTTLS), STREAM_TLS, STREAM_DO_TLS, NO_REASON },
    { BIT(FEATURES), BIT(GOT_STARTTLS_AGAIN), STREAM_CLOSED, STREAM_DO_NO_TLS, NO_REASON },
    { BIT(FEATURES), BIT(GOT_SASL), SAME, STREAM_DO_SASL, NO_REASON },
    { BIT(FEATURES), BIT(GOT_UNREADABLE), STREAM_CLOSED, STREAM_FAIL, NOT_AN_ELEMENT },
    { BIT(FEATURES), ELEMENTS, SAME, STREAM_DO_EARLY, LOGIN_FIRST },
    { BIT(FEATURES), BIT(PASSED), STREAM_AUTHED_OPEN, STREAM_RESTART, NO_REASON },
    { BIT(FEATURES), BIT(PASSED_ON), STREAM_BOUND, STREAM_NONE, NO_REASON },
    { BIT(TLS), FROM_PEER, SAME, STREAM_WAIT, NO_REASON },
    { BIT(TLS), BIT(SECURED), STREAM_OPEN, STREAM_NONE, NO_REASON },
    { BIT(BOUND), ELEMENTS, SAME, STREAM_DO_STANZA, NO_REASON },
    { 0 },
};

static const struct rule to_server[] = {
    { BIT(TLS), FROM_PEER, SAME, STREAM_WAIT, NO_REASON },
    { ALL_STATES & ~(BIT(OPEN) | BIT(AUTHED_OPEN) | BIT(CLOSED)), BIT(GOT_ERROR), STREAM_CLOSED,
      STREAM_HEARD, NO_REASON },
    { BIT(OPEN), BIT(GOT_HEADER), STREAM_AWAITING, STREAM_DO_HEADER, NO_REASON },
    { BIT(OPEN), BIT(SECURED), SAME, STREAM_NONE, NO_REASON }, /* direct TLS */
    { BIT(AUTHED_OPEN), BIT(GOT_HEADER), STREAM_AUTHED_AWAITING, STREAM_DO_HEADER, NO_REASON },
    { BIT(OPEN) | BIT(AUTHED_OPEN), ELEMENTS, STREAM_CLOSED, STREAM_FAIL, HEADER_FIRST },
    { BIT(AWAITING), BIT(GOT_FEATURES), STREAM_FEATURES, STREAM_DO_CHOOSE, NO_REASON },
    { BIT(AUTHED_AWAITING), BIT(GOT_FEATURES), STREAM_AUTHED, STREAM_DO_CHOOSE, NO_REASON },
    { BIT(AWAITING) | BIT(AUTHED_AWAITING), ELEMENTS, STREAM_CLOSED, STREAM_FAIL, FEATURES_FIRST },
    { BIT(FEATURES), BIT(ASK_TLS), STREAM_TLS_ASKED, STREAM_NONE, NO_REASON },
    { BIT(FEATURES), BIT(ASK_SASL), STREAM_SASL, STREAM_NONE, NO_REASON },
    { BIT(FEATURES), BIT(ASK_DIALBACK), STREAM_CHECKING, STREAM_NONE, NO_REASON },
    { BIT(FEATURES) | BIT(CHECKING), BIT(GOT_STANZA), SAME, STREAM_DO_ANSWER, UNASKED },
    { BIT(CHECKING), BIT(PASSED_ON), STREAM_BOUND, STREAM_NONE, NO_REASON },
    { BIT(TLS_ASKED), BIT(GOT_PROCEED), STREAM_TLS, STREAM_DO_TLS, NO_REASON },
    { BIT(TLS_ASKED), BIT(GOT_TLS), STREAM_CLOSED, STREAM_END, NO_REASON }, /* RFC 6120 §5.4.2.2 */
    { BIT(TLS), BIT(SECURED), STREAM_OPEN, STREAM_RESTART, NO_REASON },
    { BIT(SASL), BIT(GOT_SASL), SAME, STREAM_DO_SASL, NO_REASON },
    { BIT(SASL), BIT(PASSED), STREAM_AUTHED_OPEN, STREAM_RESTART, NO_REASON },
    { BIT(SASL), BIT(REFUSED), STREAM_FEATURES, STREAM_NONE, NO_REASON },
    { BIT(AUTHED), BIT(ASK_BIND), STREAM_BINDING, STREAM_NONE, NO_REASON },
    { BIT(AUTHED) | BIT(BINDING), BIT(IS_BOUND), STREAM_BOUND, STREAM_NONE, NO_REASON },
    { BIT(BINDING), BIT(GOT_STANZA) | BIT(GOT_SM), SAME, STREAM_DO_ANSWER, NO_REASON },
    { BIT(BINDING), BIT(REFUSED), STREAM_AUTHED, STREAM_NONE, NO_REASON },
    { BIT(BOUND), ELEMENTS, SAME, STREAM_DO_STANZA, NO_REASON },
    { BIT(FEATURES) | BIT(CHECKING) | BIT(TLS_ASKED) | BIT(SASL) | BIT(AUTHED) | BIT(BINDING),
      ELEMENTS, STREAM_CLOSED, STREAM_FAIL, UNASKED },
    { 0 },
};

/* Rules of all roles, behind their own. */
static const struct rule everywhere[] = {
    { BIT(CLOSED), BIT(IS_BOUND), SAME, STREAM_LEAVE, NO_REASON },
    { BIT(CLOSED), ALL_INPUTS, SAME, STREAM_NONE, NO_REASON },
    { ALL_STATES, BIT(GOT_HEADER), STREAM_CLOSED, STREAM_FAIL, SECOND_HEADER },
    { ALL_STATES, BIT(GOT_END) | BIT(CLOSE), STREAM_CLOSED, STREAM_END, NO_REASON },
    { ALL_STATES, BIT(LOST), STREAM_CLOSED, STREAM_NONE, NO_REASON },
    { 0 },
};

static const struct rule *rule_find(const struct rule *rules, uint32_t state, uint32_t input)
{
    for (const struct rule *r = rules; r->states != 0; r++)
        if ((r->states & state) != 0 && (r->inputs & input) != 0)
            return r;
    return NULL;
}

struct stream_step stream_step(enum stream_role role, enum stream_state state,
                               enum stream_input input)
{
    static const struct rule *const rules[STREAM_ROLE_COUNT][3] = {
        [STREAM_FROM_CLIENT] = { from_client, everywhere },
        [STREAM_FROM_FRAMED] = { from_framed, from_client, everywhere },
        [STREAM_FROM_COMPONENT] = { from_component, everywhere },
        [STREAM_FROM_SERVER] = { from_server, everywhere },
        [STREAM_TO_SERVER] = { to_server, everywhere },
    };
    const struct rule *r = NULL;
    ensure((unsigned)role < STREAM_ROLE_COUNT && (unsigned)state < STREAM_STATE_COUNT &&
           (unsigned)input < STREAM_INPUT_COUNT);
    for (unsigned i = 0; i < 3 && rules[role][i] != NULL && r == NULL; i++)
        r = rule_find(rules[role][i], 1u << state, 1u << input);
    if (r == NULL)
        return (struct stream_step){ state, STREAM_NEVER, XE_NONE, "" };
    return (struct stream_step){ r->next == SAME ? state : (enum stream_state)r->next,
                                 (enum stream_action)r->action, reasons[r->reason].error,
                                 reasons[r->reason].text };
}

enum stream_input stream_input_of(slice ns, slice name, bool secure)
{
    static const struct {
        const char *ns, *name; /* NULL: any */
        enum stream_input input;
    } table[] = {
        { NS_TLS, "starttls", STREAM_GOT_STARTTLS },
        { NS_TLS, "proceed", STREAM_GOT_PROCEED },
        { NS_TLS, NULL, STREAM_GOT_TLS },
        { NS_SASL, NULL, STREAM_GOT_SASL },
        { NS_SASL2, NULL, STREAM_GOT_SASL2 },
        { NS_SM, NULL, STREAM_GOT_SM },
        { NS_COMPONENT, "handshake", STREAM_GOT_HANDSHAKE },
        { NS_STREAM, "features", STREAM_GOT_FEATURES },
        { NS_STREAM, "error", STREAM_GOT_ERROR },
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (slice_is(ns, table[i].ns) && (table[i].name == NULL || slice_is(name, table[i].name)))
            return table[i].input == STREAM_GOT_STARTTLS && secure ? STREAM_GOT_STARTTLS_AGAIN
                                                                   : table[i].input;
    return STREAM_GOT_STANZA;
}

#define AT_SERVER                                                                                  \
    (BIT(OPEN) | BIT(FEATURES) | BIT(SASL2) | BIT(AUTHED_OPEN) | BIT(AUTHED) | BIT(BOUND))

const uint32_t stream_reading[STREAM_ROLE_COUNT] = {
    [STREAM_FROM_CLIENT] = AT_SERVER,
    [STREAM_FROM_FRAMED] = AT_SERVER,
    [STREAM_FROM_COMPONENT] = BIT(OPEN) | BIT(HANDSHAKE) | BIT(BOUND),
    [STREAM_FROM_SERVER] = BIT(OPEN) | BIT(FEATURES) | BIT(AUTHED_OPEN) | BIT(BOUND),
    [STREAM_TO_SERVER] = BIT(OPEN) | BIT(AWAITING) | BIT(FEATURES) | BIT(SASL) | BIT(TLS_ASKED) |
                         BIT(CHECKING) | BIT(AUTHED_OPEN) | BIT(AUTHED_AWAITING) | BIT(AUTHED) |
                         BIT(BINDING) | BIT(BOUND),
};
