#include "io/peers.h"
#include <arpa/inet.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MAX = 3 };

static struct peers peers;

static int begin(void **state)
{
    (void)state;
    peers_init(&peers);
    return 0;
}

static int end(void **state)
{
    (void)state;
    peers_fini(&peers);
    return 0;
}

static enum peers_room enter(const char *address, int64_t max, struct peer_key *key)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return peers_enter(&peers, (struct sockaddr *)(void *)&v4, max, key);
    assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return peers_enter(&peers, (struct sockaddr *)(void *)&v6, max, key);
}

static void some_beyond_the_limit_are_told(void **state)
{
    struct peer_key key[MAX + PEERS_TOLD_MAX], other;
    (void)state;
    for (int i = 0; i < MAX + PEERS_TOLD_MAX; i++)
        assert_int_equal(enter("192.0.2.1", MAX, &key[i]), i < MAX ? PEERS_ROOM : PEERS_REFUSE);
    assert_int_equal(enter("192.0.2.1", MAX, &other), PEERS_CLOSE);
    assert_int_equal(other.len, 0);
    peers_leave(&peers, &other); /* takes nobody's place away */
    assert_int_equal(enter("192.0.2.1", MAX, &other), PEERS_CLOSE);
    assert_int_equal(enter("192.0.2.2", MAX, &other), PEERS_ROOM);
    peers_leave(&peers, &key[MAX]);
    peers_leave(&peers, &key[MAX]);
    assert_int_equal(enter("192.0.2.1", MAX, &key[MAX]), PEERS_REFUSE);
    peers_leave(&peers, &key[0]); /* those that are told take no place of others */
    assert_int_equal(enter("192.0.2.1", MAX, &key[0]), PEERS_ROOM);
    for (int i = 0; i < MAX + PEERS_TOLD_MAX; i++)
        peers_leave(&peers, &key[i]);
    assert_int_equal(enter("192.0.2.1", MAX, &other), PEERS_ROOM);
}

static void a_network_of_one_subscriber_counts_as_one(void **state)
{
    struct peer_key key;
    (void)state;
    for (int i = 0; i < MAX; i++)
        assert_int_equal(enter(i % 2 ? "2001:db8::1" : "2001:db8::ffff:1", MAX, &key), PEERS_ROOM);
    assert_int_equal(enter("2001:db8::2", MAX, &key), PEERS_REFUSE);
    assert_int_equal(enter("2001:db8:0:1::1", MAX, &key), PEERS_ROOM);
}

static void sockets_without_an_address_do_not_count(void **state)
{
    struct sockaddr local = { .sa_family = AF_UNIX };
    struct peer_key key;
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(peers_enter(&peers, &local, 1, &key), PEERS_ROOM);
        assert_int_equal(key.len, 0);
    }
}

static void no_limit(void **state)
{
    struct peer_key key;
    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(enter("192.0.2.1", INT64_MAX, &key), PEERS_ROOM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(some_beyond_the_limit_are_told, begin, end),
        cmocka_unit_test_setup_teardown(a_network_of_one_subscriber_counts_as_one, begin, end),
        cmocka_unit_test_setup_teardown(sockets_without_an_address_do_not_count, begin, end),
        cmocka_unit_test_setup_teardown(no_limit, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
