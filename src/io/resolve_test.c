#include "io/resolve.h"
#include "io/test_name_server.h"

#define ROW_SRV(name, ttl, p, w, port, host)                                                       \
    {                                                                                              \
        name, DNS_TYPE_SRV, 0, ttl, { p, w, port }, host, false                                    \
    }
#define ROW(name, type, ttl, address)                                                              \
    {                                                                                              \
        name, type, 0, ttl, { 0 }, address, false                                                  \
    }
#define ROW_ERROR(name, type, code, ttl)                                                           \
    {                                                                                              \
        name, type, code, ttl, { 0 }, NULL, false                                                  \
    }
#define ROW_SILENT(name, type)                                                                     \
    {                                                                                              \
        name, type, 0, 0, { 0 }, NULL, true                                                        \
    }

static const struct zone_row zone[] = {
    ROW_SRV("_x._tcp.a.test", 300, 1, 0, 5269, "h.a.test"),
    ROW_SRV("_x._tcp.a.test", 300, 0, 0, 5270, "i.a.test"),
    ROW("h.a.test", DNS_TYPE_A, 300, "192.0.2.1:0"),
    ROW("h.a.test", DNS_TYPE_A, 300, "192.0.2.2:0"),
    ROW("h.a.test", DNS_TYPE_AAAA, 300, "[2001:db8::1]:0"),
    ROW("short.a.test", DNS_TYPE_A, 1, "192.0.2.3:0"),
    ROW("half.a.test", DNS_TYPE_A, 300, "192.0.2.4:0"),
    ROW_SILENT("half.a.test", DNS_TYPE_AAAA),
    ROW("six.a.test", DNS_TYPE_AAAA, 300, "[2001:db8::6]:0"),
    ROW_SILENT("six.a.test", DNS_TYPE_A),
    ROW("none.wild.test", DNS_TYPE_A, 300, "192.0.2.9:0"),
#define ROW_MANY(n) ROW("many.a.test", DNS_TYPE_AAAA, 300, "[2001:db8::" #n "]:0")
    ROW_MANY(1),
    ROW_MANY(2),
    ROW_MANY(3),
    ROW_MANY(4),
    ROW_MANY(5),
    ROW_MANY(6),
    ROW_MANY(7),
    ROW_MANY(8),
    ROW_MANY(9),
    ROW_MANY(10),
    ROW_ERROR("broken.a.test", DNS_TYPE_A, DNS_SERVFAIL, 0),
    ROW_ERROR("broken.a.test", DNS_TYPE_AAAA, DNS_SERVFAIL, 0),
    ROW_SILENT("_x._tcp.silent.test", DNS_TYPE_SRV),
    { 0 },
};
static const struct zone_row other_zone[] = {
    ROW_SRV("_x._tcp.silent.test", 300, 1, 0, 7000, "j.a.test"),
    { 0 },
};

/* What was heard of one question. */
struct heard {
    unsigned told;
    enum resolve_end end;
    struct dns_srv srv[DNS_SRV_MAX];
    union address address[RESOLVE_ADDRESSES_MAX];
    size_t count;
    bool remembered, of_srv;
    const char *reason;
    struct resolve *call, **cancels; /* cancels: another one, from the callback */
};

struct names {
    struct loop *loop;
    struct name_server *server, *other;
    struct resolver *resolver;
    struct heard heard[3];
    unsigned awaited;
};

static void on_resolved(void *arg, const struct resolved *r)
{
    struct heard *h = arg;
    h->told++;
    h->end = r->end;
    h->remembered = r->remembered;
    h->count = r->count;
    h->reason = r->reason;
    assert_int_equal(r->end == RESOLVE_FOUND, r->count > 0);
    if (h->of_srv)
        memcpy(h->srv, r->srv, r->count * sizeof r->srv[0]);
    else
        memcpy(h->address, r->address, r->count * sizeof r->address[0]);
    h->call = NULL;
    if (h->cancels != NULL)
        resolve_cancel(h->cancels);
}

static bool all_told(void *arg)
{
    const struct names *n = arg;
    unsigned told = 0;
    for (int i = 0; i < 3; i++)
        told += n->heard[i].told;
    return told >= n->awaited;
}

static void await(struct names *n, unsigned told)
{
    n->awaited = told;
    bed_run(n->loop, all_told, n);
}

static struct heard *ask_srv(struct names *n, int i, const char *name)
{
    struct heard *h = &n->heard[i];
    *h = (struct heard){ .of_srv = true };
    h->call = resolve_srv(n->resolver, slice_of(name), on_resolved, h);
    assert_int_equal(h->told, 0);
    return h;
}

static struct heard *ask_host(struct names *n, int i, const char *name)
{
    struct heard *h = &n->heard[i];
    *h = (struct heard){ 0 };
    h->call = resolve_host(n->resolver, slice_of(name), 5269, on_resolved, h);
    assert_int_equal(h->told, 0);
    return h;
}

static void forget_heard(struct names *n) { memset(n->heard, 0, sizeof n->heard); }

static int start(void **state)
{
    struct names *n = mem_new(struct names);
    struct why why;
    n->loop = loop_create(0);
    n->server = name_server_start(n->loop, zone);
    n->other = name_server_start(n->loop, other_zone);
    assert_int_equal(resolver_create(&n->resolver, n->loop, n->server->address, &why), OK);
    *state = n;
    return 0;
}

static int stop(void **state)
{
    struct names *n = *state;
    resolver_destroy(&n->resolver);
    name_server_stop(&n->server);
    name_server_stop(&n->other);
    loop_destroy(&n->loop);
    mem_free(&n);
    return 0;
}

static void services_are_found_and_remembered(void **state)
{
    struct names *n = *state;
    struct heard *h = ask_srv(n, 0, "_x._tcp.a.test"), *same = ask_srv(n, 1, "_X._TCP.A.test.");
    await(n, 2);
    assert_int_equal(n->server->asked, 1); /* for both */
    assert_int_equal(h->end, RESOLVE_FOUND);
    assert_int_equal(same->end, RESOLVE_FOUND);
    assert_int_equal(h->count, 2);
    assert_string_equal(h->srv[0].host, "h.a.test");
    assert_false(h->remembered);
    forget_heard(n);
    h = ask_srv(n, 0, "_x._tcp.a.test");
    await(n, 1);
    assert_true(h->remembered);
    assert_int_equal(h->count, 2);
    assert_int_equal(n->server->asked, 1);
}

static void hosts_have_addresses_of_both_families(void **state)
{
    struct names *n = *state;
    const struct heard *h = ask_host(n, 0, "h.a.test");
    static const char *const expected[] = { "[2001:db8::1]:5269", "192.0.2.1:5269",
                                            "192.0.2.2:5269" };
    await(n, 1);
    assert_int_equal(h->end, RESOLVE_FOUND);
    assert_int_equal(h->count, 3);
    for (size_t i = 0; i < 3; i++) {
        char text[ADDRESS_TEXT_BYTES];
        address_print(&h->address[i], text);
        assert_string_equal(text, expected[i]);
    }
}

static void a_family_that_is_not_answered_is_not_waited_for(void **state)
{
    struct names *n = *state;
    const struct heard *h = ask_host(n, 0, "half.a.test");
    uint64_t since = loop_now_us(n->loop);
    await(n, 1);
    assert_int_equal(h->end, RESOLVE_FOUND);
    assert_int_equal(h->count, 1);
    assert_true(loop_now_us(n->loop) - since < 1000000);
}

static void of_many_addresses_both_families_have_some(void **state)
{
    struct names *n = *state;
    const struct heard *h = ask_host(n, 0, "many.a.test");
    await(n, 1);
    assert_int_equal(h->count, 10); /* there are none of IPv4, which needs no room */
}

/* IPv4 that is late is waited for, because nobody adds it later. */
static void with_ipv6_alone_ipv4_is_waited_for_longer(void **state)
{
    struct names *n = *state;
    const struct heard *h = ask_host(n, 0, "six.a.test");
    uint64_t since = loop_now_us(n->loop);
    await(n, 1);
    assert_int_equal(h->count, 1);
    assert_in_range(loop_now_us(n->loop) - since, 1900000, 3500000);
}

/* Whatever the system appends to names that people type. */
static void no_domain_is_appended(void **state)
{
    struct names *n = *state;
    struct why why;
    static const char *const search[] = { "wild.test", "." };
    for (size_t i = 0; i < 2; i++) {
        setenv("LOCALDOMAIN", search[i], 1);
        assert_int_equal(resolver_servers(n->resolver, n->server->address, &why), OK);
        unsigned asked = n->server->asked;
        const struct heard *h = ask_host(n, 0, "none"), *v4 = ask_host(n, 1, "short.a.test");
        await(n, 2);
        assert_int_equal(h->end, RESOLVE_NO_NAME);
        assert_int_equal(v4->count, 1);
        assert_int_equal(n->server->asked - asked, 4);
        forget_heard(n);
    }
    unsetenv("LOCALDOMAIN");
}

static void a_host_in_the_file_is_not_asked_for(void **state)
{
    struct names *n = *state;
    const struct heard *h = ask_host(n, 0, "localhost");
    await(n, 1);
    assert_int_equal(h->end, RESOLVE_FOUND);
    assert_int_equal(n->server->asked, 0);
}

static void lists_of_servers(void **state)
{
    struct names *n = *state;
    struct why why;
    static const char *const right[] = { "192.0.2.1", "192.0.2.1:5353", "2001:db8::1",
                                         "[2001:db8::1]:5353", "192.0.2.1, 192.0.2.2 ,[::1]" };
    static const char *const wrong[] = { "",
                                         " ",
                                         ",",
                                         "192.0.2.1,",
                                         "192.0.2.1:70000",
                                         "192.0.2.1:0",
                                         "[2001:db8::1",
                                         "a.test",
                                         "::1,::2,::3,::4,::5,::6,::7,::8,::9" };
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        assert_int_equal(resolver_servers(n->resolver, right[i], &why), OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(resolver_servers(n->resolver, wrong[i], &why), E_SYNTAX);
}

static void names_that_are_not_there(void **state)
{
    struct names *n = *state;
    const struct heard *none = ask_srv(n, 0, "_x._tcp.none.test"),
                       *other = ask_srv(n, 1, "h.a.test"), *host = ask_host(n, 2, "none.test");
    await(n, 3);
    assert_int_equal(none->end, RESOLVE_NO_NAME);
    assert_int_equal(other->end, RESOLVE_NO_DATA);
    assert_int_equal(host->end, RESOLVE_NO_NAME);
    unsigned asked = n->server->asked;
    forget_heard(n);
    none = ask_srv(n, 0, "_x._tcp.none.test");
    host = ask_host(n, 2, "none.test");
    await(n, 2);
    assert_int_equal(n->server->asked, asked);
    assert_true(none->remembered && host->remembered);
}

static void texts_that_are_no_names_are_not_asked_for(void **state)
{
    struct names *n = *state;
    char label[65] = { 0 }, longest[DNS_HOST_BYTES + 1] = { 0 };
    const char *const wrong[] = { "",        ".",  "a b.test", "\xc3\xa4.test", "a\\.test",
                                  "a..test", ".a", "a..",      label,           longest };
    memset(label, 'a', sizeof label - 1);
    for (size_t i = 0; i < DNS_HOST_BYTES; i++)
        longest[i] = i == 0 || i % 2 == 1 ? 'a' : '.';
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct heard *h = ask_host(n, 0, wrong[i]);
        await(n, 1);
        assert_int_equal(h->end, RESOLVE_NO_NAME);
    }
    assert_int_equal(n->server->asked, 0);
}

static void errors_of_servers_are_told(void **state)
{
    struct names *n = *state;
    const struct heard *broken = ask_host(n, 0, "broken.a.test"),
                       *silent = ask_srv(n, 1, "_x._tcp.silent.test");
    await(n, 2);
    assert_int_equal(broken->end, RESOLVE_FAILED);
    assert_string_equal(broken->reason, "no name server answers without an error");
    assert_int_equal(silent->end, RESOLVE_TIMEOUT);
}

static void an_answer_is_asked_for_again_after_its_time(void **state)
{
    struct names *n = *state;
    ask_host(n, 0, "short.a.test");
    await(n, 1);
    unsigned asked = n->server->asked;
    uint64_t until = loop_now_us(n->loop) + RESOLVE_TTL_MIN_S * 1000000ull;
    while (loop_now_us(n->loop) <= until)
        bed_ticks(n->loop, 100);
    forget_heard(n);
    const struct heard *h = ask_host(n, 0, "short.a.test");
    await(n, 1);
    assert_int_equal(h->end, RESOLVE_FOUND);
    assert_int_equal(n->server->asked, asked + 2); /* that there is no IPv6 was as short */
}

static void forgetting_is_for_a_name_and_those_below(void **state)
{
    struct names *n = *state;
    ask_srv(n, 0, "_x._tcp.a.test");
    ask_srv(n, 1, "_x._tcp.none.test");
    await(n, 2);
    resolver_forget(n->resolver, SLICE("a.test"));
    forget_heard(n);
    ask_srv(n, 0, "_x._tcp.a.test");
    ask_srv(n, 1, "_x._tcp.none.test");
    await(n, 2);
    assert_int_equal(n->server->asked, 3);
    resolver_forget(n->resolver, (slice){ 0 });
    forget_heard(n);
    ask_srv(n, 0, "_x._tcp.a.test");
    ask_srv(n, 1, "_x._tcp.none.test");
    await(n, 2);
    assert_int_equal(n->server->asked, 5);
}

/* Before the answer, behind it, and from inside of another callback. */
static void what_is_cancelled_is_not_told(void **state)
{
    struct names *n = *state;
    struct heard *h = ask_srv(n, 0, "_x._tcp.a.test");
    resolve_cancel(&h->call);
    assert_null(h->call);
    ask_srv(n, 1, "_x._tcp.a.test");
    await(n, 1);
    assert_int_equal(h->told, 0);
    forget_heard(n);
    h = ask_srv(n, 0, "_x._tcp.a.test"); /* remembered: it would be told in this tick */
    resolve_cancel(&h->call);
    h = ask_srv(n, 1, "_x._tcp.a.test");
    h->cancels = &ask_srv(n, 2, "_x._tcp.a.test")->call;
    await(n, 1);
    bed_ticks(n->loop, 3);
    assert_int_equal(n->heard[0].told + n->heard[2].told, 0);
}

static void other_servers_are_asked_for_what_is_under_way(void **state)
{
    struct names *n = *state;
    struct why why;
    const struct heard *h = ask_srv(n, 0, "_x._tcp.silent.test");
    assert_int_equal(resolver_servers(n->resolver, "not an address", &why), E_SYNTAX);
    assert_non_null(strstr(why.text, "not an address"));
    assert_int_equal(resolver_servers(n->resolver, n->other->address, &why), OK);
    await(n, 1);
    assert_int_equal(h->end, RESOLVE_FOUND);
    assert_int_equal(h->srv[0].port, 7000);
}

static void only_so_many_questions_are_under_way(void **state)
{
    struct names *n = *state;
    static struct resolve *calls[RESOLVE_ASKED_MAX];
    static struct heard waits;
    n->server->silent = true;
    for (unsigned i = 0; i < RESOLVE_ASKED_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "_x._tcp.n%u.test", i);
        calls[i] = resolve_srv(n->resolver, slice_of(name), on_resolved, &waits);
    }
    const struct heard *h = ask_srv(n, 0, "_x._tcp.a.test");
    await(n, 1);
    assert_int_equal(h->end, RESOLVE_BUSY);
    for (unsigned i = 0; i < RESOLVE_ASKED_MAX; i++)
        resolve_cancel(&calls[i]);
}

static void only_so_many_answers_are_remembered(void **state)
{
    struct names *n = *state;
    struct heard *h = ask_srv(n, 0, "_x._tcp.first.test");
    await(n, 1);
    for (unsigned i = 0; i < RESOLVE_NAMES_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "_x._tcp.n%u.test", i);
        forget_heard(n);
        ask_srv(n, 0, name);
        await(n, 1);
    }
    assert_int_equal(n->server->asked, RESOLVE_NAMES_MAX + 1);
    forget_heard(n);
    h = ask_srv(n, 0, "_x._tcp.first.test");
    await(n, 1);
    assert_false(h->remembered);
    assert_int_equal(n->server->asked, RESOLVE_NAMES_MAX + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
        TEST(services_are_found_and_remembered),
        TEST(hosts_have_addresses_of_both_families),
        TEST(a_family_that_is_not_answered_is_not_waited_for),
        TEST(of_many_addresses_both_families_have_some),
        TEST(with_ipv6_alone_ipv4_is_waited_for_longer),
        TEST(no_domain_is_appended),
        TEST(a_host_in_the_file_is_not_asked_for),
        TEST(lists_of_servers),
        TEST(names_that_are_not_there),
        TEST(texts_that_are_no_names_are_not_asked_for),
        TEST(errors_of_servers_are_told),
        TEST(an_answer_is_asked_for_again_after_its_time),
        TEST(forgetting_is_for_a_name_and_those_below),
        TEST(what_is_cancelled_is_not_told),
        TEST(other_servers_are_asked_for_what_is_under_way),
        TEST(only_so_many_questions_are_under_way),
        TEST(only_so_many_answers_are_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
