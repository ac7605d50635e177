#include "ext/import/import_report.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/log.h"
#include "ext/import/import.h"
#include "ext/import/import_run.h"
#include "home/here.h"
#include "ops/jobs.h"

enum { TELL_MS = 5000, REPORT_ROWS_MAX = 1000 };

void import_note_progress(const struct import *x)
{
    uint64_t done = 0, all = 0;
    if (x->source != NULL)
        source_progress(x->source, &done, &all);
    job_percent(x->job, all == 0 ? 0 : done >= all ? 100 : (int)(100 * done / all));
    job_tell(x->job, "users %llu, rooms %llu, groups %llu, refused %llu",
             (unsigned long long)(x->imported + x->there),
             (unsigned long long)(x->rooms + x->rooms_there),
             (unsigned long long)(x->making.imported + x->making.there),
             (unsigned long long)(x->refused + x->rooms_refused + x->making.refused));
}

void import_tell(struct import *x)
{
    log_info(&log_import, LOG_EV("import.progress"), LOG_C("path", x->path),
             LOG_I("imported", x->imported), LOG_I("there", x->there), LOG_I("refused", x->refused),
             LOG_I("rooms", x->rooms), LOG_I("groups", x->making.imported));
    x->told_us = loop_now_us(worker_loop(x->worker));
}

void import_tell_progress(struct import *x)
{
    import_note_progress(x);
    if (loop_now_us(worker_loop(x->worker)) - x->told_us >= (uint64_t)TELL_MS * 1000)
        import_tell(x);
}

/* Whether it is to end before its next step. */
bool import_canceled(struct import *x)
{
    const char *canceled = job_canceled(x->job);
    if (canceled == NULL)
        return false;
    x->e = E_CANCELED;
    why_set(&x->why, "%s; run it again to go on", canceled);
    return true;
}

/* Lines about users leave out none about the source as a whole. */
void import_report(struct import *x, slice user, const char *what, slice which)
{
    if (x->reported[user.len > 0]++ >= REPORT_ROWS_MAX)
        return;
    command_row(x->call);
    command_text(x->call, "user", slice_dup(x->call->arena, user));
    command_text(x->call, "what",
                 slice_of(arena_printf(x->call->arena, "%s%s%.*s", what, which.len > 0 ? " " : "",
                                       SLICE_ARG(which))));
}

void import_report_disabled(struct import *x, slice user)
{
    ensure(user.len > 0);
    x->disabled++;
    import_report(x, user, "is disabled, as it was there; `user enable` lets its user log in",
                  (slice){ 0 });
}

void import_refuse(struct import *x, struct import_user *u, const char *why)
{
    x->refused++;
    import_piece_refused(x, u);
    u->jid = (slice){ 0 };
    if (u->replaces)
        why =
            arena_printf(x->arena, "%s; the account that was there is empty and disabled now", why);
    import_report(x, u->label, "refused:", slice_of(why));
}
