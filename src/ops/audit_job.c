#include "ops/audit_job.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "ops/audit_chain.h"
#include "ops/audit_command.h"
#include "store/store.h"
#include <inttypes.h>
#include <stdatomic.h>

struct store_stmt audit_job_put_stmt = {
    .name = "audit.job-put",
    .sql = "INSERT INTO audit_job(number, node, process, actor, peer, role, command, args, told) "
           "VALUES($1, $2, $3, $4, $5, $6, $7, $8, '')",
    .params = "iiittttt",
    .cols = "",
};
struct store_stmt audit_job_told_stmt = {
    .name = "audit.job-told",
    .sql = "UPDATE audit_job SET told = $2 WHERE number = $1",
    .params = "it",
    .cols = "",
};
struct store_stmt audit_job_ended_stmt = {
    .name = "audit.job-ended",
    .sql = "DELETE FROM audit_job WHERE number = $1",
    .params = "i",
    .cols = "",
};
struct store_stmt audit_job_cut_stmt = {
    .name = "audit.job-cut",
    .sql = "SELECT number, actor, peer, role, command, args, told FROM audit_job "
           "WHERE node = $1 AND process <> $2 ORDER BY number",
    .params = "ii",
    .cols = "itttttt",
};

/* Not 0: another one in each process. */
static int64_t audit_process(void)
{
    static _Atomic int64_t process;
    int64_t none = 0;
    atomic_compare_exchange_strong(&process, &none, (int64_t)(rand_u64() >> 1 | 1));
    return atomic_load(&process);
}

/* In the order of the entries of the audit log, which delete the rows. */
static void job_write(struct store_batch *b)
{
    store_submit(b, worker_loop(worker_here()), 0, NULL, NULL);
}

static struct store_batch *job_batch(void)
{
    return store_write(worker_store(worker_here()), hash_keyed(SLICE("audit")));
}

void audit_job_begun(const struct command_call *call, slice args)
{
    const struct principal *p = &call->who;
    struct store_batch *b = job_batch();
    ensure(call->job != 0);
    STORE_ADD(b, &audit_job_put_stmt, 1, SV_I((int64_t)call->job),
              SV_I(worker_node(worker_here())->id), SV_I(audit_process()),
              SV_T(utf8_head(p->actor, AUDIT_ACTOR_MAX)), SV_T(utf8_head(p->from, AUDIT_ACTOR_MAX)),
              SV_T(utf8_head(p->role, AUDIT_ACTOR_MAX)), SV_T(slice_of(call->command->name)),
              SV_T(args));
    job_write(b);
}

void audit_job_told(uint64_t number, slice text)
{
    struct store_batch *b = job_batch();
    STORE_ADD(b, &audit_job_told_stmt, STORE_ANY_ROWS, SV_I((int64_t)number), SV_T(text));
    job_write(b);
}

static void job_add_entry(struct worker *w, const struct store_batch *b, uint32_t row)
{
    struct arena *tmp = arena_create(0);
    slice command = store_text(b, 0, row, 4), told = store_text(b, 0, row, 6);
    const char *what = arena_printf(tmp,
                                    "job %" PRIu32 "-%lld: the server ended before the job, or "
                                    "this is a copy of the database from before its end%s%.*s",
                                    worker_node(w)->id, (long long)store_int(b, 0, row, 0),
                                    told.len > 0 ? "; " : "", SLICE_ARG(told));
    log_warn(&audit_log_commands, LOG_EV("job.interrupted"), LOG_S("command", command),
             LOG_S("actor", store_text(b, 0, row, 1)), LOG_C("text", what),
             LOG_C("hint", "run it again"));
    duty_send(w, DUTY_AUDIT, &audit_message,
              &(struct audit_texts){ .at_us = clock_wall_us(),
                                     .text = { store_text(b, 0, row, 1), store_text(b, 0, row, 2),
                                               store_text(b, 0, row, 3), command,
                                               store_text(b, 0, row, 5), SLICE("interrupted"),
                                               SLICE(""), slice_of(what) },
                                     .job = (uint64_t)store_int(b, 0, row, 0) });
    arena_destroy(&tmp);
}

/* Where they cannot be read, the next start does. */
static void jobs_read(void *arg, enum store_result result, const struct store_batch *b)
{
    for (uint32_t row = 0; result == STORE_OK && row < store_row_count(b, 0); row++)
        job_add_entry(arg, b, row);
}

void audit_jobs_look(struct worker *w)
{
    struct store_batch *b = store_read(worker_store(w), hash_keyed(SLICE("audit")));
    STORE_ADD(b, &audit_job_cut_stmt, STORE_ANY_ROWS, SV_I(worker_node(w)->id),
              SV_I(audit_process()));
    store_submit(b, worker_loop(w), 0, jobs_read, w);
}
