#include "notify/alarm_waiting.h"
#include "admin/alarms.h"
#include "base/alarm.h"
#include "base/hash.h"
#include "home/here.h"
#include "home/node.h"
#include "store/store.h"
#include <stdio.h>

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE alarm_waiting(entry INTEGER NOT NULL, what INTEGER NOT NULL, at_us INTEGER NOT "
      "NULL, alarm TEXT NOT NULL, severity INTEGER NOT NULL, worst INTEGER NOT NULL, detail TEXT "
      "NOT NULL, PRIMARY KEY(entry, what, at_us)) WITHOUT ROWID;"
      "CREATE TABLE alarm_mailed(id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL)",
      "CREATE TABLE alarm_waiting(entry BIGINT NOT NULL, what BIGINT NOT NULL, at_us BIGINT NOT "
      "NULL, alarm TEXT NOT NULL, severity BIGINT NOT NULL, worst BIGINT NOT NULL, detail TEXT "
      "NOT NULL, PRIMARY KEY(entry, what, at_us));"
      "CREATE TABLE alarm_mailed(id BIGINT PRIMARY KEY, at_us BIGINT NOT NULL)" },
    { 2,
      "CREATE TABLE alarm_owed(id INTEGER PRIMARY KEY, recipients TEXT NOT NULL, changes INTEGER "
      "NOT NULL, tries INTEGER NOT NULL)",
      "CREATE TABLE alarm_owed(id BIGINT PRIMARY KEY, recipients TEXT NOT NULL, changes BIGINT NOT "
      "NULL, tries BIGINT NOT NULL)" },
    { 0 },
};
static struct store_stmt put_stmt = {
    .name = "alarm-waiting.put",
    .sql = "INSERT INTO alarm_waiting(entry, what, at_us, alarm, severity, worst, detail) "
           "VALUES($1, $2, $3, $4, $5, $6, $7) ON CONFLICT(entry, what, at_us) DO NOTHING",
    .params = "iiitiit",
    .cols = "",
};
static struct store_stmt drop_stmt = {
    .name = "alarm-waiting.drop",
    .sql = "DELETE FROM alarm_waiting WHERE entry = $1 AND what = $2 AND at_us = $3",
    .params = "iii",
    .cols = "",
};
/* Reads all; of too many, the newest. */
static struct store_stmt all_stmt = {
    .name = "alarm-waiting.all",
    .sql = "SELECT entry, what, at_us, alarm, severity, worst, detail FROM alarm_waiting "
           "ORDER BY at_us DESC, entry DESC, what DESC LIMIT $1",
    .params = "i",
    .cols = "iiitiit",
};
static struct store_stmt sent_stmt = {
    .name = "alarm-waiting.sent",
    .sql = "INSERT INTO alarm_mailed(id, at_us) VALUES(1, $1) "
           "ON CONFLICT(id) DO UPDATE SET at_us = excluded.at_us",
    .params = "i",
    .cols = "",
};
static struct store_stmt last_stmt = {
    .name = "alarm-waiting.last",
    .sql = "SELECT at_us FROM alarm_mailed",
    .params = "",
    .cols = "i",
};
static struct store_stmt owe_stmt = {
    .name = "alarm-waiting.owe",
    .sql = "INSERT INTO alarm_owed(id, recipients, changes, tries) VALUES(1, $1, $2, $3) "
           "ON CONFLICT(id) DO UPDATE SET recipients = excluded.recipients, "
           "changes = excluded.changes, tries = excluded.tries",
    .params = "tii",
    .cols = "",
};
static struct store_stmt paid_stmt = {
    .name = "alarm-waiting.paid",
    .sql = "DELETE FROM alarm_owed",
    .params = "",
    .cols = "",
};
static struct store_stmt owed_stmt = {
    .name = "alarm-waiting.owed",
    .sql = "SELECT recipients, changes, tries FROM alarm_owed",
    .params = "",
    .cols = "tii",
};
const struct store_schema alarm_waiting_schema = {
    .feature = "alarm-targets",
    .migrations = migrations,
    .stmts = (struct store_stmt *const[]){ &put_stmt, &drop_stmt, &all_stmt, &sent_stmt, &last_stmt,
                                           &owe_stmt, &paid_stmt, &owed_stmt, NULL },
};

static struct store_batch *waiting_write(struct worker *w)
{
    return store_write(worker_store(w), hash_keyed(SLICE("alarm-waiting")));
}

void alarm_waiting_add(struct worker *w, const struct alarms_news *news)
{
    struct store_batch *b = waiting_write(w);
    STORE_ADD(b, &put_stmt, STORE_ANY_ROWS, SV_I(news->entry), SV_I(news->what), SV_I(news->at_us),
              SV_T(slice_of(news->alarm->name)), SV_I(news->severity), SV_I(news->worst),
              SV_T(slice_of(news->detail)));
    store_submit(b, worker_loop(w), 0, NULL, NULL);
}

void alarm_waiting_drop(struct worker *w, const struct alarms_news *news, unsigned count)
{
    struct store_batch *b = NULL;
    for (unsigned i = 0; i < count; i++) {
        if (news[i].alarm == NULL)
            continue;
        if (b == NULL)
            b = waiting_write(w);
        STORE_ADD(b, &drop_stmt, STORE_ANY_ROWS, SV_I(news[i].entry), SV_I(news[i].what),
                  SV_I(news[i].at_us));
    }
    if (b != NULL)
        store_submit(b, worker_loop(w), 0, NULL, NULL);
}

void alarm_waiting_sent(struct worker *w, uint64_t at_us)
{
    struct store_batch *b = waiting_write(w);
    STORE_ADD(b, &sent_stmt, STORE_ANY_ROWS, SV_I(at_us));
    store_submit(b, worker_loop(w), 0, NULL, NULL);
}

void alarm_waiting_owe(struct worker *w, const struct alarm_owed *owed)
{
    struct store_batch *b = waiting_write(w);
    if (owed->recipients[0] == '\0' || owed->changes == 0)
        store_add(b, &paid_stmt, STORE_ANY_ROWS, NULL, 0);
    else
        STORE_ADD(b, &owe_stmt, STORE_ANY_ROWS, SV_T(slice_of(owed->recipients)),
                  SV_I(owed->changes), SV_I(owed->tries));
    store_submit(b, worker_loop(w), 0, NULL, NULL);
}

struct waiting_found {
    struct alarms_news *out;
    unsigned count;
    uint64_t sent_us;
    struct alarm_owed *owed;
};

/* false: this program has no such alarm. */
static bool waiting_of_row(struct alarms_news *out, const struct store_batch *b, uint32_t row)
{
    *out = (struct alarms_news){ .entry = store_int(b, 0, row, 0),
                                 .what = (enum alarms_what)store_int(b, 0, row, 1),
                                 .at_us = (uint64_t)store_int(b, 0, row, 2),
                                 .alarm = alarm_find(store_text(b, 0, row, 3)),
                                 .severity = (int)store_int(b, 0, row, 4),
                                 .worst = (int)store_int(b, 0, row, 5) };
    snprintf(out->detail, sizeof out->detail, "%.*s", SLICE_ARG(store_text(b, 0, row, 6)));
    return out->alarm != NULL;
}

static void waiting_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct waiting_found *found = arg;
    if (result != STORE_OK)
        return;
    for (uint32_t row = store_row_count(b, 0); row-- > 0;)
        found->count += waiting_of_row(&found->out[found->count], b, row);
    found->sent_us = store_row_count(b, 1) > 0 ? (uint64_t)store_int(b, 1, 0, 0) : 0;
    if (store_row_count(b, 2) == 0 || found->count == 0)
        return;
    slice recipients = store_text(b, 2, 0, 0);
    int64_t changes = store_int(b, 2, 0, 1);
    snprintf(found->owed->recipients, sizeof found->owed->recipients, "%.*s",
             SLICE_ARG(recipients));
    found->owed->changes = changes < found->count ? (unsigned)changes : found->count;
    found->owed->tries = (unsigned)store_int(b, 2, 0, 2);
}

unsigned alarm_waiting_read(struct worker *w, struct alarms_news *out, unsigned max,
                            uint64_t *sent_us, struct alarm_owed *owed)
{
    struct waiting_found found = { .out = out, .owed = owed };
    *owed = (struct alarm_owed){ .changes = 0 };
    struct store_batch *b = store_read(worker_store(w), 0);
    STORE_ADD(b, &all_stmt, STORE_ANY_ROWS, SV_I(max));
    store_add(b, &last_stmt, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &owed_stmt, STORE_ANY_ROWS, NULL, 0);
    (void)store_run(b, waiting_read, &found);
    *sent_us = found.sent_us;
    return found.count;
}
