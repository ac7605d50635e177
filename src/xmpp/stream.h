/* stream: the states of an XML stream as a table (RFC 6120 §4 to §7, XEP-0114, XEP-0198, XEP-0388).
 * Pure: state and what came in; next state and what to do out. The caller keeps the state, does
 * what the step says and reports here what became of it.
 *
 *   from a client:    OPEN -> FEATURES -> TLS -> OPEN ...                STARTTLS
 *                     FEATURES -> AUTHED_OPEN -> AUTHED -> BINDING -> BOUND
 *                     FEATURES -> SASL2 -> COMPLETING -> BOUND or AUTHED
 *   from a component: OPEN -> HANDSHAKE -> CHECKING -> BINDING -> BOUND
 *   to a server:      OPEN -> AWAITING -> FEATURES -> TLS_ASKED -> TLS -> OPEN ...
 *                     FEATURES -> SASL -> AUTHED_OPEN -> AUTHED_AWAITING -> AUTHED
 *                     AUTHED -> BOUND, or AUTHED -> BINDING -> BOUND      with a resource
 *                     FEATURES -> CHECKING -> BOUND                       dialback (XEP-0220)
 *   from a server:    OPEN -> FEATURES -> TLS -> OPEN ...                 STARTTLS
 *                     FEATURES -> AUTHED_OPEN -> BOUND                    SASL EXTERNAL
 *                     FEATURES -> BOUND                                   dialback
 *
 * CLOSED comes from each state: our end is written or the connection is gone. Whichever side ends
 * first, the other one ends then (RFC 6120 §4.4), and nothing leads out of CLOSED. */
#pragma once
#include "base/slice.h"
#include "xmpp/stanza_error.h"

enum stream_role {
    STREAM_FROM_CLIENT,
    STREAM_FROM_FRAMED, /* a client over WebSocket or BOSH: without STARTTLS (RFC 7395 §3.1) */
    STREAM_FROM_COMPONENT,
    STREAM_FROM_SERVER,
    STREAM_TO_SERVER, /* we are the initiator */
    STREAM_ROLE_COUNT
};

/* From STREAM_AUTHED_OPEN on, the identity of the initiator is proved. */
enum stream_state {
    STREAM_OPEN,      /* a stream header must come; the initiator has sent its own */
    STREAM_AWAITING,  /* the features must come */
    STREAM_FEATURES,  /* both know the features; SASL of RFC 6120 goes on here at the server */
    STREAM_SASL,      /* the initiator has begun SASL */
    STREAM_SASL2,     /* an exchange of XEP-0388 or its tasks are under way */
    STREAM_TLS_ASKED, /* the initiator waits for <proceed/> */
    STREAM_TLS,       /* handshake */
    STREAM_HANDSHAKE, /* <handshake/> of a component must come */
    STREAM_CHECKING,  /* it is compared with the secret; the initiator waits for a dialback */
    STREAM_AUTHED_OPEN,
    STREAM_AUTHED_AWAITING,
    STREAM_AUTHED,     /* a resource must be bound or a session resumed */
    STREAM_COMPLETING, /* SASL2: after the mechanism; the answer to the whole request follows */
    STREAM_BINDING,    /* the answer to bind or resume follows; a component: the workers are told */
    STREAM_BOUND,
    STREAM_CLOSED,
    STREAM_STATE_COUNT
};

/* Input that came from the peer, then what happened on our side. */
enum stream_input {
    STREAM_GOT_HEADER,
    STREAM_GOT_END,
    STREAM_GOT_UNREADABLE, /* an element that elem_parse() does not take */
    STREAM_GOT_FEATURES,
    STREAM_GOT_ERROR,
    STREAM_GOT_STARTTLS,
    STREAM_GOT_STARTTLS_AGAIN, /* under TLS */
    STREAM_GOT_PROCEED,
    STREAM_GOT_TLS, /* another element of that namespace */
    STREAM_GOT_SASL,
    STREAM_GOT_SASL2,
    STREAM_GOT_SM, /* XEP-0198 */
    STREAM_GOT_HANDSHAKE,
    STREAM_GOT_STANZA, /* any other element */

    STREAM_SECURED,      /* the TLS handshake is over */
    STREAM_ASK_TLS,      /* the initiator sends <starttls/> */
    STREAM_ASK_SASL,     /* the initiator sends <auth/> */
    STREAM_ASK_DIALBACK, /* the initiator sends a key */
    STREAM_BEGIN_SASL2,
    STREAM_PASSED,    /* the proof was right: SASL, or the handshake of a component */
    STREAM_PASSED_ON, /* the mechanism of SASL2 is over, or a dialback: no header follows */
    STREAM_REFUSED,   /* the proof or the request was refused; another may follow */
    STREAM_ASK_BIND,  /* the home, or the server, is asked to bind or to resume */
    STREAM_UNBOUND,   /* a login of SASL2 that asked for no resource is complete */
    STREAM_IS_BOUND,
    STREAM_CLOSE, /* we end it, with or without an error */
    STREAM_LOST,  /* the connection is gone, or given up without a word */
    STREAM_INPUT_COUNT
};

enum stream_action {
    STREAM_NEVER,        /* cannot happen: an error of the caller. The state stays */
    STREAM_NONE,         /* nothing */
    STREAM_WAIT,         /* do not read it now: the state changes first */
    STREAM_FAIL,         /* send the error, end */
    STREAM_END,          /* write our end if it was not written, close the connection */
    STREAM_HEARD,        /* the peer has sent an error: end */
    STREAM_DO_HEADER,    /* check the header and answer it; the state changes if it fits */
    STREAM_RESTART,      /* header and reader begin anew; the initiator sends its header */
    STREAM_DO_CHOOSE,    /* read the features and choose one */
    STREAM_DO_TLS,       /* begin the handshake; the server sends <proceed/> before it */
    STREAM_DO_NO_TLS,    /* send <failure/>, end */
    STREAM_DO_SASL,      /* the next message of SASL */
    STREAM_DO_SASL2,     /* of SASL2 */
    STREAM_DO_SM,        /* resumption; a failure where nothing can be resumed */
    STREAM_DO_EARLY,     /* a request before the login; else the error */
    STREAM_DO_BIND,      /* a request to bind; else the error */
    STREAM_DO_HANDSHAKE, /* compare it with the secret */
    STREAM_DO_ANSWER,    /* the answer to bind or resume */
    STREAM_DO_STANZA,    /* a stanza, or an element of an extension, of a bound stream */
    STREAM_LEAVE,        /* bound too late: give the session back */
    STREAM_ACTION_COUNT
};

struct stream_step {
    enum stream_state state; /* from now on; with STREAM_DO_HEADER: when the header fits */
    enum stream_action action;
    enum stream_error error; /* of STREAM_FAIL, or if the action has to refuse; else XE_NONE */
    const char *text;        /* for the error: static; "": none */
};

struct stream_step stream_step(enum stream_role role, enum stream_state state,
                               enum stream_input input);

/* What an element at the first level is, by its namespace and local name. secure: under TLS. */
enum stream_input stream_input_of(slice ns, slice name, bool secure);

/* A bit for each state in which input of the peer is read. */
extern const uint32_t stream_reading[STREAM_ROLE_COUNT];

static inline bool stream_reads(unsigned role, unsigned state)
{
    return (stream_reading[role] >> state & 1) != 0;
}
