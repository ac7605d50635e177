#include "ops/command_late.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "home/here.h"
#include "ops/jobs.h"
#include "store/store.h"
#include <stdatomic.h>

enum { LOOK_MS = 500, STEP_US = 1000 * 1000 };
static const uint64_t patience_us = STORE_DEADLINE_MS * UINT64_C(1000);

#define LATE_BEGIN                                                                                 \
    "the database does not answer: it may still happen, so look before you do it again; "
#define LATE_END "`alarm list` shows what is wrong"

static _Atomic unsigned late_calls; /* answered, and still under way */

/* An idle database does not show that it stands still: what the job has told is stored, which is
 * then late, too. */
static bool late_job_steps(const struct command_late *late, uint64_t stepped_us, uint64_t now_us)
{
    if (stepped_us == 0)
        return false;
    if (now_us > stepped_us + STEP_US)
        job_keep_told(late->call);
    return now_us < stepped_us + patience_us;
}

static bool late_has_place(void)
{
    if (atomic_fetch_add(&late_calls, 1) < COMMAND_LATE_MAX)
        return true;
    atomic_fetch_sub(&late_calls, 1);
    return false;
}

static void late_look(struct timer *t, struct loop *loop)
{
    struct command_late *late = CONTAINER_OF(t, struct command_late, timer);
    uint64_t now_us = clock_mono_us(), stepped_us = job_stepped_us(late->call);
    bool steps = late_job_steps(late, stepped_us, now_us);
    ensure(!late->answered);
    if (steps || now_us < late->began_us + patience_us ||
        !store_stands(worker_store(worker_here())) || !late_has_place()) {
        timer_set(loop, t, LOOK_MS);
        return;
    }
    late->answered = true;
    late->answer(late, stepped_us != 0 ? LATE_BEGIN "`job list` shows how far it is, " LATE_END
                                       : LATE_BEGIN
                           "`audit list` shows when it has ended, and how; " LATE_END);
}

void command_late_watch(struct command_late *late, const struct command_call *call,
                        void (*answer)(struct command_late *late, const char *text))
{
    ensure(!timer_is_set(&late->timer));
    *late = (struct command_late){
        .timer = { .fn = late_look }, .call = call, .began_us = clock_mono_us(), .answer = answer
    };
    if (call->command->effect == COMMAND_CHANGES)
        timer_set(loop_here(), &late->timer, LOOK_MS);
}

void command_late_over(struct command_late *late)
{
    timer_cancel(&late->timer);
    if (late->answered)
        atomic_fetch_sub(&late_calls, 1);
    late->answered = false;
}
