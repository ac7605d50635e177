#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "im/contact_name.h"

#define BOB SLICE("bob@b.test")

static void put(struct roster *r, enum sub_state state, unsigned flags)
{
    struct roster_delta d = roster_edit(r, BOB);
    d.state = (uint8_t)state;
    d.flags = (uint8_t)(ROSTER_LISTED | flags);
    roster_seal(r, &d, ROSTER_SHOWN);
    roster_apply(r, &d);
}

static void test_the_name_of_each_direction(void **state)
{
    enum { SEEN = ROSTER_SEEN_BY_MAIL, ASKED = ROSTER_ASKED_BY_MAIL };
    static const struct {
        enum sub_state state;
        unsigned flags;
        enum stanza_named seen, asked;
    } each[] = {
        { SUB_NONE, SEEN | ASKED, NAMED_USUAL, NAMED_USUAL },
        { SUB_NONE_PENDING_OUT, SEEN, NAMED_ACCOUNT, NAMED_ACCOUNT },
        { SUB_NONE_PENDING_OUT, ASKED, NAMED_MAIL, NAMED_MAIL },
        { SUB_NONE_PENDING_IN, SEEN, NAMED_MAIL, NAMED_MAIL },
        { SUB_NONE_PENDING_OUT_IN, SEEN, NAMED_MAIL, NAMED_ACCOUNT },
        { SUB_TO, 0, NAMED_ACCOUNT, NAMED_ACCOUNT },
        { SUB_TO_PENDING_IN, ASKED, NAMED_ACCOUNT, NAMED_MAIL },
        { SUB_FROM, ASKED, NAMED_ACCOUNT, NAMED_ACCOUNT },
        { SUB_FROM_PENDING_OUT, ASKED, NAMED_ACCOUNT, NAMED_MAIL },
        { SUB_BOTH, SEEN, NAMED_MAIL, NAMED_ACCOUNT },
        { SUB_BOTH, SEEN | ASKED, NAMED_MAIL, NAMED_MAIL },
    };
    struct roster r;
    (void)state;
    assert_int_equal(contact_name(NULL, BOB, CONTACT_SEES), NAMED_USUAL);
    roster_init(&r);
    assert_int_equal(contact_name(&r, BOB, CONTACT_SEES), NAMED_USUAL);
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        put(&r, each[i].state, each[i].flags);
        assert_int_equal(contact_name(&r, BOB, CONTACT_SEES), each[i].seen);
        assert_int_equal(contact_name(&r, BOB, CONTACT_SEEN), each[i].asked);
    }
    roster_fini(&r);
}

static void test_stanzas_have_a_direction(void **state)
{
    static const struct {
        enum stanza_kind kind;
        enum stanza_type type;
        enum stanza_named named;
    } each[] = {
        { STANZA_PRESENCE, TYPE_SUBSCRIBE, NAMED_MAIL },
        { STANZA_PRESENCE, TYPE_UNSUBSCRIBE, NAMED_MAIL },
        { STANZA_PRESENCE, TYPE_PROBE, NAMED_MAIL },
        { STANZA_PRESENCE, TYPE_SUBSCRIBED, NAMED_ACCOUNT },
        { STANZA_PRESENCE, TYPE_UNSUBSCRIBED, NAMED_ACCOUNT },
        { STANZA_PRESENCE, TYPE_AVAILABLE, NAMED_ACCOUNT },
        { STANZA_PRESENCE, TYPE_UNAVAILABLE, NAMED_ACCOUNT },
        { STANZA_MESSAGE, TYPE_CHAT, NAMED_ACCOUNT },
        { STANZA_IQ, TYPE_GET, NAMED_ACCOUNT },
    };
    struct roster r;
    (void)state;
    roster_init(&r);
    put(&r, SUB_BOTH, ROSTER_ASKED_BY_MAIL);
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        struct stanza *st = stanza_make(each[i].kind, each[i].type, SLICE("a@a.test"),
                                        SLICE("bob@b.test/r"), (slice){ 0 }, (slice){ 0 });
        assert_int_equal(contact_name_of(&r, st), each[i].named);
        stanza_unref(&st);
    }
    roster_fini(&r);
}

static void test_words_to_another_name(void **state)
{
    struct roster r;
    struct stanza *st = stanza_make(STANZA_PRESENCE, TYPE_PROBE, SLICE("bob@b.test/r"),
                                    SLICE("a@a.test"), (slice){ 0 }, (slice){ 0 });
    (void)state;
    roster_init(&r);
    st->named = NAMED_ACCOUNT;
    assert_false(contact_name_is_other(&r, st, CONTACT_SEES)); /* of a stranger */
    put(&r, SUB_FROM, ROSTER_SEEN_BY_MAIL);
    assert_true(contact_name_is_other(&r, st, CONTACT_SEES));
    assert_false(contact_name_is_other(&r, st, CONTACT_SEEN)); /* nothing was asked */
    st->named = NAMED_MAIL;
    assert_false(contact_name_is_other(&r, st, CONTACT_SEES));
    put(&r, SUB_FROM, 0);
    assert_true(contact_name_is_other(&r, st, CONTACT_SEES));
    st->named = NAMED_USUAL; /* it has one name only */
    assert_false(contact_name_is_other(&r, st, CONTACT_SEES));
    stanza_unref(&st);
    roster_fini(&r);
}

static void test_what_the_contact_has_asked_for_is_noted(void **state)
{
    struct roster_delta d = { .jid = BOB, .state = SUB_FROM };
    (void)state;
    contact_name_asked_by_it(&d, NAMED_USUAL);
    assert_int_equal(d.flags, 0);
    contact_name_asked_by_it(&d, NAMED_MAIL);
    contact_name_fit(&d);
    assert_int_equal(d.flags, ROSTER_SEEN_BY_MAIL);
    contact_name_asked_by_it(&d, NAMED_USUAL);
    assert_int_equal(d.flags, ROSTER_SEEN_BY_MAIL);
    contact_name_asked_by_it(&d, NAMED_ACCOUNT);
    assert_int_equal(d.flags, 0);
    d.flags = ROSTER_LISTED | ROSTER_SEEN_BY_MAIL | ROSTER_ASKED_BY_MAIL;
    contact_name_fit(&d);
    assert_int_equal(d.flags, ROSTER_LISTED | ROSTER_SEEN_BY_MAIL);
    d.state = SUB_NONE;
    contact_name_fit(&d);
    assert_int_equal(d.flags, ROSTER_LISTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_name_of_each_direction),
        cmocka_unit_test(test_stanzas_have_a_direction),
        cmocka_unit_test(test_words_to_another_name),
        cmocka_unit_test(test_what_the_contact_has_asked_for_is_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
