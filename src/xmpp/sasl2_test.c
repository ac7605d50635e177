#include "base/arena.h"
#include "xmpp/ns.h"
#include "xmpp/sasl2.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */

static struct arena *tmp;
static struct sasl2_refusal why;

static enum err read_into(struct sasl2_request *r, struct elem *e, const char *text)
{
    assert_true(elem_parse(e, slice_of(text), SLICE(NS_CLIENT)));
    return sasl2_read(r, e, tmp, &why);
}

static void reads_all_there_is(void **state)
{
    struct sasl2_request r;
    struct elem e;
    char id[DEVICE_ID_TEXT];
    (void)state;
    assert_int_equal(
        read_into(&r, &e,
                  "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-ENDP'>"
                  "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>"
                  "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>"
                  "<initial-response>AA==</initial-response>"
                  "<user-agent id='D4565FA7-4d72-4749-b3d3-740edbf87770'>"
                  "<software>AwesomeXMPP</software><device>Kiva's Phone</device></user-agent>"
                  "<b:bind xmlns:b='urn:xmpp:bind:0'><b:tag>T&amp;g</b:tag></b:bind>"
                  "<resume xmlns='urn:xmpp:sm:3' previd='some' h='4294967295'/>"
                  "<fast xmlns='urn:xmpp:fast:0' count='123' invalidate='true'/>"
                  "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"
                  "<unknown xmlns='urn:example'/></authenticate>"),
        OK);
    assert_true(slice_is(r.mechanism, "HT-SHA-256-ENDP"));
    assert_true(r.has_initial && slice_is(r.initial, "AA=="));
    assert_true(r.agent.has_id && slice_is(r.agent.software, "AwesomeXMPP"));
    assert_true(slice_is(r.agent.device, "Kiva's Phone"));
    device_id_format(id, r.agent.id);
    assert_string_equal(id, "d4565fa7-4d72-4749-b3d3-740edbf87770");
    assert_true(r.bind && slice_is(r.tag, "T&g"));
    assert_true(r.resume && !r.resume_bad && r.h == UINT32_MAX && slice_is(r.previd, "some"));
    assert_true(r.fast && r.has_count && r.count == 123 && r.invalidate);
    assert_true(r.wants_token && r.token_mech == SASL_HT_SHA_256_NONE);
    assert_int_equal(r.upgrades, 1u << SCRAM_SHA_256 | 1u << SCRAM_SHA_512);
}

static void reads_the_least_there_is(void **state)
{
    struct sasl2_request r;
    struct elem e;
    (void)state;
    assert_int_equal(read_into(&r, &e, "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>"),
                     OK);
    assert_false(r.has_initial || r.agent.has_id || r.bind || r.resume || r.fast || r.wants_token);
    assert_int_equal(r.upgrades, 0);
}

static void refuses_what_is_wrong(void **state)
{
    static const char *const texts[] = {
        "<a xmlns='urn:xmpp:sasl:2'/>",
        "<a xmlns='urn:xmpp:sasl:2' mechanism=''/>",
        "<a xmlns='urn:xmpp:sasl:2' mechanism='X'><user-agent id=''/></a>",
        "<a xmlns='urn:xmpp:sasl:2' mechanism='X'><user-agent "
        "id='00000000-0000-0000-0000-000000000000'/></a>",
        "<a xmlns='urn:xmpp:sasl:2' mechanism='X'><user-agent "
        "id='d4565fa7-4d72-4749-b3d3-740edbf8777g'/></a>",
        "<a xmlns='urn:xmpp:sasl:2' mechanism='X'><user-agent "
        "id='d4565fa74d724749b3d3740edbf87770'/></a>",
        "<a xmlns='urn:xmpp:sasl:2' mechanism='X'><user-agent/><user-agent/></a>",
        "<a xmlns='urn:xmpp:sasl:2' mechanism='X'><fast xmlns='urn:xmpp:fast:0' count='-1'/></a>",
        "<a xmlns='urn:xmpp:sasl:2' mechanism='X'><fast xmlns='urn:xmpp:fast:0' count='x'/></a>",
        "<a xmlns='urn:xmpp:sasl:2' mechanism='X'><fast xmlns='urn:xmpp:fast:0' "
        "count='9223372036854775808'/></a>",
        "<a xmlns='urn:xmpp:sasl:2' mechanism='X'><request-token xmlns='urn:xmpp:fast:0'/></a>",
        "<a xmlns='urn:xmpp:sasl:2' mechanism='X'><request-token xmlns='urn:xmpp:fast:0' "
        "mechanism='PLAIN'/></a>",
        "<a xmlns='urn:xmpp:sasl:2' mechanism='X'><upgrade "
        "xmlns='urn:xmpp:sasl:upgrade:0'>SCRAM-SHA-256</upgrade></a>",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct sasl2_request r;
        struct elem e;
        assert_int_equal(read_into(&r, &e, texts[i]), E_SYNTAX);
        assert_int_equal(why.failure, SASL_MALFORMED_REQUEST);
        assert_non_null(why.text);
    }
}

static int open_arena(void **state)
{
    (void)state;
    tmp = arena_create(0);
    return 0;
}
static int close_arena(void **state)
{
    (void)state;
    arena_destroy(&tmp);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_there_is),
        cmocka_unit_test(reads_the_least_there_is),
        cmocka_unit_test(refuses_what_is_wrong),
    };
    return cmocka_run_group_tests_name("sasl2", tests, open_arena, close_arena);
}
