#include "notify/alarm_targets.h"
#include "admin/alarms.h"
#include "app/features.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/setting.h"
#include "cert/cert_monitor.h"
#include "codec/syslog.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "io/timer.h"
#include "notify/alarm_waiting.h"
#include "notify/mail.h"
#include "notify/outbound.h"
#include "notify/snmp.h"
#include "notify/syslog.h"
#include <assert.h>
#include <stdio.h>

enum {
    SOON_MS = 200,
    COLLECT_MS = 2000, /* a mail waits so long for other alarms of the same cause */
    BACK_OFF_MS = 2000,
    BACK_OFF_MAX_MS = 300 * 1000,
    REST_TRIES = 8, /* 10 minutes, in which other changes wait */
    WHY_BYTES = 300
};

static const char *const levels[] = { "off", "warning", "error", "critical", NULL };

static struct alarm delivery_alarm = {
    .name = "alarm.delivery",
    .severity = ALARM_WARNING,
    .text = "Alarms cannot be delivered to a target.",
    .action = "See which and why in the detail. Correct its settings, and run `musterctl alarm "
              "test`, which says what happens at each target.",
    .explanation = "Somebody relies on mails or on another system to hear of alarms.",
    .raised_when =
        "A mail server, syslog server, journald or a manager of SNMP does not take an alarm.",
    .cleared_when = "All targets have taken what waited for them, or are switched off.",
    .settings = "alarm.mail alarm.syslog alarm.journald alarm.snmp",
};

static void targets_changed(struct worker *w, const struct setting *s);

#define LEVEL_SETTING(NAME, DOC)                                                                   \
    {                                                                                              \
        .name = (NAME), .scope = SCOPE_CLUSTER, .type = PARAM_CHOICE, .choices = levels,           \
        .changed = targets_changed, .doc = (DOC)                                                   \
    }
static struct setting by_mail = LEVEL_SETTING(
    "alarm.mail",
    "From which severity on mails tell of alarms. They need alarm.mail-to and mail.relay.");
static struct setting by_syslog = LEVEL_SETTING(
    "alarm.syslog", "From which severity on the syslog server is told of alarms. It needs "
                    "syslog.server.");
static struct setting by_journald = LEVEL_SETTING(
    "alarm.journald",
    "From which severity on journald is told of alarms, with fields such as MUSTER_ALARM. The log "
    "of the server has them, too.");
static struct setting by_snmp = LEVEL_SETTING(
    "alarm.snmp",
    "From which severity on a manager of SNMP is told of alarms. It needs snmp.receiver.");
static struct setting alarm_mail_to = {
    .name = "alarm.mail-to",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = 4096,
    .check = mail_addresses_ok,
    .form = "up to 20 mail addresses, separated by semicolons",
    .doc = "Who gets mails about alarms: addresses separated by semicolons.",
};
static struct setting mail_every = {
    .name = "alarm.mail-every",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = INT64_C(5) * 60 * 1000,
    .min = 0,
    .max = INT64_C(24) * 3600 * 1000,
    .changed = targets_changed,
    .doc = "How long after a mail about alarms the next one is sent at the earliest, also over a "
           "restart or a crash. All changes in between are in it. Only `alarm test` sends at once.",
};

struct target {
    const char *name;
    struct setting *level;
    /* Sends the first `sending` changes; target_done() follows, from inside, too. */
    void (*send)(struct target *t);
    struct alarms_news *news; /* TARGET_NEWS_MAX, the oldest first; alarm NULL: a test */
    unsigned count, sending, left_out, failures;
    bool busy, testing;
    bool ours; /* with a failure: the settings of this server lack something */
    uint64_t sent_us;
    struct timer due;
    char why[WHY_BYTES]; /* of the last failure; empty: it works */
};

static void send_mail(struct target *t);
static void send_syslog(struct target *t);
static void send_journald(struct target *t);
static void send_snmp(struct target *t);

/* Static, with no value in the program's file: memory only when it is written to. */
#define NEWS ((struct alarms_news[TARGET_NEWS_MAX]){ { .alarm = NULL } })
static struct target targets[] = {
    { .name = "mail", .level = &by_mail, .send = send_mail, .news = NEWS },
    { .name = "syslog", .level = &by_syslog, .send = send_syslog, .news = NEWS },
    { .name = "journald", .level = &by_journald, .send = send_journald, .news = NEWS },
    { .name = "snmp", .level = &by_snmp, .send = send_snmp, .news = NEWS },
};
enum { TARGETS = sizeof targets / sizeof *targets };
static_assert(sizeof targets <= 2048, "what has values is in the program's file; queues are not");

static struct {
    struct worker *worker; /* NULL: the duty is not here, or the server stops */
    struct syslog_errand errand;
    struct snmp_errand notice;
    struct command_call *test;
    unsigned test_failures; /* targets of it that did not take it */
    unsigned test_ours;     /* of those: because of this server's own settings */
    struct alarm_owed owed; /* the mail is sent again to these only, with the same changes */
} telling;

static const char *news_name(const struct alarms_news *n)
{
    return n->alarm != NULL ? n->alarm->name : "test";
}

static const char *news_text(const struct alarms_news *n)
{
    return n->alarm != NULL ? n->alarm->text : "An administrator tests the delivery of alarms.";
}

/* The queues. */

/* In front of its changes: what is left of a mail is not about others. */
static void mail_forget_owed(void)
{
    if (telling.owed.recipients[0] == '\0')
        return;
    telling.owed = (struct alarm_owed){ .changes = 0 };
    alarm_waiting_owe(telling.worker, &telling.owed);
}

static void mail_owes(const struct target *t)
{
    telling.owed.changes = 0;
    for (unsigned i = 0; i < t->sending; i++)
        telling.owed.changes += t->news[i].alarm != NULL;
    alarm_waiting_owe(telling.worker, &telling.owed);
}

static uint64_t mail_wait_ms(const struct target *t)
{
    uint64_t every_us = (uint64_t)setting_int(&mail_every) * 1000, now_us = clock_wall_us();
    uint64_t sent_us = t->sent_us < now_us ? t->sent_us : now_us; /* the clock was set back */
    uint64_t since_us = now_us - sent_us;
    uint64_t wait_ms = sent_us > 0 && since_us < every_us ? (every_us - since_us) / 1000 : 0;
    return wait_ms > COLLECT_MS ? wait_ms : COLLECT_MS;
}

static void target_wait(struct target *t)
{
    uint64_t wait_ms = SOON_MS;
    ensure(worker_is_here(telling.worker));
    if (t->busy || t->count == 0)
        return;
    if (t->failures > 0) {
        unsigned shift = t->failures < 8 ? t->failures : 8;
        wait_ms = (uint64_t)BACK_OFF_MS << shift;
        wait_ms = wait_ms < BACK_OFF_MAX_MS ? wait_ms : BACK_OFF_MAX_MS;
    } else if (t->send == send_mail) {
        wait_ms = mail_wait_ms(t);
    }
    timer_set(worker_loop(telling.worker), &t->due, t->testing ? 1 : wait_ms);
}

static void target_due(struct timer *timer, struct loop *loop)
{
    struct target *t = CONTAINER_OF(timer, struct target, due);
    (void)loop;
    if (t->busy || t->count == 0)
        return;
    t->busy = true;
    if (t->send != send_mail || telling.owed.recipients[0] == '\0' || t->sending == 0)
        t->sending = t->count;
    t->send(t);
}

static void target_drop(struct target *t, unsigned count)
{
    ensure(count <= t->count);
    if (t->send == send_mail)
        alarm_waiting_drop(telling.worker, t->news, count);
    memmove(t->news, t->news + count, (t->count - count) * sizeof *t->news);
    t->count -= count;
    t->sending -= t->sending < count ? t->sending : count;
}

/* false: it has no room beside what is under way, which stays where it is. A change of an alarm is
 * told by the next change. */
static bool target_add(struct target *t, const struct alarms_news *news)
{
    if (t->count == TARGET_NEWS_MAX && t->busy)
        return false;
    if (t->count == TARGET_NEWS_MAX) {
        target_drop(t, 1);
        t->left_out++;
    }
    if (t->send == send_mail && news->alarm != NULL)
        alarm_waiting_add(telling.worker, news);
    t->news[t->count++] = *news;
    target_wait(t);
    return true;
}

static void test_over(void)
{
    struct command_call *call = telling.test;
    for (unsigned i = 0; i < TARGETS; i++)
        if (targets[i].testing)
            return;
    telling.test = NULL;
    if (telling.test_failures > 0)
        command_fail(call, telling.test_ours == telling.test_failures ? E_CONFLICT : E_OUTSIDE,
                     "targets that have not taken the test alarm: %u", telling.test_failures);
    else
        command_done(call, "%s", call->rows != NULL ? "" : "no target is switched on");
}

static void test_result(struct target *t, const char *why)
{
    struct command_call *call = telling.test;
    ensure(call != NULL);
    t->testing = false;
    telling.test_failures += why != NULL;
    telling.test_ours += why != NULL && t->ours;
    command_row(call);
    command_text(call, "target", slice_of(t->name));
    command_bool(call, "works", why == NULL);
    command_text(call, "result", slice_dup(call->arena, slice_of(why != NULL ? why : "taken")));
    test_over();
}

static void say_failures(void)
{
    char text[2 * ALARM_DETAIL_BYTES];
    for (unsigned i = 0; i < TARGETS; i++) {
        if (targets[i].why[0] == '\0')
            continue;
        snprintf(text, sizeof text, "%s: %.120s", targets[i].name, targets[i].why);
        alarm_raise(&delivery_alarm, slice_of(text));
        return;
    }
    alarm_clear(&delivery_alarm);
}

static bool test_is_under_way(const struct target *t)
{
    for (unsigned i = 0; i < t->sending; i++)
        if (t->news[i].alarm == NULL)
            return true;
    return false;
}

/* why: what went wrong, also if it has taken them; NULL: nothing. */
static void target_end(struct target *t, bool taken, const char *why)
{
    /* A test that is behind what has failed would wait for that. */
    bool was_test = t->testing && (!taken || test_is_under_way(t));
    ensure(t->busy && t->sending <= t->count && (taken || why != NULL));
    t->busy = false;
    snprintf(t->why, sizeof t->why, "%s", why != NULL ? why : "");
    if (taken) {
        target_drop(t, t->sending);
        t->sent_us = clock_wall_us();
        if (t->send == send_mail)
            alarm_waiting_sent(telling.worker, t->sent_us);
        t->failures = t->left_out = 0;
    } else {
        t->failures++;
    }
    if (was_test)
        test_result(t, why);
    say_failures();
    target_wait(t);
}

static void target_done(struct target *t, const char *why) { target_end(t, why == NULL, why); }

static void alarm_told(struct worker *w, const struct alarms_news *news)
{
    if (telling.worker != w)
        return;
    for (unsigned i = 0; i < TARGETS; i++) {
        int64_t from = setting_int(targets[i].level); /* of `levels`: 1 is ALARM_WARNING */
        if (from > 0 && news->worst + 1 >= from)
            (void)target_add(&targets[i], news);
    }
}

/* A target that was switched off has nothing to say any more. */
static void targets_changed(struct worker *w, const struct setting *s)
{
    if (telling.worker != w)
        return;
    for (unsigned i = 0; i < TARGETS; i++) {
        struct target *t = &targets[i];
        if (s == t->level && setting_int(s) == 0 && !t->busy) {
            if (t->send == send_mail)
                mail_forget_owed();
            target_drop(t, t->count);
            t->failures = t->left_out = 0;
            t->why[0] = '\0';
        }
        target_wait(t);
    }
    say_failures();
}

/* Mail. */

static void mail_describe(struct buf *text, const struct alarms_news *n)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, n->at_us);
    buf_printf(text, "%s  %s  %s  %s\n    %s\n", stamp, alarms_what_name(n->what),
               alarm_severities[n->severity], news_name(n), news_text(n));
    if (n->detail[0] != '\0')
        buf_printf(text, "    %s\n", n->detail);
    if (*alarms_action(n) != '\0')
        buf_printf(text, "    What to do: %s\n", alarms_action(n));
    buf_lit(text, "\n");
}

/* Recipients of the setting, or those of them that it is still to be sent to. */
static slice mail_recipients(struct arena *tmp)
{
    slice all[MAIL_RECIPIENTS_MAX], rest[MAIL_RECIPIENTS_MAX], list = SLICE("");
    slice wanted = slice_of(setting_text(&alarm_mail_to));
    if (telling.owed.recipients[0] == '\0')
        return wanted;
    size_t count = mail_addresses(wanted, all);
    size_t left = mail_addresses(slice_of(telling.owed.recipients), rest);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < left; k++)
            if (slice_eq(all[i], rest[k]))
                list = slice_of(arena_printf(tmp, "%.*s%s%.*s", SLICE_ARG(list),
                                             list.len > 0 ? "; " : "", SLICE_ARG(all[i])));
    return list;
}

static void mail_sent(void *arg, const struct mail_end *end)
{
    struct target *t = arg;
    t->ours = end->why != NULL && end->ours;
    if (end->why == NULL)
        cert_monitor_mail_works();
    if (end->why != NULL && telling.owed.recipients[0] == '\0') {
        target_done(t, end->why);
        return;
    }
    const char *why = end->why != NULL ? end->why : *end->note != '\0' ? end->note : NULL;
    bool again = (end->why != NULL || end->later.len > 0) && ++telling.owed.tries < REST_TRIES;
    if (!again)
        mail_forget_owed();
    else if (end->why == NULL)
        snprintf(telling.owed.recipients, sizeof telling.owed.recipients, "%.*s",
                 SLICE_ARG(end->later));
    if (again)
        mail_owes(t);
    if (why != NULL && !again)
        log_warn(&log_server, LOG_EV("alarm.mail-refused"), LOG_C("why", why));
    target_end(t, !again, why);
}

static void send_mail(struct target *t)
{
    struct worker *w = telling.worker;
    struct arena *tmp = arena_create(0);
    struct buf text;
    unsigned raised = 0, shown = 0;
    buf_init(&text, MAIL_TEXT_BYTES_MAX);
    buf_printf(&text, "Alarms of the server %.*s:\n\n", SLICE_ARG(worker_node(w)->domains[0]));
    for (unsigned i = 0; i < t->sending; i++) {
        raised += t->news[i].what == ALARMS_RAISED;
        if (text.len < MAIL_TEXT_BYTES_MAX - 4096) {
            mail_describe(&text, &t->news[i]);
            shown++;
        }
    }
    if (t->left_out + t->sending > shown)
        buf_printf(&text, "More changes, which are left out: %u.\n\n",
                   t->left_out + t->sending - shown);
    buf_lit(&text, "`musterctl alarm list` shows what is active now, `musterctl alarm history` all "
                   "of them.\n");
    const struct alarms_news *first = &t->news[0];
    const char *subject = t->sending == 1
                              ? arena_printf(tmp, "%s: %s %s: %s", mail_host(w, tmp),
                                             alarm_severities[first->severity],
                                             alarms_what_name(first->what), news_name(first))
                              : arena_printf(tmp, "%s: changes of alarms: %u, raised: %u",
                                             mail_host(w, tmp), t->sending, raised);
    slice to = mail_recipients(tmp);
    if (telling.owed.recipients[0] != '\0' && to.len == 0) { /* the setting names none of them */
        mail_forget_owed();
        target_done(t, NULL);
    } else if (!mail_send(w, to, slice_of(subject), buf_fit(&text), mail_sent, t)) {
        t->busy = false; /* another mail is on its way */
        timer_set(worker_loop(w), &t->due, COLLECT_MS);
    }
    buf_fini(&text);
    arena_destroy(&tmp);
}

/* Syslog and journald. */

typedef bool line_fn(const struct syslog_line *line);

/* Calls `take` for each change that is to be sent, while that returns true. How many it took. */
static unsigned each_line(struct target *t, line_fn *take)
{
    static const enum syslog_severity severities[] = { SYSLOG_WARNING, SYSLOG_ERROR,
                                                       SYSLOG_CRITICAL };
    char host[SYSLOG_HOST_MAX + 1], text[400];
    unsigned taken = 0;
    snprintf(host, sizeof host, "%s", worker_node(telling.worker)->name);
    for (; taken < t->sending; taken++) {
        const struct alarms_news *n = &t->news[taken];
        const struct syslog_field fields[] = { { "alarm", slice_of(news_name(n)) },
                                               { "state", slice_of(alarms_what_name(n->what)) },
                                               { "severity",
                                                 slice_of(alarm_severities[n->severity]) },
                                               { "detail", slice_of(n->detail) },
                                               { "action", slice_of(alarms_action(n)) },
                                               { 0 } };
        snprintf(text, sizeof text, "%s: %s", news_name(n), news_text(n));
        struct syslog_line line = { .severity = n->what == ALARMS_CLEARED ? SYSLOG_NOTICE
                                                                          : severities[n->severity],
                                    .facility = SYSLOG_DAEMON,
                                    .at_us = n->at_us,
                                    .host = slice_of(host),
                                    .kind = "alarm",
                                    .fields = fields,
                                    .text = slice_of(text) };
        if (!take(&line))
            break;
    }
    return taken;
}

static void syslog_sent(struct syslog_errand *e, const char *why)
{
    targets[1].ours = e->ours;
    target_done(&targets[1], why);
}

static bool add_to_errand(const struct syslog_line *line)
{
    return syslog_add(&telling.errand, line);
}

static void send_syslog(struct target *t)
{
    ensure(t == &targets[1]);
    telling.errand.done = syslog_sent;
    t->sending = each_line(t, add_to_errand);
    syslog_send(&telling.errand, telling.worker);
}

static const char *journal_why;
static bool give_to_journal(const struct syslog_line *line)
{
    journal_why = journal_send(line);
    return journal_why == NULL;
}

static void send_journald(struct target *t)
{
    t->sending = each_line(t, give_to_journal);
    if (journal_why == NULL) {
        target_done(t, NULL);
        return;
    }
    target_drop(t, t->sending); /* what it has got before it failed */
    t->sending = t->count;
    t->ours = true; /* it is of this machine */
    target_done(t, journal_why);
}

/* SNMP: one at a time. */

static void snmp_told(struct snmp_errand *e, const char *why)
{
    targets[3].ours = e->ours;
    target_done(&targets[3], why);
}

static void send_snmp(struct target *t)
{
    const struct alarms_news *n = &t->news[0];
    ensure(t == &targets[3]);
    t->sending = 1;
    telling.notice.done = snmp_told;
    snmp_send(&telling.notice, telling.worker,
              &(struct snmp_notice){ .kind = (unsigned)n->what + 1,
                                     .severity = (unsigned)n->severity + 1,
                                     .at_us = n->at_us,
                                     .node = worker_node(telling.worker)->name,
                                     .alarm = news_name(n),
                                     .text = news_text(n),
                                     .detail = n->detail,
                                     .action = alarms_action(n) });
}

/* Test. */

static void run_test(struct command_call *call)
{
    struct alarms_news news = { .what = ALARMS_RAISED, .at_us = clock_wall_us() };
    if (telling.worker == NULL || telling.test != NULL) {
        command_fail(call, E_AGAIN, "another test is under way; try again");
        return;
    }
    telling.test = call;
    telling.test_failures = telling.test_ours = 0;
    for (unsigned i = 0; i < TARGETS; i++)
        targets[i].testing = setting_int(targets[i].level) > 0;
    for (unsigned i = 0; i < TARGETS; i++) {
        struct target *t = &targets[i];
        if (!t->testing || target_add(t, &news))
            continue;
        t->ours = false;
        test_result(t, "too many changes wait for it"); /* of the last one it ends the call */
    }
    if (telling.test != NULL)
        test_over();
}

static struct command test_command = {
    .name = "alarm test",
    .rest = "POST /alarms/test",
    .effect = COMMAND_CHANGES,
    .area = "server",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_ALARMS,
    .report = true,
    .run = run_test,
    .doc =
        "Sends a test alarm to each target. Those that are switched on are tried, and the answer "
        "says what happened at each. It fails if one of them has not taken it.",
    .columns =
        (const struct command_column[]){
            { .name = "target", .doc = "mail, syslog, journald or snmp" },
            { .name = "works", .type = PARAM_BOOL, .doc = "whether the target has taken it" },
            { .name = "result", .doc = "taken, or what went wrong" },
            { 0 } },
};

static void targets_stop(void)
{
    struct command_call *call = telling.test;
    alarms_look();
    telling.worker = NULL;
    telling.test = NULL;
    telling.owed = (struct alarm_owed){ .changes = 0 }; /* its row stays */
    syslog_cancel(&telling.errand);
    snmp_cancel(&telling.notice);
    for (unsigned i = 0; i < TARGETS; i++)
        timer_cancel(&targets[i].due);
    if (call != NULL)
        command_fail(call, E_CANCELED, "the server ends");
}

/* Of what the process before told of, and of its last mail. */
static void mail_goes_on(struct target *t)
{
    ensure(t->send == send_mail && t->count == 0);
    t->count =
        alarm_waiting_read(telling.worker, t->news, TARGET_NEWS_MAX, &t->sent_us, &telling.owed);
    t->sending = telling.owed.changes;
    if (setting_int(t->level) == 0) {
        mail_forget_owed();
        target_drop(t, t->count);
    }
    target_wait(t);
}

static void targets_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ALARMS))
        return;
    telling.worker = w;
    for (unsigned i = 0; i < TARGETS; i++)
        targets[i].due.fn = target_due;
    mail_goes_on(&targets[0]);
    alarms_on_told(alarm_told);
    outbound_at_stop(targets_stop);
}

const struct feature alarm_targets_feature = {
    .name = "alarm-targets",
    .schema = &alarm_waiting_schema,
    .settings = (struct setting *const[]){ &by_mail, &by_syslog, &by_journald, &by_snmp,
                                           &alarm_mail_to, &mail_every, NULL },
    .commands = (struct command *const[]){ &test_command, NULL },
    .alarms = (struct alarm *const[]){ &delivery_alarm, NULL },
    .worker.start = targets_start,
};
