#include "cert/cert_revoke.h"
#include "app/features.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "cert/cert_ocsp.h"
#include "cert/revoke_known.h"
#include "codec/http_reply.h"
#include "core/feature.h"
#include "home/edge.h"
#include "home/here.h"
#include "home/node.h"
#include "io/loop.h"
#include "io/timer.h"
#include "io/tls_revoke.h"
#include "io/visit.h"
#include "io/work.h"
#include "notify/outbound.h"
#include <stdio.h>

enum { NOTE_BYTES = 240, QUESTION_BYTES_MAX = 8192 };

static struct metric answers = {
    .name = "muster_revocation_answers",
    .kind = METRIC_COUNTER,
    .label = "result",
    .values = (const char *const[]){ "good", "revoked", "unknown", NULL },
    .help = "Questions to authorities whether certificates of other servers and clients are "
            "revoked.",
};

/* The questions of a worker. */
struct revoker {
    struct list jobs;       /* next NULL: not begun */
    _Atomic unsigned count; /* read at the end by another thread; also those that only work */
    unsigned running;
    bool stopped;
};

/* WAITING for room ─▶ the sources of the certificate, one after the other ─▶ the end. Of a source
 * there is a visit, and then for a list work on a helper thread. */
struct revoke_job {
    struct list node, waits;
    struct revoker *of;
    struct worker *worker;
    struct tls_suspect *suspect;
    struct arena *arena;
    struct tls_source source[TLS_SOURCES_MAX];
    size_t count, at; /* at: behind the source that is asked */
    struct visit *visit;
    struct buf reply;
    struct timer limit;
    struct loop_defer begin;
    bool running, working;
    bool over; /* it has ended; only the helper thread has to */
    /* For the helper thread, and from it. */
    struct work work;
    slice body;          /* in `reply`; empty: the list is `crl` */
    struct tls_crl *crl; /* a reference */
    enum err err;
    enum tls_ocsp_status status;
    struct why why;
    char note[NOTE_BYTES]; /* why the last source is of no use */
};

static struct revoker revokers[2 * NODE_WORKERS_MAX]; /* by loop: a process may have two nodes */

static int64_t revoke_now_s(void) { return (int64_t)(clock_wall_us() / 1000000); }

static void job_note(struct revoke_job *j, const char *why)
{
    slice uri = j->at > 0 ? j->source[j->at - 1].uri : (slice){ 0 };
    snprintf(j->note, sizeof j->note, "%.*s: %s", (int)(uri.len < 100 ? uri.len : 100), uri.ptr,
             why);
}

/* The end. */

static void job_free(struct revoke_job *j)
{
    buf_fini(&j->reply);
    tls_crl_unref(&j->crl);
    tls_suspect_unref(&j->suspect);
    arena_destroy(&j->arena);
    j->of->count--;
    mem_free(&j);
}

static void job_start(struct revoke_job *j);

/* Looks at open streams ask about many certificates at once, and nobody waits for those: half of
 * all stays for who does. */
static void jobs_go_on(struct revoker *r)
{
    LIST_EACH (it, &r->jobs) {
        struct revoke_job *j = CONTAINER_OF(it, struct revoke_job, node);
        unsigned max = list_empty(&j->waits) ? REVOKE_RUNNING_MAX / 2 : REVOKE_RUNNING_MAX;
        if (!j->running && r->running < max)
            job_start(j);
    }
}

static void job_tell(const struct revoke_job *j, enum tls_revoke_end end)
{
    metric_add_to(&answers, end == TLS_REVOKE_GOOD ? 0 : end == TLS_REVOKE_REVOKED ? 1 : 2, 1);
    if (end == TLS_REVOKE_GOOD)
        return;
    if (end == TLS_REVOKE_REVOKED)
        log_warn(&log_server, LOG_EV("cert.revoked"),
                 LOG_C("subject", tls_suspect_subject(j->suspect)),
                 LOG_S("fingerprint", tls_suspect_fingerprint(j->suspect)), LOG_C("why", j->note),
                 LOG_C("hint", "its holder is refused, and so are certificates that it has "
                               "issued"));
    else
        log_warn(&log_server, LOG_EV("cert.unanswered"),
                 LOG_C("subject", tls_suspect_subject(j->suspect)),
                 LOG_S("fingerprint", tls_suspect_fingerprint(j->suspect)), LOG_C("why", j->note),
                 LOG_C("hint", "tls.servers-revocation and tls.clients-revocation say whether its "
                               "holder is refused; the next question comes after a minute"));
}

static void job_end(struct revoke_job *j, const struct revoke_answer *answer)
{
    struct revoker *r = j->of;
    struct list *first;
    enum tls_revoke_end end = revoke_known_set(tls_suspect_fingerprint(j->suspect), answer);
    job_tell(j, end);
    list_remove(&j->node);
    timer_cancel(&j->limit);
    loop_defer_cancel(&j->begin);
    visit_cancel(&j->visit);
    if (j->running)
        r->running--;
    while ((first = list_pop(&j->waits)) != NULL) {
        struct tls_revoke_wait *wait = CONTAINER_OF(first, struct tls_revoke_wait, node);
        wait->answered(wait, end);
    }
    j->over = true;
    if (!j->working)
        job_free(j);
    jobs_go_on(r);
}

static void job_fails(struct revoke_job *j)
{
    job_end(j, &(struct revoke_answer){ .end = TLS_REVOKE_UNKNOWN,
                                        .until = revoke_now_s() + REVOKE_RETRY_S });
}

static void job_late(struct timer *t, struct loop *loop)
{
    struct revoke_job *j = CONTAINER_OF(t, struct revoke_job, limit);
    (void)loop;
    if (j->at > 0)
        job_note(j, "no answer in time");
    else
        snprintf(j->note, sizeof j->note, "too many other questions were under way");
    job_fails(j);
}

static void job_next(struct revoke_job *j);

/* Answers are remembered for a while at most. */
static int64_t revoke_until(int64_t until)
{
    int64_t last = revoke_now_s() + cert_ocsp_every_s();
    return until < last ? until : last;
}

static void job_knows(struct revoke_job *j, enum tls_ocsp_status status, int64_t this_update,
                      int64_t until)
{
    if (status == TLS_OCSP_UNKNOWN) {
        job_note(j, "it does not know this certificate");
        job_next(j);
        return;
    }
    job_note(j, tls_ocsp_status_name(status));
    job_end(j, &(struct revoke_answer){ .end = status == TLS_OCSP_GOOD ? TLS_REVOKE_GOOD
                                                                       : TLS_REVOKE_REVOKED,
                                        .this_update = this_update,
                                        .until = revoke_until(until) });
}

/* Lists. */

static void list_run(struct work *work)
{
    struct revoke_job *j = CONTAINER_OF(work, struct revoke_job, work);
    j->err = j->crl == NULL ? tls_crl_read(&j->crl, j->body, &j->why) : OK;
    if (j->err == OK)
        j->err = tls_crl_says(&j->status, j->crl, j->suspect, &j->why);
}

/* A list that its issuer has not signed is not kept: it might be anybody's. */
static void list_done(struct work *work)
{
    struct revoke_job *j = CONTAINER_OF(work, struct revoke_job, work);
    j->working = false;
    if (!j->over && j->err == OK && !work->skipped) {
        int64_t until = tls_crl_until(j->crl);
        if (j->body.len > 0)
            revoke_list_keep(j->source[j->at - 1].uri, j->crl, j->body.len, revoke_until(until));
        job_knows(j, j->status, tls_crl_this_update(j->crl), until);
    } else if (!j->over) {
        job_note(j, work->skipped ? "the server stops" : j->why.text);
        job_next(j);
    } else {
        job_free(j);
    }
}

/* crl: takes over the reference; NULL: it is in `body`. */
static void list_begin(struct revoke_job *j, struct tls_crl *crl, slice body)
{
    tls_crl_unref(&j->crl);
    j->crl = crl;
    j->body = body;
    j->work = (struct work){ .run = list_run, .done = list_done, .may_skip = true };
    j->working = work_submit(worker_work(j->worker), worker_loop(j->worker), &j->work) == OK;
    if (j->working)
        return;
    job_note(j, "this server has too much to do");
    job_next(j);
}

/* The reply of a source. */

static size_t job_body_max(const struct revoke_job *j)
{
    return j->source[j->at - 1].list ? TLS_CRL_BYTES_MAX : TLS_OCSP_BYTES_MAX;
}

static void job_answered(struct revoke_job *j, const struct http_reply *reply)
{
    struct tls_ocsp told;
    struct why why;
    if (reply->status != 200) {
        snprintf(why.text, sizeof why.text, "it answers with HTTP status %u", reply->status);
    } else if (j->source[j->at - 1].list) {
        list_begin(j, NULL, reply->body);
        return;
    } else if (tls_suspect_answer(&told, reply->body, j->suspect, revoke_now_s(), &why) == OK) {
        job_knows(j, told.status, told.this_update, told.until);
        return;
    }
    job_note(j, why.text);
    job_next(j);
}

/* Whether it is complete, or never will be: then the visit is over. */
static bool job_look(struct revoke_job *j, bool ended)
{
    struct http_reply reply;
    enum http_reply_end end =
        j->reply.overflow ? HTTP_REPLY_BAD
                          : http_reply_read(&reply, buf_slice(&j->reply), ended, job_body_max(j));
    if (end == HTTP_REPLY_MORE)
        return false;
    visit_cancel(&j->visit);
    if (end == HTTP_REPLY_DONE) {
        job_answered(j, &reply);
    } else {
        job_note(j, "it does not answer as a web server does, or with too much");
        job_next(j);
    }
    return true;
}

static void job_opened(struct visit *v)
{
    const struct revoke_job *j = visit_arg(v);
    const struct tls_source *source = &j->source[j->at - 1];
    struct buf question, all;
    struct http_uri uri;
    struct why why;
    bool ok = http_uri_read(&uri, source->uri);
    buf_init(&question, QUESTION_BYTES_MAX);
    buf_init(&all, QUESTION_BYTES_MAX);
    if (!source->list)
        ok = ok && tls_suspect_question(&question, j->suspect, &why) == OK;
    buf_printf(&all, "%s %.*s HTTP/1.0\r\nHost: %.*s\r\nUser-Agent: Muster\r\n",
               source->list ? "GET" : "POST", SLICE_ARG(uri.path), SLICE_ARG(uri.authority));
    if (!source->list)
        buf_printf(&all,
                   "Content-Type: application/ocsp-request\r\n"
                   "Accept: application/ocsp-response\r\nContent-Length: %zu\r\n",
                   question.len);
    buf_lit(&all, "Connection: close\r\n\r\n");
    buf_add(&all, buf_fit(&question));
    if (ok && !all.overflow)
        visit_write(v, buf_fit(&all));
    else
        visit_close(v);
    buf_fini(&question);
    buf_fini(&all);
}

static size_t job_input(struct visit *v, slice data)
{
    struct revoke_job *j = visit_arg(v);
    buf_add(&j->reply, data);
    (void)job_look(j, false);
    return data.len;
}

static void job_ended(void *arg, const char *why)
{
    struct revoke_job *j = arg;
    j->visit = NULL;
    if (why == NULL) {
        ensure(job_look(j, true));
        return;
    }
    job_note(j, why);
    job_next(j);
}

static const struct visit_ops job_ops = { .opened = job_opened,
                                          .input = job_input,
                                          .ended = job_ended };

static bool job_visits(struct revoke_job *j, slice address)
{
    struct http_uri uri;
    struct resolver *resolver = outbound_resolver(j->worker);
    if (resolver == NULL || !http_uri_read(&uri, address))
        return false;
    buf_fini(&j->reply);
    buf_init(&j->reply, HTTP_REPLY_HEAD_MAX + job_body_max(j));
    j->visit = visit_start(worker_loop(j->worker),
                           &(struct visit_options){ .resolver = resolver,
                                                    .host = uri.host,
                                                    .port = uri.port,
                                                    .deadline_ms = REVOKE_ASK_MS / 2,
                                                    .not_local = !cert_ocsp_allows_local() },
                           &job_ops, j);
    return j->visit != NULL;
}

/* Asks the next source. The job may be gone afterwards. */
static void job_next(struct revoke_job *j)
{
    while (j->at < j->count) {
        const struct tls_source *source = &j->source[j->at++];
        struct tls_crl *kept = source->list ? revoke_list_kept(source->uri, revoke_now_s()) : NULL;
        if (kept != NULL) {
            list_begin(j, kept, (slice){ 0 });
            return;
        }
        if (job_visits(j, source->uri))
            return;
        job_note(j, "this address cannot be used");
    }
    job_fails(j);
}

static void job_begin(struct loop_defer *d) { job_next(CONTAINER_OF(d, struct revoke_job, begin)); }

static void job_start(struct revoke_job *j)
{
    j->running = true;
    j->of->running++;
    j->begin.fn = job_begin;
    loop_defer(worker_loop(j->worker), &j->begin);
}

static struct revoke_job *job_create(struct worker *w, struct revoker *r, struct tls_suspect *s)
{
    struct revoke_job *j = mem_new(struct revoke_job);
    j->of = r;
    j->worker = w;
    j->suspect = tls_suspect_ref(s);
    j->arena = arena_create(0);
    j->count = tls_suspect_sources(s, j->arena, j->source);
    list_init(&j->waits);
    buf_init(&j->reply, HTTP_REPLY_HEAD_MAX);
    if (j->count == 0)
        snprintf(j->note, sizeof j->note, "it names neither a responder nor a list with http://");
    j->limit.fn = job_late;
    timer_set(worker_loop(w), &j->limit, REVOKE_ASK_MS);
    list_append(&r->jobs, &j->node);
    r->count++;
    return j;
}

static struct revoke_job *job_of(struct revoker *r, slice fingerprint)
{
    LIST_EACH (it, &r->jobs) {
        struct revoke_job *j = CONTAINER_OF(it, struct revoke_job, node);
        if (slice_eq(tls_suspect_fingerprint(j->suspect), fingerprint))
            return j;
    }
    return NULL;
}

/* An answer holds until there is a newer one, if nobody waits for that. A connection that waits is
 * not told an answer that has ended, unless that says "revoked". */
static enum tls_revoke_end revoke_old(enum tls_revoke_end known, bool ended,
                                      const struct tls_revoke_wait *wait)
{
    return ended && wait != NULL && known == TLS_REVOKE_GOOD ? TLS_REVOKE_UNKNOWN : known;
}

static enum tls_revoke_end revoke_ask(struct tls_suspect *s, const struct tls_revoke_shown *shown,
                                      struct tls_revoke_wait *wait, bool asks)
{
    struct worker *w = worker_here();
    struct revoker *r = w != NULL ? &revokers[loop_index(worker_loop(w))] : NULL;
    slice fingerprint = tls_suspect_fingerprint(s);
    bool ended;
    if (shown != NULL)
        revoke_known_shown(fingerprint,
                           &(struct revoke_answer){ .end = shown->end,
                                                    .this_update = shown->this_update,
                                                    .until = revoke_until(shown->until) });
    enum tls_revoke_end known = revoke_known_get(fingerprint, revoke_now_s(), &ended);
    if (!asks || !ended || r == NULL || r->stopped || r->jobs.next == NULL)
        return revoke_old(known, ended, wait);
    struct revoke_job *j = job_of(r, fingerprint);
    if (j == NULL && r->count >= (wait != NULL ? REVOKE_JOBS_MAX : REVOKE_JOBS_MAX / 2))
        return revoke_old(known, ended, wait);
    if (j == NULL)
        j = job_create(w, r, s);
    if (wait != NULL)
        list_append(&j->waits, &wait->node);
    jobs_go_on(r);
    return wait != NULL ? TLS_REVOKE_WAITS : known;
}

/* The edge. */

static void revoke_start(void *own, struct worker *w)
{
    (void)own;
    list_init(&revokers[loop_index(worker_loop(w))].jobs);
    tls_revoke_asker(revoke_ask);
}

static void revoke_stop(void *own, struct worker *w)
{
    struct revoker *r = &revokers[loop_index(worker_loop(w))];
    (void)own;
    r->stopped = true;
    while (!list_empty(&r->jobs)) {
        struct revoke_job *j = CONTAINER_OF(r->jobs.next, struct revoke_job, node);
        snprintf(j->note, sizeof j->note, "this server stops");
        job_fails(j);
    }
}

static bool revoke_idle(void *own, struct worker *w)
{
    (void)own;
    return revokers[loop_index(worker_loop(w))].count == 0;
}

static void revoke_end(void *own, struct worker *w)
{
    (void)own;
    (void)w;
    revoke_known_end();
}

const struct edge cert_revoke_edge = { .name = "revocation",
                                       .start = revoke_start,
                                       .stop = revoke_stop,
                                       .idle = revoke_idle,
                                       .end = revoke_end };

const struct feature cert_revoke_feature = {
    .name = "cert-revoke",
    .metrics = (struct metric *const[]){ &answers, NULL },
};
