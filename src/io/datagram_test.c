#include "base/mem.h"
#include "io/datagram.h"
#include "io/datagram_private.h"
#include "io/metrics.h"
#include "io/test_bed.h"
#include <arpa/inet.h>

enum { BYTES = 1500, QUEUE = 4096, MANY = 100 };

struct sockets {
    struct loop *loop;
    struct datagram *d;
    int fd;                /* the other end, of the system */
    union address address; /* of d, as the other end sees it */
    unsigned count, awaited;
    char last[BYTES];
    size_t last_len;
    struct datagram_path path;
    bool answers, closes;
};

static void on_datagram(struct datagram *d, slice data, const struct datagram_path *path)
{
    struct sockets *s = datagram_owner(d);

    assert_ptr_equal(loop_here(), s->loop);
    s->count++;
    s->last_len = data.len;
    memcpy(s->last, data.ptr, data.len);
    s->path = *path;
    if (s->answers)
        assert_int_equal(datagram_send(d, SLICE("answer"), path), OK);
    if (s->closes)
        datagram_close(&s->d);
}

static bool all_here(void *arg)
{
    const struct sockets *s = arg;

    return s->count >= s->awaited;
}

static void await(struct sockets *s, unsigned count)
{
    s->awaited = count;
    bed_run(s->loop, all_here, s);
    assert_int_equal(s->count, count);
}

static union address parsed(const char *text)
{
    union address a;
    assert_true(address_parse(slice_of(text), &a));
    return a;
}

static void set_port(union address *a, int port)
{
    if (a->any.sa_family == AF_INET)
        a->v4.sin_port = htons((uint16_t)port);
    else
        a->v6.sin6_port = htons((uint16_t)port);
}

/* Ours at `address`, which the other end calls at `called` from `from`. */
static void sockets_open(struct sockets *s, const char *address, const char *called,
                         const char *from)
{
    union address other = parsed(from);
    struct why why = { "" };
    struct datagram_options options = { .address = slice_of(address),
                                        .bytes_max = BYTES,
                                        .queue_max = QUEUE,
                                        .received = on_datagram,
                                        .owner = s };

    *s = (struct sockets){ .loop = loop_create(0), .address = parsed(called) };
    if (datagram_open(&s->d, s->loop, &options, &why) != OK)
        fail_msg("%s", why.text);
    set_port(&s->address, datagram_port(s->d));
    s->fd = socket(other.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, &other.any, address_bytes(&other)), 0);
    assert_int_equal(connect(s->fd, &s->address.any, address_bytes(&s->address)), 0);
}

static void sockets_close(struct sockets *s)
{
    datagram_close(&s->d);
    assert_null(s->d);
    loop_destroy(&s->loop);
    close(s->fd);
}

/* The other end is connected: it takes an answer only from the address that it has called. */
static void there_and_back(const char *address, const char *called, const char *from)
{
    union address other = { .any.sa_family = AF_UNSPEC };
    socklen_t len = sizeof(other);
    struct sockets s;
    sockets_open(&s, address, called, from);
    s.answers = true;
    assert_int_equal(send(s.fd, "ask", 3, 0), 3);
    await(&s, 1);
    assert_int_equal(s.last_len, 3);
    assert_memory_equal(s.last, "ask", 3);
    assert_int_equal(getsockname(s.fd, &other.any, &len), 0);
    char expected[ADDRESS_TEXT_BYTES];
    address_print(&other, expected);
    char text[ADDRESS_TEXT_BYTES];
    address_print(&s.path.peer, text);
    assert_string_equal(text, expected);
    other = s.address;
    set_port(&other, 0);
    address_print(&other, expected);
    address_print(&s.path.local, text);
    assert_string_equal(text, expected);
    bed_run(s.loop, bed_readable, &s.fd);
    char in[8];
    assert_int_equal(recv(s.fd, in, sizeof(in), 0), 6);
    assert_memory_equal(in, "answer", 6);
    sockets_close(&s);
}

static void test_there_and_back(void **state)
{
    (void)state;
    there_and_back("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0");
    there_and_back("[::1]:0", "[::1]:0", "[::1]:0");
}

/* An answer leaves from the address that was asked. */
static void test_several_addresses(void **state)
{
    (void)state;
    there_and_back("0.0.0.0:0", "127.0.0.2:0", "127.0.0.1:0");
    there_and_back("0.0.0.0:0", "127.0.0.1:0", "127.0.0.3:0");
    there_and_back("[::]:0", "[::1]:0", "[::1]:0");
    there_and_back("[::]:0", "127.0.0.2:0", "127.0.0.1:0"); /* both families on one socket */
}

static void test_the_system_chooses(void **state)
{
    (void)state;
    struct sockets s;
    sockets_open(&s, "[::]:0", "127.0.0.1:0", "127.0.0.1:0");
    assert_int_equal(send(s.fd, "x", 1, 0), 1);
    await(&s, 1);
    struct datagram_path path = { .peer = s.path.peer };
    assert_int_equal(datagram_send(s.d, SLICE("free"), &path), OK);
    char in[8];
    assert_int_equal(recv(s.fd, in, sizeof(in), 0), 4);
    sockets_close(&s);
}

static void test_more_than_a_batch(void **state)
{
    (void)state;
    struct sockets s;
    sockets_open(&s, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0");
    char out[8];
    for (int i = 0; i < MANY; i++) {
        int len = snprintf(out, sizeof(out), "%d", i);
        assert_int_equal(send(s.fd, out, (size_t)len, 0), len);
    }
    await(&s, MANY);
    assert_int_equal(s.last_len, 2);
    assert_memory_equal(s.last, "99", 2);
    assert_int_equal(send(s.fd, "", 0, 0), 0); /* an empty one is one */
    await(&s, MANY + 1);
    assert_int_equal(s.last_len, 0);
    sockets_close(&s);
}

static void test_what_is_too_long_is_dropped(void **state)
{
    char out[BYTES + 1] = "";
    (void)state;
    struct sockets s;
    sockets_open(&s, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0");
    assert_int_equal(send(s.fd, out, BYTES + 1, 0), BYTES + 1);
    assert_int_equal(send(s.fd, out, BYTES, 0), BYTES);
    await(&s, 1);
    assert_int_equal(s.last_len, BYTES);
    sockets_close(&s);
}

static void test_what_waits_keeps_its_order(void **state)
{
    unsigned taken = 0;
    (void)state;
    struct sockets s;
    sockets_open(&s, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0");
    assert_int_equal(send(s.fd, "x", 1, 0), 1);
    await(&s, 1);
    struct datagram_path path = s.path;
    datagram_block(s.d); /* as after EAGAIN, which loopback does not give */
    char text[8];
    for (;; taken++) {
        int len = snprintf(text, sizeof(text), "%u", taken);
        enum err e = datagram_send(s.d, (slice){ text, (size_t)len }, &path);
        if (e != OK) {
            assert_int_equal(e, E_AGAIN);
            break;
        }
    }
    assert_true(taken > 5 && taken < QUEUE / 200); /* bounded */
    assert_false(bed_readable(&s.fd));
    char in[8];
    for (unsigned i = 0; i < taken; i++) {
        int len = snprintf(text, sizeof(text), "%u", i);
        bed_run(s.loop, bed_readable, &s.fd);
        assert_int_equal(recv(s.fd, in, sizeof(in), 0), len);
        assert_memory_equal(in, text, (size_t)len);
    }
    assert_false(s.d->blocked);
    assert_int_equal(s.d->waiting_bytes, 0);
    assert_int_equal(datagram_send(s.d, SLICE("free"), &path), OK);
    assert_true(bed_readable(&s.fd)); /* at once again */
    datagram_block(s.d);
    assert_int_equal(datagram_send(s.d, SLICE("lost"), &path), OK);
    sockets_close(&s); /* with one that waits */
}

static void test_what_cannot_be_sent(void **state)
{
    struct datagram_path path = { .peer = parsed("127.0.0.1:9") };
    char *long_one = mem_zalloc(DATAGRAM_BYTES_MAX);
    (void)state;
    struct sockets s;
    sockets_open(&s, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0");
    assert_int_equal(datagram_send(s.d, (slice){ long_one, DATAGRAM_BYTES_MAX }, &path), E_LIMIT);
    path.local = parsed("192.0.2.1:0"); /* not ours */
    assert_int_equal(datagram_send(s.d, SLICE("x"), &path), E_IO);
    path = (struct datagram_path){ .peer = parsed("[::1]:9") };
    assert_int_equal(datagram_send(s.d, SLICE("x"), &path), E_IO);
    assert_int_equal(send(s.fd, "x", 1, 0), 1);
    await(&s, 1); /* and it goes on */
    mem_free(&long_one);
    sockets_close(&s);
}

static void test_closed_while_it_receives(void **state)
{
    (void)state;
    struct sockets s;
    sockets_open(&s, "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0");
    s.closes = true;
    for (int i = 0; i < 3; i++)
        assert_int_equal(send(s.fd, "x", 1, 0), 1);
    await(&s, 1);
    bed_ticks(s.loop, 2);
    assert_int_equal(s.count, 1);
    sockets_close(&s);
}

static void test_addresses(void **state)
{
    static const char *const bad[] = { "", "5060", "unix:/tmp/x", "host:5060", "[::1]" };
    struct loop *loop = loop_create(0);
    struct datagram_options options = { .bytes_max = 100, .received = on_datagram };
    struct datagram *d = NULL, *second = NULL;
    struct why why = { "" };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        options.address = slice_of(bad[i]);
        assert_int_equal(datagram_open(&d, loop, &options, &why), E_SYNTAX);
    }
    options.address = SLICE("127.0.0.1:0");
    assert_int_equal(datagram_open(&d, loop, &options, &why), OK);
    char text[32];
    snprintf(text, sizeof(text), "127.0.0.1:%d", datagram_port(d));
    options.address = slice_of(text);
    assert_int_equal(datagram_open(&second, loop, &options, &why), E_EXISTS);
    assert_non_null(strstr(why.text, text));
    options.address = SLICE("192.0.2.1:0");
    assert_int_equal(datagram_open(&second, loop, &options, &why), E_IO);
    assert_null(second);
    datagram_close(&d);
    loop_destroy(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_several_addresses),
        cmocka_unit_test(test_the_system_chooses),
        cmocka_unit_test(test_more_than_a_batch),
        cmocka_unit_test(test_what_is_too_long_is_dropped),
        cmocka_unit_test(test_what_waits_keeps_its_order),
        cmocka_unit_test(test_what_cannot_be_sent),
        cmocka_unit_test(test_closed_while_it_receives),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests_name("io/datagram", tests, NULL, NULL);
}
