#include "cert/cert_monitor.h"
#include "app/features.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/durable.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "base/whole_file.h"
#include "cert/cert_watch.h"
#include "cert/certs.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "io/timer.h"
#include "io/work.h"
#include "notify/mail.h"
#include "notify/outbound.h"
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum {
    DAY_S = 86400,
    RETRY_MS = 3600000,
    FINGERPRINT_LEN = 64,
    NOTICES_MAX = 4096, /* certificates */
    FILE_BYTES_MAX = NOTICES_MAX * 96,
    PATH_BYTES = 4096,
    NOTE_BYTES = 256
};

static struct alarm mail_alarm = {
    .name = "mail.failed",
    .severity = ALARM_WARNING,
    .text = "A mail to administrators could not be sent.",
    .action = "Correct mail.relay, mail.from or cert.mail-to, and run `musterctl cert mail-test`.",
    .explanation = "Administrators do not get mails about certificates and alarms.",
    .raised_when =
        "The relay refuses a mail or cannot be reached, or a mail is due and settings are "
        "missing.",
    .cleared_when = "A mail about certificates or alarms, or a test mail, was sent.",
};

static void monitor_changed(struct worker *w, const struct setting *s);

static struct setting notice_every = {
    .name = "cert.notice-every",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 7,
    .min = 1,
    .max = 365,
    .unit = "days",
    .changed = monitor_changed,
    .doc = "How many days after a mail about a certificate the next one follows. The first is sent "
           "cert.notice-from days before it expires.",
};
static struct setting mail_on = {
    .name = "cert.mail",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 0,
    .max = 1,
    .changed = monitor_changed,
    .doc = "Whether mails tell of certificates that expire. They need cert.mail-to and "
           "mail.relay.",
};
static struct setting mail_to = {
    .name = "cert.mail-to",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = 4096,
    .check = mail_addresses_ok,
    .form = "up to 20 mail addresses, separated by semicolons",
    .changed = monitor_changed,
    .doc = "Who gets mails about certificates that expire: addresses separated by semicolons.",
};

struct notice {
    char fingerprint[FINGERPRINT_LEN + 1];
    int64_t at; /* seconds since 1970 */
};

/* At the home of the duty. */
static struct {
    struct notice *notice; /* NOTICES_MAX */
    size_t count;
    struct notice *under_way; /* those of the mail that is being sent */
    size_t under_way_count;
    char path[PATH_BYTES];
    struct timer retry;
    int64_t mailed; /* when the last mail was taken; 0: none */
    char note[NOTE_BYTES];
    struct command_call *testing;
    bool owed;   /* a mail about certificates could not be sent */
    bool partly; /* the last mail was refused for some recipients */
    bool stopped;
} monitor;

static int64_t monitor_now(void) { return (int64_t)(clock_wall_us() / 1000000); }

/* The file: a line "FINGERPRINT SECONDS" for each. */

static void monitor_read_line(slice line)
{
    slice print, at;
    int64_t seconds;
    if (monitor.count == NOTICES_MAX || !slice_cut(line, ' ', &print, &at) ||
        print.len != FINGERPRINT_LEN || !slice_int(at, &seconds) || seconds > monitor_now())
        return;
    struct notice *n = &monitor.notice[monitor.count++];
    memcpy(n->fingerprint, print.ptr, print.len);
    n->at = seconds;
}

void cert_monitor_begin(const char *data)
{
    struct buf file;
    struct why why;
    slice line, rest;
    snprintf(monitor.path, sizeof monitor.path, "%s/cert-notices", data);
    monitor.notice = mem_alloc(NOTICES_MAX * sizeof *monitor.notice);
    memset(monitor.notice, 0, NOTICES_MAX * sizeof *monitor.notice);
    buf_init(&file, FILE_BYTES_MAX);
    if (whole_file_read(&file, monitor.path, &why) == OK) {
        rest = buf_fit(&file);
        while (rest.len > 0) {
            slice_cut(rest, '\n', &line, &rest);
            monitor_read_line(line);
        }
    }
    buf_fini(&file);
}

struct writing {
    struct work work;
    struct buf text;
    char path[PATH_BYTES];
};

static void writing_run(struct work *work)
{
    const struct writing *k = CONTAINER_OF(work, struct writing, work);
    struct why why;
    if (durable_write(k->path, 0600, buf_slice(&k->text), &why) != OK)
        log_warn(&log_server, LOG_EV("cert.notices"), LOG_C("why", why.text),
                 LOG_C("hint", "after a restart the mails about certificates are sent again"));
}

static void writing_done(struct work *work)
{
    struct writing *k = CONTAINER_OF(work, struct writing, work);
    buf_fini(&k->text);
    mem_free(&k);
}

static void monitor_write(const struct worker *w)
{
    struct writing *k = mem_new(struct writing);
    k->work = (struct work){ .run = writing_run, .done = writing_done };
    memcpy(k->path, monitor.path, sizeof k->path);
    buf_init(&k->text, FILE_BYTES_MAX);
    for (size_t i = 0; i < monitor.count; i++)
        buf_printf(&k->text, "%s %" PRId64 "\n", monitor.notice[i].fingerprint,
                   monitor.notice[i].at);
    if (work_submit(worker_work(w), worker_loop(w), &k->work) != OK)
        writing_done(&k->work);
}

/* When it was told of; 0: not yet. */
static int64_t monitor_told(const char *fingerprint)
{
    for (size_t i = 0; i < monitor.count; i++)
        if (strcmp(monitor.notice[i].fingerprint, fingerprint) == 0)
            return monitor.notice[i].at;
    return 0;
}

static void monitor_judge(const char *why, const char *note)
{
    snprintf(monitor.note, sizeof monitor.note, "%s", why != NULL ? why : note);
    monitor.partly = why == NULL && *note != '\0';
    if (why != NULL || *note != '\0') {
        alarm_raise(&mail_alarm, slice_of(monitor.note));
        log_warn(&log_server, LOG_EV("mail.failed"), LOG_C("why", monitor.note),
                 LOG_C("hint", "`musterctl cert mail-test` tries it again"));
    } else if (monitor.under_way_count > 0 || !monitor.owed) {
        alarm_clear(&mail_alarm);
    }
}

void cert_monitor_mail_works(void)
{
    if (monitor.owed)
        cert_watch_again(); /* what is due follows, and ends the alarm */
    else if (!monitor.partly)
        monitor_judge(NULL, "");
}

static void monitor_sent(void *arg, const struct mail_end *end)
{
    struct worker *w = worker_here();
    const char *why = end->why, *note = end->note;
    (void)arg;
    /* A test that lacks settings loses no mail; its answer says so. */
    if (why == NULL || !end->ours || monitor.under_way_count > 0)
        monitor_judge(why, note);
    if (monitor.under_way_count > 0)
        monitor.owed = why != NULL;
    if (why == NULL) {
        monitor.mailed = monitor_now();
        for (size_t i = 0; i < monitor.under_way_count; i++)
            monitor.under_way[i].at = monitor.mailed;
        if (monitor.under_way_count > 0) { /* those that no longer expire soon are forgotten */
            memcpy(monitor.notice, monitor.under_way,
                   monitor.under_way_count * sizeof *monitor.notice);
            monitor.count = monitor.under_way_count;
            monitor_write(w);
        }
    } else if (monitor.under_way_count > 0) {
        timer_set(worker_loop(w), &monitor.retry, RETRY_MS);
    }
    mem_free(&monitor.under_way);
    monitor.under_way_count = 0;
    struct command_call *call = monitor.testing;
    monitor.testing = NULL;
    if (call != NULL && why != NULL)
        command_fail(call, end->ours ? E_CONFLICT : E_OUTSIDE, "%s", why);
    else if (call != NULL)
        command_done(call, "the mail server has the mail%s%s", *note != '\0' ? ", but " : "", note);
    if (call != NULL && why == NULL && monitor.owed)
        cert_watch_again(); /* the relay works: what is due follows, and ends the alarm */
}

static void monitor_describe(struct buf *text, const struct cert_expiring *c)
{
    char day[16];
    time_t at = (time_t)c->not_after;
    struct tm tm;
    int64_t left = c->not_after - monitor_now();
    strftime(day, sizeof day, "%Y-%m-%d", gmtime_r(&at, &tm));
    if (left < 0)
        buf_printf(text, "expired on %s: %s\n", day, c->what);
    else
        buf_printf(text, "expires on %s, in %s: %s\n", day, cert_days_print(left / DAY_S).text,
                   c->what);
    buf_printf(text, "    SHA-256 %s\n", c->fingerprint);
}

static void monitor_mail(struct worker *w, const struct cert_expiring *all, size_t count)
{
    struct arena *tmp = arena_create(0);
    struct buf text;
    slice host = worker_node(w)->domains[0];
    buf_init(&text, MAIL_TEXT_BYTES_MAX);
    buf_printf(&text, "Certificates of the server %.*s:\n\n", SLICE_ARG(host));
    for (size_t i = 0; i < count && text.len < MAIL_TEXT_BYTES_MAX / 2; i++)
        monitor_describe(&text, &all[i]);
    buf_lit(&text, "\n`musterctl cert list` shows the server's certificates, `musterctl cert-trust "
                   "list` those that it trusts.\nThe next mail follows while one of them is not "
                   "replaced (cert.notice-every).\n");
    const char *subject =
        arena_printf(tmp, "%zu certificate%s of %s expire%s", count, count == 1 ? "" : "s",
                     mail_host(w, tmp), count == 1 ? "s" : "");
    monitor.under_way = mem_alloc(count * sizeof *monitor.under_way);
    monitor.under_way_count = count;
    for (size_t i = 0; i < count; i++)
        snprintf(monitor.under_way[i].fingerprint, sizeof monitor.under_way[i].fingerprint, "%s",
                 all[i].fingerprint);
    if (!mail_send(w, slice_of(setting_text(&mail_to)), slice_of(subject), buf_fit(&text),
                   monitor_sent, NULL)) {
        mem_free(&monitor.under_way);
        monitor.under_way_count = 0;
        timer_set(worker_loop(w), &monitor.retry, RETRY_MS);
    }
    buf_fini(&text);
    arena_destroy(&tmp);
}

void cert_monitor_look(struct worker *w, const struct cert_expiring *all, size_t count)
{
    int64_t every = setting_int(&notice_every) * DAY_S, now = monitor_now();
    bool due = false;
    if (!setting_bool(&mail_on) || monitor.stopped || monitor.under_way_count > 0)
        return;
    count = count < NOTICES_MAX ? count : NOTICES_MAX;
    for (size_t i = 0; i < count; i++)
        due = due || now - monitor_told(all[i].fingerprint) >= every;
    if (due)
        monitor_mail(w, all, count);
}

static void monitor_again(struct timer *t, struct loop *loop)
{
    (void)t, (void)loop;
    cert_watch_again();
}

static void monitor_changed(struct worker *w, const struct setting *s)
{
    if (!duty_is_here(w, DUTY_CERTS))
        return;
    if (s == &mail_on && !setting_bool(&mail_on)) {
        monitor.owed = false;
        alarm_clear(&mail_alarm);
    }
    cert_watch_again();
}

static void monitor_stop(void)
{
    struct command_call *call = monitor.testing;
    monitor.stopped = true;
    timer_cancel(&monitor.retry);
    mail_stop();
    mem_free(&monitor.under_way);
    monitor.under_way_count = 0;
    monitor.testing = NULL;
    if (call != NULL)
        command_fail(call, E_CANCELED, "the server ends");
}

static void monitor_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_CERTS))
        return;
    monitor.retry.fn = monitor_again;
    outbound_at_stop(monitor_stop);
}

static void monitor_add_stamp(struct command_call *call, const char *key, int64_t seconds)
{
    char stamp[CLOCK_STAMP_LEN] = "";
    if (seconds > 0)
        clock_stamp(stamp, (uint64_t)seconds * 1000000);
    command_text(call, key, slice_of(stamp));
}

static void monitor_run(struct command_call *call)
{
    command_row(call);
    command_int(call, "notice_from", cert_notice_days());
    command_int(call, "notice_every", setting_int(&notice_every));
    command_bool(call, "mail", setting_bool(&mail_on));
    command_text(call, "mail_to", slice_of(setting_text(&mail_to)));
    monitor_add_stamp(call, "next_look", cert_watch_next());
    monitor_add_stamp(call, "mailed", monitor.mailed);
    command_text(call, "note", slice_of(monitor.note));
    command_done(call, "%s", "");
}

static void mail_test_run(struct command_call *call)
{
    struct worker *w = call->worker;
    if (monitor.testing != NULL ||
        !mail_send(w, slice_of(setting_text(&mail_to)), SLICE("Test mail of Muster"),
                   SLICE("An administrator has asked for this mail with `musterctl cert "
                         "mail-test`.\nMails about certificates that expire come to this address, "
                         "too.\n"),
                   monitor_sent, NULL)) {
        command_fail(call, E_AGAIN, "another mail is on its way; try again");
        return;
    }
    monitor.testing = call;
}

static struct command monitor_command = {
    .name = "cert monitor",
    .rest = "GET /certificates/monitor",
    .effect = COMMAND_READS,
    .area = "certificates",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = monitor_run,
    .record = true,
    .doc = "Shows how certificates are watched. `musterctl set` changes it: cert.notice-from, "
           "cert.notice-every, cert.mail, cert.mail-to and mail.relay.",
    .columns =
        (const struct command_column[]){
            { .name = "notice_from",
              .type = PARAM_INT,
              .unit = "days",
              .doc = "a certificate is reported so long before it expires" },
            { .name = "notice_every",
              .type = PARAM_INT,
              .unit = "days",
              .doc = "and by mail again after that time" },
            { .name = "mail", .type = PARAM_BOOL, .doc = "whether mails are sent" },
            { .name = "mail_to", .doc = "who gets them" },
            { .name = "next_look", .type = PARAM_STAMP, .doc = "all are looked at again then" },
            { .name = "mailed", .type = PARAM_STAMP, .doc = "the last mail since the start" },
            { .name = "note", .doc = "why it was not sent, or not to all" },
            { 0 } },
};

static struct command mail_test_command = {
    .name = "cert mail-test",
    .effect = COMMAND_CHANGES,
    .area = "certificates",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = mail_test_run,
    .doc = "Sends a test mail. It goes to the addresses of cert.mail-to, by the mail server of "
           "mail.relay.",
};

const struct feature cert_monitor_feature = {
    .name = "cert-monitor",
    .settings = (struct setting *const[]){ &notice_every, &mail_on, &mail_to, NULL },
    .commands = (struct command *const[]){ &monitor_command, &mail_test_command, NULL },
    .alarms = (struct alarm *const[]){ &mail_alarm, NULL },
    .worker.start = monitor_worker_start,
};
