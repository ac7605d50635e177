/* session: one resource of an account, at the account's home: presence, outbound queue with its
 * acknowledgements, inbound count with its tickets (XEP-0198, architecture §3 and §6). The stream
 * that carries it may be on this worker, on another, or gone (hibernating).
 *
 * States: ATTACHED (a stream carries it) -> HIBERNATING (the stream was lost, resumable, until
 * sm.hibernate-time) -> ATTACHED again by resumption, or ENDED. Without stream management a lost
 * stream ends it at once. Invariants: queue entries have rising `seq`; h ≤ in_count; an entry
 * leaves the queue only by acknowledgement, by being written (no stream management), or at the end;
 * among what was not sent yet an older presence also gives way to a newer one of the same contact,
 * and while hibernating among all (the numbers close up at resumption).
 *
 * What is not sent yet stands at the end of the queue: what came while it hibernates, or while it
 * is paused, which a feature (the client is in the background) or the gate (its client reads too
 * slowly) asks for. It is sent in order before anything else goes out. Limit: session.pause-buffer.
 */
#pragma once
#include "base/ip.h"
#include "base/list.h"
#include "home/origin.h"
#include "io/timer.h"
#include "xmpp/stanza.h"
#include "xmpp/stanza_error.h"

struct account;
struct arena;
struct behind;
struct elem;
struct map;
struct metric;
struct repeats;
struct session;
struct setting;
struct stream;
struct ticket;
struct worker;

enum session_pause { PAUSE_QUIET = 1, PAUSE_SLOW = 2 }; /* by a feature; by the gate */
enum session_state { SESSION_ATTACHED, SESSION_HIBERNATING, SESSION_ENDED };

/* Why a stream or session ends: decides the stream error that is sent and what others are told. */
enum session_end {
    END_CLOSED = 0,   /* the client closed its stream */
    END_LOST = 1,     /* the connection broke: may hibernate */
    END_REPLACED = 2, /* the same resource was bound again: conflict */
    END_KICKED = 3,   /* by an operator: policy-violation */
    END_PASSWORD = 4, /* credentials changed: not-authorized */
    END_REMOVED = 5,  /* the account was deleted: not-authorized */
    END_DISABLED = 6, /* the account was disabled: not-authorized */
    END_REVOKED = 7,  /* its device was revoked: not-authorized */
    END_BAD_ACK = 8,  /* h not acknowledged..sent: undefined-condition (XEP-0198 §4) */
    END_SLOW = 9,     /* output above the hard cap: policy-violation */
    END_EXPIRED = 10, /* not resumed in time */
    END_FULL = 11,    /* too much waited for its client, which could have resumed it */
    END_SHUTDOWN = 12 /* system-shutdown */
};

struct queued { /* an entry of the acknowledgement queue */
    struct stanza *st;
    uint64_t archive_id; /* 0: not stored */
    uint64_t at_us;      /* wall clock of its delivery, or its delay stamp */
    uint32_t seq;        /* outbound count; contiguous under stream management while ATTACHED */
    bool delayed;        /* has a delay stamp */
    bool answered;       /* a request that the client has answered, though not acknowledged */
    uint8_t to;          /* enum queued_to */
};
/* What `to` it is written with. A shared stanza is one of many copies: it is never handed over; nor
 * is a copy for this session alone, see session_deliver_copy(), which keeps its own `to`. */
enum queued_to {
    QUEUED_OWN,
    QUEUED_FULL,
    QUEUED_BARE,
    QUEUED_COPY,
    QUEUED_CARBON, /* see session_deliver_carbon(): with its full JID, or the bare one */
    QUEUED_CARBON_BARE
};
static inline bool queued_is_carbon(const struct queued *q)
{
    return q->to == QUEUED_CARBON || q->to == QUEUED_CARBON_BARE;
}

/* Whoever produces output for a session in parts (architecture §4: internal producers take
 * credits). */
struct producer {
    struct producer *next;
    void (*go)(struct producer *p, struct session *s); /* NULL: the session has ended */
};

/* The stream that carries a session. */
struct link {
    struct stream *local; /* on this worker: calls; NULL: frames */
    uint64_t id;          /* see home/connection.h */
    uint32_t node;
};

/* Whether the session shows itself to others (XEP-0186). */
enum session_hidden {
    SESSION_SHOWN,
    SESSION_HIDDEN,                /* presence_vanish() */
    SESSION_HIDDEN_UNTIL_PRESENCE, /* presence_appear(): its next presence shows it */
};

struct session {
    struct list node; /* in account.sessions */
    struct account *account;
    uint64_t id;      /* see origin.h */
    struct link link; /* valid while ATTACHED */
    slice jid;        /* full JID, in this block */
    uint16_t bare_len;
    uint8_t state; /* enum session_state */
    uint8_t sm;    /* 0: no stream management; 1: without resumption; 2: resumable */
    int8_t priority;
    bool available;    /* sent available presence */
    uint8_t hidden;    /* enum session_hidden */
    bool was_seen;     /* of presence_look() */
    uint8_t claims;    /* at most SESSION_CLAIMS_MAX: see session_claim() */
    bool collects;     /* asks for its offline messages itself (XEP-0013): nobody is sent them */
    bool to_component; /* addresses of components have seen it: component/component_shown.h */
    bool interested;   /* asked for the roster (RFC 6121 §2.1.6: roster pushes) */
    bool flushing;     /* offline messages are being delivered: live ones wait in the store */
    bool awaited;      /* a feature waits until its client took something: session.took */
    uint8_t holds;     /* bits of enum session_hold_bits: the stream was told not to read */
    uint8_t paused;    /* bits of enum session_pause */
    bool secure;
    bool by_token;        /* its client logged in by a token (XEP-0484), not by the password */
    uint8_t resume_max_s; /* at most RESUME_MAX_S: the longest that the client wants it kept */
    bool handling;        /* a stanza is being handled */
    uint16_t early; /* at most TICKET_REPORTS_MAX times it was reported done before that returned */
    bool waits;     /* some of what it said does: session/session_wait.h */
    bool leaving;   /* it ends (end_why) when that is done */
    uint8_t end_why; /* enum session_end, set before it ends */
    uint32_t in_base,
        out_base; /* counts when stream management was enabled: XEP-0198 counts from there */
    uint32_t in_count, h;     /* stanzas received / handled in one prefix; wrap (XEP-0198 §4) */
    uint32_t h_told, h_asked; /* last h told; in_count when the client last asked */
    uint32_t gets;            /* tickets above h of requests (get) that are not answered */
    struct ticket *tickets;   /* ring over h+1..in_count; NULL: none ever was */
    struct repeats *repeats;  /* what its client may send again (session/session_repeats.h) */
    uint32_t ticket_cap;
    uint32_t out_count;            /* stanzas delivered; wraps */
    uint32_t out_acked, out_asked; /* acknowledged (or written); out_count at the last <r/> */
    struct queued *queue;          /* ring; NULL until needed */
    uint32_t queue_cap, queue_head, queue_len;
    uint32_t queue_unsent;   /* so many at its end were never given to a stream */
    uint32_t output_bytes;   /* that wait in a stream on another worker, as it told last */
    uint32_t long_output;    /* of the longest long stanza that was sent since its output last was
                              * low; 0: none */
    uint32_t queue_bytes;    /* of its stanzas; a shared one counts in full */
    struct list ack_node;    /* in worker.acks */
    struct list end_node;    /* in worker.endings */
    struct map *queue_index; /* archive ids of a long queue; NULL: not asked for */
    struct stanza *presence; /* last available presence */
    struct stanza *awake; /* the own of the client while `presence` says away for it; else NULL */
    struct directed *directed;  /* JIDs that got directed presence (presence/presence.c) */
    struct producer *producers; /* that wait until the client took what it got */
    struct flush *flush;        /* delivery of offline messages under way (talk/offline.c) */
    struct behind *behind; /* what waits for that (session/behind.h); NULL: none is under way */
    struct timer timer;    /* end of hibernation; of an attached one: asks its client */
    uint8_t token[16];     /* resumption; bound to the account */
    uint8_t device[16];    /* of the client (XEP-0388); zeros: not said */
    uint64_t since_us;     /* wall clock of the binding */
    uint64_t active_us;    /* monotonic, last stanza from the client (XEP-0012) */
    uint64_t spoke_us;     /* monotonic, its last available presence or message; 0: none */
    struct ip peer;        /* of the client */
    void *state_of[];      /* of features: session.slot of struct feature; its JID is behind them */
};

static inline slice session_jid(const struct session *s) { return s->jid; }
static inline slice session_bare(const struct session *s)
{
    return (slice){ s->jid.ptr, s->bare_len };
}
static inline slice session_resource(const struct session *s)
{
    return slice_from(s->jid, s->bare_len + 1u);
}

/* It sent available presence, perhaps while it is hidden (XEP-0186). */
static inline bool session_is_available(const struct session *s) { return s->available; }
/* Available, and gets messages to the bare JID (RFC 6121 §8.5.2.1.1). */
static inline bool session_gets_messages(const struct session *s)
{
    return s->available && s->priority >= 0;
}
/* A feature has said that its client is in the background (PAUSE_QUIET). */
static inline bool session_is_quiet(const struct session *s)
{
    return (s->paused & PAUSE_QUIET) != 0;
}
static inline bool session_directs_presence(const struct session *s) { return s->directed != NULL; }

extern struct setting sm_enabled, session_active_time, session_pause_buffer;

/* Ends it: tells the stream, hands the queue over (architecture §6), broadcasts unavailable, frees
 * it. */
void session_end(struct session *s, enum session_end why);
extern struct metric session_count;

/* A longer stanza is a long one: alone it makes the output of a stream wait. It is mostly an answer
 * of the server, and says nothing of how fast the client reads. */
enum { SESSION_LONG_BYTES = 256 * 1024 };

/* What a stream says to the home of its session. `link` names the stream; see core/gate.h for
 * answers. */
enum up_kind {
    UP_STANZA = 0,  /* st: with `from` stamped; the reference is taken over */
    UP_ACK = 1,     /* num: h of the client's <a/> */
    UP_REQUEST = 2, /* <r/> */
    UP_ENABLE = 3,  /* num: 1: with resumption wanted */
    UP_WRITTEN = 4, /* num: all stanzas up to this outbound count were written to the socket */
    UP_SLOW = 5,    /* num: 1: its output waits, 0: no longer */
    UP_OUTPUT = 6,  /* num: bytes of its output that wait, where the home cannot ask for them */
    UP_NONZA = 7,   /* num: which (core/feature.h) */
    UP_GONE = 8     /* num: enum session_end */
};
struct up {
    enum up_kind kind;
    uint32_t num;
    struct stanza *st;
};
void session_up(struct session *s, const struct up *up);
/* The same from a stream whose session has its home elsewhere: session/link.h. Ignored if another
 * stream has resumed it. */

struct bind_request {
    struct link link;
    slice bare;
    int64_t account_id; /* as authenticated */
    int64_t generation; /* of the password it was authenticated with (auth/credentials.h) */
    slice resource;     /* prepared; empty: the server chooses. For resumption: the token as sent */
    slice bind2;        /* <bind/> of XEP-0386 as self-contained text; empty: RFC 6120 §7 */
    uint8_t device[16]; /* as in struct session */
    uint32_t h;         /* resumption */
    bool resume, secure, by_token;
    slice peer;
};
enum { BIND2_BYTES_MAX = 16384 };
struct buf;
/* <enabled/> of XEP-0198; id empty: not resumable. */
void sm_enabled_write(struct buf *out, slice id, uint32_t max_s);
/* What <enable/> asks for: 0, or how many seconds at most the session shall be resumable, up to
 * RESUME_MAX_S, which is more than any setting allows. */
enum { RESUME_MAX_S = 255 };
uint32_t sm_resume_wanted(const struct elem *e, struct arena *tmp);
/* For the stream error about an <a/>, what was claimed and what was sent (XEP-0198 §4); in `text`.
 */
enum { SM_BAD_ACK_BYTES = 128 };
slice sm_bad_ack(char text[static SM_BAD_ACK_BYTES], uint32_t h, uint32_t sent);
static inline bool device_is_known(const uint8_t device[16]) /* not zeros */
{
    static const uint8_t none[16];
    return memcmp(device, none, sizeof none) != 0;
}
uint64_t session_resumable_ms(const struct session *s); /* when its connection is lost */
/* Answered by DOWN_BOUND or DOWN_REFUSED, DOWN_RESUMED or DOWN_NOT_RESUMED. Any worker. */
void session_bind(struct worker *w, const struct bind_request *req);
/* The same where the home of the account is. */
void session_bind_here(struct worker *w, const struct bind_request *req);
void session_bind_refuse(struct worker *w, const struct bind_request *req, enum stanza_error e,
                         slice text);
