#include "notify/audit_send.h"
#include "base/alarm.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/setting.h"
#include "codec/syslog.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "io/loop.h"
#include "io/timer.h"
#include "notify/outbound.h"
#include "notify/syslog.h"
#include "ops/audit.h"
#include "store/store.h"
#include <stdio.h>

enum {
    SOON_MS = 100,
    BACK_OFF_MS = 1000,
    BACK_OFF_MAX_MS = 60 * 1000,
    LAST_MS = 5000,
    PARTING_MS = 1000,
    UNKNOWN = -1,
    FIELDS = 8, /* texts of an entry, from the third column on */
    HASH_COLUMN = 2 + FIELDS
};

static struct alarm send_alarm = {
    .name = "audit.delivery",
    .severity = ALARM_ERROR,
    .text = "Entries of the audit log cannot be sent to the syslog server or to journald.",
    .action = "See which and why in the detail, and correct syslog.server or journald.socket. The "
              "entries that wait are in the database and follow by themselves.",
    .explanation =
        "Entries that are kept elsewhere cannot be changed by somebody who controls this "
        "server. Those that wait are deleted after audit.keep.",
    .raised_when = "The syslog server or journald does not take entries.",
    .cleared_when = "It takes them again, or is switched off.",
    .settings = "audit.syslog audit.journald",
};

static void send_changed(struct worker *w, const struct setting *s);
static struct setting to_syslog = {
    .name = "audit.syslog",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .max = 1,
    .changed = send_changed,
    .doc = "Whether entries of the audit log are sent to syslog.server, too, from the first time "
           "on that this is on. Over UDP some may be lost on the way. Switched off, those of the "
           "next 5 s still go there: also who has switched it off.",
};
static struct setting to_journald = {
    .name = "audit.journald",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .max = 1,
    .changed = send_changed,
    .doc = "Whether entries of the audit log are given to journald, too, with fields such as "
           "MUSTER_ACTOR, from the first time on that this is on.",
};

static struct store_stmt position_stmt = {
    .name = "audit-send.position",
    .sql = "SELECT position FROM reader WHERE name = $1",
    .params = "t",
    .cols = "i",
};
static struct store_stmt reach_stmt = {
    .name = "audit-send.reach",
    .sql = "INSERT INTO reader(name, position) VALUES($1, $2) "
           "ON CONFLICT(name) DO UPDATE SET position = excluded.position",
    .params = "ti",
    .cols = "",
};
static struct store_stmt end_stmt = {
    .name = "audit-send.end",
    .sql = "SELECT id FROM audit_log ORDER BY id DESC LIMIT 1",
    .params = "",
    .cols = "i",
};
static struct store_stmt after_stmt = {
    .name = "audit-send.after",
    .sql = "SELECT id, at_us, actor, peer, role, command, args, result, was, became, hash "
           "FROM audit_log WHERE id > $1 ORDER BY id LIMIT $2",
    .params = "ii",
    .cols = "iittttttttt",
};
static const struct store_schema schema = {
    .feature = "audit-send",
    .stmts =
        (struct store_stmt *const[]){ &position_stmt, &reach_stmt, &end_stmt, &after_stmt, NULL },
};

struct sender {
    const char *name; /* in the table reader */
    struct setting *on;
    /* Takes an entry. false: it has no room for more, or has failed. */
    bool (*take)(struct sender *s, const struct syslog_line *line);
    void (*send)(struct sender *s); /* all that it took; sender_sent() follows */
    int64_t position, taken;        /* numbers of entries; UNKNOWN */
    bool busy;
    bool again; /* an entry came while it was busy */
    unsigned failures;
    uint64_t last_us; /* it was switched off: what is entered until then is sent, too */
    struct timer due;
    char why[SYSLOG_WHY_BYTES]; /* of the last failure; empty: none */
};

static bool take_for_syslog(struct sender *s, const struct syslog_line *line);
static bool take_for_journald(struct sender *s, const struct syslog_line *line);
static void send_taken(struct sender *s);
static void send_given(struct sender *s);
static struct sender senders[] = {
    { .name = "audit.syslog", .on = &to_syslog, .take = take_for_syslog, .send = send_taken },
    { .name = "audit.journald", .on = &to_journald, .take = take_for_journald, .send = send_given },
};
enum { SENDERS = sizeof senders / sizeof *senders };

static struct worker *send_worker; /* NULL: the duty is not here, or the server stops */
static struct syslog_errand errand;

static uint64_t audit_lane(void) { return hash_keyed(SLICE("audit")); }

static bool sender_is_on(const struct sender *s)
{
    return setting_bool(s->on) || loop_now_us(worker_loop(send_worker)) < s->last_us;
}

static void say_state(void)
{
    char text[2 * ALARM_DETAIL_BYTES];
    for (unsigned i = 0; i < SENDERS; i++) {
        if (senders[i].why[0] == '\0')
            continue;
        snprintf(text, sizeof text, "%s: %.120s", senders[i].name, senders[i].why);
        alarm_raise(&send_alarm, slice_of(text));
        return;
    }
    alarm_clear(&send_alarm);
}

/* What is read, sent and entered is tried again after a while, if any of it fails. */
static void sender_failed(struct sender *s, const char *why)
{
    uint64_t wait_ms = (uint64_t)BACK_OFF_MS << (s->failures < 6 ? s->failures : 6);
    s->busy = false;
    s->failures++;
    snprintf(s->why, sizeof s->why, "%s", why);
    say_state();
    timer_set(worker_loop(send_worker), &s->due,
              wait_ms < BACK_OFF_MAX_MS ? wait_ms : BACK_OFF_MAX_MS);
}

static void sender_reached(void *arg, enum store_result result, const struct store_batch *b)
{
    struct sender *s = arg;
    (void)b;
    if (send_worker == NULL)
        return;
    if (result != STORE_OK) { /* they are sent again */
        sender_failed(s, store_result_name(result));
        return;
    }
    ensure(s->busy && s->taken >= s->position);
    s->busy = false;
    s->failures = 0;
    s->why[0] = '\0';
    s->position = s->taken;
    say_state();
    timer_set(worker_loop(send_worker), &s->due, 1); /* more may be there */
}

static void sender_sent(struct sender *s, const char *why)
{
    if (why != NULL) {
        sender_failed(s, why);
        return;
    }
    struct store_batch *b = store_write(worker_store(send_worker), audit_lane());
    STORE_ADD(b, &reach_stmt, 1, SV_T(slice_of(s->name)), SV_I(s->taken));
    store_submit(b, worker_loop(send_worker), 0, sender_reached, s);
}

static bool take_entry(struct sender *s, const struct store_batch *b, uint32_t row)
{
    static const char *const names[FIELDS] = { "actor", "from",   "role",   "command",
                                               "args",  "result", "before", "after" };
    struct syslog_field fields[FIELDS + 3] = { { 0 } };
    char id[24], text[300];
    snprintf(id, sizeof id, "%lld", (long long)store_int(b, 0, row, 0));
    fields[0] = (struct syslog_field){ "id", slice_of(id) };
    for (unsigned i = 0; i < FIELDS; i++)
        fields[i + 1] = (struct syslog_field){ names[i], store_text(b, 0, row, 2 + i) };
    fields[FIELDS + 1] = (struct syslog_field){ "hash", store_text(b, 0, row, HASH_COLUMN) };
    slice command = store_text(b, 0, row, 5), result = store_text(b, 0, row, 7);
    snprintf(text, sizeof text, "%.*s: %.*s", SLICE_ARG(command), SLICE_ARG(result));
    const struct syslog_line line = { .severity =
                                          slice_is(result, "ok") ? SYSLOG_NOTICE : SYSLOG_WARNING,
                                      .facility = SYSLOG_AUDIT,
                                      .at_us = (uint64_t)store_int(b, 0, row, 1),
                                      .host = slice_of(worker_node(send_worker)->name),
                                      .kind = "audit",
                                      .fields = fields,
                                      .text = slice_of(text) };
    return s->take(s, &line);
}

static void entries_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct sender *s = arg;
    if (send_worker == NULL)
        return;
    if (result != STORE_OK) {
        sender_failed(s, store_result_name(result));
        return;
    }
    uint32_t count = store_row_count(b, 0);
    s->taken = s->position;
    for (uint32_t row = 0; row < count && take_entry(s, b, row); row++)
        s->taken = store_int(b, 0, row, 0);
    if (count > 0) {
        s->send(s);
        return;
    }
    s->busy = false; /* until there is another entry */
    if (s->again)
        timer_set(worker_loop(send_worker), &s->due, 1);
}

/* Where to go on. The first time, sending begins with the newest entry: most often it says who has
 * switched this on. */
static void position_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct sender *s = arg;
    if (send_worker == NULL)
        return;
    if (result != STORE_OK) {
        sender_failed(s, store_result_name(result));
        return;
    }
    bool known = store_row_count(b, 0) > 0;
    int64_t end = store_row_count(b, 1) > 0 ? store_int(b, 1, 0, 0) : 0;
    s->position = s->taken = known ? store_int(b, 0, 0, 0) : end > 0 ? end - 1 : 0;
    sender_sent(s, NULL);
}

static struct store_batch *ask_position(const struct sender *s)
{
    struct store_batch *b = store_read(worker_store(send_worker), audit_lane());
    STORE_ADD(b, &position_stmt, STORE_ANY_ROWS, SV_T(slice_of(s->name)));
    store_add(b, &end_stmt, STORE_ANY_ROWS, NULL, 0);
    return b;
}

static void sender_due(struct timer *t, struct loop *loop)
{
    struct sender *s = CONTAINER_OF(t, struct sender, due);
    s->again = s->busy;
    if (s->busy)
        return;
    if (!sender_is_on(s)) { /* what it has not taken is nobody's concern any more */
        s->failures = 0;
        s->why[0] = '\0';
        say_state();
        return;
    }
    ensure(worker_is_here(send_worker));
    s->busy = true;
    if (s->position == UNKNOWN) {
        store_submit(ask_position(s), loop, 0, position_read, s);
    } else {
        struct store_batch *b = store_read(worker_store(send_worker), audit_lane());
        STORE_ADD(b, &after_stmt, STORE_ANY_ROWS, SV_I(s->position), SV_I(AUDIT_SEND_ROWS));
        store_submit(b, loop, 0, entries_read, s);
    }
}

/* One that has failed is tried when its time has come. */
static void entries_stored(void)
{
    for (unsigned i = 0; send_worker != NULL && i < SENDERS; i++) {
        struct sender *s = &senders[i];
        if (sender_is_on(s) && s->failures == 0 && !timer_is_set(&s->due))
            timer_set(worker_loop(send_worker), &s->due, SOON_MS);
    }
}

static void send_changed(struct worker *w, const struct setting *setting)
{
    if (send_worker != w)
        return;
    for (unsigned i = 0; i < SENDERS; i++) {
        struct sender *s = &senders[i];
        if (s->on != setting)
            continue;
        s->why[0] = '\0';
        s->failures = 0;
        s->last_us = loop_now_us(worker_loop(w)) + LAST_MS * 1000;
        timer_cancel(&s->due);
        sender_due(&s->due, worker_loop(w)); /* now: what switches it on is the first entry */
    }
    say_state();
}

/* Both ways. */

static bool take_for_syslog(struct sender *s, const struct syslog_line *line)
{
    (void)s;
    return syslog_add(&errand, line);
}

static void syslog_took(struct syslog_errand *e, const char *why)
{
    (void)e;
    sender_sent(&senders[0], why);
}

static void send_taken(struct sender *s)
{
    ensure(s == &senders[0]);
    errand.done = syslog_took;
    syslog_send(&errand, send_worker);
}

static bool take_for_journald(struct sender *s, const struct syslog_line *line)
{
    const char *why = journal_send(line);
    snprintf(s->why, sizeof s->why, "%s", why != NULL ? why : "");
    return why == NULL;
}

/* What it has got before it failed is entered first. */
static void send_given(struct sender *s)
{
    char why[SYSLOG_WHY_BYTES];
    memcpy(why, s->why, sizeof why);
    sender_sent(s, s->taken == s->position && why[0] != '\0' ? why : NULL);
}

/* A server that is another one now gets the entries up to that of the change, once: whoever reads
 * them there sees why there are no more. */

static struct syslog_errand parting_errand;
static char server_known[SYSLOG_SERVER_MAX + 1];

static bool take_for_parting(struct sender *s, const struct syslog_line *line)
{
    (void)s;
    return syslog_add(&parting_errand, line);
}

static struct sender parting = { .take = take_for_parting };

static void parting_done(struct syslog_errand *e, const char *why)
{
    (void)e, (void)why;
    parting.busy = false;
}

static void parting_read(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg;
    if (send_worker == NULL)
        return;
    uint32_t count = result == STORE_OK ? store_row_count(b, 0) : 0;
    for (uint32_t row = 0; row < count && take_entry(&parting, b, row); row++)
        ;
    parting_errand.done = parting_done;
    if (count > 0)
        syslog_send(&parting_errand, send_worker);
    else
        parting.busy = false;
}

static void parting_due(struct timer *t, struct loop *loop)
{
    (void)t;
    struct store_batch *b = store_read(worker_store(send_worker), audit_lane());
    STORE_ADD(b, &after_stmt, STORE_ANY_ROWS, SV_I(parting.position), SV_I(AUDIT_SEND_ROWS));
    store_submit(b, loop, 0, parting_read, NULL);
}

static void server_changed(struct worker *w)
{
    const struct sender *s = &senders[0];
    if (send_worker != w || strcmp(server_known, syslog_server_text()) == 0)
        return;
    if (server_known[0] != '\0' && !parting.busy && sender_is_on(s) && s->position != UNKNOWN) {
        parting.busy = true;
        parting.position = s->position;
        memcpy(parting_errand.server, server_known, sizeof server_known);
        timer_set(worker_loop(w), &parting.due, PARTING_MS); /* the entry is stored by then */
    }
    snprintf(server_known, sizeof server_known, "%s", syslog_server_text());
}

static void audit_send_stop(void)
{
    send_worker = NULL;
    syslog_cancel(&errand);
    syslog_cancel(&parting_errand);
    timer_cancel(&parting.due);
    for (unsigned i = 0; i < SENDERS; i++)
        timer_cancel(&senders[i].due);
}

static void audit_send_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_AUDIT))
        return;
    send_worker = w;
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i].position = UNKNOWN;
        senders[i].due.fn = sender_due;
        senders[i].busy = setting_bool(senders[i].on);
        if (senders[i].busy) /* now: no entry of this process is there yet */
            (void)store_run(ask_position(&senders[i]), position_read, &senders[i]);
    }
    parting.busy = false;
    parting.due.fn = parting_due;
    snprintf(server_known, sizeof server_known, "%s", syslog_server_text());
    syslog_on_change(server_changed);
    audit_on_stored(entries_stored);
    outbound_at_stop(audit_send_stop);
}

const struct feature audit_send_feature = {
    .name = "audit-send",
    .schema = &schema,
    .settings = (struct setting *const[]){ &to_syslog, &to_journald, NULL },
    .alarms = (struct alarm *const[]){ &send_alarm, NULL },
    .worker.start = audit_send_start,
};
