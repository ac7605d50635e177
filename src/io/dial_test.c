#include "base/mem.h"
#include "io/dial.h"
#include "io/metrics.h"
#include "io/test_bed.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <sys/resource.h>

static const struct conn_limits limits = {
    .input_bytes = 4096, .output_high = 65536, .output_max = 1 << 20, .handshake_ms = 5000
};

struct caller {
    struct loop *loop;
    struct dial_options options;
    unsigned told, closed;
    struct conn *conn;
    size_t count;
    struct dial_try tried[DIAL_TRIES_MAX];
    char text[2048];
    char got[16];
    size_t got_len;
};

static size_t on_input(struct conn *c, slice data)
{
    struct caller *o = conn_owner(c);

    assert_true(data.len <= sizeof(o->got));
    memcpy(o->got, data.ptr, data.len);
    o->got_len = data.len;
    return data.len;
}

static void on_event(struct conn *c, enum conn_event ev)
{
    (void)c;
    (void)ev;
}

static void on_closed(struct conn *c) { ((struct caller *)conn_owner(c))->closed++; }

static const struct conn_ops ops = { on_input, on_event, on_closed };

static void on_done(void *arg, const struct dial_result *r)
{
    struct caller *o = arg;
    o->told++;
    o->conn = r->conn;
    o->count = r->count;
    memcpy(o->tried, r->tried, r->count * sizeof(r->tried[0]));
    struct buf text;
    buf_init(&text, sizeof(o->text) - 1);
    dial_explain(r, &text);
    assert_false(text.overflow);
    memcpy(o->text, text.ptr, text.len);
    o->text[text.len] = '\0';
    buf_fini(&text);
}

static bool is_told(void *arg) { return ((struct caller *)arg)->told > 0; }
static bool has_input(void *arg) { return ((struct caller *)arg)->got_len > 0; }
static bool is_closed(void *arg) { return ((struct caller *)arg)->closed > 0; }

static int descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static union address at(const char *text)
{
    union address a;
    assert_true(address_parse(slice_of(text), &a));
    return a;
}

/* The address is filled in with its port. */
static int listener(union address *a, int backlog)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = address_bytes(a);

    assert_int_equal(bind(fd, &a->any, len), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, &a->any, &len), 0);
    return fd;
}

/* A port where nobody listens, refused at once. */
static union address refusing(const char *text)
{
    union address a = at(text);
    int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = address_bytes(&a);

    assert_int_equal(bind(fd, &a.any, len), 0);
    assert_int_equal(getsockname(fd, &a.any, &len), 0);
    close(fd);
    return a;
}

/* Never answers: its queue is full, so the kernel drops what asks. */
struct silent {
    int fd, filler;
    union address address;
};

static void silent_open(struct silent *s)
{
    s->address = at("127.0.0.1:0");
    s->fd = listener(&s->address, 0);
    s->filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(s->filler, &s->address.any, address_bytes(&s->address)), 0);
}

static void silent_close(struct silent *s)
{
    close(s->fd);
    close(s->filler);
}

static void caller_open(struct caller *o)
{
    *o = (struct caller){ .loop = loop_create(0),
                          .options = { .limits = &limits, .deadline_ms = 15000 } };
}

static void call(struct caller *o, const union address *to, size_t count)
{
    dial_start(o->loop, to, count, &o->options, on_done, o);
    assert_int_equal(o->told, 0); /* never from inside */
    bed_run(o->loop, is_told, o);
    bed_ticks(o->loop, 2);
    assert_int_equal(o->told, 1);
}

static void hang_up(struct caller *o)
{
    if (o->conn == NULL)
        return;
    conn_start(o->conn, &ops, o);
    conn_abort(o->conn);
    bed_run(o->loop, is_closed, o);
    o->conn = NULL;
}

static void caller_close(struct caller *o)
{
    hang_up(o);
    loop_destroy(&o->loop);
}

static void connects(const char *text, const char *peer)
{
    union address a = at(text);
    int listening = listener(&a, 1);
    struct caller o;
    caller_open(&o);
    call(&o, &a, 1);
    assert_non_null(o.conn);
    assert_int_equal(o.count, 1);
    assert_true(o.tried[0].won);
    assert_string_equal(conn_info_text(conn_info(o.conn)).text, peer);
    assert_int_equal(ntohs(conn_info(o.conn)->peer.v4.sin_port), address_port(&a));
    int fd = accept(listening, NULL, NULL);
    conn_start(o.conn, &ops, &o);
    conn_write(o.conn, SLICE("hello"));
    bed_run(o.loop, bed_readable, &fd);
    char in[5];
    assert_int_equal(recv(fd, in, sizeof(in), MSG_WAITALL), 5);
    assert_int_equal(send(fd, "you", 3, 0), 3);
    bed_run(o.loop, has_input, &o);
    assert_memory_equal(o.got, "you", 3);
    conn_abort(o.conn);
    bed_run(o.loop, is_closed, &o);
    o.conn = NULL;
    caller_close(&o);
    close(fd);
    close(listening);
}

static void test_connects(void **state)
{
    (void)state;
    connects("127.0.0.1:0", "127.0.0.1");
    connects("[::1]:0", "::1");
}

static void test_the_first_that_answers_is_enough(void **state)
{
    union address to[2] = { at("127.0.0.1:0"), at("127.0.0.1:0") };
    int first = listener(&to[0], 1), second = listener(&to[1], 1);
    (void)state;
    struct caller o;
    caller_open(&o);
    call(&o, to, 2);
    assert_int_equal(o.count, 1);
    assert_int_equal(ntohs(conn_info(o.conn)->peer.v4.sin_port), address_port(&to[0]));
    assert_false(bed_readable(&second));
    caller_close(&o);
    close(first);
    close(second);
}

/* 15 addresses with 250 ms between them would need longer than the deadline. */
static void test_a_refusal_starts_the_next_at_once(void **state)
{
    (void)state;
    union address to[DIAL_TRIES_MAX];
    for (int i = 0; i < DIAL_TRIES_MAX; i++)
        to[i] = refusing("127.0.0.1:0");
    int listening = listener(&to[DIAL_TRIES_MAX - 1], 1);
    struct caller o;
    caller_open(&o);
    o.options.deadline_ms = 3000;
    call(&o, to, DIAL_TRIES_MAX);
    assert_non_null(o.conn);
    assert_int_equal(o.count, DIAL_TRIES_MAX);
    for (int i = 0; i < DIAL_TRIES_MAX - 1; i++)
        assert_int_equal(o.tried[i].error, ECONNREFUSED);
    assert_true(o.tried[DIAL_TRIES_MAX - 1].won);
    caller_close(&o);
    close(listening);
}

static void test_families_take_turns(void **state)
{
    static const char *const given[] = { "[::1]:1",     "[::1]:2", "127.0.0.1:3",
                                         "127.0.0.1:4", "[::1]:5", "[::1]:6" };
    static const int order[] = { 1, 3, 2, 4, 5, 6 };
    (void)state;
    union address to[6];
    for (int i = 0; i < 6; i++)
        to[i] = at(given[i]);
    struct caller o;
    caller_open(&o);
    call(&o, to, 6);
    assert_null(o.conn);
    assert_int_equal(o.count, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(address_port(&o.tried[i].address), order[i]);
    assert_non_null(strstr(o.text, "[::1]:1: Connection refused; 127.0.0.1:3: Connection refused"));
    caller_close(&o);
}

static void test_a_silent_address_is_left_behind(void **state)
{
    union address to[3] = { { .any.sa_family = AF_UNSPEC } };
    int before = descriptors();
    (void)state;
    struct silent s;
    silent_open(&s);
    to[0] = s.address;
    to[1] = at("127.0.0.1:0");
    int listening = listener(&to[1], 1);
    to[2] = refusing("127.0.0.1:0");
    struct caller o;
    caller_open(&o);
    call(&o, to, 3);
    assert_non_null(o.conn);
    assert_int_equal(o.count, 2);
    assert_false(o.tried[0].won);
    assert_int_equal(o.tried[0].error, 0);
    assert_true(o.tried[1].won);
    assert_non_null(strstr(o.text, "another address was first"));
    caller_close(&o);
    close(listening);
    silent_close(&s);
    assert_int_equal(descriptors(), before);
}

static void test_deadline(void **state)
{
    int before = descriptors();
    (void)state;
    struct silent s;
    silent_open(&s);
    union address to[2];
    to[0] = s.address;
    to[1] = refusing("127.0.0.1:0");
    struct caller o;
    caller_open(&o);
    o.options.deadline_ms = 500;
    call(&o, to, 2);
    assert_null(o.conn);
    assert_int_equal(o.tried[0].error, ETIMEDOUT);
    assert_non_null(strstr(o.text, "Connection timed out"));
    caller_close(&o);
    silent_close(&s);
    assert_int_equal(descriptors(), before);
}

static void test_bounded_number_of_addresses(void **state)
{
    (void)state;
    union address to[2 * DIAL_TRIES_MAX];
    for (int i = 0; i < 2 * DIAL_TRIES_MAX; i++)
        to[i] = refusing(i % 3 ? "127.0.0.1:0" : "[::1]:0");
    struct caller o;
    caller_open(&o);
    call(&o, to, 2 * DIAL_TRIES_MAX);
    assert_null(o.conn);
    assert_int_equal(o.count, DIAL_TRIES_MAX);
    caller_close(&o);
}

static void test_cancel(void **state)
{
    union address answers = at("127.0.0.1:0"), refuses = refusing("127.0.0.1:0");
    int listening = listener(&answers, 4);
    (void)state;
    struct silent s;
    silent_open(&s);
    struct caller o;
    caller_open(&o);
    int before = descriptors();
    const union address to[] = { s.address, answers };
    struct dial *d = dial_start(o.loop, to, 1, &o.options, on_done, &o);
    dial_cancel(&d); /* at once */
    assert_null(d);
    dial_cancel(&d);
    d = dial_start(o.loop, to, 1, &o.options, on_done, &o);
    bed_ticks(o.loop, 3); /* while it waits */
    dial_cancel(&d);
    d = dial_start(o.loop, &refuses, 1, &o.options, on_done, &o);
    dial_cancel(&d);
    d = dial_start(o.loop, &answers, 1, &o.options, on_done, &o);
    assert_true(bed_readable(&listening)); /* connected, not told */
    dial_cancel(&d);
    bed_ticks(o.loop, 3);
    assert_int_equal(o.told, 0);
    assert_int_equal(descriptors(), before);
    caller_close(&o);
    silent_close(&s);
    close(listening);
}

static void test_source_address(void **state)
{
    union address to = at("127.0.0.1:0"), from = at("127.0.0.2:0"), far = at("192.0.2.1:0");
    union address seen;
    socklen_t len = sizeof(seen);
    int listening = listener(&to, 1);
    (void)state;
    struct caller o;
    caller_open(&o);
    o.options.source_v4 = &from.any;
    call(&o, &to, 1);
    int fd = accept(listening, &seen.any, &len);
    char text[ADDRESS_TEXT_BYTES];
    address_print(&seen, text);
    assert_memory_equal(text, "127.0.0.2:", 10);
    close(fd);
    caller_close(&o);

    caller_open(&o);
    o.options.source_v4 = &far.any;
    call(&o, &to, 1);
    assert_null(o.conn);
    assert_int_equal(o.tried[0].error, EADDRNOTAVAIL);
    caller_close(&o);
    close(listening);
}

static void test_a_socket_that_connects_to_itself(void **state)
{
    union address self = refusing("127.0.0.1:0");
    (void)state;
    struct caller o;
    caller_open(&o);
    o.options.source_v4 = &self.any;
    call(&o, &self, 1);
    assert_null(o.conn);
    assert_int_equal(o.tried[0].error, ECONNREFUSED);
    caller_close(&o);
}

static void test_other_families_fail(void **state)
{
    union address to = at("unix:/nowhere");
    (void)state;
    struct caller o;
    caller_open(&o);
    call(&o, &to, 1);
    assert_null(o.conn);
    assert_int_equal(o.tried[0].error, EAFNOSUPPORT);
    caller_close(&o);
}

static void test_the_last_descriptors_are_not_taken(void **state)
{
    union address to = at("127.0.0.1:0");
    int listening = listener(&to, 1);
    (void)state;
    struct caller o;
    caller_open(&o);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(listening);
    close(next);
    struct rlimit few = before;
    few.rlim_cur = (rlim_t)next + 8;
    while (few.rlim_cur / 8 < few.rlim_cur - (rlim_t)next)
        few.rlim_cur--;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    call(&o, &to, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_null(o.conn);
    assert_int_equal(o.tried[0].error, EMFILE);
    caller_close(&o);
    close(listening);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connects),
        cmocka_unit_test(test_the_first_that_answers_is_enough),
        cmocka_unit_test(test_a_refusal_starts_the_next_at_once),
        cmocka_unit_test(test_families_take_turns),
        cmocka_unit_test(test_a_silent_address_is_left_behind),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_bounded_number_of_addresses),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_source_address),
        cmocka_unit_test(test_a_socket_that_connects_to_itself),
        cmocka_unit_test(test_other_families_fail),
        cmocka_unit_test(test_the_last_descriptors_are_not_taken),
    };
    return cmocka_run_group_tests_name("io/dial", tests, NULL, NULL);
}
