#include "io/peers.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MAX = 3 };

static enum peers_room enter_as(enum peers_kind kind, const char *address, int64_t max,
                                struct peer_key *key)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return peers_enter(kind, (struct sockaddr *)(void *)&v4, max, key);
    assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return peers_enter(kind, (struct sockaddr *)(void *)&v6, max, key);
}

static enum peers_room enter(const char *address, int64_t max, struct peer_key *key)
{
    return enter_as(PEERS_C2S, address, max, key);
}

static void some_beyond_the_limit_are_told(void **state)
{
    struct peer_key key[MAX + PEERS_TOLD_MAX], other, second;
    (void)state;
    for (int i = 0; i < MAX + PEERS_TOLD_MAX; i++)
        assert_int_equal(enter("192.0.2.1", MAX, &key[i]), i < MAX ? PEERS_ROOM : PEERS_REFUSE);
    assert_int_equal(enter("192.0.2.1", MAX, &other), PEERS_CLOSE);
    assert_int_equal(other.len, 0);
    peers_leave(&other); /* takes nobody's place away */
    assert_int_equal(enter("192.0.2.1", MAX, &other), PEERS_CLOSE);
    assert_int_equal(enter("192.0.2.2", MAX, &second), PEERS_ROOM);
    peers_leave(&key[MAX]);
    peers_leave(&key[MAX]);
    assert_int_equal(enter("192.0.2.1", MAX, &key[MAX]), PEERS_REFUSE);
    peers_leave(&key[0]); /* those that are told take no place of others */
    assert_int_equal(enter("192.0.2.1", MAX, &key[0]), PEERS_ROOM);
    for (int i = 0; i < MAX + PEERS_TOLD_MAX; i++)
        peers_leave(&key[i]);
    assert_int_equal(enter("192.0.2.1", MAX, &other), PEERS_ROOM);
    peers_leave(&other);
    peers_leave(&second);
}

static void kinds_count_apart(void **state)
{
    struct peer_key key[PEERS_KINDS][MAX], other;
    (void)state;
    for (int kind = 0; kind < PEERS_KINDS; kind++) {
        for (int i = 0; i < MAX; i++)
            assert_int_equal(enter_as((enum peers_kind)kind, "192.0.2.3", MAX, &key[kind][i]),
                             PEERS_ROOM);
        assert_int_equal(enter_as((enum peers_kind)kind, "192.0.2.3", MAX, &other), PEERS_REFUSE);
        peers_leave(&other);
    }
    peers_leave(&key[PEERS_HTTP][0]); /* makes room in its own kind */
    assert_int_equal(enter_as(PEERS_PROXY65, "192.0.2.3", MAX, &other), PEERS_REFUSE);
    peers_leave(&other);
    assert_int_equal(enter_as(PEERS_HTTP, "192.0.2.3", MAX, &key[PEERS_HTTP][0]), PEERS_ROOM);
    for (int kind = 0; kind < PEERS_KINDS; kind++) {
        for (int i = 0; i < MAX; i++)
            peers_leave(&key[kind][i]);
    }
    assert_int_equal(enter_as(PEERS_PROXY65, "192.0.2.3", 1, &other), PEERS_ROOM);
    peers_leave(&other);
}

static void a_network_of_one_subscriber_counts_as_one(void **state)
{
    struct peer_key key[MAX + 2];
    (void)state;
    for (int i = 0; i < MAX; i++)
        assert_int_equal(enter(i % 2 ? "2001:db8::1" : "2001:db8::ffff:1", MAX, &key[i]),
                         PEERS_ROOM);
    assert_int_equal(enter("2001:db8::2", MAX, &key[MAX]), PEERS_REFUSE);
    assert_int_equal(enter("2001:db8:0:1::1", MAX, &key[MAX + 1]), PEERS_ROOM);
    for (int i = 0; i < MAX + 2; i++)
        peers_leave(&key[i]);
}

static void sockets_without_an_address_do_not_count(void **state)
{
    struct sockaddr local = { .sa_family = AF_UNIX };
    struct peer_key key;
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(peers_enter(PEERS_C2S, &local, 1, &key), PEERS_ROOM);
        assert_int_equal(key.len, 0);
    }
}

static void no_limit(void **state)
{
    struct peer_key key[100];
    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(enter("192.0.2.1", INT64_MAX, &key[i]), PEERS_ROOM);
    for (int i = 0; i < 100; i++)
        peers_leave(&key[i]);
}

enum { THREADS = 4, ROUNDS = 2000 };

static void *come_and_go(void *arg)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201) };
    int *entered = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct peer_key key;
        *entered += peers_enter((enum peers_kind)(i % PEERS_KINDS), (struct sockaddr *)(void *)&v4,
                                THREADS, &key) == PEERS_ROOM;
        peers_leave(&key);
    }
    return NULL;
}

static void any_thread(void **state)
{
    pthread_t thread[THREADS];
    int entered[THREADS] = { 0 };
    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, come_and_go, &entered[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(entered[i], ROUNDS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(some_beyond_the_limit_are_told),
        cmocka_unit_test(kinds_count_apart),
        cmocka_unit_test(a_network_of_one_subscriber_counts_as_one),
        cmocka_unit_test(sockets_without_an_address_do_not_count),
        cmocka_unit_test(no_limit),
        cmocka_unit_test(any_thread),
    };
    return cmocka_run_group_tests_name("io/peers", tests, NULL, NULL);
}
