#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "xmpp/ns.h"
#include "xmpp/rsm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_create(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

static bool parse_query(struct rsm *r, const char *query, const char **why)
{
    struct elem e;
    assert_true(elem_parse(&e, slice_of(query), SLICE("")));
    return rsm_parse(r, &e, arena, why);
}

static bool parse(struct rsm *r, const char *inner)
{
    const char *why;
    char *text = arena_printf(arena, "<query><set xmlns='" NS_RSM "'>%s</set></query>", inner);
    bool right = parse_query(r, text, &why);
    assert_true(right == (why == NULL));
    return right;
}

static void reads_each_place(void **state)
{
    (void)state;
    struct rsm r;
    const char *why;
    assert_true(parse_query(&r, "<query/>", &why));
    assert_true(r.place == RSM_FIRST && r.max == UINT32_MAX);
    assert_true(parse(&r, "<max>10</max>"));
    assert_true(r.place == RSM_FIRST && r.max == 10);
    assert_true(parse(&r, "<max>0</max><after>a&amp;b</after>"));
    assert_true(r.place == RSM_AFTER && r.max == 0 && slice_is(r.id, "a&b"));
    assert_true(parse(&r, "<before>x</before>"));
    assert_true(r.place == RSM_BEFORE && slice_is(r.id, "x"));
    assert_true(parse(&r, "<before/><max>3</max>"));
    assert_true(r.place == RSM_LAST && r.max == 3);
    assert_true(parse(&r, "<after/>"));
    assert_true(r.place == RSM_FIRST);
    assert_true(parse(&r, "<index>371</index><unknown/>"));
    assert_true(r.place == RSM_INDEX && r.index == 371);
}

static void refuses_what_is_malformed(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "<max/>",
        "<max>-1</max>",
        "<max>ten</max>",
        "<max>4294967295</max>",
        "<index>x</index>",
        "<before>a</before><after>b</after>",
        "<index>1</index><before/>",
    };
    struct rsm r;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (parse(&r, wrong[i]))
            fail_msg("taken: %s", wrong[i]);
    }
    char id[RSM_ID_MAX + 2];
    memset(id, 'x', sizeof id - 1);
    id[sizeof id - 1] = 0;
    assert_false(parse(&r, arena_printf(arena, "<after>%s</after>", id)));
    assert_true(parse(&r, arena_printf(arena, "<after>%s</after>", id + 1)));
}

static void finds_the_window(void **state)
{
    (void)state;
    static const struct {
        struct rsm r;
        size_t at, max, from, len;
        bool found;
    } row[] = {
        { { RSM_FIRST, .max = UINT32_MAX }, 0, 100, 0, 10, true },
        { { RSM_FIRST, .max = 3 }, 0, 100, 0, 3, true },
        { { RSM_FIRST, .max = 0 }, 0, 100, 0, 0, true },
        { { RSM_FIRST, .max = 50 }, 0, 4, 0, 4, true },
        { { RSM_AFTER, .max = 3 }, 2, 100, 3, 3, true },
        { { RSM_AFTER, .max = 3 }, 9, 100, 10, 0, true },
        { { RSM_AFTER, .max = 3 }, 10, 100, 0, 0, false },
        { { RSM_BEFORE, .max = 3 }, 5, 100, 2, 3, true },
        { { RSM_BEFORE, .max = 3 }, 1, 100, 0, 1, true },
        { { RSM_BEFORE, .max = 3 }, 0, 100, 0, 0, true },
        { { RSM_BEFORE, .max = 3 }, SIZE_MAX, 100, 0, 0, false },
        { { RSM_LAST, .max = 4 }, 0, 100, 6, 4, true },
        { { RSM_LAST, .max = 40 }, 0, 100, 0, 10, true },
        { { RSM_INDEX, .index = 8, .max = 4 }, 0, 100, 8, 2, true },
        { { RSM_INDEX, .index = 11, .max = 4 }, 0, 100, 10, 0, true },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        size_t from = 0, len = 0;
        bool found = rsm_window(&row[i].r, 10, row[i].at, row[i].max, &from, &len);
        if (found != row[i].found || from != row[i].from || len != row[i].len)
            fail_msg("row %zu: %d %zu %zu", i, found, from, len);
    }
}

static void assert_written(const struct rsm_page *page, const char *expected)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    rsm_write(&x, page);
    if (!slice_is(buf_slice(&out), expected))
        fail_msg("%.*s", SLICE_ARG(out));
    buf_fini(&out);
}

static void writes_the_answer(void **state)
{
    (void)state;
    assert_written(&(struct rsm_page){ SLICE("a<"), SLICE("b"), 0, 800 },
                   "<set xmlns='" NS_RSM "'><first index='0'>a&lt;</first><last>b</last>"
                   "<count>800</count></set>");
    assert_written(&(struct rsm_page){ SLICE("a"), SLICE("a"), -1, -1 },
                   "<set xmlns='" NS_RSM "'><first>a</first><last>a</last></set>");
    assert_written(&(struct rsm_page){ .index = -1, .count = 0 },
                   "<set xmlns='" NS_RSM "'><count>0</count></set>");
    assert_written(&(struct rsm_page){ .index = -1, .count = -1 }, "<set xmlns='" NS_RSM "'/>");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(reads_each_place),
        T(refuses_what_is_malformed),
        T(finds_the_window),
        T(writes_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
