/* jobs: work that goes on for long, for `job list`, `job show` and `job cancel`: imports, exports,
 * backups, cleanups, announcements. The work tells here that it begins and how far it is, and asks
 * at each of its steps whether it was canceled. A job of a command ends with the call, and what
 * that says is in the entry of the audit log, too.
 *
 * When the server stops, all jobs are canceled, and it waits for their next steps as for
 * connections. A job that has still not ended then is cut off: an entry of the audit log says how
 * far it was. If the process is killed, the next start adds such an entry (ops/audit_job.h), with
 * what the job last told on a worker, at most TOLD_EVERY_US before.
 *
 * The jobs of a process are in its memory, behind a lock, and a restart forgets them. Any thread.
 *
 * Limits: of those that have ended the last JOBS_KEPT are kept; texts are cut to what struct job
 * has room for. One runs for each call, and calls have their own limits. */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>

enum { JOBS_KEPT = 50 };

struct command;
struct command_call;
struct edge;
struct feature;
struct worker;

/* A job of a call, whose row says that it is one (struct command.job). Its number; 0: the call is a
 * step of another job (struct command_call.step_of) and has none of its own. The functions below
 * take any number: they do nothing for one that is over. */
uint64_t job_begin(struct command_call *call);
/* How far it is, in percent; below 0: not known. */
void job_percent(uint64_t number, int percent);
/* The same in words: "users 30, rooms 2". */
void job_tell(uint64_t number, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Why it is to end at its next step, with E_CANCELED: JOB_CANCELED or JOB_STOPS. NULL: it goes on.
 */
const char *job_canceled(uint64_t number);

/* When the job of that call has last told something or asked for whether it goes on, monotonic; 0:
 * the call is no job, here and now. */
uint64_t job_stepped_us(const struct command_call *call);
/* Stores what that job has told, on a worker: then the database shows whether it answers. At most
 * once in STORE_DEADLINE_MS. */
void job_keep_told(const struct command_call *call);

/* A job that the server begins by itself, of the kind that the command is. Nobody waits for its
 * result. job_forget_own() ends one that had nothing to do: it is not kept. */
uint64_t job_begin_own(const struct worker *w, const struct command *kind);
void job_end_own(uint64_t number, enum err e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void job_forget_own(uint64_t number);

#define JOB_CANCELED "canceled by `job cancel`"
#define JOB_STOPS    "the server stops"

extern const struct edge jobs_edge;
extern const struct feature jobs_feature;
