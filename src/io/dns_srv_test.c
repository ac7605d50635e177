#include "base/buf.h"
#include "io/dns_srv.h"
#include "io/test_dns.h"

static struct dns_message begin(unsigned code, unsigned answers, unsigned authorities)
{
    return dns_begin(1, "_xmpp-server._tcp.a.test", DNS_TYPE_SRV, code,
                     (unsigned[]){ answers, authorities });
}

static enum err read_message(struct dns_srvs *out, const struct dns_message *m)
{
    return dns_srv_read(out, (slice){ (const char *)m->bytes, m->len });
}

static void records_are_read(void **state)
{
    (void)state;
    struct dns_srvs got;
    struct dns_message m = begin(0, 3, 0), alias = { 0 };
    dns_put_name(&alias, "b.test");
    dns_put_record(&m, DNS_TYPE_CNAME, 900, &alias);
    dns_put_srv(&m, 300, (unsigned[]){ 5, 10, 5269 }, "Chat.A.test");
    dns_put_srv(&m, 600, (unsigned[]){ 65535, 0, 65535 }, "b-2.test");
    assert_int_equal(read_message(&got, &m), OK);
    assert_int_equal(got.count, 2);
    assert_int_equal(got.ttl_s, 300);
    assert_string_equal(got.record[0].host, "chat.a.test");
    assert_int_equal(got.record[0].priority, 5);
    assert_int_equal(got.record[0].weight, 10);
    assert_int_equal(got.record[0].port, 5269);
    assert_string_equal(got.record[1].host, "b-2.test");
    assert_int_equal(got.record[1].port, 65535);
}

static void no_service_is_a_record_without_a_host(void **state)
{
    (void)state;
    struct dns_srvs got;
    struct dns_message m = begin(0, 1, 0);
    dns_put_srv(&m, 60, (unsigned[]){ 0, 0, 0 }, "");
    assert_int_equal(read_message(&got, &m), OK);
    assert_int_equal(got.count, 1);
    assert_string_equal(got.record[0].host, "");
}

static void what_is_not_there_says_for_how_long(void **state)
{
    (void)state;
    for (unsigned code = 0; code <= DNS_NXDOMAIN; code += DNS_NXDOMAIN) {
        struct dns_srvs got;
        struct dns_message m = begin(code, 0, 1);
        dns_put_soa(&m, 3600, 45);
        assert_int_equal(read_message(&got, &m), OK);
        assert_int_equal(got.count, 0);
        assert_int_equal(got.ttl_s, 45);
    }
}

static void targets_that_are_no_hosts_are_left_out(void **state)
{
    (void)state;
    static const char *const wrong[] = { "a b.test", "a\tb", "a(b.test", "\xc3\xa4.test", "a\\b" };
    struct dns_srvs got;
    struct dns_message m = begin(0, 6, 0);
    for (size_t i = 0; i < 5; i++)
        dns_put_srv(&m, 60, (unsigned[]){ 1, 1, 1 }, wrong[i]);
    dns_put_srv(&m, 60, (unsigned[]){ 1, 1, 2 }, "right.test");
    assert_int_equal(read_message(&got, &m), OK);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.record[0].port, 2);
}

static void more_records_than_there_is_room_for(void **state)
{
    (void)state;
    struct dns_srvs got;
    struct dns_message m = begin(0, DNS_SRV_MAX + 8, 0);
    for (unsigned i = 0; i < DNS_SRV_MAX + 8; i++)
        dns_put_srv(&m, 60, (unsigned[]){ 1, 1, i + 1 }, "a.test");
    assert_int_equal(read_message(&got, &m), OK);
    assert_int_equal(got.count, DNS_SRV_MAX);
    assert_int_equal(got.record[DNS_SRV_MAX - 1].port, DNS_SRV_MAX);
}

static void wrong_answers_are_refused(void **state)
{
    (void)state;
    struct dns_srvs got;
    struct dns_message m = begin(DNS_SERVFAIL, 0, 0);
    assert_int_equal(read_message(&got, &m), E_SYNTAX);
    m = begin(0, 1, 0); /* the record is missing */
    assert_int_equal(read_message(&got, &m), E_SYNTAX);
    dns_put_srv(&m, 60, (unsigned[]){ 1, 1, 1 }, "a.test");
    for (size_t len = m.len; len-- > 0;)
        assert_int_equal(dns_srv_read(&got, (slice){ (const char *)m.bytes, len }), E_SYNTAX);
    m.bytes[2] = 0x01; /* a question */
    assert_int_equal(read_message(&got, &m), E_SYNTAX);
    m = begin(0, 1, 0);
    dns_put_16(&m, 0xc00c + 40); /* a name that points at itself or behind the end */
    dns_put_16(&m, DNS_TYPE_SRV);
    assert_int_equal(read_message(&got, &m), E_SYNTAX);
}

/* Order. */

static uint64_t draw_next(void *arg)
{
    uint64_t *state = arg;
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return *state >> 33;
}

static struct dns_srv record_of(unsigned priority, unsigned weight, unsigned port)
{
    return (struct dns_srv){ .priority = (uint16_t)priority,
                             .weight = (uint16_t)weight,
                             .port = (uint16_t)port,
                             .host = "a.test" };
}

/* Requirements 2 "Static routes": two of one priority with weights 20 and 10 are taken 2:1, the
 * third only behind both. */
static void weights_share_and_priorities_wait(void **state)
{
    (void)state;
    enum { ROUNDS = 30000 };
    uint64_t seed = 1;
    int first[4] = { 0 };
    for (int i = 0; i < ROUNDS; i++) {
        struct dns_srv r[] = { record_of(2, 100, 3), record_of(1, 20, 1), record_of(1, 10, 2) };
        dns_srv_order(r, 3, draw_next, &seed);
        assert_int_equal(r[2].port, 3);
        assert_int_equal(r[0].port + r[1].port, 3);
        first[r[0].port]++;
    }
    assert_in_range(first[1], ROUNDS * 64 / 100, ROUNDS * 69 / 100);
}

static void all_weights_zero_share_evenly(void **state)
{
    (void)state;
    enum { ROUNDS = 9000 };
    uint64_t seed = 7;
    int first[4] = { 0 };
    for (int i = 0; i < ROUNDS; i++) {
        struct dns_srv r[] = { record_of(0, 0, 1), record_of(0, 0, 2), record_of(0, 0, 3) };
        dns_srv_order(r, 3, draw_next, &seed);
        first[r[0].port]++;
    }
    for (int port = 1; port <= 3; port++)
        assert_in_range(first[port], ROUNDS * 30 / 100, ROUNDS * 37 / 100);
}

static void weight_zero_comes_first_seldom(void **state)
{
    (void)state;
    uint64_t seed = 3;
    int first = 0;
    for (int i = 0; i < 10000; i++) {
        struct dns_srv r[] = { record_of(0, 0, 1), record_of(0, 60000, 2) };
        dns_srv_order(r, 2, draw_next, &seed);
        first += r[0].port == 1;
    }
    assert_true(first < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_read),
        cmocka_unit_test(no_service_is_a_record_without_a_host),
        cmocka_unit_test(what_is_not_there_says_for_how_long),
        cmocka_unit_test(targets_that_are_no_hosts_are_left_out),
        cmocka_unit_test(more_records_than_there_is_room_for),
        cmocka_unit_test(wrong_answers_are_refused),
        cmocka_unit_test(weights_share_and_priorities_wait),
        cmocka_unit_test(all_weights_zero_share_evenly),
        cmocka_unit_test(weight_zero_comes_first_seldom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
