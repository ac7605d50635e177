/* secrets: the command that deletes all sealed secrets when their key is lost; see auth/seal.h. */
#include "operate/secrets.h"
#include "account/account.h"
#include "auth/seal.h"
#include "base/command.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "notify/webhooks_read.h"
#include "store/store.h"

static struct store_stmt drop_tokens = {
    .name = "secrets.drop-tokens",
    .sql = "DELETE FROM fast_token",
    .params = "",
    .cols = "",
};
static struct store_stmt drop_components = {
    .name = "secrets.drop-components",
    .sql = "DELETE FROM component",
    .params = "",
    .cols = "",
};
static struct store_stmt drop_webhooks = {
    .name = "secrets.drop-webhooks",
    .sql = "DELETE FROM webhook",
    .params = "",
    .cols = "",
};
static struct store_stmt drop_setting = {
    .name = "secrets.drop-setting",
    .sql = "DELETE FROM setting WHERE name = $1",
    .params = "t",
    .cols = "",
};
/* What the history has of it cannot be decrypted either. */
static struct store_stmt drop_history = {
    .name = "secrets.drop-history",
    .sql = "DELETE FROM setting_change WHERE name = $1",
    .params = "t",
    .cols = "",
};
static struct store_stmt drop_candidates = {
    .name = "secrets.drop-candidates",
    .sql = "DELETE FROM setting_candidate WHERE name = $1",
    .params = "t",
    .cols = "",
};
static struct store_stmt drop_factors = {
    .name = "secrets.drop-factors",
    .sql = "DELETE FROM admin_factor",
    .params = "",
    .cols = "",
};
static const struct store_migration none[] = { { 0 } };
static const struct store_schema schema = {
    .feature = "secrets",
    .migrations = none,
    .stmts =
        (struct store_stmt *const[]){ &drop_tokens, &drop_components, &drop_webhooks, &drop_setting,
                                      &drop_history, &drop_candidates, &drop_factors, NULL },
};

static void secrets_dropped(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    (void)b;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), NULL);
        return;
    }
    webhooks_secrets_dropped(call->worker);
    command_done(call, "tokens of devices, secrets of components, webhooks, second factors of "
                       "administrators and secret settings are deleted; remove secrets.key from "
                       "the data folder if it is there, and restart");
}

static void secrets_run_reset(struct command_call *call)
{
    struct worker *w = call->worker;
    if (seal_ready()) {
        command_fail(call, E_CONFLICT, "the key works, so there is nothing to reset");
        return;
    }
    struct store_batch *b = store_write(worker_store(w), 0);
    store_add(b, &drop_tokens, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &drop_components, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &drop_factors, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &drop_webhooks, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &seal_stmt_drop, STORE_ANY_ROWS, NULL, 0);
    for (const struct setting *s = setting_first(); s != NULL; s = s->next)
        if (setting_is_secret(s)) {
            STORE_ADD(b, &drop_setting, STORE_ANY_ROWS, SV_T(slice_of(s->name)));
            STORE_ADD(b, &drop_history, STORE_ANY_ROWS, SV_T(slice_of(s->name)));
            STORE_ADD(b, &drop_candidates, STORE_ANY_ROWS, SV_T(slice_of(s->name)));
        }
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, secrets_dropped, call);
}

static struct command reset_command = {
    .name = "secrets reset",
    .effect = COMMAND_CHANGES,
    .area = "secrets",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_WEBHOOKS, /* the one that has secrets in memory which no longer count */
    .asks = "Secrets that cannot be read without the lost key are deleted.",
    .args = (const struct command_arg[]){ { 0 } },
    .run = secrets_run_reset,
    .doc = "Deletes all secrets whose key is lost (alarm secrets.key): tokens of devices, secrets "
           "of components, webhooks, passwords of rooms, second factors of administrators, secret "
           "settings. Afterwards devices need their passwords, components and rooms need new "
           "secrets, secret settings must be set again, and webhooks and test users must be added "
           "again. Administrators who had a second factor log in with the password alone until "
           "they make a new one.",
};

const struct feature secrets_feature = {
    .name = "secrets",
    .schema = &schema,
    .commands = (struct command *const[]){ &reset_command, NULL },
    .alarms = (struct alarm *const[]){ &seal_alarm, NULL },
};
