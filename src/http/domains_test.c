#include "http/http_private.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BUCHER                                                                                     \
    "b\xc3\xbc"                                                                                    \
    "cher.example"

static void domain_is(const char *host, const char *domain)
{
    const struct http_request r = { .host = slice_of(host) };
    slice is = http_domain_of(&r);
    if (!slice_is(is, domain))
        fail_msg("%s is for '%.*s'", host, SLICE_ARG(is));
}

static void base_is(const char *host, const char *base)
{
    const struct http_request r = { .host = slice_of(host) };
    struct buf b;
    buf_init(&b, 1024);
    http_base_url(&r, &b);
    if (!slice_is(buf_slice(&b), base))
        fail_msg("%s is at '%.*s'", host, SLICE_ARG(buf_slice(&b)));
    buf_fini(&b);
}

static void set(const char *name, const char *value)
{
    struct why why;
    assert_int_equal(setting_set(setting_find(slice_of(name)), slice_of(value), &why), OK);
}

static int setup(void **state)
{
    (void)state;
    setting_register(&http_base);
    setting_add_domain(SLICE("one.example"));
    setting_add_domain(SLICE("two.example"));
    setting_add_domain(SLICE(BUCHER));
    http_add_domain(SLICE("one.example"), SLICE("one.example"));
    http_add_domain(SLICE("two.example"), SLICE("two.example"));
    http_add_domain(SLICE("two.example"), SLICE("two.example")); /* is there */
    http_add_domain(SLICE("rooms.two.example"), SLICE("rooms.two.example"));
    http_add_domain(SLICE(BUCHER), SLICE("xn--bcher-kva.example"));
    http_add_domain(SLICE("[2001:db8::1]"), SLICE("[2001:db8::1]"));
    return 0;
}

static void test_forms_of_a_host(void **state)
{
    static const char *const two[] = { "two.example",      "Two.Example",      "two.example.",
                                       "two.example:443",  "two.example:",     "TWO.example.:5280",
                                       "chat.two.example", "a.b.Two.example.", NULL };
    static const char *const none[] = { "",
                                        ".",
                                        ":",
                                        ":443",
                                        "example",
                                        "127.0.0.1",
                                        "[::1]",
                                        "nottwo.example",
                                        "two.example.other",
                                        "two.example..",
                                        NULL };
    (void)state;
    for (unsigned i = 0; two[i] != NULL; i++)
        domain_is(two[i], "two.example");
    for (unsigned i = 0; none[i] != NULL; i++)
        domain_is(none[i], "");
    domain_is("x.rooms.two.example", "rooms.two.example"); /* the nearest */
    domain_is("[2001:db8::1]", "[2001:db8::1]");
    domain_is("[2001:DB8::1]:443", "[2001:db8::1]");
    domain_is("xn--bcher-kva.example", BUCHER);
    domain_is("XN--Bcher-KVA.example.:443", BUCHER);
    domain_is("chat.xn--bcher-kva.example", BUCHER);
    domain_is(BUCHER ":443", BUCHER);
}

static void test_base_of_a_domain(void **state)
{
    (void)state;
    base_is("two.example:443", "http://two.example:443");
    set("http.base-url", "https://chat.example");
    set("http.base-url@two.example", "https://Pages.Example:8443/two/");
    set("http.base-url@" BUCHER, "https://books.one.example");
    base_is("one.example", "https://chat.example");
    base_is("elsewhere.example", "https://chat.example");
    base_is("Two.Example", "https://Pages.Example:8443/two");
    base_is("two.example.", "https://Pages.Example:8443/two");
    base_is("two.example:443", "https://Pages.Example:8443/two");
    base_is("xn--bcher-kva.example", "https://books.one.example");
    /* the host of the address itself, before the domain above it, but not before that very domain
     */
    base_is("pages.example.:80", "https://Pages.Example:8443/two");
    base_is("books.one.example", "https://books.one.example");
    set("http.base-url@two.example", "https://one.example");
    base_is("one.example", "https://chat.example");
    set("http.base-url@two.example", "https://chat.example/two"); /* the host is that of all */
    base_is("chat.example", "https://chat.example");
    base_is("two.example", "https://chat.example/two");
    set("http.base-url@two.example", " https://two.pages ");
    base_is("two.pages", "https://two.pages");
    set("http.base-url@two.example", "");
    base_is("two.example", "http://two.example");
    base_is("", "https://chat.example");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms_of_a_host),
        cmocka_unit_test(test_base_of_a_domain),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
