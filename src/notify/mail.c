#include "notify/mail.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/host_port.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "cert/cert_trust.h"
#include "cert/cert_watch.h"
#include "codec/smtp.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "io/loop.h"
#include "io/timer.h"
#include "io/tls_trust.h"
#include "io/visit.h"
#include "notify/outbound.h"
#include "xmpp/precis.h"
#include <assert.h>
#include <stdio.h>
#include <time.h>

static_assert((int)MAIL_RECIPIENTS_MAX <= (int)SMTP_RECIPIENTS_MAX, "a mail is for that many");

enum {
    DEADLINE_MS = 60000,
    PORT_DEFAULT = 25,
    DATE_BYTES = 64,
    LINE_BYTES_MAX = 900, /* a relay may add to it */
    OUTPUT_BYTES_MAX = 4 * MAIL_TEXT_BYTES_MAX
};

/* "relay.test", "relay.test:587", "[::1]:25". */
static bool relay_read(slice text, slice *host, uint16_t *port)
{
    *port = PORT_DEFAULT;
    return host_port_read(text, host, port) && host->len <= VISIT_HOST_MAX;
}

static bool relay_ok(slice text)
{
    slice host;
    uint16_t port;
    return text.len == 0 || relay_read(text, &host, &port);
}
static bool from_ok(slice text) { return text.len == 0 || smtp_address_ok(text); }

/* A mail that is due goes to the new relay at once, not at the next try. */
static void mail_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    if (duty_is_here(w, DUTY_CERTS))
        cert_watch_again();
}

static struct setting mail_password = {
    .name = "mail.password",
    .scope = SCOPE_NODE,
    .type = PARAM_SECRET,
    .def_text = "",
    .max = SMTP_LOGIN_MAX,
    .changed = mail_changed,
    .doc = "The password of mail.user at the relay. Another value of mail.relay clears it, so "
           "set it afterwards, or both as one change (`config edit`).",
};
static struct setting mail_relay = {
    .name = "mail.relay",
    .scope = SCOPE_NODE,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = 300,
    .check = relay_ok,
    .form = "HOST or HOST:PORT, with an IPv6 address in brackets such as [::1]:25, or empty",
    .secret = &mail_password,
    .changed = mail_changed,
    .doc =
        "The mail server that takes mails of this server to administrators, for example "
        "localhost:25. STARTTLS is used if it offers that. mail.user is for a relay that wants a "
        "login. Empty: no mail is sent. Another value clears mail.password.",
};
static struct setting mail_from = {
    .name = "mail.from",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = 254,
    .check = from_ok,
    .form = "a mail address, or empty",
    .changed = mail_changed,
    .doc = "The sender of mails to administrators. Empty: muster@ and the first domain.",
};

static struct setting mail_tls = {
    .name = "mail.tls-required",
    .scope = SCOPE_NODE,
    .type = PARAM_BOOL,
    .max = 1,
    .changed = mail_changed,
    .doc = "Whether mails are sent only over TLS. If off, they are sent in the clear to a relay "
           "that does not offer STARTTLS. The certificate of the relay is not checked, unless "
           "mail.user is set.",
};
static struct setting mail_tls_first = {
    .name = "mail.tls-first",
    .scope = SCOPE_NODE,
    .type = PARAM_BOOL,
    .max = 1,
    .changed = mail_changed,
    .doc = "Whether TLS begins with the connection to the relay, as port 465 wants it. Off: by "
           "STARTTLS.",
};
static struct setting mail_user = {
    .name = "mail.user",
    .scope = SCOPE_NODE,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = SMTP_LOGIN_MAX,
    .changed = mail_changed,
    .doc = "The user that logs in at the relay, with mail.password. This is done only over TLS, "
           "and only if the certificate of the relay names its host and is trusted as those of "
           "other servers are (`musterctl cert-trust add`). Empty: without a login.",
};

/* The mail that is on its way. */
static struct {
    struct arena *arena; /* NULL: none */
    struct visit *visit;
    struct smtp machine;
    struct smtp_mail mail;
    slice to[MAIL_RECIPIENTS_MAX];
    bool done;
    bool ours; /* nothing was asked of the relay */
    const char *why;
    mail_fn *told;
    void *arg;
    struct loop_defer over;
} sending;

size_t mail_addresses(slice list, slice out[MAIL_RECIPIENTS_MAX])
{
    size_t count = 0;
    slice one;
    while (list.len > 0) {
        slice_cut(list, ';', &one, &list);
        while (one.len > 0 && one.ptr[0] == ' ')
            one = slice_from(one, 1);
        while (one.len > 0 && one.ptr[one.len - 1] == ' ')
            one.len--;
        if (one.len > 0 && count < MAIL_RECIPIENTS_MAX)
            out[count++] = one;
        else if (one.len > 0)
            return MAIL_RECIPIENTS_MAX + 1;
    }
    return count;
}

bool mail_addresses_ok(slice list)
{
    slice all[MAIL_RECIPIENTS_MAX];
    size_t count = mail_addresses(list, all);
    bool good = count <= MAIL_RECIPIENTS_MAX;
    for (size_t i = 0; good && i < count; i++)
        good = smtp_address_ok(all[i]);
    return good;
}

static slice mail_later(void)
{
    slice list = SLICE("");
    for (size_t i = 0; i < sending.mail.to_count; i++)
        if ((sending.machine.later >> i & 1) != 0)
            list = slice_of(arena_printf(sending.arena, "%.*s%s%.*s", SLICE_ARG(list),
                                         list.len > 0 ? "; " : "", SLICE_ARG(sending.to[i])));
    return list;
}

static void mail_end(void)
{
    struct arena *arena = sending.arena;
    mail_fn *told = sending.told;
    struct mail_end end = { .why = sending.done ? NULL : sending.why,
                            .note = sending.machine.note,
                            .later = sending.done ? mail_later() : SLICE(""),
                            .ours = sending.ours };
    sending.arena = NULL;
    if (told != NULL)
        told(sending.arg, &end);
    arena_destroy(&arena);
}

static void mail_over(struct loop_defer *d)
{
    (void)d;
    mail_end();
}

/* Nobody but the relay is told a password. */
static void mail_start_tls(struct visit *v)
{
    struct tls_trust *trust =
        sending.mail.user != NULL ? tls_trusted_get(cert_trusted(CERT_TRUST_FEDERATION)) : NULL;
    visit_start_tls(v, trust);
    tls_trust_unref(&trust);
}

static void mail_step(struct visit *v, enum smtp_step step, struct buf *out)
{
    if (out->len > 0)
        visit_write(v, buf_fit(out));
    if (step == SMTP_TLS)
        mail_start_tls(v);
    sending.done = sending.done || step == SMTP_DONE;
    if (step == SMTP_FAILED)
        sending.why = sending.machine.note;
    if (step == SMTP_DONE || step == SMTP_FAILED)
        visit_close(v);
}

/* The relay speaks first. */
static void mail_opened(struct visit *v)
{
    if (sending.mail.tls_first)
        mail_start_tls(v);
}

static void mail_secured(struct visit *v)
{
    struct buf out;
    if (sending.mail.tls_first)
        return;
    buf_init(&out, OUTPUT_BYTES_MAX);
    mail_step(v, smtp_secured(&sending.machine, &out), &out);
    buf_fini(&out);
}

/* Returns the bytes taken; 0: a line is not complete. */
static size_t mail_take_line(struct visit *v, slice data)
{
    const char *end = memchr(data.ptr, '\n', data.len);
    struct buf out;
    if (end == NULL && data.len <= SMTP_LINE_MAX)
        return 0;
    size_t len = end != NULL ? (size_t)(end - data.ptr) : data.len;
    size_t taken = len + (end != NULL);
    slice line = { data.ptr, len > 0 && data.ptr[len - 1] == '\r' ? len - 1 : len };
    buf_init(&out, OUTPUT_BYTES_MAX);
    enum smtp_step step = smtp_line(&sending.machine, line, &out);
    if (taken < data.len && (step == SMTP_SAY || step == SMTP_TLS)) {
        step = smtp_too_early(&sending.machine);
        out.len = 0;
    }
    mail_step(v, step, &out);
    buf_fini(&out);
    return taken;
}

static size_t mail_input(struct visit *v, slice data)
{
    size_t at = 0, taken = 1;
    while (at < data.len && taken > 0) {
        bool over = sending.done || sending.why != NULL;
        taken = over ? data.len - at : mail_take_line(v, slice_from(data, at));
        at += taken;
    }
    return at;
}

static void mail_ended(void *arg, const char *why)
{
    (void)arg;
    sending.visit = NULL;
    if (sending.why == NULL)
        sending.why = why != NULL ? arena_printf(sending.arena, "%s", why)
                                  : "the relay closed the connection before it had the mail";
    mail_end();
}

static const struct visit_ops mail_ops = {
    .opened = mail_opened, .secured = mail_secured, .input = mail_input, .ended = mail_ended
};

/* Where a line that is too long is broken: behind a space, or if there is none, before a
 * character. */
static size_t mail_break(slice line)
{
    size_t at = LINE_BYTES_MAX;
    ensure(line.len > LINE_BYTES_MAX);
    while (at > LINE_BYTES_MAX / 2 && line.ptr[at - 1] != ' ')
        at--;
    if (line.ptr[at - 1] == ' ')
        return at;
    at = LINE_BYTES_MAX;
    while (at > 1 && ((unsigned char)line.ptr[at] & 0xc0) == 0x80)
        at--;
    return at;
}

/* RFC 5322 §2.1.1: no line is longer than 998 bytes. */
static void mail_fold(struct buf *out, slice text)
{
    slice line;
    while (text.len > 0) {
        slice_cut(text, '\n', &line, &text);
        while (line.len > LINE_BYTES_MAX) {
            size_t at = mail_break(line);
            buf_add(out, (slice){ line.ptr, at });
            buf_lit(out, "\n");
            line = slice_from(line, at);
        }
        buf_add(out, line);
        buf_lit(out, "\n");
    }
}

/* RFC 5322 §3.6. The header is in ASCII: addresses are, and `subject` is. */
static slice mail_text(slice subject, slice text)
{
    struct arena *arena = sending.arena;
    struct buf out;
    char date[DATE_BYTES], id[33];
    time_t now = (time_t)(clock_wall_us() / 1000000);
    struct tm tm;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", gmtime_r(&now, &tm));
    rand_hex(id, 16);
    buf_init(&out, OUTPUT_BYTES_MAX);
    buf_printf(&out, "From: <%s>\nTo: ", sending.mail.from);
    for (size_t i = 0; i < sending.mail.to_count; i++)
        buf_printf(&out, "%s<%.*s>", i > 0 ? ",\n " : "", SLICE_ARG(sending.to[i]));
    buf_printf(&out,
               "\nSubject: %.*s\nDate: %s\n"
               "Message-ID: <%s@%s>\nAuto-Submitted: auto-generated\n"
               "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
               "Content-Transfer-Encoding: 8bit\n\n",
               SLICE_ARG(subject), date, id, sending.mail.host);
    mail_fold(&out, text);
    ensure(!out.overflow);
    slice made = slice_dup(arena, buf_fit(&out));
    buf_fini(&out);
    return made;
}

const char *mail_host(const struct worker *w, struct arena *arena)
{
    slice ascii, first = worker_node(w)->domains[0];
    return slice_cstr(arena, precis_domain_ascii(first, arena, &ascii) == OK ? ascii : first);
}

static const char *mail_prepare(struct worker *w, slice to, slice subject, slice text)
{
    struct arena *arena = sending.arena;
    const char *from = setting_text(&mail_from);
    slice list = slice_dup(arena, to);
    sending.mail = (struct smtp_mail){ .host = mail_host(w, arena), .to = sending.to };
    sending.mail.demands_tls = setting_bool(&mail_tls);
    sending.mail.tls_first = setting_bool(&mail_tls_first);
    if (*setting_text(&mail_user) != '\0') {
        sending.mail.user = slice_cstr(arena, slice_of(setting_text(&mail_user)));
        sending.mail.password = slice_cstr(arena, slice_of(setting_text(&mail_password)));
    }
    sending.mail.to_count = mail_addresses(list, sending.to);
    sending.mail.from = *from != '\0' ? slice_cstr(arena, slice_of(from))
                                      : arena_printf(arena, "muster@%s", sending.mail.host);
    if (sending.mail.to_count == 0 || sending.mail.to_count > MAIL_RECIPIENTS_MAX)
        return "no mail address is given: set cert.mail-to, or alarm.mail-to for alarms";
    sending.mail.text = mail_text(subject, text);
    smtp_begin(&sending.machine, &sending.mail);
    return NULL;
}

static const char *mail_start(struct worker *w)
{
    slice host, relay = slice_of(arena_printf(sending.arena, "%s", setting_text(&mail_relay)));
    uint16_t port;
    struct resolver *resolver = outbound_resolver(w);
    if (relay.len == 0)
        return "no mail server is given (mail.relay)";
    if (resolver == NULL || !relay_read(relay, &host, &port))
        return "the mail server of mail.relay cannot be looked up";
    sending.visit = visit_start(
        worker_loop(w),
        &(struct visit_options){
            .resolver = resolver, .host = host, .port = port, .deadline_ms = DEADLINE_MS },
        &mail_ops, NULL);
    return sending.visit == NULL ? "the name of mail.relay is too long" : NULL;
}

bool mail_send(struct worker *w, slice to, slice subject, slice text, mail_fn *done, void *arg)
{
    if (sending.arena != NULL)
        return false;
    ensure(text.len <= MAIL_TEXT_BYTES_MAX);
    sending.arena = arena_create(0);
    sending.done = false;
    sending.machine.note[0] = '\0';
    sending.told = done;
    sending.arg = arg;
    sending.why = mail_prepare(w, to, subject, text);
    if (sending.why == NULL)
        sending.why = mail_start(w);
    sending.ours = sending.visit == NULL;
    if (sending.visit == NULL) {
        sending.over.fn = mail_over;
        loop_defer(worker_loop(w), &sending.over);
    }
    return true;
}

void mail_stop(void)
{
    visit_cancel(&sending.visit);
    loop_defer_cancel(&sending.over);
    sending.told = NULL;
    if (sending.arena != NULL)
        mail_end();
}

const struct feature mail_feature = {
    .name = "mail",
    .settings = (struct setting *const[]){ &mail_relay, &mail_from, &mail_tls, &mail_tls_first,
                                           &mail_user, &mail_password, NULL },
};
