#include "notify/webhook_post.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/setting.h"
#include "cert/cert_trust.h"
#include "codec/http_reply.h"
#include "home/here.h"
#include "io/tls_trust.h"
#include "io/visit.h"
#include "notify/outbound.h"
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

enum { REQUEST_BYTES_MAX = 256 << 10, SIGNATURE_BYTES = 65 };

struct setting webhook_allow_local = {
    .name = "webhook.allow-local",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .max = 1,
    .doc = "Whether webhooks may go to this machine or its link: to its own, loopback, "
           "link-local and unspecified addresses. Off, nobody who may add a webhook can reach "
           "services that trust this machine.",
};

bool webhook_uri(struct http_uri *out, slice url, bool *secure)
{
    *secure = https_uri_read(out, url);
    return *secure || http_uri_read(out, url);
}

bool webhook_is_forbidden(slice url)
{
    struct http_uri uri;
    bool secure;
    return !setting_bool(&webhook_allow_local) && webhook_uri(&uri, url, &secure) &&
           visit_is_forbidden(uri.host);
}

void webhook_sign(char out[SIGNATURE_BYTES], slice secret, uint64_t time_s, slice body)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct buf text;
    buf_init(&text, REQUEST_BYTES_MAX);
    buf_printf(&text, "%" PRIu64 ".", time_s);
    buf_add(&text, body);
    slice all = buf_fit(&text);
    const void *made = HMAC(EVP_sha256(), secret.ptr, (int)secret.len,
                            (const unsigned char *)all.ptr, all.len, mac, &len);
    ensure(made != NULL && 2 * len < SIGNATURE_BYTES);
    hex_encode(out, (slice){ (const char *)mac, len });
    buf_fini(&text);
}

static void post_end(struct webhook_post *p)
{
    ensure(p->busy);
    p->busy = false;
    p->visit = NULL;
    buf_fini(&p->request);
    buf_fini(&p->answer);
    p->done(p, p->taken ? NULL : p->why);
}

static void post_over(struct loop_defer *d)
{
    post_end(CONTAINER_OF(d, struct webhook_post, over));
}

/* The status decides, whatever is wrong with the body or missing of it: a receiver that has taken
 * an event would get it again and again. */
static enum http_reply_end post_look(struct webhook_post *p, bool ended)
{
    struct http_reply reply;
    enum http_reply_end end =
        http_reply_read(&reply, buf_fit(&p->answer), ended, WEBHOOK_ANSWER_MAX);
    if (end == HTTP_REPLY_MORE)
        return end;
    p->status = reply.status;
    p->taken = reply.status >= 200 && reply.status < 300;
    if (reply.status != 0)
        snprintf(p->why, sizeof p->why, "the receiver answers with HTTP status %u", reply.status);
    else
        snprintf(p->why, sizeof p->why, "the receiver does not answer as a web server does");
    return end;
}

static void post_say(struct visit *v)
{
    struct webhook_post *p = visit_arg(v);
    visit_write(v, buf_fit(&p->request));
}

static void post_opened(struct visit *v)
{
    struct webhook_post *p = visit_arg(v);
    if (!p->secure) {
        post_say(v);
        return;
    }
    struct tls_trust *trust = tls_trusted_get(cert_trusted(CERT_TRUST_FEDERATION));
    visit_start_tls(v, trust);
    tls_trust_unref(&trust);
}

static size_t post_input(struct visit *v, slice data)
{
    struct webhook_post *p = visit_arg(v);
    const size_t room = p->answer.max - p->answer.len;
    const bool cut = data.len > room;
    buf_add(&p->answer, (slice){ data.ptr, cut ? room : data.len });
    enum http_reply_end end = post_look(p, cut);
    if (end == HTTP_REPLY_DONE && !cut) {
        visit_close(v);
    } else if (end != HTTP_REPLY_MORE) { /* nobody needs the rest: it is not even read */
        visit_cancel(&p->visit);
        p->over.fn = post_over;
        loop_defer(worker_loop(p->worker), &p->over);
    }
    return data.len;
}

static void post_ended(void *arg, const char *why)
{
    struct webhook_post *p = arg;
    if (p->status == 0)
        post_look(p, true);
    if (why != NULL && p->status == 0)
        snprintf(p->why, sizeof p->why, "%s", why);
    p->ours = visit_was_forbidden(p->visit);
    post_end(p);
}

static const struct visit_ops post_ops = {
    .opened = post_opened, .secured = post_say, .input = post_input, .ended = post_ended
};

static void post_write(struct webhook_post *p, const struct webhook_request *r,
                       const struct http_uri *uri)
{
    char signature[SIGNATURE_BYTES];
    uint64_t now_s = clock_wall_us() / 1000000;
    webhook_sign(signature, r->secret, now_s, r->body);
    buf_printf(&p->request,
               "POST %.*s HTTP/1.0\r\nHost: %.*s\r\nUser-Agent: Muster\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n"
               "Muster-Event: %.*s\r\nMuster-Event-Id: %.*s\r\nMuster-Attempt: %u\r\n"
               "Muster-Signature: t=%" PRIu64 ",v1=%s\r\n\r\n",
               SLICE_ARG(uri->path), SLICE_ARG(uri->authority), r->body.len, SLICE_ARG(r->event),
               SLICE_ARG(r->id), r->attempt, now_s, signature);
    buf_add(&p->request, r->body);
}

void webhook_post(struct webhook_post *p, struct worker *w, const struct webhook_request *request)
{
    struct http_uri uri;
    struct resolver *resolver = outbound_resolver(w);
    ensure(!p->busy);
    p->worker = w;
    p->busy = true;
    p->taken = p->ours = false;
    p->status = 0;
    p->why[0] = '\0';
    buf_init(&p->request, REQUEST_BYTES_MAX);
    buf_init(&p->answer, WEBHOOK_ANSWER_MAX + HTTP_REPLY_HEAD_MAX);
    if (resolver != NULL && webhook_uri(&uri, request->url, &p->secure)) {
        post_write(p, request, &uri);
        p->visit =
            visit_start(worker_loop(w),
                        &(struct visit_options){ .resolver = resolver,
                                                 .host = uri.host,
                                                 .port = uri.port,
                                                 .deadline_ms = WEBHOOK_DEADLINE_MS,
                                                 .not_local = !setting_bool(&webhook_allow_local) },
                        &post_ops, p);
    }
    if (p->visit == NULL) {
        snprintf(p->why, sizeof p->why, "the address cannot be used");
        p->over.fn = post_over;
        loop_defer(worker_loop(w), &p->over);
    }
}

void webhook_post_cancel(struct webhook_post *p)
{
    if (!p->busy)
        return;
    visit_cancel(&p->visit);
    loop_defer_cancel(&p->over);
    buf_fini(&p->request);
    buf_fini(&p->answer);
    p->busy = false;
}
