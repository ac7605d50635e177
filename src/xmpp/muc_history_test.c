#include "codec/xml_elem.h"
#include "xmpp/muc_history.h"
#include "xmpp/ns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { NOW_S = 1000000 };

static struct history_ask ask(const char *text)
{
    struct elem x;
    struct history_ask a;
    assert_true(elem_parse(&x, slice_of(text), SLICE(NS_CLIENT)));
    history_ask_read(&a, &x, NOW_S * UINT64_C(1000000));
    return a;
}
#define X(attributes) "<x xmlns='" NS_MUC "'><history " attributes "/></x>"

static void who_says_nothing_leaves_it_to_the_room(void **state)
{
    (void)state;
    struct history_ask a = ask("<x xmlns='" NS_MUC "'/>");
    assert_true(!a.many && a.stanzas == UINT32_MAX && a.chars == UINT64_MAX && a.since_us == 0);
    a = ask(X(""));
    assert_true(!a.many && a.stanzas == UINT32_MAX);
}

static void each_limit_is_read(void **state)
{
    (void)state;
    struct history_ask a = ask(X("maxchars='0'"));
    assert_true(!a.many && a.chars == 0);
    a = ask(X("maxstanzas='20'"));
    assert_true(a.many && a.stanzas == 20 && a.chars == UINT64_MAX);
    a = ask(X("maxstanzas='99999999999'"));
    assert_true(a.many && a.stanzas == UINT32_MAX);
    a = ask(X("seconds='180'"));
    assert_true(a.many && a.since_us == (NOW_S - 180) * UINT64_C(1000000));
    a = ask(X("since='1970-01-01T00:00:05Z'"));
    assert_true(a.many && a.since_us == 5000000);
}

static void the_later_time_counts(void **state)
{
    (void)state;
    struct history_ask a = ask(X("seconds='10' since='1970-01-01T00:00:05Z'"));
    assert_true(a.since_us == (NOW_S - 10) * UINT64_C(1000000));
    a = ask(X("seconds='999999999' since='1970-01-01T00:00:05Z'"));
    assert_true(a.since_us == 5000000);
}

static void what_makes_no_sense_is_not_said(void **state)
{
    (void)state;
    struct history_ask a =
        ask(X("maxchars='-1' maxstanzas='many' seconds='' since='1969-12-31T23:59:59'"));
    assert_true(!a.many && a.stanzas == UINT32_MAX && a.chars == UINT64_MAX && a.since_us == 0);
    a = ask(X("since='1969-12-31T23:59:59Z'"));
    assert_true(a.many && a.since_us == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_says_nothing_leaves_it_to_the_room),
        cmocka_unit_test(each_limit_is_read),
        cmocka_unit_test(the_later_time_counts),
        cmocka_unit_test(what_makes_no_sense_is_not_said),
    };
    return cmocka_run_group_tests_name("xmpp/muc_history", tests, NULL, NULL);
}
