/* core: what the core has on each worker: the accounts and sessions whose home it is, and what
 * waits for the end of the tick. Confined to the worker. */
#pragma once
#include "account/shared_change.h"
#include "base/list.h"
#include "base/map.h"
#include "core/stage_wait.h"
#include "home/actor.h"
#include "home/here.h"
#include "io/timer.h"

/* Of core/stage_wait.c. */
struct stage_waits {
    struct map map;               /* struct stage_pause by number (8 bytes) */
    stage_go_fn *session_goes_on; /* session_answered() of session/session_input.h */
    uint64_t last;                /* number that was given */
    bool asked; /* stage_wait() was called for the next number, and nobody keeps it yet */
    struct stage_late late; /* as it was asked with */
    enum verdict early;     /* what was answered from inside, with these; WAIT: nothing */
    struct stanza *st;
    struct refusal why;
};

struct core {
    struct worker *worker;
    struct actors accounts;
    struct map sessions; /* struct session by id (8 bytes) */
    struct map streams;  /* of the gate: by stream id; for streams whose session lives elsewhere */
    struct timer resend; /* of presence/roster_out.c: what could not be stored is told again */
    uint32_t resend_ms;
    struct timer unconfirmed; /* of remote/remote_unsubscribe.c: what has no answer is told again */
    uint32_t unconfirmed_ms, asked;
    struct stage_waits waits;
    struct map waiting;  /* of session/session_wait.c: by session id */
    struct list storing; /* of talk/message.c: messages that are being written */
    struct list acks;    /* sessions that owe an <a/> at the end of the tick */
    struct loop_defer ack_defer;
    struct moves *moves;           /* of account/moves.c; NULL: none */
    struct stale *stale;           /* of account/restart.c; NULL: all are deleted */
    struct saving *saving;         /* of account/restart.c; NULL until the end */
    struct renamed_words *renamed; /* of account/renamed.c; NULL: none are to be said */
    struct list endings;           /* sessions that end when the delivery under way is over */
    struct loop_defer end_defer;
    bool over_budget; /* stanzas of clients are refused, see core/budget.h */
    struct budget {
        uint64_t grown, step; /* bytes read and delivered since the last look; the next one */
        uint64_t share;       /* bytes that one account may hold */
        struct loop_defer defer;
        struct timer timer; /* looks again after the alarm */
    } budget;
    struct shared_state shared; /* groups of account/shared.h */
};

static inline struct core *core_of(const struct worker *w) { return worker_head(w)->core; }
