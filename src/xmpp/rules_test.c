#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "xmpp/rules.h"
#include <stdio.h>

/* One row: rules in their order, who, what; and the order of the rule that decides (0: none). */
struct row {
    const char *rules[5]; /* "type value action kinds" */
    const char *jid;
    enum rule_kind kind;
    int64_t decides;
};

static const char tybalt[] = "tybalt@example.com", pda[] = "tybalt@example.com/pda";

static const struct row rows[] = {
    /* XEP-0016 §2.1: which addresses a JID stands for */
    { { "jid tybalt@example.com/pda deny a" }, pda, RULE_MESSAGE, 1 },
    { { "jid tybalt@example.com/pda deny a" }, tybalt, RULE_MESSAGE, 0 },
    { { "jid tybalt@example.com/pda deny a" }, "tybalt@example.com/home", RULE_MESSAGE, 0 },
    { { "jid tybalt@example.com deny a" }, pda, RULE_MESSAGE, 1 },
    { { "jid tybalt@example.com deny a" }, tybalt, RULE_MESSAGE, 1 },
    { { "jid tybalt@example.com deny a" }, "tybalt@example.org", RULE_MESSAGE, 0 },
    { { "jid example.com/gate deny a" }, "example.com/gate", RULE_MESSAGE, 1 },
    { { "jid example.com/gate deny a" }, "example.com", RULE_MESSAGE, 0 },
    { { "jid example.com/gate deny a" }, "tybalt@example.com/gate", RULE_MESSAGE, 0 },
    { { "jid example.com deny a" }, "example.com", RULE_MESSAGE, 1 },
    { { "jid example.com deny a" }, "example.com/gate", RULE_MESSAGE, 1 },
    { { "jid example.com deny a" }, pda, RULE_MESSAGE, 1 },
    { { "jid example.com deny a" }, "room@chat.example.com/nick", RULE_MESSAGE, 1 },
    { { "jid example.com deny a" }, "tybalt@badexample.com", RULE_MESSAGE, 0 },
    { { "jid com deny a" }, pda, RULE_MESSAGE, 1 },
    { { "jid com deny a" }, "com@example.org", RULE_MESSAGE, 0 },
    /* kinds */
    { { "jid tybalt@example.com deny m" }, tybalt, RULE_MESSAGE, 1 },
    { { "jid tybalt@example.com deny m" }, tybalt, RULE_IQ, 0 },
    { { "jid tybalt@example.com deny i" }, tybalt, RULE_IQ, 1 },
    { { "jid tybalt@example.com deny p" }, tybalt, RULE_PRESENCE_IN, 1 },
    { { "jid tybalt@example.com deny p" }, tybalt, RULE_PRESENCE_OUT, 0 },
    { { "jid tybalt@example.com deny o" }, tybalt, RULE_PRESENCE_OUT, 1 },
    { { "jid tybalt@example.com deny mipo" }, tybalt, RULE_REST, 0 },
    { { "jid tybalt@example.com deny a" }, tybalt, RULE_REST, 1 },
    /* order decides, whatever is more exact */
    { { "jid example.com allow a", "jid tybalt@example.com deny a" }, pda, RULE_MESSAGE, 1 },
    { { "jid tybalt@example.com deny a", "jid example.com allow a" }, pda, RULE_MESSAGE, 1 },
    { { "jid tybalt@example.com allow m", "jid tybalt@example.com deny a" }, pda, RULE_MESSAGE, 1 },
    { { "jid tybalt@example.com allow m", "jid tybalt@example.com deny a" }, pda, RULE_IQ, 2 },
    { { "any - allow m", "jid tybalt@example.com deny a" }, pda, RULE_MESSAGE, 1 },
    { { "any - allow m", "jid tybalt@example.com deny a" }, pda, RULE_IQ, 2 },
    { { "jid other@example.com deny a", "any - deny a" }, pda, RULE_IQ, 2 },
    /* groups and subscriptions; the peer is in Enemies and Work, with `from` */
    { { "group Enemies deny a" }, pda, RULE_MESSAGE, 1 },
    { { "group Work deny m" }, pda, RULE_MESSAGE, 1 },
    { { "group Work deny m" }, pda, RULE_IQ, 0 },
    { { "group Wor deny a" }, pda, RULE_MESSAGE, 0 },
    { { "sub from deny a" }, pda, RULE_MESSAGE, 1 },
    { { "sub both deny a" }, pda, RULE_MESSAGE, 0 },
    { { "sub none deny a", "group Work allow a", "any - deny a" }, pda, RULE_MESSAGE, 2 },
    { { "group Work allow p", "sub from allow i", "any - deny a" }, pda, RULE_MESSAGE, 3 },
    { { "any - deny o" }, pda, RULE_PRESENCE_OUT, 1 },
    { { "any - deny o" }, pda, RULE_PRESENCE_IN, 0 },
};

static uint8_t kinds_of(const char *text)
{
    unsigned kinds = 0;
    for (; *text != '\0'; text++)
        kinds |= *text == 'a'   ? RULE_ALL
                 : *text == 'm' ? RULE_MESSAGE
                 : *text == 'i' ? RULE_IQ
                 : *text == 'p' ? RULE_PRESENCE_IN
                                : RULE_PRESENCE_OUT;
    return (uint8_t)kinds;
}

static struct rule parse(const char *text, int64_t order)
{
    slice type = { 0 }, value = type, action = type, kinds = type, rest = slice_of(text);
    assert_true(slice_cut(rest, ' ', &type, &rest) && slice_cut(rest, ' ', &value, &rest) &&
                slice_cut(rest, ' ', &action, &kinds));
    struct rule r = { .order = order,
                      .action = slice_is(action, "deny") ? RULE_DENY : RULE_ALLOW,
                      .kinds = kinds_of(kinds.ptr),
                      .value = value };
    r.type = slice_is(type, "jid")     ? RULE_JID
             : slice_is(type, "group") ? RULE_GROUP
             : slice_is(type, "sub")   ? RULE_SUBSCRIPTION
                                       : RULE_EVERYONE;
    if (r.type == RULE_EVERYONE)
        r.value = (slice){ 0 };
    return r;
}

static struct rule_peer peer_of(const char *jid)
{
    static const char groups[] = "Enemies\0Work"; /* the last NUL is the literal's */
    return (struct rule_peer){ slice_of(jid), { groups, sizeof groups }, SLICE("from") };
}

static void check_row(const struct row *row, size_t at)
{
    struct rules *r = rules_create(SLICE("list"));
    struct rule_peer peer = peer_of(row->jid);
    struct rule found = { 0 };
    uint32_t n = 0;
    while (n < 5 && row->rules[n] != NULL)
        n++;
    for (uint32_t i = n; i > 0; i--) { /* whatever the order they come in */
        struct rule rule = parse(row->rules[i - 1], i);
        rules_put(r, &rule);
    }
    bool any = rules_match(r, &peer, row->kind, &found);
    if ((any ? found.order : 0) != row->decides)
        fail_msg("row %zu (%s ...): rule %lld decides", at, row->rules[0], (long long)found.order);
    if (any)
        assert_int_equal(rules_deny(r, &peer, row->kind), found.action == RULE_DENY);
    rules_destroy(&r);
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_row(&rows[i], i);
}

static void test_no_rules(void **state)
{
    (void)state;
    struct rule_peer peer = peer_of(pda);
    struct rules *r = rules_create(SLICE(""));
    assert_false(rules_deny(NULL, &peer, RULE_MESSAGE));
    assert_false(rules_deny(r, &peer, RULE_MESSAGE));
    assert_int_equal(rules_count(NULL), 0);
    assert_false(rules_drop(r, 1));
    assert_false(rules_know_roster(r));
    rules_destroy(&r);
    assert_null(r);
    rules_destroy(&r);
}

static struct rule block(char *text, size_t cap, int n, int64_t order)
{
    snprintf(text, cap, "spam%d@example.com", n);
    return (struct rule){ slice_of(text), order, RULE_JID, RULE_DENY, RULE_ALL };
}

/* What is blocked comes first; what is dropped is forgotten, in any order. */
static void test_put_and_drop(void **state)
{
    enum { MANY = 1000 };
    char text[64];
    struct rule found;
    struct rules *r = rules_create(SLICE("long"));
    (void)state;
    rules_put(r, &(struct rule){ { 0 }, 0, RULE_EVERYONE, RULE_ALLOW, RULE_ALL });
    for (int i = 0; i < MANY; i++) {
        struct rule rule = block(text, sizeof text, i, rules_order_first(r));
        rules_put(r, &rule);
    }
    assert_int_equal(rules_count(r), MANY + 1);
    for (int i = 0; i < MANY; i++) {
        (void)block(text, sizeof text, i, 0);
        struct rule_peer peer = peer_of(text);
        assert_true(rules_deny(r, &peer, RULE_REST));
        assert_true(rules_find_block(r, peer.jid, INT64_MIN, &found));
        assert_int_equal(found.order, -1 - i);
    }
    for (int i = 0; i < MANY; i += 2)
        assert_true(rules_drop(r, -1 - i));
    for (int i = 0; i < MANY; i++) {
        (void)block(text, sizeof text, i, 0);
        struct rule_peer peer = peer_of(text);
        assert_int_equal(rules_deny(r, &peer, RULE_REST), i % 2 == 1);
    }
    for (uint32_t i = 1; i < rules_count(r); i++)
        assert_true(rules_at(r, i - 1).order < rules_at(r, i).order);
    rules_clear(r);
    assert_int_equal(rules_count(r), 0);
    rules_destroy(&r);
}

/* Several rules for one address: each can go, the others stay. */
static void test_same_address(void **state)
{
    static const uint8_t kinds[] = { RULE_MESSAGE, RULE_IQ, RULE_PRESENCE_IN, RULE_ALL };
    static const int64_t orders[] = { 7, 3, 9, 5 };
    struct rule_peer peer = peer_of(pda);
    struct rule found;
    (void)state;
    for (size_t gone = 0; gone < 4; gone++) {
        struct rules *r = rules_create(SLICE("x"));
        for (size_t i = 0; i < 4; i++)
            rules_put(r,
                      &(struct rule){ slice_of(tybalt), orders[i], RULE_JID, RULE_DENY, kinds[i] });
        assert_true(rules_drop(r, orders[gone]));
        assert_int_equal(rules_find_block(r, slice_of(tybalt), INT64_MIN, &found), gone != 3);
        assert_false(rules_find_block(r, slice_of(tybalt), 5, &found));
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(rules_match(r, &peer, (enum rule_kind)kinds[i], &found),
                             gone != 3 || i != gone);
        rules_destroy(&r);
    }
}

static void test_replaced(void **state)
{
    struct rule_peer peer = peer_of(pda);
    struct rules *r = rules_create(SLICE("x"));
    struct rule rule = { slice_of(tybalt), 1, RULE_JID, RULE_DENY, RULE_ALL };
    (void)state;
    rules_put(r, &rule);
    struct rule again = rules_at(r, 0); /* its value is borrowed from what it replaces */
    again.action = RULE_ALLOW;
    rules_put(r, &again);
    assert_int_equal(rules_count(r), 1);
    assert_false(rules_deny(r, &peer, RULE_MESSAGE));
    rules_destroy(&r);
}

/* The groups of a peer: "group 0" to "group N - 1". */
static slice many_groups(char *out, size_t cap, int n)
{
    size_t len = 0;
    for (int i = 0; i < n; i++)
        len += (size_t)snprintf(out + len, cap - len, "group %d", i) + 1;
    return (slice){ out, len };
}

static uint32_t looked_at;
static map_key_fn *key_of_rule;
static slice count_key(const void *item)
{
    looked_at++;
    return key_of_rule(item);
}

/* However many rules there are, a match looks at one a group of the peer, or less. */
static void test_many_groups(void **state)
{
    enum { MANY = 2000, GROUPS = 50 };
    char groups[GROUPS * 16], name[16];
    struct rule_peer peer = { slice_of(pda), many_groups(groups, sizeof groups, GROUPS),
                              SLICE("both") };
    struct rules *r = rules_create(SLICE("x"));
    struct rule found;
    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "group %d", MANY - 1 - i);
        rules_put(r, &(struct rule){ slice_of(name), i, RULE_GROUP, RULE_DENY, RULE_PRESENCE_OUT });
    }
    key_of_rule = r->by_value[RULE_GROUP].key;
    r->by_value[RULE_GROUP].key = count_key;
    assert_true(rules_match(r, &peer, RULE_PRESENCE_OUT, &found));
    assert_int_equal(found.order, MANY - GROUPS);
    assert_int_equal(looked_at, GROUPS);
    assert_false(rules_deny(r, &peer, RULE_MESSAGE));
    assert_int_equal(looked_at, 2 * GROUPS);
    rules_destroy(&r);
}

/* Groups, subscriptions and everyone: of rules with one value each kind has its own first one. */
static void test_same_value(void **state)
{
    static const uint8_t kinds[] = { RULE_MESSAGE, RULE_MESSAGE, RULE_IQ | RULE_MESSAGE,
                                     RULE_IQ,      RULE_ALL,     RULE_PRESENCE_IN };
    static const int64_t orders[] = { 4, 1, 2, 3, 5, 0 };
    static const struct rule of[] = { { .type = RULE_EVERYONE },
                                      { SLICE_INIT("Work"), .type = RULE_GROUP },
                                      { SLICE_INIT("from"), .type = RULE_SUBSCRIPTION } };
    struct rule_peer peer = peer_of(pda);
    struct rule found;
    (void)state;
    for (size_t t = 0; t < 3; t++) {
        struct rules *r = rules_create(SLICE("x"));
        for (size_t i = 0; i < 6; i++)
            rules_put(r, &(struct rule){ of[t].value, orders[i], of[t].type, RULE_DENY, kinds[i] });
        assert_int_equal(rules_know_roster(r), of[t].type != RULE_EVERYONE);
        assert_true(rules_match(r, &peer, RULE_IQ, &found) && found.order == 2);
        assert_true(rules_match(r, &peer, RULE_PRESENCE_IN, &found) && found.order == 0);
        assert_true(rules_match(r, &peer, RULE_REST, &found) && found.order == 5);
        assert_true(rules_drop(r, 2) && rules_drop(r, 0) && rules_drop(r, 1));
        assert_true(rules_match(r, &peer, RULE_IQ, &found) && found.order == 3);
        assert_true(rules_match(r, &peer, RULE_MESSAGE, &found) && found.order == 4);
        assert_true(rules_match(r, &peer, RULE_PRESENCE_IN, &found) && found.order == 5);
        assert_true(rules_drop(r, 5));
        assert_false(rules_deny(r, &peer, RULE_REST));
        assert_true(rules_drop(r, 3) && rules_drop(r, 4));
        assert_false(rules_know_roster(r) || rules_deny(r, &peer, RULE_MESSAGE));
        rules_destroy(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),        cmocka_unit_test(test_no_rules),
        cmocka_unit_test(test_put_and_drop), cmocka_unit_test(test_same_address),
        cmocka_unit_test(test_replaced),     cmocka_unit_test(test_many_groups),
        cmocka_unit_test(test_same_value),
    };
    return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
