/* stage_wait: a stanza that waits at stage CHECK or ARCHIVE, because a feature asks somebody else
 * first, such as a compliance server. The function of the stage calls stage_wait() and returns
 * WAIT; when it knows, stage_answer() says how the stanza goes on. If nobody says it in time, the
 * verdict of struct stage_late counts: PASS fails open, REFUSE and DROP fail closed.
 *
 * What comes behind the stanza waits with it, and so does its acknowledgement: at the home of its
 * sender in session/session_wait.h, at that of its recipient in the inbox of the account. A wait is
 * named by a number, which may be in messages; an answer that comes too late finds nothing.
 *
 * Confined to the worker whose stanza it is. Waits end with the worker. */
#pragma once
#include "core/stage.h"
#include "io/timer.h"

struct stage_late {
    uint32_t ms;          /* after the stage was reached; more than 0 */
    enum verdict verdict; /* any but WAIT; at ARCHIVE PASS or DROP */
    struct refusal why;   /* of REFUSE; its texts are static */
};

/* By a function of a stage, once before it asks and returns WAIT. */
uint64_t stage_wait(struct worker *w, const struct stage_late *late);
/* Later, or from inside of that function. st: instead of the stanza, as in stage_check_fn, taken
 * over; NULL: it stays as it is. why: of REFUSE, borrowed. false: it waits no more. */
bool stage_answer(struct worker *w, uint64_t number, enum verdict v, struct stanza *st,
                  const struct refusal *why);

/* By the stage: what was answered from inside; WAIT: nothing yet. NULL where ARCHIVE asks, which
 * neither replaces nor refuses. */
enum verdict stage_wait_asked(struct worker *w, struct stanza **st, struct refusal *why);

/* For who keeps the stanza meanwhile. */
struct stage_pause;
typedef void stage_go_fn(struct stage_pause *p, enum verdict v, struct stanza *st,
                         const struct refusal *why);
struct stage_pause {
    uint64_t number; /* 0: it is not waiting */
    struct worker *worker;
    stage_go_fn *go;                     /* the answer, once; takes over st */
    void (*drop)(struct stage_pause *p); /* the worker ends; NULL: its keeper has ended by then */
    struct timer timer;
    struct stage_late late;
};
/* A stage has said WAIT. The struct stays where it is until `go` is called or it is ended. */
void stage_pause_begin(struct stage_pause *p, struct worker *w, stage_go_fn *go);
void stage_pause_late(struct stage_pause *p); /* as if its deadline had passed */
void stage_pause_end(struct stage_pause *p);  /* no answer is wanted any more; it may be ended */

void stage_waits_init(struct worker *w);
void stage_waits_fini(struct worker *w);
