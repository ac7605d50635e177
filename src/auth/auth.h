/* auth: settings, metrics, log areas and schema of this folder, which app/ registers. One set for
 * the process. */
#pragma once
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"
#include "store/store.h"
#include "xmpp/sasl.h"

enum { SCRAM_ITERATIONS_MAX = 1000000 };

extern struct setting auth_scram_iterations;     /* for new passwords */
extern struct setting auth_failures_per_address; /* failures until the address is refused */
extern struct setting auth_failures_per_account; /* until it is refused at one address */
extern struct setting auth_failure_window;       /* ms during which failures are counted */
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
