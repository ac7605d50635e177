/* audit_job: jobs of commands (ops/jobs.h) that run, in the database: a process that is killed
 * cannot say what became of them. A row is deleted in the transaction that adds the entry of its
 * job to the audit log. So the next start finds the jobs that have no entry, and adds one each,
 * once.
 *
 * A backup, too, has the rows of what ran when it was made. A server that is started with it says
 * of these that it does not know their end. */
#pragma once
#include "base/slice.h"
#include <stdint.h>

struct command_call;
struct store_stmt;
struct worker;

/* One has begun, or is so far: on a worker. What the database does not take is not found. */
void audit_job_begun(const struct command_call *call, slice args);
void audit_job_told(uint64_t number, slice text);
/* At a start: adds the entries for those of the node whose process has ended. */
void audit_jobs_look(struct worker *w);

/* For the schema of the audit log, and the part that appends. */
#define AUDIT_JOB_TABLE(integer)                                                                   \
    "CREATE TABLE audit_job(number " integer " PRIMARY KEY, node " integer                         \
    " NOT NULL, process " integer " NOT NULL, actor TEXT NOT NULL, peer TEXT NOT NULL, role TEXT " \
    "NOT NULL, command TEXT NOT NULL, args TEXT NOT NULL, told TEXT NOT NULL)"
extern struct store_stmt audit_job_put_stmt, audit_job_told_stmt, audit_job_ended_stmt,
    audit_job_cut_stmt;
