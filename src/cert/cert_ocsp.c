#include "cert/cert_ocsp.h"
#include "app/features.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/durable.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "base/whole_file.h"
#include "cert/certs.h"
#include "codec/http_reply.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "io/timer.h"
#include "io/tls_ocsp.h"
#include "io/tls_staple.h"
#include "io/visit.h"
#include "io/work.h"
#include "notify/outbound.h"
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

enum {
    DEADLINE_MS = 20000,
    QUESTION_BYTES_MAX = 8192,
    REPLY_BYTES_MAX = HTTP_REPLY_HEAD_MAX + TLS_OCSP_BYTES_MAX,
    WAIT_MIN_MS = 60000, /* until an answer that ends soon is asked for again */
    RETRY_MS = 60000,    /* doubled with each failure, up to an hour */
    RETRY_MAX_MS = 3600000,
    FAILS_TOLD = 3, /* from then on it is an alarm that there is no answer */
    DAY_S = 86400,
    NOTE_BYTES = 240,
    FINGERPRINT_LEN = 64
};

static struct alarm ocsp_alarm = {
    .name = "tls.ocsp",
    .severity = ALARM_WARNING,
    .text = "A certificate is revoked, or its OCSP responder has not answered.",
    .action =
        "See which and why with `musterctl cert ocsp`. Replace a certificate that is revoked: "
        "`musterctl cert csr`. Let the server reach the responder, or set ocsp.enabled to "
        "off.",
    .explanation =
        "The server staples an answer of the OCSP responder to its certificate, which some "
        "clients demand.",
    .raised_when =
        "The responder says that a certificate is revoked, or it gave no usable answer until the "
        "last one ran out.",
    .cleared_when = "The responder says that all certificates are good, or OCSP is off.",
    .settings = "ocsp.enabled",
};
static struct metric ocsp_answers = {
    .name = "muster_ocsp_answers",
    .kind = METRIC_COUNTER,
    .label = "result",
    .values = (const char *const[]){ "taken", "failed", NULL },
    .help = "Questions to OCSP responders about certificates of this server.",
};

static void ocsp_changed(struct worker *w, const struct setting *s);

static struct setting ocsp_enabled = {
    .name = "ocsp.enabled",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .max = 1,
    .changed = ocsp_changed,
    .doc = "Whether the OCSP responder that a certificate names is asked, and its answer shown in "
           "TLS handshakes (stapling), so that clients need not ask themselves.",
};
static bool uri_ok(slice text)
{
    struct http_uri uri;
    return text.len == 0 || http_uri_read(&uri, text);
}
static struct setting ocsp_uri = {
    .name = "ocsp.uri",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = 1000,
    .check = uri_ok,
    .form = "an address as http://ocsp.example.org/, or empty",
    .changed = ocsp_changed,
    .doc = "The OCSP responder that is asked about all certificates. Empty: the one that each "
           "certificate names.",
};
static struct setting ocsp_local = {
    .name = "ocsp.allow-local",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 0,
    .max = 1,
    .changed = ocsp_changed,
    .doc = "Whether a responder or a list of revoked certificates that a certificate names may be "
           "at this machine or its link: at a loopback, link-local or unspecified address. The "
           "responder of ocsp.uri may always.",
};
static struct setting ocsp_every = {
    .name = "ocsp.check-every",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = DAY_S * 1000LL,
    .min = 1000,
    .max = 7LL * DAY_S * 1000,
    .changed = ocsp_changed,
    .doc = "How often the OCSP responder is asked, at least. An answer that ends sooner is asked "
           "for again after half of its time. About certificates of others, which "
           "tls.servers-revocation and tls.clients-revocation are about, it is how long an answer "
           "or a list counts at most.",
};

bool cert_ocsp_allows_local(void) { return setting_bool(&ocsp_local); }
int64_t cert_ocsp_every_s(void) { return setting_int(&ocsp_every) / 1000; }

/* A certificate, and what is known about it. */
struct ocsp_item {
    const struct cert_use *use;
    const char *path; /* of the answer that is kept */
    struct tls_ocsp told;
    bool has;          /* the last answer: `told` */
    uint64_t tried_us; /* wall clock; 0: never */
    uint64_t next_us;  /* monotonic; when it is asked for again */
    unsigned fails;    /* since the last answer */
    uint64_t hash;     /* of the bytes of the last answer */
    slice kept;        /* of the file, until cert_ocsp_use(); in the arena */
    char note[NOTE_BYTES];
};

struct cert_ocsp {
    const char *folder;
    struct ocsp_item *item;
    size_t count;
};

/* At the home of the duty. */
static struct cert_ocsp *watched;
static struct {
    struct visit *visit;
    struct ocsp_item *item; /* that is asked about; with `visit` */
    struct buf reply;
    bool done, stopped;
    struct timer timer;
} asking = { .timer = { .fn = NULL } };

static int64_t ocsp_now_s(void) { return (int64_t)(clock_wall_us() / 1000000); }

static const char *item_fingerprint(const struct ocsp_item *i) { return i->use->facts.fingerprint; }

/* NULL: there is nobody to ask. */
static const char *item_responder(const struct ocsp_item *i)
{
    const char *given = setting_text(&ocsp_uri);
    if (!setting_bool(&ocsp_enabled) || i->use->facts.self_signed)
        return NULL;
    return *given != '\0' ? given : i->use->facts.responder;
}

bool cert_ocsp_misses(const struct tls_chain *chain)
{
    ensure(chain->count > 0);
    const struct tls_cert_facts *f = &chain->item[0];
    bool responder = *setting_text(&ocsp_uri) != '\0' || f->responder != NULL;
    return f->must_staple &&
           (!setting_bool(&ocsp_enabled) || !responder || f->self_signed || chain->count < 2);
}

static bool item_is_fresh(const struct ocsp_item *i)
{
    return i->has && i->told.status == TLS_OCSP_GOOD && i->told.until > ocsp_now_s();
}

/* The time until an answer that was just taken is asked for again. */
static uint64_t item_wait_ms(const struct ocsp_item *i)
{
    int64_t every = setting_int(&ocsp_every), left = (i->told.until - ocsp_now_s()) * 1000;
    int64_t half = left / 2 > WAIT_MIN_MS ? left / 2 : WAIT_MIN_MS;
    return (uint64_t)(half < every ? half : every);
}

static void item_know(struct ocsp_item *i, const struct tls_ocsp *told, slice answer)
{
    i->told = *told;
    i->has = true;
    i->hash = hash_keyed(answer);
    i->fails = 0;
    i->note[0] = '\0';
    i->next_us = clock_mono_us() + item_wait_ms(i) * 1000;
}

static void item_show(const struct ocsp_item *i, slice answer)
{
    bool good = i->told.status == TLS_OCSP_GOOD && item_responder(i) != NULL;
    tls_staple_set(item_fingerprint(i), good ? answer : (slice){ 0 }, i->told.until);
}

/* Keeping answers. */

static void item_load(struct ocsp_item *i, struct arena *arena)
{
    struct buf answer;
    struct tls_ocsp told;
    struct why why;
    buf_init(&answer, TLS_OCSP_BYTES_MAX);
    if (whole_file_read(&answer, i->path, &why) == OK &&
        tls_ocsp_read(&told, buf_fit(&answer), &i->use->chain, ocsp_now_s(), &why) == OK) {
        i->kept = slice_dup(arena, buf_fit(&answer));
        item_know(i, &told, i->kept);
    }
    buf_fini(&answer);
}

static bool is_of_some(const struct cert_ocsp *o, const char *name)
{
    for (size_t i = 0; i < o->count; i++)
        if (strncmp(name, item_fingerprint(&o->item[i]), FINGERPRINT_LEN) == 0)
            return true;
    return false;
}

static void ocsp_clean(const struct cert_ocsp *o, struct arena *arena)
{
    DIR *dir = opendir(o->folder);
    const struct dirent *d;
    while (dir != NULL && (d = readdir(dir)) != NULL)
        if (d->d_name[0] != '.' && !is_of_some(o, d->d_name))
            unlink(arena_printf(arena, "%s/%s", o->folder, d->d_name));
    if (dir != NULL)
        closedir(dir);
}

struct cert_ocsp *cert_ocsp_create(const struct cert_uses *uses, const char *data,
                                   struct arena *arena)
{
    struct cert_ocsp *o = arena_new(arena, struct cert_ocsp, 1);
    o->folder = arena_printf(arena, "%s/ocsp", data);
    o->item = arena_new(arena, struct ocsp_item, uses->count + 1);
    for (size_t i = 0; i < uses->count; i++) {
        const struct cert_use *use = &uses->item[i];
        if (!use->known || is_of_some(o, use->facts.fingerprint))
            continue; /* one certificate may be that of several domains */
        struct ocsp_item *item = &o->item[o->count++];
        *item = (struct ocsp_item){ .use = use };
        item->path = arena_printf(arena, "%s/%s", o->folder, use->facts.fingerprint);
        item_load(item, arena);
    }
    ocsp_clean(o, arena);
    return o;
}

/* Writes an answer; it is asked for again if that fails. */
struct keeping {
    struct work work;
    struct buf answer;
    char *folder, *path;
};

static void keeping_run(struct work *work)
{
    const struct keeping *k = CONTAINER_OF(work, struct keeping, work);
    struct why why;
    enum err e = durable_folder(k->folder, 0700, &why);
    if (e == OK)
        e = durable_write(k->path, 0600, buf_slice(&k->answer), &why);
    if (e != OK)
        log_warn(&log_server, LOG_EV("ocsp.keep"), LOG_C("why", why.text),
                 LOG_C("hint", "the answer is shown, and asked for again after a restart"));
}

static void keeping_done(struct work *work)
{
    struct keeping *k = CONTAINER_OF(work, struct keeping, work);
    buf_fini(&k->answer);
    mem_free(&k->folder);
    mem_free(&k->path);
    mem_free(&k);
}

static char *ocsp_copy(const char *text)
{
    size_t len = strlen(text) + 1;
    char *copy = mem_alloc(len);
    memcpy(copy, text, len);
    return copy;
}

static void item_keep(const struct ocsp_item *i, slice answer)
{
    const struct worker *w = worker_here();
    struct keeping *k = mem_new(struct keeping);
    k->work = (struct work){ .run = keeping_run, .done = keeping_done };
    buf_init(&k->answer, TLS_OCSP_BYTES_MAX);
    buf_add(&k->answer, answer);
    k->folder = ocsp_copy(watched->folder);
    k->path = ocsp_copy(i->path);
    if (work_submit(worker_work(w), worker_loop(w), &k->work) != OK)
        keeping_done(&k->work);
}

/* Alarm. */

static bool item_is_revoked(const struct ocsp_item *i)
{
    return item_responder(i) != NULL && i->has && i->told.status == TLS_OCSP_REVOKED;
}

bool cert_ocsp_revoked(const char *fingerprint)
{
    for (size_t n = 0; watched != NULL && n < watched->count; n++)
        if (strcmp(item_fingerprint(&watched->item[n]), fingerprint) == 0)
            return item_is_revoked(&watched->item[n]);
    return false;
}

static void ocsp_tell(void)
{
    char text[2 * NOTE_BYTES];
    for (size_t n = 0; watched != NULL && n < watched->count; n++) {
        const struct ocsp_item *i = &watched->item[n];
        if (item_responder(i) == NULL)
            continue;
        if (item_is_revoked(i)) {
            snprintf(text, sizeof text, "%s: revoked", i->use->domains);
            alarm_raise_as(&ocsp_alarm, ALARM_CRITICAL, slice_of(text));
            return;
        }
        bool silent = !item_is_fresh(i) && i->fails >= FAILS_TOLD;
        if (silent || (i->fails > 0 && !item_is_fresh(i) && i->use->facts.must_staple)) {
            snprintf(text, sizeof text, "%.200s: %s", i->use->domains, i->note);
            alarm_raise_as(&ocsp_alarm, i->use->facts.must_staple ? ALARM_CRITICAL : ALARM_WARNING,
                           slice_of(text));
            return;
        }
    }
    alarm_clear(&ocsp_alarm);
}

/* Asking: one after the other. */

static void ocsp_schedule(void);

static void item_failed(struct ocsp_item *i, const char *why)
{
    uint64_t wait = RETRY_MS;
    for (unsigned n = 0; n < i->fails && wait < RETRY_MAX_MS; n++)
        wait *= 2;
    i->fails++;
    snprintf(i->note, sizeof i->note, "%s", why);
    i->next_us = clock_mono_us() + (wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS) * 1000;
    metric_add_to(&ocsp_answers, 1, 1);
    log_warn(&log_server, LOG_EV("ocsp.failed"), LOG_C("domains", i->use->domains),
             LOG_C("why", why), LOG_C("hint", "it is asked again; `musterctl cert ocsp`"));
    ocsp_tell();
}

static void item_answered(struct ocsp_item *i, slice answer)
{
    struct tls_ocsp told;
    struct why why;
    if (tls_ocsp_read(&told, answer, &i->use->chain, ocsp_now_s(), &why) != OK) {
        item_failed(i, why.text);
        return;
    }
    if (i->has && told.this_update < i->told.this_update) { /* "revoked" must not be undone */
        item_failed(i, "the answer is older than the one before");
        return;
    }
    bool same = i->has && i->hash == hash_keyed(answer);
    item_know(i, &told, answer);
    item_show(i, answer);
    if (!same)
        item_keep(i, answer);
    metric_add_to(&ocsp_answers, 0, 1);
    log_info(&log_server, LOG_EV("ocsp.answer"), LOG_C("domains", i->use->domains),
             LOG_C("status", tls_ocsp_status_name(told.status)));
    ocsp_tell();
}

static void reply_done(const struct http_reply *reply)
{
    char why[64];
    asking.done = true;
    if (reply->status == 200) {
        item_answered(asking.item, reply->body);
        return;
    }
    snprintf(why, sizeof why, "the responder answers with HTTP status %u", reply->status);
    item_failed(asking.item, why);
}

static void reply_look(bool ended)
{
    struct http_reply reply;
    slice all = buf_slice(&asking.reply);
    if (asking.done)
        return;
    enum http_reply_end end = asking.reply.overflow
                                  ? HTTP_REPLY_BAD
                                  : http_reply_read(&reply, all, ended, TLS_OCSP_BYTES_MAX);
    if (end == HTTP_REPLY_DONE) {
        reply_done(&reply);
    } else if (end == HTTP_REPLY_BAD) {
        asking.done = true;
        item_failed(asking.item, "the responder does not answer as a web server does");
    }
}

static void ocsp_opened(struct visit *v)
{
    const struct ocsp_item *i = asking.item;
    struct buf question, all;
    struct http_uri uri;
    struct why why;
    const char *to = item_responder(i);
    buf_init(&question, QUESTION_BYTES_MAX);
    buf_init(&all, QUESTION_BYTES_MAX);
    if (to != NULL && http_uri_read(&uri, slice_of(to)) &&
        tls_ocsp_ask(&question, &i->use->chain, &why) == OK) {
        buf_printf(&all,
                   "POST %.*s HTTP/1.0\r\nHost: %.*s\r\nUser-Agent: Muster\r\n"
                   "Content-Type: application/ocsp-request\r\nAccept: application/ocsp-response\r\n"
                   "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                   SLICE_ARG(uri.path), SLICE_ARG(uri.authority), question.len);
        buf_add(&all, buf_fit(&question));
        visit_write(v, buf_fit(&all));
    } else {
        visit_close(v);
    }
    buf_fini(&question);
    buf_fini(&all);
}

static size_t ocsp_input(struct visit *v, slice data)
{
    buf_add(&asking.reply, data);
    reply_look(false);
    if (asking.done)
        visit_close(v);
    return data.len;
}

static void ocsp_ended(void *arg, const char *why)
{
    (void)arg;
    asking.visit = NULL;
    if (!asking.done && why != NULL)
        item_failed(asking.item, why);
    else
        reply_look(true);
    asking.item = NULL;
    buf_fini(&asking.reply);
    ocsp_schedule();
}

static const struct visit_ops ocsp_ops = { .opened = ocsp_opened,
                                           .input = ocsp_input,
                                           .ended = ocsp_ended };

static void item_ask(struct worker *w, struct ocsp_item *i)
{
    struct http_uri uri;
    struct buf question;
    struct why why;
    const char *to = item_responder(i);
    struct resolver *resolver = outbound_resolver(w);
    i->tried_us = clock_wall_us();
    buf_init(&question, QUESTION_BYTES_MAX);
    enum err e = tls_ocsp_ask(&question, &i->use->chain, &why); /* whether it can be asked */
    buf_fini(&question);
    if (e != OK || to == NULL || resolver == NULL || !http_uri_read(&uri, slice_of(to))) {
        item_failed(i, e != OK ? why.text : "the responder's address cannot be used");
        return;
    }
    asking.item = i;
    asking.done = false;
    buf_init(&asking.reply, REPLY_BYTES_MAX);
    asking.visit =
        visit_start(worker_loop(w),
                    &(struct visit_options){ .resolver = resolver,
                                             .host = uri.host,
                                             .port = uri.port,
                                             .deadline_ms = DEADLINE_MS,
                                             .not_local = *setting_text(&ocsp_uri) == '\0' &&
                                                          !setting_bool(&ocsp_local) },
                    &ocsp_ops, NULL);
    if (asking.visit == NULL) {
        item_failed(i, "the responder's name is too long");
        buf_fini(&asking.reply);
        asking.item = NULL;
    }
}

/* The one that is due first; NULL: none will be. */
static struct ocsp_item *first_due(void)
{
    struct ocsp_item *first = NULL;
    for (size_t n = 0; watched != NULL && n < watched->count; n++)
        if (item_responder(&watched->item[n]) != NULL &&
            (first == NULL || watched->item[n].next_us < first->next_us))
            first = &watched->item[n];
    return first;
}

static void ocsp_on_timer(struct timer *t, struct loop *loop)
{
    struct ocsp_item *i = first_due();
    (void)t, (void)loop;
    if (asking.visit != NULL || i == NULL)
        return;
    if (i->next_us <= clock_mono_us())
        item_ask(worker_here(), i);
    if (asking.visit == NULL)
        ocsp_schedule();
}

/* On the worker; before it runs, its start does it. */
static void ocsp_schedule(void)
{
    const struct ocsp_item *i = first_due();
    const struct worker *w = worker_here();
    if (w == NULL || asking.visit != NULL || asking.stopped)
        return;
    asking.timer.fn = ocsp_on_timer;
    timer_cancel(&asking.timer);
    uint64_t now = clock_mono_us();
    if (i != NULL)
        timer_set(worker_loop(w), &asking.timer,
                  i->next_us > now ? (i->next_us - now) / 1000 + 1 : 0);
}

static void ocsp_stop_asking(void)
{
    if (asking.visit == NULL)
        return;
    visit_cancel(&asking.visit);
    buf_fini(&asking.reply);
    asking.item = NULL;
}

static struct ocsp_item *ocsp_find(const struct cert_ocsp *o, const char *fingerprint)
{
    for (size_t n = 0; o != NULL && n < o->count; n++)
        if (strcmp(item_fingerprint(&o->item[n]), fingerprint) == 0)
            return &o->item[n];
    return NULL;
}

/* A certificate that stays in use keeps its answer, and the time of the next question, so that many
 * reloads make no more questions. A file is newer only where this node has not written it. */
static void ocsp_inherit(struct ocsp_item *to, const struct ocsp_item *from)
{
    if (from->has && (!to->has || from->told.this_update >= to->told.this_update)) {
        to->told = from->told;
        to->has = true;
        to->hash = from->hash;
        to->kept = (slice){ 0 };
    }
    if (to->kept.len > 0)
        return; /* with its own time for the next question */
    to->tried_us = from->tried_us;
    to->fails = from->fails;
    memcpy(to->note, from->note, sizeof to->note);
    to->next_us = from->next_us;
}

void cert_ocsp_use(struct cert_ocsp *made)
{
    for (size_t n = 0; made != NULL && n < made->count; n++) {
        struct ocsp_item *to = &made->item[n];
        const struct ocsp_item *from = ocsp_find(watched, item_fingerprint(to));
        if (from != NULL)
            ocsp_inherit(to, from);
        if (to->kept.len > 0)
            item_show(to, to->kept);
        to->kept = (slice){ 0 };
    }
    struct ocsp_item *asked =
        asking.visit != NULL ? ocsp_find(made, item_fingerprint(asking.item)) : NULL;
    if (asked != NULL)
        asking.item = asked; /* the question goes on */
    else
        ocsp_stop_asking();
    watched = made;
    if (made != NULL) {
        ocsp_tell();
        ocsp_schedule();
    }
}

/* At once, if it is asked at all. */
static void item_ask_anew(struct ocsp_item *i)
{
    i->next_us = 0;
    i->fails = 0;
    if (item_responder(i) == NULL)
        tls_staple_set(item_fingerprint(i), (slice){ 0 }, 0);
}

/* Where the last question failed, the time of the next one stays. */
static void item_ask_sooner(struct ocsp_item *i)
{
    if (!i->has || i->fails > 0)
        return;
    uint64_t next = clock_mono_us() + item_wait_ms(i) * 1000;
    if (next < i->next_us)
        i->next_us = next;
}

static void ocsp_changed(struct worker *w, const struct setting *s)
{
    if (!duty_is_here(w, DUTY_CERTS))
        return;
    if (s != &ocsp_every)
        ocsp_stop_asking();
    for (size_t n = 0; watched != NULL && n < watched->count; n++)
        if (s != &ocsp_every)
            item_ask_anew(&watched->item[n]);
        else
            item_ask_sooner(&watched->item[n]);
    ocsp_tell();
    ocsp_schedule();
}

static void ocsp_stop(void)
{
    asking.stopped = true;
    timer_cancel(&asking.timer);
    ocsp_stop_asking();
}

static void ocsp_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_CERTS))
        return;
    outbound_at_stop(ocsp_stop);
    ocsp_schedule();
}

static void ocsp_add_stamp(struct command_call *call, const char *key, int64_t seconds)
{
    char stamp[CLOCK_STAMP_LEN] = "";
    if (seconds > 0)
        clock_stamp(stamp, (uint64_t)seconds * 1000000);
    command_text(call, key, slice_of(stamp));
}

static void ocsp_run(struct command_call *call)
{
    for (size_t n = 0; watched != NULL && n < watched->count; n++) {
        const struct ocsp_item *i = &watched->item[n];
        const char *to = item_responder(i);
        command_row(call);
        command_text(call, "domains", slice_of(i->use->domains));
        command_text(call, "responder", slice_of(to != NULL ? to : ""));
        command_text(call, "status",
                     slice_of(!i->has ? "none" : tls_ocsp_status_name(i->told.status)));
        command_bool(call, "shown", to != NULL && item_is_fresh(i));
        ocsp_add_stamp(call, "from", i->has ? i->told.this_update : 0);
        ocsp_add_stamp(call, "until", i->has ? i->told.until : 0);
        ocsp_add_stamp(call, "tried", (int64_t)(i->tried_us / 1000000));
        command_text(call, "note", slice_of(i->note));
    }
    command_done(call, "%s", "");
}

static struct command ocsp_command = {
    .name = "cert ocsp",
    .rest = "GET /certificates/ocsp",
    .effect = COMMAND_READS,
    .area = "certificates",
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_CERTS,
    .run = ocsp_run,
    .doc = "Lists what OCSP responders say of the certificates in use. A good answer is shown in "
           "TLS handshakes until its end.",
    .columns =
        (const struct command_column[]){
            { .name = "domains", .doc = "domains that the certificate serves" },
            { .name = "responder", .doc = "who is asked; empty: nobody" },
            { .name = "status", .doc = "good, revoked, unknown; none: there was no answer" },
            { .name = "shown", .type = PARAM_BOOL, .doc = "whether handshakes show the answer" },
            { .name = "from", .wide = true, .type = PARAM_STAMP, .doc = "the answer is of then" },
            { .name = "until", .type = PARAM_STAMP, .doc = "it holds until then" },
            { .name = "tried", .wide = true, .type = PARAM_STAMP, .doc = "last asked" },
            { .name = "note", .doc = "why the last question failed" },
            { 0 } },
};

const struct feature cert_ocsp_feature = {
    .name = "cert-ocsp",
    .settings =
        (struct setting *const[]){ &ocsp_enabled, &ocsp_uri, &ocsp_local, &ocsp_every, NULL },
    .commands = (struct command *const[]){ &ocsp_command, NULL },
    .alarms = (struct alarm *const[]){ &ocsp_alarm, NULL },
    .metrics = (struct metric *const[]){ &ocsp_answers, NULL },
    .worker.start = ocsp_worker_start,
};
