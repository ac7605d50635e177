/* Connections that change loops under traffic: every byte is echoed once, in order. */
#include "base/ensure.h"
#include "io/conn_private.h"
#include "io/test_bed.h"
#include <openssl/ssl.h>
#include <pthread.h>

enum { LOOPS = 2, MESSAGES = 30000, MESSAGE_MAX = 400, MOVE_EACH = 7 };

static const struct conn_limits limits = {
    .input_bytes = 65536, .output_high = 1 << 20, .output_max = 64 << 20, .handshake_ms = 20000
};

static struct loop *loops[LOOPS];
static struct tls_ctx *server_ctx;

/* Moves itself to the other loop after every few messages; the post stands for the frame. */
struct mover {
    struct conn *c;
    struct loop_post arrive;
    unsigned at; /* its loop */
    unsigned messages, moves;
    bool ended;
};

static void arrived(struct loop_post *p, struct loop *loop)
{
    struct mover *m = CONTAINER_OF(p, struct mover, arrive);

    ensure(loop == loops[m->at]);
    conn_attach(m->c, loop);
    conn_release(m->c, CONN_HOLD_MOVE);
}

static void leave(struct mover *m)
{
    m->moves++;
    m->at = (m->at + 1) % LOOPS;
    conn_hold(m->c, CONN_HOLD_MOVE);
    conn_detach(m->c);
    loop_post(loops[m->at], &m->arrive); /* may arrive before on_input has returned */
}

/* A message is a length byte and as many times four bytes. */
static size_t on_input(struct conn *c, slice data)
{
    struct mover *m = conn_owner(c);
    size_t taken = 0;

    ensure(loop_here() == loops[m->at]);
    while (taken < data.len) {
        size_t len = 1 + (size_t)(unsigned char)data.ptr[taken] * 4;
        if (len > data.len - taken)
            break;
        conn_write(c, (slice){ data.ptr + taken, len });
        taken += len;
        if (++m->messages % MOVE_EACH == 0) {
            leave(m);
            break;
        }
    }
    return taken;
}

static void on_event(struct conn *c, enum conn_event ev)
{
    if (ev == CONN_EOF)
        conn_close(c);
}

static void on_closed(struct conn *c)
{
    struct mover *m = conn_owner(c);

    m->ended = true;
    for (unsigned i = 0; i < LOOPS; i++)
        loop_stop(loops[i]);
}

static const struct conn_ops ops = { on_input, on_event, on_closed };

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

struct client {
    int fd;
    SSL *ssl; /* NULL: in the clear */
};

static size_t message(unsigned i, char out[MESSAGE_MAX])
{
    size_t words = i * 13 % 97;

    out[0] = (char)words;
    for (size_t k = 1; k <= words * 4; k++)
        out[k] = (char)(i + k);
    return 1 + words * 4;
}

static void client_write(struct client *cl, const char *ptr, size_t len)
{
    size_t n;
    if (cl->ssl != NULL)
        ensure(SSL_write_ex(cl->ssl, ptr, len, &n) == 1);
    else
        ensure(send(cl->fd, ptr, len, 0) == (ssize_t)len);
}

static void client_expect(struct client *cl, const char *ptr, size_t len)
{
    char in[MESSAGE_MAX];
    for (size_t at = 0, n; at < len; at += n) {
        if (cl->ssl != NULL) {
            ensure(SSL_read_ex(cl->ssl, in + at, len - at, &n) == 1);
        } else {
            ssize_t got = recv(cl->fd, in + at, len - at, 0);
            ensure(got > 0);
            n = (size_t)got;
        }
    }
    ensure(memcmp(in, ptr, len) == 0);
}

/* Keeps up to 64 messages on the way. */
static void client_talk(struct client *cl)
{
    enum { WINDOW = 64 };
    char out[MESSAGE_MAX];
    for (unsigned i = 0; i < MESSAGES + WINDOW; i++) {
        if (i < MESSAGES)
            client_write(cl, out, message(i, out));
        if (i >= WINDOW)
            client_expect(cl, out, message(i - WINDOW, out));
    }
}

static void echo_while_moving(unsigned flags)
{
    struct mover m = { .arrive.fn = arrived };
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    struct client cl = { 0 };
    int fd[2];
    bed_pair(fd);
    cl.fd = fd[1];
    for (unsigned i = 0; i < LOOPS; i++)
        loops[i] = loop_create(i);
    m.c = conn_create(loops[0], fd[0], NULL, flags, server_ctx, &limits);
    conn_start(m.c, &ops, &m);
    pthread_t threads[LOOPS];
    for (unsigned i = 0; i < LOOPS; i++)
        pthread_create(&threads[i], NULL, run_loop, loops[i]);
    if (flags != 0) {
        cl.ssl = SSL_new(client_ctx);
        SSL_set_fd(cl.ssl, cl.fd);
        ensure(SSL_connect(cl.ssl) == 1);
    }
    client_talk(&cl);
    close(cl.fd);
    for (unsigned i = 0; i < LOOPS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < LOOPS; i++) /* one that ends stops the others */
        loop_destroy(&loops[i]);
    SSL_free(cl.ssl);
    SSL_CTX_free(client_ctx);
    assert_true(m.ended);
    assert_int_equal(m.messages, MESSAGES);
    assert_int_equal(m.moves, MESSAGES / MOVE_EACH);
}

static void test_moves_in_the_clear(void **state)
{
    (void)state;
    echo_while_moving(0);
}

static void test_moves_under_tls(void **state)
{
    (void)state;
    echo_while_moving(CONN_TLS);
}

/* What is pending when it leaves: unread bytes, output, the deadline of a close. */
static void test_carries_all_that_is_pending(void **state)
{
    struct mover m = { .arrive.fn = arrived };
    static char big[3 << 20];
    (void)state;
    int fd[2];
    bed_pair(fd);
    loops[0] = loop_create(0);
    loops[1] = loop_create(1);
    m.c = conn_create(loops[0], fd[0], NULL, 0, NULL, &limits);
    conn_start(m.c, &ops, &m);
    conn_write(m.c, (slice){ big, sizeof(big) });
    conn_close(m.c);
    bed_ticks(loops[0], 5);
    uint64_t due = m.c->timer.due_tick;
    conn_detach(m.c);
    assert_false(timer_is_set(&m.c->timer));
    conn_attach(m.c, loops[1]);
    assert_int_equal(m.c->timer.due_tick, due);
    for (size_t got = 0; got < sizeof(big);) {
        static char in[65536];
        ssize_t n;
        bed_run(loops[1], bed_readable, &fd[1]);
        n = recv(fd[1], in, sizeof(in), 0);
        assert_true(n > 0);
        got += (size_t)n;
    }
    close(fd[1]);
    bed_ticks(loops[1], 5);
    assert_true(m.ended);
    loop_destroy(&loops[0]);
    loop_destroy(&loops[1]);
}

static int set_up(void **state)
{
    (void)state;
    server_ctx = bed_tls();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_ctx_unref(&server_ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves_in_the_clear),
        cmocka_unit_test(test_moves_under_tls),
        cmocka_unit_test(test_carries_all_that_is_pending),
    };
    return cmocka_run_group_tests_name("io/conn_move", tests, set_up, tear_down);
}
