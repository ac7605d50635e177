#include "base/arena.h"
#include "io/test_certs.h"
#include "io/tls_names.h"

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_create(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

static slice der_of(const struct test_cert *c)
{
    unsigned char *der = NULL;
    int len = i2d_X509(c->cert, &der);

    assert_true(len > 0);
    slice copy = slice_dup(arena, (slice){ (char *)der, (size_t)len });
    OPENSSL_free(der);
    return copy;
}

static struct tls_names names_of(const char *san)
{
    struct test_cert c =
        test_cert_make(&(struct test_cert_form){ .name = "common.test", .san = san });
    struct tls_names names;
    assert_int_equal(tls_names_read(&names, der_of(&c), arena), OK);
    test_cert_free(&c);
    return names;
}

#define XMPP_ADDR "otherName:1.3.6.1.5.5.7.8.5;UTF8:"
#define SRV_NAME  "otherName:1.3.6.1.5.5.7.8.7;IA5STRING:"

static void test_kinds(void **state)
{
    struct tls_names n = names_of("DNS:one.test,IP:127.0.0.1,email:a@b.test," SRV_NAME
                                  "_xmpp-server.one.test," XMPP_ADDR "juliet@one.test,URI:x:y");

    (void)state;
    assert_int_equal(n.count, 3);
    assert_int_equal(n.name[0].kind, TLS_NAME_DNS);
    assert_string_equal(n.name[0].text.ptr, "one.test");
    assert_int_equal(n.name[1].kind, TLS_NAME_SRV);
    assert_string_equal(n.name[1].text.ptr, "_xmpp-server.one.test");
    assert_int_equal(n.name[2].kind, TLS_NAME_XMPP);
    assert_string_equal(n.name[2].text.ptr, "juliet@one.test");
}

static void test_no_names(void **state)
{
    struct tls_names n = names_of(NULL);
    struct tls_wanted w = { .domain = SLICE("common.test"), .wildcards = true };

    (void)state;
    assert_int_equal(n.count, 0);
    assert_null(tls_names_find(&n, &w)); /* RFC 9525 §2: not the common name */
    assert_int_equal(tls_names_read(&n, SLICE("no certificate"), arena), E_SYNTAX);
    assert_int_equal(tls_names_read(&n, (slice){ NULL, 0 }, arena), E_SYNTAX);
    assert_int_equal(tls_names_of_san(&n, SLICE("\x30\x05"), arena), E_SYNTAX);
    assert_int_equal(n.count, 0);
}

/* subjectAltName with one dNSName of any bytes. */
static size_t count_of_dns(slice text)
{
    size_t len = 0;
    assert_true(text.len < 120);
    char der[300];
    der[len++] = 0x30;
    der[len++] = (char)(text.len + 2);
    der[len++] = (char)0x82;
    der[len++] = (char)text.len;
    memcpy(der + len, text.ptr, text.len);
    struct tls_names n;
    assert_int_equal(tls_names_of_san(&n, (slice){ der, len + text.len }, arena), OK);
    return n.count;
}

static void test_malformed_names_are_left_out(void **state)
{
    static const slice good[] = { SLICE_INIT("a"),        SLICE_INIT("a.test"),
                                  SLICE_INIT("*.a.test"), SLICE_INIT("xn--bcher-kva.test"),
                                  SLICE_INIT("a_b.test"), SLICE_INIT("1.2.3.4a") };
    static const slice bad[] = {
        SLICE_INIT(""),           SLICE_INIT("."),          SLICE_INIT("a."),
        SLICE_INIT(".a"),         SLICE_INIT("a..test"),    SLICE_INIT("a.test\0.b.test"),
        SLICE_INIT("*"),          SLICE_INIT("*.test"),     SLICE_INIT("a*.b.test"),
        SLICE_INIT("*.*.a.test"), SLICE_INIT("a.*.b.test"), SLICE_INIT("192.0.2.1"),
        SLICE_INIT("*.0.2.1"),    SLICE_INIT("a b.test"),   SLICE_INIT("b\xc3\xbc.test"),
        SLICE_INIT("-\n.test")
    };
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(count_of_dns(good[i]), 1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(count_of_dns(bad[i]), 0);
    char label[70];
    memset(label, 'a', sizeof(label));
    assert_int_equal(count_of_dns((slice){ label, 63 }), 1);
    assert_int_equal(count_of_dns((slice){ label, 64 }), 0);
    assert_int_equal(names_of(SRV_NAME "xmpp-server.one.test").count, 0);
    assert_int_equal(names_of(SRV_NAME "_xmpp-server").count, 0);
    assert_int_equal(names_of("otherName:1.3.6.1.5.5.7.8.7;UTF8:_xmpp-server.a.test").count, 0);
    assert_int_equal(names_of("otherName:1.3.6.1.5.5.7.8.5;IA5STRING:a.test").count, 0);
    assert_int_equal(names_of(XMPP_ADDR "a b").count, 0);
}

struct match {
    const char *san, *domain, *unicode, *service;
    bool xmpp, wildcards, found;
};

/* OpenSSL takes the text of a UTF8String here as Latin-1. */
static void test_find(void **state)
{
    static const struct match rows[] = {
        { "DNS:a.test", "a.test", "", "", false, false, true },
        { "DNS:A.Test", "a.tEST", "", "", false, false, true },
        { "DNS:a.test", "a.test.", "", "", false, false, true },
        { "DNS:a.test", "b.a.test", "", "", false, true, false },
        { "DNS:a.test", "test", "", "", false, true, false },
        { "DNS:a.test", "xa.test", "", "", false, true, false },
        { "DNS:b.test,DNS:a.test", "a.test", "", "", false, false, true },
        { "DNS:a.test", "", "", "", false, true, false },
        { "DNS:a.test", ".", "", "", false, true, false },
        { "DNS:a.test", ".a.test", "", "", false, true, false },
        /* wildcards: a setting, one label, RFC 9525 §6.3 */
        { "DNS:*.a.test", "b.a.test", "", "", false, true, true },
        { "DNS:*.A.test", "B.a.TEST", "", "", false, true, true },
        { "DNS:*.a.test", "b.a.test", "", "", false, false, false },
        { "DNS:*.a.test", "c.b.a.test", "", "", false, true, false },
        { "DNS:*.a.test", "a.test", "", "", false, true, false },
        { "DNS:*.a.test", ".a.test", "", "", false, true, false },
        { "DNS:*.a.test", "xn--bcher-kva.a.test", "", "", false, true, true },
        { "IP:192.0.2.1", "192.0.2.1", "", "", true, true, false },
        /* SRV-ID: only with its service, RFC 9525 §6.5 */
        { SRV_NAME "_xmpp-server.a.test", "a.test", "", "xmpp-server", false, false, true },
        { SRV_NAME "_XMPP-Server.A.test", "a.test", "", "xmpp-server", false, false, true },
        { SRV_NAME "_xmpp-server.a.test", "a.test", "", "", false, false, false },
        { SRV_NAME "_xmpp-client.a.test", "a.test", "", "xmpp-server", false, false, false },
        { SRV_NAME "_xmpp-server.a.test", "b.a.test", "", "xmpp-server", false, true, false },
        { SRV_NAME "_xmpp-server.a.test", "_xmpp-server.a.test", "", "", true, true, false },
        { SRV_NAME "_xmpp-server.*.a.test", "b.a.test", "", "xmpp-server", false, true, true },
        { SRV_NAME "_xmpp-server.*.a.test", "b.a.test", "", "xmpp-server", false, false, false },
        /* id-on-xmppAddr, RFC 6120 §13.7.1.4 */
        { XMPP_ADDR "a.test", "a.test", "", "", true, false, true },
        { XMPP_ADDR "a.test", "a.test", "", "", false, false, false },
        { XMPP_ADDR "x@a.test", "a.test", "", "", true, false, false },
        { XMPP_ADDR "*.a.test", "b.a.test", "", "", true, true, false },
        { XMPP_ADDR "xn--bcher-kva.test", "xn--bcher-kva.test", "", "", true, false, true },
        { XMPP_ADDR "b\xfc"
                    "cher.test",
          "xn--bcher-kva.test",
          "b\xc3\xbc"
          "cher.test",
          "", true, false, true },
        { XMPP_ADDR "b\xfc"
                    "cher.test",
          "xn--bcher-kva.test", "", "", true, false, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct match *m = &rows[i];
        struct tls_names n = names_of(m->san);
        struct tls_wanted w = { .domain = slice_of(m->domain),
                                .unicode = slice_of(m->unicode),
                                .service = slice_of(m->service),
                                .xmpp = m->xmpp,
                                .wildcards = m->wildcards };
        if ((tls_names_find(&n, &w) != NULL) != m->found)
            fail_msg("row %zu: %s for %s", i, m->san, m->domain);
    }
}

static void test_many_names(void **state)
{
    struct tls_wanted w = { .domain = SLICE("last.test") };
    char *san = mem_alloc(16 * (TLS_NAMES_MAX + 1));
    size_t len = 0;

    (void)state;
    for (int i = 1; i < TLS_NAMES_MAX; i++)
        len += (size_t)snprintf(san + len, 16, "DNS:h%d.test,", i);
    memcpy(san + len, "DNS:last.test", sizeof("DNS:last.test"));
    struct tls_names n = names_of(san);
    assert_int_equal(n.count, TLS_NAMES_MAX);
    assert_ptr_equal(tls_names_find(&n, &w), &n.name[TLS_NAMES_MAX - 1]);
    memcpy(san + len, "DNS:x.test,DNS:last.test", sizeof("DNS:x.test,DNS:last.test"));
    n = names_of(san);
    assert_int_equal(n.count, TLS_NAMES_MAX);
    assert_null(tls_names_find(&n, &w));
    mem_free(&san);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_no_names),
        cmocka_unit_test(test_malformed_names_are_left_out),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_many_names),
    };
    return cmocka_run_group_tests_name("io/tls_names", tests, set_up, tear_down);
}
