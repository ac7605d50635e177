/* The rules of an account as deltas: the same deltas give the same state (architecture §3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/test_dice.h"
#include "ext/privacy/privacy.h"
#include "ext/privacy/privacy_state.h"

enum { STEPS = 20000, LISTS = 4, RULES = 6 };

static const slice names[LISTS] = { SLICE_INIT(""), SLICE_INIT("a"), SLICE_INIT("b"),
                                    SLICE_INIT(PRIVACY_BLOCKLIST) };

static struct rule random_rule(struct arena *tmp)
{
    static const char *const subscriptions[] = { "none", "to", "from", "both" };
    struct rule r = { .order = (int64_t)test_dice(20) - 10,
                      .type = (uint8_t)test_dice(RULE_SUBSCRIPTION + 1),
                      .action = (uint8_t)test_dice(RULE_ASK + 1),
                      .kinds = (uint8_t)(1 + test_dice(RULE_ALL)) };
    if (r.type == RULE_JID)
        r.value =
            slice_of(arena_printf(tmp, "%s%u.example", test_dice(2) ? "a@" : "", test_dice(5)));
    else if (r.type == RULE_GROUP)
        r.value = slice_of(arena_printf(tmp, "group %u", test_dice(3)));
    else if (r.type == RULE_SUBSCRIPTION)
        r.value = slice_of(subscriptions[test_dice(4)]);
    return r;
}

static struct privacy_delta random_delta(const struct privacy *p, struct arena *tmp)
{
    struct privacy_delta d = { .op = (enum privacy_op)test_dice(PRIVACY_POLICY + 1),
                               .list = names[test_dice(LISTS)],
                               .share = (uint8_t)test_dice(SHARE_COUNT),
                               .others = (uint8_t)test_dice(OTHERS_COUNT) };
    struct rule *rules = arena_new(tmp, struct rule, RULES);
    d.rules = rules;
    d.count = test_dice(RULES);
    for (uint32_t i = 0; i < d.count; i++)
        rules[i] = random_rule(tmp);
    if (d.op == PRIVACY_DEFAULT && privacy_list(p, d.list) == NULL)
        d.list = (slice){ 0 };
    return d;
}

static void apply(struct privacy *p, const struct privacy_delta *d)
{
    struct rules *gone = privacy_apply(p, d);
    if (gone != NULL)
        assert_int_equal(rules_count(gone), 0);
    rules_destroy(&gone);
}

static void assert_same_rules(const struct rules *a, const struct rules *b)
{
    assert_int_equal(rules_count(a), rules_count(b));
    for (uint32_t i = 0; i < rules_count(a); i++) {
        struct rule x = rules_at(a, i), y = rules_at(b, i);
        assert_int_equal(x.order, y.order);
        assert_int_equal(x.type, y.type);
        assert_int_equal(x.action, y.action);
        assert_int_equal(x.kinds, y.kinds);
        assert_true(slice_eq(x.value, y.value));
    }
}

static void assert_same(const struct privacy *a, const struct privacy *b)
{
    assert_int_equal(a->share, b->share);
    assert_int_equal(a->others, b->others);
    assert_int_equal(privacy_lists(a), privacy_lists(b));
    assert_int_equal(privacy_rules(a), privacy_rules(b));
    assert_int_equal(a->standard == NULL, b->standard == NULL);
    if (a->standard != NULL)
        assert_true(slice_eq(rules_name(a->standard), rules_name(b->standard)));
    for (unsigned i = 0; i < LISTS; i++)
        assert_same_rules(privacy_list(a, names[i]), privacy_list(b, names[i]));
}

/* What must hold after every delta. */
static void check(const struct privacy *p)
{
    bool found = p->standard == NULL;
    for (const struct rules *r = p->lists; r != NULL; r = r->next) {
        assert_true(rules_count(r) > 0 && r->name_len > 0);
        found = found || r == p->standard;
    }
    assert_true(found);
    assert_true(p->policy == NULL || rules_count(p->policy) > 0);
}

static void test_replay(void **state)
{
    struct privacy one = { 0 }, other = { 0 };
    (void)state;
    for (int i = 0; i < STEPS; i++) {
        struct arena *tmp = arena_create(0);
        struct privacy_delta d = random_delta(&one, tmp);
        apply(&one, &d);
        apply(&other, &d);
        check(&one);
        if (i % 100 == 0)
            assert_same(&one, &other);
        arena_destroy(&tmp);
    }
    assert_same(&one, &other);
    privacy_fini(&one);
    privacy_fini(&other);
}

/* A delta that comes twice, as after a lost connection to the database, changes nothing more. */
static void test_repeated(void **state)
{
    struct privacy one = { 0 }, other = { 0 };
    (void)state;
    for (int i = 0; i < STEPS / 10; i++) {
        struct arena *tmp = arena_create(0);
        struct privacy_delta d = random_delta(&one, tmp);
        apply(&one, &d);
        apply(&other, &d);
        apply(&other, &d);
        assert_same(&one, &other);
        arena_destroy(&tmp);
    }
    privacy_fini(&one);
    privacy_fini(&other);
}

/* The state as rows, one rule at a time, in any order: what loading an account does. */
static void test_from_rows(void **state)
{
    struct privacy one = { 0 }, other = { 0 };
    (void)state;
    struct arena *tmp = arena_create(0);
    for (int i = 0; i < 200; i++) {
        struct privacy_delta d = random_delta(&one, tmp);
        apply(&one, &d);
    }
    for (unsigned l = LISTS; l > 0; l--) {
        const struct rules *r = privacy_list(&one, names[l - 1]);
        for (uint32_t i = rules_count(r); i > 0; i--) {
            struct rule rule = rules_at(r, i - 1);
            apply(&other,
                  &(struct privacy_delta){
                      .op = PRIVACY_ADD, .list = names[l - 1], .rules = &rule, .count = 1 });
        }
    }
    slice standard = one.standard == NULL ? (slice){ 0 } : rules_name(one.standard);
    apply(&other, &(struct privacy_delta){ .op = PRIVACY_DEFAULT, .list = standard });
    apply(&other, &(struct privacy_delta){
                      .op = PRIVACY_POLICY, .share = one.share, .others = one.others });
    assert_same(&one, &other);
    arena_destroy(&tmp);
    privacy_fini(&one);
    privacy_fini(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_repeated),
        cmocka_unit_test(test_from_rows),
    };
    return cmocka_run_group_tests_name("privacy", tests, NULL, NULL);
}
