#include "account/shared.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/test_dice.h"
#include <stdio.h>

enum { TABLES = 300, GROUPS_MOST = 12, NAMES = 4, PEOPLE = 5 };

static const slice jids[PEOPLE] = { SLICE_INIT("a@x"), SLICE_INIT("b@x"), SLICE_INIT("c@x"),
                                    SLICE_INIT("d@x"), SLICE_INIT("e@x") };

/* A group by name of the operator; its members see it. */
static void put_group(struct shared *t, uint32_t number, slice shown)
{
    char name[16];
    snprintf(name, sizeof name, "group-%u", number);
    shared_group_name(t, number, slice_of(name), shown);
    shared_group_show(t, number, number);
}

/* "A B": the names by which one sees the other. */
static slice names_of(const struct shared *t, slice viewer, slice member, struct arena *arena)
{
    const char *all = "";
    slice shown;
    const struct shared_person *v = shared_here(t, viewer), *m = shared_here(t, member);
    if (v == NULL || m == NULL)
        return SLICE("");
    for (struct shared_by by = { 0 }; shared_by_next(t, v, m, &by, &shown);)
        all = arena_printf(arena, "%s%s%.*s", all, *all == '\0' ? "" : " ", SLICE_ARG(shown));
    return slice_of(all);
}

static void a_name_of_many_groups_is_there_once(void **state)
{
    static const slice shown[] = { SLICE_INIT("A"), SLICE_INIT("B"), SLICE_INIT("A"),
                                   SLICE_INIT("A"), SLICE_INIT("B"), SLICE_INIT("C") };
    struct arena *arena = arena_create(0);
    struct shared *t = shared_create(6, 6);
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        put_group(t, i, shown[i]);
        shared_put(t, i, jids[0], (slice){ 0 });
        if (i != 0 && i != 5)
            shared_put(t, i, jids[1], (slice){ 0 });
        if (i == 3)
            shared_put(t, i, jids[2], (slice){ 0 });
    }
    shared_seal(t);
    assert_true(slice_is(names_of(t, jids[0], jids[1], arena), "B A"));
    assert_true(slice_is(names_of(t, jids[1], jids[0], arena), "B A"));
    assert_true(slice_is(names_of(t, jids[0], jids[2], arena), "A"));
    assert_true(slice_is(names_of(t, jids[1], jids[2], arena), "A"));
    assert_int_equal(names_of(t, jids[1], jids[3], arena).len, 0);
    shared_unref(&t);
    arena_destroy(&arena);
}

struct drawn {
    uint32_t groups;
    uint32_t name[GROUPS_MOST];
    bool has[GROUPS_MOST][PEOPLE];
};

static struct shared *draw(struct drawn *d)
{
    static const slice shown[NAMES] = { SLICE_INIT("A"), SLICE_INIT("B"), SLICE_INIT("C"),
                                        SLICE_INIT("D") };
    d->groups = 1 + test_dice(GROUPS_MOST);
    struct shared *t = shared_create(d->groups, d->groups);
    for (uint32_t i = 0; i < d->groups; i++) {
        d->name[i] = test_dice(NAMES);
        put_group(t, i, shown[d->name[i]]);
        for (uint32_t k = 0; k < PEOPLE; k++)
            if ((d->has[i][k] = test_dice(2) == 1))
                shared_put(t, i, jids[k], (slice){ 0 });
    }
    shared_seal(t);
    return t;
}

static slice expected(const struct drawn *d, uint32_t viewer, uint32_t member, struct arena *arena)
{
    const char *all = "";
    bool known[NAMES] = { 0 };
    for (uint32_t i = 0; i < d->groups; i++)
        if (d->has[i][viewer] && d->has[i][member] && !known[d->name[i]]) {
            known[d->name[i]] = true;
            all = arena_printf(arena, "%s%s%c", all, *all == '\0' ? "" : " ", "ABCD"[d->name[i]]);
        }
    return slice_of(all);
}

static void the_names_of_any_table(void **state)
{
    (void)state;
    for (int i = 0; i < TABLES; i++) {
        struct arena *arena = arena_create(0);
        struct drawn d;
        struct shared *t = draw(&d);
        for (uint32_t v = 0; v < PEOPLE; v++)
            for (uint32_t m = 0; m < PEOPLE; m++)
                if (v != m)
                    assert_true(
                        slice_eq(names_of(t, jids[v], jids[m], arena), expected(&d, v, m, arena)));
        shared_unref(&t);
        arena_destroy(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_of_many_groups_is_there_once),
        cmocka_unit_test(the_names_of_any_table),
    };
    return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
