#include "io/tls_tickets.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h> /* needs the three above */

static void a_key_lives_two_days(void **state)
{
    struct ticket_keys k = { 0 };
    uint8_t first[TICKET_NAME_BYTES], second[TICKET_NAME_BYTES];
    uint64_t now = 5;
    (void)state;
    ticket_keys_renew(&k, now);
    memcpy(first, k.key[0].name, sizeof first);
    ticket_keys_renew(&k, now + TICKET_KEY_US - 1);
    assert_memory_equal(k.key[0].name, first, sizeof first);
    assert_non_null(ticket_keys_find(&k, first));
    ticket_keys_renew(&k, now + TICKET_KEY_US);
    memcpy(second, k.key[0].name, sizeof second);
    assert_memory_not_equal(first, second, sizeof first);
    assert_ptr_equal(ticket_keys_find(&k, first), &k.key[1]);
    assert_ptr_equal(ticket_keys_find(&k, second), &k.key[0]);
    ticket_keys_renew(&k, now + 2 * TICKET_KEY_US);
    assert_null(ticket_keys_find(&k, first));
    assert_ptr_equal(ticket_keys_find(&k, second), &k.key[1]);
}

/* Nobody came for two days: the key before the last use is not the one of yesterday. */
static void an_old_key_does_not_come_back(void **state)
{
    static const struct ticket_key wiped;
    struct ticket_keys k = { 0 };
    uint8_t first[TICKET_NAME_BYTES];
    (void)state;
    ticket_keys_renew(&k, 5);
    memcpy(first, k.key[0].name, sizeof first);
    ticket_keys_renew(&k, 5 + 2 * TICKET_KEY_US);
    assert_null(ticket_keys_find(&k, first));
    assert_memory_equal(&k.key[1], &wiped, sizeof wiped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_lives_two_days),
        cmocka_unit_test(an_old_key_does_not_come_back),
    };
    return cmocka_run_group_tests_name("tls_tickets", tests, NULL, NULL);
}
