#include "io/locate.h"
#include "io/test_name_server.h"

#define ROW_SRV(name, p, w, port, host)                                                            \
    {                                                                                              \
        name, DNS_TYPE_SRV, 0, 300, { p, w, port }, host, false                                    \
    }

static const struct zone_row zone[] = {
    ROW_SRV("_t._tcp.both.test", 5, 0, 5270, "tls.test"),
    ROW_SRV("_s._tcp.both.test", 1, 0, 5269, "first.test"),
    ROW_SRV("_s._tcp.both.test", 9, 0, 5269, "last.test"),
    ROW_SRV("_t._tcp.none.test", 0, 0, 0, ""),
    ROW_SRV("_s._tcp.none.test", 0, 0, 0, ""),
    ROW_SRV("_t._tcp.notls.test", 0, 0, 0, ""),
    { "_s._tcp.dead.test", DNS_TYPE_SRV, 0, 0, { 0 }, NULL, true },
    { "_t._tcp.half.test", DNS_TYPE_SRV, DNS_SERVFAIL, 0, { 0 }, NULL, false },
    ROW_SRV("_s._tcp.noport.test", 1, 0, 0, "a.test"),
    ROW_SRV("_s._tcp.mixed.test", 0, 0, 0, ""),
    ROW_SRV("_s._tcp.mixed.test", 1, 0, 5269, "mixed.test"),
    ROW_SRV("_s._tcp.half.test", 1, 0, 5269, "half.test"),
    { 0 },
};
static const struct locate_service services[] = { { "_t._tcp", true }, { "_s._tcp", false } };

struct search {
    struct loop *loop;
    struct name_server *server;
    struct resolver *resolver;
    bool told;
    enum locate_end end;
    struct locate_target target[LOCATE_TARGETS_MAX];
    size_t count;
    char text[2048];
};

static void on_located(void *arg, const struct locate_result *r)
{
    struct search *s = arg;
    s->told = true;
    s->end = r->end;
    s->count = r->count;
    if (r->count > 0)
        memcpy(s->target, r->target, r->count * sizeof r->target[0]);
    snprintf(s->text, sizeof s->text, "%s", r->text);
}

static bool search_told(void *arg) { return ((const struct search *)arg)->told; }

static void locate_in(struct search *s, const char *domain, uint16_t port)
{
    s->told = false;
    locate_start(s->resolver, s->loop, slice_of(domain),
                 &(struct locate_options){ services, 2, port }, on_located, s);
    assert_false(s->told);
    bed_run(s->loop, search_told, s);
}

static int start(void **state)
{
    struct search *s = mem_new(struct search);
    struct why why;
    s->loop = loop_create(0);
    s->server = name_server_start(s->loop, zone);
    assert_int_equal(resolver_create(&s->resolver, s->loop, s->server->address, &why), OK);
    *state = s;
    return 0;
}

static int stop(void **state)
{
    struct search *s = *state;
    resolver_destroy(&s->resolver);
    name_server_stop(&s->server);
    loop_destroy(&s->loop);
    mem_free(&s);
    return 0;
}

static void records_of_both_services_are_one_list(void **state)
{
    struct search *s = *state;
    locate_in(s, "both.test", 5269);
    assert_int_equal(s->end, LOCATE_FOUND);
    assert_int_equal(s->count, 3);
    assert_string_equal(s->target[0].host, "first.test");
    assert_string_equal(s->target[1].host, "tls.test");
    assert_string_equal(s->target[2].host, "last.test");
    assert_true(s->target[1].tls);
    assert_false(s->target[0].tls || s->target[2].tls);
    assert_int_equal(s->target[1].port, 5270);
    assert_string_equal(s->text, "_t._tcp.both.test: 1 record; _s._tcp.both.test: 2 records");
}

static void without_records_the_domain_itself(void **state)
{
    struct search *s = *state;
    locate_in(s, "plain.test.", 5269);
    assert_int_equal(s->end, LOCATE_FOUND);
    assert_int_equal(s->count, 1);
    assert_string_equal(s->target[0].host, "plain.test");
    assert_int_equal(s->target[0].port, 5269);
    assert_false(s->target[0].tls);
    assert_non_null(strstr(s->text, "so plain.test itself, port 5269"));
    locate_in(s, "plain.test", 0);
    assert_int_equal(s->end, LOCATE_NO_SERVICE);
}

static void a_domain_may_decline(void **state)
{
    struct search *s = *state;
    locate_in(s, "none.test", 5269);
    assert_int_equal(s->end, LOCATE_NO_SERVICE);
    assert_int_equal(s->count, 0);
    assert_non_null(strstr(s->text, "the domain does not offer this"));
    locate_in(s, "notls.test", 5269); /* TLS at once only */
    assert_int_equal(s->end, LOCATE_FOUND);
    assert_string_equal(s->target[0].host, "notls.test");
}

static void records_without_use(void **state)
{
    struct search *s = *state;
    locate_in(s, "noport.test", 5269); /* there are records: the domain itself is not tried */
    assert_int_equal(s->end, LOCATE_FAILED);
    assert_non_null(strstr(s->text, "1 record without a port"));
    locate_in(s, "mixed.test", 5269);
    assert_int_equal(s->end, LOCATE_FOUND);
    assert_int_equal(s->count, 1);
}

static void one_answer_is_enough(void **state)
{
    struct search *s = *state;
    locate_in(s, "half.test", 5269);
    assert_int_equal(s->end, LOCATE_FOUND);
    assert_string_equal(s->target[0].host, "half.test");
    assert_int_equal(s->count, 1);
    locate_in(s, "dead.test", 5269);
    assert_int_equal(s->end, LOCATE_FAILED);
    assert_non_null(strstr(s->text, "_s._tcp.dead.test: no name server has answered"));
}

static void texts_that_are_no_domains(void **state)
{
    struct search *s = *state;
    char longest[300];
    memset(longest, 'a', sizeof longest);
    longest[299] = '\0';
    locate_in(s, "", 5269);
    assert_int_equal(s->end, LOCATE_FAILED);
    locate_in(s, longest, 5269);
    assert_int_equal(s->end, LOCATE_FAILED);
}

static void a_cancelled_one_is_not_told(void **state)
{
    struct search *s = *state;
    static const char *const domain[] = { "both.test", "" };
    s->told = false;
    for (size_t i = 0; i < 2; i++) {
        struct locate *l =
            locate_start(s->resolver, s->loop, slice_of(domain[i]),
                         &(struct locate_options){ services, 2, 5269 }, on_located, s);
        locate_cancel(&l);
        assert_null(l);
    }
    bed_ticks(s->loop, 20);
    assert_false(s->told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
        TEST(records_of_both_services_are_one_list),
        TEST(without_records_the_domain_itself),
        TEST(a_domain_may_decline),
        TEST(records_without_use),
        TEST(one_answer_is_enough),
        TEST(texts_that_are_no_domains),
        TEST(a_cancelled_one_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
