/* Both ends of a connection are ours: a server with a chain of its own, and a client. */
#include "base/arena.h"
#include "io/conn_private.h"
#include "io/test_bed.h"
#include "io/test_certs.h"
#include "io/tls_client.h"
#include "io/tls_private.h"
#include <fcntl.h>

enum { SERVER, CLIENT, SIDES };

static const struct conn_limits limits = {
    .input_bytes = 200000, .output_high = 65536, .output_max = 4 << 20, .handshake_ms = 15000
};

static char dir[] = "/tmp/muster-client-XXXXXX";
static struct test_cert root, middle, good, old, someone;
static struct tls_ctx *good_ctx, *old_ctx, *someone_ctx;
static struct tls_trust *trust;

struct side {
    struct conn *conn;
    unsigned told[CONN_FAILED + 1], closed;
    char error[128];
    bool judged;
    struct tls_peer peer;
    slice starttls; /* the server answers these bytes and begins TLS; the client begins */
    char got[4096];
    size_t got_len;
    struct ends *ends;
};

struct ends {
    struct loop *loop;
    struct side side[SIDES];
    struct tls_ctx *server;
    struct tls_trust *asks; /* the server asks for a certificate; NULL: not */
    enum tls_usage usage;
    unsigned flags; /* of the server, beside CONN_TLS */
    struct tls_call call;
};

static void begin_server(struct ends *e, struct conn *c)
{
    conn_start_tls(c, e->server, (slice){ 0 });
    if (e->asks != NULL)
        conn_ask_certificate(c, e->asks, e->usage);
}

static size_t on_input(struct conn *c, slice data)
{
    struct side *s = conn_owner(c);

    if (s->starttls.len > 0) {
        assert_true(slice_starts(data, s->starttls));
        if (s == &s->ends->side[SERVER]) {
            conn_write(c, s->ends->side[CLIENT].starttls);
            conn_write(c, SLICE("INJECTED"));
            begin_server(s->ends, c);
        } else {
            conn_start_tls_client(c, &s->ends->call);
        }
        size_t len = s->starttls.len;
        s->starttls = (slice){ NULL, 0 };
        return len;
    }
    assert_true(s->got_len + data.len <= sizeof(s->got));
    memcpy(s->got + s->got_len, data.ptr, data.len);
    s->got_len += data.len;
    return data.len;
}

static void on_event(struct conn *c, enum conn_event ev)
{
    struct side *s = conn_owner(c);

    s->told[ev]++;
    if (conn_error(c) != NULL)
        snprintf(s->error, sizeof(s->error), "%s", conn_error(c));
    s->judged = conn_tls_peer(c) != NULL;
    if (s->judged)
        s->peer = *conn_tls_peer(c);
}

static void on_closed(struct conn *c)
{
    struct side *s = conn_owner(c);

    s->closed++;
    s->conn = NULL;
}

static const struct conn_ops ops = { on_input, on_event, on_closed };

static void ends_open(struct ends *e)
{
    *e = (struct ends){ .loop = loop_create(0), .server = good_ctx };
    e->call = (struct tls_call){ .server_name = SLICE("good.test"), .trust = trust };
    for (int i = 0; i < SIDES; i++)
        e->side[i].ends = e;
}

static void make(struct ends *e, unsigned flags)
{
    int fd[2];
    bed_pair(fd);
    e->side[SERVER].conn = conn_create(e->loop, fd[0], NULL, flags, e->server, &limits);
    e->side[CLIENT].conn = conn_create(e->loop, fd[1], NULL, 0, NULL, &limits);
}

/* TLS at once. */
static void connect_both(struct ends *e)
{
    make(e, CONN_TLS | e->flags);
    if (e->asks != NULL)
        conn_ask_certificate(e->side[SERVER].conn, e->asks, e->usage);
    conn_start_tls_client(e->side[CLIENT].conn, &e->call);
    for (int i = 0; i < SIDES; i++)
        conn_start(e->side[i].conn, &ops, &e->side[i]);
}

static bool has_ended(const struct side *s)
{
    return s->told[CONN_SECURED] + s->told[CONN_FAILED] > 0;
}

static bool have_ended(void *arg)
{
    const struct ends *e = arg;

    return has_ended(&e->side[SERVER]) && has_ended(&e->side[CLIENT]);
}

static bool are_closed(void *arg)
{
    const struct ends *e = arg;

    return e->side[SERVER].closed > 0 && e->side[CLIENT].closed > 0;
}

static bool have_input(void *arg)
{
    const struct ends *e = arg;

    return e->side[SERVER].got_len >= 3 && e->side[CLIENT].got_len >= 3;
}

static void handshake_both(struct ends *e)
{
    bed_run(e->loop, have_ended, e);
    if (e->side[CLIENT].told[CONN_SECURED] == 0)
        fail_msg("client: %s", e->side[CLIENT].error);
    if (e->side[SERVER].told[CONN_SECURED] == 0)
        fail_msg("server: %s", e->side[SERVER].error);
}

static void say_something(struct ends *e)
{
    conn_write(e->side[SERVER].conn, SLICE("abc"));
    conn_write(e->side[CLIENT].conn, SLICE("def"));
    bed_run(e->loop, have_input, e);
    assert_memory_equal(e->side[SERVER].got, "def", 3);
    assert_memory_equal(e->side[CLIENT].got, "abc", 3);
    assert_int_equal(e->side[CLIENT].got_len, 3);
}

static void ends_close(struct ends *e)
{
    for (int i = 0; i < SIDES; i++) {
        if (e->side[i].conn != NULL)
            conn_abort(e->side[i].conn);
    }
    bed_run(e->loop, are_closed, e);
    loop_destroy(&e->loop);
}

static void test_a_storm_of_clients(void **state)
{
    enum { STORM = 20 };
    struct ends e;
    struct side side[STORM] = { 0 };
    int fd[STORM][2];
    (void)state;
    ends_open(&e);
    for (size_t i = 0; i < STORM; i++) {
        bed_pair(fd[i]);
        side[i].ends = &e;
        side[i].conn = conn_create(e.loop, fd[i][1], NULL, 0, NULL, &limits);
        conn_start_tls_client(side[i].conn, &e.call);
        conn_start(side[i].conn, &ops, &side[i]);
    }
    bed_ticks(e.loop, 1);
    for (size_t i = 0; i < STORM; i++) {
        assert_true(bed_readable(&fd[i][0]));
        conn_abort(side[i].conn);
    }
    bed_ticks(e.loop, 1);
    for (size_t i = 0; i < STORM; i++) {
        assert_int_equal(side[i].closed, 1);
        close(fd[i][0]);
    }
    loop_destroy(&e.loop);
}

static void test_at_once(void **state)
{
    (void)state;
    struct ends e;
    ends_open(&e);
    connect_both(&e);
    handshake_both(&e);
    say_something(&e);
    assert_int_equal(e.side[CLIENT].peer.verdict, TLS_VERIFIED);
    assert_string_equal(e.side[CLIENT].peer.subject, "CN=good.test");
    assert_string_equal(conn_tls_version(e.side[CLIENT].conn), "TLSv1.3");
    assert_false(e.side[SERVER].judged); /* off by default */
    ends_close(&e);
}

static void test_after_starttls(void **state)
{
    (void)state;
    struct ends e;
    ends_open(&e);
    make(&e, 0);
    e.side[SERVER].starttls = SLICE("starttls");
    e.side[CLIENT].starttls = SLICE("proceed");
    e.call.demand = TLS_REQUIRE;
    for (int i = 0; i < SIDES; i++)
        conn_start(e.side[i].conn, &ops, &e.side[i]);
    conn_write(e.side[CLIENT].conn, SLICE("starttls"));
    handshake_both(&e);
    say_something(&e); /* and what was injected is gone */
    assert_int_equal(e.side[CLIENT].peer.verdict, TLS_VERIFIED);
    ends_close(&e);
}

static void gets_the_certificate_of(const char *name)
{
    struct arena *arena = arena_create(0);
    struct tls_ctx *two = bed_tls(); /* for first.test and second.test */
    struct tls_wanted w = { .domain = slice_of(name) };
    slice *chain = NULL;
    struct ends e;
    ends_open(&e);
    e.server = two;
    e.call.server_name = slice_of(name);
    connect_both(&e);
    handshake_both(&e);
    assert_int_equal(conn_tls_chain(e.side[CLIENT].conn, arena, &chain), 1);
    struct tls_names names;
    assert_int_equal(tls_names_read(&names, chain[0], arena), OK);
    assert_non_null(tls_names_find(&names, &w));
    ends_close(&e);
    tls_ctx_unref(&two);
    arena_destroy(&arena);
}

static void test_the_server_is_told_its_name(void **state)
{
    (void)state;
    gets_the_certificate_of("first.test");
    gets_the_certificate_of("second.test");
}

static void test_the_chain_is_shown(void **state)
{
    struct arena *arena = arena_create(0);
    struct tls_wanted w = { .domain = SLICE("good.test") };
    slice *chain = NULL;
    (void)state;
    struct ends e;
    ends_open(&e);
    connect_both(&e);
    assert_int_equal(conn_tls_chain(e.side[CLIENT].conn, arena, &chain), 0);
    handshake_both(&e);
    assert_int_equal(conn_tls_chain(e.side[CLIENT].conn, arena, &chain), 2);
    struct tls_names names;
    assert_int_equal(tls_names_read(&names, chain[0], arena), OK);
    assert_non_null(tls_names_find(&names, &w));
    assert_int_equal(tls_names_read(&names, chain[1], arena), OK);
    assert_null(tls_names_find(&names, &w));
    assert_int_equal(conn_tls_chain(e.side[SERVER].conn, arena, &chain), 0);
    ends_close(&e);
    arena_destroy(&arena);
}

static void fails(struct tls_ctx *server, enum tls_verdict verdict, const char *error)
{
    struct ends e;
    ends_open(&e);
    e.server = server;
    e.call.demand = TLS_REQUIRE;
    connect_both(&e);
    bed_run(e.loop, are_closed, &e);
    assert_int_equal(e.side[CLIENT].told[CONN_SECURED], 0);
    assert_int_equal(e.side[CLIENT].told[CONN_FAILED], 1);
    assert_true(e.side[CLIENT].judged);
    assert_int_equal(e.side[CLIENT].peer.verdict, verdict);
    assert_string_equal(e.side[CLIENT].error, error);
    assert_int_equal(e.side[SERVER].told[CONN_FAILED], 1); /* it gets an alert that says why */
    assert_non_null(strstr(e.side[SERVER].error, "alert"));
    ends_close(&e);

    ends_open(&e); /* its owner decides */
    e.server = server;
    connect_both(&e);
    handshake_both(&e);
    assert_int_equal(e.side[CLIENT].peer.verdict, verdict);
    assert_string_equal(e.side[CLIENT].peer.reason, error);
    say_something(&e);
    ends_close(&e);
}

static void test_what_is_not_verified(void **state)
{
    (void)state;
    fails(old_ctx, TLS_EXPIRED, "certificate has expired");
    fails(someone_ctx, TLS_SELF_SIGNED, "self-signed certificate");
}

static void test_nothing_is_judged_without_trust(void **state)
{
    (void)state;
    struct ends e;
    ends_open(&e);
    e.server = someone_ctx;
    e.call.trust = NULL;
    connect_both(&e);
    handshake_both(&e);
    say_something(&e);
    assert_false(e.side[CLIENT].judged);
    ends_close(&e);
}

static void with_client_certificate(struct tls_ctx *own, enum tls_usage usage,
                                    enum tls_verdict verdict)
{
    struct arena *arena = arena_create(0);
    slice *chain = NULL;
    struct ends e;
    ends_open(&e);
    e.asks = trust;
    e.usage = usage;
    e.call.own = own;
    connect_both(&e);
    handshake_both(&e);
    say_something(&e);
    assert_true(e.side[SERVER].judged);
    assert_int_equal(e.side[SERVER].peer.verdict, verdict);
    assert_int_equal(conn_tls_chain(e.side[SERVER].conn, arena, &chain), own == NULL          ? 0
                                                                         : own == someone_ctx ? 1
                                                                                              : 2);
    assert_int_equal(e.side[CLIENT].peer.verdict, TLS_VERIFIED);
    ends_close(&e);
    arena_destroy(&arena);
}

static void test_the_server_asks_and_refuses_nobody(void **state)
{
    (void)state;
    with_client_certificate(NULL, TLS_FOR_EITHER, TLS_NOT_SHOWN);
    with_client_certificate(good_ctx, TLS_FOR_EITHER, TLS_VERIFIED);
    with_client_certificate(good_ctx, TLS_FOR_CLIENT, TLS_WRONG_USAGE);
    with_client_certificate(old_ctx, TLS_FOR_EITHER, TLS_EXPIRED);
    with_client_certificate(someone_ctx, TLS_FOR_EITHER, TLS_SELF_SIGNED);
}

static void test_asking_after_starttls(void **state)
{
    (void)state;
    struct ends e;
    ends_open(&e);
    make(&e, 0);
    e.asks = trust;
    e.usage = TLS_FOR_EITHER;
    e.call.own = good_ctx;
    e.call.own_domain = SLICE("good.test");
    e.side[SERVER].starttls = SLICE("starttls");
    e.side[CLIENT].starttls = SLICE("proceed");
    for (int i = 0; i < SIDES; i++)
        conn_start(e.side[i].conn, &ops, &e.side[i]);
    conn_write(e.side[CLIENT].conn, SLICE("starttls"));
    handshake_both(&e);
    assert_int_equal(e.side[SERVER].peer.verdict, TLS_VERIFIED);
    ends_close(&e);
}

/* A resumed session would show no certificate. The ticket is from a server that did not ask. */
static void test_no_resumption_where_a_certificate_is_asked_for(void **state)
{
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    SSL_SESSION *session = NULL;

    (void)state;
    for (int asks = 0; asks < 2; asks++) {
        struct ends e;
        int fd[2];
        char in[3];
        SSL *ssl = SSL_new(plain);
        ends_open(&e);
        bed_pair(fd);
        SSL_set_fd(ssl, fd[1]);
        if (session != NULL)
            SSL_set_session(ssl, session);
        e.side[CLIENT].closed = 1;
        struct conn *c = conn_create(e.loop, fd[0], NULL, CONN_TLS, good_ctx, &limits);
        e.side[SERVER].conn = c;
        if (asks)
            conn_ask_certificate(c, trust, TLS_FOR_EITHER);
        conn_start(c, &ops, &e.side[SERVER]);
        conn_write(c, SLICE("abc"));
        assert_int_equal(fcntl(fd[1], F_SETFL, O_NONBLOCK), 0);
        while (SSL_connect(ssl) != 1)
            bed_run(e.loop, bed_readable, &fd[1]);
        while (SSL_read(ssl, in, 3) != 3)
            bed_run(e.loop, bed_readable, &fd[1]);
        assert_int_equal(SSL_session_reused(ssl), 0);
        session = asks ? session : SSL_get1_session(ssl);
        SSL_shutdown(ssl);
        SSL_free(ssl);
        close(fd[1]);
        ends_close(&e);
    }
    assert_int_equal(SSL_SESSION_is_resumable(session), 1);
    SSL_SESSION_free(session);
    SSL_CTX_free(plain);
}

static void test_alpn(void **state)
{
    static const slice offers[] = { SLICE_INIT("xmpp-server"), SLICE_INIT("xmpp-client") };
    (void)state;
    struct ends e;
    ends_open(&e);
    e.call.alpn = offers;
    e.call.alpn_count = 2;
    connect_both(&e);
    assert_int_equal(conn_tls_protocol(e.side[CLIENT].conn).len, 0);
    handshake_both(&e);
    for (int i = 0; i < SIDES; i++)
        assert_true(slice_is(conn_tls_protocol(e.side[i].conn), "xmpp-client"));
    ends_close(&e);

    ends_open(&e);
    e.flags = CONN_SERVER;
    e.call.alpn = offers;
    e.call.alpn_count = 2;
    connect_both(&e);
    handshake_both(&e);
    for (int i = 0; i < SIDES; i++)
        assert_true(slice_is(conn_tls_protocol(e.side[i].conn), "xmpp-server"));
    ends_close(&e);

    ends_open(&e);
    connect_both(&e);
    handshake_both(&e);
    for (int i = 0; i < SIDES; i++)
        assert_int_equal(conn_tls_protocol(e.side[i].conn).len, 0);
    ends_close(&e);

    ends_open(&e);
    e.call.alpn = offers;
    e.call.alpn_count = 1;
    connect_both(&e);
    bed_run(e.loop, are_closed, &e);
    assert_int_equal(e.side[CLIENT].told[CONN_SECURED], 0);
    assert_non_null(strstr(e.side[CLIENT].error, "no application protocol"));
    ends_close(&e);
}

static void cannot_be_made(const struct tls_call *call)
{
    struct ends e;
    ends_open(&e);
    e.call = *call;
    connect_both(&e);
    bed_run(e.loop, are_closed, &e);
    assert_int_equal(e.side[CLIENT].told[CONN_FAILED], 1);
    assert_int_equal(e.side[CLIENT].told[CONN_SECURED], 0);
    ends_close(&e);
}

static void test_calls_that_cannot_be_made(void **state)
{
    char text[300];
    const slice too_long = { text, sizeof(text) }, empty = { text, 0 };
    (void)state;
    memset(text, 'a', sizeof(text));
    cannot_be_made(&(struct tls_call){ .server_name = too_long });
    cannot_be_made(&(struct tls_call){ .server_name = SLICE("a\0b") });
    cannot_be_made(&(struct tls_call){ .alpn = &too_long, .alpn_count = 1 });
    cannot_be_made(&(struct tls_call){ .alpn = &empty, .alpn_count = 1 });
}

/* Another server than ours, which speaks one version. Without an end of its own in e. */
static SSL *other_server(struct ends *e, SSL_CTX *ctx, int version)
{
    SSL *ssl = SSL_new(ctx);
    ends_open(e);
    int fd[2];
    bed_pair(fd);
    assert_int_equal(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
    e->side[SERVER].closed = 1;
    e->side[CLIENT].conn = conn_create(e->loop, fd[1], NULL, 0, NULL, &limits);
    SSL_set_security_level(ssl, 0);
    SSL_set_cipher_list(ssl, "ALL");
    SSL_use_certificate(ssl, good.cert);
    SSL_use_PrivateKey(ssl, good.key);
    SSL_set_min_proto_version(ssl, version);
    SSL_set_max_proto_version(ssl, version);
    SSL_set_fd(ssl, fd[0]);
    return ssl;
}

static void accept_call(struct ends *e, SSL *ssl)
{
    int fd = SSL_get_fd(ssl);

    conn_start_tls_client(e->side[CLIENT].conn, &e->call);
    conn_start(e->side[CLIENT].conn, &ops, &e->side[CLIENT]);
    while (SSL_accept(ssl) != 1 && SSL_get_error(ssl, -1) == SSL_ERROR_WANT_READ)
        bed_run(e->loop, bed_readable, &fd);
}

static bool client_has_ended(void *arg) { return has_ended(&((struct ends *)arg)->side[CLIENT]); }

static void other_server_close(struct ends *e, SSL *ssl)
{
    int fd = SSL_get_fd(ssl);

    SSL_free(ssl);
    close(fd);
    ends_close(e);
}

/* RFC 8996: no version before 1.2, not even of a server that has no other. */
static void test_versions(void **state)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    size_t len = 0;
    struct ends e;
    SSL *ssl = other_server(&e, ctx, TLS1_1_VERSION);
    (void)state;
    e.call.trust = NULL;
    accept_call(&e, ssl);
    bed_run(e.loop, client_has_ended, &e);
    assert_int_equal(e.side[CLIENT].told[CONN_SECURED], 0);
    assert_int_equal(e.side[CLIENT].told[CONN_FAILED], 1);
    assert_non_null(strstr(e.side[CLIENT].error, "protocol version"));
    other_server_close(&e, ssl);

    ssl = other_server(&e, ctx, TLS1_2_VERSION);
    e.call.trust = NULL;
    accept_call(&e, ssl);
    bed_run(e.loop, client_has_ended, &e);
    assert_int_equal(e.side[CLIENT].told[CONN_SECURED], 1);
    assert_string_equal(conn_tls_version(e.side[CLIENT].conn), "TLSv1.2");
    char ours[64];
    assert_int_equal(conn_channel_binding(e.side[CLIENT].conn, CONN_TLS_UNIQUE, ours, &len), OK);
    unsigned char theirs[64];
    assert_int_equal(SSL_get_peer_finished(ssl, theirs, sizeof(theirs)), len);
    assert_memory_equal(ours, theirs, len);
    other_server_close(&e, ssl);
    SSL_CTX_free(ctx);
}

static void test_a_server_that_is_silent(void **state)
{
    static const struct conn_limits short_limits = {
        .input_bytes = 4096, .output_high = 65536, .output_max = 1 << 20, .handshake_ms = 100
    };
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    struct ends e;
    SSL *ssl = other_server(&e, ctx, TLS1_3_VERSION);
    (void)state;
    conn_set_limits(e.side[CLIENT].conn, &short_limits);
    conn_start_tls_client(e.side[CLIENT].conn, &e.call);
    conn_start(e.side[CLIENT].conn, &ops, &e.side[CLIENT]);
    bed_run(e.loop, client_has_ended, &e);
    assert_string_equal(e.side[CLIENT].error, "handshake timed out");
    other_server_close(&e, ssl);
    SSL_CTX_free(ctx);
}

/* Before it has said its first words. */
static void test_a_client_that_moves(void **state)
{
    (void)state;
    struct ends e;
    ends_open(&e);
    connect_both(&e);
    struct conn *c = e.side[CLIENT].conn;
    conn_detach(c);
    bed_ticks(e.loop, 2);
    conn_attach(c, e.loop);
    handshake_both(&e);
    say_something(&e);
    ends_close(&e);
}

static bool client_is_closed(void *arg) { return ((struct ends *)arg)->side[CLIENT].closed > 0; }

static void test_a_server_that_does_not_speak_tls(void **state)
{
    (void)state;
    struct ends e;
    ends_open(&e);
    make(&e, 0);
    conn_start_tls_client(e.side[CLIENT].conn, &e.call);
    for (int i = 0; i < SIDES; i++)
        conn_start(e.side[i].conn, &ops, &e.side[i]);
    conn_write(e.side[SERVER].conn, SLICE("<?xml version='1.0'?><stream:stream>"));
    bed_run(e.loop, client_is_closed, &e);
    assert_int_equal(e.side[CLIENT].told[CONN_FAILED], 1);
    assert_int_equal(e.side[CLIENT].peer.verdict, TLS_NOT_SHOWN);
    conn_abort(e.side[SERVER].conn);
    ends_close(&e);
}

static void same_bindings(const struct ends *e)
{
    static const enum conn_binding types[] = { CONN_TLS_EXPORTER, CONN_TLS_SERVER_END_POINT,
                                               CONN_TLS_UNIQUE };
    size_t len[SIDES] = { 0, 0 };
    char theirs[64], ours[64];
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        enum err s = conn_channel_binding(e->side[SERVER].conn, types[i], theirs, &len[SERVER]);
        enum err c = conn_channel_binding(e->side[CLIENT].conn, types[i], ours, &len[CLIENT]);
        assert_int_equal(s, c);
        assert_int_equal(s, types[i] == CONN_TLS_UNIQUE ? E_UNSUPPORTED : OK); /* TLS 1.3 */
        assert_int_equal(len[SERVER], len[CLIENT]);
        assert_memory_equal(theirs, ours, s == OK ? len[CLIENT] : 0);
    }
}

static void test_channel_bindings_are_those_of_the_server(void **state)
{
    (void)state;
    struct ends e;
    ends_open(&e);
    e.call.own = someone_ctx;
    e.asks = trust;
    connect_both(&e);
    handshake_both(&e);
    same_bindings(&e);
    ends_close(&e);
}

static struct tls_ctx *ctx_of(const struct test_cert *cert, const struct test_cert *issuer)
{
    const struct test_cert *const chain[] = { cert, issuer };
    char path[2][64];
    struct tls_cert certs = { NULL, path[0], path[1] };
    struct tls_ctx *ctx = NULL;
    struct why why = { "" };
    for (int i = 0; i < 2; i++)
        snprintf(path[i], sizeof(path[i]), "%s/%d.pem", dir, i);
    test_cert_write(path[0], chain, issuer != NULL ? 2 : 1);
    test_cert_write_key(path[1], cert);
    assert_int_equal(tls_ctx_create(&ctx, &certs, 1, &why), OK);
    for (int i = 0; i < 2; i++)
        unlink(path[i]);
    return ctx;
}

static int set_up(void **state)
{
    const struct test_cert *const trusted[] = { &root };
    struct why why = { "" };
    char path[64];
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    root = test_cert_make(&(struct test_cert_form){ .name = "Root", .authority = true });
    middle = test_cert_make(
        &(struct test_cert_form){ .name = "Middle", .issuer = &root, .authority = true });
    good = test_cert_make(&(struct test_cert_form){
        .name = "good.test", .issuer = &middle, .usage = "serverAuth", .san = "DNS:good.test" });
    old = test_cert_make(
        &(struct test_cert_form){ .name = "old.test", .issuer = &middle, .from = -9, .to = -1 });
    someone = test_cert_make(&(struct test_cert_form){ .name = "someone.test" });
    good_ctx = ctx_of(&good, &middle);
    old_ctx = ctx_of(&old, &middle);
    someone_ctx = ctx_of(&someone, NULL);
    snprintf(path, sizeof(path), "%s/root.pem", dir);
    test_cert_write(path, trusted, 1);
    assert_int_equal(tls_trust_create(&trust, path, NULL, &why), OK);
    unlink(path);
    rmdir(dir);
    return 0;
}

static int tear_down(void **state)
{
    struct test_cert *const certs[] = { &root, &middle, &good, &old, &someone };

    (void)state;
    for (size_t i = 0; i < sizeof(certs) / sizeof(certs[0]); i++)
        test_cert_free(certs[i]);
    tls_ctx_unref(&good_ctx);
    tls_ctx_unref(&old_ctx);
    tls_ctx_unref(&someone_ctx);
    tls_trust_unref(&trust);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_once),
        cmocka_unit_test(test_a_storm_of_clients),
        cmocka_unit_test(test_after_starttls),
        cmocka_unit_test(test_the_chain_is_shown),
        cmocka_unit_test(test_what_is_not_verified),
        cmocka_unit_test(test_nothing_is_judged_without_trust),
        cmocka_unit_test(test_the_server_asks_and_refuses_nobody),
        cmocka_unit_test(test_asking_after_starttls),
        cmocka_unit_test(test_no_resumption_where_a_certificate_is_asked_for),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_calls_that_cannot_be_made),
        cmocka_unit_test(test_a_server_that_does_not_speak_tls),
        cmocka_unit_test(test_the_server_is_told_its_name),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_a_server_that_is_silent),
        cmocka_unit_test(test_a_client_that_moves),
        cmocka_unit_test(test_channel_bindings_are_those_of_the_server),
    };
    return cmocka_run_group_tests_name("io/tls_client", tests, set_up, tear_down);
}
