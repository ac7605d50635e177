#include "base/ensure.h"
#include "base/mem.h"
#include "io/conn.h"
#include "io/conn_private.h"
#include "io/test_bed.h"

enum { GOT_MAX = 1 << 20 };

static const struct conn_limits limits = {
    .input_bytes = 200000, .output_high = 65536, .output_max = 4 << 20, .handshake_ms = 5000
};
static const struct conn_limits narrow = {
    .input_bytes = 1000, .output_high = 10000, .output_max = 50000, .handshake_ms = 5000
};

/* A server's connection and what it was told. */
struct peer {
    struct loop *loop;
    struct conn *c;
    int fd; /* the client's end */
    char *got;
    size_t got_len;
    size_t await; /* bytes */
    unsigned calls, told[CONN_FAILED + 1], closed;
    size_t (*take)(struct peer *p, slice data);
    bool answers; /* each line */
    bool hurries; /* takes all once its peer has ended */
    const char *last_words;
};

static void store(struct peer *p, slice data)
{
    assert_true(p->got_len + data.len <= GOT_MAX);
    memcpy(p->got + p->got_len, data.ptr, data.len);
    p->got_len += data.len;
}

static size_t take_all(struct peer *p, slice data)
{
    store(p, data);
    return data.len;
}

static size_t take_lines(struct peer *p, slice data)
{
    size_t len = data.len;

    while (len > 0 && data.ptr[len - 1] != '\n')
        len--;
    store(p, (slice){ data.ptr, len });
    return len;
}

static size_t take_none(struct peer *p, slice data)
{
    (void)p;
    (void)data;
    return 0;
}

static size_t peer_input(struct conn *c, slice data)
{
    struct peer *p = conn_owner(c);

    assert_int_equal(p->closed, 0);
    p->calls++;
    return p->take(p, data);
}

static void peer_event(struct conn *c, enum conn_event ev)
{
    struct peer *p = conn_owner(c);

    assert_int_equal(p->closed, 0);
    p->told[ev]++;
    if (ev == CONN_OVERFLOW && p->last_words != NULL)
        conn_write(c, slice_of(p->last_words));
    if (ev == CONN_LAST && p->hurries) {
        p->take = take_all;
        conn_release(c, CONN_HOLD_RATE);
    }
}

static void peer_closed(struct conn *c)
{
    struct peer *p = conn_owner(c);

    p->closed++;
    p->c = NULL;
}

static const struct conn_ops ops = { peer_input, peer_event, peer_closed };

static struct peer *peer_create(const struct conn_limits *lim)
{
    struct peer *p = mem_new(struct peer);
    int fd[2];
    bed_pair(fd);
    p->fd = fd[1];
    p->got = mem_alloc(GOT_MAX);
    p->take = take_all;
    p->loop = loop_create(0);
    p->c = conn_create(p->loop, fd[0], NULL, 0, NULL, lim);
    conn_start(p->c, &ops, p);
    return p;
}

static bool is_closed(void *arg) { return ((struct peer *)arg)->closed > 0; }
static bool has_bytes(void *arg)
{
    const struct peer *p = arg;

    return p->got_len >= p->await;
}

static void peer_destroy(struct peer *p)
{
    if (p->c != NULL) {
        conn_abort(p->c);
        bed_run(p->loop, is_closed, p);
    }
    assert_int_equal(p->closed, 1);
    loop_destroy(&p->loop);
    if (p->fd >= 0)
        close(p->fd);
    mem_free(&p->got);
    mem_free(&p);
}

static void say(struct peer *p, const char *text, size_t len)
{
    assert_int_equal(send(p->fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void await_bytes(struct peer *p, size_t total)
{
    p->await = total;
    bed_run(p->loop, has_bytes, p);
}

static void test_partial_input_is_contiguous(void **state)
{
    struct peer *p = peer_create(&limits);

    (void)state;
    p->take = take_lines;
    say(p, "ab", 2);
    bed_run(p->loop, has_bytes, p);
    bed_ticks(p->loop, 3);
    assert_int_equal(p->got_len, 0);
    say(p, "c\nde", 4);
    await_bytes(p, 4);
    say(p, "\n", 1);
    await_bytes(p, 7);
    assert_memory_equal(p->got, "abc\nde\n", 7);
    assert_null(p->c->in); /* idle again: no buffer is owned */
    peer_destroy(p);
}

static void test_bytes_one_by_one(void **state)
{
    struct peer *p = peer_create(&limits);
    (void)state;
    p->take = take_lines;
    char line[6000];
    for (size_t i = 0; i < sizeof(line); i++)
        line[i] = i == sizeof(line) - 1 ? '\n' : (char)('a' + i % 26);
    for (size_t i = 0; i < sizeof(line); i++) {
        unsigned before = p->calls;
        say(p, line + i, 1);
        while (p->calls == before)
            bed_ticks(p->loop, 1);
    }
    await_bytes(p, sizeof(line));
    assert_memory_equal(p->got, line, sizeof(line));
    peer_destroy(p);
}

static void test_long_line_beyond_headroom(void **state)
{
    struct peer *p = peer_create(&limits);
    static char line[150000];
    (void)state;
    p->take = take_lines;
    for (size_t i = 0; i < sizeof(line); i++)
        line[i] = (char)('a' + i % 23);
    line[sizeof(line) - 1] = '\n';
    for (size_t at = 0; at < sizeof(line); at += 10000) {
        say(p, line + at, 10000);
        bed_ticks(p->loop, 3);
    }
    await_bytes(p, sizeof(line));
    assert_memory_equal(p->got, line, sizeof(line));
    assert_null(p->c->in);
    peer_destroy(p);
}

static size_t take_one_and_hold(struct peer *p, slice data)
{
    store(p, (slice){ data.ptr, 1 });
    conn_hold(p->c, CONN_HOLD_STREAM);
    return 1;
}

static void test_hold_keeps_and_release_offers(void **state)
{
    struct peer *p = peer_create(&limits);

    (void)state;
    p->take = take_one_and_hold;
    say(p, "xyz", 3);
    await_bytes(p, 1);
    say(p, "123", 3);
    bed_ticks(p->loop, 5);
    assert_int_equal(p->calls, 1);
    conn_hold(p->c, CONN_HOLD_RATE);
    conn_release(p->c, CONN_HOLD_STREAM);
    bed_ticks(p->loop, 5);
    assert_int_equal(p->calls, 1); /* the other reason still holds it */
    p->take = take_all;
    conn_release(p->c, CONN_HOLD_RATE);
    await_bytes(p, 6);
    assert_memory_equal(p->got, "xyz123", 6);
    peer_destroy(p);
}

/* The first owner takes a line and gives the connection away from inside on_input. */
static struct peer heir;

static size_t heir_input(struct conn *c, slice data)
{
    assert_ptr_equal(conn_owner(c), &heir);
    assert_true(heir.got_len + data.len <= 16);
    memcpy(heir.got + heir.got_len, data.ptr, data.len);
    heir.got_len += data.len;
    return data.len;
}
static void heir_event(struct conn *c, enum conn_event ev)
{
    (void)c;
    heir.told[ev]++;
}
static void heir_closed(struct conn *c)
{
    (void)c;
    heir.closed++;
}

static size_t take_and_give(struct peer *p, slice data)
{
    static const struct conn_ops heir_ops = { heir_input, heir_event, heir_closed };
    conn_hold(p->c, CONN_HOLD_STREAM); /* ends with this owner */
    conn_hand_over(p->c, &heir_ops, &heir);
    return take_lines(p, data);
}

static void test_hand_over_inside_input(void **state)
{
    struct peer *p = peer_create(&limits);
    (void)state;
    char got[16];
    heir = (struct peer){ .got = got, .await = 4 };
    p->take = take_and_give;
    say(p, "mine\nhi", 7);
    await_bytes(p, 5);
    say(p, "s!", 2);
    bed_run(p->loop, has_bytes, &heir);
    assert_memory_equal(p->got, "mine\n", 5);
    assert_memory_equal(heir.got, "his!", 4);
    assert_int_equal(p->calls, 1);
    conn_abort(p->c);
    bed_run(p->loop, is_closed, &heir);
    assert_int_equal(p->closed, 0); /* it was no longer its */
    p->closed = 1;
    p->c = NULL;
    peer_destroy(p);
}

static void test_peer_is_another(void **state)
{
    struct peer *p = peer_create(&limits);

    (void)state;
    conn_set_peer(p->c, "192.0.2.9");
    assert_string_equal(conn_info_text(conn_info(p->c)).text, "192.0.2.9");
    assert_int_equal(conn_info(p->c)->peer.any.sa_family, AF_INET);
    conn_set_peer(p->c, "2001:db8::1");
    assert_int_equal(conn_info(p->c)->peer.any.sa_family, AF_INET6);
    conn_set_peer(p->c, "not an address");
    assert_string_equal(conn_info_text(conn_info(p->c)).text, "2001:db8::1");
    peer_destroy(p);
}

static void test_held_connection_that_dies_does_not_spin(void **state)
{
    struct peer *p = peer_create(&limits);

    (void)state;
    conn_hold(p->c, CONN_HOLD_STREAM);
    bed_ticks(p->loop, 3);
    bed_reset(&p->fd);
    bed_ticks(p->loop, 3);
    assert_false(p->c->polled); /* epoll reports an error whatever was asked */
    conn_release(p->c, CONN_HOLD_STREAM);
    bed_run(p->loop, is_closed, p);
    assert_int_equal(p->told[CONN_FAILED], 1);
    peer_destroy(p);
}

static void test_unusable_input_fails(void **state)
{
    struct peer *p = peer_create(&narrow);
    char junk[3000] = { 0 };

    (void)state;
    p->take = take_none;
    say(p, junk, sizeof(junk));
    bed_run(p->loop, is_closed, p);
    assert_int_equal(p->told[CONN_FAILED], 1);
    assert_int_equal(p->calls, 1); /* no more than the limit was read */
    peer_destroy(p);
}

static bool was_told_high(void *arg) { return ((struct peer *)arg)->told[CONN_HIGH] > 0; }
static bool was_told_drained(void *arg) { return ((struct peer *)arg)->told[CONN_DRAINED] > 0; }
static bool was_told_eof(void *arg) { return ((struct peer *)arg)->told[CONN_EOF] > 0; }

static char pattern(size_t i) { return (char)('A' + i % 53); }

static void write_pattern(struct conn *c, size_t len)
{
    char piece[7919];
    for (size_t at = 0; at < len;) {
        size_t n = len - at < sizeof(piece) ? len - at : sizeof(piece);
        for (size_t i = 0; i < n; i++)
            piece[i] = pattern(at + i);
        conn_write(c, (slice){ piece, n });
        at += n;
    }
}

/* Reads on the client's side, with the loop running, what write_pattern() wrote. */
static void read_pattern(struct peer *p, size_t len)
{
    static char piece[65536];
    for (size_t at = 0; at < len;) {
        ssize_t n;
        bed_run(p->loop, bed_readable, &p->fd);
        n = recv(p->fd, piece, len - at < sizeof(piece) ? len - at : sizeof(piece), 0);
        assert_true(n > 0);
        for (size_t i = 0; i < (size_t)n; i++)
            assert_int_equal(piece[i], pattern(at + i));
        at += (size_t)n;
    }
}

static void small_buffers(struct peer *p)
{
    int bytes = 20000;

    assert_int_equal(setsockopt(p->c->source.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
}

static void test_high_low_drained(void **state)
{
    struct peer *p = peer_create(&limits);
    enum { BYTES = 4 << 20 };

    (void)state;
    small_buffers(p);
    write_pattern(p->c, BYTES); /* more than the socket takes, less than the cap */
    assert_true(conn_output_bytes(p->c) > limits.output_high);
    bed_run(p->loop, was_told_high, p);
    assert_int_equal(p->told[CONN_LOW], 0);
    assert_int_equal(p->told[CONN_DRAINED], 0);
    read_pattern(p, BYTES);
    bed_run(p->loop, was_told_drained, p);
    assert_int_equal(p->told[CONN_HIGH], 1);
    assert_int_equal(p->told[CONN_LOW], 1);
    assert_int_equal(p->told[CONN_DRAINED], 1);
    assert_int_equal(conn_output_bytes(p->c), 0);
    assert_null(p->c->out);
    assert_int_equal(p->c->source.events, EPOLLIN);
    peer_destroy(p);
}

static void test_drained_after_each_tick(void **state)
{
    struct peer *p = peer_create(&limits);
    (void)state;
    conn_write(p->c, SLICE("one"));
    conn_write(p->c, SLICE("two"));
    bed_run(p->loop, was_told_drained, p);
    assert_int_equal(p->told[CONN_DRAINED], 1);
    char in[8];
    assert_int_equal(recv(p->fd, in, sizeof(in), 0), 6);
    assert_memory_equal(in, "onetwo", 6);
    peer_destroy(p);
}

/* Reads to the end of the stream; returns the last bytes. */
static size_t read_to_end(struct peer *p, char *tail, size_t cap)
{
    static char piece[65536];
    size_t total = 0;
    for (;;) {
        ssize_t n;
        bed_run(p->loop, bed_readable, &p->fd);
        n = recv(p->fd, piece, sizeof(piece), 0);
        assert_true(n >= 0);
        if (n == 0)
            return total;
        total += (size_t)n;
        if ((size_t)n >= cap)
            memcpy(tail, piece + n - cap, cap);
    }
}

static void test_overflow_says_last_words_and_closes(void **state)
{
    struct peer *p = peer_create(&narrow);
    (void)state;
    small_buffers(p);
    p->last_words = "bye!";
    for (unsigned i = 0; i < 4000; i++)
        write_pattern(p->c, 1000);
    assert_true(conn_output_bytes(p->c) <= narrow.output_max + 1000); /* memory is bounded */
    char reserved[16];
    memset(conn_reserve(p->c, sizeof(reserved)), 'x', sizeof(reserved));
    conn_commit(p->c, sizeof(reserved)); /* dropped */
    char tail[4];
    read_to_end(p, tail, sizeof(tail));
    assert_memory_equal(tail, "bye!", 4);
    close(p->fd);
    p->fd = -1;
    bed_run(p->loop, is_closed, p);
    assert_int_equal(p->told[CONN_OVERFLOW], 1);
    assert_int_equal(p->told[CONN_FAILED], 0);
    peer_destroy(p);
}

/* One long write, however long, is no sign of a slow peer; behind it the cap is as ever. */
static void test_the_largest_write_does_not_count(void **state)
{
    struct peer *p = peer_create(&narrow);
    size_t large = narrow.output_max * 4;
    char *text = test_calloc(1, large);
    unsigned small = 0;

    (void)state;
    small_buffers(p);
    for (unsigned i = 0; i < 40; i++)
        write_pattern(p->c, 1000);
    conn_write(p->c, (slice){ text, large });
    conn_write(p->c, (slice){ text, large / 8 }); /* shorter: it counts */
    assert_false(p->c->overflow);
    for (size_t n = 0; !p->c->overflow; small++, n += 1000)
        write_pattern(p->c, 1000);
    assert_in_range(conn_output_bytes(p->c), large, large + narrow.output_max + 1000);
    assert_true(small > 0);
    test_free(text);
    close(p->fd);
    p->fd = -1;
    bed_run(p->loop, is_closed, p);
    assert_int_equal(p->told[CONN_OVERFLOW], 1);
    peer_destroy(p);
}

static void test_reserve_and_commit(void **state)
{
    struct peer *p = peer_create(&limits);
    (void)state;
    memcpy(conn_reserve(p->c, 5000), "abc", 3);
    conn_commit(p->c, 3);
    memcpy(conn_reserve(p->c, 100000), "def", 3);
    conn_commit(p->c, 3);
    conn_reserve(p->c, 10);
    conn_commit(p->c, 0);
    conn_write(p->c, SLICE("ghi"));
    bed_run(p->loop, was_told_drained, p);
    char in[64];
    assert_int_equal(recv(p->fd, in, sizeof(in), 0), 9);
    assert_memory_equal(in, "abcdefghi", 9);
    conn_reserve(p->c, 10);
    conn_commit(p->c, 0);
    assert_null(p->c->out);
    peer_destroy(p);
}

static size_t answer_and_close(struct peer *p, slice data)
{
    write_pattern(p->c, 300000);
    conn_close(p->c);
    conn_write(p->c, SLICE("not this"));
    return data.len / 2;
}

static void test_close_flushes_even_with_unread_input(void **state)
{
    struct peer *p = peer_create(&limits);
    (void)state;
    small_buffers(p);
    p->take = answer_and_close;
    say(p, "go away", 7);
    bed_run(p->loop, bed_readable, &p->fd);
    say(p, "more that nobody reads", 22); /* unread, it would cause a reset */
    read_pattern(p, 300000);
    bed_run(p->loop, bed_readable, &p->fd);
    char in[1];
    assert_int_equal(recv(p->fd, in, 1, 0), 0);
    assert_int_equal(p->closed, 0); /* lingers */
    assert_int_equal(p->c->state, CONN_LINGERING);
    close(p->fd);
    p->fd = -1;
    bed_run(p->loop, is_closed, p);
    assert_int_equal(p->calls, 1);
    assert_int_equal(p->told[CONN_FAILED], 0);
    peer_destroy(p);
}

static void test_close_has_deadlines(void **state)
{
    struct peer *p = peer_create(&limits);

    (void)state;
    small_buffers(p);
    write_pattern(p->c, 4 << 20); /* which the client never reads */
    conn_close(p->c);
    bed_ticks(p->loop, 20);
    assert_int_equal(p->c->state, CONN_FLUSHING);
    assert_true(timer_is_set(&p->c->timer));
    assert_in_range((p->c->timer.due_tick - p->loop->wheel.tick) * 100, 3000, 5100);
    timer_set_tick(p->loop, &p->c->timer, 0); /* as if the time were over */
    bed_run(p->loop, is_closed, p);
    assert_int_equal(p->told[CONN_FAILED], 0);
    peer_destroy(p);
}

static void test_linger_has_a_deadline(void **state)
{
    struct peer *p = peer_create(&limits);

    (void)state;
    conn_close(p->c);
    bed_ticks(p->loop, 3);
    assert_int_equal(p->c->state, CONN_LINGERING);
    assert_true(timer_is_set(&p->c->timer));
    timer_set_tick(p->loop, &p->c->timer, 0);
    bed_run(p->loop, is_closed, p);
    peer_destroy(p);
}

static size_t abort_twice(struct peer *p, slice data)
{
    (void)data;
    conn_abort(p->c);
    conn_close(p->c);
    conn_abort(p->c);
    conn_write(p->c, SLICE("x"));
    assert_int_equal(p->closed, 0);
    return 0;
}

static void test_abort_in_callback(void **state)
{
    struct peer *p = peer_create(&limits);

    (void)state;
    p->take = abort_twice;
    say(p, "x", 1);
    bed_run(p->loop, is_closed, p);
    assert_int_equal(p->told[CONN_FAILED], 0);
    peer_destroy(p);
}

static void test_abort_before_start(void **state)
{
    struct loop *loop = loop_create(0);
    (void)state;
    int fd[2];
    bed_pair(fd);
    conn_abort(conn_create(loop, fd[0], NULL, 0, NULL, &limits));
    bed_ticks(loop, 2);
    loop_destroy(&loop);
    close(fd[1]);
}

static void test_eof_comes_after_the_bytes(void **state)
{
    struct peer *p = peer_create(&limits);

    (void)state;
    p->take = take_one_and_hold;
    say(p, "end", 3);
    shutdown(p->fd, SHUT_WR);
    await_bytes(p, 1);
    bed_ticks(p->loop, 5);
    assert_int_equal(p->told[CONN_EOF], 0);
    p->take = take_all;
    conn_release(p->c, CONN_HOLD_STREAM);
    bed_run(p->loop, was_told_eof, p);
    assert_int_equal(p->got_len, 3);
    conn_write(p->c, SLICE("half-closed still hears"));
    bed_run(p->loop, was_told_drained, p);
    conn_close(p->c);
    bed_run(p->loop, is_closed, p);
    assert_int_equal(p->told[CONN_EOF], 1);
    peer_destroy(p);
}

static void test_reset_fails(void **state)
{
    struct peer *p = peer_create(&limits);

    (void)state;
    bed_reset(&p->fd);
    bed_run(p->loop, is_closed, p);
    assert_int_equal(p->told[CONN_FAILED], 1);
    peer_destroy(p);
}

/* Not lost although the answer to what came before cannot be sent any more. */
static void test_what_came_before_a_reset_is_read(void **state)
{
    struct peer *p = peer_create(&limits);

    (void)state;
    bed_ticks(p->loop, 3);
    say(p, "last words", 10);
    bed_reset(&p->fd);
    conn_write(p->c, SLICE("to nobody")); /* sent before the loop looks */
    bed_run(p->loop, is_closed, p);
    assert_int_equal(p->got_len, 10);
    assert_int_equal(p->told[CONN_FAILED], 1);
    assert_int_equal(p->told[CONN_EOF], 0);
    peer_destroy(p);
}

/* Its owner does not read, so there is nothing to wait for. */
static void test_a_held_connection_ends_when_it_cannot_send(void **state)
{
    struct peer *p = peer_create(&limits);

    (void)state;
    conn_hold(p->c, CONN_HOLD_STREAM);
    bed_ticks(p->loop, 3);
    bed_reset(&p->fd);
    conn_write(p->c, SLICE("to nobody"));
    bed_run(p->loop, is_closed, p);
    assert_int_equal(p->told[CONN_FAILED], 1);
    peer_destroy(p);
}

/* What it has sent last is not read: it is sent again on another connection. */
static void end_while_held(bool reset)
{
    struct peer *p = peer_create(&limits);
    conn_ends_held(p->c);
    conn_hold(p->c, CONN_HOLD_STREAM);
    say(p, "last words", 10);
    bed_ticks(p->loop, 3);
    assert_int_equal(p->got_len, 0);
    if (reset) {
        bed_reset(&p->fd);
    } else {
        assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
    }
    bed_run(p->loop, is_closed, p);
    assert_int_equal(p->got_len, 0);
    assert_int_equal(p->told[CONN_FAILED], 1);
    assert_int_equal(p->told[CONN_EOF], 0);
    peer_destroy(p);
}

static void test_a_held_connection_ends_with_its_peer(void **state)
{
    (void)state;
    end_while_held(true);
    end_while_held(false);
}

/* How a peer ends the connection behind its last words. */
enum end {
    END_SHUT,  /* it still reads */
    END_CLOSE, /* then writing to it fails, sooner or later */
    END_RESET
};

static void end_of_peer(struct peer *p, enum end how)
{
    if (how == END_SHUT) {
        assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
    } else if (how == END_RESET) {
        bed_reset(&p->fd);
    } else {
        close(p->fd);
        p->fd = -1;
    }
}

/* As a stream that gets more than its rate: one line, then nothing for a while. */
static size_t take_line_and_hold(struct peer *p, slice data)
{
    const char *end = memchr(data.ptr, '\n', data.len);
    if (end == NULL)
        return 0;
    store(p, (slice){ data.ptr, (size_t)(end + 1 - data.ptr) });
    conn_hold(p->c, CONN_HOLD_RATE);
    if (p->answers)
        conn_write(p->c, SLICE("done\n"));
    return (size_t)(end + 1 - data.ptr);
}

struct slow {
    struct peer *p;
    struct timer timer;
    unsigned ms; /* between lines; 0: the next tick has the next one */
};

static void slow_due(struct timer *t, struct loop *loop)
{
    struct slow *s = CONTAINER_OF(t, struct slow, timer);
    if (s->p->c == NULL)
        return;
    conn_release(s->p->c, CONN_HOLD_RATE);
    timer_set(loop, t, s->ms);
}

static bool is_read_to_the_end(void *arg)
{
    const struct slow *s = arg;
    if (s->p->c != NULL && s->ms == 0)
        conn_release(s->p->c, CONN_HOLD_RATE);
    return s->p->told[CONN_EOF] + s->p->told[CONN_FAILED] > 0;
}

static void end_behind_lines(const struct conn_limits *lim, unsigned lines, unsigned ms,
                             enum end how, bool answers)
{
    struct peer *p = peer_create(lim);
    struct slow slow = { .p = p, .timer.fn = slow_due, .ms = ms };
    size_t len = (size_t)lines * 100;
    char *all = mem_alloc(len);
    for (size_t i = 0; i < len; i++)
        all[i] = i % 100 == 99 ? '\n' : 'x';
    p->take = take_line_and_hold;
    p->answers = answers;
    say(p, all, len);
    await_bytes(p, 100);
    end_of_peer(p, how);
    if (ms > 0)
        timer_set(p->loop, &slow.timer, ms);
    bed_run(p->loop, is_read_to_the_end, &slow);
    assert_int_equal(p->got_len, len);
    assert_memory_equal(p->got, all, len);
    if (how != END_CLOSE || !answers)
        assert_int_equal(p->told[CONN_EOF], how != END_RESET);
    assert_true(p->told[CONN_LAST] <= 1);
    timer_cancel(&slow.timer);
    mem_free(&all);
    peer_destroy(p);
}

/* Also if it is not all read at once. */
static void test_what_came_before_an_end_is_read_at_its_rate(void **state)
{
    (void)state;
    for (unsigned how = END_SHUT; how <= END_RESET; how++) {
        for (unsigned answers = 0; answers <= 1; answers++) {
            end_behind_lines(&limits, 500, 0, (enum end)how, answers == 1);
            end_behind_lines(&narrow, 500, 0, (enum end)how, answers == 1);
        }
        end_behind_lines(&limits, 4, 500, (enum end)how, true); /* longer than CONN_LINGER_MS */
    }
}

/* Its owner hears that nothing more will come, and holds it no longer. */
static void test_a_rate_is_told_of_the_end_of_the_peer(void **state)
{
    enum { LINES = 500 };
    (void)state;
    for (unsigned how = END_SHUT; how <= END_RESET; how++) {
        struct peer *p = peer_create(&limits);
        char all[LINES * 100];
        memset(all, 'x', sizeof all);
        for (size_t i = 99; i < sizeof all; i += 100)
            all[i] = '\n';
        p->take = take_line_and_hold;
        p->hurries = true;
        say(p, all, sizeof all);
        await_bytes(p, 100);
        assert_int_equal(p->told[CONN_LAST], 0);
        end_of_peer(p, (enum end)how);
        await_bytes(p, sizeof all);
        assert_int_equal(p->told[CONN_LAST], 1);
        assert_memory_equal(p->got, all, sizeof all);
        peer_destroy(p);
    }
}

/* Its peer sends again what is not read, on another connection. */
static void test_what_comes_again_is_not_read_behind_the_end(void **state)
{
    (void)state;
    for (unsigned how = END_SHUT; how <= END_RESET; how++) {
        struct peer *p = peer_create(&limits);
        p->take = take_line_and_hold;
        conn_ends_held(p->c);
        say(p, "1\n2\n", 4);
        await_bytes(p, 2);
        end_of_peer(p, (enum end)how);
        bed_run(p->loop, is_closed, p);
        assert_int_equal(p->told[CONN_FAILED], 1);
        assert_int_equal(p->told[CONN_LAST], 0);
        assert_int_equal(p->got_len, 2);
        peer_destroy(p);
    }
}

/* An end that it has not asked for is found when it reads again, behind what came before. */
static void test_a_held_connection_reads_to_the_end_of_its_peer(void **state)
{
    struct peer *p = peer_create(&limits);
    (void)state;
    conn_hold(p->c, CONN_HOLD_STREAM);
    say(p, "last words", 10);
    assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
    bed_ticks(p->loop, 3);
    assert_int_equal(p->told[CONN_FAILED] + p->told[CONN_EOF], 0);
    conn_release(p->c, CONN_HOLD_STREAM);
    bed_run(p->loop, was_told_eof, p);
    assert_int_equal(p->got_len, 10);
    peer_destroy(p);
}

static void test_peer_addresses(void **state)
{
    struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = htons(7) };
    (void)state;
    sin6.sin6_addr.s6_addr[15] = 1;
    struct conn_info info;
    conn_info_set(&info, (struct sockaddr *)&sin6);
    assert_string_equal(conn_info_text(&info).text, "::1");
    assert_int_equal(ntohs(info.peer.v4.sin_port), 7);
    sin6.sin6_addr.s6_addr[10] = sin6.sin6_addr.s6_addr[11] = 0xff;
    sin6.sin6_addr.s6_addr[12] = 192;
    conn_info_set(&info, (struct sockaddr *)&sin6);
    assert_string_equal(conn_info_text(&info).text, "192.0.0.1");
    assert_int_equal(info.peer.any.sa_family, AF_INET);
    conn_info_set(&info, NULL);
    assert_string_equal(conn_info_text(&info).text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_partial_input_is_contiguous),
        cmocka_unit_test(test_bytes_one_by_one),
        cmocka_unit_test(test_long_line_beyond_headroom),
        cmocka_unit_test(test_hold_keeps_and_release_offers),
        cmocka_unit_test(test_hand_over_inside_input),
        cmocka_unit_test(test_peer_is_another),
        cmocka_unit_test(test_held_connection_that_dies_does_not_spin),
        cmocka_unit_test(test_unusable_input_fails),
        cmocka_unit_test(test_high_low_drained),
        cmocka_unit_test(test_drained_after_each_tick),
        cmocka_unit_test(test_overflow_says_last_words_and_closes),
        cmocka_unit_test(test_the_largest_write_does_not_count),
        cmocka_unit_test(test_reserve_and_commit),
        cmocka_unit_test(test_close_flushes_even_with_unread_input),
        cmocka_unit_test(test_close_has_deadlines),
        cmocka_unit_test(test_linger_has_a_deadline),
        cmocka_unit_test(test_abort_in_callback),
        cmocka_unit_test(test_abort_before_start),
        cmocka_unit_test(test_eof_comes_after_the_bytes),
        cmocka_unit_test(test_reset_fails),
        cmocka_unit_test(test_what_came_before_a_reset_is_read),
        cmocka_unit_test(test_a_held_connection_ends_when_it_cannot_send),
        cmocka_unit_test(test_a_held_connection_ends_with_its_peer),
        cmocka_unit_test(test_a_held_connection_reads_to_the_end_of_its_peer),
        cmocka_unit_test(test_what_came_before_an_end_is_read_at_its_rate),
        cmocka_unit_test(test_a_rate_is_told_of_the_end_of_the_peer),
        cmocka_unit_test(test_what_comes_again_is_not_read_behind_the_end),
        cmocka_unit_test(test_peer_addresses),
    };
    return cmocka_run_group_tests_name("io/conn", tests, NULL, NULL);
}
