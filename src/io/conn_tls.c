#include "base/ensure.h"
#include "base/latency.h"
#include "base/mem.h"
#include "io/conn_private.h"
#include "io/metrics.h"
#include "io/peers.h"
#include "io/tls_private.h"
#include "io/work.h"
#include <assert.h>
#include <openssl/err.h>
#include <pthread.h>
#include <sys/uio.h>

/* OpenSSL never sees the socket. Its BIO reads from the bytes of one recv(), all of which it uses
 * up, and writes into the cipher buffer of the loop, which is sent at once behind whatever the
 * socket did not take before. So neither side of it ever blocks, and a connection owns cipher text
 * only while its socket is full. Until the handshake is done, memory is in its place. */

enum { CIPHER_ROOM = CONN_RECORD_BYTES + 1024 }; /* of a record, overhead included */

struct conn_tls {
    struct tls_ctx *ctx; /* NULL: we are the client */
    SSL_CTX *first;      /* for the domain that the client has asked for, in ctx; NULL: not known */
    SSL *ssl; /* of a server, NULL until the first bytes: an unused connection costs little */
    struct tls_judgement *judgement; /* NULL: the peer's certificate is not asked for */
    struct conn_shake *shake;        /* NULL: no step of the handshake is under way elsewhere */
    const char *in;                  /* only during conn_tls_input() */
    char *pending;                   /* for the socket, before all else */
    char *early; /* an unfinished first record: a session is made when it is complete */
    uint32_t pending_at, pending_len;
    uint32_t in_len, early_len;
    bool shut; /* close_notify was written */
};
static_assert(sizeof(struct conn_tls) <= 88, "an idle connection is small");

enum shake_end { SHAKE_MORE, SHAKE_DONE, SHAKE_FAILED };

/* How a step of a handshake has ended. */
struct shaken {
    enum shake_end end;
    const char *error; /* SHAKE_FAILED: static text */
};

/* A step that a helper thread makes: signatures and chains take up to 2 ms, for which a loop would
 * stand still. Meanwhile the session is the helper's, and nothing is read from the socket. */
struct conn_shake {
    struct work work;
    struct work_pool *pool;
    struct conn_tls *tls;
    struct conn *conn; /* NULL: it has ended meanwhile */
    struct shaken how;
};

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void pending_add(struct conn_tls *t, const char *ptr, size_t len)
{
    char *both = mem_alloc(t->pending_len + len);

    ensure(len <= UINT32_MAX - t->pending_len);
    if (t->pending_len > 0)
        memcpy(both, t->pending + t->pending_at, t->pending_len);
    memcpy(both + t->pending_len, ptr, len);
    mem_free(&t->pending);
    t->pending = both;
    t->pending_at = 0;
    t->pending_len += (uint32_t)len;
}

static void pending_send(struct conn *c)
{
    struct conn_tls *t = c->tls;
    struct iovec iov = { t->pending + t->pending_at, t->pending_len };
    size_t sent = conn_send(c, &iov, 1, t->pending_len);

    t->pending_at += (uint32_t)sent;
    t->pending_len -= (uint32_t)sent;
    if (t->pending_len == 0)
        mem_free(&t->pending);
}

static bool may_send(const struct conn *c) { return !c->blocked && c->state < CONN_ENDING; }

/* Sends what the BIO has gathered. */
static void conn_tls_push(struct conn *c)
{
    struct conn_local *l = conn_local(c->loop);
    size_t len = l->cipher_len, sent = 0;

    l->cipher_len = 0;
    if (c->tls->pending_len > 0 && may_send(c))
        pending_send(c);
    if (len > 0 && c->tls->pending_len == 0 && may_send(c)) {
        struct iovec iov = { l->cipher, len };
        sent = conn_send(c, &iov, 1, len);
    }
    if (sent < len && c->state < CONN_ENDING)
        pending_add(c->tls, l->cipher + sent, len - sent);
}

static int bio_read(BIO *bio, char *out, size_t cap, size_t *len)
{
    struct conn *c = BIO_get_data(bio);
    struct conn_tls *t = c->tls;

    BIO_clear_retry_flags(bio);
    if (t->in_len == 0) {
        BIO_set_retry_read(bio);
        *len = 0;
        return 0;
    }
    *len = cap < t->in_len ? cap : t->in_len;
    memcpy(out, t->in, *len);
    t->in += *len;
    t->in_len -= (uint32_t)*len;
    return 1;
}

static int bio_write(BIO *bio, const char *ptr, size_t len, size_t *written)
{
    struct conn *c = BIO_get_data(bio);
    struct conn_local *l = conn_local(c->loop);

    BIO_clear_retry_flags(bio);
    if (l->cipher_len == sizeof(l->cipher))
        conn_tls_push(c);
    *written = sizeof(l->cipher) - l->cipher_len;
    if (len < *written)
        *written = len;
    memcpy(l->cipher + l->cipher_len, ptr, *written);
    l->cipher_len += *written;
    return 1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH;
}

static void bio_make(void)
{
    int type = BIO_get_new_index();

    bio_method = BIO_meth_new(type | BIO_TYPE_SOURCE_SINK, "muster connection");
    ensure(type != -1 && bio_method != NULL);
    BIO_meth_set_read_ex(bio_method, bio_read);
    BIO_meth_set_write_ex(bio_method, bio_write);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

struct conn_tls *conn_tls_create(struct tls_ctx *ctx)
{
    struct conn_tls *t = mem_new(struct conn_tls);

    t->ctx = tls_ctx_ref(ctx);
    return t;
}

/* For the time of the handshake. */
static void attach_memory(struct conn_tls *t)
{
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    ensure(in != NULL && out != NULL);
    SSL_set_bio(t->ssl, in, out);
    if (t->judgement != NULL)
        tls_judgement_use(t->judgement, t->ssl);
}

/* Before each call that reads or writes. All sessions of a loop share one BIO, which is for this
 * connection now: one for each took 200 bytes of every idle connection. A connection that has come
 * from another loop still has that one's; one that shakes has memory. */
static void lend_bio(struct conn *c)
{
    struct conn_local *l = conn_local(c->loop);
    if (!c->secured)
        return;
    if (l->bio == NULL) {
        pthread_once(&bio_once, bio_make);
        l->bio = BIO_new(bio_method);
        ensure(l->bio != NULL);
        BIO_set_init(l->bio, 1);
    }
    BIO_set_data(l->bio, c);
    if (SSL_get_rbio(c->tls->ssl) == l->bio)
        return;
    BIO_up_ref(l->bio);
    SSL_set_bio(c->tls->ssl, l->bio, l->bio);
}

void conn_tls_local_free(struct conn_local *l)
{
    BIO_free(l->bio);
    l->bio = NULL;
}

static void server_session(struct conn *c)
{
    struct conn_tls *t = c->tls;

    t->ssl = tls_session_create(t->ctx, t->first, (enum tls_protocol)c->protocol);
    c->since_us = (uint32_t)c->loop->now_us;
    attach_memory(t);
    SSL_set_accept_state(t->ssl);
}

/* The connection ends. False: a step is under way, and t is freed behind it. */
static bool conn_shake_stop(struct conn_tls *t)
{
    struct conn_shake *s = t->shake;
    if (s == NULL)
        return true;
    if (!work_cancel(s->pool, &s->work)) {
        s->conn = NULL;
        return false;
    }
    mem_free(&t->shake);
    return true;
}

void conn_tls_destroy(struct conn_tls **t)
{
    struct conn_tls *now = *t;
    *t = NULL;
    if (now == NULL || !conn_shake_stop(now))
        return;
    SSL_free(now->ssl);
    tls_judgement_destroy(&now->judgement);
    tls_ctx_unref(&now->ctx);
    mem_free(&now->pending);
    mem_free(&now->early);
    mem_free(&now);
}

size_t conn_tls_pending(const struct conn *c) { return c->tls->pending_len; }

/* Output that was written before goes out in the clear. false: closed or failed, its end is on the
 * way. */
static bool clear_first(struct conn *c)
{
    ensure(c->tls == NULL);
    conn_flush(c);
    return c->state == CONN_OPEN;
}

static void leave_the_clear(struct conn *c)
{
    for (const struct conn_chunk *k = c->out; k != NULL; k = k->next) {
        if (k->len > k->at)
            pending_add(c->tls, k->bytes + k->at, k->len - k->at);
    }
    conn_out_advance(c, c->out_bytes);
    c->state = CONN_HANDSHAKE;
    c->drop = c->running;
    if (!c->running)
        conn_drop_kept(c);
    timer_set(c->loop, &c->timer, c->limits->handshake_ms);
}

void conn_start_tls(struct conn *c, struct tls_ctx *ctx, slice domain)
{
    if (!clear_first(c))
        return;
    c->tls = conn_tls_create(ctx);
    c->tls->first = tls_ctx_for(ctx, domain, (enum tls_protocol)c->protocol);
    leave_the_clear(c);
}

void conn_start_tls_client(struct conn *c, const struct tls_call *call)
{
    bool at_once = c->state == CONN_NEW;

    if (!at_once && !clear_first(c))
        return;
    ensure(c->tls == NULL && !c->proxied);
    c->tls = mem_new(struct conn_tls);
    if (call->trust != NULL) {
        c->tls->judgement = tls_judgement_create(call->trust, TLS_FOR_SERVER);
        c->tls->judgement->revocation = tls_revocation_for(TLS_FOR_SERVER);
        c->tls->judgement->refuse = call->demand == TLS_REQUIRE;
    }
    c->tls->ssl = tls_client_session(call);
    c->since_us = (uint32_t)loop_now_us(c->loop);
    if (c->tls->ssl == NULL) {
        conn_fail(c, "no TLS with this server name, protocol or certificate");
        return;
    }
    attach_memory(c->tls);
    if (!at_once)
        leave_the_clear(c);
    conn_mark_dirty(c);
}

bool conn_tls_speaks_first(const struct conn *c) { return c->tls != NULL && c->tls->ctx == NULL; }

void conn_ask_certificate(struct conn *c, struct tls_trust *trust, enum tls_usage usage)
{
    if (c->tls == NULL)
        return; /* closed or failed */
    ensure(c->tls->ctx != NULL && c->tls->ssl == NULL && c->tls->judgement == NULL);
    c->tls->judgement = tls_judgement_create(trust, usage);
    c->tls->judgement->revocation = tls_revocation_for(usage);
}

/* Removes older errors of this thread, which SSL_get_error() would report for this connection. */
static void errors_clear(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* Whether the owner would get a peer that it has refused beforehand. */
static bool conn_tls_is_refused(const struct conn_tls *t)
{
    return t->judgement != NULL && t->judgement->refuse &&
           t->judgement->peer.verdict != TLS_VERIFIED;
}

/* What a step of the handshake has written. */
static void push_shaken(struct conn *c)
{
    BIO *out = SSL_get_wbio(c->tls->ssl);
    char *ptr;
    long len = BIO_get_mem_data(out, &ptr);
    if (len > 0)
        pending_add(c->tls, ptr, (size_t)len);
    (void)BIO_reset(out);
    conn_tls_push(c);
}

static void tls_fail(struct conn *c, const char *text)
{
    if (conn_tls_is_refused(c->tls) && c->tls->judgement->peer.verdict != TLS_NOT_SHOWN)
        text = c->tls->judgement->peer.reason;
    if (c->secured) {
        conn_tls_push(c); /* the alert */
    } else {
        push_shaken(c);
        conn_in_discard(c);
    }
    conn_fail(c, text == NULL ? "TLS failed" : text);
    metric_add(&io_tls_failures, 1);
}

/* The same, with what OpenSSL says. */
static void tls_fail_here(struct conn *c)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    tls_fail(c, text == NULL ? "TLS failed" : text);
    ERR_clear_error();
}

/* tls_judgement.answered. */
static void conn_tls_answered(struct tls_judgement *j)
{
    if (conn_tls_is_refused(j->conn->tls))
        conn_fail(j->conn, j->peer.reason);
    else
        conn_release(j->conn, CONN_HOLD_REVOCATION);
}

/* Nothing is read before it is known whether the peer's certificate is revoked. */
static void conn_tls_ask(struct conn *c)
{
    struct tls_judgement *j = c->tls->judgement;
    if (j == NULL)
        return;
    j->conn = c;
    j->answered = conn_tls_answered;
    if (tls_judgement_ask(j))
        conn_hold(c, CONN_HOLD_REVOCATION);
}

/* All clear text of the bytes given, or up to the end of the peer's output. */
static size_t decrypt(struct conn *c, char *out, size_t cap)
{
    struct conn_tls *t = c->tls;
    size_t len = 0;
    errors_clear();
    lend_bio(c);
    size_t n;
    while (t->in_len > 0 && len < cap) {
        if (SSL_read_ex(t->ssl, out + len, cap - len, &n) == 1) {
            len += n;
            continue;
        }
        switch (SSL_get_error(t->ssl, 0)) {
        case SSL_ERROR_WANT_READ:
            return len;
        case SSL_ERROR_ZERO_RETURN:
            t->in_len = 0; /* nothing counts behind a close_notify, RFC 8446 §6.1 */
            conn_got_eof(c);
            return len;
        default:
            tls_fail_here(c);
            return 0;
        }
    }
    if (t->in_len > 0)
        conn_fail(c, "TLS input overrun"); /* cap is more than a read can become */
    return len;
}

/* Any thread. Of errors each thread has its own queue. */
static struct shaken shake(SSL *ssl)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(ssl);
    if (rc == 1)
        return (struct shaken){ .end = SHAKE_DONE };
    if (SSL_get_error(ssl, rc) == SSL_ERROR_WANT_READ)
        return (struct shaken){ .end = SHAKE_MORE };
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return (struct shaken){ .end = SHAKE_FAILED, .error = text == NULL ? "TLS failed" : text };
}

/* work.run */
static void shake_run(struct work *w)
{
    struct conn_shake *s = CONTAINER_OF(w, struct conn_shake, work);
    s->how = shake(s->tls->ssl);
}

static bool conn_tls_shaken(struct conn *c, struct shaken how);
/* work.done */
static void shake_done(struct work *w)
{
    struct conn_shake *s = CONTAINER_OF(w, struct conn_shake, work);
    struct conn *c = s->conn;
    struct shaken how = s->how;
    if (w->skipped)
        how = (struct shaken){ .end = SHAKE_FAILED, .error = "the server stops" };
    s->tls->shake = NULL;
    if (c == NULL)
        conn_tls_destroy(&s->tls);
    mem_free(&s);
    if (c == NULL || c->state >= CONN_ENDING)
        return;
    conn_in_resume(c);
    bool here = conn_tls_shaken(c, how);
    (void)here; /* nothing more to do either way */
}

/* The next step of the handshake, with what has been read, which may be nothing. False: the owner
 * has moved the connection, it may not be touched any more. */
static bool conn_shake_step(struct conn *c, slice in)
{
    struct conn_tls *t = c->tls;
    struct work_pool *helpers = c->loop->helpers;
    size_t n;
    ensure(t->shake == NULL && c->state == CONN_HANDSHAKE);
    if (in.len > 0) {
        int rc = BIO_write_ex(SSL_get_rbio(t->ssl), in.ptr, in.len, &n);
        ensure(rc == 1 && n == in.len);
    }
    if (helpers == NULL)
        return conn_tls_shaken(c, shake(t->ssl));
    struct conn_shake *s = mem_new(struct conn_shake);
    s->work.run = shake_run;
    s->work.done = shake_done;
    s->work.may_skip = true;
    s->work.lane = peers_hash((const struct sockaddr *)&c->info.peer);
    s->pool = helpers;
    s->tls = t;
    s->conn = c;
    t->shake = s;
    if (work_submit(helpers, c->loop, &s->work) == OK)
        return true;
    mem_free(&t->shake);
    conn_fail(c, "the server stops");
    return true;
}

bool conn_tls_is_shaking(const struct conn *c) { return c->tls != NULL && c->tls->shake != NULL; }

static bool tls_input(struct conn *c, const char *ptr, size_t len)
{
    struct conn_local *l = conn_local(c->loop);
    char *plain = l->plain + CONN_HEADROOM;
    if (c->state == CONN_HANDSHAKE)
        return conn_shake_step(c, (slice){ ptr, len });
    c->tls->in = ptr;
    c->tls->in_len = (uint32_t)len;
    size_t got = decrypt(c, plain, CONN_PLAIN_BYTES);
    conn_tls_push(c); /* answers to key updates, alerts */
    if (got == 0 || c->state != CONN_OPEN)
        return true;
    return conn_input(c, plain, got);
}

/* From now on the session reads and writes for the connection. Returns what came behind the
 * handshake; the caller frees it. */
static slice leave_memory(struct conn *c)
{
    char *ptr, *rest = NULL;
    long len = BIO_get_mem_data(SSL_get_rbio(c->tls->ssl), &ptr);
    if (len > 0) {
        rest = mem_alloc((size_t)len);
        memcpy(rest, ptr, (size_t)len);
    }
    lend_bio(c);
    return (slice){ rest, len > 0 ? (size_t)len : 0 };
}

/* What a step has written goes out, and what follows from its end. As conn_shake_step(). */
static bool conn_tls_shaken(struct conn *c, struct shaken how)
{
    if ((how.end == SHAKE_FAILED || how.end == SHAKE_DONE) && c->tls->judgement != NULL)
        tls_judgement_shown(c->tls->judgement);
    if (how.end == SHAKE_FAILED || (how.end == SHAKE_DONE && conn_tls_is_refused(c->tls))) {
        tls_fail(c, how.error);
        return true;
    }
    push_shaken(c);
    if (how.end != SHAKE_DONE || c->state != CONN_HANDSHAKE)
        return true;
    c->secured = true;
    slice rest = leave_memory(c);
    metric_add(&io_tls_handshakes, 1);
    latency_observe_cut(LATENCY_TLS, c->since_us, c->loop->now_us);
    conn_opened(c);
    conn_tls_ask(c);
    bool here = true;
    if (conn_tls_is_refused(c->tls))
        tls_fail(c, how.error);
    else
        conn_tell(c, CONN_SECURED);
    if (c->state == CONN_OPEN && rest.len > 0)
        here = tls_input(c, rest.ptr, rest.len);
    char *taken = (char *)rest.ptr;
    mem_free(&taken);
    return here;
}

/* Until the first record is complete, only its bytes are kept, not the 40 KiB of a session. Records
 * of other types are left to the library, which refuses them. */
static bool first_record_complete(const struct conn_tls *t)
{
    const unsigned char *head = (const unsigned char *)t->early;
    if (t->early_len < 5)
        return t->early_len > 0 && head[0] != 22; /* RFC 8446 §5.1: handshake(22) */
    size_t body = (size_t)head[3] << 8 | head[4];
    return head[0] != 22 || body > SSL3_RT_MAX_ENCRYPTED_LENGTH || t->early_len >= 5 + body;
}

static void early_add(struct conn_tls *t, const char *ptr, size_t len)
{
    t->early = mem_realloc(t->early, t->early_len + len);
    memcpy(t->early + t->early_len, ptr, len);
    t->early_len += (uint32_t)len;
}

bool conn_tls_input(struct conn *c, const char *ptr, size_t len)
{
    struct conn_tls *t = c->tls;
    if (t->ssl != NULL)
        return tls_input(c, ptr, len);
    early_add(t, ptr, len);
    if (!first_record_complete(t))
        return true;
    server_session(c);
    char *early = t->early;
    size_t early_len = t->early_len;
    t->early = NULL;
    t->early_len = 0;
    bool more = tls_input(c, early, early_len);
    mem_free(&early);
    return more;
}
/* The start of the queued output: one record of it, gathered if it lies in several chunks. */
static slice next_record(struct conn *c)
{
    struct conn_local *l = conn_local(c->loop);
    const struct conn_chunk *k = c->out;
    size_t len = 0;

    if (k->len - k->at >= CONN_RECORD_BYTES)
        return (slice){ k->bytes + k->at, CONN_RECORD_BYTES };
    if (k->next == NULL)
        return (slice){ k->bytes + k->at, k->len - k->at };
    for (; k != NULL && len < CONN_RECORD_BYTES; k = k->next) {
        size_t n = k->len - k->at;
        if (n > CONN_RECORD_BYTES - len)
            n = CONN_RECORD_BYTES - len;
        memcpy(l->gather + len, k->bytes + k->at, n);
        len += n;
    }
    return (slice){ l->gather, len };
}

void conn_tls_flush(struct conn *c)
{
    struct conn_local *l = conn_local(c->loop);

    conn_tls_push(c);
    if (c->tls->shake != NULL)
        return;
    if (c->state == CONN_HANDSHAKE && c->tls->ssl != NULL && SSL_in_before(c->tls->ssl)) {
        bool here = conn_shake_step(c, (slice){ 0 }); /* the first words of a client */
        (void)here;                                   /* nothing was read */
        return;
    }
    errors_clear();
    lend_bio(c);
    while (c->secured && c->out_bytes > 0 && may_send(c)) {
        slice record = next_record(c);
        size_t n;
        if (SSL_write_ex(c->tls->ssl, record.ptr, record.len, &n) != 1) {
            tls_fail_here(c);
            return;
        }
        conn_out_advance(c, n);
        if (sizeof(l->cipher) - l->cipher_len < CIPHER_ROOM)
            conn_tls_push(c);
    }
    conn_tls_push(c);
}

void conn_tls_shut(struct conn *c)
{
    if (c->tls->shut)
        return;
    c->tls->shut = true;
    errors_clear();
    lend_bio(c);
    (void)SSL_shutdown(c->tls->ssl); /* 0: the peer's is not there yet, and not awaited */
    conn_tls_push(c);
}

const char *conn_tls_version(const struct conn *c)
{
    return c->secured ? SSL_get_version(c->tls->ssl) : NULL;
}

const char *conn_tls_cipher(const struct conn *c)
{
    return c->secured ? SSL_get_cipher_name(c->tls->ssl) : NULL;
}

slice conn_tls_protocol(const struct conn *c)
{
    const unsigned char *name = NULL;
    unsigned len = 0;

    if (c->secured)
        SSL_get0_alpn_selected(c->tls->ssl, &name, &len);
    return (slice){ (const char *)name, len };
}

const struct tls_peer *conn_tls_peer(const struct conn *c)
{
    return c->tls != NULL && c->tls->judgement != NULL && c->tls->shake == NULL
               ? &c->tls->judgement->peer
               : NULL;
}

void conn_judge_again(const struct conn *c, const struct tls_trust *trust, enum tls_usage usage,
                      struct tls_peer *out)
{
    SSL *ssl = c->secured ? c->tls->ssl : NULL;
    X509 *own = ssl != NULL ? SSL_get0_peer_certificate(ssl) : NULL;
    *out = (struct tls_peer){ .verdict = TLS_NOT_SHOWN, .reason = "no certificate" };
    if (own == NULL)
        return;
    if (trust != NULL)
        tls_judge_again(trust, own, SSL_get_peer_cert_chain(ssl), usage, out);
    else
        *out = (struct tls_peer){ .verdict = TLS_UNKNOWN_ISSUER, .reason = "nothing is trusted" };
}

static slice der_of(X509 *cert, struct arena *arena)
{
    int len = i2d_X509(cert, NULL);
    unsigned char *ptr = len > 0 ? arena_alloc_raw(arena, (size_t)len) : NULL, *end = ptr;

    return len > 0 && i2d_X509(cert, &end) == len ? (slice){ (char *)ptr, (size_t)len }
                                                  : (slice){ NULL, 0 };
}

/* The chain that OpenSSL keeps begins with the peer's own certificate only on the client. */
size_t conn_tls_chain(const struct conn *c, struct arena *arena, slice **out)
{
    SSL *ssl = c->secured ? c->tls->ssl : NULL;
    X509 *own = ssl != NULL ? SSL_get0_peer_certificate(ssl) : NULL;
    STACK_OF(X509) *chain = own != NULL ? SSL_get_peer_cert_chain(ssl) : NULL;
    int first = ssl != NULL && !SSL_is_server(ssl), more = sk_X509_num(chain) - first;
    size_t count = 0;

    if (own == NULL)
        return 0;
    *out = arena_new(arena, slice, more > 0 ? (size_t)more + 1 : 1);
    (*out)[count++] = der_of(own, arena);
    for (int i = first; i < sk_X509_num(chain); i++)
        (*out)[count++] = der_of(sk_X509_value(chain, i), arena);
    return count;
}

slice conn_tls_own(const struct conn *c, struct arena *arena)
{
    const SSL *ssl = c->secured ? c->tls->ssl : NULL;
    int kind; /* of our signature: a client signs only what it was asked for */
    bool shown = ssl != NULL && SSL_get_signature_type_nid(ssl, &kind) == 1;
    X509 *own = shown ? SSL_get_certificate(ssl) : NULL;
    return own != NULL ? der_of(own, arena) : (slice){ NULL, 0 };
}

/* RFC 9266 §4.2: with TLS 1.2 only if the extended master secret was negotiated. */
static enum err binding_exporter(SSL *ssl, char out[64], size_t *len)
{
    static const char label[] = "EXPORTER-Channel-Binding";
    enum { EXPORTED_BYTES = 32 };

    if (SSL_version(ssl) < TLS1_3_VERSION && SSL_get_extms_support(ssl) != 1)
        return E_UNSUPPORTED;
    if (SSL_export_keying_material(ssl, (unsigned char *)out, EXPORTED_BYTES, label,
                                   sizeof(label) - 1, (const unsigned char *)"", 0, 1) != 1)
        return E_INTERNAL;
    *len = EXPORTED_BYTES;
    return OK;
}

/* RFC 5929 §4.1: the hash of the signature of the server's certificate, but SHA-256 in place of MD5
 * and SHA-1. */
static enum err binding_end_point(SSL *ssl, char out[64], size_t *len)
{
    X509 *cert = SSL_is_server(ssl) ? SSL_get_certificate(ssl) : SSL_get0_peer_certificate(ssl);
    unsigned n = 0;
    int hash_nid;
    if (cert == NULL || OBJ_find_sigid_algs(X509_get_signature_nid(cert), &hash_nid, NULL) != 1)
        return E_UNSUPPORTED;
    if (hash_nid == NID_md5 || hash_nid == NID_sha1)
        hash_nid = NID_sha256;
    const EVP_MD *md = EVP_get_digestbynid(hash_nid);
    if (md == NULL || EVP_MD_get_size(md) > 64) /* RFC 5929 leaves it undefined: Ed25519 */
        return E_UNSUPPORTED;
    if (X509_digest(cert, md, (unsigned char *)out, &n) != 1)
        return E_INTERNAL;
    *len = n;
    return OK;
}

/* RFC 5929 §3.1: the first Finished message, which the client sends unless a session is resumed.
 * Not defined for TLS 1.3, and not unique without the extended master secret (RFC 7627). */
static enum err binding_unique(SSL *ssl, char out[64], size_t *len)
{
    if (SSL_version(ssl) >= TLS1_3_VERSION || SSL_get_extms_support(ssl) != 1)
        return E_UNSUPPORTED;
    bool ours = SSL_session_reused(ssl) == SSL_is_server(ssl);
    *len = ours ? SSL_get_finished(ssl, out, 64) : SSL_get_peer_finished(ssl, out, 64);
    return *len > 0 && *len <= 64 ? OK : E_INTERNAL;
}

enum err conn_channel_binding(struct conn *c, enum conn_binding type, char out[64], size_t *len)
{
    if (!c->secured)
        return E_UNSUPPORTED;
    enum err e = type == CONN_TLS_EXPORTER ? binding_exporter(c->tls->ssl, out, len)
                 : type == CONN_TLS_UNIQUE ? binding_unique(c->tls->ssl, out, len)
                                           : binding_end_point(c->tls->ssl, out, len);
    errors_clear();
    return e;
}
