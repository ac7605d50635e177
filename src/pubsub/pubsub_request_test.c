#include "base/arena.h"
#include "codec/xml_elem.h"
#include "pubsub/pubsub_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PS    "http://jabber.org/protocol/pubsub"
#define OWNER PS "#owner"

static struct arena *arena;

static int make_arena(void **state)
{
    (void)state;
    arena = arena_create(0);
    return 0;
}
static int drop_arena(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

static struct ps_request *parse(enum stanza_type type, const char *ns, const char *inner,
                                struct ps_error *e)
{
    struct ps_request *r = arena_new(arena, struct ps_request, 1);
    struct elem root;
    const char *xml = arena_printf(arena, "<pubsub xmlns='%s'>%s</pubsub>", ns, inner);
    assert_true(elem_parse(&root, slice_of(xml), SLICE("jabber:client")));
    return ps_request_parse(r, &root, type, arena, e) ? r : NULL;
}

static void test_verbs(void **state)
{
    static const struct {
        enum stanza_type type;
        const char *ns, *inner;
        enum ps_verb verb;
    } rows[] = {
        { TYPE_GET, PS, "<subscriptions/>", PS_SUBSCRIPTIONS },
        { TYPE_GET, PS, "<affiliations node='n'/>", PS_AFFILIATIONS_OF },
        { TYPE_GET, PS, "<items node='n'/>", PS_ITEMS },
        { TYPE_GET, PS, "<options node='n' jid='a@b'/>", PS_OPTIONS_GET },
        { TYPE_GET, PS, "<default/>", PS_OPTIONS_DEFAULT },
        { TYPE_SET, PS, "<subscribe node='n' jid='a@b'/>", PS_SUBSCRIBE },
        { TYPE_SET, PS, "<options/><subscribe node='n' jid='a@b'/>", PS_SUBSCRIBE },
        { TYPE_SET, PS, "<unsubscribe node='n' jid='a@b'/>", PS_UNSUBSCRIBE },
        { TYPE_SET, PS, "<publish node='n'><item/></publish>", PS_PUBLISH },
        { TYPE_SET, PS, "<retract node='n'><item id='1'/></retract>", PS_RETRACT },
        { TYPE_SET, PS, "<create/><configure/>", PS_CREATE },
        { TYPE_GET, OWNER, "<configure node='n'/>", PS_CONFIGURE_GET },
        { TYPE_GET, OWNER, "<default/>", PS_CONFIGURE_DEFAULT },
        { TYPE_SET, OWNER, "<delete node='n'/>", PS_DELETE },
        { TYPE_SET, OWNER, "<purge node='n'/>", PS_PURGE },
        { TYPE_GET, OWNER, "<subscriptions node='n'/>", PS_SUBSCRIBERS_GET },
        { TYPE_GET, OWNER, "<affiliations node='n'/>", PS_AFFILIATES_GET },
    };
    struct ps_error e;
    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ps_request *r = parse(rows[i].type, rows[i].ns, rows[i].inner, &e);
        if (r == NULL)
            fail_msg("%s: %s", rows[i].inner, stanza_error_name(e.error));
        assert_int_equal(r->verb, rows[i].verb);
    }
}

static void test_errors(void **state)
{
    static const struct {
        enum stanza_type type;
        const char *ns, *inner;
        enum stanza_error error;
        const char *condition;
    } rows[] = {
        { TYPE_SET, PS, "", SE_BAD_REQUEST, NULL },
        { TYPE_GET, PS, "<publish node='n'/>", SE_BAD_REQUEST, NULL },
        { TYPE_SET, PS, "<delete node='n'/>", SE_BAD_REQUEST, NULL },
        { TYPE_GET, PS, "<items/>", SE_BAD_REQUEST, "nodeid-required" },
        { TYPE_GET, PS, "<items node=''/>", SE_BAD_REQUEST, "nodeid-required" },
        { TYPE_GET, PS, "<items node='n' max_items='0'/>", SE_BAD_REQUEST, NULL },
        { TYPE_GET, PS, "<items node='n'><item/></items>", SE_BAD_REQUEST, "item-required" },
        { TYPE_SET, PS, "<subscribe node='n'/>", SE_BAD_REQUEST, "jid-required" },
        { TYPE_SET, PS, "<subscribe node='n' jid='@'/>", SE_BAD_REQUEST, "invalid-jid" },
        { TYPE_SET, PS, "<publish node='n'><item><a/><b/></item></publish>", SE_BAD_REQUEST,
          "invalid-payload" },
        { TYPE_SET, PS, "<publish node='n'><item/><item/></publish>", SE_BAD_REQUEST,
          "invalid-payload" },
        { TYPE_SET, PS, "<retract node='n'/>", SE_BAD_REQUEST, "item-required" },
        { TYPE_SET, PS, "<options node='n' jid='a@b'/>", SE_BAD_REQUEST, "invalid-options" },
        { TYPE_SET, OWNER, "<configure node='n'/>", SE_BAD_REQUEST, NULL },
        { TYPE_SET, OWNER, "<affiliations node='n'/>", SE_BAD_REQUEST, NULL },
        { TYPE_SET, OWNER,
          "<affiliations node='n'><affiliation jid='a@b' affiliation='x'/></affiliations>",
          SE_BAD_REQUEST, NULL },
        { TYPE_SET, OWNER,
          "<subscriptions node='n'><subscription subscription='none'/></subscriptions>",
          SE_BAD_REQUEST, "jid-required" },
    };
    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ps_error e;
        if (parse(rows[i].type, rows[i].ns, rows[i].inner, &e) != NULL)
            fail_msg("%s was taken", rows[i].inner);
        assert_int_equal(e.error, rows[i].error);
        if (rows[i].condition != NULL)
            assert_string_equal(e.condition, rows[i].condition);
    }
}

static void test_what_is_read(void **state)
{
    struct ps_error e;
    (void)state;
    struct ps_request *r =
        parse(TYPE_SET, PS,
              "<publish node='a&amp;b'><item id='1&lt;'><p:e xmlns:p='urn:e'>t</p:e></item>"
              "</publish>",
              &e);
    assert_non_null(r);
    assert_true(slice_is(r->node, "a&b") && slice_is(r->item_id, "1<"));
    assert_non_null(memmem(r->payload.ptr, r->payload.len, "xmlns:p='urn:e'", 15));
    r = parse(TYPE_SET, OWNER,
              "<affiliations node='n'><affiliation jid='A@b/r' affiliation='owner'/>"
              "<affiliation jid='c@d' affiliation='outcast'/></affiliations>",
              &e);
    assert_non_null(r);
    assert_int_equal(r->change_count, 2);
    assert_true(slice_is(jid_bare(&r->changes[0].jid), "a@b"));
    assert_int_equal(r->changes[1].affiliation, PS_OUTCAST);
    r = parse(TYPE_GET, PS,
              "<items node='n' max_items='3'><item id='x'/><item id='y'/></items>"
              "<set xmlns='http://jabber.org/protocol/rsm'><max>2</max></set>",
              &e);
    assert_non_null(r);
    assert_true(r->has_page && r->page.max == 2 && r->max_items == 3 && r->id_count == 2);
    r = parse(TYPE_SET, PS, "<retract node='n' notify='1'><item id='x'/></retract>", &e);
    assert_true(r != NULL && r->notify);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_verbs, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_errors, make_arena, drop_arena),
        cmocka_unit_test_setup_teardown(test_what_is_read, make_arena, drop_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
