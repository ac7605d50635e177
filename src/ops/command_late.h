/* command_late: who has given a command that changes something is told when the database does not
 * answer, since what was submitted to it cannot be taken back and may wait for as long as a disk
 * stands still. The call goes on, and ends as any other: what it changes is then in memory and on
 * the disk, and its entry of the audit log has its real result.
 *
 * That is so when the call has run for STORE_DEADLINE_MS, a write is later than that, and, if the
 * call is a job (ops/jobs.h), it has made no step for so long. Reads have deadlines of their own.
 *
 * Limit: COMMAND_LATE_MAX calls of a process go on behind such an answer. Beyond that it comes when
 * the call ends. */
#pragma once
#include "base/command.h"
#include "io/timer.h"

enum { COMMAND_LATE_MAX = 256 };

struct command_late {
    struct timer timer;
    const struct command_call *call;
    uint64_t began_us;
    /* Answers with E_TIMEOUT and that text: at most once, on this worker. */
    void (*answer)(struct command_late *late, const char *text);
    bool answered;
};

/* Before the call is run, on its worker. */
void command_late_watch(struct command_late *late, const struct command_call *call,
                        void (*answer)(struct command_late *late, const char *text));
/* The call has come back, or never will: on the same worker. Also of one that was not watched. */
void command_late_over(struct command_late *late);
