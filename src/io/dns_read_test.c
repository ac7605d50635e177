#include "base/buf.h"
#include "io/dns_read.h"
#include "io/test_dns.h"

static struct dns_message begin(unsigned code, unsigned answers, unsigned authorities)
{
    return dns_begin(1, "_xmpp-server._tcp.a.test", DNS_TYPE_SRV, code,
                     (unsigned[]){ answers, authorities });
}

static enum err read_message(struct dns_records *out, const struct dns_message *m)
{
    return dns_read(out, (slice){ (const char *)m->bytes, m->len }, DNS_SRV);
}

static void records_are_read(void **state)
{
    (void)state;
    struct dns_records got;
    struct dns_message m = begin(0, 3, 0), alias = { 0 };
    dns_put_name(&alias, "b.test");
    dns_put_record(&m, DNS_TYPE_CNAME, 900, &alias);
    dns_put_srv(&m, 300, (unsigned[]){ 5, 10, 5269 }, "Chat.A.test");
    dns_put_srv(&m, 600, (unsigned[]){ 65535, 0, 65535 }, "b-2.test");
    assert_int_equal(read_message(&got, &m), OK);
    assert_int_equal(got.count, 2);
    assert_int_equal(got.ttl_s, 300);
    assert_string_equal(got.srv[0].host, "chat.a.test");
    assert_int_equal(got.srv[0].priority, 5);
    assert_int_equal(got.srv[0].weight, 10);
    assert_int_equal(got.srv[0].port, 5269);
    assert_string_equal(got.srv[1].host, "b-2.test");
    assert_int_equal(got.srv[1].port, 65535);
}

static void no_service_is_a_record_without_a_host(void **state)
{
    (void)state;
    struct dns_records got;
    struct dns_message m = begin(0, 1, 0);
    dns_put_srv(&m, 60, (unsigned[]){ 0, 0, 0 }, "");
    assert_int_equal(read_message(&got, &m), OK);
    assert_int_equal(got.count, 1);
    assert_string_equal(got.srv[0].host, "");
}

static void what_is_not_there_says_for_how_long(void **state)
{
    (void)state;
    for (unsigned code = 0; code <= DNS_NXDOMAIN; code += DNS_NXDOMAIN) {
        struct dns_records got;
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
    struct dns_records got;
    struct dns_message m = begin(0, 6, 0);
    for (size_t i = 0; i < 5; i++)
        dns_put_srv(&m, 60, (unsigned[]){ 1, 1, 1 }, wrong[i]);
    dns_put_srv(&m, 60, (unsigned[]){ 1, 1, 2 }, "right.test");
    assert_int_equal(read_message(&got, &m), OK);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.srv[0].port, 2);
}

static void more_records_than_there_is_room_for(void **state)
{
    (void)state;
    struct dns_records got;
    struct dns_message m = begin(0, DNS_SRV_MAX + 8, 0);
    for (unsigned i = 0; i < DNS_SRV_MAX + 8; i++)
        dns_put_srv(&m, 60, (unsigned[]){ 1, 1, i + 1 }, "a.test");
    assert_int_equal(read_message(&got, &m), OK);
    assert_int_equal(got.count, DNS_SRV_MAX);
    assert_int_equal(got.srv[DNS_SRV_MAX - 1].port, DNS_SRV_MAX);
}

/* The answer gives them in any order. */
static void the_lowest_priorities_are_kept(void **state)
{
    (void)state;
    struct dns_records got;
    const unsigned count = DNS_SRV_MAX + 8;
    struct dns_message m = begin(0, count, 0);
    for (unsigned i = 0; i < count; i++)
        dns_put_srv(&m, 60, (unsigned[]){ count - 1 - i, 1, i + 1 }, "a.test");
    assert_int_equal(read_message(&got, &m), OK);
    assert_int_equal(got.count, DNS_SRV_MAX);
    for (unsigned i = 0; i < DNS_SRV_MAX; i++)
        assert_int_equal(got.srv[i].priority, DNS_SRV_MAX - 1 - i);
}

static void wrong_answers_are_refused(void **state)
{
    (void)state;
    struct dns_records got;
    struct dns_message m = begin(DNS_SERVFAIL, 0, 0);
    assert_int_equal(read_message(&got, &m), E_SYNTAX);
    m = begin(0, 1, 0); /* the record is missing */
    assert_int_equal(read_message(&got, &m), E_SYNTAX);
    dns_put_srv(&m, 60, (unsigned[]){ 1, 1, 1 }, "a.test");
    for (size_t len = m.len; len-- > 0;)
        assert_int_equal(dns_read(&got, (slice){ (const char *)m.bytes, len }, DNS_SRV), E_SYNTAX);
    m.bytes[2] = 0x01; /* a question */
    assert_int_equal(read_message(&got, &m), E_SYNTAX);
    m.bytes[2] = 0x81;
    assert_int_equal(dns_read(&got, (slice){ (const char *)m.bytes, m.len }, DNS_A), E_SYNTAX);
}

/* The name of a whole record points at itself, at one that points back, or behind the end. */
static void names_that_lead_nowhere(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct dns_records got;
        struct dns_message m = begin(0, 1, 0);
        size_t at = m.len;
        dns_put_srv(&m, 60, (unsigned[]){ 1, 1, 1 }, "a.test");
        size_t to = i == 0 ? 12 : i == 1 ? at : i == 2 ? at + 1 : m.len + 100;
        m.bytes[at] = (unsigned char)(0xc0 | to >> 8);
        m.bytes[at + 1] = (unsigned char)to;
        assert_int_equal(read_message(&got, &m), i == 0 ? OK : E_SYNTAX);
    }
}

static void addresses_are_read(void **state)
{
    (void)state;
    struct dns_records got;
    struct dns_message m = dns_begin(1, "a.test", DNS_TYPE_A, 0, (unsigned[]){ 4, 0 }),
                       data = { 0 };
    dns_put_name(&data, "b.test");
    dns_put_record(&m, DNS_TYPE_CNAME, 20, &data);
    for (size_t len = 3; len <= 5; len++) { /* of which 4 is right */
        data = (struct dns_message){ 0 };
        dns_put(&data, "\300\0\2\1\1", len);
        dns_put_record(&m, DNS_TYPE_A, 86400, &data);
    }
    slice bytes = { (const char *)m.bytes, m.len };
    assert_int_equal(dns_read(&got, bytes, DNS_A), OK);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.ttl_s, 20); /* of the alias */
    assert_int_equal(ntohl(got.address[0].v4.sin_addr.s_addr), 0xc0000201);
    assert_int_equal(dns_read(&got, bytes, DNS_AAAA), E_SYNTAX);
}

static void records_of_no_use_are_told(void **state)
{
    (void)state;
    struct dns_records got;
    struct dns_message m = begin(0, 1, 0);
    dns_put_srv(&m, 60, (unsigned[]){ 1, 1, 1 }, "a b");
    assert_int_equal(read_message(&got, &m), OK);
    assert_int_equal(got.count, 0);
    assert_true(got.useless);
}

static void a_time_with_the_highest_bit_is_none(void **state)
{
    (void)state;
    struct dns_records got;
    struct dns_message m = begin(0, 1, 0);
    dns_put_srv(&m, 0xfffffff0, (unsigned[]){ 1, 1, 1 }, "a.test");
    assert_int_equal(read_message(&got, &m), OK);
    assert_int_equal(got.ttl_s, 0);
    m = begin(0, 0, 0);
    assert_int_equal(read_message(&got, &m), OK);
    assert_int_equal(got.ttl_s, DNS_TTL_UNSAID);
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
    enum { ROUNDS = 200000 };
    uint64_t seed = 3;
    int first = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct dns_srv r[] = { record_of(0, 0, 1), record_of(0, 1, 2) };
        dns_srv_order(r, 2, draw_next, &seed);
        first += r[0].port == 1;
    }
    assert_in_range(first, ROUNDS / 2000, ROUNDS / 500); /* of 1 to 1,001 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_read),
        cmocka_unit_test(no_service_is_a_record_without_a_host),
        cmocka_unit_test(what_is_not_there_says_for_how_long),
        cmocka_unit_test(targets_that_are_no_hosts_are_left_out),
        cmocka_unit_test(more_records_than_there_is_room_for),
        cmocka_unit_test(the_lowest_priorities_are_kept),
        cmocka_unit_test(wrong_answers_are_refused),
        cmocka_unit_test(names_that_lead_nowhere),
        cmocka_unit_test(addresses_are_read),
        cmocka_unit_test(records_of_no_use_are_told),
        cmocka_unit_test(a_time_with_the_highest_bit_is_none),
        cmocka_unit_test(weights_share_and_priorities_wait),
        cmocka_unit_test(all_weights_zero_share_evenly),
        cmocka_unit_test(weight_zero_comes_first_seldom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
