#include "base/mem.h"
#include "io/conn_private.h"
#include "io/test_bed.h"
#include "io/work.h"
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <semaphore.h>

enum { GOT_MAX = 1 << 20, BULK_BYTES = 3 << 20 };

static const struct conn_limits limits = {
    .input_bytes = 200000, .output_high = 65536, .output_max = 4 << 20, .handshake_ms = 5000
};

static struct tls_ctx *server_ctx;
static bool with_helpers;
static SSL_CTX *client_ctx;

/* One connection, both ends of it. */
struct ends {
    struct loop *loop;
    struct work_pool *helpers; /* NULL: steps are made on the loop */
    struct conn *c;
    int fd;
    SSL *client;
    char *got;
    size_t got_len;
    size_t await;
    unsigned told[CONN_FAILED + 1], closed;
    bool starttls; /* the first bytes ask for it */
};

static size_t on_input(struct conn *c, slice data)
{
    struct ends *e = conn_owner(c);

    if (e->starttls) {
        e->starttls = false;
        conn_write(c, SLICE("proceed"));
        conn_start_tls(c, server_ctx, (slice){ 0 });
        return 8;
    }
    assert_true(e->got_len + data.len <= GOT_MAX);
    memcpy(e->got + e->got_len, data.ptr, data.len);
    e->got_len += data.len;
    return data.len;
}

static void on_event(struct conn *c, enum conn_event ev)
{
    struct ends *e = conn_owner(c);

    e->told[ev]++;
}

static void on_closed(struct conn *c)
{
    struct ends *e = conn_owner(c);

    e->closed++;
    if (c == e->c)
        e->c = NULL;
}

static const struct conn_ops ops = { on_input, on_event, on_closed };

static struct ends *ends_create(unsigned flags)
{
    struct ends *e = mem_new(struct ends);
    int fd[2];
    bed_pair(fd);
    e->fd = fd[1];
    e->got = mem_alloc(GOT_MAX);
    e->loop = loop_create(0);
    if (with_helpers) {
        e->helpers = work_pool_create(1, 100);
        loop_set_helpers(e->loop, e->helpers);
    }
    e->client = SSL_new(client_ctx);
    SSL_set_fd(e->client, e->fd);
    SSL_set_connect_state(e->client);
    e->c = conn_create(e->loop, fd[0], NULL, flags, server_ctx, &limits);
    conn_start(e->c, &ops, e);
    return e;
}

static bool is_closed(void *arg) { return ((struct ends *)arg)->closed > 0; }
static bool is_eof(void *arg) { return ((struct ends *)arg)->told[CONN_EOF] > 0; }
static bool is_drained(void *arg) { return ((struct ends *)arg)->told[CONN_DRAINED] > 0; }
static bool has_bytes(void *arg)
{
    const struct ends *e = arg;

    return e->got_len >= e->await;
}

static void ends_destroy(struct ends *e)
{
    if (e->c != NULL) {
        conn_abort(e->c);
        bed_run(e->loop, is_closed, e);
    }
    assert_int_equal(e->closed, 1);
    if (e->helpers != NULL) {
        work_pool_end(e->helpers);
        bed_ticks(e->loop, 1); /* what was under way is told its end */
    }
    work_pool_destroy(&e->helpers);
    loop_destroy(&e->loop);
    SSL_free(e->client);
    close(e->fd);
    mem_free(&e->got);
    mem_free(&e);
}

/* Runs the loop when the client must wait for the server; false: the client failed. */
static bool client_may_retry(struct ends *e, int rc)
{
    if (SSL_get_error(e->client, rc) != SSL_ERROR_WANT_READ)
        return false;
    bed_run(e->loop, bed_readable, &e->fd);
    return true;
}

static bool client_handshake(struct ends *e)
{
    fcntl(e->fd, F_SETFL, O_NONBLOCK);
    ERR_clear_error();
    int rc;
    while ((rc = SSL_do_handshake(e->client)) != 1) {
        if (!client_may_retry(e, rc))
            return false;
    }
    return true;
}

static void client_read(struct ends *e, char *out, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t n;
        ERR_clear_error();
        if (SSL_read_ex(e->client, out + at, len - at, &n) == 1)
            at += n;
        else
            assert_true(client_may_retry(e, 0));
    }
}

static void client_write(struct ends *e, const char *text)
{
    size_t len = strlen(text);

    assert_int_equal(SSL_write(e->client, text, (int)len), (int)len);
}

static void await_bytes(struct ends *e, size_t total)
{
    e->await = total;
    bed_run(e->loop, has_bytes, e);
}

static void test_both_ways(void **state)
{
    struct ends *e = ends_create(CONN_TLS);
    (void)state;
    assert_true(client_handshake(e));
    client_write(e, "hello");
    await_bytes(e, 5);
    assert_int_equal(e->told[CONN_SECURED], 1);
    assert_true(conn_is_secure(e->c));
    assert_string_equal(conn_tls_version(e->c), "TLSv1.3");
    assert_memory_equal(e->got, "hello", 5);
    conn_write(e->c, SLICE("answer"));
    char in[8];
    client_read(e, in, 6);
    assert_memory_equal(in, "answer", 6);
    assert_null(e->c->in);
    assert_null(e->c->out);
    ends_destroy(e);
}

static void test_output_before_the_handshake_waits_for_it(void **state)
{
    struct ends *e = ends_create(CONN_TLS);
    (void)state;
    conn_write(e->c, SLICE("early"));
    bed_ticks(e->loop, 3);
    assert_false(bed_readable(&e->fd)); /* nothing goes out in the clear */
    assert_true(client_handshake(e));
    char in[8];
    client_read(e, in, 5);
    assert_memory_equal(in, "early", 5);
    ends_destroy(e);
}

static void test_bulk_through_a_full_socket(void **state)
{
    struct ends *e = ends_create(CONN_TLS);
    char *bulk = mem_alloc(BULK_BYTES), *in = mem_alloc(BULK_BYTES);
    int bytes = 20000;

    (void)state;
    assert_int_equal(setsockopt(e->c->source.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
    assert_true(client_handshake(e));
    for (size_t i = 0; i < BULK_BYTES; i++)
        bulk[i] = (char)(i * 7 % 251);
    for (size_t at = 0, n; at < BULK_BYTES; at += n) {
        n = at % 40000 + 1;
        if (n > BULK_BYTES - at)
            n = BULK_BYTES - at;
        conn_write(e->c, (slice){ bulk + at, n });
    }
    bed_ticks(e->loop, 5);
    assert_int_equal(e->told[CONN_HIGH], 1);
    client_read(e, in, BULK_BYTES);
    assert_memory_equal(in, bulk, BULK_BYTES);
    bed_run(e->loop, is_drained, e);
    assert_int_equal(e->told[CONN_LOW], 1);
    assert_int_equal(conn_output_bytes(e->c), 0);
    mem_free(&bulk);
    mem_free(&in);
    ends_destroy(e);
}

static void test_records_split_at_every_byte(void **state)
{
    struct ends *e = ends_create(CONN_TLS);
    BIO *out = BIO_new(BIO_s_mem());
    (void)state;
    assert_true(client_handshake(e));
    SSL_set0_wbio(e->client, out);
    client_write(e, "one record");
    client_write(e, " and another");
    char *bytes;
    long len = BIO_get_mem_data(out, &bytes);
    for (long i = 0; i < len; i++) {
        assert_int_equal(send(e->fd, bytes + i, 1, 0), 1);
        bed_ticks(e->loop, 2);
    }
    await_bytes(e, 22);
    assert_memory_equal(e->got, "one record and another", 22);
    ends_destroy(e);
}

static void test_starttls_drops_what_was_injected(void **state)
{
    struct ends *e = ends_create(0);
    (void)state;
    e->starttls = true;
    assert_int_equal(send(e->fd, "starttlsINJECTED", 16, 0), 16);
    bed_run(e->loop, bed_readable, &e->fd);
    char in[16];
    assert_int_equal(recv(e->fd, in, sizeof(in), 0), 7);
    assert_memory_equal(in, "proceed", 7);
    assert_true(client_handshake(e));
    client_write(e, "clean");
    await_bytes(e, 5);
    assert_int_equal(e->got_len, 5);
    assert_memory_equal(e->got, "clean", 5);
    ends_destroy(e);
}

static void test_starttls_behind_clear_output_that_waits(void **state)
{
    struct ends *e = ends_create(0);
    size_t clear = 2 << 20, got = 0;
    char *big = mem_zalloc(clear);
    (void)state;
    conn_write(e->c, (slice){ big, clear });
    conn_start_tls(e->c, server_ctx, (slice){ 0 });
    char in[65536];
    while (got < clear) {
        ssize_t n;
        bed_run(e->loop, bed_readable, &e->fd);
        n = recv(e->fd, in, clear - got < sizeof(in) ? clear - got : sizeof(in), 0);
        assert_true(n > 0);
        got += (size_t)n;
    }
    assert_true(client_handshake(e));
    mem_free(&big);
    ends_destroy(e);
}

static void check_exporter(struct ends *e)
{
    static const char label[] = "EXPORTER-Channel-Binding";
    size_t len = 0;
    char theirs[64];
    assert_int_equal(conn_channel_binding(e->c, CONN_TLS_EXPORTER, theirs, &len), OK);
    assert_int_equal(len, 32);
    unsigned char ours[32];
    assert_int_equal(SSL_export_keying_material(e->client, ours, 32, label, sizeof(label) - 1,
                                                (const unsigned char *)"", 0, 1),
                     1);
    assert_memory_equal(ours, theirs, 32);
}

static void test_channel_bindings(void **state)
{
    struct ends *e = ends_create(CONN_TLS);
    unsigned n = 0;
    size_t len = 0;
    (void)state;
    char theirs[64];
    assert_int_equal(conn_channel_binding(e->c, CONN_TLS_EXPORTER, theirs, &len), E_UNSUPPORTED);
    assert_true(client_handshake(e));
    client_write(e, "x");
    await_bytes(e, 1);
    check_exporter(e);
    assert_int_equal(conn_channel_binding(e->c, CONN_TLS_SERVER_END_POINT, theirs, &len), OK);
    X509 *cert = SSL_get1_peer_certificate(e->client);
    unsigned char ours[EVP_MAX_MD_SIZE];
    assert_int_equal(X509_digest(cert, EVP_sha256(), ours, &n), 1);
    assert_int_equal(len, n);
    assert_memory_equal(ours, theirs, n);
    X509_free(cert);
    ends_destroy(e);
}

static void test_tls12(void **state)
{
    struct ends *e = ends_create(CONN_TLS);

    (void)state;
    SSL_set_max_proto_version(e->client, TLS1_2_VERSION);
    assert_true(client_handshake(e));
    client_write(e, "x");
    await_bytes(e, 1);
    assert_string_equal(conn_tls_version(e->c), "TLSv1.2");
    check_exporter(e);
    ends_destroy(e);
}

static void test_older_versions_are_refused(void **state)
{
    struct ends *e = ends_create(CONN_TLS);

    (void)state;
    SSL_set_security_level(e->client, 0);
    SSL_set_min_proto_version(e->client, TLS1_VERSION);
    SSL_set_max_proto_version(e->client, TLS1_1_VERSION);
    assert_false(client_handshake(e));
    bed_run(e->loop, is_closed, e);
    assert_int_equal(e->told[CONN_FAILED], 1);
    ends_destroy(e);
}

static void test_alpn(void **state)
{
    static const unsigned char good[] = "\x02h2\x0bxmpp-client", bad[] = "\x02h2";
    struct ends *e = ends_create(CONN_TLS);
    (void)state;
    SSL_set_alpn_protos(e->client, good, sizeof(good) - 1);
    assert_true(client_handshake(e));
    const unsigned char *chosen;
    unsigned len;
    SSL_get0_alpn_selected(e->client, &chosen, &len);
    assert_int_equal(len, 11);
    assert_memory_equal(chosen, "xmpp-client", 11);
    ends_destroy(e);

    e = ends_create(CONN_TLS);
    SSL_set_alpn_protos(e->client, bad, sizeof(bad) - 1);
    assert_false(client_handshake(e));
    assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()),
                     SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
    bed_run(e->loop, is_closed, e);
    ends_destroy(e);
}

static void check_certificate_for(const char *sni, const char *expected)
{
    struct ends *e = ends_create(CONN_TLS);
    SSL_set_tlsext_host_name(e->client, sni);
    assert_true(client_handshake(e));
    client_write(e, "x");
    await_bytes(e, 1);
    X509 *cert = SSL_get1_peer_certificate(e->client);
    assert_int_equal(X509_check_host(cert, expected, 0, 0, NULL), 1);
    X509_free(cert);
    ends_destroy(e);
}

static void test_sni_chooses_the_certificate(void **state)
{
    (void)state;
    check_certificate_for("second.test", "second.test");
    check_certificate_for("SECOND.Test", "second.test");
    check_certificate_for("first.test", "first.test");
    check_certificate_for("unknown.test", "first.test");
}

static void test_ticket_resumes(void **state)
{
    struct ends *e = ends_create(CONN_TLS);
    (void)state;
    assert_true(client_handshake(e));
    conn_write(e->c, SLICE("x"));
    char in[1];
    client_read(e, in, 1); /* the ticket came before it */
    SSL_SESSION *session = SSL_get1_session(e->client);
    SSL_shutdown(e->client);
    bed_run(e->loop, is_eof, e);
    ends_destroy(e);

    e = ends_create(CONN_TLS);
    SSL_set_session(e->client, session);
    assert_true(client_handshake(e));
    assert_int_equal(SSL_session_reused(e->client), 1);
    SSL_SESSION_free(session);
    ends_destroy(e);
}

static void test_close_notify_both_ways(void **state)
{
    struct ends *e = ends_create(CONN_TLS);
    (void)state;
    assert_true(client_handshake(e));
    client_write(e, "last");
    SSL_shutdown(e->client);
    bed_run(e->loop, is_eof, e);
    assert_int_equal(e->got_len, 4); /* the bytes came before the end */
    conn_write(e->c, SLICE("bye"));
    conn_close(e->c);
    char in[8];
    client_read(e, in, 3);
    size_t n;
    while (SSL_read_ex(e->client, in, 1, &n) != 1 && client_may_retry(e, 0))
        ;
    assert_int_equal(SSL_get_error(e->client, 0), SSL_ERROR_ZERO_RETURN);
    bed_run(e->loop, is_closed, e);
    assert_int_equal(e->told[CONN_FAILED], 0);
    ends_destroy(e);
}

static void test_garbage_fails(void **state)
{
    struct ends *e = ends_create(CONN_TLS);

    (void)state;
    assert_int_equal(send(e->fd, "<?xml version='1.0'?>", 21, 0), 21);
    bed_run(e->loop, is_closed, e);
    assert_int_equal(e->told[CONN_FAILED], 1);
    assert_int_equal(e->told[CONN_SECURED], 0);
    assert_int_equal(ERR_peek_error(), 0);
    ends_destroy(e);
}

static void test_broken_record_fails(void **state)
{
    struct ends *e = ends_create(CONN_TLS);

    (void)state;
    assert_true(client_handshake(e));
    client_write(e, "x");
    await_bytes(e, 1);
    assert_int_equal(send(e->fd, "\x17\x03\x03\x00\x14 twenty junk bytes ..", 25, 0), 25);
    bed_run(e->loop, is_closed, e);
    assert_int_equal(e->told[CONN_FAILED], 1);
    assert_int_equal(e->got_len, 1);
    ends_destroy(e);
}

static void test_handshake_deadline(void **state)
{
    struct ends *e = ends_create(CONN_TLS);

    (void)state;
    bed_ticks(e->loop, 3);
    assert_true(timer_is_set(&e->c->timer));
    timer_set_tick(e->loop, &e->c->timer, 0);
    bed_run(e->loop, is_closed, e);
    assert_int_equal(e->told[CONN_FAILED], 1);
    ends_destroy(e);
}

static void test_proxy_header_before_the_handshake(void **state)
{
    static const char header[] =
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x7f\0\0\1\x30\x39\x14\x66";
    struct ends *e = ends_create(CONN_TLS | CONN_PROXY);
    BIO *both = BIO_new(BIO_s_mem());
    (void)state;
    fcntl(e->fd, F_SETFL, O_NONBLOCK);
    BIO_write(both, header, sizeof(header) - 1);
    SSL_set0_wbio(e->client, both);
    assert_int_equal(SSL_get_error(e->client, SSL_do_handshake(e->client)), SSL_ERROR_WANT_READ);
    char *bytes;
    long len = BIO_get_mem_data(both, &bytes);
    assert_int_equal(send(e->fd, bytes, (size_t)len, 0), len); /* in one segment */
    SSL_set_fd(e->client, e->fd);
    assert_true(client_handshake(e));
    client_write(e, "x");
    await_bytes(e, 1);
    assert_string_equal(conn_info_text(conn_info(e->c)).text, "10.1.2.3");
    assert_int_equal(ntohs(conn_info(e->c)->peer.v4.sin_port), 12345);
    ends_destroy(e);
}

enum { STORM = 20 };

static bool all_told(void *arg)
{
    const struct ends *e = arg;

    return e->told[CONN_SECURED] + e->told[CONN_FAILED] == STORM;
}

struct storm {
    int fd[STORM][2];
    struct conn *c[STORM];
    SSL *client[STORM];
};

static void storm_begin(struct storm *s, struct ends *e)
{
    for (int i = 0; i < STORM; i++) {
        bed_pair(s->fd[i]);
        s->client[i] = SSL_new(client_ctx);
        fcntl(s->fd[i][1], F_SETFL, O_NONBLOCK);
        SSL_set_fd(s->client[i], s->fd[i][1]);
        SSL_set_connect_state(s->client[i]);
        SSL_do_handshake(s->client[i]);
        s->c[i] = conn_create(e->loop, s->fd[i][0], NULL, CONN_TLS, server_ctx, &limits);
        conn_start(s->c[i], &ops, e);
    }
}

static bool storm_closed(void *arg) { return ((struct ends *)arg)->closed == STORM; }

static void storm_end(struct storm *s, struct ends *e)
{
    for (int i = 0; i < STORM; i++)
        conn_abort(s->c[i]);
    bed_run(e->loop, storm_closed, e);
    for (int i = 0; i < STORM; i++) {
        SSL_free(s->client[i]);
        close(s->fd[i][1]);
    }
    e->closed = 0;
}

static void test_handshake_storm(void **state)
{
    struct ends *e = ends_create(CONN_TLS);
    struct storm s;
    (void)state;
    storm_begin(&s, e);
    for (int i = 0; i < STORM; i++) {
        bed_run(e->loop, bed_readable, &s.fd[i][1]);
        assert_int_equal(SSL_do_handshake(s.client[i]), 1);
    }
    bed_run(e->loop, all_told, e);
    assert_int_equal(e->told[CONN_SECURED], STORM);
    storm_end(&s, e);
    ends_destroy(e);
}

/* Keeps the helper thread from all else. */
struct stopper {
    struct work work;
    sem_t begun, go_on;
};

static void stopper_run(struct work *w)
{
    struct stopper *s = CONTAINER_OF(w, struct stopper, work);
    sem_post(&s->begun);
    sem_wait(&s->go_on);
}

static void stopper_done(struct work *w) { (void)w; }

static void stopper_start(struct stopper *s, struct ends *e)
{
    *s = (struct stopper){ .work = { .run = stopper_run, .done = stopper_done } };
    sem_init(&s->begun, 0, 0);
    sem_init(&s->go_on, 0, 0);
    assert_int_equal(work_submit(e->helpers, e->loop, &s->work), OK);
    sem_wait(&s->begun);
}

static void test_the_loop_goes_on_while_a_step_waits(void **state)
{
    struct ends *e = ends_create(CONN_TLS);
    struct stopper stopper;
    (void)state;
    stopper_start(&stopper, e);
    fcntl(e->fd, F_SETFL, O_NONBLOCK);
    assert_int_equal(SSL_get_error(e->client, SSL_do_handshake(e->client)), SSL_ERROR_WANT_READ);
    bed_ticks(e->loop, 5);
    assert_true(conn_tls_is_shaking(e->c));
    assert_null(conn_tls_peer(e->c));
    assert_int_equal(send(e->fd, "too early", 9, 0), 9);
    bed_ticks(e->loop, 5); /* it is not read, and does not make the loop turn */
    assert_int_equal(e->c->source.events & EPOLLIN, 0);
    assert_false(bed_readable(&e->fd));
    sem_post(&stopper.go_on);
    bed_run(e->loop, is_closed, e); /* what came early is no record */
    assert_int_equal(e->told[CONN_FAILED], 1);
    ends_destroy(e);
}

static void test_a_reset_while_a_step_waits(void **state)
{
    struct ends *e = ends_create(CONN_TLS);
    struct stopper stopper;
    (void)state;
    stopper_start(&stopper, e);
    fcntl(e->fd, F_SETFL, O_NONBLOCK);
    SSL_do_handshake(e->client);
    bed_ticks(e->loop, 5);
    bed_reset(&e->fd);
    bed_ticks(e->loop, 5);
    assert_false(e->c->polled);
    sem_post(&stopper.go_on);
    bed_run(e->loop, is_closed, e);
    assert_int_equal(e->told[CONN_FAILED], 1);
    ends_destroy(e);
}

static void test_what_came_before_a_reset_is_read(void **state)
{
    struct ends *e = ends_create(CONN_TLS);
    (void)state;
    assert_true(client_handshake(e));
    client_write(e, "first");
    await_bytes(e, 5);
    client_write(e, " and last words");
    bed_reset(&e->fd);
    conn_write(e->c, SLICE("to nobody"));
    bed_run(e->loop, is_closed, e);
    assert_int_equal(e->got_len, 20);
    assert_int_equal(e->told[CONN_FAILED], 1);
    ends_destroy(e);
}

/* Some are waiting for the helper, one is with it, some are done. */
static void test_ends_in_the_middle_of_steps(void **state)
{
    struct ends *e = ends_create(CONN_TLS);
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct storm s;
        storm_begin(&s, e);
        for (int ready = 0; ready < round; ready++)
            bed_run(e->loop, bed_readable, &s.fd[ready][1]);
        bed_ticks(e->loop, 1);
        storm_end(&s, e);
    }
    ends_destroy(e);
}

static void test_steps_when_the_server_stops(void **state)
{
    struct ends *e = ends_create(CONN_TLS);
    struct stopper stopper;
    (void)state;
    stopper_start(&stopper, e);
    fcntl(e->fd, F_SETFL, O_NONBLOCK);
    SSL_do_handshake(e->client);
    bed_ticks(e->loop, 5);
    work_pool_skip(e->helpers);
    bed_run(e->loop, is_closed, e);
    assert_int_equal(e->told[CONN_FAILED], 1);
    sem_post(&stopper.go_on);
    ends_destroy(e);
}

static int set_up(void **state)
{
    (void)state;
    server_ctx = bed_tls();
    client_ctx = SSL_CTX_new(TLS_client_method());
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_ctx_unref(&server_ctx);
    SSL_CTX_free(client_ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),
        cmocka_unit_test(test_output_before_the_handshake_waits_for_it),
        cmocka_unit_test(test_bulk_through_a_full_socket),
        cmocka_unit_test(test_records_split_at_every_byte),
        cmocka_unit_test(test_starttls_drops_what_was_injected),
        cmocka_unit_test(test_starttls_behind_clear_output_that_waits),
        cmocka_unit_test(test_channel_bindings),
        cmocka_unit_test(test_tls12),
        cmocka_unit_test(test_older_versions_are_refused),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_sni_chooses_the_certificate),
        cmocka_unit_test(test_ticket_resumes),
        cmocka_unit_test(test_close_notify_both_ways),
        cmocka_unit_test(test_garbage_fails),
        cmocka_unit_test(test_broken_record_fails),
        cmocka_unit_test(test_handshake_deadline),
        cmocka_unit_test(test_proxy_header_before_the_handshake),
        cmocka_unit_test(test_handshake_storm),
    };
    const struct CMUnitTest of_helpers[] = {
        cmocka_unit_test(test_the_loop_goes_on_while_a_step_waits),
        cmocka_unit_test(test_a_reset_while_a_step_waits),
        cmocka_unit_test(test_what_came_before_a_reset_is_read),
        cmocka_unit_test(test_ends_in_the_middle_of_steps),
        cmocka_unit_test(test_steps_when_the_server_stops),
    };
    int failed = cmocka_run_group_tests_name("io/conn_tls", tests, set_up, tear_down);
    with_helpers = true;
    failed += cmocka_run_group_tests_name("io/conn_tls, helpers", tests, set_up, tear_down);
    return failed +
           cmocka_run_group_tests_name("io/conn_tls, steps", of_helpers, set_up, tear_down);
}
