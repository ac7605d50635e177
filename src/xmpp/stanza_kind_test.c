#include "xmpp/stanza_kind.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */

static const slice absent = { NULL, 0 };

static void knows_the_types_of_each_kind(void **state)
{
    (void)state;
    static const struct {
        enum stanza_kind kind;
        const char *name;
        enum stanza_type type;
    } rows[] = {
        { STANZA_MESSAGE, "chat", TYPE_CHAT },
        { STANZA_MESSAGE, "groupchat", TYPE_GROUPCHAT },
        { STANZA_MESSAGE, "headline", TYPE_HEADLINE },
        { STANZA_MESSAGE, "error", TYPE_ERROR },
        { STANZA_PRESENCE, "unavailable", TYPE_UNAVAILABLE },
        { STANZA_PRESENCE, "probe", TYPE_PROBE },
        { STANZA_PRESENCE, "subscribe", TYPE_SUBSCRIBE },
        { STANZA_PRESENCE, "subscribed", TYPE_SUBSCRIBED },
        { STANZA_PRESENCE, "unsubscribe", TYPE_UNSUBSCRIBE },
        { STANZA_PRESENCE, "unsubscribed", TYPE_UNSUBSCRIBED },
        { STANZA_PRESENCE, "error", TYPE_ERROR },
        { STANZA_IQ, "get", TYPE_GET },
        { STANZA_IQ, "set", TYPE_SET },
        { STANZA_IQ, "result", TYPE_RESULT },
        { STANZA_IQ, "error", TYPE_ERROR },
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(stanza_type_of(rows[i].kind, slice_of(rows[i].name)), rows[i].type);
        assert_string_equal(stanza_type_name(rows[i].type), rows[i].name);
    }
}

static void falls_back_as_the_rfc_says(void **state)
{
    (void)state;
    assert_int_equal(stanza_type_of(STANZA_MESSAGE, absent), TYPE_NORMAL);
    assert_int_equal(stanza_type_of(STANZA_MESSAGE, SLICE("normal")), TYPE_NORMAL);
    assert_int_equal(stanza_type_of(STANZA_MESSAGE, SLICE("get")), TYPE_NORMAL);
    assert_int_equal(stanza_type_of(STANZA_MESSAGE, SLICE("")), TYPE_NORMAL);
    assert_int_equal(stanza_type_of(STANZA_PRESENCE, absent), TYPE_AVAILABLE);
    assert_int_equal(stanza_type_of(STANZA_PRESENCE, SLICE("available")), TYPE_INVALID);
    assert_int_equal(stanza_type_of(STANZA_PRESENCE, SLICE("chat")), TYPE_INVALID);
    assert_int_equal(stanza_type_of(STANZA_IQ, absent), TYPE_INVALID);
    assert_int_equal(stanza_type_of(STANZA_IQ, SLICE("")), TYPE_INVALID);
    assert_int_equal(stanza_type_of(STANZA_IQ, SLICE("chat")), TYPE_INVALID);
    assert_null(stanza_type_name(TYPE_NORMAL));
    assert_null(stanza_type_name(TYPE_AVAILABLE));
    assert_string_equal(stanza_kind_name(STANZA_IQ), "iq");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_types_of_each_kind),
        cmocka_unit_test(falls_back_as_the_rfc_says),
    };
    return cmocka_run_group_tests_name("stanza_kind", tests, NULL, NULL);
}
