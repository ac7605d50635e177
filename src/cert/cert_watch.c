#include "cert/cert_watch.h"
#include "app/node_file.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/metric.h"
#include "base/setting.h"
#include "cert/cert_monitor.h"
#include "cert/cert_ocsp.h"
#include "cert/cert_trust.h"
#include "cert/certs.h"
#include "cert/tls_settings.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "io/timer.h"

enum { HOUR_MS = 3600 * 1000, DAY_MS = 24 * HOUR_MS, ERROR_DAYS = 7, EXPIRING_MAX = 512 };

static struct alarm expiry_alarm = {
    .name = "tls.expiry",
    .severity = ALARM_WARNING,
    .text = "A certificate, or an issuer in its chain, expires soon or has expired.",
    .action =
        "Renew the certificate, and run `musterctl cert import`, or `systemctl reload muster` "
        "if the node file names it. `musterctl cert list` shows all certificates.",
    .explanation = "Clients and servers refuse a connection whose certificate has expired.",
    .raised_when =
        "A certificate expires within cert.notice-from days. The severity rises as the day comes "
        "nearer.",
    .cleared_when = "All certificates are valid for longer.",
    .settings = "cert.notice-from",
};
static struct alarm names_alarm = {
    .name = "tls.names",
    .severity = ALARM_WARNING,
    .text =
        "A certificate cannot be read, does not name a domain that is served with it, is not valid "
        "yet, or has a keyUsage without digitalSignature.",
    .action = "Give the domain a certificate with its name, by `musterctl cert import` or under "
              "tls.domains of the node file. `musterctl cert check` says what is wrong.",
    .explanation =
        "Clients and other servers do not trust a domain whose certificate does not name it, and "
        "TLS needs certificates whose keys may sign.",
    .raised_when =
        "A certificate that is served does not match, cannot be read, is not valid yet or may not "
        "sign.",
    .cleared_when = "All certificates match.",
};
enum { DAY_S = 86400 };
static struct metric days_left = {
    .name = "muster_tls_certificate_left_seconds",
    .kind = METRIC_GAUGE,
    .help = "Time until the first certificate in use, or issuer in its chain, expires; negative if "
            "one has expired.",
};

static void cert_watch_changed(struct worker *w, const struct setting *s);

static struct setting notice_from = {
    .name = "cert.notice-from",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 30,
    .min = 1,
    .max = 365,
    .unit = "days",
    .changed = cert_watch_changed,
    .doc = "How many days before a certificate, or an issuer in its chain, expires the alarm "
           "tls.expiry is raised. It becomes "
           "an error 7 days before. Certificates are looked at every 24 hours, and every hour in "
           "their last day.",
};

struct cert_watch {
    struct arena *arena;
    struct cert_uses uses;
    struct cert_ocsp *ocsp;
};

/* Used at the home of the duty only, as are the timer and days_counted. */
static struct cert_watch *watch;
static struct timer look_timer;
static int64_t days_counted, next_look;

struct cert_watch *cert_watch_create(const struct node_file *file)
{
    struct arena *arena = arena_create(0);
    struct cert_watch *made = arena_new(arena, struct cert_watch, 1);
    made->arena = arena;
    certs_read(&made->uses, file, arena);
    made->ocsp = cert_ocsp_create(&made->uses, file->data, arena);
    return made;
}

const struct cert_uses *cert_watch_uses(void) { return watch != NULL ? &watch->uses : NULL; }

int64_t cert_notice_days(void) { return setting_int(&notice_from); }

static int64_t now_s(void) { return (int64_t)(clock_wall_us() / 1000000); }

/* The certificate that expires first, of all chains, and where it is used. */
struct first_end {
    const struct cert_use *use; /* NULL: there is none */
    const struct tls_cert_facts *facts;
};

static struct first_end first_to_expire(void)
{
    struct first_end first = { NULL, NULL };
    for (size_t i = 0; watch != NULL && i < watch->uses.count; i++) {
        const struct cert_use *use = &watch->uses.item[i];
        const struct tls_cert_facts *f = use->known ? cert_first_end(&use->chain) : NULL;
        if (f != NULL && (first.use == NULL || f->not_after < first.facts->not_after))
            first = (struct first_end){ use, f };
    }
    return first;
}

static const char *expiry_text(const struct first_end *first, int64_t days, struct arena *arena)
{
    const char *what = first->use->certificate;
    if (first->facts != &first->use->chain.item[0])
        what =
            arena_printf(arena, "%s: the issuer \"%s\" in its chain", what, first->facts->subject);
    return arena_printf(arena, "%s: %s", what, cert_days_print(days).text);
}

static void tell_expiry(const struct first_end *first, struct arena *arena)
{
    int64_t days = first->use != NULL ? cert_days_left(first->facts, now_s()) : INT16_MAX;
    metric_add(&days_left, (days - days_counted) * DAY_S);
    days_counted = days;
    if (days >= cert_notice_days()) {
        alarm_clear(&expiry_alarm);
        return;
    }
    alarm_raise_as(&expiry_alarm,
                   days < 0            ? ALARM_CRITICAL
                   : days < ERROR_DAYS ? ALARM_ERROR
                                       : ALARM_WARNING,
                   slice_of(expiry_text(first, days, arena)));
}

static void tell_names(struct arena *arena)
{
    for (size_t i = 0; watch != NULL && i < watch->uses.count; i++) {
        const struct cert_use *use = &watch->uses.item[i];
        const char *fault = cert_fault(use, now_s(), arena);
        if (fault == NULL ||
            (use->known && cert_days_left(cert_first_end(&use->chain), now_s()) < 0))
            continue;
        alarm_raise(&names_alarm, slice_of(arena_printf(arena, "%s: %s", use->certificate, fault)));
        return;
    }
    alarm_clear(&names_alarm);
}

/* Each day, each hour in the last day of a certificate, and when it has expired. expires: the first
 * of them. */
static uint64_t next_look_ms(int64_t expires)
{
    int64_t left = expires - now_s();
    if (left <= DAY_S)
        return left >= 0 && left < HOUR_MS / 1000 ? (uint64_t)left * 1000 + 1000 : HOUR_MS;
    return left < 2 * DAY_S ? (uint64_t)(left - DAY_S) * 1000 + 1000 : DAY_MS;
}

/* Certificates that a mail tells of, copied. */
struct expiring {
    struct arena *arena;
    struct cert_expiring *item;
    size_t count, cap;
};

static void expiring_add(struct expiring *e, const struct tls_cert_facts *f, const char *what)
{
    if (cert_days_left(f, now_s()) >= cert_notice_days() || e->count == e->cap)
        return;
    for (size_t i = 0; i < e->count; i++)
        if (strcmp(e->item[i].fingerprint, f->fingerprint) == 0)
            return;
    e->item[e->count++] =
        (struct cert_expiring){ arena_printf(e->arena, "%s", f->fingerprint),
                                arena_printf(e->arena, "%s", what), f->not_after };
}

static void expiring_add_trusted(const struct tls_cert_facts *f, void *arg)
{
    struct expiring *e = arg;
    expiring_add(e, f, arena_printf(e->arena, "trusted certificate \"%s\"", f->subject));
}

static void expiring_add_use(struct expiring *e, const struct cert_use *use)
{
    const struct tls_cert_facts *first = cert_first_end(&use->chain);
    expiring_add(e, &use->facts, use->domains);
    if (first != &use->chain.item[0])
        expiring_add(e, first,
                     arena_printf(e->arena, "issuer \"%s\" in the chain of %s", first->subject,
                                  use->domains));
}

static void tell_by_mail(struct worker *w, struct arena *arena)
{
    struct expiring e = { .arena = arena, .cap = EXPIRING_MAX };
    e.item = arena_new(arena, struct cert_expiring, e.cap);
    for (size_t i = 0; watch != NULL && i < watch->uses.count; i++)
        if (watch->uses.item[i].known)
            expiring_add_use(&e, &watch->uses.item[i]);
    cert_trust_each(expiring_add_trusted, &e);
    cert_monitor_look(w, e.item, e.count);
}

/* loop: that of the duty; NULL: workers do not run yet. */
static void cert_watch_look(struct loop *loop)
{
    struct arena *arena = arena_create(0);
    const struct first_end first = first_to_expire();
    tell_expiry(&first, arena);
    tell_names(arena);
    if (loop != NULL)
        tell_by_mail(worker_here(), arena);
    arena_destroy(&arena);
    int64_t expires = cert_trust_look(now_s(), cert_notice_days());
    if (first.use != NULL && first.facts->not_after < expires)
        expires = first.facts->not_after;
    uint64_t wait_ms = next_look_ms(expires);
    if (loop != NULL) {
        timer_set(loop, &look_timer, wait_ms);
        next_look = now_s() + (int64_t)(wait_ms / 1000);
    }
}

void cert_watch_again(void) { cert_watch_look(worker_loop(worker_here())); }
int64_t cert_watch_next(void) { return next_look; }

static void cert_watch_free(const struct cert_watch *old)
{
    struct arena *arena = old != NULL ? old->arena : NULL; /* it is in it */
    arena_destroy(&arena);
}

void cert_watch_use(struct cert_watch *made)
{
    struct cert_watch *old = watch;
    watch = made;
    cert_ocsp_use(made->ocsp);
    tls_settings_look(&made->uses);
    cert_watch_free(old);
    cert_watch_look(worker_here() != NULL ? worker_loop(worker_here()) : NULL);
}

void cert_watch_end(void)
{
    struct cert_watch *old = watch;
    cert_ocsp_use(NULL);
    watch = NULL;
    cert_watch_free(old);
}

static void cert_watch_on_timer(struct timer *t, struct loop *loop)
{
    (void)t;
    cert_watch_look(loop);
}

static void cert_watch_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    if (duty_is_here(w, DUTY_CERTS))
        cert_watch_look(worker_loop(w));
}

static void cert_watch_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_CERTS))
        return;
    look_timer.fn = cert_watch_on_timer;
    cert_watch_look(worker_loop(w));
}

static void cert_watch_worker_stop(struct worker *w)
{
    if (duty_is_here(w, DUTY_CERTS))
        timer_cancel(&look_timer);
}

static void cert_watch_add_time(struct command_call *call, const char *key, int64_t when)
{
    char stamp[CLOCK_STAMP_LEN] = "";
    if (when > 0)
        clock_stamp(stamp, (uint64_t)when * 1000000);
    command_text(call, key, slice_of(stamp));
}

static void cert_watch_add_use(struct command_call *call, const struct cert_use *use)
{
    const char *names = "", *fault = cert_fault(use, now_s(), call->arena);
    if (use->known && cert_ocsp_revoked(use->facts.fingerprint))
        fault = CERT_OCSP_REVOKED;
    for (size_t i = 0; i < use->facts.name_count; i++)
        names = arena_printf(call->arena, "%s%s%s", names, i > 0 ? ", " : "", use->facts.name[i]);
    command_row(call);
    command_text(call, "domains", slice_of(use->domains));
    const struct tls_cert_facts *first = use->known ? cert_first_end(&use->chain) : &use->facts;
    command_int(call, "days_left", use->known ? cert_days_left(first, now_s()) : 0);
    command_text(call, "first_to_expire", use->known ? slice_of(first->subject) : SLICE(""));
    command_text(call, "state", slice_of(fault != NULL ? fault : "ok"));
    cert_watch_add_time(call, "not_before", use->facts.not_before);
    cert_watch_add_time(call, "not_after", use->facts.not_after);
    command_text(call, "names", slice_of(names));
    command_text(call, "issuer", use->known ? slice_of(use->facts.issuer) : SLICE(""));
    command_bool(call, "self_signed", use->facts.self_signed);
    command_text(call, "certificate", slice_of(use->certificate));
    command_text(call, "key", slice_of(use->key));
}

static void cert_watch_run_list(struct command_call *call)
{
    for (size_t i = 0; watch != NULL && i < watch->uses.count; i++)
        cert_watch_add_use(call, &watch->uses.item[i]);
    command_done(call, "%s", "");
}

static struct command list_command = {
    .name = "cert list",
    .rest = "GET /certificates",
    .effect = COMMAND_READS,
    .area = "certificates",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = cert_watch_run_list,
    .doc = "Lists the TLS certificates in use: the domains that each serves, the days until it "
           "expires, and what is wrong with it.",
    .columns =
        (const struct command_column[]){
            { .name = "domains", .doc = "domains that it serves" },
            { .name = "days_left",
              .type = PARAM_INT,
              .unit = "days",
              .doc = "days until it, or an issuer in its chain, expires" },
            { .name = "first_to_expire",
              .wide = true,
              .doc = "subject of the one of its chain that expires first" },
            { .name = "state", .doc = "ok, or what is wrong" },
            { .name = "not_before", .wide = true, .type = PARAM_STAMP, .doc = "valid from" },
            { .name = "not_after", .wide = true, .type = PARAM_STAMP, .doc = "valid until" },
            { .name = "names", .doc = "names in it" },
            { .name = "issuer", .wide = true, .doc = "who issued it" },
            { .name = "self_signed",
              .wide = true,
              .type = PARAM_BOOL,
              .doc = "whether it is self-signed" },
            { .name = "certificate", .type = PARAM_PATH, .doc = "its file" },
            { .name = "key", .wide = true, .type = PARAM_PATH, .doc = "file of its key" },
            { 0 } },
};

const struct feature cert_watch_feature = {
    .name = "cert-watch",
    .settings = (struct setting *const[]){ &notice_from, NULL },
    .commands = (struct command *const[]){ &list_command, NULL },
    .alarms = (struct alarm *const[]){ &expiry_alarm, &names_alarm, NULL },
    .metrics = (struct metric *const[]){ &days_left, NULL },
    .worker.start = cert_watch_worker_start,
    .worker.stop = cert_watch_worker_stop,
};
