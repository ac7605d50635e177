/* auth: the rows of this folder: settings, metrics, logs and the schema, for app/ to register.
 * Static, process-wide. */
#pragma once
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"
#include "store/store.h"
#include "xmpp/sasl.h"

extern struct setting auth_scram_iterations;     /* of passwords set from now on */
extern struct setting auth_failures_per_address; /* before the address is refused */
extern struct setting auth_failures_per_account; /* before it is refused at one address */
extern struct setting auth_failure_window;       /* ms in which they are counted */
extern struct setting auth_block_time;           /* ms of refusal */
extern struct setting *const auth_settings[];    /* all of them, NULL-terminated */

extern const struct store_schema
    auth_schema; /* account, credential, auth_secret, device, fast_token */

extern struct metric auth_throttled, auth_blocks, auth_slowed, auth_throttle_entries;
extern struct metric *const auth_metrics[]; /* all of them, NULL-terminated */

extern struct log_area log_auth;
extern struct log_area *const auth_logs[]; /* all of them, NULL-terminated */

enum auth_result { AUTH_OK, AUTH_FAILED, AUTH_RESULT_COUNT };
void auth_count(enum sasl_mech mech, enum auth_result result); /* one login, by kind of mechanism */
