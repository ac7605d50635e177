/* mam_expire: retention (architecture §7): messages older than archive.retention leave the archives
 * for good, in small steps, so that nobody waits for it. What its addressee does not have yet
 * stays, however old it is; the next pass looks at it again.
 *
 * A pass also removes what deleted accounts own: a message may be stored after its sender was
 * deleted, if it was on its way then. It does so whatever archive.retention is.
 *
 * One pass at a time, an hour after the last, at the home of DUTY_ARCHIVE.
 *
 * Limits: STEP_ROWS messages and about STEP_BYTES a step, PAUSE_MS between steps. */
#pragma once
#include "base/command.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"
#include "store/store.h"

struct message_row;
struct worker;

extern struct setting mam_retention;
extern struct metric mam_expired;
extern struct log_area mam_log; /* of the archive as a whole */
extern struct command mam_expire_command;
extern struct store_stmt *const mam_expire_stmts[];
extern const struct message_row mam_expire_arm_message;
void mam_expire_start(struct worker *w); /* at the home of the duty, when it has started */
void mam_expire_arm(struct worker *w);   /* if that is at another node, and has begun later */
void mam_expire_stop(struct worker *w);  /* the worker has ended */
